"""What encoders are built of: timm, beside a torch without CUDA too.

timm imports torchvision. On Linux PyPI's torchvision is built for a torch with CUDA; beside a torch
without it, which is a third as large, its compiled operators cannot be loaded, and it refuses to be
imported because two of them are not even declared. No encoder calls one: they choose among boxes of
detected objects. So they are declared here where they are missing, and timm loads.
"""

from __future__ import annotations

import torch

from pathoml.errors import EncoderError

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
OPERATORS = ("nms", "qnms")  # of torchvision/_meta_registrations.py, as torchvision declares them
# lasts as long as this module
DECLARED = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]


def import_torchvision() -> tuple[str, ...]:
    """Import torchvision, with its missing operators declared where it was built for another torch;
    return the names of those.

    Raises:
        EncoderError: it is not installed, or does not fit in another way.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise _does_not_fit(error) from error
        missing = declare_missing()
        try:
            import torchvision  # noqa: F401
        except (RuntimeError, ImportError) as again:
            raise _does_not_fit(again) from again
        return missing
    except ImportError as error:
        raise _does_not_fit(error) from error
    return ()


def declare_missing() -> tuple[str, ...]:
    """Declare the operators of torchvision that nobody has declared, and return their names."""
    missing = tuple(name for name in OPERATORS if not hasattr(torch.ops.torchvision, name))
    for name in missing:
        DECLARED.define(f"{name}{SCHEMA}")  # type: ignore[no-untyped-call]
    return missing


def _does_not_fit(error: Exception) -> EncoderError:
    return EncoderError(
        f"torchvision does not fit torch {torch.__version__} ({error}). Install both from one"
        " place, as docs/install.md says; without a GPU: uv pip install --torch-backend cpu"
        " --reinstall torch torchvision"
    )


DECLARED_HERE = import_torchvision()

import timm  # noqa: E402
from timm.layers.mlp import SwiGLUPacked  # noqa: E402
from timm.layers.norm_act import BatchNormAct2d  # noqa: E402

__all__ = ["DECLARED_HERE", "BatchNormAct2d", "SwiGLUPacked", "timm"]

"""Tensors that torch saved, as arrays: no code is run, and gradients are left behind."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from pathoml.errors import StoreError
from pathoml.store.foreign import TORCH_FAULTS
from pathoml.store.inflated import refuse_inflated
from pathoml.store.refusals import raise_refusal

MOST_BYTES = 2**35  # of a tensor; one that is sparse, or repeats itself, may claim any size


def read_tensors(path: Path, expected: str) -> Any:
    """Return what a .pt file holds, if it is plain tensors.

    Args:
        expected: what to save instead, for the message.

    Raises:
        StoreError: torn, or it holds something that would have to be run.
    """
    try:
        if zipfile.is_zipfile(path):
            refuse_inflated(path)
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except TORCH_FAULTS as error:
        raise_refusal(error, path)
        raise StoreError(
            f"{path} is not a file of plain tensors ({type(error).__name__}). Save {expected}."
        ) from error


def as_array(tensor: torch.Tensor, path: Path) -> npt.NDArray[Any]:
    """Return the values of a tensor, whatever it was saved with: a gradient, bfloat16, sparse.

    Raises:
        StoreError: it has values that numpy has not, such as quantised ones.

    >>> as_array(torch.ones(2, dtype=torch.bfloat16, requires_grad=True), Path("S1.pt"))
    array([1., 1.], dtype=float32)
    """
    try:
        plain = tensor.detach()
        if plain.numel() * plain.element_size() > MOST_BYTES:
            raise RuntimeError("it has more values than any slide")
        if plain.layout != torch.strided:
            plain = plain.to_dense()
        if plain.is_floating_point() and plain.dtype not in (torch.float64, torch.float16):
            plain = plain.float()  # numpy has neither bfloat16 nor float8
        return plain.resolve_conj().resolve_neg().numpy()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        raise StoreError(
            f"{path} holds a tensor of {tensor.dtype} ({tensor.layout}), which cannot be read as"
            " numbers. Save it as float32."
        ) from error

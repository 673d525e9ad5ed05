"""Batch normalisation folded into the convolution before it: the same features in a fraction less
time, within rounding.

In evaluation a normalisation is y = (x - mean) * scale + shift with scale = weight / sqrt(variance
+ eps): a convolution followed by it is a convolution whose filters are multiplied by the scale and
whose bias takes up the rest.

Source: Jacob et al., CVPR 2018, arXiv:1712.05877, section 3.2 (folding, equation 14).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import fx, nn

from pathoml.encoders.of_timm import BatchNormAct2d


class _Tracer(fx.Tracer):
    """Sees timm's normalisation with activation, and its convolution with padding, as one step
    each.
    """

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, BatchNormAct2d | nn.Conv2d) or super().is_leaf_module(
            m, module_qualified_name
        )


def fold_normalisation(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose normalisations are folded; the network itself where it
    has none or cannot be traced.
    """
    if not any(isinstance(m, nn.BatchNorm2d) for m in network.modules()):
        return network
    network = network.eval()
    try:
        graph = _Tracer().trace(network)
    except (
        fx.proxy.TraceError,
        TypeError,
        RuntimeError,
    ):  # control flow that depends on the values
        return network
    folded = fx.GraphModule(copy.deepcopy(network), graph)
    modules: dict[str, Any] = dict(folded.named_modules())
    for node in list(folded.graph.nodes):
        before = node.args[0] if node.args else None
        if (
            node.op != "call_module"
            or not isinstance(before, fx.Node)
            or before.op != "call_module"
            or len(before.users) > 1
        ):
            continue
        normalisation, convolution = modules[str(node.target)], modules[str(before.target)]
        if isinstance(normalisation, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d):
            _fold(convolution, normalisation)
            rest = (
                nn.Sequential(normalisation.drop, normalisation.act)
                if isinstance(normalisation, BatchNormAct2d)
                else nn.Identity()
            )
            folded.set_submodule(str(node.target), rest)
    folded.recompile()
    return folded.eval()


@torch.no_grad()
def _fold(convolution: nn.Conv2d, normalisation: nn.BatchNorm2d) -> None:
    """Change the convolution's filters and bias in place, computed in double precision."""
    mean, variance = normalisation.running_mean, normalisation.running_var
    if mean is None or variance is None:
        raise ValueError("The normalisation keeps no running statistics.")
    weight = torch.ones_like(mean) if normalisation.weight is None else normalisation.weight
    shift = torch.zeros_like(mean) if normalisation.bias is None else normalisation.bias
    scale = weight.double() / torch.sqrt(variance.double() + normalisation.eps)  # (C,)
    bias = torch.zeros_like(mean) if convolution.bias is None else convolution.bias
    kind = convolution.weight.dtype
    convolution.weight = nn.Parameter(
        (convolution.weight.double() * scale[:, None, None, None]).to(kind)
    )
    convolution.bias = nn.Parameter(
        ((bias.double() - mean.double()) * scale + shift.double()).to(kind)
    )

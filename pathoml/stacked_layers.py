"""One head's code over the parameters of M heads at once: its layers are exchanged for layers with a model axis.

The models are folded into the batch: a head sees (M * B, N, D) and never knows. Linear layers become one batched product with the
weights in the layout that is fastest on a CPU; dropout draws eight masks from one 64-bit number, where torch's own costs more than
the products. A head with other parametrised layers runs through torch.func.vmap instead, with the same result.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from pathoml.types import HeadOutput

BYTE = 256  # dropout compares random bytes, so its rate is rounded to 1/256; kept values are scaled by the rounded rate


class StackedLinear(nn.Module):
    """nn.Linear of M models; rows of model m meet weight m."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([one.weight.detach() for one in linears]))  # (M, out, in)
        self.bias = nn.Parameter(torch.stack([one.bias.detach() for one in linears])) if linears[0].bias is not None else None  # (M, out)

    def forward(self, values: Tensor) -> Tensor:
        weight = self.weight.transpose(1, 2)  # (M, in, out)
        rows = values.reshape(len(weight), -1, values.shape[-1])  # (M, rows, in)
        product = torch.bmm(rows, weight) if self.bias is None else torch.baddbmm(self.bias[:, None], rows, weight)
        return product.view(*values.shape[:-1], product.shape[-1])  # (M * B, ..., out)


class StackedLayerNorm(nn.Module):
    """nn.LayerNorm over the last axis, with each model's scale and shift."""

    def __init__(self, norms: Sequence[nn.LayerNorm]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([one.weight.detach() for one in norms]))  # (M, width)
        self.bias = nn.Parameter(torch.stack([one.bias.detach() for one in norms]))  # (M, width)
        self.eps = norms[0].eps

    def forward(self, values: Tensor) -> Tensor:
        normal = nn.functional.layer_norm(values, values.shape[-1:], eps=self.eps)
        rows = normal.reshape(len(self.weight), -1, values.shape[-1])  # (M, rows, width)
        return (rows * self.weight[:, None] + self.bias[:, None]).view(values.shape)


class FastDropout(nn.Module):
    """Dropout with masks from numpy's fastest generator on the CPU; torch's own on a GPU."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.dropped = round(rate * BYTE)  # of 256
        self.generator = np.random.SFC64(0)

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or not self.dropped:
            return values
        if values.device.type != "cpu":
            return nn.functional.dropout(values, self.dropped / BYTE)
        words = self.generator.random_raw(-(-values.numel() // 8))
        is_kept = torch.from_numpy(words.view(np.uint8)[: values.numel()].reshape(values.shape)) >= self.dropped
        dropped: Tensor = _MaskAndScale.apply(values, is_kept, BYTE / (BYTE - self.dropped))
        return dropped


class _MaskAndScale(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, is_kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(is_kept)
        ctx.scale = scale
        return (values * is_kept).mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (is_kept,) = ctx.saved_tensors
        return (gradient * is_kept).mul_(ctx.scale), None, None


class StackedHead(nn.Module):
    """M heads whose layers were exchanged."""

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        self.head = _exchange(heads)

    def forward(self, features: Tensor, is_tile: Tensor) -> HeadOutput:
        """Run every head on (M, B, N, D) features; `is_tile` is (M, B, N)."""
        output = self.head(features.flatten(0, 1), is_tile.flatten(0, 1))
        return HeadOutput(*(value.unflatten(0, features.shape[:2]) for value in output))

    def by_name(self) -> dict[str, nn.Parameter]:
        """Return each parameter of the head with the models in front, (M, ...)."""
        return dict(self.head.named_parameters())

    def seed(self, seed: int) -> None:
        """Start the random numbers of dropout."""
        for number, module in enumerate(m for m in self.modules() if isinstance(m, FastDropout)):
            module.generator = np.random.SFC64([seed, number])


class MappedHead(nn.Module):
    """M heads of any layers through torch.func.vmap."""

    def __init__(self, heads: Sequence[nn.Module]) -> None:
        super().__init__()
        parameters, self.buffers_of = stack_module_state(list(heads))
        self.names = list(parameters)
        self.values = nn.ParameterList([nn.Parameter(parameters[n].detach().clone()) for n in self.names])
        self.skeleton = [copy.deepcopy(heads[0]).to("meta")]  # in a list, so that its parameters are not ours

    def forward(self, features: Tensor, is_tile: Tensor) -> HeadOutput:
        """Run every head on (M, B, N, D) features; `is_tile` is (M, B, N)."""
        skeleton = self.skeleton[0].train(self.training)

        def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], values: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
            return tuple(functional_call(skeleton, (parameters, buffers), (values, mask)))

        mapped = vmap(one, randomness="different")
        return HeadOutput(*mapped(dict(zip(self.names, self.values)), self.buffers_of, features, is_tile))

    def by_name(self) -> dict[str, nn.Parameter]:
        """Return each parameter of the head with the models in front, (M, ...)."""
        return dict(zip(self.names, self.values))

    def seed(self, seed: int) -> None:
        """Start the random numbers of dropout."""
        torch.manual_seed(seed)


def stack_heads(heads: Sequence[nn.Module]) -> StackedHead | MappedHead:
    """Return M heads of one architecture as one module."""
    return StackedHead(heads) if _can_exchange(heads[0]) else MappedHead(heads)


def _can_exchange(head: nn.Module) -> bool:
    known = (nn.Linear, nn.LayerNorm)
    return not any(True for _ in head.buffers()) and all(
        isinstance(module, known) or not any(True for _ in module.parameters(recurse=False)) for module in head.modules()
    )


def _exchange(modules: Sequence[Any]) -> nn.Module:
    first = modules[0]
    if isinstance(first, nn.Linear):
        return StackedLinear(modules)
    if isinstance(first, nn.LayerNorm):
        return StackedLayerNorm(modules)
    if type(first) is nn.Dropout:
        return FastDropout(first.p)
    shell: nn.Module = copy.copy(first)  # the head's own code, with other layers
    shell._modules = {name: _exchange([m._modules[name] for m in modules]) for name in first._modules}
    return shell

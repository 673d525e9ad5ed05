"""One head's code over the parameters of M heads at once: its layers are exchanged for layers with
a model axis.

The models are folded into the batch: a head sees (M * B, N, D) and never knows. Linear layers
become one batched product with the weights in the layout that is fastest on a CPU; dropout draws
eight masks from one 64-bit number, where torch's own costs more than the products. A head with
other parametrised layers runs through torch.func.vmap instead, with the same result.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call, stack_module_state, vmap

from pathoml.types import HeadOutput

TANH_IS_FAST = (
    torch.backends.cpu.get_cpu_capability() == "AVX512"
)  # torch's own: there 0.4, with AVX2 more than one of FastTanh's time
# dropout compares random bytes, so its rate is rounded to 1/256; kept values are scaled by the
# rounded rate
BYTE = 256


class StackedLinear(nn.Module):
    """nn.Linear of M models; rows of model m meet weight m."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.stack([one.weight.detach() for one in linears])
        )  # (M, out, in)
        self.bias = (
            nn.Parameter(torch.stack([one.bias.detach() for one in linears]))
            if linears[0].bias is not None
            else None
        )  # (M, out)

    def forward(self, values: Tensor) -> Tensor:
        inputs = [
            values.reshape(len(self.weight), -1, values.shape[-1]),
            self.weight,
            self.bias,
        ]  # (M, rows, in), (M, out, in), (M, out)
        if torch.is_autocast_enabled(values.device.type):  # which looks into no autograd.Function
            inputs = [
                None if v is None else v.to(torch.get_autocast_dtype(values.device.type))
                for v in inputs
            ]
        product: Tensor = _BatchedLinear.apply(*inputs)
        return product.view(*values.shape[:-1], product.shape[-1])  # (M * B, ..., out)


class _BatchedLinear(torch.autograd.Function):
    """Rows of model m times weight m. A weight's gradient is taken in its own layout: up to four
    times faster than torch's.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(rows, weight)
        product = torch.bmm(rows, weight.transpose(1, 2))  # (M, rows, out)
        return (
            product if bias is None else product.add_(bias[:, None])
        )  # up to three times faster than torch.baddbmm, which copies first

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, weight = ctx.saved_tensors
        of_rows, of_weight, of_bias = ctx.needs_input_grad
        return (
            torch.bmm(gradient, weight) if of_rows else None,
            torch.bmm(gradient.transpose(1, 2), rows) if of_weight else None,
            gradient.sum(1) if of_bias else None,
        )


class StackedLayerNorm(nn.Module):
    """nn.LayerNorm over the last axis, with each model's scale and shift."""

    def __init__(self, norms: Sequence[nn.LayerNorm]) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.stack([one.weight.detach() for one in norms])
        )  # (M, width)
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
        is_kept = words.view(np.uint8)[: values.numel()].reshape(values.shape) >= self.dropped
        factor = np.multiply(
            is_kept, np.float32(BYTE / (BYTE - self.dropped)), dtype=np.float32
        )  # numpy's passes cost a quarter of torch's
        return values * torch.from_numpy(factor).to(values.dtype)


class FastTanh(nn.Module):
    """nn.Tanh as 2 sigmoid(2 x) - 1, which differs by rounding only and costs less than torch's
    where TANH_IS_FAST does not hold.
    """

    def forward(self, values: Tensor) -> Tensor:
        tanh: Tensor = _Tanh.apply(values)
        return tanh


class _Tanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        tanh = (2 * values).sigmoid_().mul_(2).sub_(1)
        ctx.save_for_backward(tanh)
        return tanh

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (tanh,) = ctx.saved_tensors
        slope: Tensor = torch.ops.aten.tanh_backward(
            gradient, tanh
        )  # gradient * (1 - tanh^2), in one pass
        return slope


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
        self.values = nn.ParameterList(
            [nn.Parameter(parameters[n].detach().clone()) for n in self.names]
        )
        self.skeleton = [
            copy.deepcopy(heads[0]).to("meta")
        ]  # in a list, so that its parameters are not ours

    def forward(self, features: Tensor, is_tile: Tensor) -> HeadOutput:
        """Run every head on (M, B, N, D) features; `is_tile` is (M, B, N)."""
        skeleton = self.skeleton[0].train(self.training)

        def one(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], values: Tensor, mask: Tensor
        ) -> tuple[Tensor, ...]:
            return tuple(functional_call(skeleton, (parameters, buffers), (values, mask)))

        mapped = vmap(one, randomness="different")
        return HeadOutput(
            *mapped(dict(zip(self.names, self.values)), self.buffers_of, features, is_tile)
        )

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
        isinstance(module, known) or not any(True for _ in module.parameters(recurse=False))
        for module in head.modules()
    )


def _exchange(modules: Sequence[Any]) -> nn.Module:
    first = modules[0]
    if isinstance(first, nn.Linear):
        return StackedLinear(modules)
    if isinstance(first, nn.LayerNorm):
        return StackedLayerNorm(modules)
    if type(first) is nn.Dropout:
        return FastDropout(first.p)
    if type(first) is nn.Tanh and not TANH_IS_FAST:
        return FastTanh()
    shell: nn.Module = copy.copy(first)  # the head's own code, with other layers
    shell._modules = {
        name: _exchange([m._modules[name] for m in modules]) for name in first._modules
    }
    return shell

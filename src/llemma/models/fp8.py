"""Linear layers whose products run in 8-bit floats (Micikevicius et al. 2022), for GPUs that multiply them faster.

Forward in e4m3, gradients in e5m2, one scale for each tensor, taken from its largest value at each use. Weights, their
masters and everything outside these products keep their precision. Layers whose sizes are no multiples of 16, and
batches that are not, stay in bf16: the hardware wants it so.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
MULTIPLE = 16  # of every size of a product in fp8


class Fp8Linear(nn.Linear):
    """A linear layer without bias that multiplies in fp8. Made of an ``nn.Linear`` by ``to_fp8``, parameters kept."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) → (..., out) in bf16."""
        rows = x.numel() // x.shape[-1]
        if rows % MULTIPLE:
            return F.linear(x, self.weight)
        out: Tensor = _Product.apply(x.reshape(rows, -1), self.weight)  # type: ignore[no-untyped-call]
        return out.view(*x.shape[:-1], -1)


def to_fp8(module: nn.Module) -> int:
    """Let the linear layers within a module multiply in fp8; returns how many do."""
    found = [
        layer
        for layer in module.modules()
        if type(layer) is nn.Linear
        and "bias" not in dict(layer.named_parameters(recurse=False))
        and not any(n % MULTIPLE for n in layer.weight.shape)
    ]
    for layer in found:
        layer.__class__ = Fp8Linear  # the parameter stays the same object under the same name
    return len(found)


class _Product(torch.autograd.Function):
    """x (n, in) times weight (out, in) transposed; what is kept for the backward pass is in fp8 too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        x8, x_scale = quantised(x, FORWARD)
        w8, w_scale = quantised(weight, FORWARD)
        ctx.save_for_backward(x8, x_scale, w8, w_scale)
        ctx.dtypes = x.dtype, weight.dtype
        return _multiply(x8, w8.t(), x_scale, w_scale)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x8, x_scale, w8, w_scale = ctx.saved_tensors
        g8, g_scale = quantised(grads[0], BACKWARD)
        # the second factor must lie column by column
        d_x = _multiply(g8, w8.t().contiguous().t(), g_scale, w_scale)
        d_weight = _multiply(g8.t().contiguous(), x8.t().contiguous().t(), g_scale, x_scale)
        return d_x.to(ctx.dtypes[0]), d_weight.to(ctx.dtypes[1])


def quantised(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A tensor in fp8 and the fp32 scale that gives it back: x ≈ scale · x8, with the largest value at the end."""
    largest = torch.finfo(dtype).max
    scale = (x.detach().abs().amax().float() / largest).clamp(min=1e-12)
    return (x.detach().float() / scale).clamp(-largest, largest).to(dtype), scale


def _multiply(a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor) -> Tensor:
    product: Tensor = torch._scaled_mm(a, b, scale_a=a_scale, scale_b=b_scale, out_dtype=torch.bfloat16)
    return product

"""Linear layers whose products run in 8-bit floats (Micikevicius et al. 2022), for GPUs that multiply them faster.

Forward in e4m3, gradients in e5m2, one scale for each tensor, taken from its largest value at each use. Weights, their
masters and everything outside these products keep their precision. Layers whose sizes are no multiples of 16, and
batches that are not, stay in bf16: the hardware wants it so. Compile the blocks: run eagerly, finding the scales and
rounding take longer than the products save.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FORWARD, BACKWARD = torch.float8_e4m3fn, torch.float8_e5m2
ROWS = torch.contiguous_format
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
        for name, layer in module.named_modules()
        if type(layer) is nn.Linear
        and "lora_" not in name  # adapters are too thin to gain
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
        return multiply(x8, w8.t(), x_scale, w_scale, fast=True)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x8, x_scale, w8, w_scale = ctx.saved_tensors
        g8, g_scale = quantised(grads[0], BACKWARD)
        d_x = d_weight = None
        # the second factor must lie column by column
        if ctx.needs_input_grad[0]:
            d_x = multiply(g8, w8.t().clone(memory_format=ROWS).t(), g_scale, w_scale).to(ctx.dtypes[0])
        if ctx.needs_input_grad[1]:  # a frozen weight (LoRA) needs none
            g_t, x_columns = g8.t().clone(memory_format=ROWS), x8.t().clone(memory_format=ROWS).t()
            d_weight = multiply(g_t, x_columns, g_scale, x_scale).to(ctx.dtypes[1])
        return d_x, d_weight


def quantised(x: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A tensor in fp8, row by row, and the fp32 scale that gives it back: x ≈ scale · x8, the largest value kept."""
    largest = torch.finfo(dtype).max
    x = x.detach()
    scale = (torch.linalg.vector_norm(x, math.inf, dtype=torch.float32) / largest).clamp(min=1e-12)
    return (x.float() / scale).clamp(-largest, largest).to(dtype, memory_format=ROWS), scale


def multiply(a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor, *, fast: bool = False) -> Tensor:
    """(m, k) row by row times (k, n) column by column, in bf16. ``fast`` adds up in fewer bits, where a GPU can.

    That is customary for forward products; gradients are added up in fp32.
    """
    product: Tensor = torch._scaled_mm(
        a, b, scale_a=a_scale, scale_b=b_scale, out_dtype=torch.bfloat16, use_fast_accum=fast
    )
    return product

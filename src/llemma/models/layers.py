"""The small parts of a Llama, RMSNorm and rotary positions, each with a hand-written derivative for CPU.

PyTorch's own derivatives of these make many passes over memory on CPU; these compute the same in fewer. They serve
eager training on CPU alone: without gradients, compiled, and on CUDA, PyTorch's operations are used as they are.
Without gradients logits equal those of ``transformers`` bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _eager_on_cpu(x: Tensor) -> bool:
    # the compiler joins passes by itself
    return x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling()


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last dimension, computed in fp32 (Zhang & Sennrich 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) → (..., width), in the dtype that the next matrix product wants."""
        kind = x.device.type
        # cast here, once: under autocast each of the three projections would cast its input again
        cast = kind != "meta" and torch.is_autocast_enabled(kind)  # PyTorch knows no autocast there
        dtype = torch.get_autocast_dtype(kind) if cast else self.weight.dtype
        if _eager_on_cpu(x):
            normed: Tensor = _Normed.apply(x, self.weight, self.eps, dtype)  # type: ignore[no-untyped-call]
            return normed
        y: Tensor = F.rms_norm(x.float(), x.shape[-1:], self.weight.float(), self.eps).to(dtype)
        return y


class _Normed(torch.autograd.Function):
    """RMSNorm that keeps its input and one number a row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
        wide = x.float()
        inverse: Tensor = (
            torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square().div(x.shape[-1]).add(eps).rsqrt()
        )
        ctx.save_for_backward(x, weight, inverse)
        return (wide * inverse).mul_(weight.float()).to(dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        scale, g = weight.float(), grads[0].float()
        unit = x.float() * inverse  # rows of mean square 1
        per_weight = g * unit
        along = per_weight.flatten(0, -2).mv(scale).view_as(inverse) / x.shape[-1]  # gradient along the row
        d_x = (g * scale).addcmul_(unit, along, value=-1).mul_(inverse)
        return d_x.to(x.dtype), per_weight.flatten(0, -2).sum(0).to(weight.dtype), None, None


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cosines and sines of the rotary angles, each (positions, head_dim), first half repeated."""

    cos: Tensor
    sin: Tensor

    def __getitem__(self, positions: Tensor | slice) -> Rotation:
        return Rotation(self.cos[positions], self.sin[positions])

    def to(self, dtype: torch.dtype) -> Rotation:
        """The same angles in another precision."""
        return Rotation(self.cos.to(dtype), self.sin.to(dtype))


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Turn the halves of each head by the position's angle: (B, H, T, head_dim) with ``by`` broadcast to it."""
    if _eager_on_cpu(x) and by.cos.ndim == 2:
        turned: Tensor = _Turned.apply(x, by.cos, by.sin)  # type: ignore[no-untyped-call]
        return turned
    first, second = x.chunk(2, dim=-1)
    return x * by.cos + torch.cat((-second, first), dim=-1) * by.sin


class _Turned(torch.autograd.Function):
    """The rotation, whose derivative is the rotation back; both lie in memory as (B, T, H, head_dim)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(x, cos, sin, 1.0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _turn(grads[0], cos, sin, -1.0), None, None


def _turn(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    half = x.shape[-1] // 2
    signed = torch.cat((-sin[:, :half], sin[:, half:]), dim=-1)[:, None]
    x = x.transpose(1, 2).contiguous()
    return (x * cos[:, None]).addcmul_(x.roll(half, -1), signed, value=sign).transpose(1, 2)

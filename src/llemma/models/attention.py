"""Causal attention for training: the fastest exact form for each device.

CUDA: PyTorch's fused kernels. CPU: blocks of queries as plain matrix products, which are faster in bf16, forward
and backward, than PyTorch's CPU kernel (``docs/benchmarks.md``). Without gradients PyTorch's kernel serves here
too: then logits equal those of ``transformers`` bit for bit. Decoding over a cache is in ``generate.py``.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 64  # queries per block: measured best of 32, 64, 128 at T = 256


def causal(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention: (B, H, T, D) queries over (B, K, T, D) keys and values, H a multiple of K."""
    if q.device.type != "cpu" or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])
    if q.shape[1] != k.shape[1]:
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        v = v.repeat_interleave(q.shape[1] // v.shape[1], dim=1)
    out: Tensor = _Blocked.apply(q, k, v)  # type: ignore[no-untyped-call]
    return out


class _Blocked(torch.autograd.Function):
    """Attention by blocks of queries; scores in fp32, products in the inputs' dtype."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        B, H, T, D = q.shape
        # (B·H, T, D) contiguous once, so that every product below is one strided batch
        q, k, v = (x.reshape(B * H, T, D) for x in (q, k, v))
        k_t = k.transpose(1, 2)
        future = torch.full((BLOCK, BLOCK), float("-inf")).triu(1)
        out = torch.empty_like(q)
        weights = []
        for start in range(0, T, BLOCK):
            end = min(start + BLOCK, T)
            scores = torch.bmm(q[:, start:end], k_t[:, :, :end]).float().mul_(D**-0.5)
            scores[:, :, start:] += future[: end - start, : end - start]
            weight = scores.softmax(-1).to(v.dtype)
            out[:, start:end] = torch.bmm(weight, v[:, :end])
            weights.append(weight)
        ctx.save_for_backward(q, k, v, out, *weights)
        ctx.shape = (B, H, T, D)
        return out.view(B, H, T, D)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v, out, *weights = ctx.saved_tensors
        B, H, T, D = ctx.shape
        grad = grads[0].reshape(B * H, T, D)
        v_t = v.transpose(1, 2)
        dot = (grad.float() * out.float()).sum(-1, keepdim=True)  # (B·H, T, 1): rowsum(dO ∘ O)
        dq = torch.empty_like(q)
        dk, dv = torch.zeros_like(k, dtype=torch.float32), torch.zeros_like(v, dtype=torch.float32)
        for i, weight in enumerate(weights):
            start, end = i * BLOCK, min((i + 1) * BLOCK, T)
            g = grad[:, start:end]
            d_scores = torch.bmm(g, v_t[:, :, :end]).float().sub_(dot[:, start:end]).mul_(weight)
            d_scores = d_scores.mul_(D**-0.5).to(q.dtype)
            dq[:, start:end] = torch.bmm(d_scores, k[:, :end])
            dk[:, :end] += torch.bmm(d_scores.transpose(1, 2), q[:, start:end])
            dv[:, :end] += torch.bmm(weight.transpose(1, 2), g)
        shape = (B, H, T, D)
        return dq.view(shape), dk.to(k.dtype).view(shape), dv.to(v.dtype).view(shape)

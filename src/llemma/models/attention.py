"""Causal attention for training: the fastest exact form for each device.

CUDA: PyTorch's fused kernels. CPU: blocks of queries as plain matrix products, which are faster in bf16, forward
and backward, than PyTorch's CPU kernel (``docs/benchmarks.md``). Without gradients PyTorch's kernel serves here
too: then logits equal those of ``transformers`` bit for bit. Soft-capped scores (Gemma 2) have no kernel of
PyTorch's and take the blocks on every device. Decoding over a cache is in ``generate.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 128  # queries per block: measured best of 64, 128, 256 at T = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How scores are made of queries and keys; the defaults are Llama's."""

    scale: float | None = None  # times q·k; None: 1/sqrt(head width)
    window: int | None = None  # a position sees itself and the window - 1 before it; None: all before it
    softcap: float | None = None  # scores become softcap·tanh(scores / softcap)


PLAIN = Scores()


def causal(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None = None, how: Scores = PLAIN) -> Tensor:
    """Causal attention: (B, H, T, D) queries over (B, K, T, D) keys and values, H a multiple of K.

    ``visible`` (B, 1, T, T) bool narrows further what a query sees, of which it is always a part itself. Values may
    have another width than keys.
    """
    T = q.shape[2]
    if how.window is not None and how.window >= T:
        how = Scores(scale=how.scale, softcap=how.softcap)
    blocked = q.device.type == "cpu" and torch.is_grad_enabled()
    if not blocked and how.softcap is None:
        grouped = q.shape[1] != k.shape[1]
        if visible is None and how.window is None:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=how.scale, enable_gqa=grouped)
        seen = recent(T, how.window, q.device) if visible is None else visible
        if visible is not None and how.window is not None:
            seen = seen & recent(T, how.window, q.device)
        if not grouped or q.device.type == "cpu":
            return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=how.scale, enable_gqa=grouped)
        # PyTorch's kernel for masks on GPUs knows no groups: it would store all scores of a layer instead
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=how.scale)
    if q.shape[1] != k.shape[1]:
        k = k.repeat_interleave(q.shape[1] // k.shape[1], dim=1)
        v = v.repeat_interleave(q.shape[1] // v.shape[1], dim=1)
    scale = q.shape[-1] ** -0.5 if how.scale is None else how.scale
    out: Tensor = _Blocked.apply(q, k, v, visible, scale, how.window, how.softcap)  # type: ignore[no-untyped-call]
    return out


def recent(T: int, window: int | None, device: torch.device) -> Tensor:
    """(T, T) bool: which keys (columns) a query (row) sees, itself and at most ``window`` - 1 before it."""
    square = torch.ones(T, T, dtype=torch.bool, device=device).tril()
    return square if window is None else square.triu(1 - window)


class _Blocked(torch.autograd.Function):
    """Attention by blocks of queries; products in the inputs' dtype, softmax in fp32 within one pass over the scores.

    The softmax and its derivative read and write the inputs' dtype: what is saved in bf16 has the rounding that the
    products would give it anyway. Scales are part of the products, which apply them before they round.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        visible: Tensor | None,
        scale: float,
        window: int | None,
        softcap: float | None,
    ) -> Tensor:
        B, H, T, D = q.shape
        # (B·H, T, D) contiguous once, so that every product below is one strided batch
        q, k, v = (x.reshape(B * H, T, -1) for x in (q, k, v))
        future = torch.full((BLOCK, BLOCK), float("-inf"), device=q.device, dtype=q.dtype).triu(1)
        out = _heads_last(v, B)
        weights = []
        for start in range(0, T, BLOCK):
            end, low = min(start + BLOCK, T), _low(start, window)
            scores = _scaled(q[:, start:end], k[:, low:end].transpose(1, 2), scale)
            if softcap is not None:
                scores = scores.float().div_(softcap).tanh_().mul_(softcap)
            scores[:, :, start - low :] += future[: end - start, : end - start]
            if window is not None:
                scores.masked_fill_(_past(start, end, low, window, q.device), float("-inf"))
            if visible is not None:
                scores.view(B, H, end - start, -1).masked_fill_(~visible[:, :, start:end, low:end], float("-inf"))
            weight = scores.softmax(-1).to(v.dtype)
            out[:, :, start:end] = torch.bmm(weight, v[:, low:end]).view(B, H, end - start, -1)
            weights.append(weight)
        ctx.save_for_backward(q, k, v, *weights)
        ctx.how = (scale, window, softcap)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, *weights = ctx.saved_tensors
        scale, window, softcap = ctx.how
        B, H, T, _ = grads[0].shape
        grad = grads[0].reshape(B * H, T, -1)
        dq = _heads_last(q, B)
        dk, dv = torch.zeros_like(k, dtype=torch.float32), torch.zeros_like(v, dtype=torch.float32)
        for i, weight in enumerate(weights):
            start, end = i * BLOCK, min((i + 1) * BLOCK, T)
            low = _low(start, window)
            queries, keys = q[:, start:end], k[:, low:end]
            g = grad[:, start:end]
            d_weight = torch.bmm(g, v[:, low:end].transpose(1, 2))
            d_scores = torch._softmax_backward_data(d_weight, weight, -1, weight.dtype)
            if softcap is not None:  # d tanh(x) = 1 - tanh²(x); the scores are cheaper made again than kept
                capped = _scaled(queries, keys.transpose(1, 2), scale).float().div_(softcap).tanh_()
                d_scores = d_scores.float().mul_(1 - capped.square_()).to(q.dtype)
            dq[:, :, start:end] = _scaled(d_scores, keys, scale).view(B, H, end - start, -1)
            dk[:, low:end] += _scaled(d_scores.transpose(1, 2), queries, scale)
            dv[:, low:end] += torch.bmm(weight.transpose(1, 2), g)
        dk, dv = (_heads_last(x, B).copy_(d.view(B, H, T, -1)) for x, d in ((k, dk), (v, dv)))
        return dq, dk, dv, None, None, None, None


def _scaled(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """scale·a·b of two batches of matrices, rounded once."""
    return torch.baddbmm(a.new_empty(1), a, b, beta=0, alpha=scale)


def _heads_last(like: Tensor, B: int) -> Tensor:
    """A new (B, H, T, D) tensor for one like (B·H, T, D); it lies in memory as (B, T, H, D), like projections."""
    _, T, D = like.shape
    return like.new_empty(B, T, len(like) // B, D).transpose(1, 2)


def _low(start: int, window: int | None) -> int:
    """The first key that any query of a block sees."""
    return 0 if window is None else max(0, start + 1 - window)


def _past(start: int, end: int, low: int, window: int, device: torch.device) -> Tensor:
    """(queries, keys) bool: the keys that have left a query's window."""
    queries, keys = torch.arange(start, end, device=device), torch.arange(low, end, device=device)
    return queries[:, None] - keys[None, :] >= window

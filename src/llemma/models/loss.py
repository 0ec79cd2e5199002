"""Cross-entropy of a linear output layer, computed in chunks that stay in the cache.

The logits of a whole batch (tokens × vocabulary) are never stored: each chunk's logits, loss and gradients
are finished before the next begins. Exact: the result equals ``F.cross_entropy`` on the full logits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 512  # rows of one product; 512 x 4096 logits in bf16 are 4 MB
PIECE = 128  # rows of one softmax; 128 x 4096 logits in fp32 are 2 MB, the second-level caches of two cores
GPU_CHUNK = 2048  # rows; 2048 x 32000 logits in fp32 are 262 MB, and the gradient of the weights is added up less often


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How logits are made of a hidden state and the output matrix; the defaults are Llama's: nothing more."""

    bias: Tensor | None = None  # (vocab,), added to the product
    scale: float = 1.0  # times the product
    softcap: float | None = None  # then softcap·tanh(logits / softcap)
    z_loss: float = 0.0  # weight of the squared log of the softmax's denominator; in the gradient, not in the value


PLAIN = Output()
_LISTENING: ContextVar[list[Tensor] | None] = ContextVar("_LISTENING", default=None)


@contextlib.contextmanager
def each_target() -> Iterator[list[Tensor]]:
    """Within the block: the losses in nats of the targets of each pass with gradients, (n,) fp32 pieces in order.

    For figures beside the sum that is learnt from; nothing is computed for it that the sum does not need.
    """
    heard: list[Tensor] = []
    token = _LISTENING.set(heard)
    try:
        yield heard
    finally:
        _LISTENING.reset(token)


def _summed(lost: Tensor) -> Tensor:
    """The sum of targets' losses, which are told to who listens."""
    heard = _LISTENING.get()
    if heard is not None:
        heard.append(lost.detach())
    return lost.sum()


def linear_cross_entropy(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    how: Output = PLAIN,
    *,
    scale: float | None = None,
) -> Tensor:
    """Cross-entropy in nats: (N, width) hidden states, (vocab, width) output matrix, (N,) target ids.

    The mean over the targets (0 without any), or ``scale`` times their sum.
    """
    kind = hidden.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    elif hidden.dtype != weight.dtype:  # a model that keeps its residual stream in fp32
        hidden = hidden.to(weight.dtype)
    scale = 1.0 / max(len(targets), 1) if scale is None else scale
    if not torch.is_grad_enabled():
        return _value(hidden, weight, targets, how) * scale
    args = (hidden, weight, how.bias, targets, how.scale, how.softcap, how.z_loss, scale)
    loss: Tensor = _Chunked.apply(*args)  # type: ignore[no-untyped-call]
    return loss


def _chunks(hidden: Tensor) -> Iterator[slice]:
    size = CHUNK if hidden.device.type == "cpu" else GPU_CHUNK
    return (slice(start, start + size) for start in range(0, len(hidden), size))


def _pieces(logits: Tensor) -> Iterator[slice]:
    size = PIECE if logits.device.type == "cpu" else GPU_CHUNK
    return (slice(start, start + size) for start in range(0, len(logits), size))


def _products(h: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(n, vocab), rounded where a model with this output layer would round."""
    logits = h @ weight.T
    return logits if bias is None else logits + bias.to(logits.dtype)


def _logits(products: Tensor, scale: float, softcap: float | None) -> Tensor:
    """(n, vocab) fp32."""
    logits = products.float()
    if scale != 1.0:
        logits = logits * scale
    return logits if softcap is None else (logits / softcap).tanh() * softcap


def _value(hidden: Tensor, weight: Tensor, targets: Tensor, how: Output) -> Tensor:
    """The summed loss alone, for validation."""
    total = torch.zeros((), device=hidden.device)
    for chunk in _chunks(hidden):
        logits = _logits(_products(hidden[chunk], weight, how.bias), how.scale, how.softcap)
        total += F.cross_entropy(logits, targets[chunk], reduction="sum")
    return total


def _with_gradient(logits: Tensor, t: Tensor, softcap: float | None, z_loss: float) -> tuple[Tensor, Tensor]:
    """The summed loss of (n, vocab) fp32 logits, and its gradient before the soft cap."""
    p = logits.softmax(-1)
    log_z = logits.amax(-1) - p.amax(-1).log()  # the largest probability is never below 1 / vocab
    loss = _summed(log_z - logits.gather(1, t[:, None])[:, 0])
    if z_loss:
        p.mul_(1 + 2 * z_loss * log_z[:, None])
    p[torch.arange(len(t), device=t.device), t] -= 1.0
    if softcap is not None:
        p.mul_(1 - (logits / softcap).square_())
    return loss, p


class _Chunked(torch.autograd.Function):
    """The gradients are made in the forward pass, while a chunk's logits are at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        out_scale: float,
        softcap: float | None,
        z_loss: float,
        scale: float,
    ) -> Tensor:
        d_hidden = torch.empty_like(hidden)
        # a frozen output layer (LoRA) needs no gradient of its own: a third of the work
        learned = ctx.needs_input_grad[1]
        d_weight = torch.zeros_like(weight, dtype=torch.float32) if learned else None
        d_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and ctx.needs_input_grad[2] else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        with torch.no_grad():
            for chunk in _chunks(hidden):
                h, t = hidden[chunk], targets[chunk]
                d_logits = _products(h, weight, bias)  # logits still: each piece's gradient takes their place
                for piece in _pieces(d_logits):
                    logits = _logits(d_logits[piece], out_scale, softcap)
                    loss, d = _with_gradient(logits, t[piece], softcap, z_loss)
                    total += loss
                    d_logits[piece] = d.mul_(scale * out_scale)
                d_hidden[chunk] = d_logits @ weight
                if d_weight is not None:
                    d_weight += d_logits.T @ h
                if d_bias is not None:
                    d_bias += d_logits.float().sum(0)
        ctx.save_for_backward(
            d_hidden,
            None if d_weight is None else d_weight.to(weight.dtype),
            None if d_bias is None or bias is None else d_bias.to(bias.dtype),
        )
        return total * scale

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        made = (None if d is None else d * grads[0].to(d.dtype) for d in ctx.saved_tensors)
        return (*made, None, None, None, None, None)

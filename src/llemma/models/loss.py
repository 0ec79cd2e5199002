"""Cross-entropy of a linear output layer, computed in chunks that stay in the cache.

The logits of a whole batch (tokens × vocabulary) are never stored: each chunk's logits, loss and gradients
are finished before the next begins. Exact: the result equals ``F.cross_entropy`` on the full logits.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

CHUNK = 512  # rows; 512 x 2048 logits in fp32 are 4 MB


def linear_cross_entropy(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats: (N, width) hidden states, (vocab, width) output matrix, (N,) target ids."""
    if hidden.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        hidden, weight = hidden.to(dtype), weight.to(dtype)
    if not torch.is_grad_enabled():
        return _value(hidden, weight, targets)
    loss: Tensor = _Chunked.apply(hidden, weight, targets)  # type: ignore[no-untyped-call]
    return loss


def _value(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The loss alone, for validation."""
    total = torch.zeros((), device=hidden.device)
    for start in range(0, len(hidden), CHUNK):
        logits = (hidden[start : start + CHUNK] @ weight.T).float()
        total += F.cross_entropy(logits, targets[start : start + CHUNK], reduction="sum")
    return total / len(hidden)


class _Chunked(torch.autograd.Function):
    """The gradients are made in the forward pass, while a chunk's logits are at hand."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        n = len(hidden)
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=torch.float32)
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        with torch.no_grad():
            for start in range(0, n, CHUNK):
                h, t = hidden[start : start + CHUNK], targets[start : start + CHUNK]
                log_p = F.log_softmax((h @ weight.T).float(), dim=-1)
                total -= log_p.gather(1, t[:, None]).sum()
                d_logits = log_p.exp_()
                d_logits[torch.arange(len(t), device=t.device), t] -= 1.0
                d_logits = d_logits.mul_(1.0 / n).to(h.dtype)
                d_hidden[start : start + CHUNK] = d_logits @ weight
                d_weight += d_logits.T @ h
        ctx.save_for_backward(d_hidden, d_weight.to(weight.dtype))
        return total / n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        d_hidden, d_weight = ctx.saved_tensors
        return d_hidden * grads[0].to(d_hidden.dtype), d_weight * grads[0].to(d_weight.dtype), None

"""AdamW as the Llemma recipe uses it: decoupled decay on matrices only, fused update, clipped gradients."""

from __future__ import annotations

from torch import nn
from torch.optim import AdamW

from llemma.train.config import OptimConfig


def adamw(model: nn.Module, settings: OptimConfig) -> AdamW:
    """AdamW over the model's parameters in two groups: matrices with weight decay, vectors (norms) without.

    The embedding is a matrix and decays, as in GPT-NeoX.
    """
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    groups = [
        {"params": [p for _, p in named if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for _, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=settings.lr, betas=(settings.beta1, settings.beta2), eps=settings.eps, fused=True)


def set_rate(optimizer: AdamW, rate: float) -> None:
    """Give every group the learning rate of the coming update."""
    for group in optimizer.param_groups:
        group["lr"] = rate

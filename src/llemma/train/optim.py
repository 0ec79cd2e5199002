"""AdamW as the Llemma recipe uses it: decoupled decay on matrices only, fused update, clipped gradients."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import AdamW

from llemma.train.config import OptimConfig


def adamw(model: nn.Module, settings: OptimConfig) -> AdamW:
    """AdamW over the model's parameters in two groups: matrices with weight decay, vectors (norms) without.

    The embedding is a matrix and decays, as in GPT-NeoX. Parameters on different device meshes are in groups of their
    own: one fused update cannot span two meshes.
    """
    groups: dict[tuple[bool, Any], list[nn.Parameter]] = {}
    for _, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (parameter.ndim >= 2, getattr(parameter, "device_mesh", None))
            groups.setdefault(key, []).append(parameter)
    decayed = [
        {"params": group, "weight_decay": settings.weight_decay if matrices else 0.0}
        for (matrices, _), group in groups.items()
    ]
    return AdamW(decayed, lr=settings.lr, betas=(settings.beta1, settings.beta2), eps=settings.eps, fused=True)


def set_rate(optimizer: AdamW, rate: float) -> None:
    """Give every group the learning rate of the coming update."""
    for group in optimizer.param_groups:
        group["lr"] = rate

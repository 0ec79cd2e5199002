"""What the training loop knows of a model: losses, blocks, a tensor-parallel plan, saving. No parallelism here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


class Trainable(nn.Module, ABC):
    """A causal language model that the loop can train, shard, compile and save.

    Ids are (B, T + 1) int64: position t predicts ids[:, t + 1]. ``mask`` (B, T) bool says which targets count (None:
    all); ``documents`` (B, T + 1) numbers the documents of a row: attention then stays within one, and a target of
    another document than the token before it does not count (None: a row is one stream, as in the Llemma recipe).
    """

    z_loss: float = 0.0  # weight of the squared log of the softmax's denominator in the gradients (PaLM: 1e-4)

    @abstractmethod
    def embedding(self) -> nn.Embedding:
        """The input embedding, whose rows ``hidden`` takes: what a family does to them later is part of ``hidden``."""

    @abstractmethod
    def hidden(self, embedded: Tensor, documents: Tensor | None = None) -> Tensor:
        """(B, T, width) embedded tokens, of documents (B, T) → the last hidden states (B, T, width)."""

    @abstractmethod
    def output_loss(self, hidden: Tensor, targets: Tensor, scale: float | None = None) -> Tensor:
        """Cross-entropy in nats of (N, width) last hidden states for (N,) ids: the mean, or ``scale`` times the sum."""

    @abstractmethod
    def logits(self, hidden: Tensor) -> Tensor:
        """(..., width) last hidden states → (..., vocabulary) logits."""

    @abstractmethod
    def loss_sum(self, ids: Tensor, mask: Tensor | None = None, documents: Tensor | None = None) -> tuple[Tensor, int]:
        """The summed cross-entropy in nats of the counted targets, and how many they are.

        For averages over ranks and accumulated batches: add the sums, divide by the number of all targets. The number
        is ``count(ids, mask, documents)``, which needs no model.
        """

    @abstractmethod
    def loss(self, ids: Tensor, mask: Tensor | None = None, documents: Tensor | None = None) -> Tensor:
        """The mean cross-entropy in nats of the counted targets; 0 when there are none."""

    @abstractmethod
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks in order: what is compiled, checkpointed and sharded one by one."""

    @abstractmethod
    def tensor_plan(self) -> dict[str, str]:
        """Names of linear modules and how tensor parallelism splits them: ``colwise`` or ``rowwise``.

        Modules that are not named stay whole. Empty when no plan is known.
        """

    @abstractmethod
    def kv_heads(self) -> int:
        """Key and value heads: tensor parallelism over more devices than that is impossible."""

    @abstractmethod
    def vocab_size(self) -> int:
        """Entries of the vocabulary."""

    @abstractmethod
    def max_context(self) -> int | None:
        """The context the positions are made for; None when the model does not say."""

    @abstractmethod
    def save(self, folder: Path, *, end_id: int | None = None, state: Mapping[str, Tensor] | None = None) -> None:
        """Write a Hugging Face model folder (it must exist) that ``transformers`` loads with equal logits.

        ``state`` holds whole weights by ``state_dict`` name where the model's own are shards.
        """

    @abstractmethod
    def flops_per_token(self, context: int) -> float:
        """Operations of a training step per token: 6 per weight in a matrix product and 12·layers·context·width.

        The attention term counts the whole square of scores, as published figures of model FLOPs utilisation do
        (PaLM, appendix B; GPT-NeoX, torchtitan); causal attention needs half of it.
        """

    def parameter_count(self) -> int:
        """Number of parameters, shared ones once."""
        return sum(p.numel() for p in self.parameters())


class Around(Trainable):
    """A model around another, ``base``, whose parts it passes on; what a subclass changes it says itself."""

    base: Trainable

    def embedding(self) -> nn.Embedding:
        """The model's own."""
        return self.base.embedding()

    def hidden(self, embedded: Tensor, documents: Tensor | None = None) -> Tensor:
        """The model's own."""
        return self.base.hidden(embedded, documents)

    def output_loss(self, hidden: Tensor, targets: Tensor, scale: float | None = None) -> Tensor:
        """The model's own: tokens alone."""
        return self.base.output_loss(hidden, targets, scale)

    def logits(self, hidden: Tensor) -> Tensor:
        """The model's own."""
        return self.base.logits(hidden)

    def blocks(self) -> list[nn.Module]:
        """The model's own."""
        return self.base.blocks()

    def kv_heads(self) -> int:
        """The model's own."""
        return self.base.kv_heads()

    def vocab_size(self) -> int:
        """The model's own."""
        return self.base.vocab_size()

    def max_context(self) -> int | None:
        """The model's own."""
        return self.base.max_context()


def counted(ids: Tensor, mask: Tensor | None, documents: Tensor | None) -> Tensor | None:
    """Which targets count: (B, T) bool, or None for all of them."""
    if documents is not None:
        within = documents[:, 1:] == documents[:, :-1]
        mask = within if mask is None else mask & within
    if mask is not None and mask.shape != (ids.shape[0], ids.shape[1] - 1):
        raise ValueError(f"mask {tuple(mask.shape)} does not fit ids {tuple(ids.shape)}: (B, T) and (B, T + 1)")
    return mask


def count(ids: Tensor, mask: Tensor | None = None, documents: Tensor | None = None) -> int:
    """How many targets of a batch count."""
    chosen = counted(ids, mask, documents)
    return ids[:, 1:].numel() if chosen is None else int(chosen.sum())


def together(documents: Tensor) -> Tensor:
    """What each position may see when attention stays within documents: (B, T) numbers → (B, 1, T, T) bool."""
    same = documents[:, None, :, None] == documents[:, None, None, :]
    T = documents.shape[1]
    return same & torch.ones(T, T, dtype=torch.bool, device=documents.device).tril()

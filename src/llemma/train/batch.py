"""What a data source hands the training loop: rows of token ids, which targets count, where documents end.

No torch here: a batch is plain numpy, and the loop moves it to its device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class Batch:
    """The rows of one step, or one rank's share of them; the targets are ``ids[:, 1:]``.

    ids: (B, T + 1) int64 token ids.
    mask: (B, T) bool, which targets count in the loss; None: all of them.
    documents: (B, T + 1) int32, the number of the document each token belongs to, counted within the row; attention
        stays inside a document and its positions start at 0. None: a row is one stream, as in the Llemma recipe.
    sources: (B, T) integers, the number of the source of each target, for figures; None: nobody asks.
    words: (B, T + 1, 3) int64, the numbers beside ``[NUM]`` (``tokens.numbers.values``); None: the model has no such.
    """

    ids: np.ndarray
    mask: np.ndarray | None = None
    documents: np.ndarray | None = None
    words: np.ndarray | None = None
    sources: np.ndarray | None = None

    def __post_init__(self) -> None:
        rows, width = self.ids.shape
        if self.mask is not None and self.mask.shape != (rows, width - 1):
            raise ValueError(f"mask is {self.mask.shape}; ids of {self.ids.shape} need {(rows, width - 1)}")
        if self.documents is not None and self.documents.shape != self.ids.shape:
            raise ValueError(f"documents is {self.documents.shape}; ids of {self.ids.shape} need the same")

    @property
    def targets(self) -> int:
        """How many targets count in the loss."""
        return int(self.mask.sum()) if self.mask is not None else self.ids.shape[0] * (self.ids.shape[1] - 1)


class Source(Protocol):
    """Anything the loop can train on. ``batch`` is a pure function: the same step gives the same rows, always."""

    batch_size: int

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """A rank's share of the rows of a step; the shares of all ranks, one below the other, are the batch."""

    def epochs(self, steps: int) -> Mapping[str, float]:
        """How often each source is read in ``steps`` steps."""

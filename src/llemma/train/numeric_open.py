"""A model behind a number encoding as its training left it at checkpoints, and its loss on the words of answers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from llemma.models.numeric import NumericLM
from llemma.train.batch import Batch
from llemma.train.checkpoint import checked, read_into
from llemma.train.config import TrainConfig
from llemma.train.numeric import numeric_model
from llemma.train.parallel import ALONE, start

_ROWS = 128  # at once


def from_checkpoints(config: TrainConfig, found: Sequence[Path]) -> NumericLM:
    """The model of this run with the mean of the weights of some checkpoints, on the run's device.

    Raises DataError when a file of theirs is damaged.
    """
    model = numeric_model(config)
    weights = dict(model.named_parameters())
    total = {name: torch.zeros_like(p) for name, p in weights.items()}
    for checkpoint in found:
        checked(checkpoint, ALONE)
        read_into(weights, checkpoint, ALONE)
        with torch.no_grad():
            for name, p in weights.items():
                total[name] += p / len(found)
    with torch.no_grad():
        for name, p in weights.items():
            p.copy_(total[name])
    with start(config.parallel, config.device) as mesh:
        return model.to(mesh.device).eval()


@torch.no_grad()
def words_loss(model: NumericLM, batch: Batch) -> float:
    """Mean cross-entropy in nats of the learnt tokens that are no part of a number: words, and the end mark.

    They are the same tokens behind every encoding, so that the figures compare.
    """
    assert batch.mask is not None
    assert batch.words is not None
    device = model.embedding().weight.device
    total, count = 0.0, 0
    for first in range(0, len(batch.ids), _ROWS):
        some = slice(first, first + _ROWS)
        word = batch.mask[some] & (batch.ids[some, 1:] < model.text.base.vocab_size)
        width = int(np.flatnonzero(word.any(axis=0)).max(initial=0)) + 1  # behind it is padding
        ids = torch.from_numpy(batch.ids[some, : width + 1]).to(device)
        words = torch.from_numpy(batch.words[some, :width]).to(device)
        hidden = model.hidden(model.embed(ids[:, :-1], words))
        chosen = torch.from_numpy(word[:, :width]).to(device)
        total += float(model.output_loss(hidden[chosen], ids[:, 1:][chosen], scale=1.0))
        count += int(word.sum())
    return total / max(count, 1)

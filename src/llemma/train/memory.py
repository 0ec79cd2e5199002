"""What a run would take, without starting it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llemma.train.config import TrainConfig
from llemma.train.job import described, prepare


def plan(config: TrainConfig) -> Mapping[str, Any]:
    """What a run would take, without starting it: parameters, tokens, memory, epochs per source."""
    job = prepare(config)
    parameters = described(config, job.tokenizer).parameter_count()
    tokens = config.batch_size * config.context
    return {
        "parameters": parameters,
        "tokens_per_step": tokens,
        "tokens": tokens * job.config.steps,
        "weights_bytes": 4 * parameters,
        "gradients_bytes": 4 * parameters,
        "optimizer_bytes": 8 * parameters,
        "epochs": job.rows.epochs(job.config.steps),
    }

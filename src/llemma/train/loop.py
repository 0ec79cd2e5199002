"""The training loop: pretraining and continued pretraining of a Llama on token shards.

Readable in one sitting. Deterministic on one machine: the same settings give the same bits, straight through
or interrupted at any step. Parallel training is not here yet.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW

from llemma.config import build, to_table
from llemma.corpus.shards import fingerprint, read_manifest
from llemma.corpus.trace import Traced, described
from llemma.errors import ConfigError, DataError, RunError
from llemma.models.checkpoint import load_model, model_folder, read_config, save_model, weights_fingerprint
from llemma.models.llama import Llama, LlamaConfig, initialise, parameter_count
from llemma.records import Event, Progress, silent
from llemma.run import Run, cores, open_run, read_json, sha256_file
from llemma.tokens.tokenizer import Tokenizer, load_tokenizer, tokenizer_file
from llemma.train.checkpoint import checkpoints, load_checkpoint, save_checkpoint
from llemma.train.config import FREE, TrainConfig, learning_rate, memory_plan
from llemma.train.data import Mixture, validation
from llemma.train.optim import adamw, set_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A finished run: the model folder and the figures of ``metrics.json``."""

    model: Path
    metrics: Mapping[str, Any]


def train(config: TrainConfig, progress: Progress = silent, *, stop_at: int | None = None) -> Trained | None:
    """Train, or go on with, the run in ``config.run``; None when it stopped early at step ``stop_at``.

    Raises ConfigError and DataError before the first step for settings, corpus or initial model that do not
    fit, RunError when the loss stops being finite (the last checkpoint is kept).
    """
    tokenizer = _tokenizer(config)
    data = _mixture(config)
    _sizes(config, tokenizer)  # a model that cannot fit is refused before there is a run folder with its settings
    set_threads(config.threads)
    settings = to_table(config) | {
        "threads": thread_count(config.threads),
        "corpus_sha256": fingerprint(read_manifest(config.corpus)),
    }
    if config.init != "random":
        settings["init_sha256"] = weights_fingerprint(model_folder(Path(config.init)))
    with open_run(config.run, "train", settings, free=FREE) as run:
        done = run.folder / "metrics.json"
        if done.exists() and (run.folder / "model" / "config.json").exists():
            return Trained(model=run.folder / "model", metrics=read_json(done))
        model = initial_model(config, tokenizer)
        optimizer = adamw(model, config.optim)
        first = _resume(run, model, optimizer)
        last = _loop(config, run, model, optimizer, data, tokenizer, first, progress, stop_at)
        if last < config.steps:
            return None
        return _finish(config, run, model, data, tokenizer)


def plan(config: TrainConfig) -> Mapping[str, Any]:
    """What a run would take, without starting it: parameters, tokens, memory, epochs per source."""
    tokenizer = _tokenizer(config)
    sizes = _sizes(config, tokenizer)
    return {**memory_plan(parameter_count(sizes), config), "epochs": _mixture(config).epochs(config.steps)}


def trace(config: TrainConfig) -> Traced:
    """The document behind a token of a batch: steps, rows and columns count from 0. Raises ConfigError outside."""
    numbers = config.trace.split(":")
    if len(numbers) != 3 or not all(n.isascii() and n.isdigit() for n in numbers):
        raise ConfigError(f"trace={config.trace} is not STEP:ROW:COLUMN such as 1200:0:17")
    return described(config.corpus, _mixture(config).trace(*map(int, numbers)))


def initial_model(config: TrainConfig, tokenizer: Tokenizer) -> Llama:
    """The model at step 0: random by ``seed``, or the folder ``init``. Raises ConfigError when it cannot fit."""
    sizes = _sizes(config, tokenizer)
    if config.init != "random":
        return load_model(model_folder(Path(config.init)))
    model = Llama(sizes)
    initialise(model, config.seed)
    return model


def autocast(precision: str) -> AbstractContextManager[Any]:
    """bf16 matrix products when asked for, or (auto) when the CPU has instructions for them."""
    fast = precision == "bf16" or (precision == "auto" and bf16_is_fast())
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast)


def bf16_is_fast() -> bool:
    """Whether this CPU multiplies bf16 natively (AVX512-BF16 or AMX); elsewhere bf16 is emulated and slow."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def set_threads(threads: int) -> None:
    """Fix the number of CPU threads: results depend on it, so it must not follow the machine's load."""
    torch.set_num_threads(thread_count(threads))


def thread_count(threads: int) -> int:
    """What ``threads=0`` means on this machine."""
    return threads or min(8, cores())


def _sizes(config: TrainConfig, tokenizer: Tokenizer) -> LlamaConfig:
    if config.init == "random":
        table = to_table(config.model)
        table |= {"vocab_size": tokenizer.vocab_size, "max_position_embeddings": config.context}
        return build(LlamaConfig, table, where="model: ")
    folder = model_folder(Path(config.init))
    sizes = read_config(folder)
    if sizes.vocab_size != tokenizer.vocab_size:
        raise ConfigError(
            f"init={folder} has {sizes.vocab_size} vocabulary entries, the corpus's tokeniser "
            f"{tokenizer.vocab_size}; build the corpus with tokenizer.path={folder}"
        )
    if sizes.max_position_embeddings < config.context:
        raise ConfigError(f"context={config.context} is longer than init's {sizes.max_position_embeddings}")
    return sizes


def _tokenizer(config: TrainConfig) -> Tokenizer:
    """The corpus's tokeniser; DataError when it is not the one the shards were written with."""
    expected = read_manifest(config.corpus)["tokenizer"]["sha256"]
    path = tokenizer_file(config.corpus)
    if path is not None and sha256_file(path) != expected:
        raise DataError("damaged, or not the tokeniser of the shards; delete the corpus and build it again", where=path)
    return load_tokenizer(config.corpus)


def _mixture(config: TrainConfig) -> Mixture:
    return Mixture(
        config.corpus, config.mixture, context=config.context, batch_size=config.batch_size, seed=config.seed
    )


def _resume(run: Run, model: Llama, optimizer: AdamW) -> int:
    """Load the newest checkpoint, if any; rows logged after it are dropped, they will be made again."""
    found = checkpoints(run.folder / "checkpoints")
    step = int(load_checkpoint(found[-1], model, optimizer)["step"]) if found else 0
    run.truncate(row["id"] for row in run.rows() if row["step"] <= step)
    if found:
        run.log(f"resumed at step {step}")
    return step


def _loop(
    config: TrainConfig,
    run: Run,
    model: Llama,
    optimizer: AdamW,
    data: Mixture,
    tokenizer: Tokenizer,
    first: int,
    progress: Progress,
    stop_at: int | None,
) -> int:
    """Steps ``first`` to the end (or ``stop_at``); returns the number of steps the model has seen."""
    held_out = validation(
        config.corpus, data.names, context=config.context, rows=config.batch_size * config.valid_batches
    )
    last = min(config.steps, stop_at if stop_at is not None else config.steps)
    clock, losses = time.perf_counter(), []
    for step in range(first, last):
        rate = learning_rate(config.optim, step, config.steps)
        loss, norm = _step(config, model, optimizer, torch.from_numpy(data.batch(step)), rate)
        losses.append(loss)
        seen = step + 1
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise RunError(
                f"{run.folder}: loss {loss}, gradient norm {norm} at step {seen}; lower optim.lr and start a new run "
                "(run=OTHER); checkpoints before this step are kept"
            )
        kept = seen % config.checkpoint_every == 0 or seen == last
        if seen % config.log_every == 0 or kept:  # at checkpoints too: a resumed run then logs the same means
            seconds = time.perf_counter() - clock
            tokens = len(losses) * config.batch_size * config.context
            row: dict[str, Any] = {
                "id": f"step-{seen:06d}",
                "step": seen,
                "tokens": seen * config.batch_size * config.context,
                "loss": float(np.mean(losses)),
                "lr": rate,
                "grad_norm": norm,
                "tokens_per_second": round(tokens / seconds, 1),
                "seconds": round(seconds, 3),
            }
            run.append([row])
            figures = {"loss": round(row["loss"], 4), "tokens/s": round(row["tokens_per_second"])}
            progress(
                Event(stage=f"train {run.folder.name}", done=seen, total=config.steps, unit="steps", figures=figures)
            )
            clock, losses = time.perf_counter(), []
        if seen == config.steps or (config.valid_every and seen % config.valid_every == 0):
            valid = {name: _valid_loss(config, model, rows) for name, rows in held_out.items()}
            run.append([{"id": f"valid-{seen:06d}", "step": seen, "valid": valid}])
        if kept:
            state = {"tokens": seen * config.batch_size * config.context}
            save_checkpoint(
                run.folder / "checkpoints",
                seen,
                model,
                optimizer,
                end_id=tokenizer.end_id,
                state=state,
                keep=config.keep,
            )
    return max(first, last)


def _step(config: TrainConfig, model: Llama, optimizer: AdamW, ids: Tensor, rate: float) -> tuple[float, float]:
    """One update on (batch_size, context + 1) ids; the loss in nats and the gradient norm before clipping."""
    set_rate(optimizer, rate)
    with autocast(config.precision):
        loss = model.loss(ids)
    loss.backward()  # type: ignore[no-untyped-call]
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.optim.clip or math.inf)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item(), norm.item()


def _valid_loss(config: TrainConfig, model: Llama, rows: np.ndarray) -> float:
    """Mean loss in nats over (rows, context + 1) held-out ids."""
    size = config.batch_size
    with torch.no_grad(), autocast(config.precision):
        parts = [
            (len(part), model.loss(torch.from_numpy(part)).item())
            for part in np.split(rows, range(size, len(rows), size))
        ]
    return sum(n * loss for n, loss in parts) / len(rows)


def _finish(config: TrainConfig, run: Run, model: Llama, data: Mixture, tokenizer: Tokenizer) -> Trained:
    """Write the model folder (by one rename) and then the metrics: their presence means finished."""
    final, part = run.folder / "model", run.folder / ".model.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    save_model(model, part, end_id=tokenizer.end_id)
    tokenizer.save(part)
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
    rows = list(run.rows())
    steps = [row for row in rows if "loss" in row]
    valid = [row["valid"] for row in rows if "valid" in row]
    metrics = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": config.steps,
        "tokens": config.steps * config.batch_size * config.context,
        "final_loss": steps[-1]["loss"],
        "valid": valid[-1] if valid else {},
        "epochs": data.epochs(config.steps),
        "seconds": round(sum(row["seconds"] for row in steps), 1),
        "bf16": config.precision == "bf16" or (config.precision == "auto" and bf16_is_fast()),
    }
    run.write_json("metrics.json", metrics)
    return Trained(model=final, metrics=metrics)

"""The training loop: pretraining, continued pretraining and fine-tuning, in one process or under ``torchrun``.

Readable in one sitting. Deterministic on one machine's CPU: the same settings give the same bits, straight through
or interrupted at any step. At another number of processes the losses are equal to rounding: rows depend on the step
alone, weights on their names, and sums of losses are divided by the number of all targets, once.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW

from llemma.corpus.trace import Traced, described
from llemma.errors import ConfigError, RunError
from llemma.models.trainable import Trainable
from llemma.records import Event, Progress, silent
from llemma.run import Run, open_run, read_json
from llemma.train import job as jobs
from llemma.train.batch import Batch
from llemma.train.checkpoint import Kept, Saver, checkpoints, export, load_checkpoint
from llemma.train.config import FREE, TrainConfig, learning_rate
from llemma.train.device import autocast, bf16_is_fast, set_threads, wants_bf16
from llemma.train.job import Job, chosen, on, prepare, targets_of
from llemma.train.memory import plan
from llemma.train.optim import adamw, set_rate
from llemma.train.parallel import Mesh, clip, last_of_step, start

__all__ = ["Trained", "bf16_is_fast", "plan", "set_threads", "trace", "train"]
AHEAD = 2  # batches gathered while one is trained on


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A finished run: the model folder and the figures of ``metrics.json``."""

    model: Path
    metrics: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Training:
    """What the steps of a run work with. ``run`` is None in every process but the lead."""

    job: Job
    mesh: Mesh
    run: Run | None
    model: Trainable
    optimizer: AdamW
    saver: Saver
    progress: Progress

    @property
    def config(self) -> TrainConfig:
        return self.job.config

    @property
    def bf16(self) -> bool:
        """Whether the loop casts; under a mesh the sharded model does."""
        return self.mesh.mesh is None and wants_bf16(self.config.precision, self.mesh.device.type)


def train(config: TrainConfig, progress: Progress = silent, *, stop_at: int | None = None) -> Trained | None:
    """Train, or go on with, the run in ``config.run``; None when it stopped early at step ``stop_at``.

    Raises ConfigError and DataError before the first step for settings, corpus or initial model that do not
    fit, RunError when the loss stops being finite (the last checkpoint is kept).
    """
    job = prepare(config)  # a model that cannot fit is refused before there is a run folder with its settings
    set_threads(config.threads)
    with contextlib.ExitStack() as stack:
        mesh = stack.enter_context(start(config.parallel, config.device))
        run = stack.enter_context(_open(job, mesh)) if mesh.lead else None
        done = config.run / "metrics.json"
        if mesh.agree(done.exists() and (config.run / "model" / "config.json").exists()):
            return Trained(model=config.run / "model", metrics=read_json(done))
        model = jobs.build_model(job.config, job.tokenizer, mesh)
        kept = Kept(newest=config.keep, every=config.keep_every)
        saver = stack.enter_context(Saver(config.run / "checkpoints", mesh, kept, background=config.save_async))
        training = Training(
            job=job,
            mesh=mesh,
            run=run,
            model=model,
            optimizer=adamw(model, config.optim),
            saver=saver,
            progress=progress if mesh.lead else silent,
        )
        last = _loop(training, _resume(training), stop_at)
        saver.wait()
        mesh.barrier()
        if last < job.config.steps:
            return None
        if run is not None:
            _finish(training, run)
        mesh.barrier()
        return Trained(model=config.run / "model", metrics=read_json(done))


def trace(config: TrainConfig) -> Traced:
    """The document behind a token of a batch: steps, rows and columns count from 0. Raises ConfigError outside."""
    numbers = config.trace.split(":")
    if len(numbers) != 3 or not all(n.isascii() and n.isdigit() for n in numbers):
        raise ConfigError(f"trace={config.trace} is not STEP:ROW:COLUMN such as 1200:0:17")
    if config.data != "corpus":
        raise ConfigError("trace= shows documents of a corpus; this run has data=sft")
    return described(config.corpus, jobs.mixture(config).trace(*map(int, numbers)))


def _open(job: Job, mesh: Mesh) -> Run:
    """The run folder. The bits of one process on CPU depend on its threads; those of any other run do not."""
    exact = mesh.mesh is None and mesh.device.type == "cpu"
    settings, stored = dict(job.settings), job.config.run / "config.json"
    if not exact:
        settings["threads"] = 0
    other = stored.exists() and read_json(stored).get("settings", {}).get("threads") == 0
    return open_run(job.config.run, "train", settings, free=(*FREE, "threads") if other or not exact else FREE)


def _resume(training: Training) -> int:
    """Load the newest checkpoint, if any; rows logged after it are dropped, they will be made again."""
    found = checkpoints(training.config.run / "checkpoints")
    step = 0
    if found:
        step = int(load_checkpoint(found[-1], training.model, training.optimizer, training.mesh)["step"])
    if training.run is not None:
        training.run.truncate([row["id"] for row in training.run.rows() if row["step"] <= step])
        if found:
            training.run.log(f"resumed at step {step}")
    return step


def _loop(training: Training, first: int, stop_at: int | None) -> int:
    """Steps ``first`` to the end (or ``stop_at``); returns the number of steps the model has seen."""
    config = training.config
    held_out = training.job.rows.validation(config.batch_size * config.valid_batches)
    last = min(config.steps, stop_at if stop_at is not None else config.steps)
    clock, losses = time.perf_counter(), list[float]()
    for step, batch in _batches(training, first, last):
        rate = learning_rate(config.optim, step, config.steps)
        loss, norm = _step(training, batch, rate)
        losses.append(loss)
        seen = step + 1
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise RunError(
                f"{config.run}: loss {loss}, gradient norm {norm} at step {seen}; lower optim.lr and start a new run "
                "(run=OTHER); checkpoints before this step are kept"
            )
        kept = seen % config.checkpoint_every == 0 or seen == last
        if seen % config.log_every == 0 or kept:  # at checkpoints too: a resumed run then logs the same means
            _log(training, seen, losses, {"lr": rate, "grad_norm": norm}, time.perf_counter() - clock)
            clock, losses = time.perf_counter(), []
        if seen == config.steps or (config.valid_every and seen % config.valid_every == 0):
            valid = {name: _valid_loss(training, rows) for name, rows in held_out.items()}
            if training.run is not None:
                training.run.append([{"id": f"valid-{seen:06d}", "step": seen, "valid": valid}])
        if kept:
            end_id, state = training.job.tokenizer.end_id, {"tokens": seen * config.batch_size * config.context}
            training.saver.save(seen, training.model, training.optimizer, end_id=end_id, state=state)
    return max(first, last)


def _batches(training: Training, first: int, last: int) -> Iterator[tuple[int, Batch]]:
    """This process's share of each step's rows, gathered by a thread while the steps before are trained on."""
    rows, mesh = training.job.rows, training.mesh
    with ThreadPoolExecutor(1, thread_name_prefix="rows") as thread:
        waiting = deque(
            thread.submit(rows.batch, step, mesh.data_rank, mesh.data_world)
            for step in range(first, min(first + AHEAD, last))
        )
        for step in range(first, last):
            batch = waiting.popleft().result()
            if step + AHEAD < last:
                waiting.append(thread.submit(rows.batch, step + AHEAD, mesh.data_rank, mesh.data_world))
            yield step, batch


def _step(training: Training, batch: Batch, rate: float) -> tuple[float, float]:
    """Gradients of one step and its update; the loss in nats over all its targets, and the norm before clipping."""
    model, mesh, optimizer = training.model, training.mesh, training.optimizer
    set_rate(optimizer, rate)
    parts = _parts(batch, training.config.micro_batch)
    targets = max(1.0, _summed(mesh, float(sum(map(targets_of, parts)))))
    total = torch.zeros((), device=mesh.device)
    for number, part in enumerate(parts):
        last_of_step(model, number == len(parts) - 1)
        loss = _loss_sum(training, part) / targets
        share = loss * mesh.data_world  # sharded gradients are averaged over the shares of the batch
        share.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    norm = clip(mesh, model.parameters(), training.config.optim.clip or math.inf)
    found = mesh.sum(total).item(), norm.item()
    if all(map(math.isfinite, found)):
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return found


def _loss_sum(training: Training, batch: Batch) -> Tensor:
    """The summed loss of a process's rows."""
    device = training.mesh.device
    ids, mask, documents = on(device, batch.ids), on(device, batch.mask), on(device, batch.documents)
    assert ids is not None
    with autocast(training.bf16, device.type):
        loss, _ = training.model.loss_sum(ids, mask, documents)
    return loss


def _parts(batch: Batch, size: int) -> list[Batch]:
    """The rows in pieces of at most ``size`` (0: all at once): a pass each, gradients accumulate."""
    size = size or len(batch.ids)
    return [chosen(batch, slice(at, at + size)) for at in range(0, len(batch.ids), size)]


def _summed(mesh: Mesh, value: float) -> float:
    return mesh.sum(torch.tensor(value, dtype=torch.float64, device=mesh.device)).item()


@torch.no_grad()
def _valid_loss(training: Training, rows: Batch) -> float:
    """Mean loss in nats over held-out rows; each process reads its share, in the same number of passes."""
    mesh, size = training.mesh, training.config.micro_batch or training.config.batch_size // training.mesh.data_world
    total, targets = 0.0, 0.0
    for at in range(0, len(rows.ids), size * mesh.data_world):
        wanted = np.arange(at + mesh.data_rank * size, at + (mesh.data_rank + 1) * size)
        wanted = wanted[wanted < len(rows.ids)]
        part = chosen(rows, wanted if len(wanted) else np.array([0]))  # beyond the end: a pass that does not count
        loss = _loss_sum(training, part).item()
        if len(wanted):
            total, targets = total + loss, targets + targets_of(part)
    return _summed(mesh, total) / max(1.0, _summed(mesh, targets))


def _log(training: Training, seen: int, losses: list[float], figures: Mapping[str, float], seconds: float) -> None:
    """A row of the steps since the last one, in the run folder and on the terminal."""
    run, config = training.run, training.config
    if run is None:
        return
    tokens = config.batch_size * config.context
    row: dict[str, Any] = {
        "id": f"step-{seen:06d}",
        "step": seen,
        "tokens": seen * tokens,
        "loss": float(np.mean(losses)),
        **figures,
        "tokens_per_second": round(len(losses) * tokens / seconds, 1),
        "seconds": round(seconds, 3),
    }
    run.append([row])
    shown = {"loss": round(row["loss"], 4), "tokens/s": round(row["tokens_per_second"])}
    training.progress(
        Event(stage=f"train {run.folder.name}", done=seen, total=config.steps, unit="steps", figures=shown)
    )


def _finish(training: Training, run: Run) -> None:
    """Write the model folder (by one rename) and then the metrics: their presence means finished."""
    config, job = training.config, training.job
    final, part = run.folder / "model", run.folder / ".model.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    if training.mesh.mesh is None:
        training.model.save(part, end_id=job.tokenizer.end_id)
    else:
        whole, newest = jobs.described(config, job.tokenizer), checkpoints(run.folder / "checkpoints")[-1]
        export(newest, whole, part, end_id=job.tokenizer.end_id, dtype=torch.float32)
    job.tokenizer.save(part)
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
    rows = list(run.rows())
    steps = [row for row in rows if "loss" in row]
    valid = [row["valid"] for row in rows if "valid" in row]
    metrics = {
        "parameters": training.model.parameter_count(),
        "steps": config.steps,
        "tokens": config.steps * config.batch_size * config.context,
        "final_loss": steps[-1]["loss"],
        "valid": valid[-1] if valid else {},
        "epochs": job.rows.epochs(config.steps),
        "seconds": round(sum(row["seconds"] for row in steps), 1),
        "bf16": wants_bf16(config.precision, training.mesh.device.type),
    }
    run.write_json("metrics.json", metrics)

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
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import AdamW

from llemma.corpus.trace import Traced, described
from llemma.errors import ConfigError, RunError
from llemma.models.loss import each_target
from llemma.models.trainable import Trainable
from llemma.records import Event, Progress, silent
from llemma.run import Run, open_run, read_json
from llemma.train import job as jobs
from llemma.train.batch import Batch
from llemma.train.checkpoint import Kept, Saver, checkpoints, load_checkpoint
from llemma.train.config import FREE, TrainConfig, learning_rate
from llemma.train.device import autocast, bf16_is_fast, device_name, keep_freed_memory, set_threads, wants_bf16
from llemma.train.guard import GuardState, Judged, judge, resumed
from llemma.train.job import Job, chosen, names_of, on, prepare, sources_of, targets_of
from llemma.train.optim import adamw, set_rate
from llemma.train.parallel import Mesh, clip, gradient_norm, last_of_step, start
from llemma.train.sft import Examples
from llemma.train.tracking import Tracker, peak_memory, stated_peak, step_row

__all__ = ["Trained", "autocast", "bf16_is_fast", "set_threads", "trace", "train"]
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
    peak: float = 0.0  # stated operations per second of all devices
    tracker: Tracker | None = None

    def record(self, row: Mapping[str, Any] | None) -> None:
        """Store a row and show it to the viewers; in the lead."""
        if row is None or self.run is None:
            return
        self.run.append([row])
        if self.tracker is not None:
            self.tracker.log(row)
            while self.tracker.troubles:
                self.run.log(self.tracker.troubles.pop(0))

    @property
    def config(self) -> TrainConfig:
        return self.job.config

    @property
    def precision(self) -> str:
        """What the loop casts to; under a mesh the sharded model does it itself."""
        return self.config.precision if self.mesh.mesh is None else "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """Where a run stands: steps the model has seen, what the guard remembers, the step of the newest checkpoint."""

    step: int
    guard: GuardState
    saved: int


def train(config: TrainConfig, progress: Progress = silent, *, stop_at: int | None = None) -> Trained | None:
    """Train, or go on with, the run in ``config.run``; None when it stopped early at step ``stop_at``.

    Raises ConfigError and DataError before the first step for settings, corpus or initial model that do not
    fit, RunError when the guard gives up on losses that are no numbers (the last checkpoint is kept).
    """
    job = prepare(config)  # a model that cannot fit is refused before there is a run folder with its settings
    set_threads(config.threads)
    keep_freed_memory()
    with contextlib.ExitStack() as stack:
        mesh = stack.enter_context(start(config.parallel, config.device))
        run = stack.enter_context(_open(job, mesh)) if mesh.lead else None
        done = config.run / "metrics.json"
        if mesh.agree(done.exists() and (config.run / "model" / "config.json").exists()):
            return Trained(model=config.run / "model", metrics=read_json(done))
        model = jobs.build_model(job.config, job.tokenizer, mesh)
        _refuse_packing(config, model)
        kept = Kept(newest=config.keep, every=config.keep_every)
        training = Training(
            job=job,
            mesh=mesh,
            run=run,
            model=model,
            optimizer=adamw(model, config.optim),
            saver=stack.enter_context(Saver(config.run / "checkpoints", mesh, kept, background=config.save_async)),
            progress=progress,
            peak=stated_peak(config.track, device_name(mesh.device)) * mesh.world,
        )
        last = min(job.config.steps, job.config.steps if stop_at is None else stop_at)
        at = _resume(training)
        if run is not None:
            _tell(job, run, progress)
            training = replace(training, tracker=stack.enter_context(_tracker(job, run)))
        held_out = job.rows.validation(config.batch_size * config.valid_batches)
        while at.step < last:
            at = _stretch(training, at, last, held_out)
        training.saver.wait()
        mesh.barrier()
        if at.step < job.config.steps:
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
        raise ConfigError("trace= shows documents of a corpus; this run has data={config.data}")
    return described(config.corpus, jobs.mixture(config, verify=False).trace(*map(int, numbers)))


def _open(job: Job, mesh: Mesh) -> Run:
    """The run folder. The bits of one process on CPU depend on its threads; those of any other run do not."""
    exact = mesh.mesh is None and mesh.device.type == "cpu"
    settings, stored = dict(job.settings), job.config.run / "config.json"
    if not exact:
        settings["threads"] = 0
    other = stored.exists() and read_json(stored).get("settings", {}).get("threads") == 0
    return open_run(job.config.run, "train", settings, free=(*FREE, "threads") if other or not exact else FREE)


def _refuse_packing(config: TrainConfig, model: Trainable) -> None:
    """ConfigError for packed examples that would see each other."""
    if config.data == "sft" and config.sft.packing and not getattr(model, "document_masks", True):
        raise ConfigError(
            f"{config.init}: this model cannot keep attention inside each example, as sft.packing=true needs; "
            "use sft.packing=false"
        )


def _tell(job: Job, run: Run, progress: Progress) -> None:
    """Keep the examples, and say what became of them: all in the log, in a line where some could not be used."""
    if not isinstance(job.rows, Examples):
        return
    job.rows.keep(run.folder)
    lines = job.rows.told()
    for line in lines:
        run.log(line)
    if job.rows.counts.dropped:
        note = f"{lines[0]}; why the others are not stands in {run.folder / 'log.txt'}"
        progress(Event(stage=f"train {run.folder.name}", note=note))


def _tracker(job: Job, run: Run) -> Tracker:
    return Tracker(job.config.track, run.folder, job.settings, run.rows() if job.config.track.sinks else ())


def _resume(training: Training) -> At:
    """Load the newest checkpoint, if any; rows logged after it are dropped, they will be made again."""
    found = checkpoints(training.config.run / "checkpoints")
    at = _loaded(training, found[-1]) if found else At(step=0, guard=GuardState(), saved=0)
    if training.run is not None:
        _forget(training.run, at)
        if found:
            training.run.log(f"resumed at step {at.step}")
    return at


def _loaded(training: Training, path: Path) -> At:
    state = load_checkpoint(path, training.model, training.optimizer, training.mesh)
    step = int(state["step"])
    return At(step=step, guard=GuardState.from_json(state.get("guard", {})), saved=step)


def _forget(run: Run, at: At) -> None:
    """Drop the rows of steps that will be made again; what the guard did before is history."""
    told = at.guard.skipped + at.guard.returned
    guarded = {row["id"] for row in run.rows() if "guard" in row and int(row["id"].partition("-")[2]) <= told}
    run.truncate([row["id"] for row in run.rows() if row["id"] in guarded or row["step"] <= at.step])


def _stretch(training: Training, at: At, last: int, held_out: Mapping[str, Batch]) -> At:
    """Steps until ``last``, or until the guard goes back to a checkpoint; where the run stands then."""
    config, guard, saved = training.config, at.guard, at.saved
    clock, losses, logged, by_source = time.perf_counter(), list[float](), at.step, np.zeros(())
    for step, batch in _batches(training, at.step, last, guard.shift):
        rate, seen = learning_rate(config.optim, step, config.steps), step + 1
        loss, norm, tally = _gradients(training, batch)
        judged = judge(config.guard, guard, step=step, checkpoint=saved, loss=loss, norm=norm)
        guard = judged.state
        if judged.action == "take":
            _update(training, rate, norm)
            losses.append(loss)
            by_source = by_source + tally
        else:
            training.optimizer.zero_grad(set_to_none=True)
            if judged.action == "stop" or (judged.action == "back" and not saved):
                raise RunError(
                    f"{config.run}: {judged.reason} at step {seen}; lower optim.lr and start a new run (run=OTHER); "
                    "checkpoints before this step are kept"
                )
            if judged.action == "back":
                return _go_back(training, judged, seen, loss, norm)
            training.record(judged.event(seen, loss, norm))
        due = seen % config.checkpoint_every == 0 or seen == last
        if seen % config.log_every == 0 or due:  # at checkpoints too: a resumed run then logs the same means
            figures = {"losses": losses, "done": seen - logged, "lr": rate, "grad_norm": norm}
            _log(training, seen, figures | {"sources": _means(training, by_source)}, time.perf_counter() - clock)
            clock, losses, logged, by_source = time.perf_counter(), [], seen, np.zeros(())
        if seen == config.steps or (config.valid_every and seen % config.valid_every == 0):
            valid = {name: _valid_loss(training, rows) for name, rows in held_out.items()}
            training.record({"id": f"valid-{seen:06d}", "step": seen, "valid": valid})
        if due and (not guard.row or seen == last):  # not amid bad steps: the run may have to go back before them
            _save(training, seen, guard)
            saved = seen
    return At(step=last, guard=guard, saved=saved)


def _go_back(training: Training, judged: Judged, seen: int, loss: float, norm: float) -> At:
    """Load the newest checkpoint; the data go on behind the bad step."""
    training.saver.wait()
    training.mesh.barrier()
    stored = _loaded(training, checkpoints(training.config.run / "checkpoints")[-1])
    at = replace(stored, guard=resumed(judged.state, stored.guard))
    if training.run is not None:
        _forget(training.run, at)
        training.run.log(f"step {seen}: {judged.reason}; back to step {at.step}")
    training.record(judged.event(seen, loss, norm, to=at.step))
    return at


def _save(training: Training, seen: int, guard: GuardState) -> None:
    config = training.config
    state = {"tokens": seen * config.batch_size * config.context, "guard": guard.to_json(), "data": training.job.data}
    end_id = training.job.tokenizer.end_id
    training.saver.save(seen, training.model, training.optimizer, end_id=end_id, state=state)


def _batches(training: Training, first: int, last: int, shift: int) -> Iterator[tuple[int, Batch]]:
    """This process's share of each step's rows, gathered by a thread while the steps before are trained on.

    ``shift`` batches of the data have been left out.
    """
    rows, mesh = training.job.rows, training.mesh
    with ThreadPoolExecutor(1, thread_name_prefix="rows") as thread:
        waiting = deque[Future[Batch]]()
        for step in range(first, last + AHEAD):
            if step < last:
                waiting.append(thread.submit(rows.batch, step + shift, mesh.data_rank, mesh.data_world))
            if step >= first + AHEAD:
                yield step - AHEAD, waiting.popleft().result()


def _gradients(training: Training, batch: Batch) -> tuple[float, float, np.ndarray]:
    """Gradients of one step; the loss in nats over all its targets, and the norm of the gradients.

    And for each source the sum of its targets' losses, and how many they are: (2, sources), without any where one
    source is all, or the model's loss is not that of its tokens.
    """
    model, mesh = training.model, training.mesh
    parts = _parts(batch, training.config.micro_batch)
    targets = _targets(mesh, sum(map(targets_of, parts)))
    total = torch.zeros((), device=mesh.device)
    tally = torch.zeros((2, len(names_of(training.job.rows))), device=mesh.device)
    for number, part in enumerate(parts):
        last_of_step(model, number == len(parts) - 1)
        with each_target() as losses:
            loss = _loss_sum(training, part) / targets
        _add_by_source(tally, part, losses)
        share = loss * mesh.data_world  # sharded gradients are averaged over the shares of the batch
        share.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    sums = mesh.sum(torch.cat((total[None], tally.flatten())))
    loss, norm, *told = mesh.told(
        torch.cat((sums[:1], gradient_norm(mesh, model.parameters())[None], sums[1:]))
    ).tolist()
    return loss, norm, np.array(told).reshape(2, -1)


def _add_by_source(tally: Tensor, part: Batch, losses: list[Tensor]) -> None:
    """Add the losses of a pass's targets, and their numbers, to those of their sources: (2, sources)."""
    sources = sources_of(part)
    if sources is None or sum(map(len, losses)) != len(sources):  # the second: no loss of tokens alone
        return
    counts = on(tally.device, np.bincount(sources, minlength=tally.shape[1]).astype(np.float32))
    where = on(tally.device, np.ascontiguousarray(sources, dtype=np.int64))
    assert counts is not None and where is not None
    tally[0].index_add_(0, where, torch.cat(losses))
    tally[1] += counts


def _targets(mesh: Mesh, mine: int) -> Tensor | float:
    """The targets of a step in all processes, at least 1; on the device, where nobody waits for the number."""
    if mesh.data_world == 1:
        return max(1.0, float(mine))
    here = on(mesh.device, np.array(mine, dtype=np.float64))
    assert here is not None
    return mesh.sum(here).clamp(min=1.0).float()


def _update(training: Training, rate: float, norm: float) -> None:
    """Clip the gradients, of this norm, and change the weights."""
    clip(training.model.parameters(), norm, training.config.optim.clip)
    set_rate(training.optimizer, rate)
    training.optimizer.step()
    training.optimizer.zero_grad(set_to_none=True)


def _loss_sum(training: Training, batch: Batch) -> Tensor:
    """The summed loss of a process's rows."""
    device = training.mesh.device
    ids, mask, documents = on(device, batch.ids), on(device, batch.mask), on(device, batch.documents)
    assert ids is not None
    numbers = {} if batch.words is None else {"words": on(device, batch.words)}  # of a model with a number encoding
    with autocast(training.precision, device.type):
        loss, _ = training.model.loss_sum(ids, mask, documents, **numbers)
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


def _log(training: Training, seen: int, figures: Mapping[str, Any], seconds: float) -> None:
    """A row of the steps since the last one, in the run folder and on the terminal."""
    run, config = training.run, training.config
    if run is None:
        return
    row = step_row(
        step=seen,
        steps=config.steps,
        tokens_per_step=config.batch_size * config.context,
        seconds=seconds,
        flops_per_token=training.model.flops_per_token(config.context),
        peak=training.peak,
        memory=peak_memory(str(training.mesh.device)),
        **figures,
    )
    training.record(row)
    shown = {"loss": round(row.get("loss", math.nan), 4), "tokens/s": round(row["tokens_per_second"])}
    training.progress(
        Event(stage=f"train {run.folder.name}", done=seen, total=config.steps, unit="steps", figures=shown)
    )


def _means(training: Training, by_source: np.ndarray) -> dict[str, float]:
    """The mean loss of each source that had targets."""
    names = names_of(training.job.rows)
    if not by_source.ndim or not names:
        return {}
    return {name: float(lost / n) for name, lost, n in zip(names, *by_source, strict=True) if n}


def _finish(training: Training, run: Run) -> None:
    """Write the model folder (by one rename) and then the metrics: their presence means finished."""
    config, job = training.config, training.job
    final, part = run.folder / "model", run.folder / ".model.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    if training.mesh.mesh is None:
        training.model.save(part, end_id=job.tokenizer.end_id)
        job.tokenizer.save(part)
    else:
        jobs.write_model(config, job.tokenizer, checkpoints(run.folder / "checkpoints")[-1], part)
    shutil.rmtree(final, ignore_errors=True)
    part.rename(final)
    rows = list(run.rows())
    steps = [row for row in rows if "loss" in row]
    valid = [row["valid"] for row in rows if "valid" in row]
    metrics = {
        "parameters": training.model.parameter_count(),
        "steps": config.steps,
        "tokens": config.steps * config.batch_size * config.context,
        "final_loss": steps[-1]["loss"] if steps else None,
        "valid": valid[-1] if valid else {},
        "epochs": job.rows.epochs(config.steps),
        "seconds": round(sum(row["seconds"] for row in steps), 1),
        "bf16": wants_bf16(config.precision, training.mesh.device.type),
        **job.rows.account(),
    }
    run.write_json("metrics.json", metrics)

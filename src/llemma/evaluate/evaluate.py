"""Measures a model on tasks: samples, grades, stores every sample, derives scores with intervals from the rows.

Resuming is exact. Requests are made in units (``plan``). What a model computes may depend in its last bits on what
shares its batch, so a unit with a missing row is generated again whole, in its first composition, and only the missing
rows are stored: a run that was killed at any moment ends with the rows of one that was not. A back end whose
completions do not depend on their neighbours streams, and then only what is missing is made. Tools are not called here.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llemma.backends import Backend, Request, Streaming, open_backend
from llemma.config import to_table
from llemma.errors import BackendError, Caught, DataError, boundary
from llemma.evaluate.config import EvalConfig, load_tasks, parse_shard, sampling_for
from llemma.evaluate.metrics import Scope, TaskResult, errors_of, metrics_of
from llemma.evaluate.overlap import Overlap, read_overlap
from llemma.evaluate.plan import Plan, Wanted, plan
from llemma.evaluate.rows import Row, RowMaker, graders
from llemma.evaluate.tally import CORRECT, Tally
from llemma.records import Completion, Event, Progress, Sampling, Task, silent, to_row
from llemma.run import Run, encode_row, open_run, read_json

ERRORS_ALLOWED = 0.05  # share of samples lost to infrastructure above which a score is not worth reporting
RETRY_AFTER = (1.0, 4.0, 15.0)  # seconds before each further try of a unit whose failure is retryable
SYNC_EVERY = 2.0  # seconds of work that a power cut may cost; a killed process loses none of what it wrote
STORE_EVERY = 64  # rows of a streaming back end that are written together, at most a second late


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """The results task by task; ``run`` is the folder with the rows, if there is one."""

    run: str | None
    tasks: tuple[TaskResult, ...]


@dataclass(slots=True)
class _Store:
    """Stores rows in the run folder when there is one, and keeps of each what the metrics need (no texts)."""

    run: Run | None
    tallies: dict[str, Tally] = field(default_factory=dict)
    synced: float = field(default_factory=time.monotonic)

    def append(self, rows: Sequence[Row]) -> None:
        if self.run is not None:
            now = time.monotonic()
            sync = now - self.synced >= SYNC_EVERY
            self.run.append_lines([encode_row(row) for row in rows], sync=sync)
            self.synced = now if sync else self.synced
        for row in rows:
            self.remember(row)

    def remember(self, row: Mapping[str, Any]) -> None:
        self.tally(row["task"]).add(row)

    def resume(self) -> None:
        """Take up the rows that are in the folder."""
        assert self.run is not None
        for number, row in enumerate(self.run.rows(), 1):
            try:
                self.remember(row)
            except (KeyError, TypeError, ValueError) as error:
                where = f"{self.run.rows_path}:{number}"
                raise DataError(f"not a row of an evaluation ({error}); use run=OTHER", where=where) from error

    def tally(self, task: str) -> Tally:
        return self.tallies.setdefault(task, Tally())

    def close(self) -> None:
        if self.run is not None:
            self.run.sync()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """All that is settled before the first sample is made."""

    config: EvalConfig
    engine: Backend
    plans: Sequence[Plan]
    makers: Sequence[RowMaker]
    overlap: Overlap | None


def evaluate(config: EvalConfig, *, progress: Progress = silent, backend: Backend | None = None) -> EvalResult:
    """Evaluate a model as ``config`` says; ``backend`` replaces the one that ``config.model`` names.

    With a run folder, samples already there are not made again; ``samples`` and ``limit`` may grow from call to call.
    Writes ``rows.jsonl`` (one row per sample; a lost sample has an error row, tried again on the next call) and
    ``metrics.json``, also when it is interrupted. Raises ConfigError and DataError before any sample is made, RunError
    for a folder of other settings, and BackendError at the end when more than 5 % of the samples were lost to failures
    of the back end.
    """
    ready = _prepare(config, backend)
    with ExitStack() as stack:
        store = _Store(run=_open_folder(ready, stack))
        if store.run is not None:
            store.resume()
        try:
            for each, maker in zip(ready.plans, ready.makers, strict=True):
                _sample_task(each, maker, ready.engine, store, progress)
        except BaseException:
            _finish(ready, store, curve=False)  # what is there, at once: somebody waits for the end
            raise
        result = _finish(ready, store)
    _refuse_too_many_errors(ready, result, store)
    return result


def _prepare(config: EvalConfig, backend: Backend | None) -> _Prepared:
    tasks = load_tasks(config.tasks, config.options)
    overlap = read_overlap(config.overlap) if config.overlap is not None else None
    judges = [graders(task, config.scorer) for task in tasks]
    engine = open_backend(config.model, config.engine) if backend is None else backend
    stored = _stored_settings(config.run)
    config = replace(config, batch=config.batch or engine.batch)
    shard = parse_shard(config.shard) if config.shard else None
    plans = []
    assert config.batch is not None
    for task in tasks:
        sampling = sampling_for(config, task)
        group = stored.get("groups_of", {}).get(task.name) or min(sampling.n, config.batch)
        plans.append(plan(task, sampling, batch=config.batch, group=group, limit=config.limit, shard=shard))
    label = " ".join(filter(None, (engine.info.get("engine", ""), engine.info.get("version", ""))))
    makers = [RowMaker(task=task, graders=judge, engine=label) for task, judge in zip(tasks, judges, strict=True)]
    return _Prepared(config=config, engine=engine, plans=plans, makers=makers, overlap=overlap)


def _stored_settings(folder: Path | None) -> Mapping[str, Any]:
    """The settings of the run that is in the folder, if there is one."""
    if folder is None or not (folder / "rows.jsonl").exists():
        return {}
    stored = read_json(folder / "config.json")
    settings = stored.get("settings") if isinstance(stored, dict) else None
    return settings if isinstance(settings, dict) else {}


def _open_folder(ready: _Prepared, stack: ExitStack) -> Run | None:
    config, engine = ready.config, ready.engine
    if config.run is None:
        return None
    settings = {
        **to_table(config),
        "backend": dict(engine.info),
        "task_meta": {each.task.name: to_row(each.task.meta) for each in ready.plans},
        "sampling": {each.task.name: {**to_row(each.sampling), "n": None} for each in ready.plans},
        "groups_of": {each.task.name: each.group for each in ready.plans},
    }
    # what these say is in `sampling`, resolved; the engine's options do not change what it computes
    free = ["run", "temperature", "top_p", "max_tokens", "engine", "sampling.n"]
    if engine.info.get("weights"):  # known by their hash, so the folder they lie in may be moved
        free += ["model", "backend.model"]
    if isinstance(engine, Streaming):
        free += ["batch", "groups_of"]
    return stack.enter_context(
        open_run(config.run, "eval", settings, free=free, grows=("samples", "limit", "overlap"))
    )  # fmt: skip


def _finish(ready: _Prepared, store: _Store, *, curve: bool = True) -> EvalResult:
    """Scores of what is there; written down whether or not all of it is."""
    store.close()
    result = _result(ready, store, curve)
    if store.run is not None:
        store.run.write_json("metrics.json", to_row(result))
    return result


def _sample_task(each: Plan, maker: RowMaker, engine: Backend, store: _Store, progress: Progress) -> None:
    """Make and store the samples of one task that are missing."""
    meter = _Meter(each, store.tally(each.task.name), progress)
    if isinstance(engine, Streaming):
        _stream(each, maker, engine, store, meter)
        return
    tally = store.tally(each.task.name)
    for unit in each.units():
        missing = [wanted for wanted in unit if not tally.has(wanted.problem.id, wanted.k)]
        if not missing:
            continue
        begin = time.perf_counter()
        made = _complete(engine, [wanted.request for wanted in unit], each.sampling)
        seconds = (time.perf_counter() - begin) / len(unit)
        if isinstance(made, Caught):
            rows = [_lost(maker, tally, wanted, made) for wanted in missing]
        else:
            ids = {wanted.id for wanted in missing}
            pairs = [(w, completion) for w, completion in zip(unit, made, strict=True) if w.id in ids]
            rows = [maker.made(wanted, completion, seconds) for wanted, completion in pairs]
        store.append(rows)
        meter.show(rows)


def _stream(each: Plan, maker: RowMaker, engine: Streaming, store: _Store, meter: _Meter) -> None:
    """Let the back end take the missing samples as it likes, and store them as they come."""
    tally = store.tally(each.task.name)

    def missing() -> Iterator[tuple[Wanted, Request]]:
        for unit in each.units():
            for wanted in unit:
                if not tally.has(wanted.problem.id, wanted.k):
                    yield wanted, wanted.request

    rows: list[Row] = []
    stored = time.monotonic()

    def put() -> None:
        nonlocal stored
        if rows:
            store.append(rows)
            meter.show(rows)
            rows.clear()
        stored = time.monotonic()

    try:
        for wanted, made in engine.stream(missing(), each.sampling):
            if isinstance(made, Caught):
                rows.append(_lost(maker, tally, wanted, made))
            else:
                rows.append(maker.made(wanted, made, made.seconds))
            if len(rows) >= STORE_EVERY or time.monotonic() - stored > 1:
                put()
    finally:
        put()


def _lost(maker: RowMaker, tally: Tally, wanted: Wanted, caught: Caught) -> Row:
    return maker.lost(wanted, str(caught), tally.attempts(wanted.problem.id, wanted.k) + 1)


def _complete(engine: Backend, requests: list[Request], sampling: Sampling) -> list[Completion] | Caught:
    """One call of the back end, tried again while its failure is retryable."""

    def work() -> list[Completion]:
        made = engine.complete(requests, sampling)
        if len(made) != len(requests):
            raise BackendError(f"the back end gave {len(made)} completions for {len(requests)} requests")
        return made

    for pause in RETRY_AFTER:
        made = boundary(work)
        if not isinstance(made, Caught) or not made.retryable:
            return made
        time.sleep(pause)
    return boundary(work)


class _Meter:
    """Counts what is done and tells the progress sink."""

    def __init__(self, each: Plan, tally: Tally, progress: Progress) -> None:
        self.stage, self.total, self.progress = each.task.name, each.total, progress
        self.done = self.correct = 0
        for problem in each.problems:
            found = tally.problems.get(problem.id)
            if found is None:
                continue
            judged = next(iter(found.marks.values()), None)
            for k, verdict in zip(found.ks, judged.verdicts if judged else (), strict=False):
                self.done += k < each.sampling.n
                self.correct += k < each.sampling.n and verdict == CORRECT
        self.graded, self.made, self.tokens = self.done, 0, 0
        self.start = time.perf_counter()
        note = f"{self.done} samples are already there" if self.done else ""
        progress(Event(stage=self.stage, done=self.done, total=self.total, unit="samples", note=note))

    def show(self, rows: Sequence[Row]) -> None:
        good = [row for row in rows if row["error"] is None]
        self.done += len(rows)
        self.made += len(rows)
        self.tokens += sum(row["transcript"]["tokens"] for row in good)
        self.graded += len(good)
        self.correct += sum(row["grade"]["verdict"] == "correct" for row in good)
        seconds = max(time.perf_counter() - self.start, 1e-9)
        figures: dict[str, float | str] = {"samples/s": self.made / seconds, "tokens/s": self.tokens / seconds}
        if self.graded:
            figures["accuracy so far"] = self.correct / self.graded
        lost = [row["error"] for row in rows if row["error"] is not None]
        note = f"{len(lost)} samples lost: {lost[0]}" if lost else ""
        event = Event(stage=self.stage, done=self.done, total=self.total, unit="samples", figures=figures, note=note)
        self.progress(event)


def _result(ready: _Prepared, store: _Store, curve: bool) -> EvalResult:
    run = None if ready.config.run is None else str(ready.config.run)
    results = []
    for each in ready.plans:
        dirty = None if ready.overlap is None else ready.overlap.of(each.task.name)
        scope = _scope(each)
        result = metrics_of(
            store.tally(each.task.name), scope, task=each.task.name, seed=ready.config.seed, dirty=dirty, curve=curve
        )
        results.append(replace(result, run=run, prompt=prompt_of(each.task), sampling=to_row(each.sampling)))
    return EvalResult(run=run, tasks=tuple(results))


def prompt_of(task: Task) -> Mapping[str, Any] | None:
    """Which few-shot examples a task's prompt holds, as results say it."""
    found = {name: value for name, value in task.meta.items() if name == "shots" or name.startswith("prompt")}
    return found or None


def _scope(each: Plan) -> Scope:
    return Scope(samples=each.sampling.n, problems=[problem.id for problem in each.problems])


def _refuse_too_many_errors(ready: _Prepared, result: EvalResult, store: _Store) -> None:
    errors, samples = sum(t.errors for t in result.tasks), sum(t.samples for t in result.tasks)
    if errors <= ERRORS_ALLOWED * samples:
        return
    first = next(error for each in ready.plans for error in errors_of(store.tally(each.task.name), _scope(each)))
    kept = "; the same command tries them again, the other samples are kept" if result.run else ""
    raise BackendError(f"{errors} of {samples} samples were lost to failures of the back end, the first: {first}{kept}")

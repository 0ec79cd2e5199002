"""Measures a model on tasks: samples, grades, stores every sample, derives scores with intervals from the rows.

Resuming is exact. Requests are made in units (``plan``). What a model computes may depend in its last bits on what
shares its batch, so a unit with a missing row is generated again whole, in its first composition, and only the missing
rows are stored: a run that was killed at any moment ends with the rows of one that was not. A back end whose
completions do not depend on their neighbours streams, and then only what is missing is made. Programs are run by
``tools``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from llemma.backends import Backend, Recording, Request, Streaming, open_backend
from llemma.config import to_table
from llemma.errors import BackendError, Caught, boundary
from llemma.evaluate.config import EvalConfig, load_tasks
from llemma.evaluate.metrics import errors_of
from llemma.evaluate.overlap import read_overlap
from llemma.evaluate.plan import Plan, Wanted, plan
from llemma.evaluate.rows import Made, RowMaker, graders
from llemma.evaluate.score import EvalResult, Tallies, part_of, results, settings_of
from llemma.evaluate.tally import CORRECT, Tally
from llemma.evaluate.tools import Notebooks, Programs, check_sandbox
from llemma.records import Completion, Event, Progress, Sampling, Task, silent, to_row
from llemma.run import Run, open_run

ERRORS_ALLOWED = 0.05  # share of samples lost to infrastructure above which a score is not worth reporting
RETRY_AFTER = (1.0, 4.0, 15.0)  # seconds before each further try of a unit whose failure is retryable
SYNC_EVERY = 2.0  # seconds of work that a power cut may cost; a killed process loses none of what it wrote
MANY = 10_000  # samples from which on scores take seconds, so that it is said what is going on
IN_A_ROW = 256  # samples lost in a row after which it stops
STORE_EVERY = 64  # rows of a streaming back end that are written together, at most a second late


@dataclass(slots=True)
class _Store:
    """Stores rows in the run folder when there is one, and keeps of each what the metrics need (no texts)."""

    run: Run | None
    tallies: Tallies = field(default_factory=Tallies)
    synced: float = field(default_factory=time.monotonic)

    def append(self, rows: Sequence[Made]) -> None:
        if self.run is not None:
            now = time.monotonic()
            sync = now - self.synced >= SYNC_EVERY
            self.run.append_lines([made.line for made in rows], sync=sync)
            self.synced = now if sync else self.synced
        for made in rows:
            self.tallies.of(made.row["task"]).add(made.row)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """All that is settled before the first sample is made."""

    config: EvalConfig
    engine: Backend
    plans: Sequence[Plan]
    makers: Sequence[RowMaker]
    programs: Sequence[Programs | None]


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
            store.tallies.take(store.run.rows(), store.run.rows_path)
        try:
            for number in range(len(ready.plans)):
                _sample_task(ready, number, store, progress)
        except BaseException:
            _finish(ready, store, votes=False)  # what is there, at once: somebody waits for the end
            raise
        if sum(each.total for each in ready.plans) >= MANY:
            progress(Event(stage="scores", note="votes of every size are counted"))
        result = _finish(ready, store)
    _refuse_too_many_errors(ready, result, store)
    return result


def _prepare(config: EvalConfig, backend: Backend | None) -> _Prepared:
    tasks = load_tasks(config.tasks, config.options)
    if config.overlap is not None:
        overlap = read_overlap(config.overlap)  # a mistake in it shows before any work
        overlap.must_know((task.name for task in tasks), config.overlap)
    judges = [graders(task, config.scorer) for task in tasks]
    engine = open_backend(config.model, config.engine) if backend is None else backend
    config = replace(config, batch=config.batch or engine.batch)
    assert config.batch is not None
    groups = _groups_of(config.run)
    plans = []
    for task in tasks:
        part = part_of(config, _covered(task, engine))
        plans.append(plan(part, batch=config.batch, group=groups.get(task.name)))
    label = " ".join(filter(None, (engine.info.get("engine", ""), engine.info.get("version", ""))))
    makers = [RowMaker(task=task, graders=judge, engine=label) for task, judge in zip(tasks, judges, strict=True)]
    runs = config.tools == "python" or (config.tools == "auto" and any(task.program for task in tasks))
    if runs and not isinstance(engine, Recording):  # a recording may need none, and is judged without a sandbox then
        check_sandbox(config.sandbox, config.tools == "python")
    sandbox = None if config.tools == "none" else config.sandbox
    programs = [Programs(program=task.program, sandbox=sandbox) if task.program else None for task in tasks]
    return _Prepared(config=config, engine=engine, plans=plans, makers=makers, programs=programs)


def _covered(task: Task, engine: Backend) -> Task:
    """The task without the problems that a partial recording does not have."""
    if not isinstance(engine, Recording):
        return task
    return replace(task, problems=tuple(problem for problem in task.problems if engine.covers(problem.prompt)))


def _groups_of(folder: Path | None) -> Mapping[str, int]:
    """The group sizes of the run that is in the folder, if there is one: units must keep their composition."""
    if folder is None or not (folder / "rows.jsonl").exists():
        return {}
    found = settings_of(folder).get("groups_of")
    return found if isinstance(found, dict) else {}


def _open_folder(ready: _Prepared, stack: ExitStack) -> Run | None:
    config, engine = ready.config, ready.engine
    if config.run is None:
        return None
    parts = [each.part for each in ready.plans]
    settings = {
        **to_table(config),
        "backend": dict(engine.info),
        "task_meta": {part.task.name: to_row(part.task.meta) for part in parts},
        "sampling": {part.task.name: {**to_row(part.sampling), "n": None} for part in parts},
        "groups_of": {each.part.task.name: each.group for each in ready.plans},
    }
    # what the first ones say is in `sampling`, resolved; the engine's options do not change what it computes
    free = ["temperature", "top_p", "max_tokens", "run", "engine", "expected", "sandbox"]
    if engine.info.get("weights"):  # known by their hash, so the folder they lie in may be moved
        free += ["model", "backend.model"]
    if engine.info.get("address"):  # the same model may be served elsewhere by now
        free += ["model", "backend.address"]
    if isinstance(engine, Streaming):
        free += ["batch", "groups_of"]
    grows = ("samples", "limit", "overlap")
    return stack.enter_context(open_run(config.run, "eval", settings, free=free, grows=grows))


def _finish(ready: _Prepared, store: _Store, *, votes: bool = True) -> EvalResult:
    """Scores of what is there; written down whether or not all of it is."""
    result = results(ready.config, [each.part for each in ready.plans], store.tallies, votes=votes)
    if store.run is not None:
        store.run.sync()
        store.run.write_json("metrics.json", to_row(result))
    return result


def _sample_task(ready: _Prepared, number: int, store: _Store, progress: Progress) -> None:
    """Make and store the samples of one task that are missing."""
    each, maker, programs, engine = ready.plans[number], ready.makers[number], ready.programs[number], ready.engine
    meter = _Meter(each, store.tallies.of(each.part.task.name), progress)
    wanted = ready.config.tools == "python" and programs is None
    notebooks = Notebooks(engine=engine, sandbox=ready.config.sandbox) if wanted else None
    if isinstance(engine, Streaming) and notebooks is None:
        _stream(each, maker, programs, engine, store, meter)
        return
    completer = notebooks or engine
    tally = store.tallies.of(each.part.task.name)
    for unit in each.units():
        missing = [wanted for wanted in unit if not tally.has(wanted.problem.id, wanted.k)]
        if not missing:
            continue
        begin = time.perf_counter()
        made = _complete(completer, [wanted.request for wanted in unit], each.part.sampling)
        seconds = (time.perf_counter() - begin) / len(unit)
        if isinstance(made, Caught):
            rows = [_lost(maker, tally, wanted, made) for wanted in missing]
        else:
            ids = {wanted.id for wanted in missing}
            chosen = [(w, completion) for w, completion in zip(unit, made, strict=True) if w.id in ids]
            texts = [completion for _, completion in chosen]
            finished = texts if programs is None else programs.finish(texts)
            pairs = zip(chosen, finished, strict=True)
            rows = [_row(maker, tally, w, completion, seconds) for (w, _), completion in pairs]
        store.append(rows)
        meter.show(rows)
        meter.refuse_losses()


def _stream(
    each: Plan, maker: RowMaker, programs: Programs | None, engine: Streaming, store: _Store, meter: _Meter
) -> None:
    """Let the back end take the missing samples as it likes, and store them as they come."""
    tally = store.tallies.of(each.part.task.name)

    def missing() -> Iterator[tuple[Wanted, Request]]:
        for unit in each.units():
            for wanted in unit:
                if not tally.has(wanted.problem.id, wanted.k):
                    yield wanted, wanted.request

    rows: list[Made] = []
    stored = time.monotonic()

    def put() -> None:
        nonlocal stored
        if rows:
            store.append(rows)
            meter.show(rows)
            rows.clear()
        stored = time.monotonic()
        meter.refuse_losses()

    try:
        stream = engine.stream(missing(), each.part.sampling)
        for wanted, made in stream if programs is None else programs.follow(stream):
            rows.append(_row(maker, tally, wanted, made))
            if len(rows) >= STORE_EVERY or time.monotonic() - stored > 1:
                put()
    finally:
        put()


def _row(
    maker: RowMaker, tally: Tally, wanted: Wanted, made: Completion | Caught, seconds: float | None = None
) -> Made:
    if isinstance(made, Caught):
        return _lost(maker, tally, wanted, made)
    return maker.made(wanted, made, made.seconds if seconds is None else seconds)


def _lost(maker: RowMaker, tally: Tally, wanted: Wanted, caught: Caught) -> Made:
    return maker.lost(wanted, str(caught), tally.attempts(wanted.problem.id, wanted.k) + 1)


def _complete(engine: Backend | Notebooks, requests: list[Request], sampling: Sampling) -> list[Completion] | Caught:
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
        self.stage, self.total, self.progress = each.part.task.name, each.total, progress
        self.done = self.correct = 0
        for problem in each.part.problems:
            found = tally.problems.get(problem.id)
            if found is None:
                continue
            judged = next(iter(found.marks.values()), None)
            for k, verdict in zip(found.ks, judged.verdicts if judged else (), strict=False):
                self.done += k < each.part.sampling.n
                self.correct += k < each.part.sampling.n and verdict == CORRECT
        self.graded, self.made, self.tokens = self.done, 0, 0
        self.lost = self.in_a_row = 0
        self.last = ""
        self.start = time.perf_counter()
        note = f"{self.done} samples are already there" if self.done else ""
        progress(Event(stage=self.stage, done=self.done, total=self.total, unit="samples", note=note))

    def show(self, made: Sequence[Made]) -> None:
        rows = [each.row for each in made]
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
        note = "" if self.lost or not lost else f"a sample was lost: {lost[0]}"  # said once, counted from then on
        self.lost += len(lost)
        self.in_a_row = 0 if good else self.in_a_row + len(lost)
        if lost:
            self.last = lost[-1]
        if self.lost:
            figures["lost"] = self.lost
        event = Event(stage=self.stage, done=self.done, total=self.total, unit="samples", figures=figures, note=note)
        self.progress(event)

    def refuse_losses(self) -> None:
        """Raise BackendError when nothing comes through any more: the rest would be lost as well."""
        if self.in_a_row >= IN_A_ROW:
            raise BackendError(
                f"{self.in_a_row} samples in a row were lost, the last: {self.last}; stopped, the same command goes on"
            )


def _refuse_too_many_errors(ready: _Prepared, result: EvalResult, store: _Store) -> None:
    errors, samples = sum(t.errors for t in result.tasks), sum(t.samples for t in result.tasks)
    if errors <= ERRORS_ALLOWED * samples:
        return
    first = next(
        error for each in ready.plans for error in errors_of(store.tallies.of(each.part.task.name), each.part.scope)
    )
    kept = "; the same command tries them again, the other samples are kept" if result.run else ""
    raise BackendError(f"{errors} of {samples} samples were lost to failures of the back end, the first: {first}{kept}")

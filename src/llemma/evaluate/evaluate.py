"""Measures a model on tasks: samples, grades, stores every sample, derives scores with intervals from the rows.

Resuming is exact. The requests of a task, problem by problem and sample by sample, are cut into units of ``batch``
requests. What a model computes may depend in its last bits on what shares its batch, so a unit with a missing row
is generated again whole, in its first composition, and only the missing rows are stored: a run that was killed at
any moment ends with the rows of one that was not. Tools are not called here.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from llemma import plugins
from llemma.backends import Backend, Request, open_backend
from llemma.config import build, check_seed, setting, to_table
from llemma.errors import BackendError, Caught, ConfigError, boundary, nearest
from llemma.evaluate.metrics import NEEDED, TaskResult, metrics_of
from llemma.records import (
    Completion,
    Event,
    Problem,
    Progress,
    Sample,
    Sampling,
    Step,
    Task,
    Transcript,
    silent,
    to_row,
)
from llemma.run import Run, open_run

ERRORS_ALLOWED = 0.05  # share of samples lost to infrastructure above which a score is not worth reporting
RETRY_AFTER = (1.0, 4.0, 15.0)  # seconds before each further try of a unit whose failure is retryable


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """Settings of ``llemma eval``. Checked on construction; ValueError says which one is wrong."""

    tasks: tuple[str, ...] = setting(help="tasks: NAME, NAME:VARIANT or FILE.py[:VARIANT]")
    model: str = setting(help="KIND:TARGET, e.g. hf:NAME_OR_FOLDER or replay:RUN")
    samples: int = setting(1, "samples per problem")
    temperature: float | None = setting(None, "0 is greedy; none: 0 for one sample, 0.6 for more")
    top_p: float | None = setting(None, "nucleus; none: 1 for one sample, 0.95 for more")
    max_tokens: int | None = setting(None, "tokens per completion; none: what the task says")
    limit: int | None = setting(None, "only the first problems of each task")
    seed: int = setting(0, "seed of the samples and of the bootstrap")
    run: Path | None = setting(None, "folder for rows and metrics, resumed when it exists; none: keep nothing")
    batch: int | None = setting(None, "requests per call of the back end; none: what the back end likes")
    options: Mapping[str, Any] = setting(factory=dict, help="options of the tasks, e.g. options.shots=4")

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("no task given; `llemma list tasks` shows them")
        for name in ("samples", "max_tokens", "limit", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}: must be at least 1")
        check_seed(self.seed)
        if self.temperature is not None and self.temperature < 0:
            raise ValueError(f"temperature={self.temperature}: must not be negative")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p}: must be above 0 and at most 1")
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(f"samples={self.samples} with temperature=0 would be {self.samples} times the same text")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """The results task by task; ``run`` is the folder with the rows, if there is one."""

    run: str | None
    tasks: tuple[TaskResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """One sample to make: which problem, which attempt, and the request that makes it."""

    id: str
    problem: Problem
    k: int
    request: Request


@dataclass(slots=True)
class _Store:
    """Stores rows in the run folder when there is one, and keeps of each what the metrics need (no texts)."""

    run: Run | None
    rows: list[dict[str, Any]] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def append(self, rows: Sequence[dict[str, Any]]) -> None:
        if self.run is not None:
            self.run.append(rows)
        self.remember(rows)

    def remember(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            self.rows.append({name: row[name] for name in NEEDED if name in row})
            self.ids.add(row["id"])


def evaluate(config: EvalConfig, *, progress: Progress = silent, backend: Backend | None = None) -> EvalResult:
    """Evaluate a model as ``config`` says; ``backend`` replaces the one that ``config.model`` names.

    With a run folder, samples already there are not made again. Writes ``rows.jsonl`` (one row per sample; a lost
    sample has an error row, tried again on the next call) and ``metrics.json``. Raises ConfigError and DataError
    before any sample is made, RunError for a folder of other settings, and BackendError at the end when more than
    5 % of the samples were lost to failures of the back end.
    """
    tasks = load_tasks(config.tasks, config.options)
    engine = open_backend(config.model) if backend is None else backend
    config = replace(config, batch=config.batch or engine.batch)
    with ExitStack() as stack:
        store = _Store(run=None)
        if config.run is not None:
            settings = {**to_table(config), "backend": dict(engine.info), "task_meta": _metas(tasks)}
            free = ["run"]
            if engine.info.get("weights"):  # known by their hash, so the folder they lie in may be moved
                free += ["model", "backend.model"]
            run = stack.enter_context(open_run(config.run, "eval", settings, free=free))
            store = _Store(run=run)
            store.remember(run.rows())
        for task in tasks:
            _sample_task(config, task, engine, store, progress)
        result = _result(config, tasks, store.rows)
        if store.run is not None:
            store.run.write_json("metrics.json", to_row(result))
    _refuse_too_many_errors(result, store.rows)
    return result


def load_tasks(specs: Sequence[str], options: Mapping[str, Any]) -> list[Task]:
    """The tasks that ``NAME``, ``NAME:VARIANT`` or ``FILE.py[:VARIANT]`` name, each with the options it knows.

    Raises ConfigError for an unknown task, variant or option (an option must be known to one of the tasks), and
    when two specs name the same task; DataError when a task's data is missing.
    """
    modules = []
    for spec in specs:
        name, variant = _split_spec(spec)
        module = plugins.load("tasks", name)
        if not (hasattr(module, "Options") and hasattr(module, "load")):
            raise ConfigError(f"{name} is not a task: a task file has a dataclass Options and load(options)")
        modules.append((spec, variant, module))
    known = {f.name for _, _, module in modules for f in fields(module.Options)}
    for option in options:
        if option not in known:
            raise ConfigError(f"unknown option {option!r} of {', '.join(specs)}{nearest(option, known)}")
    tasks = []
    for spec, variant, module in modules:
        names = {f.name for f in fields(module.Options)}
        table = {option: value for option, value in options.items() if option in names}
        if variant:
            if "variant" not in names:
                raise ConfigError(f"the task {spec.rpartition(':')[0]} has no variants; write it without :{variant}")
            table["variant"] = variant
        tasks.append(module.load(build(module.Options, table, where=f"{spec}: ")))
    twice = [name for name, count in Counter(task.name for task in tasks).items() if count > 1]
    if twice:
        raise ConfigError(f"the task {twice[0]} is given twice")
    return tasks


def request_seed(seed: int, task: str, problem: str, k: int) -> int:
    """The seed of one sample, 0..2^63-1: depends on nothing but these four, so neither on order nor on batch."""
    digest = hashlib.blake2b("\x1f".join((str(seed), task, problem, str(k))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _split_spec(spec: str) -> tuple[str, str]:
    """The name (or path) and the variant; a path may hold colons, so its end is looked for."""
    if spec.endswith(".py"):
        return spec, ""
    path, found, variant = spec.rpartition(".py:")
    if found:
        return path + ".py", variant
    name, _, variant = spec.partition(":")
    return name, variant


def _metas(tasks: Sequence[Task]) -> dict[str, Any]:
    """What the tasks say of themselves (data file, shots): a run folder must not mix two versions of it."""
    return {task.name: to_row(task.meta) for task in tasks}


def sampling_for(config: EvalConfig, task: Task) -> Sampling:
    """The task's sampling with what the settings say over it; greedy for one sample, T = 0.6 for more."""
    many = config.samples > 1
    return replace(
        task.sampling,
        n=1,
        temperature=config.temperature if config.temperature is not None else (0.6 if many else 0.0),
        top_p=config.top_p if config.top_p is not None else (0.95 if many else 1.0),
        max_tokens=config.max_tokens or task.sampling.max_tokens,
        seed=config.seed,
    )


def _wanted(config: EvalConfig, task: Task) -> list[_Wanted]:
    """Every sample of a task in the fixed order: by problem, then by k."""
    wanted = []
    for problem in task.problems[: config.limit]:
        prompt = task.prompt(problem)
        for k in range(config.samples):
            request = Request(prompt=prompt, seed=request_seed(config.seed, task.name, problem.id, k))
            wanted.append(_Wanted(id=f"{task.name}/{problem.id}#{k}", problem=problem, k=k, request=request))
    assert len({w.id for w in wanted}) == len(wanted), f"{task.name}: two problems have the same id"
    return wanted


def _sample_task(config: EvalConfig, task: Task, engine: Backend, store: _Store, progress: Progress) -> None:
    """Make and store the samples of one task that are missing, unit by unit."""
    wanted = _wanted(config, task)
    sampling = sampling_for(config, task)
    meter = _Meter(task.name, wanted, store, progress)
    assert config.batch is not None
    for start in range(0, len(wanted), config.batch):
        unit = wanted[start : start + config.batch]
        missing = {w.id for w in unit} - store.ids
        if not missing:
            continue
        begin = time.perf_counter()
        made = _complete(engine, [w.request for w in unit], sampling)
        seconds = (time.perf_counter() - begin) / len(unit)
        if isinstance(made, Caught):
            store.append([_error_row(task, w, made, store.ids) for w in unit if w.id in missing])
            meter.show(unit, tokens=0)
        else:
            pairs = zip(unit, made, strict=True)
            store.append([_row(task, w, c, seconds) for w, c in pairs if w.id in missing])
            meter.show(unit, tokens=sum(completion.tokens for completion in made))


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


def _row(task: Task, wanted: _Wanted, completion: Completion, seconds: float) -> dict[str, Any]:
    grade = task.grade(wanted.problem, completion.text)
    transcript = Transcript(
        steps=(Step(kind="text", text=completion.text),),
        text=completion.text,
        finish=completion.finish,
        tokens=completion.tokens,
        seconds=seconds,
    )
    sample = Sample(id=wanted.id, problem=wanted.problem.id, k=wanted.k, transcript=transcript, grade=grade)
    return _self_contained(task, wanted, sample, task.key(grade))


def _error_row(task: Task, wanted: _Wanted, caught: Caught, ids: set[str]) -> dict[str, Any]:
    """A row under an id of its own, so that the sample's id stays free for the next try."""
    attempt = 1
    while f"{wanted.id}!{attempt}" in ids:
        attempt += 1
    sample = Sample(
        id=f"{wanted.id}!{attempt}",
        problem=wanted.problem.id,
        k=wanted.k,
        transcript=None,
        grade=None,
        error=str(caught),
    )
    return _self_contained(task, wanted, sample, None)


def _self_contained(task: Task, wanted: _Wanted, sample: Sample, key: str | None) -> dict[str, Any]:
    row: dict[str, Any] = to_row(sample)
    row |= {
        "task": task.name,
        "question": wanted.problem.prompt,
        "reference": wanted.problem.answer,
        "key": key,
        "seed": wanted.request.seed,
        "prompt": wanted.request.prompt,
    }
    if "difficulty" in wanted.problem.meta:
        row["difficulty"] = wanted.problem.meta["difficulty"]
    return row


class _Meter:
    """Counts what is done and tells the progress sink."""

    def __init__(self, stage: str, wanted: Sequence[_Wanted], store: _Store, progress: Progress) -> None:
        self.stage, self.total, self.store, self.progress = stage, len(wanted), store, progress
        mine = {w.id for w in wanted}
        ready = [row for row in store.rows if row["id"] in mine]
        self.done = len(ready)
        self.graded, self.correct = len(ready), sum(map(_is_correct, ready))
        self.seen = len(store.rows)
        self.made = self.tokens = 0
        self.start = time.perf_counter()
        note = f"{self.done} samples are already there" if self.done else ""
        progress(Event(stage=stage, done=self.done, total=self.total, unit="samples", note=note))

    def show(self, unit: Sequence[_Wanted], tokens: int) -> None:
        fresh = self.store.rows[self.seen :]
        self.seen = len(self.store.rows)
        good = [row for row in fresh if row["error"] is None]
        self.done += len(fresh)
        self.made += len(unit)
        self.tokens += tokens
        self.graded += len(good)
        self.correct += sum(map(_is_correct, good))
        seconds = max(time.perf_counter() - self.start, 1e-9)
        figures: dict[str, float | str] = {"samples/s": self.made / seconds, "tokens/s": self.tokens / seconds}
        if self.graded:
            figures["accuracy so far"] = self.correct / self.graded
        lost = [row["error"] for row in fresh if row["error"] is not None]
        note = f"{len(lost)} samples lost: {lost[0]}" if lost else ""
        event = Event(stage=self.stage, done=self.done, total=self.total, unit="samples", figures=figures, note=note)
        self.progress(event)


def _is_correct(row: Mapping[str, Any]) -> bool:
    return bool(row["grade"]["verdict"] == "correct")


def _result(config: EvalConfig, tasks: Sequence[Task], rows: Sequence[Mapping[str, Any]]) -> EvalResult:
    run = None if config.run is None else str(config.run)
    results = []
    for task in tasks:
        own = [row for row in rows if row["task"] == task.name]
        results.append(metrics_of(own, task=task.name, run=run, seed=config.seed))
    return EvalResult(run=run, tasks=tuple(results))


def _refuse_too_many_errors(result: EvalResult, rows: Sequence[Mapping[str, Any]]) -> None:
    errors, samples = sum(t.errors for t in result.tasks), sum(t.samples for t in result.tasks)
    if errors <= ERRORS_ALLOWED * samples:
        return
    finished = {row["id"] for row in rows if row["error"] is None}
    first = next(row["error"] for row in rows if row["error"] is not None and _base(row["id"]) not in finished)
    kept = "; the same command tries them again, the other samples are kept" if result.run else ""
    raise BackendError(f"{errors} of {samples} samples were lost to failures of the back end, the first: {first}{kept}")


def _base(error_id: str) -> str:
    """The id of the sample that an error row stands for."""
    return error_id.rpartition("!")[0]

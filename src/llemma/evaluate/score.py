"""The results of a run from its rows alone: what ``eval`` ends with, and ``regrade`` and ``merge`` do again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from llemma.config import build
from llemma.errors import DataError, RunError
from llemma.evaluate.config import EvalConfig, load_tasks, parse_shard, sampling_for
from llemma.evaluate.metrics import Scope, TaskResult, metrics_of
from llemma.evaluate.overlap import read_overlap
from llemma.evaluate.tally import Tally
from llemma.records import Classes, Problem, Sampling, Task, to_row
from llemma.run import Run, read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """The results task by task; ``run`` is the folder with the rows, if there is one."""

    run: str | None
    tasks: tuple[TaskResult, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What is measured of one task: these problems, sampled like this (``n`` times each)."""

    task: Task
    problems: Sequence[Problem]
    sampling: Sampling

    @property
    def scope(self) -> Scope:
        """The samples that count."""
        return Scope(samples=self.sampling.n, problems=[problem.id for problem in self.problems])


@dataclass(slots=True)
class Tallies:
    """What scores need of the rows, task by task."""

    by_task: dict[str, Tally] = field(default_factory=dict)

    def of(self, task: str) -> Tally:
        """The tally of a task; an empty one when it has no rows."""
        return self.by_task.setdefault(task, Tally())

    def take(self, rows: Iterable[Mapping[str, Any]], where: Path) -> None:
        """Take up stored rows. Raises DataError for what is not a row of an evaluation."""
        for number, row in enumerate(rows, 1):
            try:
                self.of(row["task"]).add(row)
            except (KeyError, TypeError, ValueError) as error:
                problem = f"not a row of an evaluation ({type(error).__name__}: {error}); use another run folder"
                raise DataError(problem, where=f"{where}:{number}") from error


def part_of(config: EvalConfig, task: Task) -> Part:
    """The problems of a task that the settings ask for, and how they are sampled."""
    problems: Sequence[Problem] = task.problems[: config.limit]
    if config.shard:
        shard = parse_shard(config.shard)
        problems = problems[shard.index - 1 :: shard.of]
    assert len({problem.id for problem in problems}) == len(problems), f"{task.name}: two problems have the same id"
    return Part(task=task, problems=problems, sampling=sampling_for(config, task))


def results(config: EvalConfig, parts: Sequence[Part], tallies: Tallies, *, votes: bool = True) -> EvalResult:
    """The scores of every task; ``votes=False`` leaves out the votes, which take longest."""
    overlap = read_overlap(config.overlap) if config.overlap is not None else None
    run = None if config.run is None else str(config.run)
    found = []
    for part in parts:
        name = part.task.name
        dirty = None if overlap is None else overlap.of(name)
        result = metrics_of(
            tallies.of(name),
            part.scope,
            task=name,
            classes=classes_of(part.task),
            seed=config.seed,
            dirty=dirty,
            votes=votes,
        )
        found.append(replace(result, run=run, prompt=prompt_of(part.task), sampling=to_row(part.sampling)))
    return EvalResult(run=run, tasks=tuple(found))


def classes_of(task: Task) -> dict[str, Classes | None]:
    """How each scorer of a task tells which answers are equal in a vote."""
    return {"strict": task.classes, **{name: scorer.classes for name, scorer in task.scorers.items()}}


def prompt_of(task: Task) -> Mapping[str, Any] | None:
    """Which few-shot examples a task's prompt holds, as results say it."""
    found = {name: value for name, value in task.meta.items() if name == "shots" or name.startswith("prompt")}
    return found or None


def settings_of(folder: Path) -> dict[str, Any]:
    """The stored settings of an evaluation's run folder. Raises RunError when it holds none."""
    path = folder / "config.json"
    stored = read_json(path) if path.exists() else {}
    if not isinstance(stored, dict) or stored.get("verb") != "eval" or not isinstance(stored.get("settings"), dict):
        raise RunError(f"{folder} holds no run of `llemma eval`; check the path")
    settings: dict[str, Any] = stored["settings"]
    return settings


def config_of(folder: Path, settings: Mapping[str, Any]) -> EvalConfig:
    """The settings of a stored run as a value, with ``run`` where it lies now."""
    known = {f.name for f in fields(EvalConfig)}
    table = {name: value for name, value in settings.items() if name in known}
    return build(EvalConfig, {**table, "run": str(folder)}, where=f"{folder / 'config.json'}: ")


def score_run(run: Run, settings: Mapping[str, Any]) -> EvalResult:
    """Read the rows of an open run, write its ``metrics.json`` anew and give back what is in it."""
    config = config_of(run.folder, settings)
    tasks = load_tasks(config.tasks, config.options)
    tallies = Tallies()
    tallies.take(run.rows(), run.rows_path)
    parts = [part_of(config, _recorded(task, settings, tallies)) for task in tasks]
    result = results(config, parts, tallies)
    run.write_json("metrics.json", to_row(result))
    return result


def _recorded(task: Task, settings: Mapping[str, Any], tallies: Tallies) -> Task:
    """The task with the problems of the recording alone, when the run replayed a part of it on purpose."""
    if not settings.get("engine", {}).get("partial"):
        return task
    there = tallies.of(task.name).problems
    return replace(task, problems=tuple(problem for problem in task.problems if problem.id in there))

"""Grades a stored run again, without a model, and says what changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llemma.evaluate.config import load_tasks
from llemma.evaluate.rows import Graders, graders
from llemma.evaluate.score import EvalResult, config_of, score_run, settings_of
from llemma.evaluate.settings import RegradeConfig
from llemma.records import Event, Problem, Progress, silent
from llemma.run import Run, json_line, open_run

LISTED = 1000  # changed samples that are named


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A sample that is judged otherwise now."""

    id: str
    before: str
    after: str
    answer: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Regraded:
    """The new scores; ``samples`` were graded, ``changed`` of them otherwise, ``changes`` names the first of these."""

    result: EvalResult
    samples: int
    changed: int
    changes: tuple[Change, ...]


def regrade(config: RegradeConfig, progress: Progress = silent) -> Regraded:
    """Replace every grade in a run folder by what today's scorers say, and its ``metrics.json`` by what follows.

    Raises RunError when the folder holds no evaluation or another process uses it, ConfigError when a task has no such
    scorer, DataError when a task's data is missing.
    """
    settings = settings_of(config.run)
    scorer = config.scorer or settings.get("scorer", "both")
    stored = config_of(config.run, settings)
    tasks = {task.name: task for task in load_tasks(stored.tasks, stored.options)}
    judges = {name: graders(task, scorer) for name, task in tasks.items()}
    problems = {name: {problem.id: problem for problem in task.problems} for name, task in tasks.items()}
    with open_run(config.run, "eval", settings) as run:
        work = _Work(judges, problems, progress)
        run.replace_rows(work.lines(run))
        settings = {**settings, "scorer": scorer}
        run.write_settings(settings)
        result = score_run(run, settings)
    return Regraded(result=result, samples=work.samples, changed=work.changed, changes=tuple(work.changes))


class _Work:
    """One pass over the rows."""

    def __init__(
        self, judges: Mapping[str, Graders], problems: Mapping[str, Mapping[str, Problem]], progress: Progress
    ) -> None:
        self.judges, self.problems, self.progress = judges, problems, progress
        self.samples = self.changed = 0
        self.changes: list[Change] = []

    def lines(self, run: Run) -> Iterator[bytes]:
        for row in run.rows():
            yield json_line(self._again(row) if row["error"] is None else row)
            if self.samples % 1000 == 0:
                self.progress(Event(stage="regrade", done=self.samples, unit="samples"))
        self.progress(Event(stage="regrade", done=self.samples, total=self.samples, unit="samples"))

    def _again(self, row: dict[str, Any]) -> dict[str, Any]:
        task, name = row["task"], row["problem"]
        problem = self.problems[task].get(name)
        if problem is None:  # the task has changed since: the row holds what it needs
            problem = Problem(id=name, prompt=row["question"], answer=row["reference"], meta=row.get("groups") or {})
        before = row["grade"]["verdict"]
        row = {key: value for key, value in row.items() if key != "scores"}
        row |= self.judges[task].grade(problem, row["transcript"]["text"])
        after = row["grade"]["verdict"]
        self.samples += 1
        if after != before:
            self.changed += 1
            if len(self.changes) < LISTED:
                grade = row["grade"]
                self.changes.append(
                    Change(id=row["id"], before=before, after=after, answer=grade["answer"], reason=grade["reason"])
                )
        return row

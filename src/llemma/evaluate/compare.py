"""Two runs on the same problems: how far apart they are, and whether that is more than chance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llemma.errors import DataError
from llemma.evaluate.config import load_tasks
from llemma.evaluate.metrics import values_by_problem
from llemma.evaluate.score import Tallies, classes_of, config_of, settings_of
from llemma.evaluate.settings import CompareConfig
from llemma.evaluate.stats import Difference, paired
from llemma.records import Classes
from llemma.run import read_jsonl


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One task in both runs. ``first`` and ``second`` are means over the problems that both have; ``gained`` and
    ``lost`` name problems whose value rose or fell in the second run."""

    task: str
    metric: str
    first: float
    second: float
    difference: Difference
    gained: tuple[str, ...]
    lost: tuple[str, ...]


def compare_runs(config: CompareConfig) -> tuple[Compared, ...]:
    """The tasks that both runs have. Raises DataError when they have no problem in common, RunError for no run."""
    first, second = (_tallies(folder) for folder in config.runs)
    classes = _classes(config.runs[0]) if config.k is not None else {}
    found = []
    for task in first.by_task:
        if task not in second.by_task:
            continue
        a, b = (_values(config, side, task, classes.get(task, {})) for side in (first, second))
        common = [name for name in a if name in b]
        if not common:
            continue
        before, after = [a[name] for name in common], [b[name] for name in common]
        found.append(
            Compared(
                task=task,
                metric="accuracy" if config.k is None else f"maj@{config.k}",
                first=sum(before) / len(common),
                second=sum(after) / len(common),
                difference=paired(before, after, seed=config.seed),
                gained=tuple(name for name in common if b[name] > a[name]),
                lost=tuple(name for name in common if b[name] < a[name]),
            )
        )
    if not found:
        raise DataError(f"{config.runs[0]} and {config.runs[1]} have no graded problem in common")
    return tuple(found)


def _tallies(folder: Path) -> Tallies:
    settings_of(folder)  # refuses what is no evaluation
    tallies = Tallies()
    path = folder / "rows.jsonl"
    tallies.take(read_jsonl(path), path)
    return tallies


def _classes(folder: Path) -> dict[str, dict[str, Classes | None]]:
    """Which answers are equal in a vote, by task and scorer."""
    config = config_of(folder, settings_of(folder))
    return {task.name: classes_of(task) for task in load_tasks(config.tasks, config.options)}


def _values(
    config: CompareConfig, tallies: Tallies, task: str, classes: Mapping[str, Classes | None]
) -> dict[str, float]:
    tally = tallies.of(task)
    scorer = config.scorer or next(iter(tally.scorers()), "strict")
    if scorer not in tally.scorers():
        raise DataError(f"{task} was not graded by the scorer {scorer!r}; known: {', '.join(tally.scorers())}")
    return values_by_problem(tally, scorer, 1 << 20, config.k, classes.get(scorer))

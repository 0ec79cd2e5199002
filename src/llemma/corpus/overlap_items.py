"""The texts whose copies in a corpus are looked for: problems and solutions of tasks, generations of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

from llemma import plugins
from llemma.corpus.overlap_settings import Field
from llemma.errors import ConfigError, DataError
from llemma.evaluate.config import load_tasks
from llemma.run import read_jsonl
from llemma.tasks._data import Dataset, local


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A text to look for. ``choices`` are the answers offered with a problem, by which a short one is recognised."""

    task: str
    problem: str
    field: Field
    text: str
    choices: str = ""


def task_items(tasks: Sequence[str], wanted: Sequence[Field]) -> list[Item]:
    """The problems of tasks and, where these have them, solutions. Raises ConfigError, DataError as loading does."""
    found = []
    for task in load_tasks(tasks, {}):
        for problem in task.problems:
            choices, solution = problem.meta.get("choices", ""), problem.meta.get("solution", "")
            if "problem" in wanted:
                found.append(
                    Item(
                        task=task.name, problem=problem.id, field="problem", text=problem.prompt,
                        choices=choices if isinstance(choices, str) else " ".join(map(str, choices)),
                    )
                )  # fmt: skip
            if "solution" in wanted and isinstance(solution, str) and solution.strip():
                found.append(Item(task=task.name, problem=problem.id, field="solution", text=solution))
    return found


def generations(run: Path) -> list[Item]:
    """What a model wrote in an evaluation (its run folder or rows.jsonl); equal texts for a problem are one item."""
    path = run / "rows.jsonl" if run.is_dir() else run
    found: dict[Item, None] = {}
    for number, row in enumerate(read_jsonl(path), 1):
        task, problem, transcript = row.get("task"), row.get("problem"), row.get("transcript")
        if not isinstance(task, str) or not isinstance(problem, str) or "transcript" not in row:
            raise DataError(
                "expected a row of `llemma eval` with task, problem, transcript", where=f"{path}:{number}"
            )  # fmt: skip
        text = transcript.get("text", "") if isinstance(transcript, dict) else ""
        if text.strip():
            found[Item(task=task, problem=problem, field="generation", text=text)] = None
    if not found:
        raise DataError("holds no generations", where=path)
    return list(found)


def present_tasks() -> list[str]:
    """The tasks whose data lie on this machine: nothing is fetched. Drawn problems (``generated``) are none."""
    return [name for name in plugins.names("tasks") if _present(plugins.load("tasks", name))]


def _present(module: Any) -> bool:
    if hasattr(module, "available"):
        return bool(module.available())
    if isinstance(getattr(module, "DATA", None), Dataset):
        return local(module.DATA) is not None
    other = next(_tasks_it_uses(module), None)
    if other is not None:  # math_python has the problems of math
        return _present(other)
    # without data of others (library): its problems are files of this package
    return all(f.name != "variant" for f in fields(module.Options))


def _tasks_it_uses(module: Any) -> Iterator[Any]:
    for value in vars(module).values():
        if isinstance(value, ModuleType) and value.__name__.startswith("llemma.tasks.") and hasattr(value, "load"):
            yield value


def checked_tasks(tasks: Sequence[str]) -> tuple[str, ...]:
    """``present`` replaced by the tasks that are. Raises ConfigError when that leaves none."""
    found = tuple(dict.fromkeys(name for task in tasks for name in (present_tasks() if task == "present" else [task])))
    if not found:
        raise ConfigError("no task to look for: name some, or set LLEMMA_DATA to the folder with their data")
    return found

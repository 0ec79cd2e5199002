"""Which problems overlap a training corpus: reads what ``llemma overlap`` writes, decides nothing itself.

One JSON object a line: ``problem`` (or ``id``) names a problem; ``task`` (or ``benchmark``) its task, if the file is
about several; ``hits`` counts or lists what was found. A line without ``hits`` is a hit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llemma.errors import DataError
from llemma.run import read_jsonl


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """The problems with hits, by task; those under None count for every task."""

    dirty: Mapping[str | None, frozenset[str]] = field(default_factory=dict)

    def of(self, task: str) -> frozenset[str] | None:
        """The dirty problems of a task, None when nothing is known about it.

        ``math:algebra`` also has those of ``math``, and so has ``math_python``, whose problems they are.
        """
        base = task.partition(":")[0]
        names = {None, task, base, base.removesuffix("_python")} & self.dirty.keys()
        return frozenset().union(*(self.dirty[name] for name in names)) if names else None

    def must_know(self, tasks: Iterable[str], where: Path) -> None:
        """Raise DataError when nothing is known about any of the tasks: then all their problems would seem clean."""
        names = list(tasks)
        if all(self.of(name) is None for name in names):
            about = ", ".join(sorted(filter(None, self.dirty))) or "nothing"
            raise DataError(
                f"says nothing about {', '.join(names)}, it is about {about}; run llemma overlap benchmark={names[0]}",
                where=where,
            )


def read_overlap(path: Path) -> Overlap:
    """The overlap file at ``path``, or in the run folder of ``llemma overlap`` there.

    Raises DataError with file and line when it has another form.
    """
    path = path / "overlap.jsonl" if path.is_dir() else path
    found: dict[str | None, set[str]] = {}
    for number, row in enumerate(read_jsonl(path), 1):
        name = row.get("problem", row.get("id"))
        task = row.get("task", row.get("benchmark"))
        if not isinstance(name, (str, int)) or not (task is None or isinstance(task, str)):
            raise DataError("expected the fields problem (or id) and perhaps task and hits", where=f"{path}:{number}")
        dirty = found.setdefault(task, set())
        if _hit(row):
            dirty.add(str(name))
    return Overlap(dirty={task: frozenset(names) for task, names in found.items()})


def _hit(row: Mapping[str, Any]) -> bool:
    hits = row.get("hits", True)
    return bool(hits)

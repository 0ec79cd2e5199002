"""Reads run folders that may be unfinished, damaged or hostile: what is wrong becomes a note, never a crash.

Rows are streamed; nothing here keeps more than one of them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llemma.errors import DataError, explain
from llemma.report.units import one_line

LONGEST_ROW = 4 << 20  # bytes; a longer line is damage or an attack, and would be held in memory
LARGEST_JSON = 64 << 20

RESUME = "run the same command again to go on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A run folder as found: ``notes`` say what is damaged or unfinished."""

    path: Path
    name: str
    verb: str
    settings: tuple[tuple[str, str], ...] = ()
    versions: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Damage:
    """Counts what could not be read of a rows file."""

    lines: int = 0
    torn: bool = False
    reasons: list[str] = field(default_factory=list)

    def notes(self) -> tuple[str, ...]:
        """The damage in words."""
        said = [f"rows.jsonl: {self.lines} unreadable line{'s' * (self.lines > 1)} left out"] if self.lines else []
        said += ["rows.jsonl: the last line is not complete: the run is being written or was stopped"] * self.torn
        return (*said, *self.reasons)


def find(folders: Sequence[Path]) -> tuple[Folder, ...]:
    """Every run at or below ``folders``, each once, in the order of their names.

    Raises DataError when one of them does not exist or holds no run.
    """
    found: dict[Path, Folder] = {}
    for root in folders:
        if not root.is_dir():
            raise DataError("no such run folder; check the path, or make it with `llemma tour run=DIR`", where=root)
        before = len(found)
        base = root.resolve()
        for path in _candidates(base):
            folder = _folder(path, _name(base, path))
            if folder is not None:
                found.setdefault(path, folder)
        if len(found) == before and not any(base == path or base in path.parents for path in found):
            raise DataError(
                "holds no run (no config.json with a verb); name a folder that `llemma tour|train|eval|corpus` wrote",
                where=root,
            )
    return tuple(found.values())


def json_object(folder: Path, name: str) -> tuple[Mapping[str, Any], str | None]:
    """A JSON object of a run folder and, when it cannot be used, why (the object is then empty)."""
    path = folder / name
    try:
        if path.stat().st_size > LARGEST_JSON:
            return {}, f"{name} is larger than {LARGEST_JSON >> 20} MiB and was not read"
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}, f"unfinished: {name} is missing; {RESUME}"
    except OSError as error:
        return {}, f"{name} cannot be read: {explain(error).replace(str(folder) + os.sep, '')}"
    except (ValueError, RecursionError) as error:
        return {}, f"{name} is damaged ({one_line(explain(error))}); delete it and {RESUME}"
    return (value, None) if isinstance(value, dict) else ({}, f"{name} is damaged: not a JSON object")


def rows(folder: Path, damage: Damage, name: str = "rows.jsonl") -> Iterator[tuple[int, dict[str, Any]]]:
    """The readable rows of a folder with their byte offsets; what is unreadable is counted in ``damage``."""
    try:
        with open(folder / name, "rb") as file:
            offset = 0
            while line := file.readline(LONGEST_ROW + 1):
                start, offset = offset, offset + len(line)
                if not line.endswith(b"\n"):
                    if len(line) <= LONGEST_ROW:
                        damage.torn = True
                        return
                    while (more := file.readline(LONGEST_ROW)) and not more.endswith(b"\n"):
                        offset += len(more)
                    offset += len(more)
                    damage.lines += 1
                    continue
                row = parsed(line)
                if row is None:
                    damage.lines += bool(line.strip())
                    continue
                yield start, row
    except FileNotFoundError:
        damage.reasons.append(f"unfinished: {name} is missing; {RESUME}")
    except OSError as error:
        damage.reasons.append(f"{name} cannot be read: {explain(error).replace(str(folder) + os.sep, '')}")


def rows_at(folder: Path, offsets: Iterable[int], name: str = "rows.jsonl") -> Iterator[dict[str, Any]]:
    """The rows that begin at these byte offsets, as ``rows`` gave them."""
    with open(folder / name, "rb") as file:
        for offset in offsets:
            file.seek(offset)
            row = parsed(file.readline(LONGEST_ROW + 1))
            if row is not None:
                yield row


def parsed(line: bytes) -> dict[str, Any] | None:
    """The JSON object on a line, or None."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def number(value: Any) -> float | None:
    """A number of any kind as a float (it may be infinite or NaN), or None for all else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def finite(value: Any) -> float | None:
    """A finite number as a float, or None for all else."""
    found = number(value)
    return found if found is not None and math.isfinite(found) else None


def whole(value: Any) -> int:
    """A count: a finite number as an integer, 0 for all else."""
    return int(finite(value) or 0)


def table(value: Any) -> Mapping[str, Any]:
    """A JSON object, or an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    """A JSON array, or an empty one."""
    return value if isinstance(value, list) else []


def words(value: Any) -> str:
    """Text as it is, nothing as empty text, other values as JSON."""
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def flat(value: Mapping[str, Any], prefix: str = "", depth: int = 6) -> Iterator[tuple[str, str]]:
    """Nested settings as ``("optim.lr", "0.001")`` pairs, cut to what fits a page."""
    for key, item in list(value.items())[:200]:
        if isinstance(item, dict) and item and depth:
            yield from flat(item, f"{prefix}{key}.", depth - 1)
        else:
            text = ", ".join(map(words, item[:50])) if isinstance(item, list) else words(item)
            yield one_line(prefix + str(key)), one_line(text, 300) or "none"


def _candidates(base: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(base):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "checkpoints")
        if "config.json" in files:
            yield Path(path)


def _name(base: Path, path: Path) -> str:
    return one_line((Path(base.name) / path.relative_to(base)).as_posix(), 120)


def _folder(path: Path, name: str) -> Folder | None:
    config, trouble = json_object(path, "config.json")
    if trouble is None and not isinstance(config.get("verb"), str):
        return None  # the config.json of a model, not of a run
    return Folder(
        path=path,
        name=name,
        verb=one_line(config.get("verb", "unknown"), 20),
        settings=tuple(flat(table(config.get("settings"))))[:400],
        versions=tuple(flat(table(config.get("versions"))))[:40],
        notes=() if trouble is None else (trouble,),
    )

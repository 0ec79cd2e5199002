"""Units of work of a build: what any process on any machine that sees the run folder can do, twice without harm.

A unit is plain data with ``do``; it reads files that are complete, writes its own atomically and returns the row that
says what it made. Who does it when, and what becomes of a process that dies, is the business of an engine; the rows are
stored by the one process that holds the run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from llemma.errors import Caught, DataError, LlemmaError, RunError, boundary, explain
from llemma.records import Event, Progress, silent
from llemma.run import Run, sha256_file

Row = dict[str, Any]
TRIES = 3  # times a unit may lose its process, or meet an accident that may pass, before it is given up
MOST_FAILED = 10  # units that may fail before no more are handed out
_ACCIDENTS = {"OSError", "TimeoutError", "ConnectionError", "ConnectionResetError", "BlockingIOError"}


class Unit(Protocol):
    """One unit: ``id`` is that of its row, ``where`` names it to people, ``input`` is what a resumed build compares."""

    @property
    def id(self) -> str: ...

    @property
    def stage(self) -> str: ...

    @property
    def where(self) -> str: ...

    @property
    def input(self) -> str: ...

    def do(self, progress: Progress = silent) -> Row:
        """Do the work; the row says what was made, with its ``files``."""
        ...


class Engine(Protocol):
    """Does units somewhere. ``each`` yields them in the order in which they are done, with their row or what failed."""

    def each(self, units: Sequence[Unit], progress: Progress) -> Iterator[tuple[Unit, Row | Caught]]: ...


def attempt(unit: Unit, progress: Progress = silent) -> Row | Caught:
    """The unit's row with id, stage, input and seconds; or, as a value that can travel, what failed."""
    began = time.perf_counter()
    try:
        found = boundary(lambda: unit.do(progress))
    except (
        LlemmaError,
        OSError,
        AssertionError,
    ) as error:  # what ends a build wherever it happens, such as a full disk
        return Caught(kind=f"{type(error).__name__}!", message=explain(error))
    if isinstance(found, Caught):
        return Caught(kind=found.kind, message=found.message, retryable=found.retryable or found.kind in _ACCIDENTS)
    return {
        "id": unit.id,
        "stage": unit.stage,
        "input": unit.input,
        **found,
        "seconds": round(time.perf_counter() - began, 3),
    }


def insist(unit: Unit, progress: Progress = silent) -> Row | Caught:
    """``attempt``, again after an accident that may pass (a connection, a busy file server), ``TRIES`` times in all."""
    for _ in range(TRIES):
        found = attempt(unit, progress)
        if not (isinstance(found, Caught) and found.retryable):
            break
    return found


def facts(paths: Iterable[Path], folder: Path) -> dict[str, dict[str, Any]]:
    """Size and sha256 of files, by their path in the run folder: what a row says about what was written."""
    return {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in paths
    }


def lost(row: Mapping[str, Any], folder: Path) -> str:
    """The first file of a row that is missing or has another size than it had; empty when all are there."""
    for name, fact in row.get("files", {}).items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != fact["bytes"]:
            return str(name)
    return ""


def verify(path: Path, fact: Mapping[str, Any]) -> Path:
    """The path of a file that holds what its row says. Raises DataError with the remedy for any other content."""
    if not path.is_file():
        raise DataError("file missing; run the same command again: it is made again", where=path)
    if path.stat().st_size != fact["bytes"] or sha256_file(path) != fact["sha256"]:
        raise DataError(
            "damaged: not what was written there; delete it and run the same command again: it is made again",
            where=path,
        )
    return path


def run_stage(units: Sequence[Unit], run: Run, engine: Engine, progress: Progress) -> dict[str, Row]:
    """Do the units that have no row yet; every unit's row, by id.

    A stored row whose files are gone is done again. A unit that fails does not stop the others, but the stage: raises
    LlemmaError naming it and the cause once the others are done (at once for a full disk or a wrong setting), and
    DataError when a unit's input is not what it was.
    """
    stored = _stored(units, run, progress)
    before = {unit.id: stored.pop(unit.id) for unit in units if unit.id in stored and lost(stored[unit.id], run.folder)}
    if before:
        run.truncate(run.ids - before.keys())
        first = next(iter(before.values()))
        run.log(f"{len(before)} units are done again, files are missing or cut: {lost(first, run.folder)}, …")
    missing = [unit for unit in units if unit.id not in stored]
    failed: list[tuple[Unit, Caught]] = []
    reporter = Reporter(units, stored.values(), progress)
    for unit, found in engine.each(missing, progress):
        if isinstance(found, Caught):
            failed.append((unit, found))
            with contextlib.suppress(OSError):  # a full disk has no room for this line either
                run.log(f"{unit.where}: {found}")
            if found.kind.endswith("!") or len(failed) >= MOST_FAILED:
                break
            reporter.failed(unit, found)
            continue
        _same(unit, before.get(unit.id), found)
        run.append([found])
        stored[unit.id] = found
        reporter.done(found)
    if failed:
        raise _failure(failed, units)
    return {unit.id: stored[unit.id] for unit in units}


def _stored(units: Sequence[Unit], run: Run, progress: Progress) -> dict[str, Row]:
    """The rows of the units that were done before. Raises DataError when one read something else."""
    if not units:
        return {}
    mine, stage = {unit.id: unit for unit in units}, units[0].stage
    found: dict[str, Row] = {}
    for row in run.rows():
        if row.get("stage") != stage:
            continue
        unit = mine.get(row["id"])
        if unit is None or row["input"] != unit.input:
            raise DataError(
                f"{_named(unit, row)}: its input has changed since this build began; "
                f"use run=OTHER or delete {run.folder}"
            )
        found[row["id"]] = row
    return found


def _named(unit: Unit | None, row: Mapping[str, Any]) -> str:
    return f"source {row['source']}" if "source" in row else unit.where if unit else str(row["id"])


def _same(unit: Unit, before: Row | None, now: Row) -> None:
    """A unit that is done again must make the same: other units have used what it made. Raises DataError."""
    if before is not None and before.get("files") != now.get("files"):
        raise DataError(
            f"{unit.where}: done again because its files were gone, it made others: its input has changed; "
            "use run=OTHER or delete the run folder"
        )


def _failure(failed: list[tuple[Unit, Caught]], units: Sequence[Unit]) -> LlemmaError:
    place = {unit.id: n for n, unit in enumerate(units)}
    failed.sort(key=lambda pair: (not pair[1].kind.endswith("!"), place[pair[0].id]))
    unit, caught = failed[0]
    more = f" (and {len(failed) - 1} more units failed: see log.txt)" if len(failed) > 1 else ""
    kind = caught.kind.rstrip("!")
    told = caught.message if kind in _PLAIN else f"{kind}: {caught.message}"
    text = f"{told if told.startswith(unit.where) else f'{unit.where}: {told}'}{more}"
    return _PLAIN.get(kind, LlemmaError)(text)


_PLAIN: dict[str, Callable[[str], LlemmaError]] = {
    "DataError": DataError,
    "NotHere": DataError,
    "RunError": RunError,
    "LlemmaError": LlemmaError,
    "ConfigError": LlemmaError,
    "MissingDependency": LlemmaError,
    "OSError": LlemmaError,
}


class Reporter:
    """Tells how far a stage is: units, documents, and megabytes a second since this process began with it."""

    def __init__(self, units: Sequence[Unit], stored: Iterable[Row], progress: Progress) -> None:
        self._progress, self._total = progress, len(units)
        self._stage = units[0].stage if units else ""
        self._began = time.perf_counter()
        self._done = self._documents = self._bytes = self._lost = 0
        for row in stored:
            self._count(row)
        self._new = 0

    def done(self, row: Row) -> None:
        """A unit is done."""
        self._count(row)
        self._new += row.get("bytes", 0)
        self._tell("")

    def failed(self, unit: Unit, caught: Caught) -> None:
        """A unit has failed: said at once, although the others go on."""
        self._lost += 1
        self._tell(f"FAILED {unit.where}: {caught.message}")

    def _count(self, row: Row) -> None:
        self._done += 1
        self._documents += row.get("documents", 0)
        self._bytes += row.get("bytes", 0)

    def _tell(self, note: str) -> None:
        seconds = max(time.perf_counter() - self._began, 1e-9)
        figures = {"documents": self._documents, "MB/s": self._new / 1e6 / seconds}
        if self._lost:
            figures["failed"] = self._lost
        self._progress(
            Event(
                stage=f"corpus: {self._stage}",
                done=self._done,
                total=self._total,
                unit="parts",
                figures=figures,
                note=note,
            )
        )

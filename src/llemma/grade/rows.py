"""Grades files of answers: one row in, one judgement out, in the same order; what ``llemma grade`` does.

A row is an object with ``id``, ``prediction``, ``reference`` and, if there is one, ``task``; ``question`` and other
fields are for people. A file is checked to its end before the first row is graded, so that a mistake in the last line
costs seconds; what comes through a pipe is checked row by row. Memory does not grow with the number of rows.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Any, Literal, cast

from llemma.config import setting
from llemma.errors import DataError, LlemmaError
from llemma.records import Event, Grade, Progress, silent
from llemma.run import cores, numbered_jsonl

Scorer = Callable[[str, str, str | None], Grade]

_CHUNK = 32  # rows handed to a process at a time: the hand-over costs as much as grading one or two
_AHEAD = 3  # chunks per process that are read before the oldest is written
_PAUSE = 0.1  # seconds between two words about progress


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeConfig:
    """Settings of ``llemma grade``."""

    file: Path = setting(help="JSON lines of id, prediction, reference and perhaps task (-: standard input)")
    scorer: Literal["strict", "paper"] = setting("strict", "strict, or the Llemma paper's with its faults kept")
    workers: int = setting(1, "processes that grade (0: one per core)")
    out: Path | None = setting(None, "file for the judgements; written whole or not at all (default: standard output)")

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ValueError(f"workers={self.workers}: must not be negative")
        if self.out is not None and self.out.is_dir():
            raise ValueError(f"out={self.out}: this is a folder, a file was expected")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One answer to grade."""

    id: str | int
    prediction: str
    reference: str
    task: str | None = None


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file, in order. Raises DataError with file and line for one that is not as it must be."""
    source = Path("/dev/stdin") if str(path) == "-" else path
    return (_row(value, f"{source}:{number}") for number, value in numbered_jsonl(source))


def grade_rows(config: GradeConfig, *, progress: Progress = silent) -> Iterator[dict[str, Any]]:
    """The judgements ``{"id", "verdict", "answer", "reason"}`` of the rows of a file, in its order.

    The last event says how many there were of each verdict and how fast it went. Raises DataError for a bad row:
    before anything is graded, or in its turn when the rows come through a pipe.
    """
    total = _count(config.file, progress) if config.file.is_file() else None
    rows = read_rows(config.file)
    workers = config.workers or cores()
    graded = _by_processes(rows, config.scorer, workers) if workers > 1 else _grade_all(rows, config.scorer)
    verdicts: Counter[str] = Counter()
    start = said = time.perf_counter()
    with contextlib.closing(graded):
        for done, judgement in enumerate(graded, 1):
            verdicts[judgement["verdict"]] += 1
            yield judgement
            now = time.perf_counter()
            if now - said >= _PAUSE and done != total:
                said = now
                progress(_event(done, total, now - start))
    done = verdicts.total()
    note = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()) or "no rows"
    progress(_event(done, done, time.perf_counter() - start, note))


def _event(done: int, total: int | None, seconds: float, note: str = "") -> Event:
    figures = {"pairs/s": done / max(seconds, 1e-9)}
    return Event(stage="grade", done=done, total=total, unit="pairs", figures=figures, note=note)


def _count(path: Path, progress: Progress) -> int:
    """How many rows there are; every one is checked."""
    done = 0
    for done, _ in enumerate(read_rows(path), 1):
        if done % 20_000 == 0:
            progress(Event(stage="check", done=done, unit="rows"))
    return done


def _row(value: dict[str, Any], where: str) -> Row:
    for name in ("id", "prediction", "reference"):
        if name not in value:
            found = ", ".join(value) or "nothing"
            raise DataError(
                f"no {name!r}; a row has id, prediction, reference and perhaps task; found: {found}", where=where
            )
    name, task = value["id"], value.get("task")
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise DataError(f"'id' must be a text or a whole number, not {_short(name)}", where=where)
    if not isinstance(task, str | None):
        raise DataError(f"'task' must be a text, not {_short(task)}", where=where)
    prediction, reference = (_text(value, field, where) for field in ("prediction", "reference"))
    return Row(id=name, prediction=prediction, reference=reference, task=task)


def _text(value: dict[str, Any], field: str, where: str) -> str:
    given = value[field]
    if isinstance(given, str):
        return given
    if given is None and field == "prediction":
        return ""  # a sample that failed has no text: it is judged, like any other without an answer
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise DataError(f"{field!r} must be a text, not {_short(given)}", where=where)
    return str(given)  # many data sets store numbers as numbers


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else text[:39] + "…"


def _scorer(name: str) -> Scorer:
    """The function of a scorer; the package ``llemma.grade`` is itself the strict one."""
    if name == "strict":
        return cast(Scorer, importlib.import_module("llemma.grade"))
    return cast(Scorer, importlib.import_module("llemma.grade.paper").grade_paper)


def _grade_all(rows: Iterable[Row], scorer: str) -> Generator[dict[str, Any], None, None]:
    score = _scorer(scorer)
    for row in rows:
        grade = score(row.prediction, row.reference, row.task)
        yield {"id": row.id, "verdict": grade.verdict, "answer": grade.answer, "reason": grade.reason}


def _grade_chunk(rows: list[Row], scorer: str) -> list[dict[str, Any]]:
    return list(_grade_all(rows, scorer))


def _by_processes(rows: Iterator[Row], scorer: str, workers: int) -> Generator[dict[str, Any], None, None]:
    """The same by several processes; only a few chunks are under way at any time."""
    _scorer(scorer)  # a scorer that cannot be loaded says so here, not in each process
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of threads that do not run in it
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_serve)
    under_way: deque[Future[list[dict[str, Any]]]] = deque()
    bad: list[DataError] = []
    try:
        for chunk in _chunks(rows, bad):
            under_way.append(pool.submit(_grade_chunk, chunk, scorer))
            if len(under_way) >= _AHEAD * workers:
                yield from under_way.popleft().result()
        while under_way:
            yield from under_way.popleft().result()
    except BrokenProcessPool as error:
        raise LlemmaError("a grading process was killed, perhaps for memory; try fewer with workers=1") from error
    finally:
        pool.shutdown(cancel_futures=True)
    if bad:
        raise bad[0]


def _chunks(rows: Iterator[Row], bad: list[DataError]) -> Iterator[list[Row]]:
    """The rows in chunks; the error of a bad row goes to ``bad`` and ends them, so that the rows before it count."""
    while not bad:
        chunk: list[Row] = []
        try:
            chunk.extend(itertools.islice(rows, _CHUNK))
        except DataError as error:
            bad.append(error)
        if not chunk:
            return
        yield chunk


def _serve() -> None:
    """Prepare a grading process: Ctrl-C is for the process that reads and writes, and without it there is no work."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()

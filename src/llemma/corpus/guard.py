"""The held-out guard: no document with a copy of a benchmark item gets into a corpus.

By default against every benchmark whose data are on this machine. Which those were is a row of the build, so that one
that goes on with other data is refused; the index of their items lies in the run folder while the build lasts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from llemma import plugins
from llemma.corpus.overlap import OverlapConfig, build_index, loaded, said
from llemma.corpus.overlap_items import checked_tasks, present_tasks, task_items
from llemma.corpus.quality import Outcome
from llemma.corpus.units import Row
from llemma.errors import DataError
from llemma.run import Run, sha256_file

OFF = ("none",)
INDEX = "held-out.jsonl"
BATCH, BATCH_BYTES = 512, 4_000_000  # documents looked at together


def guarded_tasks(config: OverlapConfig) -> tuple[str, ...]:
    """The tasks that are held out: those named, by default all whose data are here. Raises ConfigError, DataError."""
    if config.tasks == OFF:
        return ()
    if not config.tasks:
        return tuple(present_tasks())
    for name in config.tasks:
        if name != "present":
            plugins.load("tasks", name.partition(":")[0])
    return checked_tasks(config.tasks)


def prepare_guard(config: OverlapConfig, run: Run) -> Path | None:
    """The index of what must not be in the corpus, built where it is not there yet; None when nothing is held out.

    Raises DataError when the benchmarks on this machine are not those with which the build began.
    """
    tasks = guarded_tasks(config)
    path = run.folder / INDEX
    stored = next((row for row in run.rows() if row["id"] == "guard"), None)
    if stored and tuple(stored["tasks"]) == tasks and path.is_file() and sha256_file(path) == stored["sha256"]:
        return path
    row: Row = {"id": "guard", "stage": "guard", "tasks": list(tasks), "items": 0, "sha256": ""}
    if tasks:
        index = build_index(task_items(tasks, config.fields), config)
        index.save(path)
        row |= {"items": sum(index.searched), "sha256": sha256_file(path)}
    if stored and stored != row:
        then, now = ", ".join(stored["tasks"]) or "none", ", ".join(tasks) or "none"
        raise DataError(
            f"the benchmarks that are held out have changed since this build began ({then}; now {now}): "
            f"bring them back, use run=OTHER or delete {run.folder}"
        )
    run.append([row])
    return path if tasks else None


def clean(outcomes: Iterable[Outcome], index: Path) -> Iterator[Outcome]:
    """The outcomes in order; a document that was kept and has a copy of an item is dropped, with item and text."""
    for batch in _batches(outcomes):
        kept = [outcome.document.text for outcome in batch if not outcome.reason]
        found = iter(loaded(index).scan_all(kept) if kept else ())
        for outcome in batch:
            hits: list[Any] = [] if outcome.reason else next(found)
            if not hits:
                yield outcome
                continue
            hit = max(hits, key=lambda hit: (hit.words, -hit.start))
            yield Outcome(document=outcome.document, reason=f"overlap with {hit.task}", detail=said(hit))


def _batches(outcomes: Iterable[Outcome]) -> Iterator[list[Outcome]]:
    batch: list[Outcome] = []
    size = 0
    for outcome in outcomes:
        batch.append(outcome)
        size += len(outcome.document.text)
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch

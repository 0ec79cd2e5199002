"""Reads a source part by part and judges its documents: what is kept of a part lies in a file of the run folder.

A part is what ``parts(options)`` of the source's plug-in says, one file of input for example; a source without it is
one part. Parts are independent, so they are read by several processes, handed over in order, and done once: a part
whose row is stored is never read again. Nothing here looks at two documents together; duplicates are found later.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any

from llemma import plugins
from llemma.config import build
from llemma.corpus import code_filter
from llemma.corpus.quality import Outcome, QualityEntry, Stage, quality_stage
from llemma.errors import Caught, ConfigError, DataError, LlemmaError, boundary
from llemma.records import Document
from llemma.run import atomic_file, json_line, read_jsonl

DROP_SAMPLES = 3  # dropped documents of each reason that are stored for people to look at
DROP_SAMPLE_CHARS = 500
AHEAD = 3  # parts per process that are under way before the oldest is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a source and all that is needed to prepare it, in any process."""

    source: str
    number: int
    kind: str
    options: Mapping[str, Any]
    rule: str
    rules: str
    test_theorems: tuple[str, ...]
    quality: QualityEntry
    models: Path
    min_bytes: int
    out: Path

    @property
    def id(self) -> str:
        """The id of the part's row."""
        return f"part:{self.source}:{self.number:05d}"

    @property
    def input(self) -> str:
        """What the part reads, as a short hash: a resumed build must find the same."""
        return hashlib.sha256(json.dumps(self.options, sort_keys=True).encode()).hexdigest()[:16]


def source_module(name: str, kind: str) -> Any:
    """The plug-in of a source. Raises ConfigError when the file is none."""
    module = plugins.load("sources", kind or name)
    if not (hasattr(module, "Options") and hasattr(module, "documents")):
        raise ConfigError(f"{kind or name} is not a source: it needs a dataclass Options and documents(options)")
    return module


def source_options(name: str, kind: str, options: Mapping[str, Any]) -> Any:
    """The settings of a source's plug-in. Raises ConfigError for an unknown key."""
    return build(source_module(name, kind).Options, options, where=f"sources.{name}: ", prefix="options.")


def split(name: str, kind: str, options: Any) -> list[Any]:
    """The settings of the parts of a source: they yield, one after the other, what the whole would."""
    module = source_module(name, kind)
    return list(module.parts(options)) if hasattr(module, "parts") else [options]


def prepare(parts: Iterable[Part], workers: int) -> Generator[dict[str, Any], None, None]:
    """Prepare parts, in order; for each the row that says what became of its documents.

    ``workers`` processes share the work when there is more than one part. Raises DataError for unreadable input.
    """
    waiting = list(parts)
    if workers < 2 or len(waiting) < 2:
        for part in waiting:
            yield prepare_part(part)
        return
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of threads that do not run in it
    pool = ProcessPoolExecutor(min(workers, len(waiting)), mp_context=context, initializer=_serve)
    under_way: deque[Future[dict[str, Any] | Caught]] = deque()
    try:
        for part in waiting:
            under_way.append(pool.submit(_safely, part))
            if len(under_way) >= AHEAD * workers:
                yield _row(under_way.popleft())
        while under_way:
            yield _row(under_way.popleft())
    except BrokenProcessPool as error:
        raise LlemmaError("a process that reads documents was killed, perhaps for memory; try workers=1") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _safely(part: Part) -> dict[str, Any] | Caught:
    return boundary(lambda: prepare_part(part))


def _row(future: Future[dict[str, Any] | Caught]) -> dict[str, Any]:
    found = future.result()
    if isinstance(found, Caught):
        raise DataError(found.message) if found.kind == "DataError" else LlemmaError(str(found))
    return found


def _serve() -> None:
    """Prepare a process: Ctrl-C is for the one that hands out the work, and without it there is nothing to do."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What became of the documents of a part."""

    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def drop(self, outcome: Outcome) -> None:
        """Count a dropped document; the first few of each reason are kept to look at."""
        reason = outcome.reason or ""
        self.dropped[reason] += 1
        shown = self.samples.setdefault(reason, [])
        if len(shown) < DROP_SAMPLES:
            document = outcome.document
            sample = {"id": writable(document.id), "text": writable(document.text[:DROP_SAMPLE_CHARS])}
            shown.append(sample | ({"detail": outcome.detail} if outcome.detail else {}))


def prepare_part(part: Part) -> dict[str, Any]:
    """Read and judge one part, write what is kept; the row says what became of it."""
    documents = source_module(part.source, part.kind).documents
    options = source_options(part.source, part.kind, part.options)
    stages = _stages(part)
    tally = _Tally()
    counted = {"dropped": tally.dropped} if "dropped" in inspect.signature(documents).parameters else {}
    with atomic_file(part.out) as file:
        for document in documents(options, **counted):
            outcome = _through(document, stages, tally.removed)
            if outcome.reason:
                tally.drop(outcome)
            else:
                tally.kept += 1
                row = {"id": outcome.document.id, "text": outcome.document.text, "meta": dict(outcome.document.meta)}
                file.write(json_line(row))
    return {
        "id": part.id,
        "source": part.source,
        "input": part.input,
        "kept": tally.kept,
        "dropped": dict(tally.dropped),
        "removed": dict(tally.removed),
        "drop_samples": tally.samples,
    }


def _through(document: Document, stages: Iterable[Stage], removed: Counter[str]) -> Outcome:
    outcome = Outcome(document=document)
    for stage in stages:
        outcome = stage(outcome.document)
        removed.update(outcome.removed)
        if outcome.reason:
            break
    return outcome


def _stages(part: Part) -> list[Stage]:
    stages = [_short(part.min_bytes)]
    if part.rule:
        stages.append(code_filter.stage(part.rule, part.rules, part.test_theorems))
    if part.quality.profile:
        stages += [quality_stage(part.quality, part.models), _short(part.min_bytes)]  # lines may have been taken out
    return stages


def _short(min_bytes: int) -> Stage:
    def stage(document: Document) -> Outcome:
        short = len(document.text.encode("utf-8", "surrogatepass")) < min_bytes
        return Outcome(document=document, reason="too short" if short else None)

    return stage


def writable(text: str) -> str:
    """The text with ``?`` for half surrogate pairs, which UTF-8 cannot store."""
    return text.encode("utf-8", "replace").decode()


def read_parts(paths: Iterable[Path], source: str) -> Iterator[Document]:
    """The kept documents of prepared parts, in order."""
    for path in paths:
        for row in read_jsonl(path):
            yield Document(id=row["id"], text=row["text"], source=source, meta=row["meta"])


def merged(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The counts and samples of several parts as those of one."""
    dropped: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    samples: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        dropped.update(row["dropped"])
        removed.update(row["removed"])
        for reason, shown in row["drop_samples"].items():
            samples[reason] = [*samples.get(reason, []), *shown][:DROP_SAMPLES]
    return {"dropped": dropped, "removed": removed, "drop_samples": samples}

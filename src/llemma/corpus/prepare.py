"""The first stage of a build: reads a source part by part and judges its documents, one by one.

A part is what ``parts(options)`` of the source's plug-in says, one file of input for example; a source without it is
one part. What is kept of a part lies in a file of the run folder, with the signatures by which duplicates are found
beside it. Nothing here looks at two documents together.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from llemma import plugins
from llemma.config import build
from llemma.corpus import code_filter
from llemma.corpus.dedup import DedupConfig, signatures
from llemma.corpus.guard import clean
from llemma.corpus.quality import Outcome, QualityEntry, Stage, quality_stage
from llemma.corpus.units import Row, facts
from llemma.errors import ConfigError
from llemma.records import Document, Event, Progress, silent
from llemma.run import atomic_file, json_line, read_jsonl
from llemma.sources._files import stamp

DROP_SAMPLES = 3  # dropped documents of each reason that are stored for people to look at
DROP_SAMPLE_CHARS = 500
SAMPLED_PARTS = 64  # parts of a source that store such samples
BATCH = 512  # documents signed together, and between two words about progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a source and all that is needed to read and judge it, in any process.

    ``dedup`` is None when no signatures are wanted; without ``near`` only equal texts are duplicates; ``guard`` is the
    index of what must not be in the corpus; ``stamps`` tell whether its files have changed.
    """

    source: str
    number: int
    parts: int
    kind: str
    options: Mapping[str, Any]
    rule: str
    rules: str
    test_theorems: tuple[str, ...]
    quality: QualityEntry
    models: Path
    min_bytes: int
    run: Path
    dedup: DedupConfig | None
    near: bool
    guard: Path | None
    stamps: tuple[Any, ...] = ()
    stage: str = "read"

    @property
    def id(self) -> str:
        """The id of the part's row."""
        return f"read:{self.source}:{self.number:05d}"

    @property
    def where(self) -> str:
        """The part as people know it."""
        paths: list[str] = list(self.options.get("paths") or ())
        named = f", {Path(paths[0]).name}" if len(paths) == 1 else ""
        return f"source {self.source}, part {self.number + 1} of {self.parts}{named}"

    @property
    def input(self) -> str:
        """What it reads, with size and time of its files, as a short hash: a resumed build must find it."""
        return hashlib.sha256(json.dumps([self.options, self.stamps], sort_keys=True).encode()).hexdigest()[:16]

    @property
    def out(self) -> Path:
        """The file of the documents that are kept."""
        return part_file(self.run, self.source, self.number)

    def do(self, progress: Progress = silent) -> Row:
        """Read and judge the part, write what is kept; the row says what became of its documents."""
        return prepare_part(self, progress)


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


def stamps(name: str, kind: str, options: Any, pieces: Sequence[Any]) -> list[tuple[Any, ...]]:
    """For each part of a source, what tells that its files have changed: of those it names in ``only``, else of all.

    Of a source without ``stamps``: size and time of the files in ``paths``.
    """
    module = source_module(name, kind)
    if not hasattr(module, "stamps"):
        named = [[path for path in getattr(piece, "paths", ()) if Path(path).is_file()] for piece in pieces]
        return [tuple(stamp(Path(path)) for path in paths) for paths in named]
    every = dict(module.stamps(options)) if any(getattr(piece, "only", ()) for piece in pieces) else {}
    return [
        tuple(every.get(name) for name in piece.only) if getattr(piece, "only", ()) else tuple(module.stamps(piece))
        for piece in pieces
    ]


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What became of the documents of a part."""

    sampled: bool
    bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)
    samples: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def drop(self, outcome: Outcome) -> None:
        """Count a dropped document; the first few of each reason are kept to look at."""
        reason = outcome.reason or ""
        self.dropped[reason] += 1
        shown = self.samples.setdefault(reason, [])
        if self.sampled and len(shown) < DROP_SAMPLES:
            shown.append(drop_sample(outcome.document, outcome.detail))

    def row(self, part: Part) -> Row:
        """What the part's row says of its documents."""
        return {
            "source": part.source,
            "documents": self.kept + self.dropped.total(),
            "bytes": self.bytes,
            "kept": self.kept,
            "kept_bytes": self.kept_bytes,
            "dropped": dict(self.dropped),
            "removed": dict(self.removed),
            "drop_samples": {reason: shown for reason, shown in self.samples.items() if shown},
        }


def drop_sample(document: Document, detail: str = "") -> dict[str, str]:
    """A dropped document as it is stored for people to look at."""
    sample = {"id": writable(document.id), "text": writable(document.text[:DROP_SAMPLE_CHARS])}
    return sample | ({"detail": detail} if detail else {})


def prepare_part(part: Part, progress: Progress = silent) -> Row:
    """Read and judge one part, write what is kept; the row says what became of it."""
    documents = source_module(part.source, part.kind).documents
    options = source_options(part.source, part.kind, part.options)
    stages = _stages(part)
    tally = _Tally(sampled=part.number < SAMPLED_PARTS)
    counted = {"dropped": tally.dropped} if "dropped" in inspect.signature(documents).parameters else {}
    with atomic_file(part.out) as file:
        signer = _Signer(part)
        judged = _judged(documents(options, **counted), stages, tally)
        for number, outcome in enumerate(clean(judged, part.guard) if part.guard else judged, 1):
            if outcome.reason:
                tally.drop(outcome)
            else:
                tally.kept += 1
                tally.kept_bytes += _size(outcome.document)
                _write(file, outcome.document)
                signer.add(outcome.document.text)
            if number % BATCH == 0:
                progress(Event(stage=f"read: {part.source}", done=number, unit="documents"))
    return tally.row(part) | {"files": facts([part.out, *signer.finish()], part.run)}


def _size(document: Document) -> int:
    return len(document.text.encode("utf-8", "surrogatepass"))


def _write(file: IO[bytes], document: Document) -> None:
    file.write(json_line({"id": document.id, "text": document.text, "meta": dict(document.meta)}))


class _Signer:
    """The signatures of a part's kept documents, made in batches, written at the end: 16 bytes and one key a band."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._texts: list[str] = []
        self._arrays: list[np.ndarray] = []

    def add(self, text: str) -> None:
        if self._part.dedup is not None:
            self._texts.append(text)
            if len(self._texts) == BATCH:
                self._sign()

    def _sign(self) -> None:
        assert self._part.dedup is not None
        found = signatures(self._texts, self._part.dedup)
        if not self._part.near:  # keys of their own for each text: equal only where the texts are
            found[:, 2:] = found[:, :1] + np.arange(1, found.shape[1] - 1, dtype=np.uint64)
        self._arrays.append(found)
        self._texts.clear()

    def finish(self) -> list[Path]:
        """Write the file; its path, if there is one."""
        if self._part.dedup is None:
            return []
        self._sign()
        path = signatures_of(self._part.out)
        with atomic_file(path) as file:
            np.save(file, np.concatenate(self._arrays))
        return [path]


def part_file(run: Path, source: str, number: int) -> Path:
    """The file of the documents kept of a part."""
    return run / "parts" / f"{source}-{number:05d}.jsonl"


def signatures_of(out: Path) -> Path:
    """The file of signatures beside the documents of a part."""
    return out.with_name(f"{out.stem}.sig.npy")


def duplicates_of(out: Path) -> Path:
    """The file that says of which document each document of a part is a copy."""
    return out.with_name(f"{out.stem}.dup.npy")


def _judged(documents: Iterable[Document], stages: list[Stage], tally: _Tally) -> Iterator[Outcome]:
    for document in documents:
        tally.bytes += _size(document)
        yield _through(document, stages, tally.removed)


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


def read_part(path: Path, source: str) -> Iterator[Document]:
    """The kept documents of a part, in order."""
    for row in read_jsonl(path):
        yield Document(id=row["id"], text=row["text"], source=source, meta=row["meta"])


def merged(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The counts and samples of several parts as those of one."""
    dropped: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    samples: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        dropped.update(row["dropped"])
        removed.update(row.get("removed", {}))
        for reason, shown in row["drop_samples"].items():
            samples[reason] = [*samples.get(reason, []), *shown][:DROP_SAMPLES]
    return {"dropped": dropped, "removed": removed, "drop_samples": samples}

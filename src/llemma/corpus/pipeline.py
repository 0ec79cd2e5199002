"""Builds a corpus folder from a recipe, stage by stage: read → group → tokenise → pack → ``manifest.json``.

Each stage is a list of units (``units``) that an engine does, on this machine or on several; a finished unit has a row
in ``rows.jsonl`` and is never done again while its files are there, so a killed build goes on where it was. What comes
out does not depend on the engine, the number of processes, or how often the build was killed. Sources are mixed at
training time by the weights in the manifest, not here.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from llemma import cluster, plugins
from llemma.config import to_table
from llemma.corpus import code_filter, quality
from llemma.corpus.engine_local import LocalEngine
from llemma.corpus.engine_ray import RayEngine
from llemma.corpus.guard import INDEX, guarded_tasks, prepare_guard
from llemma.corpus.manifest import Aside, manifest
from llemma.corpus.prepare import (
    Part,
    duplicates_of,
    merged,
    read_part,
    source_options,
    split,
    stamps,
    writable,
)
from llemma.corpus.quality_models import QualityConfig, train_models
from llemma.corpus.recipe import FREE, CorpusConfig, SourceEntry, TokenizerEntry
from llemma.corpus.shards import dtype_of, read_manifest
from llemma.corpus.stages import ORDER, Group, Pack, Read, Tokenise, tokenizer_hash
from llemma.corpus.tokenise import SPLITS
from llemma.corpus.units import Engine, Row, run_stage
from llemma.errors import ConfigError, DataError, MissingDependency, NotHere, ProverError, explain
from llemma.records import Document, Event, Progress, silent
from llemma.run import Run, check_folders, cores, make_folders, open_run

__all__ = ["CorpusConfig", "SourceEntry", "TokenizerEntry", "build_corpus", "load_given", "sources_of"]

SCRATCH = ("parts", "tokens", "scratch")  # folders that are gone when a build is finished
FOLDERS = (*SCRATCH, "shards")


def build_corpus(config: CorpusConfig, progress: Progress = silent) -> Mapping[str, Any]:
    """Build (or finish) the corpus folder ``config.run``; returns its manifest.

    Raises ConfigError for a bad recipe before anything is written, DataError for unreadable input, and for input that
    is not what a finished corpus was built from.
    """
    found = sources_of(config)
    guarded_tasks(config.decontaminate)  # a wrong name is found before anything is written
    plugins.import_module("llemma.tokens.tokenizer")  # a missing package is said before hours of reading
    given = load_given(config) if config.tokenizer.path else None
    check_engine(config)
    check_folders(config.run, FOLDERS)
    started = time.perf_counter()
    with open_run(config.run, "corpus", _settings(config), free=FREE) as run:
        if (run.folder / "manifest.json").exists():
            _check_finished(found.parts, run)
            _clear(config, run.folder)
            return read_manifest(run.folder)
        guard = prepare_guard(config.decontaminate, run)  # first: without its data nothing is begun
        make_folders(run.folder, FOLDERS)
        _train_quality(config, progress)
        sources = {name: [replace(part, guard=guard) for part in parts] for name, parts in found.parts.items()}
        try:
            with _engine(config) as engine:
                build = _Build(config, sources, run, engine, progress)
                build.read()
                build.group()
                tokenizer = build.tokenizer(given)
                build.tokenise()
                build.pack(tokenizer.vocab_size)
        finally:
            make_folders(run.folder, FOLDERS)  # a process that was ended left it half-written
        held_out = next(row for row in run.rows() if row["id"] == "guard")
        made = manifest(config, build.rows, tokenizer, run.folder, Aside(guard=held_out, left_out=found.left_out))
        made["seconds"] = round(time.perf_counter() - started, 1)
        run.write_json("manifest.json", made)
        _clear(config, run.folder)
    return made


def _check_finished(sources: Mapping[str, list[Part]], run: Run) -> None:
    """Raises DataError where a finished corpus was built from other input than there is now."""
    then = {row["id"]: row for row in run.rows() if row.get("stage") == "read"}
    now = {part.id: part for parts in sources.values() for part in parts}
    for part in now.values():
        if part.id not in then or then[part.id]["input"] != part.input:
            raise _changed(part.source, run)
    for gone in (row for name, row in then.items() if name not in now):
        raise _changed(gone["source"], run)


def _changed(source: str, run: Run) -> DataError:
    return DataError(
        f"source {source}: its input has changed since this corpus was finished; use run=OTHER or delete {run.folder}"
    )


def _clear(config: CorpusConfig, folder: Path) -> None:
    """Remove what only a build needs; after the manifest is there, so that a killed build never misses it."""
    (folder / INDEX).unlink(missing_ok=True)
    for name in SCRATCH:
        if name == "parts" and config.keep_text:
            for path in (folder / name).glob("*.npy"):
                path.unlink()
        else:
            shutil.rmtree(folder / name, ignore_errors=True)


def check_engine(config: CorpusConfig) -> None:
    """Raises MissingDependency for an engine that is not installed."""
    if config.engine == "ray":
        cluster.require()


def _engine(config: CorpusConfig) -> AbstractContextManager[Engine]:
    if config.engine == "ray":
        return RayEngine(config.run, address=config.address, workers=config.workers)
    return LocalEngine(config.workers or cores())


def _settings(config: CorpusConfig) -> dict[str, Any]:
    """What is stored with the run."""
    return {key: value for key, value in to_table(config).items() if key not in ("dry_run", "trace")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The parts of every source that is there, and of those that may be missing and are, why."""

    parts: Mapping[str, list[Part]]
    left_out: Mapping[str, str]


def sources_of(config: CorpusConfig) -> Sources:
    """The parts of every source that is there; a mistake in the recipe is found here.

    A source that is ``optional`` is left out when its input is not on this machine: no such folder or nothing in it, a
    package or a prover that is not installed. Raises DataError and ConfigError for anything else that is wrong.
    """
    found, left_out = {}, {}
    for name, entry in config.sources.items():
        options = source_options(name, entry.kind, entry.options)
        if entry.rule:
            code_filter.stage(entry.rule, entry.rules, entry.test_theorems)
        quality.check(entry.quality)
        try:
            pieces = split(name, entry.kind, options)
            if not pieces:
                raise NotHere(f"source {name}: nothing to read; check its options")
            signs = stamps(name, entry.kind, options, pieces)
        except (NotHere, MissingDependency, ProverError) as error:
            if not entry.optional:
                raise
            left_out[name] = f"not on this machine: {explain(error)}"
            continue
        found[name] = [
            replace(_part(config, name, piece), number=number, parts=len(pieces), stamps=sign)
            for number, (piece, sign) in enumerate(zip(pieces, signs, strict=True))
        ]
    if not found:
        raise DataError("nothing of this recipe's sources is on this machine")
    return Sources(parts=found, left_out=left_out)


def _part(config: CorpusConfig, name: str, options: Any) -> Part:
    """The first part of a source; the others differ in their number."""
    entry = config.sources[name]
    return Part(
        source=name,
        number=0,
        parts=1,
        kind=entry.kind,
        options=to_table(options),
        rule=entry.rule,
        rules=entry.rules,
        test_theorems=entry.test_theorems,
        quality=entry.quality,
        models=config.run / "quality",
        min_bytes=config.min_bytes,
        run=config.run,
        dedup=config.dedup if config.dedup.enabled else None,
        near=entry.near,
        guard=None,
    )


def _train_quality(config: CorpusConfig, progress: Progress) -> None:
    """Train the models that some source asks for and names no file of."""
    wanted = {name for entry in config.sources.values() for name in quality.needs(entry.quality)}
    if wanted:
        models = tuple(name for name in ("mathscore", "perplexity") if name in wanted)
        train_models(QualityConfig(models=models, run=config.run / "quality"), progress)


def load_given(config: CorpusConfig) -> Any:
    """The tokeniser that the recipe names. Raises DataError, ConfigError when it has no end mark."""
    return _load(Path(config.tokenizer.path))


def _load(path: Path) -> Any:
    """The tokeniser in a file or folder. Raises DataError, ConfigError when it has no end mark."""
    tokenizer = plugins.import_module("llemma.tokens.tokenizer").load_tokenizer(path)
    if tokenizer.end_id is None:
        raise ConfigError(f"{path}: the tokeniser has neither <|endoftext|> nor </s> to end documents")
    return tokenizer


class _Build:
    """The stages of one build; ``rows`` holds what each has stored, by stage and id, in the order of the units."""

    def __init__(
        self,
        config: CorpusConfig,
        sources: Mapping[str, list[Part]],
        run: Run,
        engine: Engine,
        progress: Progress,
    ) -> None:
        self.config, self.sources, self.run = config, sources, run
        self.engine, self.progress = engine, progress
        self.rows: dict[str, dict[str, Row]] = {}

    def read(self) -> None:
        """Read and judge every part. Raises DataError when no document of a source is kept."""
        units = [part for parts in self.sources.values() for part in parts]
        rows = run_stage(units, self.run, self.engine, self.progress)
        for name, parts in self.sources.items():
            mine = [rows[part.id] for part in parts]
            if not any(row["kept"] for row in mine) and not self.config.sources[name].optional:
                self.run.truncate(self.run.ids - {part.id for part in parts})  # it may be mended: then it is read again
                raise _nothing_left(name, mine)
        self.rows["read"] = rows

    def reads(self) -> list[Read]:
        """What was read, in the order in which documents are numbered: sources with priority first."""
        first = [name for name in dict.fromkeys(self.config.dedup.priority) if name in self.sources]
        found, total = [], 0
        for name in [*first, *(name for name in self.sources if name not in first)]:
            for part in self.sources[name]:
                row = self.rows["read"][part.id]
                kept, files = row["kept"], row["files"]
                found.append(
                    Read(source=name, number=part.number, out=part.out, documents=kept, first=total, files=files)
                )
                total += kept
        return found

    def group(self) -> None:
        """Find the duplicates, if they are looked for."""
        self.rows["group"] = {}
        if self.config.dedup.enabled:
            unit = Group(run=self.config.run, reads=tuple(self.reads()), dedup=self.config.dedup)
            self.rows["group"] = run_stage([unit], self.run, self.engine, self.progress)

    def tokenizer(self, given: Any) -> Any:
        """The given tokeniser, or one trained on documents that are kept; saved in the run folder."""
        tokens = plugins.import_module("llemma.tokens.tokenizer")
        if tokens.tokenizer_file(self.run.folder):  # the one that finished parts were tokenised with
            return _load(self.run.folder)
        tokenizer = given
        if tokenizer is None:
            self.progress(Event(stage="tokeniser", note="training byte-level BPE, one token per digit"))
            limit = self.config.tokenizer.sample_bytes
            texts = (text for name in sorted(self.sources) for text in _sample(self._kept(name), limit))
            tokenizer = tokens.train_tokenizer(texts, self.config.tokenizer.vocab_size)
        tokenizer.save(self.run.folder)
        return _load(self.run.folder)

    def _kept(self, name: str) -> Iterator[Document]:
        """The documents of a source without copies, in order."""
        for read in self.reads():
            if read.source != name:
                continue
            survivors = np.load(duplicates_of(read.out)) if self.config.dedup.enabled else None
            for place, document in enumerate(read_part(read.out, name)):
                if survivors is None or survivors[place] == read.first + place:
                    yield document

    def tokenise(self) -> None:
        """Make tokens of what is left of every part. Raises DataError when that is nothing of a source."""
        grouped = self.rows["group"].get("group", {"files": {}})["files"]
        sha256 = tokenizer_hash(self.run.folder)
        units = []
        for read in sorted(self.reads(), key=lambda read: (list(self.sources).index(read.source), read.number)):
            name = duplicates_of(read.out).relative_to(self.config.run).as_posix()
            units.append(
                Tokenise(
                    run=self.config.run,
                    read=read,
                    duplicates=grouped.get(name),
                    order=grouped.get(f"parts/{ORDER}", {}).get("sha256", ""),
                    valid_share=self.config.valid_share,
                    test_share=self.config.test_share,
                    tokenizer=sha256,
                )
            )
        rows = run_stage(units, self.run, self.engine, self.progress)
        for name, parts in self.sources.items():
            mine = [row for row in rows.values() if row["source"] == name]
            if not any(row["documents"] for row in mine) and not self.config.sources[name].optional:
                raise _nothing_left(name, [*(self.rows["read"][part.id] for part in parts), *mine])
        self.rows["tokenise"] = rows

    def pack(self, vocab_size: int) -> None:
        """Put the tokens of each source and split into shards."""
        units = []
        for name in self.sources:
            files = [row["files"] for row in self.rows["tokenise"].values() if row["source"] == name]
            for kind in SPLITS:
                pieces = tuple(
                    (self.config.run / file, fact)
                    for found in files
                    for file, fact in found.items()
                    if file.endswith((f".{kind}.bin", f".{kind}.docs.jsonl"))
                )
                if pieces:
                    units.append(
                        Pack(
                            run=self.config.run,
                            source=name,
                            split=kind,
                            pieces=pieces,
                            limit=self.config.shard_tokens,
                            dtype=dtype_of(vocab_size).name,
                        )
                    )
        self.rows["pack"] = run_stage(units, self.run, self.engine, self.progress)


def _nothing_left(name: str, rows: Sequence[Row]) -> DataError:
    dropped = merged(rows)["dropped"]
    reasons = ", ".join(f"{n} × {reason}" for reason, n in dropped.items()) or "the source yields none"
    return DataError(f"source {name}: no document left ({reasons}); check its options")


def _sample(documents: Iterator[Document], limit: int) -> Iterator[str]:
    total = 0
    for document in documents:
        text = writable(document.text)[: max(0, limit - total)]
        total += len(text.encode())
        yield text
        if total >= limit:
            return

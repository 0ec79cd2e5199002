"""Builds a corpus folder from a recipe: documents → filters → tokeniser → token shards with a manifest.

First the parts of a source are read and judged (``prepare``), by several processes, then its documents are tokenised in
order. A finished part or source has a row in ``rows.jsonl`` and is never done again; a killed build goes on with the
unfinished ones. Sources are mixed at training time by the weights in the manifest, not here.
"""

from __future__ import annotations

import functools
import hashlib
import math
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from llemma import plugins
from llemma.config import setting, to_table
from llemma.corpus import code_filter, quality
from llemma.corpus.pack import pack
from llemma.corpus.prepare import Part, merged, prepare, read_parts, source_options, split, writable
from llemma.corpus.quality import QualityEntry
from llemma.corpus.quality_models import QualityConfig, train_models
from llemma.corpus.shards import Shard, dtype_of, read_manifest
from llemma.corpus.tokenise import split_of, tokenise_part
from llemma.errors import ConfigError, DataError
from llemma.records import Document, Event, Progress, silent, to_row
from llemma.run import Run, cores, open_run, sha256_file

BATCH = 512  # documents between two reports of progress
SAMPLES = 3  # example documents of each source kept in the manifest for the report


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEntry:
    """One source of a recipe."""

    kind: str = setting("", "plug-in that yields the documents (default: the entry's own name)")
    weight: float = setting(1.0, "share of the training mixture, relative to the other sources")
    rule: str = setting("", "language of the code rule that filters the files; any: by their endings (empty: none)")
    rules: Literal["llemma", "fixed"] = setting("llemma", "code rules: the paper's, or its faults mended")
    test_theorems: tuple[str, ...] = setting((), "lists of theorems to cut out of Lean and Isabelle: files, or minif2f")
    quality: QualityEntry = setting(factory=QualityEntry, help="rules of quality for the documents")
    options: Mapping[str, Any] = setting(factory=dict, help="settings of the plug-in")

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise ValueError(f"weight={self.weight} of a source must be a number of at least 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerEntry:
    """Where the tokeniser comes from."""

    path: str = setting("", "folder or tokenizer.json to use (empty: train one on this corpus)")
    vocab_size: int = setting(2048, "entries when one is trained")
    sample_bytes: int = setting(4_000_000, "bytes of text from each source it is trained on")

    def __post_init__(self) -> None:
        if not 300 <= self.vocab_size <= 65_536:  # 256 bytes, the end mark, some merges; a larger one comes by path
            raise ValueError(f"tokenizer.vocab_size={self.vocab_size} must lie in 300..65536")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """A corpus recipe: sources with weights, a tokeniser, sizes."""

    sources: Mapping[str, SourceEntry] = field(metadata={"help": "one table for each source"})
    tokenizer: TokenizerEntry = setting(factory=TokenizerEntry, help="the tokeniser")
    valid_share: float = setting(0.02, "share of documents held out for validation, by hash of their text")
    shard_tokens: int = setting(50_000_000, "tokens per shard file")
    min_bytes: int = setting(20, "drop shorter documents")
    workers: int = setting(0, "processes that read and judge documents (0: one per core)")
    keep_text: bool = setting(False, "keep the texts of the kept documents in the folder parts/")
    dry_run: bool = setting(False, "show what would be done, write nothing")
    trace: str = setting("", "FILE:TOKEN: show the document behind a token of the finished corpus, do nothing else")
    run: Path = setting(Path("runs/corpus"), "folder the corpus is written to")

    def __post_init__(self) -> None:
        if not self.sources:
            raise ValueError("a recipe needs at least one source: [sources.NAME]")
        if sum(entry.weight for entry in self.sources.values()) <= 0:
            raise ValueError("the weights of the sources must sum to something positive")
        for name in self.sources:
            if not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
                raise ValueError(f"sources.{name!r}: a source's name is part of file names; use letters, digits, -, _")
        if self.shard_tokens < 1:
            raise ValueError(f"shard_tokens={self.shard_tokens} must be at least 1")
        if self.workers < 0:
            raise ValueError(f"workers={self.workers}: must not be negative")
        if not 0 <= self.valid_share < 1:
            raise ValueError(f"valid_share={self.valid_share} must lie in 0..1")


FREE = ("run", "workers", "dry_run")  # settings that may differ when a build goes on


def build_corpus(config: CorpusConfig, progress: Progress = silent) -> Mapping[str, Any]:
    """Build (or finish) the corpus folder ``config.run``; returns its manifest.

    Raises ConfigError for a bad recipe before anything is written, DataError for unreadable input.
    """
    sources = _parts(config)
    given = _load(config.tokenizer.path) if config.tokenizer.path else None
    started = time.perf_counter()
    with open_run(config.run, "corpus", _settings(config), free=FREE) as run:
        if (run.folder / "manifest.json").exists():
            return read_manifest(run.folder)
        for part in run.folder.rglob(".*.part"):
            part.unlink()  # a killed process left it; this one holds the lock
        for name in ("parts", "tokens", "shards"):
            (run.folder / name).mkdir(exist_ok=True)
        _train_quality(config, progress)
        tokenizer = _tokenizer(config, given, sources, run, progress)
        for name, parts in sources.items():
            if f"source:{name}" not in run.ids:
                _prepare(config, parts, run, progress)
                run.append([_one_source(config, run, name, parts, tokenizer, progress)])
        if not config.keep_text:
            shutil.rmtree(run.folder / "parts")
        shutil.rmtree(run.folder / "tokens")
        manifest = _manifest(config, run, tokenizer.vocab_size, time.perf_counter() - started)
        run.write_json("manifest.json", manifest)
    return manifest


def plan(config: CorpusConfig) -> dict[str, Any]:
    """What a build would do, source by source, without doing it. Raises ConfigError as the build would."""
    if config.tokenizer.path:
        _load(config.tokenizer.path)
    found: dict[str, Any] = {"run": str(config.run), "workers": config.workers or cores()}
    for name, parts in _parts(config).items():
        entry = config.sources[name]
        coded = [f"code rule {entry.rule} ({entry.rules})"] if entry.rule else []
        stages = [f"at least {config.min_bytes} bytes", *coded]
        if entry.quality.profile:
            stages += [
                f"{entry.quality.profile}.{line}" for line in quality.describe(quality.load_profile(entry.quality))
            ]
        found[f"source {name}"] = {
            "kind": entry.kind or name,
            "weight": entry.weight,
            "parts": len(parts),
            "stages": [*stages, "exact duplicate"],
            "models to train": list(quality.needs(entry.quality)),
        }
    path = config.tokenizer.path
    found["tokenizer"] = f"from {path}" if path else f"trained, {config.tokenizer.vocab_size} entries"
    return found


def _settings(config: CorpusConfig) -> dict[str, Any]:
    """What is stored with the run."""
    return {key: value for key, value in to_table(config).items() if key not in ("dry_run", "trace")}


def _parts(config: CorpusConfig) -> dict[str, list[Part]]:
    """The parts of every source; a mistake in the recipe is found here."""
    found = {}
    for name, entry in config.sources.items():
        options = source_options(name, entry.kind, entry.options)
        if entry.rule:
            code_filter.stage(entry.rule, entry.rules, entry.test_theorems)
        quality.check(entry.quality)
        pieces = split(name, entry.kind, options)
        if not pieces:
            raise DataError(f"source {name}: nothing to read; check its options")
        found[name] = [
            Part(
                source=name,
                number=number,
                kind=entry.kind,
                options=to_table(piece),
                rule=entry.rule,
                rules=entry.rules,
                test_theorems=entry.test_theorems,
                quality=entry.quality,
                models=config.run / "quality",
                min_bytes=config.min_bytes,
                out=config.run / "parts" / f"{name}-{number:05d}.jsonl",
            )
            for number, piece in enumerate(pieces)
        ]
    return found


def _train_quality(config: CorpusConfig, progress: Progress) -> None:
    """Train the models that some source asks for and names no file of."""
    wanted = {name for entry in config.sources.values() for name in quality.needs(entry.quality)}
    if wanted:
        models = tuple(name for name in ("mathscore", "perplexity") if name in wanted)
        train_models(QualityConfig(models=models, run=config.run / "quality"), progress)


def _prepare(config: CorpusConfig, parts: list[Part], run: Run, progress: Progress) -> None:
    """Read and judge the parts that have no row yet. Raises DataError when no document of the source is kept."""
    name, mine = parts[0].source, {part.id: part for part in parts}
    stored = {row["id"]: row for row in run.rows() if row["id"].startswith(f"part:{name}:")}
    for key, row in stored.items():
        if key not in mine or row["input"] != mine[key].input:
            raise DataError(
                f"source {name}: its input has changed since this build began; use run=OTHER or delete {run.folder}"
            )
    missing = [part for key, part in mine.items() if key not in stored]
    for done, row in enumerate(prepare(missing, config.workers or cores()), len(stored) + 1):
        run.append([row])
        stored[row["id"]] = row
        if len(parts) > 1:
            progress(Event(stage=f"read: {name}", done=done, total=len(parts), unit="parts"))
    if not any(row["kept"] for row in stored.values()):
        run.truncate(run.ids - mine.keys())  # the input may be mended: then it is read again
        dropped = merged(stored.values())["dropped"]
        reasons = ", ".join(f"{n} × {reason}" for reason, n in dropped.items()) or "the source yields none"
        raise DataError(f"source {name}: no document left ({reasons}); check its options")


def _judged(parts: list[Part], run: Run) -> dict[str, Any]:
    """Counts and samples of what was dropped from the parts of a source."""
    mine = {part.id for part in parts}
    return merged(row for row in run.rows() if row["id"] in mine)


def _duplicates(documents: Iterable[Document], dropped: Counter[str]) -> Iterator[Document]:
    """The documents without exact duplicates: the first of equal texts (outer space apart) is kept."""
    seen: set[bytes] = set()
    for document in documents:
        name = hashlib.blake2b(document.text.strip().encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if name in seen:
            dropped["exact duplicate"] += 1
        else:
            seen.add(name)
            yield document


def _load(path: str) -> Any:
    """The tokeniser that the recipe names. Raises DataError, ConfigError when it has no end mark."""
    tokenizer = plugins.import_module("llemma.tokens.tokenizer").load_tokenizer(Path(path))
    if tokenizer.end_id is None:
        raise ConfigError(f"{path}: the tokeniser has neither <|endoftext|> nor </s> to end documents")
    return tokenizer


def _tokenizer_file(folder: Path) -> Path | None:
    """The file of the folder's tokeniser, when it has one."""
    found: Path | None = plugins.import_module("llemma.tokens.tokenizer").tokenizer_file(folder)
    return found


def _tokenizer(
    config: CorpusConfig, given: Any, sources: Mapping[str, list[Part]], run: Run, progress: Progress
) -> Any:
    """The given tokeniser, or one trained on the kept documents of all sources."""
    if _tokenizer_file(run.folder):  # the one that the finished sources were tokenised with
        return _load(str(run.folder))
    tokenizer = given
    if tokenizer is None:
        tokens = plugins.import_module("llemma.tokens.tokenizer")
        for parts in sources.values():
            _prepare(config, parts, run, progress)
        progress(Event(stage="tokeniser", note="training byte-level BPE, one token per digit"))
        readers = (read_parts([part.out for part in sources[name]], name) for name in sorted(sources))
        texts = (text for documents in readers for text in _sample(documents, config.tokenizer.sample_bytes))
        tokenizer = tokens.train_tokenizer(texts, config.tokenizer.vocab_size)
    tokenizer.save(run.folder)
    return tokenizer


def _sample(documents: Iterator[Document], limit: int) -> Iterator[str]:
    total = 0
    for document in documents:
        text = writable(document.text)[: max(0, limit - total)]
        total += len(text.encode())
        yield text
        if total >= limit:
            return


def _one_source(
    config: CorpusConfig,
    run: Run,
    name: str,
    parts: list[Part],
    tokenizer: Any,
    progress: Progress,
) -> dict[str, Any]:
    """Tokenise one source into its shards; the row that says so."""
    judged = _judged(parts, run)
    dropped = judged["dropped"]
    samples: list[dict[str, str]] = []
    unique = _duplicates(read_parts([part.out for part in parts], name), dropped)
    watched = _watched(unique, name, samples, dropped, progress)
    held_out = functools.partial(split_of, valid_share=config.valid_share)
    row = tokenise_part(watched, tokenizer, run.folder / "tokens" / name, held_out)
    dtype, shards = dtype_of(tokenizer.vocab_size), []
    for file in row["files"]:
        piece = run.folder / "tokens" / file["file"]
        shards += pack(run.folder / "shards", name, file["split"], [piece], config.shard_tokens, dtype)
        piece.unlink()
    return {
        "id": f"source:{name}",
        "name": name,
        "documents": row["documents"],
        "bytes": row["bytes"],
        "tokens": sum(row["tokens"].values()),
        "dropped": dict(dropped.most_common()),
        "removed": dict(judged["removed"].most_common()),
        "drop_samples": judged["drop_samples"],
        "shards": [to_row(shard) for shard in shards],
        "samples": samples,
    }


def _watched(
    documents: Iterable[Document], name: str, samples: list[dict[str, str]], dropped: Counter[str], progress: Progress
) -> Iterator[Document]:
    """The documents as they are, with reports of progress; the first ones are kept as samples."""
    done, stage = 0, f"corpus: {name}"
    for done, document in enumerate(documents, 1):
        if len(samples) < SAMPLES:
            samples.append({"id": writable(document.id), "text": writable(document.text)[:2000]})
        if done % BATCH == 0:
            progress(Event(stage=stage, done=done, unit="documents", figures={"dropped": dropped.total()}))
        yield document
    progress(Event(stage=stage, done=done, total=done, unit="documents", figures={"dropped": dropped.total()}))


def _manifest(config: CorpusConfig, run: Run, vocab_size: int, seconds: float) -> dict[str, Any]:
    rows = {row["name"]: row for row in run.rows() if row["id"].startswith("source:")}
    sources = {
        name: {
            "documents": rows[name]["documents"],
            "bytes": rows[name]["bytes"],
            "tokens": rows[name]["tokens"],
            "weight": entry.weight,
            "dropped": rows[name]["dropped"],
            "removed": rows[name]["removed"],
        }
        for name, entry in config.sources.items()
    }
    file = _tokenizer_file(run.folder)
    assert file is not None
    shards: list[Shard] = [shard for name in config.sources for shard in rows[name]["shards"]]
    return {
        "documents": sum(s["documents"] for s in sources.values()),
        "bytes": sum(s["bytes"] for s in sources.values()),
        "tokens": sum(s["tokens"] for s in sources.values()),
        "sources": sources,
        "shards": shards,
        "tokenizer": {"sha256": sha256_file(file), "vocab_size": vocab_size},
        "samples": {name: rows[name]["samples"] for name in config.sources},
        "drop_samples": {name: rows[name]["drop_samples"] for name in config.sources},
        "seconds": round(seconds, 1),
    }

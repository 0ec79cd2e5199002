"""What a build would do, without doing it: ``llemma corpus RECIPE.toml dry_run=true``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from llemma.corpus import quality
from llemma.corpus.guard import OFF, guarded_tasks
from llemma.corpus.manifest import portions
from llemma.corpus.pipeline import FOLDERS, check_engine, load_given, sources_of
from llemma.corpus.prepare import Part
from llemma.corpus.recipe import CorpusConfig, SourceEntry
from llemma.run import check_folders, cores


def plan(config: CorpusConfig) -> dict[str, Any]:
    """Sources with their parts and stages, duplicates, mixture, tokeniser, engine. Raises as the build would."""
    if config.tokenizer.path:
        load_given(config)
    check_engine(config)
    check_folders(config.run, FOLDERS)
    sources = sources_of(config)
    parts = sources.parts
    found: dict[str, Any] = {"run": str(config.run), "engine": _engine(config), "workers": config.workers or cores()}
    for name, mine in parts.items():
        found[f"source {name}"] = _source(config, config.sources[name], mine)
    path, dedup = config.tokenizer.path, config.dedup
    return found | {
        "left out": dict(sources.left_out),
        "duplicates": {f.name: _plain(getattr(dedup, f.name)) for f in fields(dedup)} if dedup.enabled else {},
        "held out": list(guarded_tasks(config.decontaminate)),
        "mixture": _mixture(config, parts),
        "splits": {"valid": config.valid_share, "test": config.test_share},
        "tokenizer": f"from {path}" if path else f"trained, {config.tokenizer.vocab_size} entries",
        "shards": f"at most {config.shard_tokens:,} tokens each",
    }


def _engine(config: CorpusConfig) -> str:
    return config.engine if config.engine == "local" else f"ray at {config.address or 'the cluster of this process'}"


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _source(config: CorpusConfig, entry: SourceEntry, parts: Sequence[Part]) -> dict[str, Any]:
    return {
        "kind": parts[0].kind or parts[0].source,
        "weight": entry.weight,
        "share": entry.share,
        "parts": len(parts),
        "input": _input(parts),
        "stages": _stages(config, entry),
        "models to train": list(quality.needs(entry.quality)),
    }


def _input(parts: Sequence[Part]) -> dict[str, Any]:
    """The files that the parts name, with their size together; nothing where a source names none."""
    named = {Path(path) for part in parts for path in part.options.get("paths") or ()}
    files = [path for path in named if path.is_file()]
    return {"files": len(files), "bytes": sum(path.stat().st_size for path in files)} if files else {}


def _stages(config: CorpusConfig, entry: SourceEntry) -> list[str]:
    stages = [f"at least {config.min_bytes} bytes"]
    if entry.rule:
        stages.append(f"code rule {entry.rule} ({entry.rules})")
    if entry.quality.profile:
        stages += [f"{entry.quality.profile}.{line}" for line in quality.describe(quality.load_profile(entry.quality))]
    if config.decontaminate.tasks != OFF:
        stages.append("overlap with what is held out")
    if config.dedup.enabled:
        near = config.dedup.near and entry.near
        stages.append("exact duplicate, near duplicate" if near else "exact duplicate")
    return stages


def _mixture(config: CorpusConfig, parts: Mapping[str, Any]) -> dict[str, Any]:
    none: dict[str, Any] = {name: {"splits": {"tokens": {}}} for name in parts}
    found = portions(config, none)
    return {
        name: {"share": round(portion.share, 6)} | ({"tokens": round(portion.budget)} if portion.budget else {})
        for name, portion in found.items()
    }

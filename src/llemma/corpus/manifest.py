"""The manifest of a finished corpus, out of the rows of its build: what is in it, what was left out and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llemma.corpus.mix import Portion, mixture
from llemma.corpus.prepare import merged
from llemma.corpus.recipe import CorpusConfig
from llemma.corpus.stages import SAMPLES, tokenizer_hash
from llemma.corpus.units import Row
from llemma.records import to_row

Rows = Mapping[str, Mapping[str, Row]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """What is not in the corpus: the row of the held-out guard, and why sources that may be missing are."""

    guard: Row
    left_out: Mapping[str, str]


def manifest(config: CorpusConfig, rows: Rows, tokenizer: Any, folder: Path, aside: Aside) -> dict[str, Any]:
    """Everything about the corpus but the time it took; the same for every engine and after any number of kills."""
    names = [name for name in config.sources if any(row["documents"] for row in _of(rows["tokenise"], name))]
    sources = {name: _source(config, name, rows) for name in names}
    mixed = portions(config, sources)
    if config.fixed:  # then a trainer mixes by shares of the whole, of the sources that are there
        sources = {name: source | {"weight": mixed[name].share} for name, source in sources.items()}
    told = {name: merged([*_of(rows["read"], name), *_of(rows["tokenise"], name)]) for name in names}
    return {
        "documents": sum(source["documents"] for source in sources.values()),
        "bytes": sum(source["bytes"] for source in sources.values()),
        "tokens": sum(source["tokens"] for source in sources.values()),
        "sources": sources,
        "left_out": {
            name: aside.left_out.get(name) or _why(_of(rows["read"], name))
            for name in config.sources
            if name not in names
        },
        "mixture": to_row(mixed),
        "train_tokens": config.train_tokens,
        "duplicates": _duplicates(rows["group"].values()),
        "held_out": {"tasks": aside.guard["tasks"], "items": aside.guard["items"]},
        "stages": {stage: _stage(found.values()) for stage, found in rows.items() if found},
        "shards": [shard for row in rows["pack"].values() for shard in row["shards"]],
        "tokenizer": {"sha256": tokenizer_hash(folder), "vocab_size": tokenizer.vocab_size},
        "samples": {name: _samples(_of(rows["tokenise"], name)) for name in names},
        "drop_samples": {name: told[name]["drop_samples"] for name in names},
    }


def _why(read: list[Row]) -> str:
    """Why nothing is left of a source that was read."""
    dropped = merged(read)["dropped"]
    return f"no document left ({', '.join(f'{n} × {reason}' for reason, n in dropped.most_common(5)) or 'none read'})"


def portions(config: CorpusConfig, sources: Mapping[str, Mapping[str, Any]]) -> dict[str, Portion]:
    """The mixture of the sources that are there, with their epochs for the budget of the recipe.

    Where every source with a weight is missing, those with a fixed share divide the whole in proportion to it.
    """
    tokens = {name: source["splits"]["tokens"].get("train", 0) for name, source in sources.items()}
    weights = {name: config.weights[name] for name in sources}
    fixed = {name: share for name, share in config.fixed.items() if name in sources}
    if not any(weight for name, weight in weights.items() if name not in fixed):  # none that has a weight is here
        weights = {name: fixed.get(name, 0.0) for name in weights}
        if not any(weights.values()):
            return {}
        fixed = {}
    return mixture(weights, fixed, tokens, config.train_tokens)


def _of(rows: Mapping[str, Row], name: str) -> list[Row]:
    return [row for row in rows.values() if row["source"] == name]


def _source(config: CorpusConfig, name: str, rows: Rows) -> dict[str, Any]:
    read, tokens = _of(rows["read"], name), _of(rows["tokenise"], name)
    told = merged([*read, *tokens])
    splits = {key: _summed(row["splits"][key] for row in tokens) for key in ("documents", "tokens")}
    return {
        "documents": sum(row["documents"] for row in tokens),
        "bytes": sum(row["bytes"] for row in tokens),
        "tokens": sum(row["tokens"] for row in tokens),
        "weight": config.weights[name],
        "read": {"documents": sum(row["documents"] for row in read), "bytes": sum(row["bytes"] for row in read)},
        "splits": splits,
        "dropped": dict(told["dropped"].most_common()),
        "removed": dict(told["removed"].most_common()),
    }


def _summed(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))


def _duplicates(rows: Iterable[Row]) -> dict[str, Any]:
    for row in rows:
        return {key: row[key] for key in ("documents", "exact", "near", "sizes", "largest")}
    return {}


def _stage(rows: Iterable[Row]) -> dict[str, Any]:
    rows = list(rows)
    return {
        "units": len(rows),
        "documents": sum(row.get("documents", 0) for row in rows),
        "bytes": sum(row.get("bytes", 0) for row in rows),
        "seconds": round(sum(row["seconds"] for row in rows), 2),
    }


def _samples(rows: Iterable[Row]) -> list[dict[str, str]]:
    return [sample for row in rows for sample in row["samples"]][:SAMPLES]

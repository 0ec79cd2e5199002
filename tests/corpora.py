"""What the tests of corpora share: small inputs, recipes, and what a finished folder holds apart from times."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from llemma.config import build
from llemma.corpus.pipeline import CorpusConfig


def write_jsonl(path: Path, texts: list[str]) -> Path:
    """A file of rows with ids d0, d1, …"""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"id": f"d{i}", "text": t}) + "\n" for i, t in enumerate(texts)))
    return path


def recipe(run: Path, sources: dict[str, Any], **keys: Any) -> CorpusConfig:
    """A recipe with a small tokeniser, that holds nothing out: what does costs seconds where data are there."""
    fixed = {"tokenizer": {"vocab_size": 400}, "decontaminate": {"tasks": ["none"]}}
    return build(CorpusConfig, {"run": str(run), "sources": sources, **fixed, **keys})


def lines(count: int, *, word: str = "lemma") -> list[str]:
    """Sentences, no two alike."""
    return [f"The {word} number {n} says that {n} + {n * n} is {n + n * n}." for n in range(count)]


def read_back(folder: Path, source: str, split: str | None = None) -> list[str]:
    """The documents of a source by reading shards with nothing of ours: raw file, split at id 0, decoded."""
    inner = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    found = []
    for shard in json.loads((folder / "manifest.json").read_text())["shards"]:
        if shard["source"] == source and split in (None, shard["split"]):
            ids = np.frombuffer((folder / shard["file"]).read_bytes(), dtype="<u2").tolist()
            assert ids[-1] == 0, "a shard ends with a whole document"
            start = 0
            while start < len(ids):
                end = ids.index(0, start)
                found.append(inner.decode(ids[start:end]))
                start = end + 1
    return found


def timeless(value: Any) -> Any:
    """The value without what says how long something took."""
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if key != "seconds"}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value


def snapshot(folder: Path) -> dict[str, Any]:
    """Every file of a finished corpus; rows in the order of their ids, nothing of times or of this machine."""
    found: dict[str, Any] = {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name not in ("config.json", "log.txt")
    }
    found["manifest.json"] = timeless(json.loads(found["manifest.json"]))
    rows = [timeless(json.loads(line)) for line in found["rows.jsonl"].splitlines()]
    assert len({row["id"] for row in rows}) == len(rows), "a unit was stored twice"
    found["rows.jsonl"] = sorted(rows, key=lambda row: str(row["id"]))
    return found

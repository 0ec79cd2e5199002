"""Tokenised examples: how they lie in memory, and a copy of them in the run folder, so that a run tokenises once.

The copy is named by what it was made of: the sha256 of the data, of the tokeniser's and the template's files, and the
settings that matter. Another name is another file; a damaged one is as good as none. Written beside and renamed.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from llemma.config import to_table
from llemma.run import sha256_file, sync_folder
from llemma.train.sft_config import SftConfig

FOLDER = "examples"  # in the run folder
FORMAT = 1  # of the file, and of the rules that make ids of rows: another number tokenises again
ARRAYS = ("ids", "learned", "lengths", "source")
LISTED = 20  # unusable rows that are named; all are counted
# What decides about ids in a model's folder: tokeniser, its marks, chat template
_DECIDING = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
             "chat_template.jinja", "chat_template.json")  # fmt: skip
_IRRELEVANT = ("files", "chat_template", "packing", "valid_share")  # of the settings; the first two by their content


@dataclass(frozen=True, kw_only=True)
class Tokenised:
    """Usable examples one after the other, and the account of the others.

    ids: (tokens,) uint16 or uint32; learned: (tokens,) bool; lengths, source: (examples,) int32, ``source`` numbers
    the files. ``dropped`` counts reasons, ``examples`` names some of the rows with theirs.
    """

    ids: np.ndarray
    learned: np.ndarray
    lengths: np.ndarray
    source: np.ndarray
    rows: int
    cut: int
    dropped: Mapping[str, int]
    examples: Sequence[tuple[str, str]]

    def each(self) -> Iterator[np.ndarray]:
        """The ids of each example."""
        starts = np.concatenate(([0], np.cumsum(self.lengths, dtype=np.int64)))
        return (self.ids[a:b] for a, b in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))


@dataclass(slots=True)
class Reading:
    """Examples as they come. Two bytes an id, or four, and one for the mask: no list of arrays of 64-bit integers."""

    dtype: Any
    ids: bytearray = field(default_factory=bytearray)
    learned: bytearray = field(default_factory=bytearray)
    lengths: list[int] = field(default_factory=list)
    source: list[int] = field(default_factory=list)
    rows: int = 0
    cut: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str]] = field(default_factory=list)

    def add(self, ids: np.ndarray, learned: np.ndarray, source: int) -> None:
        """Take an example."""
        self.ids += ids.astype(self.dtype).tobytes()
        self.learned += learned.tobytes()
        self.lengths.append(len(ids))
        self.source.append(source)

    def drop(self, where: str, reason: str) -> None:
        """Count a row that cannot be used; the first ones are named. Details behind a colon are not counted apart."""
        self.dropped[reason.partition(":")[0]] += 1
        if len(self.examples) < LISTED:
            self.examples.append((where, reason))

    def done(self) -> Tokenised:
        """What was read."""
        return Tokenised(
            ids=np.frombuffer(self.ids, dtype=self.dtype),
            learned=np.frombuffer(self.learned, dtype=bool),
            lengths=np.array(self.lengths, dtype=np.int32),
            source=np.array(self.source, dtype=np.int32),
            rows=self.rows,
            cut=self.cut,
            dropped=dict(sorted(self.dropped.items())),
            examples=tuple(self.examples),
        )


def key_of(config: SftConfig, hashes: Sequence[str], room: int, folder: Path | None) -> str:
    """The name of what these data, settings and files make: ``hashes`` are those of the data files."""
    said: dict[str, Any] = {k: v for k, v in to_table(config).items() if k not in _IRRELEVANT}
    said |= {"format": FORMAT, "data": list(hashes), "names": [str(path) for path in config.files], "room": room}
    deciding = [config.chat_template, *(folder / name for name in _DECIDING if folder is not None)]
    said["deciding"] = [sha256_file(path) if path is not None and path.is_file() else "" for path in deciding]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def load(run: Path, key: str) -> Tokenised | None:
    """The copy of that name in a run folder; None when there is none, or a damaged one."""
    try:
        with safe_open(_path(run, key), framework="numpy") as file:
            account = json.loads(file.metadata()["account"])
            arrays = {name: file.get_tensor(name) for name in ARRAYS}
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    if account["sha256"] != _digest(arrays):
        return None
    arrays["learned"] = arrays["learned"].view(bool)
    examples = tuple((where, reason) for where, reason in account["examples"])
    return Tokenised(**arrays, rows=account["rows"], cut=account["cut"], dropped=account["dropped"], examples=examples)


def store(run: Path, key: str, found: Tokenised) -> None:
    """Write the copy into a run folder, in place of those of other names. Nothing when it is there."""
    path = _path(run, key)
    if load(run, key) is not None:
        return
    path.parent.mkdir(exist_ok=True)
    for old in path.parent.glob("*.safetensors*"):
        old.unlink()
    arrays = {name: np.ascontiguousarray(getattr(found, name)) for name in ARRAYS}
    arrays["learned"] = arrays["learned"].view(np.uint8)
    account = {"rows": found.rows, "cut": found.cut, "dropped": dict(found.dropped), "examples": list(found.examples)}
    beside = path.with_suffix(".safetensors.part")
    save_file(arrays, beside, metadata={"account": json.dumps(account | {"sha256": _digest(arrays)})})
    beside.replace(path)
    sync_folder(path.parent)


def _path(run: Path, key: str) -> Path:
    return run / FOLDER / f"{key[:32]}.safetensors"


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in ARRAYS:
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(arrays[name].data)
    return digest.hexdigest()

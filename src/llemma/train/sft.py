"""Supervised fine-tuning data: examples from JSON files, masked to their answers, packed into rows, drawn by step.

``Examples`` is a source of the training loop: ``batch(step, rank, world)`` is a pure function, an epoch is a keyed
permutation of the rows, resuming is one integer. A row that cannot be used is counted with its reason and does not end
the run, unless none is left. What it does not do: pad differently per batch (every row is ``context + 1`` ids wide),
weigh sources (each example is seen once an epoch), download anything.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from llemma.config import to_table
from llemma.errors import ConfigError, DataError
from llemma.plugins import import_module
from llemma.run import sha256_file
from llemma.tokens.tokenizer import Tokenizer
from llemma.train.batch import Batch
from llemma.train.data import permuted, round_keys
from llemma.train.sft_config import SftConfig
from llemma.train.sft_text import ChatTemplate, Encoder, Piece, pieces_of

CHUNK = 4096  # examples tokenised together
LISTED = 20  # unusable rows that are named; all are counted
_VALID_KEY = b"sft/valid"
_BROKEN = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the rows of the files. ``dropped`` and ``cut`` count reasons; ``examples`` names some rows."""

    rows: int
    used: int
    held_out: int
    cut: int
    dropped: Mapping[str, int]
    examples: Sequence[tuple[str, str]]
    tokens: int
    learned: int
    packed_rows: int
    filled: float

    def to_json(self) -> dict[str, Any]:
        """For ``metrics.json``."""
        return {name: getattr(self, name) for name in self.__slots__} | {"dropped": dict(self.dropped)}


@dataclass(slots=True)
class _Read:
    """Tokenised examples, one after the other, and the account of the others."""

    ids: list[np.ndarray] = field(default_factory=list)
    learned: list[np.ndarray] = field(default_factory=list)
    source: list[int] = field(default_factory=list)
    rows: int = 0
    cut: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str]] = field(default_factory=list)

    def drop(self, where: str, reason: str) -> None:
        """Count a row that cannot be used; the first ones are named. Details behind a colon are not counted apart."""
        self.dropped[reason.partition(":")[0]] += 1
        if len(self.examples) < LISTED:
            self.examples.append((where, reason))


class Examples:
    """The training rows of some files of examples."""

    def __init__(
        self,
        config: SftConfig,
        tokenizer: Tokenizer,
        *,
        context: int,
        batch_size: int,
        seed: int,
        model_folder: Path | None = None,
        masks_documents: bool = True,
    ) -> None:
        """Read, tokenise and pack. ``masks_documents`` says whether the model keeps attention inside documents.

        ``model_folder`` is where the chat template is looked for. Raises ConfigError for settings that do not fit,
        DataError when no usable row is left.
        """
        if not config.files:
            raise ConfigError("sft.files is empty; name at least one JSON-lines file with examples")
        if config.packing and not masks_documents:
            raise ConfigError(
                "sft.packing=true needs a model that keeps attention inside each example, and this one cannot; "
                "use sft.packing=false"
            )
        self.context, self.batch_size, self.seed = context, batch_size, seed
        self.names = _names(config.files)
        self._config, self._packing, self._pad = config, config.packing, tokenizer.end_id or 0
        read = _read(config, tokenizer, context + 1, model_folder)
        if not read.ids:
            raise DataError(f"no usable example: {_told(read)}", where=", ".join(map(str, config.files)))
        held = _held_out(read.ids, config.valid_share)
        if held.all():
            raise DataError(f"all {len(held)} examples are held out; lower sft.valid_share or give more data")
        self._store(read, held)
        self._rows = self._packed(np.flatnonzero(~held))
        self._held = {name: np.flatnonzero(held & (self._source == number)) for number, name in enumerate(self.names)}
        self.counts = self._counted(read, held)

    def __len__(self) -> int:
        """Rows of an epoch."""
        return len(self._rows)

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """The rows of a step, or a rank's share; the shares, one below the other, are the batch whatever ``world`` is.

        Raises ConfigError when the batch cannot be shared out evenly.
        """
        if self.batch_size % world or not 0 <= rank < world:
            raise ConfigError(
                f"batch_size={self.batch_size} cannot be shared out: rank {rank} of {world}; use a multiple of {world}"
            )
        share = self.batch_size // world
        first = step * self.batch_size + rank * share
        return self._filled([self._rows[row] for row in self._drawn(first, share)])

    def epochs(self, steps: int) -> dict[str, float]:
        """How often each file is read in ``steps`` steps."""
        times = round(steps * self.batch_size / len(self), 3)
        present = set(self._source[list(itertools.chain.from_iterable(self._rows))].tolist())
        return {name: times for number, name in enumerate(self.names) if number in present}

    def steps(self, epochs: float) -> int:
        """The steps that read every row ``epochs`` times; the last batch is filled up from the epoch after."""
        return int(np.ceil(epochs * len(self) / self.batch_size))

    def validation(self, rows: int) -> dict[str, Batch]:
        """Held-out examples of each file that has some, one to a row, up to ``rows`` of them."""
        return {
            name: self._filled([[int(i)] for i in index[:rows]], alone=True)
            for name, index in self._held.items()
            if len(index)
        }

    def example(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Ids (n,) and what is learned (n,) of an example, by its place among the usable ones."""
        piece = slice(self._starts[index], self._starts[index + 1])
        return self._ids[piece].astype(np.int64), self._learned[piece]

    def account(self) -> dict[str, Any]:
        """What became of the rows of the files."""
        return {"examples": self.counts.to_json()}

    def told(self) -> list[str]:
        """The same in lines for people: what was dropped or cut, and the first rows that were."""
        c = self.counts
        lines = [
            f"{c.used:,} of {c.rows:,} examples used, {c.held_out:,} held out, {c.cut:,} cut: {c.learned:,} of "
            f"{c.tokens:,} tokens are learned; {c.packed_rows:,} rows, {c.filled:.0%} full"
        ]
        lines += [f"dropped: {n:,} × {reason}" for reason, n in c.dropped.items()]
        return lines + [f"dropped: {where}: {reason}" for where, reason in c.examples]

    def fingerprint(self) -> str:
        """A sha256 of the files and the settings: a run that goes on must have the same."""
        said = to_table(self._config) | {"files": [sha256_file(path) for path in self._config.files]}
        if self._config.chat_template is not None:
            said["chat_template"] = sha256_file(self._config.chat_template)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

    def _store(self, read: _Read, held: np.ndarray) -> None:
        lengths = [len(ids) for ids in read.ids]
        self._starts = np.cumsum([0, *lengths])
        ids = np.concatenate(read.ids)
        self._ids = ids.astype(np.uint16 if ids.max() < 1 << 16 else np.uint32)  # half a gigabyte at MetaMathQA's size
        self._learned = np.concatenate(read.learned)
        self._source = np.array(read.source, dtype=np.int32)

    def _packed(self, used: np.ndarray) -> list[list[int]]:
        lengths = np.diff(self._starts)[used]
        if not self._packing:
            return [[int(i)] for i in used]
        number = first_fit_decreasing(lengths, self.context + 1)
        order = np.lexsort((used, -lengths, number))
        cuts = np.flatnonzero(np.diff(number[order])) + 1
        return [part.tolist() for part in np.split(used[order], cuts)]

    def _drawn(self, first: int, count: int) -> list[int]:
        """The rows of ``count`` samples of the run, from number ``first`` on."""
        epoch, place = np.divmod(np.arange(first, first + count), len(self))
        keys = np.stack([round_keys(f"{self.seed}/sft/{e}") for e in epoch.tolist()])
        found: list[int] = permuted(place, np.full(count, len(self)), keys).tolist()
        return found

    def _filled(self, rows: Sequence[Sequence[int]], *, alone: bool = False) -> Batch:
        """Examples laid side by side in rows of ``context + 1``, the rest filled with end marks that do not count."""
        width = self.context + 1
        ids = np.full((len(rows), width), self._pad, dtype=np.int64)
        learned = np.zeros((len(rows), width), dtype=bool)
        documents = np.zeros((len(rows), width), dtype=np.int32)
        for r, row in enumerate(rows):
            place = 0
            for number, index in enumerate(row):
                piece, mask = self.example(index)
                end = place + len(piece)
                ids[r, place:end], learned[r, place:end], documents[r, place:end] = piece, mask, number
                learned[r, place] = False  # nothing of its own example stands before it
                place = end
            documents[r, place:] = len(row)
        return Batch(ids, learned[:, 1:], documents if self._packing and not alone else None)

    def _counted(self, read: _Read, held: np.ndarray) -> Counts:
        used = np.flatnonzero(~held)
        lengths = np.diff(self._starts)[used]
        return Counts(
            rows=read.rows,
            used=len(used),
            held_out=int(held.sum()),
            cut=read.cut,
            dropped=dict(sorted(read.dropped.items())),
            examples=tuple(read.examples),
            tokens=int(lengths.sum()),
            learned=int(sum(self.example(int(i))[1].sum() for i in used)),
            packed_rows=len(self._rows),
            filled=round(float(lengths.sum()) / (len(self._rows) * (self.context + 1)), 4),
        )


def first_fit_decreasing(lengths: np.ndarray, room: int) -> np.ndarray:
    """The bin of each item (n,): longest first, each into the first bin with room; equal lengths in their order.

    Items of one length are placed together, so the work is distinct lengths × bins and not items × bins. Packs to at
    most 11/9 of the fewest possible bins and one (Dósa 2007). Items must be from 1 to ``room`` long.
    """
    out = np.empty(len(lengths), dtype=np.int64)
    if len(lengths) == 0:
        return out
    assert lengths.min() >= 1 and lengths.max() <= room
    left = np.empty(0, dtype=np.int64)  # room left in each open bin
    order = np.argsort(-lengths, kind="stable")
    sizes, starts = np.unique(-lengths[order], return_index=True)
    for size, items in zip((-sizes).tolist(), np.split(order, starts[1:]), strict=True):
        fit = left // size
        taken = np.minimum(
            fit, np.maximum(0, len(items) - np.concatenate(([0], np.cumsum(fit)[:-1]))) if len(fit) else fit
        )
        placed = int(taken.sum())
        out[items[:placed]] = np.repeat(np.arange(len(left)), taken)
        left = left - taken * size
        rest = len(items) - placed
        if rest:
            each = room // size
            fresh = np.full(-(-rest // each), each)
            fresh[-1] = rest - each * (len(fresh) - 1)
            out[items[placed:]] = len(left) + np.repeat(np.arange(len(fresh)), fresh)
            left = np.concatenate((left, room - fresh * size))
    return out


def _read(config: SftConfig, tokenizer: Tokenizer, room: int, folder: Path | None) -> _Read:
    """Every row of the files: tokenised, or counted with the reason why not."""
    chat = functools.cache(functools.partial(_chat, config, folder))
    if config.template == "chat" or config.chat_template is not None:
        chat()  # a template that was asked for and cannot be had is told before anything is read
    encoder = Encoder(tokenizer, turns=config.turns)
    room = min(room, config.length or room)
    read = _Read()
    for number, path in enumerate(config.files):
        for chunk in _chunks(_pieces(path, config, chat, read)):
            coded = encoder.encode([pieces for _, pieces in chunk])
            for (where, _), (ids, learned) in zip(chunk, coded, strict=True):
                if len(ids) > room:
                    if config.too_long == "drop":
                        read.drop(where, f"longer than {room} tokens")
                        continue
                    ids, learned = ids[:room], learned[:room]
                    if not learned[1:].any():
                        read.drop(where, "the prompt leaves no room for an answer")
                        continue
                    read.cut += 1
                if not learned[1:].any():
                    read.drop(where, "nothing to learn: the answer is one token, and nothing stands before it")
                    continue
                read.ids.append(ids)
                read.learned.append(learned)
                read.source.append(number)
    return read


def _pieces(
    path: Path, config: SftConfig, chat: Callable[[], ChatTemplate | None], read: _Read
) -> Iterator[tuple[str, list[Piece]]]:
    """The pieces of each usable row, with its place."""
    for number, row in _rows(path):
        read.rows += 1
        where = f"{path}:{number}"
        if row is _BROKEN:
            read.drop(where, "not valid JSON")
            continue
        found = pieces_of(row, config.template, chat) if isinstance(row, dict) else "not a JSON object"
        if isinstance(found, str):
            read.drop(where, found)
        else:
            yield where, found


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    """The rows of a JSON-lines file by line, or of a JSON array by place; ``_BROKEN`` for a line that is not JSON."""
    try:
        if path.suffix == ".json":
            table = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(table, list):
                raise DataError("expected a JSON array of examples; JSON lines are called .jsonl", where=path)
            yield from enumerate(table, 1)
            return
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, _parsed(line)
    except FileNotFoundError as error:
        raise DataError("no such file; check sft.files", where=path) from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"not valid JSON: {error}; JSON lines are called .jsonl", where=path) from error


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError):
        return _BROKEN


def _chunks(rows: Iterator[tuple[str, list[Piece]]]) -> Iterator[list[tuple[str, list[Piece]]]]:
    while chunk := list(itertools.islice(rows, CHUNK)):
        yield chunk


def _chat(config: SftConfig, folder: Path | None) -> ChatTemplate | None:
    """The chat template, where one is asked for or can be found."""
    loaded = import_module("llemma.train.chat")
    if config.template == "chat" or config.chat_template is not None:
        if folder is None and config.chat_template is None:
            raise ConfigError("sft.template=chat needs a model to start from, or sft.chat_template=FILE")
        found: ChatTemplate = loaded.load_chat(folder or Path(), config.chat_template)
        return found
    return loaded.find_chat(folder) if folder is not None else None


def _names(files: Sequence[Path]) -> list[str]:
    names = [path.stem for path in files]
    for name, count in Counter(names).items():
        if count > 1:
            raise ConfigError(f"sft.files: two files are called {name}; a file's name is the name of its source")
    return names


def _held_out(ids: Sequence[np.ndarray], share: float) -> np.ndarray:
    """Which examples are held out: (n,) bool. A copy of a held-out example is held out with it."""
    if not share:
        return np.zeros(len(ids), dtype=bool)
    digests = [hashlib.blake2b(_VALID_KEY + i.astype("<i8").tobytes(), digest_size=8).digest() for i in ids]
    return np.array([int.from_bytes(d, "big") < share * 2**64 for d in digests])


def _told(read: _Read) -> str:
    reasons = ", ".join(f"{n} × {reason}" for reason, n in read.dropped.most_common()) or "the files are empty"
    first = f"; the first: {read.examples[0][0]}: {read.examples[0][1]}" if read.examples else ""
    return reasons + first

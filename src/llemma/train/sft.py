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
from dataclasses import dataclass
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
from llemma.train.sft_cache import Reading, Tokenised, key_of, load, store
from llemma.train.sft_config import SftConfig
from llemma.train.sft_text import ChatTemplate, Encoder, Piece, pieces_of

CHUNK = 4096  # examples tokenised together
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
        run: Path | None = None,
    ) -> None:
        """Read, tokenise and pack. ``masks_documents`` says whether the model keeps attention inside documents.

        ``model_folder`` is where the chat template is looked for, ``run`` a run folder that may hold a copy of the
        tokenised examples (see ``keep``). Raises ConfigError for settings that do not fit,
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
        room = min(context + 1, config.length or context + 1)
        self._hashes = [_hash(path) for path in config.files]
        self._key = key_of(config, self._hashes, room, model_folder)
        copy = load(run, self._key) if run is not None else None
        self._read = read = copy or _read(config, tokenizer, room, model_folder)
        if not len(read.lengths):
            raise DataError(f"no usable example: {_told(read)}", where=", ".join(map(str, config.files)))
        held = _held_out(read, config.valid_share)
        if held.all():
            raise DataError(f"all {len(held)} examples are held out; lower sft.valid_share or give more data")
        self._starts = np.concatenate(([0], np.cumsum(read.lengths, dtype=np.int64)))
        self._rows = self._packed(np.flatnonzero(~held))
        self._held = {name: np.flatnonzero(held & (read.source == number)) for number, name in enumerate(self.names)}
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
        present = set(self._read.source[list(itertools.chain.from_iterable(self._rows))].tolist())
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
        return self._read.ids[piece].astype(np.int64), self._read.learned[piece]

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

    def keep(self, run: Path) -> None:
        """Leave a copy of the tokenised examples in a run folder: a run that goes on need not tokenise them again."""
        store(run, self._key, self._read)

    def fingerprint(self) -> str:
        """A sha256 of the files and the settings: a run that goes on must have the same."""
        said = to_table(self._config) | {"files": self._hashes}
        if self._config.chat_template is not None:
            said["chat_template"] = sha256_file(self._config.chat_template)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()

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
        documents, sources = np.zeros((2, len(rows), width), dtype=np.int32)
        for r, row in enumerate(rows):
            place = 0
            for number, index in enumerate(row):
                piece, mask = self.example(index)
                end = place + len(piece)
                ids[r, place:end], learned[r, place:end], documents[r, place:end] = piece, mask, number
                sources[r, place:end] = self._read.source[index]
                learned[r, place] = False  # nothing of its own example stands before it
                place = end
            documents[r, place:] = len(row)
        told = len(self.names) > 1 and not alone
        return Batch(
            ids,
            learned[:, 1:],
            documents if self._packing and not alone else None,
            sources=sources[:, 1:] if told else None,
        )

    def _counted(self, read: Tokenised, held: np.ndarray) -> Counts:
        used = np.flatnonzero(~held)
        lengths = np.diff(self._starts)[used]
        return Counts(
            rows=read.rows,
            used=len(used),
            held_out=int(held.sum()),
            cut=read.cut,
            dropped=read.dropped,
            examples=tuple(read.examples),
            tokens=int(lengths.sum()),
            learned=int(np.add.reduceat(read.learned, self._starts[:-1], dtype=np.int64)[used].sum()),
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


def _read(config: SftConfig, tokenizer: Tokenizer, room: int, folder: Path | None) -> Tokenised:
    """Every row of the files: tokenised, or counted with the reason why not."""
    chat = functools.cache(functools.partial(_chat, config, folder))
    if config.template == "chat" or config.chat_template is not None:
        chat()  # a template that was asked for and cannot be had is told before anything is read
    encoder = Encoder(tokenizer, turns=config.turns)
    read = Reading(np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32)
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
                read.add(ids, learned, number)
    return read.done()


def _pieces(
    path: Path, config: SftConfig, chat: Callable[[], ChatTemplate | None], read: Reading
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


def _hash(path: Path) -> str:
    try:
        return sha256_file(path)
    except FileNotFoundError as error:
        raise DataError("no such file; check sft.files", where=path) from error


def _held_out(read: Tokenised, share: float) -> np.ndarray:
    """Which examples are held out: (n,) bool. A copy of a held-out example is held out with it."""
    if not share:
        return np.zeros(len(read.lengths), dtype=bool)
    digests = [hashlib.blake2b(_VALID_KEY + ids.astype("<i8").tobytes(), digest_size=8).digest() for ids in read.each()]
    return np.array([int.from_bytes(d, "big") < share * 2**64 for d in digests])


def _told(read: Tokenised) -> str:
    reasons = ", ".join(f"{n} × {reason}" for reason, n in Counter(read.dropped).most_common()) or "the files are empty"
    first = f"; the first: {read.examples[0][0]}: {read.examples[0][1]}" if read.examples else ""
    return reasons + first

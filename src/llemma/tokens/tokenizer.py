"""Byte-level BPE tokenisers in which every digit is a token of its own.

Trains with the ``tokenizers`` library and stores Hugging Face's ``tokenizer.json``. Digits are split before
BPE sees them (as Llama 2's tokeniser does), so that a number has one spelling in tokens and place value is
visible to the model. What it does not do: normalise text; ``decode(encode(text)) == text`` for every string
that UTF-8 can write.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from llemma.errors import Caught, ConfigError, DataError, boundary
from llemma.run import atomic_write

END = "<|endoftext|>"  # stands between documents; id 0


class Tokenizer:
    """A tokeniser loaded from ``tokenizer.json``; texts in, ids out, and back."""

    def __init__(self, inner: tokenizers.Tokenizer) -> None:
        self._inner = inner
        inner.encode_special_tokens = True  # or a text that holds "<|endoftext|>" could end a document
        self._end = next((name for name in (END, "</s>") if inner.token_to_id(name) is not None), None)
        self.end_id: int | None = inner.token_to_id(self._end) if self._end else None

    @property
    def vocab_size(self) -> int:
        """Number of entries, special tokens included."""
        return int(self._inner.get_vocab_size())

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without special tokens added. Text that looks like one stays text."""
        ids: list[int] = self._inner.encode(text, add_special_tokens=False).ids
        return ids

    def encode_prompt(self, text: str) -> list[int]:
        """The ids of a text to be continued: with the begin mark where the tokeniser's own template has one."""
        ids: list[int] = self._inner.encode(text, add_special_tokens=True).ids
        return ids[:-1] if ids and ids[-1] == self.end_id else ids

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of many texts (int64 arrays), on all cores."""
        found = self._inner.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(e.ids, dtype=np.int64) for e in found]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; special tokens vanish, broken UTF-8 becomes U+FFFD."""
        return str(self._inner.decode(list(ids), skip_special_tokens=True))

    def to_json(self) -> str:
        """The content of ``tokenizer.json``."""
        return str(self._inner.to_str(pretty=False))

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.json`` and the ``tokenizer_config.json`` that ``transformers`` wants."""
        settings = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": self._end,
            "bos_token": None,
            "clean_up_tokenization_spaces": False,
        }
        atomic_write(folder / "tokenizer_config.json", json.dumps(settings, indent=1))
        atomic_write(folder / "tokenizer.json", self.to_json())  # last: where it exists, both do


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokeniser of a file ``tokenizer.json`` or of a folder that holds one. Raises DataError."""
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise DataError("no tokenizer.json here; train one with `llemma corpus` or give a model folder", where=path)
    # the library raises bare Exception for a damaged file
    inner = boundary(lambda: tokenizers.Tokenizer.from_str(file.read_text(encoding="utf-8")))
    if isinstance(inner, Caught):
        raise DataError(f"damaged tokenizer file ({inner.message}); write it again", where=file)
    return Tokenizer(inner)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """Train byte-level BPE with single digits on ``texts``; at most ``vocab_size`` entries.

    Deterministic for the same texts in the same order. Raises ConfigError below 300 entries (256 bytes, the
    end mark and some merges).
    """
    if vocab_size < 300:
        raise ConfigError(f"vocab_size={vocab_size}: a byte-level tokeniser needs at least 300 entries")
    inner = tokenizers.Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    inner.train_from_iterator(_checked(texts), trainer)
    return Tokenizer(inner)


def _checked(texts: Iterable[str]) -> Iterator[str]:
    empty = True
    for text in texts:
        empty = False
        yield text
    if empty:
        raise DataError("no text to train a tokeniser on; check that the sources yield documents")

"""Tokenisers: Hugging Face's ``tokenizer.json`` and SentencePiece's ``.model`` behind one small interface.

A text never becomes a control token: one that spells ``<|endoftext|>`` or ``</s>`` is a text like any other, so that no
document can end itself. The tokeniser trained here is byte-level BPE in which every digit is a token of its own (as in
Llama 2's), so that a number has one spelling in tokens and place value is visible to the model; with it
``decode(encode(text)) == text`` for every string that UTF-8 can write. What is not done here: normalise text; a loaded
tokeniser does what its library does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from llemma.errors import Caught, ConfigError, DataError, boundary
from llemma.plugins import import_module
from llemma.run import atomic_write

END = "<|endoftext|>"  # stands between documents; id 0 in the tokenisers trained here
# Names of end marks, looked for in this order where a folder's settings name none: GPT-NeoX and ours, Llama 1 and 2,
# Llama 3, Gemma.
ENDS = (END, "</s>", "<|end_of_text|>", "<eos>")
SPACES = ("Ġ", "▁")  # how vocabularies write a space
JSON, MODEL = "tokenizer.json", "tokenizer.model"


class Tokenizer(Protocol):
    """Texts in, ids out, and back. ``file`` is the name of the one file that holds all of it."""

    file: str
    end_id: int | None

    @property
    def vocab_size(self) -> int:
        """The largest id and one, special tokens included: rows of an embedding."""

    @property
    def specials(self) -> Mapping[str, int]:
        """The control tokens by name, such as ``</s>`` or ``<|im_end|>``: what a chat template may print."""

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without special tokens added. Text that looks like one stays text."""

    def encode_prompt(self, text: str) -> list[int]:
        """The ids of a text to be continued: with the begin mark where the tokeniser has one."""

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of many texts (int64 arrays), on all cores the library may use."""

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; special tokens vanish, broken UTF-8 becomes U+FFFD."""

    def save(self, folder: Path) -> None:
        """Write ``file`` and the ``tokenizer_config.json`` that ``transformers`` wants."""


class HuggingFaceTokenizer:
    """A tokeniser of the ``tokenizers`` library."""

    file = JSON

    def __init__(self, inner: tokenizers.Tokenizer, end: str | None = None) -> None:
        """``end`` names the end mark; without it the known names are tried."""
        self._inner = inner
        inner.encode_special_tokens = True  # or a text that holds "<|endoftext|>" could end a document
        inner.no_truncation()  # a file may carry a limit, and would then silently cut every document
        inner.no_padding()
        names = ENDS if end is None else (end, *ENDS)
        self._end = next((name for name in names if inner.token_to_id(name) is not None), None)
        self.end_id: int | None = inner.token_to_id(self._end) if self._end else None
        self._size = 1 + max(inner.get_vocab().values(), default=-1)  # ids may have gaps: no count of entries

    @property
    def vocab_size(self) -> int:
        """The largest id and one, special tokens included."""
        return self._size

    @property
    def specials(self) -> Mapping[str, int]:
        """The control tokens by name."""
        return {
            token.content: number for number, token in self._inner.get_added_tokens_decoder().items() if token.special
        }

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

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in the text each id stands; one that begins or ends inside a character has all of that character.

        The mark of a space that the tokeniser itself sets before a text has no length.
        """
        found = self._inner.encode(text, add_special_tokens=False)
        return [
            (start, start) if token in SPACES and not text[start:end].isspace() else (start, end)
            for token, (start, end) in zip(found.tokens, found.offsets, strict=True)
        ]

    def entries(self) -> list[str]:
        """The vocabulary as the file spells it: a space before as ``Ġ`` or ``▁``."""
        return sorted(self._inner.get_vocab())

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
        atomic_write(folder / JSON, self.to_json())  # last: where it exists, both do


def tokenizer_file(path: Path) -> Path | None:
    """The file that holds the tokeniser of a folder (``tokenizer.json`` first), or the file itself; None: no such."""
    if not path.is_dir():
        return path if path.is_file() else None
    return next((path / name for name in (JSON, MODEL) if (path / name).is_file()), None)


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokeniser of a file (``tokenizer.json``, or SentencePiece's ``.model``) or of a folder with one.

    Raises DataError for a missing or damaged file, MissingDependency without the library.
    """
    file = tokenizer_file(path)
    if file is None:
        raise DataError(
            f"no {JSON} here; train one with `llemma corpus` or give a folder with {JSON} or {MODEL}, or such a file",
            where=path,
        )
    if file.suffix == ".model":
        sentencepiece = import_module("llemma.tokens.sentencepiece")
        loaded: Tokenizer = sentencepiece.load_model(file)
        return loaded
    # the library raises bare Exception for a damaged file
    inner = boundary(lambda: tokenizers.Tokenizer.from_str(file.read_text(encoding="utf-8")))
    if isinstance(inner, Caught):
        raise DataError(f"damaged tokenizer file ({inner.message}); write it again", where=file)
    return HuggingFaceTokenizer(inner, _named_end(file.parent))


def _named_end(folder: Path) -> str | None:
    """The end mark that ``tokenizer_config.json`` beside the file names, if it can be read."""
    path = folder / "tokenizer_config.json"
    settings = boundary(lambda: json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
    end = settings.get("eos_token") if isinstance(settings, dict) else None
    end = end.get("content") if isinstance(end, dict) else end  # an added token is written out with its properties
    return end if isinstance(end, str) else None


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> HuggingFaceTokenizer:
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
    return HuggingFaceTokenizer(inner)


def _checked(texts: Iterable[str]) -> Iterator[str]:
    empty = True
    for text in texts:
        empty = False
        yield text
    if empty:
        raise DataError("no text to train a tokeniser on; check that the sources yield documents")

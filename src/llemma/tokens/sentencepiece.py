"""SentencePiece models (Llama 1 and 2, Code Llama, Gemma): the library's own ids, normaliser and byte fallback.

Control symbols such as ``</s>`` are never read out of text: the library knows them only by id. What a model's
normaliser changes (Llama's puts a space in front and reads U+2581 as a space) is not given back by ``decode``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import sentencepiece

from llemma.errors import Caught, DataError, boundary
from llemma.run import atomic_write, cores


class SentencePieceTokenizer:
    """A tokeniser of the ``sentencepiece`` library."""

    file = "tokenizer.model"

    def __init__(self, inner: sentencepiece.SentencePieceProcessor) -> None:
        self._inner = inner
        self.end_id: int | None = _present(inner.eos_id())
        self._begin = _present(inner.bos_id())

    @property
    def vocab_size(self) -> int:
        """Number of pieces, which is the largest id and one."""
        return int(self._inner.vocab_size())

    @property
    def specials(self) -> Mapping[str, int]:
        """The control symbols by name."""
        size = self.vocab_size
        return {str(self._inner.id_to_piece(i)): i for i in range(size) if self._inner.is_control(i)}

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without begin and end mark."""
        ids: list[int] = self._inner.encode(text, out_type=int)
        return ids

    def encode_prompt(self, text: str) -> list[int]:
        """The ids of a text to be continued, after the begin mark where the model has one."""
        ids = self.encode(text)
        return ids if self._begin is None else [self._begin, *ids]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of many texts (int64 arrays), on all cores; on one where ``TOKENIZERS_PARALLELISM`` is false."""
        found = self._inner.encode(list(texts), out_type=int, num_threads=_threads())
        return [np.array(ids, dtype=np.int64) for ids in found]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; control symbols vanish, broken UTF-8 becomes U+FFFD."""
        return str(self._inner.decode([int(i) for i in ids]))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in the text each id stands; one that adds no whole character to it has no length."""
        return [(start, end) for start, end in self._inner.encode_as_offset_mapping(text)["offsets"]]

    def entries(self) -> list[str]:
        """The vocabulary as the model spells it: a space before as ``▁``."""
        return [str(self._inner.id_to_piece(i)) for i in range(self.vocab_size)]

    def save(self, folder: Path) -> None:
        """Write ``tokenizer.model`` and the ``tokenizer_config.json`` that ``transformers`` wants."""

        def piece(number: int | None) -> str | None:
            return None if number is None else str(self._inner.id_to_piece(number))

        settings = {
            "tokenizer_class": "LlamaTokenizer",
            "bos_token": piece(self._begin),
            "eos_token": piece(self.end_id),
            "unk_token": piece(_present(self._inner.unk_id())),
            "add_bos_token": self._begin is not None,
            "add_eos_token": False,
            "clean_up_tokenization_spaces": False,
        }
        atomic_write(folder / "tokenizer_config.json", json.dumps(settings, indent=1))
        atomic_write(folder / self.file, self._inner.serialized_model_proto())  # last: where it exists, both do


def load_model(file: Path) -> SentencePieceTokenizer:
    """The tokeniser of a ``.model`` file. Raises DataError when it is none."""
    data = file.read_bytes()
    # the library raises what its C++ says, and takes an empty file for a model
    inner = boundary(lambda: sentencepiece.SentencePieceProcessor(model_proto=data))
    if isinstance(inner, Caught) or not data or not inner.vocab_size():
        said = inner.message if isinstance(inner, Caught) else "it has no pieces"
        raise DataError(f"damaged SentencePiece model ({said}); write it again", where=file)
    return SentencePieceTokenizer(inner)


def _threads() -> int:
    """What the ``tokenizers`` library reads as a wish for one thread holds here too: a pool has a process per core."""
    return 1 if os.environ.get("TOKENIZERS_PARALLELISM", "").lower() in ("false", "off", "no", "0") else cores()


def _present(number: int) -> int | None:
    """An id of a mark; the library says -1 for one that the model lacks."""
    return None if number < 0 else int(number)

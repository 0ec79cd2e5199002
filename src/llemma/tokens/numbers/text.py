"""Texts with their numbers encoded: ids for a model, and the numbers beside them; back again without loss.

Words are encoded by a tokeniser (bytes, if none is given), numbers by an encoding whose tokens follow the tokeniser's
own. What an encoding cannot say of a number (its zeros in front, its commas, its fourth figure) stands beside the ids,
so that ``decode(encode(text)) == text`` for every text that UTF-8 can write; ``read`` makes text of the ids a model
wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from llemma.errors import ConfigError
from llemma.tokens.numbers.encoding import NUM, Encoding
from llemma.tokens.numbers.scanner import Number, scan

_BETWEEN = (" a ", " ", "\n")  # what may stand between two numbers


class Base(Protocol):
    """What encodes the words: ``llemma.tokens.tokenizer.Tokenizer`` is one."""

    @property
    def vocab_size(self) -> int: ...

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class Bytes:
    """One id a byte of UTF-8. Half surrogate pairs, which UTF-8 cannot write, are kept as Python keeps them."""

    vocab_size = 256

    def encode(self, text: str) -> list[int]:
        """The bytes."""
        return list(text.encode("utf-8", "surrogatepass"))

    def decode(self, ids: Sequence[int]) -> str:
        """The text; broken UTF-8 becomes U+FFFD."""
        data = bytes(ids)
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            return data.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A number whose tokens are ``ids[first:last]``."""

    first: int
    last: int
    number: Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The ids of a text, and its numbers that are encoded as such, in order."""

    ids: tuple[int, ...]
    numbers: tuple[Placed, ...]


class NumberText:
    """A tokeniser whose numbers are written by an encoding."""

    def __init__(self, encoding: Encoding, base: Base | None = None) -> None:
        """Raises ConfigError for a tokeniser that loses the white space beside a number."""
        self.encoding = encoding
        self.base: Base = Bytes() if base is None else base
        for between in _BETWEEN:
            if self.base.decode(self.base.encode(between)) != between:
                raise ConfigError(
                    f"this tokeniser does not give back {between!r}: white space beside numbers would be lost; take a "
                    "model whose tokeniser keeps it, or init=random, where words are bytes"
                )
        self._first = self.base.vocab_size
        self._ids = {token: self._first + k for k, token in enumerate(encoding.vocabulary)}

    @property
    def vocab_size(self) -> int:
        """The tokeniser's entries and the encoding's."""
        return self._first + len(self.encoding.vocabulary)

    @property
    def num_id(self) -> int | None:
        """The id of ``[NUM]``, None for encodings without."""
        return self._ids.get(NUM)

    def encode(self, text: str) -> Encoded:
        """The ids of a text; a number outside the encoding's range is encoded as words are."""
        ids: list[int] = []
        numbers: list[Placed] = []
        done = 0
        for number in scan(text):
            tokens = self.encoding.write(number)
            if tokens is None:
                continue
            if done < number.start:
                ids += self.base.encode(text[done : number.start])
            first = len(ids)
            ids += [self._ids[token] for token in tokens]
            numbers.append(Placed(first=first, last=len(ids), number=number))
            done = number.end
        if done < len(text):
            ids += self.base.encode(text[done:])
        return Encoded(ids=tuple(ids), numbers=tuple(numbers))

    def decode(self, encoded: Encoded) -> str:
        """The text that was encoded."""
        out, done = [], 0
        for placed in encoded.numbers:
            out += [self.base.decode(encoded.ids[done : placed.first]), placed.number.surface]
            done = placed.last
        return "".join([*out, self.base.decode(encoded.ids[done:])])

    def read(self, ids: Sequence[int], values: Mapping[int, str] | None = None) -> str:
        """The text of ids that a model wrote; ``values`` has the number for each place of a ``[NUM]``.

        Tokens that spell no number come out as ``<?>``, as does a ``[NUM]`` without a value or right behind another.
        """
        out: list[str] = []
        done = place = 0
        while place < len(ids):
            if ids[place] < self._first:
                place += 1
                continue
            out.append(self.base.decode(ids[done:place]))
            last = place + 1
            while not self.encoding.valued and last < len(ids) and ids[last] >= self._first:
                last += 1
            if self.encoding.valued:
                behind = place > 0 and ids[place - 1] >= self._first  # a number no text has: they would read as one
                out.append("<?>" if behind else (values or {}).get(place, "<?>"))
            else:
                tokens = [self.encoding.vocabulary[i - self._first] for i in ids[place:last]]
                out.append(self.encoding.read(tokens) or "<?>")
            done = place = last
        return "".join([*out, self.base.decode(ids[done:])])

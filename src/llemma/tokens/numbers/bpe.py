"""Plain BPE: runs of digits cut by merges learnt from how numbers are written, as GPT-2 and GPT-3 cut them.

The usual vocabulary, 1,000 entries, is learnt here from 20,000 numbers as texts have them (years, counts, prices, round
numbers, decimals, dates), by Sennrich et al. 2016: the commonest pair is merged, again and again. Point, comma, sign
and exponent stay characters. ``bpe:NAME`` cuts by a real tokeniser instead: a file, a hub name or ``cl100k``.
"""

from __future__ import annotations

import functools
import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from llemma.tokens.numbers.encoding import CHARACTERS, Written
from llemma.tokens.numbers.scanner import Number

VOCABULARY = 1000
_SAMPLE = 20_000  # numbers that the usual merges are learnt from
_RUN = re.compile(r"[0-9]+|[^0-9]")
_CENTS = ("99", "99", "99", "00", "50", "95", "49", "25", "75")
Pair = tuple[str, str]


class Bpe(Written):
    """Pieces of digits; ``cut`` splits a number's surface, ``pieces`` are all it may yield beside characters."""

    name = "bpe"
    low, high, resolution, lossless = "any", "any", "as written", True
    most = 24

    def __init__(self, cut: Callable[[str], Iterable[str]] | None = None, pieces: Iterable[str] = ()) -> None:
        if cut is None:
            ranks = usual()
            cut, pieces = functools.partial(_usual_cut, ranks), (a + b for a, b in ranks)
        self._cut = cut
        self.vocabulary = tuple(dict.fromkeys((*CHARACTERS, *pieces)))
        self._known = frozenset(self.vocabulary)

    def write(self, number: Number) -> tuple[str, ...] | None:
        tokens: list[str] = []
        for piece in self._cut(number.surface):
            tokens += [piece] if piece in self._known else piece
        return tuple(tokens)

    def read(self, tokens: Sequence[str]) -> str | None:
        return "".join(tokens)


def _usual_cut(ranks: Mapping[Pair, int], surface: str) -> list[str]:
    return [piece for run in _RUN.findall(surface) for piece in cut(run, ranks)]


def cut(run: str, ranks: Mapping[Pair, int]) -> list[str]:
    """The pieces of a text: the pair of the lowest rank is merged, the leftmost first, until none has a rank."""
    pieces = list(run)
    while len(pieces) > 1:
        rank, place = min((ranks.get(pair, len(ranks)), k) for k, pair in enumerate(itertools.pairwise(pieces)))
        if rank == len(ranks):
            break
        pieces[place : place + 2] = [pieces[place] + pieces[place + 1]]
    return pieces


def learn(words: Mapping[str, int], count: int) -> dict[Pair, int]:
    """Merges in order: each joins the pair that is commonest in the words then, among equals the last in the alphabet.

    Fewer than ``count`` where no pair is left.
    """
    cuts = {word: list(word) for word in words}
    seen: Counter[Pair] = Counter()
    where: dict[Pair, set[str]] = {}

    def note(word: str, sign: int) -> None:
        for pair in itertools.pairwise(cuts[word]):
            seen[pair] += sign * words[word]
            where.setdefault(pair, set()).add(word)

    for word in words:
        note(word, 1)
    ranks: dict[Pair, int] = {}
    while len(ranks) < count:
        pair = max(seen, key=lambda pair: (seen[pair], pair), default=None)
        if pair is None or not seen[pair]:
            break
        ranks[pair] = len(ranks)
        for word in where.pop(pair):
            note(word, -1)
            cuts[word] = _merged(cuts[word], pair)
            note(word, 1)
        del seen[pair]
    return ranks


def _merged(pieces: Sequence[str], pair: Pair) -> list[str]:
    out: list[str] = []
    for piece in pieces:
        if out and (out[-1], piece) == pair:
            out[-1] += piece
        else:
            out.append(piece)
    return out


@functools.cache
def usual() -> Mapping[Pair, int]:
    """The merges of the usual vocabulary; the same on every machine."""
    source = random.Random(0)
    words = Counter(run for _ in range(_SAMPLE) for run in _RUN.findall(_written(source.random)) if run.isdigit())
    return learn(words, VOCABULARY - len(CHARACTERS))


def _written(draw: Callable[[], float]) -> str:
    """A number as texts have them. ``draw`` gives 0 to 1."""
    kind = draw()
    size = int(10 ** (draw() * 2))  # each decade as often: 1 to 99
    if kind < 0.25:
        return str(size)
    if kind < 0.45:  # years, recent ones above all
        return str(2025 - int(200 * draw() ** 3))
    if kind < 0.60:
        return f"{int(10 ** (draw() * 3))}.{_CENTS[int(draw() * len(_CENTS))]}"
    if kind < 0.70:  # round: one or two figures and zeros
        return f"{size}{'0' * int(1 + 5 * draw())}"
    if kind < 0.85:
        return f"{int(10 ** (draw() * 9)):{',' if draw() < 0.5 else ''}}"
    if kind < 0.95:
        return f"{draw() * size:.{1 + int(3 * draw())}f}"
    return f"{2025 - int(30 * draw())}-{1 + int(12 * draw()):02d}-{1 + int(28 * draw()):02d}"

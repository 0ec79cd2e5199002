"""``llemma numbers audit``: what tokenisers, and the encodings here, make of numbers.

Measured on whole numbers drawn by a fixed seed, the same for all: how many tokens, in how many shapes, whether a number
is cut the same in every context, whether the digits of two operands line up, and what the first token says of the size.
An encoding's numbers outside its range are left out. Nothing of a model is measured.
"""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from llemma.records import Event, Progress, silent
from llemma.tokens.numbers import ENCODINGS, Encoding, encoding
from llemma.tokens.numbers.readers import Reader, bare, open_reader
from llemma.tokens.numbers.scanner import Number, number, scan

SAMPLE = (
    "7", "42", "143", "1430", "12345", "1234567", "-143", "3.14159", "0.001", "1e-5", "6.02e23", "2,048", "2048",
    " 143", "143.0", "1.43e2", "0143", "2023-11-22",
)  # fmt: skip
# What stands before and behind a number, and leaves it the same number.
CONTEXTS = (
    (" ", ""), ("=", ""), ("(", ")"), ("$", ""), ("\n", ""), ("5-", ""), ("5+", ""), ("5*", ""), ("5/", ""), ("", "%"),
    ("", ","), ("x = ", ". So"),
)  # fmt: skip
LENGTHS = range(1, 10)  # digits
LONG = 12
WAYS = ("143", "1234567")
_EACH = 500  # numbers of each length
_PAIRS = 20  # operands of each length, each with each
_IN_CONTEXT = 100  # of each length
_TAILS = 2  # continuations of each three digits
_NONE = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token that touches a number: its text, which may reach beyond, and which of the number's characters it has."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A tokeniser or encoding: the tokens of a text between two others, and the entries that are digits alone.

    ``spelt``: the tokens joined are the number, so that one can ask where it is cut. ``valued``: the value is handed
    over beside the first token.
    """

    name: str
    tokens: Callable[[str, str, str], Sequence[Token]]
    refuses: Callable[[str], bool]
    digits: frozenset[str]
    spelt: bool
    valued: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found; shares are 0 to 1, None where the question has no sense."""

    name: str
    cuts: Mapping[str, str]  # of the sample, ``·`` between the tokens, a space as ``␣``
    entries: Mapping[str, int]  # digits → entries of the vocabulary that are so many digits and nothing else
    tokens: Mapping[str, float | None]  # digits → tokens a number takes on average
    shapes: int | None  # ways in which the cuts of a nine-digit number fall
    moved: float  # share of numbers that some context cuts elsewhere
    renamed: float  # share of numbers that some context writes with other tokens
    ways: Mapping[str, int] | None  # spellings of a number that the vocabulary has
    aligned: float | None  # share of pairs of operands of 1 to 9 digits whose cuts meet the same places
    unknown: float  # bits of the number of digits, 1 to 9, that the first token leaves open


def audit(names: Sequence[str], progress: Progress = silent) -> list[Audit]:
    """One record a name: an encoding's, or what ``open_reader`` opens. All names are opened before any is measured."""
    subjects = [subject(name) for name in names]
    found = []
    for done, one in enumerate(subjects):
        progress(Event(stage="audit", done=done, total=len(subjects), unit="tokenisers", note=one.name))
        found.append(_audited(one))
    progress(Event(stage="audit", done=len(subjects), total=len(subjects), unit="tokenisers"))
    return found


def subject(name: str) -> Subject:
    """The tokeniser or encoding of this name. Raises what ``open_reader`` does."""
    if name in ENCODINGS or name.startswith("bpe:"):
        return _of_encoding(name, encoding(name))
    return _of_reader(name, open_reader(name))


def _of_reader(name: str, reader: Reader) -> Subject:
    def tokens(before: str, surface: str, after: str) -> list[Token]:
        text, first, last = before + surface + after, len(before), len(before) + len(surface)
        return [
            Token(text=text[start:end], start=max(start, first) - first, end=min(end, last) - first)
            for start, end in reader.spans(text)
            if start < end and start < last and end > first
        ]

    digits = frozenset(entry for entry in reader.entries() if _is_digits(entry))
    # a tokeniser may know numbers only behind a space, as old SentencePiece models do at the start of a text
    digits = digits or frozenset(entry for entry in bare(reader.entries()) if _is_digits(entry))
    return Subject(name=name, tokens=tokens, refuses=lambda surface: False, digits=digits, spelt=True)


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _of_encoding(name: str, made: Encoding) -> Subject:
    def tokens(before: str, surface: str, after: str) -> list[Token]:
        text, first, last = before + surface + after, len(before), len(before) + len(surface)
        return [
            Token(text=token.text, start=max(token.start, first) - first, end=min(token.end, last) - first)
            for token in _all_tokens(made, text)
            if token.start < last and token.end > first
        ]

    probe = number(WAYS[-1])
    written = made.write(probe)
    return Subject(
        name=name,
        tokens=tokens,
        refuses=lambda surface: made.write(number(surface)) is None,
        digits=frozenset(filter(_is_digits, made.vocabulary)),
        spelt=written is not None and _order(probe.surface, written) != 0,
        valued=made.valued,
    )


def _all_tokens(made: Encoding, text: str) -> Iterator[Token]:
    done = 0
    for one in scan(text):
        written = made.write(one)
        if written is not None:
            yield from (Token(text=text[k], start=k, end=k + 1) for k in range(done, one.start))
            yield from _placed(one, written)
            done = one.end
    yield from (Token(text=text[k], start=k, end=k + 1) for k in range(done, len(text)))


def _placed(one: Number, written: Sequence[str]) -> Iterator[Token]:
    """The tokens with the characters they have; all have all where they do not spell the number."""
    order = _order(one.surface, written)
    done = 0
    for text in written:
        size = len(_character(text))
        ends = (one.start + done, one.start + done + size) if order > 0 else (one.end - done - size, one.end - done)
        start, end = ends if order else (one.start, one.end)
        yield Token(text=text, start=start, end=end)
        done += size


def _order(surface: str, written: Sequence[str]) -> int:
    """1 when the tokens spell the number from the front, -1 from the back, 0 when they do not spell it."""
    spelt = "".join(map(_character, written))
    return 1 if spelt == surface else -1 if spelt == surface[::-1] else 0


def _character(token: str) -> str:
    return token.partition("@")[0]  # of ``place``: 4@1 is the digit 4


# --- the measures ---------------------------------------------------------------------------------------------------


def _audited(one: Subject) -> Audit:
    source = random.Random(0)
    drawn = {n: [_draw(source, n) for _ in range(_EACH)] for n in (*LENGTHS, LONG)}
    held = {n: [surface for surface in some if not one.refuses(surface)] for n, some in drawn.items()}
    nine = [_bounds(one.tokens("", surface, "")) for surface in held[9]]
    changes = [_changes(one, surface) for n in LENGTHS for surface in held[n][:_IN_CONTEXT]]
    return Audit(
        name=one.name,
        cuts={text: "·".join(t.text for t in one.tokens("", text, "")).replace(" ", "␣") for text in SAMPLE},
        entries={str(n): count for n, count in sorted(Counter(map(len, one.digits)).items())},
        tokens={
            str(n): sum(len(one.tokens("", s, "")) for s in some) / len(some) if some else None
            for n, some in held.items()
        },
        shapes=len(set(nine)) if nine else None,
        moved=sum(moved for moved, _ in changes) / len(changes),
        renamed=sum(renamed for _, renamed in changes) / len(changes),
        ways={text: ways(text, one.digits) for text in WAYS} if one.spelt and one.digits else None,
        aligned=_aligned(one, held) if one.spelt else None,
        unknown=_unknown(one),
    )


def _draw(source: random.Random, digits: int) -> str:
    return str(source.randrange(10 ** (digits - 1), 10**digits))


def _bounds(tokens: Sequence[Token]) -> tuple[tuple[int, int], ...]:
    return tuple((token.start, token.end) for token in tokens)


def _changes(one: Subject, surface: str) -> tuple[bool, bool]:
    """Whether some context cuts the number elsewhere, and whether some context writes it with other tokens."""
    alone = one.tokens("", surface, "")
    others = [one.tokens(before, surface, after) for before, after in CONTEXTS]
    return (
        any(_bounds(other) != _bounds(alone) for other in others),
        any([t.text for t in other] != [t.text for t in alone] for other in others),
    )


def ways(text: str, entries: frozenset[str]) -> int:
    """In how many ways the text can be put together from the entries."""
    found = [1]
    for end in range(1, len(text) + 1):
        found.append(sum(found[start] for start in range(end) if text[start:end] in entries))
    return found[-1]


def _aligned(one: Subject, held: Mapping[int, Sequence[str]]) -> float:
    """Share of pairs whose cuts, counted from the units, are the same as far as both numbers go."""
    cuts = []
    for n in LENGTHS:
        for surface in held[n][:_PAIRS]:
            cuts.append((n, {n - token.start for token in one.tokens("", surface, "")} - {n}))
    same = sum(
        {p for p in a if p < min(n, m)} == {p for p in b if p < min(n, m)}
        for (n, a), (m, b) in itertools.product(cuts, repeat=2)
    )
    return same / len(cuts) ** 2


def _unknown(one: Subject) -> float:
    """Bits: the entropy of the number of digits given the first token, when 1 to 9 digits are equally likely.

    Every three leading digits, with some continuations; of each the first 1 to 9 digits are asked, so that two lengths
    differ in nothing but what follows.
    """
    if one.valued:
        return 0.0
    source = random.Random(1)
    seen: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for lead in range(100, 1000):
        for _ in range(_TAILS):
            whole = f"{lead}{source.randrange(10**6):06d}"
            for n in LENGTHS:
                if not one.refuses(whole[:n]):
                    first = one.tokens("", whole[:n], "")[:1]  # none: a tokeniser may leave out what it does not know
                    seen["".join(token.text for token in first)][n] += 1
    total = sum(counts.total() for counts in seen.values())
    bits = sum(c * math.log2(counts.total() / c) for counts in seen.values() for c in counts.values())
    return bits / total


# --- for people -----------------------------------------------------------------------------------------------------


def cut_rows(found: Sequence[Audit]) -> list[dict[str, str]]:
    """The sample, a line a text, a column a tokeniser."""
    return [{"text": text.replace(" ", "␣"), **{one.name: one.cuts[text] for one in found}} for text in SAMPLE]


def measure_rows(found: Sequence[Audit]) -> list[dict[str, str]]:
    """The measures, a line each, a column a tokeniser."""
    lines: dict[str, Callable[[Audit], str]] = {
        f"tokens for {' / '.join(_COLUMNS)} digits": lambda a: " / ".join(_figure(a.tokens[n]) for n in _COLUMNS),
        "entries of 1 / 2 / 3 / more digits": _entries,
        "shapes of 9 digits": lambda a: _NONE if a.shapes is None else str(a.shapes),
        "cut elsewhere in some context": lambda a: f"{a.moved:.0%}",
        "other tokens in some context": lambda a: f"{a.renamed:.0%}",
        f"spellings of {' / '.join(WAYS)}": lambda a: " / ".join(map(str, a.ways.values())) if a.ways else _NONE,
        "operands that line up": lambda a: _NONE if a.aligned is None else f"{a.aligned:.0%}",
        "bits of length after token 1": lambda a: f"{a.unknown:.2f}",
    }
    return [{"measure": name, **{one.name: of(one) for one in found}} for name, of in lines.items()]


_COLUMNS = ("3", "6", "9", "12")


def _figure(value: float | None) -> str:
    return _NONE if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


def _entries(one: Audit) -> str:
    more = sum(count for n, count in one.entries.items() if int(n) > 3)
    return " / ".join(str(count) for count in (*(one.entries.get(n, 0) for n in "123"), more))

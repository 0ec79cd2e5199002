"""Numbers in English words: ``forty-two``, ``one hundred and five``, ``two thirds``, ``three and a half``."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from llemma.grade.vocabulary import CHANGES, DENOMINATORS, NUMERALS, SCALES, TENS, UNITS

_MAX_WORDS = 20


def numeral(text: str) -> Fraction | None:
    """The number that words state, a unit behind it allowed; ``None`` when they state none."""
    words = text.lower().replace("-", " ").split()
    if not words or len(words) > _MAX_WORDS or not text.replace("-", " ").replace(" ", "").isalpha():
        return None
    if words[0] in ("minus", "negative"):
        value = _amount(words[1:])
        return None if value is None else -value
    value = _amount(words)
    last = words[-1]
    if value is None and last not in CHANGES and last not in SCALES and last not in DENOMINATORS:
        value = _amount(words[:-1]) if last in UNITS and last != "percent" else None
    return value


def _amount(words: Sequence[str]) -> Fraction | None:
    """A whole number, a fraction, or both joined by ``and``."""
    if not words:
        return None
    whole = _whole(words)
    if whole is not None:
        return Fraction(whole)
    below = DENOMINATORS.get(words[-1])
    if below is None:
        return None
    if words == ["half"]:  # a third alone may be the one behind the second
        return Fraction(1, 2)
    for start in range(len(words) - 1, -1, -1):  # the longest number in front of "and", the rest over the denominator
        if words[start] == "and":
            first, top = _whole(words[:start]), _top(words[start + 1 : -1])
            return None if first is None or top is None or top >= below else first + Fraction(top, below)
    top = _top(words[:-1])
    return None if top is None else Fraction(top, below)


def _top(words: Sequence[str]) -> int | None:
    return 1 if list(words) in (["a"], ["an"]) else _whole(words)


def _whole(words: Sequence[str]) -> int | None:
    """``two thousand three hundred and five``; ``None`` for what is no number."""
    total = current = 0
    largest = 10**15
    seen = False
    for i, word in enumerate(words):
        small = NUMERALS.get(word) or TENS.get(word)
        if word == "and":
            if i == 0 or i + 1 == len(words) or words[i - 1] not in SCALES:
                return None
        elif word == "zero":
            return 0 if len(words) == 1 else None
        elif small is not None:
            room = 10 if small < 10 and current % 100 not in range(10, 20) else 100
            if current % room:
                return None
            current += small
            seen = True
        elif word in ("a", "an") and i == 0 and len(words) > 1 and words[1] in SCALES:
            current = 1
        elif word == "hundred" and 0 < current < 100:
            current *= 100
        elif word in SCALES and current > 0 and SCALES[word] < largest and word not in ("hundred", "dozen"):
            largest = SCALES[word]
            total, current = total + current * largest, 0
        elif word == "dozen" and i + 1 == len(words) and current:
            current *= 12
        else:
            return None
    return total + current if seen or total + current else None

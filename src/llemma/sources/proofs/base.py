"""The records the families of theorems share, and how two statements are told to be the same or of one shape."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

# Words of Coq and of its library that keep their meaning in a shape; every other word is a name somebody chose.
FIXED = frozenset(
    [
        "forall",
        "exists",
        "fun",
        "if",
        "then",
        "else",
        "match",
        "with",
        "end",
        "true",
        "false",
        "nat",
        "bool",
        "Z",
        "list",
        "Prop",
        "Type",
        "S",
        "O",
        "negb",
        "andb",
        "orb",
        "xorb",
        "eqb",
        "In",
        "map",
        "length",
        "rev",
        "filter",
        "fold_right",
        "forallb",
        "existsb",
        "repeat",
        "concat",
        "flat_map",
        "app",
        "True",
        "False",
        "not",
        "and",
        "or",
        "iff",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A theorem with the tactics that prove it: ``statement`` is a Coq term, ``tactics`` are sentences with a dot."""

    family: str
    statement: str
    tactics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """A kind of theorems and its share among all; ``sample`` draws one, or None when the draw came to nothing."""

    name: str
    weight: float
    sample: Callable[[Random], Draft | None]


_WORD = re.compile(r"[A-Za-z_][\w']*|\d+|=>|[^\s\w]")


def normal(statement: str) -> str:
    """A statement in which bound names are numbered in the order they appear: equal for renamed copies.

    Takes the term of a statement, without ``Theorem name :``. Parentheses are left out, so a few statements that
    differ in nothing else count as equal too. Functions of the prelude keep their names.
    """
    words = _WORD.findall(statement)
    bound = _bound(words)
    return _numbered(words, lambda word: word in bound)


def shape(statement: str) -> str:
    """The same with every chosen name numbered and every numeral hidden: equal for variants by name or constant."""
    words = ["#" if word.isdigit() else word for word in _WORD.findall(statement)]
    return _numbered(words, lambda word: bool(re.match(r"[A-Za-z_]", word)) and word not in FIXED)


def _numbered(words: list[str], chosen: Callable[[str], bool]) -> str:
    names: dict[str, str] = {}
    return " ".join(names.setdefault(w, f"v{len(names)}") if chosen(w) else w for w in words if w not in "()")


def _bound(words: list[str]) -> frozenset[str]:
    """The names that stand between a binder and its colon, comma or arrow; a bracket starts another group of them."""
    found, inside, naming = [], False, False
    for word in words:
        if word in ("forall", "exists", "fun"):
            inside = naming = True
        elif word in (",", "=>"):
            inside = naming = False
        elif word in "(:":
            naming = inside and word == "("
        elif naming and re.match(r"[A-Za-z_]", word) and word not in FIXED:
            found.append(word)
    return frozenset(found)

"""Units: which words behind a value are one, and whether two of them can be of the same quantity.

Only names and exponents are compared: ``m/s^2`` is ``meters per second squared`` and ``kg m/s^2`` is ``N``, but nothing
is converted, so 1 m is not 100 cm. A word that is no known unit (apples, students) says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from llemma.grade.brackets import levels
from llemma.grade.expr import is_unit
from llemma.grade.latex import END, Refused, Token
from llemma.grade.node import ONE, Node, tree, variables
from llemma.grade.vocabulary import CHANGES, LITTLE, SCALES, UNIT_LETTERS, UNIT_NAMES

Measure = tuple[tuple[str, int], ...]  # names of units with their exponents, in alphabetical order

_PIECE = re.compile(r"\\[A-Za-z]+|[A-Za-z]+|¢|\^?[({]*-?\d+|/|[^\s{}()*.^]")
_POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_MARKS: dict[tuple[str, str], Measure] = {
    ("money", ""): (("dollar", 1),), ("degree", ""): (("degree", 1),), ("degree", "c"): (("celsius", 1),),
    ("degree", "f"): (("fahrenheit", 1),), ("degree", "celsius"): (("celsius", 1),),
    ("degree", "fahrenheit"): (("fahrenheit", 1),),
}  # fmt: skip
_UNSAID = frozenset(((("dollar", 1),), (("degree", 1),)))  # what may be missing without a trace


def unit_behind(rest: Sequence[Token]) -> tuple[str, str, int]:
    """Unit, mark and scale of what stands behind an expression. Raises Refused for what might change the value."""
    rest = _unbracketed(rest)
    words: list[str] = []
    mark, scale = "", 1
    for at, token in enumerate(rest):
        word = token.text.lower().rstrip(".")
        if token.kind == "word" and word in SCALES and not words:
            scale *= SCALES[word]
        elif token.kind == "word" and word in ("percent", "percentage"):
            mark = "percent"
        elif token.kind == "word" and word in ("degrees", "degree", "deg"):
            mark = "degree"
        elif _in_unit(token, rest[at - 1] if at else END, words, last=at + 1 == len(rest)):
            words.append(token.text.rstrip("."))
        elif token.kind == "pct":
            mark = "percent"
        elif token.kind in ("degree", "circ"):
            mark = "degree"
        elif token.kind != "dot":
            raise Refused(f"{token.text!r} behind a value")
    if words and words[-1] in ("a", "an"):
        raise Refused("an article at the end")
    return re.sub(r" ?([/^*(){}-]) ?", r"\1", " ".join(words)), mark, scale


def _unbracketed(rest: Sequence[Token]) -> Sequence[Token]:
    r"""``(cm)`` behind a value as ``cm``, ``\frac{ft}{s}`` as ``ft/s``."""
    if len(rest) > 4 and rest[0].kind == "frac" and rest[1].kind == "{":
        end = levels(rest).index(0, 2)
        return [*rest[2:end], Token("/", "/"), *rest[end + 1 :]]
    if len(rest) > 2 and rest[0].text == "(" and rest[-1].text == ")" and is_unit(rest[1]._replace(spaced=True)):
        return rest[1:-1]
    return rest


def _in_unit(token: Token, before: Token, words: Sequence[str], *, last: bool) -> bool:
    """Whether a token behind an expression belongs to its unit: ``square feet``, ``m/s^2``, ``inches per second``."""
    if token.kind == "word":
        word = token.text.lower().rstrip(".")
        if word in CHANGES:
            return word in ("squared", "cubed") and bool(words) and measure(words[-1]) is not None
        return (
            is_unit(token) or token.text_mode or word in LITTLE or bool(words and len(word) > 2) or before.kind == "/"
        )
    if token.kind == "join":
        return bool(words) and not last
    if token.kind == "sym":
        letter = bool(words) and token.spaced and token.text in UNIT_LETTERS  # kg m
        return token.text_mode or before.kind in ("/", "*") or letter
    if token.kind == "num":  # m^2, cm2; but "3 hours 30 minutes" is no number of hours
        glued = before.kind == "word" and not token.spaced and token.text in ("2", "3")
        return bool(words) and (before.kind in ("^", "{", "-") or glued)
    return bool(words) and token.kind in ("^", "{", "}", "/", "*", "-", "dot", "open", "close")


@lru_cache(maxsize=1024)
def measure(unit: str) -> Measure | None:
    """The names of a unit with their exponents; ``None`` when a word of it is no known unit."""
    found: dict[str, int] = {}
    sign = power = 1
    last: Measure = ()
    for piece in _PIECE.findall(unit.replace("\\cdot", " ").replace("\\times", " ").replace(".", "")):
        if piece in ("/", "per"):
            sign = -1
        elif piece.lower() in _POWERS and (piece.lower()[-1] != "d" or not last):
            power = _POWERS[piece.lower()]
        elif piece.lower() in _POWERS or piece[-1].isdigit():
            exponent = _POWERS.get(piece.lower()) or int(piece.lstrip("^({"))
            for name, times in last:  # it is counted once already
                found[name] += sign * times * (exponent - 1)
        else:
            last = _known(piece) or ()
            if not last:
                return None
            for name, times in last:
                found[name] = found.get(name, 0) + sign * power * times
            power = 1
    return tuple(sorted((name, times) for name, times in found.items() if times)) or None


def _known(word: str) -> Measure | None:
    word = word.lstrip("\\")
    singular = word.lower().removesuffix("s") if len(word) > 2 else word.lower()
    name = UNIT_NAMES.get(word) or UNIT_NAMES.get(word.lower()) or UNIT_NAMES.get(singular)
    if name is None or name.isalpha():
        return None if name is None else ((name, 1),)
    return measure(name)


def quantity(unit: str, mark: str) -> Measure | None:
    """What a unit and a mark say that a value is a number of; ``None``: nothing that can be compared."""
    return _MARKS.get((mark, unit.casefold())) or (measure(unit) if unit else None)


def disagree(a: Measure | None, b: Measure | None) -> bool:
    """Whether both say what they are a number of, and not the same; a temperature may lack its scale."""
    if a is None or b is None or a == b or {a, b} <= _UNSAID:
        return False
    scales = {(("celsius", 1),), (("fahrenheit", 1),)}
    return not ((("degree", 1),) in (a, b) and (a in scales or b in scales))


def suffix(unit: str, mark: str) -> str:
    """The unit as a part of the name of a value: empty for what says nothing or may be missing."""
    found = quantity(unit, mark)
    if found is None or found in _UNSAID:
        return ""
    return " " + " ".join(name if times == 1 else f"{name}^{times}" for name, times in found)


def letters(node: Node) -> tuple[Node, Measure, bool] | None:
    """``144 m^3`` read as a product of variables: the number, the unit, and whether it has several letters."""
    exponents: dict[str, int] = {}
    number = _without_letters(node, 1, exponents)
    if number is None or not exponents or variables(number):
        return None
    found = measure(" ".join(f"{name}^{times}" for name, times in exponents.items()))
    return None if found is None else (number, found, len(exponents) > 1)


def _without_letters(node: Node, sign: int, exponents: dict[str, int]) -> Node | None:
    """The factors that are no letters of units; the exponents of those are added up."""
    if node.op in ("mul", "div"):
        first = _without_letters(node.args[0], sign, exponents)
        second = _without_letters(node.args[1], sign if node.op == "mul" else -sign, exponents)
        if second is None:
            return first
        return tree(node.op, (first or ONE, second))
    base, times = node.args if node.op == "pow" else (node, ONE)
    whole = times.value if times.op == "num" else None if times.op != "neg" else times.args[0].value
    if base.op != "sym" or base.name not in UNIT_LETTERS or whole is None or whole.denominator != 1:
        return node
    exponents[base.name] = exponents.get(base.name, 0) + sign * (-1 if times.op == "neg" else 1) * whole.numerator
    return None

"""The small print of KaTeX's rendering: styles, stretched signs, brackets and the names of its tables."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from llemma.extract.markup import Node
from llemma.extract.symbols import ACCENTS, UNDER, latex
from llemma.extract.words import word_set, words


class Style(NamedTuple):
    """Classes and measures of a span; lengths in em, 0 where there is none."""

    classes: frozenset[str]
    top: float
    height: float
    right: str
    hidden: bool
    stack: bool  # a vertical list
    strut: bool  # what an entry of such a list hangs on
    sizing: bool  # set small


Reader = Callable[[Node, Style, int], list[Any]]

_CLASS = re.compile(r' class="([^"]*)"')
_TOP = re.compile(r"(?<![-\w])top:(-?[\d.]+)em")
_HEIGHT = re.compile(r"(?<![-\w])height:(-?[\d.]+)em")
_RIGHT = re.compile(r"margin-right:(-?[\d.]+)em")
_PATH = re.compile(r' d="([^"]*)"')

SILENT = word_set("strut pstrut vlist-s nulldelimiter fix eqn-num rule frac-line hline hdashline")
SPACES = {
    "1": "\\quad ", "2": "\\qquad ", "0.1667": "\\,", "0.16667": "\\,", "0.2222": "\\:", "0.22222": "\\:",
    "0.2778": "\\;", "0.27778": "\\;", "-0.1667": "\\!", "-0.16667": "\\!", "0.5": "\\enspace ",
}  # fmt: skip
THIN = frozenset(("\\,", "\\:", "\\;"))
BIG = {"1": "big", "2": "Big", "3": "bigg", "4": "Bigg"}
WITH_LIMITS = words(
    "sum prod coprod bigcap bigcup bigvee bigwedge bigoplus bigotimes bigodot biguplus bigsqcup int iint "
    "iiint oint oiint oiiint lim liminf limsup max min sup inf det gcd Pr argmax injlim projlim"
)

# The first figures of a path → the sign it draws.
_ACCENT_PATHS = (
    ("M529 0h5", "widehat"), ("M1181 0h2", "widehat"), ("M529,159", "widecheck"), ("M1181,", "widecheck"),
    ("M200 55", "widetilde"), ("M344 55", "widetilde"), ("M786 5", "widetilde"), ("M377 20", "vec"),
    ("M0 241v40h399891", "overrightarrow"), ("M400000 241H110", "overleftarrow"), ("M399738 392", "Overrightarrow"),
    ("M0 267c", "overleftharpoon"), ("M0 241v40h399993", "overrightharpoon"), ("M400000 80", "overgroup"),
    ("M40 281 V428", "overlinesegment"), ("M400000 262", "overgroup"),
)  # fmt: skip
_ARROWS = (
    ("M0 241v40h399891", "xrightarrow"), ("M400000 241H110", "xleftarrow"), ("M399738 392", "xRightarrow"),
    ("M262 157", "xLeftarrow"), ("M40 281 V448", "xmapsto"), ("M400000 281 H103", "xhookrightarrow"),
    ("M7 435", "xrightleftharpoons"), ("M0 50 h400000", "xlongequal"), ("M400000 167", "xtwoheadrightarrow"),
    ("M0 241v40h399993", "xrightharpoonup"),
)  # fmt: skip
_UNDER_NAMES = {
    "widetilde": "utilde", "overrightarrow": "underrightarrow", "overleftarrow": "underleftarrow",
    "overleftrightarrow": "underleftrightarrow", "overgroup": "undergroup", "overlinesegment": "underlinesegment",
}  # fmt: skip


def style_of(tag: str) -> Style:
    """Classes and measures of a start tag; version 0.19 puts ``katex-`` before many of the classes."""
    found = _CLASS.search(tag)
    names = frozenset(name.removeprefix("katex-") for name in found[1].split()) if found else frozenset()
    top, height, right = (pattern.search(tag) for pattern in (_TOP, _HEIGHT, _RIGHT))
    return Style(
        classes=names,
        top=_number(top),
        height=_number(height),
        right=f"{_number(right):.5f}".rstrip("0").rstrip(".") if right else "",
        hidden="color:transparent" in tag,
        stack=not names.isdisjoint(("vlist-t", "vlist")),
        strut="pstrut" in names,
        sizing="sizing" in names,
    )


def _number(found: re.Match[str] | None) -> float:
    try:
        return float(found[1]) if found else 0.0
    except ValueError:
        return 0.0


def kid_tags(node: Node) -> str:
    """The start tags of the children, one string to look for classes in."""
    return " ".join(kid.tag for kid in node.elements())


def has_svg(node: Node) -> bool:
    """Whether a stretched sign is drawn in it."""
    return node.find("svg") is not None


def deep(node: Node) -> bool:
    """Whether there is text beside the drawn sign."""
    return bool(node.text().replace("\u200b", "").strip())


def _paths(node: Node) -> list[str]:
    found = []
    stack = [node]
    while stack:
        item = stack.pop()
        if item.name == "path" and (path := _PATH.search(item.tag)):
            found.append(path[1].replace("\n", " "))
        stack.extend(reversed(item.elements()))
    return found


def accent(node: Node, under: bool) -> str:
    """The command of an accent, from its character or its path."""
    text = node.text().replace("\u200b", "").strip()
    if text:
        return UNDER.get(text, "underline") if under else ACCENTS.get(text, ("hat", ""))[0]
    paths = _paths(node)
    names = [name for path in paths for start, name in _ACCENT_PATHS if path.startswith(start)]
    name = "overleftrightarrow" if {"overleftarrow", "overrightarrow"} <= set(names) else (names or ["widehat"])[0]
    return _UNDER_NAMES.get(name, "underline") if under else name


def stretched(node: Node, under: bool) -> str:
    """The command of a brace, bracket or group drawn over or under something."""
    first = (_paths(node) or [""])[0]
    kind = (
        "bracket" if first.startswith(("M0 440", "M0 0 h120")) else "group" if first.startswith("M400000") else "brace"
    )
    return f"{'under' if under else 'over'}{kind}"


def arrow(node: Node) -> str:
    """The command of an arrow with text on it."""
    names = [name for path in _paths(node) for start, name in _ARROWS if path.startswith(start)]
    if {"xleftarrow", "xrightarrow"} <= set(names):
        return "xleftrightarrow"
    if {"xLeftarrow", "xRightarrow"} <= set(names):
        return "xLeftrightarrow"
    return names[0] if names else "xrightarrow"


def crossed(node: Node) -> str | None:
    """The command of lines drawn over something; ``None`` when there are none."""
    if "sout" in kid_tags(node):
        return "sout"
    lines = []
    stack = [node]
    while stack:
        item = stack.pop()
        if item.name == "line":
            lines.append(item.get("y1"))
        stack.extend(reversed(item.elements()))
    if not lines:
        return None
    return "xcancel" if len(lines) > 1 else "bcancel" if lines[0] == "0" else "cancel"


_PIECES = (
    ("⎛⎜⎝", "("), ("⎞⎟⎠", ")"), ("⎧⎨⎩", "\\{"), ("⎫⎬⎭", "\\}"), ("⎡", "["), ("⎤", "]"), ("⎣", "["), ("⎦", "]"),
)  # fmt: skip


def delimiter(node: Node, names: frozenset[str], opening: bool) -> str:
    """The bracket that a ``delimsizing`` element shows, as text or built of pieces or drawn."""
    text = node.text().replace("\u200b", "").strip()
    if "mult" in names or len(text) > 1:
        return _built(node, text, opening)
    return latex(text).strip() or "."


def _built(node: Node, text: str, opening: bool) -> str:
    letters = set(text)
    if letters & set("⎢⎥") and not (letters & set("⎡⎤") and letters & set("⎣⎦")):
        side = "l" if "⎢" in letters else "r"
        return f"\\{side}ceil" if letters & set("⎡⎤") else f"\\{side}floor"
    for pieces, sign in _PIECES:
        if letters & set(pieces):
            return sign
    if letters and letters <= set("∣|"):
        return "|"
    if letters and letters <= set("∥‖"):
        return "\\|"
    for char, name in (("↑", "uparrow"), ("↓", "downarrow"), ("⇑", "Uparrow"), ("⇓", "Downarrow")):
        if char in letters:
            return f"\\{name}"
    return _drawn(node, opening)


def _drawn(node: Node, opening: bool) -> str:
    path = (_paths(node) or [""])[0]
    if path.startswith(("M863", "M76,")):
        return "(" if path.startswith("M863") else ")"
    if path.startswith("M319 602"):
        return "\\lfloor" if opening else "\\rfloor"
    if path.startswith(("M403 1759", "M347 1759")):
        side = "l" if path.startswith("M403") else "r"
        square = "v84" in path.replace(" ", "")
        return ("[" if side == "l" else "]") if square else f"\\{side}ceil"
    if path.startswith("M145 15"):
        return "\\|" if "M367" in path else "|"
    return "(" if opening else ")"


def bracket(node: Node, opening: bool) -> str:
    """The bracket of a ``mopen`` or ``mclose`` element; ``.`` when it shows none."""
    if "nulldelimiter" in node.tag:
        return "."
    sized = next((kid for kid in node.elements() if "delimsizing" in kid.tag), None)
    if sized is not None:
        return delimiter(sized, style_of(sized.tag).classes, opening)
    text = latex(node.text().replace("\u200b", "").strip()).strip()
    return {"\\mid": "|", "\\parallel": "\\|", "\\backslash": "\\backslash"}.get(text, text) or "."


def only_table(inside: list[Node], style: Callable[[str], Style]) -> Node | None:
    """The table that is all there is between two brackets."""
    while len(inside) == 1:
        node = inside[0]
        if "mtable" in style(node.tag).classes:
            return node
        if "mord" not in style(node.tag).classes:
            return None
        inside = node.elements()
    return None


_MATRICES = {
    ("(", ")"): "pmatrix", ("[", "]"): "bmatrix", ("|", "|"): "vmatrix", ("\\|", "\\|"): "Vmatrix", ("\\{",
    "\\}"): "Bmatrix",
}  # fmt: skip


def environment(fences: tuple[str, str] | None, aligns: str, padded: bool) -> str | None:
    """Which environment makes a table with these brackets, alignments and outer spaces; ``None``: not one with
    brackets."""
    if fences is not None:
        if padded:
            return None
        if fences == ("\\{", "."):
            return "cases" if set(aligns) <= {"l"} else None
        if fences == (".", "\\}"):
            return "rcases" if set(aligns) <= {"l"} else None
        return _MATRICES.get(fences) if set(aligns) <= {"c"} else None
    if padded:
        return "array"
    if "r" in aligns and set(aligns) <= {"r", "l"}:
        return "aligned"
    if set(aligns) <= {"c"}:
        return "matrix" if len(aligns) > 1 else "gathered"
    return "array"

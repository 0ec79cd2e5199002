"""Tables for MathML: fonts, operators and their spacing, brackets, environments."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from llemma.extract.markup import Node
from llemma.extract.symbols import latex
from llemma.extract.words import word_set, words

TEX_ENCODINGS = word_set(
    "application/x-tex application/x-latex tex latex application/tex application/latex text/x-tex text/tex text/latex"
)
FONTS = {
    "normal": "mathrm", "bold": "mathbf", "bold-italic": "boldsymbol", "double-struck": "mathbb", "fraktur": "mathfrak",
    "bold-fraktur": "mathfrak", "script": "mathcal", "bold-script": "mathcal", "sans-serif": "mathsf",
    "bold-sans-serif": "mathsf", "sans-serif-italic": "mathsf", "monospace": "mathtt",
}  # fmt: skip
NO_COMMAND = word_set("sh ch th cth arctg ctg tg cotg cosec")  # not everywhere a command
SINGLE = re.compile(
    r"[^\\{}^_'\s]|\d+(?:\.\d+)?|\\[a-zA-Z]+|\\[{}#$%&_|]|\\(?:math[a-z]+|boldsymbol|operatorname|text|sqrt)\{[^{}]*\}|\{[^{}]*\}"
)
TALL = re.compile(
    r"\\(?:frac|sqrt|sum|prod|int|oint|iint|begin|binom|atop|over|underset|bigcup|bigcap|left|lim)(?![a-z])|\^\{[^}]*\^"
)
WORDS = {
    "lim sup": "\\limsup ", "lim inf": "\\liminf ", "mod": "\\bmod ", "||": "\\|", "->": "\\to ", "<-": "\\leftarrow ",
    "=>": "\\Rightarrow ", "<=>": "\\Leftrightarrow ", ":=": " := ", "<=": "\\leq ", ">=": "\\geq ", "!=": "\\neq ",
    "...": "\\ldots ", "&&": "\\land ", "==": " == ", "++": "++", "--": "--", "**": "**", "//": "//", "!!": "!!",
    "lim": "\\lim ",
}  # fmt: skip
RELATIONS = frozenset("=<>≤≥≠≡≈≅≃∼∝∈∉∋⊂⊃⊆⊇⊄⊊⊋⊢⊨≪≫≺≻⪯⪰→←↔⇒⇐⇔⟶⟵⟹⟺↦⟼∣∥⊥≔≜∧∨⟷⩽⩾")
INFIX = frozenset("+-−±∓×÷·⋅∗∘⊕⊗⊖⊙∪∩∖/⊔⊓⋆•")
ENDS_OPEN = re.compile(
    r"(?:[(\[{=<>+\-,;:|]|\\(?:leq|geq|to|in|times|cdot|pm|left\S*|quad|neq|equiv|mid|Rightarrow)) ?$"
)
FENCES = frozenset(("(", "[", "{", "|", "‖", "∥", "⟨", "⌈", "⌊", "〈", "||", "∣", "⟦"))
CLOSERS = frozenset((")", "]", "}", "|", "‖", "∥", "⟩", "⌉", "⌋", "〉", "||", "∣", "⟧", "(", "["))

BIG_OPERATORS = frozenset(
    f"\\{name}"
    for name in words("""sum prod coprod bigcap bigcup bigvee bigwedge bigoplus bigotimes bigodot biguplus bigsqcup
    lim liminf
    limsup max min sup inf det gcd Pr injlim projlim arg""")
)
INTEGRALS = frozenset(f"\\{name}" for name in words("int iint iiint oint oiint oiiint"))
LONG_ARROWS = {
    "\\rightarrow": "xrightarrow", "\\to": "xrightarrow", "\\leftarrow": "xleftarrow",
    "\\longrightarrow": "xrightarrow",
    "\\Rightarrow": "xRightarrow", "\\Leftarrow": "xLeftarrow", "\\leftrightarrow": "xleftrightarrow",
    "\\mapsto": "xmapsto", "\\hookrightarrow": "xhookrightarrow", "\\longleftarrow": "xleftarrow",
}  # fmt: skip
ENCLOSURES = {
    "box": "\\boxed{%s}", "roundedbox": "\\boxed{%s}", "circle": "\\boxed{%s}", "radical": "\\sqrt{%s}",
    "updiagonalstrike": "\\cancel{%s}", "downdiagonalstrike": "\\bcancel{%s}", "horizontalstrike": "\\sout{%s}",
    "top": "\\overline{%s}", "bottom": "\\underline{%s}", "left": "|%s", "right": "%s|", "longdiv": "\\overline{)%s}",
    "actuarial": "\\overline{%s|}",
}  # fmt: skip
_NAMED = {"veryverythin": 0.06, "verythin": 0.11, "thin": 0.17, "medium": 0.22, "thick": 0.28, "verythick": 0.33}
_LENGTH = re.compile(r"\s*(-?[\d.]+)\s*(em|ex|px|pt|mu|cm|mm|in)?")
_EM = {"em": 1.0, "ex": 0.43, "px": 0.06, "pt": 0.1, "mu": 1 / 18, "cm": 2.8, "mm": 0.28, "in": 7.2, "": 1.0}


def space(width: str) -> str:
    """A horizontal space of a MathML length."""
    name = width.removesuffix("mathspace")
    found = _LENGTH.match(width)
    em = _NAMED.get(name) if name in _NAMED else None
    if em is None and found and found[1].strip(".-"):
        try:
            em = float(found[1]) * _EM[found[2] or ""]
        except ValueError:
            em = 0.0
    em = em or 0.0
    for least, tex in ((1.9, "\\qquad "), (0.9, "\\quad "), (0.4, "\\ "), (0.25, "\\;"), (0.2, "\\:"), (0.1, "\\,")):
        if em >= least:
            return tex
    return "\\!" if em <= -0.1 else ""


def lone_table(item: Node | str) -> Node | None:
    """The table that is all there is in an element."""
    node = item
    while isinstance(node, Node):
        if node.name == "mtable":
            return node
        kids = [kid for kid in node.children if isinstance(kid, Node) or kid.strip()]
        if node.name not in ("mrow", "mstyle", "mpadded", "semantics") or len(kids) != 1:
            return None
        node = kids[0]
    return None


def closes(items: Sequence[Node | str], place: int) -> bool:
    """Whether a closing bracket stands two places on."""
    closer = items[place + 2] if place + 2 < len(items) else None
    return isinstance(closer, Node) and closer.name == "mo" and closer.text().strip() in CLOSERS


def alignment(given: str, width: int) -> str:
    """Column letters from a ``columnalign`` attribute; the last one goes on."""
    letters = [{"left": "l", "right": "r"}.get(word, "c") for word in given.split()] or ["c"]
    return "".join((letters + [letters[-1]] * width)[:width]) or "c"


def with_lines(letters: str, lines: str) -> str:
    """Column letters with the lines between them."""
    marks = lines.split() or ["none"]
    marks += [marks[-1]] * len(letters)
    return "".join(
        letter + ("|" if place < len(letters) - 1 and marks[place] in ("solid", "dashed") else "")
        for place, letter in enumerate(letters)
    )


def with_rules(rows: list[str], lines: str) -> str:
    """Rows with the rules between them."""
    marks = lines.split() or ["none"]
    marks += [marks[-1]] * len(rows)
    out = ""
    for place, row in enumerate(rows):
        last = place == len(rows) - 1
        out += row if last else f"{row} \\\\ " + ("\\hline " if marks[place] in ("solid", "dashed") else "")
    return out


_MATRICES = {
    ("(", ")"): "pmatrix", ("[", "]"): "bmatrix", ("|", "|"): "vmatrix", ("∣", "∣"): "vmatrix", ("‖", "‖"): "Vmatrix",
    ("∥", "∥"): "Vmatrix", ("{", "}"): "Bmatrix", ("||", "||"): "Vmatrix",
}  # fmt: skip


def environment(fences: tuple[str, str] | None, letters: str, width: int) -> str:
    """The environment for a table with these brackets and alignments."""
    plain = set(letters) <= {"c"}
    if fences and fences[0] == "{" and fences[1] == "" and width <= 2:
        return "cases"
    if fences and fences in _MATRICES and (plain or width == 1):
        return _MATRICES[fences]
    if plain:
        return "matrix"
    if "r" in letters and all(a != b for a, b in itertools.pairwise(letters)) and "c" not in letters:
        return "aligned"
    return "array"


def pair(left: str, right: str, inside: str, *, stretched: bool) -> str:
    """Something in brackets; an absent bracket is ``.`` where they stretch."""
    left, right = (_fence(sign) for sign in (left, right))
    if stretched:
        return f"\\left{left or '.'} {inside} \\right{right or '.'}"
    return f"{left}{' ' if left.startswith(chr(92)) and left[-1].isalpha() else ''}{inside}{right}"


def _fence(sign: str) -> str:
    sign = sign.strip()
    tex = {"{": "\\{", "}": "\\}", "‖": "\\|", "∥": "\\|", "||": "\\|", "∣": "|", "⟦": "[", "⟧": "]"}.get(sign)
    return tex if tex is not None else latex(sign).strip()

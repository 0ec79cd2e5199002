"""Presentation MathML to LaTeX.

Works on names without prefixes (``m:math`` is ``math``). Semantics come as written: an ``annotation`` in TeX is the
caller's business, this file reads the presentation. What has no counterpart in LaTeX (sizes, colours) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from llemma.extract import mathml_parts as parts
from llemma.extract.markup import Node
from llemma.extract.symbols import ACCENTS, FUNCTIONS, UNDER, latex, text_mode

_DEEPEST = 90
_SPACES = re.compile(r"\s+")
_LOOSE = re.compile(r"(\\[a-zA-Z]+) (?=[)\]}^_,.|])")  # a space that separates a command from nothing
_BINOMIAL = re.compile(r"(?:\\left)?\( ?\{((?:[^{}]|\{[^{}]*\})*) \\atop ((?:[^{}]|\{[^{}]*\})*)\} ?(?:\\right)?\)")
_SCRIPTED = re.compile(r"[\^_']")


class MathmlError(ValueError):
    """The element cannot be read; the message says why."""


def mathml_latex(math: Node) -> str:
    """The LaTeX of a ``math`` element. Raises MathmlError when it is empty or nested too deep."""
    tex = _SPACES.sub(" ", _row(math.children, 0)).strip()
    if "\\atop" in tex:
        tex = _BINOMIAL.sub(r"\\binom{\1}{\2}", tex)
    tex = _LOOSE.sub(r"\1", tex)
    if not tex or tex in ("{}", "^{}", "_{}"):
        raise MathmlError("nothing in it")
    return tex


def is_display(math: Node) -> bool:
    """Whether a ``math`` element stands on a line of its own."""
    return math.get("display") == "block" or math.get("mode") == "display"


def annotation(math: Node) -> str:
    """The TeX that a ``math`` element carries as an annotation; empty when there is none."""
    stack = [math]
    while stack:
        node = stack.pop()
        if node.name == "annotation" and node.get("encoding").lower() in parts.TEX_ENCODINGS:
            return node.text()
        stack.extend(reversed(node.elements()))
    return ""


def _row(children: Sequence[Node | str], depth: int) -> str:
    """A row: brackets around a table become its environment, spaces go around infix operators."""
    if depth > _DEEPEST:
        raise MathmlError("nested too deep")
    items = [kid for kid in children if isinstance(kid, Node) or kid.strip()]
    out: list[str] = []
    place = 0
    while place < len(items):
        item = items[place]
        if isinstance(item, str):
            out.append(latex(item.strip()))
        elif fenced := _fenced_table(items, place, depth):
            out.append(fenced)
            place += 2 if parts.closes(items, place) else 1
        elif item.name == "mo":
            out.append(_operator(item, out, place == len(items) - 1))
        else:
            out.append(_element(item, depth + 1))
        place += 1
    return "".join(out)


def _fenced_table(items: Sequence[Node | str], place: int, depth: int) -> str:
    """``( table )`` at this place as an environment of its own, else nothing."""
    opener = items[place]
    if not isinstance(opener, Node) or opener.name != "mo" or place + 1 >= len(items):
        return ""
    left = opener.text().strip()
    table = parts.lone_table(items[place + 1])
    if table is None or left not in parts.FENCES:
        return ""
    right = ""
    if parts.closes(items, place):
        closer = items[place + 2]
        assert isinstance(closer, Node)
        right = closer.text().strip()
    elif left != "{" or place + 2 < len(items):
        return ""
    return _table(table, depth + 1, (left, right))


def _element(node: Node, depth: int) -> str:
    """Any element but an operator in its row."""
    if depth > _DEEPEST:
        raise MathmlError("nested too deep")
    read = _READERS.get(node.name)
    if read is not None:
        return read(node, depth)
    if node.name in ("annotation", "annotation-xml", "mprescripts", "none", "malignmark", "maligngroup", "script"):
        return ""
    return _row(node.children, depth)


def _group(node: Node | str | None, depth: int) -> str:
    """An argument: the content without outer spaces."""
    if node is None:
        return ""
    if isinstance(node, str):
        return latex(node.strip())
    if node.name == "mo":
        return _operator(node, [], True).strip()
    return _SPACES.sub(" ", _element(node, depth + 1)).strip()


def _base(node: Node | None, depth: int) -> str:
    """What scripts hang on: in braces unless it is one thing."""
    tex = _group(node, depth)
    if not tex:
        return "{}"
    if _SCRIPTED.search(tex) is None and (parts.SINGLE.fullmatch(tex) or tex.startswith("\\left")):
        return tex
    return tex if parts.SINGLE.fullmatch(tex) else f"{{{tex}}}"


def _kids(node: Node, count: int) -> list[Node | None]:
    found: list[Node | None] = [*node.elements()[:count]]
    return found + [None] * (count - len(found))


def _identifier(node: Node, depth: int) -> str:
    if node.elements():
        return _row(node.children, depth)
    text = _SPACES.sub(" ", node.text().strip(" \t\r\n"))
    text = text.strip() or text
    variant = node.get("mathvariant")
    if len(text) > 1 and text.isalpha() and text.isascii():
        if text in FUNCTIONS and text not in parts.NO_COMMAND:
            return f"\\{text} "
        font = parts.FONTS.get(variant, "mathrm")
        return f"\\{font}{{{text}}}" if variant != "italic" else f"\\mathit{{{text}}}"
    if text in ("lim sup", "lim inf"):
        return f"\\{text.replace(' ', '')} "
    tex = latex(text)
    if not tex.strip():
        return tex
    if " " in text and text.replace(" ", "").isalpha():
        return f"\\text{{{text_mode(text)}}}"
    if variant in parts.FONTS and text.isalnum() and (text.isascii() or variant.startswith("bold")):
        font = parts.FONTS[variant]
        if font != "mathrm" or text.isalpha():
            return f"\\{font if text.isascii() or font != 'mathbf' else 'boldsymbol'}{{{tex.strip()}}}"
    return tex


def _number(node: Node, depth: int) -> str:
    text = "".join(node.text().split())
    font = parts.FONTS.get(node.get("mathvariant"))
    return f"\\{font}{{{latex(text)}}}" if font and font != "mathrm" else latex(text)


def _operator(node: Node, before: list[str], last: bool) -> str:
    """An operator; ``before`` is the row so far, which tells a sign from a subtraction."""
    text = node.text()
    if node.elements():
        return _row(node.children, 1)
    stripped = text.strip(" \t\r\n\xa0")
    if not stripped:
        return "\\ " if "\xa0" in text else ""
    if len(stripped) > 1:
        if stripped in parts.WORDS:
            return parts.WORDS[stripped]
        if stripped.isalpha() and stripped.isascii():
            return f"\\{stripped} " if stripped in FUNCTIONS else f" \\operatorname{{{stripped}}} "
    if stripped in "{}":
        return f"\\{stripped}"
    if stripped in ("|", "∣", "❘", "│"):
        return "|" if node.get("stretchy") or not before or last else " \\mid " if stripped == "∣" else "|"
    if stripped in ("‖", "∥") and (not before or last or node.get("fence")):
        return "\\|"
    if before and set(stripped) <= set("′'"):
        return "'" * len(stripped)
    tex = latex(stripped)
    if stripped in parts.RELATIONS:
        return f" {tex.strip()} "
    if stripped in parts.INFIX and "".join(before).strip() and not last:
        return tex if parts.ENDS_OPEN.search("".join(before[-2:])) else f" {tex.strip()} "
    return tex if stripped != "," else ", "


def _words(node: Node, depth: int) -> str:
    """``mtext``: words, or spaces somebody typed, or a symbol."""
    if node.elements():
        return "".join(
            _element(kid, depth) if isinstance(kid, Node) else (f"\\text{{{text_mode(kid)}}}" if kid.strip() else "")
            for kid in node.children
        )
    text = _SPACES.sub(" ", node.text().replace("\u2003", "\xa0"))
    if not text.replace("\xa0", "").strip():
        return "\\quad " if "\xa0\xa0" in text else "\\ " if text else ""
    if any(char.isalnum() for char in text) or text.isascii():
        font = {"bold": "textbf", "italic": "textit", "monospace": "texttt", "sans-serif": "textsf"}
        return f"\\{font.get(node.get('mathvariant'), 'text')}{{{text_mode(text)}}}"
    return latex(text.strip())


def _string(node: Node, depth: int) -> str:
    return f'\\text{{"{text_mode(node.text())}"}}'


def _fraction(node: Node, depth: int) -> str:
    above, below = (_group(kid, depth) for kid in _kids(node, 2))
    if node.get("linethickness").strip() in ("0", "0px", "0pt", "0em"):
        return f"{{{above} \\atop {below}}}"
    if node.get("bevelled") == "true":
        return f"{{{above}}}/{{{below}}}"
    return f"\\frac{{{above}}}{{{below}}}"


def _square_root(node: Node, depth: int) -> str:
    return f"\\sqrt{{{_row(node.children, depth).strip()}}}"


def _root(node: Node, depth: int) -> str:
    inside, order = (_group(kid, depth) for kid in _kids(node, 2))
    return f"\\sqrt[{order}]{{{inside}}}" if order else f"\\sqrt{{{inside}}}"


def _script(mark: str) -> Callable[[Node, int], str]:
    def read(node: Node, depth: int) -> str:
        base, script = _kids(node, 2)
        tex = _group(script, depth)
        if mark == "^" and tex and set(tex.replace("\\prime", "'").replace(" ", "")) == {"'"}:
            return _base(base, depth) + tex.replace("\\prime", "'").replace(" ", "")
        return _base(base, depth) + (f"{mark}{_argument(tex)}" if tex else "")

    return read


def _argument(tex: str) -> str:
    return tex if len(tex) == 1 and tex.isalnum() else f"{{{tex}}}"


def _both(node: Node, depth: int) -> str:
    base, sub, sup = _kids(node, 3)
    below, above = _group(sub, depth), _group(sup, depth)
    primes = ""
    if above and set(above.replace("\\prime", "'").replace(" ", "")) == {"'"}:
        primes, above = above.replace("\\prime", "'").replace(" ", ""), ""
    scripts = (f"_{_argument(below)}" if below else "") + (f"^{_argument(above)}" if above else "")
    return _base(base, depth) + primes + scripts


def _over(node: Node, depth: int) -> str:
    base, over = _kids(node, 2)
    inside = _group(base, depth)
    sign = over.text().strip() if over is not None else ""
    if over is not None and over.name in ("mo", "mi", "mtext", "mrow") and sign in ACCENTS:
        narrow, wide = ACCENTS[sign]
        stretch = len(inside) > 1 and not re.fullmatch(r"\\[a-zA-Z]+|\\math[a-z]+\{\w\}", inside)
        return f"\\{wide if stretch else narrow}{{{inside}}}"
    return _stacked(inside, "", _group(over, depth), base)


def _under(node: Node, depth: int) -> str:
    base, under = _kids(node, 2)
    inside = _group(base, depth)
    sign = under.text().strip() if under is not None else ""
    if under is not None and under.name == "mo" and sign in UNDER:
        return f"\\{UNDER[sign]}{{{inside}}}"
    return _stacked(inside, _group(under, depth), "", base)


def _under_over(node: Node, depth: int) -> str:
    base, under, over = _kids(node, 3)
    return _stacked(_group(base, depth), _group(under, depth), _group(over, depth), base)


def _stacked(base: str, under: str, over: str, node: Node | None) -> str:
    """Something over and under a base: limits of an operator, text on an arrow, a note on a brace, or just that."""
    scripts = (f"_{_argument(under)}" if under else "") + (f"^{_argument(over)}" if over else "")
    if not scripts:
        return base
    if base in parts.BIG_OPERATORS or base.startswith(("\\underbrace", "\\overbrace", "\\operatorname*")):
        return base + scripts
    if base in parts.INTEGRALS:
        return f"{base}\\limits{scripts}"
    if (arrow := parts.LONG_ARROWS.get(base)) and over:
        return f"\\{arrow}[{under}]{{{over}}}" if under else f"\\{arrow}{{{over}}}"
    named = re.fullmatch(r"\\(?:operatorname|mathrm|text)\{ ?([a-zA-Z ]{2,}) ?\}", base) if under and not over else None
    if named:
        return f"\\operatorname*{{{named[1].replace(' ', chr(92) + ' ')}}}{scripts}"
    if under and over:
        return f"\\overset{{{over}}}{{\\underset{{{under}}}{{{base}}}}}"
    return f"\\underset{{{under}}}{{{base}}}" if under else f"\\overset{{{over}}}{{{base}}}"


def _multiscripts(node: Node, depth: int) -> str:
    kids = node.elements()
    split = next((i for i, kid in enumerate(kids) if kid.name == "mprescripts"), len(kids))
    base = _base(kids[0], depth) if kids else "{}"

    def scripts(pairs: list[Node]) -> str:
        out = ""
        for sub, sup in zip(pairs[::2], [*pairs[1::2], None], strict=False):
            low, high = _group(sub, depth), _group(sup, depth)
            out += ("{}" if out else "") + (f"_{{{low}}}" if low else "") + (f"^{{{high}}}" if high else "")
        return out

    before = scripts(kids[split + 1 :])
    return (f"{{}}{before}" if before else "") + base + scripts(kids[1:split])


def _fenced(node: Node, depth: int) -> str:
    left = node.get("open") if ' open="' in node.tag else "("
    right = node.get("close") if ' close="' in node.tag else ")"
    marks = node.get("separators") if ' separators="' in node.tag else ","
    marks = "".join(marks.split())
    kids = node.elements()
    if len(kids) == 1 and (table := parts.lone_table(kids[0])) is not None:
        return _table(table, depth, (left, right))
    out = ""
    for place, kid in enumerate(kids):
        if place and marks:
            out += marks[min(place, len(marks)) - 1] + " "
        out += _group(kid, depth)
    tall = parts.TALL.search(out)
    return parts.pair(left, right, out, stretched=bool(tall))


def _table(node: Node, depth: int, fences: tuple[str, str] | None = None) -> str:
    """A table as the environment that suits its brackets, alignment and lines."""
    rows = [kid for kid in node.elements() if kid.name in ("mtr", "mlabeledtr")]
    cells: list[list[str]] = []
    for row in rows:
        columns = [kid for kid in row.elements() if kid.name == "mtd"]
        label = ""
        if row.name == "mlabeledtr" and columns:
            label, columns = _row(columns[0].children, depth + 1).strip(), columns[1:]
        texts = [_row(cell.children, depth + 1).strip() for cell in columns]
        if label and texts:
            texts[-1] += f" \\qquad {label}"
        cells.append(texts)
    width = max(map(len, cells), default=0)
    letters = parts.alignment(node.get("columnalign"), width)
    lines = node.get("columnlines")
    body = " \\\\ ".join(" & ".join(row) for row in cells)
    if "solid" in lines or "dashed" in lines or "solid" in node.get("rowlines"):
        columns_text = parts.with_lines(letters, lines)
        body = parts.with_rules([" & ".join(row) for row in cells], node.get("rowlines"))
        inside = f"\\begin{{array}}{{{columns_text}}} {body} \\end{{array}}"
        return parts.pair(*fences, inside, stretched=True) if fences else inside
    name = parts.environment(fences, letters, width)
    given = f"{{{letters}}}" if name == "array" else ""
    inside = f"\\begin{{{name}}}{given} {body} \\end{{{name}}}"
    if fences and name in ("array", "aligned", "matrix"):
        return parts.pair(*fences, inside, stretched=True)
    return inside


def _enclosed(node: Node, depth: int) -> str:
    inside = _row(node.children, depth).strip()
    notations = node.get("notation").split() or ["longdiv"]
    if {"updiagonalstrike", "downdiagonalstrike"} <= set(notations):
        return f"\\xcancel{{{inside}}}"
    for notation in notations:
        if notation in parts.ENCLOSURES:
            return parts.ENCLOSURES[notation] % inside
    return inside


def _phantom(node: Node, depth: int) -> str:
    inside = _row(node.children, depth).strip()
    return f"\\phantom{{{inside}}}" if inside else ""


def _space(node: Node, depth: int) -> str:
    if node.get("linebreak") == "newline":
        return "\\\\ "
    return parts.space(node.get("width"))


def _first(node: Node, depth: int) -> str:
    kids = node.elements()
    return _element(kids[0], depth) if kids else latex(node.text().strip())


def _semantics(node: Node, depth: int) -> str:
    kids = [kid for kid in node.elements() if not kid.name.startswith("annotation")]
    return _row(kids, depth)


def _fences_of_row(node: Node, depth: int) -> str:
    """``mrow``: brackets at both ends stretch when what is between them is tall."""
    items = [kid for kid in node.children if isinstance(kid, Node) or kid.strip()]
    if len(items) >= 3 and isinstance(items[0], Node) and isinstance(items[-1], Node):
        left, right = items[0], items[-1]
        if left.name == right.name == "mo" and "false" not in (left.get("stretchy"), right.get("stretchy")):
            opening, closing = left.text().strip(), right.text().strip()
            if opening in parts.FENCES and closing in parts.CLOSERS and not _fenced_table(items, 0, depth):
                inside = _row(items[1:-1], depth + 1).strip()
                return parts.pair(opening, closing, inside, stretched=bool(parts.TALL.search(inside)))
    return _row(items, depth)


_READERS: dict[str, Callable[[Node, int], str]] = {
    "mi": _identifier, "mn": _number, "mtext": _words, "ms": _string, "mfrac": _fraction, "msqrt": _square_root,
    "mo": lambda node, depth: _operator(node, [], True),
    "mroot": _root, "msub": _script("_"), "msup": _script("^"), "msubsup": _both, "mover": _over, "munder": _under,
    "munderover": _under_over, "mmultiscripts": _multiscripts, "mfenced": _fenced, "mtable": _table,
    "menclose": _enclosed, "mphantom": _phantom, "mspace": _space, "maction": _first, "semantics": _semantics,
    "mrow": _fences_of_row,
    "mglyph": lambda node, depth: f"\\text{{{text_mode(node.get('alt'))}}}",
}  # fmt: skip

"""KaTeX's HTML back to LaTeX, for pages that were rendered without the source beside.

Reads what the spans mean (their classes, the heights at which they hang, the paths of stretched signs), for KaTeX from
0.7 to 0.19. What the rendering does not show cannot come back: macros, colours, and spaces that TeX would put itself.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import NamedTuple

from llemma.extract import katex_parts as parts
from llemma.extract.markup import Node
from llemma.extract.symbols import FUNCTIONS, latex, text_mode
from llemma.extract.words import word_set

_DEEPEST = 180  # spans inside spans that are rows; a formula that people write has less than 100


class KatexError(ValueError):
    """The rendering cannot be read; the message says why."""


class Atom(NamedTuple):
    """A piece of a row: its class (``mord``, ``mop``, …) and its LaTeX."""

    kind: str
    tex: str


_SPACED = {"mrel": " %s ", "mbin": " %s ", "mpunct": "%s "}  # as people write them
_KINDS = word_set("mord mop mbin mrel mopen mclose mpunct minner mspace")
_MAY_BE_SIZED = word_set("mopen mclose mrel mord")
_FONTS = {
    "mathbf": "mathbf", "mathit": "mathit", "mathrm": "mathrm", "mathsf": "mathsf", "mathtt": "mathtt",
    "mathbb": "mathbb", "amsrm": "mathbb", "mathcal": "mathcal", "mathfrak": "mathfrak", "mathscr": "mathscr",
    "boldsymbol": "boldsymbol", "mathboldsf": "mathbf",
}  # fmt: skip
_TAKES_LIMITS = re.compile(rf"\\operatorname|\\(?:{'|'.join(parts.WITH_LIMITS)})\b")
_TEXT_FONTS = {"textbf": "textbf", "textit": "textit", "texttt": "texttt", "textsf": "textsf", "mainrm": "text"}
_SINGLE = re.compile(r"[^\\{}^_']|\\[a-zA-Z]+ ?|\\[{}#$%&_|]|\\[a-zA-Z]+\{[^{}]*\}")
_BARS = {"|": "\\mid ", "\\|": "\\parallel "}
_REWRITTEN = (
    (re.compile(r"\\not ?="), r"\\neq "),
    (re.compile(r"\\not ?\\in(?![a-zA-Z])"), r"\\notin"),
    (re.compile(r"(?:\\quad |\\ )*\(\\mathrm\{mod\}(?:\\[,;:]|\\ )*((?:[^(){}]|\{[^{}]*\})*)\)"), r" \\pmod{\1}"),
)


@functools.lru_cache(maxsize=8192)
def style_of(tag: str) -> parts.Style:
    """Classes and measures of a start tag, looked up after the first time."""
    return parts.style_of(tag)


def katex_latex(root: Node) -> str:
    """The LaTeX of a ``katex-html`` element. Raises KatexError when there is nothing in it or it is nested too deep."""
    tex = " ".join(_join(_atoms(root.children, 0)).split())
    if "\\not" in tex or "mod}" in tex:
        for written, meant in _REWRITTEN:
            tex = written.sub(meant, tex)
    if tex.count("{") != tex.count("}") and not re.search(r"\\[{}]", tex):
        raise KatexError("braces do not pair up")
    if not tex:
        raise KatexError("nothing in it")
    return tex


def _join(atoms: list[Atom]) -> str:
    """Atoms in a row; spaces only where the class of both neighbours shows that somebody wrote them."""
    out: list[str] = []
    for place, atom in enumerate(atoms):
        if atom.kind in _SPACED:
            out.append(_SPACED[atom.kind] % atom.tex.strip())
            continue
        if atom.kind != "mspace":
            out.append(atom.tex)
            continue
        if atom.tex in parts.THIN:  # TeX puts these itself around operators, relations and punctuation
            before = atoms[place - 1].kind if place else ""
            after = atoms[place + 1].kind if place + 1 < len(atoms) else ""
            if before in ("mord", "mclose") and after in ("mord", "mopen"):
                out.append(atom.tex)
        else:
            out.append(atom.tex)
    return "".join(out)


def _atoms(children: list[Node | str], depth: int, text: bool = False) -> list[Atom]:
    """The atoms of a row of children; a binomial is put together here, as its brackets are siblings."""
    if depth > _DEEPEST:
        raise KatexError("nested too deep")
    atoms: list[Atom] = []
    for child in children:
        if isinstance(child, str):
            tex = text_mode(child) if text else _symbols(child)
            if tex:
                atoms.append(Atom("mord", tex))
            continue
        known = child.memo
        if known and known[0] is text:
            atoms.extend(known[1])
            continue
        found = _element(child, depth + 1, text)
        if known is not None:
            child.memo = (text, found)  # most spans hold one sign or nothing, and equal ones are one node
        atoms.extend(found)
    if len(atoms) == 3 and atoms[1].kind == "mfrac" and atoms[1].tex.startswith("\\atop"):
        return [Atom("mord", _binomial(atoms[0].tex, atoms[1].tex[5:], atoms[2].tex))]
    return atoms


def _symbols(text: str) -> str:
    """Characters of a row. A bar is taken for that of an absolute value; as a relation its element says so."""
    text = text.replace("\u200b", "").replace("∣", "|").replace("\ue020", "\x00").replace("∥", "\x01")
    return latex(text).replace("\x00", "\\not").replace("\x01", "\\|")


def _tex(node: Node, depth: int, text: bool = False) -> str:
    return _join(_atoms(node.children, depth, text))


def _element(node: Node, depth: int, text: bool) -> list[Atom]:
    """The atoms of one element."""
    style, silent, special, font, words = _role(node.tag)
    names = style.classes
    if silent or node.name in ("svg", "math", "annotation"):
        return []
    if style.hidden:
        return [Atom("mord", f"\\phantom{{{_tex(node, depth)}}}")]
    if "mspace" in names:
        return _space(node, style)
    if special:
        return _SPECIAL[special](node, style, depth)
    if "text" in names:
        return [Atom("mord", _text(node, style, depth))]
    if font and not text:
        inner = _tex(node, depth)
        return [Atom(_kind(names), f"\\{font}{{{inner.strip()}}}")] if inner else []
    if words and text:
        return [Atom("mord", f"\\{words}{{{_tex(node, depth, True)}}}" if words != "text" else _tex(node, depth, True))]
    if "delimsizing" in names:
        return [Atom("delim", parts.delimiter(node, names, "mclose" not in names))]
    return _group(node, names, depth, text)


class _Role(NamedTuple):
    """What the classes of a tag ask for, found out once."""

    style: parts.Style
    silent: bool
    special: str  # a class with a reader of its own
    font: str
    words: str


@functools.lru_cache(maxsize=8192)
def _role(tag: str) -> _Role:
    style = style_of(tag)
    names = style.classes
    special = next((name for name in names if name in _SPECIAL), "")
    font = next((_FONTS[name] for name in names if name in _FONTS), "")
    words = next((_TEXT_FONTS[name] for name in names if name in _TEXT_FONTS), "")
    return _Role(style, not names.isdisjoint(parts.SILENT), special, font, words)


def _group(node: Node, names: frozenset[str], depth: int, text: bool) -> list[Atom]:
    """An element that is a row of its own: brackets that stretch, scripts on a base, operators, or just a row."""
    kids = node.elements()
    if kids and "msupsub" in style_of(kids[-1].tag).classes:
        return [_scripts(node, names, depth)]
    if "base" in names and names.isdisjoint(_KINDS):
        return _atoms(node.children, depth, text)
    if len(kids) == 1 and not text and not names.isdisjoint(_MAY_BE_SIZED):
        size = style_of(kids[0].tag).classes
        if "delimsizing" in size and "mult" not in size:
            return [_sized(kids[0], names, size, depth)]
    if "delimcenter" in names:
        return [Atom("mopen" if "mopen" in names else "mclose", parts.bracket(node, "mopen" in names))]
    if "minner" in names and kids and _fences(kids):
        return [Atom("minner", _left_right(node, depth))]
    if "mop" in names:
        return [_operator(node, names, depth)]
    if len(kids) == 1 and (stack := _vlist(node)):
        return [Atom(_kind(names), parts_of_stack(node, stack, depth))]
    atoms = _atoms(node.children, depth, text)
    if names.isdisjoint(_KINDS):
        return atoms
    if len(atoms) == 1 and atoms[0].kind in ("mtable", "mfrac"):
        return atoms
    tex = _join(atoms)
    if "mbin" in names and tex == "\\mathrm{mod}":
        tex = "\\bmod"
    if "mrel" in names:
        tex = _BARS.get(tex, tex)
    return [Atom(_kind(names), tex)] if tex else []


@functools.lru_cache(maxsize=4096)
def _kind(names: frozenset[str]) -> str:
    kind = next((name for name in names if name in _KINDS), "mord")
    return "tight" if kind in _SPACED and "mtight" in names else kind


def _space(node: Node, style: parts.Style) -> list[Atom]:
    if "newline" in style.classes:
        return [Atom("mspace", "\\\\ ")]
    if node.text():
        return [Atom("mspace", "\\ ")]
    return [Atom("mspace", tex)] if (tex := parts.SPACES.get(style.right, "")) else []


def _is_text(node: Node) -> bool:
    """Whether an element inside ``\\text`` is text itself; what is not is a formula inside it."""
    names = style_of(node.tag).classes
    if "mspace" in names:
        return True
    if "mord" not in names or names & _SPECIAL.keys() or "mathnormal" in names:
        return False
    return all(isinstance(child, str) or _is_text(child) for child in node.children)


def _text(node: Node, style: parts.Style, depth: int) -> str:
    inner = ""
    for plain, group in itertools.groupby(node.children, lambda kid: isinstance(kid, str) or _is_text(kid)):
        tex = _join(_atoms(list(group), depth, plain))
        inner += tex if plain else f"\\({' '.join(tex.split())}\\)"
    if not inner.strip():
        return "\\ " if inner else ""
    command = next((_TEXT_FONTS[name] for name in style.classes if name in _TEXT_FONTS), "text")
    return f"\\{command}{{{inner}}}"


def _scripts(node: Node, names: frozenset[str], depth: int) -> Atom:
    """A base with its scripts; the base is every child but the last."""
    split = next(i for i in range(len(node.children) - 1, -1, -1) if isinstance(node.children[i], Node))
    scripts = node.children[split]
    assert isinstance(scripts, Node)
    atoms = _atoms(node.children[:split], depth)
    base = _join(atoms)
    kind = _kind(names)
    if kind == "mop" or (len(atoms) == 1 and atoms[0].kind == "mop"):
        base = _as_operator(base, node, limits=False)
    elif not base:
        base = "{}"
    elif not (len(atoms) == 1 and (_SINGLE.fullmatch(base) or base.startswith("\\left"))):
        base = f"{{{base}}}"
    sub = sup = ""
    for item in _vlist(scripts) or []:
        tex = _tex(item.node, depth).strip()
        if item.height < 0:
            sub = tex
        else:
            sup = tex
    return Atom(kind, base.rstrip() + _primes_and_scripts(sub, sup))


def _primes_and_scripts(sub: str, sup: str) -> str:
    primes = ""
    while sup.startswith("\\prime"):
        primes, sup = primes + "'", sup[6:].lstrip()
    return primes + (f"_{_argument(sub)}" if sub else "") + (f"^{_argument(sup)}" if sup else "")


def _argument(tex: str) -> str:
    return tex if len(tex) == 1 and tex.isalnum() else f"{{{tex}}}"


def _operator(node: Node, names: frozenset[str], depth: int) -> Atom:
    if "op-limits" in names:
        return Atom("mop", _limits(node, depth))
    kids = node.elements()
    if kids and all("mathrm" in style_of(kid.tag).classes for kid in kids):
        return Atom("mop", f"\\operatorname{{{_operator_name(node, depth)}}}")
    text = node.text().replace("\u200b", "")
    if text in FUNCTIONS:
        return Atom("mop", f"\\{text} ")
    if text.isascii() and text.isalpha() and len(text) > 1 and "mathnormal" not in names:
        return Atom("mop", f"\\operatorname{{{text}}}")
    return Atom("mop", _tex(node, depth))


def _operator_name(node: Node, depth: int) -> str:
    name = _tex(node, depth)
    return re.sub(r"\\mathrm\{([^{}]*)\}", r"\1", name)


def _as_operator(base: str, node: Node, *, limits: bool) -> str:
    base = base.strip()
    if limits and base.startswith("\\operatorname{"):
        return "\\operatorname*" + base[len("\\operatorname") :]
    if limits and base.startswith("\\") and "int" in base:
        return base + "\\limits"
    large = ("\\sum", "\\prod", "\\lim", "\\max", "\\min", "\\coprod", "\\sup", "\\inf")
    if not limits and base in large and "large-op" in node.elements()[0].tag:
        return base + "\\nolimits"
    return base


def _limits(node: Node, depth: int) -> str:
    """An operator with its limits above and below, or anything set over and under something."""
    base = over = under = ""
    for item in _vlist(node) or []:
        tex = _tex(item.node, depth).strip()
        if item.small and item.height > 0:
            over = tex
        elif item.small:
            under = tex
        else:
            base = tex
    if _TAKES_LIMITS.match(base):
        name = _as_operator(base, node, limits=True)
        return name + (f"_{_argument(under)}" if under else "") + (f"^{_argument(over)}" if over else "")
    if under and over:
        return f"\\overset{{{over}}}{{\\underset{{{under}}}{{{base}}}}}"
    return f"\\underset{{{under}}}{{{base}}}" if under else f"\\overset{{{over}}}{{{base}}}"


class Item(NamedTuple):
    """One entry of a vertical list: the height of its baseline (em), whether it is set small, its element."""

    height: float
    small: bool
    node: Node


def _vlist(node: Node) -> list[Item] | None:
    """The entries of the first vertical list directly in ``node``, lowest first; ``None`` without one."""
    row: Node | None = None
    for kid in node.children:
        if isinstance(kid, Node) and style_of(kid.tag).stack:
            row = kid
            if "vlist-t" in style_of(kid.tag).classes:  # vlist-t > vlist-r > vlist
                row = _first(_first(kid))
            break
    if row is None:
        return None
    items = []
    for entry in row.children:
        if isinstance(entry, Node):
            strut, small = 0.0, False
            for kid in entry.children:
                if isinstance(kid, Node):
                    style = style_of(kid.tag)
                    if style.strut:
                        strut = style.height
                    elif style.sizing:
                        small = True
            items.append(Item(-style_of(entry.tag).top - strut, small, entry))
    if len(items) > 1:
        items.sort(key=_height)
    return items


def _height(item: Item) -> float:
    return item.height


def _first(node: Node | None) -> Node | None:
    return next((kid for kid in node.children if isinstance(kid, Node)), None) if node is not None else None


def _fraction(node: Node, style: parts.Style, depth: int) -> list[Atom]:
    items = _vlist(node) or []
    values = [_tex(item.node, depth).strip() for item in items if "frac-line" not in parts.kid_tags(item.node)]
    if len(values) != 2:
        raise KatexError("a fraction without two parts")
    below, above = values
    if len(values) == len(items):
        return [Atom("mfrac", f"\\atop{above}\x00{below}")]
    return [Atom("mord", f"\\frac{{{above}}}{{{below}}}")]


def _binomial(left: str, inside: str, right: str) -> str:
    above, _, below = inside.partition("\x00")
    command = {("(", ")"): "binom", ("[", "]"): "brack", ("\\{", "\\}"): "brace"}.get((left, right))
    if command == "binom":
        return f"\\binom{{{above}}}{{{below}}}"
    if command:
        return f"{{{above} \\{command} {below}}}"
    return f"{left}{{{above} \\atop {below}}}{right}"


def _root(node: Node, style: parts.Style, depth: int) -> list[Atom]:
    index = next((kid for kid in node.elements() if "root" in style_of(kid.tag).classes), None)
    order = ""
    if index is not None:
        order = "".join(_tex(item.node, depth) for item in _vlist(index) or []).strip()
    inside = "".join(_tex(i.node, depth) for i in _vlist(node) or [] if "hide-tail" not in parts.kid_tags(i.node))
    return [Atom("mord", f"\\sqrt[{order}]{{{inside.strip()}}}" if order else f"\\sqrt{{{inside.strip()}}}")]


def _accent(node: Node, style: parts.Style, depth: int) -> list[Atom]:
    base, sign = "", ""
    under = "accentunder" in style.classes
    for item in _vlist(node) or []:
        tags = parts.kid_tags(item.node)
        if "accent-body" in tags or "svg-align" in item.node.tag or parts.has_svg(item.node):
            sign = parts.accent(item.node, under)
        else:
            base = _tex(item.node, depth).strip()
    return [Atom("mord", f"\\{sign or 'hat'}{{{base}}}")]


def _line(command: str) -> parts.Reader:
    def read(node: Node, style: parts.Style, depth: int) -> list[Atom]:
        inside = "".join(_tex(i.node, depth) for i in _vlist(node) or [] if "line" not in parts.kid_tags(i.node))
        return [Atom("mord", f"\\{command}{{{inside.strip()}}}")]

    return read


def _brace(node: Node, style: parts.Style, depth: int) -> list[Atom]:
    """A brace over or under something, then perhaps the note on it."""
    note = base = sign = ""
    for item in _vlist(node) or []:
        if parts.has_svg(item.node) and not parts.deep(item.node):
            sign = parts.stretched(item.node, "munder" in style.classes)
        elif item.small:
            note = _tex(item.node, depth).strip()
        else:
            base = _tex(item.node, depth).strip()
    tex = f"\\{sign}{{{base}}}" if sign else base
    if note:
        tex += f"_{{{note}}}" if "munder" in style.classes else f"^{{{note}}}"
    return [Atom("minner", tex)]


def _arrow(node: Node, style: parts.Style, depth: int) -> list[Atom]:
    sign, notes = "xrightarrow", ["", ""]
    seen = False
    for item in _vlist(node) or []:
        if parts.has_svg(item.node):
            sign, seen = parts.arrow(item.node), True
        elif item.small:
            notes[seen] = _tex(item.node, depth).strip()
    below, above = notes if seen else (notes[1], notes[0])
    return [Atom("mrel", f"\\{sign}[{below}]{{{above}}}" if below else f"\\{sign}{{{above}}}")]


def _sized(node: Node, names: frozenset[str], size: frozenset[str], depth: int) -> Atom:
    """A bracket of a fixed size: ``\\bigl(``, or one that ``\\left`` made of this size (its parent knows)."""
    sign = parts.delimiter(node, size, "mclose" not in names)
    kind = _kind(names)
    if "delimcenter" in names:
        return Atom(kind, sign)
    number = next((name[-1] for name in size if name.startswith("size")), "1")
    side = {"mopen": "l", "mclose": "r", "mrel": "m"}.get(kind, "")
    return Atom(kind, f"\\{parts.BIG.get(number, 'big')}{side}{sign}")


def _fences(kids: list[Node]) -> bool:
    first, last = style_of(kids[0].tag).classes, style_of(kids[-1].tag).classes
    return "mopen" in first and "mclose" in last


def _left_right(node: Node, depth: int) -> str:
    """``\\left( … \\right)``, or the matrix that has these brackets."""
    kids = node.elements()
    left, right = (parts.bracket(kid, opening) for kid, opening in ((kids[0], True), (kids[-1], False)))
    middle = [child for child in node.children if child is not kids[0] and child is not kids[-1]]
    inside = [kid for kid in middle if isinstance(kid, Node)]
    table = parts.only_table(inside, style_of)
    if table is not None:
        named = _matrix(table, depth, (left, right))
        if named is not None:
            return named
    return f"\\left{left} {_join(_atoms(middle, depth)).strip()} \\right{right}"


def _table(node: Node, style: parts.Style, depth: int) -> list[Atom]:
    tex = _matrix(node, depth, None)
    assert tex is not None
    return [Atom("mtable", tex)]


def _matrix(node: Node, depth: int, fences: tuple[str, str] | None) -> str | None:
    """The environment of a table; ``None`` when its brackets are not those of a known matrix."""
    columns: list[list[Item]] = []
    letters: list[str] = []
    padded, ruled = False, False
    kids = node.elements()
    for place, kid in enumerate(kids):
        names = style_of(kid.tag).classes
        align = next((name[-1] for name in names if name.startswith("col-align-")), None)
        if align:
            columns.append(sorted(_vlist(kid) or [], key=lambda item: -item.height))
            letters.append(align)
        elif "vertical-separator" in names:
            letters.append("|")
            ruled = True
        elif "arraycolsep" in names and place in (0, len(kids) - 1):
            padded = True
    rows = max(map(len, columns), default=0)
    lines = [
        " & ".join(_tex(column[r].node, depth).strip() if r < len(column) else "" for column in columns)
        for r in range(rows)
    ]
    body = " \\\\ ".join(line.rstrip() for line in lines)
    aligns = "".join(letters).replace("|", "")
    name, given = parts.environment(fences, aligns, padded or ruled), ""
    if name is None:
        return None
    if name == "array":
        given = f"{{{''.join(letters)}}}"
    return f"\\begin{{{name}}}{given} {body} \\end{{{name}}}"


def _tag(node: Node, style: parts.Style, depth: int) -> list[Atom]:
    text = node.text().replace("\u200b", "").strip()
    return [Atom("mspace", f"\\tag{{{text_mode(text.removeprefix('(').removesuffix(')'))}}}")] if text else []


def parts_of_stack(node: Node, stack: list[Item], depth: int) -> str:
    """A vertical list that no class explains: a box, something crossed out, a ruled table, or a plain stack."""
    texts = []
    for item in stack:
        tags = parts.kid_tags(item.node)
        if "boxpad" in tags:
            return f"\\boxed{{{_tex(item.node, depth).strip()}}}"
        if "hline" in tags or "hdashline" in tags or "fbox" in tags:
            continue
        texts.append(_tex(item.node, depth).strip())
    inside = " ".join(text for text in texts if text)
    crossed = next((sign for item in stack if (sign := parts.crossed(item.node))), None)
    return f"\\{crossed}{{{inside}}}" if crossed else inside


_SPECIAL: dict[str, parts.Reader] = {
    "mfrac": _fraction, "sqrt": _root, "accent": _accent, "accentunder": _accent, "overline": _line("overline"),
    "underline": _line("underline"), "mover": _brace, "munder": _brace, "x-arrow": _arrow, "mtable": _table,
    "tag": _tag,
}  # fmt: skip

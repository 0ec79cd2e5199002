r"""Reads a final answer, LaTeX or plain text, as a typed value: number, tuple, interval, set, matrix, equation, word, …

``read`` says what the answer is; whether two are equal is decided in ``llemma.grade.equal``. Nothing is evaluated and
nothing is run: the text is cut into tokens, grouped by its brackets, and each group is read as the one thing it can be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from llemma.grade.expr import Parser, is_unit
from llemma.grade.extract import strip
from llemma.grade.kinds import (
    EMPTY,
    REALS,
    Answer,
    Choice,
    Conditions,
    Group,
    Joined,
    Matrix,
    Named,
    Ratio,
    Relation,
    Value,
    Words,
)
from llemma.grade.latex import END, Refused, Token, normalise, tokens
from llemma.grade.limits import roomy
from llemma.grade.node import Node, has, number, tree, with_sign
from llemma.grade.vocabulary import CHANGES, LITTLE, NUMERALS, SCALES

MAX_ITEMS = 1_000  # of a list or matrix
_MAX_NESTING = 12
_MAX_WORDS = 24
_REMEMBERED = 200  # characters of a text whose reading is kept; longer ones would fill the memory


_NUMBER = re.compile(r"\$?\s*([+-]?)\s*(\d{1,15})(?:\.(\d{1,15}))?\.?\s*\$?", re.ASCII)
_FRACTION = re.compile(
    r"\$?\s*([+-]?)\s*(?:\\[dt]?frac\s*\{(\d{1,15})\}\s*\{(\d{1,15})\}|(\d{1,15})/(\d{1,15}))\.?\s*\$?", re.ASCII
)
_CHOICE = re.compile(
    r"(?:\(([A-Ja-j])\)|([A-Ja-j])\)|([A-J])(?:[.:](?=\s|$)|,(?=\s[a-z])))(?:\s+(\S.*))?|([A-J])|option\s+([A-J])",
    re.DOTALL,
)
_LONE_CHOICE = re.compile(
    r"\\(?:text(?:bf|rm|it)?|mathrm|mathbf|mbox)\s*\{\s*(?:\(?([A-Ja-j])\)?[.:]?\s*\}|\(([A-J])\)[.:]?\s*\}(.+))",
    re.DOTALL,
)
_COMMANDS = re.compile(
    r"\\(?:text|textbf|textrm|textit|mbox|mathrm|mathbf|left|right|displaystyle|quad|qquad)\b|[{}$~\s]|\\[,;:! ]"
)
_STATES = re.compile(
    r"(?:\b(?:equal to|is|are|be|was|were|equals?|gives?|yields?|get|obtain|total of|about|approximately|exactly|only|"
    r"just|roughly|by|answer|solution|therefore|thus|hence|so|it's|that's)\b:?|:|(?<![!<>=\\])=)\s*",
    re.IGNORECASE,
)
_CLOCK = re.compile(r"(?<=\d)([ap])\.?m\.?$", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:the|an?)(?=[\s~])\s*", re.IGNORECASE)
_LONE_WORD = re.compile(r"[A-Z]{2,}|[A-Za-z]{4,}")
_SETS = {"allrealnumbers": REALS, "allreals": REALS, "therealnumbers": REALS, "realnumbers": REALS, "allrealx": REALS,
         "theemptyset": EMPTY, "emptyset": EMPTY}  # fmt: skip
_OPENERS = {"(": "(", "[": "[", r"\{": "{", r"\lbrace": "{", r"\langle": "(", r"\lparen": "(", r"\lbrack": "["}
_CLOSERS = {")": ")", "]": "]", r"\}": "}", r"\rbrace": "}", r"\rangle": ")", r"\rparen": ")", r"\rbrack": "]"}


def read(text: str) -> Answer | None:
    """What ``text`` states as a final answer, or ``None`` when it holds nothing readable. Never raises."""
    call = _read_once if len(text) <= _REMEMBERED else _read
    try:
        return call(text)
    except RecursionError:
        return roomy(lambda: call(text), None)


def _read(text: str) -> Answer | None:
    quick = _quick(text)
    if quick is not None:
        return quick
    try:
        spelled = strip(normalise(strip(text)))
    except Refused:
        return None
    if not spelled:
        return None
    found = _choice(spelled) or (None if _LONE_WORD.fullmatch(spelled) else _mathematics(spelled))
    if found is None:
        found = _statement(spelled) or _words(spelled)
    return found


_read_once = lru_cache(maxsize=4096)(_read)


def _quick(text: str) -> Value | None:
    """Plain numbers and fractions, which most answers are, without the machinery."""
    if len(text) > 60:
        return None
    match = _NUMBER.fullmatch(text)
    if match:
        sign, whole, decimals = match.groups()
        value = Fraction(int(whole + (decimals or "")), 10 ** len(decimals or ""))
        return Value(number(-value if sign == "-" else value))
    match = _FRACTION.fullmatch(text)
    if match:
        sign, top, bottom, plain_top, plain_bottom = match.groups()
        below = int(bottom or plain_bottom)
        if below:
            value = Fraction(int(top or plain_top), below)
            return Value(number(-value if sign == "-" else value))
    return None


def _choice(text: str) -> Choice | None:
    bare = re.sub(r"^\\text(?:bf|rm|it)?\s*\{(.*)\}$", r"\1", text, flags=re.DOTALL).strip()
    match = _CHOICE.fullmatch(bare)
    if match is None:
        lone = _LONE_CHOICE.fullmatch(text)
        return Choice(lone[1] or lone[2], _plain(lone[3] or "")) if lone else None
    letter = next(group for group in (match[1], match[2], match[3], match[5], match[6]) if group)
    rest = (match[4] or "").strip()
    if rest and not match[3] and not re.match(r"[A-Za-z\\$]", rest):
        return None  # (a) + b is no option
    return Choice(letter, _plain(rest))


def _mathematics(text: str) -> Answer | None:
    try:
        return _Reader(_MAX_NESTING).read(tokens(text))
    except Refused:
        return None


def _statement(text: str) -> Answer | None:
    """The value at the end of a sentence: ``The integral is equal to 0``, ``it's 1,000.99m²``."""
    if len(text) > 600 or "\n" in text or not re.match(r"[A-Za-z(\"]", text):
        return None
    for match in reversed(list(_STATES.finditer(text))[-6:]):
        tail = strip(text[match.end() :])
        found = (_quick(tail) or _choice(tail) or _mathematics(tail)) if tail else None
        if found is not None:
            return found
    return None


def _words(text: str) -> Answer | None:
    plain = _plain(text)
    if plain in NUMERALS:
        return Value(number(NUMERALS[plain]))
    if plain in _SETS:
        return _SETS[plain]
    return Words(plain, prose=len(text.split()) > _MAX_WORDS or len(text) > 400) if plain else None


def _plain(text: str) -> str:
    """Text without what only formats it; case is kept where there is mathematics in it."""
    bare = _ARTICLE.sub("", re.sub(r"^\\text\s*\{", "", text.strip()))
    bare = re.sub(r"(?<=\d)\s+(?=\d)", "_", bare)
    bare = _CLOCK.sub(r"\1m", _COMMANDS.sub("", bare).strip(".,;:!?\"'`*"))
    return bare if re.search(r"[\\^_=<>+]", bare) else bare.lower()


class _Reader:
    """Reads a token list as one answer; ``left`` is how many levels of brackets may still be opened."""

    def __init__(self, left: int) -> None:
        if left < 0:
            raise Refused(f"more than {_MAX_NESTING} nested brackets")
        self.left = left

    def inner(self, found: Sequence[Token]) -> Answer:
        return _Reader(self.left - 1).read(found)

    def read(self, found: Sequence[Token]) -> Answer:
        """Raises Refused when the tokens are no answer."""
        found = _trim(found)
        if not found:
            raise Refused("nothing there")
        levels = _levels(found)
        kinds = [token.kind if level == 0 else "" for token, level in zip(found, levels, strict=True)]
        if "sep" in kinds or "join" in kinds:
            return self._list(found, kinds)
        for kind in ("cup", "setminus", "cap"):
            if kind in kinds and "rel" not in kinds and "in" not in kinds:
                op = "minus" if kind == "setminus" else kind
                parts = tuple(self.inner(part) for part in _split(found, kinds, {kind}))
                return Joined(op, parts)
        if "in" in kinds:
            at = kinds.index("in")
            return Named(_spelling(found[:at]), self.inner(found[at + 1 :]))
        if "rel" in kinds:
            return self._relation(found, kinds)
        if "colon" in kinds:
            return self._ratio(found, kinds)
        if "begin" in kinds:
            rows = _aligned(found)
            return self.read(rows) if rows is not None else self._matrix(found, kinds)
        if found[0].kind == "open" and levels.index(0, 1 if len(levels) > 1 else 0) == len(found) - 1:
            return self._group(found)
        if len(found) == 1 and found[0].kind == "empty":
            return EMPTY
        if found[0].text == r"\mathbb" and _spelling(found) in (r"\mathbbR", r"\mathbb{R}"):
            return REALS
        return self._value(found)

    # --- lists ----------------------------------------------------------------------------------------------------

    def _list(self, found: Sequence[Token], kinds: Sequence[str]) -> Answer:
        parts = _split(found, kinds, {"sep", "join"})
        joins = [t.text for t, kind in zip(found, kinds, strict=True) if kind == "join"]
        # "19, 46, and 82" leaves nothing between the comma and the word
        kept = [part for part in parts if _trim(part)]
        if len(parts) - len(kept) > len(joins) or not kept or len(kept) > MAX_ITEMS:
            raise Refused("an empty place in a list")
        items = [self.inner(part) for part in kept]
        if len(items) == 1:
            raise Refused("a list of one")
        return _listed(items, joins, found)

    def _group(self, found: Sequence[Token]) -> Answer:
        left, right = _OPENERS[found[0].text], _CLOSERS.get(found[-1].text, "")
        if not right or (left == "{") != (right == "}"):
            raise Refused("brackets that do not match")
        inside = _trim(found[1:-1])
        levels = _levels(inside)
        kinds = [t.kind if level == 0 else "" for t, level in zip(inside, levels, strict=True)]
        if not inside:
            if left != "{":
                raise Refused("empty brackets")
            return EMPTY
        if left == "{":
            bars = [
                i
                for i, (t, kind) in enumerate(zip(inside, kinds, strict=True))
                if kind in ("bar", "colon") or t == Token("rel", "mid", t.spaced)
            ]
            if bars and "rel" in kinds[bars[0] + 1 :]:  # {x | x > 2}
                return self.inner(inside[bars[0] + 1 :])
        if "sep" not in kinds and "join" not in kinds:
            item = self.inner(inside)
            if left == "(" and right == ")":
                return item
            if left != "[" and isinstance(item, Group) and item.left == "":
                return Group(left, right, item.items)
            return Group(left, right, (item,))
        parts = [part for part in _split(inside, kinds, {"sep", "join"}) if _trim(part)]
        if len(parts) < 1 or len(parts) > MAX_ITEMS or (len(parts) < 2 and left == "("):
            raise Refused("an empty place in brackets")
        items: list[Answer] = []
        for part in parts:
            item = self.inner(part)
            spread = isinstance(item, Group) and item.left == "" and left == "{"  # {1 ± √5, -2}
            items += item.items if spread and isinstance(item, Group) else [item]
        return Group(left, right, tuple(items))

    # --- relations, ratios, matrices --------------------------------------------------------------------------------

    def _relation(self, found: Sequence[Token], kinds: Sequence[str]) -> Answer:
        ops = tuple(t.text for t, kind in zip(found, kinds, strict=True) if kind == "rel")
        parts = [_trim(part) for part in _split(found, kinds, {"rel"})]
        if not set(ops) <= {"=", "<", ">", "<=", ">=", "!=", "~"} or len(ops) > 6:
            raise Refused(f"the relation {' '.join(ops)[:40]}")
        if not parts[0] and ops[0] in ("=", "~"):  # "= 5"
            return self.inner(found[1:])
        if not all(parts):
            raise Refused("a relation with an empty side")
        if "~" in ops:
            return self._approximate(parts, ops)
        if ops == ("=",) and _is_name(parts[0]):
            value = self.inner(parts[1])
            sides = self._sides(parts)
            if sides and _mentions(sides[1], sides[0]):  # x = x + 1 states no value
                return Relation(ops, sides)
            return Named(_spelling(parts[0]), value, Relation(ops, sides) if sides else None)
        sides = self._sides(parts)
        if sides is None:
            raise Refused("a side that is no expression")
        if set(ops) == {"="} and len(ops) > 1 and _is_name(parts[0]) and not _is_name(parts[1]):
            return Named(_spelling(parts[0]), Value(sides[-1]), Relation(ops, sides))
        return Relation(ops, sides)

    def _approximate(self, parts: Sequence[Sequence[Token]], ops: Sequence[str]) -> Answer:
        r"""``x \approx 2.5`` states 2.5; ``1/3 \approx 0.33`` states 1/3."""
        if ops[-1] != "~":
            raise Refused("an approximation inside a chain")
        first = parts[-2]
        if _is_name(first):
            return Named(_spelling(first), self.inner(parts[-1]))
        exact = self.inner(first)
        return Named(_spelling(parts[0]), exact) if len(parts) > 2 and _is_name(parts[0]) else exact

    def _sides(self, parts: Sequence[Sequence[Token]]) -> tuple[Node, ...] | None:
        sides = []
        for part in parts:
            try:
                sides.append(_whole_expression(part))
            except Refused:
                try:
                    value = self._value(part)
                except Refused:
                    return None
                if not isinstance(value, Value):
                    return None
                sides.append(value.node)
        return tuple(sides)

    def _ratio(self, found: Sequence[Token], kinds: Sequence[str]) -> Answer:
        parts = _split(found, kinds, {"colon"})
        trimmed = [_trim(part) for part in parts]
        if len(trimmed) == 2 and _is_name(trimmed[0]) and not _is_name(trimmed[1]):  # "Area: 5"
            return Named(_spelling(trimmed[0]), self.inner(trimmed[1]))
        nodes = tuple(_whole_expression(part) for part in trimmed)
        texts = [_spelling(part) for part in trimmed]
        clock = (
            len(texts) in (2, 3)
            and all(re.fullmatch(r"\d\d?", t, re.ASCII) for t in texts)
            and all(len(t) == 2 for t in texts[1:])
        )
        return Ratio(nodes, clock and int(texts[0]) <= 24 and all(int(t) < 60 for t in texts[1:]))

    def _matrix(self, found: Sequence[Token], kinds: Sequence[str]) -> Answer:
        start = kinds.index("begin")
        name, body = _environment(found, start)
        if not name.rstrip("*").endswith("matrix") and name != "array":
            raise Refused(f"the environment {name[:20]}")
        if name == "array" and body and body[0].kind == "{":  # the columns' alignment
            body = body[_levels(body).index(0, 1) + 1 :]
        levels = _levels(body)
        plain = [t.kind if level == 0 else "" for t, level in zip(body, levels, strict=True)]
        rows = []
        for row in _split(body, plain, {"row"}):
            row_levels = _levels(row)
            row_kinds = [t.kind if level == 0 else "" for t, level in zip(row, row_levels, strict=True)]
            if _trim(row):
                rows.append(tuple(_whole_expression(_trim(cell)) for cell in _split(row, row_kinds, {"&"})))
        if not rows or len({len(row) for row in rows}) != 1 or len(rows) * len(rows[0]) > MAX_ITEMS:
            raise Refused("rows of different lengths")
        if start > 0:  # a factor in front
            if found[start - 1].kind == "open":
                raise Refused("a bracket in front of a matrix")
            factor = _whole_expression(_trim([t for t in found[:start] if t.kind != "*"]))
            rows = [tuple(tree("mul", (factor, cell)) for cell in row) for row in rows]
        return Matrix(tuple(rows))

    # --- values -----------------------------------------------------------------------------------------------------

    def _value(self, found: Sequence[Token]) -> Answer:
        found = list(found)
        marks = {"money"} & {t.kind for t in found}
        found = [t for t in found if t.kind != "money"]
        parser = Parser(found)
        node = parser.expression()
        rest = parser.tokens[parser.at :]
        unit, mark, scale = _unit(rest, self.left)
        if unit and not _counts(node):
            raise Refused("words, not a quantity")
        if scale != 1:
            node = tree("mul", (node, number(scale)))
        while node.op in ("deg", "pct") or (node.op == "neg" and node.args[0].op in ("deg", "pct")):
            inner = node.args[0] if node.op != "neg" else node.args[0].args[0]
            mark = "degree" if "deg" in (node.op, node.args[0].op) else "percent"
            node = inner if node.op != "neg" else tree("neg", (inner,))
        if has(node, "pm"):
            return Group("", "", tuple(Value(with_sign(node, sign), unit, mark) for sign in (1, -1)))
        return Value(node, unit, mark or ("money" if marks else ""))


def _unit(rest: Sequence[Token], left: int) -> tuple[str, str, int]:
    """Unit, mark and scale of what stands behind an expression. Raises Refused for what might change the value."""
    words: list[str] = []
    mark, scale = "", 1
    for at, token in enumerate(rest):
        word = token.text.lower().rstrip(".")
        if token.kind == "word" and word in SCALES and not words:
            scale *= SCALES[word]
        elif token.kind == "word" and (word in ("percent", "percentage") or word in ("degrees", "degree", "deg")):
            mark = "percent" if word.startswith("percent") else "degree"
        elif _in_unit(token, rest[at - 1] if at else END, bool(words), last=at + 1 == len(rest)):
            words.append(word if token.kind in ("word", "join") else token.text)
        elif token.kind == "pct":
            mark = "percent"
        elif token.kind in ("degree", "circ"):
            mark = "degree"
        elif token.kind == "dot":
            continue
        else:
            raise Refused(f"{token.text!r} behind a value")
    if words and words[-1] in ("a", "an"):
        raise Refused("an article at the end")
    return re.sub(r" ?([/^*(){}-]) ?", r"\1", " ".join(words)), mark, scale


def _in_unit(token: Token, before: Token, begun: bool, *, last: bool) -> bool:
    """Whether a token behind an expression belongs to its unit: ``square feet``, ``m/s^2``, ``inches per second``."""
    if token.kind == "word":
        word = token.text.lower().rstrip(".")
        if word in CHANGES:
            return False
        return is_unit(token) or token.text_mode or word in LITTLE or (begun and len(word) > 2) or before.kind == "/"
    if token.kind == "join":
        return begun and not last
    if token.kind == "sym":
        return token.text_mode or before.kind in ("/", "*")
    return begun and token.kind in ("^", "{", "}", "/", "*", "num", "-", "dot", "open", "close")


def _listed(items: Sequence[Answer], joins: Sequence[str], found: Sequence[Token]) -> Answer:
    """A bare list: of values, of assignments, of conditions; or no list at all."""
    if all(isinstance(item, Relation) and item.ops != ("=",) * len(item.ops) for item in items):
        parts = tuple(item for item in items if isinstance(item, Relation))
        return Conditions("and" if "and" in joins else "or", parts)
    units = {item.unit.rstrip("s") for item in items if isinstance(item, Value) and item.unit}
    if len(units) > 1:
        raise Refused("different units: one quantity, not a list")
    if joins == ["and"] and len(items) == 2 and _mixed(items[0], items[1]):
        raise Refused("a mixed number in words")
    first = items[0]
    if isinstance(first, Named) and not any(isinstance(item, Named) for item in items[1:]):
        spread = [first.value, *items[1:]]  # x = 3, 1
        return Named(first.name, Group("", "", _spread(spread)))
    return Group("", "", _spread(items))


def _spread(items: Sequence[Answer]) -> tuple[Answer, ...]:
    """Items with the two values of a ± side by side."""
    found: list[Answer] = []
    for item in items:
        found += item.items if isinstance(item, Group) and item.left == "" else [item]
    return tuple(found)


def _mixed(whole: Answer, part: Answer) -> bool:
    values = [item.node.value if isinstance(item, Value) and item.node.op == "num" else None for item in (whole, part)]
    if isinstance(part, Value) and part.node.op == "div" and all(arg.op == "num" for arg in part.node.args):
        top, bottom = (arg.value for arg in part.node.args)
        values[1] = top / bottom if top is not None and bottom else None
    return (
        values[0] is not None
        and values[1] is not None
        and values[0].denominator == 1
        and values[0] > 0
        and 0 < values[1] < 1
    )


def _whole_expression(found: Sequence[Token]) -> Node:
    """The expression that all the tokens form. Raises Refused."""
    parser = Parser([t for t in found if t.kind != "money"])
    node = parser.expression()
    if parser.peek() is not END:
        raise Refused(f"{parser.peek().text!r} behind an expression")
    return node


def _is_name(found: Sequence[Token]) -> bool:
    """Whether a left side only says what the right side is the value of."""
    plain = [
        t
        for t in found
        if t.kind
        not in ("{", "}", "bar", "open", "close", "sep", "frac", "/", "_", "accent", "prefix", "prime", "colon")
    ]
    if not plain or len(found) > 24:
        return False
    numbers = [i for i, t in enumerate(found) if t.kind == "num"]
    if any(i == 0 or found[i - 1].kind not in ("_", "{", "open") for i in numbers):
        return False
    if found[0].kind == "num":
        return False
    letters = [t for t in plain if t.kind in ("sym", "word", "num", "fn", "cmd", "prefix")]
    return len(letters) == len(plain) and any(t.kind in ("sym", "word", "fn", "cmd") for t in plain)


def _spelling(found: Sequence[Token]) -> str:
    return "".join(t.text for t in found if t.kind not in ("{", "}"))


def _counts(node: Node) -> bool:
    """Whether a number is in it: what a unit can stand behind."""
    return node.op == "num" or node.name in ("pi", "inf") or any(_counts(arg) for arg in node.args)


def _mentions(node: Node, part: Node) -> bool:
    return node == part or any(_mentions(arg, part) for arg in node.args)


# --- tokens and brackets --------------------------------------------------------------------------------------------

_UP = frozenset(("open", "{", "lfloor", "lceil", "begin"))
_DOWN = frozenset(("close", "}", "rfloor", "rceil", "end"))


def _levels(found: Sequence[Token]) -> list[int]:
    """The depth of each token; a closing bracket and what opened it have that of their surroundings.

    The tokens ``\\begin{name}`` open a level whose name is inside it. Raises Refused for a bracket too many or too few.
    """
    levels, depth = [], 0
    for token in found:
        if token.kind in _DOWN:
            depth -= 1
            if depth < 0:
                raise Refused("a closing bracket too many")
            levels.append(depth)
        else:
            levels.append(depth)
            depth += token.kind in _UP
    if depth:
        raise Refused("a bracket is not closed")
    return levels


def _split(found: Sequence[Token], kinds: Sequence[str], at: set[str]) -> list[Sequence[Token]]:
    parts: list[Sequence[Token]] = []
    start = 0
    for i, kind in enumerate(kinds):
        if kind in at:
            parts.append(found[start:i])
            start = i + 1
    parts.append(found[start:])
    return parts


def _trim(found: Sequence[Token]) -> Sequence[Token]:
    """Without separators and dots at the ends, and without braces around everything."""
    start, end = 0, len(found)
    while start < end and found[start].kind in ("dot",):
        start += 1
    while end > start and found[end - 1].kind in ("dot", "sep"):
        end -= 1
    found = found[start:end]
    while len(found) > 1 and found[0].kind == "{" and found[-1].kind == "}":
        levels = _levels(found)
        if levels.index(0, 1) != len(found) - 1:
            break
        found = found[1:-1]
    return found


def _environment(found: Sequence[Token], start: int) -> tuple[str, Sequence[Token]]:
    r"""Name and content of ``\begin{name} … \end{name}``, which must reach the end. Raises Refused."""
    names = _group_after(found, start)
    levels = _levels(found)
    end = next((i for i in range(start + 1, len(found)) if found[i].kind == "end" and levels[i] == 0), 0)
    if not end:
        raise Refused("an environment that does not end")
    closing = _group_after(found, end)
    if names[0] != closing[0] or closing[1] != len(found):
        raise Refused("an environment that does not reach the end")
    return names[0], found[names[1] : end]


def _aligned(found: Sequence[Token]) -> Sequence[Token] | None:
    r"""The rows of ``\begin{align}`` and ``\begin{cases}`` as a list; ``None`` for other environments."""
    if found[0].kind != "begin":
        return None
    name, body = _environment(found, 0)
    if name.rstrip("*") not in ("align", "aligned", "gather", "gathered", "cases", "equation", "split"):
        return None
    return [Token("sep", ";") if t.kind == "row" else t for t in body if t.kind != "&"]


def _group_after(found: Sequence[Token], at: int) -> tuple[str, int]:
    """The text of the brace group behind a token, and where it ends. Raises Refused."""
    if at + 1 >= len(found) or found[at + 1].kind != "{":
        raise Refused("a name in braces is missing")
    end = at + 2
    while end < len(found) and found[end].kind != "}":
        end += 1
    if end == len(found):
        raise Refused("a brace is not closed")
    return "".join(t.text for t in found[at + 2 : end]), end + 1

"""A page as tokens, and parts of it as trees.

The page is parsed by lexbor, as a browser does it; what we walk over is the parser's own serialisation, in which every
element is closed, every attribute quoted and only ``&amp; &lt; &gt; &quot; &nbsp;`` are left as references. Splitting
that string costs a tenth of visiting the nodes one by one from Python, and equal start tags are equal strings, so that
what a tag means is looked up, not found out again.
"""

from __future__ import annotations

import functools
import itertools
import operator
import re
from typing import Any, Final, NamedTuple

from selectolax.lexbor import LexborHTMLParser

from llemma.extract.words import word_set

# Elements whose content is text in the serialisation come as one token, comments too.
_TOKENS = re.compile(
    r"(<(?:/[^>]*|span[^>]*|(?![sixn!])[^>]*|script(?=[ >])[^>]*>[^<]*(?:<(?!/script>)[^<]*)*</script"
    r"|style(?=[ >])[^>]*>[^<]*(?:<(?!/style>)[^<]*)*</style|!--.*?--|iframe(?=[ >])[^>]*>.*?</iframe"
    r"|xmp(?=[ >])[^>]*>.*?</xmp|noembed>.*?</noembed|noframes>.*?</noframes|[^>]*)>)",
    re.DOTALL,
)
_ATTRIBUTE = re.compile(r' ([^\s=">/]+)="([^"]*)"')

VOID: Final = word_set("area base br col embed hr img input link meta param source track wbr")


def serialised(page: str | bytes) -> str:
    """The page as the parser writes it: names in small letters, every element closed."""
    return LexborHTMLParser(page).html or ""


def split(page: str) -> list[str]:
    """A serialised page as ``[text, tag, text, tag, …, text]``: texts at even places, tags at odd ones."""
    return _TOKENS.split(page)


def tokens(page: str | bytes) -> list[str]:
    """Any page, parsed and split."""
    return split(serialised(page))


def name_of(tag: str) -> str:
    """The element's name of a start tag, an end tag or a whole script."""
    start = 2 if tag[1] == "/" else 1
    end = tag.find(">")
    space = tag.find(" ", start, end)
    return tag[start : space if space > 0 else end]


def attributes(tag: str) -> dict[str, str]:
    """The attributes of a start tag (or of the start tag of a script token)."""
    head = tag if len(tag) < 20_000 else tag[: tag.index(">") + 1]
    return {name: unescape(value) for name, value in _ATTRIBUTE.findall(head[: head.find(">") + 1])}


def value(tag: str, attribute: str) -> str:
    """The value of one attribute of a start tag, empty when it is not there."""
    mark = f' {attribute}="'
    start = tag.find(mark)
    if start == -1:
        return ""
    start += len(mark)
    return unescape(tag[start : tag.index('"', start)])


def unescape(text: str) -> str:
    """Undo the references the serialisation leaves."""
    if "&" not in text:
        return text
    text = text.replace("&nbsp;", "\xa0").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"')
    return text.replace("&amp;", "&")


def content(token: str) -> str:
    """What stands inside a script token."""
    return token[token.index(">") + 1 : token.rindex("<")]


def close_of(tokens: list[str], i: int, limit: int) -> int:
    """The place of the end tag that closes the start tag at ``i``; -1 when it lies ``limit`` tags away or more."""
    name = name_of(tokens[i])
    close, plain, more = f"</{name}>", f"<{name}>", f"<{name} "
    last = min(len(tokens), i + 2 * limit)
    try:
        end = tokens.index(close, i + 1, last)
    except ValueError:
        return -1
    inside = "".join(tokens[i + 2 : end : 2]) if end - i < 2000 else more
    if more not in inside and plain not in inside:
        return end  # the first end tag of this name, as no element of the name opens before it
    return _balanced(tokens, i, last, name)


class _Steps(dict[str, int]):
    """How a tag changes the depth in elements of one name; all of a page's tags are looked up, few are found out."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._close, self._plain, self._more = f"</{name}>", f"<{name}>", f"<{name} "

    def __missing__(self, tag: str) -> int:
        step = -1 if tag == self._close else int(tag == self._plain or tag.startswith(self._more))
        if len(tag) < _LONGEST_STEP and len(self) < _MOST_STEPS:
            self[tag] = step
        return step


_steps = functools.lru_cache(maxsize=64)(_Steps)
_LONGEST_STEP, _MOST_STEPS = 300, 20_000


def _balanced(tokens: list[str], i: int, last: int, name: str) -> int:
    """The end of the element at ``i`` by its depth, summed up without a loop of ours."""
    step = _steps(name).__getitem__
    depth, size = 0, 256
    while i < last:
        stop = min(last, i + size)
        tags = tokens[i:stop:2]
        try:
            return i + 2 * operator.indexOf(itertools.accumulate(map(step, tags)), -depth)
        except ValueError:
            depth += sum(map(step, tags))
        i, size = stop, 4 * size
    return -1


class Node:
    """An element of a small tree: its name, its start tag as written, its children (nodes and unescaped texts)."""

    __slots__ = ("children", "memo", "name", "tag")

    def __init__(self, name: str, tag: str) -> None:
        self.name = name
        self.tag = tag
        self.children: list[Node | str] = []
        self.memo: Any = None  # what a reader found out about a node that comes again; None: not to be remembered

    def get(self, attribute: str) -> str:
        """The value of an attribute, empty when it is not there."""
        return value(self.tag, attribute)

    def elements(self) -> list[Node]:
        """The child elements, texts left out."""
        return [child for child in self.children if isinstance(child, Node)]

    def text(self) -> str:
        """All text inside, in order."""
        parts: list[str] = []
        stack: list[Node | str] = [self]
        while stack:
            item = stack.pop()
            if isinstance(item, str):
                parts.append(item)
            else:
                stack.extend(reversed(item.children))
        return "".join(parts)

    def find(self, name: str) -> Node | None:
        """The first element with this name inside, in document order."""
        stack = [self]
        while stack:
            item = stack.pop()
            if item.name == name:
                return item
            stack.extend(reversed(item.elements()))
        return None


# Elements of MathML that are empty; left open, or under a prefix, they swallow the rest of the formula in the parser.
_EMPTY_MATH = word_set("mspace none mprescripts maligngroup malignmark")


class _Name(NamedTuple):
    plain: str
    holds: bool  # whether an end tag follows
    outward: bool  # an empty element that the parser takes for an open one


@functools.lru_cache(maxsize=16_384)
def _named(tag: str) -> _Name:
    name = name_of(tag)
    plain = name.rpartition(":")[2].lower()
    whole = name in VOID or tag.startswith(("<script", "<style", "<!"))
    return _Name(plain, not whole, plain in _EMPTY_MATH)


def tree(tokens: list[str], i: int, end: int) -> Node:
    """The tree of the element whose tags stand at ``i`` and ``end``; prefixes of names (``m:``) are dropped.

    Equal spans that hold nothing but text, or nothing but one such span, are one node, which nobody may change.
    """
    root = Node(_named(tokens[i]).plain, tokens[i])
    stack, children = [root], root.children
    j = i + 1
    while j < end - 1:
        text, token = tokens[j], tokens[j + 1]
        j += 2
        if text:
            children.append(unescape(text) if "&" in text else text)
        if token[1] == "/":
            if len(stack) > 1:
                stack.pop()
                children = stack[-1].children
            continue
        if tokens[j + 1] == "</span>" and token[1] == "s" and j < end:
            children.append(_LEAVES.get((token, tokens[j])) or _leaf(token, tokens[j]))
            j += 2
        elif (
            j + 5 < end and tokens[j + 5] == tokens[j + 3] == "</span>" and not tokens[j] and not tokens[j + 4]
            and token[:5] == tokens[j + 1][:5] == "<span"
        ):  # fmt: skip
            key = (token, tokens[j + 1], tokens[j + 2])
            children.append(_LEAVES.get(key) or _twig(key))
            j += 6
        elif token[1] != "!":
            name = _named(token)
            node = Node(name.plain, token)
            children.append(node)
            if name.outward:
                node.children = _Outward(children)
            if name.holds:
                stack.append(node)
                children = node.children
    if tokens[end - 1] and j <= end:
        children.append(unescape(tokens[end - 1]))
    return root


_MOST_LEAVES = 20_000
_LEAVES: dict[tuple[str, ...], Node] = {}  # (tag, text) and (tag, tag inside, text)


def _shared(key: tuple[str, ...], child: Node | str) -> Node:
    node = Node(_named(key[0]).plain, key[0])
    node.memo = ()  # it comes again: what is read from it may be remembered
    if child:
        node.children.append(child)
    if len(_LEAVES) > _MOST_LEAVES:
        _LEAVES.clear()
    _LEAVES[key] = node
    return node


def _leaf(tag: str, text: str) -> Node:
    """A span that holds a text or nothing."""
    return _shared((tag, text), unescape(text))


def _twig(key: tuple[str, str, str]) -> Node:
    """A span that holds a leaf."""
    outer, inner, text = key
    return _shared(key, _LEAVES.get((inner, text)) or _leaf(inner, text))


class _Outward(list["Node | str"]):
    """Children of an empty element: they belong behind it."""

    def __init__(self, outer: list[Node | str]) -> None:
        super().__init__()
        self._outer: list[Node | str] = outer._outer if isinstance(outer, _Outward) else outer

    def append(self, child: Node | str) -> None:
        self._outer.append(child)

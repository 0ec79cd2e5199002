"""MathJax 3's boxes (CHTML, SVG) back to LaTeX, for pages saved without the assistive MathML.

The boxes keep the names of the MathML elements and the code points of their characters, so MathML is put together again
and read by ``llemma.extract.mathml``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from llemma.extract.markup import Node
from llemma.extract.mathml import mathml_latex
from llemma.extract.words import word_set

_DEEPEST = 200
_CODE = re.compile(r"(?:^|\s)mjx-c([0-9A-F]{2,5})(?:\s|$)")
_LEAVES = word_set("mi mo mn mtext ms")
_SCHEMATA = word_set("""mi mo mn mtext ms mrow mfrac msqrt mroot msub msup msubsup munder mover munderover mtable
mtr mtd mlabeledtr mstyle
    mpadded mphantom menclose mspace merror mmultiscripts math TeXAtom semantics maction""")


class ChtmlError(ValueError):
    """The boxes cannot be read; the message says why."""


def chtml_latex(container: Node) -> str:
    """The LaTeX of an ``mjx-container`` element. Raises ChtmlError or MathmlError where that cannot be."""
    box = container.find("mjx-math")
    if box is not None:
        return mathml_latex(_element("math", list(_boxes(box, 0))))
    drawn = next((node for node in _walk(container) if node.get("data-mml-node") == "math"), None)
    if drawn is None:
        raise ChtmlError("rendered without its source")
    return mathml_latex(_element("math", list(_drawn(drawn, 0))))


def _walk(node: Node) -> Iterator[Node]:
    stack = [node]
    while stack:
        item = stack.pop()
        yield item
        stack.extend(reversed(item.elements()))


def _element(name: str, children: list[Node]) -> Node:
    node = Node(name, f"<{name}>")
    node.children.extend(children)
    return node


def _leaf(name: str, text: str) -> Node:
    node = Node(name, f"<{name}>")
    node.children.append(text)
    return node


def _row(children: list[Node]) -> Node:
    return children[0] if len(children) == 1 else _element("mrow", children)


def _characters(node: Node) -> str:
    """The characters of a leaf: code points in class names, the whole sign for one stretched of pieces, plain text."""
    out = ""
    for child in node.children:
        if isinstance(child, str):
            out += child
        elif child.name.startswith("mjx-stretchy") and (code := _CODE.search(child.get("class"))):
            out += chr(int(code[1], 16))
        elif child.name == "mjx-c" and (code := _CODE.search(child.get("class"))):
            out += chr(int(code[1], 16)) if int(code[1], 16) < 0x110000 else ""
        else:
            out += _characters(child)
    return out


def _boxes(node: Node, depth: int) -> Iterator[Node]:
    """The MathML children of a box, through boxes that are only layout."""
    if depth > _DEEPEST:
        raise ChtmlError("nested too deep")
    for child in node.elements():
        name = child.name.removeprefix("mjx-").replace("texatom", "mrow")
        if name in ("nstrut", "dstrut", "tstrut", "surd", "line", "spacer", "strut", "assistive-mml"):
            continue
        if name in _LEAVES:
            yield _leaf(name, _characters(child))
        elif name in _SCHEMATA:
            yield _schema(name, child, depth + 1)
        else:
            yield from _boxes(child, depth + 1)


def _inside(node: Node, name: str, depth: int) -> Node:
    box = node.find(f"mjx-{name}")
    return _element("mrow", [] if box is None else list(_boxes(box, depth)))


def _schema(name: str, node: Node, depth: int) -> Node:
    """An element with arguments, from the boxes that hold them."""
    if name == "mfrac":
        return _element("mfrac", [_inside(node, "num", depth), _inside(node, "den", depth)])
    if name in ("msup", "msub", "msubsup"):
        scripts = next((kid for kid in node.elements() if kid.name == "mjx-script"), None)
        if scripts is None:
            raise ChtmlError("a script without its box")
        base = [kid for kid in node.elements() if kid is not scripts]
        holder = Node("mjx-mrow", "")
        holder.children.extend(base)
        held = list(_boxes(scripts, depth))
        if name == "msubsup":
            held = held[::-1] if len(held) == 2 else held
        return _element(name, [_row(list(_boxes(holder, depth))), *held])
    if name in ("munder", "mover", "munderover"):
        arguments = [_inside(node, "base", depth)]
        if name != "mover":
            arguments.append(_inside(node, "under", depth))
        if name != "munder":
            arguments.append(_inside(node, "over", depth))
        arguments = [_row([kid for kid in one.children if isinstance(kid, Node)]) for one in arguments]
        return _element(name, arguments)
    if name == "mroot":
        return _element("mroot", [_inside(node, "box", depth), _inside(node, "root", depth)])
    if name == "msqrt":
        return _element("msqrt", [_inside(node, "box", depth)])
    if name == "mspace":
        return Node("mspace", node.tag)
    return _element(name, list(_boxes(node, depth)))


def _drawn(node: Node, depth: int) -> Iterator[Node]:
    """The MathML children of an SVG group; MathJax names them in ``data-mml-node``."""
    if depth > _DEEPEST:
        raise ChtmlError("nested too deep")
    for child in node.elements():
        name = child.get("data-mml-node").replace("TeXAtom", "mrow")
        if name in _LEAVES:
            yield _leaf(name, _glyphs(child))
        elif name in _SCHEMATA:
            inner = list(_drawn(child, depth + 1))
            if name == "mroot":
                inner = inner[::-1] if child.elements() and child.elements()[0].name == "g" else inner
            yield _element(name, inner)
        else:
            yield from _drawn(child, depth + 1)


def _glyphs(node: Node) -> str:
    out = ""
    for item in _walk(node):
        if item.name in ("use", "path") and (code := item.get("data-c")):
            out += chr(int(code, 16)) if re.fullmatch(r"[0-9A-F]{2,5}", code) else ""
        elif item.name == "text":
            out += item.text()
    return out

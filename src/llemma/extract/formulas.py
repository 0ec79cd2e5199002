"""Elements that are formulas: which kind, what TeX they carry, whether they stand on a line of their own.

An element comes with its rendering (KaTeX's spans, MathJax's boxes, an image), its source (a script, an annotation, an
attribute), or both; the source is taken and the rendering left, and only where there is no source is the rendering
read.
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from llemma.extract import mathml
from llemma.extract.asciimath import asciimath_latex
from llemma.extract.chtml import ChtmlError, chtml_latex
from llemma.extract.delimiters import ENVIRONMENTS
from llemma.extract.katex import KatexError, katex_latex
from llemma.extract.markup import Node, attributes, close_of, content, name_of, tokens, tree, unescape
from llemma.extract.symbols import latex
from llemma.extract.tags import BLOCKS, MATH, Tag, learn
from llemma.extract.tex_text import is_display
from llemma.extract.words import word_set

_LARGEST = 60_000  # tags of one formula
_NEAR = 400  # tags of an element that may be a formula and says so only by its class


class Formula(NamedTuple):
    """A formula as found: its kind, its TeX (not yet cleaned), its display, or why it is lost."""

    kind: str
    tex: str = ""
    display: bool = False
    lost: str = ""


class Reading(NamedTuple):
    """What an element turned out to be: formulas, or a text to be searched for delimiters; and where it ends."""

    formulas: tuple[Formula, ...]
    end: int
    text: str | None = None
    display: bool = False
    walk: bool = False  # what is inside are formulas or their images; walk it


_FRAME = re.compile(r'MathJax-Element-(\d+)(?:-Frame)?"')
_SCRIPT_ID = re.compile(r' id="MathJax-Element-(\d+)"')
_DATA = (
    "data-expr", "data-latex", "data-tex", "data-tex-source", "data-original-tex", "data-katex", "data-equation",
    "data-formula", "data-math", "data-value",
)  # fmt: skip
_DISPLAY_CLASS = re.compile(
    r"(?:^|\s|-)(?:display|displaymath|displayed|block|Display|formulaDsp|equation|katex-display)(?:$|\s)"
)
_ENVIRONMENT = re.compile(rf"\s*\\begin\{{(?:{ENVIRONMENTS})\*?\}}")
_DELIMITER = re.compile(r"\\\(|\\\[|\$")
_TEX_LIKE = re.compile(r"\\[a-zA-Z]+|[\^_]|\\[\\,;{}]")
_MATH_SCRIPT = re.compile(r"math/(?:tex|latex|mml|asciimath|am|asciimath/?)$")


def script_formula(token: str) -> Formula | None:
    """The formula of a MathJax script (``math/tex``, ``math/mml``, ``math/asciimath``); ``None`` for other scripts."""
    start = token[: token.find(">") + 1]
    if "math/" not in start and "x-tex" not in start and "text/latex" not in start:
        return None
    words = [word.strip() for word in attributes(start).get("type", "").lower().split(";")]
    if not (_MATH_SCRIPT.match(words[0]) or words[0] in ("text/latex", "application/x-tex", "text/x-tex")):
        return None
    display = any(word.replace(" ", "") == "mode=display" for word in words[1:])
    source = content(token)
    if words[0] == "math/mml":
        inside = re.sub(r"^\s*(?://)?\s*<!\[CDATA\[|(?://)?\]\]>\s*$", "", source)
        found = _first_math(tokens(inside))
        if found is None:
            return Formula("script", lost="no math element in it")
        formula = math_formula(found)
        return formula._replace(kind="script", display=display or formula.display)
    if words[0] in ("math/asciimath", "math/am"):
        return Formula("script", asciimath_latex(source), display)
    return Formula("script", source, display or is_display(source))


def _first_math(parts: list[str]) -> Node | None:
    for i in range(1, len(parts), 2):
        if parts[i].startswith("<") and name_of(parts[i]).rpartition(":")[2] == "math":
            end = close_of(parts, i, _LARGEST)
            return tree(parts, i, end if end > 0 else len(parts) - 1)
    return None


def math_formula(node: Node, display: bool = False) -> Formula:
    """The formula of a ``math`` element: its annotation, else its alternative text, else its presentation."""
    display = display or mathml.is_display(node)
    if source := mathml.annotation(node).strip():
        return Formula("annotation", source, display or is_display(source))
    if alternative := node.get("alttext").strip():
        return Formula("alttext", alternative, display)
    if source := _latex_attribute(node):
        return Formula("attribute", source, display)
    try:
        return Formula("mathml", mathml.mathml_latex(node), display)
    except mathml.MathmlError as error:
        return Formula("mathml", display=display, lost=str(error))
    except RecursionError:
        return Formula("mathml", display=display, lost="nested too deep")


def _latex_attribute(node: Node) -> str:
    """The TeX that MathJax 4 leaves on the elements of its rendering."""
    while node.name in ("math", "mjx-math", "mrow", "semantics", "mstyle"):
        if source := node.get("data-latex").strip():
            return source
        kids = node.elements()
        if len(kids) != 1:
            return ""
        node = kids[0]
    return ""


def element_formula(parts: list[str], i: int, tag: Tag) -> Reading | None:
    """What the element at ``i`` is; ``None`` when it is no formula itself and its inside has to be walked."""
    name, classes = tag.name, tag.classes
    if name == "math":
        return _math(parts, i)
    if name == "mjx-container" or "mjx-container" in parts[i][:40]:
        return _mathjax3(parts, i)
    read = None
    if "katex" in classes:
        read = _katex(parts, i, classes)
    if read is None and ("MathJax" in classes or "mjx-chtml" in classes or "MJXc" in classes):
        read = _mathjax2(parts, i, classes)
    if read is not None:
        return read
    if "mwe-math-element" in classes:
        return _wikipedia(parts, i, classes)
    return _container(parts, i, tag)


def _math(parts: list[str], i: int) -> Reading:
    end = close_of(parts, i, _LARGEST)
    if end < 0:
        return Reading((Formula("mathml", lost="larger than a formula can be"),), i)
    return Reading((math_formula(tree(parts, i, end)),), end)


def _mathjax3(parts: list[str], i: int) -> Reading:
    """MathJax 3 and 4: assistive MathML, else the TeX on its elements, else the boxes themselves."""
    end = close_of(parts, i, _LARGEST)
    if end < 0:
        return Reading((Formula("mathjax", lost="larger than a formula can be"),), i)
    display = ' display="true"' in parts[i] or ' display="block"' in parts[i]
    for j in range(i + 2, end, 2):
        if parts[j].startswith(("<math>", "<math ")):
            stop = close_of(parts, j, _LARGEST)
            return Reading((math_formula(tree(parts, j, stop if stop > 0 else end), display),), end)
    root = tree(parts, i, end)
    if (box := root.find("mjx-math")) is not None and (source := _latex_attribute(box)):
        return Reading((Formula("attribute", source, display),), end)
    try:
        return Reading((Formula("mathjax", chtml_latex(root), display),), end)
    except (ChtmlError, mathml.MathmlError, RecursionError) as error:
        return Reading((Formula("mathjax", display=display, lost=str(error)),), end)


def _katex(parts: list[str], i: int, classes: str) -> Reading | None:
    """KaTeX: the annotation beside the rendering, else the rendering read back."""
    end = close_of(parts, i, _LARGEST)
    if end < 0:
        return Reading((Formula("katex-html", lost="larger than a formula can be"),), i)
    names = classes.split()
    display = "katex-display" in names or "katex-block" in names
    html = -1
    for j in range(i, end, 2):
        tag = parts[j]
        if "katex-html" in tag:
            html = j
            break
        if tag.startswith(("<math>", "<math ")):
            stop = close_of(parts, j, _LARGEST)
            found = math_formula(tree(parts, j, stop if stop > 0 else end), display)
            if not found.lost:
                return Reading((found,), end)
        elif "katex-error" in tag:
            return Reading((Formula("delimiters", unescape("".join(parts[i + 1 : end : 2])), display),), end)
    if html < 0:
        return None
    html_end = end - (html - i)  # as the rendering comes last in its wrappers
    if html_end <= html or parts[html_end] != f"</{name_of(parts[html])}>" or not _only_wrappers(parts, i, html):
        html_end = close_of(parts, html, _LARGEST)
        if any("katex-html" in tag for tag in parts[html_end:end:2]):
            return None  # several formulas in one wrapper
    source = "".join(parts[html : html_end + 1])
    known = _REBUILT.get(source)
    if known is None:
        known = _rebuilt(parts, html, html_end)
        if len(_REBUILT) >= _MOST_REBUILT:
            _REBUILT.clear()
        _REBUILT[source] = known
    return Reading((Formula("katex-html", known[0], display, known[1]),), end)


_MOST_REBUILT = 1024
_REBUILT: dict[str, tuple[str, str]] = {}  # renderings as written; formulas come again and again in a page


def _rebuilt(parts: list[str], start: int, end: int) -> tuple[str, str]:
    """LaTeX or the reason why not."""
    try:
        return katex_latex(tree(parts, start, end)), ""
    except KatexError as error:
        return "", str(error)
    except RecursionError:
        return "", "nested too deep"


def _only_wrappers(parts: list[str], start: int, end: int) -> bool:
    return all(parts[j][1] != "/" for j in range(start, end, 2))


def _mathjax2(parts: list[str], i: int, classes: str) -> Reading | None:
    """MathJax 2: the rendering is left where its script is in the page, else its MathML is read."""
    end = close_of(parts, i, _LARGEST)
    if end < 0:
        return None
    following = next((parts[j] for j in range(end + 2, min(end + 6, len(parts)), 2)), "")
    head = " ".join(parts[i : min(end, i + 12) : 2])
    frame = _FRAME.search(head)
    if (frame and frame[1] in _scripts(parts)) or (following.startswith("<script") and "math/" in following[:200]):
        return Reading((), end)
    if "MathJax_Preview" in classes:
        text = unescape("".join(parts[i + 1 : end : 2])).strip()
        return Reading((Formula("delimiters", text),) if _TEX_LIKE.search(text) else (), end)
    display = bool(re.search(r"Display|MJXc-display", " ".join(parts[i : min(end, i + 4) : 2])))
    for j in range(i, end, 2):
        if ' data-mathml="' in parts[j]:
            found = _first_math(tokens(attributes(parts[j])["data-mathml"]))
            if found is not None:
                return Reading((math_formula(found, display),), end)
        if parts[j].startswith(("<math>", "<math ")):
            stop = close_of(parts, j, _LARGEST)
            return Reading((math_formula(tree(parts, j, stop if stop > 0 else end), display),), end)
    if "MathJax" in classes.split() or "MathJax_CHTML" in classes or "mjx-chtml" in classes:
        text = unescape("".join(parts[i + 1 : end : 2])).strip()
        return Reading((Formula("mathjax", lost="rendered without its source"),) if text else (), end)
    return None


_last_scripts: list[tuple[int, frozenset[str]]] = []


def _scripts(parts: list[str]) -> frozenset[str]:
    """Numbers of the MathJax scripts of a page; the page at hand is remembered."""
    if not _last_scripts or _last_scripts[0][0] != id(parts):
        numbers = {found[1] for tag in parts[1::2] if tag[:7] == "<script" and (found := _SCRIPT_ID.search(tag))}
        _last_scripts[:] = [(id(parts), frozenset(numbers))]
    return _last_scripts[0][1]


def _wikipedia(parts: list[str], i: int, classes: str) -> Reading | None:
    """Wikipedia: hidden MathML with an annotation, and an image that shows the same."""
    end = close_of(parts, i, _LARGEST)
    if end < 0:
        return None
    inside = parts[i:end:2]
    display = any("-display" in tag for tag in inside)
    image = next((tag for tag in inside if tag.startswith("<img ")), "")
    for j in range(i + 2, end, 2):
        if parts[j].startswith(("<math>", "<math ")):
            stop = close_of(parts, j, _LARGEST)
            found = math_formula(tree(parts, j, stop if stop > 0 else end), display)
            if not found.lost:
                return Reading((found,), end)
    alternative = attributes(image).get("alt", "").strip() if image else ""
    if alternative:
        return Reading((Formula("img-alt", alternative, display),), end)
    return Reading((Formula("mathml", lost="neither MathML nor an alternative text"),), end)


def _container(parts: list[str], i: int, tag: Tag) -> Reading | None:
    """An element that is a formula by its class or by an attribute."""
    given, display, source = _given(parts[i], tag)
    end = close_of(parts, i, _NEAR)
    if "data-mathml" in given and (found := _first_math(tokens(given["data-mathml"]))) is not None:
        return Reading((math_formula(found, display),), end if end > 0 else i)
    if end < 0:
        return None
    inner = [learn(parts[j]) for j in range(i + 2, end, 2)]
    if source and not any(one.op == MATH and one.name == "math" for one in inner):
        return Reading((Formula("attribute", source, display or is_display(source)),), end)
    if "data-asciimath" in given:
        return Reading((Formula("asciimath", asciimath_latex(given["data-asciimath"]), display),), end)
    if tag.name in ("code", "pre"):
        return Reading((Formula("code", unescape("".join(parts[i + 1 : end : 2])), display),), end)
    if "mathquill" in tag.classes or "mq-math-mode" in tag.classes:
        return _mathquill(parts, i, end, display)
    if any(one.op == MATH or one.name in ("img", "script", "svg", "code", "pre", "table", "a") for one in inner):
        return Reading((), end, display=display, walk=True)
    if any(one.name in BLOCKS and one.op and one.name != "p" for one in inner):
        return None
    text = unescape("".join(parts[i + 1 : end : 2]))
    if _DELIMITER.search(text) or _ENVIRONMENT.match(text):
        return Reading((), end, text=text, display=display)
    return _bare_text(parts, i, end, tag, text, display)


@functools.lru_cache(maxsize=256)
def _given(start: str, tag: Tag) -> tuple[dict[str, str], bool, str]:
    """Attributes of a start tag, which nobody may change, whether they ask for display, and the TeX among them."""
    given = attributes(start)
    return given, _is_display(tag, given), next((given[name] for name in _DATA if given.get(name, "").strip()), "")


def _is_display(tag: Tag, given: dict[str, str]) -> bool:
    says = given.get("data-display", given.get("display", given.get("data-math-style", given.get("mode", "")))).lower()
    if says:
        return says in ("true", "block", "display", "1")
    names = tag.classes.replace("inline", "")
    block = tag.name in ("div", "p", "pre", "katex-block", "math-block", "math-display", "disp-formula", "center")
    return bool(_DISPLAY_CLASS.search(names)) or block or "block" in given


_TEX_NAMES = word_set(
    "d-math tex latex tex-math la-tex jats:tex-math math-field mathtex katex-inline katex-block math-inline math-block"
    " math-display x-equation"
)


_TEX_CLASSES = word_set("""tex latex math-tex math ql-formula texerror wp-katex-eq katex-eq katex-inline
katex-block katex-display
math-inline
    math-display inline-math display-math latex-block latex-inline notion-equation notion-equation-inline""")


def _bare_text(parts: list[str], i: int, end: int, tag: Tag, text: str, display: bool) -> Reading | None:
    """TeX without delimiters (jsMath, ``d-math``), AsciiMath, or a formula in HTML's italics and raised letters."""
    names = tag.classes.split()
    bare = tag.name.lower()
    if "asciimath" in names or bare == "asciimath":
        return Reading((Formula("asciimath", asciimath_latex(text.strip(" `")), display),), end)
    inline = [name_of(parts[j]) for j in range(i + 2, end, 2) if not parts[j].startswith("</")]
    if "texhtml" in names or ("math" in names and {"sup", "sub", "em", "i", "var"} & set(inline)):
        if not text.strip():
            return None
        return Reading((Formula("html", html_latex(tree(parts, i, end)), display),), end)
    surely = bare in _TEX_NAMES or _TEX_CLASSES & set(names)
    if surely and text.strip() and (bare in _TEX_NAMES or _TEX_LIKE.search(text) or len(text.split()) <= 3):
        if text.strip().isalpha() and len(text.strip()) > 3 and bare not in _TEX_NAMES:
            return None
        source = text.strip()
        if "texerror" in names:
            source = source.strip("{}")
        return Reading((Formula("element", source, display),), end)
    if (
        names
        and _TEX_LIKE.search(text)
        and "\\" in text
        and len(text) < 2000
        and not re.search(r"[a-z]{3,} [a-z]{3,} [a-z]{3,}", text)
    ):
        return Reading((Formula("element", text.strip(), display),), end)
    return None


def _mathquill(parts: list[str], i: int, end: int, display: bool) -> Reading | None:
    """MathQuill: the rendered boxes have the TeX in a hidden ``selectable``; before rendering it is the text."""
    for j in range(i + 2, end, 2):
        if "selectable" in parts[j] and parts[j].startswith("<"):
            stop = close_of(parts, j, _NEAR)
            text = unescape("".join(parts[j + 1 : stop : 2])) if stop > 0 else ""
            if text.strip(" $"):
                return Reading((Formula("attribute", text, display),), end)
        if ' data-latex="' in parts[j]:
            return Reading((Formula("attribute", attributes(parts[j])["data-latex"], display),), end)
    text = unescape("".join(parts[i + 1 : end : 2])).strip()
    return Reading((Formula("element", text, display),), end) if text else None


def html_latex(node: Node, depth: int = 0) -> str:
    """A formula written with HTML's own means: italics, raised and lowered letters, fractions of spans."""
    out = ""
    for child in node.children:
        if isinstance(child, str):
            out += latex(" ".join(child.replace("\xa0", " ").split(" ")))
            continue
        inside = html_latex(child, depth + 1) if depth < 40 else child.text()
        if child.name in ("sup", "sub"):
            mark = "^" if child.name == "sup" else "_"
            out = out.rstrip() + (f"{mark}{{{inside.strip()}}}" if inside.strip() else "")
        elif child.name in ("b", "strong") and inside.strip():
            out += f"\\mathbf{{{inside.strip()}}}"
        elif "num" in child.get("class").split():
            out += f"\\frac{{{inside.strip()}}}"
        elif "den" in child.get("class").split():
            out += f"{{{inside.strip()}}}"
        elif "sr-only" not in child.get("class"):
            out += inside
    return out

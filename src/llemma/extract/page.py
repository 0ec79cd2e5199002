"""Bytes of a page to text that the parser can take: character set, XML's ways, and shapes that would make parsing
slow."""

from __future__ import annotations

import codecs
import re

import numpy as np

from llemma.extract.markup import VOID
from llemma.extract.words import word_set

_META = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([a-zA-Z0-9_:.-]+)""", re.IGNORECASE)
_XML = re.compile(rb"""<\?xml[^>]{0,100}?encoding\s*=\s*["']([a-zA-Z0-9_:.-]+)""")
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_SELF_CLOSED = re.compile(r"<(script|style|a|div|span|p|iframe|textarea|title|i|b|em|td|li)(?=[\s/])([^<>]*+)(?<=/)>")
_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/>]*)([^<>]*)>")
_DEEPEST = 500  # elements inside elements; browsers stop at 512
_VOID_TAGS = ("<br", "<img", "<!--", "<input", "<meta", "<link", "<hr", "<BR", "<IMG")
_STRIDE = 8192
_MOST_ATTRIBUTES = 400
_LONG_TAG = re.compile(r"<[a-zA-Z][^<>]{8000,}>?")
_SEPARATE = re.compile(r"[\s/]+[^\s=/>\"']+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s>]*))?")
_CONTROL = bytes(c for c in range(32) if c not in (9, 10, 12, 13))
_CALLED = {"iso-8859-1": "windows-1252", "latin1": "windows-1252", "latin-1": "windows-1252", "ascii": "windows-1252",
           "us-ascii": "windows-1252", "gb2312": "gb18030", "gbk": "gb18030", "ks_c_5601-1987": "cp949",
           "euc-kr": "cp949", "shift_jis": "cp932", "x-sjis": "cp932", "big5": "big5hkscs", "unicode": "utf-8",
           "utf8": "utf-8", "iso-8859-9": "cp1254", "tis-620": "cp874"}  # fmt: skip


def decode(data: bytes, charset: str | None = None) -> str:
    """The page as text. Order: byte order mark, what the server said, what the page says, UTF-8, Windows-1252.

    What the server or page says is not believed where the bytes are not in that character set.
    """
    return _decoded(data, charset)[0]


def _decoded(data: bytes, charset: str | None) -> tuple[str, str]:
    """The text and the name of its character set."""
    for mark, name in _BOMS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace"), name
    if data[:4].count(0) == 2 and b"<" in data[:2]:
        name = "utf-16-le" if data[0] else "utf-16-be"
        return data.decode(name, "replace"), name
    head = data[:4096]
    said = [charset or ""] + [found[1].decode() for found in (_XML.search(head), _META.search(head)) if found]
    for name in (*said, "utf-8"):
        name = _CALLED.get(name.strip().lower(), name.strip().lower())
        if name and not name.startswith("utf-16"):
            try:
                return data.decode(name), name
            except (LookupError, UnicodeDecodeError, ValueError):
                continue
    bad = data.decode("utf-8", "replace")
    if bad.count("\ufffd") * 100 < len(bad) and any(byte > 0xBF for byte in data[:100_000]):
        multibyte = len(data) - len(bad)
        if multibyte > bad.count("\ufffd") * 2:
            return bad, "utf-8"  # with a few broken places
    return data.decode("windows-1252", "replace"), "windows-1252"


def prepare(data: bytes, charset: str | None = None) -> str:
    """A page that is safe to parse: text, without control characters, not nested beyond what browsers take."""
    wide = data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or data[:4].count(0) == 2
    data = data if wide else data.translate(None, _CONTROL)
    page, name = _decoded(data, charset)
    if "\0" in page:
        page = page.replace("\0", "")
    if page[:200].lstrip().startswith("<?xml"):
        page = _SELF_CLOSED.sub(lambda found: f"<{found[1]}{found[2][:-1]}></{found[1]}>", page)
    if _has_long_tag(page):
        page = _LONG_TAG.sub(_fewer_attributes, page)
    deep = _may_be_deep(page, data if name in ("utf-8", "windows-1252") else page.encode("utf-8", "surrogatepass"))
    return _flattened(page) if deep else page


def _has_long_tag(page: str) -> bool:
    """Whether some tag is longer than a few thousand characters; looks at samples of the page."""
    opened = closed = -1
    for place in range(_STRIDE, len(page), _STRIDE):
        opened = max(opened, page.rfind("<", place - _STRIDE, place))
        last = page.rfind(">", place - _STRIDE, place)
        if last < 0 and opened > closed:
            return True
        closed = max(closed, last)
    return False


def _fewer_attributes(found: re.Match[str]) -> str:
    """A tag with so many attributes that the parser, which compares each with each, would be at it for long."""
    several = list(_SEPARATE.finditer(found[0], 0))
    return found[0] if len(several) <= _MOST_ATTRIBUTES else found[0][: several[_MOST_ATTRIBUTES].start()] + ">"


def _may_be_deep(page: str, data: bytes) -> bool:
    """Whether elements may be nested deeper than browsers go: up to some place many more are open than closed.

    ``data`` is the page in a character set in which ASCII is itself.
    """
    octets = np.frombuffer(data, dtype=np.uint8)
    steps = (octets[:-1] == ord("<")).view(np.int8)
    steps = steps - 2 * (steps & (octets[1:] == ord("/")))
    if not len(steps):
        return False
    size = max(4096, len(steps) // 64)
    starts = np.arange(0, len(steps), size)
    opened = np.cumsum(np.add.reduceat(steps, starts, dtype=np.int64))
    void = counted = 0
    for start, count in zip(starts.tolist(), opened.tolist(), strict=True):
        if count - void > _DEEPEST * 2:
            part = page[counted : start + size]
            void += sum(map(part.count, _VOID_TAGS))
            counted = start + size
            if count - void > _DEEPEST * 2:
                return True
    return False


def _flattened(page: str) -> str:
    """The page without the start tags that would nest it deeper than browsers go."""
    depth = 0
    stack: list[str] = []
    counts: dict[str, int] = {}

    def keep(found: re.Match[str]) -> str:
        nonlocal depth
        name = found[2].lower()
        if name in VOID:
            return found[0]
        if found[1]:
            if counts.get(name, 0):
                while stack:
                    last = stack.pop()
                    counts[last] -= 1
                    if last == name:
                        break
                return found[0]
            return "" if len(stack) >= _DEEPEST else found[0]
        if name in _ALONE and stack and stack[-1] == name:
            return found[0]
        if len(stack) >= _DEEPEST:
            return ""
        stack.append(name)
        counts[name] = counts.get(name, 0) + 1
        return found[0]

    return _TAG.sub(keep, page)


_ALONE = word_set("p li dt dd option tr td th thead tbody tfoot optgroup colgroup")  # end where the next begins

"""Web pages to Markdown with every formula kept as LaTeX, in one pass over the parsed page.

Formulas are taken from wherever the page has them (scripts, annotations, attributes, delimiters, MathML, images' texts,
KaTeX's and MathJax's rendering), each once, inline or display as the page shows it. Parts that are no main text go as a
whole; the ledger says what became of each formula. What runs in a browser is not run: a formula that a script fetches
from elsewhere is not there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from llemma.extract import tags
from llemma.extract.asciimath import asciimath_latex
from llemma.extract.blocks import Frame, Regions, Totals
from llemma.extract.delimiters import Finder, rules_of
from llemma.extract.formulas import Formula, element_formula, script_formula
from llemma.extract.images import image_formula
from llemma.extract.ledger import Extracted, Ledger
from llemma.extract.markdown import code_span, escape_dollars, fence, paragraph, table, tidy
from llemma.extract.markup import attributes, close_of, serialised, split, unescape
from llemma.extract.page import prepare
from llemma.extract.tags import Tag, learn
from llemma.extract.tex_text import clean_tex, is_display
from llemma.extract.words import word_set

_MOST_TAGS = 600_000  # of one page; what follows is left out and the result says so
_MOST_LEARNED = 40_000  # different tags of one page that are looked at one by one
_MOST_EFFORT = 1_500_000  # tags read in vain while looking for formulas
_LONGEST_KNOWN = 300  # characters of a tag worth remembering
_Action = Callable[["_Walk", int, Tag], int]  # what is done at a tag; it returns the place to go on from
_KNOWN: dict[str, tuple[_Action | None, Tag]] = {}

_MARK = re.compile(r"[\x02\x06](\d{1,9})\x03|\x04(\d{1,9})\x05")
_ORDINAL = re.compile(r"st|nd|rd|th|er|re|e|o|a|TM|®|™|©")
_NOTE = re.compile(r"[\[(]?(?:\d{1,3}|[a-z*†‡]|note \d+|citation needed)[\])]?")
_SIGN = re.compile(r"[+-−]?[\w+\-−*′'.,()/∘°∞]{1,12}")
_LANGUAGE = re.compile(r"(?:language-|lang-|highlight-source-|highlight-|brush:\s*)([a-zA-Z0-9+#]{1,20})")
_NO_LANGUAGE = frozenset(("default", "none", "text", "plaintext", "notranslate", "auto"))


class _Stored(NamedTuple):
    kind: str
    tex: str
    display: bool


def extract_html(data: bytes, *, name: str = "", charset: str | None = None, main: bool = True) -> Extracted:
    """The main text of a page as Markdown with ``$…$`` and ``$$…$$``, its title and its ledger of formulas.

    ``charset`` is what the server said about the bytes; ``main=False`` keeps menus and comments too. Any bytes are
    taken: what is no HTML comes out as text.
    """
    walk = _Walk(serialised(prepare(data, charset)))
    walk.run()
    return walk.result(main)


class _Walk:
    """One pass over the tags and texts of a serialised page."""

    def __init__(self, page: str) -> None:
        self.parts = split(page)
        self.truncated = len(self.parts) > 2 * _MOST_TAGS
        rules = rules_of(page)
        self.finder = Finder(rules)
        self.certain = Finder(rules_of(""))
        self.buffer: list[str] = []
        self.out: list[str] = []
        self.frames: list[Frame] = []
        self.regions = Regions()
        self.totals = Totals()
        self.formulas: list[_Stored] = []
        self.codes: list[str] = []
        self.lost: Counter[tuple[str, str]] = Counter()
        self.lists: list[list[int]] = []  # [ordered, items so far]
        self.marker = ""
        self.heading = 0
        self.link_start = -1
        self.link_chars = 0
        self.main_depth = 0
        self.cells = 0
        self.tables: list[list[list[tuple[int, int]]]] = []
        self.display_end = -1
        self.effort = 0
        self.title = ""
        odd = [re.escape(mark) for mark in self.finder.marks if mark[0] not in "\\$"]
        self.odd_marks = re.compile("|".join(odd)) if odd else None

    def run(self) -> None:
        """Walk the page from its first to its last tag."""
        parts, known, buffer = self.parts, _KNOWN, self.buffer
        append, look_up = buffer.append, known.get
        learned = 0
        end = min(len(parts) - 1, 2 * _MOST_TAGS)
        if parts[0].strip():
            append(parts[0])
        i = 1
        while i < end:
            pair = look_up(parts[i])
            if pair is None:
                learned += 1
                pair = _learned(parts[i], learned > _MOST_LEARNED)
            action, tag = pair
            if action is not None:
                i = action(self, i, tag)
            i += 1
            if (text := parts[i]) and (buffer or not text.isspace() or self.link_start >= 0):
                append(text)  # white space that begins a block is none
            i += 1
        self.flush()
        while self.frames:
            self._close_frame(self.frames.pop())
        if len(known) > 60_000:
            known.clear()

    # --- text ------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """What stands in the buffer becomes a block."""
        buffer = self.buffer
        if not buffer:
            return
        if self.link_start >= 0:
            self.link_chars += sum(map(len, buffer[self.link_start :]))
            self.link_start = 0
        text = "".join(buffer)
        buffer.clear()
        if text.isspace():
            self.link_chars = 0
            return
        if "&" in text:
            text = unescape(text)
        if "\\" in text or "$" in text or (self.odd_marks and self.odd_marks.search(text)):
            text = self.finder.replace(text, self._delimited)
            if "$" in text:
                text = escape_dollars(text)
        text = " ".join(text.split())
        if text:
            totals, size = self.totals, len(text)
            totals.chars += size
            if self.link_chars:
                totals.links += min(self.link_chars, size)
                self.link_chars = 0
            self.emit(paragraph(text) if "\x06" in text and not self.heading else text)

    def emit(self, block: str) -> None:
        """A block goes out with the marks of its heading or list item."""
        if self.heading:
            if not self.lists and not self.cells:
                block = f"{'#' * self.heading} {block}"
            self.totals.headings += 1
        elif self.lists or self.marker:
            indent = "  " * min(len(self.lists) - 1, 8) if self.lists else ""
            if self.marker:
                close = "\x07" if (self.lists and self.lists[-1][1] > 1) or len(self.lists) > 1 else ""
                rest = "\n" + indent + " " * len(self.marker)
                block = f"{close}{indent}{self.marker}{block.replace(chr(10), rest)}"
                self.marker = ""
            else:
                block = f"{indent}  {block}".replace("\n", f"\n{indent}  ")
        self.out.append(block)

    # --- formulas --------------------------------------------------------------------------------------------

    def store(self, formula: Formula) -> str:
        """A formula goes into the ledger; what comes back stands for it in the text."""
        tex = "" if formula.lost else clean_tex(formula.tex)
        if not tex:
            if formula.lost or formula.tex.strip():
                self.lost[(formula.kind, formula.lost or "nothing but comments or delimiters")] += 1
            elif formula.kind in ("script", "annotation", "attribute", "img-alt"):
                self.lost[(formula.kind, "empty")] += 1
            return " "
        self.totals.formulas += 1
        self.formulas.append(_Stored(formula.kind, tex, formula.display))
        return f"{chr(6) if formula.display else chr(2)}{len(self.formulas) - 1}\x03"

    def _delimited(self, tex: str, display: bool, kind: str) -> str:
        if kind == "asciimath":
            tex = asciimath_latex(tex)
        return self.store(Formula(kind, tex, display or is_display(tex)))

    # --- what tags do: each takes the place of the tag and returns where to go on ------------------------------

    def line_break(self, i: int, tag: Tag) -> int:
        """``br`` is a space: paragraphs are paragraphs, not lines."""
        self.buffer.append("\n")
        return i

    def rule(self, i: int, tag: Tag) -> int:
        """``hr`` ends a paragraph."""
        self.flush()
        return i

    def open_plain(self, i: int, tag: Tag) -> int:
        """A block opens of which nothing is remembered."""
        if self.buffer:
            self.flush()
        return i

    def open_block(self, i: int, tag: Tag) -> int:
        """A block opens: the text before it is complete."""
        if self.buffer:
            self.flush()
        _, name, called_poor, called_main, hidden, _ = tag
        if (act := _OPENING.get(name)) is not None:
            act(self, name)
        if name in tags.CONTAINERS or hidden or called_poor or called_main:
            poor = "hidden" if hidden else "name" if called_poor else name if name in ("header", "aside") else ""
            frame = Frame(name, len(self.out), self.totals, poor, called_main)
            self.frames.append(frame)
            if called_main:
                self.main_depth += 1
            if name == "table":
                frame.rows = []
                self.tables.append(frame.rows)
        return i

    def close_plain(self, i: int, tag: Tag) -> int:
        """A block closes whose name asks for nothing; it has a frame when its classes asked for one."""
        if self.buffer:
            self.flush()
        if (frames := self.frames) and frames[-1].name == tag.name:
            self._close_frame(frames.pop())
        return i

    def close_block(self, i: int, tag: Tag) -> int:
        """A block closes: it is judged, tables and quotes are put together."""
        if self.buffer:
            self.flush()
        name = tag.name
        if (act := _CLOSING.get(name)) is not None:
            act(self, name)
        # blocks that hold no block of their own name have a frame only when their classes ask for one
        if self.frames and self.frames[-1].name == name:
            self._close_frame(self.frames.pop())
        return i

    def _open_heading(self, name: str) -> None:
        self.heading = int(name[1])

    def _close_heading(self, name: str) -> None:
        self.heading = 0

    def _open_list(self, name: str) -> None:
        self.lists.append([name == "ol", 0])

    def _close_list(self, name: str) -> None:
        if self.lists:
            self.lists.pop()
        self.marker = ""

    def _open_item(self, name: str) -> None:
        self.marker = "- "
        if self.lists:
            ordered, count = self.lists[-1]
            self.lists[-1][1] = count + 1
            if ordered:
                self.marker = f"{count + 1}. "

    def _open_definition(self, name: str) -> None:
        self.marker = ": "

    def _close_item(self, name: str) -> None:
        self.marker = ""

    def _open_row(self, name: str) -> None:
        if self.tables:
            self.tables[-1].append([])

    def _open_cell(self, name: str) -> None:
        if self.tables and self.tables[-1]:
            self.cells += 1
            self.tables[-1][-1].append((len(self.out), -1))

    def _close_cell(self, name: str) -> None:
        if self.tables and self.tables[-1] and self.tables[-1][-1]:
            self.cells -= 1
            row = self.tables[-1][-1]
            row[-1] = (row[-1][0], len(self.out))

    def _close_frame(self, frame: Frame) -> None:
        name = frame.name
        if name == "table":
            if self.tables:
                self.tables.pop()
            self._put_table(frame)
        elif name == "blockquote" and not any(outer.name == name for outer in self.frames):
            quoted = ["> " + block.lstrip("\x07").replace("\n", "\n> ") for block in self.out[frame.out :]]
            self.out[frame.out :] = quoted
        if frame.main:
            self.main_depth -= 1
        if frame.main or frame.poor or name in _JUDGED:
            self.regions.close(frame, len(self.out), self.totals, self.main_depth > 0)

    def _put_table(self, frame: Frame) -> None:
        """Cells of one line each become a table; others, and those with displayed formulas, stay blocks."""
        spans = [row for row in frame.rows or [] if row]
        if not spans or self.lists:
            return
        if any(end - start > 1 for row in spans for start, end in row):
            return
        cells = [["".join(self.out[start:end]) for start, end in row] for row in spans]
        if any("\x06" in cell for row in cells for cell in row):
            merged = [" ".join(" ".join(cell.split()) for cell in row if cell) for row in cells]
            made: list[str] = [paragraph(row) for row in merged if row]
        else:
            text = table(cells)
            if text is None:
                return
            made = [text]
        before = self.out[frame.out : spans[0][0][0]]
        self.regions.forget(frame.out)
        self.out[frame.out :] = [*before, *made]

    def open_link(self, i: int, tag: Tag) -> int:
        """A link: its text is counted."""
        self.link_start = len(self.buffer)
        self.totals.named += 1
        return i

    def close_link(self, i: int, tag: Tag) -> int:
        """The end of a link."""
        start, buffer = self.link_start, self.buffer
        if start >= 0:
            if len(buffer) == start + 1:
                self.link_chars += len(buffer[-1])
            else:
                self.link_chars += sum(map(len, buffer[start:]))
            self.link_start = -1
        return i

    def skip(self, i: int, tag: Tag) -> int:
        """An element that is no text; the head of the page has its title."""
        if i + 2 < len(self.parts) and self.parts[i + 2][1] == "/":
            return i + 2
        end = self._close_of(i)
        if tag.name == "head":
            for j in range(i + 2, end, 2):
                if self.parts[j].startswith(("<title>", "<title ")) and not self.title:
                    self.title = " ".join(unescape(self.parts[j + 1]).split())
                elif self.parts[j].startswith("<script"):
                    self.script(j, tag)  # where a page begins with a formula, the parser puts it there
        return end

    def script(self, i: int, tag: Tag) -> int:
        """A script is text when MathJax takes it for a formula."""
        formula = script_formula(self.parts[i])
        if formula is not None:
            self._put(formula)
        return i

    def code(self, i: int, tag: Tag) -> int:
        """Code in a line: kept as it is, delimiters inside are none."""
        parts = self.parts
        if parts[i + 2] == f"</{tag.name}>":
            end, source = i + 2, parts[i + 1]
        else:
            end = self._close_of(i)
            if self._has_formula(i, end):
                return i
            source = "".join(parts[i + 1 : end : 2])
        text = code_span(unescape(source))
        if text:
            self._put_code(text)
        return end

    def preformatted(self, i: int, tag: Tag) -> int:
        """A block of code, its line numbers left out."""
        end = self._close_of(i)
        self.flush()
        if self._has_formula(i, end):
            return i
        lines = self._lines(i, end)
        language = _LANGUAGE.search(f"{tag.classes} {self.parts[i + 2] if i + 2 < end else ''}")
        name = language[1] if language and language[1] not in _NO_LANGUAGE else ""
        block = fence(lines, name)
        if block:
            self.totals.chars += len(block)
            self.codes.append(block)
            heading, self.heading = self.heading, 0
            self.marker = "" if self.marker == ": " else self.marker
            self.emit(f"\x04{len(self.codes) - 1}\x05")
            self.heading = heading
        return end

    def _lines(self, i: int, end: int) -> str:
        """The text of preformatted elements: breaks are lines, what is skipped elsewhere is skipped here."""
        parts, known = self.parts, _KNOWN
        if not any((known.get(part) or _learned(part))[1].op in _IN_LINES for part in set(parts[i + 2 : end : 2])):
            return unescape("".join(parts[i + 1 : end : 2]))
        out = [parts[i + 1]]
        j = i + 2
        while j < end:
            tag = (known.get(parts[j]) or _learned(parts[j]))[1]
            if tag.op == tags.SKIP:
                j = self._close_of(j)
            elif tag.op == tags.BREAK or (tag.op == tags.END and tag.name in ("div", "li", "p")):
                out.append("\n")
            out.append(parts[j + 1])
            j += 2
        return unescape("".join(out))

    def literal(self, i: int, tag: Tag) -> int:
        """An element in which the renderer of the page looks for no formulas."""
        end = close_of(self.parts, i, 400)
        if end < 0 or self._has_formula(i, end):
            return i
        text = " ".join(unescape("".join(self.parts[i + 1 : end : 2])).split())
        self._put_code(escape_dollars(text))
        return end

    def raised(self, i: int, tag: Tag) -> int:
        """Raised and lowered text: a power or index keeps its mark, a note goes, the rest is text."""
        end = close_of(self.parts, i, 12)
        if end < 0 or self._has_formula(i, end):
            return i
        text = unescape("".join(self.parts[i + 1 : end : 2])).strip()
        linked = any(part.startswith("<a ") for part in self.parts[i + 2 : end : 2])
        if linked and _NOTE.fullmatch(text):
            return end
        if not _SIGN.fullmatch(text) or _ORDINAL.fullmatch(text):
            return i
        mark = "^" if tag.name == "sup" else "_"
        self.buffer.append(f"{mark}{text}" if len(text) == 1 or text.isalnum() else f"{mark}{{{text}}}")
        return end

    def image(self, i: int, tag: Tag) -> int:
        """An image is text when it is a formula."""
        if self.effort < _MOST_EFFORT:
            self.effort += 6
            formula = image_formula(attributes(self.parts[i]), i < self.display_end)
            if formula is not None:
                self._put(formula)
        return i

    def math(self, i: int, tag: Tag) -> int:
        """An element that may be a formula; when it is none, its inside is walked like any other."""
        reading = element_formula(self.parts, i, tag) if self.effort < _MOST_EFFORT else None
        block = tag.name in tags.BLOCKS
        if reading is None or reading.walk:
            self.effort += 400
            if reading is not None and reading.display:
                self.display_end = reading.end
            if tag.name in ("code", "pre"):
                return (self.code if tag.name == "code" else self.preformatted)(i, Tag(tags.CODE, tag.name))
            return self.open_block(i, tag) if block else i
        if block:
            self.flush()
        if reading.text is not None:
            text = self.certain.replace(reading.text, self._delimited, certain=True)
            self.buffer.append(text.replace("&", "&amp;"))
        for formula in reading.formulas:
            self._put(formula)
        if block:
            self.flush()
        return reading.end

    def _put(self, formula: Formula) -> None:
        self.buffer.append(self.store(formula))

    def _put_code(self, text: str) -> None:
        self.codes.append(text)
        self.buffer.append(f"\x04{len(self.codes) - 1}\x05")

    def _close_of(self, i: int) -> int:
        end = close_of(self.parts, i, len(self.parts))
        return end if end > 0 else len(self.parts) - 2 - len(self.parts) % 2

    def _has_formula(self, i: int, end: int) -> bool:
        known = _KNOWN
        for part in set(self.parts[i + 2 : end : 2]):
            op = (known.get(part) or _learned(part))[1].op
            if op == tags.MATH or (op == tags.SCRIPT and "math/" in part[:100]):
                return True
        return False

    # --- result ------------------------------------------------------------------------------------------------

    def result(self, main: bool) -> Extracted:
        """The blocks that are main text, formulas and code put in, and the ledger."""
        keep = self.regions.keep(self.out, self.totals) if main else [True] * len(self.out)
        text = tidy([block for block, kept in zip(self.out, keep, strict=True) if kept])
        pieces = _MARK.split(text)  # text, number of a formula or None, number of a code or None, text, …
        seen: set[int] = set()
        for place in range(1, len(pieces), 3):
            formula, code = pieces[place], pieces[place + 1]
            put = ""  # where there is no such number, it is a control character that the page had as a reference
            if formula is not None and (number := int(formula)) < len(self.formulas):
                seen.add(number)
                _, tex, display = self.formulas[number]
                put = f"$${tex}$$" if display else f"${tex}$"
            elif code is not None and (number := int(code)) < len(self.codes):
                put = self.codes[number]
            pieces[place], pieces[place + 1] = put, ""
        text = "".join(pieces)
        lost: Counter[str] = Counter()
        for (kind, _), count in self.lost.items():
            lost[kind] += count
        kinds = Counter(formula.kind for formula in self.formulas) + lost
        ledger = Ledger(
            found=len(self.formulas) + lost.total(),
            kept=len(seen),
            boilerplate=len(self.formulas) - len(seen),
            lost=dict(lost),
            why={f"{kind}: {reason}": count for (kind, reason), count in sorted(self.lost.items())},
            kinds=dict(kinds),
        )
        given_up = self.effort >= _MOST_EFFORT or self.finder.exhausted or self.certain.exhausted
        meta = {"truncated": True} if self.truncated or given_up else {}
        return Extracted(text=text.strip(), title=self.title, formulas=ledger, meta=meta)


def _learned(text: str, bare: bool = False) -> tuple[_Action | None, Tag]:
    """What to do at a tag, found out and remembered; from its name alone when it is ``bare``."""
    tag = learn(_bare(text) if bare else text)
    action = _ACTIONS.get(tag.op)
    if tag.op == tags.BLOCK and not (
        tag.name in _OPENING or tag.name in tags.CONTAINERS or tag.hidden or tag.poor or tag.main
    ):
        action = _Walk.open_plain
    elif tag.op == tags.END and tag.name not in _CLOSING:
        action = _Walk.close_plain
    pair = action, tag
    if len(text) < _LONGEST_KNOWN:
        _KNOWN[text] = pair
    return pair


def _bare(tag: str) -> str:
    """A tag without its attributes, for pages that have too many different ones."""
    space = tag.find(" ")
    return tag if space < 0 or tag.startswith("<!") else tag[:space] + ">"


_IN_LINES = frozenset((tags.SKIP, tags.BREAK, tags.END))
_HEADINGS = tuple(f"h{level}" for level in range(1, 7))
_JUDGED = word_set("ul ol div nav table section center dl aside header footer menu form")
_OPENING = {
    **dict.fromkeys(_HEADINGS, _Walk._open_heading), "ul": _Walk._open_list, "ol": _Walk._open_list,
    "li": _Walk._open_item,
    "dd": _Walk._open_definition, "tr": _Walk._open_row, "td": _Walk._open_cell, "th": _Walk._open_cell,
}  # fmt: skip
_CLOSING = {
    **dict.fromkeys(_HEADINGS, _Walk._close_heading), "ul": _Walk._close_list, "ol": _Walk._close_list,
    "li": _Walk._close_item, "dd": _Walk._close_item, "td": _Walk._close_cell, "th": _Walk._close_cell,
}  # fmt: skip
_ACTIONS = {
    tags.BREAK: _Walk.line_break, tags.BLOCK: _Walk.open_block, tags.END: _Walk.close_block, tags.LINK: _Walk.open_link,
    tags.LINK_END: _Walk.close_link, tags.SKIP: _Walk.skip, tags.SCRIPT: _Walk.script, tags.CODE: _Walk.code,
    tags.PRE: _Walk.preformatted, tags.RAISED: _Walk.raised, tags.IMAGE: _Walk.image, tags.MATH: _Walk.math,
    tags.VOID_BLOCK: _Walk.rule, tags.LITERAL: _Walk.literal,
}  # fmt: skip

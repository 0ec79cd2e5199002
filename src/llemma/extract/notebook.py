"""Jupyter notebooks to text: Markdown as it is, code in fences, outputs that are text; images and tracebacks go.

Reads the JSON of nbformat 2 to 4 itself and runs nothing. The layout is that of nbconvert's Markdown: fences for code,
four spaces in front of output. ``profile="llemma"`` follows AlgebraicStack: a cell with an image or a traceback among
its outputs loses all of them, and an output with an HTML form is given in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llemma.config import setting
from llemma.extract.ledger import Extracted, Ledger
from llemma.extract.tex.modes import count_formulas

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_IMAGE = re.compile(r"!\[[^\]\n]{0,500}\](?:\([^)\n]*\)|\[[^\]\n]{0,200}\])")
_IMG_TAG = re.compile(r"<img\b[^<>]*>", re.IGNORECASE)
_MEDIA = ("video", "audio", "script", "iframe", "style")
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
# Which form of an output is taken, the first there is. nbconvert prefers HTML, which for tables is mostly markup.
_PREFERRED = ("text/markdown", "text/latex", "text/plain")
_NBCONVERT = ("text/html", "text/markdown", "image/svg+xml", "text/latex", "image/png", "image/jpeg", "text/plain")
_OLD_FORMS = {
    "text": "text/plain",
    "latex": "text/latex",
    "html": "text/html",
    "png": "image/png",
    "svg": "image/svg+xml",
    "jpeg": "image/jpeg",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NotebookOptions:
    """What is kept of a notebook."""

    profile: Literal["default", "llemma"] = setting("default", "default, or llemma: outputs as in AlgebraicStack")
    outputs: bool = setting(True, "keep outputs that are text")
    max_output: int = setting(4_000, "characters of one output that are kept (llemma: all)")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cell:
    kind: str
    source: str
    outputs: tuple[Mapping[str, Any], ...] = ()
    language: str = ""


def extract_notebook(data: bytes, *, name: str, options: NotebookOptions = NotebookOptions()) -> Extracted:
    """The text of an ``.ipynb`` file. What is no notebook is ``error``, never raised."""
    try:
        book = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        return Extracted(text="", error=f"not the JSON of a notebook: {str(error)[:200]}")
    if not isinstance(book, dict) or not isinstance(book.get("cells", book.get("worksheets")), list):
        return Extracted(text="", error="JSON, but not a notebook: it has no cells")
    cells = list(_cells(book))
    parts = [part for cell in cells for part in _parts(cell, options)]
    text = "\n\n".join(part for part in parts if part.strip())
    title = _HEADING.search(text)
    found = count_formulas(text)
    return Extracted(
        text=text,
        title=title[1][:300] if title else "",
        formulas=Ledger(found=found, kept=found, kinds={"tex": found} if found else {}),
        meta={"language": cells[0].language if cells else "", "cells": len(cells)},
    )


def _cells(book: Mapping[str, Any]) -> Iterator[_Cell]:
    language = _at(book, "metadata", "language_info", "name") or _at(book, "metadata", "kernelspec", "language")
    sheets = [book] if "cells" in book else [s for s in book["worksheets"] if isinstance(s, dict)]
    for sheet in sheets:
        for cell in sheet.get("cells") or ():
            if not isinstance(cell, dict):
                continue
            kind = cell.get("cell_type")
            source = _text(cell.get("source", cell.get("input", "")))
            if kind == "heading":
                level = cell.get("level")
                marks = "#" * min(6, max(1, level)) if isinstance(level, int) else "#"
                kind, source = "markdown", f"{marks} {source}"
            outputs = cell.get("outputs")
            yield _Cell(
                kind=kind if isinstance(kind, str) else "",
                source=source,
                outputs=tuple(o for o in outputs if isinstance(o, dict)) if isinstance(outputs, list) else (),
                language=_at(cell, "metadata", "magics_language") or language or _at(cell, "language") or "",
            )


def _parts(cell: _Cell, options: NotebookOptions) -> Iterator[str]:
    if cell.kind == "code":
        if cell.source.strip():
            ticks = "````" if "```" in cell.source else "```"
            yield f"{ticks}{cell.language}\n{cell.source.strip(chr(10))}\n{ticks}"
        if options.outputs and not (options.profile == "llemma" and any(map(_spoils, cell.outputs))):
            yield from (_output(output, options) for output in cell.outputs)
    elif cell.kind == "markdown" or (cell.kind == "raw" and cell.source.strip()):
        yield without_images(cell.source).strip("\n")


def _spoils(output: Mapping[str, Any]) -> bool:
    """Whether AlgebraicStack drops the outputs of a cell for this one: an image, or a traceback."""
    return "image/png" in _forms(output) or "traceback" in output


def _output(output: Mapping[str, Any], options: NotebookOptions) -> str:
    kind = output.get("output_type")
    if kind in ("error", "pyerr"):
        return ""
    if kind == "stream":
        return _indented(_text(output.get("text")), options)
    forms = _forms(output)
    for form in _NBCONVERT if options.profile == "llemma" else _PREFERRED:
        if form not in forms:
            continue
        text = _text(forms[form])
        if form.startswith("image/"):
            return ""
        if form == "text/plain":
            return _indented(text, options)
        return without_images(text)[: None if options.profile == "llemma" else options.max_output].strip("\n")
    return ""


def _forms(output: Mapping[str, Any]) -> Mapping[str, Any]:
    """The forms of an output by MIME type; nbformat 2 and 3 have them beside the type, under short names."""
    data = output.get("data")
    if isinstance(data, dict):
        return data
    return {mime: output[short] for short, mime in _OLD_FORMS.items() if short in output}


def _indented(text: str, options: NotebookOptions) -> str:
    text = _ANSI.sub("", text).replace("\r\n", "\n").strip("\n")
    if options.profile != "llemma" and len(text) > options.max_output:
        text = f"{text[: options.max_output].rpartition(chr(10))[0] or text[: options.max_output]}\n..."
    return "\n".join(f"    {line}" if line else "" for line in text.split("\n")) if text.strip() else ""


def without_images(text: str) -> str:
    """Markdown without images, and without video, audio, script, style and iframe elements."""
    if "![" in text:
        text = _IMAGE.sub("", text)
    if "<" not in text:
        return text
    text = _IMG_TAG.sub("", text)
    for tag in _MEDIA:
        text = _without(text, tag)
    return text


def _without(text: str, tag: str) -> str:
    lower = text.lower()
    if f"<{tag}" not in lower or len(lower) != len(text):  # a letter whose small form is longer: places would not agree
        return text
    out: list[str] = []
    at = 0
    while (start := lower.find(f"<{tag}", at)) >= 0:
        if lower[start + 1 + len(tag) : start + 2 + len(tag)].isalnum():
            out.append(text[at : start + 1])
            at = start + 1
            continue
        close = lower.find(f"</{tag}>", start)
        if close < 0:
            break
        out.append(text[at:start])
        at = close + len(tag) + 3
    return "".join(out) + text[at:]


def _text(value: Any) -> str:
    """A multi-line string of nbformat: a string, or a list of them."""
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return value if isinstance(value, str) else ""


def _at(value: Any, *keys: str) -> str:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) and re.fullmatch(r"[\w+#.-]{1,40}", value) else ""

"""Pieces of Markdown: code, tables, paragraphs with displayed formulas.

Formulas and code are still marks here (control characters around a number); nothing in this file looks into them.
"""

from __future__ import annotations

import re

_DISPLAY = re.compile(r"\s*(\x06\d+\x03)([.,;:]?(?!\w))\s*")
_LOOSE_DOLLARS = re.compile(r"(?<!\\)\$+")
_WIDEST = 40  # columns of a table that is data


def code_span(text: str) -> str:
    """Code in a line, in as many back ticks as it needs; empty for nothing."""
    text = " ".join(text.split())
    if not text:
        return ""
    if "`" not in text:
        return f"`{text}`"
    ticks = "`" * (1 + max(len(run) for run in re.findall(r"`+", text)))
    pad = " " if text[0] == "`" or text[-1] == "`" else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def fence(text: str, language: str) -> str:
    """A block of code; empty for nothing."""
    text = text.strip("\n").rstrip()
    if not text.strip():
        return ""
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall(r"^`{3,}", text, re.MULTILINE)), default=0))
    return f"{ticks}{language}\n{text}\n{ticks}"


def paragraph(text: str) -> str:
    """A paragraph with its displayed formulas on lines of their own."""
    return _DISPLAY.sub(r"\n\1\2\n", text).strip("\n") if "\x06" in text else text


def escape_dollars(text: str) -> str:
    """Text in which a dollar is a dollar."""
    return _LOOSE_DOLLARS.sub(lambda run: "\\$" * len(run[0]), text)


def table(rows: list[list[str]]) -> str | None:
    """A table of cells that are each one line; ``None`` when it is no table of data (its blocks are text as they
    are)."""
    rows = [row for row in rows if any(row)]
    width = max(map(len, rows), default=0)
    if not 2 <= width <= _WIDEST or len(rows) < 2:
        return None
    if any("\n" in cell or "\x06" in cell for row in rows for cell in row):
        return None
    lines = [
        "| " + " | ".join(cell.replace("|", "\\|") for cell in row + [""] * (width - len(row))) + " |" for row in rows
    ]
    lines.insert(1, "|" + " --- |" * width)
    return "\n".join(lines)


def tidy(blocks: list[str]) -> str:
    """Blocks put together; the items of a list stand close."""
    return "\n\n".join(blocks).replace("\n\n\x07", "\n").replace("\x07", "")

"""Numbers as people read them, and text made safe to show. Pure functions."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

DASH = "–"

# Control characters, lone surrogates, non-characters and marks that turn the direction of writing: in a
# terminal they move the cursor, in a page they hide or reorder text.
_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def visible(text: str) -> str:
    """``text`` with every character that cannot be shown replaced by U+FFFD; line breaks and tabs stay."""
    return _UNSAFE.sub("\ufffd", text.replace("\r\n", "\n"))


def one_line(text: object, limit: int = 80) -> str:
    """``text`` on one line, safe to show, cut to ``limit`` characters."""
    line = " ".join(visible(str(text)[: 4 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def count(value: float | None) -> str:
    """1234567 → ``1.23 M``; up to four digits stay as they are."""
    if value is None or not math.isfinite(value):
        return DASH
    if abs(value) < 10_000:
        return str(int(value)) if float(value).is_integer() else significant(value)
    size = abs(value)
    for unit, limit in (("k", 999.5e3), ("M", 999.5e6), ("G", 999.5e9), ("T", math.inf)):
        if size < limit:
            return f"{_three(value / {'k': 1e3, 'M': 1e6, 'G': 1e9, 'T': 1e12}[unit])} {unit}"
    raise AssertionError("unreachable: every finite number is below infinity")


def size(value: float | None) -> str:
    """A number of bytes: ``512 B``, ``1.8 MB`` (powers of ten)."""
    text = count(value)
    return text if text == DASH else text + ("B" if text[-1].isalpha() else " B")


def significant(value: float | None, digits: int = 3) -> str:
    """``value`` to three significant digits; very small and very large ones with an exponent."""
    if value is None:
        return DASH
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:.0f}"


def percent(value: float | None) -> str:
    """A fraction as ``62.5 %``."""
    return DASH if value is None or not math.isfinite(value) else f"{100 * value:.1f} %"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    """A fraction with its interval: ``62.5 % [55.6, 68.9]``."""
    if value is None or not math.isfinite(value):
        return DASH
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return percent(value)
    return f"{percent(value)} [{100 * low:.1f}, {100 * high:.1f}]"


def duration(seconds: float | None) -> str:
    """``0.4 s``, ``48 s``, ``3 min 20 s``, ``2 h 05 min``, ``3 d 4 h``."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return DASH
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def _three(value: float) -> str:
    text = f"{value:.2f}" if abs(value) < 9.995 else f"{value:.1f}" if abs(value) < 99.95 else f"{value:.0f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def grid(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns, the first two to the left."""
    rows = [list(head), *[list(row) for row in body]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [cell.ljust(width) for cell, width in zip(row[:2], widths, strict=False)]
        cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        return "  ".join(cells).rstrip()

    return [line(rows[0]), "  ".join("─" * width for width in widths), *map(line, rows[1:])]

"""Every trap of ``html_traps.py``: exactly its formulas come out, in order, inline and display as they were."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("selectolax", reason='needs selectolax: pip install "llemma[corpus]"')

from html_traps import TRAPS, D, Trap
from llemma.extract.html_math import extract_html

FORMULA = re.compile(r"(?<!\\)\$\$((?:[^$\\]|\\.)+?)\$\$|(?<!\\)\$((?:[^$\\]|\\.)+?)\$|(`+).+?\3", re.DOTALL)


def squeezed(text: str) -> str:
    return "".join(text.split())


def formulas(markdown: str) -> list[tuple[bool, str]]:
    """Display and TeX of the formulas of a Markdown text, code left out."""
    found = []
    for match in FORMULA.finditer(markdown):
        if match[1] is not None or match[2] is not None:
            found.append((match[1] is not None, squeezed(match[1] or match[2])))
    return found


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.name)
def test_trap(trap: Trap):
    extracted = extract_html(trap.html.encode())
    wanted = [(isinstance(tex, D), squeezed(tex)) for tex in trap.formulas]
    assert formulas(extracted.text) == wanted, extracted.text
    for piece in trap.has:
        assert squeezed(piece) in squeezed(extracted.text), extracted.text
    for piece in trap.lacks:
        assert piece not in extracted.text, extracted.text
    assert extracted.formulas.kept == len(wanted) and not extracted.formulas.lost


def test_the_suite_is_as_large_as_it_says():
    assert len(TRAPS) >= 90 and len({trap.name for trap in TRAPS}) == len(TRAPS)

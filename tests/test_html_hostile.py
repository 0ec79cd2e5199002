"""Pages made to break an extractor: nothing crashes, nothing hangs, nothing grows without bound.

``LLEMMA_HOSTILE=10000 pytest tests/test_html_hostile.py -m slow`` tries that many mutations of real pages
(``LLEMMA_DATA``).
"""

from __future__ import annotations

import os
import random
import resource
import time
from pathlib import Path

import pytest

pytest.importorskip("selectolax", reason='needs selectolax: pip install "llemma[corpus]"')

from llemma.extract.html_math import extract_html

DEEP = 100_000
MATH = b'<script src="MathJax.js"></script>'
SHAPES = {
    "divisions in divisions": b"<div>" * DEEP + b"x",
    "bold in bold": b"<b>" * DEEP + b"x",
    "closed at the end": b"<div>" * DEEP + b"x" + b"</div>" * DEEP,
    "lists in lists": b"<ul><li>" * (DEEP // 2) + b"x",
    "tables in tables": b"<table><tr><td>" * (DEEP // 3) + b"x",
    "quotes in quotes": b"<blockquote><p>x" * (DEEP // 2),
    "MathML in depth": b"<math>" + b"<mrow>" * DEEP + b"<mi>x</mi>",
    "fractions in fractions": b"<math>" + b"<mfrac>" * 5000 + b"<mi>x</mi>" + b"</mfrac>" * 5000 + b"</math>",
    "KaTeX in KaTeX": b'<span class="katex">' * 5000 + b"x",
    "KaTeX spans in depth": b'<span class="katex"><span class="katex-html">' + b'<span class="mord">' * 20_000 + b"x",
    "formulas never closed": MATH + b"<p>" + b"\\( {" * 100_000,
    "dollars": MATH + b"<p>" + b"$" * 500_000,
    "braces never balanced": MATH + b"<p>" + b"\\({ \\)" * 50_000,
    "environments never closed": MATH + b"<p>" + b"\\begin{align}" * 50_000,
    "back ticks": b"<script src='asciimath.js'></script><p>" + b"`" * 200_000,
    "ascii brackets": b"<script src='AsciiMath.js'></script><p>`" + b"(" * 20_000 + b"`",
    "annotations": b'<math><annotation encoding="TeX">' * 10_000,
    "attributes": b"<p " + b" ".join(b"a%d=b" % i for i in range(50_000)) + b">x",
    "one long attribute": b'<img alt="' + b"x" * 5_000_000 + b'" class=latex>',
    "different tags": b"".join(b"<p class=c%d>" % i for i in range(100_000)),
    "formatting opened and never closed": b"".join(b"<b a=%d>" % i for i in range(2000)) + b"<p>x" * 2000,
    "unfinished comment": b"<!--" * 100_000,
    "scripts": b"<script>" * 50_000,
    "null bytes": b"<p>a\0b\0" * 200_000,
    "random bytes": random.Random(5).randbytes(1_000_000),
    "marks of ours": b"<p>&#2;0&#3; \x02\x30\x03 &#4;7&#5; &#6;99999999&#3;</p>",
    "xml": b'<?xml version="1.0"?><html xmlns="x">' + b"<div/><script/>" * 50_000,
    "entities": b"<p>" + b"&amp;&lt;&#x110000;&notit;" * 100_000,
    "frames": b"<frameset><frame>" * 10_000,
    "plaintext": b"<plaintext>" + b"<p>" * 100_000,
    "selects": b"<select><option>" * 30_000,
    "percent signs": MATH + b"<p>\\(" + b"%" * 100_000 + b"\\)",
    "images": b'<img src="https://latex.codecogs.com/png.latex?' + b"%5C" * 100_000 + b'">',
    "wide table": b"<table>" + (b"<tr>" + b"<td>x</td>" * 1000 + b"</tr>") * 100,
    "template": b"<template>" * 20_000,
    "svg": b"<svg><foreignObject>" * 20_000,
    "many dollars": b"<p>" + b"$" * 8_000_000,
    "many unfinished comments": b"<!--" * 2_000_000,
    "many short formulas": b"<p>" + b"$x$ " * 2_000_000,
    "many images": b'<img class="latex" alt="x">' * 300_000,
}
SLOWEST = 2.0  # seconds of processor time for a page on an idle machine of 2024


@pytest.mark.parametrize("shape", SHAPES)
def test_shape(shape):
    start = time.process_time()
    extracted = extract_html(SHAPES[shape])
    seconds = time.process_time() - start
    assert seconds < 5 * SLOWEST, f"{seconds:.1f} s"
    ledger = extracted.formulas
    assert ledger.found == ledger.kept + ledger.boilerplate + sum(ledger.lost.values())
    assert "\x02" not in extracted.text and "\x04" not in extracted.text


def mutated(page: bytes, random: random.Random) -> bytes:
    """A page with something broken in it."""
    kind = random.randrange(8)
    place = random.randrange(max(1, len(page)))
    other = random.randrange(max(1, len(page)))
    if kind == 0:
        return page[:place]
    if kind == 1:
        return page[place:] + page[:place]
    if kind == 2:
        return page[:place] + random.randbytes(random.randrange(200)) + page[place:]
    if kind == 3:
        return page.decode("utf-8", "replace").encode(
            random.choice(["utf-16", "utf-7", "cp1252", "shift_jis"]), "replace"
        )
    if kind == 4:
        return page[:place] + b"\0" * random.randrange(2000) + page[place:]
    if kind == 5:
        tag = random.choice(
            [b"<div>", b"<b>", b"<math>", b"<table>", b"<span class=katex>", b"\\(", b"$$", b"<!--", b"<script>"]
        )
        return page[:place] + tag * random.randrange(2000) + page[place:]
    if kind == 6:
        return page.replace(random.choice([b"</", b">", b'"', b"<span", b"&"]), b"", random.randrange(1, 500))
    start, end = sorted((place, other))
    return page[:start] + page[end:] + page[start:end]


@pytest.mark.slow
def test_mutated_pages():
    data = os.environ.get("LLEMMA_DATA")
    if not data or not (Path(data) / "html").is_dir():
        pytest.skip("needs pages: LLEMMA_DATA=FOLDER pytest -m slow tests/test_html_hostile.py")
    pages = [path.read_bytes() for path in sorted((Path(data) / "html").glob("*.html"))]
    source = random.Random(int(os.environ.get("LLEMMA_SEED", "1")))
    count = int(os.environ.get("LLEMMA_HOSTILE", "200"))
    slowest = 0.0
    for number in range(count):
        page = mutated(source.choice(pages), source)
        start = time.process_time()
        extracted = extract_html(page)
        slowest = max(slowest, time.process_time() - start)
        assert slowest < SLOWEST, f"page {number}: {slowest:.1f} s"
        ledger = extracted.formulas
        assert ledger.found == ledger.kept + ledger.boilerplate + sum(ledger.lost.values())
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3_000_000, "more than 3 GB"

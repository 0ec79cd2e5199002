"""Formulas of real pages: recall against counts of the raw HTML, and LaTeX that other programs accept.

Needs pages (``LLEMMA_DATA``), and for the tests against KaTeX node and ``LLEMMA_KATEX``: the folder of the npm package.
"""

# ruff: noqa: E501 — formulas and rows of tables in one line

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

pytest.importorskip("selectolax", reason='needs selectolax: pip install "llemma[corpus]"')

from llemma.extract.html_math import extract_html
from llemma.extract.katex import katex_latex
from llemma.extract.markup import close_of, tokens, tree
from llemma.extract.mathml import mathml_latex
from llemma.extract.prefilter import may_hold_formulas

BENCH = Path(__file__).resolve().parents[1] / "bench"
MATHML_PAGES = ("mj", "texzilla", "w3c")


@pytest.fixture(scope="module")
def pages() -> dict[str, bytes]:
    data = os.environ.get("LLEMMA_DATA")
    if not data or not (Path(data) / "html").is_dir():
        pytest.skip("needs pages: LLEMMA_DATA=FOLDER pytest -m slow tests/test_html_recall.py")
    return {path.name: path.read_bytes() for path in sorted((Path(data) / "html").glob("*.html"))}


@pytest.fixture
def katex() -> str:
    folder = os.environ.get("LLEMMA_KATEX")
    if not folder:
        pytest.skip(
            "needs KaTeX: npm install katex; LLEMMA_KATEX=node_modules/katex pytest -m slow tests/test_html_recall.py"
        )
    return str(Path(folder).resolve())


def rendered(katex: str, formulas: list[str], output: str = "html") -> list[str]:
    """KaTeX's HTML of each formula, or ``ERR`` and its message."""
    script = (
        f"const katex=require({json.dumps(katex)});const rows=JSON.parse(require('fs').readFileSync(0,'utf8'));"
        "console.log(JSON.stringify(rows.map(x=>{try{return katex.renderToString(x,{output:'"
        + output
        + "',displayMode:true,"
        "throwOnError:true,strict:false})}catch(e){return 'ERR '+e.message}})));"
    )
    done = subprocess.run(
        ["node", "-e", script], input=json.dumps(formulas), capture_output=True, text=True, timeout=100, check=True
    )
    return list(json.loads(done.stdout))


def bench():
    sys.path.insert(0, str(BENCH))
    try:
        spec = importlib.util.spec_from_file_location("html_recall", BENCH / "html_recall.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(BENCH))
    return module


@pytest.mark.slow
def test_formulas_are_kept_by_kind(pages):
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    measure = bench().measure
    for name, data in pages.items():
        if len(data) > 160_000:
            continue  # bench/html_recall.py counts them all
        for kind, kept, _ in measure(name, data):
            counts[kind][0] += 1
            counts[kind][1] += kept
    recall = {kind: kept / found for kind, (found, kept) in counts.items()}
    assert {"annotation", "script", "img alt", "alttext", "delimiters in .math", "KaTeX HTML-only", "MathML"} <= set(
        recall
    )
    least = {"MathML": 0.97, "KaTeX HTML-only": 0.95}
    assert {kind: value for kind, value in recall.items() if value < least.get(kind, 0.99)} == {}


@pytest.mark.slow
def test_pages_with_formulas_pass_the_prefilter(pages):
    lost = [name for name, data in pages.items() if extract_html(data).formulas.found and not may_hold_formulas(data)]
    assert lost == []


def mathml_formulas(pages: dict[str, bytes]) -> list[str]:
    """The LaTeX of the presentation of every ``math`` element of the MathML pages."""
    found = []
    for name, data in pages.items():
        parts = tokens(data) if name.startswith(MATHML_PAGES) else []
        for i in range(1, len(parts), 2):
            if parts[i].startswith(("<math>", "<math ")):
                found.append(mathml_latex(tree(parts, i, close_of(parts, i, len(parts)))))
    assert len(found) > 150
    return found


@pytest.mark.slow
def test_latex_of_mathml_is_read_by_latex2mathml(pages):
    converter = pytest.importorskip("latex2mathml.converter")
    found, refused = mathml_formulas(pages), []
    for tex in found:
        try:
            converter.convert(tex)
        except Exception as error:  # whatever it raises is a refusal
            refused.append((tex, repr(error)))
    assert len(refused) <= 0.03 * len(found), refused


@pytest.mark.slow
def test_latex_of_mathml_is_read_by_katex(pages, katex):
    found = mathml_formulas(pages)
    refused = [(tex, out) for tex, out in zip(found, rendered(katex, found), strict=True) if out.startswith("ERR")]
    assert len(refused) <= 0.03 * len(found), refused


FORMULAS = [
    "\\frac{a}{b+c}", "x_1^2", "\\sqrt[3]{x+\\sqrt{y}}", "\\sum_{i=1}^n i^2", "\\lim_{x\\to 0}\\frac{\\sin x}{x}", "\\binom{n}{k}",
    "\\left(\\frac12\\right)^2", "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}", "\\begin{cases}1&x>0\\\\0&x=0\\end{cases}",
    "\\begin{aligned}a&=b\\\\c&=d\\end{aligned}", "\\hat{x}\\bar y\\vec{v}\\dot z", "\\overline{AB}\\underline{c}", "\\overbrace{x+y}^{n}",
    "\\underbrace{x}_{k}", "\\mathbb{R}\\mathcal{A}\\mathfrak{g}\\mathbf{v}\\mathrm{d}", "a\\neq b\\not\\subset c", "\\xrightarrow[b]{a}",
    "\\boxed{x}", "\\text{if } x \\text{ is}", "f'(x)", "\\int_a^b f\\,dx", "\\operatorname{Tr}A", "a\\bmod b", "a\\equiv b\\pmod{n}",
    "\\widehat{abc}", "\\begin{array}{c|c}1&2\\\\3&4\\end{array}", "\\stackrel{a}{=}", "\\cancel{x}", "\\lfloor x\\rfloor", "|x|\\le\\|y\\|",
]  # fmt: skip


@pytest.mark.slow
def test_katex_read_back_renders_the_same_signs(katex):
    def signs(page: str) -> str:
        return re.sub(r"<[^>]*>|\s|\u200b", "", page)

    back = []
    for page in (pages := rendered(katex, FORMULAS)):
        parts = tokens(page)
        start = next(k for k in range(1, len(parts), 2) if "katex-html" in parts[k])
        back.append(katex_latex(tree(parts, start, close_of(parts, start, len(parts)))))
    again = rendered(katex, back)
    wrong = [(a, b) for a, b, one, two in zip(FORMULAS, back, pages, again, strict=True) if signs(one) != signs(two)]
    assert wrong == []

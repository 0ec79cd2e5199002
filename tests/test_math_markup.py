"""AsciiMath, MathML, MathJax's boxes and TeX as found, each to LaTeX."""

# ruff: noqa: E501 — formulas and rows of tables in one line

from __future__ import annotations

import pytest

pytest.importorskip("selectolax", reason='needs selectolax: pip install "llemma[corpus]"')

from llemma.extract.asciimath import asciimath_latex
from llemma.extract.html_math import extract_html
from llemma.extract.markup import tokens, tree
from llemma.extract.mathml import MathmlError, mathml_latex
from llemma.extract.tex_text import clean_tex, without_settings


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    ("source", "latex"),
    [
        ("sum_(i=1)^n i^3=((n(n+1))/2)^2", "\\sum_{i=1}^{n}i^{3}=\\left(\\frac{n(n+1)}{2}\\right)^{2}"),
        ("x/x={(1,if x!=0)", "\\frac{x}{x}="),
        ("[[a,b],[c,d]]((n),(k))", "\\begin{bmatrix}a&b\\\\c&d\\end{bmatrix}\\begin{pmatrix}n\\\\k\\end{pmatrix}"),
        ("sqrt sqrt root3 x", "\\sqrt{\\sqrt{\\sqrt[3]{x}}}"),
        ("hat(ab) bar x", "\\hat{ab}\\overline{x}"),
        ('"some text" alpha in RR', "\\text{some text}\\alpha\\in\\mathbb{R}"),
        ("|x| <= oo", "\\left|x\\right|\\leq\\infty"),
        (")", ")"),
        ("(" * 500, ""),
        ("", ""),
    ],
)
def test_asciimath(source, latex):
    assert squeezed(asciimath_latex(source)).startswith(squeezed(latex))


def of_mathml(inside: str) -> str:
    parts = tokens(f"<math>{inside}</math>")
    i = next(k for k in range(1, len(parts), 2) if parts[k] == "<math>")
    return mathml_latex(tree(parts, i, parts.index("</math>")))


@pytest.mark.parametrize(
    ("inside", "latex"),
    [
        ("<mi>sin</mi><mo>&#x2061;</mo><mi>x</mi>", "\\sin x"),
        ("<mi>a</mi><mo>-</mo><mi>b</mi>", "a-b"),
        ("<mo>(</mo><mfrac linethickness='0'><mi>n</mi><mi>k</mi></mfrac><mo>)</mo>", "\\binom{n}{k}"),
        ("<munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>0</mn></mrow><mi>n</mi></munderover><mi>i</mi>", "\\sum_{i=0}^ni"),
        ("<mover><mi>x</mi><mo>¯</mo></mover>", "\\bar{x}"),
        ("<mover accent='true'><mrow><mi>A</mi><mi>B</mi></mrow><mo>→</mo></mover>", "\\overrightarrow{AB}"),
        ("<msup><mi>f</mi><mo>′</mo></msup>", "f'"),
        ("<msup><msup><mi>a</mi><mi>b</mi></msup><mi>c</mi></msup>", "{a^b}^c"),
        ("<mi mathvariant='double-struck'>R</mi><mi>𝒜</mi><mi mathvariant='normal'>d</mi>", "\\mathbb{R}\\mathcal{A}\\mathrm{d}"),
        ("<mtext>if </mtext><mi>x</mi>", "\\text{if }x"),
        ("<mroot><mi>x</mi><mn>3</mn></mroot>", "\\sqrt[3]{x}"),
        ("<mmultiscripts><mi>F</mi><mn>1</mn><none/><mprescripts/><mn>2</mn><none/></mmultiscripts>", "{}_{2}F_{1}"),
        ("<mfenced open='[' close=']'><mi>a</mi><mi>b</mi></mfenced>", "[a, b]"),
        ("<mo>{</mo><mtable columnalign='left'><mtr><mtd><mn>1</mn></mtd><mtd><mi>x</mi></mtd></mtr></mtable>",
         "\\begin{cases}1&x\\end{cases}"),
        ("<menclose notation='box'><mi>x</mi></menclose>", "\\boxed{x}"),
        ("<mi>A</mi><mo>⊆</mo><mi>B</mi><mo>≠</mo><mi>∅</mi>", "A\\subseteq B\\neq\\emptyset"),
        ("<mn>50</mn><mo>%</mo><mo>#</mo><mo>&amp;</mo>", "50\\%\\#\\&"),
        ("<mover><mo>→</mo><mtext>def</mtext></mover>", "\\xrightarrow{\\text{def}}"),
        ("<munder><mi>argmax</mi><mi>x</mi></munder>", "\\operatorname*{argmax}_x"),
    ],
)  # fmt: skip
def test_mathml(inside, latex):
    assert squeezed(of_mathml(inside)) == squeezed(latex)


def test_mathml_without_content_is_an_error():
    with pytest.raises(MathmlError):
        of_mathml("<mrow></mrow>")
    lost = extract_html(b"<p><math><mrow></mrow></math></p>").formulas
    assert lost.lost == {"mathml": 1} and lost.why == {"mathml: nothing in it": 1}


def test_mathjax_boxes_drawn_as_svg():
    page = (
        '<mjx-container class="MathJax" jax="SVG"><svg><g><g data-mml-node="math"><g data-mml-node="mfrac"><g data-mml-node="mi">'
        '<use data-c="1D44E"></use></g><g data-mml-node="mi"><use data-c="1D44F"></use></g><rect></rect></g></g></g></svg>'
        "</mjx-container>"
    )
    assert extract_html(page.encode()).text == "$\\frac{a}{b}$"


@pytest.mark.parametrize(
    ("found", "clean"),
    [
        ("$ x $", "x"),
        ("\\[ a \\]", "a"),
        ("a % c\n b", "a b"),
        ("a \\% b", "a \\% b"),
        ("20% of x", "20\\% of x"),
        ("{\\displaystyle x^{2}}", "x^{2}"),
        ("{\\displaystyle a}+{b}", "{\\displaystyle a}+{b}"),
        ("\\text{if $x$}", "\\text{if \\(x\\)}"),
        ("\\text{\\$5}", "\\text{\\$5}"),
        ("a\\ ", "a\\ "),
        ("%", ""),
        ("  ", ""),
    ],
)
def test_tex_as_found(found, clean):
    assert clean_tex(found) == clean


def test_settings_of_renderers_go():
    assert without_settings("\\dpi{110}&space;\\large&space;x") == "x"

"""Small pages on which extractors lose, double, swap or invent formulas; every one with the formulas it must give.

``formulas`` are all formulas of the output in order, display ones behind ``D``; ``has`` and ``lacks`` are pieces of the
output's text. White space does not count. ``tests/test_html_traps.py`` runs them.
"""

# ruff: noqa: E501 — pages of one line read best in one line

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Trap:
    """A page and what has to come out of it."""

    name: str
    html: str
    formulas: tuple[str, ...] = ()
    has: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()


class D(str):
    """A displayed formula."""

    __slots__ = ()


MJ = '<script src="https://cdn.jsdelivr.net/npm/mathjax@3/es5/tex-mml-chtml.js"></script>'
MJ2 = '<script src="//cdn.mathjax.org/mathjax/latest/MathJax.js?config=TeX-AMS-MML_HTMLorMML"></script>'
DOLLARS = "<script>MathJax = {tex: {inlineMath: [['$', '$'], ['\\\\(', '\\\\)']]}};</script>" + MJ
KATEX_X = (
    '<span class="katex"><span class="katex-mathml"><math xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mrow><mi>x'
    '</mi></mrow><annotation encoding="application/x-tex">x%s</annotation></semantics></math></span><span class="katex-html" '
    'aria-hidden="true"><span class="base"><span class="strut"></span><span class="mord mathnormal">x</span></span></span></span>'
)
KATEX_X2 = (
    '<span class="katex"><span class="katex-html" aria-hidden="true"><span class="base"><span class="strut"></span>'
    '<span class="mord"><span class="mord mathnormal">x</span><span class="msupsub"><span class="vlist-t"><span class="vlist-r">'
    '<span class="vlist" style="height:0.8141em;"><span style="top:-3.063em;margin-right:0.05em;"><span class="pstrut" '
    'style="height:2.7em;"></span><span class="sizing reset-size6 size3 mtight"><span class="mord mtight">2</span></span></span>'
    "</span></span></span></span></span></span></span></span>"
)
KATEX_HALF = (
    '<span class="katex"><span class="katex-html" aria-hidden="true"><span class="base"><span class="mord"><span class="mopen '
    'nulldelimiter"></span><span class="mfrac"><span class="vlist-t vlist-t2"><span class="vlist-r"><span class="vlist">'
    '<span style="top:-2.314em;"><span class="pstrut" style="height:3em;"></span><span class="mord"><span class="mord">2</span>'
    '</span></span><span style="top:-3.23em;"><span class="pstrut" style="height:3em;"></span><span class="frac-line"></span>'
    '</span><span style="top:-3.677em;"><span class="pstrut" style="height:3em;"></span><span class="mord"><span class="mord">1'
    '</span></span></span></span><span class="vlist-s">\u200b</span></span><span class="vlist-r"><span class="vlist"><span></span>'
    '</span></span></span></span><span class="mclose nulldelimiter"></span></span></span></span></span>'
)
MML_FRAC = "<mfrac><mi>a</mi><mi>b</mi></mfrac>"
WIKI = (
    '<span class="mwe-math-element"><span class="mwe-math-mathml-inline mwe-math-mathml-a11y" style="display: none;"><math '
    'alttext="{\\displaystyle a^{2}}"><semantics><mrow><mi>a</mi></mrow><annotation encoding="application/x-tex">{\\displaystyle '
    'a^{2}}</annotation></semantics></math></span><img src="https://wikimedia.org/api/rest_v1/media/math/render/svg/0a" '
    'class="mwe-math-fallback-image-inline" aria-hidden="true" alt="{\\displaystyle a^{2}}"></span>'
)
TRAPS = [
    # MathJax 2: scripts
    Trap(name="script inline", html='<p>Let <script type="math/tex">a_1</script> be</p>', formulas=("a_1",), has=("Let", "be")),
    Trap(name="script display", html='<script type="math/tex; mode=display">\\sum_i x_i</script>', formulas=(D("\\sum_i x_i"),)),
    Trap(name="script display, no space", html='<script type="math/tex;mode=display">E=mc^2</script>', formulas=(D("E=mc^2"),)),
    Trap(name="script with a semicolon", html='<script type="math/tex;">k</script>', formulas=("k",)),
    Trap(
        name="CDATA in a script",
        html='<script type="math/tex">% <![CDATA[\na<b \\& c % ]]></script>',
        formulas=("a<b \\& c",),
        lacks=("CDATA",),
    ),
    Trap(name="script with less than", html='<p><script type="math/tex">a<b<c>d</script></p>', formulas=("a<b<c>d",)),
    Trap(
        name="rendered MathJax 2 and its script",
        html='<p>so <span class="MathJax_Preview">k2</span><span class="MathJax" id="MathJax-Element-1-Frame" tabindex="0"><nobr>'
        '<span class="math" id="MathJax-Span-1"><span class="mi">k</span><span class="mn">2</span></span></nobr></span>'
        '<script type="math/tex" id="MathJax-Element-1">k^2</script> it is</p>',
        formulas=("k^2",),
        lacks=("k2",),
    ),
    Trap(
        name="rendered MathJax 2 display and its script",
        html='<div class="MathJax_Display"><span class="MathJax" id="MathJax-Element-2-Frame"><span class="math">y3</span></span>'
        '</div><script type="math/tex; mode=display" id="MathJax-Element-2">y_3</script>',
        formulas=(D("y_3"),),
        lacks=("y3",),
    ),
    Trap(
        name="MathJax 2 SVG with data-mathml, script gone",
        html='<p><span class="MathJax_SVG" id="MathJax-Element-1-Frame" data-mathml="&lt;math&gt;&lt;msup&gt;&lt;mi&gt;x&lt;/mi&gt;'
        '&lt;mn&gt;2&lt;/mn&gt;&lt;/msup&gt;&lt;/math&gt;"><svg></svg><span class="MJX_Assistive_MathML"><math><msup><mi>x</mi><mn>2'
        "</mn></msup></math></span></span></p>",
        formulas=("x^2",),
    ),
    Trap(
        name="preview and script, not rendered",
        html='<p><span class="MathJax_Preview">\\alpha</span><script type="math/tex">\\alpha</script></p>',
        formulas=("\\alpha",),
    ),
    Trap(name="math/mml script", html='<script type="math/mml"><math><mi>x</mi><mo>+</mo><mn>1</mn></math></script>', formulas=("x+1",)),
    Trap(name="math/asciimath script", html='<script type="math/asciimath">x^2/3</script>', formulas=("\\frac{x^{2}}{3}",)),
    Trap(name="other scripts are no text", html='<p>a</p><script>var x = "$y$ \\\\(z\\\\)";</script>' + MJ, lacks=("var", "y", "z")),
    # MathJax 3
    Trap(
        name="MathJax 3 with assistive MathML",
        html='<p>for <mjx-container class="MathJax" jax="CHTML"><mjx-math aria-hidden="true"><mjx-mi><mjx-c class="mjx-c1D465 TEX-I">'
        '</mjx-c></mjx-mi></mjx-math><mjx-assistive-mml unselectable="on" display="inline"><math><msub><mi>x</mi><mn>0</mn></msub>'
        "</math></mjx-assistive-mml></mjx-container> we</p>",
        formulas=("x_0",),
    ),
    Trap(
        name="MathJax 3 display",
        html='<mjx-container class="MathJax" jax="SVG" display="true"><svg><g></g></svg><mjx-assistive-mml display="block"><math '
        'display="block"><mi>y</mi></math></mjx-assistive-mml></mjx-container>',
        formulas=(D("y"),),
    ),
    Trap(
        name="MathJax 3 boxes alone",
        html='<mjx-container class="MathJax" jax="CHTML"><mjx-math><mjx-msup><mjx-mi class="mjx-i"><mjx-c class="mjx-c1D465 TEX-I">'
        '</mjx-c></mjx-mi><mjx-script style="vertical-align: 0.363em;"><mjx-mn class="mjx-n" size="s"><mjx-c class="mjx-c32"></mjx-c>'
        "</mjx-mn></mjx-script></mjx-msup></mjx-math></mjx-container>",
        formulas=("x^2",),
    ),
    # KaTeX
    Trap(name="KaTeX with annotation", html=f"<p>if {KATEX_X % '_1'} then</p>", formulas=("x_1",), has=("if", "then")),
    Trap(name="KaTeX display", html=f'<p><span class="katex-display">{KATEX_X % "_2"}</span></p>', formulas=(D("x_2"),)),
    Trap(name="KaTeX HTML-only", html=f"<p>So {KATEX_X2}.</p>", formulas=("x^2",), has=("So",)),
    Trap(name="KaTeX HTML-only display", html=f'<p><span class="katex-display">{KATEX_HALF}</span></p>', formulas=(D("\\frac{1}{2}"),)),
    Trap(name="KaTeX HTML-only twice", html=f"<li>{KATEX_X2} and {KATEX_X2}</li>", formulas=("x^2", "x^2")),
    Trap(
        name="KaTeX MathML only",
        html=f'<span class="katex"><math><semantics><mrow>{MML_FRAC}</mrow><annotation encoding="application/x-tex">a/b</annotation>'
        "</semantics></math></span>",
        formulas=("a/b",),
    ),
    Trap(
        name="KaTeX auto-render options",
        html='<script src="katex.min.js"></script><script>renderMathInElement(document.body, {delimiters: [{left: "$$", right: "$$", '
        'display: true}, {left: "$", right: "$", display: false}]});</script><p>A $q$ and $$r+s$$</p>',
        formulas=("q", D("r+s")),
    ),
    # delimiters
    Trap(name="round and square", html=MJ + "<p>\\(a_{12}\\) then \\[\\sum_k k\\]</p>", formulas=("a_{12}", D("\\sum_k k"))),
    Trap(name="double dollars", html=MJ + "<p>Now $$x \\over y$$ holds</p>", formulas=(D("x \\over y"),), has=("Now", "holds")),
    Trap(name="single dollars by settings", html=DOLLARS + "<p>Let $n$ and $m+1$.</p>", formulas=("n", "m+1")),
    Trap(
        name="settings in a MathJax 2 block",
        html='<script type="text/x-mathjax-config">MathJax.Hub.Config({tex2jax: {inlineMath: [["$","$"], ["\\\\(","\\\\)"]], '
        "processEscapes: true}});</script>" + MJ2 + "<p>cost \\$5, not $p_5$</p>",
        formulas=("p_5",),
        has=("cost \\$5",),
    ),
    Trap(
        name="delimiters of one's own",
        html="<script>window.MathJax = {tex: {inlineMath: [['[;', ';]']], displayMath: [['[[', ']]']]}};</script>" + MJ
        + "<p>Here [; x+y ;] and [[z^2]]</p>",
        formulas=("x+y", D("z^2")),
    ),
    Trap(name="prices", html="<p>It costs $5 and then $10. Use \\alpha.</p>", has=("\\$5 and then \\$10",)),
    Trap(name="prices on a page with MathJax", html=DOLLARS + "<p>It costs $5 and then $10 a day, $n$ times.</p>", formulas=("n",)),
    Trap(name="prices in a range", html=MJ + "<p>between $20-$30 or $1,000/$2,000 each</p>", has=("\\$20-\\$30",)),
    Trap(name="variables of a shell", html="<p>Set $HOME and $PATH to $USER:$GROUP</p>", has=("\\$HOME and \\$PATH",)),
    Trap(name="environment without delimiters", html=MJ + "<p>\\begin{align} a&amp;=b\\\\ c&amp;=d \\end{align}</p>",
         formulas=(D("\\begin{align} a&=b\\\\ c&=d \\end{align}"),)),
    Trap(name="starred environment", html=MJ + "<p>\\begin{equation*}x=1\\end{equation*}</p>",
         formulas=(D("\\begin{equation*}x=1\\end{equation*}"),)),
    Trap(name="text with the word aligned", html=MJ + "<p>\\(x \\text{ aligned}\\)</p>", formulas=("x \\text{ aligned}",)),
    Trap(name="aligned inside display", html=MJ + "<p>$$\\begin{aligned}a&amp;=1\\end{aligned}$$</p>",
         formulas=(D("\\begin{aligned}a&=1\\end{aligned}"),)),
    Trap(name="dollar in text", html=MJ + "<p>\\(x = \\text{\\$5}\\)</p>", formulas=("x = \\text{\\$5}",)),
    Trap(name="formula in text in formula", html=DOLLARS + "<p>\\(a \\text{ if $b$}\\)</p>", formulas=("a \\text{ if \\(b\\)}",)),
    Trap(name="comment in TeX", html='<script type="math/tex">a % first\n+ b % second\n</script>', formulas=("a + b",)),
    Trap(name="percent sign in TeX", html=MJ + "<p>\\(50\\% + x\\)</p>", formulas=("50\\% + x",)),
    Trap(name="less than as a reference", html=MJ + "<p>\\(a &lt; b &amp; c\\)</p>", formulas=("a < b & c",)),
    Trap(name="a break inside", html=MJ + "<p>$$a<br>+ b$$</p>", formulas=(D("a + b"),)),
    Trap(name="code is no formula", html=DOLLARS + "<p>Type <code>$x$</code> for $x$.</p>", formulas=("x",), has=("`$x$`",)),
    Trap(name="pre is no formula", html=DOLLARS + "<pre>echo $a $b \\(c\\)</pre><p>$z$</p>", formulas=("z",), has=("echo $a $b \\(c\\)",)),
    Trap(name="ignored by class", html=DOLLARS + '<p>Write <span class="tex2jax_ignore">$x$</span> for $y$.</p>', formulas=("y",),
         has=("\\$x\\$",)),
    Trap(name="space at the end", html=MJ + "<p>\\(a\\ \\) b</p>", formulas=("a\\ ",)),
    Trap(name="braces around a dollar", html=MJ + "<p>$$a \\mbox{for $$ b} c$$</p>", formulas=(D("a \\mbox{for  b} c"),)),
    Trap(name="unclosed delimiter", html=MJ + "<p>an open \\( bracket</p><p>\\(x\\)</p>", formulas=("x",), has=("an open", "bracket")),
    Trap(name="AsciiMath in back ticks", html='<script src="MathJax.js?config=AM_CHTML"></script><p>so `x_1 + sqrt(y)` is</p>',
         formulas=("x_{1}+\\sqrt{y}",)),
    Trap(name="back ticks without AsciiMath", html=MJ + "<p>a `quoted` word</p>", has=("`quoted`",)),
    # MathML
    Trap(name="MathML", html=f"<p>is <math>{MML_FRAC}</math></p>", formulas=("\\frac{a}{b}",)),
    Trap(name="MathML with a prefix", html="<p><m:math><m:msup><m:mi>w</m:mi><m:mn>7</m:mn></m:msup></m:math></p>", formulas=("w^7",)),
    Trap(name="MathML, prefix, empty elements",
         html='<mml:math><mml:mi>a</mml:mi><mml:mspace width="1em"/><mml:mi>b</mml:mi></mml:math>', formulas=("a\\quad b",)),
    Trap(name="mathml mspace left open",
         html='<math><mi>a</mi><mspace width="1em"><mi>b</mi><mspace width="1em"><mi>c</mi></math>', formulas=("a\\quad b\\quad c",)),
    Trap(name="MathML display", html='<math display="block"><msqrt><mn>2</mn></msqrt></math>', formulas=(D("\\sqrt{2}"),)),
    Trap(name="MathML alttext", html='<math class="ltx_Math" alttext="\\mathbb{Z}_p" display="inline"><mi>Z</mi></math>',
         formulas=("\\mathbb{Z}_p",)),
    Trap(name="annotation before alttext",
         html='<math alttext="bad"><semantics><mi>x</mi><annotation encoding="application/x-tex">\\xi</annotation></semantics></math>',
         formulas=("\\xi",)),
    Trap(name="annotation TeX", html='<math><semantics><mi>F</mi><annotation encoding="TeX">F</annotation></semantics></math>', formulas=("F",)),
    Trap(name="annotation that is not TeX",
         html='<math><semantics><msub><mi>c</mi><mn>1</mn></msub><annotation encoding="StarMath 5.0">c sub 1</annotation></semantics></math>',
         formulas=("c_1",)),
    Trap(name="matrix", html="<math><mrow><mo>(</mo><mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>0</mn></mtd></mtr><mtr><mtd><mn>0</mn></mtd>"
         "<mtd><mn>1</mn></mtd></mtr></mtable><mo>)</mo></mrow></math>", formulas=("\\begin{pmatrix}1&0\\\\0&1\\end{pmatrix}",)),
    Trap(name="escaped MathML is prose", html="<p>the tag &lt;math&gt; is</p>", has=("<math>",)),
    # images
    Trap(name="image with a class", html='<p>let <img class="latex" src="/a.png" alt="x^{n}"> be</p>', formulas=("x^{n}",)),
    Trap(name="sphinx imgmath", html='<p>in <img class="math" src="_images/math/7.png" alt="\\mathbb{Z}[x]"/>:</p>', formulas=("\\mathbb{Z}[x]",)),
    Trap(name="sphinx imgmath display", html='<div class="math"><p><img src="_images/math/8.png" alt="a = b"/></p></div>',
         formulas=(D("a = b"),)),
    Trap(name="doxygen image", html='<p><img class="formulaInl" alt="$i\\geq k$" src="form_37.png"/></p>', formulas=("i\\geq k",)),
    Trap(name="doxygen display", html='<p class="formulaDsp"><img class="formulaDsp" alt="\\[ x=1 \\]" src="form_1.png"/></p>',
         formulas=(D("x=1"),)),
    Trap(name="codecogs", html='<img src="https://latex.codecogs.com/png.latex?\\dpi{110}&space;\\bg_white&space;\\frac{a}{b}">',
         formulas=("\\frac{a}{b}",), lacks=("dpi", "space")),
    Trap(name="codecogs, encoded", html='<img src="http://latex.codecogs.com/gif.latex?%5Calpha+%5Cbeta">', formulas=("\\alpha+\\beta",)),
    Trap(name="latex.php", html='<img src="https://s0.wp.com/latex.php?latex=e%5E%7Bi%5Cpi%7D%2B1&bg=fff" class="latex" alt="e^{i\\pi}+1"/>',
         formulas=("e^{i\\pi}+1",)),
    Trap(name="latex.php without alt", html='<img src="https://s0.wp.com/latex.php?latex=%5Cphi%281%29&amp;bg=ffffff">', formulas=("\\phi(1)",)),
    Trap(name="mimetex", html='<img src="/cgi-bin/mimetex.cgi?\\int_0^1">', formulas=("\\int_0^1",)),
    Trap(name="a photograph", html='<p>see <img src="cat.jpg" alt="a cat that costs $5"> here</p>', has=("see here",)),
    Trap(name="Wikipedia", html=f"<p>with {WIKI} so</p>", formulas=("a^{2}",), has=("with", "so")),
    Trap(name="Wikipedia image alone", html='<p><img class="mwe-math-fallback-image-inline" alt="{\\displaystyle b}" src="x.svg"></p>', formulas=("b",)),
    Trap(name="Wikipedia HTML formula", html='<p><span class="texhtml"><i>x</i><sub>1</sub> &lt; 2</span></p>', formulas=("x_{1} < 2",)),
    # elements and attributes
    Trap(name="StackExchange inline", html='<p>if <span class="math-container">$a|b$</span> then</p>', formulas=("a|b",)),
    Trap(name="StackExchange display", html='<p><span class="math-container">$$c=d$$</span></p>', formulas=(D("c=d"),)),
    Trap(name="pandoc", html='<p><span class="math inline">\\(u\\)</span> <span class="math display">\\[v\\]</span></p>', formulas=("u", D("v"))),
    Trap(name="pandoc in HTML", html='<p><span class="math inline"><em>x</em><sup>2</sup></span></p>', formulas=("x^{2}",)),
    Trap(name="arithmatex", html='<p><span class="arithmatex">$O(\\log n)$</span></p><div class="arithmatex">$$k!$$</div>',
         formulas=("O(\\log n)", D("k!"))),
    Trap(name="MathQuill", html='<p><span class="mathquill-rendered-math"><span class="selectable">$\\frac{1}{x}$</span><span>1x</span></span></p>',
         formulas=("\\frac{1}{x}",), lacks=("1x",)),
    Trap(name="MathQuill attribute", html='<p><span class="mq-math-mode" data-latex="y^3"><span class="mq-root-block">y3</span></span></p>',
         formulas=("y^3",)),
    Trap(name="jsMath", html='<p><span class="math">\\gamma_1</span></p><div class="math">\\sum x</div>', formulas=("\\gamma_1", D("\\sum x"))),
    Trap(name="wp-katex", html='<p><span class="wp-katex-eq" data-display="false">e^x</span> <span class="wp-katex-eq" data-display="true">e^y</span></p>',
         formulas=("e^x", D("e^y"))),
    Trap(name="data-expr", html='<p><span class="tex" data-expr="\\theta">θ</span></p>', formulas=("\\theta",)),
    Trap(name="distill", html="<p><d-math>w^k</d-math> <d-math block>w_0</d-math></p>", formulas=("w^k", D("w_0"))),
    Trap(name="math code of Markdown", html='<p><code class="language-math math-inline">s^2</code></p>', formulas=("s^2",)),
    Trap(name="Zhihu", html='<p><span class="ztext-math" data-tex="\\lambda">x</span></p>', formulas=("\\lambda",)),
    Trap(name="a division called math", html='<div class="math"><h2>Mathematics</h2><p>We like \\(x\\).</p></div>' + MJ, formulas=("x",),
         has=("## Mathematics", "We like")),
    # text around
    Trap(name="hidden twice", html='<p>a <span style="display:none">secret</span> b</p>', has=("a b",), lacks=("secret",)),
    Trap(name="navigation goes", html="<nav><a href=1>Home</a> <a href=2>Away</a></nav><main><h1>T</h1><p>Text of the page.</p></main>",
         has=("# T", "Text"), lacks=("Home",)),
    Trap(name="short list stays", html="<p>Given:</p><ul><li>a group</li><li>a ring</li></ul>", has=("- a group", "- a ring")),
    Trap(name="numbered list", html="<ol><li>one</li><li>two</li></ol>", has=("1. one", "2. two")),
    Trap(name="table", html="<table><tr><th>n</th><th>n!</th></tr><tr><td>3</td><td>6</td></tr></table>", has=("| n | n! |", "| 3 | 6 |")),
    Trap(name="formula in a table", html=MJ + "<table><tr><td>name</td><td>\\(a|b\\)</td></tr><tr><td>x</td><td>y</td></tr></table>",
         formulas=("a|b",)),
    Trap(name="definition list", html="<dl><dt>Group</dt><dd>A set with an operation.</dd></dl>", has=("Group", "A set with an operation.")),
    Trap(name="powers in prose", html="<p>about 10<sup>5</sup> and H<sub>2</sub>O, the 1<sup>st</sup><sup><a href='#n'>[3]</a></sup></p>",
         has=("10^5", "H_2", "1st"), lacks=("[3]",)),
    Trap(name="formula in a heading", html=MJ + "<h2>On \\(\\pi\\)</h2><p>text</p>", formulas=("\\pi",), has=("## On",)),
    Trap(name="nested anchors", html="<h2>Title<a class=headerlink href=#t>¶</a></h2><p>t</p>", has=("## Title",), lacks=("¶",)),
]  # fmt: skip

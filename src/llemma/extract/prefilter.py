"""Which pages of a crawl may hold formulas, told from their raw bytes before anything is parsed.

Most pages hold none and are told apart by four searches for literal bytes. Only the others are looked at more closely:
a renderer that a site loads everywhere is no formula, nor is a backslash in a script.
"""

from __future__ import annotations

import re

# Every way to write a formula in a page has one of these in it, or a backslash: <math, MathJax, class="math, math/tex,
# mathquill … | katex, latex.php, class="latex, codecogs' latex? … | MathJax alone | doxygen's images.
_TRIGGERS = (b"math", b"atex", b"MathJax", b'class="formula')

_WRITTEN = re.compile(
    rb"""<(?:\w{1,8}:)?math[\s>]|type=["']?math/(?:tex|mml|asciimath)|class=["']?katex|katex-html|mjx-container|mwe-math
    |class=["'][^"'>]{0,60}?\b(?:math|math-container|math-tex|arithmatex|MathJax_[A-Z]\w+|ltx_Math|mathjax|latex|formulaInl|formulaDsp
    |math-inline|math-display|ztext-math|wp-katex-eq|ql-img-inline-formula|mathquill-[a-z-]+|mq-math-mode|texhtml|tex
    |formula)\b
    |codecogs\.com/[^\s"']*\?|latex\.php\?|mimetex\.cgi\?|mathtex\.cgi\?|tex\.cgi\?|/equation\?tex=|render/math\?|chart\?cht=tx
    |\[(?:latex|tex|itex|math)\]
    |<(?:d-math|math-field|tex-math|la-tex)[\s>]|data-(?:latex|tex|mathml|expr)=|language-math""",
    re.VERBOSE,
)
_RENDERER = re.compile(rb"[Mm]ath[Jj]ax|[Kk]a[Tt]e[Xx]|jsMath|[Aa]scii[Mm]ath|ASCIIMath")
_NAMES = (
    rb"(?:frac|sum|int|prod|lim|sqrt|alpha|beta|gamma|delta|epsilon|lambda|mu|pi|sigma|theta|phi|omega|infty|partial|nabla|leq?|geq?|neq?"
    rb"|cdot|times|ldots|cdots|mathbb|mathbf|mathcal|mathrm|text|left|right|to|in|subset|forall|exists|overline|hat|vec|log|sin|cos|equiv"
    rb"|approx|Delta|Gamma|Omega|Sigma|rightarrow|Rightarrow|mapsto|pmod|binom|begin)(?![a-zA-Z])"
)
_COMMAND = re.compile(rb"\\" + _NAMES)
_ENVIRONMENT = (
    rb"\\begin\{(?:equation|align|gather|multline|eqnarray|displaymath|array|cases|[pbv]?matrix|split|alignat|flalign)"
    rb"\*?\}"
)
_DELIMITED = re.compile(  # on a page with a renderer
    rb"\\\([^<]{1,2000}?\\\)|\\\[[^<]{1,4000}?\\\]|\$\$[^$]{1,4000}\$\$|" + _ENVIRONMENT
    + rb"|(?<![\w\\])\$[^$<>\n]{0,200}?(?:[\\^_=]|\b[a-zA-Z]\b)[^$<>\n]{0,200}\$"
    + rb"|`[^`<>\n]{1,200}`|\[(?:latex|tex|itex|math)\]"
)  # fmt: skip
_TEX = re.compile(  # on a page without: TeX between delimiters, or an environment
    _ENVIRONMENT + rb"|\$[^$<>\n]{0,300}?\\" + _NAMES + rb"[^$<>\n]{0,300}?\$|\\[(\[][^<\n]{0,300}?\\" + _NAMES
    + rb"[^<\n]{0,300}?\\[)\]]|\[(?:latex|tex|itex|math)\]"
)  # fmt: skip
_SCRIPTS = re.compile(rb"<(script|style)\b[^>]*>.*?</\1>|<!--.*?-->", re.DOTALL | re.IGNORECASE)
_AROUND = 100  # bytes on either side of a trigger: an element's name and its class
_MOST_NEAR = 4000
_MOST = 4_000_000  # bytes of a page that are looked at closely


def may_hold_formulas(page: bytes) -> bool:
    """Whether the raw bytes of a page (in an encoding that keeps ASCII) may hold a formula."""
    page = page[:_MOST]
    near = _surroundings(page)
    if near and _WRITTEN.search(near):
        return True
    rendered = bool(near) and _RENDERER.search(near) is not None
    if not rendered and (b"\\" not in page or not _COMMAND.search(page)):
        return False
    if b"\\" not in page and b"$" not in page and b"`" not in page:
        return False
    return bool((_DELIMITED if rendered else _TEX).search(_SCRIPTS.sub(b"", page)))


def _surroundings(page: bytes) -> bytes:
    """The bytes around every trigger."""
    parts: list[bytes] = []
    for trigger in _TRIGGERS:
        place = page.find(trigger)
        while place >= 0 and len(parts) < _MOST_NEAR:
            parts.append(page[max(0, place - _AROUND) : place + _AROUND])
            place = page.find(trigger, place + _AROUND // 2)
    return b"\n".join(parts)

"""What the tags of a page mean for its text: one lookup per distinct start tag.

Decides nothing that depends on the place of an element in its page.
"""

from __future__ import annotations

import functools
import re
from typing import Final, NamedTuple

from llemma.extract.markup import VOID, name_of, value
from llemma.extract.words import word_set

# What the walk does at a tag. Numbers, because the walk compares them for every tag of a page.
NOTHING: Final = 0
BREAK: Final = 1
BLOCK: Final = 2  # a container or paragraph opens
END: Final = 3  # and closes
LINK: Final = 4
LINK_END: Final = 5
SKIP: Final = 6  # the element and all in it is left out
SCRIPT: Final = 7
CODE: Final = 8
PRE: Final = 9
RAISED: Final = 10  # sup, sub
IMAGE: Final = 11
MATH: Final = 12  # a formula with its rendering: what is inside is for llemma.extract.formulas
VOID_BLOCK: Final = 13  # hr
LITERAL: Final = 14  # delimiters inside are no delimiters

# Elements that start a new line; those in CONTAINERS are also judged as a whole.
CONTAINERS: Final = word_set(
    "div section article main aside nav header footer form ul ol dl table figure fieldset details body center "
    "blockquote menu"
)
BLOCKS: Final = CONTAINERS | word_set("""p h1 h2 h3 h4 h5 h6 li dt dd td th tr thead tbody tfoot caption
blockquote address
figcaption summary legend hgroup
    search menu dir
noindex""")
_SKIPPED = word_set("""head style template button select textarea input option datalist iframe object applet
audio video canvas
map noscript
    svg noembed noframes xmp progress meter dialog rp title frameset""")
_WHOLE = word_set("style iframe xmp noembed noframes")  # one token with all that is in them
_INLINE_CODE = word_set("code kbd samp tt")

_NOT_MAIN = re.compile(
    r"""(?:^|[\s_-])(?:nav|navbar|navigation|navigator|navpath|menu|menubar|submenu|breadcrumbs?|sidebar|side-?bar|toolbar
    |cookies?|consent|gdpr|banner|advert|advertisement|ads|sponsor(?:ed)?|promo|share|sharing|social|share-?buttons
    |comments?
    |comment-?list|disqus|respond|reply-?form|related|recommend(?:ed|ations)?|pagination|pager|prev-?next|footer
    |masthead
    |site-?header|page-?header|topbar|login|signup|subscribe|newsletter|popup|modal|overlay|tag-?cloud|widget|toc
    |skip-?link
    |skip-?nav|screen-?reader-text|sr-only|visually-hidden|noprint|copyright|colophon|search-?form|searchbox
    |related-?posts
    |sphinxsidebar|wy-nav-side|rst-versions|md-sidebar|md-header|md-footer|md-nav|md-tabs|md-search|md-source|md-dialog
    |nav-wrapper|nav-chapters|menu-bar|mobile-nav-chapters|theme-toggle|navbox|catlinks|printfooter|mw-jump-link|siteSub
    |contentSub|mw-editsection|hatnote|vector-menu|mw-navigation|mw-panel|headertabs|ChapterList|chlinktop
    |chlinkprevnext(?:top|bot)
    |chlinkbot|chlinktop|headerlink|edit-?link|edit-?page|page-?nav|doc-?nav)(?:$|[\s_-])""",
    re.VERBOSE | re.IGNORECASE,
)
_SKIP_CLASS = re.compile(
    r"""(?:^|\s)(?:headerlink|anchor-?link|header-?anchor|mw-editsection|reference-edit
    |MJX_Assistive_MathML|MathJax_Processing|MathJax_Processed|linenos|lineno|linenumbers?|line-numbers-rows|gutter
    |rouge-gutter
    |copybtn|copy-?button|clip-?button|sr-only|screen-reader-text|visually-hidden|noprint|edit-?section|footnote-backref
    |post-menu|vote-?cell|js-voting-container|user-info|viewcode-link|md-clipboard|mobile-nav-chapters|toggle-?button
    |mqp-?sr-only|mq-selectable)(?:$|\s)""",
    re.VERBOSE,
)
_MAIN = re.compile(
    r"(?:^|\s)(?:main|content|main-content|page-content|post-content|entry-content|article-?body|article-content|post-?body"
    r"|mw-parser-output|mw-content-text|bodyContent|document|body|rst-content|md-content|md-content__inner|bd-article|contents"
    r"|article|post|entry|markdown-body|ltx_page_content|ltx_document|storycontent|chapter|book-content|theorem)(?:$|\s)",
    re.IGNORECASE,
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_MATH_CLASS = re.compile(
    r"""(?:^|\s)(?:katex|katex-display|katex-html|katex-mathml|katex-block|katex-inline|katex-error|katex-eq|MathJax|MathJax_Display
    |MathJax_SVG|MathJax_SVG_Display|MathJax_CHTML|MathJax_MathML|MathJax_MathML_Display|MathJax_PlainSource
    |MathJax_PHTML|MathJax_PHTML_Display
    |MathJax_NativeMML|MathJax_Preview|mjx-chtml|MJXc-display|mwe-math-element|texhtml|mathquill-[a-z-]+|mq-math-mode
    |math-container|math-tex|tex|latex
    |wp-katex-eq|ql-formula|ztext-math|texerror|math|formula|equation|typst-math|arithmatex|ltx_Math|ltx_math_unparsed
    |math-inline|math-display|inline-math|display-math|displaymath|inlinemath|math-block|asciimath|AM|mathjax-block
    |notion-equation|notion-equation-inline|latex-block|latex-inline|mathp|formulaDsp|formulaInl)(?:$|\s)""",
    re.VERBOSE,
)  # fmt: skip
_MATH_ELEMENTS = word_set(
    "math mjx-container d-math math-field math-inline math-block math-display tex-math mathjax x-equation katex-inline "
    "katex-block"
    " la-tex jats:tex-math inline-formula disp-formula amp-mathml tex latex formula gmath asciimath mathtex"
)
_MATH_ATTRIBUTES = (
    ' data-expr="', ' data-latex="', ' data-tex="', ' data-value="', ' data-math="', ' data-formula="',
    ' data-mathml="',
    ' data-equation="', ' data-katex="', ' data-asciimath="', ' data-original-tex="', ' data-tex-source="',
)  # fmt: skip
_IGNORE = re.compile(r"(?:^|\s)(?:tex2jax_ignore|mathjax_ignore|asciimath2jax_ignore|no-mathjax|nokatex)(?:$|\s)")
_MATH_CODE = re.compile(
    r"(?:^|\s)(?:math|language-math|lang-math|math-inline|math-display|language-latex-math)(?:$|\s)"
)


class Tag(NamedTuple):
    """What a tag means: what to do, the element's name, and how it looks from its classes."""

    op: int
    name: str
    poor: bool = False  # looks like a menu, a banner, comments
    main: bool = False  # looks like the main text
    hidden: bool = False
    classes: str = ""


LINKED: Final = Tag(LINK, "a")
UNLINKED: Final = Tag(NOTHING, "")


def learn(tag: str) -> Tag:
    """The meaning of a tag."""
    if tag.startswith("<a ") and " data-" not in tag and ' style="' not in tag:
        return _link(value(tag, "class"), ' href="' in tag, ' hidden="' in tag)
    name = name_of(tag)
    bare = name.rpartition(":")[2].lower()
    if tag.startswith("</"):
        if name in BLOCKS:
            return Tag(END, name)
        return Tag(LINK_END if name == "a" else NOTHING, name)
    if tag.startswith("<!"):
        return Tag(NOTHING, "")
    if name == "script":
        return Tag(SCRIPT, name)
    if name in _WHOLE or (name in VOID and name not in ("img", "br", "hr")):
        return Tag(NOTHING, name)
    if bare == "math":
        return Tag(MATH, "math")
    if name == "span" and ' class="' not in tag and " data-" not in tag and "isp" not in tag and "isib" not in tag:
        return UNLINKED
    if " " not in tag:
        return Tag(_op(name), name, poor=name in ("nav", "footer"), main=name in ("main", "article"))
    classes = value(tag, "class")
    hidden = (' style="' in tag and bool(_HIDDEN.search(value(tag, "style")))) or ' hidden="' in tag
    data = " data-" in tag and any(mark in tag for mark in _MATH_ATTRIBUTES)
    label = ""
    if name in _NAMED_BY_ID and "section" not in classes:  # the id of a section is its heading and says nothing
        label = f" {value(tag, 'id')} {value(tag, 'role')}"
    main = ' itemprop="articleBody"' in tag
    return _meaning(name, classes, label, hidden, data and ' data-value="' not in tag, data, ' href="' in tag, main)


@functools.lru_cache(maxsize=8192)
def _link(classes: str, href: bool, hidden: bool) -> Tag:
    """The meaning of a link, of which a page has hundreds that differ in their address only."""
    if not classes and not hidden:
        return LINKED if href else UNLINKED
    return _meaning("a", classes, "", hidden, False, False, href, False)


@functools.lru_cache(maxsize=8192)
def _meaning(
    name: str, classes: str, label: str, hidden: bool, data: bool, formula_data: bool, href: bool, main: bool
) -> Tag:
    """The meaning of a start tag from what matters in it."""
    if name not in ("html", "body") and (found := _special(name, classes, data, formula_data)):
        return found
    op = _op(name)
    if op != BLOCK:
        if op == NOTHING and hidden:
            op = SKIP
        if op == LINK and not href:
            op = NOTHING
        return Tag(op, name, classes=classes)
    poor, called_main = _looks(classes + label)
    poor = name in ("nav", "footer") or (poor and name not in ("html", "body"))
    main = main or called_main or name in ("main", "article")
    return Tag(op, name, poor=poor and not main, main=main and not poor, hidden=hidden, classes=classes)


_NAMED_BY_ID = word_set("div nav aside ul ol header footer table form main")


@functools.lru_cache(maxsize=8192)
def _looks(label: str) -> tuple[bool, bool]:
    return bool(_NOT_MAIN.search(label)), bool(_MAIN.search(label))


def _special(name: str, classes: str, data: bool, formula_data: bool) -> Tag | None:
    """Elements that mean more than their name says: formulas by class or attribute, and what is never text."""
    if name == "img":
        return None
    if classes:
        if name in ("code", "pre"):
            return Tag(MATH, name, classes=classes) if _MATH_CODE.search(classes) else None
        if _SKIP_CLASS.search(classes):
            return Tag(SKIP, name)
        if _IGNORE.search(classes) and name not in BLOCKS:
            return Tag(LITERAL, name)
        if _MATH_CLASS.search(classes) and name not in ("body", "table", "section", "article", "main"):
            return Tag(MATH, name, classes=classes)
    if name in _MATH_ELEMENTS:
        return Tag(MATH, name, classes=classes)
    if (data or (formula_data and "formula" in classes)) and name not in BLOCKS - {"div", "p"}:
        return Tag(MATH, name, classes=classes)
    return None


def _op(name: str) -> int:
    if name in BLOCKS:
        return BLOCK
    if name in _OPS:
        return _OPS[name]
    if name in _SKIPPED:
        return SKIP
    return MATH if name in _MATH_ELEMENTS else NOTHING


_OPS = {
    "br": BREAK, "wbr": NOTHING, "a": LINK, "img": IMAGE, "pre": PRE, "listing": PRE, "sup": RAISED, "sub": RAISED,
    "hr": VOID_BLOCK,
    **dict.fromkeys(_INLINE_CODE, CODE),
}  # fmt: skip

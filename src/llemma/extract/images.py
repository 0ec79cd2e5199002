"""Images that are formulas: by class, by the address of a renderer, by what stands in their alternative text."""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_plus

from llemma.extract.formulas import Formula
from llemma.extract.tex_text import is_display, without_settings

# Renderers: a part of the address → the parameter with the TeX; an empty name: the whole query.
_RENDERERS = (
    ("codecogs.com", ""), ("mimetex.cgi", ""), ("mathtex.cgi", ""), ("math.now.sh", "from"), ("render/math", "math"),
    ("latex.php", "latex"), ("zhihu.com/equation", "tex"), ("tex.z-dn.net", "f"), ("chart.googleapis.com/chart", "chl"),
    ("chart.apis.google.com/chart", "chl"), ("google.com/chart", "chl"), ("/tex.cgi", ""), ("texify", ""),
    ("sciweavers.org/tex2img.php", "eq"),
    ("latex.ppl.ai", ""), ("quicklatex", ""), ("/cgi-bin/tex", ""), ("tex.s2cms", ""), ("/mathjax/svg", "tex"),
)  # fmt: skip
_UPMATH = re.compile(r"//i\.upmath\.me/(?:svg|png)/(.+)$")
_CLASS = re.compile(
    r"""(?:^|\s)(?:math|tex|latex|latexcenter|latexdisplay|latexblock|latexblockcenter|texrender|formulaInl|formulaDsp|equation
    |inlineformula|displayformula|mathtex-equation-editor|math-inline|math-display|ee_img|tr_noresize
    |x-ck12-[a-z-]*math|x-ck12-[a-z]+
    |ql-img-inline-formula|ql-img-displayed-equation|mwe-math-fallback-[a-z-]+|Wirisformula|teximage|eqn|formula
    |equation_image
    |MathJax_SVG|docmath|latex-img|asciimath|m)(?:$|\s)""",
    re.VERBOSE,
)  # fmt: skip
_DISPLAY = re.compile(r"display|Dsp|center|block(?!-inline)", re.IGNORECASE)
_MATHML_ALT = re.compile(r"«math|<math")
_LOOKS_TEX = re.compile(r"\\[a-zA-Z]+|[_^]\{?|\$")
_WORDS = re.compile(r"(?:\b[A-Za-z]{3,}\b[\s,.]*){3,}")


def image_formula(given: dict[str, str], display: bool) -> Formula | None:
    """The formula of an image from its attributes; ``None`` when it is a picture.

    ``display`` says that the image stands alone in an element made for formulas.
    """
    classes, alt = given.get("class", ""), given.get("alt", "")
    for name in (
        "data-latex",
        "data-tex",
        "data-equation",
        "data-formula",
        "data-original-tex",
        "data-equation-content",
    ):
        if given.get(name, "").strip():
            return Formula("img-alt", given[name], display or bool(_DISPLAY.search(classes)))
    display = display or bool(_DISPLAY.search(classes))
    address = given.get("src", "") or given.get("data-src", "") or given.get("data-lazy-src", "")
    if address.startswith("data:"):
        address = given.get("data-src", "") or given.get("data-lazy-src", "") or given.get("data-original", "")
    source = _from_address(address)
    marked = bool(classes and _CLASS.search(classes))
    if source is None and not marked and "/math/" not in address and "latex" not in address.lower():
        if not (alt.startswith(("$", "\\(", "\\[", "\\begin")) and len(alt) > 2 and alt.rstrip()[-1] in "$)]}"):
            return None
        return Formula("img-alt", alt, display or is_display(alt))
    if source and ("codecogs" in address or "cgi" in address or not alt or "\\dpi" in source):
        return Formula("img-src", without_settings(source), display or is_display(source))
    if (
        alt.strip()
        and not _MATHML_ALT.search(alt)
        and _is_tex(alt, marked or ((display or "/math/" in address) and "/" not in alt))
    ):
        return Formula("img-alt", alt, display or is_display(alt))
    if source:
        return Formula("img-src", without_settings(source), display or is_display(source))
    if marked and not re.search(r"(?:^|\s)(?:m|formula|equation|center)(?:$|\s)", classes):
        if "math" in given.get("data-mathml", ""):
            return Formula("img-alt", lost="MathML of an editor")
        return Formula("img-alt", lost="no alternative text")
    return None


def _is_tex(alt: str, likely: bool) -> bool:
    if _LOOKS_TEX.search(alt):
        return True
    return likely and not _WORDS.search(alt) and not alt.lower().startswith(("image", "figure", "picture"))


def _from_address(address: str) -> str | None:
    """The TeX in the address of a renderer; ``None`` for any other address."""
    lower = address.lower()
    if "?" not in address:
        found = _UPMATH.search(address)
        return unquote(found[1]) if found else None
    for part, parameter in _RENDERERS:
        if part not in lower:
            continue
        query = address.partition("?")[2]
        if not parameter:
            return unquote(
                query.replace("+", "%2B") if "%20" in query or "&space;" in query or "\\" in query else query
            ).strip()
        if "chart" in part and "cht=tx" not in lower:
            return None
        for pair in query.replace("&amp;", "&").split("&"):
            name, _, value = pair.partition("=")
            if name == parameter:
                plus = "%20" not in value and "+" in value and "%2b" in value.lower()
                return (unquote_plus(value) if plus or "latex.php" in part else unquote(value)).strip()
    return None

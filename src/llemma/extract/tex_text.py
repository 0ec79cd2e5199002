"""TeX as it is found in pages, made safe to stand in a line of Markdown.

Comments go (a ``%`` would swallow the rest of a collapsed line), wrappers and delimiters come off, white space
collapses. The mathematics itself is not rewritten.
"""

from __future__ import annotations

import re

_CDATA = re.compile(r"\s*(?:%|//)?\s*<!\[CDATA\[(.*?)(?:%|//)?\s*\]\]>\s*", re.DOTALL)
_COMMENT = re.compile(r"(?<!\\)((?:\\\\)*)%([^\n]*)(\n\s*|\Z)")
_DELIMITED = re.compile(
    r"\$\$(?P<a>(?:[^$\\]|\\.)*)\$\$|\$(?P<b>(?:[^$\\]|\\.)*)\$|\\\((?P<c>(?:(?!\\\)).)*)\\\)|\\\[(?P<d>(?:(?!\\\]).)*)\\\]",
    re.DOTALL,
)
_DISPLAYSTYLE = re.compile(r"\{\\(?:displaystyle|textstyle) (.*)\}", re.DOTALL)
_DISPLAY_ENVIRONMENT = re.compile(
    r"\\begin\{(?:equation|align|alignat|flalign|gather|multline|eqnarray|displaymath|math|IEEEeqnarray)(\*?)\}"
)
_DOLLARS = re.compile(r"(?<!\\)((?:\\\\)*)\$((?:[^$\\]|\\.)+)\$", re.DOTALL)
_STRAY_DOLLAR = re.compile(r"(?<!\\)((?:\\\\)*)\$")
_SETTINGS = re.compile(
    r"\\(?:dpi|bg|fg)\s*(?:\{[^{}]*\}|_[a-z]+)|\\(?:bg|fg)_[a-z]+(?![a-zA-Z])|\\(?:inline|fn_[a-z]+|opaque|png|gif|svg)(?![a-zA-Z])"
)
_SIZE = re.compile(r"\\(?:tiny|small|normal|large|LARGE|huge)(?![a-zA-Z])")


def clean_tex(tex: str) -> str:
    """One line of TeX without comments, outer delimiters and superfluous spaces; empty when nothing is left."""
    if "<![CDATA[" in tex and (inside := _CDATA.fullmatch(tex)):
        tex = inside[1]
    tex = tex.strip()
    if "%" in tex:
        tex = _COMMENT.sub(_without_comment, tex)
    if tex[:1] in ("$", "\\") and (match := _DELIMITED.fullmatch(tex)):
        tex = match[match.lastgroup or "a"].strip() or tex.strip("$ ")
    if tex.startswith("{\\") and (wrapped := _DISPLAYSTYLE.fullmatch(tex)) and balanced(wrapped[1]):
        tex = wrapped[1]
    tex = " ".join(tex.split())
    if "$" in tex:
        tex = _STRAY_DOLLAR.sub(r"\1", _DOLLARS.sub(r"\1\\(\2\\)", tex))
    if len(tex) - len(tex.rstrip("\\")) & 1:
        tex += " "  # a control space at the end; without it the closing dollar would be escaped
    return tex


def is_display(tex: str) -> bool:
    """Whether TeX as found asks for display by itself: by its delimiters or its environment."""
    tex = tex.lstrip()
    return tex.startswith(("$$", "\\[")) or bool(_DISPLAY_ENVIRONMENT.match(tex))


def without_settings(tex: str) -> str:
    """TeX from an image's address without the renderer's own commands (``\\dpi{110}``, ``\\bg_white``, sizes in
    front)."""
    return _SIZE.sub("", _SETTINGS.sub(" ", tex.replace("&space;", " ")), count=1).strip()


def balanced(tex: str) -> bool:
    """Whether braces pair up, escaped ones aside."""
    depth = 0
    for brace in re.findall(r"\\.|[{}]", tex):
        depth += (brace == "{") - (brace == "}")
        if depth < 0:
            return False
    return depth == 0


def _without_comment(match: re.Match[str]) -> str:
    before, comment, end = match.groups()
    if not end and match.start() and match.string[match.start() - 1].isdigit():
        return f"{before}\\%{comment}"  # "50% of": one line, a percentage and no comment
    return str(before)

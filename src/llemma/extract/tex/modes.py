"""What depends on whether TeX is in mathematics: ``\\ensuremath``, ``\\ifmmode``; and ``\\xspace``, which asks for the
next letter. Also counts formulas. A formula ends with its paragraph, so that one paragraph is read at a time.
"""

from __future__ import annotations

import re

from llemma.extract.tex import scan

_ASKS = re.compile(scan.ODD + r"(ensuremath|ifmmode)(?![A-Za-z@])")
_XSPACE = re.compile(scan.ODD + r"xspace(?![A-Za-z@])(?:\{\})?([ \t]*)")
_NO_SPACE_BEFORE = set(".,'/?;:!~-)}]\n\\") | {""}
_MATH_NAMES = (
    "equation align gather multline eqnarray displaymath math flalign alignat dmath subeqnarray IEEEeqnarray empheq"
    " equation* align* gather* multline* eqnarray* flalign* alignat* dmath* IEEEeqnarray*"
)
_MATH = frozenset(_MATH_NAMES.split())
_MARKS = re.compile(
    r"[{}]|\$\$?|\\(?:(?:begin|end)\s*\{[A-Za-z]+\*?\}|(?:text[a-z]*|mbox|hbox|fbox|intertext|shortintertext|emph)\s*\{"
    r"|[()\[\]\\${}])"
)
_BRACKETS = {"\\(": True, "\\[": True, "\\)": False, "\\]": False}
_ENVIRONMENTS = re.compile(rf"\\begin\s*\{{(?:{scan.word_trie(_MATH)})\}}")
_ELSE_FI = re.compile(scan.ODD + r"(if(?!f(?![A-Za-z@]))[A-Za-z@]*|else|fi)(?![A-Za-z@])")


def settle(text: str) -> str:
    """``text`` with those three decided: nothing for a reader of the result to compute."""
    if "\\ensuremath" in text or "\\ifmmode" in text:
        text = _decided(text)
    if "\\xspace" in text:
        text = _XSPACE.sub(lambda m: "" if text[m.end() : m.end() + 1] in _NO_SPACE_BEFORE else " ", text)
    return text


class Modes:
    """Whether a place is inside a formula; places are asked for in ascending order, so that the text is read once."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._mode = text, 0, False
        self._stack: list[tuple[str, bool]] = []  # what ends the mode, and the mode from then on

    def at(self, place: int) -> bool:
        """Whether the mode at ``place`` is mathematics."""
        paragraph = self._text.rfind("\n\n", self._at, place)
        mode, stack = self._mode, self._stack
        if paragraph >= 0:
            self._at, mode = paragraph, False
            stack.clear()
        for mark in _MARKS.findall(self._text, self._at, place):
            if mark == "{":
                stack.append(("}", mode))
            elif mark == "}":
                if stack and stack[-1][0] == "}":
                    mode = stack.pop()[1]
            elif mark[0] == "$":
                if stack and stack[-1][0] == mark:
                    mode = stack.pop()[1]
                else:
                    stack.append((mark, mode))
                    mode = True
            elif mark in _BRACKETS:
                mode = _BRACKETS[mark]
            elif mark[-1] == "}" and len(mark) > 2:
                if mark[mark.index("{") + 1 : -1] in _MATH:
                    mode = mark.startswith("\\begin")
                    stack.clear()
            elif mark[-1] == "{" and len(mark) > 2:
                stack.append(("}", mode))
                mode = False
        self._at, self._mode = place, mode
        return mode


def _decided(text: str) -> str:
    """Passes over the text until no question is left: a decided one may hold another."""
    look = scan.Scanner()
    for _ in range(4):
        out: list[str] = []
        at = 0
        modes = Modes(text)
        for found in _ASKS.finditer(text):
            start = found.start(1) - 1
            if start < at:
                continue
            math = modes.at(start)
            asks = found[1] == "ensuremath"
            read = _ensured(look, text, found.end(), start, math) if asks else _branch(look, text, found.end(), math)
            if read is not None:
                out.append(text[at:start])
                piece, at = read
                if piece[-1:].isalpha() and text[at : at + 1].isalpha() and scan.CONTROL_WORD_END.search(piece[-60:]):
                    piece += " "
                out.append(piece)
        if not out:
            break
        text = "".join(out) + text[at:]
    return text


def _ensured(look: scan.Scanner, text: str, at: int, start: int, math: bool) -> tuple[str, int] | None:
    group = look.argument(text, at)
    if group is None:
        return None
    inner = group[0].strip()
    if math:
        return (f"{{{inner}}}" if text[start - 1 : start] in {"^", "_", "}"} else inner), group[1]
    return (inner if "$" in inner else f"${inner}$"), group[1]


def _branch(look: scan.Scanner, text: str, at: int, math: bool) -> tuple[str, int] | None:
    depth, middle = 0, -1
    for found in _ELSE_FI.finditer(text, at, at + 5_000 if look.vain > 0 else at):
        if found[1] == "fi" and not depth:
            end = found.start(1) - 1
            if math:
                return text[at : middle if middle >= 0 else end].strip(), found.end()
            return (text[middle + 5 : end].strip() if middle >= 0 else ""), found.end()
        if found[1] == "else" and not depth:
            middle = found.start(1) - 1
        elif found[1] != "else":
            depth += 1 if found[1].startswith("if") else -1
    look.missed(text, at, 5_000)
    return None


def count_formulas(text: str) -> int:
    """Formulas in cleaned LaTeX, inline and displayed, by their delimiters."""
    double = text.count("$$")
    single = text.count("$") - text.count("\\$") - 2 * double
    brackets = text.count("\\(") + text.count("\\[") - text.count("\\\\(") - text.count("\\\\[")
    return max(0, single) // 2 + double // 2 + max(0, brackets) + len(_ENVIRONMENTS.findall(text))

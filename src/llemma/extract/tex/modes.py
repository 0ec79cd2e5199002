"""What depends on whether TeX is in mathematics: ``\\ensuremath``, ``\\ifmmode``, and ``\\xspace``, which asks for the next
letter. Also counts formulas. A formula ends with its paragraph, so that one paragraph is read at a time.
"""

from __future__ import annotations

import re

from llemma.extract.tex import scan

_ASKS = re.compile(scan.ODD + r"(ensuremath|ifmmode)(?![A-Za-z@])")
_XSPACE = re.compile(scan.ODD + r"xspace(?![A-Za-z@])(?:\{\})?([ \t]*)")
_NO_SPACE_BEFORE = set(".,'/?;:!~-)}]\n\\") | {""}
_MATH = (
    "equation align gather multline eqnarray displaymath math flalign alignat dmath subeqnarray IEEEeqnarray empheq"
    " equation* align* gather* multline* eqnarray* flalign* alignat* dmath* IEEEeqnarray*"
).split()
_MARKS = re.compile(
    r"\\(begin|end)\s*\{([A-Za-z]+\*?)\}|(\\(?:text[a-z]*|mbox|hbox|fbox|intertext|shortintertext|emph)\s*\{)"
    r"|(\\[()\[\]])|\\.|(\$\$?)|([{}])",
    re.DOTALL,
)
_ENVIRONMENTS = re.compile(rf"\\begin\s*\{{(?:{scan.word_trie(_MATH)})\}}")
_ELSE_FI = re.compile(scan.ODD + r"(if(?!f(?![A-Za-z@]))[A-Za-z@]*|else|fi)(?![A-Za-z@])")


def settle(text: str) -> str:
    """``text`` with those three decided: nothing for a reader of the result to compute."""
    if "\\ensuremath" in text or "\\ifmmode" in text:
        text = _decided(text)
    if "\\xspace" in text:
        text = _XSPACE.sub(lambda m: "" if text[m.end() : m.end() + 1] in _NO_SPACE_BEFORE else " ", text)
    return text


def in_math(text: str, start: int, at: int) -> bool:
    """Whether ``at`` is inside a formula, given that ``start`` is not."""
    mode = False
    stack: list[tuple[str, bool]] = []
    for found in _MARKS.finditer(text, start, at):
        side, name, box, bracket, dollars, brace = found.groups()
        if side:
            if name in _MATH:
                mode = side == "begin"
                stack.clear()
        elif box or brace == "{":
            stack.append(("}", mode))
            mode = mode and not box
        elif brace:
            if stack and stack[-1][0] == "}":
                mode = stack.pop()[1]
        elif bracket:
            mode = bracket in {"\\(", "\\["}
        elif dollars:
            if stack and stack[-1][0] == dollars:
                mode = stack.pop()[1]
            else:
                stack.append((dollars, mode))
                mode = True
    return mode


def _decided(text: str) -> str:
    """Passes over the text until no question is left: a decided one may hold another."""
    for _ in range(4):
        out: list[str] = []
        at = 0
        for found in _ASKS.finditer(text):
            start = found.start(1) - 1
            if start < at:
                continue
            paragraph = max(text.rfind("\n\n", max(0, start - 10_000), start), 0, start - 10_000)
            math = in_math(text, paragraph, start)
            read = _ensured(text, found.end(), start, math) if found[1] == "ensuremath" else _branch(text, found.end(), math)
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


def _ensured(text: str, at: int, start: int, math: bool) -> tuple[str, int] | None:
    group = scan.argument(text, at)
    if group is None:
        return None
    inner = group[0].strip()
    if math:
        return (f"{{{inner}}}" if text[start - 1 : start] in {"^", "_", "}"} else inner), group[1]
    return (inner if "$" in inner else f"${inner}$"), group[1]


def _branch(text: str, at: int, math: bool) -> tuple[str, int] | None:
    depth, middle = 0, -1
    for found in _ELSE_FI.finditer(text, at, at + 5_000):
        if found[1] == "fi" and not depth:
            end = found.start(1) - 1
            behind = found.end() + (text[found.end() : found.end() + 1] == " ")
            if math:
                return text[at : middle if middle >= 0 else end].strip(), behind
            return (text[middle + 5 : end].strip() if middle >= 0 else ""), behind
        if found[1] == "else" and not depth:
            middle = found.start(1) - 1
        elif found[1] != "else":
            depth += 1 if found[1].startswith("if") else -1
    return None


def count_formulas(text: str) -> int:
    """Formulas in cleaned LaTeX, inline and displayed, by their delimiters."""
    double = text.count("$$")
    single = text.count("$") - text.count("\\$") - 2 * double
    brackets = text.count("\\(") + text.count("\\[") - text.count("\\\\(") - text.count("\\\\[")
    return max(0, single) // 2 + double // 2 + max(0, brackets) + len(_ENVIRONMENTS.findall(text))

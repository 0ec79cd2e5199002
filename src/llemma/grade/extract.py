r"""Finds the final answer in free text a model wrote; does not judge or interpret it.

Every rule is a fixed sentence or mark, searched in linear time whatever the text. The rules, tried in order:

``final-answer``  ``Final Answer: The final answer is X. I hope it is correct.`` (Llemma paper, section 3.1, after
                  Minerva). The first one counts: what a base model writes after it is a new problem. The tail may be
                  missing, because "I hope it is correct." is the stop string.
``the-answer``    ``The answer is X.`` (Wei et al., 2022). Again the first: after its answer a base model goes on
                  with the next question of the few-shot pattern. The paper's GSM8K scorer takes the first, too.
``boxed``         ``\boxed{X}`` with nested braces. The last complete one: intermediate results are boxed as well.
``hashes``        ``#### X`` to the end of the line, the first (the format of the GSM8K reference solutions).
``last-number``   the last number of the text; only when asked for, because it turns rambling into answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FINAL = re.compile(r"final answer:\s{0,9}the final answer is", re.IGNORECASE)
_ANSWER = re.compile(r"\bthe (?:final |correct )?answer is\b:?", re.IGNORECASE)
_HOPE = re.compile(r"[.,]?\s{0,9}I hope\b", re.IGNORECASE)
_BRACE = re.compile(r"\\(?:boxed|fbox)\s{0,9}\{|\\[{}]|[{}]")
_HASHES = re.compile(r"####")
_NUMBER = re.compile(r"(?<![0-9A-Za-z.,/])[-\u2212]?[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?")
_LONG = 4000  # characters; nothing reads an answer of this length, so its delimiters may stay
_PAIRS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """The text of a final answer, without its delimiters, and the name of the rule that found it."""

    text: str
    rule: str


def extract(text: str, *, last_number: bool = False) -> Extracted | None:
    """The final answer of a completion, or ``None`` when no rule of this module finds one.

    ``last_number`` allows the last resort. A rule that finds its sentence with nothing in it ends the search:
    the model then gave an empty answer. Never raises.
    """
    for rule, find in (("final-answer", _final), ("the-answer", _the_answer), ("boxed", _boxed), ("hashes", _hashes)):
        found = find(text)
        if found is not None:
            found = strip(found)
            return Extracted(text=found, rule=rule) if found else None
    if last_number:
        numbers = _NUMBER.findall(text)
        if numbers:
            return Extracted(text=numbers[-1].rstrip(","), rule="last-number")
    return None


def strip(text: str) -> str:
    r"""An answer without what stands around it: blanks, a final period, ``$…$``, ``\(…\)``, bold, ``\boxed{…}``.

    A single ``$`` in front (``$18``) stays: it may be a currency, which the reader of the answer decides.
    """
    if len(text) > _LONG:
        return text.strip()
    for _ in range(8):  # delimiters nest a few levels deep at most
        before = text
        text = _unperiod(text.strip(" \t\r\n*"))  # * is Markdown's bold
        for left, right in _PAIRS:
            if text.startswith(left) and text.endswith(right) and len(text) >= len(left) + len(right):
                inner = text[len(left) : len(text) - len(right)]
                if left not in inner and right not in inner:
                    text = inner
                    break
        box = re.match(r"\\(?:boxed|fbox)\s{0,9}\{", text)
        if box and text.endswith("}") and _closing(text, box.end()) == len(text) - 1:
            text = text[box.end() : -1]
        if text == before:
            break
    return text


def _unperiod(text: str) -> str:
    """Without the sentence marks at the end."""
    return text.rstrip(".;,!").rstrip()


def _final(text: str) -> str | None:
    mark = _FINAL.search(text)
    if mark is None:
        return None
    line = _line(text, mark.end())
    hope = _HOPE.search(line)
    return line[: hope.start()] if hope else _sentence(line)


def _the_answer(text: str) -> str | None:
    mark = _ANSWER.search(text)
    return None if mark is None else _sentence(_line(text, mark.end()))


def _hashes(text: str) -> str | None:
    mark = _HASHES.search(text)
    return None if mark is None else text[mark.end() :].split("\n", 1)[0]


def _boxed(text: str) -> str | None:
    """The content of the box that is closed last; an unclosed box (cut by the token limit) does not count."""
    last: tuple[int, int] | None = None
    open_braces: list[int] = []  # where the content starts; -1 for a brace that opens no box
    for token in _BRACE.finditer(text):
        mark = token.group()
        if mark == "}":
            start = open_braces.pop() if open_braces else -1
            if start >= 0:
                last = (start, token.start())
        elif mark == "{":
            open_braces.append(-1)
        elif len(mark) > 2:
            open_braces.append(token.end())
    return None if last is None else text[last[0] : last[1]]


def _closing(text: str, start: int) -> int:
    """Where the brace group whose content starts at ``start`` closes, or -1."""
    depth = 1
    for token in _BRACE.finditer(text, start):
        mark = token.group()
        if mark in (r"\{", r"\}"):
            continue
        depth += -1 if mark == "}" else 1
        if depth == 0:
            return token.start()
    return -1


def _line(text: str, start: int) -> str:
    """The rest of the line at ``start``, or the line after it when that rest is blank."""
    lines = text[start:].split("\n", 2)
    return lines[1] if len(lines) > 1 and not lines[0].strip() else lines[0]


def _sentence(line: str) -> str:
    """Up to the period that ends the sentence: followed by a blank or nothing, and outside braces."""
    depth = 0
    for i, char in enumerate(line):
        if char == "{":
            depth += 1
        elif char == "}":
            depth = max(0, depth - 1)
        elif char == "." and depth == 0 and (i + 1 == len(line) or line[i + 1].isspace()):
            return line[:i]
    return line

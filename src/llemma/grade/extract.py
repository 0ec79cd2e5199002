r"""Finds the final answer in free text a model wrote; does not judge or interpret it.

Every rule is a fixed sentence or mark, searched in linear time whatever the text. The rules, tried in order:

``final-answer``  ``Final Answer: The final answer is X. I hope it is correct.`` (Llemma paper, section 3.1, after
                  Minerva). The first one counts: what a base model writes after it is a new problem. The tail may be
                  missing, because "I hope it is correct." is the stop string.
``boxed``         ``\boxed{X}`` with nested braces. The last complete one, because intermediate results are boxed as
                  well; boxes joined by "and", "or" or a comma are one answer.
``the-answer``    ``The answer is X.`` (Wei et al., 2022), ``**Answer:** X``. The last one before the next question of
                  the few-shot pattern, with which base models go on.
``hashes``        ``#### X`` to the end of the line, the first (the format of the GSM8K reference solutions).
``bold``          a last line that is ``**X**``.
``last-number``   the last number of the text; only when asked for, because it turns rambling into answers.

``last_formula`` and ``last_sentence`` are for texts that are short statements; ``llemma.grade.equal`` asks for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FINAL = re.compile(r"final answer\*{0,2}:\*{0,2}\s{0,9}(?:the final answer is:?)?", re.IGNORECASE)
_ANSWER = re.compile(
    r"\b(?:final |correct |right )?answer(?:\s{1,9}is|\s{0,9}[:=]|\*{1,2}:?)[:\s*]{0,9}"
    r"(?:for sure |definitely |clearly |simply |therefore |thus |option |choice |letter )?",
    re.IGNORECASE,
)
_HOPE = re.compile(r"[.,]?\s{0,9}I hope\b", re.IGNORECASE)
_BRACE = re.compile(r"\\(?:boxed|fbox)\s{0,9}\{|\\[{}]|[{}]")
_JOINED = re.compile(r"[^.\n]{0,60}", re.DOTALL)
_JOIN_WORD = re.compile(r"\b(?:and|or)\b|,|;|\\q?quad")
_HASHES = re.compile(r"####")
_BOLD = re.compile(r"(?:^|\n)\s{0,9}\*\*([^*\n]{1,200})\*\*\.?\s*$")
_NUMBER = re.compile(r"(?<![0-9A-Za-z.,/])[-\u2212]?[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?")
_SPECIAL = re.compile(r"<\|[a-z_]{1,40}\|>|</s>")
_SENTENCE_END = re.compile(r"[.!?](?:\$\$|\$|\\\]|\\\))?\s+(?=[A-Z])")
_NEXT_QUESTION = re.compile(r"(?:\n\n|\s)(?:Q|Question|Problem)\s{0,2}:")
_FORMULA = re.compile(
    r"\$\$(.{1,4000}?)\$\$|(?<!\\)\$([^$]{1,2000})(?<!\\)\$|\\\((.{1,2000}?)\\\)|\\\[(.{1,4000}?)\\\]", re.DOTALL
)
_ENDLESS = re.compile(r",\s{0,3}\.\.\.$")
_LONG = 4000  # characters; nothing reads an answer of this length, so its delimiters may stay
_PAIRS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ('"', '"'), ("'", "'"), ("`", "`"))


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
    text = visible(text)
    for rule, find in _RULES:
        found = find(text)
        if found is not None:
            found = strip(found)
            return Extracted(text=found, rule=rule) if found else None
    if last_number:
        numbers = _NUMBER.findall(text)
        if numbers:
            return Extracted(text=numbers[-1].rstrip(","), rule="last-number")
    return None


def visible(text: str) -> str:
    """What a reader would see: without a closed block of thoughts in front, up to a token of the chat template."""
    thought, mark, said = text.rpartition("</think>")
    if mark and said.strip():
        text = said
    special = _SPECIAL.search(text)
    return text[: special.start()] if special and text[: special.start()].strip() else text


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
                if left not in inner and right not in inner and not (right == "$" and inner.endswith("\\")):
                    text = inner
                    break
        box = re.match(r"\\(?:boxed|fbox)\s{0,9}\{", text)
        if box and text.endswith("}") and _closing(text, box.end()) == len(text) - 1:
            text = text[box.end() : -1]
        if text.startswith('\\"') and text.endswith('\\"') and len(text) > 4:
            text = text[2:-2]
        if text == before:
            break
    return text


def last_formula(text: str) -> Extracted | None:
    """The last formula between delimiters, of a text that holds words as well."""
    text = visible(text)
    if len(text) > 50_000:
        return None
    formulas = [next(filter(None, match.groups())).strip() for match in _FORMULA.finditer(text)]
    inside = formulas[-1] if formulas else ""
    return Extracted(text=strip(inside), rule="last-formula") if inside else None


def last_sentence(text: str) -> Extracted | None:
    """The last sentence of the last line that is not blank."""
    lines = [line for line in visible(text)[-2000:].splitlines() if line.strip()]
    if not lines:
        return None
    sentences = _SENTENCE_END.split(lines[-1].strip())
    return Extracted(text=strip(sentences[-1]), rule="last-sentence")


def _unperiod(text: str) -> str:
    """Without the sentence marks at the end; ``!`` stays, it may be a factorial, and the dots of ``1, 2, …``."""
    return text if _ENDLESS.search(text) else text.rstrip(".;,").rstrip()


def _final(text: str) -> str | None:
    mark = _FINAL.search(text)
    if mark is None:
        return None
    line = _line(text, mark.end())
    hope = _HOPE.search(line)
    return line[: hope.start()] if hope else _sentence(line)


def _the_answer(text: str) -> str | None:
    mark = _ANSWER.search(text)
    if mark is None:
        return None
    question = _NEXT_QUESTION.search(text, mark.end())
    text = text[: question.start()] if question else text
    for later in reversed(list(_ANSWER.finditer(text, mark.end()))[-9:]):
        if _line(text, later.end()).strip():
            mark = later
            break
    return _sentence(_line(text, mark.end()))


def _hashes(text: str) -> str | None:
    mark = _HASHES.search(text)
    return None if mark is None else text[mark.end() :].split("\n", 1)[0]


def _bold(text: str) -> str | None:
    mark = _BOLD.search(text[-400:])
    return None if mark is None else mark[1]


def _boxed(text: str) -> str | None:
    """The content of the box that is closed last, with the boxes that are joined to it.

    A box that is never closed (cut by the token limit) does not count, unless the text is nothing but that box.
    """
    boxes: list[tuple[int, int, int]] = []  # start of the command, of the content, end of the content
    open_braces: list[tuple[int, int]] = []  # (-1, -1) for a brace that opens no box
    for token in _BRACE.finditer(text):
        mark = token.group()
        if mark == "}":
            command, start = open_braces.pop() if open_braces else (-1, -1)
            if start >= 0:
                boxes.append((command, start, token.start()))
        elif mark == "{":
            open_braces.append((-1, -1))
        elif len(mark) > 2:
            open_braces.append((token.start(), token.end()))
    if not boxes:
        if len(open_braces) == 1 and open_braces[0][0] >= 0 and not text[: open_braces[0][0]].strip(" $\\"):
            return text[open_braces[0][1] :]
        return None
    found = [boxes[-1]]
    for box in reversed(boxes[:-1]):
        between = text[box[2] + 1 : found[0][0]]
        if box[2] > found[0][0] or not _JOINED.fullmatch(between) or not _JOIN_WORD.search(between):
            break
        found.insert(0, box)
    return ", ".join(text[start:end] for _, start, end in found)


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


_RULES = (
    ("final-answer", _final),
    ("boxed", _boxed),
    ("the-answer", _the_answer),
    ("hashes", _hashes),
    ("bold", _bold),
)

r"""Finds the final answer in free text a model wrote; does not judge or interpret it.

Every rule is a fixed sentence or mark, searched in linear time whatever the text. The rules, tried in order:

``tag``           ``<answer>X</answer>``, the last; what a rule below finds inside counts.
``final-answer``  ``Final Answer: The final answer is X. I hope it is correct.`` (Llemma paper, section 3.1, after
                  Minerva). The first one counts: what a base model writes after it is a new problem. The tail may be
                  missing, because "I hope it is correct." is the stop string. Without the second half of the sentence
                  (``Final Answer: X``) the last one before the next question counts, unless a box follows.
``boxed``         ``\boxed{X}`` with nested braces. The last complete one, because intermediate results are boxed as
                  well; boxes joined by nothing but "and", "or" or a comma are one answer.
``the-answer``    ``The answer is X.`` (Wei et al., 2022), ``**Answer:** X``, a heading ``Answer`` above X. The last one
                  before the next question of the few-shot pattern, with which base models go on.
``field``         ``"answer": X`` of a JSON object, the last.
``hashes``        ``#### X`` to the end of the line, the first that is no heading (the format of GSM8K's references).
``subject``       ``X is the answer``, ``option X is correct``, the last.
``bold``          a last line that is ``**X**``.
``last-number``   the last number of the text; only when asked for, because it turns rambling into answers.

``last_formula`` and ``last_sentence`` are for texts that are short statements; ``llemma.grade.equal`` asks for them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TAG = re.compile(r"<answer>((?:(?!</?answer>).){0,4000})</answer>", re.DOTALL | re.IGNORECASE)
_FINAL = re.compile(r"final answer\*{0,2}:\*{0,2}\s{0,9}the final answer is:?", re.IGNORECASE)
_FINAL_BARE = re.compile(r"final answer\*{0,2}:\*{0,2}", re.IGNORECASE)
_ANSWER = re.compile(
    r"(?:\b(?:final |correct |right )?answer"
    r"(?:(?:\s{1,9}to (?:the|this) (?:question|problem|exercise))?"
    r"\s{1,9}(?:is|equals|becomes|(?:will|would|should|must) be)\b|\s{0,9}[:=]|\*{1,2}:?)"
    r"|(?m:^)[#*\s]{0,8}(?:final )?answer(?=[^\S\n]{0,9}\n)"
    r"|\b(?:correct |right |best )(?:option|choice)\s{1,9}is\b|\bAns(?:\.|\s{0,2}:)|答案(?:是|为|：|:)?|故选)"
    r"[:：\s*}]{0,9}"
    r"(?:for sure |definitely |clearly |simply |indeed |therefore |thus |option |choice |letter )?",
    re.IGNORECASE,
)
_BECAUSE = re.compile(r",?\s{1,3}(?:because|since|which)\b|\s\((?:see|from|since|because)\b")
_ABBREVIATION = re.compile(r"\b(?:Dr|Mr|Mrs|Ms|St|Jr|sq|approx)$", re.IGNORECASE)
_FIELD = re.compile(r"""["']answer["']\s{0,3}:\s{0,3}(?:"((?:[^"\\]|\\.){1,400})"|([^,}\n"]{1,200}))""")
_SUBJECT = re.compile(
    r"(\$[^$\n]{1,200}\$|(?<![\w.,])[-\u2212]?\d[^\s?]{0,40}|\([A-J]\)|\b[A-J])"
    r"\s{1,3}is (?:the|our) (?:final |correct |right )?answer\b"
    r"|\b(?:option|choice)\s{1,3}(\(?[A-J]\)?)\s{1,3}is (?:the )?(?:correct|right)\b"
)
_HOPE = re.compile(r"[.,]?\s{0,9}I hope\b", re.IGNORECASE)
_BRACE = re.compile(r"\\(?:boxed|fbox|framebox)\s{0,9}\{|\\[{}]|[{}]")
_JOINED = re.compile(r"[^.\n]{0,60}\b(?:and|or)\b[^.\n]{0,60}", re.DOTALL)
_LISTED = re.compile(r"(?:[\s$,;&]|\\[,;:!]|\\q?quad|\\\\|\\[()]|\b[A-Za-z](?:_\{?\w\}?)?\s{0,3}=){1,40}")
_JOIN_WORD = re.compile(r",|;|\\q?quad")
_HASHES = re.compile(r"####[^\S\n]{0,9}([^\n]{0,400})")
_HEADING = re.compile(r"(?:\d{1,2}[.)]\s|\*\*)?[^\W\d]{2}")
_BOLD = re.compile(r"(?:^|\n)\s{0,9}\*\*([^*\n]{1,200})\*\*\.?\s*$")
_NUMBER = re.compile(r"(?<![0-9A-Za-z.,/])[-\u2212]?[0-9][0-9,]*(?:\.[0-9]+)?(?:/[0-9]+)?")
_SPECIAL = re.compile(r"<\|[a-z_]{1,40}\|>|</s>")
_SENTENCE_END = re.compile(r"[.!?](?:\$\$|\$|\\\]|\\\))?\s+(?=[A-Z])")
_NEXT_QUESTION = re.compile(r"(?:\n\n|\s)(?:Q|Question|Problem|User|Human)\s{0,2}:")
_FORMULA = re.compile(
    r"\$\$(.{1,4000}?)\$\$|(?<!\\)\$([^$]{1,2000})(?<!\\)\$|\\\((.{1,2000}?)\\\)|\\\[(.{1,4000}?)\\\]", re.DOTALL
)
_BLANK = re.compile(r"\s*")
_MARKS = ("answer", "boxed", "fbox", "framebox", "####", "**", "option", "choice", "ans.", "ans:", "答案", "故选")
_ENDLESS = re.compile(r",\s{0,3}\.\.\.$")
_LONG = 4000  # characters; nothing reads an answer of this length, so its delimiters may stay
_PAIRS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ('"', '"'), ("'", "'"), ("`", "`"), ("__", "__"))


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
    lowered = text.lower()
    for rule, find in _RULES if any(mark in lowered for mark in _MARKS) else ():
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
        box = re.match(r"\\(?:boxed|fbox|framebox)\s{0,9}\{", text)
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


def _tag(text: str) -> str | None:
    inside = _TAG.findall(text)
    if not inside:
        return None
    found = extract(inside[-1])
    return inside[-1] if found is None else found.text


def _final(text: str) -> str | None:
    mark = _FINAL.search(text)
    if mark is not None:
        line = _line(text, mark.end())
        hope = _HOPE.search(line)
        return line[: hope.start()] if hope else _sentence(line)
    mark = _last_mark(_FINAL_BARE, text)
    if mark is None or _boxed(text[mark.end() :]) is not None:
        return None
    line = _line(text[: _question(text, mark.end())], mark.end())
    hope = _HOPE.search(line)
    return line[: hope.start()] if hope else _sentence(line)


def _the_answer(text: str) -> str | None:
    mark = _last_mark(_ANSWER, text)
    return None if mark is None else _sentence(_line(text[: _question(text, mark.end())], mark.end()))


def _last_mark(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The last mark with something behind it, before the question that follows the first mark; else the first."""
    first = pattern.search(text)
    if first is None:
        return None
    end = _question(text, first.end())
    for later in reversed(list(pattern.finditer(text, first.end(), end))[-9:]):
        if _line(text[:end], later.end()).strip():
            return later
    return first


def _question(text: str, start: int) -> int:
    """Where the next question begins, or the text ends."""
    question = _NEXT_QUESTION.search(text, start)
    return question.start() if question else len(text)


def _field(text: str) -> str | None:
    marks = list(_FIELD.finditer(text))
    if not marks:
        return None
    mark = marks[-1]
    return mark[2] if mark[1] is None else mark[1].replace('\\"', '"').replace("\\\\", "\\")


def _hashes(text: str) -> str | None:
    lines = [mark[1] for mark in _HASHES.finditer(text)]
    plain = [line for line in lines if not _HEADING.match(line)]
    if plain or not lines:
        return plain[0] if plain else None
    ends_so = text.rstrip().endswith(lines[-1].rstrip())
    return lines[-1] if ends_so else None


def _subject(text: str) -> str | None:
    marks = list(_SUBJECT.finditer(text))
    return marks[-1][1] or marks[-1][2] if marks else None


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
        listed = _LISTED.fullmatch(between) and _JOIN_WORD.search(between)
        if box[2] > found[0][0] or not (listed or _JOINED.fullmatch(between)):
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
    """The rest of the line at ``start``, or what follows it when that is blank: the next line or displayed formula."""
    blank = _BLANK.match(text, start)
    assert blank is not None  # it may be empty
    if blank.group().count("\n") > 3:
        return ""
    for left, right in (("$$", "$$"), (r"\[", r"\]")):
        if text.startswith(left, blank.end()):
            end = text.find(right, blank.end() + 2, blank.end() + _LONG)
            if end >= 0:
                return text[blank.end() : end + 2].replace("\n", " ")
    end = text.find("\n", blank.end())
    return text[blank.end() :] if end < 0 else text[blank.end() : end]


def _sentence(line: str) -> str:
    """Up to the period that ends the sentence, followed by a blank or nothing and outside braces, or to its reasons."""
    because = _BECAUSE.search(line)
    line = line[: because.start()] if because else line
    depth = 0
    for i, char in enumerate(line):
        if char == "{":
            depth += 1
        elif char == "}":
            depth = max(0, depth - 1)
        elif char == "。" and depth == 0:
            return line[:i]
        elif char == "." and depth == 0 and (i + 1 == len(line) or line[i + 1].isspace()):
            if i + 1 < len(line) and _ABBREVIATION.search(line[max(0, i - 8) : i]):
                continue
            return line[:i]
    return line


_RULES = (
    ("tag", _tag),
    ("final-answer", _final),
    ("boxed", _boxed),
    ("the-answer", _the_answer),
    ("field", _field),
    ("hashes", _hashes),
    ("subject", _subject),
    ("bold", _bold),
)

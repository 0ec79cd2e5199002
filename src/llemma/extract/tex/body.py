"""Chooses what of a paper is its text: title, abstract and body; without layout, people, pictures and references."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from llemma.extract.tex import scan
from llemma.extract.tex.names import LAYOUT, PEOPLE, PICTURES, REFERENCES

_TITLE = re.compile(scan.ODD + r"(title|Title|icmltitle|papertitle)(?![A-Za-z])\s*(?=[\[{])")
_ABSTRACT_BEGIN = re.compile(r"\\begin\s*\{abstract\}")
_ABSTRACT = re.compile(scan.ODD + r"(abstract|Abstract)(?![A-Za-z])\s*(?=\{)")
_APPENDIX = re.compile(scan.ODD + r"(appendix(?![A-Za-z@])|begin\s*\{appendi(?:x|ces)\})")
# Both begin with a line end as it is, not as a class: the search for one character is the fastest there is.
_BLANK_END = re.compile(r"\n(?<=[ \t]\n)")
_GAP = re.compile(r"\n\n\n+")
_BIBLIOGRAPHY = {"bibliography": 1, "printbibliography": 0, "bibdata": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which parts are kept."""

    appendix: bool = True
    bibliography: bool = False
    pictures: bool = False
    layout: bool = False
    people: bool = False


def split_document(text: str) -> tuple[str, str]:
    """Preamble and body of a flat text; a text without ``\\begin{document}`` is all body."""
    begin = re.search(r"\\begin\s*\{document\}", text)
    if begin is None:
        plain = re.search(scan.ODD + r"document(?![A-Za-z@{])", text) if "\\documentstyle" in text else None
        if plain is None:
            return "", text
        begin = plain
    end = re.compile(r"\\end\s*\{document\}|\\enddocument(?![A-Za-z])").search(text, begin.end())
    return text[: begin.start()], text[begin.end() : end.start() if end else len(text)]


def find_title(text: str) -> str:
    """The argument of ``\\title``, or nothing."""
    found = _TITLE.search(text)
    if found is None:
        return ""
    short = scan.optional(text, found.end())
    title = scan.braced(text, short[1] if short else found.end())
    return " ".join(title[0].split()) if title else ""


def find_abstract(preamble: str) -> str:
    """An abstract that stands in the preamble, as an environment or as the argument of ``\\abstract``."""
    begin = _ABSTRACT_BEGIN.search(preamble)
    if begin:
        end = scan.environment_end(preamble, begin.end(), "abstract")
        return preamble[begin.end() : end[0]].strip() if end else ""
    command = _ABSTRACT.search(preamble)
    group = scan.braced(preamble, command.end()) if command else None
    return group[0].strip() if group else ""


class Cutter:
    """Removes what ``choice`` does not keep. Its pattern is built once and serves many papers."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self._groups: dict[str, int] = {"title": 1, "icmltitle": 1}
        if not choice.layout:
            self._groups |= LAYOUT
        if not choice.people:
            self._groups |= PEOPLE
        if not choice.bibliography:
            self._groups |= _BIBLIOGRAPHY
        self._dropped = set() if choice.pictures else set(PICTURES)
        if not choice.bibliography:
            self._dropped |= REFERENCES
        words, environments = scan.word_trie(self._groups), scan.word_trie(self._dropped)
        self._pattern = re.compile(
            rf"{scan.ODD}((?:{words})(?![A-Za-z@])|begin\s*\{{(?:{environments})\}})(?:[ \t]*\n)?"
        )

    def cut(self, text: str, removed: Counter[str]) -> str:
        """``text`` without what is not kept; ``removed`` counts the environments that went."""
        if not self.choice.appendix:
            text = _without_appendix(text)
        out: list[str] = []
        at = 0
        failed: Counter[str] = Counter()
        found = self._pattern.search(text)
        while found is not None:
            word, start = found[1], found.start(1) - 1
            end = found.end()
            if word[-1] == "}":
                name = word[word.index("{") + 1 : -1]
                span = scan.environment_end(text, found.end(1), name) if failed[name] < 3 else None
                if span is None:
                    failed[name] += 1
                else:
                    removed[name] += 1
                    out.append(text[at:start])
                    at = end = span[1]
            else:
                out.append(text[at:start])
                groups = self._groups[word]
                at = end = self._behind(text, found.end(1), groups) if groups else self._behind_word(text, found)
            found = self._pattern.search(text, end)
        out.append(text[at:])
        return "".join(out)

    def _behind_word(self, text: str, found: re.Match[str]) -> int:
        """A layout command takes the rest of its line with it when it stands alone on the line."""
        start, end = found.start(1) - 1, found.end()
        alone = start == 0 or text[start - 1] == "\n"
        if end > found.end(1) and text[end - 1] == "\n" and not alone:
            return found.end(1)
        return end

    def _behind(self, text: str, at: int, groups: int) -> int:
        if text.startswith("*", at):
            at += 1
        if text[at : at + 1] in {"[", " ", "\n"}:
            given = scan.optional(text, at)
            at = given[1] if given else at
        for _ in range(groups):
            group = scan.braced(text, at)
            if group is None:
                break
            at = group[1]
        return at


def tidy(text: str) -> str:
    """At most one empty line in a row, no blanks at the ends of lines."""
    if _BLANK_END.search(text):
        text = "\n".join([line.rstrip(" \t") for line in text.split("\n")])
    return _GAP.sub("\n\n", text).strip()


def _without_appendix(text: str) -> str:
    found = _APPENDIX.search(text)
    if found is None:
        return text
    start = found.start(1) - 1
    references = re.compile(r"\\begin\s*\{thebibliography\}.*", re.DOTALL).search(text, start)
    return text[:start] + (references[0] if references else "")

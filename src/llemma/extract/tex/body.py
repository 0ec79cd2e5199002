"""Chooses what of a paper is its text: title, abstract and body; without layout, people, pictures and references."""

from __future__ import annotations

import re
from dataclasses import dataclass

from llemma.extract.tex import scan
from llemma.extract.tex.names import LAYOUT, PEOPLE, PICTURES, REFERENCES

_TITLE = re.compile(scan.ODD + r"(title|Title|icmltitle|papertitle)(?![A-Za-z])\s*(?=[\[{])")
_ABSTRACT_BEGIN = re.compile(r"\\begin\s*\{abstract\}")
_ABSTRACT = re.compile(scan.ODD + r"(abstract|Abstract)(?![A-Za-z])\s*(?=\{)")
_APPENDIX = re.compile(scan.ODD + r"(appendix(?![A-Za-z@])|begin\s*\{appendi(?:x|ces)\})")
_GAP = re.compile(r"\n\n\n+")
_BIBLIOGRAPHY = {"bibliography": 1, "printbibliography": 0, "bibdata": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which parts are kept."""

    bibliography: bool = False
    pictures: bool = False
    layout: bool = False
    people: bool = False


def split_document(text: str) -> tuple[str, str]:
    """Preamble and body of a flat text, which ends with the document; without ``\\begin{document}`` it is all body."""
    begin = re.search(r"\\begin\s*\{document\}", text)
    if begin is None:
        plain = re.search(scan.ODD + r"document(?![A-Za-z@{])", text) if "\\documentstyle" in text else None
        if plain is None:
            return "", text
        begin = plain
    return text[: begin.start()], text[begin.end() :]


def find_title(text: str) -> str:
    """The argument of ``\\title``, or nothing."""
    look = scan.Scanner()
    found = _TITLE.search(text)
    if found is None:
        return ""
    short = look.optional(text, found.end())
    title = look.braced(text, short[1] if short else found.end())
    return " ".join(title[0].split()) if title else ""


def find_abstract(preamble: str) -> str:
    """An abstract that stands in the preamble, as an environment or as the argument of ``\\abstract``."""
    look = scan.Scanner()
    begin = _ABSTRACT_BEGIN.search(preamble)
    if begin:
        end = look.environment_end(preamble, begin.end(), "abstract")
        return preamble[begin.end() : end[0]].strip() if end else ""
    command = _ABSTRACT.search(preamble)
    group = look.braced(preamble, command.end()) if command else None
    return group[0].strip() if group else ""


def dropped_commands(choice: Choice) -> dict[str, int]:
    """The commands that go, and how many groups go with each. The title goes as well: it is put in front."""
    groups = {"title": 1, "icmltitle": 1}
    groups |= {} if choice.layout else LAYOUT
    groups |= {} if choice.people else PEOPLE
    return groups | ({} if choice.bibliography else _BIBLIOGRAPHY)


def dropped_environments(choice: Choice) -> frozenset[str]:
    """The environments that go with all that is in them."""
    return (frozenset() if choice.pictures else PICTURES) | (frozenset() if choice.bibliography else REFERENCES)


def tidy(text: str) -> str:
    """At most one empty line in a row, none at the ends."""
    return _GAP.sub("\n\n", text).strip()


def without_appendix(text: str) -> str:
    """``text`` up to its appendix, with the list of references behind it when there is one."""
    found = _APPENDIX.search(text)
    if found is None:
        return text
    start = found.start(1) - 1
    references = re.compile(r"\\begin\s*\{thebibliography\}.*", re.DOTALL).search(text, start)
    return text[:start] + (references[0] if references else "")

"""The arXiv cleaner of RedPajama v1, which Llemma's ArXiv data went through, to the letter: for comparison only.

What it does that one may not expect; each line is the behaviour of ``data_prep/arxiv/arxiv_cleaner.py`` (branch rp_v1):

- files are taken in the archive's order and joined; ``\\input`` is not followed;
- of each file only what follows the first ``\\chapter|part|section|subsection|subsubsection{...}`` is kept (one in a
  comment counts), a file without one gives nothing: abstracts and included files without a section are lost;
  ``\\paragraph`` and ``\\subparagraph`` are meant to count too, but only one directly behind the other does;
- a line comment loses the character in front of it; a bare ``%`` at the end of a line stays, so does ``\\\\% c``;
  ``\\url{a%20b}`` is cut; ``comment`` environments stay;
- the text ends at the first ``\\appendix`` (also of ``\\appendixname``), ``\\begin{references}``,
  ``\\begin{REFERENCES}``, ``\\begin{thebibliography}`` or ``\\bibliography{``; ``\\printbibliography`` does not end
  it;
- only macros without arguments, written as ``\\newcommand{\\x}{...}`` or ``\\def\\x{...}`` on one line, are replaced,
  one after the other and each once, so that a macro inside of an earlier one stays; the second of ``\\R\\R`` stays;
- a macro with a character outside of ASCII in it loses the whole paper, as does a file that is not UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TITLED = r"\\\b{name}\b\*?(?:\[(?:.*?)\])?\{{(?:.*?)\}}"
_LEVELS = [_TITLED.format(name=name) for name in ("chapter", "part", "section", "subsection", "subsubsection")]
_PARAGRAPHS = _TITLED.format(name="paragraph") + _TITLED.format(name="subparagraph")  # one behind the other
_FIRST = re.compile("|".join([*_LEVELS, _PARAGRAPHS]), re.DOTALL)
_LINE = re.compile(r"^%.*\n?", re.MULTILINE)
_TAIL = re.compile(r"[^\\]%.+$", re.MULTILINE)
_END = re.compile(r"\\appendix|\\begin\{(?:references|REFERENCES|thebibliography)\}|\\bibliography\{.*\}", re.DOTALL)
_MACROS = (
    re.compile(r"\\\bnewcommand\b\*?\{(\\[a-zA-Z0-9]+?)\}\{(.*?)\}$", re.MULTILINE),
    re.compile(r"\\def\s*(\\[a-zA-Z0-9]+?)\s*\{(.*?)\}$", re.MULTILINE),
)


class Lost(Exception):
    """The original raises here and drops the paper; ``str`` says why."""


def clean_files(texts: Sequence[str]) -> str:
    """What RedPajama's ``clean_tex_files`` returns for the texts of a paper's files. Raises Lost where it raises."""
    macros: dict[str, str] = {}
    for text in texts:
        for pattern in _MACROS:
            macros.update(pattern.findall(text))
    return "\n".join(_clean(text, macros) for text in texts)


def _clean(text: str, macros: dict[str, str]) -> str:
    first = _FIRST.search(text)
    if first is None:
        return ""
    text = _TAIL.sub("", _LINE.sub("", text[first.start() :]))
    end = _END.search(text)
    if end:
        text = text[: end.start()]
    for name, value in macros.items():
        if not value.isascii() or re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", value):
            raise Lost(f"the value of {name} has a character that the original cannot escape")
        text = _replaced(text, name, value)
    return text


def _replaced(text: str, name: str, value: str) -> str:
    return re.sub(rf"{re.escape(name)}([^a-zA-Z0-9])", lambda found: value + found[1], text)

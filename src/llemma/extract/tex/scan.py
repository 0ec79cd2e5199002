"""Reading TeX by position: is a character escaped, where does a group end, what is the next argument.

No search goes further than its reach, and a ``Scanner`` gives up when it has searched too much in vain.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import TypeAlias

from llemma.extract.tex.decode import CLOSE, DECIDED, OPEN

REACH = 100_000  # characters an argument may have; an abstract has 2,000

# A control sequence's backslash: the last of an odd run. Patterns begin with a literal backslash, for which the search
# runs at 600 MB/s and more; a lookbehind in front makes it ten times slower. Where speed counts most, they begin with
# the backslash alone and the few matches are asked (`escaped`).
ODD = r"\\(?<!\\\\)(?:\\\\)*"

Trie: TypeAlias = "dict[str, Trie]"

_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BRACKET = re.compile(r"\\.|[{}\[\]]", re.DOTALL)
_SPACE = re.compile(r"[ \t]*(?:\n[ \t]*)?")  # an empty line is a \par, which ends the search for an argument
_TOKEN = re.compile(rf"\\(?:[A-Za-z@]+|.)|{DECIDED}[A-Za-z@]+|{OPEN}\d+{CLOSE}|[^\s{{}}\\%]", re.DOTALL)
CONTROL_WORD_END = re.compile(r"[\\" + DECIDED + r"][A-Za-z@]+\Z")


def escaped(text: str, at: int) -> bool:
    """Whether an odd number of backslashes stands before ``at``."""
    first = at
    while first and text[first - 1] == "\\":
        first -= 1
    return (at - first) % 2 == 1


def skip_space(text: str, at: int) -> int:
    """The index behind blanks and at most one line end."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


class Scanner:
    """Looks for ends and arguments. ``vain`` characters may be searched without finding anything; then nothing is
    found any more. A text with balanced braces hardly uses them, and one without cannot make the time quadratic.
    """

    def __init__(self, vain: int = 5_000_000) -> None:
        self.vain = vain

    def missed(self, text: str, at: int, reach: int) -> None:
        """Account for a search from ``at`` that found nothing."""
        self.vain -= min(len(text) - at, reach) + 50

    def group_end(self, text: str, at: int, reach: int = REACH) -> int:
        """The index after the ``}`` that closes the ``{`` at ``at``, or -1 when there is none within ``reach``."""
        end = self.enclosing_end(text, at + 1, reach)
        return end + 1 if end >= 0 else -1

    def enclosing_end(self, text: str, at: int, reach: int = REACH) -> int:
        """The index of the ``}`` that closes the group around ``at``, or -1."""
        if self.vain <= 0:
            return -1
        close = text.find("}", at, at + reach)
        if close >= 0 and text[close - 1] != "\\" and text.find("{", at, close) < 0:  # most groups hold no other
            return close
        depth = 1
        for found in _BRACE.finditer(text, at, min(len(text), at + reach)):
            mark = found[0]
            if mark == "}":
                depth -= 1
                if not depth:
                    return found.start()
            elif mark == "{":
                depth += 1
        self.missed(text, at, reach)
        return -1

    def bracket_end(self, text: str, at: int, reach: int = 5_000) -> int:
        """The index after the ``]`` that closes the ``[`` at ``at``, braces respected, or -1."""
        if self.vain <= 0:
            return -1
        braces = brackets = 0
        for found in _BRACKET.finditer(text, at, min(len(text), at + reach)):
            mark = found[0]
            if mark == "{":
                braces += 1
            elif mark == "}":
                braces -= 1
                if braces < 0:
                    break
            elif not braces:
                brackets += {"[": 1, "]": -1}.get(mark, 0)
                if not brackets:
                    return found.end()
        self.missed(text, at, reach)
        return -1

    def argument(self, text: str, at: int) -> tuple[str, int] | None:
        """The next undelimited argument (without its braces) and the index behind it, or None."""
        at = skip_space(text, at)
        if text.startswith("{", at):
            return self.braced(text, at)
        found = _TOKEN.match(text, at)
        return None if found is None else (found[0], found.end())

    def optional(self, text: str, at: int) -> tuple[str, int] | None:
        """The argument in ``[...]`` that comes next and the index behind it, or None without one."""
        at = skip_space(text, at)
        if not text.startswith("[", at):
            return None
        end = self.bracket_end(text, at)
        return None if end < 0 else (text[at + 1 : end - 1], end)

    def braced(self, text: str, at: int, reach: int = REACH) -> tuple[str, int] | None:
        """The group that comes next, without its braces, and the index behind it, or None."""
        at = skip_space(text, at)
        if not text.startswith("{", at):
            return None
        end = self.group_end(text, at, reach)
        return None if end < 0 else (text[at + 1 : end - 1], end)

    def until(self, text: str, at: int, mark: str, reach: int = 10_000) -> tuple[str, int] | None:
        """What stands before ``mark`` outside of braces, and the index behind the mark, or None."""
        depth = 0
        marks = re.compile(rf"{re.escape(mark)}|\\.|[{{}}]", re.DOTALL)
        for found in marks.finditer(text, at, at + reach if self.vain > 0 else at):
            if found[0] == mark and not depth:
                inner = text[at : found.start()]
                whole = inner.startswith("{") and self.group_end(inner, 0) == len(inner)  # TeX takes the braces off
                return (inner[1:-1] if whole else inner), found.end()
            depth += {"{": 1, "}": -1}.get(found[0], 0)
            if depth < 0:
                break
        self.missed(text, at, reach)
        return None

    def environment_end(self, text: str, at: int, name: str, reach: int = 1_000_000) -> tuple[int, int] | None:
        """Start and end of the ``\\end{name}`` that closes an environment whose body begins at ``at``, or None."""
        depth = 1
        marks = re.compile(rf"\\(begin|end)\s*\{{{re.escape(name)}\}}")
        for found in marks.finditer(text, at, min(len(text), at + reach) if self.vain > 0 else at):
            depth += 1 if found[1] == "begin" else -1
            if not depth:
                return found.span()
        self.missed(text, at, reach)
        return None


def word_trie(words: Iterable[str]) -> str:
    """A regular expression for any of the words, that reads each character once; never matches without words."""
    return _trie(frozenset(words))


@functools.lru_cache(maxsize=256)  # the papers of a run share most of their sets of words
def _trie(words: frozenset[str]) -> str:
    root: Trie = {}
    for word in words:
        node = root
        for letter in word:
            node = node.setdefault(letter, {})
        node[""] = {}
    return _branches(root) if root else r"(?!)"


def _branches(node: Trie) -> str:
    ends = "" in node
    branches = [re.escape(k) + _branches(node[k]) for k in sorted(node) if k]
    if not branches:
        return ""
    joined = branches[0] if len(branches) == 1 and not ends else f"(?:{'|'.join(branches)})"
    return f"{joined}?" if ends else joined

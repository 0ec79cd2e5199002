"""One text out of the files of a paper: comments removed, verbatim parts held aside, included files put in their place.

Files are read in TeX's order, so that what a preamble declares (comment and verbatim environments, short verbs) is
known where it is used. Held text stands in the result as ``OPEN number CLOSE`` (``llemma.extract.tex.decode``), where
no later step looks into it; ``Held.restore`` puts it back. Expands no macro, but knows environments made of
``\\comment``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from llemma.extract.tex import scan
from llemma.extract.tex.decode import CLOSE, OPEN, decode
from llemma.extract.tex.define import WORDS
from llemma.extract.tex.project import inside

MAX_DEPTH = 30  # files within files
MAX_FILES = 2_000  # inclusions in all; a file may be included more than once

VERBATIM = ("verbatim", "verbatim*", "Verbatim", "BVerbatim", "LVerbatim", "alltt", "lstlisting", "minted", "listing*")
COMMENT = ("comment", "filecontents", "filecontents*")

_HELD = re.compile(rf"{OPEN}(\d+){CLOSE}")
_VERB = re.compile(r"\\verb\*?([^A-Za-z\s*])(.{0,500}?)\1")
_INLINE = re.compile(r"\\(?:lstinline|mintinline)\s*(?:\[[^\]\n]*\])?(?:(?<=\w)|\s*)")
_CATCODE = re.compile(r"\\catcode\s*`\\?%\s*=?\s*(?:1[123]\b|\\active|\\@?other)")
_FILE = re.compile(r'\s*(?:\{\s*"?([^{}"\n]*?)"?\s*\}|"([^"\n]+)"|([^\s{}\\%]+))')
_NAMED = re.compile(r"\s*\{\\?([^{}\s]+)\}")
_DOCUMENT = re.compile(r"\\begin\s*\{document\}|\\end\s*\{document\}")
_INSERTS = {
    "input",
    "include",
    "subfile",
    "subfileinclude",
    "import",
    "subimport",
    "includefrom",
    "inputfrom",
    "@input",
}
_STYLES = {"usepackage", "RequirePackage"}
_VERBATIM_MAKERS = {"lstnewenvironment", "DefineVerbatimEnvironment", "newtcblisting", "newminted", "newverbatim"}
_SHORT = {"MakeShortVerb", "lstMakeShortInline", "DefineShortVerb"}
_PATHS = {"url", "path", "nolinkurl", "href"}
_DEFINED = re.compile(r"\*?\s*\{?\s*\\?([A-Za-z@]+\*?|[^A-Za-z@\s])")
# A macro that stands for a part of a path, as in \\input{\\chapters/one}.
_PLAIN_PATH = re.compile(r"\*?\s*\{?\\([A-Za-z]+)\}?\{([\w./-]*)\}")
_PATH_MACRO = re.compile(r"\\([A-Za-z]+)(?:\{\}| |(?![A-Za-z]))")
_ASKING = {"ensuremath", "ifmmode", "xspace"}
_WORDS = (
    WORDS
    | _ASKING
    | {
        "endinput",
        "enddocument",
        "excludecomment",
        "newenvironment",
        "renewenvironment",
        "verb",
        "lstinline",
        "mintinline",
        "catcode",
    }
    | _INSERTS
    | _STYLES
    | _VERBATIM_MAKERS
    | _SHORT
    | _PATHS
)
_PUNCTUATION = ".,;:!?()-+=/<>'`\"*$|"


@dataclass(slots=True)
class Held:
    """Text that no step may change, by number."""

    texts: list[str] = field(default_factory=list)

    def keep(self, text: str) -> str:
        """The mark that stands for ``text`` until it is restored."""
        self.texts.append(text)
        return f"{OPEN}{len(self.texts) - 1}{CLOSE}"

    def restore(self, text: str) -> str:
        """``text`` with everything held put back."""
        return _HELD.sub(lambda m: self.texts[int(m[1])], text) if self.texts else text


@dataclass(slots=True)
class Flat:
    """What flattening found: the text, the styles read, and the ledger of files."""

    held: Held = field(default_factory=Held)
    styles: list[str] = field(default_factory=list)  # texts of the project's own .sty files, for their definitions
    used: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    encodings: dict[str, str] = field(default_factory=dict)
    asks: bool = False  # whether a command occurs that depends on its surroundings (modes.py)
    defined: set[tuple[str, str]] = field(default_factory=set)  # the word that defines, and the name it defines


class Flattener:
    """Reads one main file of a project. ``limit`` bounds the characters of the result."""

    def __init__(self, files: Mapping[str, bytes], *, encoding: str | None = None, limit: int = 64_000_000) -> None:
        self.flat = Flat()
        self.files, self._encoding, self._limit = files, encoding, limit
        self._verbatim, self._comment = set(VERBATIM), set(COMMENT)
        self._short = ""
        self._paths: dict[str, str] = {}
        self._look = scan.Scanner()
        self._open: list[str] = []  # the files being read, to see cycles
        self._count = 0
        self._pattern = self._compile()

    def read(self, path: str) -> str:
        """The flat text of the file ``path`` (which must be one of the project's)."""
        text, encoding = decode(self.files[path], self._encoding)
        self.flat.used.append(path)
        self.flat.encodings[path] = encoding
        self._open.append(path)
        flat = self.strip(text)
        self._open.pop()
        self._limit -= len(flat)
        return flat

    def strip(self, text: str) -> str:
        """``text`` without comments, verbatim parts held, inclusions replaced by what they include."""
        out: list[str] = []
        at = 0  # text before is in `out`
        percent, found = text.find("%"), self._pattern.search(text)
        while percent >= 0 or found is not None:
            start = _start(found) if found is not None else len(text)
            if 0 <= percent < start:
                look = percent + 1
                if not scan.escaped(text, percent):
                    out.append(text[at:percent])
                    at = look = _comment(text, percent, out)
            else:
                assert found is not None
                look = start + 1
                known = text[start - 1 : start] != "\\" or not scan.escaped(text, start)
                end = self._event(text, at, start, found[found.lastindex or 0], out) if known else None
                if end is not None:
                    at = look = end
                if end is not None and found[1] is not None and found[1].startswith("end"):
                    return "".join(out)
            if 0 <= percent < look:
                percent = text.find("%", look)
            if found is not None and start < look:
                found = self._pattern.search(text, look)
        out.append(text[at:])
        return "".join(out)

    def _event(self, text: str, at: int, start: int, word: str, out: list[str]) -> int | None:
        """Act on the command at ``start``; the index to go on from, None when the text stays as it is."""
        if word in self._short:
            end = text.find(word, start + 1, start + 500)
            if end < 0 or "\n" in text[start:end]:
                return None
            return self._keep(text, at, start, end + 1, out)
        if word.startswith("begin"):
            return self._environment(text, at, start, word, out)
        if word in _INSERTS:
            return self._insert(text, at, start, word, out)
        if word in _PATHS:
            return self._url(text, at, start + 1 + len(word), out)
        if word == "verb":
            found = _VERB.match(text, start)
            return self._keep(text, at, start, found.end(), out) if found else None
        if word in {"lstinline", "mintinline"}:
            end = self._inline_end(text, start, word)
            return None if end < 0 else self._keep(text, at, start, end, out)
        if word.startswith("end"):
            if word != "endinput" and len(self._open) > 1:
                return None  # of a file with a document of its own
            out.append(text[at:start])
            return start
        if word == "catcode":
            return self._catcode(text, at, start, out)
        if word in _ASKING:
            self.flat.asks = True
            return None
        if word in WORDS:
            plain = _PLAIN_PATH.match(text, start + 1 + len(word))
            if plain:
                self._paths[plain[1]] = plain[2]
            named = _DEFINED.match(text, start + 1 + len(word))
            if named:
                self.flat.defined.add((word, named[1]))
        if word not in WORDS or word in {"newenvironment", "renewenvironment"}:
            self._declare(text, start, word)
        return None

    def _inline_end(self, text: str, start: int, word: str) -> int:
        """The index behind ``\\lstinline[..]|..|`` or ``\\mintinline[..]{language}{..}``, or -1."""
        found = _INLINE.match(text, start)
        at = found.end() if found else start + 1 + len(word)
        if word == "mintinline":
            language = self._look.braced(text, at)
            if language is None:
                return -1
            at = language[1]
        if text.startswith("{", at):
            return self._look.group_end(text, at, 2_000)
        end = text.find(text[at : at + 1] or "\n", at + 1, at + 500)
        return -1 if end < 0 or "\n" in text[at:end] else end + 1

    def _keep(self, text: str, at: int, start: int, end: int, out: list[str]) -> int:
        out.append(text[at:start])
        out.append(self.flat.held.keep(text[start:end]))
        return end

    def _environment(self, text: str, at: int, start: int, word: str, out: list[str]) -> int | None:
        name = word[word.index("{") + 1 : -1].strip()
        mark = f"\\end{{{name}}}"
        end = text.find(mark, start) if self._look.vain > 0 else -1
        if end < 0:
            self._look.missed(text, start, 100_000)
            return None
        end += len(mark)
        if name in self._comment:
            out.append(text[at:start])
            return end + 1 if text[end : end + 1] == "\n" and text[start - 1 : start] in ("", "\n") else end
        return self._keep(text, at, start, end, out)

    def _url(self, text: str, at: int, start: int, out: list[str]) -> int | None:
        """An address is held when it has a per cent sign, which is no comment there."""
        start = scan.skip_space(text, start)
        if not text.startswith("{", start):
            return None
        end = text.find("}", start, start + 2_000)
        while end >= 0 and text.count("{", start, end) > text.count("}", start, end) + 1:
            end = text.find("}", end + 1, start + 2_000)
        if end < 0 or "\n" in text[start:end] or "%" not in text[start:end] or "#1" in text[start:end]:
            return None
        return self._keep(text, at, start + 1, end, out)

    def _catcode(self, text: str, at: int, start: int, out: list[str]) -> int | None:
        """Where the per cent sign is made a character, it is one until the group ends."""
        found = _CATCODE.match(text, start)
        if found is None:
            return None
        near = found.end(), found.end() + 10_000
        ends = [e for e in (self._look.enclosing_end(text, near[0], 10_000), text.find("\\endgroup", *near)) if e >= 0]
        end = min(ends, default=found.end())
        out.append(text[at : found.end()])
        out.append(text[found.end() : end].replace("%", self.flat.held.keep("%")))
        return end

    def _declare(self, text: str, start: int, word: str) -> None:
        behind = start + 1 + len(word)
        found = _NAMED.match(text, behind + (text[behind : behind + 1] == "*"))
        if word in _STYLES:
            self._style(text, behind)
        elif found is None:
            return
        elif word in _SHORT:
            if len(found[1]) == 1 and not found[1].isalnum():
                self._short += found[1]
        elif word in _VERBATIM_MAKERS:
            self._verbatim.add(f"{found[1]}code" if word == "newminted" else found[1])
        elif word == "excludecomment":
            self._comment.add(found[1])
        else:  # an environment whose text is a comment
            body = self._look.braced(text, found.end())
            if body and re.match(r"\s*\\comment(?![A-Za-z])", body[0]):
                self._comment.add(found[1])
            elif body and re.match(r"\s*\\(?:verbatim|lstlisting|Verbatim)(?![A-Za-z])", body[0]):
                self._verbatim.add(found[1])
        if (self._verbatim | self._comment, self._short) != self._compiled:
            self._pattern = self._compile()

    def _style(self, text: str, at: int) -> None:
        given = self._look.optional(text, at)
        named = self._look.braced(text, given[1] if given else at)
        for name in named[0].split(",") if named else ():
            path = self._find(f"{name.strip()}.sty")
            if path and path not in self._open and path not in self.flat.used and self._may_read():
                self.flat.styles.append(self.read(path))

    def _may_read(self) -> bool:
        self._count += 1
        return self._count <= MAX_FILES and len(self._open) < MAX_DEPTH and self._limit > 0

    def _insert(self, text: str, at: int, start: int, word: str, out: list[str]) -> int | None:
        behind = start + 1 + len(word)
        folder = ""
        if word in {"import", "subimport", "includefrom", "inputfrom"}:
            found = _FILE.match(text, behind + (text[behind : behind + 1] == "*"))
            if found is None or found[1] is None:
                return None
            folder, behind = found[1], found.end()
        found = _FILE.match(text, behind)
        name = next((g for g in found.groups() if g), "") if found else ""
        if found is None or not name or "#" in name:
            return None
        out.append(text[at:start])
        out.append(self._included(posixpath.join(folder, name) if folder else name))
        return found.end()

    def _included(self, name: str) -> str:
        name = _PATH_MACRO.sub(lambda found: self._paths.get(found[1], found[0]), name)
        if "|" in name or "\\" in name or inside(posixpath.join(posixpath.dirname(self._open[0]), name)) is None:
            self.flat.refused.append(f"{name}: its path leaves the project")
            return ""
        path = self._find(name)
        if path is None:
            self.flat.missing.append(name)
            return ""
        if path in self._open:
            self.flat.refused.append(f"{name}: includes itself")
            return ""
        if not self._may_read():
            self.flat.refused.append(f"{name}: too many files, too deep, or too much text")
            return ""
        text = self.read(path)
        marks = list(_DOCUMENT.finditer(text))
        if marks and "begin" in marks[0][0]:  # a subfile with a preamble of its own
            text = text[marks[0].end() : marks[1].start() if len(marks) > 1 else len(text)]
        return text

    def _find(self, name: str) -> str | None:
        """The project's file that a name means: beside the main file first, then beside the file that names it."""
        for folder in dict.fromkeys(posixpath.dirname(path) for path in (self._open[0], self._open[-1])):
            path = inside(posixpath.join(folder, name))
            for candidate in (f"{path}.tex", path):
                if path and candidate in self.files:
                    return candidate
        return None

    def _compile(self) -> re.Pattern[str]:
        self._compiled = (self._verbatim | self._comment, self._short)
        environments, words = scan.word_trie(self._compiled[0]), scan.word_trie(_WORDS)
        command = rf"\\(end\s*\{{document\}}|begin\s*\{{(?:{environments})\}}|(?:{words})(?![A-Za-z@]))"
        return re.compile(rf"{command}|([{re.escape(self._short)}])" if self._short else command)


def _start(found: re.Match[str]) -> int:
    """Where the command or the short verb begins."""
    return found.start(1) - 1 if found.lastindex == 1 else found.start()


def _comment(text: str, percent: int, out: list[str]) -> int:
    """Drop the comment at ``percent``; ``out`` ends with the text before it. The index to go on from.

    A line that is a comment goes as a whole. Behind text, TeX drops the line end as well: ``word%`` and ``next`` on the
    following line are one word. The line end is kept where it makes no difference to TeX, because it reads better.
    """
    end = text.find("\n", percent)
    line = text.rfind("\n", 0, percent) + 1
    if end < 0:
        return len(text)
    if not text[line:percent].strip(" \t"):
        out[-1] = out[-1].rstrip(" \t")
        return end + 1
    after = end + 1
    while text[after : after + 1] in {" ", "\t"}:
        after += 1
    before, behind = text[percent - 1], text[after : after + 1]
    if before in " \t":
        out[-1] = out[-1].rstrip(" \t")
        return end
    if behind in {"\n", ""}:
        return end
    glued = (before.isalnum() or before in _PUNCTUATION or before == "}") and (
        behind.isalnum() or behind in _PUNCTUATION or behind == "%"
    )
    return after if glued and not scan.CONTROL_WORD_END.search(text, max(line, percent - 60), percent) else end

"""Writes out macros: every use of what the sources define becomes what it stands for, so that definitions can go.

Definitions take effect in reading order; arguments are written out before they are put in. Limits make the time linear:
depth, length of a result, and an allowance of characters for the whole text. What is recursive, works on TeX's
internals or passes a limit stays as it is, and ``kept_definitions`` gives the definitions that the text still needs.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping

from llemma.extract.tex import define, scan
from llemma.extract.tex.decode import DECIDED, NO_VALUE
from llemma.extract.tex.define import Meaning
from llemma.extract.tex.names import ENVIRONMENTS, STRUCTURE, TAKES_ARGUMENT

MAX_DEPTH = 40  # macros within macros
MAX_RESULT = 50_000  # characters one macro may stand for
MAX_NAMES = 20_000  # names that one paper may define
ALLOWANCE = 1_000_000, 12  # characters written by expansion: so many, and so many times the text

_BRANCH = re.compile(scan.ODD + r"(newif\s*\\if[A-Za-z@]+|if(?!f(?![A-Za-z@]))[A-Za-z@]*|else|fi)(?![A-Za-z@])")
_NOT_CONDITIONS = {"ifthenelse", "ifstrequal", "ifstrempty", "ifdefempty", "ifdefstring", "ifblank", "iftoggle"}
_HARMLESS = frozenset("$(,=+<>[:;.\n&|/!*'\"")  # what stands before a macro that is no command's argument
_HARMLESS_BEHIND = frozenset("$)]}^_(,.=:;/|&\n")  # what stands behind one that neither is eaten nor makes it longer
_OPENING = frozenset("\\{")
_BLANK_OR_BRACE = frozenset(" \t{")
_ALWAYS = define.WORDS | {"iffalse", "iftrue"}
_BLANKS = re.compile(r"\{\}|[ \t]+")
_TAKES = re.compile(
    rf"(?:[\^_]|\\(?:{scan.word_trie(TAKES_ARGUMENT)})(?:\s*(?:\{{[^{{}}]{{0,40}}\}}|[A-Za-z0-9](?<![A-Za-z]{{2}})))?)\s*\Z"
)
_ONE_TOKEN = re.compile(rf"[\\{DECIDED}](?:[A-Za-z@]+|.)|.", re.DOTALL)
_XPARSE_TEST = re.compile(
    scan.ODD
    + r"(IfNoValueTF|IfNoValueT|IfNoValueF|IfBooleanTF|IfBooleanT|IfBooleanF|IfValueTF|IfValueT|IfValueF)(?![A-Za-z])"
)
_PLAIN_TITLE = re.compile(
    r"(?:\{?\\(?:bf|it|sc|bfseries|itshape|scshape|rm|textbf|textit|textsc)(?![A-Za-z])\s*)*\{?\s*([A-Za-z]+)\s*\}*"
)


class Expander:
    """The macros of one paper. ``prepare`` is told every name that the sources define, ``collect`` reads a preamble.

    ``commands`` stand for nothing, with that many groups behind them, unless the paper gives them a meaning;
    ``environments`` go as a whole, and ``removed`` counts them. ``size`` is the length of the text to come.
    """

    def __init__(
        self, size: int = 0, *, commands: Mapping[str, int] = {}, environments: frozenset[str] = frozenset()
    ) -> None:
        self.meanings = {n: _nothing(n, groups) for n, groups in commands.items() if groups}
        self.removed: Counter[str] = Counter()
        self._blank = {name for name, groups in commands.items() if not groups}
        self._given = frozenset(commands)
        self._dropped = environments
        self.environments: dict[str, Meaning] = {}
        self.renamed: dict[str, str] = {}  # environments of \newtheorem, by the word that they print
        self.written_out = 0
        self.left: set[str] = set()  # names with a use that was not written out
        self._switches: dict[str, bool] = {}
        self._flat = dict.fromkeys(
            self._blank, ""
        )  # what parameterless macros stand for, as long as no definition changes
        self._simple: dict[str, bool] = {}
        self._active: list[str] = []
        self._allowance = ALLOWANCE[0] + ALLOWANCE[1] * size
        self._look = scan.Scanner()
        self._groups = (
            scan.Scanner()
        )  # apart, because most definitions are in no group and the search for its end fails
        self._depth = 0
        self._gave_up = False  # whether some text was left as it is for a limit's sake
        self._scopes: list[tuple[int, str, Meaning | None]] = []
        self._version = 0
        self._pattern = re.compile(r"(?!)")

    def prepare(self, defined: Iterable[tuple[str, str]]) -> None:
        """Look for these names, each with the word that defines it; no other name is ever looked at."""
        words: set[str] = set()
        symbols: set[str] = set()
        environments: set[str] = set()
        for word, name in defined:
            if len(name) > define.LONGEST_NAME or len(words) > MAX_NAMES:
                continue
            if word in {"newenvironment", "renewenvironment", "newtheorem"}:
                environments.add(name)
            elif not name[0].isalpha() and name[0] != "@":
                symbols.add(name)
            elif word == "newif":
                words |= {name, f"{name[2:]}true", f"{name[2:]}false"}
            else:
                words.add(name.rstrip("*"))
        words = {w for w in words - STRUCTURE if "@" not in w and w} | self._given | _ALWAYS
        symbols -= {
            "\\",
            "-",
            "/",
            "@",
            "(",
            ")",
            "[",
            "]",
            "{",
            "}",
            "%",
            "$",
            "&",
            "#",
            "_",
            "'",
            '"',
            "`",
            "^",
            "~",
            "=",
        }
        environments = environments - ENVIRONMENTS | self._dropped
        single = rf"|[{re.escape(''.join(sorted(symbols)))}]" if symbols else ""
        wrapped = rf"|(?:begin|end)\s*\{{(?:{scan.word_trie(environments)})\}}" if environments else ""
        self._pattern = re.compile(rf"\\((?:{scan.word_trie(words)})(?![A-Za-z]){single}{wrapped})")

    def collect(self, text: str, *, trusted: bool = True) -> None:
        """Take the definitions of a preamble. Of a style (``trusted=False``) only those that can be written out."""
        for found in iter(_Steps(self._pattern, text)):
            self._collect_one(text, found, trusted)

    def _collect_one(self, text: str, steps: _Steps, trusted: bool) -> None:
        word, at = steps.word, steps.end
        if word in define.WORDS:
            read = define.read_definition(self._look, text, at, word)
            if read is not None:
                steps.end = read[1]
                if read[0] is not None and (trusted or read[0].kind != "opaque"):
                    self.define(read[0])
        elif word in self._switches or word in {"iffalse", "iftrue"}:
            chosen = self._choose(text, at, self._switches.get(word, word == "iftrue"))
            if chosen is not None:
                steps.end = chosen[1]
                self.collect(chosen[0], trusted=trusted)
        else:
            self._switch(word)

    def define(self, meaning: Meaning) -> None:
        """Let a name mean something from now on."""
        name = meaning.name
        self._forget()
        if meaning.kind == "switch":
            self._switches.setdefault(f"if{name}", False)
        elif meaning.kind == "theorem":
            title = _PLAIN_TITLE.fullmatch(str(meaning.body[0]).strip()) if meaning.body else None
            if title and name not in ENVIRONMENTS:
                self.renamed[name] = title[1].lower()
        elif meaning.kind == "environment":
            if name not in ENVIRONMENTS:
                self.environments[name] = meaning
        elif meaning.kind == "opaque" and meaning.source.startswith(("\\newenv", "\\renewenv")):
            self.environments.pop(name, None)
        elif name not in STRUCTURE and not (meaning.soft and name in self.meanings):
            self._blank.discard(name)
            self._flat.pop(name, None)
            self.meanings[name] = self._aliased(meaning) if meaning.kind == "let" else meaning

    def _forget(self) -> None:
        """What was written out so far may be so no more."""
        self._version += 1
        self._simple.clear()
        if len(self._flat) > len(self._blank):
            self._flat.clear()
            self._flat.update(dict.fromkeys(self._blank, ""))

    def _aliased(self, meaning: Meaning) -> Meaning:
        target = str(meaning.body[0])
        old = self.meanings.get(target[1:]) if target.startswith("\\") else None
        if old is not None:  # the definition of `old`, if it must be kept, is found by its name in `source`
            return Meaning(name=meaning.name, kind=old.kind, params=old.params, body=old.body, source=meaning.source)
        if target == "\\relax":
            return Meaning(name=meaning.name, kind="macro", source=meaning.source)
        decided = DECIDED + target[1:] if target.startswith("\\") and target[1].isalpha() else target
        return Meaning(name=meaning.name, kind="macro", body=(decided,), source=meaning.source)

    def expand(self, text: str) -> str:
        """``text`` with the macros written out, definitions taken in and out of it."""
        if self._pattern.search(text) is None:
            return text
        if self._depth >= MAX_DEPTH or self._allowance <= 0:
            self._gave_up = True
            return text
        self._depth += 1
        written = self._expand(text)
        self._depth -= 1
        return written

    def _expand(self, text: str) -> str:
        out: list[str] = []
        at = bare = 0  # everything on the line before `bare` went
        nested = bool(self._active)
        flat, meanings, append = self._flat, self.meanings, out.append
        for found in self._pattern.finditer(text):
            word = found[1]
            start, end = found.span()
            if start < at or (text[start - 1] == "\\" and scan.escaped(text, start)):
                continue  # inside an argument that went, or no command
            if self._scopes and not nested:
                self._leave_scopes(start)
            piece = flat.get(word)
            if piece is not None and self._allowance > 0:
                self.written_out += piece != ""
            elif word in meanings:
                piece, end = self._macro(text, end, word)
            else:
                piece, end = self._other(text, start, end, word)
            if piece:
                append(text[at:start])
                before = text[start - 1]
                if before == " ":
                    before = text[start - 2]
                if before in _HARMLESS and text[end : end + 1] in _HARMLESS_BEHIND and piece[0] in _OPENING:
                    append(piece)  # as `_put` would, for most uses
                    self._allowance -= len(piece)
                    at = end
                else:
                    at = self._put(text, start, end, word, piece, out)
            elif piece is not None:
                append(text[at:start])
                at = bare = _behind_blank(text, start, end, bare)
        append(text[at:])
        return "".join(out)

    def _put(self, text: str, start: int, end: int, word: str, piece: str, out: list[str]) -> int:
        """Append what a use stands for, so that it remains one argument and one word; the index to go on from.

        TeX drops the blanks behind a command's name. They are dropped where that joins letters (``K\\o nig``);
        elsewhere it is only seen in mathematics, where blanks mean nothing and are good to read.
        """
        self._allowance -= len(piece)
        before = text[start - 1 : start]
        if before not in _HARMLESS and self._splits(text, start, piece):
            piece = f"{{{piece}}}"
        elif piece[0].isalpha() and out[-1][-1:].isalpha() and scan.CONTROL_WORD_END.search(out[-1][-60:]):
            piece = f" {piece}"
        out.append(piece)
        after = text[end : end + 1]
        if after in _BLANK_OR_BRACE and word[-1].isalpha() and word in self.meanings and not self.meanings[word].params:
            blanks = _BLANKS.match(text, end)
            if blanks and (after == "{" or (piece[-1].isalnum() and not scan.CONTROL_WORD_END.search(piece[-60:]))):
                end = blanks.end()
                after = text[end : end + 1]
        if after.isalpha() and piece[-1].isalpha() and scan.CONTROL_WORD_END.search(piece[-60:]):
            out.append(" ")
        return end

    def _splits(self, text: str, start: int, piece: str) -> bool:
        """Whether ``piece`` is taken as an argument where it is put, and would fall apart there."""
        before = text[start - 1 : start]
        if before == " ":
            before = text[start - 2 : start - 1]
        if not (before in {"^", "_", "}"} or before.isalnum()):
            return False
        if (piece.startswith("{") and self._look.group_end(piece, 0) == len(piece)) or _ONE_TOKEN.fullmatch(piece):
            return False
        return _TAKES.search(text, max(0, start - 80), start) is not None and piece.count("{") == piece.count("}")

    def _macro(self, text: str, end: int, word: str) -> tuple[str | None, int]:
        """What the use of ``word`` stands for and the index behind its arguments; None when it stays."""
        meaning = self.meanings[word]
        if meaning.kind == "opaque" or word in self._active or self._allowance <= 0:
            self.left.add(word)
            return None, end
        given = self._arguments(text, end, meaning)
        if given is None or _length(meaning.body, given[0]) > self._allowance:
            self.left.add(word)
            return None, end
        arguments, end = given
        version, failures, known = self._version, len(self.left), word in self.left
        piece = self._written(meaning, arguments, word)
        recursive = word in self.left and not known
        if recursive or (len(piece) > MAX_RESULT and len(piece) > 4 * sum(map(len, arguments))):
            self.left.add(word)
            self.meanings[word] = Meaning(name=word, kind="opaque", params=meaning.params, source=meaning.source)
            return None, end
        self.written_out += word not in self._given
        if not meaning.params and version == self._version and failures == len(self.left):
            self._flat[word] = piece
        return piece, end

    def _arguments(self, text: str, at: int, meaning: Meaning) -> tuple[list[str], int] | None:
        out: list[str] = []
        first = at
        for param in meaning.params:
            read: tuple[str, int] | None = None
            if param.kind == "text":
                at = scan.skip_space(text, at)
                if not text.startswith(param.mark.strip(), at):
                    return None
                at += len(param.mark.strip())
                continue
            if param.kind == "star":
                star = scan.skip_space(text, at)
                read = ("1", star + 1) if text.startswith("*", star) else (NO_VALUE, at)
            elif param.kind == "optional":
                read = self._look.optional(text, at) or (param.default, at)
            elif param.kind == "until":
                read = self._look.until(text, at, param.mark)
            elif param.kind == "group":
                read = self._look.braced(text, at) or ("", at)
            else:
                read = self._look.argument(text, at)
            if read is None:
                return None
            out.append(read[0])
            at = read[1]
        self._allowance -= (at - first) // 4
        return [self.expand(a) if "\\" in a else a for a in out], at

    def _written(
        self, meaning: Meaning, arguments: list[str], key: str, *, body: tuple[str | int, ...] | None = None
    ) -> str:
        """The replacement text with its arguments in it, written out itself."""
        body = meaning.body if body is None else body
        joined = _joined(body, arguments) if len(body) != 1 or not isinstance(body[0], str) else body[0]
        if NO_VALUE in joined or "\\If" in joined:
            joined = _decide(self._look, joined)
        if key not in self._simple:
            self._simple[key] = not any(isinstance(p, str) and self._pattern.search(p) for p in body)
        if self._simple[key]:
            return joined
        self._active.append(key)
        written = self.expand(joined)
        self._active.pop()
        return written

    def _other(self, text: str, start: int, end: int, word: str) -> tuple[str | None, int]:
        """A definition, an environment or a condition at ``start``."""
        if word in define.WORDS:
            read = define.read_definition(self._look, text, end, word)
            if read is None:
                return None, end
            if read[0] is not None:
                if not self._active and word not in {"gdef", "xdef"}:
                    self._enter_scope(text, start, read[0].name)
                self.define(read[0])
            return "", read[1]
        if word.startswith(("begin", "end")) and word.endswith("}"):
            return self._wrapper(text, end, word)
        if word in self._switches or word in {"iffalse", "iftrue"}:
            chosen = self._choose(text, end, self._switches.get(word, word == "iftrue"))
            return (None, end) if chosen is None else (self.expand(chosen[0]), chosen[1])
        return ("", end) if self._switch(word) else (None, end)

    def _wrapper(self, text: str, end: int, word: str) -> tuple[str | None, int]:
        side, _, name = word[:-1].partition("{")
        side, name = side.strip(), name.strip()
        if name in self._dropped:
            return self._drop(text, end, side, name)
        if name in self.renamed:
            return f"\\{side}{{{self.renamed[name]}}}", end
        meaning = self.environments.get(name)
        key = f"{side}{{{name}"
        if meaning is None or key in self._active or self._allowance <= 0:
            return None, end
        if side == "end":
            return self._written(meaning, [], key, body=meaning.end), end
        given = self._arguments(text, end, meaning)
        if given is None:
            return None, end
        return self._written(meaning, given[0], key), given[1]

    def _drop(self, text: str, end: int, side: str, name: str) -> tuple[str | None, int]:
        """An environment that goes with all that is in it; it stays when its end is not found."""
        span = self._look.environment_end(text, end, name) if side == "begin" else None
        if span is None:
            return None, end
        self.removed[name] += 1
        return "", span[1]

    def _switch(self, word: str) -> bool:
        """Set the switch of ``\\nametrue`` or ``\\namefalse``; whether ``word`` is one."""
        for ending, value in (("true", True), ("false", False)):
            if word.endswith(ending) and f"if{word.removesuffix(ending)}" in self._switches:
                self._switches[f"if{word.removesuffix(ending)}"] = value
                self._forget()
                return True
        return False

    def _choose(self, text: str, at: int, value: bool) -> tuple[str, int] | None:
        """The branch that a condition takes, and the index behind its ``\\fi``; None when there is none in reach."""
        depth, middle = 0, -1
        for found in _BRANCH.finditer(text, at, at + 1_000_000 if self._look.vain > 0 else at):
            word = found[1]
            if word == "fi" and not depth:
                last, end = found.start(1) - 1, found.end() + (text[found.end() : found.end() + 1] == " ")
                if value:
                    return text[at : middle if middle >= 0 else last].removeprefix(" "), end
                return (text[text.index("else", middle) + 4 : last].removeprefix(" ") if middle >= 0 else ""), end
            if word == "else" and not depth:
                middle = found.start(1) - 1
            elif word.startswith("if") and word not in _NOT_CONDITIONS:
                depth += 1
            elif word == "fi":
                depth -= 1
        self._look.missed(text, at, 1_000_000)
        return None

    def _enter_scope(self, text: str, start: int, name: str) -> None:
        """A definition inside a group ends with it."""
        end = self._groups.enclosing_end(text, start, 20_000)
        if end >= 0:
            self._scopes.append((end, name, self.meanings.get(name)))

    def _leave_scopes(self, at: int) -> None:
        while self._scopes and self._scopes[-1][0] <= at:
            _, name, old = self._scopes.pop()
            self._forget()
            if old is None:
                self.meanings.pop(name, None)
            else:
                self.meanings[name] = old

    @property
    def defined(self) -> int:
        """How many macros the sources define."""
        return sum(bool(meaning.source) for meaning in self.meanings.values())

    def kept_definitions(self, text: str) -> list[str]:
        """The definitions that ``text`` still needs, in the order they were made, as written in the sources."""
        candidates = set(self.meanings) if self._gave_up or self._allowance <= 0 else self.left
        needed: set[str] = set()
        fresh = _names_in(text, candidates & set(self.meanings))
        while fresh:
            needed |= fresh
            sources = "\n".join(self.meanings[name].source for name in fresh)
            fresh = _names_in(sources, set(self.meanings)) - needed
        return [m.source for name, m in self.meanings.items() if name in needed and m.source]


class _Steps:
    """The matches of a pattern, where the reader of one may move the place at which the search goes on (``end``)."""

    def __init__(self, pattern: re.Pattern[str], text: str) -> None:
        self._pattern, self._text = pattern, text
        self.word, self.end = "", 0

    def __iter__(self) -> _Steps:
        return self

    def __next__(self) -> _Steps:
        found = self._pattern.search(self._text, self.end)
        if found is None:
            raise StopIteration
        if scan.escaped(self._text, found.start()):
            self.end = found.start() + 1
            return next(self)
        self.word, self.end = found[1], found.end()
        return self


@functools.cache
def _nothing(name: str, groups: int) -> Meaning:
    star, option = define.Param(kind="star"), define.Param(kind="optional")
    return Meaning(name=name, kind="macro", params=(star, option, *[define.Param(kind="group")] * groups))


def _behind_blank(text: str, start: int, end: int, bare: int) -> int:
    """Where the text goes on behind something that went: a line of which nothing is left goes as well."""
    if text[end : end + 1] in _BLANK_OR_BRACE:
        found = _BLANKS.match(text, end)
        end = found.end() if found else end
    alone = start in (0, bare) or text[start - 1] == "\n"
    return end + 1 if alone and text[end : end + 1] == "\n" else end


def _names_in(text: str, names: set[str]) -> set[str]:
    if not names:
        return set()
    words, symbols = {n for n in names if n[0].isalpha() or n[0] == "@"}, {n for n in names if not n[0].isalpha()}
    single = rf"|[{re.escape(''.join(sorted(symbols - words)))}]" if symbols - words else ""
    return set(re.findall(rf"{scan.ODD}((?:{scan.word_trie(words)})(?![A-Za-z@]){single})", text))


def _joined(body: tuple[str | int, ...], arguments: list[str]) -> str:
    out: list[str] = []
    last = ""
    for piece in body:
        if isinstance(piece, int):
            piece = arguments[piece - 1] if piece <= len(arguments) else ""
            if last[-1:] in {"^", "_"} and piece[:1] == "\\" and not _ONE_TOKEN.fullmatch(piece):
                piece = f"{{{piece}}}"
        if piece and last and piece[0].isalpha() and last[-1].isalpha() and scan.CONTROL_WORD_END.search(last[-60:]):
            out.append(" ")
        if piece:
            out.append(piece)
            last = piece
    return "".join(out)


def _length(body: tuple[str | int, ...], arguments: list[str]) -> int:
    """How long a replacement text gets with its arguments."""
    return sum(
        len(p) if isinstance(p, str) else len(arguments[p - 1])
        for p in body
        if isinstance(p, str) or p <= len(arguments)
    )


def _decide(look: scan.Scanner, text: str) -> str:
    """Settle xparse's questions about arguments that are or are not there."""
    for _ in range(30):
        found = _XPARSE_TEST.search(text)
        if found is None:
            break
        asked = look.argument(text, found.end())
        word = found[1]
        absent = asked is None or asked[0].strip() in {NO_VALUE, ""}
        first = absent if "NoValue" in word else not absent
        parts: list[str] = []
        end = asked[1] if asked else found.end()
        for _ in range(2 if word.endswith("TF") else 1):
            part = look.argument(text, end)
            parts.append(part[0] if part else "")
            end = part[1] if part else end
        if len(parts) == 1:
            parts = [parts[0], ""] if word.endswith("T") else ["", parts[0]]
        text = text[: found.start(1) - 1] + parts[0 if first else 1] + text[end:]
    return text.replace(NO_VALUE, "")

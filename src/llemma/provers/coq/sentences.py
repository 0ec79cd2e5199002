"""Cuts Coq text into sentences and words, as Coq's own lexer does; knows no grammar beyond that.

Comments nest and hold strings, strings double their quotes, a full stop ends a sentence only before blank space or the
end (``Nat.add`` and ``1.5`` hold none, ``x .. y`` neither), ``...`` ends one too, and bullets and braces of a proof are
sentences of their own. Comments do not come back: what is compiled is what was looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

# One step of the lexer. A number takes no trailing full stop: `1.` ends a sentence.
_TOKEN = re.compile(
    r"""
      (?P<blank>\s+)
    | (?P<comment>\(\*)
    | (?P<string>"(?:[^"]|"")*")
    | (?P<number>[0-9][0-9_]*(?:\.[0-9_]+)?(?:[eE][+-]?[0-9]+)?|0[xX][0-9a-fA-F_]+)
    | (?P<word>[^\W\d][\w'\u00a0-\u02ff\u2080-\u2089\u2070-\u207f]*)
    | (?P<stop>\.\.\.(?=\s|\Z)|\.(?=\s|\Z|\(\*))
    | (?P<dots>\.\.+)
    | (?P<bullet>\++|-+|\*+)
    | (?P<quote>")
    | (?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT = re.compile(r'\(\*|\*\)|"(?:[^"]|"")*"|"')
_GOAL = re.compile(r"(?:\d+|\[\s*[^\W\d][\w']*\s*\]|all|!|par)\s*:\s*\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A word, number, string or symbol outside comments; ``at`` counts characters of the text."""

    kind: str
    text: str
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence without its comments: the text with its full stop, its tokens without it, where it stood."""

    text: str
    tokens: tuple[Token, ...]
    start: int
    end: int

    @property
    def words(self) -> tuple[str, ...]:
        """The texts of the tokens."""
        return tuple(token.text for token in self.tokens)

    @property
    def key(self) -> str:
        """Equal for sentences that differ in blanks and comments only."""
        return " ".join(self.words)


class Torn(ValueError):
    """The text ends inside a comment, a string or a sentence; ``complete`` is what stands before that."""

    def __init__(self, message: str, complete: tuple[Sentence, ...], rest: str) -> None:
        super().__init__(message)
        self.complete = complete
        self.rest = rest


def _skip_comment(text: str, at: int) -> int:
    """Where the comment that opens at ``at`` ends; -1 when it does not."""
    depth, here = 0, at
    while match := _COMMENT.search(text, here):
        here = match.end()
        if match[0] == "(*":
            depth += 1
        elif match[0] == "*)":
            depth -= 1
            if depth == 0:
                return here
        elif match[0] == '"':
            return -1
    return -1


def _lex(text: str) -> Iterator[Token]:
    """All tokens; an unclosed comment or string comes as a last token of the kind ``torn``."""
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None and match.lastgroup is not None  # `other` takes anything
        kind = match.lastgroup
        if kind == "comment":
            end = _skip_comment(text, at)
            if end < 0:
                yield Token(kind="torn", text="comment", at=at)
                return
            yield Token(kind="comment", text=" ", at=at)
            at = end
            continue
        if kind == "quote":
            yield Token(kind="torn", text="string", at=at)
            return
        yield Token(kind=kind, text=match[0], at=at)
        at = match.end()


def split(text: str) -> tuple[Sentence, ...]:
    """The sentences of a text. Raises Torn when something does not end."""
    return _Splitter(text).run()


class _Splitter:
    """Gathers tokens until a sentence ends."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.done: list[Sentence] = []
        self.tokens: list[Token] = []
        self.parts: list[str] = []

    def run(self) -> tuple[Sentence, ...]:
        end = 0
        for token in _lex(self.text):
            end = token.at + len(token.text)
            if token.kind == "torn":
                self._torn(f"a {token.text} is never closed", token.at)
            elif token.kind in ("blank", "comment"):
                if self.parts:
                    self.parts.append(token.text)
            elif token.kind == "stop":
                self.parts.append(token.text)
                self._close(end)
            elif self._alone(token):
                for mark in token.text if token.text in ("{", "}") else (token.text,):
                    self.parts, self.tokens = [*self.parts, mark], [*self.tokens, token]
                self._close(end)
            else:
                self.parts.append(token.text)
                self.tokens.append(token)
        if self.tokens:
            self._torn("the last sentence has no full stop", self.tokens[0].at)
        return tuple(self.done)

    def _alone(self, token: Token) -> bool:
        """Whether the token is a bullet or a brace that focuses: at the start, or `{` behind a goal selector."""
        if token.text == "{":
            return not self.tokens or bool(_GOAL.fullmatch("".join(self.parts)))
        return not self.tokens and (token.kind == "bullet" or token.text == "}")

    def _close(self, end: int) -> None:
        start = self.tokens[0].at if self.tokens else end - 1
        text = "".join(self.parts).strip()
        self.done.append(Sentence(text=text, tokens=tuple(self.tokens), start=start, end=end))
        self.tokens, self.parts = [], []

    def _torn(self, message: str, at: int) -> None:
        where = self.tokens[0].at if self.tokens else at
        raise Torn(f"{message}: {_shown(self.text[where:])}", tuple(self.done), self.text[where:])


def _shown(text: str, width: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"

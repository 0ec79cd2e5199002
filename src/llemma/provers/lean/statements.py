"""Reads Lean files without Lean: their header, their theorems with everything before each, the names they declare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llemma.provers.lean.lexer import Token, pieces, tokens
from llemma.records import Theorem

_STATES = ("theorem", "lemma")
_MODIFIERS = {
    "private",
    "protected",
    "public",
    "noncomputable",
    "nonrec",
    "unsafe",
    "partial",
    "scoped",
    "local",
    "meta",
}
_BEFORE_IN = {"open", "set_option", "variable", "include", "omit", "universe", "attribute", "suppress_compilation"}
_COMMANDS = {
    "theorem", "lemma", "def", "abbrev", "instance", "axiom", "opaque", "example", "inductive", "structure", "class",
    "namespace", "section", "end", "universe", "variable", "notation", "macro", "macro_rules", "syntax", "attribute",
    "mutual", "export",
}  # fmt: skip
_OPENS, _CLOSES = "([{⟨⟪⟦⦃", ")]}⟩⟫⟧⦄"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file imports, and its text with the header blanked (lines and columns stay)."""

    modules: tuple[str, ...]
    body: str


def header(text: str) -> Header:
    """The imports at the beginning of ``text``; none are named when the file relies on the default."""
    found: list[str] = []
    end, importing = 0, False
    for token in tokens(text):
        if importing and token.text == "all":
            pass
        elif importing and token.kind == "word":
            found.append(token.text)
            importing = False
        elif token.text == "import":
            importing = True
        elif token.text not in ("module", "prelude") and not _imports(text, token.start):
            break
        end = token.end
    blank = "".join("\n" if char == "\n" else " " for char in text[:end])
    return Header(modules=tuple(found), body=blank + text[end:])


def _imports(text: str, at: int) -> bool:
    """Whether an import follows, perhaps after another modifier."""
    for token in tokens(text[at : at + 4096]):
        if token.text == "import":
            return True
        if token.text not in ("public", "meta"):
            return False
    return False


def read(text: str, source: str = "") -> list[Theorem]:
    """The theorems and lemmas of a file, each with all that stands before it as its prelude.

    The statement is the declaration without its proof, with its attributes and what ends in ``in``.
    """
    text = text.replace("\r\n", "\n")
    found = [token for token in pieces(text) if token.kind != "broken"]
    cut = [token for token in found if token.kind != "comment"]
    theorems = []
    scopes: list[tuple[str, int]] = []
    for index, token in enumerate(cut):
        _track(scopes, cut, index)
        if token.kind != "word" or token.text not in _STATES or index + 1 >= len(cut) or cut[index + 1].kind != "word":
            continue
        start = _start(cut, index)
        start = _with_doc(found, start)
        end = _end(text, cut, index)
        name = _full_name(scopes, cut[index + 1].text)
        statement = text[start:end].rstrip()
        theorems.append(Theorem(name=name, statement=statement, prelude=text[:start], meta={"source": source}))
    return theorems


def declares(text: str, name: str) -> bool:
    """Whether some ``theorem`` or ``lemma`` of the text has this full name."""
    return any(theorem.name == name for theorem in read(text))


def _track(scopes: list[tuple[str, int]], cut: Sequence[Token], index: int) -> None:
    """Namespaces (their names), sections and mutual blocks (empty names) that are open after this token."""
    token = cut[index]
    if token.kind != "word":
        return
    name = cut[index + 1] if index + 1 < len(cut) else token
    if token.text == "namespace":
        scopes.extend((part, 0) for part in _split(name.text))
    elif token.text == "section":
        named = name.kind == "word" and name is not token and name.text not in _COMMANDS
        parts = _split(name.text) if named and "\n" not in _gap(token, name) else [""]
        scopes.extend(("", 0) for _ in parts)
    elif token.text == "mutual":
        scopes.append(("", 0))
    elif token.text == "end" and scopes:
        closing = (
            _split(name.text) if name.kind == "word" and name is not token and name.text not in _COMMANDS else [""]
        )
        del scopes[-min(len(closing), len(scopes)) :]


def _gap(first: Token, second: Token) -> str:
    return "\n" if second.start - first.end > 1 else ""


def _split(name: str) -> list[str]:
    parts, inside, at = [], False, 0
    for index, char in enumerate(name):
        if char == "«":
            inside = True
        elif char == "»":
            inside = False
        elif char == "." and not inside:
            parts.append(name[at:index])
            at = index + 1
    return [*parts, name[at:]]


def _full_name(scopes: Sequence[tuple[str, int]], name: str) -> str:
    if name.startswith("_root_."):
        return name.removeprefix("_root_.")
    return ".".join([*(scope for scope, _ in scopes if scope), name])


def _start(cut: Sequence[Token], index: int) -> int:
    """Where the declaration begins whose keyword is ``cut[index]``."""
    at = index
    while at > 0:
        before = cut[at - 1]
        if before.text in _MODIFIERS:
            at -= 1
        elif before.text == "]" and (opening := _attribute(cut, at - 1)) is not None:
            at = opening
        elif before.text == "in" and (keyword := _prefix(cut, at - 1)) is not None:
            at = keyword
        else:
            break
    return cut[at].start


def _attribute(cut: Sequence[Token], closing: int) -> int | None:
    depth = 0
    for at in range(closing, 0, -1):
        depth += (cut[at].text == "]") - (cut[at].text == "[")
        if depth == 0:
            return at - 1 if cut[at - 1].text == "@" else None
    return None


def _prefix(cut: Sequence[Token], at: int) -> int | None:
    for before in range(at - 1, -1, -1):
        if cut[before].text in _BEFORE_IN:
            return before
        if cut[before].text in _COMMANDS:
            return None
    return None


def _with_doc(found: Sequence[Token], start: int) -> int:
    """The start with the doc comment before it, if there is one."""
    before = [token for token in found if token.end <= start]
    while before and before[-1].kind == "comment":
        if before[-1].text.startswith("/--"):
            return before[-1].start
        before.pop()
    return start


def _end(text: str, cut: Sequence[Token], index: int) -> int:
    """Where the statement ends: before its ``:=``, ``where``, first ``| pattern =>``, or the next command."""
    depth = pending = 0
    matching = False
    for at in range(index + 1, len(cut)):
        token = cut[at]
        if token.kind == "symbol":
            depth += (token.text in _OPENS) - (token.text in _CLOSES)
        if depth > 0:
            continue
        following = cut[at + 1] if at + 1 < len(cut) else token
        if token.text == ":" and following.text == "=" and following.start == token.end:
            if pending == 0:
                return token.start
            pending -= 1
        elif token.kind == "word" and token.text in ("let", "have", "letI", "haveI", "let_fun"):
            pending += 1
        elif token.text == "match":
            matching = True
        elif _ends(text, token, matching=matching, first=at == index + 1):
            return token.start
    return len(text)


def _ends(text: str, token: Token, *, matching: bool, first: bool) -> bool:
    """Whether the token, outside of all brackets, cannot belong to the statement."""
    if token.text == "|":
        return not matching and _begins_patterns(text, token)
    if token.text in ("#", "@"):
        return _fresh(text, token)
    return token.text == "where" or (token.text in _COMMANDS and not first)


def _fresh(text: str, token: Token) -> bool:
    """Whether the token is the first of its line and not indented."""
    return token.start > 0 and text[token.start - 1] == "\n"


def _begins_patterns(text: str, token: Token) -> bool:
    begin = text.rfind("\n", 0, token.start) + 1
    end = text.find("\n", token.start)
    line = text[token.start : end if end >= 0 else len(text)]
    return not text[begin : token.start].strip() and "=>" in line

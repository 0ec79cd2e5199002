"""Chooses mathematical code by a table of rules (``code_rules.toml``); every refusal has a reason.

The rules are data for 17 languages in two profiles: ``llemma`` judges as AlgebraicStack did, faults and all, ``fixed``
as it meant to. What this file does not do: parse code; a rule looks for texts and patterns, and asks what the path and
the repository are called.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np

from llemma.config import build, setting
from llemma.corpus import code_theorems
from llemma.corpus.code_theorems import Cut, HeldOut, ListedTheorem
from llemma.corpus.language import identify, prepare
from llemma.corpus.page import words_only
from llemma.corpus.quality import Outcome, Stage
from llemma.errors import ConfigError, nearest
from llemma.extract.notebook import NotebookOptions, extract_notebook
from llemma.records import Document

PROFILES = ("llemma", "fixed")
ANY = "any"
BYTE_ORDER_MARK = "\ufeff"
ENOUGH_LETTERS = 100  # prose with fewer is not asked for its language in profile fixed
_PATH = ("path", "max_stars_repo_path")  # of our sources, of The Stack
_REPOSITORY = ("repository", "max_stars_repo_name", "repo_name", "repo")
_DIGIT, _BELOW_LETTERS = ord("0"), ord("@")
_SPACES = (ord("\t"), 0x1C)  # white space of ASCII: five codes from either, \t … \r and \x1c … space
# The other characters of white space, as UTF-8 in one number: two bytes and a zero, or three bytes
_WIDE = np.array(
    sorted(
        int.from_bytes(chr(code).encode().ljust(3, b"\0"), "big")
        for code in (0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
    ),
    dtype=np.uint32,
)
_LEADS = np.isin(np.arange(256), _WIDE >> 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A regular expression, and where it is tried."""

    regex: str = setting("", "searched in the text, where `at` is empty")
    at: str = setting("", "a text; the expression is matched where it occurs")
    line: bool = setting(False, "matched at the beginning of the line in which `at` occurs")

    def occurs(self, text: str) -> bool:
        """Whether it matches somewhere in the text."""
        if not self.at:
            return _compiled(self.regex).search(text) is not None
        place = text.find(self.at)
        if place < 0:
            return False
        match = _compiled(self.regex).match
        while place >= 0:
            if match(text, text.rfind("\n", 0, place) + 1 if self.line else place):
                return True
            if self.line:
                place = text.find("\n", place)
            place = text.find(self.at, place + 1) if place >= 0 else -1
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Texts and patterns of which one occurs, or none; the reason belongs to the other case."""

    reason: str = setting("", "why the file is refused")
    texts: tuple[str, ...] = setting((), "one of these")
    after: tuple[str, ...] = setting((), "or one of `names` right behind one of these")
    names: tuple[str, ...] = setting((), "names for `after`, and for NAMES in the patterns")
    regexes: bool = setting(False, "the names are regular expressions")
    patterns: tuple[Pattern, ...] = setting((), "or one of these")
    fold_case: bool = setting(False, "in the text in lower case")

    def occur(self, text: str) -> bool:
        """Whether one of them is in the text. It takes one search for each of `texts` and `after`, not each name."""
        if self.fold_case:
            text = text.lower()
        for one in self.texts:  # loops: a generator costs as much as the search of a short file
            if one in text:
                return True
        for head in self.after:
            if _behind(text, head, self.names):
                return True
        return any(pattern.occurs(text) for pattern in self.patterns) if self.patterns else False


@dataclass(frozen=True, slots=True, kw_only=True)
class Large:
    """What a large file must have."""

    from_bytes: int = setting(0, "size in UTF-8 from which on a file is large (0: none is)")
    mark: str = setting("", "a text that must be frequent")
    per_line: float = setting(0.0, "how often it must occur, per line")
    max_digits: float = setting(1.0, "greatest share of digits")
    reason: str = setting("too large", "why it is refused without")


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRule:
    """The rule of one language in one profile; code_rules.toml says what each key means."""

    name: str = setting("", "the language of the rule")
    profile: str = setting("llemma", "llemma or fixed")
    extensions: tuple[str, ...] = setting((), "file name endings, lower case")
    max_bytes: int = setting(1_048_575, "longest file in UTF-8 (0: no limit)")
    max_digits: float = setting(0.5, "greatest share of digits among characters that are no white space")
    min_chars: int = setting(0, "shortest file in characters")
    blank: Literal["refused", "kept"] = setting("refused", "what becomes of white space alone")
    not_starting: tuple[str, ...] = setting((), "how a file must not begin")
    stripped: Literal["", "space", "mark"] = setting("", "what in front of the beginning does not count")
    ending: Literal["", "exact", "folded"] = setting("", "whether the path must end in one of the extensions")
    not_in_path: tuple[str, ...] = setting((), "regular expressions that must not be found in the path")
    not_in_repository: tuple[str, ...] = setting((), "regular expressions that must not match the repository's name")
    require: tuple[Marks, ...] = setting((), "of each of these one must occur")
    forbid: tuple[Marks, ...] = setting((), "of these none may occur")
    large: Large = setting(factory=Large, help="what large files must have")
    language: str = setting("", "language that the text must be written in (ISO 639-1)")
    language_of: Literal["raw", "prose"] = setting("raw", "whether the language is that of all the text or its prose")
    convert: Literal["", "llemma", "default"] = setting("", "profile in which a notebook becomes text")
    converted: bool = setting(False, "the requirements are asked of the text that a notebook becomes")
    theorems: Cut = setting(factory=Cut, help="how theorems of test sets are cut out")
    tests: HeldOut | None = setting(None, "the theorems of test sets")


@functools.cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files("llemma.corpus").joinpath("code_rules.toml").read_text("utf-8"))


def languages() -> tuple[str, ...]:
    """The languages that have a rule, in the order of the table."""
    return tuple(_table())


def rule(language: str, profile: str = "llemma", tests: Sequence[ListedTheorem] = ()) -> CodeRule:
    """The rule of a language; ``tests`` are cut out where it can. Raises ConfigError with the known names."""
    if profile not in PROFILES:
        raise ConfigError(f"no code rules {profile!r}{nearest(profile, PROFILES)}")
    if language not in _table():
        raise ConfigError(f"no code rule {language!r}{nearest(language, [*_table(), ANY])}")
    found = _rule(language, profile)
    return replace(found, tests=HeldOut(theorems=tuple(tests))) if tests and found.theorems.way else found


@functools.cache
def _rule(language: str, profile: str) -> CodeRule:
    shared = _table()[language]
    table = {**{key: value for key, value in shared.items() if key not in PROFILES}, **shared.get(profile, {})}
    names = table.pop("names", [])
    for key in ("require", "forbid"):
        table[key] = [_filled(mark, names) for mark in table.get(key, [])]
    return build(CodeRule, {**table, "name": language, "profile": profile}, where=f"code rule {language}: ")


def _filled(mark: Mapping[str, Any], names: list[str]) -> dict[str, Any]:
    """The marks with the names of the language where they have none of their own, written into the patterns too."""
    names = mark.get("names", names)
    written = "|".join(names if mark.get("regexes") else map(re.escape, names))
    patterns = [{**one, "regex": one["regex"].replace("NAMES", written)} for one in mark.get("patterns", [])]
    return {**mark, "names": names, "patterns": patterns}


def language_of(path: str) -> str | None:
    """The language whose rule a file gets by the ending of its name, None for one without rule."""
    name = path.lower()
    return next((one for one in languages() if name.endswith(_rule(one, "llemma").extensions)), None)


def stage(language: str, profile: str = "llemma", tests: tuple[str, ...] = ()) -> Stage:
    """The rule of a language, or of each file's own (``any``), as a stage of a corpus.

    ``tests`` are lists of theorems that are cut out: files, or ``minif2f``. Raises ConfigError for a name that is not
    known, DataError for a list that cannot be read.
    """
    theorems = code_theorems.load(tests)
    every = {name: rule(name, profile, theorems) for name in (languages() if language == ANY else [language])}
    if any(one.language for one in every.values()):
        prepare()
    if language != ANY:
        return functools.partial(apply, every[language])

    def by_ending(document: Document) -> Outcome:
        name = language_of(_path(document))
        return apply(every[name], document) if name else Outcome(document=document, reason="no language by its ending")

    return by_ending


def apply(rule: CodeRule, document: Document) -> Outcome:
    """What becomes of a document: refused with a reason, or kept, perhaps as text and without theorems of test sets."""
    if rule.convert:
        return _apply_to_notebook(rule, document)
    text = document.text
    reason = _misplaced(rule, document) or _unfit(rule, text) or _without_marks(rule, text)
    if rule.tests is not None and not reason:
        return _cut(document, rule.tests, rule.theorems)
    return Outcome(document=document, reason=reason)


def _apply_to_notebook(rule: CodeRule, document: Document) -> Outcome:
    """As ``apply``, of a notebook's JSON."""
    reason = _misplaced(rule, document)
    if not rule.converted:
        reason = reason or _without_marks(rule, document.text)
    if reason:
        return Outcome(document=document, reason=reason)
    data, options = document.text.encode("utf-8", "replace"), NotebookOptions(profile=rule.convert or "default")
    book = extract_notebook(data, name=document.id, options=options)
    if book.error or not book.text.strip():
        return Outcome(document=document, reason="no notebook", detail=book.error or "no text in it")
    document = replace(document, text=book.text, meta={**document.meta, "title": book.title})
    reason = _unfit(rule, book.text) or _without_marks(rule, book.text) if rule.converted else None
    return Outcome(document=document, reason=reason)


def refusal(rule: CodeRule, text: str) -> str | None:
    """Why the rule refuses this text, wherever it comes from, in a few words; None when it passes."""
    return apply(rule, Document(id="", text=text, source="")).reason


def _cut(document: Document, tests: HeldOut, how: Cut) -> Outcome:
    text, lines = code_theorems.cut(document.text, _path(document), tests, how)
    if not lines:
        return Outcome(document=document)
    reason = None if text.strip() else "only theorems of test sets"
    return Outcome(document=replace(document, text=text), reason=reason, removed={"theorem of a test set": lines})


def _path(document: Document) -> str:
    return next((str(document.meta[key]) for key in _PATH if document.meta.get(key)), document.id)


def _misplaced(rule: CodeRule, document: Document) -> str | None:
    """Why the rule refuses a file for its path or its repository."""
    if rule.ending and (suffix := PurePosixPath(_path(document)).suffix):
        folded = suffix.lower() if rule.ending == "folded" else suffix
        if folded not in rule.extensions:
            return "another ending"
    if rule.not_in_path:
        path = _path(document)
        if any(_compiled(pattern).search(path) for pattern in rule.not_in_path):
            return "excluded path"
    if rule.not_in_repository:
        names = (str(document.meta[key]) for key in _REPOSITORY if document.meta.get(key))
        repository = next(names, "").rpartition("/")[2]
        if any(_compiled(pattern).match(repository) for pattern in rule.not_in_repository):
            return "excluded repository"
    return None


def _unfit(rule: CodeRule, text: str) -> str | None:
    """Why the rule refuses a text for its size, its digits or its beginning."""
    data = text.encode("utf-8", "surrogatepass")
    if rule.max_bytes and len(data) > rule.max_bytes:
        return "too large"
    if len(text) < rule.min_chars or (rule.blank == "refused" and (not text or text.isspace())):
        return "empty"
    if rule.max_digits < 1 and _share_above(rule.max_digits, data, len(text)):
        return "mostly digits"
    if rule.not_starting:
        beginning = text.lstrip() if rule.stripped else text
        if rule.stripped == "mark":
            beginning = beginning.removeprefix(BYTE_ORDER_MARK).lstrip()
        for start in rule.not_starting:
            if beginning.startswith(start):
                return f"starts with {start}"
    large = rule.large
    if large.from_bytes and len(data) >= large.from_bytes:
        count = text.count(large.mark)
        rare = not count or count / (text.count("\n") + 1) < large.per_line
        if rare or _share_above(large.max_digits, data, len(text)):
            return large.reason
    return None


def _without_marks(rule: CodeRule, text: str) -> str | None:
    """Why the rule refuses a text for what is in it."""
    for marks in rule.require:
        if not marks.occur(text):
            return marks.reason
    for marks in rule.forbid:
        if marks.occur(text):
            return marks.reason
    if rule.language:
        raw = rule.language_of == "raw"
        prose = text if raw else words_only(text)
        enough = raw or sum(map(str.isalpha, prose)) >= ENOUGH_LETTERS
        if enough and identify(prose, whole=raw)[0] != rule.language:
            return "another language"
    return None


def digit_share(text: str) -> float:
    """Digits 0-9 divided by characters that are no white space; 0 for a text without any."""
    digits, solid = _counts(text.encode("utf-8", "surrogatepass"), len(text))
    return digits / solid if solid else 0.0


def _share_above(most: float, data: bytes, characters: int) -> bool:
    """Whether digits are more than ``most`` of a text's characters that are no white space.

    Nearly every file is decided by its letters: were all other characters digits, there would still be too few.
    """
    letters = np.count_nonzero(np.frombuffer(data, np.int8) > _BELOW_LETTERS)  # A … \x7f: as signed bytes, all above @
    if letters > (1 - most) * characters + 1:
        return False
    figures = np.count_nonzero((np.frombuffer(data, np.uint8) - _DIGIT) < 10)
    if figures + 1 < most * (figures + letters):
        return False
    digits, solid = _counts(data, characters)
    return bool(solid and digits / solid > most)


def _counts(data: bytes, characters: int) -> tuple[int, int]:
    """Digits, and characters that are no white space as ``str.split`` sees it, of a text in UTF-8."""
    codes = np.frombuffer(data, np.uint8)
    spaces = np.count_nonzero((codes - _SPACES[0]) < 5) + np.count_nonzero((codes - _SPACES[1]) < 5)
    if characters < len(data):
        padded = np.frombuffer(data + b"\0\0", np.uint8)
        leads = np.flatnonzero(_LEADS[codes])
        first, second, third = (padded[leads + n].astype(np.uint32) for n in range(3))
        third[first < 0xE0] = 0  # two bytes
        written = first << 16 | second << 8 | third
        closest = _WIDE[np.minimum(np.searchsorted(_WIDE, written), len(_WIDE) - 1)]  # np.isin would sort
        spaces += np.count_nonzero(closest == written)
    return int(np.count_nonzero((codes - _DIGIT) < 10)), characters - int(spaces)


def _behind(text: str, head: str, names: tuple[str, ...]) -> bool:
    """Whether one of the names stands right behind ``head`` somewhere."""
    place = text.find(head)
    while place >= 0:
        if text.startswith(names, place + len(head)):
            return True
        place = text.find(head, place + 1)
    return False


@functools.cache
def _compiled(regex: str) -> re.Pattern[str]:
    return re.compile(regex)

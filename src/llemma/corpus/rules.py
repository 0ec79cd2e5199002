"""The tests that rules of quality are made of: each a frozen dataclass whose fields are its thresholds.

``quality_rules.toml`` puts them together into profiles. A test looks at one page and answers: nothing (keep it),
``Drop`` with a reason, or ``Edited`` with the text after lines were taken out. Tests know no documents but the one at
hand.
"""

from __future__ import annotations

import ast
import bisect
import functools
import itertools
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from llemma.config import setting
from llemma.corpus import language
from llemma.corpus.features import ngrams
from llemma.corpus.mathscore import MathScore
from llemma.corpus.page import Page
from llemma.corpus.perplexity import Perplexity
from llemma.errors import ConfigError, explain


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """The document is dropped; ``reason`` is counted, ``detail`` says how far off it was."""

    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edited:
    """The document's text after ``lines`` of its lines were taken out for ``reason``."""

    text: str
    reason: str
    lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The trained models that tests may ask; ``None`` where there is none."""

    mathscore: MathScore | None = None
    perplexity: Perplexity | None = None


Answer = Drop | Edited | None


class Test(Protocol):
    """A test of a page."""

    def __call__(self, page: Page, models: Models) -> Answer:
        """What becomes of the page."""


ENOUGH = 2_000  # words of the prose in which common words are looked for

TESTS: dict[str, type[Test]] = {}


def _test(name: str) -> Callable[[type[Test]], type[Test]]:
    def register(kind: type[Test]) -> type[Test]:
        TESTS[name] = kind
        return kind

    return register


def _prose(page: Page, glue_lines: bool) -> str:
    return page.prose.replace("\n", "") if glue_lines else page.prose


@_test("language")
@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """The prose is in the language wanted, with at least this probability."""

    code: str = setting("en", "the language, ISO 639-1")
    least: float = setting(0.5, "probability it must have")
    min_letters: int = setting(0, "prose with fewer letters is not judged")
    glue_lines: bool = setting(False, "delete line breaks first, so that words run together")

    def __call__(self, page: Page, models: Models) -> Answer:
        if sum(map(str.isalpha, page.prose[: 4 * self.min_letters + 1])) < self.min_letters:
            return None
        code, probability = language.identify(_prose(page, self.glue_lines))
        if code != self.code:
            return Drop(reason="another language", detail=f"{code} {probability:.2f}")
        return None if probability >= self.least else Drop(reason="language unclear", detail=f"{probability:.2f}")


@_test("mathscore")
@dataclass(frozen=True, slots=True, kw_only=True)
class MathScoreAtLeast:
    """The words are those of mathematics, as MathScore says; a page with formulas has less to prove."""

    with_formulas: float = setting(0.0, "least score of a page with formulas")
    without: float = setting(0.0, "least score of a page without")
    glue_lines: bool = setting(False, "delete line breaks first, so that words run together")

    def __call__(self, page: Page, models: Models) -> Answer:
        if models.mathscore is None:
            return None
        score = models.mathscore(_prose(page, self.glue_lines))
        least = self.with_formulas if page.formulas else self.without
        return None if score >= least else Drop(reason="MathScore too low", detail=f"{score:.3f} < {least}")


@_test("perplexity")
@dataclass(frozen=True, slots=True, kw_only=True)
class PerplexityAtMost:
    """The words come in an order that the language model has seen the like of."""

    most: float = setting(0.0, "largest perplexity (0: the test is off)")
    glue_lines: bool = setting(False, "delete line breaks first, so that words run together")

    def __call__(self, page: Page, models: Models) -> Answer:
        if models.perplexity is None or not self.most:
            return None
        value = models.perplexity(_prose(page, self.glue_lines))
        return None if value <= self.most else Drop(reason="perplexity too high", detail=f"{value:.0f} > {self.most:g}")


@_test("url")
@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """The address holds none of some texts."""

    any: tuple[str, ...] = setting((), "texts that must not be in the address")
    unless: tuple[str, ...] = setting((), "texts that excuse it")
    whole: bool = setting(False, "only where no letter or digit follows")
    joined: bool = setting(False, "one text made of all of them, as if the commas of the list were missing")
    file: Path | None = setting(None, "more of them: a text file of lines, or a Python file that defines a list")
    name: str = setting("BAD_URLS", "the list's name in a Python file")
    without: tuple[str, ...] = setting((), "entries of the file that other rules see to")

    def __call__(self, page: Page, models: Models) -> Answer:
        url = page.url
        if any(text in url for text in self.unless):
            return None
        for text in ("".join(self.any),) if self.joined else (*self.any, *self._listed()):
            at = url.find(text)
            while at >= 0:
                if not (self.whole and url[at + len(text) : at + len(text) + 1].isalnum()):
                    return Drop(reason="address", detail=text)
                at = url.find(text, at + 1)
        return None

    def _listed(self) -> tuple[str, ...]:
        return tuple(t for t in _listed(self.file, self.name) if t not in self.without) if self.file else ()


@functools.cache
def _listed(path: Path, name: str) -> tuple[str, ...]:
    """The texts of a list file. Raises ConfigError when there are none."""
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(explain(error)) from error
    if path.suffix != ".py":
        return tuple(line.strip() for line in content.splitlines() if line.strip())
    try:
        body = ast.parse(content).body
    except SyntaxError as error:
        raise ConfigError(f"{path}: not Python: {error.msg}") from error
    for node in body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            texts = [item.value for item in getattr(node.value, "elts", ()) if isinstance(item, ast.Constant)]
            return tuple(text for text in texts if isinstance(text, str))
    raise ConfigError(f"{path}: no list named {name}")


@_test("lines")
@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Lines with certain phrases are taken out: menus, cookie bars, left-over macro definitions."""

    phrases: tuple[str, ...] = setting((), "phrases, in small letters")
    more_than: int = setting(0, "how many of them a line may hold")
    max_words: int = setting(0, "only lines of so many words or fewer (0: all)")
    spare_formulas: bool = setting(False, "leave lines with formulas or code in peace")
    reason: str = setting("boilerplate line", "what the count is called")

    def __call__(self, page: Page, models: Models) -> Answer:
        lines = page.text.split("\n")
        longest = 12 * self.max_words or len(page.text)  # characters: no line of so few words is longer
        short = [n for n, line in enumerate(lines) if len(line) <= longest]
        found = _counts([lines[n].lower() for n in short], self.phrases)
        out = {short[k] for k, count in found.items() if count > self.more_than and self._may_go(lines[short[k]])}
        if not out:
            return None
        kept = [line for n, line in enumerate(lines) if n not in out]
        return Edited(text="\n".join(kept), reason=self.reason, lines=len(out))

    def _may_go(self, line: str) -> bool:
        if self.spare_formulas and ("$" in line or "\\" in line or "`" in line):
            return False
        return not self.max_words or len(line.split()) <= self.max_words


def _counts(lines: list[str], phrases: Iterable[str]) -> Counter[int]:
    """How many of the phrases each line holds, by its number; one search per phrase over all lines."""
    text = "\n".join(lines)
    found: Counter[int] = Counter()
    ends: list[int] = []
    for phrase in phrases:
        at = text.find(phrase)
        while at >= 0:
            ends = ends or list(itertools.accumulate(len(line) + 1 for line in lines))
            found[bisect.bisect_right(ends, at)] += 1
            at = text.find(phrase, at + len(phrase))
    return found


@_test("min_chars")
@dataclass(frozen=True, slots=True, kw_only=True)
class MinChars:
    """The text has at least so many characters."""

    least: int = setting(100, "characters")

    def __call__(self, page: Page, models: Models) -> Answer:
        size = len(page.text)
        return None if size >= self.least else Drop(reason="too few characters", detail=str(size))


@_test("min_words")
@dataclass(frozen=True, slots=True, kw_only=True)
class MinWords:
    """Words of prose and formulas together are so many at least."""

    least: int = setting(30, "words and formulas")
    per_formula: int = setting(3, "words that one formula counts for")

    def __call__(self, page: Page, models: Models) -> Answer:
        size = len(page.words) + self.per_formula * len(page.formulas)
        return None if size >= self.least else Drop(reason="too few words", detail=str(size))


@_test("needs_formula")
@dataclass(frozen=True, slots=True, kw_only=True)
class NeedsFormula:
    """Pages of a site need a formula, unless their address says that they are about mathematics."""

    site: str = setting("", "text in the address that names the site")
    unless: tuple[str, ...] = setting((), "texts in the address that excuse the page")
    ignored: str = setting("", "a command whose formulas do not count")

    def __call__(self, page: Page, models: Models) -> Answer:
        url = page.url
        if self.site not in url or any(text in url for text in self.unless):
            return None
        text = page.text
        if self.ignored:
            mark = re.escape(self.ignored)
            text = re.sub(rf"\$\$?{mark}\{{[^}}]*\}}\$\$?", "", text)
        return None if re.search(r"\$\$[^$]*\$\$|\$[^$]*\$", text) else Drop(reason="no formula", detail=self.site)


@_test("characters")
@dataclass(frozen=True, slots=True, kw_only=True)
class Characters:
    """Certain characters are at most this share of all, capitals counting as small letters."""

    of: str = setting("", "the characters")
    most: float = setting(1.0, "largest share")
    reason: str = setting("too many of some characters", "what the count is called")

    def __call__(self, page: Page, models: Models) -> Answer:
        if not page.text or (page.text.isascii() and not self.of.isascii()):
            return None
        share = sum(map(page.text.lower().count, set(self.of))) / len(page.text)
        return None if share <= self.most else Drop(reason=self.reason, detail=f"{share:.3f} > {self.most}")


@_test("word_length")
@dataclass(frozen=True, slots=True, kw_only=True)
class WordLength:
    """The mean length of the words of the prose lies between bounds (Gopher, Rae et al. 2021, A.1.1)."""

    least: float = setting(3.0, "characters")
    most: float = setting(10.0, "characters")

    def __call__(self, page: Page, models: Models) -> Answer:
        if not page.words:
            return None
        mean = sum(map(len, page.words)) / len(page.words)
        return None if self.least <= mean <= self.most else Drop(reason="odd words", detail=f"mean length {mean:.1f}")


@_test("stop_words")
@dataclass(frozen=True, slots=True, kw_only=True)
class StopWords:
    """The prose holds some of the commonest words: it is sentences, not a list of names."""

    words: tuple[str, ...] = setting((), "the words, in small letters")
    least: int = setting(2, "how many different ones must occur")
    min_words: int = setting(30, "prose with fewer words is not judged")

    def __call__(self, page: Page, models: Models) -> Answer:
        if len(page.words) < self.min_words:
            return None
        found = len(set(self.words) & {word.lower() for word in page.words[:ENOUGH]})
        return None if found >= self.least else Drop(reason="no sentences", detail=f"{found} common words")


@_test("letters")
@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """Letters are at least this share of what is not space in the prose: the rest is symbol soup."""

    least: float = setting(0.6, "smallest share")
    min_chars: int = setting(200, "prose with fewer characters is not judged")

    def __call__(self, page: Page, models: Models) -> Answer:
        solid = "".join(page.words)
        if len(solid) < self.min_chars:
            return None
        share = letters(solid) / len(solid)
        return None if share >= self.least else Drop(reason="symbol soup", detail=f"{share:.2f} letters")


def letters(text: str) -> int:
    """How many characters are letters; those of ASCII are counted all at once."""
    data = text.encode("ascii", "ignore")
    others = 0 if len(data) == len(text) else sum(map(str.isalpha, (c for c in text if not c.isascii())))
    return len(data) - len(data.translate(None, string.ascii_letters.encode())) + others


@_test("formula_share")
@dataclass(frozen=True, slots=True, kw_only=True)
class FormulaShare:
    """Formulas are at most this share of the text: above it there is nothing that explains them."""

    most: float = setting(0.95, "largest share of characters")

    def __call__(self, page: Page, models: Models) -> Answer:
        size = sum(map(len, page.words))
        inside = sum(map(len, page.formulas))
        share = inside / (size + inside) if inside else 0.0
        return None if share <= self.most else Drop(reason="only formulas", detail=f"{share:.2f}")


@_test("broken_latex")
@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenLatex:
    """Few formulas are broken: braces or environments that do not match, a \\left alone, an error in their place."""

    most: float = setting(0.3, "largest share of the formulas")
    least_formulas: int = setting(3, "pages with fewer formulas are not judged")
    errors: tuple[str, ...] = setting((), "texts of renderers that failed")

    def __call__(self, page: Page, models: Models) -> Answer:
        failed = sum(map(page.text.count, self.errors))
        total = len(page.formulas) + failed
        if total < self.least_formulas:
            return None
        share = (failed + sum(map(broken, page.formulas))) / total
        return None if share <= self.most else Drop(reason="broken LaTeX", detail=f"{share:.2f} of {total} formulas")


_PARTS = re.compile(r"\\(?:left|right|begin|end)(?![A-Za-z])|\\[A-Za-z]+|\\.|[{}]", re.DOTALL)


def broken(formula: str) -> bool:
    """Whether braces do not match, or \\left and \\right, or \\begin and \\end, or a command has lost its name."""
    depth = sides = environments = 0
    for part in _PARTS.findall(formula):
        depth += (part == "{") - (part == "}")
        sides += (part == "\\left") - (part == "\\right")
        environments += (part == "\\begin") - (part == "\\end")
        if depth < 0 or sides < 0 or environments < 0:
            return True
    return bool(depth or sides or environments) or (formula.rstrip().endswith("\\") and not formula.endswith("\\\\"))


@_test("repeated_lines")
@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedLines:
    """Lines (or paragraphs) that were there before are at most this share of all, by number and by characters."""

    most: float = setting(0.3, "largest share of the lines")
    most_chars: float = setting(0.2, "largest share of their characters")
    between: str = setting("\n", "what separates them")
    digits_alike: bool = setting(False, "lines that differ in their digits are the same: pages made from a pattern")
    least: int = setting(10, "with fewer lines the page is not judged")
    min_length: int = setting(4, "shorter lines are left out")
    reason: str = setting("repeated lines", "what the count is called")

    def __call__(self, page: Page, models: Models) -> Answer:
        lines = [line for line in map(str.strip, page.spoken.split(self.between)) if len(line) >= self.min_length]
        if len(lines) < self.least:
            return None
        counts = Counter(re.sub(r"\d+", "0", line) for line in lines) if self.digits_alike else Counter(lines)
        share = 1 - len(counts) / len(lines)
        chars = sum((n - 1) * len(line) for line, n in counts.items()) / max(1, sum(map(len, lines)))
        if share <= self.most and chars <= self.most_chars:
            return None
        return Drop(reason=self.reason, detail=f"{share:.2f} of the lines, {chars:.2f} of their characters")


@_test("repeated_phrases")
@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedPhrases:
    """No run of a few words fills the prose, and long runs seldom come twice (Gopher's table A1, counted in words)."""

    top: Mapping[str, float] = setting(factory=dict, help="length → largest share of the commonest run")
    twice: Mapping[str, float] = setting(factory=dict, help="length → largest share of words in runs seen before")
    least: int = setting(50, "prose with fewer words is not judged")

    def __call__(self, page: Page, models: Models) -> Answer:
        words = page.hashes
        if len(words) < self.least:
            return None
        return self._over_and_over(words) or self._twice(words)

    def _over_and_over(self, words: np.ndarray) -> Answer:
        """A run of n words is at most as frequent as its first n - 1 words: mostly the shortest runs decide."""
        count = len(words)
        for length in sorted(map(int, self.top)):
            if count * max(int(n) / most for n, most in self.top.items() if int(n) >= length) <= len(words):
                return None
            count = commonest(ngrams(words, length))
            share = count * length / len(words)
            if count > 2 and share > self.top[str(length)]:
                return Drop(reason="one phrase over and over", detail=f"{length} words, {share:.2f} of the prose")
        return None

    def _twice(self, words: np.ndarray) -> Answer:
        """Words in long runs that come again are words in short runs that do."""
        share = 1.0
        for length in sorted(map(int, self.twice)):
            if share <= min(most for n, most in self.twice.items() if int(n) >= length):
                return None
            share = repeated_share(words, length)
            if share > self.twice[str(length)]:
                return Drop(reason="repeated passages", detail=f"{share:.2f} in runs of {length} words seen before")
        return None


def commonest(hashes: np.ndarray) -> int:
    """How often the most frequent of the hashes occurs."""
    if not len(hashes):
        return 0
    ordered = np.sort(hashes)
    edges = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    return int(np.diff(edges).max())


def repeated_share(words: np.ndarray, length: int) -> float:
    """The share of words that lie in a run of ``length`` words which occurred earlier in the text."""
    runs = ngrams(words, length)
    ordered = np.sort(runs)
    if not (ordered[1:] == ordered[:-1]).any():
        return 0.0
    again = np.ones(len(runs), dtype=bool)
    again[np.unique(runs, return_index=True)[1]] = False
    edges = np.zeros(len(words) + 1, dtype=np.int64)
    edges[:-length] += again  # the first word of a repeated run
    edges[length:] -= again  # the word behind its last
    return float((np.cumsum(edges[:-1]) > 0).mean())


@_test("line_marks")
@dataclass(frozen=True, slots=True, kw_only=True)
class LineMarks:
    """Lines that begin or end with a mark are at most this share of all: lists of links, teasers cut short."""

    starts: tuple[str, ...] = setting((), "marks at the beginning")
    ends: tuple[str, ...] = setting((), "marks at the end")
    most: float = setting(0.9, "largest share of the lines")
    least: int = setting(10, "with fewer lines the page is not judged")
    reason: str = setting("marked lines", "what the count is called")

    def __call__(self, page: Page, models: Models) -> Answer:
        lines = page.lines
        if len(lines) < self.least:
            return None
        share = sum(line.startswith(self.starts) or line.endswith(self.ends) for line in lines) / len(lines)
        return None if share <= self.most else Drop(reason=self.reason, detail=f"{share:.2f} of {len(lines)} lines")


@_test("phrases")
@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """The prose holds none of some phrases: filler text, templates that were never filled in."""

    any: tuple[str, ...] = setting((), "phrases, in small letters")
    pattern: str = setting("", "a regular expression that counts as one")
    most: int = setting(0, "how many may occur")
    reason: str = setting("template", "what the count is called")

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise ValueError(f"pattern={self.pattern}: not a regular expression: {error}") from error

    def __call__(self, page: Page, models: Models) -> Answer:
        lower = page.prose.lower()
        found = sum(map(lower.count, self.any))
        found += len(re.findall(self.pattern, page.prose)) if self.pattern else 0
        return None if found <= self.most else Drop(reason=self.reason, detail=f"{found} times")


def judge(page: Page, tests: Iterable[Test], models: Models) -> tuple[Page, Drop | None, dict[str, int]]:
    """The page after all tests (or up to the one that drops it), why it is dropped, and lines taken out by reason."""
    removed: dict[str, int] = {}
    for test in tests:
        answer = test(page, models)
        if isinstance(answer, Drop):
            return page, answer, removed
        if isinstance(answer, Edited):
            removed[answer.reason] = removed.get(answer.reason, 0) + answer.lines
            page = page.edited(answer.text)
    return page, None, removed

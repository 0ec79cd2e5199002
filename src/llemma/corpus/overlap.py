"""Finds copies of benchmark items in texts: n-grams of long items, short items as a whole; every hit with its context.

Profile ``strict`` looks in two views of a text (``views``): words as they stand, and words without what differs between
copies (LaTeX spelling, spacing, case, Markdown). For each n asked for, an item of at least n words is hit by n of its
words in a row; a shorter one only as a whole. Items below ``floor`` words also need to stand alone (between the ends of
lines or sentences): in running text a few words may agree by chance. Below ``shortest`` nothing is looked for.
A question with choices below 15 words is hit only where half the words of its choices follow. A hit has at least one
word of three letters: lists of numbers or letters are nobody's.

Profile ``paper`` is the protocol of Llemma's section 3.5 (check_overlap.py of wellecks/overlap @efd26be): words as they
stand, n-grams only, so that an item of fewer than n words is never hit; n = -1 looks for the item's text as a whole.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from llemma.config import build, to_table
from llemma.corpus import views
from llemma.corpus.ngrams import Grams, Run, check_engine
from llemma.corpus.overlap_items import Item, present_tasks
from llemma.corpus.overlap_settings import Engine, Field, OverlapConfig, View
from llemma.corpus.quality import Outcome
from llemma.errors import DataError
from llemma.records import Document
from llemma.run import atomic_file, json_line, read_jsonl

__all__ = [
    "Hit", "Index", "OverlapConfig", "PaperHit", "build_index", "flattened", "loaded", "paper_hits", "present_tasks",
    "said", "stage", "stands_alone",
]  # fmt: skip

FORMAT = 1  # of saved indexes
CONTEXT = 120  # characters shown on either side of a hit
SHOWN = 2_000  # characters of the hit itself that are kept
NEAR = 800  # characters behind a question in which its choices are looked for
GENERIC = 15  # words below which a question with choices is recognised by them only
FULL_TEXT = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A copy of (a part of) an item in a text.

    ``kind``: ``ngram``, at least ``n`` words in a row; ``whole``, a shorter item; ``alone``, one below the floor;
    ``text``, the item's exact text (n = -1). ``words`` is the length of the longest run, which begins at word ``place``
    of the item; ``start:end`` are its characters in the document.
    """

    task: str
    problem: str
    field: Field
    view: View
    kind: Literal["ngram", "whole", "alone", "text"]
    n: int
    words: int
    place: int
    start: int
    end: int
    before: str
    text: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperHit:
    """A hit as check_overlap.py stores it: the item (its number in the index) and the n-gram."""

    item: int
    n: int
    ngram: str


class Index:
    """Items ready to be looked for. One thread at a time may search; make one from ``build_index`` or ``load``."""

    def __init__(self, items: Sequence[Item], config: OverlapConfig) -> None:
        check_engine(config.engine)
        self.items, self.config = tuple(items), config
        self.grams: dict[View, Grams] = {}
        for view in config.seen if config.grams else ():
            texts = [item.text for item in self.items]
            self.grams[view] = Grams(texts, view, config.grams[-1], self._shortest(view), config.engine)
        self._full = _FullText(self.items, config.engine) if FULL_TEXT in config.n else None

    @property
    def engine(self) -> str:
        """What searches: numba or python."""
        every = [*self.grams.values(), *([self._full.grams] if self._full else [])]
        return every[0].engine

    def _shortest(self, view: View) -> list[int]:
        """Below how many words an item is not looked for in a view: short items are one view's work."""
        config = self.config
        if config.profile == "paper" or view != config.seen[-1]:
            return [config.grams[-1]] * len(self.items)
        return [config.shortest if item.field == "problem" else config.floor for item in self.items]

    @functools.cached_property
    def searched(self) -> list[bool]:
        """For each item whether it can be hit at all."""
        found = [any(grams.searched[i] for grams in self.grams.values()) for i in range(len(self.items))]
        return [True] * len(found) if self._full else found

    def scan(self, text: str) -> list[Hit]:
        """Every hit in a text, in order."""
        return self.scan_all([text])[0]

    def scan_all(self, texts: Sequence[str]) -> list[list[Hit]]:
        """Every hit in each text."""
        found: list[list[Hit]] = [[] for _ in texts]
        for view, grams in self.grams.items():
            for run in grams.find(texts):
                hit = self._judged(texts[run.document], run, view, grams.length(run.item))
                if hit is not None:
                    found[run.document].append(hit)
        if self._full:
            for hits, text in zip(found, texts, strict=True):
                hits += [self._hit(text, run, "raw", "text", FULL_TEXT) for run in self._full.find(text)]
        return [sorted(hits, key=lambda hit: (hit.start, hit.end)) for hits in found]

    def _judged(self, text: str, run: Run, view: View, length: int) -> Hit | None:
        item = self.items[run.item]
        n = next(n for n in self.config.grams if run.words >= min(n, length))
        if self.config.profile == "strict" and not self._says_something(run, view):
            return None
        if run.words >= n:
            return self._hit(text, run, view, "ngram", n)
        if item.choices and length < GENERIC and not _follow(item.choices, text[run.end : run.end + NEAR]):
            return None
        if length >= self.config.floor:
            return self._hit(text, run, view, "whole", n)
        return self._hit(text, run, view, "alone", n) if stands_alone(text, run.start, run.end) else None

    def _says_something(self, run: Run, view: View) -> bool:
        """Whether the words of a run are more than a list of numbers or letters."""
        words = self.grams[view].texts(run.item)[run.place : run.place + run.words]
        return any(map(_WORDLIKE.search, words))

    def _hit(
        self, text: str, run: Run, view: View, kind: Literal["ngram", "whole", "alone", "text"], n: int
    ) -> Hit:  # fmt: skip
        item, (start, end) = self.items[run.item], (run.start, run.end)
        return Hit(
            task=item.task, problem=item.problem, field=item.field, view=view, kind=kind, n=n, words=run.words,
            place=run.place, start=start, end=end, before=text[max(0, start - CONTEXT) : start],
            text=text[start : min(end, start + SHOWN)], after=text[end : end + CONTEXT],
        )  # fmt: skip

    def save(self, path: Path) -> None:
        """Write the items and the settings to a file of JSON lines; the tables are made anew on loading."""
        with atomic_file(path) as file:
            file.write(json_line({"format": FORMAT, "config": to_table(self.config)}))
            file.writelines(json_line(asdict(item)) for item in self.items)

    @classmethod
    def load(cls, path: Path) -> Index:
        """The index in a file that ``save`` wrote. Raises DataError for any other."""
        rows = read_jsonl(path)
        head = next(rows, {})
        if head.get("format") != FORMAT:
            raise DataError("no index of `llemma overlap` of this version; build it again", where=path)
        config = build(OverlapConfig, head["config"], where=f"{path}: ")
        try:
            return cls([Item(**row) for row in rows], config)
        except TypeError as error:
            raise DataError(f"a damaged index ({error}); build it again", where=path) from error


def build_index(items: Sequence[Item], config: OverlapConfig) -> Index:
    """The index of some items. Raises ConfigError when the engine asked for is not installed."""
    return Index(items, config)


_WORDLIKE = re.compile(r"[^\W\d_]{3}")

# --- short items ------------------------------------------------------------------------------------------------

# What may stand between an item and the end of its line or sentence: markup, and commands that leave no word. Every
# alternative begins with another character, so that no text is tried in many ways.
_NAMES = "|".join(sorted((*views.DROPPED, *views.FRACTIONS), key=len, reverse=True))
_QUIET = (
    r"(?:[\s$()\[\]{}*_#>|~`\"'“”‘’«»^&-]|\\(?![A-Za-z])[,;:!]?"
    rf"|\\(?:(?:begin|end)\{{[A-Za-z*]{{1,20}}\}}|(?:{_NAMES})(?![A-Za-z])))"
)
_LABEL = r"\(?(?:[0-9]{1,3}|[a-z]|[ivx]{1,5})[.):]|[0-9]+(?:\.[0-9]+)+\.?"
_NAMED = r"(?:problem|exercise|question|example|task|prob|ex|q)s?\.?\s*[0-9.]*\s*[:.)]?"
_OPENS = re.compile(rf"(?:^|[\n.?!:;])(?:{_LABEL}|{_NAMED}|{_QUIET})*+$", re.IGNORECASE)
_CLOSES = re.compile(rf"{_QUIET}*?(?:[.?!:;]|\n|$)")


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether what is written at ``start:end`` begins and ends with a line or a sentence.

    Labels (``3.``, ``(b)``, ``Problem 4:``) and markup around it do not count.
    """
    return bool(_OPENS.search(text[max(0, start - 60) : start]) and _CLOSES.match(text[end : end + 40]))


_LETTERS_OF_CHOICES = frozenset("abcdefgh")


def _follow(choices: str, text: str) -> bool:
    """Whether at least half the words of the choices stand in the text that follows the question."""
    wanted = {word.text for word in views.words(choices, "normal")} - _LETTERS_OF_CHOICES
    there = {word.text for word in views.words(text, "normal")}
    return 2 * len(wanted & there) >= len(wanted)


# --- the paper's protocol ---------------------------------------------------------------------------------------


class _FullText:
    """Items whose exact text stands in a text, white space and all: found by the words between its first and last."""

    def __init__(self, items: Sequence[Item], engine: Engine) -> None:
        self.items = items
        self.always, inner, self.numbers = [], [], []
        for number, item in enumerate(items):
            words = views.words(item.text, "raw")
            if len(words) < 5:  # too few words for seeds between the outer ones, which may be parts of longer words
                self.always.append(number)
            else:
                inner.append(item.text[words[1].start : words[-2].end])
                self.numbers.append(number)
        self.grams = Grams(inner, "raw", 1 << 20, 1, engine)

    def find(self, text: str) -> list[Run]:
        likely = {self.numbers[run.item] for run in self.grams.find([text])}
        found = []
        for number in sorted({*self.always, *likely}):
            wanted = self.items[number].text
            at = text.find(wanted)
            if at >= 0:
                count = len(wanted.split())
                found.append(Run(document=0, start=at, end=at + len(wanted), item=number, place=0, words=count))
        return found


def paper_hits(index: Index, text: str, n: int) -> set[PaperHit]:
    """The hits that check_overlap.py's ``get_hits`` gives for a text: each n-gram of each item that the text has."""
    if n == FULL_TEXT:
        full = index._full or _FullText(index.items, index.config.engine)
        return {PaperHit(item=run.item, n=n, ngram=index.items[run.item].text) for run in full.find(text)}
    grams, found = index.grams["raw"], set()
    for run in grams.find([text]):
        words = grams.texts(run.item)[run.place : run.place + run.words]
        found |= {
            PaperHit(item=run.item, n=n, ngram=" ".join(words[i : i + n])) for i in range(len(words) - n + 1)
        }  # fmt: skip
    return found


def flattened(hits: Sequence[Hit], items: Sequence[Item]) -> Hit | None:
    """The one hit of a document that check_overlap.py's ``flatten`` keeps: of the last item of the benchmark.

    This is why its counts of different items are low.
    """
    order = {(item.task, item.problem, item.field): number for number, item in enumerate(items)}
    return max(hits, key=lambda hit: (order[hit.task, hit.problem, hit.field], hit.start), default=None)


# --- a stage of a corpus ----------------------------------------------------------------------------------------


def stage(config: OverlapConfig, index_path: Path) -> Callable[[Document], Outcome]:
    """Drops documents with a hit: ``overlap with math``, and in the detail the item, n and the text.

    ``index_path`` is a saved index (``Index.save``) of the items; every process loads it once. ``config`` must be that
    of the index: DataError says so when it is another.
    """

    def judge(document: Document) -> Outcome:
        index = loaded(index_path)
        if index.config != config:
            raise DataError("was built with other settings; delete it and build it again", where=index_path)
        hits = index.scan(document.text)
        if not hits:
            return Outcome(document=document)
        hit = max(hits, key=lambda hit: (hit.words, -hit.start))
        return Outcome(document=document, reason=f"overlap with {hit.task}", detail=said(hit))

    return judge


def loaded(path: Path) -> Index:
    """The index in a file, read once by each process."""
    return _loaded(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _loaded(path: Path, modified: int) -> Index:
    return Index.load(path)


def said(hit: Hit) -> str:
    """A hit in one line."""
    shown = " ".join(hit.text[:200].split())
    rule = {"ngram": f"n={hit.n}", "text": "exact text"}.get(hit.kind, f"{hit.kind}, below n={hit.n}")
    return f"{hit.task} {hit.problem} ({hit.field}), {hit.words} words, {rule}, view {hit.view}: {shown}"

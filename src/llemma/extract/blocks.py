"""Which blocks of a page are its main text: judged container by container, when each is closed.

Looks at what a container is called, how much of its text is links, how many formulas it holds and how large it is in
the page; knows nothing of tags or formulas themselves.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from llemma.extract.words import word_set

_LINKS: Final = 0.75  # of the text of a list or box of links is links
_LARGEST_POOR: Final = 0.35  # of a page's text in something called a menu: then its name misleads
_SMALLEST_MAIN: Final = 0.3  # of a page's text in something called the main text
_LINKY: Final = word_set("ul ol div nav table section center dl aside header footer menu form article")


class Frame:
    """An open block: where its text begins, and the page's counts at that point."""

    __slots__ = ("chars", "formulas", "headings", "links", "main", "name", "named", "out", "poor", "rows")

    def __init__(self, name: str, out: int, totals: Totals, poor: str, main: bool) -> None:
        self.name = name
        self.out = out
        self.chars = totals.chars
        self.links = totals.links
        self.named = totals.named
        self.formulas = totals.formulas
        self.headings = totals.headings
        self.poor = poor
        self.main = main
        self.rows: list[list[tuple[int, int]]] | None = None


class Totals:
    """Counts of the page so far: characters, those in links, links, formulas, headings."""

    __slots__ = ("chars", "formulas", "headings", "links", "named")

    def __init__(self) -> None:
        self.chars = self.links = self.named = self.formulas = self.headings = 0


class Region(NamedTuple):
    """A run of blocks, what it holds, and why it might go."""

    start: int
    end: int
    chars: int
    formulas: int
    reason: str


class Regions:
    """Collects the judged regions of a page and decides at its end."""

    def __init__(self) -> None:
        self._poor: list[Region] = []
        self._main: list[Region] = []

    def close(self, frame: Frame, end: int, totals: Totals, inside_main: bool) -> None:
        """Judge a block that closes."""
        if end <= frame.out:
            return
        chars = totals.chars - frame.chars
        formulas = totals.formulas - frame.formulas
        reason = frame.poor
        if reason in ("header", "aside") and (inside_main or formulas):
            reason = ""
        if not reason and frame.name in _LINKY and formulas == 0:
            links = totals.links - frame.links
            many = totals.named - frame.named > 1
            if many and links > _LINKS * chars and totals.headings == frame.headings:
                reason = "links"
        if reason:
            self._poor.append(Region(frame.out, end, chars, formulas, reason))
        elif frame.main:
            self._main.append(Region(frame.out, end, chars, formulas, "main"))

    def forget(self, start: int) -> None:
        """Blocks from ``start`` on were put together to one: what was judged inside them goes with them."""
        while self._poor and self._poor[-1].start >= start:
            self._poor.pop()
        while self._main and self._main[-1].start >= start:
            self._main.pop()

    def keep(self, blocks: list[str], totals: Totals) -> list[bool]:
        """For each block whether it belongs to the main text."""
        kept = [True] * len(blocks)
        for region in self._poor:
            if self._goes(region, totals):
                for place in range(region.start, region.end):
                    if region.reason != "header" or not blocks[place].startswith("# "):
                        kept[place] = False
        main = self._main_region(kept, blocks)
        if main is not None:
            heading = None
            if not any(block.startswith("# ") for block in blocks[main.start : main.end]):
                heading = next((p for p in range(main.start - 1, -1, -1) if blocks[p].startswith("# ")), None)
            for place in range(len(blocks)):
                if not main.start <= place < main.end and place != heading:
                    kept[place] = False
        return kept

    def _goes(self, region: Region, totals: Totals) -> bool:
        if region.reason == "hidden":
            return True
        if region.reason == "links":
            return region.chars <= 0.5 * totals.chars
        many_formulas = region.formulas > 3 and region.formulas > 0.3 * totals.formulas
        return region.chars <= _LARGEST_POOR * totals.chars and not many_formulas

    def _main_region(self, kept: list[bool], blocks: list[str]) -> Region | None:
        """The smallest region called main that holds nearly all formulas and much of the text that is left."""
        lengths = [len(block) if keep else 0 for block, keep in zip(blocks, kept, strict=True)]
        marks = [block.count("\x03") if keep else 0 for block, keep in zip(blocks, kept, strict=True)]
        text, formulas = sum(lengths), sum(marks)
        best: tuple[int, Region] | None = None
        for region in self._main[:200]:
            held = sum(lengths[region.start : region.end])
            with_formulas = sum(marks[region.start : region.end])
            if held < _SMALLEST_MAIN * text or held < 120 or with_formulas < 0.9 * formulas:
                continue
            if not formulas and held < 0.5 * text:
                continue
            if best is None or held > best[0]:
                best = (held, region)
        return best[1] if best else None

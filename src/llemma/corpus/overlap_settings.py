"""Settings of the search for overlap: what counts as a copy, and for ``llemma overlap`` where to look."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from llemma.config import setting

View = Literal["raw", "normal"]
Field = Literal["problem", "solution", "generation"]
Engine = Literal["auto", "numba", "python"]
VIEWS: tuple[View, ...] = ("raw", "normal")


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapConfig:
    """What counts as a copy of an item. As a table of a recipe it takes the documents with a copy out."""

    tasks: tuple[str, ...] = setting((), "tasks whose items are looked for; present: all whose data are here")
    n: tuple[int, ...] = setting((30, 20), "words in a row that make a hit; shorter items as a whole")
    profile: Literal["strict", "paper"] = setting("strict", "strict, or paper: n-grams of words as they stand alone")
    views: tuple[View, ...] = setting((), "raw, normal (default: both; paper: raw)")
    fields: tuple[Field, ...] = setting(("problem", "solution"), "what of a task: problem, solution")
    floor: int = setting(10, "items of fewer words count only where they stand alone (strict)")
    shortest: int = setting(3, "problems of fewer words are not looked for (strict)")
    engine: Engine = setting("auto", "numba, python (slow), or auto")

    def __post_init__(self) -> None:
        least = -1 if self.profile == "paper" else 1
        if not self.n or any(n < least or n == 0 for n in self.n):
            raise ValueError(f"n={self.n}: give numbers of words, such as n=30,20 (-1 only with profile=paper)")
        if not self.fields or "generation" in self.fields:
            raise ValueError(f"fields={','.join(self.fields)}: name problem, solution or both")
        if self.profile == "paper" and self.views not in ((), ("raw",)):
            raise ValueError("profile=paper knows the view raw alone")
        if not 1 <= self.shortest <= self.floor:
            raise ValueError(f"shortest={self.shortest} floor={self.floor}: 1 <= shortest <= floor must hold")

    @property
    def seen(self) -> tuple[View, ...]:
        """The views that are searched."""
        return self.views or (("raw",) if self.profile == "paper" else VIEWS)

    @property
    def grams(self) -> tuple[int, ...]:
        """The numbers of words in a row, the greatest first."""
        return tuple(sorted({n for n in self.n if n > 0}, reverse=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanConfig(OverlapConfig):
    """Settings of ``llemma overlap``."""

    benchmark: tuple[str, ...] = setting((), "tasks whose problems are looked for, e.g. math,gsm8k; present: all here")
    generations: tuple[Path, ...] = setting((), "evaluations (run folders) whose generations are looked for as well")
    corpus: tuple[Path, ...] = setting((), "files or folders: JSON lines, Parquet (.gz, .zst), text; a corpus folder")
    text: str = setting("text", "column that holds the text")
    id: str = setting("id", "column that holds the id; without it the id is FILE:PLACE")
    workers: int = setting(0, "processes (0: one per core)")
    run: Path = setting(Path("runs/overlap"), "folder the result is written to")

    def __post_init__(self) -> None:
        super(ScanConfig, self).__post_init__()
        if self.workers < 0:
            raise ValueError(f"workers={self.workers}: must not be negative")
        if self.tasks:
            raise ValueError("name the tasks with benchmark=")

    @property
    def rule(self) -> OverlapConfig:
        """What counts as a copy: these settings without where to look."""
        return OverlapConfig(**{f.name: getattr(self, f.name) for f in fields(OverlapConfig)})

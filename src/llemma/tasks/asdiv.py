"""Elementary word problems of many kinds: the 2,096 of ASDiv (Miao et al., 2020) with one number as the answer.

The selection is the one PAL published (of 2,305 problems, those whose answer is a number).
"""

from __future__ import annotations

from dataclasses import dataclass

from llemma.config import setting
from llemma.records import Problem, Task
from llemma.tasks._data import Dataset, number_of, open_dataset, text_of
from llemma.tasks._prompts import HELP, Choice
from llemma.tasks._words import word_task

DATA = Dataset(
    file="asdiv.jsonl",
    rows=2096,
    sha256="6fb7347f20b2393e5f877573b0adacb7ac8f4ea15e52e39ed60803ed6ecd3cb6",
    repo="reasoning-machines/pal",
    commit="f81ca2a9777f002f98a6b4d0f10b61bd5c8feb02",
    path="datasets/asdiv.jsonl",
    original_sha256="6fb7347f20b2393e5f877573b0adacb7ac8f4ea15e52e39ed60803ed6ecd3cb6",
    hub="EleutherAI/asdiv",
    licence="CC BY-NC 4.0",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the task."""

    prompt: Choice = setting("auto", HELP)
    shots: int | None = setting(None, "examples before the question; none: all of them (8)")


def load(options: Options) -> Task:
    """The problems. Raises DataError when they cannot be had or a row is not of this form."""
    found = open_dataset(DATA)
    problems = [
        Problem(id=f"{number:04d}", prompt=text_of(row, "input", where), answer=number_of(row, "target", where))
        for number, where, row in found.numbered()
    ]
    return word_task("asdiv", problems, found.meta(DATA), prompt=options.prompt, count=options.shots)

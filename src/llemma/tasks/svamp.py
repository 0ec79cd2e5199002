"""Elementary word problems with varied wording: the 1,000 of SVAMP (Patel et al., 2021), in the form PAL published."""

from __future__ import annotations

from dataclasses import dataclass

from llemma.config import setting
from llemma.records import Problem, Task
from llemma.tasks._data import Dataset, number_of, open_dataset, text_of
from llemma.tasks._prompts import HELP, Choice
from llemma.tasks._words import word_task

DATA = Dataset(
    file="svamp.jsonl",
    rows=1000,
    sha256="1c4375bc0f1ac84af8ec2b9ff4c894d057836fee6633c4e73179dd680cb47c4e",
    repo="reasoning-machines/pal",
    commit="f81ca2a9777f002f98a6b4d0f10b61bd5c8feb02",
    path="datasets/svamp.jsonl",
    original_sha256="1c4375bc0f1ac84af8ec2b9ff4c894d057836fee6633c4e73179dd680cb47c4e",
    hub="ChilleD/SVAMP",
    licence="MIT",
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
    return word_task("svamp", problems, found.meta(DATA), prompt=options.prompt, count=options.shots)

"""American Invitational Mathematics Examination 2024: 30 problems with answers from 0 to 999, Minerva's form."""

from __future__ import annotations

from dataclasses import dataclass

from llemma.config import setting
from llemma.records import Problem, Task
from llemma.tasks._data import Dataset, number_of, open_dataset, text_of
from llemma.tasks._minerva import minerva_task
from llemma.tasks._prompts import HELP, Choice

DATA = Dataset(
    file="aime24.jsonl",
    rows=30,
    sha256="af2b8bd2aa911b6333ad0df32f3ca05c7ae8ed10f1731f4372c8ae26990bf7ac",
    repo="QwenLM/Qwen2.5-Math",
    commit="a45202bd16f1ec06f433442dc1152d0074773465",
    path="evaluation/data/aime24/test.jsonl",
    original_sha256="af2b8bd2aa911b6333ad0df32f3ca05c7ae8ed10f1731f4372c8ae26990bf7ac",
    hub="AI-MO/aimo-validation-aime (2024)",
    licence="Apache-2.0 (the collection); the problems are the MAA's",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the task."""

    prompt: Choice = setting("auto", HELP)
    shots: int | None = setting(None, "examples before the question; none: all of them (4)")


def load(options: Options) -> Task:
    """The problems. Raises DataError when they cannot be had or a row is not of this form."""
    found = open_dataset(DATA)
    problems = [
        Problem(
            id=f"{int(number_of(row, 'id', where)):03d}",
            prompt=text_of(row, "problem", where),
            answer=text_of(row, "answer", where),
        )
        for _, where, row in found.numbered()
    ]
    return minerva_task("aime24", problems, found.meta(DATA), prompt=options.prompt, count=options.shots)

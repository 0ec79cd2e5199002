"""MATH-500: the 500 problems of the MATH test set that Lightman et al. (2023) held out, 4 examples of Minerva."""

from __future__ import annotations

from llemma.records import Problem, Task
from llemma.tasks._data import Dataset, Row, number_of, open_dataset, text_of
from llemma.tasks._minerva import PAPER_VOTE, Options, minerva_task
from llemma.tasks.math import slug

DATA = Dataset(
    file="math500_test.jsonl",
    rows=500,
    sha256="35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132",
    repo="ZubinGou/math-evaluation-harness",
    commit="db77bc6bb2a17c90ed2d63e88ebd8c40a82858c5",
    path="data/math_oai/test.jsonl",
    original_sha256="35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132",
    hub="HuggingFaceH4/MATH-500",
    licence="MIT",
)


def load(options: Options) -> Task:
    """The problems. Raises DataError when they cannot be had or a row is not of this form."""
    found = open_dataset(DATA)
    problems = [_problem(row, where) for _, where, row in found.numbered()]
    return minerva_task(
        "math500", problems, found.meta(DATA), prompt=options.prompt, count=options.shots, vote=PAPER_VOTE
    )  # fmt: skip


def _problem(row: Row, where: str) -> Problem:
    name = text_of(row, "unique_id", where).removeprefix("test/").removesuffix(".json")
    return Problem(
        id=name.replace("/", "-"),
        prompt=text_of(row, "problem", where),
        answer=text_of(row, "answer", where),
        meta={
            "subject": slug(text_of(row, "subject", where)),
            "level": number_of(row, "level", where),
            "solution": text_of(row, "solution", where),
        },
    )

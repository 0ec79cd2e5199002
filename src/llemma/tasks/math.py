"""Competition problems: the 5,000 of the MATH test set (Hendrycks et al., 2021), 4 examples of Minerva, maj@256.

``math:algebra`` is one of the seven subjects alone. Every problem has a subject and a level from 1 to 5, by which
results are split. The reference is the last box of the published solution.
"""

from __future__ import annotations

from dataclasses import dataclass

from llemma.config import setting
from llemma.errors import ConfigError, DataError, nearest
from llemma.records import Problem, Task
from llemma.tasks._data import Dataset, Row, open_dataset, text_of
from llemma.tasks._minerva import PAPER_VOTE, last_box, minerva_task
from llemma.tasks._prompts import HELP, Choice

DATA = Dataset(
    file="math_test.jsonl",
    rows=5000,
    sha256="30247f1c30271c429e4dc10e4763affe7bb8d4fd28990dd36c6525d1aef4dee1",
    repo="ZubinGou/math-evaluation-harness",
    commit="db77bc6bb2a17c90ed2d63e88ebd8c40a82858c5",
    path="data/math/test.jsonl",
    original_sha256="3371949f33dd702d04b43fddd7d53a028de0aaca0e76abb1b875a050297b3aa4",
    hub="hendrycks/competition_math (test)",
    licence="MIT",
)

# Subject → its number of test problems.
SUBJECTS = {
    "algebra": 1187,
    "counting_and_probability": 474,
    "geometry": 479,
    "intermediate_algebra": 903,
    "number_theory": 540,
    "prealgebra": 871,
    "precalculus": 546,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the task."""

    variant: str = setting("", f"one subject alone: {', '.join(SUBJECTS)}")
    prompt: Choice = setting("auto", HELP)
    shots: int | None = setting(None, "examples before the question; none: all of them (4)")


def load(options: Options) -> Task:
    """The test problems. Raises ConfigError for an unknown subject, DataError when the data cannot be had."""
    if options.variant and options.variant not in SUBJECTS:
        raise ConfigError(f"unknown subject {options.variant!r} of math{nearest(options.variant, SUBJECTS)}")
    found = open_dataset(DATA)
    problems = [problem_of(row, where) for _, where, row in found.numbered()]
    if options.variant:
        problems = [problem for problem in problems if problem.meta["subject"] == options.variant]
    name = f"math:{options.variant}" if options.variant else "math"
    return minerva_task(
        name, problems, found.meta(DATA), prompt=options.prompt, count=options.shots, vote=PAPER_VOTE
    )  # fmt: skip


def problem_of(row: Row, where: str) -> Problem:
    """A problem of MATH with its subject, its level and the box of its solution."""
    solution = text_of(row, "solution", where)
    answer = last_box(solution)
    if answer is None:
        raise DataError("the solution has no \\boxed{answer}", where=where)
    number = row.get("idx")
    if not isinstance(number, int):
        raise DataError("expected the number field idx", where=where)
    return Problem(
        id=f"test-{number:04d}",
        prompt=text_of(row, "problem", where),
        answer=answer,
        meta={
            "subject": slug(text_of(row, "type", where)),
            "level": text_of(row, "level", where).removeprefix("Level "),
            "solution": solution,
        },
    )


def slug(subject: str) -> str:
    """``Counting & Probability`` as ``counting_and_probability``."""
    return subject.lower().replace("&", "and").replace(" ", "_")

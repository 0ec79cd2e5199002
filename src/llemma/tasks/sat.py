"""SAT mathematics of May 2023: 32 multiple-choice questions without figures, 4 examples, maj@16 at T 0.3.

The questions are the College Board's and have no licence: they are read for measurement and never republished; a
report of a run over them must not be published either.
"""

from __future__ import annotations

from dataclasses import dataclass

from llemma.config import setting
from llemma.errors import DataError
from llemma.records import Problem, Task
from llemma.tasks._choice import LETTERS, choice_task
from llemma.tasks._data import Dataset, Row, open_dataset, text_of
from llemma.tasks._prompts import HELP, Choice

DATA = Dataset(
    file="sat_may23.jsonl",
    rows=32,
    sha256="96720a1dc496ea72f80db55250290cf9c48e95b657ac2183b7deb1dc4627351f",
    repo="deepseek-ai/DeepSeek-Math",
    commit="b8b0f8ce093d80bf8e9a641e44142f06d092c305",
    path="evaluation/datasets/sat/test.jsonl",
    original_sha256="96720a1dc496ea72f80db55250290cf9c48e95b657ac2183b7deb1dc4627351f",
    hub="mcaleste/sat_multiple_choice_math_may_23",
    licence="College Board, no licence",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the task."""

    prompt: Choice = setting("auto", HELP)
    shots: int | None = setting(None, "examples before the question; none: all of them (4)")


def load(options: Options) -> Task:
    """The questions. Raises DataError when they cannot be had or a row is not of this form."""
    found = open_dataset(DATA)
    problems = [_problem(row, where) for _, where, row in found.numbered()]
    return choice_task("sat", "sat", problems, found.meta(DATA), prompt=options.prompt, count=options.shots)


def _problem(row: Row, where: str) -> Problem:
    answer = text_of(row, "Answer", where)
    if answer not in LETTERS:
        raise DataError("expected a letter A to D in Answer", where=where)
    return Problem(
        id=f"{int(text_of(row, 'id', where)):02d}",
        prompt=text_of(row, "question", where),
        answer=answer,
        meta={"choices": text_of(row, "options", where)},  # "A) … B) …", as the paper's runs had it
    )

"""Grade-school word problems: the 1,319 of the GSM8K test set (Cobbe et al., 2021), 8 examples, maj@100.

The rows are those of openai/grade-school-math, the stop string, limit and vote those of the paper (Llemma, section
3.1). Answers are compared as exact numbers; ``scorer=paper`` compares the first integer after "The answer is".
"""

from __future__ import annotations

from llemma.errors import DataError
from llemma.records import Problem, Task
from llemma.tasks._data import Dataset, Row, local, open_dataset, text_of
from llemma.tasks._scoring import is_number
from llemma.tasks._words import PAPER_VOTE, Options, word_task

DATA = Dataset(
    file="gsm8k_test.jsonl",
    rows=1319,
    sha256="752adc99f23132275139f1f7be57126b08735a55daf0c56859ee6df70abafbac",
    repo="openai/grade-school-math",
    commit="3101c7d5072418e28b9008a6636bde82a006892c",
    path="grade_school_math/data/test.jsonl",
    original_sha256="3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
    hub="openai/gsm8k (main, test)",
    licence="MIT",
)


def load(options: Options) -> Task:
    """The test problems. Raises DataError when they cannot be had or a row is not of this form."""
    found = open_dataset(DATA)
    problems = [_problem(row, where, number) for number, where, row in found.numbered()]
    return word_task(
        "gsm8k", problems, found.meta(DATA), prompt=options.prompt, count=options.shots, vote=PAPER_VOTE
    )  # fmt: skip


def available() -> bool:
    """Whether the test set is on this machine."""
    return local(DATA) is not None


def _problem(row: Row, where: str, number: int) -> Problem:
    solution = text_of(row, "answer", where)
    _, mark, answer = solution.rpartition("####")
    if not mark or not is_number(answer):
        raise DataError("the answer does not end in #### NUMBER", where=where)
    return Problem(
        id=f"test-{number:04d}",
        prompt=text_of(row, "question", where),
        answer=answer.strip(),
        meta={"solution": solution},
    )

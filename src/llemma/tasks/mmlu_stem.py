"""Multiple choice in science and mathematics: MMLU-STEM, 3,018 questions of 18 subjects, 4 examples, maj@16 at T 0.3.

``mmlu_stem:astronomy`` is one subject alone. One prompt serves all subjects, as in the paper, whose runs had no access
to Minerva's prompts for single subjects. In 10 rows of this copy the choice "None" was read as a missing value by
whoever made it; it is put back.
"""

from __future__ import annotations

from dataclasses import dataclass

from llemma.config import setting
from llemma.errors import ConfigError, DataError, nearest
from llemma.records import Problem, Task
from llemma.tasks._choice import LETTERS, choice_task, lettered
from llemma.tasks._data import Dataset, Row, open_dataset, text_of
from llemma.tasks._prompts import HELP, Choice

DATA = Dataset(
    file="mmlu_stem_test.jsonl",
    rows=3018,
    sha256="e811fe1530ff08658d1e26b74d5e5ef029436d26088a5e9aa26f8e07dc5de1ed",
    repo="deepseek-ai/DeepSeek-Math",
    commit="b8b0f8ce093d80bf8e9a641e44142f06d092c305",
    path="evaluation/datasets/mmlu_stem/test.jsonl",
    original_sha256="1c918d1df6de635a0202c989705c34f19b0c4ad858cbdb27135cdfc7fd44f14a",
    hub="cais/mmlu (18 subjects, test)",
    licence="MIT",
)

# Subject → its number of questions.
SUBJECTS = {
    "abstract_algebra": 100,
    "astronomy": 152,
    "college_biology": 144,
    "college_chemistry": 100,
    "college_computer_science": 100,
    "college_mathematics": 100,
    "college_physics": 102,
    "computer_security": 100,
    "conceptual_physics": 235,
    "electrical_engineering": 145,
    "elementary_mathematics": 378,
    "high_school_biology": 310,
    "high_school_chemistry": 203,
    "high_school_computer_science": 100,
    "high_school_mathematics": 270,
    "high_school_physics": 151,
    "high_school_statistics": 216,
    "machine_learning": 112,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the task."""

    variant: str = setting("", "one of the 18 subjects alone, e.g. astronomy")
    prompt: Choice = setting("auto", HELP)
    shots: int | None = setting(None, "examples before the question; none: all of them (4)")


def load(options: Options) -> Task:
    """The questions. Raises ConfigError for an unknown subject, DataError when the data cannot be had."""
    subject = options.variant
    if subject and subject not in SUBJECTS:
        raise ConfigError(f"unknown subject {subject!r} of mmlu_stem{nearest(subject, SUBJECTS)}")
    found = open_dataset(DATA)
    problems = [_problem(row, where) for _, where, row in found.numbered()]
    if subject:
        problems = [problem for problem in problems if problem.meta["subject"] == subject]
    name = f"mmlu_stem:{subject}" if subject else "mmlu_stem"
    return choice_task(
        name, "mmlu_stem", problems, found.meta(DATA), prompt=options.prompt, count=options.shots
    )  # fmt: skip


def _problem(row: Row, where: str) -> Problem:
    options, number, answer = row.get("options"), row.get("id"), text_of(row, "answer", where)
    if isinstance(options, list):
        options = ["None" if option != option else option for option in options]  # NaN
    if not (isinstance(options, list) and len(options) == len(LETTERS) and all(isinstance(o, str) for o in options)):
        raise DataError("expected four texts in options", where=where)
    if answer not in LETTERS or not isinstance(number, int):
        raise DataError("expected a letter A to D in answer and a number in id", where=where)
    subject = text_of(row, "topic", where)
    return Problem(
        id=f"{subject}-{number:03d}",
        prompt=text_of(row, "question", where),
        answer=answer,
        meta={"subject": subject, "choices": lettered(options)},
    )

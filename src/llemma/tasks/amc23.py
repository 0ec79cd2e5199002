"""American Mathematics Competitions 12, 2023: 40 problems as open questions with a number as the answer."""

from __future__ import annotations

from dataclasses import dataclass

from llemma.config import setting
from llemma.records import Problem, Task
from llemma.tasks._data import Dataset, number_of, open_dataset, text_of
from llemma.tasks._minerva import minerva_task
from llemma.tasks._prompts import HELP, Choice

DATA = Dataset(
    file="amc23.jsonl",
    rows=40,
    sha256="43707e1ca784602d8479de24ee8ce36609dbebc46dd152b0b12a46611aa898a4",
    repo="QwenLM/Qwen2.5-Math",
    commit="a45202bd16f1ec06f433442dc1152d0074773465",
    path="evaluation/data/amc23/test.jsonl",
    original_sha256="43707e1ca784602d8479de24ee8ce36609dbebc46dd152b0b12a46611aa898a4",
    hub="AI-MO/aimo-validation-amc (2023)",
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
            answer=number_of(row, "answer", where),
        )
        for _, where, row in found.numbered()
    ]
    return minerva_task("amc23", problems, found.meta(DATA), prompt=options.prompt, count=options.shots)

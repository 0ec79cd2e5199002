"""American Mathematics Competitions 12, 2023: 40 problems as open questions with a number as the answer."""

from __future__ import annotations

from llemma.records import Task
from llemma.tasks._data import Dataset, number_of
from llemma.tasks._minerva import Options, contest

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


def load(options: Options) -> Task:
    """The problems. Raises DataError when they cannot be had or a row is not of this form."""
    return contest("amc23", DATA, options, number_of)

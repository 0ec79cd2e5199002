"""American Invitational Mathematics Examination 2024: 30 problems with answers from 0 to 999, Minerva's form."""

from __future__ import annotations

from llemma.records import Task
from llemma.tasks._data import Dataset, text_of
from llemma.tasks._minerva import Options, contest

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


def load(options: Options) -> Task:
    """The problems. Raises DataError when they cannot be had or a row is not of this form."""
    return contest("aime24", DATA, options, text_of)

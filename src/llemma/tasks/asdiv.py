"""Elementary word problems of many kinds: the 2,096 of ASDiv (Miao et al., 2020) with one number as the answer.

The selection is the one PAL published (of 2,305 problems, those whose answer is a number).
"""

from __future__ import annotations

from llemma.records import Task
from llemma.tasks._data import Dataset
from llemma.tasks._words import Options, pal_task

DATA = Dataset(
    file="asdiv.jsonl",
    rows=2096,
    sha256="6fb7347f20b2393e5f877573b0adacb7ac8f4ea15e52e39ed60803ed6ecd3cb6",
    repo="reasoning-machines/pal",
    commit="f81ca2a9777f002f98a6b4d0f10b61bd5c8feb02",
    path="datasets/asdiv.jsonl",
    original_sha256="6fb7347f20b2393e5f877573b0adacb7ac8f4ea15e52e39ed60803ed6ecd3cb6",
    hub="EleutherAI/asdiv",
    licence="CC BY-NC 4.0",
)


def load(options: Options) -> Task:
    """The problems. Raises DataError when they cannot be had or a row is not of this form."""
    return pal_task("asdiv", DATA, options)

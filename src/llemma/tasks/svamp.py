"""Elementary word problems with varied wording: the 1,000 of SVAMP (Patel et al., 2021), in the form PAL published."""

from __future__ import annotations

from llemma.records import Task
from llemma.tasks._data import Dataset
from llemma.tasks._words import Options, pal_task

DATA = Dataset(
    file="svamp.jsonl",
    rows=1000,
    sha256="1c4375bc0f1ac84af8ec2b9ff4c894d057836fee6633c4e73179dd680cb47c4e",
    repo="reasoning-machines/pal",
    commit="f81ca2a9777f002f98a6b4d0f10b61bd5c8feb02",
    path="datasets/svamp.jsonl",
    original_sha256="1c4375bc0f1ac84af8ec2b9ff4c894d057836fee6633c4e73179dd680cb47c4e",
    hub="ChilleD/SVAMP",
    licence="MIT",
)


def load(options: Options) -> Task:
    """The problems. Raises DataError when they cannot be had or a row is not of this form."""
    return pal_task("svamp", DATA, options)

"""A source of one's own: multiplication tables as text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from llemma import Document
from llemma.config import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the source: ``options.upto`` in a recipe."""

    upto: int = setting(20, "largest factor")


def documents(options: Options) -> Iterator[Document]:
    """One document per factor, always in the same order."""
    for a in range(1, options.upto + 1):
        lines = [f"{a} * {b} = {a * b}" for b in range(1, options.upto + 1)]
        yield Document(id=str(a), text="\n".join(lines), source="tables")

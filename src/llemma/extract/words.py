"""Tables written as words with spaces between."""

from __future__ import annotations


def words(text: str) -> tuple[str, ...]:
    """The words of a table, in order."""
    return tuple(text.split())


def word_set(text: str) -> frozenset[str]:
    """The words of a table, to look things up in."""
    return frozenset(text.split())

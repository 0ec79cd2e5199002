"""What one judgement may use: an allowance of work, and a stack of its own when the caller's is nearly full.

The limits of ``exact`` and ``balls`` bound one evaluation; a list of 60 sums against the same list backwards takes
thousands. The allowance bounds them together. It belongs to a thread and is a count, not a clock, so the same pair of
answers has the same verdict on every machine.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

ALLOWANCE = 500_000  # units of about a microsecond on a 2020 server


class TooLarge(ArithmeticError):
    """A number on the way, or the work, is too large to compute with."""


class _Left(threading.local):
    units: float = math.inf  # no limit outside of ``bounded``


_left = _Left()


def spend(units: float) -> None:
    """Draw on the allowance. Raises TooLarge when it is used up."""
    _left.units -= units
    if _left.units < 0:
        raise TooLarge


def bounded(call: Callable[[], T], otherwise: T) -> T:
    """The result of a call under one allowance; within another such call, under that one's.

    Where the stack of this thread has too little room the call is repeated on a stack of its own; ``otherwise`` is the
    result when there is no room for that either.
    """
    try:
        return _allowed(call)
    except RecursionError:
        return roomy(call, otherwise)


def roomy(call: Callable[[], T], otherwise: T) -> T:
    """The result of a call in a new thread, whose stack is empty; ``otherwise`` when even that does not help."""
    found = [otherwise]

    def run() -> None:
        try:
            found[0] = _allowed(call)
        except RecursionError:
            return  # a recursion limit of a few dozen: nothing can be computed

    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    except RecursionError:
        return otherwise
    return found[0]


def _allowed(call: Callable[[], T]) -> T:
    if _left.units != math.inf:
        return call()
    _left.units = ALLOWANCE
    try:
        return call()
    finally:
        _left.units = math.inf

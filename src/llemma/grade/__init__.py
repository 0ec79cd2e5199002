"""Grading answers: ``llemma.grade(prediction, reference)`` judges one, the modules in here are its parts.

The package is itself the function, whatever was imported first: ``import llemma.grade.vote`` puts this module where
``llemma.grade`` looks, so the module must be what is called. It can be pickled, hence handed to a process pool.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

from llemma.records import Grade


class _Grader(types.ModuleType):
    """A module that can be called and pickled."""

    def __call__(self, prediction: str, reference: str, task: str | None = None) -> Grade:
        """Judge a completion, or a final answer alone, against the reference's final answer; strictly.

        ``task`` is the name of a benchmark whose conventions count (``"gsm8k"``, ``"math"``, …). Never raises for
        any text. ``verdict`` is correct, wrong, unparsable, timeout or unsafe; ``reason`` says in words why.
        """
        return _judge(prediction, reference, task)

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self.__name__,)


def _judge(prediction: str, reference: str, task: str | None) -> Grade:
    """The strict grader, loaded on the first call."""
    from llemma.grade import equal, extract

    # REPLACE AT MERGE by: return equal.grade_final(prediction, reference, task)
    return (equal.grade_numeric if extract.extract(prediction) else equal.grade_answer)(prediction, reference)


sys.modules[__name__].__class__ = _Grader

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

        ``verdict`` is correct, wrong, unparsable, timeout or unsafe; ``reason`` says in words why. Never raises.
        ``task`` may name the benchmark; the strict rules are the same for every one.
        """
        from llemma.grade.equal import grade_final  # on the first call: importing a part loads no grader

        return grade_final(prediction, reference, task)

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Grader

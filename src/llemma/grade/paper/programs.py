"""How the paper scored programs (MATH+Python, GSM8K+Python): extraction, the rules of execution as data, comparison.

Nothing here runs a program. ``MATH_PYTHON`` and ``GSM8K_PYTHON`` say how the original ran them, for the tool runner
that repeats it in a sandbox; ``cut_to_number`` and ``numbers_equal`` are what it did with the result.
"""

from __future__ import annotations

import math
import textwrap
from dataclasses import dataclass
from typing import Any

Cut = Any  # an int or a float when it could be cast, else the value as it was

NO_PROGRAM = "failed to get program"  # both are run as programs by the original, and fail with a syntax error
NO_HEADER = "failed to get header"
_IMPORTS = "The imports required for this program are"
_INT64 = (-(1 << 63), (1 << 64) - 1)  # what numpy's isfinite takes as an integer


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramRules:
    """How a program was executed. ``visible`` are the names that functions inside the program can see besides builtins.

    The program's top level has its own local names (its assignments and imports) on top of ``visible``. Functions,
    classes' bodies aside, and generator expressions look their names up in ``visible`` only: they see neither the
    program's imports nor its variables nor its other functions. A list, set or dict comprehension is such a function
    before Python 3.12 and part of its surroundings from 3.12 on (PEP 709), so that the score depends on the version.
    """

    before: str  # text put in front of the program
    indent: str
    after: str  # text put behind it
    seconds: float | None  # of wall time, by SIGALRM; None: no limit
    catches: tuple[str, ...]  # what ends the program with no answer; anything else ended the scoring run
    answer: str  # where the answer is: a local variable, or what was printed
    visible: tuple[str, ...]
    python: str  # the version to repeat it with

    def wrap(self, program: str) -> str:
        """The text that was executed."""
        return self.before + textwrap.indent(program, self.indent) + self.after


MATH_PYTHON = ProgramRules(
    before="try:\n",
    indent=" ",
    after="\nexcept:\n  pass",  # also swallows the time limit: the last value of `answer` counts
    seconds=5,
    catches=("SyntaxError", "TimeoutError"),
    answer="the local variable answer, cast by cut_to_number",
    visible=(
        *("argparse", "logging", "json", "textwrap", "SymbolicMathMixin", "MajorityVotingMixin", "timeout"),
        *("make_table", "tqdm", "copy", "Union", "isclose", "isfinite", "sympy", "partial", "code", "wrap_code"),
        *("cast_numeric_if_possible", "answer_of_program", "is_equiv", "main", "parser", "args"),
    ),
    python="3.11",
)
GSM8K_PYTHON = ProgramRules(
    before="",
    indent="",
    after="\nprint(solution())",
    seconds=None,
    catches=("Exception",),
    answer="all that was printed, stripped, read by float()",
    visible=(
        *("argparse", "logging", "json", "tqdm", "redirect_stdout", "StringIO"),
        *("answer_of_program", "parse_float", "main", "parser", "args"),
    ),
    python="3.11",
)


def math_program(completion: str) -> str:
    """The program of a MATH+Python completion (which begins inside the first code block): its imports, its body."""
    body, fence, _ = completion.partition("```")
    if not fence:
        return NO_PROGRAM
    at = completion.find(_IMPORTS)
    while at >= 0:
        start = at + len(_IMPORTS)
        if completion[start : start + 1].isspace() and completion.startswith("```", start + 1):
            header, fence, _ = completion[start + 4 :].partition("```")
            return f"{header.strip()}\n\n{body.strip()}" if fence else NO_HEADER
        at = completion.find(_IMPORTS, start)
    return NO_HEADER


def gsm8k_program(completion: str) -> str:
    """The program of a GSM8K+Python completion: all of it."""
    return completion.strip()


def cut_to_number(value: Any) -> Cut:
    """``cast_numeric_if_possible``: ``int(value)`` if that works, so that 0.5, 2/3 and sqrt(2) become 0, 0 and 1.

    Else ``float(value)`` if that is finite, else the value itself. A string of a decimal is not cut, unlike a float.
    """
    try:
        whole = int(value)
        if _INT64[0] <= whole <= _INT64[1]:
            return whole
    except OverflowError:
        return value
    except (TypeError, ValueError, AttributeError):
        pass
    try:
        number = float(value)
    except (TypeError, ValueError, AttributeError, OverflowError):
        return value
    return number if math.isfinite(number) else value


def numbers_equal(one: float, other: float) -> bool:
    """numpy's ``isclose``, either way round; integers beyond 64 bits are never close."""
    for number in (one, other):
        if isinstance(number, int) and not _INT64[0] <= number <= _INT64[1]:
            return False
    return isclose(one, other) or isclose(other, one)


def isclose(one: float, other: float) -> bool:
    """numpy's ``isclose`` with its default tolerances: |one - other| <= 1e-8 + 1e-5 |other|."""
    if math.isfinite(one) and math.isfinite(other):
        return abs(one - other) <= 1e-8 + 1e-5 * abs(other)
    return one == other


def printed_number(printed: str) -> float | None:
    """``parse_float``: what GSM8K+Python reads from the output of a program."""
    try:
        return float(printed.strip())
    except ValueError:
        return None

"""Tasks answered by a program: where the value of the program stands in a transcript, and how it is judged.

A transcript of such a task is the model's text followed by what its program gave, in a block of its own::

    ```output
    42
    ```

The last such block counts. Running the program is not done here: a text without an output block has no answer.
"""

from __future__ import annotations

from collections.abc import Callable

from llemma.grade.equal import grade_answer
from llemma.records import Grade, Problem

OUTPUT = "```output\n"
FENCE = "```"


def with_output(text: str, output: str) -> str:
    """A transcript's text: what the model wrote and what its program gave."""
    return f"{text.rstrip()}\n{OUTPUT}{output.strip()}\n{FENCE}\n"


def output_of(text: str) -> str | None:
    """What the program gave: the content of the last output block, or None when there is none."""
    start = text.rfind(OUTPUT)
    if start < 0:
        return None
    return text[start + len(OUTPUT) :].partition(FENCE)[0].strip()


def strict_value(problem: Problem, text: str) -> Grade:
    """The strict judgement of a program's value: the last line of its output."""
    output = output_of(text)
    if not output:
        reason = "no output of a program" if output is None else "the program gave nothing"
        return Grade(verdict="unparsable", answer=None, reason=reason)
    return grade_answer(output.splitlines()[-1], problem.answer, found_by="program")


def on_output(judge: Callable[[str, Problem], Grade]) -> Callable[[Problem, str], Grade]:
    """A scorer that judges the whole output of the program; without one there is nothing to judge."""

    def grade(problem: Problem, text: str) -> Grade:
        output = output_of(text)
        if output is None:
            return Grade(verdict="unparsable", answer=None, reason="no output of a program")
        return judge(output, problem)

    return grade

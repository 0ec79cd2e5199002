"""Tasks answered by a program: where the value of the program stands in a transcript, and how it is judged.

The transcript of such a task is the model's text followed by what its program gave, in blocks of their own: the value
when it ran as ``__main__``, and, for the paper's scorer, what that one read when it ran as its scorer ran it::

    ```llemma-output
    42
    ```

The last such block counts: nothing a model writes can be taken for it, since ours always comes behind. Running the
program is not done here: a text without such a block has no answer.
"""

from __future__ import annotations

from llemma.grade.equal import grade_answer
from llemma.records import Grade, Problem

OUTPUT = "```llemma-output\n"
PAPER_OUTPUT = "```llemma-paper-output\n"
FENCE = "```"


def with_output(text: str, output: str, kind: str = OUTPUT) -> str:
    """A transcript's text: what there was, and what the program gave."""
    return f"{text.rstrip()}\n{kind}{output.strip()}\n{FENCE}\n"


def output_of(text: str, kind: str = OUTPUT) -> str | None:
    """What the program gave: the content of the last block of this kind, or None when there is none."""
    start = text.rfind(kind)
    if start < 0:
        return None
    return text[start + len(kind) :].partition(FENCE)[0].strip()


def strict_value(problem: Problem, text: str) -> Grade:
    """The strict judgement of a program's value."""
    output = output_of(text)
    if not output:
        reason = "no program was run" if output is None else "the program gave no value"
        return Grade(verdict="unparsable", answer=None, reason=reason)
    return grade_answer(output, problem.answer, found_by="program")

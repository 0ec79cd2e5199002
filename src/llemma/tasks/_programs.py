"""Tasks answered by a program: where the value of the program stands in a transcript, and how it is judged.

The transcript of such a task is the model's text followed by what its program gave, in two blocks: the value when it
ran as ``__main__``, and what the paper's scorer read when it ran as that one ran it. Behind the name of a block stands
how the run ended, unless it went well::

    ```llemma-output
    42
    ```
    ```llemma-paper-output timeout
    ```

The last such blocks count: nothing a model writes can be taken for them, since ours always come behind. Running the
program is not done here: a text without such a block has no answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from llemma.grade.equal import grade_answer
from llemma.records import Grade, Problem

OUTPUT = "```llemma-output"
PAPER_OUTPUT = "```llemma-paper-output"
FENCE = "```"
NO_PROGRAM, NOT_RUN = "no-program", "not-run"  # beside the statuses of an execution
_REASONS = {
    NO_PROGRAM: "the text holds no program",
    NOT_RUN: "no program was run",
    "error": "the program ended with an error",
    "memory": "the program ran out of memory",
    "denied": "the program tried what the sandbox denies",
    "timeout": "the program ran out of time",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a program gave, and how it ended: the status of its execution, ``NO_PROGRAM`` or ``NOT_RUN``."""

    text: str
    status: str


def with_output(text: str, output: str, kind: str = OUTPUT, status: str = "ok") -> str:
    """A transcript's text: what there was, and what the program gave, in a block that it cannot close itself."""
    name = kind if status == "ok" else f"{kind} {status}"
    block = output.strip().replace(FENCE, "'''")
    return f"{text.rstrip()}\n{name}\n{block}\n{FENCE}\n"


def output_of(text: str, kind: str = OUTPUT) -> Output | None:
    """What the program gave: the last block of this kind, or None when there is none."""
    _, found, rest = text.rpartition(kind)
    if not found:
        return None
    status, _, block = rest.partition("\n")
    return Output(text=block.partition(FENCE)[0].strip(), status=status.strip() or "ok")


def failure(output: Output | None) -> Grade | None:
    """The judgement of a program that did not come to its end, None for one that did."""
    status = NOT_RUN if output is None else output.status
    if status == "ok":
        return None
    reason = _REASONS.get(status, f"the program ended with {status}")
    return Grade(verdict="timeout" if status == "timeout" else "unparsable", answer=None, reason=reason)


def strict_value(problem: Problem, text: str) -> Grade:
    """The strict judgement of a program's value."""
    output = output_of(text)
    failed = failure(output)
    if failed is not None:
        return failed
    assert output is not None
    if not output.text:
        return Grade(verdict="unparsable", answer=None, reason="the program gave no value")
    return grade_answer(output.text, problem.answer, found_by="program")

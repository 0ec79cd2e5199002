"""University problems: the 272 of OCWCourses (Lewkowycz et al., 2022), 4 examples, maj@100.

References are numbers (188), expressions (72) and equations (12), by which results are split. The problems keep the
prefix "Subproblem 0:" of the paper's runs. Course text: MIT OpenCourseWare, CC BY-NC-SA 4.0.
"""

from __future__ import annotations

from dataclasses import dataclass

from llemma.config import setting
from llemma.records import Problem, Sampling, Shot, Task
from llemma.tasks._data import Dataset, Row, open_dataset, text_of
from llemma.tasks._prompts import HELP, MINERVA, Choice, shots
from llemma.tasks._scoring import equal_classes, key, scorers, strict

STOP = "I hope it is correct."

DATA = Dataset(
    file="ocw_test.jsonl",
    rows=272,
    sha256="688694fd0b98e2f608ba3d06d981155129b750758b14a93bca9057fab259d540",
    repo="deepseek-ai/DeepSeek-Math",
    commit="b8b0f8ce093d80bf8e9a641e44142f06d092c305",
    path="evaluation/datasets/ocw/test.jsonl",
    original_sha256="095ba49696fcd401474a5014e2fae5e6b0b8ec1939d8dded0343fcbdb0bf1a9b",
    hub="open-web-math/ocwcourses",
    licence="CC BY-NC-SA 4.0",
)

# Written for this project.
EXAMPLES = (
    (
        "Subproblem 0: A capacitor of $4 \\mu \\mathrm{F}$ is charged to $50 \\mathrm{~V}$. How much energy does it "
        "store, in joules?",
        "The energy of a charged capacitor is $\\frac{1}{2} C V^{2}=\\frac{1}{2} \\cdot 4 \\times 10^{-6} \\cdot "
        "2500=\\boxed{0.005} \\mathrm{~J}$.",
        "0.005",
    ),
    (
        "Subproblem 0: For a constant $k>0$, find $\\int_{0}^{t} e^{-k s} d s$ as a function of $t$.",
        "An antiderivative of $e^{-k s}$ is $-\\frac{1}{k} e^{-k s}$. Between $0$ and $t$ it grows by "
        "$\\boxed{\\frac{1-e^{-k t}}{k}}$.",
        "$\\frac{1-e^{-k t}}{k}$",
    ),
    (
        "Subproblem 0: Write the equation of the tangent to the curve $y=x^{3}$ at $x=2$ in the form $y=m x+b$.",
        "At $x=2$ the curve has height $8$ and slope $3 \\cdot 2^{2}=12$. The tangent is $y=8+12(x-2)$, that is "
        "$\\boxed{y=12 x-16}$.",
        "$y=12 x-16$",
    ),
    (
        "Preamble: A star has a parallax of $0.05$ seconds of arc.\n\nSubproblem 0: How far away is it, in parsecs?",
        "The distance in parsecs is one over the parallax in seconds of arc: $1 / 0.05=\\boxed{20}$.",
        "20",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the task."""

    prompt: Choice = setting("auto", HELP)
    shots: int | None = setting(None, "examples before the question; none: all of them (4)")


def load(options: Options) -> Task:
    """The problems. Raises DataError when they cannot be had or a row is not of this form."""
    found = open_dataset(DATA)
    examples = shots("ocw", own_examples(), options.prompt, options.shots, MINERVA, gold)
    return Task(
        name="ocw",
        problems=tuple(_problem(row, where) for _, where, row in found.numbered()),
        prompt=lambda problem: examples.prefix + question(problem.prompt),
        grade=strict,
        key=key,
        classes=equal_classes,
        sampling=Sampling(max_tokens=1024, stop=(STOP,)),
        vote=Sampling(n=100, temperature=0.6, top_p=0.95),
        scorers=scorers("ocw"),
        shots=examples.single,
        state=lambda problem: "\n" + ending(problem.answer),
        meta={**examples.meta, **found.meta(DATA)},
    )


def question(text: str) -> str:
    """The question as the model sees it, up to where its solution begins."""
    return f"Problem:\n{text}\nSolution:"


def ending(answer: str) -> str:
    """The last line of a completion; "Final answer" has a small a in this task alone."""
    return f"Final answer: The final answer is {' '.join(answer.split())}. {STOP}"


def own_examples() -> list[Shot]:
    """Our examples."""
    return [
        Shot(question=question(q), completion=f"\n{why}\n{ending(answer)}", answer=answer)
        for q, why, answer in EXAMPLES
    ]


def gold(completion: str) -> str | None:
    """The answer of one of the paper's examples: what its last line says."""
    line = completion.rpartition("The final answer is ")[2]
    return line.removesuffix(f". {STOP}") if line != completion else None


def kind_of(answer: str) -> str:
    """``numeric``, ``equation`` or ``expression``: how the paper's scorer sorts references."""
    try:
        float(answer)
    except ValueError:
        return "equation" if "=" in answer else "expression"
    return "numeric"


def _problem(row: Row, where: str) -> Problem:
    answer = text_of(row, "answer", where)
    return Problem(
        id=f"{int(text_of(row, 'id', where)):03d}",
        prompt=text_of(row, "problem", where),
        answer=answer,
        meta={"kind": kind_of(answer), "solution": text_of(row, "solution", where)},
    )

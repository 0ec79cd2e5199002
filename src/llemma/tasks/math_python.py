"""MATH answered by a program that leaves its value in ``answer``, 5 examples, greedy; sympy at hand.

The model writes the body of the program in a block and then, in a second block, the imports it needs: the program is
the second block followed by the first. ``math_python:algebra`` is one of the seven subjects alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from llemma.config import setting
from llemma.grade.paper.programs import MATH_PYTHON, NO_HEADER, NO_PROGRAM, math_program
from llemma.records import Problem, Program, Sampling, Shot, Task
from llemma.tasks import math
from llemma.tasks._programs import strict_value, with_output
from llemma.tasks._prompts import HELP, Choice, Form, shots
from llemma.tasks._scoring import equal_classes, key, program_scorers

STOP = "I hope my solution is correct."
ASK = (
    "\n\nYou are an expert programmer. Solve the above mathematical problem by writing a Python program. Express your "
    "answer as a numeric type or a SymPy object.\n```"
)
FORM = Form(head="Problem:", turn=ASK)

# Written for this project: problem, body of the program, imports, value.
EXAMPLES = (
    (
        r"How many three-digit numbers are divisible by both $6$ and $8$?",
        "answer = sum(1 for n in range(100, 1000) if n % 6 == 0 and n % 8 == 0)",
        "",
        "37",
    ),
    (
        r"A line passes through $(2,-1)$ and is perpendicular to the line $y = 3x + 4$. What is its $y$-intercept?",
        "slope = Rational(-1, 3)\n# -1 = slope * 2 + b\nanswer = -1 - slope * 2",
        "from sympy import Rational",
        "-1/3",
    ),
    (
        r"A rectangle has area $24$ and perimeter $20$. How long is its diagonal?",
        "a, b = symbols('a b', positive=True)\nsides = solve([a * b - 24, 2 * (a + b) - 20], [a, b])[0]\n"
        "answer = sqrt(sides[0]**2 + sides[1]**2)",
        "from sympy import solve, sqrt, symbols",
        "2*sqrt(13)",
    ),
    (
        r"A fair die is rolled twice. What is the probability that the second number is greater than the first?",
        "cases = [(i, j) for i in range(1, 7) for j in range(1, 7)]\n"
        "greater = [case for case in cases if case[1] > case[0]]\nanswer = Rational(len(greater), len(cases))",
        "from sympy import Rational",
        "5/12",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the task."""

    variant: str = setting("", f"one subject alone: {', '.join(math.SUBJECTS)}")
    prompt: Choice = setting("auto", HELP)
    shots: int | None = setting(None, "examples before the question; none: all of them (5)")


def load(options: Options) -> Task:
    """The problems of MATH, to be answered by programs. Raises ConfigError for an unknown subject, or DataError."""
    base = math.load(math.Options(variant=options.variant, prompt="own", shots=0))
    examples = shots("math_python", own_examples(), options.prompt, options.shots, FORM, lambda completion: None)
    data = {name: value for name, value in base.meta.items() if name != "shots" and not name.startswith("prompt")}
    return Task(
        name=base.name.replace("math", "math_python", 1),
        problems=base.problems,
        prompt=lambda problem: examples.prefix + question(problem.prompt),
        grade=strict_value,
        key=key,
        classes=equal_classes,
        sampling=Sampling(max_tokens=1024, stop=(STOP,)),
        vote=Sampling(n=16, temperature=0.6, top_p=0.95),  # in the paper's configuration; no figure was published
        scorers=program_scorers("math_python"),
        shots=examples.single,
        state=_state,
        tools=("python",),
        program=Program(extract=program_in, wanted="answer", rules=MATH_PYTHON),
        meta={**examples.meta, **data},
    )


def program_in(completion: str) -> str | None:
    """The program of a completion: the imports of its second block, then its first. None when a block is missing."""
    found = math_program(completion)
    return None if found in (NO_PROGRAM, NO_HEADER) else found


def _state(problem: Problem) -> str:
    """A transcript whose program gave the reference."""
    return with_output(program("answer = ...", "").removesuffix(STOP), " ".join(problem.answer.split()))


def question(text: str) -> str:
    """The question as the model sees it, up to where its program begins."""
    return f"Problem:\n{text}{ASK}"


def program(body: str, imports: str) -> str:
    """A completion: the body of the program, then the imports it needs."""
    lines = [*filter(None, [imports]), "```"]
    return "\n".join(["", body, "```", "The imports required for this program are", "```", *lines, STOP])


def own_examples() -> list[Shot]:
    """Our examples."""
    return [
        Shot(question=question(asked), completion=program(body, imports), answer=answer)
        for asked, body, imports, answer in EXAMPLES
    ]

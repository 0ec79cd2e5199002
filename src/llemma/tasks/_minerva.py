r"""Problems with a worked solution, in Minerva's form: what MATH, MATH-500, AIME and AMC share.

``Problem:`` and ``Solution:``, ending in "Final Answer: The final answer is $…$. I hope it is correct." (Lewkowycz et
al., 2022, appendix D; Llemma, section 3.1). The paper's four examples are used when they can be had, else ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from llemma.config import setting
from llemma.records import Problem, Sampling, Shot, Task
from llemma.tasks._data import Dataset, Row, number_of, open_dataset, text_of
from llemma.tasks._prompts import HELP, MINERVA, Choice, shots
from llemma.tasks._scoring import equal_classes, key, scorers, strict

STOP = "I hope it is correct."
MAX_TOKENS = 1024  # of the paper's runs
PAPER_VOTE = Sampling(n=256, temperature=0.6, top_p=0.95)

# Written for this project; none is taken from MATH or from the prompts of other papers.
EXAMPLES = (
    (
        r"What is the range of the function $f(x) = \frac{6}{x^2+2}$ for real $x$? Give the answer as an interval.",
        r"Since $x^2 + 2 \ge 2$, the fraction is at most $\frac{6}{2} = 3$, and this is reached at $x = 0$. As $x^2$ "
        r"grows, the fraction comes as close to $0$ as we like and stays positive. So the range is $\boxed{(0,3]}$.",
        r"(0,3]",
    ),
    (
        r"How many three-digit numbers are divisible by both $6$ and $8$?",
        r"A number is divisible by both exactly if it is divisible by $\operatorname{lcm}(6,8) = 24$. Up to $999$ "
        r"there are $41$ multiples of $24$, since $41 \cdot 24 = 984$, and up to $99$ there are $4$. That leaves "
        r"$41 - 4 = \boxed{37}$.",
        r"37",
    ),
    (
        r"A line passes through $(2,-1)$ and is perpendicular to the line $y = 3x + 4$. What is its $y$-intercept?",
        r"Its slope is $-\frac{1}{3}$, so its equation is $y = -\frac{1}{3}x + b$. At the given point $-1 = "
        r"-\frac{2}{3} + b$, hence $b = \boxed{-\frac{1}{3}}$.",
        r"-\frac{1}{3}",
    ),
    (
        r"A rectangle has area $24$ and perimeter $20$. How long is its diagonal?",
        "Let the sides be $a$ and $b$. Then $ab = 24$ and $a + b = 10$, so the square of the diagonal is\n"
        r"\[a^2 + b^2 = (a+b)^2 - 2ab = 100 - 48 = 52.\]"
        "\n"
        r"The diagonal is $\sqrt{52} = \boxed{2\sqrt{13}}$.",
        r"2\sqrt{13}",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the task."""

    prompt: Choice = setting("auto", HELP)
    shots: int | None = setting(None, "examples before the question; none: all of them (4)")


def contest(name: str, data: Dataset, options: Options, answer: Callable[[Row, str, str], str]) -> Task:
    """A task of numbered problems; ``answer`` reads the answer's field. Raises DataError as ``open_dataset`` does."""
    found = open_dataset(data)
    problems = [
        Problem(
            id=f"{int(number_of(row, 'id', where)):03d}",
            prompt=text_of(row, "problem", where),
            answer=answer(row, "answer", where),
        )
        for _, where, row in found.numbered()
    ]
    return minerva_task(name, problems, found.meta(data), prompt=options.prompt, count=options.shots)


def question(text: str) -> str:
    """The question as the model sees it, up to where its solution begins."""
    return f"Problem:\n{text}\n\nSolution:"


def ending(answer: str) -> str:
    """The last line of a completion; a line break within the answer becomes a blank."""
    return f"Final Answer: The final answer is ${' '.join(answer.split())}$. {STOP}"


def own_examples() -> list[Shot]:
    """Our examples."""
    return [
        Shot(question=question(q), completion=f"\n{why}\n{ending(answer)}", answer=answer)
        for q, why, answer in EXAMPLES
    ]


def few_shot(count: int, text: str) -> str:
    """A question behind ``count`` of our examples."""
    examples = own_examples()[:count]
    return "".join(f"{shot.question}{shot.completion}\n\n" for shot in examples) + question(text)


def minerva_task(
    name: str, problems: Iterable[Problem], meta: dict[str, Any], *, prompt: Choice, count: int | None,
    vote: Sampling | None = None,
) -> Task:  # fmt: skip
    """A task in Minerva's form, graded as ``math`` is."""
    examples = shots("math", own_examples(), prompt, count, MINERVA, gold)
    return Task(
        name=name,
        problems=tuple(problems),
        prompt=lambda problem: examples.prefix + question(problem.prompt),
        grade=strict,
        key=key,
        classes=equal_classes,
        sampling=Sampling(max_tokens=MAX_TOKENS, stop=(STOP,)),
        vote=vote,
        scorers=scorers("math"),
        shots=examples.single,
        state=lambda problem: "\n" + ending(problem.answer),
        meta={**examples.meta, **meta},
    )


def gold(completion: str) -> str | None:
    """The answer of one of the paper's examples: what its last line says."""
    line = completion.rpartition("The final answer is $")[2]
    return line.removesuffix(f"$. {STOP}") if line != completion else None


_BRACES = re.compile(r"[{}]")


def last_box(solution: str) -> str | None:
    r"""The answer in a reference solution: the content of its last ``\boxed{…}`` or ``\fbox{…}``, braces balanced.

    Some solutions write ``\boxed 5`` without braces: then it is what follows the last of these up to the next ``$``,
    as in Hendrycks et al. (2021).
    """
    bare = solution.rfind("\\boxed ")
    if bare >= 0:
        return solution[bare + len("\\boxed ") :].partition("$")[0].strip() or None
    start = max(solution.rfind("\\boxed{"), solution.rfind("\\fbox{"))
    if start < 0:
        return None
    begin, depth = solution.index("{", start) + 1, 1
    for brace in _BRACES.finditer(solution, begin):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return solution[begin : brace.start()].strip() or None
    return None

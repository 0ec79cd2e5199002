"""Multiple choice with four letters: what MMLU-STEM and the SAT share.

The form and the paper's four examples are those of Minerva (Lewkowycz et al., 2022, appendix G), typos of the question
line included; ours are used when the paper's cannot be had.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from llemma.records import Problem, Sampling, Shot, Task
from llemma.tasks._prompts import MINERVA, Choice, shots
from llemma.tasks._scoring import equal_classes, key, scorers, strict

STOP = "I hope it is correct."
LETTERS = "ABCD"
PAPER_VOTE = Sampling(n=16, temperature=0.3, top_p=0.95)  # 0.3, unlike the other tasks: configs/majk.json

# Written for this project.
EXAMPLES = (
    (
        "The sum of the first $n$ odd numbers is $144$. What is $n$?",
        ("10", "11", "12", "14"),
        "The sum of the first $n$ odd numbers is $n^2$. From $n^2 = 144$ follows $n = \\boxed{12}$.",
        "C",
    ),
    (
        "A ball is dropped from rest and falls for $3$ seconds. How far does it fall, with $g = 10$ m/s$^2$ and "
        "without air resistance?",
        ("45 m", "30 m", "90 m", "15 m"),
        "The distance is $\\frac{1}{2} g t^2 = \\frac{1}{2} \\cdot 10 \\cdot 9 = \\boxed{45}$ metres.",
        "A",
    ),
    (
        "Which of these fractions lies between $\\frac{1}{3}$ and $\\frac{1}{2}$?",
        ("$\\frac{1}{4}$", "$\\frac{3}{5}$", "$\\frac{2}{3}$", "$\\frac{2}{5}$"),
        "As decimals, $\\frac{1}{3} \\approx 0.33$ and $\\frac{1}{2} = 0.5$. The choices are $0.25$, $0.6$, about "
        "$0.67$ and $0.4$, and only $\\boxed{\\frac{2}{5}}$ lies between.",
        "D",
    ),
    (
        "A fair die is rolled twice. What is the probability that the second number is greater than the first?",
        ("$\\frac{1}{2}$", "$\\frac{5}{12}$", "$\\frac{7}{12}$", "$\\frac{1}{6}$"),
        "In $6$ of the $36$ cases the numbers are equal. Of the other $30$ the second number is greater in half, in "
        "$15$. The probability is $\\frac{15}{36} = \\boxed{\\frac{5}{12}}$.",
        "B",
    ),
)


def question(text: str, choices: str) -> str:
    """The question as the model sees it, up to where its solution begins."""
    return f"Problem:\n{text}\nWhat of the following is the right choice? Explain your answer.\n{choices}\nSolution:"


def lettered(choices: Sequence[str]) -> str:
    """``(A) one, (B) two, …``"""
    return ", ".join(f"({letter}) {choice}" for letter, choice in zip(LETTERS, choices, strict=True))


def ending(letter: str) -> str:
    """The last line of a completion."""
    return f"Final Answer: The final answer is ({letter}). {STOP}"


def own_examples() -> list[Shot]:
    """Our examples."""
    return [
        Shot(question=question(q, lettered(choices)), completion=f"\n{why}\n{ending(letter)}", answer=letter)
        for q, choices, why, letter in EXAMPLES
    ]


def gold(completion: str) -> str | None:
    """The letter of one of the paper's examples: what its last line says."""
    line = completion.rpartition("The final answer is (")[2]
    return line.removesuffix(f"). {STOP}") if line != completion else None


def choice_task(
    name: str, published: str, problems: Iterable[Problem], meta: dict[str, Any], *, prompt: Choice, count: int | None
) -> Task:
    """A multiple-choice task; a problem's ``meta["choices"]`` is the line of choices as the model sees it."""
    examples = shots(published, own_examples(), prompt, count, MINERVA, gold)
    return Task(
        name=name,
        problems=tuple(problems),
        prompt=lambda problem: examples.prefix + question(problem.prompt, problem.meta["choices"]),
        grade=strict,
        key=key,
        classes=equal_classes,
        sampling=Sampling(max_tokens=1024, stop=(STOP,)),
        vote=PAPER_VOTE,
        scorers=scorers(published),
        shots=examples.single,
        state=lambda problem: "\n" + ending(problem.answer),
        meta={**examples.meta, **meta},
    )

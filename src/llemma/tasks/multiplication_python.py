"""Products of whole numbers, answered by a program that is run: the model copies the factors, Python multiplies them.

Problems are those of ``multiplication``; the prompt and the program ``solution()`` have the form of ``gsm8k_python``.
Exact, unlike the paper's scorer for programs, which takes numbers for equal that differ by a part in 100,000.
"""

from __future__ import annotations

import ast

from llemma.grade.paper.programs import gsm8k_program
from llemma.records import Problem, Program, Sampling, Shot, Task
from llemma.tasks import _products
from llemma.tasks._products import Options, Product
from llemma.tasks._programs import strict_value, with_output
from llemma.tasks._scoring import equal_classes, key
from llemma.tasks.gsm8k_python import FORM, program_in, question

__all__ = ["Options", "answered", "copies", "load"]


def load(options: Options) -> Task:
    """The task for factors of the widths asked for. Raises ConfigError when they are no widths."""
    problems = _products.problems(options)
    shots = tuple(
        Shot(question=question(p.question), completion=answered(p), answer=str(p.a * p.b))
        for p in _products.examples(options)
    )
    prefix = "".join(shot.question + shot.completion + FORM.between for shot in shots)
    longest = max(len(answered_by(problem)) for problem in problems)
    return Task(
        name=_products.name_of("multiplication_python", options.variant),
        problems=problems,
        prompt=lambda problem: prefix + question(problem.prompt),
        grade=strict_value,
        key=key,
        classes=equal_classes,
        # room for every reference program even at one token per character
        sampling=Sampling(max_tokens=64 + longest, stop=(FORM.head,)),
        shots=shots,
        state=lambda problem: with_output(answered_by(problem), problem.answer),
        tools=("python",),
        program=Program(extract=program_in, wanted="solution"),
        meta={"shots": len(shots), "source": "llemma.tasks._products"},
    )


def answered(product: Product) -> str:
    """What the model should write."""
    return _program(product.a, product.b)


def answered_by(problem: Problem) -> str:
    """The same for a problem of the task."""
    return _program(*problem.meta["factors"])


def copies(completion: str, factors: tuple[int, int]) -> bool:
    """Whether a completion is a program that multiplies just these factors and does nothing else."""
    try:
        found = ast.parse(gsm8k_program(completion))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    wanted = [ast.dump(ast.parse(_program(*pair).strip())) for pair in (factors, factors[::-1])]
    return ast.dump(found) in wanted


def _program(a: int, b: int) -> str:
    return f"\n\n\ndef solution():\n    return {a} * {b}\n"

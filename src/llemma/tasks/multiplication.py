"""Products of whole numbers, answered at once: multiplication is five digits by five, multiplication:3 three by three.

The model must calculate: there are no steps in the examples. The same problems with Python as a tool are the task
``multiplication_python``. Problems are our own, ``llemma.tasks._products``; an answer is right when it is exact.
"""

from __future__ import annotations

from llemma.grade.equal import grade_numeric, vote_key
from llemma.records import Sampling, Shot, Task
from llemma.sources import generated
from llemma.tasks import _products
from llemma.tasks._products import Options, Product

__all__ = ["Options", "answered", "load", "question"]

STOP = "I hope it is correct."


def load(options: Options) -> Task:
    """The task for factors of the widths asked for. Raises ConfigError when they are no widths."""
    problems = _products.problems(options)
    shots = tuple(
        Shot(question=question(p.question), completion=answered(p), answer=str(p.a * p.b))
        for p in _products.examples(options)
    )
    prefix = "".join(f"{shot.question}{shot.completion}\n\n" for shot in shots)
    longest = max(len(problem.answer) for problem in problems)
    return Task(
        name=_products.name_of("multiplication", options.variant),
        problems=problems,
        prompt=lambda problem: prefix + question(problem.prompt),
        grade=lambda problem, text: grade_numeric(text, problem.answer),
        key=vote_key,
        sampling=Sampling(max_tokens=64 + longest, stop=(STOP,)),
        shots=shots,
        state=lambda problem: _stated(problem.answer),
        meta={"shots": len(shots), "source": "llemma.tasks._products"},
    )


def question(text: str) -> str:
    """The question as the model sees it, up to its answer."""
    return generated.prompt(text)


def answered(product: Product) -> str:
    """What the model should write: the answer and nothing before it."""
    return _stated(str(product.a * product.b))


def _stated(answer: str) -> str:
    return f"Final Answer: The final answer is ${answer}$. {STOP}"

"""Word problems with one number as the answer: what GSM8K, GSM-Hard, SVAMP and ASDiv share.

The prompt has the ``Q: … A: … The answer is N.`` form of Wei et al. (2022); the paper's eight examples are used when
they can be had, else ours, which are in the same form.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from llemma.config import setting
from llemma.records import Problem, Sampling, Shot, Task
from llemma.tasks._data import Dataset, number_of, open_dataset, text_of
from llemma.tasks._prompts import HELP, WORDS, Choice, shots
from llemma.tasks._scoring import equal_classes, key, scorers, strict

MAX_TOKENS = 1024  # of the paper's runs
PAPER_VOTE = Sampling(n=100, temperature=0.6, top_p=0.95)

# Written for this project; none is taken from a benchmark or from the prompts of other papers.
EXAMPLES = (
    (
        "A bakery fills 7 trays with 12 rolls each. By noon 59 rolls are sold. How many rolls are left?",
        "The 7 trays hold 7 * 12 = 84 rolls. After 59 are sold, 84 - 59 = 25 rolls are left.",
        "25",
    ),
    (
        "Nadia cycles 18 kilometres to the lake at 12 kilometres per hour, rests there for 45 minutes and cycles back "
        "at 9 kilometres per hour. How many minutes is she away from home?",
        "The way there takes 18 / 12 = 1.5 hours, which is 90 minutes. The way back takes 18 / 9 = 2 hours, which is "
        "120 minutes. With the rest that makes 90 + 45 + 120 = 255 minutes.",
        "255",
    ),
    (
        "A coat costs $160. In the winter sale it is 25% cheaper, and Omar has a voucher for another $15 off. He pays "
        "with three $50 notes. How many dollars does he get back?",
        "The sale takes 160 * 0.25 = 40 dollars off, so the coat costs 160 - 40 = 120 dollars. With the voucher Omar "
        "pays 120 - 15 = 105 dollars. His notes are worth 3 * 50 = 150 dollars, so he gets 150 - 105 = 45 back.",
        "45",
    ),
    (
        "In a choir there are twice as many altos as tenors and 6 more sopranos than altos. The choir has 41 singers "
        "in these three voices. How many sopranos are there?",
        "If there are t tenors, there are 2t altos and 2t + 6 sopranos, together 5t + 6 = 41. So 5t = 35 and t = 7. "
        "There are 2 * 7 + 6 = 20 sopranos.",
        "20",
    ),
    (
        "A tank holds 90 litres and is two thirds full. Every day 4 litres are used and once, on the third day, 10 "
        "litres are poured in. How many litres are in the tank after 5 days?",
        "At the start there are 90 * 2 / 3 = 60 litres. In 5 days 5 * 4 = 20 litres are used, and 10 are added. That "
        "leaves 60 - 20 + 10 = 50 litres.",
        "50",
    ),
    (
        "Mia reads 14 pages a day on weekdays and 25 pages a day at the weekend. How many pages does she read in two "
        "weeks?",
        "In one week she reads 5 * 14 = 70 pages on weekdays and 2 * 25 = 50 pages at the weekend, together 70 + 50 = "
        "120 pages. In two weeks that is 2 * 120 = 240 pages.",
        "240",
    ),
    (
        "Three friends share the cost of a taxi. The ride costs $4 plus $2.50 for each of the 8 miles. How many "
        "dollars does each of them pay?",
        "The miles cost 8 * 2.5 = 20 dollars, so the ride costs 20 + 4 = 24 dollars. Each of the three pays 24 / 3 = 8 "
        "dollars.",
        "8",
    ),
    (
        "A farmer packs 437 apples into bags of 20. How many more apples would he need to fill one more bag?",
        "He fills 21 bags with 21 * 20 = 420 apples, and 437 - 420 = 17 apples are left. For one more bag he needs 20 "
        "- 17 = 3 more.",
        "3",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the task."""

    prompt: Choice = setting("auto", HELP)
    shots: int | None = setting(None, "examples before the question; none: all of them (8)")


def pal_task(name: str, data: Dataset, options: Options) -> Task:
    """A task of problems in the form PAL published them. Raises DataError when they cannot be had or have another."""
    found = open_dataset(data)
    problems = [
        Problem(id=f"{number:04d}", prompt=text_of(row, "input", where), answer=number_of(row, "target", where))
        for number, where, row in found.numbered()
    ]
    return word_task(name, problems, found.meta(data), prompt=options.prompt, count=options.shots)


def question(text: str) -> str:
    """The question as the model sees it, up to where its answer begins (after a blank)."""
    return f"Q: {text}\nA:"


def own_examples() -> list[Shot]:
    """Our examples."""
    return [Shot(question=question(q), completion=f" {why} The answer is {n}.", answer=n) for q, why, n in EXAMPLES]


def gold(completion: str) -> str | None:
    """The answer of one of the paper's examples: all end in "The answer is N."."""
    _, mark, rest = completion.rpartition("The answer is ")
    return rest.strip().removesuffix(".") if mark else None


def word_task(
    name: str, problems: Iterable[Problem], meta: dict[str, Any], *, prompt: Choice, count: int | None,
    vote: Sampling | None = None,
) -> Task:  # fmt: skip
    """A task of word problems; graded as ``gsm8k`` is, by either scorer."""
    examples = shots("gsm8k", own_examples(), prompt, count, WORDS, gold)
    return Task(
        name=name,
        problems=tuple(problems),
        prompt=lambda problem: examples.prefix + question(problem.prompt),
        grade=strict,
        key=key,
        classes=equal_classes,
        sampling=Sampling(max_tokens=MAX_TOKENS, stop=("\n\n",)),
        vote=vote,
        scorers=scorers("gsm8k"),
        shots=examples.single,
        state=lambda problem: f" The answer is {problem.answer}.",
        meta={**examples.meta, **meta},
    )

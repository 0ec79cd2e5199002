"""Problems this project generates, one family per variant: generated:addition, generated:quadratic, ...

The problems come from ``llemma.sources.generated``; a keyed hash keeps those of the splits ``test`` and
``extrapolation`` out of every training corpus it writes. The prompt has the paper's form (``Problem:``,
``Solution:``, final-answer sentence; Llemma, section 3.1), with few-shot examples from the training split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llemma.config import setting
from llemma.errors import ConfigError, DataError, nearest
from llemma.grade.answer import read
from llemma.grade.equal import grade_numeric, vote_key
from llemma.records import Problem, Sampling, Shot, Task
from llemma.sources import generated as source

STOP = "I hope it is correct."
_SHOT_SEED = 0  # the examples are part of the task: they do not change with the problems' seed
_LEAST_TOKENS = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the task."""

    variant: str = setting("", "family of problems (required)")
    split: Literal["test", "extrapolation"] = setting("test", "test, or extrapolation: levels no training text has")
    shots: int = setting(2, "worked examples before the question")
    count: int = setting(200, "number of problems; fewer when the split has no more")
    seed: int = setting(0, "another seed draws other problems of the split")
    difficulty: tuple[int, ...] = setting((), "one level, or LEAST,MOST; empty: every level of the split")

    def __post_init__(self) -> None:
        if self.shots < 0 or self.count < 1:
            raise ValueError(f"shots={self.shots} count={self.count}: shots must be at least 0 and count at least 1")
        if len(self.difficulty) > 2:
            raise ValueError(f"difficulty={self.difficulty}: give one level, or the least and the most")


def load(options: Options) -> Task:
    """The task of one family. Raises ConfigError for a missing or unknown family or level."""
    family = options.variant
    if family not in source.families():
        known = ", ".join(source.families())
        if not family:
            raise ConfigError(f"the task generated needs a family: generated:NAME; families: {known}")
        raise ConfigError(f"unknown family {family!r}{nearest(family, source.families())}; families: {known}")
    drawn = _distinct(options)
    shots = tuple(_shot(worked) for worked in examples(family, options.shots))
    prefix = "".join(f"{shot.question}{shot.completion}\n\n" for shot in shots)
    longest = max(len(source.render(worked)) - len(source.prompt(worked)) for worked in drawn)
    return Task(
        name=f"generated:{family}" + (":extrapolation" if options.split == "extrapolation" else ""),
        problems=tuple(_problem(worked) for worked in drawn),
        prompt=lambda problem: prefix + source.prompt(problem.prompt),
        grade=lambda problem, text: grade_numeric(text, problem.answer),
        key=vote_key,
        # room for every reference solution even at one token per character
        sampling=Sampling(max_tokens=max(_LEAST_TOKENS, -(-longest // 32) * 32), stop=(STOP,)),
        shots=shots,
        state=lambda problem: f"Final Answer: The final answer is ${problem.answer}$. {STOP}",
        meta={"split": options.split, "shots": options.shots, "source": "llemma.sources.generated"},
    )


def examples(family: str, shots: int) -> list[source.Worked]:
    """The few-shot examples: of the two lowest levels of the training split, always the same."""
    lowest = source.levels(family)[:2]
    drawn = source.draw(family, split="train", seed=_SHOT_SEED, count=shots, difficulty=(lowest[0], lowest[-1]))
    return list(drawn)


def _distinct(options: Options) -> list[source.Worked]:
    """``count`` problems with distinct keys: two levels of a family may hold the same problem."""
    levels = (options.difficulty[0], options.difficulty[-1]) if options.difficulty else None
    drawn = source.draw(
        options.variant, split=options.split, seed=options.seed, count=4 * options.count, difficulty=levels
    )
    found: dict[str, source.Worked] = {}
    for worked in drawn:
        found.setdefault(worked.key, worked)
        if len(found) == options.count:
            break
    if not found:
        raise DataError(f"generated:{options.variant} has no {options.split} problems of this difficulty")
    return list(found.values())


def _shot(worked: source.Worked) -> Shot:
    question = source.prompt(worked)
    completion = source.render(worked).removeprefix(question)
    return Shot(question=question, completion=completion, answer=worked.answer)


def _problem(worked: source.Worked) -> Problem:
    assert read(worked.answer) is not None, f"{worked.key}: the answer {worked.answer!r} is outside the grader's scope"
    meta = {"family": worked.family, "difficulty": worked.difficulty, "split": worked.split}
    return Problem(id=worked.key, prompt=worked.question, answer=worked.answer, meta=meta)

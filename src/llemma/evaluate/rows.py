"""A sample as a row: graded by the task's scorers and self-contained, so that it can be read and graded again alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llemma.errors import ConfigError
from llemma.evaluate.metrics import GROUPS
from llemma.evaluate.plan import Wanted
from llemma.records import Completion, Problem, Scorer, Step, Task
from llemma.run import json_line

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graders:
    """The scorers of a task: the one in front, whose verdicts are the row's, and the others by name."""

    name: str
    front: Scorer
    others: Mapping[str, Scorer]

    def grade(self, problem: Problem, text: str) -> Row:
        """What the scorers say of a text, as the fields of a row."""
        grade = self.front.grade(problem, text)
        fields: Row = {
            "grade": {"verdict": grade.verdict, "answer": grade.answer, "reason": grade.reason},
            "key": self.front.key(grade),
            "scorer": self.name,
        }
        if self.others:
            fields["scores"] = {name: _score(scorer, problem, text) for name, scorer in self.others.items()}
        return fields


def graders(task: Task, scorer: Literal["both", "strict", "paper"]) -> Graders:
    """The scorers that ``scorer`` asks for. Raises ConfigError when the task has no such scorer."""
    strict = Scorer(grade=task.grade, key=task.key)
    if scorer == "strict":
        return Graders(name="strict", front=strict, others={})
    if scorer == "both":
        return Graders(name="strict", front=strict, others=task.scorers)
    if scorer not in task.scorers:
        raise ConfigError(f"the paper has no scorer for {task.name}; use scorer=strict")
    return Graders(name=scorer, front=task.scorers[scorer], others={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A row and its line in the file."""

    row: Row
    line: bytes


class RowMaker:
    """Makes the rows of one task. ``engine`` is the engine with its version, stored with every sample."""

    def __init__(self, task: Task, graders: Graders, engine: str) -> None:
        self.task, self.graders, self.engine = task, graders, engine
        self._shared: tuple[str, Row, bytes] = ("", {}, b"")

    def made(self, wanted: Wanted, completion: Completion, seconds: float) -> Made:
        """The row of a completion that took ``seconds``."""
        text = completion.text
        row: Row = {
            "id": wanted.id,
            "problem": wanted.problem.id,
            "k": wanted.k,
            "transcript": {
                "steps": list(map(_step, completion.steps)) or [{"kind": "text", "text": text, "result": None}],
                "text": text,
                "finish": completion.finish,
                "tokens": completion.tokens,
                "seconds": seconds,
            },
            **self.graders.grade(wanted.problem, text),
            "error": None,
            "logprob": completion.logprob,
            "prompt_tokens": completion.prompt_tokens,
            "seed": wanted.request.seed,
        }
        return self._whole(wanted, row)

    def lost(self, wanted: Wanted, error: str, attempt: int) -> Made:
        """The row of a lost sample, under an id of its own, so that the sample's id stays free for the next try."""
        row: Row = {
            "id": f"{wanted.id}!{attempt}",
            "problem": wanted.problem.id,
            "k": wanted.k,
            "transcript": None,
            "grade": None,
            "key": None,
            "error": error,
            "seed": wanted.request.seed,
        }
        return self._whole(wanted, row)

    def _whole(self, wanted: Wanted, row: Row) -> Made:
        """The row with what all samples of its problem share; that part, the longest, is encoded once a problem."""
        problem, shared, encoded = self._shared
        if problem != wanted.problem.id:
            shared = self._of_problem(wanted.problem, wanted.request.prompt)
            encoded = json_line(shared)
            self._shared = wanted.problem.id, shared, encoded
        return Made(row={**row, **shared}, line=json_line(row)[:-2] + b", " + encoded[1:])

    def _of_problem(self, problem: Problem, prompt: str) -> Row:
        shared = {
            "task": self.task.name,
            "question": problem.prompt,
            "reference": problem.answer,
            "engine": self.engine,
            "prompt": prompt,
        }
        groups = {name: problem.meta[name] for name in GROUPS if name in problem.meta}
        return {**shared, "groups": groups} if groups else shared


def _step(step: Step) -> Row:
    row: Row = {"kind": step.kind, "text": step.text, "result": step.result}
    return row if step.kind == "text" else {**row, "status": step.status, "tier": step.tier}


def _score(scorer: Scorer, problem: Problem, text: str) -> Row:
    grade = scorer.grade(problem, text)
    return {"verdict": grade.verdict, "answer": grade.answer, "reason": grade.reason, "key": scorer.key(grade)}

"""A sample as a row: graded by the task's scorers and self-contained, so that it can be read and graded again alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llemma.errors import ConfigError
from llemma.evaluate.metrics import GROUPS
from llemma.evaluate.plan import Wanted
from llemma.records import Completion, Problem, Scorer, Task

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
class RowMaker:
    """Makes the rows of one task. ``engine`` is the engine with its version, stored with every sample."""

    task: Task
    graders: Graders
    engine: str

    def made(self, wanted: Wanted, completion: Completion, seconds: float) -> Row:
        """The row of a completion that took ``seconds``."""
        transcript = {
            "steps": [{"kind": "text", "text": completion.text, "result": None}],
            "text": completion.text,
            "finish": completion.finish,
            "tokens": completion.tokens,
            "seconds": seconds,
        }
        row = self._start(wanted, wanted.id, transcript)
        row |= self.graders.grade(wanted.problem, completion.text)
        row["error"] = None
        row["logprob"] = completion.logprob
        row["prompt_tokens"] = completion.prompt_tokens
        return self._rest(wanted, row)

    def lost(self, wanted: Wanted, error: str, attempt: int) -> Row:
        """The row of a lost sample, under an id of its own, so that the sample's id stays free for the next try."""
        row = self._start(wanted, f"{wanted.id}!{attempt}", None)
        row |= {"grade": None, "key": None, "error": error}
        return self._rest(wanted, row)

    def _start(self, wanted: Wanted, id: str, transcript: Row | None) -> Row:
        return {"id": id, "problem": wanted.problem.id, "k": wanted.k, "transcript": transcript}

    def _rest(self, wanted: Wanted, row: Row) -> Row:
        problem = wanted.problem
        row["task"] = self.task.name
        row["question"] = problem.prompt
        row["reference"] = problem.answer
        row["seed"] = wanted.request.seed
        row["engine"] = self.engine
        row["prompt"] = wanted.request.prompt
        groups = {name: problem.meta[name] for name in GROUPS if name in problem.meta}
        if groups:
            row["groups"] = groups
        return row


def _score(scorer: Scorer, problem: Problem, text: str) -> Row:
    grade = scorer.grade(problem, text)
    return {"verdict": grade.verdict, "answer": grade.answer, "reason": grade.reason, "key": scorer.key(grade)}

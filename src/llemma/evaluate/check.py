"""Looks at a task without a model: data, prompt, stop strings, and whether its own answers are graded right."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from llemma.errors import Caught
from llemma.evaluate.config import load_tasks
from llemma.evaluate.rows import graders
from llemma.evaluate.settings import CheckConfig
from llemma.evaluate.tools import Programs
from llemma.records import Completion, Problem, Program, Scorer, Task

SHOWN = 5  # failures that are named


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at; ``ok`` is None for what is told and not judged."""

    name: str
    ok: bool | None
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A task and all that was found."""

    task: str
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(check.ok is not False for check in self.checks)


def check_tasks(config: CheckConfig) -> tuple[Checked, ...]:
    """Check each task. Raises ConfigError for an unknown one and DataError when its data cannot be had."""
    return tuple(check_task(task) for task in load_tasks(config.tasks, config.options))


def check_task(task: Task) -> Checked:
    """Every check that applies to the task."""
    checks = [_data(task), _problems(task), _prompt(task), _stops(task)]
    if task.state is not None:
        checks.append(_references("references, strict", task, Scorer(grade=task.grade, key=task.key), judged=True))
        others = {} if task.program else task.scorers  # what a program printed is not what a reference looks like
        checks += [_references(f"references, {name}", task, scorer, judged=False) for name, scorer in others.items()]
    checks += [_examples(task), _votes(task)]
    return Checked(task=task.name, checks=tuple(checks))


def _data(task: Task) -> Check:
    meta = task.meta
    if "published" not in meta:
        return Check(name="data", ok=None, detail=f"{len(task.problems)} problems, made here")
    detail = f"{meta['rows']} rows of {meta['hub']}, sha256 {meta['sha256'][:16]}…"
    if meta["published"]:
        return Check(name="data", ok=True, detail=detail)
    return Check(name="data", ok=False, detail=f"{detail}: not the published file")


def _problems(task: Task) -> Check:
    ids = Counter(problem.id for problem in task.problems)
    twice = [name for name, count in ids.items() if count > 1]
    empty = [problem.id for problem in task.problems if not (problem.prompt.strip() and problem.answer.strip())]
    bad = [*(f"{name} twice" for name in twice), *(f"{name} without text" for name in empty)]
    detail = _named(bad) if bad else f"{len(ids)}, each with an id of its own, a question and a reference"
    return Check(name="problems", ok=bool(ids) and not bad, detail=detail)


def _prompt(task: Task) -> Check:
    prompts = [task.prompt(problem) for problem in task.problems]
    prefix = _shared(min(prompts), max(prompts))
    written = "".join(shot.question + shot.completion for shot in task.shots)
    missing = [shot.question[:40] for shot in task.shots if shot.question + shot.completion not in prefix]
    origin = task.meta.get("prompt_origin", "this task")
    sha256 = task.meta.get("prompt_sha256")
    detail = f"{len(task.shots)} examples of {origin}" + (f", sha256 {sha256[:16]}…" if sha256 else "")
    if missing and len(prompts) > 1:
        return Check(name="prompt", ok=False, detail=f"not in front of every question: {_named(missing)}")
    return Check(name="prompt", ok=True, detail=f"{detail}, {len(written)} characters")


def _shared(one: str, other: str) -> str:
    """The characters that both texts begin with."""
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:same]


def _stops(task: Task) -> Check:
    """A stop string must not cut an answer: it may stand in an example's completion only at its end."""
    bad = []
    for stop in task.sampling.stop:
        for shot in task.shots:
            before, found, after = shot.completion.partition(stop)
            if found and after.strip():
                bad.append(f"{stop!r} within {shot.completion[:40]!r}")
    shown = ", ".join(map(repr, task.sampling.stop)) or "none"
    return Check(
        name="stop strings", ok=not bad, detail=_named(bad) if bad else f"{shown}; no example holds one inside"
    )


def _references(name: str, task: Task, scorer: Scorer, *, judged: bool) -> Check:
    """Every reference, stated as the examples state theirs, must be graded correct against itself.

    Of a scorer that is kept with its faults this is told and not judged.
    """
    assert task.state is not None
    state, wrong = task.state, []
    for problem in task.problems:
        grade = scorer.grade(problem, cut(state(problem), task))
        if grade.verdict != "correct":
            wrong.append(f"{problem.id} ({grade.verdict}: {grade.reason})")
    right = len(task.problems) - len(wrong)
    detail = f"{right} of {len(task.problems)} are correct against themselves"
    if wrong:
        detail += f"; not: {_named(wrong)}"
    return Check(name=name, ok=not wrong if judged else None, detail=detail)


def _examples(task: Task) -> Check:
    if task.program is not None:
        return _programs(task, task.program)
    wrong = []
    judge = graders(task, "strict").front.grade
    known = [shot for shot in task.shots if shot.answer is not None]
    for number, shot in enumerate(known, 1):
        problem = Problem(id=f"example {number}", prompt=shot.question, answer=shot.answer or "")
        grade = judge(problem, cut(shot.completion, task))
        if grade.verdict != "correct":
            wrong.append(f"{number} ({grade.verdict}: {grade.reason})")
    detail = f"{len(known) - len(wrong)} of {len(task.shots)} are graded correct"
    return Check(name="examples", ok=not wrong and len(known) == len(task.shots), detail=detail + _after(wrong))


def _programs(task: Task, program: Program) -> Check:
    """The examples' programs, run. Those with a stated answer must give it; of the others it is told which give none.

    The third example of the paper's MATH+Python prompt uses a name it never defines.
    """
    made = [Completion(text=cut(shot.completion, task), finish="stop") for shot in task.shots]
    judge = graders(task, "strict").front.grade
    wrong, silent, known = [], [], 0
    for number, (shot, done) in enumerate(zip(task.shots, Programs(program=program).finish(made), strict=True), 1):
        if isinstance(done, Caught):
            return Check(name="examples", ok=None, detail=f"{len(made)} programs, not run: {done.message}")
        problem = Problem(id=f"example {number}", prompt=shot.question, answer=shot.answer or "0")
        grade = judge(problem, done.text)
        said = f"{number} ({grade.verdict}: {grade.reason})"
        known += shot.answer is not None
        if shot.answer is not None and grade.verdict != "correct":
            wrong.append(said)
        elif grade.answer is None:
            silent.append(said)
    if known:
        return Check(
            name="examples", ok=not wrong, detail=f"{known - len(wrong)} of {known} programs are right{_after(wrong)}"
        )
    detail = f"{len(made) - len(silent)} of {len(made)} programs give a value, no answers are stated"
    return Check(name="examples", ok=None, detail=detail + _after(silent))


def _votes(task: Task) -> Check:
    if task.vote is None:
        return Check(name="vote", ok=None, detail="no published vote")
    vote = task.vote
    return Check(name="vote", ok=None, detail=f"maj@{vote.n}, temperature {vote.temperature:g}, top_p {vote.top_p:g}")


def cut(completion: str, task: Task) -> str:
    """A completion as a back end gives it: up to the first stop string."""
    ends = [place for stop in task.sampling.stop if (place := completion.find(stop)) >= 0]
    return completion[: min(ends)] if ends else completion


def _named(bad: list[str]) -> str:
    more = f" and {len(bad) - SHOWN} more" if len(bad) > SHOWN else ""
    return "; ".join(bad[:SHOWN]) + more


def _after(wrong: list[str]) -> str:
    return f"; not: {_named(wrong)}" if wrong else ""

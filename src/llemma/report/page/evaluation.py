"""An evaluation as the page shows it: figures, verdict counts, votes, and a few samples chosen by rule.

Two readings of the rows: the first keeps a few bytes per sample (votes and where its line begins), the second
fetches only the chosen samples. Nothing is graded here.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from llemma.grade.vote import maj_at_k, majority, pass_at_k
from llemma.report.page.read import Damage, Folder, finite, json_object, listed, rows, rows_at, table, whole, words
from llemma.report.tables import Figure, figures
from llemma.report.units import one_line

VERDICTS = ("correct", "wrong", "unparsable", "timeout", "unsafe", "error")
MOST_TASKS = 40
MOST_PROBLEMS = 4  # shown for each task of a run
MOST_ATTEMPTS = 2  # shown in full for each problem
MOST_VOTES = 8
NO_VOTE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """An answer, how many samples gave it, and their verdict."""

    answer: str
    count: int
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One sample in full; ``steps`` are (kind, text, result)."""

    k: int
    verdict: str
    answer: str | None
    reason: str
    finish: str
    tokens: int
    steps: tuple[tuple[str, str, str | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A problem chosen for the page: why it was chosen, the votes on it and some attempts."""

    why: str
    verdict: str
    problem: str
    question: str
    reference: str
    prompt: str
    samples: int
    votes: tuple[Vote, ...]
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """One task of an evaluation. ``curve`` holds (k, maj@k, pass@k) as the metrics define them."""

    task: str
    problems: int
    verdicts: Mapping[str, int]
    curve: tuple[tuple[int, float, float], ...]
    shown: tuple[Shown, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A whole evaluation run."""

    name: str
    label: str
    figures: tuple[Figure, ...]
    tasks: tuple[TaskResult, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Problem:
    """The samples of one problem in a few bytes each: place in the file, k, vote, outcome (1 correct, -1 error)."""

    offsets: array[int] = field(default_factory=lambda: array("q"))
    ks: array[int] = field(default_factory=lambda: array("q"))
    votes: array[int] = field(default_factory=lambda: array("q"))
    outcomes: array[int] = field(default_factory=lambda: array("b"))

    def in_order(self) -> list[int]:
        return sorted(range(len(self.ks)), key=lambda i: self.ks[i])

    def keys(self) -> list[str | None]:
        """The votes in order of k, without the samples that failed."""
        order = [i for i in self.in_order() if self.outcomes[i] >= 0]
        return [None if self.votes[i] == NO_VOTE else str(self.votes[i]) for i in order]

    def right(self) -> set[str]:
        """The keys of correct answers."""
        pairs = zip(self.votes, self.outcomes, strict=True)
        return {str(vote) for vote, outcome in pairs if outcome > 0 and vote != NO_VOTE}

    def solved(self) -> bool | None:
        """Whether the vote is won by a correct answer; None without any vote."""
        winner = majority(self.keys())
        return None if winner is None else winner in self.right()


@dataclass(slots=True)
class _Tally:
    problems: dict[str, _Problem] = field(default_factory=dict)
    verdicts: Counter[str] = field(default_factory=Counter)
    keys: dict[str, int] = field(default_factory=dict)

    def add(self, offset: int, row: Mapping[str, Any]) -> None:
        verdict = verdict_of(row)
        self.verdicts[verdict] += 1
        problem = self.problems.setdefault(one_line(words(row.get("problem")), 200), _Problem())
        key = row.get("key")
        problem.offsets.append(offset)
        problem.ks.append(max(-(1 << 40), min(1 << 40, whole(row.get("k")))))
        problem.votes.append(NO_VOTE if key is None else self.keys.setdefault(words(key)[:500], len(self.keys)))
        problem.outcomes.append({"correct": 1, "error": -1}.get(verdict, 0))


def read_evaluation(folder: Folder) -> Evaluation:
    """The evaluation in ``folder``; without ``metrics.json`` the samples so far are still shown."""
    metrics, trouble = json_object(folder.path, "metrics.json")
    damage = Damage()
    tallies: dict[str, _Tally] = {}
    left_out = 0
    for offset, row in rows(folder.path, damage):
        task = one_line(words(row.get("task")) or "unnamed task", 60)
        if task not in tallies and len(tallies) >= MOST_TASKS:
            left_out += 1
            continue
        tallies.setdefault(task, _Tally()).add(offset, row)
    label = folder.name.rsplit("/", 1)[-1]
    notes = [*([trouble] if trouble else []), *damage.notes()]
    if left_out:
        notes.append(f"{left_out} samples of further tasks are not shown")
    errors = sum(tally.verdicts["error"] for tally in tallies.values())
    if errors:
        notes.append(
            f"{errors} sample{'s' * (errors > 1)} failed for reasons outside the model (see the table of verdicts)"
        )
    stored = {
        one_line(words(e.get("task")), 60): table(e.get("curve")) for e in map(table, listed(metrics.get("tasks")))
    }
    return Evaluation(
        name=folder.name,
        label=label,
        figures=figures([table(entry) for entry in listed(metrics.get("tasks"))[:MOST_TASKS]], model=label),
        tasks=tuple(_result(folder, task, tally, stored.get(task, {})) for task, tally in tallies.items()),
        notes=tuple(notes),
    )


def verdict_of(row: Mapping[str, Any]) -> str:
    """The verdict of a row; ``error`` for one that failed or was never graded."""
    verdict = table(row.get("grade")).get("verdict")
    return verdict if isinstance(verdict, str) and verdict in VERDICTS else "error"


def _result(folder: Folder, task: str, tally: _Tally, stored: Mapping[str, Any]) -> TaskResult:
    chosen = _choose(tally)
    return TaskResult(
        task=task,
        problems=len(tally.problems),
        verdicts={name: tally.verdicts[name] for name in VERDICTS},
        curve=_stored_curve(stored) or _curve(tally),
        shown=tuple(_shown(folder, why, tally.problems[name]) for name, why in chosen.items()),
    )


def _stored_curve(stored: Mapping[str, Any]) -> tuple[tuple[int, float, float], ...]:
    """The curve of ``metrics.json``, which knows which answers are equal under different names; empty without one."""
    ks, maj, passed = (listed(stored.get(name)) for name in ("k", "maj", "passed"))
    points = [(whole(k), finite(m), finite(p)) for k, m, p in zip(ks, maj, passed, strict=False)]
    most = max((k for k, _, _ in points), default=0)
    shown = {*(1 << i for i in range(most.bit_length())), most}
    return tuple((k, m, p) for k, m, p in points if k in shown and m is not None and p is not None)


def _curve(tally: _Tally) -> tuple[tuple[int, float, float], ...]:
    problems = [problem for problem in tally.problems.values() if any(o >= 0 for o in problem.outcomes)]
    keys, right = [problem.keys() for problem in problems], [problem.right() for problem in problems]
    most = max(map(len, keys), default=0)
    if most < 2:
        return ()
    points = []
    for k in sorted({*(1 << i for i in range(most.bit_length())), most}):
        passed = [
            pass_at_k(len(ks), p.outcomes.count(1), min(k, len(ks))) for ks, p in zip(keys, problems, strict=True)
        ]
        points.append((k, fmean(maj_at_k(keys, right, k)), fmean(passed)))
    return tuple(points)


def _choose(tally: _Tally) -> dict[str, str]:
    """Problem → why it is shown: the first right, the first wrong, the first with votes apart, one unread."""
    rules: dict[str, Callable[[_Problem, bool | None], bool]] = {
        "the first problem solved": lambda p, voted: voted is True,
        "the first problem not solved": lambda p, voted: voted is False,
        "votes that disagree": lambda p, voted: len({v for v in p.votes if v != NO_VOTE}) > 1,
        "no sample with a readable answer": lambda p, voted: voted is None,
    }
    chosen: dict[str, str] = {}
    open_rules = dict(rules)
    for name, problem in tally.problems.items():
        if not open_rules:
            break
        voted = problem.solved()
        why = next((why for why, rule in open_rules.items() if rule(problem, voted)), None)
        if why is not None:
            chosen[name] = why
            del open_rules[why]
    order = list(rules)
    return dict(sorted(chosen.items(), key=lambda item: order.index(item[1]))[:MOST_PROBLEMS])


def _shown(folder: Folder, why: str, problem: _Problem) -> Shown:
    order = problem.in_order()
    found = list(rows_at(folder.path, (problem.offsets[i] for i in order[:256])))
    first: Mapping[str, Any] = found[0] if found else {}
    voted = problem.solved()
    verdict = None if voted is None else "correct" if voted else "wrong"
    return Shown(
        why=why,
        verdict=verdict or verdict_of(first),
        problem=one_line(words(first.get("problem")), 120),
        question=words(first.get("question")),
        reference=words(first.get("reference")),
        prompt=words(first.get("prompt")),
        samples=len(order),
        votes=_votes(found),
        attempts=tuple(_attempt(row) for row in _different(found)),
    )


def _votes(found: list[dict[str, Any]]) -> tuple[Vote, ...]:
    counts: Counter[str] = Counter()
    example: dict[str, dict[str, Any]] = {}
    for row in found:
        key = row.get("key")
        name = f"no vote: {verdict_of(row)}" if key is None else f"vote: {words(key)}"
        counts[name] += 1
        example.setdefault(name, row)
    votes = []
    for name, n in counts.most_common(MOST_VOTES):
        row = example[name]
        answer = words(table(row.get("grade")).get("answer")) if name.startswith("vote") else ""
        votes.append(Vote(answer=answer, count=n, verdict=verdict_of(row)))
    return tuple(votes)


def _different(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first sample, then the first of each other answer."""
    by_key: dict[str, dict[str, Any]] = {}
    for row in found:
        by_key.setdefault(words(row.get("key")), row)
    return list(by_key.values())[:MOST_ATTEMPTS]


def _attempt(row: Mapping[str, Any]) -> Attempt:
    grade, transcript = table(row.get("grade")), table(row.get("transcript"))
    answer = grade.get("answer")
    steps = [table(step) for step in listed(transcript.get("steps"))[:12]]
    told = [(words(s.get("kind")), words(s.get("text")), s.get("result")) for s in steps if s.get("text")]
    error = words(row.get("error"))
    return Attempt(
        k=whole(row.get("k")),
        verdict=verdict_of(row),
        answer=None if answer is None else words(answer),
        reason=words(grade.get("reason")) or error or "never graded",
        finish=one_line(words(transcript.get("finish")), 30),
        tokens=int(finite(transcript.get("tokens")) or 0),
        steps=tuple((kind, text, None if result is None else words(result)) for kind, text, result in told)
        or (("text", words(transcript.get("text")), None),),
    )

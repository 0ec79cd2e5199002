"""What scores need of the stored rows, in a few bytes per sample; knows no texts and computes no score.

A million samples take some tens of megabytes: per problem the k, the verdict and the vote of each sample, votes as
numbers into a list of the problem's distinct answers.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from llemma.records import GradeVerdict

VERDICTS: tuple[str, ...] = get_args(GradeVerdict)
CORRECT = VERDICTS.index("correct")
NO_VOTE = -1
MOST_SAMPLES = 1 << 20  # of one problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A sample as scores see it: its number, its verdict, the class it votes for."""

    k: int
    verdict: str
    key: str | None

    @property
    def correct(self) -> bool:
        """Whether it was judged right."""
        return self.verdict == "correct"


@dataclass(slots=True)
class _Marks:
    """The judgements of one scorer on one problem, in the order in which the samples came."""

    verdicts: array[int] = field(default_factory=lambda: array("b"))
    votes: array[int] = field(default_factory=lambda: array("i"))
    keys: dict[str, int] = field(default_factory=dict)  # each distinct vote and its number, in order of first sight
    answers: list[str] = field(default_factory=list)  # by that number, an answer that has the key

    def add(self, verdict: str, key: str | None, answer: str | None) -> None:
        self.verdicts.append(VERDICTS.index(verdict))
        if key is not None and key not in self.keys:
            self.keys[key] = len(self.keys)
            self.answers.append(answer if answer is not None else key)
        self.votes.append(NO_VOTE if key is None else self.keys[key])


@dataclass(slots=True)
class Problem:
    """The samples of one problem: which are there, how each scorer judged them, how often one was lost."""

    groups: Mapping[str, Any] = field(default_factory=dict)
    ks: array[int] = field(default_factory=lambda: array("i"))
    there: int = 0  # bit k is set when sample k is there: smaller than a set, faster than a search
    marks: dict[str, _Marks] = field(default_factory=dict)
    lost: dict[int, tuple[int, str]] = field(default_factory=dict)  # k → attempts, the last error

    def judged(self, scorer: str, most: int) -> list[Judged]:
        """The samples with k below ``most`` as this scorer judged them, in order of k."""
        marks = self.marks.get(scorer)
        if marks is None:
            return []
        found = []
        names = list(marks.keys)
        for i in sorted(range(len(self.ks)), key=self.ks.__getitem__):
            if self.ks[i] < most:
                vote = marks.votes[i]
                key = None if vote == NO_VOTE else names[vote]
                found.append(Judged(k=self.ks[i], verdict=VERDICTS[marks.verdicts[i]], key=key))
        return found

    def shown(self, scorer: str) -> dict[str, str]:
        """For every key that was voted for, an answer that has it."""
        marks = self.marks.get(scorer)
        return {} if marks is None else dict(zip(marks.keys, marks.answers, strict=True))

    def missing(self, most: int) -> list[str]:
        """The last error of each sample below ``most`` that was lost and not made since."""
        return [error for k, (_, error) in self.lost.items() if k < most and not self.there >> k & 1]


@dataclass(slots=True)
class Tally:
    """All rows of one task."""

    problems: dict[str, Problem] = field(default_factory=dict)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take up a row. Raises KeyError or ValueError when it is not a row of an evaluation."""
        problem = self.problems.get(row["problem"])
        if problem is None:
            problem = self.problems[row["problem"]] = Problem(groups=row.get("groups") or {})
        k = row["k"]
        if not 0 <= k < MOST_SAMPLES:
            raise ValueError(f"k={k}")
        if row["error"] is not None:
            attempts, _ = problem.lost.get(k, (0, ""))
            problem.lost[k] = attempts + 1, row["error"]
            return
        problem.ks.append(k)
        problem.there |= 1 << k
        self._mark(problem, row.get("scorer", "strict"), row["grade"], row["key"])
        for name, score in (row.get("scores") or {}).items():
            self._mark(problem, name, score, score.get("key"))

    def has(self, problem: str, k: int) -> bool:
        """Whether this sample is there."""
        found = self.problems.get(problem)
        return found is not None and bool(found.there >> k & 1)

    def attempts(self, problem: str, k: int) -> int:
        """How often this sample was lost."""
        found = self.problems.get(problem)
        return found.lost.get(k, (0, ""))[0] if found is not None else 0

    def scorers(self) -> list[str]:
        """The scorers that judged these rows, in the order first seen."""
        return list(dict.fromkeys(name for problem in self.problems.values() for name in problem.marks))

    @staticmethod
    def _mark(problem: Problem, scorer: str, grade: Mapping[str, Any], key: str | None) -> None:
        marks = problem.marks.setdefault(scorer, _Marks())
        # a sample that this scorer did not judge before it was added keeps its place
        while len(marks.votes) < len(problem.ks) - 1:
            marks.add("unparsable", None, None)
        marks.add(grade["verdict"], key, grade["answer"])

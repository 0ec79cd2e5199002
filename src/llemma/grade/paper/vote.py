"""The paper's majority vote, to the letter: ``MajorityVotingMixin.majority_vote`` of its harness."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

A = TypeVar("A", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperVote:
    """How a vote ended: the answer elected (as text), whether it is right, ``pass_rate`` as the original computes it.

    ``votes`` are the clusters by falling count. ``pass_rate`` is the share of the first cluster that the correct
    answer accepts, not of all samples it accepts.
    """

    elected: str | None
    correct: bool
    pass_rate: float
    votes: tuple[tuple[str, int], ...]
    reason: str


def cluster_vote(
    answers: Sequence[A],
    correct: A,
    same: Callable[[A, A], bool] = lambda one, other: one == other,
    invalid: A | None = None,
) -> PaperVote:
    """Elect one of ``answers`` and hold it against ``correct``.

    An answer joins the equal cluster, else the first cluster ``same(answer, its first answer)`` accepts, else founds
    one; the largest wins, the first seen among equals. Answers equal to ``invalid`` do not vote but stay in the
    denominator of ``pass_rate``; when it is ``None`` the caller has left invalid answers out, and they are in neither.
    With nothing but invalid answers the original raises IndexError: here the vote is lost and the reason says so.
    """
    valid = [answer for answer in answers if invalid is None or answer != invalid]
    if not valid:
        crashed = "; the original stops with IndexError here" if answers else ""
        return PaperVote(elected=None, correct=False, pass_rate=0.0, votes=(), reason=f"no valid answer{crashed}")
    clusters = _clusters(valid, same)
    votes = sorted(clusters.items(), key=lambda item: -item[1])  # stable: the first seen among equals
    elected, most = votes[0]
    right = same(correct, elected)
    accepted = most if right else next((n for answer, n in clusters.items() if same(correct, answer)), 0)
    tied = sum(count == most for _, count in votes)
    return PaperVote(
        elected=str(elected),
        correct=right,
        pass_rate=accepted / len(answers),
        votes=tuple((str(answer), count) for answer, count in votes),
        reason=f"{most} of {len(answers)} votes" + (f", first seen of {tied} with as many" if tied > 1 else ""),
    )


def _clusters(answers: Sequence[A], same: Callable[[A, A], bool]) -> dict[A, int]:
    """Votes by the first answer of each cluster, in the order of first sight."""
    clusters: dict[A, int] = {}
    for answer in answers:
        if answer in clusters:
            clusters[answer] += 1
            continue
        # The original compares with the clusters behind the first match too, to no effect but time.
        home = next((first for first in clusters if same(answer, first)), answer)
        clusters[home] = clusters.get(home, 0) + 1
    return clusters

"""Faults of Coq's kernel that are known to prove ``False``, by version, and what this package does about each.

Source: dev/doc/critical-bugs.md of rocq-prover/rocq (September 2026); here are those that text of a user can reach
without flags, plug-ins or crafted files. ``coqchk`` shares the faults of the guard and of conversion.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One fault: issue, first and first mended version, and which layer keeps it out."""

    issue: str
    what: str
    first: tuple[int, ...]
    mended: tuple[int, ...]
    kept_out: str


_GUARD = "kernel: every fixpoint is checked again by a guard of our own"
_GATE = "gate"
_SECOND = "second"
BUGS = (
    Bug(
        issue="20413",
        what="guard: arguments beside the structural one",
        first=(8, 16),
        mended=(9, 0, 1),
        kept_out=_GUARD,
    ),
    Bug(issue="20455", what="guard: match on match", first=(8, 16), mended=(9, 0, 1), kept_out=_GUARD),
    Bug(issue="20555", what="guard: reduction across fixpoints", first=(8, 16), mended=(9, 0, 1), kept_out=_GUARD),
    Bug(issue="21682", what="guard: mutual inner fixpoints", first=(8, 20), mended=(9, 2), kept_out=_GUARD),
    Bug(issue="21683", what="guard: uniform arguments", first=(9, 0, 1), mended=(9, 2), kept_out=_GUARD),
    Bug(issue="21701", what="guard: calls without arguments", first=(8, 20), mended=(9, 2), kept_out=_GUARD),
    Bug(issue="21797", what="guard: arguments of calls", first=(8, 20), mended=(9, 2), kept_out=_GUARD),
    Bug(issue="21839", what="guard: reduction in another context", first=(8, 16), mended=(9, 3), kept_out=_GUARD),
    Bug(issue="22389", what="guard: mutual cofixpoints", first=(0,), mended=(9, 2, 1), kept_out=_GUARD),
    Bug(issue="22378", what="conversion: let in constructors, SProp", first=(8, 14), mended=(9, 2, 1), kept_out=_GATE),
    Bug(issue="22376", what="universes: variance with SProp", first=(8, 13), mended=(9, 2, 1), kept_out=_GATE),
    Bug(issue="22380", what="lazy: match on polymorphic types", first=(8, 17), mended=(9, 2, 1), kept_out=_GATE),
    Bug(issue="21051", what="modules: strengthened functors", first=(8, 5), mended=(9, 0, 1), kept_out=_GATE),
    Bug(issue="21685", what="modules: aliased functors", first=(8, 5), mended=(9, 2), kept_out=_GATE),
    Bug(issue="22387", what="modules: types with let in constructors", first=(8, 14), mended=(9, 2), kept_out=_GATE),
    Bug(issue="18503", what="modules: primitives in module types", first=(8, 11), mended=(8, 19), kept_out=_GATE),
    Bug(issue="12155", what="modules: inlined parameters", first=(8, 6), mended=(99,), kept_out=_GATE + ", " + _SECOND),
    Bug(issue="19402", what="vm: addmuldiv of machine integers", first=(8, 10), mended=(8, 20), kept_out=_SECOND),
    Bug(issue="16957", what="vm: cached values of variables", first=(8, 1), mended=(8, 17), kept_out=_SECOND),
)


def affecting(version: tuple[int, ...]) -> tuple[Bug, ...]:
    """The faults of a version."""
    return tuple(bug for bug in BUGS if bug.first <= version < bug.mended)


def known_bugs(version: tuple[int, ...]) -> str:
    """The faults of a version on one line; empty when there is none."""
    return ", ".join(f"#{bug.issue} ({bug.what})" for bug in affecting(version))


def guard_is_faulty(version: tuple[int, ...]) -> bool:
    """Whether this version accepts fixpoints that do not end."""
    return any(bug.kept_out == _GUARD for bug in affecting(version))

"""A small prover without any installation: propositions and linear arithmetic over the rationals, in this process.

Real, if small: every proof is a term that ``kernel`` checks. Made to test searches deterministically and to show the
interface; nobody's benchmark is written for it. A file of its own looks like this::

    theorem and_comm : p & q -> q & p
    proof
      intro h
      cases h
      split
      exact h1
      exact h
    qed
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from llemma.errors import DataError
from llemma.provers import CHECK, TACTIC, Limits
from llemma.provers.toy import formula, kernel, tactics
from llemma.provers.toy.tactics import Sequent, TacticError
from llemma.records import Failure, Goal, ProofState, Theorem, Verdict, VerdictLayer

VERSION = "toy 1"
MOST_TACTICS = 150  # in a proof: terms are as deep as proofs are long, and the kernel recurses

# Told the name of a layer of the verdict, whether it holds and why; says whether it holds.
Checker = Callable[[str, bool, str], bool]

_HEAD = re.compile(r"theorem\s+([A-Za-z_][A-Za-z0-9_'.]*)\s*:\s*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the prover: none."""


@dataclass(frozen=True, slots=True)
class _Block:
    """A theorem as a file states it, with its proof when there is one; ``line`` counts from 1."""

    theorem: Theorem
    proof: str | None
    line: int


class Toy:
    """The prover; it has no processes and no state, so threads may share it."""

    name = "toy"
    version = VERSION
    info: Mapping[str, str] = {"version": VERSION, "walls": "none needed: nothing is run", "known bugs": "none"}

    def start(self, theorem: Theorem) -> ProofState | Failure:
        """The state before the first tactic; a Failure for a statement that is no formula."""
        try:
            goal = _statement(theorem)
        except formula.FormulaError as error:
            return Failure(kind="error", message=str(error))
        return ProofState(theorem=theorem, tactics=(), goals=(_shown(Sequent((), goal)),))

    def apply(self, state: ProofState, tactic: str, limits: Limits = TACTIC) -> ProofState | Failure:
        """The state after one tactic; pure, so a state stays valid for ever."""
        if not state.goals:
            return Failure(kind="error", message="there are no goals left")
        try:
            move = tactics.run(_read_goal(state.goals[0]), tactic)
            goals = (*map(_shown, move.goals), *state.goals[1:])
        except TacticError as error:
            return Failure(kind="forbidden" if error.forbidden else "error", message=str(error))
        except RecursionError:
            return Failure(kind="memory", message="the goal is nested too deeply")
        return ProofState(theorem=state.theorem, tactics=(*state.tactics, tactic.strip()), goals=goals)

    def check(self, theorem: Theorem, proof: str, limits: Limits = CHECK) -> Verdict:
        """Whether ``proof``, one tactic a line, proves the theorem."""
        return self._judge(theorem, [_Block(theorem, proof, 1)])

    def check_file(self, theorem: Theorem, text: str, limits: Limits = CHECK) -> Verdict:
        """The same for a file whose theorems may be used, by name, in the proofs after them."""
        begin = time.perf_counter()
        try:
            return self._judge(theorem, list(_blocks(text, "the file")))
        except DataError as error:
            layers = (VerdictLayer(name="gate", ok=False, detail=str(error)),)
            return Verdict(proved=False, axioms=(), layers=layers, seconds=time.perf_counter() - begin)

    def close(self) -> None:
        """Nothing to end."""

    def _judge(self, theorem: Theorem, blocks: Sequence[_Block]) -> Verdict:
        begin = time.perf_counter()
        layers: list[VerdictLayer] = []
        axioms: frozenset[str] = frozenset()

        def layer(name: str, ok: bool, detail: str) -> bool:
            layers.append(VerdictLayer(name=name, ok=ok, detail=detail))
            return ok

        found = [i for i, block in enumerate(blocks) if block.theorem.name == theorem.name]
        if layer("name", len(found) == 1, f"{theorem.name} is stated {len(found)} times"):
            try:
                wanted = _statement(theorem)
                axioms = _prove(blocks[: found[0] + 1], wanted, layer)
            except formula.FormulaError as error:
                layer("statement", False, str(error))
            except RecursionError:
                layer("kernel", False, "the proof is nested too deeply")
        return Verdict(
            proved=all(each.ok for each in layers),
            axioms=tuple(sorted(axioms)),
            layers=tuple(layers),
            seconds=time.perf_counter() - begin,
        )


def open(options: Options) -> Toy:
    """The prover; it is always there."""
    return Toy()


def read(text: str, source: str) -> list[Theorem]:
    """The statements of a file, in order; proofs are passed over. Raises DataError with the line."""
    return [block.theorem for block in _blocks(text, source)]


def script(path: Sequence[str]) -> str:
    """The proof text out of the tactics of a path: one a line."""
    return "\n".join(path)


def _blocks(text: str, source: str) -> Iterator[_Block]:
    """The theorems of a file; a statement goes on to ``proof``, the next theorem or an empty line."""
    lines = [line.partition("--")[0] for line in text.splitlines()]
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        start = at
        while at < len(lines) and lines[at].strip() not in ("", "proof") and (at == start or not _begins(lines[at])):
            at += 1
        where = f"{source}:{start + 1}"
        head = _HEAD.fullmatch(" ".join(lines[start:at]).strip())
        if head is None:
            raise DataError("expected `theorem NAME : FORMULA`", where=where)
        proof = None
        if at < len(lines) and lines[at].strip() == "proof":
            end = next((i for i in range(at, len(lines)) if lines[i].strip() == "qed"), None)
            if end is None:
                raise DataError("the proof has no `qed`", where=where)
            proof = "\n".join(lines[at + 1 : end])
            at = end + 1
        statement = f"theorem {head.group(1)} : {head.group(2).strip()}"
        yield _Block(Theorem(name=head.group(1), statement=statement), proof, start + 1)


def _begins(line: str) -> bool:
    return line.split(None, 1)[:1] == ["theorem"]


def _statement(theorem: Theorem) -> formula.Formula:
    """The formula of a theorem. Raises FormulaError."""
    head = _HEAD.fullmatch(theorem.statement.strip())
    if head is None or head.group(1) != theorem.name:
        raise formula.FormulaError(f"the statement does not begin with `theorem {theorem.name} :`")
    return formula.parse(head.group(2))


def _prove(blocks: Sequence[_Block], wanted: formula.Formula, layer: Checker) -> frozenset[str]:
    """The axioms of the last block's proof, which may use the blocks before it; ``layer`` is told what holds."""
    known: tactics.Hypotheses = ()
    lemmas: list[tuple[str, formula.Formula, kernel.Term]] = []
    term: kernel.Term | None = None
    for block in blocks:
        last, name = block is blocks[-1], block.theorem.name
        stated = _statement(block.theorem)
        if last and not layer("statement", stated == wanted, "as pinned" if stated == wanted else "another formula"):
            return frozenset()
        if name in {lemma for lemma, _ in known}:
            layer("name", False, f"{name} is stated twice")
            return frozenset()
        term = _term(block, Sequent(known, stated), layer)
        if term is None:
            return frozenset()
        lemmas.append((name, stated, term))
        known = (*known, (name, stated))
    assert term is not None
    for name, stated, proof in reversed(lemmas[:-1]):
        term = kernel.Have(name, stated, proof, term)
    layer("tactics", True, "no goals are left")
    try:
        axioms = kernel.check(term, wanted)
    except kernel.KernelError as error:
        layer("kernel", False, str(error))
        return frozenset()
    layer("kernel", True, "the proof term has the statement as its type")
    return axioms


def _term(block: _Block, goal: Sequent, layer: Checker) -> kernel.Term | None:
    """The proof term of a block's tactics; None when they do not close the goal, which ``layer`` is told."""
    if block.proof is None:
        layer("tactics", False, f"{block.theorem.name} has no proof")
        return None
    steps = [line.partition("--")[0].strip() for line in block.proof.splitlines()]
    steps = [step for step in steps if step]
    if len(steps) > MOST_TACTICS:
        layer("gate", False, f"{len(steps)} tactics: the prover takes {MOST_TACTICS}")
        return None
    todo = iter(steps)
    try:
        term = _fill(goal, todo)
    except TacticError as error:
        layer("gate" if error.forbidden else "tactics", False, str(error))
        return None
    left = next(todo, None)
    if term is None or left is not None:
        layer("tactics", False, "goals are left" if term is None else f"no goals are left for {left!r}")
        return None
    return term


def _fill(goal: Sequent, steps: Iterator[str]) -> kernel.Term | None:
    """The term that the tactics build for this goal, taking as many of them as it needs; None when they run out."""
    step = next(steps, None)
    if step is None:
        return None
    move = tactics.run(goal, step)
    proofs: list[kernel.Term] = []
    for each in move.goals:
        proof = _fill(each, steps)
        if proof is None:
            return None
        proofs.append(proof)
    return move.build(proofs)


def _shown(sequent: Sequent) -> Goal:
    hypotheses = tuple(f"{name} : {formula.show(known)}" for name, known in sequent.known)
    return Goal(hypotheses=hypotheses, conclusion=formula.show(sequent.goal))


def _read_goal(goal: Goal) -> Sequent:
    """The goal that ``_shown`` printed. Raises TacticError for one that it did not print."""
    known = []
    try:
        for text in goal.hypotheses:
            name, _, stated = text.partition(" : ")
            known.append((name, formula.parse(stated)))
        return Sequent(tuple(known), formula.parse(goal.conclusion))
    except formula.FormulaError as error:
        raise TacticError(f"this is no state of the toy prover: {error}") from error

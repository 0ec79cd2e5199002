"""Lean itself: tactics on saved states, verdicts, exploits and honest proofs. Needs a ``lean``."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from lean_cases import FALSE, Case, cases
from llemma.errors import ProverError
from llemma.provers import Limits, open_prover, state_key
from llemma.provers.lean.prover import LeanProver
from llemma.records import Failure, ProofState, Theorem, Verdict

HOW = "needs Lean 4 (https://lean-lang.org/install): LLEMMA_LEAN=PATH_OF_LEAN pytest -m slow tests/test_lean.py"
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

LIMITS = Limits(seconds=240, memory=4096)
AND = Theorem(name="t", statement="theorem t (a b : Nat) (h : a = b) : a + 1 = b + 1 ∧ b = a")


@pytest.fixture(scope="module")
def lean() -> Iterator[LeanProver]:
    try:
        prover = open_prover("lean")
    except ProverError as error:
        pytest.skip(f"{error}; {HOW}")
    assert isinstance(prover, LeanProver)
    yield prover
    prover.close()


def judged(lean: LeanProver, case: Case) -> Verdict:
    check = lean.check_file if case.whole else lean.check
    return check(case.theorem, case.text, LIMITS)


def after(lean: LeanProver, state: ProofState | Failure, *tactics: str) -> ProofState:
    for tactic in tactics:
        assert isinstance(state, ProofState), state
        state = lean.apply(state, tactic, LIMITS)
    assert isinstance(state, ProofState), state
    return state


def failure(lean: LeanProver, state: ProofState, tactic: str, limits: Limits = LIMITS) -> Failure:
    found = lean.apply(state, tactic, limits)
    assert isinstance(found, Failure), found
    return found


def layer(verdict: Verdict) -> str:
    return verdict.layers[-1].name


# --- tactics ----------------------------------------------------------------------------------------------------------


def test_goals_are_structured(lean):
    start = lean.start(AND)
    assert isinstance(start, ProofState)
    assert [(g.hypotheses, g.conclusion) for g in start.goals] == [
        (("a b : Nat", "h : a = b"), "a + 1 = b + 1 ∧ b = a")
    ]
    both = after(lean, start, "constructor")
    assert [g.conclusion for g in both.goals] == ["a + 1 = b + 1", "b = a"]
    assert both.tactics == ("constructor",)


def test_any_state_can_be_gone_on_from(lean):
    start = after(lean, lean.start(AND))
    left = after(lean, start, "constructor", "omega")
    right = after(lean, start, "subst h", "constructor", "rfl")
    assert len(left.goals) == len(right.goals) == 1
    assert after(lean, left, "omega").goals == () == after(lean, right, "rfl").goals
    assert after(lean, start, "exact ⟨by omega, h.symm⟩").goals == ()


def test_equal_goals_have_equal_keys(lean):
    start = lean.start(AND)
    assert state_key(after(lean, start, "refine ⟨?_, ?_⟩")) == state_key(after(lean, start, "constructor"))
    assert state_key(after(lean, start)) != state_key(after(lean, start, "constructor"))


@pytest.mark.parametrize(
    ("tactic", "kind", "says"),
    [
        ("omega_", "error", "unknown tactic"),
        ("exact h", "error", "mismatch"),
        ("cases a with\n| zero => skip\n| succ n => omega", "error", "unsolved goals"),
        ("have : 1 = 2 := by simp", "error", "False"),
        ("exact ⟨?a, ?b⟩", "error", "placeholder"),
        ("", "error", "no tactic"),
        ("sorry", "forbidden", "gives the goal up"),
        ("skip) <;> (skip", "forbidden", "parenthesis"),
        ("skip\n\ntheorem x : True := trivial", "forbidden", "declares"),
    ],
)
def test_a_tactic_that_fails_says_why(lean, tactic, kind, says):
    start = after(lean, lean.start(AND))
    found = failure(lean, start, tactic)
    assert found.kind == kind and says in found.message
    assert len(after(lean, start, "constructor").goals) == 2  # nothing has changed


def test_the_limits_of_the_prelude_count(lean):
    theorem = Theorem(name="t", statement=AND.statement, prelude="set_option maxHeartbeats 50\n")
    start = after(lean, lean.start(theorem))
    assert failure(lean, start, "have : ∀ x y : Fin 20, x + y = y + x := by decide").kind == "timeout"
    assert len(after(lean, start, "constructor").goals) == 2


def test_a_hole_that_is_left_is_no_proof(lean):
    some = Theorem(name="t", statement="theorem t : ∃ n : Nat, n = n")
    state = after(lean, lean.start(some), "apply Exists.intro")
    assert [goal.conclusion for goal in state.goals][:1] == ["?w = ?w"]
    assert after(lean, state, "exact (rfl : 3 = 3)").goals == ()


def test_a_refused_statement_is_a_failure(lean):
    found = lean.start(Theorem(name="t", statement="theorem t (n : Nat) : n + 1"))
    assert isinstance(found, Failure) and "statement is refused" in found.message
    found = lean.start(Theorem(name="t", statement="theorem t : True", prelude="def x : Nat := y\n"))
    assert isinstance(found, Failure) and "prelude is refused" in found.message
    with pytest.raises(ProverError, match="trusted statement of t is refused"):
        lean.check(Theorem(name="t", statement="theorem t (n : Nat) : n + 1"), "trivial")


def test_the_prelude_counts(lean):
    theorem = Theorem(
        name="A.t", statement="theorem t : two = p", prelude="namespace A\ndef two := 2\nvariable (p : Nat)\n"
    )
    start = lean.start(theorem)
    assert isinstance(start, ProofState) and start.goals[0].hypotheses == ("p : Nat",)
    given = Theorem(name="A.t", statement="theorem t (h : p = 2) : two = p", prelude=theorem.prelude)
    assert after(lean, lean.start(given), "rw [h]; rfl").goals == ()
    assert lean.check(given, "rw [h]; rfl").proved


def test_a_killed_worker_costs_nothing_but_time(lean):
    both = after(lean, lean.start(AND), "constructor")
    child = lean._worker.process._child
    assert child is not None
    os.killpg(child.pid, signal.SIGKILL)
    assert after(lean, both, "omega", "omega").goals == ()


def test_time_is_up(lean):
    start = after(lean, lean.start(AND))
    found = failure(
        lean, start, "set_option maxHeartbeats 0 in repeat (first | skip)", Limits(seconds=1.0, memory=4096)
    )
    assert found.kind in ("timeout", "crash", "memory")
    assert after(lean, start, "constructor", "omega", "omega").goals == ()


def test_threads_wait_for_each_other(lean):
    start = after(lean, lean.start(AND))
    found: list[ProofState | Failure] = []
    threads = [
        threading.Thread(target=lambda: found.append(lean.apply(start, "constructor", LIMITS))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(state.goals) for state in found if isinstance(state, ProofState)] == [2] * 8


# --- verdicts ---------------------------------------------------------------------------------------------------------


def test_a_verdict_names_its_layers(lean):
    verdict = lean.check(AND, "exact ⟨congrArg (· + 1) h, by omega⟩")
    assert verdict.proved and all(step.ok and step.detail for step in verdict.layers)
    assert [step.name for step in verdict.layers] == [
        "gate",
        "compile",
        "exists",
        "pinned",
        "axioms",
        "second",
        "kernel",
    ]


def test_axioms_are_named(lean):
    excluded = Theorem(name="t", statement="theorem t (p : Prop) : p ∨ ¬p", prelude="axiom extra : True\n")
    verdict = lean.check(excluded, "have := extra; exact Classical.em p")
    assert verdict.proved and "extra" in verdict.axioms
    assert lean.check(AND, "constructor <;> simp [h]").proved


def test_no_exploit_is_believed(lean):
    fooled = [case.id for case in cases("lean_exploits.txt") if judged(lean, case).proved]
    assert fooled == []


def test_no_honest_proof_is_refused(lean):
    refused = {}
    for case in cases("lean_honest.txt"):
        verdict = judged(lean, case)
        if not verdict.proved:
            refused[case.id] = verdict.layers[-1]
    assert refused == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"axiom h : False\n{FALSE} := h.elim", "axioms"),
        ("theorem t (n : Nat) : n + 0 = n := rfl", "pinned"),
        ("theorem s : True := trivial", "exists"),
        (f"{FALSE} := by omega", "compile"),
        (f"{FALSE} := by sorry", "gate"),
    ],
)
def test_each_layer_refuses_what_is_its_own(lean, text, expected):
    verdict = lean.check_file(Theorem(name="t", statement=FALSE), text, LIMITS)
    assert not verdict.proved and layer(verdict) == expected


def test_a_file_with_programs_of_its_own_has_a_worker_for_itself(lean, monkeypatch):
    """As before Lean 4.28, where a macro could run a program: one worker for both readings, which ends with them."""
    made, process = [], lean._process
    monkeypatch.setattr(lean, "_process", lambda part: made.append(process(part)) or made[-1])
    monkeypatch.setattr(lean, "toolchain", replace(lean.toolchain, number=(4, 27, 0)))
    theorem = Theorem(name="t", statement="theorem t : two = 2", prelude="def two := 2\n")
    text = 'macro "finish_it" : tactic => `(tactic| rfl)\ntheorem t : two = 2 := by finish_it\n'
    assert lean.check_file(theorem, text, LIMITS).proved  # behind the prelude: alone it knows no `two`
    assert [(one.part, one.starts, one.alive) for one in made] == [("worker", 1, False)]


def test_declarations_are_not_believed_either(lean):
    """What a prover that was taken over could send: the judge sees through it without the gate or the worker."""
    theorem = Theorem(name="t", statement=FALSE)
    modules = lean._worker.modules(())
    trusted = lean._judge.trust(theorem, modules)
    names = [[0, "t"], [0, "True"], [2, "intro"], [0, "False"], [0, "propext"], [0, "Nat"], [6, "add"]]
    true, intro, no = [2, 2, []], [2, 3, []], [2, 4, []]

    def sent(decls: list[list[object]], exprs: list[list[object]], root: int = 1) -> str:
        data = {"root": root, "names": names, "levels": [[0]], "exprs": exprs, "decls": decls}
        found = lean._judge.judge(trusted, data, 60, 4096)
        assert not isinstance(found, Failure)
        return found.refused or found.pinned or str(found.bad)

    exprs: list[list[object]] = [true, intro, no]
    assert "declaration type mismatch" in sent([["theorem", 1, [], 3, 2, 0, False]], exprs)  # False by True.intro
    assert "declaration type mismatch" in sent([["theorem", 1, [], 1, 2, 0, False]], exprs)  # another statement
    assert "already" in sent([["axiom", 5, [], 3, 0, 0, False], ["theorem", 1, [], 3, 2, 0, False]], exprs)
    assert "already" in sent([["def", 7, [], 1, 2, 0, False]], exprs)  # Nat.add
    assert "neither a theorem" in sent([["axiom", 1, [], 3, 0, 0, False]], exprs)
    assert "not the name of the statement" in sent([], exprs, root=3)
    assert "not among the declarations" in sent([], exprs)
    assert "no expression" in sent([["theorem", 1, [], 9, 2, 0, False]], exprs)
    assert sent([["theorem", 1, [], 0, 0, 0, False]], exprs) not in ("", "()")
    family = ["inductive", 3, [], 0, [[3, 4, []]], 0, False]  # its type holds a projection
    assert "projection" in sent([family], [*exprs, [9, 2, 0, 2]])
    assert "not a safe declaration" in sent([["def", 1, [], 1, 2, 0, True]], exprs)

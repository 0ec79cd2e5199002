"""Coq without verdicts: sentences, the gate, states as values, limits, crashes, statements of files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from llemma.errors import DataError
from llemma.provers import Limits, open_prover, state_key
from llemma.provers.coq import CoqProver, compat, gate, guard, read, script
from llemma.provers.coq.sentences import Torn, split
from llemma.provers.coq.terms import printed
from llemma.provers.coq.worker import Lost
from llemma.records import Failure, ProofState, Theorem

needs_coq = pytest.mark.skipif(
    shutil.which("coqc") is None, reason="no Coq: apt-get install coq libcoq-coquelicot libcoq-mathcomp-ssreflect"
)
ADD = Theorem(name="t", statement="Theorem t : forall n : nat, n + 0 = n.")


@pytest.fixture(scope="module")
def coq():
    prover = open_prover("coq", {"workers": 2})
    yield prover
    prover.close()


def started(coq: CoqProver, theorem: Theorem = ADD) -> ProofState:
    state = coq.start(theorem)
    assert isinstance(state, ProofState), state
    return state


def after(coq: CoqProver, state: ProofState, *tactics: str) -> ProofState:
    for tactic in tactics:
        found = coq.apply(state, tactic)
        assert isinstance(found, ProofState), (tactic, found)
        state = found
    return state


# --- text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("intros n. auto.", ["intros n.", "auto."]),
        ("- auto. + { split. }", ["-", "auto.", "+", "{", "split.", "}"]),
        ("exact (Nat.add 1.5 2). f.(x) y.", ["exact (Nat.add 1.5 2).", "f.(x) y."]),
        ('idtac "a. b (* "". "; auto.', ['idtac "a. b (* "". "; auto.']),
        ('auto (* a. (* b. *) "*) ." *) . auto...', ["auto   .", "auto..."]),
        ("1: { auto. } 2-3: auto.", ["1: {", "auto.", "}", "2-3: auto."]),
        ('Notation "x , .. , y" := (c x .. (c y n) ..).', ['Notation "x , .. , y" := (c x .. (c y n) ..).']),
        ("exact 1.(* end *) Qed.", ["exact 1.", "Qed."]),
    ],
)
def test_sentences_end_where_coq_ends_them(text: str, sentences: list[str]) -> None:
    assert [sentence.text for sentence in split(text)] == sentences


@pytest.mark.parametrize("text", ["auto. (* never closed", 'idtac "x.', "auto. intros", '(* " *) auto.'])
def test_a_text_that_does_not_end_is_torn(text: str) -> None:
    with pytest.raises(Torn):
        split(text)


@pytest.mark.parametrize("text", ["Axiom a : False.", "Qed. Theorem u : True.", "admit.", "#[x] auto.", "Abort."])
def test_the_gate_lets_only_tactics_through(text: str) -> None:
    with pytest.raises(gate.Refused):
        gate.tactics(text)


def test_tactics_of_the_prelude_may_begin_with_a_capital() -> None:
    assert gate.capital_tactics(split('Ltac Easy := auto. Tactic Notation "Case" := auto.')) == {"Easy", "Case"}
    assert gate.tactics("Easy.", {"Easy"}).sentences
    with pytest.raises(gate.Refused):
        gate.tactics("Hard.", {"Easy"})


def test_statements_are_read_with_or_without_what_follows() -> None:
    text = (
        "Require Import Arith.\nTheorem a : 1 = 1.\nProof.\nAdmitted.\n(* Lemma no : x. *)\nLemma b (x := 1) : x = x."
    )
    one, two = read(text, "x.v")
    assert (one.name, one.statement, one.prelude) == ("a", "Theorem a : 1 = 1.", "Require Import Arith.\n")
    assert two.name == "b" and two.prelude.endswith("(* Lemma no : x. *)\n")
    assert [theorem.name for theorem in read("Theorem u : True.\n\nProof.\n\n", "u.v")] == ["u"]
    with pytest.raises(DataError, match=r"x\.v"):
        read("Definition a := 1.", "x.v")


def test_statements_for_newer_libraries_are_adapted_and_others_left_alone() -> None:
    text = "From Stdlib Require Import Reals.\nRequire Import Coquelicot.Coquelicot.\nTheorem t : True."
    old = compat.adapt(text, version=(8, 16, 1), powers=False)
    assert "From Coq Require Import Reals." in old and old.index("Cpow") > old.index("Coquelicot.Coquelicot")
    assert compat.adapt(text, version=(9, 1), powers=True) == text


def test_a_script_is_its_tactics() -> None:
    assert script(["intros n.", " auto. "]) == "intros n.\nauto.\n"


GOOD = """f =
fix f (n : nat) (l : list nat) {struct l} : nat :=
  match l return nat with
  | nil => n
  | cons x r => f (S n) r
  end
     : forall (_ : nat) (_ : list nat), nat
"""
BAD = """g =
fix g (n x : nat) {struct n} : nat :=
  match n return nat with
  | O => O
  | S k => g match match n return nat with
                   | O => x
                   | S m => n
                   end return nat with
             | O => k
             | S j => j
             end x
  end
     : forall (_ : nat) (_ : nat), nat
"""


def test_the_second_guard_tells_parts_from_others() -> None:
    good, bad = printed(GOOD), printed(BAD)
    assert good is not None and bad is not None
    guard.check(good, lambda name: None)
    with pytest.raises(guard.Unguarded):
        guard.check(bad, lambda name: None)
    assert printed("*** [ a : False ]") is None


# --- states -----------------------------------------------------------------------------------------------------------


@needs_coq
def test_a_state_is_a_value(coq: CoqProver) -> None:
    start = started(coq)
    split_up = after(coq, start, "induction n.")
    assert [goal.conclusion for goal in split_up.goals] == ["0 + 0 = 0", "S n + 0 = S n"]
    done = after(coq, split_up, "- reflexivity.", "- simpl. now rewrite IHn.")
    assert done.goals == () and done.tactics == ("induction n.", "- reflexivity.", "- simpl. now rewrite IHn.")
    assert after(coq, start, "intros n").goals[0].hypotheses == ("n : nat",)  # the full stop may be missing
    again = after(coq, split_up, "reflexivity.")
    assert state_key(again) == state_key(after(coq, split_up, "easy."))


@needs_coq
@pytest.mark.parametrize(
    ("tactic", "kind"),
    [
        ("foo.", "error"),
        ("exact_no_check I.", "error"),
        ("fix IH 1. exact IH.", "error"),
        ("admit.", "forbidden"),
        ("Abort.", "forbidden"),
        ("auto. Qed.", "forbidden"),
        ("(* nothing *)", "forbidden"),
        ("idtac \0.", "error"),
    ],
)
def test_what_is_no_step_is_a_failure(coq: CoqProver, tactic: str, kind: str) -> None:
    start = started(coq)
    failed = coq.apply(start, tactic)
    assert isinstance(failed, Failure) and failed.kind == kind, failed
    assert after(coq, start, "intros n.").goals


@needs_coq
def test_a_shelved_goal_is_still_a_goal(coq: CoqProver) -> None:
    assert after(coq, started(coq), "shelve.").goals


@pytest.mark.slow
@needs_coq
def test_a_tactic_over_its_time_or_memory_costs_only_itself(coq: CoqProver) -> None:
    start = started(coq)
    slow = coq.apply(start, "do 1000000000 idtac.", Limits(seconds=0.5))
    assert isinstance(slow, Failure) and slow.kind == "timeout"
    state = after(coq, start, "pose (f := fix f n := match n with 0 => 1 | S k => f k + f k end : nat).")
    large = coq.apply(state, "assert (f 40 = 0) by (vm_compute; reflexivity).", Limits(seconds=60, memory=200))
    assert isinstance(large, Failure) and large.kind in ("memory", "crash"), large
    assert after(coq, start, "intros n.").goals


@needs_coq
def test_a_killed_worker_costs_a_fraction_of_a_second(coq: CoqProver) -> None:
    if coq.session.shim.path is None:
        pytest.skip("cloning needs a C compiler: apt-get install gcc libc6-dev")
    state = after(coq, started(coq), "induction n.", "reflexivity.")
    for _ in range(3):
        for pid in coq.session.processes():
            if pid not in [base.seat.worker.pid for base in coq.session._bases.values()]:
                os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        assert after(coq, state, "simpl.").goals
        assert time.monotonic() - began < 10  # measured: 0.02 s


@needs_coq
def test_a_clone_of_a_dead_process_fails_at_once_and_harms_no_other(coq: CoqProver) -> None:
    if coq.session.shim.path is None:
        pytest.skip("cloning needs a C compiler: apt-get install gcc libc6-dev")
    with coq.session.at("", []) as seat:
        twin, third = seat.worker.clone(), seat.worker.clone()
        os.kill(twin.pid, signal.SIGKILL)
        began = time.monotonic()
        with pytest.raises(Lost):
            twin.clone()
        assert time.monotonic() - began < 10
        fourth = third.clone()  # what was sent for the dead one is not taken for this
        assert fourth.pid != third.pid
        third.kill()
        fourth.kill()


@needs_coq
def test_siblings_of_a_slow_tactic_are_not_cloned_again_and_again(coq: CoqProver) -> None:
    state = after(coq, started(coq), "intros n.")
    slow = 'do 3000000 idtac; idtac "x".'
    for _ in range(6):
        after(coq, state, slow)
    assert len(coq.session.processes()) < 20
    before = coq.session._admitted
    for _ in range(6):
        after(coq, state, slow)
    assert coq.session._admitted - before <= 1


@needs_coq
def test_when_every_process_is_killed_the_state_still_holds(coq: CoqProver) -> None:
    state = after(coq, started(coq), "induction n.")
    for pid in coq.session.processes():
        os.kill(pid, signal.SIGKILL)
    assert after(coq, state, "reflexivity.").goals


@needs_coq
def test_replay_gives_the_same_states_as_cloning(coq: CoqProver) -> None:
    replaying = open_prover("coq", {"clone": False, "workers": 1})
    try:
        for prover in (coq, replaying):
            one = after(prover, started(prover), "induction n.", "reflexivity.")
            two = after(prover, started(prover), "intros n.")
            assert isinstance(prover.apply(two, "reflexivity."), Failure)
            assert after(prover, one, "simpl. now rewrite IHn.").goals == ()
        assert len(replaying.session.processes()) == 1
    finally:
        replaying.close()


@needs_coq
def test_nothing_is_left_when_it_is_closed() -> None:
    prover = open_prover("coq", {})
    after(prover, started(prover), "intros n.")
    pids = prover.session.processes()
    prover.close()
    assert pids and not any(Path(f"/proc/{pid}").exists() for pid in pids)


@needs_coq
@pytest.mark.parametrize(
    "theorem",
    [
        Theorem(name="t", statement="Theorem t : foo."),
        Theorem(name="t", statement="Theorem t : True.", prelude="Require Import Nowhere."),
        Theorem(name="t", statement="Theorem t : True.", prelude="Definition a := (1."),
        Theorem(name="t", statement="Theorem t : True. Proof. exact I. Qed."),
    ],
)
def test_a_statement_coq_refuses_is_a_failure(coq: CoqProver, theorem: Theorem) -> None:
    failed = coq.start(theorem)
    assert isinstance(failed, Failure) and failed.kind == "error" and failed.message


@needs_coq
@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("LLEMMA_COQ_ALL"), reason="three minutes: LLEMMA_COQ_ALL=1 make test, with LLEMMA_DATA"
)
def test_every_statement_of_minif2f_is_read_and_parsed(coq: CoqProver) -> None:
    text = Path(os.environ["LLEMMA_DATA"], "minif2f_all.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    theorems = []
    for row in rows:
        if "rocq" in row:
            found = read(compat.here(row["rocq"]), row["name"])
            theorems += [theorem for theorem in found if theorem.name == row["name"]]
    failed = [theorem.name for theorem in theorems if isinstance(coq.start(theorem), Failure)]
    assert len(theorems) == 488 and failed == []

"""Our library of theorems: the same in both languages, every known proof right, nothing of it in training text."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from llemma.errors import ConfigError
from llemma.provers import module, open_prover, theorem_hash
from llemma.records import Failure
from llemma.sources.proofs.draw import held_out, statements
from llemma.tasks import library
from llemma.tasks.library import Options, proofs, text, theorems

needs_coq = pytest.mark.skipif(shutil.which("coqc") is None, reason="needs Coq: apt-get install coq")
needs_lean = pytest.mark.skipif(shutil.which("lean") is None, reason="needs Lean: a `lean` on PATH")


def test_both_languages_hold_the_same_theorems_in_the_same_order() -> None:
    assert list(proofs("coq")) == list(proofs("lean"))
    assert len(proofs("coq")) == 98
    assert all(len(tactics) >= 1 for tactics in (*proofs("coq").values(), *proofs("lean").values()))


def test_the_provers_read_every_theorem_with_one_prelude() -> None:
    for language in ("coq", "lean"):
        found = theorems(Options(prover=language))
        assert [theorem.name for theorem in found] == list(proofs(language))
        assert len({theorem.prelude for theorem in found}) == 1
        assert len({theorem_hash(theorem) for theorem in found}) == 98
        assert all("sorry" not in theorem.statement and "Proof" not in theorem.statement for theorem in found)
    assert {theorem.meta["category"] for theorem in found} == {
        "logic", "truth values", "natural numbers", "whole numbers", "lists", "trees",
    }  # fmt: skip


def test_splits_are_parts_of_the_whole() -> None:
    steps, single = theorems(Options(split="steps")), theorems(Options(split="single"))
    assert (len(steps), len(single)) == (63, 35)
    assert {t.name for t in (*steps, *single)} == set(proofs("coq"))
    assert {t.name for t in single} == library.SINGLE


def test_another_prover_is_told_what_there_is() -> None:
    with pytest.raises(ConfigError, match="written for coq and lean, not for toy"):
        theorems(Options(prover="toy"))


def test_no_proof_gives_its_goal_up() -> None:
    for language in ("coq", "lean"):
        assert not re.search(r"\b(?:admit|Admitted|sorry|native_decide|axiom|Axiom)\b", text(language))


def test_training_text_is_held_back_from_every_theorem() -> None:
    assert len(held_out()) == len(statements(text("coq"))) == 98


@needs_coq
def test_coq_accepts_every_proof(tmp_path: Path) -> None:
    (tmp_path / "library.v").write_text(text("coq"), encoding="utf-8")
    command = ["coqc", "-q", "library.v"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@needs_lean
@pytest.mark.slow
def test_lean_accepts_every_proof(tmp_path: Path) -> None:
    (tmp_path / "library.lean").write_text(text("lean"), encoding="utf-8")
    command = ["lean", "library.lean"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1000, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.slow
@needs_coq
def test_known_proofs_are_paths_of_a_search_and_pass_the_check() -> None:
    prover = open_prover("coq")
    try:
        for theorem in theorems(Options())[::7]:
            state = prover.start(theorem)
            for tactic in proofs("coq")[theorem.name]:
                assert not isinstance(state, Failure), (theorem.name, state)
                state = prover.apply(state, tactic)
            assert not isinstance(state, Failure) and state.goals == (), theorem.name
        for name in ("climb_all", "int_two_squares"):
            (theorem,) = [each for each in theorems(Options()) if each.name == name]
            verdict = prover.check(theorem, "\n".join(proofs("coq")[name]))
            assert verdict.proved and verdict.axioms == (), (name, verdict)
            assert not prover.check(theorem, "\n".join(proofs("coq")[name][:-1])).proved
    finally:
        prover.close()


@needs_lean
@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_lean_takes_and_checks_known_proofs() -> None:
    prover = open_prover("lean")
    try:
        for theorem in theorems(Options(prover="lean"))[::33]:
            state = prover.start(theorem)
            for tactic in proofs("lean")[theorem.name]:
                assert not isinstance(state, Failure), (theorem.name, state)
                state = prover.apply(state, tactic)
            assert not isinstance(state, Failure) and state.goals == (), theorem.name
            verdict = prover.check(theorem, module("lean").script(proofs("lean")[theorem.name]))
            assert verdict.proved, (theorem.name, verdict)
    finally:
        prover.close()

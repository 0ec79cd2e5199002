"""Proof search against real data: the paper's recorded runs, miniF2F. Skipped without LLEMMA_DATA."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llemma.config import resolve
from llemma.errors import DataError
from llemma.evaluate.config import load_tasks
from llemma.fetch import data_folder
from llemma.prove.prompts import tactic_asker
from llemma.prove.recorded import recompute
from llemma.prove.theorems import load
from llemma.records import Goal, ProofState, Theorem
from llemma.tasks import minif2f

DATA = data_folder()
RECORDED = (DATA or Path("none")) / "recorded" / "formal2formal"
with_data = pytest.mark.skipif(
    not minif2f.available() or not RECORDED.is_dir(),
    reason="LLEMMA_DATA=FOLDER python -m pytest tests/test_prove_data.py (minif2f_all.jsonl and recorded/ in FOLDER)",
)

# Azerbayev et al. 2024, table 5, as counts of 244; the rest of each line is not in the paper.
PAPER = {
    "codellama7b": (50, 39, 39, 6),
    "codellama34b": (54, 45, 45, 0),
    "llemma7b": (64, 42, 42, 10),
    "llemma34b": (63, 49, 49, 1),
}


@with_data
def test_the_papers_scores_are_recomputed_from_its_recorded_outputs():
    runs = {run.model: run for run in recompute(RECORDED)}
    found = {m: (r.count, r.first, r.single, r.failures.get("DojoCrashError", 0)) for m, r in runs.items()}
    assert found == PAPER and all(run.proved.n == 244 for run in runs.values())
    solved = [set(run.theorems) for run in runs.values()]
    assert (len(set.union(*solved)), len(set.intersection(*solved))) == (70, 40)


@with_data
def test_the_command_recomputes_them(llemma):
    done = llemma("prove", f"replay:{RECORDED}", "--json")
    assert {r["model"]: r["count"] for r in json.loads(done.stdout)["runs"]} == {m: n[0] for m, n in PAPER.items()}
    assert "llemma7b: 64 of 244; 42 at the first expansion" in llemma("prove", f"replay:{RECORDED}").stdout


@pytest.mark.parametrize("text", ["[]", "{}", '{"results": [1]}', '{"results": [{"example": {}}]}', "no json"])
def test_what_is_no_recording_is_refused(tmp_path, text):
    (tmp_path / "x_minif2f.json").write_text(text)
    with pytest.raises(DataError, match=r"x_minif2f\.json"):
        recompute(tmp_path)


@with_data
@pytest.mark.parametrize("split", ["test", "valid"])
@pytest.mark.parametrize(("prover", "language"), [("coq", "coq"), ("lean", "lean4"), ("lean", "lean4_llemma")])
def test_every_statement_is_cut_out_of_its_file_whole(split, prover, language):
    source = load("minif2f", prover, {"split": split, "language": language})
    assert len(source.theorems) == 244 and source.meta["published"] and len(source.meta["sha256"]) == 64
    for theorem in source.theorems:
        assert "sorry" not in theorem.statement and "Admitted" not in theorem.statement
        first = theorem.statement.split()
        assert first[0] in ("Theorem", "Lemma", "theorem") and first[1].rstrip(":") == theorem.name
        assert theorem.statement.endswith(".") if prover == "coq" else not theorem.statement.endswith((":=", "by"))
        assert theorem.meta["category"]
    assert sum(bool(theorem.meta["informal"]) for theorem in source.theorems) > 230


@with_data
def test_powers_of_complex_numbers_are_added_where_a_statement_needs_them():
    found = [t for split in ("test", "valid") for t in minif2f.theorems(minif2f.Options(split=split))]
    assert sum(minif2f.COQ_POWERS in theorem.prelude for theorem in found) == 11


@with_data
def test_minif2f_is_a_task_of_whole_proofs():
    (task,) = load_tasks(["minif2f"], {"split": "valid"})
    assert len(task.problems) == 244 and task.meta["published"] and task.sampling.stop[0] == "Qed."
    assert task.prompt(task.problems[0]).endswith(f"{task.problems[0].prompt}\nProof.\n")
    assert task.grade(task.problems[0], "  ").verdict == "unparsable"


@with_data
def test_the_papers_prompt_is_used_byte_for_byte():
    goal = Goal(hypotheses=("x : ℝ",), conclusion="x = %s")
    state = ProofState(theorem=Theorem(name="t", statement="theorem t"), tactics=(), goals=(goal,))
    asker = tactic_asker("lean", "paper")
    assert asker.meta["prompt"] == "paper" and asker.meta["shots"] == 3
    assert asker.ask(state).endswith("\nTactic state:\n---\nx : ℝ\n⊢ x = %s\n---\nNext tactic:\n---")
    assert asker.ask(state).startswith("Given the Lean 4 tactic state, suggest a next tactic.\n")


def test_without_the_data_the_remedy_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("LLEMMA_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"needs minif2f_all\.jsonl: rows with .* set LLEMMA_DATA"):
        load("minif2f", "coq", {})


def test_settings_of_the_task_name_their_prover():
    assert resolve(minif2f.Options, words=["prover=lean"]).written == "lean4"
    assert resolve(minif2f.Options, words=["prover=lean", "language=lean4_llemma"]).written == "lean4_llemma"

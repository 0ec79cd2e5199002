"""Generated theorems: deterministic, distinct, none of the library's, taken by Coq, recorded as its prover shows."""

from __future__ import annotations

import collections
import gzip
import itertools
import json
import re
import shutil
from pathlib import Path
from random import Random

import pytest

from llemma.errors import DataError
from llemma.prove.prompts import tactic_asker, training_text, whole_prompt
from llemma.provers import open_prover
from llemma.records import Failure, Goal, ProofState, Theorem, to_row
from llemma.sources import proofs as source
from llemma.sources.proofs import booleans, induction, logic, record
from llemma.sources.proofs.base import Draft, normal, shape
from llemma.sources.proofs.draw import FAMILIES, drafts, held_out, prelude, statements
from llemma.sources.proofs.record import Recorded, flat
from llemma.tasks.library import text

needs_coq = pytest.mark.skipif(shutil.which("coqtop") is None, reason="needs Coq: apt-get install coq")


def drawn(count: int, seed: int = 0) -> list[Draft]:
    return list(itertools.islice(drafts(seed), count))


# --- statements


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("forall n : nat, n + 0 = n", "forall k : nat, k + 0 = k", True),
        ("forall n m : nat, n + m = m + n", "forall n m : nat, n + m = n + m", False),
        ("forall (f : nat -> nat) (x : nat), f x = x", "forall (g : nat -> nat) (f : nat), g f = f", True),
        ("forall n, double n = n", "forall n, triple n = n", False),
        ("forall P Q : Prop, P /\\ Q -> Q", "forall A B : Prop, (A /\\ B) -> B", True),
        ("(exists k, a = 2 * k)", "(exists j, a = 2 * j)", True),
        ("map (fun x => x) l = l", "map (fun y => y) l = l", True),
    ],
)
def test_renamed_statements_have_one_normal_form(one: str, other: str, same: bool) -> None:
    assert (normal(one) == normal(other)) == same


def test_a_shape_forgets_names_and_numerals() -> None:
    assert shape("forall n : nat, pow2 n = 7") == shape("forall k : nat, other k = 12")
    assert shape("forall n : nat, S n = 7") != shape("forall n : nat, other n = 7")
    assert shape("forall a b : nat, a = b") != shape("forall a b : nat, a = a")


def test_renamed_theorems_of_the_library_are_recognised() -> None:
    for term in statements(text("coq")):
        renamed = re.sub(r"\b(P|Q|n|a|l|k)\b", lambda match: f"{match.group()}_0", term)
        assert normal(renamed) in held_out(), term


# --- drawing


def test_the_same_seed_gives_the_same_theorems_and_a_longer_draw_begins_like_a_shorter() -> None:
    assert drawn(60) == drawn(90)[:60] != drawn(60, seed=1)


def test_theorems_are_distinct_and_none_is_of_the_library() -> None:
    found = drawn(600)
    assert len({draft.statement for draft in found}) == 600
    assert not {normal(draft.statement) for draft in found} & held_out()
    assert len(collections.Counter(draft.family for draft in found)) >= 20
    assert all(draft.tactics and all(t.endswith(".") for t in draft.tactics) for draft in found)


def test_propositions_are_proved_by_the_search_and_falsehoods_are_not() -> None:
    p, q = logic.Formula("atom", "P"), logic.Formula("atom", "Q")
    both, either = logic.Formula("and", parts=(p, q)), logic.Formula("or", parts=(p, q))
    swapped = logic.Formula("imp", parts=(both, logic.Formula("and", parts=(q, p))))
    assert logic.Search().prove((), (), swapped, 2) == [
        "intros.", "destruct H.", "split.", "assumption.", "assumption.",
    ]  # fmt: skip
    assert logic.Search().prove((), (), logic.Formula("imp", parts=(either, both)), 5) is None
    assert logic.Search().prove((), (), logic.Formula("or", parts=(p, logic.Formula("not", parts=(p,)))), 5) is None


def test_truth_tables_decide_which_cases_are_split() -> None:
    assert booleans.cases(("negb", ("negb", "a")), "a") == ["destruct a.", "reflexivity.", "reflexivity."]
    assert booleans.cases(("andb", "a", "b"), ("orb", "a", "b")) is None
    assert booleans.cases(("orb", "true", "a"), "true") == ["reflexivity."]


# --- with Coq


@pytest.mark.slow
@needs_coq
def test_every_law_of_the_table_is_accepted_by_coq() -> None:
    tables = induction.laws()
    laws = [law for kind in ("numbers", "lists", "trees") for table in tables[kind] for law in table["laws"]]
    seen: dict[str, Draft] = {}
    for kind in ("numbers", "lists", "trees"):
        rng = Random(kind)
        for _ in range(1500):
            draft = induction.drawn(rng, kind)
            seen.setdefault(shape(draft.statement), draft)
    assert len(seen) > 0.8 * len(laws)
    refused = [made.statement for made in record.take(list(seen.values())) if isinstance(made, Draft)]
    assert refused == []


@pytest.mark.slow
@needs_coq
def test_every_family_is_accepted_by_coq() -> None:
    chosen = []
    for family in FAMILIES:
        rng = Random(f"{family.name}:test")
        chosen += [draft for _ in range(40) if (draft := family.sample(rng)) is not None][:25]
    made = record.take(chosen)
    refused = [each.statement for each in made if isinstance(each, Draft)]
    assert len(refused) <= 0.02 * len(chosen), refused
    assert len(chosen) >= 400


@needs_coq
def test_the_recorded_goals_are_those_of_the_prover() -> None:
    made = record.take(drawn(25, seed=3))
    prover = open_prover("coq")
    compared = 0
    try:
        for proof in made:
            assert isinstance(proof, Recorded)
            statement = f"Theorem {proof.name} : {proof.draft.statement}."
            state = prover.start(Theorem(name=proof.name, statement=statement, prelude=prelude()))
            for goal, tactic in zip(proof.goals, proof.draft.tactics, strict=True):
                assert not isinstance(state, Failure), (statement, state)
                first = state.goals[0]
                shown = Goal(hypotheses=tuple(map(flat, first.hypotheses)), conclusion=flat(first.conclusion))
                assert shown == goal
                asked = tactic_asker("coq", "zero").ask(state)
                assert source.tactic_text(goal, tactic) == f"{asked}\n{tactic}\n---\n"
                compared += 1
                state = prover.apply(state, tactic)
            assert not isinstance(state, Failure) and state.goals == (), statement
    finally:
        prover.close()
    assert compared > 100


# --- records and texts

GOAL = Goal(hypotheses=("n : nat", "H : n = 0"), conclusion="n + 0 = 0")
PROOF = Recorded(
    name="t000000",
    draft=Draft(family="f", statement="forall n : nat, n = 0 -> n + 0 = 0", tactics=("intros.", "lia.")),
    goals=(Goal(hypotheses=(), conclusion="forall n : nat, n = 0 -> n + 0 = 0"), GOAL),
)


def origin(count: int = 1, seed: int = 0) -> dict[str, object]:
    return {"count": count, "seed": seed, "made_of": record.made_of()}


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A record of one proof, written without Coq."""
    path = tmp_path / "proofs.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for row in (origin(), to_row(PROOF)):
            file.write(json.dumps(row) + "\n")
    return path


def test_text_is_read_from_a_record_without_coq(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    options = source.Options(count=1, record=str(recorded), forms=("tactic", "whole"))
    found = {document.id: document.text for document in source.documents(options)}
    assert sorted(found) == ["t000000/0", "t000000/1", "t000000/proof"]
    assert found["t000000/1"] == training_text("n : nat\nH : n = 0\n⊢ n + 0 = 0", "lia.").replace(
        "---lia.", "---\nlia."
    )
    proof = found["t000000/proof"]
    name = proof.split()[1]
    theorem = Theorem(name=name, statement=f"Theorem {name} : {PROOF.draft.statement}.")
    assert proof == whole_prompt("coq", theorem, "zero") + "  intros.\n  lia.\nQed.\n"


def test_the_text_is_in_the_form_a_model_is_asked_in() -> None:
    state = ProofState(theorem=Theorem(name="t", statement=""), tactics=(), goals=(GOAL, PROOF.goals[0]))
    assert source.tactic_text(GOAL, "lia.").startswith(tactic_asker("coq", "zero").ask(state) + "\n")


def test_a_record_of_other_theorems_or_a_torn_one_is_refused(recorded: Path) -> None:
    with pytest.raises(DataError, match="another count"):
        list(source.documents(source.Options(count=2, record=str(recorded))))
    recorded.write_bytes(recorded.read_bytes()[:-12])
    with pytest.raises(DataError, match=r"proofs\.jsonl\.gz"):
        list(source.documents(source.Options(count=1, record=str(recorded))))


@needs_coq
def test_recording_happens_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLEMMA_CACHE", str(tmp_path))
    first = list(source.documents(source.Options(count=20)))
    monkeypatch.setenv("PATH", "")
    assert list(source.documents(source.Options(count=20))) == first
    assert len(list(tmp_path.glob("proofs-20-0-*.jsonl.gz"))) == 1

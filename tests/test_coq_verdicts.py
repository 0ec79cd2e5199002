"""Coq's verdicts: no exploit is believed, no honest proof is refused. The texts are coq_exploits.py, coq_honest.py."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from coq_exploits import ABSURD, FALSE, FILES, SCRIPTS
from coq_honest import CORE
from coq_honest import FILES as HONEST_FILES
from coq_honest import SCRIPTS as HONEST_SCRIPTS
from llemma.errors import LlemmaError
from llemma.provers import Limits, open_prover
from llemma.provers.coq import CoqProver
from llemma.records import Theorem, Verdict

pytestmark = pytest.mark.skipif(
    shutil.which("coqc") is None, reason="no Coq: apt-get install coq libcoq-coquelicot libcoq-mathcomp-ssreflect"
)
LIMITS = Limits(seconds=60, memory=2000)
SHORT = Limits(seconds=4, memory=2000)
LAYERS = ["gate", "compile", "exists", "pinned", "axioms", "second", "kernel"]
LIBRARIES = {"mathcomp": "libcoq-mathcomp-ssreflect", "Coquelicot": "libcoq-coquelicot"}


@pytest.fixture(scope="module")
def coq():
    prover = open_prover("coq", {"workers": 2})
    yield prover
    prover.close()


def theorem(statement: str, prelude: str = "", name: str = "t") -> Theorem:
    return Theorem(name=name, statement=statement, prelude=prelude)


def refusals(verdict: Verdict) -> list[tuple[str, str]]:
    return [(layer.name, layer.detail) for layer in verdict.layers if not layer.ok]


def honest(coq: CoqProver, prelude: str) -> list[tuple[str, list[tuple[str, str]]]]:
    rows = HONEST_SCRIPTS[prelude]
    theorems = [theorem(f"Theorem t{at} : {kind}.", prelude, f"t{at}") for at, (kind, _) in enumerate(rows)]
    verdicts = coq.check_many(theorems, [proof for _, proof in rows], Limits(seconds=300, memory=4000))
    return [(kind, refusals(v)) for (kind, _), v in zip(rows, verdicts, strict=True) if not v.proved]


def test_a_verdict_names_every_layer(coq: CoqProver) -> None:
    verdict = coq.check(theorem("Theorem t : forall n : nat, n + 0 = n."), "intros n. auto.")
    assert verdict.proved and verdict.axioms == ()
    assert [layer.name for layer in verdict.layers] == LAYERS
    if coq.version.startswith("Coq 8.16"):
        assert "#20455" in verdict.layers[-1].detail


def test_axioms_are_told_by_their_full_names(coq: CoqProver) -> None:
    verdict = coq.check(theorem("Theorem t : forall P, P \\/ ~ P.", "Require Import Classical."), "exact classic.")
    assert verdict.proved
    assert [name.partition(".")[2] for name in verdict.axioms] == ["Logic.Classical_Prop.classic"]


def test_honest_core_proofs_pass(coq: CoqProver) -> None:
    assert honest(coq, CORE) == []


def test_a_faulty_proof_beside_others_is_the_only_one_refused(coq: CoqProver) -> None:
    theorems = [theorem("Theorem a : 1 = 1.", name="a"), theorem("Theorem b : 1 = 2.", name="b")]
    assert [v.proved for v in coq.check_many(theorems, ["reflexivity.", "reflexivity."], LIMITS)] == [True, False]


SAMPLE = {
    "hypothesis of a section", "abort and start again", "scope with another plus", "shadowed False",
    "guard: match on match (#20455)", "axiom", "comment that seems closed",
}  # fmt: skip


@pytest.mark.parametrize("case", [case for case in FILES if case[0] in SAMPLE], ids=lambda case: case[0])
def test_a_sample_of_exploits_is_seen_through(coq: CoqProver, case: tuple[str, tuple[str, str], str]) -> None:
    _, (prelude, statement), text = case
    assert not coq.check_file(theorem(statement, prelude), text, LIMITS).proved


def test_the_faults_of_the_guard_are_kept_out_of_tactics_too(coq: CoqProver) -> None:
    proof = next(text for name, _, text in SCRIPTS if "#20455" in name)
    assert refusals(coq.check(theorem(ABSURD), proof, LIMITS))[0][0] in ("compile", "kernel")


def test_an_axiom_of_the_prelude_is_no_licence_for_one_of_the_same_name(coq: CoqProver) -> None:
    prelude = "Parameter a : nat."
    text = (
        f"Module M. Section S. Variable a : False. Lemma l : False. Proof. exact a. Qed. End S. End M. {FALSE} Proof."
    )
    assert not coq.check_file(theorem(FALSE, prelude), text + " destruct (M.l). Qed.", LIMITS).proved
    assert not coq.check_file(theorem(FALSE, prelude), f"Module M. Variable a : False. End M. {FALSE}", LIMITS).proved


@pytest.mark.slow
def test_no_exploit_is_believed(coq: CoqProver) -> None:
    def run(case: tuple[str, Theorem, str, bool]) -> str | None:
        name, wanted, text, whole = case
        limits = SHORT if name in ("no end", "memory") else LIMITS
        judge = coq.check_file if whole else coq.check
        return name if judge(wanted, text, limits).proved else None

    cases = [(name, theorem(statement, prelude), text, True) for name, (prelude, statement), text in FILES]
    cases += [(name, theorem(statement), text, whole) for name, statement, text in SCRIPTS for whole in (False, True)]
    with ThreadPoolExecutor(max_workers=2) as pool:
        believed = [name for name in pool.map(run, cases) if name is not None]
    assert believed == [] and len(cases) >= 120


@pytest.mark.slow
@pytest.mark.parametrize("prelude", [prelude for prelude in HONEST_SCRIPTS if prelude != CORE])
def test_no_honest_proof_is_refused(coq: CoqProver, prelude: str) -> None:
    for library, package in LIBRARIES.items():
        if library in prelude and library not in coq.info["libraries"]:
            pytest.skip(f"needs {library}: apt-get install {package}")
    assert honest(coq, prelude) == []


@pytest.mark.slow
def test_no_honest_file_is_refused(coq: CoqProver) -> None:
    cases = HONEST_FILES if os.environ.get("LLEMMA_COQ_ALL") else HONEST_FILES[1::2]

    def run(case: tuple[str, str, str]) -> tuple[str, list[tuple[str, str]]] | None:
        prelude, statement, text = case
        verdict = coq.check_file(theorem(statement, prelude), text, LIMITS)
        return None if verdict.proved else (text, refusals(verdict))

    with ThreadPoolExecutor(max_workers=2) as pool:
        assert [found for found in pool.map(run, cases) if found is not None] == []


def test_the_suites_are_as_large_as_promised() -> None:
    assert len(FILES) + len(SCRIPTS) >= 100
    assert sum(map(len, HONEST_SCRIPTS.values())) + len(HONEST_FILES) >= 150


def test_a_statement_that_is_none_is_an_error(coq: CoqProver) -> None:
    with pytest.raises(LlemmaError, match="one sentence"):
        coq.check(theorem("Definition t := 1."), "auto.", LIMITS)

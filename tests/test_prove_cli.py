"""``llemma prove`` and ``llemma check`` as programs: what they print, their exit codes, a killed run."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from proving import EASY, FALSE, lines, many, toy_file

KILLS = int(os.environ.get("LLEMMA_KILLS", "3"))

PROOF = "proof\n  intro h\n  cases h\n  split\n  exact h1\n  exact h\nqed\n"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A trusted statement and texts nobody trusts."""
    (tmp_path / "trusted.toy").write_text("theorem t : p & q -> q & p\nproof\n  sorry\nqed\n\ntheorem u : p -> q\n")
    (tmp_path / "whole.toy").write_text("theorem t : p & q -> q & p\n" + PROOF)
    (tmp_path / "script.txt").write_text(PROOF)
    (tmp_path / "other.toy").write_text("theorem t : True\nproof\n  trivial\nqed\n")
    (tmp_path / "named.txt").write_text("-- proves t\n" + PROOF)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "name", "code"),
    [
        ("whole.toy", "t", 0),
        ("script.txt", "t", 0),
        ("other.toy", "t", 1),
        ("named.txt", "t", 1),
        ("script.txt", "u", 1),
    ],
)
def test_check_says_proved_by_its_exit_code_and_in_json(llemma, files, file, name, code):
    done = llemma("check", file, "statement=trusted.toy", f"name={name}", "--json")
    assert done.returncode == code, done.stderr
    verdict = json.loads(done.stdout)
    assert list(verdict) == ["proved", "axioms", "layers", "seconds"] and verdict["proved"] is (code == 0)
    assert all(list(layer) == ["name", "ok", "detail"] for layer in verdict["layers"])
    assert all(layer["ok"] for layer in verdict["layers"]) is (code == 0)


def test_check_shows_the_layers_with_their_reasons(llemma, files):
    done = llemma("check", "other.toy", "statement=trusted.toy", "name=t")
    assert done.returncode == 1 and "NOT OK  statement  another formula" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("NOT PROVED in ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["whole.toy", "statement=trusted.toy"], "trusted.toy states t, u; say name=NAME"),
        (["whole.toy", "statement=trusted.toy", "name=tt"], "states no 'tt'; did you mean t?"),
        (["none.toy", "statement=trusted.toy", "name=t"], "none.toy: no such file"),
        (["whole.toy", "statement=none.toy"], "none.toy: no such file"),
        (["whole.toy"], "missing key statement"),
        (["whole.toy", "statement=script.txt"], "which prover is script.txt for? say prover=NAME"),
        (["whole.toy", "statement=script.txt", "prover=toy"], "script.txt:1: expected `theorem NAME : FORMULA`"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(llemma, files, words, message):
    done = llemma("check", *words)
    assert done.returncode == 2 and message in done.stderr and done.stdout == "" and done.stderr.count("\n") == 1


def test_prove_prints_the_table_and_the_proofs(llemma, tmp_path):
    toy_file(tmp_path / "x.toy", {**EASY, **FALSE})
    done = llemma("prove", "x.toy", "search=best_first", "model=fixed", "run=run")
    assert done.returncode == 0, done.stderr
    assert "best_first: 10 of 12 proved; 7 of them beyond the ladder" in done.stdout
    assert "chain (best_first): proved in " in done.stdout and "wrong (ladder): not proved, exhausted" in done.stdout
    again = json.loads(llemma("prove", "x.toy", "search=best_first", "model=fixed", "run=run", "--json").stdout)
    assert (again["task"], again["prover"], again["errors"]) == ("x", "toy", 0)
    (metric,) = again["metrics"]
    assert metric["name"] == "proved" and metric["value"] == pytest.approx(10 / 12) and metric["n"] == 12
    assert metric["low"] < metric["value"] < metric["high"]
    assert len(again["theorems"]) == 24 and len(again["digest"]) == 16
    assert "7 of them beyond" not in llemma("prove", "x.toy", "names=chain", "run=other").stdout


def test_the_verbs_are_in_the_help(llemma):
    done = llemma("prove", "--help")
    assert done.returncode == 0 and "budget.tactic_calls" in done.stdout and "FILE|TASK" in done.stdout
    assert "statement" in llemma("check", "--help").stdout
    assert "toy" in llemma("list", "provers").stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_run_killed_at_any_moment_ends_like_one_left_alone(tmp_path):
    statements = toy_file(tmp_path / "many.toy", many(60))

    def command(run: Path) -> list[str]:
        words = ["prove", str(statements), "search=best_first,mcts", "model=fixed", f"run={run}", "workers=2"]
        return [sys.executable, "-m", "llemma", *words]

    subprocess.run(command(tmp_path / "whole"), capture_output=True, check=True)
    whole, rng, seen = lines(tmp_path / "whole" / "rows.jsonl"), random.Random(5), []
    rows = tmp_path / "killed" / "rows.jsonl"
    for fraction in sorted(rng.random() for _ in range(KILLS)):
        process = subprocess.Popen(command(tmp_path / "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wanted = fraction * len(whole)
        while process.poll() is None and (not rows.exists() or rows.read_bytes().count(b"\n") < wanted):
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        seen.append(rows.read_bytes().count(b"\n") if rows.exists() else 0)
    subprocess.run(command(tmp_path / "killed"), capture_output=True, check=True)
    assert any(0 < count < len(whole) for count in seen), f"no kill fell into the work: {seen}"

    def comparable(folder: Path) -> dict[str, dict]:
        dropped = ("seconds", "cached", "verdict")
        found = lines(folder / "rows.jsonl")
        assert len({row["id"] for row in found}) == len(found)
        return {row["id"]: {k: v for k, v in row.items() if k not in dropped} for row in found}

    assert comparable(tmp_path / "killed") == comparable(tmp_path / "whole")
    for path in (tmp_path / "whole" / "trace").glob("*.jsonl"):
        assert (tmp_path / "killed" / "trace" / path.name).read_bytes() == path.read_bytes()

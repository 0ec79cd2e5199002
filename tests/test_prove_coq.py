"""Proof search with Coq itself: equal traces, workers killed again and again, whole proofs, sketches, the verbs.

``LLEMMA_KILLS=30`` runs 60 theorems instead of 12 while a process of Coq is killed every 2 s.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import threading
from pathlib import Path

import pytest

from llemma.config import resolve
from llemma.prove.config import ProveConfig
from llemma.prove.prove import prove
from proving import Scripted, coq_task, lines
from test_prove import traces, verdicts

KILLS = int(os.environ.get("LLEMMA_KILLS", "3"))
FULL = KILLS >= 30

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(shutil.which("coqc") is None, reason="needs Coq: apt-get install coq"),
]


def settings(source: Path, run: Path, *words: str) -> ProveConfig:
    return resolve(ProveConfig, words=[f"source={source}", "prover=coq", f"run={run}", "cache=none", *words])


def descendants(root: int) -> list[tuple[int, str]]:
    """The living processes below ``root`` with their names."""
    children: dict[int, list[tuple[int, str]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                name, _, rest = (entry / "stat").read_text().partition("(")[2].rpartition(")")
                state, parent = rest.split()[:2]
                if state != "Z":
                    children.setdefault(int(parent), []).append((int(entry.name), name))
    found, todo = [], [root]
    while todo:
        below = children.get(todo.pop(), [])
        found += below
        todo += [pid for pid, _ in below]
    return found


class Killer(threading.Thread):
    """Kills a random process of Coq below this one every ``every`` seconds until it is told to stop."""

    def __init__(self, every: float) -> None:
        super().__init__(daemon=True)
        self.every, self.over, self.killed = every, threading.Event(), list[str]()

    def run(self) -> None:
        rng = random.Random(11)
        while not self.over.wait(self.every):
            alive = [(pid, name) for pid, name in descendants(os.getpid()) if name.startswith(("coq", "rocq"))]
            if alive:
                pid, name = rng.choice(alive)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                    self.killed.append(name)


def test_workers_killed_again_and_again_change_no_verdict_and_no_trace(tmp_path):
    source = coq_task(tmp_path / "c.py", 60 if FULL else 12)
    words = ["search=best_first", "model=fixed", "budget.tactic_calls=50", "limits.seconds=60", "ladder=false"]
    prove(settings(source, tmp_path / "whole", *words))
    killer = Killer(2.0 if FULL else 1.0)
    killer.start()
    try:
        result = prove(settings(source, tmp_path / "killed", *words))
    finally:
        killer.over.set()
        killer.join()
    assert result.errors == 0 and len(killer.killed) >= 2, killer.killed
    assert verdicts(tmp_path / "killed") == verdicts(tmp_path / "whole")
    assert traces(tmp_path / "killed") == traces(tmp_path / "whole")
    found = result.searches[0]
    assert 0 < found.proved < found.theorems
    print(f"{len(killer.killed)} killed over {found.theorems} theorems, {found.crashes} calls made again")


def test_whole_proofs_and_sketches(tmp_path):
    source = tmp_path / "x.v"
    source.write_text("Require Import Arith Lia.\nTheorem t : forall n : nat, exists m, n + n = 2 * m.\nAdmitted.\n")
    right, wrong = "  intros n. exists n. lia.\n", "  intros n. exists 0. lia.\n"
    sketched = "  intros n.\n  exists n.\n  assert (h : n + n = n * 2). { gap. }\n  gap.\n"

    def answer(request):
        return sketched if "(* Proof:" in request.prompt else "It is obvious." if "\nProof:" in request.prompt else (
            right if request.k == 1 else wrong)  # fmt: skip

    config = settings(source, tmp_path / "run", "search=whole,sketch", "model=scripted:x", "samples=2", "ladder=false")
    result = prove(config, backend=Scripted(answer=answer))
    assert [each.proved for each in result.searches] == [1, 1]
    rows = {row["search"]: row for row in lines(tmp_path / "run" / "rows.jsonl")}
    assert [attempt["proved"] for attempt in rows["whole"]["attempts"]] == [False, True]
    assert "gap" not in rows["sketch"]["proof"] and "lia." in rows["sketch"]["proof"]
    assert {layer["name"] for layer in rows["whole"]["verdict"]["layers"]} >= {"gate", "compile", "pinned", "axioms"}


def test_check_takes_a_file_or_a_proof(llemma, tmp_path):
    (tmp_path / "trusted.v").write_text("Theorem t : forall n, n + 0 = n.\nAdmitted.\n")
    (tmp_path / "proof.txt").write_text("Proof.\n  induction n; simpl; auto.\nQed.\n")
    (tmp_path / "file.v").write_text("Lemma h : True. Proof. exact I. Qed.\nTheorem t : forall n, n + 0 = n.\n"
                                     "Proof. induction n; simpl; auto. Qed.\n")  # fmt: skip
    (tmp_path / "other.v").write_text("Theorem t : True. Proof. exact I. Qed.\n")
    found = {
        name: llemma("check", name, "statement=trusted.v", "--json") for name in ("proof.txt", "file.v", "other.v")
    }
    assert {name: done.returncode for name, done in found.items()} == {"proof.txt": 0, "file.v": 0, "other.v": 1}
    verdict = json.loads(found["other.v"].stdout)
    assert next(layer["name"] for layer in verdict["layers"] if not layer["ok"]) == "pinned"

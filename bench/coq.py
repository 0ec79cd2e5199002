"""Coq: states per second against a bare coqidetop, own processor time, a state back after a kill, memory of 8 branches.

    python bench/coq.py [calls=2000]

Both loops apply one tactic, print the goals and go back, on the same theorem over the reals.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from pathlib import Path

from llemma.provers import open_prover
from llemma.provers.coq import CoqProver, forkshim, install, protocol, worker
from llemma.records import ProofState, Theorem

PRELUDE = "Require Import Reals Lra Psatz.\nOpen Scope R_scope."
THEOREM = Theorem(name="t", statement="Theorem t : forall x y : R, x*x + y*y >= 2*x*y.", prelude=PRELUDE)
TACTIC = "pose proof (Rle_0_sqr (x - y))."


def cpu() -> float:
    used = os.times()
    return used.user + used.system


def bare(calls: int) -> dict[str, float]:
    """coqidetop with nothing of ours but the bytes: what the least client would do."""
    programs = install.find()
    argv = [*programs.top, "-q", "-main-channel", "stdfds", "-async-proofs", "off", "-w", "none"]
    process = worker.spawn(argv, install.environment(), None, Path("/tmp"))
    tip = protocol.state_id(process.ask([protocol.ABOUT, protocol.INIT], seconds=60)[1])
    for text in [*PRELUDE.split("\n"), THEOREM.statement, "intros x y."]:
        tip = protocol.state_id(process.ask([protocol.add(text, tip)], seconds=60)[0])
    process.ask([protocol.GOALS], seconds=60)
    request = protocol.add(TACTIC, tip) + protocol.GOALS + protocol.edit_at(tip)
    began, own = time.perf_counter(), cpu()
    for _ in range(calls):
        process.link.sendall(request)
        buffer = b""
        while buffer.count(protocol.END) < 3:
            select.select([process.link], [], [])
            buffer += process.link.recv(1 << 18)
    wall, own = time.perf_counter() - began, cpu() - own
    process.kill()
    return {"per_second": calls / wall, "own_cpu_ms": 1000 * own / calls}


def stepped(prover: CoqProver, state: ProofState, tactic: str) -> ProofState:
    found = prover.apply(state, tactic)
    assert isinstance(found, ProofState), found
    return found


def ours(prover: CoqProver, calls: int) -> dict[str, float]:
    start = prover.start(THEOREM)
    assert isinstance(start, ProofState), start
    state = stepped(prover, start, "intros x y.")
    stepped(prover, state, TACTIC)
    began, own = time.perf_counter(), cpu()
    for _ in range(calls):
        stepped(prover, state, TACTIC)
    wall, own = time.perf_counter() - began, cpu() - own
    return {"per_second": calls / wall, "own_cpu_ms": 1000 * own / calls}


def restart(prover: CoqProver) -> float:
    """Seconds from the kill of every worker to the next state, the worst of five."""
    start = prover.start(THEOREM)
    assert isinstance(start, ProofState)
    state = stepped(prover, stepped(prover, start, "intros x y."), TACTIC)
    worst = 0.0
    for _ in range(5):
        bases = {base.seat.worker.pid for base in prover.session._bases.values()}
        for pid in set(prover.session.processes()) - bases:
            os.kill(pid, signal.SIGKILL)
        began = time.perf_counter()
        stepped(prover, state, "unfold Rsqr in H.")
        worst = max(worst, time.perf_counter() - began)
    return worst


def branches() -> float:
    """Megabytes (PSS) of a process and 8 clones of it, each after 200 tactics."""
    programs = install.find()
    argv = [*programs.top, "-q", "-main-channel", "stdfds", "-async-proofs", "off", "-w", "none"]
    env = install.environment() | {"OCAMLRUNPARAM": "s=512k,o=200"}
    base = worker.spawn(argv, env, forkshim.library().path, Path("/tmp"))
    tip = protocol.state_id(base.ask([protocol.ABOUT, protocol.INIT], seconds=60)[1])
    for text in [*PRELUDE.split("\n"), THEOREM.statement, "intros x y."]:
        tip = protocol.state_id(base.ask([protocol.add(text, tip)], seconds=60)[0])
    base.ask([protocol.GOALS], seconds=60)
    clones = [base.clone() for _ in range(8)]
    for clone in clones:
        for _ in range(200):
            clone.ask([protocol.add(TACTIC, tip), protocol.GOALS, protocol.edit_at(tip)], seconds=60)
    total = sum(_pss(process.pid) for process in (base, *clones))
    for process in (*clones, base):
        process.kill()
    return total


def _pss(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main(argv: list[str]) -> None:
    """Print one JSON object."""
    words = dict(word.split("=", 1) for word in argv)
    calls = int(words.get("calls", "2000"))
    prover = open_prover("coq", {"workers": 1})
    assert isinstance(prover, CoqProver)
    result = {
        "version": prover.version, "calls": calls, "bare": bare(calls), "ours": ours(prover, calls),
        "after_kill_seconds": restart(prover),
        "branches_8_pss_mb": branches() if forkshim.library().path else None,
    }  # fmt: skip
    prover.close()
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])

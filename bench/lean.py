"""Lean: cold start of worker and judge, tactics and whole verdicts per second in the warm processes.

Every theorem is a different one that ``omega`` proves, so nothing is answered from memory: a verdict elaborates the
trusted statement in one process and the proof in the other, and has the kernel check what came out. CPU seconds are
those of both Lean processes.

    python bench/lean.py [checks=150] [lean=PATH]
"""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from llemma.config import resolve, setting
from llemma.provers.lean.prover import LeanProver
from llemma.provers.lean.toolchain import find
from llemma.records import ProofState, Theorem
from llemma.run import cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How long to measure."""

    checks: int = setting(150, "theorems, each checked once")
    rounds: int = setting(3, "turns of each measurement")
    lean: Path | None = setting(None, "the lean program (default: $LLEMMA_LEAN, then the PATH)")
    walls: str = setting("auto", "walls around the processes")


def theorem(k: int) -> Theorem:
    """A statement of linear arithmetic, another for every ``k``."""
    statement = f"theorem t{k} (a b c : Nat) (h : a + {k} < b) (g : b + 1 ≤ c) : a + {k + 2} ≤ c"
    return Theorem(name=f"t{k}", statement=statement)


def cpu(pid: int) -> float:
    """Processor seconds of a process and its descendants."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(cpu(int(child)) for child in children)


def spent(prover: LeanProver) -> float:
    """Processor seconds of both processes so far."""
    children = (prover._worker.process._child, prover._judge.process._child)
    return sum(cpu(child.pid) for child in children if child is not None)


def line(name: str, times: list[float], seconds: float, processor: float) -> None:
    """One row: rate, latencies, processor time per call."""
    cuts = statistics.quantiles(times, n=20)
    rate, each = len(times) / seconds, 1000 * processor / len(times)
    print(f"| {name} | {rate:.1f} | {1000 * cuts[9]:.0f} / {1000 * cuts[18]:.0f} | {each:.0f} |")


def tactics(prover: LeanProver, first: int, count: int) -> list[float]:
    """Seconds of ``omega`` applied to the start of each theorem; the start is not timed."""
    times = []
    for k in range(first, first + count):
        state = prover.start(theorem(k))
        assert isinstance(state, ProofState)
        began = time.perf_counter()
        done = prover.apply(state, "omega")
        times.append(time.perf_counter() - began)
        assert isinstance(done, ProofState) and not done.goals
    return times


def verdicts(prover: LeanProver, first: int, count: int) -> list[float]:
    """Seconds of each whole verdict."""
    times = []
    for k in range(first, first + count):
        began = time.perf_counter()
        verdict = prover.check(theorem(k), "omega")
        times.append(time.perf_counter() - began)
        assert verdict.proved, verdict
    return times


def main() -> None:
    """Measure and print."""
    s = resolve(Settings, words=sys.argv[1:])
    prover = LeanProver(find(s.lean), imports=("Init",), recycle=0, walls=s.walls)
    try:
        began = time.perf_counter()
        prover.start(theorem(0))
        worker = time.perf_counter() - began
        began = time.perf_counter()
        assert prover.check(theorem(0), "omega").proved
        judge, processor = time.perf_counter() - began, spent(prover)
        load = os.getloadavg()[0]
        print(
            f"{datetime.date.today()}, {platform.machine()}, {cores()} cores, load {load:.1f}, {prover.version}, ",
            end="",
        )
        print(f"walls {prover.info['walls']}, Python {platform.python_version()}")
        print(f"\nCold start: worker and first goal {worker:.1f} s, judge and first verdict {judge:.1f} s, ", end="")
        print(f"{processor:.1f} CPU s in both\n")
        print("| in warm processes | per second | p50 / p95, ms | CPU, ms |")
        print("| --- | --- | --- | --- |")
        at, share = 1, max(2, s.checks // s.rounds)
        for name, work in (("omega, one tactic", tactics), ("omega, whole verdict", verdicts)) * s.rounds:
            before, processor = time.perf_counter(), spent(prover)
            times = work(prover, at, share)
            seconds = sum(times) if work is tactics else time.perf_counter() - before
            line(name, times, seconds, spent(prover) - processor)
            at += share
        resident = [part.process.resident() / 1e6 for part in (prover._worker, prover._judge)]
        print(f"\nMemory at the end: worker {resident[0]:.0f} MB, judge {resident[1]:.0f} MB")
    finally:
        prover.close()


if __name__ == "__main__":
    main()

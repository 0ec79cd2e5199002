"""Time of a Python tool call: the sandbox against a cold subprocess, a guard in a forked process, and bubblewrap.

The program solves a quadratic with sympy, as tool-using models do. One client for the latencies, one client per core
for the rates; contenders take turns, a block of calls each. Then what a hang costs beyond its limit, and how much
memory the caller has gained after many calls. ``guard`` is the way of HumanEval's harness: a forked process takes
dangerous functions out of its modules, sets limits and runs the program with exec. It is no boundary, and is here as
the usual thing to compare with.

    python bench/sandbox.py [calls=100] [rounds=3] [growth=10000] ...
"""

from __future__ import annotations

import contextlib
import datetime
import io
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from llemma.config import resolve, setting
from llemma.errors import SandboxError
from llemma.run import cores
from llemma.sandbox import Limits, run, tiers

SOLVE = "from sympy import symbols, solve\nx = symbols('x')\nprint(solve(x**2 - 5*x + 6, x))"
TRIVIAL = "print(6 * 7)"
EXPECTED = {SOLVE: "[2, 3]\n", TRIVIAL: "42\n"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How long to measure."""

    calls: int = setting(100, "calls of the sandbox in a block")
    cold: int = setting(8, "calls of a contender that starts cold in a block")
    rounds: int = setting(3, "blocks of each contender")
    hangs: int = setting(20, "hangs in C code that are timed")
    growth: int = setting(10_000, "calls after which the caller's memory is looked at; 0: none")


def ours(tier: str) -> Callable[[str], str]:
    """A call of the sandbox; returns what the program printed."""
    return lambda code: run(code, sandbox=tier).stdout


def cold(code: str) -> str:
    """The program in a Python of its own, as ``subprocess`` starts it; no walls."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def guarded(code: str, answer: multiprocessing.queues.SimpleQueue[str]) -> None:
    """The child's half of ``guard``."""
    import builtins
    import resource
    import shutil

    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    for module, names in (
        (os, ("kill", "system", "remove", "fork", "rename", "unlink", "chmod", "chdir")),
        (shutil, ("rmtree", "move", "chown")),
        (subprocess, ("Popen",)),
        (builtins, ("exit", "quit", "help")),
    ):
        for name in names:
            setattr(module, name, None)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(code, {"__name__": "__main__"})
    answer.put(out.getvalue())


def guard(code: str) -> str:
    """A forked process that guards itself; the caller has no mathematics loaded, so it is imported each time."""
    context = multiprocessing.get_context("fork")
    answer: multiprocessing.queues.SimpleQueue[str] = context.SimpleQueue()
    process = context.Process(target=guarded, args=(code, answer))
    process.start()
    process.join(30)
    found = answer.get()
    process.close()
    return found


def block(call: Callable[[str], str], code: str, calls: int) -> list[float]:
    """Milliseconds of each of ``calls`` calls, one after the other."""
    times = []
    for _ in range(calls):
        begin = time.perf_counter()
        printed = call(code)
        times.append(1e3 * (time.perf_counter() - begin))
        assert printed == EXPECTED[code], printed
    return times


def rate(call: Callable[[str], str], code: str, calls: int, clients: int) -> float:
    """Calls per second of several clients at once."""
    begin = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        assert all(printed == EXPECTED[code] for printed in pool.map(call, [code] * calls))
    return calls / (time.perf_counter() - begin)


def contenders(s: Settings) -> dict[str, tuple[Callable[[str], str], int]]:
    """Name → call and calls in a block."""
    found: dict[str, tuple[Callable[[str], str], int]] = {}
    for tier in tiers.TIERS:
        if isinstance(tiers.probe(tier), tiers.Tier):
            found[f"llemma {tier}"] = ours(tier), s.calls
    found["cold subprocess, no walls"] = cold, s.cold
    found["guard in a forked process"] = guard, s.cold
    with contextlib.suppress(SandboxError):
        if run(TRIVIAL, sandbox="bubblewrap").stdout == EXPECTED[TRIVIAL]:
            found["bubblewrap"] = ours("bubblewrap"), s.cold
    return found


def table(s: Settings) -> None:
    """Latencies and rates of all contenders."""
    them = contenders(s)
    times: dict[tuple[str, str], list[float]] = {(name, code): [] for name in them for code in EXPECTED}
    rates: dict[str, list[float]] = {name: [] for name in them}
    for name, (call, _) in them.items():
        block(call, SOLVE, 4)  # zygotes up, files in the page cache
        rate(call, SOLVE, 2 * cores(), cores())
        assert name
    for _ in range(s.rounds):
        for name, (call, calls) in them.items():
            for code in EXPECTED:
                times[name, code] += block(call, code, calls)
            rates[name].append(rate(call, SOLVE, 4 * calls if name.startswith("llemma") else calls, cores()))
    base = statistics.median(times["cold subprocess, no walls", SOLVE])
    print("| contender | print p50 / p95, ms | sympy p50 / p95, ms | sympy calls/s | times a cold subprocess |")
    print("| --- | --- | --- | --- | --- |")
    for name in them:
        trivial, solve = (cut(times[name, code]) for code in (TRIVIAL, SOLVE))
        ratio = base / statistics.median(times[name, SOLVE])
        print(f"| {name} | {trivial} | {solve} | {statistics.median(rates[name]):.1f} | {ratio:.1f} |")


def cut(times: list[float]) -> str:
    """Median and 95th percentile."""
    times = sorted(times)
    return f"{statistics.median(times):.1f} / {times[int(0.95 * len(times))]:.1f}"


def hangs(s: Settings) -> None:
    """How long after its limit a hang in C code is over."""
    limit = 0.5
    over = []
    for _ in range(s.hangs):
        begin = time.perf_counter()
        assert run("9**9**9", Limits(wall=limit)).status == "timeout"
        over.append(1e3 * (time.perf_counter() - begin - limit))
    print(f"\n9**9**9 with a limit of {limit} s: over {cut(over)} ms (p50 / p95) after it, at most {max(over):.1f} ms")


def growth(s: Settings) -> None:
    """How much memory the caller has gained after many calls."""
    for _ in range(200):
        run(TRIVIAL)
    before, begin = resident(), time.perf_counter()
    for number in range(s.growth):
        run(SOLVE if number % 10 == 0 else TRIVIAL)
    took = time.perf_counter() - begin
    grown = (resident() - before) / 1e6
    print(f"{s.growth} calls (a tenth with sympy) in {took:.0f} s: the caller grew by {grown:.2f} MB")


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def place() -> str:
    """Date, machine and versions: a figure without them says nothing."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    versions = f"Python {platform.python_version()}, sympy {version('sympy')}, Linux {platform.release()}"
    return f"{datetime.date.today()}; {model}, {cores()} cores, load {os.getloadavg()[0]:.1f}; {versions}"


def main() -> None:
    """Measure and print."""
    s = resolve(Settings, words=sys.argv[1:])
    print(place())
    print(f"{s}\n")
    table(s)
    hangs(s)
    if s.growth:
        growth(s)


if __name__ == "__main__":
    main()

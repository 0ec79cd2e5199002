"""Graders of mathematical answers on the same labelled pairs: mistakes, hangs, time; then votes, then memory.

Each grader runs alone in a process that holds one core; a pair that takes longer than ``limit_s`` counts as a hang,
and the process is replaced. Times are CPU times of the grader and the processes it started, pair by pair, after two
pairs of warming up. The pairs are read from ``$LLEMMA_DATA/grader_public.jsonl``; those with a ``policy`` (a rounding,
a matter of convention) have no right answer and are left out. The hard part are the pairs whose two sides are neither
the same text nor both a number: an integer, a decimal or a fraction of two integers.

    LLEMMA_DATA=... python bench/grade.py [peers=llemma,Math-Verify] [votes=5000] [calls=1000000] ...

Graders that are not installed are listed with the command that installs them. ``votes`` is the number of problems of
the second table, ``calls`` the number of calls of the third (0: left out).
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import os
import random
import re
import resource
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from _peers import PEERS, Judge

import llemma
from llemma.config import resolve, setting
from llemma.errors import nearest
from llemma.grade import equal, vote
from llemma.run import read_jsonl


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured."""

    peers: tuple[str, ...] = setting((), "graders (default: all that are installed)")
    limit: int | None = setting(None, "pairs (default: all)")
    limit_s: float = setting(25.0, "seconds after which a pair counts as a hang")
    votes: int = setting(5000, "problems to vote on (0: no votes)")
    samples: int = setting(256, "answers of each problem")
    calls: int = setting(0, "calls during which memory is watched (0: none)")
    errors: Path | None = setting(None, "file for the pairs that were judged wrongly, as JSON lines")
    serve: str = setting("", "used by the script itself: be this grader")


WARM = [("0.5", r"\frac{1}{2}"), ("x + 1", "1 + x")]
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?"
_PART = rf"(?:\{{{_NUMBER}\}}|\d)"
NUMBER = re.compile(rf"{_NUMBER}(?:/\d+)?|[-+]?\\[dt]?frac{_PART}{_PART}")
AROUND = re.compile(r"\\[!$%]|[$%]|(?:\\?,|\{,\})(?=\d{3}(?!\d))|(?<=[-+])\s+")


def is_number(text: str) -> bool:
    """Whether a final answer is a plain number: integer, decimal, or a fraction of two."""
    return NUMBER.fullmatch(AROUND.sub("", text.replace("\\\\", "\\")).strip().rstrip(".")) is not None


def is_hard(pair: dict[str, Any]) -> bool:
    """Whether a pair needs more than reading numbers."""
    mine, theirs = pair["prediction"].strip(), pair["reference"].strip()
    return mine != theirs and not (is_number(mine) and is_number(theirs))


# --- a grader in a process of its own


def serve(name: str) -> None:
    """Answer pairs from stdin, line by line, with verdict, CPU seconds and wall seconds."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a grader prints is not an answer
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    peer = PEERS[name]
    grader = peer.load()
    for pair in WARM:
        grader.answer(*pair)
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        kind, prediction, reference = json.loads(line)
        judge = grader.text if kind == "text" else grader.answer
        assert judge is not None
        print(json.dumps(timed(judge, prediction, reference, peer.children)), file=out, flush=True)


def timed(judge: Judge, prediction: str, reference: str, children: bool) -> dict[str, Any]:
    """One verdict with what it cost; an exception of the grader is an answer, too."""
    before = living() if children else 0.0
    cpu, wall = used(), time.perf_counter()
    try:
        verdict, error = judge(prediction, reference), None
    except Exception as raised:  # graders raise whatever they like
        verdict, error = False, f"{type(raised).__name__}: {raised}"[:200]
    wall, cpu = time.perf_counter() - wall, used() - cpu
    cpu += (living() if children else 0.0) - before
    return {"verdict": verdict, "error": error, "cpu": cpu, "wall": wall}


def used() -> float:
    """CPU seconds of this process and of its children that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def living() -> float:
    """CPU seconds of the processes below this one that are running, from ``/proc``; 0 where there is none."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended in the meantime
            continue
    found, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} | found
        grown, found = more != found, more
    return sum(map(on_cpu, found - {os.getpid()}))


def on_cpu(pid: int) -> float:
    """CPU seconds of one process; the scheduler counts nanoseconds."""
    total = 0.0
    for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[0]) / 1e9
        except OSError:
            continue
    return total


class Served:
    """A grader in another process, which is replaced when it hangs or dies."""

    def __init__(self, name: str, limit_s: float) -> None:
        self.name, self.limit_s = name, limit_s
        self.process: subprocess.Popen[str] | None = None

    def ask(self, kind: str, prediction: str, reference: str) -> dict[str, Any]:
        """The answer of ``timed``, or one whose ``error`` is ``hang`` or ``died``."""
        if self.process is None:
            self._start()
        assert self.process is not None and self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps([kind, prediction, reference]) + "\n")
        self.process.stdin.flush()
        line = self._line(self.process.stdout, self.limit_s)
        if line:
            return dict(json.loads(line))
        self.stop()
        error = "hang" if line is None else "died"
        return {"verdict": False, "error": error, "cpu": self.limit_s, "wall": self.limit_s}

    def stop(self) -> None:
        """End the process and what it started."""
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.communicate()
            self.process = None

    def _start(self) -> None:
        command = [sys.executable, __file__, f"serve={self.name}"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        if self._line(self.process.stdout, 300) != "ready\n":
            self.stop()
            raise SystemExit(f"{self.name} does not start: {' '.join(command)} < /dev/null")

    @staticmethod
    def _line(stream: IO[str], seconds: float) -> str | None:
        ready, _, _ = select.select([stream], [], [], seconds)
        return stream.readline() if ready else None


# --- the pairs


@dataclass(slots=True)
class Tally:
    """What one grader did with the pairs."""

    accepts: int = 0  # of pairs that are not equal
    rejects: int = 0  # of pairs that are
    hard_accepts: int = 0
    hard_rejects: int = 0
    raised: int = 0
    hangs: int = 0
    text_errors: int | None = None
    cpu: list[float] = field(default_factory=list)
    hard_cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    wrong: list[dict[str, Any]] = field(default_factory=list)

    def take(self, pair: dict[str, Any], answer: dict[str, Any]) -> None:
        """Count one answer about a pair of final answers."""
        hard = is_hard(pair)
        self.hangs += answer["error"] == "hang"
        self.raised += answer["error"] not in (None, "hang")
        self.wall.append(answer["wall"])
        if answer["error"] != "hang":
            self.cpu.append(answer["cpu"])
            if hard:
                self.hard_cpu.append(answer["cpu"])
        if answer["verdict"] != pair["label"]:
            self.accepts += not pair["label"]
            self.rejects += pair["label"]
            self.hard_accepts += hard and not pair["label"]
            self.hard_rejects += hard and pair["label"]
            self.wrong.append({key: pair[key] for key in ("id", "prediction", "reference", "label")} | answer)


def measure(name: str, pairs: list[dict[str, Any]], limit_s: float) -> Tally:
    """Put every pair to one grader."""
    tally, served = Tally(), Served(name, limit_s)
    try:
        for pair in pairs:
            if pair["kind"] == "answer":
                tally.take(pair, served.ask("answer", pair["prediction"], pair["reference"]))
        if name in TEXT:
            texts = [pair for pair in pairs if pair["kind"] == "text"]
            asked = [served.ask("text", pair["full_text"] or pair["prediction"], pair["reference"]) for pair in texts]
            tally.text_errors = sum(a["verdict"] != pair["label"] for a, pair in zip(asked, texts, strict=True))
    finally:
        served.stop()
    return tally


TEXT = {"llemma", "Math-Verify", "inspect_ai math", "Qwen2.5-Math (evalscope)"}  # they look for the answer themselves


def row(name: str, tally: Tally, pairs: list[dict[str, Any]]) -> str:
    """One line of the table."""
    answers = [pair for pair in pairs if pair["kind"] == "answer"]
    hard = sum(map(is_hard, answers))
    errors, hard_errors = tally.accepts + tally.rejects, tally.hard_accepts + tally.hard_rejects
    cells = [
        f"{name} {PEERS[name].version() or llemma.__version__}",
        f"{errors / len(answers):.2%} ({tally.accepts} / {tally.rejects})",
        f"{hard_errors / max(hard, 1):.2%} ({tally.hard_accepts} / {tally.hard_rejects})",
        "–" if tally.text_errors is None else str(tally.text_errors),
        f"{tally.raised} / {tally.hangs}",
        *(f"{1e3 * value:.3g}" for value in spread(tally.cpu)),
        f"{len(tally.cpu) / sum(tally.cpu):,.0f}",
        f"{len(tally.hard_cpu) / max(sum(tally.hard_cpu), 1e-9):,.0f}",
        f"{1 / max(statistics.median(tally.hard_cpu or [1.0]), 1e-9):,.0f}",
        f"{max(tally.wall):.3g}",
    ]
    return "| " + " | ".join(cells) + " |"


def spread(seconds: list[float]) -> tuple[float, float, float]:
    """Median, mean, and the value that 99 of 100 stay below."""
    ordered = sorted(seconds)
    return (
        statistics.median(ordered),
        statistics.fmean(ordered),
        ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
    )


HEAD = """\
| grader | errors (false accepts / rejects) | hard part | texts | raised / hung | CPU ms, median | mean | p99 | pairs/CPU-s | hard, mean | hard, median | longest, s |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"""  # noqa: E501


def compare(s: Settings) -> None:
    """The first table."""
    data = os.environ.get("LLEMMA_DATA")
    if not data:
        print("no pairs: set LLEMMA_DATA to the folder with grader_public.jsonl")
        return
    pairs = [pair for pair in read_jsonl(Path(data) / "grader_public.jsonl") if pair["policy"] is None][: s.limit]
    answers = [pair for pair in pairs if pair["kind"] == "answer"]
    hard = [pair for pair in answers if is_hard(pair)]
    print(
        f"{len(answers)} pairs, {sum(p['label'] for p in answers)} of them equal; hard part {len(hard)}, "
        f"{sum(p['label'] for p in hard)} of them equal; {len(pairs) - len(answers)} texts\n"
    )
    for name in s.peers:
        if name not in PEERS:
            raise SystemExit(f"unknown grader {name!r}{nearest(name, PEERS)}")
    names = s.peers or tuple(name for name in PEERS if name == "llemma" or PEERS[name].version())
    print(HEAD, flush=True)
    wrong: list[dict[str, Any]] = []
    for name in names:
        tally = measure(name, pairs, s.limit_s)
        print(row(name, tally, pairs), flush=True)
        wrong += [{"grader": name, **entry} for entry in tally.wrong]
    for name, peer in PEERS.items():
        if name not in names:
            why = "left out" if name == "llemma" or peer.version() else f"not installed: `{peer.install}`"
            print(f"| {name}: {why} |" + " |" * 11)
    if s.errors is not None:
        s.errors.write_text("".join(json.dumps(entry) + "\n" for entry in wrong), encoding="utf-8")


# --- votes


def problems(count: int, samples: int) -> Iterator[tuple[str, list[str]]]:
    """Made-up problems: a reference and the texts of its samples, one problem at a time.

    Seven in ten have a number for an answer, the others an expression, a pair or an interval. A problem's chance to
    be solved is uniform; wrong answers come from some thirty, the first of them far more often; one text in twenty
    says no answer. Every answer is spelled in one of several ways.
    """
    chance = random.Random(0)
    for _ in range(count):
        kind = chance.choices(["number", "fraction", "root", "pair", "interval"], [50, 20, 10, 10, 10])[0]
        answers = [made(kind, chance) for _ in range(31)]
        solved = chance.random()
        weights = [solved, *((1 - solved) / (rank + 1) for rank in range(1, 31))]
        chosen = chance.choices(answers, weights, k=samples)
        yield spell(answers[0], chance), [said(answer, chance) for answer in chosen]


def made(kind: str, chance: random.Random) -> tuple[str, ...]:
    """The parts of a random answer."""
    a, b = chance.randint(-99, 999), chance.randint(2, 99)
    return {
        "number": ("number", str(a)),
        "fraction": ("fraction", str(Fraction(a, b).numerator), str(Fraction(a, b).denominator)),
        "root": ("root", str(b), str(abs(a) + 2)),
        "pair": ("pair", str(a), str(b)),
        "interval": ("interval", str(a), str(a + b)),
    }[kind]


def spell(answer: tuple[str, ...], chance: random.Random) -> str:
    """An answer in one of its spellings."""
    kind, *parts = answer
    forms = {
        "number": ["{0}", "{0}.0", "{0}.", r"{0}\text{{ cm}}", r"\${0}"],
        "fraction": [r"\frac{{{0}}}{{{1}}}", r"\dfrac{{{0}}}{{{1}}}", "{0}/{1}"],
        "root": [r"{0}\sqrt{{{1}}}", r"{0} \cdot \sqrt{{{1}}}", r"\sqrt{{{1}}} \times {0}"],
        "pair": ["({0}, {1})", r"\left({0},{1}\right)", r"( {0} ,\, {1} )"],
        "interval": ["[{0}, {1})", r"\left[{0},{1}\right)", r"[{0},\;{1})"],
    }
    return chance.choice(forms[kind]).format(*parts)


def said(answer: tuple[str, ...], chance: random.Random) -> str:
    """A completion of a few sentences that ends in the answer, or in none."""
    working = "We set up the equation and simplify both sides step by step. " * chance.randint(3, 9)
    if chance.random() < 0.05:
        return working + "I am not sure how to go on."
    end = chance.choice(
        ["Final Answer: The final answer is ${}$. I hope it is correct.", "So the answer is $\\boxed{{{}}}$."]
    )
    return working + end.format(spell(answer, chance))


def votes(s: Settings) -> None:
    """The second table: every sample graded, classes, the vote, and the exact worth of smaller votes."""
    seconds = dict.fromkeys(
        ("making the texts", "grading each sample", "keys and classes", "maj@k, k = 1, 2, 4, …"), 0.0
    )
    sizes = [1 << i for i in range(s.samples.bit_length()) if 1 << i <= s.samples]
    won = sound = distinct = 0
    clock = time.process_time()
    others = used() + living() - clock

    def lap(name: str) -> None:
        nonlocal clock
        now = time.process_time()
        seconds[name] += now - clock
        clock = now

    for reference, texts in problems(s.votes, s.samples):
        lap("making the texts")
        grades = [llemma.grade(text, reference) for text in texts]
        lap("grading each sample")
        found = vote.classes([grade.answer for grade in grades], key=equal.vote_class, same=equal.equivalent)
        winner = vote.majority(found)
        right = {c for c, grade in zip(found, grades, strict=True) if c is not None and grade.verdict == "correct"}
        lap("keys and classes")
        for k in sizes:
            vote.maj_at_k([found], [right], k)
        lap("maj@k, k = 1, 2, 4, …")
        won += winner in right
        sound += len(right) <= 1
        distinct += len(set(found) - {None})
    seconds["the processes below, for all of it"] = used() + living() - clock - others
    total = sum(seconds.values()) - seconds["making the texts"]
    print(
        f"\n{s.votes} made-up problems with {s.samples} samples, one core; {distinct / s.votes:.1f} classes a problem,"
    )
    print(f"{won} votes won, {sound} problems with at most one correct class\n")
    print("| work | CPU s | a problem, ms |\n| --- | --- | --- |")
    for name, value in seconds.items():
        print(f"| {name} | {value:.1f} | {1e3 * value / s.votes:.2f} |")
    print(f"| **all but the making** | **{total:.1f}** | {1e3 * total / s.votes:.2f} |")
    print(f"\nmost memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


# --- memory


def memory(s: Settings) -> None:
    """The third table: memory of this process and its children while pairs go by, all of them different."""
    chance = random.Random(1)
    data = os.environ.get("LLEMMA_DATA")
    public = [] if not data else list(read_jsonl(Path(data) / "grader_public.jsonl"))
    print(
        f"\n{s.calls:,} calls\n\n| calls | MiB, this process | MiB, its children | calls/s |\n| --- | --- | --- | --- |"
    )
    begin = time.perf_counter()
    for call in range(1, s.calls + 1):
        if public and call % 3 == 0:
            pair = public[call // 3 % len(public)]
            llemma.grade(pair["prediction"], pair["reference"])
        else:
            answer = made(chance.choice(["number", "fraction", "root", "pair", "interval"]), chance)
            extended = (*answer[:-1], answer[-1] + str(call))  # nothing comes twice
            llemma.grade(said(extended, chance), spell(extended, chance))
        if call in (1000, 10_000) or call % max(s.calls // 10, 1) == 0:
            rate = call / (time.perf_counter() - begin)
            print(f"| {call:,} | {resident(os.getpid()):.1f} | {below():.1f} | {rate:,.0f} |", flush=True)


def resident(pid: int) -> float:
    """MiB of a process that are in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def below() -> float:
    """MiB of this process's children."""
    total = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                total += resident(int(stat.parent.name))
        except OSError:
            continue
    return total


def place() -> str:
    """Date, machine and versions: a figure without them says nothing."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    versions = [f"Python {'.'.join(map(str, sys.version_info[:3]))}", f"llemma {llemma.__version__}"]
    for name in ("sympy", "antlr4-python3-runtime", "latex2sympy2_extended"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    return f"{datetime.date.today()}; {model}, one core; {', '.join(versions)}"


def main() -> None:
    """All that is asked for."""
    s = resolve(Settings, words=sys.argv[1:])
    if s.serve:
        serve(s.serve)
        return
    print(place() + "\n", flush=True)
    compare(s)
    if s.votes:
        votes(s)
    if s.calls:
        memory(s)


if __name__ == "__main__":
    main()

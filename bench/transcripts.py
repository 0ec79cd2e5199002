"""Runs the programs of recorded tool-use transcripts again and compares their outputs with the recorded ones.

Reads ``recorded/*python*.jsonl`` below the folder that LLEMMA_DATA names (outputs of rho-math-1b-interpreter,
microsoft/rho, MIT): generated texts in which a block of Python is followed by a block with what it printed. The
recording harness took what a program printed, or "Done" when it printed nothing; of a program that failed the last
line of its traceback, without what it had printed before; texts over 400 characters it cut in the middle. The same is
done here with what the sandbox returns; blocks of one transcript share a session. Every difference is put into a class
by rules that look at both outputs and the traceback; what no rule explains is called unexplained.

    LLEMMA_DATA=... python bench/transcripts.py [sandbox=auto] [clients=2] [show=20] [--json]
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from llemma.config import resolve, setting
from llemma.records import Execution
from llemma.run import cores, read_jsonl
from llemma.sandbox import Limits, Session, run
from llemma.sandbox.pool import kind_of

BLOCK = re.compile(r"```python\n(.*?)```\s*\n?```output\n(.*?)\n?```", re.DOTALL)
CUT = 400  # characters, of the recording harness
TIMED_OUT = ("Timeout Error", "timeout_decorator.timeout_decorator.TimeoutError: 'Timed Out'")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to run and what to show."""

    sandbox: str = setting("auto", "which sandbox: auto, T1 or T2")
    clients: int = setting(cores(), "transcripts at a time")
    wall: float = setting(10.0, "seconds a program may take (the recording harness: 5)")
    limit: int | None = setting(None, "only the first transcripts of each file")
    show: int = setting(0, "differences that are printed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One program and the output that was recorded for it."""

    code: str
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A program, both outputs, and the class of their difference (empty: none)."""

    where: str
    block: Block
    got: str
    kind: str


def transcripts(folder: Path, limit: int | None) -> Iterator[tuple[str, list[Block]]]:
    """Every transcript with programs, and where it is from."""
    for path in sorted(folder.glob("*python*.jsonl")):
        for number, row in enumerate(read_jsonl(path)):
            if limit is not None and number >= limit:
                break
            for text in row["code"]:
                blocks = [Block(code=code, output=output.strip()) for code, output in BLOCK.findall(text)]
                if blocks:
                    yield f"{path.stem}:{number + 1}", blocks


def repeat(where: str, blocks: list[Block], s: Settings) -> list[Compared]:
    """Run the programs of one transcript."""
    limits = Limits(wall=s.wall, cpu=s.wall)
    if len(blocks) == 1:
        done = [run(blocks[0].code, limits, value="none", sandbox=s.sandbox)]
    else:
        kind = kind_of("".join(block.code for block in blocks))
        with Session(limits, value="none", kind=kind, sandbox=s.sandbox) as session:
            done = [session.run(block.code) for block in blocks]
    return [
        Compared(where=where, block=block, got=as_recorded(execution), kind=difference(block, execution))
        for block, execution in zip(blocks, done, strict=True)
    ]


def as_recorded(done: Execution) -> str:
    """What the recording harness would have written for this execution."""
    if done.status == "ok":
        text = done.stdout.strip() or "Done"
    elif done.status == "timeout":
        text = TIMED_OUT[0]
    else:
        lines = done.stderr.strip().splitlines()
        text = lines[-1] if lines else ""
    return text if len(text) <= CUT else text[: CUT // 2] + "..." + text[-CUT // 2 :]


def difference(block: Block, done: Execution) -> str:
    """Why the outputs differ, by rules; empty when they do not."""
    old, new = block.output, as_recorded(done)
    if old == new:
        return ""
    if old in TIMED_OUT:
        return "time-out in both, other words" if done.status == "timeout" else "time-out of the recording"
    if done.status in ("timeout", "memory", "denied"):
        return "our limit"
    if "random" in block.code:
        return "randomness"
    if done.status == "error":
        if old.partition(":")[0] == new.partition(":")[0] and "Error" in old.partition(":")[0]:
            return "version: other words of the same error"
        if 'File "/' in done.stderr:
            return "version: another error raised inside a library"
        return "unexplained"
    numbers = [[float(n) for n in NUMBER.findall(text)] for text in (old, new)]
    if NUMBER.sub("#", old) == NUMBER.sub("#", new) and all(
        math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-9) for a, b in zip(*numbers, strict=True)
    ):
        return "version: last digits of an approximation"
    return "unexplained"


def main() -> int:
    """Run everything, print the table."""
    words = [word for word in sys.argv[1:] if word != "--json"]
    s = resolve(Settings, words=words)
    found = list(transcripts(Path(os.environ.get("LLEMMA_DATA", "")) / "recorded", s.limit))
    if not found:
        print("no recorded transcripts; set LLEMMA_DATA to a folder with recorded/*python*.jsonl", file=sys.stderr)
        return 0
    begin = time.monotonic()
    with ThreadPoolExecutor(s.clients) as pool:
        compared = [one for many in pool.map(lambda item: repeat(*item, s), found) for one in many]
    took = time.monotonic() - begin
    kinds = Counter(one.kind for one in compared if one.kind)
    same = len(compared) - sum(kinds.values())
    if "--json" in sys.argv:
        print(json.dumps({"programs": len(compared), "same": same, "differences": kinds, "seconds": round(took, 1)}))
        return 0
    print(f"{same} of {len(compared)} programs gave the recorded output ({same / len(compared):.2%}), {took:.0f} s")
    for kind, count in kinds.most_common():
        print(f"{count:5}  {kind}")
    for one in [one for one in compared if one.kind][: s.show]:
        print(f"\n{one.where}: {one.kind}\n  recorded: {one.block.output[:200]!r}\n  now:      {one.got[:200]!r}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

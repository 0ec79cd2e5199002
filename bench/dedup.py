"""Finding duplicates: signatures against other MinHashes, grouping by the million, the whole command by the gigabyte.

Peers of the first part run in processes of their own and take turns over the same texts; processor time is measured, a
ratio is the median of the ratios of turns side by side. Peers that are not installed are left out:

    python3 -m venv ../peers
    ../peers/bin/pip install rensa==0.5.0 datasketch==2.0.0 'datatrove[processing]==0.10.1' 'xxhash<4' spacy
    export LLEMMA_DEDUP_PYTHON=../peers/bin/python

    python bench/dedup.py [rounds=5] [group=1e6,5e6] [whole=1,2] [texts=FILE.jsonl] [peers=llemma,rensa]

``texts`` names rows with a ``text``; without it they are made up. ``group`` are numbers of documents, ``whole``
gigabytes of made-up text; an empty value leaves a part out.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from train_cpu import place

from llemma.config import resolve, setting
from llemma.corpus import dedup
from llemma.corpus.dedup import DedupConfig

HERE = Path(__file__).resolve().parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(HERE.parent / "src")}
ABROAD = ("rensa", "rensa_alone", "datasketch", "datatrove")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What to measure, and for how long."""

    rounds: int = setting(3, "turns of each contender")
    peers: tuple[str, ...] = setting(("llemma", "numpy", *ABROAD), "contenders, ours first")
    texts: Path | None = setting(None, "JSON lines with the texts to sign (default: made up)")
    megabytes: float = setting(4.0, "of text to sign")
    group: tuple[float, ...] = setting((1e6,), "numbers of documents to group")
    memory: int = setting(1500, "megabytes that grouping may take")
    whole: tuple[float, ...] = setting((0.25,), "gigabytes of text for the whole command")
    workers: int = setting(0, "processes of the whole command (0: one per core)")
    folder: Path | None = setting(None, "where the made-up files go for the time being")


# --- texts -----------------------------------------------------------------------------------------------------


def sentences(rng: random.Random, count: int) -> list[str]:
    """Sentences of made-up words with the frequencies of a natural language."""
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    weights = [1 / (k + 2) for k in range(len(letters))]
    words = ["".join(rng.choices(letters, weights, k=rng.randint(1, 11))) for _ in range(30_000)]
    chances = [1 / (k + 2.7) for k in range(len(words))]
    lines = (rng.choices(words, chances, k=rng.randint(6, 30)) for _ in range(count))
    return [" ".join(line).capitalize() + ". " for line in lines]


def made_up(rng: random.Random, pool: list[str], size: float) -> Iterator[str]:
    """Documents of about 4 kB until ``size`` bytes are there; every tenth is a copy of one of the last thousand, every
    tenth such a copy with a sentence changed."""
    recent: list[str] = []
    while size > 0:
        draw = rng.random()
        if draw < 0.2 and recent:
            text = rng.choice(recent)
            if draw < 0.1:
                text = text.replace(text.split(". ", 1)[0], rng.choice(pool), 1)
        else:
            text = "".join(rng.choices(pool, k=rng.randint(5, 60)))
            recent.append(text)
            if len(recent) > 1000:
                recent[rng.randrange(1000)] = recent.pop()
        size -= len(text)
        yield text


# --- signatures ------------------------------------------------------------------------------------------------


class Contender:
    """A MinHash in its process."""

    def __init__(self, name: str, texts: Path) -> None:
        python = os.environ.get("LLEMMA_DEDUP_PYTHON", sys.executable) if name in ABROAD else sys.executable
        self._process = subprocess.Popen(
            [python, str(HERE / "_dedup_peers.py"), name, str(texts)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        self.seconds: list[float] = []
        self.label = str(self._read().get("label", ""))

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # a peer may print of its own
                return dict(json.loads(line))
        return {}

    def turn(self) -> None:
        """Once over the texts."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self.seconds.append(float(self._read()["seconds"]))

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def signatures(settings: Settings, folder: Path) -> None:
    """The table of the first part."""
    path = folder / "texts.jsonl"
    if settings.texts is None:
        rng = random.Random(1)
        texts = list(made_up(rng, sentences(rng, 20_000), settings.megabytes * 1e6))
    else:
        texts, left = [], settings.megabytes * 1e6
        for line in settings.texts.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            texts.append(row.get("text") or "\n".join(str(row[k]) for k in ("problem", "solution") if k in row))
            left -= len(texts[-1].encode())
            if left < 0:
                break
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
    size = sum(len(t.encode()) for t in texts) / 1e6
    contenders = []
    for name in settings.peers:
        contender = Contender(name, path)
        if contender.label:
            contenders.append(contender)
        else:
            contender.close()
            print(f"{name} is not set up here; see the top of bench/dedup.py", file=sys.stderr)
    for _ in range(settings.rounds):
        for contender in contenders:
            contender.turn()
    for contender in contenders:
        contender.close()
    print(f"Signatures: {place()}; {len(texts):,} texts, {size:.1f} MB\n")
    print("| MinHash, 14 × 8, five words | MB per processor second | llemma is faster by |\n| --- | --- | --- |")
    for contender in contenders:
        rates = [size / s for s in contender.seconds]
        ratios = [theirs / ours for ours, theirs in zip(contenders[0].seconds, contender.seconds, strict=True)]
        spread = f"{statistics.median(rates):.4g} ({min(rates):.4g} to {max(rates):.4g})"
        ratio = f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
        print(f"| {contender.label} | {spread} | {ratio} |")
    print()


# --- grouping --------------------------------------------------------------------------------------------------

GROUP = """
import json, resource, sys, time
from pathlib import Path
from llemma.corpus.dedup import DedupConfig, group
files = sorted(Path(sys.argv[1]).glob("*.sig.npy"))
begin, cpu = time.perf_counter(), time.process_time()
found = group(files, DedupConfig(memory=int(sys.argv[2])), scratch=Path(sys.argv[1]) / "scratch")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([found.exact, found.near, time.perf_counter() - begin, time.process_time() - cpu, peak]))
"""


def made_up_signatures(folder: Path, count: int) -> None:
    """Rows of random keys; a twentieth are exact copies of earlier ones, a sixth share about four keys of fourteen."""
    rng, width = np.random.default_rng(0), dedup.plan(DedupConfig()).width
    before = None
    for start in range(0, count, 250_000):
        size = min(250_000, count - start)
        rows = rng.integers(1, 2**64 - 1, (size, width), dtype=np.uint64)
        pool = rows.copy() if before is None or len(before) < size else before
        source, draw = rng.integers(0, size, size), rng.random(size)
        exact, near = np.flatnonzero(draw < 0.05), np.flatnonzero((draw >= 0.05) & (draw < 0.22))
        rows[exact] = pool[source[exact]]
        for band in range(14):
            some = near[rng.random(len(near)) < 0.3]
            rows[some, 2 + band] = pool[source[some], 2 + band]
        rows[near, 16:27] = pool[source[near], 16:27]  # 88 of 112 equal: similarity 0.78
        np.save(folder / f"{start:012d}.sig.npy", rows)
        before = rows


def grouping(settings: Settings, folder: Path) -> None:
    """The table of the second part."""
    if not settings.group:
        return
    print(f"Grouping, one process, memory={settings.memory}\n")
    print("| documents | exact | near | seconds | processor s | documents a minute | peak memory, MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for count in map(int, settings.group):
        with tempfile.TemporaryDirectory(dir=folder) as here:
            made_up_signatures(Path(here), count)
            command = [sys.executable, "-c", GROUP, here, str(settings.memory)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
            exact, near, wall, cpu, peak = json.loads(done.stdout)
        per_minute = f"{60 * count / wall / 1e6:.1f} million"
        print(f"| {count:,} | {exact:,} | {near:,} | {wall:.1f} | {cpu:.1f} | {per_minute} | {peak:,.0f} |")
    print()


# --- the whole command -----------------------------------------------------------------------------------------


def tree_memory(process: int) -> int:
    """Resident bytes of a process and all below it; pages that they share count for each."""
    total, waiting = 0, [process]
    while waiting:
        pid = waiting.pop()
        try:
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            waiting += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
        except (OSError, ValueError):
            continue
    return total


def command(source: Path, out: Path, workers: int) -> tuple[dict[str, Any], float, float, float]:
    """Run ``llemma dedup``: its summary, seconds, processor seconds, peak bytes of all its processes together."""
    used = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    words = [sys.executable, "-m", "llemma", "dedup", str(source), str(out), "--json", f"workers={workers}"]
    begin, peak = time.perf_counter(), 0.0
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT)
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.1):
            peak = max(peak, tree_memory(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    out_text, _ = process.communicate()
    over.set()
    watcher.join()
    used = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - used
    return json.loads(out_text), time.perf_counter() - begin, used, peak


def whole(settings: Settings, folder: Path) -> None:
    """The table of the third part."""
    if not settings.whole:
        return
    rng = random.Random(2)
    pool = sentences(rng, 50_000)
    print("The whole command: one file of JSON lines\n")
    print(
        "| GB of text | documents | kept | exact | near | seconds | MB/s | processor s per GB "
        "| peak of all processes, MB |\n" + "| --- " * 9 + "|"
    )
    for size in settings.whole:
        with tempfile.TemporaryDirectory(dir=folder) as here:
            source = Path(here) / "texts.jsonl"
            with open(source, "w", encoding="utf-8") as file:
                for k, text in enumerate(made_up(rng, pool, size * 1e9)):
                    file.write(json.dumps({"id": f"d{k}", "text": text}) + "\n")
            found, wall, cpu, peak = command(source, Path(here) / "out", settings.workers)
        print(
            f"| {found['bytes'] / 1e9:.2f} | {found['documents']:,} | {found['kept']:,} | {found['exact']:,} "
            f"| {found['near']:,} | {wall:.1f} | {found['bytes'] / wall / 1e6:.0f} "
            f"| {cpu / found['bytes'] * 1e9:.1f} | {peak / 1e6:,.0f} |",
            flush=True,
        )


def main() -> None:
    settings = resolve(Settings, words=sys.argv[1:])
    with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
        if settings.peers:
            signatures(settings, Path(folder))
        grouping(settings, Path(folder))
        whole(settings, Path(folder))


if __name__ == "__main__":
    main()

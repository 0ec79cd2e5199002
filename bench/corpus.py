"""Building a corpus from end to end: time beside its slowest stage, memory, and how both grow with the input.

Documents of words drawn by Zipf's law, no two alike but for planted copies (about one in fifty), lie in JSON lines of
``part`` megabytes. Each size is built by ``llemma corpus`` in a process of its own; near duplicates are looked for, and
the benchmarks that are on this machine are held out. The slowest stage alone is the time that its units took together,
over the number of processes: what a build would take that did nothing else. Memory is the largest resident size that
any one of the build's processes reached.

    python bench/corpus.py [megabytes=50,200] [workers=2] [vocab_size=8192] [folder=FOLDER_ON_THE_DISK_TO_BE_MEASURED]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from train_cpu import place

from llemma.config import resolve, setting

BUILD = """
import json, resource, sys, time
from pathlib import Path
from llemma.config import resolve
from llemma.corpus.pipeline import CorpusConfig, build_corpus
if __name__ == "__main__":
    began = time.perf_counter()
    made = build_corpus(resolve(CorpusConfig, files=[Path(sys.argv[1])], words=sys.argv[2:]))
    seconds = time.perf_counter() - began
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({"seconds": seconds, "kilobytes": most, "stages": made["stages"], "documents": made["documents"],
                      "dropped": made["sources"]["a"]["dropped"], "held_out": made["held_out"]}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much is built."""

    megabytes: tuple[int, ...] = setting((50, 200), "sizes of the input")
    part: int = setting(16, "megabytes of an input file")
    workers: int = setting(2, "processes")
    vocab_size: int = setting(8192, "entries of the tokeniser that is trained first, on the same text for every size")
    folder: Path | None = setting(None, "where to work; none: a temporary folder")


def main(words: list[str]) -> None:
    """Build each size and print the table."""
    settings = resolve(Settings, words=words)
    with tempfile.TemporaryDirectory(dir=settings.folder) as name:
        folder = Path(name)
        (folder / "build.py").write_text(BUILD)
        train(folder, settings)
        print(f"{place()}; {settings.workers} processes, vocabulary {settings.vocab_size}\n")
        print(
            "| input, MB | documents | copies found | seconds | MB/s | slowest stage alone | share of it | memory, MB |"
        )
        print("| --- | --- | --- | --- | --- | --- | --- | --- |")
        for size in settings.megabytes:
            print(line(size, built(folder, size, settings), settings), flush=True)


def line(size: int, made: dict[str, Any], settings: Settings) -> str:
    """A row of the table."""
    stages = {name: stage["seconds"] / settings.workers for name, stage in made["stages"].items()}
    slowest = max(stages, key=lambda name: stages[name])
    share = stages[slowest] / made["seconds"]
    dropped = sum(n for reason, n in made["dropped"].items() if "duplicate" in reason)
    shown = f"{slowest} {stages[slowest]:.1f} s (read {stages['read']:.1f}, group {stages['group']:.1f})"
    return (
        f"| {size:,} | {made['documents']:,} | {dropped:,} | {made['seconds']:.1f} | {size / made['seconds']:.1f} "
        f"| {shown} | {share:.0%} | {made['kilobytes'] / 1e3:.0f} |"
    )


def train(folder: Path, settings: Settings) -> None:
    """A tokeniser from a few megabytes of the same text."""
    write(folder / "sample", 8, 8, seed=1)
    recipe(folder / "sample.toml", folder / "sample", f"[tokenizer]\nvocab_size = {settings.vocab_size}\n")
    build(folder, "sample.toml", "run=tokenizer", "workers=1")


def built(folder: Path, size: int, settings: Settings) -> dict[str, Any]:
    """What one build took."""
    write(folder / "in", size, settings.part, seed=2)
    recipe(folder / "in.toml", folder / "in", f"[tokenizer]\npath = {json.dumps(str(folder / 'tokenizer'))}\n")
    made = build(folder, "in.toml", f"run=run{size}", f"workers={settings.workers}")
    subprocess.run(["rm", "-r", "in", f"run{size}"], cwd=folder, check=True)
    return made


def build(folder: Path, *words: str) -> dict[str, Any]:
    """Build in a process of its own; what it printed."""
    done = subprocess.run([sys.executable, "build.py", *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def recipe(file: Path, source: Path, tokenizer: str) -> None:
    """A recipe with one source."""
    file.write_text(
        f'{tokenizer}[dedup]\nnear = true\n[sources.a]\nkind = "jsonl"\noptions.paths = [{json.dumps(str(source))}]\n'
    )


def write(folder: Path, megabytes: int, part: int, *, seed: int) -> None:
    """Files of documents of ``megabytes`` in all."""
    folder.mkdir()
    documents = texts(seed)
    number = 0
    for file in range(-(-megabytes // part)):
        left = min(part, megabytes - file * part) * 1_000_000
        with open(folder / f"{file:05d}.jsonl", "w", encoding="utf-8") as out:
            while left > 0:
                text = next(documents)
                out.write(json.dumps({"id": f"d{number}", "text": text}) + "\n")
                left -= len(text)
                number += 1


def texts(seed: int) -> Iterator[str]:
    """Documents of 50 to 1,200 words; every fiftieth is one that was there before."""
    draw = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    sizes = draw.integers(2, 11, 50_000)
    words = np.array(["".join(letters[np.minimum(draw.geometric(0.12, size) - 1, 25)]) for size in sizes], dtype=object)
    before: list[str] = []
    while True:
        for size in draw.integers(50, 1200, 1000):
            text = " ".join(words[draw.zipf(1.15, size) % len(words)]) + ".\n"
            yield text
            if draw.random() < 0.02:
                before.append(text)
            if len(before) == 10:
                yield from before
                before.clear()


if __name__ == "__main__":
    main(sys.argv[1:])

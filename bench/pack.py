"""Packing and reading tokens: MB/s of ``pack`` beside the hash it must compute, Mtok/s of batches beside plain slices.

Pieces of random tokens with documents of about ``document`` tokens are packed into shards and flushed to the disk; then
the same pieces are joined and hashed by ``cat`` and ``sha256sum``, and hashed alone: SHA-256 bounds whatever writes a
manifest. Batches of rows are gathered from the shards by ``Mixture.batch``, by a slice for each row (which blocks they
are is known beforehand there), and the permutation of blocks is set beside an array of shuffled block numbers.
Contenders take turns; the best turn counts, wall time and processor time. The files are read out of the page cache.

    python bench/pack.py [megabytes=1000] [pieces=8] [turns=5] [folder=FOLDER_ON_THE_DISK_TO_BE_MEASURED]
"""

from __future__ import annotations

import datetime
import hashlib
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import llemma
from llemma.config import resolve, setting
from llemma.corpus.pack import pack
from llemma.corpus.shards import Shard, docs_line, docs_path, locate
from llemma.records import to_row
from llemma.train.data import Blocks, Mixture, permuted, round_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much is packed and read."""

    megabytes: int = setting(1000, "bytes of tokens, in millions")
    pieces: int = setting(8, "files they lie in")
    document: int = setting(1000, "tokens of a document, on average")
    shard_tokens: int = setting(100_000_000, "tokens of a shard")
    context: int = setting(4096, "tokens of a row, less one")
    turns: int = setting(5, "times each is measured")
    blocks: int = setting(50_000_000, "blocks of the permutation")
    folder: Path | None = setting(None, "where to work; none: a temporary folder")


def place() -> str:
    """Date, machine and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    sha = "with" if "sha_ni" in flags else "without"
    return f"{datetime.date.today()}; {model}, {sha} SHA-NI; llemma {llemma.__version__}, numpy {np.__version__}"


def write_pieces(folder: Path, s: Settings) -> list[Path]:
    """Random tokens; lengths of documents spread as those of web pages are (log-normal)."""
    rng = np.random.default_rng(0)
    found = []
    for number in range(s.pieces):
        path = folder / f"mine-{number:05d}.train.bin"
        total = s.megabytes * 500_000 // s.pieces
        rng.integers(0, 2**16, total, dtype=np.uint16).tofile(path)
        lengths = (rng.lognormal(0, 1, 2 * total // s.document + 100) * s.document / np.exp(0.5)).astype(int) + 1
        starts = np.concatenate([[0], np.cumsum(lengths)])
        starts = np.append(starts[starts < total], total)
        lines = [
            docs_line(a, b - a, f"https://example.org/{number}/{k}.html", f"mine-{number:05d}")
            for k, (a, b) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))
        ]
        docs_path(path).write_bytes(b"".join(lines))
        found.append(path)
    return found


def best(contenders: Mapping[str, Callable[[], Any]], turns: int) -> dict[str, tuple[float, float]]:
    """Wall and processor seconds (children included) of the best turn of each; they take turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(turns):
        for name, work in contenders.items():
            wall, cpu = time.perf_counter(), processor()
            work()
            found[name].append((time.perf_counter() - wall, processor() - cpu))
    return {name: (min(w for w, _ in times), min(c for _, c in times)) for name, times in found.items()}


def processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def packing(folder: Path, pieces: list[Path], s: Settings) -> list[Shard]:
    """The table of packing; what was packed last stays for the table of reading."""
    shards: list[Shard] = []

    def packed() -> None:
        shutil.rmtree(folder / "shards", ignore_errors=True)
        (folder / "shards").mkdir()
        shards[:] = pack(folder / "shards", "mine", "train", pieces, s.shard_tokens, "uint16")

    def joined() -> None:
        with open(folder / "joined", "wb") as file:
            subprocess.run(["cat", *map(str, pieces)], stdout=file, check=True)
        subprocess.run(["sync", str(folder / "joined")], check=True)
        subprocess.run(["sha256sum", str(folder / "joined")], stdout=subprocess.DEVNULL, check=True)

    def hashed() -> None:
        for piece in pieces:
            with open(piece, "rb") as file:
                hashlib.file_digest(file, "sha256")

    def again() -> None:
        pack(folder / "shards", "mine", "train", pieces, s.shard_tokens, "uint16")

    contenders = {
        "pack": packed, "pack, all shards there": again, "cat, sync, sha256sum": joined, "sha256 alone": hashed,
    }  # fmt: skip
    size = sum(piece.stat().st_size for piece in pieces) / 1e6
    row("what", "MB/s", "MB a processor second")
    row(*["---"] * 3)
    for name, (wall, cpu) in best(contenders, s.turns).items():
        row(name, f"{size / wall:,.0f}", f"{size / cpu:,.0f}")
    (folder / "joined").unlink()
    documents = sum(shard.documents for shard in shards)
    print(f"\n{size:,.0f} MB in {len(pieces)} pieces, {documents:,} documents, {len(shards)} shards; ", end="")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB\n")
    return shards


def reading(folder: Path, s: Settings) -> None:
    """The table of batches."""
    manifest = json.loads((folder / "manifest.json").read_text())
    blocks = Blocks(folder, manifest, "mine", "train", s.context)
    arrays = [np.memmap(folder / shard["file"], dtype="<u2", mode="r") for shard in manifest["shards"]]
    starts = np.cumsum([0, *((len(a) - 1) // s.context for a in arrays)])
    row("rows of a batch", "`batch(step)`, Mtok/s", "slices and np.stack, Mtok/s", "a processor second: ours", "slices")
    row(*["---"] * 5)
    for size in (8, 64, 1024):
        data = Mixture(folder, {}, context=s.context, batch_size=size, seed=0)
        steps = max(3, 2000 // size)
        drawn = np.random.default_rng(0).integers(0, len(blocks), (steps, size))

        def ours(data: Mixture = data, steps: int = steps) -> None:
            for step in range(steps):
                data.batch(step)

        def sliced(drawn: np.ndarray = drawn) -> None:
            for index in drawn.tolist():
                rows = []
                for block in index:
                    shard = int(np.searchsorted(starts, block, side="right")) - 1
                    at = (block - int(starts[shard])) * s.context
                    rows.append(arrays[shard][at : at + s.context + 1].astype(np.int64))
                np.stack(rows)

        found = best({"ours": ours, "slices": sliced}, s.turns)
        millions = steps * size * s.context / 1e6
        row(size, *(f"{millions / found[name][k]:,.0f}" for k in (0, 1) for name in ("ours", "slices")))


def shuffling(s: Settings) -> None:
    """The keyed permutation beside an array of shuffled numbers."""
    count = 1 << 16
    index, size = np.arange(count), np.full(count, s.blocks)
    keys = np.tile(round_keys("0/mine/0"), (count, 1))
    wall, cpu = best({"ours": lambda: permuted(index, size, keys)}, s.turns)["ours"]
    print(
        f"\nkeyed permutation of {s.blocks:,} blocks: {count / cpu / 1e6:.1f} M block numbers a processor second, ",
        end="",
    )
    print(f"{count * s.context / cpu / 1e9:.0f} G tokens at {s.context} each; nothing is built or stored")
    start = time.perf_counter()
    order = np.random.default_rng(0).permutation(s.blocks)
    print(f"np.random permutation of as many: {time.perf_counter() - start:.1f} s, {order.nbytes / 1e6:,.0f} MB")


def tracing(folder: Path, shards: list[Shard], s: Settings) -> None:
    """How long one question takes."""
    shard = shards[0]
    places = np.random.default_rng(0).integers(0, shard.tokens, 20).tolist()
    wall, _ = best({"locate": lambda: [locate(folder, shard.file, token) for token in places]}, s.turns)["locate"]
    print(f"locate: {1000 * wall / len(places):.0f} ms in a shard of {shard.documents:,} documents")


def main() -> None:
    s = resolve(Settings, words=sys.argv[1:])
    print(place() + "\n")
    with tempfile.TemporaryDirectory(dir=s.folder) as name:
        folder = Path(name)
        pieces = write_pieces(folder, s)
        shards = packing(folder, pieces, s)
        manifest = {"sources": {"mine": {"weight": 1.0}}, "shards": to_row(shards), "tokenizer": {"sha256": ""}}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        reading(folder, s)
        shuffling(s)
        tracing(folder, shards, s)


if __name__ == "__main__":
    main()

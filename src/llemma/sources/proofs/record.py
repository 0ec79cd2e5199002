"""Runs generated proofs through a real Coq and keeps the states it shows in a file, for text without a prover.

A row of the file is a proof that Coq took step by step; its first line says what it was made of. Proofs that Coq
refuses are left out and counted there.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from llemma.errors import DataError, explain
from llemma.fetch import cache_folder
from llemma.provers import Prover, open_prover
from llemma.records import Failure, Goal, Theorem, from_row, to_row
from llemma.run import atomic_file, json_line
from llemma.sources.proofs.base import Draft
from llemma.sources.proofs.draw import drafts, prelude

WORKERS = 2  # proofs recorded at a time
REFUSED = 0.05  # a larger share of refused proofs says that this Coq is not the one the families are written for


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A theorem under its name with the goals before each of its tactics."""

    name: str
    draft: Draft
    states: tuple[tuple[Goal, ...], ...]


def recorded(count: int, seed: int, file: Path | None = None) -> Iterator[Recorded]:
    """The proofs of the first ``count`` theorems of a seed; out of ``file`` or the cache, or recorded now.

    Raises ProverError when Coq is needed and not there, DataError for a file that is damaged or of other theorems.
    """
    origin = {"count": count, "seed": seed, "made_of": _digest()}
    path = file or cache_folder() / f"proofs-{count}-{seed}-{origin['made_of']}.jsonl.gz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        prover = open_prover("coq")
        try:
            record(path, origin, prover, itertools.islice(drafts(seed), count))
        finally:
            prover.close()
    return read(path, origin)


def record(path: Path, origin: Mapping[str, Any], prover: Prover, chosen: Iterable[Draft]) -> None:
    """Write the file. Raises DataError when Coq refuses more proofs than a wrong version would explain."""
    with ThreadPoolExecutor(WORKERS) as pool:
        made = list(pool.map(lambda numbered: _taken(prover, *numbered), enumerate(chosen)))
    rows = [row for row in made if isinstance(row, Recorded)]
    refused = [row for row in made if isinstance(row, str)]
    if len(refused) > REFUSED * len(made):
        raise DataError(f"{prover.version} refuses {len(refused)} of {len(made)} generated proofs: {refused[0]}")
    head = {**origin, "prover": prover.version, "proofs": len(rows), "refused": refused}
    with atomic_file(path) as file, gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
        for row in (head, *map(to_row, rows)):
            packed.write(json_line(row))


def read(path: Path, origin: Mapping[str, Any]) -> Iterator[Recorded]:
    """The proofs of a file. Raises DataError when it is damaged or was made of something else."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            head = json.loads(next(lines))
            other = {key for key, value in origin.items() if head.get(key) != value}
            if other:
                raise DataError(f"recorded with another {', '.join(sorted(other))}; remove it to record anew", where=path)
            for line in lines:
                yield from_row(Recorded, json.loads(line))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(explain(error), where=path) from error
    except (ValueError, KeyError, TypeError, StopIteration) as error:
        raise DataError(f"not a record of proofs: {error}", where=path) from error


def _taken(prover: Prover, number: int, draft: Draft) -> Recorded | str:
    """The proof with its states, or why Coq refuses it."""
    name = f"t{number:06d}"
    theorem = Theorem(name=name, statement=f"Theorem {name} : {draft.statement}.", prelude=prelude())
    state = prover.start(theorem)
    states = []
    for tactic in draft.tactics:
        if isinstance(state, Failure):
            break
        states.append(state.goals)
        state = prover.apply(state, tactic)
    if isinstance(state, Failure):
        return f"{draft.statement}: {draft.tactics[max(len(states) - 1, 0)]} {' '.join(state.message.split())}"
    if state.goals:
        return f"{draft.statement}: {len(state.goals)} goals are left"
    return Recorded(name=name, draft=draft, states=tuple(states))


def _digest() -> str:
    """Names everything that decides the theorems, their proofs and what is held out."""
    folder = resources.files("llemma.sources.proofs")
    parts = sorted((p.name, p.read_bytes()) for p in folder.iterdir() if p.name.endswith((".py", ".toml", ".v")))
    held = resources.files("llemma").joinpath("tasks", "theorems", "library.v").read_bytes()
    return hashlib.sha256(b"".join(name.encode() + b"\0" + data for name, data in [*parts, ("", held)])).hexdigest()[:12]

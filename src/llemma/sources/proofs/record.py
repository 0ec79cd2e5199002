"""Runs generated proofs through a real Coq and keeps the states it shows in a file, for text without a prover.

Coq's toplevel reads thousands of proofs at a go and shows the first goal before every tactic, ten times as fast as
``Prover.start`` and ``apply`` would; a test holds the two to the same states. The file starts with a line that says
what it was made of; a row is a proof that Coq took to its end. Proofs that Coq refuses are left out and counted.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from llemma.errors import DataError, ProverError, explain
from llemma.fetch import cache_folder
from llemma.provers.coq import install
from llemma.records import Goal, from_row, to_row
from llemma.run import atomic_file, json_line
from llemma.sources.proofs.base import Draft
from llemma.sources.proofs.draw import drafts, prelude

BATCH = 250  # proofs that one process reads
PROCESSES = 2
SECONDS = 600.0  # for a batch, which takes about one on a quiet core
REFUSED = 0.05  # a larger share of refused proofs says that this Coq is not the one the families are written for

_GOAL = re.compile(r"\d+ goals?\b[^\n]*\n(.*?)\n  =+\n(.*?)\n(?:\n|t\d{6}\n|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A theorem under its name with the first goal before each of its tactics, every part of a goal on one line."""

    name: str
    draft: Draft
    goals: tuple[Goal, ...]


def recorded(count: int, seed: int, file: Path | None = None) -> Iterator[Recorded]:
    """The proofs of the first ``count`` theorems of a seed; out of ``file`` or the cache, or recorded now.

    Raises ProverError when Coq is needed and not there, DataError for a file that is damaged or of other theorems.
    """
    origin = {"count": count, "seed": seed, "made_of": made_of()}
    path = place(count, seed, file)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write(path, origin, take(list(itertools.islice(drafts(seed), count))))
    return read(path, origin)


def place(count: int, seed: int, file: Path | None = None) -> Path:
    """Where the record of the first ``count`` theorems of a seed is kept."""
    return file or cache_folder() / f"proofs-{count}-{seed}-{made_of()}.jsonl.gz"


def take(chosen: Sequence[Draft]) -> list[Recorded | Draft]:
    """Each proof with the states Coq showed; the bare draft where Coq refused it. Raises ProverError without Coq."""
    command = _toplevel()
    numbered = [(f"t{number:06d}", draft) for number, draft in enumerate(chosen)]
    batches = [numbered[at : at + BATCH] for at in range(0, len(numbered), BATCH)]
    with ThreadPoolExecutor(PROCESSES) as pool:
        return [made for batch in pool.map(lambda batch: _taken(command, batch), batches) for made in batch]


def write(path: Path, origin: Mapping[str, Any], made: Iterable[Recorded | Draft]) -> None:
    """The file of a record. Raises DataError when Coq refused more proofs than a wrong version would explain."""
    made = list(made)
    rows = [each for each in made if isinstance(each, Recorded)]
    refused = [each.statement for each in made if isinstance(each, Draft)]
    version = install.find().version
    if len(refused) > REFUSED * len(made):
        raise DataError(f"Coq {version} refuses {len(refused)} of {len(made)} generated proofs, e.g. of {refused[0]}")
    head = {**origin, "prover": f"Coq {version}", "proofs": len(rows), "refused": refused}
    with atomic_file(path) as file, gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
        for row in (head, *map(to_row, rows)):
            packed.write(json_line(row))


def read(path: Path, origin: Mapping[str, Any]) -> Iterator[Recorded]:
    """The proofs of a file. Raises DataError when it is damaged or was made of something else."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            head = json.loads(next(lines))
            other = [key for key, value in origin.items() if head.get(key) != value]
            if other:
                raise DataError(f"recorded with another {', '.join(other)}; remove it to record anew", where=path)
            for line in lines:
                yield from_row(Recorded, json.loads(line))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(explain(error), where=path) from error
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise DataError(f"not a record of proofs: {error}", where=path) from error


def _toplevel() -> list[str]:
    """The command of Coq's toplevel, beside the other programs. Raises ProverError with the remedy."""
    folder = str(Path(install.find().compile[0]).parent)
    for words in (["coqtop"], ["rocq", "top"]):
        if program := shutil.which(words[0], path=folder):
            return [program, *words[1:], "-q"]
    raise ProverError(f"no coqtop in {folder}; {install.REMEDY}")


def _taken(command: Sequence[str], batch: Sequence[tuple[str, Draft]]) -> list[Recorded | Draft]:
    text = [prelude(), "Set Silent.", "Set Printing Width 100000."]
    for name, draft in batch:
        text.append(f"Theorem {name} : {draft.statement}.")
        for number, tactic in enumerate(draft.tactics):
            text += [f'idtac "@@ {name} {number}".', "Show.", tactic]
        text += ["Qed.", "Abort All.", f"Check {name}."]  # a refused proof has no name to check
    done = subprocess.run(
        command, input="\n".join(text), capture_output=True, text=True, timeout=SECONDS, check=False,
        env=install.environment(),
    )  # fmt: skip
    proved = set(re.findall(r"^(t\d{6})$", done.stdout, re.MULTILINE))
    goals: dict[tuple[str, int], Goal] = {}
    for part in done.stdout.split("@@ ")[1:]:
        head, _, shown = part.partition("\n")
        name, place = head.split()
        if found := _GOAL.match(shown):
            goals[name, int(place)] = _goal(found)
    return [
        Recorded(name=name, draft=draft, goals=tuple(goals[name, number] for number in range(len(draft.tactics))))
        if name in proved
        else draft
        for name, draft in batch
    ]


def _goal(found: re.Match[str]) -> Goal:
    hypotheses = tuple(flat(line) for line in found[1].splitlines() if line.strip())
    return Goal(hypotheses=hypotheses, conclusion=flat(found[2]))


def flat(text: str) -> str:
    """A text on one line: where a prover breaks lines says nothing."""
    return " ".join(text.split())


def made_of() -> str:
    """Names everything that decides the theorems, their proofs and what is held out."""
    folder = resources.files("llemma.sources.proofs")
    parts = sorted((p.name, p.read_bytes()) for p in folder.iterdir() if p.name.endswith((".py", ".toml", ".v")))
    held = resources.files("llemma").joinpath("tasks", "theorems", "library.v").read_bytes()
    return hashlib.sha256(b"".join(name.encode() + b"\0" + data for name, data in [*parts, ("", held)])).hexdigest()[
        :12
    ]

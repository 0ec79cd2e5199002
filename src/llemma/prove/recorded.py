"""Reads the published outputs of the paper's formal-to-formal runs and recomputes their scores.

They say what LeanDojo believed (``ProofFinished``): no proof in them was checked again, by the authors or here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llemma.errors import DataError
from llemma.evaluate.stats import metric
from llemma.records import Metric
from llemma.run import read_json

NOT_A_THEOREM = "sum_pairs"  # a helper definition that the data lists among the theorems; the authors leave it out too


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One model's run: what it proved, at which expansion, with how many tactics, and how the others failed."""

    model: str
    proved: Metric
    count: int
    first: int
    single: int
    failures: Mapping[str, int]
    theorems: Sequence[str]


def recompute(folder: Path) -> tuple[Recorded, ...]:
    """The runs in a folder, or of one file, by model. Raises DataError for what is not such a recording."""
    files = sorted(folder.glob("*.json")) if folder.is_dir() else [folder]
    if not files:
        raise DataError("holds no recorded runs (*.json)", where=folder)
    rows: dict[str, dict[str, Mapping[str, Any]]] = {}
    for path in files:
        own = rows.setdefault(path.name.partition("_minif2f")[0].removesuffix(".json"), {})
        for row in _results(path):
            name = row["example"]["full_name"]
            if name == NOT_A_THEOREM:
                continue
            if name in own:
                raise DataError(f"the theorem {name} is there twice for one model", where=path)
            own[name] = row
    return tuple(_recorded(model, found) for model, found in rows.items())


def _results(path: Path) -> list[Mapping[str, Any]]:
    value = read_json(path)
    rows = value.get("results") if isinstance(value, dict) else None
    if not isinstance(rows, list):
        raise DataError("expected an object with a list `results`, as llemma_formal2formal writes it", where=path)
    for number, row in enumerate(rows):
        try:
            known = isinstance(row["example"]["full_name"], str) and isinstance(row["success"], bool)
            known = known and isinstance(row["attempt_results"], list)
        except (KeyError, TypeError):
            known = False
        if not known:
            raise DataError(f"result {number} lacks example.full_name, success or attempt_results", where=path)
    return rows


def _recorded(model: str, rows: Mapping[str, Mapping[str, Any]]) -> Recorded:
    proofs, failures = [], Counter[str]()
    for row in rows.values():
        good = [attempt for attempt in row["attempt_results"] if attempt.get("success")]
        if bool(good) != row["success"]:
            raise DataError(f"{row['example']['full_name']}: `success` and its attempts say different things")
        if good:
            proofs.append(good[0])
        else:
            failures[next((a.get("failure_reason", "") for a in row["attempt_results"]), "unknown")] += 1
    return Recorded(
        model=model,
        proved=metric("proved", [float(row["success"]) for row in rows.values()]),
        count=len(proofs),
        first=sum(proof.get("iteration") == 0 for proof in proofs),
        single=sum(len(proof.get("proof", ())) == 1 for proof in proofs),
        failures=dict(failures.most_common()),
        theorems=sorted(name for name, row in rows.items() if row["success"]),
    )

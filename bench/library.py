"""What a tiny model proves of our library, beside the ladder, told apart by what its training text held.

Reads run folders of `llemma prove library`; proves nothing. The training text holds no theorem of the library, but of
some it holds variants of the same shape: equal but for names and numerals (`llemma.sources.proofs.shape`).

    llemma prove library prover=coq model=hf:runs/tactics-tiny prompt=zero search=greedy,whole,best_first run=runs/lib
    python bench/library.py runs/lib [FOLDER ...] [count=10000] [seed=0]
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llemma.evaluate.stats import metric
from llemma.run import read_json, read_jsonl
from llemma.sources.proofs import shape
from llemma.sources.proofs.draw import statements
from llemma.sources.proofs.record import recorded
from llemma.tasks.library import proofs, text


def main(words: Sequence[str]) -> None:
    """Print the table of the folders."""
    numbers = {"count": 10_000, "seed": 0} | {k: int(v) for k, _, v in (w.partition("=") for w in words if "=" in w)}
    folders = [Path(word) for word in words if "=" not in word]
    if not folders or set(numbers) != {"count", "seed"}:
        raise SystemExit(__doc__)
    trained = {shape(proof.draft.statement) for proof in recorded(numbers["count"], numbers["seed"])}
    terms = dict(zip(proofs("coq"), statements(text("coq")), strict=True))
    near = {name for name, term in terms.items() if shape(term) in trained}
    runs = [(folder, rows) for folder in folders for rows in searches(folder).items()]
    ladder = {name for _, (search, rows) in runs if search == "ladder" for name, proved in rows.items() if proved}
    groups = {
        "all": set(terms),
        "not by the ladder": set(terms) - ladder,
        "of them a variant in training": near - ladder,
        "of them no variant": set(terms) - ladder - near,
    }
    print(f"{len(ladder)} of {len(terms)} by the ladder; {len(near)} have a variant in training")
    print(f"| run | search | {' | '.join(groups)} |")
    print("|---" * (2 + len(groups)) + "|")
    for folder, (search, rows) in runs:
        cells = [cell([float(rows[name]) for name in group if name in rows]) for group in groups.values()]
        print(f"| {folder.name} | {told(folder, search)} | {' | '.join(cells)} |")


def searches(folder: Path) -> Mapping[str, dict[str, bool]]:
    """Search → theorem → whether it was proved and checked."""
    found: dict[str, dict[str, bool]] = {}
    for row in read_jsonl(folder / "rows.jsonl"):
        if row["error"] is None:
            found.setdefault(row["search"], {})[row["theorem"]] = row["proved"]
    return found


def told(folder: Path, search: str) -> str:
    """The search with what decides it."""
    settings: dict[str, Any] = read_json(folder / "config.json")["settings"]
    if search == "best_first":
        model = ", fixed moves" if settings["model"] == "fixed" else ""
        return f"best_first, dedup={settings['dedup']}{model}"
    return f"whole, {settings['samples']} samples" if search == "whole" else search


def cell(values: Sequence[float]) -> str:
    """How many are proved of how many that were tried, in percent with the 95 % interval."""
    if not values:
        return "–"
    found = metric("proved", values)
    percent = [f"{100 * value:.1f}" for value in (found.value, found.low, found.high)]
    return f"{sum(values):.0f} of {len(values)}: {percent[0]} [{percent[1]}, {percent[2]}]"


if __name__ == "__main__":
    main(sys.argv[1:])

"""The tables of docs/numbers.md on trained models and the probe, by one command: every encoding on every task.

Each part is a run of ``llemma numbers compare`` or ``probe`` in its own folder, so that a killed run goes on and parts
may be measured side by side on idle cores. The tables are printed as they stand in the page.

    python bench/encodings.py [parts=sums,products] [seeds=3] [run=runs/bench-encodings]
"""

from __future__ import annotations

import datetime
import importlib.metadata
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llemma.config import resolve, setting
from llemma.evaluate.numbers import compare
from llemma.records import Event
from llemma.report.numbers import TITLES, VIEWS, cell
from llemma.report.units import DASH, count
from llemma.tokens.numbers.probed import probe
from llemma.tokens.settings import ENCODING_NAMES, NumbersConfig, TrainedConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured."""

    parts: tuple[str, ...] = setting((), "sums, products, five, trees, orbits, text, probe (default: all)")
    seeds: int = setting(3, "repetitions of every run")
    run: Path = setting(Path("runs/bench-encodings"), "where the runs are kept; what is done there is not done again")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One table: a task, its encodings, its budget, and the figures it shows; the first of them in all three views."""

    task: str
    encodings: tuple[str, ...]
    figures: tuple[str, ...]
    samples: int
    batch: int = 64
    tests: int = 200
    splits: tuple[str, ...] = ("test",)
    calibration: bool = False


FEW = ("digits", "abacus", "xval", "fone", "hybrid")
MOST = ("digits", "digits-reversed", "abacus", "chunk3-r2l", "p1000", "xval", "xval-log", "fone", "bits", "hybrid")
PARTS = {
    "sums": Part(
        task="addition3", encodings=MOST, figures=("exact", "median_error", "units"), samples=60_000, calibration=True
    ),
    "products": Part(
        task="product3", encodings=(*MOST[:4], *MOST[5:]), figures=("median_error", "r2", "units", "exact"),
        samples=20_000,
    ),
    "five": Part(
        task="product5", encodings=FEW, figures=("median_error", "r2", "units", "three_figures", "exact"),
        samples=20_000,
    ),
    "trees": Part(
        task="trees", encodings=FEW, figures=("exact", "median_error", "units", "r2"), samples=20_000,
        splits=("operands2", "operands4"),
    ),
    "orbits": Part(
        task="orbits", encodings=("digits", "xval", "fone", "hybrid"), figures=("mse", "median_error"), samples=1_500,
        batch=16, tests=50, splits=("inside", "beyond"),
    ),
    "text": Part(
        task="text", encodings=("digits", "xval", "fone", "hybrid"),
        figures=("exact", "within_1_percent", "words_loss"), samples=5_000, batch=32, tests=100, calibration=True,
    ),
}  # fmt: skip


def settings_of(part: Part, name: str, s: Settings) -> NumbersConfig:
    """The comparison behind a table."""
    return NumbersConfig(
        action="compare",
        tasks=(part.task,),
        encodings=part.encodings,
        samples=part.samples,
        seeds=s.seeds,
        train=TrainedConfig(batch=part.batch, tests=part.tests, points=2),
        run=s.run / name,
    )


def table(part: Part, found: Mapping[str, Any], split: str) -> Iterator[str]:
    """The lines of a table: baselines, then encodings in their order."""
    lines = {view: {line["encoding"]: line for line in found["views"][view][split]} for view in VIEWS}
    last = lines["flops"]
    names = [name for name in last if "tokens_per_sample" not in last[name]]
    names += [name for name in part.encodings if name in last]
    first, rest = part.figures[0], part.figures[1:]
    heads = ["encoding", "tokens", "seeds", f"{TITLES[first]}: {VIEWS['samples']}", VIEWS["tokens"], VIEWS["flops"]]
    heads += [TITLES[figure] for figure in rest] + ["calibration error"] * part.calibration
    yield from (f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}")
    for name in names:
        line = last[name]
        learnt = "tokens_per_sample" in line
        row = [f"`{name}`" if learnt else f"*{name}*", f"{line['tokens_per_sample']:.1f}" if learnt else ""]
        row += [str(line["seeds"]), _cell(first, lines["samples"].get(name))]
        row += [_cell(first, lines[view].get(name)) if learnt else "" for view in ("tokens", "flops")]
        row += [_cell(figure, line) for figure in rest]
        if part.calibration:
            sure = found["calibration"].get(name)
            row.append("" if sure is None else f"{sure['error']:.3f}")
        yield f"| {' | '.join(row)} |"
    yield from (f"Not trained: `{name}`, {why}." for name, why in found["failed"].items())


def probe_table(found: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """The probe's lines: orbits and both products side by side."""
    wanted = [("orbits", "inside"), ("orbits", "beyond")]
    wanted += [("product3", "median_error"), ("product3", "r2"), ("product3", "units")]
    wanted += [("product5", "median_error"), ("product5", "units")]
    heads = [f"{task}: {TITLES[figure]}" for task, figure in wanted]
    yield from (f"| encoding | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}")
    names = list(dict.fromkeys(line["encoding"] for lines in found.values() for line in lines))
    for name in names:
        row = []
        for task, figure in wanted:
            line = next((line for line in found[task] if line["encoding"] == name), None)
            row.append(_cell(figure, line))
        yield f"| {f'`{name}`' if name in ENCODING_NAMES else f'*{name}*'} | {' | '.join(row)} |"


def _cell(figure: str, line: Mapping[str, Any] | None) -> str:
    if line is None or figure not in line:
        return DASH
    return cell(figure, *(line[figure][end] for end in ("mean", "low", "high")))


def tell(event: Event) -> None:
    """What runs, now and then."""
    if event.note:
        print(f"{event.done}/{event.total} {event.unit} {event.note}", file=sys.stderr, flush=True)


def main() -> None:
    s = resolve(Settings, words=sys.argv[1:])
    unknown = sorted(set(s.parts) - {*PARTS, "probe"})
    if unknown:
        raise SystemExit(f"parts={','.join(unknown)}: known are {', '.join((*PARTS, 'probe'))}")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "numpy"))
    print(f"{datetime.date.today()}; {versions}; one thread a run")
    for name in s.parts or (*PARTS, "probe"):
        start = time.process_time()
        if name == "probe":
            found = probe(NumbersConfig(action="probe", seeds=s.seeds, run=s.run / "probe"), tell)
            print("\n".join(("", "The probe:", "", *probe_table(found))))
        else:
            part = PARTS[name]
            (tables,) = compare(settings_of(part, name, s), tell).values()
            budget = tables["budgets"]
            spent = ", ".join(f"{count(budget[key])} {key if key != 'flops' else 'FLOPs'}" for key in budget)
            for split in part.splits:
                print("\n".join(("", f"{part.task}, {split} ({spent}):", "", *table(part, tables, split))))
        print(f"\n{name}: {time.process_time() - start:,.0f} s of processor time", flush=True)


if __name__ == "__main__":
    main()

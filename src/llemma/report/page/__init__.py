"""One self-contained HTML page about some runs: no script, nothing fetched, opens from the disk.

``collect`` reads the run folders into a ``Page``, ``render`` writes it as HTML. All text of models, corpora
and settings is taken for hostile: it is escaped by the template or rebuilt by ``mathml``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from llemma.errors import DataError, MissingDependency
from llemma.records import Metric
from llemma.report import units
from llemma.report.page import charts
from llemma.report.page.corpus import LONGEST_EXAMPLE, Corpus, read_corpus
from llemma.report.page.evaluation import MOST_ATTEMPTS, VERDICTS, Evaluation, read_evaluation
from llemma.report.page.mathml import rich
from llemma.report.page.numbers import Numbers, read_numbers
from llemma.report.page.overlap import Overlap, read_overlap
from llemma.report.page.proving import Proving, read_proving
from llemma.report.page.read import Folder, find, finite, json_object, listed, table
from llemma.report.page.training import Training, read_training
from llemma.report.tables import Figure, Table, compare, metric_from
from llemma.run import atomic_write

try:
    import jinja2
except ModuleNotFoundError as error:
    raise MissingDependency("jinja2", install='pip install "llemma[page]"') from error

MOST_RUNS = 60
MOST_CHARTS = 6  # of one kind
MOST_GROUPS = 24  # task × run with samples: bounds the page

SYMBOLS = {"correct": "✓", "wrong": "✗", "unparsable": "?", "timeout": "◷", "unsafe": "!", "error": "⚠"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tour:
    """The summary of a tour: the headline figures and how long each stage took."""

    name: str
    figures: tuple[Figure, ...]
    seconds: tuple[tuple[str, float], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """All the page shows, as plain records."""

    title: str
    folders: tuple[Folder, ...]
    tours: tuple[Tour, ...]
    corpora: tuple[Corpus, ...]
    overlaps: tuple[Overlap, ...]
    trainings: tuple[Training, ...]
    evaluations: tuple[Evaluation, ...]
    provings: tuple[Proving, ...]
    numbers: tuple[Numbers, ...]
    results: Table
    figures: tuple[Figure, ...]
    notes: tuple[tuple[str, str], ...]


def write_report(runs: Sequence[Path], out: Path | None = None, *, refresh: int = 0) -> Path:
    """Write the page about ``runs`` to ``out`` (default: ``report.html`` in the first folder); its path.

    With ``refresh`` it is written again after so many seconds, until no training is unfinished, and an open page loads
    itself as often. Raises DataError when a folder is missing or holds no run, or the folder of ``out`` does not exist.
    """
    if not runs:
        raise DataError("no run folder given; name at least one, as in `llemma report runs/tour`")
    while refresh and not all(t.finished for t in collect(runs).trainings):
        _written(runs, out, render(runs, refresh=refresh))
        time.sleep(refresh)
    return _written(runs, out, render(runs))


def _written(runs: Sequence[Path], out: Path | None, page: str) -> Path:
    path = out if out is not None else runs[0] / "report.html"
    if not path.parent.is_dir():
        raise DataError(f"the folder of this file does not exist; make it first or change out={path}", where=path)
    atomic_write(path, page)
    return path


def render(run_folders: Sequence[Path], *, refresh: int = 0) -> str:
    """The HTML page about every run at or below ``run_folders``; the same input gives the same text.

    With ``refresh`` a browser loads it again after so many seconds.
    """
    page = collect(run_folders)
    html = _environment().get_template("template.html").render(
        page=page, charts=_charts(page), drawn=_drawn(page), verdicts=_seen(page), symbols=SYMBOLS,
        most_attempts=MOST_ATTEMPTS, longest_example=LONGEST_EXAMPLE, refresh=refresh, groups=_groups(page),
        most_groups=MOST_GROUPS,
    )  # fmt: skip
    return units.visible(html)


def collect(run_folders: Sequence[Path]) -> Page:
    """Read the runs at or below ``run_folders``. What is damaged or unfinished becomes a note."""
    found = _outermost(find(run_folders))
    folders = found[:MOST_RUNS]
    tours = tuple(_tour(f) for f in folders if f.verb == "tour")
    corpora = tuple(read_corpus(f) for f in folders if f.verb == "corpus")
    overlaps = tuple(read_overlap(f) for f in folders if f.verb == "overlap")
    trainings = tuple(read_training(f) for f in folders if f.verb == "train")
    evaluations = tuple(read_evaluation(f) for f in folders if f.verb == "eval")
    proving = [f for f in folders if f.verb == "prove"]
    provings = tuple(read_proving(f, len(proving)) for f in proving)
    numbers = tuple(read_numbers(f) for f in folders if f.verb == "numbers")
    notes = [(f.name, note) for f in folders for note in f.notes]
    parts: list[Tour | Corpus | Overlap | Training | Evaluation | Proving | Numbers]
    parts = [*tours, *corpora, *overlaps, *trainings, *evaluations, *provings, *numbers]
    for part in parts:
        notes += [(part.name, note) for note in part.notes]
    if len(found) > len(folders):
        notes.append((f"{len(found) - len(folders)} more runs", f"the page shows the first {MOST_RUNS}"))
    figures = (*_headline(tours, evaluations), *_searches(tours, provings))
    return Page(
        title=", ".join(dict.fromkeys(f.name.split("/")[0] for f in folders)),
        folders=folders,
        tours=tours,
        corpora=corpora,
        overlaps=overlaps,
        trainings=trainings,
        evaluations=evaluations,
        provings=provings,
        numbers=numbers,
        results=compare(figures),
        figures=figures,
        notes=tuple(notes),
    )


def _outermost(found: tuple[Folder, ...]) -> tuple[Folder, ...]:
    """Without the models of a comparison of number encodings: hundreds of trainings, told by its tables."""
    comparisons = {f.path for f in found if f.verb == "numbers"}
    return tuple(f for f in found if not comparisons & set(f.path.parents))


def _tour(folder: Folder) -> Tour:
    summary, trouble = json_object(folder.path, "summary.json")
    figures = []
    for entry in listed(summary.get("table"))[:400]:
        metric = metric_from(entry)
        if metric is not None:
            task, model = units.one_line(entry.get("task", ""), 60), units.one_line(entry.get("model", ""), 40)
            figures.append(Figure(task=task, model=model, metric=metric))
    stages = [(units.one_line(stage, 40), finite(s)) for stage, s in list(table(summary.get("seconds")).items())[:40]]
    return Tour(
        name=folder.name,
        figures=tuple(figures),
        seconds=tuple((stage, s) for stage, s in stages if s is not None),
        notes=() if trouble is None else (trouble,),
    )


def _headline(tours: Sequence[Tour], evaluations: Sequence[Evaluation]) -> tuple[Figure, ...]:
    """A tour's own table, and the evaluations that no tour sums up; names made distinct where they clash."""
    told = [tour for tour in tours if tour.figures]
    others = [e for e in evaluations if not any(e.name.startswith(tour.name + "/") for tour in told)]
    found = [
        Figure(task=f.task, model=f"{tour.name} {f.model}" if len(told) > 1 else f.model, metric=f.metric)
        for tour in told for f in tour.figures
    ]  # fmt: skip
    labels = [e.label for e in others] + [f.model for f in found]
    for e in others:
        name = e.label if labels.count(e.label) == 1 else e.name
        found += [Figure(task=f.task, model=name, metric=f.metric) for f in _widest(e.figures)]
    return tuple(found)


def _searches(tours: Sequence[Tour], provings: Sequence[Proving]) -> list[Figure]:
    """The figures of the proof searches that no tour sums up; named with the run where there are several."""
    told = [p for p in provings if not any(p.name.startswith(tour.name + "/") for tour in tours if tour.figures)]
    return [
        Figure(task=f.task, model=f"{p.name} {f.model}" if len(told) > 1 else f.model, metric=f.metric)
        for p in told for f in _widest(p.figures)
    ]  # fmt: skip


def _widest(figures: Sequence[Figure]) -> list[Figure]:
    """Of maj@2, maj@4, … and of pass@k only the largest k: the chart of votes shows the others."""
    largest: dict[str, int] = {}
    split = [(f, *f.metric.name.partition("@")[::2]) for f in figures]
    for _, kind, k in split:
        largest[kind] = max(largest.get(kind, 0), int(k) if k.isdecimal() and len(k) < 10 else 0)
    return [f for f, kind, k in split if not (k.isdecimal() and len(k) < 10) or int(k) == largest[kind]]


def _charts(page: Page) -> Mapping[str, list[Markup]]:
    """Every chart of the page by kind."""
    metrics = list(dict.fromkeys(f.metric.name for f in page.figures))
    first = "accuracy" if "accuracy" in metrics else next(iter(metrics), "")
    bars: dict[str, dict[str, Metric]] = {}
    for f in page.figures:
        if f.metric.name == first:
            bars.setdefault(f.task, {})[f.model] = f.metric
    voting = [e for e in page.evaluations if any(t.curve for t in e.tasks)][:MOST_CHARTS]
    made = {
        "training": [
            _captioned(
                charts.losses(page.trainings, "loss"), "Training loss: every logged step faint, moving average strong."
            ),
            _captioned(charts.rates(page.trainings, "rate"), "Learning rate."),
            _captioned(charts.norms(page.trainings, "norm"), "Gradient norm before clipping."),
            _captioned(charts.speeds(page.trainings, "speed"), "Tokens per second."),
        ],
        "validation": [
            chart
            for i, t in enumerate(page.trainings[:MOST_CHARTS])
            for chart in (
                _captioned(charts.sources(t, f"source{i}"), f"Training loss by source, moving average, {t.name}."),
                _captioned(charts.validation(t, f"valid{i}"), f"Validation loss by source, {t.name}."),
            )
        ],
        "accuracy": [charts.accuracies(bars, first, "acc")],
        "votes": [
            charts.votes({t.task: t.curve for t in e.tasks}, f"maj@k of {e.label}", f"votes{i}")
            for i, e in enumerate(voting)
        ],
    }
    return {kind: [chart for chart in drawn if chart is not None] for kind, drawn in made.items()}


def _drawn(page: Page) -> dict[str, list[Markup]]:
    """The charts of each task of the comparisons of number encodings, by ``RUN TASK``."""
    drawn: dict[str, list[Markup]] = {}
    for i, run in enumerate(page.numbers):
        for j, task in enumerate(run.tasks):
            made = [charts.curves(each, f"numbers{i}-{j}-{k}") for k, each in enumerate(task.charts)]
            title = f"{task.name}: stated probability and exactness"
            made.append(charts.reliability(task.reliability, title, f"numbers{i}-{j}-sure"))
            titles = [*(each.title for each in task.charts), f"{title} (at equal FLOPs)"]
            drawn[f"{run.name} {task.name}"] = [
                chart + Markup("<figcaption>{}</figcaption>").format(said)
                for chart, said in zip(made, titles, strict=True)
                if chart is not None
            ]
    return drawn


def _captioned(chart: Markup | None, text: str) -> Markup | None:
    return None if chart is None else chart + Markup("<figcaption>{}</figcaption>").format(text)


def _groups(page: Page) -> list[tuple[Evaluation, Any]]:
    """The (evaluation, task) pairs whose samples are shown: each evaluation's first tasks, in turn."""
    depth = max((len(e.tasks) for e in page.evaluations), default=0)
    turns = [(e, e.tasks[i]) for i in range(depth) for e in page.evaluations if i < len(e.tasks) and e.tasks[i].shown]
    order = {id(e): i for i, e in enumerate(page.evaluations)}
    return sorted(turns[:MOST_GROUPS], key=lambda pair: order[id(pair[0])])


def _seen(page: Page) -> list[str]:
    """The verdicts worth a column: the three common ones, the others when they occur."""
    tasks = [t for e in page.evaluations for t in e.tasks]
    return [v for i, v in enumerate(VERDICTS) if i < 3 or any(t.verdicts[v] for t in tasks)]


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("llemma.report.page", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "count": units.count, "bytes": units.size, "percent": units.percent, "duration": units.duration,
        "significant": units.significant, "line": units.one_line, "rich": rich, "safe_text": _plain,
    }  # fmt: skip
    return environment


def _plain(text: str, limit: int = 3_000) -> Markup:
    """Text as it is, escaped, cut to ``limit`` characters with the cut told."""
    kept = Markup.escape(units.visible(text[:limit]))
    if len(text) <= limit:
        return kept
    return kept + Markup('<span class="cut"> … {} more characters</span>').format(f"{len(text) - limit:,}")

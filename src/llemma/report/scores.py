"""Scores of evaluations as lines for the terminal, and as the paper's table in text, Markdown, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llemma.config import read_toml
from llemma.errors import DataError
from llemma.evaluate.compare import Compared
from llemma.evaluate.metrics import TaskResult
from llemma.records import Metric, to_row
from llemma.report import TableConfig
from llemma.report.tables import metric_from
from llemma.report.units import DASH, grid, interval, one_line
from llemma.run import read_json

PAPER_ORDER = ("gsm8k", "ocw", "mmlu_stem", "sat", "math", "gsm8k_python", "math_python")  # of the paper's tables
TITLES = {
    "gsm8k": "GSM8k", "ocw": "OCW", "mmlu_stem": "MMLU-STEM", "sat": "SAT", "math": "MATH",
    "gsm8k_python": "GSM8k+Python", "math_python": "MATH+Python",
}  # fmt: skip
MOST_GROUPS = 40  # lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the paper's table: a model, how its answers were chosen, its score per task."""

    model: str
    kind: str
    scorer: str
    cells: Mapping[str, Metric | float]

    @property
    def published(self) -> bool:
        """Whether these are reported figures rather than measured ones."""
        return self.scorer == "reported"


def as_lines(results: Sequence[TaskResult]) -> list[str]:
    """The scores of a run for the terminal: a line per task and scorer, then accuracy by group, then what was lost."""
    head = ["task", "scorer", "n", "accuracy", "best vote", "pass", "unparsable", "timeouts", "errors"]
    body, groups, notes = [], [], []
    for result in results:
        front = (result.scorer, result.metrics, result.unparsable, result.timeouts)
        others = [(other.scorer, other.metrics, other.unparsable, other.timeouts) for other in result.others]
        for scorer, metrics, unparsable, timeouts in (front, *others):
            votes = [m for m in metrics if m.name.startswith("maj@")]
            passed = next((m for m in metrics if m.name.startswith("pass@")), None)
            body.append(
                [
                    result.task,
                    scorer,
                    str(metrics[0].n),
                    _shown(metrics[0]),
                    f"{votes[-1].name} {_shown(votes[-1])}" if votes else DASH,
                    f"{passed.name} {_shown(passed)}" if passed else DASH,
                    str(unparsable),
                    str(timeouts),
                    str(result.errors),
                ]
            )
        groups += [[result.task, _group(m.name), str(m.n), _shown(m)] for m in result.groups]
        notes += _notes(result)
    lines = grid(head, body)
    if groups:
        lines += ["", *grid(["task", "group", "n", "accuracy"], groups[:MOST_GROUPS])]
    return [*lines, *notes]


def _notes(result: TaskResult) -> list[str]:
    if not result.prompt or result.prompt.get("prompt") is None:
        return []
    prompt = result.prompt
    whose = "the paper's" if prompt["prompt"] == "paper" else "our own"
    return [f"{result.task}: {prompt.get('shots')} examples, {whose} (sha256 {str(prompt.get('prompt_sha256'))[:12]}…)"]


def differences(found: Iterable[Compared]) -> list[str]:
    """Two runs compared, for the terminal."""
    head = ["task", "metric", "n", "first", "second", "difference [95 %]", "only first", "only second", "McNemar p"]
    body = []
    for each in found:
        d = each.difference
        body.append(
            [
                each.task,
                each.metric,
                str(d.n),
                f"{100 * each.first:.1f} %",
                f"{100 * each.second:.1f} %",
                f"{100 * d.value:+.1f} [{100 * d.low:+.1f}, {100 * d.high:+.1f}]",
                DASH if d.only_first is None else str(d.only_first),
                DASH if d.only_second is None else str(d.only_second),
                DASH if d.p is None else f"{d.p:.2g}",
            ]
        )
    return grid(head, body)


def paper_table(config: TableConfig) -> str:
    """The runs in the paper's layout, its figures beside. Raises DataError for a folder without results."""
    figures = read_toml(config.paper or _figures())
    lines = [line for folder in config.runs for line in _measured(folder)]
    lines += _reported(figures.get("expected", {}), {line.kind.partition("@")[0] for line in lines})
    tasks = _tasks(lines)
    return {"text": _text, "markdown": _markdown, "csv": _csv, "json": _json}[config.format](lines, tasks)


def _figures() -> Path:
    """The paper's figures: beside this file in an installed package, among the experiments in a checkout."""
    packaged = Path(__file__).with_name("paper.toml")
    if packaged.exists():
        return packaged
    return Path(__file__).resolve().parents[3] / "experiments" / "paper.toml"


def _measured(folder: Path) -> list[Line]:
    stored = read_json(folder / "metrics.json")
    config = read_json(folder / "config.json")
    tasks = stored.get("tasks") if isinstance(stored, dict) else None
    if not isinstance(tasks, list) or not tasks:
        raise DataError("holds no results of `llemma eval`; run it to its end", where=folder / "metrics.json")
    model = one_line(config.get("settings", {}).get("model", folder.name), 60)
    found: dict[tuple[str, str], dict[str, Metric | float]] = {}
    for task in tasks:
        for scorer, metrics in [(task.get("scorer", "strict"), task["metrics"])] + [
            (other["scorer"], other["metrics"]) for other in task.get("others", [])
        ]:
            read = [metric for entry in metrics if (metric := metric_from(entry)) is not None]
            votes = [metric for metric in read if metric.name.startswith("maj@")]
            best = votes[-1] if votes else next(metric for metric in read if metric.name == "accuracy")
            kind = "majority" if votes else "greedy"
            found.setdefault((kind, scorer), {})[task["task"]] = best
    return [Line(model=model, kind=kind, scorer=scorer, cells=cells) for (kind, scorer), cells in found.items()]


def _reported(expected: Mapping[str, Any], kinds: set[str]) -> list[Line]:
    return [
        Line(model=model, kind=kind, scorer="reported", cells={task: value / 100 for task, value in cells.items()})
        for kind, models in expected.items()
        if kind in kinds
        for model, cells in models.items()
    ]


def _tasks(lines: Sequence[Line]) -> list[str]:
    named = {task for line in lines if not line.published for task in line.cells}
    named |= {task for line in lines for task in line.cells}
    return [*(task for task in PAPER_ORDER if task in named), *sorted(named - set(PAPER_ORDER))]


def _rows(lines: Sequence[Line], tasks: Sequence[str]) -> list[list[str]]:
    return [[line.model, line.kind, line.scorer, *(_cell(line.cells.get(task)) for task in tasks)] for line in lines]


def _cell(value: Metric | float | None) -> str:
    if value is None:
        return DASH
    if isinstance(value, Metric):
        size = f" {value.name}" if value.name.startswith("maj@") else ""
        return f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]{size}"
    return f"{100 * value:.1f}"


def _head(tasks: Sequence[str]) -> list[str]:
    return ["model", "answers", "scorer", *(TITLES.get(task, task) for task in tasks)]


def _text(lines: Sequence[Line], tasks: Sequence[str]) -> str:
    return "\n".join(grid(_head(tasks), _rows(lines, tasks))) + "\n"


def _markdown(lines: Sequence[Line], tasks: Sequence[str]) -> str:
    head = _head(tasks)
    rows = [head, ["---", "---", "---", *["---:"] * len(tasks)], *_rows(lines, tasks)]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |\n" for row in rows)


def _csv(lines: Sequence[Line], tasks: Sequence[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "answers", "scorer", "task", "metric", "value", "low", "high", "n"])
    for line in lines:
        for task in tasks:
            cell = line.cells.get(task)
            if isinstance(cell, Metric):
                values = [cell.name, repr(cell.value), repr(cell.low), repr(cell.high), cell.n]
                writer.writerow([line.model, line.kind, line.scorer, task, *values])
            elif cell is not None:
                writer.writerow([line.model, line.kind, line.scorer, task, line.kind, repr(cell), "", "", ""])
    return out.getvalue()


def _json(lines: Sequence[Line], tasks: Sequence[str]) -> str:
    rows = [{**to_row(line), "published": line.published} for line in lines]
    return json.dumps({"tasks": list(tasks), "rows": rows}, ensure_ascii=False, indent=1) + "\n"


def _shown(metric: Metric) -> str:
    return interval(metric.value, metric.low, metric.high)


def _group(name: str) -> str:
    return name.removeprefix("accuracy[").removesuffix("]")

"""Charts as SVG that sits inside the page: its text and lines take the page's colours, light or dark.

Functions from plain numbers to ``Markup``; the same numbers give the same bytes. No window, no file.
"""

from __future__ import annotations

import io
import logging
import re
import threading
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from llemma.errors import MissingDependency
from llemma.records import Metric
from llemma.report.page.numbers import Drawn
from llemma.report.page.training import Point, Training, smoothed
from llemma.report.units import count, one_line, percent

# Building the font cache and an unwritable home are told through logging; the page has its own font anyway.
logging.getLogger("matplotlib").setLevel(logging.ERROR)
try:
    import matplotlib as mpl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import FuncFormatter, MaxNLocator
except ModuleNotFoundError as error:
    raise MissingDependency("matplotlib", install='pip install "llemma[page]"') from error

# Stand-ins that matplotlib writes and the page's style sheet gives a meaning to.
INK, FAINT = "#010101", "#020202"
SERIES = ("#030301", "#030302", "#030303", "#030304", "#030305", "#030306")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1)), (0, (8, 2, 1, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P")
HATCHES = ("", "////", "....", "xxxx")

_COLOURS = {INK: "var(--ink)", FAINT: "var(--rule)"} | {c: f"var(--s{i + 1})" for i, c in enumerate(SERIES)}
_SETTINGS = {
    "svg.fonttype": "none", "svg.hashsalt": "llemma", "text.parse_math": False, "font.size": 9.5,
    "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"], "axes.spines.top": False,
    "axes.spines.right": False, "axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
    "ytick.color": INK, "axes.linewidth": 0.7, "grid.color": FAINT, "grid.linewidth": 0.6, "axes.grid": True,
    "axes.axisbelow": True, "legend.frameon": False, "legend.fontsize": 9, "lines.linewidth": 1.7,
    "hatch.linewidth": 0.7, "xtick.major.size": 3, "ytick.major.size": 0, "path.simplify_threshold": 0.3,
}  # fmt: skip
_DRAWING = threading.Lock()  # matplotlib's settings belong to the process


def losses(trainings: Sequence[Training], name: str) -> Markup | None:
    """Training loss against step: every value faint, the moving average strong."""
    drawn = [t for t in trainings if len(t.curve) > 1][: len(SERIES)]
    if not drawn:
        return None

    def draw(axes: Axes) -> None:
        for i, t in enumerate(drawn):
            steps, values = [p.step for p in t.curve], [p.loss for p in t.curve]
            axes.plot(steps, values, color=SERIES[i], alpha=0.28, linewidth=0.7)
            axes.plot(steps, smoothed(values), color=SERIES[i], linestyle=DASHES[i], label=_label(t.label))
        _steps(axes)
        axes.set_ylabel("loss (nats per token)")
        axes.legend(loc="upper right")

    said = "; ".join(
        f"{t.label}: from {t.curve[0].loss:.2f} to {smoothed([p.loss for p in t.curve])[-1]:.2f}" for t in drawn
    )
    return _svg(draw, name, "Training loss by step", said)


def rates(trainings: Sequence[Training], name: str) -> Markup | None:
    """Learning rate against step."""

    def told(values: list[float]) -> str:
        return f"highest {max(values):.2g}"

    return _lines(trainings, lambda p: p.lr, name, "Learning rate by step", "learning rate", told, small=True)


def norms(trainings: Sequence[Training], name: str) -> Markup | None:
    """Gradient norm before clipping against step."""

    def told(values: list[float]) -> str:
        return f"last {values[-1]:.2g}, highest {max(values):.2g}"

    return _lines(trainings, lambda p: p.norm, name, "Gradient norm by step", "gradient norm", told)


def speeds(trainings: Sequence[Training], name: str) -> Markup | None:
    """Tokens per second against step."""

    def told(values: list[float]) -> str:
        return f"{count(min(values))} to {count(max(values))}"

    return _lines(trainings, lambda p: p.rate, name, "Tokens per second by step", "tokens per second", told)


def _lines(
    trainings: Sequence[Training],
    pick: Callable[[Point], float | None],
    name: str,
    title: str,
    axis: str,
    told: Callable[[list[float]], str],
    *,
    small: bool = False,
) -> Markup | None:
    """One figure of each logged step, a line for each training; ``small`` numbers are written with a power of ten."""
    found = [(t, [(p.step, value) for p in t.curve if (value := pick(p)) is not None]) for t in trainings]
    drawn = [(t, pairs) for t, pairs in found if len(pairs) > 1][: len(SERIES)]
    if not drawn:
        return None

    def draw(axes: Axes) -> None:
        for i, (t, pairs) in enumerate(drawn):
            axes.plot(*zip(*pairs, strict=True), color=SERIES[i], linestyle=DASHES[i], label=_label(t.label))
        _steps(axes)
        axes.set_ylabel(axis)
        axes.set_ylim(bottom=0)
        if small:
            axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        else:
            axes.yaxis.set_major_formatter(
                FuncFormatter(lambda value, _: count(value) if value >= 10 else f"{value:g}")
            )
        axes.legend(loc="best")

    said = "; ".join(f"{t.label}: {told([value for _, value in pairs])}" for t, pairs in drawn)
    return _svg(draw, name, title, said)


def validation(training: Training, name: str) -> Markup | None:
    """Validation loss per source against step."""
    drawn = {source: pairs for source, pairs in training.valid.items() if pairs}
    return _sources(drawn, name, f"Validation loss of {training.label} by step", "validation loss")


def sources(training: Training, name: str) -> Markup | None:
    """Training loss per source against step, as a moving average."""
    drawn = {}
    for source, pairs in training.sources.items():
        steps, values = zip(*pairs, strict=True)
        drawn[source] = tuple(zip(steps, smoothed(list(values)), strict=True))
    return _sources(drawn, name, f"Training loss of {training.label} by source and step", "training loss")


def _sources(drawn: Mapping[str, Sequence[tuple[float, float]]], name: str, title: str, axis: str) -> Markup | None:
    """A line for each source, with few marks."""
    if not any(len(pairs) > 1 for pairs in drawn.values()):
        return None

    def draw(axes: Axes) -> None:
        for i, (source, pairs) in enumerate(drawn.items()):
            look = i % len(SERIES)
            axes.plot(
                *zip(*pairs, strict=True), color=SERIES[look], linestyle=DASHES[look], marker=MARKERS[look],
                markersize=4, markevery=max(1, len(pairs) // 8), label=_label(source),
            )  # fmt: skip
        _steps(axes)
        axes.set_ylabel(axis)
        axes.legend(loc="upper right", ncols=2 if len(drawn) > 4 else 1)

    said = "; ".join(f"{source}: from {pairs[0][1]:.2f} to {pairs[-1][1]:.2f}" for source, pairs in drawn.items())
    return _svg(draw, name, title, said)


def accuracies(bars: Mapping[str, Mapping[str, Metric]], metric: str, name: str) -> Markup | None:
    """Horizontal bars with 95 % intervals: a group for each task, a bar for each model (at most four)."""
    tasks = [task for task in bars if bars[task]][:16]
    models = list(dict.fromkeys(model for task in tasks for model in bars[task]))[: len(HATCHES)]
    if not tasks:
        return None

    def draw(axes: Axes) -> None:
        height = 0.78 / len(models)
        for j, model in enumerate(models):
            for i, task in enumerate(tasks):
                if model in bars[task]:
                    _bar(axes, i + (j - (len(models) - 1) / 2) * height, 0.88 * height, j, bars[task][model])
        axes.set_yticks(range(len(tasks)), [_label(task) for task in tasks])
        axes.set_ylim(len(tasks) - 0.45, -0.55)
        axes.set_xlim(0, 1.0)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{_label(metric)}, with 95 % interval")
        keys = [(_fill(j), _outline(j)) for j in range(len(models))]
        axes.legend(keys, [_label(m) for m in models], loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(models),
                    borderaxespad=0.1)  # fmt: skip

    said = "; ".join(
        f"{task}: " + ", ".join(f"{model} {percent(m.value)}" for model, m in bars[task].items()) for task in tasks
    )
    tall = 0.95 + len(tasks) * max(0.34, 0.23 * len(models))
    return _svg(draw, name, f"{one_line(metric)} by task and model", said, size=(8.6, tall))


def votes(curves: Mapping[str, Sequence[tuple[int, float, float]]], title: str, name: str) -> Markup | None:
    """maj@k (strong) and pass@k (faint) against k, a pair of lines for each task."""
    drawn = {task: points for task, points in list(curves.items())[: len(SERIES)] if len(points) > 1}
    if not drawn:
        return None
    ks = sorted({k for points in drawn.values() for k, _, _ in points})

    def draw(axes: Axes) -> None:
        for i, (task, points) in enumerate(drawn.items()):
            k, voted, passed = zip(*points, strict=True)
            axes.plot(
                k, voted, color=SERIES[i], linestyle=DASHES[i], marker=MARKERS[i], markersize=4, label=_label(task)
            )
            axes.plot(k, passed, color=SERIES[i], linestyle=(0, (1, 2)), linewidth=1, alpha=0.75)
        axes.plot([], [], color=INK, linestyle=(0, (1, 2)), linewidth=1, label="pass@k: any right")
        axes.set_xscale("log", base=2)
        axes.set_xticks(ks, [str(k) for k in ks])
        axes.minorticks_off()
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        axes.set_xlabel("k: samples of each problem that vote")
        axes.set_ylabel("maj@k")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    said = "; ".join(
        f"{task}: maj@{p[-1][0]} {percent(p[-1][1])}, maj@1 {percent(p[0][1])}" for task, p in drawn.items()
    )
    return _svg(draw, name, title, said)


def curves(drawn: Drawn, name: str) -> Markup | None:
    """Figures against samples or FLOPs, a line for each encoding; errors on a logarithmic scale."""
    if not drawn.lines:
        return None
    values = [y for points in drawn.lines.values() for _, y in points]

    def draw(axes: Axes) -> None:
        for i, (encoding, points) in enumerate(drawn.lines.items()):
            axes.plot(*zip(*points, strict=True), **_look(i), label=_label(encoding))
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
        axes.minorticks_off()
        if drawn.share:
            axes.set_ylim(-0.02, 1.02)
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        elif min(values) > 0:
            axes.set_yscale("log")
        axes.set_xlabel(_label(drawn.across))
        axes.set_ylabel(_label(drawn.up))
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    said = "; ".join(f"{encoding}: {points[-1][1]:.3g} at the end" for encoding, points in drawn.lines.items())
    return _svg(draw, name, drawn.title, said, size=(6.6, 3.6))


def reliability(lines: Mapping[str, Sequence[tuple[float, float]]], title: str, name: str) -> Markup | None:
    """The share of exact answers against the probability that the model gave them; on the diagonal it is honest."""
    if not lines:
        return None

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
        for i, (encoding, points) in enumerate(lines.items()):
            axes.plot(*zip(*points, strict=True), **_look(i), label=_label(encoding))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("stated probability")
        axes.set_ylabel("exact answers")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))

    said = "; ".join(
        f"{encoding}: {percent(points[-1][1])} exact where {percent(points[-1][0])} is stated"
        for encoding, points in lines.items()
    )
    return _svg(draw, name, title, said, size=(6.6, 3.6))


def _look(i: int) -> dict[str, Any]:
    """Colour, dash and mark of the i-th of many lines."""
    turn = i // len(SERIES) % len(DASHES)
    return {
        "color": SERIES[i % len(SERIES)], "linestyle": DASHES[turn], "marker": MARKERS[turn], "markersize": 3.5,
        "linewidth": 1.3,
    }  # fmt: skip


def _bar(axes: Axes, y: float, height: float, look: int, metric: Metric) -> None:
    value = min(max(metric.value, 0.0), 1.0)
    for patch in (_fill(look), _outline(look)):
        patch.set_bounds(0, y - height / 2, value, height)
        axes.add_patch(patch)
    if metric.low == metric.low and metric.high == metric.high:  # not NaN
        reach = [[max(0.0, value - metric.low)], [max(0.0, metric.high - value)]]
        axes.errorbar([value], [y], xerr=reach, color=INK, linewidth=1.1, capsize=2.5)


def _fill(look: int) -> Rectangle:
    return Rectangle((0, 0), 1, 1, facecolor=SERIES[look], alpha=0.25 if HATCHES[look] else 0.75, linewidth=0)


def _outline(look: int) -> Rectangle:
    return Rectangle((0, 0), 1, 1, fill=False, edgecolor=SERIES[look], hatch=HATCHES[look] or None, linewidth=0.8)


def _steps(axes: Axes) -> None:
    axes.set_xlabel("step")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: count(value)))
    axes.grid(visible=False, axis="x")


def _label(text: str) -> str:
    # matplotlib hides legend entries that begin with an underscore
    return one_line(text, 28).lstrip("_") or "unnamed"


def _svg(
    draw: Callable[[Axes], None], name: str, title: str, said: str, size: tuple[float, float] = (5.4, 3.2)
) -> Markup:
    out = io.StringIO()
    with _DRAWING, mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # letters that DejaVu lacks; the page's fonts show them
        figure = Figure(figsize=size, layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        draw(axes)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(out.getvalue(), name, title, said)


def _inline(svg: str, name: str, title: str, said: str) -> Markup:
    """The drawing as part of an HTML page: named, without references outside, ids its own."""
    body = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    box = re.search(r'viewBox="([0-9. ]+)"', body)
    assert box, "matplotlib writes a viewBox"
    inner = body[body.index(">") + 1 :]
    inner = re.sub(r'\bid="', f'id="{name}-', inner.replace("xlink:href", "href"))
    inner = re.sub(r'href="#', f'href="#{name}-', inner).replace("url(#", f"url(#{name}-")
    inner = re.sub(r' id="[^"]*-(?:figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick|legend)_\d+"', "", inner)
    inner = re.sub(r'<style type="text/css">.*?</style>', "", inner, flags=re.DOTALL)
    inner = re.sub(r"font: [^;\"]*?([0-9.]+px)[^;\"]*", r"font-size: \1", inner)
    inner = re.sub(r"font-family: [^;\"]*;? ?", "", inner)
    for stand_in, meaning in _COLOURS.items():
        inner = inner.replace(stand_in, meaning)
    inner = re.sub(r"\s*\n\s*", "\n", inner)
    head = (
        f'<svg class="chart" viewBox="{box[1]}" role="img" aria-labelledby="{name}-title {name}-desc">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(said)}</desc>'
    )
    return Markup(head + inner)

"""A training run as the page shows it: its figures and curves short enough to draw."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llemma.report.page.read import Damage, Folder, finite, json_object, number, rows, table, whole
from llemma.report.units import one_line

MOST_POINTS = 600  # a chart is ~450 points wide: more cannot be seen and makes the page heavy
MOST_SOURCES = 8
MOST_EVENTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One training step."""

    step: float
    tokens: float | None
    loss: float
    lr: float | None
    norm: float | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A training run; ``valid`` maps a source to its (step, loss) pairs, ``sources`` likewise of the training loss.

    ``planned`` is the number of steps that the settings ask for, 0 where they do not say. ``mfu``, ``memory`` (bytes)
    and ``left`` (seconds to go, of an unfinished run) are the last that were stored; ``guarded`` tells of the steps
    that the guard did not take.
    """

    name: str
    label: str
    parameters: int
    steps: int
    tokens: int
    seconds: float | None
    final_loss: float | None
    speed: float | None
    curve: tuple[Point, ...]
    valid: dict[str, tuple[tuple[float, float], ...]]
    notes: tuple[str, ...]
    mfu: float | None = None
    memory: float | None = None
    left: float | None = None
    sources: dict[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    planned: int = 0
    guarded: tuple[str, ...] = ()
    finished: bool = True


@dataclass(slots=True)
class _Thinned:
    """Keeps every n-th item, n growing so that at most ``2 * MOST_POINTS`` are held; and always the last."""

    kept: list[Point] = field(default_factory=list)
    every: int = 1
    seen: int = 0
    last: Point | None = None

    def add(self, point: Point) -> None:
        if self.seen % self.every == 0:
            self.kept.append(point)
            if len(self.kept) >= 2 * MOST_POINTS:
                self.kept, self.every = self.kept[::2], self.every * 2
        self.seen += 1
        self.last = point

    def points(self) -> tuple[Point, ...]:
        tail = [self.last] if self.last is not None and self.kept and self.kept[-1] is not self.last else []
        return (*self.kept, *tail)


def read_training(folder: Folder) -> Training:
    """The training in ``folder``; an unfinished one has notes and the curves it has."""
    metrics, trouble = json_object(folder.path, "metrics.json")
    damage, thinned = Damage(), _Thinned()
    valid: dict[str, list[tuple[float, float]]] = {}
    sources: dict[str, list[tuple[float, float]]] = {}
    bad, events, last = 0, list[str](), dict[str, float]()
    for _, row in rows(folder.path, damage):
        step, loss = finite(row.get("step")), number(row.get("loss"))
        if step is None:
            continue
        if loss is not None and math.isfinite(loss):
            thinned.add(_point(row, step, loss))
        elif loss is not None:
            bad += 1
        for name in ("mfu", "memory_bytes", "eta_seconds"):
            if (value := finite(row.get(name))) is not None:
                last[name] = value
        if isinstance(row.get("guard"), str):
            events.append(_event(row, step))
        _by_source(row.get("valid"), step, valid)
        _by_source(row.get("sources"), step, sources)
    curve = thinned.points()
    notes = [*([trouble] if trouble else []), *damage.notes()]
    if bad:
        notes.append(f"the loss was not a finite number at {bad} steps: the training diverged there")
    tokens = whole(metrics.get("tokens")) or (int(curve[-1].tokens or 0) if curve else 0)
    seconds = finite(metrics.get("seconds"))
    return Training(
        name=folder.name,
        label=folder.name.rsplit("/", 1)[-1],
        parameters=whole(metrics.get("parameters")),
        steps=whole(metrics.get("steps")) or (int(curve[-1].step) if curve else 0),
        tokens=tokens,
        seconds=seconds,
        final_loss=finite(metrics.get("final_loss")) if metrics else (curve[-1].loss if curve else None),
        speed=tokens / seconds if seconds and tokens else None,
        curve=curve,
        valid={source: tuple(pairs) for source, pairs in valid.items()},
        notes=tuple(notes),
        mfu=last.get("mfu"),
        memory=last.get("memory_bytes"),
        left=None if metrics else last.get("eta_seconds"),
        sources={source: tuple(pairs) for source, pairs in sources.items()},
        planned=next((int(v) for k, v in folder.settings if k == "steps" and v.isdecimal() and len(v) < 10), 0),
        guarded=_told(events),
        finished=bool(metrics),
    )


def _point(row: Mapping[str, Any], step: float, loss: float) -> Point:
    return Point(
        step=step, tokens=finite(row.get("tokens")), loss=loss, lr=finite(row.get("lr")),
        norm=finite(row.get("grad_norm")), rate=finite(row.get("tokens_per_second")),
    )  # fmt: skip


def _event(row: Mapping[str, Any], step: float) -> str:
    back = finite(row.get("to"))
    done = {"skip": "skipped", "back": f"back to step {back:.0f}" if back is not None else "back to a checkpoint"}
    return (
        f"step {step:.0f} {done.get(str(row['guard']), one_line(row['guard'], 20))}: {one_line(row.get('reason'), 160)}"
    )


def _told(events: list[str]) -> tuple[str, ...]:
    more = len(events) - MOST_EVENTS
    return (*events[:MOST_EVENTS], *([f"and {more} more"] if more > 0 else []))


def smoothed(values: list[float]) -> list[float]:
    """A centred moving average over about a twentieth of the values; the window shrinks at the ends."""
    half = max(1, len(values) // 40)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    result = []
    for i in range(len(values)):
        reach = min(half, i, len(values) - 1 - i)
        result.append((sums[i + reach + 1] - sums[i - reach]) / (2 * reach + 1))
    return result


def _by_source(losses: object, step: float, found: dict[str, list[tuple[float, float]]]) -> None:
    """Add what a row says of each source to the pairs so far, every other one of them where they are too many."""
    for source, value in table(losses).items():
        loss, name = finite(value), one_line(source, 40)
        if loss is None or (name not in found and len(found) >= MOST_SOURCES):
            continue
        pairs = found.setdefault(name, [])
        pairs.append((step, loss))
        if len(pairs) > 2 * MOST_POINTS:
            found[name] = pairs[::2]

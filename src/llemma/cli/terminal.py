"""Progress of a command: a bar on a terminal, lines elsewhere; on stderr only."""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

from llemma.records import Event


class Terminal:
    """Progress on stderr: a bar with figures and ETA on a terminal, a line now and then elsewhere."""

    EVERY = 10.0  # seconds between lines when stderr is not a terminal

    def __init__(self) -> None:
        self._bar: Any = None
        self._task: Any = None
        self._stage = ""
        self._said = 0.0
        self._began = (0.0, 0)

    def __enter__(self) -> Terminal:
        signal.signal(signal.SIGTERM, _interrupt)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop()

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        fresh = event.stage != self._stage
        if fresh:
            self._stop()
            self._stage, self._began = event.stage, (now, event.done)
        figures = "  ".join(f"{k} {_figure(v)}" for k, v in event.figures.items())
        if sys.stderr.isatty():
            self._show(event, figures, fresh)
        elif fresh or event.note or event.done == event.total or now - self._said >= self.EVERY:
            self._said = now
            total = f"/{event.total}" if event.total else ""
            count = f"{event.done}{total} {event.unit}" if event.unit else ""
            parts = filter(None, (count, figures, self._eta(event, now), event.note))
            print(f"{event.stage}:", "  ".join(parts), file=sys.stderr, flush=True)

    def _eta(self, event: Event, now: float) -> str:
        start, first = self._began
        if not event.total or event.done <= first or event.done >= event.total:
            return ""
        return f"ETA {(now - start) / (event.done - first) * (event.total - event.done):.0f} s"

    def _show(self, event: Event, figures: str, fresh: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        if fresh:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[figures]}"), console=Console(stderr=True))
            self._bar.start()
            self._task = self._bar.add_task(event.stage, total=event.total, completed=event.done, figures=figures)
        if event.note:
            self._bar.console.print(event.note, markup=False, highlight=False)
        self._bar.update(self._task, completed=event.done, total=event.total, figures=figures)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _figure(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.4g}"

"""What an evaluation costs beside the model and the grader, and how much memory a large one takes.

A recording of ``samples`` texts for each of ``problems`` generated problems is evaluated with ``replay:`` into a run
folder. Time in the back end (reading the recording) and in the grader is measured and taken off; what is left, per
sample, is the harness: planning, rows, their encoding, the disk, progress. At 1,000 samples a second 20 µs are 2 %.
Processor time is measured, not time of day.

    python bench/harness.py                                  (5,000 problems x 256 samples: 1.28 M, some GB of disk)
    python bench/harness.py problems=500 samples=64
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train_cpu import place

from llemma.backends.replay import Replay
from llemma.config import resolve, setting
from llemma.evaluate import rows
from llemma.evaluate.config import EvalConfig, load_tasks
from llemma.evaluate.evaluate import evaluate

TASK = "generated:words"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How much is evaluated."""

    problems: int = setting(5000, "problems")
    samples: int = setting(256, "samples of each")
    shots: int = setting(2, "examples in the prompt, which every row holds")
    folder: Path | None = setting(None, "where to work; none: a temporary folder")


class Clock:
    """Seconds spent inside what it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Any) -> Any:
        def timed(*args: Any, **named: Any) -> Any:
            begin = time.process_time()
            try:
                return function(*args, **named)
            finally:
                self.seconds += time.process_time() - begin

        return timed


class TimedReplay(Replay):
    """The replay with a clock around each completion it hands out."""

    clock: Clock

    def stream(self, requests: Any, sampling: Any) -> Iterator[Any]:
        for name, request in requests:
            begin = time.process_time()
            found = self._find(request)
            self.clock.seconds += time.process_time() - begin
            assert found is not None
            yield name, found


def record(path: Path, s: Settings, options: dict[str, Any]) -> None:
    """Texts like those of a model: a working of some lines, every third answer wrong, some without an answer."""
    task = load_tasks([TASK], options)[0]
    with path.open("w") as file:
        for number, problem in enumerate(task.problems):
            texts = []
            for k in range(s.samples):
                value = int(float(problem.answer)) + (number + k) % 3 if problem.answer.isdigit() else problem.answer
                working = f"We look at the numbers of the problem one after the other, sample {k}.\n" * 4
                last = f"Final Answer: The final answer is ${value}$. " if k % 11 else "I do not know."
                texts.append(working + last)
            file.write(json.dumps({"question": problem.prompt, "code": texts, "gt": problem.answer}) + "\n")


def main() -> None:
    s = resolve(Settings, words=sys.argv[1:])
    print(place())
    with tempfile.TemporaryDirectory(dir=s.folder) as name:
        folder = Path(name)
        options = {"count": s.problems, "shots": s.shots}
        record(folder / "texts.jsonl", s, options)
        start = time.process_time()
        backend = TimedReplay(folder / "texts.jsonl")
        opened = time.process_time() - start
        backend.clock, grader = Clock(), Clock()
        rows.Graders.grade = grader.around(rows.Graders.grade)  # type: ignore[method-assign]
        config = EvalConfig(
            tasks=(TASK,), options=options, model="replay:texts", samples=s.samples, scorer="strict", run=folder / "run"
        )  # fmt: skip
        marks: list[float] = []
        start = time.process_time()
        result = evaluate(config, backend=backend, progress=lambda event: marks.append(time.process_time()))
        total = time.process_time() - start
        sampled = marks[-1] - start
        n = result.tasks[0].samples
        harness = (sampled - backend.clock.seconds - grader.seconds) / n
        size = (folder / "run" / "rows.jsonl").stat().st_size
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("| samples | harness, µs a sample | share at 1,000 samples/s | grader, µs | replay, µs | peak memory |")
    print("| --- | --- | --- | --- | --- | --- |")
    print(
        f"| {n:,} | {1e6 * harness:.1f} | {100 * harness * 1000:.2f} % | {1e6 * grader.seconds / n:.1f} "
        f"| {1e6 * backend.clock.seconds / n:.1f} | {peak:,.0f} MiB |"
    )
    print(
        f"\nindexing {opened:.1f} s, sampling {sampled:.1f} s, scores {total - sampled:.1f} s, rows {size / 1e9:.2f} GB"
    )


if __name__ == "__main__":
    main()

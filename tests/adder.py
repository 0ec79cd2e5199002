"""Shared by the tests of evaluations: a back end that adds, settings for it, and what a run folder holds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llemma.backends import Request
from llemma.evaluate.config import EvalConfig
from llemma.evaluate.score import EvalResult
from llemma.records import Completion, Sampling

TASK = "generated:addition"


class Adder:
    """Adds the last two numbers of a prompt, sometimes wrongly or without an answer, decided by the seed.

    Like a real engine it may depend on what shares the batch: ``entangled`` mixes the whole batch into each answer.
    """

    def __init__(self, batch: int = 8, entangled: bool = True) -> None:
        self.batch, self.entangled, self.calls = batch, entangled, 0
        self.info: Mapping[str, str] = {"engine": "adder", "version": "1", "model": "adder"}

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        self.calls += 1
        mixed = "".join(f"{r.prompt}{r.seed}" for r in requests) if self.entangled else ""
        return [self.answer(request, mixed) for request in requests]

    def answer(self, request: Request, mixed: str) -> Completion:
        numbers = [int(n) for n in re.findall(r"\d+", request.prompt.rpartition("Problem:")[2])]
        dice = hashlib.sha256(f"{request.prompt}{request.seed}{mixed}".encode()).digest()[0]
        total = sum(numbers) + (dice % 3 if dice < 90 else 0)
        text = f"Let us see.\nFinal Answer: The final answer is ${total}$. "
        return Completion(text="I do not know." if dice > 215 else text, finish="stop", tokens=12)


def config(run: Path | None = None, **changes: Any) -> EvalConfig:
    table: dict[str, Any] = {"tasks": (TASK,), "model": "adder:", "samples": 4, "run": run}
    return EvalConfig(**{**table, "options": {"count": 12}, **changes})


def rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "rows.jsonl").read_bytes().splitlines()]


def comparable(run: Path) -> list[str]:
    """The rows without durations, in an order of their own."""
    found = rows(run)
    for row in found:
        if row["transcript"]:
            row["transcript"]["seconds"] = 0
    return sorted(json.dumps(row, sort_keys=True) for row in found)


def scores(run: Path) -> Any:
    """metrics.json without the folder's own path."""
    found = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return [{name: value for name, value in task.items() if name != "run"} for task in found["tasks"]]


def value(result: EvalResult, name: str) -> float:
    return next(m.value for m in result.tasks[0].metrics if m.name == name)

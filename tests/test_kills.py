"""An evaluation killed with SIGKILL again and again ends with the rows of one that was left alone.

``LLEMMA_KILLS`` sets how often (default 3; 30 in the measured run of docs/reproduction.md).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from adder import comparable, rows, scores
from llemma.evaluate.config import load_tasks
from tiny import save_tiny

KILLS = int(os.environ.get("LLEMMA_KILLS", "3"))
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}  # faster for so small a model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def command(folder: Path, model: str, *words: str) -> list[str]:
    common = ["eval", "generated:addition", "generated:linear", f"model={model}", f"run={folder}"]
    return [sys.executable, "-m", "llemma", *common, *words]


def killed_and_finished(whole: Path, folder: Path, model: str, *words: str) -> list[int]:
    """Kill the command at random points of its progress, let it finish; how many rows there were at each kill."""
    size, rng, seen = (whole / "rows.jsonl").stat().st_size, random.Random(7), []
    path = folder / "rows.jsonl"
    for fraction in sorted(rng.random() for _ in range(KILLS)):
        process = subprocess.Popen(
            command(folder, model, *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ONE_THREAD
        )  # fmt: skip
        if rng.random() < 0.1:
            time.sleep(rng.uniform(0, 1))  # while it starts
        else:
            while process.poll() is None and (not path.exists() or path.stat().st_size < fraction * size):
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.02))
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.wait()
        seen.append(path.read_bytes().count(b"\n") if path.exists() else 0)
    done = subprocess.run(
        command(folder, model, *words), capture_output=True, text=True, env=ONE_THREAD, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return seen


def check(whole: Path, folder: Path, seen: list[int]) -> None:
    total = len(rows(whole))
    assert any(0 < count < total for count in seen), f"no kill fell into the work: {seen} of {total} rows"
    ids = [row["id"] for row in rows(folder)]
    assert len(ids) == len(set(ids)) == total
    assert comparable(folder) == comparable(whole)
    assert scores(folder) == scores(whole)
    assert not list(folder.glob("*.part"))
    print(f"rows at each of {KILLS} kills: {seen} of {total}")


def record(path: Path, samples: int, count: int) -> Path:
    """Texts for the problems of both tasks, some right, some wrong, some without an answer."""
    lines = []
    for task in load_tasks(["generated:addition", "generated:linear"], {"count": count}):
        for problem in task.problems:
            texts = [f"Sample {k}.\nThe answer is {int(problem.answer) + k % 3}." for k in range(samples)]
            row = {"question": problem.prompt, "code": [*texts[1:], "No idea."], "gt": problem.answer}
            lines.append(json.dumps(row))
    path.write_text("\n".join(lines))
    return path


def test_the_tiny_model_killed(tmp_path: Path) -> None:
    model = f"hf:{save_tiny(tmp_path / 'model')}"
    words = ("samples=4", "max_tokens=48", "batch=16", "options.count=24", "options.shots=1")
    subprocess.run(command(tmp_path / "whole", model, *words), capture_output=True, env=ONE_THREAD, check=True)
    seen = killed_and_finished(tmp_path / "whole", tmp_path / "killed", model, *words)
    check(tmp_path / "whole", tmp_path / "killed", seen)


def test_a_replay_killed(tmp_path: Path) -> None:
    words = ("samples=64", "options.count=200", "options.shots=1")
    replay = f"replay:{record(tmp_path / 'texts.jsonl', 64, 200)}"
    subprocess.run(command(tmp_path / "whole", replay, *words), capture_output=True, env=ONE_THREAD, check=True)
    seen = killed_and_finished(tmp_path / "whole", tmp_path / "killed", replay, *words)
    check(tmp_path / "whole", tmp_path / "killed", seen)

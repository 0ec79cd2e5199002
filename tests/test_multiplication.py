"""Products as tasks: test products are in no training text, answers must be exact, programs run in the sandbox."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from adder import rows
from llemma.backends import Request
from llemma.config import build
from llemma.errors import ConfigError
from llemma.evaluate.check import check_tasks
from llemma.evaluate.config import EvalConfig, load_tasks
from llemma.evaluate.evaluate import evaluate
from llemma.evaluate.settings import CheckConfig
from llemma.records import Completion, Sampling
from llemma.sandbox import tiers
from llemma.sources import generated
from llemma.tasks import multiplication, multiplication_python
from llemma.tasks._products import Options, draw, widths_of
from tiny import save_tiny

BENCH = Path(__file__).resolve().parents[1] / "bench" / "multiplication.py"
SANDBOX = pytest.mark.skipif(not tiers.best().name, reason="no sandbox here: see llemma doctor")


@pytest.mark.parametrize("widths", [(5, 5), (5, 3), (2, 2)])
def test_factors_have_their_digits_and_training_has_no_test_product(widths: tuple[int, int]) -> None:
    test = list(draw(widths, split="test", seed=0, count=150))
    train = [p for seed in (0, 1) for p in draw(widths, split="train", seed=seed, count=1500)]
    for product in (*test, *train):
        assert sorted(len(str(n)) for n in (product.a, product.b)) == sorted(widths)
        assert f"{product.a}" in product.question and f"{product.b}" in product.question
    assert not {p.key for p in test} & {p.key for p in train}
    assert len({p.key for p in test}) == len(test) == 150
    assert draw(widths, split="test", seed=0, count=2).__next__() == test[0]


def test_the_generated_family_keeps_the_same_products_for_tests() -> None:
    level = {(2, 2): 4, (3, 1): 3}
    for widths, difficulty in level.items():
        asked = {p.key for p in draw(widths, split="test", seed=0, count=2000)}
        drawn = generated.draw("multiplication", split="train", seed=0, count=1500, difficulty=(difficulty, difficulty))
        learned = {worked.key for worked in drawn}
        assert len(asked) > 100 and not asked & learned
        assert all(generated.held_out(key) for key in asked) and not any(map(generated.held_out, learned))


def test_a_used_up_width_ends() -> None:
    assert 0 < len(list(draw((1, 1), split="test", seed=0, count=200))) < 20


@pytest.mark.parametrize("variant", ["5", "5x3", "1x6", "12"])
@pytest.mark.parametrize("task", ["multiplication", "multiplication_python"])
def test_the_task_passes_its_checks(task: str, variant: str) -> None:
    (checked,) = check_tasks(CheckConfig(tasks=(f"{task}:{variant}",), options={"count": 40}))
    assert checked.ok, [check for check in checked.checks if check.ok is False]


@pytest.mark.parametrize("variant", ["", "0", "x3", "5x", "five", "5*5", "31", "5x5x5", "٥"])
def test_what_is_no_widths_is_refused(variant: str) -> None:
    with pytest.raises(ConfigError, match="write 5, or 5x3"):
        widths_of(variant)


def test_both_tasks_ask_the_same_products_of_the_same_widths() -> None:
    words, python, other = load_tasks(["multiplication", "multiplication_python", "multiplication:4"], {"count": 30})
    assert words.problems == python.problems != other.problems
    assert (words.name, python.name, other.name) == ("multiplication", "multiplication_python", "multiplication:4")


def test_only_the_exact_product_is_right() -> None:
    task = multiplication.load(build(Options, {"count": 20}))
    for problem in task.problems:
        a, b = problem.meta["factors"]
        assert int(problem.answer) == a * b and task.state is not None
        written = task.state(problem)
        assert task.grade(problem, written).verdict == "correct"
        for wrong in (a * b + 1, a * b - 10, -a * b):
            text = written.replace(problem.answer, str(wrong))
            assert task.grade(problem, text).verdict == "wrong"


def test_a_right_program_multiplies_the_factors_asked_and_nothing_else() -> None:
    right = "\n\n\ndef solution():\n    return 12345 * 67890\n"
    assert multiplication_python.copies(right, (12345, 67890)) and multiplication_python.copies(right, (67890, 12345))
    for text in (
        right.replace("12345", "12354"),
        right.replace("*", "+"),
        "return 12345 * 67890",
        right + "\nsolution = None\n",
        right.replace("12345", "012345"),  # not Python
        "(" * 500 + right,
        "\0",
        "",
    ):
        assert not multiplication_python.copies(text, (12345, 67890))


class Copies:
    """Copies the factors of a prompt into a program, every third time with two digits exchanged."""

    batch = 8
    info: Mapping[str, str] = {"engine": "copies"}

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        return [Completion(text=self.program(request.prompt), finish="stop", tokens=20) for request in requests]

    @staticmethod
    def program(prompt: str) -> str:
        a, b = re.findall(r"\d+", prompt.rpartition("Q:")[2])
        if int(a) % 3 == 0:
            a = a[1] + a[0] + a[2:] if a[0] != a[1] and a[1] != "0" else str(int(a) + 1)
        return f"\n\n\ndef solution():\n    return {a} * {b}\n"


@SANDBOX
def test_a_program_that_is_copied_right_gives_the_exact_product(tmp_path: Path) -> None:
    config = EvalConfig(
        tasks=("multiplication_python:5",), model="copies:", run=tmp_path / "run", options={"count": 24}
    )
    result = evaluate(config, backend=Copies()).tasks[0]
    (task,) = load_tasks(config.tasks, config.options)
    factors = {problem.id: tuple(problem.meta["factors"]) for problem in task.problems}
    judged: list[tuple[bool, bool]] = []
    for row in rows(tmp_path / "run"):
        text, program = row["transcript"]["steps"]
        assert program["kind"] == "python" and program["tier"] == tiers.best().name
        right = multiplication_python.copies(text["text"], factors[row["problem"]])
        judged.append((right, row["grade"]["verdict"] == "correct"))
    assert len(judged) == 24 and all(right == exact for right, exact in judged)
    assert 0 < sum(right for right, _ in judged) < 24
    assert result.metrics[0].value == pytest.approx(sum(right for right, _ in judged) / 24)


@pytest.mark.slow
@SANDBOX
def test_the_bench_fine_tunes_asks_both_ways_and_goes_on_where_it_was(tmp_path: Path) -> None:
    model = save_tiny(tmp_path / "tiny")
    words: list[Any] = [
        *(f"init={model}", f"run={tmp_path / 'run'}", "steps=3", "examples=60", "tests=2,3x2", "problems=4"),
        *("batch_size=2", "threads=1", "digits=1,2"),
    ]
    environment = os.environ | {"PYTHONPATH": str(BENCH.parents[1] / "src")}
    outputs = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, str(BENCH), *words],
            capture_output=True, text=True, env=environment, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0] == outputs[1]
    lines = [line for line in outputs[0].splitlines() if line.startswith("|")]
    assert lines[0] == "| exact products in %, n = 4 | 2 | 3x2 |"
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "tour's model, no tool", "tour's model, Python", "fine-tuned, no tool", "fine-tuned, Python",
        "its right programs", "exact of the right",
    ]  # fmt: skip
    assert lines[6].count(" of 4") == 2
    examples = (tmp_path / "run" / "examples.jsonl").read_text()
    assert "# solution in Python:" in examples and "Final Answer" in examples


@pytest.mark.slow
def test_the_bench_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH), f"run={tmp_path / 'run'}", f"init={tmp_path / 'nothing'}"],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(BENCH.parents[1] / "src")},
        timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "make it with `llemma tour`" in done.stderr

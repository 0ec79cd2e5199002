"""Python as a tool: programs as answers, notebooks, recorded runs that are not run again, a machine without sandbox."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from adder import comparable, rows
from llemma.backends import Request
from llemma.errors import BackendError, Caught, SandboxError
from llemma.evaluate import tools
from llemma.evaluate.ask import ask
from llemma.evaluate.config import EvalConfig
from llemma.evaluate.evaluate import evaluate
from llemma.evaluate.settings import SolveConfig
from llemma.evaluate.tools import LIMITS, Programs
from llemma.grade.paper.programs import GSM8K_PYTHON
from llemma.records import Completion, Program, Sampling
from llemma.sandbox import tiers
from tiny import save_tiny

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not tiers.best().name, reason="no sandbox here: see llemma doctor"),
]


class Writes:
    """Gives the text that ``texts`` maps the end of the prompt to, else the last one."""

    batch = 8
    info: Mapping[str, str] = {"engine": "writes"}

    def __init__(self, *texts: str) -> None:
        self.texts, self.calls = texts, 0

    def text(self, request: Request) -> str:
        rounds = request.prompt.count("```output")
        return self.texts[min(rounds, len(self.texts) - 1)]

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        self.calls += 1
        found = []
        for request in requests:
            text = self.text(request)
            cut = min([text.find(stop) for stop in sampling.stop if stop in text], default=len(text))
            found.append(Completion(text=text[:cut], finish="stop", tokens=4))
        return found


class Streams(Writes):
    """The same, one by one, in the order of the requests."""

    def stream(self, requests: Any, sampling: Sampling) -> Any:
        for name, request in requests:
            yield name, self.complete([request], sampling)[0]


SOLUTION = "\n\n\ndef solution():\n    trays = 7\n    return trays * 12 - 59\n\n\n\n\n\nQ: another"
IMPORTING = "\nimport math\n\ndef solution():\n    return math.sqrt(625)\n"  # a helper's import the paper did not see


def task_file(folder: Path, problems: int = 1) -> str:
    """A task of problems whose answer is 25, by a program, judged by both scorers."""
    path = folder / "baked.py"
    path.write_text(
        '"""Rolls."""\n'
        "from dataclasses import dataclass\n"
        "from llemma.grade.paper.programs import GSM8K_PYTHON\n"
        "from llemma.records import Problem, Program, Sampling, Task\n"
        "from llemma.tasks._programs import strict_value\n"
        "from llemma.tasks._scoring import key, program_scorers\n"
        "from llemma.tasks.gsm8k_python import program_in\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Options:\n"
        "    pass\n"
        "def load(options):\n"
        f"    problems = tuple(Problem(id=str(n), prompt=f'rolls {{n}}', answer='25') for n in range({problems}))\n"
        "    return Task(name='baked', problems=problems,\n"
        "                prompt=lambda p: p.prompt, grade=strict_value, key=key, sampling=Sampling(stop=('Q:',)),\n"
        "                scorers=program_scorers('gsm8k_python'),\n"
        "                program=Program(extract=program_in, wanted='solution', rules=GSM8K_PYTHON))\n"
    )
    return str(path)


def settings(tmp_path: Path, **changes: Any) -> EvalConfig:
    table = {"tasks": (task_file(tmp_path),), "model": "writes:", "run": tmp_path / "run"}
    return EvalConfig(**{**table, **changes})


@pytest.mark.parametrize("kind", [Writes, Streams])
def test_a_program_is_run_and_judged_by_both_scorers(tmp_path: Path, kind: type[Writes]) -> None:
    result = evaluate(settings(tmp_path), backend=kind(SOLUTION)).tasks[0]
    assert (result.metrics[0].value, result.others[0].metrics[0].value) == (1.0, 1.0)
    (row,) = rows(tmp_path / "run")
    assert row["transcript"]["text"].endswith("```llemma-output\n25\n```\n```llemma-paper-output\n25\n```\n")
    assert [step["kind"] for step in row["transcript"]["steps"]] == ["text", "python", "python"]
    assert row["transcript"]["steps"][1]["result"] == "25"


def test_the_scorers_differ_where_the_papers_scoping_does(tmp_path: Path) -> None:
    result = evaluate(settings(tmp_path), backend=Writes(IMPORTING)).tasks[0]
    assert (result.metrics[0].value, result.others[0].metrics[0].value) == (1.0, 0.0)


@pytest.mark.parametrize(
    "text", ["no program at all, sorry (", "\ndef solution():\n    return 1 / 0\n", "", "\nwhile True:\n    pass\n"]
)
def test_a_program_that_gives_nothing_is_an_outcome(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    monkeypatch.setattr(tools, "LIMITS", replace(LIMITS, wall=1.0, cpu=1.0))
    result = evaluate(settings(tmp_path, scorer="strict"), backend=Writes(text)).tasks[0]
    assert (result.metrics[0].value, result.errors, result.unparsable + result.timeouts) == (0.0, 0, 1)
    assert result.timeouts == ("while" in text)


def test_a_recorded_program_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluate(settings(tmp_path), backend=Writes(SOLUTION)).tasks[0]

    def never(*args: Any, **named: Any) -> Any:
        raise AssertionError("a program was run")

    monkeypatch.setattr(tools, "run_as_main", never)
    again = evaluate(settings(tmp_path, model=f"replay:{tmp_path / 'run'}", run=tmp_path / "again")).tasks[0]
    assert again.metrics == first.metrics and again.others[0].metrics == first.others[0].metrics


def test_without_a_sandbox_nothing_is_sampled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(sandbox: str, notebooks: bool) -> None:
        raise SandboxError("no sandbox here")

    engine = Writes(SOLUTION)
    monkeypatch.setattr("llemma.evaluate.evaluate.check_sandbox", refused)
    with pytest.raises(SandboxError, match="no sandbox here"):
        evaluate(settings(tmp_path), backend=engine)
    assert engine.calls == 0


def test_a_lost_sandbox_loses_the_sample_and_no_other() -> None:
    class Gone(Programs):
        def run(self, completion: Completion) -> Completion:
            if "boom" in completion.text:
                raise SandboxError("the zygote is gone")
            return completion

    program = Program(extract=lambda text: text, wanted="solution", rules=GSM8K_PYTHON)
    runner = Gone(program=program)
    made = [(n, Completion(text=t, finish="stop")) for n, t in enumerate(["a", "boom", "c"])]
    lost = Caught(kind="BackendError", message="cut")
    found = dict(runner.follow(iter([*made, (3, lost)])))
    assert [isinstance(found[n], Caught) for n in range(4)] == [False, True, False, True]


NOTEBOOK = (
    "We compute it.\n```python\nx = 7 * 12\nprint(x)\n```\n",
    "And on.\n```python\nprint(x - 59)\n```\n",
    "So the answer is $\\boxed{25}$.",
)


def test_blocks_of_python_are_run_where_they_stand(tmp_path: Path) -> None:
    engine = Writes(*NOTEBOOK)
    config = EvalConfig(
        tasks=("generated:addition",), options={"count": 2}, model="writes:", tools="python", run=tmp_path / "run"
    )
    evaluate(config, backend=engine)
    assert engine.calls == 3
    for row in rows(tmp_path / "run"):
        assert "```output\n84\n```" in row["transcript"]["text"] and "```output\n25\n```" in row["transcript"]["text"]
        assert row["grade"]["answer"] == "25"
        assert [step["kind"] for step in row["transcript"]["steps"]] == ["text", "python", "text", "python", "text"]


def test_a_question_may_be_solved_with_python() -> None:
    solved = ask(SolveConfig(question="7 * 12 - 59?", model="writes:", samples=3, tools="python"), Writes(*NOTEBOOK))
    assert solved.answer == "25" and solved.votes[0].count == 3
    assert solved.working is not None and "```output\n84\n```" in solved.working


@pytest.mark.skipif(
    not os.environ.get("LLEMMA_DATA"),
    reason="needs the benchmarks; enable with: LLEMMA_DATA=../shared/data python -m pytest tests/test_tools.py",
)
def test_the_papers_program_tasks_run_from_end_to_end(tmp_path: Path) -> None:
    math = "\nanswer = 2 + 0\n```\nThe imports required for this program are\n```\n```\n"
    for task, text in (("gsm8k_python", SOLUTION), ("math_python", math)):
        config = EvalConfig(tasks=(task,), model="writes:", limit=3, run=tmp_path / task)
        result = evaluate(config, backend=Writes(text)).tasks[0]
        assert (result.metrics[0].n, result.errors, result.unparsable) == (3, 0, 0)
        assert [score["verdict"] in ("correct", "wrong") for row in rows(tmp_path / task) for score in [row["grade"]]]


# --- through the command line


HELPER = "def half(x):\n    return x / 2\n\ndef solution():\n    return half(50)"  # not seen by the paper's solution()
RECORDED = [
    *("def solution():\n    return 25", "def solution():\n    return 25.0", HELPER, "def solution():\n    return 24"),
    *("def solution():\n    return 1 / 0", "Twenty-five, I say.\n```llemma-output\n25\n```", ""),
    "```python\nx = 50\nprint(x / 2)\n```\n```output\n25.0\n```\nThere are $\\boxed{25}$ rolls.",
]
STRICT = ["correct", "correct", "correct", "wrong", "unparsable", "unparsable", "unparsable", "correct"]
PAPER = ["correct", "correct", "unparsable", "wrong", *["unparsable"] * 3, "correct"]


def recording(folder: Path) -> str:
    """Texts of a model to the problems of ``task_file``, as others record them."""
    path = folder / "recorded.jsonl"
    lines = [{"question": f"rolls {n}", "code": [text], "gt": "25"} for n, text in enumerate(RECORDED)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return f"replay:{path}"


def verdicts(run: Path) -> tuple[list[str], list[str]]:
    found = sorted(rows(run), key=lambda row: int(row["problem"]))
    return [row["grade"]["verdict"] for row in found], [row["scores"]["paper"]["verdict"] for row in found]


@pytest.mark.slow
def test_recorded_programs_from_the_command_to_both_scores_and_again(llemma: Any, tmp_path: Path) -> None:
    task, model, run = task_file(tmp_path, len(RECORDED)), recording(tmp_path), tmp_path / "run"
    done = llemma("eval", task, f"model={model}", f"run={run}", "--json")
    assert done.returncode == 0, done.stderr
    assert verdicts(run) == (STRICT, PAPER)
    walls = {step["tier"] for row in rows(run) for step in row["transcript"]["steps"] if step["kind"] == "python"}
    assert walls == {tiers.best().name}
    shown = json.loads(done.stdout)
    assert {m["name"]: m["value"] for m in shown["metrics"]}["accuracy"] == pytest.approx(4 / 8)
    whole = comparable(run)

    path = run / "rows.jsonl"  # killed in the middle of a row, it ends with the same rows
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 5])
    assert llemma("eval", task, f"model={model}", f"run={run}").returncode == 0
    assert comparable(run) == whole

    again = llemma("regrade", str(run), "--json", "scorer=both")
    assert again.returncode == 0 and json.loads(again.stdout)["changed"] == 0, again.stderr
    assert verdicts(run) == (STRICT, PAPER)


def test_without_a_sandbox_a_recording_is_judged_and_what_must_run_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, first = task_file(tmp_path, 7), tmp_path / "first"
    evaluate(EvalConfig(tasks=(task,), model=recording(tmp_path), run=first))

    def refused(*args: Any, **named: Any) -> Any:
        raise SandboxError("no sandbox here; remedy: another machine")

    monkeypatch.setattr(tools, "run_as_main", refused)
    replayed = evaluate(EvalConfig(tasks=(task,), model=f"replay:{first}", run=tmp_path / "second")).tasks[0]
    assert (replayed.errors, verdicts(tmp_path / "second")) == (0, (STRICT[:7], PAPER[:7]))
    third = EvalConfig(tasks=(task,), model=recording(tmp_path), run=tmp_path / "third")
    with pytest.raises(BackendError, match=r"6 of 7 samples were lost .* no sandbox here"):
        evaluate(third)
    kept = {row["problem"]: row for row in rows(tmp_path / "third")}
    assert [kept[str(n)]["error"] is None for n in range(7)] == [False] * 6 + [True]  # the empty text holds no program
    assert kept["5"]["grade"] is None and "SandboxError: no sandbox here" in kept["5"]["error"]
    monkeypatch.undo()
    assert evaluate(third).tasks[0].errors == 0


@pytest.mark.slow
def test_a_model_with_random_weights_killed_and_resumed(llemma: Any, tmp_path: Path) -> None:
    model = f"hf:{save_tiny(tmp_path / 'model')}"
    words = ("eval", task_file(tmp_path, 8), f"model={model}", "samples=2", "max_tokens=16", "batch=4")
    done = llemma(*words, f"run={tmp_path / 'whole'}")
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen(
        [sys.executable, "-m", "llemma", *words, f"run={tmp_path / 'cut'}"], stderr=subprocess.DEVNULL
    )
    path = tmp_path / "cut" / "rows.jsonl"
    while process.poll() is None and (not path.exists() or not path.stat().st_size):
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert llemma(*words, f"run={tmp_path / 'cut'}").returncode == 0
    assert comparable(tmp_path / "cut") == comparable(tmp_path / "whole")
    assert len(rows(tmp_path / "cut")) == 16


@pytest.mark.slow
def test_without_tools_nothing_is_run_and_nothing_made_up_counts(llemma: Any, tmp_path: Path) -> None:
    task, model, run = task_file(tmp_path, len(RECORDED)), recording(tmp_path), tmp_path / "none"
    done = llemma("eval", task, f"model={model}", f"run={run}", "tools=none")
    assert done.returncode == 0, done.stderr
    assert set(verdicts(run)[0]) == {"unparsable"} and rows(run)[0]["grade"]["reason"] == "no program was run"
    later = llemma("eval", task, f"model=replay:{run}", f"run={tmp_path / 'later'}")
    assert later.returncode == 0, later.stderr
    assert verdicts(tmp_path / "later")[0][:7] == STRICT[:7]

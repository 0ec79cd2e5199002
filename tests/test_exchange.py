"""Samples of other harnesses, in and out: lm-eval's files, inspect's logs, lists of generated texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adder import TASK, Adder, config, rows, scores
from llemma.errors import BackendError, DataError, RunError
from llemma.evaluate.config import EvalConfig, load_tasks
from llemma.evaluate.evaluate import evaluate
from llemma.evaluate.export import export
from llemma.evaluate.settings import ExportConfig


def exported(tmp_path: Path, form: Any) -> Path:
    evaluate(config(tmp_path / "run"), backend=Adder())
    (path,) = export(ExportConfig(run=tmp_path / "run", format=form, out=tmp_path / "out"))
    return path


def test_samples_of_lm_eval_have_its_fields(tmp_path: Path) -> None:
    path = exported(tmp_path, "lm-eval")
    assert path.name == "samples_generated_addition.jsonl"
    samples = [json.loads(line) for line in path.read_text().splitlines()]
    stored = rows(tmp_path / "run")
    assert len(samples) == 12
    for number, sample in enumerate(samples):
        own = [row for row in stored if row["problem"] == sample["doc"]["id"]]
        assert sample["doc_id"] == number and sample["resps"] == [[row["transcript"]["text"] for row in own]]
        assert sample["arguments"]["gen_args_0"]["arg_0"] == own[0]["prompt"]
        assert sample["target"] == own[0]["reference"] and sample["metrics"] == ["exact_match"]
        assert sample["exact_match"] == sum(row["grade"]["verdict"] == "correct" for row in own) / 4
        assert all(len(sample[f"{name}_hash"]) == 64 for name in ("doc", "prompt", "target"))


def test_samples_of_lm_eval_are_graded_again(tmp_path: Path) -> None:
    path = exported(tmp_path, "lm-eval")
    evaluate(config(tmp_path / "again", model=f"replay:{path}", seed=5))
    before, after = scores(tmp_path / "run")[0], scores(tmp_path / "again")[0]
    values = [[(m["name"], m["value"]) for m in each["metrics"]] for each in (before, after)]
    assert values[0] == values[1]


def test_a_log_of_inspect_has_its_fields(tmp_path: Path) -> None:
    log = json.loads(exported(tmp_path, "inspect").read_text())
    assert list(log) == ["version", "status", "eval", "plan", "results", "stats", "samples"]
    assert len(log["samples"]) == 48 and log["eval"]["task"] == TASK
    first = log["samples"][0]
    assert (first["epoch"], first["output"]["completion"]) == (1, rows(tmp_path / "run")[0]["transcript"]["text"])
    correct = sum(sample["scores"]["strict"]["value"] == "C" for sample in log["samples"])
    accuracy = log["results"]["scores"][0]["metrics"]["accuracy"]["value"]
    assert correct / 48 == pytest.approx(accuracy)


def test_inspect_reads_the_log(tmp_path: Path) -> None:
    log = pytest.importorskip("inspect_ai.log", reason="needs inspect; enable with: pip install inspect_ai")
    found = log.read_eval_log(str(exported(tmp_path, "inspect")))
    assert found.status == "success" and len(found.samples) == 48
    assert found.results.scores[0].metrics["accuracy"].value == scores(tmp_path / "run")[0]["metrics"][0]["value"]
    assert found.samples[5].output.stop_reason == "stop" and found.samples[5].scores["strict"].explanation


def test_lost_samples_are_left_out(tmp_path: Path) -> None:
    class Half(Adder):
        def complete(self, requests: Any, sampling: Any) -> Any:
            if self.calls == 0:
                self.calls += 1
                raise BackendError("gone")
            return super().complete(requests, sampling)

    with pytest.raises(BackendError):
        evaluate(config(tmp_path / "run"), backend=Half())
    (path,) = export(ExportConfig(run=tmp_path / "run", out=tmp_path / "out"))
    assert len(path.read_text().splitlines()) == 10
    with pytest.raises(RunError, match=r"holds no run of `llemma eval`"):
        export(ExportConfig(run=tmp_path / "out", out=tmp_path / "other"))


# --- lists of generated texts


def recording(path: Path, problems: int = 12, samples: int = 3) -> Path:
    """A file of question, code and gt for the first problems of the task: every second text is right."""
    task = load_tasks([TASK], {"count": 12})[0]
    lines = []
    for problem in task.problems[:problems]:
        texts = [f"So. The answer is {int(problem.answer) + k % 2}." for k in range(samples)]
        lines.append(json.dumps({"idx": 0, "question": problem.prompt + "\n", "code": texts, "gt": problem.answer}))
    path.write_text("\n".join(lines) + "\n")
    return path


def test_recorded_texts_are_found_by_their_question(tmp_path: Path) -> None:
    path = recording(tmp_path / "texts.jsonl")
    task = evaluate(config(model=f"replay:{path}", samples=3)).tasks[0]
    found = {m.name: m.value for m in task.metrics}
    assert found == {"accuracy": pytest.approx(2 / 3), "maj@2": pytest.approx(2 / 3), "maj@3": 1.0, "pass@3": 1.0}
    one = evaluate(EvalConfig(tasks=(TASK,), options={"count": 12}, model=f"replay:{path}")).tasks[0]
    assert one.metrics[0].value == 1.0


def test_a_part_of_the_problems_must_be_asked_for(tmp_path: Path) -> None:
    path = recording(tmp_path / "texts.jsonl", problems=5)
    with pytest.raises(BackendError, match=r"21 of 36 samples .* no sample 0 is recorded .* engine\.partial=true"):
        evaluate(config(model=f"replay:{path}", samples=3))
    some = evaluate(config(tmp_path / "run", model=f"replay:{path}", samples=3, engine={"partial": True}))
    assert some.tasks[0].metrics[0].n == 5 and some.tasks[0].errors == 0
    more = evaluate(config(model=f"replay:{path}", samples=3, limit=2, engine={"partial": True}))
    assert more.tasks[0].metrics[0].n == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "q", "code": "text"}', "row 1: expected the fields question and code"),
        ('{"question": "q", "code": [1]}', "row 1: expected texts"),
        ('{"doc": {"x": 1}, "resps": [["a"]]}', "row 1: its doc has none of the fields question, problem"),
        ('{"doc": 1, "resps": [["a"]]}', "row 1: expected the fields doc and resps"),
        ("[1]", "row 1: expected a JSON object"),
        ("{", "row 1: not valid JSON"),
        ("", "no completions are recorded"),
    ],
)
def test_a_recording_of_another_form_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "x.jsonl").write_text(line + "\n")
    with pytest.raises(DataError, match=message):
        evaluate(config(model=f"replay:{tmp_path / 'x.jsonl'}"))

"""The evaluation: scores from rows, exact resume, failures of the back end, replay."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adder import TASK, Adder, comparable, config, rows, scores, value
from llemma.backends import Request, open_backend
from llemma.config import build
from llemma.errors import BackendError, ConfigError, DataError, RunError
from llemma.evaluate import evaluate as module
from llemma.evaluate.config import EvalConfig, load_tasks, request_seed
from llemma.evaluate.evaluate import evaluate
from llemma.evaluate.metrics import Scope, metrics_of
from llemma.evaluate.score import Tallies
from llemma.records import Completion, Event, Sampling


class Flaky(Adder):
    """Fails in the calls whose number ``fails`` holds true for."""

    def __init__(self, fails: Callable[[int], bool], retryable: bool = False, batch: int = 8) -> None:
        super().__init__(batch)
        self.fails, self.retryable = fails, retryable

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        if self.fails(self.calls):
            self.calls += 1
            raise BackendError(f"out of luck in call {self.calls - 1}", retryable=self.retryable)
        return super().complete(requests, sampling)


def test_a_run_holds_self_contained_rows_and_metrics_that_follow_from_them(tmp_path: Path) -> None:
    result = evaluate(config(tmp_path / "run"), backend=Adder())
    stored = rows(tmp_path / "run")
    assert len(stored) == 12 * 4
    first = stored[0]
    assert first["id"] == f"{TASK}/{first['problem']}#0"
    assert first["prompt"].endswith("Solution:\n") and first["question"] in first["prompt"]
    assert first["key"] in (first["grade"]["answer"], None) and first["reference"].isdigit()
    task = result.tasks[0]
    assert (task.task, task.errors, task.samples) == (TASK, 0, 48)
    assert task.unparsable == sum(row["grade"]["verdict"] == "unparsable" for row in stored) > 0
    assert [m.name for m in task.metrics] == ["accuracy", "maj@2", "maj@4", "pass@4"]
    assert value(result, "accuracy") == pytest.approx(sum(r["grade"]["verdict"] == "correct" for r in stored) / 48)
    assert all(0 <= m.low <= m.value <= m.high <= 1 and m.n == 12 for m in task.metrics)
    tallies = Tallies()
    tallies.take(stored[::-1], tmp_path)
    again = metrics_of(tallies.of(TASK), Scope(samples=4), task=TASK)
    assert replace(again, run=task.run, prompt=task.prompt, sampling=task.sampling) == task
    assert scores(tmp_path / "run")[0]["metrics"][0]["value"] == value(result, "accuracy")
    assert sum(group.n for group in task.groups) == 12


def test_the_votes_are_those_of_the_rows(tmp_path: Path) -> None:
    result = evaluate(config(tmp_path / "run"), backend=Adder())
    won = 0
    for problem in {row["problem"] for row in rows(tmp_path / "run")}:
        votes = [(row["key"], row["reference"]) for row in rows(tmp_path / "run") if row["problem"] == problem]
        keys = [key for key, _ in votes if key is not None]
        won += bool(keys) and max(keys, key=lambda key: (keys.count(key), -keys.index(key))) == votes[0][1]
    assert value(result, "maj@4") == pytest.approx(won / 12)


def test_without_a_folder_nothing_is_written_and_the_scores_are_the_same(tmp_path: Path) -> None:
    kept, loose = evaluate(config(tmp_path / "run"), backend=Adder()), evaluate(config(), backend=Adder())
    assert loose.tasks[0].metrics == kept.tasks[0].metrics
    assert loose.run is None


@pytest.mark.parametrize("cut", [0.0, 0.02, 0.31, 0.5, 0.77, 0.999])
def test_a_killed_run_ends_as_if_it_had_not_been_killed(tmp_path: Path, cut: float) -> None:
    evaluate(config(tmp_path / "whole"), backend=Adder())
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    data = (tmp_path / "whole" / "rows.jsonl").read_bytes()
    (tmp_path / "cut" / "rows.jsonl").write_bytes(data[: int(cut * len(data))])
    (tmp_path / "cut" / "metrics.json").unlink()
    evaluate(config(tmp_path / "cut"), backend=Adder())
    assert comparable(tmp_path / "cut") == comparable(tmp_path / "whole")
    assert scores(tmp_path / "cut") == scores(tmp_path / "whole")


def test_a_finished_run_calls_the_model_no_more(tmp_path: Path) -> None:
    once = evaluate(config(tmp_path), backend=Adder())
    again = Adder()
    assert evaluate(config(tmp_path), backend=again) == once
    assert again.calls == 0


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    evaluate(config(tmp_path), backend=Adder())
    for change in ({"seed": 1}, {"samples": 1}, {"temperature": 0.7}, {"options": {"count": 12, "shots": 1}}):
        with pytest.raises(RunError, match="other settings"):
            evaluate(config(tmp_path, **change), backend=Adder())
    with pytest.raises(RunError, match="batch"):
        evaluate(config(tmp_path), backend=Adder(batch=3))


def test_scores_do_not_depend_on_the_batch_for_a_model_that_does_not() -> None:
    results = [evaluate(config(), backend=Adder(batch, entangled=False)).tasks for batch in (1, 5, 64)]
    assert results[0] == results[1] == results[2]


def test_a_lost_unit_is_stored_reported_and_tried_again(tmp_path: Path) -> None:
    changes = {"options": {"count": 40}, "samples": 4}
    whole = evaluate(config(tmp_path / "whole", **changes), backend=Adder())
    result = evaluate(config(tmp_path / "run", **changes), backend=Flaky(lambda call: call == 3))
    assert (result.tasks[0].errors, result.tasks[0].samples) == (8, 160)
    lost = [row for row in rows(tmp_path / "run") if row["error"]]
    assert len(lost) == 8 and all(row["id"].endswith("!1") and row["grade"] is None for row in lost)
    assert lost[0]["error"] == "BackendError: out of luck in call 3"
    assert result.tasks[0].metrics[0].n == 38  # two problems lost their four samples
    mended = evaluate(config(tmp_path / "run", **changes), backend=Adder())
    assert mended.tasks[0].errors == 0
    assert mended.tasks[0].metrics == whole.tasks[0].metrics


def test_retryable_failures_are_tried_again_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_AFTER", (0.0, 0.0))
    engine = Flaky(lambda call: call % 3 != 2, retryable=True)
    result = evaluate(config(tmp_path), backend=engine)
    assert result.tasks[0].errors == 0
    assert result.tasks[0].metrics == evaluate(config(), backend=Adder()).tasks[0].metrics
    assert engine.calls == 3 * 6  # six units, each made in its third call


def test_too_many_lost_samples_are_no_score(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match=r"8 of 48 samples .* out of luck in call 2; the same command"):
        evaluate(config(tmp_path), backend=Flaky(lambda call: call == 2))
    assert len(rows(tmp_path)) == 48
    assert scores(tmp_path)[0]["errors"] == 8
    with pytest.raises(BackendError, match="8 of 48"):
        evaluate(config(tmp_path), backend=Flaky(lambda call: True))
    again = [row["id"] for row in rows(tmp_path) if row["id"].endswith("!2")]
    assert len(again) == 8
    assert evaluate(config(tmp_path), backend=Adder()).tasks[0].errors == 0


def test_a_back_end_that_answers_too_little_is_an_error() -> None:
    class Short(Adder):
        def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
            return super().complete(requests, sampling)[1:]

    with pytest.raises(BackendError, match="gave 7 completions for 8"):
        evaluate(config(), backend=Short())


def test_replay_gives_the_recorded_run_again(tmp_path: Path) -> None:
    recorded = evaluate(config(tmp_path / "run"), backend=Adder())
    for target in (tmp_path / "run", tmp_path / "run" / "rows.jsonl"):
        again = evaluate(config(model=f"replay:{target}"))
        assert again.tasks[0].metrics == recorded.tasks[0].metrics
    fewer = evaluate(config(model=f"replay:{tmp_path / 'run'}", samples=2, limit=3))
    assert (fewer.tasks[0].samples, fewer.tasks[0].errors) == (6, 0)


def test_replay_survives_a_kill_as_well(tmp_path: Path) -> None:
    evaluate(config(tmp_path / "run"), backend=Adder())
    replayed = config(tmp_path / "again", model=f"replay:{tmp_path / 'run'}", batch=5)
    evaluate(replayed)
    whole = comparable(tmp_path / "again")
    path = tmp_path / "again" / "rows.jsonl"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    evaluate(replayed)
    assert comparable(tmp_path / "again") == whole


def test_replay_says_what_is_missing(tmp_path: Path) -> None:
    evaluate(config(tmp_path / "run"), backend=Adder())
    for other in ({"samples": 5}, {"seed": 1}, {"options": {"count": 12, "shots": 1}}):
        with pytest.raises(BackendError, match=r"no completion is recorded for the prompt .* with this seed"):
            evaluate(config(model=f"replay:{tmp_path / 'run'}", **other))
    (tmp_path / "bad.jsonl").write_text('{"prompt": "x"}\n')
    with pytest.raises(DataError, match="row 1: expected the fields prompt, seed"):
        open_backend(f"replay:{tmp_path / 'bad.jsonl'}")
    with pytest.raises(DataError, match="no such file"):
        open_backend(f"replay:{tmp_path / 'nothing.jsonl'}")


def test_one_sample_is_greedy_and_more_are_not() -> None:
    seen: list[Sampling] = []

    class Spy(Adder):
        def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
            seen.append(sampling)
            return super().complete(requests, sampling)

    evaluate(config(samples=1), backend=Spy())
    evaluate(config(samples=2, max_tokens=9), backend=Spy())
    evaluate(config(samples=2, temperature=0.3, top_p=0.5), backend=Spy())
    shown = {(s.temperature, s.top_p) for s in seen}
    assert shown == {(0.0, 1.0), (0.6, 0.95), (0.3, 0.5)}
    assert {s.max_tokens for s in seen} == {160, 9}
    assert all(s.stop == ("I hope it is correct.",) for s in seen)


def test_progress_says_how_far_how_fast_and_how_well() -> None:
    events: list[Event] = []
    evaluate(config(), backend=Adder(), progress=events.append)
    assert [event.done for event in events] == [0, 8, 16, 24, 32, 40, 48]
    assert events[-1].total == 48 and events[-1].unit == "samples"
    assert set(events[-1].figures) == {"samples/s", "tokens/s", "accuracy so far"}


def test_limit_takes_the_first_problems(tmp_path: Path) -> None:
    evaluate(config(tmp_path / "all", samples=1), backend=Adder())
    evaluate(config(tmp_path / "few", samples=1, limit=3), backend=Adder())
    assert [row["id"] for row in rows(tmp_path / "few")] == [row["id"] for row in rows(tmp_path / "all")[:3]]


def test_seeds_differ_between_samples_and_stay_the_same_forever() -> None:
    seeds = {request_seed(s, t, p, k) for s in (0, 1) for t in ("a", "b") for p in ("x", "y") for k in range(3)}
    assert len(seeds) == 24 and all(0 <= seed < 1 << 63 for seed in seeds)
    # written down: a change of this value makes every stored run unresumable
    assert request_seed(0, TASK, "addition:24+73", 0) == 1598383456302318433


@pytest.mark.parametrize(
    ("specs", "options", "message"),
    [
        (["adition"], {}, "unknown task 'adition'"),
        (["generated"], {}, "generated:NAME; families: addition"),
        (["generated:aditon"], {}, "did you mean addition"),
        (["generated:addition"], {"shot": 1}, "unknown option 'shot'.*did you mean shots"),
        (["generated:addition"], {"shots": "many"}, "generated:addition: shots=many: expected integer"),
        (["generated:addition"], {"shots": -1}, "shots must be at least 0"),
        (["generated:addition", "generated:addition"], {}, "given twice"),
        (["gsm8k:hard"], {}, "has no variants"),
        (["nowhere/task.py:x"], {}, "no such plug-in file"),
    ],
)
def test_wrong_tasks_and_options_are_named(specs: list[str], options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_tasks(specs, options)


def test_an_option_reaches_every_task_that_knows_it() -> None:
    tasks = load_tasks(["generated:addition", "generated:words"], {"count": 3})
    assert [len(task.problems) for task in tasks] == [3, 3]


def test_a_file_outside_the_package_is_a_task(tmp_path: Path) -> None:
    path = tmp_path / "sums.py"
    path.write_text(
        '"""Sums."""\n'
        "from dataclasses import dataclass\n"
        "from llemma.config import setting\n"
        "from llemma.grade.equal import grade_numeric, vote_key\n"
        "from llemma.records import Problem, Task\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Options:\n"
        "    variant: str = setting('small', 'size')\n"
        "def load(options):\n"
        "    problems = tuple(Problem(id=str(i), prompt=f'{i}+1', answer=str(i + 1)) for i in range(3))\n"
        "    return Task(name='sums:' + options.variant, problems=problems, prompt=lambda p: 'Problem:' + p.prompt,\n"
        "                grade=lambda p, text: grade_numeric(text, p.answer), key=vote_key)\n"
    )
    result = evaluate(config(tasks=(f"{path}:large",), options={}, samples=1), backend=Adder())
    assert (result.tasks[0].task, result.tasks[0].samples, result.tasks[0].groups) == ("sums:large", 3, ())
    (tmp_path / "empty.py").write_text('"""Nothing."""\n')
    with pytest.raises(ConfigError, match="is not a task"):
        load_tasks([str(tmp_path / "empty.py")], {})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"tasks": []}, "no task given"),
        ({"samples": -1}, "samples=-1"),
        ({"samples": 4, "temperature": 0}, "the same text again and again"),
        ({"temperature": -1}, "must not be negative"),
        ({"top_p": 0}, "top_p=0"),
        ({"limit": 0}, "limit=0"),
        ({"sample": 1}, "did you mean samples"),
    ],
)
def test_wrong_settings_are_named(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(EvalConfig, {"tasks": [TASK], "model": "replay:x", **table})

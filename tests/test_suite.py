"""Around an evaluation: more samples later, shards, grading again, comparing, tables, overlap, checks of tasks."""

from __future__ import annotations

import csv
import io
import json
import os
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adder import TASK, Adder, comparable, config, rows, scores, value
from llemma.backends import Request
from llemma.config import build
from llemma.errors import BackendError, ConfigError, DataError, RunError
from llemma.evaluate.check import check_task, check_tasks
from llemma.evaluate.compare import compare_runs
from llemma.evaluate.config import EvalConfig, load_tasks, parse_shard, sampling_for
from llemma.evaluate.evaluate import evaluate
from llemma.evaluate.merge import merge
from llemma.evaluate.overlap import read_overlap
from llemma.evaluate.regrade import regrade
from llemma.evaluate.settings import CheckConfig, CompareConfig, MergeConfig, RegradeConfig
from llemma.records import Completion, Grade, Problem, Sampling, Scorer, Shot, Task
from llemma.report import TableConfig
from llemma.report.scores import as_lines, paper_table
from tiny import save_tiny

ROOT = Path(__file__).resolve().parents[1]


class Counting(Adder):
    """An adder that notes which requests it was given."""

    def __init__(self, batch: int = 8) -> None:
        super().__init__(batch, entangled=True)
        self.asked: list[tuple[str, int]] = []

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        self.asked += [(request.question, request.k) for request in requests]
        return super().complete(requests, sampling)


# --- more later


def test_more_samples_later_leave_the_first_as_they_are(tmp_path: Path) -> None:
    evaluate(config(tmp_path / "run", samples=4), backend=Adder())
    first = comparable(tmp_path / "run")
    engine = Counting()
    grown = evaluate(config(tmp_path / "run", samples=10), backend=engine)
    assert {k for _, k in engine.asked} == set(range(4, 10))
    assert set(first) <= set(comparable(tmp_path / "run")) and len(rows(tmp_path / "run")) == 120
    assert [m.name for m in grown.tasks[0].metrics] == ["accuracy", "maj@2", "maj@4", "maj@8", "maj@10", "pass@10"]
    stored = json.loads((tmp_path / "run" / "config.json").read_text())["settings"]
    assert stored["samples"] == 10 and stored["groups_of"] == {TASK: 4}


def test_a_grown_run_survives_a_kill_as_well(tmp_path: Path) -> None:
    for folder in ("whole", "cut"):
        evaluate(config(tmp_path / folder, samples=3), backend=Adder())
        evaluate(config(tmp_path / folder, samples=7), backend=Adder())
    path = tmp_path / "cut" / "rows.jsonl"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    evaluate(config(tmp_path / "cut", samples=7), backend=Adder())
    assert comparable(tmp_path / "cut") == comparable(tmp_path / "whole")


def test_more_problems_later_leave_the_first_as_they_are(tmp_path: Path) -> None:
    evaluate(config(tmp_path, samples=1, limit=5), backend=Adder())
    engine = Counting()
    assert evaluate(config(tmp_path, samples=1), backend=engine).tasks[0].metrics[0].n == 12
    assert len(set(engine.asked)) == 12 and len(rows(tmp_path)) == 12  # a unit is made again whole, stored once
    fewer = evaluate(config(tmp_path, samples=1, limit=3), backend=Counting())
    assert fewer.tasks[0].metrics[0].n == 3 and len(rows(tmp_path)) == 12


def test_greedy_and_sampled_do_not_mix(tmp_path: Path) -> None:
    evaluate(config(tmp_path, samples=1), backend=Adder())
    with pytest.raises(RunError, match=r"sampling\.generated:addition\.temperature: 0\.0 there, 0\.6 now"):
        evaluate(config(tmp_path, samples=4), backend=Adder())


def test_the_curve_has_every_k(tmp_path: Path) -> None:
    task = evaluate(config(samples=6), backend=Adder()).tasks[0]
    assert task.curve.k == (1, 2, 3, 4, 5, 6)
    named = {m.name: m.value for m in task.metrics}
    assert task.curve.maj[0] == pytest.approx(named["accuracy"])
    assert [task.curve.maj[k - 1] for k in (2, 4, 6)] == pytest.approx([named[f"maj@{k}"] for k in (2, 4, 6)])
    assert task.curve.passed[-1] == pytest.approx(named["pass@6"])
    assert list(task.curve.passed) == sorted(task.curve.passed)


def test_the_published_vote_is_taken_when_no_number_is_given() -> None:
    vote = Sampling(n=16, temperature=0.3, top_p=0.95)
    task = replace(load_tasks([TASK], {"count": 3})[0], vote=vote)
    assert sampling_for(config(samples=0), task) == replace(vote, max_tokens=160, stop=task.sampling.stop)
    assert sampling_for(config(samples=4), task).temperature == 0.3
    one = sampling_for(config(samples=1), task)
    assert (one.n, one.temperature, one.top_p) == (1, 0.0, 1.0)


# --- shards


def test_merged_shards_are_the_undivided_run(tmp_path: Path) -> None:
    whole = evaluate(config(tmp_path / "whole"), backend=Adder(4, entangled=False))
    folders = []
    for part in ("1/3", "2/3", "3/3"):
        folders.append(tmp_path / f"shard{part[0]}")
        evaluate(config(folders[-1], shard=part), backend=Adder(4, entangled=False))
    assert [len(rows(folder)) for folder in folders] == [16, 16, 16]
    merged = merge(MergeConfig(runs=tuple(folders), run=tmp_path / "all"))
    assert comparable(tmp_path / "all") == comparable(tmp_path / "whole")
    assert scores(tmp_path / "all") == scores(tmp_path / "whole")
    assert replace(merged.tasks[0], run=None) == replace(whole.tasks[0], run=None)
    merge(MergeConfig(runs=tuple(folders), run=tmp_path / "all"))  # once more changes nothing
    assert len(rows(tmp_path / "all")) == 48
    engine = Counting(4)
    evaluate(config(tmp_path / "all"), backend=engine)  # and it goes on like an undivided one
    assert engine.asked == []


def test_a_merge_needs_every_shard_once(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    evaluate(config(one, shard="1/2"), backend=Adder())
    evaluate(config(two, shard="2/2", seed=1), backend=Adder())
    evaluate(config(tmp_path / "whole"), backend=Adder())
    with pytest.raises(RunError, match="missing: 2"):
        merge(MergeConfig(runs=(one,), run=tmp_path / "all"))
    with pytest.raises(RunError, match="missing: 2"):
        merge(MergeConfig(runs=(one, one), run=tmp_path / "all"))
    with pytest.raises(RunError, match=r"different evaluations \(.*seed"):
        merge(MergeConfig(runs=(one, two), run=tmp_path / "all"))
    with pytest.raises(RunError, match="is not a shard"):
        merge(MergeConfig(runs=(tmp_path / "whole",), run=tmp_path / "all"))
    with pytest.raises(RunError, match=r"holds no run of `llemma eval`"):
        merge(MergeConfig(runs=(tmp_path,), run=tmp_path / "all"))


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "a/b", "1/2/3", "-1/2"])
def test_a_shard_is_written_part_of_parts(text: str) -> None:
    with pytest.raises(ValueError, match="write PART/PARTS"):
        parse_shard(text)


# --- grading again


def write_task(path: Path, wanted: str = "n + n") -> str:
    """A task file whose grader asks for ``wanted`` (n + n, or n * n), with a scorer beside that is always content."""
    path.write_text(
        '"""Doubles."""\n'
        "from dataclasses import dataclass\n"
        "from llemma.records import Grade, Problem, Scorer, Task\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Options:\n"
        "    pass\n"
        "def grade(problem, text):\n"
        "    n = int(problem.prompt)\n"
        f"    right = text.strip() == str({wanted})\n"
        "    return Grade(verdict='correct' if right else 'wrong', answer=text.strip(), reason='looked')\n"
        "def content(problem, text):\n"
        "    return Grade(verdict='correct', answer=text.strip(), reason='always')\n"
        "def load(options):\n"
        "    problems = tuple(Problem(id=str(n), prompt=str(n), answer=str(2 * n)) for n in range(5))\n"
        "    key = lambda grade: grade.answer\n"
        "    return Task(name='doubles', problems=problems, prompt=lambda p: p.prompt, grade=grade, key=key,\n"
        "                scorers={'paper': Scorer(grade=content, key=key)})\n"
    )
    return str(path)


class Doubler:
    """Doubles the prompt."""

    batch = 3
    info: Mapping[str, str] = {"engine": "doubler"}

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        return [Completion(text=str(2 * int(request.prompt)), finish="stop", tokens=1) for request in requests]


def test_both_scorers_are_reported_and_either_can_stand_alone(tmp_path: Path) -> None:
    task = write_task(tmp_path / "doubles.py", "n * n")
    both = evaluate(EvalConfig(tasks=(task,), model="doubler:", run=tmp_path / "both"), backend=Doubler()).tasks[0]
    assert (both.scorer, value_of(both.metrics), value_of(both.others[0].metrics)) == ("strict", 0.4, 1.0)
    row = rows(tmp_path / "both")[3]
    assert row["grade"]["verdict"] == "wrong" and row["scores"]["paper"]["verdict"] == "correct"
    alone = evaluate(EvalConfig(tasks=(task,), model="doubler:", scorer="paper"), backend=Doubler()).tasks[0]
    assert (alone.scorer, value_of(alone.metrics), alone.others) == ("paper", 1.0, ())
    with pytest.raises(ConfigError, match="no scorer for generated:addition; use scorer=strict"):
        evaluate(config(scorer="paper"), backend=Adder())


def value_of(metrics: Sequence[Any]) -> float:
    return next(m.value for m in metrics if m.name == "accuracy")


def test_grading_again_replaces_grades_and_names_what_changed(tmp_path: Path) -> None:
    task = write_task(tmp_path / "doubles.py", "n * n")
    run = tmp_path / "run"
    evaluate(EvalConfig(tasks=(task,), model="doubler:", run=run), backend=Doubler())
    before = rows(run)
    write_task(tmp_path / "doubles.py", "n + n")
    done = regrade(RegradeConfig(run=run))
    assert (done.samples, done.changed) == (5, 3)
    assert [(change.id, change.before, change.after) for change in done.changes] == [
        (f"doubles/{n}#0", "wrong", "correct") for n in (1, 3, 4)
    ]
    assert value_of(done.result.tasks[0].metrics) == 1.0
    assert json.loads((run / "metrics.json").read_text())["tasks"][0]["metrics"][0]["value"] == 1.0
    for old, new in zip(before, rows(run), strict=True):
        assert {k: v for k, v in new.items() if k != "grade"} == {k: v for k, v in old.items() if k != "grade"}
    paper = regrade(RegradeConfig(run=run, scorer="paper"))
    assert paper.changed == 0 and "scores" not in rows(run)[0]
    assert json.loads((run / "config.json").read_text())["settings"]["scorer"] == "paper"
    again = evaluate(EvalConfig(tasks=(task,), model="doubler:", run=run, scorer="paper"), backend=Doubler())
    assert again.tasks[0].scorer == "paper"


def test_grading_again_keeps_lost_samples_lost(tmp_path: Path) -> None:
    class Half(Adder):
        def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
            if self.calls == 0:
                self.calls += 1
                raise BackendError("gone")
            return super().complete(requests, sampling)

    with pytest.raises(BackendError, match="8 of 48"):
        evaluate(config(tmp_path), backend=Half())
    done = regrade(RegradeConfig(run=tmp_path))
    assert (done.samples, done.changed, done.result.tasks[0].errors) == (40, 0, 8)
    assert evaluate(config(tmp_path), backend=Adder()).tasks[0].errors == 0


# --- two runs


def test_compared_runs_are_paired_by_problem(tmp_path: Path) -> None:
    task = write_task(tmp_path / "doubles.py", "n * n")
    evaluate(EvalConfig(tasks=(task,), model="doubler:", run=tmp_path / "a"), backend=Doubler())
    write_task(tmp_path / "doubles.py", "n + n")
    evaluate(EvalConfig(tasks=(task,), model="doubler:", run=tmp_path / "b", limit=4), backend=Doubler())
    (found,) = compare_runs(CompareConfig(runs=(tmp_path / "a", tmp_path / "b")))
    assert (found.task, found.first, found.second, found.difference.n) == ("doubles", 0.5, 1.0, 4)
    assert (found.gained, found.lost) == (("1", "3"), ())
    assert (found.difference.only_first, found.difference.only_second, found.difference.p) == (0, 2, 0.5)
    (paper,) = compare_runs(CompareConfig(runs=(tmp_path / "a", tmp_path / "b"), scorer="paper"))
    assert (paper.first, paper.second) == (1.0, 1.0)
    with pytest.raises(DataError, match="not graded by the scorer 'other'; known: strict, paper"):
        compare_runs(CompareConfig(runs=(tmp_path / "a", tmp_path / "b"), scorer="other"))


def test_votes_are_compared_as_well(tmp_path: Path) -> None:
    evaluate(config(tmp_path / "a"), backend=Adder())
    evaluate(config(tmp_path / "b", seed=1), backend=Adder())
    (found,) = compare_runs(CompareConfig(runs=(tmp_path / "a", tmp_path / "b"), k=4))
    assert found.metric == "maj@4"
    assert [found.first, found.second] == [
        pytest.approx(next(m["value"] for m in scores(tmp_path / run)[0]["metrics"] if m["name"] == "maj@4"))
        for run in ("a", "b")
    ]
    evaluate(config(tmp_path / "c", tasks=("generated:linear",)), backend=Adder())
    with pytest.raises(DataError, match="no graded problem in common"):
        compare_runs(CompareConfig(runs=(tmp_path / "a", tmp_path / "c")))


# --- overlap


def test_scores_are_split_into_clean_and_dirty(tmp_path: Path) -> None:
    names = [problem.id for problem in load_tasks([TASK], {"count": 12})[0].problems]
    lines = [{"task": TASK, "problem": name, "hits": hits} for name, hits in zip(names, [2, 0, 0, 1], strict=False)]
    lines += [{"id": names[5]}, {"task": "another", "problem": names[6], "hits": 9}]
    path = tmp_path / "overlap.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    task = evaluate(config(overlap=path), backend=Adder()).tasks[0]
    groups = {m.name: m.n for m in task.groups}
    assert (groups["accuracy[overlap=dirty]"], groups["accuracy[overlap=clean]"]) == (3, 9)
    path.write_text('{"hits": 1}\n')
    with pytest.raises(DataError, match=r"overlap\.jsonl:1: expected the fields problem"):
        read_overlap(path)


# --- checks


def good(**changes: Any) -> Task:
    task: dict[str, Any] = {
        "name": "good",
        "problems": (Problem(id="1", prompt="1+1", answer="2"), Problem(id="2", prompt="1+2", answer="3")),
        "prompt": lambda problem: f"Q: 2+2\nA: 4.\n\nQ: {problem.prompt}\nA:",
        "grade": lambda problem, text: Grade(
            verdict="correct" if text.strip(" .") == problem.answer else "wrong", answer=text, reason="compared"
        ),
        "key": lambda grade: grade.answer,
        "sampling": Sampling(stop=("\n\n",)),
        "shots": (Shot(question="Q: 2+2\nA:", completion=" 4.", answer="4"),),
        "state": lambda problem: f" {problem.answer}.",
    }
    return Task(**{**task, **changes})


def verdicts(task: Task) -> dict[str, bool | None]:
    return {check.name: check.ok for check in check_task(task).checks}


def test_a_good_task_passes() -> None:
    assert check_task(good()).ok
    assert verdicts(good())["references, strict"] is True


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"meta": {"published": False, "rows": 1, "hub": "x", "sha256": "0" * 64}}, "data"),
        ({"problems": (Problem(id="1", prompt="a", answer="2"),) * 2}, "problems"),
        ({"problems": (Problem(id="1", prompt="a", answer=" "),)}, "problems"),
        ({"prompt": lambda problem: problem.prompt}, "prompt"),
        ({"sampling": Sampling(stop=("4",))}, "stop strings"),
        ({"state": lambda problem: " 7."}, "references, strict"),
        ({"sampling": Sampling(stop=(" ",))}, "references, strict"),
        ({"shots": (Shot(question="Q: 2+2\nA:", completion=" 4.", answer="5"),)}, "examples"),
        ({"shots": (Shot(question="Q: 2+2\nA:", completion=" 4.", answer=None),)}, "examples"),
    ],
)
def test_each_fault_of_a_task_is_found(changes: dict[str, Any], failed: str) -> None:
    assert verdicts(good(**changes))[failed] is False


def test_what_a_faulty_scorer_makes_of_references_is_told_and_not_judged() -> None:
    strange = Scorer(grade=lambda problem, text: Grade(verdict="wrong", answer=None, reason="no"), key=lambda g: None)
    checked = check_task(good(scorers={"paper": strange}))
    assert checked.ok
    told = next(check for check in checked.checks if check.name == "references, paper")
    assert told.ok is None and told.detail.startswith("0 of 2")


def test_every_family_of_generated_problems_passes() -> None:
    names = ("addition", "linear", "words", "quadratic", "fractions")
    assert all(checked.ok for checked in check_tasks(CheckConfig(tasks=tuple(f"generated:{name}" for name in names))))


def test_the_command_says_what_is_wrong(llemma: Callable[..., Any], tmp_path: Path) -> None:
    done = llemma("check-task", "generated:addition")
    assert done.returncode == 0 and "generated:addition: ok" in done.stdout
    write_task(tmp_path / "doubles.py")
    assert llemma("check-task", "doubles.py").returncode == 0
    text = (tmp_path / "doubles.py").read_text().replace("answer=str(2 * n))", "answer='')")
    (tmp_path / "doubles.py").write_text(text)
    wrong = llemma("check-task", "doubles.py", "--json")
    assert wrong.returncode == 1 and json.loads(wrong.stdout)["ok"] is False
    assert llemma("check-task", "adition").returncode == 2


# --- tables


def test_the_papers_settings_and_figures_are_read() -> None:
    table = tomllib.loads((ROOT / "experiments" / "paper.toml").read_text())
    settings = build(EvalConfig, {**table, "model": "hf:x"})
    assert settings.tasks == ("gsm8k", "ocw", "mmlu_stem", "sat", "math")
    assert settings.expected["greedy"]["Llemma 7B"]["math"] == 18.0
    assert settings.expected["majority"]["Llemma 34B"]["gsm8k"] == 69.3


def test_runs_stand_beside_the_papers_figures(tmp_path: Path) -> None:
    evaluate(config(tmp_path / "run"), backend=Adder())
    figures = tmp_path / "figures.toml"
    figures.write_text(f'[expected.majority."Somebody"]\n"{TASK}" = 12.5\n[expected.greedy."Else"]\n"{TASK}" = 1.0\n')
    runs = (tmp_path / "run",)
    markdown = paper_table(TableConfig(runs=runs, paper=figures, format="markdown")).splitlines()
    assert markdown[0] == f"| model | answers | scorer | {TASK} |" and len(markdown) == 4
    assert markdown[2].startswith("| adder: | majority | strict | ") and "maj@4" in markdown[2]
    assert markdown[3] == "| Somebody | majority | reported | 12.5 |"
    lines = list(csv.DictReader(io.StringIO(paper_table(TableConfig(runs=runs, paper=figures, format="csv")))))
    assert [line["model"] for line in lines] == ["adder:", "Somebody"] and float(lines[1]["value"]) == 0.125
    found = json.loads(paper_table(TableConfig(runs=runs, paper=figures, format="json")))
    assert found["rows"][0]["cells"][TASK]["name"] == "maj@4" and found["rows"][1]["published"]
    assert "Somebody" in paper_table(TableConfig(runs=runs, paper=figures))
    assert "Llemma 34B" in paper_table(TableConfig(runs=runs))
    with pytest.raises(DataError, match="no such file"):
        paper_table(TableConfig(runs=(tmp_path,)))


def test_the_terminal_shows_scores_groups_and_what_was_lost() -> None:
    result = evaluate(config(), backend=Adder())
    lines = as_lines(result.tasks)
    assert "unparsable" in lines[0] and "maj@4" in lines[2] and "pass@4" in lines[2]
    assert any("difficulty=1" in line for line in lines)
    assert f"{100 * value(result, 'accuracy'):.1f} %" in lines[2]


# --- stopped in the middle


def test_an_interrupted_run_leaves_its_scores_so_far_and_goes_on(tmp_path: Path) -> None:
    class Interrupted(Adder):
        def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
            if self.calls == 3:
                raise KeyboardInterrupt
            return super().complete(requests, sampling)

    with pytest.raises(KeyboardInterrupt):
        evaluate(config(tmp_path / "run"), backend=Interrupted())
    (so_far,) = scores(tmp_path / "run")
    assert so_far["samples"] == 24 and so_far["metrics"][0]["n"] == 6
    evaluate(config(tmp_path / "run"), backend=Adder())
    evaluate(config(tmp_path / "whole"), backend=Adder())
    assert comparable(tmp_path / "run") == comparable(tmp_path / "whole")
    assert scores(tmp_path / "run") == scores(tmp_path / "whole")


def test_a_back_end_that_only_fails_is_left_alone_after_a_while(tmp_path: Path) -> None:
    class Dead(Adder):
        def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
            self.calls += 1
            raise BackendError("no answer")

    engine = Dead(batch=32)
    with pytest.raises(BackendError, match=r"256 samples in a row were lost, .*no answer; stopped"):
        evaluate(config(tmp_path, options={"count": 150}, samples=4), backend=engine)
    assert engine.calls == 8


# --- every task with a model


@pytest.mark.skipif(
    not os.environ.get("LLEMMA_DATA"),
    reason="needs the benchmarks; enable with: LLEMMA_DATA=../shared/data python -m pytest tests/test_suite.py",
)
def test_every_task_runs_with_a_tiny_model(tmp_path: Path) -> None:
    tasks = ("gsm8k", "math", "math500", "ocw", "mmlu_stem", "sat", "gsm8k_python", "math_python", "generated:words")
    model = f"hf:{save_tiny(tmp_path / 'model')}"
    result = evaluate(EvalConfig(tasks=tasks, model=model, limit=3, max_tokens=16, run=tmp_path / "run"))
    assert [task.task for task in result.tasks] == list(tasks)
    for task in result.tasks:
        assert (task.metrics[0].n, task.errors, task.samples) == (3, 0, 3)
        assert [other.scorer for other in task.others] == ([] if task.task.startswith("generated") else ["paper"])
    assert len(rows(tmp_path / "run")) == 3 * len(tasks)

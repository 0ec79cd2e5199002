"""The tasks: references are gradable, examples are right, prompts share their prefix."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from llemma import plugins
from llemma.config import build, keys
from llemma.errors import ConfigError, DataError
from llemma.grade.equal import grade_numeric, vote_class
from llemma.records import Task
from llemma.sources import generated as source
from llemma.tasks import generated, gsm8k

FAMILIES = source.families()


def addition(**options: object) -> Task:
    return generated.load(build(generated.Options, {"variant": "addition", **options}))


def common_prefix(prompts: list[str]) -> str:
    """The characters that all prompts begin with."""
    first, last = min(prompts), max(prompts)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:same]


@pytest.mark.parametrize("split", ["test", "extrapolation"])
@pytest.mark.parametrize("family", FAMILIES)
def test_generated_references_are_right_by_their_own_grader(family: str, split: str) -> None:
    task = generated.load(build(generated.Options, {"variant": family, "split": split, "count": 60}))
    assert len({problem.id for problem in task.problems}) == len(task.problems) == 60
    by_key = {w.key: w for w in source.draw(family, split=split, seed=0, count=240)}
    for problem in task.problems:
        worked = by_key[problem.id]
        written = source.render(worked).removeprefix(source.prompt(worked)).partition(task.sampling.stop[0])[0]
        grade = task.grade(problem, written)
        assert grade.verdict == "correct", (problem, grade)
        assert task.key(grade) == vote_class(problem.answer)
        assert len(written) <= task.sampling.max_tokens  # whole even at one token per character
        assert problem.meta["split"] == split


@pytest.mark.parametrize("family", FAMILIES)
def test_generated_examples_are_right_and_from_the_training_split(family: str) -> None:
    shots = generated.examples(family, 3)
    assert len({shot.key for shot in shots}) == 3 and {shot.split for shot in shots} == {"train"}
    task = generated.load(build(generated.Options, {"variant": family, "shots": 3, "count": 5}))
    prefix = common_prefix([task.prompt(problem) for problem in task.problems])
    for shot in shots:
        assert source.render(shot) + "\n\n" in prefix
        assert grade_numeric(source.render(shot), shot.answer).verdict == "correct"


def test_the_prompt_is_examples_and_question_up_to_the_solution() -> None:
    task = addition(shots=2, count=4)
    for problem in task.problems:
        prompt = task.prompt(problem)
        assert prompt.count("Problem:\n") == 3 and prompt.endswith(f"Problem:\n{problem.prompt}\n\nSolution:\n")
    assert addition(shots=0).prompt(task.problems[0]) == source.prompt(task.problems[0].prompt)


def test_the_examples_do_not_change_with_the_problems() -> None:
    first, other = addition(seed=0, count=20), addition(seed=1, count=20, split="extrapolation")
    assert first.problems[0].id != other.problems[0].id
    prefix = common_prefix([first.prompt(first.problems[0]), other.prompt(other.problems[0])])
    assert prefix.count("I hope it is correct.") == 2


def test_the_same_options_give_the_same_task() -> None:
    assert addition(count=30).problems == addition(count=30).problems == addition(count=50).problems[:30]


def test_difficulty_chooses_levels() -> None:
    assert {p.meta["difficulty"] for p in addition(difficulty=[2]).problems} == {2}
    assert {p.meta["difficulty"] for p in addition(difficulty=[1, 2]).problems} == {1, 2}
    with pytest.raises(ConfigError, match="addition has no test problems of difficulty"):
        addition(difficulty=[9])
    with pytest.raises(ConfigError, match="the least and the most"):
        addition(difficulty=[1, 2, 3])


def test_a_missing_family_is_answered_with_the_list_of_families() -> None:
    with pytest.raises(ConfigError, match=r"families: addition, subtraction"):
        generated.load(generated.Options())


@pytest.mark.parametrize("name", plugins.names("tasks"))
def test_every_task_is_described_and_has_documented_options(name: str) -> None:
    assert plugins.describe("tasks")[name]
    assert all(key.help and key.default != "required" for key in keys(plugins.load("tasks", name).Options))


# --- gsm8k


def test_gsm8k_says_what_to_do_without_its_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LLEMMA_DATA", raising=False)
    with pytest.raises(DataError, match=r"grade-school-math .* set LLEMMA_DATA"):
        gsm8k.load(gsm8k.Options())
    monkeypatch.setenv("LLEMMA_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"gsm8k_test\.jsonl: no such file"):
        gsm8k.load(gsm8k.Options())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no problems"),
        ('{"question": "q"}\n', ":1: expected the text fields"),
        ('{"question": "q", "answer": "5"}\n', ":1: the answer does not end in"),
        ('{"question": "q", "answer": "#### five"}\n', ":1: the answer does not end in"),
    ],
)
def test_gsm8k_names_the_bad_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / gsm8k.FILE).write_text(text)
    monkeypatch.setenv("LLEMMA_DATA", str(tmp_path))
    with pytest.raises(DataError, match=message):
        gsm8k.load(gsm8k.Options())


def test_gsm8k_takes_another_file_and_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / gsm8k.FILE).write_text('{"question": "1 + 1?", "answer": "1 + 1 = 2\\n#### 2"}\n')
    monkeypatch.setenv("LLEMMA_DATA", str(tmp_path))
    task = gsm8k.load(gsm8k.Options(shots=2))
    assert (task.meta["rows"], task.meta["published"]) == (1, False)
    prompt = task.prompt(task.problems[0])
    assert prompt.endswith("\n\nQ: 1 + 1?\nA:") and prompt.count("The answer is") == 2
    answers = " ".join(reasoning for _, reasoning, _ in gsm8k.EXAMPLES)
    assert not [stop for stop in task.sampling.stop if stop in answers]


def test_gsm8k_examples_are_right() -> None:
    for _, reasoning, answer in gsm8k.EXAMPLES:
        assert grade_numeric(f" {reasoning} The answer is {answer}.", answer).verdict == "correct"
        parts = equations(reasoning)
        assert parts
        for left, right in (part.split(" = ") for part in parts):
            assert value_of(left) == float(right), reasoning
    with pytest.raises(ConfigError, match="examples for 0 to 4"):
        build(gsm8k.Options, {"shots": 9})


def equations(reasoning: str) -> list[str]:
    """The parts like ``7 * 12 = 84`` of our own examples; those with unknowns are left out."""
    return re.findall(r"(?<![-+*/] )\b\d[\d.]*(?: [-+*/] [\d.]*\d)+ = \d+(?:\.\d+)?", reasoning)


def value_of(expression: str) -> float:
    """A sum of products, read left to right; enough for the examples and for nothing else."""
    total, sign, words = 0.0, "+", expression.split()
    term = float(words[0])
    for operator, number in zip(words[1::2], map(float, words[2::2]), strict=True):
        if operator in "*/":
            term = term * number if operator == "*" else term / number
        else:
            total, sign, term = total + (term if sign == "+" else -term), operator, number
    return total + (term if sign == "+" else -term)


@pytest.mark.skipif(
    not os.environ.get("LLEMMA_DATA"),
    reason="needs GSM8K; enable with: LLEMMA_DATA=../shared/data .venv/bin/python -m pytest tests/test_tasks.py",
)
def test_gsm8k_is_the_published_file_and_every_reference_is_right() -> None:
    task = gsm8k.load(gsm8k.Options())
    assert (task.meta["rows"], task.meta["published"]) == (1319, True)
    verdicts = [task.grade(p, p.meta["solution"]).verdict for p in task.problems]
    assert verdicts.count("correct") == 1319
    sentences = [task.grade(p, f" So. The answer is {p.answer}.").verdict for p in task.problems]
    assert sentences.count("correct") == 1319
    prefix = common_prefix([task.prompt(p) for p in task.problems])
    assert prefix.count("The answer is") == 4
    assert not {question for question, _, _ in gsm8k.EXAMPLES} & {p.prompt for p in task.problems}

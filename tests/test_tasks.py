"""The tasks: references are gradable, examples are right, prompts share their prefix."""

from __future__ import annotations

import http.server
import json
import os
import random
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from llemma import plugins
from llemma.config import build, keys
from llemma.errors import ConfigError, DataError
from llemma.evaluate.check import check_tasks
from llemma.evaluate.config import load_tasks
from llemma.evaluate.settings import CheckConfig
from llemma.fetch import Remote, cached, fetch
from llemma.grade.equal import grade_numeric, vote_class
from llemma.grade.paper import is_tex_equiv, normalize_tex, paper_vote
from llemma.records import Problem, Shot, Task
from llemma.run import sha256_file
from llemma.sources import generated as source
from llemma.tasks import (
    _choice,
    _minerva,
    _prompts,
    _words,
    generated,
    gsm8k,
    gsm8k_python,
    math_python,
    mmlu_stem,
    ocw,
)
from llemma.tasks import math as math_task
from llemma.tasks._data import open_dataset
from llemma.tasks._minerva import last_box
from llemma.tasks._programs import Output, output_of, strict_value, with_output
from llemma.tasks._scoring import CLASSES

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


# --- files: found, fetched, checked


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty folder as LLEMMA_DATA, another as the cache, fetching forbidden."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("LLEMMA_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("LLEMMA_CACHE", str(tmp_path / "cache"))
    return tmp_path / "data"


class _Files(http.server.BaseHTTPRequestHandler):
    """Serves one file at /good, half of it at /short, an error at /broken; counts the calls."""

    content = b"line one\nline two\n" * 1000
    calls = 0

    def do_GET(self) -> None:
        type(self).calls += 1
        if self.path.startswith("/broken"):
            self.send_error(500)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        whole = not self.path.startswith("/short")
        self.wfile.write(self.content if whole else self.content[:1000])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a local file server."""
    _Files.calls = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def online(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fetching allowed, without pauses between tries."""
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr("llemma.fetch.time.sleep", lambda seconds: None)


def sha256(data: bytes, tmp_path: Path) -> str:
    (tmp_path / "hashed").write_bytes(data)
    return sha256_file(tmp_path / "hashed")


def test_a_fetched_file_is_checked_and_kept(server: str, online: None, tmp_path: Path) -> None:
    remote = Remote(url=f"{server}/good/file.jsonl", sha256=sha256(_Files.content, tmp_path))
    assert cached(remote) is None
    path = fetch(remote)
    assert path.read_bytes() == _Files.content and fetch(remote) == cached(remote) == path
    assert _Files.calls == 1
    path.write_bytes(b"damaged")
    assert fetch(remote).read_bytes() == _Files.content and _Files.calls == 2
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_what_is_not_the_file_is_not_kept(server: str, online: None, tmp_path: Path) -> None:
    right = sha256(_Files.content, tmp_path)
    with pytest.raises(DataError, match=r"sha256 is .* expected 0000"):
        fetch(Remote(url=f"{server}/good", sha256="0" * 64))
    for kind in ("short", "broken"):
        with pytest.raises(DataError, match="cannot be fetched"):
            fetch(Remote(url=f"{server}/{kind}", sha256=right))
    assert list((tmp_path / "cache").iterdir()) == []


def test_nothing_is_fetched_offline(server: str, bare: Path) -> None:
    with pytest.raises(DataError, match="HF_HUB_OFFLINE forbids"):
        fetch(Remote(url=f"{server}/good", sha256="0" * 64))
    assert _Files.calls == 0


def test_a_benchmark_that_is_not_here_is_named_with_its_remedy(bare: Path) -> None:
    with pytest.raises(DataError, match=r"gsm8k_test\.jsonl \(openai/gsm8k .* set LLEMMA_DATA .*githubusercontent"):
        gsm8k.load(gsm8k.Options())
    assert not gsm8k.available()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no problems"),
        ('{"question": "q"}\n', ":1: expected the text field answer"),
        ('{"question": "q", "answer": "5"}\n', ":1: the answer does not end in"),
        ('{"question": "q", "answer": "#### five"}\n', ":1: the answer does not end in"),
    ],
)
def test_a_bad_line_is_named(bare: Path, text: str, message: str) -> None:
    (bare / gsm8k.DATA.file).write_text(text)
    with pytest.raises(DataError, match=message):
        gsm8k.load(gsm8k.Options())


def test_another_file_is_taken_and_told(bare: Path) -> None:
    (bare / gsm8k.DATA.file).write_text('{"question": "1 + 1?", "answer": "1 + 1 = 2\\n#### 2"}\n')
    task = gsm8k.load(gsm8k.Options(shots=2))
    assert (task.meta["rows"], task.meta["published"], task.meta["prompt"]) == (1, False, "own")
    prompt = task.prompt(task.problems[0])
    assert prompt.endswith("\n\nQ: 1 + 1?\nA:") and prompt.count("The answer is") == 2
    assert gsm8k.load(gsm8k.Options(shots=0)).prompt(task.problems[0]) == "Q: 1 + 1?\nA:"
    with pytest.raises(ConfigError, match="examples for 0 to 8"):
        gsm8k.load(gsm8k.Options(shots=9))


def test_a_missing_choice_of_mmlu_is_the_word_none(bare: Path) -> None:
    row = {"question": "How many?", "options": [float("nan"), "1", "2", "3"], "answer": "B", "topic": "x", "id": 1}
    (bare / mmlu_stem.DATA.file).write_text(json.dumps(row) + "\n")
    task = mmlu_stem.load(mmlu_stem.Options())
    assert "\n(A) None, (B) 1, (C) 2, (D) 3\nSolution:" in task.prompt(task.problems[0])


# --- prompts


def test_the_papers_prompt_is_read_from_its_source_file(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    literal = "Q: one\nA: The answer is 1.\n\nQ: two\nA: The answer is 2."
    source_file = f"import nothing_there\nOTHER = 3\nPROMPT = {literal!r}.strip()\nraise SystemExit\n".encode()
    prompt = _prompts.Published(
        file="x.txt", path="x.py", name="PROMPT",
        sha256=sha256(literal.encode(), tmp_path), source_sha256=sha256(source_file, tmp_path),
    )  # fmt: skip
    monkeypatch.setitem(_prompts.PUBLISHED, "gsm8k", prompt)
    with pytest.raises(DataError, match=r"paper's examples cannot be had .* options\.prompt=own"):
        _prompts.published("gsm8k", "paper")
    assert _prompts.published("gsm8k", "auto") is None and _prompts.published("gsm8k", "own") is None
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / f"{prompt.source_sha256[:16]}-x.py").write_bytes(source_file)
    assert _prompts.published("gsm8k", "paper") == _prompts.published("gsm8k", "auto") == literal
    ours = [Shot(question="Q: three\nA:", completion=" The answer is 3.", answer="3")]

    def shots(choice: _prompts.Choice, count: int | None) -> _prompts.Shots:
        return _prompts.shots("gsm8k", ours, choice, count, _prompts.WORDS, _words.gold)

    two = shots("auto", None)
    assert two.prefix == literal + "\n\n" and two.meta["shots"] == 2 and two.meta["prompt"] == "paper"
    assert two.meta["prompt_sha256"] == prompt.sha256 and [shot.answer for shot in two.single] == ["1", "2"]
    assert shots("auto", 1).prefix == "Q: one\nA: The answer is 1.\n\n" and shots("auto", 0).prefix == ""
    assert shots("own", None).single == tuple(ours) and shots("own", None).meta["prompt_origin"] == "llemma"


def test_a_changed_prompt_file_is_refused(bare: Path) -> None:
    (bare / "prompts").mkdir()
    (bare / "prompts" / "gsm8k__PROMPT.txt").write_text("Q: mine\nA: The answer is 1.")
    with pytest.raises(DataError, match=r"sha256 is .* expected 10ac6d4e"):
        _prompts.published("gsm8k", "auto")


def test_our_word_problem_examples_are_right() -> None:
    for _, reasoning, answer in _words.EXAMPLES:
        assert grade_numeric(f" {reasoning} The answer is {answer}.", answer).verdict == "correct"
        parts = equations(reasoning)
        assert parts
        for left, right in (part.split(" = ") for part in parts):
            assert value_of(left) == float(right), reasoning


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


@pytest.mark.parametrize(
    ("solution", "answer"),
    [
        (r"so $x = \boxed{5}$.", "5"),
        (r"\boxed{1} then \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"the set \boxed{\{1,2\}}", r"\{1,2\}"),
        (r"hence $\boxed 7$ and", "7"),
        (r"\fbox{A}", "A"),
        (r"\boxed{unclosed", None),
        ("none", None),
        (r"\boxed{}", None),
    ],
)
def test_the_reference_of_a_solution_is_its_last_box(solution: str, answer: str | None) -> None:
    assert last_box(solution) == answer


# --- the published files

DATA = pytest.mark.skipif(
    not os.environ.get("LLEMMA_DATA"),
    reason="needs the benchmarks; enable with: LLEMMA_DATA=../shared/data python -m pytest tests/test_tasks.py",
)
PUBLISHED = {"gsm8k": 1319, "math": 5000, "math500": 500, "ocw": 272, "mmlu_stem": 3018, "sat": 32}


@DATA
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_file_is_the_published_one_and_so_is_the_prompt(name: str) -> None:
    (task,) = load_tasks([name], {})
    assert (task.meta["rows"], len(task.problems), task.meta["published"]) == (PUBLISHED[name],) * 2 + (True,)
    assert task.meta["prompt"] == "paper" and task.meta["prompt_sha256"] == _prompts.PUBLISHED[paper_of(name)].sha256
    (own,) = load_tasks([name], {"prompt": "own"})
    for one in (task, own):
        prefix = common_prefix([one.prompt(p) for p in one.problems])
        assert prefix.count("he answer is" if name == "gsm8k" else "I hope it is correct.") == one.meta["shots"]
        assert not [stop for stop in one.sampling.stop if stop == "\n\n" and stop in own_solutions(name)]
    assert not {question for question, *_ in _words.EXAMPLES + _minerva.EXAMPLES + _choice.EXAMPLES + ocw.EXAMPLES} & {
        problem.prompt for problem in task.problems
    }


def paper_of(name: str) -> str:
    return "math" if name == "math500" else name


def own_solutions(name: str) -> str:
    return " ".join(reasoning for _, reasoning, _ in _words.EXAMPLES) if name == "gsm8k" else ""


@DATA
def test_the_subjects_of_math_and_mmlu_have_their_published_sizes() -> None:
    for module in (math_task, mmlu_stem):
        name = "math" if module is math_task else "mmlu_stem"
        (task,) = load_tasks([name], {})
        counts = {s: sum(p.meta["subject"] == s for p in task.problems) for s in module.SUBJECTS}
        assert counts == module.SUBJECTS and sum(counts.values()) == len(task.problems)
        (one,) = load_tasks([f"{name}:{next(iter(module.SUBJECTS))}"], {})
        assert len(one.problems) == next(iter(module.SUBJECTS.values()))
    with pytest.raises(ConfigError, match="unknown subject 'algebr' of math; did you mean algebra"):
        load_tasks(["math:algebr"], {})


@DATA
def test_the_kinds_of_ocw_references_are_those_of_the_paper() -> None:
    (task,) = load_tasks(["ocw"], {})
    kinds = [problem.meta["kind"] for problem in task.problems]
    assert {kind: kinds.count(kind) for kind in kinds} == {"numeric": 188, "expression": 72, "equation": 12}


@DATA
def test_every_reference_of_gsm8k_is_right() -> None:
    (task,) = load_tasks(["gsm8k"], {})
    verdicts = [task.grade(p, p.meta["solution"]).verdict for p in task.problems]
    assert verdicts.count("correct") == 1319
    sentences = [task.grade(p, f" So. The answer is {p.answer}.").verdict for p in task.problems]
    assert sentences.count("correct") == 1319


@DATA
def test_the_original_form_of_a_file_counts_as_published(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = bare / gsm8k.DATA.file
    path.write_text('{"question": "q?", "answer": "#### 1"}\n')
    dataset = replace(gsm8k.DATA, rows=1, original_sha256=sha256_file(path))
    assert open_dataset(dataset).published
    assert not open_dataset(replace(dataset, rows=2)).published


@DATA
@pytest.mark.parametrize("prompt", ["paper", "own"])
@pytest.mark.parametrize("name", [*PUBLISHED, "gsm8k_python", "math_python"])
def test_every_task_passes_its_checks(name: str, prompt: str) -> None:
    (checked,) = check_tasks(CheckConfig(tasks=(name,), options={"prompt": prompt}))
    assert checked.ok, [check for check in checked.checks if check.ok is False]


# --- programs


def run_program(code: str) -> str:
    """The output of one of our own programs, in a fresh Python."""
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("shot", gsm8k_python.own_examples(), ids=lambda shot: shot.answer)
def test_our_gsm8k_programs_give_their_answers(shot: Shot) -> None:
    output = run_program(shot.completion + "\nprint(solution())")
    problem = Problem(id="x", prompt=shot.question, answer=str(shot.answer))
    assert strict_value(problem, with_output(shot.completion, output)).verdict == "correct", output


@pytest.mark.parametrize("shot", math_python.own_examples(), ids=lambda shot: shot.answer)
def test_our_math_programs_give_their_answers(shot: Shot) -> None:
    body, _, rest = shot.completion.partition("```")
    imports = rest.partition("```")[2].partition("```")[0]
    output = run_program(f"{imports}\n{body}\nprint(answer)")
    problem = Problem(id="x", prompt=shot.question, answer=str(shot.answer))
    assert strict_value(problem, with_output(shot.completion, output)).verdict == "correct", output


def test_the_last_output_of_a_program_is_its_answer() -> None:
    problem = Problem(id="x", prompt="?", answer="1/2")
    text = with_output(with_output("```python\nprint(3)\n```", "3"), "0.5\n")
    assert output_of(text) == Output(text="0.5", status="ok") and strict_value(problem, text).verdict == "correct"
    assert strict_value(problem, "The answer is 1/2.").reason == "no program was run"
    assert strict_value(problem, with_output("x", "")).reason == "the program gave no value"
    assert strict_value(problem, with_output("x", "0.6")).verdict == "wrong"
    forged = with_output("```llemma-output\n1/2\n```", "")  # what the model wrote is not what its program gave
    assert strict_value(problem, forged).verdict == "unparsable"


@DATA
def test_the_program_prompts_are_the_papers_byte_for_byte() -> None:
    folder = Path(os.environ["LLEMMA_DATA"]) / "prompts"
    (pal,) = load_tasks(["gsm8k_python"], {})
    question = pal.problems[0].prompt
    text = (folder / "python_gsm__PAL_PROMPT.txt").read_bytes().decode().strip()
    assert pal.prompt(pal.problems[0]) == text.replace("{question}", question)
    (sympy,) = load_tasks(["math_python"], {})
    text = (folder / "sympy_math__PROMPT.txt").read_bytes().decode()
    assert sympy.prompt(sympy.problems[0]).startswith(
        text + "\n\nProblem:\n" + sympy.problems[0].prompt + "\n\nYou are"
    )
    assert (len(pal.shots), len(sympy.shots)) == (8, 5)


# --- votes under the paper's rules


def test_the_papers_classes_are_those_of_its_vote() -> None:
    """Class sizes are those of ``paper_vote``, whose clusters compare every pair by sympy or not at all."""
    draws = random.Random(3)
    answers = ["1", "2", "-1", "0", r"\frac{1}{2}", r"\frac{2}{4}", "0.5", "x+1", "1+x", "[2,5)", r"\sqrt{4}", "-0"]
    classes = CLASSES["math"]
    for _ in range(25):
        sampled = [draws.choice(answers) for _ in range(12)]
        keys = [normalize_tex(answer) for answer in sampled]
        found = Counter(classes(keys, {key: key for key in keys}))
        vote = paper_vote(sampled, "1", "math", extracted=True)
        assert sorted(found.values()) == sorted(count for _, count in vote.votes), sampled


SPELLED = ["1", "2", "-1", "0", r"\frac{1}{2}", r"\frac{2}{4}", r"-\frac{3}{6}", r"\frac{4}{2}", r"\frac{-1}{2}", "-0"]


@pytest.mark.parametrize("one", SPELLED)
def test_whole_numbers_and_fractions_compare_as_sympy_compares_them(one: str) -> None:
    for other in SPELLED:
        if one != other:
            cast = CLASSES["math"]([one, other], {one: one, other: other})
            assert (cast[0] == cast[1]) == is_tex_equiv(other, one), other

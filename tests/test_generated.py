"""Generated problems: exact answers, true workings, splits that never meet."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections import Counter
from fractions import Fraction
from functools import cache
from math import gcd, lcm

import pytest

from llemma.errors import ConfigError
from llemma.sources.generated import Options, Worked, documents, draw, families, levels, prompt, render
from llemma.sources.generated.stories import STORIES

FAMILIES = families()
SPLITS = ("train", "test", "extrapolation")


@cache
def sample(family: str, split: str, count: int = 400, seed: int = 7) -> tuple[Worked, ...]:
    return tuple(draw(family, split=split, seed=seed, count=count))


@cache
def everything(family: str) -> tuple[Worked, ...]:
    return sample(family, "train", 1000) + sample(family, "test", 200) + sample(family, "extrapolation", 200)


def printed(program: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(program, {})
    return out.getvalue().strip()


def values(text: str) -> list[Fraction]:
    """The numbers of an answer, LaTeX or plain."""
    text = re.sub(r"\\frac\{(\d+)\}\{(\d+)\}", r"\1/\2", text)
    return [Fraction(part.strip()) for part in text.split(",")]


def tokens(text: str) -> int:
    """About what our tokeniser makes of it: digits and signs singly, words whole."""
    return len(re.findall(r"\d| ?[A-Za-z]+| ?[^\w\s]|\n", text))


# The working of "12+34: " restates a problem; its last arrow is the result.
RESTATED = re.compile(r"(\d+[-+*/]\d+): ([^.]*?) -> (\d+)(?=[.,]|$)")


def side_value(side: str) -> Fraction:
    """The value of ``26-5``, ``6*4+0`` or ``-7/7``; leading zeros are allowed."""
    exact = re.sub(r"\d+", lambda m: f"F({int(m[0])})", side)
    return Fraction(eval(exact, {"F": Fraction}))


def statements(solution: str) -> list[list[str]]:
    """The sides of every ``a=b=c`` in a solution; statements hold no spaces."""
    words = (word.strip(".,;:") for word in solution.split(" "))
    return [word.split("=") for word in words if "=" in word]


def at(side: str, letter: str, value: str) -> str:
    """A side with its unknown replaced: ``3x-2`` and ``7(x+1)`` become arithmetic."""
    side = re.sub(rf"(\d)(?=[{letter}(])", r"\1*", side)
    return side.replace(letter, f"({value})").replace(")(", ")*(").replace("^", "**")


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_program_prints_the_answer(family: str, split: str) -> None:
    for seed in (0, 7):
        for worked in sample(family, split, 150, seed):
            assert values(printed(worked.program)) == values(worked.answer), worked


@pytest.mark.parametrize("family", FAMILIES)
def test_every_statement_of_a_solution_is_true(family: str) -> None:
    found = 0
    for worked in everything(family):
        for sides in statements(worked.solution):
            known = [side for side in sides if re.fullmatch(r"[\d+\-*/()]+", side)]
            assert len({side_value(side) for side in known}) <= 1, (sides, worked)
            found += len(known) > 1
        for name, a, b, value in re.findall(r"(gcd|lcm)\((\d+),(\d+)\)=(\d+)", worked.solution):
            assert {"gcd": gcd, "lcm": lcm}[name](int(a), int(b)) == int(value), worked
            found += 1
    assert found > 1000


@pytest.mark.parametrize("family", ["linear", "quadratic"])
def test_the_answer_solves_every_equation_of_the_solution(family: str) -> None:
    for worked in everything(family):
        letter = re.findall(r"[a-z]=|[a-z]\^2", worked.solution)[-1][0]
        equations = [sides for sides in statements(worked.solution) if any(re.search("[a-z]", side) for side in sides)]
        if family == "quadratic":
            equations = [sides for sides in equations if sides[-1] == "0"]
        assert equations
        for root in worked.answer.split(", "):
            for sides in equations:
                if all(re.fullmatch(rf"[\d+\-*/(){letter}^]+", side) for side in sides):
                    assert len({side_value(at(side, letter, root)) for side in sides}) == 1, (sides, worked)


def test_a_problem_has_one_difficulty() -> None:
    for family in FAMILIES:
        pairs = {(worked.key, worked.difficulty) for worked in everything(family)}
        assert len(pairs) == len({key for key, _ in pairs})


@pytest.mark.parametrize("family", ["addition", "subtraction", "multiplication", "division", "percent", "units"])
def test_the_last_arrow_of_columns_is_the_result(family: str) -> None:
    found = 0
    for worked in everything(family):
        for restated, _, result in RESTATED.findall(worked.solution):
            assert int(side_value(restated)) == int(result), worked
            found += 1
    assert found > 100


@pytest.mark.parametrize("family", FAMILIES)
def test_the_last_value_of_a_solution_is_the_answer(family: str) -> None:
    for worked in everything(family):
        last = worked.solution.rpartition(" ")[2]
        stated = re.findall(r"-?\d+(?:/\d+)?", last)[-1]
        if ", " in worked.answer:  # "So x=2 or x=3."
            stated = ", ".join(re.findall(r"x=(-?\d+)", worked.solution)[-2:])
        assert values(stated) == values(worked.answer), worked


@pytest.mark.parametrize("family", FAMILIES)
def test_train_and_test_never_share_a_key(family: str) -> None:
    train = {worked.key for seed in (0, 1, 2) for worked in draw(family, split="train", seed=seed, count=800)}
    test = {worked.key for seed in (3, 4) for worked in draw(family, split="test", seed=seed, count=300)}
    harder = {worked.key for worked in sample(family, "extrapolation", 500)}
    assert not train & test
    assert not (train | test) & harder


@pytest.mark.parametrize("family", FAMILIES)
def test_one_key_in_ten_is_for_the_test(family: str) -> None:
    last = (levels(family)[-1], levels(family)[-1])
    train = {w.key for w in draw(family, split="train", seed=0, count=1000, difficulty=last)}
    test = {w.key for w in draw(family, split="test", seed=0, count=1000, difficulty=last)}
    if len(train) < 900:  # the level is used up: all its keys are known
        assert 0.04 < len(test) / (len(train) + len(test)) < 0.2
    else:
        assert len(test) >= 150


@pytest.mark.parametrize("family", FAMILIES)
def test_keys_are_distinct_while_there_are_new_ones(family: str) -> None:
    for split, least in (("test", 45), ("extrapolation", 200)):
        keys = [worked.key for worked in sample(family, split, 200)]
        assert len(set(keys)) == len(keys) >= least, (split, len(keys))
    assert len({worked.key for worked in sample(family, "train", 1500)}) > 300


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_draw_is_determined_by_its_seed(family: str, split: str) -> None:
    again = tuple(draw(family, split=split, seed=7, count=50))
    assert again == sample(family, split, 200)[:50]
    assert again != tuple(draw(family, split=split, seed=8, count=50))
    assert {worked.split for worked in again} == {split}


@pytest.mark.parametrize("family", FAMILIES)
def test_extrapolation_is_harder_than_anything_in_train(family: str) -> None:
    assert max(w.difficulty for w in everything(family) if w.split != "extrapolation") < min(
        w.difficulty for w in everything(family) if w.split == "extrapolation"
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_difficulty_bounds_are_kept(family: str) -> None:
    first, second = levels(family)[:2]
    drawn = list(draw(family, split="train", seed=1, count=60, difficulty=(first, second)))
    assert {worked.difficulty for worked in drawn} == {first, second}
    with pytest.raises(ConfigError, match="no train problems of difficulty"):
        draw(family, split="train", seed=1, count=1, difficulty=(90, 99))


def test_a_used_up_training_level_comes_again_in_other_words() -> None:
    drawn = list(draw("multiplication", split="train", seed=0, count=300, difficulty=(1, 1)))
    wordings = Counter(worked.key for worked in drawn)
    assert len(drawn) == 300
    assert len(wordings) < 40
    assert len({worked.question for worked in drawn}) > 100


def test_a_used_up_test_level_ends() -> None:
    drawn = list(draw("multiplication", split="test", seed=0, count=300, difficulty=(1, 1)))
    assert 0 < len(drawn) < 15


@pytest.mark.parametrize("family", FAMILIES)
def test_completion_follows_prompt(family: str) -> None:
    for worked in everything(family)[:50]:
        for style in ("text", "program"):
            text = render(worked, style)
            assert text.startswith(prompt(worked, style))
            assert prompt(worked, style) == prompt(worked.question, style)
        assert prompt(worked).endswith("\n\nSolution:\n")
        assert prompt(worked, "program").endswith("\n\nProgram:\n")
        assert render(worked).endswith(f"\nFinal Answer: The final answer is ${worked.answer}$. I hope it is correct.")
        assert f"```python\n{worked.program}\n```" in render(worked, "program")


def test_a_rendered_problem_looks_like_this() -> None:
    worked = Worked(
        family="addition",
        key="addition:85+347",
        question="What is 347 + 85?",
        solution="347+085: 7+5=12 -> 2; 4+8+1=13 -> 32; 3+0+1=4 -> 432.",
        answer="432",
        program="print(347 + 85)",
        difficulty=3,
        split="train",
    )
    assert render(worked) == (
        "Problem:\nWhat is 347 + 85?\n\nSolution:\n347+085: 7+5=12 -> 2; 4+8+1=13 -> 32; 3+0+1=4 -> 432.\n"
        "Final Answer: The final answer is $432$. I hope it is correct."
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_texts_are_ascii_and_short(family: str) -> None:
    lengths = []
    for worked in everything(family):
        assert (worked.question + worked.solution + worked.answer + worked.program).isascii()
        assert tokens(render(worked, "program")) <= 200
        assert tokens(render(worked)) <= 235, worked
        if worked.split != "extrapolation":
            lengths.append(tokens(worked.solution))
    assert sum(lengths) / len(lengths) <= 60
    assert max(lengths) <= 130
    assert sum(length > 110 for length in lengths) <= 0.1 * len(lengths)


@pytest.mark.parametrize("family", FAMILIES)
def test_nouns_agree_with_their_numbers(family: str) -> None:
    for worked in everything(family):
        text = f"{worked.question} {worked.solution}"
        assert not re.search(r"\{|\}", worked.question.replace("\\frac{", "").replace("}{", "").replace("}", "")), text
        assert not re.search(r"(?<![\d/%])\b1 (hours|days|feet|inches|meters|things|dollars|more \w+s)\b", text), text
        assert not re.search(r"\b(0|[2-9]|[1-9]\d+) (hour|day|foot|inch|meter|dollar|minute|cent)\b", text), text
        assert not re.search(r"  | [.,?]|foots|inchs|feets", text), text


def test_questions_of_a_story_start_with_a_capital_and_ask() -> None:
    for worked in sample("words", "train", 1500):
        assert worked.question.endswith("?")
        assert all(part[0].isupper() or part[0].isdigit() for part in re.split(r"[.?] ", worked.question) if part)


def test_stories_are_many_and_use_every_number_they_tell() -> None:
    assert len(STORIES) >= 12
    assert len({story.name for story in STORIES}) == len(STORIES)
    for story in STORIES:
        used = {term for step in story.steps for term in (step.left, step.right)}
        for name, allowed in story.numbers:
            assert name in used
            assert min(allowed) >= 2  # nouns stand in the plural
            assert all(f"{{{name}}}" in ask for ask in story.asks), (story.name, name)
        assert len(story.asks) >= 2


def test_difficulty_of_a_story_is_its_number_of_steps() -> None:
    for worked in everything("words"):
        assert worked.solution.count("=") == worked.difficulty


def test_documents_mix_all_families_with_unique_ids() -> None:
    docs = list(documents(Options(count=2200, seed=3)))
    assert len({doc.id for doc in docs}) == len(docs) == 2200
    assert {doc.meta["family"] for doc in docs} == set(FAMILIES)
    assert all(re.fullmatch(r"\w+/\d{6}", doc.id) and doc.source == "generated" for doc in docs)
    assert min(Counter(doc.meta["family"] for doc in docs).values()) > 120
    programs = sum(doc.meta["style"] == "program" for doc in docs)
    assert 0.1 < programs / len(docs) < 0.2


def test_documents_hold_no_test_problem() -> None:
    trained = {doc.meta["key"] for doc in documents(Options(count=6000, seed=1))}
    for family in FAMILIES:
        assert not trained & {worked.key for worked in sample(family, "test", 200)}


def test_a_shorter_run_is_the_head_of_a_longer() -> None:
    short = list(documents(Options(count=40, seed=5)))
    assert short == list(itertools.islice(documents(Options(count=400, seed=5)), 40))
    assert short != list(documents(Options(count=40, seed=6)))


def test_families_and_weights_are_obeyed() -> None:
    assert {doc.meta["difficulty"] for doc in documents(Options(count=300, difficulty=2))} == {1, 2}
    options = Options(count=400, families=("addition", "linear"), weights={"addition": 3.0}, programs=0.0)
    docs = list(documents(options))
    shares = Counter(doc.meta["family"] for doc in docs)
    assert set(shares) == {"addition", "linear"}
    assert 0.65 < shares["addition"] / len(docs) < 0.85
    assert {doc.meta["style"] for doc in docs} == {"text"}


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (lambda: documents(Options(families=("adition",))), "did you mean addition"),
        (lambda: documents(Options(weights={"word": 1.0})), "did you mean words"),
        (lambda: documents(Options(weights=dict.fromkeys(FAMILIES, 0.0))), "weight above 0"),
        (lambda: documents(Options(programs=1.5)), "from 0 to 1"),
        (lambda: draw("units", split="tests", seed=0, count=1), "did you mean test"),
        (lambda: render(sample("units", "train", 400)[0], "code"), "unknown style"),
    ],
)
def test_a_wrong_setting_is_told(work: object, message: str) -> None:
    assert callable(work)
    with pytest.raises(ConfigError, match=message):
        work()

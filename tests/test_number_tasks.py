"""Tasks of the trained comparison of number encodings, what answers to them are worth, and the tables made of it."""

from __future__ import annotations

import ast
import json
import operator
import re
from datetime import date, timedelta
from random import Random

import numpy as np
import pytest

from llemma.config import resolve
from llemma.errors import ConfigError
from llemma.evaluate.number_views import Budget, Tables, summary
from llemma.report.numbers import trained_lines
from llemma.report.page import render
from llemma.tokens.numbers import scan
from llemma.tokens.numbers.scores import Answered, baselines, calibration, columns, figures
from llemma.tokens.numbers.tasks import POOL, SHARE, TRAIN, Sample, held_out, task, trajectories
from llemma.tokens.settings import TRAINED_TASKS, NumbersConfig

NAMES = (*TRAINED_TASKS, "addition1", "product1", "product4")
OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}


def value(text: str) -> int:
    """The value of an expression of whole numbers with + - * and brackets."""

    def of(node: ast.expr) -> int:
        if isinstance(node, ast.BinOp):
            return OPERATIONS[type(node.op)](of(node.left), of(node.right))
        assert isinstance(node, ast.Constant)
        return int(node.value)

    return of(ast.parse(text, mode="eval").body)


@pytest.mark.parametrize("name", NAMES)
def test_samples_depend_on_seed_split_and_index_alone(name):
    found = task(name)
    for split in (TRAIN, *found.tests):
        whole = found.samples(split, 0, 12, 0)
        assert found.samples(split, 5, 4, 0) == whole[5:9]
        assert found.samples(split, 0, 12, 1) != whole
    with pytest.raises(ConfigError, match="no split"):
        found.samples("tests", 0, 1, 0)


@pytest.mark.parametrize("name", NAMES)
def test_all_numbers_lie_in_the_declared_range(name):
    found = task(name)
    for split in (TRAIN, *found.tests):
        for sample in found.samples(split, 0, 300, 0):
            numbers = [number for part in (sample.prompt, sample.answer) for number in scan(part)]
            assert all(found.places.fixed(number) is not None for number in numbers), sample
            if split != "longer":
                assert all(abs(number.float) * found.scale <= 5 for number in numbers), sample
            if found.answers:
                assert len(list(scan(sample.answer))) == found.answers
                assert all(-number.exponent == found.decimals for number in scan(sample.answer))
            # the answer reads the same alone and behind its prompt
            assert [n.decimal for n in scan(sample.prompt + sample.answer)] == [n.decimal for n in numbers]


@pytest.mark.parametrize("name", ["addition2", "product2", "trees"])
def test_answers_are_right_and_no_test_problem_is_learnt_in_another_order(name):
    found = task(name)
    learnt, asked = set(), set()
    for split in (TRAIN, *found.tests):
        for sample in found.samples(split, 0, 1500, 0):
            expression = sample.prompt.removesuffix("=")
            assert value(expression) == int(sample.answer)
            if split != "longer":
                (learnt if split == TRAIN else asked).add(commuted(expression))
    assert learnt and asked and not learnt & asked


def commuted(expression: str) -> str:
    """The expression with the parts of each sum and product in order."""

    def of(node: ast.expr) -> str:
        if isinstance(node, ast.BinOp):
            parts = [of(node.left), of(node.right)]
            return f"({type(node.op).__name__} {' '.join(parts if isinstance(node.op, ast.Sub) else sorted(parts))})"
        return ast.unparse(node)

    return of(ast.parse(expression, mode="eval").body)


def test_a_tenth_is_held_out():
    assert abs(sum(held_out(f"{a},{a + 7}") for a in range(20_000)) / 20_000 - 1 / SHARE) < 0.01


def test_longer_sums_are_longer_than_any_learnt():
    found = task("addition3")
    assert all(int(n.surface) < 1000 for s in found.samples(TRAIN, 0, 200, 0) for n in scan(s.prompt))
    assert all(1000 <= int(n.surface) < 10**5 for s in found.samples("longer", 0, 200, 0) for n in scan(s.prompt))


def test_expressions_have_as_many_operands_as_the_test_says():
    found = task("trees")
    for count in (2, 3, 4):
        assert all(len(list(scan(s.prompt))) == count for s in found.samples(f"operands{count}", 0, 50, 0))


def test_orbits_are_those_of_the_simulator_and_come_again_after_the_pool():
    found = task("orbits")
    samples = found.samples("gap", 0, 40, 0)
    frames = trajectories(samples)
    assert frames.shape == (40, 5, 4)
    radius = np.linalg.norm(frames[:, :, 2:], axis=2)
    assert (radius > 2.0 * 0.89).all() and (radius < 2.3 * 1.11).all()
    ahead = np.array([[float(n.decimal) for n in scan(s.answer)] for s in samples])
    parabola = 3 * frames[:, -1] - 3 * frames[:, -2] + frames[:, -3]
    assert np.abs(parabola - ahead).max() < 0.2 < np.abs(frames[:, -1] - ahead).max()
    assert found.samples(TRAIN, POOL + 3, 1, 0) == found.samples(TRAIN, 3, 1, 0)


def test_sentences_say_what_follows():
    kinds = set()
    for sample in task("text").samples(TRAIN, 0, 600, 0):
        given = [n.decimal for n in scan(sample.prompt)]
        said = [n.decimal for n in scan(sample.answer)]
        if "each cost" in sample.prompt:
            kinds.add("price")
            assert said == [given[0] * given[1]]
        elif "days after" in sample.prompt:
            kinds.add("date")
            start = date.fromisoformat(re.findall(r"\d{4}-\d\d-\d\d", sample.prompt)[0])
            assert sample.answer == f"{start + timedelta(days=int(given[0]))}."
        elif "arrives" in sample.prompt:
            kinds.add("time")
            assert (60 * given[0] + given[1] + given[2]) % 1440 == 60 * said[0] + said[1]
        elif "version" in sample.prompt:
            kinds.add("version")
            assert not given and not said  # a version is no number
        elif "larger" in sample.prompt:
            kinds.add("larger")
            assert sample.answer == ("first." if given[0] > given[1] else "second.")
        elif "change" in sample.answer:
            kinds.add("change")
            assert said == [given[1] - given[0]]
        elif "%" in sample.prompt:
            kinds.add("percent")
            assert said == [given[0] * given[1] / 100]
    assert len(kinds) == 7


@pytest.mark.parametrize(("name", "near"), [("product", "product"), ("orbit", "orbits"), ("addition0", "addition3")])
def test_unknown_tasks_are_refused_by_name(name, near):
    with pytest.raises(ConfigError, match=f"{near}"):
        task(name)
    with pytest.raises(ConfigError, match="unknown"):
        resolve(NumbersConfig, words=[f"tasks={name}"])
    with pytest.raises(ConfigError, match="unknown"):
        resolve(NumbersConfig, words=["action=probe", "tasks=text"])


# --- scores ---------------------------------------------------------------------------------------------------------


def told(name: str, pairs: list[tuple[str, str]]) -> dict[str, float]:
    """The figures of (truth, answer) pairs."""
    answered = [Answered(sample=Sample(prompt="", answer=truth), text=text) for truth, text in pairs]
    return {k: float(v) for k, v in figures(columns(task(name), answered)).items()}


def test_an_error_of_one_per_cent_everywhere_looks_perfect_to_r2():
    source = Random(0)
    truths = [source.randrange(100, 1000) * source.randrange(100, 1000) for _ in range(2000)]
    found = told("product3", [(f"{t}", f"{round(t * (1 + source.gauss(0, 0.01)))}") for t in truths])
    assert 0.999 < found["r2"] < 0.9999 and found["exact"] < 0.01
    assert 0.006 < found["median_error"] < 0.008  # .6745 of a standard deviation


def test_numbers_count_by_their_value_and_words_to_the_letter():
    pairs = [("12.80 euros.", "12.8 euros."), ("1,234.", "1234."), ("first.", "first."), ("5 g.", "5 m."), ("7", "7 ")]
    answered = [Answered(sample=Sample(prompt="", answer=truth), text=text) for truth, text in pairs]
    assert columns(task("text"), answered)["exact"].tolist() == [1, 1, 1, 0, 1]


@pytest.mark.parametrize("text", ["", "nonsense", "1 2", "1e999999999", "-1e400", "\ud800", "9" * 5000])
def test_answers_that_are_no_number_are_infinitely_wrong_and_break_nothing(text):
    found = told("product3", [("138012", text), ("20000", "20000"), ("138012", "138012")])
    assert found["exact"] == pytest.approx(2 / 3) and found["median_error"] == 0
    assert found["units"] == pytest.approx(2 / 3) and np.isfinite(found["r2"])


def test_partial_knowledge_is_seen():
    found = told("product3", [("138012", "138450"), ("96983", "11113"), ("186390", "186390")])
    assert found["three_figures"] == pytest.approx(2 / 3) or found["three_figures"] == pytest.approx(1 / 3)
    assert found["within_1_percent"] == pytest.approx(2 / 3)
    assert found["units"] == pytest.approx(2 / 3)


def test_the_mean_squared_error_of_a_frame_is_that_of_its_four_numbers():
    found = told("orbits", [("1.0000 2.0000 -1.0000 0.5000", "1.1 2 -1 0.3"), ("0 0 0 1", "0 0 0 1")])
    assert found["mse"] == pytest.approx((0.01 + 0.04) / 8)
    assert told("orbits", [("1 1 1 1", "1 1 1"), ("3 3 3 3", "3 3 3 3")])["mse"] == pytest.approx(4 / 8)  # the mean: 2


def test_calibration_is_the_mean_distance_of_stated_and_found():
    exact = np.array([1.0, 0, 1, 1, 0])
    found = calibration(exact, np.array([0.95, 0.95, 0.55, 0.55, np.nan]))
    assert found is not None and [each.count for each in found.bins] == [2, 2]
    assert found.error == pytest.approx((2 * abs(0.95 - 0.5) + 2 * abs(0.55 - 1)) / 4)
    assert calibration(exact, np.full(5, np.nan)) is None
    assert calibration(np.array([1.0]), np.array([1.0])).bins[0].high == 1.0


def test_baselines_need_no_model():
    orbits = task("orbits")
    asked = orbits.samples("inside", 0, 100, 0)
    found = baselines(orbits, orbits.samples(TRAIN, 0, 500, 0), asked)
    error = {name: float(figures(columns(orbits, answered))["mse"]) for name, answered in found.items()}
    order = ["the truth to three figures", "quadratic extrapolation", "linear extrapolation", "predict the mean"]
    assert sorted(error, key=error.__getitem__) == order
    products = task("product5")
    made = baselines(products, products.samples(TRAIN, 0, 500, 0), products.samples("test", 0, 300, 0))
    mean, three = (
        {k: float(v) for k, v in figures(columns(products, made[name])).items()}
        for name in ("predict the mean", "the truth to three figures")
    )
    assert three["r2"] > 0.9999 and three["exact"] == 0 and three["three_figures"] == 1
    assert abs(mean["r2"]) < 0.05
    assert set(baselines(task("text"), [], [Sample(prompt="", answer="first.")])) == {"the truth to three figures"}


# --- tables ---------------------------------------------------------------------------------------------------------


def test_intervals_hold_the_spread_of_problems_and_of_seeds():
    one = {
        name: np.zeros(100)
        for name in ("exact", "three_figures", "within_1_percent", "units", "error", "square", "sum", "squares")
    } | {"count": np.ones(100)}
    none = summary([one])
    assert none["exact"]["mean"] == none["exact"]["low"] == 0 and 0.03 < none["exact"]["high"] < 0.05  # Wilson's
    other = one | {"exact": np.ones(100)}
    apart = summary([one, other])
    assert apart["exact"] == {"mean": 0.5, "low": 0.0, "high": 1.0}
    silent = summary([one | {"error": np.full(100, np.inf)}])
    assert silent["median_error"]["mean"] is None


def rows_of(name: str, *, step: int, seed: int, right: float, kept: bool = True) -> dict:
    """The row of a model that is right in so many of ten problems."""
    found = task("addition2")
    answers, shown = {}, {}
    for test in found.tests:
        asked = found.samples(test, 0, 10, seed)
        written = [(s.answer if k < 10 * right else "0", 0.9) for k, s in enumerate(asked)]
        answers[test] = written
        shown[test] = {"exact": right, "median_error": 0.1}
    row = {
        "id": f"addition2:{seed}:{name}:{step}", "task": "addition2", "seed": seed, "encoding": name, "step": step,
        "samples": 100 * step, "tokens": 700 * step, "flops": 7e4 * step, "tokens_per_sample": 7.0, "seconds": 1.0,
        "figures": shown,
    }  # fmt: skip
    return row | {"answers": answers} if kept else row


def some_tables() -> dict:
    rows = [
        rows_of("digits", step=step, seed=seed, right=right, kept=step > 1)
        for seed in (0, 1)
        for step, right in ((1, 0.1), (2, 0.2), (4, 0.4), (8, 0.8))
    ]
    rows.append({"task": "addition2", "seed": 0, "encoding": "p10", "id": "x", "failed": "1e9 is outside its range"})
    made = Tables(task("addition2"), rows, (0, 1), 10)
    return {"addition2": made.table(Budget(samples=200, tokens=2800, flops=7e9))}


def test_each_view_takes_the_last_point_within_its_budget():
    found = some_tables()["addition2"]
    exact = {view: lines["test"][0]["exact"]["mean"] for view, lines in found["views"].items()}
    assert exact == pytest.approx({"samples": 0.2, "tokens": 0.4, "flops": 0.8})
    assert [point["test"]["exact"] for point in found["curves"]["digits"]] == pytest.approx([0.1, 0.2, 0.4, 0.8])
    assert found["failed"] == {"p10": "1e9 is outside its range"}
    assert found["calibration"]["digits"]["bins"][0]["exact"] == pytest.approx(0.8)
    text = "\n".join(trained_lines(some_tables()))
    assert "equal tokens (2800 tokens), test" in text and "40.0 % [" in text and "p10 not trained" in text
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(json.dumps(found))


def test_the_page_shows_a_comparison_with_its_curves_and_not_its_models(tmp_path):
    for name, verb in (("numbers", "numbers"), ("numbers/models/addition2/digits-0", "train")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text(json.dumps({"verb": verb, "settings": {}}))
    tables = some_tables()
    tables["<script>alert(1)</script>"] = tables["addition2"] | {"failed": {"<img src=x>": "<b>"}}
    tables["probed"] = [{"encoding": "xval", "units": {"mean": 0.25, "low": 0.2, "high": 0.3}}]
    tables["damaged"] = {"views": {"samples": {"test": [{"encoding": 3, "exact": []}, 7]}}, "curves": [], "figures": 1}
    (tmp_path / "numbers" / "metrics.json").write_text(json.dumps(tables))
    page = render([tmp_path / "numbers"])
    assert "addition2, test: exact by FLOPs" in page and "stated probability" in page and page.count("<svg") == 10
    assert "40.0 % [" in page and "25.0 % [20.0, 30.0]" in page and "1e9 is outside its range" in page
    assert "mathdefault" not in page and ">0.1<" in page  # ticks that people read
    assert "<script>alert" not in page and "<img" not in page and "digits-0" not in page

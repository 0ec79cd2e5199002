"""The paper's two recipes: sizes, tokens and learning rates, against figures written here by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from llemma.config import resolve
from llemma.models.open import open_model
from llemma.train.config import TrainConfig, learning_rate

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"


def recipe(name: str) -> TrainConfig:
    return resolve(TrainConfig, files=[EXPERIMENTS / f"llemma-{name}.toml"])


@pytest.mark.parametrize(
    ("name", "parameters", "theta", "gigaflops"),
    [("7b", 6_738_546_688, 1e4, 46.1), ("34b", 33_743_970_304, 1e6, 220.2)],
)
def test_the_recipes_build_the_papers_models(name: str, parameters: int, theta: float, gigaflops: float) -> None:
    config = recipe(name)
    model = open_model(config.init, device="meta", rope_theta=config.rope_theta)
    assert model.parameter_count() == parameters
    assert model.config.rope_theta == theta  # type: ignore[union-attr]
    assert model.flops_per_token(config.context) / 1e9 == pytest.approx(gigaflops, abs=0.1)
    assert model.kv_heads() % config.parallel.tensor == 0


@pytest.mark.parametrize(("name", "steps", "peak"), [("7b", 42_000, 1e-4), ("34b", 12_000, 5e-5)])
def test_the_recipes_are_the_papers_to_the_letter(name: str, steps: int, peak: float) -> None:
    config = recipe(name)
    assert config.batch_size * config.context == 4_194_304
    assert (config.steps, config.optim.lr) == (steps, peak)
    optim = config.optim
    assert (optim.beta1, optim.beta2, optim.eps) == (0.9, 0.95, 1e-8)
    assert (optim.weight_decay, optim.clip, optim.warmup) == (0.1, 1.0, 500)
    assert config.precision == "bf16" and not config.documents


@pytest.mark.parametrize(("name", "peak", "horizon"), [("7b", 1e-4, 48_000), ("34b", 5e-5, 12_000)])
@pytest.mark.parametrize("share", [0, 1e-5, 0.005, 0.0103, 0.0105, 0.1, 0.25, 0.5, 0.75, 0.87499])
def test_learning_rates_are_the_closed_form_at_ten_steps(name: str, peak: float, horizon: int, share: float) -> None:
    config = recipe(name)
    step = round(share * horizon)
    if step < 500:
        expected = peak * (step + 1) / 500
    else:
        turned = math.pi * (step - 500) / (horizon - 500)
        expected = peak * (1 / 30 + 29 / 30 * (1 + math.cos(turned)) / 2)
    assert learning_rate(config.optim, step, config.steps) == pytest.approx(expected, rel=1e-12)


def test_the_rate_at_landmarks_of_the_7b_run() -> None:
    config = recipe("7b")
    rates = [learning_rate(config.optim, step, config.steps) for step in (0, 499, 500, 24_250, 41_999, 47_999, 60_000)]
    # warm-up's first and last step, the peak, halfway down the cosine, the released model, the end, beyond it
    expected = [2e-7, 1e-4, 1e-4, 1e-4 * 31 / 60, 7.0906e-06, 3.3333e-06, 3.3333e-06]
    assert rates == pytest.approx(expected, rel=1e-4)

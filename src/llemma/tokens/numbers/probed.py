"""``llemma numbers probe``: the encodings side by side, by the closed-form probe, over several seeds; and their cards.

Every (task, encoding, seed) is a row of the run folder, so that an interrupted comparison goes on. Baselines that learn
nothing stand in the same table. This is the probe, not a trained language model: it says what the input offers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np

from llemma.config import to_table
from llemma.errors import ConfigError
from llemma.records import Event, Progress, silent
from llemma.run import open_run
from llemma.tokens.numbers import Places, card, encoding, fitted, number
from llemma.tokens.numbers.probe import fit, shown
from llemma.tokens.numbers.problems import Orbits, Problems, orbits, products, quadratic
from llemma.tokens.numbers.scientific import rounded
from llemma.tokens.settings import ENCODING_NAMES, NumbersConfig

_TESTS = 1000  # problems of each test
_SAMPLE = ("143", "-60.2", "1,234", "007", "0", "3.14159", "1e5", "99999", "0.001", "2048", "-0.5", "123456")


def cards(names: Sequence[str] = ENCODING_NAMES) -> list[dict[str, Any]]:
    """What each encoding can hold, measured on a dozen numbers of all kinds."""
    sample = [number(surface) for surface in _SAMPLE]
    return [to_table(card(encoding(name), sample)) for name in names]


def probe(config: NumbersConfig, progress: Progress = silent) -> dict[str, list[dict[str, Any]]]:
    """The table: for each task a line an encoding, and the baselines; every figure a mean with its range over seeds."""
    if config.action != "probe":
        raise ConfigError(f"action={config.action} is not the probe")
    tasks = config.chosen_tasks
    settings = to_table(config) | {"tasks": list(tasks)}
    free = ("run", "train", "tokenizers")
    with open_run(config.folder, "numbers", settings, free=free, grows=("encodings", "tasks", "seeds")) as run:
        wanted = [
            (task, config.seed + seed, name)
            for task in tasks
            for seed in range(config.seeds)
            for name in ("baselines", *config.encodings)
        ]
        problems: dict[tuple[str, int], Any] = {}
        for done, (task, seed, name) in enumerate(wanted):
            key = f"{task}:{seed}:{name}"
            progress(Event(stage="numbers", done=done, total=len(wanted), unit="fits", note=f"{task} {name}"))
            if key in run.ids:
                continue
            if (task, seed) not in problems:
                problems = {(task, seed): _made(task, config.samples_of(task), seed)}
            figures = _measured(task, problems[task, seed], name, seed)
            run.append([{"id": key, "task": task, "seed": seed, "encoding": name, "figures": figures}])
        progress(Event(stage="numbers", done=len(wanted), total=len(wanted), unit="fits"))
        table = {task: _lines(list(run.rows()), task, config) for task in tasks}
        run.write_json("metrics.json", table)
    return table


def _made(task: str, samples: int, seed: int) -> Any:
    if task == "orbits":
        return orbits(samples, _TESTS, seed)
    digits = int(task.removeprefix("product"))
    return products(digits, samples, 2 * seed), products(digits, _TESTS, 2 * seed + 1)


def _measured(task: str, problems: Any, name: str, seed: int) -> dict[str, dict[str, float]]:
    """Line → figures; the baselines are several lines at once."""
    if task == "orbits":
        return _orbit_baselines(problems) if name == "baselines" else {name: _on_orbits(problems, name, seed)}
    train, test = problems
    return _product_baselines(train, test) if name == "baselines" else {name: _on_products(train, test, name, seed)}


# --- orbits ---------------------------------------------------------------------------------------------------------


def _tests(problems: Orbits) -> dict[str, Problems]:
    return {"inside": problems.inside, "gap": problems.gap, "beyond": problems.beyond}


def _orbit_baselines(problems: Orbits) -> dict[str, dict[str, float]]:
    centre = problems.train.targets.mean(axis=0)
    return {
        "predict the mean": {k: _mse(centre, p.targets) for k, p in _tests(problems).items()},
        "quadratic extrapolation": {k: _mse(quadratic(p), p.targets) for k, p in _tests(problems).items()},
    }


def _on_orbits(problems: Orbits, name: str, seed: int) -> dict[str, float]:
    encoding = fitted(name, Places(whole=1, decimals=4), scale=1.0)
    probe = fit(shown(encoding, problems.train), problems.train.targets, seed)
    return {k: _mse(probe(shown(encoding, p)), p.targets) for k, p in _tests(problems).items()}


def _mse(predicted: np.ndarray, true: np.ndarray) -> float:
    return float(((predicted - true) ** 2).mean())


# --- products -------------------------------------------------------------------------------------------------------


def _product_baselines(train: Problems, test: Problems) -> dict[str, dict[str, float]]:
    true = test.targets[:, 0]
    three = np.array([_three(value) for value in true.tolist()])
    guess = np.full(len(true), train.targets.mean())
    return {
        "predict the mean": _product_figures(guess, true, np.zeros(len(true))),
        "the truth to three figures": _product_figures(three, true, three % 10),
    }


def _three(value: float) -> float:
    """Rounded to three significant figures, whatever its size."""
    shift = 10 ** max(0, len(f"{value:.0f}") - 3)
    found = rounded(number(f"{value / shift:.6f}"))
    assert found is not None  # three figures before the point
    return float(f"{found[1][0]}.{found[1][1:]}e{found[2]}") * float(shift)


def _on_products(train: Problems, test: Problems, name: str, seed: int) -> dict[str, float]:
    digits = len(f"{train.inputs.max():.0f}")
    encoding = fitted(name, Places(whole=digits, decimals=0), scale=2.0 / 10**digits)
    size = 10.0 ** (2 * digits)
    values = np.concatenate([train.targets / size, np.log10(train.targets)], axis=1)
    units = np.eye(10)[(train.targets[:, 0] % 10).astype(int)]
    asked = shown(encoding, test)
    features = shown(encoding, train)
    predicted = fit(features, values, seed)(asked)
    last = fit(features, units, seed)(asked).argmax(axis=1)
    true = test.targets[:, 0]
    heads = (predicted[:, 0] * size, 10 ** predicted[:, 1])
    figures = [_product_figures(np.rint(head), true, last) for head in heads]
    best = min(figures, key=lambda f: f["median_error"])
    return {**best, "r2": max(f["r2"] for f in figures)}


def _product_figures(predicted: np.ndarray, true: np.ndarray, units: np.ndarray) -> dict[str, float]:
    """``r2``, ``median_error`` (relative), ``exact`` and ``units`` (share of right last digits)."""
    error = np.abs(predicted - true)
    return {
        "r2": float(1 - (error**2).sum() / ((true - true.mean()) ** 2).sum()),
        "median_error": float(np.median(error / true)),
        "exact": float((error == 0).mean()),
        "units": float((units == true % 10).mean()),
    }


def _lines(rows: Sequence[Mapping[str, Any]], task: str, config: NumbersConfig) -> list[dict[str, Any]]:
    """One line an encoding or baseline: each figure's mean, least and greatest over the seeds."""
    seeds = range(config.seed, config.seed + config.seeds)
    wanted = {"baselines", *config.encodings}
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row["task"] == task and row["seed"] in seeds and row["encoding"] in wanted:
            for line, figures in row["figures"].items():
                for figure, value in figures.items():
                    found.setdefault(line, {}).setdefault(figure, []).append(value)
    return [
        {"encoding": line, **{f: {"mean": mean(v), "low": min(v), "high": max(v)} for f, v in figures.items()}}
        for line, figures in found.items()
    ]

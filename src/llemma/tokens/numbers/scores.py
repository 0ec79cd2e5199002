"""What answers to number tasks are worth: a column of values a problem, and figures made of columns.

R2 cannot tell an error of one per cent from exactness (it is .9997 then), and exactness cannot tell a near miss from
nonsense: both are told, with the median error between them. A number counts by its value, however it is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from llemma.tokens.numbers.scanner import scan
from llemma.tokens.numbers.tasks import Sample, Task, trajectories

SHARES = ("exact", "three_figures", "within_1_percent", "units")  # of problems; 0 to 1
BINS = 10  # of the reliability table
_ABSURD = 1e100  # a written number beyond this is none
_INTEGERS = 1e15  # doubles below it know their units


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What was written for a sample, and how probable the writer found it (NaN: it does not say)."""

    sample: Sample
    text: str
    probability: float = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Answers whose stated probability lies between ``low`` and ``high``: mean of it, and how many are exact."""

    low: float
    high: float
    count: int
    stated: float
    exact: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """How far stated probabilities and exactness are apart: the mean distance over the answers, and the table."""

    error: float
    bins: tuple[Bin, ...]


def columns(task: Task, answered: Sequence[Answered]) -> dict[str, np.ndarray]:
    """One value a problem: the shares as 0 or 1, ``error`` (relative, mean over the numbers of an answer), and the sums
    that R2 and the mean squared error are made of.

    An answer with another count of numbers than the truth has an infinite error, and for the squares it is taken for
    the mean of the truths. A truth without numbers has no error when the answer is exact, an infinite one otherwise.
    """
    truths = [_read(each.sample.answer) for each in answered]
    every = [value for _, values in truths for value in values]
    centre = float(np.mean([float(value) for value in every])) if every else 0.0
    rows = [
        _row(_read(each.text), truth, centre, 10.0**-task.decimals)
        for each, truth in zip(answered, truths, strict=True)
    ]
    names = (*SHARES, "error", "square", "sum", "squares", "count")
    table = dict(zip(names, np.array(rows, dtype=np.float64).reshape(-1, len(names)).T, strict=True))
    return table | {"probability": np.array([each.probability for each in answered])}


def _read(text: str) -> tuple[str, tuple[Decimal, ...]]:
    """The words of a text with its numbers taken out, and the numbers."""
    out, values, done = [], [], 0
    for number in scan(text):
        out.append(text[done : number.start])
        values.append(number.decimal)
        done = number.end
    return "\0".join([*out, text[done:]]).strip(), tuple(values)


def _row(
    written: tuple[str, tuple[Decimal, ...]], truth: tuple[str, tuple[Decimal, ...]], centre: float, unit: float
) -> tuple[float, ...]:
    exact = written == truth
    true = np.array([float(value) for value in truth[1]])
    found = np.array([float(value) for value in written[1]])
    sums = (true.sum(), (true**2).sum(), len(true))
    if not len(true):
        return exact, exact, exact, exact, 0.0 if exact else np.inf, 0.0, *sums
    if len(found) != len(true) or not (np.abs(found) < _ABSURD).all():
        return False, False, False, False, np.inf, ((centre - true) ** 2).sum(), *sums
    apart = np.abs(found - true) / np.maximum(np.abs(true), unit)
    three = all(f"{a:.2e}" == f"{b:.2e}" for a, b in zip(written[1], truth[1], strict=True))
    within = bool((apart <= 0.01).all())
    units = bool((_units(found) == _units(true)).all())
    return exact, three, within, units, float(apart.mean()), ((found - true) ** 2).sum(), *sums


def _units(values: np.ndarray) -> np.ndarray:
    whole = np.rint(np.abs(values))
    units: np.ndarray = np.where(whole < _INTEGERS, whole % 10, -1)
    return units


def figures(of: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The figures of columns whose last axis is the problems; other axes stay."""
    sums = {name: of[name].sum(axis=-1) for name in ("square", "sum", "squares", "count")}
    counted = np.maximum(sums["count"], 1)
    spread = sums["squares"] - sums["sum"] ** 2 / counted
    with np.errstate(divide="ignore", invalid="ignore"):
        r2 = 1 - sums["square"] / spread
    return {
        **{name: of[name].mean(axis=-1) for name in SHARES},
        "median_error": np.median(of["error"], axis=-1),
        "r2": np.where(spread > 0, r2, np.nan),
        "mse": sums["square"] / counted,
    }


def calibration(exact: np.ndarray, probability: np.ndarray) -> Calibration | None:
    """The reliability of stated probabilities, in ten bins of equal width; None when none is stated."""
    stated = ~np.isnan(probability)
    if not stated.any():
        return None
    exact, probability = exact[stated], probability[stated]
    place = np.minimum((probability * BINS).astype(int), BINS - 1)
    bins = []
    for k in range(BINS):
        mine = place == k
        if mine.any():
            bins.append(
                Bin(
                    low=k / BINS,
                    high=(k + 1) / BINS,
                    count=int(mine.sum()),
                    stated=float(probability[mine].mean()),
                    exact=float(exact[mine].mean()),
                )
            )
    error = sum(each.count * abs(each.stated - each.exact) for each in bins) / len(exact)
    return Calibration(error=error, bins=tuple(bins))


# --- what needs no learning -----------------------------------------------------------------------------------------


def baselines(task: Task, learnt: Sequence[Sample], asked: Sequence[Sample]) -> dict[str, list[Answered]]:
    """Answers that need no model, by name: the mean of the training answers, the truth to three significant figures,
    and for orbits the next frame by a line or a parabola through the last frames."""
    found = {"the truth to three figures": [_three(sample) for sample in asked]}
    if task.answers:
        means = np.mean([[float(value) for value in _read(sample.answer)[1]] for sample in learnt], axis=0)
        found["predict the mean"] = [_said(task, sample, means) for sample in asked]
    if task.name == "orbits":
        frames = trajectories(asked)
        line = 2 * frames[:, -1] - frames[:, -2]
        parabola = 3 * frames[:, -1] - 3 * frames[:, -2] + frames[:, -3]
        for name, guesses in (("linear extrapolation", line), ("quadratic extrapolation", parabola)):
            found[name] = [_said(task, sample, guess) for sample, guess in zip(asked, guesses, strict=True)]
    return found


def _said(task: Task, sample: Sample, values: np.ndarray) -> Answered:
    return Answered(sample=sample, text=" ".join(f"{value:.{task.decimals}f}" for value in values.tolist()))


def _three(sample: Sample) -> Answered:
    out, done = [], 0
    for number in scan(sample.answer):
        out += [sample.answer[done : number.start], f"{Decimal(f'{number.decimal:.2e}'):f}"]
        done = number.end
    return Answered(sample=sample, text="".join([*out, sample.answer[done:]]))

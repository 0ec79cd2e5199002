"""A closed-form probe of what an encoding shows: ridge regression on its features and on random functions of them.

No optimiser, no budget, one solution: it isolates the geometry of the input. It is no language model, and it flatters
encodings in which the answer is nearly linear. The random functions are of the features as they are, or of the features
brought to one size (a model can learn either); which, and how strong the ridge is, is chosen for each target on
held-out problems, in the same way for every encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from llemma.tokens.numbers.encoding import Encoding
from llemma.tokens.numbers.problems import Problems
from llemma.tokens.numbers.scanner import number

RANDOM = 1000  # random functions
HELD_OUT = 0.15  # of the training problems, for the choices
STRENGTHS = tuple(10.0**power for power in range(-10, 3))


def shown(encoding: Encoding, problems: Problems) -> np.ndarray:
    """The features of the numbers of each problem, as they would stand in a text, side by side: (problems, width)."""
    numbers = [number(f"{value:.{problems.decimals}f}") for row in problems.inputs.tolist() for value in row]
    return encoding.features(numbers).reshape(len(problems), -1)


@dataclass(frozen=True, slots=True)
class _Map:
    """Inputs, and random functions of them."""

    used: np.ndarray
    mean: np.ndarray
    size: np.ndarray  # what the linear part is divided by: one number
    sizes: np.ndarray  # what the random functions' arguments are divided by: one number, or one for each input
    weights: np.ndarray
    bias: np.ndarray

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        centred = inputs[:, self.used] - self.mean
        return np.concatenate(
            [centred / self.size, np.maximum(centred / self.sizes @ self.weights + self.bias, 0)], axis=1
        )


@dataclass(frozen=True, slots=True)
class Probe:
    """A fitted probe: for each map the targets that it does best."""

    maps: tuple[_Map, ...]
    targets: tuple[np.ndarray, ...]
    solutions: tuple[np.ndarray, ...]
    centres: tuple[np.ndarray, ...]
    means: np.ndarray

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """The targets of these inputs, (problems, targets)."""
        out: np.ndarray = np.tile(self.means, (len(inputs), 1))
        for of, mine, solution, centre in zip(self.maps, self.targets, self.solutions, self.centres, strict=True):
            if len(mine):
                out[:, mine] += (of(inputs) - centre) @ solution
        return out


def fit(inputs: np.ndarray, targets: np.ndarray, seed: int) -> Probe:
    """Fit targets (problems, k) on inputs (problems, width) by least squares."""
    maps = _maps(inputs, seed)
    split = int(len(inputs) * (1 - HELD_OUT))
    errors, means = [], targets.mean(axis=0)
    for of in maps:
        features = of(inputs)
        centre, mean = features[:split].mean(axis=0), targets[:split].mean(axis=0)
        path = _path(features[:split] - centre, targets[:split] - mean)
        asked = features[split:] - centre
        errors.append([((asked @ solution + mean - targets[split:]) ** 2).mean(axis=0) for solution in path])
    table = np.array(errors)  # (maps, strengths, targets)
    choice = table.reshape(-1, table.shape[2]).argmin(axis=0)
    kind, strength = np.divmod(choice, len(STRENGTHS))
    mine = tuple(np.flatnonzero(kind == k) for k in range(len(maps)))
    centres, solutions = [], []
    for of, some in zip(maps, mine, strict=True):
        features = of(inputs)
        centres.append(features.mean(axis=0))
        solutions.append(_ridge(features - centres[-1], targets[:, some] - means[some], strength[some]))
    return Probe(maps, mine, tuple(solutions), tuple(centres), means)


def _maps(inputs: np.ndarray, seed: int) -> tuple[_Map, ...]:
    random = np.random.default_rng(seed)
    used = inputs.std(axis=0) > 1e-12
    mean = inputs[:, used].mean(axis=0)
    centred = inputs[:, used] - mean
    size = np.sqrt((centred**2).sum(axis=1).mean())
    even = centred.std(axis=0) * np.sqrt(used.sum())
    weights = random.standard_normal((int(used.sum()), RANDOM)) * 2
    bias = random.standard_normal(RANDOM)
    return tuple(_Map(used, mean, size, sizes, weights, bias) for sizes in (size, even))


def _path(features: np.ndarray, targets: np.ndarray) -> Iterator[np.ndarray]:
    """The solution for each strength of the ridge."""
    ridge = _Ridge(features, targets)
    return (ridge.solution(strength) for strength in STRENGTHS)


def _ridge(features: np.ndarray, targets: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """The solution with a strength of its own for each target."""
    out: np.ndarray = np.empty((features.shape[1], targets.shape[1]))
    for strength in np.unique(strengths):
        mine = strengths == strength
        out[:, mine] = _Ridge(features, targets[:, mine]).solution(STRENGTHS[strength])
    return out


class _Ridge:
    """Ridge regression of any strength from one decomposition: of the smaller Gram matrix, problems or features."""

    def __init__(self, features: np.ndarray, targets: np.ndarray) -> None:
        wide = features.shape[1] > len(features)
        gram = features @ features.T if wide else features.T @ features
        values, self._vectors = np.linalg.eigh(gram)
        self._values = np.maximum(values, 0)
        self._unit = float(np.trace(gram)) / features.shape[1]
        self._left = features.T if wide else None
        self._right = self._vectors.T @ (targets if wide else features.T @ targets)

    def solution(self, strength: float) -> np.ndarray:
        """(features, targets)."""
        found: np.ndarray = self._vectors @ (self._right / (self._values + strength * self._unit)[:, None])
        return found if self._left is None else self._left @ found

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
    """The solution for each strength of the ridge, from one decomposition of the Gram matrix."""
    gram, left, right = _gram(features, targets)
    values, vectors = np.linalg.eigh(gram)
    turned = vectors.T @ right
    for strength in STRENGTHS:
        found = vectors @ (turned / (np.maximum(values, 0) + strength * _unit(gram, features))[:, None])
        yield found if left is None else left @ found


def _ridge(features: np.ndarray, targets: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """The solution with a strength of its own for each target: (features, targets)."""
    gram, left, right = _gram(features, targets)
    found = np.empty_like(right)
    for strength in np.unique(strengths):
        mine = strengths == strength
        ridge = STRENGTHS[strength] * _unit(gram, features) * np.eye(len(gram))
        found[:, mine] = np.linalg.solve(gram + ridge, right[:, mine])
    solved: np.ndarray = found if left is None else left @ found
    return solved


def _gram(features: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """The smaller Gram matrix, of problems or of features; what turns its solution into one of features, if anything;
    and the right-hand side."""
    if features.shape[1] > len(features):
        return features @ features.T, features.T, targets
    return features.T @ features, None, features.T @ targets


def _unit(gram: np.ndarray, features: np.ndarray) -> float:
    """What strengths are measured in: the mean square of a feature, summed over the problems."""
    return float(np.trace(gram)) / int(features.shape[1])

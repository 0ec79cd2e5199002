"""Problems for comparing number encodings: next frames of planets, and products. Numbers in, numbers to find.

The planets are our own simulation: two on nearly circular orbits about a star of mass 1, with their attraction for each
other, by the leapfrog of Wisdom and Holman's predecessors (kick, drift, kick), G = 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FRAMES = 5  # positions of both planets that are shown
_SUBSTEPS = 40  # of the integrator between two frames
INNER = (1.0, 1.6)  # semi-major axes
OUTER = (1.7, 3.0)
GAP = (2.0, 2.3)  # axes of the outer planet that training never sees: interpolation
BEYOND = 2.7  # above: extrapolation


@dataclass(frozen=True, slots=True, kw_only=True)
class Problems:
    """``inputs`` (problems, numbers) as shown, with so many ``decimals``; ``targets`` (problems, values) to find."""

    inputs: np.ndarray
    targets: np.ndarray
    decimals: int

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Orbits:
    """Frames for training and for three tests: outer axes as in training, in the gap, and beyond."""

    train: Problems
    inside: Problems
    gap: Problems
    beyond: Problems


def orbits(count: int, tests: int, seed: int) -> Orbits:
    """Five frames of (x, y) of both planets and the time between frames; to find: the next frame, four numbers."""
    random = np.random.default_rng(seed)
    usual = _outer(random, count + tests, lambda a: ((a < GAP[0]) | (a >= GAP[1])) & (a < BEYOND))
    train, inside = usual[:count], usual[count:]
    gap = random.uniform(*GAP, tests)
    beyond = random.uniform(BEYOND, OUTER[1], tests)
    return Orbits(**{
        name: _frames(random, axes)
        for name, axes in {"train": train, "inside": inside, "gap": gap, "beyond": beyond}.items()
    })  # fmt: skip


def _outer(random: np.random.Generator, count: int, allowed: object) -> np.ndarray:
    axes = random.uniform(*OUTER, 3 * count + 100)
    return axes[allowed(axes)][:count]  # type: ignore[operator]


def _frames(random: np.random.Generator, outer: np.ndarray) -> Problems:
    count = len(outer)
    axes = np.stack([random.uniform(*INNER, count), outer], axis=1)
    masses = 10 ** random.uniform(-5, -3, (count, 2))
    position, velocity = _start(axes, random.uniform(0, 0.1, (count, 2)), random.uniform(0, 2 * np.pi, (count, 2, 2)))
    step = random.uniform(0.2, 0.5, count)
    shown = [position]
    for _ in range(FRAMES):
        position, velocity = _advance(position, velocity, masses, step)
        shown.append(position)
    frames = np.stack(shown, axis=1).reshape(count, FRAMES + 1, 4)
    inputs = np.concatenate([frames[:, :FRAMES].reshape(count, -1), step[:, None]], axis=1)
    return Problems(inputs=inputs.round(4), targets=frames[:, FRAMES], decimals=4)


def _start(axes: np.ndarray, eccentricity: np.ndarray, angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions and velocities (count, 2, 2) on ellipses, from Kepler's equation solved by Newton."""
    mean, turn = angles[..., 0], angles[..., 1]
    anomaly = mean.copy()
    for _ in range(8):
        anomaly -= (anomaly - eccentricity * np.sin(anomaly) - mean) / (1 - eccentricity * np.cos(anomaly))
    minor = np.sqrt(1 - eccentricity**2)
    rate = axes**-1.5 / (1 - eccentricity * np.cos(anomaly))
    place = np.stack([axes * (np.cos(anomaly) - eccentricity), axes * minor * np.sin(anomaly)], axis=-1)
    speed = np.stack([-axes * rate * np.sin(anomaly), axes * minor * rate * np.cos(anomaly)], axis=-1)
    turned = np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], axis=-1).reshape(*turn.shape, 2, 2)
    return np.einsum("npij,npj->npi", turned, place), np.einsum("npij,npj->npi", turned, speed)


def _advance(
    position: np.ndarray, velocity: np.ndarray, masses: np.ndarray, step: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    small = (step / _SUBSTEPS)[:, None, None]
    for _ in range(_SUBSTEPS):
        velocity = velocity + small / 2 * _pull(position, masses)
        position = position + small * velocity
        velocity = velocity + small / 2 * _pull(position, masses)
    return position, velocity


def _pull(position: np.ndarray, masses: np.ndarray) -> np.ndarray:
    """Accelerations towards the star, which does not move, and towards the other planet."""
    star = -position / np.linalg.norm(position, axis=2, keepdims=True) ** 3
    apart = position[:, ::-1] - position
    return star + masses[:, ::-1, None] * apart / np.linalg.norm(apart, axis=2, keepdims=True) ** 3  # type: ignore[no-any-return]


def quadratic(problems: Problems) -> np.ndarray:
    """The next frame by the parabola through the last three: what needs no learning."""
    frames = problems.inputs[:, :-1].reshape(len(problems), FRAMES, 4)
    return 3 * frames[:, -1] - 3 * frames[:, -2] + frames[:, -3]  # type: ignore[no-any-return]


def products(digits: int, count: int, seed: int) -> Problems:
    """Pairs of whole numbers of so many digits; to find: their product."""
    random = np.random.default_rng(seed)
    pairs = random.integers(10 ** (digits - 1), 10**digits, (count, 2))
    return Problems(
        inputs=pairs.astype(np.float64), targets=pairs.prod(axis=1, keepdims=True).astype(np.float64), decimals=0
    )

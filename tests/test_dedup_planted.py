"""Planted duplicates: what is found follows the theory, what was not planted stays.

``LLEMMA_PLANTED`` sets how many documents (default 20,000; 100,000 in the measured run of docs/dedup.md).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from llemma.corpus import clusters, minhash
from llemma.corpus.dedup import DedupConfig, group, plan, signatures

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

COUNT = int(os.environ.get("LLEMMA_PLANTED", "20000"))
VOCABULARY = 7000  # 7000^5 < 2^64: a shingle of five words is a number of its own
EDITS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.05, 0.05, 0.07, 0.2, 0.2)  # shares of words changed in the copies


@dataclass(frozen=True)
class Planted:
    """Documents as numbers of words; for the copies among them the original and the share of words changed."""

    words: list[np.ndarray]
    original: dict[int, int]
    share: dict[int, float]


def plant(count: int) -> Planted:
    """Half originals (a tenth of them with a half that is another's), and behind them one copy of each, in any order.

    Words have the frequencies of a natural language (Zipf-Mandelbrot), lengths are from 60 words to 600.
    """
    rng = np.random.default_rng(11)
    weights = 1 / (np.arange(VOCABULARY) + 2.7) ** 1.05
    chances = np.cumsum(weights / weights.sum())

    def draw(size: int) -> np.ndarray:
        return np.minimum(np.searchsorted(chances, rng.random(size)), VOCABULARY - 1).astype(np.uint64)

    words, original, share = [], {}, {}
    for k in range(count // 2):
        words.append(draw(int(rng.integers(60, 600))))
        if k % 10 == 9:  # 55 % of the words are those of another document: similarity about 0.35
            half = words[k - 1]
            cut = int(len(half) * 0.55)
            words[k] = np.concatenate([half[:cut], draw(len(half) - cut)])
    for k, source in enumerate(rng.permutation(count // 2).tolist(), count // 2):
        copy, edit = words[source].copy(), float(rng.choice(EDITS))
        changed = rng.random(len(copy)) < edit
        copy[changed] = draw(int(changed.sum()))
        words.append(copy)
        original[k], share[k] = source, edit
    return Planted(words=words, original=original, share=share)


def shingles(words: np.ndarray) -> np.ndarray:
    total = np.zeros(len(words) - 4, dtype=np.uint64)
    for k in range(5):
        total = total * np.uint64(VOCABULARY) + words[k : len(words) - 4 + k]
    return np.unique(total)


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    a, b = shingles(one), shingles(other)
    both = len(np.intersect1d(a, b, assume_unique=True))
    return both / (len(a) + len(b) - both)


@pytest.fixture(scope="module")
def planted() -> Planted:
    return plant(COUNT)


@pytest.fixture(scope="module")
def names() -> np.ndarray:
    rng = np.random.default_rng(2)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    return np.array(sorted({"".join(rng.choice(letters, rng.integers(2, 11))) for _ in range(8000)})[:VOCABULARY])


def verdicts(planted: Planted, names: np.ndarray, config: DedupConfig, folder: Path) -> tuple[np.ndarray, int]:
    """The survivor of each document, and how many went as exact copies."""

    def text(k: int) -> str:
        return " ".join(names[planted.words[k].astype(np.int64)])

    paths = []
    for start in range(0, len(planted.words), 5000):
        texts = [text(k) for k in range(start, min(start + 5000, len(planted.words)))]
        paths.append(folder / f"{start:07d}.sig.npy")
        np.save(paths[-1], signatures(texts, config))
    found = group(paths, config, scratch=folder / "scratch", texts=lambda numbers: map(text, numbers.tolist()))
    return np.concatenate([np.load(clusters.dup_path(path)) for path in paths]), found.exact


@pytest.mark.parametrize("profile", ["default", "megamath"])
def test_recall_follows_the_theory_and_nothing_else_is_removed(planted, names, profile, tmp_path):
    config = DedupConfig(profile=profile)
    survivor, exact = verdicts(planted, names, config, tmp_path)
    gone = np.flatnonzero(survivor != np.arange(len(survivor)))
    alike = [jaccard(planted.words[k], planted.words[s]) for k, s in zip(gone, survivor[gone], strict=True)]
    assert min(alike) >= 0.5 - 1e-6
    unplanted = sum(planted.original.get(k) != s for k, s in zip(gone.tolist(), survivor[gone].tolist(), strict=True))

    pairs = list(planted.original.items())
    similarity = np.array([jaccard(planted.words[k], planted.words[source]) for k, source in pairs])
    found = np.array([survivor[k] != k for k, _ in pairs])
    shape = plan(config)
    theory = np.asarray(minhash.recall(similarity, shape.bands, shape.rows))
    assert not found[similarity < 0.5 - 1e-6].any()
    assert abs(found.mean() - theory[similarity >= 0.5].sum() / len(theory)) < 0.02
    shares = np.array([planted.share[k] for k, _ in pairs])
    lines = []
    for low in np.arange(0, 1.05, 0.1):
        some = (similarity >= low) & (similarity < low + 0.1)
        if some.sum() >= 30:
            lines.append(f"{low:.1f} {some.sum():6} {found[some].mean():.3f} {theory[some].mean():.3f}")
            noise = 2.5 * np.sqrt(theory[some] * (1 - theory[some])).mean() / np.sqrt(some.sum())
            if low >= 0.5:  # below it nothing may be found
                assert abs(found[some].mean() - theory[some].mean()) < 0.02 + noise, lines[-1]
    for share in sorted(set(EDITS)):
        some = shares == share
        lines.append(f"edits {share:.2f} {some.sum()} s {similarity[some].mean():.3f} {found[some].mean():.3f}"
                     f" {theory[some].mean():.3f}")  # fmt: skip
    assert found[shares == 0].all() and exact >= (shares == 0).sum()
    print(f"\n{profile}, {COUNT} documents: similarity, pairs, found, theory", *lines, sep="\n")
    print(f"removed {len(gone)}, of them exact {exact}, not planted {unplanted}")

"""MathScore: how likely the words of a text are those of mathematics, from a linear model over hashed n-grams.

The model is of fastText's class (Joulin et al. 2017): words, pairs of words and character n-grams, hashed into one
table of weights, averaged over the text, through a logistic function; then Platt's two-parameter calibration on
documents that training did not see. It learns from labels that texts carry themselves, as OpenWebMath's did: a text
that holds mathematical markup is an example of mathematics, and the markup is taken out of it so that the words must
decide. Common n-grams weigh less than rare ones, so that it learns what mathematics is about and not its style.
Training is plain numpy on one thread: the same examples and settings give the same bytes. What it does not judge:
whether the mathematics is right, or well explained.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from llemma.config import check_seed, setting
from llemma.corpus.features import U64, hashed, mix, ngrams
from llemma.errors import DataError
from llemma.run import atomic_write

MAGIC = b"llemma mathscore 1\n"
PAIRS, GRAMS = U64(0x51A3C0DE00000001), U64(0x51A3C0DE00000002)  # keep words, pairs and n-grams apart in the table
BINS = 10  # of the reliability table
REPORT = 2  # of every so many held-out examples one is for the report, the others for the calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class MathScoreOptions:
    """How the model is trained; the defaults suit tens of thousands of documents."""

    bits: int = setting(20, "the table has 2^bits weights of two bytes")
    gram: int = setting(4, "length of the character n-grams in bytes (0: none)")
    rarity: float = setting(0.5, "power of log(examples / examples with it) that an n-gram weighs (0: all alike)")
    window: int = setting(80, "words of one example: longer documents are cut into several")
    windows: int = setting(40, "examples taken from one document at most")
    epochs: int = setting(5, "passes over the examples")
    batch: int = setting(32, "examples between two updates")
    lr: float = setting(0.5, "step size (AdaGrad)")
    held_out: float = setting(0.2, "share of documents kept for calibration and report, by hash of their id")
    seed: int = setting(0, "order of the examples")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not 10 <= self.bits <= 22:
            raise ValueError(f"bits={self.bits} must lie in 10..22 (a file of 2 KB to 8 MB)")
        if not 0 <= self.gram <= 8:
            raise ValueError(f"gram={self.gram} must lie in 0..8")
        if not 0 <= self.rarity <= 2:
            raise ValueError(f"rarity={self.rarity} must lie in 0..2")
        if min(self.window, self.windows, self.epochs, self.batch) < 1 or self.lr <= 0:
            raise ValueError("window, windows, epochs, batch and lr must be positive")
        if not 0 < self.held_out < 0.9:
            raise ValueError(f"held_out={self.held_out} must lie in 0..0.9")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A text without its markup, and whether it had mathematical markup."""

    id: str
    prose: str
    mathematical: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MathScore:
    """A trained model: ``weights`` (float32, 2^bits) and ``bias`` give log-odds, ``slope`` and ``shift`` calibrate."""

    weights: np.ndarray
    bias: float
    slope: float
    shift: float
    gram: int
    info: Mapping[str, Any]

    def raw(self, prose: str) -> float:
        """The log-odds before calibration of a text from which markup is taken out."""
        found = features(prose, self.gram, _bits(self.weights))
        return float(self.weights[found].mean()) + self.bias if len(found) else self.bias

    def __call__(self, prose: str) -> float:
        """The probability, 0..1, that the document the text comes from holds mathematics."""
        return float(_sigmoid(np.array([self.slope * self.raw(prose) + self.shift]))[0])


def features(prose: str, gram: int, bits: int) -> np.ndarray:
    """The places in the table (int64) of a text's words, pairs of words and character n-grams."""
    text = hashed(prose, gram=gram)
    parts = [text.words, ngrams(text.words, 2) ^ PAIRS]
    if gram:
        parts.append(mix(text.grams) ^ GRAMS)
    return (np.concatenate(parts) >> U64(64 - bits)).view(np.int64)


def train_mathscore(examples: Iterable[Example], options: MathScoreOptions) -> tuple[MathScore, dict[str, Any]]:
    """The model, and its figures on documents it was not trained on (see ``reliability``).

    Raises DataError when there are too few examples of either kind to train and to measure.
    """
    table = _Table(options)
    for example in examples:
        table.add(example)
    train, calibration, report = table.split()
    seen = np.bincount(train.places, minlength=1 << options.bits)
    rarity = np.log((len(train.labels) + 1) / (seen + 1)) ** options.rarity
    weights, bias = _fit(replace(train, values=train.values * rarity[train.places]), options)
    weights = (weights * rarity).astype(np.float16).astype(np.float32)  # what the file holds
    slope, shift = _platt(_scores(calibration, weights, bias), calibration.labels)
    held = _sigmoid(slope * _scores(report, weights, bias) + shift)
    figures = {
        "examples": int(sum(len(p.labels) for p in (train, calibration, report))),
        **reliability(held, report.labels),
    }
    info = {"options": {k: getattr(options, k) for k in options.__dataclass_fields__}, "held_out": figures}
    model = MathScore(weights=weights, bias=bias, slope=slope, shift=shift, gram=options.gram, info=info)
    return model, figures


def reliability(scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """How good probabilities are: area under the ROC curve, expected calibration error, the table behind it.

    A row of the table is a tenth of the range of scores: how many examples, their mean score, the share that is
    mathematical; the error is the mean distance of the two, weighted by examples.
    """
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    rows = []
    for k in range(BINS):
        inside = bins == k
        if inside.any():
            rows.append(
                [int(inside.sum()), round(float(scores[inside].mean()), 4), round(float(labels[inside].mean()), 4)]
            )
    error = sum(n * abs(score - share) for n, score, share in rows) / len(scores)
    called = scores >= 0.5
    hits = float((called & (labels > 0)).sum())
    return {
        "report_examples": len(scores),
        "share": round(float(labels.mean()), 4),
        "auc": round(_auc(scores, labels), 4),
        "precision": round(hits / max(1.0, float(called.sum())), 4),
        "recall": round(hits / max(1.0, float((labels > 0).sum())), 4),
        "ece": round(float(error), 4),
        "reliability": rows,
    }


def save_mathscore(model: MathScore, path: Path) -> None:
    """Write the model as one file: a line that names the format, a line of JSON, the weights as float16."""
    data = model.weights.astype("<f2").tobytes()
    head = {
        "bits": _bits(model.weights), "gram": model.gram, "bias": model.bias, "slope": model.slope,
        "shift": model.shift, "sha256": hashlib.sha256(data).hexdigest(), "info": dict(model.info),
    }  # fmt: skip
    atomic_write(path, MAGIC + json.dumps(head, sort_keys=True).encode() + b"\n" + data)


def load_mathscore(path: Path) -> MathScore:
    """The model in a file. Raises DataError when it is missing, damaged or something else."""
    try:
        head, data = _read(path)
        weights = np.frombuffer(data, dtype="<f2").astype(np.float32)
        if hashlib.sha256(data).hexdigest() != head["sha256"] or len(weights) != 1 << head["bits"]:
            raise ValueError("the weights are not those that were written")
        return MathScore(
            weights=weights, bias=head["bias"], slope=head["slope"], shift=head["shift"], gram=head["gram"],
            info=head["info"],
        )  # fmt: skip
    except FileNotFoundError as error:
        raise DataError("no such model; train one: `llemma quality run=DIR`", where=path) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"not a MathScore model ({error}); train one: `llemma quality run=DIR`", where=path) from error


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    content = path.read_bytes()
    if not content.startswith(MAGIC):
        raise ValueError("another format")
    head, _, data = content[len(MAGIC) :].partition(b"\n")
    value = json.loads(head)
    if not isinstance(value, dict):
        raise ValueError("no head")
    return value, data


def _bits(weights: np.ndarray) -> int:
    return len(weights).bit_length() - 1


def _sigmoid(x: np.ndarray) -> np.ndarray:
    value: np.ndarray = 1 / (1 + np.exp(-np.clip(x, -60, 60)))
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Examples as sparse rows: ``places`` and ``values`` of row i lie at ``ends[i]:ends[i + 1]``."""

    places: np.ndarray
    values: np.ndarray
    ends: np.ndarray
    labels: np.ndarray


class _Table:
    """Collects examples as sparse rows of features, each row's values summing to 1."""

    def __init__(self, options: MathScoreOptions) -> None:
        self._options = options
        self._rows: tuple[list[tuple[np.ndarray, np.ndarray, bool]], ...] = ([], [], [])

    def add(self, example: Example) -> None:
        """Take up a document: window by window, into the part that the hash of its id says."""
        options = self._options
        part = 1 + _place(example.id) % REPORT if is_held_out(example.id, options) else 0
        for text in _windows(example.prose, options):
            found = features(text, options.gram, options.bits)
            if len(found):
                places, counts = np.unique(found, return_counts=True)
                values = (counts / len(found)).astype(np.float32)
                self._rows[part].append((places.astype(np.int32), values, example.mathematical))

    def split(self) -> tuple[_Rows, _Rows, _Rows]:
        """The rows for training, calibration and report."""
        found = []
        for rows, name in zip(self._rows, ("train", "calibrate", "report"), strict=True):
            labels = np.array([label for *_, label in rows], dtype=np.float64)
            if len(rows) < 10 or not 0 < labels.mean() < 1:
                raise DataError(
                    f"too few examples to {name} MathScore: {int(labels.sum())} with mathematical markup, "
                    f"{int(len(labels) - labels.sum())} without; add sources of both kinds"
                )
            lengths = [len(places) for places, *_ in rows]
            found.append(
                _Rows(
                    places=np.concatenate([places for places, *_ in rows]),
                    values=np.concatenate([values for _, values, _ in rows]),
                    ends=np.concatenate([[0], np.cumsum(lengths)]),
                    labels=labels,
                )
            )
        return found[0], found[1], found[2]


def is_held_out(name: str, options: MathScoreOptions) -> bool:
    """Whether the document of this id is kept from training."""
    return _place(name) < options.held_out * 2**64


def _place(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def _windows(prose: str, options: MathScoreOptions) -> Iterator[str]:
    words = prose.split()
    size = options.window
    for n, start in enumerate(range(0, max(1, len(words) - size // 2), size)):
        if n == options.windows:
            return
        yield " ".join(words[start : start + size])


def _fit(rows: _Rows, options: MathScoreOptions) -> tuple[np.ndarray, float]:
    """Logistic regression by AdaGrad in small batches, one thread, in the order that the seed gives."""
    weights = np.zeros(1 << options.bits)
    squares = np.full(1 << options.bits, 1e-8)
    bias, bias_square = 0.0, 1e-8
    random = np.random.Generator(np.random.PCG64(options.seed))
    for _ in range(options.epochs):
        order = random.permutation(len(rows.labels))
        for start in range(0, len(order), options.batch):
            batch = order[start : start + options.batch]
            lengths = rows.ends[batch + 1] - rows.ends[batch]
            spans = [slice(rows.ends[i], rows.ends[i + 1]) for i in batch]
            places = np.concatenate([rows.places[s] for s in spans])
            values = np.concatenate([rows.values[s] for s in spans])
            starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
            slopes = _sigmoid(np.add.reduceat(weights[places] * values, starts) + bias) - rows.labels[batch]
            steps = np.repeat(slopes, lengths) * values
            np.add.at(squares, places, steps * steps)
            np.add.at(weights, places, -options.lr * steps / np.sqrt(squares[places]))
            bias_square += float(slopes.sum()) ** 2
            bias -= 0.1 * options.lr * float(slopes.sum()) / bias_square**0.5
    return weights, bias


def _scores(rows: _Rows, weights: np.ndarray, bias: float) -> np.ndarray:
    found: np.ndarray = np.add.reduceat(weights[rows.places] * rows.values, rows.ends[:-1]) + bias
    return found


def _platt(scores: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Slope and shift of the logistic function that fits the labels best, by Newton's method.

    The targets are Platt's (1999): a little inside 0 and 1, so that separable examples have a finite solution.
    """
    hits, misses = float(labels.sum()), float(len(labels) - labels.sum())
    targets = np.where(labels > 0, (hits + 1) / (hits + 2), 1 / (misses + 2))
    design = np.stack([scores, np.ones_like(scores)], axis=1)
    at = np.array([1.0, 0.0])
    for _ in range(100):
        p = _sigmoid(design @ at)
        slope = design.T @ (p - targets)
        curve = (design * (p * (1 - p))[:, None]).T @ design + 1e-9 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        at = at - step * min(1.0, 5.0 / max(1e-12, float(np.abs(step).max())))
        if float(np.abs(step).max()) < 1e-10:
            break
    return float(at[0]), float(at[1])


def _auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """The chance that an example with markup scores higher than one without; ties count half."""
    order = np.argsort(scores, kind="stable")
    values, inverse, counts = np.unique(scores[order], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    hits = float(labels.sum())
    misses = len(labels) - hits
    return (float(ranks[labels[order] > 0].sum()) - hits * (hits + 1) / 2) / (hits * misses)


def windows_of(examples: Sequence[Example], options: MathScoreOptions) -> list[tuple[str, bool]]:
    """The windows that training makes of examples, for comparing other learners on the same ones."""
    return [(text, example.mathematical) for example in examples for text in _windows(example.prose, options)]

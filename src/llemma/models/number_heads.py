"""Heads that read a number out of a hidden state, one for each encoding of one token: loss, and the number as text.

Every loss is a negative log-likelihood or, as in xVal, a squared error, summed over the parts of a number, so that a
number weighs as one token does. What a head predicts comes with a log-probability: of its digits or bits, or, of a
scalar, the mass that a normal distribution of the learned width has within half a unit of what is written.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llemma.tokens.numbers import Encoding, Places
from llemma.tokens.numbers.bits import Bits, bits_of, read_bits
from llemma.tokens.numbers.fone import FoNE
from llemma.tokens.numbers.hybrid import Hybrid
from llemma.tokens.numbers.values import Values
from llemma.tokens.numbers.xval import XVal, XValLog

BEAM = 32  # numbers that are kept while the digits of a hybrid number are chosen
SURE = 12.0  # nats that a scalar head may hold against digits: beyond e^-12 it is the scalar that is wrong
PACE = 10.0  # times the learning rate: what the log of a width may change by in a step
AGREE = 4.0  # widths of the value head within which digits and value agree


@dataclass(frozen=True, slots=True)
class Predicted:
    """Numbers as text; log-probabilities (n,); whether digits and value agree (None where there is no second head)."""

    texts: Sequence[str]
    logprob: np.ndarray
    agreed: np.ndarray | None = None


class NumberHead(nn.Module, ABC):
    """Reads numbers out of hidden states (n, width)."""

    @abstractmethod
    def loss(self, hidden: Tensor, values: Values) -> Tensor:
        """The loss of each number, (n,) fp32."""

    @abstractmethod
    def predict(self, hidden: Tensor) -> Predicted:
        """The most likely numbers."""


class Scalar(NumberHead):
    """xVal's number head: one linear output with bias, squared error (Golkar et al. 2023, section 2)."""

    def __init__(self, encoding: XVal | XValLog, width: int, places: Places) -> None:
        """``encoding`` in the scale of the head: what is predicted should be about -5 to 5."""
        super().__init__()
        self.encoding, self.places = encoding, places
        self.out = nn.Linear(width, 1)
        self.width = nn.Parameter(torch.zeros(1))  # of the error, see ``_width_only``: learned beside

    def loss(self, hidden: Tensor, values: Values) -> Tensor:
        """The squared error in the encoding's own scale."""
        error = self.out(hidden)[:, 0] - _tensor(self.encoding.shown(values)[:, 0], hidden)
        squares: Tensor = error.square() + _width_only(error, self.width)
        return squares

    @torch.no_grad()
    def predict(self, hidden: Tensor) -> Predicted:
        """Values rounded to the last place."""
        found = self.out(hidden)[:, 0].double().cpu().numpy()
        texts, half = _fixed_texts(self._inverse(found), self.places), 0.5 * 10.0**-self.places.decimals
        written, width = np.array(list(map(float, texts))), math.sqrt(2) * _widths(self.width).cpu()
        ends = [torch.from_numpy(self._forward(written + side) - found) / width for side in (-half, half)]
        mass = (torch.erf(ends[1]) - torch.erf(ends[0])) / 2
        return Predicted(texts, mass.clamp_min(1e-300).log().numpy())

    def _forward(self, value: np.ndarray) -> np.ndarray:
        return self.encoding.shown(Values.doubles(value))[:, 0]

    def _inverse(self, found: np.ndarray) -> np.ndarray:
        if isinstance(self.encoding, XVal):
            return found / self.encoding.scale
        value: np.ndarray = np.sign(found) * (10 ** np.minimum(np.abs(found), 300) - 1) / self.encoding.scale
        return value


class Circles(NumberHead):
    """FoNE's read-out: a point for each circle, a digit's logit is its product with the digit's own point.

    Zhou et al. 2025, section 3.3; the sign, which the paper does not have, is one more logit.
    """

    points: Tensor

    def __init__(self, encoding: FoNE, width: int) -> None:
        super().__init__()
        self.places = encoding.places
        self.out = nn.Linear(width, 2 * self.places.width + 1)
        turns = 2 * math.pi * torch.arange(10) / 10
        self.register_buffer("points", torch.stack((turns.cos(), turns.sin())), persistent=False)

    def logits(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        made = self.out(hidden)
        return made[:, 0], made[:, 1:].unflatten(1, (self.places.width, 2)) @ self.points

    def loss(self, hidden: Tensor, values: Values) -> Tensor:
        """Cross-entropy of the sign and of every digit."""
        sign, digits = self.logits(hidden)
        return _digit_loss(sign, digits, self.places.units(values, FoNE.name), self.places)

    @torch.no_grad()
    def predict(self, hidden: Tensor) -> Predicted:
        """The most likely digit of every place."""
        sign, digits = self.logits(hidden)
        best, chosen = digits.log_softmax(-1).max(-1)
        units = _joined(chosen) * torch.where(sign > 0, -1, 1)
        logprob = best.sum(-1) + F.logsigmoid(sign.abs())
        return Predicted(_unit_texts(units, self.places), logprob.double().cpu().numpy())


class BitReader(NumberHead):
    """BitTokens' read-out: a logit for each of the 64 bits of the double, binary cross-entropy."""

    def __init__(self, places: Places, width: int) -> None:
        super().__init__()
        self.places = places
        self.out = nn.Linear(width, 64)

    def loss(self, hidden: Tensor, values: Values) -> Tensor:
        """Binary cross-entropy, summed over the bits."""
        bits = _tensor((bits_of(values.double) + 1) / 2, hidden)
        return F.binary_cross_entropy_with_logits(self.out(hidden), bits, reduction="none").sum(-1)

    @torch.no_grad()
    def predict(self, hidden: Tensor) -> Predicted:
        """The doubles of the most likely bits, rounded to the last place; what is no number comes out as 0."""
        logits = self.out(hidden)
        doubles = np.nan_to_num(read_bits(logits.double().cpu().numpy()), nan=0.0, posinf=0.0, neginf=0.0)
        logprob = F.logsigmoid(logits.abs()).sum(-1)
        return Predicted(_fixed_texts(doubles, self.places), logprob.double().cpu().numpy())


class Joint(NumberHead):
    """Ours: sign and digits by cross-entropy, linear value and log magnitude by squared error, read out together.

    A digit's logit is FoNE's, which finds sums at once, and a free one, which makes it as sure as it may be. The digits
    are chosen so that their own probability times that of the value they spell, under the two scalar heads, is largest:
    where the scalars are sure they decide the leading digits, where they are not the digits decide.
    """

    def __init__(self, encoding: Hybrid, width: int, scale: float) -> None:
        super().__init__()
        self.places, self.scale = encoding.places, scale
        self.circles = Circles(encoding.circles, width)
        self.out = nn.Linear(width, 10 * self.places.width + 2)
        self.width = nn.Parameter(torch.zeros(2))  # of the scalars' errors, see ``_width_only``

    def _parts(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sign, turned = self.circles.logits(hidden)
        made = self.out(hidden)
        return sign, turned + made[:, :-2].unflatten(1, (self.places.width, 10)), made[:, -2:]

    def loss(self, hidden: Tensor, values: Values) -> Tensor:
        """Cross-entropy of sign and digits, and the squared errors of scaled value and log10 of the magnitude."""
        sign, digits, scalars = self._parts(hidden)
        units = self.places.units(values, Hybrid.name)
        wanted = _tensor(np.stack([values.double * self.scale, self._logs(units)], axis=1), hidden)
        error = scalars - wanted
        squares = error.square() + _width_only(error, self.width)
        return _digit_loss(sign, digits, units, self.places) + squares.sum(-1)

    def _logs(self, units: np.ndarray) -> np.ndarray:
        """log10 of the magnitude; zero is a unit of the last place."""
        logs: np.ndarray = np.log10(np.maximum(np.abs(units), 1)) - self.places.decimals
        return logs

    @torch.no_grad()
    def predict(self, hidden: Tensor) -> Predicted:
        """The best of ``BEAM`` numbers that are grown digit by digit from the first place."""
        sign, digits, scalars = (part.double().cpu() for part in self._parts(hidden))
        width = _widths(self.width).cpu().clamp_min(1e-12)
        logp = digits.log_softmax(-1)
        turned = torch.where(sign > 0, -1.0, 1.0)
        # in units of the last place, for the magnitude: what the heads expect, and how surely
        unit = self.scale * 10.0**-self.places.decimals
        value, log = scalars[:, 0] * turned / unit, scalars[:, 1] + self.places.decimals
        grown = torch.zeros(len(sign), 1, dtype=torch.int64)
        score = torch.zeros(len(sign), 1, dtype=torch.float64)
        for place in range(self.places.width):
            grown = (grown[:, :, None] * 10 + torch.arange(10)).flatten(1)
            score = (score[:, :, None] + logp[:, place, None, :]).flatten(1)
            rest = 10 ** (self.places.width - 1 - place)
            low, high = grown.double() * rest, (grown.double() + 1) * rest - 1  # what may still come of it
            far = (value[:, None].clamp(low, high) - value[:, None]) * unit / width[0]
            logs = log[:, None].clamp(low.clamp_min(1).log10(), high.clamp_min(1).log10()) - log[:, None]
            judged = score - sum((0.5 * z.square()).clamp_max(SURE) for z in (far, logs / width[1]))
            judged, kept = judged.topk(min(BEAM, judged.shape[1]), dim=1)
            grown, score = grown.gather(1, kept), score.gather(1, kept)
        best, own = grown[:, 0], judged.log_softmax(1)[:, 0]
        agreed = ((best.double() - value) * unit / width[0]).abs() <= AGREE
        logprob = own + F.logsigmoid(sign.abs())
        return Predicted(_unit_texts(best * turned.long(), self.places), logprob.numpy(), agreed.numpy())


def head_of(encoding: Encoding, width: int, places: Places, scale: float) -> NumberHead:
    """The head of a valued encoding; linear values are predicted times ``scale``."""
    if isinstance(encoding, XVal):
        return Scalar(XVal(scale), width, places)
    if isinstance(encoding, XValLog):
        return Scalar(encoding, width, places)
    if isinstance(encoding, Hybrid):
        return Joint(encoding, width, scale)
    if isinstance(encoding, FoNE):
        return Circles(encoding, width)
    if isinstance(encoding, Bits):
        return BitReader(places, width)
    raise ValueError(f"{encoding.name} has no number head: its numbers are written in tokens")


def _tensor(array: np.ndarray, like: Tensor) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(like)


def _width_only(error: Tensor, stored: Tensor) -> Tensor:
    """0, with the gradient of a normal distribution's log-likelihood for its width alone.

    ``stored`` is the width's log over ``PACE``, and the gradient is made as much smaller: Adam, which takes steps of
    one size, then follows errors that fall by decades within some hundred steps, and clipping by the norm of all
    gradients is not decided by a width.
    """
    log = PACE * stored
    extra = (0.5 * error.detach().square() * (-2 * log).exp() + log) / PACE**2
    return extra - extra.detach()


def _widths(stored: Tensor) -> Tensor:
    """The learned widths of errors, in double precision."""
    return (PACE * stored.double()).exp()


def _digit_loss(sign: Tensor, digits: Tensor, units: np.ndarray, places: Places) -> Tensor:
    """Summed cross-entropy of signs (n,) and digits (n, places, 10), first place first."""
    wanted = torch.from_numpy(places.spread(units)).to(sign.device)
    negative = _tensor(units < 0, sign)
    cross = F.cross_entropy(digits.transpose(1, 2), wanted, reduction="none").sum(-1)
    return cross + F.binary_cross_entropy_with_logits(sign, negative, reduction="none")


def _joined(digits: Tensor) -> Tensor:
    """(n, places) digits → (n,) int64."""
    powers = 10 ** torch.arange(digits.shape[1] - 1, -1, -1, device=digits.device)
    return (digits * powers).sum(-1)


def _unit_texts(units: Tensor, places: Places) -> list[str]:
    """Counts of the last place as decimals, without zeros behind."""
    return [_plain(int(u), places.decimals) for u in units.tolist()]


def _fixed_texts(values: np.ndarray, places: Places) -> list[str]:
    """Doubles rounded to the last place, cut to the range."""
    most = 10**places.width - 1
    values = np.nan_to_num(values, nan=0.0).clip(-(10.0**places.width), 10.0**places.width)  # or units overflow
    return [_plain(max(-most, min(most, round(v * 10.0**places.decimals))), places.decimals) for v in values.tolist()]


def _plain(units: int, decimals: int) -> str:
    digits = f"{abs(units):0{decimals + 1}d}"
    whole, behind = digits[: len(digits) - decimals], digits[len(digits) - decimals :].rstrip("0")
    return f"{'-' * (units < 0)}{whole}{'.' if behind else ''}{behind}"

"""Watches a training run: what to do with a step whose loss or gradient norm is no number, or whose loss is far off.

A pure state machine: ``judge`` takes the state and a step's figures and gives what to do, why, and the next state. It
holds no tensors, reads no clock and writes nothing; the loop acts on it and stores every event as a row. The Llemma
7B run ended in losses that were NaN (step 42,000 of 48,000); going back and leaving out data is what PaLM's authors did
by hand (Chowdhery et al. 2022, section 5.1).

What the loop does with each action:

- ``take``: update the weights.
- ``skip``: drop the gradients; the step counts, its data are passed over.
- ``back``: load the newest checkpoint and go on there, ``state.shift`` batches further on in the data, so that the
  stretch between the checkpoint and the bad step is jumped over. ``batch(step + state.shift)`` is the data of a step.
- ``stop``: raise RunError with ``reason``.

Every rank must judge the same figures (the mean over all ranks), then all ranks act alike. The state belongs into the
checkpoint: a resumed run then judges as an undisturbed one.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from llemma.config import setting

Action = Literal["take", "skip", "back", "stop"]

MAD = 1.4826  # a median absolute deviation times this is the standard deviation of a normal distribution
FLOOR = 0.01  # a deviation is at least this share of the median: a loss that stands still has none


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardConfig:
    """When a step is bad, and how long that is borne."""

    deviations: float = setting(0.0, "a loss this many robust deviations above the window's median is bad (0: never)")
    window: int = setting(128, "good losses the window holds")
    least: int = setting(32, "good losses before any can be called far off")
    patience: int = setting(8, "bad steps in a row before the run goes back to its last checkpoint")
    returns: int = setting(3, "times it goes back before it gives up (0: give up at once)")

    def __post_init__(self) -> None:
        if not (math.isfinite(self.deviations) and self.deviations >= 0):
            raise ValueError(f"guard.deviations={self.deviations} must be a number of at least 0")
        for name, least in (("window", 2), ("least", 2), ("patience", 1), ("returns", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"guard.{name}={getattr(self, name)} must be at least {least}")
        if self.least > self.window:
            raise ValueError(f"guard.least={self.least} is more than guard.window={self.window} holds")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardState:
    """All the guard remembers."""

    losses: tuple[float, ...] = ()  # of good steps, oldest first
    row: int = 0  # bad steps in a row
    skipped: int = 0  # steps skipped in all
    returned: int = 0  # times gone back
    shift: int = 0  # batches the data are ahead of the steps

    def to_json(self) -> dict[str, Any]:
        """For a checkpoint; ``from_json`` reads it back to the same bits."""
        return {name: getattr(self, name) for name in self.__slots__} | {"losses": list(self.losses)}

    @staticmethod
    def from_json(table: Mapping[str, Any]) -> GuardState:
        """The state of a checkpoint; a fresh one for a checkpoint from before there was a guard."""
        return GuardState(**{**table, "losses": tuple(table.get("losses", ()))})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What to do with a step, why (empty for a good one), and the state after it."""

    action: Action
    reason: str
    state: GuardState

    def event(self, step: int, loss: float, norm: float, *, to: int | None = None) -> dict[str, Any] | None:
        """The row of the run folder that tells of a bad step (counted from 1); None for a good one.

        ``to`` is the checkpoint the run goes back to. The id counts bad steps, so a step that is judged again after a
        resume has the same row. A loss that is no number is written as text: JSON has no NaN.
        """
        if self.action == "take":
            return None
        number = self.state.skipped + self.state.returned
        row = {"id": f"guard-{number:06d}", "step": step, "guard": self.action, "reason": self.reason}
        figures = {"bad_loss": _plain(loss), "bad_norm": _plain(norm)}
        return row | figures | ({} if to is None else {"to": to, "shift": self.state.shift})


def judge(config: GuardConfig, state: GuardState, *, step: int, checkpoint: int, loss: float, norm: float) -> Judged:
    """Judge update number ``step`` (from 0) by its loss and its gradient norm before clipping.

    ``checkpoint`` is the number of updates that the newest checkpoint holds: where ``back`` would lead.
    """
    reason = _wrong(config, state, loss, norm)
    if not reason:
        losses = (*state.losses, loss)[-config.window :]
        return Judged(action="take", reason="", state=replace(state, losses=losses, row=0))
    row = state.row + 1
    if row < config.patience:
        return Judged(action="skip", reason=reason, state=replace(state, row=row, skipped=state.skipped + 1))
    told = f"{reason}; {row} bad steps in a row" if row > 1 else reason
    if state.returned >= config.returns:
        again = f", after going back {state.returned} times" if state.returned else ""
        return Judged(action="stop", reason=told + again, state=replace(state, row=row))
    # the steps from the checkpoint on are made again, with the data that follow the bad step
    back = replace(state, losses=(), row=0, returned=state.returned + 1, shift=state.shift + step + 1 - checkpoint)
    return Judged(action="back", reason=told, state=back)


def resumed(before: GuardState, stored: GuardState) -> GuardState:
    """The state to go on with after ``back``: the counts of ``before``, the window that the checkpoint stored."""
    return replace(before, losses=stored.losses)


def _wrong(config: GuardConfig, state: GuardState, loss: float, norm: float) -> str:
    """Why a step is bad; empty for a good one."""
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if not math.isfinite(norm):
        return f"the gradient norm is {norm}"
    if not config.deviations or len(state.losses) < config.least:
        return ""
    middle = statistics.median(state.losses)
    deviation = MAD * statistics.median(abs(x - middle) for x in state.losses)
    deviation = max(deviation, FLOOR * abs(middle))
    above = (loss - middle) / deviation if deviation else 0.0
    if above <= config.deviations:
        return ""
    return f"the loss {loss:.4g} is {above:.1f} robust deviations above the median {middle:.4g} of {len(state.losses)}"


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)

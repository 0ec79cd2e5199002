"""The guard of a training run: what it does with bad steps, and that a resumed run judges as an undisturbed one."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import settings as examples_of
from hypothesis import strategies as st

from llemma.train.guard import GuardConfig, GuardState, Judged, judge, resumed

CONFIG = GuardConfig(deviations=8, window=16, least=4, patience=3, returns=2)
NAN = math.nan


def judged(losses, config=CONFIG, state=None, *, norm=1.0, first=0, every=5) -> list[Judged]:
    """The guard over a stretch of steps that nobody interrupts; checkpoints lie at multiples of ``every``."""
    found, state = [], state or GuardState()
    for step, loss in enumerate(losses, first):
        found.append(judge(config, state, step=step, checkpoint=step // every * every, loss=loss, norm=norm))
        state = found[-1].state
    return found


def actions(found: list[Judged]) -> str:
    return "".join(j.action[0] for j in found)


def test_good_steps_are_taken_and_remembered():
    found = judged([2.0 - i / 100 for i in range(20)])
    assert actions(found) == "t" * 20
    assert found[-1].state.losses == tuple(2.0 - i / 100 for i in range(4, 20))
    assert found[-1].event(20, 1.81, 1.0) is None


@pytest.mark.parametrize(("loss", "norm"), [(NAN, 1.0), (math.inf, 1.0), (2.0, NAN), (2.0, math.inf)])
def test_a_step_that_is_no_number_is_skipped_even_when_spikes_are_not_looked_for(loss, norm):
    off = GuardConfig(patience=3)
    assert off.deviations == 0
    state = judged([2.0] * 3, off)[-1].state
    bad = judge(off, state, step=3, checkpoint=0, loss=loss, norm=norm)
    assert bad.action == "skip" and bad.state.losses == state.losses and bad.state.skipped == 1
    row = bad.event(4, loss, norm)
    assert row is not None and json.loads(json.dumps(row, allow_nan=False))["guard"] == "skip"
    assert judge(off, bad.state, step=4, checkpoint=0, loss=50.0, norm=1.0).action == "take"


def test_a_spike_is_a_loss_far_above_the_window_and_nothing_else_is():
    state = judged([2.0, 2.1, 1.9, 2.05, 1.95, 2.0])[-1].state
    high = judge(CONFIG, state, step=6, checkpoint=5, loss=4.0, norm=1.0)
    assert high.action == "skip" and "robust deviations above the median 2 of 6" in high.reason
    for loss in (0.01, 2.3):  # far below is good news, a little above is noise
        assert judge(CONFIG, state, step=6, checkpoint=5, loss=loss, norm=1.0).action == "take"
    assert judge(CONFIG, GuardState(losses=(2.0,) * 3), step=3, checkpoint=0, loss=9.0, norm=1.0).action == "take"
    still = GuardState(losses=(2.0,) * 8)  # no deviation at all: one in a hundred is the unit
    assert judge(CONFIG, still, step=8, checkpoint=5, loss=2.15, norm=1.0).action == "take"
    assert judge(CONFIG, still, step=8, checkpoint=5, loss=2.17, norm=1.0).action == "skip"


def test_a_good_step_ends_the_row_of_bad_ones():
    assert actions(judged([2.0, NAN, NAN, 2.0, NAN, NAN, 2.0])) == "tsstsst"
    assert judged([2.0, NAN, NAN, 2.0])[-1].state.row == 0


def test_after_patience_it_goes_back_and_the_bad_stretch_is_jumped_over():
    found = judged([2.0] * 6 + [NAN] * 3, every=5)
    assert actions(found) == "ttttttssb"
    state = found[-1].state
    # steps 5 to 8 are made again; step 5 then reads batch 9, the one after the last bad one
    assert (state.shift, state.returned, state.row, state.losses) == (4, 1, 0, ())
    row = found[-1].event(9, NAN, 1.0, to=5)
    assert row is not None and (row["to"], row["shift"], row["bad_loss"]) == (5, 4, "nan")
    again = judged([NAN] * 3, state=state, first=5)
    assert actions(again) == "ssb" and again[-1].state.shift == 4 + 3  # step 5 now reads batch 12
    assert [j.action for j in judged([NAN] * 3, state=again[-1].state, first=5)] == ["skip", "skip", "stop"]


def test_it_gives_up_after_going_back_often_enough_and_says_why():
    state = GuardState(returned=2)
    found = judged([NAN] * 3, state=state)
    assert [j.action for j in found] == ["skip", "skip", "stop"]
    assert found[-1].reason == "the loss is nan; 3 bad steps in a row, after going back 2 times"
    at_once = GuardConfig(patience=1, returns=0)
    assert judge(at_once, GuardState(), step=0, checkpoint=0, loss=NAN, norm=1.0).action == "stop"


def test_events_have_names_of_their_own():
    found = judged([2.0, NAN, 2.0, NAN, NAN, NAN, NAN])
    rows = [j.event(i, NAN, 1.0) for i, j in enumerate(found) if j.action != "take"]
    assert len({row["id"] for row in rows if row}) == len(rows) == 5


LOSSES = st.lists(st.sampled_from([2.0, 2.02, 1.97, 9.0, NAN, math.inf]), min_size=1, max_size=60)


@given(losses=LOSSES, cut=st.integers(0, 59))
@examples_of(max_examples=200, deadline=None)
def test_a_resumed_run_judges_as_an_undisturbed_one(losses, cut):
    """The state survives JSON to the bit, and nothing else is remembered."""
    cut = min(cut, len(losses))
    whole = judged(losses)
    before = judged(losses[:cut])
    stored = before[-1].state if before else GuardState()
    loaded = GuardState.from_json(json.loads(json.dumps(stored.to_json())))
    assert loaded == stored
    assert judged(losses[cut:], state=loaded, first=cut) == whole[cut:]


@given(losses=LOSSES)
@examples_of(max_examples=200, deadline=None)
def test_no_bad_loss_enters_the_window_and_counts_add_up(losses):
    found = judged(losses)
    assert all(math.isfinite(x) for j in found for x in j.state.losses)
    assert found[-1].state.skipped == sum(j.action == "skip" for j in found)
    assert found[-1].state.returned == sum(j.action == "back" for j in found) <= CONFIG.returns
    shifts = [j.state.shift for j in found]
    assert shifts == sorted(shifts)


def test_the_checkpoints_window_is_taken_up_again_after_going_back():
    stored, before = GuardState(losses=(2.0, 2.1), skipped=1), GuardState(skipped=4, returned=1, shift=7)
    assert resumed(before, stored) == GuardState(losses=(2.0, 2.1), skipped=4, returned=1, shift=7)
    assert GuardState.from_json({}) == GuardState()  # a checkpoint from before there was a guard


@pytest.mark.parametrize(
    "wrong", [{"deviations": -1}, {"deviations": NAN}, {"patience": 0}, {"returns": -1}, {"window": 8, "least": 9}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=r"guard\."):
        GuardConfig(**wrong)

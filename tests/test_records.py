"""A record written as a row reads back equal, and reading refuses what it cannot be."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llemma import records
from llemma.records import (
    Event,
    Execution,
    Goal,
    Grade,
    Metric,
    ProofState,
    Sample,
    Sampling,
    Theorem,
    from_row,
    silent,
    to_row,
)

THEOREM = {"name": "t", "statement": "t : p"}

# Every record that is data alone; a task, its scorers and its program hold functions.
FUNCTIONS = (records.Task, records.Scorer, records.Program)
RECORDS = [
    kind
    for kind in vars(records).values()
    if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind not in FUNCTIONS
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
for kind in RECORDS:  # hypothesis builds each from its type hints; free-form `meta` and `figures` are JSON
    extra: dict[str, Any] = {}
    for f in dataclasses.fields(kind):
        if f.name == "meta":
            extra[f.name] = st.dictionaries(st.text(), json_values, max_size=3)
        elif f.name == "figures":
            extra[f.name] = st.dictionaries(st.text(), st.text() | st.floats(allow_nan=False), max_size=3)
        elif f.type in ("float", "float | None"):
            numbers = st.floats(allow_nan=False)
            extra[f.name] = numbers | st.none() if "None" in f.type else numbers
    st.register_type_strategy(kind, st.builds(kind, **extra))


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_round_trip_through_a_json_line(kind, data):
    record = data.draw(st.from_type(kind))
    assert from_row(kind, json.loads(json.dumps(to_row(record)))) == record


@pytest.mark.parametrize("kind", [*RECORDS, *FUNCTIONS], ids=lambda kind: kind.__name__)
def test_records_are_frozen_slotted_and_keyword_only(kind):
    assert kind.__dataclass_params__.frozen
    assert "__slots__" in vars(kind)
    assert all(f.kw_only for f in dataclasses.fields(kind))


def test_a_missing_field_is_named_and_an_unknown_one_ignored():
    with pytest.raises(KeyError, match="reason"):
        from_row(Grade, {"verdict": "correct", "answer": "1"})
    assert from_row(Sampling, {"n": 3, "colour": "red"}) == Sampling(n=3)


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (ProofState, {"theorem": THEOREM, "tactics": "intro", "goals": []}),
        (ProofState, {"theorem": THEOREM, "tactics": [], "goals": ["⊢ p"]}),
        (ProofState, {"theorem": "t", "tactics": [], "goals": []}),
        (Sample, {"id": "1", "problem": "p", "k": 0, "transcript": [], "grade": None}),
    ],
)
def test_a_value_of_a_wrong_form_is_refused(kind, row):
    with pytest.raises(TypeError, match="expected"):
        from_row(kind, row)


def test_nested_records_come_back_as_records():
    goals = (Goal(hypotheses=("h : p",), conclusion="p"),)
    state = ProofState(theorem=Theorem(name="t", statement="t : p"), tactics=("intro h",), goals=goals)
    assert from_row(ProofState, to_row(state)) == state
    run = Execution(stdout="", value=None, stderr="", status="ok", seconds=0.1, tier="none")
    assert to_row({"run": run, 3: (run,)}) == {"run": to_row(run), "3": [to_row(run)]}
    assert to_row(Metric) is Metric  # a class is not a record


def test_the_silent_sink_takes_any_event():
    assert silent(Event(stage="x", figures={"loss": 1.0})) is None

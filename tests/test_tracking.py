"""Figures of a run: the row of a step, and copies of the rows in the files of real viewers where they are installed."""

from __future__ import annotations

import importlib.util
import json
import math
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from llemma.errors import MissingDependency
from llemma.run import atomic_write, json_line
from llemma.train import tracking
from llemma.train.tracking import SINKS, TrackConfig, Tracker, figures, peak_memory, replay, stated_peak, step_row


def row_at(step: int, **more: float) -> dict[str, object]:
    return step_row(
        step=step, steps=100, tokens_per_step=1000, losses=[3.0, 2.0], seconds=4.0, lr=1e-3, grad_norm=0.5, **more
    )  # fmt: skip


ROWS = [row_at(10), row_at(20), {"id": "valid-20", "step": 20, "valid": {"web": 1.5, "code": 2.5}}, row_at(30)]


def test_the_row_of_a_step_has_what_can_be_computed_from_its_figures():
    row = row_at(20, flops_per_token=2e9, peak=4e12, memory=123, skipped=1)
    assert row["loss"] == 2.5 and row["tokens"] == 20_000
    assert row["tokens_per_second"] == 500.0  # 2 steps of 1000 tokens in 4 s
    assert row["eta_seconds"] == 160.0  # 80 steps at 2 s
    assert row["mfu"] == 0.25  # 500 x 2e9 of 4e12
    assert row["memory_bytes"] == 123 and row["skipped"] == 1
    assert not {"mfu", "memory_bytes", "skipped"} & row_at(20).keys()  # unknown is left out, not 0


def test_a_row_of_skipped_steps_alone_has_no_loss():
    row = step_row(step=4, steps=8, tokens_per_step=10, losses=[], seconds=2.0, lr=0.1, grad_norm=1.0, done=2)
    assert "loss" not in row and row["tokens_per_second"] == 10.0 and row["eta_seconds"] == 4.0


def test_the_peak_is_the_stated_one():
    assert stated_peak(TrackConfig(), "NVIDIA H200") == 989e12
    assert stated_peak(TrackConfig(), "NVIDIA H100 PCIe") == 756e12
    assert stated_peak(TrackConfig(), "NVIDIA H100 80GB HBM3") == 989e12
    assert stated_peak(TrackConfig(), "AMD EPYC 9B14") == 0.0
    assert stated_peak(TrackConfig(peak_tflops=0.427), "AMD EPYC 9B14") == 427e9
    assert peak_memory() > 10 << 20


def test_a_viewer_draws_finite_numbers_under_flat_names():
    assert figures(ROWS[2]) == {"valid/web": 1.5, "valid/code": 2.5}
    found = figures({**row_at(10), "loss": math.nan, "note": "text", "flag": True})
    assert set(found) == {
        f"train/{n}" for n in ("tokens", "lr", "grad_norm", "tokens_per_second", "seconds", "eta_seconds")
    }
    assert figures({"id": "guard-1", "step": 3, "guard": "skip", "bad_loss": "nan"}) == {"guard/skip": 1.0}


def test_nothing_is_imported_or_written_unless_asked_for(tmp_path):
    with Tracker(TrackConfig(), tmp_path, {}, ROWS) as tracker:
        tracker.log(ROWS[0])
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="did you mean wandb"):
        TrackConfig(sinks=("wandbb",))


@pytest.mark.parametrize("sink", SINKS)
def test_a_viewer_that_is_not_installed_is_named_with_the_line_that_installs_it(sink, tmp_path):
    if importlib.util.find_spec(sink):
        pytest.skip(f"{sink} is installed")
    with pytest.raises(MissingDependency, match=f"pip install {sink}"):
        Tracker(TrackConfig(sinks=(sink,)), tmp_path, {})


class Broken:
    """A viewer whose server goes away after two rows."""

    def __init__(self, about: object, settings: object) -> None:
        self.rows: list[int] = []

    def write(self, step: int, found: object) -> None:
        if len(self.rows) == 2:
            raise ConnectionError("the server is gone")
        self.rows.append(step)

    def close(self) -> None: ...


def test_a_viewer_that_fails_is_left_out_and_named_and_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setitem(tracking._OPEN, "wandb", Broken)
    with Tracker(TrackConfig(sinks=("wandb",)), tmp_path, {}) as tracker:
        for row in ROWS:
            tracker.log(row)
    assert len(tracker.troubles) == 1 and "wandb gets no more figures" in tracker.troubles[0]
    assert "the server is gone" in tracker.troubles[0]


def finished(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"verb": "train", "settings": {"lr": 1e-3, "optim": {"eps": 1}}}))
    atomic_write(folder / "rows.jsonl", b"".join(map(json_line, ROWS)))
    return folder


@pytest.mark.slow
def test_tensorboards_files_hold_the_rows_however_often_the_run_started(tmp_path):
    pytest.importorskip("tensorboard", reason="not installed; pip install tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = finished(tmp_path / "run")
    for _ in range(3):
        assert replay(folder, TrackConfig(sinks=("tensorboard",))) == []
    read = EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    assert [(e.step, e.value) for e in read.Scalars("train/loss")] == [(10, 2.5), (20, 2.5), (30, 2.5)]
    assert [(e.step, e.value) for e in read.Scalars("valid/code")] == [(20, 2.5)]


def wandb_records(data: bytes) -> Iterator[bytes]:
    """The records of a .wandb file: after 7 bytes LevelDB's log (blocks of 32 KiB, heads of crc, length and kind)."""
    place, held = 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        held += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield held
            held = b""


@pytest.mark.slow
def test_wandb_offline_holds_the_rows_and_a_resumed_run_adds_only_new_ones(tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="not installed; pip install wandb")
    from wandb.proto import wandb_internal_pb2

    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = finished(tmp_path / "run")
    config = TrackConfig(sinks=("wandb",))
    with Tracker(config, folder, {}, ROWS[:3]) as tracker:
        pass
    assert replay(folder, config) == tracker.troubles == []
    seen = []
    for file in sorted((folder / "wandb").glob("offline-run-*/*.wandb")):
        for data in wandb_records(file.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            items = {i.key or i.nested_key[0]: i.value_json for i in record.history.item}
            if "train/loss" in items:
                seen.append((int(items["_step"]), float(items["train/loss"])))
    assert sorted(seen) == [(10, 2.5), (20, 2.5), (30, 2.5)]


@pytest.mark.slow
def test_trackio_holds_the_rows(tmp_path, monkeypatch):
    pytest.importorskip("trackio", reason="not installed; pip install trackio")
    import sqlite3

    import trackio.utils

    monkeypatch.setattr(trackio.utils, "TRACKIO_DIR", tmp_path / "trackio", raising=True)
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio", raising=True)
    folder = finished(tmp_path / "run")
    assert replay(folder, TrackConfig(sinks=("trackio",), project="ours")) == []
    with sqlite3.connect(next((tmp_path / "trackio").glob("*.db"))) as store:
        found = store.execute("select step, metrics from metrics order by step").fetchall()
    losses = [(step, json.loads(text).get("train/loss")) for step, text in found]
    assert [(step, loss) for step, loss in losses if loss is not None] == [(10, 2.5), (20, 2.5), (30, 2.5)]

"""The run folder survives kill -9, a full disk, a second process and a change of mind."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llemma import run as run_module
from llemma.errors import DataError, RunError, explain
from llemma.run import atomic_file, atomic_write, open_run, read_json, read_jsonl, sha256_file, versions, write_json

ROWS = [{"id": "a", "text": "x²\n\u2028"}, {"id": "b", "n": [1, 2]}, {"id": "ü", "s": 'say "hi"'}]


def opened(folder: Path, **settings):
    return open_run(folder, "eval", settings, free=("limit",))


def test_rows_come_back_in_order_and_once(tmp_path):
    with opened(tmp_path) as run:
        assert list(run.rows()) == [] and run.ids == set()
        run.append(ROWS[:2])
        run.append([*ROWS, ROWS[2]])
        run.append([])
    with opened(tmp_path) as run:
        assert list(run.rows()) == ROWS
        assert run.ids == {"a", "b", "ü"}
        run.append([{"id": "b", "n": "other"}])
        assert list(run.rows()) == ROWS


def test_a_torn_last_line_is_cut_wherever_it_tore(tmp_path):
    with opened(tmp_path) as run:
        run.append(ROWS)
    whole = (tmp_path / "rows.jsonl").read_bytes()
    for size in range(len(whole) + 1):
        (tmp_path / "rows.jsonl").write_bytes(whole[:size])
        complete = whole[:size].count(b"\n")
        with opened(tmp_path) as run:
            assert list(run.rows()) == ROWS[:complete], size
            run.append(ROWS)
            assert (tmp_path / "rows.jsonl").read_bytes() == whole, size


def test_a_torn_line_longer_than_the_read_block_is_cut(tmp_path):
    with opened(tmp_path) as run:
        run.append([ROWS[0]])
    with open(tmp_path / "rows.jsonl", "ab") as file:
        file.write(b'{"id": "b", "text": "' + b"x" * 200_000)
    with opened(tmp_path) as run:
        assert list(run.rows()) == [ROWS[0]]
    (tmp_path / "rows.jsonl").write_bytes(b"x" * 200_000)
    with opened(tmp_path) as run:
        assert list(run.rows()) == []


def test_half_a_surrogate_pair_from_a_model_does_not_stop_the_run(tmp_path):
    row = {"id": "a", "text": "emoji cut in two: \ud83d"}
    with opened(tmp_path) as run:
        run.append([row, ROWS[1]])
        run.truncate(["a", "b"])
    with opened(tmp_path) as run:
        assert list(run.rows()) == [row, ROWS[1]]


def test_the_same_settings_resume_and_free_ones_may_change(tmp_path):
    with opened(tmp_path, model="m", limit=10, stop=("a", "b"), optim={"lr": 0.1}) as run:
        run.append([{"id": "a"}])
    opened(tmp_path, model="m", limit=20, stop=["a", "b"], optim={"lr": 0.1}).close()
    stored = read_json(tmp_path / "config.json")
    assert stored["verb"] == "eval"
    assert stored["settings"]["limit"] == 10
    assert {"python", "machine"} <= set(stored["versions"])


@pytest.mark.parametrize(
    ("settings", "difference"),
    [
        ({"model": "other", "optim": {"lr": 0.1}}, "model: 'm' there, 'other' now"),
        ({"model": "m", "optim": {"lr": 0.2}}, "optim.lr: 0.1 there, 0.2 now"),
        ({"model": "m", "optim": {"lr": 0.1}, "seed": 1}, "seed: None there, 1 now"),
        ({"optim": {"lr": 0.1}}, "model: 'm' there, None now"),
        ({"model": "m", "optim": {}}, "optim.lr: 0.1 there, None now"),
        ({"model": "m", "optim": {"lr": 0.1}} | {f"k{i}": i for i in range(7)}, "and 2 more"),
    ],
)
def test_other_settings_are_refused_with_what_differs(tmp_path, settings, difference):
    with opened(tmp_path, model="m", optim={"lr": 0.1}) as run:
        run.append([{"id": "a"}])
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(RunError) as raised:
        opened(tmp_path, **settings)
    assert difference in str(raised.value)
    assert "use run=OTHER" in str(raised.value)
    assert (tmp_path / "config.json").read_bytes() == before
    opened(tmp_path, model="m", optim={"lr": 0.1}).close()  # the refusal let go of the lock


def test_the_folder_of_another_verb_is_refused(tmp_path):
    with opened(tmp_path) as run:
        run.append([{"id": "a"}])
    with pytest.raises(RunError, match="holds a run of `llemma eval`"):
        open_run(tmp_path, "train", {})


def test_a_second_process_is_refused_until_the_first_ends(tmp_path):
    program = (
        "import sys; from llemma.run import open_run; open_run(__import__('pathlib').Path(sys.argv[1]), 'eval', {})"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with opened(tmp_path):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "another process is writing to this run folder" in done.stderr
        with pytest.raises(RunError, match="another process"):
            opened(tmp_path)
    subprocess.run(command, check=True)


def disk_full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_threads_that_write_one_file_do_not_disturb_each_other(tmp_path):
    both = threading.Barrier(2, timeout=30)

    def write(letter: bytes) -> None:
        with atomic_file(tmp_path / "x") as file:
            both.wait()
            for _ in range(100):
                file.write(letter)
                file.flush()
            both.wait()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, (b"a", b"b")))
    assert (tmp_path / "x").read_bytes() in (b"a" * 100, b"b" * 100)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_atomic_write_leaves_the_old_file_when_the_disk_is_full(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    atomic_write(path, "old")
    monkeypatch.setattr(os, "fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        atomic_write(path, "new and longer")
    with pytest.raises(OSError, match="No space left"):
        atomic_write(tmp_path / "never.json", "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_rows_that_did_not_reach_the_disk_are_neither_kept_nor_counted_as_done(tmp_path, monkeypatch):
    with opened(tmp_path) as run:
        run.append([ROWS[0]])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", disk_full)
            with pytest.raises(OSError, match="No space left"):
                run.append(ROWS[1:])
        assert run.ids == {"a"}
        assert list(run.rows()) == [ROWS[0]]
        run.append(ROWS)  # space was freed: the same rows go in, once
        assert list(run.rows()) == ROWS


def test_half_a_line_written_to_a_full_disk_is_taken_back(tmp_path):
    # A real limit on the file's size: the kernel writes what fits, then refuses.
    program = """
    import pathlib, resource, signal, sys
    from llemma.run import open_run
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with open_run(pathlib.Path(sys.argv[1]), "eval", {}) as run:
        run.append([{"id": "a"}])
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
        for name in "bc":
            try:
                run.append([{"id": name, "text": "x" * 5000}])
            except OSError:
                print("refused", name)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        run.append([{"id": "b"}, {"id": "c"}])
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused", "b", "refused", "c"]
    assert list(read_jsonl(tmp_path / "rows.jsonl")) == [{"id": "a"}, {"id": "b"}, {"id": "c"}]


WRITER = """
import os, pathlib, sys
from llemma.run import open_run
with open_run(pathlib.Path(sys.argv[1]), "eval", {"seed": 1}) as run:
    done = len(run.ids)
    print("open", flush=True)
    for i in range(100_000):
        # What is done already is offered again each time: it must not be stored twice.
        run.append({"id": str(k), "text": "é" * (k % 997)} for k in range(max(0, done + i - 2), done + i + 3))
        print(done + i + 2, flush=True)
"""


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_and_doubles_nothing(tmp_path):
    moments = random.Random(20231016)
    for _ in range(25):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n"
        time.sleep(moments.random() * 0.15)
        writer.send_signal(signal.SIGKILL)
        acknowledged = [int(line) for line in writer.stdout.read().splitlines() if line]
        writer.wait()
        writer.stdout.close()
        with open_run(tmp_path, "eval", {"seed": 1}) as run:
            stored = [row["id"] for row in run.rows()]
            assert stored == [str(k) for k in range(len(stored))]
            assert all(row["text"] == "é" * (int(row["id"]) % 997) for row in run.rows())
            assert not acknowledged or len(stored) > acknowledged[-1]
            assert (tmp_path / "rows.jsonl").read_bytes().count(b"\n") == len(stored)
    assert len(stored) > 25


def test_truncate_keeps_the_named_rows_and_the_run_goes_on(tmp_path):
    with opened(tmp_path) as run:
        run.append(ROWS)
        run.truncate(["a", "never seen"])
        assert run.ids == {"a"}
        run.append([ROWS[2]])
        assert list(run.rows()) == [ROWS[0], ROWS[2]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"id": 1}\n[1]\n', "rows.jsonl:2: expected a JSON object on each line"),
        (b'{"id": 1}\n\n{"id": \n', "rows.jsonl:3: not valid JSON"),
        (b'{"id": "\xff"}\n', "not UTF-8 text"),
        (b'{"id": ' + b"9" * 5000 + b"}\n", "rows.jsonl:1: not valid JSON"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, data, message):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError) as raised:
        list(read_jsonl(path))
    assert message in str(raised.value)


def test_missing_and_damaged_json_say_what_to_do(tmp_path):
    for read in (read_json, lambda path: list(read_jsonl(path))):
        with pytest.raises(DataError, match="no such file; check the path"):
            read(tmp_path / "none.json")
    (tmp_path / "torn.json").write_text('{"a": ')
    with pytest.raises(DataError, match="delete it and run the command again"):
        read_json(tmp_path / "torn.json")


def test_derived_files_and_the_log(tmp_path):
    with opened(tmp_path) as run:
        run.write_json("metrics.json", {"name": "é", "value": 0.1})
        run.log("first")
        run.log("second")
    assert read_json(tmp_path / "metrics.json") == {"name": "é", "value": 0.1}
    assert [line.split(" ", 1)[1] for line in (tmp_path / "log.txt").read_text().splitlines()] == ["first", "second"]


def test_small_helpers(tmp_path, monkeypatch):
    write_json(tmp_path / "x.json", [])
    assert json.loads((tmp_path / "x.json").read_text()) == []
    # sha256 of "[]\n"
    assert sha256_file(tmp_path / "x.json") == "37517e5f3dc66819f61f5a7bb8ace1921282415f10551d2defa5c3eb0985b570"
    monkeypatch.setattr(run_module, "_commit", lambda: None)
    assert "commit" not in versions()


def test_a_folder_in_which_nothing_was_done_takes_new_settings(tmp_path):
    open_run(tmp_path / "r", "eval", {"max_tokens": 999}).close()
    with open_run(tmp_path / "r", "eval", {"max_tokens": 9}) as run:
        run.append([{"id": "a"}])
    assert read_json(tmp_path / "r" / "config.json")["settings"] == {"max_tokens": 9}
    with pytest.raises(RunError, match="max_tokens: 9 there, 999 now"):
        open_run(tmp_path / "r", "eval", {"max_tokens": 999})


def test_what_a_killed_process_left_half_written_is_swept(tmp_path):
    open_run(tmp_path, "eval", {}).close()
    (tmp_path / ".metrics.json.123.part").write_text("{")
    open_run(tmp_path, "eval", {}).close()
    assert not list(tmp_path.glob(".*.part"))


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as caught:
        atomic_write(tmp_path / "x.json", "{}")
    assert str(tmp_path / "x.json") in explain(caught.value)

"""``llemma grade``: rows in, judgements out, in order; a bad row is one line that says where; memory stays flat."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llemma.cli import main
from llemma.config import resolve
from llemma.errors import DataError, LlemmaError
from llemma.grade import rows as rows_module
from llemma.grade.rows import GradeConfig, grade_rows, read_rows
from llemma.records import Event

COMMAND = [sys.executable, "-m", "llemma", "grade"]

ROWS = [
    {"id": "a", "prediction": "The answer is $\\frac12$.", "reference": "0.5"},
    {"id": 7, "prediction": "The answer is 3.", "reference": "2", "task": "gsm8k", "question": "1 + 1?"},
    {"id": "ü\u2028", "prediction": "", "reference": "2", "task": None},
    {"id": "numbers", "prediction": 18, "reference": 18.0},
]
VERDICTS = ["correct", "wrong", "unparsable", "correct"]


def lines(rows: list) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def file(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "answers.jsonl"
    path.write_text(lines(ROWS))
    return path


def parsed(text: str | bytes) -> list[dict]:
    text = text if isinstance(text, str) else text.decode()
    return [json.loads(line) for line in text.split("\n") if line]


def test_one_line_per_row_in_the_form_of_the_contract(file, capfdbinary):
    assert main(["grade", "answers.jsonl", "scorer=strict"]) == 0
    out, err = capfdbinary.readouterr()
    found = parsed(out)
    assert [list(row) for row in found] == [["id", "verdict", "answer", "reason"]] * 4
    assert [row["id"] for row in found] == ["a", 7, "ü\u2028", "numbers"]
    assert [row["verdict"] for row in found] == VERDICTS
    assert all(row["reason"] for row in found)
    summary = err.decode().splitlines()[-1]
    assert summary.startswith("grade: 4/4 pairs  pairs/s ")
    assert summary.endswith("2 correct, 1 wrong, 1 unparsable")
    assert main(["grade", "answers.jsonl", "--json"]) == 0
    assert capfdbinary.readouterr()[0] == out


@pytest.mark.parametrize("workers", [1, 2])
def test_standard_input_and_processes_give_the_same_lines(file, workers):
    file.write_text(lines(ROWS * 50))
    by_file = subprocess.run([*COMMAND, file.name, f"workers={workers}"], capture_output=True, check=True)
    assert [row["verdict"] for row in parsed(by_file.stdout)] == VERDICTS * 50
    by_pipe = subprocess.run(
        [*COMMAND, "-", f"workers={workers}"], input=file.read_bytes(), capture_output=True, check=True
    )
    assert by_pipe.stdout == by_file.stdout


def test_out_is_written_whole_and_standard_output_stays_empty(file, capfdbinary):
    assert main(["grade", "answers.jsonl", "out=graded.jsonl"]) == 0
    assert capfdbinary.readouterr()[0] == b""
    assert [row["verdict"] for row in parsed(Path("graded.jsonl").read_bytes())] == VERDICTS
    assert sorted(os.listdir()) == ["answers.jsonl", "graded.jsonl"]
    assert main(["grade", "answers.jsonl", "out=answers.jsonl"]) == 0  # the input is read to its end before
    assert [row["id"] for row in parsed(file.read_bytes())] == [row["id"] for row in ROWS]


def test_half_a_surrogate_pair_comes_back_as_it_was(file, capfdbinary):
    file.write_text(lines([{"id": "\ud83d", "prediction": "The answer is \ud83d.", "reference": "2"}]))
    assert main(["grade", "answers.jsonl"]) == 0
    assert parsed(capfdbinary.readouterr()[0])[0]["id"] == "\ud83d"


def test_an_empty_file_is_no_rows(file, capfdbinary):
    file.write_text("\n\n")
    assert main(["grade", "answers.jsonl"]) == 0
    out, err = capfdbinary.readouterr()
    assert out == b"" and b"no rows" in err


GOOD = '{"id": 1, "prediction": "2", "reference": "2"}\n'
BAD = [
    (
        '{"id": 1, "prediction": "2"}',
        "answers.jsonl:3: no 'reference'; a row has id, prediction, reference and perhaps",
    ),
    ('{"prediction": "2", "reference": "2"}', "answers.jsonl:3: no 'id'"),
    ('{"id": 1, "prediction": "2", "answer": "2"}', "found: id, prediction, answer"),
    ("{}", "found: nothing"),
    ('{"id": 1, "prediction": "2", "reference": null}', "answers.jsonl:3: 'reference' must be a text, not null"),
    ('{"id": 1, "prediction": ["2"], "reference": "2"}', "'prediction' must be a text, not [\"2\"]"),
    ('{"id": 1, "prediction": "2", "reference": true}', "'reference' must be a text, not true"),
    ('{"id": null, "prediction": "2", "reference": "2"}', "'id' must be a text or a whole number, not null"),
    ('{"id": 1.5, "prediction": "2", "reference": "2"}', "'id' must be a text or a whole number, not 1.5"),
    ('{"id": 1, "prediction": "2", "reference": "2", "task": 5}', "'task' must be a text, not 5"),
    ('{"id": 1, "prediction": "2", "ref', "answers.jsonl:3: not valid JSON"),
    ('["2"]', "answers.jsonl:3: expected a JSON object on each line"),
    ("[" * 100_000, "answers.jsonl:3: not valid JSON"),
    (b'{"id": "\xff"}', "answers.jsonl:3: not UTF-8 text"),
]


@pytest.mark.parametrize(("line", "message"), BAD, ids=[message[-40:] for _, message in BAD])
def test_a_bad_row_is_one_line_and_nothing_is_graded(file, line, message, capfdbinary):
    file.write_bytes((GOOD + "\n").encode() + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    for words in (["grade", "answers.jsonl"], ["grade", "answers.jsonl", "out=graded.jsonl"]):
        assert main(words) == 2
        out, err = capfdbinary.readouterr()
        assert out == b""
        assert err.count(b"\n") == 1 and err.startswith(b"llemma: ") and message in err.decode()
    assert os.listdir() == ["answers.jsonl"]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_row_in_a_pipe_stops_after_the_rows_before_it(workers):
    text = GOOD * 42 + "{}\n" + GOOD
    command = [*COMMAND, "-", f"workers={workers}"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(parsed(done.stdout)) == 42
    assert done.stderr.splitlines()[-1].startswith("llemma: /dev/stdin:43: no 'id'")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "missing key file"),
        (["none.jsonl"], "none.jsonl: no such file; check the path"),
        (["."], "this is a folder, a file was expected"),
        (["answers.jsonl", "scorer=lax"], "scorer=lax: must be one of strict, paper"),
        (["answers.jsonl", "workers=-1"], "workers=-1: must not be negative"),
        (["answers.jsonl", "workrs=2"], "unknown key workrs; did you mean workers?"),
        (["answers.jsonl", "out=."], "out=.: this is a folder, a file was expected"),
        (["answers.jsonl", "out=no/such/folder"], "no such file or folder; check the path"),
        (["answers.jsonl", "more.jsonl"], "no such file; check the path"),
    ],
)
def test_mistakes_are_one_line(file, words, message, capfdbinary):
    assert main(["grade", *words]) == 2
    out, err = capfdbinary.readouterr()
    assert out == b"" and err.count(b"\n") == 1 and message in err.decode()
    assert os.listdir() == ["answers.jsonl"]


def test_events_count_and_sum_up(file):
    seen: list[Event] = []
    config = resolve(GradeConfig, words=["file=answers.jsonl"])
    assert len(list(grade_rows(config, progress=seen.append))) == 4
    assert (seen[-1].stage, seen[-1].done, seen[-1].total) == ("grade", 4, 4)
    assert seen[-1].note == "2 correct, 1 wrong, 1 unparsable"
    assert seen[-1].figures["pairs/s"] > 0


def test_rows_are_read_one_at_a_time(file):
    file.write_text(GOOD + "no JSON\n")
    rows = read_rows(file)
    assert next(rows).prediction == "2"
    with pytest.raises(DataError, match=r"answers\.jsonl:2"):
        next(rows)


def test_a_grading_process_that_dies_is_one_line(file, monkeypatch):
    config = resolve(GradeConfig, words=["file=answers.jsonl", "workers=2"])
    monkeypatch.setattr(rows_module, "_grade_chunk", os.abort)  # takes no argument: fails in the process at once
    with pytest.raises(TypeError):
        list(grade_rows(config))
    monkeypatch.setattr(rows_module, "_serve", _die)
    with pytest.raises(LlemmaError, match="a grading process was killed"):
        list(grade_rows(config))


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def long(tmp_path) -> Path:
    """More rows than a pipe holds or anything here waits for."""
    path = tmp_path / "long.jsonl"
    path.write_text(GOOD * 200_000)
    return path


def graders(parent: int) -> set[int]:
    """The processes that ``parent`` started."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended in the meantime
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.add(int(stat.parent.name))
    return found


def gone(pids: set[int], seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_stopped_run_leaves_no_process_and_no_half_file(long, number):
    command = [*COMMAND, "-", "workers=2", f"out={long.parent / 'out.jsonl'}"]
    with (
        open(long, "rb") as given,
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=False) as process,
    ):
        process.stdin.write(given.read(2_000_000))
        process.stdin.flush()
        until = time.monotonic() + 60
        while len(started := graders(process.pid)) < 3 and time.monotonic() < until:
            time.sleep(0.05)
        assert len(started) >= 3  # two that grade, and the tracker of multiprocessing
        process.send_signal(number)
        code = process.wait(timeout=60)
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert gone(started)
    assert not (long.parent / "out.jsonl").exists()
    if number != signal.SIGKILL:
        assert sorted(os.listdir(long.parent)) == ["long.jsonl"]


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_the_run(long):
    for workers in (1, 2):
        command = " ".join([*COMMAND, "-", f"workers={workers}", "<", str(long), "| head -n 3; echo ${PIPESTATUS[0]}"])
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=100, check=True)
        *first, code = done.stdout.splitlines()
        assert len(first) == 3 and code == "141"
        assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_memory_does_not_grow_with_the_rows(tmp_path, workers):
    program = """
import resource, sys
from llemma.cli import main
code = main(["grade", *sys.argv[1:]])
print(max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
sys.exit(code)
"""
    peaks = []
    for count in (2_000, 100_000):
        path = tmp_path / "rows.jsonl"
        with open(path, "w") as file:
            for n in range(count):
                reason = "because " * 20
                file.write(lines([{"id": n, "prediction": f"{reason} The answer is {n}.", "reference": str(n)}]))
        command = [sys.executable, "-c", program, str(path), f"workers={workers}", f"out={tmp_path / 'out.jsonl'}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
        assert len((tmp_path / "out.jsonl").read_text().splitlines()) == count
        peaks.append(int(done.stdout) / 1024)
    assert peaks[1] - peaks[0] < 12, f"MiB at 2,000 and at 100,000 rows: {peaks}"


def test_a_sample_that_failed_is_judged(tmp_path):
    (tmp_path / "answers.jsonl").write_text('{"id": 1, "prediction": null, "reference": "2"}\n')
    config = GradeConfig(file=tmp_path / "answers.jsonl")
    assert [row["verdict"] for row in grade_rows(config)] == ["unparsable"]

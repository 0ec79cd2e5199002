"""bench/grade.py runs: its tables have every figure, a grader that hangs or dies is counted and replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[1] / "bench"
PAIRS = [
    {"id": "1", "kind": "answer", "policy": None, "prediction": "$\\frac{1}{2}$", "reference": "0.5", "label": True},
    {"id": "2", "kind": "answer", "policy": None, "prediction": "(1, 2)", "reference": "(2, 1)", "label": False},
    {"id": "3", "kind": "answer", "policy": "rounding", "prediction": "0.33", "reference": "1/3", "label": False},
    {"id": "4", "kind": "answer", "policy": None, "prediction": "7", "reference": "8", "label": True},  # a false label
    {
        "id": "5",
        "kind": "text",
        "policy": None,
        "prediction": "",
        "full_text": "####5",
        "reference": "5",
        "label": True,
    },
]


@pytest.fixture
def data(tmp_path) -> Path:
    (tmp_path / "grader_public.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    return tmp_path


def bench(data: Path, *words: str) -> str:
    environment = os.environ | {"LLEMMA_DATA": str(data)}
    command = [sys.executable, str(BENCH / "grade.py"), "peers=llemma", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_table_counts_what_it_should(data):
    out = bench(data, "votes=3", "samples=8", "calls=40", f"errors={data / 'errors.jsonl'}")
    assert "3 pairs, 2 of them equal; hard part 1, 0 of them equal; 1 texts" in out
    line = next(line for line in out.splitlines() if line.startswith("| llemma"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:5] == ["33.33% (0 / 1)", "0.00% (0 / 0)", "0", "0 / 0"]
    assert all(float(cell.replace(",", "")) > 0 for cell in cells[5:])
    assert [json.loads(line)["id"] for line in (data / "errors.jsonl").read_text().splitlines()] == ["4"]
    assert "3 made-up problems with 8 samples" in out and "**all but the making**" in out
    assert "| 40 |" in out


PEER = """
import os, sys, time
sys.path.insert(0, {bench!r})
import _peers

def load():
    def judge(prediction, reference):
        if prediction == "hang":
            time.sleep(600)
        if prediction == "die":
            os._exit(1)
        if prediction == "raise":
            raise KeyError("x")
        print("a grader may print")
        return prediction == reference
    return _peers.Grader(answer=judge)

_peers.PEERS["odd"] = _peers.Peer(package="numpy", install="", load=load)
import grade
if __name__ == "__main__":
    grade.__file__ = __file__
    if sys.argv[1:]:
        grade.main()
    else:
        pair = {{"kind": "answer", "policy": None, "reference": "x", "label": True}}
        pairs = [pair | {{"id": i, "prediction": i}} for i in ("x", "hang", "x", "die", "raise", "x", "y")]
        tally = grade.measure("odd", pairs, 1.5)
        print(tally.hangs, tally.raised, tally.rejects, tally.accepts, len(tally.cpu), max(tally.wall) >= 1.5)
"""


@pytest.mark.slow
def test_a_grader_that_hangs_dies_or_raises_is_counted_and_goes_on(tmp_path):
    program = tmp_path / "odd.py"
    program.write_text(PEER.format(bench=str(BENCH)))
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout == "1 2 4 0 6 True\n", done.stderr


@pytest.mark.skipif(
    not os.environ.get("LLEMMA_DATA"), reason="needs the public pairs: LLEMMA_DATA=FOLDER pytest tests/test_bench.py"
)
def test_the_hard_part_of_the_public_pairs_is_the_one_the_docs_speak_of(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    from grade import is_hard  # type: ignore[import-not-found]

    lines = (Path(os.environ["LLEMMA_DATA"]) / "grader_public.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = [pair for pair in map(json.loads, lines) if pair["policy"] is None and pair["kind"] == "answer"]
    assert (len(pairs), sum(map(is_hard, pairs))) == (1818, 748)


def test_plain_numbers_are_told_from_what_needs_thought(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    from grade import is_number  # type: ignore[import-not-found]

    plain = [
        "7",
        "-7.5",
        "$1{,}000$",
        "1,000",
        r"\frac{3}{4}",
        r"$\\frac34$",
        "3/4",
        "50\\%",
        r"\$5",
        "2e-7",
        ".5",
        "6.",
    ]
    for text in plain:
        assert is_number(text), text
    for text in [
        "x",
        "",
        "(1,2)x",
        r"\sqrt{2}",
        "1 or 2",
        "3 cm",
        r"\frac{x}{2}",
        "[1, 2]",
        "1, 2",
        "1,2",
        "2 1/2",
        r"2\pi",
        "1:2",
    ]:
        assert not is_number(text), text

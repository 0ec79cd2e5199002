"""The trained comparison of number encodings through the command line: its tables, and a kill amid the work."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llemma.cli import main
from llemma.config import resolve
from llemma.errors import ConfigError
from llemma.evaluate.numbers import Learner, _learners, _training, costs
from llemma.run import read_jsonl
from llemma.tokens.numbers.tasks import task
from llemma.tokens.settings import NumbersConfig

WORDS = (
    "encodings=digits,hybrid", "tasks=addition1", "seeds=1", "samples=240", "train.batch=20", "train.tests=20",
    "train.width=16", "train.layers=1", "train.heads=2", "train.points=2", "train.device=cpu", "train.warmup=2",
)  # fmt: skip


def rows(folder: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_jsonl(folder / "rows.jsonl")]


def test_costs_are_those_of_the_tokens():
    digits, hybrid, p10 = (costs(task("product5"), name) for name in ("digits", "hybrid", "p10"))
    assert 22 < digits.tokens < 23  # 5 + 1 + 5 + 1, 9 or 10, end mark
    assert hybrid.tokens == hybrid.longest == 6 and hybrid.answer == 2
    assert digits.refused is None and hybrid.refused is None
    assert p10.refused is not None and len(p10.refused) >= 9  # beyond 9.99e7


def test_number_token_losses_go_with_encodings_that_spell_digits():
    """A token for zero, which p1000 has, is no digit: asking for its loss ended the comparison."""
    config = resolve(NumbersConfig, words=("train.losses=usual,was", "encodings=p1000,fp15,digits,chunk3-r2l,xval"))
    assert [learner.name for learner in _learners(config)] == [
        "p1000", "fp15", "digits", "digits+was", "chunk3-r2l", "chunk3-r2l+was", "xval",
    ]  # fmt: skip


def test_abacus_learns_the_places_of_the_longer_numbers():
    of = task("addition3")
    offsets = {
        name: _training(NumbersConfig(), of, Learner(encoding=name), 0, costs(of, name)).numbers.offset
        for name in ("abacus", "digits")
    }
    assert offsets == {"abacus": 2, "digits": 0}


@pytest.mark.parametrize(
    "words",
    [
        ("train.width=30",),
        ("train.losses=",),
        ("train.reference=digit",),
        ("train.losses=ntl",),
        ("encodings=bpe:some/folder",),
    ],
)
def test_models_that_cannot_be_are_refused(words):
    with pytest.raises(ConfigError, match=words[0].partition("=")[0].rstrip("s")):
        resolve(NumbersConfig, words=words)


@pytest.mark.slow
def test_a_killed_comparison_goes_on_and_ends_as_if_it_had_not_been_killed(tmp_path, capsys):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = ["numbers", "compare", *WORDS, "train.losses=usual,was", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "llemma", *words, f"run={killed}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        while process.poll() is None and not trained(killed):
            time.sleep(0.002)
        assert process.poll() is None, "it ended before it could be killed"
    finally:
        process.kill()
        process.wait()
    before = (killed / "rows.jsonl").read_bytes()
    before = before[: before.rindex(b"\n") + 1]

    assert main([*words, f"run={whole}"]) == 0
    straight = json.loads(capsys.readouterr().out)["tasks"]
    assert main([*words, f"run={killed}"]) == 0
    resumed = json.loads(capsys.readouterr().out)["tasks"]
    after = (killed / "rows.jsonl").read_bytes()
    assert after.startswith(before) and rows(killed) == rows(whole)
    assert untimed(resumed) == untimed(straight)

    found = straight["addition1"]
    assert found["failed"] == {} and set(found["curves"]) == {"digits", "digits+was", "hybrid"}
    for view in ("samples", "tokens", "flops"):
        names = [line["encoding"] for line in found["views"][view]["test"]]
        assert set(names) == {"the truth to three figures", "predict the mean", "digits", "digits+was", "hybrid"}
        for line in found["views"][view]["test"]:
            assert line.get(view, 0) <= found["budgets"][view]
            assert line["exact"]["low"] <= line["exact"]["mean"] <= line["exact"]["high"]
    cost = {line["encoding"]: line for line in found["views"]["tokens"]["test"]}
    assert cost["hybrid"]["tokens"] > 0.9 * cost["digits"]["tokens"]

    assert main([*words, f"run={killed}"]) == 0  # nothing is done again
    assert (killed / "rows.jsonl").read_bytes() == after
    capsys.readouterr()
    assert main(["report", str(killed)]) == 0
    page = (killed / "report.html").read_text(encoding="utf-8")
    assert "equal FLOPs" in page and page.count("<svg") >= 5 and re.search(r"digits\+was", page)


def trained(folder: Path) -> int:
    """How many points of models have been measured."""
    path = folder / "rows.jsonl"
    return sum(b'"step": 0' not in line for line in path.read_bytes().splitlines()) if path.exists() else 0


def untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: untimed(v) for k, v in value.items() if k != "seconds"}
    return [untimed(each) for each in value] if isinstance(value, list) else value


@pytest.mark.slow
def test_what_an_encoding_cannot_write_is_a_line_and_words_have_a_loss(tmp_path, capsys):
    words = [w for w in WORDS if not w.startswith(("encodings", "tasks"))]
    words = ["numbers", "compare", "encodings=xval,fp15", f"run={tmp_path}", *words]
    assert main([*words, "tasks=product5,text", "train.reference=xval"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"product5: fp15 not trained: [0-9]{9,10} is outside its range", said)
    assert "text: equal FLOPs" in said
    tables = json.loads((tmp_path / "metrics.json").read_text())
    losses = {line["encoding"]: line.get("words_loss") for line in tables["text"]["views"]["samples"]["test"]}
    assert 0 < losses["xval"]["mean"] < 10 and losses["the truth to three figures"] is None


def test_the_places_of_abacus_alone_are_shifted(tmp_path, capsys):
    words = [word for word in WORDS if not word.startswith("encodings")]
    words += ["encodings=abacus,digits-reversed", "train.reference=digits-reversed", "train.offset=3"]
    assert main(["numbers", "compare", *words, f"run={tmp_path}", "--json"]) == 0
    capsys.readouterr()
    offsets = {
        name: json.loads((tmp_path / "models" / "addition1" / f"{name}-0" / "config.json").read_text())["settings"][
            "numbers"
        ]["offset"]
        for name in ("abacus", "digits-reversed")
    }
    assert offsets == {"abacus": 3, "digits-reversed": 0}
    with pytest.raises(ConfigError, match="offset"):
        resolve(NumbersConfig, words=["train.offset=-1"])

"""The tour from nothing to the report, in miniature; killed at random moments it ends with the same table.

``LLEMMA_KILLS`` sets how often (default 6).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SMALL = Path(__file__).resolve().parents[1] / "experiments" / "tour-small.toml"
KILLS = int(os.environ.get("LLEMMA_KILLS", "6"))

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "llemma", "tour", str(SMALL), f"run={folder}", "--json"]


def figures(folder: Path) -> list[dict]:
    return json.loads((folder / "summary.json").read_text())["table"]


def samples(path: Path) -> dict[str, tuple]:
    """Id → everything of a sample that does not depend on the clock."""
    found: dict[str, tuple] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        assert row["id"] not in found, f"{row['id']} is stored twice"
        found[row["id"]] = (
            row["prompt"],
            row["transcript"]["text"],
            row["transcript"]["finish"],
            row["grade"],
            row["seed"],
        )
    return found


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "LLEMMA_DATA"}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[Path, float]:
    folder = tmp_path_factory.mktemp("tour") / "whole"
    start = time.perf_counter()
    done = subprocess.run(command(folder), capture_output=True, text=True, env=environment(), timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["table"] == figures(folder)
    return folder, time.perf_counter() - start


def test_the_table_has_both_models_and_both_ways_of_answering(undisturbed):
    folder, _ = undisturbed
    table = figures(folder)
    found = {(row["task"], row["model"], row["metric"]) for row in table}
    for task in {row["task"] for row in table}:
        for model in ("base", "continued"):
            assert (task, model, "accuracy") in found
            assert any(t == task and m == model and metric.startswith("maj@") for t, m, metric in found)
    assert any(row["value"] > 0 for row in table if row["model"] == "continued"), "a table of zeros proves nothing"
    assert all(0 <= row["low"] <= row["value"] <= row["high"] <= 1 and row["n"] > 0 for row in table)


def test_theorems_are_proved_where_coq_is(undisturbed):
    told = json.loads((undisturbed[0] / "summary.json").read_text())["proofs"]
    if shutil.which("coqc") is None:
        assert told.startswith("no proofs: no coqidetop") and "apt-get install coq" in told
    else:
        assert told == "theorems proved and checked by coq: best_first 3 of 3, ladder 1 of 3"
        assert "double_is_sum" in (undisturbed[0] / "report.html").read_text(encoding="utf-8")


def test_the_report_stands_alone(undisturbed):
    page = (undisturbed[0] / "report.html").read_text(encoding="utf-8")
    assert "<math" in page and "<svg" in page
    assert "<script" not in page and " src=" not in page.replace(' src="data:', "")


def test_the_trained_model_is_the_one_that_transformers_loads(undisturbed):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    from llemma.models.checkpoint import load_model
    from llemma.tokens.tokenizer import load_tokenizer

    folder = undisturbed[0] / "continued" / "model"
    text = "Problem:\nConvert 12 dimes to cents.\n\nSolution:\n1 dime is 10 cents. 12*10=120.\n" * 3
    ids = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt").input_ids
    assert ids[0].tolist() == load_tokenizer(folder).encode(text)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        assert (load_model(folder)(ids) - theirs(ids).logits).abs().max().item() <= 1e-5


def test_a_finished_tour_does_nothing_again(undisturbed):
    folder, seconds = undisturbed
    rows = {p: p.stat().st_mtime_ns for p in folder.rglob("rows.jsonl")}
    models = {p: p.stat().st_mtime_ns for p in folder.rglob("*.safetensors")}
    before = figures(folder)
    start = time.perf_counter()
    subprocess.run(command(folder), capture_output=True, env=environment(), timeout=600, check=True)
    assert time.perf_counter() - start < max(20, seconds)
    assert figures(folder) == before
    assert {p: p.stat().st_mtime_ns for p in rows} == rows
    assert {p: p.stat().st_mtime_ns for p in models} == models


def test_killed_at_random_moments_it_ends_with_the_same_table(undisturbed, tmp_path):
    whole, seconds = undisturbed
    folder, rng, stages = tmp_path / "killed", random.Random(20), []
    # two kills in ten while Python and torch load, the others after the first sign of work: so every life of the
    # second kind gets somewhere, on a fast machine and on a slow one, and the kills spread over the stages
    for _ in range(KILLS):
        process = subprocess.Popen(
            command(folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(),
            start_new_session=True,
        )
        assert process.stderr is not None
        if rng.random() < 0.2:
            time.sleep(rng.uniform(0, 3))
        else:
            process.stderr.readline()
            time.sleep(rng.uniform(0, 2 * seconds / KILLS))
        stages.append(sum(1 for _ in folder.rglob("metrics.json")))
        with contextlib.suppress(ProcessLookupError):  # over already
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    done = subprocess.run(command(folder), capture_output=True, text=True, env=environment(), timeout=600, check=False)
    assert done.returncode == 0, f"stages reached when killed: {stages}\n{done.stderr}"
    assert len(set(stages)) >= 2, f"the kills fell into too few stages: {stages}"
    print("stages finished at each kill:", stages)
    assert figures(folder) == figures(whole)
    assert not list(folder.rglob("*.part"))
    for name in ("base", "continued"):
        weights = [(f / name / "model" / "model.safetensors").read_bytes() for f in (folder, whole)]
        assert weights[0] == weights[1]
    for path in whole.glob("eval-*/rows.jsonl"):
        assert samples(folder / path.parent.name / path.name) == samples(path)

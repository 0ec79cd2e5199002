"""bench/claim.py runs at a small size: every model is made and measured, and a second call does nothing again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llemma.run import read_json

ROOT = Path(__file__).resolve().parents[1]
SMALL = """
base_steps = 2
continued_steps = 2
sft_steps = 2
problems = 2
valid_rows = 2
examples = 30
context = 128
batch_size = 2
max_tokens = 4
families = ["addition"]
[model]
hidden_size = 16
intermediate_size = 16
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 2
[corpus.tokenizer]
vocab_size = 400
[corpus.sources.prose.options]
max_bytes = 400_000
[corpus.sources.stdlib.options]
max_bytes = 400_000
[corpus.sources.papers.options]
max_bytes = 200_000
[corpus.sources.code.options]
max_bytes = 900_000
[corpus.sources.web.options]
families = ["addition"]
count = 300
[mixtures.4-2-1]
papers = 1
web = 1
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_claim_runs_at_a_small_size_and_goes_on_where_it_was(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    settings = [str(ROOT / "bench" / "claim.toml"), str(tmp_path / "small.toml")]
    command = [sys.executable, str(ROOT / "bench" / "claim.py"), *settings, f"run={tmp_path / 'run'}", "workers=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    outputs = []
    for more in ("seeds=0,1", "only=1"):
        done = subprocess.run(
            [*command, more], capture_output=True, text=True, env=environment, timeout=250, check=False
        )
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    assert outputs[0].count(" s\n") == 16 and outputs[1] == ""  # made once
    table = (tmp_path / "run" / "table.md").read_text()
    names = [f"{name}{end}" for end in ("", "-sft") for name in ("base", "2-4-1", "1-1-1", "4-2-1")]
    for name in names:
        assert sum(line.startswith(f"| {name} |") and line.count("±") >= 2 for line in table.splitlines()) == 2
    assert table.count("| 2-4-1-sft − base-sft | ") == 2 and "Student's t, 1 degrees of freedom" in table
    figures = read_json(tmp_path / "run" / "seed-1" / "2-4-1-sft" / "figures.json")
    assert set(figures["loss"]) == {"prose", "stdlib", "papers", "web", "code"}

"""The command answers at once: nothing heavy is imported before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

import llemma.cli

HEAVY = {
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "pyarrow",
    "scipy",
    "sympy",
    "matplotlib",
    "jinja2",
    "numba",
}
VERBS = tuple(llemma.cli.VERBS)
LIMIT = 0.3  # seconds, of the whole process

IMPORT = [sys.executable, "-c", "import llemma"]
HELP = [sys.executable, "-m", "llemma", "--help"]


def fastest(command: list[str], attempts: int = 30) -> float:
    """Wall seconds of the fastest attempt; stops at the first one under the limit."""
    best = float("inf")
    for _ in range(attempts):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        best = min(best, time.perf_counter() - start)
        if best < LIMIT:
            break
    return best


@pytest.mark.parametrize("command", [IMPORT, HELP], ids=["import llemma", "llemma --help"])
def test_starts_in_less_than_a_third_of_a_second(command):
    assert fastest(command) < LIMIT


@pytest.mark.parametrize("words", [None, ["--help"], ["list"], *([verb, "--help"] for verb in VERBS)], ids=str)
def test_nothing_heavy_is_loaded(words):
    program = f"""
import contextlib, io, json, sys
import llemma
words = {words!r}
if words is not None:
    from llemma.cli import main
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main(words)
print(json.dumps(sorted(m.partition(".")[0] for m in sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert not HEAVY & loaded
    # the help of a verb that counts tokens or bootstraps may load the module it configures, and numpy with it
    assert "numpy" not in loaded or words in (
        ["tour", "--help"],
        ["corpus", "--help"],
        ["dedup", "--help"],
        ["quality", "--help"],
        ["eval", "--help"],
    )

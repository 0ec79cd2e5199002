"""What every test shares: an offline environment and the command line as a subprocess."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

# Subprocesses find the package of this checkout, and no library tries the network or a display.
os.environ["PYTHONPATH"] = str(ROOT / "src")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["COLUMNS"] = "120"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # the workers share the cores

# A shell starts background jobs with Ctrl-C ignored, and every child inherits that; tests interrupt real processes.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Files that take longest. Several workers take whole files in this order (Makefile: --dist loadfile), so that what a
# file sets up is set up once, and no worker is left with the longest file when the others have nothing to do any more.
LONGEST = (
    "test_tour", "test_lean", "test_bad_input", "test_sandbox_attacks", "test_train", "test_library", "test_docs",
    "test_engine", "test_corpus_quality", "test_parallel", "test_sandbox", "test_prove_coq", "test_cli",
    "test_sft_claim", "test_prove_ray", "test_sandbox_command", "test_grade_hostile", "test_kills", "test_doctor",
    "test_coq_verdicts", "test_openai_backend", "test_bench", "test_tools", "test_worker", "test_html_hostile",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, the others as they were."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


settings.register_profile("llemma", deadline=None, derandomize=True)
settings.load_profile("llemma")


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def llemma(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``llemma("list", "tasks")`` runs the command in the test's folder and returns what it did."""

    def run(*words: str, timeout: float = 100) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "llemma", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=timeout, check=False)

    return run

"""docs/reproduction.md holds what the recorded files give, line by line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("LLEMMA_DATA"),
    reason="needs the recordings; enable with: LLEMMA_DATA=../shared/data python -m pytest tests/test_reproduction.py",
)
def test_the_page_states_what_the_recordings_give() -> None:
    script = ROOT / "bench" / "recorded.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    page = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8").splitlines()
    missing = [line for line in done.stdout.splitlines() if line.strip() and line not in page]
    assert missing == []
    for published in ("66.8", "32.2", "58.4", "40.2"):
        assert any(f"| {published} |" in line for line in page)

"""What is in the tree: no path of somebody's machine, no unfinished business, no file that has grown too long."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The needles are put together here, so that this file does not contain them.
MACHINE_PATH = re.compile(
    r"(?<![\w.~/$}:-])/(?:" + "|".join(["ho" + "me", "wo" + "rk", "ro" + "ot", "op" + "t", "Us" + "ers"]) + r")/\w"
)
UNFINISHED = re.compile(r"\b(?:" + "TO" + "DO|FIX" + "ME|XX" + "X" + r")\b")  # fmt: skip


def tree() -> list[Path]:
    """The text files git tracks or would track."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
        paths = [ROOT / name for name in names if name]
    except (OSError, subprocess.CalledProcessError):  # an unpacked source archive
        paths = [p for p in ROOT.rglob("*") if not {".venv", "runs", "dist"} & set(p.relative_to(ROOT).parts)]
    return [p for p in paths if p.is_file() and b"\0" not in p.read_bytes()[:8192]]


def hits(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in tree():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    return found


@pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="not a checkout")
def test_the_tree_is_seen():
    assert {"pyproject.toml", "README.md", "src/llemma/errors.py"} <= {str(p.relative_to(ROOT)) for p in tree()}


def test_no_path_of_a_machine():
    assert hits(MACHINE_PATH) == []


def test_nothing_is_left_to_be_done_in_a_comment():
    assert hits(UNFINISHED) == []


def test_the_needles_find_what_they_must():
    slash = "/"
    assert MACHINE_PATH.search(f"cd {slash}home{slash}me") and MACHINE_PATH.search(f'"{slash}work{slash}main"')
    assert not MACHINE_PATH.search("../opt/x") and not MACHINE_PATH.search("a/work/b")
    assert UNFINISHED.search("# " + "TO" + "DO: later") and not UNFINISHED.search("todo list")


def test_no_source_file_is_too_long():
    long = {p.name: n for p in (ROOT / "src").rglob("*.py") if (n := len(p.read_text().splitlines())) >= 600}
    assert long == {}


def test_installation_names_no_package_index():
    for name in ("Makefile", "constraints.txt", ".ci/run"):
        assert "://" not in (ROOT / name).read_text(), name


def test_the_ci_script_can_be_run():
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("\nmake test")


def test_constraints_pin_every_direct_dependency():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [line for lines in project["optional-dependencies"].values() for line in lines] + project["dependencies"]
    names = {re.split(r"[><=\[]", line)[0].lower() for line in wanted} - {"llemma"}
    names -= {"vllm"}  # GPUs only, not part of `all`: its version goes with the machine's CUDA
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [line.startswith("#") for line in lines[:3]] == [True, True, False]
    pinned = {}
    for line in lines[2:]:
        name, version = line.split("==")
        assert re.fullmatch(r"[0-9a-z.]+", version), line
        pinned[name.lower()] = version
    assert names - set(pinned) == set()

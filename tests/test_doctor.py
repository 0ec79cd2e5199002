"""``llemma doctor`` tells the truth about this machine, and every fault comes with its remedy."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llemma import doctor
from llemma.plugins import EXTRA_OF

# Hides packages from a fresh interpreter, their metadata included, as if they had never been installed.
HIDE = """
import importlib.metadata, sys
hidden = set({hidden!r})
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
real = importlib.metadata.version
def version(name):
    if name in hidden and {metadata!r}:
        raise importlib.metadata.PackageNotFoundError(name)
    return real(name)
importlib.metadata.version = version
sys.meta_path.insert(0, Blocker())
from llemma.cli import main
raise SystemExit(main({words!r}))
"""


def without(hidden: list[str], *words: str, cwd: Path, metadata: bool = True) -> subprocess.CompletedProcess[str]:
    program = HIDE.format(hidden=hidden, words=list(words), metadata=metadata)
    return subprocess.run(
        [sys.executable, "-c", program], cwd=cwd, capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture(scope="module")
def checks(tmp_path_factory) -> Callable[..., dict[str, dict]]:
    """``checks("torch", …)``: what the command says where these packages are hidden; takes seconds, so asked once."""
    folder = tmp_path_factory.mktemp("doctor")

    @functools.cache
    def told(*hidden: str, metadata: bool = True) -> dict[str, dict]:
        done = without(list(hidden), "doctor", "--json", cwd=folder, metadata=metadata)
        assert "Traceback" not in done.stderr, done.stderr
        found = json.loads(done.stdout)
        assert found["ok"] == (done.returncode == 0)
        return {check["name"]: check for check in found["checks"]}

    return told


SOME = ("torch", "tokenizers", "jinja2", "latex2mathml", "scipy")  # a part of what each extra brings


def test_this_machine_is_ready():
    """The test machine has every extra: a needed check that fails here is a wrong check."""
    found = doctor.examine()
    assert not [check for check in found if check.needed and not check.ok]
    assert {"python", "machine", "extra [train]", "extra [page]", "mathematical code", "disk"} <= {
        c.name for c in found
    }


def test_the_sandbox_is_named_with_its_tier(tmp_path):
    from llemma.sandbox import tiers

    best = tiers.best()
    found = {check.name: check for check in doctor.examine(tmp_path)}
    assert found["grading worker"].ok == bool(best.name) == found["walls for provers"].ok
    assert found["sandbox"].ok == bool(best.name) and f"tier {best.name}" in found["sandbox"].detail
    assert [name for name in found if name.startswith("sandbox with")] == [
        f"sandbox {'with' if tier == 'T1' else 'without'} namespaces ({tier})" for tier, _, _ in best.missing
    ]


@pytest.mark.slow
@pytest.mark.parametrize("hidden", [(), SOME, (*EXTRA_OF, "scipy")], ids=["nothing", "some", "all"])
def test_a_fault_has_a_remedy_and_what_works_has_none(checks, hidden):
    assert len(checks(*hidden)) > 6
    for check in checks(*hidden).values():
        assert check["detail"]
        assert bool(check["remedy"]) != check["ok"], check


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hidden", "name", "remedy"),
    [
        (["torch", "tokenizers"], "extra [train]", 'pip install "llemma[train]"'),
        (["jinja2", "latex2mathml"], "extra [page]", 'pip install "llemma[page]"'),
        (["scipy"], "mathematical code", 'pip install "llemma[tour]"'),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_brings_it(checks, hidden, name, remedy):
    check = checks(*SOME)[name]
    assert not check["ok"]
    assert all(package in check["detail"] for package in hidden)
    assert not any(package in check["detail"] for package in SOME if package not in hidden)
    assert check["remedy"] == remedy


@pytest.mark.slow
def test_a_package_that_is_there_but_does_not_load_is_no_crash(checks):
    found = checks("torch", metadata=False)
    assert not found["training"]["ok"]
    assert "No module named 'torch'" in found["training"]["detail"]
    assert "pip install" in found["training"]["remedy"]


@pytest.mark.slow
def test_without_torch_nothing_is_said_of_gpus(checks):
    assert not {"GPU", "bf16 on the CPU"} & checks(*SOME).keys()


def write_recipe(folder: Path) -> None:
    (folder / "recipe.toml").write_text('run = "corpus"\n[sources.generated]\noptions.count = 5\n')
    (folder / "train.toml").write_text('corpus = "corpus"\n')


@pytest.mark.parametrize(
    ("hidden", "words", "extra"),
    [
        ("tokenizers", ["corpus", "recipe.toml"], "train"),
        ("torch", ["train", "train.toml"], "train"),
        ("safetensors", ["train", "train.toml"], "train"),
        ("torch", ["eval", "generated:addition", "model=hf:somewhere"], "train"),
        ("jinja2", ["report", "."], "page"),
        ("latex2mathml", ["report", "."], "page"),
        ("torch", ["tour"], "train"),
    ],
)
def test_a_verb_that_misses_a_package_says_what_to_install(tmp_path, hidden, words, extra):
    write_recipe(tmp_path)
    done = without([hidden], *words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()
    assert len(last) == 1, done.stderr
    assert last[0] == f'llemma: {hidden} is not installed; install it with: pip install "llemma[{extra}]"'


@pytest.mark.parametrize(
    "words",
    [["--help"], ["list"], ["eval", "--help"], ["train", "--help"], ["tour", "--help"],
     pytest.param(["doctor"], marks=pytest.mark.slow)],
    ids=" ".join,
)  # fmt: skip
def test_what_needs_no_extra_works_without_them(tmp_path, words):
    done = without(list(EXTRA_OF), *words, cwd=tmp_path)
    assert done.returncode == (1 if words == ["doctor"] else 0), done.stderr
    assert done.stdout
    assert not done.stderr


def test_the_disk_is_that_of_the_folder_asked_about(tmp_path):
    check = next(c for c in doctor.examine(tmp_path / "not" / "yet") if c.name == "disk")
    assert str(tmp_path.resolve()) in check.detail


@pytest.mark.skipif(os.geteuid() != 0 or not Path("/proc/self").exists(), reason="needs root and /proc")
def test_a_folder_one_cannot_write_to_is_a_fault():
    check = next(c for c in doctor.examine(Path("/proc/self")) if c.name == "disk")
    assert not check.ok
    assert "run=FOLDER" in check.remedy or "free" in check.remedy


def test_benchmark_files_are_found_where_the_variable_points(tmp_path, monkeypatch):
    def check():
        return next(c for c in doctor.examine(tmp_path) if c.name == "benchmark files")

    monkeypatch.delenv("LLEMMA_DATA", raising=False)
    assert not check().ok and "LLEMMA_DATA" in check().remedy and not check().needed
    monkeypatch.setenv("LLEMMA_DATA", str(tmp_path))
    assert not check().ok and "no gsm8k_test.jsonl" in check().detail
    (tmp_path / "gsm8k_test.jsonl").write_text("{}\n")
    assert check().ok and not check().remedy

"""Proof search on a Ray cluster gives the rows and traces of one machine, also when a node is killed."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llemma.config import resolve
from llemma.prove.config import ProveConfig
from llemma.prove.prove import prove
from proving import many, toy_file
from test_prove import traces, verdicts


def search() -> list[str]:
    """The words of the search in ``on_ray.py``, which cannot be imported without Ray."""
    text = (Path(__file__).parent / "on_ray.py").read_text()
    assigned = next(line for line in text.splitlines() if line.startswith("SEARCH = "))
    return list(ast.literal_eval(assigned.removeprefix("SEARCH = ")))


def test_without_ray_the_command_that_installs_it_is_said(tmp_path, llemma):
    if importlib.util.find_spec("ray") is not None:
        pytest.skip("ray is installed")
    toy_file(tmp_path / "x.toy", {"a": "p -> p"})
    done = llemma("prove", "x.toy", "engine=ray")
    assert done.returncode == 2 and 'install it with: pip install "llemma[ray]"' in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason='needs Ray: pip install -e ".[ray]"')
def test_a_cluster_that_loses_a_node_ends_with_the_rows_of_one_machine(tmp_path, root):
    source = toy_file(tmp_path / "many.toy", many(40))
    prove(resolve(ProveConfig, words=[f"source={source}", f"run={tmp_path / 'here'}", *search()]))
    command = [
        sys.executable,
        str(root / "tests" / "on_ray.py"),
        str(source),
        str(tmp_path / "there"),
        str(tmp_path / "told"),
    ]
    environment = {**os.environ, "RAY_DISABLE_DOCKER_CPU_WARNING": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads((tmp_path / "told").read_text())
    assert told["errors"] == 0 and told["alive"] == 2 and 5 <= told["killed_at"][0] < 120, told
    assert verdicts(tmp_path / "there") == verdicts(tmp_path / "here")
    assert traces(tmp_path / "there") == traces(tmp_path / "here")


def test_one_file_knows_ray(root):
    calls = ("import ray\n", "from ray ", 'import_module("ray")')
    found = {path.name for path in (root / "src").rglob("*.py") if any(call in path.read_text() for call in calls)}
    assert found == {"cluster.py"}

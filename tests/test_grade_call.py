"""``llemma.grade`` is a function and a package, whatever was imported first."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys

import pytest

import llemma

ORDERS = [
    "import llemma; f = llemma.grade",
    "from llemma import grade as f",
    "import llemma.grade as f",
    "import llemma, llemma.grade; f = llemma.grade",
    "import llemma.grade.vote, llemma; f = llemma.grade",
    "from llemma.grade.vote import majority; import llemma; f = llemma.grade",
    "import llemma; f = llemma.grade; import llemma.grade.extract; assert llemma.grade is f",
    "from llemma.evaluate.metrics import metrics_of; import llemma; f = llemma.grade",
    "from llemma import *; f = grade",
    "import importlib; f = importlib.import_module('llemma.grade')",
]


@pytest.mark.parametrize("order", ORDERS)
def test_it_can_be_called_and_has_parts(order):
    program = f"""{order}
grade = f("The answer is $\\\\frac{{1}}{{2}}$.", "0.5")
assert (grade.verdict, type(grade).__name__) == ("correct", "Grade"), grade
assert f("The answer is 3.", reference="2", task=None).verdict == "wrong"
assert f(prediction="2", reference="2").verdict == "correct"  # a final answer alone
from llemma.grade import vote
import llemma.grade.extract
assert f.vote is vote and llemma.grade is f and llemma.grade.extract.extract("####5").text == "5"
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_says_how_it_is_called():
    signature = inspect.signature(llemma.grade)
    assert list(signature.parameters) == ["prediction", "reference", "task"]
    assert signature.parameters["task"].default is None
    assert "verdict" in (llemma.grade.__call__.__doc__ or "")


def test_it_travels_to_other_processes_and_is_not_copied():
    assert pickle.loads(pickle.dumps(llemma.grade)) is llemma.grade
    assert copy.deepcopy({"reward": llemma.grade})["reward"] is llemma.grade


def test_the_package_alone_loads_no_grader():
    program = "import llemma.grade, sys; print(sorted(m for m in sys.modules if m.startswith('llemma.')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['llemma.grade', 'llemma.records']"

"""Every public name resolves, on first use, to the object its home module defines."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import llemma


@pytest.mark.parametrize("name", llemma.__all__)
def test_every_exported_name_resolves(name):
    assert getattr(llemma, name) is not None
    assert name in dir(llemma)


@pytest.mark.parametrize("name", sorted(set(llemma.__all__) - {"__version__", "grade"}))
def test_an_export_is_the_object_of_its_home(name):
    home = importlib.import_module(f"llemma.{llemma._HOME[name]}")
    assert getattr(llemma, name) is getattr(home, name)
    assert getattr(llemma, name).__module__ == home.__name__


def test_grade_is_the_package_of_that_name():
    assert llemma.grade is importlib.import_module("llemma.grade")
    assert callable(llemma.grade)


def test_exports_are_named_once_and_an_unknown_name_is_an_attribute_error():
    assert len(set(llemma.__all__)) == len(llemma.__all__)
    with pytest.raises(AttributeError, match="module 'llemma' has no attribute 'nothing'"):
        _ = llemma.nothing


def test_importing_the_package_imports_no_part_of_it():
    program = "import sys, llemma; print([m for m in sys.modules if m.startswith('llemma.')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_is_the_one_pyproject_reads(root):
    pyproject = (root / "pyproject.toml").read_text(encoding="utf-8")
    assert 'path = "src/llemma/__init__.py"' in pyproject
    assert llemma.__version__.count(".") == 2

"""Plug-ins: a name is a file. The folder ``llemma/KIND`` is the registry of that kind.

A plug-in is a Python file (or package) whose name does not start with ``_``; its docstring's first line
is its description. A path ending in ``.py`` names a plug-in outside the package. Nothing is imported
until it is loaded: listing reads docstrings only.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType

from llemma.config import setting
from llemma.errors import Caught, ConfigError, MissingDependency, boundary, nearest

KINDS = ("backends", "provers", "sources", "tasks")

# Which extra brings a third-party module that a plug-in or verb may lack.
EXTRA_OF = {
    "torch": "train",
    "transformers": "train",
    "tokenizers": "train",
    "safetensors": "train",
    "peft": "train",
    "jinja2": "page",
    "markupsafe": "page",
    "latex2mathml": "page",
    "matplotlib": "page",
    "tiktoken": "gpt",
    "ray": "ray",
    "vllm": "vllm",
    "py3langid": "corpus",
    "sentencepiece": "corpus",
    "pyarrow": "corpus",
    "selectolax": "corpus",
    "fastwarc": "corpus",
    "zstandard": "corpus",
    "numba": "corpus",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListConfig:
    """Settings of ``llemma list``."""

    kinds: tuple[str, ...] = setting((), "which kinds of plug-ins (default: all)")


def names(kind: str) -> list[str]:
    """The plug-in names of a kind (``"tasks"``, ``"sources"``, ``"backends"``), sorted."""
    return sorted(_files(kind))


def describe(kind: str) -> dict[str, str]:
    """Name → first line of the plug-in's docstring, without importing anything."""
    lines = {}
    for name, path in sorted(_files(kind).items()):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        lines[name] = doc.split("\n", 1)[0]
    return lines


def load(kind: str, name: str) -> ModuleType:
    """Import the plug-in ``name`` of a kind, or the file ``name`` when it ends in ``.py``.

    Raises ConfigError for an unknown name and MissingDependency when an optional package is absent.
    """
    if name.endswith(".py"):
        return _load_file(Path(name))
    if name not in _files(kind):
        raise ConfigError(f"unknown {kind[:-1]} {name!r}{nearest(name, _files(kind))}")
    return import_module(f"llemma.{kind}.{name}")


def import_module(module: str) -> ModuleType:
    """``importlib.import_module`` that names the extra to install when a package is missing."""
    with _named_extra():
        return importlib.import_module(module)


class _FromSource(importlib.machinery.SourceFileLoader):
    """Compiles the file as it is now. Python's cache takes two versions for one if they are equally long and written in
    the same second, as an edited plug-in may be."""

    def get_code(self, fullname: str) -> CodeType | None:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


@contextlib.contextmanager
def _named_extra() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in EXTRA_OF:
            raise MissingDependency(missing, install=f'pip install "llemma[{EXTRA_OF[missing]}]"') from error
        raise


def _files(kind: str) -> dict[str, Path]:
    if kind not in KINDS:
        raise ConfigError(f"unknown kind of plug-in {kind!r}{nearest(kind, KINDS)}")
    folder = Path(__file__).parent / kind
    found = {p.stem: p for p in folder.glob("*.py") if not p.stem.startswith("_")}
    found |= {p.parent.name: p for p in folder.glob("*/__init__.py") if not p.parent.name.startswith("_")}
    return found


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"{path}: no such plug-in file")
    where = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]  # two files may share a stem
    name = f"llemma_plugin_{path.stem}_{where}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_FromSource(name, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their own module up there
    loader = spec.loader

    def execute() -> None:
        with _named_extra():
            loader.exec_module(module)

    try:
        failed = boundary(execute)
    except BaseException:
        del sys.modules[spec.name]
        raise
    if isinstance(failed, Caught):
        del sys.modules[spec.name]
        raise ConfigError(f"{path}: this plug-in cannot be loaded: {failed}")
    return module

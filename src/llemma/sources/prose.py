"""English prose that lies on every machine with Python: help topics, package descriptions, docstrings.

A small stand-in for general text where no corpus can be fetched. Code examples inside are kept as they are.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import pydoc_data.topics
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import cast

from llemma.config import setting
from llemma.records import Document
from llemma.sources import code

MIN_CHARACTERS = 200  # shorter docstrings are mostly signatures, not sentences


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much, and whose docstrings."""

    packages: tuple[str, ...] = setting((code.STDLIB, "numpy", "networkx"), "packages whose docstrings are read")
    descriptions: bool = setting(True, "Python's help topics and the descriptions of installed distributions")
    licences: bool = setting(False, "the licences that came with installed distributions: English of another kind")
    max_bytes: int = setting(4_000_000, "stop after this many bytes of text (0: no limit)")


def documents(options: Options) -> Iterator[Document]:
    """Help topics, descriptions and licences of installed distributions, then docstrings, in a fixed order."""
    total = 0
    for name, text in _texts(options):
        size = len(text.encode("utf-8", "ignore"))
        if options.max_bytes and total + size > options.max_bytes:
            return
        total += size
        yield Document(id=name, text=text, source="prose", meta={"bytes": size})


def _texts(options: Options) -> Iterator[tuple[str, str]]:
    found = {d.metadata["Name"]: d for d in importlib.metadata.distributions() if d.metadata["Name"]}
    if options.descriptions:
        for topic, text in sorted(pydoc_data.topics.topics.items()):
            yield f"topic/{topic}", text
        for name in sorted(found):
            text = str(cast(Message, found[name].metadata).get_payload() or "")
            if len(text) >= MIN_CHARACTERS:
                yield f"package/{name}", text
    if options.licences:
        for name in sorted(found):
            yield from _licences(name, found[name])
    for file in code.documents(code.Options(packages=options.packages, max_bytes=0)):
        yield from _docstrings(file)


def _licences(name: str, distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, str]]:
    for file in sorted(distribution.files or (), key=str):
        if file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE")) and file.suffix != ".py":
            with contextlib.suppress(OSError, UnicodeDecodeError):
                text = Path(str(file.locate())).read_text(encoding="utf-8")
                if len(text) >= MIN_CHARACTERS:
                    yield f"licence/{name}/{file}", text


def _docstrings(file: Document) -> Iterator[tuple[str, str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in files that are not ours
            tree = ast.parse(file.text)
    except (SyntaxError, ValueError, RecursionError):  # test data of the standard library is broken on purpose
        return
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
            text = ast.get_docstring(node) or ""
            if len(text) >= MIN_CHARACTERS:
                yield f"doc/{file.id}:{getattr(node, 'lineno', 0)}", text

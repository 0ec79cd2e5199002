"""The rules of AlgebraicStack as its authors wrote them, taken from a checkout of EleutherAI/math-lm by name.

Only the functions about one file are taken, with the constants they read; what they import (datasets, PyGithub, …) and
the rest of the scripts stays out. The text of a file that is not there, or a name that has gone, is an error.
"""

from __future__ import annotations

import ast
import glob
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

STACK = {
    "r": "r_filter",
    "maple": "maple_filter",
    "gap": "gap_filter",
    "fortran": "fortran_filter",
    "idris": "idris_filter",
    "agda": "agda_filter",
    "haskell": "haskell_filter",
    "python": "python_map",
    "c": "c_filter",
    "cpp": "cpp_filter",
    "julia": "julia_filter",
    "tex": "tex_filter",
    "jupyter": "jupyter_notebook_filter",
}
GITHUB = {"coq": "filter_coq", "lean": "filter_lean", "isabelle": "filter_isabelle", "matlab": "filter_matlab"}
_FOLDER = Path("proof_pile_2", "algebraic_stack")


class Original:
    """The functions of the original; ``keeps`` gives a verdict as its pipeline would."""

    def __init__(self, checkout: Path, identifier: Any = None) -> None:
        """``identifier`` is what tells languages: langid's own or anything with ``classify(text) -> (code, …)``."""
        self._stack = _functions(checkout / _FOLDER / "process_stack.py")
        self._github = _functions(checkout / _FOLDER / "process_github.py")
        self._identifier = identifier
        self.density: Callable[[Mapping[str, Any]], float] = self._stack["numerical_density"]

    def keeps(self, language: str, text: str, path: str, repository: str) -> bool | None:
        """Whether the file is kept; None where the original raises."""
        try:
            if language in GITHUB:
                return bool(self._github[GITHUB[language]]({"text": text, "meta": {"path": path, "repo": repository}}))
            example = {"content": text, "max_stars_repo_path": path, "ext": path.rpartition(".")[2]}
            found = self._stack[STACK[language]]
            if language == "tex":
                return bool(found(example, self._identifier))
            if language == "julia":
                example["size"] = len(text.encode("utf-8"))
            answer = found(example)
            return bool(answer["include"] if language == "python" else answer)
        except (ZeroDivisionError, IndexError, UnicodeEncodeError):
            return None

    def without_theorems(self, language: str, text: str, path: str, theorems: Mapping[str, str]) -> str:
        """The text without test theorems: Lean's are given as file → name, Isabelle's as names (the keys)."""
        self._github["CACHE"].update(lean_names=dict(theorems), pisa_names=sorted(theorems))
        example = {"text": text, "meta": {"path": path}}
        return str(self._github[f"transform_{language}"](example)[0]["text"])


def _functions(path: Path) -> dict[str, Any]:
    """The functions and plain constants of a script, in a namespace of their own."""
    wanted = [node for node in ast.parse(path.read_text(encoding="utf-8")).body if _plain(node)]
    space: dict[str, Any] = {"re": re, "os": os, "json": json, "glob": glob, "Path": Path}
    exec(compile(ast.Module(body=wanted, type_ignores=[]), str(path), "exec"), space)
    return space


def _plain(node: ast.stmt) -> bool:
    """Whether a statement defines a function without decorator or a constant that needs no account."""
    if isinstance(node, ast.FunctionDef):
        return not node.decorator_list and node.name not in ("week_intervals", "main")
    return isinstance(node, ast.Assign) and "environ" not in ast.unparse(node)

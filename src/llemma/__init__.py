"""Llemma: turn a base language model into a language model for mathematics, use it and measure it.

Public names are loaded on first use (PEP 562), so that ``import llemma`` costs nothing. ``llemma.grade`` is both the
function that judges an answer and the package of its parts.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Completion": "records",
    "Document": "records",
    "Event": "records",
    "Execution": "records",
    "Failure": "records",
    "Goal": "records",
    "Grade": "records",
    "Metric": "records",
    "Problem": "records",
    "ProofState": "records",
    "Sample": "records",
    "Sampling": "records",
    "Step": "records",
    "Task": "records",
    "Theorem": "records",
    "Transcript": "records",
    "Verdict": "records",
    "VerdictLayer": "records",
    "BackendError": "errors",
    "ConfigError": "errors",
    "DataError": "errors",
    "LlemmaError": "errors",
    "MissingDependency": "errors",
    "ProverError": "errors",
    "RunError": "errors",
    "SandboxError": "errors",
    "Backend": "backends",
    "Request": "backends",
    "open_backend": "backends",
    "Prover": "provers",
    "open_prover": "provers",
}

__all__ = [*_HOME, "__version__", "grade"]  # noqa: PLE0604 - names are strings


def __getattr__(name: str) -> Any:
    if name == "grade":  # the module is the function; importing it puts it here
        return importlib.import_module("llemma.grade")
    if name in _HOME:
        return getattr(importlib.import_module(f"llemma.{_HOME[name]}"), name)
    raise AttributeError(f"module 'llemma' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

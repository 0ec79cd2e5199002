"""Runs Python we do not trust, in milliseconds, without root. Stops theft and damage; does not hide timing.

``run(code)`` runs one program, ``Session`` several in one namespace; ``tiers.best()`` says behind which walls.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llemma.sandbox.limits import Limits
    from llemma.sandbox.pool import Session, run, shut_down

_HOME = {"Limits": "limits", "Session": "pool", "run": "pool", "shut_down": "pool"}

__all__ = ["Limits", "Session", "run", "shut_down"]


def __getattr__(name: str) -> Any:  # on first use: a zygote imports this package and wants none of it
    if name in _HOME:
        return getattr(importlib.import_module(f"llemma.sandbox.{_HOME[name]}"), name)
    raise AttributeError(f"module 'llemma.sandbox' has no attribute {name!r}")

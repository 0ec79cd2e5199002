"""Plug-ins that complete prompts: what stands before the colon in ``model=hf:NAME`` is a file here.

A back end is a file here with ``open(target: str) -> Backend``; ``target`` is what stands after the colon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

from llemma import plugins
from llemma.errors import ConfigError
from llemma.records import Completion, Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One completion of one prompt. ``seed`` alone decides its random choices, whatever runs beside it."""

    prompt: str
    seed: int = 0


class Backend(Protocol):
    """Something that completes prompts. ``sampling.n`` is not looked at: one request, one completion."""

    @property
    def info(self) -> Mapping[str, str]:
        """Engine, version, model: stored with every run."""
        ...

    @property
    def batch(self) -> int:
        """How many requests it likes to get in one call."""
        ...

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """One completion per request, in order. Raises BackendError when the engine fails."""
        ...


def open_backend(spec: str) -> Backend:
    """The back end for ``KIND:TARGET``, e.g. ``hf:runs/tour/continued``. Raises ConfigError for a bad spec."""
    kind, colon, target = spec.partition(":")
    if not colon or not target:
        known = ", ".join(f"{name}:…" for name in plugins.names("backends"))
        raise ConfigError(f"model={spec!r} is not of the form KIND:TARGET; known kinds: {known}")
    module = plugins.load("backends", kind)
    if not hasattr(module, "open"):
        raise ConfigError(f"{kind} is not a back end: a back end file has open(target)")
    return cast(Backend, module.open(target))

"""Plug-ins that complete prompts: what stands before the colon in ``model=hf:NAME`` is a file here.

A back end is a file here with ``open(target: str) -> Backend``; ``target`` is what stands after the colon. One with
settings has a dataclass ``Options`` as well and ``open(target, options)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

from llemma import plugins
from llemma.config import build
from llemma.errors import Caught, ConfigError
from llemma.records import Completion, Sampling

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One completion of one prompt. ``seed`` alone decides its random choices, whatever runs beside it.

    ``question`` is the bare question in the prompt and ``k`` the number of the sample: a recording made with another
    prompt is found by them; an engine that generates does not look at them.
    """

    prompt: str
    seed: int = 0
    question: str = ""
    k: int = 0


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


@runtime_checkable
class Streaming(Protocol):
    """A back end whose completions do not depend on what runs beside them, and may come in any order."""

    def stream(
        self, requests: Iterable[tuple[T, Request]], sampling: Sampling
    ) -> Iterator[tuple[T, Completion | Caught]]:
        """The completion, or the failure, of each request under the name it came with; takes requests as it goes."""
        ...


@runtime_checkable
class Beam(Protocol):
    """A back end that can search for the likeliest completions of a prompt."""

    def beam(self, prompt: str, width: int, sampling: Sampling) -> list[Completion]:
        """The ``width`` best completions by beam search, the likeliest per token first; nothing in it is random."""
        ...


@runtime_checkable
class Recording(Protocol):
    """A back end that knows some problems only."""

    def covers(self, question: str) -> bool:
        """Whether a problem with this question is to be evaluated."""
        ...


def cut(text: str, stop: Sequence[str]) -> str:
    """The text before the first stop string."""
    found = [place for s in stop if (place := text.find(s)) >= 0]
    return text[: min(found)] if found else text


def open_backend(spec: str, options: Mapping[str, Any] | None = None) -> Backend:
    """The back end for ``KIND:TARGET``, e.g. ``hf:runs/tour/continued``; ConfigError for a bad spec or option."""
    kind, colon, target = spec.partition(":")
    if not colon or not target:
        known = ", ".join(f"{name}:…" for name in plugins.names("backends"))
        raise ConfigError(f"model={spec!r} is not of the form KIND:TARGET; known kinds: {known}")
    module = plugins.load("backends", kind)
    if not hasattr(module, "open"):
        raise ConfigError(f"{kind} is not a back end: a back end file has open(target)")
    if hasattr(module, "Options"):
        return cast(Backend, module.open(target, build(module.Options, options or {}, prefix="engine.")))
    if options:
        raise ConfigError(f"the back end {kind} has no options; leave out engine.{next(iter(options))}")
    return cast(Backend, module.open(target))

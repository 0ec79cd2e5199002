"""Lean 4: the ``lean`` of this machine or of a Lake project; tactics on saved states, verdicts by the kernel.

Text of a model runs in one process (the worker), verdicts are given in another (the judge) that sees only the trusted
statement and the declarations that came out. See ``docs/lean.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llemma.config import setting
from llemma.provers import Prover
from llemma.provers.lean.prover import LeanProver
from llemma.provers.lean.statements import read
from llemma.provers.lean.toolchain import find

__all__ = ["Options", "open", "read", "script"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the prover."""

    lean: Path | None = setting(None, "the lean program (default: $LLEMMA_LEAN, then the PATH)")
    project: Path | None = setting(None, "a Lake project, for its libraries (Mathlib)")
    imports: tuple[str, ...] = setting(("Init",), "modules for texts that import nothing")
    recycle: int = setting(0, "megabytes of memory at which a process is started anew (0: chosen by the build)")
    walls: str = setting("auto", "walls around the prover's processes: auto, T1, T2, or none")

    def __post_init__(self) -> None:
        if self.recycle < 0:
            raise ValueError(f"recycle={self.recycle}: must not be negative")


def open(options: Options) -> Prover:
    """The prover; its processes start when they are first needed. ProverError when there is no Lean."""
    return LeanProver(
        find(options.lean, options.project), imports=options.imports, recycle=options.recycle, walls=options.walls
    )


def script(tactics: Sequence[str]) -> str:
    """The tactics of a path as one block."""
    return "\n".join(tactics)

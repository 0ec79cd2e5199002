"""Puts the layers of a verdict together; runs nothing."""

from __future__ import annotations

import functools
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from llemma.provers.lean.judge import Finding
from llemma.provers.lean.toolchain import Toolchain
from llemma.records import Verdict, VerdictLayer


@dataclass(slots=True, kw_only=True)
class Hearing:
    """The layers gone through so far, in order; the first that fails ends the hearing."""

    began: float = field(default_factory=time.monotonic)
    layers: list[VerdictLayer] = field(default_factory=list)
    axioms: tuple[str, ...] = ()

    def add(self, name: str, ok: bool, detail: str) -> bool:
        """Note a layer; whether it was passed."""
        self.layers.append(VerdictLayer(name=name, ok=ok, detail=" ".join(detail.split())[:500]))
        return ok

    def verdict(self) -> Verdict:
        """Proved when every layer was reached and passed."""
        passed = {layer.name for layer in self.layers if layer.ok}
        complete = passed >= {"gate", "compile", "exists", "pinned", "axioms", "second", "kernel"}
        proved = complete and all(layer.ok for layer in self.layers)
        seconds = time.monotonic() - self.began
        return Verdict(proved=proved, axioms=self.axioms, layers=tuple(self.layers), seconds=seconds)


def findings(hearing: Hearing, found: Finding, name: str, toolchain: Toolchain) -> Hearing:
    """The layers that the judge's findings decide."""
    if found.refused:
        hearing.add("second", False, f"the declarations are not accepted again in a clean process: {found.refused}")
        return hearing
    if not hearing.add("pinned", not found.pinned, _pinned(found, name)):
        return hearing
    hearing.axioms = tuple(sorted((*found.axioms, *found.bad)))
    if not hearing.add("axioms", not found.bad, _axioms(found)):
        return hearing
    hearing.add(
        "second", True,
        f"{found.asked} declarations checked again by the kernel in a process that never saw the text"
        " (Lean's own kernel; no second implementation)",
    )  # fmt: skip
    hearing.add("kernel", True, bugs(toolchain))
    return hearing


def _pinned(found: Finding, name: str) -> str:
    clashes = f"; the text gives other meanings to {', '.join(found.clashes)}" if found.clashes else ""
    if found.pinned:
        return f"the kernel does not accept {name} as a proof of the trusted statement: {found.pinned}{clashes}"
    how = "the type is the trusted one to the letter" if found.identical else "the types are equal by definition"
    return f"the kernel accepts {name} as a proof of the trusted statement: {how}{clashes}"


def _axioms(found: Finding) -> str:
    if found.bad:
        return f"rests on {', '.join(found.bad)}, which is not on the white list"
    detail = ", ".join(found.axioms) or "none"
    if found.library:
        detail += f"; {found.library} declarations of the library are trusted, as this build ships them without bodies"
    return detail


@functools.cache
def _known() -> tuple[dict[str, str], ...]:
    text = Path(__file__).with_name("bugs.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)["bug"])


def bugs(toolchain: Toolchain) -> str:
    """The known bugs of this version's kernel, in a line."""
    mine = [bug for bug in _known() if not bug["fixed"] or toolchain.number < _number(bug["fixed"])]
    if not mine:
        return f"no bug of the kernel of {toolchain.version} is known to us that makes false theorems"
    listed = "; ".join(f"{bug['id']}: {bug['what']} (needs {bug['needs']})" for bug in mine)
    return f"known bugs of the kernel of {toolchain.version}: {listed}"


def _number(text: str) -> tuple[int, int, int]:
    a, b, c = (int(part) for part in text.split("."))
    return a, b, c

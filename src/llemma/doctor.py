"""What works on this machine, and for what does not, the cause and the remedy.

Looks only; changes and installs nothing. How long Lean takes to start is measured once and kept in the cache.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from llemma.config import setting
from llemma.errors import Caught, ProverError, SandboxError, boundary
from llemma.plugins import EXTRA_OF
from llemma.run import cores

_MIN_PYTHON = (3, 11)
TOUR_EXTRAS = {"train", "page"}
_TOUR_BYTES = 500_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorConfig:
    """Settings of ``llemma doctor``."""

    folder: Path = setting(Path(), "where runs would be written")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at. ``remedy`` is empty when ``ok``; ``needed`` says whether the tour needs it."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    needed: bool = True


def examine(folder: Path = Path()) -> list[Check]:
    """All checks, in the order to read them; ``folder`` is where runs would be written."""
    return [
        _python(),
        _machine(),
        *_packages(),
        *_torch(),
        *_sandbox(),
        _coq(),
        _lean(),
        _mathematical_packages(),
        _disk(folder),
        _data(),
    ]


def _python() -> Check:
    ok = sys.version_info >= _MIN_PYTHON
    return Check(
        name="python", ok=ok, detail=f"{platform.python_version()} ({sys.executable})",
        remedy="" if ok else "install Python 3.11 or newer",
    )  # fmt: skip


def _machine() -> Check:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Check(
        name="machine", ok=memory >= 2e9, detail=f"{cores()} cores, {memory / 1e9:.0f} GB memory, {platform.machine()}",
        remedy="" if memory >= 2e9 else "the tour needs 2 GB of memory",
    )  # fmt: skip


def _packages() -> list[Check]:
    checks = []
    for extra in sorted(set(EXTRA_OF.values())):
        wanted = [name for name, owner in EXTRA_OF.items() if owner == extra]
        missing = [name for name in wanted if _version(name) is None]
        shown = ", ".join(f"{name} {_version(name)}" for name in wanted if name not in missing)
        detail = shown if not missing else f"missing: {', '.join(missing)}"
        remedy = f'pip install "llemma[{extra}]"' if missing else ""
        needed = extra in TOUR_EXTRAS
        checks.append(Check(name=f"extra [{extra}]", ok=not missing, detail=detail, remedy=remedy, needed=needed))
    return checks


def _version(package: str) -> str | None:
    found = boundary(lambda: importlib.metadata.version(package))
    return None if isinstance(found, Caught) else found


def _torch() -> list[Check]:
    try:
        import torch

        from llemma.train.device import bf16_is_fast
    except ImportError as error:
        remedy = 'pip install --force-reinstall "llemma[train]"'
        return [Check(name="training", ok=False, detail=f"cannot be loaded: {error}", remedy=remedy)]
    gpu = torch.cuda.is_available()
    name = torch.cuda.get_device_name(0) if gpu else "none; models run on the CPU"
    fast = bf16_is_fast()
    return [
        Check(name="GPU", ok=gpu, detail=name, needed=False, remedy="" if gpu else "nothing to do for small models"),
        Check(
            name="bf16 on the CPU", ok=fast, needed=False,
            detail="native: training uses it" if fast else "not native: training runs in fp32, about 1.6 times slower",
            remedy="" if fast else "a CPU with AVX512-BF16 or AMX",
        ),
    ]  # fmt: skip


def _sandbox() -> list[Check]:
    from llemma.sandbox import tiers

    best = tiers.best()
    names = {"T1": "sandbox with namespaces", "T2": "sandbox without namespaces"}
    worse = [
        Check(name=f"{names[name]} ({name})", ok=False, detail=cause, remedy=remedy, needed=False)
        for name, cause, remedy in best.missing
    ]
    ok = bool(best.name)
    detail = f"tier {best.name}: {best.detail}; attacked before saying so" if ok else best.detail
    remedy = "" if ok else "what the next lines say, or sandbox=docker:IMAGE"
    grading = f"sympy grades behind the walls of {best.name}" if ok else "sympy grades in a plain process, your rights"
    return [
        Check(name="sandbox", ok=ok, detail=detail, remedy=remedy, needed=False),
        *worse,
        Check(name="grading worker", ok=ok, detail=grading, remedy="" if ok else "a sandbox", needed=False),
        *_commands(),
    ]


def _commands() -> list[Check]:
    from llemma.sandbox import command

    best = command.best()
    ok = bool(best.name)
    detail = f"tier {best.name}; attacked before saying so" if ok else "; ".join(cause for _, cause, _ in best.missing)
    return [Check(name="walls for provers", ok=ok, detail=detail, remedy="" if ok else "a sandbox", needed=False)]


def _coq() -> Check:
    from llemma.provers.coq import forkshim, install
    from llemma.provers.coq.bugs import affecting
    from llemma.provers.coq.check import walls

    found = boundary(install.find)
    if isinstance(found, Caught):
        return Check(name="Coq", ok=False, detail=found.message, remedy=install.REMEDY, needed=False)
    shim = forkshim.library()
    bugs = ", ".join(f"#{bug.issue}" for bug in affecting(found.numbers))
    detail = (
        f"{found.version}; {shim.detail if shim.path else f'states are replayed ({shim.detail})'};"
        f" coqc behind {walls('auto').partition(':')[0]}; known kernel bugs, kept out of verdicts: {bugs or 'none'}"
    )
    return Check(name="Coq", ok=True, detail=detail, needed=False)


def _lean() -> Check:
    from llemma.provers.lean.probe import cold_start
    from llemma.provers.lean.toolchain import INSTALL, find

    try:
        lean = find()
        start = cold_start(lean)
    except (ProverError, SandboxError) as error:
        return Check(name="Lean", ok=False, detail=str(error), remedy=INSTALL, needed=False)
    detail = f"{lean.version}, starts in {start.seconds:g} s (measured {start.date}), walls {start.walls}; {lean.lean}"
    return Check(name="Lean", ok=True, detail=f"{detail}; Mathlib: prover.project=FOLDER", needed=False)


def _mathematical_packages() -> Check:
    from llemma.sources.code import MATHEMATICAL

    missing = [name for name in MATHEMATICAL if _version(name) is None]
    return Check(
        name="mathematical code", ok=not missing,
        detail=f"missing: {', '.join(missing)}" if missing else ", ".join(MATHEMATICAL),
        remedy='pip install "llemma[tour]"' if missing else "",
    )  # fmt: skip


def _disk(folder: Path) -> Check:
    there = next(p for p in (folder.resolve(), *folder.resolve().parents) if p.exists())
    free, writable = shutil.disk_usage(there).free, os.access(there, os.W_OK)
    ok = writable and free >= _TOUR_BYTES
    remedy = "" if ok else "free 0.5 GB" if writable else "choose a folder you may write to with run=FOLDER"
    return Check(name="disk", ok=ok, detail=f"{free / 1e9:.1f} GB free in {there}", remedy=remedy)


def _data() -> Check:
    from llemma.tasks.gsm8k import available

    folder, found = os.environ.get("LLEMMA_DATA"), available()
    lacks = "" if found else ": no gsm8k_test.jsonl there"
    detail = f"LLEMMA_DATA={folder}{lacks}" if folder else "LLEMMA_DATA not set"
    remedy = "" if found else "set LLEMMA_DATA to a folder with gsm8k_test.jsonl to evaluate on GSM8K"
    return Check(name="benchmark files", ok=found, detail=detail, remedy=remedy, needed=False)

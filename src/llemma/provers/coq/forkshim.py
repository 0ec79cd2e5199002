"""Builds the shim that lets a running prover be cloned (``forkshim.c``), once per user and version of its source.

``library()`` gives the file, or says why there is none; states are then replayed instead, which is slower and no
different otherwise.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("forkshim.c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shim:
    """The library to preload (None when it cannot be had) and in words how that came."""

    path: Path | None
    detail: str


@functools.cache
def library() -> Shim:
    """The compiled shim, from the cache or compiled now with the system's C compiler (a second)."""
    if not sys.platform.startswith("linux"):
        return Shim(path=None, detail=f"cloning processes needs Linux, this is {sys.platform}")
    source = _SOURCE.read_bytes()
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llemma" / "coq"
    target = folder / f"forkshim-{hashlib.sha256(source + os.uname().machine.encode()).hexdigest()[:16]}.so"
    if target.exists():
        return Shim(path=target, detail=f"states are cloned processes ({target.name})")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return Shim(path=None, detail="no C compiler (cc) on PATH; install one: apt-get install gcc libc6-dev")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _build(compiler, target)
    except (OSError, subprocess.SubprocessError) as error:
        return Shim(path=None, detail=f"{compiler} could not build it: {error}")
    return Shim(path=target, detail=f"states are cloned processes ({target.name})")


def _build(compiler: str, target: Path) -> None:
    handle, name = tempfile.mkstemp(dir=target.parent, suffix=".so")
    os.close(handle)
    fresh = Path(name)
    try:
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", name, str(_SOURCE), "-ldl"]
        subprocess.run(command, check=True, capture_output=True, timeout=60, text=True)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)

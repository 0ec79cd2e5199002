"""The Coq (or Rocq) of this machine: its programs, version and library folders; starts nothing that stays."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from llemma.errors import ProverError

REMEDY = "install it (Debian, Ubuntu: apt-get install coq libcoq-coquelicot libcoq-mathcomp-ssreflect)"
OLDEST = (8, 16)
# What may be set by the user and changes where Coq finds its own files.
_KEPT = ("COQLIB", "COQCORELIB", "COQPATH", "ROCQLIB", "ROCQPATH", "OCAMLPATH", "CAML_LD_LIBRARY_PATH")


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Commands, each as its first words, and where the library lies."""

    top: tuple[str, ...]
    compile: tuple[str, ...]
    check: tuple[str, ...]
    version: str
    library: Path

    @property
    def numbers(self) -> tuple[int, ...]:
        """The version to compare by: ``8.16.1`` is (8, 16, 1)."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version)[:3])


def find(folder: Path | None = None) -> Programs:
    """The programs in ``folder`` or on PATH. Raises ProverError with the remedy when they are not there."""
    return _find("" if folder is None else str(folder), os.environ.get("PATH", ""))


@functools.cache
def _find(folder: str, path: str) -> Programs:
    where = folder or path
    top = _first(where, [["coqidetop.opt"], ["coqidetop"], ["rocqidetop.opt"], ["rocqidetop"]])
    compiler = _first(where, [["coqc"], ["rocq", "compile"]])
    checker = _first(where, [["coqchk"], ["rocqchk"], ["rocq", "check"]])
    missing = [name for name, found in (("coqidetop", top), ("coqc", compiler), ("coqchk", checker)) if found is None]
    if top is None or compiler is None or checker is None:
        place = folder or "PATH"
        raise ProverError(f"no {' and no '.join(missing)} on {place}; {REMEDY}, or give its folder with coq.folder=DIR")
    version = _said([*compiler, "--print-version"] if compiler[-1] != "compile" else [compiler[0], "-v"])
    number = re.search(r"\d+\.\d+(?:\.\d+)?(?:[+~]?\w+)?", version)
    library = Path(_said([*compiler, "-where"]).strip())
    if number is None or not library.is_dir():
        raise ProverError(f"{compiler[0]} does not say its version and library; is it Coq 8.16 or newer?")
    found = Programs(top=top, compile=compiler, check=checker, version=number[0], library=library)
    if found.numbers < OLDEST:
        raise ProverError(f"Coq {found.version} is too old: 8.16 or newer is needed; {REMEDY}")
    return found


def _first(where: str, choices: list[list[str]]) -> tuple[str, ...] | None:
    for words in choices:
        path = shutil.which(words[0], path=where)
        if path is not None:
            return (path, *words[1:])
    return None


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command,
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(),
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ProverError(f"{command[0]} cannot be run: {error}") from error
    return done.stdout


def environment() -> dict[str, str]:
    """The environment of every Coq process: where its files are, and little else."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": "/nonexistent", "LANG": "C.UTF-8", **kept}


def libraries(programs: Programs) -> dict[str, str]:
    """Installed packages that statements use and that decide what they mean, with a mark of their version."""
    found = {}
    for name in ("Coquelicot", "mathcomp", "Interval", "Flocq", "Stdlib"):
        folder = programs.library / "user-contrib" / name
        if folder.is_dir():
            found[name] = _mark(folder)
    return found


def _mark(folder: Path) -> str:
    """Sizes of the compiled files, added up: changes with any other version, and needs no package manager."""
    files = sorted(folder.rglob("*.vo"))
    return f"{len(files)} files, {sum(file.stat().st_size for file in files)} bytes"

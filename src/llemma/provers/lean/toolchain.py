"""Which Lean is here: a ``lean`` by option, ``$LLEMMA_LEAN`` or the PATH, or the one of a Lake project.

Runs ``lean --version`` and, for a project, ``lake env``; builds and downloads nothing.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from llemma.errors import ProverError

INSTALL = "install Lean 4 with elan (https://lean-lang.org/install), or say where one is: LLEMMA_LEAN=PATH or lean=PATH"
_KEPT = ("HOME", "PATH", "LANG", "LC_ALL", "ELAN_HOME", "ELAN_TOOLCHAIN", "LD_LIBRARY_PATH")
_OF_PROJECT = ("LEAN_PATH", "LEAN_SYSROOT", "LEAN_SRC_PATH", "LEAN_GITHASH", "LD_LIBRARY_PATH", "PATH", "LEAN")
_PATIENCE = 300.0  # seconds for a program to say its version; the first call of elan may install a toolchain


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A Lean that can be run: ``argv`` before its arguments, the environment it needs, where it is started.

    ``places`` are the folders it reads: its own, the project's, those of ``LEAN_PATH``. ``wasm``: a build whose files
    are all modules of which only the exported part is shipped.
    """

    lean: Path
    env: Mapping[str, str]
    places: tuple[Path, ...]
    line: str
    number: tuple[int, int, int]
    project: Path | None = None
    pinned: str = ""

    @property
    def wasm(self) -> bool:
        """Whether it is the build for WebAssembly."""
        return "wasm32" in self.line

    @property
    def version(self) -> str:
        """Number and commit; with a project, the hash of its toolchain and manifest too."""
        found = re.search(r"version ([^,\s)]+)", self.line)
        commit = re.search(r"commit ([0-9a-f]{7,40})", self.line)
        words = ["Lean", found.group(1) if found else "unknown", commit.group(1)[:12] if commit else ""]
        return " ".join(word for word in (*words, f"project {self.pinned}" if self.pinned else "") if word)


def find(lean: Path | None = None, project: Path | None = None) -> Toolchain:
    """The Lean to use. ProverError with the remedy when there is none, or when it does not answer."""
    if project is not None:
        return _of_project(project.expanduser().resolve(), lean)
    named = lean or (Path(os.environ["LLEMMA_LEAN"]) if os.environ.get("LLEMMA_LEAN") else None)
    where = shutil.which(str(named.expanduser())) if named else shutil.which("lean")
    if where is None:
        raise ProverError(f"{named}: no program is there; {INSTALL}" if named else f"there is no lean here; {INSTALL}")
    return _toolchain(Path(where).absolute(), _base_env(), None)


def _base_env() -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


@functools.lru_cache(maxsize=8)
def _asked(lean: Path, mtime: int, env: tuple[tuple[str, str], ...], cwd: Path | None) -> tuple[str, str]:
    version = _output([str(lean), "--version"], dict(env), cwd)
    prefix = _output([str(lean), "--print-prefix"], dict(env), cwd)
    return version, prefix


def _toolchain(lean: Path, env: dict[str, str], project: Path | None) -> Toolchain:
    line, prefix = _asked(lean, lean.stat().st_mtime_ns, tuple(sorted(env.items())), project)
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", line)
    if found is None or int(found.group(1)) != 4:
        raise ProverError(f"{lean}: not a Lean 4: --version says {line[:100]!r}; {INSTALL}")
    root = Path(prefix.strip())
    real = root / "bin" / "lean"
    paths = [Path(p) for p in env.get("LEAN_PATH", "").split(os.pathsep) if p]
    program = real if real.exists() else lean  # not elan's proxy, which would look around first
    places = {root, program.resolve().parent.parent, *(p for p in paths if p.exists()), *_helpers(program)}
    return Toolchain(
        lean=program,
        env={"LEAN_SYSROOT": str(root), **env},
        places=tuple(sorted(places)),
        line=" ".join(line.split()),
        number=(int(found.group(1)), int(found.group(2)), int(found.group(3))),
        project=project,
        pinned=_pins(project) if project else "",
    )


def _helpers(program: Path) -> list[Path]:
    """What a launcher that is a shell script runs to find its own folder."""
    with program.open("rb") as file:
        if file.read(2) != b"#!":
            return []
    return [Path(found) for name in ("readlink", "dirname") if (found := shutil.which(name))]


def _of_project(project: Path, lean: Path | None) -> Toolchain:
    if not any((project / name).is_file() for name in ("lakefile.lean", "lakefile.toml")):
        raise ProverError(f"{project}: not a Lake project: there is neither lakefile.lean nor lakefile.toml")
    lake = shutil.which("lake")
    if lake is None:
        raise ProverError(f"there is no lake on the PATH, which the project {project} needs; {INSTALL}")
    given = _base_env()
    env = given | {k: v for k, v in environment(lake, project, given).items() if k in _OF_PROJECT}
    named = lean or (Path(env["LEAN"]) if env.get("LEAN") else None)
    where = shutil.which(str(named)) if named else shutil.which("lean", path=env.get("PATH"))
    if where is None:
        raise ProverError(f"{project}: lake names no lean; run `lake build` there once, or say lean=PATH")
    env.pop("LEAN", None)
    return _toolchain(Path(where).absolute(), env, project)


def environment(lake: str, project: Path, env: Mapping[str, str]) -> dict[str, str]:
    """What ``lake env`` sets in the project: ``LEAN_PATH`` and the rest."""
    text = _output([lake, "env", "env", "-0"], env, project)
    return dict(entry.split("=", 1) for entry in text.split("\0") if "=" in entry)


def _pins(project: Path) -> str:
    """Changes when the toolchain, a dependency or the build settings change."""
    digest = hashlib.sha256()
    for name in ("lean-toolchain", "lake-manifest.json", "lakefile.lean", "lakefile.toml"):
        path = project / name
        digest.update(path.read_bytes() if path.is_file() else b"\0")
    return digest.hexdigest()[:12]


def _output(argv: list[str], env: Mapping[str, str], cwd: Path | None) -> str:
    try:
        done = subprocess.run(
            argv, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProverError(f"{argv[0]}: cannot be run: {error}; {INSTALL}") from error
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0 and "version 4." not in text:  # the build for WebAssembly ends with 24
        said = " ".join((done.stderr.decode("utf-8", "replace") or text).split())[-300:]
        raise ProverError(f"`{' '.join(argv)}` failed with exit code {done.returncode}: {said}")
    return text

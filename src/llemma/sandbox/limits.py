"""What a program may use (time, memory, threads, files, output), and the settings of ``llemma python``."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from llemma.config import setting

Value = Literal["auto", "last", "answer", "solution", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one program, or of one block of a session. Checked on construction; ValueError says which is wrong.

    Memory is what the program asks for beyond the libraries that are loaded for it. There is no network, no other
    process, no file but the Python libraries and, in tier T1, an empty scratch folder that vanishes with the program.
    """

    wall: float = setting(10.0, "seconds from start to end")
    cpu: float = setting(10.0, "seconds of processor time, rounded up")
    memory: int = setting(1024, "megabytes")
    threads: int = setting(16, "threads (tier T2: one)")
    file: int = setting(16, "megabytes of one file")
    files: int = setting(64, "open files")
    scratch: int = setting(64, "megabytes of all files in the scratch folder (tier T1; T2 has none)")
    output: int = setting(64, "kilobytes kept of each of stdout and stderr, first and last half")

    def __post_init__(self) -> None:
        for name in ("wall", "cpu"):
            if not (math.isfinite(getattr(self, name)) and 0 < getattr(self, name) <= 86_400):
                raise ValueError(f"{name}={getattr(self, name)}: must lie above 0 and at most at 86400 seconds")
        for name, least in (("memory", 16), ("threads", 1), ("file", 1), ("files", 16), ("scratch", 1), ("output", 1)):
            if not least <= getattr(self, name) <= 1_000_000:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least {least} and at most 1000000")


STANDARD = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonConfig:
    """Settings of ``llemma python``; the limits are those of ``Limits``."""

    program: str = setting(help="file with the program, - for standard input")
    value: Value = setting("auto", "what is reported as the value: the last expression, answer, solution(), or nothing")
    stdin: Path | None = setting(None, "file the program reads as its standard input; none: empty")
    sandbox: str = setting("auto", "auto, T1, T2, bubblewrap, docker:IMAGE, fusion:URL or unsafe-subprocess")
    wall: float = setting(STANDARD.wall, "seconds from start to end")
    cpu: float = setting(STANDARD.cpu, "seconds of processor time, rounded up")
    memory: int = setting(STANDARD.memory, "megabytes")
    threads: int = setting(STANDARD.threads, "threads (tier T2: one)")
    file: int = setting(STANDARD.file, "megabytes of one file")
    files: int = setting(STANDARD.files, "open files")
    scratch: int = setting(STANDARD.scratch, "megabytes of all files in the scratch folder (tier T2: no such folder)")
    output: int = setting(STANDARD.output, "kilobytes kept of each of stdout and stderr, first and last half")

    def __post_init__(self) -> None:
        _ = self.limits  # made once, so that what is wrong with them is said before anything runs

    @property
    def limits(self) -> Limits:
        """The limits among the settings."""
        return Limits(**{f.name: getattr(self, f.name) for f in fields(Limits)})

"""The errors llemma raises, and the one place where foreign exceptions become values.

Outcomes of a model (bad code, no answer) are never exceptions: they are records. What is here is for
mistakes of the user (``ConfigError``, ``DataError``), for a broken environment (``MissingDependency``,
``BackendError``, ``RunError``) and for ``boundary``, which lets a long run outlive one failing call.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")


class LlemmaError(Exception):
    """Root of the tree. ``str(error)`` is one line that says what is wrong, where, and what to do."""


class ConfigError(LlemmaError):
    """A setting, verb, key or plug-in name is wrong. Raised before any work starts."""


class DataError(LlemmaError):
    """A file holds something it must not. ``where`` is a path, with ``:line`` when there is one."""

    def __init__(self, message: str, *, where: str | Path | None = None) -> None:
        self.where = None if where is None else str(where)
        told = where is None or message.startswith(f"{where}: ")  # an error of the system names its file itself
        super().__init__(message if told else f"{where}: {message}")


class NotHere(DataError):
    """Input that is not on this machine: no such file or folder, or a folder with nothing of its kind."""


class MissingDependency(LlemmaError):
    """An optional package is not installed; ``install`` is the command that installs it."""

    def __init__(self, what: str, *, install: str) -> None:
        self.install = install
        super().__init__(f"{what} is not installed; install it with: {install}")


class RunError(LlemmaError):
    """A run folder cannot be used: other settings, another process, an unreadable file."""


class BackendError(LlemmaError):
    """A model back end failed. ``retryable`` says whether the same call may succeed later."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        self.retryable = retryable
        super().__init__(message)


class SandboxError(LlemmaError):
    """The sandbox cannot run programs here, or lost one; says nothing about the program itself."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        self.retryable = retryable
        super().__init__(message)


class ProverError(LlemmaError):
    """A prover cannot be used here, or its processes failed for reasons of their own; says nothing about a proof."""

    def __init__(self, message: str, *, retryable: bool = False) -> None:
        self.retryable = retryable
        super().__init__(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """An infrastructure failure kept as a value, so that it can be stored beside the sample."""

    kind: str
    message: str
    retryable: bool = False

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


def boundary(work: Callable[[], T]) -> T | Caught:
    """Run ``work``; an exception of the infrastructure comes back as ``Caught``.

    Settings the user must mend (``ConfigError``, ``MissingDependency``) and a full or read-only disk pass
    through: going on would fail the same way for every sample. So do ``KeyboardInterrupt`` and our own
    failed assertions.
    """
    try:
        return work()
    except (ConfigError, MissingDependency, RunError, AssertionError):
        raise
    except Exception as error:  # the one broad except of the package: see the docstring
        if isinstance(error, OSError) and error.errno in _DISK:
            raise
        retryable = bool(getattr(error, "retryable", False))
        return Caught(kind=type(error).__name__, message=explain(error), retryable=retryable)


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}

_REMEDY = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again, finished work is kept",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again, finished work is kept",
    errno.EACCES: "permission denied; change the permissions or choose another folder",
    errno.EPERM: "operation not permitted; change the permissions or choose another folder",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOENT: "no such file or folder; check the path",
    errno.EISDIR: "this is a folder, a file was expected",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.EEXIST: "already exists; choose another name or remove it",
    errno.EFBIG: "the file would pass the size limit of this process or file system; finished work is kept",
}


def explain(error: BaseException) -> str:
    """One line for a person: what failed, where, and what to do about it."""
    if isinstance(error, OSError) and error.errno in _REMEDY:
        where = error.filename2 or error.filename
        remedy = _REMEDY[error.errno]
        return f"{where}: {remedy}" if where else remedy
    text = " ".join(str(error).split())
    return text or type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """``"; did you mean X?"`` when a known name is close to ``name``, else the list of known names."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(names)}" if names else ""

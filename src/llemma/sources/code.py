"""Source files of installed Python packages, of the standard library, or of folders.

Reads; which files count as mathematical is decided by ``corpus.code_filter``. Files come in the order of a
hash of their name, so that a limit takes a sample of the whole and not the first letters of the alphabet.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from llemma.config import setting
from llemma.errors import ConfigError, DataError
from llemma.records import Document

STDLIB = "stdlib"
MATHEMATICAL = ("sympy", "numpy", "scipy", "mpmath", "networkx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which packages or folders, and how much of them."""

    packages: tuple[str, ...] = setting(MATHEMATICAL, "installed packages by import name; 'stdlib' for Python's own")
    folders: tuple[Path, ...] = setting((), "folders to read instead of or beside the packages")
    extensions: tuple[str, ...] = setting((".py",), "file name endings")
    max_bytes: int = setting(8_000_000, "stop after this many bytes of files (0: no limit)")
    max_file_bytes: int = setting(1_048_575, "leave out larger files")


def documents(options: Options) -> Iterator[Document]:
    """One document a file; the id is PACKAGE/path. Undecodable files are left out.

    Raises ConfigError for a package that is not installed, DataError for a folder that does not exist.
    """
    total = 0
    for name, path in sorted(_files(options), key=lambda item: hashlib.blake2b(os.fsencode(item[0])).digest()):
        size = path.stat().st_size
        if size > options.max_file_bytes:
            continue
        if options.max_bytes and total + size > options.max_bytes:
            continue  # a smaller file further on may still fit
        try:
            text = path.read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        total += size
        yield Document(id=name, text=text, source="code", meta={"bytes": size})


def _files(options: Options) -> Iterator[tuple[str, Path]]:
    folders: dict[str, Path] = {}
    for folder in options.folders:
        name = folder.resolve().name
        folders[name if name not in folders else f"{name}-{len(folders) + 1}"] = folder  # ids stay unique
    for name, root in [*((p, package_folder(p)) for p in options.packages), *folders.items()]:
        if not root.is_dir():
            raise DataError("no such folder", where=root)
        for path in root.rglob("*"):
            relative = path.relative_to(root)
            skip = "site-packages" in relative.parts or "__pycache__" in relative.parts
            if path.suffix in options.extensions and not skip and path.is_file():
                yield f"{name}/{relative.as_posix()}", path


def package_folder(package: str) -> Path:
    """The folder of an installed package (without importing it). Raises ConfigError when it is absent."""
    if package == STDLIB:
        return Path(sysconfig.get_path("stdlib"))
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"package {package!r} is not installed; install it with: pip install {package}")
    return Path(next(iter(spec.submodule_search_locations)))

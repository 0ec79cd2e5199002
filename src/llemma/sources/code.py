"""Source files: of installed packages, of the standard library, of folders, of git repositories at a commit.

Reads; which files count as mathematical is decided by ``corpus.code_filter``. Files come in the order of a
hash of their name, so that a limit takes a sample of the whole and not the first letters of the alphabet. Path,
repository, commit and licences stay in ``meta``.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import itertools
import os
import sysconfig
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from llemma.config import setting
from llemma.errors import ConfigError, MissingDependency, NotHere
from llemma.records import Document
from llemma.sources import _files, _git, _licences
from llemma.sources._files import UNREAD

STDLIB = "stdlib"
MATHEMATICAL = ("sympy", "numpy", "scipy", "mpmath", "networkx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which packages, folders or repositories, and how much of them."""

    packages: tuple[str, ...] = setting(MATHEMATICAL, "installed packages by import name; 'stdlib' for Python's own")
    folders: tuple[Path, ...] = setting((), "folders to read instead of or beside the packages")
    repositories: tuple[str, ...] = setting((), "git repositories, bare ones too: FOLDER or FOLDER@REVISION")
    extensions: tuple[str, ...] = setting((".py",), "file name endings, upper or lower case")
    licences: tuple[str, ...] = setting((), "only files under these: SPDX names, or permissive (default: all)")
    max_bytes: int = setting(8_000_000, "stop after this many bytes of files (0: no limit)")
    max_file_bytes: int = setting(1_048_575, "leave out larger files (counted)")
    part_bytes: int = setting(16_000_000, "bytes of files that one process reads at a time")
    only: tuple[str, ...] = setting((), "ids of the files to read (default: all)")

    def __post_init__(self) -> None:
        if self.part_bytes < 1:
            raise ValueError(f"part_bytes={self.part_bytes} must be at least 1")


class _Root(Protocol):
    """Files below one name."""

    name: str
    about: Mapping[str, Any]

    def files(self, extensions: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        """Path inside and size in bytes of the files with these endings."""

    def read(self, path: str, limit: int) -> bytes | None:
        """The content; None when it cannot be read or has more than ``limit`` bytes."""

    def licences(self, path: str) -> tuple[str, ...]:
        """What licences the files around say."""

    def stamp(self, path: str) -> Any:
        """What tells that the file has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """A file, and what becomes of it: a text, or a reason."""

    id: str
    size: int
    text: str = ""
    reason: str = ""
    meta: Mapping[str, Any]


def documents(options: Options, dropped: Counter[str] | None = None) -> Iterator[Document]:
    """One document a file; the id is PACKAGE/path. What is no UTF-8 or not wanted is counted in ``dropped``.

    Raises MissingDependency for a package that is not installed, NotHere for a folder that does not exist.
    """
    dropped = Counter() if dropped is None else dropped
    for file in _judged(options):
        if file.reason:
            dropped[file.reason] += 1
        else:
            yield Document(id=file.id, text=file.text, source="code", meta=file.meta)


def parts(options: Options) -> list[Options]:
    """The settings of parts of about ``part_bytes``, in the same order; they name the files and the commits."""
    if options.max_bytes:
        sizes = [(file.id, file.size) for file in _judged(options)]
    else:
        with contextlib.ExitStack() as stack:
            sizes = [(name, size) for name, size, _, _ in _ordered(options, stack)]
    pinned = replace(options, max_bytes=0, repositories=tuple(map(_pinned, options.repositories)))
    found: list[list[str]] = []
    total = 0
    for name, listed in sizes:
        size = listed if listed <= options.max_file_bytes else 0  # such a file is counted, not read
        if not found or (total and total + size > options.part_bytes):
            found.append([])
            total = 0
        found[-1].append(name)
        total += size
    return [replace(pinned, only=tuple(names)) for names in found]


def stamps(options: Options) -> Iterator[tuple[str, Any]]:
    """Id of every file with what tells that it has changed; repositories are read at the commit that a part names."""
    with contextlib.ExitStack() as stack:
        for root in _roots(replace(options, repositories=()), stack):
            for path, _ in root.files(_endings(options)):
                yield f"{root.name}/{path}", root.stamp(path)


def _endings(options: Options) -> tuple[str, ...]:
    return tuple(ending.lower() for ending in options.extensions)


def _pinned(entry: str) -> str:
    folder, revision = _git.split(entry)
    return f"{folder}@{_git.Repository(folder, revision).commit}"


def _judged(options: Options) -> Iterator[_File]:
    """The files that the limits leave, in order, read."""
    total = 0
    with contextlib.ExitStack() as stack:
        for name, size, root, path in _ordered(options, stack):
            if size > options.max_file_bytes:
                yield _File(id=name, size=size, reason=UNREAD, meta={})
                continue
            if options.max_bytes and total + size > options.max_bytes:
                continue  # a smaller file further on may still fit
            file = _read(root, name, path, size, options)
            total += 0 if file.reason else size
            yield file


def _read(root: _Root, name: str, path: str, size: int, options: Options) -> _File:
    data = root.read(path, options.max_file_bytes)
    if data is None:
        return _File(id=name, size=size, reason=UNREAD, meta={})
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _File(id=name, size=size, reason="not UTF-8", meta={})
    text = text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
    own = _licences.header(text)
    licences = (own,) if own else root.licences(path)
    if options.licences and not _licences.allowed(licences, options.licences):
        return _File(id=name, size=size, reason="licence not wanted" if licences else "no licence found", meta={})
    meta = {"bytes": len(data), "path": path, **root.about, **({"licences": list(licences)} if licences else {})}
    return _File(id=name, size=size, text=text, meta=meta)


def _ordered(options: Options, stack: contextlib.ExitStack) -> Iterator[tuple[str, int, _Root, str]]:
    """Id, size, root and path of the wanted files in the order of the hashes of their ids; or of those named."""
    roots = {root.name: root for root in _roots(options, stack)}
    if options.only:
        for name in options.only:
            above = (root for root in roots if name.startswith(f"{root}/"))
            root = max(above, key=len, default=None)
            if root is None:
                raise ConfigError(f"options.only={name}: below none of {', '.join(roots)}")
            yield name, 0, roots[root], name[len(root) + 1 :]
        return
    endings = _endings(options)
    found = [(f"{root.name}/{path}", size, root, path) for root in roots.values() for path, size in root.files(endings)]
    yield from sorted(found, key=lambda item: hashlib.blake2b(os.fsencode(item[0])).digest())


def _roots(options: Options, stack: contextlib.ExitStack) -> Iterator[_Root]:
    taken: set[str] = set()

    def free(name: str) -> str:
        numbered = (f"{name}-{n}" if n > 1 else name for n in itertools.count(1))
        taken.add(one := next(one for one in numbered if one not in taken))  # ids stay unique
        return one

    for package in options.packages:
        yield _Folder(free(package), package_folder(package), package)
    for folder in options.folders:
        yield _Folder(free(folder.resolve().name), folder)
    for entry in options.repositories:
        repository = _git.Repository(*_git.split(entry))
        stack.callback(repository.close)
        yield _Repository(free(repository.name), repository)


class _Folder:
    """The files of a folder or of an installed package."""

    def __init__(self, name: str, folder: Path, package: str = "") -> None:
        if not folder.is_dir():
            raise NotHere("no such folder", where=folder)
        self.name, self._folder, self._package = name, folder, package
        self.about: Mapping[str, Any] = {"package": package} if package else {}
        self._known: dict[Path, tuple[str, ...]] = {}

    def files(self, extensions: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        for path in self._folder.rglob("*"):
            relative = path.relative_to(self._folder)
            skip = "site-packages" in relative.parts or "__pycache__" in relative.parts
            if not skip and path.name.lower().endswith(extensions) and path.is_file():
                yield relative.as_posix(), path.stat().st_size

    def read(self, path: str, limit: int) -> bytes | None:
        try:
            with open(self._folder / path, "rb") as file:
                data = file.read(limit + 1)
        except OSError:
            return None
        return data if len(data) <= limit else None

    def licences(self, path: str) -> tuple[str, ...]:
        folder = (self._folder / path).parent
        while True:
            if found := self._licences_in(folder):
                return found
            if folder in (self._folder, folder.parent):
                break
            folder = folder.parent
        if self._package == STDLIB:
            return ("PSF-2.0",)
        return _licences.of_package(self._package) if self._package else ()

    def stamp(self, path: str) -> Any:
        if self._package:  # times change whenever it is installed, the files do not
            return (self._folder / path).stat().st_size
        return _files.stamp(self._folder / path)

    def _licences_in(self, folder: Path) -> tuple[str, ...]:
        if folder not in self._known:
            texts = (
                self.read(str(folder / name), 1 << 20)
                for name in sorted(os.listdir(folder))
                if _licences.is_licence(name)
            )
            self._known[folder] = _identified(texts)
        return self._known[folder]


class _Repository:
    """The files of a git repository at a commit."""

    def __init__(self, name: str, repository: _git.Repository) -> None:
        self.name, self._repository = name, repository
        self.about: Mapping[str, Any] = {"repository": repository.name, "commit": repository.commit}
        self._by_folder: dict[str, list[str]] | None = None
        self._known: dict[str, tuple[str, ...]] = {}

    def files(self, extensions: tuple[str, ...]) -> Iterator[tuple[str, int]]:
        wanted = [path for path in self._repository.files() if path.lower().endswith(extensions)]
        for path, size in zip(wanted, self._repository.sizes(wanted), strict=True):
            yield path, size or 0  # one that the clone lacks is met again when it is read

    def read(self, path: str, limit: int) -> bytes | None:
        data = self._repository.read(path)
        return data if data is not None and len(data) <= limit else None

    def stamp(self, path: str) -> Any:
        return self._repository.commit

    def licences(self, path: str) -> tuple[str, ...]:
        if self._by_folder is None:
            self._by_folder = {}
            for file in filter(_licences.is_licence, self._repository.files()):
                self._by_folder.setdefault(file.rpartition("/")[0], []).append(file)
        folder = path
        while folder:
            folder = folder.rpartition("/")[0]
            if folder in self._by_folder:
                if folder not in self._known:
                    self._known[folder] = _identified(map(self._repository.read, self._by_folder[folder]))
                if self._known[folder]:
                    return self._known[folder]
        return ()


def _identified(texts: Iterator[bytes | None]) -> tuple[str, ...]:
    names = (_licences.identify(data.decode("utf-8", "replace")) for data in texts if data)
    return tuple(dict.fromkeys(filter(None, names)))


def package_folder(package: str) -> Path:
    """The folder of an installed package (without importing it). Raises MissingDependency when it is absent."""
    if package == STDLIB:
        return Path(sysconfig.get_path("stdlib"))
    spec = importlib.util.find_spec(package) if package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency(f"package {package!r}", install=f"pip install {package}")
    return Path(next(iter(spec.submodule_search_locations)))

"""What the sources that read folders share: files in a fixed order with ids that last, text within a limit."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from llemma.errors import ConfigError, DataError, NotHere, explain

UNREAD = "unreadable or too large"  # why a file is left out that cannot be read, or exceeds the limit


def walk(paths: Sequence[Path], wanted: Callable[[str], bool], *, source: str) -> Iterator[tuple[str, Path]]:
    """Id and path of every wanted file, folders in sorted order, links left out; a file that is named is always wanted.

    The id is the folder's name and the path inside it, so that it lasts when the folder is moved. Two folders of one
    name get ``NAME-2/…``. Raises ConfigError without paths, NotHere for a path that does not exist, DataError for a
    folder that cannot be read.
    """
    if not paths:
        raise ConfigError(f"source {source} needs options.paths")
    taken: dict[str, int] = {}
    for path in paths:
        base = path.resolve().name
        taken[base] = taken.get(base, 0) + 1
        name = base if taken[base] == 1 else f"{base}-{taken[base]}"
        if path.is_file():
            yield name, path
        elif path.is_dir():
            for file in _below(path, wanted):
                yield f"{name}/{file.relative_to(path).as_posix()}", file
        else:
            raise NotHere("no such file or folder", where=path)


def _below(folder: Path, wanted: Callable[[str], bool]) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, onerror=_unreadable):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if wanted(name) and path.is_file() and not path.is_symlink():
                yield path


def _unreadable(error: OSError) -> None:
    raise DataError(explain(error), where=error.filename) from error


def stamp(path: Path) -> tuple[int, int]:
    """What tells that a file has changed, without reading it: its size and the time of its last change."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


def read_limited(path: Path, limit: int) -> bytes | None:
    """The bytes of a file, None when there are more than ``limit`` or it cannot be read."""
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except OSError:
        return None
    return None if len(data) > limit else data

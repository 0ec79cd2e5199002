"""The run folder: settings, append-only rows, derived files; safe against ``kill -9`` at any moment.

``config.json`` (settings, versions), ``rows.jsonl`` (the truth), ``metrics.json`` and anything else that can
be derived again, ``log.txt``. The same folder with the same settings resumes; other settings are refused.
What it does not do: decide what a row means.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import IO, Any

from llemma.errors import DataError, RunError

_EMPTY = {"config.json", ".lock", "log.txt"}  # what a run folder holds before any work is done
_PACKAGES = ("llemma", "numpy", "torch", "transformers", "tokenizers", "safetensors", "sympy")


def atomic_write(path: Path, data: bytes | str) -> None:
    """Write ``path`` beside, flush it to the disk, rename: the file exists complete or not at all."""
    with atomic_file(path) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write ``path`` into piece by piece: it takes its place at the end, and not at all after an error."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_native_id()}.part")  # threads may meet here too
    try:
        with naming(path):
            with open(beside, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, path)
    except OSError as error:
        if error.filename == str(beside):
            error.filename = str(path)  # the name that people know
        raise
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give errors of the disk (full, read-only) the name of the file; ``write`` and ``fsync`` leave it out."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """``value`` as indented JSON, written atomically."""
    atomic_write(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises DataError with the remedy when it is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError("no such file; check the path", where=path) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"damaged JSON ({error}); delete it and run the command again", where=path) from error


def cores() -> int:
    """The processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-lines file, in order; blank lines are skipped.

    Raises DataError with file and line for a line that is not a JSON object.
    """
    return (value for _, value in numbered_jsonl(path))


def numbered_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSON-lines file with the number of their line, from 1. Raises as ``read_jsonl``."""
    number = 0
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                value = json.loads(line.decode())
                if not isinstance(value, dict):
                    raise DataError("expected a JSON object on each line", where=f"{path}:{number}")
                yield number, value
    except FileNotFoundError as error:
        raise DataError("no such file; check the path", where=path) from error
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason}", where=f"{path}:{number}") from error
    except (ValueError, RecursionError) as error:  # no JSON, a number of more digits than Python reads, deep nesting
        raise DataError(f"not valid JSON: {getattr(error, 'msg', error)}", where=f"{path}:{number}") from error


class Run:
    """An open run folder; one process at a time holds it. Use ``with open_run(...) as run``."""

    def __init__(self, folder: Path, lock: IO[bytes]) -> None:
        self.folder = folder
        self._lock = lock
        self._file: FileIO | None = None
        self._ids: set[str] | None = None
        self._cut_torn_line()

    @property
    def rows_path(self) -> Path:
        return self.folder / "rows.jsonl"

    @property
    def ids(self) -> set[str]:
        """The ids of the stored rows; read when first asked for."""
        if self._ids is None:
            self._ids = {row["id"] for row in self.rows()}
        return self._ids

    def rows(self) -> Iterator[dict[str, Any]]:
        """Every stored row, in the order written."""
        return read_jsonl(self.rows_path) if self.rows_path.exists() else iter(())

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Store rows whose ``id`` is new (others are dropped: done work is never doubled); flushed at once."""
        fresh: dict[str, bytes] = {}
        for row in rows:
            if row["id"] not in self.ids and row["id"] not in fresh:
                fresh[row["id"]] = json_line(row)
        self.append_lines(fresh.values())
        self.ids.update(fresh)  # only what is on the disk counts as done

    def append_lines(self, lines: Iterable[bytes], *, sync: bool = True) -> None:
        """Store rows that ``json_line`` made and whose ids the caller knows to be new.

        Without ``sync`` they survive the death of the process, but not of the machine, until the next ``sync``.
        """
        data = b"".join(lines)
        if not data:
            return
        if self._file is None:
            self._file = open(self.rows_path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
        end = self._file.seek(0, os.SEEK_END)
        try:
            with naming(self.rows_path):
                left = memoryview(data)
                while left:
                    left = left[self._file.write(left) :]
                if sync:
                    os.fsync(self._file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                self._file.truncate(end)  # half a line must not be followed by another one
            raise

    def sync(self) -> None:
        """Flush what ``append_lines`` wrote to the disk."""
        if self._file is not None:
            with naming(self.rows_path):
                os.fsync(self._file.fileno())

    def log(self, text: str) -> None:
        """One line with the time, appended to ``log.txt``."""
        path = self.folder / "log.txt"
        with naming(path), open(path, "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")

    def write_json(self, name: str, value: Any) -> None:
        """A derived file of the run, written atomically."""
        write_json(self.folder / name, value)

    def replace_rows(self, lines: Iterable[bytes]) -> None:
        """Put these encoded rows, one by one, in the place of all rows; the old ones stay until the last is written."""
        self._close_file()
        with atomic_file(self.rows_path) as file:
            file.writelines(lines)
        self._ids = None

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Put other settings in the place of the stored ones: for what changes a run as a whole."""
        path = self.folder / "config.json"
        write_json(path, {**read_json(path), "settings": settings})

    def truncate(self, keep: Iterable[str]) -> None:
        """Keep only the rows with these ids (a trainer drops the rows after its last checkpoint)."""
        wanted = set(keep)
        kept = wanted & self.ids
        lines = [json_line(row) for row in self.rows() if row["id"] in wanted]
        self._close_file()
        atomic_write(self.rows_path, b"".join(lines))
        self._ids = kept

    def close(self) -> None:
        self._close_file()
        self._lock.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _cut_torn_line(self) -> None:
        """Cut what a killed process left half-written: everything after the last line break."""
        if not self.rows_path.exists():
            return
        with open(self.rows_path, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            end = size
            while end > 0:
                start = max(0, end - (1 << 16))
                file.seek(start)
                found = file.read(end - start).rfind(b"\n")
                if found >= 0:
                    end = start + found + 1
                    break
                end = start
            if end != size:
                file.truncate(end)
                os.fsync(file.fileno())


def json_line(row: Mapping[str, Any]) -> bytes:
    """One JSON line in readable UTF-8; escaped when a text holds half a surrogate pair, which UTF-8 cannot store."""
    try:
        return (json.dumps(row, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:
        return (json.dumps(row) + "\n").encode()


def open_run(
    folder: Path, verb: str, settings: Mapping[str, Any], *, free: Iterable[str] = (), grows: Iterable[str] = ()
) -> Run:
    """Create or resume the run folder of ``verb`` with these settings.

    ``free`` names settings (top-level ones, or dotted) that may differ on resume: they do not change the result.
    ``grows`` names top-level settings that say how much of it is wanted: the new value replaces the stored one.
    A folder in which nothing was done yet takes new settings: a mistake may be mended in place.
    Raises RunError when the folder belongs to other settings (and says which differ) or when another process
    holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = open(folder / ".lock", "ab")  # noqa: SIM115 - held for the life of the run
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise RunError(
            f"{folder}: another process is writing to this run folder; wait for it or use run=OTHER"
        ) from error
    try:
        path = folder / "config.json"
        for part in folder.glob(".*.part" if path.exists() else ".config.json.*.part"):
            if part.is_file():
                part.unlink()  # a killed process left it; this one holds the lock
        if path.exists() and any(entry.name not in _EMPTY for entry in folder.iterdir()):
            stored = read_json(path)
            _refuse_other(folder, stored, verb, settings, {*free, *grows})
            grown = {key: settings[key] for key in grows if key in settings}
            if any(stored["settings"].get(key) != value for key, value in grown.items()):
                write_json(path, {**stored, "settings": {**stored["settings"], **grown}})
        else:
            write_json(path, {"verb": verb, "settings": settings, "versions": versions()})
        return Run(folder, lock)
    except BaseException:
        lock.close()
        raise


def check_folders(folder: Path, names: Iterable[str]) -> None:
    """Raises RunError where ``folder`` is none of a run but holds what a run would overwrite or remove."""
    taken = next((name for name in names if (folder / name).exists()), None)
    if taken is not None and not (folder / "config.json").exists():
        raise RunError(f"{folder} already holds {taken}, which no run of llemma made; name another folder")


def make_folders(folder: Path, names: Iterable[str]) -> None:
    """Folders of a run that is held; files that a killed process has left half-written in them are removed."""
    for name in names:
        (folder / name).mkdir(exist_ok=True)
        for part in (folder / name).rglob(".*.part"):
            part.unlink(missing_ok=True)


def _refuse_other(
    folder: Path, stored: Mapping[str, Any], verb: str, settings: Mapping[str, Any], free: set[str]
) -> None:
    if stored.get("verb") != verb:
        raise RunError(f"{folder} holds a run of `llemma {stored.get('verb')}`; use run=OTHER for this one")
    old, new = dict(_flat(stored.get("settings", {}))), dict(_flat(settings))
    differing = [
        k for k in sorted(old.keys() | new.keys()) if old.get(k) != new.get(k) and not free & {k, k.split(".")[0]}
    ]
    if differing:
        shown = "; ".join(f"{k}: {old.get(k)!r} there, {new.get(k)!r} now" for k in differing[:5])
        more = f" and {len(differing) - 5} more" if len(differing) > 5 else ""
        raise RunError(f"{folder} holds a run with other settings ({shown}{more}); use run=OTHER or delete it")


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from _flat(item, f"{prefix}{key}.")
        else:
            yield prefix + str(key), list(item) if isinstance(item, tuple) else item


def versions() -> dict[str, str]:
    """Versions that decide results: Python, the packages, the machine, the commit when run from a checkout."""
    found = {"python": platform.python_version(), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    commit = _commit()
    return found | ({"commit": commit} if commit else {})


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"],
            capture_output=True, text=True, timeout=5, check=True,
        )  # fmt: skip
        return done.stdout.strip()
    return None

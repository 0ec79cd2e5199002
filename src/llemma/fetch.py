"""Files known by their sha256: looked for in LLEMMA_DATA and the cache, fetched from a pinned address if allowed.

A file counts only when its bytes have the hash that the code states, wherever it comes from. LLEMMA_DATA names a
folder of the user, which is only read; LLEMMA_CACHE (default: ``llemma`` in the user's cache folder) keeps what was
fetched. With LLEMMA_OFFLINE=1 or HF_HUB_OFFLINE=1 nothing is fetched.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path

from llemma.errors import DataError
from llemma.run import naming, sha256_file

TRIES = 3
TIMEOUT = 60.0  # seconds without a byte
LARGEST = 256 << 20  # bytes; nothing fetched here is near it, so more means a wrong address


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """One file on the internet: its address and the sha256 of its bytes."""

    url: str
    sha256: str


def github(repo: str, commit: str, path: str, sha256: str) -> Remote:
    """A file of a public GitHub repository at a pinned commit."""
    return Remote(url=f"https://raw.githubusercontent.com/{repo}/{commit}/{path}", sha256=sha256)


def data_folder() -> Path | None:
    """The folder that LLEMMA_DATA names, if it is set."""
    folder = os.environ.get("LLEMMA_DATA", "")
    return Path(folder).expanduser() if folder else None


def cache_folder() -> Path:
    """Where fetched files are kept; it need not exist yet."""
    if chosen := os.environ.get("LLEMMA_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "llemma"


def offline() -> bool:
    """Whether the environment forbids fetching."""
    return any(os.environ.get(name, "") not in ("", "0") for name in ("LLEMMA_OFFLINE", "HF_HUB_OFFLINE"))


def cached(remote: Remote) -> Path | None:
    """The file in the cache when it is there and whole."""
    path = _place(remote)
    if path.is_file():
        if sha256_file(path) == remote.sha256:
            return path
        path.unlink()  # damaged on the disk: fetch it again
    return None


def fetch(remote: Remote) -> Path:
    """The file from the cache or from its address. Raises DataError that says what failed and what to do."""
    if (path := cached(remote)) is not None:
        return path
    if offline():
        raise DataError(
            "is not on this machine, and LLEMMA_OFFLINE or HF_HUB_OFFLINE forbids fetching", where=remote.url
        )
    path = _place(remote)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _download(remote, beside)
        with naming(path):
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _place(remote: Remote) -> Path:
    name = remote.url.rpartition("/")[2]
    return cache_folder() / f"{remote.sha256[:16]}-{name}"


def _download(remote: Remote, to: Path) -> None:
    import httpx

    error: Exception | None = None
    for attempt in range(TRIES):
        if attempt:
            time.sleep(2.0**attempt)
        with contextlib.suppress(FileNotFoundError):
            to.unlink()
        try:
            digest, size = hashlib.sha256(), 0
            with (
                httpx.stream("GET", remote.url, timeout=TIMEOUT, follow_redirects=True) as answer,
                open(to, "wb") as out,
            ):
                answer.raise_for_status()
                for part in answer.iter_bytes():
                    size += len(part)
                    if size > LARGEST:
                        raise DataError(f"is larger than {LARGEST >> 20} MiB: a wrong address", where=remote.url)
                    digest.update(part)
                    out.write(part)
                out.flush()
                os.fsync(out.fileno())
        except httpx.HTTPError as failed:
            error = failed
            continue
        if digest.hexdigest() != remote.sha256:
            raise DataError(
                f"its sha256 is {digest.hexdigest()}, expected {remote.sha256}: another file, not used",
                where=remote.url,
            )
        return
    raise DataError(
        f"cannot be fetched ({error}); try again, or put the file into LLEMMA_DATA", where=remote.url
    ) from error

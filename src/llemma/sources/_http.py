"""Files over HTTP for long runs: retries with growing pauses, reading on where a connection broke, reading anywhere.

Knows nothing of any hub. Redirects are followed; a token is sent to the first host only.
"""

from __future__ import annotations

import io
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import httpx

from llemma.errors import DataError

T = TypeVar("T")

ATTEMPTS = 7  # with pauses of 1, 2, 4, 8, 16 and 30 s: a hub that restarts is waited for
LONGEST_PAUSE = 30.0
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_WRONG = {
    401: "access denied; set HF_TOKEN to a token that may read it",
    403: "access denied; accept the dataset's terms on its page and set HF_TOKEN",
    404: "not found; check the name, the revision and the file",
    416: "the server has no such part of the file",
}


class _Interrupted(Exception):
    """The server or the way to it failed; the same request may succeed later."""

    def __init__(self, message: str, pause: float | None = None) -> None:
        self.pause = pause
        super().__init__(message)


class Client:
    """Requests to one server. ``pause`` scales the waiting (tests use 0)."""

    def __init__(self, *, token: str | None = None, timeout: float = 60.0, pause: float = 1.0) -> None:
        headers = {"User-Agent": "llemma"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._http = httpx.Client(headers=headers, timeout=timeout, follow_redirects=True)
        self._pause = pause

    def close(self) -> None:
        """End all connections."""
        self._http.close()

    def json(self, url: str) -> tuple[Any, str | None]:
        """A JSON answer, and the address of its next page. Raises DataError after ``ATTEMPTS`` failures."""

        def ask() -> tuple[Any, str | None]:
            answer = self._http.get(url)
            self._check(answer, url)
            try:
                return answer.json(), answer.links.get("next", {}).get("url")
            except ValueError as error:
                raise _Interrupted(f"no JSON: {error}") from error

        return self._patiently(ask, url)

    def stream(self, url: str, start: int = 0) -> Iterator[bytes]:
        """The bytes of a file from ``start`` on. A broken connection is taken up where it broke.

        Raises DataError when the file changes meanwhile, or after ``ATTEMPTS`` failures without a byte between.
        """
        place, tag, failures = start, "", 0
        while True:
            try:
                headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={place}-"} if place else {})
                with self._http.stream("GET", url, headers=headers) as answer:
                    self._check(answer, url)
                    if place and answer.status_code != 206:
                        raise DataError(
                            "the server does not send parts of files, so a broken download cannot go on", where=url
                        )
                    tag = _same_file(answer, tag, url)
                    for piece in answer.iter_raw():
                        place += len(piece)
                        failures = 0
                        yield piece
                    if (expected := _end(answer)) is not None and place < expected:
                        raise _Interrupted(f"the connection ended at byte {place:,} of {expected:,}")
                return
            except (_Interrupted, httpx.TransportError) as error:
                failures += 1
                self._wait(failures, error, url)

    def part(self, url: str, start: int, size: int) -> bytes:
        """``size`` bytes of a file from ``start`` on, fewer at its end."""

        def ask() -> bytes:
            headers = {"Range": f"bytes={start}-{start + size - 1}", "Accept-Encoding": "identity"}
            answer = self._http.get(url, headers=headers)
            self._check(answer, url)
            if answer.status_code != 206:
                raise DataError(
                    "the server does not send parts of files; use options.cache to download them whole", where=url
                )
            return answer.content

        return self._patiently(ask, url)

    def size(self, url: str) -> int:
        """The size of a file in bytes."""

        def ask() -> int:
            answer = self._http.get(url, headers={"Range": "bytes=0-0", "Accept-Encoding": "identity"})
            self._check(answer, url)
            total = answer.headers.get("content-range", "").rpartition("/")[2]
            return int(total) if total.isdigit() else len(answer.content)

        return self._patiently(ask, url)

    def _patiently(self, ask: Callable[[], T], url: str) -> T:
        failures = 0
        while True:
            try:
                return ask()
            except (_Interrupted, httpx.TransportError) as error:
                failures += 1
                self._wait(failures, error, url)

    def _wait(self, failures: int, error: Exception, url: str) -> None:
        if failures >= ATTEMPTS:
            why = str(error) or type(error).__name__
            message = f"no answer after {ATTEMPTS} attempts ({why}); run the same command again later"
            raise DataError(message, where=url) from error
        asked = error.pause if isinstance(error, _Interrupted) else None
        pause = min(LONGEST_PAUSE, 2.0 ** (failures - 1)) if asked is None else min(10 * LONGEST_PAUSE, asked)
        time.sleep(pause * self._pause)

    def _check(self, answer: httpx.Response, url: str) -> None:
        code = answer.status_code
        if code in _AGAIN:
            after = answer.headers.get("retry-after", "")
            raise _Interrupted(f"status {code}", float(after) if after.isdigit() else None)
        if code >= 400:
            raise DataError(_WRONG.get(code, f"the server answered with status {code}"), where=url)


def _same_file(answer: httpx.Response, tag: str, url: str) -> str:
    now = answer.headers.get("etag", "")
    if tag and now and now != tag:
        raise DataError("the file changed while it was read; pin options.revision and start again", where=url)
    return tag or now


def _end(answer: httpx.Response) -> int | None:
    """The size of the whole file by the headers of an answer."""
    total = answer.headers.get("content-range", "").rpartition("/")[2] or answer.headers.get("content-length", "")
    return int(total) if total.isdigit() else None


class Streamed(io.RawIOBase):
    """A file that is read once from its beginning, as bytes arrive. ``seen`` counts them."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""
        self.seen = 0

    def readable(self) -> bool:
        """Always true."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` with what has arrived; 0 at the end."""
        if not self._rest:
            self._rest = next(self._pieces, b"")
            self.seen += len(self._rest)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


class Remote(io.RawIOBase):
    """A file that is read anywhere, in blocks, of which the last few are kept: what a Parquet reader needs."""

    BLOCK, KEPT = 4 << 20, 16

    def __init__(self, client: Client, url: str, size: int | None = None) -> None:
        self._client, self._url = client, url
        self._size = client.size(url) if size is None else size
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """Always true."""
        return True

    def seekable(self) -> bool:
        """Always true."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place; nothing is read yet."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """The place."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill as much of ``buffer`` as one block has."""
        if self._at >= self._size:
            return 0
        number, offset = divmod(self._at, self.BLOCK)
        piece = self._block(number)[offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * self.BLOCK
            self._blocks[number] = self._client.part(self._url, start, min(self.BLOCK, self._size - start))
            if len(self._blocks) > self.KEPT:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]


def quoted(parts: Mapping[str, str], template: str) -> str:
    """``template`` with its fields filled in, each quoted for an address; ``/`` inside a field stays."""
    from urllib.parse import quote

    return template.format(**{name: quote(value, safe="/") for name, value in parts.items()})

"""Pages out of WARC files (plain, gz, zstd), read with FastWARC.

Records are read one after the other and no more than ``max_bytes`` of a page is held, whatever its length and however
it is packed. What is no HTML response is passed over; a broken record ends the file with an error, after the pages
before it.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llemma.errors import DataError, explain
from llemma.extract.html_math import extract_html
from llemma.extract.ledger import Extracted

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w:.-]+)", re.IGNORECASE)
_HTML = ("text/html", "application/xhtml+xml", "application/xml+xhtml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A response as crawled: its address, the bytes of its body, the character set the server named.

    ``error`` says why there are no bytes: too long, or packed in a way that cannot be undone.
    """

    url: str
    data: bytes
    charset: str | None = None
    date: str = ""
    error: str | None = None


def read_pages(path: Path, *, max_bytes: int = 16_000_000) -> Iterator[Page]:
    """The HTML pages of a WARC file, in its order. Raises DataError for a file that is none or breaks off."""
    from fastwarc.warc import ArchiveIterator, WarcRecordType

    seen = 0
    try:
        with open(path, "rb") as file:
            for record in ArchiveIterator(_stream(file, path), record_types=WarcRecordType.response, parse_http=True):
                seen += 1
                page = _page(record, max_bytes)
                if page is not None:
                    yield page
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"the WARC file cannot be read after record {seen}: {explain(error)}", where=path) from error
    if not seen and path.stat().st_size:
        raise DataError("no response record in this file; is it a WARC file?", where=path)


def _stream(file: Any, path: Path) -> Any:
    """The stream of records; FastWARC tells gz by itself, zstd is undone by zstandard (whole-file or by record)."""
    head = file.read(4)
    file.seek(0)
    if head != b"\x28\xb5\x2f\xfd":
        return file
    import zstandard

    return _Bytes(zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(file, read_across_frames=True))


class _Bytes:
    """The reading half of a file, as FastWARC wants it."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._place = 0

    def read(self, size: int = -1) -> bytes:
        data: bytes = self._reader.read(size)
        self._place += len(data)
        return data

    def tell(self) -> int:
        return self._place

    def close(self) -> None:
        self._reader.close()


def _page(record: Any, max_bytes: int) -> Page | None:
    headers = record.http_headers
    if headers is None:
        return None
    kind = (headers.get("Content-Type") or "").strip()
    if kind and not kind.lower().startswith(_HTML):
        return None
    url = record.headers.get("WARC-Target-URI") or ""
    date = record.headers.get("WARC-Date") or ""
    charset = found[1] if (found := _CHARSET.search(kind)) else None
    data = record.reader.read(max_bytes + 1)
    error = None
    if not data and int(headers.get("Content-Length") or 1) != 0:
        error = "nothing in it; the file may break off here"
    elif len(data) > max_bytes:
        data, error = b"", f"a page of more than {max_bytes:,} bytes; raise max_bytes to read it"
    elif packed := (headers.get("Content-Encoding") or "").strip().lower():
        data, error = _unpacked(data, packed, max_bytes)
    if not kind and not error and b"<html" not in data[:2048].lower():
        return None
    return Page(url=url, data=data, charset=charset, date=date, error=error)


def _unpacked(data: bytes, packing: str, limit: int) -> tuple[bytes, str | None]:
    """The body of a response that was stored as it was sent; never more than ``limit`` bytes are made of it."""
    if packing in ("identity", "none", "utf-8") or (packing in ("gzip", "x-gzip") and data[:2] != b"\x1f\x8b"):
        return data, None
    try:
        if packing in ("gzip", "x-gzip"):
            inflate = zlib.decompressobj(31)
        elif packing == "deflate":
            inflate = zlib.decompressobj(15 if data[:1] == b"\x78" else -15)
        elif b"<" in data[:200]:
            return data, None  # named so, but unpacked by the crawler
        else:
            return b"", f"packed as {packing!r}, which is not undone here"
        out = inflate.decompress(data, limit + 1)
    except (zlib.error, gzip.BadGzipFile) as error:
        return b"", f"its {packing} packing is broken: {error}"
    if len(out) > limit:
        return b"", f"a page of more than {limit:,} bytes when unpacked"
    return out, None


def extract_warc(path: Path, *, max_bytes: int) -> Iterator[Extracted]:
    """The text of every HTML page of a WARC file; ``part`` is its address."""
    for page in read_pages(path, max_bytes=max_bytes):
        if page.error:
            yield Extracted(text="", part=page.url, error=page.error)
            continue
        one = extract_html(page.data, name=page.url, charset=page.charset)
        meta = {"url": page.url, "date": page.date, **one.meta}
        yield Extracted(text=one.text, title=one.title, formulas=one.formulas, part=page.url, meta=meta)

"""The files of one paper, out of a tar, a gzip stream, a folder or a single file; nothing is written to disk.

Bounded on every side: bytes that come out, members, size of one file. What is no regular file inside the project
(links, devices, absolute paths, paths that climb out) is left out and named. An input that holds no TeX is a
``Refusal``, a value.
"""

from __future__ import annotations

import io
import os
import posixpath
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

TEXT_ENDINGS = (".tex", ".ltx", ".latex", ".bbl", ".sty", ".cls", ".def", ".tikz", ".inc", ".txt", ".xxx", ".json")
_BESIDE = (".tex", ".ltx", ".latex", ".bbl", ".sty", ".cls", ".def", ".tikz", ".inc")
_PIECE = 1 << 20  # bytes inflated at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one paper may use. arXiv takes submissions of 50 MB, figures included; the TeX of most is under 1 MB."""

    inflated_bytes: int = 200_000_000  # out of the gzip stream, figures included
    text_bytes: int = 32_000_000  # all files that are kept
    file_bytes: int = 16_000_000
    members: int = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Files by their path inside the project (``/`` between parts), and what was left out: ``"name: reason"``."""

    files: Mapping[str, bytes]
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an input has no text, in one line."""

    reason: str


def open_project(data: bytes, *, name: str = "paper", limits: Limits = Limits()) -> Project | Refusal:
    """The project in ``data``: a tar, a gzipped tar, a gzipped file or plain TeX. ``name`` names a single file."""
    notes: tuple[str, ...] = ()
    if data[:2] == b"\x1f\x8b":
        inflated = inflate(data, limits.inflated_bytes)
        if isinstance(inflated, Refusal):
            return inflated
        data, note = inflated
        notes = (note,) if note else ()
    if not data.strip(b"\0 \t\r\n"):
        return Refusal(reason=notes[0] if notes else "the file is empty")
    if is_tar(data):
        return _from_tar(data, limits, notes)
    for magic, kind in _NOT_TEX.items():
        if data.lstrip()[: len(magic)] == magic:
            return Refusal(reason=f"this is {kind}, not TeX")
    if len(data) > limits.file_bytes:
        return Refusal(reason=f"the file has {len(data):,} bytes, more than {limits.file_bytes:,}")
    if data[:65536].count(b"\0") > 16:
        return Refusal(reason="this is a binary file, not TeX")
    stem = posixpath.basename(name.replace("\\", "/")).removesuffix(".gz")
    return Project(files={stem if stem.endswith(TEXT_ENDINGS) else f"{stem}.tex": data}, left_out=notes)


def read_folder(folder: Path, limits: Limits = Limits()) -> Project | Refusal:
    """The project in a folder. Links are not followed. Raises OSError when the folder cannot be listed."""
    found: dict[str, bytes] = {}
    left: list[str] = []
    total = members = 0
    for path in _walk(folder):
        relative = path.relative_to(folder).as_posix()
        members += 1
        if members > limits.members:
            left.append(f"{relative} and more: over {limits.members:,} files")
            break
        if not wanted(relative):
            continue
        if path.is_symlink() or not path.is_file():
            left.append(f"{relative}: not a regular file")
            continue
        size = path.stat().st_size
        if size > limits.file_bytes or total + size > limits.text_bytes:
            left.append(f"{relative}: {size:,} bytes are over the limit")
            continue
        total += size
        found[relative] = path.read_bytes()
    return Project(files=found, left_out=tuple(left)) if found else Refusal(reason="the folder holds no TeX")


class Beside(Mapping[str, bytes]):
    """One file, and those of its folder that it asks for: each is read when it is looked up, within the limits.

    Only names that end as TeX's files do, no links and nothing hidden: a paper from elsewhere gets at nothing else.
    """

    def __init__(self, project: Project, folder: Path, limits: Limits = Limits()) -> None:
        self._read = dict(project.files)
        self._folder, self._limits = folder, limits
        self._left = limits.text_bytes - sum(map(len, self._read.values()))

    def __getitem__(self, name: str) -> bytes:
        if name not in self._read:
            self._read[name] = self._load(name)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read)

    def __len__(self) -> int:
        return len(self._read)

    def _load(self, name: str) -> bytes:
        path = self._folder / name
        parents = [path, *path.parents][: len(Path(name).parts)]
        hidden = any(part.startswith(".") for part in Path(name).parts)
        if inside(name) != name or hidden or not name.lower().endswith(_BESIDE) or any(p.is_symlink() for p in parents):
            raise KeyError(name)
        if not path.is_file() or not path.stat().st_size <= min(self._limits.file_bytes, self._left):
            raise KeyError(name)
        data = path.read_bytes()
        self._left -= len(data)
        return data


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(root, name)


def wanted(name: str) -> bool:
    """Whether a file of this name may hold TeX; a name without any ending may."""
    base = posixpath.basename(name)
    return base.lower().endswith(TEXT_ENDINGS) or "." not in base


def inside(name: str) -> str | None:
    """The normal form of a path inside a project, or None when it is absolute or climbs out."""
    if name.startswith(("/", "\\", "~")) or name[1:2] == ":" or "\0" in name:
        return None
    path = posixpath.normpath(name.replace("\\", "/"))
    return None if path.startswith("..") or path in {".", ""} else path


def inflate(data: bytes, limit: int) -> tuple[bytes, str] | Refusal:
    """What a gzip stream holds, with a note when it breaks off; a Refusal when nothing or too much comes out."""
    pieces: list[bytes] = []
    total = 0
    note = ""
    while data[:2] == b"\x1f\x8b":  # a gzip file may have several members
        stream = zlib.decompressobj(wbits=31)
        rest = data
        try:
            while rest and not stream.eof:
                piece = stream.decompress(rest, _PIECE)
                rest = stream.unconsumed_tail
                total += len(piece)
                if total > limit:
                    return Refusal(reason=f"the gzip stream inflates to more than {limit:,} bytes")
                pieces.append(piece)
        except zlib.error as error:
            note = f"the gzip stream breaks off after {total:,} bytes: {error}"
            break
        if not stream.eof:
            note = f"the gzip stream is cut off after {total:,} bytes"
            break
        data = stream.unused_data
    if not total:
        return Refusal(reason=note or "the gzip stream is empty")
    return b"".join(pieces), note


def is_tar(data: bytes) -> bool:
    """Whether bytes begin with the header of a tar."""
    if len(data) < 512:
        return False
    try:
        tarfile.TarInfo.frombuf(data[:512], "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return data[257:262] == b"ustar"
    return True


def _from_tar(data: bytes, limits: Limits, notes: tuple[str, ...]) -> Project | Refusal:
    found: dict[str, bytes] = {}
    left = list(notes)
    total = members = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                members += 1
                if members > limits.members:
                    left.append(f"{member.name} and more: over {limits.members:,} members")
                    break
                if member.isdir() or not wanted(member.name):
                    continue
                problem = _problem(member, limits, total)
                name = inside(member.name)
                if problem or name is None:
                    left.append(f"{member.name}: {problem or 'its path leaves the archive'}")
                    continue
                file = archive.extractfile(member)
                assert file is not None  # a regular file, as _problem made sure
                found[name] = file.read()
                total += member.size
    except (tarfile.TarError, ValueError, OverflowError, EOFError, OSError) as error:
        left.append(f"the archive breaks off after {members} members: {error}")
    if not found:
        return Refusal(reason="; ".join(left) or "the archive holds no TeX")
    return Project(files=found, left_out=tuple(left))


def _problem(member: tarfile.TarInfo, limits: Limits, total: int) -> str:
    if not member.isreg() or member.issparse():
        return "not a regular file"
    if member.size > limits.file_bytes or total + member.size > limits.text_bytes:
        return f"{member.size:,} bytes are over the limit"
    return ""


_NOT_TEX = {
    b"%PDF-": "a PDF",
    b"%!PS": "PostScript",
    b"PK\x03\x04": "a zip archive",
    b"\xd0\xcf\x11\xe0": "an Office document",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"<!DOCTYPE html": "an HTML page",
    b"<html": "an HTML page",
}

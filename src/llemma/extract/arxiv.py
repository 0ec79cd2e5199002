"""Archives of papers: arXiv's monthly tars of gzipped sources, one gzipped source, or a tar that is one paper.

Streams: one paper's files are in memory at a time. A paper that cannot be read is an ``Extracted`` with ``error``; an
archive that breaks off ends with one.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from llemma.extract.ledger import Extracted
from llemma.extract.tex import TexOptions, extract_tex
from llemma.extract.tex.project import is_tar

_PAPER = (".gz", ".tgz", ".tar", ".pdf")
_DEFAULT = TexOptions()
_OLD_ID = re.compile(r"([a-z-]+(?:\.[A-Z]{2})?)(\d{7})")
_NEW_ID = r"\d{4}\.\d{4,5}(?:v\d+)?"


def extract_arxiv(path: Path, *, max_bytes: int = 64_000_000, options: TexOptions = _DEFAULT) -> Iterator[Extracted]:
    """The papers in an archive, in its order; ``part`` is a paper's name in it (empty when the archive is one paper).

    ``max_bytes`` bounds the packed source of a paper. Raises OSError when the file cannot be read.
    """
    if not _is_month(path):
        yield _one(path, max_bytes, options)
        return
    part = ""
    with open(path, "rb") as file:
        plain = is_tar(file.read(512))
    try:
        with tarfile.open(path, "r|*") as month:
            for member in month:
                part = member.name
                if not member.isreg() or not member.name.endswith(_PAPER):
                    continue
                yield _member(month, member, max_bytes, options)
            if plain and path.stat().st_size < month.offset + 512:  # tarfile takes half a header for the end
                raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        yield Extracted(text="", part=f"{part}+", error=f"the archive breaks off behind {part or 'its start'}: {error}")


def arxiv_id(name: str) -> str:
    """The identifier of a paper by the name of its file: ``0704/0704.0001.gz`` is 0704.0001, ``math0301/…`` too."""
    stem = PurePosixPath(name).name
    for ending in (".gz", ".tgz", ".tar", ".tex", ".pdf"):
        stem = stem.removesuffix(ending)
    old = _OLD_ID.fullmatch(stem)
    return f"{old[1]}/{old[2]}" if old else stem


def is_arxiv_id(name: str) -> bool:
    """Whether a name is an identifier of arXiv, old or new."""
    return re.fullmatch(rf"{_NEW_ID}|[a-z-]+(?:\.[A-Z]{{2}})?/\d{{7}}(?:v\d+)?", name) is not None


def _is_month(path: Path) -> bool:
    """Whether an archive holds packed papers: then its first regular file is one."""
    try:
        with tarfile.open(path, "r|*") as archive:
            first = next((member for member in archive if member.isreg()), None)
    except (tarfile.TarError, EOFError, zlib.error, ValueError):
        return False
    return first is not None and first.name.endswith(_PAPER)


def _one(path: Path, max_bytes: int, options: TexOptions) -> Extracted:
    if path.stat().st_size > max_bytes:
        return Extracted(text="", error=f"more than {max_bytes:,} bytes; raise max_bytes to read it")
    return extract_tex(path.read_bytes(), name=path.name, options=options)


def _member(month: tarfile.TarFile, member: tarfile.TarInfo, max_bytes: int, options: TexOptions) -> Extracted:
    if member.name.endswith(".pdf"):
        return Extracted(text="", part=member.name, error="the source of this paper is a PDF")
    if member.size > max_bytes:
        return Extracted(text="", part=member.name, error=f"more than {max_bytes:,} bytes; raise max_bytes to read it")
    file = month.extractfile(member)
    data = file.read() if file is not None else b""
    paper = extract_tex(data, name=member.name, options=options)
    return Extracted(
        text=paper.text, title=paper.title, formulas=paper.formulas, part=member.name, error=paper.error,
        meta={"arxiv_id": arxiv_id(member.name), **paper.meta},
    )  # fmt: skip

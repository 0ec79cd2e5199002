"""Papers in LaTeX: arXiv's monthly tars, gzipped sources, folders that hold one paper each.

Yields what ``llemma.extract.tex`` makes of each paper. What has no text is left out, and the reasons are counted in
``Dropped`` when the caller hands one in; choosing papers by content is the corpus pipeline's work.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from llemma.config import setting
from llemma.errors import ConfigError, NotHere
from llemma.extract.arxiv import arxiv_id, extract_arxiv, is_arxiv_id
from llemma.extract.ledger import Extracted
from llemma.extract.tex import Refusal, TexOptions, clean_project
from llemma.extract.tex.project import read_folder
from llemma.records import Document, to_row
from llemma.sources._files import stamp

_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".gz")
_TEX = (".tex", ".ltx")
ARCHIVE, PART = 8_000_000, 64  # bytes from which a file is a part of its own; smaller papers in a part


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which papers, and what is kept of them."""

    paths: tuple[Path, ...] = setting((), "archives, .tex files, or folders of archives and of papers")
    profile: Literal["default", "redpajama"] = setting("default", "default, or redpajama: its cleaner, quirks kept")
    appendix: bool = setting(True, "keep appendices")
    bibliography: bool = setting(False, "keep lists of references")
    pictures: bool = setting(False, "keep TikZ and other drawings")
    supplements: bool = setting(False, "add a project's other documents to the paper")
    max_bytes: int = setting(64_000_000, "leave out papers whose packed source is larger")
    only: tuple[str, ...] = setting((), "archives and folders of papers to read, by their path (default: all)")


def documents(options: Options, dropped: Counter[str] | None = None) -> Iterator[Document]:
    """One document a paper, archives and folders in sorted order.

    The id is arXiv's identifier where the name is one, else the path inside the folder that was given. A folder without
    archives that holds TeX is one paper; so is each such folder inside one that holds none.
    Raises ConfigError without paths, NotHere for a path that does not exist.
    """
    if not options.paths:
        raise ConfigError("source arxiv needs options.paths")
    kept = TexOptions(
        profile=options.profile,
        appendix=options.appendix,
        bibliography=options.bibliography,
        pictures=options.pictures,
        supplements=options.supplements,
    )
    only = set(options.only)
    for place in _places(options.paths):
        if only and str(place.path) not in only:
            continue
        for name, paper in _papers(place, kept, options.max_bytes):
            if paper.text:
                meta = {"title": paper.title, "formulas": to_row(paper.formulas), **paper.meta}
                yield Document(id=name, text=paper.text, source="arxiv", meta=meta)
            elif dropped is not None:
                dropped[(paper.error or "no text").partition(":")[0]] += 1


def parts(options: Options) -> list[Options]:
    """The settings of the parts: one for an archive of many papers, one for some single papers in a row."""
    if not options.paths:
        raise ConfigError("source arxiv needs options.paths")
    groups: list[list[str]] = []
    alone = True
    for place in _places(options.paths):
        if options.only and str(place.path) not in options.only:
            continue
        archive = place.path.is_file() and place.path.stat().st_size > ARCHIVE
        if archive or alone or len(groups[-1]) == PART:
            groups.append([])
        groups[-1].append(str(place.path))
        alone = archive
    return [replace(options, only=tuple(group)) for group in groups] or [options]


def stamps(options: Options) -> Iterator[tuple[str, Any]]:
    """Path of every archive and folder of a paper with what tells that its files have changed."""
    for place in _places(options.paths):
        inside = sorted(p for p in place.path.rglob("*") if p.is_file()) if place.path.is_dir() else [place.path]
        yield str(place.path), [stamp(path) for path in inside]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """An archive, a file or the folder of one paper, with the name that its papers' ids begin with."""

    name: str
    path: Path


def _places(paths: Iterable[Path]) -> Iterator[_Place]:
    for path in paths:
        if not path.exists():
            raise NotHere("no such file or folder", where=path)
        yield from _below(path, path.resolve().name)


def _below(path: Path, name: str) -> Iterator[_Place]:
    if path.is_file():
        yield _Place(name=name, path=path)
        return
    inside = sorted(p for p in path.iterdir() if not p.is_symlink() and not p.name.startswith("."))
    archives = [p for p in inside if p.is_file() and p.name.endswith(_ARCHIVES)]
    if not archives and any(p.is_file() and p.name.endswith(_TEX) for p in inside):
        yield _Place(name=name, path=path)
        return
    for below in [*archives, *(p for p in inside if p.is_dir())]:
        yield from _below(below, f"{name}/{below.name}")


def _papers(place: _Place, kept: TexOptions, limit: int) -> Iterator[tuple[str, Extracted]]:
    if place.path.is_file():
        for paper in extract_arxiv(place.path, max_bytes=limit, options=kept):
            identifier = arxiv_id(paper.part or place.path.name)
            named = f"{place.name}#{paper.part}" if paper.part else place.name
            yield (identifier if is_arxiv_id(identifier) else named), paper
        return
    project = read_folder(place.path)
    if isinstance(project, Refusal):
        yield place.name, Extracted(text="", error=project.reason)
    else:
        yield place.name, clean_project(project, kept)

"""Datasets of the Hugging Face hub by name, streamed; or an offline copy of one by path.

Reads JSON lines and Parquet over HTTP with httpx and pyarrow: files in sorted order, one batch in memory, broken
connections taken up where they broke. How the columns of known mathematical corpora are called is a table
(``DATASETS``); another dataset needs ``options.text`` where its text has another name. Runs no code of a dataset.
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from llemma.config import setting
from llemma.errors import ConfigError, DataError, NotHere, explain
from llemma.records import Document, Event, Progress, silent
from llemma.sources import _tables
from llemma.sources._files import stamp
from llemma.sources._http import Client, Remote, Streamed, quoted

ENDPOINT = "https://huggingface.co"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """How a dataset is laid out: its files by split and subset, and what its columns are called.

    ``files`` is a pattern in which ``{subset}`` and ``{split}`` are filled in; ``packed`` columns hold JSON as text.
    """

    files: str
    subset: str = ""
    subsets: tuple[str, ...] = ()
    text: str = "text"
    meta: tuple[str, ...] = ()
    packed: tuple[str, ...] = ()


DATASETS = {
    "EleutherAI/proof-pile-2": Columns(
        files="{subset}/{split}/*.jsonl.zst",
        subset="*",
        subsets=("arxiv", "open-web-math", "algebraic-stack"),
        meta=("meta",),
        packed=("meta",),
    ),
    "open-web-math/open-web-math": Columns(
        files="data/{split}-*.parquet", meta=("url", "date", "metadata"), packed=("metadata",)
    ),
    "HuggingFaceTB/finemath": Columns(
        files="{subset}/{split}-*.parquet",
        subset="finemath-4plus",
        subsets=("finemath-3plus", "finemath-4plus", "infiwebmath-3plus", "infiwebmath-4plus"),
        meta=("url", "score", "int_score", "language", "language_score", "token_count", "snapshot_type", "metadata"),
        packed=("metadata",),
    ),
    "bigcode/the-stack-dedup": Columns(  # gated: HF_TOKEN of an account that accepted its terms
        files="data/{subset}/*.parquet",
        subset="*",
        text="content",
        meta=(
            "max_stars_repo_path",
            "max_stars_repo_name",
            "max_stars_repo_head_hexsha",
            "max_stars_repo_licenses",
            "lang",
            "ext",
        ),
    ),
    "bigcode/starcoderdata": Columns(
        files="{subset}/*.parquet", subset="*", text="content", meta=("max_stars_repo_path", "max_stars_repo_name")
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which dataset, which of its files, and where they are."""

    dataset: str = setting("", f"name on the hub, OWNER/NAME; known layouts: {', '.join(DATASETS)}")
    path: Path | None = setting(None, "folder with a copy of the dataset's files (then nothing is fetched)")
    subset: str = setting("", "subset, for datasets that have some (default: see docs/sources.md)")
    split: str = setting("train", "split")
    files: str = setting("", "pattern of the files instead of subset and split, such as data/train-000*.parquet")
    text: str = setting("", "column that holds the text (default: the dataset's, else text)")
    meta: tuple[str, ...] = setting((), "columns kept beside the text (default: the dataset's)")
    where: Mapping[str, Any] = setting(factory=dict, help="only rows with this value: {'meta.set' = VALUE or a list}")
    unless: Mapping[str, Any] = setting(factory=dict, help="no rows with this value, as in where")
    revision: str = setting("main", "branch, tag or commit; pin a commit to get the same documents again")
    after: str = setting("", "id of the last document seen: go on behind it")
    limit: int = setting(0, "stop after this many documents (0: all)")
    cache: Path | None = setting(None, "folder to keep whole files in; a download that broke goes on there")
    endpoint: str = setting("", "address of the hub (default: HF_ENDPOINT, else huggingface.co)")
    part: tuple[int, ...] = setting((), "part of the one file: begin, end (bytes; rows of Parquet), rows before")

    def __post_init__(self) -> None:
        if self.dataset and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.dataset):
            raise ValueError(f"dataset={self.dataset}: the name of a dataset is OWNER/NAME")
        if self.limit < 0:
            raise ValueError(f"limit={self.limit} must be at least 0")


Opener = Callable[[str], IO[bytes]]


def documents(
    options: Options, progress: Progress = silent, *, dropped: Counter[str] | None = None, pause: float = 1.0
) -> Iterator[Document]:
    """One document a row, files in sorted order; the id is FILE:ROW inside the dataset, the same in every run.

    Rows that ``where`` or ``unless`` leave out are counted in ``dropped``.
    Raises ConfigError for settings that cannot be, DataError for what cannot be read or fetched, MissingDependency when
    pyarrow or zstandard is absent. ``pause`` scales the waiting between attempts.
    """
    layout = _layout(options)
    told = _Told(dropped=Counter() if dropped is None else dropped, progress=progress)
    if options.path is not None:
        yield from _documents(options, layout, _local_files(options, layout), _open_local(options.path), told)
        return
    with closing(_client(options, pause)) as client:
        hub = _Hub(client, options)
        files = _matching(hub.files(), options, layout)
        yield from _documents(options, layout, files, hub.open, told)


def parts(options: Options) -> list[Options]:
    """The settings of the parts: files in sorted order; those of a copy are cut where their rows end, if not packed.

    Over the network, the revision is pinned to the commit that it means now. Raises as ``documents``.
    """
    if options.part or options.after or options.limit:
        return [options]
    layout = _layout(options)
    if options.path is not None:
        return [
            replace(options, files=glob.escape(name), part=span)
            for name in _local_files(options, layout)
            for span in _tables.spans(options.path / name)
        ]
    with closing(_client(options)) as client:
        hub = _Hub(client, options)
        files = _matching(hub.files(), options, layout)
    return [replace(options, files=glob.escape(name), revision=hub.commit) for name in files]


def stamps(options: Options) -> Iterator[tuple[str, Any]]:
    """Path of every file of a copy with what tells that it has changed; over the network the commit tells that."""
    if options.path is not None:
        for name in _local_files(options, _layout(options)):
            yield name, stamp(options.path / name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """Where is said what was left out, and how far it is."""

    dropped: Counter[str]
    progress: Progress


def _client(options: Options, pause: float = 1.0) -> Client:
    if not options.dataset:
        raise ConfigError("source hub needs options.dataset, or options.path of a copy")
    if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        raise NotHere("HF_HUB_OFFLINE is set; give options.path of a copy, or unset it")
    return Client(token=os.environ.get("HF_TOKEN"), pause=pause)


def _layout(options: Options) -> Columns:
    known = DATASETS.get(options.dataset, Columns(files="*"))
    if options.subset and known.subsets and options.subset not in known.subsets:
        raise ConfigError(f"{options.dataset} has no subset {options.subset!r}; it has {', '.join(known.subsets)}")
    return known


def _matching(names: Mapping[str, int], options: Options, layout: Columns) -> dict[str, int]:
    """The files that are read, sorted, with their sizes."""
    subset = options.subset or layout.subset
    pattern = options.files or layout.files.format(subset=subset, split=options.split)
    found = {n: names[n] for n in sorted(names) if n.endswith(_tables.ENDINGS) and fnmatch.fnmatchcase(n, pattern)}
    if not options.files and layout.files == "*":  # an unknown dataset: by the words in its paths
        words = [w for w in (options.subset, options.split) if w]
        chosen = {n: size for n, size in found.items() if all(w in n for w in words)}
        found = chosen or (found if not options.subset else {})
    if not found:
        seen = ", ".join(sorted(n for n in names if n.endswith(_tables.ENDINGS))[:3]) or "no file of rows at all"
        raise DataError(f"no file of {options.dataset or options.path} fits {pattern!r}; there is {seen}")
    return found


def _documents(
    options: Options, layout: Columns, files: Mapping[str, int], opened: Opener, told: _Told
) -> Iterator[Document]:
    text = options.text or layout.text
    columns = options.meta or layout.meta
    last, _, row_number = options.after.rpartition(":")
    if options.after and (last not in files or not row_number.isdigit()):
        raise ConfigError(f"after={options.after}: not the id of a document of these files")
    done = count = 0
    for name, size in files.items():
        if options.after and name < last:
            done += size
            continue
        start = int(row_number) if options.after and name == last else 0
        figures = {"documents": float(count)}
        told.progress(
            Event(stage="hub", done=done, total=sum(files.values()), unit="bytes", figures=figures, note=name)
        )
        wanted = [text, *columns] if columns else None
        for number, row in _tables.rows(opened(name), name, columns=wanted, start=start, part=options.part):
            if options.limit and count >= options.limit:
                return
            if not isinstance(row.get(text), str):
                there = ", ".join(sorted(row)[:12])
                raise DataError(
                    f"no text in column {text!r} (options.text); there are {there}", where=f"{name}:{number}"
                )
            kept = {c: _plain(row[c], c in layout.packed) for c in (columns or row) if c in row and c != text}
            if not _wanted(kept, options):
                told.dropped["not wanted"] += 1
                continue
            yield Document(id=f"{name}:{number}", text=row[text], source=options.dataset or "hub", meta=kept)
            count += 1
        done += size
    told.progress(Event(stage="hub", done=done, total=done, unit="bytes", figures={"documents": float(count)}))


def _wanted(meta: Mapping[str, Any], options: Options) -> bool:
    """Whether ``where`` and ``unless`` want a row, by the columns kept of it."""

    def holds(key: str, value: Any) -> bool:
        found: Any = meta
        for name in key.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return found in value if isinstance(value, (list, tuple)) else bool(found == value)

    return all(holds(*pair) for pair in options.where.items()) and not any(
        holds(*pair) for pair in options.unless.items()
    )


def _plain(value: Any, packed: bool) -> Any:
    """A value that JSON can hold; a packed one is unpacked."""
    if packed and isinstance(value, str):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value  # OpenWebMath's metadata is Python's repr in places
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)


def _local_files(options: Options, layout: Columns) -> dict[str, int]:
    assert options.path is not None
    if not options.path.is_dir():
        raise NotHere("no such folder", where=options.path)
    names = {p.relative_to(options.path).as_posix(): p.stat().st_size for p in options.path.rglob("*") if p.is_file()}
    return _matching(names, options, layout)


def _open_local(folder: Path) -> Opener:
    def opened(name: str) -> IO[bytes]:
        try:
            return open(folder / name, "rb")
        except OSError as error:
            raise DataError(explain(error), where=folder / name) from error

    return opened


class _Hub:
    """One dataset at one commit."""

    def __init__(self, client: Client, options: Options) -> None:
        self._client, self._options = client, options
        self._endpoint = (options.endpoint or os.environ.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
        self._sizes: dict[str, int] = {}
        self._hashes: dict[str, str] = {}
        self.commit = self._pinned()

    def _address(self, template: str, **more: str) -> str:
        parts = {"dataset": self._options.dataset, **more}
        return f"{self._endpoint}{quoted(parts, template)}"

    def _pinned(self) -> str:
        """The commit that the revision means now: a branch that moves meanwhile does not mix two versions."""
        revision = self._options.revision.replace("/", "%2F")
        url = self._address("/api/datasets/{dataset}/revision/") + revision
        about, _ = self._client.json(url)
        commit = about.get("sha") if isinstance(about, dict) else None
        if not isinstance(commit, str) or not re.fullmatch(r"[0-9a-f]{7,64}", commit):
            raise DataError("the hub names no commit", where=url)
        return commit

    def files(self) -> Mapping[str, int]:
        """Size in bytes of every file, by path."""
        page: str | None = self._address("/api/datasets/{dataset}/tree/{commit}?recursive=true", commit=self.commit)
        while page:
            entries, page = self._client.json(page)
            for entry in entries if isinstance(entries, list) else ():
                if isinstance(entry, dict) and entry.get("type") == "file" and isinstance(entry.get("path"), str):
                    self._sizes[entry["path"]] = int(entry.get("size") or 0)
                    self._hashes[entry["path"]] = str((entry.get("lfs") or {}).get("oid", ""))
        return self._sizes

    def open(self, name: str) -> IO[bytes]:
        """A file to read: from the cache, streamed, or (Parquet) read in parts."""
        url = self._address("/datasets/{dataset}/resolve/{commit}/{name}", commit=self.commit, name=name)
        if self._options.cache is not None:
            return open(self._fetched(url, name, self._options.cache), "rb")
        if name.endswith(".parquet"):
            return io.BufferedReader(Remote(self._client, url, self._sizes.get(name) or None))
        return io.BufferedReader(Streamed(self._client.stream(url)), 1 << 20)

    def _fetched(self, url: str, name: str, cache: Path) -> Path:
        """The file in the cache folder, complete: what exists under its name is whole."""
        path = cache / self._options.dataset.replace("/", "--") / self.commit / name
        if path.is_file():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        start = part.stat().st_size if part.is_file() else 0
        if start < (self._sizes.get(name) or start + 1):
            with open(part, "ab") as file:
                for piece in self._client.stream(url, start):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
        if self._hashes.get(name) and _sha256(part) != self._hashes[name]:
            part.unlink()
            raise DataError("the downloaded file is not what the hub says it is; run the same command again", where=url)
        part.replace(path)
        return path


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

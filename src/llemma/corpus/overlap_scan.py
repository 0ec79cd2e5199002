"""``llemma overlap``: looks for benchmark items in a corpus, file by file, and says what it found where.

The run folder: ``rows.jsonl`` (a row per file, or per stretch of a long one, with every hit), then, derived,
``overlap.jsonl`` (a line per problem: what ``llemma eval overlap=…`` reads), ``hits.jsonl`` (a line per hit, with its
context), ``hits.md`` (the same to read), ``metrics.json``. Stretches are done by several processes, once each: a run
that was killed goes on behind the last of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import process_time
from typing import Any

from llemma.config import to_table
from llemma.corpus.engine_local import LocalEngine
from llemma.corpus.overlap import Index, build_index, loaded
from llemma.corpus.overlap_items import Item, checked_tasks, generations, task_items
from llemma.corpus.overlap_report import Found, as_markdown, by_problem, summary
from llemma.corpus.overlap_settings import ScanConfig
from llemma.corpus.units import Row, run_stage
from llemma.errors import ConfigError, DataError, explain
from llemma.records import Event, Progress, silent
from llemma.run import Run, atomic_file, atomic_write, cores, json_line, open_run
from llemma.sources import _tables

PLAIN = (".txt", ".md", ".tex", ".rst")  # a file of these is one document
TEXTS = (*(e for e in _tables.ENDINGS if not e.startswith(".json") or e.startswith(".jsonl")), *PLAIN)
PIECE = 64 << 20  # bytes of a .jsonl file that are one unit of work
BATCH = 1 << 20  # characters searched at a time


SLOW = 'numba is not installed, so the search runs in Python, a hundred times slower: pip install "llemma[corpus]"'
FILES = {"overlap": "overlap.jsonl", "hits": "hits.jsonl", "page": "hits.md"}
FREE = ("run", "workers")  # settings that may differ when a scan goes on


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A file, or the lines of a long one that begin in ``start:end``."""

    number: int
    path: Path
    start: int
    end: int
    stamp: tuple[int, int]  # size and time of the last change of the file
    index: Path
    text: str
    name: str  # column of ids
    stage: str = "overlap"

    @property
    def id(self) -> str:
        """The id of its row."""
        return f"scan:{self.number:06d}"

    @property
    def where(self) -> str:
        """How messages name it."""
        return str(self.path) if self.start == 0 else f"{self.path} from byte {self.start:,}"

    @property
    def input(self) -> str:
        """What it reads, as a short hash."""
        what = [str(self.path), self.start, self.end, *self.stamp, self.text, self.name]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]

    def do(self, progress: Progress = silent) -> Row:
        """Search every document; the row counts them and holds every hit."""
        index, began = loaded(self.index), process_time()
        hits: list[Row] = []
        documents = size = 0
        for batch in _batches(self._documents()):
            for (name, text), found in zip(batch, index.scan_all([text for _, text in batch]), strict=True):
                documents += 1
                size += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
                hits += [{"document": name, **asdict(hit)} for hit in found]
        cpu = round(process_time() - began, 3)
        return {"file": str(self.path), "documents": documents, "bytes": size, "cpu": cpu, "hits": hits}

    def _documents(self) -> Iterator[tuple[str, str]]:
        name = self.path.name
        if name.endswith(PLAIN):
            yield name, self.path.read_bytes().decode("utf-8", "replace")
            return
        rows = self._lines() if name.endswith(".jsonl") else self._rows()
        for place, row in rows:
            text = row.get(self.text)
            if not isinstance(text, str):
                raise DataError(
                    f"expected an object with a string field {self.text!r}; text=COLUMN names another",
                    where=f"{self.path}:{place}",
                )
            own = row.get(self.name)
            yield f"{name}:{place}" if own is None else str(own), text

    def _rows(self) -> Iterator[tuple[int | str, Mapping[str, Any]]]:
        with open(self.path, "rb") as file:
            yield from _tables.rows(file, str(self.path), columns=[self.text, self.name])

    def _lines(self) -> Iterator[tuple[int | str, Mapping[str, Any]]]:
        """The rows of the lines that begin in this stretch, with the number of their first byte."""
        with open(self.path, "rb") as file:
            place = self.start
            if self.start:
                file.seek(self.start - 1)
                place += len(file.readline()) - 1  # the end of the line that began before
            while place < self.end and (line := file.readline(_tables.LONGEST_LINE)):
                if line.strip():
                    try:
                        row = json.loads(line)
                    except (ValueError, RecursionError) as error:
                        raise DataError(f"not valid JSON: {error}", where=f"{self.path}, byte {place:,}") from error
                    yield f"@{place}", row if isinstance(row, dict) else {}
                place += len(line)


def _batches(documents: Iterator[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    batch: list[tuple[str, str]] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document[1])
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def corpus_files(paths: Sequence[Path], run: Path | None = None) -> list[Path]:
    """The files of a corpus, each once, in a fixed order, without those in the folder ``run``, where the scan writes.

    Raises ConfigError, DataError that say what to do.
    """
    if not paths:
        raise ConfigError("missing key corpus (files or folders to search)")
    found: list[Path] = []
    for path in paths:
        files = [path] if path.is_file() else list(_below(path))
        if not files:
            raise DataError(
                "no texts here: expected .jsonl, .parquet (or .gz, .zst) or .txt files"
                if path.is_dir()
                else "no such file or folder",
                where=path,
            )
        found += files
    once: dict[Path, Path] = {}
    for file in found:
        once.setdefault(file.resolve(), file)  # a file that is named twice counts once
    return [file for place, file in once.items() if run is None or not place.is_relative_to(run.resolve())]


def _below(folder: Path) -> Iterator[Path]:
    if (folder / "manifest.json").exists() and (folder / "shards").is_dir():  # a corpus that `llemma corpus` built
        if not list((folder / "parts").glob("*.jsonl")):
            raise DataError("a corpus without its texts: build it with keep_text=true", where=folder)
        folder = folder / "parts"
    elif (folder / "config.json").exists() and (folder / "kept").is_dir():  # the output of `llemma dedup`
        folder = folder / "kept"
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name.endswith(TEXTS) and not _bookkeeping(path):
            yield path


def _bookkeeping(path: Path) -> bool:
    """Whether a file is hidden, or the rows of a run folder."""
    return path.name.startswith(".") or (path.name == "rows.jsonl" and (path.parent / "config.json").exists())


def scan(config: ScanConfig, progress: Progress = silent) -> dict[str, Any]:
    """Search the corpus (or finish doing so); returns what ``metrics.json`` holds, with the places of the files.

    Raises ConfigError and DataError before any work for what is missing, DataError for a file that cannot be read.
    """
    items = _items(config)
    files = corpus_files(config.corpus, config.run)
    settings = {**to_table(config), "items": _digest(items)}
    with open_run(config.run, "overlap", settings, free=FREE) as run:
        index = build_index(items, config.rule)
        if config.engine == "auto" and index.engine == "python":
            progress(Event(stage="overlap", note=SLOW))
        path = run.folder / "index.jsonl"
        if not path.exists():
            index.save(path)
        stretches = _stretches(files, config, path.resolve())
        with LocalEngine(config.workers or cores()) as engine:
            rows = run_stage(stretches, run, engine, progress)
        return _finish(run, index, list(rows.values()))


def _items(config: ScanConfig) -> list[Item]:
    if not config.benchmark and not config.generations:
        raise ConfigError("missing key benchmark (tasks, e.g. math,gsm8k) or generations (run folders)")
    items = task_items(checked_tasks(config.benchmark), config.fields) if config.benchmark else []
    return items + [item for run in config.generations for item in generations(run)]


def _digest(items: Sequence[Item]) -> str:
    """The items as a short hash: a scan goes on with the same ones only."""
    found = hashlib.sha256()
    for item in items:
        found.update(json_line(asdict(item)))
    return found.hexdigest()[:16]


def _stretches(files: Sequence[Path], config: ScanConfig, index: Path) -> list[Stretch]:
    found: list[Stretch] = []
    for path in files:
        try:
            facts = path.stat()
        except OSError as error:
            raise DataError(explain(error), where=path) from error
        step = PIECE if path.name.endswith(".jsonl") else max(1, facts.st_size)
        for start in range(0, facts.st_size, step):
            found.append(
                Stretch(
                    number=len(found), path=path, start=start, end=min(start + step, facts.st_size),
                    stamp=(facts.st_size, facts.st_mtime_ns), index=index, text=config.text, name=config.id,
                )
            )  # fmt: skip
    return found


def _finish(run: Run, index: Index, rows: Sequence[Row]) -> dict[str, Any]:
    found = Found.of(index, rows)
    with atomic_file(run.folder / FILES["overlap"]) as file:
        file.writelines(map(json_line, by_problem(found)))
    with atomic_file(run.folder / FILES["hits"]) as file:
        file.writelines(map(json_line, found.hits))
    metrics = summary(found)
    atomic_write(run.folder / FILES["page"], as_markdown(found, metrics))
    run.write_json("metrics.json", metrics)
    places = {name: str(run.folder / file) for name, file in FILES.items()}
    return {"run": str(run.folder), "files": places, **metrics}

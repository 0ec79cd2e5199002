"""``llemma dedup``: files of rows in, the same rows without duplicates out, and a list of what was removed and why.

Stages over pieces of the input: sign (signatures and ids) → group (one unit) → with ``dedup.paragraphs`` the same for
paragraphs → write. Each piece is a unit with a row in the run folder, its files are written atomically: a killed run
goes on where it was. The text is read twice and never held; what is kept between the stages is 240 bytes a document on
the disk.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from llemma.config import setting, to_table
from llemma.corpus import dedup, dedup_rows, minhash
from llemma.corpus.dedup import DedupConfig
from llemma.corpus.dedup_rows import Columns, Piece
from llemma.corpus.dedup_units import KINDS, WORK, GroupUnit, PieceUnit, Stage, write_table
from llemma.corpus.engine_local import LocalEngine
from llemma.corpus.units import Row, lost, run_stage, verify
from llemma.errors import ConfigError, DataError
from llemma.records import Progress, silent
from llemma.run import Run, check_folders, cores, make_folders, open_run, read_json
from llemma.sources._files import walk

FREE = ("workers", "dry_run", "paths")  # may differ when a run goes on; the input is compared piece by piece
FOLDERS = (WORK, "kept", "removed")


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupFilesConfig:
    """Settings of ``llemma dedup``."""

    paths: tuple[Path, ...] = setting(
        help="files (.jsonl, .parquet; .gz, .zst) or folders of them; last the folder to write"
    )
    text: str = setting("text", "column that holds the text")
    id: str = setting("id", "column that holds the id; without it the id is FILE:ROW")
    dedup: DedupConfig = setting(factory=DedupConfig, help="how duplicates are found")
    piece_mb: int = setting(64, "megabytes of a file that are one unit of work")
    workers: int = setting(0, "processes (0: one per core)")
    dry_run: bool = setting(False, "show what would be done, write nothing")

    def __post_init__(self) -> None:
        if len(self.paths) < 2:
            raise ValueError("name the input and, last, the folder to write: llemma dedup IN... OUT")
        if not self.dedup.enabled:
            raise ValueError("dedup.enabled=false: nothing to do")
        if self.workers < 0:
            raise ValueError(f"workers={self.workers}: must not be negative")
        if self.piece_mb < 1:
            raise ValueError(f"piece_mb={self.piece_mb} must be at least 1")

    @property
    def out(self) -> Path:
        """The folder that is written."""
        return self.paths[-1]


def dedup_files(config: DedupFilesConfig, progress: Progress = silent) -> dict[str, Any]:
    """Remove the duplicates; returns the summary, which is in ``OUT/summary.json`` too.

    Raises ConfigError for settings and DataError for input that cannot be used, with file and place.
    """
    pieces = find_pieces(config)
    check_folders(config.out, FOLDERS)
    began = time.perf_counter()
    settings = {key: value for key, value in to_table(config).items() if key != "dry_run"}
    with open_run(config.out, "dedup", settings, free=FREE) as run:
        if (run.folder / "summary.json").exists():
            _check_finished(config, pieces, run)
            return dict(read_json(run.folder / "summary.json"))
        make_folders(run.folder, FOLDERS)
        dedup.signatures([""], config.dedup)  # compiled here once, not in all processes at the same time
        with LocalEngine(config.workers or cores()) as engine:
            summary = _Job(config, pieces, run, engine, progress).do()
        summary["seconds"] = round(time.perf_counter() - began, 1)
        run.write_json("summary.json", summary)
        shutil.rmtree(run.folder / WORK)
    return summary


def _check_finished(config: DedupFilesConfig, pieces: Sequence[Piece], run: Run) -> None:
    """Raises DataError where a finished run had other input, or its output is no longer there."""
    rows = list(run.rows())
    then = {row["id"]: row["input"] for row in rows if row["stage"] == "sign"}
    if then != {unit.id: unit.input for unit in _units(config, pieces, "sign")}:
        raise DataError("finished with other input, or its input has changed; name another OUT", where=run.folder)
    gone = next(filter(None, (lost(row, run.folder) for row in rows if row["stage"] == "write")), "")
    if gone:
        raise DataError(f"missing or cut; delete {run.folder} and run the same command again", where=run.folder / gone)


def plan(config: DedupFilesConfig) -> dict[str, Any]:
    """What would be done, without doing it. Raises as ``dedup_files`` would for the input."""
    pieces, shape = find_pieces(config), dedup.plan(config.dedup)
    check_folders(config.out, FOLDERS)
    size = sum(path.stat().st_size for path in {piece.path for piece in pieces})
    found: dict[str, Any] = {
        "out": str(config.out),
        "files": len({piece.path for piece in pieces}),
        "bytes": size,
        "pieces": len(pieces),
        "workers": config.workers or cores(),
        "exact": config.dedup.exact,
    }
    if shape.bands:
        odds = {s: f"{minhash.recall(s, shape.bands, shape.rows):.1%}" for s in (0.5, 0.6, 0.7, 0.8, 0.9)}
        found["near"] = f"{shape.bands} bands of {shape.rows} rows, {shape.ngram} words a shingle"
        found["found at similarity"] = ", ".join(f"{s}: {p}" for s, p in odds.items())
    found["paragraphs"] = config.dedup.paragraphs
    found["scratch"] = f"{8 * shape.width} bytes a document, as much again while grouping"
    return found


def find_pieces(config: DedupFilesConfig) -> list[Piece]:
    """The pieces of all input files in order of priority. Raises ConfigError, DataError."""
    inputs, size = config.paths[:-1], config.piece_mb * 1_000_000
    names = [path.resolve().name for path in inputs]
    for name in config.dedup.priority:
        if name not in names:
            raise ConfigError(f"dedup.priority: no input {name!r}; there are {', '.join(names)}")
    ordered = [inputs[k] for k in dedup.in_order(names, config.dedup.priority)]
    for path in ordered:
        if path.is_dir() and config.out.resolve().is_relative_to(path.resolve()):
            raise ConfigError(f"{config.out} lies inside the input {path}; choose another folder to write")
    found = [
        piece
        for name, path in walk(ordered, dedup_rows.wanted, source="dedup")
        for piece in dedup_rows.pieces(path, name, size)
    ]
    if not found:
        raise DataError("no .jsonl or .parquet files here", where=ordered[0])
    targets: set[str] = set()
    for k, piece in enumerate(found):
        if piece.target in targets:  # a.jsonl that was cut beside an a-00000.jsonl
            found[k] = piece = replace(piece, name=f"{k}/{piece.name}")
        targets.add(piece.target)
    return found


def _units(config: DedupFilesConfig, pieces: Sequence[Piece], stage: Stage) -> list[PieceUnit]:
    columns = Columns(text=config.text, id=config.id)
    return [
        PieceUnit(stage=stage, out=config.out, number=k, piece=piece, columns=columns, dedup=config.dedup)
        for k, piece in enumerate(pieces)
    ]


class _Job:
    """One run: the stages, one after the other, and what they found."""

    def __init__(
        self, config: DedupFilesConfig, pieces: Sequence[Piece], run: Run, engine: LocalEngine, progress: Progress
    ) -> None:
        self._config, self._pieces, self._run = config, pieces, run
        self._engine, self._progress = engine, progress
        self._columns = Columns(text=config.text, id=config.id)

    def do(self) -> dict[str, Any]:
        """All stages; the summary."""
        signed = self._each("sign")
        write_table(self._run.folder, self._pieces, [row["documents"] for row in signed])
        self._verify(signed, "group")
        grouped = self._group("group")
        if self._config.dedup.paragraphs:
            counted = self._each("paragraphs")
            write_table(
                self._run.folder, self._pieces, [row["documents"] for row in signed],
                [row["paragraphs"] for row in counted],
            )  # fmt: skip
            self._group("group paragraphs")
        self._verify([grouped], "write")
        written = self._each("write")
        total = {key: sum(row[key] for row in written) for key in ("documents", "kept", *KINDS)}
        return {
            "run": str(self._run.folder),
            **total,
            "paragraphs_removed": sum(row["paragraphs_removed"] for row in written),
            "bytes": sum(row["bytes"] for row in signed),
            "sizes": grouped["sizes"],
            "largest": grouped["largest"],
        }

    def _verify(self, rows: Sequence[Row], stage: str) -> None:
        """Check what earlier stages wrote, before ``stage`` reads it. Raises DataError for damaged files."""
        todo = 1 if stage == "group" else len(self._pieces)
        if sum(row["stage"] == stage for row in self._run.rows()) < todo:
            for row in rows:
                for name, fact in row["files"].items():
                    verify(self._run.folder / name, fact)

    def _each(self, stage: Stage) -> list[Row]:
        units = _units(self._config, self._pieces, stage)
        rows = run_stage(units, self._run, self._engine, self._progress)
        return [rows[unit.id] for unit in units]

    def _group(self, stage: Literal["group", "group paragraphs"]) -> Row:
        unit = GroupUnit(
            stage=stage,
            out=self._run.folder,
            pieces=tuple(self._pieces),
            columns=self._columns,
            dedup=self._config.dedup,
        )
        return run_stage([unit], self._run, self._engine, self._progress)[unit.id]

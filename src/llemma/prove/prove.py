"""Proves theorems: every search for every theorem, a row for each, figures with intervals out of the rows.

Resuming is by theorem and search: what has a row is not done again. A search that the infrastructure broke has an
error row, is tried again on the next call, and counts neither as proved nor as not proved.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llemma.backends import Backend
from llemma.config import to_table
from llemma.errors import Caught, ProverError
from llemma.prove.cache import Cache
from llemma.prove.config import ProveConfig
from llemma.prove.figures import ProveResult, figures
from llemma.prove.theorems import Source, chosen, is_file, load, prover_for
from llemma.prove.trace import write_trace
from llemma.prove.work import Made, Tools, Unit, attempt, open_tools
from llemma.provers import Prover, theorem_hash
from llemma.records import Event, Progress, Theorem, silent, to_row
from llemma.run import Run, cores, json_line, open_run

ERRORS_ALLOWED = 0.05  # share of searches lost to infrastructure above which a score is not worth reporting
TASK_PROVER = "lean"  # of a task when no prover is named: most people's theorems are for Lean

# Settings that do not change what is proved, so that they may differ on resume.
FREE = ("run", "workers", "cache", "cache_timeouts", "engine", "address", "backend", "prover_options")

Store = Callable[[Unit, Made | Caught], None]


@dataclass(slots=True, kw_only=True)
class _Rows:
    """The newest row of each search, stored in the run folder when there is one."""

    run: Run | None
    rows: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def done(self, unit: Unit) -> bool:
        row = self.rows.get(f"{unit[0].name}/{unit[1]}")
        return row is not None and row["error"] is None

    def store(self, unit: Unit, made: Made | Caught) -> None:
        """A row and its trace; the trace first, because the row says that the search is done."""
        if isinstance(made, Made):
            row: Mapping[str, Any] = made.row
            if self.run is not None:
                write_trace(self.run.folder, made.row["trace"], made.trace, made.seconds)
        else:
            row = _lost(unit, made)
        if self.run is not None:
            self.run.append_lines([json_line(row)])
        self.rows[row["id"]] = row


def prove(
    config: ProveConfig,
    *,
    progress: Progress = silent,
    backend: Backend | None = None,
    prover: Prover | None = None,
) -> ProveResult:
    """Search for proofs as ``config`` says; ``backend`` and ``prover`` replace those that it names.

    Raises ConfigError, DataError and ProverError before any work, RunError for a folder of other settings, and
    ProverError at the end when more than 5 % of the searches were lost to failures of the infrastructure.
    """
    config = replace(config, prover=_prover(config))
    source = load(config.source, config.prover, config.options)
    theorems = chosen(source, config.names, config.limit)
    with ExitStack() as stack:
        tools = open_tools(config, backend=backend, prover=prover)
        if prover is None:
            stack.callback(tools.prover.close)
        run = _open_folder(config, tools, source, theorems, stack)
        tools.cache = _open_cache(config, stack)
        rows = _Rows(run=run)
        if run is not None:
            rows.rows = {row["id"]: row for row in run.rows()}
        units = [(theorem, search) for theorem in theorems for search in config.searches]
        try:
            _all(tools, units, rows, progress)
        except BaseException:
            _finish(config, tools, source, units, rows)
            raise
        result = _finish(config, tools, source, units, rows)
    _refuse_too_many_errors(result, rows)
    return result


def _prover(config: ProveConfig) -> str:
    if config.prover or is_file(config.source):
        return prover_for(Path(config.source), config.prover)
    return TASK_PROVER


def _open_folder(
    config: ProveConfig, tools: Tools, source: Source, theorems: Sequence[Theorem], stack: ExitStack
) -> Run | None:
    if config.run is None:
        return None
    settings = {
        **to_table(config),
        "theorems": {"source": source.name, "digest": source.digest, "count": len(source.theorems), **source.meta},
        "prover_info": {"version": tools.prover.version, **tools.prover.info},
        "model_info": tools.info,
        "policies": {name: dict(policy.info) for name, policy in tools.policies.items()},
    }
    free = [*FREE, "model_info.address", "prover_info.walls"]
    if tools.info.get("weights"):  # known by their hash, so the folder they lie in may be moved
        free += ["model", "model_info.model", "policies"]
    return stack.enter_context(open_run(config.run, "prove", settings, free=free, grows=("limit", "names", "search")))


def _open_cache(config: ProveConfig, stack: ExitStack) -> Cache | None:
    if config.cache == "none" or (config.cache == "auto" and config.run is None):
        return None
    path = config.run / "cache.sqlite" if config.cache == "auto" and config.run is not None else Path(config.cache)
    cache = Cache(path, keep_passing=config.cache_timeouts)
    stack.callback(cache.close)
    return cache


def _all(tools: Tools, units: Sequence[Unit], rows: _Rows, progress: Progress) -> None:
    """Do the searches that have no row, several theorems at a time."""
    todo = [unit for unit in units if not rows.done(unit)]
    meter = _Meter(progress, [unit for unit in units if rows.done(unit)], rows, len(units))

    def store(unit: Unit, made: Made | Caught) -> None:
        rows.store(unit, made)
        meter.show(unit)

    if tools.config.engine == "ray":
        from llemma.prove.engine_ray import run_units

        run_units(tools.config, todo, store)
    else:
        _run_threads(tools, todo, store)


def _run_threads(tools: Tools, units: Sequence[Unit], store: Store) -> None:
    workers = min(tools.config.workers or cores(), max(len(units), 1))
    pool = ThreadPoolExecutor(workers, thread_name_prefix="prove")
    waiting = iter(units)
    running: dict[Future[Made | Caught | None], Unit] = {}

    def fill() -> None:
        for unit in waiting:
            running[pool.submit(attempt, tools, unit)] = unit
            if len(running) >= workers:
                return

    try:
        fill()
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                unit, made = running.pop(future), future.result()
                if made is not None:
                    store(unit, made)
            fill()
    except BaseException:
        tools.stop.set()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _lost(unit: Unit, caught: Caught) -> dict[str, Any]:
    theorem, search = unit
    return {
        "id": f"{theorem.name}/{search}", "theorem": theorem.name, "search": search, "hash": theorem_hash(theorem),
        "statement": theorem.statement, "proved": False, "error": str(caught),
    }  # fmt: skip


def _finish(config: ProveConfig, tools: Tools, source: Source, units: Sequence[Unit], rows: _Rows) -> ProveResult:
    wanted = [rows.rows[key] for theorem, search in units if (key := f"{theorem.name}/{search}") in rows.rows]
    cache = None if tools.cache is None else (tools.cache.hits, tools.cache.misses)
    result = figures(config, source, tools.prover.version, wanted, cache)
    if rows.run is not None:
        rows.run.write_json("metrics.json", to_row(result))
    return result


def _refuse_too_many_errors(result: ProveResult, rows: _Rows) -> None:
    total = sum(each.theorems + each.errors for each in result.searches)
    errors = [row["error"] for row in rows.rows.values() if row["error"] is not None]
    if len(errors) > ERRORS_ALLOWED * total:
        kept = "; the same command tries them again, the others are kept" if result.run else ""
        raise ProverError(f"{len(errors)} of {total} searches were lost to failures, the first: {errors[0]}{kept}")


class _Meter:
    """Counts what is done and tells the progress sink."""

    def __init__(self, progress: Progress, done: Sequence[Unit], rows: _Rows, total: int) -> None:
        self.progress, self.rows, self.total, self.done = progress, rows, total, len(done)
        self.proved: dict[str, int] = {}
        for unit in done:
            self._count(unit)
        self.start = time.perf_counter()
        note = f"{self.done} searches are already there" if done else ""
        progress(Event(stage="prove", done=self.done, total=total, unit="searches", note=note))

    def show(self, unit: Unit) -> None:
        self.done += 1
        row = self._count(unit)
        note = f"a search was lost: {row['error']}" if row["error"] is not None else ""
        shown: dict[str, float | str] = {f"{name}": str(count) for name, count in self.proved.items()}
        self.progress(Event(stage="prove", done=self.done, total=self.total, unit="searches", figures=shown, note=note))

    def _count(self, unit: Unit) -> Mapping[str, Any]:
        row = self.rows.rows[f"{unit[0].name}/{unit[1]}"]
        self.proved[unit[1]] = self.proved.get(unit[1], 0) + bool(row["proved"])
        return row

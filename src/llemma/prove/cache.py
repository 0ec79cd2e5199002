"""Results of tactics in a SQLite file, by all that they depend on; knows nothing of searches.

A result is found by the prover's version, prelude and statement, the tactics that led to the state, the tactic and its
limits. Time-outs, lack of memory and crashes depend on the machine and the moment: they are stored, but not taken for
final unless asked.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from pathlib import Path

from llemma.errors import RunError
from llemma.provers import Limits, theorem_hash
from llemma.records import Failure, Goal, ProofState, to_row

PASSING = ("timeout", "memory", "crash")  # kinds of failure that may not happen again


class Cache:
    """An open cache; several threads and processes may use the file at the same time."""

    def __init__(self, path: Path, *, keep_passing: bool = False) -> None:
        self.path, self.keep_passing = path, keep_passing
        self.hits = self.misses = 0
        self._lock = threading.Lock()
        try:
            self._file = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            # a power cut may lose the last results, a killed process none
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute("PRAGMA synchronous = OFF")
            self._file.execute("CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")
        except sqlite3.Error as error:
            raise RunError(f"{path}: cannot be used as a cache ({error}); delete it or use cache=OTHER") from error

    def key(self, version: str, state: ProofState, tactic: str, limits: Limits) -> str:
        """The name of a result."""
        parts = (version, theorem_hash(state.theorem), state.tactics, tactic, limits.seconds, limits.memory)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def get(self, key: str, state: ProofState, tactic: str) -> ProofState | Failure | None:
        """The stored result of ``tactic`` at ``state``; None when there is none that is final."""
        with self._lock:
            row = self._file.execute("SELECT value FROM results WHERE key = ?", (key,)).fetchone()
            found = None if row is None else json.loads(row[0])
            if found is not None and found.get("kind") in PASSING and not self.keep_passing:
                found = None
            self.hits += found is not None
            self.misses += found is None
        if found is None:
            return None
        if "kind" in found:
            return Failure(kind=found["kind"], message=found["message"])
        goals = tuple(Goal(hypotheses=tuple(g["hypotheses"]), conclusion=g["conclusion"]) for g in found["goals"])
        return ProofState(theorem=state.theorem, tactics=tuple(found["tactics"]), goals=goals)

    def put(self, key: str, result: ProofState | Failure) -> None:
        """Store a result."""
        value = to_row(result)
        if isinstance(result, ProofState):
            value = {"tactics": value["tactics"], "goals": value["goals"]}
        with self._lock:
            self._file.execute("INSERT OR REPLACE INTO results VALUES (?, ?)", (key, json.dumps(value)))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

"""Coq and Rocq, 8.16 and newer: coqidetop for search, coqc, a kernel-pinned statement and coqchk for verdicts.

``apply`` runs in cloned processes (see ``session``); ``check`` and ``check_file`` believe none of them (see ``check``).
"""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from llemma.config import setting
from llemma.provers import CHECK, TACTIC, Limits
from llemma.provers.coq import check as checking
from llemma.provers.coq import gate, install, protocol, statements
from llemma.provers.coq.bugs import known_bugs
from llemma.provers.coq.sentences import Torn, split
from llemma.provers.coq.session import Refusal, Seat, Session, attempt
from llemma.provers.coq.worker import Lost
from llemma.records import Failure, Goal, ProofState, Theorem, Verdict
from llemma.run import cores

_START_SECONDS = 60.0
_OUT_OF_MEMORY = "Out of memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of this prover."""

    folder: Path | None = setting(None, "folder of Coq's programs (default: those on PATH)")
    libraries: tuple[str, ...] = setting((), "own compiled libraries, each FOLDER=Logical.Name (coqc -Q)")
    recursive: tuple[str, ...] = setting((), "the same, visible without their prefix (coqc -R)")
    flags: tuple[str, ...] = setting((), "more words for coqidetop and coqc, e.g. -impredicative-set")
    workers: int = setting(0, "tactics run at the same time (0: one for each core)")
    branches: int = setting(16, "proof states kept alive as processes")
    memory: int = setting(2048, "megabytes those processes may have besides what they share")
    clone: bool = setting(True, "clone processes (needs Linux and a C compiler); off: replay the tactics instead")
    axioms: tuple[str, ...] = setting((), "axioms accepted besides those of the standard library, by full name")
    walls: str = setting("auto", "walls around coqc when it reads proofs: auto|T1|T2")

    def __post_init__(self) -> None:
        if self.workers < 0 or self.branches < 1 or self.memory < 64:
            raise ValueError("workers must be at least 0, branches at least 1, memory at least 64")
        for entry in (*self.libraries, *self.recursive):
            if "=" not in entry:
                raise ValueError(f"{entry}: a library is given as FOLDER=Logical.Name")


class CoqProver:
    """One Coq with its processes."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.programs = install.find(options.folder)
        self.session = Session(
            self.programs, flags(options), workers=options.workers or cores(), branches=options.branches,
            memory=options.memory, clone=options.clone,
        )  # fmt: skip

    @property
    def name(self) -> str:
        """``coq``."""
        return "coq"

    @property
    def version(self) -> str:
        """Of Coq and of the installed packages that statements use, with the flags that change meanings."""
        return _version(self.programs, flags(self._options))

    @property
    def info(self) -> Mapping[str, str]:
        """Version, libraries, how states are kept, walls, known bugs of this kernel."""
        libraries = ", ".join(f"{name} ({mark})" for name, mark in install.libraries(self.programs).items())
        return {
            "prover": f"Coq {self.programs.version}",
            "libraries": libraries or "standard library",
            "states": self.session.shim.detail if self.session.shim.path else f"replay: {self.session.shim.detail}",
            "walls": checking.walls(self._options.walls),
            "kernel": known_bugs(self.programs.numbers) or "no known bug",
        }

    def start(self, theorem: Theorem) -> ProofState | Failure:
        """The state before the first tactic; ``error`` when Coq refuses prelude or statement."""
        goals, message = None, ""
        for last in (False, True):
            try:
                path = [_statement(theorem)]
                with self.session.at(theorem.prelude, []) as seat:
                    goals, message = attempt(seat, path, seconds=_START_SECONDS, memory=TACTIC.memory)
                break
            except (Refusal, Torn, ValueError) as error:
                return Failure(kind="error", message=str(error))
            except Lost as lost:
                if last or lost.kind != "crash":
                    return Failure(kind=lost.kind, message=str(lost))
        if goals is None:
            return Failure(kind="error", message=message or "the statement opens no proof")
        return ProofState(theorem=theorem, tactics=(), goals=goals.open or goals.shelved)

    def apply(self, state: ProofState, tactic: str, limits: Limits = TACTIC) -> ProofState | Failure:
        """The state after ``tactic``: one sentence, or several that hold together or not at all.

        When no goals are left, ``Qed`` has accepted the proof, so that tricks which only empty the list of goals
        (``exact_no_check``, ``fix`` without descent) come back as a Failure.
        """
        allowed = _sentences(tactic, _capitals(state.theorem.prelude))
        if isinstance(allowed, Failure):
            return allowed
        path = [_statement(state.theorem)]
        for done in state.tactics:
            before = _sentences(done, _capitals(state.theorem.prelude))
            assert not isinstance(before, Failure), "a state holds tactics that were let through"
            path += before
        for last in (False, True):  # a process that somebody else killed says nothing about the tactic: try again
            try:
                with self.session.at(state.theorem.prelude, path) as seat:
                    return self._step(seat, state, tactic, (path, allowed), limits)
            except Refusal as error:
                return Failure(kind="error", message=str(error))
            except Lost as lost:
                if last or lost.kind != "crash":
                    return Failure(kind=lost.kind, message=str(lost))
        raise AssertionError("the second try returns")

    def _step(
        self, seat: Seat, state: ProofState, tactic: str, texts: tuple[list[str], Sequence[str]], limits: Limits
    ) -> ProofState | Failure:
        path, sentences = texts
        began = time.monotonic()
        goals, message = attempt(seat, sentences, seconds=limits.seconds, memory=limits.memory)
        self.session.remember((*path, *sentences), time.monotonic() - began)
        if message.startswith(_OUT_OF_MEMORY):
            seat.worker.kill()
            return Failure(kind="memory", message=message)
        if goals is None:
            return Failure(kind="error", message=message or "the proof is closed")
        if goals.given_up:
            return Failure(kind="forbidden", message="gives a goal up")
        left: tuple[Goal, ...] = goals.open or goals.shelved
        if not left:
            refused = self._qed(seat, limits)
            if refused is not None:
                return refused
        return ProofState(theorem=state.theorem, tactics=(*state.tactics, tactic), goals=left)

    @staticmethod
    def _qed(seat: Seat, limits: Limits) -> Failure | None:
        _, message = attempt(seat, ["Qed."], seconds=limits.seconds, memory=limits.memory)
        if seat.path[-1][0] == "Qed.":
            del seat.path[-1]
        seat.stale = True
        return Failure(kind="error", message=f"Qed refuses the proof: {message}") if message else None

    def check(self, theorem: Theorem, proof: str, limits: Limits = CHECK) -> Verdict:
        """Whether ``proof``, tactics only, proves the theorem."""
        return checking.check(self._checker(), theorem, proof, limits)

    def check_many(self, theorems: Sequence[Theorem], proofs: Sequence[str], limits: Limits = CHECK) -> list[Verdict]:
        """``check`` for theorems with one prelude, compiled together: many times faster, no layer less."""
        return checking.check_many(self._checker(), theorems, proofs, limits)

    def check_file(self, theorem: Theorem, text: str, limits: Limits = CHECK) -> Verdict:
        """Whether a whole file proves the theorem; a text that states nothing under its name is taken as tactics."""
        return checking.check_file(self._checker(), theorem, text, limits)

    def _checker(self) -> checking.Checker:
        options = self._options
        return checking.Checker(
            programs=self.programs, flags=flags(options), axioms=options.axioms, walls=options.walls
        )

    def close(self) -> None:
        """End all processes."""
        self.session.close()


def open(options: Options) -> CoqProver:
    """Coq as the options say. Raises ProverError with the remedy when it is not installed."""
    return CoqProver(options)


def read(text: str, source: str) -> list[Theorem]:
    """The statements of a ``.v`` file, each with what stands before it as its prelude; runs nothing."""
    return statements.read(text, source)


def script(tactics: Sequence[str]) -> str:
    """The proof script of a path of tactics, a line for each."""
    return "\n".join(tactic.strip() for tactic in tactics) + "\n"


def flags(options: Options) -> tuple[str, ...]:
    """The words for coqidetop and coqc that say where libraries are."""
    words = []
    for letter, entries in (("-Q", options.libraries), ("-R", options.recursive)):
        for entry in entries:
            folder, _, name = entry.rpartition("=")
            words += [letter, str(Path(folder).resolve()), name]
    return (*words, *options.flags)


@functools.cache
def _version(programs: install.Programs, words: tuple[str, ...]) -> str:
    marks = "; ".join(f"{name} {mark}" for name, mark in install.libraries(programs).items())
    return f"Coq {programs.version}{f' [{marks}]' if marks else ''}{' ' + ' '.join(words) if words else ''}"


@functools.lru_cache(maxsize=4096)
def _sentences(tactic: str, capitals: frozenset[str]) -> tuple[str, ...] | Failure:
    """A tactic as the sentences Coq gets; a full stop is added where only that is missing."""
    text = tactic.strip()
    if protocol.unfit(text):
        return Failure(kind="error", message="holds characters that Coq cannot read")
    try:
        allowed = gate.tactics(gate.stopped(text), capitals)
    except gate.Refused as error:
        return Failure(kind="forbidden", message=str(error))
    found = tuple(sentence.text for sentence in allowed.sentences)
    if allowed.begins or allowed.ends or not found:
        return Failure(kind="forbidden", message="no tactic")
    return found


@functools.lru_cache(maxsize=256)
def _capitals(prelude: str) -> frozenset[str]:
    try:
        return frozenset(gate.capital_tactics(split(prelude)))
    except Torn:
        return frozenset()


@functools.lru_cache(maxsize=256)
def _statement_text(statement: str) -> str:
    sentences = split(gate.stopped(statement))
    if len(sentences) != 1:
        raise ValueError("the statement must be one sentence, without its proof")
    return sentences[0].text


def _statement(theorem: Theorem) -> str:
    return _statement_text(theorem.statement)

"""The Lean prover: tactics through the worker, verdicts through worker and judge."""

from __future__ import annotations

import contextlib
import functools
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from llemma.errors import ProverError
from llemma.provers import CHECK, TACTIC, Limits
from llemma.provers.lean import gate
from llemma.provers.lean.goals import goal
from llemma.provers.lean.judge import Judge
from llemma.provers.lean.process import Process
from llemma.provers.lean.statements import header, read
from llemma.provers.lean.toolchain import Toolchain
from llemma.provers.lean.verdict import Hearing, bugs, findings
from llemma.provers.lean.worker import Worker, error
from llemma.records import Failure, ProofState, Theorem, Verdict

T = TypeVar("T")
_KILLS = 3  # so often a process may be killed under one call before that is taken for the text's doing
_WASM_RECYCLE = 2100  # megabytes: it begins at 1650, and the address space of such a build ends at 2048
# From here on a value of type IO can be run by the prover alone; before, `macro` could run one as a pure function.
_SEALED = (4, 28, 0)
_RECYCLE = 6000  # Mathlib's files alone count for several thousand


class LeanProver:
    """One worker and one judge, each started when first needed. Calls from several threads wait for each other."""

    def __init__(self, toolchain: Toolchain, *, imports: Sequence[str], recycle: int, walls: str) -> None:
        self.toolchain = toolchain
        self._imports = tuple(imports)
        self._recycle = recycle or (_WASM_RECYCLE if toolchain.wasm else _RECYCLE)
        self._walls = walls
        self._worker = Worker(self._process("worker"), self._imports, self._recycle)
        self._judge = Judge(self._process("judge"), self._imports, self._recycle)
        self._lock = threading.RLock()

    def _process(self, part: str) -> Process:
        return Process(self.toolchain, part, self._walls)

    @property
    def name(self) -> str:
        """``lean``."""
        return "lean"

    @property
    def version(self) -> str:
        """Of Lean, and of the project's toolchain, dependencies and settings."""
        return self.toolchain.version

    @property
    def info(self) -> Mapping[str, str]:
        """What is stored with every run."""
        return {
            "prover": "lean",
            "version": self.version,
            "libraries": str(self.toolchain.project or "core"),
            "imports": " ".join(self._imports),
            "walls": self._worker.process.tier or "not started yet",
            "kernel": bugs(self.toolchain),
        }

    def start(self, theorem: Theorem) -> ProofState | Failure:
        """The state before the first tactic; a Failure when prelude or statement is refused."""
        answer = self._undisturbed(lambda: self._worker.start(theorem))
        return answer if isinstance(answer, Failure) else _state(theorem, (), answer)

    def apply(self, state: ProofState, tactic: str, limits: Limits = TACTIC) -> ProofState | Failure:
        """The state after one tactic or block of tactics."""
        text = _block(tactic)
        if not text:
            return Failure(kind="error", message="no tactic")
        if not state.goals:
            return Failure(kind="error", message="no goals are left")
        if reason := gate.proof(text):
            return Failure(kind="forbidden", message=reason)
        answer = self._undisturbed(
            lambda: self._worker.step(state.theorem, state.tactics, text, limits.seconds, limits.memory)
        )
        return answer if isinstance(answer, Failure) else _state(state.theorem, (*state.tactics, text), answer)

    def check(self, theorem: Theorem, proof: str, limits: Limits = CHECK) -> Verdict:
        """Whether ``proof``, tactics only (``by`` or ``:=`` before them does not matter), proves the theorem."""
        if reason := gate.proof(proof):
            return _refused("gate", reason)
        verdicts = []
        for text in _readings(proof):
            verdicts.append(self._undisturbed(functools.partial(self._proof, theorem, text, limits)))
            if verdicts[-1].proved:
                return verdicts[-1]
        return max(verdicts, key=lambda verdict: len(verdict.layers), default=_refused("gate", "an empty proof"))

    def check_file(self, theorem: Theorem, text: str, limits: Limits = CHECK) -> Verdict:
        """The same for a whole file that states the theorem anew under its name.

        The file is taken for complete; where that does not prove the theorem, it is taken as what follows the prelude.
        """
        text = text.replace("\r\n", "\n")
        if reason := gate.file(text):
            return _refused("gate", reason)
        with self._reader(text) as worker:
            first = self._undisturbed(lambda: self._file(theorem, text, limits, worker, alone=True))
            if first.proved or not header(theorem.prelude).body.strip():
                return first
            second = self._undisturbed(lambda: self._file(theorem, text, limits, worker, alone=False))
        return second if second.proved or len(second.layers) > len(first.layers) else first

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            self._worker.process.close()
            self._judge.process.close()

    def _undisturbed(self, work: Callable[[], T]) -> T:
        """What the work gives; it is done again when somebody killed a process under it (want of memory, a person)."""
        processes = (self._worker.process, self._judge.process)
        with self._lock:
            for left in range(_KILLS, -1, -1):
                for process in processes:
                    process.killed = False
                try:
                    found = work()
                except ProverError:
                    if not left or not any(process.killed for process in processes):
                        raise
                else:
                    if not left or not any(process.killed for process in processes):
                        return found
        raise AssertionError("the last turn returns or raises")

    @contextlib.contextmanager
    def _reader(self, text: str) -> Iterator[Worker]:
        """The worker for both readings of a file: one of its own where this Lean lets the text run programs in it."""
        if self.toolchain.number >= _SEALED or not gate.has_programs(text):
            yield self._worker
            return
        own = Worker(self._process("worker"), self._imports, self._recycle)
        try:
            yield own
        finally:
            own.process.close()

    def _proof(self, theorem: Theorem, text: str, limits: Limits) -> Verdict:
        """The verdict on one reading of a proof."""
        hearing = Hearing()
        self._judge.process.launch()  # while the worker starts
        before = self._worker.prelude(theorem)
        modules = self._worker.modules(header(theorem.prelude).modules)
        if isinstance(before, Failure):
            self._judge.trust(theorem, modules)  # says what is wrong with the trusted text
            return _refused("compile", before.message)
        failed = self._worker.gate(before, text, limits.seconds)
        said = failed.message if failed else "one block of tactics, nothing forbidden in it"
        if hearing.add("gate", failed is None, said):
            whole = f"{theorem.statement}\n  := by (\n{text}\n)"  # the statement may end in a comment
            self._hear(hearing, theorem, (before, whole, modules), limits, self._worker)
        return hearing.verdict()

    def _file(self, theorem: Theorem, text: str, limits: Limits, worker: Worker, *, alone: bool) -> Verdict:
        hearing = Hearing()
        self._judge.process.launch()  # while the worker starts
        hearing.add("gate", True, "nothing forbidden in the text")
        head, trusted = header(text), header(theorem.prelude)
        modules = worker.modules(head.modules or trusted.modules)
        before = worker.base(modules) if alone else worker.prelude(theorem)
        self._hear(hearing, theorem, (before, head.body, modules), limits, worker)
        return hearing.verdict()

    def _hear(
        self,
        hearing: Hearing,
        theorem: Theorem,
        source: tuple[int | Failure, str, tuple[str, ...]],
        limits: Limits,
        worker: Worker,
    ) -> None:
        """The layers after the gate, of a text after a state of the worker. Trusted text is not on the clock."""
        before, text, modules = source
        if isinstance(before, Failure):
            hearing.add("compile", False, before.message)
            return
        trusted = self._judge.trust(theorem, modules)
        began = time.monotonic()
        answer = worker.compile(before, text, theorem.name, limits.seconds, limits.memory)
        left = max(1.0, limits.seconds - (time.monotonic() - began))
        if isinstance(answer, Failure):
            hearing.add("compile", False, f"{answer.kind}: {answer.message}")
            return
        if not hearing.add("compile", not error(answer), error(answer) or "no errors"):
            return
        declarations = answer.get("export")
        if not hearing.add("exists", declarations is not None, _exists(theorem.name, text, declarations)):
            return
        found = self._judge.judge(trusted, declarations, left, limits.memory)
        if isinstance(found, Failure):
            hearing.add("second", False, f"{found.kind} in the judge: {found.message}")
            return
        findings(hearing, found, theorem.name, self.toolchain)


def _refused(layer: str, reason: str) -> Verdict:
    hearing = Hearing()
    hearing.add(layer, False, reason)
    return hearing.verdict()


def _exists(name: str, text: str, declarations: Any) -> str:
    if declarations is not None:
        return f"{name} is declared"
    names = [theorem.name for theorem in read(text)]
    if name in names:
        return f"the text states {name}, but it is not declared at the end"
    return f"the text declares no {name}" + (f", but {', '.join(names[:10])}" if names else "")


def _block(tactic: str) -> str:
    return textwrap.dedent(tactic.replace("\r\n", "\n")).strip()


def _readings(proof: str) -> list[str]:
    """A proof as blocks of tactics: as it stands, its first line moved to the others, as a term."""
    text = proof.replace("\r\n", "\n").strip("\n")
    bare = text.strip()
    term = bare.startswith(":=")
    bare = bare.removeprefix(":=").strip()
    if bare.startswith("by") and not bare[2:3].strip():
        text, term = bare[2:], False
    elif term:
        return [f"exact (\n{bare}\n)"]
    first, _, rest = text.strip("\n").partition("\n")
    moved = f"{first.strip()}\n{textwrap.dedent(rest)}"
    found = [_block(text), moved.strip(), f"exact (\n{bare}\n)"]
    return [block for block in dict.fromkeys(found) if bare]


def _state(theorem: Theorem, tactics: tuple[str, ...], answer: Mapping[str, Any]) -> ProofState:
    return ProofState(theorem=theorem, tactics=tactics, goals=tuple(goal(text) for text in answer["goals"]))

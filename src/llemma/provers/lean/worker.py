"""The process in which a model's text runs: preludes and proof states kept, and rebuilt when the process is new."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from llemma.errors import ProverError
from llemma.provers import theorem_hash
from llemma.provers.lean.gate import KINDS
from llemma.provers.lean.process import Process
from llemma.provers.lean.statements import header
from llemma.records import Failure, Theorem

Answer = dict[str, Any]
_KEPT = 2000  # proof states kept in the process; older ones are rebuilt when they are asked for
_PRELUDES = 64
_LAZY = "(invalid MessageData.lazy, missing context)"  # hints that Lean makes only for editors
_SLOW = 600.0  # seconds for imports and preludes, which are trusted text


class Worker:
    """Not thread-safe. What it answers is believed by search only."""

    def __init__(self, process: Process, imports: Sequence[str], recycle: int) -> None:
        self.process, self.imports, self.recycle = process, tuple(imports), recycle
        self._forget()

    def _forget(self) -> None:
        self._generation = self.process.starts
        self._bases: dict[tuple[str, ...], int] = {}
        self._preludes: OrderedDict[tuple[tuple[str, ...], str], int] = OrderedDict()
        self._points: OrderedDict[tuple[str, tuple[str, ...]], int] = OrderedDict()

    def prepare(self) -> None:
        """A running process that is not too large; with a new one everything kept is gone."""
        if self.process.alive and self.process.resident() > self.recycle * 1_000_000:
            self.process.stop()
        if not self.process.alive or self._generation != self.process.starts:
            self.process.start()
            self._forget()
            self._trusted({"op": "ban", "kinds": list(KINDS)})

    def modules(self, named: Sequence[str]) -> tuple[str, ...]:
        """What a text with these imports imports."""
        return tuple(named) or self.imports

    def base(self, modules: tuple[str, ...]) -> int | Failure:
        """The state after the imports alone."""
        self.prepare()
        if modules not in self._bases:
            answer = self.process.ask({"op": "import", "modules": list(modules)}, _SLOW)
            if isinstance(answer, Failure):
                return answer
            if "error" in answer:
                return Failure(kind="error", message=f"import {' '.join(modules)}: {answer['error']}")
            self._bases[modules] = int(answer["id"])
        return self._bases[modules]

    def prelude(self, theorem: Theorem) -> int | Failure:
        """The state after the theorem's prelude."""
        head = header(theorem.prelude)
        modules = self.modules(head.modules)
        base = self.base(modules)
        if isinstance(base, Failure) or not head.body.strip():
            return base
        key = (modules, head.body)
        if key not in self._preludes:
            answer = self.process.ask({"op": "text", "from": base, "keep": True, "text": head.body}, _SLOW)
            if isinstance(answer, Failure):
                return answer
            if wrong := error(answer):
                return Failure(kind="error", message=f"the prelude is refused: {wrong}")
            self._preludes[key] = int(answer["id"])
            self._drop(self._preludes, _PRELUDES, "commands")
        self._preludes.move_to_end(key)
        return self._preludes[key]

    def start(self, theorem: Theorem) -> Answer | Failure:
        """``{"goals"}`` of the theorem before its first tactic."""
        before = self.prelude(theorem)
        if isinstance(before, Failure):
            return before
        text = theorem.statement + "\n  := by\n  skip"
        answer = self.process.ask({"op": "goal", "from": before, "text": text, "name": theorem.name}, _SLOW)
        if isinstance(answer, Failure):
            return answer
        wrong = [text for kind, _, _, text in answer.get("messages", []) if kind == "error"]
        refused = [text for text in wrong if not text.startswith("unsolved goals")]
        if refused or "goals" not in answer:
            return Failure(kind="error", message=f"the statement is refused: {(refused or ['no goal'])[0]}")
        return self._keep((theorem_hash(theorem), ()), answer)

    def step(
        self, theorem: Theorem, path: tuple[str, ...], tactic: str, seconds: float, memory: int
    ) -> Answer | Failure:
        """``{"goals"}`` after one more tactic on the path."""
        point = self._point(theorem, path)
        if isinstance(point, Failure):
            return point
        answer = self.process.ask({"op": "tactic", "from": point, "text": tactic}, seconds, memory)
        if isinstance(answer, Failure):
            return answer
        failed = _failed(answer)
        return failed or self._keep((theorem_hash(theorem), (*path, tactic)), answer)

    def compile(self, before: int, text: str, name: str, seconds: float, memory: int) -> Answer | Failure:
        """``{"messages", "export"}`` of the text after the state ``before``."""
        request = {"op": "text", "from": before, "keep": False, "text": text, "export": name}
        answer = self.process.ask(request, seconds, memory)
        if not isinstance(answer, Failure) and "error" in answer:
            return Failure(kind="error", message=str(answer["error"]))
        return answer

    def gate(self, before: int, text: str, seconds: float) -> Failure | None:
        """Why the text is not one block of tactics, or None."""
        answer = self.process.ask({"op": "gate", "from": before, "text": text}, seconds)
        return answer if isinstance(answer, Failure) else _failed(answer)

    def _point(self, theorem: Theorem, path: tuple[str, ...]) -> int | Failure:
        """The number of a state, rebuilt from the longest part of its path that is still there."""
        self.prepare()
        key = theorem_hash(theorem)
        known = next((n for n in range(len(path), -1, -1) if (key, path[:n]) in self._points), None)
        if known is None:
            started = self.start(theorem)
            if isinstance(started, Failure):
                return started
            known = 0
        for n in range(known, len(path)):
            request = {"op": "tactic", "from": self._points[key, path[:n]], "text": path[n]}
            answer = self.process.ask(request, _SLOW)
            failed = answer if isinstance(answer, Failure) else _failed(answer)
            if failed:
                return Failure(kind="crash", message=f"the state could not be rebuilt: {path[n]}: {failed.message}")
            assert not isinstance(answer, Failure)
            self._keep((key, path[: n + 1]), answer)
        self._points.move_to_end((key, path))
        return self._points[key, path]

    def _keep(self, key: tuple[str, tuple[str, ...]], answer: Answer) -> Answer:
        self._points[key] = int(answer["id"])
        self._drop(self._points, _KEPT, "points")
        return answer

    def _drop(self, kept: OrderedDict[Any, int], most: int, what: str) -> None:
        if len(kept) <= most:
            return
        old = [kept.popitem(last=False)[1] for _ in range(len(kept) - most * 3 // 4)]
        self._trusted({"op": "drop", what: old})

    def _trusted(self, request: Answer) -> Answer:
        answer = self.process.ask(request, _SLOW)
        if isinstance(answer, Failure):
            raise ProverError(f"Lean failed at {request['op']}: {answer.message}", retryable=True)
        return answer


def error(answer: Answer) -> str:
    """The first error among the messages, with its line, or nothing."""
    for kind, line, _, text in answer.get("messages", []):
        if kind == "error":
            return f"line {line}: {text}"
    return str(answer.get("error", ""))


def _shifted(message: str) -> str:
    """A message of the parser with the place in the text itself, which it sees one line lower."""
    found = re.match(r"<tactic>:(\d+):(\d+): (.*)", message, re.S)
    return f"line {int(found.group(1)) - 1}, column {found.group(2)}: {found.group(3)}" if found else message


def _failed(answer: Answer) -> Failure | None:
    if "forbidden" in answer:
        reason = KINDS.get(answer["forbidden"])
        return Failure(kind="forbidden", message=f"{answer['forbidden']} {reason}" if reason else answer["forbidden"])
    if "syntax" in answer:
        return Failure(kind="error", message=_shifted(answer["syntax"]))
    text = answer.get("failed") or answer.get("error")
    if text is None:
        return None
    text = text.replace(_LAZY, "").rstrip()
    late = re.search(r"\(?deterministic\)? timeout|maximum number of heartbeats", text) is not None
    return Failure(kind="timeout" if late else "error", message=text)

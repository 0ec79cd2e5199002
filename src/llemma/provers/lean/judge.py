"""The process that decides: elaborates trusted statements, and has the kernel check declarations that came as data."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llemma.errors import ProverError
from llemma.provers import theorem_hash
from llemma.provers.lean.process import Process
from llemma.provers.lean.statements import header
from llemma.provers.lean.worker import error
from llemma.records import Failure, Theorem

_SLOW = 600.0  # seconds for imports and statements, which are trusted text
_KEPT = 500  # statements kept; more, and the process is started anew

# The axioms of Lean itself, by name and type.
STANDARD = {
    "propext": "∀ {a b : Prop}, (a ↔ b) → a = b",
    "Classical.choice": "∀ {α : Sort u}, Nonempty α → α",
    "Quot.sound": "∀ {α : Sort u} {r : α → α → Prop} {a b : α}, r a b → Quot.mk r a = Quot.mk r b",
}
# Where the library's theorems are shipped without their bodies they look like axioms; these are axioms.
REFUSED = ("sorryAx", "Lean.ofReduceBool", "Lean.ofReduceNat", "Lean.trustCompiler")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What the judge found. ``refused``: what it says against the declarations, else empty.

    ``pinned``: what the kernel says against the root as a proof of the trusted type; ``identical``: its type is the
    trusted one to the letter; ``clashes``: names the statement rests on that the text gave other meanings; ``axioms``
    it rests on, of which ``bad`` are not allowed; ``library``: how many theorems are taken from the library without a
    body to look at; ``asked``: declarations given to the kernel.
    """

    refused: str = ""
    pinned: str = ""
    identical: bool = False
    clashes: tuple[str, ...] = ()
    axioms: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    library: int = 0
    asked: int = 0


class Judge:
    """Not thread-safe."""

    def __init__(self, process: Process, imports: Sequence[str], recycle: int) -> None:
        self.process, self.imports, self.recycle = process, tuple(imports), recycle
        self._forget()

    def _forget(self) -> None:
        self._generation = self.process.starts
        self._bases: dict[tuple[str, ...], int] = {}
        self._preludes: dict[tuple[tuple[str, ...], str], int] = {}
        self._trusted: OrderedDict[tuple[str, tuple[str, ...]], int] = OrderedDict()

    def prepare(self) -> None:
        """A running process that is not too large."""
        full = len(self._trusted) > _KEPT
        if self.process.alive and (full or self.process.resident() > self.recycle * 1_000_000):
            self.process.stop()
        if not self.process.alive or self._generation != self.process.starts:
            self.process.start()
            self._forget()

    def trust(self, theorem: Theorem, modules: tuple[str, ...]) -> int:
        """The number of the statement, to be judged on top of ``modules``. ProverError when Lean refuses it."""
        self.prepare()
        key = (theorem_hash(theorem), modules)
        if key not in self._trusted:
            before = self._prelude(theorem)
            text = theorem.statement + "\n  := sorry"
            request = {"op": "trust", "base": self._base(modules), "from": before, "text": text, "name": theorem.name}
            answer = self._ask(request)
            if wrong := error(answer):
                raise ProverError(f"the trusted statement of {theorem.name} is refused: {wrong}")
            if "id" not in answer:
                raise ProverError(f"the trusted text declares no {theorem.name}")
            if answer.get("sorry"):
                raise ProverError(f"the trusted statement of {theorem.name} itself holds sorry")
            self._trusted[key] = int(answer["id"])
        return self._trusted[key]

    def judge(self, trusted: int, declarations: Any, seconds: float, memory: int) -> Finding | Failure:
        """What the kernel and the list of axioms say to the declarations."""
        answer = self.process.ask({"op": "judge", "trusted": trusted, "export": declarations}, seconds, memory)
        if isinstance(answer, Failure):
            return answer
        wrong = answer.get("refused") or answer.get("error")
        if wrong is not None or "pinned" not in answer:
            return Finding(refused=str(wrong or "no answer"))
        good, bad, library = _sorted(answer["axioms"], bodies=bool(answer["bodies"]))
        return Finding(
            pinned=answer["pinned"], identical=answer["identical"], clashes=tuple(answer["clashes"]),
            axioms=good, bad=bad, library=library, asked=answer["asked"],
        )  # fmt: skip

    def _base(self, modules: tuple[str, ...]) -> int:
        if modules not in self._bases:
            answer = self._ask({"op": "import", "modules": list(modules)})
            if "error" in answer:
                raise ProverError(f"import {' '.join(modules)}: {answer['error']}")
            base = int(answer["id"])
            axioms = "\n".join(f"example : {kind} := @{name}" for name, kind in STANDARD.items())
            known = self._ask(
                {"op": "text", "from": base, "keep": False, "text": f"noncomputable section\n{axioms}\nend"}
            )
            if wrong := error(known):
                raise ProverError(f"the axioms of this library are not Lean's: {wrong}")
            self._bases[modules] = base
        return self._bases[modules]

    def _prelude(self, theorem: Theorem) -> int:
        head = header(theorem.prelude)
        modules = head.modules or self.imports
        base = self._base(modules)
        if not head.body.strip():
            return base
        key = (modules, head.body)
        if key not in self._preludes:
            answer = self._ask({"op": "text", "from": base, "keep": True, "text": head.body})
            if wrong := error(answer):
                raise ProverError(f"the prelude of {theorem.name} is refused: {wrong}")
            self._preludes[key] = int(answer["id"])
        return self._preludes[key]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        answer = self.process.ask(request, _SLOW)
        if isinstance(answer, Failure):
            raise ProverError(f"Lean failed at the trusted text: {answer.message}", retryable=True)
        return answer


def _sorted(rows: Sequence[Sequence[Any]], *, bodies: bool) -> tuple[tuple[str, ...], tuple[str, ...], int]:
    """Axioms that are allowed, those that are not, and the number of library theorems without bodies."""
    good, bad, library = [], [], 0
    for name, imported, trusted in rows:
        if imported and name in STANDARD:
            good.append(name)
        elif imported and not bodies and name not in REFUSED:
            library += 1
        elif not imported and trusted:  # an axiom of the trusted prelude
            good.append(name)
        else:
            bad.append(name)
    return tuple(sorted(good)), tuple(sorted(bad)), library

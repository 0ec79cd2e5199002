"""The records that flow through every part: frozen, keyword-only, plain data.

They hold no behaviour beyond conversion to and from JSON rows (``to_row``, ``from_row``). Numbers of the
model's making (log-probabilities) are natural logarithms; durations are seconds.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, Union

R = TypeVar("R")

GradeVerdict = Literal["correct", "wrong", "unparsable", "timeout", "unsafe"]
ExecutionStatus = Literal["ok", "error", "timeout", "memory", "denied"]
FailureKind = Literal["error", "timeout", "memory", "forbidden", "crash"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A text on its way into a corpus. ``id`` is unique within ``source`` and stable between runs."""

    id: str
    text: str
    source: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """A question with its reference answer, as a benchmark states them."""

    id: str
    prompt: str
    answer: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to complete a prompt: ``n`` completions, greedy when ``temperature`` is 0."""

    n: int = 1
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 256
    stop: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a model wrote after a prompt, without the stop string (``finish``: stop, eos, length).

    ``seconds`` is the time it took, 0 when the back end cannot tell it from that of its neighbours. ``steps`` are the
    turns of a completion that used tools; without them it is one turn of text.
    """

    text: str
    finish: str
    logprob: float | None = None
    tokens: int = 0
    prompt_tokens: int = 0
    seconds: float = 0.0
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """What became of one program in the sandbox."""

    stdout: str
    value: str | None
    stderr: str
    status: ExecutionStatus
    seconds: float
    tier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """One open goal of a proof: named hypotheses and the conclusion, as the prover prints them."""

    hypotheses: tuple[str, ...]
    conclusion: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Theorem:
    """A statement to be proved, as the trusted side writes it.

    ``prelude`` is everything before it (imports, notations, definitions), ``statement`` the declaration without its
    proof, in the prover's own words: ``Theorem t : forall n, n + 0 = n.`` for Coq, ``theorem t (n : Nat) : n + 0 = n``
    for Lean. ``name`` is the full name of the declaration.
    """

    name: str
    statement: str
    prelude: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofState:
    """A point in a proof: the tactics that led there and all that is left to prove. A value, valid for ever.

    No goals means that the prover believes the proof complete; only ``Prover.check`` says whether it is one.
    """

    theorem: Theorem
    tactics: tuple[str, ...]
    goals: tuple[Goal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a tactic did not apply; a value, because it is the model's outcome."""

    kind: FailureKind
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictLayer:
    """One of the checks a proof went through."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a finished proof proves the pinned statement, and on which axioms it rests."""

    proved: bool
    axioms: tuple[str, ...]
    layers: tuple[VerdictLayer, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One turn of a transcript: text the model wrote, or a tool call with its result.

    For a program ``status`` says how it ended and ``tier`` behind which walls it ran.
    """

    kind: Literal["text", "python", "tactic"]
    text: str
    result: str | None = None
    status: ExecutionStatus | None = None
    tier: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    """All a model did for one sample; ``text`` is what the grader reads."""

    steps: tuple[Step, ...]
    text: str
    finish: str
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """The judgement of one sample: the answer as read, and in words why it was judged so."""

    verdict: GradeVerdict
    answer: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The ``k``-th attempt at a problem. Exactly one of ``grade`` and ``error`` is set."""

    id: str
    problem: str
    k: int
    transcript: Transcript | None
    grade: Grade | None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure with its 95 % interval; ``value`` is a fraction in 0..1 and ``n`` counts problems."""

    name: str
    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A few-shot example: the question as asked, the completion that answers it, its answer where that is known."""

    question: str
    completion: str
    answer: str | None


# Puts the votes of a problem's samples into classes of equal answers. Given are each sample's key (None: no vote) and,
# for every key, an answer that has it; what comes back names the class of each sample.
Classes = Callable[[Sequence[str | None], Mapping[str, str]], Sequence[Hashable | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scorer:
    """Another way to judge a task's completions, with the classes its answers vote in (None: each key is one)."""

    grade: Callable[[Problem, str], Grade]
    key: Callable[[Grade], str | None]
    classes: Classes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How a completion that is a program gets its answer: what is run, and where the answer is afterwards.

    ``extract`` takes the program out of a completion, None when there is none; ``wanted`` is the variable ``answer`` or
    what ``solution()`` returns; ``rules`` say how the paper's scorer ran it (``llemma.grade.paper``).
    """

    extract: Callable[[str], str | None]
    wanted: Literal["answer", "solution"]
    rules: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A benchmark as a value: its problems, how to ask them and how to judge the answers.

    ``prompt`` maps a problem to the text the model continues (few-shot examples included), ``grade`` judges a
    completion, ``key`` gives an answer its name for voting (equal names are equal answers; ``None``: the completion
    has no vote), ``classes`` finds which names are equal after all. ``sampling`` holds the limit and stop strings,
    ``vote`` how many samples at which temperature the published vote has, ``scorers`` other ways to judge, such as the
    paper's. For checks of the task itself: ``shots`` are the examples in the prompt, ``state`` writes the completion
    that states the reference. With ``program`` the model's completions are programs, and run before they are judged.
    """

    name: str
    problems: tuple[Problem, ...]
    prompt: Callable[[Problem], str]
    grade: Callable[[Problem, str], Grade]
    key: Callable[[Grade], str | None]
    classes: Classes | None = None
    sampling: Sampling = Sampling()
    vote: Sampling | None = None
    scorers: Mapping[str, Scorer] = field(default_factory=dict)
    shots: tuple[Shot, ...] = ()
    state: Callable[[Problem], str] | None = None
    tools: tuple[str, ...] = ()
    program: Program | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Progress of a long job: ``done`` of ``total`` units, and the figures of the moment."""

    stage: str
    done: int = 0
    total: int | None = None
    unit: str = ""
    figures: Mapping[str, float | str] = field(default_factory=dict)
    note: str = ""


Progress = Callable[[Event], None]


def silent(event: Event) -> None:
    """The progress sink that drops every event."""


def to_row(record: Any) -> Any:
    """A record as JSON-ready data; nested records become objects, tuples become lists."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {f.name: to_row(getattr(record, f.name)) for f in dataclasses.fields(record)}
    if isinstance(record, Mapping):
        return {str(key): to_row(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [to_row(value) for value in record]
    return record


def _hints(kind: Any) -> dict[str, Any]:
    return _cached_hints(kind)


@functools.cache
def _cached_hints(kind: Any) -> dict[str, Any]:  # called for every row read
    return typing.get_type_hints(kind)


def from_row(kind: type[R], row: Mapping[str, Any]) -> R:
    """The record of type ``kind`` that ``to_row`` wrote; keys it does not know are ignored.

    Raises ``KeyError`` for a missing field without default and ``TypeError`` for a value of a wrong form.
    """
    hints = _hints(kind)
    values = {}
    for f in dataclasses.fields(kind):  # type: ignore[arg-type]
        if f.name in row:
            values[f.name] = _revive(hints[f.name], row[f.name])
        elif f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING:
            raise KeyError(f.name)
    return kind(**values)


def _revive(hint: Any, value: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return _revive(next(arg for arg in typing.get_args(hint) if arg is not type(None)), value)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise TypeError(f"expected a list, got {type(value).__name__}")
        return tuple(_revive(typing.get_args(hint)[0], item) for item in value)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise TypeError(f"expected an object, got {type(value).__name__}")
        return from_row(hint, value)  # type: ignore[arg-type]
    return value

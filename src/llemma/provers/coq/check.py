"""Verdicts in layers: gate, compile, exists, pinned, axioms, second, kernel. Believes no output of untrusted text.

The solution file is the trusted prelude, the trusted statement once more under a name no one can guess (``Admitted``),
and then the untrusted part. coqc compiles it behind walls. A second, fresh coqidetop behind walls only requires the
result, imports nothing of it, and lets the kernel type ``Solution.t`` at the type of the trusted statement: equal up to
conversion, so a restatement that unfolds a definition passes and one that changes the meaning does not. What the result
rests on is asked there as well, about that very constant.
"""

from __future__ import annotations

import re
import secrets
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from llemma.errors import ConfigError, ProverError, SandboxError
from llemma.provers import Limits
from llemma.provers.coq import gate, guard, install, protocol, worker
from llemma.provers.coq.bugs import affecting, guard_is_faulty
from llemma.provers.coq.gate import Allowed, Refused, head, shown
from llemma.provers.coq.sentences import Sentence, split
from llemma.provers.coq.statements import declared
from llemma.provers.coq.terms import Term, Unreadable, printed
from llemma.provers.coq.worker import Lost, Worker
from llemma.records import Theorem, Verdict, VerdictLayer
from llemma.sandbox import command

LAYERS = ("gate", "compile", "exists", "pinned", "axioms", "second", "kernel")
_AXIOMS = Path(__file__).with_name("axioms.toml")
_ROOTS = ("Coq.", "Stdlib.", "Corelib.")
_MAKES_AXIOMS = frozenset("Axiom Axioms Conjecture Conjectures Parameter Parameters Hypothesis Hypotheses Variable Variables".split())
_ERROR = re.compile(r'line (\d+), characters [\d-]+:\s*(?:Error:\s*)?(.*)', re.DOTALL)
_NAME = re.compile(r"[^\W\d][\w']*(?:\.[^\W\d][\w']*)*(?:@\{[^}]*\})?\Z")
_ENTRY = re.compile(r"([^\s:]+)(?:\s+:.*)?")  # a name, its type behind it or on the next line


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """What a verdict needs: programs, words for them, axioms accepted besides the default ones, walls."""

    programs: install.Programs
    flags: tuple[str, ...] = ()
    axioms: tuple[str, ...] = ()
    walls: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """One attempt: the file to compile, and the names that stand in it."""

    text: str
    trusted_lines: int  # the lines of prelude and trusted statement
    name: str  # of the theorem, as the solution states it
    challenge: str
    library: str  # logical name no text can know before
    own_axioms: frozenset[str]
    trusted: frozenset[str]  # names the prelude declares
    fixes: bool  # whether the untrusted part can have made a fixpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What the layers behind compilation say."""

    layers: tuple[VerdictLayer, ...]
    axioms: tuple[str, ...] = ()


def check(checker: Checker, theorem: Theorem, proof: str, limits: Limits) -> Verdict:
    """The verdict on a proof script."""
    begin = time.monotonic()
    try:
        allowed = gate.tactics(gate.stopped(proof), gate.capital_tactics(split(theorem.prelude)))
    except Refused as error:
        return _refused(str(error), begin)
    return _verdict(checker, _script(theorem, allowed), limits, begin)


def check_file(checker: Checker, theorem: Theorem, text: str, limits: Limits) -> Verdict:
    """The verdict on a whole file; tactics alone are taken as a proof script."""
    begin = time.monotonic()
    try:
        allowed = gate.file(gate.stopped(text))
    except Refused as error:
        return _refused(str(error), begin)
    if not any(head(sentence) in gate.COMMANDS for sentence in allowed.sentences):
        return check(checker, theorem, text, limits)
    return _verdict(checker, _file(theorem, allowed), limits, begin)


def walls(tier: str) -> str:
    """Which walls coqc runs behind, in words."""
    if tier == "none":
        return "none: only the gate stands before coqc"
    best = command.best()
    return f"{best.name}: {best.detail}" if best.name else f"none: {best.detail}"


# --- what is compiled -----------------------------------------------------------------------------------------------


def _script(theorem: Theorem, allowed: Allowed) -> _Work:
    lines = [_statement(theorem).text]
    sentences = [sentence.text for sentence in allowed.sentences]
    lines += sentences if allowed.begins else ["Proof.", *sentences]
    return _work(theorem, [*lines, "Qed."])


def _file(theorem: Theorem, allowed: Allowed) -> _Work:
    """The untrusted file behind the trusted prelude, without the sentences that it repeats of it."""
    mine = [sentence.key for sentence in split(theorem.prelude)]
    at, lines = 0, []
    for sentence in allowed.sentences:
        if at < len(mine) and sentence.key == mine[at]:
            at += 1
        else:
            lines.append(sentence.text)
    return _work(theorem, lines)


def _work(theorem: Theorem, lines: Sequence[str]) -> _Work:
    mark = secrets.token_hex(8)
    statement = _statement(theorem)
    challenge = f"challenge_{mark}"
    name = statement.tokens[statement.words.index(head(statement)) + 1]
    text = gate.stopped(theorem.statement)
    renamed = text[: name.at] + challenge + text[name.at + len(name.text) :]
    trusted = f"{theorem.prelude}\n{renamed}\nAdmitted.\n"
    prelude = split(theorem.prelude)
    return _Work(
        text=trusted + "\n".join(lines) + "\n", trusted_lines=trusted.count("\n"), name=theorem.name,
        challenge=challenge, library=f"Llemma_{mark}", own_axioms=frozenset(_axiom_names(prelude)),
        trusted=frozenset(_defined(prelude)), fixes=any(_may_fix(sentence) for line in lines for sentence in split(line)),
    )  # fmt: skip


def _statement(theorem: Theorem) -> Sentence:
    sentences = split(gate.stopped(theorem.statement))
    if len(sentences) != 1 or declared(sentences[0]) is None:
        raise ConfigError(f"{theorem.name}: the statement must be one sentence: Theorem NAME : TYPE.")
    return sentences[0]


def _axiom_names(sentences: Sequence[Sentence]) -> Iterator[str]:
    """Names that a trusted prelude declares without proof."""
    last = None
    for sentence in sentences:
        first = head(sentence)
        last = declared(sentence) or last
        if first in _MAKES_AXIOMS:
            for word in sentence.words[1:]:
                if word == ":":
                    break
                yield word
            yield from (word for word in sentence.words if word.isidentifier())  # (a b : nat) (c : bool)
        elif first == "Admitted" and last is not None:
            yield last


def _defined(sentences: Sequence[Sentence]) -> Iterator[str]:
    """Names that commands of a prelude define, outside modules of its own."""
    if any(head(sentence) == "Module" for sentence in sentences):
        return
    for sentence in sentences:
        first = head(sentence)
        words = sentence.words
        if first in gate.STATES and first in words and words.index(first) + 1 < len(words):
            yield words[words.index(first) + 1]


def _may_fix(sentence: Sentence) -> bool:
    """Whether a sentence can bring a fixpoint: those that are written, and commands that write some."""
    words = (token.text.lower() for token in sentence.tokens if token.kind == "word")
    return any(word.startswith(("fix", "cofix", "function", "equations", "derive", "unsafe")) for word in words)


# --- running it -----------------------------------------------------------------------------------------------------


def _verdict(checker: Checker, work: _Work, limits: Limits, begin: float) -> Verdict:
    passed = VerdictLayer(name="gate", ok=True, detail="tactics and accepted commands only")
    with tempfile.TemporaryDirectory(prefix="llemma-coq-") as name:
        folder = Path(name)
        (folder / "Solution.v").write_text(work.text, encoding="utf-8")
        compiled = _compile(checker, work, folder, limits)
        found = _Found(layers=())
        if compiled.ok:
            with ThreadPoolExecutor(max_workers=1) as pool:
                second = pool.submit(_second, checker, work, folder, limits)
                found = _ask(checker, work, folder, limits)
                found = replace(found, layers=(*found.layers, second.result()))
    layers = _complete((passed, compiled, *found.layers))
    proved = all(layer.ok for layer in layers)
    return Verdict(proved=proved, axioms=found.axioms, layers=layers, seconds=time.monotonic() - begin)


def _complete(layers: Sequence[VerdictLayer]) -> tuple[VerdictLayer, ...]:
    known = {layer.name: layer for layer in layers}
    missing = "not reached: an earlier layer said no"
    return tuple(known.get(name) or VerdictLayer(name=name, ok=False, detail=missing) for name in LAYERS)


def _refused(message: str, begin: float) -> Verdict:
    layers = _complete([VerdictLayer(name="gate", ok=False, detail=message)])
    return Verdict(proved=False, axioms=(), layers=layers, seconds=time.monotonic() - begin)


def _environment() -> dict[str, str]:
    return install.environment() | {"HOME": "/nonexistent"}


def _readable(checker: Checker) -> list[str]:
    """What Coq reads: its library, plug-ins beside it, and own libraries of the options."""
    library = checker.programs.library.resolve()
    places = [str(library)]
    places += [str(path) for path in (library.parent / "coq-core", library.parent / "rocq-runtime") if path.is_dir()]
    words = checker.flags
    places += [words[at + 1] for at, word in enumerate(words[:-1]) if word in ("-Q", "-R")]
    places += [path for path in ("/etc/ocamlfind.conf", "/etc/findlib.conf") if Path(path).exists()]
    return places


def _run(checker: Checker, argv: Sequence[str], folder: Path, limits: Limits) -> command.CommandResult:
    bounds = command.CommandLimits(memory=limits.memory)
    return command.run_command(
        argv, wall=limits.seconds, read=_readable(checker), write=folder, limits=bounds, env=_environment(),
        tier=checker.walls,
    )  # fmt: skip


def _compile(checker: Checker, work: _Work, folder: Path, limits: Limits) -> VerdictLayer:
    words = ["-q", "-w", "none", "-native-compiler", "no", *checker.flags, "-Q", str(folder), work.library]
    done = _run(checker, [*checker.programs.compile, *words, str(folder / "Solution.v")], folder, limits)
    ok = done.status == "ok" and (folder / "Solution.vo").is_file()
    return VerdictLayer(name="compile", ok=ok, detail=_compiled(done, work, limits) if not ok else f"coqc, walls {done.tier}")


def _compiled(done: command.CommandResult, work: _Work, limits: Limits) -> str:
    if done.status == "timeout":
        return f"took longer than {limits.seconds:g} s"
    if done.status == "memory":
        return f"used more than {limits.memory} MB"
    match = _ERROR.search(done.stderr)
    if match is None:
        return " ".join(done.stderr.split())[-400:] or f"coqc ended with {done.code}"
    message = " ".join(match[2].split())[:600]
    if int(match[1]) <= work.trusted_lines:
        return f"the trusted statement itself is refused (line {match[1]}): {message}"
    lines = work.text.split("\n")
    return f"{message} (in: {lines[int(match[1]) - 1].strip()[:120]})"


def _second(checker: Checker, work: _Work, folder: Path, limits: Limits) -> VerdictLayer:
    """coqchk on the compiled file; what it depends on is the installed library and taken as it is."""
    words = ["-silent", "-o", *(word for word in checker.flags if word != "-noinit"), "-Q", str(folder), work.library]
    done = _run(checker, [*checker.programs.check, *words, "-norec", f"{work.library}.Solution"], folder, limits)
    unsafe = [line.strip() for line in _unsafe(done.stdout) if work.library in line]
    ok = done.status == "ok" and not unsafe
    detail = "coqchk -norec"
    if not ok:
        said = " ".join((done.stdout + done.stderr).split())[-400:]
        detail = f"unchecked: {', '.join(unsafe)}" if unsafe else f"coqchk: {done.status}: {said}"
    return VerdictLayer(name="second", ok=ok, detail=detail.replace(work.library, "Llemma"))


def _unsafe(summary: str) -> Iterator[str]:
    """The lines of coqchk's summary under its headings for switched-off checks."""
    heading = ""
    for line in summary.splitlines():
        if line.lstrip().startswith("* "):
            heading = line
        elif any(word in heading for word in ("type-in-type", "unsafe", "positivity")):
            yield line


# --- asking a fresh process -----------------------------------------------------------------------------------------


class _Dialogue:
    """A fresh coqidetop that has required the solution and imported nothing of it."""

    def __init__(self, process: Worker, limits: Limits) -> None:
        self._worker = process
        self._end = time.monotonic() + limits.seconds
        first = self._ask([protocol.ABOUT, protocol.INIT])
        self._tip = protocol.state_id(first[1])

    def _ask(self, requests: Sequence[bytes]) -> list[protocol.Answer]:
        return self._worker.ask(requests, seconds=max(self._end - time.monotonic(), 0.001))

    def say(self, sentence: str) -> tuple[str | None, str]:
        """Run one sentence: None or the error, and what it printed. An erring sentence leaves no trace."""
        (added,) = self._ask([protocol.add(sentence, self._tip)])
        if not added.good:
            return added.error, ""
        (ran,) = self._ask([protocol.JOIN])
        printed = "\n".join([*added.messages("notice", "info"), *ran.messages("notice", "info")])
        if not ran.good:
            self._ask([protocol.edit_at(self._tip)])
            return ran.error, printed
        self._tip = protocol.state_id(added)
        return None, printed


def _ask(checker: Checker, work: _Work, folder: Path, limits: Limits) -> _Found:
    argv = [*checker.programs.top, "-q", "-main-channel", "stdfds", "-async-proofs", "off", "-w", "none"]
    argv += [*checker.flags, "-Q", str(folder), work.library]
    scratch = folder / "final"
    scratch.mkdir()
    walled = command.walled(
        argv, read=[*_readable(checker), str(folder)], write=scratch,
        limits=command.CommandLimits(memory=limits.memory), env=_environment(), tier=checker.walls,
    )  # fmt: skip
    process = worker.spawn(walled.argv, walled.env, None, Path("/"))
    try:
        return _questions(checker, work, _Dialogue(process, limits))
    except Lost as lost:
        layer = VerdictLayer(name="pinned", ok=False, detail=f"could not be decided: {lost}")
        return _Found(layers=(layer,))
    finally:
        process.kill()


def _questions(checker: Checker, work: _Work, dialogue: _Dialogue) -> _Found:
    place = f"{work.library}.Solution"
    error, _ = dialogue.say(f"Require {place}.")
    if error is not None:
        raise ProverError(f"a compiled solution cannot be loaded: {error}")
    error, _ = dialogue.say(f"Check @{place}.{work.name}.")
    exists = VerdictLayer(
        name="exists", ok=error is None,
        detail=f"{work.name} is there" if error is None else f"nothing is named {work.name} in the end",
    )  # fmt: skip
    if error is not None:
        return _Found(layers=(exists,))
    error, _ = dialogue.say(
        f"Definition final : ltac:(let T := type of (@{place}.{work.challenge}) in exact T) := @{place}.{work.name}."
    )
    detail = "the kernel types it at the trusted statement" if error is None else " ".join(error.split())[:600]
    pinned = VerdictLayer(name="pinned", ok=error is None, detail=detail.replace(work.library, "Llemma"))
    if error is not None:
        return _Found(layers=(exists, pinned))
    axioms, names = _axioms(checker, work, dialogue)
    kernel = _kernel(checker, work, dialogue)
    return _Found(layers=(exists, pinned, axioms, kernel), axioms=names)


def _kernel(checker: Checker, work: _Work, dialogue: _Dialogue) -> VerdictLayer:
    """Names the faults of this kernel; where its guard has some, every fixpoint of the solution must pass ours too."""
    version = checker.programs.numbers
    issues = ", ".join(f"#{bug.issue}" for bug in affecting(version))
    known = f"known bugs of {checker.programs.version}: {issues}" if issues else "no known bug of this version"
    if not guard_is_faulty(version):
        return VerdictLayer(name="kernel", ok=True, detail=known)
    if not work.fixes:
        return VerdictLayer(name="kernel", ok=True, detail=f"no fixpoint is written in it; {known}")
    try:
        number = guard.deeply(lambda: _guarded(work, dialogue))
    except (guard.Unguarded, Unreadable) as error:
        return VerdictLayer(name="kernel", ok=False, detail=f"{error}; {known}")
    return VerdictLayer(name="kernel", ok=True, detail=f"{number} terms passed a second guard; {known}")


def _guarded(work: _Work, dialogue: _Dialogue) -> int:
    """How many of the solution's own terms, all the theorem rests on, passed. Raises Unguarded or Unreadable."""
    for setting in ("Set Printing All.", "Set Printing Depth 1000000."):
        dialogue.say(setting)
    read: dict[str, Term | None] = {}

    def body(name: str) -> Term | None:
        if name not in read:
            error, text = dialogue.say(f"Print {name.partition('@')[0]}.") if _NAME.match(name) else ("", "")
            read[name] = printed(text) if error is None else None
        return read[name]

    todo, seen = [f"{work.library}.Solution.{work.name}"], set[str]()
    while todo:
        name = todo.pop()
        if name in seen or name.partition(".")[2] in work.trusted:
            continue
        seen.add(name)
        term = body(name)
        if term is None:
            continue
        try:
            guard.check(term, body)
        except guard.Unguarded as error:
            raise guard.Unguarded(f"{name.replace(work.library + '.', '')}: {error}") from error
        todo += [found for found in guard.constants(term) if found.startswith(("Solution.", work.library))]
    return len(seen)


def _axioms(checker: Checker, work: _Work, dialogue: _Dialogue) -> tuple[VerdictLayer, tuple[str, ...]]:
    error, printed = dialogue.say("Print Assumptions final.")
    if error is not None:
        return VerdictLayer(name="axioms", ok=False, detail=error), ()
    if "Closed under the global context" in printed:
        return VerdictLayer(name="axioms", ok=True, detail="none"), ()
    names, bad = [], []
    for line in printed.splitlines():
        match = _ENTRY.fullmatch(line)
        if line.strip() in ("", "Axioms:") or line.startswith(" "):
            continue
        if match is not None:
            full = _full(dialogue, match[1])
            why = _objection(checker, work, dialogue, full)
            names.append(full.replace(work.library + ".", ""))
            bad += [f"{names[-1]}: {why}"] if why else []
        else:
            bad.append(" ".join(line.split()).replace(work.library + ".", ""))
    ok = not bad and bool(names)
    return VerdictLayer(name="axioms", ok=ok, detail="; ".join(bad) or ", ".join(names)), tuple(names)


def _full(dialogue: _Dialogue, name: str) -> str:
    """The absolute name of a constant, as the kernel has it."""
    error, printed = dialogue.say(f"Locate {name}.")
    words = printed.split()
    return words[1] if error is None and len(words) > 1 and words[0] in ("Constant", "Inductive") else name


def _objection(checker: Checker, work: _Work, dialogue: _Dialogue, full: str) -> str:
    """Why an axiom is not accepted; empty when it is."""
    place = f"{work.library}.Solution."
    if full.startswith(place):
        last = full.rpartition(".")[2]
        return "" if last in work.own_axioms else "an axiom of the solution's own"
    if full in checker.axioms:
        return ""
    root = next((root for root in _ROOTS if full.startswith(root)), None)
    table = _table()
    if root is None:
        return "not on the list of accepted axioms"
    inner = full[len(root) :]
    if inner in table["names"] or inner.rpartition(".")[0] in table["modules"]:
        return ""
    if inner not in table["types"]:
        return "not on the list of accepted axioms"
    error, _ = dialogue.say(f"Definition axiom_{secrets.token_hex(4)} : {table['types'][inner]} := @{full}.")
    return "" if error is None else f"has another type than it should: {' '.join(error.split())[:200]}"


def _table() -> dict[str, dict[str, str]]:
    return tomllib.loads(_AXIOMS.read_text(encoding="utf-8"))

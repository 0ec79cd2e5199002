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
from dataclasses import dataclass
from pathlib import Path

from llemma.errors import ConfigError, ProverError
from llemma.provers import Limits
from llemma.provers.coq import gate, guard, install, protocol, worker
from llemma.provers.coq.bugs import affecting, guard_is_faulty
from llemma.provers.coq.gate import Allowed, Refused, head
from llemma.provers.coq.sentences import Sentence, split
from llemma.provers.coq.statements import declared
from llemma.provers.coq.terms import Term, Unreadable, printed
from llemma.provers.coq.worker import Lost, Worker
from llemma.records import Theorem, Verdict, VerdictLayer
from llemma.sandbox import command

LAYERS = ("gate", "compile", "exists", "pinned", "axioms", "second", "kernel")
_AXIOMS = Path(__file__).with_name("axioms.toml")
_ROOTS = ("Coq.", "Stdlib.", "Corelib.")
_MAKES_AXIOMS = frozenset(
    [
        "Axiom",
        "Axioms",
        "Conjecture",
        "Conjectures",
        "Parameter",
        "Parameters",
        "Hypothesis",
        "Hypotheses",
        "Variable",
        "Variables",
    ]
)
_ERROR = re.compile(r"line (\d+), characters [\d-]+:\s*(?:Error:\s*)?(.*)", re.DOTALL)
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
class _Item:
    """A theorem of a solution: its name there, and the name of the trusted statement."""

    name: str
    challenge: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """The file to compile, and the names that stand in it."""

    text: str
    trusted: tuple[range, ...]  # lines, from 1, of the prelude and of trusted statements
    items: tuple[_Item, ...]
    library: str  # logical name no text can know before
    own_axioms: frozenset[str]  # of the prelude, and modules it opens
    defined: frozenset[str]  # names the prelude declares
    fixes: bool  # whether the untrusted part can have made a fixpoint
    polymorphic: bool


def check(checker: Checker, theorem: Theorem, proof: str, limits: Limits) -> Verdict:
    """The verdict on a proof script."""
    return check_many(checker, [theorem], [proof], limits)[0]


def check_file(checker: Checker, theorem: Theorem, text: str, limits: Limits) -> Verdict:
    """The verdict on a whole file; tactics alone are taken as a proof script."""
    begin = time.monotonic()
    try:
        allowed = gate.file(gate.stopped(text), split(theorem.prelude))
    except Refused as error:
        return _refused(str(error), begin)
    if not any(head(sentence) in gate.COMMANDS for sentence in allowed.sentences):
        script = "\n".join(sentence.text for sentence in allowed.sentences)
        return check(checker, theorem, script, limits)
    lines = [sentence.text for sentence in allowed.sentences]
    return _verdicts(checker, _work([theorem], [lines]), limits, begin)[0]


def check_many(checker: Checker, theorems: Sequence[Theorem], proofs: Sequence[str], limits: Limits) -> list[Verdict]:
    """Verdicts on proof scripts for theorems with one prelude, compiled together; alone where one of them fails.

    Every layer looks at each of them; only coqc, coqchk and the loading of libraries are shared.
    """
    begin = time.monotonic()
    found: dict[int, Verdict] = {}
    scripts: dict[int, list[str]] = {}
    for number, (theorem, proof) in enumerate(zip(theorems, proofs, strict=True)):
        try:
            allowed = gate.tactics(gate.stopped(proof), gate.capital_tactics(split(theorem.prelude)))
        except Refused as error:
            found[number] = _refused(str(error), begin)
        else:
            scripts[number] = _script(theorem, allowed)
    if scripts:
        work = _work([theorems[number] for number in scripts], list(scripts.values()))
        together = _verdicts(checker, work, limits, begin)
        if len(scripts) > 1 and not all(verdict.proved for verdict in together):
            alone = [check(checker, theorems[number], proofs[number], limits) for number in scripts]
            together = alone
        found.update(zip(scripts, together, strict=True))
    return [found[number] for number in range(len(theorems))]


def walls(tier: str) -> str:
    """Which walls coqc runs behind, in words."""
    best = command.best()
    return f"{best.name}: {best.detail}" if best.name else f"none: {best.detail}"


# --- what is compiled -----------------------------------------------------------------------------------------------


def _script(theorem: Theorem, allowed: Allowed) -> list[str]:
    sentences = [sentence.text for sentence in allowed.sentences]
    begun = sentences if allowed.begins else ["Proof.", *sentences]
    return [_statement(theorem).text, *begun, "Qed."]


def _work(theorems: Sequence[Theorem], scripts: Sequence[Sequence[str]]) -> _Work:
    """One file: the prelude, and for each theorem the trusted statement and the untrusted lines."""
    assert len({theorem.prelude for theorem in theorems}) == 1, "theorems are compiled together under one prelude"
    prelude = split(theorems[0].prelude)
    text = theorems[0].prelude + "\n"
    trusted, items = [range(1, text.count("\n") + 1)], []
    for theorem, lines in zip(theorems, scripts, strict=True):
        item = _Item(name=theorem.name, challenge=f"challenge_{secrets.token_hex(8)}")
        first = text.count("\n") + 1
        text += f"{_renamed(theorem, item.challenge)}\nAdmitted.\n"
        if gate.unclosed(prelude):  # then `Admitted` is about all variables of the section, and so shall the proof be
            text += 'Set Default Proof Using "All".\n'
        trusted.append(range(first, text.count("\n") + 1))
        text += "\n".join(lines) + "\n"
        items.append(item)
    sentences = [sentence for lines in scripts for line in lines for sentence in split(line)]
    text += "".join(f"End {name}.\n" for name in gate.unclosed([*prelude, *sentences]))
    return _Work(
        text=text, trusted=tuple(trusted), items=tuple(items), library=f"Llemma_{secrets.token_hex(8)}",
        own_axioms=frozenset(_axiom_names(prelude)), defined=frozenset(_defined(prelude)),
        fixes=any(_may_fix(sentence) for sentence in sentences),
        polymorphic=any("polymorphic" in sentence.text.lower() for sentence in sentences),
    )  # fmt: skip


def _renamed(theorem: Theorem, name: str) -> str:
    """The trusted statement, as it is written, under another name."""
    statement = _statement(theorem)
    token = statement.tokens[statement.words.index(head(statement)) + 1]
    text = gate.stopped(theorem.statement)
    return text[: token.at] + name + text[token.at + len(token.text) :]


def _statement(theorem: Theorem) -> Sentence:
    sentences = split(gate.stopped(theorem.statement))
    if len(sentences) != 1 or declared(sentences[0]) is None:
        raise ConfigError(f"{theorem.name}: the statement must be one sentence: Theorem NAME : TYPE.")
    return sentences[0]


def _axiom_names(sentences: Sequence[Sentence]) -> Iterator[str]:
    """Names that a trusted prelude declares without proof, and the modules that it opens."""
    last = None
    for sentence in sentences:
        first = head(sentence)
        last = declared(sentence) or last
        if first in _MAKES_AXIOMS:
            yield from (token.text for token in sentence.tokens if token.kind == "word")
        elif first == "Module":
            yield from sentence.words[1:4]
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


def _verdicts(checker: Checker, work: _Work, limits: Limits, begin: float) -> list[Verdict]:
    passed = VerdictLayer(name="gate", ok=True, detail="tactics and accepted commands only")
    found: list[_Found] = [_Found() for _ in work.items]
    with tempfile.TemporaryDirectory(prefix="llemma-coq-") as name:
        folder = Path(name)
        (folder / "Solution.v").write_text(work.text, encoding="utf-8")
        shared = [passed, _compile(checker, work, folder, limits)]
        if shared[-1].ok:
            with ThreadPoolExecutor(max_workers=1) as pool:
                second = pool.submit(_second, checker, work, folder, limits)
                found = _ask(checker, work, folder, limits)
                shared.append(second.result())
    verdicts = []
    for one in found:
        layers = _complete((*shared, *one.layers))
        verdicts.append(Verdict(
            proved=all(layer.ok for layer in layers), axioms=one.axioms, layers=layers,
            seconds=time.monotonic() - begin,
        ))  # fmt: skip
    return verdicts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a fresh process says of one theorem."""

    layers: tuple[VerdictLayer, ...] = ()
    axioms: tuple[str, ...] = ()


def _complete(layers: Sequence[VerdictLayer]) -> tuple[VerdictLayer, ...]:
    known = {layer.name: layer for layer in layers}
    missing = "not reached: an earlier layer said no"
    return tuple(known.get(name) or VerdictLayer(name=name, ok=False, detail=missing) for name in LAYERS)


def _refused(message: str, begin: float) -> Verdict:
    layers = _complete([VerdictLayer(name="gate", ok=False, detail=message)])
    return Verdict(proved=False, axioms=(), layers=layers, seconds=time.monotonic() - begin)


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
        argv, wall=limits.seconds, read=_readable(checker), write=folder, limits=bounds, env=install.environment(),
        tier=checker.walls,
    )  # fmt: skip


def _walled(
    checker: Checker, argv: list[str], folder: Path, scratch: Path, limits: Limits
) -> tuple[list[str], dict[str, str]]:
    found = command.walled(
        argv, read=[*_readable(checker), str(folder)], write=scratch, env=install.environment(), tier=checker.walls,
        limits=command.CommandLimits(memory=limits.memory),
    )  # fmt: skip
    return found.argv, found.env


def _compile(checker: Checker, work: _Work, folder: Path, limits: Limits) -> VerdictLayer:
    words = ["-q", "-w", "none", "-native-compiler", "no", *checker.flags, "-Q", str(folder), work.library]
    done = _run(checker, [*checker.programs.compile, *words, str(folder / "Solution.v")], folder, limits)
    ok = done.status == "ok" and (folder / "Solution.vo").is_file()
    return VerdictLayer(
        name="compile", ok=ok, detail=_compiled(done, work, limits) if not ok else f"coqc, walls {done.tier}"
    )


def _compiled(done: command.CommandResult, work: _Work, limits: Limits) -> str:
    if done.status == "timeout":
        return f"took longer than {limits.seconds:g} s"
    if done.status == "memory":
        return f"used more than {limits.memory} MB"
    match = _ERROR.search(done.stderr)
    if match is None:
        return " ".join(done.stderr.split())[-400:] or f"coqc ended with {done.code}"
    message = " ".join(match[2].split())[:600]
    if any(int(match[1]) in lines for lines in work.trusted):
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


def _ask(checker: Checker, work: _Work, folder: Path, limits: Limits) -> list[_Found]:
    argv = [*checker.programs.top, "-q", "-main-channel", "stdfds", "-async-proofs", "off", "-w", "none"]
    argv += ["--xml_format=Ppcmds"]
    argv += [*checker.flags, "-Q", str(folder), work.library]
    scratch = folder / "final"
    scratch.mkdir()
    argv, env = _walled(checker, argv, folder, scratch, limits)
    process = worker.spawn(argv, env, None, Path("/"))
    found: list[_Found] = []
    try:
        dialogue = _started(process, work, limits)
        for item in work.items:
            found.append(_questions(checker, work, item, dialogue))
    except Lost as lost:
        layer = VerdictLayer(name="pinned", ok=False, detail=f"could not be decided: {lost}")
        found += [_Found(layers=(layer,))] * (len(work.items) - len(found))
    finally:
        process.kill()
    return found


def _started(process: Worker, work: _Work, limits: Limits) -> _Dialogue:
    try:
        dialogue = _Dialogue(process, limits)
        error, _ = dialogue.say(f"Require {work.library}.Solution.")
    except Lost as lost:
        raise ProverError(f"a compiled solution cannot be looked at: {lost}", retryable=True) from lost
    if error is not None:
        raise ProverError(f"a compiled solution cannot be loaded: {error}", retryable=True)
    return dialogue


def _questions(checker: Checker, work: _Work, item: _Item, dialogue: _Dialogue) -> _Found:
    place = f"{work.library}.Solution"
    error, _ = dialogue.say(f"Check @{place}.{item.name}.")
    exists = VerdictLayer(
        name="exists", ok=error is None,
        detail=f"{item.name} is there" if error is None else f"nothing is named {item.name} in the end",
    )  # fmt: skip
    if error is not None:
        return _Found(layers=(exists,))
    final = f"final_{item.challenge}"
    stated = f"ltac:(let T := type of (@{place}.{item.challenge}) in exact T)"
    error, _ = dialogue.say(f"Definition {final} : {stated} := @{place}.{item.name}.")
    detail = "the kernel types it at the trusted statement" if error is None else " ".join(error.split())[:600]
    pinned = VerdictLayer(name="pinned", ok=error is None, detail=detail.replace(work.library, "Llemma"))
    if error is not None:
        return _Found(layers=(exists, pinned))
    axioms, names = _axioms(checker, work, dialogue, final)
    return _Found(layers=(exists, pinned, axioms, _kernel(checker, work, item, dialogue)), axioms=names)


def _kernel(checker: Checker, work: _Work, item: _Item, dialogue: _Dialogue) -> VerdictLayer:
    """Names the faults of this kernel; where its guard has some, every fixpoint of the solution must pass ours too."""
    version = checker.programs.numbers
    issues = ", ".join(f"#{bug.issue}" for bug in affecting(version))
    known = f"known bugs of {checker.programs.version}: {issues}" if issues else "no known bug of this version"
    if work.polymorphic and any("polymorphic" in bug.what for bug in affecting(version)):
        return VerdictLayer(name="kernel", ok=False, detail=f"universe polymorphism is not accepted; {known}")
    if not guard_is_faulty(version):
        return VerdictLayer(name="kernel", ok=True, detail=known)
    if not work.fixes:
        return VerdictLayer(name="kernel", ok=True, detail=f"no fixpoint is written in it; {known}")
    try:
        number = guard.deeply(lambda: _guarded(work, item, dialogue))
    except (guard.Unguarded, Unreadable) as error:
        return VerdictLayer(name="kernel", ok=False, detail=f"{error}; {known}")
    return VerdictLayer(name="kernel", ok=True, detail=f"{number} terms passed a second guard; {known}")


def _guarded(work: _Work, item: _Item, dialogue: _Dialogue) -> int:
    """How many of the solution's own terms, all the theorem rests on, passed. Raises Unguarded or Unreadable."""
    for setting in ("Set Printing All.", "Set Printing Depth 1000000."):
        dialogue.say(setting)
    read: dict[str, Term | None] = {}

    def body(name: str) -> Term | None:
        if name not in read:
            error, text = dialogue.say(f"Print {name.partition('@')[0]}.") if _NAME.match(name) else ("", "")
            read[name] = printed(text) if error is None else None
        return read[name]

    todo, seen = [f"{work.library}.Solution.{item.name}"], set[str]()
    while todo:
        name = todo.pop()
        if name in seen or name.partition(".")[2] in work.defined:
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
    dialogue.say("Unset Printing All.")
    return len(seen)


def _axioms(checker: Checker, work: _Work, dialogue: _Dialogue, final: str) -> tuple[VerdictLayer, tuple[str, ...]]:
    error, printed = dialogue.say(f"Print Assumptions {final}.")
    if error is not None:
        return VerdictLayer(name="axioms", ok=False, detail=error), ()
    if " ".join(printed.split()) == "Closed under the global context":
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
        steps = full[len(place) :].split(".")  # nothing untrusted can be in a module of the prelude
        trusted = steps[0] in work.own_axioms and steps[-1] in work.own_axioms
        return "" if trusted else "an axiom of the solution's own"
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

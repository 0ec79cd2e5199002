"""Which sentences of untrusted Coq text may reach Coq: tactics, and for whole files the commands of a white list.

The gate is the first of several layers and not the one that soundness rests on: it keeps out what reads and writes
files, loads code, switches checks of the kernel off, or reaches parts of the kernel with known faults. What it refuses
it names, with the sentence. Everything it lets through is what Coq then reads: comments are gone, one sentence a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llemma.provers.coq.sentences import Sentence, Torn, split

# Commands that only look, and wrappers whose content leaves no trace: dropped, so that they cost nothing.
LOOKS = frozenset((
    "About", "Check", "Compute", "Eval", "Fail", "Guarded", "Help", "Info", "Locate", "Print", "Search", "SearchHead",
    "SearchPattern", "SearchRewrite", "Show", "Succeed", "Inspect", "Pwd", "Test", "Comments", "Validate",
))  # fmt: skip
CONTROLS = frozenset({"Time", "Instructions"})  # `Time tac.` is `tac.`
# What may stand between the tactics of a proof.
IN_PROOF = frozenset({"Proof", "Unshelve", "Focus", "Unfocus"})
ENDS = frozenset({"Qed", "Defined"})
PROOF_ENDS = ENDS | {"Admitted", "Abort", "Save"}
# Commands of a prelude that do no harm when a file says them again, and whose order may matter.
_AGAIN = frozenset(["Require", "From", "Import", "Open", "Close", "Notation", "Infix", "Arguments", "Hint"])
VARIABLES = frozenset({"Variable", "Variables", "Hypothesis", "Hypotheses", "Context"})
_STATES = (
    "Theorem Lemma Fact Remark Corollary Proposition Property Example Definition Fixpoint CoFixpoint Instance Let"
    " Function Goal"
)
STATES = frozenset(_STATES.split())  # commands that may open a proof, by their first word behind attributes
# Commands of whole files. Not there: Axiom and its kin, Admitted, everything with files, plug-ins, flags of the kernel,
# module types and functors (Coq #12155, #21051, #21685, #21702, #22366, #22387 need one), Primitive, Register.
COMMANDS = frozenset(
    (
        _STATES + " Abort Arguments Bind CoInductive Canonical Class Close Coercion Collection Combined Context Create"
        " Declare Delimit Derive End Equations Existing Export Final From Functional Generalizable Global Hint"
        " Hypotheses Hypothesis Identity Implicit Import Inductive Infix Local Ltac Ltac2 Module Next Notation"
        " Obligation Obligations Opaque Open Polymorphic Monomorphic Program Record Remove Require Reserved Save"
        " Scheme Section Set Solve Strategy Structure Tactic Transparent Typeclasses Undelimit Unset Variable Variables"
        " Variant"
    ).split()
)
_PREFIXES = frozenset({"Local", "Global", "Program", "Polymorphic", "Monomorphic"})
_ATTRIBUTES = frozenset((
    "local", "global", "export", "program", "canonical", "reversible", "deprecated", "since", "note", "using",
    "refine", "private", "warning", "warnings", "projections", "primitive", "hint_db",
))  # fmt: skip
# Options that change how things are read, printed or searched; those of the kernel are not among them.
_OPTIONS = (
    "Apply", "Asymmetric Patterns", "Automatic", "Boolean Equality Schemes", "Bracketing", "Bullet Behavior",
    "Case Analysis Schemes", "Congruence", "Contextual Implicit", "Cumulative Evars", "Debug",
    "Decidable Equality Schemes", "Default Goal Selector", "Default Proof Mode", "Default Proof Using",
    "Default Timeout", "Diffs", "Eager", "Elimination Schemes", "Equations", "Firstorder", "Function",
    "Hide Obligations", "Implicit Arguments", "Info", "Injection", "Instance", "Intuition", "Keep",
    "Keyed Unification", "Lia", "Nia", "Nra", "Loose Hint Behavior", "Ltac", "Maximal Implicit Insertion",
    "Nonrecursive Elimination Schemes", "Omega", "Parsing Explicit", "Primitive Projections", "Printing", "Program",
    "Program Cases", "Refine", "Regular", "Reversible", "Rewriting Schemes", "Search", "Short", "Shrink", "Silent",
    "Simplex", "Solve", "SsrHave", "SsrIdents", "SsrOldRewriteGoalsOrder", "SsrRewrite", "Strict",
    "Strongly Strict Implicit", "Structural", "Suggest", "Tactic", "Transparent Obligations", "Typeclass",
    "Typeclasses", "Uniform Inductive Parameters", "Universe Minimization ToSet", "Use", "Warnings",
)  # fmt: skip
# Words that give a goal up or close it unproved; the kernel would refuse the end of such a proof, this says it sooner.
GIVE_UP = frozenset({"admit", "give_up", "Admitted", "proof_admitted", "Admit"})
# Words of parts of Coq that its kernel has got wrong (see bugs.py), or that take the statement's sort away from us.
_SORTS = frozenset({"SProp", "StrictProp", "sUnit", "sEmpty", "Squash", "Ssig", "Spr1"})
_PLUGINS = frozenset({"extraction", "Extraction", "ExtrOcamlBasic", "AdmitAxiom"})


class Refused(ValueError):
    """Text that may not reach Coq; the message says what and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What may be compiled: the sentences in order, and whether the text brought ``Proof`` and ``Qed`` with it."""

    sentences: tuple[Sentence, ...]
    begins: bool = False
    ends: bool = False


def tactics(text: str, defined: Iterable[str] = ()) -> Allowed:
    """The sentences of a proof script: tactics, bullets, braces; ``Proof`` first and ``Qed`` last may be there.

    ``defined``: tactics of the prelude whose names begin with a capital. Raises Refused.
    """
    sentences = _split(text)
    known = frozenset(defined)
    kept: list[Sentence] = []
    begins = ends = False
    for number, sentence in enumerate(sentences):
        if ends:
            raise Refused(f"text behind the end of the proof: {shown(sentence)}")
        first = head(sentence)
        if first in ENDS and len(sentence.words) == 1:
            ends = True
        elif first in LOOKS:
            continue
        elif first == "Proof" and number == 0:
            begins = True
            kept.append(sentence)
        else:
            _tactic(sentence, known)
            kept.append(sentence)
    return Allowed(sentences=tuple(kept), begins=begins, ends=ends)


def file(text: str, prelude: Sequence[Sentence] = ()) -> Allowed:
    """The sentences of a whole file: tactics and commands of the white list. Raises Refused.

    ``prelude``: the trusted one, which stands before the file already. Declarations of it that the file repeats are
    left out, with their proofs; they may be what no file of its own could say.
    """
    opens = {
        sentence.key: _opens(following)
        for sentence, following in zip(prelude, [*prelude[1:], None], strict=False)
        if head(sentence)[:1].isupper() and head(sentence) not in _AGAIN | IN_PROOF | PROOF_ENDS | LOOKS
    }
    sentences: list[Sentence] = []
    skipping = False
    for sentence in _split(text):
        if skipping:
            skipping = head(sentence) not in PROOF_ENDS
        elif sentence.key in opens:
            skipping = opens[sentence.key]
        elif head(sentence) not in LOOKS:
            sentences.append(sentence)
    known = frozenset(capital_tactics(sentences))
    opened: list[str] = []
    for sentence in sentences:
        first = head(sentence)
        if first in ENDS or first in IN_PROOF or first in COMMANDS:
            _command(sentence, first)
            _nesting(sentence, first, opened)
        else:
            _tactic(sentence, known, "not accepted in a file")
    return Allowed(sentences=tuple(sentences))


def _opens(following: Sentence | None) -> bool:
    """Whether a sentence opens a proof, seen by what follows it."""
    if following is None:
        return False
    first = head(following)
    return first == "Proof" or first in PROOF_ENDS or not first[:1].isupper()


def unclosed(sentences: Iterable[Sentence]) -> list[str]:
    """The names of sections and modules that stay open, the innermost first."""
    opened: list[str] = []
    for sentence in sentences:
        first, words = head(sentence), [word for word in sentence.words if word not in ("Import", "Export", "Type")]
        if first in ("Section", "Module") and ":=" not in words and words.index(first) + 1 < len(words):
            opened.append(words[words.index(first) + 1])
        elif first == "End" and opened:
            opened.pop()
    return opened[::-1]


def _nesting(sentence: Sentence, first: str, opened: list[str]) -> None:
    """Follows sections and modules: outside a section, a variable is an axiom."""
    if first == "Section" or (first == "Module" and ":=" not in sentence.words):
        opened.append(first)
    elif first == "End" and opened:
        opened.pop()
    elif first in VARIABLES and "Section" not in opened:
        raise Refused(f"outside a section this is an axiom: {shown(sentence)}")


def capital_tactics(sentences: Iterable[Sentence]) -> set[str]:
    """Names with a capital that ``Ltac`` or ``Tactic Notation`` define in these sentences."""
    found = set()
    for sentence in sentences:
        words = [word for word in sentence.words if word not in ("Local", "Global")]
        if words[:1] == ["Ltac"] and len(words) > 1:
            found.add(words[1])
        if words[:2] == ["Tactic", "Notation"]:
            found |= {word.strip('"') for word in words[2:4] if word.startswith('"')}
    return {name for name in found if name[:1].isupper()} - COMMANDS - LOOKS - ENDS - IN_PROOF


def head(sentence: Sentence) -> str:
    """The first word that says what a sentence is: behind attributes, prefixes and `Time`."""
    words = _bare(sentence)
    at = 0
    while at + 1 < len(words):
        if (
            words[at] in CONTROLS
            or words[at] in _PREFIXES
            or (words[at] == "Export" and words[at + 1] in ("Set", "Unset"))
        ):
            at += 1
        elif words[at] == "Timeout" and at + 2 < len(words):
            at += 2
        else:
            break
    return words[at] if words else ""


def _bare(sentence: Sentence) -> list[str]:
    """The words behind ``#[...]`` attributes."""
    words = list(sentence.words)
    while words[:2] == ["#", "["]:
        depth = 0
        for at, word in enumerate(words):
            depth += (word == "[") - (word == "]")
            if word == "]" and depth == 0:
                words = words[at + 1 :]
                break
        else:
            return []
    return words


def _tactic(sentence: Sentence, known: frozenset[str], what: str = "no tactic") -> None:
    words = sentence.words
    first = head(sentence)
    if words[:1] == ("#",) or (first[:1].isupper() and first not in IN_PROOF | known):
        raise Refused(f"{what}: {shown(sentence)}")
    if first in ("Focus", "Unfocus", "Unshelve", "Proof") and len(words) > 2:
        raise Refused(f"{what}: {shown(sentence)}")
    _words(sentence)


def _words(sentence: Sentence) -> None:
    """What no sentence may hold, in whatever place."""
    for token in sentence.tokens:
        if token.kind == "word" and token.text in GIVE_UP:
            raise Refused(f"`{token.text}` gives the goal up: {shown(sentence)}")
        if token.kind == "word" and token.text in _SORTS:
            raise Refused(f"`{token.text}` (strict propositions) is not accepted: {shown(sentence)}")
        if token.kind == "other" and not token.text.isprintable():
            raise Refused(f"a character that cannot be seen (U+{ord(token.text):04X}) in: {shown(sentence)}")


def _command(sentence: Sentence, first: str) -> None:
    words = _bare(sentence)
    _words(sentence)
    _attributes(sentence)
    if "Cumulative" in words[:4]:
        raise Refused(f"cumulative inductive types are not accepted: {shown(sentence)}")
    at = words.index(first)
    rest = words[at + 1 :]
    if first in ("Set", "Unset"):
        _option(sentence, rest)
    elif first == "Module":
        _module(sentence, rest)
    elif first == "Declare":
        if rest[:1] not in (["Scope"], ["Custom"]):
            raise Refused(f"not accepted: {shown(sentence)}")
    elif (
        (first in ("Require", "From") and _PLUGINS & set(rest))
        or (first in ("Obligations", "Solve", "Next") and "Admit" in rest)
        or (first in ("Derive", "Ltac2") and {"@", "external"} <= set(rest))
    ):
        raise Refused(f"not accepted: {shown(sentence)}")


def _attributes(sentence: Sentence) -> None:
    words = sentence.words
    if words[:1] != ("#",):
        return
    inside = words[: len(words) - len(_bare(sentence))]
    for token in sentence.tokens[: len(inside)]:
        if token.kind == "word" and token.text not in _ATTRIBUTES:
            raise Refused(f"the attribute {token.text} is not accepted: {shown(sentence)}")


def _option(sentence: Sentence, words: list[str]) -> None:
    name = " ".join(word for word in words if word[:1].isalpha())
    if not any(name == option or name.startswith(option + " ") for option in _OPTIONS):
        raise Refused(f"this option is not among those accepted: {shown(sentence)}")


def _module(sentence: Sentence, words: list[str]) -> None:
    """Modules as name spaces, and functors of the library applied; no module types and no functors of its own."""
    words = [word for word in words if word not in ("Import", "Export")]
    if words[:1] == ["Type"] or "with" in words:
        raise Refused(f"module types are not accepted: {shown(sentence)}")
    before = words[: words.index(":=")] if ":=" in words else words
    if "(" in before or "!" in before:
        raise Refused(f"functors are not accepted: {shown(sentence)}")


def stopped(text: str) -> str:
    """The text, with the full stop that its last sentence lacks."""
    try:
        split(text)
    except Torn as error:
        if "full stop" in str(error):
            return text + "."
    return text


def _split(text: str) -> tuple[Sentence, ...]:
    try:
        return split(text)
    except Torn as error:
        raise Refused(str(error)) from error


def shown(sentence: Sentence, width: int = 80) -> str:
    """The sentence on one line, cut to a width."""
    line = " ".join(sentence.text.split())
    return line if len(line) <= width else line[: width - 1] + "…"

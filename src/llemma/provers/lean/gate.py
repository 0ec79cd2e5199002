"""What a model's Lean text may not contain, decided on tokens, with the reason of each ban.

A proof is tactics only and is held to more than a whole file. Redefined notations, wrong statements, axioms and false
declarations need no ban: the layers behind the gate see through them. Banned is what gives a goal up (said here in
plain words), what rests on the compiler, and what runs the text's own programs inside the prover, where they could
touch the machine or hand the kernel terms that the elaborator would never build.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from llemma.provers.lean.lexer import Token, code, parts

_GIVES_UP = "gives the goal up"
_COMPILER = "rests on the compiler, not on the kernel"
_RUNS = "runs a program of the text inside the prover"
_BINDS = "binds a declaration to other code than its own"
_READS = "reads a file"
_HOLDS = "declares something; a proof holds tactics only"

# Words that are keywords where they stand alone.
EVERYWHERE: Mapping[str, str] = {
    "sorry": _GIVES_UP,
    "admit": _GIVES_UP,
    "stop": _GIVES_UP,
    "native_decide": _COMPILER,
    "bv_decide": _COMPILER,
    "run_tac": _RUNS,
    "run_cmd": _RUNS,
    "run_elab": _RUNS,
    "run_meta": _RUNS,
    "by_elab": _RUNS,
    "elab": _RUNS,
    "elab_rules": _RUNS,
    "initialize": _RUNS,
    "builtin_initialize": _RUNS,
    "simproc": _RUNS,
    "dsimproc": _RUNS,
    "simproc_decl": _RUNS,
    "dsimproc_decl": _RUNS,
    "builtin_simproc": _RUNS,
    "builtin_dsimproc": _RUNS,
    "declare_config_elab": _RUNS,
    "unsafe": _RUNS,
    "include_str": _READS,
    "implemented_by": _BINDS,
    "extern": _BINDS,
    "csimp": _BINDS,
}

# Behind these a constant is named that no proof may rest on; `«»` and namespaces do not hide it.
CONSTANTS: Mapping[str, str] = {
    "sorryAx": _GIVES_UP,
    "ofReduceBool": _COMPILER,
    "ofReduceNat": _COMPILER,
    "reduceBool": _COMPILER,
    "reduceNat": _COMPILER,
    "trustCompiler": _COMPILER,
    "unsafeCast": _RUNS,
    "unsafeIO": _RUNS,
    "unsafeBaseIO": _RUNS,
    "unsafeEIO": _RUNS,
}

# Programs of the prover's own monads, and their registration by attributes.
_MONADS = ("MetaM", "CoreM", "TacticM", "TermElabM", "CommandElabM", "CommandElab", "TermElab", "DelabM", "Simproc")
_ATTRIBUTES = (
    "tactic", "command_elab", "term_elab", "builtin_tactic", "builtin_term_elab", "builtin_command_elab",
    "command_parser", "term_parser", "tactic_parser", "delab", "app_delab", "init", "builtin_init", "export",
    "simproc", "norm_num", "positivity", "aesop_rule", "env_linter", "deriving_handler",
)  # fmt: skip

# Symbol and word together.
_HASH = ("eval", "eval!")

IN_PROOFS: Mapping[str, str] = dict.fromkeys(
    (
        "theorem", "lemma", "def", "abbrev", "instance", "axiom", "opaque", "example", "inductive", "structure",
        "class", "namespace", "section", "end", "universe", "variable", "notation", "infix", "infixl", "infixr",
        "prefix", "postfix", "macro", "macro_rules", "syntax", "declare_syntax_cat", "import", "attribute",
        "deriving", "mutual", "export", "noncomputable", "partial", "private", "protected",
    ),
    _HOLDS,
)  # fmt: skip

# Kinds of syntax that the parser itself refuses in a proof, whatever notation led to them.
KINDS: Mapping[str, str] = {
    "Lean.Parser.Term.sorry": _GIVES_UP,
    "Lean.Parser.Tactic.tacticSorry": _GIVES_UP,
    "Lean.Parser.Tactic.tacticAdmit": _GIVES_UP,
    "Lean.Parser.Tactic.tacticStop_": _GIVES_UP,
    "Lean.Parser.Tactic.nativeDecide": _COMPILER,
    "Lean.Parser.Tactic.bvDecide": _COMPILER,
    "Lean.Parser.Tactic.runTac": _RUNS,
    "Lean.Parser.Tactic.bvCheck": _COMPILER,
    "Lean.Parser.Tactic.bvTrace": _COMPILER,
    "Lean.byElab": _RUNS,
    "Lean.Parser.Term.unsafe": _RUNS,
    "Lean.includeStr": _READS,
}

_DECLARE_TOKENS = {
    "notation", "notation3", "infix", "infixl", "infixr", "prefix", "postfix", "macro", "syntax", "declare_syntax_cat",
}  # fmt: skip
_HIDE = ('"', "'", "--", "/-", "-/", "«", "»", "\\")


def proof(text: str) -> str | None:
    """Why ``text`` may not be a proof of tactics, or None. That it parses as tactics is for the prover to say."""
    return _first(text, {**IN_PROOFS, **EVERYWHERE})


def file(text: str) -> str | None:
    """Why ``text`` may not be a whole file, or None."""
    return _first(text, EVERYWHERE) or _hiding(text)


def has_programs(text: str) -> bool:
    """Whether elaborating the text runs programs of its own (macros), so that it gets a process for itself."""
    return any(token.text in ("macro", "macro_rules", "syntax", "declare_syntax_cat") for token in code(text))


def _first(text: str, words: Mapping[str, str]) -> str | None:
    for line, token, reason in _found(text, words):
        return f"line {line}: {token} {reason}"
    return None


def _found(text: str, words: Mapping[str, str]) -> Iterator[tuple[int, str, str]]:
    previous = Token("symbol", "", 0, 0)
    inside = 0  # of the brackets of an attribute
    for token, following in pairwise([*code(text), Token("symbol", "", len(text), len(text))]):
        line = text.count("\n", 0, token.start) + 1
        if token.kind == "broken":
            yield line, token.text, "is not closed: it hides the rest of the text"
        inside = _depth(inside, previous, token)
        if token.kind == "word":
            reason = _reason(token, previous, following, words, attribute=inside > 0)
            if reason:
                yield line, f"{previous.text if previous.text == '#' else ''}{token.text}", reason
        previous = token


def _depth(inside: int, previous: Token, token: Token) -> int:
    if inside:
        return inside + (token.text == "[") - (token.text == "]")
    return 1 if token.text == "[" and previous.text in ("@", "attribute") else 0


def _reason(
    token: Token, previous: Token, following: Token, words: Mapping[str, str], *, attribute: bool
) -> str | None:
    text, names = token.text, parts(token.text)
    if previous.text == "#" and previous.end == token.start:
        return _RUNS if text in _HASH else None
    if text in words and not (text in IN_PROOFS and following.text == ":"):
        return words[text]
    if names and names[-1] in CONSTANTS:
        return CONSTANTS[names[-1]]
    if any(name in _MONADS for name in names):
        return _RUNS
    if attribute and names[0] in _ATTRIBUTES:
        return _RUNS
    if text == "native" and (previous.text == "+" or following.text == ":"):
        return _COMPILER
    if previous.text == "set_option" and (names[0] == "debug" or names[0] == "compiler"):
        return "changes what the prover checks"
    if previous.text == "open" and text == "private":
        return "opens what a library keeps private"
    return None


def _hiding(text: str) -> str | None:
    """A text that declares tokens could declare one that makes Lean cut the rest differently than we do."""
    found = list(code(text))
    if not any(token.text in _DECLARE_TOKENS for token in found):
        return None
    for token in found:
        if token.kind == "string" and any(mark in token.text.strip('r#"') for mark in _HIDE):
            line = text.count("\n", 0, token.start) + 1
            return f"line {line}: the text declares notation, and {token.text} could be a token that hides other text"
    return None

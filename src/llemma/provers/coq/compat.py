"""Makes statements written for newer libraries readable by the Coq that is installed, without changing their meaning.

Two changes, each only where it is needed: ``From Stdlib`` is ``From Coq`` before Rocq 9, and Coquelicot before 3.3
lacks powers of complex numbers, which are defined as the later one does. The adapted text is hashed and reported.
"""

from __future__ import annotations

from pathlib import Path

from llemma.provers.coq import install
from llemma.provers.coq.gate import head
from llemma.provers.coq.sentences import Sentence, Torn, split

POWERS = (
    "Fixpoint Cpow (z : C) (n : nat) : C := match n with O => RtoC Rdefinitions.R1 | S m => Cmult z (Cpow z m) end.\n"
    'Infix "^" := Cpow : C_scope.\n'
    "Arguments Cmod _%C."
)


def here(text: str, folder: Path | None = None) -> str:
    """The text of a ``.v`` file as the Coq of this machine takes it. Raises ProverError when there is none."""
    programs = install.find(folder)
    powers = programs.library / "user-contrib" / "Coquelicot" / "Complex.vo"
    return adapt(text, version=programs.numbers, powers=not powers.is_file() or b"Cpow" in powers.read_bytes())


def adapt(text: str, *, version: tuple[int, ...], powers: bool) -> str:
    """The text for a version of Coq; ``powers``: whether the Coquelicot there has complex powers itself."""
    try:
        sentences = split(text)
    except Torn as error:
        sentences = error.complete
    changes: list[tuple[int, int, str]] = []
    behind = 0
    for sentence in sentences:
        if version < (9,) and sentence.words[:2] == ("From", "Stdlib"):
            at = sentence.tokens[1].at
            changes.append((at, at + len("Stdlib"), "Coq"))
        if _requires(sentence, "Coquelicot"):
            behind = sentence.end
    if behind and not powers:
        changes.append((behind, behind, "\n" + POWERS))
    for start, end, new in sorted(changes, reverse=True):
        text = text[:start] + new + text[end:]
    return text


def _requires(sentence: Sentence, library: str) -> bool:
    return head(sentence) in ("Require", "From") and "Require" in sentence.words and library in sentence.words

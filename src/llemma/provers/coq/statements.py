"""Finds the statements of a ``.v`` file, with or without proofs behind them; runs nothing.

A statement is a ``Theorem``, ``Lemma``, … whose type is given. It counts as one to prove when ``Admitted``, ``Abort``,
a proof or nothing at all follows. Its prelude is the file's text up to it, with proofs that stand there.
"""

from __future__ import annotations

from llemma.errors import DataError
from llemma.provers.coq.gate import head
from llemma.provers.coq.sentences import Sentence, Torn, split
from llemma.records import Theorem

KEYWORDS = ("Theorem", "Lemma", "Fact", "Remark", "Corollary", "Proposition", "Property", "Example", "Goal")
_ENDS = frozenset({"Qed", "Defined", "Admitted", "Abort", "Save"})


def read(text: str, source: str) -> list[Theorem]:
    """All statements of a text. Raises DataError when a comment or string does not end, or there is no statement."""
    try:
        sentences: tuple[Sentence, ...] = split(text)
    except Torn as error:
        sentences = error.complete
        if any(mark in str(error) for mark in ("comment", "string")) or not sentences:
            raise DataError(str(error), where=source) from error
    found = []
    for sentence in sentences:
        name = declared(sentence)
        if name is not None and ":=" not in _outside(sentence):
            found.append(Theorem(
                name=name, statement=sentence.text, prelude=text[: sentence.start].rstrip() + "\n" if
                text[: sentence.start].strip() else "", meta={"source": source},
            ))  # fmt: skip
    if not found:
        raise DataError("no Theorem, Lemma or other statement in it", where=source)
    return found


def declared(sentence: Sentence) -> str | None:
    """The name a sentence states a theorem under, None for other sentences and for ``Goal``."""
    if head(sentence) not in KEYWORDS or head(sentence) == "Goal":
        return None
    words = sentence.words
    at = words.index(head(sentence))
    return words[at + 1] if at + 1 < len(words) else None


def _outside(sentence: Sentence) -> list[str]:
    """The words outside brackets and before any ``let``: where ``:=`` would make it a definition."""
    found, depth, lets = [], 0, 0
    for word in sentence.words:
        depth += (word in "([{") - (word in ")]}")
        lets += word == "let"
        if word == ":=" and lets:
            lets -= 1
        elif depth == 0:
            found.append(word)
    return found

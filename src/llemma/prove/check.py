"""The verdict on a finished proof: reads the trusted statement, decides how the untrusted text is to be taken."""

from __future__ import annotations

import re
from pathlib import Path

from llemma.errors import ConfigError, DataError, nearest
from llemma.prove.config import CheckConfig
from llemma.prove.prompts import language
from llemma.prove.theorems import prover_for, read_file
from llemma.provers import open_prover
from llemma.records import Theorem, Verdict

LARGEST = 4 << 20  # bytes of an untrusted file


def check(config: CheckConfig) -> Verdict:
    """The prover's verdict. Raises ConfigError, DataError and ProverError; what is wrong with the text is a verdict."""
    name = prover_for(config.statement, config.prover)
    theorem = _statement(config, name)
    text = _text(config.file)
    prover = open_prover(name, config.prover_options)
    try:
        if restates(text, theorem):
            return prover.check_file(theorem, text, config.check)
        return prover.check(theorem, bare(text, name), config.check)
    finally:
        prover.close()


def restates(text: str, theorem: Theorem) -> bool:
    """Whether the text is a whole file rather than a proof: whether it holds the theorem's name as a word anywhere.

    A file that states the theorem must name it, so a text without the name is a proof or nothing. A proof that happens
    to name it is taken for a file that lacks the theorem, and is refused: never the other way round.
    """
    last = re.escape(theorem.name.rpartition(".")[2].strip("«»"))
    return re.search(rf"(?<![\w']){last}(?![\w'])", text) is not None


def bare(text: str, prover: str) -> str:
    """A proof without the frame that its language puts around it (``Proof.`` and ``Qed.``, ``by``)."""
    known = language(prover)
    opening, closing = known.before.strip().removeprefix(":= "), known.after
    stripped = text.strip()
    stripped = stripped.removeprefix(":=").lstrip() if opening == "by" else stripped
    if opening and re.match(rf"{re.escape(opening)}(?=\s|$)", stripped):
        text = stripped[len(opening) :]
    if closing and text.rstrip().endswith(closing):
        text = text.rstrip()[: -len(closing)]
    return text.strip("\n")


def _statement(config: CheckConfig, prover: str) -> Theorem:
    found = read_file(config.statement, prover)
    names = [theorem.name for theorem in found]
    if config.name:
        if config.name not in names:
            raise ConfigError(f"{config.statement} states no {config.name!r}{nearest(config.name, names)}")
        return found[names.index(config.name)]
    if len(found) > 1:
        raise ConfigError(f"{config.statement} states {', '.join(names[:20])}; say name=NAME")
    return found[0]


def _text(path: Path) -> str:
    if path.stat().st_size > LARGEST:
        raise DataError(f"larger than {LARGEST >> 20} MiB, which no proof is", where=path)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason}", where=path) from error

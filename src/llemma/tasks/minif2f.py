"""Olympiad and school problems as theorems: miniF2F (Zheng et al. 2022), 244 to test and 244 for development.

For ``llemma prove`` it offers theorems in Coq (the Rocq port) and in Lean 4 (today's Mathlib, or the paper's own list
for the Mathlib of 2023). For ``llemma eval`` the model writes a whole proof, which the prover's check grades; the best
first search of the paper is ``llemma prove minif2f search=best_first dedup=paper``. More than half of the formal
statements differ from the informal ones in meaning (miniF2F-v2, 2025), and versions of the data differ from each
other: the sha256 of the data stands beside every score.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from llemma.config import setting
from llemma.errors import DataError
from llemma.fetch import data_folder
from llemma.records import Task, Theorem
from llemma.run import read_jsonl, sha256_file
from llemma.tasks._data import Dataset, open_dataset, text_of
from llemma.tasks._proofs import proof_task

Written = Literal["coq", "lean4", "lean4_llemma"]

FILE = "minif2f_all.jsonl"
FILE_SHA256 = "0ee9df66ed78c424cc65738ac188ad2e3ab7035f36d29bc3ad6d341c063e1537"
ORIGINS = {
    "coq": "LLM4Rocq/miniF2F-rocq@b60affa",
    "lean4": "yangky11/miniF2F-lean4@5746b7d",
    "lean4_llemma": "rah4927/lean-dojo-mew@d00c776",
}
COLUMNS = {"coq": "rocq", "lean4": "lean4", "lean4_llemma": "lean4_llemma"}

PAPER = Dataset(  # the list that the paper's runs used: statements without a prelude
    file="minif2f_lean4_llemma.jsonl",
    rows=488,
    sha256="a855832d6aefcce8cc2b1b5ebd90c8f63ae1b7829a1bd59c0bfa51c3cc1f5230",
    repo="wellecks/llemma_formal2formal",
    commit="0931a1e27ede893b14b30da601dbf97f2b3ab42d",
    path="data/minif2f.jsonl",
    original_sha256="a855832d6aefcce8cc2b1b5ebd90c8f63ae1b7829a1bd59c0bfa51c3cc1f5230",
    hub="miniF2F, Lean 4, as the paper used it",
    licence="MIT",
)
PAPER_PRELUDE = "import Mathlib\n\nopen BigOperators Real Nat Topology\n"

# In front of a file's own imports, which keep the last word on notations and scopes: the tactics of the ladder.
COQ_TACTICS = "Require Lia Lra Psatz.\nRequire Import Ring Field ArithRing ZArithRing Lia Lra Psatz.\n"

# Powers of complex numbers, which Coquelicot has since 3.3: without them eleven statements do not parse on Debian's.
COQ_POWERS = (
    "Fixpoint Cpow (z : C) (n : nat) : C := match n with O => RtoC 1 | S m => Cmult z (Cpow z m) end.\n"
    'Infix "^" := Cpow : C_scope. Arguments Cmod _%C.\n'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the task."""

    split: Literal["test", "valid"] = setting("test", "244 problems each")
    language: Written | None = setting(
        None, "coq; lean4: for today's Mathlib; lean4_llemma: the paper's list; none: as the prover asks"
    )
    prover: str = setting("coq", "who checks: coq or lean; `llemma prove` says it itself")
    prover_options: Mapping[str, Any] = setting(factory=dict, help="options of the prover")
    shots: bool = setting(True, "`llemma eval`: proved theorems before the one to be proved")
    powers: bool = setting(True, "coq: define powers of complex numbers where needed (Coquelicot < 3.3)")

    @property
    def written(self) -> Written:
        """The language of the statements."""
        return self.language or ("coq" if self.prover == "coq" else "lean4")


def theorems(options: Options) -> tuple[Theorem, ...]:
    """The statements of a split, by name. Raises DataError when the data cannot be had."""
    written = options.written
    rows, dataset = _rows(written)
    found = []
    for where, row in rows:
        if row["split"] != options.split:
            continue
        informal = {"informal": row.get("informal_statement", ""), "informal_proof": row.get("informal_proof", "")}
        text, name = text_of(row, COLUMNS[written], where), text_of(row, "name", where)
        prelude, statement = _coq(text, name, where, options) if written == "coq" else _lean(text, name, where)
        meta = {**informal, "dataset": dataset, "category": category(name), "split": options.split}
        found.append(Theorem(name=name, statement=statement, prelude=prelude, meta=meta))
    return tuple(sorted(found, key=lambda theorem: theorem.name))


def load(options: Options) -> Task:
    """The theorems as problems of which a model writes the whole proof; votes do not exist, pass@k does."""
    found = theorems(options)
    return proof_task(
        "minif2f",
        found,
        prover=options.prover,
        prover_options=options.prover_options,
        shots=options.shots,
        meta={**(found[0].meta["dataset"] if found else {}), "split": options.split},
    )


def category(name: str) -> str:
    """The kind of a problem by its name: mathd_algebra, mathd_numbertheory, aime, amc, imo, induction, …"""
    for known in ("mathd_algebra", "mathd_numbertheory", "algebra", "numbertheory", "induction", "aime", "imo"):
        if name.startswith(known):
            return known
    return "amc" if name.startswith("amc") else "other"


def _rows(written: Written) -> tuple[list[tuple[str, dict[str, Any]]], dict[str, Any]]:
    """Place and row of every statement in a language, and what is said of the data."""
    folder = data_folder()
    path = folder / FILE if folder is not None else None
    if path is not None and path.is_file():
        digest = sha256_file(path)
        rows = [(f"{path}:{n}", row) for n, row in enumerate(read_jsonl(path), 1) if row.get(COLUMNS[written])]
        published = digest == FILE_SHA256
    elif written == "lean4_llemma":
        found = open_dataset(PAPER)
        rows = [
            (where, {"name": row.get("full_name"), "split": row.get("split"), "lean4_llemma": row.get("statement")})
            for _, where, row in found.numbered()
        ]
        digest, published = found.sha256, found.published
    else:
        raise DataError(
            f"needs {FILE}: rows with name, split and the statement as `{COLUMNS[written]}` ({ORIGINS[written]}); "
            "set LLEMMA_DATA to a folder that holds it"
        )
    meta = {"hub": f"miniF2F, {ORIGINS[written]}", "language": written, "sha256": digest, "published": published}
    return rows, {**meta, "rows": len(rows)}


def _coq(text: str, name: str, where: str, options: Options) -> tuple[str, str]:
    """Prelude and statement of a Rocq file. Its own text stays as it is; what is added stands around it."""
    text = text.replace("From Stdlib Require", "From Coq Require")  # the name of the library before Rocq 9
    head = re.search(rf"^[ \t]*(?:Theorem|Lemma)\s+{re.escape(name)}\b", text, re.MULTILINE)
    if head is None:
        raise DataError(f"states no Theorem {name}", where=where)
    prelude, rest = text[: head.start()], text[head.start() :]
    end = re.search(r"^[ \t]*(?:Proof\b|Admitted\.)", rest, re.MULTILINE)
    statement = (rest[: end.start()] if end else rest).strip()
    if options.powers and "Coquelicot" in prelude and re.search(r"\bC\b|C_scope|%C", text) and "^" in text:
        prelude = _after_imports(prelude, COQ_POWERS)
    return COQ_TACTICS + prelude.strip() + "\n", statement


def _after_imports(prelude: str, added: str) -> str:
    """``added`` after the last import of a prelude: what it defines is known to the definitions that follow."""
    imports = re.finditer(r"^[ \t]*(?:From\s.*?)?(?:Require\s+)?Import\s[^\n]*\.[ \t]*$", prelude, re.MULTILINE)
    at = max((found.end() for found in imports), default=0)
    return prelude[:at] + "\n" + added + prelude[at:]


def _lean(text: str, name: str, where: str) -> tuple[str, str]:
    """Prelude and statement of a Lean file that ends in ``:= by sorry``, or of a bare statement."""
    head = re.search(rf"^theorem\s+{re.escape(name)}(?![\w'.])", text, re.MULTILINE)
    if head is None:
        raise DataError(f"states no theorem {name}", where=where)
    prelude = text[: head.start()].strip() or PAPER_PRELUDE.strip()
    statement = re.sub(r"\s*:=\s*(?:by\s*)?(?:sorry)?\s*$", "", text[head.start() :]).strip()
    return prelude + "\n", statement


def available() -> bool:
    """Whether the data of every language is on this machine."""
    folder = data_folder()
    return folder is not None and (folder / FILE).is_file()

"""Our own library: 98 small theorems of logic, numbers, lists and trees, in Coq and in Lean, with known proofs.

For tests and for tiny models: needs neither data nor Mathlib. The statements lie beside this file in the provers'
own languages (``theorems/library.v``, ``theorems/library.lean``) under the same names. Training text that this
package generates (``sources=proofs``) leaves these theorems out; variants of some of them it does contain, and
``llemma.sources.proofs.base.shape`` tells which.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, cast

from llemma.config import setting
from llemma.errors import ConfigError
from llemma.provers import module
from llemma.records import Task, Theorem
from llemma.tasks._proofs import proof_task

Written = Literal["coq", "lean"]
Split = Literal["all", "steps", "single"]

_FILES = {"coq": "library.v", "lean": "library.lean"}
_PROOFS = {
    "coq": re.compile(r"^Theorem (\w+)\b.*?^Proof\.\n(.*?)^Qed\.", re.DOTALL | re.MULTILINE),
    "lean": re.compile(r"^theorem (\w+)\b.*? := by\n(.*?)(?=^\S|\Z)", re.DOTALL | re.MULTILINE),
}

# Proved by one automatic tactic of Coq or another (auto, intuition, firstorder, congruence, lia, nia, ring, …).
SINGLE = frozenset(
    [
        "and_swap",
        "or_swap",
        "and_regroup",
        "or_regroup",
        "imply_chain",
        "contrapositive",
        "not_or_split",
        "or_not_join",
        "and_over_or",
        "curry",
        "triple_negation",
        "not_not_excluded_middle",
        "iff_swap",
        "and_of_exists",
        "and_of_all",
        "or_of_exists",
        "none_means_not",
        "counterexample",
        "climb_two",
        "fixed_chain",
        "left_inverse",
        "andb_swap",
        "orb_regroup",
        "xorb_self",
        "add_regroup",
        "order_chain",
        "linear_pair",
        "square_of_sum",
        "product_positive",
        "int_linear",
        "int_difference_of_squares",
        "int_square_nonnegative",
        "int_no_half",
        "in_append_left",
        "cons_head",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the task."""

    split: Split = setting(
        "all", "all; steps: theorems that no single automatic tactic of Coq proves; single: the others"
    )
    language: Written | None = setting(None, "coq or lean; none: as the prover asks")
    prover: str = setting("coq", "who checks: coq or lean; `llemma prove` says it itself")
    prover_options: Mapping[str, Any] = setting(factory=dict, help="options of the prover")
    shots: bool = setting(True, "`llemma eval`: proved theorems before the one to be proved")

    @property
    def written(self) -> Written:
        """The language of the statements."""
        chosen = self.language or self.prover
        if chosen not in _FILES:
            raise ConfigError(f"the library is written for coq and lean, not for {chosen}")
        return cast(Written, chosen)


def theorems(options: Options) -> tuple[Theorem, ...]:
    """The theorems of a split in the order of the file, all with the prelude of the first: none needs another."""
    found = module(options.written).read(text(options.written), _FILES[options.written])
    prelude = found[0].prelude
    wanted = [t for t in found if options.split == "all" or (t.name in SINGLE) == (options.split == "single")]
    return tuple(
        Theorem(name=t.name, statement=t.statement, prelude=prelude, meta={**t.meta, "category": _category(t.name)})
        for t in wanted
    )


def load(options: Options) -> Task:
    """The theorems as problems of which a model writes the whole proof."""
    return proof_task(
        "library",
        theorems(options),
        prover=options.prover,
        prover_options=options.prover_options,
        shots=options.shots,
        meta={"split": options.split, "source": "llemma.tasks.library"},
    )


def text(language: Written) -> str:
    """The file of a language."""
    return resources.files("llemma.tasks").joinpath("theorems", _FILES[language]).read_text(encoding="utf-8")


def proofs(language: Written) -> Mapping[str, tuple[str, ...]]:
    """The known proof of each theorem: tactics, each for the first open goal."""
    return {
        name: tuple(line.strip() for line in body.splitlines() if line.strip())
        for name, body in _PROOFS[language].findall(text(language))
    }


def _category(name: str) -> str:
    """The part of the library a theorem stands in: logic, truth values, natural numbers, …"""
    part = ""
    for line in text("coq").splitlines():
        if heading := re.fullmatch(r"\(\* ([A-Z][a-z ]+) \*\)", line):
            part = heading[1].lower()
        elif line.startswith(f"Theorem {name} "):
            return part
    return part

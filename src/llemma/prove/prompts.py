"""What a model is asked: the next tactic for a state, a whole proof, a better proof after an error.

For tactics it is the paper's form (``llemma_formal2formal``), with the paper's three examples for Lean 4, which are
loaded by sha256, or ours; the zero-shot form is the text that a tactic model is trained on (``training_text``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llemma.prove.config import PromptName
from llemma.records import Goal, ProofState, Theorem
from llemma.tasks._prompts import PUBLISHED, identity, published

STOP = "---"
TACTIC_TOKENS, PROOF_TOKENS = 256, 1024
LONGEST_STATE = 8_000  # characters of a state in a prompt; its end, where the goal stands, is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How proofs are written for a prover: around the model's part, and where it ends. ``shots`` are ours."""

    title: str
    before: str
    after: str
    stop: tuple[str, ...]
    comment: tuple[str, str]
    shots: tuple[tuple[str, str], ...]
    proofs: tuple[tuple[str, str], ...]


COQ = Language(
    title="Coq",
    before="\nProof.\n",
    after="Qed.",
    stop=("Qed.", "Admitted.", "Abort.", "Defined."),
    comment=("(* ", " *)"),
    shots=(
        ("n, m : nat\nH : n <= m\n⊢ S n <= S m", "apply le_n_S."),
        ("A : Type\nl : list A\n⊢ l ++ nil = l", "induction l as [| x l IH]."),
        ("x, y : Z\nH : (x + 2 * y = 7)%Z\nH0 : (x - y = 1)%Z\n⊢ (x = 3)%Z", "lia."),
    ),
    proofs=(
        (
            "Theorem twice_even : forall n : nat, exists m, n + n = 2 * m.",
            "  intros n.\n  exists n.\n  simpl.\n  rewrite Nat.add_0_r.\n  reflexivity.\n",
        ),
        (
            "Theorem and_swap : forall P Q : Prop, P /\\ Q -> Q /\\ P.",
            "  intros P Q [HP HQ].\n  split; assumption.\n",
        ),
    ),
)
LEAN = Language(
    title="Lean 4",
    before=" := by\n",
    after="",
    stop=("\n\n", "\ntheorem ", "\nlemma ", "\nexample ", "\nend "),
    comment=("-- ", ""),
    shots=(
        ("n m : Nat\nh : n ≤ m\n⊢ n + 1 ≤ m + 1", "exact Nat.succ_le_succ h"),
        ("α : Type\nl : List α\n⊢ l ++ [] = l", "induction l with\n| nil => rfl\n| cons x l ih => simp"),
        ("x y : Int\nh : x + 2 * y = 7\nh' : x - y = 1\n⊢ x = 3", "omega"),
    ),
    proofs=(
        ("theorem twice_even (n : Nat) : ∃ m, n + n = 2 * m", "  exact ⟨n, by omega⟩\n"),
        ("theorem and_swap (p q : Prop) (h : p ∧ q) : q ∧ p", "  obtain ⟨hp, hq⟩ := h\n  exact ⟨hq, hp⟩\n"),
    ),
)
TOY = Language(
    title="toy",
    before="\nproof\n",
    after="qed",
    stop=("qed",),
    comment=("-- ", ""),
    shots=(
        ("h : p & q\n⊢ q & p", "cases h"),
        ("⊢ p | q -> q | p", "intro h"),
        ("h : x + y <= 3\nh1 : y >= 1\n⊢ x <= 2", "linarith"),
    ),
    proofs=(("theorem swap : p & q -> q & p", "  intro h\n  cases h\n  split\n  exact h1\n  exact h\n"),),
)
LANGUAGES: Mapping[str, Language] = {"coq": COQ, "lean": LEAN, "toy": TOY}


def language(prover: str) -> Language:
    """The language of a prover; one nobody has described here is written like Lean's."""
    return LANGUAGES.get(prover, LEAN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """How a model is asked for a tactic; ``meta`` says which prompt it is."""

    ask: Callable[[ProofState], str]
    meta: Mapping[str, Any]
    stop: tuple[str, ...] = (STOP,)


def tactic_asker(prover: str, choice: PromptName) -> Asker:
    """The prompt for the next tactic. Raises DataError when ``paper`` cannot be had."""
    if choice == "zero":
        return Asker(ask=lambda state: _open(show_first(state)), meta=identity("zero", "llemma", "", 0))
    known = language(prover)
    found = published("formal2formal", choice) if known is LEAN else None
    if found is not None:
        origin = PUBLISHED["formal2formal"].origin
        return Asker(ask=lambda state: found.replace("%s", show_state(state)), meta=identity("paper", origin, found, 3))
    head = f"Given the {known.title} tactic state, suggest a next tactic.\nHere are some examples:\n\n"
    text = head + "".join(training_text(state, tactic) + "\n" for state, tactic in known.shots)
    return Asker(
        ask=lambda state: text + _open(show_state(state)), meta=identity("own", "llemma", text, len(known.shots))
    )


def training_text(state: str, tactic: str) -> str:
    """A state with the tactic that was right for it, as a tactic model is trained on it and asked in ``zero`` form."""
    return f"{_open(state)}\n{tactic}\n{STOP}\n"


def _open(state: str) -> str:
    return f"Tactic state:\n---\n{state}\n---\nNext tactic:\n---"


def show_state(state: ProofState) -> str:
    """All goals as text, as Lean prints them: hypotheses, then ``⊢`` and the conclusion; empty lines between goals."""
    return "\n\n".join(map(show_goal, state.goals))[-LONGEST_STATE:]


def show_first(state: ProofState) -> str:
    """The goal the next tactic is for, each part on one line: all that the zero-shot form shows."""
    if not state.goals:
        return ""
    goal = state.goals[0]
    lines = (*goal.hypotheses, f"⊢ {goal.conclusion}")
    return "\n".join(" ".join(line.split()) for line in lines)[-LONGEST_STATE:]


def show_goal(goal: Goal) -> str:
    """One goal as text."""
    return "\n".join((*goal.hypotheses, f"⊢ {goal.conclusion}"))


def whole_prompt(prover: str, theorem: Theorem, choice: PromptName) -> str:
    """What a model continues with a proof: the file up to the place where the proof stands, after two proved ones."""
    known = language(prover)
    shots = () if choice == "zero" else known.proofs
    done = "".join(f"{statement}{known.before}{proof}{known.after}\n\n" for statement, proof in shots)
    return f"{done}{theorem.statement.rstrip()}{known.before}"


def repair_prompt(prover: str, theorem: Theorem, choice: PromptName, proof: str, error: str) -> str:
    """The same after a proof that was refused: that proof and the error stand in front."""
    known = language(prover)
    opening, closing = known.comment
    said = " ".join(error.split()).replace("*)", "* )")[:600]
    before = f"{theorem.statement.rstrip()}{known.before}{proof.rstrip()}\n{known.after}\n"
    asked = whole_prompt(prover, theorem, choice)
    at = len(asked) - len(f"{theorem.statement.rstrip()}{known.before}")
    note = f"{opening}The proof above is refused: {said}{closing}\n{opening}Corrected:{closing}\n"
    return asked[:at] + before + note + asked[at:]


_FENCED = re.compile(r"```[a-zA-Z0-9]*\n(.*?)```", re.DOTALL)


def proof_in(text: str, prover: str) -> str:
    """The proof in a completion: what stands in the last block of code if there is one, without its frame."""
    known = language(prover)
    blocks: Sequence[str] = _FENCED.findall(text)
    proof = blocks[-1] if blocks else text.partition("```")[0]
    opening = known.before.strip()
    if opening in proof:
        proof = proof.partition(opening)[2]
    if known.after:
        proof = proof.partition(known.after)[0]
    return proof.strip("\n").rstrip()

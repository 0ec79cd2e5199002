"""Draft, sketch, prove (Jiang et al. 2023): a formal sketch whose gaps the ladder closes, after an informal proof.

The sketch is a proof in which ``gap`` stands for what is left out (``gap.`` in Coq). It is run sentence by sentence;
at a gap the tactics of the table ``gaps`` are tried until one closes the goal in front. What comes out is an ordinary
proof, and is judged like any other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llemma.prove.ladder import tactics
from llemma.prove.outcome import Outcome, refused
from llemma.prove.policy import Candidate
from llemma.prove.prompts import language, proof_in, show_state
from llemma.prove.session import Proof, Session, why_not
from llemma.prove.trace import Expansion, Trace, Tried
from llemma.prove.whole import Writer
from llemma.provers import state_key
from llemma.records import Failure, ProofState, Theorem

GAP = "gap"
LONGEST = 400  # sentences of a sketch

_COQ_SENTENCE = re.compile(r"\s*([-+*]+|[{}]|(?:[^.\"(]|\"[^\"]*\"|\((?!\*)|\.(?!\s|$))+\.(?=\s|$))")
_COMMENT = re.compile(r"\(\*.*?\*\)", re.DOTALL)

# Informal statement, informal proof, formal statement, sketch: ours, in Coq.
SHOTS = (
    (
        "Show that if 3x + 2 = 11 for a real number x, then x = 3.",
        "Subtract 2 on both sides: 3x = 9. Divide by 3: x = 3.",
        "Theorem linear_example (x : R) (h : 3 * x + 2 = 11) : x = 3.",
        "  assert (h1 : 3 * x = 9). { gap. }\n  gap.\n",
    ),
    (
        "Show that n^2 + n is even for every integer n.",
        "n^2 + n = n(n + 1). Either n or n + 1 is even.",
        "Theorem product_even (n : Z) : exists k, n * n + n = 2 * k.",
        "  assert (h : exists k, n = 2 * k \\/ n = 2 * k + 1). { exists (n / 2). gap. }\n"
        "  destruct h as [k [h | h]].\n  exists (2 * k * k + k). gap.\n  exists ((2 * k + 1) * (k + 1)). gap.\n",
    ),
)


def sketch_prompt(theorem: Theorem, draft: str) -> str:
    """What a model continues with a sketch; ``draft`` is the informal proof."""
    parts = [_asked(*shot[:3]) + shot[3] + "Qed.\n\n" for shot in SHOTS]
    return "".join(parts) + _asked(str(theorem.meta.get("informal", "")), draft, theorem.statement.rstrip())


def draft_prompt(theorem: Theorem) -> str:
    """What a model continues with an informal proof, where the task has none."""
    shots = "".join(f"Problem: {shot[0]}\nProof: {shot[1]}\n\n" for shot in SHOTS)
    return f"{shots}Problem: {theorem.meta.get('informal') or theorem.statement}\nProof:"


def _asked(informal: str, draft: str, statement: str) -> str:
    said = " ".join(informal.split()).replace("*)", "* )")
    proof = " ".join(draft.split()).replace("*)", "* )")
    return f"(* {said} *)\n(* Proof: {proof} *)\n{statement}\nProof.\n"


def sketch(session: Session, writer: Writer, trace: Trace) -> Outcome:
    """Write ``sampling.n`` sketches and close their gaps until one of them is a proof."""
    theorem = session.theorem
    start = session.start()
    if isinstance(start, Failure):
        return refused(start)
    ks = list(range(writer.sampling.n))
    drafts = _drafts(session, writer, ks)
    made = writer.write(theorem, [sketch_prompt(theorem, draft) for draft in drafts], ks, 0)
    session.tokens += sum(each.tokens for each in made)
    attempts = []
    for k, completion in zip(ks, made, strict=True):
        if session.spent() not in ("", "expansions"):
            break
        text = proof_in(completion.text, writer.prover)
        filled, why = fill(session, start, text, writer.prover, trace)
        judged = None if filled is None else session.confirm(filled.tactics)
        if judged is not None and not isinstance(judged, Proof):
            why = why_not(judged)
        proved = isinstance(judged, Proof)
        attempts.append(
            {"k": k, "round": 0, "draft": drafts[k], "proof": text, "proved": proved, "why_not": why,
             "tokens": completion.tokens, "finish": completion.finish}
        )  # fmt: skip
        if isinstance(judged, Proof):
            return Outcome(proof=judged, reason="proved", attempts=attempts)
    return Outcome(proof=None, reason=session.spent() or "exhausted", attempts=attempts)


def _drafts(session: Session, writer: Writer, ks: Sequence[int]) -> list[str]:
    """The informal proof of the task, or one that the model writes for each sketch."""
    theorem = session.theorem
    known = str(theorem.meta.get("informal_proof", ""))
    if known.strip():
        return [known] * len(ks)
    made = writer.write(theorem, [draft_prompt(theorem)] * len(ks), ks, -1)
    session.tokens += sum(each.tokens for each in made)
    return [each.text.partition("\n\n")[0].strip() for each in made]


def fill(session: Session, start: ProofState, text: str, prover: str, trace: Trace) -> tuple[ProofState | None, str]:
    """The state without goals that a sketch leads to, or None and why it leads nowhere."""
    state = start
    for sentence in sentences(text, prover)[:LONGEST]:
        if session.spent() not in ("", "expansions"):
            return None, session.spent()
        if sentence.rstrip(".") == GAP:
            closed = _close(session, state, prover, trace)
            if closed is None:
                return None, f"a gap stays open: {show_state(state)[:500]}"
            state = closed
            continue
        found = session.apply(state, sentence)
        if isinstance(found, Failure):
            return None, f"{sentence}: {found.message[:500]}"
        state = found
    return (state, "") if not state.goals else (None, "goals are left at the end of the sketch")


def _close(session: Session, state: ProofState, prover: str, trace: Trace) -> ProofState | None:
    """The state after the first tactic that closes the goal in front."""
    session.expansions += 1
    tried, found = [], None
    for tactic in tactics("gaps", prover, session.theorem.prelude):
        result = session.apply(state, tactic)
        closed = isinstance(result, ProofState) and len(result.goals) < len(state.goals)
        kind = result.kind if isinstance(result, Failure) else "open"
        tried.append(Tried(candidate=Candidate(tactic=tactic), result="proof" if closed else kind))
        if closed:
            assert isinstance(result, ProofState)
            found = result
            break
    trace.add(
        Expansion(
            node=len(trace.lines), parent=None, tactic=GAP, cost=0.0, key=state_key(state), state=show_state(state),
            prompt="", tokens=0, candidates=tuple(tried), calls=session.calls,
        )
    )  # fmt: skip
    return found


def sentences(text: str, prover: str) -> list[str]:
    """A proof as single tactics: sentences and bullets in Coq, lines elsewhere."""
    if language(prover).before.strip() == "Proof.":
        found = _COQ_SENTENCE.findall(_COMMENT.sub(" ", text))
        return [" ".join(sentence.split()) for sentence in found]
    return [line.strip() for line in text.splitlines() if line.strip()]

"""The Llemma paper's scoring, task by task and to the letter, bugs kept: ``grade_paper`` and ``paper_vote``.

It repeats the verdicts of the paper's code (wellecks/lm-evaluation-harness at bec2172 with sympy 1.14 and
antlr4 4.11), so that published figures can be held against. It is a bad judge of answers: ``docs/grading-paper.md``
lists what it gets wrong, and each reason given here says when such a rule decided. Use ``llemma.grade.equal`` to judge.

Unlike the original it runs no text of a model (text that would do more than arithmetic is ``unsafe``), ends within a
limit for any input, and goes on where the original stopped with an exception, which counts as wrong. ``timeout`` counts
as wrong as well, as in the original, and is told apart; so is ``unparsable``: no answer where it is looked for, or one
that sympy cannot read.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llemma.grade.paper import text as _text
from llemma.grade.paper.numeric import Reading, never_equal_to_itself, normalize_numeric, numeric_equality
from llemma.grade.paper.programs import (
    GSM8K_PYTHON,
    MATH_PYTHON,
    ProgramRules,
    gsm8k_program,
    math_program,
    printed_number,
)
from llemma.grade.paper.text import INVALID, INVALID_CHOICE, INVALID_NUMBER, boxed_answer, normalize_tex
from llemma.grade.paper.vote import PaperVote, cluster_vote
from llemma.grade.worker import Crashed, TimedOut, call
from llemma.records import Grade, GradeVerdict

__all__ = [
    "GSM8K_PYTHON",
    "MATH_PYTHON",
    "TASKS",
    "Comparison",
    "PaperVote",
    "ProgramRules",
    "Reading",
    "boxed_answer",
    "cluster_vote",
    "compare_tex",
    "grade_paper",
    "gsm8k_program",
    "is_tex_equiv",
    "math_program",
    "normalize_numeric",
    "normalize_tex",
    "numeric_equality",
    "paper_vote",
]

SECONDS = 5.0  # processor time of one comparison; the original allows 5 s for each of parsing twice and simplifying

TASKS = {  # names a task goes by -> whose rules it gets
    **dict.fromkeys(("math", "math500", "minerva_math", "hendrycks_math"), "math"),
    **dict.fromkeys(("gsm8k",), "gsm8k"),
    **dict.fromkeys(("ocw", "ocw_courses", "ocwcourses"), "ocw"),
    **dict.fromkeys(("mmlu_stem", "mmlu", "sat", "math_sat_cot"), "choice"),
    **dict.fromkeys(("math_python", "sympy_math"), "math_python"),
    **dict.fromkeys(("gsm8k_python", "python_gsm8k"), "gsm8k_python"),
}
_MARKS = {
    "math": _text.MATH_MARK,
    "ocw": _text.OCW_MARK,
    "gsm8k": _text.GSM8K_MARK.strip(),
    "choice": _text.MATH_MARK,
}
_NOTES: dict[str, tuple[GradeVerdict, str]] = {  # outcomes of the worker's comparison
    "equal": ("correct", "sympy simplifies the difference to 0"),
    "equal but for the end": (
        "correct",
        "sympy simplifies the difference to 0 of what its parser read; it passed over the end of a text (kept bug)",
    ),
    "different": ("wrong", "sympy does not simplify the difference to 0"),
    "not subtractable": ("wrong", "sympy cannot subtract them (a relation, a truth value)"),
    "prediction unread": ("unparsable", "sympy's LaTeX parser cannot read the answer, and it is not the same text"),
    "reference unread": ("wrong", "sympy's LaTeX parser cannot read the reference: only the same text is right (kept)"),
    "reference zero": ("wrong", "a reference equal to 0 is taken for unread: only the same text is right (kept bug)"),
    "crash": ("wrong", "the reference is a relation: the original stops with TypeError; counted as wrong"),
    "equal by the cut": ("correct", "both are cut to integers, and only those are equal (kept bug: 0.5, 2/3 are 0)"),
    "unread": ("unparsable", "this is not the printed form of a number or a sympy object"),
    "other": ("wrong", "neither two numbers nor two sympy objects: lists, sets, None and text are never right"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """How two normalised texts compare: a verdict, and in words what decided."""

    verdict: GradeVerdict
    note: str


def grade_paper(prediction: str, reference: str, task: str | None = None, *, extracted: bool | None = None) -> Grade:
    r"""The paper's verdict on a completion, or on a final answer that is already extracted.

    ``task`` is one of ``TASKS``, in any case; ``None`` and every other name get the rules of MATH, with a note in the
    reason. ``extracted`` says which of the two ``prediction`` is; by default a text without the task's marking sentence
    is a final answer. The reference is what the data set holds: MATH's answer or ``\boxed`` content, GSM8K's number or
    solution, a letter, OCW's answer. For ``math_python`` the prediction is the printed form of the program's
    ``answer``, for ``gsm8k_python`` all it printed. ``Grade.answer`` is the normalised answer. Never raises.
    """
    rules, note = _rules(task)
    if rules in _MARKS:
        mark = _MARKS[rules]
        answer = _extract(rules, prediction, mark not in prediction if extracted is None else extracted)
    else:
        answer = prediction
    judged = {
        "math": _math,
        "gsm8k": _gsm8k,
        "ocw": _ocw,
        "choice": _choice,
        "math_python": _math_python,
        "gsm8k_python": _gsm8k_python,
    }[rules](answer, reference)
    return judged if not note else Grade(verdict=judged.verdict, answer=judged.answer, reason=judged.reason + note)


def paper_vote(
    predictions: Sequence[str], reference: str, task: str | None = None, *, extracted: bool | None = None
) -> PaperVote:
    """The paper's majority vote over completions or final answers (see ``grade_paper``). Never raises.

    Who votes: in GSM8K and OCW only valid answers, which are also the only ones counted; in MATH, MMLU-STEM and SAT
    valid answers out of all; in MATH+Python every sample, a failed program (``None``) as well. An OCW answer that is
    refused as unsafe or takes too long does not vote. GSM8K+Python has no vote in the original: equal numbers agree.
    """
    rules, _ = _rules(task)
    if rules not in _MARKS:
        return _program_vote(rules, predictions, reference)
    mark = _MARKS[rules]
    answers = [_extract(rules, p, mark not in p if extracted is None else extracted) for p in predictions]
    if rules == "math":
        normal = [normalize_tex(answer) for answer in answers]
        return cluster_vote(normal, normalize_tex(reference), is_tex_equiv, INVALID)
    if rules == "choice":
        return cluster_vote(answers, _letter(reference), invalid=INVALID_CHOICE)
    if rules == "gsm8k":
        return cluster_vote([answer for answer in answers if answer != INVALID_NUMBER], _gold(reference))
    return _ocw_vote([answer for answer in answers if answer != INVALID], reference)


def is_tex_equiv(one: str, other: str) -> bool:
    """Whether two normalised texts are equal to the original; not symmetric (a 0 on the right is never read)."""
    return compare_tex(one, other).verdict == "correct"


def compare_tex(prediction: str, reference: str) -> Comparison:
    """``is_tex_equiv`` of two normalised texts, with what decided. Never raises."""
    if prediction == reference:
        return Comparison(verdict="correct", note="the same text after normalisation")
    if _plain(prediction) and _plain(reference):  # no need of sympy: integers without leading zeros
        if reference == "0":
            return _noted("reference zero")
        return _noted("equal" if prediction == reference else "different")
    return _asked("paper_equal", (prediction, reference))


def _plain(text: str) -> bool:
    return len(text) <= 300 and text.isascii() and text.isdigit() and (text == "0" or text[0] != "0")


def _asked(function: str, texts: tuple[str, ...]) -> Comparison:
    return _ask_once(function, texts) if sum(map(len, texts)) <= 2000 else _ask(function, texts)


def _ask(function: str, texts: tuple[str, ...]) -> Comparison:
    """A comparison in the worker; one that is not finished in time, or at all, is a timeout and not equal."""
    outcome = call(function, list(texts), SECONDS)
    if isinstance(outcome, TimedOut):
        return Comparison(verdict="timeout", note=f"no comparison within {outcome.seconds:g} s: not equal")
    if isinstance(outcome, Crashed):
        return Comparison(
            verdict="timeout", note=f"the comparison ended without a result ({outcome.reason}): not equal"
        )
    return _noted(outcome)


_ask_once = functools.lru_cache(maxsize=1 << 14)(_ask)  # samples repeat each other


def _noted(outcome: str) -> Comparison:
    verdict, note = _NOTES[outcome]
    return Comparison(verdict=verdict, note=note)


def _rules(task: str | None) -> tuple[str, str]:
    """Whose rules a task gets, and what to say about it."""
    if task is None:
        return "math", ""
    name = task.strip().lower().replace("-", "_").replace("+", "_").replace(" ", "_")
    if name.startswith("minerva_math_") or name.startswith("sympy_math_"):
        name = "_".join(name.split("_")[:2])
    if name.startswith("minerva_hendryckstest"):
        name = "mmlu_stem"
    rules = TASKS.get(name)
    return (
        (rules, "") if rules else ("math", f"; {_short(task)} is no task of the paper, so judged by the rules of MATH")
    )


def _extract(rules: str, prediction: str, extracted: bool) -> str:
    """The answer as the task finds it in a completion, or the final answer as the task would have found it."""
    if rules == "gsm8k":
        return _text.first_number(_text.GSM8K_MARK + prediction.strip() if extracted else prediction)
    if rules == "choice":
        return _text.choice(f"{_text.MATH_MARK} {prediction.strip()}. " if extracted else prediction)
    return prediction.strip() if extracted else _text.final_answer(prediction, _MARKS[rules])


def _missing(sentence: str) -> Grade:
    return Grade(
        verdict="unparsable", answer=None, reason=f"the text does not hold {sentence!r} as the original wants it"
    )


def _math(answer: str, reference: str) -> Grade:
    if answer == INVALID:
        return _missing(f"{_text.MATH_MARK} X. {_text.STOP}")
    given, wanted = normalize_tex(answer), normalize_tex(reference)
    found = compare_tex(given, wanted)
    reason = f"{_short(given)} for {_short(wanted)}: {found.note}"
    if found.verdict == "correct" and answer.strip() != reference.strip():
        reason += "".join(f"; {bug} (kept bug)" for bug in _lenient(answer, reference, given, wanted))
    return Grade(verdict=found.verdict, answer=given, reason=reason)


def _lenient(answer: str, reference: str, given: str, wanted: str) -> Iterator[str]:
    """Which of the known bugs may have made two texts equal."""
    if "=" in answer or "=" in reference:
        yield "only what stands behind the last = was compared"
    if given == wanted and given.isdigit() and answer.count(",") != reference.count(","):
        yield "commas between digits were dropped"
    if given != wanted and given.isalpha() and wanted.isalpha():
        yield "letters are multiplied, in any order"


def _gold(reference: str) -> str:
    return _text.gold_number(reference if "####" in reference else f"#### {reference.strip()}")


def _gsm8k(answer: str, reference: str) -> Grade:
    gold = _gold(reference)
    if answer == INVALID_NUMBER == gold:
        reason = "neither text holds a number where it is looked for, and the original finds those equal (kept bug)"
        return Grade(verdict="correct", answer=None, reason=reason)
    if answer == INVALID_NUMBER:
        return _missing(f"{_text.GSM8K_MARK}N")
    same = answer == gold
    reason = (
        f"the digits right behind {_text.GSM8K_MARK.strip()!r} are {_short(answer)}, the reference is {_short(gold)}"
    )
    return Grade(verdict="correct" if same else "wrong", answer=answer, reason=reason)


def _letter(reference: str) -> str:
    letter = reference.strip()
    return f"({letter})" if len(letter) == 1 else letter


def _choice(answer: str, reference: str) -> Grade:
    if answer == INVALID_CHOICE:
        return _missing(f"{_text.MATH_MARK} (A).")
    wanted = _letter(reference)
    return Grade(
        verdict="correct" if answer == wanted else "wrong",
        answer=answer,
        reason=f"{_short(answer)} for {_short(wanted)}",
    )


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _ocw(answer: str, reference: str) -> Grade:
    if answer == INVALID:
        return _missing(f"{_text.OCW_MARK} X. {_text.STOP}")
    if _is_float(reference):
        return _ocw_number(answer, reference)
    if "=" in reference:
        reason = (
            "no equation is ever right: the original forgets to import sympy in this file and takes the NameError for an"
            " unreadable answer (kept bug)"
        )
        return Grade(verdict="unparsable", answer=answer, reason=reason)
    return _math(answer, reference)


def _ocw_number(answer: str, reference: str) -> Grade:
    given = normalize_numeric(answer)
    if given.value is None:
        verdicts: dict[str, GradeVerdict] = {"unsafe": "unsafe", "timeout": "timeout"}
        reason = f"{_short(answer)} is not read as a number: {given.detail}"
        return Grade(verdict=verdicts.get(given.kind, "unparsable"), answer=answer, reason=reason)
    wanted = normalize_numeric(reference)
    if wanted.value is None:
        reason = (
            "float() reads the reference but the original's reader does not: it stops with TypeError; counted as wrong"
        )
        return Grade(verdict="wrong", answer=str(given.value), reason=reason)
    same = numeric_equality(given.value, wanted.value)
    reason = f"{given.value:.10g} for {wanted.value:.10g}, equal within 1e-5 or, near 0, 1 %"
    if never_equal_to_itself(wanted.value):
        reason = (
            f"{given.value:.10g} for {wanted.value:.10g}: nothing equals zero or a negative number nearby (kept bug)"
        )
    return Grade(verdict="correct" if same else "wrong", answer=str(given.value), reason=reason)


def _ocw_vote(answers: Sequence[str], reference: str) -> PaperVote:
    if not _is_float(reference):
        if "=" in reference:  # every answer is unreadable, see _ocw
            return cluster_vote([], reference)
        return cluster_vote([normalize_tex(answer) for answer in answers], normalize_tex(reference), is_tex_equiv)
    values = [reading.value for reading in map(normalize_numeric, answers) if reading.value is not None]
    wanted = normalize_numeric(reference).value
    if wanted is None:
        return cluster_vote([], 0.0)
    return cluster_vote(values, wanted, numeric_equality)


def _math_python(answer: str, reference: str) -> Grade:
    if "```" in answer:
        reason = "this is a program, not the value it leaves in `answer`: run it first"
        return Grade(verdict="unparsable", answer=None, reason=reason)
    found = _asked("paper_values", (answer, "reference", _normalized_twice(reference)))
    return Grade(verdict=found.verdict, answer=answer, reason=f"{_short(answer)} for {_short(reference)}: {found.note}")


def _normalized_twice(reference: str) -> str:
    return normalize_tex(normalize_tex(reference))  # once on loading the data, once on scoring


def _gsm8k_python(answer: str, reference: str) -> Grade:
    given, wanted = printed_number(answer), printed_number(reference)
    if given is None:
        reason = f"{_short(answer)} is not one number: the program failed or printed more"
        return Grade(verdict="unparsable", answer=None, reason=reason)
    same = given == wanted
    reason = f"{given:.17g} for {_short(reference)}, compared exactly"
    return Grade(verdict="correct" if same else "wrong", answer=str(given), reason=reason)


def _program_vote(rules: str, answers: Sequence[str], reference: str) -> PaperVote:
    if rules == "gsm8k_python":
        numbers = [number for number in map(printed_number, answers) if number is not None]
        wanted = printed_number(reference)
        return cluster_vote(numbers, float("nan") if wanted is None else wanted)
    normal = _normalized_twice(reference)

    def same(one: str | None, other: str) -> bool:
        """Two values, or the reference (``None``) and a value."""
        texts = (other, "reference", normal) if one is None else (one, "other", other)
        return _asked("paper_values", texts).verdict == "correct"

    return cluster_vote(list(answers), None, same)


def _short(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")

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

import re
from collections.abc import Sequence

from llemma.grade.paper import text as _text
from llemma.grade.paper.compare import Comparison, compare_tex, compare_values, is_tex_equiv, kept_bugs
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

TASKS = {  # names a task goes by -> whose rules it gets
    **dict.fromkeys(("math", "math500", "minerva_math", "hendrycks_math"), "math"),
    **dict.fromkeys(("gsm8k",), "gsm8k"),
    **dict.fromkeys(("ocw", "ocw_courses", "ocwcourses"), "ocw"),
    **dict.fromkeys(("mmlu_stem", "mmlu", "sat", "math_sat_cot"), "choice"),
    **dict.fromkeys(("math_python", "sympy_math"), "math_python"),
    **dict.fromkeys(("gsm8k_python", "python_gsm8k"), "gsm8k_python"),
}
_SUBJECTS = {  # the harness has a task for each subject
    "minerva_math_": "minerva_math",
    "sympy_math_": "sympy_math",
    "minerva_hendryckstest_": "mmlu_stem",
}
_SEPARATORS = re.compile(r"[-+ ]+")
_MARKS = {
    "math": _text.MATH_MARK,
    "ocw": _text.OCW_MARK,
    "gsm8k": _text.GSM8K_MARK.strip(),
    "choice": _text.MATH_MARK,
}


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
    predictions: Sequence[str | None], reference: str, task: str | None = None, *, extracted: bool | None = None
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
    texts = ["" if prediction is None else prediction for prediction in predictions]
    answers = [_extract(rules, text, mark not in text if extracted is None else extracted) for text in texts]
    if rules == "math":
        normal = [normalize_tex(answer) for answer in answers]
        return cluster_vote(normal, normalize_tex(reference), is_tex_equiv, INVALID)
    if rules == "choice":
        return cluster_vote(answers, _letter(reference), invalid=INVALID_CHOICE)
    if rules == "gsm8k":
        return cluster_vote([answer for answer in answers if answer != INVALID_NUMBER], _gold(reference))
    return _ocw_vote([answer for answer in answers if answer != INVALID], reference)


def _rules(task: str | None) -> tuple[str, str]:
    """Whose rules a task gets, and what to say about it."""
    if task is None:
        return "math", ""
    name = _SEPARATORS.sub("_", task.strip().lower())
    for prefix, whole in _SUBJECTS.items():
        name = whole if name.startswith(prefix) else name
    if name in TASKS:
        return TASKS[name], ""
    return "math", f"; {_short(task)} is no task of the paper, so judged by the rules of MATH"


def _extract(rules: str, prediction: str, extracted: bool) -> str:
    """The answer as the task finds it in a completion, or the final answer as the task would have found it."""
    if rules == "gsm8k":
        return _text.first_number(_text.GSM8K_MARK + prediction.strip() if extracted else prediction)
    if rules == "choice":
        return _text.choice(f"{_text.MATH_MARK} {prediction.strip()}. " if extracted else prediction)
    return prediction.strip() if extracted else _text.final_answer(prediction, _MARKS[rules])


def _missing(sentence: str) -> Grade:
    reason = f"the text does not hold {sentence!r} as the original wants it"
    return Grade(verdict="unparsable", answer=None, reason=reason)


def _math(answer: str, reference: str) -> Grade:
    if answer == INVALID:
        return _missing(f"{_text.MATH_MARK} X. {_text.STOP}")
    given, wanted = normalize_tex(answer), normalize_tex(reference)
    found = compare_tex(given, wanted)
    reason = f"{_short(given)} for {_short(wanted)}: {found.note}"
    if found.verdict == "correct":
        reason += "".join(f"; {bug} (kept bug)" for bug in kept_bugs(answer, reference))
    return Grade(verdict=found.verdict, answer=given, reason=reason)


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
    reason = f"{_short(answer)} for {_short(wanted)}"
    return Grade(verdict="correct" if answer == wanted else "wrong", answer=answer, reason=reason)


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
            "no equation is ever right: the original forgets to import sympy in this file, and takes the NameError"
            " for an unreadable answer (kept bug)"
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
    reason = f"{given.value:.10g} for {wanted.value:.10g}, compared within 1e-5, or 1 % near 0"
    if never_equal_to_itself(wanted.value):
        reason = (
            f"{given.value:.10g} for {wanted.value:.10g}: zero and negative numbers never equal themselves (kept bug)"
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
    found = compare_values(answer, reference=_normalized_twice(reference))
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


def _program_vote(rules: str, answers: Sequence[str | None], reference: str) -> PaperVote:
    if rules == "gsm8k_python":
        numbers = [number for number in map(printed_number, filter(None, answers)) if number is not None]
        wanted = printed_number(reference)
        return cluster_vote(numbers, float("nan") if wanted is None else wanted)
    normal = _normalized_twice(reference)

    def same(one: str | None, other: str | None) -> bool:
        """Two values, or the reference (``None``) and a value."""
        assert other is not None
        found = compare_values(other, reference=normal) if one is None else compare_values(one, other=other)
        return found.verdict == "correct"

    votes: list[str | None] = ["None" if answer is None else answer for answer in answers]
    return cluster_vote(votes, None, same)


def _short(text: str, limit: int = 60) -> str:
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")

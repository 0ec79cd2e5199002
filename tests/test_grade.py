"""Extraction and judgement of whole completions: one table per step, then properties and hostile texts."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llemma.grade.answer import read
from llemma.grade.equal import grade_answer, grade_final, grade_numeric, vote_key
from llemma.grade.extract import extract
from llemma.grade.kinds import Value

EXTRACTED = [
    # the paper's sentence, whole, cut by the stop string, cut in other places
    ("So.\nFinal Answer: The final answer is $5$. I hope it is correct.", "5", "final-answer"),
    ("Final Answer: The final answer is $5$. ", "5", "final-answer"),
    ("Final Answer: The final answer is $5$", "5", "final-answer"),
    ("Final Answer: The final answer is 3.5. I hope it", "3.5", "final-answer"),
    ("Final answer: The final answer is 7. I hope it is correct.", "7", "final-answer"),  # OCWCourses' spelling
    ("Final Answer: The final answer is\n$12$. I hope it is correct.", "12", "final-answer"),
    (
        "Final Answer: The final answer is $\\boxed{\\frac{1}{2}}$. I hope it is correct.",
        "\\frac{1}{2}",
        "final-answer",
    ),
    # the first sentence counts: the second belongs to a problem the model made up
    (
        "Final Answer: The final answer is $1$. I hope it is correct.\n\nProblem:\nNext\n\nSolution:\n"
        "Final Answer: The final answer is $2$. I hope it is correct.",
        "1",
        "final-answer",
    ),
    ("\\boxed{3}. Final Answer: The final answer is $4$. I hope it is correct.", "4", "final-answer"),
    # few-shot GSM8K
    (" 9 * 2 = 18. The answer is 18.", "18", "the-answer"),
    ("The answer is 18. Q: Next one? A: The answer is 20.", "18", "the-answer"),
    ("So the answer is $18.50.", "$18.50", "the-answer"),
    ("The final answer is: **42**", "42", "the-answer"),
    ("**The answer is 42.**", "42", "the-answer"),
    ("The answer is $1,234$ dollars. Good.", "$1,234$ dollars", "the-answer"),
    ("the correct answer is \\text{3 sq. ft}", "\\text{3 sq. ft}", "the-answer"),
    # boxes: the last complete one, with its nested braces
    ("\\boxed{1} then \\boxed{\\frac{1}{2}}", "\\frac{1}{2}", "boxed"),
    ("\\boxed{\\boxed{6}}", "6", "boxed"),
    ("\\boxed{5} and then \\boxed{6", "5", "boxed"),
    ("\\boxed{5 and", "5 and", "boxed"),  # nothing but a box that was cut
    ("\\boxed{3} \\text{ and } \\boxed{4}", "3, 4", "boxed"),
    ("\\boxed{3}. Then \\boxed{4}", "4", "boxed"),
    ("**Answer:** 73", "73", "the-answer"),
    # where chat models put it
    ("### Final Answer\n\nThe value is $5$.", "The value is $5$", "the-answer"),
    ("**Final Answer**\n\n5", "5", "the-answer"),
    ("Find the answer\nWe compute.", None, None),
    ("Therefore, the answer is:\n\n\\[\n\\frac{1}{2}\n\\]\n", "\\frac{1}{2}", "the-answer"),
    ("The answer is\n\n$$\n5\n$$", "5", "the-answer"),
    ("The answer to this problem is 5.", "5", "the-answer"),
    ("The answer is 5 because 2+3=5.", "5", "the-answer"),
    ("The answer is 5 (see above).", "5", "the-answer"),
    ("The answer is Dr. Smith. Good.", "Dr. Smith", "the-answer"),
    ("\\textbf{Answer: } 5", "5", "the-answer"),
    ("The correct option is (C).", "(C)", "the-answer"),
    ("The answer is 5.\n\nUser: thanks\nAssistant: The answer is 7", "5", "the-answer"),
    ("Final Answer: to be found.\n...\nFinal Answer: 5", "5", "final-answer"),
    ("My final answer: at the end. So \\boxed{5}", "5", "boxed"),
    ("First \\boxed{3}, then finally \\boxed{5}.", "5", "boxed"),
    ("x = \\boxed{3}$ and $y = \\boxed{5}", "3, 5", "boxed"),
    ("<think>\\boxed{3}</think>\n<answer> 5 </answer>", "5", "tag"),
    ("<answer>The answer is $5$.</answer>", "5", "tag"),
    ('{"reasoning": "abc", "answer": "\\\\frac12"}', "\\frac12", "field"),
    ('{"answer": 5}', "5", "field"),
    ("所以答案是 5。", "5", "the-answer"),
    ("故选：C", "C", "the-answer"),
    ("So $5$ is the correct answer.", "5", "subject"),
    ("Thus, option B is correct.", "B", "subject"),
    ("What is the answer? It must be 5.", None, None),
    ("#### Step 1: add\n1+1=2\n#### Step 2\nSo x is\n**5**", "5", "bold"),
    ("#### 1. Add\n2\n#### 5", "5", "hashes"),
    ("Answer: B", "B", "the-answer"),
    ("It follows.\n**73**", "73", "bold"),
    ("{ \\boxed {8} }", "8", "boxed"),
    ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}", "boxed"),
    ("\\fbox{9}", "9", "boxed"),
    # GSM8K's own references
    ("9 * 2 = <<9*2=18>>18\n#### 18", "18", "hashes"),
    ("#### 18\n#### 19", "18", "hashes"),
    ("#### $1,000.", "$1,000", "hashes"),
]

NOT_EXTRACTED = [
    "",
    "18",
    "I think it is 18.",
    "\\boxed{",
    "\\boxed 5",
    "The answer is",
    "The answer is .",
    "####",
    "}{",
]


@pytest.mark.parametrize(("text", "answer", "rule"), EXTRACTED)
def test_finds_the_final_answer(text: str, answer: str | None, rule: str | None) -> None:
    found = extract(text)
    assert ((found.text, found.rule) if found else (None, None)) == (answer, rule)


@pytest.mark.parametrize("text", NOT_EXTRACTED)
def test_no_marked_answer_is_no_answer(text: str) -> None:
    assert extract(text) is None


def test_an_empty_final_answer_is_not_replaced_by_what_stands_elsewhere() -> None:
    text = (
        "\\boxed{3} Final Answer: The final answer is $$. I hope it is correct.\n\nFinal Answer: The final answer is 4."
    )
    assert extract(text) is None


def test_the_last_number_is_taken_only_when_asked_for() -> None:
    text = "First 3 apples, then 1,200 pears, so x2 is -7.5"
    assert extract(text) is None
    found = extract(text, last_number=True)
    assert found is not None and (found.text, found.rule) == ("-7.5", "last-number")
    assert extract("no digits", last_number=True) is None


GRADED = [
    ("The answer is 18.", "18", "correct", "18"),
    ("The answer is $18.00.", "18", "correct", "18"),
    ("The answer is 2,125 dollars.", "2125", "correct", "2125"),
    ("The answer is 19.", "18", "wrong", "19"),
    ("The answer is 0.33.", "1/3", "wrong", "33/100"),  # a rounding is not the number
    ("\\boxed{3, 1}", "1, 3", "correct", "1, 3"),
    ("\\boxed{1}", "1, 3", "wrong", "1"),
    ("The answer is seven.", "7", "correct", "7"),
    ("I do not know.", "7", "unparsable", None),
    ("The answer is 7.", "\\sqrt{7}", "wrong", "7"),
    ("Final Answer: The final answer is $x \\in [1, 2)$. I hope it is correct.", "[1,2)", "correct", "[1, 2)"),
    ("So the answer is \\boxed{\\text{(C)}}.", "C", "correct", "(C)"),
    ("The answer is __import__('os').system('true').", "7", "unsafe", None),
    ("The answer is " + "so and so and " * 30, "7", "unparsable", None),
    ("The answer is $9^{9^{9^{9}}}$.", "7", "timeout", None),
]


@pytest.mark.parametrize(("text", "reference", "verdict", "vote"), GRADED)
def test_grades(text: str, reference: str, verdict: str, vote: str | None) -> None:
    grade = grade_numeric(text, reference)
    assert grade.verdict == verdict, grade
    assert grade.reason
    assert vote_key(grade) == vote


WHOLE = [  # texts without a mark: statements, and formulas in a sentence
    ("The solution is $x != 5$", "$x \\neq 5$", "correct"),
    ("Therefore $x < 5$ is the solution.", "$x < 5$", "correct"),
    ("Therefore $x < 5$ is the solution.", "$x > 5$", "wrong"),
    ("The integral is equal to 0", "0.0", "correct"),
    ("so the number is 10 which is 1,000.99m²", "1000.99", "correct"),
    ("thinking about it I think the correct answer is C", "C", "correct"),
    ("The answer is for sure D, it can't be A or B", "D", "correct"),
    ("First $2x = 4$. Hence $x = 2$ is what we want.", "2", "correct"),
    ("$\\boxed{k = 45} \\quad \\text{and} \\quad \\boxed{n = 2}$", "k = 45, n = 2", "correct"),
    ("Let us think. The answer is 3.<|im_end|> The answer is 4.", "3", "correct"),
    ("<think>maybe \\boxed{9}</think> It is \\boxed{7}", "7", "correct"),
    ("7", "#### 7", "correct"),
    ("\\boxed{7}", "We add 3 and 4, which gives $\\boxed{7}$.", "correct"),
    ("", "7", "unparsable"),
    ("7", "", "unparsable"),
    ("", "", "unparsable"),
]


@pytest.mark.parametrize(("text", "reference", "verdict"), WHOLE)
def test_grades_statements(text: str, reference: str, verdict: str) -> None:
    assert grade_final(text, reference).verdict == verdict


def test_the_reason_names_both_sides_and_the_rule() -> None:
    assert grade_numeric("The answer is 8.", "7").reason == "the value '8' is not the value '7' (found by: the-answer)"
    assert "reference" in grade_answer("7", "{" * 9).reason


def test_the_unit_stays_with_the_value() -> None:
    answer = read("18 square feet")
    assert isinstance(answer, Value) and answer.unit == "square feet"


# --- properties

MATHS = st.text(alphabet="0123456789.,-/\\{}$%^_=()[] abefgrcointxd\n\u2212", max_size=60)


@given(st.one_of(st.text(max_size=200), MATHS))
@settings(max_examples=400, deadline=None)
def test_never_raises(text: str) -> None:
    extract(text, last_number=True)
    assert grade_numeric(text, text).verdict in ("correct", "unparsable", "wrong", "timeout", "unsafe")
    assert grade_final(text, text).verdict in ("correct", "unparsable")
    grade_numeric("The answer is " + text, "5")
    grade_final(text, "5")


HOSTILE = {
    "200,000 digits": "9" * 200_000,
    "many digits as an answer": "The answer is " + "9" * 5_000 + ".",
    "digits in a fraction": "\\boxed{\\frac{" + "9" * 900 + "}{1}}",
    "nested braces": "\\boxed{" * 50_000 + "1" + "}" * 50_000,
    "open boxes": "\\boxed{" * 50_000,
    "closing braces": "\\boxed{5" + "}" * 100_000,
    "nested fractions": "\\boxed{" + "\\frac{1}{" * 90 + "1" + "}" * 90 + "}",
    "dollars": "The answer is " + "$" * 100_000,
    "blanks": "Final Answer:" + " " * 100_000 + "The final answer is 5",
    "blanks before the tail": "Final Answer: The final answer is 5" + " " * 100_000 + "I",
    "thousands without end": "The answer is " + "1" + ",234" * 240 + ",5",
    "list without end": "The answer is " + "1, " * 50_000,
    "words without end": "The answer is 5" + " apples" * 50_000,
    "hyphens": "The answer is 5 " + "a-" * 490 + "1",
    "hashes": "#" * 100_000,
    "signs": "The answer is " + "-" * 900 + "5",
    "newlines": "The answer is" + "\n" * 100_000,
    "nul and surrogates": "The answer is \x00\ud800 5",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_judged_at_once(name: str) -> None:
    text = HOSTILE[name]
    begin = time.process_time()
    verdict = grade_numeric(text, "5").verdict
    read(text)
    extract(text, last_number=True)
    grade_final(text, "5")
    assert time.process_time() - begin < 5  # quadratic work on these lengths takes minutes; a busy machine, 0.3 s
    assert (verdict == "correct") is (name in ("closing braces", "blanks"))

"""Extraction, reading and equality of numeric answers: one table per step, then properties."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llemma.grade.answer import read
from llemma.grade.equal import grade_answer, grade_numeric, same_value, vote_key
from llemma.grade.extract import extract

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
def test_finds_the_final_answer(text: str, answer: str, rule: str) -> None:
    found = extract(text)
    assert found is not None
    assert (found.text, found.rule) == (answer, rule)


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


READ = [
    ("18", "18"),
    ("007", "7"),
    ("-3", "-3"),
    ("\u22123", "-3"),  # Unicode minus
    ("- 3", "-3"),
    ("+3", "3"),
    ("$-5$", "-5"),
    ("-$5", "-5"),
    ("1,234", "1234"),
    ("1,450,000", "1450000"),
    ("1{,}000", "1000"),
    ("10\\,000", "10000"),
    ("1,\\!000", "1000"),
    ("1,234.50", "2469/2"),
    ("0.5", "1/2"),
    (".5", "1/2"),
    ("12.0", "12"),
    ("12.", "12"),
    ("0.1", "1/10"),  # exact: not the float
    ("\\frac{1}{2}", "1/2"),
    ("\\dfrac{3}{6}", "1/2"),
    ("\\tfrac12", "1/2"),
    ("\\frac1{20}", "1/20"),
    ("\\frac 3 4", "3/4"),
    ("-\\frac{1}{2}", "-1/2"),
    ("\\frac{-1}{2}", "-1/2"),
    ("\\frac{1,000}{3}", "1000/3"),
    ("\\\\frac{1}{2}", "1/2"),  # backslash doubled, as base models trained on JSON do
    ("3/6", "1/2"),
    ("-3 / 6", "-1/2"),
    ("1.5/3", "1/2"),
    ("3 1/2", "7/2"),
    ("-3 1/2", "-7/2"),
    ("3\\frac{1}{2}", "7/2"),
    ("3\\frac12", "7/2"),
    ("50%", "50"),
    ("50\\%", "50"),
    ("$18", "18"),
    ("\\$18.50", "37/2"),
    ("€ 20", "20"),
    ("18 dollars", "18"),
    ("$18$ dollars per day", "18"),
    ("5 more apples", "5"),
    ("5cm", "5"),
    ("5 cm^2", "5"),
    ("60 km/h", "60"),
    ("5\\text{ m}", "5"),
    ("5 \\mathrm{cm}^{2}", "5"),
    ("90^\\circ", "90"),
    ("90°", "90"),
    ("x = 5", "5"),
    ("x=-5", "-5"),
    ("x_1 = 5", "5"),
    ("\\theta = 30^\\circ", "30"),
    ("Total = $18", "18"),
    ("\\boxed{7}", "7"),
    ("1,2,3", "1, 2, 3"),
    ("3, 1, and 2", "1, 2, 3"),
    ("3 or -1", "-1, 3"),
    ("x = 3 or x = -1", "-1, 3"),
    ("x = 3, -1", "-1, 3"),
    ("3 \\text{ and } 4", "3, 4"),
    ("$5$ and $6$", "5, 6"),
    ("3, 4 and 5 cm", "3, 4, 5"),
    ("\\frac{1}{2}, 2", "1/2, 2"),
    ("2, 2", "2, 2"),  # repetitions count
    ("12,34", "12, 34"),  # not thousands
]

NOT_READ = [
    "",
    ",",
    "-",
    "and",
    "two",
    "x",
    "2x",
    "2 x",
    "2xy",
    "2 xy",
    "5i",
    "5 m",  # metre or variable
    "2 pi",
    "2\\pi",
    "\\pi",
    "\\sqrt{2}",
    "2\\sqrt{2}",
    "5 million",
    "2 dozen eggs",
    "3 quarters",
    "5 squared",
    "5^2",
    "5²",
    "5!x",
    "1e5",
    "2 + 3",
    "5 - 3",
    "3-5",
    "3–5",
    "\\pm 3",
    "(1, 2)",
    "[1, 2)",
    "\\{1, 2\\}",
    "1/0",
    "\\frac{1}{0}",
    "\\frac{\\frac12}{3}",
    "\\frac{x}{2}",
    "1/2/3",
    "1.2.3",
    "3 4",
    "2\\frac{3}{2}",  # a product as well
    "3 and 1/2",  # 3 1/2 as well
    "10:30",
    "3 hours and 20 minutes",
    "2 cats and 3 dogs",
    "x = 2, y = 3",
    "5 or more",
    "5, because",
    "more than 5",
    "5 a",
    "1,,2",
    "٣",  # digits of other scripts
]


@pytest.mark.parametrize(("text", "key"), READ)
def test_reads(text: str, key: str) -> None:
    answer = read(text)
    assert answer is not None and answer.key == key


@pytest.mark.parametrize("text", NOT_READ)
def test_refuses_what_is_out_of_scope(text: str) -> None:
    assert read(text) is None


def test_a_dropped_unit_is_recorded() -> None:
    answer = read("18 square feet")
    assert answer is not None and answer.unit == "square feet"


GRADED = [
    ("The answer is 18.", "18", "correct", "18"),
    ("The answer is $18.00.", "18", "correct", "18"),
    ("The answer is 2,125 dollars.", "2125", "correct", "2125"),
    ("The answer is 19.", "18", "wrong", "19"),
    ("The answer is 0.33.", "1/3", "wrong", "33/100"),  # a rounding is not the number
    ("\\boxed{3, 1}", "1, 3", "correct", "1, 3"),
    ("\\boxed{1}", "1, 3", "wrong", "1"),
    ("The answer is seven.", "7", "unparsable", "seven"),
    ("I do not know.", "7", "unparsable", None),
    ("The answer is 7.", "\\sqrt{7}", "unparsable", "7"),
]


@pytest.mark.parametrize(("text", "reference", "verdict", "answer"), GRADED)
def test_grades(text: str, reference: str, verdict: str, answer: str | None) -> None:
    grade = grade_numeric(text, reference)
    assert (grade.verdict, grade.answer) == (verdict, answer)
    assert grade.reason
    assert vote_key(grade) == (answer if verdict in ("correct", "wrong") else None)


def test_the_reason_names_an_unreadable_reference() -> None:
    assert "reference" in grade_answer("7", "x^2").reason


# --- properties

MATHS = st.text(alphabet="0123456789.,-/\\{}$%^_=()[] abefgrcointxd\n\u2212", max_size=60)
RATIONAL = st.fractions(max_denominator=10**6)


@given(st.one_of(st.text(max_size=200), MATHS))
@settings(max_examples=400, deadline=None)
def test_never_raises(text: str) -> None:
    extract(text, last_number=True)
    read(text)
    assert grade_numeric(text, text).verdict in ("correct", "unparsable")
    grade_numeric("The answer is " + text, "5")


@given(MATHS)
@settings(max_examples=300, deadline=None)
def test_what_is_read_equals_itself_and_its_canonical_form(text: str) -> None:
    answer = read(text)
    if answer is not None:
        assert same_value(text, text) is True
        again = read(answer.key)
        assert again is not None and again.values == answer.values


@given(MATHS, MATHS)
@settings(max_examples=200, deadline=None)
def test_equality_is_symmetric(one: str, other: str) -> None:
    assert same_value(one, other) == same_value(other, one)


@given(RATIONAL, RATIONAL)
@settings(deadline=None)
def test_equal_exactly_when_the_numbers_are(one: Fraction, other: Fraction) -> None:
    assert same_value(str(one), str(other)) is (one == other)


@given(RATIONAL)
@settings(deadline=None)
def test_a_fraction_reads_the_same_in_every_spelling(value: Fraction) -> None:
    sign, top, bottom = "-" if value < 0 else "", abs(value.numerator), value.denominator
    spellings = [
        f"{sign}{top}/{bottom}",
        f"{sign}\\frac{{{top}}}{{{bottom}}}",
        f"{sign}\\dfrac{{{3 * top}}}{{{3 * bottom}}}",
    ]
    spellings += [
        f"${sign}{top}/{bottom}$",
        f"x = {sign}{top}/{bottom}",
        f"\u2212{top}/{bottom}" if sign else str(value),
    ]
    assert {answer.key for answer in map(read, spellings) if answer} == {str(value)}
    assert all(map(read, spellings))


@given(st.integers(-(10**15), 10**15))
@settings(deadline=None)
def test_an_integer_reads_the_same_in_every_spelling(value: int) -> None:
    spellings = [
        str(value),
        f"{value:,}",
        f"{value}.0",
        f"${value:,}$",
        f"{value} apples",
        f"{value}.",
        f" \\boxed{{{value}}}",
    ]
    keys = {answer.key if (answer := read(text)) else None for text in spellings}
    assert keys == {str(value)}


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


# hostile in length only: a box closed too often, a sentence found late, a list of 722 numbers
EASY = {"closing braces": "correct", "blanks": "correct", "thousands without end": "wrong"}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_judged_at_once(name: str) -> None:
    text = HOSTILE[name]
    begin = time.process_time()
    verdict = grade_numeric(text, "5").verdict
    read(text)
    extract(text, last_number=True)
    assert time.process_time() - begin < 2  # quadratic work on these lengths takes minutes; a busy machine, 0.2 s
    assert verdict == EASY.get(name, "unparsable")


def test_numbers_up_to_the_digit_limit_are_exact_and_above_it_refused() -> None:
    assert same_value("1" + "0" * 298 + "1", "1" + "0" * 299) is False
    assert read("9" * 301) is None
    assert read("0." + "9" * 300) is None

"""Grade-school word problems, GSM8K test set (Cobbe et al., 2021), with our own few-shot examples.

Reads ``gsm8k_test.jsonl`` (openai/grade-school-math, MIT) from the folder that the environment variable LLEMMA_DATA
names; fetches nothing. The examples have the ``Q: … A: … The answer is N.`` form of Wei et al. (2022), but they are
not theirs: scores are not the paper's 8-shot protocol. Answers are compared as exact numbers.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from llemma.config import setting
from llemma.errors import DataError
from llemma.grade.answer import read
from llemma.grade.equal import grade_numeric, vote_key
from llemma.grade.kinds import Value
from llemma.records import Problem, Sampling, Task
from llemma.run import read_jsonl, sha256_file

FILE = "gsm8k_test.jsonl"
ROWS = 1319
SHA256 = "752adc99f23132275139f1f7be57126b08735a55daf0c56859ee6df70abafbac"  # openai/grade-school-math @3101c7d

# Written for this project; none is taken from GSM8K or from the prompts of other papers.
EXAMPLES = (
    (
        "A bakery fills 7 trays with 12 rolls each. By noon 59 rolls are sold. How many rolls are left?",
        "The 7 trays hold 7 * 12 = 84 rolls. After 59 are sold, 84 - 59 = 25 rolls are left.",
        "25",
    ),
    (
        "Nadia cycles 18 kilometres to the lake at 12 kilometres per hour, rests there for 45 minutes and cycles back "
        "at 9 kilometres per hour. How many minutes is she away from home?",
        "The way there takes 18 / 12 = 1.5 hours, which is 90 minutes. The way back takes 18 / 9 = 2 hours, which is "
        "120 minutes. With the rest that makes 90 + 45 + 120 = 255 minutes.",
        "255",
    ),
    (
        "A coat costs $160. In the winter sale it is 25% cheaper, and Omar has a voucher for another $15 off. He pays "
        "with three $50 notes. How many dollars does he get back?",
        "The sale takes 160 * 0.25 = 40 dollars off, so the coat costs 160 - 40 = 120 dollars. With the voucher Omar "
        "pays 120 - 15 = 105 dollars. His notes are worth 3 * 50 = 150 dollars, so he gets 150 - 105 = 45 back.",
        "45",
    ),
    (
        "In a choir there are twice as many altos as tenors and 6 more sopranos than altos. The choir has 41 singers "
        "in these three voices. How many sopranos are there?",
        "If there are t tenors, there are 2t altos and 2t + 6 sopranos, together 5t + 6 = 41. So 5t = 35 and t = 7. "
        "There are 2 * 7 + 6 = 20 sopranos.",
        "20",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the task."""

    shots: int = setting(4, f"worked examples before the question, 0 to {len(EXAMPLES)}")

    def __post_init__(self) -> None:
        if not 0 <= self.shots <= len(EXAMPLES):
            raise ValueError(f"shots={self.shots}: gsm8k has examples for 0 to {len(EXAMPLES)}")


def load(options: Options) -> Task:
    """The 1319 test problems. Raises DataError when the file is missing or damaged.

    ``meta`` records rows and sha256 of the file and whether it is the published one; another file is allowed.
    """
    path = _path()
    problems = tuple(_problem(row, f"{path}:{line}", line) for line, row in enumerate(read_jsonl(path), 1))
    if not problems:
        raise DataError("the file holds no problems", where=path)
    digest = sha256_file(path)
    prefix = "".join(
        f"{question(q)} {reasoning} The answer is {n}.\n\n" for q, reasoning, n in EXAMPLES[: options.shots]
    )
    return Task(
        name="gsm8k",
        problems=problems,
        prompt=lambda problem: prefix + question(problem.prompt),
        grade=lambda problem, text: grade_numeric(text, problem.answer),
        key=vote_key,
        sampling=Sampling(max_tokens=512, stop=("\n\n", "Q:")),
        meta={
            "shots": options.shots,
            "rows": len(problems),
            "sha256": digest,
            "published": len(problems) == ROWS and digest == SHA256,
        },
    )


def question(text: str) -> str:
    """The question as the model sees it, up to where its answer begins (after a blank)."""
    return f"Q: {text}\nA:"


def available() -> bool:
    """Whether LLEMMA_DATA names a folder with the test file."""
    folder = os.environ.get("LLEMMA_DATA", "")
    return bool(folder) and (Path(folder).expanduser() / FILE).is_file()


def _path() -> Path:
    folder = os.environ.get("LLEMMA_DATA", "")
    remedy = f"put {FILE} of github.com/openai/grade-school-math (MIT) into a folder and set LLEMMA_DATA to that folder"
    if not folder:
        raise DataError(f"gsm8k needs its data: {remedy}")
    path = Path(folder).expanduser() / FILE
    if not path.is_file():
        raise DataError(f"no such file: {remedy}", where=path)
    return path


def _problem(row: dict[str, object], where: str, line: int) -> Problem:
    asked, solution = row.get("question"), row.get("answer")
    if not isinstance(asked, str) or not isinstance(solution, str):
        raise DataError("expected the text fields question and answer", where=where)
    _, mark, answer = solution.rpartition("####")
    if not mark or not any(map(str.isdigit, answer)) or not isinstance(read(answer), Value):
        raise DataError("the answer does not end in #### NUMBER", where=where)
    return Problem(id=f"test-{line:04d}", prompt=asked, answer=answer.strip(), meta={"solution": solution})

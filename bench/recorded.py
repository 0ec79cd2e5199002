"""Our scores of recorded model outputs beside the published ones, and why they differ, sample by sample.

Four files of microsoft/rho hold one answer of a model to each problem of GSM8K or MATH-500 with the verdict of the
harness that made them; one of QwenLM/Qwen2.5-Math holds 8 answers to each of 100 problems of MATH. They are replayed
through the tasks and graded by both scorers. Every sample where the strict scorer and the recorded verdict disagree is
put into a class of disagreement by a rule that is written here, and named.

    LLEMMA_DATA=FOLDER python bench/recorded.py            (the tables of docs/reproduction.md)
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llemma.evaluate.config import EvalConfig
from llemma.evaluate.evaluate import evaluate
from llemma.fetch import data_folder
from llemma.run import read_jsonl

SAMPLES = "math500_eval_rm_maj_100x8.jsonl"
FILES = {
    "recorded/rho-math-7b_gsm8k_cot.jsonl": ("gsm8k", "66.8"),
    "recorded/rho-math-7b_math500_cot.jsonl": ("math500", "32.2"),
    "recorded/rho-math-1b-interpreter_gsm8k_python.jsonl": ("gsm8k", "58.4"),
    "recorded/rho-math-1b-interpreter_math500_python.jsonl": ("math500", "40.2"),
}

CLASSES = {
    "no mark": "the text marks no final answer; the harness took the last number in it",
    "cut off": "the text was cut off by its length limit and states no answer; the harness took the last number in it",
    "factor 100": "the answer is 100 times, or a hundredth of, the reference; the harness accepts that for percentages",
    "unit": "the answer has a unit behind the number; the harness kept it in the answer and compared the text",
    "computation": "the answer is a computation with its result (3 + 1 = 4), which the harness compared as text",
    "sentence": "the harness kept words of the closing sentence in the answer, or lost the answer among them",
    "quotation": "the answer stands in quotation marks, which the harness kept",
    "style": "a style command (\\displaystyle) in front of the answer, which the harness kept",
    "power of a unit": "the reference has a squared unit; the harness dropped the unit and kept the square",
    "option letter": "the answer is a letter of a choice; the harness took the last number in the text",
    "same number": "the expressions are the same number, which the harness did not see",
    "same equation": "the equations differ by a factor of both sides",
    "several boxes": "the answers of a list stand in boxes of their own; the harness took the last one",
    "interval": "an open end where the reference has a closed one; the harness does not look at the brackets",
    "separator": "the reference has a LaTeX thousands separator, which the harness did not read",
    "letters lost": "the harness's cleaning took letters out of the reference (p.m.), so nothing is equal to it",
}

PAPER = {
    "no sentence": "the text does not have the one sentence in which the paper's scorer looks",
    "no digit": "what stands behind the sentence does not begin with a digit ($57, x = 3): no answer for the paper",
    "first digits": "the paper's scorer reads digits up to the first other character: 10,000 is 10",
    "cut decimal": "the paper's scorer reads digits up to the first other character: 15.67 is 15, the reference",
    "answer unread": "sympy's reader of LaTeX cannot read the answer (here: backslashes are doubled in the recording)",
    "reference unread": "sympy cannot read the reference (a point, or broken by cleaning): only the same text is right",
    "not simplified": "sympy read a style command (\\displaystyle) as letters",
    "last side": "the paper compares what stands behind the last =: 0 is 0 in any two equations",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A sample on which the recorded verdict and the strict scorer disagree."""

    id: str
    ours: str
    theirs: bool
    why: str


def classify(row: dict[str, Any], pred: str, gold: str) -> str:
    """Why the two disagree; an empty text when no rule of this file says so."""
    text, grade, reference = row["transcript"]["text"], row["grade"], row["reference"]
    answer = grade["answer"] or ""
    if grade["verdict"] != "correct":
        return _rejected(text, grade["verdict"], pred, gold)
    rules = {
        "unit": re.fullmatch(r"[\d.]+(?:dollars|cents)", pred),
        "computation": re.fullmatch(r"[\d+*/-]+=[\d.]+", pred),
        "option letter": re.fullmatch(r"\([A-F]\)", answer),
        "quotation": pred.startswith('"'),
        "style": r"\displaystyle" in answer,
        "sentence": "Ihopeitiscorrect" in pred,
        "power of a unit": "^2" in gold and "^2" in reference and pred == answer,
        "same equation": "=" in answer and "=" in reference,
        "several boxes": text.count(r"\boxed") > 1 and "," in reference,
        "separator": "{,}" in gold,
        "letters lost": "p.m." in reference and "p.." in gold,
        "same number": r"\tan" in answer and r"\sqrt" in reference,
    }
    return next((name for name, holds in rules.items() if holds), "")


def classify_paper(row: dict[str, Any]) -> str:
    """Why the strict and the paper's scorer disagree; an empty text when no rule of this file says so."""
    paper, text = row["scores"]["paper"], row["transcript"]["text"]
    reason = paper["reason"]
    rules = {
        "no digit": "does not hold 'The answer is N'" in reason and "The answer is " in text,
        "no sentence": "the text does not hold" in reason,
        "first digits": "digits right behind" in reason and paper["verdict"] == "wrong",
        "cut decimal": "digits right behind" in reason and paper["verdict"] == "correct",
        "answer unread": "cannot read the answer" in reason,
        "reference unread": "cannot read the reference" in reason,
        "last side": "behind the last =" in reason,
        "not simplified": "does not simplify" in reason and "displaystyle" in text,
    }
    return next((name for name, holds in rules.items() if holds), "")


def _rejected(text: str, verdict: str, pred: str, gold: str) -> str:
    if verdict == "unparsable":
        return "no mark" if text.rstrip().endswith((".", "!", "$")) and len(text) < 2000 else "cut off"
    if {pred[0], pred[-1]} & set("([") and re.sub(r"[()\[\]]", "", pred) == re.sub(r"[()\[\]]", "", gold):
        return "interval"
    numbers = [float(part) if re.fullmatch(r"-?[\d.]+", part) else None for part in (pred, gold)]
    if None not in numbers and numbers[1] and abs(numbers[0] / numbers[1]) in (100.0, 0.01):  # type: ignore[operator]
        return "factor 100"
    return ""


def recorded(path: Path) -> dict[tuple[str, int], tuple[bool, str, str]]:
    """Question and number of the sample → the recorded verdict, the answer that was read, the reference."""
    found = {}
    for row in read_jsonl(path):
        for k, (score, pred) in enumerate(zip(row["score"], row["pred"], strict=True)):
            found[row["question"].strip(), k] = bool(score), pred, row["gt"]
    return found


def differences(run: Path, known: dict[tuple[str, int], tuple[bool, str, str]]) -> Iterator[Difference]:
    """The samples on which the two disagree, in the order of the run."""
    for row in read_jsonl(run / "rows.jsonl"):
        theirs, pred, gold = known[row["question"].strip(), row["k"]]
        if (row["grade"]["verdict"] == "correct") != theirs:
            why = classify(row, pred, gold)
            yield Difference(id=row["id"].partition("/")[2], ours=row["grade"]["verdict"], theirs=theirs, why=why)


def scorers_differ(run: Path) -> Iterator[Difference]:
    """The samples on which our two scorers disagree, in the order of the run."""
    for row in read_jsonl(run / "rows.jsonl"):
        strict, paper = row["grade"]["verdict"], row["scores"]["paper"]["verdict"]
        if (strict == "correct") != (paper == "correct"):
            name = row["id"].partition("/")[2]
            yield Difference(id=name, ours=strict, theirs=paper == "correct", why=classify_paper(row))


def main() -> None:
    data = data_folder()
    if data is None:
        sys.exit("set LLEMMA_DATA to the folder with the recorded files")
    with tempfile.TemporaryDirectory() as name:
        print("| recording | task | n | published | recorded | strict | paper | strict and recorded disagree |")
        print("|---|---|---:|---:|---:|---:|---:|---:|")
        reasons: dict[str, dict[str, list[str]]] = {}
        papers: dict[str, dict[str, list[str]]] = {}
        for file, (task, published) in FILES.items():
            run = Path(name) / Path(file).stem
            row, reasons[run.name] = measured(data / file, task, run, published)
            papers[run.name] = by_class(scorers_differ(run), PAPER)
            print(row)
        votes, found = sampled(data / SAMPLES, Path(name) / "votes")
        reasons[Path(SAMPLES).stem] = found
        print(f"\n{votes}\n")
        show("Strict and recorded verdict disagree", reasons, CLASSES)
        show("Strict and paper's scorer disagree", papers, PAPER)


def show(title: str, files: dict[str, dict[str, list[str]]], meanings: dict[str, str]) -> None:
    """One list per recording: each class with its meaning, its number and its samples."""
    print(f"## {title}\n")
    for file, classes in files.items():
        print(f"`{file}`:\n")
        for why, ids in classes.items():
            named = ", ".join(name.removesuffix("#0") for name in ids)
            print(f"- {why}, {len(ids)}: {meanings[why]}. {named if len(ids) < 100 else 'All that are correct.'}")
        print()


def measured(path: Path, task: str, run: Path, published: str) -> tuple[str, dict[str, list[str]]]:
    """A line of the table, and the disagreements by class."""
    result = evaluate(EvalConfig(tasks=(task,), model=f"replay:{path}", run=run)).tasks[0]
    known = recorded(path)
    theirs = sum(verdict for verdict, _, _ in known.values()) / len(known)
    classes = by_class(differences(run, known), CLASSES)
    count = sum(map(len, classes.values()))
    strict, paper = result.metrics[0], result.others[0].metrics[0]
    cells = [f"{100 * strict.value:.1f} [{100 * strict.low:.1f}, {100 * strict.high:.1f}]", f"{100 * paper.value:.1f}"]
    line = f"| {path.stem} | {task} | {strict.n} | {published} | {100 * theirs:.1f} | {' | '.join(cells)} | {count} |"
    return line, classes


def sampled(path: Path, run: Path) -> tuple[str, dict[str, list[str]]]:
    """The votes of the file with 8 samples a problem as a table, and the disagreements by class."""
    config = EvalConfig(
        tasks=("math",), model=f"replay:{path}", samples=8, engine={"partial": True}, scorer="strict", run=run
    )  # fmt: skip
    result = evaluate(config).tasks[0]
    known = recorded(path)
    ks = "".join(f" k = {k} |" for k in result.curve.k)
    maj = "".join(f" {100 * value:.1f} |" for value in result.curve.maj)
    passed = "".join(f" {100 * value:.1f} |" for value in result.curve.passed)
    share = 100 * sum(verdict for verdict, _, _ in known.values()) / len(known)
    head = f"| {result.metrics[0].n} problems, 8 samples |{ks}\n|---|{'---:|' * 8}\n"
    table = (
        f"{head}| maj@k, strict |{maj}\n| pass@k, strict |{passed}\n\n"
        f"Recorded share of correct samples: {share:.1f} %; strict: {100 * result.metrics[0].value:.1f} %."
    )
    return table, by_class(differences(run, known), CLASSES)


def by_class(found: Iterator[Difference], known: dict[str, str]) -> dict[str, list[str]]:
    """The ids of each class, in the order of the known classes."""
    classes: defaultdict[str, list[str]] = defaultdict(list)
    for difference in found:
        if not difference.why:
            raise SystemExit(f"no rule explains {difference}")
        classes[difference.why].append(difference.id)
    return {why: classes[why] for why in known if why in classes}


if __name__ == "__main__":
    main()

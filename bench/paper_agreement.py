"""Verdicts of llemma.grade.paper beside those of the paper's own code, on everything at hand.

The original (wellecks/lm-evaluation-harness at bec2172) is imported as it stands; only its imports that have nothing
to do with scoring (data sets, models, progress bars) are replaced by empty modules. It evaluates text of models, so
run this where that does no harm. It needs antlr4, which llemma does not:

    git clone https://github.com/wellecks/lm-evaluation-harness fork && git -C fork checkout bec2172
    pip install antlr4-python3-runtime==4.11.0
    python bench/paper_agreement.py fork=fork data=FOLDER [parts=pairs,formulas,...] [seed=1] [fuzz=2000]

``data`` is the folder of the public data sets (LLEMMA_DATA). Prints one line per part and every disagreement.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import io
import itertools
import json
import os
import random
import signal
import sys
import time
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sympy

from llemma.config import resolve, setting
from llemma.grade import paper
from llemma.grade.paper import text as texts
from llemma.grade.paper.expressions import read_latex

TESTS = Path(__file__).resolve().parents[1] / "tests"
PATIENCE = 40.0  # seconds of processor time for one call of the original, which has no limit in some places


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the original and the data are, and what to compare."""

    fork: str = setting("fork", "checkout of wellecks/lm-evaluation-harness at bec2172")
    data: str = setting(os.environ.get("LLEMMA_DATA", ""), "folder of the public data sets")
    parts: tuple[str, ...] = setting((), "what to compare (default: all)")
    seed: int = setting(1, "of everything random")
    fuzz: int = setting(2000, "random cases of each kind")


class Original:
    """The paper's scoring code."""

    def __init__(self, fork: Path) -> None:
        self._stand_ins(fork)
        find, inspect.getfile = inspect.getfile, lambda thing: getattr(thing, "__file__", "")  # of data set modules
        try:
            tasks = {name: importlib.import_module(f"lm_eval.tasks.{name}") for name in TASK_FILES}
            mixins = importlib.import_module("lm_eval.mixins")
            self.math = self._script(fork / "unsafe_score_minerva_math.py")
            self.python = self._script(fork / "unsafe_score_sympy_math.py")
        finally:
            inspect.getfile = find
        self.checker, self.voter = mixins.SymbolicMathMixin(), mixins.MajorityVotingMixin()
        self.minerva = _bare(tasks["minerva_math"].MinervaMath)
        self.ocw = _bare(tasks["ocw_courses"].OCWCourses)
        self.gsm8k = _bare(tasks["gsm8k"].GradeSchoolMath8K)
        self.mmlu = _bare(tasks["hendrycks_test_cot"].MinervaCoTMMLU)
        self.sat = _bare(tasks["math_sat_cot"].MathSATCoT)
        self.sympy_math = _bare(tasks["sympy_math"].SympyMath)

    def _stand_ins(self, fork: Path) -> None:
        """Modules that the scoring code imports and does not use, empty; and the one class of utils that it does."""
        for name in ("lm_eval", "lm_eval.datasets", "lm_eval.datasets.hendrycks_math", "lm_eval.tasks"):
            _stand_in(name).__path__ = [str(fork / name.replace(".", "/"))]
        _stand_in("lm_eval.datasets.hendrycks_math.hendrycks_math", __file__="")
        _stand_in("lm_eval.base", Task=type("Task", (), {}), rf=None)
        _stand_in("lm_eval.metrics", mean=None, weighted_perplexity=None)
        _stand_in("lm_eval.evaluator", make_table=str)
        _stand_in("tqdm", tqdm=iter)
        source = (fork / "lm_eval/utils.py").read_text(encoding="utf-8")
        utils = _stand_in("lm_eval.utils", signal=signal)
        start = source.index("class timeout:")
        exec(source[start : source.index("\ndef ", start)], utils.__dict__)

    def _script(self, path: Path) -> types.ModuleType:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def equal(self, prediction: str, reference: str) -> Any:
        """MATH on extracted answers."""
        normal = self.checker.normalize_tex
        return ask(self.checker.is_tex_equiv, normal(prediction.strip()), normal(reference))

    def math_text(self, completion: str, reference: str) -> Any:
        """MATH on a completion."""
        document = {
            "metadata": {"unprocessed_answers": completion},
            "answer": self.checker.normalize_tex(reference),
        }
        return first(ask(self.math.check_answer, document, 0))

    def ocw_text(self, completion: str, reference: str) -> Any:
        return accuracy(ask(self.ocw.process_results, {"answer": reference}, [completion]))

    def gsm8k_text(self, completion: str, solution: str) -> Any:
        solution = solution if "####" in solution else f"#### {solution.strip()}"
        return accuracy(ask(self.gsm8k.process_results, {"answer": solution}, [completion], {}))

    def choice_text(self, completion: str, letter: str) -> Any:
        return accuracy(ask(self.mmlu.process_results, {"gold": f"({letter})"}, [completion]))

    def value(self, value: Any, reference: str) -> Any:
        """MATH+Python on the value a program left behind."""

        def judge() -> bool:
            normal = self.checker.normalize_tex
            wanted = self.python.cast_numeric_if_possible(self.checker.parse_tex(normal(normal(reference))))
            given = self.python.cast_numeric_if_possible(value)
            return given is not None and self.python.is_equiv(wanted, given, checker=self.checker)

        return ask(judge)


TASK_FILES = ("minerva_math", "ocw_courses", "gsm8k", "hendrycks_test_cot", "math_sat_cot", "sympy_math")


def _stand_in(name: str, **members: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    above, _, last = name.rpartition(".")
    if above:
        setattr(sys.modules[above], last, module)
    return module


def _bare(kind: type) -> Any:
    """An instance without its constructor, which would load a data set."""
    return kind.__new__(kind)


class Hang(BaseException):
    """The original did not come back; not an Exception, because the original catches those."""


def ask(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the original says; the name of an exception that it lets through, or ``HANG``."""

    def stop(*_: Any) -> None:
        raise Hang

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*arguments)
    except Hang:
        return "HANG"
    except Exception as error:
        return f"stopped with {type(error).__name__}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def accuracy(found: Any) -> Any:
    return bool(found["acc"]) if isinstance(found, dict) else found


def first(found: Any) -> Any:
    return bool(found[0]) if isinstance(found, tuple) else found


Case = tuple[str, Any, Any]  # what it is about, what the original says, what we say


class Parts:
    """What is compared; every public method yields cases."""

    def __init__(self, original: Original, s: Settings) -> None:
        self.original = original
        self.s = s
        self.random = random.Random(s.seed)

    def rows(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (Path(self.s.data) / name).read_text(encoding="utf-8").splitlines()]

    def frozen(self) -> Iterator[Case]:
        """The pairs and formulas of the tests: what is recorded there against what the original says today."""
        for row in map(json.loads, (TESTS / "paper_pairs.jsonl").read_text(encoding="utf-8").splitlines()):
            judge = {
                "math": self.original.equal if row["extracted"] else self.original.math_text,
                "gsm8k": self.original.gsm8k_text,
                "ocw": self.original.ocw_text,
                "mmlu_stem": self.original.choice_text,
            }[row["task"]]
            said = judge(row["prediction"], row["reference"])
            recorded = row["original"] if isinstance(row["original"], bool) else f"stopped with {row['original']}"
            yield str(row), said, recorded
        for row in map(json.loads, (TESTS / "paper_trees.jsonl").read_text(encoding="utf-8").splitlines()):
            yield row["latex"], tree(sympys_parser(), row["latex"]), row["srepr"]

    def public_answers(self) -> Iterator[Case]:
        for row in self.rows("grader_public.jsonl"):
            pair = row["prediction"], row["reference"]
            yield row["id"], self.original.equal(*pair), graded(*pair, "math", True)

    def public_texts(self) -> Iterator[Case]:
        for row in self.rows("grader_public.jsonl"):
            if row["full_text"]:
                pair = row["full_text"], row["reference"]
                yield row["id"], self.original.math_text(*pair), graded(*pair, "math", False)

    def public_as_gsm8k(self) -> Iterator[Case]:
        for row in self.rows("grader_public.jsonl"):
            pair = row["prediction"], row["reference"]
            completion = f"The answer is {pair[0].strip()}."
            yield row["id"], self.original.gsm8k_text(completion, pair[1]), graded(*pair, "gsm8k", True)

    def public_as_ocw(self) -> Iterator[Case]:
        for row in self.rows("grader_public.jsonl"):
            pair = f"Final answer: The final answer is {row['prediction']}. ", row["reference"]
            yield row["id"], self.original.ocw_text(*pair), graded(*pair, "ocw", False)

    def references(self) -> Iterator[Case]:
        """Every reference of MATH, MATH-500 and OCW against itself, and against the next one that is no integer."""
        boxed = [paper.boxed_answer(row["solution"]) or "" for row in self.rows("math_test.jsonl")]
        answers = [row["answer"] for row in self.rows("math500_test.jsonl")]
        formulas = [answer for answer in boxed if not answer.lstrip("-").isdigit()]
        pairs = [(a, a) for a in boxed + answers] + list(itertools.pairwise(formulas))
        for pair in pairs:
            yield str(pair), self.original.equal(*pair), graded(*pair, "math", True)
        ocw = [row["answer"] for row in self.rows("ocw_test.jsonl")]
        for answer, reference in [(a, a) for a in ocw] + list(itertools.pairwise(ocw)):
            pair = f"Final answer: The final answer is {answer}. ", reference
            yield str(pair), self.original.ocw_text(*pair), graded(*pair, "ocw", False)

    def recorded(self) -> Iterator[Case]:
        """Completions of rho-math models, and the answers that were extracted from them at the time."""
        for name in ("rho-math-7b_math500_cot", "rho-math-1b-interpreter_math500_python"):
            for row in self.rows(f"recorded/{name}.jsonl"):
                for completion in row["code"]:
                    pair = completion, row["gt"]
                    yield f"{name} {row['idx']}", self.original.math_text(*pair), graded(*pair, "math", False)
                for answer in row["pred"]:
                    pair = str(answer), row["gt"]
                    yield f"{name} {row['idx']}", self.original.equal(*pair), graded(*pair, "math", True)
        for name in ("rho-math-7b_gsm8k_cot", "rho-math-1b-interpreter_gsm8k_python"):
            for row in self.rows(f"recorded/{name}.jsonl"):
                for completion in [*row["code"], *(f"The answer is {answer}." for answer in row["pred"])]:
                    pair = completion, row["answer"]
                    yield f"{name} {row['idx']}", self.original.gsm8k_text(*pair), graded(*pair, "gsm8k", False)

    def choices(self) -> Iterator[Case]:
        """Sentences about the right and wrong letters of every MMLU-STEM and SAT question."""
        letters = [row["answer"] for row in self.rows("mmlu_stem_test.jsonl")]
        letters += [row["Answer"] for row in self.rows("sat_may23.jsonl")]
        mark = "Final Answer: The final answer is "
        forms = [mark + end for end in ("({}). ", "({}).", "({}), ", "({})", "{}.", "({})e x", "({})\n", "[{}].")]
        forms += ["Final answer: The final answer is ({}).", "The answer is ({}).", mark + "({}).\n" + mark + "(A)."]
        for letter in letters:
            text = self.random.choice(forms).replace("{}", self.random.choice([letter, letter, *"ABCDE"]))
            yield text, self.original.choice_text(text, letter), graded(text, letter, "mmlu_stem", False)

    def strings(self) -> Iterator[Case]:
        """Normalisation and extraction on random text."""
        o = self.original
        pairs: list[tuple[Callable[[str], Any], Callable[[str], Any]]] = [
            (o.checker.normalize_tex, paper.normalize_tex),
            (o.minerva.get_unnormalized_answer, lambda text: texts.final_answer(text, texts.MATH_MARK)),
            (o.ocw.get_unnormalized_answer, lambda text: texts.final_answer(text, texts.OCW_MARK)),
            (o.gsm8k._extract_answer_from_sample, texts.first_number),
            (o.gsm8k._extract_answer, texts.gold_number),
            (o.mmlu._extract_answer, texts.choice),
            (o.sat._extract_answer, texts.choice),
            (o.sympy_math.get_program, paper.math_program),
            (lambda text: o.minerva._remove_boxed(o.minerva._last_boxed_only_string(text)), boxed_or_stopped),
        ]
        for _ in range(self.s.fuzz):
            text = self.joined(FRAGMENTS, 14)
            for theirs, ours in pairs:
                said = ask(theirs, text)
                stopped = isinstance(said, str) and said.startswith("stopped")
                yield text, "stopped" if stopped else said, ours(text)

    def numbers(self) -> Iterator[Case]:
        """OCW's numbers: what ``float(eval(text))`` or the LaTeX parser makes of random text, against our reader."""
        for _ in range(self.s.fuzz):
            text = self.joined(NUMERALS, 4)
            if text.count("**") > 1 or ("**" in text and "e" in text):
                continue  # the original would not come back
            said = ask(self.original.ocw.normalize_numeric, text)
            read = paper.normalize_numeric(text)
            ours = read.value if read.kind == "number" else "[invalidanswer]" if read.kind == "invalid" else read.kind
            yield text, str(said), str(ours)

    def values(self) -> Iterator[Case]:
        """MATH+Python: values of many types against references."""
        x = sympy.Symbol("x")
        values = [
            *(1, 0, -1, 2.5, -0.5, 1e20, 10**25, float("inf"), float("nan"), True, False, None, "5", "2.5", "abc"),
            *(1 + 2j, [1], (1, 2), {1}, {1: 2}, sympy.Integer(7), sympy.Rational(-7, 3), sympy.sqrt(2), sympy.pi),
            *(sympy.E, sympy.I, sympy.oo, sympy.zoo, x, x + 1, (x + 1) ** 2, sympy.sin(x) ** 2 + sympy.cos(x) ** 2),
            *(1 / sympy.sqrt(2), sympy.Float("0.5"), sympy.exp(1), sympy.Symbol("x", positive=True), sympy.Eq(x, 1)),
            *(x < 1, sympy.Function("f")(x), sympy.Sum(x, (x, 1, 3)), sympy.Integer(10) ** 30),
        ]
        for value in values:
            printed = sympy.srepr(value) if isinstance(value, sympy.Basic) else repr(value)
            for reference in REFERENCES:
                said = self.original.value(value, reference)
                yield f"{printed} for {reference}", said, graded(printed, reference, "math_python", None)

    def votes(self) -> Iterator[Case]:
        """Random ballots: who is elected, whether right, pass rate, and all counts."""
        for _ in range(max(1, self.s.fuzz // 5)):
            size = self.random.randint(1, 9)
            answers = [self.random.choice(BALLOTS) for _ in range(size)]
            reference = self.random.choice(BALLOTS[:-3])
            samples = [f"Final Answer: The final answer is {a}. " if a else "none" for a in answers]
            document = {
                "metadata": {"unprocessed_answers": samples},
                "answer": self.original.checker.normalize_tex(reference),
            }
            said = ask(self.original.math.check_answer, document, 0)
            ours = paper.paper_vote(samples, reference, "math", extracted=False)
            if isinstance(said, str):  # TypeError: a relation was held against another answer
                yield str(answers), "IndexError" in said, "IndexError" in ours.reason
            else:
                theirs = (bool(said[0]), said[1], tuple(map(tuple, said[2])))
                yield str((answers, reference)), theirs, (ours.correct, ours.pass_rate, ours.votes)

    def formulas(self) -> Iterator[Case]:
        """Every answer and reference of the data, and random formulas: the sympy expression, or that there is none."""
        parser = sympys_parser()
        found = {row[key] for row in self.rows("grader_public.jsonl") for key in ("prediction", "reference")}
        found |= {paper.boxed_answer(row["solution"]) or "" for row in self.rows("math_test.jsonl")}
        found |= {row["answer"] for row in self.rows("ocw_test.jsonl")}
        found |= {paper.normalize_tex(text) for text in found}
        found |= {self.joined(PIECES, 10) for _ in range(self.s.fuzz)}
        for text in sorted(found):
            if not ("|_" in text or "|^" in text):  # there the original takes a symbol out of an unordered set
                yield text, tree(parser, text), tree(read_latex, text)

    def joined(self, pieces: list[str], most: int) -> str:
        return "".join(self.random.choice(pieces) for _ in range(self.random.randint(1, most)))


def sympys_parser() -> Callable[[str], Any]:
    """sympy's own, which needs antlr4."""
    from sympy.parsing.latex import parse_latex

    return parse_latex


def tree(parser: Callable[[str], Any], text: str) -> Any:
    """The expression as text; ``None`` when there is none."""
    found = ask(lambda: sympy.srepr(parser(text)))
    return None if found.startswith("stopped") else found


def graded(prediction: str, reference: str, task: str, extracted: bool | None) -> bool:
    return paper.grade_paper(prediction, reference, task, extracted=extracted).verdict == "correct"


def boxed_or_stopped(text: str) -> str:
    found = paper.boxed_answer(text)
    return "stopped" if found is None else found


FRAGMENTS = [
    *("$", r"\text{", "}", "{", r"\boxed{", r"\textbf{", r"\overline{", "frac", r"\frac", "sqrt", "=", "\n", " ", "a "),
    *("an ", ".$", r"\$", r"\ ", "mbox", r",\text{and}", r"\text{m}", "square", "ft", r"^\circ", "{,}", r",\!", '"'),
    *(r"\dots", r"\;", "1", "2", "x", ",", "½", "²", "٣", "units", "\r", ".", "I hope it is correct.", "(B)", "(E)"),
    *("Final Answer: The final answer is", "Final answer: The final answer is", " I hope it is correct", "```", "####"),
    *("The answer is ", "The answer is 12", "#### -1,2.3", r"\boxed ", r"\fbox{"),
    "The imports required for this program are",
]  # fmt: skip
NUMERALS = [
    *("1", "2.5", "0", "-3", "1e5", "10", "1_000", "007", "0x10", "True", "None", "x", "y(t)", "math.pi", "np.pi", "s"),
    *(r"\pi", r"\frac{1}{2}", "2^3", "2**3", "1/2", r"3 \times 10^{8}", "'12'", "(1,2)", "[1]", "max(1,2)", "abs(-3)"),
    *("foo(1)", r"\sqrt{2}", "5 m/s", "kg", "$3$", "~5", "not 0", "1<2", "1 if 1 else 2", "1+2j", "inf", "nan"),
    "1,000",
    *("50%", "5!", "1e400", "{1}", "1 or 2", "+", "-", "*", "/", "//", "%", "^", "&", "|", "<<", "(", ")", " ", ".5"),
    *("eV", "cm", r"\mathrm{~s}", "x=5", "7 # c", "7\n", r"\infty", "1j*1j", "b'3'", "[1,2][0]", "0b11", "..."),
]  # fmt: skip
REFERENCES = [
    *("1", "0", r"\frac{1}{2}", "2", "5", "x+1", "x^2+2x+1", r"\sqrt{2}", r"\frac{\sqrt{2}}{2}", r"\pi", "3", "0.5"),
    *("x", r"-\frac{7}{3}", "10^{25}", r"\infty", "x=5", "(1,2)", "xy", "7", "-1", "f(x)", "x<1", r"\text{abc}"),
    "1,000",
]  # fmt: skip
BALLOTS = [
    "1",
    "2",
    "0.5",
    r"\frac12",
    "1/2",
    "x",
    "0",
    "0.0",
    "x+1",
    "1+x",
    "x=1",
    "2,3",
    "23",
    "seat",
    "{",
    "x<1",
    "",
]
PIECES = [
    *"xyd12af+-*/(){}[]|_^,.=<!';:",
    *(r"\frac", r"\sqrt", r"\sin", r"\cos^", r"\log_", r"\int", r"\sum_{i=1}^", r"\lim_{x\to0}", r"\binom", r"\cdot"),
    *(r"\left|", r"\right|", r"\langle", r"\rangle", r"\pi", r"\infty", r"\lfloor", r"\rfloor", r"\partial", r"\le "),
    *(r"\frac{1}{2}", "(x+1)", "x^2", r"\overline{z}", r"\,", "}{", "10", "132.", "1,000", "f(x,y)", "dx"),
    r"\frac{d}{dx}",
]  # fmt: skip


def main(words: list[str]) -> None:
    """Compare and print."""
    s = resolve(Settings, words=words)
    if not (Path(s.fork) / "lm_eval/mixins.py").is_file() or importlib.util.find_spec("antlr4") is None or not s.data:
        print("\n\n".join((__doc__ or "").split("\n\n")[1:3]))
        print(f"\nnot run: it needs the original in fork={s.fork}, antlr4, and data=FOLDER")
        return
    print(f"Python {sys.version.split()[0]}, sympy {sympy.__version__}, seed {s.seed}, {s.fuzz} random cases of a kind")
    parts = Parts(Original(Path(s.fork)), s)
    names = s.parts or tuple(name for name, _ in inspect.getmembers(Parts, inspect.isfunction) if name not in HELPERS)
    for name in names:
        start = time.perf_counter()
        cases = list(getattr(parts, name)())
        other = [case for case in cases if not same(*case[1:])]
        stops = Counter(str(said) for _, said, _ in cases if str(said).startswith("stopped with"))
        print(
            f"{name:16} {len(cases):6} cases {len(other):3} differ  {time.perf_counter() - start:6.1f} s  {dict(stops)}"
        )
        for about, said, ours in other:
            print(f"    {about[:150]!r}: original {said!r}, ours {ours!r}"[:400])


HELPERS = ("__init__", "rows", "joined")


def same(said: Any, ours: Any) -> bool:
    """Alike; where the original stops or never comes back, ours must not find the answer right."""
    gone = isinstance(said, str) and (said == "HANG" or said.startswith("stopped with"))
    return ours is False if gone and isinstance(ours, bool) else bool(said == ours)


if __name__ == "__main__":
    main(sys.argv[1:])

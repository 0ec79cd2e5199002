"""Samples that run Python: by the paper's rules as the original did, by strict ones as Python does, as notebooks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from llemma import Completion, Request, Sampling, grade
from llemma.backends import Backend
from llemma.evaluate import solve as module
from llemma.evaluate.solve import Notebook, run_as_main, run_as_paper, shorten, shown, solve
from llemma.evaluate.tools import Programs
from llemma.grade.paper import GSM8K_PYTHON, MATH_PYTHON
from llemma.records import Execution, Problem, Program
from llemma.sandbox import Limits, tiers
from llemma.tasks import gsm8k_python, math_python
from llemma.tasks._programs import PAPER_OUTPUT, output_of, strict_value
from llemma.tasks._scoring import program_scorers

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux"),
    pytest.mark.skipif(not tiers.best().name, reason="no sandbox here: see llemma doctor"),
]

LIMITS = Limits(wall=30, cpu=30)


MATH, GSM = replace(MATH_PYTHON, seconds=1.0), GSM8K_PYTHON


# --- one program, as the paper ran it -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "value"),
    [
        ("answer = 2 + 3", "5"),
        ("answer = 1 / 2", "0.5"),
        ("from sympy import *\nanswer = Rational(1, 2)", "Rational(1, 2)"),
        ("from sympy import *\nx = symbols('x')\nanswer = solve(x**2 - 4, x)", "[-2, 2]"),
        ("from sympy import *\nanswer = sqrt(2) * symbols('x')", "Mul(Pow(Integer(2), Rational(1, 2)), Symbol('x'))"),
        ("answer = sympy.Integer(3)", "Integer(3)"),  # the scorer's own name, never imported by the program
        ("answer = n_value", None),  # the error is swallowed
        ("answer = 3\n1 / 0\nanswer = 4", "3"),  # and the last value counts
        ("answer = 5\nraise SystemExit", "5"),
        ("import math\ndef f(n):\n    return math.factorial(n)\nanswer = f(3)", None),  # f does not see math
        ("def f(n):\n    return 1 if n < 2 else n * f(n - 1)\nanswer = f(3)", None),  # nor itself
        ("def f(n):\n    import math\n    return math.factorial(n)\nanswer = f(3)", "6"),
        ("k = 2\nanswer = sum(k * i for i in range(3))", None),  # nor does a generator see k
        ("def f():\n    return isclose(0.1 + 0.2, 0.3)\nanswer = f()", "1"),
        ("answer = (", None),
        ("answer = 'text'", "'text'"),
        ("answer = 7\nwhile True:\n    pass", "7"),  # so is the time limit
        ("answer = 1\ndef answer():\n    return 2\nanswer = answer()", "2"),
        ("print('noise')\nanswer = 8", "8"),
        ("from fractions import Fraction\nanswer = Fraction(5, 2)", "2"),  # cast to an integer, as by the scorer
        ("import numpy as np\nanswer = np.float64(2.5)", "2"),
        ("import numpy as np\nanswer = np.array([1, 2])", "array([1, 2])"),
        ("", None),
    ],
)
def test_math_programs_run_as_in_the_papers_scorer(program, value):
    done = run_as_paper(program, MATH, wanted="answer", limits=LIMITS)
    assert (done.status, done.value) == ("ok", value if value is not None else "None"), done


@pytest.mark.parametrize(
    ("program", "printed"),
    [
        ("def solution():\n    return 18", "18\n"),
        ("def solution():\n    eggs = 16\n    return (eggs - 3 - 4) * 2.0", "18.0\n"),
        ("import math\ndef solution():\n    return math.floor(2.5)", ""),  # a NameError that is caught
        ("def half(x):\n    return x / 2\ndef solution():\n    return half(8)", ""),
        ("def solution():\n    import math\n    return math.floor(2.5)", "2\n"),
        ("def solution():\n    print('working')\n    return 3", "working\n3\n"),
        ("def solution():\n    return json.dumps(4)", "4\n"),
        ("x = (", ""),
        ("def other():\n    return 1", ""),
    ],
)
def test_gsm8k_programs_run_as_in_the_papers_scorer(program, printed):
    done = run_as_paper(program, GSM, wanted="solution", limits=LIMITS)
    assert (done.status, done.stdout) == ("ok", printed), done


def test_what_the_original_would_have_waited_for_ends():
    done = run_as_paper("def solution():\n    9**9**9", GSM, wanted="solution", limits=Limits(wall=0.5, cpu=10))
    assert done.status == "timeout"


# --- one program, as Python runs it ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "reference"),
    [
        ("answer = 2 + 3", "5"),
        ("answer = 1 / 2", "\\frac{1}{2}"),
        ("answer = 10 / 2", "5"),
        ("import math\ndef f(n):\n    return math.factorial(n)\nanswer = f(4)", "24"),
        ("from sympy import *\nx = symbols('x')\nanswer = solve(x**2 - 4, x)", "-2, 2"),
        ("from sympy import *\nx = symbols('x')\nanswer = solve(3 * x - 4, x)", "\\frac43"),
        ("from sympy import *\nanswer = sqrt(8) / 3", "\\frac{2\\sqrt{2}}{3}"),
        ("from sympy import *\nanswer = (3, pi / 2)", "\\left( 3, \\frac{\\pi}{2} \\right)"),
        ("from sympy import *\nx = symbols('x')\nanswer = expand((x + 1)**2)", "x^2+2x+1"),
        ("answer = {5}", "5"),
        ("answer = {3, 1}", "1, 3"),
        ("import numpy as np\nanswer = np.float64(2.0)", "2"),
        ("import numpy as np\nanswer = np.array([1, 2])", "1, 2"),
        ("answer = 'Evelyn'", "\\text{Evelyn}"),
        ("from fractions import Fraction\nanswer = Fraction(3, 4)", "0.75"),
        ("answer = 2**100", str(2**100)),
        ("if __name__ == '__main__':\n    answer = 6", "6"),
    ],
)
def test_an_answer_is_stated_so_that_the_grader_reads_it(program, reference):
    done, answer = run_as_main(program, wanted="answer", limits=LIMITS)
    assert done.status == "ok", done
    assert grade(f"The answer is ${answer}$.", reference).verdict == "correct", answer


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("answer = 3\n1 / 0", "error"),
        ("answer = (", "error"),
        ("answer = 3\nwhile True:\n    pass", "timeout"),
        ("answer = 3\nraise SystemExit(1)", "error"),
        ("import os\nanswer = 3\nos._exit(0)", "ok"),
        ("answer = 3\nimport os\nos.fork()", "denied"),
        ("print('no answer')", "ok"),
        ("class A:\n    def __str__(self): raise ValueError\nanswer = A()", "error"),
    ],
)
def test_a_program_that_does_not_come_to_its_end_has_no_answer(program, status):
    done, answer = run_as_main(program, wanted="answer", limits=Limits(wall=0.7, cpu=30))
    assert (done.status, answer) == (status, None), done


def test_solution_is_called_once_and_may_print():
    done, answer = run_as_main("def solution():\n    print('called')\n    return 7", wanted="solution", limits=LIMITS)
    assert (answer, done.stdout) == ("7", "called\n")
    assert run_as_main("x = 1", wanted="solution", limits=LIMITS)[1] is None


# --- completions ----------------------------------------------------------------------------------------------


@dataclass
class Script:
    """A model that goes on as its script says: prompt → what it writes next. Obeys stop strings, counts its calls."""

    lines: Mapping[str, Sequence[str]]
    obeys: bool = True
    batch: int = 8
    info: Mapping[str, str] = field(default_factory=lambda: {"engine": "script"})
    calls: list[list[Request]] = field(default_factory=list)

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        self.calls.append(list(requests))
        return [self._one(request.prompt, sampling) for request in requests]

    def _one(self, prompt: str, sampling: Sampling) -> Completion:
        start, texts = next((s, texts) for s, texts in self.lines.items() if prompt.startswith(s))
        written = prompt.removeprefix(start)
        text = texts[min(written.count("```output"), len(texts) - 1)]
        places = [text.find(stop) for stop in sampling.stop if stop in text] if self.obeys else []
        return Completion(text=text[: min(places)] if places else text, finish="stop" if places else "eos", tokens=3)


def first_block(text: str) -> str | None:
    body, fence, _ = text.partition("```")
    return body if fence else None


def ask(model: Backend, prompts: Sequence[str], how: Notebook, sandbox: str = "auto"):
    return solve(model, [Request(prompt=p, seed=5) for p in prompts], Sampling(), how, sandbox=sandbox)


def run_program(text: str, extract, rules, wanted: str = "answer") -> Completion:
    return Programs(program=Program(extract=extract, wanted=wanted, rules=rules)).run(
        Completion(text=text, finish="eos", tokens=3)
    )


def values(done: Completion) -> tuple[str, ...]:
    """What the strict grader and the paper's scorer read."""
    found = (output_of(done.text), output_of(done.text, PAPER_OUTPUT))
    return tuple("" if output is None else output.text for output in found)


def test_a_completion_with_a_program_becomes_its_answer():
    one = run_program("answer = 6 * 7\n```", first_block, MATH)
    assert values(one) == ("42", "42") and (one.tokens, one.finish) == (3, "eos")
    assert [step.kind for step in one.steps] == ["text", "python", "python"]
    assert one.steps[1].text == "answer = 6 * 7\n" and one.steps[1].tier == tiers.best().name
    two = run_program("no program", first_block, MATH)
    assert values(two) == ("", "") and output_of(two.text).status == "no-program" and len(two.steps) == 1
    three = run_program("answer = 1 / 0\n```", first_block, MATH)
    assert output_of(three.text).status == three.steps[1].status == "error"
    assert "ZeroDivisionError" in (three.steps[1].result or "")


def test_paper_rules_hand_the_grader_what_the_scorer_read():
    assert values(run_program("answer = sympy.Rational(1, 2)\n```", first_block, MATH)) == ("", "Rational(1, 2)")
    assert values(run_program("answer = q\n```", first_block, MATH)) == ("", "None")
    assert values(run_program("def solution():\n    return 5 / 2", str.strip, GSM, "solution")) == ("2.5", "2.5")


SYMPY = """# Solve it
x = symbols('x')
answer = {answer}
```
The imports required for this program are
```
from sympy import symbols, Rational, sqrt
```
"""


@pytest.mark.parametrize(
    ("answer", "reference", "paper", "strict"),
    [
        ("4", "4", "correct", "correct"),
        ("Rational(1, 2)", "\\frac{1}{2}", "correct", "correct"),
        ("0.3", "\\frac{1}{2}", "correct", "wrong"),  # both are cut to 0
        ("x**2 + 2*x", "2x + x^2", "correct", "correct"),
        ("[4]", "4", "wrong", "correct"),  # a list is never right
        ("sqrt(2)", "\\sqrt{3}", "correct", "wrong"),  # both are cut to 1
        ("5", "6", "wrong", "wrong"),
    ],
)
def test_math_with_python_from_completion_to_verdict(answer, reference, paper, strict):
    problem = Problem(id="1", prompt="?", answer=reference)
    got = run_program(SYMPY.format(answer=answer), math_python.program_in, MATH)
    assert program_scorers("math_python")["paper"].grade(problem, got.text).verdict == paper, got
    assert strict_value(problem, got.text).verdict == strict, got


@pytest.mark.parametrize(
    ("body", "paper", "strict"),
    [
        ("    return 20 - 2", "correct", "correct"),
        ("    return 18.0", "correct", "correct"),
        ("    return math.floor(18.4)", "unparsable", "correct"),  # the scorer's solution() does not see the import
        ("    print('working')\n    return 18", "unparsable", "correct"),
        ("    return 17", "wrong", "wrong"),
    ],
)
def test_gsm8k_with_python_from_completion_to_verdict(body, paper, strict):
    problem = Problem(id="1", prompt="?", answer="18")
    got = run_program(f"import math\ndef solution():\n{body}\n", gsm8k_python.program_in, GSM, "solution")
    assert program_scorers("gsm8k_python")["paper"].grade(problem, got.text).verdict == paper, got
    assert strict_value(problem, got.text).verdict == strict, got


# --- notebooks ------------------------------------------------------------------------------------------------

BLOCK = "I try.\n```python\n{code}\n```\n```output\nmade up by the model\n```\n"


def test_outputs_go_into_the_text_and_names_stay():
    first, second = BLOCK.format(code="x = 20\nprint(x + 1)"), BLOCK.format(code="y = 2 * x\ny")
    model = Script({"Q": [first, second, "So it is $\\boxed{40}$."]})
    (got,) = ask(model, ["Q"], Notebook(limits=LIMITS))
    assert got.text == (
        "I try.\n```python\nx = 20\nprint(x + 1)\n```\n```output\n21\n```\n"
        "I try.\n```python\ny = 2 * x\ny\n```\n```output\n40\n```\nSo it is $\\boxed{40}$."
    )
    assert [step.kind for step in got.steps] == ["text", "python", "text", "python", "text"]
    assert [step.result for step in got.steps if step.kind == "python"] == ["21", "40"]
    assert (got.tokens, got.finish) == (9, "eos")
    assert grade(got.text, "40").verdict == "correct"


def test_samples_advance_together_and_each_has_its_own_state():
    texts = {
        f"Q{n} ": [BLOCK.format(code=f"x = {n}"), BLOCK.format(code="print(x * x)"), "\\boxed{.}"] for n in range(6)
    }
    texts["short "] = ["\\boxed{1}"]
    model = Script(texts)
    got = ask(model, list(texts), Notebook(limits=LIMITS))
    assert [t.steps[3].result for t in got[:6]] == [str(n * n) for n in range(6)]
    assert [t.steps[1].result for t in got[:6]] == ["Done"] * 6
    assert [len(requests) for requests in model.calls] == [7, 6, 6]  # one call a round, with those that go on
    seeds = [{request.seed for request in requests if request.prompt.startswith("Q0")} for requests in model.calls]
    assert seeds[0] == {5} and len(set().union(*seeds)) == 3  # another seed for every round, the same every time


def test_after_its_calls_the_model_writes_once_more_without_a_tool():
    model = Script({"Q": [BLOCK.format(code="print(1)")]})
    (got,) = ask(model, ["Q"], Notebook(calls=2, limits=LIMITS))
    assert sum(step.kind == "python" for step in got.steps) == 2
    assert got.finish == "calls" and len(model.calls) == 3


@pytest.mark.parametrize(
    ("code", "output"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("print('before')\n{}['k']", "KeyError: 'k'"),
        ("while True: pass", "Timeout Error"),
        ("x = 1", "Done"),
        ("import os\nos.fork()", "PermissionError: [Errno 1] Operation not permitted"),
        ("print('ab' * 300)", "ab" * 100 + "..." + "ab" * 100),
        ("2 ** 10", "1024"),
    ],
)
def test_what_the_model_is_shown(code, output):
    model = Script({"Q": [BLOCK.format(code=code), "\\boxed{0}"]})
    (got,) = ask(model, ["Q"], Notebook(limits=Limits(wall=1, cpu=30)))
    assert got.steps[1].result == output


@pytest.mark.parametrize(
    "text",
    [
        "```python\nprint(1)\n```\nand so \\boxed{1}",
        "```python\nprint(1)\n",
        "no block at all",
        "```python\nprint(1)\n```\nmore text ```",
        "",
    ],
)
def test_text_that_does_not_end_in_a_block_is_the_end(text):
    (got,) = ask(Script({"Q": [text]}), ["Q"], Notebook(limits=LIMITS))
    assert got.text == text and [step.kind for step in got.steps] == ["text"]


def test_a_block_with_the_answer_beside_it_is_not_run():
    (got,) = ask(Script({"Q": ["\\boxed{3}\n```python\nprint(1)\n```"]}), ["Q"], Notebook(limits=LIMITS))
    assert len(got.steps) == 1


def test_many_notebooks_with_few_open_sessions(monkeypatch):
    monkeypatch.setattr(module._Sessions.__init__, "__defaults__", (2,))
    texts = {f"Q{n} ": [BLOCK.format(code=f"x = [{n}]"), BLOCK.format(code="x.append(1)"), BLOCK.format(code="x"), "."]
             for n in range(5)}  # fmt: skip
    got = ask(Script(texts), list(texts), Notebook(limits=LIMITS))
    assert [t.steps[5].result for t in got] == [f"[{n}, 1]" for n in range(5)]


def test_a_stopped_block_empties_the_notebook():
    texts = [BLOCK.format(code=code) for code in ("x = 1", "while True: pass", "x")]
    (got,) = ask(Script({"Q": [*texts, "."]}), ["Q"], Notebook(limits=Limits(wall=0.5, cpu=30)))
    assert [s.result for s in got.steps if s.kind == "python"] == [
        "Done", "Timeout Error", "NameError: name 'x' is not defined",
    ]  # fmt: skip


def test_shortening_and_showing():
    assert shorten("abcdef", 6) == "abcdef" and shorten("abcdefg", 6) == "abc...efg"
    done = Execution(stdout=" 1\n", value="2", stderr="", status="ok", seconds=0, tier="T1")
    assert shown(done) == "1"


def test_with_a_real_engine(tmp_path):
    """A model with random weights writes no program; every sample is an outcome all the same."""
    from llemma import open_backend
    from llemma.models.checkpoint import save_model
    from llemma.models.llama import Llama, LlamaConfig, initialise
    from llemma.tokens.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(["```python\nanswer = 1 + 1\n```\n"] * 20, 300)
    model = Llama(
        LlamaConfig(
            vocab_size=tokenizer.vocab_size,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=128,
        )
    )
    initialise(model, 0)
    save_model(model, tmp_path, end_id=tokenizer.end_id)
    tokenizer.save(tmp_path)
    backend = open_backend(f"hf:{tmp_path}")
    requests = [Request(prompt="Problem:", seed=seed) for seed in range(4)]
    got = solve(backend, requests, Sampling(temperature=1.0, max_tokens=24), Notebook())
    assert len(got) == 4 and all(t.tokens > 0 and t.steps[0].kind == "text" for t in got)
    assert grade(got[0].text, "2").verdict in ("unparsable", "wrong")


# --- recordings -----------------------------------------------------------------------------------------------


def test_a_recording_keeps_its_text_and_its_programs_are_run_again():
    text = BLOCK.format(code="x = 3\nprint(x)") + "Then\n" + BLOCK.format(code="print(x + 1)") + "so \\boxed{4}"
    model = Script({"Q": [text]}, obeys=False)
    (got,) = ask(model, ["Q"], Notebook(limits=LIMITS))
    assert got.text == text and len(model.calls) == 1
    assert [s.result for s in got.steps if s.kind == "python"] == ["3", "4"]
    assert "".join(s.text for s in got.steps if s.kind == "text").endswith("so \\boxed{4}")


RECORDED = Path(os.environ.get("LLEMMA_DATA", "")) / "recorded" / "rho-math-1b-interpreter_gsm8k_python.jsonl"


@pytest.mark.skipif(
    not (os.environ.get("LLEMMA_DATA") and RECORDED.is_file()),
    reason="needs recorded transcripts: LLEMMA_DATA=FOLDER python -m pytest tests/test_solve.py, see docs/sandbox.md",
)
def test_recorded_transcripts_end_to_end():
    """Question in, graded answer out: 50 recorded transcripts; the published verdicts are those of the recording."""
    with open(RECORDED, encoding="utf-8") as file:
        rows = [json.loads(next(file)) for _ in range(50)]
    model = Script({f"{row['question']}\n": row["code"] for row in rows}, obeys=False)
    got = ask(model, list(model.lines), Notebook(limits=LIMITS))
    verdicts = [grade(t.text, row["gt"]).verdict == "correct" for t, row in zip(got, rows, strict=True)]
    assert verdicts == [row["score"][0] for row in rows]
    steps = [step for t in got for step in t.steps if step.kind == "python"]
    printed = [output.strip() for row in rows for output in row["code"][0].split("```output\n")[1:]]
    assert [step.result for step in steps] == [output.partition("\n```")[0] for output in printed]

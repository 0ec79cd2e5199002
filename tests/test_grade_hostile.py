# ruff: noqa: E501 - the table of hostile inputs reads best in long lines
r"""Answers that want to run, to hang or to fill the memory: nothing is run, everything ends, from wherever it is called.

The inputs are those that made published graders execute files or hang (power towers, factorials, binomials, nested
brackets, long numbers, huge polynomials, Unicode), and more of each kind.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

import pytest

from llemma.grade import answer
from llemma.grade.equal import equivalent, grade_final, vote_class
from llemma.records import Grade

T = TypeVar("T")

CALLS = [
    "open({file!r}, 'w')",
    "(open({file!r}, 'w'), 1)",
    "[open({file!r}, 'w')]",
    "max(1, open({file!r}, 'w'))",
    "exec(\"open({file!r}, 'w')\")",
    "eval(\"open({file!r}, 'w')\")",
    "__import__('os').system('touch {file}') or 5",
    "__import__('subprocess').run(['touch', {file!r}])",
    "__import__('pathlib').Path({file!r}).touch()",
    "().__class__.__base__.__subclasses__()[0].__init__.__globals__['os'].system('touch {file}')",
    "(lambda: open({file!r}, 'w'))()",
    "sympify(\"open({file!r}, 'w')\")",
    "parse_expr(\"open({file!r}, 'w')\")",
    "sympy.sympify(\"__import__('os').popen('touch {file}').read()\")",
    "numpy.f2py.os.system('touch {file}')",
    "np.load({file!r}, allow_pickle=True)",
    "pickle.loads(b'cos\nsystem\n(S\"touch {file}\"\ntR.')",
    "os.system('touch {file}')",
    "subprocess.getoutput('touch {file}')",
    "import os; os.system('touch {file}')",
    "from os import system\nsystem('touch {file}')",
    "x = open({file!r}, 'w')",
    "5; open({file!r}, 'w')",
    "5 if open({file!r}, 'w') else 6",
    "{{open({file!r}, 'w')}}",
    "{{1: open({file!r}, 'w')}}",
    "f\"{{open({file!r}, 'w')}}\"",
    "print(open({file!r}, 'w'))",
    "getattr(__builtins__, 'open')({file!r}, 'w')",
    "globals()['__builtins__']['open']({file!r}, 'w')",
    "breakpoint()",
    "exit()",
    "quit()",
    "os._exit(1)",
    "sys.exit(1)",
    "raise SystemExit",
    "while True: pass",
    "[0]*10**10",
    "compile(\"open({file!r}, 'w')\", '', 'exec')",
    "type('X', (), {{'__init__': lambda s: open({file!r}, 'w')}})()",
]
WRAPPERS = ["{}", "\\boxed{{{}}}", "${}$", "\\text{{{}}}", "x = {}", "\\frac{{{}}}{{2}}", "({}, 1)", "`{}`"]

HANGS = [
    *["9^{9^{9^{9}}}", "9**9**9**9", "99999999!", "10**10**10", "2**(2**(2**30))", "1e999999999", "10^{10^{10}}"],
    *[r"\binom{10^{9}}{5\cdot 10^{8}}", "2^{1000000000}-1", r"\sum_{k=1}^{10^{9}} k^2", r"\prod_{k=1}^{10^9} k"],
    *["factorial(10**8)", "(x+y+z+w+1)^{200}", r"\frac{(x+y+z)^{60}-(a+b+c)^{60}}{(x-y)^{30}+1}", "9" * 200_000],
    *["(" * 3000 + "1" + ")" * 3000, "{" * 5000 + "1" + "}" * 5000, "[" * 3000 + "1" + "]" * 3000, "1/" * 5000 + "1"],
    *["-" * 5000 + "1", r"\frac{1}{" * 3000 + "1" + "}" * 3000, "^".join(["2"] * 500), r"\sqrt{" * 2000 + "2" + "}" * 2000],
    *["x" * 50_000, "1+" * 5000 + "1", "1," * 50_000 + "1", "(1," * 1000, r"\left(" * 2000, "!" * 1000, "5" + "!" * 50],
    *["((((10!)!)!)!)", r"\binom{\binom{\binom{100}{50}}{50}}{50}", r"\sin(10^{10^{10}})", r"\cos(9^{9^9})"],
    *[r"\tan(10^{4000})", r"e^{e^{e^{e^{e}}}}", r"\ln(10^{10^{10}})", r"\log_{2}(2^{2^{100}})", "2^{2^{2^{2^{2^{2}}}}}"],
    *[r"\lfloor 10^{10^{10}} \rfloor", r"\gcd(10^{100000},3)", "0^{0}", "0^{-1}", r"\frac{0}{0}", r"\infty-\infty"],
    *[r"\infty/\infty", "1/0", "x/0", r"\sqrt[0]{5}", r"\sqrt[10^9]{2}", r"\log_1 5", r"\ln 0", r"\tan(\pi/2)"],
    *[r"\arcsin(10^{100})", r"\sum_{k=1}^{2000}\sum_{j=1}^{2000} j", r"\sum_{k=1}^{2000}\sum_{j=1}^{k}\sum_{i=1}^{j} i"],
    *[r"\prod_{k=1}^{2000} k^{k}", r"\sum_{k=1}^{2000} 2^{k^k}", r"(\sqrt{2}+\sqrt{3})^{1000000}", r"(1+i)^{10^{8}}"],
    *[r"(x+1)^{10^6}", r"x^{x^{x^{x^{x}}}}", r"x^{10^{10}}", "1.5e4000", "1e-4000", "1e4000*1e4000", "0." + "0" * 3000 + "1"],
    *["0." + "3" * 3900, "." * 100_000, "$" * 100_001, "\\" * 10_001, "{}" * 5000, "()" * 3000, "|" * 3000, "|x" * 2000],
    *[r"\text{" * 1000 + "a" + "}" * 1000, "a_" * 3000, "a'" * 3000, r"\overline{" * 1000, "1:" * 3000 + "1", "=1" * 2000],
    *["<1" * 2000, r"\cup" * 2000, r"(1,2)\cup" * 900 + "(3,4)", r"[0,1]\cup" * 300 + "[1,2]", r"\pm" * 500 + "1"],
    *["1" + r"\pm 1" * 60, "\0" * 1000, "\ud800" * 100, "𝟙" * 1000, "٣" * 1000, "½" * 1000, "²" * 1000, "√" * 1000],
    *["∞" * 1000, "−" * 1000, "\t" * 10_000, "\n" * 10_000, " " * 100_000, "The answer is " * 5000, "\\boxed{" * 20_000],
    *["Final Answer: " * 5000, "#" * 40_000, "*" * 40_000, "is " * 5000 + "5", "= " * 3000 + "5", "a and " * 2000],
    *["1 and " * 2000 + "1", r"\Gamma(10^9)", r"10^{100}!", "(10^6)!", r"\binom{10^{50}}{3}", r"\binom{10^{50}}{10^{25}}"],
    *["1_" + "2" * 1000, "1" * 2000 + "_2", "1" * 2000 + "_{36}", "e^{" * 1500, "2^(3^(4^5))", "%" * 5000, "10%" * 2000],
    *["°" * 3000, "'" * 5000, '"' * 5000, "1,000" * 1500, "1 " * 4000, "1 000 " * 1000, "x = " * 1500 + "5"],
    *["x = 5, " * 1200 + "x = 5", r"\begin{cases}" * 500, r"\begin{align}" + r"x&=1\\" * 900 + r"\end{align}", r"\{" * 3000],
    *[r"\{1," * 500, "(x|x>" * 500, "sin " * 2000 + "x", "sin(" * 2000, "log_" * 1000 + "2", "sqrt" * 2000, "pi" * 3000],
    *["i^{i^{i^{i^{i}}}}", r"|\sqrt{-1}|^{10^{9}}", r"\max(" + ",".join(["1"] * 3000) + ")", r"\int_0^1 x dx"],
    *[r"\lim_{x\to 0} \frac{\sin x}{x}", r"10^{-10^{10}}", r"2^{-2^{2^{30}}}", r"(-1)^{10^{30}}", r"1.0000001^{10^{9}}"],
    *[r"0.5^{10^{9}}", r"\frac{10^{60000}+1}{10^{60000}}", r"\sqrt{10^{100000}+1}", r"e^{10^{5}}", r"e^{-10^{7}}"],
    *[r"\frac{\sqrt{\sqrt{11}+\sqrt{194}}}{2\sqrt{33}+15}", r"[2^{\frac{1}{2^{1000}}},\infty)", "5^(5^(5^(5^5)))"],
]  # fmt: skip
LIMIT = 3.0  # seconds of processor time for one judgement; the slowest takes 0.1 on a quiet machine


def programs(folder: Path) -> list[str]:
    return [wrapper.format(call.format(file=str(folder / "canary"))) for call in CALLS for wrapper in WRAPPERS]


def judge(text: str) -> list[Grade]:
    vote_class(text)
    equivalent(text, r"\sqrt{2}+x")
    return [grade_final(text, "5"), grade_final("5", text), grade_final(f"The answer is ${text}$.", "x^2")]


def longest(texts: list[str]) -> float:
    """Processor seconds of the slowest judgement in this thread; nothing hostile may be called correct."""
    worst = 0.0
    for text in texts:
        begin = time.thread_time()
        grades = judge(text)
        worst = max(worst, time.thread_time() - begin)
        assert "correct" not in {grade.verdict for grade in grades} or text.endswith("5"), text[:80]
    return worst


def forget() -> None:
    """Every answer is read anew."""
    answer._read_once.cache_clear()


def in_a_thread(work: Callable[[], T]) -> T:
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


async def in_a_loop(work: Callable[[], float]) -> float:
    return max(work(), await asyncio.to_thread(work))


def test_there_are_enough_of_them():
    assert len(CALLS) * len(WRAPPERS) >= 50 and len(set(HANGS)) >= 100


@pytest.mark.parametrize(
    "where",
    ["main thread", pytest.param("worker thread", marks=pytest.mark.slow),
     pytest.param("event loop", marks=pytest.mark.slow)],
)  # fmt: skip
def test_nothing_hangs(where):
    def work() -> float:
        return longest(HANGS)

    if where == "main thread":
        assert work() < LIMIT
    elif where == "worker thread":
        assert in_a_thread(work) < LIMIT
    else:
        assert asyncio.run(in_a_loop(work)) < LIMIT


@pytest.mark.parametrize("where", ["main thread", "worker thread", "event loop"])
def test_nothing_is_run(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts = programs(tmp_path)

    def work() -> float:
        return longest(texts)

    if where == "main thread":
        assert work() < LIMIT
    elif where == "worker thread":
        assert in_a_thread(work) < LIMIT
    else:
        assert asyncio.run(in_a_loop(work)) < LIMIT
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_in_process_pools(tmp_path):
    texts = [*programs(tmp_path), *HANGS]
    halves = [texts[::2], texts[1::2]]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert max(pool.map(longest, halves)) < LIMIT
    with multiprocessing.get_context("spawn").Pool(2) as daemons:  # its processes may have no children of their own
        assert max(daemons.map(longest, halves)) < LIMIT
    assert os.listdir(tmp_path) == []


def test_the_calling_process_ends_normally(tmp_path):
    program = tmp_path / "judge.py"
    program.write_text(
        "import threading\nfrom llemma.grade.equal import grade_final\n"
        f"texts = {[text for text in HANGS if len(text) < 200]!r}\n"
        "threads = [threading.Thread(target=grade_final, args=(text, '5')) for text in texts]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "print('done')\n"
    )
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


COSTLY = {  # each element takes a while; all pairs of them took minutes
    "sums": [rf"\sum_{{k=1}}^{{2000}}\frac{{1}}{{k!}}+{j}" for j in range(60)],
    "sums that differ late": [rf"\sum_{{k=1}}^{{2000}}\sin(k)+{j}\cdot 10^{{-25}}" for j in range(60)],
    "surds that differ late": [rf"\sqrt2+{j}\cdot 10^{{-25}}" for j in range(190)],
    "intervals": [rf"(\sum_{{k=1}}^{{2000}}\sin(k)+{j},\sum_{{k=1}}^{{2000}}\sin(k)+{j}.5)" for j in range(60)],
    "equations": [rf"x^{{{j}}} + y^2= \sqrt{{{j}}}" for j in range(150)],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COSTLY)
def test_all_pairs_of_a_long_list_are_one_judgement(name):
    joint = r"\cup" if name == "intervals" else ", "
    one, other = joint.join(COSTLY[name]), joint.join(reversed(COSTLY[name]))
    begin = time.thread_time()
    grade_final(one, other)
    assert time.thread_time() - begin < LIMIT
    vote_class(one)
    assert time.thread_time() - begin < 2 * LIMIT


def test_cancellation_to_nothing_is_one_judgement():
    total = r"10^{400}\sum_{k=1}^{2000}\sin(k)"
    begin = time.thread_time()
    grade_final(f"{total}-{total}", "10^{-390}")
    assert time.thread_time() - begin < LIMIT


@pytest.mark.parametrize("depth", [0, 700, 850, 950])
def test_a_deep_stack_changes_nothing(depth):
    texts = [
        "x/" * 90 + "2",
        "(" * 50 + "1" + ")" * 50,
        r"\frac{1}{" * 40 + "2" + "}" * 40,
        r"\{" * 11 + "1" + r"\}" * 11,
    ]

    def judged(left: int) -> list[object]:
        if left:
            return judged(left - 1)
        return [(vote_class(text), equivalent(text, f"{text}+0"), grade_final(text, "5").verdict) for text in texts]

    expected = judged(0)
    forget()
    assert in_a_thread(lambda: judged(depth)) == expected


def test_a_low_recursion_limit_is_no_error():
    text = r"\frac{1}{" * 12 + "1" + "}" * 12
    before = sys.getrecursionlimit()
    forget()

    def judged() -> list[str]:
        sys.setrecursionlimit(80)
        try:
            return [grade_final(text, "1").verdict, grade_final("5", "5").verdict]
        finally:
            sys.setrecursionlimit(before)

    assert in_a_thread(judged) == ["unparsable", "correct"]
    assert grade_final(text, "1").verdict == "correct"  # what failed was not remembered


def test_only_short_answers_are_remembered():
    forget()
    grade_final("+".join(f"x^{{{k}}}" for k in range(600)), "5")
    assert answer._read_once.cache_info().currsize == 1


def test_memory_stays_flat():
    import resource

    def peak() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB on Linux

    for i in range(10_000):
        grade_final(f"The answer is {i}.", "5")
    before = peak()
    for i in range(30_000):
        grade_final(f"The answer is $\\frac{{{i}}}{{{i + 7}}}$.", f"{i}/{i + 8}")
    assert peak() - before < 20_000

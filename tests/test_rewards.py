"""The reward functions in examples/ and llemma.grade itself: the same rewards wherever a training loop calls them."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.fixture(autouse=True)
def examples(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))


def said(*texts: str) -> list[dict[str, str]]:
    return [{"role": "user" if text.endswith("?") else "assistant", "content": text} for text in texts]


# completion, reference, reward
CASES = [
    ("The answer is 2.", "2", 1.0),
    (r"so \boxed{\frac{4}{2}}", "2", 1.0),
    ("Final Answer: The final answer is $0.5$. I hope it is correct.", r"\frac12", 1.0),
    ("The answer is 3.", "2", 0.0),
    ("I do not know", "2", 0.0),
    ("", "2", 0.0),
    ("__import__('os').system('true')", "2", 0.0),
]


@pytest.mark.parametrize(("text", "answer", "expected"), CASES)
def test_trl_and_verifiers_give_the_same_reward_in_every_form(text, answer, expected):
    import reward_trl
    import reward_verifiers

    parts = [{"role": "assistant", "content": [{"type": "text", "text": text}]}]
    for completion in (text, said(text), said("first I try", "and then?", text), parts):
        assert reward_trl.answer_reward(["q"], [completion], [answer]) == [expected]
        assert reward_verifiers.correct_answer(completion=completion, answer=answer, state={}, info={}) == expected
        awaited = reward_verifiers.correct_answer_async(completion=completion, answer=answer, parser=None)
        assert asyncio.run(awaited) == expected
    trace = SimpleNamespace(last_reply=text)
    assert asyncio.run(reward_verifiers.correct(SimpleNamespace(answer=answer), trace)) == expected


def test_trl_passes_columns_by_name_and_gets_one_reward_per_completion():
    import reward_trl

    texts, answers, expected = (list(column) for column in zip(*CASES, strict=True))
    given = {
        "prompts": ["q"] * len(texts),
        "completions": texts,
        "answer": answers,
        "completion_ids": [[1]] * len(texts),
    }
    assert reward_trl.answer_reward(**given, trainer_state=None, log_extra=print, log_metric=print) == expected
    with pytest.raises(ValueError, match="zip"):
        reward_trl.answer_reward(["q"], ["2"], ["2", "3"])


def test_a_reference_nobody_can_read_teaches_nothing():
    import reward_trl

    assert reward_trl.answer_reward(["q", "q"], ["The answer is 2."] * 2, ["", "2"]) == [None, 1.0]


def test_a_grader_out_of_time_teaches_nothing(monkeypatch):
    import reward_trl

    import llemma

    def slow(prediction: str, reference: str, task: str | None = None) -> llemma.Grade:
        return llemma.Grade(verdict="timeout" if prediction == "hard" else "correct", answer=None, reason="")

    monkeypatch.setattr(reward_trl.llemma, "grade", slow)
    assert reward_trl.answer_reward(["q", "q"], ["hard", "easy"], ["for this test only"] * 2) == [None, 1.0]


def test_a_rubric_takes_them_for_functions_of_one_rollout():
    import reward_verifiers

    plural = {"states", "prompts", "completions", "answers", "tasks", "infos"}  # by these it knows group functions
    for function in (reward_verifiers.correct_answer, reward_verifiers.correct_answer_async):
        parameters = inspect.signature(function).parameters
        assert not plural & parameters.keys()
        assert any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    assert list(inspect.signature(reward_verifiers.correct).parameters) == ["task", "trace"]


EVERYWHERE = """
import asyncio, multiprocessing, sys, threading, time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import llemma
import reward_trl
import reward_verifiers

PAIRS = [
    ("The answer is 2.", "2"), ("The answer is 3.", "2"), (r"\\boxed{\\frac{4}{2}}", "2"), ("", "2"),
    (r"\\boxed{9^{9^{9^{9}}}}", "2"), ("The answer is $(1,2)$.", "(1,2)"), (r"\\boxed{x^2-1}", "(x-1)(x+1)"),
    (r"\\boxed{\\frac{\\sqrt{\\sqrt{11}+\\sqrt{194}}}{2\\sqrt{33}+15}}",
     r"\\frac{\\sqrt{\\sqrt{194}+\\sqrt{11}}}{15+2\\sqrt{33}}"),
    (r"\\boxed{\\binom{10^{9}}{5\\cdot 10^{8}}}", "1"), (r"\\boxed{99999999!}", "1"),
]
TEXTS, ANSWERS = [text for text, _ in PAIRS], [answer for _, answer in PAIRS]


def rewards():
    return reward_trl.answer_reward([""] * len(TEXTS), TEXTS, ANSWERS)


def verdicts(_=None):
    return [llemma.grade(text, answer).verdict for text, answer in PAIRS]


async def awaited():
    return await asyncio.gather(*map(reward_verifiers.correct_answer_async, TEXTS, ANSWERS))


def main():
    expected = verdicts()
    assert expected[:4] == ["correct", "wrong", "correct", "unparsable"], expected
    given = rewards()
    assert given[:4] == [1.0, 0.0, 1.0, 0.0], given
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(verdicts, range(3))) == [expected] * 3
        assert threads.submit(rewards).result() == given
    assert asyncio.run(awaited()) == [float(verdict == "correct") for verdict in expected]
    assert asyncio.run(inside_a_loop()) == expected
    for method in multiprocessing.get_all_start_methods():
        context = multiprocessing.get_context(method)
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            assert list(pool.map(verdicts, range(2))) == [expected] * 2
            assert pool.submit(rewards).result() == given
            assert pool.submit(llemma.grade, *PAIRS[0]).result().verdict == "correct"  # the module travels
        with context.Pool(1) as pool:  # its processes are daemonic: they may have no children of their own
            assert pool.apply(verdicts) == expected
            assert [grade.verdict for grade in pool.starmap(llemma.grade, PAIRS)] == expected
    print("the same everywhere")


async def inside_a_loop():
    return verdicts()


if __name__ == "__main__":
    main()
"""


@pytest.mark.slow
def test_threads_event_loops_and_process_pools_get_the_same_grades_and_the_process_ends(tmp_path):
    program = tmp_path / "everywhere.py"
    program.write_text(EVERYWHERE)
    command = [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", str(program)]
    path = f"{EXAMPLES.parent / 'src'}:{EXAMPLES}"
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
        env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "the same everywhere\n"

"""One question: the vote, the working that is shown, and what happens without an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from llemma.backends import Request
from llemma.errors import BackendError, ConfigError
from llemma.evaluate.ask import ask
from llemma.evaluate.settings import SolveConfig
from llemma.records import Completion, Sampling


class Says:
    """Gives these texts one after the other."""

    batch = 8
    info: Mapping[str, str] = {"engine": "says"}

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.asked: list[tuple[Request, Sampling]] = []

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        self.asked += [(request, sampling) for request in requests]
        return [Completion(text=self.texts[r.k % len(self.texts)], finish="stop", tokens=5) for r in requests]


def final(answer: str, why: str = "So.") -> str:
    return f"\n{why}\nFinal Answer: The final answer is ${answer}$. "


def settings(**changes: Any) -> SolveConfig:
    return SolveConfig(**{"question": "What is 1/2 + 1/4?", "model": "says:", "samples": 5, **changes})


def test_equal_answers_vote_together_and_the_first_of_them_is_shown() -> None:
    texts = (final("0.5"), final("3/4", "One."), final(r"\frac{3}{4}", "Two."), "no idea", final("0.75", "Three."))
    solved = ask(settings(), Says(*texts))
    assert (solved.answer, solved.working) == ("3/4", final("3/4", "One.").strip())
    assert [(vote.answer, vote.count) for vote in solved.votes] == [("3/4", 3), ("0.5", 1)]
    assert [sample.vote for sample in solved.samples] == [0, 1, 1, None, 1]


def test_without_an_answer_nothing_is_elected() -> None:
    solved = ask(settings(samples=2), Says("hm", "no"))
    assert (solved.answer, solved.votes, solved.working) == (None, (), None)
    assert [sample.text for sample in solved.samples] == ["hm", "no"]


def test_one_sample_is_greedy_and_more_have_seeds_of_their_own() -> None:
    one, many = Says(final("1")), Says(final("1"))
    ask(settings(samples=1), one)
    ask(settings(samples=4), many)
    assert one.asked[0][1].temperature == 0.0 and many.asked[0][1].temperature == 0.6
    assert len({request.seed for request, _ in many.asked}) == 4
    prompt = one.asked[0][0].prompt
    assert prompt.count("Problem:") == 5 and prompt.endswith("Problem:\nWhat is 1/2 + 1/4?\n\nSolution:")
    bare = Says(final("1"))
    ask(settings(shots=0), bare)
    assert bare.asked[0][0].prompt == "Problem:\nWhat is 1/2 + 1/4?\n\nSolution:"


def test_a_failing_model_and_a_bad_name_are_told() -> None:
    class Broken(Says):
        def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
            raise OSError("gone")

    with pytest.raises(BackendError, match="gone"):
        ask(settings(), Broken())
    with pytest.raises(ConfigError, match="known kinds"):
        ask(settings(model="nothing"))
    for wrong in ({"question": " "}, {"samples": 0}, {"shots": 5}):
        with pytest.raises(ValueError):
            settings(**wrong)


def test_the_command_shows_working_and_votes(llemma: Any, tmp_path: Any) -> None:
    (tmp_path / "says.py").write_text(
        '"""Says 7."""\n'
        "from llemma import Completion\n"
        "class Seven:\n"
        "    batch, info = 4, {'engine': 'seven'}\n"
        "    def complete(self, requests, sampling):\n"
        "        text = ' Four and three. Final Answer: The final answer is $7$. '\n"
        "        return [Completion(text=text, finish='stop', tokens=3) for _ in requests]\n"
        "def open(target):\n"
        "    return Seven()\n"
    )
    done = llemma("solve", "What is 3 + 4, if x = 2?", "model=says.py:x", "samples=3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Four and three.") and "answer: 7   (3 of 3 samples vote)" in done.stdout

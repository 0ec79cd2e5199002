"""The graders that bench/grade.py compares, each behind the same two functions.

A peer is loaded in a process of its own. ``answer(prediction, reference)`` judges two final answers; ``text`` judges a
completion, for graders that look for the answer themselves. They are called as their authors call them, with their own
time limits on, and get the strings as they are but for the dollars or the box that their parser wants around them.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
import importlib.util
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

Judge = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grader:
    """How a loaded grader judges; ``text`` is ``None`` where it does not look for answers in a text."""

    answer: Judge
    text: Judge | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A grader, the distribution it comes in, and how it is installed (a test run needs no peer)."""

    package: str
    install: str
    load: Callable[[], Grader]
    children: bool = False  # whether it works in child processes that outlive a call

    def version(self) -> str | None:
        """The installed version; ``None`` when it is not installed."""
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            return None


def _llemma() -> Grader:
    import llemma

    def judge(prediction: str, reference: str) -> bool:
        return bool(llemma.grade(prediction, reference).verdict == "correct")

    return Grader(answer=judge, text=judge)


def _math_verify() -> Grader:
    from math_verify import parse, verify

    def answer(prediction: str, reference: str) -> bool:
        return bool(verify(parse(_dollars(reference)), parse(_dollars(prediction))))

    def text(prediction: str, reference: str) -> bool:
        return bool(verify(parse(_dollars(reference)), parse(prediction)))

    return Grader(answer=answer, text=text)


def _inspect() -> Grader:
    from inspect_ai.scorer import Target, math

    score = math()
    loop = asyncio.new_event_loop()  # one for all pairs, as in an evaluation

    def judge(completion: str, reference: str) -> bool:
        state = SimpleNamespace(output=SimpleNamespace(completion=completion))
        found = loop.run_until_complete(score(state, Target(reference)))  # type: ignore[arg-type]
        assert found is not None
        return found.value == "C"

    return Grader(answer=lambda prediction, reference: judge(_boxed(prediction), reference), text=judge)


def _minerva() -> Grader:
    from lm_eval.tasks.minerva_math.utils import is_equiv, normalize_final_answer

    def answer(prediction: str, reference: str) -> bool:
        mine, theirs = normalize_final_answer(prediction), normalize_final_answer(reference)
        return bool(is_equiv(mine, theirs))

    return Grader(answer=answer)


def _prm800k() -> Grader:
    # verl keeps a copy of prm800k's grader; its own packages import Ray and need not run for that.
    spec = importlib.util.find_spec("verl")
    assert spec is not None and spec.submodule_search_locations
    root = spec.submodule_search_locations[0]
    for name in ("verl", "verl.utils", "verl.utils.reward_score"):
        module = types.ModuleType(name)
        module.__path__ = [root + name.removeprefix("verl").replace(".", "/")]
        sys.modules[name] = module
    return Grader(answer=importlib.import_module("verl.utils.reward_score.prime_math").grade_answer)


def _qwen() -> Grader:
    # evalscope up to 1.0 kept a copy of Qwen2.5-Math's grader
    spec = importlib.util.find_spec("evalscope")
    assert spec is not None and spec.submodule_search_locations
    root = spec.submodule_search_locations[0]
    for name in ("evalscope", "evalscope.metrics"):
        module = types.ModuleType(name)
        module.__path__ = [root + name.removeprefix("evalscope").replace(".", "/")]
        sys.modules[name] = module
    qwen = importlib.import_module("evalscope.metrics.math_parser")

    def answer(prediction: str, reference: str) -> bool:
        mine, theirs = qwen.strip_answer_string(prediction), qwen.strip_answer_string(reference)
        return bool(qwen.math_equal(mine, theirs, timeout=True))

    def text(prediction: str, reference: str) -> bool:
        return answer(qwen.extract_answer(prediction), reference)

    return Grader(answer=answer, text=text)


def _dollars(answer: str) -> str:
    """Between dollars and nothing else: of the forms that Math-Verify reads, the one with fewest mistakes."""
    return f"${answer.strip().strip('$')}$"


def _boxed(answer: str) -> str:
    r"""In ``\boxed``, as the end of a solution would have it."""
    return answer if "\\boxed" in answer else f"\\boxed{{{answer.strip().strip('$')}}}"


PEERS = {
    "llemma": Peer(package="llemma", install="pip install .", load=_llemma, children=True),
    "Math-Verify": Peer(package="math-verify", install="pip install math-verify==0.9.0", load=_math_verify),
    "inspect_ai math": Peer(package="inspect-ai", install="pip install inspect-ai math-verify==0.9.0", load=_inspect),
    "lm-eval minerva": Peer(package="lm-eval", install="pip install 'lm-eval[math]'", load=_minerva),
    "prm800k (verl)": Peer(
        package="verl", install="pip install torch pylatexenc; pip install --no-deps verl==0.9.1", load=_prm800k
    ),
    "Qwen2.5-Math (evalscope)": Peer(
        package="evalscope",
        install="pip install latex2sympy2_extended word2number regex; pip install --no-deps evalscope==1.0.2",
        load=_qwen,
    ),
}

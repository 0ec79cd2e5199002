"""Few-shot examples: the paper's, loaded by sha256 and never copied here, or our own; says which were used.

The paper's examples are read from ``LLEMMA_DATA/prompts`` or out of the original source file at its pinned commit,
where they are the value of one assignment; the file is parsed, never run.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llemma.errors import ConfigError, DataError
from llemma.fetch import Remote, cached, data_folder, fetch, github, offline
from llemma.records import Event, Progress, Shot, silent

Choice = Literal["auto", "paper", "own"]
HELP = "few-shot examples: paper (its own, loaded by sha256), own (ours), auto (the paper's when they can be had)"

_REPO = "wellecks/lm-evaluation-harness"
_COMMIT = "bec2172e72be4adc70e85957cc97a2fbe70c207b"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Examples of the paper: the value of ``name`` in a source file, and its sha256 as UTF-8."""

    file: str
    path: str
    name: str
    sha256: str
    source_sha256: str
    repo: str = _REPO
    commit: str = _COMMIT

    @property
    def remote(self) -> Remote:
        """The source file that holds it."""
        return github(self.repo, self.commit, self.path, self.source_sha256)

    @property
    def origin(self) -> str:
        """Where it stands, as text for people."""
        return f"{self.repo}@{self.commit[:7]}:{self.path}:{self.name}"


PUBLISHED = {
    "gsm8k": Published(
        file="gsm8k__PROMPT.txt", path="lm_eval/tasks/gsm8k.py", name="PROMPT",
        sha256="10ac6d4e9c9ed3ab67597ef071a95fc1dfeb51c5249f97b1e8dcc0d9b0da556b",
        source_sha256="319405c47389bd357af068e19d57097e3a20c147a72121e644b389da183a5c7e",
    ),
    "math": Published(
        file="minerva_math__NL_PROMPT.txt", path="lm_eval/tasks/minerva_math.py", name="NL_PROMPT",
        sha256="00e83b645e0473fc5787e78afe3e452786f8f260cf7623f3aa9f93a792989806",
        source_sha256="4fbbe00d86e4b6b3f3ac97dcab2e176f6db2dbd6ef4e1811ca85f5c297d98fe7",
    ),
    "ocw": Published(
        file="ocw_courses__NL_PROMPT.txt", path="lm_eval/tasks/ocw_courses.py", name="NL_PROMPT",
        sha256="25503d230bd17bc253696a562603365fa87c6bb43c898aaa1e09e43467a1ef11",
        source_sha256="ec58e4f632f4647534289c2169e60012507b6a154dde0e4ca390a98e2c2898c7",
    ),
    "mmlu_stem": Published(
        file="hendrycks_test_cot__MCQA_PROMPT.txt", path="lm_eval/tasks/hendrycks_test_cot.py", name="MCQA_PROMPT",
        sha256="859846f64a052437912a44379850710a2ca7f6745946227b6bfbafa09b19de5a",
        source_sha256="7f4067d724b9de0940817a282e773504db233a043ae59d95f5a61d3f6fa90a5a",
    ),
    "sat": Published(
        file="math_sat_cot__MCQA_PROMPT.txt", path="lm_eval/tasks/math_sat_cot.py", name="MCQA_PROMPT",
        sha256="859846f64a052437912a44379850710a2ca7f6745946227b6bfbafa09b19de5a",
        source_sha256="2a40582b95c2e4672dc5635b75ad8b53b64078ed6d90203b8255769842b99dd4",
    ),
    "math_python": Published(
        file="sympy_math__PROMPT.txt", path="lm_eval/tasks/sympy_math.py", name="PROMPT",
        sha256="d532ff701a4bf9e48cd32e9c1abf17917c5842de0cdcf2a2d9fb4a3def12a953",
        source_sha256="464b5f4a354960620a0e2f323520eb7d68c32f14e29001d5028a71af4e556648",
    ),
    "gsm8k_python": Published(
        file="python_gsm__PAL_PROMPT.txt", path="lm_eval/tasks/python_gsm.py", name="PAL_PROMPT",
        sha256="1ba4a68d9e613743339cc1c46e12f8a22e10993cfc4f0d31321324f03f96210b",
        source_sha256="bcfe1f1c17a1da7f09b5f755cead7a510dece8f9b40fcc2c0ac4db93bb915256",
    ),
    "formal2formal": Published(
        file="formal2formal__fewshot.txt", path="proofsearch.py", name="prompt",
        sha256="98d756b0d69ed172cafc18c98237cd71fd6c15e2a0e063d1d0ddd0414b55f1b0",
        source_sha256="277a4728bbced64c3353b0a2fec8044ed32dab7cb07c306dc9d037d07060a866",
        repo="wellecks/llemma_formal2formal", commit="0931a1e27ede893b14b30da601dbf97f2b3ab42d",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How a prompt is written: each example begins with ``head``, its answer after ``turn``; ``between`` separates."""

    head: str
    turn: str
    between: str = "\n\n"


WORDS = Form(head="Q:", turn="\nA:")
MINERVA = Form(head="Problem:", turn="\nSolution:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shots:
    """The examples before the question: one text that ends where the question begins, the single ones, identity."""

    prefix: str
    single: tuple[Shot, ...]
    meta: Mapping[str, Any]


def shots(
    name: str, own: Sequence[Shot], choice: Choice, count: int | None, form: Form, gold: Callable[[str], str | None]
) -> Shots:
    """``count`` examples (None: all) of the paper's prompt ``name`` or of ``own``; fewer are its first ones.

    ``gold`` finds the answer in the completion of one of the paper's examples. Raises ConfigError for more examples
    than there are and DataError when ``paper`` cannot be had.
    """
    found = published(name, choice)
    single = list(own) if found is None else [_shot(part, form, gold) for part in split(found, form)]
    origin = "llemma" if found is None else PUBLISHED[name].origin
    if count is not None and not 0 <= count <= len(single):
        raise ConfigError(f"shots={count}: there are examples for 0 to {len(single)} ({origin})")
    single = single[:count]
    text = form.between.join(shot.question + shot.completion for shot in single)
    prefix = text + form.between if single else ""
    meta = identity("own" if found is None else "paper", origin, text, len(single))
    return Shots(prefix=prefix, single=tuple(single), meta=meta)


def _shot(part: str, form: Form, gold: Callable[[str], str | None]) -> Shot:
    question, turn, completion = part.partition(form.turn)
    return Shot(question=question + turn, completion=completion, answer=gold(completion))


def identity(kind: str, origin: str, text: str, count: int) -> dict[str, Any]:
    """What a result says of its prompt: kind, origin, number of examples, sha256 of their text."""
    return {"prompt": kind, "prompt_origin": origin, "prompt_sha256": _sha256(text), "shots": count}


def published(name: str, choice: Choice, progress: Progress = silent) -> str | None:
    """The paper's prompt, or None when our own are to be used. Raises DataError when ``paper`` cannot be had."""
    if choice == "own":
        return None
    prompt = PUBLISHED[name]
    if (text := _from_data(prompt)) is not None:
        return text
    path = cached(prompt.remote)
    if path is None and choice == "auto" and offline():
        return None
    try:
        return _literal(path or fetch(prompt.remote), prompt)
    except DataError as error:
        if choice == "paper":
            raise DataError(
                f"the paper's examples cannot be had ({error}); put {prompt.file} into LLEMMA_DATA/prompts, allow "
                "fetching, or take ours with options.prompt=own"
            ) from error
        progress(Event(stage="prompt", note=f"our own examples are used: {error}"))
        return None


def split(text: str, form: Form) -> list[str]:
    """The single examples of a prompt; joined with ``between`` they are the prompt again, byte for byte."""
    parts = text.split(form.between + form.head)
    return [parts[0], *(form.head + part for part in parts[1:])]


def _from_data(prompt: Published) -> str | None:
    folder = data_folder()
    path = folder / "prompts" / prompt.file if folder is not None else None
    if path is None or not path.is_file():
        return None
    text = path.read_bytes().decode("utf-8", "replace")
    if _sha256(text) != prompt.sha256:
        raise DataError(
            f"its sha256 is {_sha256(text)}, expected {prompt.sha256}; remove it or put the original", where=path
        )
    return text


def _literal(path: Path, prompt: Published) -> str:
    """The text that the file assigns to ``name``; a method called on it there is left out."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(t, ast.Name) and t.id == prompt.name for t in targets):
            for part in ast.walk(node):
                if (
                    isinstance(part, ast.Constant)
                    and isinstance(part.value, str)
                    and _sha256(part.value) == prompt.sha256
                ):
                    return part.value
    raise DataError(f"holds no {prompt.name} with sha256 {prompt.sha256}", where=path)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

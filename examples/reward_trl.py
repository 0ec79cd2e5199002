"""A reward for trl's GRPOTrainer: 1 for an answer that equals the reference, 0 for any other text.

The data set needs a column ``answer`` with the final answer of each prompt (``"\\frac12"``, ``"(2, 5)"``), not a
solution. Then ``GRPOTrainer(model=…, reward_funcs=answer_reward, train_dataset=…)``. Tried with trl 1.16: a training
step on plain prompts and one on conversations.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import llemma


def answer_reward(
    prompts: Sequence[Any], completions: Sequence[Any], answer: Sequence[str], **kwargs: Any
) -> list[Any]:
    """One reward per completion, in order; ``None`` where nothing can be learned from the sample.

    ``None`` (trl leaves the sample out of this reward) when the grader ran out of time, because a right answer may
    be behind it, and when the reference itself is no readable answer, because then every completion would be wrong.
    """
    return [reward(text_of(completion), str(right)) for completion, right in zip(completions, answer, strict=True)]


def reward(text: str, answer: str) -> float | None:
    """The reward of one completion."""
    if not readable(answer):
        return None
    verdict = llemma.grade(text, answer).verdict
    return None if verdict == "timeout" else float(verdict == "correct")


@functools.lru_cache(maxsize=100_000)
def readable(answer: str) -> bool:
    """Whether a reference equals itself: what the grader cannot read does not."""
    return llemma.grade(answer, answer).verdict == "correct"


def text_of(completion: Any) -> str:
    """The text of a completion: itself, or what the last assistant message of a conversation says."""
    if isinstance(completion, str):
        return completion
    said = [message["content"] for message in completion if message["role"] == "assistant"]
    content = said[-1] if said else ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or ())  # text and images in parts

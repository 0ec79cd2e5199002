"""Rewards for verifiers: 1 for an answer that equals the reference, 0 for any other text.

Up to verifiers 0.3 a rubric takes ``correct_answer`` (or ``correct_answer_async``, which leaves the event loop free
while a hard pair is graded): ``Rubric(funcs=[correct_answer])``. From verifiers 0.4 on a task takes ``correct``: as
a ``@vf.reward`` method, or plugged in by its path, ``rewards={"correct": {"fn": "reward_verifiers.py:correct"}}``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import llemma


def correct_answer(completion: Any, answer: str, **kwargs: Any) -> float:
    """The reward of one rollout, for a rubric."""
    return float(llemma.grade(text_of(completion), str(answer)).verdict == "correct")


async def correct_answer_async(completion: Any, answer: str, **kwargs: Any) -> float:
    """The same in a thread of its own; the grader needs no signals, so a thread is as safe as any place."""
    return await asyncio.to_thread(correct_answer, completion, answer)


async def correct(task: Any, trace: Any) -> float:
    """The reward of one trace, for a task whose data has a field ``answer`` (verifiers 0.4)."""
    return await correct_answer_async(trace.last_reply, task.answer)


def text_of(completion: Any) -> str:
    """The text of a completion: itself, or what the last assistant message of a conversation says."""
    if isinstance(completion, str):
        return completion
    said = [_part(message, "content") for message in completion if _part(message, "role") == "assistant"]
    content = said[-1] if said else ""
    if isinstance(content, str):
        return content
    return "".join(_part(part, "text") or "" for part in content or ())


def _part(record: Any, name: str) -> Any:
    """A field of a message, which is a dictionary or an object."""
    return record.get(name) if isinstance(record, Mapping) else getattr(record, name, None)

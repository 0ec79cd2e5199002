"""Beam search on our own engine: the likeliest continuations of one prompt, the same ones every time.

The paper's prover asked vLLM for ``use_beam_search`` with 32 beams, which vLLM no longer has. The rules are those: a
beam is finished by the end mark or a stop string, finished beams are ranked by log-probability per token, and the
search ends when no running beam can still come among the best.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from llemma.models.generate import Generated, Prefilled
from llemma.models.llama import Llama


@dataclass(frozen=True, slots=True, kw_only=True)
class Beams:
    """How many beams, of at most how many tokens; ``ended`` tells whether ids end in a stop string."""

    width: int
    max_tokens: int
    ended: Callable[[Sequence[int]], bool]
    end_id: int | None = None


@dataclass(frozen=True, slots=True)
class _Beam:
    ids: tuple[int, ...]
    logprob: float


@torch.no_grad()
def beam_search(model: Llama, prompt: Sequence[int], how: Beams) -> list[Generated]:
    """Up to ``how.width`` continuations of a prompt (non-empty ids), the highest log-probability per token first.

    Among equals the earlier beam and the smaller token come first. A prompt that would pass the model's context with
    its continuation must be cut by the caller.
    """
    state = Prefilled(model, prompt)
    running, finished = [_Beam((), 0.0)], list[Generated]()
    logits = state.logits
    for t in range(1, how.max_tokens + 1):
        parents, running = _extend(running, logits, how, finished)
        best = sorted(map(_score, finished), reverse=True)[: how.width]
        if not running or (len(best) == how.width and running[0].logprob / t <= best[-1]):
            running = []
            break
        if t < how.max_tokens:
            state.keep(parents)
            logits = state.advance([beam.ids[-1] for beam in running])
    finished += [Generated(ids=beam.ids, finish="length", logprob=beam.logprob) for beam in running]
    return sorted(finished, key=_score, reverse=True)[: how.width]  # stable: those found first stay first


def _extend(
    running: Sequence[_Beam], logits: Tensor, how: Beams, finished: list[Generated]
) -> tuple[list[int], list[_Beam]]:
    """The next beams with the numbers of those they go on from; what ends with this token is added to ``finished``."""
    logp = logits.float().log_softmax(-1)  # (B, V)
    totals = (logp.double() + torch.tensor([[beam.logprob] for beam in running], device=logp.device)).cpu()
    vocabulary = totals.shape[1]
    flat = totals.flatten().numpy()
    wanted = min(2 * how.width, len(flat))  # at most half of them end here, with one end mark a beam
    least = np.partition(flat, -wanted)[-wanted]
    likely = np.flatnonzero(flat >= least)  # by beam, then token: ties are settled by the stable sort
    order = likely[np.argsort(-flat[likely], kind="stable")]
    parents, following = list[int](), list[_Beam]()
    for place in order.tolist():
        if len(following) == how.width:
            break
        parent, token = divmod(place, vocabulary)
        total, ids = float(flat[place]), running[parent].ids
        if token == how.end_id:
            finished.append(Generated(ids=ids, finish="eos", logprob=total))
        elif how.ended((*ids, token)):
            finished.append(Generated(ids=(*ids, token), finish="stop", logprob=total))
        else:
            parents.append(parent)
            following.append(_Beam((*ids, token), total))
    return parents, following


def tokens_of(made: Generated) -> int:
    """The tokens a continuation counts, its end mark included."""
    return len(made.ids) + (made.finish == "eos")


def _score(made: Generated) -> float:
    return made.logprob / max(tokens_of(made), 1)

"""Batched generation with a key-value cache: a shared prompt prefix is computed once for the whole batch.

Made for evaluation: many samples of problems that share few-shot examples. The common prefix of all prompts
is found token by token, run once, and its keys and values serve every row as one matrix product. Finished
rows leave the batch. A row's random choices depend on its own seed only; in floating point its logits also
depend, in the last bits, on which rows share its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from llemma.models.llama import Block, Llama

GROW = 32  # slots the cache grows by
SHRINK = 0.8  # the cache is repacked when fewer than this share of its rows is still being written


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """The ids a row produced (end mark left out), why it ended (eos, stop, length), its log-probability.

    ``logprob`` is the sum over all produced tokens, in nats, under the model at temperature 1.
    """

    ids: tuple[int, ...]
    finish: str
    logprob: float


# Told the row and the token just produced, says whether the row's text now ends in a stop string.
Stopper = Callable[[int, int], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How tokens are chosen. ``seeds`` has one seed a row; temperature 0 is greedy."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seeds: Sequence[int] = ()
    end_id: int | None = None


class _Cache:
    """Keys and values of each layer: ``prefix`` (K, P, D) shared by all rows, ``own`` (B·K, slots, D) by row.

    The slots grow in steps of ``GROW``: products over a whole contiguous buffer with a few masked slots are
    three times as fast as products over a slice of a longer one.
    """

    def __init__(self, model: Llama, rows: int) -> None:
        c = model.config
        self.heads, self.slots = c.num_key_value_heads, 0
        weight = model.lm_head.weight
        self.prefix: list[tuple[Tensor, Tensor]] = []
        empty = torch.zeros((rows * self.heads, 0, c.head_dim), dtype=weight.dtype, device=weight.device)
        self.own = [(empty, empty)] * c.num_hidden_layers

    def reserve(self, slots: int) -> None:
        """Make room for at least this many slots a row."""
        if slots <= self.slots:
            return
        self.slots = -(-slots // GROW) * GROW
        pad = (0, 0, 0, self.slots - self.own[0][0].shape[1])
        self.own = [(F.pad(k, pad), F.pad(v, pad)) for k, v in self.own]

    def keep(self, rows: Tensor) -> None:
        """Leave these rows, in this order; one that is named several times is copied."""
        index = (rows[:, None] * self.heads + torch.arange(self.heads)).flatten().to(self.own[0][0].device)
        self.own = [(k[index], v[index]) for k, v in self.own]


@torch.no_grad()
def generate(model: Llama, prompts: Sequence[Sequence[int]], how: Decoding, stopped: Stopper) -> list[Generated]:
    """Continue each prompt (non-empty lists of ids) by up to ``how.max_tokens`` tokens.

    Rows whose prompt plus output would pass the model's context must be cut by the caller.
    """
    prefix, all_rest = split_prefix(prompts)
    number = {rest: i for i, rest in enumerate(dict.fromkeys(map(tuple, all_rest)))}
    rest = list(number)  # samples of one problem are computed once up to where they part
    width = max(len(r) for r in rest)
    cache = _Cache(model, len(rest))
    if prefix:
        _run_prefix(model, prefix, cache)
    # rows are aligned on the right: row i starts at slot width - len(rest[i])
    ids = torch.zeros((len(rest), width), dtype=torch.long)
    for i, r in enumerate(rest):
        ids[i, width - len(r) :] = torch.tensor(r)
    start = torch.tensor([width - len(r) for r in rest])
    logits = _advance(model, ids, 0, start, len(prefix), cache)
    if len(rest) < len(prompts):
        source = torch.tensor([number[tuple(r)] for r in all_rest])  # (rows,): whose prompt each row continues
        cache.keep(source)
        start, logits = start[source], logits[source.to(logits.device)]
    return _Decoder(model, how, stopped, cache, start, len(prefix), width).run(logits)


class Prefilled:
    """One prompt in the cache, to be continued by a changing set of rows; ``logits`` (1, V) stand after its end."""

    def __init__(self, model: Llama, prompt: Sequence[int]) -> None:
        self._model, self._cache, self._used = model, _Cache(model, 1), 1
        self._prefix, self._start = len(prompt) - 1, torch.zeros(1, dtype=torch.long)
        if self._prefix:
            _run_prefix(model, list(prompt[:-1]), self._cache)
        last = torch.tensor([[prompt[-1]]])
        self.logits = _advance(model, last, 0, self._start, self._prefix, self._cache)

    def keep(self, rows: Sequence[int]) -> None:
        """Leave these rows, in this order; one that is named several times is copied."""
        self._cache.keep(torch.tensor(rows))
        self._start = torch.zeros(len(rows), dtype=torch.long)

    def advance(self, tokens: Sequence[int]) -> Tensor:
        """Feed one token a row; the logits (rows, V) after it."""
        ids = torch.tensor(tokens)[:, None]
        logits = _advance(self._model, ids, self._used, self._start, self._prefix, self._cache)
        self._used += 1
        return logits


class Fed:
    """Rows of equal length that are fed embedded tokens, call after call, over one cache."""

    def __init__(self, model: Llama, rows: int) -> None:
        self._model, self._cache, self._used = model, _Cache(model, rows), 0
        self._start = torch.zeros(rows, dtype=torch.long)

    def __call__(self, embedded: Tensor) -> Tensor:
        """(B, n, width) the next tokens of each row → the hidden state (B, width) after the last of them."""
        hidden = _feed(self._model, embedded, self._used, self._start, 0, self._cache)
        self._used += embedded.shape[1]
        return hidden


def split_prefix(prompts: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """The longest prefix of ids that all prompts share, leaving each at least one id of its own."""
    ids = [list(p) for p in prompts]
    first, last = min(ids), max(ids)
    shared = 0
    while shared < min(len(first), len(last)) and first[shared] == last[shared]:
        shared += 1
    shared = max(0, min(shared, min(map(len, prompts)) - 1))
    return list(prompts[0][:shared]), [list(p[shared:]) for p in prompts]


class _Decoder:
    """The decode loop over the rows that are still alive."""

    def __init__(
        self, model: Llama, how: Decoding, stopped: Stopper, cache: _Cache, start: Tensor, prefix: int, width: int
    ) -> None:
        self.model, self.how, self.stopped, self.cache = model, how, stopped, cache
        self.start, self.prefix, self.used = start, prefix, width
        rows = len(start)
        self.row = np.arange(rows)  # the original number of each row of the cache
        self.alive = np.ones(rows, dtype=bool)  # by row of the cache
        self.ids: list[list[int]] = [[] for _ in range(rows)]
        self.finish = ["length"] * rows
        self.logprob = np.zeros(rows)
        seeds = list(how.seeds) or [0] * rows
        self.uniform = np.stack([np.random.default_rng(s).random(how.max_tokens) for s in seeds])

    def run(self, logits: Tensor) -> list[Generated]:
        for t in range(self.how.max_tokens):
            chosen, logp = self._choose(logits, t)
            self._record(chosen.tolist(), logp.tolist())
            if not self.alive.any() or t + 1 == self.how.max_tokens:
                break
            if self.alive.mean() < SHRINK:
                kept = torch.from_numpy(np.flatnonzero(self.alive))
                self.cache.keep(kept)
                self.start, chosen = self.start[kept], chosen[kept]
                self.row, self.alive = self.row[self.alive], self.alive[self.alive]
            logits = _advance(self.model, chosen[:, None], self.used, self.start, self.prefix, self.cache)
            self.used += 1
        results = zip(self.ids, self.finish, self.logprob.tolist(), strict=True)
        return [Generated(ids=tuple(ids), finish=finish, logprob=logprob) for ids, finish, logprob in results]

    def _choose(self, logits: Tensor, t: int) -> tuple[Tensor, Tensor]:
        logits = logits.float()
        if self.how.temperature == 0:
            chosen = logits.argmax(-1)
        else:
            u = torch.from_numpy(self.uniform[self.row, t]).to(logits.device)
            chosen = sample(logits / self.how.temperature, self.how.top_p, u)
        logp = logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(-1)
        return chosen, logp

    def _record(self, chosen: list[int], logp: list[float]) -> None:
        for i in np.flatnonzero(self.alive):
            row, token = int(self.row[i]), chosen[i]
            self.logprob[row] += logp[i]
            if token == self.how.end_id:
                self.finish[row], self.alive[i] = "eos", False
                continue
            self.ids[row].append(token)
            if self.stopped(row, token):
                self.finish[row], self.alive[i] = "stop", False


def sample(logits: Tensor, top_p: float, u: Tensor) -> Tensor:
    """Nucleus sampling by inversion: (B, V) logits and one uniform number in [0, 1) a row → (B,) ids.

    The nucleus is the smallest set of most probable tokens whose mass reaches ``top_p`` (Holtzman et al. 2020), the
    lower id first among equals. Within it the tokens share the unit interval in the order of their ids.
    """
    p = logits.double().softmax(-1)
    if top_p < 1:
        p = torch.where(_nucleus(p, top_p), p, 0)
    cumulative = p.cumsum(-1)
    # the first token whose share reaches beyond u: one with a share of its own, so never one outside
    return (cumulative <= (u * cumulative[:, -1])[:, None]).sum(-1)


def _nucleus(p: Tensor, top_p: float) -> Tensor:
    """Which of the (B, V) probabilities belong to the nucleus of their row."""
    falling = _falling(p)
    inside = falling.cumsum(-1) - falling < top_p  # the token that crosses the line belongs to it
    least = falling.gather(1, inside.sum(-1, keepdim=True) - 1)
    equal = p == least
    wanted = (inside & (falling == least)).sum(-1, keepdim=True)  # of those that are as probable as the last
    return (p > least) | (equal & (equal.cumsum(-1) <= wanted))


def _falling(p: Tensor) -> Tensor:
    """Each row's probabilities, the largest first; on CPU by numpy, whose vector sort is several times as fast."""
    if p.device.type == "cpu":
        return torch.from_numpy(-np.sort(-p.numpy(), axis=-1))
    return p.sort(dim=-1, descending=True).values


def _blocks(model: Llama) -> Iterable[Block]:
    return cast(Iterable[Block], model.model.layers)


def _run_prefix(model: Llama, prefix: list[int], cache: _Cache) -> None:
    """Run the shared prefix once as a batch of one; store its keys and values."""
    turn = model.rotation(len(prefix))
    x = model.model.embed_tokens(torch.tensor([prefix], device=model.lm_head.weight.device))
    for block in _blocks(model):
        normed = block.input_layernorm(x)
        q, k, v = block.self_attn.project(normed, turn)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])
        x = x + block.self_attn.o_proj(mixed.transpose(1, 2).flatten(2))
        x = x + block.mlp(block.post_attention_layernorm(x))
        cache.prefix.append((k[0], v[0]))


def _advance(model: Llama, ids: Tensor, used: int, start: Tensor, prefix: int, cache: _Cache) -> Tensor:
    """Feed (B, T) ids at slots used..used+T-1; the logits (B, vocab) after the last of them."""
    embedded = model.model.embed_tokens(ids.to(model.lm_head.weight.device))
    logits: Tensor = model.lm_head(_feed(model, embedded, used, start, prefix, cache))
    return logits


def _feed(model: Llama, x: Tensor, used: int, start: Tensor, prefix: int, cache: _Cache) -> Tensor:
    """Feed (B, T, width) embedded tokens at slots used..used+T-1; the hidden state (B, width) after the last."""
    device = x.device
    B, T, _ = x.shape
    slot = torch.arange(used, used + T)
    position = (prefix + slot[None, :] - start[:, None]).clamp(min=0).to(device)  # (B, T)
    turn = model.rotation(int(position.max()) + 1)[position]
    turn = type(turn)(turn.cos[:, None], turn.sin[:, None])  # (B, 1, T, head_dim)
    # query at slot s sees own slots start..s
    cache.reserve(used + T)
    seen = torch.arange(cache.slots)[None, None, :]
    allowed = (seen >= start[:, None, None]) & (seen <= slot[None, :, None])  # (B, T, slots)
    allowed |= seen == slot[None, :, None]  # padding sees itself: a row with nothing to see would be NaN
    hidden = (~allowed).to(device)
    for i, block in enumerate(_blocks(model)):
        attention = block.self_attn
        q, k, v = attention.project(block.input_layernorm(x), turn)
        own_k, own_v = cache.own[i]
        own_k[:, used : used + T], own_v[:, used : used + T] = k.flatten(0, 1), v.flatten(0, 1)
        shared = cache.prefix[i] if cache.prefix else None
        mixed = _attend(q, own_k, own_v, shared, hidden)
        x = x + attention.o_proj(mixed.transpose(1, 2).flatten(2))
        x = x + block.mlp(block.post_attention_layernorm(x))
    last: Tensor = model.model.norm(x[:, -1])
    return last


def _attend(q: Tensor, k: Tensor, v: Tensor, shared: tuple[Tensor, Tensor] | None, hidden: Tensor) -> Tensor:
    """(B, H, T, D) queries over the shared prefix (K, P, D) and the rows' own (B·K, S, D) → (B, H, T, D).

    Scores over the prefix are one product per head for all rows together; nothing is copied per row.
    """
    B, H, T, D = q.shape
    K, S = len(k) // B, k.shape[1]
    G = H // K  # queries per key head
    q = q * D**-0.5
    own = torch.bmm(q.reshape(B * K, G * T, D), k.transpose(1, 2)).view(B, K, G, T, S)
    own.masked_fill_(hidden[:, None, None], float("-inf"))
    if shared is None:
        weight = own.float().softmax(-1).to(v.dtype)
        return torch.bmm(weight.view(B * K, G * T, S), v).view(B, H, T, D)
    pk, pv = shared
    P = pk.shape[1]
    flat = q.view(B, K, G, T, D).transpose(0, 1).reshape(K, B * G * T, D)
    over = torch.bmm(flat, pk.transpose(1, 2)).view(K, B, G, T, P).transpose(0, 1)
    weight = torch.cat((over, own), dim=-1).float().softmax(-1).to(v.dtype)
    from_prefix = torch.bmm(weight[..., :P].transpose(0, 1).reshape(K, B * G * T, P), pv)
    from_own = torch.bmm(weight[..., P:].reshape(B * K, G * T, S), v)
    return (from_prefix.view(K, B, G, T, D).transpose(0, 1) + from_own.view(B, K, G, T, D)).reshape(B, H, T, D)

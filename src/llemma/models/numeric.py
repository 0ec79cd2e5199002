"""``NumericLM``: any causal language model, with numbers put in and read out by an encoding.

The model is reached through its input embedding and its last hidden state alone, so that every ``Trainable`` will do:
our Llama or any of ``transformers``. Numbers that an encoding spells in tokens are tokens like others (Abacus adds an
embedding of the place); of those that are one ``[NUM]`` the values go in beside the ids, a head reads the next one out,
and in generation what was read goes in again. The folder is a Hugging Face folder of the model with two files more.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from llemma.config import build, to_table
from llemma.errors import ConfigError, DataError
from llemma.models.checkpoint import load_tensors, save_tensors
from llemma.models.convert import resized
from llemma.models.generate import Fed
from llemma.models.hf import HfModel
from llemma.models.llama import Llama
from llemma.models.number_heads import head_of
from llemma.models.numeric_config import NumericSettings
from llemma.models.open import open_model
from llemma.models.trainable import Around, Trainable, counted
from llemma.run import read_json, write_json
from llemma.tokens.numbers import Encoding, Places, fitted, number
from llemma.tokens.numbers.digits import Abacus
from llemma.tokens.numbers.fone import FoNE
from llemma.tokens.numbers.hybrid import Hybrid
from llemma.tokens.numbers.text import Base, NumberText
from llemma.tokens.numbers.values import FIGURES, WORDS, Values
from llemma.tokens.numbers.xval import XVal
from llemma.tokens.tokenizer import load_tokenizer, tokenizer_file

SETTINGS, WEIGHTS = "numbers.json", "numbers.safetensors"
USUAL = Places()
ROWS = 256  # prompts that are answered together
NEWLINE = 10  # ends an answer where the tokeniser has no end mark: of bytes, the line feed


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model wrote after a prompt, its probability, and whether digits and values of its numbers agree.

    ``agreed`` is None for encodings with one way to read a number. ``finished``: the end mark was reached.
    """

    text: str
    probability: float
    finished: bool
    agreed: bool | None = None


class ValueInput(nn.Module):
    """The embedded ``[NUM]`` and its value → the model's input.

    xVal (Golkar et al. 2023, eq. 1): the embedding times the value. The paper then adds the position's embedding,
    without which the first norm would leave nothing of the value but its sign; rotary models have none, a learned
    ``anchor`` stands for it. Others: the embedding plus a linear map of the features, each kind of feature with a gain
    that is learned.
    """

    groups: Tensor

    def __init__(self, encoding: Encoding, width: int) -> None:
        super().__init__()
        self.encoding = encoding
        if isinstance(encoding, XVal):
            self.anchor = nn.Parameter(torch.zeros(width))
            return
        features = encoding.features([number("0")]).shape[1]
        whole = "circles" if isinstance(encoding, FoNE) else "all"
        slices = encoding.groups if isinstance(encoding, Hybrid) else {whole: slice(0, features)}
        self.kinds = tuple(slices)
        groups = torch.zeros(features, dtype=torch.int64)
        for place, where in enumerate(slices.values()):
            groups[where] = place
        self.register_buffer("groups", groups, persistent=False)
        self.gain = nn.Parameter(torch.ones(len(slices)))
        self.map = nn.Linear(features, width, bias=False)

    def first_gains(self) -> Tensor:
        """Circles begin three times as large as the rest: measured best of 0.1, 0.3, 1, 3 for sums of three digits."""
        return torch.tensor([3.0 if kind == "circles" else 1.0 for kind in self.kinds])

    def forward(self, embedded: Tensor, values: Values) -> Tensor:
        """(n, width) rows of ``[NUM]`` and n values → (n, width)."""
        features = self.encoding.shown(values)  # type: ignore[attr-defined]  # of a valued encoding
        given = torch.from_numpy(features).to(embedded)
        if isinstance(self.encoding, XVal):
            return embedded * given + self.anchor
        mapped: Tensor = self.map(given * self.gain[self.groups])
        return embedded + mapped


class _Again:
    """Any model, fed embedded tokens call after call: all of them pass again each time."""

    def __init__(self, base: Trainable) -> None:
        self._base = base
        self._seen: list[Tensor] = []

    def __call__(self, embedded: Tensor) -> Tensor:
        self._seen.append(embedded)
        return self._base.hidden(torch.cat(self._seen, 1))[:, -1]


class NumericLM(Around):
    """A language model with a number encoding. ``words`` are numbers (B, T, 3) int64 as ``Values.pack`` writes them."""

    token_values: Tensor

    def __init__(
        self, base: Trainable, settings: NumericSettings, tokens: Base | None = None, end_id: int | None = None
    ):
        """``base`` has a row for each token of text and encoding; ``settings`` are complete. Raises ConfigError."""
        super().__init__()
        self.base, self.settings = base, settings
        self.end_id = NEWLINE if tokens is None else end_id
        self.text, self.begin = text_of(settings, tokens), begin_of(tokens)
        if base.vocab_size() < self.text.vocab_size:
            raise ConfigError(f"the model has {base.vocab_size()} entries, text and encoding {self.text.vocab_size}")
        self._num_id = -1 if self.text.num_id is None else self.text.num_id
        encoding, width = self.text.encoding, base.embedding().embedding_dim
        self.into = ValueInput(encoding, width) if encoding.valued else None
        self.head = (
            head_of(encoding, width, places_of(settings), settings.head_scale or settings.scale or 1.0)
            if encoding.valued
            else None
        )
        self.places = None
        if isinstance(encoding, Abacus):
            self.places = nn.Embedding(encoding.most + settings.offset + 1, width)
        self.register_buffer("token_values", token_values(self.text, base.vocab_size()), persistent=False)
        if settings.ntl != "none" and not has_whole_tokens(encoding):
            raise ConfigError(f"ntl={settings.ntl}: {encoding.name} has no tokens that are whole numbers")

    # What goes in

    def embed(self, ids: Tensor, words: Tensor | None = None, *, shift: Tensor | None = None) -> Tensor:
        """(B, T) ids and the numbers of their ``[NUM]`` → (B, T, width). ``shift`` (B,) moves Abacus' places."""
        embedded: Tensor = self.base.embedding()(ids)
        if self.places is not None:
            place = self._place(ids)
            moved = place if shift is None else place + shift[:, None]
            moved = torch.where(place > 0, moved, 0).clamp_max(self.places.num_embeddings - 1)
            placed: Tensor = embedded + self.places(moved) * (place > 0)[..., None]
            return placed
        if self.into is None:
            return embedded
        if words is None:
            raise ValueError(f"{self.text.encoding.name} needs the numbers beside the ids")
        at = torch.eq(ids, self._num_id)
        with torch.autocast(ids.device.type, enabled=False):
            put = self.into(embedded[at].float(), _values(words[at]))
        return embedded.masked_scatter(at[..., None], put.to(embedded.dtype))

    def _place(self, ids: Tensor) -> Tensor:
        """Digits since the number began, 0 for what is no digit."""
        digit = ~self.token_values[ids].isnan()
        count = digit.cumsum(1)
        before = torch.where(ids < self.text.base.vocab_size, count, 0).cummax(1).values
        return torch.where(digit, count - before, 0)

    def _shift(self, ids: Tensor) -> Tensor | None:
        """A shift for each row in training: a function of its ids, so that a run that goes on does the same."""
        if not self.settings.offset or not torch.is_grad_enabled():
            return None
        mixed = (ids * torch.arange(1, ids.shape[1] + 1, device=ids.device)).sum(1) * 2654435761
        return (mixed >> 7) % (self.settings.offset + 1)

    # What is learned

    def loss(
        self, ids: Tensor, mask: Tensor | None = None, documents: Tensor | None = None, words: Tensor | None = None
    ) -> Tensor:
        """The mean over the counted targets of cross-entropy and number loss; 0 when there are none."""
        total, count = self.loss_sum(ids, mask, documents, words)
        return total / max(count, 1)

    def loss_sum(
        self, ids: Tensor, mask: Tensor | None = None, documents: Tensor | None = None, words: Tensor | None = None
    ) -> tuple[Tensor, int]:
        """The sum over the counted targets, and how many they are.

        Each target counts its token's cross-entropy; a ``[NUM]`` also its number's loss, a digit its number token loss.
        """
        given = None if words is None else words[:, :-1]
        embedded = self.embed(ids[:, :-1], given, shift=self._shift(ids))
        hidden = self.base.hidden(embedded, None if documents is None else documents[:, :-1])
        chosen = counted(ids, mask, documents)
        chosen = torch.ones_like(ids[:, 1:], dtype=torch.bool) if chosen is None else chosen
        hidden, targets = hidden[chosen], ids[:, 1:][chosen]
        total = self.base.output_loss(hidden, targets, scale=1.0)
        if self.head is not None:
            assert words is not None  # embed has refused
            at = torch.eq(targets, self._num_id)
            with torch.autocast(ids.device.type, enabled=False):
                lost = self.head.loss(hidden[at].float(), _values(words[:, 1:][chosen][at]))
            total = total + self.settings.number_weight * lost.sum()
        elif self.settings.ntl != "none":
            total = total + self.settings.ntl_weight * self._number_token_loss(hidden, targets)
        return total, len(targets)

    def _number_token_loss(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Zausinger et al. 2025: the distance of the digits' distribution, among digits, to the true digit; summed.

        The paper's is for digits. Chunks of several are measured in units in which the largest is 9: the squares of
        their values would leave nothing of the cross-entropy.
        """
        known = ~self.token_values.isnan()
        at = known[targets]
        unit = self.token_values[known].max() / 9  # 1 for digits; chunks are brought to the range of digits
        values, wanted = self.token_values[known] / unit, self.token_values[targets[at]] / unit
        p = self.base.logits(hidden[at])[:, known].float().softmax(-1)
        if self.settings.ntl == "mse":
            return ((p @ values) - wanted).square().sum()
        return (p * (values[None, :] - wanted[:, None]).abs()).sum()

    # What comes out

    def forward(self, ids: Tensor, words: Tensor | None = None) -> Tensor:
        """(B, T) ids with the numbers of their ``[NUM]`` → (B, T, vocabulary) logits."""
        return self.base.logits(self.base.hidden(self.embed(ids, words)))

    @torch.no_grad()
    def answer(self, prompts: Sequence[str], *, max_tokens: int = 32) -> list[Answer]:
        """Continue each prompt greedily until the end mark; a number that was read out goes in again.

        An answer ends where the model has no more positions. Raises DataError for a prompt that is empty or too long.
        """
        encoded = [asked(self.text, self.begin, prompt) for prompt in prompts]
        lengths = np.array([len(ids) for ids, _ in encoded], dtype=np.int64)
        if len(lengths) and not lengths.min():
            raise DataError("an empty prompt cannot be continued")
        most = self.max_context()
        if most is not None and len(lengths) and lengths.max() > most:
            raise DataError(f"a prompt of {lengths.max()} tokens does not fit the model's {most} positions")
        found: dict[int, Answer] = {}
        for length in np.unique(lengths):  # rows of one length need no padding
            rows = np.flatnonzero(lengths == length)
            for first in range(0, len(rows), ROWS):
                some = rows[first : first + ROWS].tolist()
                ids, words = (np.stack([encoded[row][part] for row in some]) for part in (0, 1))
                room = max_tokens if most is None else min(max_tokens, most + 1 - int(length))
                found |= dict(zip(some, self._answers(ids, words, room), strict=True))
        return [found[row] for row in range(len(prompts))]

    def _answers(self, prompt: np.ndarray, numbers: np.ndarray, max_tokens: int) -> list[Answer]:
        device = self.base.embedding().weight.device
        ids, words = torch.from_numpy(prompt).to(device), torch.from_numpy(numbers).to(device)
        rows, length = ids.shape
        going, total = torch.ones(rows, dtype=torch.bool, device=device), np.zeros(rows)
        read: list[dict[int, str]] = [{} for _ in range(rows)]
        agreed: list[bool | None] = [None] * rows
        feed = Fed(self.base, rows) if isinstance(self.base, Llama) else _Again(self.base)
        fed = 0
        for place in range(max_tokens):
            embedded = self.embed(ids, words if self.head is not None else None)
            hidden, fed = feed(embedded[:, fed:]), ids.shape[1]
            logp = self.base.logits(hidden)[:, : self.text.vocab_size].float().log_softmax(-1)
            best, chosen = logp.max(-1)
            total += torch.where(going, best, 0).double().cpu().numpy()
            new = torch.zeros(rows, 1, WORDS, dtype=torch.int64)
            at = torch.nonzero(torch.eq(chosen, self._num_id) & going)[:, 0] if self.head is not None else None
            if at is not None and len(at):
                assert self.head is not None
                made = self.head.predict(hidden[at].float())
                new[at.cpu(), 0] = torch.from_numpy(Values.of([number(text) for text in made.texts]).pack())
                for k, row in enumerate(at.tolist()):
                    read[row][place] = made.texts[k]
                    total[row] += made.logprob[k]
                    if made.agreed is not None:
                        agreed[row] = bool(made.agreed[k]) and agreed[row] is not False
            ids, words = torch.cat((ids, chosen[:, None]), 1), torch.cat((words, new.to(device)), 1)
            going &= chosen != self.end_id
            if not going.any():
                break
        return [self._answer(row, read[k], total[k], agreed[k]) for k, row in enumerate(ids[:, length:].tolist())]

    def _answer(self, ids: list[int], read: Mapping[int, str], total: float, agreed: bool | None) -> Answer:
        finished = self.end_id in ids
        ids = ids[: ids.index(self.end_id)] if self.end_id is not None and finished else ids
        text = self.text.read(ids, read)
        return Answer(text=text, probability=math.exp(min(total, 0.0)), finished=finished, agreed=agreed)

    # What the loop asks

    def tensor_plan(self) -> dict[str, str]:
        """The model's own."""
        return {f"base.{name}": how for name, how in self.base.tensor_plan().items()}

    def own(self) -> dict[str, nn.Parameter]:
        """The parameters beside the model's."""
        return {name: p for name, p in self.named_parameters() if not name.startswith("base.")}

    def flops_per_token(self, context: int) -> float:
        """The model's; the maps of numbers, which few tokens pass, as if every token did."""
        return self.base.flops_per_token(context) + 6.0 * sum(p.numel() for p in self.own().values() if p.ndim == 2)

    def save(self, folder: Path, *, end_id: int | None = None, state: Mapping[str, Tensor] | None = None) -> None:
        """The model's Hugging Face folder, and beside it ``numbers.json`` and ``numbers.safetensors``."""
        mine = {name: p.detach() for name, p in self.own().items()} if state is None else state
        inner = (
            None if state is None else {k.removeprefix("base."): v for k, v in state.items() if k.startswith("base.")}
        )
        self.base.save(folder, end_id=end_id, state=inner)
        save_tensors({k: v.contiguous().cpu() for k, v in mine.items() if not k.startswith("base.")}, folder / WEIGHTS)
        write_json(folder / SETTINGS, to_table(self.settings))


def places_of(settings: NumericSettings) -> Places:
    """The range of the numbers. Raises ConfigError for more places than there may be."""
    whole = settings.whole or USUAL.whole
    decimals = USUAL.decimals if settings.decimals < 0 else settings.decimals
    if whole + decimals > FIGURES:
        raise ConfigError(f"whole={whole} and decimals={decimals}: at most {FIGURES} places in all")
    return Places(whole=whole, decimals=decimals)


def text_of(settings: NumericSettings, tokens: Base | None) -> NumberText:
    """How texts become ids: ``tokens`` for words (bytes without), the encoding for numbers."""
    encoding = fitted(settings.encoding, places_of(settings), settings.scale or 1.0)
    if isinstance(encoding, Hybrid):  # gains are learned here; the probe's small digits are for a closed form
        encoding = Hybrid(encoding.places, settings.scale or 1.0, digit_scale=1.0)
    return NumberText(encoding, tokens)


def begin_of(tokens: Base | None) -> tuple[int, ...]:
    """What stands before a prompt: the begin mark where the tokeniser has one."""
    prompted = getattr(tokens, "encode_prompt", None)
    return () if prompted is None else tuple(prompted(""))


def asked(text: NumberText, begin: Sequence[int], prompt: str) -> tuple[np.ndarray, np.ndarray]:
    """A prompt behind the begin mark as (T,) ids and the (T, 3) numbers beside them."""
    encoded = text.encode(prompt)
    ids = np.array([*begin, *encoded.ids], dtype=np.int64)
    words = np.zeros((len(ids), WORDS), dtype=np.int64)
    words[len(begin) :] = words_of(text, encoded)
    return ids, words


def words_of(text: NumberText, encoded: Any) -> np.ndarray:
    """The numbers of an encoded text where its ``[NUM]`` stand: (T, 3) int64."""
    words = np.zeros((len(encoded.ids), WORDS), dtype=np.int64)
    if text.encoding.valued and encoded.numbers:
        at = [placed.first for placed in encoded.numbers]
        words[at] = Values.of([placed.number for placed in encoded.numbers]).pack()
    return words


def token_values(text: NumberText, size: int) -> Tensor:
    """(size,) fp32: the whole number that a token of the encoding spells, NaN for others and for whole encodings."""
    found = torch.full((size,), float("nan"))
    for place, token in enumerate(text.encoding.vocabulary):
        if token.isascii() and token.isdigit():
            found[text.base.vocab_size + place] = float(token)
    return found


def has_whole_tokens(encoding: Encoding) -> bool:
    """Whether the encoding spells digits, so that there is a number token loss for it; a zero alone is none."""
    return sum(map(str.isdecimal, encoding.vocabulary)) >= 10


def _values(words: Tensor) -> Values:
    return Values.unpack(words.cpu().numpy())


# Making and opening


def initialise_own(model: NumericLM, seed: int) -> None:
    """Draw the weights beside the model's, each by its name: matrices from N(0, 1/fan_in), places from N(0, 0.02²)."""
    with torch.no_grad():
        for name, parameter in model.own().items():
            digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
            random = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
            if parameter.ndim == 2:
                scale = 0.02 if name.startswith("places") else parameter.shape[1] ** -0.5
                parameter.copy_(torch.randn(parameter.shape, generator=random) * scale)
            elif name == "into.anchor":
                parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.02)
            elif name == "into.gain" and model.into is not None:
                parameter.copy_(model.into.first_gains())
            else:
                parameter.zero_()


def grown(model: Trainable, size: int) -> Trainable:
    """The model with at least so many entries of vocabulary; new ones are the mean of the old. Raises ConfigError."""
    if model.vocab_size() >= size:
        return model
    if isinstance(model, Llama):
        with torch.device(model.lm_head.weight.device):
            larger = Llama(replace(model.config, vocab_size=size))
        if not model.lm_head.weight.is_meta:
            state = model.state_dict()
            for name in ("model.embed_tokens.weight", "lm_head.weight"):
                state[name] = resized(state[name], size, "mean")
            larger.load_state_dict(state)
        return larger
    if isinstance(model, HfModel):
        before = model.vocab_size()
        model.inner.resize_token_embeddings(size, mean_resizing=False)
        with torch.no_grad():
            for module in (model.inner.get_input_embeddings(), model.inner.get_output_embeddings()):
                if not module.weight.is_meta:
                    module.weight[before:] = module.weight[:before].mean(0)
        return HfModel(model.inner)
    raise ConfigError(f"{type(model).__name__}: its vocabulary cannot grow by an encoding's tokens")


def open_numeric(folder: Path) -> NumericLM:
    """The model of a folder that ``NumericLM.save`` wrote. Raises DataError when it is none or damaged."""
    if not (folder / SETTINGS).is_file():
        raise DataError(f"no {SETTINGS} here: not a model with a number encoding", where=folder)
    settings = build(NumericSettings, read_json(folder / SETTINGS), where=f"{folder}/{SETTINGS}: ")
    tokens = load_tokenizer(folder) if tokenizer_file(folder) is not None else None
    model = NumericLM(open_model(str(folder)), settings, tokens, tokens.end_id if tokens else None)
    stored, own = load_tensors(folder / WEIGHTS), model.own()
    if stored.keys() != own.keys() or any(stored[k].shape != own[k].shape for k in own):
        raise DataError("the weights do not fit numbers.json", where=folder / WEIGHTS)
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(stored[name])
    return model

"""Rows for training behind a number encoding: generated tasks or files, the numbers beside the ids.

``NumberRows`` is a source of the training loop: ``batch(step)`` is a pure function, resuming is one integer. An example
is a prompt, of which nothing is learnt, an answer and the end mark; rows are as wide as the longest of their step. What
it does not do: pack several examples into a row.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from llemma.config import build, to_table
from llemma.errors import ConfigError, DataError
from llemma.models.llama import LlamaConfig
from llemma.models.numeric import NEWLINE, NumericLM, asked, begin_of, grown, initialise_own, text_of, words_of
from llemma.models.numeric_config import NumericSettings
from llemma.models.open import locate, open_model
from llemma.run import numbered_jsonl, sha256_file
from llemma.tokens.numbers.tasks import TRAIN, Sample, Task, task
from llemma.tokens.numbers.text import NumberText
from llemma.tokens.numbers.values import WORDS
from llemma.tokens.tokenizer import Tokenizer, load_tokenizer, tokenizer_file
from llemma.train.batch import Batch
from llemma.train.config import TrainConfig
from llemma.train.data import permuted, round_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An example as (T,) ids, its (T, 3) numbers, and which of its ids are learnt."""

    ids: np.ndarray
    words: np.ndarray
    learnt: np.ndarray


class NumberTokens:
    """The tokeniser of a run: the model's own for words, or bytes; the encoding's tokens behind it."""

    file = "numbers.json"  # the model writes it

    def __init__(self, text: NumberText, inner: Tokenizer | None) -> None:
        self.text, self.inner = text, inner
        self.end_id: int | None = NEWLINE if inner is None else inner.end_id

    @property
    def vocab_size(self) -> int:
        """Entries of tokeniser and encoding."""
        return self.text.vocab_size

    @property
    def specials(self) -> Mapping[str, int]:
        """Those of the model's own tokeniser."""
        return {} if self.inner is None else self.inner.specials

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        return list(self.text.encode(text).ids)

    def encode_prompt(self, text: str) -> list[int]:
        """The ids of a text to be continued: behind the begin mark, where the model's tokeniser has one."""
        return [*begin_of(self.inner), *self.encode(text)]

    def encode_batch(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The ids of many texts."""
        return [np.array(self.encode(text), dtype=np.int64) for text in texts]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; numbers that are not spelt in them come out as ``<?>``."""
        return self.text.read(ids)

    def save(self, folder: Path) -> None:
        """Write the model's own tokeniser, if it has one."""
        if self.inner is not None:
            self.inner.save(folder)


class NumberRows:
    """Examples of a task, or of files, as rows of a training run."""

    def __init__(
        self,
        source: Task | Sequence[Sample],
        tokens: NumberTokens,
        *,
        context: int,
        batch_size: int,
        seed: int,
        marks: Mapping[str, Any],
    ) -> None:
        """``marks``: what the examples come from, for the fingerprint."""
        self.names = ("numbers",)
        self.context, self.batch_size, self.seed = context, batch_size, seed
        self._source, self._tokens, self._marks = source, tokens, marks

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """A rank's share of the rows of a step. Raises DataError for an example that is too long or has no end."""
        if self.batch_size % world or not 0 <= rank < world:
            raise ConfigError(f"batch_size={self.batch_size} cannot be shared out over {world} processes")
        share = self.batch_size // world
        return self._rows(self._samples(TRAIN, step * self.batch_size + rank * share, share))

    def _samples(self, split: str, first: int, count: int) -> Sequence[Sample]:
        if isinstance(self._source, Task):
            return self._source.samples(split, first, count, self.seed)
        epochs, places = np.divmod(np.arange(first, first + count), len(self._source))
        keys = np.stack([round_keys(f"{self.seed}/numbers/{epoch}") for epoch in epochs.tolist()])
        chosen = permuted(places, np.full(count, len(self._source)), keys)
        return [self._source[place] for place in chosen.tolist()]

    def _rows(self, samples: Sequence[Sample]) -> Batch:
        rows = [encoded(sample, self._tokens) for sample in samples]
        width = max(2, *(len(row.ids) for row in rows))
        if width > self.context + 1:
            longest = max(range(len(rows)), key=lambda k: len(rows[k].ids))
            raise DataError(
                f"an example of {width} tokens does not fit context={self.context}: "
                f"{samples[longest].prompt[:60]!r}; raise context"
            )
        ids = np.zeros((len(rows), width), dtype=np.int64)
        words = np.zeros((len(rows), width, WORDS), dtype=np.int64)
        learnt = np.zeros((len(rows), width), dtype=bool)
        for k, row in enumerate(rows):
            ids[k, : len(row.ids)], words[k, : len(row.ids)], learnt[k, : len(row.ids)] = row.ids, row.words, row.learnt
        return Batch(ids, learnt[:, 1:], words=words)

    def epochs(self, steps: int) -> Mapping[str, float]:
        """How often the examples of files are read; those of a task are new each time (orbits: a pool)."""
        if isinstance(self._source, Task):
            return {}
        return {"numbers": round(steps * self.batch_size / len(self._source), 3)}

    def validation(self, rows: int) -> Mapping[str, Batch]:
        """Up to ``rows`` examples of each of a task's tests."""
        if not isinstance(self._source, Task):
            return {}
        return {name: self._rows(self._samples(name, 0, rows)) for name in self._source.tests}

    def account(self) -> Mapping[str, Any]:
        """What was learnt from."""
        return {"numbers": dict(self._marks)}

    def fingerprint(self) -> str:
        """sha256 of what the examples come from."""
        return hashlib.sha256(json.dumps(self._marks, sort_keys=True).encode()).hexdigest()


def encoded(sample: Sample, tokens: NumberTokens) -> Row:
    """An example as ids: begin mark, prompt, answer, end mark; the last two are learnt."""
    prompt, numbers = asked(tokens.text, begin_of(tokens.inner), sample.prompt)
    answer = tokens.text.encode(sample.answer)
    end = [] if tokens.end_id is None else [tokens.end_id]
    ids = np.array([*prompt, *answer.ids, *end], dtype=np.int64)
    words = np.zeros((len(ids), WORDS), dtype=np.int64)
    words[: len(prompt)] = numbers
    words[len(prompt) : len(prompt) + len(answer.ids)] = words_of(tokens.text, answer)
    return Row(ids=ids, words=words, learnt=np.arange(len(ids)) >= len(prompt))


def numeric_settings(config: TrainConfig) -> NumericSettings:
    """The encoding's settings, with those of the task where they were left open."""
    mine = config.numbers
    given = {field.name: getattr(mine, field.name) for field in fields(NumericSettings)}
    if mine.task:
        of = task(mine.task)
        given["whole"] = mine.whole or of.places.whole
        given["decimals"] = of.places.decimals if mine.decimals < 0 else mine.decimals
        given["scale"] = mine.scale or of.given_scale
        given["head_scale"] = mine.head_scale or mine.scale or of.scale
    else:
        given["scale"] = mine.scale or 1.0
    try:
        return NumericSettings(**given)
    except ValueError as error:  # what was given does not go with the task's
        raise ConfigError(f"numbers: {error}") from None


def number_tokens(config: TrainConfig) -> NumberTokens:
    """The tokeniser of init's folder, or bytes, with the encoding's tokens behind it."""
    inner = None
    if config.init != "random":
        folder = locate(config.init)
        inner = load_tokenizer(folder) if tokenizer_file(folder) is not None else None
    return NumberTokens(text_of(numeric_settings(config), inner), inner)


def number_rows(config: TrainConfig) -> NumberRows:
    """The examples of a run. Raises ConfigError without any, DataError for unusable files."""
    mine = config.numbers
    if bool(mine.task) == bool(mine.files):
        raise ConfigError("data=numbers needs numbers.task or numbers.files, one of the two")
    marks: dict[str, Any] = {"task": mine.task, "encoding": to_table(numeric_settings(config))}
    source: Task | Sequence[Sample]
    if mine.task:
        source = task(mine.task)
    else:
        source = [sample for file in mine.files for sample in read_samples(file)]
        marks["files"] = [sha256_file(file) for file in mine.files]
    return NumberRows(
        source,
        number_tokens(config),
        context=config.context,
        batch_size=config.batch_size,
        seed=config.seed,
        marks=marks,
    )


def read_samples(file: Path) -> list[Sample]:
    """The examples of a JSON-lines file: rows with prompt and answer, or with text. Raises DataError for others."""
    found = []
    for line, row in numbered_jsonl(file):
        prompt, answer = (row.get("prompt"), row.get("answer")) if "prompt" in row else ("", row.get("text"))
        if not (isinstance(prompt, str) and isinstance(answer, str)):
            raise DataError("expected the texts prompt and answer, or text", where=f"{file}:{line}")
        found.append(Sample(prompt=prompt, answer=answer))
    if not found:
        raise DataError("no example in it", where=file)
    return found


def numeric_model(config: TrainConfig, device: Literal["cpu", "meta"] = "cpu") -> NumericLM:
    """The model at step 0. Raises ConfigError when it cannot be trained on rows of this length."""
    settings, tokens = numeric_settings(config), number_tokens(config)
    size = tokens.vocab_size
    if config.init == "random":
        table = to_table(config.model) | {"vocab_size": size, "max_position_embeddings": config.context}
        base = open_model("random", build(LlamaConfig, table, where="model: "), device=device, seed=config.seed)
    else:
        base = grown(open_model(config.init, device=device, rope_theta=config.rope_theta), size)
    positions = base.max_context()
    if positions is not None and positions < config.context:
        raise ConfigError(f"context={config.context} is longer than init's {positions}")
    make = functools.partial(NumericLM, base, settings, tokens.inner, tokens.end_id)
    if device == "meta":
        import torch

        with torch.device("meta"):
            return make()
    model = make()
    initialise_own(model, config.seed)
    return model

"""What a training run is made of before its first step: tokeniser, source of rows, model, what must not change.

Everything that can be wrong with them is said here, before there is a run folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from llemma.config import build, to_table
from llemma.corpus.shards import fingerprint, read_manifest
from llemma.errors import ConfigError, DataError
from llemma.models.checkpoint import weights_fingerprint
from llemma.models.llama import Llama, LlamaConfig, initial
from llemma.models.open import locate, open_model
from llemma.models.trainable import Trainable, count, counted
from llemma.plugins import import_module
from llemma.run import sha256_file
from llemma.tokens.tokenizer import Tokenizer, load_tokenizer, tokenizer_file
from llemma.train.batch import Batch
from llemma.train.checkpoint import checkpoints, export, load_learned, read_into
from llemma.train.config import TrainConfig
from llemma.train.data import Mixture, validation
from llemma.train.device import thread_count, wants_bf16
from llemma.train.numeric import NumberRows, number_rows, number_tokens, numeric_model
from llemma.train.parallel import Mesh, distribute, place
from llemma.train.sft import Examples


class Rows(Protocol):
    """A source of the loop (``batch.Source``) that has held-out rows too."""

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """A rank's share of the rows of a step."""

    def epochs(self, steps: int) -> Mapping[str, float]:
        """How often each part of the data is read in ``steps`` steps."""

    def validation(self, rows: int) -> Mapping[str, Batch]:
        """Up to ``rows`` held-out rows of each part of the data that has some."""

    def account(self) -> Mapping[str, Any]:
        """What became of the data on the way to rows, for ``metrics.json`` and the plan."""


def names_of(rows: Rows) -> Sequence[str]:
    """The names behind the numbers of ``Batch.sources``; empty where training losses are not told apart."""
    names = rows.mixture.names if isinstance(rows, Stream) else rows.names if isinstance(rows, Examples) else ()
    return names if len(names) > 1 else ()


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A corpus as a source of rows: one stream, or with ``end_id`` documents that see only themselves."""

    corpus: Path
    mixture: Mixture
    end_id: int | None = None

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """A rank's share of the rows of a step."""
        rows = self._batch(self.mixture.batch(step, rank, world))
        if len(self.mixture.names) == 1:
            return rows
        sources = self.mixture.sources(step, rank, world)
        return replace(rows, sources=np.broadcast_to(sources[:, None], (len(rows.ids), rows.ids.shape[1] - 1)))

    def validation(self, rows: int) -> dict[str, Batch]:
        """Held-out rows by source."""
        found = validation(self.corpus, self.mixture.names, context=self.mixture.context, rows=rows)
        return {name: self._batch(ids) for name, ids in found.items()}

    def epochs(self, steps: int) -> Mapping[str, float]:
        """How often each source is read in ``steps`` steps."""
        return self.mixture.epochs(steps)

    def account(self) -> Mapping[str, Any]:
        """Nothing: the corpus's manifest says it."""
        return {}

    def _batch(self, ids: np.ndarray) -> Batch:
        if self.end_id is None:
            return Batch(ids)
        documents = np.zeros(ids.shape, dtype=np.int32)
        np.cumsum(ids[:, :-1] == self.end_id, axis=1, out=documents[:, 1:])  # an end mark is its document's last token
        return Batch(ids, documents=documents)


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run that can start. ``config.steps`` is what will be done, also when epochs were asked for."""

    config: TrainConfig
    tokenizer: Tokenizer
    rows: Rows
    data: str  # fingerprint of what is learnt from
    settings: Mapping[str, Any]


def prepare(config: TrainConfig) -> Job:
    """Read what the settings name. Raises ConfigError and DataError for what does not fit together."""
    tokenizer, rows = _tokenizer(config), _rows(config)
    described(config, tokenizer)
    settings = to_table(config) | {"threads": thread_count(config.threads)}
    if isinstance(rows, NumberRows):
        settings["data_sha256"] = data = rows.fingerprint()
    elif isinstance(rows, Examples):
        settings["data_sha256"] = data = rows.fingerprint()
        config = replace(config, steps=rows.steps(config.epochs) if config.epochs else config.steps)
    else:
        settings["corpus_sha256"] = data = fingerprint(read_manifest(config.corpus))
    if config.init != "random":
        settings["init_sha256"] = weights_fingerprint(locate(config.init))
    return Job(config=config, tokenizer=tokenizer, rows=rows, data=data, settings=settings)


def mixture(config: TrainConfig, *, verify: bool = True) -> Mixture:
    """The training rows of the corpus; without ``verify`` its shards are not read through first."""
    return Mixture(
        config.corpus,
        config.mixture,
        context=config.context,
        batch_size=config.batch_size,
        seed=config.seed,
        verify=verify,
    )


def described(config: TrainConfig, tokenizer: Tokenizer | None) -> Trainable:
    """The model without storage. Raises ConfigError when it cannot be trained on rows of this tokeniser and length."""
    if config.data == "numbers":
        return numeric_model(config, device="meta")
    if config.init == "random":
        table = to_table(config.model)
        if tokenizer is None:
            raise ConfigError("init=random needs the corpus, whose tokeniser says how many entries the vocabulary has")
        table |= {"vocab_size": tokenizer.vocab_size, "max_position_embeddings": config.context}
        return open_model("random", build(LlamaConfig, table, where="model: "), device="meta")
    model = open_model(config.init, device="meta", rope_theta=config.rope_theta)
    vocabulary, positions = model.vocab_size(), model.max_context()
    if tokenizer is not None and vocabulary != tokenizer.vocab_size and not _padded(config, tokenizer, vocabulary):
        raise ConfigError(
            f"init={config.init} has {vocabulary} vocabulary entries, the corpus's tokeniser "
            f"{tokenizer.vocab_size}; build the corpus with tokenizer.path={config.init}"
        )
    if positions is not None and positions < config.context:
        raise ConfigError(f"context={config.context} is longer than init's {positions}")
    return model


def build_model(config: TrainConfig, tokenizer: Tokenizer, mesh: Mesh) -> Trainable:
    """The model at step 0 on this process's device, with its z-loss; see ``_laid_out``."""
    model = _laid_out(config, tokenizer, mesh)
    for module in model.modules():
        if isinstance(module, Trainable):
            module.z_loss = config.z_loss
    return model


def _laid_out(config: TrainConfig, tokenizer: Tokenizer, mesh: Mesh) -> Trainable:
    """The model at step 0 on this process's device, laid out over the mesh: equal weights at every world size.

    Llamas are laid out before they have storage, so that no process ever holds a whole one; other architectures, and
    models with adapters, are read whole by every process first.
    """
    model = described(config, tokenizer)
    lay = partial(distribute, mesh=mesh, settings=config.parallel, fp8=config.precision == "fp8")
    bf16 = wants_bf16(config.precision, mesh.device.type)
    if config.data == "numbers":
        numeric = numeric_model(config)
        lay(numeric, bf16=bf16)
        return numeric.to(mesh.device)
    if config.lora.rank:
        if mesh.mesh is not None and config.lora.frozen == "nf4":
            raise ConfigError(
                "lora.frozen=nf4 is trained by one process; start it without torchrun, or use frozen=whole"
            )
        adapted = _adapted(config)
        lay(adapted, bf16=bf16)
        return adapted.to(mesh.device)
    if mesh.mesh is None or not isinstance(model, Llama):
        sizes = model.config if isinstance(model, Llama) else None
        whole = open_model(config.init, sizes, seed=config.seed, rope_theta=config.rope_theta)
        lay(whole, bf16=bf16)
        return whole.to(mesh.device)
    lay(model, bf16=bf16)
    model.to_empty(device=mesh.device)
    model.tie()
    if config.init == "random":
        for name, parameter in model.named_parameters():
            place(parameter, initial(model.config, name, parameter.shape, config.seed))
    else:
        read_into(dict(model.named_parameters()), locate(config.init), mesh)
    return model


def _adapted(config: TrainConfig) -> Trainable:
    """The model ``init``, whole and frozen, with fresh adapters: the same in every process."""
    found: Trainable = import_module("llemma.models.lora").open_lora(
        config.init, config.lora, seed=config.seed, rope_theta=config.rope_theta
    )
    return found


def write_model(config: TrainConfig, tokenizer: Tokenizer, checkpoint: Path, folder: Path) -> None:
    """A checkpoint of any world size as one Hugging Face folder (which must exist), adapters merged; one process."""
    if config.lora.rank:
        adapted = _adapted(config)
        load_learned(checkpoint, adapted)
        adapted.save(folder, end_id=tokenizer.end_id)
    else:
        export(checkpoint, described(config, tokenizer), folder, end_id=tokenizer.end_id, dtype=torch.float32)
    tokenizer.save(folder)


def exported(config: TrainConfig) -> Path:
    """``config.export`` as a model folder of the run's newest checkpoint, whatever number of processes wrote it.

    Raises DataError when there is no checkpoint, or a damaged one.
    """
    assert config.export is not None
    folder = config.run / "checkpoints"
    found = checkpoints(folder)
    if not found:
        raise DataError("no checkpoint here to export; train first", where=folder)
    if config.export.exists():
        raise ConfigError(f"export={config.export} exists; choose another name")
    tokenizer = _tokenizer(config)
    beside = config.export.with_name(f".{config.export.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    write_model(config, tokenizer, found[-1], beside)
    beside.rename(config.export)
    return config.export


def on(device: torch.device, array: np.ndarray | None) -> Tensor | None:
    """An array of a batch on the device."""
    if array is None:
        return None
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def chosen(batch: Batch, rows: slice | np.ndarray) -> Batch:
    """Some rows of a batch."""

    def some(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array[rows]

    return Batch(batch.ids[rows], some(batch.mask), some(batch.documents), some(batch.words), some(batch.sources))


def sources_of(batch: Batch) -> np.ndarray | None:
    """The number of the source of each target that counts, (N,), in the order in which models count them."""
    if batch.sources is None:
        return None
    cpu = torch.device("cpu")
    ids = on(cpu, batch.ids)
    assert ids is not None
    found = counted(ids, on(cpu, batch.mask), on(cpu, batch.documents))
    return batch.sources.ravel() if found is None else batch.sources[found.numpy()]


def targets_of(batch: Batch) -> int:
    """How many targets the model counts: those of the mask that do not begin another document."""
    cpu = torch.device("cpu")
    ids = on(cpu, batch.ids)
    assert ids is not None
    return count(ids, on(cpu, batch.mask), on(cpu, batch.documents))


def _rows(config: TrainConfig) -> Rows:
    if config.data == "numbers":
        return number_rows(config)
    if config.data == "corpus":
        end_id = _tokenizer(config).end_id if config.documents else None
        return Stream(corpus=config.corpus, mixture=mixture(config), end_id=end_id)
    return Examples(
        config.sft,
        _tokenizer(config),
        context=config.context,
        batch_size=config.batch_size,
        seed=config.seed,
        model_folder=locate(config.init),
        run=config.run,
    )


def _tokenizer(config: TrainConfig) -> Tokenizer:
    """The corpus's tokeniser, or init's; DataError when it is not the one the shards were written with."""
    if config.data == "numbers":
        return number_tokens(config)
    if config.data == "sft":
        return load_tokenizer(locate(config.init))
    expected = read_manifest(config.corpus)["tokenizer"]["sha256"]
    path = tokenizer_file(config.corpus)
    if path is not None and sha256_file(path) != expected:
        raise DataError("damaged, or not the tokeniser of the shards; delete the corpus and build it again", where=path)
    return load_tokenizer(config.corpus)


def _padded(config: TrainConfig, tokenizer: Tokenizer, vocabulary: int) -> bool:
    """Whether the model has spare entries behind those of the very tokeniser that made the rows."""
    if vocabulary < tokenizer.vocab_size:
        return False
    if config.data == "sft":
        return True
    own = tokenizer_file(locate(config.init))
    return own is not None and sha256_file(own) == read_manifest(config.corpus)["tokenizer"]["sha256"]

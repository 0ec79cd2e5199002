"""Training on a real, tiny corpus: the same bits however often a run is broken off, and no damage unnoticed."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import resource
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from llemma.corpus.pipeline import CorpusConfig, SourceEntry, TokenizerEntry, build_corpus
from llemma.corpus.shards import read_manifest
from llemma.errors import ConfigError, DataError, RunError
from llemma.models.checkpoint import load_model, load_tensors
from llemma.models.llama import Llama, LlamaConfig, initialise
from llemma.run import read_json, read_jsonl
from llemma.train.checkpoint import checkpoints, load_checkpoint
from llemma.train.config import ModelSizes, OptimConfig, TrainConfig, learning_rate
from llemma.train.data import Blocks, Mixture, pattern, permuted, round_keys, validation
from llemma.train.job import build_model, chosen, prepare
from llemma.train.loop import train
from llemma.train.memory import plan
from llemma.train.optim import adamw, set_rate
from llemma.train.parallel import ALONE

SIZES = ModelSizes(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1
)
WEIGHTS = {"sums": 3.0, "words": 1.0, "lists": 0.5}


def write_sources(folder: Path) -> dict[str, SourceEntry]:
    """Three sources as JSON lines, about 300 KB in all."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=rng.randint(2, 9))) for _ in range(200)]
    texts = {
        "sums": lambda: ". ".join(f"{a} + {b} = {a + b}" for a, b in _pairs(rng, 12)),
        "words": lambda: " ".join(rng.choices(words, k=60)),
        "lists": lambda: ", ".join(str(rng.randrange(10)) for _ in range(80)),
    }
    entries = {}
    for name, text in texts.items():
        path = folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"id": str(i), "text": text()}) + "\n" for i in range(400)))
        entries[name] = SourceEntry(kind="jsonl", weight=WEIGHTS[name], options={"paths": [str(path)]})
    return entries


def _pairs(rng: random.Random, count: int) -> list[tuple[int, int]]:
    return [(rng.randrange(100), rng.randrange(100)) for _ in range(count)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    recipe = CorpusConfig(
        sources=write_sources(folder),
        tokenizer=TokenizerEntry(vocab_size=400),
        valid_share=0.05,
        shard_tokens=20_000,  # several shards a source
        run=folder / "built",
    )
    manifest = build_corpus(recipe)
    assert manifest["tokenizer"]["vocab_size"] == 400
    assert manifest["bytes"] > 200_000 and len(manifest["shards"]) > 6
    return folder / "built"


def settings_in(folder: Path, corpus: Path) -> TrainConfig:
    return TrainConfig(
        corpus=corpus,
        run=folder / "run",
        model=SIZES,
        context=32,
        batch_size=4,
        steps=20,
        optim=OptimConfig(lr=1e-2, warmup=4),
        precision="fp32",
        threads=1,
        checkpoint_every=5,
        keep=3,
        log_every=4,
        valid_every=10,
        valid_batches=1,
    )


@pytest.fixture
def settings(corpus: Path, tmp_path: Path) -> TrainConfig:
    return settings_in(tmp_path, corpus)


@pytest.fixture(scope="module")
def trained_once(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = settings_in(tmp_path_factory.mktemp("trained"), corpus)
    assert train(config) is not None
    return config.run


@pytest.fixture(scope="module")
def stopped_once(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = settings_in(tmp_path_factory.mktemp("stopped"), corpus)
    assert train(config, stop_at=15) is None
    return config.run


@pytest.fixture
def finished(trained_once: Path, tmp_path: Path) -> Path:
    """The run of ``settings`` undisturbed, in a folder of its own."""
    return Path(shutil.copytree(trained_once, tmp_path / "undisturbed"))


@pytest.fixture
def stopped(stopped_once: Path, settings: TrainConfig) -> Path:
    """The run of ``settings``, stopped after 15 of 20 steps."""
    return Path(shutil.copytree(stopped_once, settings.run))


def weights_of(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def state_of(run: Path, step: int) -> list[bytes]:
    folder = run / "checkpoints" / f"step-{step:06d}"
    return [(folder / f"{name}.safetensors").read_bytes() for name in ("model", "optimizer")]


def losses_of(run: Path) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in read_jsonl(run / "rows.jsonl") if "loss" in row}


def flip(file: Path, place: float = 0.5) -> None:
    """Change one bit of one byte."""
    data = bytearray(file.read_bytes())
    data[int(len(data) * place)] ^= 1
    file.write_bytes(data)


# The same bits


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stops", [(10,), (5, 10, 15), (7, 13)], ids=str)
def test_stopped_and_resumed_gives_the_same_bits(
    precision: Any, stops: tuple[int, ...], settings: TrainConfig, tmp_path: Path
) -> None:
    config = replace(settings, precision=precision)
    whole = replace(config, run=tmp_path / "whole")
    train(whole)
    for stop in stops:
        assert train(config, stop_at=stop) is None
        assert checkpoints(config.run / "checkpoints")[-1].name == f"step-{stop:06d}"
        assert not (config.run / "model").exists()
    assert train(config) is not None
    assert weights_of(config.run) == weights_of(whole.run)
    assert state_of(config.run, 20) == state_of(whole.run, 20)


def test_bf16_is_not_fp32_under_another_name(settings: TrainConfig, finished: Path) -> None:
    train(replace(settings, precision="bf16"))
    assert weights_of(settings.run) != weights_of(finished)
    assert losses_of(settings.run)[20] == pytest.approx(losses_of(finished)[20], rel=0.05)
    assert {t.dtype for t in load_tensors(settings.run / "model" / "model.safetensors").values()} == {torch.float32}


def test_the_logged_rows_of_a_resumed_run_are_those_of_the_whole_run(settings: TrainConfig, finished: Path) -> None:
    train(settings, stop_at=5)
    with open(settings.run / "rows.jsonl", "a") as file:  # steps after the checkpoint, of a process that was killed
        file.write('{"id": "step-000008", "step": 8, "loss": 1e9, "seconds": 0}\n{"id": "step-0000')
    train(settings, stop_at=15)
    train(settings)
    rows = list(read_jsonl(settings.run / "rows.jsonl"))
    assert all(n == 1 for n in Counter(row["id"] for row in rows).values())
    assert losses_of(settings.run) == losses_of(finished)
    metrics, expected = (read_json(run / "metrics.json") for run in (settings.run, finished))
    for key in ("final_loss", "valid", "tokens", "steps", "parameters", "epochs"):
        assert metrics[key] == expected[key]


def test_a_finished_run_is_not_done_again(settings: TrainConfig, finished: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != ".lock"}
    again = train(replace(settings, run=finished))
    assert again is not None and again.metrics == read_json(finished / "metrics.json")
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.name != ".lock"}


def test_killed_between_the_last_checkpoint_and_the_model_folder(settings: TrainConfig, finished: Path) -> None:
    train(replace(settings, run=finished))
    expected = weights_of(finished)
    shutil.move(finished / "model", finished / ".model.part")
    (finished / "metrics.json").unlink()
    train(replace(settings, run=finished))
    assert weights_of(finished) == expected
    assert not (finished / ".model.part").exists()


def test_what_a_killed_process_left_half_written_is_swept_away(settings: TrainConfig, finished: Path) -> None:
    train(settings, stop_at=5)
    for name in (".rows.jsonl.123.part", ".metrics.json.123.part", "checkpoints/.step-000010.part/model.safetensors"):
        (settings.run / name).parent.mkdir(exist_ok=True)
        (settings.run / name).write_bytes(b"half")
    (settings.run / ".model.part").mkdir()
    train(settings)
    assert not list(settings.run.rglob("*.part"))
    assert weights_of(settings.run) == weights_of(finished)


def test_another_seed_gives_another_model(settings: TrainConfig, finished: Path) -> None:
    train(replace(settings, seed=1))
    assert weights_of(settings.run) != weights_of(finished)


def test_other_settings_in_the_same_folder_are_refused(settings: TrainConfig, finished: Path) -> None:
    with pytest.raises(RunError, match=r"optim\.lr: 0\.01 there, 0\.5 now"):
        train(replace(settings, run=finished, optim=replace(settings.optim, lr=0.5)))
    assert train(replace(settings, run=finished, keep=1)) is not None  # this one does not touch the numbers


# Learning


def test_the_loss_falls_and_the_model_folder_holds_what_was_learnt(settings: TrainConfig, corpus: Path) -> None:
    config = replace(settings, steps=120, log_every=20, checkpoint_every=120, valid_every=0, mixture={"lists": 1})
    trained = train(config)
    assert trained is not None
    losses = losses_of(config.run)
    assert losses[20] > losses[120] + 0.5
    assert losses[120] < math.log(400) - 2
    model = load_model(trained.model)
    rows = torch.from_numpy(validation(corpus, ["lists"], context=32, rows=4)["lists"])
    with torch.no_grad():
        assert model.loss(rows).item() == pytest.approx(trained.metrics["valid"]["lists"], rel=1e-5)
    assert trained.metrics["tokens"] == 120 * 4 * 32


@pytest.mark.parametrize("documents", [False, True])
def test_the_loss_of_each_source_is_that_of_its_rows(documents: bool, settings: TrainConfig, corpus: Path) -> None:
    config = replace(settings, documents=documents, log_every=1, checkpoint_every=99, steps=2, batch_size=6)
    train(config)
    first, second = (row for row in read_jsonl(config.run / "rows.jsonl") if "loss" in row)
    job = prepare(config)
    model = build_model(config, job.tokenizer, ALONE)
    mixed = mixture(corpus, batch_size=6)
    batch, drawn = job.rows.batch(0), mixed.sources(0)
    assert len(set(drawn.tolist())) > 1 and mixed.sources(0, 1, 2).tolist() == drawn[3:].tolist()
    for number, name in enumerate(mixed.names):
        part = chosen(batch, np.flatnonzero(drawn == number))
        if len(part.ids):
            numbers = None if part.documents is None else torch.from_numpy(part.documents)
            expected = model.loss(torch.from_numpy(part.ids), None, numbers).item()
            assert first["sources"][name] == pytest.approx(expected, abs=1e-6)
        else:
            assert name not in first["sources"]
    if not documents:  # rows then have equally many targets
        counts = np.bincount(mixed.sources(1), minlength=len(mixed.names))
        weighed = sum(second["sources"][n] * c for n, c in zip(mixed.names, counts, strict=True) if c) / 6
        assert second["loss"] == pytest.approx(weighed, abs=1e-5)


def test_one_source_alone_is_not_told_again(settings: TrainConfig, corpus: Path) -> None:
    train(replace(settings, mixture={mixture(corpus).names[0]: 1.0}, steps=1))
    assert not any("sources" in row for row in read_jsonl(settings.run / "rows.jsonl"))


def test_only_the_newest_checkpoints_stay(settings: TrainConfig) -> None:
    (settings.run / "checkpoints" / "step-000001").mkdir(parents=True)  # half-deleted by a killed process
    (settings.run / "checkpoints" / ".step-000005.part").mkdir()
    train(replace(settings, keep=2))
    assert sorted(p.name for p in (settings.run / "checkpoints").iterdir()) == ["step-000015", "step-000020"]


def test_a_loss_that_is_not_finite_ends_the_run_with_advice(settings: TrainConfig, finished: Path) -> None:
    from llemma.models.checkpoint import save_model

    model = load_model(finished / "model")
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    save_model(model, finished / "model", end_id=0)
    with pytest.raises(RunError, match=r"the loss is nan; 8 bad steps in a row at step 8; lower optim\.lr"):
        train(replace(settings, init=str(finished)))
    assert checkpoints(settings.run / "checkpoints") == []


# The schedule and the optimiser


def test_the_learning_rate_follows_the_closed_form() -> None:
    optim = OptimConfig(lr=3e-3, warmup=50, final_ratio=1 / 30, horizon=800)

    def cosine(t: float) -> float:
        return 3e-3 / 30 + (3e-3 - 3e-3 / 30) * (1 + math.cos(math.pi * t)) / 2

    table = {
        0: 3e-3 / 50,
        24: 3e-3 / 2,
        49: 3e-3,
        50: 3e-3,
        51: cosine(1 / 750),
        237: cosine(187 / 750),
        425: (3e-3 + 1e-4) / 2,  # half-way
        799: cosine(749 / 750),
        800: 1e-4,
        999: 1e-4,  # flat after the horizon
    }
    for step, rate in table.items():
        assert learning_rate(optim, step, 1000) == pytest.approx(rate, rel=1e-12), step
    rates = [learning_rate(optim, step, 1000) for step in range(1000)]
    assert rates[:50] == sorted(rates[:50]) and rates[50:] == sorted(rates[50:], reverse=True)


def test_without_a_horizon_the_cosine_ends_with_the_run() -> None:
    optim = OptimConfig(lr=1.0, warmup=0, final_ratio=0.1)
    assert learning_rate(optim, 0, 100) == 1.0
    assert learning_rate(optim, 50, 100) == pytest.approx(0.55)
    assert learning_rate(optim, 100, 100) == pytest.approx(0.1)
    assert learning_rate(replace(optim, warmup=5), 4, 5) == 1.0  # nothing but warm-up


def test_the_run_logs_the_rate_it_used(settings: TrainConfig, finished: Path) -> None:
    for row in read_jsonl(finished / "rows.jsonl"):
        if "lr" in row:
            assert row["lr"] == learning_rate(settings.optim, row["step"] - 1, 20)


def test_matrices_decay_and_vectors_do_not() -> None:
    model = Llama(LlamaConfig(vocab_size=30, hidden_size=16, intermediate_size=16, num_attention_heads=2,
                              num_key_value_heads=2))  # fmt: skip
    initialise(model, 0)
    optimizer = adamw(model, OptimConfig(weight_decay=0.1, eps=1e-8))
    assert sum(len(g["params"]) for g in optimizer.param_groups) == len(list(model.parameters()))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    set_rate(optimizer, 0.5)
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert torch.allclose(parameter, before[name] * (1.0 if parameter.ndim == 1 else 1 - 0.5 * 0.1)), name


def test_one_update_is_adamw_written_out() -> None:
    layer = nn.Linear(3, 2, bias=False)
    start = layer.weight.detach().clone()
    settings = OptimConfig(beta1=0.9, beta2=0.95, eps=1e-8, weight_decay=0.1)
    optimizer = adamw(layer, settings)
    expected, m, v = start.double(), torch.zeros(2, 3).double(), torch.zeros(2, 3).double()
    for step in (1, 2, 3):
        grad = torch.randn(2, 3, generator=torch.Generator().manual_seed(step))
        layer.weight.grad = grad.clone()
        set_rate(optimizer, 0.01 * step)
        optimizer.step()
        m, v = 0.9 * m + 0.1 * grad, 0.95 * v + 0.05 * grad.double() ** 2
        expected = expected * (1 - 0.01 * step * 0.1)
        expected -= 0.01 * step * (m / (1 - 0.9**step)) / ((v / (1 - 0.95**step)).sqrt() + 1e-8)
    torch.testing.assert_close(layer.weight.double(), expected, atol=1e-6, rtol=1e-5)


# The data


def mixture(corpus: Path, weights: dict[str, float] | None = None, seed: int = 0, batch_size: int = 4) -> Mixture:
    return Mixture(corpus, weights or {}, context=32, batch_size=batch_size, seed=seed)


def test_a_batch_is_a_function_of_the_step_alone(corpus: Path) -> None:
    data, other = mixture(corpus), mixture(corpus)
    forward = [data.batch(step) for step in range(30)]
    for step in (29, 3, 3, 17, 0):
        assert np.array_equal(other.batch(step), forward[step])
    assert forward[0].shape == (4, 33) and forward[0].dtype == np.int64
    assert not np.array_equal(mixture(corpus, seed=1).batch(0), forward[0])
    joined = mixture(corpus, batch_size=12)  # the samples do not depend on how they are cut into batches
    assert np.array_equal(joined.batch(1), np.concatenate(forward[3:6]))


def test_each_block_of_a_source_is_read_once_an_epoch_and_each_epoch_otherwise(corpus: Path) -> None:
    manifest = read_manifest(corpus)
    for name in WEIGHTS:
        blocks = Blocks(corpus, manifest, name, "train", 32)
        expected = Counter(blocks[i].tobytes() for i in range(len(blocks)))
        data = mixture(corpus, {name: 1}, batch_size=1)
        epochs = [[data.batch(e * len(blocks) + i)[0] for i in range(len(blocks))] for e in range(2)]
        for epoch in epochs:
            assert Counter(row.astype("<u2").tobytes() for row in epoch) == expected
        assert not np.array_equal(epochs[0], epochs[1])


@pytest.mark.slow
def test_no_block_comes_twice_before_its_source_is_used_up(corpus: Path) -> None:
    manifest = read_manifest(corpus)
    owner = {}
    for name in WEIGHTS:
        blocks = Blocks(corpus, manifest, name, "train", 32)
        owner |= {blocks[i].tobytes(): name for i in range(len(blocks))}
    size = min(len(Blocks(corpus, manifest, name, "train", 32)) for name in WEIGHTS)
    data = mixture(corpus, batch_size=8)
    rows = np.concatenate([data.batch(step) for step in range(size // 8)]).astype("<u2")
    assert len({row.tobytes() for row in rows}) == len(rows)
    found = Counter(owner[row.tobytes()] for row in rows)
    for name, weight in WEIGHTS.items():
        assert abs(found[name] - len(rows) * weight / 4.5) <= 1


def test_the_blocks_cover_the_shards_with_one_token_shared(corpus: Path) -> None:
    manifest = read_manifest(corpus)
    for shard in manifest["shards"]:
        alone = {**manifest, "shards": [shard]}
        blocks = Blocks(corpus, alone, shard["source"], shard["split"], 32)
        tokens = np.fromfile(corpus / shard["file"], dtype="<u2")
        assert len(blocks) == (len(tokens) - 1) // 32
        assert np.array_equal(np.concatenate([blocks[i][:-1] for i in range(len(blocks))]), tokens[: len(blocks) * 32])
        assert all(blocks[i][-1] == blocks[i + 1][0] for i in range(len(blocks) - 1))


def worst_deviation(weights: list[float], length: int = 2048) -> float:
    chosen = pattern(weights, length)
    counts = np.stack([np.cumsum(chosen == s) for s in range(len(weights))], axis=1)
    share = np.array(weights) / sum(weights)
    return float(np.abs(counts - np.outer(np.arange(1, length + 1), share)).max())


@pytest.mark.parametrize(
    "weights", [[1], [1, 1], [3, 1], [3, 1, 0.5], [100, 1], [0.7, 0.2, 0.1], [1e-3, 1, 1e-3]], ids=str
)
def test_every_prefix_holds_the_proportions_to_within_one_sample(weights: list[float]) -> None:
    assert worst_deviation(weights) <= 1


def test_with_many_sources_every_prefix_holds_the_proportions_to_within_two() -> None:
    rng = np.random.default_rng(0)
    for sources in (2, 3, 4, 8, 24):
        for _ in range(5):
            weights = (rng.dirichlet(np.full(sources, 0.5)) + 1e-6).tolist()
            assert worst_deviation(weights, 512) < (1 if sources <= 3 else 2)


def order(size: int, key: str) -> np.ndarray:
    return permuted(np.arange(size), np.full(size, size), np.tile(round_keys(key), (size, 1)))


@pytest.mark.parametrize("size", sorted({1, 2, 3, 5, 100, *(2**b + d for b in range(1, 11) for d in (-1, 0, 1))}))
def test_the_permutation_is_a_bijection(size: int) -> None:
    for key in ("0/a/0", "0/a/1"):
        assert sorted(order(size, key).tolist()) == list(range(size))


def test_the_permutation_depends_on_the_key_and_looks_shuffled() -> None:
    size = 1000
    orders = [order(size, f"0/a/{epoch}") for epoch in range(4)]
    for a, b in itertools.combinations(orders, 2):
        assert (a == b).sum() < 20  # about one place in a thousand by chance
    for one in orders:
        assert abs(np.corrcoef(one, np.arange(size))[0, 1]) < 0.15
        assert (np.diff(one) == 1).sum() < 20


def test_sources_that_the_corpus_does_not_have_are_refused_by_name(settings: TrainConfig) -> None:
    with pytest.raises(ConfigError, match=r"mixture\.sum: .*did you mean sums\?"):
        train(replace(settings, mixture={"sum": 1.0}))
    assert not settings.run.exists()


def test_a_weight_of_zero_leaves_a_source_out(corpus: Path) -> None:
    data = mixture(corpus, {"sums": 1, "words": 0})
    assert data.names == ["sums"]
    with pytest.raises(ValueError, match="sum to something positive"):
        TrainConfig(corpus=corpus, mixture={"sums": 0})


def test_a_context_longer_than_the_source_says_what_to_do(corpus: Path) -> None:
    with pytest.raises(DataError, match="use a smaller context"):
        Mixture(corpus, {"lists": 1}, context=10**6, batch_size=1, seed=0)


def test_validation_rows_are_held_out(corpus: Path) -> None:
    held = validation(corpus, list(WEIGHTS), context=32, rows=8)
    assert held.keys() == WEIGHTS.keys()
    manifest = read_manifest(corpus)
    for name, rows in held.items():
        blocks = Blocks(corpus, manifest, name, "train", 32)
        training = np.concatenate([blocks[i][:-1] for i in range(len(blocks))]).astype("<u2").tobytes()
        assert not any(row.astype("<u2").tobytes() in training for row in rows)


def test_held_out_text_in_shards_too_short_for_a_block_is_no_validation(corpus: Path) -> None:
    manifest = read_manifest(corpus)
    longest = max(s["tokens"] for s in manifest["shards"] if s["split"] == "valid" and s["source"] == "lists")
    total = sum(s["tokens"] for s in manifest["shards"] if s["split"] == "valid" and s["source"] == "lists")
    assert validation(corpus, ["lists"], context=max(longest, total) + 1, rows=1) == {}
    assert len(validation(corpus, ["lists"], context=longest - 1, rows=1)["lists"]) == 1


# Damage


def delete(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    """Cut the last byte (of text: the last before the line break)."""
    file.write_bytes(file.read_bytes()[: -2 if file.suffix == ".json" else -1])


@pytest.mark.parametrize("damage", [flip, cut, delete])
@pytest.mark.parametrize("split", ["train", "valid"])
def test_a_damaged_shard_is_named_with_the_remedy(
    damage: Callable[[Path], None], split: str, corpus: Path, settings: TrainConfig, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(corpus, copy)
    shard = next(s for s in read_manifest(copy)["shards"] if s["split"] == split)
    damage(copy / shard["file"])
    with pytest.raises(DataError, match="build it again with `llemma corpus`") as caught:
        train(replace(settings, corpus=copy))
    assert caught.value.where == str(copy / shard["file"])


def test_a_folder_that_is_no_corpus_is_refused(settings: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="llemma corpus"):
        train(replace(settings, corpus=tmp_path))


FILES = ["model.safetensors", "optimizer.safetensors", "config.json", "generation_config.json", "state.json"]


@pytest.mark.parametrize("damage", [flip, cut, delete])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_named_and_without_it_the_run_goes_on_from_the_one_before(
    name: str, damage: Callable[[Path], None], settings: TrainConfig, stopped: Path, finished: Path
) -> None:
    newest = checkpoints(stopped / "checkpoints")[-1]
    assert newest.name == "step-000015" and sorted(p.name for p in newest.iterdir()) == sorted(FILES)
    damage(newest / name)
    if (name, damage) != ("state.json", delete):  # without state.json it is no checkpoint, as if never written
        with pytest.raises(DataError, match=r"delete .* and run") as caught:
            train(settings)
        assert caught.value.where == str(newest / name)
        shutil.rmtree(newest)
    train(settings)
    assert "resumed at step 10" in (settings.run / "log.txt").read_text().splitlines()[-1]
    assert weights_of(settings.run) == weights_of(finished)


def test_no_flipped_bit_of_the_state_goes_unnoticed(settings: TrainConfig, stopped: Path) -> None:
    folder = stopped / "checkpoints" / "step-000005"
    model = Llama(LlamaConfig(**read_sizes(folder)))
    optimizer = adamw(model, settings.optim)
    right = load_checkpoint(folder, model, optimizer)
    assert right["step"] == 5 and right["tokens"] == 5 * 4 * 32
    data = (folder / "state.json").read_bytes()
    refused = 0
    for place in range(0, len(data), 3):
        (folder / "state.json").write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        try:
            loaded = load_checkpoint(folder, model, optimizer)
            assert {key: loaded.get(key) for key in right} == right  # white space, or the seal's own name
        except DataError:
            refused += 1
    assert refused > len(data) / 3 * 0.8


def read_sizes(folder: Path) -> dict[str, Any]:
    return {key: value for key, value in read_json(folder / "config.json").items() if key in LlamaConfig.__slots__}


def test_all_checkpoints_gone_means_from_the_start(settings: TrainConfig, finished: Path) -> None:
    train(settings, stop_at=10)
    shutil.rmtree(settings.run / "checkpoints")
    train(settings)
    assert weights_of(settings.run) == weights_of(finished)
    assert losses_of(settings.run) == losses_of(finished)


# Starting from a model folder


def test_continued_training_starts_from_the_weights_of_init(settings: TrainConfig, finished: Path) -> None:
    still = replace(settings, init=str(finished), steps=1, optim=OptimConfig(lr=0.0, warmup=0))
    train(still)
    before, after = (load_tensors(run / "model" / "model.safetensors") for run in (finished, settings.run))
    assert before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)


def test_init_may_have_its_weights_in_several_files(settings: TrainConfig, finished: Path, tmp_path: Path) -> None:
    import transformers

    other: Any = transformers.AutoModelForCausalLM.from_pretrained(finished / "model")
    other.save_pretrained(tmp_path / "split", max_shard_size="60KB")
    assert not (tmp_path / "split" / "model.safetensors").exists()
    train(replace(settings, init=str(finished)))
    split = replace(settings, init=str(tmp_path / "split"), run=tmp_path / "other")
    train(split)
    assert weights_of(settings.run) == weights_of(split.run)


def test_a_run_goes_on_only_from_the_same_init(settings: TrainConfig, finished: Path) -> None:
    config = replace(settings, init=str(finished))
    train(config, stop_at=5)
    flip(finished / "model" / "model.safetensors", 0.9)
    with pytest.raises(RunError, match="init_sha256"):
        train(config)


@pytest.mark.slow
def test_an_init_with_another_vocabulary_is_refused_before_there_is_a_run(
    settings: TrainConfig, finished: Path, tmp_path: Path
) -> None:
    recipe = CorpusConfig(
        sources=write_sources(tmp_path), tokenizer=TokenizerEntry(vocab_size=330), run=tmp_path / "other"
    )
    build_corpus(recipe)
    config = replace(settings, corpus=recipe.run, init=str(finished))
    with pytest.raises(ConfigError, match=r"has 400 vocabulary entries.* 330; build the corpus with tokenizer\.path="):
        train(config)
    assert not settings.run.exists()  # so that the same command works once the setting is right


def test_a_context_longer_than_that_of_init_is_refused(settings: TrainConfig, finished: Path) -> None:
    with pytest.raises(ConfigError, match="context=64 is longer than init's 32"):
        train(replace(settings, init=str(finished), context=64))


def test_sizes_that_do_not_fit_are_a_config_error(settings: TrainConfig) -> None:
    with pytest.raises(ConfigError, match="hidden_size=33"):
        train(replace(settings, model=replace(SIZES, hidden_size=33)))
    assert not settings.run.exists()


def test_the_plan_counts_the_parameters_of_the_model_that_will_be_trained(
    settings: TrainConfig, finished: Path
) -> None:
    expected = read_json(finished / "metrics.json")
    planned = plan(settings)
    assert planned["parameters"] == expected["parameters"]
    assert planned["tokens"] == expected["tokens"] and planned["epochs"] == expected["epochs"]
    other = replace(settings, init=str(finished), model=replace(SIZES, num_hidden_layers=9))
    assert plan(other)["parameters"] == expected["parameters"]  # init decides, not model.*


# Through the command line


def toml(config: TrainConfig, path: Path) -> Path:
    """The settings as a file for ``llemma train``."""
    path.write_text(
        f'corpus = "{config.corpus}"\nrun = "{config.run}"\ncontext = 32\nbatch_size = 4\nsteps = {config.steps}\n'
        f'precision = "fp32"\nthreads = 1\ncheckpoint_every = {config.checkpoint_every}\nkeep = {config.keep}\n'
        f"log_every = {config.log_every}\nvalid_every = {config.valid_every}\nvalid_batches = 1\n"
        "[optim]\nlr = 1e-2\nwarmup = 4\n"
        "[model]\nhidden_size = 32\nintermediate_size = 48\nnum_hidden_layers = 2\n"
        "num_attention_heads = 2\nnum_key_value_heads = 1\n"
    )
    return path


def command(file: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "llemma", "train", str(file), *words]


@pytest.mark.slow
def test_a_dry_run_prints_the_plan_and_starts_nothing(settings: TrainConfig, tmp_path: Path, llemma: Any) -> None:
    file = toml(settings, tmp_path / "train.toml")
    done = llemma("train", str(file), "dry_run=true", "--json")
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed == json.loads(json.dumps(plan(settings)))
    assert printed["optimizer_bytes"] == 8 * printed["parameters"]
    assert not settings.run.exists()


def limited(size: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.slow
def test_a_file_size_limit_is_one_clear_line_and_the_checkpoint_before_stays(
    settings: TrainConfig, finished: Path, tmp_path: Path
) -> None:
    train(settings, stop_at=5)
    before = state_of(settings.run, 5)
    limit = len(before[0]) + 1000  # the model fits, the optimiser's state does not
    file = toml(settings, tmp_path / "train.toml")
    done = subprocess.run(
        command(file), capture_output=True, text=True, timeout=100, check=False, preexec_fn=limited(limit)
    )
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("llemma: ") and "optimizer.safetensors" in last and "size limit" in last
    assert "Traceback" not in done.stderr
    assert state_of(settings.run, 5) == before
    assert not list(settings.run.rglob("*.part"))
    train(settings)
    assert weights_of(settings.run) == weights_of(finished)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """``small_disk(size)`` is a folder with so many bytes; called again it gets that size."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def sized(size: int) -> Path:
        nonlocal mounted
        options = f"{'remount,' if mounted else ''}size={size}"
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode and not mounted:
            pytest.skip(f"this process may not mount a small disk: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        mounted = True
        return folder

    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a small disk")
    yield sized
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_one_clear_line_and_the_run_goes_on_when_there_is_room(
    settings: TrainConfig, finished: Path, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    one = sum(map(len, state_of(finished, 20)))
    config = replace(settings, run=small_disk(one * 3 // 2) / "run")  # room for one checkpoint, not for two
    file = toml(config, tmp_path / "train.toml")
    done = subprocess.run(command(file), capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("llemma: ") and str(config.run) in last and "the disk is full" in last
    assert "Traceback" not in done.stderr
    assert [p.name for p in checkpoints(config.run / "checkpoints")] == ["step-000005"]
    assert not list(config.run.rglob("*.part"))
    small_disk(one * 20)
    train(config)
    assert "resumed at step 5" in (config.run / "log.txt").read_text()
    assert weights_of(config.run) == weights_of(finished)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_random_moments_it_ends_with_the_same_bits(settings: TrainConfig, tmp_path: Path) -> None:
    config = replace(settings, steps=400, valid_every=50, keep=2)
    whole = replace(config, run=tmp_path / "whole")
    train(whole)
    file = toml(config, tmp_path / "train.toml")
    rng = random.Random()
    killed = 0
    for _ in range(6):
        ready = newest_step(config.run)
        process = subprocess.Popen(command(file), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and newest_step(config.run) == ready:
            time.sleep(0.005)  # wait for its first checkpoint, then let it run for any time, in or out of a write
        time.sleep(rng.random() * 0.25)
        process.kill()
        killed += process.wait() == -9
    assert killed >= 2  # a run that ended by itself proves nothing
    done = subprocess.run(command(file), capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert weights_of(config.run) == weights_of(whole.run)
    assert state_of(config.run, 400) == state_of(whole.run, 400)
    assert losses_of(config.run) == losses_of(whole.run)
    assert sorted(p.name for p in (config.run / "checkpoints").iterdir()) == ["step-000395", "step-000400"]
    assert not list(config.run.rglob("*.part"))


def newest_step(run: Path) -> str:
    names = [p.name for p in run.glob("checkpoints/step-*")]
    return max(names, default="")

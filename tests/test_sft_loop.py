"""Fine-tuning and the guard in real runs: answers are learned, resumed runs have the same bits, bad steps undone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llemma.config import resolve
from llemma.errors import ConfigError, RunError
from llemma.run import read_json, read_jsonl
from llemma.sources import generated
from llemma.train import loop, sft
from llemma.train.batch import Batch
from llemma.train.config import OptimConfig, TrainConfig, learning_rate
from llemma.train.guard import GuardConfig
from llemma.train.job import sources_of
from llemma.train.loop import train
from llemma.train.memory import plan
from llemma.train.sft_config import SftConfig
from tiny import save_tiny

EXPERIMENTS = Path(__file__).resolve().parents[1] / "experiments"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("tiny") / "model", context=160)


@pytest.fixture
def settings(model: Path, tmp_path: Path) -> TrainConfig:
    worked = generated.draw("addition", split="train", seed=0, count=60)
    rows = [{"prompt": (p := generated.prompt(w)), "response": generated.render(w).removeprefix(p)} for w in worked]
    file = tmp_path / "sums.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{torn\n")
    return TrainConfig(
        data="sft", init=str(model), run=tmp_path / "run", sft=SftConfig(files=(file,), valid_share=0.1),
        context=159, batch_size=4, steps=16, precision="fp32", threads=1, checkpoint_every=4, log_every=2,
        optim=OptimConfig(lr=1e-2, warmup=2), guard=GuardConfig(patience=2, returns=2),
    )  # fmt: skip


def weights(run: Path) -> bytes:
    return (run / "model" / "model.safetensors").read_bytes()


def rows_of(run: Path) -> list[dict[str, Any]]:
    return [
        {k: v for k, v in row.items() if k not in ("seconds", "tokens_per_second", "eta_seconds", "memory_bytes")}
        for row in read_jsonl(run / "rows.jsonl")
    ]


def test_answers_are_learned_and_a_resumed_run_has_the_same_bits(settings, tmp_path):
    said: list[str] = []
    assert train(settings, lambda event: said.append(event.note)) is not None
    losses = [row["loss"] for row in rows_of(settings.run) if "loss" in row]
    assert losses[-1] < 0.8 * losses[0]
    metrics = read_json(settings.run / "metrics.json")
    assert metrics["examples"]["dropped"] == {"not valid JSON": 1} and metrics["examples"]["rows"] == 61
    assert list(metrics["valid"]) == ["sums"] and metrics["epochs"]["sums"] > 1
    assert any("of 61 examples used" in note for note in said)
    assert "sums.jsonl:61: not valid JSON" in (settings.run / "log.txt").read_text()
    parts = replace(settings, run=tmp_path / "parts")
    for stop in (3, 4, 9):
        train(parts, stop_at=stop)
    train(parts)
    assert weights(parts.run) == weights(settings.run)
    assert rows_of(parts.run)[-2:] == rows_of(settings.run)[-2:]


def test_a_run_that_goes_on_tokenises_nothing_again_unless_what_it_is_made_of_has_changed(settings, model, monkeypatch):
    train(settings, stop_at=4)
    (copy,) = (settings.run / "examples").iterdir()
    first = loop.prepare(settings).rows
    real, times = sft.Encoder.encode, [0]

    def counted(self, examples):
        times[0] += 1
        return real(self, examples)

    monkeypatch.setattr(sft.Encoder, "encode", counted)
    again = loop.prepare(settings).rows
    assert times == [0] and again.counts == first.counts and again.fingerprint() == first.fingerprint()
    for step in range(6):
        for a, b in zip(astuple(first.batch(step)), astuple(again.batch(step)), strict=True):
            assert (a is None and b is None) or (np.array_equal(a, b) and a.dtype == b.dtype)
    loop.prepare(replace(settings, sft=replace(settings.sft, valid_share=0.2, packing=False)))
    assert times == [0]  # neither decides about ids
    for changes in ({"sft": replace(settings.sft, length=40)}, {"sft": replace(settings.sft, template="metamath")},
                    {"context": 100}):  # fmt: skip
        before = times[0]
        loop.prepare(replace(settings, **changes))
        assert times[0] == before + 1, changes
    rows = settings.sft.files[0].read_text()
    settings.sft.files[0].write_text(rows + rows.splitlines()[0] + "\n")
    before = times[0]
    assert loop.prepare(settings).rows.counts.rows == 62 and times[0] == before + 1
    settings.sft.files[0].write_text(rows)
    data = bytearray(copy.read_bytes())
    data[-1] ^= 1  # of the mask, or a number of a file: only the hash can tell
    copy.write_bytes(data)
    before = times[0]
    assert loop.prepare(settings).rows.counts == first.counts and times[0] == before + 1
    assert train(settings) is not None  # and writes a whole one
    before = times[0]
    loop.prepare(settings)
    assert times[0] == before


def test_packed_examples_of_two_files_have_a_loss_each(settings, tmp_path):
    other = tmp_path / "words.jsonl"
    other.write_text("".join(json.dumps({"prompt": f"{i}?", "response": "a b c d " * 3}) + "\n" for i in range(40)))
    config = replace(settings, sft=replace(settings.sft, files=(*settings.sft.files, other)), steps=6, log_every=1)
    assert train(config) is not None
    rows = loop.prepare(config).rows
    for row in rows_of(config.run):
        if "loss" in row:
            batch = rows.batch(row["step"] - 1)
            found = sources_of(batch)
            assert set(row["sources"]) == {("sums", "words")[n] for n in set(found.tolist())}
            share = [np.mean(found == n) * row["sources"].get(name, 0.0) for n, name in enumerate(("sums", "words"))]
            assert row["loss"] == pytest.approx(sum(share), abs=1e-5)


def test_a_plan_counts_the_examples(settings):
    planned = plan(settings)
    assert planned["examples"]["rows"] == 61 and "sums" in planned["epochs"]


def test_a_model_that_cannot_keep_examples_apart_gets_no_packed_rows(settings, monkeypatch):
    monkeypatch.setattr("llemma.models.llama.Llama.document_masks", False, raising=False)
    with pytest.raises(ConfigError, match=r"sft\.packing=false"):
        train(settings)
    assert train(replace(settings, sft=replace(settings.sft, packing=False), steps=1)) is not None


@pytest.mark.slow
def test_a_model_of_transformers_is_fine_tuned_on_packed_examples(settings, model, tmp_path):
    """The losses of packed rows are those of the examples alone, in training as in validation."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from llemma.tokens.tokenizer import load_tokenizer

    tokenizer, folder = load_tokenizer(model), tmp_path / "qwen"
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "head_dim": 8, "pad_token_id": None}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256}
    torch.manual_seed(0)
    Qwen3ForCausalLM(Qwen3Config(vocab_size=tokenizer.vocab_size, **sizes, **heads)).save_pretrained(folder)
    tokenizer.save(folder)
    first = []
    for name, packing in (("packed", True), ("alone", False)):
        config = replace(
            settings, init=str(folder), run=tmp_path / name, steps=1,
            sft=replace(settings.sft, packing=packing, valid_share=0.0),
        )  # fmt: skip
        config = replace(config, batch_size=len(loop.prepare(config).rows))  # an epoch in a step
        assert train(config) is not None
        first.append(next(row["loss"] for row in rows_of(config.run) if "loss" in row))
    assert first[0] == pytest.approx(first[1], abs=1e-5)
    Qwen3ForCausalLM.from_pretrained(tmp_path / "packed" / "model")


# The guard: real steps whose loss is made no number for chosen rows of data, wherever in the run they come


def poison(monkeypatch: pytest.MonkeyPatch, settings: TrainConfig, steps: set[int]) -> Callable[[], int]:
    """From now on the loss of the rows of these batches is not a number; how often that happened."""
    source = loop.prepare(settings).rows
    bad = {source.batch(step).ids.tobytes() for step in steps}
    real, times = loop._loss_sum, [0]

    def broken(training: Any, batch: Batch) -> torch.Tensor:
        loss = real(training, batch)
        if batch.ids.tobytes() in bad and torch.is_grad_enabled():
            times[0] += 1
            return loss * float("nan")
        return loss

    monkeypatch.setattr(loop, "_loss_sum", broken)
    return lambda: times[0]


def finite(run: Path) -> bool:
    from llemma.models.checkpoint import load_tensors

    return all(bool(torch.isfinite(t).all()) for t in load_tensors(run / "model" / "model.safetensors").values())


def events(run: Path) -> list[tuple[str, int, str]]:
    return [(row["id"], row["step"], row["guard"]) for row in read_jsonl(run / "rows.jsonl") if "guard" in row]


def test_one_bad_batch_is_skipped_and_told(settings, tmp_path, monkeypatch):
    times = poison(monkeypatch, settings, {5})
    assert train(settings) is not None
    assert times() == 1 and finite(settings.run)
    assert events(settings.run) == [("guard-000001", 6, "skip")]
    row = next(r for r in read_jsonl(settings.run / "rows.jsonl") if "guard" in r)
    assert row["bad_loss"] == "nan" and row["reason"] == "the loss is nan"
    assert np.isfinite([r["loss"] for r in read_jsonl(settings.run / "rows.jsonl") if "loss" in r]).all()


def test_a_bad_stretch_leads_back_to_the_checkpoint_and_is_jumped_over(settings, tmp_path, monkeypatch):
    times = poison(monkeypatch, settings, {5, 6, 7})
    assert train(settings) is not None
    # steps 6 and 7 are bad; back to 4, whose next data is batch 7: bad too, but alone
    assert [event[1:] for event in events(settings.run)] == [(6, "skip"), (7, "back"), (5, "skip")]
    assert times() == 3 and finite(settings.run)
    assert "back to step 4" in (settings.run / "log.txt").read_text()
    steps = [row["step"] for row in read_jsonl(settings.run / "rows.jsonl") if "loss" in row]
    assert steps == sorted(set(steps)) and steps[-1] == 16


@pytest.mark.parametrize("stop", [4, 8])  # where checkpoints lie: stopping elsewhere makes one more to go back to
def test_a_run_with_bad_steps_resumes_to_the_same_bits(stop, settings, tmp_path, monkeypatch):
    poison(monkeypatch, settings, {5, 6, 7, 12})
    train(settings)
    parts = replace(settings, run=tmp_path / "parts")
    train(parts, stop_at=stop)
    train(parts)
    assert weights(parts.run) == weights(settings.run)
    assert events(parts.run) == events(settings.run)


def test_killed_between_going_back_and_the_next_checkpoint_it_goes_back_again(settings, tmp_path, monkeypatch):
    poison(monkeypatch, settings, {5, 6})
    train(settings)
    parts = replace(settings, run=tmp_path / "parts")
    real = loop._go_back

    def killed(*args: Any) -> Any:
        real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_go_back", killed)
    with pytest.raises(KeyboardInterrupt):
        train(parts)
    monkeypatch.setattr(loop, "_go_back", real)
    train(parts)
    assert weights(parts.run) == weights(settings.run) and events(parts.run) == events(settings.run)


def test_a_run_that_stays_bad_ends_and_says_so(settings, monkeypatch):
    poison(monkeypatch, settings, set(range(5, 60)))
    with pytest.raises(RunError, match=r"the loss is nan; 2 bad steps in a row, after going back 2 times at step"):
        train(settings)
    assert (settings.run / "checkpoints" / "step-000004").is_dir()


# The recipe


def test_the_metamath_recipe_has_the_published_steps_and_rates():
    recipe = resolve(TrainConfig, files=[EXPERIMENTS / "metamath-7b.toml"])
    steps = -(-395_000 * 3 // recipe.batch_size)
    assert steps == 9258 and recipe.optim.warmup == -(-3 * steps // 100)
    assert learning_rate(recipe.optim, recipe.optim.warmup, steps) == pytest.approx(2e-5)
    assert learning_rate(recipe.optim, steps, steps) == pytest.approx(0, abs=1e-20)
    middle = recipe.optim.warmup + (steps - recipe.optim.warmup) // 2
    assert learning_rate(recipe.optim, middle, steps) == pytest.approx(1e-5)
    constant = resolve(TrainConfig, files=[EXPERIMENTS / "metamath-7b.toml"], words=["optim.final_ratio=1"])
    assert learning_rate(constant.optim, steps - 1, steps) == pytest.approx(2e-5)
    assert (recipe.sft.template, recipe.sft.too_long, recipe.sft.length, recipe.sft.packing) == (
        "metamath",
        "cut",
        512,
        False,
    )


@pytest.mark.slow
def test_the_metamath_recipe_runs_at_a_small_size(tmp_path):
    rows = [
        {"query": f"What is {a}+{b}?\nThink.", "response": f"{a}+{b}={a + b}\nThe answer is: {a + b}", "type": "GSM"}
        for a in range(10) for b in range(10)
    ]  # fmt: skip
    (tmp_path / "qa.json").write_text(json.dumps(rows))
    words = [
        f"init={save_tiny(tmp_path / 'model', context=512)}", f"run={tmp_path / 'run'}", "batch_size=10",
        f"sft.files={tmp_path / 'qa.json'}", "micro_batch=5", "optim.lr=1e-3", "optim.warmup=3", "precision=fp32",
        "epochs=1", "threads=1",
    ]  # fmt: skip
    config = resolve(TrainConfig, files=[EXPERIMENTS / "metamath-7b.toml"], words=words)
    done = train(config)
    assert done is not None and done.metrics["steps"] == 10
    assert done.metrics["examples"]["used"] + sum(done.metrics["examples"]["dropped"].values()) == 100

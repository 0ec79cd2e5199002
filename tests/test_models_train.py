"""Models of ``transformers`` and adapters in the loop itself: resumed = straight, folders that load elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from llemma.config import to_table
from llemma.corpus.pipeline import CorpusConfig, TokenizerEntry, build_corpus
from llemma.errors import ConfigError
from llemma.models.files import load_tensors, load_weights
from llemma.models.lora_config import LoraSettings
from llemma.models.open import open_model
from llemma.run import read_json, read_jsonl
from llemma.train.checkpoint import checkpoints
from llemma.train.config import OptimConfig, TrainConfig
from llemma.train.job import exported
from llemma.train.loop import train
from llemma.train.memory import plan
from ranks import train_all
from test_models_hf import COMMON, FAMILIES, loud
from test_train import settings_in, write_sources


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices of 32 columns: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    recipe = CorpusConfig(
        sources=write_sources(folder), tokenizer=TokenizerEntry(vocab_size=400), valid_share=0.05, run=folder / "built"
    )
    build_corpus(recipe)
    return recipe.run


def started(corpus: Path, folder: Path, name: str, vocabulary: int = 400) -> TrainConfig:
    """A run of 8 steps from a random model of the family."""
    kind, settings = FAMILIES[name] if name != "llama" else ("llama", COMMON)
    config = transformers.AutoConfig.for_model(kind, **settings | {"vocab_size": vocabulary})
    loud(transformers.AutoModelForCausalLM.from_config(config)).save_pretrained(folder / "init")
    base = settings_in(folder, corpus)
    return replace(
        base,
        init=str(folder / "init"),
        steps=8,
        checkpoint_every=3,
        valid_every=0,
        optim=OptimConfig(lr=3e-3, warmup=2),
    )


def straight_and_resumed(config: TrainConfig) -> tuple[Path, Path]:
    """The run done twice: at once, and stopped after 5 steps (its last checkpoint is of those)."""
    again = replace(config, run=config.run.with_name("again"))
    assert train(config) is not None
    assert train(again, stop_at=5) is None
    assert train(again) is not None
    return config.run, again.run


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_jsonl(run / "rows.jsonl") if "loss" in row]


def check(straight: Path, resumed: Path) -> None:
    """Same bits; a folder that transformers loads whose logits are ours."""
    torch.testing.assert_close(load_weights(straight / "model"), load_weights(resumed / "model"), atol=0, rtol=0)
    assert losses(straight)[-1] < losses(straight)[0]
    theirs = transformers.AutoModelForCausalLM.from_pretrained(straight / "model", attn_implementation="eager")
    ids = torch.arange(60).view(2, 30)
    with torch.no_grad():
        mine = open_model(str(straight / "model"))(ids)
        torch.testing.assert_close(mine, theirs(input_ids=ids).logits, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["qwen2, tied, sliding", "gemma2", "mixtral"])
def test_other_families_train_in_the_loop_and_resume_to_the_bit(name: str, corpus: Path, tmp_path: Path) -> None:
    config = started(corpus, tmp_path, name)
    check(*straight_and_resumed(config))
    planned = plan(config)
    assert planned["parameters"] == open_model(config.init).parameter_count()


@pytest.mark.parametrize("name", ["llama", "qwen2"])
def test_adapters_train_in_the_loop_and_resume_to_the_bit(name: str, corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="needs peft: pip install '.[train]' -c constraints.txt")
    config = replace(started(corpus, tmp_path, name), lora=LoraSettings(rank=4))
    straight, resumed = straight_and_resumed(config)
    check(straight, resumed)
    assert (straight / "model" / "adapter" / "adapter_config.json").is_file()
    [file] = set((straight / "checkpoints" / "step-000008").glob("*.safetensors")) - {
        straight / "checkpoints" / "step-000008" / "optimizer.safetensors"
    }
    names = load_tensors(file)
    assert names and all(".lora_" in name for name in names)  # a checkpoint holds what learns
    frozen, merged = load_weights(Path(config.init)), load_weights(straight / "model")
    changed = {n for n in merged if not torch.equal(merged[n], frozen[n])}
    assert changed == {n for n in merged if "_proj." in n and n.endswith("weight")}


@pytest.mark.slow
def test_adapters_of_two_processes_have_the_losses_of_one_and_go_on_from_either(corpus: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="needs peft: pip install '.[train]' -c constraints.txt")
    jobs, configs = list[dict[str, Any]](), dict[str, TrainConfig]()
    for name in ("llama", "qwen2"):
        (tmp_path / name).mkdir()
        config = replace(started(corpus, tmp_path / name, name), lora=LoraSettings(rank=4), log_every=1, device="cpu")
        configs[name] = config
        train(config)
        train(replace(config, run=tmp_path / name / "1 to 2"), stop_at=4)
        for ending, changes in {"2": {}, "1 to 2": {}, "2 to 1": {"stop_at": 4}}.items():
            settings = to_table(replace(config, run=tmp_path / name / ending))
            jobs.append(json.loads(json.dumps(settings, default=str)) | changes | {"world": 2})
    train_all(jobs, tmp_path)
    for name, config in configs.items():
        train(replace(config, run=tmp_path / name / "2 to 1"))
        expected = load_weights(config.run / "model")
        for ending in ("2", "1 to 2", "2 to 1"):
            run = tmp_path / name / ending
            assert losses(run) == pytest.approx(losses(config.run), abs=1e-5), run
            weights = load_weights(run / "model")
            assert weights.keys() == expected.keys()
            for key, tensor in weights.items():
                torch.testing.assert_close(tensor, expected[key], atol=1e-4, rtol=1e-3)
            assert (run / "model" / "adapter" / "adapter_config.json").is_file()
        run = tmp_path / name / "2"
        parts = list(checkpoints(run / "checkpoints")[-1].glob("weights-*"))
        held = sum(t.numel() for path in parts for t in load_tensors(path).values())
        assert len(parts) == 2 and held < 0.2 * read_json(run / "metrics.json")["parameters"]  # what learns, once
        exported(replace(config, run=run, export=tmp_path / name / "exported"))
        again = load_weights(tmp_path / name / "exported")
        torch.testing.assert_close(again, load_weights(run / "model"), atol=0, rtol=0)


def test_documents_do_not_see_each_other_in_a_run_of_another_family(corpus: Path, tmp_path: Path) -> None:
    config = started(corpus, tmp_path, "qwen2")
    train(config)
    alone = replace(config, documents=True, run=tmp_path / "documents")
    train(alone)
    assert losses(config.run) != losses(alone.run)


def test_adapters_need_a_model(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"lora\.rank needs init=FOLDER"):
        replace(settings_in(tmp_path, corpus), lora=LoraSettings(rank=4))


def test_a_vocabulary_that_does_not_fit_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="300 vocabulary entries"):
        train(started(corpus, tmp_path, "qwen2", vocabulary=300))

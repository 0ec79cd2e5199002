"""LoRA on our Llama and on models of ``transformers``: what learns, merging, peft's files both ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from llemma.errors import ConfigError, DataError
from llemma.models.lora_config import LoraSettings
from llemma.models.open import open_model
from test_models_hf import loud, tiny

peft = pytest.importorskip("peft", reason="needs peft: pip install '.[train]' -c constraints.txt")
from llemma.models.lora import FOLDER, Lora, merge_folder, open_lora, wrap  # noqa: E402

RANK4 = LoraSettings(rank=4, alpha=8)
FAMILIES = ["llama", "qwen2", "gemma2", "phi", "gpt2"]  # ours; theirs: three projections, soft caps, biases, Conv1D


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices of 32 columns: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=FAMILIES)
def init(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model folder of the family."""
    folder = tmp_path / "init"
    if request.param == "llama":
        import transformers

        from test_models_hf import COMMON

        config = transformers.AutoConfig.for_model("llama", **COMMON)
        loud(transformers.AutoModelForCausalLM.from_config(config)).save_pretrained(folder)
    else:
        tiny(request.param).save_pretrained(folder)
    return folder


def random_ids(rows: int = 2, length: int = 40) -> Tensor:
    return torch.randint(101, (rows, length), generator=torch.Generator().manual_seed(length))


def stepped(model: Lora, steps: int = 3) -> list[float]:
    """Losses of a few steps on one batch."""
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    losses = []
    for _ in range(steps):
        loss = model.loss(random_ids())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def logits(model: Any) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(random_ids())
    return found


def test_fresh_adapters_change_nothing_and_only_they_learn(init: Path) -> None:
    model, plain = open_lora(str(init), RANK4), open_model(str(init))
    torch.testing.assert_close(logits(model), logits(plain), atol=0, rtol=0)
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    losses = stepped(model)
    assert losses[-1] < losses[0]
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
    assert 0 < model.trainable_count() < plain.parameter_count()
    assert model.parameter_count() == plain.parameter_count() + model.trainable_count()


def test_merged_logits_equal_unmerged_ones_to_1e_5(init: Path, tmp_path: Path) -> None:
    import transformers

    model = open_lora(str(init), RANK4)
    before = logits(model)
    stepped(model)
    unmerged = logits(model)
    assert (unmerged - before).abs().max() > 0.05
    out = tmp_path / "merged"
    out.mkdir()
    model.save(out, end_id=2)
    torch.testing.assert_close(logits(model), unmerged, atol=0, rtol=0)  # saving merges a copy
    torch.testing.assert_close(logits(open_model(str(out))), unmerged, atol=1e-5, rtol=1e-5)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(out, attn_implementation="eager")
    torch.testing.assert_close(logits(lambda ids: theirs(input_ids=ids).logits), unmerged, atol=1e-5, rtol=1e-5)


def test_peft_reads_our_adapter_and_we_merge_it(init: Path, tmp_path: Path) -> None:
    import transformers

    model = open_lora(str(init), RANK4)
    stepped(model)
    folder = tmp_path / "adapter"
    folder.mkdir()
    model.save_adapter(folder)
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(init)
    base = transformers.AutoModelForCausalLM.from_pretrained(init, attn_implementation="eager")
    theirs = peft.PeftModel.from_pretrained(base, folder).eval()
    torch.testing.assert_close(logits(lambda ids: theirs(input_ids=ids).logits), logits(model), atol=1e-5, rtol=1e-5)
    plain = open_model(str(init))
    merge_folder(plain, folder)
    torch.testing.assert_close(logits(plain), logits(model), atol=1e-5, rtol=1e-5)


def test_an_adapter_that_peft_made_is_merged(init: Path, tmp_path: Path) -> None:
    import transformers

    base = transformers.AutoModelForCausalLM.from_pretrained(init, attn_implementation="eager")
    config = peft.LoraConfig(
        r=3,
        lora_alpha=5,
        target_modules="all-linear",
        use_rslora=True,
        init_lora_weights=False,
        fan_in_fan_out=base.config.model_type == "gpt2",
        task_type="CAUSAL_LM",
    )
    theirs = peft.get_peft_model(base, config).eval()
    expected = logits(lambda ids: theirs(input_ids=ids).logits)
    theirs.save_pretrained(tmp_path / "adapter")
    plain = open_model(str(init))
    before = logits(plain)
    merge_folder(plain, tmp_path / "adapter")
    assert (expected - before).abs().max() > 0.05
    torch.testing.assert_close(logits(plain), expected, atol=1e-4, rtol=1e-4)


def test_the_same_seed_gives_the_same_adapters(init: Path) -> None:
    a, b, c = (dict(open_lora(str(init), RANK4, seed=seed).named_parameters()) for seed in (1, 1, 2))
    learnt = [name for name in a if "lora_A" in name]
    assert all(torch.equal(a[name], b[name]) and not torch.equal(a[name], c[name]) for name in learnt)


def test_chosen_targets_alone_get_adapters(tmp_path: Path) -> None:
    tiny("qwen2").save_pretrained(tmp_path)
    model = open_lora(str(tmp_path), LoraSettings(rank=2, targets=("q_proj", "v_proj")))
    assert len(model.deltas()) == 4
    assert model.trainable_count() == 2 * 2 * ((32 + 32) + (32 + 16))
    everything = open_lora(str(tmp_path), RANK4)
    assert len(everything.deltas()) == 2 * 7 and "lm_head.weight" not in everything.deltas()
    whole = open_model(str(tmp_path)).flops_per_token(64)
    assert 0.6 * whole < model.flops_per_token(64) < 0.9 * whole
    with pytest.raises(ConfigError, match=r"no linear layer qq_proj; known: \['down_proj'"):
        open_lora(str(tmp_path), LoraSettings(rank=2, targets=("qq_proj",)))


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_four_bits_are_refused_without_a_gpu(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs a GPU; on this machine use lora\.frozen=whole"):
        open_lora(str(tmp_path), LoraSettings(rank=2, frozen="nf4"))


def test_adapters_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    tiny("qwen2").save_pretrained(tmp_path / "qwen2")
    model = open_lora(str(tmp_path / "qwen2"), RANK4)
    (tmp_path / "adapter").mkdir()
    model.save_adapter(tmp_path / "adapter")
    with pytest.raises(DataError, match="does not fit the model"):
        merge_folder(wrapped_other(tmp_path), tmp_path / "adapter")
    with pytest.raises(DataError, match="not an adapter"):
        merge_folder(open_model(str(tmp_path / "qwen2")), tmp_path / "qwen2")
    settings = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(settings | {"use_dora": True}))
    with pytest.raises(DataError, match="only plain LoRA"):
        merge_folder(open_model(str(tmp_path / "qwen2")), tmp_path / "adapter")


def wrapped_other(tmp_path: Path) -> Any:
    tiny("gpt2").save_pretrained(tmp_path / "gpt2")
    return open_model(str(tmp_path / "gpt2"))


def test_a_merged_folder_holds_the_adapter_too(tmp_path: Path) -> None:
    tiny("qwen2").save_pretrained(tmp_path / "init")
    model = wrap(open_model(str(tmp_path / "init")), RANK4, str(tmp_path / "init"))
    stepped(model)
    (tmp_path / "out").mkdir()
    model.save(tmp_path / "out")
    again = open_model(str(tmp_path / "init"))
    merge_folder(again, tmp_path / "out" / FOLDER)
    torch.testing.assert_close(logits(again), logits(open_model(str(tmp_path / "out"))), atol=1e-6, rtol=1e-6)

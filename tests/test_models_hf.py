"""Models of ``transformers`` behind our loop's interface, family by family, against the model's own code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from llemma.errors import ConfigError, DataError
from llemma.models import hf
from llemma.models.files import load_weights
from llemma.models.hf import HfModel, attend, fitted, positions
from llemma.models.open import count, open_model
from llemma.train.config import OptimConfig
from llemma.train.optim import adamw

COMMON: dict[str, Any] = {
    "vocab_size": 101,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT: dict[str, Any] = {"vocab_size": 101, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}

# Name → settings of a tiny model of the family, chosen so that what is special about it shows.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama, scaled rotary positions": (
        "llama",
        COMMON | {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
    ),
    "llama with biases": ("llama", COMMON | {"attention_bias": True, "mlp_bias": True}),
    "mistral, sliding window": ("mistral", COMMON | {"sliding_window": 20}),
    "mistral": ("mistral", COMMON | {"sliding_window": None}),
    "qwen2": ("qwen2", COMMON),
    "qwen2, tied, sliding": (
        "qwen2",
        COMMON
        | {"tie_word_embeddings": True, "use_sliding_window": True, "sliding_window": 20, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", COMMON | {"head_dim": 16}),
    "gemma": ("gemma", COMMON | {"head_dim": 16}),
    "gemma2": (
        "gemma2",
        COMMON
        | {
            "head_dim": 16,
            "sliding_window": 20,
            "query_pre_attn_scalar": 5,
            "attn_logit_softcapping": 2.0,
            "final_logit_softcapping": 1.5,
        },
    ),
    "gemma3": ("gemma3_text", COMMON | {"head_dim": 16, "sliding_window": 20, "query_pre_attn_scalar": 5}),
    "olmo": ("olmo", COMMON),
    "olmo2": ("olmo2", COMMON),
    "olmo3": ("olmo3", COMMON | {"sliding_window": 20}),
    "phi": ("phi", COMMON),
    "phi3": ("phi3", COMMON | {"sliding_window": 20}),
    "granite": ("granite", COMMON | {"logits_scaling": 4.0, "attention_multiplier": 0.3, "embedding_multiplier": 2.0}),
    "cohere": ("cohere", COMMON | {"logit_scale": 0.25}),
    "starcoder2": ("starcoder2", COMMON | {"sliding_window": 20}),
    "stablelm": ("stablelm", COMMON),
    "smollm3": ("smollm3", COMMON),
    "mixtral": ("mixtral", COMMON | {"num_local_experts": 4}),
    "pythia": ("gpt_neox", {k: v for k, v in COMMON.items() if k != "num_key_value_heads"}),
    "gpt2": ("gpt2", GPT | IDS),
    "gptj": ("gptj", GPT | IDS | {"rotary_dim": 4}),
    "deepseek v3": (
        "deepseek_v3",
        COMMON
        | {
            "num_key_value_heads": 4,
            "q_lora_rank": 8,
            "kv_lora_rank": 8,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 12,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 1,
            "topk_group": 1,
            "moe_intermediate_size": 16,
            "first_k_dense_replace": 1,
        },
    ),
}
OWN_ATTENTION = {"gptj", "stablelm"}  # their attention does not go through transformers' interface


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices of 32 columns: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


every_family = pytest.mark.parametrize("name", FAMILIES)


def tiny(name: str, attention: str = "eager") -> Any:
    """A random model of the family."""
    kind, settings = FAMILIES[name]
    config = transformers.AutoConfig.for_model(kind, **settings)
    return loud(transformers.AutoModelForCausalLM.from_config(config, attn_implementation=attention))


def loud(model: Any) -> Any:
    """The model with weights large enough that every part of it shows in the logits."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for p in model.parameters():
            noise = torch.randn(p.shape, generator=generator) * 0.2
            p.copy_(p + noise if p.ndim == 1 else noise)
    return model.eval()


def random_ids(rows: int, length: int) -> Tensor:
    return torch.randint(101, (rows, length), generator=torch.Generator().manual_seed(length))


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def folder_of(name: str, path: Path) -> Path:
    tiny(name).save_pretrained(path)
    return path


@every_family
def test_loss_and_gradients_are_those_of_the_model_itself(name: str) -> None:
    plain, model = tiny(name), fitted(HfModel(tiny(name)))
    assert model.chunked
    assert (model.inner.config._attn_implementation == hf.NAME) is (name not in OWN_ATTENTION)
    ids = random_ids(2, 70)  # longer than a block of 64 and than the windows of 20
    expected = plain(input_ids=ids, labels=ids, use_cache=False).loss
    expected.backward()
    loss = model.loss(ids)
    loss.backward()
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
    there, here = gradients(plain), gradients(model)
    scale = max(float(g.abs().max()) for g in there.values())
    torch.testing.assert_close(here, there, atol=1e-5 * scale, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(model.loss(ids), expected, atol=1e-5, rtol=1e-5)


@every_family
def test_two_steps_saved_and_reloaded_in_transformers_with_equal_logits(name: str, tmp_path: Path) -> None:
    model = open_model(str(folder_of(name, tmp_path / "before")))
    assert isinstance(model, HfModel)
    ids = random_ids(2, 40)
    optimizer = adamw(model, OptimConfig(lr=1e-2))
    losses = []
    for _ in range(2):
        loss = model.loss(ids)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    losses.append(model.loss(ids).item())
    assert losses[2] < losses[1] < losses[0]
    after = tmp_path / "after"
    after.mkdir()
    model.save(after, end_id=5)
    auto = transformers.AutoModelForCausalLM
    theirs, info = auto.from_pretrained(after, output_loading_info=True, attn_implementation="eager")
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert theirs.config.eos_token_id == 5
    with torch.no_grad():
        torch.testing.assert_close(model(ids), theirs.eval()(input_ids=ids).logits, atol=1e-5, rtol=1e-5)


@every_family
def test_a_checkpoint_of_named_parameters_is_read_by_name_and_by_transformers(name: str, tmp_path: Path) -> None:
    model = fitted(HfModel(tiny(name)))
    assert set(dict(model.named_parameters())) == set(dict(model.inner.named_parameters()))
    state = {n: p.detach().clone() for n, p in model.named_parameters()}
    expected = model(random_ids(1, 30))
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()  # the state is what is saved, not the model
    model.save(tmp_path, state=state)
    torch.testing.assert_close(load_weights(tmp_path), state, atol=0, rtol=0)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    torch.testing.assert_close(theirs(input_ids=random_ids(1, 30)).logits, expected, atol=1e-5, rtol=1e-5)


@every_family
def test_documents_of_one_row_are_as_if_each_had_its_own_row(name: str) -> None:
    model = fitted(HfModel(tiny(name)))
    lengths = (35, 1, 30, 12)
    ids = random_ids(1, sum(lengths))
    documents = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[None].int()
    if name in OWN_ATTENTION:
        with pytest.raises(ConfigError, match="within documents"):
            model.loss(ids, documents=documents)
        return
    total, n = model.loss_sum(ids, documents=documents)
    parts = [model.loss_sum(row)[0] for row in ids.split(list(lengths), dim=1) if row.shape[1] > 1]
    assert n == sum(lengths) - len(lengths) == count(ids, None, documents)
    torch.testing.assert_close(total, torch.stack(parts).sum(), atol=1e-3, rtol=1e-5)
    assert abs(model.loss_sum(ids)[0] - total) > 0.1


@every_family
def test_plan_figures_are_those_of_the_model(name: str, tmp_path: Path) -> None:
    folder = folder_of(name, tmp_path)
    planned, real = open_model(str(folder), device="meta"), open_model(str(folder))
    assert isinstance(real, HfModel)
    assert planned.parameter_count() == real.parameter_count() == sum(p.numel() for p in real.inner.parameters())
    assert len(real.blocks()) == 2
    assert planned.flops_per_token(64) == real.flops_per_token(64) > 6 * 32 * 101
    modules = dict(real.named_modules())
    assert all(isinstance(modules[n], torch.nn.Linear) for n in real.tensor_plan())
    assert real.max_context() == 256 and real.vocab_size() == 101


def test_qwen_mistral_and_phi_have_tensor_plans(tmp_path: Path) -> None:
    for name in ("qwen2", "mistral", "gemma2"):
        plan = HfModel(tiny(name)).tensor_plan()
        assert plan["model.layers.1.self_attn.o_proj"] == "rowwise"
        assert len(plan) == 14


def test_a_llama_has_the_same_loss_in_both_worlds(tmp_path: Path) -> None:
    from llemma.models.llama import Llama, LlamaConfig, flops_per_token, initialise

    sizes = LlamaConfig(**{k: v for k, v in COMMON.items() if k in LlamaConfig.__slots__})
    mine = Llama(sizes)
    initialise(mine, 0)
    mine.save(tmp_path)
    theirs = hf.open_hf(tmp_path, device="cpu", dtype=torch.float32)
    ids = random_ids(2, 70)
    mask = torch.rand(2, 69, generator=torch.Generator().manual_seed(0)) < 0.5
    torch.testing.assert_close(theirs.loss(ids, mask), mine.loss(ids, mask), atol=1e-6, rtol=1e-6)
    assert theirs.flops_per_token(64) == flops_per_token(sizes, 64)
    assert set(theirs.tensor_plan()) == set(mine.tensor_plan())


def test_a_mask_counts_exactly_the_chosen_targets() -> None:
    model = fitted(HfModel(tiny("qwen2")))
    ids = random_ids(3, 50)
    mask = torch.rand(3, 49, generator=torch.Generator().manual_seed(1)) < 0.3
    targets = ids[:, 1:].masked_fill(~mask, -100)
    expected = F.cross_entropy(tiny("qwen2")(ids[:, :-1]).logits.flatten(0, 1), targets.flatten())
    torch.testing.assert_close(model.loss(ids, mask), expected)
    total, n = model.loss_sum(ids, mask)
    assert n == int(mask.sum())
    torch.testing.assert_close(total / n, expected)


def test_dropout_is_off_whatever_the_mode() -> None:
    model = fitted(HfModel(tiny("gpt2")))  # its configuration asks for a tenth
    model.train()
    ids = random_ids(1, 30)
    assert model.loss(ids) == model.loss(ids)


def test_bf16_autocast_takes_our_attention_and_stays_near_fp32() -> None:
    model = fitted(HfModel(tiny("qwen2")))
    ids = random_ids(2, 70)
    plain = model.loss(ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fast = model.loss(ids)
    fast.backward()
    assert plain.item() != fast.item()
    assert fast.item() == pytest.approx(plain.item(), rel=2e-2)
    assert all(torch.isfinite(g).all() for g in gradients(model).values())


def test_an_output_layer_of_another_form_falls_back_to_whole_logits() -> None:
    inner = tiny("qwen2")
    head = inner.lm_head
    inner.lm_head = torch.nn.Linear(32, 101, bias=False)
    inner.lm_head.weight = head.weight
    inner.lm_head.register_forward_hook(lambda module, args, out: out * 1.5)  # what no table of ours could know
    model = fitted(HfModel(inner))
    assert not model.chunked
    ids = random_ids(2, 40)
    torch.testing.assert_close(model.loss(ids), inner(input_ids=ids, labels=ids).loss)
    total, n = model.loss_sum(ids)
    torch.testing.assert_close(total / n, model.loss(ids))


def test_attention_with_sinks_falls_back_to_the_models_own() -> None:
    settings = COMMON | {"head_dim": 16, "num_local_experts": 4, "sliding_window": 20}
    config = transformers.AutoConfig.for_model("gpt_oss", **settings)
    model = fitted(HfModel(transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")))
    assert model.inner.config._attn_implementation != hf.NAME
    assert not model.document_masks
    ids = random_ids(1, 40)
    torch.testing.assert_close(model.loss(ids), model.inner(input_ids=ids, labels=ids).loss, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("mamba", {"vocab_size": 101, "hidden_size": 16, "num_hidden_layers": 1}, "state besides attention"),
        ("jamba", COMMON, "state besides attention"),
        ("t5", {"vocab_size": 101, "d_model": 16, "num_layers": 1, "num_heads": 2, "d_kv": 8}, "encoder-decoder"),
        ("vit", {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}, "not a causal language model"),
    ],
)
def test_other_architectures_are_refused_by_name(kind: str, settings: Any, message: str, tmp_path: Path) -> None:
    transformers.AutoConfig.for_model(kind, **settings).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=message) as error:
        open_model(str(tmp_path), device="meta")
    assert kind in str(error.value)


def test_a_model_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    settings = {k: v for k, v in COMMON.items() if k != "num_key_value_heads"}
    config = transformers.AutoConfig.for_model("bert", **settings)
    loud(transformers.AutoModelForCausalLM.from_config(config)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="later tokens"):
        open_model(str(tmp_path))


def test_missing_weights_and_another_rope_theta(tmp_path: Path) -> None:
    folder = folder_of("qwen2", tmp_path / "qwen2")
    changed, same = open_model(str(folder), rope_theta=77.0), open_model(str(folder))
    ids = random_ids(1, 60)
    assert abs(changed.loss(ids) - same.loss(ids)) > 1e-3
    (tmp_path / "saved").mkdir()
    changed.save(tmp_path / "saved")
    torch.testing.assert_close(open_model(str(tmp_path / "saved")).loss(ids), changed.loss(ids))
    with pytest.raises(ConfigError, match="rope_theta"):
        open_model(str(folder_of("gpt2", tmp_path / "gpt2")), rope_theta=77.0)
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match="cannot load the weights"):
        open_model(str(folder))


def test_positions_start_anew_in_each_document() -> None:
    documents = torch.tensor([[3, 3, 5, 5, 5, 1], [0, 0, 0, 0, 0, 0]])
    assert positions(documents).tolist() == [[0, 1, 0, 1, 2, 0], [0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize(
    "asked",
    [{"dropout": 0.1}, {"s_aux": torch.zeros(2)}, {"position_bias": torch.zeros(1)}, {"is_causal": False}],
    ids=lambda asked: next(iter(asked)),
)
def test_our_attention_refuses_what_it_does_not_know(asked: dict[str, Any]) -> None:
    x = torch.randn(1, 2, 8, 4)
    with pytest.raises(hf.Uncovered, match="does not know"):
        attend(torch.nn.Identity(), x, x, x, None, **asked)
    with pytest.raises(hf.Uncovered, match="additive"):
        attend(torch.nn.Identity(), x, x, x, torch.zeros(1, 1, 8, 8))
    with pytest.raises(hf.Uncovered, match="one row"):
        attend(torch.nn.Identity(), x[:, :, :1], x, x, None)

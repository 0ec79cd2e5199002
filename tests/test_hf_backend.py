"""``hf:``: our engine for Llama folders, ``transformers`` for the rest, and clear words when there is no model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from llemma.backends import Request, open_backend
from llemma.backends.hf import LlamaBackend, TransformersBackend, cut
from llemma.errors import BackendError, ConfigError, DataError
from llemma.models.checkpoint import save_model
from llemma.models.llama import Llama, LlamaConfig
from llemma.records import Sampling
from llemma.tokens.tokenizer import Tokenizer, load_tokenizer, train_tokenizer

TEXT = ["the answer is 12. next problem: what is 3 + 45?", "if x = 7 then 2 x = 14, so the sum is 21. ∎"]
PROMPTS = ["what is", "if x = 7 then", "sum", "the answer is 12. next problem: what is 3 + 45? the sum"]
CONTEXT = 128


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_tokenizer(TEXT * 10, 320)


def loud(model: Any, seed: int) -> Any:
    """Weights large enough that greedy text depends on the prompt."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.2
            parameter.copy_(parameter + noise if parameter.ndim == 1 else noise)
    return model.eval()


@pytest.fixture(scope="module")
def llama_folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    model = Llama(
        LlamaConfig(
            vocab_size=tokenizer.vocab_size,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=CONTEXT,
        )
    )
    save_model(loud(model, 1), folder, end_id=tokenizer.end_id)
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def gpt2_folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import transformers

    folder = tmp_path_factory.mktemp("gpt2")
    config = transformers.GPT2Config(
        vocab_size=tokenizer.vocab_size,
        n_embd=32,
        n_layer=2,
        n_head=2,
        n_positions=CONTEXT,
        bos_token_id=tokenizer.end_id,
        eos_token_id=tokenizer.end_id,
    )
    torch.manual_seed(0)
    loud(transformers.GPT2LMHeadModel(config), 2).save_pretrained(folder)
    tokenizer.save(folder)
    return folder


@pytest.fixture(scope="module")
def gpt2(gpt2_folder: Path) -> TransformersBackend:
    backend = open_backend(f"hf:{gpt2_folder}")
    assert isinstance(backend, TransformersBackend)
    return backend


@pytest.fixture(params=["llama", "gpt2"])
def backend(request: pytest.FixtureRequest) -> Any:
    """Each engine in turn."""
    return open_backend(f"hf:{request.getfixturevalue(request.param + '_folder')}")


def text_of(model: Any, tokenizer: Tokenizer, prompt: str, tokens: int) -> str:
    """What ``transformers`` itself generates greedily."""
    ids = torch.tensor([tokenizer.encode(prompt)])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=False, pad_token_id=tokenizer.end_id
    )
    return tokenizer.decode(out[0, ids.shape[1] :].tolist())


def requests(*prompts: str) -> list[Request]:
    return [Request(prompt=prompt) for prompt in prompts]


def test_a_llama_folder_runs_on_our_engine_and_another_on_transformers(llama_folder: Path, gpt2: Any) -> None:
    llama = open_backend(f"hf:{llama_folder}")
    assert isinstance(llama, LlamaBackend)
    assert llama.info["engine"] == "llemma"
    assert gpt2.info["engine"].startswith("transformers ")
    assert llama.batch >= 1 and gpt2.batch >= 1


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_greedy_text_is_that_of_transformers(kind: str, tokenizer: Tokenizer, request: pytest.FixtureRequest) -> None:
    import transformers

    folder = request.getfixturevalue(f"{kind}_folder")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    together = open_backend(f"hf:{folder}").complete(requests(*PROMPTS), Sampling(max_tokens=30))
    for prompt, completion in zip(PROMPTS, together, strict=True):
        assert completion.text == text_of(model, tokenizer, prompt, 30)
    assert len({completion.text for completion in together}) == len(PROMPTS)


def plain_pair(text: str) -> str:
    """Two neighbouring ASCII characters from the first half of a random model's text."""
    pairs = (text[i : i + 2] for i in range(3, len(text) // 2))
    return next(pair for pair in pairs if pair.isascii())


def test_stop_strings_are_cut_off(backend: Any) -> None:
    free = backend.complete(requests(*PROMPTS), Sampling(max_tokens=30))
    stops = (plain_pair(free[0].text), plain_pair(free[2].text))
    found = backend.complete(requests(*PROMPTS), Sampling(max_tokens=30, stop=stops))
    for before, after in zip(free, found, strict=True):
        assert after.text == cut(before.text, stops)
        assert after.finish == ("stop" if after.text != before.text else before.finish)
    assert found[0].finish == found[2].finish == "stop"
    (alone,) = backend.complete(requests(PROMPTS[0]), Sampling(max_tokens=30, stop=stops))
    assert alone.text == found[0].text and alone.tokens < free[0].tokens


def test_a_seed_decides_the_text_whatever_runs_beside_it(backend: Any) -> None:
    sampling = Sampling(max_tokens=20, temperature=0.8, top_p=0.95)
    asked = [Request(prompt="what is", seed=seed) for seed in (11, 12, 2**62 + 5)]
    first, again = (backend.complete(asked, sampling) for _ in range(2))
    assert [c.text for c in first] == [c.text for c in again]
    assert len({c.text for c in first}) == 3
    assert backend.complete(asked[1:2], sampling)[0].text == first[1].text


def test_max_tokens_and_the_reason_to_end(backend: Any) -> None:
    for limit in (1, 9):
        (completion,) = backend.complete(requests("what is"), Sampling(max_tokens=limit))
        assert completion.tokens <= limit
        assert completion.finish == ("length" if completion.tokens == limit else "eos")


def test_an_empty_prompt_is_completed(backend: Any) -> None:
    alone, beside = (backend.complete(requests(*p), Sampling(max_tokens=8)) for p in ([""], ["", "what is"]))
    assert alone[0].text == beside[0].text
    assert alone[0].tokens > 0


def test_no_requests_are_no_work(backend: Any) -> None:
    assert backend.complete([], Sampling()) == []


def test_a_prompt_longer_than_the_context_loses_its_beginning(backend: Any, tokenizer: Tokenizer) -> None:
    long = " ".join(TEXT * 10)
    ids = tokenizer.encode(long)
    assert len(ids) > CONTEXT
    kept = tokenizer.decode(ids[-(CONTEXT - 12) :])
    assert tokenizer.encode(kept) == ids[-(CONTEXT - 12) :]  # else the comparison below would not be one
    sampling = Sampling(max_tokens=12)
    assert backend.complete(requests(long), sampling) == backend.complete(requests(kept), sampling)


def test_max_tokens_beyond_the_context_is_refused(backend: Any) -> None:
    with pytest.raises(ConfigError, match=f"leaves no room for a prompt in a context of {CONTEXT}"):
        backend.complete(requests("what is"), Sampling(max_tokens=CONTEXT))


def test_log_probabilities_come_with_our_engine(llama_folder: Path) -> None:
    (completion,) = open_backend(f"hf:{llama_folder}").complete(requests("what is"), Sampling(max_tokens=5))
    assert completion.logprob is not None and -50 < completion.logprob < 0


def copy_into(folder: Path, new: Path) -> Path:
    new.mkdir(parents=True)
    for file in folder.iterdir():
        (new / file.name).write_bytes(file.read_bytes())
    return new


def test_a_run_folder_means_its_model(llama_folder: Path, tmp_path: Path) -> None:
    copy_into(llama_folder, tmp_path / "run" / "model")
    (tmp_path / "run" / "config.json").write_text('{"verb": "train", "settings": {}}')
    found = open_backend(f"hf:{tmp_path / 'run'}")
    expected = open_backend(f"hf:{llama_folder}")
    assert isinstance(found, LlamaBackend)
    sampling = Sampling(max_tokens=10)
    assert found.complete(requests(*PROMPTS), sampling) == expected.complete(requests(*PROMPTS), sampling)


def test_a_run_folder_that_is_not_finished_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"verb": "train", "settings": {}}')
    with pytest.raises(DataError, match="finish the training first"):
        open_backend(f"hf:{tmp_path}")


def test_a_llama_with_rope_scaling_goes_to_transformers(
    llama_folder: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    import transformers

    folder = copy_into(llama_folder, tmp_path / "scaled")
    table = json.loads((folder / "config.json").read_text())
    table["rope_parameters"] = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
    (folder / "config.json").write_text(json.dumps(table))
    found = open_backend(f"hf:{folder}")
    assert isinstance(found, TransformersBackend)
    (completion,) = found.complete(requests(PROMPTS[3]), Sampling(max_tokens=20))
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert completion.text == text_of(model, tokenizer, PROMPTS[3], 20)
    (plain,) = open_backend(f"hf:{llama_folder}").complete(requests(PROMPTS[3]), Sampling(max_tokens=20))
    assert completion.text != plain.text  # the scaling was not silently left out


@pytest.mark.parametrize(
    "target", ["no-such-organisation/no-such-model", "no-such-model", "./no/such/folder", "/nowhere"]
)
def test_a_model_that_is_nowhere_is_one_clear_line_at_once(target: str) -> None:
    started = time.monotonic()
    with pytest.raises((BackendError, DataError)) as caught:
        open_backend(f"hf:{target}")
    assert time.monotonic() - started < 30  # no retries against a network that is not there
    message = str(caught.value)
    assert target in message and "\n" not in message
    assert len(message) > len(target) + 20


def test_a_folder_without_a_model_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"config\.json and model\.safetensors is expected"):
        open_backend(f"hf:{tmp_path}")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_damaged_folder_names_the_file(name: str, llama_folder: Path, tmp_path: Path) -> None:
    folder = copy_into(llama_folder, tmp_path / "damaged")
    (folder / name).write_bytes((folder / name).read_bytes()[:100])
    with pytest.raises((BackendError, DataError), match=name):
        open_backend(f"hf:{folder}")


def test_a_llama_without_our_kind_of_tokenizer_goes_to_transformers_which_says_why(
    llama_folder: Path, tmp_path: Path
) -> None:
    folder = copy_into(llama_folder, tmp_path / "bare")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(BackendError, match="cannot be loaded"):
        open_backend(f"hf:{folder}")


def test_the_tokenizer_of_the_folder_is_the_one_used(llama_folder: Path, tokenizer: Tokenizer) -> None:
    assert load_tokenizer(llama_folder).to_json() == tokenizer.to_json()


def test_sampled_rows_of_transformers_depend_on_their_seed_alone(gpt2: TransformersBackend) -> None:
    how = Sampling(max_tokens=12, temperature=1.0, top_p=0.95)
    together = gpt2.complete([Request(prompt=PROMPTS[0], seed=seed) for seed in (5, 6, 7, 5)], how)
    assert together[0].text == together[3].text
    assert len({made.text for made in together}) == 3
    for seed, made in zip((5, 6, 7), together, strict=False):
        (alone,) = gpt2.complete([Request(prompt=PROMPTS[0], seed=seed)], how)
        assert alone.text == made.text


def test_both_engines_draw_the_same_text_from_a_seed(llama_folder: Path) -> None:
    import transformers

    ours = open_backend(f"hf:{llama_folder}")
    model = transformers.AutoModelForCausalLM.from_pretrained(llama_folder, dtype=torch.float32)
    theirs = TransformersBackend(model, transformers.AutoTokenizer.from_pretrained(llama_folder), "theirs")
    asked = [Request(prompt=prompt, seed=seed) for seed, prompt in enumerate(PROMPTS)]
    how = Sampling(max_tokens=10, temperature=0.8, top_p=0.9)
    one, other = ([made.text for made in engine.complete(asked, how)] for engine in (ours, theirs))
    assert one == other


def test_a_llama_of_the_hub_runs_on_our_engine(llama_folder: Path, tmp_path: Path) -> None:
    """A hub's cache as it is on the disk, and no network: the files are found, and the engine is ours."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    home = tmp_path / "home" / "hub" / "models--somebody--tiny"
    snapshot = home / "snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(llama_folder, snapshot)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    program = (
        "from llemma import Request, Sampling, open_backend\n"
        "engine = open_backend('hf:somebody/tiny')\n"
        "(made,) = engine.complete([Request(prompt='what is')], Sampling(max_tokens=8))\n"
        "print(engine.info['engine'], engine.info['model'], len(engine.info['weights']), made.tokens)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stdout.split() == ["llemma", "somebody/tiny", "64", "8"], done.stderr

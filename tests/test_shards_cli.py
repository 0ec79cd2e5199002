"""From a recipe with a SentencePiece model to training, and from any token back to its document, by the command."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from llemma.cli import main
from llemma.corpus.shards import open_shard, read_manifest
from llemma.sources import generated

RECIPE = """
run = "corpus"
valid_share = 0.1
shard_tokens = 4000
tokenizer.path = "small.model"
[sources.sums]
kind = "generated"
options.count = 300
"""
TRAIN = """
corpus = "corpus"
run = "trained"
context = 64
batch_size = 4
steps = 4
threads = 1
checkpoint_every = 2
[model]
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 2
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """A built corpus and the settings around it."""
    folder: Path = tmp_path_factory.mktemp("way")
    texts = [generated.render(worked) for worked in generated.draw("addition", split="train", seed=0, count=300)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(line for text in texts for line in text.splitlines()), model_writer=model, minloglevel=2,
        model_type="bpe", vocab_size=400, hard_vocab_limit=False, byte_fallback=True, split_digits=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, unk_id=0, bos_id=1, eos_id=2, pad_id=-1,
    )  # fmt: skip
    (folder / "small.model").write_bytes(model.getvalue())
    (folder / "recipe.toml").write_text(RECIPE.replace("small.model", str(folder / "small.model")))
    (folder / "train.toml").write_text(TRAIN)
    assert main(["corpus", str(folder / "recipe.toml"), f"run={folder / 'corpus'}"]) == 0
    return folder


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert main(list(words)) == code
    found = capsys.readouterr()
    return found.err if code else found.out


@pytest.mark.slow
def test_the_corpus_keeps_the_model_and_its_ids(here):
    assert (here / "corpus" / "tokenizer.model").read_bytes() == (here / "small.model").read_bytes()
    library = sentencepiece.SentencePieceProcessor(model_file=str(here / "small.model"))
    manifest = read_manifest(here / "corpus")
    assert manifest["tokenizer"]["vocab_size"] == library.vocab_size()
    assert len(manifest["shards"]) > 3
    ids = open_shard(here / "corpus", manifest["shards"][0])
    first = ids[: int(np.flatnonzero(ids == 2)[0])].tolist()
    assert library.encode(library.decode(first)) == first
    assert library.decode(first) in {d.text for d in generated.documents(generated.Options(count=300))}
    assert not (here / "corpus" / "tokens").exists()


def test_a_token_is_traced_on_the_command_line(here, capsys):
    words = ("corpus", str(here / "recipe.toml"), f"run={here / 'corpus'}")
    shard = read_manifest(here / "corpus")["shards"][1]
    found = json.loads(said(capsys, *words, f"trace={shard['file']}:777", "--json"))
    origin = found["origin"]
    assert (origin["file"], origin["token"]) == (shard["file"], 777)
    ids = open_shard(here / "corpus", shard)
    assert found["token_id"] == ids[777]
    assert origin["start"] + origin["offset"] == 777
    assert ids[origin["start"] + origin["tokens"] - 1] == 2
    documents = {d.id: d.text for d in generated.documents(generated.Options(count=300))}
    assert documents[origin["id"]] == found["text"]
    shown = said(capsys, *words, f"trace={Path(shard['file']).name}:777")
    assert shown.startswith(f"{shard['file']}:777: token {origin['offset']} of the {origin['tokens']} of document")
    for place, message in (("x.bin:1", "no shard x.bin"), ("1", "is not FILE:TOKEN"), ("a:1:2", "no shard a:1")):
        assert message in said(capsys, *words, f"trace={place}", code=2)


@pytest.mark.slow
def test_a_model_is_trained_on_the_shards_and_answers(here, capsys, monkeypatch):
    monkeypatch.chdir(here)
    found = json.loads(said(capsys, "train", "train.toml", "trace=3:2:17", "--json"))
    assert not (here / "trained").exists(), "a question starts nothing"
    from llemma.train.data import Mixture

    data = Mixture(here / "corpus", {}, context=64, batch_size=4, seed=0)
    assert found["token_id"] == data.batch(3)[2, 17]
    for place in ("3:4:0", "3:0:65", "x", "1:2", "-1:0:0"):
        assert "llemma: " in said(capsys, "train", "train.toml", f"trace={place}", code=2)
    trained = json.loads(said(capsys, "train", "train.toml", "--json"))
    assert (here / "trained" / "model" / "tokenizer.model").read_bytes() == (here / "small.model").read_bytes()
    assert trained["tokens"] == 4 * 4 * 64
    ask = ["eval", "generated:addition", "model=hf:trained", "limit=2", "max_tokens=4", "options.shots=0", "run=asked"]
    assert json.loads(said(capsys, *ask, "--json"))["errors"] == 0
    (here / "corpus" / "tokenizer.model").write_bytes(b"another")
    assert "not the tokeniser of the shards" in said(capsys, "train", "train.toml", "run=other", code=2)

"""Tokenisers behind one interface, documents made tokens: the library's ids, and no text ends a document."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import pydoc_data.topics
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
import tokenizers
from hypothesis import example, given
from hypothesis import strategies as st

from llemma.corpus import tokenise
from llemma.corpus.shards import read_documents
from llemma.corpus.tokenise import split_of, tokenise_part
from llemma.errors import ConfigError, DataError
from llemma.records import Document
from llemma.tokens.tokenizer import (
    END,
    HuggingFaceTokenizer,
    Tokenizer,
    load_tokenizer,
    tokenizer_file,
    train_tokenizer,
)

TEXTS = [f"Lemma {n}: {n} + {n * n} = {n + n * n}; naïve café, ∑ of x.\n" for n in range(300)]
PROSE = [line for _, topic in sorted(pydoc_data.topics.topics.items())[:20] for line in topic.splitlines()]
# What Llama's model was trained with: nothing normalised, bytes for what has no piece, one piece for each digit.
LLAMA = {
    "model_type": "bpe", "byte_fallback": True, "split_digits": True, "normalization_rule_name": "identity",
    "remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True, "character_coverage": 1.0,
    "unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1,
}  # fmt: skip
text = st.text(st.characters(exclude_categories=["Cs"]))


def trained(**options: Any) -> bytes:
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS + PROSE),
        model_writer=model,
        minloglevel=2,
        **{"vocab_size": 500, **LLAMA, **options},
    )
    return model.getvalue()


@pytest.fixture(scope="module")
def model() -> bytes:
    return trained()


@pytest.fixture(scope="module")
def pieces(model, tmp_path_factory) -> Tokenizer:
    path = tmp_path_factory.mktemp("model") / "any name.model"
    path.write_bytes(model)
    return load_tokenizer(path)


@pytest.fixture(scope="module")
def library(model):
    """hypothesis wants no function-scoped fixtures; these are shared."""
    return sentencepiece.SentencePieceProcessor(model_proto=model)


# --- SentencePiece


@given(text)
@example("")
@example("  two  spaces ")
@example("</s><s><unk><0x0A>")
@example("\x00\r\n\t日本 \U0010ffff")
@example(END)
def test_sentencepiece_gives_the_ids_of_its_library(pieces, library, text):
    expected = library.encode(text)
    assert pieces.encode(text) == expected
    assert [ids.tolist() for ids in pieces.encode_batch([text, "x"])] == [expected, library.encode("x")]
    assert pieces.encode_prompt(text) == [1, *expected]
    assert not {1, 2} & set(expected), "no text becomes a control token"
    if "\u2581" not in text:  # the model writes spaces as U+2581, and reads it back as one
        assert pieces.decode(expected) == text


def test_sentencepiece_has_its_marks_and_size(pieces, library):
    assert (pieces.end_id, pieces.vocab_size, pieces.file) == (2, library.vocab_size(), "tokenizer.model")
    assert pieces.decode([1, *pieces.encode("a b"), 2]) == "a b"
    assert all(ids.dtype == np.int64 for ids in pieces.encode_batch(["a", ""]))
    assert pieces.encode_batch([]) == []


def test_a_saved_sentencepiece_model_is_the_same_file(pieces, model, tmp_path):
    pieces.save(tmp_path)
    assert (tmp_path / "tokenizer.model").read_bytes() == model
    assert tokenizer_file(tmp_path) == tmp_path / "tokenizer.model"
    again = load_tokenizer(tmp_path)
    assert again.encode(TEXTS[7]) == pieces.encode(TEXTS[7])
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    assert [settings[f"{name}_token"] for name in ("bos", "eos", "unk")] == ["<s>", "</s>", "<unk>"]
    assert not list(tmp_path.glob(".*"))


def test_a_unigram_model_and_one_without_marks_are_read_too(tmp_path):
    (tmp_path / "a.model").write_bytes(trained(model_type="unigram", vocab_size=450))
    library = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "a.model"))
    found = load_tokenizer(tmp_path / "a.model")
    assert [ids.tolist() for ids in found.encode_batch(TEXTS[:9])] == [library.encode(t) for t in TEXTS[:9]]
    (tmp_path / "b.model").write_bytes(trained(bos_id=-1, eos_id=-1))
    bare = load_tokenizer(tmp_path / "b.model")
    assert bare.end_id is None
    assert bare.encode_prompt("a") == bare.encode("a")
    with pytest.raises(ConfigError, match=r"no end mark such as <\|endoftext\|> or </s>"):
        tokenise_part([], bare, tmp_path / "x", lambda text: "train")


def test_a_damaged_model_is_named(model, tmp_path):
    for data in (b"", b"\x00" * 50, b"not a model", model[:100], model[:-50], model[50:]):
        (tmp_path / "tokenizer.model").write_bytes(data)
        with pytest.raises(DataError, match=r"tokenizer\.model: damaged SentencePiece model .*write it again"):
            load_tokenizer(tmp_path)


def test_a_folder_with_both_files_is_read_by_the_json(model, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(model)
    train_tokenizer(PROSE, 300).save(tmp_path)
    assert load_tokenizer(tmp_path).vocab_size == 300
    assert load_tokenizer(tmp_path / "tokenizer.model").end_id == 2


# --- Hugging Face


def words(*entries: str, special: tuple[str, ...] = ()) -> HuggingFaceTokenizer:
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: n for n, w in enumerate(entries)}, unk_token="?"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    inner.add_special_tokens(list(special))
    return HuggingFaceTokenizer(inner)


@pytest.mark.parametrize("mark", ["<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>"])
def test_the_known_end_marks_are_found_and_never_read_out_of_text(mark):
    tokenizer = words("?", "a", special=(mark,))
    assert tokenizer.end_id == 2
    for spelling in (mark, f"a{mark}", f"a {mark} a"):
        assert 2 not in tokenizer.encode(spelling)
        assert 2 not in tokenizer.encode_batch([spelling])[0]


@pytest.mark.parametrize("named", ["<end>", {"content": "<end>", "lstrip": False}])
def test_the_end_mark_that_the_folder_names_goes_before_the_known_ones(tmp_path, named):
    tokenizer = words("?", special=("<|endoftext|>", "<end>"))
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json())
    assert tokenizer.end_id == 1
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": named}))
    found = load_tokenizer(tmp_path)
    assert found.end_id == 2
    found.save(tmp_path)
    assert load_tokenizer(tmp_path).end_id == 2
    for odd in ("{", "[]", '{"eos_token": 3}', '{"eos_token": "not there"}', '{"eos_token": null}'):
        (tmp_path / "tokenizer_config.json").write_text(odd)
        assert load_tokenizer(tmp_path).end_id == 1


def test_a_limit_in_the_file_cuts_no_document(tmp_path):
    tokenizer = train_tokenizer(TEXTS, 300)
    inner = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    inner.enable_truncation(max_length=8)
    inner.enable_padding(length=64, pad_id=0, pad_token=END)
    inner.save(str(tmp_path / "tokenizer.json"))
    found = load_tokenizer(tmp_path)
    assert len(tokenizer.encode(TEXTS[0] * 9)) > 64
    for text in (TEXTS[0], TEXTS[0] * 9):
        assert found.encode(text) == found.encode_batch([text])[0].tolist() == tokenizer.encode(text)


def test_the_size_is_the_largest_id_and_one_where_ids_have_gaps():
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0, END: 7, "a": 65_540}, unk_token="?"))
    assert HuggingFaceTokenizer(inner).vocab_size == 65_541


# --- parts


@pytest.fixture(scope="module")
def bytelevel() -> HuggingFaceTokenizer:
    return train_tokenizer(TEXTS, 400)


def documents(count: int) -> list[Document]:
    return [Document(id=f"d{n}", text=TEXTS[n % 300] * (n % 4), source="mine") for n in range(count)]


def by_length(text: str) -> str:
    return ("train", "valid", "test")[len(text) % 3]


@pytest.mark.parametrize("kind", ["bytelevel", "pieces"])
def test_a_part_is_its_documents_by_split_with_counts_and_hashes(kind, request, tmp_path):
    tokenizer = request.getfixturevalue(kind)
    given = documents(50)
    row = tokenise_part(iter(given), tokenizer, tmp_path / "mine-00003", by_length)
    assert row["documents"] == 50
    assert row["bytes"] == sum(len(d.text.encode()) for d in given)
    assert [f["split"] for f in row["files"]] == list(row["tokens"]) == ["train", "valid", "test"]
    for file in row["files"]:
        mine = [d for d in given if by_length(d.text) == file["split"]]
        expected = [i for d in mine for i in (*tokenizer.encode(d.text), tokenizer.end_id)]
        path = tmp_path / file["file"]
        assert path.name == f"mine-00003.{file['split']}.bin"
        assert np.fromfile(path, "<u2").tolist() == expected
        assert (file["tokens"], file["documents"], file["dtype"]) == (len(expected), len(mine), "uint16")
        assert row["tokens"][file["split"]] == len(expected)
        for key, name in (("sha256", "file"), ("docs_sha256", "docs")):
            assert file[key] == hashlib.sha256((tmp_path / file[name]).read_bytes()).hexdigest()
        listed = read_documents(path)
        assert [listed.row(n)["id"] for n in range(len(listed))] == [d.id for d in mine]
        assert {listed.row(n)["part"] for n in range(len(listed))} == {"mine-00003"}
    assert len(list(tmp_path.iterdir())) == 6


def test_the_batches_change_nothing(bytelevel, tmp_path, monkeypatch):
    found = []
    for batch, size in ((512, 4_000_000), (1, 1), (7, 200)):
        monkeypatch.setattr(tokenise, "BATCH", batch)
        monkeypatch.setattr(tokenise, "BATCH_BYTES", size)
        found.append(tokenise_part(documents(60), bytelevel, tmp_path / "mine-00000", by_length))
    assert found[0] == found[1] == found[2]


def test_splits_without_documents_have_no_files(bytelevel, tmp_path):
    row = tokenise_part([], bytelevel, tmp_path / "a", by_length)
    assert row == {"documents": 0, "bytes": 0, "tokens": {}, "files": []}
    row = tokenise_part([Document(id="e", text="", source="s")], bytelevel, tmp_path / "a", by_length)
    assert row["tokens"] == {"train": 1}, "an empty document is its end mark"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.train.bin", "a.train.docs.jsonl"]


def test_text_is_written_while_it_is_read(bytelevel, tmp_path, monkeypatch):
    """Memory does not grow with the part: what was read before the last batch is in the file already."""
    monkeypatch.setattr(tokenise, "BATCH", 16)
    sizes = []

    def stream() -> Iterator[Document]:
        for n, document in enumerate(documents(3000)):
            if n % 1000 == 999:
                sizes.append(next(tmp_path.glob(".*.bin.*.part")).stat().st_size)
            yield document

    row = tokenise_part(stream(), bytelevel, tmp_path / "a", lambda text: "train")
    assert len(sizes) == 3
    for n, size in enumerate(sizes, 1):
        assert size > 2 * row["tokens"]["train"] * n / 3 - 100_000  # but for the batch and the file's buffer


def test_a_tokenizer_whose_end_mark_is_a_word_is_refused_with_the_document(tmp_path):
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0, "a": 1, END: 2}, unk_token="?"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    given = [Document(id="good", text="a a", source="s"), Document(id="bad", text=f"a {END} a", source="s")]
    with pytest.raises(DataError, match=r"document 'bad': its text becomes the end mark \(id 2\).*special token"):
        tokenise_part(given, HuggingFaceTokenizer(inner), tmp_path / "x", lambda text: "train")
    assert not list(tmp_path.iterdir())


def test_an_error_among_the_documents_leaves_nothing(bytelevel, tmp_path):
    def broken() -> Iterator[Document]:
        yield from documents(600)
        raise DataError("line 601 is no JSON", where="a.jsonl")

    with pytest.raises(DataError, match="line 601"):
        tokenise_part(broken(), bytelevel, tmp_path / "x", by_length)
    assert not list(tmp_path.iterdir())


# --- splits


def test_a_split_is_a_share_by_hash_alone():
    names = [f"text {n}" for n in range(20_000)]
    found = Counter(split_of(name, 0.1, 0.05) for name in names)
    assert abs(found["valid"] - 2000) < 200 and abs(found["test"] - 1000) < 150
    assert {split_of(name, 0, 0) for name in names} == {"train"}
    for name in names[:500]:
        place = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") / 2**64
        assert split_of(name, 0.3, 0.3) == ("valid" if place < 0.3 else "test" if place >= 0.7 else "train")


@given(st.text(), st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.4), st.floats(0, 0.4))
def test_a_larger_share_keeps_the_documents_of_a_smaller_one(text, valid, test, more_valid, more_test):
    small = split_of(text, valid / 2, test / 2)
    large = split_of(text, valid / 2 + more_valid / 2, test / 2 + more_test / 2)
    assert small in ("train", large)


def test_the_split_is_made_of_what_is_stored(bytelevel, tmp_path):
    """A half surrogate pair becomes a question mark before anything is decided."""
    half = functools.partial(split_of, valid_share=0.5)
    seen = []

    def split(text: str) -> str:
        seen.append(text)
        return half(text)

    tokenise_part([Document(id="a", text="\ud800x", source="s")], bytelevel, tmp_path / "x", split)
    assert seen == ["?x"]


def test_a_saved_model_folder_finds_its_tokenizer(tmp_path):
    assert tokenizer_file(tmp_path) is None
    assert tokenizer_file(Path("not there")) is None
    with pytest.raises(DataError, match=r"no tokenizer\.json here; train one with .* or tokenizer\.model, or such a"):
        load_tokenizer(tmp_path)

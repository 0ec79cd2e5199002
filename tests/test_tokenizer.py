"""Tokenisers: what goes in comes out, every digit is a token, no text can end a document, training is exact."""

from __future__ import annotations

import os
import pydoc_data.topics
import random
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llemma.errors import ConfigError, DataError
from llemma.tokens.tokenizer import END, HuggingFaceTokenizer, load_tokenizer, train_tokenizer

# Ends of documents stand in the training text on purpose: a poisoned corpus must not teach the tokeniser the mark.
TOPICS = [text for _, text in sorted(pydoc_data.topics.topics.items())][:20]
TEXTS = [f"Lemma {n}: {n} + {n * n} = {n + n * n}; naïve café — ∑ {END} done.\n" for n in range(200)] + TOPICS
text = st.text(st.characters(exclude_categories=["Cs"]))  # all of Unicode but halves of surrogate pairs


@pytest.fixture(scope="module")
def tokenizer() -> HuggingFaceTokenizer:
    return train_tokenizer(TEXTS, 600)


def spelled(tokenizer: HuggingFaceTokenizer, ids: list[int]) -> list[str]:
    return [tokenizer.decode([i]) for i in ids]


@pytest.fixture(scope="module")
def exact(tokenizer):
    """hypothesis wants no function-scoped fixtures; this one is shared."""
    return tokenizer


@given(text)
@example("")
@example(" ")
@example("\n\n\t  x \r\n")
@example("a  b   c")
@example("\x00\x7f\ufeff\u2028\U0010ffff")
@example("e\u0301 \u00e9")  # not normalised into each other
@example("-1,234.50")
@example(f"{END}{END}")
@example("<|endof" + END + "text|>")
def test_decoding_gives_the_text_back(exact, text):
    ids = exact.encode(text)
    assert exact.decode(ids) == text
    assert exact.end_id not in ids


@given(st.lists(text, max_size=5))
def test_a_batch_is_its_texts_one_by_one(exact, texts):
    batch = exact.encode_batch(texts)
    assert [ids.tolist() for ids in batch] == [exact.encode(text) for text in texts]
    assert all(ids.dtype == np.int64 for ids in batch)


@given(text, text)
def test_a_text_that_spells_the_end_mark_stays_text(exact, before, after):
    for spelling in (before + END + after, END, END * 3, f" {END}\n"):
        for ids in (exact.encode(spelling), exact.encode_batch([spelling])[0].tolist()):
            assert exact.end_id not in ids
            assert exact.decode(ids) == spelling


def test_the_end_mark_stays_text_in_a_loaded_tokenizer_too(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.end_id == tokenizer.end_id == 0
    assert again.end_id not in again.encode(f"x{END}y")
    assert again.decode([*again.encode("x"), 0, *again.encode("y")]) == "xy"


@pytest.mark.parametrize(
    "text", ["123", "1 23", "x12y3", "3.14159", "1,000,000", "a1b2", "-40", "10^10", "007", "\n12"]
)
def test_every_digit_is_a_token_of_its_own(tokenizer, text):
    parts = spelled(tokenizer, tokenizer.encode(text))
    assert "".join(parts) == text
    assert all(part in "0123456789" for part in parts if any(c.isdigit() for c in part)), parts


@given(text)
def test_no_token_of_any_text_joins_a_digit_with_something(exact, text):
    for part in spelled(exact, exact.encode(text + "12")):
        assert part in tuple("0123456789") or not any(c in "0123456789" for c in part)


def test_other_digits_are_split_too_but_into_their_bytes(tokenizer):
    """Full-width, Arabic-Indic and other decimal digits (Nd) never share a token with a neighbour."""
    for number in ("１２", "٣٤", "१२"):
        assert all(unicodedata.category(c) == "Nd" for c in number)
        first, both = tokenizer.encode(number[0]), tokenizer.encode(number)
        assert both == first + tokenizer.encode(number[1])


@pytest.mark.parametrize("size", [300, 301, 400])
def test_the_vocabulary_has_the_size_asked_for(size):
    assert train_tokenizer(TEXTS, size).vocab_size == size


def test_little_text_gives_a_smaller_vocabulary():
    tokenizer = train_tokenizer(["ab"], 60_000)
    assert 257 <= tokenizer.vocab_size < 300  # 256 bytes, the end mark, a merge or so
    assert tokenizer.decode(tokenizer.encode("zöß 9")) == "zöß 9"


def test_a_vocabulary_too_small_for_bytes_is_refused():
    with pytest.raises(ConfigError, match=r"vocab_size=299.*at least 300"):
        train_tokenizer(TEXTS, 299)


def test_no_text_is_refused():
    with pytest.raises(DataError, match="no text to train"):
        train_tokenizer([], 400)


TRAIN = """
import pydoc_data.topics, sys
from llemma.tokens.tokenizer import train_tokenizer
texts = [text for _, text in sorted(pydoc_data.topics.topics.items())]
sys.stdout.buffer.write(train_tokenizer(texts, 1000).to_json().encode())
"""


def test_training_gives_the_same_bytes_in_every_process():
    """Another hash seed and another number of threads change nothing."""
    found = []
    for seed, threads in (("0", "1"), ("1", "2"), ("4242", "4")):
        environment = os.environ | {"PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads}
        environment["TOKENIZERS_PARALLELISM"] = "true"
        done = subprocess.run([sys.executable, "-c", TRAIN], env=environment, capture_output=True, check=True)
        found.append(done.stdout)
    assert found[0] == found[1] == found[2]
    assert len(found[0]) > 10_000


def test_other_text_gives_another_tokenizer():
    """The test above would hold for a constant as well."""
    assert train_tokenizer(TEXTS, 400).to_json() != train_tokenizer(["aaa bbb ccc"] * 100, 400).to_json()


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"no tokenizer\.json here; train one"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"version": "1.0"}', "\x00" * 100])
def test_a_damaged_file_is_named(tmp_path, damage):
    (tmp_path / "tokenizer.json").write_text(damage)
    with pytest.raises(DataError, match=r"tokenizer\.json: damaged tokenizer file"):
        load_tokenizer(tmp_path)


def test_every_cut_of_the_file_is_noticed(tokenizer, tmp_path):
    whole = tokenizer.to_json()
    for cut in random.Random(0).sample(range(len(whole)), 50):
        (tmp_path / "tokenizer.json").write_text(whole[:cut])
        with pytest.raises(DataError):
            load_tokenizer(tmp_path)


def test_a_file_that_is_not_text_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="damaged"):
        load_tokenizer(tmp_path)


def test_saving_and_loading_changes_nothing(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path / "tokenizer.json")
    assert again.to_json() == tokenizer.to_json()
    assert again.vocab_size == tokenizer.vocab_size
    assert not list(tmp_path.glob(".*"))


def test_transformers_reads_it_and_agrees(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(str(tmp_path))
    assert theirs.eos_token == END
    assert theirs.eos_token_id == tokenizer.end_id
    assert len(theirs) == tokenizer.vocab_size
    for text in (*TEXTS[::20], "", "  two  spaces ", "naïve\n\n∑ 12,345", "日本語"):
        plain = text.replace(END, "")
        assert theirs(plain, add_special_tokens=False).input_ids == tokenizer.encode(plain)
        assert theirs(plain).input_ids == tokenizer.encode(plain)  # no mark is added in front or behind
        assert theirs.decode(tokenizer.encode(plain)) == plain
        assert theirs(text, split_special_tokens=True).input_ids == tokenizer.encode(text)


def test_a_tokenizer_with_another_end_mark_keeps_it(tmp_path):
    """Llama's </s>: naming ours instead would make transformers add an entry beyond the model's vocabulary."""
    import tokenizers
    from transformers import AutoTokenizer

    inner = tokenizers.Tokenizer.from_str(train_tokenizer(TEXTS, 300).to_json().replace(END, "</s>"))
    tokenizer = HuggingFaceTokenizer(inner)
    assert tokenizer.end_id == 0
    assert 0 not in tokenizer.encode("a</s>b")
    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(str(tmp_path))
    assert (theirs.eos_token, theirs.eos_token_id, len(theirs)) == ("</s>", 0, 300)


def test_a_tokenizer_without_an_end_mark_has_none():
    import tokenizers

    tokenizer = HuggingFaceTokenizer(tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0}, [])))
    assert tokenizer.end_id is None


def test_the_file_names_no_place_of_this_machine(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    assert all(str(Path.cwd()) not in path.read_text() for path in tmp_path.iterdir())

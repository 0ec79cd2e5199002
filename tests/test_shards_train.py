"""Training rows out of shards: the same batch at any world size, each block once an epoch, every token traceable."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llemma.corpus.shards import docs_line, docs_path, document_tokens, locate
from llemma.errors import ConfigError
from llemma.train.data import Blocks, Mixture, permuted, round_keys, validation


def made(folder: Path, sources: dict[str, list[int]], dtype: str = "uint16", split: str = "train") -> Path:
    """A corpus of shards of the given lengths; every token is its place in the source, one document is ten tokens."""
    shards = []
    for name, sizes in sources.items():
        start = 0
        for number, size in enumerate(sizes):
            path = folder / f"{name}-{split}-{number:05d}.bin"
            tokens = np.arange(start, start + size, dtype=dtype)
            lines = [docs_line(at, min(10, size - at), f"{start + at}", "p") for at in range(0, size, 10)]
            path.write_bytes(tokens.tobytes())
            docs_path(path).write_bytes(b"".join(lines))
            hashes = [hashlib.sha256(p.read_bytes()).hexdigest() for p in (path, docs_path(path))]
            shards.append(
                {"file": path.name, "source": name, "split": split, "tokens": size, "dtype": dtype,
                 "documents": len(lines), "sha256": hashes[0], "docs_sha256": hashes[1]}
            )  # fmt: skip
            start += size
    weights = {name: {"weight": 1.0 + number} for number, name in enumerate(sources)}
    manifest = {"sources": weights, "shards": shards, "tokenizer": {"sha256": "", "vocab_size": 1}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def scalar(index: int, size: int, key: str) -> int:
    """The permutation as it was first written, one number at a time: what stored runs were trained with."""
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    keys = hashlib.blake2b(key.encode(), digest_size=32).digest()
    while True:
        left, right = index >> half, index & mask
        for r in range(4):
            mixed = (right * 0x9E3779B1 + int.from_bytes(keys[8 * r : 8 * r + 8], "big")) & 0xFFFFFFFFFFFFFFFF
            mixed = ((mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
            left, right = right, left ^ ((mixed >> 32) & mask)
        index = (left << half) | right
        if index < size:
            return index


def drawn(places: list[tuple[int, int, str]]) -> list[int]:
    index, size, keys = zip(*places, strict=True)
    found = permuted(np.array(index), np.array(size), np.stack([round_keys(key) for key in keys]))
    return [int(n) for n in found]


sizes = st.one_of(st.integers(1, 70), st.integers(1, 2**40), st.integers(0, 40).map(lambda b: 2**b + 1))
keys = st.integers(0, 9).map(lambda n: f"{n}/name/{n % 3}")


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 2**41), sizes, keys), min_size=1, max_size=20))
def test_all_rows_at_once_go_where_they_went_one_by_one(places):
    places = [(index % size, size, key) for index, size, key in places]
    assert drawn(places) == [scalar(*place) for place in places]


def test_the_permutation_is_the_one_of_stored_runs():
    """Written down, so that no change of both sides goes unnoticed: a run that goes on depends on it."""
    assert drawn([(n, 1000, "0/a/0") for n in range(8)]) == [scalar(n, 1000, "0/a/0") for n in range(8)] == FIRST
    assert drawn([(10**9, 2 * 10**9, "7/b/3")]) == [FAR]


FIRST = [97, 807, 161, 180, 353, 50, 593, 976]
FAR = 744016853


@settings(max_examples=40)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=5),
    st.integers(1, 12),
    st.integers(1, 7),
    st.integers(0, 3),
    st.sampled_from(["uint16", "uint32"]),
)
def test_each_epoch_visits_each_block_exactly_once(lengths, context, batch_size, seed, dtype):
    if not any((size - 1) // context for size in lengths):
        lengths = [*lengths, context + 1]
    with tempfile.TemporaryDirectory() as name:
        corpus = made(Path(name), {"a": lengths}, dtype)
        blocks = Blocks(corpus, json.loads((corpus / "manifest.json").read_text()), "a", "train", context)
        expected = sorted(int(blocks[n][0]) for n in range(len(blocks)))
        assert len(set(expected)) == len(blocks) == sum((size - 1) // context for size in lengths)
        data = Mixture(corpus, {}, context=context, batch_size=batch_size, seed=seed)
        rows = np.concatenate([data.batch(step) for step in range(-(-3 * len(blocks) // batch_size))])
        assert (np.diff(rows, axis=1) == 1).all()  # a row is a piece of the source
        for epoch in range(3):
            mine = rows[epoch * len(blocks) : (epoch + 1) * len(blocks)]
            assert sorted(mine[:, 0].tolist()) == expected


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_any_world_size_reads_the_same_batch(tmp_path, dtype):
    corpus = made(tmp_path, {"a": [301, 40, 77], "b": [95], "c": [33, 12, 500]}, dtype)
    data = Mixture(corpus, {}, context=8, batch_size=24, seed=3)
    for step in (0, 1, 7, 100, 12_345):
        whole = data.batch(step)
        assert whole.shape == (24, 9) and whole.dtype == np.int64
        for world in (1, 2, 3, 4, 6, 8, 12, 24):
            ranks = [data.batch(step, rank, world) for rank in range(world)]
            assert all(rows.shape == (24 // world, 9) for rows in ranks)
            assert np.array_equal(np.concatenate(ranks), whole)


def test_a_batch_that_cannot_be_shared_out_is_refused(tmp_path):
    data = Mixture(made(tmp_path, {"a": [100]}), {}, context=8, batch_size=6, seed=0)
    for rank, world in ((0, 4), (0, 12), (2, 2), (-1, 2)):
        with pytest.raises(ConfigError, match=rf"batch_size=6 cannot be shared out: rank {rank} of {world}; use a"):
            data.batch(0, rank, world)


def test_shards_shorter_than_a_block_are_skipped(tmp_path):
    corpus = made(tmp_path, {"a": [8, 9, 1, 17, 8]})
    data = Mixture(corpus, {}, context=8, batch_size=3, seed=0)
    assert sorted(data.batch(0)[:, 0].tolist()) == [8, 18, 26]
    assert data.epochs(2) == {"a": 2.0}
    held = validation(made(tmp_path, {"a": [8, 20]}, split="valid"), ["a"], context=8, rows=9)
    assert held["a"].tolist() == [list(range(8, 17)), list(range(16, 25))]


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_every_token_of_a_batch_is_traced(tmp_path, dtype):
    corpus = made(tmp_path, {"a": [61, 40], "b": [95]}, dtype)
    data = Mixture(corpus, {}, context=8, batch_size=5, seed=1)
    for step in (0, 3, 50):
        batch = data.batch(step)
        for row, column in np.ndindex(batch.shape):
            found = data.trace(step, row, column)
            assert document_tokens(corpus, found)[found.offset] == batch[row, column]
            assert int(found.id) + found.offset == batch[row, column]  # documents are named by their first token
            assert locate(corpus, found.file, found.token) == (found.id, found.offset)
    for place in ((-1, 0, 0), (0, 5, 0), (0, -1, 0), (0, 0, 9), (0, 0, -1)):
        with pytest.raises(ConfigError, match="a batch has the rows 0 to 4 and the columns 0 to 8"):
            data.trace(*place)

"""Shards: documents come back token by token, nothing is half-written, every damage is named."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llemma.corpus.pack import pack
from llemma.corpus.shards import (
    Documents,
    Shard,
    docs_line,
    docs_path,
    documents_of,
    dtype_of,
    locate,
    open_shard,
    origin,
    read_documents,
)
from llemma.corpus.tokenise import split_of, tokenise_part
from llemma.corpus.trace import trace
from llemma.errors import ConfigError, DataError
from llemma.records import Document, to_row
from llemma.tokens.tokenizer import END, HuggingFaceTokenizer, train_tokenizer

halves = functools.partial(split_of, valid_share=0.4, test_share=0.1)


@pytest.fixture(scope="module")
def tokenizer() -> HuggingFaceTokenizer:
    return train_tokenizer([f"Lemma {n}: {n} + {n} = {2 * n}, qed." for n in range(50)], 300)


@pytest.fixture(scope="module")
def exact(tokenizer):
    """hypothesis wants no function-scoped fixtures; this one is shared."""
    return tokenizer


def write_manifest(folder: Path, shards: list[Shard], tokenizer: HuggingFaceTokenizer | None = None) -> None:
    sources = {shard.source: {"weight": 1.0} for shard in shards}
    sha256 = ""
    if tokenizer:
        tokenizer.save(folder)
        sha256 = hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
    manifest = {"sources": sources, "shards": [to_row(s) for s in shards], "tokenizer": {"sha256": sha256}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def corpus_of(folder: Path, parts: list[list[Document]], tokenizer: Any, limit: int) -> list[Shard]:
    """Tokenise the parts of a source and pack them, as a build does."""
    for name in ("tokens", "shards"):
        (folder / name).mkdir()
    rows = [tokenise_part(part, tokenizer, folder / "tokens" / f"mine-{n:05d}", halves) for n, part in enumerate(parts)]
    shards = []
    for split in ("train", "valid", "test"):
        pieces = [folder / "tokens" / f["file"] for row in rows for f in row["files"] if f["split"] == split]
        shards += pack(folder / "shards", "mine", split, pieces, limit, dtype_of(tokenizer.vocab_size))
    write_manifest(folder, shards)
    return shards


# --- there and back

texts = st.text(max_size=30) | st.sampled_from(["", " ", END, f"a{END}b", "</s>", "\ud800 half", "x" * 200])
ids = st.text(min_size=1, max_size=8) | st.sampled_from(['"', "\\", "\n", "\ud83d", "\u2028", "a/b.py", "naïve ∑"])


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.tuples(ids, texts), max_size=12), max_size=4), st.integers(1, 60))
@example([[("one", "")]], 1)
@example([[], [("one", "x" * 200), ("two", "")], []], 1)
def test_every_token_of_every_shard_knows_its_document(exact, parts, limit):
    documents = [
        [Document(id=f"{name}#{n}.{k}", text=text, source="mine") for k, (name, text) in enumerate(part)]
        for n, part in enumerate(parts)
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shards = corpus_of(folder, documents, exact, limit)
        given = {document.id: document for part in documents for document in part}
        part_of = {document.id: f"mine-{n:05d}" for n, part in enumerate(documents) for document in part}
        found: dict[str, list[str]] = {split: [] for split in ("train", "valid", "test")}
        for shard in shards:
            row = to_row(shard)
            assert shard.tokens <= limit or shard.documents == 1
            tokens = open_shard(folder, row)
            assert tokens.dtype == np.dtype("<u2")
            listed = dict(documents_of(folder, row))
            assert len(listed) == shard.documents
            at = 0
            for document, content in listed.items():
                text = given[document].text.encode("utf-8", "replace").decode()
                assert content.tolist() == [*exact.encode(text), exact.end_id]
                assert exact.decode(content[:-1].tolist()) == text
                assert halves(text) == shard.split
                for offset in range(len(content)):
                    assert locate(folder, shard.file, at + offset) == (document, offset)
                    assert tokens[at + offset] == content[offset]
                assert origin(folder, shard.file, at).part == part_of[document]
                at += len(content)
            assert at == shard.tokens
            found[shard.split] += listed
        for split, names in found.items():  # all of them, once, in the order given
            assert names == [d.id for part in documents for d in part if halves(d.text) == split]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 10**9), ids), max_size=30), st.data())
def test_columns_say_what_the_lines_say_and_moved_lines_are_json(rows, data):
    lines, at = [], 0
    for tokens, name in rows:
        lines.append(docs_line(at, tokens, name, "p"))
        at += tokens
    documents = Documents(np.frombuffer(b"".join(lines), np.uint8), Path("x"))
    parsed = [json.loads(line) for line in lines]
    assert documents.starts.tolist() == [row["start"] for row in parsed]
    assert documents.tokens.tolist() == [tokens for tokens, _ in rows]
    assert documents.total == at
    assert [documents.row(n) for n in range(len(documents))] == parsed
    first = data.draw(st.integers(0, len(rows)))
    last = data.draw(st.integers(first, len(rows)))
    begin = int(documents.starts[first]) if first < len(rows) else 0
    by = data.draw(st.integers(-begin, 10**11))
    moved = documents.moved(first, last, by).tobytes().splitlines(keepends=True)
    assert moved == [docs_line(row["start"] + by, row["tokens"], row["id"], "p") for row in parsed[first:last]]


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537])
def test_the_vocabulary_decides_between_16_and_32_bits(tmp_path, size):
    words = {f"w{n}": n for n in range(1, size)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({END: 0, **words}, unk_token=END))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer = HuggingFaceTokenizer(inner)
    assert tokenizer.vocab_size == size
    text = f"w1 w{size - 1} w{size - 2}"
    (shard,) = corpus_of(tmp_path, [[Document(id="a", text=text, source="mine")]], tokenizer, 100)
    assert shard.dtype == ("uint16" if size <= 65_536 else "uint32")
    assert open_shard(tmp_path, to_row(shard)).tolist() == [1, size - 1, size - 2, 0]
    assert (tmp_path / shard.file).stat().st_size == 4 * (2 if size <= 65_536 else 4)
    assert locate(tmp_path, shard.file, 3) == ("a", 3)


def test_sizes_beyond_32_bits_are_refused():
    assert dtype_of(2**32) == np.dtype("<u4")
    for size in (0, 2**32 + 1):
        with pytest.raises(ConfigError, match="cannot be stored in 32 bits"):
            dtype_of(size)


def some(count: int, part: int = 0) -> list[Document]:
    return [
        Document(id=f"{part}/{n}", text=f"Lemma {n} of part {part}: {n * n}." * (n % 5), source="mine")
        for n in range(count)
    ]


def pieces_of(folder: Path, tokenizer: Any, parts: int = 3, count: int = 40) -> list[Path]:
    found = []
    for n in range(parts):
        tokenise_part(some(count, n), tokenizer, folder / f"mine-{n:05d}", lambda text: "train")
        found.append(folder / f"mine-{n:05d}.train.bin")
    return found


@pytest.mark.parametrize("limit", [1, 2, 50, 1000, 10**9])
def test_one_shard_and_many_hold_the_same_tokens_and_documents(tmp_path, tokenizer, limit):
    pieces = pieces_of(tmp_path, tokenizer)
    (tmp_path / "shards").mkdir()
    shards = pack(tmp_path / "shards", "mine", "train", pieces, limit, np.uint16)
    assert [s.file for s in shards] == [f"shards/mine-train-{n:05d}.bin" for n in range(len(shards))]
    assert b"".join((tmp_path / s.file).read_bytes() for s in shards) == b"".join(p.read_bytes() for p in pieces)
    assert sum(s.documents for s in shards) == 120
    longest = max(int(read_documents(piece).tokens.max()) for piece in pieces)
    for shard in shards:
        assert hashlib.sha256((tmp_path / shard.file).read_bytes()).hexdigest() == shard.sha256
        docs = docs_path(tmp_path / shard.file)
        assert hashlib.sha256(docs.read_bytes()).hexdigest() == shard.docs_sha256
        assert shard.tokens <= max(limit, longest)
    greedy = itertools.pairwise(shards)  # the first document of the next shard had no room in this one
    assert all(a.tokens + int(read_documents(tmp_path / b.file).tokens[0]) > limit for a, b in greedy)


def test_a_finished_shard_is_not_written_again_and_a_damaged_one_is(tmp_path, tokenizer):
    pieces = pieces_of(tmp_path, tokenizer)
    (tmp_path / "shards").mkdir()

    def stamps() -> dict[str, tuple[int, int]]:
        return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (tmp_path / "shards").iterdir()}

    def packed() -> list[Shard]:
        return pack(tmp_path / "shards", "mine", "train", pieces, 500, np.uint16)

    first = packed()
    before = stamps()
    assert len(before) == 2 * len(first) >= 6
    assert packed() == first
    assert stamps() == before
    damaged, lost = tmp_path / first[1].file, docs_path(tmp_path / first[2].file)
    damaged.write_bytes(bytes([damaged.read_bytes()[0] ^ 1]) + damaged.read_bytes()[1:])
    lost.unlink()
    assert packed() == first
    assert {name for name, stamp in stamps().items() if stamp != before[name]} == {damaged.name, lost.name}
    assert hashlib.sha256(damaged.read_bytes()).hexdigest() == first[1].sha256


def test_no_pieces_and_empty_pieces_give_no_shards(tmp_path):
    assert pack(tmp_path, "mine", "train", [], 10, np.uint16) == []
    (tmp_path / "a.bin").touch()
    (tmp_path / "a.docs.jsonl").touch()
    assert pack(tmp_path, "mine", "train", [tmp_path / "a.bin"], 10, np.uint16) == []


# --- kill -9

DRIVER = """
import os, sys
os.environ["TOKENIZERS_PARALLELISM"] = "false"  # no threads, so that children may be forked
from pathlib import Path
from llemma.corpus.pack import pack
from llemma.corpus.tokenise import split_of, tokenise_part
from llemma.records import Document
from llemma.tokens.tokenizer import load_tokenizer

here = Path(sys.argv[1])
tokenizer = load_tokenizer(here / "tokenizer.json")
documents = [Document(id=str(n), text=f"Lemma {n}: {n * n}.", source="mine") for n in range(60)]

def tokenise(folder):
    return tokenise_part(documents, tokenizer, folder / "mine-00000", lambda text: split_of(text, 0.4))

def packed(folder):
    return pack(folder, "mine", "train", [here / "mine-00000.train.bin"], 700, "uint16")

work = {"tokenise": tokenise, "pack": packed}[sys.argv[2]]

def child(folder, killed_at):
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    calls = 0
    def counted(real):
        def call(*given):
            nonlocal calls
            calls += 1
            if calls == killed_at:
                os.kill(os.getpid(), 9)
            return real(*given)
        return call
    os.replace, os.fsync = counted(os.replace), counted(os.fsync)
    code = 1
    try:
        work(folder)
        code = 0
    finally:
        os._exit(code)

(here / "whole").mkdir()
assert child(here / "whole", 0) == 0
for number in range(1, 200):
    folder = here / f"k{number}"
    folder.mkdir()
    code = child(folder, number)
    left = {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.endswith(".part")}
    for name, data in left.items():
        assert data == (here / "whole" / name).read_bytes(), (number, name)
        assert not name.endswith(".bin") or name[:-4] + ".docs.jsonl" in left, (number, name)
    kept = {name: (folder / name).stat().st_ino for name in left}
    if code == 0:
        break
    assert code == -9
    assert child(folder, 0) == 0
    again = {p.name: p.read_bytes() for p in folder.iterdir() if not p.name.endswith(".part")}
    assert again == {p.name: p.read_bytes() for p in (here / "whole").iterdir()}, number
    if sys.argv[2] == "pack":
        assert all((folder / name).stat().st_ino == inode for name, inode in kept.items()), "written again"
print(number)
"""


@pytest.mark.parametrize("stage", ["tokenise", "pack"])
def test_a_kill_before_any_change_of_the_disk_leaves_nothing_half_written(tmp_path, tokenizer, stage):
    tokenizer.save(tmp_path)
    pieces_of(tmp_path, tokenizer, 1, 60)
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, str(tmp_path), stage],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 12  # of each file: flushed, renamed, the folder flushed


# --- damage


@pytest.fixture
def corpus(tmp_path, tokenizer) -> Path:
    shards = corpus_of(tmp_path, [some(40), some(40, 1)], tokenizer, 300)
    write_manifest(tmp_path, shards, tokenizer)
    return tmp_path


def manifest_of(corpus: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((corpus / "manifest.json").read_text())
    return found


def test_a_damaged_list_of_documents_is_named(corpus):
    shard = manifest_of(corpus)["shards"][0]
    docs = docs_path(corpus / shard["file"])
    good = docs.read_bytes()
    for data in (good.replace(b"mine-00000", b"mine-00001", 1), good[:-1], b"", good[good.index(b"\n") + 1 :]):
        docs.write_bytes(data)
        with pytest.raises(DataError, match="damaged list of documents: its sha256") as caught:
            locate(corpus, shard["file"], 0)
        assert caught.value.where == str(docs) and "build it again" in str(caught.value)
    docs.unlink()
    with pytest.raises(DataError, match=r"docs\.jsonl: list of documents missing; delete the corpus folder"):
        locate(corpus, shard["file"], 0)
    docs.write_bytes(good)
    assert locate(corpus, shard["file"], 0)[1] == 0


BAD_LINES = [
    (b"{}\n", 1),
    (b"\n", 1),
    (b"x" * 100, 1),
    (docs_line(0, 3, "a", "p") + docs_line(4, 3, "b", "p"), 2),  # a gap
    (docs_line(0, 3, "a", "p") + docs_line(3, 0, "b", "p"), 2),  # no end mark
    (docs_line(0, 3, "a", "p") + docs_line(3, 1, "b", "p")[:-1], 2),  # cut off
    (docs_line(1, 3, "a", "p"), 1),
    (docs_line(0, 3, "a", "p").replace(b"  3,", b" 3 ,"), 1),
    (docs_line(0, 3, "a", "p").replace(b"  3,", b" -3,"), 1),
    (docs_line(0, 3, "a", "p").replace(b"  3,", b"3 3,"), 1),
    (docs_line(0, 3, "a", "p").replace(b"tokens", b"token "), 1),
]


@pytest.mark.parametrize(("data", "line"), BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_line_that_is_none_is_named(tmp_path, data, line):
    (tmp_path / "a.docs.jsonl").write_bytes(data)
    with pytest.raises(DataError, match=rf"a\.docs\.jsonl:{line}: (damaged|cut off)"):
        read_documents(tmp_path / "a.bin")


def test_pack_refuses_pieces_that_do_not_fit_their_lists(tmp_path, tokenizer):
    piece = pieces_of(tmp_path, tokenizer, 1)[0]
    good = piece.read_bytes()
    out = tmp_path / "out"
    out.mkdir()
    for data in (good[:-2], good + b"\0\0", good[: len(good) // 2]):
        piece.write_bytes(data)
        with pytest.raises(
            DataError, match=r"damaged: .* tokens of uint16 in its list of documents; delete it"
        ) as caught:
            pack(out, "mine", "train", [piece], 100, np.uint16)
        assert caught.value.where == str(piece)
    piece.write_bytes(good)
    with pytest.raises(DataError, match="tokens of uint32 in its list"):
        pack(out, "mine", "train", [piece], 100, np.uint32)
    with pytest.raises(DataError, match="stored as uint16 or uint32, not float16"):
        pack(out, "mine", "train", [piece], 100, np.float16)
    docs_path(piece).unlink()
    with pytest.raises(DataError, match="list of documents missing"):
        pack(out, "mine", "train", [piece], 100, np.uint16)
    docs_path(piece).write_bytes(b"")
    piece.unlink()
    with pytest.raises(DataError, match="file of tokens missing"):
        pack(out, "mine", "train", [piece], 100, np.uint16)
    assert not list(out.iterdir())


def change(corpus: Path, **values: Any) -> dict[str, Any]:
    """Other values in the first shard's entry of the manifest; None takes one out."""
    manifest = manifest_of(corpus)
    shard = manifest["shards"][0]
    shard.update(values)
    for key in [key for key, value in values.items() if value is None]:
        del shard[key]
    (corpus / "manifest.json").write_text(json.dumps(manifest))
    return dict(shard)


def test_a_wrong_dtype_is_noticed(corpus):
    with pytest.raises(DataError, match=r"shard damaged: \d+ bytes, not \d+"):
        open_shard(corpus, change(corpus, dtype="uint32"))
    for name in ("int16", "uint64", "<u2", None):
        shard = change(corpus, dtype="float32") | {"dtype": name}
        with pytest.raises(DataError, match="of a shard is neither uint16 nor uint32"):
            open_shard(corpus, shard)


def test_a_corpus_of_before_is_read_but_cannot_be_traced(corpus):
    shard = change(corpus, dtype=None, documents=None, docs_sha256=None)
    docs_path(corpus / shard["file"]).unlink()
    assert open_shard(corpus, shard).dtype == np.dtype("<u2")
    with pytest.raises(DataError, match="built before shards had lists of documents; delete the corpus folder and"):
        locate(corpus, shard["file"], 0)


def test_a_list_of_another_length_than_the_manifest_says_is_noticed(corpus):
    shard = change(corpus, tokens=5)
    with pytest.raises(DataError, match=r"lists .* tokens, the manifest 5"):
        locate(corpus, shard["file"], 0)


def test_a_place_that_is_not_there_is_refused(corpus):
    shard = manifest_of(corpus)["shards"][0]
    with pytest.raises(ConfigError, match=r"has the tokens 0 to \d+, not 99999"):
        locate(corpus, shard["file"], 99_999)
    with pytest.raises(ConfigError, match="not -1"):
        locate(corpus, shard["file"], -1)
    with pytest.raises(ConfigError, match=r"no shard shards/mine-trian-00000\.bin; did you mean shards/mine-train"):
        locate(corpus, "shards/mine-trian-00000.bin", 0)
    for place in ("", "5", ":5", "a:", "a:-1", "a:x", "a:²"):
        with pytest.raises(ConfigError, match=r"is not FILE:TOKEN such as"):
            trace(corpus, place)


def test_a_traced_token_shows_its_text(corpus, tokenizer):
    shard = manifest_of(corpus)["shards"][0]
    tokens = open_shard(corpus, shard)
    for token in range(0, len(tokens), 7):
        found = trace(corpus, f"{Path(shard['file']).name}:{token}")
        assert found == trace(corpus, f"{shard['file']}:{token}") == trace(corpus, f"{corpus}/{shard['file']}:{token}")
        assert found.token_id == tokens[token]
        part, number = found.origin.id.split("/")
        assert found.text == some(40, int(part))[int(number)].text
        if found.token_id == tokenizer.end_id:
            assert found.token_text == "end of the document" and found.before == found.text and found.after == ""
        else:
            assert found.before + found.token_text + found.after == found.text
        assert f"token {found.origin.offset} of the {found.origin.tokens} of document {found.origin.id!r}" in str(found)

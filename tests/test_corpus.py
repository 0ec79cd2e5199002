"""Corpora: the manifest tells the truth about the shards, and a killed build ends like an undisturbed one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from corpora import lines, read_back, recipe, snapshot, write_jsonl
from llemma.config import build
from llemma.corpus import code_filter, pipeline
from llemma.corpus.pipeline import CorpusConfig, build_corpus
from llemma.corpus.shards import docs_path, open_shard, read_manifest
from llemma.errors import ConfigError, DataError
from llemma.run import open_run
from llemma.tokens.tokenizer import END, load_tokenizer

POISON = f"A text with {END} inside, twice: {END}, which is not the end of a document."


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A corpus of three kinds of source, with something to drop for every reason."""
    folder = tmp_path_factory.mktemp("corpus")
    texts = [
        *lines(300),
        POISON,
        "too short",
        "  " + lines(1)[0] + "\n",
        lines(300)[7],
        "Naïve ∑ half \ud800 pair, dropped.",
    ]
    code = folder / "code"
    code.mkdir()
    (code / "good.py").write_text("import numpy as np\n\nprint(np.arange(3))\n")
    (code / "again.py").write_text("import numpy as np\n\nprint(np.arange(3))\n")
    (code / "plain.py").write_text("print('nothing mathematical in here')\n")
    (code / "data.py").write_text("import numpy\nx = " + "1234567890, " * 50 + "\n")
    (code / "json.py").write_text('{"import numpy": "a notebook in disguise"}\n')
    config = recipe(
        folder / "run",
        {
            "mine": {"kind": "jsonl", "weight": 3, "options": {"paths": [str(write_jsonl(folder / "a.jsonl", texts))]}},
            "generated": {"options": {"count": 200}},
            "code": {"rule": "python", "options": {"packages": [], "folders": [str(code)]}},
        },
        valid_share=0.1,
    )
    build_corpus(config)
    return folder / "run"


def test_the_manifest_counts_what_the_shards_hold(built):
    manifest = read_manifest(built)
    for name, entry in manifest["sources"].items():
        documents = read_back(built, name)
        assert entry["documents"] == len(documents)
        assert entry["bytes"] == sum(len(text.encode()) for text in documents)
        sizes = [(built / s["file"]).stat().st_size // 2 for s in manifest["shards"] if s["source"] == name]
        assert entry["tokens"] == sum(sizes)
    for key in ("documents", "bytes", "tokens"):
        assert manifest[key] == sum(entry[key] for entry in manifest["sources"].values())
    assert {name: entry["weight"] for name, entry in manifest["sources"].items()} == {
        "mine": 3.0, "generated": 1.0, "code": 1.0,
    }  # fmt: skip


def test_every_shard_has_its_sha256_and_nothing_else_lies_there(built):
    manifest = read_manifest(built)
    for shard in manifest["shards"]:
        data = (built / shard["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == shard["sha256"]
        assert len(data) == 2 * shard["tokens"]
        documents = docs_path(built / shard["file"]).read_bytes()
        assert hashlib.sha256(documents).hexdigest() == shard["docs_sha256"]
        assert documents.count(b"\n") == shard["documents"]
    files = [built / s["file"] for s in manifest["shards"]]
    assert set((built / "shards").iterdir()) == {*files, *map(docs_path, files)}
    tokenizer = (built / "tokenizer.json").read_bytes()
    assert manifest["tokenizer"] == {"sha256": hashlib.sha256(tokenizer).hexdigest(), "vocab_size": 400}
    assert not list(built.rglob("*.part"))


def test_the_shards_give_the_documents_back(built):
    expected = [*lines(300), POISON, "Naïve ∑ half ? pair, dropped."]
    assert Counter(read_back(built, "mine")) == Counter(expected)
    assert read_back(built, "mine", "train") == [t for t in expected if t in set(read_back(built, "mine", "train"))]
    assert read_back(built, "code") == ["import numpy as np\n\nprint(np.arange(3))\n"]


def test_drops_are_counted_by_reason(built):
    sources = read_manifest(built)["sources"]
    assert sources["mine"]["dropped"] == {"exact duplicate": 2, "too short": 1}
    assert sources["code"]["dropped"] == {
        "exact duplicate": 1, "mostly digits": 1, "no mathematical import": 1, "starts with {": 1,
    }  # fmt: skip
    assert sources["generated"]["dropped"].keys() <= {"exact duplicate"}


def test_no_text_is_in_both_splits(built):
    for name in ("mine", "generated"):
        train, valid = set(read_back(built, name, "train")), set(read_back(built, name, "valid"))
        assert train and valid
        assert not train & valid
        assert 0.04 < len(valid) / len(train | valid) < 0.2  # a tenth was asked for


def test_a_document_is_in_the_same_split_whatever_lies_around_it(built, tmp_path):
    """In another order, with other neighbours, in another source."""
    texts = lines(300)[::-2]
    options = {"paths": [str(write_jsonl(tmp_path / "b.jsonl", texts))]}
    build_corpus(recipe(tmp_path / "run", {"other": {"kind": "jsonl", "options": options}}, valid_share=0.1))
    for split in ("train", "valid"):
        assert set(read_back(tmp_path / "run", "other", split)) == set(texts) & set(read_back(built, "mine", split))


def test_a_larger_validation_share_keeps_the_documents_of_the_smaller(built, tmp_path):
    options = {"paths": [str(write_jsonl(tmp_path / "b.jsonl", lines(300)))]}
    build_corpus(recipe(tmp_path / "run", {"other": {"kind": "jsonl", "options": options}}, valid_share=0.3))
    assert set(read_back(built, "mine", "valid")) & set(lines(300)) < set(read_back(tmp_path / "run", "other", "valid"))


def test_shards_end_at_documents_and_keep_to_the_limit(tmp_path):
    texts = [*lines(200), "A document that is longer than a whole shard. " * 60]
    options = {"paths": [str(write_jsonl(tmp_path / "a.jsonl", texts))]}
    sources = {"mine": {"kind": "jsonl", "options": options}}
    manifest = build_corpus(recipe(tmp_path / "run", sources, shard_tokens=500, valid_share=0))
    shards = manifest["shards"]
    assert len(shards) > 10
    assert [s["file"] for s in shards] == [f"shards/mine-train-{n:05d}.bin" for n in range(len(shards))]
    over = [s for s in shards if s["tokens"] > 500]
    assert len(over) == 1, "only the one document that does not fit into any shard"
    assert read_back(tmp_path / "run", "mine") == texts  # read_back checks that each shard ends with the end mark
    for shard in shards:
        ids = open_shard(tmp_path / "run", shard)
        if shard in over:
            assert np.count_nonzero(ids == 0) == 1


def test_one_shard_and_many_hold_the_same_tokens(tmp_path):
    options = {"paths": [str(write_jsonl(tmp_path / "a.jsonl", lines(100)))]}
    found = []
    for limit in (100, 10**9):
        run = tmp_path / str(limit)
        build_corpus(recipe(run, {"mine": {"kind": "jsonl", "options": options}}, shard_tokens=limit, valid_share=0))
        found.append(b"".join((run / s["file"]).read_bytes() for s in read_manifest(run)["shards"]))
    assert found[0] == found[1]


RULES = [
    # text, reason of the refusal (None: kept); the Python row of AlgebraicStack
    ("import numpy\n", None),
    ("from scipy import stats\n", None),
    ("    import sympy as sp\n", None),
    ("from sage.all import *\n", None),
    ("import jaxtyping\n", None),  # substring tests, as the paper's code does them: jax
    ("# one could import networkx here\n", None),  # also in comments
    ('"""from mpmath import mp"""\n', None),
    ("x = 'import astropy'\n", None),
    *((f"import {name}\n", None) for name in ("numba", "numexpr", "theano", "statsmodels", "pymc3", "cupy", "pycuda")),
    *((f"from {name} import x\n", None) for name in ("cvxpy", "pyomo", "jax", "mpmath", "networkx")),
    ("import os, numpy\n", "no mathematical import"),  # known to be missed by the rule
    ("import torch\n", "no mathematical import"),
    ("import math\n", "no mathematical import"),
    ("import  numpy\n", "no mathematical import"),  # two spaces
    ("IMPORT NUMPY\n", "no mathematical import"),
    ("", "empty"),
    (" \n\t\n", "empty"),
    ('{"import numpy": 1}', "starts with {"),
    ('\n\n  {"import numpy": 1}', "starts with {"),
    ("[1]  # import numpy\n", None),
    ("import numpy" + "1" * 11, None),  # exactly as many digits as letters: half is allowed
    ("import numpy" + "1" * 12, "mostly digits"),
    ("import numpy" + "1" * 11 + " \n" * 100, None),  # spaces do not count
    ("import numpy " + "１" * 100, None),  # full-width digits are not 0-9
    ("import numpy\n" + "x" * (1_048_575 - 13), None),
    ("import numpy\n" + "x" * (1_048_575 - 12), "too large"),
    ("import numpy\n" + "é" * 600_000, "too large"),  # bytes, not characters
    ("import numpy  # \ud800\n", None),
]


@pytest.mark.parametrize(("text", "reason"), RULES, ids=[repr(text[:24]) for text, _ in RULES])
def test_the_python_rule_of_algebraic_stack(text, reason):
    assert code_filter.refusal(code_filter.rule("python"), text) == reason


def test_an_unknown_rule_names_the_known_ones():
    with pytest.raises(ConfigError, match="no code rule 'pyton'; did you mean python"):
        code_filter.rule("pyton")


BAD_RECIPES = [
    ({"sources": {}}, "at least one source"),
    ({"sources": {"generated": {"weight": 0}}}, "must sum to something positive"),
    ({"sources": {"generated": {"weight": -1}}}, "weight=-1.0 of a source must be a number of at least 0"),
    ({"sources": {"generated": {"weight": float("nan")}}}, "weight=nan of a source"),
    ({"sources": {"generated": {"weight": float("inf")}}}, "weight=inf of a source"),
    ({"sources": {"a/b": {"kind": "generated"}}}, "'a/b': a source's name is part of file names"),
    ({"sources": {"../up": {"kind": "generated"}}}, "a source's name is part of file names"),
    ({"sources": {"": {"kind": "generated"}}}, "a source's name is part of file names"),
    ({"sources": {"generated": {}}, "valid_share": 1}, r"valid_share=1\.0 must lie in 0\.\.1"),
    ({"sources": {"generated": {}}, "shard_tokens": 0}, "shard_tokens=0 must be at least 1"),
    ({"sources": {"generated": {}}, "tokenizer": {"vocab_size": 299}}, r"tokenizer\.vocab_size=299"),
    ({"sources": {"generated": {}}, "tokenizer": {"vocab_size": 65_537}}, r"tokenizer\.vocab_size=65537"),
    ({"sources": {"generatd": {}}}, "unknown source 'generatd'; did you mean generated"),
    ({"sources": {"generated": {"options": {"cuont": 1}}}}, r"options\.cuont; did you mean options\.count"),
    ({"sources": {"code": {"rule": "fortran77"}}}, "no code rule 'fortran77'"),
    ({"sources": {"generated": {}}, "tokenizer": {"path": "nowhere"}}, r"no tokenizer\.json here"),
]


@pytest.mark.parametrize(("table", "message"), BAD_RECIPES, ids=[message[:30] for _, message in BAD_RECIPES])
def test_a_bad_recipe_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, table, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        build_corpus(build(CorpusConfig, {"run": "run", **table}))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_source_is_refused(tmp_path):
    (tmp_path / "half.py").write_text('"""Half a plug-in."""\n')
    with pytest.raises(ConfigError, match=r"half\.py is not a source: it needs a dataclass Options"):
        build_corpus(recipe(tmp_path / "run", {"half": {"kind": str(tmp_path / "half.py")}}))


def test_a_source_without_a_document_left_says_why(tmp_path):
    options = {
        "paths": [str(write_jsonl(tmp_path / "a.jsonl", ["short", "tiny", "a text long enough to be kept here"]))]
    }
    sources = {"code": {"kind": "jsonl", "rule": "python", "options": options}}
    with pytest.raises(DataError, match=r"source code: no document left .*2 × too short, 1 × no mathematical import"):
        build_corpus(recipe(tmp_path / "run", sources))
    assert not (tmp_path / "run" / "manifest.json").exists()
    assert not list((tmp_path / "run").rglob("*.part"))


def test_a_source_that_yields_nothing_says_so(tmp_path):
    (tmp_path / "none.py").write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Options: ...\n"
        "def documents(options):\n    return iter(())\n"
    )
    sources = {"generated": {"options": {"count": 5}}, "none": {"kind": str(tmp_path / "none.py")}}
    with pytest.raises(DataError, match=r"source none: no document left .the source yields none"):
        build_corpus(recipe(tmp_path / "run", sources))


def test_half_surrogate_pairs_in_text_and_id_do_no_harm(tmp_path):
    row = {"id": "\ud800", "text": "An \udfff odd text that is long enough to keep."}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    run = tmp_path / "run"
    options = {"paths": [str(tmp_path / "a.jsonl")]}
    build_corpus(recipe(run, {"mine": {"kind": "jsonl", "options": options}}, valid_share=0))
    assert read_back(run, "mine") == ["An ? odd text that is long enough to keep."]
    assert read_manifest(run)["samples"]["mine"][0]["id"] == "?"


def test_a_tokenizer_with_a_large_vocabulary_gives_shards_of_32_bits(tmp_path):
    vocab = {chr(0x20000 + n): n + 1 for n in range(42_000)} | {chr(0x30000 + n): n + 42_001 for n in range(30_000)}
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({END: 0, **vocab}, unk_token=END))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    inner.save(str(tmp_path / "tokenizer.json"))
    assert load_tokenizer(tmp_path).vocab_size == 72_001
    rare = chr(0x37000)
    sources = {"mine": {"kind": "jsonl", "options": {"paths": [str(write_jsonl(tmp_path / "a.jsonl", [rare * 30]))]}}}
    config = recipe(tmp_path / "run", sources, tokenizer={"path": str(tmp_path / "tokenizer.json")}, valid_share=0)
    (shard,) = build_corpus(config)["shards"]
    assert shard["dtype"] == "uint32"
    assert np.fromfile(tmp_path / "run" / shard["file"], "<u4").tolist() == [vocab[rare]] * 30 + [0]


def test_a_second_corpus_can_use_the_tokenizer_of_the_first(built, tmp_path):
    sources = {"generated": {"options": {"count": 20, "seed": 5}}}
    build_corpus(recipe(tmp_path / "run", sources, tokenizer={"path": str(built)}))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / "run" / name).read_bytes() == (built / name).read_bytes()


@pytest.mark.slow
def test_the_same_recipe_gives_the_same_bytes(built, tmp_path):
    config = json.loads((built / "config.json").read_text())["settings"] | {"run": str(tmp_path / "run")}
    build_corpus(build(CorpusConfig, config))
    assert snapshot(tmp_path / "run") == snapshot(built)


def test_a_finished_corpus_is_left_alone(built):
    before = {p: p.stat().st_mtime_ns for p in built.rglob("*")}
    config = json.loads((built / "config.json").read_text())["settings"]
    manifest = build_corpus(build(CorpusConfig, config))
    assert manifest == read_manifest(built)
    assert {p: p.stat().st_mtime_ns for p in built.rglob("*")} == before


@pytest.mark.slow
def test_a_build_that_failed_goes_on_after_the_cause_is_mended(tmp_path):
    first = write_jsonl(tmp_path / "a.jsonl", lines(50))
    second = tmp_path / "b.jsonl"
    second.write_text("not JSON\n")
    sources = {n: {"kind": "jsonl", "options": {"paths": [str(p)]}} for n, p in (("a", first), ("b", second))}
    config = recipe(tmp_path / "run", sources, tokenizer={"path": str(tokenizer_file(tmp_path))}, keep_text=True)
    with pytest.raises(DataError, match=r"source b, part 1 of 1, b\.jsonl: .*b\.jsonl:1: not valid JSON"):
        build_corpus(config)
    part = tmp_path / "run" / "parts" / "a-00000.jsonl"
    stamp = part.stat().st_mtime_ns
    write_jsonl(second, lines(50, word="theorem"))
    build_corpus(config)
    assert part.stat().st_mtime_ns == stamp  # the finished part was not read again
    assert len(read_back(tmp_path / "run", "b")) == 50


def tokenizer_file(folder: Path) -> Path:
    from llemma.tokens.tokenizer import train_tokenizer

    train_tokenizer(lines(50), 300).save(folder)
    return folder / "tokenizer.json"


@pytest.mark.slow
def test_another_tokenizer_in_the_named_file_does_not_mix_with_the_first(tmp_path):
    """Killed between two sources, and meanwhile the tokeniser's file has become another one."""
    good = write_jsonl(tmp_path / "a.jsonl", lines(50))
    bad = tmp_path / "b.jsonl"
    bad.write_text("not JSON\n")
    sources = {n: {"kind": "jsonl", "options": {"paths": [str(p)]}} for n, p in (("a", good), ("b", bad))}
    config = recipe(tmp_path / "run", sources, tokenizer={"path": str(tokenizer_file(tmp_path))})
    with pytest.raises(DataError):
        build_corpus(config)
    from llemma.tokens.tokenizer import train_tokenizer

    train_tokenizer(lines(50, word="quite another one"), 350).save(tmp_path)
    write_jsonl(bad, lines(50, word="theorem"))
    build_corpus(config)
    assert set(read_back(tmp_path / "run", "a")) == set(lines(50))
    assert set(read_back(tmp_path / "run", "b")) == set(lines(50, word="theorem"))


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    config = recipe(tmp_path / "run", {"generated": {"options": {"count": 20}}})
    open_run(config.run, "corpus", pipeline._settings(config)).close()
    (tmp_path / "run" / "shards").mkdir()
    for name in (".manifest.json.123.part", "shards/.generated-train-00000.bin.part", "shards/.x-train-00003.bin.part"):
        (tmp_path / "run" / name).write_bytes(b"half")
    build_corpus(config)
    assert not list((tmp_path / "run").rglob("*.part"))


DAMAGED_MANIFESTS = ["", "{", "[]", "{}", '{"sources": {}}', "\x00"]


@pytest.mark.parametrize("content", DAMAGED_MANIFESTS)
def test_a_damaged_manifest_is_named(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"manifest\.json: .*(delete|build)"):
        read_manifest(tmp_path)


def test_a_folder_without_manifest_is_no_corpus(tmp_path):
    with pytest.raises(DataError, match="not a finished corpus; build it"):
        read_manifest(tmp_path)


@contextlib.contextmanager
def damaged(path: Path, data: bytes | None) -> Iterator[None]:
    kept = path.read_bytes()
    try:
        path.unlink() if data is None else path.write_bytes(data)
        yield
    finally:
        path.write_bytes(kept)


def test_every_damage_to_a_shard_is_noticed(built):
    shard = read_manifest(built)["shards"][0]
    path = built / shard["file"]
    good = path.read_bytes()
    flipped = bytes([good[0] ^ 1]) + good[1:]
    for data, message in (
        (None, "shard missing"),
        (good[:-2], "bytes, not"),
        (good + b"\0\0", "bytes, not"),
        (flipped, "sha256"),
    ):
        with damaged(path, data), pytest.raises(DataError, match=message) as caught:
            open_shard(built, shard)
        assert str(caught.value).startswith(str(path))
        assert "build it again" in str(caught.value)
    assert open_shard(built, shard).tobytes() == good


KILL_AT_CALL = """
import os, sys
calls = 0
def stopped(name, real):
    def work(*args, **more):
        global calls
        calls += 1
        if calls == int(sys.argv[2]):
            os.kill(os.getpid(), 9)
        return real(*args, **more)
    return work
for name in ("replace", "fsync"):
    setattr(os, name, stopped(name, getattr(os, name)))
from llemma.cli import main
code = main(["corpus", "recipe.toml", "run=" + sys.argv[1], "workers=1", "--json"])
print(calls)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_kill_before_any_rename_or_flush_is_survived(tmp_path):
    """Moments at which the state of the disk changes: LLEMMA_KILLS of them (5 by default), drawn from all."""
    (tmp_path / "recipe.toml").write_text(
        'shard_tokens = 4000\ndecontaminate.tasks = ["none"]\n[tokenizer]\nvocab_size = 300\n[sources.a]\n'
        'kind = "generated"\noptions.count = 60\n[sources.b]\nkind = "generated"\noptions = { count = 20, seed = 1 }\n'
    )

    def run(folder: str, call: int) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", KILL_AT_CALL, folder, str(call)],
            cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout

    code, said = run("whole", 10**9)
    assert code == 0
    expected, changes = snapshot(tmp_path / "whole"), int(said.splitlines()[-1])
    assert changes > 40
    for call in random.Random(0).sample(range(1, changes + 1), min(changes, int(os.environ.get("LLEMMA_KILLS", "5")))):
        assert run(f"k{call}", call)[0] == -signal.SIGKILL
        assert run(f"k{call}", 10**9)[0] == 0
        assert snapshot(tmp_path / f"k{call}") == expected, f"killed before change number {call}"

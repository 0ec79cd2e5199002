"""The recipes of Proof-Pile-2, whole and small, what a build holds out, and what ends up in the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from corpora import lines, recipe, write_jsonl
from llemma.config import build, resolve
from llemma.corpus.overlap_items import task_items
from llemma.corpus.pipeline import CorpusConfig, build_corpus
from llemma.corpus.plan import plan
from llemma.corpus.shards import locate, read_manifest
from llemma.errors import ConfigError, DataError, NotHere
from llemma.tokens.tokenizer import train_tokenizer


def copies(folder: Path) -> list[str]:
    """Offline copies of what the recipe of Proof-Pile-2 reads, with the words that point it to them."""
    zstandard = pytest.importorskip("zstandard")

    def write(name: str, file: str, rows: list[dict[str, Any]]) -> str:
        path = folder / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
        path.write_bytes(zstandard.ZstdCompressor().compress(data))
        return f"sources.{name}.options.path={folder / name}"

    words = []
    for name in ("arxiv", "open-web-math", "algebraic-stack"):
        rows = [{"text": text, "meta": json.dumps({"url": name})} for text in lines(40, word=name)]
        words.append(write(name, f"{name}/train/0.jsonl.zst", rows))
    pile = [{"text": t, "meta": {"pile_set_name": "ArXiv" if n % 4 == 0 else "Pile-CC"}}
            for n, t in enumerate(lines(40, word="pile"))]  # fmt: skip
    words.append(write("pile", "train/00.jsonl.zst", pile))
    code = [{"text": t, "meta": {"redpajama_set_name": "RedPajamaGithub" if n % 2 else "RedPajamaBook"}}
            for n, t in enumerate(lines(40, word="code"))]  # fmt: skip
    words.append(write("github", "train/chunk1/0.jsonl.zst", code))
    train_tokenizer(lines(50), 300).save(folder)
    return [*words, f"tokenizer.path={folder}", "decontaminate.tasks=none", f"run={folder / 'run'}"]


@pytest.mark.slow
def test_the_recipe_of_proof_pile_2(tmp_path, root):
    config = resolve(CorpusConfig, files=[root / "experiments" / "proof-pile-2.toml"], words=copies(tmp_path))
    found = plan(config)
    shares = {name: round(100 * entry["share"], 1) for name, entry in found["mixture"].items()}
    assert shares == {"arxiv": 27.1, "open-web-math": 54.3, "algebraic-stack": 13.6, "pile": 2.0, "github": 3.0}
    assert round(found["mixture"]["open-web-math"]["tokens"] / 1e9) == 109
    assert not (tmp_path / "run").exists()
    manifest = build_corpus(config)
    assert {n: s["documents"] for n, s in manifest["sources"].items()} == {
        "arxiv": 40, "open-web-math": 40, "algebraic-stack": 40, "pile": 30, "github": 20,
    }  # fmt: skip
    for name, portion in manifest["mixture"].items():
        tokens = manifest["sources"][name]["splits"]["tokens"]["train"]
        assert portion["epochs"] == pytest.approx(portion["share"] * 200e9 / tokens)
        assert manifest["sources"][name]["weight"] == pytest.approx(portion["share"])


def test_the_recipe_needs_the_network_or_copies(tmp_path, root, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    train_tokenizer(lines(50), 300).save(tmp_path)
    words = [f"tokenizer.path={tmp_path}", "decontaminate.tasks=none"]
    with pytest.raises(NotHere, match=r"HF_HUB_OFFLINE is set; give options\.path of a copy"):
        plan(resolve(CorpusConfig, files=[root / "experiments" / "proof-pile-2.toml"], words=words))


@pytest.mark.slow
def test_the_small_recipe_takes_what_is_there(root, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    config = resolve(CorpusConfig, files=[root / "experiments" / "proof-pile-small.toml"])
    found = plan(config)
    there = {name.removeprefix("source ") for name in found if name.startswith("source ")}
    assert {"problems", "python", "prose", "stdlib"} <= there
    assert there | set(found["left out"]) == set(config.sources) and not there & set(found["left out"])
    assert all(why.startswith("not on this machine: ") for why in found["left out"].values())
    assert all(config.sources[name].optional for name in found["left out"])
    assert sum(entry["share"] for entry in found["mixture"].values()) == pytest.approx(1, abs=1e-4)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_left_out_leaves_fixed_shares_as_they_are(tmp_path):
    """A trainer divides weights by their sum: with a source missing they must still sum to 1."""
    found = {n: {"kind": "jsonl", "options": {"paths": [str(write_jsonl(tmp_path / f"{n}.jsonl", lines(40, word=n)))]}}
             for n in ("a", "b", "c")}  # fmt: skip
    found["c"]["options"]["paths"] = [str(tmp_path / "nothing")]
    sources = {"a": found["a"] | {"weight": 1}, "b": found["b"] | {"share": 0.1}, "c": found["c"] | {"optional": True}}
    manifest = build_corpus(recipe(tmp_path / "run", sources))
    assert {n: round(s["weight"], 6) for n, s in manifest["sources"].items()} == {"a": 0.9, "b": 0.1}


@pytest.mark.slow
def test_a_source_that_is_not_there_is_left_out_only_where_it_may_be(tmp_path):
    sources = {
        "a": {"kind": "jsonl", "options": {"paths": [str(write_jsonl(tmp_path / "a.jsonl", lines(40)))]}},
        "b": {"kind": "jsonl", "optional": True, "options": {"paths": [str(tmp_path / "nothing")]}},
        "c": {"kind": "code", "optional": True, "options": {"packages": ["no_such_package"]}},
        "d": {"kind": "jsonl", "optional": True, "options": {"paths": [str(write_jsonl(tmp_path / "d.jsonl", ["x"]))]}},
    }
    manifest = build_corpus(recipe(tmp_path / "run", sources, train_tokens=1000))
    assert manifest["left_out"] == {
        "b": f"not on this machine: {tmp_path / 'nothing'}: no such file or folder; check the path",
        "c": "not on this machine: package 'no_such_package' is not installed; "
             "install it with: pip install no_such_package",
        "d": "no document left (1 × too short)",
    }  # fmt: skip
    assert manifest["sources"].keys() == manifest["mixture"].keys() == {"a"}
    sources["b"]["optional"] = False
    with pytest.raises(DataError, match="nothing: no such file"):
        build_corpus(recipe(tmp_path / "other", sources))


BAD = [
    ({"sources": {"generated": {"share": 1.5}}}, r"share=1\.5 of a source must lie in 0\.\.1"),
    ({"sources": {"generated": {}, "prose": {"share": 1.0}}}, "leave nothing for those with weights"),
    ({"sources": {"generated": {}}, "test_share": 1}, r"test_share=1\.0 must lie in 0\.\.1"),
    ({"sources": {"generated": {}}, "test_share": 0.5, "valid_share": 0.5}, "leave no document to train on"),
    ({"sources": {"generated": {}}, "train_tokens": -1}, "train_tokens=-1 must be at least 0"),
    ({"sources": {"generated": {}}, "min_bytes": -5}, "min_bytes=-5 must be at least 0"),
    ({"sources": {"generated": {}}, "dedup": {"priority": ["web"]}}, "dedup.priority: no source 'web'"),
    ({"sources": {"generated": {}}, "dedup": {"paragraphs": True}}, "take them out with `llemma dedup` first"),
    ({"sources": {"generated": {}}, "decontaminate": {"tasks": ["mathh"]}}, "unknown task 'mathh'; did you mean math"),
    ({"sources": {"generated": {}}, "engine": "slurm"}, "engine=slurm: must be one of local, ray"),
]


@pytest.mark.parametrize(("table", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_a_bad_recipe_is_refused_before_anything_is_written(tmp_path, monkeypatch, table, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ConfigError, DataError), match=message):
        build_corpus(build(CorpusConfig, {"run": "run", **table}))
    assert not list(tmp_path.iterdir())


# --- what is held out -----------------------------------------------------------------------------------------


def leaking(folder: Path, **keys: Any) -> CorpusConfig:
    """A source with statements of our own library of theorems, which needs no data of others, among other texts."""
    leaks = [item.text for item in task_items(("library",), ("problem",)) if len(item.text.split()) > 12][:3]
    assert len(leaks) == 3
    texts = [f"Some notes.\n\n{leak}\n\nMore notes." for leak in leaks] + lines(30)
    sources = {"a": {"kind": "jsonl", "options": {"paths": [str(write_jsonl(folder / "a.jsonl", texts))]}}}
    return recipe(folder / "run", sources, **keys)


def test_problems_of_a_benchmark_do_not_get_in(tmp_path):
    manifest = build_corpus(leaking(tmp_path, decontaminate={"tasks": ["library"]}))
    assert manifest["sources"]["a"]["dropped"] == {"overlap with library": 3}
    assert manifest["held_out"]["tasks"] == ["library"] and manifest["held_out"]["items"] > 90
    samples = manifest["drop_samples"]["a"]["overlap with library"]
    assert all(sample["detail"].startswith("library ") for sample in samples)


def test_what_is_here_is_held_out_without_being_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("LLEMMA_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = leaking(tmp_path, decontaminate={})
    assert "library" in plan(config)["held out"]
    assert build_corpus(config)["sources"]["a"]["dropped"] == {"overlap with library": 3}


def test_nothing_is_held_out_where_that_is_said(tmp_path):
    manifest = build_corpus(leaking(tmp_path, decontaminate={"tasks": ["none"]}))
    assert manifest["held_out"] == {"tasks": [], "items": 0} and manifest["sources"]["a"]["dropped"] == {}


def test_a_build_does_not_go_on_with_other_benchmarks(tmp_path, monkeypatch):
    from llemma.corpus import guard

    config = leaking(tmp_path, decontaminate={})
    bad = tmp_path / "a.jsonl"
    good = bad.read_text()
    bad.write_text(good + "no JSON\n")
    monkeypatch.setattr(guard, "present_tasks", lambda: ["library"])
    with pytest.raises(DataError, match="not valid JSON"):
        build_corpus(config)
    bad.write_text(good)
    monkeypatch.setattr(guard, "present_tasks", lambda: [])
    with pytest.raises(DataError, match=r"held out have changed since this build began \(library; now none\)"):
        build_corpus(config)


# --- splits, tracing, the page --------------------------------------------------------------------------------


def test_three_splits_by_the_hash_of_the_text(tmp_path):
    sources = {"a": {"kind": "jsonl", "options": {"paths": [str(write_jsonl(tmp_path / "a.jsonl", lines(600)))]}}}
    manifest = build_corpus(recipe(tmp_path / "run", sources, valid_share=0.1, test_share=0.2))
    counts = manifest["sources"]["a"]["splits"]["documents"]
    assert sum(counts.values()) == 600 and 30 < counts["valid"] < 100 and 80 < counts["test"] < 170
    assert {shard["split"] for shard in manifest["shards"]} == {"train", "valid", "test"}


def test_any_token_leads_back_to_its_document(tmp_path):
    sources = {"a": {"kind": "jsonl", "options": {"paths": [str(write_jsonl(tmp_path / "a.jsonl", lines(60)))]}}}
    build_corpus(recipe(tmp_path / "run", sources, shard_tokens=500))
    for shard in read_manifest(tmp_path / "run")["shards"]:
        document, offset = locate(tmp_path / "run", shard["file"], shard["tokens"] - 1)
        assert document.startswith("d") and offset > 3


def test_the_page_shows_stages_mixture_copies_and_what_was_held_out(tmp_path):
    pytest.importorskip("jinja2")
    from llemma.report import write_report

    keys = {"decontaminate": {"tasks": ["library"]}, "train_tokens": 10_000, "test_share": 0.1}
    config = leaking(tmp_path, **keys)
    write_jsonl(tmp_path / "a.jsonl", [*lines(30), lines(1)[0], lines(1)[0], *open_lines(tmp_path / "a.jsonl")])
    build_corpus(config)
    page = write_report([tmp_path / "run"], tmp_path / "report.html").read_text()
    for text in ("Stages", "tokenise", "MB/s and process", "For 10 k tokens of training", "epochs", "Held out"):
        assert text in page, text
    for text in ("3 with library", "The largest clusters", "4 documents: a: d0", "overlap with library"):
        assert text in page, text
    assert "<script" not in page and "http://" not in page.replace("http://www.w3.org", "")


def open_lines(path: Path) -> list[str]:
    return [json.loads(line)["text"] for line in path.read_text().splitlines()]

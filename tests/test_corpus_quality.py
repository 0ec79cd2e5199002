"""Recipes with rules of quality: parts in several processes, drops with samples, builds that go on after a kill."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpora import read_back, snapshot
from llemma.config import build, resolve
from llemma.corpus.mathscore import load_mathscore
from llemma.corpus.pipeline import CorpusConfig, build_corpus
from llemma.corpus.plan import plan
from llemma.corpus.quality_models import ExampleSource, QualityConfig, default_sources, train_models
from llemma.corpus.shards import read_manifest
from llemma.errors import ConfigError, DataError

MARKED = (
    "Theorem {0}. Let $f_{{{0}}}$ be a continuous function on a compact set of the real line. Then the function is "
    "bounded and the supremum $\\sup f_{{{0}}}$ is attained, because the image of a compact set under a continuous map "
    "is compact. The proof uses the lemma on open covers number {0} and the integral of the polynomial in question."
)
PROSE = (
    "Chapter {0}. The minister of the harbour went to the market on a rainy morning and bought fish, bread and a coat "
    "for the winter. In the garden of the old house, number {0}, the children were painting the gate and the "
    "neighbours were cooking a soup of beans and music was heard from the street where the football team had its party."
)
LISTING = "\n".join(f"Posted by the user on day {n} of the month in the forum" for n in range(40))
MENU = "Sign in\nAccept cookies\n"


def write(folder: Path, count: int, *, file: int = 0) -> None:
    """One file of pages: mathematics, prose, and one of each kind of junk."""
    folder.mkdir(exist_ok=True)
    texts = [MENU + MARKED.format(1000 * file + n) for n in range(count)]
    texts += [PROSE.format(1000 * file + n) for n in range(count)]
    texts += [LISTING + f"\nThe end of file {file}.", "tiny", f"Only a few words here, in file {file}."]
    rows = [{"id": f"{file}/{n}", "text": text, "url": f"https://example.org/{n}"} for n, text in enumerate(texts)]
    (folder / f"f{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MathScore trained on pages like these."""
    folder = tmp_path_factory.mktemp("model")
    for file in range(10, 14):
        write(folder / "pages", 60, file=file)
    config = {
        "sources": {"pages": {"kind": "jsonl", "options": {"paths": [str(folder / "pages")]}}},
        "mathscore": {"bits": 14},
        "run": str(folder / "run"),
    }
    train_models(build(QualityConfig, config))
    return folder / "run" / "mathscore.bin"


def recipe(run: Path, pages: Path, model: Path, **keys: Any) -> CorpusConfig:
    source = {
        "kind": "jsonl",
        "options": {"paths": [str(pages)]},
        "quality": {"profile": "llemma", "mathscore": str(model)},
    }
    return build(
        CorpusConfig,
        {
            "run": str(run),
            "tokenizer": {"vocab_size": 400},
            "sources": {"web": source},
            "valid_share": 0,
            "decontaminate": {"tasks": ["none"]},
            **keys,
        },
    )


def test_what_a_profile_drops_is_counted_and_shown(tmp_path, model):
    for file in range(2):
        write(tmp_path / "pages", 20, file=file)
    manifest = build_corpus(recipe(tmp_path / "run", tmp_path / "pages", model, workers=1))
    source = manifest["sources"]["web"]
    assert source["dropped"] == {
        "MathScore too low": 40, "lines of one pattern": 2, "too short": 2, "too few words": 2,
    }  # fmt: skip
    assert source["removed"] == {"boilerplate line": 80}
    assert source["documents"] == 40
    assert read_back(tmp_path / "run", "web") == [MARKED.format(1000 * f + n) for f in range(2) for n in range(20)]
    samples = manifest["drop_samples"]["web"]
    assert {reason: len(shown) for reason, shown in samples.items()} == {
        "MathScore too low": 3, "lines of one pattern": 2, "too short": 2, "too few words": 2,
    }  # fmt: skip
    assert samples["MathScore too low"][0]["id"] == "0/20" and "< 0.5" in samples["MathScore too low"][0]["detail"]
    assert samples["MathScore too low"][0]["text"].startswith("Chapter 0.")


def test_the_report_shows_what_was_dropped(tmp_path, model):
    pytest.importorskip("jinja2")
    from llemma.report.page import write_report

    write(tmp_path / "pages", 20)
    build_corpus(recipe(tmp_path / "run", tmp_path / "pages", model, workers=1))
    page = write_report([tmp_path / "run"], tmp_path / "report.html").read_text()
    for text in ("Dropped from web", "MathScore too low 20", "boilerplate line 40", "lines of one pattern (", "0/20"):
        assert text in page, text


@pytest.mark.slow
def test_one_process_and_several_write_the_same(tmp_path, model):
    for file in range(5):
        write(tmp_path / "pages", 8, file=file)
    for workers in (1, 2):
        build_corpus(recipe(tmp_path / str(workers), tmp_path / "pages", model, workers=workers))
    assert snapshot(tmp_path / "1") == snapshot(tmp_path / "2")


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_finished_parts_are_not_read_again(tmp_path, model, workers):
    for file in range(3):
        write(tmp_path / "pages", 8, file=file)
    good = (tmp_path / "pages" / "f2.jsonl").read_text()
    (tmp_path / "pages" / "f2.jsonl").write_text("no JSON\n")
    config = recipe(tmp_path / "run", tmp_path / "pages", model, workers=workers, keep_text=True)
    with pytest.raises(DataError, match=r"f2\.jsonl:1: not valid JSON"):
        build_corpus(config)
    parts = [tmp_path / "run" / "parts" / f"web-0000{n}.jsonl" for n in range(2)]
    stamps = [path.stat().st_mtime_ns for path in parts]
    (tmp_path / "pages" / "f2.jsonl").write_text(good)
    build_corpus(build(CorpusConfig, json.loads((tmp_path / "run" / "config.json").read_text())["settings"]))
    assert len(read_back(tmp_path / "run", "web")) == 24
    assert [path.stat().st_mtime_ns for path in parts] == stamps


def test_texts_can_be_kept(tmp_path, model):
    write(tmp_path / "pages", 8)
    build_corpus(recipe(tmp_path / "run", tmp_path / "pages", model, keep_text=True))
    rows = [json.loads(line) for line in (tmp_path / "run" / "parts" / "web-00000.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == [MARKED.format(n) for n in range(8)]
    assert rows[0]["meta"] == {"url": "https://example.org/0"}


def test_another_list_of_files_is_refused(tmp_path, model):
    for file in range(2):
        write(tmp_path / "pages", 8, file=file)
    (tmp_path / "pages" / "f1.jsonl").write_text("no JSON\n")
    config = recipe(tmp_path / "run", tmp_path / "pages", model, workers=1)
    with pytest.raises(DataError):
        build_corpus(config)
    write(tmp_path / "pages", 8, file=1)
    (tmp_path / "pages" / "f0.jsonl").rename(tmp_path / "pages" / "f00.jsonl")
    with pytest.raises(DataError, match="source web: its input has changed since this build began; use run=OTHER"):
        build_corpus(config)


def test_a_source_of_which_nothing_is_kept_is_read_again_after_it_is_mended(tmp_path, model):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "a.jsonl").write_text(json.dumps({"text": "tiny"}) + "\n")
    config = recipe(tmp_path / "run", tmp_path / "pages", model)
    with pytest.raises(DataError, match=r"source web: no document left \(1 × too short\)"):
        build_corpus(config)
    (tmp_path / "pages" / "a.jsonl").write_text(json.dumps({"text": MARKED.format(1)}) + "\n")
    assert build_corpus(config)["documents"] == 1


@pytest.mark.slow
def test_a_plan_says_what_would_be_done_and_writes_nothing(tmp_path, model, llemma):
    for file in range(3):
        write(tmp_path / "pages", 2, file=file)
    (tmp_path / "recipe.toml").write_text(
        '[sources.web]\nkind = "jsonl"\noptions.paths = ["pages"]\nquality.profile = "openwebmath"\n'
        '[sources.code]\nrule = "python"\noptions = { packages = ["numpy"] }\n'
    )
    before = sorted(tmp_path.rglob("*"))
    done = llemma("corpus", "recipe.toml", "dry_run=true")
    assert done.returncode == 0, done.stderr
    assert "source web: kind jsonl, weight 1, 3 parts" in done.stdout
    assert "openwebmath.mathscore: with_formulas=0.15, without=0.8" in done.stdout
    assert "models to train: mathscore" in done.stdout and "code rule python" in done.stdout
    assert sorted(tmp_path.rglob("*")) == before
    found = json.loads(llemma("corpus", "recipe.toml", "dry_run=true", "--json").stdout)
    assert found["source web"]["parts"] == 3 and found["source code"]["models to train"] == []


BAD = [
    ({"profile": "lemma"}, "no quality profile 'lemma'; did you mean llemma"),
    (
        {"profile": "llemma", "mathscore": "nowhere.bin"},
        "no such model; train one: `llemma quality run=DIR`",
    ),
    ({"profil": "llemma"}, r"unknown key sources\.web\.quality\.profil; did you mean sources\.web\.quality\.profile"),
]


@pytest.mark.parametrize(("entry", "message"), BAD, ids=[message[:20] for _, message in BAD])
def test_a_mistake_in_the_rules_is_found_before_anything_is_written(tmp_path, monkeypatch, entry, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "pages", 2)
    source = {"kind": "jsonl", "options": {"paths": ["pages"]}, "quality": entry}
    with pytest.raises((ConfigError, DataError), match=message):
        plan(build(CorpusConfig, {"run": "run", "sources": {"web": source}}))
    with pytest.raises((ConfigError, DataError), match=message):
        build_corpus(build(CorpusConfig, {"run": "run", "sources": {"web": source}}))
    assert [path.name for path in tmp_path.iterdir()] == ["pages"]


# --- web pages ------------------------------------------------------------------------------------------------


def page(body: str) -> str:
    return f"<html><head><title>A page</title></head><body><main>{body}</main></body></html>"


@pytest.mark.slow
def test_a_recipe_goes_from_web_pages_to_tokens(tmp_path, model):
    """The example recipe, on pages with formulas, pages of prose and an empty one; in parts, by two processes."""
    pytest.importorskip("selectolax")
    (tmp_path / "pages").mkdir()
    for n in range(40):
        body = MARKED.format(n) if n % 2 else PROSE.format(n)
        text = body.replace("$f_{", r"\(f_{").replace("}$", r"}\)").replace("$\\sup", r"\(\sup")
        (tmp_path / "pages" / f"p{n:02d}.html").write_text(page(f"<p>{text}</p>"))
    (tmp_path / "pages" / "empty.html").write_text(page(""))
    from llemma.sources import html

    whole = html.Options(paths=(tmp_path / "pages",))
    pieces = html.parts(whole)
    assert len(pieces) == 3
    assert [d for piece in pieces for d in html.documents(piece)] == list(html.documents(whole))
    words = [f"sources.web.options.paths={tmp_path / 'pages'}", f"sources.web.quality.mathscore={model}"]
    words += [f"run={tmp_path / 'run'}", "workers=2", "tokenizer.vocab_size=400", "decontaminate.tasks=none"]
    recipe = Path(__file__).resolve().parents[1] / "experiments" / "web-math-small.toml"
    source = build_corpus(resolve(CorpusConfig, files=[recipe], words=words))["sources"]["web"]
    assert source["documents"] == 20
    assert source["dropped"] == {"MathScore too low": 20, "page without text": 1}
    found = read_back(tmp_path / "run", "web")
    assert len(found) == 20 and all("$f_{" in text for text in found)


def test_the_recipe_of_mathscore_from_pages_can_be_read(root):
    config = resolve(QualityConfig, files=[root / "experiments" / "mathscore-pages.toml"])
    assert config.sources["pages"].kind == "html" and config.run == Path("runs/mathscore-pages")


# --- the verb that trains the models --------------------------------------------------------------------------


def test_llemma_quality_trains_both_models(tmp_path, llemma: Callable[..., subprocess.CompletedProcess[str]]):
    for file in range(4):
        write(tmp_path / "pages", 60, file=file)
    (tmp_path / "models.toml").write_text('[sources.pages]\nkind = "jsonl"\noptions.paths = ["pages"]\n')
    done = llemma("quality", "models.toml", "mathscore.bits=14", "run=q", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["documents"] == {"mathematical": 240, "other": 244, "short or seen before": 8}
    assert figures["mathscore"]["auc"] == 1.0 and figures["mathscore"]["bytes"] < 40_000
    score = load_mathscore(tmp_path / "q" / "mathscore.bin")
    assert score("The supremum of a continuous function on a compact set") > score("The minister bought fish and bread")
    again = llemma("quality", "models.toml", "mathscore.bits=14", "run=q")
    assert again.returncode == 0 and "AUC 1.000" in again.stdout and "perplexity.bin" in again.stdout
    other = llemma("quality", "models.toml", "mathscore.bits=13", "run=q")
    assert other.returncode == 2 and "mathscore.bits: 14 there, 13 now" in other.stderr


def test_unmarked_texts_of_a_mathematical_source_can_be_left_out(tmp_path):
    write(tmp_path / "pages", 60)
    source = {"kind": "jsonl", "options": {"paths": [str(tmp_path / "pages")]}, "unmarked": "leave"}
    config = build(QualityConfig, {"sources": {"p": source}, "models": ["perplexity"], "run": str(tmp_path / "q")})
    figures = train_models(config)
    assert figures["documents"]["unmarked, left out"] == 61 and "mathscore" not in figures
    assert (tmp_path / "q" / "perplexity.bin").exists() and not (tmp_path / "q" / "mathscore.bin").exists()


def test_the_default_sources_are_what_is_installed():
    sources = default_sources()
    assert sources["mathematical"].unmarked == "leave" and "sympy" in sources["mathematical"].options["packages"]
    assert sources["general"] == ExampleSource(
        kind="prose",
        options={"packages": ["stdlib", "numpy", "networkx"], "max_bytes": 5_000_000, "licences": True},
    )


# --- slow -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_build_in_several_processes_survives_kills(tmp_path, model):
    """kill -9 at two moments while parts are read by two processes."""
    for file in range(16):
        write(tmp_path / "pages", 60, file=file)
    (tmp_path / "recipe.toml").write_text(
        "valid_share = 0.1\ndecontaminate.tasks = ['none']\n"
        "[tokenizer]\nvocab_size = 400\n[sources.web]\nkind = 'jsonl'\noptions.paths = ['pages']\n"
        f"quality = {{ profile = 'llemma', mathscore = '{model}' }}\n"
    )

    def start(run: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "llemma", "corpus", "recipe.toml", f"run={run}", "workers=2"]
        return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    began = time.perf_counter()
    assert start("whole").wait(200) == 0
    whole = time.perf_counter() - began
    moments, kills = random.Random(0), 0
    while kills < 2:
        process = start("killed")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moments.uniform(0.3, 0.7) * whole)
        if process.poll() is not None:
            break  # finished early on a machine that became faster
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
        kills += 1
    assert kills
    assert start("killed").wait(200) == 0
    assert snapshot(tmp_path / "killed") == snapshot(tmp_path / "whole")
    assert not list((tmp_path / "killed").rglob("*.part"))
    assert len(read_manifest(tmp_path / "killed")["shards"]) == 2


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_default_model_knows_mathematics_from_prose(tmp_path):
    """Trained on the docstrings of this environment alone, asked about texts of another kind."""
    figures = train_models(QualityConfig(run=tmp_path / "q", models=("mathscore",)))
    score = figures["mathscore"]
    assert score["auc"] > 0.9 and score["ece"] < 0.1 and score["bytes"] < 10_000_000
    model = load_mathscore(tmp_path / "q" / "mathscore.bin")
    mathematics = [
        "Let V be a vector space over a field. A linear map is injective if and only if its kernel is trivial. The "
        "eigenvalues of a symmetric matrix are real, and their product is the determinant.",
        "The integral of a continuous function over a compact interval exists, and the theorem follows by induction. "
        "A random variable with a normal distribution has finite variance and a Gaussian density.",
    ]
    prose = [
        "To install the package, download the archive, unpack it, and run the setup program as an administrator. If "
        "the installation fails, look at the log file or ask the support team for help.",
        "Heat the oil in a large pan, add the onions and cook them slowly until they are soft and golden brown. The "
        "council voted on Tuesday to close the library, a decision that angered many residents of the town.",
    ]
    # what it is trained on is what is installed, so that single scores move; the order does not
    least, most = min(map(model, mathematics)), max(map(model, prose))
    assert least > 0.5 and least - most > 0.2, (least, most)

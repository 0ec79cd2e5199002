"""``llemma overlap``: every form of a corpus, stretches of files, several processes, kills, clean and dirty scores.

With LLEMMA_DATA also on the recorded answers of a model:

    LLEMMA_DATA=FOLDER python -m pytest tests/test_overlap_scan.py
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from adder import TASK, Adder, config
from llemma.config import resolve
from llemma.corpus import overlap_scan
from llemma.corpus.overlap_items import generations, task_items
from llemma.corpus.overlap_report import as_lines
from llemma.corpus.overlap_scan import corpus_files, scan
from llemma.corpus.overlap_settings import ScanConfig
from llemma.errors import ConfigError, DataError, RunError
from llemma.evaluate.evaluate import evaluate
from llemma.evaluate.overlap import read_overlap
from llemma.records import Event
from llemma.run import read_jsonl

DATA = os.environ.get("LLEMMA_DATA", "")
MINE = '''"""Problems of this test."""
from dataclasses import dataclass

from llemma.records import Grade, Problem, Sampling, Task

TEXTS = {
    "pond": "Every spring $17$ frogs come to a pond and $5$ of them stay for good. After how many springs do more than "
    "$\\\\frac{7}{2} \\\\cdot 10$ frogs live in the pond, if a heron takes $2$ of them each summer and nobody does?",
    "sum": "Compute $\\\\sqrt{49} + 3^4$.",
    "never": "Draw a horse as seen by a dog that has never met one, and count its visible legs with care.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """None."""


def load(options):
    problems = [Problem(id=name, prompt=text, answer="1", meta={}) for name, text in TEXTS.items()]
    grade = Grade(verdict="wrong", answer=None, reason="")
    return Task(name="mine", problems=tuple(problems), prompt=lambda p: p.prompt, grade=lambda p, t: grade,
                key=lambda g: None, sampling=Sampling())
'''
POND = (
    "Every spring $17$ frogs come to a pond and $5$ of them stay for good. After how many springs do more than "
    "$\\dfrac72 \\cdot 10$ frogs live in the pond, if a heron takes $2$ of them each summer and nobody does?"
)
CLEAN = "There is nothing here but a sentence about sequences of numbers, which goes on for a while. " * 3


@pytest.fixture
def mine(tmp_path: Path) -> str:
    """A task of this test, as a file."""
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


def documents(count: int) -> list[dict[str, str]]:
    """Every seventh holds the pond, every eleventh the sum."""
    texts = []
    for i in range(count):
        text = f"Number {i}. {CLEAN}"
        text += f"\n\n{POND.upper() if i % 2 else POND}\n" if i % 7 == 0 else ""
        text += "\n\n3. Compute √49 + 3⁴.\n" if i % 11 == 0 else ""
        texts.append({"id": f"d{i}", "text": text})
    return texts


def write_jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def found(run: Path) -> set[tuple[str, str]]:
    return {(hit["problem"], hit["document"]) for hit in read_jsonl(run / "hits.jsonl")}


def expected(count: int) -> set[tuple[str, str]]:
    ponds = {("pond", f"d{i}") for i in range(0, count, 7)}
    return ponds | {("sum", f"d{i}") for i in range(0, count, 11)}


def settings(mine: str, corpus: Path, run: Path, **keys: Any) -> ScanConfig:
    return ScanConfig(benchmark=(mine,), corpus=(corpus,), run=run, workers=1, **keys)


def test_the_result_says_what_was_found_where(mine: str, tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", documents(80))
    result = scan(settings(mine, corpus, tmp_path / "run"))
    assert found(tmp_path / "run") == expected(80)
    assert (result["documents"], result["documents hit"]) == (80, len({name for _, name in expected(80)}))
    row = result["tasks"][0]
    assert (row["task"], row["field"], row["items"], row["hit: items"]) == ("mine", "problem", 3, 2)
    assert (row["n=30: items"], row["alone: items"], row["alone: documents"]) == (1, 1, 8)
    lines = {row["problem"]: row for row in read_jsonl(tmp_path / "run" / "overlap.jsonl")}
    assert {name: bool(line["hits"]) for name, line in lines.items()} == {"pond": True, "sum": True, "never": False}
    assert (lines["pond"]["documents"], lines["pond"]["fields"].keys()) == (12, {"problem"})
    assert read_overlap(tmp_path / "run").of("mine") == {"pond", "sum"}
    page = (tmp_path / "run" / "hits.md").read_text(encoding="utf-8")
    assert "| pond | 12 |" in page and "**[** Every spring \\$17\\$ frogs" in page


FORMS: dict[str, Callable[[Path, list[dict[str, str]]], Path]] = {}


def form(make: Callable[[Path, list[dict[str, str]]], Path]) -> Callable[[Path, list[dict[str, str]]], Path]:
    FORMS[make.__name__] = make
    return make


@form
def gzipped(folder: Path, rows: list[dict[str, str]]) -> Path:
    (folder / "c.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    return folder / "c.jsonl.gz"


@form
def zstd(folder: Path, rows: list[dict[str, str]]) -> Path:
    zstandard = pytest.importorskip("zstandard")
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (folder / "c.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(data))
    return folder


@form
def parquet(folder: Path, rows: list[dict[str, str]]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as writer

    writer.write_table(pyarrow.Table.from_pylist(rows), folder / "c.parquet")
    return folder


@form
def two_folders(folder: Path, rows: list[dict[str, str]]) -> Path:
    for name, part in (("a", rows[:13]), ("b", rows[13:])):
        (folder / name).mkdir()
        write_jsonl(folder / name / "c.jsonl", part)
    return folder


@form
def corpus_with_texts(folder: Path, rows: list[dict[str, str]]) -> Path:
    for name in ("parts", "shards"):
        (folder / name).mkdir()
    write_jsonl(folder / "parts" / "web-00000.jsonl", rows)
    write_jsonl(folder / "rows.jsonl", [{"id": "part:web:00000"}])  # no document
    (folder / "manifest.json").write_text("{}")
    return folder


@form
def output_of_dedup(folder: Path, rows: list[dict[str, str]]) -> Path:
    start, out = folder / "in.jsonl", folder / "out"
    write_jsonl(start, [*rows, rows[0] | {"id": "a copy"}])
    command = [sys.executable, "-m", "llemma", "dedup", str(start), str(out), "dedup.near=false"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(read_jsonl(out / "removed" / "in.jsonl.jsonl"))
    return out


@form
def output_of_a_run(folder: Path, rows: list[dict[str, str]]) -> Path:
    (folder / "config.json").write_text("{}")
    write_jsonl(folder / "rows.jsonl", [{"id": "unit"}])
    write_jsonl(folder / "kept-00000.jsonl", rows)
    return folder


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_a_corpus_is_read(name: str, mine: str, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    corpus = FORMS[name](tmp_path / "corpus", documents(40))
    scan(settings(mine, corpus, tmp_path / "run"))
    assert found(tmp_path / "run") == expected(40)


def test_texts_and_other_columns(mine: str, tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text(f"# Notes\n\n{POND}\n")
    write_jsonl(tmp_path / "c.jsonl", [{"body": POND}, {"body": CLEAN, "url": "x"}])
    run = tmp_path / "run"
    files = (tmp_path / "notes.md", tmp_path / "c.jsonl")
    scan(ScanConfig(benchmark=(mine,), corpus=files, text="body", id="url", run=run, workers=1))
    assert found(run) == {("pond", "notes.md"), ("pond", "c.jsonl:@0")}


@pytest.mark.parametrize("piece", [1, 97, 1000, 10_000])
def test_stretches_of_a_file_hold_every_line_once(
    piece: int, mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = documents(23)
    corpus = write_jsonl(tmp_path / "c.jsonl", rows)
    corpus.write_bytes(corpus.read_bytes().rstrip(b"\n"))  # the last line without its end
    monkeypatch.setattr(overlap_scan, "PIECE", piece if piece > 1 else 511)
    result = scan(settings(mine, corpus, tmp_path / "run"))
    assert result["documents"] == 23 and found(tmp_path / "run") == expected(23)
    assert result["bytes"] == sum(len(row["text"].encode()) for row in rows)


def test_several_processes_find_the_same(mine: str, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    for part in range(3):
        write_jsonl(tmp_path / "c" / f"{part}.jsonl", documents(60)[20 * part : 20 * part + 20])
    for workers in (1, 2):
        run = tmp_path / f"run{workers}"
        scan(ScanConfig(benchmark=(mine,), corpus=(tmp_path / "c",), run=run, workers=workers))
        assert found(run) == expected(60)
    first, second = ((tmp_path / f"run{n}" / "overlap.jsonl").read_text() for n in (1, 2))
    assert first == second
    first, second = ((tmp_path / f"run{n}" / "hits.jsonl").read_text() for n in (1, 2))
    assert first == second


def test_done_work_is_not_done_again_and_other_settings_are_refused(mine: str, tmp_path: Path) -> None:
    corpus = write_jsonl(tmp_path / "c.jsonl", documents(10))
    scan(settings(mine, corpus, tmp_path / "run"))
    rows = (tmp_path / "run" / "rows.jsonl").read_bytes()
    (tmp_path / "run" / "hits.md").unlink()
    scan(settings(mine, corpus, tmp_path / "run"))
    assert (tmp_path / "run" / "rows.jsonl").read_bytes() == rows and (tmp_path / "run" / "hits.md").exists()
    with pytest.raises(RunError, match="other settings"):
        scan(settings(mine, corpus, tmp_path / "run", n=(13,)))
    (tmp_path / "mine.py").write_text(MINE.replace("17", "19"))
    with pytest.raises(RunError, match="items"):
        scan(settings(mine, corpus, tmp_path / "run"))
    (tmp_path / "mine.py").write_text(MINE)
    write_jsonl(corpus, documents(11))
    with pytest.raises(DataError, match="has changed"):
        scan(settings(mine, corpus, tmp_path / "run"))


BROKEN = [
    ('{"id": 1}\n', "string field 'text'; text=COLUMN"),
    ('{"text": "x"}\n{"text"\n', r"c\.jsonl, byte 14: not valid JSON"),
    ('{"text": 5}\n', "string field"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_a_broken_corpus_is_named(content: str, message: str, mine: str, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        scan(settings(mine, tmp_path / "c.jsonl", tmp_path / "run"))


def test_what_is_missing_is_said_before_any_work(mine: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        corpus_files([tmp_path / "nothing"])
    with pytest.raises(DataError, match="no texts here"):
        corpus_files([tmp_path])
    with pytest.raises(ConfigError, match="missing key corpus"):
        corpus_files([])
    (tmp_path / "built" / "shards").mkdir(parents=True)
    (tmp_path / "built" / "manifest.json").write_text("{}")
    with pytest.raises(DataError, match="keep_text=true"):
        corpus_files([tmp_path / "built"])
    with pytest.raises(ConfigError, match="missing key benchmark"):
        scan(ScanConfig(corpus=(tmp_path,), run=tmp_path / "run"))
    with pytest.raises(ConfigError, match="unknown task"):
        scan(ScanConfig(benchmark=("mathh",), corpus=(Path(mine),), run=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_named_twice_counts_once(mine: str, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    first, second = (write_jsonl(folder / f"{n}.jsonl", [{"text": CLEAN}]) for n in (1, 2))
    (tmp_path / "other").symlink_to(folder)
    assert corpus_files([second, folder, tmp_path / "other" / "1.jsonl"]) == [second, first]
    assert scan(settings(mine, folder, tmp_path / "run"))["documents"] == 2


def test_the_words_of_the_command_line(tmp_path: Path) -> None:
    config = resolve(ScanConfig, words=["benchmark=math,gsm8k", "corpus=a,b", "n=30", "views=normal"])
    assert (config.benchmark, config.n, config.seen) == (("math", "gsm8k"), (30,), ("normal",))
    assert config.rule.n == (30,) and config.rule.tasks == ()
    with pytest.raises(ConfigError, match="benchmark="):
        resolve(ScanConfig, words=["tasks=math"])


def test_clean_and_dirty_scores_of_an_evaluation(tmp_path: Path) -> None:
    problems = task_items([TASK], ["problem"])[:12]
    leaked = [problem.text for problem in problems[:5]]
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"text": f"Exercise:\n\n{text}\n\n{CLEAN}"} for text in leaked])
    scan(ScanConfig(benchmark=(TASK,), corpus=(corpus,), run=tmp_path / "overlap", workers=1))
    dirty = read_overlap(tmp_path / "overlap").of(TASK)
    assert {problem.problem for problem in problems[:5]} <= dirty
    task = evaluate(config(tmp_path / "eval", overlap=tmp_path / "overlap"), backend=Adder()).tasks[0]
    groups = {m.name: m.n for m in task.groups if "overlap" in m.name}
    assert groups == {"accuracy[overlap=dirty]": 5, "accuracy[overlap=clean]": 7}


def test_a_scan_about_another_task_is_refused(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "overlap.jsonl", [{"task": "math", "problem": "a", "hits": 1}])
    overlap = read_overlap(path)
    assert overlap.of("math") == overlap.of("math:algebra") == overlap.of("math_python") == {"a"}
    assert overlap.of("gsm8k") is None
    with pytest.raises(DataError, match=r"says nothing about generated:addition, it is about math; run llemma overlap"):
        evaluate(config(overlap=path), backend=Adder())


def test_a_scan_without_numba_says_that_it_is_slow(mine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    said: list[Event] = []
    corpus = write_jsonl(tmp_path / "c.jsonl", documents(12))
    scan(settings(mine, corpus, tmp_path / "run"), said.append)
    assert any("pip install" in event.note for event in said)
    assert found(tmp_path / "run") == expected(12)


def test_generations_of_an_evaluation_are_looked_for(tmp_path: Path) -> None:
    evaluate(config(tmp_path / "eval", samples=2), backend=Adder())
    items = generations(tmp_path / "eval")
    assert {item.field for item in items} == {"generation"} and len({item.problem for item in items}) == 12
    row = {"task": "t", "problem": "p", "transcript": {"text": f"First we note: {POND} So the answer is 3."}}
    rows = write_jsonl(tmp_path / "rows.jsonl", [row, row])
    assert len(generations(rows)) == 1
    corpus = write_jsonl(tmp_path / "c.jsonl", documents(8))
    result = scan(ScanConfig(generations=(rows,), corpus=(corpus,), run=tmp_path / "run", workers=1))
    assert found(tmp_path / "run") == {("p", "d0"), ("p", "d7")}
    assert result["tasks"][0]["field"] == "generation"
    with pytest.raises(DataError, match=r"corpus|expected a row of `llemma eval`"):
        generations(corpus)


def test_a_report_shows_the_copies_in_their_context(mine: str, tmp_path: Path) -> None:
    page = pytest.importorskip("llemma.report.page")
    attack = "<script>alert(1)</script>{{ 7*7 }}"
    corpus = write_jsonl(tmp_path / "c.jsonl", [{"id": attack, "text": f"{attack}\n{POND}\n{attack}"}, *documents(20)])
    scan(settings(mine, corpus, tmp_path / "run"))
    html = page.render([tmp_path / "run"])
    assert "<mark>Every spring $17$ frogs" in html and "pond: in 4 documents, up to" in html
    assert "<script" not in html and "&lt;script&gt;alert(1)" in html and "{{ 7*7 }}" in html
    for name in ("hits.jsonl", "metrics.json"):
        for damage in ('{"tasks": [3, {"task": [], "n=30: items": {}, "hit: items": "x"}]}\n[]\n{"words": 1e999}', "{"):
            (tmp_path / "run" / name).write_text(damage)
            assert "Overlap" in page.render([tmp_path / "run"])


def test_the_command(llemma: Callable[..., subprocess.CompletedProcess[str]], mine: str, tmp_path: Path) -> None:
    write_jsonl(tmp_path / "c.jsonl", documents(20))
    done = llemma("overlap", f"benchmark={mine}", "corpus=c.jsonl", "n=30", "run=run", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert "mine problem: 2 of 3 items in 4 documents (n=30 1, alone 1)" in as_lines(result)
    assert result["files"]["overlap"] == "run/overlap.jsonl" and result["hits"] >= 5


@pytest.mark.slow
def test_a_scan_killed_again_and_again_ends_with_the_same(mine: str, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    rows = [{**row, "text": row["text"] + CLEAN * 500} for row in documents(24)]
    for part in range(12):
        write_jsonl(tmp_path / "c" / f"{part:02}.jsonl", rows[2 * part : 2 * part + 2])
    words = [f"benchmark={mine}", "corpus=c", "workers=2", "engine=python", "run=run"]
    command = [sys.executable, "-m", "llemma", "overlap", *words]
    counts = []
    for _ in range(3):
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        stored, deadline = tmp_path / "run" / "rows.jsonl", time.monotonic() + 100
        before = stored.read_bytes().count(b"\n") if stored.exists() else 0
        while process.poll() is None and time.monotonic() < deadline:
            if stored.exists() and stored.read_bytes().count(b"\n") > before:
                break
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        counts.append(stored.read_bytes().count(b"\n"))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert any(0 < count < 12 for count in counts), counts
    assert found(tmp_path / "run") == expected(24)
    assert len(list(read_jsonl(tmp_path / "run" / "rows.jsonl"))) == 12


@pytest.mark.skipif(not DATA, reason="needs data: LLEMMA_DATA=FOLDER python -m pytest tests/test_overlap_scan.py")
def test_recorded_answers_are_scored_clean_and_dirty(tmp_path: Path) -> None:
    """A model's recorded answers to GSM8K, and a corpus in which every tenth problem stands, rewritten."""
    from llemma.evaluate.config import EvalConfig

    problems = task_items(["gsm8k"], ["problem"])
    leaked = problems[::10]
    corpus = write_jsonl(
        tmp_path / "c.jsonl",
        [{"text": f"Q{i}. {item.text.upper().replace(' ', '  ')}"} for i, item in enumerate(leaked)],
    )
    scan(ScanConfig(benchmark=("gsm8k",), fields=("problem",), corpus=(corpus,), run=tmp_path / "o", workers=1))
    assert read_overlap(tmp_path / "o").of("gsm8k") >= {item.problem for item in leaked}
    recorded = Path(DATA) / "recorded" / "rho-math-7b_gsm8k_cot.jsonl"
    task = evaluate(
        EvalConfig(tasks=("gsm8k",), model=f"replay:{recorded}", overlap=tmp_path / "o", scorer="paper")
    ).tasks[0]  # fmt: skip
    groups = {m.name: m for m in task.groups if "overlap" in m.name}
    clean, dirty = groups["accuracy[overlap=clean]"], groups["accuracy[overlap=dirty]"]
    assert clean.n + dirty.n == 1319 and len(leaked) <= dirty.n <= len(leaked) + 5
    for part in (clean, dirty):
        assert 0 < part.low < part.value < part.high < 1
    whole = next(m for m in task.metrics if m.name == "accuracy")
    assert abs((clean.value * clean.n + dirty.value * dirty.n) / 1319 - whole.value) < 1e-9


def test_a_scan_does_not_search_what_it_wrote_itself(tmp_path, mine):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text(POND)
    words = [f"benchmark={mine}", f"corpus={tmp_path / 'texts'}", f"run={tmp_path / 'texts' / 'run'}", "workers=1"]
    first = scan(resolve(ScanConfig, words=words))
    assert first["documents"] == 1
    assert scan(resolve(ScanConfig, words=words)) == first


@pytest.mark.parametrize("fields", ["", "generation", "problem,generation"])
def test_fields_that_look_for_nothing_are_refused(fields):
    with pytest.raises(ConfigError, match="name problem, solution or both"):
        resolve(ScanConfig, words=["benchmark=library", "corpus=x", f"fields={fields}"])


def test_a_row_whose_id_is_null_has_its_place_for_one(tmp_path, mine):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"id": None, "text": POND}) + "\n" for _ in range(2)))
    words = [f"benchmark={mine}", f"corpus={tmp_path / 'a.jsonl'}", f"run={tmp_path / 'run'}", "workers=1"]
    scan(resolve(ScanConfig, words=words))
    names = {row["document"] for row in read_jsonl(tmp_path / "run" / "hits.jsonl")}
    assert len(names) == 2 and all(name.startswith("a.jsonl:@") for name in names)

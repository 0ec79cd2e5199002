"""Parts of large inputs: they yield, one after the other, what the whole yields, whatever reads them."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from corpora import read_back, recipe, snapshot
from llemma.corpus.pipeline import build_corpus
from llemma.errors import DataError
from llemma.sources import _tables, arxiv, hub, jsonl


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of a thousand bytes, read in pieces that end anywhere."""
    monkeypatch.setattr(_tables, "PART_BYTES", 1000)
    monkeypatch.setattr(_tables, "_CHUNK", 170)


def rows(count: int, *, ids: bool) -> list[dict[str, Any]]:
    return [
        {"text": f"Text {n} " + "of words é " * (n * 7 % 40), "score": n} | ({"id": f"d{n}"} if ids else {})
        for n in range(count)
    ]


def jsonl_file(path: Path, table: list[dict[str, Any]], *, end: str = "\n", last: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(json.dumps(row, ensure_ascii=False) for row in table) + last).encode())
    return path


def parquet_file(path: Path, table: list[dict[str, Any]], group: int) -> Path:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.Table.from_pylist(table), path, row_group_size=group)
    return path


def check(module: Any, options: Any, least: int) -> None:
    """The documents of the parts are those of the whole, ids and all; parts of parts are themselves."""
    pieces = module.parts(options)
    assert len(pieces) >= least
    assert [d for piece in pieces for d in module.documents(piece)] == list(module.documents(options))
    assert [again for piece in pieces for again in module.parts(piece)] == pieces


@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize(("end", "last"), [("\n", "\n"), ("\r\n", "\r\n"), ("\n\n", ""), ("\n", "\n\n\n")])
def test_lines_are_cut_where_they_end(tmp_path, ids, end, last):
    path = jsonl_file(tmp_path / "a.jsonl", rows(60, ids=ids), end=end, last=last)
    check(jsonl, jsonl.Options(paths=(path,)), 8)
    spans = _tables.spans(path)
    assert spans[0][0] == 0 and spans[-1][1] == path.stat().st_size
    assert [a[1] for a in spans[:-1]] == [b[0] for b in spans[1:]]


def test_a_line_longer_than_parts_is_one(tmp_path):
    table = [{"text": "a" * 10}, {"text": "b" * 7000}, {"text": "c" * 1500}, {"text": "d"}]
    path = jsonl_file(tmp_path / "a.jsonl", table)
    check(jsonl, jsonl.Options(paths=(path,)), 2)


@pytest.mark.parametrize("group", [1, 7, 1000])
def test_parquet_is_cut_between_row_groups(tmp_path, group):
    path = parquet_file(tmp_path / "a.parquet", rows(60, ids=False), group)
    check(jsonl, jsonl.Options(paths=(path,)), 1 if group > 60 else 2)


def test_packed_files_are_one_part(tmp_path):
    path = jsonl_file(tmp_path / "a.jsonl", rows(60, ids=False))
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert [piece.part for piece in jsonl.parts(jsonl.Options(paths=(packed,)))] == [()]


def test_a_damaged_line_has_its_number_in_the_file_from_any_part(tmp_path):
    path = jsonl_file(tmp_path / "a.jsonl", rows(60, ids=True))
    path.write_bytes(path.read_bytes().replace(b'{"text": "Text 47', b'{"tex": "Text 47'))
    with pytest.raises(DataError, match=r"a\.jsonl:48: expected an object with a string field 'text'"):
        [d for piece in jsonl.parts(jsonl.Options(paths=(path,))) for d in jsonl.documents(piece)]


def test_a_copy_of_a_dataset_is_cut_like_its_files(tmp_path):
    jsonl_file(tmp_path / "data" / "train-0.jsonl", rows(60, ids=False))
    parquet_file(tmp_path / "data" / "train-1.parquet", rows(60, ids=False), 10)
    jsonl_file(tmp_path / "data" / "test-0.jsonl", rows(10, ids=False))
    check(hub, hub.Options(path=tmp_path), 10)
    limited = hub.Options(path=tmp_path, limit=5)
    assert hub.parts(limited) == [limited]


PAPER = "\\documentclass{article}\\begin{document}\\section{One}\nPaper %d has a theorem about $x^%d$.\n\\end{document}"


def test_papers_are_read_some_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(arxiv, "PART", 4)
    monkeypatch.setattr(arxiv, "ARCHIVE", 5_000)
    for n in range(10):
        folder = tmp_path / "papers" / f"paper{n}"
        folder.mkdir(parents=True)
        (folder / "main.tex").write_text(PAPER % (n, n))
    (tmp_path / "papers" / "2001.00001.gz").write_bytes(gzip.compress((PAPER % (77, 77)).encode()))
    with tarfile.open(tmp_path / "arXiv_src_2001_001.tar", "w") as tar:
        for n in range(2, 9):
            path = tmp_path / f"2001.0000{n}.gz"
            path.write_bytes(gzip.compress((PAPER % (n, n)).encode()))
            tar.add(path, arcname=f"2001/2001.0000{n}.gz")
    options = arxiv.Options(paths=(tmp_path / "papers", tmp_path / "arXiv_src_2001_001.tar"))
    check(arxiv, options, 4)
    assert len(list(arxiv.documents(options))) == 18


@pytest.mark.slow
def test_a_corpus_of_a_cut_file_is_the_same_for_any_number_of_processes(tmp_path):
    path = jsonl_file(tmp_path / "a.jsonl", rows(60, ids=False))
    for workers in (1, 3):
        sources = {"a": {"kind": "jsonl", "options": {"paths": [str(path)]}}}
        build_corpus(recipe(tmp_path / str(workers), sources, workers=workers))
    assert snapshot(tmp_path / "1") == snapshot(tmp_path / "3")
    read = [row["text"] for row in rows(60, ids=False) if len(row["text"].encode()) >= 20]
    assert sorted(read_back(tmp_path / "1", "a")) == sorted(set(read))

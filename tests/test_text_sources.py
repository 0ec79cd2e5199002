"""Sources and extractors of papers, notebooks and formal proofs: what is read, what is left out, ids that last."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llemma.config import build
from llemma.corpus.pipeline import CorpusConfig, build_corpus
from llemma.errors import ConfigError, DataError
from llemma.extract.arxiv import arxiv_id, extract_arxiv
from llemma.extract.notebook import NotebookOptions, extract_notebook, without_images
from llemma.sources import arxiv, formal, notebook

MAIN = "\\documentclass{article}\\title{T}\\begin{document}\\section{A} $x$ is %s.\\end{document}"


def tar(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


# --- arXiv ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """A month of papers, a packed one, a paper in a folder."""
    project = tar({"main.tex": (MAIN % "\\input{b}").encode(), "b.tex": b"two", "fig.png": b"\x89PNG"})
    month = {
        "0704/0704.0001.gz": gzip.compress((MAIN % "one").encode()),
        "0704/0704.0002.gz": gzip.compress(project),
        "0704/0704.0003.pdf": b"%PDF-1.4",
        "0704/0704.0004.gz": b"\x1f\x8bbroken",
        "0704/math0301001.gz": gzip.compress((MAIN % "three").encode()),
    }
    (tmp_path / "arXiv_src_0704_001.tar").write_bytes(tar(month))
    (tmp_path / "packed.gz").write_bytes(gzip.compress((MAIN % "four").encode()))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "paper.tex").write_text(MAIN % "five")
    return tmp_path


def test_a_month_of_papers(papers):
    dropped: Counter[str] = Counter()
    found = list(arxiv.documents(arxiv.Options(paths=(papers,)), dropped))
    name = papers.name
    assert [(d.id, d.text.rsplit(" ", 1)[-1]) for d in found] == [
        ("0704.0001", "one."), ("0704.0002", "two."), ("math/0301001", "three."), (f"{name}/packed.gz", "four."),
        (f"{name}/own", "five."),
    ]  # fmt: skip
    assert found[1].meta["files"] == ["main.tex", "b.tex"] and found[1].meta["title"] == "T"
    assert found[0].meta["formulas"]["found"] == 1
    assert dropped.total() == 2


@pytest.mark.parametrize(("size", "whole_papers"), [(1600, 1), (2300, 2)])
def test_an_archive_that_breaks_off_gives_the_papers_before(papers, size, whole_papers):
    whole = (papers / "arXiv_src_0704_001.tar").read_bytes()
    (papers / "cut.tar").write_bytes(whole[:size])
    found = list(extract_arxiv(papers / "cut.tar"))
    assert [f.error is None for f in found] == [True] * whole_papers + [False]
    assert "breaks off" in found[-1].error


def test_a_tar_of_tex_is_one_paper(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar({"a.tex": (MAIN % "one").encode(), "z.pdf": b"%PDF"}))
    (found,) = extract_arxiv(tmp_path / "x.tar")
    assert found.part == "" and found.text.endswith("one.")


def test_what_is_wrong_with_the_paths_of_a_source_is_said(tmp_path):
    for source in (arxiv, notebook, formal):
        with pytest.raises(ConfigError, match=r"needs options\.paths"):
            list(source.documents(source.Options()))
        with pytest.raises(DataError, match="no such file"):
            list(source.documents(source.Options(paths=(tmp_path / "no",))))


@pytest.mark.parametrize(
    ("name", "identifier"),
    [("0704/0704.0001.gz", "0704.0001"), ("math0301001.gz", "math/0301001"), ("math.AG0301001", "math.AG/0301001"),
     ("x/paper.tar", "paper")],
)  # fmt: skip
def test_identifiers(name, identifier):
    assert arxiv_id(name) == identifier


# --- notebooks -----------------------------------------------------------------------------------------------------

NEW = {
    "nbformat": 4,
    "metadata": {"language_info": {"name": "python"}},
    "cells": [
        {"cell_type": "markdown", "source": ["# Roots\n", "Solve $x^2=2$. ![plot](attachment:a.png)\n<img src='x'/>"]},
        {
            "cell_type": "code",
            "source": "print(1)",
            "outputs": [{"output_type": "stream", "text": ["\x1b[31m1\x1b[0m\n"]}],
        },
        {
            "cell_type": "code",
            "source": ["x"],
            "outputs": [
                {"output_type": "execute_result", "data": {"text/plain": "x", "text/latex": "$\\displaystyle x$"}},
                {"output_type": "display_data", "data": {"image/png": "iVBOR", "text/plain": "<Figure>"}},
                {"output_type": "error", "ename": "E", "traceback": ["boom"]},
            ],
        },
        {"cell_type": "raw", "source": "raw"},
    ],
}
OLD = {
    "nbformat": 3,
    "worksheets": [
        {
            "cells": [
                {"cell_type": "heading", "level": 2, "source": "Old"},
                {
                    "cell_type": "code", "language": "python", "input": ["y = 1\n", "y"],
                    "outputs": [
                        {"output_type": "pyout", "text": ["1"]}, {"output_type": "pyerr", "traceback": ["boom"]},
                    ],
                },
            ]
        }
    ],
}  # fmt: skip


def read(book: object, **options: object) -> str:
    return extract_notebook(json.dumps(book).encode(), name="x.ipynb", options=NotebookOptions(**options)).text


def test_a_notebook():
    assert read(NEW) == (
        "# Roots\nSolve $x^2=2$. \n\n\n```python\nprint(1)\n```\n\n    1\n\n```python\nx\n```\n\n$\\displaystyle x$\n\n"
        "    <Figure>\n\nraw"
    ).replace("\n\n\n", "\n\n")
    found = extract_notebook(json.dumps(NEW).encode(), name="x")
    assert (found.title, found.formulas.found, found.meta["language"]) == ("Roots", 2, "python")


def test_a_cell_with_an_image_or_a_traceback_loses_its_outputs_as_in_algebraicstack():
    text = read(NEW, profile="llemma")
    assert "    1" in text and "displaystyle" not in text and "Figure" not in text and "boom" not in text


def test_an_old_notebook():
    assert read(OLD) == "## Old\n\n```python\ny = 1\ny\n```\n\n    1"
    assert read(OLD, profile="llemma") == "## Old\n\n```python\ny = 1\ny\n```"
    assert read(OLD, outputs=False) == "## Old\n\n```python\ny = 1\ny\n```"


def test_long_outputs_are_cut():
    book = {
        "cells": [{"cell_type": "code", "source": "f()", "outputs": [{"output_type": "stream", "text": "a\n" * 9000}]}]
    }
    assert len(read(book)) < 13_000 and read(book).endswith("    ...")


def test_images_and_media_go():
    text = "a![x](data:image/png;base64,AAAA)b <IMG src=x> <script>x</script>c <video/>d ![r][ref] $a<b$ <styled>"
    assert without_images(text) == "ab  c <video/>d  $a<b$ <styled>"


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b'{"cells": 1}', b"\xff", b"[" * 100_000, b'{"cells": [' + b"9" * 5000 + b"]}"]
)
def test_what_is_no_notebook_says_so(data):
    found = extract_notebook(data, name="x")
    assert found.text == "" and found.error


KEYS = st.sampled_from(["cells", "source", "outputs", "data", "text", "cell_type", "level", "metadata", "input"])
LEAVES = st.none() | st.integers(-1, 9) | st.sampled_from(["code", "markdown", "heading", "x"])
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)


@settings(max_examples=40)
@given(st.lists(st.dictionaries(KEYS, JSON, max_size=5), max_size=3))
def test_any_cells_give_a_text(cells):
    assert isinstance(read({"cells": cells}), str)


def test_many_open_tags_end():
    begun = time.process_time()
    without_images("<script" * 100_000 + "![" * 100_000 + "<img" * 100_000)
    assert time.process_time() - begun < 20


def test_the_source_of_notebooks(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.ipynb").write_text(json.dumps(NEW))
    (tmp_path / "b.ipynb").write_text("{}")
    (tmp_path / "c.ipynb").write_text(json.dumps(OLD))
    (tmp_path / "d.ipynb").write_text(json.dumps({**NEW, "cells": []}))
    (tmp_path / "e.ipynb").write_text(" " * 100_000)
    dropped: Counter[str] = Counter()
    options = notebook.Options(paths=(tmp_path,), max_file_bytes=50_000)
    found = list(notebook.documents(options, dropped))
    assert [d.id for d in found] == [f"{tmp_path.name}/c.ipynb", f"{tmp_path.name}/a/x.ipynb"]
    assert dropped == {"JSON, but not a notebook": 1, "no text": 1, "unreadable or too large": 1}


# --- formal proofs -------------------------------------------------------------------------------------------------

FORMAL = [
    ("a.lean", "/-\nCopyright (c) 2021 A. All rights reserved.\nReleased under Apache 2.0 license\nAuthors: A, B\n-/\n"
               "import Mathlib\ntheorem t : 1 = 1 := rfl", "lean"),
    ("a.v", "(* GNU Lesser General Public License *)\nRequire Arith.\nTheorem t : 0 = 0.\nProof. easy. Qed.", "coq"),
    ("b.v", "`timescale 1ns/1ps\nmodule top(input wire clk);\nalways @(posedge clk) q <= d;\nendmodule", None),
    ("c.v", "module main\nimport os\nfn main() {\n println('v')\n}", None),
    ("a.thy", "(* Title *)\ntheory A imports Main begin\nlemma \"x = x\" by simp\nend", "isabelle"),
    ("b.thy", "<theme>\n", None),
    ("a.agda", "module A where\nopen import Data.Nat\nid : ℕ → ℕ\nid x = x", "agda"),
    ("a.lagda.md", "# A\n```agda\nmodule A where\n```", "agda"),
    ("a.idr", "module Main\nplus0 : (n : Nat) -> n + 0 = n", "idris"),
    ("a.mm", "$c 0 + = -> ( ) term wff |- $.\n$v t r s P Q $.", "metamath"),
    ("b.mm", "#import <Foundation/Foundation.h>\n@implementation A\n@end", None),
    ("a.txt", "Theorem t : 0 = 0.", None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "text", "language"), FORMAL)
def test_languages_are_told_by_ending_and_content(name, text, language):
    assert formal.language_of(name, text) == language


def test_files_of_formal_proofs(tmp_path):
    for name, text, _ in FORMAL:
        (tmp_path / name).write_text(text)
    (tmp_path / "bad.lean").write_bytes(b"theorem \xff")
    (tmp_path / "gen.v").write_text("(* This file was automatically generated *)\nLemma a : True.\n")
    dropped: Counter[str] = Counter()
    found = {d.id.partition("/")[2]: d for d in formal.documents(formal.Options(paths=(tmp_path,)), dropped)}
    assert dropped == {"another language": 4, "not UTF-8": 1, "says that it was generated": 1}
    assert sorted(found) == sorted(name for name, _, language in FORMAL if language)
    assert found["a.lean"].meta == {"language": "lean", "license": "Apache-2.0", "authors": "A, B"}
    assert found["a.v"].meta == {"language": "coq", "license": "LGPL"} and found["a.v"].text.startswith("(* GNU")
    only = list(formal.documents(formal.Options(paths=(tmp_path,), languages=("coq",), generated=True)))
    assert [d.id.partition("/")[2] for d in only] == ["a.v", "gen.v"]


def test_an_unknown_language_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="knows no language 'latin'"):
        list(formal.documents(formal.Options(paths=(tmp_path,), languages=("latin",))))


TRACE = [
    {"n": 0, "node": 0, "parent": None, "tactic": "", "state": "⊢ a ∧ b", "candidates": [
        {"tactic": "split", "result": "open", "node": 1}, {"tactic": "ring", "result": "rejected"}]},
    {"n": 1, "node": 1, "parent": 0, "tactic": "split", "state": "⊢ a\n⊢ b", "candidates": [
        {"tactic": "left", "result": "error"}, {"tactic": "intro", "result": "open", "node": 2},
        {"tactic": "assumption", "result": "proof"}]},
]  # fmt: skip


def test_steps_of_recorded_proofs(tmp_path):
    (tmp_path / "trace").mkdir()
    (tmp_path / "trace" / "and.best_first.jsonl").write_text("".join(json.dumps(row) + "\n" for row in TRACE))
    (tmp_path / "trace" / "open.best_first.jsonl").write_text(json.dumps(TRACE[0]) + "\n")
    (tmp_path / "rows.jsonl").write_text("{}\n")
    dropped: Counter[str] = Counter()
    (found,) = formal.documents(formal.Options(traces=(tmp_path,)), dropped)
    assert dropped == {"search without such a step": 1}
    assert found.id == f"steps/{tmp_path.name}/trace/and.best_first.jsonl"
    assert found.text == (
        "[PROOF STATE]\n⊢ a ∧ b\n[PROOF STEP]\nsplit\n\n[PROOF STATE]\n⊢ a\n⊢ b\n[PROOF STEP]\nassumption\n"
    )
    every = list(formal.documents(formal.Options(traces=(tmp_path,), steps="all")))
    assert [d.meta["steps"] for d in every] == [3, 1]


def test_a_file_that_is_no_trace_is_named(tmp_path):
    (tmp_path / "x.jsonl").write_text("{}\nno\n")
    with pytest.raises(DataError, match=r"x\.jsonl:2: not a row of a trace"):
        list(formal.documents(formal.Options(traces=(tmp_path,))))


# --- through llemma extract and llemma corpus ----------------------------------------------------------------------


def test_extract_knows_papers_and_notebooks(papers):
    from llemma.extract.files import ExtractConfig, extract_rows

    (papers / "x.ipynb").write_text(json.dumps(NEW))
    rows = {row["id"].removeprefix(f"{papers}/"): row for row in extract_rows(ExtractConfig(paths=(str(papers),)))}
    assert rows["own/paper.tex"]["text"].endswith("five.") and rows["own/paper.tex"]["source"] == "tex"
    assert rows["arXiv_src_0704_001.tar#0704/0704.0002.gz"]["text"].endswith("two.")
    assert rows["packed.gz"]["meta"]["formulas"]["found"] == 1
    assert "PDF" in rows["arXiv_src_0704_001.tar#0704/0704.0003.pdf"]["error"]
    assert rows["x.ipynb"]["meta"]["title"] == "Roots"


@pytest.mark.slow
def test_a_recipe_may_use_them(papers, tmp_path):
    table = {
        "sources": {
            "papers": {"kind": "arxiv", "options": {"paths": [str(papers)]}},
            "books": {"kind": "notebook", "options": {"paths": [str(tmp_path / "books")]}},
        },
        "tokenizer": {"vocab_size": 300},
        "min_bytes": 1,
        "run": str(tmp_path / "run"),
    }
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "x.ipynb").write_text(json.dumps(NEW))
    manifest = build_corpus(build(CorpusConfig, table))
    assert {name: source["documents"] for name, source in manifest["sources"].items()} == {"papers": 5, "books": 1}

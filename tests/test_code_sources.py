"""Sources of code: git repositories at a commit, tables of The Stack, licences, parts; a corpus of two languages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tokenizers

from llemma.errors import ConfigError, DataError, NotHere
from llemma.records import Document
from llemma.sources import _licences, code, stack

MIT = """MIT License

Copyright (c) 2024 A. Body

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software … subject to the following conditions:

The above copyright notice and this permission
notice shall be included in all copies.
"""
GPL = (
    "GNU GENERAL PUBLIC LICENSE\n   Version 3, 29 June 2007\n … you may consider it more useful to use the GNU Lesser "
    "General Public License instead\n"
)


def git(folder: Path, *words: str) -> str:
    who = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    quiet = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, env=os.environ | who | quiet
    )
    return done.stdout.strip()


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git: apt install git")
FILES = {
    "LICENSE": MIT,
    "src/one.jl": "using LinearAlgebra\n",
    "src/two.jl": "f(x) = x\r\ng(x) = x\r\n",
    "src/naïve name.jl": "h(x) = x\n",
    "vendor/COPYING": GPL,
    "vendor/three.jl": "k(x) = x\n",
    "src/header.jl": "# SPDX-License-Identifier: Apache-2.0\nm(x) = x\n",
    "readme.md": "Words about waves, and how they are used.\n",
}


@pytest.fixture
def checkout(tmp_path) -> Path:
    folder = tmp_path / "tree"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    (folder / "src/latin.jl").write_bytes(b"# caf\xe9\n")
    os.symlink("one.jl", folder / "src/link.jl")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    git(folder, "remote", "add", "origin", "https://example.org/owner/waves.git")
    return folder


def read(source=code, dropped: Counter[str] | None = None, **options) -> list[Document]:
    options = {"packages": (), "extensions": (".jl",), **options} if source is code else options
    return list(source.documents(source.Options(**options), dropped))


def ids(documents: list[Document]) -> list[str]:
    return [document.id for document in documents]


# --- git


@needs_git
def test_a_repository_is_read_at_its_commit(checkout):
    commit = git(checkout, "rev-parse", "HEAD")
    (checkout / "src/one.jl").write_text("changed, not committed\n")
    (checkout / "src/untracked.jl").write_text("x = 1\n")
    dropped: Counter[str] = Counter()
    found = {d.id: d for d in read(dropped=dropped, repositories=(str(checkout),))}
    names = [name for name in FILES if name.endswith(".jl")]
    assert sorted(found) == sorted(f"owner/waves/{name}" for name in names)
    one = found["owner/waves/src/one.jl"]
    assert one.text == FILES["src/one.jl"], "what is committed, not what lies there"
    assert one.meta == {
        "bytes": 20,
        "path": "src/one.jl",
        "repository": "owner/waves",
        "commit": commit,
        "licences": ["MIT"],
    }
    assert found["owner/waves/src/two.jl"].text == "f(x) = x\ng(x) = x\n"
    assert found["owner/waves/vendor/three.jl"].meta["licences"] == ["GPL-3.0"], "the nearest licence counts"
    assert found["owner/waves/src/header.jl"].meta["licences"] == ["Apache-2.0"], "the file's own more"
    assert dropped == {"not UTF-8": 1}


@needs_git
def test_a_bare_clone_gives_the_same_and_an_older_revision_another(checkout, tmp_path):
    first = git(checkout, "rev-parse", "HEAD")
    before = read(repositories=(str(checkout),))
    subprocess.run(["git", "clone", "-q", "--bare", str(checkout), str(tmp_path / "bare.git")], check=True)
    git(tmp_path / "bare.git", "remote", "set-url", "origin", "git@example.org:owner/waves.git")
    assert read(repositories=(str(tmp_path / "bare.git"),)) == before
    (checkout / "src/four.jl").write_text("n(x) = x\n")
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "second")
    after = read(repositories=(str(checkout),))
    assert set(ids(after)) - set(ids(before)) == {"owner/waves/src/four.jl"}
    assert read(repositories=(f"{checkout}@{first}",)) == before


@needs_git
def test_parts_name_the_commit_so_that_a_new_one_changes_nothing(checkout):
    options = code.Options(packages=(), extensions=(".jl",), repositories=(str(checkout),), max_bytes=0, part_bytes=30)
    whole, parts = list(code.documents(options)), code.parts(options)
    assert len(parts) > 2
    (checkout / "src/one.jl").write_text("another text\n")
    git(checkout, "commit", "-q", "-a", "-m", "second")
    assert [d for part in parts for d in code.documents(part)] == whole


@needs_git
def test_what_is_no_repository_is_named(checkout, tmp_path):
    with pytest.raises(DataError, match="gone: no such folder"):
        read(repositories=(str(tmp_path / "gone"),))
    with pytest.raises(DataError, match="src: no git repository here"):
        read(repositories=(str(checkout / "src"),))  # the one above it is not meant
    with pytest.raises(DataError, match="no commit 'v9' in this repository"):
        read(repositories=(f"{checkout}@v9",))


@needs_git
def test_a_clone_that_lacks_contents_fetches_nothing(checkout, tmp_path):
    git(checkout, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    url = checkout.as_uri()
    subprocess.run(["git", "clone", "-q", "--filter=blob:none", "--no-checkout", url, str(partial)], check=True)
    dropped: Counter[str] = Counter()
    assert read(dropped=dropped, repositories=(str(partial),)) == []
    assert dropped == {"unreadable or too large": 6}


def test_without_git_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotHere, match=r"git is not installed .* options\.folders"):
        read(repositories=(str(tmp_path),))


# --- licences


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (MIT, "MIT"),
        (GPL, "GPL-3.0"),
        ("GNU LESSER GENERAL PUBLIC LICENSE Version 3, 29 June 2007 … GNU General Public License", "LGPL-3.0"),
        ("Apache License\n  Version 2.0, January 2004", "Apache-2.0"),
        ("Redistribution and use in source and binary forms … Neither the name of", "BSD-3-Clause"),
        ("Redistribution and use in source\n and binary forms, with or without", "BSD-2-Clause"),
        (f"{MIT}\n\nBundled:\n{GPL}", "MIT"),  # the first counts
        ("All rights reserved.", ""),
        ("", ""),
    ],
)
def test_a_licence_is_known_by_its_text(text, name):
    assert _licences.identify(text) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("LICENSE", 1), ("LICENSE.md", 1), ("a/b/COPYING.LESSER", 1), ("LICENCE-MIT", 1), ("UNLICENSE", 1)),
        *(("license.py", 0), ("licensing.jl", 0), ("README", 0), ("src/copyright.c", 0)),
    ],
)
def test_licence_files_are_known_by_their_names(name, expected):
    assert _licences.is_licence(name) == bool(expected)


@pytest.mark.parametrize(
    ("licences", "wanted", "expected"),
    [
        (["MIT"], ("permissive",), True),
        (["mit"], ("MIT",), True),
        (["GPL-3.0"], ("permissive",), False),
        (["MIT", "GPL-3.0"], ("permissive",), False),
        (["MIT OR GPL-3.0"], ("permissive",), True),
        (["MIT AND GPL-3.0"], ("permissive",), False),
        (["(BSD-3-Clause AND MIT) AND Zlib"], ("permissive",), True),
        (["GPL-3.0"], ("permissive", "gpl-3.0"), True),
        (["Apache-2.0 WITH LLVM-exception"], ("permissive",), True),
        ([], ("permissive",), False),
    ],
)
def test_which_licences_are_wanted(licences, wanted, expected):
    assert _licences.allowed(licences, wanted) is expected


@needs_git
def test_only_permissive_files(checkout):
    dropped: Counter[str] = Counter()
    found = read(dropped=dropped, repositories=(str(checkout),), licences=("permissive",))
    assert "owner/waves/vendor/three.jl" not in ids(found) and len(found) == 4
    assert dropped == {"not UTF-8": 1, "licence not wanted": 1}


def test_folders_and_packages_know_their_licences(tmp_path):
    (tmp_path / "tree/a").mkdir(parents=True)
    (tmp_path / "tree/a/x.jl").write_text("x = 1\n")
    dropped: Counter[str] = Counter()
    assert read(dropped=dropped, folders=(tmp_path / "tree",), licences=("MIT",)) == []
    assert dropped == {"no licence found": 1}
    (tmp_path / "tree/LICENSE").write_text(MIT)
    (only,) = read(folders=(tmp_path / "tree",), licences=("MIT",))
    assert only.meta == {"bytes": 6, "path": "a/x.jl", "licences": ["MIT"]}
    found = code.documents(code.Options(packages=("stdlib", "mpmath"), max_bytes=600_000, licences=("permissive",)))
    assert {d.meta["package"] for d in found} == {"stdlib", "mpmath"}


# --- parts of folders


@pytest.mark.parametrize("keys", [{"max_bytes": 0}, {"max_bytes": 900}, {"max_bytes": 900, "max_file_bytes": 100}])
def test_parts_yield_what_the_whole_yields(tmp_path, keys):
    for n in range(60):
        path = tmp_path / "tree" / f"{n % 7}" / f"f{n}.JL"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"x{n} = " + "1" * (n * 3))
    (tmp_path / "tree/latin.jl").write_bytes(b"\xe9" * 50)
    options = code.Options(packages=(), folders=(tmp_path / "tree",), extensions=(".jl",), part_bytes=200, **keys)
    dropped: Counter[str] = Counter()
    whole = list(code.documents(options, dropped))
    parts = code.parts(options)
    assert len(parts) > 3 and len(whole) > 8
    counted: Counter[str] = Counter()
    assert [d for part in parts for d in code.documents(part, counted)] == whole
    assert counted == dropped
    assert all(sum(d.meta["bytes"] for d in code.documents(part)) <= 200 or len(part.only) == 1 for part in parts)


def test_an_id_of_nowhere_is_refused(tmp_path):
    (tmp_path / "tree").mkdir()
    with pytest.raises(ConfigError, match=r"options\.only=other/a\.jl: below none of tree"):
        read(folders=(tmp_path / "tree",), only=("other/a.jl",))
    with pytest.raises(ValueError, match="part_bytes=0"):
        code.Options(part_bytes=0)


# --- The Stack


ROWS = [
    {
        "content": "f(x) = x\n",
        "max_stars_repo_path": "src/a.jl",
        "max_stars_repo_name": "o/r",
        "max_stars_repo_head_hexsha": "abc",
        "max_stars_repo_licenses": ["MIT"],
        "lang": "Julia",
        "size": 9,
    },
    {
        "content": "g(x) = x\n",
        "max_stars_repo_path": "src/b.jl",
        "max_stars_repo_name": "o/s",
        "max_stars_repo_head_hexsha": "def",
        "max_stars_repo_licenses": ["MIT", "GPL-3.0"],
        "lang": "Julia",
        "size": 9,
    },
    {
        "content": "theorem t : True := trivial\n",
        "max_stars_repo_path": "t.lean",
        "max_stars_repo_name": "o/t",
        "max_stars_repo_head_hexsha": "fed",
        "max_stars_repo_licenses": [],
        "lang": "Lean",
        "size": 28,
    },
]


@pytest.fixture(params=["parquet", "jsonl"])
def table(request, tmp_path) -> Path:
    path = tmp_path / "data" / f"train-00000.{request.param}"
    path.parent.mkdir()
    if request.param == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(ROWS), path)
    return path


def test_rows_of_the_stack_keep_what_is_known_of_them(table):
    found = read(stack, paths=(table.parent,))
    assert ids(found) == [f"data/{table.name}:{n}" for n in (1, 2, 3)]
    assert found[0].meta == {
        "path": "src/a.jl",
        "repository": "o/r",
        "commit": "abc",
        "language": "Julia",
        "licences": ["MIT"],
    }
    assert found[0].text == "f(x) = x\n" and "licences" not in found[2].meta


def test_rows_are_chosen_by_licence_and_language(table):
    dropped: Counter[str] = Counter()
    assert len(read(stack, dropped, paths=(table,), licences=("permissive",))) == 1
    assert dropped == {"licence not wanted": 1, "no licence found": 1}
    dropped.clear()
    assert len(read(stack, dropped, paths=(table,), languages=("julia",))) == 2
    assert dropped == {"another programming language": 1}
    assert len(read(stack, paths=(table,), limit=2)) == 2


def test_columns_of_other_names(tmp_path):
    rows = [
        {"code": "x = 1", "path": "a.py", "repo_name": "o/r", "license": "mit", "language": "Python", "body": "y = 2"}
    ]
    (tmp_path / "a.jsonl").write_text(json.dumps(rows[0]) + "\n")
    (only,) = read(stack, paths=(tmp_path / "a.jsonl",), licences=("permissive",))
    assert only.text == "x = 1" and only.meta["licences"] == ["mit"] and only.meta["repository"] == "o/r"
    (only,) = read(stack, paths=(tmp_path / "a.jsonl",), columns={"text": "body", "path": "repo_name"})
    assert only.text == "y = 2" and only.meta["path"] == "o/r"


def test_parts_of_tables(table, tmp_path):
    shutil.copy(table, table.with_name("second" + table.suffix))
    options = stack.Options(paths=(table.parent,))
    parts = stack.parts(options)
    assert len(parts) == 2
    assert [d for part in parts for d in stack.documents(part)] == list(stack.documents(options))
    assert stack.parts(stack.Options(paths=(table.parent,), limit=4)) == [stack.Options(paths=(table.parent,), limit=4)]


def test_tables_that_cannot_be_read(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"words": "x"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:1: no text \(options\.columns\.text\); there is words"):
        read(stack, paths=(tmp_path / "a.jsonl",))
    with pytest.raises(ConfigError, match=r"columns\.path=file: the rows have no such column"):
        read(stack, paths=(tmp_path / "a.jsonl",), columns={"path": "file"})
    with pytest.raises(ValueError, match=r"columns\.txet: no such meaning; did you mean text"):
        stack.Options(columns={"txet": "x"})
    with pytest.raises(ConfigError, match=r"source stack needs options\.paths"):
        read(stack)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no file here ends in"):
        read(stack, paths=(tmp_path / "empty",))


# --- a corpus


@pytest.mark.slow
@needs_git
def test_a_corpus_of_two_languages(llemma, tmp_path, checkout):
    """From a git repository and a table to shards, by the command line, with both profiles and a list of theorems."""
    for n in range(40):
        (checkout / f"src/more{n}.jl").write_text(
            f"# number {n}\nfunction f{n}(x)\n    return sin({n} * x) + x^{n}\nend\n"
        )
    (checkout / "src/rows.jl").write_text('\n{"a": "a row of JSON lines is no program"}\n')
    git(checkout, "add", ".")
    git(checkout, "commit", "-q", "-m", "more")
    lean = [
        f"theorem number_{n} (x : Nat) : x + {n} = {n} + x := by\n  omega\n\nlemma l{n} : True := trivial\n"
        for n in range(30)
    ]
    rows = [{"content": text, "path": f"A{n}.lean", "repo_name": "o/m"} for n, text in enumerate(lean)]
    rows.append({"content": lean[0].replace("x", "y"), "path": "T.lean", "repo_name": "o/miniF2F-lean4"})
    (tmp_path / "lean.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "tests.txt").write_text("number_7\nnumber_8\n")
    (tmp_path / "recipe.toml").write_text(
        "valid_share = 0\n[tokenizer]\nvocab_size = 400\n"
        f'[sources.julia]\nkind = "code"\nrule = "any"\nrules = "fixed"\n'
        f'options = {{ packages = [], repositories = ["{checkout}"], extensions = [".jl", ".md"], part_bytes = 400 }}\n'
        '[sources.lean]\nkind = "stack"\nrule = "lean"\nrules = "fixed"\ntest_theorems = ["tests.txt"]\n'
        'options = { paths = ["lean.jsonl"] }\n'
    )
    done = llemma("corpus", "recipe.toml", "run=run", "workers=2")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "run/manifest.json").read_text())
    assert manifest["sources"]["julia"]["dropped"]["starts with {"] == 1
    assert manifest["sources"]["julia"]["dropped"]["no language by its ending"] == 1
    assert manifest["sources"]["lean"]["dropped"] == {"excluded repository": 1}
    assert manifest["sources"]["lean"]["removed"] == {"theorem of a test set": 6}
    assert manifest["sources"]["lean"]["documents"] == 30
    inner = tokenizers.Tokenizer.from_file(str(tmp_path / "run/tokenizer.json"))
    shards = [s["file"] for s in manifest["shards"] if s["source"] == "lean"]
    text = "".join(inner.decode(np.fromfile(tmp_path / "run" / s, "<u2").tolist()) for s in shards)
    assert "theorem number_6 " in text and "lemma l7 " in text
    assert "number_7" not in text and "number_8" not in text and "miniF2F" not in text


def test_a_corpus_says_what_is_wrong_with_its_rules(llemma, tmp_path):
    start = '[sources.code]\noptions.packages = ["mpmath"]\n'
    for line, message in [
        ('rule = "haskel"', "no code rule 'haskel'; did you mean haskell"),
        ('rule = "python"\nrules = "fix"', "rules=fix: must be one of llemma, fixed"),
        ('rule = "lean"\ntest_theorems = ["gone.json"]', "gone.json"),
    ]:
        (tmp_path / "recipe.toml").write_text(f"{start}{line}\n")
        done = llemma("corpus", "recipe.toml", "run=run")
        assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr
        assert not (tmp_path / "run").exists()


def test_dry_run_shows_the_rule(llemma, tmp_path):
    (tmp_path / "recipe.toml").write_text(
        '[sources.code]\nrule = "python"\nrules = "fixed"\noptions.packages = ["mpmath"]\n'
    )
    done = llemma("corpus", "recipe.toml", "run=run", "dry_run=true")
    assert done.returncode == 0 and "code rule python (fixed)" in done.stdout, (done.stdout, sys.version)


@pytest.mark.parametrize("max_bytes", [0, 1000])
def test_a_file_that_is_too_large_is_counted_by_the_whole_and_by_the_parts(tmp_path, max_bytes):
    for name, size in (("a", 10), ("b", 200), ("c", 20)):
        (tmp_path / f"{name}.py").write_text("x" * size)
    options = code.Options(packages=(), folders=(tmp_path,), max_file_bytes=100, max_bytes=max_bytes, part_bytes=15)
    for some in ([options], code.parts(options)):
        dropped: Counter[str] = Counter()
        found = [document.id[-4:] for part in some for document in code.documents(part, dropped)]
        assert sorted(found) == ["a.py", "c.py"] and dropped == {"unreadable or too large": 1}


def test_an_empty_file_may_be_the_first(tmp_path):
    (tmp_path / "empty.py").write_text("")
    options = code.Options(packages=(), folders=(tmp_path,), max_bytes=0)
    assert [part.only for part in code.parts(options)] == [(f"{tmp_path.name}/empty.py",)]

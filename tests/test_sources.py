"""Sources that read: code of packages and folders, prose of this machine, JSON lines. The generated one has its own."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llemma.errors import ConfigError, DataError, MissingDependency
from llemma.records import Document
from llemma.sources import code, jsonl, prose


def read(source, **options) -> list[Document]:
    return list(source.documents(source.Options(**options)))


def ids(documents: list[Document]) -> list[str]:
    return [document.id for document in documents]


# --- code


def write_tree(root: Path, names: list[str]) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"# {name}\n" + "x = 1\n" * 20)


NAMES = [f"{folder}module{n}.py" for folder in ("", "a/", "a/b/", "c/") for n in range(10)]


def test_code_reads_an_installed_package_without_importing_it():
    loaded = set(sys.modules)
    documents = read(code, packages=("networkx",), max_bytes=400_000)
    assert len(documents) > 3
    assert all(d.id.startswith("networkx/") and d.id.endswith(".py") and d.source == "code" for d in documents)
    assert not {m for m in set(sys.modules) - loaded if m.startswith("networkx.")}
    first = documents[0]
    assert first.text == (code.package_folder("networkx") / first.id.removeprefix("networkx/")).read_text()
    assert first.meta["bytes"] == len(first.text.encode())


@pytest.mark.slow
def test_code_reads_the_standard_library_without_what_is_installed_in_it():
    documents = read(code, packages=("stdlib",), max_bytes=0)
    assert len(documents) > 500
    assert "stdlib/json/decoder.py" in ids(documents)
    assert not [i for i in ids(documents) if "site-packages" in i or "__pycache__" in i]
    assert len(set(ids(documents))) == len(documents)


def test_the_order_of_files_is_not_that_of_the_file_system(tmp_path):
    """Two trees whose files were made in other orders read alike; and a limit does not take the first letters."""
    orders = []
    for run in range(2):
        names = random.Random(run).sample(NAMES, len(NAMES))
        root = tmp_path / str(run) / "tree"
        write_tree(root, names)
        orders.append(ids(read(code, packages=(), folders=(root,))))
    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])
    assert sorted(orders[0]) == sorted(f"tree/{name}" for name in NAMES)


def test_the_order_stays_when_the_listing_is_turned_round(tmp_path, monkeypatch):
    write_tree(tmp_path / "tree", NAMES)
    before = ids(read(code, packages=(), folders=(tmp_path / "tree",)))
    real = Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda self, pattern: reversed(list(real(self, pattern))))
    assert ids(read(code, packages=(), folders=(tmp_path / "tree",))) == before


def test_limits_of_bytes(tmp_path):
    write_tree(tmp_path / "tree", NAMES)
    (tmp_path / "tree" / "huge.py").write_text("x" * 5000)
    everything = read(code, packages=(), folders=(tmp_path / "tree",), max_bytes=0)
    assert len(everything) == 41
    some = read(code, packages=(), folders=(tmp_path / "tree",), max_bytes=1000, max_file_bytes=4999)
    assert sum(d.meta["bytes"] for d in some) <= 1000
    assert ids(some) == [i for i in ids(everything) if i != "tree/huge.py"][: len(some)]
    assert 1000 - sum(d.meta["bytes"] for d in some) < 200, "as much as fits is taken"


def test_only_the_wanted_endings(tmp_path):
    write_tree(tmp_path / "tree", ["a.py", "b.lean", "c.txt", "__pycache__/d.py", "site-packages/e.py"])
    assert ids(read(code, packages=(), folders=(tmp_path / "tree",))) == ["tree/a.py"]
    found = ids(read(code, packages=(), folders=(tmp_path / "tree",), extensions=(".lean", ".txt")))
    assert sorted(found) == ["tree/b.lean", "tree/c.txt"]


def test_files_that_are_no_text_and_broken_links_are_left_out(tmp_path):
    root = tmp_path / "tree"
    write_tree(root, ["good.py"])
    (root / "latin.py").write_bytes(b"# caf\xe9\n")
    (root / "gone.py").symlink_to(root / "nowhere.py")
    (root / "folder.py").mkdir()
    (root / "loop").symlink_to(root)
    assert ids(read(code, packages=(), folders=(root,))) == ["tree/good.py"]


@pytest.mark.skipif(sys.platform == "darwin", reason="the file system refuses such names")
def test_a_file_name_that_is_not_utf8_does_no_harm(tmp_path):
    (tmp_path / "tree").mkdir()
    (Path(os.fsencode(tmp_path / "tree").decode()) / "ok.py").write_text("x = 1\n")
    with open(os.fsencode(tmp_path / "tree") + b"/caf\xe9.py", "w") as file:
        file.write("y = 2\n")
    assert sorted(d.text for d in read(code, packages=(), folders=(tmp_path / "tree",))) == ["x = 1\n", "y = 2\n"]


def test_folders_of_one_name_keep_their_ids_apart(tmp_path):
    for parent in ("one", "two"):
        write_tree(tmp_path / parent / "src", ["a.py"])
    folders = tuple(tmp_path / parent / "src" for parent in ("one", "two", "one"))
    assert sorted(ids(read(code, packages=(), folders=folders))) == ["src-2/a.py", "src-3/a.py", "src/a.py"]


def test_a_missing_package_says_how_to_install_it():
    for name in ("no_such_package", "no.such.package", "no such", ""):
        with pytest.raises(MissingDependency, match=f"package {name!r} is not installed; install it with: pip install"):
            read(code, packages=(name,))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="gone: no such folder"):
        read(code, packages=(), folders=(tmp_path / "gone",))
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: no such folder"):
        read(code, packages=(), folders=(tmp_path / "file",))


# --- prose


@pytest.mark.slow
def test_prose_is_the_same_each_time_with_ids_of_its_own():
    first, second = (read(prose, packages=("mpmath",), max_bytes=0) for _ in range(2))
    assert first == second
    assert len(set(ids(first))) == len(first)
    kinds = [i.split("/")[0] for i in ids(first)]
    assert list(dict.fromkeys(kinds)) == ["topic", "package", "doc"]
    assert all(d.source == "prose" and d.text.strip() for d in first)
    docs = [d for d in first if d.id.startswith("doc/")]
    assert len(docs) > 100
    assert all(d.id.startswith("doc/mpmath/") and len(d.text) >= prose.MIN_CHARACTERS for d in docs)


def test_prose_keeps_to_its_limit():
    documents = read(prose, max_bytes=50_000)
    assert 40_000 < sum(len(d.text.encode()) for d in documents) <= 50_000
    assert all(d.id.startswith("topic/") for d in documents[:5])


# --- jsonl


ROWS = [{"id": f"d{n}", "text": f"Text {n}, naïve ∑.", "page": n} for n in range(5)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def test_jsonl_reads_lines_with_ids_and_the_rest_as_meta(tmp_path):
    (tmp_path / "a.jsonl").write_text(LINES + "\n\n", encoding="utf-8")
    documents = read(jsonl, paths=(tmp_path / "a.jsonl",))
    assert [(d.id, d.text, d.meta) for d in documents] == [(r["id"], r["text"], {"page": r["page"]}) for r in ROWS]
    assert {d.source for d in documents} == {"jsonl"}


def test_jsonl_rows_without_an_id_or_with_null_have_their_place(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "one"}\n{"id": null, "text": "two"}\n{"id": 0, "text": "three"}\n')
    assert [d.id for d in read(jsonl, paths=(tmp_path / "a.jsonl",))] == ["a.jsonl:1", "a.jsonl:2", "0"]


def test_jsonl_reads_gzip_and_windows_line_ends_alike(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(LINES.encode())
    (tmp_path / "b.jsonl").write_bytes(LINES.replace("\n", "\r\n").encode())
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(LINES.encode()))
    (tmp_path / "d.jsonl").write_bytes(LINES.rstrip("\n").encode())
    plain, *others = (read(jsonl, paths=(path,)) for path in sorted(tmp_path.iterdir()))
    assert all(other == plain for other in others)
    assert len(others) == 3


def test_jsonl_reads_a_folder_in_sorted_order(tmp_path):
    for name in ("b.jsonl", "a/z.jsonl", "a/y.jsonl.gz", "notes.txt"):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"text": name}).encode() + b"\n"
        path.write_bytes(gzip.compress(line) if name.endswith("gz") else line)
    documents = read(jsonl, paths=(tmp_path / "data",))
    assert [d.text for d in documents] == ["a/y.jsonl.gz", "a/z.jsonl", "b.jsonl"]


def test_jsonl_fields_have_the_names_one_gives_them(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"body": "x", "key": 7}\n{"body": "y"}\n')
    documents = read(jsonl, paths=(tmp_path / "a.jsonl",), text="body", id="key")
    assert [(d.id, d.text) for d in documents] == [("7", "x"), ("a.jsonl:2", "y")]


GOOD = b'{"text": "fine"}\n'
DAMAGED = [
    ("a.jsonl", GOOD * 2 + b"{torn\n", r"a\.jsonl:3: not valid JSON"),
    ("a.jsonl", GOOD + b'{"text": "to', r"a\.jsonl:2: not valid JSON"),
    ("a.jsonl", GOOD + b'{"n": ' + b"9" * 5000 + b"}", r"a\.jsonl:2: not valid JSON"),
    ("a.jsonl", GOOD + b"[1]\n", r"a\.jsonl:2: expected an object with a string field 'text'"),
    ("a.jsonl", GOOD + b"null\n", r"a\.jsonl:2: expected an object"),
    ("a.jsonl", GOOD + b'{"txt": "x"}\n', r"a\.jsonl:2: expected an object with a string field 'text'"),
    ("a.jsonl", GOOD + b'{"text": null}\n', r"a\.jsonl:2: expected an object with a string field"),
    ("a.jsonl", GOOD * 300 + b'{"text": "caf\xe9"}\n' + GOOD * 300, r"a\.jsonl:301: not UTF-8 text"),
    ("a.jsonl", b"\x1f\x8b\x08\x00", r"a\.jsonl:1: not UTF-8 text"),
    ("a.jsonl.gz", GOOD, r"a\.jsonl\.gz: Not a gzipped file"),
    ("a.jsonl.gz", gzip.compress(GOOD * 999)[:-9], r"a\.jsonl\.gz: Compressed file ended"),
    ("a.jsonl.gz", gzip.compress(GOOD)[:12] + b"\xff" * 30, r"a\.jsonl\.gz: "),
]


@pytest.mark.parametrize(("name", "data", "message"), DAMAGED, ids=[f"{n}-{m[-24:]}" for n, _, m in DAMAGED])
def test_damaged_lines_are_named_with_file_and_line(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read(jsonl, paths=(tmp_path / name,))
    assert "\n" not in str(caught.value)


def test_every_damaged_byte_of_a_gzip_file_is_an_error_or_another_text(tmp_path):
    whole = bytearray(gzip.compress(LINES.encode(), mtime=0))
    for place in range(len(whole)):
        broken = whole.copy()
        broken[place] ^= 0xFF
        (tmp_path / "a.jsonl.gz").write_bytes(broken)
        with contextlib.suppress(DataError):
            read(jsonl, paths=(tmp_path / "a.jsonl.gz",))


@pytest.mark.parametrize(("name", "data"), [("a.jsonl", b""), ("a.jsonl.gz", gzip.compress(b"", mtime=0))])
def test_an_empty_file_has_no_rows_and_stops_nobody(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    (tmp_path / "b.jsonl").write_bytes(GOOD)
    assert [d.text for d in read(jsonl, paths=(tmp_path,))] == ["fine"]


def test_jsonl_without_or_with_wrong_paths_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"source jsonl needs options\.paths"):
        read(jsonl)
    with pytest.raises(DataError, match=r"gone\.jsonl: no such file or folder; check the path"):
        read(jsonl, paths=(tmp_path / "gone.jsonl",))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: no \.jsonl or \.parquet files in this folder"):
        read(jsonl, paths=(tmp_path / "empty",))


def test_jsonl_is_read_line_by_line(tmp_path):
    """A file larger than memory must do: the first document comes before a later line is looked at."""
    (tmp_path / "a.jsonl").write_bytes(GOOD + b"broken\n")
    documents: Iterator[Document] = jsonl.documents(jsonl.Options(paths=(tmp_path / "a.jsonl",)))
    assert next(documents).text == "fine"
    with pytest.raises(DataError):
        next(documents)

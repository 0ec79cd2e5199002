"""``llemma dedup``: rows come out as they went in, what is missing is listed with the reason, and nothing is lost."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from llemma.config import resolve
from llemma.corpus import dedup_files as dedup_module
from llemma.corpus.dedup_files import DedupFilesConfig, dedup_files, find_pieces, plan
from llemma.corpus.units import run_stage
from llemma.errors import ConfigError, DataError, RunError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
zstandard = pytest.importorskip("zstandard")

RNG = random.Random(4)
WORDS = ["".join(RNG.choices("etaoinshrdlu", k=RNG.randint(2, 9))) for _ in range(3000)]


def document(rng: random.Random, count: int = 120) -> str:
    return " ".join(rng.choices(WORDS, k=count))


def edited(text: str, rng: random.Random, share: float) -> str:
    return " ".join(rng.choice(WORDS) if rng.random() < share else word for word in text.split())


def documents(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Half of them new, the others copies of earlier ones, exact or with a word in a hundred changed."""
    rng = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for k in range(count):
        text = document(rng)
        if k > 9 and rng.random() < 0.5:
            text = edited(rng.choice(rows)["text"], rng, rng.choice([0, 0.01]))
        rows.append({"id": f"d{k}", "text": text, "meta": {"é": [k, None]}})
    return rows


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=k % 2 == 0) + "\n" for k, row in enumerate(rows)).encode()


def config_of(*paths: Path, **settings: Any) -> DedupFilesConfig:
    words = [f"paths={','.join(map(str, paths))}", "workers=1", *(f"{k}={v}" for k, v in settings.items())]
    return resolve(DedupFilesConfig, words=[w.replace("__", ".") for w in words])


def dedup(*paths: Path, **settings: Any) -> dict[str, Any]:
    return dedup_files(config_of(*paths, **settings))


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.name.endswith(".parquet"):
        return list(pq.read_table(path).to_pylist())
    data = path.read_bytes()
    if path.name.endswith(".gz"):
        data = gzip.decompress(data)
    if path.name.endswith(".zst"):
        data = zstandard.ZstdDecompressor().stream_reader(data).read()
    return [json.loads(line) for line in data.splitlines()]


def all_rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.rglob("*")) if path.is_file() for row in rows_of(path)]


def content(out: Path) -> dict[str, bytes]:
    """Every file that was made, but for those that hold times."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for name in ("kept", "removed")
        for path in sorted((out / name).rglob("*"))
        if path.is_file()
    }


def test_kept_lines_are_the_very_lines_and_the_others_are_listed(tmp_path):
    rows = documents(200)
    (tmp_path / "a.jsonl").write_bytes(lines(rows))
    found = dedup(tmp_path / "a.jsonl", tmp_path / "out")
    kept = (tmp_path / "out/kept/a.jsonl").read_bytes().splitlines()
    given = lines(rows).splitlines()
    removed = rows_of(tmp_path / "out/removed/a.jsonl.jsonl")
    gone = {row["row"] for row in removed}
    assert kept == [line for k, line in enumerate(given, 1) if k not in gone]
    assert len(kept) == found["kept"] and len(gone) == found["exact"] + found["near"] == len(removed)
    assert found["exact"] > 20 and found["near"] > 20
    kept_ids = {json.loads(line)["id"] for line in kept}
    for row in removed:
        assert row["id"] == f"d{row['row'] - 1}" and row["file"] == row["survivor_file"] == "a.jsonl"
        assert row["survivor"] in kept_ids and int(row["survivor"][1:]) < int(row["id"][1:])
        assert row["reason"] == "exact" or 0.5 <= row["similarity"] <= 1
        same = rows[row["row"] - 1]["text"] == rows[int(row["survivor"][1:])]["text"]
        assert not same or row["reason"] == "exact"
    assert json.loads((tmp_path / "out/summary.json").read_text()) == found
    assert not (tmp_path / "out/work").exists()


def test_every_form_of_file_gives_the_same_and_keeps_its_form(tmp_path):
    rows = documents(120)
    folder = tmp_path / "in" / "sub"
    folder.mkdir(parents=True)
    (folder / "1.jsonl").write_bytes(lines(rows[:30]) + b"\n  \n")
    (folder / "2.jsonl.gz").write_bytes(gzip.compress(lines(rows[30:60])))
    (folder / "3.jsonl.zst").write_bytes(zstandard.ZstdCompressor().compress(lines(rows[60:90])))
    table = pa.Table.from_pylist(rows[90:])
    pq.write_table(table, folder / "4.parquet", row_group_size=7)
    (folder / "notes.txt").write_text("no rows")
    (tmp_path / "all.jsonl").write_bytes(lines(rows))
    dedup(tmp_path / "in", tmp_path / "out")
    dedup(tmp_path / "all.jsonl", tmp_path / "whole")
    kept = tmp_path / "out/kept/in/sub"
    assert sorted(p.name for p in kept.iterdir()) == ["1.jsonl", "2.jsonl.gz", "3.jsonl.zst", "4.parquet"]
    assert all_rows(kept) == rows_of(tmp_path / "whole/kept/all.jsonl")
    assert pq.read_schema(kept / "4.parquet").equals(table.schema)
    removed, whole = all_rows(tmp_path / "out/removed"), rows_of(tmp_path / "whole/removed/all.jsonl.jsonl")
    said = [{k: row[k] for k in ("id", "survivor", "reason", "similarity")} for row in removed]
    assert said == [{k: row[k] for k in said[0]} for row in whole]


def test_the_order_of_the_inputs_says_whose_copy_stays(tmp_path):
    rng = random.Random(1)
    shared = document(rng)
    for name in ("web", "arxiv"):
        (tmp_path / f"{name}.jsonl").write_bytes(lines([{"text": shared}, {"text": document(rng)}]))
    web, arxiv = tmp_path / "web.jsonl", tmp_path / "arxiv.jsonl"
    dedup(web, arxiv, tmp_path / "1")
    assert [r["id"] for r in all_rows(tmp_path / "1/removed")] == ["arxiv.jsonl:1"]
    dedup(arxiv, web, tmp_path / "2")
    assert [(r["id"], r["survivor"]) for r in all_rows(tmp_path / "2/removed")] == [("web.jsonl:1", "arxiv.jsonl:1")]
    dedup(web, arxiv, tmp_path / "3", dedup__priority="arxiv.jsonl")
    assert content(tmp_path / "3") == content(tmp_path / "2")
    with pytest.raises(ConfigError, match=r"dedup.priority: no input 'pile'; there are web.jsonl, arxiv.jsonl"):
        dedup(web, arxiv, tmp_path / "4", dedup__priority="pile")


def test_a_file_that_is_cut_gives_the_rows_of_the_whole(tmp_path):
    rows = [row | {"text": f"{row['text']} {'x ' * (k * 37 % 4000)}"} for k, row in enumerate(documents(900))]
    (tmp_path / "a.jsonl").write_bytes(lines(rows).rstrip(b"\n"))
    dedup(tmp_path / "a.jsonl", tmp_path / "whole")
    dedup(tmp_path / "a.jsonl", tmp_path / "cut", piece_mb=1)
    assert len(list((tmp_path / "cut/kept").iterdir())) >= 3
    assert all_rows(tmp_path / "cut/kept") == rows_of(tmp_path / "whole/kept/a.jsonl")
    assert all_rows(tmp_path / "cut/removed") == all_rows(tmp_path / "whole/removed")


@pytest.mark.parametrize("lengths", [[1], [5, 1, 9], [1, 1, 1, 1], [30, 2], [3, 40, 3]])
def test_every_line_is_in_exactly_one_piece(tmp_path, lengths, monkeypatch):
    from llemma.corpus import dedup_rows

    path = tmp_path / "a.jsonl"
    data = b"\n".join(json.dumps({"text": "x" * n}).encode() for n in lengths)
    for text in (data, data + b"\n", data + b"\n\n\n"):
        path.write_bytes(text)
        for size in range(1, len(text) + 2):
            pieces = dedup_rows.pieces(path, "a.jsonl", size)
            columns = dedup_rows.Columns(text="text", id="id")
            assert [len(row.text) for piece in pieces for row in dedup_rows.read(piece, columns)] == lengths


def test_paragraphs_seen_before_are_taken_out(tmp_path):
    rng = random.Random(2)
    notice, own = document(rng), [document(rng) for _ in range(4)]
    rows = [
        {"text": f"{own[0]}\n\n{notice}", "n": 1},
        {"text": f"{notice}\n\n{own[1]}", "n": 2},
        {"text": f"{own[2]}", "n": 3},
        {"text": f"{notice}\n\n{own[2]}", "n": 4},
        {"text": f"{own[3]}", "n": 5},
    ]
    (tmp_path / "a.jsonl").write_bytes(lines(rows[:3]))
    pq.write_table(pa.Table.from_pylist(rows[3:]), tmp_path / "b.parquet")
    found = dedup(tmp_path / "a.jsonl", tmp_path / "b.parquet", tmp_path / "out", dedup__paragraphs="true",
                  dedup__near="false")  # fmt: skip
    assert rows_of(tmp_path / "out/kept/a.jsonl") == [rows[0], {"text": own[1], "n": 2}, rows[2]]
    assert rows_of(tmp_path / "out/kept/b.parquet") == [rows[4]]
    assert rows_of(tmp_path / "out/removed/b.parquet.jsonl")[0]["reason"] == "emptied"
    assert (found["emptied"], found["paragraphs_removed"], found["kept"]) == (1, 3, 4)


def test_a_removed_document_does_not_keep_its_paragraphs_from_others(tmp_path):
    rng = random.Random(3)
    text, tail = document(rng, 300), document(rng, 30)
    rows = [{"text": text}, {"text": f"{text}\n\n{tail}"}, {"text": f"{document(rng)}\n\n{tail}"}]
    (tmp_path / "a.jsonl").write_bytes(lines(rows))
    found = dedup(tmp_path / "a.jsonl", tmp_path / "out", dedup__paragraphs="true")
    assert found["near"] == 1 and rows_of(tmp_path / "out/kept/a.jsonl") == [rows[0], rows[2]]


def test_a_finished_folder_is_not_done_again_and_other_settings_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines(documents(30)))
    found = dedup(tmp_path / "a.jsonl", tmp_path / "out")
    written = (tmp_path / "out/kept/a.jsonl").stat()
    assert dedup(tmp_path / "a.jsonl", tmp_path / "out") == found
    assert (tmp_path / "out/kept/a.jsonl").stat() == written
    with pytest.raises(RunError, match=r"dedup.profile: 'default' there, 'megamath' now"):
        dedup(tmp_path / "a.jsonl", tmp_path / "out", dedup__profile="megamath")


def test_the_command_shows_its_plan_and_its_result(tmp_path, llemma):
    (tmp_path / "a.jsonl").write_bytes(lines(documents(60)))
    plan = llemma("dedup", "a.jsonl", "out", "dry_run=true")
    assert plan.returncode == 0 and "near: 14 bands of 8 rows, 5 words a shingle" in plan.stdout
    assert "0.8: 92.4%" in plan.stdout and not (tmp_path / "out").exists()
    done = llemma("dedup", "a.jsonl", "out", "--json")
    found = json.loads(done.stdout)
    assert found["documents"] == 60 and found["kept"] == 60 - found["exact"] - found["near"]
    assert found["largest"][0]["size"] == len(found["largest"][0]["documents"]) or found["largest"][0]["size"] > 5
    assert "MB/s" in done.stderr


BAD = [
    ({"a.jsonl": b'{"text": "x"}\n{"txt": "y"}\n'}, r"a.jsonl:2: expected an object with a string field 'text'"),
    ({"a.jsonl": b'{"text": "x"}\n{"text": \n'}, r"a.jsonl:2: not valid JSON"),
    ({"a.jsonl": b'{"text": "\xff"}\n'}, r"a.jsonl:1: not UTF-8 text"),
    ({"a.jsonl": b'["x"]\n'}, r"a.jsonl:1: expected an object"),
    ({"a.jsonl.gz": b"no gzip"}, r"a.jsonl.gz: "),
    ({"a.jsonl.zst": b"no zstd"}, r"a.jsonl.zst: the zstd stream is broken"),
    ({"a.parquet": b"no parquet"}, r"a.parquet: not a Parquet file"),
    ({"notes.txt": b"x"}, r"no .jsonl or .parquet files"),
]


@pytest.mark.parametrize(("files", "message"), BAD)
def test_bad_input_is_named_with_its_place(tmp_path, files, message):
    (tmp_path / "in").mkdir()
    for name, data in files.items():
        (tmp_path / "in" / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        dedup(tmp_path / "in", tmp_path / "out")


def test_bad_calls_are_explained(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    (tmp_path / "a.jsonl").write_bytes(lines(documents(20)))
    with pytest.raises(DataError, match=r"a.txt: not a file of rows; known endings"):
        dedup(tmp_path / "a.txt", tmp_path / "out")
    with pytest.raises(DataError, match="no such file or folder"):
        dedup(tmp_path / "b.jsonl", tmp_path / "out")
    with pytest.raises(ConfigError, match="name the input and, last, the folder to write"):
        dedup(tmp_path / "a.jsonl")
    with pytest.raises(ConfigError, match="lies inside the input"):
        dedup(tmp_path, tmp_path / "out")


def test_empty_files_and_documents_are_no_trouble(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(b"")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "b.parquet")
    (tmp_path / "c.jsonl").write_bytes(lines([{"text": ""}, {"text": " \n"}, {"text": "+"}, {"text": "-"}]))
    found = dedup(*(tmp_path / name for name in ("a.jsonl", "b.parquet", "c.jsonl", "out")))
    assert (found["documents"], found["kept"], found["exact"]) == (4, 3, 1)
    assert pq.read_table(tmp_path / "out/kept/b.parquet").num_rows == 0


def test_names_that_would_meet_are_kept_apart(tmp_path):
    for folder in ("x/in", "y/in"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.jsonl").write_bytes(lines(documents(12, seed=len(folder))))
    big = [{"text": "y " * 600_000}, {"text": "z " * 600_000}]
    (tmp_path / "x/in/b.jsonl").write_bytes(lines(big))
    (tmp_path / "x/in/b-00000.jsonl").write_bytes(lines(documents(3)))
    config = resolve(DedupFilesConfig, words=[f"paths={tmp_path / 'x/in'},{tmp_path / 'y/in'},out", "piece_mb=1"])
    targets = [piece.target for piece in find_pieces(config)]
    assert len(targets) == len(set(targets)) == 5


def command(source: Path, out: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "llemma", "dedup", str(source), str(out), "piece_mb=1", *words]


@pytest.mark.slow
def test_killed_again_and_again_the_result_is_the_same(tmp_path):
    """And so it is with one process and with eight."""
    for k in range(3):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / f"in/{k}.jsonl").write_bytes(lines(documents(3500, seed=k)))
    one = subprocess.run(command(tmp_path / "in", tmp_path / "one", "workers=1"), capture_output=True, check=False)
    assert one.returncode == 0, one.stderr
    eight = subprocess.run(command(tmp_path / "in", tmp_path / "eight", "workers=8"), capture_output=True, check=False)
    assert eight.returncode == 0, eight.stderr
    assert content(tmp_path / "eight") == content(tmp_path / "one")
    total = (tmp_path / "one/rows.jsonl").read_bytes().count(b"\n")
    rng, seen = random.Random(1), []
    for k in range(int(os.environ.get("LLEMMA_KILLS", "3"))):
        process = subprocess.Popen(
            command(tmp_path / "in", tmp_path / "killed", "workers=2"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        rows = tmp_path / "killed/rows.jsonl"
        wanted = 1 + (k * (total - 3)) // max(1, int(os.environ.get("LLEMMA_KILLS", "3")))
        while process.poll() is None and (not rows.exists() or rows.read_bytes().count(b"\n") < wanted):
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05))
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        process.wait()
        seen.append(rows.read_bytes().count(b"\n"))
    assert any(0 < count < total for count in seen), seen
    last = subprocess.run(command(tmp_path / "in", tmp_path / "killed"), capture_output=True, check=False)
    assert last.returncode == 0, last.stderr
    assert content(tmp_path / "killed") == content(tmp_path / "one")
    assert not list((tmp_path / "killed").rglob("*.part")) and not (tmp_path / "killed/work").exists()
    print(f"rows at each kill: {seen} of {total}")


def test_a_folder_with_files_of_others_is_left_alone(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines(documents(3)))
    mine = tmp_path / "home"
    (mine / "work").mkdir(parents=True)
    for name in ("work/thesis.txt", "work/.download.part", ".other.part"):
        (mine / name).write_text("mine")
    with pytest.raises(RunError, match="already holds work"):
        dedup(tmp_path / "a.jsonl", mine)
    with pytest.raises(RunError, match="already holds work"):
        plan(config_of(tmp_path / "a.jsonl", mine))
    (mine / "work").rename(mine / "thesis")
    dedup(tmp_path / "a.jsonl", mine)
    assert {p.name for p in mine.rglob("*") if p.is_file() and p.read_text() == "mine"} == {
        "thesis.txt", ".download.part", ".other.part",
    }  # fmt: skip


def test_a_finished_folder_answers_for_its_own_input_only(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_bytes(lines(documents(5, ord(name))))
    first = dedup(tmp_path / "a.jsonl", tmp_path / "out")
    assert dedup(tmp_path / "a.jsonl", tmp_path / "out") == first
    with pytest.raises(DataError, match="other input"):
        dedup(tmp_path / "b.jsonl", tmp_path / "out")
    with pytest.raises(DataError, match="other input"):
        dedup(tmp_path / "out" / "kept", tmp_path / "out")
    (tmp_path / "out" / "kept" / "a.jsonl").unlink()
    with pytest.raises(DataError, match="missing"):
        dedup(tmp_path / "a.jsonl", tmp_path / "out")


@pytest.mark.parametrize("packed", [".parquet", ".jsonl", ".jsonl.gz"])
def test_files_of_one_name_from_two_folders(tmp_path, packed):
    rows = [{"id": "x", "text": "one two three"}]
    for name in "ab":
        (tmp_path / name).mkdir()
        path = tmp_path / name / f"d{packed}"
        if packed == ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            path.write_bytes(gzip.compress(lines(rows)) if packed.endswith(".gz") else lines(rows))
    found = dedup(tmp_path / "a" / f"d{packed}", tmp_path / "b" / f"d{packed}", tmp_path / "out")
    assert (found["documents"], found["kept"]) == (2, 1)
    assert {path.name for path in (tmp_path / "out" / "kept").iterdir()} == {f"d{packed}", f"d-2{packed}"}


@pytest.mark.parametrize(("until", "damaged"), [("group", "sig.npy"), ("write", "dup.npy"), ("write", "sim.npy")])
def test_a_damaged_file_between_the_stages_is_named_and_made_again(tmp_path, monkeypatch, until, damaged):
    (tmp_path / "a.jsonl").write_bytes(lines(documents(40)))
    found = dedup(tmp_path / "a.jsonl", tmp_path / "straight")

    def stopping(units: Any, *rest: Any) -> Any:
        if units[0].stage == until:
            raise KeyboardInterrupt
        return run_stage(units, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(dedup_module, "run_stage", stopping)
        with pytest.raises(KeyboardInterrupt):
            dedup(tmp_path / "a.jsonl", tmp_path / "out")
    path = tmp_path / "out" / "work" / f"00000.{damaged}"
    data = path.read_bytes()
    path.write_bytes(data[:-8] + bytes(255 - byte for byte in data[-8:]))
    with pytest.raises(DataError, match=f"00000.{damaged}: damaged"):
        dedup(tmp_path / "a.jsonl", tmp_path / "out")
    path.unlink()
    again = dedup(tmp_path / "a.jsonl", tmp_path / "out")
    assert {**again, "seconds": 0, "run": ""} == {**found, "seconds": 0, "run": ""}
    assert (tmp_path / "out/kept/a.jsonl").read_bytes() == (tmp_path / "straight/kept/a.jsonl").read_bytes()

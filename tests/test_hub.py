"""Datasets of the hub against a server of this machine that answers, and fails, as the hub does; rows of files."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llemma.config import build
from llemma.errors import ConfigError, DataError, NotHere
from llemma.sources import hub, jsonl

pa = pytest.importorskip("pyarrow", reason='pip install "llemma[corpus]" brings pyarrow')
zstandard = pytest.importorskip("zstandard", reason='pip install "llemma[corpus]" brings zstandard')

COMMIT = "a" * 40
ROWS = [
    {"text": f"text {n}", "url": f"http://x/{n}", "metadata": json.dumps({"n": n}), "score": n / 2} for n in range(200)
]
LINES = [{"text": f"line {n}", "meta": {"n": n}} for n in range(500)]


def parquet(rows: list[dict]) -> bytes:
    import pyarrow.parquet

    out = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows), out, row_group_size=50)
    return out.getvalue()


def lines(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


class Hub(http.server.ThreadingHTTPServer):
    """The hub's endpoints: revision, tree in pages, resolve with a redirect to a store that sends parts.

    ``faults`` are taken from the front, one for each request to the store or the interface: a status, or a number of
    bytes after which the connection is cut.
    """

    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.faults, self.asked = files, [], []
        self.parts = True
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        self.server.asked.append((self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        if path.startswith("/datasets/"):
            name = path.partition(f"/resolve/{COMMIT}/")[2]
            return self.send(302 if name in self.server.files else 404, b"", {"Location": f"/store/{name}"})
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault in (429, 503):
            return self.send(fault, b"", {"Retry-After": "0"})
        if path == "/api/datasets/own/data/revision/main":
            return self.send(200, json.dumps({"sha": COMMIT}).encode())
        if path == f"/api/datasets/own/data/tree/{COMMIT}":
            return self.tree(query)
        if path.startswith("/store/"):
            return self.store(self.server.files[path.removeprefix("/store/")], fault)
        return self.send(404, b"{}")

    def send(self, code: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def tree(self, query: str) -> None:
        names = sorted(self.server.files)
        first = "cursor" not in query
        page = names[:2] if first else names[2:]
        entries = [{"type": "directory", "path": "data"}] + [
            {"type": "file", "path": n, "size": len(self.server.files[n]),
             "lfs": {"oid": hashlib.sha256(self.server.files[n]).hexdigest()}}
            for n in page
        ]  # fmt: skip
        link = (
            {"Link": f'<{self.server.address}/api/datasets/own/data/tree/{COMMIT}?cursor=2>; rel="next"'}
            if first
            else {}
        )
        self.send(200, json.dumps(entries).encode(), link)

    def store(self, data: bytes, fault: int | None) -> None:
        wanted = self.headers.get("Range") if self.server.parts else None
        first, last = 0, len(data) - 1
        if wanted:
            a, _, b = wanted.removeprefix("bytes=").partition("-")
            first, last = int(a), min(int(b or last), last)
        body = data[first : last + 1]
        headers = {"ETag": '"one"', "Content-Length": str(len(body))}
        if wanted:
            headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        self.send_response(206 if wanted else 200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if fault is not None:
            self.wfile.write(body[:fault])
            self.close_connection = True
            return
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Hub]:
    packed = zstandard.ZstdCompressor().compress(lines(LINES))
    files = {
        "README.md": b"# data",
        "data/train-00000.parquet": parquet(ROWS[:120]),
        "data/train-00001.parquet": parquet(ROWS[120:]),
        "lines/train/one.jsonl.zst": packed,
        "lines/train/two.jsonl.gz": gzip.compress(lines(LINES[:3])),
        "lines/test/three.jsonl": lines(LINES[:3]),
    }
    running = Hub(files)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def read(server: Hub, **options: object) -> list:
    table = {"dataset": "own/data", "endpoint": server.address, **options}
    return list(hub.documents(build(hub.Options, table), pause=0))


def test_parquet_files_are_streamed(server):
    found = read(server, files="data/*.parquet")
    assert [d.text for d in found] == [row["text"] for row in ROWS]
    assert (found[0].id, found[-1].id) == ("data/train-00000.parquet:1", "data/train-00001.parquet:80")
    assert (
        found[3].meta == {"url": "http://x/3", "metadata": '{"n": 3}', "score": 1.5} and found[3].source == "own/data"
    )
    assert all(part or not path.startswith("/store/") for path, part, _ in server.asked)  # never a whole file


def test_lines_are_streamed_through_zstd_and_gzip(server):
    found = read(server, files="lines/train/*")
    assert [d.text for d in found] == [row["text"] for row in LINES] + [row["text"] for row in LINES[:3]]


def test_files_are_chosen_by_split_in_an_unknown_dataset(server):
    assert len(read(server, split="test")) == 3
    with pytest.raises(DataError, match=r"no file of own/data fits.*there is data/train-00000"):
        read(server, files="no/*")


def test_a_run_goes_on_behind_a_document(server):
    every = read(server, files="data/*.parquet")
    for at in (0, 49, 70, 119, 150):
        assert read(server, files="data/*.parquet", after=every[at].id) == every[at + 1 :]
    assert read(server, files="data/*.parquet", after=every[10].id, limit=2) == every[11:13]
    with pytest.raises(ConfigError, match="not the id of a document"):
        read(server, files="data/*.parquet", after="x:1")


@pytest.mark.parametrize("files", ["data/*.parquet", "lines/train/one.jsonl.zst"])
def test_a_hub_that_is_busy_is_asked_again(server, files):
    whole = read(server, files=files)
    server.faults = [503, 429, 503, 503, 429, 503]
    assert read(server, files=files) == whole


def test_a_broken_connection_is_taken_up_where_it_broke(server):
    whole = read(server, files="lines/train/one.jsonl.zst")
    server.asked.clear()
    server.faults = [None, None, None, 100, 10, 0]
    assert read(server, files="lines/train/one.jsonl.zst") == whole
    parts = [part for path, part, _ in server.asked if path.startswith("/store/")]
    assert parts == [None, "bytes=100-", "bytes=110-", "bytes=110-"]


def test_a_hub_that_stays_away_is_an_error(server):
    server.faults = [503] * 100
    with pytest.raises(DataError, match=r"no answer after 7 attempts \(status 503\)"):
        read(server)


def test_downloads_are_kept_whole_and_go_on(server, tmp_path):
    whole = read(server, files="lines/train/*", cache=str(tmp_path))
    asked = len([1 for path, *_ in server.asked if path.startswith("/store/")])
    assert read(server, files="lines/train/*", cache=str(tmp_path)) == whole
    assert len([1 for path, *_ in server.asked if path.startswith("/store/")]) == asked
    (kept,) = tmp_path.rglob("one.jsonl.zst")
    data = kept.read_bytes()
    kept.unlink()
    kept.with_name(".one.jsonl.zst.part").write_bytes(data[:50])
    assert read(server, files="lines/train/*", cache=str(tmp_path)) == whole
    assert server.asked[-1][1] == "bytes=50-"
    kept.unlink()
    kept.with_name(".one.jsonl.zst.part").write_bytes(b"x" * 50)
    with pytest.raises(DataError, match="not what the hub says"):
        read(server, files="lines/train/*", cache=str(tmp_path))


def test_a_server_without_parts_says_what_to_do(server):
    server.parts = False
    with pytest.raises(DataError, match=r"use options\.cache"):
        read(server, files="data/*.parquet")


def test_what_is_wrong_is_said(server, monkeypatch):
    with pytest.raises(DataError, match="not found; check the name"):
        read(server, dataset="own/other")
    with pytest.raises(DataError, match=r"no text in column 'body' \(options.text\); there are"):
        read(server, files="lines/train/*", text="body")
    with pytest.raises(ConfigError, match="has no subset 'algebra'; it has arxiv"):
        read(server, dataset="EleutherAI/proof-pile-2", subset="algebra")
    with pytest.raises(ConfigError, match="OWNER/NAME"):
        read(server, dataset="x")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NotHere, match=r"give options\.path"):
        read(server)


@pytest.fixture(autouse=True)
def online(monkeypatch):
    """The test suite is offline; this server is not the net."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_TOKEN", "secret")


def test_the_token_goes_to_the_hub(server):
    read(server, split="test")
    assert all(token == "Bearer secret" for *_, token in server.asked)


def copy(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_known_datasets_are_read_from_a_copy(tmp_path):
    pile = copy(tmp_path / "pile", {
        "arxiv/train/a.jsonl.zst": zstandard.ZstdCompressor().compress(lines([{"text": "A", "meta": '{"x": 1}'}])),
        "algebraic-stack/train/b.jsonl.zst": zstandard.ZstdCompressor().compress(lines([{"text": "B", "meta": {}}])),
        "arxiv/test/c.jsonl.zst": zstandard.ZstdCompressor().compress(lines([{"text": "C", "meta": {}}])),
    })  # fmt: skip

    def texts(folder: Path, dataset: str, **options: object) -> list[tuple[str, object]]:
        table = {"dataset": dataset, "path": str(folder), **options}
        return [(d.text, d.meta) for d in hub.documents(build(hub.Options, table))]

    name = "EleutherAI/proof-pile-2"
    assert texts(pile, name) == [("B", {"meta": {}}), ("A", {"meta": {"x": 1}})]
    assert texts(pile, name, subset="arxiv", split="test") == [("C", {"meta": {}})]
    web = copy(tmp_path / "web", {"data/train-00000-of-00001.parquet": parquet(ROWS[:1])})
    assert texts(web, "open-web-math/open-web-math") == [("text 0", {"url": "http://x/0", "metadata": {"n": 0}})]
    fine = copy(
        tmp_path / "fine",
        {"finemath-4plus/train-0.parquet": parquet(ROWS[1:2]), "finemath-3plus/train-0.parquet": parquet(ROWS[:9])},
    )
    assert texts(fine, "HuggingFaceTB/finemath") == [
        ("text 1", {"url": "http://x/1", "score": 0.5, "metadata": {"n": 1}})
    ]
    assert len(texts(fine, "HuggingFaceTB/finemath", subset="finemath-3plus")) == 9


# --- rows of files -------------------------------------------------------------------------------------------------


def test_rows_in_every_form(tmp_path):
    rows = [{"id": f"d{n}", "text": f"text {n}", "more": n} for n in range(3)]
    data = lines(rows)
    copy(tmp_path, {
        "a.jsonl": data, "b.jsonl.gz": gzip.compress(data),
        "c.jsonl.zst": zstandard.ZstdCompressor().compress(data) * 2,
        "d.parquet": parquet(rows), "e.txt": b"no",
    })  # fmt: skip
    found = list(jsonl.documents(jsonl.Options(paths=(tmp_path,))))
    assert len(found) == 3 + 3 + 6 + 3
    assert {(d.id, d.text, d.meta["more"]) for d in found} == {(r["id"], r["text"], r["more"]) for r in rows}
    (first, *_) = jsonl.documents(jsonl.Options(paths=(tmp_path / "d.parquet",), meta=(), id="none"))
    assert (first.id, first.meta) == ("d.parquet:1", {})


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b'{"text": 1}\n', "a.jsonl:1: expected an object with a string field 'text'"),
        ("a.jsonl", b'{"text": "x"}\n[]\n', "a.jsonl:2: expected an object with a string field"),
        ("a.jsonl", b'{"text": "x"}\n{\n', "a.jsonl:2: not valid JSON"),
        ("a.jsonl.zst", b"no zstd", "zstd stream is broken"),
        ("a.jsonl.gz", b"no gzip", "a.jsonl.gz"),
        ("a.parquet", b"no parquet", "not a Parquet file"),
        ("a.parquet", parquet([{"text": "x" * 99}] * 99)[:-200] + b"PAR1", "not a Parquet file"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read_are_named(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message.replace(".", r"\.")):
        list(jsonl.documents(jsonl.Options(paths=(tmp_path / name,))))


def test_nothing_is_left_open(server):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        next(
            hub.documents(
                build(hub.Options, {"dataset": "own/data", "endpoint": server.address, "split": "test"}), pause=0
            )
        )
    assert len(os.listdir("/proc/self/fd")) <= before + 4  # the server's side of connections may linger

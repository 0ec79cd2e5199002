"""llemma extract and the sources html and warc: files, folders, pipes, archives, and input that is broken."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("selectolax", reason='needs selectolax: pip install "llemma[corpus]"')

from llemma.errors import ConfigError, DataError
from llemma.extract.files import KINDS, ExtractConfig, extract_rows, kind_of, sniff
from llemma.extract.html_math import extract_html
from llemma.extract.prefilter import may_hold_formulas
from llemma.records import Event

PAGE = b'<html><head><title>On  x</title></head><body><p>Let <script type="math/tex">x^2</script> be.</p></body></html>'
PLAIN = b"<html><body><p>" + b"Nothing to see here, only words and a path C:\\temp\\new. " * 20 + b"</p></body></html>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "pages"
    (place / "sub").mkdir(parents=True)
    (place / "a.html").write_bytes(PAGE)
    (place / "sub" / "b.htm").write_bytes(PLAIN)
    (place / "c.html.gz").write_bytes(gzip.compress(PAGE))
    (place / "picture.png").write_bytes(b"\x89PNG")
    return place


def rows(*paths: Path | str, **settings: object) -> list[dict]:
    return list(extract_rows(ExtractConfig(paths=tuple(map(str, paths)), **settings)))


def test_a_row_is_as_the_contract_says(folder):
    (row,) = rows(folder / "a.html")
    assert row["id"] == str(folder / "a.html") and row["source"] == "html"
    assert row["text"] == "Let $x^2$ be." and row["meta"]["title"] == "On x"
    formulas = row["meta"]["formulas"]
    assert (formulas["found"], formulas["kept"], formulas["lost"]) == (1, 1, {})
    assert "error" not in row


def test_a_folder_gives_its_pages_in_order_and_passes_over_the_rest(folder):
    events: list[Event] = []
    found = list(extract_rows(ExtractConfig(paths=(str(folder),)), progress=events.append))
    assert [Path(row["id"]).name for row in found] == ["a.html", "c.html.gz", "b.htm"]
    assert found[1]["text"] == "Let $x^2$ be."
    assert events[-1].note == "3 documents, 0 with an error, 2 formulas found, 2 kept"


def test_a_broken_file_is_a_row_with_an_error_and_the_run_goes_on(folder):
    (folder / "d.html.gz").write_bytes(gzip.compress(PAGE)[:-12])
    (folder / "e.html.gz").write_bytes(gzip.compress(b"<p>" + b"a" * 30_000_000))  # 30 MB out of 30 kB
    found = {Path(row["id"]).name: row for row in rows(folder)}
    assert "broken" in found["d.html.gz"]["error"] and found["d.html.gz"]["text"] == ""
    assert "more than 16,000,000 bytes" in found["e.html.gz"]["error"]
    assert found["a.html"]["text"] and len(found) == 5


def test_the_command_reads_files_and_standard_input(folder, llemma):
    done = llemma("extract", str(folder / "a.html"))
    assert done.returncode == 0 and json.loads(done.stdout)["text"] == "Let $x^2$ be."
    command = [sys.executable, "-m", "llemma", "extract", "-"]
    piped = subprocess.run(command, input=PAGE, capture_output=True, timeout=60, check=False)
    assert piped.returncode == 0 and json.loads(piped.stdout)["id"] == "-"


def test_exit_codes_are_those_of_the_house(folder, llemma):
    (folder / "d.html.gz").write_bytes(b"\x1f\x8bno")
    assert llemma("extract", str(folder)).returncode == 1  # done, one page has an error
    missing = llemma("extract", str(folder / "none.html"))
    assert missing.returncode == 2 and "no such file or folder" in missing.stderr and not missing.stdout
    assert llemma("extract").returncode == 2
    assert llemma("extract", str(folder), "kind=pdf").returncode == 2


def test_a_folder_without_pages_says_so(tmp_path):
    with pytest.raises(DataError, match="no file here has an ending"):
        rows(tmp_path)


def test_kinds_are_told_by_name_and_by_content():
    assert kind_of("x/A.HTML") == "html" and kind_of("a.warc.gz") == "warc" and kind_of("a.gz2") is None
    assert sniff(b"\xef\xbb\xbf \n<!DOCTYPE html>") == "html" and sniff(b"hello") is None
    with pytest.raises(ValueError, match="kind=pdf"):
        ExtractConfig(paths=("a",), kind="pdf")
    assert all(":" in kind.function for kind in KINDS.values())


def test_the_ledger_adds_up():
    menu = "<nav>" + "<a href=x>\\(m\\)</a> " * 3 + "</nav>"
    page = (
        f"<script src=MathJax.js></script>{menu}<main><p>" + "Long text. " * 30 + "\\(x\\)</p><img class=latex></main>"
    )
    ledger = extract_html(page.encode()).formulas
    assert (ledger.found, ledger.kept, ledger.boilerplate, dict(ledger.lost)) == (5, 1, 3, {"img-alt": 1})
    assert ledger.why == {"img-alt: no alternative text": 1} and ledger.recall == 0.5


@pytest.mark.parametrize(
    ("data", "charset"),
    [
        ("<meta charset=iso-8859-1><p>Galois é".encode("latin-1"), None),
        ("<p>Galois é".encode("utf-16"), None),
        ("<p>Galois é".encode("cp1252"), "utf-8"),  # the server is wrong
        ("<p>Galois é".encode(), "no-such-charset"),
        (b"\xef\xbb\xbf<p>Galois \xc3\xa9", "latin-1"),
    ],
)
def test_character_sets(data, charset):
    assert extract_html(data, charset=charset).text == "Galois é"


def warc_record(url: str, body: bytes, headers: str = "Content-Type: text/html") -> bytes:
    http = f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n".encode() + body
    head = (
        f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2026-01-01T00:00:00Z\r\n"
        "WARC-Record-ID: <urn:uuid:12345678-1234-5678-1234-567812345678>\r\nContent-Type: application/http; "
        "msgtype=response\r\n"
        f"Content-Length: {len(http)}\r\n\r\n"
    )
    return head.encode() + http + b"\r\n\r\n"


RECORDS = [
    warc_record("http://a.example/1", PAGE, "Content-Type: text/html; charset=utf-8"),
    warc_record("http://a.example/2", PLAIN),
    warc_record("http://a.example/3", b"%PDF", "Content-Type: application/pdf"),
    warc_record("http://a.example/4", gzip.compress(PAGE), "Content-Type: text/html\r\nContent-Encoding: gzip"),
    warc_record(
        "http://a.example/5",
        gzip.compress(b"<p>" + b"a" * 20_000_000),
        "Content-Type: text/html\r\nContent-Encoding: gzip",
    ),
]


@pytest.mark.parametrize("ending", ["warc", "warc.gz", "warc.zst"])
def test_pages_come_out_of_warc_files(tmp_path, ending):
    pytest.importorskip("fastwarc", reason='needs fastwarc: pip install "llemma[corpus]"')
    path = tmp_path / f"crawl.{ending}"
    if ending == "warc":
        path.write_bytes(b"".join(RECORDS))
    elif ending == "warc.gz":
        path.write_bytes(b"".join(map(gzip.compress, RECORDS)))
    else:
        zstandard = pytest.importorskip("zstandard")
        path.write_bytes(b"".join(map(zstandard.ZstdCompressor().compress, RECORDS)))
    found = {row["id"].rpartition("/")[2]: row for row in rows(path, max_bytes=4_000_000)}
    assert sorted(found) == ["1", "2", "4", "5"]
    assert found["1"]["text"] == found["4"]["text"] == "Let $x^2$ be."
    assert found["1"]["meta"]["url"] == "http://a.example/1"
    assert "when unpacked" in found["5"]["error"]

    from llemma.sources import warc

    kept = list(warc.documents(warc.Options(paths=(path,))))
    assert [doc.id for doc in kept] == [f"crawl.{ending}#0", f"crawl.{ending}#2"]
    assert len(list(warc.documents(warc.Options(paths=(path,), formulas=False)))) == 3


def test_a_broken_warc_file_is_an_error_after_its_good_pages(tmp_path):
    pytest.importorskip("fastwarc", reason='needs fastwarc: pip install "llemma[corpus]"')
    path = tmp_path / "crawl.warc"
    path.write_bytes(RECORDS[0] + b"junk" * 100)
    found = rows(path)
    assert found[0]["text"] and "cannot be read after record 1" in found[-1]["error"]
    path.write_bytes(b"no archive at all " * 40)
    assert "cannot be read" in rows(path)[0]["error"]


def test_the_source_html_yields_documents(folder):
    from llemma.sources import html

    found = list(html.documents(html.Options(paths=(folder,))))
    assert [doc.id for doc in found] == ["pages/a.html", "pages/c.html.gz", "pages/sub/b.htm"]
    assert found[0].meta["formulas"]["kept"] == 1
    assert [d.id for d in html.documents(html.Options(paths=(folder,), formulas=True))] == [
        "pages/a.html",
        "pages/c.html.gz",
    ]
    with pytest.raises(ConfigError):
        list(html.documents(html.Options()))
    with pytest.raises(DataError, match="no such"):
        list(html.documents(html.Options(paths=(folder / "none",))))


def test_the_prefilter_tells_pages_apart_by_their_bytes():
    for page in (
        PAGE,
        b"<script src='MathJax.js'></script><p>\\(x\\)</p>",
        b"<p>so $\\alpha + 1$ is</p>",
        b'<img class="latex" alt="x">',
        b"<m:math>",
        b'<p class="katex-block">x',
        b"\\begin{align}a&amp;b\\end{align}",
        b'<img src="https://latex.codecogs.com/svg.image?x">',
    ):
        assert may_hold_formulas(page), page
    for page in (
        PLAIN,
        b"<script src='mathjax.js'></script><p>a site that loads it everywhere</p>",
        b"<script>var r = /\\(\\d+\\)/, s = '\\to';</script><p>mathematics costs $5 or $10</p>",
        b"<p>use \\in and \\to</p>",
        b"",
    ):
        assert not may_hold_formulas(page), page

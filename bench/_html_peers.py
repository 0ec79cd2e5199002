"""One extractor in a process of its own: a line on standard input makes it go once over the pages.

    PYTHON bench/_html_peers.py NAME FOLDER

Answers each line with ``{"seconds", "failed", "characters"}``: processor time of this process for all pages, pages on
which the extractor raised, characters of text. Imports nothing of llemma but for ``llemma`` itself, so that it runs in
the Python that a peer needs.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

FORGET: list[Callable[[], None]] = []


def _llemma() -> tuple[str, Callable[[bytes], str]]:
    from llemma import __version__
    from llemma.extract import formulas, html_math, katex, markup, tags

    def extract(data: bytes) -> str:
        return html_math.extract_html(data).text

    # what one turn remembers of the pages must not help the next
    FORGET.extend((html_math._KNOWN.clear, formulas._REBUILT.clear, markup._LEAVES.clear))
    FORGET.extend((formulas._given.cache_clear, katex.style_of.cache_clear, katex._role.cache_clear))
    FORGET.extend((markup._steps.cache_clear, markup._named.cache_clear, tags._meaning.cache_clear))
    return f"llemma {__version__}, selectolax {version('selectolax')}", extract


def _openwebmath() -> tuple[str, Callable[[bytes], str]]:
    """The extractor of OpenWebMath with the most frequent setting of its configuration, which it draws for each
    page."""
    sys.path.insert(0, str(Path(os.environ["LLEMMA_OPENWEBMATH"]) / "text_extraction"))
    from text_extract.extract import extract_text  # type: ignore[import-not-found]

    config = {
        "markdown_headings": True,
        "markdown_code": True,
        "boilerplate_config": {"ratio_threshold": 0.18, "absolute_threshold": 10, "end_threshold": 15, "enable": True},
        "remove_buttons": True,
        "remove_image_figures": True,
        "remove_link_clusters": True,
        "table_config": {"min_rows": 2, "min_cols": 3, "format": "plain"},
        "remove_chinese": True,
        "remove_edit_buttons": True,
        "extract_latex": True,
    }

    def extract(data: bytes) -> str:
        found = extract_text(data.decode("utf-8", "replace"), config)
        return found[0] if isinstance(found, tuple) else found or ""

    return f"OpenWebMath's extractor, resiliparse {version('resiliparse')}", extract


def _trafilatura() -> tuple[str, Callable[[bytes], str]]:
    import trafilatura

    return (
        f"trafilatura {version('trafilatura')}",
        lambda data: trafilatura.extract(data, output_format="markdown") or "",
    )


def _resiliparse() -> tuple[str, Callable[[bytes], str]]:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    def extract(data: bytes) -> str:
        return str(extract_plain_text(HTMLTree.parse_from_bytes(data), main_content=True))

    return f"resiliparse {version('resiliparse')}, main content, no formulas", extract


def _parse() -> tuple[str, Callable[[bytes], str]]:
    from selectolax.lexbor import LexborHTMLParser

    def extract(data: bytes) -> str:
        LexborHTMLParser(data)
        return ""

    return f"selectolax {version('selectolax')}, parsing alone", extract


def _split() -> tuple[str, Callable[[bytes], str]]:
    from llemma.extract.markup import tokens

    def extract(data: bytes) -> str:
        tokens(data)
        return ""

    return "parsing, serialising and splitting: where our walk begins", extract


PEERS: dict[str, Callable[[], tuple[str, Callable[[bytes], str]]]] = {
    "llemma": _llemma, "openwebmath": _openwebmath, "trafilatura": _trafilatura, "resiliparse": _resiliparse,
    "parse": _parse, "split": _split,
}  # fmt: skip


def turn(extract: Callable[[bytes], str], pages: list[bytes]) -> dict[str, Any]:
    """Once over all pages."""
    failed = characters = 0
    for forget in FORGET:
        forget()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        begin = time.process_time()
        for data in pages:
            try:
                characters += len(extract(data))
            except Exception:  # whatever a peer raises is a page it fails on
                failed += 1
        seconds = time.process_time() - begin
    return {"seconds": seconds, "failed": failed, "characters": characters}


def main() -> None:
    label, extract = PEERS[sys.argv[1]]()
    pages = [path.read_bytes() for path in sorted(Path(sys.argv[2]).glob("*.html"))]
    turn(extract, pages[:3])  # what is loaded on first use
    print(json.dumps({"label": label}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(turn(extract, pages)), flush=True)


if __name__ == "__main__":
    main()

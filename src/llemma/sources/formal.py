"""Formal proofs: files of Lean, Coq, Isabelle, Agda, Idris and Metamath, and proof steps that our own provers recorded.

A file counts by its ending and its content: ``.v`` is also Verilog, ``.mm`` also Objective-C++, ``.thy`` also a theme.
Headers and licences stay in the text; what they say is in ``meta``. Checks no proof.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from llemma.config import setting
from llemma.errors import ConfigError, DataError
from llemma.records import Document
from llemma.sources._files import UNREAD, read_limited, stamp, walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How a file of a language is known: its endings, what must be in it, what must not."""

    endings: tuple[str, ...]
    has: re.Pattern[str]
    lacks: re.Pattern[str] = re.compile(r"(?!)")


_M = re.MULTILINE
LANGUAGES = {
    "lean": Language(
        endings=(".lean",),
        has=re.compile(
            r"^\s*(?:@\[[^\]\n]*\]\s*|private |protected |noncomputable |unsafe |partial )*"
            r"(?:import|theorem|lemma|def|example|instance|structure|class|inductive|namespace|section|open|universe|variables?"
            r"|abbrev|axiom|constant|macro|syntax|notation|module|public|set_option)\b",
            _M,
        ),
    ),
    "coq": Language(
        endings=(".v",),
        has=re.compile(
            r"^\s*(?:#\[[^\]\n]*\]\s*|Local |Global |Polymorphic |Program )*(?:Theorem|Lemma|Definition|Fixpoint"
            r"|Inductive|Record|Proof|Require|Import|From|Module|Section|Notation|Axiom|Parameter|Variable|Hypothesis|Ltac"
            r"|Instance|Class|Corollary|CoInductive|Example|Fact|Remark|Goal|Structure|Canonical|Coercion|Set|Declare|Hint"
            r"|Arguments)\b[^;]{0,2000}?\.(?:\s|$)",
            _M,
        ),
        lacks=re.compile(
            r"\bendmodule\b|^\s*`(?:timescale|include|define)\b|\balways\s*@|\bposedge\b|^\s*fn \w+\(", _M
        ),
    ),
    "isabelle": Language(endings=(".thy",), has=re.compile(r"^\s*theory\s+\S+", _M)),
    "agda": Language(
        endings=(".agda", ".lagda", ".lagda.md", ".lagda.tex", ".lagda.rst"),
        has=re.compile(r"^\s*(?:module|open|import|data|record|postulate|\{-#|.*(?::|=)\s)", _M),
    ),
    "idris": Language(
        endings=(".idr", ".lidr"), has=re.compile(r"^[>\s]*(?:module|import|data|record|interface|total|.*\s:\s)", _M)
    ),
    "metamath": Language(
        endings=(".mm",), has=re.compile(r"\$[cvfeap]\s[^$]*\$[.=]"), lacks=re.compile(r"^#import", _M)
    ),
}
PART = 64  # files of a part
_GENERATED = re.compile(r"automatically generated|DO NOT EDIT", re.IGNORECASE)
_SPDX = re.compile(r"SPDX-License-Identifier:\s*([\w.+-]+(?: (?:OR|AND|WITH) [\w.+-]+)*)")
_LICENCES = (
    ("Apache-2.0", re.compile(r"Apache (?:2\.0 )?[Ll]icen[sc]e|Apache License, Version 2\.0")),
    ("MIT", re.compile(r"\bMIT [Ll]icen[sc]e")),
    ("LGPL", re.compile(r"GNU Lesser General Public|\bLGPL|CeCILL-C")),
    ("GPL", re.compile(r"GNU General Public License|\bGPL\b")),
    ("BSD", re.compile(r"\bBSD\b")),
    ("CeCILL-B", re.compile(r"CeCILL-B")),
    ("CC0-1.0", re.compile(r"\bCC0\b|dedicated to the public domain", re.IGNORECASE)),
)
_AUTHORS = re.compile(r"^[\s(*/|{-]*Authors?:\s*(.{1,300}?)\s*(?:[*)/|}-]*)$", _M)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which files, and which recorded proofs."""

    paths: tuple[Path, ...] = setting((), "folders or files of formal proofs")
    languages: tuple[str, ...] = setting(tuple(LANGUAGES), "languages that are read")
    generated: bool = setting(False, "keep files that say they were generated")
    max_file_bytes: int = setting(1_048_575, "leave out larger files")
    traces: tuple[Path, ...] = setting((), "runs of llemma prove, folders of traces or trace files: steps of proofs")
    only: tuple[str, ...] = setting((), "ids of the files and traces to read (default: all)")
    steps: Literal["proof", "all"] = setting("proof", "steps on the way to a proof, or every step that was accepted")


def documents(options: Options, dropped: Counter[str] | None = None) -> Iterator[Document]:
    """One document a file (id FOLDER/path) and one a recorded search (id steps/FILE); others count in ``dropped``.

    Raises ConfigError for an unknown language or without any paths, DataError for a path that does not exist.
    """
    _check(options)
    dropped = Counter() if dropped is None else dropped
    yield from _files(options, dropped)
    yield from _steps(options, dropped)


def parts(options: Options) -> list[Options]:
    """The settings of parts of ``PART`` files and traces each. Raises as ``documents``."""
    _check(options)
    names = [name for name, _ in _every(options)]
    chosen = [name for name in names if not options.only or name in options.only]
    return [replace(options, only=tuple(chosen[at : at + PART])) for at in range(0, len(chosen), PART)]


def stamps(options: Options) -> Iterator[tuple[str, Any]]:
    """Id of every file and trace with what tells that it has changed."""
    return ((name, stamp(path)) for name, path in _every(options))


def _every(options: Options) -> Iterator[tuple[str, Path]]:
    yield from _found(options)
    yield from ((f"steps/{name}", path) for name, path in _traces(options))


def _check(options: Options) -> None:
    for language in options.languages:
        if language not in LANGUAGES:
            raise ConfigError(f"source formal knows no language {language!r}; known: {', '.join(LANGUAGES)}")


def _found(options: Options) -> Iterator[tuple[str, Path]]:
    if options.paths or not options.traces:
        endings = tuple(e for language in options.languages for e in LANGUAGES[language].endings)
        yield from walk(options.paths, lambda name: name.endswith(endings), source="formal")


def _traces(options: Options) -> Iterator[tuple[str, Path]]:
    if options.traces:
        for name, path in walk(options.traces, lambda name: name.endswith(".jsonl"), source="formal"):
            if path.name != "rows.jsonl" and not path.name.startswith("."):
                yield name, path


def language_of(name: str, text: str) -> str | None:
    """The language of a file by its name's ending and its text, None when it is none of those known."""
    ending = max((e for one in LANGUAGES.values() for e in one.endings if name.endswith(e)), key=len, default=None)
    for language, one in LANGUAGES.items():
        if ending in one.endings:
            return language if one.has.search(text, 0, 100_000) and not one.lacks.search(text, 0, 100_000) else None
    return None


def _files(options: Options, dropped: Counter[str]) -> Iterator[Document]:
    only = set(options.only)
    for name, path in _found(options):
        if only and name not in only:
            continue
        data = read_limited(path, options.max_file_bytes)
        if data is None:
            dropped[UNREAD] += 1
            continue
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            dropped["not UTF-8"] += 1
            continue
        language = language_of(path.name, text)
        if language not in options.languages:
            dropped["another language"] += 1
            continue
        if not options.generated and _GENERATED.search(text, 0, 2_000):
            dropped["says that it was generated"] += 1
            continue
        yield Document(id=name, text=text, source="formal", meta={"language": language, **_header(text)})


def _header(text: str) -> dict[str, str]:
    """What the beginning of a file says about its licence and authors."""
    head = text[:3_000]
    meta: dict[str, str] = {}
    spdx = _SPDX.search(head)
    licence = spdx[1] if spdx else next((name for name, pattern in _LICENCES if pattern.search(head)), "")
    if licence:
        meta["license"] = licence
    authors = _AUTHORS.search(head)
    if authors:
        meta["authors"] = authors[1]
    return meta


def _steps(options: Options, dropped: Counter[str]) -> Iterator[Document]:
    only = set(options.only)
    for name, path in _traces(options):
        if only and f"steps/{name}" not in only:
            continue
        rows = list(_rows(path))
        pairs = list(_accepted(rows) if options.steps == "all" else _proof(rows))
        if not pairs:
            dropped["search without such a step"] += 1
            continue
        text = "\n".join(f"[PROOF STATE]\n{state}\n[PROOF STEP]\n{tactic}\n" for state, tactic in pairs)
        yield Document(id=f"steps/{name}", text=text, source="formal", meta={"steps": len(pairs)})


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with open(path, encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError("not a row of a trace", where=f"{path}:{number}") from error
            if isinstance(row, dict) and isinstance(row.get("state"), str) and isinstance(row.get("candidates"), list):
                yield row


def _proof(rows: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """State and tactic of each step of the first proof found, in the proof's order; nothing when there was none."""
    by_node = {row.get("node"): row for row in rows}
    for row in rows:
        last = next((c for c in row["candidates"] if isinstance(c, dict) and c.get("result") == "proof"), None)
        if last is None:
            continue
        path = [(row["state"], str(last.get("tactic", "")))]
        for _ in rows:  # no path is longer, and one with a circle ends too
            parent = by_node.get(row.get("parent"))
            if parent is None or row.get("parent") is None:
                break
            path.append((parent["state"], str(row.get("tactic", ""))))
            row = parent
        yield from reversed(path)
        return


def _accepted(rows: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Every step that led to a new state or a proof."""
    for row in rows:
        for one in row["candidates"]:
            if isinstance(one, dict) and one.get("result") in ("open", "proof"):
                yield row["state"], str(one.get("tactic", ""))

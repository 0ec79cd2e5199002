"""What a scan for overlap found: a line for each problem, figures for each task, a page to read."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llemma.corpus.overlap import Index
from llemma.corpus.overlap_items import Item

Row = dict[str, Any]
MOST_ITEMS = 200  # items of each task on the page
MOST_DOCUMENTS = 3  # hits of each of them
SHOWN = 300  # characters of a hit on the page

# 30-grams of raw words in Proof-Pile-2, from Llemma (Azerbayev et al., 2023) and the files of wellecks/overlap @efd26be
PAPER = {
    ("math", "problem"): "348 items in OpenWebMath; 3 in AlgebraicStack",
    ("math", "solution"): "34 items (46 documents; 36 items by all their hits) in OpenWebMath; 1 in AlgebraicStack",
    ("gsm8k", "problem"): "2 items (3 documents) in OpenWebMath; 0 in AlgebraicStack",
    ("gsm8k", "solution"): "0 items in OpenWebMath; 0 in AlgebraicStack",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All hits of a scan, the items looked for, and how much was searched."""

    items: Sequence[Item]
    searched: Sequence[bool]
    lengths: Sequence[int]  # words of each item in the raw view
    grams: Sequence[int]
    profile: str
    hits: Sequence[Row]
    documents: int
    bytes: int
    cpu: float

    @classmethod
    def of(cls, index: Index, rows: Sequence[Row]) -> Found:
        """What the rows of a scan say together."""
        return cls(
            items=index.items,
            searched=index.searched,
            lengths=[len(item.text.split()) for item in index.items],
            grams=index.config.grams,
            profile=index.config.profile,
            hits=[{**hit, "file": row["file"]} for row in rows for hit in row["hits"]],
            documents=sum(row["documents"] for row in rows),
            bytes=sum(row["bytes"] for row in rows),
            cpu=round(sum(row["cpu"] for row in rows), 3),
        )


def _document(hit: Row) -> tuple[str, str]:
    return hit["file"], hit["document"]


def by_problem(found: Found) -> Iterator[Row]:
    """A row for each problem, those without a hit as well: ``hits`` says how many there are."""
    hits = defaultdict(list)
    for hit in found.hits:
        hits[hit["task"], hit["problem"]].append(hit)
    searched: dict[tuple[str, str], bool] = {}
    for item, can in zip(found.items, found.searched, strict=True):
        searched[item.task, item.problem] = searched.get((item.task, item.problem), False) or can
    for (task, problem), can in searched.items():
        mine = hits[task, problem]
        row: Row = {"id": f"{task}/{problem}", "task": task, "problem": problem, "hits": len(mine)}
        if mine:
            row |= {
                "documents": len(set(map(_document, mine))),
                "longest": max(hit["words"] for hit in mine),
                **{f"{key}s": dict(Counter(hit[key] for hit in mine)) for key in ("field", "kind", "view")},
                "n": {str(n): sum(hit["kind"] == "ngram" and hit["n"] >= n for hit in mine) for n in found.grams},
            }
        yield row if can else {**row, "searched": False}


def summary(found: Found) -> Row:
    """Figures: how much was searched, and for each task and field the items and documents hit."""
    tables = []
    for task, field in dict.fromkeys((item.task, item.field) for item in found.items):
        mine = [i for i, item in enumerate(found.items) if (item.task, item.field) == (task, field)]
        hits = [hit for hit in found.hits if (hit["task"], hit["field"]) == (task, field)]
        row: Row = {"task": task, "field": field, "items": len(mine), **_counted("hit", hits)}
        row["not searched"] = sum(not found.searched[i] for i in mine)
        for n in found.grams:
            row |= _counted(f"n={n}", [hit for hit in hits if hit["kind"] == "ngram" and hit["n"] >= n])
            row[f"shorter than {n} words"] = sum(found.lengths[i] < n for i in mine)
        row |= _counted("whole", [hit for hit in hits if hit["kind"] in ("whole", "text")])
        row |= _counted("alone", [hit for hit in hits if hit["kind"] == "alone"])
        if (task, field) in PAPER:
            row["paper"] = PAPER[task, field]
        tables.append(row)
    return {
        "profile": found.profile,
        "documents": found.documents,
        "documents hit": len(set(map(_document, found.hits))),
        "bytes": found.bytes,
        "cpu_seconds": found.cpu,
        "MB/s per core": round(found.bytes / 1e6 / found.cpu, 1) if found.cpu else None,
        "hits": len(found.hits),
        "tasks": tables,
    }


def _counted(name: str, hits: Sequence[Row]) -> Row:
    return {
        f"{name}: items": len({hit["problem"] for hit in hits}),
        f"{name}: documents": len(set(map(_document, hits))),
    }


def as_lines(metrics: Mapping[str, Any]) -> list[str]:
    """The figures for the terminal."""
    lines = [
        f"{metrics['documents']:,} documents, {metrics['bytes'] / 1e6:,.1f} MB; "
        f"{metrics['documents hit']:,} documents hold {metrics['hits']:,} copies (profile {metrics['profile']})"
    ]
    for row in metrics["tasks"]:
        grams = [f"{name} {row[f'{name}: items']}" for name in _grams(row)]
        short = [f"{name} {row[f'{name}: items']}" for name in ("whole", "alone") if row[f"{name}: items"]]
        lines.append(
            f"{row['task']} {row['field']}: {row['hit: items']:,} of {row['items']:,} items in "
            f"{row['hit: documents']:,} documents ({', '.join(grams + short)})"
            + (f"; {row['not searched']} too short to be looked for" if row["not searched"] else "")
            + (f"; Llemma's n=30: {row['paper']}" if "paper" in row else "")
        )
    return lines


def _grams(row: Row) -> list[str]:
    return [key.partition(":")[0] for key in row if key.startswith("n=") and key.endswith(": items")]


def as_markdown(found: Found, metrics: Mapping[str, Any]) -> str:
    """The page: figures, then the items hit, those in most documents first, each with a few of its hits."""
    lines = ["# Overlap", "", *(f"- {_escaped(line)}" for line in as_lines(metrics)), ""]
    by_item = defaultdict(list)
    for hit in found.hits:
        by_item[hit["task"], hit["field"], hit["problem"]].append(hit)
    for task, field in dict.fromkeys((item.task, item.field) for item in found.items):
        mine = [(key[2], hits) for key, hits in by_item.items() if key[:2] == (task, field)]
        if not mine:
            continue
        mine.sort(key=lambda pair: (-len(set(map(_document, pair[1]))), pair[0]))
        lines += [f"## {task}: {field}", "", "| item | documents | longest | rule | document | in its context |"]
        lines.append("| --- | ---: | ---: | --- | --- | --- |")
        for problem, hits in mine[:MOST_ITEMS]:
            count, longest = len(set(map(_document, hits))), max(hit["words"] for hit in hits)
            firsts = {_document(hit): hit for hit in reversed(hits)}  # one hit of each document
            for number, hit in enumerate(list(firsts.values())[::-1][:MOST_DOCUMENTS]):
                head = f"{_escaped(problem)} | {count:,} | {longest:,}" if number == 0 else " | |"
                lines.append(f"| {head} | {_rule(hit)} | {_escaped(hit['document'])} | {_context(hit)} |")
        if len(mine) > MOST_ITEMS:
            lines.append(f"\n{len(mine) - MOST_ITEMS:,} more items: see hits.jsonl")
        lines.append("")
    return "\n".join(lines)


def _rule(hit: Row) -> str:
    return f"{hit['kind']} {hit['n']}, {hit['view']}"


def _context(hit: Row) -> str:
    text = hit["text"] if len(hit["text"]) <= SHOWN else hit["text"][:SHOWN] + "…"
    return f"…{_escaped(hit['before'])} **[** {_escaped(text)} **]** {_escaped(hit['after'])}…"


_SPECIAL = str.maketrans({c: f"\\{c}" for c in "\\`*_{}[]<>#|$~!"} | {"\n": " ", "\r": " ", "\t": " "})


def _escaped(text: str) -> str:
    """A text that Markdown shows as it is, on one line; half surrogate pairs as ``?``."""
    return text.encode("utf-8", "replace").decode().translate(_SPECIAL)

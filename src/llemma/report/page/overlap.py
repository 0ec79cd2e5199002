"""A scan for overlap as the page shows it: for each task the items with copies, and some copies in their context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from llemma.report.page.read import Damage, Folder, json_object, listed, rows, table, whole, words
from llemma.report.units import one_line

MOST_HITS = 50_000  # that are read
MOST_TASKS = 40
MOST_ITEMS = 100  # of a task's field that are shown
MOST_COPIES = 3  # of each of them
LONGEST = 400  # characters of a copy


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One copy: where it is, by which rule it is one, its text and what stands around it."""

    document: str
    rule: str
    before: str
    text: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """An item with copies: in how many documents, and the first few of them."""

    problem: str
    documents: int
    longest: int
    copies: tuple[Copy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """The problems or solutions of a task: how many there are, how many have copies, those shown."""

    task: str
    field: str
    items: int
    hit: int
    documents: int
    unsearched: int
    kinds: tuple[tuple[str, int], ...]
    paper: str
    shown: tuple[Copied, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """A whole scan."""

    name: str
    profile: str
    documents: int
    bytes: int
    dirty: int
    searched: tuple[Searched, ...]
    notes: tuple[str, ...]


def read_overlap(folder: Folder) -> Overlap:
    """The scan in ``folder``; missing parts are empty."""
    metrics, trouble = json_object(folder.path, "metrics.json")
    damage = Damage()
    found: dict[tuple[str, str], dict[str, _Found]] = {}
    read = 0
    for _, hit in islice(rows(folder.path, damage, "hits.jsonl"), MOST_HITS) if trouble is None else ():
        read += 1
        key = words(hit.get("task")), words(hit.get("field"))
        found.setdefault(key, {}).setdefault(words(hit.get("problem")), _Found()).take(hit)
    notes = [] if trouble is None else [trouble]
    notes += [note.replace("rows.jsonl", "hits.jsonl") for note in damage.notes()]
    if read == MOST_HITS:
        notes.append(f"only the first {MOST_HITS:,} copies are looked at for the page; hits.jsonl has all")
    return Overlap(
        name=folder.name,
        profile=one_line(words(metrics.get("profile")), 20),
        documents=whole(metrics.get("documents")),
        bytes=whole(metrics.get("bytes")),
        dirty=whole(metrics.get("documents hit")),
        searched=tuple(_searched(table(row), found) for row in listed(metrics.get("tasks"))[:MOST_TASKS]),
        notes=tuple(notes),
    )


class _Found:
    """The copies of one item as they are read."""

    def __init__(self) -> None:
        self.documents: set[tuple[str, str]] = set()
        self.longest = 0
        self.copies: list[Copy] = []

    def take(self, hit: Mapping[str, Any]) -> None:
        """Count a copy; of the first few documents one is kept."""
        place = words(hit.get("file")), words(hit.get("document"))
        self.longest = max(self.longest, whole(hit.get("words")))
        if place in self.documents:
            return
        self.documents.add(place)
        if len(self.copies) < MOST_COPIES:
            rule = f"{words(hit.get('kind'))}, {whole(hit.get('words'))} words, {words(hit.get('view'))}"
            text = words(hit.get("text"))
            self.copies.append(
                Copy(
                    document=one_line(place[1]),
                    rule=one_line(rule, 60),
                    before=words(hit.get("before"))[-LONGEST:],
                    text=text if len(text) <= LONGEST else text[:LONGEST] + " …",
                    after=words(hit.get("after"))[:LONGEST],
                )
            )


def _searched(row: Mapping[str, Any], found: Mapping[tuple[str, str], Mapping[str, _Found]]) -> Searched:
    task, field = words(row.get("task")), words(row.get("field"))
    mine = sorted(found.get((task, field), {}).items(), key=lambda pair: (-len(pair[1].documents), pair[0]))
    names = [key.removesuffix(": items") for key in row if key.endswith(": items") and key != "hit: items"]
    return Searched(
        task=one_line(task, 60),
        field=one_line(field, 20),
        items=whole(row.get("items")),
        hit=whole(row.get("hit: items")),
        documents=whole(row.get("hit: documents")),
        unsearched=whole(row.get("not searched")),
        kinds=tuple((one_line(name, 20), whole(row[f"{name}: items"])) for name in names[:10]),
        paper=one_line(words(row.get("paper")), 120),
        shown=tuple(
            Copied(
                problem=one_line(name, 60),
                documents=len(each.documents),
                longest=each.longest,
                copies=tuple(each.copies),
            )
            for name, each in mine[:MOST_ITEMS]
        ),
    )

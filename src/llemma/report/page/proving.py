"""Proof searches as the page shows them: scores, and proof trees of a few theorems chosen by rule.

Traces are read only for the theorems that are shown, and of a large tree only a part: the path of the proof, then what
was expanded first. Nothing is checked here; what a row says of its proof is the verdict of the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llemma.report.page.read import Damage, Folder, finite, json_object, listed, rows, rows_at, table, whole, words
from llemma.report.tables import Figure, metric_from
from llemma.report.units import one_line

MOST_SEARCHES = 8
MOST_THEOREMS = 5  # shown for each search, fewer when there are many searches
MOST_TREES = 40  # on a page
MOST_NODES = 30  # of a tree
MOST_DEPTH = 24  # of a tree: what lies deeper stands flat
MOST_TRIED = 16  # candidates of a node
MOST_ATTEMPTS = 4  # whole proofs of a theorem
MOST_LINES = 20_000  # of a trace that are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A candidate that led to no further node on the page."""

    tactic: str
    result: str
    message: str
    logprob: float | None


@dataclass(slots=True, kw_only=True)
class Node:
    """An expanded state: the tactic that led to it, the state, what was tried there, its children on the page."""

    id: int
    parent: int | None
    tactic: str
    state: str
    found: bool
    cost: float | None
    ended: str  # the tactic that ended the proof here
    tried: tuple[Tried, ...]
    more: int  # candidates that are not shown
    children: list[Node] = field(default_factory=list)

    @property
    def failed(self) -> str:
        """How the candidates ended, in words."""
        counts = Counter(each.result for each in self.tried)
        more = f", {self.more} more not shown" if self.more else ""
        return ", ".join(f"{n} {result}" for result, n in counts.most_common()) + more


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A whole proof or sketch that a model wrote."""

    title: str
    proof: str
    proved: bool
    why_not: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A theorem chosen for the page with its tree, or its whole proofs."""

    why: str
    theorem: str
    statement: str
    proved: bool
    reason: str
    proof: str
    axioms: tuple[str, ...]
    layers: tuple[tuple[str, bool, str], ...]
    expansions: int
    calls: int
    roots: tuple[Node, ...]
    left_out: int
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """One search of a run: how it went, the theorems that are shown."""

    name: str
    theorems: int
    proved: int
    beyond: int | None
    errors: int
    calls: int
    rejected: int
    reasons: tuple[tuple[str, int], ...]
    shown: tuple[Shown, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proving:
    """A run of ``llemma prove``."""

    name: str
    task: str
    prover: str
    model: str
    digest: str
    figures: tuple[Figure, ...]
    searches: tuple[Search, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Found:
    """A row in a few bytes: where it is, and what the choice needs."""

    offset: int
    proved: bool
    error: bool
    expansions: int


def read_proving(folder: Folder, runs: int = 1) -> Proving:
    """Read a run of ``llemma prove``, one of ``runs`` on the page; what is damaged becomes a note."""
    damage = Damage()
    stored, trouble = json_object(folder.path, "metrics.json")
    config, _ = json_object(folder.path, "config.json")
    settings = table(config.get("settings"))
    by_search: dict[str, dict[str, _Found]] = {}
    for offset, row in rows(folder.path, damage):
        name, theorem = one_line(words(row.get("search")), 40), words(row.get("theorem"))
        if name in by_search or len(by_search) < MOST_SEARCHES:
            by_search.setdefault(name, {})[theorem] = _Found(
                offset, row.get("proved") is True, row.get("error") is not None, whole(row.get("expansions"))
            )
    told = {one_line(words(each.get("search")), 40): each for each in map(table, listed(stored.get("searches")))}
    order = [*(name for name in told if name in by_search), *(name for name in by_search if name not in told)]
    most = max(1, min(MOST_THEOREMS, MOST_TREES // (runs * max(len(by_search), 1))))
    ladder = {name for name, found in by_search.get("ladder", {}).items() if found.proved}
    theorems = table(settings.get("theorems"))
    task = one_line(words(theorems.get("source")), 60) or "theorems"
    return Proving(
        name=folder.name,
        task=task,
        prover=one_line(words(table(settings.get("prover_info")).get("version")), 160),
        model=one_line(words(settings.get("model")), 80),
        digest=one_line(words(theorems.get("digest")), 20),
        figures=tuple(figure for name, each in told.items() for figure in _figures(task, folder.name, name, each)),
        searches=tuple(
            _search(folder, name, by_search[name], told.get(name, {}), ladder if name != "ladder" else set(), most)
            for name in order
        ),
        notes=(*damage.notes(), *([trouble] if trouble else [])),
    )


def _figures(task: str, run: str, search: str, stored: Mapping[str, Any]) -> list[Figure]:
    found = [metric_from(entry) for entry in listed(stored.get("metrics"))[:40]]
    return [Figure(task=task, model=search, metric=metric) for metric in found if metric is not None]


def _search(
    folder: Folder, name: str, found: Mapping[str, _Found], stored: Mapping[str, Any], ladder: set[str], most: int
) -> Search:
    reasons = [(one_line(key, 40), whole(n)) for key, n in list(table(stored.get("reasons")).items())[:12]]
    beyond = stored.get("beyond")
    chosen = list(_choose(found, ladder).items())[:most]
    return Search(
        name=name,
        theorems=sum(not each.error for each in found.values()),
        proved=sum(each.proved for each in found.values()),
        beyond=None if beyond is None else whole(beyond),
        errors=sum(each.error for each in found.values()),
        calls=whole(stored.get("calls")),
        rejected=whole(stored.get("rejected")),
        reasons=tuple(reasons),
        shown=tuple(_shown(folder, why, found[theorem].offset) for theorem, why in chosen),
    )


def _choose(found: Mapping[str, _Found], ladder: set[str]) -> dict[str, str]:
    """Theorem → why it is shown."""
    good = {name: each for name, each in found.items() if not each.error}
    proved = [name for name, each in good.items() if each.proved]
    longest = max(proved, key=lambda name: good[name].expansions, default=None)
    beyond = next((name for name in proved if ladder and name not in ladder), None)
    failed = [name for name, each in good.items() if not each.proved]
    hardest = max(failed, key=lambda name: good[name].expansions, default=None)
    chosen: dict[str, str] = {}
    for name, why in (
        (next(iter(proved), None), "the first theorem proved"),
        (beyond, "the first that the ladder does not prove"),
        (longest, "proved with the most expansions"),
        (next(iter(failed), None), "the first not proved"),
        (hardest, "not proved, with the most expansions"),
    ):
        if name is not None:
            chosen.setdefault(name, why)
    return chosen


def _shown(folder: Folder, why: str, offset: int) -> Shown:
    row = next(rows_at(folder.path, [offset]), {})
    verdict = table(row.get("verdict"))
    path = [words(tactic) for tactic in listed(row.get("tactics"))]
    roots, left_out = _tree(folder, words(row.get("trace")), bool(path))
    layers = [table(layer) for layer in listed(verdict.get("layers"))[:12]]
    attempts = [table(attempt) for attempt in listed(row.get("attempts"))]
    return Shown(
        why=why,
        theorem=one_line(words(row.get("theorem")), 120),
        statement=words(row.get("statement")),
        proved=row.get("proved") is True,
        reason=one_line(words(row.get("reason")), 300),
        proof=words(row.get("proof")),
        axioms=tuple(one_line(words(axiom), 120) for axiom in listed(verdict.get("axioms"))[:12]),
        layers=tuple((words(each.get("name")), each.get("ok") is True, words(each.get("detail"))) for each in layers),
        expansions=whole(row.get("expansions")),
        calls=whole(row.get("calls")),
        roots=roots,
        left_out=left_out,
        attempts=tuple(_attempt(each) for each in _different(attempts)),
    )


def _different(attempts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The first proof that is right, then the first of each other text."""
    ordered = sorted(attempts, key=lambda each: each.get("proved") is not True)
    return list({words(each.get("proof")): each for each in reversed(ordered)}.values())[::-1][:MOST_ATTEMPTS]


def _attempt(each: Mapping[str, Any]) -> Attempt:
    return Attempt(
        title=f"Sample {whole(each.get('k'))}, round {whole(each.get('round'))}",
        proof=words(each.get("proof")),
        proved=each.get("proved") is True,
        why_not=words(each.get("why_not")),
    )


def _tree(folder: Folder, name: str, proved: bool) -> tuple[tuple[Node, ...], int]:
    """The roots of a trace's tree and how many expansions are left out of it."""
    if not name or "/" in name or "\\" in name or name.startswith("."):
        return (), 0
    place, lines = f"trace/{name}", list[dict[str, Any]]()
    total = 0
    parents: dict[int, int | None] = {}
    last = -1
    for _, line in rows(folder.path, Damage(), place):
        total += 1
        id = whole(line.get("node"))
        parent = line.get("parent")
        parents.setdefault(id, None if parent is None else whole(parent))
        last = id
        if len(lines) < MOST_NODES:
            lines.append(line)
        if total >= MOST_LINES:
            break
    path = _path(parents, last) if proved else set()
    missing = path - {whole(line.get("node")) for line in lines}
    if missing:  # the proof lies beyond what is shown first: its path takes the place of the last ones
        later = (line for _, line in rows(folder.path, Damage(), place) if whole(line.get("node")) in missing)
        extra = {whole(line.get("node")): line for line in _first(later, MOST_LINES)}
        kept = [line for line in lines if whole(line.get("node")) in path]
        others = [line for line in lines if whole(line.get("node")) not in path]
        lines = [*others[: max(0, MOST_NODES - len(kept) - len(extra))], *kept, *extra.values()][: 2 * MOST_NODES]
    nodes: dict[int, Node] = {}
    for line in lines:
        node = _node(line, path)
        nodes.setdefault(node.id, node)
    return _linked(nodes), total - len(nodes)


def _first(lines: Any, most: int) -> list[dict[str, Any]]:
    return [line for line, _ in zip(lines, range(most), strict=False)]


def _path(parents: Mapping[int, int | None], last: int) -> set[int]:
    """The nodes from the root to the one where the proof ended."""
    path: set[int] = set()
    node: int | None = last
    while node is not None and node in parents and node not in path:
        path.add(node)
        node = parents[node]
    return path


def _linked(nodes: Mapping[int, Node]) -> tuple[Node, ...]:
    """The roots, with the children hung below their parents as deep as the page shows them."""
    roots, depth = list[Node](), dict[int, int]()
    for node in sorted(nodes.values(), key=lambda node: node.id):
        parent = nodes.get(node.parent) if node.parent is not None else None
        if parent is None or parent.id not in depth or depth[parent.id] >= MOST_DEPTH or parent is node:
            depth[node.id] = 0
            roots.append(node)
        else:
            depth[node.id] = depth[parent.id] + 1
            parent.children.append(node)
    for node in nodes.values():
        node.children.sort(key=lambda child: not child.found)  # the path of the proof first
    return tuple(roots)


def _node(line: Mapping[str, Any], path: set[int]) -> Node:
    id, parent = whole(line.get("node")), line.get("parent")
    candidates = [table(each) for each in listed(line.get("candidates"))]
    ended = [words(each.get("tactic")).strip() for each in candidates if each.get("result") == "proof"]
    tried = [
        Tried(
            tactic=words(each.get("tactic")).strip(),
            result=one_line(words(each.get("result")), 20),
            message=words(each.get("message")),
            logprob=finite(each.get("logprob")),
        )
        for each in candidates
        if each.get("result") != "proof"
    ]
    return Node(
        id=id,
        parent=None if parent is None else whole(parent),
        tactic=words(line.get("tactic")).strip(),
        state=words(line.get("state")),
        found=id in path,
        cost=finite(line.get("cost")),
        ended=ended[0] if ended and id in path else "",
        tried=tuple(tried[:MOST_TRIED]),
        more=max(0, len(tried) - MOST_TRIED),
    )

"""Cuts theorems of test sets out of Lean and Isabelle files; the lists of theorems come from files that users name.

Two ways: as AlgebraicStack did, by a text up to the next blank line, and by declarations, whole. What it does not do:
elaborate; a name is made of the namespaces that are open where it is declared.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llemma import plugins
from llemma.config import setting
from llemma.errors import DataError, explain
from llemma.fetch import data_folder
from llemma.run import read_jsonl

MINIF2F = "minif2f"
BLANK_LINE = "\n\n"
_NAMES = ("full_name", "name", "problem_name")
_STATEMENTS = ("formal_statement", "statement")
_SCOPES = re.compile(
    r"^[ \t]*(?:namespace[ \t]+(?P<namespace>\S+)"
    r"|(?:noncomputable[ \t]+|public[ \t]+)?(?P<section>section)\b(?:[ \t]+(?P<named>[^\s-]\S*))?)"
    r"|^end\b(?:[ \t]+(?P<ended>[^\s-]\S*))?",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTheorem:
    """A theorem that must not be in a corpus: its full name or its statement, and the file it is from, where known."""

    name: str = setting("", "full name, with its namespaces")
    statement: str = setting("", "the statement as Isabelle prints it, from `lemma` or `theorem` on")
    file: str = setting("", "path in its own library")


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Theorems as declarations are asked about them."""

    full: frozenset[str]  # names with all their namespaces
    written: frozenset[str]  # names of theorems of no known file, which may stand in any namespace
    statements: tuple[str, ...]  # of theorems without a name, white space as one space

    def has(self, name: str, full: str, following: str, own: Iterable[str]) -> bool:
        """Whether a declaration is one; ``own`` are the full names of the theorems of its file."""
        if name:
            return full in self.full or name in self.written or any(f".{one}".endswith(f".{name}") for one in own)
        flat = " ".join(following.split())
        return any(flat.startswith(one) for one in self.statements)


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """The theorems of test sets, looked up by name, by statement and by file; equal to itself alone."""

    theorems: tuple[ListedTheorem, ...]

    @functools.cached_property
    def by_file(self) -> dict[str, list[ListedTheorem]]:
        """The theorems of each file, in the order of the list."""
        found: dict[str, list[ListedTheorem]] = {}
        for theorem in self.theorems:
            found.setdefault(theorem.file, []).append(theorem)
        return found

    def of_file(self, path: str) -> list[ListedTheorem]:
        """The theorems that come from the file with this path, whatever stands before it."""
        return [one for one in self._by_last.get(path.rpartition("/")[2], []) if f"/{path}".endswith(f"/{one.file}")]

    @functools.cached_property
    def _by_last(self) -> dict[str, list[ListedTheorem]]:
        found: dict[str, list[ListedTheorem]] = {}
        for theorem in self.theorems:
            if theorem.file:
                found.setdefault(theorem.file.rpartition("/")[2], []).append(theorem)
        return found

    @functools.cache  # noqa: B019 - a few expressions, and the object lives as long as its stage
    def known(self, head: str) -> Known:
        """What is looked for among declarations; ``head`` reads the names out of statements."""
        full = {theorem.name for theorem in self.theorems if theorem.name}
        written = {theorem.name for theorem in self.theorems if not theorem.file}
        statements = []
        for theorem in self.theorems:
            if theorem.statement and not theorem.name:
                declared = re.match(head, theorem.statement, re.MULTILINE)
                if declared and declared["name"]:
                    full.add(declared["name"])
                else:
                    statements.append(" ".join(theorem.statement.split()))
        return Known(full=frozenset(full), written=frozenset(written), statements=tuple(statements))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How theorems are found in a language and how much is cut; code_rules.toml says what each key means."""

    way: Literal["", "text", "declaration"] = setting("", "by a text, by declarations, or not at all")
    forms: tuple[str, ...] = setting((), "text: what is looked for; {name}, or {head}: the statement up to a colon")
    shortened: bool = setting(False, "text: only names without one or more of their leading parts, in their own file")
    one_per_file: bool = setting(False, "text: of a file's theorems only the last of the list")
    head: str = setting("", "declaration: its beginning, with its `name`")
    until: str = setting("", "declaration: the beginning of the next command")
    namespaces: bool = setting(False, "declaration: names are below the namespaces that are open")
    comment: tuple[str, ...] = setting((), "declaration: how a comment that belongs to it begins and ends")
    block: tuple[str, ...] = setting(
        (), "declaration: words that begin and end a proof, the last of which is a command"
    )


def load(entries: tuple[str, ...]) -> tuple[ListedTheorem, ...]:
    """The theorems of the lists: JSON or JSON lines (LeanDojo's, miniF2F's), PISA's JSON, text; folders of them.

    ``minif2f`` is the list of the task. A relative path is also looked for in LLEMMA_DATA. Raises DataError with file
    and place for a list that cannot be read or is empty.
    """
    found: dict[ListedTheorem, None] = {}
    for entry in entries:
        theorems = _minif2f() if entry == MINIF2F else _listed(_found(entry))
        if not theorems:
            raise DataError("no theorem in this list; known forms: see docs/code.md", where=entry)
        found.update(dict.fromkeys(theorems))
    return tuple(found)


def _minif2f() -> list[ListedTheorem]:
    task = plugins.load("tasks", MINIF2F)
    options = (task.Options(split=split, language="lean4_llemma") for split in ("valid", "test"))
    return [ListedTheorem(name=theorem.name) for option in options for theorem in task.theorems(option)]


def _found(entry: str) -> Path:
    path, data = Path(entry).expanduser(), data_folder()
    if not path.exists() and data is not None and (data / entry).exists():
        return data / entry
    return path


@functools.cache
def _read(path: Path, changed: float) -> tuple[ListedTheorem, ...]:
    """The theorems of one file; ``changed`` is its time of change."""
    if path.suffix == ".jsonl":
        return tuple(filter(None, map(_of_row, read_jsonl(path))))
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".json":
        names = (line.partition("#")[0].strip() for line in text.splitlines())
        return tuple(ListedTheorem(name=name) for name in names if name)
    value = json.loads(text)
    return tuple(filter(None, map(_of_row, value if isinstance(value, list) else [value])))


def _listed(path: Path) -> list[ListedTheorem]:
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    found: list[ListedTheorem] = []
    for file in files:
        try:
            found += _read(file, file.stat().st_mtime)
        except OSError as error:
            raise DataError(explain(error), where=file) from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"not a list of theorems: {error}", where=file) from error
    return found


def _of_row(row: Any) -> ListedTheorem | None:
    """The theorem of an object with its name, or of PISA's list whose second entry is the statement."""
    if isinstance(row, list):
        return ListedTheorem(statement=row[1]) if len(row) > 1 and isinstance(row[1], str) else None
    if not isinstance(row, Mapping):
        return ListedTheorem(name=row) if isinstance(row, str) and row else None
    name = next((row[key] for key in _NAMES if isinstance(row.get(key), str)), "")
    statement = next((row[key] for key in _STATEMENTS if isinstance(row.get(key), str)), "") if not name else ""
    file = row.get("file_path")
    if not name and not statement:
        return None
    return ListedTheorem(name=name, statement=statement, file=file if isinstance(file, str) else "")


def cut(text: str, path: str, theorems: HeldOut, how: Cut) -> tuple[str, int]:
    """The text without the theorems, and the number of lines taken out."""
    if how.way == "text":
        shorter = text
        for forms in _texts(theorems, how, path):
            for form in forms:
                if form in shorter:
                    shorter = _without(shorter, form)
                    break
    else:
        pieces, end = [], 0
        for start, stop in _declarations(text, path, theorems, how):
            pieces.append(text[end : max(start, end)])
            end = max(stop, end)
        shorter = "".join([*pieces, text[end:]])
    return shorter, max(text.count("\n") - shorter.count("\n"), int(shorter != text))


def _without(text: str, form: str) -> str:
    start = text.index(form)
    end = text.find(BLANK_LINE, start)
    return text[:start] + (text[end:] if end >= 0 else "")


def _texts(held: HeldOut, how: Cut, path: str) -> Iterator[list[str]]:
    """What is looked for, one after the other: of each list the first that is found is cut."""
    if not how.shortened:
        for theorem in held.theorems:
            for form in how.forms:
                yield [form.format(head=head, name=theorem.name) for head in _heads(theorem)]
        return
    for file, theorems in held.by_file.items():
        for theorem in theorems[-1:] if how.one_per_file else theorems:
            parts = theorem.name.split(".")
            for form in how.forms if file in path else ():
                yield [form.format(name=".".join(parts[-n:])) for n in range(1, len(parts))]


def _heads(theorem: ListedTheorem) -> list[str]:
    if theorem.statement:
        return [theorem.statement.partition(":")[0]]
    return [f"{word} {theorem.name}" for word in ("theorem", "lemma")]


def _declarations(text: str, path: str, held: HeldOut, how: Cut) -> Iterable[tuple[int, int]]:
    """Where the declarations of the theorems begin and end."""
    known = held.known(how.head)
    own = [theorem.name for theorem in held.of_file(path) if theorem.name]
    longest = 4 * max(map(len, known.statements), default=0)
    scopes = _Scopes(text) if how.namespaces else None
    for found in re.compile(how.head, re.MULTILINE).finditer(text):
        name = (found["name"] or "").strip(".")
        full = scopes.full(name, found.start()) if scopes else name
        following = text[found.start() : found.start() + longest]
        if known.has(name.removeprefix("_root_."), full, following, own):
            yield _start(text, found.start(), how), _stop(text, found.end(), how)


def _start(text: str, start: int, how: Cut) -> int:
    """Where the comment in front of a declaration begins, or the declaration itself."""
    if how.comment and text[:start].rstrip().endswith(how.comment[1]):
        opened = text.rfind(how.comment[0], 0, start)
        if opened >= 0 and how.comment[1] not in text[opened:start].rstrip()[: -len(how.comment[1])]:
            return opened
    return start


def _stop(text: str, start: int, how: Cut) -> int:
    """Where the next command begins; the word that ends a proof is none."""
    following = re.compile(how.until, re.MULTILINE).search(text, start)
    if following is None:
        return len(text)
    stop = following.start()
    if how.block and text.startswith(how.block[1], stop):
        line, _, _ = text[stop:].partition("\n")
        if line.strip() == how.block[1] and re.search(rf"\b{how.block[0]}\b", text[start:stop]):
            return min(stop + len(line) + 1, len(text))
    return stop


class _Scopes:
    """The namespaces that are open at places of a text, asked for in order."""

    def __init__(self, text: str) -> None:
        self._events = list(_SCOPES.finditer(text))
        self._next = 0
        self._open: list[tuple[bool, str]] = []  # whether a namespace, and its name

    def full(self, name: str, place: int) -> str:
        """The full name of what is declared at this place."""
        while self._next < len(self._events) and self._events[self._next].start() < place:
            self._see(self._events[self._next])
            self._next += 1
        if name.startswith("_root_."):
            return name.removeprefix("_root_.")
        return ".".join([*(scope for is_namespace, scope in self._open if is_namespace), name])

    def _see(self, event: re.Match[str]) -> None:
        if event["namespace"]:
            self._open.append((True, event["namespace"]))
        elif event["section"]:
            self._open.append((False, event["named"] or ""))
        elif event["ended"]:
            names = [scope for _, scope in self._open]
            if event["ended"] in names:
                del self._open[len(names) - 1 - names[::-1].index(event["ended"]) :]
            elif names and names[-1].endswith(f".{event['ended']}"):  # `namespace A.B` may end part by part
                self._open[-1] = (self._open[-1][0], names[-1].removesuffix(f".{event['ended']}"))
        elif self._open and self._open[-1] == (False, ""):  # another `end` alone ends a proof
            self._open.pop()

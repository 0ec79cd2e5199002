"""Where theorems come from: a file in the prover's language, or a task that offers them; reads, proves nothing.

A task offers theorems by a function ``theorems(options) -> tuple[Theorem, ...]``; an ``Options`` with a field
``prover`` is told which prover they are for.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from llemma import plugins
from llemma.config import build
from llemma.errors import ConfigError, DataError, nearest
from llemma.evaluate.config import split_spec
from llemma.provers import module, theorem_hash
from llemma.records import Theorem

ENDINGS = {".v": "coq", ".lean": "lean", ".toy": "toy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Theorems with the name they are reported under; ``digest`` names the statements, preludes and names together."""

    name: str
    theorems: tuple[Theorem, ...]
    digest: str
    meta: Mapping[str, Any]


def prover_for(path: Path, prover: str) -> str:
    """The prover that is named, or the one whose files end like this. Raises ConfigError."""
    if prover:
        return prover
    if path.suffix in ENDINGS:
        return ENDINGS[path.suffix]
    known = ", ".join(f"{name} for {ending}" for ending, name in ENDINGS.items())
    raise ConfigError(f"which prover is {path} for? say prover=NAME ({known})")


def is_file(source: str) -> bool:
    """Whether a source is a file of statements, not a task."""
    return Path(source).suffix in ENDINGS or ("/" in source and ".py" not in source)


def read_file(path: Path, prover: str) -> list[Theorem]:
    """The statements of a file. Raises DataError when it cannot be read or holds none."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"not UTF-8 text: {error.reason}", where=path) from error
    found = module(prover).read(text, str(path))
    if not found:
        raise DataError(f"holds no statement that {prover} could prove", where=path)
    return list(found)


def load(source: str, prover: str, options: Mapping[str, Any]) -> Source:
    """The theorems of a file or task. Raises ConfigError and DataError."""
    if is_file(source):
        if options:
            raise ConfigError(f"a file has no options; leave out options.{next(iter(options))}")
        return _source(Path(source).stem, read_file(Path(source), prover), {})
    name, variant = split_spec(source)
    task = plugins.load("tasks", name)
    if not hasattr(task, "theorems"):
        offering = [each for each in plugins.names("tasks") if offers(each)]
        raise ConfigError(f"the task {name} offers no theorems; these do: {', '.join(offering)}")
    known = {f.name for f in fields(task.Options)}
    for option in options:
        if option not in known:
            raise ConfigError(f"unknown option {option!r} of {source}{nearest(option, known)}")
    table = dict(options)
    if variant:
        if "variant" not in known:
            raise ConfigError(f"the task {name} has no variants; write it without :{variant}")
        table["variant"] = variant
    if "prover" in known:
        table["prover"] = prover
    found = cast(Sequence[Theorem], task.theorems(build(task.Options, table, where=f"{source}: ")))
    return _source(source, found, dict(found[0].meta.get("dataset", {})) if found else {})


def offers(task: str) -> bool:
    """Whether a task of the package offers theorems; read from its text, so that nothing is imported."""
    path = Path(__file__).parent.parent / "tasks" / f"{task}.py"
    return path.is_file() and "\ndef theorems(" in path.read_text(encoding="utf-8")


def _source(name: str, theorems: Sequence[Theorem], meta: Mapping[str, Any]) -> Source:
    twice = [each for each, count in Counter(t.name for t in theorems).items() if count > 1]
    if twice:
        raise DataError(f"{name}: the theorem {twice[0]} is stated twice; give each a name of its own")
    digest = hashlib.sha256("\n".join(map(theorem_hash, theorems)).encode()).hexdigest()[:16]
    return Source(name=name, theorems=tuple(theorems), digest=digest, meta=meta)


def chosen(source: Source, names: Sequence[str], limit: int | None) -> tuple[Theorem, ...]:
    """The theorems that settings ask for. Raises ConfigError for a name that is not there."""
    known = [theorem.name for theorem in source.theorems]
    for name in names:
        if name not in known:
            raise ConfigError(f"{source.name} has no theorem {name!r}{nearest(name, known[:500])}")
    wanted = [theorem for theorem in source.theorems if not names or theorem.name in names]
    return tuple(wanted[:limit])

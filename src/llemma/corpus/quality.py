"""Profiles of quality: tests from ``quality_rules.toml`` put together into a stage that keeps, mends or drops.

A profile is data; this file reads it, lets a recipe change single thresholds, and switches the known faults of an
original on or off. A stage is a function of one document: the same document always fares the same, in any process.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from llemma.config import build, read_toml, setting
from llemma.corpus import language
from llemma.corpus.mathscore import load_mathscore
from llemma.corpus.page import Page
from llemma.corpus.perplexity import load_perplexity
from llemma.corpus.rules import TESTS, Language, MathScoreAtLeast, Models, PerplexityAtMost, Test, judge
from llemma.errors import ConfigError, nearest
from llemma.records import Document


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityEntry:
    """How the documents of a source are judged."""

    profile: str = setting("", "llemma, openwebmath, or FILE.toml#NAME (empty: no rules)")
    rules: Mapping[str, Any] = setting(
        factory=dict, help="thresholds that differ: NAME = {field = value}, or false: off"
    )
    bugs: Literal["", "kept", "fixed"] = setting("", "known faults of the original (empty: as the profile says)")
    mathscore: str = setting("", "file of the MathScore model (empty: trained into the run folder; none: no MathScore)")
    perplexity: str = setting(
        "none", "file of the perplexity model (empty: trained into the run folder; none: no such test)"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """A known fault of an original; ``switched`` says whether it can be reproduced here."""

    name: str
    what: str
    switched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A named list of tests, in order."""

    name: str
    summary: str
    tests: Mapping[str, Test]
    bugs: tuple[Bug, ...]

    def asks(self, kind: type[Any]) -> bool:
        """Whether one of the tests is of this kind."""
        return any(isinstance(test, kind) for test in self.tests.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a document: kept when ``reason`` is None; ``removed`` counts the lines taken out, by reason."""

    document: Document
    reason: str | None = None
    detail: str = ""
    removed: Mapping[str, int] = field(default_factory=dict)


Stage = Callable[[Document], Outcome]


@functools.cache
def _own() -> dict[str, Any]:
    return tomllib.loads(resources.files("llemma.corpus").joinpath("quality_rules.toml").read_text("utf-8"))


def profiles() -> dict[str, str]:
    """Name → summary of the profiles in the package."""
    return {name: table["summary"] for name, table in _own().items()}


def load_profile(entry: QualityEntry) -> Profile:
    """The profile that an entry asks for, with its changes. Raises ConfigError naming what is not known."""
    file, _, name = entry.profile.rpartition("#")
    table = read_toml(Path(file)) if file else _own()
    if name not in table:
        raise ConfigError(f"no quality profile {entry.profile!r}{nearest(name, table)}")
    profile = table[name]
    rules = {rule: dict(keys) for rule, keys in profile.get("rules", {}).items()}
    faults = profile.get("bugs", {})
    if (entry.bugs or profile.get("bugs_default", "fixed")) == "kept":
        for fault in faults.values():
            for rule, changed in fault.get("kept", {}).items():
                rules[rule].update(changed)
    for rule, changed in entry.rules.items():
        _change(rules, rule, changed)
    return Profile(
        name=name,
        summary=profile.get("summary", ""),
        tests={rule: _built(rule, keys, entry.profile) for rule, keys in rules.items()},
        bugs=tuple(Bug(name=n, what=f["what"], switched="kept" in f) for n, f in faults.items()),
    )


def _change(rules: dict[str, dict[str, Any]], rule: str, changed: Any) -> None:
    if rule not in rules and not (isinstance(changed, Mapping) and "test" in changed):
        raise ConfigError(f"quality.rules.{rule}: the profile has no such rule{nearest(rule, rules)}")
    if changed is False:
        del rules[rule]
    elif isinstance(changed, Mapping):
        rules.setdefault(rule, {}).update(changed)
    else:
        raise ConfigError(f"quality.rules.{rule}={changed}: write {{field = value}}, or false to leave the rule out")


def _built(rule: str, keys: Mapping[str, Any], where: str) -> Test:
    kind = str(keys.get("test", rule))
    if kind not in TESTS:
        raise ConfigError(f"{where}: rules.{rule}: no test {kind!r}{nearest(kind, TESTS)}")
    own = {key: value for key, value in keys.items() if key != "test"}
    return build(TESTS[kind], own, where=f"{where}: ", prefix=f"rules.{rule}.")


def needs(entry: QualityEntry) -> tuple[str, ...]:
    """Which models (``mathscore``, ``perplexity``) the entry wants trained because it names no file."""
    if not entry.profile:
        return ()
    profile = load_profile(entry)
    kinds = {"mathscore": MathScoreAtLeast, "perplexity": PerplexityAtMost}
    return tuple(name for name, kind in kinds.items() if not getattr(entry, name) and profile.asks(kind))


def check(entry: QualityEntry) -> None:
    """Raise what is wrong with an entry (profile, rules, a missing package or model) before any work is done."""
    if not entry.profile:
        return
    profile = load_profile(entry)
    if profile.asks(Language):
        language.prepare()
    _models(entry, None)


def quality_stage(entry: QualityEntry, trained: Path | None = None) -> Stage:
    """The stage of an entry; ``trained`` is the folder of the models that it names no file for."""
    tests = tuple(load_profile(entry).tests.values())
    models = _models(entry, trained)

    def stage(document: Document) -> Outcome:
        page, drop, removed = judge(Page(document), tests, models)
        if drop is not None:
            return Outcome(document=page.document, reason=drop.reason, detail=drop.detail, removed=removed)
        return Outcome(document=page.document, removed=removed)

    return stage


def _models(entry: QualityEntry, trained: Path | None) -> Models:
    def path(name: str) -> Path | None:
        given = getattr(entry, name)
        if given == "none" or (not given and trained is None):
            return None
        return Path(given) if given else trained / f"{name}.bin" if trained else None

    score, order = path("mathscore"), path("perplexity")
    return Models(
        mathscore=load_mathscore(score) if score else None, perplexity=load_perplexity(order) if order else None
    )


def describe(profile: Profile) -> list[str]:
    """One line per test: its name and the thresholds that are not the test's defaults."""
    lines = []
    for name, test in profile.tests.items():
        values = [(f.name, getattr(test, f.name)) for f in fields(test)]  # type: ignore[arg-type]
        short = [f"{key}={value}" for key, value in values if type(value) in (int, float)]
        off = isinstance(test, PerplexityAtMost) and not test.most
        lines.append(f"{name}: off" if off else f"{name}: {', '.join(short)}" if short else name)
    return lines

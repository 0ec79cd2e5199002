"""Chooses mathematical code by a table of rules (``code_rules.toml``); every refusal has a reason.

The rules are data. What it does not do: parse code; the rules of AlgebraicStack are substring tests, and text
in comments counts as they count it.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources

from llemma.errors import ConfigError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRule:
    """The rule of one language; ``markers`` are the substrings of which one must occur."""

    language: str
    extensions: tuple[str, ...]
    max_bytes: int
    max_digits: float
    not_first: str
    markers: tuple[str, ...]


@functools.cache
def rules() -> dict[str, CodeRule]:
    """Language → rule, from the table in the package."""
    table = tomllib.loads(resources.files("llemma.corpus").joinpath("code_rules.toml").read_text("utf-8"))
    return {
        language: CodeRule(
            language=language,
            extensions=tuple(row["extensions"]),
            max_bytes=row["max_bytes"],
            max_digits=row["max_digits"],
            not_first=row["not_first"],
            markers=tuple(form.format(name) for form in row["any_of"] for name in row["names"]),
        )
        for language, row in table.items()
    }


def rule(language: str) -> CodeRule:
    """The rule of a language. Raises ConfigError with the known ones."""
    if language not in rules():
        raise ConfigError(f"no code rule {language!r}{nearest(language, rules())}")
    return rules()[language]


def refusal(rule: CodeRule, text: str) -> str | None:
    """Why the rule refuses this file, in a few words, or None when it passes."""
    if len(text.encode("utf-8", "surrogatepass")) > rule.max_bytes:
        return "too large"
    stripped = text.strip()
    if not stripped:
        return "empty"
    if digit_share(stripped) > rule.max_digits:
        return "mostly digits"
    if rule.not_first and stripped[0] in rule.not_first:
        return f"starts with {stripped[0]}"
    if not any(marker in text for marker in rule.markers):
        return "no mathematical import"
    return None


def digit_share(text: str) -> float:
    """Digits 0-9 divided by non-space characters; 0 for a text without any."""
    solid = sum(map(len, text.split()))
    return sum(map(text.count, "0123456789")) / solid if solid else 0.0

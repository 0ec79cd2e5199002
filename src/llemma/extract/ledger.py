"""What an extractor hands back: the text, and a ledger of every formula it saw.

Recall is computed from the ledger, not guessed: each formula found in the source ends as kept, lost (with the reason)
or dropped together with boilerplate around it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Counts of formulas: ``found == kept + sum(lost.values()) + boilerplate``.

    ``lost`` and ``kinds`` are by kind (how the formula was written in the source: ``annotation``, ``script``,
    ``delimiters``, ``katex-html``, ``mathml``, ...); ``why`` counts the losses as ``"kind: reason"``; ``boilerplate``
    are formulas in parts of the source that are no main text (menus, comments), whatever their kind.
    """

    found: int = 0
    kept: int = 0
    boilerplate: int = 0
    lost: Mapping[str, int] = field(default_factory=dict)
    why: Mapping[str, int] = field(default_factory=dict)
    kinds: Mapping[str, int] = field(default_factory=dict)

    @property
    def recall(self) -> float:
        """Formulas kept, as a fraction of those found in the main text; 1 when there are none."""
        main = self.found - self.boilerplate
        return self.kept / main if main else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """One document out of a source: Markdown with ``$…$`` and ``$$…$$``, and what became of its formulas.

    ``part`` tells the documents of one file apart (a page's address in an archive; empty for a single document).
    ``error`` says in a line why there is no text; input that cannot be read is a value here, not an exception.
    ``meta`` is plain data, stored beside the text.
    """

    text: str
    title: str = ""
    formulas: Ledger = Ledger()
    part: str = ""
    error: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

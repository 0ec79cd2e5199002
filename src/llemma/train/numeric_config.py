"""Settings of training behind a number encoding; free of torch and numpy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llemma.config import setting
from llemma.models.numeric_config import NumericSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericConfig(NumericSettings):
    """What is learnt when data=numbers: a generated task, or examples from files. See docs/numbers.md."""

    task: str = setting("", "generated task: additionN, productN (N digits), trees, orbits, text")
    files: tuple[Path, ...] = setting(
        (), "JSON-lines files of rows with prompt and answer, or with text, of which all counts in the loss"
    )

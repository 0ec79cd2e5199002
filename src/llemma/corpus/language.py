"""Which language a text is in, by py3langid: its model comes with the package, nothing is fetched.

Chosen among what runs offline from PyPI (docs/quality.md has the figures): numpy is all it needs, licence and model are
BSD, and it is right more often than fastText's lid.176 on short English between formulas. Ask with formulas taken out.
"""

from __future__ import annotations

import functools
from typing import Any

from llemma.plugins import import_module

PIECE = 1_000  # characters looked at from the beginning, and again from the middle: more does not change the answer


@functools.cache
def _identifier() -> Any:
    langid = import_module("py3langid.langid")
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)


def prepare() -> None:
    """Load the model now. Raises MissingDependency with the command that installs it."""
    _identifier()


def identify(prose: str, *, whole: bool = False) -> tuple[str, float]:
    """The language (ISO 639-1) of a text and the probability that the model gives it.

    Of a long text two pieces are looked at, unless ``whole`` is set.
    """
    middle = len(prose) // 2
    text = prose if whole or len(prose) <= 2 * PIECE else f"{prose[:PIECE]} {prose[middle : middle + PIECE]}"
    code, probability = _identifier().classify(text)
    return str(code), float(probability)

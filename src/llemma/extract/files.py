"""Files, folders and standard input to rows of text: what ``llemma extract`` does.

Which extractor reads a file is a table (``KINDS``) by the ending of its name; a new format is a line there and a function
``(data: bytes, *, name: str) -> Extracted``. A file that cannot be read becomes a row with ``error``: a run over a folder
outlives it.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llemma.config import setting
from llemma.errors import Caught, ConfigError, DataError, boundary
from llemma.extract.ledger import Extracted
from llemma.plugins import import_module
from llemma.records import Event, Progress, silent, to_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A format: the endings of its files' names, and the function that reads it (module of ``extract``: name).

    ``archive`` formats hold many documents: their function takes the path and yields ``Extracted`` values.
    """

    endings: tuple[str, ...]
    function: str
    archive: bool = False


KINDS = {
    "html": Kind(endings=(".html", ".htm", ".xhtml", ".xht"), function="html_math:extract_html"),
    "warc": Kind(endings=(".warc", ".warc.gz", ".warc.zst"), function="warc:extract_warc", archive=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractConfig:
    """Settings of ``llemma extract``."""

    paths: tuple[str, ...] = setting((), "files and folders to read (-: standard input)")
    kind: str = setting("auto", f"format of the files: {', '.join(KINDS)}; auto goes by the ending of the name")
    max_bytes: int = setting(16_000_000, "a larger file becomes a row with an error (archives: a larger page)")
    out: Path | None = setting(None, "file for the rows; written whole or not at all (default: standard output)")

    def __post_init__(self) -> None:
        if not self.paths:
            raise ValueError("llemma extract needs files or folders to read (-: standard input)")
        if self.kind != "auto" and self.kind not in KINDS:
            raise ValueError(f"kind={self.kind}: known kinds are auto, {', '.join(KINDS)}")
        if self.max_bytes <= 0:
            raise ValueError(f"max_bytes={self.max_bytes}: must be positive")
        if self.out is not None and self.out.is_dir():
            raise ValueError(f"out={self.out}: this is a folder, a file was expected")

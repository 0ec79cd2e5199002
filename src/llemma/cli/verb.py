"""What a verb of the command line is, and how results for programs are written."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llemma.records import Progress, to_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A verb: its line in the help, its plain words, where its settings class is, and what it does."""

    summary: str
    words: str
    settings: str
    run: Callable[[Call], int]
    field: str = ""
    interrupted: str = "what is in the run folder is kept, the same command goes on from there"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a verb: resolved settings, whether JSON is wanted, the sink for progress."""

    settings: Any
    json: bool
    progress: Progress


def show(call: Call, value: Any, text: Callable[[], str]) -> int:
    """The result on stdout, as JSON where that was asked for, else as text; the exit code of success."""
    if call.json:
        print_json(value)
    else:
        print(text())
    return 0


def print_json(value: Any) -> None:
    """A record or plain data as one line of JSON on stdout."""
    print(json.dumps(to_row(value), ensure_ascii=False))

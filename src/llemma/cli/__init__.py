"""The command line: ``llemma VERB [name or file.toml ...] key=value ... [--json]``.

The only folder that prints or exits. Every verb resolves its settings, calls one function of the library and
shows the result; progress goes to stderr, results to stdout. A mistake of the user is one line and exit code 2.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from llemma.cli.terminal import Terminal
from llemma.cli.verb import Call, Verb
from llemma.cli.verbs import VERBS
from llemma.errors import ConfigError, LlemmaError, explain, nearest


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 1 a finished run that found a fault, 2 a mistake or failure."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _dispatch(words)
        sys.stdout.flush()  # here, where a reader that went away or a full disk is still handled
        return code
    except BrokenPipeError:
        _settle_stdout()
        return 141
    except KeyboardInterrupt:
        verb = VERBS.get(words[0]) if words else None
        print(f"\nllemma: interrupted; {verb.interrupted if verb else 'nothing was done'}", file=sys.stderr)
        return 130
    except (LlemmaError, OSError, MemoryError) as error:
        print(f"llemma: {explain(error)}", file=sys.stderr)
        _settle_stdout()
        return 2


def _settle_stdout() -> None:
    """Flush stdout, or drop what it holds when that cannot be written: Python's flush at exit must not fail again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] in ("-V", "--version"):
        from llemma import __version__

        print(f"llemma {__version__}")
        return 0
    name, rest = words[0], words[1:]
    if name not in VERBS:
        raise ConfigError(f"unknown verb {name!r}{nearest(name, VERBS)}; see llemma --help")
    verb = VERBS[name]
    if "-h" in rest or "--help" in rest:
        print(_help(name, verb))
        return 0
    flags = [w for w in rest if w.startswith("-") and w != "-"]
    if any(flag != "--json" for flag in flags):
        other = next(flag for flag in flags if flag != "--json")
        raise ConfigError(f"unknown option {other}; keys are written key=value, see llemma {name} --help")
    settings = _settings(name, verb, [w for w in rest if w not in flags])
    with Terminal() as terminal:
        return verb.run(Call(settings=settings, json=bool(flags), progress=terminal))


def _settings(name: str, verb: Verb, words: list[str]) -> Any:
    """The verb's settings from TOML files, plain words and ``key=value`` words."""
    from llemma.config import resolve

    kind = _load(verb.settings)
    plain = [w for w in words if not _is_key(w)]
    files = [Path(w) for w in plain if w.endswith(".toml")]
    names = [w for w in plain if not w.endswith(".toml")]
    keys = [w for w in words if _is_key(w)]
    if names and not verb.field:
        raise ConfigError(f"llemma {name} takes no word {names[0]!r}; see llemma {name} --help")
    if names:
        several = next(f for f in fields(kind) if f.name == verb.field).type.startswith("tuple")
        keys.append(f"{verb.field}={(',' if several else ' ').join(names)}")  # a question may be typed without quotes
    return resolve(kind, files=files, words=keys)


def _is_key(word: str) -> bool:
    key = word.partition("=")[0]
    return "=" in word and all(part.replace("_", "a").isalnum() for part in key.split("."))


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(f"llemma.{module}"), name)


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {name:{width}}  {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            "usage: llemma VERB [name or file.toml ...] key=value ... [--json]",
            "",
            *lines,
            "",
            "llemma VERB --help lists the keys of a verb. --json prints results for programs; progress goes to stderr.",
        ]
    )


def _help(name: str, verb: Verb) -> str:
    from llemma.config import keys

    lines = [f"usage: llemma {name} {verb.words}".rstrip() + " key=value ... [--json]", "", verb.summary, ""]
    found = list(keys(_load(verb.settings)))
    width = max((len(k.name) for k in found), default=0)
    kinds = max((len(k.type) for k in found), default=0)
    lines += [f"  {k.name:{width}}  {k.type:{kinds}}  {k.help} [{k.default}]" for k in found]
    return "\n".join(lines)

"""Reads the cases of ``lean_exploits.txt`` and ``lean_honest.txt``.

A case begins with ``==== id | class | proof`` or ``==== id | class | file``; ``==== prelude``, ``==== statement`` and
``==== text`` name its parts, of which the text alone needs no name. Without a statement it is ``FALSE``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from llemma.records import Theorem

FALSE = "theorem t (n : Nat) : n + 1 = n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """``text`` is a proof, or a whole file when ``whole``; ``kind`` is its class."""

    id: str
    kind: str
    whole: bool
    text: str
    theorem: Theorem


def cases(name: str) -> list[Case]:
    """The cases of a file beside this one, in order; ids are unique."""
    found = []
    for block in ("\n" + Path(__file__).with_name(name).read_text(encoding="utf-8")).split("\n==== ")[1:]:
        head, _, body = block.partition("\n")
        if " | " in head:
            identity, kind, form = head.split(" | ")
            found.append((identity, kind, form == "file", {"text": body}))
        else:
            found[-1][3][head] = body
    ids = [identity for identity, *_ in found]
    assert len(ids) == len(set(ids)), sorted(i for i in ids if ids.count(i) > 1)
    return [_case(*case) for case in found]


def _case(identity: str, kind: str, whole: bool, parts: dict[str, str]) -> Case:
    statement = parts.get("statement", FALSE).strip()
    words = statement.replace("{", " ").replace(".{", " ").split()
    name = words[words.index("theorem") + 1].rstrip(".").removeprefix("_root_.")
    theorem = Theorem(name=name, statement=statement, prelude=parts.get("prelude", ""))
    return Case(id=identity, kind=kind, whole=whole, text=parts["text"].rstrip("\n"), theorem=theorem)

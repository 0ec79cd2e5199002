"""Licences of source files: what a licence file says, as SPDX names, and which names a corpus wants.

Tells the common licences by phrases of their texts. What it does not do: give legal advice; a text it does not know has
no name, and a file without a name passes no filter.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Iterable, Sequence
from email.message import Message
from pathlib import Path, PurePosixPath
from typing import cast

PERMISSIVE = "permissive"
# Licences that ask for no more than notices.
PERMISSIVE_NAMES = frozenset(
    name.lower()
    for name in (
        *("0BSD", "AFL-3.0", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-2-Clause-Patent", "BSD-3-Clause"),
        *("BSD-3-Clause-Clear", "BSL-1.0", "BlueOak-1.0.0", "CC-BY-3.0", "CC-BY-4.0", "CC0-1.0", "CECILL-B", "ECL-2.0"),
        *("ISC", "MIT", "MIT-0", "MIT-CMU", "NCSA", "PostgreSQL", "PSF-2.0", "Python-2.0", "UPL-1.0", "Unlicense"),
        *("WTFPL", "X11", "Zlib", "bzip2-1.0.6", "HPND", "BSD-Source-Code", "Unicode-3.0", "Unicode-DFS-2016"),
    )
)
# Phrases that a text must hold, all of them; white space counts as one space. The GPL speaks of the LGPL near its end,
# so that the place of the first phrase decides, and of two at one place the one that is listed first.
_TEXTS = (
    ("AGPL-3.0", ("gnu affero general public license", "version 3")),
    ("LGPL-3.0", ("gnu lesser general public license", "version 3, 29 june 2007")),
    ("LGPL-2.1", ("gnu lesser general public license", "version 2.1")),
    ("GPL-3.0", ("gnu general public license", "version 3, 29 june 2007")),
    ("GPL-2.0", ("gnu general public license", "version 2, june 1991")),
    ("MPL-2.0", ("mozilla public license version 2.0",)),
    ("EPL-2.0", ("eclipse public license - v 2.0",)),
    ("Apache-2.0", ("apache license", "version 2.0, january 2004")),
    ("Apache-2.0", ("licensed under the apache license, version 2.0",)),
    ("PSF-2.0", ("python software foundation license version 2",)),
    ("BSL-1.0", ("boost software license - version 1.0",)),
    ("CECILL-B", ("cecill-b free software license",)),
    ("CECILL-C", ("cecill-c free software license",)),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    ("CC0-1.0", ("cc0 1.0 universal",)),
    ("CC-BY-NC-SA-4.0", ("attribution-noncommercial-sharealike 4.0 international",)),
    ("CC-BY-NC-4.0", ("attribution-noncommercial 4.0 international",)),
    ("CC-BY-SA-4.0", ("attribution-sharealike 4.0 international",)),
    ("CC-BY-SA-3.0", ("attribution-sharealike 3.0",)),
    ("CC-BY-4.0", ("attribution 4.0 international",)),
    ("GFDL-1.2", ("gnu free documentation license", "version 1.2")),
    ("GFDL-1.3", ("gnu free documentation license", "version 1.3")),
    ("LPPL-1.3c", ("lppl version 1.3c",)),
    ("WTFPL", ("do what the fuck you want to public license",)),
    ("ISC", ("permission to use, copy, modify, and/or distribute this software for any purpose with or without fee",)),
    ("ISC", ("permission to use, copy, modify, and distribute this software for any purpose with or without fee",)),
    ("Zlib", ("this software is provided 'as-is'", "altered source versions must be plainly marked")),
    ("MIT", ("permission is hereby granted, free of charge", "the above copyright notice and this permission notice")),
    ("MIT-0", ("permission is hereby granted, free of charge",)),
    ("BSD-3-Clause", ("redistribution and use in source and binary forms", "neither the name")),
    ("BSD-3-Clause", ("redistribution and use in source and binary forms", "to endorse or promote products")),
    ("BSD-2-Clause", ("redistribution and use in source and binary forms",)),
)
_FILE = re.compile(r"(?:un)?licen[cs]e|copying|copyright", re.IGNORECASE)
_FILE_ENDINGS = ("", ".txt", ".md", ".rst", ".mit", ".bsd", ".bsd3", ".apache", ".apache2", ".gpl", ".lesser", ".lib")
_HEADER = re.compile(r"SPDX-License-Identifier:[ \t]*([\w.+-]+(?: (?:OR|AND|WITH) [\w.+-]+)*)")
_HEADER_WITHIN = 2_000  # characters from the beginning of a file
_LONGEST = 60_000  # characters of a licence file that are looked at


def is_licence(path: str) -> bool:
    """Whether a file is called as licences are."""
    name = PurePosixPath(path)
    return _FILE.match(name.name) is not None and name.suffix.lower() in _FILE_ENDINGS


def identify(text: str) -> str:
    """The SPDX name of a licence by its text, the first where there are several; empty when none is known."""
    flat = " ".join(text[:_LONGEST].lower().split())
    found = [
        (flat.index(phrases[0]), n) for n, (_, phrases) in enumerate(_TEXTS) if all(one in flat for one in phrases)
    ]
    return _TEXTS[min(found)[1]][0] if found else ""


def header(text: str) -> str:
    """The SPDX expression that a source file names near its beginning, or empty."""
    found = _HEADER.search(text, 0, _HEADER_WITHIN) if "SPDX" in text[:_HEADER_WITHIN] else None
    return found[1] if found else ""


def allowed(licences: Sequence[str], wanted: Iterable[str]) -> bool:
    """Whether every licence of a file is wanted: SPDX names, or ``permissive`` for those that ask only for notices.

    Of ``A OR B`` one is enough. A file without licence is not wanted.
    """
    names = {name.lower() for name in wanted}
    if PERMISSIVE in names:
        names |= PERMISSIVE_NAMES
    return bool(licences) and all(_one_allowed(licence, names) for licence in licences)


def _one_allowed(expression: str, names: set[str]) -> bool:
    for every in re.split(r"\s+AND\s+", expression.replace("(", " ").replace(")", " ")):
        choices = (one.partition(" WITH ")[0].strip().lower() for one in re.split(r"\s+OR\s+", every))
        if not names.intersection(choices):
            return False
    return True


@functools.cache
def of_package(package: str) -> tuple[str, ...]:
    """The licences of an installed package by its import name, as its metadata or its licence files say."""
    names = [package] if _installed(package) else importlib.metadata.packages_distributions().get(package, [])
    found: dict[str, None] = {}
    for name in names:
        about = importlib.metadata.distribution(name)
        expression = cast(Message, about.metadata).get("License-Expression", "")
        files = [str(file.locate()) for file in about.files or () if is_licence(file.as_posix())]
        texts = [] if expression else [_text(file) for file in files]
        found.update(dict.fromkeys(filter(None, [expression, *map(identify, texts)])))
    return tuple(found)


def _installed(package: str) -> bool:
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

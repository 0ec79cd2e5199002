"""The encoding of a TeX file: byte order mark, valid UTF-8, the inputenc declaration, then the Windows and Latin pages.

Valid UTF-8 with a byte over 127 is UTF-8 whatever the file declares: other encodings give such bytes only by accident.
"""

from __future__ import annotations

import codecs
import re

# What inputenc calls them (its .def files), and what Python does. Plain names of Python are taken as they are.
INPUTENC = {
    "latin1": "latin-1",
    "latin2": "iso8859-2",
    "latin3": "iso8859-3",
    "latin4": "iso8859-4",
    "latin5": "iso8859-9",
    "latin9": "iso8859-15",
    "latin10": "iso8859-16",
    "ansinew": "cp1252",
    "applemac": "mac-roman",
    "macce": "mac-latin2",
    "cp437de": "cp437",
    "koi8-r": "koi8-r",
    "koi8-ru": "koi8-u",
    "iso88595": "iso8859-5",
    "utf8": "utf-8",
    "utf8x": "utf-8",
}
_DECLARED = re.compile(rb"\\(?:usepackage\s*\[([\w-]+)\]\s*\{inputenc\}|inputencoding\s*\{([\w-]+)\})")
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))

# Characters that Unicode reserves for a program's own use: held text, decided commands, absent arguments.
OPEN, CLOSE, DECIDED, NO_VALUE = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3"
_OWN = dict.fromkeys(map(ord, (OPEN, CLOSE, DECIDED, NO_VALUE)))

_ANY_OWN = re.compile("[\ufdd0-\ufdd3]")


def declared(data: bytes) -> str | None:
    """The Python name of the encoding that a file declares, None without one that is known."""
    head = data[:50_000]
    found = _DECLARED.search(head) if b"inputenc" in head or b"\\inputencoding" in head else None
    if found is None:
        return None
    name = (found[1] or found[2]).decode("ascii", "replace").lower()
    return known(INPUTENC.get(name, name))


def known(name: str) -> str | None:
    """``name`` when it is a text encoding of Python, else None."""
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    return info.name if getattr(info, "_is_text_encoding", True) else None


def decode(data: bytes, hint: str | None = None) -> tuple[str, str]:
    """Text and encoding of a file; ``hint`` is what the project's main file declares. Never fails.

    Line ends become ``\\n``. Characters that are nobody's (U+FDD0…) are removed: they are used as marks here.
    """
    text, encoding = _decode(data, hint)
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.isascii() and _ANY_OWN.search(text):
        text = text.translate(_OWN)
    return text, encoding


def _decode(data: bytes, hint: str | None) -> tuple[str, str]:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace"), encoding
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError as error:
        if error.reason == "unexpected end of data" and error.end == len(data) and not data[: error.start].isascii():
            return data.decode("utf-8", "replace"), "utf-8"  # cut off within a character
    for given in (declared(data), hint):
        if given and given != "utf-8":
            return data.decode(given, "replace"), given
    if _mostly_utf8(data):
        return data.decode("utf-8", "replace"), "utf-8"
    page = "cp1252" if re.search(rb"[\x80-\x9f]", data) else "latin-1"
    return data.decode(page, "replace"), page


def _mostly_utf8(data: bytes) -> bool:
    """Whether nine in ten of the bytes over 127 are parts of UTF-8 characters: one stray byte does not decide."""
    high = len(re.findall(rb"[\x80-\xff]", data))
    whole = sum(len(m) for m in re.findall(rb"[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}", data))
    return whole >= 0.9 * high

"""Reads definitions of TeX: what a macro or an environment takes and what it stands for; expands nothing.

``\\newcommand`` and its kin, ``\\def`` with delimited parameters, ``\\let``, ``\\DeclareMathOperator``, paired
delimiters, xparse where its arguments are plain, ``\\newenvironment``, ``\\newtheorem``. A definition whose
replacement works on TeX's internals is ``opaque``: known by name, never expanded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from llemma.extract.tex import scan
from llemma.extract.tex.decode import NO_VALUE
from llemma.extract.tex.scan import Scanner

LONGEST_NAME = 60  # a longer name is nobody's macro
LONGEST_BODY = 20_000

ParamKind = Literal["token", "until", "optional", "star", "text", "group"]
MeaningKind = Literal["macro", "environment", "theorem", "let", "switch", "opaque"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """One parameter: an undelimited one, one that ends at ``mark``, one in brackets, a star, fixed text to skip, or a
    group that may be absent."""

    kind: ParamKind
    default: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a name means from its definition on.

    ``body`` and ``end`` (of an environment) are pieces: text, or the number of a parameter from 1. ``source`` is the
    definition as written, ``soft`` says that it does not replace an earlier one.
    """

    name: str
    kind: MeaningKind
    params: tuple[Param, ...] = ()
    body: tuple[str | int, ...] = ()
    end: tuple[str | int, ...] = ()
    source: str = ""
    soft: bool = False


_LATEX = {"newcommand", "renewcommand", "providecommand", "DeclareRobustCommand", "newrobustcmd", "renewrobustcmd",
          "providerobustcmd"}  # fmt: skip
_PRIMITIVE = {"def", "gdef", "edef", "xdef"}
_XPARSE = {f"{verb}DocumentCommand" for verb in ("New", "Renew", "Provide", "Declare")}
_ENVIRONMENT = {"newenvironment", "renewenvironment"}
_PAIRED = {"DeclarePairedDelimiter"}
# Names without a replacement text that can be written out, and how many groups follow the name.
_REGISTERS = {"newlength": 0, "newdimen": 0, "newskip": 0, "newcount": 0, "newbox": 0, "newtoks": 0, "newsavebox": 0,
              "DeclareMathAlphabet": 4, "DeclareMathSymbol": 3, "DeclareFixedFont": 5, "DeclareMathAccent": 3,
              "DeclareMathDelimiter": 5, "newcommandx": -1, "renewcommandx": -1}  # fmt: skip
_NUMBERS = {"mathchardef", "chardef", "newsymbol", "font", "newfont"}
WORDS = (
    _LATEX | _PRIMITIVE | _XPARSE | _ENVIRONMENT | _PAIRED | set(_REGISTERS) | _NUMBERS
    | {"let", "DeclareMathOperator", "newtheorem", "newif"}
)  # fmt: skip

_NAME = re.compile(r"\s*(?:\{\s*\\([A-Za-z@]+|[^A-Za-z@\s])\s*\}|\\([A-Za-z@]+|[^A-Za-z@\s]))")
_PLAIN = re.compile(r"\s*\\([A-Za-z@]+|[^A-Za-z@\s])")
_BRACED_NAME = re.compile(r"\s*\{([^{}\\\s]+)\}")
_COUNT = re.compile(r"\s*\[\s*([0-9])\s*\]")
_HASH = re.compile(r"#(#+|[1-9])")
_STAR = re.compile(r"\s*\*")
_EQUALS = re.compile(r"\s*=?[ \t]?(\\[A-Za-z@]+|\\.|[^\s\\{}%])", re.DOTALL)

# Replacement texts that work on TeX's internals: what they give depends on more than their arguments.
_INTERNAL = re.compile(
    scan.ODD + r"(?:(?!(?:xymatrix|ar)@)[A-Za-z]*@[A-Za-z@]*|(?:expandafter|csname|endcsname|futurelet|afterassignment"
    r"|aftergroup|noexpand|catcode|begingroup|endgroup|setbox|copy|mathpalette|mathchoice|advance|ifx|ifnum|ifdim|ifcase"
    r"|ifcat|ifvmode|ifhmode|ifinner|ifodd|ifdefined|ifvoid|if|unless|loop|repeat|global|relax|wd|ht|dp|everymath|romannumeral|number|write"
    r"|openout|message|futurelet|makeatletter|ExplSyntaxOn)(?![A-Za-z@]))"
)


def read_definition(look: Scanner, text: str, at: int, word: str) -> tuple[Meaning | None, int] | None:
    """The definition that ``\\word`` begins, where ``at`` is the index behind the word, and the index behind it.

    The meaning is None for a definition that defines nothing of interest; the result is None when the text does not
    have the form of a definition, as inside the replacement text of another one.
    """
    if word in _PRIMITIVE:
        return _primitive(look, text, at, word)
    if word == "let":
        return _let(text, at)
    if word == "newif":
        return _newif(text, at)
    if word == "newtheorem":
        return _theorem(look, text, at)
    if word in _ENVIRONMENT:
        return _environment(look, text, at, word)
    star = _STAR.match(text, at)
    behind = star.end() if star else at
    found = _NAME.match(text, behind)
    if found is None or len(name := found[1] or found[2]) > LONGEST_NAME:
        return None
    if word in _LATEX:
        return _newcommand(look, text, found.end(), word, name)
    if word in _XPARSE:
        return _xparse(look, text, found.end(), word, name)
    if word == "DeclareMathOperator":
        group = look.argument(text, found.end())
        star_name = "\\operatorname*" if star else "\\operatorname"
        return group and (
            _meaning(
                name, (), f"{star_name}{{{group[0]}}}", f"\\{word}{'*' if star else ''}{{\\{name}}}{{{group[0]}}}"
            ),
            group[1],
        )
    if word in _PAIRED:
        return _paired(look, text, found.end(), name)
    return _register(look, text, at, found.end(), word, name)


def pieces(body: str) -> tuple[str | int, ...]:
    """A replacement text cut at its parameters: ``"a#1##"`` is ``("a", 1, "#")``."""
    if "#" not in body:
        return (body,) if body else ()
    out: list[str | int] = []
    at = 0
    for found in _HASH.finditer(body):
        out.append(body[at : found.start()])
        out.append(int(found[1]) if found[1].isdigit() else found[1])
        at = found.end()
    return tuple(piece for piece in (*out, body[at:]) if piece != "")


def _meaning(name: str, params: tuple[Param, ...], body: str, source: str, *, soft: bool = False) -> Meaning:
    body = body.strip() if len(body) < LONGEST_BODY else body
    cut = pieces(body)
    known = all(piece <= sum(p.kind != "text" for p in params) for piece in cut if isinstance(piece, int))
    opaque = len(body) >= LONGEST_BODY or not known or _INTERNAL.search(body) is not None
    return Meaning(name=name, kind="opaque" if opaque else "macro", params=params, body=cut, source=source, soft=soft)


def _counted(look: Scanner, text: str, at: int) -> tuple[tuple[Param, ...], int]:
    """The parameters that ``[n][default]`` declare."""
    found = _COUNT.match(text, at)
    if found is None:
        return (), at
    count, at = int(found[1]), found.end()
    given = look.optional(text, at) if count else None
    first = (Param(kind="optional", default=given[0]),) if given else ()
    return first + (Param(kind="token"),) * (count - len(first)), given[1] if given else at


def _newcommand(look: Scanner, text: str, at: int, word: str, name: str) -> tuple[Meaning | None, int] | None:
    params, behind = _counted(look, text, at)
    group = look.argument(text, behind)
    if group is None:
        return None
    source = f"\\{word}{{\\{name}}}{text[at:behind].strip()}{{{group[0]}}}"
    return _meaning(name, params, group[0], source, soft=word.startswith("provide")), group[1]


def _primitive(look: Scanner, text: str, at: int, word: str) -> tuple[Meaning | None, int] | None:
    found = _PLAIN.match(text, at)
    brace = text.find("{", found.end(), found.end() + 200) if found else -1
    if found is None or brace < 0 or len(found[1]) > LONGEST_NAME:
        return None
    head = text[found.end() : brace]
    end = look.group_end(text, brace, LONGEST_BODY)
    if "}" in head or "\n\n" in head or end < 0:
        return None
    source = f"\\{word}\\{found[1]}{text[found.end() : end]}"
    params = _delimited(head.strip() if "#" not in head else head.lstrip())
    if params is None:
        return Meaning(name=found[1], kind="opaque", source=source), end
    return _meaning(found[1], params, text[brace + 1 : end - 1], source), end


def _delimited(head: str) -> tuple[Param, ...] | None:
    """The parameters of ``\\def``: ``#1#2``, ``(#1,#2)``; None for what is not understood."""
    parts = re.split(r"#([1-9])", head)
    if parts[1::2] != [str(n) for n in range(1, len(parts) // 2 + 1)] or "#" in "".join(parts[::2]):
        return None
    first = (Param(kind="text", mark=parts[0]),) if parts[0] else ()
    return first + tuple(Param(kind="until" if mark else "token", mark=mark) for mark in parts[2::2])


def _let(text: str, at: int) -> tuple[Meaning | None, int] | None:
    found = _PLAIN.match(text, at)
    target = _EQUALS.match(text, found.end()) if found else None
    if found is None or target is None or len(found[1]) > LONGEST_NAME:
        return None
    return Meaning(name=found[1], kind="let", body=(target[1],), source=text[at - 4 : target.end()]), target.end()


def _newif(text: str, at: int) -> tuple[Meaning | None, int] | None:
    found = re.compile(r"\s*\\if([A-Za-z@]+)").match(text, at)
    return found and (Meaning(name=found[1], kind="switch", source=text[at - 6 : found.end()]), found.end())


def _theorem(look: Scanner, text: str, at: int) -> tuple[Meaning | None, int] | None:
    star = _STAR.match(text, at)
    found = _BRACED_NAME.match(text, star.end() if star else at)
    if found is None:
        return None
    counter = look.optional(text, found.end())
    title = look.braced(text, counter[1] if counter else found.end(), 1_000)
    if title is None:
        return None
    within = look.optional(text, title[1])
    return Meaning(name=found[1], kind="theorem", body=(title[0],)), within[1] if within else title[1]


def _environment(look: Scanner, text: str, at: int, word: str) -> tuple[Meaning | None, int] | None:
    star = _STAR.match(text, at)
    found = _BRACED_NAME.match(text, star.end() if star else at)
    if found is None or len(found[1]) > LONGEST_NAME:
        return None
    params, behind = _counted(look, text, found.end())
    begin = look.braced(text, behind)
    end = look.braced(text, begin[1]) if begin else None
    if begin is None or end is None:
        return None
    first, last = _meaning("", params, begin[0], ""), _meaning("", params, end[0], "")
    opaque = "opaque" in (first.kind, last.kind) or "list" in begin[0]
    return (
        Meaning(
            name=found[1], kind="opaque" if opaque else "environment", params=params, body=first.body, end=last.body,
            source=f"\\{word}{text[found.start():end[1]]}",
        ),
        end[1],
    )  # fmt: skip


def _xparse(look: Scanner, text: str, at: int, word: str, name: str) -> tuple[Meaning | None, int] | None:
    spec = look.braced(text, at)
    body = look.braced(text, spec[1]) if spec else None
    if spec is None or body is None:
        return None
    source = f"\\{word}{{\\{name}}}{{{spec[0]}}}{{{body[0]}}}"
    params: list[Param] = []
    place = 0
    while (place := scan.skip_space(spec[0], place)) < len(spec[0]):
        letter = spec[0][place].lstrip("+")
        place += 1
        default = look.braced(spec[0], place) if letter == "O" else None
        place = default[1] if default else place
        if letter in ("m", "o", "s"):
            kind: ParamKind = {"m": "token", "o": "optional", "s": "star"}[letter]  # type: ignore[assignment]
            params.append(Param(kind=kind, default=NO_VALUE))
        elif default:
            params.append(Param(kind="optional", default=default[0]))
        elif letter:
            return Meaning(name=name, kind="opaque", source=source), body[1]
    return _meaning(name, tuple(params), body[0], source, soft=word.startswith("Provide")), body[1]


def _paired(look: Scanner, text: str, at: int, name: str) -> tuple[Meaning | None, int] | None:
    left = look.argument(text, at)
    right = look.argument(text, left[1]) if left else None
    if left is None or right is None:
        return None
    params = (Param(kind="star"), Param(kind="optional", default=NO_VALUE), Param(kind="token"))
    body = (
        rf"\IfBooleanTF{{#1}}{{\left{left[0]} #3 \right{right[0]}}}"
        rf"{{\IfNoValueTF{{#2}}{{{left[0]} #3 {right[0]}}}{{#2{left[0]} #3 #2{right[0]}}}}}"
    )
    source = f"\\DeclarePairedDelimiter{{\\{name}}}{{{left[0]}}}{{{right[0]}}}"
    return _meaning(name, params, body, source), right[1]


def _register(
    look: Scanner, text: str, at: int, behind: int, word: str, name: str
) -> tuple[Meaning | None, int] | None:
    if word in _NUMBERS:
        found = re.compile(r"[^\n{}$]{0,80}").match(text, behind)
        end = found.end() if found else behind
        return Meaning(name=name, kind="opaque", source=f"\\{word}{text[at:end]}".rstrip()), end
    end = behind
    for _ in range(max(0, _REGISTERS[word])):
        group = look.braced(text, end)
        if group is None:
            return None
        end = group[1]
    if _REGISTERS[word] < 0:  # xargs: [n][defaults]{body}
        while given := look.optional(text, end):
            end = given[1]
        group = look.braced(text, end)
        end = group[1] if group else end
    return Meaning(name=name, kind="opaque", source=f"\\{word}{text[at:end]}"), end

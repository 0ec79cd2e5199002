"""LaTeX papers to text with their mathematics kept: files put together, macros written out, preamble and layout gone.

``clean_paper`` takes the files of a project, ``clean_text`` one text, ``extract_tex`` the bytes of a file or an
archive. What comes out is LaTeX that needs no definition but those of LaTeX itself and the few that it begins with.
Compiles nothing: a macro that works on TeX's internals is kept with its definition.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from llemma.config import setting
from llemma.extract.ledger import Extracted, Ledger
from llemma.extract.tex import body, redpajama
from llemma.extract.tex.decode import DECIDED, declared
from llemma.extract.tex.expand import Expander
from llemma.extract.tex.flatten import Flat, Flattener
from llemma.extract.tex.modes import count_formulas, settle
from llemma.extract.tex.project import Beside, Limits, Project, Refusal, open_project

__all__ = [
    "Limits",
    "Paper",
    "Project",
    "Refusal",
    "TexOptions",
    "clean_paper",
    "clean_project",
    "clean_text",
    "extract_tex",
]

_TEX = (".tex", ".ltx", ".latex")
_CLASS = re.compile(rb"\\document(?:class|style)")
_BEGIN = re.compile(rb"\\begin\s*\{document\}")
_READMES = ("00README", "00README." + 3 * "X")  # arXiv writes the second
_FAVOURITES = ("main", "ms", "paper", "article", "arxiv", "manuscript")


@dataclass(frozen=True, slots=True, kw_only=True)
class TexOptions:
    """What is kept of a paper."""

    profile: Literal["default", "redpajama"] = setting("default", "default, or redpajama: its cleaner, quirks kept")
    title: bool = setting(True, "begin with \\title{...}")
    appendix: bool = setting(True, "keep appendices")
    bibliography: bool = setting(False, "keep the list of references")
    pictures: bool = setting(False, "keep TikZ and other drawings (commutative diagrams are always kept)")
    layout: bool = setting(False, "keep commands of page layout")
    people: bool = setting(False, "keep authors, addresses and thanks")
    supplements: bool = setting(False, "add the other complete documents of the project (else they are named)")
    definitions: bool = setting(True, "keep the definitions of macros that cannot be written out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paper:
    """A cleaned paper and its ledger.

    ``macros`` counts the macros that were defined, the uses written out, and the definitions kept at the text's start;
    ``problems`` names files that were missing, refused or left out.
    """

    text: str
    title: str = ""
    main: str = ""
    files: tuple[str, ...] = ()
    encoding: str = ""
    macros: Mapping[str, int] = field(default_factory=dict)
    removed: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


def extract_tex(data: bytes, *, name: str, options: TexOptions = TexOptions(), beside: Path | None = None) -> Extracted:
    """The paper in a ``.tex`` file, a tar or a gzip stream of either; input that has no text is ``error``.

    ``beside`` is the folder in which files are looked for that a single file includes.
    """
    project = open_project(data, name=posixpath.basename(name))
    if isinstance(project, Refusal):
        return Extracted(text="", error=project.reason)
    if beside is not None and len(project.files) == 1:
        project = replace(project, files=Beside(project, beside))
    return clean_project(project, options)


def clean_project(project: Project, options: TexOptions = TexOptions()) -> Extracted:
    """The paper in a project with its ledger; what has no text is ``error``."""
    paper = clean_paper(project.files, options)
    if isinstance(paper, Refusal):
        return Extracted(text="", error=paper.reason)
    found = count_formulas(paper.text)
    meta: dict[str, Any] = {"files": list(paper.files), "encoding": paper.encoding, "macros": dict(paper.macros)}
    if problems := [*project.left_out, *paper.problems]:
        meta["problems"] = problems[:50]
    formulas = Ledger(found=found, kept=found, kinds={"tex": found} if found else {})
    return Extracted(text=paper.text, title=paper.title, formulas=formulas, meta=meta)


def clean_text(text: str, options: TexOptions = TexOptions()) -> Paper:
    """One text of LaTeX, a whole document or a part of one. Raises nothing; the text may come out empty."""
    paper = clean_paper({"text.tex": text.encode("utf-8", "replace")}, options)
    return Paper(text="", problems=(paper.reason,)) if isinstance(paper, Refusal) else paper


def clean_paper(files: Mapping[str, bytes], options: TexOptions = TexOptions()) -> Paper | Refusal:
    """The text of a project, given its files by path. Every byte string gives a Paper or a Refusal."""
    if options.profile == "redpajama":
        return _as_redpajama(files)
    main = find_main(files)
    if main is None:
        return Refusal(reason="no TeX file in it")
    paper = _document(files, main, options)
    for path in _other_documents(files, paper):
        if options.supplements:
            other = _document(files, path, options)
            paper = replace(paper, text=f"{paper.text}\n\n{other.text}", files=(*paper.files, *other.files))
        else:
            paper = replace(paper, problems=(*paper.problems, f"{path}: another document, left out (supplements)"))
    return paper


def _document(files: Mapping[str, bytes], main: str, options: TexOptions) -> Paper:
    """The text of one document of a project."""
    flattener = Flattener(files, encoding=declared(files[main]))
    text = flattener.read(main)
    flat = flattener.flat
    preamble, inner = body.split_document(text)
    if options.bibliography:
        inner = _with_bbl(inner, flattener, main)
    choice = _choice(options)
    expander = Expander(
        len(text), commands=body.dropped_commands(choice), environments=body.dropped_environments(choice)
    )
    expander.prepare(flat.defined)
    for style in flat.styles:
        expander.collect(style, trusted=False)
    expander.collect(preamble)
    title = expander.expand(body.find_title(preamble) or body.find_title(inner))
    abstract = expander.expand(body.find_abstract(preamble))
    inner = expander.expand(inner)
    if not options.appendix:
        inner = body.without_appendix(inner)
    definitions = expander.kept_definitions(f"{title}\n{abstract}\n{inner}") if options.definitions else []
    parts = [
        "\n".join(definitions),
        f"\\title{{{title}}}" if title and options.title else "",
        f"\\begin{{abstract}}\n{abstract}\n\\end{{abstract}}" if abstract else "",
        inner,
    ]
    if flat.asks:
        parts[1:] = map(settle, parts[1:])
    whole = flat.held.restore(body.tidy("\n\n".join(filter(None, parts)).replace(DECIDED, "\\")))
    return Paper(
        text=whole,
        title=flat.held.restore(settle(title.replace(DECIDED, "\\"))),
        main=main,
        files=tuple(dict.fromkeys(flat.used)),
        encoding=flat.encodings[main],
        macros={"defined": expander.defined, "written_out": expander.written_out, "kept": len(definitions)},
        removed=dict(expander.removed),
        problems=_problems(flat),
    )


def find_main(files: Mapping[str, bytes]) -> str | None:
    """The path of the file that LaTeX would be run on; None when no file is TeX.

    The project's own word first (00README, as arXiv reads it); then a file with a document class and a document, the
    favourite names before others, high in the tree before deep, long before short; then any TeX.
    """
    named = _readme(files)
    if named:
        return named
    texs = [path for path in files if path.lower().endswith(_TEX)] or [
        path for path in files if "." not in posixpath.basename(path) and b"\\" in files[path]
    ]
    if len(texs) < 2:
        return texs[0] if texs else None

    def rank(path: str) -> tuple[bool, bool, bool, int, int, str]:
        data = files[path]
        stem = posixpath.splitext(posixpath.basename(path))[0].lower()
        begins = _has(data, _BEGIN)
        whole = begins and (_has(data[:100_000], _CLASS) or b"\\input" in data[:10_000])  # the class may be in a file
        part = b"{subfiles}" in data[:2_000] or b"{standalone}" in data[:2_000]
        return (not whole or part, not begins, stem not in _FAVOURITES, path.count("/"), -len(data), path)

    return min(texs, key=rank)


def _has(data: bytes, pattern: re.Pattern[bytes]) -> bool:
    """Whether the pattern occurs outside of comments."""
    for found in pattern.finditer(data):
        if b"%" not in data[max(data.rfind(b"\n", 0, found.start()), found.start() - 1_000) : found.start()]:
            return True
    return False


def _other_documents(files: Mapping[str, bytes], paper: Paper) -> list[str]:
    """Complete documents beside the main one that it does not include: supplements, as a rule."""
    rest = [path for path in sorted(files) if path.lower().endswith(_TEX) and path not in paper.files]
    return [path for path in rest if _has(files[path][:100_000], _CLASS) and _has(files[path], _BEGIN)]


def _readme(files: Mapping[str, bytes]) -> str | None:
    for path, data in files.items():
        base = posixpath.basename(path)
        if base == "00README.json":
            try:
                sources = json.loads(data).get("sources", [])
                names = [s["filename"] for s in sources if s.get("usage") == "toplevel"]
            except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
                continue
        elif base in _READMES:
            lines = [line.split() for line in data.decode("utf-8", "replace").splitlines()]
            names = [line[0] for line in lines if len(line) > 1 and line[1] == "toplevelfile"]
        else:
            continue
        for name in names:
            if isinstance(name, str) and name in files and name.lower().endswith(_TEX):
                return name
    return None


def _choice(options: TexOptions) -> body.Choice:
    return body.Choice(
        bibliography=options.bibliography, pictures=options.pictures, layout=options.layout, people=options.people
    )


def _with_bbl(inner: str, flattener: Flattener, main: str) -> str:
    """The compiled list of references in place of the command that asks for it."""
    path = f"{posixpath.splitext(main)[0]}.bbl"
    found = re.search(r"\\(?:bibliography\s*\{[^{}]*\}|printbibliography\b(?:\[[^\]]*\])?)", inner)
    if found is None or path not in flattener.files:
        return inner
    return inner[: found.start()] + flattener.read(path) + inner[found.end() :]


def _problems(flat: Flat) -> tuple[str, ...]:
    return (*(f"{name}: not among the files" for name in dict.fromkeys(flat.missing)), *dict.fromkeys(flat.refused))


def _as_redpajama(files: Mapping[str, bytes]) -> Paper | Refusal:
    texs = [path for path in files if path.endswith(".tex")]
    try:
        text = redpajama.clean_files([files[path].decode("utf-8") for path in texs])
    except UnicodeDecodeError as error:
        return Refusal(reason=f"a file is not UTF-8: {error.reason}")
    except redpajama.Lost as error:
        return Refusal(reason=str(error))
    return Paper(text=text, files=tuple(texs), encoding="utf-8")

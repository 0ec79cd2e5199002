"""LaTeX papers to text: megabytes a second of processor time on one core, against RedPajama's cleaner; what is left.

The papers are the documents of a folder of LaTeX (each ``.tex`` with ``\\begin{document}``, with the files it
includes). Both cleaners get the same files of a paper, ours as bytes, RedPajama's as the text it wants, and take turns.
``macros`` adds that many definitions to each paper: RedPajama reads the text once for each. Then: macros that the
sources define and the text still uses without a definition, by patterns that share nothing with ours; and whether
``profile=redpajama`` gives what RedPajama gives, character by character.

    git clone https://github.com/stacks/stacks-project ../stacks-project
    git clone -b rp_v1 https://github.com/togethercomputer/RedPajama-Data ../redpajama
    LLEMMA_TEX=../stacks-project LLEMMA_REDPAJAMA=../redpajama/data_prep/arxiv/arxiv_cleaner.py python bench/tex.py

Without LLEMMA_REDPAJAMA only ours runs; without LLEMMA_TEX there is nothing to read.
"""

from __future__ import annotations

import importlib.util
import os
import re
import statistics
import string
import sys
import time
import types
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from train_cpu import place

from llemma.config import resolve, setting
from llemma.errors import ConfigError
from llemma.extract.tex import Paper, TexOptions, clean_paper
from llemma.extract.tex.project import Limits, Project, read_folder

Files = Mapping[str, bytes]
Peer = Callable[[Sequence[str]], str | None]
COMPAT = TexOptions(profile="redpajama")
DEFINED = re.compile(
    r"\\(?:newcommand|renewcommand|providecommand|DeclareRobustCommand|DeclareMathOperator|[gex]?def|let)\*?\s*\{?\s*"
    r"\\([A-Za-z]+)"
)
COMMENT = re.compile(r"(?<!\\)%.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How long to measure, and what."""

    rounds: int = setting(3, "turns of each cleaner")
    macros: tuple[int, ...] = setting((0, 70), "definitions that are added to every paper")
    limit: int = setting(0, "papers that are read (0: all)")


def papers(folder: Path, limit: int) -> list[Files]:
    """The files of each document in the folder: its own first, then those it includes."""
    project = read_folder(folder, Limits(text_bytes=1 << 30, members=100_000))
    if not isinstance(project, Project):
        raise ConfigError(f"{folder}: {project.reason}")
    found = []
    for path, data in sorted(project.files.items()):
        if path.endswith(".tex") and b"\\begin{document}" in data:
            used = clean_paper({"00README": f"{path} toplevelfile".encode(), **project.files})
            assert isinstance(used, Paper)
            found.append({name: project.files[name] for name in (path, *used.files)})
        if limit and len(found) == limit:
            break
    return found


def with_macros(files: Files, count: int) -> Files:
    """The files, with ``count`` definitions of macros that are not used in front of the first."""
    names = [first + second for first in string.ascii_letters for second in string.ascii_letters][:count]
    lines = "".join(f"\\newcommand{{\\q{name}z}}{{\\mathcal{{{name[1]}}}}}\n" for name in names).encode()
    first = next(iter(files))
    return {**files, first: lines + files[first]}


def peer() -> Peer | None:
    """RedPajama's ``clean_tex_files``, without the language model that it loads."""
    path = os.environ.get("LLEMMA_REDPAJAMA")
    if not path:
        return None
    fasttext, utils = types.ModuleType("fasttext"), types.ModuleType("utils")
    fasttext.FastText = types.SimpleNamespace(eprint=None)  # type: ignore[attr-defined]
    for name in ("predict_lang", "get_timestamp", "format_arxiv_id"):
        setattr(utils, name, None)
    sys.modules |= {"fasttext": fasttext, "utils": utils}
    spec = importlib.util.spec_from_file_location("arxiv_cleaner", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def clean(texts: Sequence[str]) -> str | None:
        try:
            return str(module.clean_tex_files(texts))
        except re.error:  # its caller drops the paper
            return None

    return clean


def timed(work: Callable[[Files], object], these: Sequence[Files]) -> float:
    """Processor seconds for all papers."""
    begun = time.process_time()
    for files in these:
        work(files)
    return time.process_time() - begun


def speed(these: Sequence[Files], theirs: Peer | None, rounds: int) -> str:
    """A row of the table: rates, and the ratio of turns side by side."""
    size = sum(len(data) for files in these for data in files.values())
    decoded = {id(files): [data.decode("utf-8", "replace") for data in files.values()] for files in these}
    ours, other = [], []
    for _ in range(rounds):
        ours.append(timed(clean_paper, these))
        if theirs is not None:
            other.append(timed(lambda files: theirs(decoded[id(files)]), these))
    rate = f"{size / statistics.median(ours) / 1e6:.1f}"
    if not other:
        return f"{rate} | not set up | "
    ratio = statistics.median(b / a for a, b in zip(ours, other, strict=True))
    return f"{rate} | {size / statistics.median(other) / 1e6:.1f} | {ratio:.2f}"


def undefined(files: Files, text: str) -> Counter[str]:
    """Macros that the sources define and the text uses without defining them."""
    sources = "\n".join(COMMENT.sub("", data.decode("utf-8", "replace")) for data in files.values())
    names = set(DEFINED.findall(sources)) - set(DEFINED.findall(text))
    return Counter(name for name in re.findall(r"\\([A-Za-z]+)", text) if name in names)


def main(words: Sequence[str]) -> None:
    settings = resolve(Settings, words=words)
    folder = os.environ.get("LLEMMA_TEX")
    if not folder:
        raise SystemExit("LLEMMA_TEX is not set: a folder of LaTeX to read (see the top of bench/tex.py)")
    these = papers(Path(folder), settings.limit)
    theirs = peer()
    print(f"{place()}\n{len(these)} papers, {sum(len(d) for f in these for d in f.values()) / 1e6:.1f} MB\n")
    print("| macros added | llemma MB/s | RedPajama MB/s | ratio |\n|---|---|---|---|")
    for count in settings.macros:
        changed = [with_macros(files, count) for files in these]
        print(f"| {count} | {speed(changed, theirs, settings.rounds)} |", flush=True)
    left: Counter[str] = Counter()
    written = kept = 0
    for files in these:
        cleaned = clean_paper(files)
        assert isinstance(cleaned, Paper)
        left += undefined(files, cleaned.text)
        written, kept = written + cleaned.macros["written_out"], kept + cleaned.macros["kept"]
    print(f"\nuses of macros written out: {written:,}; definitions kept in front of texts: {kept}")
    print(f"uses of undefined macros left: {left.total()} {dict(left.most_common(10)) or ''}")
    if theirs is not None:
        same = 0
        for files in these:
            compat = clean_paper(files, COMPAT)
            theirs_text = theirs([d.decode() for d in files.values()])
            same += (compat.text if isinstance(compat, Paper) else None) == theirs_text
        print(f"profile=redpajama gives RedPajama's text: {same} of {len(these)}")


if __name__ == "__main__":
    main(sys.argv[1:])

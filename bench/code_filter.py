"""Code rules: megabytes a second on one core and verdicts, against the functions of AlgebraicStack's own scripts.

Both judge the same files in one process, in turns; processor time is measured, the best turn counts. Profile
``llemma`` must give the verdict of the original on every file, and cut out the same theorems: the script ends with an
error where it does not.

    git clone https://github.com/EleutherAI/math-lm ../math-lm
    pip install langid                    (optional: the original's own identifier of languages)
    LLEMMA_MATH_LM=../math-lm python bench/code_filter.py [folders=/usr/include,...] [repositories=...]

Without ``folders`` and ``repositories``: the standard library, the packages installed beside llemma, the header files
of the system. The original's functions run as they stand in the checkout; nothing of it is kept here.
"""

from __future__ import annotations

import datetime
import importlib.util
import os
import platform
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from _math_lm import Original

import llemma
from llemma.config import resolve, setting
from llemma.corpus import code_filter, code_theorems
from llemma.corpus.code_theorems import HeldOut, ListedTheorem
from llemma.corpus.language import identify
from llemma.records import Document
from llemma.sources import code


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Which files, and how often."""

    folders: tuple[Path, ...] = setting((), "folders of source files")
    repositories: tuple[str, ...] = setting((), "git repositories, bare ones too")
    languages: tuple[str, ...] = setting((), "only these (default: all)")
    max_bytes: int = setting(40_000_000, "bytes of each language")
    rounds: int = setting(3, "turns")
    shown: int = setting(5, "files shown of each kind of difference")


class Py3langid:
    """The identifier that comes with llemma, behind the interface of the original's."""

    def classify(self, text: str) -> tuple[str, float]:
        """Language and probability."""
        return identify(text, whole=True)


def files(s: Settings, language: str) -> list[Document]:
    """The files of a language, at most ``max_bytes``, in the order of the source."""
    given = bool(s.folders or s.repositories)
    packages = () if given else (code.STDLIB, *(p for p in code.MATHEMATICAL if importlib.util.find_spec(p)))
    headers = Path("/usr/include")
    folders = s.folders if given else ((headers,) if headers.is_dir() else ())
    extensions = code_filter.rule(language).extensions
    options = code.Options(
        packages=packages,
        folders=folders,
        repositories=s.repositories,
        extensions=extensions,
        max_bytes=s.max_bytes,
        max_file_bytes=16_000_000,
    )
    found = [d for d in code.documents(options) if code_filter.language_of(d.id) == language]
    return list({document.text: document for document in found}.values())


def best(work: Callable[[], Any], rounds: int) -> float:
    """Processor seconds of the best turn."""
    seconds = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def where(document: Document) -> tuple[str, str]:
    """Path and repository as the original has them."""
    path = str(document.meta.get("path") or document.id)
    return path, str(document.meta.get("repository", "")).rpartition("/")[2]


def judged(s: Settings, original: Original, language: str, documents: Sequence[Document]) -> dict[str, float]:
    """Verdicts of both on every file, and their times; differences are shown."""
    rule, fixed = code_filter.rule(language), code_filter.rule(language, "fixed")
    theirs = [original.keeps(language, d.text, *where(d)) for d in documents]
    ours = [code_filter.apply(rule, d).reason for d in documents]
    mended = [code_filter.apply(fixed, d).reason for d in documents]
    if language == "jupyter":  # the original's function asks for marks alone, the conversion is another
        ours = [reason if reason and not reason.startswith("no notebook") else None for reason in ours]
    changed: Counter[str] = Counter()
    differences = 0
    for document, their, our, mend in zip(documents, theirs, ours, mended, strict=True):
        if bool(their) != (our is None):
            differences += 1
            if differences <= s.shown:
                print(f"  {language}: {document.id}: original {their}, llemma {our or 'kept'}", file=sys.stderr)
        if (our is None) != (mend is None):
            changed[f"fixed keeps what llemma refuses ({our})" if our else f"fixed refuses ({mend})"] += 1
    size = sum(len(d.text.encode()) for d in documents)
    seconds = {
        "original": best(lambda: [original.keeps(language, d.text, *where(d)) for d in documents], s.rounds),
        "llemma": best(lambda: [code_filter.apply(rule, d) for d in documents], s.rounds),
        "fixed": best(lambda: [code_filter.apply(fixed, d) for d in documents], s.rounds),
    }
    kept = sum(map(bool, theirs))
    speeds = " | ".join(f"{size / 1e6 / max(one, 1e-9):,.0f}" for one in seconds.values())
    notes = "; ".join(f"{n} × {what}" for what, n in changed.most_common(3))
    print(
        f"| {language} | {len(documents):,} | {size / 1e6:,.1f} | {kept:,} | {differences} | {speeds} "
        f"| {seconds['original'] / max(seconds['llemma'], 1e-9):.1f} | {notes} |",
        flush=True,
    )
    return {"bytes": size, "files": len(documents), "differences": differences, **seconds}


def theorems_cut(original: Original, language: str, documents: Sequence[Document]) -> tuple[int, int, int]:
    """Files, files that lose theorems, files in which both cut differently; the list is every 7th theorem."""
    rule = code_filter.rule(language)
    head = r"^(?:theorem|lemma) ([\w.']+)" if language == "lean" else r"^((?:theorem|lemma) [\w.']+):"
    found = [(where(d)[0], name) for d in documents for name in re.findall(head, d.text, re.MULTILINE)][::7]
    if language == "lean":
        listed = {path: f"Space.{name}" for path, name in found}
        tests = tuple(ListedTheorem(name=name, file=path) for path, name in listed.items())
    else:
        listed = {f"{name}:": "" for _, name in found}
        tests = tuple(ListedTheorem(statement=f"{name}: x") for name in sorted({name for _, name in found}))
    held = HeldOut(theorems=tests)
    lose = differ = 0
    for document in documents:
        path = where(document)[0]
        theirs = original.without_theorems(language, document.text, path, listed)
        ours, _ = code_theorems.cut(document.text, path, held, rule.theorems)
        lose += theirs != document.text
        differ += theirs != ours
    return len(documents), lose, differ


def density(s: Settings, original: Original, documents: Sequence[Document]) -> None:
    """The share of digits alone."""
    size = sum(len(d.text.encode()) for d in documents)
    texts = [d.text for d in documents if d.text.strip()]
    theirs = best(lambda: [original.density({"content": text}) for text in texts], s.rounds)
    ours = best(lambda: [code_filter.digit_share(text) for text in texts], s.rounds)
    assert all(code_filter.digit_share(text) == original.density({"content": text}) for text in texts)
    print(
        f"\nshare of digits alone, {size / 1e6:,.1f} MB: original {size / 1e6 / theirs:,.0f} MB/s, "
        f"llemma {size / 1e6 / ours:,.0f} MB/s ({theirs / ours:.1f}x), equal to the last bit on {len(texts):,} files"
    )


def main() -> None:
    """Print the table; end with an error where a verdict differs."""
    s = resolve(Settings, words=sys.argv[1:])
    checkout = os.environ.get("LLEMMA_MATH_LM")
    if not checkout:
        sys.exit("set LLEMMA_MATH_LM to a checkout of https://github.com/EleutherAI/math-lm")
    cpu = (
        re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
        if Path("/proc/cpuinfo").exists()
        else None
    )
    print(
        f"{datetime.date.today()}; {cpu[1] if cpu else platform.processor()}, one core; Python "
        f"{platform.python_version()}, numpy {numpy.__version__}, llemma {llemma.__version__}\n"
    )
    original = Original(Path(checkout), Py3langid())
    columns = ["language", "files", "MB", "kept", "verdicts that differ", "original MB/s", "llemma MB/s", "fixed MB/s"]
    print(f"| {' | '.join([*columns, 'times', 'fixed against llemma'])} |\n{'| --- ' * (len(columns) + 2)}|")
    totals: Counter[str] = Counter()
    everything: list[Document] = []
    cuts = []
    for language in s.languages or code_filter.languages():
        documents = files(s, language)
        if not documents:
            continue
        found = judged(s, original, language, documents)
        totals["files"] += int(found["files"])
        totals["differences"] += int(found["differences"])
        if language not in ("tex", "jupyter"):  # what they take is identifying the language, and conversion
            everything += documents
            for key in ("bytes", "original", "llemma", "fixed"):
                totals[key] += found[key]  # type: ignore[assignment]
        if language in ("lean", "isabelle"):
            cuts.append((language, *theorems_cut(original, language, documents)))
    if everything:
        density(s, original, everything)
        mb = totals["bytes"] / 1e6
        speeds = {key: mb / totals[key] for key in ("original", "llemma", "fixed")}
        print(
            f"all rules but TeX and Jupyter, {mb:,.1f} MB: original {speeds['original']:,.0f} MB/s, "
            f"llemma {speeds['llemma']:,.0f} MB/s ({speeds['llemma'] / speeds['original']:.1f}x), "
            f"fixed {speeds['fixed']:,.0f} MB/s"
        )
    for language, count, lose, differ in cuts:
        print(f"test theorems, {language}: {count:,} files, {lose:,} lose some, {differ} differ from the original's")
        totals["differences"] += differ
    print(f"{totals['files']:,} files judged by both, {totals['differences']} verdicts differ")
    if totals["differences"]:
        sys.exit("profile llemma must judge as the original")


if __name__ == "__main__":
    main()

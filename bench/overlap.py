"""The search for benchmark items against check_overlap.py of wellecks/overlap, and what either sees.

Documents: the Python files of the installed packages, cut to at most 8,000 characters (about the mean of OpenWebMath's
pages), or ``corpus=FOLDER,...`` with .tex, .txt, .md, .rst and .py files. Into every fifth of the first ``few`` a
problem of MATH is planted. The original ``get_hits`` and the same with one dictionary from n-gram to items judge the
``few``, we judge these and all of them; the hits of the three must be equal. Speed is megabytes of UTF-8 per
second of processor time, one thread, the best of ``turns``; what is measured begins with a ``str`` and ends with hits.
The verb is measured from JSON lines on the disk.

    git clone https://github.com/wellecks/overlap && python -m venv peer && peer/bin/pip install nltk datasets tqdm
    LLEMMA_DATA=FOLDER LLEMMA_OVERLAP=overlap/check_overlap.py python bench/overlap.py original=peer/bin/python

Without ``original`` the original is left out. With ``outputs`` the hits that the paper's authors stored are compared
one by one with those that profile ``paper`` finds in the documents stored beside them. Two more tables need LLEMMA_DATA
alone: which problems of MATH can be seen at all, each planted into a page as it stands, rewritten and quoted; and
alarms in texts that hold none: GSM8K's training problems, the pages of $LLEMMA_DATA/html, the installed Python files,
and ``clean=FOLDER,...``.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import random
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llemma.config import resolve, setting
from llemma.corpus.overlap import OverlapConfig, build_index, flattened, paper_hits
from llemma.corpus.overlap_items import task_items
from llemma.corpus.overlap_scan import scan
from llemma.corpus.overlap_settings import ScanConfig
from llemma.fetch import data_folder
from llemma.run import cores, read_jsonl
from llemma.sources import html

# Runs in the other interpreter: the real functions, over the same items and documents.
ORIGINAL = """
import importlib.util, json, sys, time
spec = importlib.util.spec_from_file_location("check_overlap", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.tqdm = lambda it, **keys: it
given = json.load(open(sys.argv[2]))
examples = {i: {"id": i, "input": text} for i, text in enumerate(given["items"])}
index = module.make_test_index(examples, "input")
out = {}
for n in given["n"]:
    start = time.process_time()
    found = [module.get_hits({"text": text}, index, "text", n)["hits"] for text in given["documents"]]
    out[n] = {"seconds": time.process_time() - start,
              "hits": [[[h["test_id"], h["ngram"]] for h in hits if h["test_id"] != -123] for hits in found]}
json.dump(out, open(sys.argv[3], "w"))
"""
INSTALLED = Path(sysconfig.get_paths()["purelib"])
TEXTS = (".tex", ".txt", ".md", ".rst", ".py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured."""

    outputs: Path | None = setting(None, "folder output/llemma of wellecks/overlap, branch llemma: the paper's hits")
    original: str = setting("", "Python with nltk, datasets and tqdm, which runs the script LLEMMA_OVERLAP names")
    corpus: tuple[Path, ...] = setting((), "folders of documents; none: Python files of the installed packages")
    clean: tuple[Path, ...] = setting((), "folders of texts without problems, for the count of alarms")
    few: int = setting(150, "documents that the original judges")
    mb: int = setting(60, "megabytes of documents in all")
    turns: int = setting(3, "measurements, of which the best counts")


def documents(folders: Sequence[Path], limit: int, cut: int = 8_000) -> Iterator[str]:
    """Texts of the folders, about ``limit`` bytes."""
    size = 0
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix in TEXTS and path.is_file() and path.stat().st_size > 2_000:
                text = path.read_text(encoding="utf-8", errors="replace")[:cut]
                size += len(text.encode())
                yield text
                if size > limit:
                    return


def by_dictionary(items: Sequence[str], texts: Sequence[str], n: int) -> list[set[tuple[int, str]]]:
    """The original's hits with one dictionary from n-gram to items, as anyone would write it."""
    index: dict[str, list[int]] = {}
    for number, text in enumerate(items):
        words = text.split()
        for gram in {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)}:
            index.setdefault(gram, []).append(number)
    found = []
    for text in texts:
        words = text.split()
        grams = {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)}
        found.append({(number, gram) for gram in grams & index.keys() for number in index[gram]})
    return found


def seconds(work: Callable[[], Any], turns: int) -> tuple[float, Any]:
    """The least processor time of some calls, and what the last one gave."""
    best, found = float("inf"), None
    for _ in range(turns):
        start = time.process_time()
        found = work()
        best = min(best, time.process_time() - start)
    return best, found


def run_original(python: str, items: list[str], texts: list[str], ns: list[int]) -> dict[str, Any]:
    """Seconds and hits of the original by n."""
    script = os.environ.get("LLEMMA_OVERLAP", "")
    if not script:
        raise SystemExit("LLEMMA_OVERLAP must name check_overlap.py of wellecks/overlap")
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder, "given.json"), Path(folder, "out.json")
        given.write_text(json.dumps({"items": items, "documents": texts, "n": ns}))
        subprocess.run([python, "-c", ORIGINAL, script, str(given), str(out)], check=True)
        found: dict[str, Any] = json.loads(out.read_text())
        return found


def speed(s: Settings) -> None:
    """The table of speeds; equal hits are asserted."""
    items = task_items(["math"], ["problem"])
    texts = [item.text for item in items]
    folders = s.corpus or (INSTALLED,)
    every = list(documents(folders, s.mb * 1_000_000))
    rng = random.Random(0)
    for i in range(0, min(s.few, len(every)), 5):
        half = len(every[i]) // 2
        every[i] = f"{every[i][:half]}\n\n{rng.choice(texts)}\n\n{every[i][half:]}"
    few = every[: s.few]
    size = {len(chosen): sum(len(text.encode()) for text in chosen) / 1e6 for chosen in (few, every)}
    print(f"\n{len(items):,} problems of MATH; {len(every):,} documents, {size[len(every)]:.1f} MB\n")
    print("| method | documents | MB | CPU s | MB/s | documents/s |\n| --- | ---: | ---: | ---: | ---: | ---: |")

    def line(name: str, count: int, took: float) -> None:
        print(
            f"| {name} | {count:,} | {size[count]:.2f} | {took:.3f} | {size[count] / took:.2f} | {count / took:,.0f} |"
        )

    ours = {}
    for n in (30, 20):
        index = build_index(items, OverlapConfig(n=(n,), profile="paper"))
        ours[n] = [{(hit.item, hit.ngram) for hit in paper_hits(index, text, n)} for text in few]
    if s.original:
        for n, found in run_original(s.original, texts, few, [30, 20]).items():
            line(f"check_overlap.get_hits, n={n}", len(few), found["seconds"])
            theirs = [{(number, gram) for number, gram in hits} for hits in found["hits"]]
            assert theirs == ours[int(n)], "the hits differ"
            print(f"<!-- n={n}: {sum(map(len, theirs))} hits in {sum(map(bool, theirs))} documents, ours equal -->")
    for n in (30, 20):
        took, found = seconds(lambda n=n: by_dictionary(texts, few, n), 1)  # type: ignore[misc]
        assert found == ours[n], "the hits differ"
        line(f"one dictionary, n={n} (index included)", len(few), took)
    forms = {
        "ours, profile paper, n=30": OverlapConfig(n=(30,), profile="paper"),
        "ours, profile paper, n=20 and 30 at once": OverlapConfig(n=(20, 30), profile="paper"),
        "ours, normal view, n=30 and 20, short items": OverlapConfig(views=("normal",)),
        "ours, strict: both views, n=30 and 20, short items": OverlapConfig(),
    }
    for name, config in forms.items():
        index = build_index(items, config)
        index.scan_all(few[:2])
        for chosen in (few, every):
            took, _ = seconds(lambda index=index, chosen=chosen: index.scan_all(chosen), s.turns)  # type: ignore[misc]
            line(name, len(chosen), took)
    took, _ = seconds(lambda: build_index(items, OverlapConfig()), s.turns)
    print(f"\nindex of {len(items):,} items, strict: built in {took:.3f} s")
    verb(every)


def verb(texts: Sequence[str]) -> None:
    """``llemma overlap`` from JSON lines on the disk to the finished run folder, one process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "corpus.jsonl")
        with path.open("w") as file:
            file.writelines(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts))
        for profile in ("paper", "strict"):
            config = ScanConfig(
                benchmark=("math",), corpus=(path,), run=Path(folder, profile), workers=1, profile=profile,
                fields=("problem",),
            )  # fmt: skip
            start, wall = time.process_time(), time.perf_counter()
            found = scan(config)
            took = time.process_time() - start
            print(
                f"the verb, profile={profile}: {found['bytes'] / 1e6 / took:.0f} MB/s of processor time, index and "
                f"files of the result included ({time.perf_counter() - wall:.1f} s); reading, JSON and search alone "
                f"{found['MB/s per core']} MB/s"
            )


DOLLAR = re.compile(r"(?<!\\)\$+")
PAGE = "Exercises of many kinds are collected on this page.\n\n{}\n\nSend corrections to the editors of the page."


def rewritten(text: str) -> str:
    r"""A copy as another page has it: other delimiters, other commands, lines broken."""
    pieces = DOLLAR.split(text)
    text = "".join(p + ("" if i == len(pieces) - 1 else r"\(" if i % 2 == 0 else r"\)") for i, p in enumerate(pieces))
    for old, new in (("\\frac", "\\dfrac"), ("\\le", "\\leq"), ("\\left", ""), ("\\right", "")):
        text = text.replace(old, new) if old != "\\le" else text.replace("\\le ", new + " ")
    return "".join(word + ("\n" if i % 9 == 8 else " ") for i, word in enumerate(text.split()))


def quoted(text: str) -> str:
    """A copy as a forum quotes it: upper case outside formulas, a mark before each line."""
    loud = " ".join(
        part.upper() if i % 2 == 0 and "\\" not in part else part for i, part in enumerate(DOLLAR.split(text))
    )
    return "> " + "\n> ".join(loud.splitlines())


def seen() -> None:
    """Which problems of MATH are found when the whole problem stands on a page."""
    items = task_items(["math"], ["problem"])
    lengths = [len(item.text.split()) for item in items]
    groups = {"all": (0, 10**6), "30 words or more": (30, 10**6), "20 to 29": (20, 30), "10 to 19": (10, 20)}
    groups["fewer than 10"] = (0, 10)
    forms: dict[str, Callable[[str], str]] = {"as it stands": str, "rewritten": rewritten, "quoted": quoted}
    indexes = {
        "paper, n=30": build_index(items, OverlapConfig(n=(30,), profile="paper")),
        "paper, n=20": build_index(items, OverlapConfig(n=(20,), profile="paper")),
        "strict": build_index(items, OverlapConfig()),
    }
    print("\n| problems of MATH | " + " | ".join(f"{name}: {form}" for form in forms for name in indexes) + " |")
    print("| --- |" + " ---: |" * (len(forms) * len(indexes)))
    found: dict[tuple[str, str], list[bool]] = {}
    for form, change in forms.items():
        pages = [PAGE.format(change(item.text)) for item in items]
        for name, index in indexes.items():
            hits = index.scan_all(pages)
            found[form, name] = [
                any(hit.problem == item.problem for hit in mine) for item, mine in zip(items, hits, strict=True)
            ]
    for group, (low, high) in groups.items():
        mine = [i for i, length in enumerate(lengths) if low <= length < high]
        cells = [f"{sum(found[form, name][i] for i in mine):,}" for form in forms for name in indexes]
        print(f"| {group}: {len(mine):,} | " + " | ".join(cells) + " |")
    missed = [items[i].text for i, hit in enumerate(found["as it stands", "strict"]) if not hit]
    print(f"\nnot seen by strict as they stand: {missed}")


def alarms(s: Settings) -> None:
    """Hits in texts that hold no problem of these tasks."""
    folder = data_folder()
    assert folder is not None
    tasks = ["math", "gsm8k", "mmlu_stem", "ocw", "sat", "minif2f"]
    texts = {
        "GSM8K training problems with solutions": [
            f"{row['question']}\n{row['answer']}" for row in read_jsonl(folder / "gsm8k_train.jsonl")
        ],
        "pages of documentation": [d.text for d in html.documents(html.Options(paths=(folder / "html",)))],
        "Python files": list(documents([INSTALLED], s.mb * 1_000_000)),
        **{path.name: list(documents([path], 10**9, cut=10**9)) for path in s.clean},
    }
    print("\n| texts | documents | MB | documents hit | items hit, by task, field and kind |")
    print("| --- | ---: | ---: | ---: | --- |")
    index = build_index(task_items(tasks, ["problem", "solution"]), OverlapConfig())
    for name, chosen in texts.items():
        hits = index.scan_all(chosen)
        kinds = Counter(
            (task, field, kind)
            for task, field, kind, _ in {(h.task, h.field, h.kind, h.problem) for mine in hits for h in mine}
        )
        said = ", ".join(f"{n} {' '.join(kind)}" for kind, n in sorted(kinds.items())) or "none"
        size = sum(len(text.encode("utf-8", "replace")) for text in chosen) / 1e6
        print(f"| {name} | {len(chosen):,} | {size:.1f} | {sum(map(bool, hits))} | {said} |")
    own = [f"{item.text}" for item in task_items(["math"], ["problem"])]
    index = build_index(task_items(["mmlu_stem"], ["problem"]), OverlapConfig())
    hits = index.scan_all(own)
    shared = {hit.problem for mine in hits for hit in mine}
    print(f"\nquestions of MMLU-STEM that are problems of MATH's test set: {len(shared)}")


OUTPUTS = {
    "mathstack_MATH_input_hits_30.json": ("math", "problem"),
    "mathstack_MATH_output_hits_30.json": ("math", "solution"),
    "open-web-math_open-web-math-v1.2_MATH_output_hits_30.json": ("math", "solution"),
    "open-web-math_open-web-math-v1.2_gsm8k_input_hits_30.json": ("gsm8k", "problem"),
}


def published(folder: Path) -> None:
    """The hits that the paper's authors stored against ours in the same documents; they must be equal."""
    print("\n| stored by the authors | documents | hits | items | kept by flatten | strict, same documents: items |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, (task, field) in OUTPUTS.items():
        items = task_items([task], [field])  # type: ignore[list-item]
        index = build_index(items, OverlapConfig(n=(30,), profile="paper"))
        strict = build_index(items, OverlapConfig(n=(30,)))
        rows = list(read_jsonl(folder / name))
        hits, ours, kept, more = 0, set(), set(), set()
        for row in rows:
            theirs = sorted(hit["ngram"] for hit in row["hits"] if hit["test_id"] != -123)
            mine = paper_hits(index, row["text"], 30)
            assert sorted(hit.ngram for hit in mine) == theirs, f"the hits differ in a document of {name}"
            last = flattened(index.scan(row["text"]), index.items)
            assert last is not None
            text = next(item.text for item in items if item.problem == last.problem)
            assert text.split() == row["input" if field == "problem" else "output"].split(), (
                "flatten keeps another item"
            )
            hits += len(theirs)
            ours |= {hit.item for hit in mine}
            kept.add(last.problem)
            more |= {hit.problem for hit in strict.scan(row["text"])}
        print(f"| {name} | {len(rows)} | {hits:,} | {len(ours)} | {len(kept)} | {len(more)} |")


def main() -> None:
    """Everything that the data here allow."""
    s = resolve(Settings, words=sys.argv[1:])
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("numba", "numpy"))
    print(f"{datetime.date.today()}, Python {sys.version.split()[0]}, {versions}, {cores()} cores")
    if data_folder() is None:
        raise SystemExit("needs the problems of MATH: set LLEMMA_DATA")
    speed(s)
    if s.outputs is not None:
        published(s.outputs)
    seen()
    alarms(s)


if __name__ == "__main__":
    main()

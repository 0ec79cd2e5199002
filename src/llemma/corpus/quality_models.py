"""Trains the models that judge quality, from labels that documents carry themselves: ``llemma quality``.

A document with mathematical markup is an example of mathematics; one without is an example of the contrary, unless its
source says that texts without markup may be mathematics all the same (``unmarked = "leave"``). The defaults read what
lies on every machine with this package: docstrings, help topics and licences of installed Python packages. They give a
small model; texts of the kind that is to be judged give a better one.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from llemma.config import setting, to_table
from llemma.corpus.mathscore import Example, MathScoreOptions, save_mathscore, train_mathscore
from llemma.corpus.page import marks, words_only
from llemma.corpus.perplexity import PerplexityOptions, save_perplexity, train_perplexity
from llemma.corpus.prepare import source_module, source_options
from llemma.records import Document, Event, Progress, silent
from llemma.run import open_run, read_json, sha256_file
from llemma.sources import code

MARKED, OTHER, LEFT_OUT = "mathematical", "other", "unmarked, left out"  # kinds of documents, as they are counted
MATHEMATICAL = ("scipy", "sympy", "mpmath")  # their docstrings use markup for some formulas only


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleSource:
    """A source of training documents."""

    kind: str = setting("", "plug-in that yields the documents (default: the entry's own name)")
    unmarked: Literal["other", "leave"] = setting("other", "documents without markup: no mathematics, or not used")
    min_chars: int = setting(150, "leave out documents with less prose")
    options: Mapping[str, Any] = setting(factory=dict, help="settings of the plug-in")


def default_sources() -> dict[str, ExampleSource]:
    """Docstrings, help topics, descriptions and licences of the packages that are installed."""
    there = [name for name in MATHEMATICAL if importlib.util.find_spec(name)]
    general = [code.STDLIB, *(name for name in ("numpy", "networkx") if importlib.util.find_spec(name))]
    return {
        "mathematical": ExampleSource(
            kind="prose", unmarked="leave", options={"packages": there, "max_bytes": 5_000_000, "descriptions": False}
        ),
        "general": ExampleSource(kind="prose", options={"packages": general, "max_bytes": 5_000_000, "licences": True}),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityConfig:
    """Settings of ``llemma quality``: what the models are trained on, and how."""

    sources: Mapping[str, ExampleSource] = setting(
        factory=dict, help="one table per source of examples (none: texts of installed packages)"
    )
    models: tuple[Literal["mathscore", "perplexity"], ...] = setting(("mathscore", "perplexity"), "what to train")
    mathscore: MathScoreOptions = setting(factory=MathScoreOptions, help="the classifier")
    perplexity: PerplexityOptions = setting(factory=PerplexityOptions, help="the language model")
    run: Path = setting(Path("runs/quality"), "folder for mathscore.bin, perplexity.bin and metrics.json")


def train_models(config: QualityConfig, progress: Progress = silent) -> Mapping[str, Any]:
    """Train the models into ``config.run``, or find them there; returns their figures (``metrics.json``).

    MathScore's figures are of documents it was not trained on. Raises ConfigError for a bad source, DataError when the
    sources hold too little.
    """
    config = replace(config, sources=config.sources or default_sources())
    for name, source in config.sources.items():
        source_options(name, source.kind, source.options)  # a mistake in one of them is found here
    with open_run(config.run, "quality", to_table(config), free=("run",)) as run:
        if (run.folder / "metrics.json").exists():
            done: Mapping[str, Any] = read_json(run.folder / "metrics.json")
            return done
        counts: Counter[str] = Counter()
        examples: list[Example] = []
        corpus: list[str] = []
        for found in labelled(config.sources):
            counts[found.kind] += 1
            if found.example is not None:
                examples.append(found.example)
            if found.kind in (MARKED, LEFT_OUT):
                corpus.append(found.prose)
            if counts.total() % 2000 == 0:
                progress(Event(stage="quality: examples", done=counts.total(), unit="documents"))
        metrics: dict[str, Any] = {"documents": dict(sorted(counts.items()))}
        if "mathscore" in config.models:
            progress(Event(stage="quality: mathscore", note=f"{len(examples)} documents"))
            model, figures = train_mathscore(examples, config.mathscore)
            save_mathscore(model, run.folder / "mathscore.bin")
            metrics["mathscore"] = figures | _file(run.folder / "mathscore.bin")
        if "perplexity" in config.models:
            progress(Event(stage="quality: perplexity", note=f"{len(corpus)} documents"))
            ordered = train_perplexity(corpus, config.perplexity)
            save_perplexity(ordered, run.folder / "perplexity.bin")
            metrics["perplexity"] = dict(ordered.info) | _file(run.folder / "perplexity.bin")
        run.write_json("metrics.json", metrics)
    return metrics


def _file(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256_file(path)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A document of a source of examples: its words, which kind it is, the example it makes (if it makes one)."""

    document: Document
    prose: str
    kind: str
    example: Example | None


def labelled(sources: Mapping[str, ExampleSource]) -> Iterator[Labelled]:
    """Every document of the sources, in order, with the label that it gives itself.

    Raises ConfigError for a bad source.
    """
    seen: set[bytes] = set()
    for name, source in sources.items():
        options = source_options(name, source.kind, source.options)
        for document in source_module(name, source.kind).documents(options):
            prose = words_only(document.text)
            digest = hashlib.blake2b(prose.encode("utf-8", "surrogatepass"), digest_size=16).digest()
            kind = _kind(source, document, prose, digest in seen)
            seen.add(digest)
            example = Example(id=f"{name}/{document.id}", prose=prose, mathematical=kind == MARKED)
            yield Labelled(
                document=document, prose=prose, kind=kind, example=example if kind in (MARKED, OTHER) else None
            )


def _kind(source: ExampleSource, document: Document, prose: str, seen: bool) -> str:
    if seen or len(prose) < source.min_chars:
        return "short or seen before"
    if marks(document.text):
        return MARKED
    return OTHER if source.unmarked == "other" else LEFT_OUT

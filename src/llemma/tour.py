"""The main job in miniature: corpus → tokeniser → base model → continued pretraining → evaluation → proofs → report.

Every stage is a run folder of its own below ``run`` and resumes by its own rules; a killed tour goes on where
it was and ends with the same table as an undisturbed one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from llemma import plugins
from llemma.config import build, check_seed, setting, to_table
from llemma.corpus.pipeline import CorpusConfig, build_corpus
from llemma.errors import ConfigError, ProverError
from llemma.evaluate.config import EvalConfig, load_tasks
from llemma.evaluate.evaluate import evaluate
from llemma.evaluate.score import EvalResult
from llemma.prove.config import Budget, ProveConfig
from llemma.prove.figures import ProveResult
from llemma.prove.prove import prove
from llemma.provers.coq import install
from llemma.records import Event, Progress, silent
from llemma.report.tables import Figure, Table, compare
from llemma.run import open_run, read_json, write_json
from llemma.tasks.gsm8k import available
from llemma.train.config import ModelSizes, OptimConfig, TrainConfig

MODELS = ("base", "continued")
_THEOREMS = ("or_swap", "double_is_sum", "negb_twice", "climb_all", "leaves_and_nodes", "pow2_above")
_FAMILIES = ("addition", "subtraction", "linear", "units", "number_theory", "words")


@dataclass(frozen=True, slots=True, kw_only=True)
class TourConfig:
    """Sizes of the tour; the defaults take about seven minutes on two cores."""

    run: Path = setting(Path("runs/tour"), "folder of all its runs; an interrupted tour in it goes on")
    seed: int = setting(0, "seed of data, weights and samples")
    families: tuple[str, ...] = setting(_FAMILIES, "families of generated problems, trained on and evaluated")
    documents: int = setting(80_000, "generated training documents")
    difficulty: int = setting(2, "highest level of the generated problems, in training and in the test (0: all levels)")
    text_bytes: int = setting(1_500_000, "bytes from each of the text and code sources")
    vocab_size: int = setting(1024, "entries of the tokeniser")
    model: ModelSizes = setting(factory=ModelSizes, help="sizes of the model")
    context: int = setting(256, "tokens per training sequence")
    batch_size: int = setting(4, "sequences per step")
    base_steps: int = setting(500, "steps of the base model on general text and code")
    continued_steps: int = setting(3600, "steps of continued pretraining on mathematics")
    lr: float = setting(2e-3, "peak learning rate of both")
    checkpoint_every: int = setting(200, "steps between checkpoints")
    threads: int = setting(0, "CPU threads (0: one per core, at most 8)")
    problems: int = setting(100, "problems per task")
    samples: int = setting(8, "samples per problem for the vote")
    max_tokens: int = setting(112, "tokens per answer")
    gsm8k: int = setting(40, "GSM8K problems, greedy, when LLEMMA_DATA has them (0: none)")
    theorems: int = setting(6, "theorems of our library to be proved without a model, when Coq is installed (0: none)")

    def __post_init__(self) -> None:
        check_seed(self.seed)
        at_least = {"documents": 1, "base_steps": 1, "continued_steps": 1, "problems": 1, "text_bytes": 1}
        at_least |= {
            "samples": 2,
            "max_tokens": 1,
            "gsm8k": 0,
            "theorems": 0,
            "difficulty": 0,
            "threads": 0,
            "families": 1,
        }
        at_least |= {"batch_size": 1, "checkpoint_every": 1, "lr": 0, "context": 1, "vocab_size": 300}
        for name, least in at_least.items():
            value = getattr(self, name)
            if (len(value) if isinstance(value, tuple) else value) < least:
                raise ValueError(f"{name}={value} must be at least {least}")
        if self.max_tokens >= self.context:
            raise ValueError(f"max_tokens={self.max_tokens} leaves no room for a prompt in context={self.context}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Toured:
    """What the tour leaves: the comparison table, what became of the proofs, the report, seconds by stage."""

    table: Table
    proofs: str
    report: Path
    seconds: Mapping[str, float]


def tour(config: TourConfig, progress: Progress = silent) -> Toured:
    """Run, or go on with, the tour in ``config.run``. Raises what its stages raise."""
    folder = config.run
    with_gsm8k = _decided(config, "with_gsm8k", lambda: config.gsm8k > 0 and available())
    with_proofs = _decided(config, "with_proofs", lambda: config.theorems > 0 and _coq() == "")
    recipe, trainings, evaluations = _stages(config, with_gsm8k)  # a mistake is said before torch is loaded
    training = plugins.import_module("llemma.train.loop")
    page = plugins.import_module("llemma.report.page")
    decided = {"with_gsm8k": with_gsm8k, "with_proofs": with_proofs}
    with open_run(folder, "tour", to_table(config) | decided, free=("run",)) as run:
        seconds = _Clock(folder / "seconds.json")
        progress = seconds.watching(progress)
        seconds.measure("corpus", partial(build_corpus, recipe, progress))
        for name, stage in zip(MODELS, trainings, strict=True):
            seconds.measure(name, partial(training.train, stage, progress))
        training.set_threads(config.threads)
        figures: list[Figure] = []
        for label, settings in evaluations:
            model = next(m for m in MODELS if m in label)
            result: EvalResult = seconds.measure(label, partial(evaluate, settings, progress=progress))
            metrics = [(task.task, metric) for task in result.tasks for metric in task.metrics]
            figures += [Figure(task=t, model=model, metric=m) for t, m in metrics if _shown(config, label, m.name)]
        table = compare(sorted(figures, key=lambda f: MODELS.index(f.model)), base="base")
        if with_proofs:
            proved: ProveResult = seconds.measure("proofs", partial(prove, _proving(config), progress=progress))
            proofs = _told(proved)
        else:
            proofs = f"no proofs: {_coq() or 'theorems=0'}"
        run.write_json("summary.json", _summary(config, figures, seconds.by_stage) | {"proofs": proofs})
        progress(Event(stage="report", note="writing the report"))
        report = page.write_report([folder], folder / "report.html")
    return Toured(table=table, proofs=proofs, report=report, seconds=seconds.by_stage)


_Stages = tuple[CorpusConfig, tuple[TrainConfig, TrainConfig], list[tuple[str, EvalConfig]]]


def _stages(config: TourConfig, with_gsm8k: bool) -> _Stages:
    """The settings of every stage: a mistake in them is found here, before the first stage."""
    try:
        stages = _recipe(config, with_gsm8k), _trainings(config), _evaluations(config, with_gsm8k)
    except ValueError as error:  # raised by the settings classes of the stages
        raise ConfigError(str(error)) from error
    for _, settings in stages[2]:
        load_tasks(settings.tasks, settings.options)
    return stages


class _Clock:
    """Seconds spent in each stage over all the starts it took, to about ``EVERY`` seconds after a kill."""

    EVERY = 5.0

    def __init__(self, path: Path) -> None:
        self._path = path
        self.by_stage: dict[str, float] = read_json(path) if path.exists() else {}
        self._stage, self._since = "", 0.0

    def watching(self, progress: Progress) -> Progress:
        """The same sink, which also lets the clock save what has passed."""

        def sink(event: Event) -> None:
            progress(event)
            if self._stage and time.perf_counter() - self._since >= self.EVERY:
                self._save()

        return sink

    def measure(self, stage: str, work: Callable[[], Any]) -> Any:
        """The result of ``work``, its time added to the stage's."""
        self._stage, self._since = stage, time.perf_counter()
        try:
            return work()
        finally:
            self._save()
            self._stage = ""

    def _save(self) -> None:
        now = time.perf_counter()
        self.by_stage[self._stage] = round(self.by_stage.get(self._stage, 0.0) + now - self._since, 1)
        self._since = now
        write_json(self._path, self.by_stage)


def _decided(config: TourConfig, name: str, decide: Callable[[], bool]) -> bool:
    """Whether a part belongs to this tour; decided at its first start, so that a resumed one has the same table."""
    path = config.run / "config.json"
    stored = read_json(path) if path.exists() else {}
    chosen = stored.get("settings", {}).get(name) if isinstance(stored, dict) else None
    return chosen if isinstance(chosen, bool) else decide()


def _coq() -> str:
    """Why no theorems can be proved on this machine, with the remedy; empty where Coq is installed."""
    try:
        install.find()
    except ProverError as error:
        return str(error)
    return ""


def _proving(config: TourConfig) -> ProveConfig:
    """A few theorems that no automatic tactic proves, by best-first search over a fixed list of moves."""
    return ProveConfig(
        source="library",
        prover="coq",
        search=("best_first",),
        model="fixed",
        names=_THEOREMS[: config.theorems],
        candidates=16,
        budget=Budget(expansions=40),
        seed=config.seed,
        run=config.run / "proofs",
    )


def _told(result: ProveResult) -> str:
    """What was proved, in a line."""
    parts = [f"{each.search} {each.proved} of {each.theorems}" for each in result.searches]
    return f"theorems proved and checked by {result.prover}: {', '.join(parts)}"


def _recipe(config: TourConfig, with_gsm8k: bool) -> CorpusConfig:
    size = {"max_bytes": config.text_bytes}
    generated = {
        "families": config.families,
        "count": config.documents,
        "seed": config.seed,
        "difficulty": config.difficulty,
        "programs": 0.1,
    }
    return build(
        CorpusConfig,
        {
            "run": str(config.run / "corpus"),
            "decontaminate": {"tasks": ["gsm8k"] if with_gsm8k else ["none"]},  # what is measured is held out
            "tokenizer": {"vocab_size": config.vocab_size, "sample_bytes": config.text_bytes},
            "sources": {
                "prose": {"weight": 0, "options": size},
                "stdlib": {"weight": 0, "kind": "code", "options": {"packages": ["stdlib"], **size}},
                "mathcode": {"weight": 1, "kind": "code", "rule": "python", "options": size},
                "generated": {"weight": 9, "options": generated},
            },
        },
    )


def _trainings(config: TourConfig) -> tuple[TrainConfig, TrainConfig]:
    """The base model on general text and code, and what continues from it on mathematics."""
    base = TrainConfig(
        corpus=config.run / "corpus",
        run=config.run / "base",
        mixture={"prose": 1.0, "stdlib": 1.0},
        model=config.model,
        context=config.context,
        batch_size=config.batch_size,
        steps=config.base_steps,
        optim=OptimConfig(lr=config.lr, warmup=max(1, config.base_steps // 10)),
        threads=config.threads,
        seed=config.seed,
        log_every=20,
        checkpoint_every=config.checkpoint_every,
    )
    continued = replace(
        base,
        run=config.run / "continued",
        init=str(config.run / "base"),
        # the paper's share of general text beside the mathematics: 5 % (Azerbayev et al. 2023, section 2.2)
        mixture={"generated": 85.0, "mathcode": 10.0, "prose": 2.5, "stdlib": 2.5},
        steps=config.continued_steps,
        optim=OptimConfig(lr=config.lr, warmup=max(1, config.continued_steps // 20)),
    )
    return base, continued


def _evaluations(config: TourConfig, with_gsm8k: bool) -> list[tuple[str, EvalConfig]]:
    """What is measured, in order, with the name of the stage."""
    tasks = tuple(f"generated:{family}" for family in config.families)
    levels = {"difficulty": [0, config.difficulty]} if config.difficulty else {}
    found = []
    for model in MODELS:
        greedy = EvalConfig(
            tasks=tasks,
            model=f"hf:{config.run / model}",
            max_tokens=config.max_tokens,
            seed=config.seed,
            run=config.run / f"eval-{model}-greedy",
            options={"shots": 1, "count": config.problems, **levels},
        )
        vote = replace(greedy, samples=config.samples, run=config.run / f"eval-{model}-vote")
        found += [("greedy " + model, greedy), ("vote " + model, vote)]
        if with_gsm8k:
            folder = config.run / f"eval-{model}-gsm8k"
            options = {"shots": 1, "prompt": "own"}  # the same table with and without the paper's examples at hand
            gsm8k = replace(greedy, tasks=("gsm8k",), options=options, limit=config.gsm8k, run=folder)
            found.append(("gsm8k " + model, gsm8k))
    return found


def _shown(config: TourConfig, label: str, metric: str) -> bool:
    """The table shows greedy accuracy and the vote of all samples; the runs hold the rest."""
    return metric == (f"maj@{config.samples}" if label.startswith("vote") else "accuracy")


def _summary(config: TourConfig, figures: list[Figure], seconds: Mapping[str, float]) -> dict[str, Any]:
    table = [
        {"task": f.task, "model": f.model, "metric": f.metric.name, "value": f.metric.value,
         "low": f.metric.low, "high": f.metric.high, "n": f.metric.n}
        for f in figures
    ]  # fmt: skip
    return {"table": table, "seconds": dict(seconds), "settings": to_table(config)}

"""The paper's claim in miniature: base → continued on mathematics → fine-tuned, mixtures beside each other, over seeds.

The models are the tour's. Every mixture gets the same tokens from the same base model; every model is then fine-tuned
on the same examples, and so is the base model itself. Measured are the loss on held-out text of each source and the
greedy accuracy on problems that no training text holds. An interval is Student's t over the seeds; differences are
paired by seed. Interrupted, it goes on with the same command; the models of a seed are made one after the other, the
seeds in ``workers`` processes.

    python bench/claim.py bench/claim.toml [run=runs/claim] [workers=2] ...
"""

from __future__ import annotations

import datetime
import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from llemma.config import resolve, setting
from llemma.corpus.pipeline import CorpusConfig, build_corpus
from llemma.evaluate.config import EvalConfig
from llemma.evaluate.evaluate import evaluate
from llemma.models.checkpoint import load_model
from llemma.run import atomic_write, cores, read_json, versions, write_json
from llemma.sources import generated
from llemma.train.config import ModelSizes, OptimConfig, TrainConfig
from llemma.train.data import validation
from llemma.train.device import autocast
from llemma.train.loop import set_threads, train
from llemma.train.sft_config import SftConfig

GENERAL = {"prose": 0.02, "stdlib": 0.03}  # the paper's shares of general text and code beside the mathematics
SFT_SEED = 10_000  # the examples are drawn with another seed than the documents: other wordings, partly other problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is compared, and the sizes."""

    run: Path = setting(Path("runs/claim"), "folder of all runs; an interrupted comparison in it goes on")
    seeds: tuple[int, ...] = setting((0, 1, 2), "seeds of weights and data order")
    only: int | None = setting(None, "make the models of this seed alone, and draw no table")
    workers: int = setting(0, "processes, one seed each, one thread each (0: one per core)")
    mixtures: Mapping[str, Any] = setting(factory=dict, help="name of a mixture → weights of the mathematical sources")
    corpus: CorpusConfig = setting(help="the recipe of the corpus")
    families: tuple[str, ...] = setting(("addition",), "families of problems, in fine-tuning and test")
    difficulty: int = setting(1, "highest level of the problems")
    model: ModelSizes = setting(factory=ModelSizes, help="sizes of the model")
    context: int = setting(256, "tokens per sequence")
    batch_size: int = setting(4, "sequences per step")
    lr: float = setting(2e-3, "peak learning rate before fine-tuning")
    sft_lr: float = setting(1e-3, "peak learning rate of fine-tuning")
    base_steps: int = setting(400, "steps of the base model on general text and code")
    continued_steps: int = setting(1000, "steps of continued pretraining, the same for every mixture")
    sft_steps: int = setting(200, "steps of fine-tuning")
    examples: int = setting(3000, "examples for fine-tuning")
    problems: int = setting(100, "test problems of each family")
    max_tokens: int = setting(96, "tokens per answer")
    valid_rows: int = setting(64, "held-out rows of each source")


def main() -> None:
    s = resolve(Settings, files=[Path(w) for w in sys.argv[1:] if w.endswith(".toml")],
                words=[w for w in sys.argv[1:] if not w.endswith(".toml")])  # fmt: skip
    corpus = replace(s.corpus, run=s.run / "corpus")
    build_corpus(corpus)
    _write_examples(s)
    if s.only is not None:
        set_threads(1)
        make(s, s.only)
        return
    with ThreadPoolExecutor(s.workers or cores()) as pool:
        for done in pool.map(_process, s.seeds):
            if done:
                raise SystemExit(done)
    table = report(s)
    atomic_write(s.run / "table.md", table)
    print(table)


def _process(seed: int) -> int:
    return subprocess.run([sys.executable, __file__, *sys.argv[1:], f"only={seed}"], check=False).returncode


def make(s: Settings, seed: int) -> None:
    """All models of a seed, each measured when it is ready."""
    folder = s.run / f"seed-{seed}"
    base = TrainConfig(
        corpus=s.run / "corpus", run=folder / "base", mixture=dict.fromkeys(GENERAL, 1.0), model=s.model,
        context=s.context, batch_size=s.batch_size, steps=s.base_steps, seed=seed, threads=1, log_every=20,
        checkpoint_every=200, valid_every=200, optim=OptimConfig(lr=s.lr, warmup=s.base_steps // 10),
    )  # fmt: skip
    models = {"base": base}
    for name, weights in s.mixtures.items():
        share = (1 - sum(GENERAL.values())) / sum(weights.values())
        models[name] = replace(
            base, run=folder / name, init=str(folder / "base" / "model"),
            mixture={source: weight * share for source, weight in weights.items()} | GENERAL,
            steps=s.continued_steps, optim=OptimConfig(lr=s.lr, warmup=s.continued_steps // 20),
        )  # fmt: skip
    for name, config in models.items():
        _once(folder / name / "model" / "config.json", lambda config=config: train(config))
        _measure(s, seed, name, folder / name)
    for name in models:
        _once(folder / f"{name}-sft" / "model" / "config.json", lambda name=name: _fine_tune(s, seed, folder / name))
        _measure(s, seed, f"{name}-sft", folder / f"{name}-sft")


def _once(done: Path, work: Callable[[], Any]) -> None:
    if not done.exists():
        started = time.perf_counter()
        work()
        print(f"{done.parent.parent}: {time.perf_counter() - started:.0f} s", flush=True)


def _fine_tune(s: Settings, seed: int, start: Path) -> None:
    config = TrainConfig(
        corpus=s.run / "corpus", data="sft", sft=SftConfig(files=(s.run / "examples.jsonl",)),
        init=str(start / "model"), run=start.with_name(f"{start.name}-sft"), context=s.context,
        batch_size=s.batch_size, steps=s.sft_steps, seed=seed, threads=1, log_every=20, checkpoint_every=200,
        optim=OptimConfig(lr=s.sft_lr, warmup=s.sft_steps // 20, weight_decay=0.0, final_ratio=0.0),
    )  # fmt: skip
    train(config)


def _write_examples(s: Settings) -> None:
    """Training problems as prompt and response, families in turn."""
    path = s.run / "examples.jsonl"
    if path.exists():
        return
    each = -(-s.examples // len(s.families))
    cap = (1, s.difficulty)
    drawn = [
        list(generated.draw(family, split="train", seed=SFT_SEED, count=each, difficulty=cap)) for family in s.families
    ]
    lines = []
    for worked in (w for group in zip(*drawn, strict=False) for w in group):
        prompt = generated.prompt(worked)
        lines.append(json.dumps({"prompt": prompt, "response": generated.render(worked).removeprefix(prompt)}))
    atomic_write(path, "\n".join(lines) + "\n")


def _measure(s: Settings, seed: int, name: str, folder: Path) -> None:
    """Loss per source and accuracy per family of a model, kept in ``figures.json`` beside it."""
    path = folder / "figures.json"
    if path.exists():
        return
    config = EvalConfig(
        tasks=tuple(f"generated:{family}" for family in s.families), model=f"hf:{folder}", max_tokens=s.max_tokens,
        run=folder.with_name(f"eval-{name}"),
        options={"shots": 0, "count": s.problems, "difficulty": [1, s.difficulty]},
    )  # fmt: skip
    result = evaluate(config)
    accuracy = {task.task: next(m.value for m in task.metrics if m.name == "accuracy") for task in result.tasks}
    model = load_model(folder / "model")
    rows = validation(s.run / "corpus", list(s.corpus.sources), context=s.context, rows=s.valid_rows)
    with torch.no_grad(), autocast("auto"):
        loss = {
            source: statistics.fmean(
                model.loss(torch.from_numpy(part)).item() for part in held.reshape(-1, 1, s.context + 1)
            )
            for source, held in rows.items()
        }
    write_json(path, {"seed": seed, "model": name, "accuracy": accuracy, "loss": loss})


def report(s: Settings) -> str:
    """The tables in Markdown, with the date, the sizes and the versions."""
    names = ["base", *s.mixtures]
    every = [*names, *(f"{name}-sft" for name in names)]
    found = {
        (seed, name): _flat(read_json(s.run / f"seed-{seed}" / name / "figures.json"))
        for seed in s.seeds
        for name in every
    }
    columns = list(next(iter(found.values())))
    rows = {name: {c: [found[seed, name][c] for seed in s.seeds] for c in columns} for name in every}
    first = names[1]
    pairs = [(first, other) for other in names if other != first]
    pairs += [(f"{one}-sft", f"{other}-sft") for one, other in pairs] + [(f"{first}-sft", first)]
    differences = {
        f"{one} − {other}": {c: [x - y for x, y in zip(rows[one][c], rows[other][c], strict=True)] for c in columns}
        for one, other in pairs
    }
    parts = [_about(s)]
    for kind, title in (("accuracy", "Accuracy in %"), ("loss", "Loss in nats per token")):
        chosen = [c for c in columns if c.startswith("loss ") == (kind == "loss")]
        parts.append(_table(title, chosen, rows, ""))
        parts.append(_table("difference, paired by seed", chosen, differences, "+"))
    return "\n\n".join(parts) + "\n"


def _about(s: Settings) -> str:
    made = versions()
    told = ", ".join(f"{name} {made[name]}" for name in ("python", "llemma", "torch", "commit") if name in made)
    tokens = s.batch_size * s.context
    return (
        f"{datetime.date.today()}; {made['machine']}; {told}. Tokens: base {s.base_steps * tokens:,}, continued "
        f"{s.continued_steps * tokens:,} for every mixture, fine-tuning {s.sft_steps * tokens:,}. Seeds "
        f"{', '.join(map(str, s.seeds))}; mean ± half of the 95 % interval (Student's t, {len(s.seeds) - 1} degrees of "
        f"freedom). Up to {s.problems} problems of each family, greedy, no examples in the prompt."
    )


def _table(title: str, columns: Sequence[str], rows: Mapping[str, Mapping[str, Sequence[float]]], sign: str) -> str:
    lines = [
        f"| {title} | {' | '.join(c.removeprefix('loss ') for c in columns)} |",
        "|---" + "|---:" * len(columns) + "|",
    ]
    for name, values in rows.items():
        cells = [_interval(values[c], 3 if c.startswith("loss ") else 1, sign) for c in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _flat(figures: Mapping[str, Any]) -> dict[str, float]:
    accuracy = {name.removeprefix("generated:"): 100 * value for name, value in figures["accuracy"].items()}
    mean = {"mean": statistics.fmean(accuracy.values())}
    return mean | accuracy | {f"loss {source}": value for source, value in figures["loss"].items()}


def _interval(values: Sequence[float], digits: int, sign: str) -> str:
    mean = f"{statistics.fmean(values):{sign}.{digits}f}"
    if len(values) < 2:
        return mean
    half = _student(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean} ± {half:.{digits}f}"


def _student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by bisection of its distribution (Simpson's rule on its density)."""

    def inside(t: float) -> float:
        n, norm = (
            2000,
            math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi),
        )
        f = [norm * (1 + (t * i / n) ** 2 / freedom) ** (-(freedom + 1) / 2) for i in range(n + 1)]
        return 2 * (t / n / 3) * (f[0] + f[n] + 4 * sum(f[1:n:2]) + 2 * sum(f[2:n:2]))

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if inside(middle) < 0.95 else (low, middle)
    return low


if __name__ == "__main__":
    main()

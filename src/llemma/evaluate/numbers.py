"""``llemma numbers compare``: the same small model trained behind each number encoding, on the same samples.

Every (task, encoding, seed) is a training run of its own, in a folder below the comparison's, at a constant learning
rate; at each of its points it is measured with the mean of its latest weights, which does what a decay of the rate
would (Hägele et al. 2024), without a run for every point. It goes on until the budgets of all three views are reached
(equal samples, equal tokens, equal FLOPs) and is measured there and at halves of the last point. What is done is a
row; a killed comparison goes on where it was. An encoding that cannot write a task's numbers is a row that says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from llemma.config import to_table
from llemma.errors import ConfigError, RunError
from llemma.evaluate.number_views import Budget, Tables
from llemma.models.numeric import NumericLM, has_whole_tokens
from llemma.records import Event, Progress, silent
from llemma.run import Run, open_run, read_jsonl
from llemma.tokens.numbers import Places, fitted, scan
from llemma.tokens.numbers.digits import Abacus
from llemma.tokens.numbers.scores import Answered, baselines, columns, figures
from llemma.tokens.numbers.tasks import LONGER, TRAIN, Sample, Task, task
from llemma.tokens.numbers.text import NumberText
from llemma.tokens.settings import NumbersConfig, TrainedConfig
from llemma.train.checkpoint import checkpoints, step_of
from llemma.train.config import ModelSizes, OptimConfig, TrainConfig
from llemma.train.loop import train
from llemma.train.numeric import number_rows, numeric_model
from llemma.train.numeric_config import NumericConfig
from llemma.train.numeric_open import from_checkpoints, words_loss

SNAPSHOTS = 24  # checkpoints of a run, of which the latest are averaged
_LOOKED_AT = 1000  # training samples that costs are measured on, and baselines learn from
_BATCH = 256  # prompts answered at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a task's samples cost in an encoding; ``refused``: a number it cannot write, none: it writes them all."""

    tokens: float  # a sample, its end mark included
    longest: int  # sample, in tokens
    answer: int  # the longest, in tokens
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """An encoding, and the number token loss it is trained with."""

    encoding: str
    ntl: Literal["none", "was", "mse"] = "none"

    @property
    def name(self) -> str:
        """As the tables call it."""
        return self.encoding if self.ntl == "none" else f"{self.encoding}+{self.ntl}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One run: its training, and the steps at which it is measured, with answers kept at those in ``kept``."""

    task: Task
    encoding: str
    seed: int
    train: TrainConfig
    cost: Cost
    flops: float  # a sample
    points: tuple[int, ...]
    kept: frozenset[int]

    def key(self, step: int) -> str:
        """The id of the row of a point."""
        return f"{self.task.name}:{self.seed}:{self.encoding}:{step}"


def compare(config: NumbersConfig, progress: Progress = silent) -> dict[str, Any]:
    """Train, or go on, and return the tables by task; they are ``metrics.json`` of the run folder as well."""
    if config.action != "compare":
        raise ConfigError(f"action={config.action} is no comparison of trained models")
    tasks = [task(name) for name in config.chosen_tasks]
    settings = to_table(config) | {"tasks": [each.name for each in tasks]}
    free = ("run", "train.device", "tokenizers")
    with open_run(config.folder, "numbers", settings, free=free, grows=("encodings", "tasks", "seeds")) as run:
        budgets = {each.name: _budget(config, each) for each in tasks}
        planned = list(_plans(config, tasks, budgets, run))
        for seed in _seeds(config):
            for each in tasks:
                _baselines(run, each, seed, config.train.tests)
        _work(run, planned, config.train, progress)
        rows = list(run.rows())
        tables = {
            each.name: Tables(each, _wanted(rows, config), _seeds(config), config.train.tests).table(budgets[each.name])
            for each in tasks
        }
        run.write_json("metrics.json", tables)
    return tables


def _seeds(config: NumbersConfig) -> range:
    return range(config.seed, config.seed + config.seeds)


def _wanted(rows: Sequence[Mapping[str, Any]], config: NumbersConfig) -> Iterator[Mapping[str, Any]]:
    names = {learner.name for learner in _learners(config)}
    return (row for row in rows if row.get("step") == 0 or row["encoding"] in names)


# --- the plan -------------------------------------------------------------------------------------------------------


def _learners(config: NumbersConfig) -> Iterator[Learner]:
    """Each encoding with its usual loss, and with the number token losses where it has tokens for them."""
    for name in config.encodings:
        for loss in config.train.losses:
            if loss == "usual" or has_whole_tokens(fitted(name, Places(), 1.0)):
                yield Learner(encoding=name, ntl="none" if loss == "usual" else loss)


def _plans(config: NumbersConfig, tasks: Sequence[Task], budgets: Mapping[str, Budget], run: Run) -> Iterator[Planned]:
    """The runs, all encodings of a seed before the next seed; what cannot be run becomes a row."""
    for seed in _seeds(config):
        for each in tasks:
            for learner in _learners(config):
                cost = costs(each, learner.encoding)
                if cost.refused is None:
                    yield _plan(config, each, learner, seed, cost, budgets[each.name])
                    continue
                run.append(
                    [
                        {
                            "id": f"{each.name}:{seed}:{learner.name}:failed", "task": each.name, "seed": seed,
                            "encoding": learner.name, "failed": f"{cost.refused} is outside its range",
                        }
                    ]
                )  # fmt: skip


def _plan(config: NumbersConfig, of: Task, learner: Learner, seed: int, cost: Cost, budget: Budget) -> Planned:
    train = _training(config, of, learner, seed, cost)
    flops = _flops(train, cost)
    batch = config.train.batch
    ends = [
        max(1, int(limit / (batch * each)))
        for limit, each in ((budget.samples, 1.0), (budget.tokens, cost.tokens), (budget.flops, flops))
    ]
    last = max(ends)
    halves = [last >> k for k in range(1, config.train.points + 1)]
    return Planned(
        task=of,
        encoding=learner.name,
        seed=seed,
        train=replace(train, steps=last, checkpoint_every=max(1, last // SNAPSHOTS)),
        cost=cost,
        flops=flops,
        points=tuple(sorted({*ends, *filter(None, halves)})),
        kept=frozenset(ends),
    )


def _budget(config: NumbersConfig, of: Task) -> Budget:
    """The budgets of a task: so many samples, and the tokens and FLOPs that the reference encoding spends on them."""
    reference = Learner(encoding=config.train.reference)
    cost = costs(of, reference.encoding)
    samples = config.samples_of(of.name)
    flops = config.train.flops
    if not flops:
        flops = samples * _flops(_training(config, of, reference, config.seed, cost), cost)
    return Budget(samples=samples, tokens=config.train.tokens or samples * cost.tokens, flops=flops)


@lru_cache(maxsize=512)
def costs(of: Task, name: str) -> Cost:
    """What the samples of a task cost in an encoding, measured on a thousand of them and as many of each test."""
    text = NumberText(fitted(name, of.places, of.scale))
    counts, answers, refused = [], [], None
    for split in (TRAIN, *of.tests):
        for sample in of.samples(split, 0, _LOOKED_AT if split == TRAIN else _LOOKED_AT // 4, 0):
            parts = [text.encode(part) for part in (sample.prompt, sample.answer)]
            answers.append(len(parts[1].ids) + 1)
            counts.append(len(parts[0].ids) + answers[-1])
            if split == TRAIN and refused is None:
                refused = _refused(text, sample)
    learnt = counts[:_LOOKED_AT]
    return Cost(tokens=sum(learnt) / len(learnt), longest=max(counts), answer=max(answers), refused=refused)


def _refused(text: NumberText, sample: Sample) -> str | None:
    numbers = [number for part in (sample.prompt, sample.answer) for number in scan(part)]
    return next((number.surface for number in numbers if text.encoding.write(number) is None), None)


def _training(config: NumbersConfig, of: Task, learner: Learner, seed: int, cost: Cost) -> TrainConfig:
    """The training run of an encoding; its steps are set when they are known."""
    how = config.train
    return TrainConfig(
        data="numbers",
        numbers=NumericConfig(
            task=of.name,
            encoding=learner.encoding,
            ntl=learner.ntl,
            offset=_offset(how, of) if learner.encoding == Abacus.name else 0,
        ),
        run=config.folder / "models" / of.name / f"{learner.name}-{seed}",
        model=ModelSizes(
            hidden_size=how.width,
            intermediate_size=3 * how.width,
            num_hidden_layers=how.layers,
            num_attention_heads=how.heads,
            num_key_value_heads=how.heads,
        ),
        context=cost.longest + cost.longest // 4,  # the cost is that of some samples: others may be longer
        batch_size=how.batch,
        optim=OptimConfig(lr=how.lr, warmup=how.warmup, final_ratio=1.0),
        precision="fp32",
        device=how.device,
        threads=how.threads,
        seed=seed,
        keep=math.ceil(how.average * SNAPSHOTS) + 2,
        save_async=False,
        log_every=500,
        valid_batches=1,
    )


def _offset(how: TrainedConfig, of: Task) -> int:
    """By how much Abacus' places are shifted in training: as asked, or as far as a test's numbers are longer."""
    return how.offset or (LONGER if "longer" in of.tests else 0)


def _flops(train: TrainConfig, cost: Cost) -> float:
    """Operations of a training step per sample, as published figures count them."""
    return numeric_model(train, "meta").flops_per_token(math.ceil(cost.tokens)) * cost.tokens


# --- the work -------------------------------------------------------------------------------------------------------


def _baselines(run: Run, of: Task, seed: int, tests: int) -> None:
    """The rows of what needs no learning."""
    learnt = of.samples(TRAIN, 0, _LOOKED_AT, seed)
    found: dict[str, dict[str, list[Answered]]] = {}
    for test in of.tests:
        for name, answered in baselines(of, learnt, of.samples(test, 0, tests, seed)).items():
            found.setdefault(name, {})[test] = answered
    run.append(
        {
            "id": f"{of.name}:{seed}:{name}:0", "task": of.name, "seed": seed, "encoding": name, "step": 0,
            "samples": 0, "tokens": 0, "flops": 0,
            "answers": {test: [(each.text, None) for each in answered] for test, answered in by_test.items()},
        }
        for name, by_test in found.items()
    )  # fmt: skip


def _work(run: Run, planned: Sequence[Planned], settings: TrainedConfig, progress: Progress) -> None:
    """Bring every run to every of its points, and measure it there."""
    total, done = sum(each.points[-1] * each.flops for each in planned) * settings.batch, 0.0
    for each in planned:
        note = f"{each.task.name} {each.encoding}, seed {each.seed}: {each.points[-1]:,} steps"
        for step in each.points:
            if each.key(step) in run.ids:
                continue
            _tell(progress, done, total, note)
            note = ""

            def told(event: Event, done: float = done, each: Planned = each) -> None:
                _tell(progress, done + event.done * settings.batch * each.flops, total)

            _reach(each, step, told)
            run.append([_measured(each, step, settings)])
        done += each.points[-1] * settings.batch * each.flops
    _tell(progress, total, total)


def _tell(progress: Progress, done: float, total: float, note: str = "") -> None:
    progress(Event(stage="numbers", done=int(done / 1e9), total=int(total / 1e9), unit="GFLOP", note=note))


def _reach(each: Planned, step: int, progress: Progress) -> None:
    """Train until the step. Raises RunError when the newest checkpoint is beyond it: its row has been lost."""
    train(each.train, progress, stop_at=step)
    found = checkpoints(each.train.run / "checkpoints")
    if not found or step_of(found[-1]) != step:
        raise RunError(
            f"{each.train.run}: its newest checkpoint is not of step {step}, of which the comparison has no row; "
            "delete this folder, and run the same command again to train it anew"
        )


def _measured(each: Planned, step: int, settings: TrainedConfig) -> dict[str, Any]:
    """The row of a point: what it cost, its figures on each test, and at the ends of the views its answers."""
    latest = [path for path in checkpoints(each.train.run / "checkpoints") if step_of(path) <= step]
    counted = [path for path in latest if step_of(path) > (1 - settings.average) * step] or latest[-1:]
    model = from_checkpoints(each.train, counted)
    answers = {test: _answers(model, each, test, settings.tests) for test in each.task.tests}
    samples = step * settings.batch
    row: dict[str, Any] = {
        "id": each.key(step), "task": each.task.name, "seed": each.seed, "encoding": each.encoding, "step": step,
        "samples": samples, "tokens": samples * each.cost.tokens, "flops": samples * each.flops,
        "tokens_per_sample": each.cost.tokens, "seconds": _seconds(each.train.run),
        "figures": {test: _figures(each.task, found) for test, found in answers.items()},
    }  # fmt: skip
    if "words_loss" in each.task.figures:
        held_out = number_rows(each.train).validation(settings.tests)
        row["words_loss"] = {test: _sure(words_loss(model, batch)) for test, batch in held_out.items()}
    if step in each.kept:
        row["answers"] = {test: [(a.text, _sure(a.probability)) for a in found] for test, found in answers.items()}
    return row


def _answers(model: NumericLM, each: Planned, test: str, count: int) -> list[Answered]:
    """Greedy answers to the problems of a test."""
    asked = each.task.samples(test, 0, count, each.seed)
    found: list[Answered] = []
    for first in range(0, count, _BATCH):
        some = asked[first : first + _BATCH]
        written = model.answer([sample.prompt for sample in some], max_tokens=each.cost.answer + 4)
        found += [
            Answered(sample=s, text=w.text, probability=w.probability) for s, w in zip(some, written, strict=True)
        ]
    return found


def _figures(of: Task, answered: Sequence[Answered]) -> dict[str, float | None]:
    found = figures(columns(of, answered))
    return {name: _sure(float(found[name])) for name in of.figures if name in found}


def _sure(value: float) -> float | None:
    """A finite number; JSON has no others."""
    return value if math.isfinite(value) else None


def _seconds(folder: Path) -> float:
    """How long the steps took that a training run has made."""
    return float(sum(row.get("seconds", 0.0) for row in read_jsonl(folder / "rows.jsonl")))

"""Settings of an evaluation, the tasks they name, and the sampling of each task; runs nothing."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from llemma import plugins
from llemma.config import build, check_seed, setting
from llemma.errors import ConfigError, nearest
from llemma.records import Sampling, Task

VOTE = Sampling(n=8, temperature=0.6, top_p=0.95)  # of a task without a published vote


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One part of an evaluation: the problems whose number is ``index - 1`` modulo ``of``."""

    index: int
    of: int


def parse_shard(text: str) -> Shard:
    """``2/8`` as a Shard. Raises ValueError for anything else."""
    index, slash, of = text.partition("/")
    if slash and index.isdecimal() and of.isdecimal() and 1 <= int(index) <= int(of):
        return Shard(index=int(index), of=int(of))
    raise ValueError(f"shard={text}: write PART/PARTS, as in shard=2/8")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """Settings of ``llemma eval``. Checked on construction; ValueError says which one is wrong."""

    tasks: tuple[str, ...] = setting(help="tasks: NAME, NAME:VARIANT or FILE.py[:VARIANT]")
    model: str = setting(help="KIND:TARGET, e.g. hf:NAME_OR_FOLDER, openai:MODEL@URL or replay:RUN")
    samples: int = setting(1, "samples per problem; 0: as many as each task's published vote has")
    temperature: float | None = setting(None, "0 is greedy; none: 0 for one sample, else the published vote's or 0.6")
    top_p: float | None = setting(None, "nucleus; none: 1 for one sample, 0.95 for more")
    max_tokens: int | None = setting(None, "tokens per completion; none: what the task says")
    limit: int | None = setting(None, "only the first problems of each task")
    shard: str = setting("", "only one part of the problems, e.g. 2/8; `llemma merge` puts the parts together")
    scorer: Literal["both", "strict", "paper"] = setting(
        "both", "who grades: strict, paper (the paper's scorer, its faults kept), or both, strict in front"
    )
    tools: Literal["auto", "python", "none"] = setting(
        "auto", "auto: programs that are answers are run; python: also blocks of Python in other texts; none: nothing"
    )
    sandbox: str = setting("auto", "where programs run: auto, T1, T2, bubblewrap, docker:IMAGE, …; see llemma doctor")
    overlap: Path | None = setting(None, "run or file of `llemma overlap`: scores also for clean and dirty problems")
    seed: int = setting(0, "seed of the samples and of the bootstrap")
    run: Path | None = setting(None, "folder for rows and metrics, resumed when it exists; none: keep nothing")
    batch: int | None = setting(None, "requests per call of the back end; none: what the back end likes")
    options: Mapping[str, Any] = setting(factory=dict, help="options of the tasks, e.g. options.shots=4")
    engine: Mapping[str, Any] = setting(factory=dict, help="options of the back end, e.g. engine.concurrency=64")
    expected: Mapping[str, Any] = setting(factory=dict, help="figures to be expected; `llemma table` shows them beside")

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("no task given; `llemma list tasks` shows them")
        for name in ("max_tokens", "limit", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}={value}: must be at least 1")
        if self.samples < 0:
            raise ValueError(f"samples={self.samples}: must not be negative")
        if self.shard:
            parse_shard(self.shard)
        check_seed(self.seed)
        if self.temperature is not None and self.temperature < 0:
            raise ValueError(f"temperature={self.temperature}: must not be negative")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p={self.top_p}: must be above 0 and at most 1")
        if self.samples != 1 and self.temperature == 0:
            raise ValueError(f"samples={self.samples} with temperature=0 would be the same text again and again")


def sampling_for(config: EvalConfig, task: Task) -> Sampling:
    """How a task is sampled: its limit and stop strings, ``n`` samples a problem, greedy for one.

    For more than one sample temperature and nucleus are those of the task's published vote, unless set.
    """
    vote = task.vote or VOTE
    n = config.samples or vote.n
    temperature = config.temperature if config.temperature is not None else (vote.temperature if n > 1 else 0.0)
    return replace(
        task.sampling,
        n=n,
        temperature=temperature,
        top_p=config.top_p if config.top_p is not None else (vote.top_p if n > 1 else 1.0),
        max_tokens=config.max_tokens or task.sampling.max_tokens,
        seed=config.seed,
    )


def load_tasks(specs: Sequence[str], options: Mapping[str, Any]) -> list[Task]:
    """The tasks that ``NAME``, ``NAME:VARIANT`` or ``FILE.py[:VARIANT]`` name, each with the options it knows.

    Raises ConfigError for an unknown task, variant or option (an option must be known to one of the tasks), and
    when two specs name the same task; DataError when a task's data is missing.
    """
    modules = []
    for spec in specs:
        name, variant = split_spec(spec)
        module = plugins.load("tasks", name)
        if not (hasattr(module, "Options") and hasattr(module, "load")):
            raise ConfigError(f"{name} is not a task: a task file has a dataclass Options and load(options)")
        modules.append((spec, variant, module))
    known = {f.name for _, _, module in modules for f in fields(module.Options)}
    for option in options:
        if option not in known:
            raise ConfigError(f"unknown option {option!r} of {', '.join(specs)}{nearest(option, known)}")
    tasks = []
    for spec, variant, module in modules:
        names = {f.name for f in fields(module.Options)}
        table = {option: value for option, value in options.items() if option in names}
        if variant:
            if "variant" not in names:
                raise ConfigError(f"the task {spec.rpartition(':')[0]} has no variants; write it without :{variant}")
            table["variant"] = variant
        tasks.append(module.load(build(module.Options, table, where=f"{spec}: ")))
    twice = [name for name, count in Counter(task.name for task in tasks).items() if count > 1]
    if twice:
        raise ConfigError(f"the task {twice[0]} is given twice")
    return tasks


def request_seed(seed: int, task: str, problem: str, k: int) -> int:
    """The seed of one sample, 0..2^63-1: depends on nothing but these four, so neither on order nor on batch."""
    digest = hashlib.blake2b("\x1f".join((str(seed), task, problem, str(k))).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def split_spec(spec: str) -> tuple[str, str]:
    """The name (or path) and the variant; a path may hold colons, so its end is looked for."""
    if spec.endswith(".py"):
        return spec, ""
    path, found, variant = spec.rpartition(".py:")
    if found:
        return path + ".py", variant
    name, _, variant = spec.partition(":")
    return name, variant

"""Five-digit products with Python as a tool, and without it: the tour's model fine-tuned on both ways of answering.

The examples are products of 1 to 6 digits a factor; of each, the model learns the answer at once or the program that
gives it. Asked are products that no training text holds, through ``llemma eval`` and its sandbox. A *right program*
multiplies just the factors that were asked. Interrupted, it goes on with the same command.

    llemma tour                      # makes runs/tour, once
    python bench/multiplication.py [init=runs/tour/continued] [run=runs/multiplication] [steps=1000] ...
"""

from __future__ import annotations

import datetime
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from llemma.config import resolve, setting
from llemma.errors import ConfigError
from llemma.evaluate.config import EvalConfig, load_tasks
from llemma.evaluate.evaluate import evaluate
from llemma.records import Metric
from llemma.run import atomic_write, read_json, read_jsonl, versions, write_json
from llemma.tasks import multiplication, multiplication_python
from llemma.tasks._products import Product, draw
from llemma.train.config import OptimConfig, TrainConfig
from llemma.train.loop import set_threads, train
from llemma.train.sft_config import SftConfig

SEED = 10_000  # of the examples


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Sizes and folders."""

    init: str = setting("runs/tour/continued", "model to fine-tune: a run folder, a model folder, or a hub name")
    run: Path = setting(Path("runs/multiplication"), "folder of all runs; an interrupted one goes on")
    digits: tuple[int, ...] = setting((1, 2, 3, 4, 5, 6), "digits of the factors in the examples, each with each")
    examples: int = setting(24_000, "examples for fine-tuning, fewer when the small factors are used up")
    programs: int = setting(3, "examples with a program for each that is answered at once")
    tests: tuple[str, ...] = setting(("2", "3", "4", "5", "6"), "digits of the factors in the tests: 5, or 5x3")
    problems: int = setting(200, "test problems of each")
    context: int = setting(128, "tokens per row")
    batch_size: int = setting(16, "rows per step")
    steps: int = setting(1000, "steps of fine-tuning")
    lr: float = setting(2e-3, "peak learning rate")
    threads: int = setting(0, "CPU threads (0: one per core, at most 8)")
    seed: int = setting(0, "seed of the order of the examples")


def main() -> None:
    s = resolve(Settings, files=[Path(w) for w in sys.argv[1:] if w.endswith(".toml")],
                words=[w for w in sys.argv[1:] if not w.endswith(".toml")])  # fmt: skip
    if s.init.startswith(("runs/", "/", ".")) and not Path(s.init).exists():
        raise SystemExit(f"init={s.init} is not there; make it with `llemma tour`, or name another model")
    clock = s.run / "seconds.json"
    if not clock.exists():
        started = time.process_time()
        fine_tune(s)
        write_json(clock, {"fine-tuning": time.process_time() - started})
    text = report(s, read_json(clock)["fine-tuning"])
    atomic_write(s.run / "table.md", text)
    print(text)


def fine_tune(s: Settings) -> None:
    """The model that answers at once and, under the other heading, by a program."""
    path = s.run / "examples.jsonl"
    if not path.exists():
        s.run.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(row) for row in rows(s)]
        atomic_write(path, "\n".join(lines) + "\n")
    train(TrainConfig(
        data="sft", sft=SftConfig(files=(path,), valid_share=0.01), init=s.init, run=s.run / "model", context=s.context,
        batch_size=s.batch_size, steps=s.steps, seed=s.seed, threads=s.threads, checkpoint_every=200,
        optim=OptimConfig(lr=s.lr, warmup=max(1, s.steps // 20), weight_decay=0.0),
    ))  # fmt: skip


def rows(s: Settings) -> Iterator[dict[str, str]]:
    """Prompts and responses; every product is in one of the two forms."""
    each = -(-s.examples // len(s.digits) ** 2)
    for first in s.digits:
        for second in s.digits:
            for number, product in enumerate(draw((first, second), split="train", seed=SEED, count=each)):
                yield row(product, program=number % (s.programs + 1) > 0)


def row(product: Product, *, program: bool) -> dict[str, str]:
    """An example in the form of the task it prepares for."""
    task = multiplication_python if program else multiplication
    return {"prompt": task.question(product.question), "response": task.answered(product)}


def report(s: Settings, seconds: float) -> str:
    """The table in Markdown, with the date, the sizes and the versions."""
    set_threads(s.threads)
    lines = [
        f"| exact products in %, n = {s.problems} | {' | '.join(s.tests)} |",
        "|---" + "|---:" * len(s.tests) + "|",
        _line("tour's model, no tool", evaluated(s, "before", "multiplication", s.init)),
        _line("tour's model, Python", evaluated(s, "before-python", "multiplication_python", s.init)),
        _line("fine-tuned, no tool", evaluated(s, "after", "multiplication", str(s.run / "model"))),
        _line("fine-tuned, Python", evaluated(s, "after-python", "multiplication_python", str(s.run / "model"))),
    ]
    counted = [programs(s, test) for test in s.tests]
    lines.append("| its right programs | " + " | ".join(f"{right} of {n}" for n, right, _ in counted) + " |")
    lines.append("| exact of the right | " + " | ".join(f"{exact} of {right}" for _, right, exact in counted) + " |")
    made = versions()
    told = ", ".join(f"{name} {made[name]}" for name in ("python", "llemma", "torch", "commit") if name in made)
    return (
        f"{datetime.date.today()}; {made['machine']}; {told}. {s.steps} steps of {s.batch_size} rows of {s.context} "
        f"tokens, {seconds:.0f} s of processor time.\n\n" + "\n".join(lines) + "\n"
    )


def evaluated(s: Settings, name: str, task: str, model: str) -> list[Metric]:
    """The share of exact products by test, greedy, with its interval."""
    config = EvalConfig(
        tasks=tuple(f"{task}:{test}" for test in s.tests), model=f"hf:{model}", run=s.run / name, scorer="strict",
        options={"shots": 0, "count": s.problems},
    )  # fmt: skip
    return [task.metrics[0] for task in evaluate(config).tasks]


def programs(s: Settings, test: str) -> tuple[int, int, int]:
    """How many programs were asked for, how many are right, and how many of those gave the exact product."""
    (task,) = load_tasks([f"multiplication_python:{test}"], {"shots": 0, "count": s.problems})
    factors = {problem.id: tuple(problem.meta["factors"]) for problem in task.problems}
    found = [r for r in read_jsonl(s.run / "after-python" / "rows.jsonl") if r["task"] == task.name]
    right = [
        r for r in found if multiplication_python.copies(r["transcript"]["steps"][0]["text"], factors[r["problem"]])
    ]
    return len(found), len(right), sum(r["grade"]["verdict"] == "correct" for r in right)


def _line(name: str, metrics: Sequence[Metric]) -> str:
    cells = [f"{100 * m.value:.1f} [{100 * m.low:.1f}, {100 * m.high:.1f}]" for m in metrics]
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    try:
        main()
    except ConfigError as error:
        raise SystemExit(str(error)) from error

"""Dies at each file operation of a checkpoint in turn, for the tests.

    python killed.py FOLDER

For n = 1, 2, ...: a child saves step 2 beside the finished step 1 in FOLDER/n and ends, as by kill -9, at its n-th file
operation. Prints the number of children that died; the last one lived.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from llemma.models.llama import Llama, LlamaConfig, initialise
from llemma.train.checkpoint import Kept, Saver
from llemma.train.config import OptimConfig
from llemma.train.optim import adamw
from llemma.train.parallel import ALONE

OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "os.scandir"}


def trained(steps: int) -> tuple[Llama, torch.optim.AdamW]:
    """A tiny model after so many updates, the same each time."""
    sizes = LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=24, num_attention_heads=2,
                        num_key_value_heads=2, num_hidden_layers=1)  # fmt: skip
    model = Llama(sizes)
    initialise(model, 0)
    optimizer = adamw(model, OptimConfig())
    for _ in range(steps):
        model.loss(torch.arange(40).view(2, 20)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def save(folder: Path, step: int) -> None:
    with Saver(folder, ALONE, Kept(newest=1), background=False) as saver:
        saver.save(step, *trained(step), end_id=0, state={})


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    save(folder / "0", 1)
    for n in range(1, 1000):
        shutil.copytree(folder / "0", folder / str(n))
        child = os.fork()
        if child == 0:
            left = n

            def count(event: str, args: tuple[Any, ...]) -> None:
                nonlocal left
                if event in OPERATIONS and str(folder) in str(args[0]):
                    left -= 1
                    if left == 0:
                        os._exit(9)

            sys.addaudithook(count)
            save(folder / str(n), 2)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            print(n - 1)
            return


if __name__ == "__main__":
    main()

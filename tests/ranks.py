"""One rank of a distributed training run, for the tests: real processes, gloo, no launcher.

    python ranks.py RANK FOLDER < jobs.json

Trains the jobs one after the other; a job is a table of TrainConfig with ``world`` and ``stop_at``. The processes of
a job meet in a file in FOLDER, so that no port can be taken.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def train_all(jobs: Sequence[Mapping[str, Any]], folder: Path, *, timeout: float = 100) -> None:
    """Run jobs in as many processes as the largest needs; fails with what a rank said."""
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in range(max(job["world"] for job in jobs))
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(json.dumps(jobs))
            process.stdin.close()
            process.stdin = None
        said = [process.communicate(timeout=timeout)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    failed = [text for process, text in zip(processes, said, strict=True) if process.returncode]
    assert not failed, failed[0]


def main() -> None:
    rank, folder = int(sys.argv[1]), Path(sys.argv[2])
    import torch.distributed as dist

    from llemma.config import build
    from llemma.train.config import TrainConfig
    from llemma.train.loop import train

    for number, job in enumerate(json.load(sys.stdin)):
        job = dict(job)
        world, stop_at = job.pop("world"), job.pop("stop_at", None)
        if rank < world:
            dist.init_process_group(
                "gloo", init_method=f"file://{folder}/meeting-{number}", rank=rank, world_size=world
            )
            train(build(TrainConfig, job), stop_at=stop_at)
            dist.destroy_process_group()


if __name__ == "__main__":
    main()

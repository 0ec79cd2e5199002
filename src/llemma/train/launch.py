"""Scripts that start a training run on many GPUs: one machine, a Slurm cluster, a cloud through SkyPilot.

Text only: nothing is submitted. The command carries every setting that differs from its default, so the script needs
no other file. A run that is stopped, by a time limit or a lost machine, goes on with the same script.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from llemma.config import to_table
from llemma.train.config import TrainConfig, sizes

PORT = 29500  # torchrun's own


def script(config: TrainConfig) -> str:
    """The script that ``launch=`` asks for, for ``config.gpus`` GPUs. Raises ConfigError when they do not divide."""
    sizes(config.parallel, config.gpus)
    return {"torchrun": _torchrun, "slurm": _slurm, "skypilot": _skypilot}[config.launch](config)


def nodes(config: TrainConfig) -> tuple[int, int]:
    """Machines, and GPUs on each: full ones, as Slurm and clouds give them."""
    each = min(config.gpus, config.gpus_per_node)
    return -(-config.gpus // each), each


def words(config: TrainConfig) -> list[str]:
    """The ``key=value`` words that give this configuration back, without what only plans and prints."""
    plain = TrainConfig(corpus=config.corpus, data=config.data, init=config.init)
    default = dict(_flat(to_table(plain)))
    skipped = {"launch", "dry_run", "export", "gpus", "gpus_per_node", "trace"}
    always = {"corpus", "data", "init", "run"}
    return [
        f"{key}={value}"
        for key, value in _flat(to_table(config))
        if key not in skipped and value not in ("", ".") and (key in always or default.get(key) != value)
    ]


def _command(config: TrainConfig, how: str) -> str:
    lines = [f"torchrun {how} -m llemma train", *map(shlex.quote, words(config))]
    return " \\\n    ".join(lines)


def _torchrun(config: TrainConfig) -> str:
    count, each = nodes(config)
    if count == 1:
        return "#!/bin/bash\nset -eu\n" + _command(config, f"--standalone --nproc-per-node {each}")
    how = (
        f'--nnodes {count} --nproc-per-node {each} --rdzv-id llemma --rdzv-backend c10d --rdzv-endpoint "$HEAD:{PORT}"'
    )
    return (
        f"#!/bin/bash\n# start this on each of the {count} machines, with HEAD the name of one of them; the run folder "
        "must be on a file system they share\nset -eu\n" + _command(config, how)
    )


def _slurm(config: TrainConfig) -> str:
    count, each = nodes(config)
    how = (
        f'--nnodes {count} --nproc-per-node {each} --rdzv-id "$SLURM_JOB_ID" --rdzv-backend c10d '
        f'--rdzv-endpoint "$head:{PORT}"'
    )
    return f"""#!/bin/bash
#SBATCH --job-name=llemma-{config.run.name}
#SBATCH --nodes={count}
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node={each}
#SBATCH --cpus-per-task={8 * each}
#SBATCH --mem=0
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --output=%x-%j.log
# add what your cluster wants: --partition, --account; the run folder must be on a file system all nodes share
set -eu
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export head
srun --kill-on-bad-exit=1 {_command(config, how)}"""


def _skypilot(config: TrainConfig) -> str:
    count, each = nodes(config)
    how = (
        f"--nnodes $SKYPILOT_NUM_NODES --nproc-per-node $SKYPILOT_NUM_GPUS_PER_NODE --node-rank $SKYPILOT_NODE_RANK "
        f'--master-addr "$head" --master-port {PORT}'
    )
    command = _command(config, how).replace("\n", "\n  ")
    return f"""# sky launch this-file.yaml
name: llemma-{config.run.name}
num_nodes: {count}
resources:
  accelerators: H100:{each}
  use_spot: false
workdir: .
setup: |
  pip install "llemma[train]"
run: |
  set -eu
  head=$(echo "$SKYPILOT_NODE_IPS" | head -n 1)
  {command}"""


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (list, tuple)):
            yield prefix + key, ",".join(map(str, value))
        else:
            yield prefix + key, str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)

"""Proves theorems on a Ray cluster of three nodes on this machine, one of which is killed on the way; writes OUT.

Usage: python on_ray.py FILE RUN OUT. A program of its own, because Ray's processes and warnings are not the tests'.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from llemma.config import resolve
from llemma.prove.config import ProveConfig
from llemma.prove.prove import prove

# States expanded again and again, so that the work lasts beyond the death of the node.
SEARCH = ("search=best_first,mcts", "model=fixed", "cache=none", "dedup=paper", "budget.expansions=1500")


def main(source: str, run: str, out: str) -> None:
    """Start the cluster, kill a node after a few rows, say what became of it."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    doomed = cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    rows, killed = Path(run) / "rows.jsonl", list[int]()

    def kill() -> None:
        while not rows.exists() or rows.read_bytes().count(b"\n") < 5:
            time.sleep(0.01)
        cluster.remove_node(doomed, allow_graceful=False)
        killed.append(rows.read_bytes().count(b"\n"))

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    words = [f"source={source}", f"run={run}", "engine=ray", *SEARCH]
    result = prove(resolve(ProveConfig, words=words))
    thread.join(60)
    deadline = time.monotonic() + 60  # until the cluster says so: it looks at its nodes every few seconds
    while (alive := sum(node["Alive"] for node in ray.nodes())) == 3 and time.monotonic() < deadline:
        time.sleep(0.2)
    Path(out).write_text(json.dumps({"killed_at": killed, "alive": alive, "errors": result.errors}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])

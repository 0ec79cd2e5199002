"""Proves theorems on a Ray cluster of three nodes on this machine, one of which is killed on the way; JSON on stdout.

Usage: python on_ray.py FILE RUN. A program of its own, because Ray's processes and warnings are not the tests'.
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


def main(source: str, run: str) -> None:
    """Start the cluster, kill a node after a few rows, print what became of it."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    doomed = cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    rows, killed = Path(run) / "rows.jsonl", list[int]()

    def kill() -> None:
        while not rows.exists() or rows.read_bytes().count(b"\n") < 5:
            time.sleep(0.01)
        killed.append(rows.read_bytes().count(b"\n"))
        cluster.remove_node(doomed, allow_graceful=False)

    threading.Thread(target=kill, daemon=True).start()
    words = [f"source={source}", f"run={run}", "search=best_first,mcts", "model=fixed", "engine=ray", "cache=none"]
    result = prove(resolve(ProveConfig, words=words))
    alive = sum(node["Alive"] for node in ray.nodes())
    print(json.dumps({"killed_at": killed, "alive": alive, "errors": result.errors}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Builds a corpus on a Ray cluster of this machine and kills a node in the middle of every stage; says what happened.

Usage: python on_ray_corpus.py RECIPE RUN OUT. A program of its own, because Ray's processes and warnings are not the
tests'. The head has no workers; three nodes have one each. A node is killed while one of its units is under way: before
its work, or when its files are written but its row is not.
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
from llemma.corpus import engine_ray
from llemma.corpus.pipeline import CorpusConfig, build_corpus
from llemma.corpus.units import Row, Unit
from llemma.errors import Caught

STAGES = ("read", "group", "tokenise", "pack")
LONGEST = 120.0  # seconds that a unit waits to be hit


class Slow(engine_ray.Worker):
    """A worker that leaves a mark when it begins a unit, and waits where it can be hit."""

    def work(self, unit: Unit) -> Row | Caught:
        marks = Path(self._seen).parent.with_name("marks")
        hit, ends = marks / f"{unit.stage}.hit", time.monotonic() + LONGEST
        early = hit.exists()
        late = sum(unit.id.encode()) % 2 == 0
        found = super().work(unit) if early or late else None
        (marks / f"{unit.stage}.{ray.get_runtime_context().get_node_id()}").touch()
        while not hit.exists() and time.monotonic() < ends:
            time.sleep(0.05)
        return super().work(unit) if found is None else found


def main(recipe: str, run: str, out: str) -> None:
    """Start the cluster, kill a node in each stage, say what became of it."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(3)]
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    engine_ray.Worker = Slow  # type: ignore[misc]
    marks, hit, made = Path(run).with_name("marks"), list[str](), dict[str, int]()
    marks.mkdir()

    def build() -> None:
        made.update(build_corpus(resolve(CorpusConfig, files=[Path(recipe)], words=["engine=ray", f"run={run}"])))

    thread = threading.Thread(target=build, daemon=True)  # nodes are added by the main thread
    thread.start()
    for stage in STAGES:
        while (node := next((n for n in nodes if (marks / f"{stage}.{n.node_id}").exists()), None)) is None:
            assert thread.is_alive()
            time.sleep(0.01)
        nodes.remove(node)
        cluster.remove_node(node, allow_graceful=False)
        (marks / f"{stage}.hit").touch()
        hit.append(stage)
        nodes.append(cluster.add_node(num_cpus=1))
    thread.join(120)
    ends = time.monotonic() + 60  # until the cluster says so: it looks at its nodes every few seconds
    while (lost := sum(not node["Alive"] for node in ray.nodes())) < len(hit) and time.monotonic() < ends:
        time.sleep(0.2)
    Path(out).write_text(json.dumps({"hit": hit, "lost": lost, "documents": made["documents"]}))
    ray.shutdown()
    cluster.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""One MinHash in a process of its own: a line on standard input makes it sign the same texts once more.

    PYTHON bench/_dedup_peers.py NAME TEXTS.jsonl

Answers each line with ``{"seconds"}``: processor time of this process (all its threads) for the signatures of all
texts, 14 × 8 hashes over shingles of five words, from the text as a string on. Of llemma it imports something for its
own rows only, so that it runs in the Python that a peer needs.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

Sign = Callable[[list[str]], Any]
WORDS = re.compile(r"\w+")
BATCH = 1000
ENOUGH = 0.5  # seconds of processor time that a turn lasts at least


def _shingles(text: str) -> list[str]:
    words = WORDS.findall(text.lower())
    return [" ".join(words[k : k + 5]) for k in range(max(1, len(words) - 4))]


def _llemma() -> tuple[str, Sign]:
    from llemma import __version__
    from llemma.corpus.dedup import DedupConfig, signatures

    config = DedupConfig()
    return (
        f"llemma {__version__}, numba {version('numba')}: exact hash, keys, sketch",
        lambda texts: [signatures(texts[k : k + BATCH], config) for k in range(0, len(texts), BATCH)],
    )


def _numpy() -> tuple[str, Sign]:
    from llemma import __version__
    from llemma.corpus import dedup, minhash

    plan = dedup.plan(dedup.DedupConfig())
    return (
        f"llemma {__version__} without numba: numpy",
        lambda texts: [
            minhash.sign(*minhash.pack(texts[k : k + BATCH]), plan, numba=False) for k in range(0, len(texts), BATCH)
        ],
    )


def _rensa() -> tuple[str, Sign]:
    from rensa import RMinHash  # type: ignore[import-not-found]

    return (
        f"rensa {version('rensa')}: shingles in Python, digest_matrix_from_token_sets",
        lambda texts: RMinHash.digest_matrix_from_token_sets([_shingles(t) for t in texts], num_perm=112, seed=1),
    )


def _rensa_alone() -> tuple[str, Sign]:
    from rensa import RMinHash

    ready: dict[int, list[list[str]]] = {}

    def sign(texts: list[str]) -> Any:
        return RMinHash.digest_matrix_from_token_sets(ready[len(texts)], num_perm=112, seed=1)

    def prepared(texts: list[str]) -> Any:
        if len(texts) not in ready:
            ready[len(texts)] = [_shingles(t) for t in texts]
        return sign(texts)

    return f"rensa {version('rensa')} alone, the shingles ready as lists of strings", prepared


def _datasketch() -> tuple[str, Sign]:
    from datasketch import MinHash  # type: ignore[import-not-found]

    def sign(texts: list[str]) -> Any:
        done = []
        for text in texts:
            found = MinHash(num_perm=112)
            found.update_batch([s.encode() for s in _shingles(text)])
            done.append(found)
        return done

    return f"datasketch {version('datasketch')}: update_batch", sign


def _datatrove() -> tuple[str, Sign]:
    from datatrove.pipeline.dedup import MinhashDedupSignature  # type: ignore[import-not-found]
    from datatrove.pipeline.dedup.minhash import MinhashConfig  # type: ignore[import-not-found]

    step = MinhashDedupSignature(output_folder="unused", config=MinhashConfig(num_buckets=14, hashes_per_bucket=8))

    def sign(texts: list[str]) -> Any:
        done = []
        for text in texts:
            shingles = step.get_shingles(text)
            if shingles.size:
                done.append(step.get_signature(shingles))
        return done

    return f"datatrove {version('datatrove')}: get_shingles, get_signature (spaCy's words)", sign


PEERS: dict[str, Callable[[], tuple[str, Sign]]] = {
    "llemma": _llemma, "numpy": _numpy, "rensa": _rensa, "rensa_alone": _rensa_alone, "datasketch": _datasketch,
    "datatrove": _datatrove,
}  # fmt: skip


def main() -> None:
    label, sign = PEERS[sys.argv[1]]()
    texts = [json.loads(line)["text"] for line in Path(sys.argv[2]).read_text(encoding="utf-8").splitlines()]
    sign(texts[:20])  # what is loaded or compiled on first use
    if sys.argv[1] == "rensa_alone":
        sign(texts)
    print(json.dumps({"label": label}), flush=True)
    for _ in sys.stdin:
        begin, times = time.process_time(), 0
        while times == 0 or time.process_time() - begin < ENOUGH:
            sign(texts)
            times += 1
        print(json.dumps({"seconds": (time.process_time() - begin) / times}), flush=True)


if __name__ == "__main__":
    main()

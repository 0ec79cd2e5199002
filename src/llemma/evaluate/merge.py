"""Puts the shards of an evaluation together into one run folder that reads like an undivided run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llemma.errors import RunError
from llemma.evaluate.config import parse_shard
from llemma.evaluate.score import EvalResult, score_run, settings_of
from llemma.evaluate.settings import MergeConfig
from llemma.records import Event, Progress, silent
from llemma.run import json_line, open_run, read_jsonl

FREE = ("run", "shard", "batch", "groups_of", "engine")  # may differ between shards


def merge(config: MergeConfig, progress: Progress = silent) -> EvalResult:
    """Write the rows of all shards into ``config.run``, and the scores that follow from them.

    The same call again replaces what an interrupted one left. Raises RunError when a shard is missing, given twice or
    of other settings, or when the folder holds something else.
    """
    stored = [settings_of(folder) for folder in config.runs]
    _check(config.runs, stored)
    groups = stored[0].get("groups_of")
    settings = {**stored[0], "shard": "", "run": str(config.run), "groups_of": groups}
    with open_run(config.run, "eval", settings) as run:
        run.replace_rows(_lines(config.runs, progress))
        return score_run(run, settings)


def _check(folders: Sequence[Path], stored: Sequence[Mapping[str, Any]]) -> None:
    shards = []
    for folder, settings in zip(folders, stored, strict=True):
        if not settings.get("shard"):
            raise RunError(f"{folder} is not a shard of an evaluation (run it with shard=PART/PARTS)")
        shards.append(parse_shard(settings["shard"]))
        for key in sorted(stored[0].keys() | settings.keys()):
            if key not in FREE and settings.get(key) != stored[0].get(key):
                raise RunError(
                    f"{folder} and {folders[0]} are of different evaluations "
                    f"({key}: {settings.get(key)!r} and {stored[0].get(key)!r})"
                )
    parts = shards[0].of
    given = sorted(shard.index for shard in shards if shard.of == parts)
    missing = sorted(set(range(1, parts + 1)) - set(given))
    if missing or len(given) != parts or len(shards) != parts:
        what = f"missing: {', '.join(map(str, missing))}" if missing else "some are given twice"
        raise RunError(f"an evaluation in {parts} shards needs each of them once ({what})")


def _lines(folders: Sequence[Path], progress: Progress) -> Iterator[bytes]:
    done = 0
    for folder in folders:
        for row in read_jsonl(folder / "rows.jsonl"):
            yield json_line(row)
            done += 1
            if done % 1000 == 0:
                progress(Event(stage="merge", done=done, unit="samples"))
    progress(Event(stage="merge", done=done, total=done, unit="samples"))

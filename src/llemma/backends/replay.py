"""Gives back the completions recorded in a run's rows.jsonl: replay:FILE or replay:RUN_FOLDER.

A request gets the recorded completion of the same prompt and the same seed. An evaluation derives a sample's seed
from its own seed, the task, the problem and k, so the match is exact, and stays so when the replay itself is killed
and resumed. Recorded errors are left out. No model is run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from llemma import __version__
from llemma.backends import Request
from llemma.errors import BackendError, DataError
from llemma.records import Completion, Sampling, Transcript, from_row
from llemma.run import read_jsonl


class Replay:
    """The recorded completions of one file."""

    batch = 256  # nothing is computed: only bounds the loss when a run is killed

    def __init__(self, path: Path) -> None:
        self.info: Mapping[str, str] = {"engine": "replay", "version": __version__, "model": str(path)}
        self._recorded: dict[tuple[str, int], Completion] = {}
        for number, row in enumerate(read_jsonl(path), 1):
            if row.get("error") is None:
                prompt, seed, completion = _entry(row, f"{path}: row {number}")
                self._recorded[prompt, seed] = completion
        if not self._recorded:
            raise DataError("no completions are recorded in it", where=path)

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """The recorded completion of each request, whatever ``sampling`` says. BackendError when there is none."""
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Completion:
        found = self._recorded.get((request.prompt, request.seed))
        if found is None:
            raise BackendError(
                f"no completion is recorded for the prompt ending in {request.prompt[-60:]!r} with this seed; evaluate "
                "with the tasks, options and seed of the recording, and at most its samples"
            )
        return found


def open(target: str) -> Replay:
    """The back end for a rows.jsonl or its run folder. Raises DataError when it is missing or not of this form."""
    path = Path(target).expanduser()
    return Replay(path / "rows.jsonl" if path.is_dir() else path)


def _entry(row: Mapping[str, object], where: str) -> tuple[str, int, Completion]:
    prompt, seed, transcript = row.get("prompt"), row.get("seed"), row.get("transcript")
    if not (isinstance(prompt, str) and isinstance(seed, int) and isinstance(transcript, dict)):
        raise DataError("expected the fields prompt, seed and transcript of an evaluation's rows", where=where)
    try:
        written = from_row(Transcript, transcript)
    except (KeyError, TypeError) as error:
        raise DataError(f"not a transcript: {error}", where=where) from error
    return prompt, seed, Completion(text=written.text, finish=written.finish, tokens=written.tokens)

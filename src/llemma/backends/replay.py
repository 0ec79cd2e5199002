"""Gives back the completions recorded in a run's rows.jsonl: replay:FILE or replay:RUN_FOLDER.

A request gets the recorded sample of the same prompt and seed; when no sample has its seed (an evaluation with
another seed), the samples of its prompt in order of k. Recorded errors are left out. No model is run.
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
        recorded: dict[str, list[tuple[int, int, Completion]]] = {}
        for number, row in enumerate(read_jsonl(path), 1):
            if row.get("error") is None:
                prompt, k, seed, completion = _entry(row, f"{path}: row {number}")
                recorded.setdefault(prompt, []).append((k, seed, completion))
        if not recorded:
            raise DataError("no completions are recorded in it", where=path)
        for samples in recorded.values():
            samples.sort(key=lambda sample: sample[0])
        self._in_order = {prompt: [c for _, _, c in samples] for prompt, samples in recorded.items()}
        self._by_seed = {(prompt, seed): c for prompt, samples in recorded.items() for _, seed, c in samples}
        self._next: dict[str, int] = {}

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """The recorded completion of each request, whatever ``sampling`` says. BackendError when there is none."""
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Completion:
        exact = self._by_seed.get((request.prompt, request.seed))
        if exact is not None:
            return exact
        samples = self._in_order.get(request.prompt, [])
        turn = self._next.get(request.prompt, 0)
        if turn >= len(samples):
            raise BackendError(
                f"{len(samples)} completions are recorded for the prompt ending in {request.prompt[-60:]!r}, "
                f"number {turn + 1} was asked for; evaluate with the tasks, options and samples of the recording"
            )
        self._next[request.prompt] = turn + 1
        return samples[turn]


def open(target: str) -> Replay:
    """The back end for a rows.jsonl or its run folder. Raises DataError when it is missing or not of this form."""
    path = Path(target).expanduser()
    return Replay(path / "rows.jsonl" if path.is_dir() else path)


def _entry(row: Mapping[str, object], where: str) -> tuple[str, int, int, Completion]:
    prompt, k, seed, transcript = row.get("prompt"), row.get("k"), row.get("seed", -1), row.get("transcript")
    if not (isinstance(prompt, str) and isinstance(k, int) and isinstance(seed, int) and isinstance(transcript, dict)):
        raise DataError("expected the fields prompt, k and transcript of an evaluation's rows", where=where)
    try:
        written = from_row(Transcript, transcript)
    except (KeyError, TypeError) as error:
        raise DataError(f"not a transcript: {error}", where=where) from error
    return prompt, k, seed, Completion(text=written.text, finish=written.finish, tokens=written.tokens)

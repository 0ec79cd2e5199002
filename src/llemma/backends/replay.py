"""Gives back recorded completions: replay:FILE or replay:RUN_FOLDER. No model is run.

Three forms of recordings are read, known by their first row:

- rows.jsonl of a run of ours: a request gets the completion of the same prompt and the same seed. An evaluation
  derives a sample's seed from its own seed, the task, the problem and k, so the match is exact, and stays so when the
  replay itself is killed and resumed. Recorded errors are left out.
- samples of lm-eval (``doc``, ``resps``): sample k of the request's question is the k-th response.
- files of ``question``, ``code`` (a list of generated texts) and ``gt``, as ToRA and its descendants write them:
  sample k of the question is the k-th text.

The file is indexed, not held: a million recorded samples take some tens of megabytes.
"""

from __future__ import annotations

import json
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from llemma import __version__
from llemma.backends import Request
from llemma.config import setting
from llemma.errors import BackendError, Caught, DataError
from llemma.records import Completion, Sampling, Transcript, from_row

T = TypeVar("T")
Row = Mapping[str, Any]
Entries = dict[str, Completion]  # the completions of a row by the names under which they are asked for
QUESTION_FIELDS = ("question", "problem", "input", "Question")  # of an lm-eval doc, tried in this order


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the back end."""

    partial: bool = setting(False, "leave out problems that are not in the recording, instead of counting them as lost")


class Replay:
    """The recorded completions of one file."""

    batch = 256  # nothing is computed: only bounds the loss when a run is killed

    def __init__(self, path: Path, options: Options | None = None) -> None:
        self._path, self._partial = path, options is not None and options.partial
        try:
            self._file = path.open("rb")
        except FileNotFoundError as error:
            raise DataError("no such file; check the path", where=path) from error
        weakref.finalize(self, self._file.close)
        self._form, self._entries = _form_of(path)
        self._index()
        self._last: tuple[int, Entries] = (-1, {})
        self.info: Mapping[str, str] = {
            "engine": "replay",
            "version": __version__,
            "model": str(path),
            "recording": self._form,
        }

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """The recorded completion of each request, whatever ``sampling`` says. BackendError when there is none."""
        return [self._one(request) for request in requests]

    def stream(
        self, requests: Iterable[tuple[T, Request]], sampling: Sampling
    ) -> Iterator[tuple[T, Completion | Caught]]:
        """The recorded completions in the order of the requests; what is not recorded is a failure of that one."""
        for name, request in requests:
            found = self._find(request)
            yield name, found if found is not None else Caught(kind="BackendError", message=self._missing(request))

    def covers(self, question: str) -> bool:
        """Whether a problem is to be evaluated: always, unless ``partial`` leaves out those that are not recorded."""
        return not self._partial or self._find(Request(prompt="", question=question)) is not None

    def _one(self, request: Request) -> Completion:
        found = self._find(request)
        if found is None:
            raise BackendError(self._missing(request))
        return found

    def _missing(self, request: Request) -> str:
        if self._form == "rows":
            return (
                f"no completion is recorded for the prompt ending in {request.prompt[-60:]!r} with this seed; evaluate "
                "with the tasks, options and seed of the recording, and at most its samples"
            )
        return (
            f"no sample {request.k} is recorded for the question {request.question[:60]!r}; evaluate the task of the "
            "recording with at most its samples, or set engine.partial=true to leave out what is not in it"
        )

    def _find(self, request: Request) -> Completion | None:
        if self._form == "rows":
            name = _exact(request.prompt, request.seed)
        else:
            name = _named(request.question, request.k)
        hashed = np.uint64(_hash(name))
        place = int(np.searchsorted(self._hashes, hashed))
        while place < len(self._hashes) and self._hashes[place] == hashed:  # nearly always one
            found = self._row(int(self._offsets[place])).get(name)
            if found is not None:
                return found
            place += 1
        return None

    def _row(self, offset: int) -> Entries:
        if self._last[0] != offset:
            self._file.seek(offset)
            self._last = offset, self._entries(_parsed(self._file.readline(), f"{self._path}"), f"{self._path}")
        return self._last[1]

    def _index(self) -> None:
        """Note where the row of each name begins."""
        hashes, offsets, offset = array("Q"), array("q"), 0
        for number, line in enumerate(self._file, 1):
            if line.strip():
                where = f"{self._path}: row {number}"
                for name in self._entries(_parsed(line, where), where):
                    hashes.append(_hash(name))
                    offsets.append(offset)
            offset += len(line)
        if not hashes:
            raise DataError("no completions are recorded in it", where=self._path)
        order = np.argsort(np.asarray(hashes, dtype=np.uint64), kind="stable")
        self._hashes = np.asarray(hashes, dtype=np.uint64)[order]
        self._offsets = np.asarray(offsets, dtype=np.int64)[order]


def open(target: str, options: Options | None = None) -> Replay:
    """The back end for a file or a run folder. Raises DataError when it is missing or not of a known form."""
    path = Path(target).expanduser()
    return Replay(path / "rows.jsonl" if path.is_dir() else path, options)


def _form_of(path: Path) -> tuple[str, Callable[[Row, str], Entries]]:
    """The form of a recording, told by its first row."""
    with path.open("rb") as file:
        line = next((line for line in file if line.strip()), b"")
    if not line:
        raise DataError("no completions are recorded in it", where=path)
    row = _parsed(line, f"{path}: row 1")
    if "doc" in row and "resps" in row:
        return "lm-eval", _of_samples
    if "question" in row and "code" in row:
        return "texts", _of_texts
    return "rows", _of_rows


def _of_rows(row: Row, where: str) -> Entries:
    if row.get("error") is not None:
        return {}
    prompt, seed, transcript = row.get("prompt"), row.get("seed"), row.get("transcript")
    if not (isinstance(prompt, str) and isinstance(seed, int) and isinstance(transcript, dict)):
        raise DataError("expected the fields prompt, seed and transcript of an evaluation's rows", where=where)
    try:
        written = from_row(Transcript, transcript)
    except (KeyError, TypeError) as error:
        raise DataError(f"not a transcript: {error}", where=where) from error
    completion = Completion(
        text=written.steps[0].text if len(written.steps) == 1 else written.text,  # before what tools put behind it
        finish=written.finish,
        tokens=written.tokens,
        logprob=row.get("logprob"),
        prompt_tokens=row.get("prompt_tokens") or 0,
        seconds=written.seconds,
        steps=written.steps if len(written.steps) > 1 else (),
    )
    return {_exact(prompt, seed): completion}


def _of_samples(row: Row, where: str) -> Entries:
    doc, resps = row.get("doc"), row.get("resps")
    if not isinstance(doc, dict) or not isinstance(resps, list):
        raise DataError("expected the fields doc and resps of lm-eval's samples", where=where)
    question = next((doc[name] for name in QUESTION_FIELDS if isinstance(doc.get(name), str)), None)
    if question is None:
        raise DataError(f"its doc has none of the fields {', '.join(QUESTION_FIELDS)}", where=where)
    texts = [text for group in resps for text in (group if isinstance(group, list) else [group])]
    return _texts(question, texts, where)


def _of_texts(row: Row, where: str) -> Entries:
    question, texts = row.get("question"), row.get("code")
    if not isinstance(question, str) or not isinstance(texts, list):
        raise DataError("expected the fields question and code (a list of texts)", where=where)
    return _texts(question, texts, where)


def _texts(question: str, texts: list[Any], where: str) -> Entries:
    if not all(isinstance(text, str) for text in texts):
        raise DataError("expected texts as the recorded completions", where=where)
    return {_named(question, k): Completion(text=text, finish="recorded") for k, text in enumerate(texts)}


def _exact(prompt: str, seed: int) -> str:
    return f"{seed}\x1f{prompt}"


def _named(question: str, k: int) -> str:
    return f"{k}\x1f{question.strip()}"


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _parsed(line: bytes, where: str) -> Row:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DataError(f"not valid JSON: {error}", where=where) from error
    if not isinstance(value, dict):
        raise DataError("expected a JSON object on each line", where=where)
    return value

"""Building a corpus on the machines of a Ray cluster: the units of one machine, done by actors, with the same result.

Every machine must see the run folder and the input under the same paths (a shared file system); an actor that does not
refuses to start. A unit that dies with its machine is done again elsewhere.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from llemma.cluster import Actors
from llemma.corpus.units import Row, Unit, insist
from llemma.errors import Caught, RunError
from llemma.records import Progress, silent


class Worker:
    """An actor: does one unit after the other, in the folder that its driver works in."""

    def __init__(self, folder: str, seen: str, token: str) -> None:
        self._folder, self._seen, self._token = folder, Path(seen), token

    def ready(self) -> bool:
        """True once the actor stands where the driver does. Raises RunError where it sees another file system."""
        try:
            os.chdir(self._folder)
            found = self._seen.read_text(encoding="utf-8")
        except OSError:
            found = ""
        if found != self._token:
            raise RunError(
                f"{socket.gethostname()} does not see {self._seen.parent}; engine=ray needs the run folder and the "
                "input on a file system that all machines share, under the same paths"
            )
        return True

    def work(self, unit: Unit) -> Row | Caught:
        """One unit from end to end."""
        return insist(unit)


class RayEngine:
    """The actors of one build."""

    def __init__(self, run: Path, *, address: str, workers: int) -> None:
        self._seen = run.resolve() / ".shared"
        token = secrets.token_hex(8)
        self._token = token
        self._actors = Actors[Unit](
            Worker,
            (str(Path.cwd()), str(self._seen), token),
            lambda unit: (unit,),
            address=address,
            workers=workers,
            opens="no worker could be started",
            error=RunError,
        )

    def __enter__(self) -> RayEngine:
        self._actors.__enter__()  # none starts before it has work
        self._seen.write_text(self._token, encoding="utf-8")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._actors.__exit__(kind, error, at)
        self._seen.unlink(missing_ok=True)

    def each(self, units: Sequence[Unit], progress: Progress = silent) -> Iterator[tuple[Unit, Row | Caught]]:
        """Every unit with its row or what failed, in the order in which they are done."""
        yield from self._actors.each(units)

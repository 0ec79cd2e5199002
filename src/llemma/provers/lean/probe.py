"""What Lean costs on this machine: its cold start, measured once per version and kept in the cache."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from llemma.fetch import cache_folder
from llemma.provers.lean.process import Process
from llemma.provers.lean.toolchain import Toolchain


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Seconds from nothing to a worker that answers, behind which walls, and when that was measured."""

    seconds: float
    walls: str
    date: str


def cold_start(toolchain: Toolchain) -> Start:
    """Measured now, or as measured before. ProverError or SandboxError when it cannot be started."""
    place = _place(toolchain)
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Start(**json.loads(place.read_text(encoding="utf-8")))
    process = Process(toolchain, "worker", "auto")
    try:
        process.start()
        found = Start(seconds=round(process.started, 1), walls=process.tier, date=str(datetime.date.today()))
    finally:
        process.close()
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time only
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(asdict(found)), encoding="utf-8")
    return found


def _place(toolchain: Toolchain) -> Path:
    known = [toolchain.version, str(toolchain.lean), str(toolchain.lean.stat().st_mtime_ns)]
    for part in sorted(Path(__file__).parent.glob("*.lean")):
        known.append(part.read_text(encoding="utf-8"))
    return cache_folder() / f"lean-start-{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]}.json"

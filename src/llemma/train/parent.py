"""A worker of ``torchrun`` ends when torchrun does, also when that is killed and can tell nobody."""

from __future__ import annotations

import os
import signal
import threading
import time

EVERY = 0.5  # seconds between looks at the parent


def end_with_parent() -> None:
    """From a process that ``torchrun`` started: end it at once, by SIGKILL, when its parent is gone; else nothing.

    A worker that went on alone would hold its GPU and write into the run folder beside the run that takes its place.
    It may end anywhere: checkpoints are whole or not there. A thread looks, for Linux's signal on a parent's death is
    sent when the parent's starting *thread* ends, and other systems have none.
    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=_watch, args=(os.getppid(),), name="parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(EVERY)
    os.kill(os.getpid(), signal.SIGKILL)

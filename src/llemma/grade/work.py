"""The other side of ``llemma.grade.worker``: what runs in the worker process.

Reads requests in JSON lines, calls the function a request names and answers in JSON lines, one at a time. Each call
arms timers, and the kernel ends the process when one rings, whatever Python is doing.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

from llemma.errors import Caught, boundary

Json = Any

TIMERS = (signal.SIGALRM, signal.SIGPROF, signal.SIGXCPU)  # the process ends with their number as its exit code


def load() -> None:
    """Import what calls need, and use it once; workers are forked off the process that has done so."""
    from llemma.grade.paper.symbolic import equal

    equal(["x + 1", "\\frac{2x}{2} + 1"])


def serve(requests: int, answers: int) -> None:
    """Answer what arrives on one descriptor on the other, until its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    sys.set_int_max_str_digits(sys.int_info.default_max_str_digits)  # a zygote has lifted it; verdicts depend on it
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    for number in TIMERS:  # the default action would not end process 1 of a namespace
        libc.signal(number, ctypes.cast(libc._exit, ctypes.c_void_p))
    null = os.open(os.devnull, os.O_RDWR)
    for handle in (1, 2):  # nothing that is printed gets between the answers
        os.dup2(null, handle)
    with open(requests, "rb") as lines, open(answers, "wb") as out:
        for line in lines:
            out.write(_answer(json.loads(line)) + b"\n")
            out.flush()


def _answer(request: dict[str, Any]) -> bytes:
    if "load" in request:
        loaded = boundary(lambda: _function(request["load"]))
        return json.dumps({"error": str(loaded)} if isinstance(loaded, Caught) else {"value": None}).encode()
    work = _function(request["function"])
    _set_limits(request["seconds"], request["wall"])
    try:
        answer = boundary(lambda: json.dumps({"value": work(request["payload"])}))
    except AssertionError as error:
        answer = Caught(kind="AssertionError", message=str(error))
    finally:
        _set_limits(0, 0)
    return (json.dumps({"error": str(answer)}) if isinstance(answer, Caught) else answer).encode()


def _function(name: str) -> Callable[[Json], Json]:
    module, _, function = name.partition(":")
    found: Callable[[Json], Json] = getattr(importlib.import_module(module), function)
    return found


def _set_limits(seconds: float, wall: float) -> None:
    """Arm the timers that end this process, or disarm them with 0; RLIMIT_CPU stands behind them in whole seconds."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, wall)
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = int(used.ru_utime + used.ru_stime + seconds) + 2 if seconds else hard
    if hard == resource.RLIM_INFINITY or soft <= hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def main(memory: int) -> None:
    """Serve on standard input and output where there are no walls, with ``memory`` bytes of address space."""
    for what, most in ((resource.RLIMIT_AS, memory), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(what)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):  # not every system knows every limit
            resource.setrlimit(what, (bound, bound))
    answers = os.dup(1)
    serve(0, answers)


if __name__ == "__main__":
    main(int(sys.argv[1]))

"""The killable worker: from any thread or process, nothing outlives its limit or its caller, nothing is left behind."""

from __future__ import annotations

import asyncio
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from llemma import sandbox
from llemma.errors import RunError
from llemma.grade import worker
from llemma.grade.worker import Crashed, TimedOut, call
from llemma.sandbox import tiers

ENDLESS = 10**9  # its factorial takes hours and never looks up from its C code
BUSY = 20  # times slower than here, a machine may be


WALLS = bool(tiers.best().name)
modes = ["walls", pytest.param("plain", marks=pytest.mark.slow)] if WALLS else ["plain"]


@pytest.fixture(autouse=True, params=modes, scope="module")
def mode(request):
    """Behind the walls, and as where there are none."""
    with pytest.MonkeyPatch.context() as patch:
        worker.shut_down()
        if request.param == "plain":
            patch.setattr(tiers, "best", lambda: tiers.Tier(name="", detail="as on macOS"))
        yield request.param
        worker.shut_down()


@pytest.fixture(autouse=True)
def functions(monkeypatch):
    """Small functions of the standard library stand for graders."""
    monkeypatch.setattr(
        worker,
        "FUNCTIONS",
        {
            "sqrt": "math:sqrt",
            "factorial": "math:factorial",
            "sleep": "time:sleep",
            "bytes": "builtins:bytearray",
            "memory": "ctypes:string_at",
            "open": "builtins:open",
            "list": "os:listdir",
            "shell": "os:system",
            "socket": "socket:socket",
            "size": "builtins:len",
            "nowhere": "llemma.grade.nowhere:work",
        },
    )


def pid() -> int:
    """The process that answers the next call."""
    assert call("sqrt", 1, 5) == 1
    return worker._pool()._idle[-1].process.pid


def alive(number: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_for(gone: int) -> bool:
    end = time.monotonic() + BUSY
    while alive(gone) and time.monotonic() < end:
        time.sleep(0.02)
    return not alive(gone)


def test_a_value_comes_back_and_the_process_stays_warm():
    assert call("sqrt", 2, 5) == math.sqrt(2)
    assert pid() == pid() != os.getpid()


def test_computation_without_end_is_killed_and_the_next_call_works():
    before = pid()
    start = time.monotonic()
    assert call("factorial", ENDLESS, 0.2, wall=BUSY) == TimedOut(seconds=0.2)
    assert time.monotonic() - start < BUSY
    assert not Path(f"/proc/{before}").exists()  # reaped: not even a zombie
    assert call("sqrt", 4, 5) == 2


def test_sleeping_counts_as_well():
    assert call("sleep", 3600, 5, wall=0.2) == TimedOut(seconds=5)


def test_too_much_memory_is_a_crash_not_a_swapping_machine():
    found = call("bytes", worker.MEMORY * 2, 5)
    assert isinstance(found, Crashed) and "MemoryError" in found.reason


@pytest.mark.parametrize(
    ("name", "payload", "reason"),
    [
        ("sqrt", -1, "ValueError"),
        ("sqrt", "x", "TypeError"),
        ("bytes", 3, "JSON serializable"),
        ("nowhere", 0, "nowhere"),
    ],
)
def test_an_exception_is_a_value(name, payload, reason):
    found = call(name, payload, 5)
    assert isinstance(found, Crashed) and reason in found.reason
    assert call("sqrt", 4, 5) == 2


def test_a_process_that_crashes_is_replaced():
    assert call("memory", 0, 5) == Crashed(reason=f"the worker process ended with status {-signal.SIGSEGV}")
    assert call("sqrt", 4, 5) == 2


def test_a_process_killed_at_work_is_replaced():
    killer = threading.Timer(0.3, os.kill, [pid(), signal.SIGKILL])
    killer.start()
    found = call("sleep", BUSY, 5, wall=2 * BUSY)
    assert found == Crashed(reason=f"the worker process ended with status {-signal.SIGKILL}")
    assert call("sqrt", 4, 5) == 2


def test_a_process_killed_while_idle_is_replaced_unseen():
    victim = pid()
    os.kill(victim, signal.SIGKILL)
    assert wait_for(victim)
    assert call("sqrt", 4, 5) == 2


def test_unknown_names_and_payloads_are_the_callers_mistake():
    with pytest.raises(KeyError):
        call("nothing", 0, 1)
    with pytest.raises(TypeError):
        call("sqrt", object(), 1)


def test_a_machine_that_starts_no_process_is_told_so(monkeypatch):
    worker.shut_down()
    sandbox.shut_down()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(RunError, match="grading worker cannot be started"):
        call("sqrt", 4, 5)


def test_a_payload_larger_than_a_pipe_arrives():
    assert call("size", "é" * 1_000_000, 5) == 1_000_000


def test_from_threads_at_once():
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: call("sqrt", n * n, 5), range(64)))
        assert found == list(range(64))
        late = list(pool.map(lambda _: call("factorial", ENDLESS, 0.1, wall=BUSY), range(8)))
    assert late == [TimedOut(seconds=0.1)] * 8
    worker.shut_down()


def test_from_asyncio():
    async def ask() -> list[object]:
        return await asyncio.gather(
            asyncio.to_thread(call, "sqrt", 9, 5), asyncio.to_thread(call, "factorial", ENDLESS, 0.1, wall=BUSY)
        )

    assert asyncio.run(ask()) == [3, TimedOut(seconds=0.1)]

    async def directly() -> object:
        return call("sqrt", 16, 5)

    assert asyncio.run(directly()) == 4


PLAIN = """
from llemma.sandbox import tiers
tiers.best = lambda: tiers.Tier(name="", detail="as on macOS")
"""
POOL = """
import multiprocessing, sys
from llemma.errors import RunError
from llemma.grade import worker

def work(n):
    worker.FUNCTIONS = {"sqrt": "math:sqrt", "factorial": "math:factorial"}
    return worker.call("sqrt", n * n, 5), worker.call("factorial", 10**9, 0.1, wall=60)

if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:  # its processes are daemonic
        assert pool.map(work, range(4)) == [(n, worker.TimedOut(seconds=0.1)) for n in range(4)]
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_from_a_pool_of_daemonic_processes(method, mode, tmp_path):
    (tmp_path / "pool.py").write_text((PLAIN if mode == "plain" else "") + POOL)
    command = [sys.executable, "-W", "ignore", "pool.py", method]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=5 * BUSY, check=False)
    said = set(done.stderr.splitlines())  # each process says it once
    assert done.returncode == 0 and len(said) == (mode == "plain"), done.stderr


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_keeps_neither_lock_nor_worker():
    mine = pid()
    held = worker._pool()
    with held._lock:  # as if another thread were in the middle of a call
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if call("sqrt", 36, 5) == 6 and pid() != mine else 2
            finally:
                os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert pid() == mine


PROGRAM = """
import sys, threading, time
from llemma.errors import RunError
from llemma.grade import worker
worker.FUNCTIONS = {{"sqrt": "math:sqrt", "factorial": "math:factorial"}}
worker.call("sqrt", 1, 5)
print(worker._pool()._idle[-1].process.pid, flush=True)
{rest}
"""


def run(rest: str, mode: str) -> subprocess.Popen[str]:
    text = (PLAIN if mode == "plain" else "") + PROGRAM.format(rest=rest)
    return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.mark.parametrize(
    "rest",
    [
        "",
        "raise SystemExit(0)",
        "threading.Thread(target=worker.call, args=('factorial', 10**9, 600), daemon=True).start(); time.sleep(0.3)",
        "worker.call('factorial', 10**9, 0.1)",
    ],
)
def test_the_calling_program_ends_and_leaves_no_process(rest, mode):
    with run(rest, mode) as program:
        assert program.stdout is not None
        theirs = int(program.stdout.readline())
        assert program.wait(timeout=BUSY) == 0
    assert wait_for(theirs)


@pytest.mark.parametrize("rest", ["time.sleep(60)", "worker.call('factorial', 10**9, 0.5, wall=1)"])
def test_a_killed_caller_takes_the_worker_with_it(rest, mode):
    with run(rest, mode) as program:
        assert program.stdout is not None
        theirs = int(program.stdout.readline())
        time.sleep(0.2)
        program.kill()
    assert wait_for(theirs)  # at the end of its input, or at its own limit


def test_an_interrupted_call_does_not_answer_the_next_one():
    class Stop(Exception):
        pass

    def stop(*_) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(Stop):
            call("sleep", 1, 10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert call("sqrt", 49, 5) == 7


def test_workers_are_replaced_after_many_calls(monkeypatch):
    monkeypatch.setattr(worker, "RECYCLE", 3)
    worker.shut_down()
    seen: set[int] = set()
    for _ in range(6):
        assert call("sqrt", 4, 5) == 2
        seen |= _idle()
    assert len(seen) > 1
    assert sum(alive(number) for number in seen) <= 1


def _idle() -> set[int]:
    return {idle.process.pid for idle in worker._pool()._idle}


def test_more_callers_than_workers_wait_their_turn():
    most = worker.MOST
    threads = [threading.Thread(target=call, args=("sleep", 0.01, 5)) for _ in range(4 * most)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BUSY)
    assert not any(thread.is_alive() for thread in threads)
    assert len(_idle()) <= most


# --- the walls ------------------------------------------------------------------------------------------------


def test_the_worker_is_behind_walls(mode, tmp_path):
    """Functions that would read, list, start or connect, if they were let."""
    if mode == "plain":
        pytest.skip("no walls here, which is logged")
    secret, made = tmp_path / "secret", tmp_path / "made"
    secret.write_text("token")
    tmp_path.chmod(0o777)
    for payload in (str(secret), "/etc/passwd", f"/proc/{os.getpid()}/environ"):
        found = call("open", payload, 5)
        assert isinstance(found, Crashed) and re.search("FileNotFoundError|PermissionError", found.reason), found
    for payload in (str(tmp_path), "/proc", "/home"):
        assert isinstance(call("list", payload, 5), Crashed)
    found = call("socket", 2, 5)
    assert isinstance(found, Crashed) and "PermissionError" in found.reason
    assert call("shell", f"echo > {made}", 5) != 0 and not made.exists()
    assert call("sqrt", 4, 5) == 2


def test_without_walls_it_is_said_once(mode, caplog):
    worker._warn_once.cache_clear()
    for _ in range(2):
        worker.shut_down()
        assert call("sqrt", 4, 5) == 2
    assert [record.message.count("no sandbox here") for record in caplog.records] == ([1] if mode == "plain" else [])


def test_a_zygote_that_is_gone_is_replaced(mode):
    if mode == "plain":
        pytest.skip("there is no zygote")
    assert call("sqrt", 4, 5) == 2
    sandbox.shut_down()
    assert call("sqrt", 9, 5) == 3

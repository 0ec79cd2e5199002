"""Tiers that others provide: bubblewrap, Docker, a SandboxFusion server; and no walls at all, for those who say so.

All start cold, so a call takes as long as Python and its imports. Status and seconds are made here or by the server;
the record of the value travels at the end of stdout behind a marker, and is the program's own claim as in every tier.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import math
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from llemma.errors import ConfigError, SandboxError
from llemma.records import Execution, ExecutionStatus
from llemma.sandbox import program
from llemma.sandbox.limits import Limits, Value
from llemma.sandbox.monitor import FLOOD, Kept, judge, take
from llemma.sandbox.program import LETTERS, LONGEST_VALUE
from llemma.sandbox.tiers import folders

NAMES = ("bubblewrap", "docker", "fusion", "unsafe-subprocess")
_TICK = 0.01  # seconds between two looks at a process where the system cannot wake us


def run(code: str, limits: Limits, *, value: Value, stdin: str, sandbox: str) -> Execution:
    """One program in the sandbox named; ``sandbox`` is ``NAME`` or ``NAME:WHAT``."""
    name, _, what = sandbox.partition(":")
    if name in ("docker", "fusion") and not what:
        raise ConfigError(f"sandbox={name} lacks its {'image' if name == 'docker' else 'address'}: write {name}:...")
    marker = f"\n{secrets.token_hex(16)} "
    if name == "fusion":
        return _read(_fusion(what, _wrapped(code, limits, value, stdin, marker, own=()), limits), marker, limits)
    own = () if name == "docker" else ("AS", "CPU", "FSIZE", "NOFILE", "CORE")
    text = _wrapped(code, limits, value, stdin, marker, own=own)
    if name == "bubblewrap":
        return _read(_process(_bubblewrap(), text, limits, "T3:bubblewrap"), marker, limits)
    if name == "docker":
        label = f"llemma-{secrets.token_hex(8)}"
        return _read(_process(_docker(what, label, limits), text, limits, "T3:docker", label), marker, limits)
    paths = os.pathsep.join(folders())
    command = [sys.executable, "-s", "-P", "-"]
    return _read(_process(command, text, limits, "unsafe", environment={"PYTHONPATH": paths}), marker, limits)


def _wrapped(code: str, limits: Limits, value: str, stdin: str, marker: str, own: Sequence[str]) -> str:
    """A program that runs ours: the text of ``program.py`` and the call of its last function."""
    bounds = {
        "AS": (limits.memory + 512) << 20,  # the interpreter and its libraries, which take address space of their own
        "CPU": math.ceil(limits.cpu),
        "FSIZE": limits.file << 20,
        "NOFILE": limits.files,
        "CORE": 0,
    }
    given = (code, stdin, value, marker, {name: bounds[name] for name in own})
    return f"{inspect.getsource(program)}\n\nforeign(*{given!r})\n"


def _bubblewrap() -> list[str]:
    found = shutil.which("bwrap")
    if found is None:
        raise SandboxError("sandbox=bubblewrap: no bwrap here; install it (Debian, Ubuntu: apt install bubblewrap)")
    command = [found, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    shown = {"/usr", "/lib", "/lib64", "/etc/ld.so.cache", sys.prefix, sys.base_prefix, *folders()}
    for path in sorted(shown):
        if os.path.islink(path):
            command += ["--symlink", os.readlink(path), path]
        elif os.path.exists(path):
            command += ["--ro-bind", path, path]
    command += ["--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/tmp"]
    command += ["--setenv", "PYTHONPATH", os.pathsep.join(folders()), "--setenv", "OPENBLAS_NUM_THREADS", "1"]
    return [*command, sys.executable, "-s", "-P", "-"]


def _docker(image: str, label: str, limits: Limits) -> list[str]:
    if shutil.which("docker") is None:
        raise SandboxError("sandbox=docker: no docker here; install Docker, or use another sandbox")
    return [
        "docker", "run", "--rm", "-i", "--name", label, "--network", "none", "--read-only", "--cap-drop", "ALL",
        "--security-opt", "no-new-privileges", "--user", "65534:65534", "--pids-limit", str(limits.threads + 1),
        "--memory", f"{limits.memory + 256}m", "--tmpfs", f"/tmp:size={limits.scratch}m", "--workdir", "/tmp",
        "--ulimit", f"cpu={math.ceil(limits.cpu)}", "--ulimit", f"nofile={limits.files}",
        image, "python", "-s", "-P", "-",
    ]  # fmt: skip


def _process(
    command: list[str], text: str, limits: Limits, tier: str, label: str = "", environment: dict[str, str] | None = None
) -> Execution:
    """Run a command that reads the wrapped program on stdin; ended, with its group, when the wall limit is reached."""
    # the client of Docker needs the variables that say where the daemon is
    environment = dict(os.environ) if label else environment or {}
    begin = time.monotonic()
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment, cwd="/", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise SandboxError(f"cannot start {command[0]}: {error.strerror}") from error
    kept = Kept((limits.output << 10) + 16 * LONGEST_VALUE), Kept(limits.output << 10)
    try:
        why = pump(process, text.encode("utf-8", "backslashreplace"), kept, begin + limits.wall)
        if label and why:
            subprocess.run(["docker", "kill", label], capture_output=True, check=False, timeout=60)
    finally:
        end(process)
    seconds = time.monotonic() - begin
    status, note = _judge(process.returncode, why, limits)
    if label and process.returncode == 125:  # docker itself, not the program
        raise SandboxError(f"docker: {kept[1].text().strip()[-300:]}")
    stderr = kept[1].text() + (f"[{note}]\n" if note else "")
    # all of stdout, until the marker in it is found
    return Execution(stdout=kept[0].text(), value=None, stderr=stderr, status=status, seconds=seconds, tier=tier)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with its group, close the pipes to it and wait for it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the second of a group that has ended
        os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    process.wait()


def pump(process: subprocess.Popen[bytes], text: bytes, kept: tuple[Kept, Kept], deadline: float) -> str:
    """Feed and read until both outputs are closed or the process has ended; why it must be ended, if it must."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    streams = dict(zip((process.stdout.fileno(), process.stderr.fileno()), kept, strict=True))
    entrance, left = process.stdin.fileno(), memoryview(text)
    poll = select.poll()
    for handle in (entrance, *streams):
        os.set_blocking(handle, False)
        poll.register(handle, select.POLLOUT if handle == entrance else select.POLLIN)
    if not text:
        poll.unregister(entrance)
        process.stdin.close()
    while streams:
        if time.monotonic() >= deadline:
            return "timeout"
        ended = process.poll() is not None
        ready = [handle for handle, _ in poll.poll(0 if ended else 1000 * _TICK)]
        for handle in ready:
            if handle == entrance:
                left = _feed(entrance, left)
                if not left:
                    poll.unregister(entrance)
                    process.stdin.close()
            elif not take(handle, streams[handle]):
                poll.unregister(handle)
                del streams[handle]
        if sum(k.total for k in kept) > FLOOD:
            return "flood"
        if ended and not set(ready) & streams.keys():
            break
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(_TICK)
    return "" if process.poll() is not None else "timeout"


def _feed(entrance: int, left: memoryview) -> memoryview:
    try:
        return left[os.write(entrance, left) :]
    except BrokenPipeError:
        return left[len(left) :]


def _judge(code: int, why: str, limits: Limits) -> tuple[ExecutionStatus, str]:
    if why == "timeout":
        return "timeout", f"stopped after {limits.wall:g} s"
    if why == "flood":
        return "denied", f"stopped after {FLOOD >> 20} MB of output"
    if code == 0:
        return "ok", ""
    # 128 + n is how a program in between reports signal n
    return judge(-code if code < 0 else code - 128 if 128 < code < 160 else code << 8, 0.0, limits)


def _read(done: Execution, marker: str, limits: Limits) -> Execution:
    """Take the record off the end of stdout and shorten what is left."""
    text, found, record = done.stdout.rpartition(marker)
    if not found:
        text, claim = done.stdout, None
    else:
        claim = _claim(record)
    stdout = Kept(limits.output << 10)
    stdout.add(text.encode())
    done = replace(done, stdout=stdout.text())
    if claim is None or done.status != "ok":
        return done
    return replace(done, status=claim[0], value=claim[1] if claim[0] == "ok" else None)


def _claim(record: str) -> tuple[ExecutionStatus, str | None] | None:
    try:
        letter, value = json.loads(record)
        status = LETTERS[letter.encode()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    return status, value if value is None or isinstance(value, str) else None


def _fusion(url: str, text: str, limits: Limits) -> Execution:
    import httpx

    asked = {"code": text, "language": "python", "run_timeout": limits.wall, "memory_limit_MB": limits.memory + 256}
    begin = time.monotonic()
    try:
        answer = httpx.post(f"{url.rstrip('/')}/run_code", json=asked, timeout=limits.wall + 30)
        answer.raise_for_status()
        got: dict[str, Any] = answer.json()
        result = got["run_result"] or {}
        if got["status"] == "SandboxError" or not result:
            raise SandboxError(f"the server at {url} failed: {str(got.get('message'))[:300]}", retryable=True)
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise SandboxError(f"no answer of a SandboxFusion server at {url}: {error}", retryable=True) from error
    over = result.get("status") == "TimeLimitExceeded"
    code = result.get("return_code") or 0
    return Execution(
        stdout=result.get("stdout") or "",
        value=None,
        stderr=result.get("stderr") or "",
        status="timeout" if over else "ok" if code == 0 else "error",
        seconds=result.get("execution_time") or time.monotonic() - begin,
        tier="T3:fusion",
    )

"""External programs behind the walls: coqc, Lean, node. For Python programs see ``llemma.sandbox.run``.

``walled(argv, read=..., write=...)`` gives what to hand to ``subprocess.Popen``, for processes that live long and are
talked to; ``run_command`` runs one to its end. No network, nothing to read but shared libraries and what is named,
nothing to write but one folder. The same tiers as for Python programs, probed in the same way.
"""

from __future__ import annotations

import functools
import json
import math
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from llemma.errors import ConfigError, SandboxError, nearest
from llemma.sandbox import tiers
from llemma.sandbox.external import end, pump
from llemma.sandbox.launch import END, Plan
from llemma.sandbox.monitor import FLOOD, Kept
from llemma.sandbox.tiers import TIERS, Tier

Place = str | os.PathLike[str]
CommandStatus = Literal["ok", "error", "timeout", "memory", "denied"]
_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from llemma.sandbox.launch import main; main(sys.argv[2:])"
PROBE = ""  # in the place of a program: the text that follows is run, by Python
_GONE = 60.0  # seconds that what was killed may take to disappear
_NEAR = 0.8  # part of the memory limit from which a failure is put down to it


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLimits:
    """Limits of an external program; those of processes are of each by itself, except their number.

    ``cpu`` in seconds of processor time, ``memory`` in megabytes of what it may write to (not of address space, of
    which node reserves a lot), ``stack`` and ``file`` in megabytes, ``output`` in kilobytes kept of each stream.
    """

    cpu: float = 86_400
    memory: int = 4096
    processes: int = 64
    stack: int = 64
    file: int = 256
    files: int = 256
    output: int = 64

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cpu) and self.cpu > 0):
            raise ValueError(f"cpu={self.cpu}: must be above 0 seconds")
        for name, least in (("memory", 16), ("processes", 1), ("stack", 1), ("file", 1), ("files", 16), ("output", 1)):
            if not least <= getattr(self, name) <= 1_000_000:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least {least} and at most 1000000")


STANDARD = CommandLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Walled:
    """What to give to ``subprocess.Popen``: ``Popen(walled.argv, env=walled.env, ...)``, in the same process.

    ``tier``: which walls.
    """

    argv: list[str]
    env: dict[str, str]
    tier: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a program ended. ``code``: its exit code, minus the signal, or None when it was stopped.

    ``status``: ``ok`` means code 0; ``error`` any other end of its own; ``timeout`` of wall or processor time;
    ``memory``; ``denied`` too much output, or a system call of another architecture.
    """

    status: CommandStatus
    code: int | None
    stdout: str
    stderr: str
    seconds: float
    tier: str


def walled(
    argv: Sequence[str],
    *,
    read: Sequence[Place] = (),
    write: Place | None = None,
    limits: CommandLimits = STANDARD,
    env: Mapping[str, str] | None = None,
    tier: str = "auto",
) -> Walled:
    """The command that runs ``argv`` behind the walls.

    The program sees the system's shared libraries, itself (with the interpreter its first line names), the files and
    folders of ``read`` with the right to execute, and ``write``, a folder that it may change and in which it starts;
    all under their own paths. Unix sockets in ``write`` work between it, its forks and the caller; in T2 it can listen
    on them, not connect. Its environment is ``env`` and nothing else (which the list of processes shows). Killing the
    process that Popen starts ends all of it, and so does the end of the caller. SIGINT and SIGTERM are passed on. When
    it cannot be started, one line on stderr says why, and the exit code is 125. As root it runs as the user nobody, to
    whom ``write`` is given.

    SandboxError: no walls here (with the remedies), or a path is not there; ConfigError: an unknown ``tier``.
    """
    return _walled(argv, _Given(read=read, write=write, limits=limits, env=env or {}), _tier(tier))


def run_command(
    argv: Sequence[str],
    *,
    wall: float,
    read: Sequence[Place] = (),
    write: Place | None = None,
    limits: CommandLimits = STANDARD,
    env: Mapping[str, str] | None = None,
    tier: str = "auto",
    stdin: bytes = b"",
) -> CommandResult:
    """Run a program to its end, at the most ``wall`` seconds; see ``walled``. Nothing of it is left afterwards.

    Never raises for what the program does; SandboxError when it could not be started.
    """
    return _run(argv, _Given(read=read, write=write, limits=limits, env=env or {}), _tier(tier), wall, stdin)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """What a program may see and use."""

    read: Sequence[Place] = ()
    write: Place | None = None
    limits: CommandLimits = STANDARD
    env: Mapping[str, str] = field(default_factory=dict)


def _walled(argv: Sequence[str], given: _Given, tier: str, report: int = -1) -> Walled:
    environment = dict(given.env)
    program, also = ("", []) if argv[0] == PROBE else _program(argv[0], environment)
    readable = [*also, *(_existing(path) for path in given.read)]
    words = _command(Plan(
        caller=os.getpid(), tier=tier, program=program, argv=list(argv), env=environment, read=readable,
        write=_scratch(given.write), bounds=_bounds(given.limits), processes=given.limits.processes, report=report,
    ))  # fmt: skip
    return Walled(argv=words, env={}, tier=tier)


def _run(argv: Sequence[str], given: _Given, tier: str, wall: float, stdin: bytes) -> CommandResult:
    hear, report = os.pipe()
    try:
        try:
            command = _walled(argv, given, tier, report)
            begin = time.monotonic()
            process = _start(command, report)
        finally:
            os.close(report)
        kept = Kept(given.limits.output << 10), Kept(given.limits.output << 10)
        try:
            why = pump(process, stdin, kept, begin + wall)
        finally:
            end(process)
        seconds = time.monotonic() - begin
        said = _last_words(hear)
    finally:
        os.close(hear)
    status, code, note = _judge(why, said, given.limits, wall)
    stderr = kept[1].text() + (f"[{note}]\n" if note else "")
    return CommandResult(status=status, code=code, stdout=kept[0].text(), stderr=stderr, seconds=seconds, tier=tier)


def _start(command: Walled, report: int) -> subprocess.Popen[bytes]:
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(
            command.argv, stdin=pipe, stdout=pipe, stderr=pipe, env=command.env, pass_fds=[report], cwd="/",
            start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise SandboxError(f"cannot start {command.argv[0]}: {error.strerror}") from error


def _last_words(hear: int) -> bytes:
    """What was reported when all processes had gone; nothing when they were killed."""
    said, limit = b"", time.monotonic() + _GONE
    while select.select([hear], [], [], max(0.0, limit - time.monotonic()))[0]:
        part = os.read(hear, 1 << 10)
        if not part:
            return said
        said += part
    raise SandboxError("a program that was killed did not go away; is the machine out of memory?")


def _judge(why: str, said: bytes, limits: CommandLimits, wall: float) -> tuple[CommandStatus, int | None, str]:
    """Status, code, and a note on the cause for stderr."""
    if why == "timeout":
        return "timeout", None, f"stopped after {wall:g} s"
    if why == "flood":
        return "denied", None, f"stopped after {FLOOD >> 20} MB of output"
    if len(said) != END.size:
        told = said.decode("utf-8", "replace")
        raise SandboxError(told or "the process that keeps the program was killed", retryable=not told)
    status, cpu, memory = END.unpack(said)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return "ok", 0, ""
    if code in (-signal.SIGKILL, -signal.SIGXCPU) and cpu >= math.ceil(limits.cpu) - 0.5:
        return "timeout", None, f"stopped after {cpu:.0f} s of processor time"
    if code == -signal.SIGKILL or memory >= _NEAR * (limits.memory << 20):
        return "memory", code, f"ended when it used {memory / 2**20:.0f} MB of memory"
    if code == -signal.SIGSYS:
        return "denied", code, "ended by a system call of another architecture"
    return "error", code, ""


def _command(plan: Plan) -> list[str]:
    package = str(Path(__file__).resolve().parents[2])
    fields = {name: getattr(plan, name) for name in Plan.__slots__}
    return [sys.executable, "-I", "-S", "-c", _BOOT, package, json.dumps(fields)]


def _bounds(limits: CommandLimits) -> dict[str, int]:
    return {
        "DATA": limits.memory << 20,
        "CPU": math.ceil(limits.cpu),
        "STACK": limits.stack << 20,
        "FSIZE": limits.file << 20,
        "NOFILE": limits.files,
    }


def _program(name: str, environment: Mapping[str, str]) -> tuple[str, list[str]]:
    """The path of a program, and what must be readable to start it: a script needs its interpreter."""
    found = shutil.which(name, path=environment.get("PATH"))
    if found is None:
        raise SandboxError(f"no program {name} here; install it, or put its folder on PATH")
    found = os.path.abspath(found)
    needed, script = [found], found
    for _ in range(4):  # as deep as Linux goes
        try:
            with open(script, "rb") as file:
                first = file.readline(256)
        except OSError as error:
            raise SandboxError(f"{script} cannot be read: {error.strerror}") from error
        if not first.startswith(b"#!") or not first[2:].split():
            break
        script = os.fsdecode(first[2:].split()[0])
        if not os.path.exists(script):
            raise SandboxError(f"{found}: its interpreter {script} is not there")
        needed.append(script)
    return found, needed


def _existing(path: Place) -> str:
    text = os.path.abspath(path)
    if not os.path.exists(text):
        raise SandboxError(f"{text}: no such file or folder to be read behind the walls")
    if os.path.realpath(text) == "/":
        raise SandboxError("read=/ would show the program everything; name the folders it needs")
    return text


def _scratch(path: Place | None) -> str:
    if path is None:
        return ""
    text = os.path.realpath(path)
    if not os.path.isdir(text) or text == "/":
        raise SandboxError(f"{path}: not a folder that can be given to a program to write in")
    return text


# --- which walls ------------------------------------------------------------------------------------------------------


def best() -> Tier:
    """The best tier for external programs on this machine, probed once per process."""
    missing: list[tuple[str, str, str]] = []
    for name in TIERS:
        found = probe(name)
        if isinstance(found, Tier):
            return Tier(name=name, detail=found.detail, missing=tuple(missing))
        missing.append((name, *found))
    return Tier(name="", detail="no external program can be run safely", missing=tuple(missing))


def _tier(tier: str) -> str:
    if tier == "auto":
        found = best()
        if not found.name:
            causes = "; ".join(f"{name}: {cause} (remedy: {remedy})" for name, cause, remedy in found.missing)
            raise SandboxError(f"no walls for external programs here, so none is run. {causes}")
        return found.name
    if tier not in TIERS:
        raise ConfigError(f"unknown tier {tier!r}{nearest(tier, ('auto', *TIERS))}")
    probed = probe(tier)
    if not isinstance(probed, Tier):
        raise SandboxError(f"tier {tier} cannot be had: {probed[0]}; remedy: {probed[1]}")
    return tier


# What gets through is printed; none does harm when it does.
_ATTACKS = {
    "has a descriptor too many": "os.fstat(3)",  # first: others open some
    "reads a file of the system": "open('/etc/passwd').read(1)",
    "opens the caller's home": "assert os.fstat(os.open({home!r}, os.O_RDONLY)).st_ino == {inode}",
    "writes outside its scratch": "os.open('/var/tmp', os.O_TMPFILE | os.O_RDWR)",
    "opens a network socket": "socket.socket()",
    "runs a program it may not read": "child(os.execv, '/usr/bin/env', ['env'])",
    "sees the environment": "os.environ['PATH'] or os.environ['HOME']",
    "makes a namespace": "check(libc.unshare(0x10000000))",
    "can be traced": "child(lambda: check(libc.ptrace(0, 0, 0, 0)))",
    "raises its own limits": "resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY,) * 2)",
    "takes more memory than it may": "bytearray({memory})",
    "takes shared memory": "mmap.mmap(-1, 4096)",
}
_ATTACKS_BY_TIER = {
    "T1": {"sees other processes": "assert sum(name.isdigit() for name in os.listdir('/proc')) > 3"},
    "T2": {"signals its caller": "os.kill({pid}, 0)", "leaves its group": "child(os.setsid)"},
}
_PROGRAM = """
import ctypes, mmap, os, resource, socket
libc = ctypes.CDLL(None)
def check(result):
    if result < 0: raise OSError
def child(act, *words):
    pid = os.fork()
    if pid == 0:
        try: act(*words)
        except OSError: os._exit(99)
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 99: raise OSError
attacks = {attacks!r}
for name, attack in attacks.items():
    try:
        exec(attack)
    except (OSError, MemoryError, ValueError, KeyError, AssertionError):
        continue
    print(name)
"""
_PROBED = 'probed["o", null]'  # the record of the program's end


@functools.cache
def probe(name: str) -> Tier | tuple[str, str]:
    """The tier, when its walls stand up to attacks from an external program; else the cause and the remedy."""
    found = tiers.probe(name)
    if not isinstance(found, Tier):  # what programs of Python lack, others lack too
        return found
    try:
        through = _attack(name)
    except (SandboxError, OSError) as error:
        return str(error), "run `llemma doctor` again; report it when it stays"
    if through:
        return f"an external program {', '.join(through)}", "report this with the kernel's version (uname -a)"
    return Tier(name=name, detail=found.detail)


def _attack(tier: str) -> list[str]:
    limits = CommandLimits(memory=64, cpu=30)
    home = os.path.expanduser("~") if os.path.isdir(os.path.expanduser("~")) else "/"
    known = {"home": home, "inode": os.stat(home).st_ino, "pid": os.getpid(), "memory": limits.memory << 21}
    attacks = {name: text.format(**known) for name, text in (_ATTACKS | _ATTACKS_BY_TIER[tier]).items()}
    # run by the launcher itself when the walls are up: nobody may have the right to read this Python
    done = _run([PROBE, _PROGRAM.format(attacks=attacks)], _Given(limits=limits), tier, 60, b"")
    *through, last = done.stdout.splitlines() or [""]
    if last != _PROBED:
        raise SandboxError(f"the probe did not come to its end: {done.status} {done.code}: {done.stderr[-200:]}")
    return through

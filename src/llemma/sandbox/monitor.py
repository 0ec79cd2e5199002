"""Watches programs from outside: feeds them, keeps their output short, ends them in time, says how they ended.

Status, seconds and tier of an Execution are made here, from the clock, the kernel's wait status and what we did
ourselves. Knows zygotes, not pools; runs in the caller's thread.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llemma.errors import SandboxError
from llemma.records import Execution, ExecutionStatus
from llemma.sandbox import isolation
from llemma.sandbox.limits import Limits, Value
from llemma.sandbox.program import HEADER, LETTERS, LONGEST_VALUE
from llemma.sandbox.zygote import EXIT, KINDS

_BOOT = "import sys; sys.path.insert(0, sys.argv[1]); from llemma.sandbox.zygote import main; del sys.path[0]; "
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",  # sets of texts have the same order in every run
    "PYTHONUTF8": "1",
    "TZ": "UTC0",
    "OPENBLAS_NUM_THREADS": "1",  # a thread more in the zygote, and it could not fork safely
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_READY = 120.0  # seconds a zygote may take to load its libraries from a slow disk
_STARTED = 60.0  # seconds a fork and its walls may take on a busy machine
_GONE = 60.0  # seconds a killed program may take to disappear
FLOOD = 64 << 20  # bytes of output after which a program is ended
_PAUSE = 0.002  # seconds between two looks at a program that prints line by line


class Zygote:
    """A running zygote, from its caller's side."""

    def __init__(self, tier: str, kind: str, folders: Sequence[str]) -> None:
        """Start one and wait until it is ready. SandboxError says at which step it failed and why."""
        self.tier, self.kind = tier, kind
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        package = str(Path(__file__).resolve().parents[2])
        folders = folders if kind in KINDS else [*folders, package]
        words = [str(theirs.fileno()), str(os.getpid()), tier, kind, json.dumps(list(folders))]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-s", "-S", "-P", "-c", _BOOT + "main(sys.argv[2:])", package, *words],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env=_ENVIRONMENT, cwd="/", pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._control.close()
            raise SandboxError(f"cannot start {sys.executable}: {error.strerror}") from error
        finally:
            theirs.close()
        try:
            self._greet()
        except BaseException:
            self.close()
            raise

    def _greet(self) -> None:
        self._control.settimeout(_READY)
        while True:
            try:
                message = self._control.recv(1 << 16)
            except TimeoutError:
                raise SandboxError(f"the sandbox did not load its libraries within {_READY:.0f} s") from None
            if not message:
                raise SandboxError("the sandbox's process ended before it was ready")
            said: dict[str, Any] = json.loads(message)
            if "map" in said:
                self._map()
            elif "error" in said:
                raise ZygoteError(said["step"], said["error"], said["errno"])
            else:
                self.abi: int = said["abi"]
                self._control.settimeout(None)
                return

    def _map(self) -> None:
        try:
            isolation.map_for(self._process.pid)
            self._control.send(b"mapped")
        except OSError:
            self._control.send(b"no")

    def send(self, settings: dict[str, Any], handles: Sequence[int]) -> bool:
        """Ask for a program; False when the zygote is gone. Safe from several threads: one message is one packet."""
        try:
            socket.send_fds(self._control, [json.dumps(settings).encode()], list(handles))
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def close(self) -> None:
        """End it and all its programs, and wait until they are gone."""
        self._control.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def forget(self) -> None:
        """In a process forked off the owner: let go of it without ending it."""
        self._control.close()
        self._process.returncode = 0  # it is no child of ours


class ZygoteError(SandboxError):
    """A zygote could not put up its walls: at which step, and the system's reason."""

    def __init__(self, step: str, reason: str, number: int) -> None:
        self.step, self.reason, self.number = step, reason, number
        super().__init__(f"{step}: {reason}")


class Kept:
    """The first and the last part of a stream of any length."""

    def __init__(self, limit: int) -> None:
        """Keep at most ``limit`` bytes."""
        self._half = limit // 2
        self.head, self.tail = bytearray(), bytearray()
        self.total = 0

    def add(self, data: bytes | memoryview) -> None:
        """The next bytes of the stream."""
        self.total += len(data)
        room = self._half - len(self.head)
        self.head += data[:room]
        self.tail += data[max(room, 0) :]
        if len(self.tail) > 2 * self._half:
            del self.tail[: -self._half]

    def text(self) -> str:
        """All of it when it is short, else both parts and between them how much is left out."""
        left_out = self.total - 2 * self._half
        if left_out <= 0:
            return (self.head + self.tail).decode("utf-8", "replace")
        first, last = self.head.decode("utf-8", "ignore"), self.tail[-self._half :].decode("utf-8", "ignore")
        return f"{first}\n[... {left_out} of {self.total} bytes left out ...]\n{last}"


class Running:
    """One program in its own process behind the walls. Use as a context manager; one thread at a time."""

    def __init__(self, zygote: Zygote, limits: Limits, want: Value, stdin: str = "", blocks: int = 1) -> None:
        """Fork it. Raises SandboxError when the walls cannot be put up, with ``retryable`` when the zygote is gone."""
        self._zygote, self._limits = zygote, limits
        self._pidfd = -1
        self._exit: tuple[int, float, float] | None = None
        self._open: list[int] = []
        self._report, report = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            (out, out_there), (err, err_there), (result, result_there) = self._pipe(), self._pipe(), self._pipe()
            code_there, code = self._pipe()
            self._out, self._err, self._result, self._code = out, err, result, code
            stdin_there = self._stdin(stdin)
            given = [stdin_there, out_there, err_there, result_there, code_there]
            settings = {"want": want, "bounds": _bounds(limits, blocks)}
            accepted = zygote.send(settings, [*given, report.fileno()])
            for handle in given:
                self._shut(handle)
            report.close()
            if not accepted:
                raise SandboxError("the sandbox's process is gone", retryable=True)
            for handle in (out, err, result, code):
                os.set_blocking(handle, False)
            self._await_start()
        except BaseException:
            report.close()
            self.close()
            raise

    def _pipe(self) -> tuple[int, int]:
        ends = os.pipe()
        self._open += ends
        return ends

    def _stdin(self, text: str) -> int:
        if text:
            handle = os.memfd_create("stdin", os.MFD_CLOEXEC)
            self._open.append(handle)
            with open(handle, "wb", closefd=False) as file:
                file.write(text.encode("utf-8", "surrogatepass"))
            os.lseek(handle, 0, os.SEEK_SET)
        else:
            handle = os.open(os.devnull, os.O_RDONLY)
            self._open.append(handle)
        return handle

    def _shut(self, handle: int) -> None:
        if handle in self._open:
            self._open.remove(handle)
            os.close(handle)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def ended(self) -> bool:
        """Whether the process is known to be gone."""
        return self._exit is not None

    @property
    def pid(self) -> int:
        """Its process id, as the caller sees it; -1 when it is gone."""
        text = Path(f"/proc/self/fdinfo/{self._pidfd}").read_text(encoding="ascii")
        return int(text.rpartition("\nPid:")[2].split()[0])

    def alive(self) -> bool:
        """Whether the process is still there. Raises SandboxError when the zygote is not."""
        if self._exit is None:
            self._hear()
        return self._exit is None

    def forget(self) -> None:
        """In a process forked off the caller: let go of it without ending it."""
        for handle in self._open:
            os.close(handle)
        self._open.clear()
        self._report.close()
        self._pidfd = -1

    def close(self) -> None:
        """End the program, if it still runs, and let go of everything. The zygote ends it when we hang up."""
        if self._exit is None:
            self.kill()
        self._report.close()
        for handle in list(self._open):
            self._shut(handle)

    def kill(self) -> None:
        """End the process; that it is gone is heard later."""
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _await_start(self) -> None:
        """Wait for the pidfd from the zygote and the word from behind the walls, in whatever order they come."""
        self._report.settimeout(_STARTED)
        ready = False
        while not ready or self._pidfd < 0:
            try:
                message, handles, _, _ = socket.recv_fds(self._report, 1 << 10, 1)
            except TimeoutError:
                raise SandboxError(f"no program started within {_STARTED:.0f} s", retryable=True) from None
            except ConnectionResetError:
                message, handles = b"", []
            if message[:1] == b"P":
                self._pidfd = handles[0]
                self._open.append(self._pidfd)
            elif message[:1] == b"R":
                ready = True
            elif message[:1] == b"E":
                raise SandboxError(f"the walls around a program could not be put up: {message[1:].decode()}")
            else:
                raise SandboxError("the sandbox's process ended while it started a program", retryable=True)
        self._report.setblocking(False)

    def run(self, source: str, *, last: bool) -> Execution:
        """Run a program, or a block of one; after the ``last`` the process ends, and its end is waited for."""
        begin = time.monotonic()
        data = source.encode("utf-8", "surrogatepass")
        watch = _Watch(
            out=Kept(self._limits.output << 10), err=Kept(self._limits.output << 10),
            code=memoryview(len(data).to_bytes(4, "little") + data), last=last, deadline=begin + self._limits.wall,
        )  # fmt: skip
        self._pump(watch)
        seconds = time.monotonic() - begin
        self._drain(watch)
        return self._execution(watch, seconds)

    def ask(self, request: bytes, wall: float) -> bytes | None:
        """Of a service: send a line, wait for a line. None when there is none within ``wall`` seconds.

        Raises BrokenPipeError when the process is gone already; one that goes now answers less than a line.
        """
        deadline, left, answer = time.monotonic() + wall, memoryview(request), b""
        poll = select.poll()
        poll.register(self._code, select.POLLOUT)
        poll.register(self._result, select.POLLIN)
        while not answer.endswith(b"\n"):
            pause = deadline - time.monotonic()
            if pause <= 0:
                return None
            for handle, _ in poll.poll(math.ceil(pause * 1000)):
                if handle == self._code:
                    left = left[os.write(self._code, left) :]
                    if not left:
                        poll.unregister(self._code)
                else:
                    part = os.read(self._result, 1 << 16)
                    if not part:
                        return answer
                    answer += part
        return answer

    def outcome(self) -> int:
        """Wait for the end of a process that is ending: its exit code, or minus the signal."""
        poll = select.poll()
        poll.register(self._report.fileno(), select.POLLIN)
        while self._exit is None:
            if not poll.poll(1000 * _GONE):
                raise SandboxError("a process that ended did not go away; is the machine out of memory?")
            self._hear()
        return os.waitstatus_to_exitcode(self._exit[0])

    def _pump(self, watch: _Watch) -> None:
        """Move bytes until the program has ended or, in a session, has answered; end it when it must be."""
        poll = select.poll()
        for handle in (self._out, self._err, self._result, self._report.fileno()):
            poll.register(handle, select.POLLIN)
        poll.register(self._code, select.POLLOUT)
        streams = {self._out: watch.out, self._err: watch.err}
        quiet = select.poll()
        quiet.register(self._report.fileno(), select.POLLIN)
        quiet.register(self._result, select.POLLIN)
        while self._exit is None and (watch.last or not watch.answered):
            left = watch.deadline - time.monotonic()
            if left <= 0:
                self._stop(watch, "timeout")
                continue
            for handle, _ in poll.poll(math.ceil(left * 1000)):
                if handle == self._report.fileno():
                    self._hear()
                elif handle == self._code:
                    self._feed(watch, poll)
                elif handle == self._result:
                    if not self._listen(watch):
                        poll.unregister(handle)
                        quiet.unregister(handle)
                elif not (count := take(handle, streams[handle])):
                    poll.unregister(handle)
                elif watch.out.total + watch.err.total > FLOOD and not watch.stopped:
                    self._stop(watch, "flood")
                elif count < 1 << 14:
                    quiet.poll(1000 * _PAUSE)  # the next lines can wait for each other

    def _stop(self, watch: _Watch, why: str) -> None:
        """Kill the program; a second call means that it did not go."""
        if watch.stopped:
            raise SandboxError("a program that was killed did not go away; is the machine out of memory?")
        watch.stopped = why
        watch.deadline = time.monotonic() + _GONE
        self.kill()

    def _hear(self) -> None:
        try:
            message = self._report.recv(1 << 10)
        except BlockingIOError:
            return
        except ConnectionResetError:
            message = b""
        if len(message) != EXIT.size:
            raise SandboxError("the sandbox's process ended while a program ran", retryable=True)
        _, status, cpu, memory = EXIT.unpack(message)
        self._exit = status, cpu, memory

    def _feed(self, watch: _Watch, poll: select.poll) -> None:
        try:
            sent = os.write(self._code, watch.code)
        except BlockingIOError:
            return
        except BrokenPipeError:
            sent = len(watch.code)
        watch.code = watch.code[sent:]
        if not watch.code:
            poll.unregister(self._code)
            if watch.last:
                self._shut(self._code)

    def _listen(self, watch: _Watch) -> bool:
        """Read what the program claims of itself; False at the end of the stream."""
        try:
            data = os.read(self._result, 1 << 16)
        except BlockingIOError:
            return True
        watch.claim += data
        return bool(data) and not watch.senseless

    def _drain(self, watch: _Watch) -> None:
        """What is still in the pipes."""
        for handle, kept in ((self._out, watch.out), (self._err, watch.err)):
            while kept.total <= FLOOD and take(handle, kept) > 0:
                pass
        if self._exit is not None:
            while not watch.answered and self._listen(watch):
                if not select.select([self._result], [], [], 0)[0]:
                    break

    def _execution(self, watch: _Watch, seconds: float) -> Execution:
        claim = watch.read_claim()
        status, note = self._judge(watch, claim)
        return Execution(
            stdout=watch.out.text(),
            value=claim[1] if claim and status == "ok" else None,
            stderr=watch.err.text() + (f"[{note}]\n" if note else ""),
            status=status,
            seconds=seconds,
            tier=self._zygote.tier,
        )

    def _judge(self, watch: _Watch, claim: tuple[ExecutionStatus, str | None] | None) -> tuple[ExecutionStatus, str]:
        """The status, and a note on it for stderr when the program could not write one itself."""
        if watch.stopped == "timeout":
            return "timeout", f"stopped after {self._limits.wall:g} s"
        if watch.stopped == "flood":
            return "denied", f"stopped after {FLOOD >> 20} MB of output"
        if self._exit is None:
            return (claim[0], "") if claim else ("error", "no answer")
        status, cpu, _ = self._exit
        if status:
            return judge(status, cpu, self._limits)
        return (claim[0], "") if claim else ("ok", "")


def judge(status: int, cpu: float, limits: Limits) -> tuple[ExecutionStatus, str]:
    """What a wait status other than 0 means: the status, and a note for stderr. ``cpu`` in seconds."""
    if os.WIFEXITED(status):
        return "error", f"ended itself with exit code {os.WEXITSTATUS(status)}"
    number = os.WTERMSIG(status)
    if number in (signal.SIGKILL, signal.SIGXCPU):
        if cpu >= math.ceil(limits.cpu) - 0.5:
            return "timeout", f"stopped after {cpu:.0f} s of processor time"
        return "memory", "killed, as the system does when memory runs out"
    name = signal.Signals(number).name if number in signal.valid_signals() else str(number)
    return "error", f"ended by signal {name}"


class _Watch:
    """The state of one ``run``."""

    def __init__(self, *, out: Kept, err: Kept, code: memoryview, last: bool, deadline: float) -> None:
        self.out, self.err, self.code, self.last, self.deadline = out, err, code, last, deadline
        self.claim = bytearray()
        self.stopped = ""

    @property
    def answered(self) -> bool:
        """Whether a whole record has arrived."""
        return len(self.claim) >= HEADER.size and len(self.claim) >= HEADER.size + HEADER.unpack_from(self.claim)[2]

    @property
    def senseless(self) -> bool:
        """Whether what has arrived is the beginning of no record, so that the rest need not be read."""
        if len(self.claim) < HEADER.size:
            return False
        letter, _, size = HEADER.unpack_from(self.claim)
        return letter not in LETTERS or size > 4 * LONGEST_VALUE

    def read_claim(self) -> tuple[ExecutionStatus, str | None] | None:
        """Status and value as the program claims them; None when it claims nothing that can be read."""
        if not self.answered or self.senseless:
            return None
        letter, has_value, size = HEADER.unpack_from(self.claim)
        text = bytes(self.claim[HEADER.size : HEADER.size + size]).decode("utf-8", "replace")
        return LETTERS[letter], text if has_value else None


def take(handle: int, kept: Kept) -> int:
    """Read once; the bytes read, 0 at the end, -1 when there is nothing yet."""
    try:
        buffer = _BUFFERS.pop()
    except IndexError:
        buffer = bytearray(1 << 16)
    try:
        count = os.readv(handle, [buffer])
    except BlockingIOError:
        return -1
    else:
        kept.add(memoryview(buffer)[:count])
        return count
    finally:
        _BUFFERS.append(buffer)


_BUFFERS: list[bytearray] = []  # used again: bytes of their own in every thread would leave holes in its memory


def _bounds(limits: Limits, blocks: int) -> dict[str, int]:
    return {
        "memory": limits.memory << 20,
        "cpu": math.ceil(limits.cpu) * blocks,
        "file": limits.file << 20,
        "files": limits.files,
        "threads": limits.threads,
        "scratch": limits.scratch << 20,
    }

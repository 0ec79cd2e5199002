"""One running coqidetop, or a clone of one: asks it, watches its time and memory, ends it. Knows no proofs.

A clone shares its memory with the process it was cloned from until either writes to it. See ``forkshim.c``.
"""

from __future__ import annotations

import array
import contextlib
import os
import resource
import secrets
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from llemma.errors import ProverError
from llemma.provers.coq import protocol
from llemma.provers.coq.protocol import Answer

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MB = 1 << 20
_LOOK = 0.05  # seconds between looks at the memory of a process that takes long
_HEADROOM = 512  # megabytes of address space above the limit of memory: what is mapped is not yet used
_CLONE_SECONDS = 20.0
_UCRED = struct.Struct("3i")
_NOTHING: tuple[bytes, list[tuple[int, int, bytes]], int, None] = (b"", [], 0, None)


class Lost(Exception):
    """The process is gone or had to be ended: over its time, over its memory, or of its own doing."""

    def __init__(self, kind: Literal["timeout", "memory", "crash"], message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Errors:
    """What a process and its clones share: stderr, and the socket for new clones. Closed with the last of them."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self.lock = threading.Lock()  # one clone at a time: what is sent to one must not be taken by another
        self.file = tempfile.TemporaryFile()  # noqa: SIM115  # see close
        self._users = 1

    def share(self) -> Errors:
        """For one process more."""
        self._users += 1
        return self

    def close(self) -> None:
        """For one process less."""
        self._users -= 1
        if self._users == 0:
            self.file.close()
            self._control.close()

    def tail(self) -> str:
        """The last of it, on one line."""
        self.file.seek(max(0, self.file.seek(0, os.SEEK_END) - 2000))
        return " ".join(self.file.read().decode("utf-8", "replace").split())


class Worker:
    """A process and its end of the conversation. Not for two threads at once."""

    def __init__(
        self, link: socket.socket, pid: int, control: socket.socket | None, popen: subprocess.Popen[bytes] | None,
        errors: Errors,
    ) -> None:  # fmt: skip
        self.link = link
        self.pid = pid
        self.control = control  # None: cannot be cloned
        self.alive = True
        self._popen = popen
        self._errors = errors
        self._buffer = b""
        self._capped = 0

    def ask(self, requests: Sequence[bytes], *, seconds: float, memory: int | None = None) -> list[Answer]:
        """The answers to requests sent in one go. Raises Lost; for ``timeout`` the process may have survived.

        Over its time the process is interrupted, and killed when that does not help. ``memory``: megabytes it may grow.
        """
        if not self.alive:
            raise Lost("crash", "the process had ended before")
        self._send(b"".join(requests))
        deadline = time.monotonic() + seconds
        resident = self.resident() if memory is not None else 0
        answers: list[Answer] = []
        while len(answers) < len(requests):
            left = deadline - time.monotonic()
            if left <= 0:
                self._interrupt(len(requests) - len(answers), seconds)
            raw = self._receive(min(left, _LOOK) if memory is not None else left)
            if raw is not None:
                answers.append(protocol.answer(raw))
            elif memory is not None and self.resident() - resident > memory:
                self.kill()
                raise Lost("memory", f"used more than {memory} MB")
        return answers

    def _interrupt(self, missing: int, seconds: float) -> None:
        """Ask the process to stop; kill it when it does not, or when it had just finished (the signal would linger)."""
        self.signal(signal.SIGINT)
        end = time.monotonic() + (0.5 if self.control is not None else 5.0)
        last: Answer | None = None
        while missing and time.monotonic() < end:
            raw = self._receive(max(end - time.monotonic(), 0))
            if raw is not None:
                last, missing = protocol.answer(raw), missing - 1
        if missing or last is None or last.good:
            self.kill()
        raise Lost("timeout", f"took longer than {seconds:g} s")

    def _send(self, data: bytes) -> None:
        try:
            self.link.sendall(data)
        except OSError:
            self._died()

    def _receive(self, seconds: float) -> bytes | None:
        """The next answer's bytes, None when there is none within the time. Raises Lost when the process ends."""
        while True:
            at = self._buffer.find(protocol.END)
            if at >= 0:
                raw, self._buffer = self._buffer[: at + len(protocol.END)], self._buffer[at + len(protocol.END) :]
                return raw
            ready, _, _ = select.select([self.link], [], [], max(seconds, 0))
            if not ready:
                return None
            try:
                got = self.link.recv(1 << 18)
            except OSError:
                got = b""
            if not got:
                self._died()
            self._buffer += got

    def _died(self) -> None:
        said = self._errors.tail()
        self.kill()
        memory = "out of memory" in said.lower() or "Out_of_memory" in said
        raise Lost("memory" if memory else "crash", f"coqidetop ended{': ' + said[-300:] if said else ''}")

    def resident(self) -> int:
        """Megabytes of memory of the process, shared ones with its clones included; 0 when it is gone."""
        return self._statm(1)

    def _statm(self, column: int) -> int:
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:
                return int(file.read().split()[column]) * _PAGE // _MB
        except (OSError, IndexError, ValueError):
            return 0

    def cap(self, memory: int) -> None:
        """A limit the kernel holds, ``memory`` megabytes and some room above what the process has mapped now."""
        if memory == self._capped:
            return
        with contextlib.suppress(OSError, ValueError, ProcessLookupError):
            _, hard = resource.prlimit(self.pid, resource.RLIMIT_AS)
            resource.prlimit(self.pid, resource.RLIMIT_AS, ((self._statm(0) + memory + _HEADROOM) * _MB, hard))
        self._capped = memory

    def clone(self) -> Worker:
        """A copy of the process as it stands. Raises Lost when it is gone, ProverError when it cannot be copied."""
        assert self.control is not None, "cannot be cloned"
        if not self.alive:
            raise Lost("crash", "the process had ended before")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        try:
            with theirs, self._errors.lock:
                number = secrets.token_bytes(8)
                room = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [theirs.fileno()]))]
                self.control.sendmsg([number], room)
                self.link.sendall(b"\0" + number)
                ready, _, _ = select.select([ours, self.link], [], [], _CLONE_SECONDS)  # link: it has ended
            first, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(_UCRED.size)) if ours in ready else _NOTHING
        except OSError as error:
            ours.close()
            self.kill()
            raise Lost("crash", f"the process to be cloned has ended ({error})") from error
        pids = [_UCRED.unpack(data)[0] for _, kind, data in ancillary if kind == socket.SCM_CREDENTIALS]
        if not first or not pids:
            ours.close()
            self.kill()
            raise Lost("crash", "the process to be cloned has ended or does not answer")
        return Worker(ours, pids[0], self.control, None, self._errors.share())

    def signal(self, number: int) -> None:
        """Send a signal, if the process is there."""
        if self.alive:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process, and see it off."""
        if not self.alive:
            return
        self.signal(signal.SIGKILL)
        self.alive = False
        self.link.close()
        self._errors.close()
        if self._popen is not None:
            self._popen.wait()
        else:
            with contextlib.suppress(ChildProcessError):  # not our child inside a namespace of its own
                os.waitpid(self.pid, 0)


def spawn(argv: Sequence[str], env: Mapping[str, str], shim: Path | None, cwd: Path) -> Worker:
    """Start coqidetop. With ``shim`` it can be cloned. Call from a thread that lives as long as the process should."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    control, control_theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    errors = Errors(control)
    env = dict(env)
    if shim is not None:
        env |= {"LD_PRELOAD": str(shim), "LLEMMA_FORK_FD": str(control_theirs.fileno())}
    try:
        popen = subprocess.Popen(
            list(argv), stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=errors.file, env=env, cwd=cwd,
            start_new_session=True, pass_fds=(control_theirs.fileno(),) if shim is not None else (),
        )  # fmt: skip
    except OSError as error:
        ours.close()
        errors.close()
        raise ProverError(f"{argv[0]} cannot be started: {error.strerror}") from error
    finally:
        theirs.close()
        control_theirs.close()
    return Worker(ours, popen.pid, control if shim is not None else None, popen, errors)


def own_memory(pid: int) -> int:
    """Megabytes that a process shares with no other; 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            lines = [line.split() for line in file if line.startswith(b"Private_")]
        return sum(int(line[1]) for line in lines) >> 10
    except (OSError, IndexError, ValueError):
        return 0

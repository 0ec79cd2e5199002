"""One Lean process that answers JSON lines: deadlines, memory watched from outside, death as a value.

Answers stand behind a word of 128 random bits that the process learns before any text; other output is thrown away.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llemma.errors import ProverError, SandboxError
from llemma.provers.lean.toolchain import Toolchain
from llemma.records import Failure
from llemma.sandbox.command import CommandLimits, Walled, walled

_START = 600.0  # seconds until it must be ready: a Mathlib on a slow disk, a busy machine
_LONGEST = 256 << 20  # bytes of one answer
_NO_MEMORY = ("out of memory", "memory exhausted", "cannot enlarge memory")
_NO_STACK = ("stack overflow", "call stack size")
_TICK = 0.05  # seconds between two looks at the memory
_SOURCES = Path(__file__).parent
# Memory is watched from outside, as what may be used depends on the libraries; this only stops the absurd.
_LIMITS = CommandLimits(memory=64_000, processes=256, stack=512, file=1, files=4096)


class Process:
    """Starts ``common.lean`` with ``worker.lean`` or ``judge.lean`` when first asked; is not thread-safe."""

    def __init__(self, toolchain: Toolchain, part: str, walls: str) -> None:
        self.toolchain, self.part, self.walls = toolchain, part, walls
        self.tier = ""  # which walls stand around it
        self.started = 0.0  # seconds the last start took
        self._began = 0.0
        self.starts = 0
        self.killed = False  # whether somebody else ended it the last time
        self._child: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._word = b""
        self._buffer = bytearray()
        self._stderr = bytearray()
        self._noise = b""

    @property
    def alive(self) -> bool:
        """Whether there is a process that has not ended."""
        return self._child is not None and self._child.poll() is None

    def launch(self) -> None:
        """Begin to start it unless it runs; ``start`` waits until it is ready. So several can start at once."""
        if self.alive:
            return
        self.stop()
        self._began = time.monotonic()
        self._child = self._spawn()
        self._word, self._noise = secrets.token_hex(16).encode(), b""
        self._buffer, self._stderr = bytearray(), bytearray()
        self.starts += 1

    def start(self) -> None:
        """Start it unless it runs. ProverError when it does not become ready."""
        self.launch()
        if self._ready:
            return
        ready = self._exchange(self._word + b"\n", time.monotonic() + _START, None)
        self._ready = not isinstance(ready, Failure)
        self.started = time.monotonic() - self._began
        if isinstance(ready, Failure):
            raise ProverError(
                f"{self.toolchain.version} cannot run our {self.part}.lean: {ready.message}", retryable=True
            )

    def ask(self, request: Mapping[str, Any], seconds: float, memory: int | None = None) -> dict[str, Any] | Failure:
        """The answer, or a Failure (timeout, memory, crash) after which the process is gone.

        ``memory``: megabytes it may grow by during this request.
        """
        self.start()
        line = json.dumps(request, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        limit = None if memory is None else self.resident() + memory * 1_000_000
        found = self._exchange(line, time.monotonic() + seconds, limit)
        if isinstance(found, Failure):
            self.stop()
        return found

    def resident(self) -> int:
        """Bytes of memory that it occupies, its children included."""
        return 0 if self._child is None else _resident(self._child.pid)

    def stop(self) -> None:
        """End the process and everything it started."""
        child, self._child = self._child, None
        self._ready = False
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def close(self) -> None:
        """Stop and remove the files."""
        self.stop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _program(self) -> Path:
        """The Lean program as one file: what both parts share, then the part."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="llemma-lean-")
            os.chmod(self._folder.name, 0o755)  # as root, what is behind the walls runs as nobody
            text = "".join((_SOURCES / f"{name}.lean").read_text(encoding="utf-8") for name in ("common", self.part))
            # Where every file is a module, only what is public can be run.
            text = text.replace("/-@public@-/", "public" if self.toolchain.wasm else "")
            Path(self._folder.name, f"{self.part}.lean").write_text(text, encoding="utf-8")
        return Path(self._folder.name, f"{self.part}.lean")

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = self._command()
        pipe = subprocess.PIPE
        try:
            child = subprocess.Popen(
                command.argv,
                env=command.env,
                cwd=self._program().parent,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                start_new_session=True,
            )
        except OSError as error:
            raise ProverError(f"{command.argv[0]}: cannot be started: {error}") from error
        self.tier = command.tier
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        for stream in (child.stdin, child.stdout, child.stderr):
            os.set_blocking(stream.fileno(), False)
        return child

    def _command(self) -> Walled:
        """The process behind the walls: it reads Lean, the libraries and its program, and writes nothing."""
        program = self._program()
        argv = [str(self.toolchain.lean), "--run", str(program)]
        env = dict(self.toolchain.env)
        if self.walls == "none":
            return Walled(argv=argv, env=env, tier="none")
        read = [*self.toolchain.places, program.parent]
        try:
            return walled(argv, read=read, limits=_LIMITS, env=env, tier=self.walls)
        except SandboxError as error:
            raise SandboxError(
                f"{error}; walls=none runs Lean without, which only trusted text should be given"
            ) from error

    def _exchange(self, line: bytes, deadline: float, limit: int | None) -> dict[str, Any] | Failure:
        child = self._child
        assert child is not None and child.stdin is not None and child.stdout is not None and child.stderr is not None
        out, err, into = child.stdout.fileno(), child.stderr.fileno(), child.stdin.fileno()
        left, open_ = memoryview(line), {out, err}
        while True:
            if (answer := self._answer()) is not None:
                return answer
            now = time.monotonic()
            if now >= deadline:
                return Failure(kind="timeout", message="the time is up")
            if limit is not None and self.resident() > limit:
                return Failure(kind="memory", message="the memory is used up")
            if len(self._buffer) > _LONGEST:
                return Failure(kind="memory", message="the answer is too long")
            if out not in open_:
                return self._death()
            can_read, can_write, _ = select.select(open_, [into] if left else [], [], min(_TICK, deadline - now))
            if can_write:
                left = _write(into, left)
            for stream in can_read:
                piece = _read(stream)
                if piece is None:
                    continue
                if not piece:
                    open_.discard(stream)
                elif stream == out:
                    self._buffer += piece
                else:
                    self._stderr = (self._stderr + piece)[-8192:]

    def _answer(self) -> dict[str, Any] | None:
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            if not line.startswith(self._word + b" "):
                self._noise = (self._noise + line + b"\n")[-8192:]  # errors in our own program stand here
            else:
                found = json.loads(line[len(self._word) + 1 :].decode("utf-8", "replace"))
                return found if isinstance(found, dict) else {}
        return None

    def _death(self) -> Failure:
        """Why it ended, from its exit code and what it said last."""
        assert self._child is not None
        code = self._child.wait()
        said = (self._noise + self._stderr).decode("utf-8", "replace")
        lower = said.lower()
        self.killed = code in (-signal.SIGKILL, 128 + signal.SIGKILL)
        if self.killed or any(sign in lower for sign in _NO_MEMORY):
            return Failure(kind="memory", message="the prover was ended for want of memory")
        if code == -signal.SIGSEGV or any(sign in lower for sign in _NO_STACK):
            return Failure(kind="crash", message="the prover died: its stack overflowed")
        cause = re.search(r"\w*Error: [^\n]*", said)
        last = cause.group() if cause else " ".join(said.split())[-300:]
        return Failure(kind="crash", message=f"the prover died with code {code}: {last}")


def _write(into: int, left: memoryview) -> memoryview:
    try:
        return left[os.write(into, left[: 1 << 16]) :]
    except BlockingIOError:
        return left
    except BrokenPipeError:  # it is dead: its output will end
        return left[:0]


def _read(stream: int) -> bytes | None:
    try:
        return os.read(stream, 1 << 18)
    except BlockingIOError:
        return None


def _resident(pid: int) -> int:
    """Resident bytes of a process and its descendants, as /proc says; 0 where there is no /proc."""
    total = 0
    with contextlib.suppress(OSError, ValueError, IndexError):
        total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        total += sum(_resident(int(child)) for child in children)
    return total

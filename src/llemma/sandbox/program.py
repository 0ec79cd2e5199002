"""Runs the program, inside the walls: the only file of the package that runs text as code.

By the time it is called the process is confined, and whatever it says is the program's own claim: the program lives in
the same process and can write on the same descriptors. What must be believed (the time taken, how the process ended)
is told by those outside. Also serves cold: a plain process that reads one program, for the tiers without a zygote.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import errno
import json
import linecache
import os
import struct
import sys
import threading
import traceback
import types
from typing import Any, Literal

RESULT, CODE = 3, 4  # descriptors: records go out on the first, programs come in on the second
NAME = "program.py"
LONGEST_VALUE = 100_000  # characters
HEADER = struct.Struct("<cBI")  # status letter, whether there is a value, bytes of the value
LETTERS: dict[bytes, Literal["ok", "error", "memory", "denied"]] = {
    b"o": "ok",
    b"e": "error",
    b"m": "memory",
    b"d": "denied",
}
_REFUSED = {
    errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOSYS, errno.EFBIG, errno.ENOSPC, errno.EDQUOT, errno.EMFILE,
}  # fmt: skip


def serve(want: str) -> None:
    """Run the programs that arrive on ``CODE`` one after the other in one namespace, until its end; then exit.

    ``want`` says which value is reported: ``auto``, ``last``, ``answer``, ``solution`` or ``none``.
    """
    module = types.ModuleType("__main__")
    module.__file__ = NAME
    sys.modules["__main__"] = module
    sys.argv = [NAME]
    sys.stdin = open(0, encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - lives as long as we do
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = open(number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    out, err = sys.stdout, sys.stderr
    count = 0
    while (source := _read_program()) is not None:
        count += 1
        letter, value = _run(source, module.__dict__, want, NAME if count == 1 else f"block_{count}.py")
        _flush(out, err, sys.stdout, sys.stderr)
        _reply(letter, value)
    _finish(out, err)


def _finish(*streams: Any) -> None:
    """What Python does at its end and a program may count on; then the process is gone, without finalizers."""
    with contextlib.suppress(BaseException):  # what the program left to be done may do anything
        threading._shutdown()  # type: ignore[attr-defined]  # waits for threads that are no daemons
        atexit._run_exitfuncs()
    _flush(*streams)
    os._exit(0)


def _flush(*streams: Any) -> None:
    for stream in streams:
        with contextlib.suppress(BaseException):  # the program may have put anything there
            stream.flush()


def _read_program() -> str | None:
    size = _read_exactly(4)
    if len(size) < 4:
        return None
    return _read_exactly(int.from_bytes(size, "little")).decode("utf-8", "surrogatepass")


def _read_exactly(count: int) -> bytes:
    parts = []
    while count > 0:
        part = os.read(CODE, min(count, 1 << 20))
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _reply(letter: bytes, value: str | None) -> None:
    data = b"" if value is None else value.encode("utf-8", "replace")
    left = memoryview(HEADER.pack(letter, value is not None, len(data)) + data)
    while left:
        left = left[os.write(RESULT, left) :]


def _run(source: str, names: dict[str, Any], want: str, name: str) -> tuple[bytes, str | None]:
    """The status letter and the value as text; a traceback goes to stderr."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    try:
        return b"o", _text(_value(source, names, want, name))
    except SystemExit as error:
        if error.code is None or error.code == 0:
            return b"o", None
        if isinstance(error.code, str):
            _complain(error.code)
        return b"e", None
    except BaseException as error:  # anything a program can raise
        _explain(error)
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
            return b"m", None
        return b"d" if isinstance(error, OSError) and error.errno in _REFUSED else b"e", None


def _value(source: str, names: dict[str, Any], want: str, name: str) -> Any:
    """Run the program as a module; the value that ``want`` names, None when there is none."""
    tree = ast.parse(source, name)
    last = tree.body[-1] if tree.body else None
    shown = None
    if want in ("auto", "last") and isinstance(last, ast.Expr):
        tree.body.pop()
        exec(compile(tree, name, "exec", dont_inherit=True), names)
        shown = eval(compile(ast.Expression(last.value), name, "eval", dont_inherit=True), names)
    else:
        exec(compile(tree, name, "exec", dont_inherit=True), names)
    if want == "solution":
        return names["solution"]()
    if want == "answer" or (want == "auto" and shown is None and names.get("answer") is not None):
        return names.get("answer")
    if want == "auto" and shown is None and _only_defines_solution(tree, last):
        return names["solution"]()
    return shown


def _only_defines_solution(tree: ast.Module, last: ast.stmt | None) -> bool:
    """Whether the program defines ``solution()`` and leaves the call to the reader."""
    statements = [*tree.body, last] if last is not None else tree.body
    rest = [s for s in statements if not isinstance(s, ast.FunctionDef)]
    used = any(isinstance(node, ast.Name) and node.id == "solution" for s in rest for node in ast.walk(s))
    return not used and any(isinstance(s, ast.FunctionDef) and s.name == "solution" for s in statements)


def _text(value: Any) -> str | None:
    """A value as text, exact where its type is: ``1/3`` for Fraction and Rational, all digits of an integer."""
    if value is None:
        return None
    if type(value).__name__ == "ndarray" and hasattr(value, "tolist"):
        value = value.tolist()  # an array's own text rounds its numbers and leaves out the middle
    text = str(value)
    if len(text) > LONGEST_VALUE:
        _complain(f"[the value has {len(text)} characters and is left out]")
        return None
    return text


def _complain(text: str) -> None:
    with contextlib.suppress(BaseException):  # the program may have closed it
        sys.stderr.write(f"{text}\n")


def _explain(error: BaseException) -> None:
    """The traceback as Python prints it, without our own frames."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == _run.__code__.co_filename:
        trace = trace.tb_next
    try:
        traceback.print_exception(type(error), error, trace, file=sys.stderr)
    except BaseException:  # an exception may refuse to be printed
        _complain(type(error).__name__)


def foreign(code: str, stdin: str, want: str, marker: str, limits: dict[str, int]) -> None:
    """Run one program where there is no zygote: in this process, its record behind ``marker`` at the end of stdout.

    This file's own text is sent ahead of the call, so that the other side needs nothing but Python.
    """
    import io
    import resource

    for name, most in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        _, hard = resource.getrlimit(kind)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)
    module = types.ModuleType("__main__")
    module.__file__ = NAME
    sys.modules["__main__"], sys.argv, sys.stdin = module, [NAME], io.StringIO(stdin)
    out, err = sys.stdout, sys.stderr
    letter, value = _run(code, module.__dict__, want, NAME)
    _flush(sys.stdout, sys.stderr, out, err)
    out.write(f"{marker}{json.dumps([letter.decode(), value])}")
    _finish(out, err)

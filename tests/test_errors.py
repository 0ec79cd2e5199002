"""Errors say what to do; the boundary keeps what a long run can survive and passes on what it cannot."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from llemma.errors import (
    BackendError,
    Caught,
    ConfigError,
    DataError,
    LlemmaError,
    MissingDependency,
    RunError,
    boundary,
    explain,
    nearest,
)


def raiser(error: BaseException):
    def work():
        raise error

    return work


def test_boundary_returns_the_result():
    assert boundary(lambda: 7) == 7


@pytest.mark.parametrize(
    ("error", "caught"),
    [
        (
            BackendError("server answered 503", retryable=True),
            Caught(kind="BackendError", message="server answered 503", retryable=True),
        ),
        (BackendError("no such model"), Caught(kind="BackendError", message="no such model")),
        (DataError("bad row", where="a.jsonl:3"), Caught(kind="DataError", message="a.jsonl:3: bad row")),
        (ValueError("two\n  lines"), Caught(kind="ValueError", message="two lines")),
        (ZeroDivisionError(), Caught(kind="ZeroDivisionError", message="ZeroDivisionError")),
        (MemoryError(), Caught(kind="MemoryError", message="MemoryError")),
        (
            FileNotFoundError(errno.ENOENT, "No such file", "x.bin"),
            Caught(kind="FileNotFoundError", message="x.bin: no such file or folder; check the path"),
        ),
    ],
)
def test_boundary_keeps_a_failure_of_the_infrastructure_as_a_value(error, caught):
    assert boundary(raiser(error)) == caught


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("unknown key"),
        MissingDependency("torch", install="pip install torch"),
        RunError("locked"),
        AssertionError("our mistake"),
        KeyboardInterrupt(),
        SystemExit(1),
        OSError(errno.ENOSPC, "No space left on device", "rows.jsonl"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EROFS, "Read-only file system"),
    ],
    ids=repr,
)
def test_boundary_passes_on_what_would_fail_for_every_sample(error):
    with pytest.raises(type(error)) as raised:
        boundary(raiser(error))
    assert raised.value is error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space", "rows.jsonl"), "rows.jsonl: the disk is full; free some space"),
        (OSError(errno.EACCES, "Permission denied", "a", None, "b"), "b: permission denied; change the permissions"),
        (OSError(errno.EACCES, "Permission denied"), "permission denied; change the permissions"),
        (OSError(errno.EIO, "Input/output error", "x"), "[Errno 5] Input/output error: 'x'"),
        (ValueError(), "ValueError"),
    ],
)
def test_an_explanation_is_one_line_that_says_where_and_what_to_do(error, line):
    assert explain(error).startswith(line)
    assert "\n" not in explain(error)


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("optim.ler", ["optim.lr", "steps"], "; did you mean optim.lr?"),
        ("gsm8", ["math", "gsm8k"], "; did you mean gsm8k?"),
        ("zzz", ["math", "gsm8k"], "; known: gsm8k, math"),
        ("zzz", [], ""),
    ],
)
def test_a_wrong_name_gets_the_nearest_known_one(name, known, hint):
    assert nearest(name, known) == hint


def test_every_error_is_one_tree_and_keeps_its_facts():
    for kind in (ConfigError, DataError, MissingDependency, RunError, BackendError):
        assert issubclass(kind, LlemmaError)
    assert str(DataError("not JSON", where=Path("a.jsonl"))) == "a.jsonl: not JSON"
    assert DataError("empty").where is None and str(DataError("empty")) == "empty"
    missing = MissingDependency("vLLM", install='pip install "llemma[vllm]"')
    assert str(missing) == 'vLLM is not installed; install it with: pip install "llemma[vllm]"'
    assert missing.install in str(missing)
    assert str(Caught(kind="OSError", message="gone")) == "OSError: gone"

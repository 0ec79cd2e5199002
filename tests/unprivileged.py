"""Runs a command as an ordinary user when the tests run as root: nothing may pass only because root may do it.

The user is a number that nobody else has, so that all its processes and files are the command's.

A home of root's that is closed to others may hold the interpreter; then the command sees, in a mount namespace of its
own, that folder replaced by an open one with nothing but the interpreter in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Run by root, in a process of its own: opens the way to the paths, becomes the user, runs the command.
_LAUNCH = """
import json, os, sys
from llemma.sandbox import linux
paths, words, user = json.loads(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
closed = {}
for path in paths:
    for i in range(1, len(path.split("/"))):
        folder = "/".join(path.split("/")[:i]) or "/"
        if not os.stat(folder).st_mode & 1:
            closed.setdefault(folder, []).append(path)
            break
if closed:
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    stash = next(path for path in ("/mnt", "/media", "/srv", "/var/tmp") if os.path.isdir(path))
    linux.mount("none", stash, "tmpfs", 0, "size=1m")
    for folder, inside in closed.items():
        for number, path in enumerate(inside):
            os.mkdir(f"{stash}/{number}")
            linux.mount(path, f"{stash}/{number}", None, linux.MS_BIND | linux.MS_REC)
        linux.mount("none", folder, "tmpfs", 0, "size=1m,mode=755")
        for number, path in enumerate(inside):
            os.makedirs(path)
            linux.mount(f"{stash}/{number}", path, None, linux.MS_BIND | linux.MS_REC)
os.setgroups([])
os.setresgid(user, user, user)
os.setresuid(user, user, user)
os.chdir("/")
os.execve(words[0], words, {"PATH": os.environ["PATH"], "PYTHONPATH": os.environ["PYTHONPATH"], "HOME": "/nonexistent"})
"""


def run_unprivileged(words: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run this interpreter with ``words`` as a user who is not root: as ourselves, unless we are root."""
    command = [sys.executable, *words]
    if os.geteuid() == 0:
        needed = sorted({sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix), str(ROOT)}, key=len)
        user = str(50_000 + os.getpid() % 10_000)
        command = [sys.executable, "-c", _LAUNCH, json.dumps(needed), json.dumps(command), user]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, cwd="/")
    if "CLONE_NEWNS" in done.stderr or "unshare:" in done.stderr:
        pytest.skip("the interpreter is in a folder closed to others; run the tests as an ordinary user: make test")
    return done

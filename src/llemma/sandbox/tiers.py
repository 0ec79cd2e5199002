"""Which walls this machine allows, found out by attacking them, and the remedy where they are weaker than possible.

T1: namespaces, a root of its own, Landlock, seccomp, resource limits. T2: the same without namespaces. Neither: no
program is run unless the caller names something else. Found once per process: starting the first zygote is most of it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import sysconfig
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from llemma.errors import SandboxError
from llemma.sandbox.limits import Limits
from llemma.sandbox.monitor import Running, Zygote, ZygoteError

TIERS = ("T1", "T2")
_LIBRARIES = ("numpy", "sympy", "mpmath", "scipy", "networkx")

# What gets through is printed. None does harm when it does; the file has no name, the signal is number 0.
_ATTACKS = {
    "has a descriptor too many": "os.fstat(5)",  # first: others open some
    "reads a file of the system": "open('/etc/passwd').read(1)",
    "opens the caller's home": "assert os.fstat(os.open({home!r}, os.O_RDONLY)).st_ino == {inode}",
    "writes outside its scratch": "os.open('/var/tmp', os.O_TMPFILE | os.O_RDWR)",
    "opens a socket": "socket.socket()",
    "starts a process": "os.fork() or os._exit(0)",
    "runs another program": "os.execv('/bin/true', ['true'])",
    "signals its caller": "os.kill({pid}, 0)",
    "sees the environment": "os.environ['PATH'] or os.environ['PYTHONHASHSEED']",
    "makes a namespace": "check(libc.unshare(0x10000000))",
    "can be traced": "check(libc.ptrace(0, 0, 0, 0))",
    "raises its own limits": "resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)",
    "takes more memory than it may": "bytearray({memory})",
}
_ATTACKS_ON_T1 = {
    "sees other processes": "os.listdir('/proc')",
    "has a process for parent": "assert os.getppid()",
}
_PROGRAM = """
import ctypes, os, resource, socket
libc = ctypes.CDLL(None)
def check(result):
    if result < 0: raise OSError
attacks = {attacks!r}
for name, attack in attacks.items():
    try:
        exec(attack)
    except (OSError, MemoryError, ValueError, KeyError, AssertionError):
        continue
    print(name)
print("probed")
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """The walls programs get here. ``name`` is empty when there are none.

    ``missing``: for every better tier, why it cannot be had and what to do about it.
    """

    name: str
    detail: str
    missing: tuple[tuple[str, str, str], ...] = ()


@functools.cache
def best() -> Tier:
    """The best tier of this machine, probed once per process."""
    missing: list[tuple[str, str, str]] = []
    for name in TIERS:
        found = probe(name)
        if isinstance(found, Tier):
            return Tier(name=name, detail=found.detail, missing=tuple(missing))
        missing.append((name, *found))
    return Tier(name="", detail="no program can be run safely", missing=tuple(missing))


@functools.cache
def probe(name: str) -> Tier | tuple[str, str]:
    """The tier, when its walls stand up to the attacks; else the cause and the remedy."""
    if sys.platform != "linux":
        return f"{sys.platform} has neither Landlock nor seccomp", "use Linux, or a Linux container"
    try:
        zygote = Zygote(name, "plain", folders())
    except ZygoteError as error:
        return str(error), _remedy(error)
    except SandboxError as error:
        return str(error), "see whether Python itself starts: python -S -P -c pass"
    try:
        through = _attack(zygote, name)
    except SandboxError as error:
        return str(error), "run `llemma doctor` again; report it when it stays"
    finally:
        zygote.close()
    if through:
        return f"a program {', '.join(through)}", "report this with the kernel's version (uname -a)"
    extra = "user, mount, pid, network, IPC namespaces, " if name == "T1" else ""
    return Tier(name=name, detail=f"{extra}Landlock ABI {zygote.abi}, seccomp, resource limits")


def _attack(zygote: Zygote, tier: str) -> list[str]:
    limits = Limits(memory=64)
    attacks = _ATTACKS | (_ATTACKS_ON_T1 if tier == "T1" else {})
    home = os.path.expanduser("~") if os.path.isdir(os.path.expanduser("~")) else "/"
    known = {"home": home, "inode": os.stat(home).st_ino, "pid": os.getpid(), "memory": limits.memory << 21}
    program = _PROGRAM.format(attacks={name: text.format(**known) for name, text in attacks.items()})
    with Running(zygote, limits, "none") as running:
        done = running.run(program, last=True)
    *through, end = done.stdout.splitlines() or [""]
    if end != "probed":
        raise SandboxError(f"the probe did not come to its end: {done.status}: {done.stderr[-200:]}")
    return through


def _remedy(error: ZygoteError) -> str:
    if "Landlock" in error.reason:
        return "a kernel from 5.13 on with Landlock switched on (boot with lsm=landlock,...)"
    if _read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile that allows userns"
    if _read("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "sudo sysctl kernel.unprivileged_userns_clone=1"
    if _read("/proc/sys/user/max_user_namespaces") == "0":
        return "sudo sysctl user.max_user_namespaces=10000"
    if os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv"):
        return "start the container with --security-opt seccomp=unconfined --security-opt apparmor=unconfined"
    return "allow user namespaces to unprivileged processes (seccomp filter or security module of this machine)"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""


@functools.cache
def folders() -> tuple[str, ...]:
    """The folders of installed packages that programs may import from."""
    found = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):
            spec = find_spec(name)
            if spec is not None and spec.origin is not None:
                found.append(str(Path(spec.origin).parents[1]))
    return tuple(dict.fromkeys(path for path in found if os.path.isdir(path)))


def refusal(tier: Tier) -> SandboxError:
    """Why no program is run here, and the ways out."""
    causes = "; ".join(f"{name}: {cause} (remedy: {remedy})" for name, cause, remedy in tier.missing)
    return SandboxError(
        f"no sandbox here, so no program is run. {causes}. Ways out: mend one of these; "
        "sandbox=bubblewrap or sandbox=docker:IMAGE; sandbox=fusion:URL for a SandboxFusion server; or "
        "sandbox=unsafe-subprocess, which runs programs with all your rights"
    )

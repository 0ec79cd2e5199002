"""The walls around a program: namespaces, a root of its own, no privileges, Landlock, seccomp, resource limits.

``enter_namespaces``, ``become_root_of_nothing`` and ``build_root`` are called once per zygote, by trusted code;
``confine`` is called once per program, after the fork and before the program's first byte is read. Nothing here
decides whether walls are good enough: the probe in ``tiers`` attacks them.
"""

from __future__ import annotations

import os
import resource
import select
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from llemma.sandbox import filter as seccomp_filter
from llemma.sandbox import linux

NOBODY = 65534
DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
_TIME_ZONES = "/usr/share/zoneinfo"
_READ = linux.READ_FILE | linux.READ_DIR
_WRITE = linux.WRITE_FILE | linux.TRUNCATE
_CHANGE = linux.REMOVE_DIR | linux.REMOVE_FILE | linux.MAKE_DIR | linux.MAKE_REG | linux.REFER


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """What a zygote knows about the walls its programs get.

    ``namespaces``: tier T1. ``change_user``: the zygote is root and the program must not be. ``libraries``: what can be
    read. ``abi``: of Landlock. ``size``: bytes of address space that the zygote itself takes.
    """

    namespaces: bool
    change_user: bool
    threads: bool
    libraries: tuple[str, ...]
    abi: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Limits of one program, in bytes, seconds and counts; all are hard."""

    memory: int
    cpu: int
    file: int
    files: int
    threads: int
    scratch: int


def enter_namespaces() -> None:
    """New user, mount, pid (for children), network, IPC, host name and cgroup namespaces."""
    linux.unshare(
        linux.CLONE_NEWUSER
        | linux.CLONE_NEWNS
        | linux.CLONE_NEWPID
        | linux.CLONE_NEWNET
        | linux.CLONE_NEWIPC
        | linux.CLONE_NEWUTS
        | linux.CLONE_NEWCGROUP
    )


def map_own_user(user: int, group: int) -> None:
    """Call this user nobody inside; all that an unprivileged process may do in a new user namespace."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{NOBODY} {user} 1"),
        ("gid_map", f"{NOBODY} {group} 1"),
    ):
        _write(f"/proc/self/{name}", text)


def map_for(pid: int) -> None:
    """As root, from outside: root stays root inside (to read the libraries), nobody is there to become."""
    for name in ("uid_map", "gid_map"):
        _write(f"/proc/{pid}/{name}", f"0 0 1\n{NOBODY} {NOBODY} 1\n")


def _write(path: str, text: str) -> None:
    handle = os.open(path, os.O_WRONLY)
    try:
        os.write(handle, text.encode())  # the kernel takes these files in one piece
    finally:
        os.close(handle)


def library_folders(given: Sequence[str]) -> tuple[str, ...]:
    """The folders a program must read: those given, and those of the shared libraries loaded so far."""
    found = [path for path in (*given, _TIME_ZONES) if os.path.isdir(path)]
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        path = line.split(maxsplit=5)[5] if line.count("/") else ""
        if path.startswith("/") and ".so" in os.path.basename(path):
            found.append(os.path.dirname(path))
    kept: list[str] = []
    for path in sorted(set(found), key=len):
        if not any(path == other or path.startswith(other + "/") for other in kept):
            kept.append(path)
    return tuple(kept)


def build_root(libraries: Sequence[str]) -> None:
    """Replace the root by an empty read-only one with the libraries, four devices and an empty scratch folder."""
    linux.name_host("sandbox")
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
    base = mount_point(libraries)
    linux.mount("none", base, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "size=256k,nr_inodes=1k,mode=755")
    for path in libraries:
        os.makedirs(base + path, exist_ok=True)
        linux.mount(path, base + path, None, linux.MS_BIND | linux.MS_REC)
        linux.mount_attributes(base + path, linux.ATTR_RDONLY | linux.ATTR_NOSUID | linux.ATTR_NODEV)
    for path in (*DEVICES, "/etc/ld.so.cache"):
        if os.path.exists(path):
            os.makedirs(os.path.dirname(base + path), exist_ok=True)
            os.close(os.open(base + path, os.O_CREAT | os.O_WRONLY))
            linux.mount(path, base + path, None, linux.MS_BIND)
            linux.mount_attributes(base + path, linux.ATTR_RDONLY | linux.ATTR_NOSUID)
    for path in ("/lib", "/lib64", "/usr/lib64"):  # where the loader looks, on systems where these are links
        if os.path.islink(path) and not os.path.lexists(base + path):
            os.makedirs(os.path.dirname(base + path), exist_ok=True)
            os.symlink(os.readlink(path), base + path)
    os.makedirs(base + scratch(libraries), exist_ok=True)
    linux.change_root(base)
    linux.mount_attributes("/", linux.ATTR_RDONLY)


def mount_point(libraries: Sequence[str]) -> str:
    """An existing folder that hides no library when something is mounted over it."""
    for path in ("/mnt", "/media", "/srv", "/var/tmp", "/tmp", "/proc"):
        if os.path.isdir(path) and not any(f"{library}/".startswith(f"{path}/") for library in libraries):
            return path
    raise OSError(2, "no folder to build the sandbox's root on: make an empty folder /mnt")


def scratch(libraries: Sequence[str]) -> str:
    """Where a program's scratch folder is: ``/tmp``, or ``/scratch`` when it would hide libraries below ``/tmp``."""
    return "/scratch" if any(f"{path}/".startswith("/tmp/") for path in libraries) else "/tmp"


def confine(walls: Walls, bounds: Bounds, zygote: int) -> None:
    """Put this process, fresh from the fork, behind the walls. ``zygote`` is an open pidfd of the parent."""
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)
    if walls.namespaces:
        linux.unshare(linux.CLONE_NEWNS)
        options = f"size={bounds.scratch},nr_inodes=4k,mode=777"
        flags = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC
        linux.mount("none", scratch(walls.libraries), "tmpfs", flags, options)
    if walls.change_user:
        become_nobody()
    if walls.namespaces:
        linux.unshare(linux.CLONE_NEWUSER)  # so that its threads are counted apart from those of other programs
    os.chdir(scratch(walls.libraries) if walls.namespaces else "/")
    _limit(walls, bounds)
    linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    linux.prctl(linux.PR_SET_DUMPABLE, 0)  # again, as the next line: a change of user has reset both
    linux.prctl(linux.PR_SET_PDEATHSIG, 9)
    if _is_dead(zygote):
        raise OSError(3, "the zygote is gone")
    linux.landlock(_rules(walls), walls.abi)
    linux.seccomp(seccomp_filter.build(linux.machine(), os.getpid(), walls.threads))


def become_nobody() -> None:
    """Root's way to the user nobody, with no group but nobody's."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def _rules(walls: Walls) -> list[tuple[str, int]]:
    rules = [(path, linux.READ_FILE | linux.WRITE_FILE) for path in DEVICES]
    if walls.namespaces:
        return [*rules, ("/", _READ), (scratch(walls.libraries), _READ | _WRITE | _CHANGE)]
    return [*rules, *((path, _READ) for path in walls.libraries), ("/etc/ld.so.cache", linux.READ_FILE)]


def _limit(walls: Walls, bounds: Bounds) -> None:
    stack = 64 << 20
    for kind, value in (
        (resource.RLIMIT_AS, walls.size + bounds.memory),
        (resource.RLIMIT_CPU, bounds.cpu),
        (resource.RLIMIT_FSIZE, bounds.file),
        (resource.RLIMIT_NOFILE, bounds.files),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_STACK, min(stack, bounds.memory)),
        (resource.RLIMIT_NPROC, bounds.threads if walls.threads else 1),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_SIGPENDING, 64),
    ):
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _is_dead(handle: int) -> bool:
    return bool(select.select([handle], [], [], 0)[0])


def address_space() -> int:
    """Bytes of address space of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()


def python_folders() -> list[str]:
    """The folders of this interpreter's own standard library."""
    return [path for path in sys.path if path and os.path.isdir(path)]

"""Linux system calls that Python lacks, through ctypes: namespaces, mounts, capabilities, Landlock, seccomp.

Thin: each function is one call, and raises OSError with the name of the call. What to call in which order is decided
in ``isolation``. Imported only by the sandbox's own processes.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Sequence
from pathlib import Path

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x00020000, 0x02000000, 0x04000000
CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x10000000, 0x20000000, 0x40000000

MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV, ATTR_NOEXEC = 1, 2, 4, 8  # of mount_setattr(2)
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 36, 38

# Landlock's file rights, in the order of their bits; ABI 1 has thirteen, REFER came with 2, TRUNCATE 3, IOCTL_DEV 5.
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, REMOVE_DIR, REMOVE_FILE = 1, 2, 4, 8, 16, 32
MAKE_DIR, MAKE_REG, MAKE_SOCK, REFER, TRUNCATE = 1 << 7, 1 << 8, 1 << 9, 1 << 13, 1 << 14
_FS_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}  # from ABI 5: 1 << 16
_NET_RIGHTS = 3  # bind and connect TCP, from ABI 4
_SCOPES = 3  # abstract unix sockets and signals, from ABI 6

_SYSCALLS = {
    "x86_64": {"capset": 126, "pivot_root": 155, "seccomp": 317},
    "aarch64": {"capset": 91, "pivot_root": 41, "seccomp": 277},
}
_COMMON = {  # the same number on both
    "close_range": 436,
    "mount_setattr": 442,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}

_libc = ctypes.CDLL(None, use_errno=True)


def machine() -> str:
    """``x86_64`` or ``aarch64``; OSError on any other, for which no filter is written."""
    found = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine())
    if found not in _SYSCALLS:
        raise OSError(38, f"the sandbox knows x86_64 and aarch64, this is {found}")
    return found


def _checked(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def _syscall(name: str, *arguments: int | bytes | None) -> int:
    number = _COMMON.get(name) or _SYSCALLS[machine()][name]
    # a plain int would be passed with 32 bits
    words = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *words), name)


def unshare(flags: int) -> None:
    """Give this process new namespaces."""
    _checked(_libc.unshare(flags), "unshare")


def name_host(name: str) -> None:
    """Set the host name of this process's UTS namespace."""
    _checked(_libc.sethostname(name.encode(), len(name)), "sethostname")


def setns(handle: int, kind: int) -> None:
    """Enter the namespace behind an open file (for ``CLONE_NEWPID``: only later children do)."""
    _checked(_libc.setns(handle, kind), "setns")


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """``mount(2)``."""
    texts = [None if text is None else text.encode() for text in (source, target, kind, options)]
    _checked(_libc.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3]), f"mount {target}")


def mount_attributes(target: str, attributes: int, *, below: bool = True) -> None:
    """Set attributes on a mount and, with ``below``, on every mount below it."""
    block = struct.pack("QQQQ", attributes, 0, 0, 0)
    _syscall("mount_setattr", _AT_FDCWD, target.encode(), _AT_RECURSIVE if below else 0, block, len(block))


def change_root(folder: str) -> None:
    """Make ``folder``, a mount point, the root; nothing of the old root stays reachable."""
    os.chdir(folder)
    _syscall("pivot_root", b".", b".")
    _checked(_libc.umount2(b".", MNT_DETACH), "umount2")
    os.chdir("/")


def prctl(option: int, value: int) -> None:
    """``prctl(option, value, 0, 0, 0)``."""
    zero = ctypes.c_ulong(0)
    _checked(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero), f"prctl {option}")


def drop_capabilities() -> None:
    """Give up every capability, effective, permitted and inheritable."""
    header = struct.pack("Ii", 0x20080522, 0)
    _syscall("capset", header, bytes(24))


def collapse_memory() -> None:
    """Put this process's data into huge pages, where the kernel can (Linux 6.1): cheaper to fork."""
    size, collapse = 2 << 20, 25  # MADV_COLLAPSE
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        words = line.split(maxsplit=5)
        if not words[1].startswith("rw") or (len(words) == 6 and words[5] != "[heap]"):
            continue
        first, last = (int(word, 16) for word in words[0].split("-"))
        for place in range(-(-first // size) * size, last - size + 1, size):
            _libc.madvise(ctypes.c_void_p(place), ctypes.c_size_t(size), collapse)  # one that fails stays as it is


def close_from(first: int) -> None:
    """Close every descriptor from ``first`` on."""
    _syscall("close_range", first, 0x7FFFFFFF, 0)


def landlock_abi() -> int:
    """The kernel's Landlock version; 0 when it has none or keeps it switched off."""
    try:
        return _syscall("landlock_create_ruleset", None, 0, 1)
    except OSError:
        return 0


def landlock(rules: Sequence[tuple[str, int]], abi: int) -> None:
    """Confine this process for good: below each path the rights given, elsewhere no file, and no TCP.

    Paths that do not exist are left out. Since ABI 6 also no signal and no abstract socket of outside processes.
    """
    handled = _FS_RIGHTS.get(abi, (1 << 16) - 1)
    attributes = struct.pack("QQQ", handled, _NET_RIGHTS, _SCOPES)[: 8 if abi < 4 else 16 if abi < 6 else 24]
    ruleset = _syscall("landlock_create_ruleset", attributes, len(attributes), 0)
    try:
        for path, rights in rules:
            _add_rule(ruleset, path, rights & handled)
        _syscall("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)


def _add_rule(ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _syscall("landlock_add_rule", ruleset, 1, struct.pack("=Qi", rights, handle), 0)
    finally:
        os.close(handle)


def seccomp(program: bytes) -> None:
    """Install a filter, ``program`` being its instructions of 8 bytes each."""
    code = ctypes.create_string_buffer(program, len(program))
    block = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    _syscall("seccomp", 1, 0, block)

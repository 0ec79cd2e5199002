"""The list of system calls a sandboxed program may make, and its translation into a seccomp filter.

An allow-list: what is not named is refused with EPERM, and a call newer than this list does not exist (ENOSYS), so
that the C library falls back. Calls of another architecture or of the x32 interface kill. Data and pure functions.
"""

from __future__ import annotations

import errno
import functools
import struct
from collections.abc import Mapping, Sequence

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32 = 0x40000000
_NEWEST = 451  # cachestat; higher numbers get ENOSYS

# name, number on x86_64, number on aarch64 (-: not there)
_CALLS = """
read 0 63 | write 1 64 | readv 19 65 | writev 20 66 | pread64 17 67 | pwrite64 18 68 | close 3 57 | lseek 8 62
mmap 9 222 | mprotect 10 226 | munmap 11 215 | mremap 25 216 | brk 12 214 | madvise 28 233
fstat 5 80 | newfstatat 262 79 | stat 4 - | lstat 6 - | statx 332 291 | access 21 - | faccessat 269 48
faccessat2 439 439 | readlink 89 - | readlinkat 267 78 | getcwd 79 17 | chdir 80 49 | fchdir 81 50
open 2 - | openat 257 56 | getdents 78 - | getdents64 217 61 | dup 32 23 | dup2 33 - | dup3 292 24
pipe 22 - | pipe2 293 59 | poll 7 - | ppoll 271 73 | select 23 - | pselect6 270 72 | epoll_create 213 -
epoll_create1 291 20 | epoll_ctl 233 21 | epoll_wait 232 - | epoll_pwait 281 22 | eventfd2 290 19
unlink 87 - | unlinkat 263 35 | rename 82 - | renameat 264 38 | renameat2 316 276 | mkdir 83 - | mkdirat 258 34
rmdir 84 - | ftruncate 77 46 | fsync 74 82 | fdatasync 75 83 | fallocate 285 47 | umask 95 166 | close_range 436 436
nanosleep 35 101 | clock_nanosleep 230 115 | clock_gettime 228 113 | clock_getres 229 114 | gettimeofday 96 169
time 201 - | times 100 153 | getrusage 98 165 | sysinfo 99 179 | uname 63 160 | getrandom 318 278
getpid 39 172 | gettid 186 178 | getppid 110 173 | getuid 102 174 | geteuid 107 175 | getgid 104 176
getegid 108 177 | getresuid 118 148 | getresgid 120 150 | getgroups 115 158 | getpgrp 111 - | sched_yield 24 124
sched_get_priority_max 146 125 | sched_get_priority_min 147 126 | getcpu 309 168
rt_sigaction 13 134 | rt_sigprocmask 14 135 | rt_sigreturn 15 139 | rt_sigpending 127 136
rt_sigtimedwait 128 137 | rt_sigsuspend 130 133 | sigaltstack 131 132 | setitimer 38 103 | getitimer 36 102
alarm 37 - | pause 34 - | futex 202 98 | set_robust_list 273 99 | set_tid_address 218 96 | rseq 334 293
membarrier 324 283 | restart_syscall 219 128 | exit 60 93 | exit_group 231 94 | wait4 61 260 | waitid 247 95
getrlimit 97 163 | recvfrom 45 207
"""

# Calls whose arguments decide: name, numbers, then for each half of an argument that counts (0 and 1 are the low and
# the high 32 bits of the first) the values that are allowed.
_Rule = tuple[str, int, int, dict[int, tuple[int, ...]]]
_BY_ARGUMENT: tuple[_Rule, ...] = (
    ("fcntl", 72, 25, {2: (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)}),  # dup, flags, locks, pipe size
    # TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX: what opening a text file asks, and no device's own
    ("ioctl", 16, 29, {2: (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)}),
    # AF_UNIX streams, through which asyncio wakes itself up; a datagram could be sent to a socket outside
    ("socketpair", 53, 199, {0: (1,), 2: (1, 0x801, 0x80001, 0x80801)}),
    ("sendto", 44, 206, {8: (0,), 9: (0,)}),  # send(): no address
    ("prctl", 157, 167, {0: (15, 16)}),  # the name of a thread
    ("prlimit64", 302, 261, {0: (0,)}),  # its own limits; the hard ones cannot be raised
    ("sched_getaffinity", 204, 123, {0: (0,)}),  # about itself, not about others
    ("getpgid", 121, 155, {0: (0,)}),
)
# clone with the flags of pthread_create, of glibc and of musl, and no others: a thread, never a process
_CLONE: _Rule = ("clone", 56, 220, {0: (0x3D0F00, 0x7D0F00)})
_SIGNALS = (("kill", 62, 129), ("tgkill", 234, 131))  # to itself only: the first argument is its own id
_ABSENT = (("clone3", 435, 435), ("openat2", 437, 437))  # ENOSYS: the C library then uses the older call

# What a program of several processes needs beyond that: coqc, Lean, node. Calls that change a file by its path and not
# by a descriptor are left out, because Landlock does not know all of them.
_COMMAND_CALLS = """
fork 57 - | vfork 58 - | execve 59 221 | creat 85 - | setrlimit 160 164 | getsid 124 156
bind 49 200 | listen 50 201 | accept 43 202 | accept4 288 242 | shutdown 48 210 | getsockname 51 204
getpeername 52 205 | getsockopt 55 209 | sendmsg 46 211 | recvmsg 47 212
eventfd 284 - | epoll_pwait2 441 441 | signalfd4 289 74 | timerfd_create 283 85 | timerfd_settime 286 86
timerfd_gettime 287 87 | timer_create 222 107 | timer_settime 223 110 | timer_gettime 224 108
timer_getoverrun 225 109 | timer_delete 226 111 | msync 26 227 | mincore 27 232 | statfs 137 43 | fstatfs 138 44
flock 73 32 | fadvise64 221 223 | readahead 187 213 | copy_file_range 326 285 | sendfile 40 71
sched_getparam 143 121 | sched_getscheduler 145 120 | sched_getaffinity 204 123
pkey_alloc 330 289 | pkey_free 331 290 | pkey_mprotect 329 288
"""
_ENCLOSED_CALLS = "kill 62 129 | tgkill 234 131 | setsid 112 157 | setpgid 109 154 | connect 42 203"  # in namespaces
_COMMAND_BY_ARGUMENT: tuple[_Rule, ...] = (
    ("prctl", 157, 167, {0: (1, 2, 15, 16)}),  # also: die with the parent
    ("socket", 41, 198, {0: (1,), 2: (1, 0x801, 0x80001, 0x80801)}),  # AF_UNIX streams
    ("arch_prctl", 158, -1, {0: (0x1002, 0x1003)}),  # ARCH_SET_FS, ARCH_GET_FS: what every program starts with
)
_NEW_NAMESPACES = 0x7E020000 | 0x8000  # flags of clone; the last is CLONE_PARENT
_SHARED, _ANONYMOUS = 1, 0x20  # flags of mmap: together memory that RLIMIT_DATA does not count


def numbers(machine: str, table: str = _CALLS) -> dict[str, int]:
    """Name → number of the calls that are allowed whatever their arguments."""
    column = 1 if machine == "x86_64" else 2
    rows = (entry.split() for line in table.strip().splitlines() for entry in line.split("|"))
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def build(machine: str, pid: int, threads: bool) -> bytes:
    """The filter for a program whose process id, as itself sees it, is ``pid``: 8 bytes an instruction."""
    return _template(machine, threads).replace(_jump_equal(_ANY_PID, 1, 0), _jump_equal(pid, 1, 0))


_ANY_PID = 0xFFFFFFFE  # no process has it


@functools.cache
def _template(machine: str, threads: bool) -> bytes:
    code = _beginning(machine, sorted(numbers(machine).values()))
    for _, x86, arm, allowed in (*_BY_ARGUMENT, *([_CLONE] if threads else [])):
        code += _by_argument(x86 if machine == "x86_64" else arm, allowed)
    for _, x86, arm in _SIGNALS:
        code += _by_argument(x86 if machine == "x86_64" else arm, {0: (_ANY_PID,)})
    return b"".join([*code, *_end(machine)])


def build_for_command(machine: str, pid: int, enclosed: bool) -> bytes:
    """The filter for an external program of several processes; ``pid`` is its first one's own id.

    ``enclosed``: it is in namespaces of its own. Otherwise its signals reach itself and its process group, which it
    cannot leave, and it may listen on a unix socket, whose path Landlock knows, but connect to none.
    """
    x86 = machine == "x86_64"
    free = numbers(machine) | numbers(machine, _COMMAND_CALLS) | (numbers(machine, _ENCLOSED_CALLS) if enclosed else {})
    mmap = free.pop("mmap")
    code = _beginning(machine, sorted(free.values()))
    for name, (_, on_x86, on_arm, allowed) in {
        rule[0]: rule for rule in (*_BY_ARGUMENT, *_COMMAND_BY_ARGUMENT)
    }.items():
        if name not in free and (x86 or on_arm >= 0):
            code += _by_argument(on_x86 if x86 else on_arm, allowed)
    if not enclosed:
        for (_, on_x86, on_arm), allowed_ids in zip(_SIGNALS, ((0, pid), (pid,)), strict=True):
            code += _by_argument(on_x86 if x86 else on_arm, {0: allowed_ids})
    code += _unless_flags(56 if x86 else 220, 0, (_NEW_NAMESPACES,))
    code += _unless_flags(mmap, 3, (_ANONYMOUS, _SHARED))
    return b"".join([*code, *_end(machine)])


def _beginning(machine: str, allowed: Sequence[int]) -> list[bytes]:
    """Kill what is of another architecture, tell newer calls that they do not exist, allow what always is."""
    code = [_load(4), _jump_equal(_ARCHITECTURE[machine], 1, 0), _return(KILL), _load(0)]
    if machine == "x86_64":
        code += [_jump_at_least(_X32, 0, 1), _return(KILL)]
    code += [_jump_at_least(_NEWEST + 1, 0, 1), _return(ERRNO | errno.ENOSYS)]
    for number in allowed:
        code += [_jump_equal(number, 0, 1), _return(ALLOW)]
    return code


def _end(machine: str) -> list[bytes]:
    """Refuse everything else."""
    code = []
    for _, x86, arm in _ABSENT:
        code += [_jump_equal(x86 if machine == "x86_64" else arm, 0, 1), _return(ERRNO | errno.ENOSYS)]
    return [*code, _return(ERRNO | errno.EPERM)]


# BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JGE|K, BPF_JMP|JSET|K, BPF_RET|K
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06


def _unless_flags(number: int, argument: int, masks: Sequence[int]) -> list[bytes]:
    """Allow the call unless the low half of an argument has a bit of every mask."""
    body = [_load(16 + 8 * argument)]
    for i, mask in enumerate(masks):
        body.append(struct.pack("=HBBI", _ANY_BIT, 0, len(masks) - i, mask))  # none of them: to the last instruction
    body += [_return(ERRNO | errno.EPERM), _return(ALLOW)]
    return [_jump_equal(number, 0, len(body)), *body]


def _by_argument(number: int, allowed: Mapping[int, Sequence[int]]) -> list[bytes]:
    """Allow the call when every argument that counts has one of its values, refuse it otherwise."""
    body = [_return(ALLOW)]
    for half, values in reversed(list(allowed.items())):
        # one that is equal jumps over the tests after it and the refusal
        tests = [_jump_equal(value, len(values) - i, 0) for i, value in enumerate(values)]
        body = [_load(16 + 4 * half), *tests, _return(ERRNO | errno.EPERM), *body]
    return [_jump_equal(number, 0, len(body)), *body]


def _load(offset: int) -> bytes:
    return struct.pack("=HBBI", _LOAD, 0, 0, offset)


def _jump_equal(value: int, yes: int, no: int) -> bytes:
    return struct.pack("=HBBI", _EQUAL, yes, no, value)


def _jump_at_least(value: int, yes: int, no: int) -> bytes:
    return struct.pack("=HBBI", _AT_LEAST, yes, no, value)


def _return(value: int) -> bytes:
    return struct.pack("=HBBI", _RETURN, 0, 0, value)

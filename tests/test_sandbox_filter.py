"""The seccomp filter, read as the kernel reads it, for both machines it is written for."""

from __future__ import annotations

import errno
import platform
import re
import struct
from pathlib import Path

import pytest

from llemma.sandbox import filter as seccomp_filter
from llemma.sandbox.filter import ALLOW, ERRNO, KILL

ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
every_machine = pytest.mark.parametrize("machine", ARCHITECTURE)
REFUSED, ABSENT = ERRNO | errno.EPERM, ERRNO | errno.ENOSYS


def answer(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """What the filter answers to a call: classic BPF, the five instructions it uses."""
    data = struct.pack("<iIQ6Q", number, architecture, 0, *[*arguments, *[0] * 6][:6])
    place = accumulator = steps = 0
    while True:
        code, yes, no, value = struct.unpack_from("=HBBI", program, 8 * place)
        place += 1
        steps += 1
        assert steps < 4096
        if code == 0x06:  # RET K
            return int(value)
        if code == 0x20:  # LD W ABS
            accumulator = struct.unpack_from("<I", data, value)[0]
        elif code == 0x15:  # JMP JEQ K
            place += yes if accumulator == value else no
        elif code == 0x35:  # JMP JGE K
            place += yes if accumulator >= value else no
        elif code == 0x45:  # JMP JSET K
            place += yes if accumulator & value else no
        else:
            raise AssertionError(f"instruction {code:#x}")


class Filter:
    def __init__(self, machine: str, pid: int = 1, threads: bool = True) -> None:
        self.program = seccomp_filter.build(machine, pid, threads)
        self.architecture = ARCHITECTURE[machine]
        self.x86 = machine == "x86_64"

    def __call__(self, x86: int, arm: int, *arguments: int) -> int:
        return answer(self.program, self.architecture, x86 if self.x86 else arm, *arguments)


@every_machine
def test_every_call_of_the_table_is_allowed(machine):
    ask = Filter(machine)
    for name, number in seccomp_filter.numbers(machine).items():
        assert ask(number, number) == ALLOW, name


@every_machine
@pytest.mark.parametrize(
    ("name", "x86", "arm"),
    [
        ("execve", 59, 221), ("execveat", 322, 281), ("socket", 41, 198), ("connect", 42, 203), ("bind", 49, 200),
        ("sendmsg", 46, 211), ("recvmsg", 47, 212), ("ptrace", 101, 117), ("mount", 165, 40), ("umount2", 166, 39),
        ("unshare", 272, 97), ("setns", 308, 268), ("pivot_root", 155, 41), ("chroot", 161, 51), ("bpf", 321, 280),
        ("perf_event_open", 298, 241), ("userfaultfd", 323, 282), ("io_uring_setup", 425, 425), ("keyctl", 250, 219),
        ("memfd_create", 319, 279), ("process_vm_readv", 310, 270), ("pidfd_open", 434, 434), ("pidfd_getfd", 438, 438),
        ("shmget", 29, 194), ("mq_open", 240, 180), ("setuid", 105, 146), ("capset", 126, 91), ("seccomp", 317, 277),
        ("landlock_restrict_self", 446, 446), ("fchmodat", 268, 53), ("fchownat", 260, 54), ("utimensat", 280, 88),
        ("linkat", 265, 37), ("symlinkat", 266, 36), ("mknodat", 259, 33), ("truncate", 76, 45), ("setsid", 112, 157),
        ("personality", 135, 92), ("clock_settime", 227, 112), ("inotify_init1", 294, 26), ("tkill", 200, 130),
        ("rt_sigqueueinfo", 129, 138), ("mlock", 149, 228), ("quotactl", 179, 60), ("init_module", 175, 105),
        ("kexec_load", 246, 104), ("reboot", 169, 142), ("sethostname", 170, 161), ("ioprio_set", 251, 30),
    ],
)  # fmt: skip
def test_what_a_program_has_no_business_with_is_refused(machine, name, x86, arm):
    assert Filter(machine)(x86, arm) == REFUSED, name


@every_machine
def test_newer_calls_do_not_exist(machine):
    ask = Filter(machine)
    for number in (452, 470, 1000, 0x3FFFFFFF):
        assert ask(number, number) == ABSENT
    assert ask(435, 435) == ABSENT  # clone3: the C library goes back to clone
    assert ask(437, 437) == ABSENT  # openat2


@every_machine
def test_another_architecture_kills(machine):
    ask = Filter(machine)
    for architecture in (0x40000003, 0x40000028, 0, *set(ARCHITECTURE.values()) - {ask.architecture}):
        assert answer(ask.program, architecture, 0) == KILL
    if machine == "x86_64":
        assert ask(0x40000000, 0) == ask(0x40000000 + 59, 0) == KILL  # the x32 interface


@every_machine
def test_a_thread_is_no_process(machine):
    thread = 0x3D0F00  # what glibc's pthread_create asks for
    for flags in (17, 0, 0x4111, 0x10000011, thread | 0x10000000, thread | 0x20000, thread & ~0x10000):
        assert Filter(machine)(56, 220, flags) == REFUSED, hex(flags)
    assert Filter(machine)(56, 220, thread) == ALLOW
    assert Filter(machine, threads=False)(56, 220, thread) == REFUSED


@every_machine
@pytest.mark.parametrize("pid", [1, 77, 4_000_000])
def test_signals_go_to_itself_only(machine, pid):
    ask = Filter(machine, pid)
    for call in ((62, 129), (234, 131)):
        assert ask(*call, pid, 9) == ALLOW
        for other in (0, 2, pid + 1, 0xFFFFFFFF, 0xFFFFFFFE):
            assert ask(*call, other, 9) == REFUSED


@every_machine
@pytest.mark.parametrize(
    ("call", "arguments", "allowed"),
    [
        ((53, 199), (1, 1), True),  # socketpair(AF_UNIX, SOCK_STREAM)
        ((53, 199), (1, 0x80801), True),
        ((53, 199), (1, 2), False),  # datagrams can be sent elsewhere
        ((53, 199), (1, 5), False),
        ((53, 199), (2, 1), False),
        ((44, 206), (3, 0x1000, 4, 0, 0, 0), True),  # send
        ((44, 206), (3, 0x1000, 4, 0, 0x1000, 16), False),  # sendto an address
        ((44, 206), (3, 0x1000, 4, 0, 0x100000000, 16), False),  # whose low half is zero
        ((302, 261), (0, 9), True),
        ((302, 261), (77, 9), False),
        ((72, 25), (3, 1030), True),  # F_DUPFD_CLOEXEC
        ((72, 25), (3, 8), False),  # F_SETOWN
        ((72, 25), (3, 1031), False),  # F_SETPIPE_SZ
        ((16, 29), (0, 0x5401), True),  # TCGETS
        ((16, 29), (0, 0x5412), False),  # TIOCSTI
        ((157, 167), (15,), True),  # PR_SET_NAME
        ((157, 167), (1,), False),  # PR_SET_PDEATHSIG
        ((157, 167), (4,), False),  # PR_SET_DUMPABLE
        ((204, 123), (0,), True),
        ((204, 123), (5,), False),
    ],
)
def test_calls_that_depend_on_their_arguments(machine, call, arguments, allowed):
    assert Filter(machine)(*call, *arguments) == (ALLOW if allowed else REFUSED)


# --- external programs ----------------------------------------------------------------------------------------


class CommandFilter(Filter):
    def __init__(self, machine: str, pid: int = 2, enclosed: bool = True) -> None:
        self.program = seccomp_filter.build_for_command(machine, pid, enclosed)
        self.architecture = ARCHITECTURE[machine]
        self.x86 = machine == "x86_64"


every_enclosure = pytest.mark.parametrize("enclosed", [True, False])


@every_machine
@every_enclosure
def test_external_programs_have_processes_and_local_sockets(machine, enclosed):
    ask = CommandFilter(machine, enclosed=enclosed)
    table = seccomp_filter.numbers(machine) | seccomp_filter.numbers(machine, seccomp_filter._COMMAND_CALLS)
    for name, number in table.items():
        assert ask(number, number) == ALLOW or name == "mmap", name
    for flags in (17, 0x3D0F00, 0x4111, 0x01200011):  # fork, a thread, vfork, what glibc's fork asks for
        assert ask(56, 220, flags) == ALLOW, hex(flags)
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x8000):
        assert ask(56, 220, flag | 17) == REFUSED, hex(flag)
    for kind in (1, 0x80001, 0x80801):
        assert ask(41, 198, 1, kind) == ALLOW
    for family, kind in ((2, 1), (10, 1), (16, 3), (1, 2), (1, 5), (40, 1)):
        assert ask(41, 198, family, kind) == REFUSED
    assert ask(435, 435) == ask(437, 437) == ask(452, 452) == ABSENT


@every_machine
@every_enclosure
@pytest.mark.parametrize(
    ("flags", "allowed"), [(0x22, True), (0x2, True), (0x1, True), (0x4022, True), (0x21, False), (0x23, False)]
)
def test_memory_that_no_limit_counts_is_refused(machine, enclosed, flags, allowed):
    ask = CommandFilter(machine, enclosed=enclosed)
    assert ask(9, 222, 0, 4096, 3, flags) == (ALLOW if allowed else REFUSED)


@every_machine
@every_enclosure
@pytest.mark.parametrize(
    ("name", "x86", "arm"),
    [
        ("ptrace", 101, 117), ("mount", 165, 40), ("unshare", 272, 97), ("setns", 308, 268), ("chroot", 161, 51),
        ("bpf", 321, 280), ("perf_event_open", 298, 241), ("userfaultfd", 323, 282), ("io_uring_setup", 425, 425),
        ("keyctl", 250, 219), ("memfd_create", 319, 279), ("process_vm_readv", 310, 270), ("pidfd_open", 434, 434),
        ("shmget", 29, 194), ("mq_open", 240, 180), ("setuid", 105, 146), ("capset", 126, 91), ("seccomp", 317, 277),
        ("truncate", 76, 45), ("fchmodat", 268, 53), ("fchownat", 260, 54), ("utimensat", 280, 88), ("mlock", 149, 228),
        ("linkat", 265, 37), ("symlinkat", 266, 36), ("mknodat", 259, 33), ("execveat", 322, 281), ("fsopen", 430, 430),
        ("setsockopt", 54, 208), ("sched_setaffinity", 203, 122), ("personality", 135, 92), ("tkill", 200, 130),
        ("rt_sigqueueinfo", 129, 138), ("init_module", 175, 105), ("clock_settime", 227, 112), ("acct", 163, 89),
    ],
)  # fmt: skip
def test_what_an_external_program_has_no_business_with_is_refused(machine, enclosed, name, x86, arm):
    assert CommandFilter(machine, enclosed=enclosed)(x86, arm) == REFUSED, name


@every_machine
def test_without_a_namespace_signals_stay_in_the_group_and_nothing_connects(machine):
    inside, outside = CommandFilter(machine), CommandFilter(machine, 77, enclosed=False)
    for call in ((42, 203), (112, 157), (109, 154)):  # connect, setsid, setpgid
        assert inside(*call) == ALLOW and outside(*call) == REFUSED
    for call, mine in (((62, 129), (0, 77)), ((234, 131), (77,))):  # kill, tgkill
        assert inside(*call, 5, 9) == ALLOW
        for pid in (0, 1, 2, 77, 78, 0xFFFFFFFF):
            assert outside(*call, pid, 9) == (ALLOW if pid in mine else REFUSED)


@every_machine
def test_another_architecture_kills_external_programs(machine):
    ask = CommandFilter(machine)
    assert answer(ask.program, 0x40000003, 0) == KILL
    assert machine != "x86_64" or ask(0x40000000 + 59, 0) == KILL


HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}


@every_machine
def test_the_numbers_are_the_kernels(machine):
    header = HEADERS[machine]
    if not header.exists():
        pytest.skip(f"no {header}; install the kernel's headers (Debian, Ubuntu: apt install linux-libc-dev)")
    text = header.read_text()
    known = {m[1]: int(m[2]) for m in re.finditer(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    known.setdefault("newfstatat", known.get("fstatat", -1))  # its name in the generic table
    table = seccomp_filter.numbers(machine)
    for more in (seccomp_filter._COMMAND_CALLS, seccomp_filter._ENCLOSED_CALLS):
        assert not table.keys() & seccomp_filter.numbers(machine, more).keys() - {"mmap"}
        table |= seccomp_filter.numbers(machine, more)
    assert len(table) > 100
    assert {name: number for name, number in table.items() if known[name] != number} == {}
    column = 0 if machine == "x86_64" else 1
    rows = [row[:3] for row in (*seccomp_filter._BY_ARGUMENT, *seccomp_filter._COMMAND_BY_ARGUMENT)]
    for name, *numbers in [*rows, *seccomp_filter._SIGNALS]:
        assert numbers[column] < 0 or known[name] == numbers[column], name


@every_machine
def test_the_program_fits_the_kernels_limit(machine):
    for program in (seccomp_filter.build(machine, 1, True), seccomp_filter.build_for_command(machine, 2, False)):
        assert len(program) % 8 == 0 and len(program) // 8 < 4096
    assert platform.machine()  # the one that runs here is tried by the attacks

"""A hostile native program, compiled here and run as an external command against the canaries of ``attacks``.

``python tests/hostile.py [T1|T2]`` prints one JSON object: tier → attack → what got through. Each attack is a C
expression that is true when it succeeded; its process has forks, threads and sockets, unlike a Python program's.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from attacks import Canaries, canaries
from llemma.sandbox import tiers
from llemma.sandbox.command import CommandLimits, CommandResult, probe, run_command
from llemma.sandbox.tiers import Tier

# Calls by number are those that the C library lacks or hides: x86_64, aarch64.
ATTACKS = {
    "read a secret file": "reads(SECRET)",
    "read the password file": 'reads("/etc/passwd")',
    "read through openat2": 'by_number(437, 437, -100, SECRET, zeros, 24) >= 0',
    "read the caller's environment": 'reads(proc("environ"))',
    "read the caller's memory file": 'reads(proc("mem"))',
    "read through the caller's root": 'reads(strcat(proc("root"), SECRET))',
    "read kernel settings": 'reads("/proc/sys/kernel/core_pattern")',
    "list the processes": 'lists("/proc", 3)',
    "list the caller's folder": "lists(FOLDER, 0)",
    "write outside": 'creates(beside(FOLDER, "/new"))',
    "write into a folder it may read": 'creates(beside(READABLE, "/new"))',
    "overwrite itself": "open(argv[0], O_WRONLY) >= 0",
    "overwrite a file": "open(TARGET, O_WRONLY | O_TRUNC) >= 0",
    "truncate a file": "truncate(TARGET, 0) == 0",
    "remove a file": "unlink(TARGET) == 0",
    "rename a file": "rename(TARGET, beside(TARGET, \"2\")) == 0",
    "take a file into the scratch": 'rename(TARGET, "target") == 0 || link(TARGET, "target") == 0',
    "change mode": "chmod(TARGET, 0600) == 0",
    "change owner": "chown(TARGET, getuid(), getgid()) == 0",
    "change times": "utimes(TARGET, NULL) == 0",
    "extended attribute": 'setxattr(TARGET, "user.x", "x", 1, 0) == 0',
    "file without a name outside": "open(FOLDER, O_TMPFILE | O_RDWR, 0600) >= 0",
    "make a folder outside": 'mkdir(beside(FOLDER, "/new"), 0700) == 0',
    "make a device": 'mknod("device", S_IFBLK | 0600, makedev(8, 0)) == 0',
    "symlink to a secret": 'symlink(SECRET, "link") == 0 && reads("link")',
    "unix socket outside": 'listens(beside(FOLDER, "/s"))',
    "shared memory folder": 'creates("/dev/shm/left")',
    "System V shared memory": "shmget(0x11E77A, 4096, 0600 | IPC_CREAT) >= 0",
    "System V semaphores": "semget(0x11E77A, 1, 0600 | IPC_CREAT) >= 0",
    "System V messages": "msgget(0x11E77A, 0600 | IPC_CREAT) >= 0",
    "message queue": 'by_number(240, 180, "left", O_CREAT | O_RDWR, 0600, NULL) >= 0',
    "TCP to the loopback": "connects_tcp()",
    "TCP socket": "socket(AF_INET, SOCK_STREAM, 0) >= 0",
    "UDP socket": "socket(AF_INET, SOCK_DGRAM, 0) >= 0",
    "IPv6": "socket(AF_INET6, SOCK_STREAM, 0) >= 0",
    "netlink": "socket(AF_NETLINK, SOCK_RAW, 0) >= 0",
    "packet socket": "socket(AF_PACKET, SOCK_RAW, 0) >= 0",
    "kernel crypto socket": "socket(38, SOCK_SEQPACKET, 0) >= 0",
    "vsock": "socket(40, SOCK_STREAM, 0) >= 0",
    "unix datagrams": "socket(AF_UNIX, SOCK_DGRAM, 0) >= 0",
    "unix socket by path": "connects_unix(UNIX, 0)",
    "abstract unix socket": "connects_unix(ABSTRACT, 1)",
    "datagram out of a socket pair": "({ int p[2]; socketpair(AF_UNIX, SOCK_DGRAM, 0, p) == 0; })",
    "filter on a socket": "({ int s = socket(AF_UNIX, SOCK_STREAM, 0); "
    "struct { short n; void *f; } f = {1, \"\\6\\0\\0\\0\\0\\0\\0\\0\"}; setsockopt(s, 1, 26, &f, 16) == 0; })",
    "run a shell": 'runs("/bin/sh")',
    "run an interpreter by the loader": 'runs_by_loader("/bin/sh")',
    "run a copy of itself from the scratch": "runs(copy_of(argv[0]))",
    "run from memory": '({ int m = by_number(319, 279, "x", 0); m >= 0; })',
    "kill the caller": "kill(CALLER, 0) == 0",
    "kill another process": "kill(VICTIM, 9) == 0",
    "kill everything": "kill(-1, 0) == 0 && TIER == 2",
    "kill the caller's group": "killpg(getpgid(CALLER), 0) == 0",
    "signal a thread of another": "by_number(234, 131, VICTIM, VICTIM, 9) == 0",
    "queue a signal": "by_number(129, 138, VICTIM, 9, zeros) == 0",
    "signal through a pidfd": "by_number(434, 434, VICTIM, 0) >= 0",
    "trace the caller": "ptrace(PTRACE_ATTACH, CALLER, 0, 0) == 0",
    "trace another process": "ptrace(PTRACE_SEIZE, VICTIM, 0, 0) == 0",
    "trace a child": "({ pid_t c = fork(); if (!c) { pause(); } long r = ptrace(PTRACE_ATTACH, c, 0, 0); "
    "kill(c, 9); r == 0; })",
    "read the caller's memory": "({ struct iovec v = {zeros, 8}; process_vm_readv(CALLER, &v, 1, &v, 1, 0) > 0; })",
    "leave the session and the group": "({ pid_t c = fork(); if (!c) _exit(setsid() < 0 && setpgid(0, 0) < 0); "
    "int s; waitpid(c, &s, 0); s == 0 && TIER == 2; })",
    "priority of others": "setpriority(PRIO_PROCESS, VICTIM, 19) == 0",
    "mount": 'mount("none", ".", "tmpfs", 0, NULL) == 0',
    "bind mount": 'mount("/", ".", NULL, MS_BIND, NULL) == 0',
    "remount writable": 'mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND, NULL) == 0',
    "unmount": 'umount2(".", MNT_DETACH) == 0',
    "new mount interface": 'by_number(430, 430, "tmpfs", 0) >= 0',
    "chroot": 'chroot(".") == 0',
    "pivot root": 'by_number(155, 41, ".", ".") == 0',
    "new user namespace": "unshare(CLONE_NEWUSER) == 0",
    "new mount namespace": "unshare(CLONE_NEWNS) == 0",
    "clone into a user namespace": "({ long c = by_number(56, 220, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0); "
    "if (!c) _exit(0); c > 0; })",
    "clone a sibling": "({ long c = by_number(56, 220, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0); "
    "if (!c) _exit(0); c > 0; })",
    "clone3": "by_number(435, 435, zeros, 64) >= 0",
    "become root": "setuid(0) == 0 && TIER == 2",
    "set groups": "setgroups(0, NULL) == 0",
    "bpf": "by_number(321, 280, 0, zeros, 128) >= 0",
    "perf": "by_number(298, 241, zeros, 0, -1, -1, 0) >= 0",
    "io_uring": "by_number(425, 425, 8, zeros) >= 0",
    "userfaultfd": "by_number(323, 282, 1) >= 0",
    "key ring": "by_number(250, 219, 0, -3, 0) >= 0",
    "add a key": 'by_number(248, 217, "user", "k", "v", 1, -3) >= 0',
    "kernel module": 'by_number(175, 105, "", 0, "") == 0',
    "another kernel": "by_number(246, 104, 0, 0, 0, 0) == 0",
    "kernel log": "by_number(103, 116, 2, zeros, 10) >= 0",
    "personality": "by_number(135, 92, 0x0040000) >= 0",
    "replace the filter": "prctl(PR_SET_SECCOMP, 1, 0, 0, 0) == 0",
    "set the clock": "clock_settime(CLOCK_REALTIME, (struct timespec *)zeros) == 0",
    "name the host": 'sethostname("x", 1) == 0',
    "inject terminal input": 'ioctl(0, TIOCSTI, "x") == 0',
    "raise a limit": "setrlimit(RLIMIT_DATA, &(struct rlimit){RLIM_INFINITY, RLIM_INFINITY}) == 0",
    "raise a limit of the caller": "by_number(302, 261, CALLER, RLIMIT_CORE, zeros, NULL) == 0",
    "real-time priority": "sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){1}) == 0",
    "better priority": "nice(-5) != -1",
    "lock memory": "mlockall(MCL_CURRENT) == 0",
    "memory in one piece": "takes(1L << 30, 1, MAP_PRIVATE)",
    "memory in many pieces": "takes(1L << 20, 1024, MAP_PRIVATE)",
    "memory made writable later": "({ char *p = mmap(0, 1L << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); "
    "p != MAP_FAILED && mprotect(p, 1L << 30, PROT_READ | PROT_WRITE) == 0; })",
    "shared memory": "takes(1L << 30, 1, MAP_SHARED)",
    "memory by brk": "sbrk(1L << 30) != (void *)-1",
    "a file too big": '({ signal(SIGXFSZ, SIG_IGN); int f = open("big", O_CREAT | O_RDWR, 0600); '
    "int r = ftruncate(f, 64L << 20); ftruncate(f, 0); f >= 0 && r == 0; })",
    "many descriptors": "({ int n = 0; while (dup(0) >= 0) n++; n > 100; })",
    "inherited descriptors": "({ int n = 0; for (int i = 3; i < 1024; i++) n += fcntl(i, F_GETFD) >= 0; n > 0; })",
    "fork bomb": "forks() > MOST",
    "thread bomb": "threads() > MOST",
    "environment": 'getenv("PATH") || getenv("HOME")',
}  # fmt: skip

_SOURCE = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#ifdef __x86_64__
#define by_number(x86, arm, ...) syscall(x86, __VA_ARGS__)
#else
#define by_number(x86, arm, ...) syscall(arm, __VA_ARGS__)
#endif
@CANARIES@
static char zeros[4096], text[4096], other[4096];
static int reads(const char *path) { int f = open(path, O_RDONLY); return f >= 0 && read(f, text, 9) >= 0; }
static int creates(const char *path) { return open(path, O_CREAT | O_WRONLY, 0600) >= 0; }
static char *proc(const char *what) { sprintf(other, "/proc/%d/%s", CALLER, what); return other; }
static char *beside(const char *path, const char *rest) { sprintf(other, "%s%s", path, rest); return other; }
static int lists(const char *path, int most) {
    DIR *folder = opendir(path); struct dirent *e; int n = 0;
    if (!folder) return 0;
    while ((e = readdir(folder))) n += strcmp(path, "/proc") || (e->d_name[0] >= '0' && e->d_name[0] <= '9');
    return n > most;
}
static int address(struct sockaddr_un *a, const char *path, int abstract) {
    memset(a, 0, sizeof *a); a->sun_family = AF_UNIX;
    strncpy(a->sun_path + abstract, path, sizeof a->sun_path - 2);
    return offsetof(struct sockaddr_un, sun_path) + abstract + strlen(path);
}
static int listens(const char *path) {
    struct sockaddr_un a; int n = address(&a, path, 0);
    return bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, n + 1) == 0;
}
static int connects_unix(const char *path, int abstract) {
    struct sockaddr_un a; int n = address(&a, path, abstract);
    return connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&a, n + !abstract) == 0;
}
static int connects_tcp(void) {
    struct sockaddr_in a = {AF_INET, htons(TCP), {htonl(INADDR_LOOPBACK)}};
    return connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&a, sizeof a) == 0;
}
static int runs(const char *path) {
    pid_t c = fork(); int s;
    if (!c) { execl(path, path, "-c", "exit 7", NULL); _exit(99); }
    waitpid(c, &s, 0);
    return c > 0 && WEXITSTATUS(s) != 99;
}
static int runs_by_loader(const char *path) {
    glob_t g; int s;
    if (glob("/lib64/ld-linux*.so*", 0, NULL, &g) && glob("/lib/ld-linux*.so*", 0, NULL, &g)) return 0;
    pid_t c = fork();
    if (!c) { execl(g.gl_pathv[0], g.gl_pathv[0], path, "-c", "exit 7", NULL); _exit(99); }
    waitpid(c, &s, 0);
    return c > 0 && WEXITSTATUS(s) == 7;
}
static const char *copy_of(const char *path) {
    int from = open(path, O_RDONLY), to = open("copy", O_CREAT | O_WRONLY | O_TRUNC, 0700); ssize_t n;
    while ((n = read(from, text, sizeof text)) > 0) write(to, text, n);
    close(to);
    return "./copy";
}
static int takes(size_t size, int times, int kind) {
    for (int i = 0; i < times; i++) {
        char *p = mmap(0, size, PROT_READ | PROT_WRITE, kind | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED) return 0;
        memset(p, 1, size);
    }
    return 1;
}
static int forks(void) {
    int n = 0; pid_t c;
    while (n < 3000 && (c = fork()) >= 0) { if (!c) { signal(SIGHUP, SIG_IGN); sleep(600); _exit(0); } n++; }
    return n;
}
static void *idle(void *p) { pause(); return p; }
static int threads(void) {
    int n = 0; pthread_t t; pthread_attr_t a;
    pthread_attr_init(&a); pthread_attr_setstacksize(&a, 16384);
    while (n < 3000 && pthread_create(&t, &a, idle, 0) == 0) n++;
    return n;
}
int main(int argc, char **argv) {
    int which = argc > 1 ? atoi(argv[1]) : -1, through = 0;
    switch (which) {
@CASES@
    default: return 7;
    }
    if (through) puts("THROUGH");
    fflush(stdout);
    _exit(through ? 3 : 0);
}
"""
NAMES = list(ATTACKS)
PROCESSES = 20
LIMITS = CommandLimits(memory=256, processes=PROCESSES, file=8, files=64, cpu=20)


def compile_c(source: str, target: Path) -> Path:
    """Compile a C program with the compiler of this machine."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler is not None, "install a C compiler"
    command = [compiler, "-w", "-O0", "-pthread", "-x", "c", "-", "-o", str(target)]
    done = subprocess.run(command, input=source, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    target.chmod(0o755)
    return target


def source(aim: Canaries, tier: str, readable: Path) -> str:
    """The program with the canaries built in: it gets no environment."""
    most = 40 if tier == "T1" else 2500  # in T2 the kernel counts all processes of the user
    lines = [f"#define TIER {tier[1]}", f"#define MOST {most}", f'static const char READABLE[] = "{readable}";']
    for name in ("SECRET", "TARGET", "FOLDER", "UNIX", "ABSTRACT"):
        lines.append(f"static const char {name}[] = {json.dumps(aim.values[name])};")
    lines += [f"static const int {name} = {aim.values[name]};" for name in ("CALLER", "VICTIM", "TCP")]
    cases = [f"    case {i}: through = !!({what}); break;" for i, what in enumerate(ATTACKS.values())]
    return _SOURCE.replace("@CANARIES@", "\n".join(lines)).replace("@CASES@", "\n".join(cases))


def attempt(program: Path, name: str, tier: str, scratch: Path) -> CommandResult:
    """Run one attack."""
    words = [str(program), str(NAMES.index(name))]
    return run_command(words, wall=60, read=[program.parent], write=scratch, limits=LIMITS, tier=tier)


def attack(tier: str, aim: Canaries) -> dict[str, list[str]]:
    """Run all of them in one tier; what got through."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="hostile-") as folder:
        place, scratch = Path(folder) / "bin", Path(folder) / "scratch"
        Path(folder).chmod(0o755)
        place.mkdir()
        place.chmod(0o777)
        scratch.mkdir()
        program = compile_c(source(aim, tier, place), place / "hostile")
        for name in NAMES:
            done = attempt(program, name, tier, scratch)
            bad = [done.stdout] if "THROUGH" in done.stdout else []
            if done.status not in ("ok", "error", "memory") or done.code is None or (done.code > 0 and not bad):
                bad.append(f"{done.status} {done.code} {done.stderr[-200:]}")
            bad += aim.harmed() + [f"left {path.name}" for path in place.iterdir() if path != program]
            if bad:
                found[name] = bad
    return found


def main(names: list[str]) -> int:
    """Every attack in every tier."""
    report: dict[str, object] = {"uid": os.getuid(), "attacks": len(ATTACKS)}
    with canaries() as aim:
        for tier in names or ["T1", "T2"]:
            found = probe(tier)
            if isinstance(found, Tier):
                report[tier] = attack(tier, aim)
            else:  # what Python programs are given, others must be given too
                assert not isinstance(tiers.probe(tier), Tier), found
                report[tier] = f"not to be had: {found[0]}"
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

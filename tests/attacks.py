"""Programs that try to get out of the sandbox, and what stands on the other side to notice.

Each runs inside the sandbox only, against canaries that this file sets up: files in a temporary folder, listeners on
the loopback, a sleeping process. A program prints ``THROUGH`` (with ``through``) when it did what it must not be able
to do; the canaries tell the rest. ``python tests/attacks.py [T1|T2]`` runs all and prints one JSON object.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from llemma.sandbox import Limits, run, shut_down
from llemma.sandbox.tiers import Tier, probe

_USUAL = Limits(wall=20, cpu=20, memory=256)
WALL = 0.5  # seconds for programs that never end by themselves


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One program. ``needs_namespaces``: tier T2 does not stop it. ``status``: what it must end with, if that is sure.

    ``limits``: for programs that go for a limit. ``after``: a second program that looks for traces of the first.
    """

    name: str
    code: str
    needs_namespaces: bool = False
    status: tuple[str, ...] = ()
    limits: Limits = _USUAL
    after: str = ""


PRELUDE = """
import ctypes, os, platform, signal, sys, time
globals().update({canaries!r})
libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
def through(what=""):
    print("THROUGH", str(what)[:200], flush=True)
def syscall(x86, arm, *words):
    number = x86 if X86 else arm
    if number < 0:
        return -1
    words = [ctypes.c_long(w) if isinstance(w, int) else w for w in words]
    return libc.syscall(ctypes.c_long(number), *words)
"""

_LONG = Limits(wall=WALL, cpu=20, memory=256)

# name, code; names in capitals are the canaries
FILES = {
    "read a secret file": "through(open(SECRET).read())",
    "read the password file": "through(open('/etc/passwd').read())",
    "read through raw open": "fd = libc.open(SECRET.encode(), 0)\nfd >= 0 and through(os.read(fd, 100))",
    "read through openat2": "fd = syscall(437, 437, -100, SECRET.encode(), bytes(24), 24)\nfd >= 0 and through()",
    "walk the tree for secrets": """
for folder, _, files in os.walk("/"):
    if NAME in files:
        through(folder)""",
    "write outside": "open(FOLDER + '/new', 'w').write('x')\nthrough()",
    "overwrite a file": "open(TARGET, 'w').write('x')\nthrough()",
    "truncate a file": "os.truncate(TARGET, 0)\nthrough()",
    "remove a file": "os.remove(TARGET)\nthrough()",
    "rename a file": "os.rename(TARGET, TARGET + '2')\nthrough()",
    "change mode": "os.chmod(TARGET, 0o600)\nthrough()",
    "change owner": "os.chown(TARGET, os.getuid(), os.getgid())\nthrough()",
    "change times": "os.utime(TARGET, (0, 0))\nthrough()",
    "extended attribute": "os.setxattr(TARGET, b'user.x', b'x')\nthrough()",
    "file without a name outside": "os.open(FOLDER, os.O_TMPFILE | os.O_RDWR)\nthrough()",
    "symlink to a secret": "os.symlink(SECRET, 'link')\nthrough(open('link').read())",
    "hard link to a secret": "os.link(SECRET, 'link')\nthrough(open('link').read())",
    "symlink race": """
import threading
stop = time.time() + 0.5
def swap():
    while time.time() < stop:
        try:
            os.symlink(SECRET, 'a'); os.rename('a', 'b')
        except OSError: pass
threading.Thread(target=swap, daemon=True).start()
while time.time() < stop:
    try: through(open('b').read())
    except OSError: pass""",
    "rename out of the scratch": "open('x', 'w').close()\nos.rename('x', FOLDER + '/x')\nthrough()",
    "poison a library": "import mpmath\nopen(mpmath.__file__, 'a').write('#')\nthrough()",
    "poison a byte-code cache": """
import importlib.util, mpmath
open(importlib.util.cache_from_source(mpmath.__file__), 'r+b').write(b'x')
through()""",
    "poison the interpreter": "open(sys.executable, 'r+b')\nthrough()",
    "write below the standard library": "open(os.path.dirname(os.__file__) + '/new.py', 'w')\nthrough()",
    "make a device": "os.mknod('device', 0o060600, os.makedev(8, 0))\nthrough()",
    "make a fifo outside": "os.mkfifo(FOLDER + '/fifo')\nthrough()",
    "/proc/1/root": "through(open('/proc/1/root' + SECRET).read())",
    "/proc of the caller": "through(open(f'/proc/{CALLER}/root' + SECRET).read())",
    "/proc/self/root": "through(open('/proc/self/root' + SECRET).read())",
    "environment in /proc": "through(open(f'/proc/{CALLER}/environ').read())",
    "own /proc": "through(os.listdir('/proc/self/fd'))",
    "list the processes": "through(os.listdir('/proc'))",
    "memory of the caller": "through(open(f'/proc/{CALLER}/mem', 'rb'))",
    "kernel settings": "through(open('/proc/sys/kernel/core_pattern').read())",
    "sysfs": "through(os.listdir('/sys'))",
    "shared memory folder": "open('/dev/shm/left', 'w').write('x')\nthrough()",
    "a terminal": "fd = os.open('/dev/tty', os.O_RDWR)\nthrough()",
    "inject terminal input": "import fcntl\nfcntl.ioctl(0, 0x5412, b'x')\nthrough()",
    "watch files": "fd = libc.inotify_init()\nfd >= 0 and libc.inotify_add_watch(fd, b'/', 0xfff) >= 0 and through()",
    "fanotify": "syscall(300, 262, 0, 0) >= 0 and through()",
    "open by handle": "syscall(304, 265, -100, bytes(64), 0) >= 0 and through()",
    "see whether a file exists": "os.stat(SECRET)\nthrough()",
    "see the name of the machine's kernel host": "os.uname().nodename == HOST and through()",
}

ESCAPES = {
    "chroot": "os.mkdir('d')\nos.chroot('d')\nthrough()",
    "pivot root": "syscall(155, 41, b'.', b'.') == 0 and through()",
    "mount a file system": "libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0 and through()",
    "mount proc": "libc.mount(b'none', b'/tmp', b'proc', 0, None) == 0 and through()",
    "bind mount": "libc.mount(b'/', b'/tmp', None, 4096, None) == 0 and through()",
    "remount writable": "libc.mount(None, b'/', None, 32, None) == 0 and through()",
    "unmount": "libc.umount2(b'/tmp', 2) == 0 and through()",
    "new mount interface": "syscall(430, 430, b'tmpfs', 0) >= 0 and through()",
    "clone a mount": "syscall(428, 428, -100, b'/', 1) >= 0 and through()",
    "mount attributes": "syscall(442, 442, -100, b'/', 0, bytes(32), 32) == 0 and through()",
    "new user namespace": "libc.unshare(0x10000000) == 0 and through()",
    "new mount namespace": "libc.unshare(0x20000) == 0 and through()",
    "enter a namespace": "libc.setns(0, 0) == 0 and through()",
    "enter the caller's namespaces": """
fd = syscall(434, 434, CALLER, 0)
fd >= 0 and libc.setns(fd, 0x20000) == 0 and through()""",
    "clone into a user namespace": """
pid = syscall(56, 220, 0x10000011, 0, 0, 0, 0)
pid >= 0 and through()
pid or os._exit(0)""",
    "become root": "os.setuid(0)\nthrough()",
    "set groups": "os.setgroups([0])\nthrough()",
    "take capabilities": """
import struct
header, data = struct.pack('Ii', 0x20080522, 0), struct.pack('IIIIII', 0x200000, 0x200000, 0, 0, 0, 0)
syscall(126, 91, header, data) == 0 and through()""",
    "replace the filter": "libc.prctl(22, 1, 0, 0, 0) == 0 and through()",
    "add a filter": "syscall(317, 277, 1, 0, bytes(16)) == 0 and through()",
    "keep running when the parent dies": "libc.prctl(1, 0, 0, 0, 0) == 0 and through()",
    "become dumpable": "libc.prctl(4, 1, 0, 0, 0) == 0 and through()",
    "key ring": "syscall(250, 219, 0, -3, 0) >= 0 and through()",
    "add a key": "syscall(248, 217, b'user', b'k', b'v', 1, -3) >= 0 and through()",
    "bpf": "syscall(321, 280, 0, bytes(128), 128) >= 0 and through()",
    "perf": "syscall(298, 241, bytes(128), 0, -1, -1, 0) >= 0 and through()",
    "userfaultfd": "syscall(323, 282, 1) >= 0 and through()",
    "io_uring": "syscall(425, 425, 8, bytes(120)) >= 0 and through()",
    "kernel module": "syscall(175, 105, b'', 0, b'') == 0 and through()",
    "another kernel": "syscall(246, 104, 0, 0, 0, 0) == 0 and through()",
    "reboot": "syscall(169, 142, 0xfee1dead, 672274793, 0, 0) == 0 and through()",
    "swap": "syscall(167, 224, b'/tmp/x', 0) == 0 and through()",
    "name the host": "syscall(170, 161, b'x', 1) == 0 and through()",
    "set the clock": "time.clock_settime(time.CLOCK_REALTIME, 0)\nthrough()",
    "adjust the clock": "syscall(159, 171, bytes(208)) >= 0 and through()",
    "personality": "libc.personality(0x0040000) != -1 and through()",
    "port access": "syscall(172, -1, 3) == 0 and through()",
    "local descriptor table": "syscall(154, -1, 1, bytes(16), 16) == 0 and through()",
    "kernel log": "libc.klogctl(2, ctypes.create_string_buffer(10), 10) >= 0 and through()",
    "accounting": "syscall(163, 89, None) == 0 and through()",
    "quota": "syscall(179, 60, 0x800001 << 8, None, 0, 0) == 0 and through()",
    "the x32 interface": "syscall(0x40000000 + 39, -1) > 0 and through()",
    "32-bit calls": """
import mmap
if X86:
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')  # getpid through int 0x80
    call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    through(call())""",
    "raise a limit": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nthrough()",
    "raise a limit of the caller": "import resource\nresource.prlimit(CALLER, resource.RLIMIT_CORE, (0, 0))\nthrough()",
    "more processor time": "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (-1, -1))\nthrough()",
    "real-time priority": "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))\nthrough()",
    "better priority": "os.nice(-5)\nthrough()",
    "leave the core": "os.sched_setaffinity(0, [0])\nthrough()",
    "lock memory": "libc.mlockall(3) == 0 and through()",
}

NETWORK = {
    "TCP to the loopback": "import socket\nsocket.create_connection(('127.0.0.1', TCP), 1)\nthrough()",
    "UDP to the loopback": "import socket\nsocket.socket(2, 2).sendto(b'x', ('127.0.0.1', UDP))\nthrough()",
    "IPv6": "import socket\nsocket.socket(10, 1)\nthrough()",
    "abstract unix socket": "import socket\ns = socket.socket(1, 1)\ns.connect('\\0' + ABSTRACT)\nthrough()",
    "unix socket by path": "import socket\ns = socket.socket(1, 1)\ns.connect(UNIX)\nthrough()",
    "netlink": "import socket\nsocket.socket(16, 3, 0)\nthrough()",
    "packet socket": "import socket\nsocket.socket(17, 3)\nthrough()",
    "kernel crypto socket": "import socket\nsocket.socket(38, 5)\nthrough()",
    "vsock": "import socket\nsocket.socket(40, 1)\nthrough()",
    "raw socket call": """
fd = syscall(41, 198, 2, 1, 0)
address = bytes([2, 0]) + (TCP).to_bytes(2, 'big') + bytes([127, 0, 0, 1]) + bytes(8)
fd >= 0 and syscall(42, 203, fd, address, 16) == 0 and through()""",
    "socket pair of another family": "import socket\nsocket.socketpair(2, 1)\nthrough()",
    "listen": "import socket\ns = socket.socket()\ns.bind(('', 0))\ns.listen()\nthrough()",
    "resolve a name": "import socket\nthrough(socket.gethostbyname('localhost.localdomain'))",
    "fetch a page": "import urllib.request\nthrough(urllib.request.urlopen(f'http://127.0.0.1:{TCP}', timeout=1))",
    "pass a descriptor": """
import socket
a, b = socket.socketpair()
socket.send_fds(a, [b'x'], [0])
through()""",
    "datagram out of a socket pair": """
import socket
a, b = socket.socketpair(1, 2)
for address in ('\\0' + ABSTRACT_DATAGRAM, UNIX_DATAGRAM):
    try: a.sendto(b'x', address)
    except OSError: continue
    through(address)""",
    "stream to an address": "import socket\na, b = socket.socketpair()\na.sendto(b'x', UNIX)\nthrough()",
    "connect a socket pair elsewhere": "import socket\na, b = socket.socketpair()\na.connect(UNIX)\nthrough()",
}

PROCESSES = {
    "fork bomb": """
n = 0
for _ in range(300):
    pid = os.fork()
    if pid == 0: time.sleep(60); os._exit(0)
    n += 1
through(n)""",
    "vfork": "pid = libc.vfork()\npid == 0 and libc._exit(0)\npid > 0 and through()",
    "clone3": """
import struct
pid = syscall(435, 435, struct.pack('QQQQQQQQ', 0, 0, 0, 0, 17, 0, 0, 0), 64)
pid == 0 and os._exit(0)
pid > 0 and through()""",
    "clone": "pid = syscall(56, 220, 17, 0, 0, 0, 0)\npid == 0 and os._exit(0)\npid > 0 and through()",
    "shell": "import subprocess\nthrough(subprocess.run(['/bin/sh', '-c', 'echo x'], capture_output=True).stdout)",
    "os.system": "os.system('echo THROUGH') == 0 and through()",
    "posix_spawn": "os.posix_spawn('/bin/true', ['true'], {})\nthrough()",
    "exec": "os.execv('/bin/echo', ['echo', 'THROUGH'])",
    "execveat": "syscall(322, 281, -100, b'/bin/true', None, None, 0) == 0 and through()",
    "file in memory": "fd = os.memfd_create('x')\nthrough()",
    "file in memory, executed": """
fd = os.memfd_create('x')
os.write(fd, open(sys.executable, 'rb').read())
os.execve(fd, ['x', '-c', 'print("THROUGH")'], {})""",
    "multiprocessing": """
import multiprocessing
multiprocessing.get_context('fork').Process(target=through).start()
time.sleep(0.2)""",
    "pseudo-terminal": "import pty\npty.fork()\nthrough()",
    "pip": "import subprocess\nsubprocess.check_call([sys.executable, '-m', 'pip', '--version'])\nthrough()",
    "kill the caller": "os.kill(CALLER, 0)\nthrough()",
    "kill another process": "os.kill(VICTIM, 9)\nthrough()",
    "kill everything": "os.kill(-1, 0)\nthrough()",
    "kill the group": "os.killpg(0, 0)\nthrough()",
    "signal a thread of another": "syscall(234, 131, VICTIM, VICTIM, 9) == 0 and through()",
    "tkill": "syscall(200, 130, VICTIM, 9) == 0 and through()",
    "queue a signal": "syscall(129, 138, VICTIM, 9, bytes(128)) == 0 and through()",
    "signal through a pidfd": "fd = os.pidfd_open(VICTIM)\nthrough()",
    "steal a descriptor": "syscall(438, 438, 0, 0, 0) >= 0 and through()",
    "signal on input": "import fcntl\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, VICTIM)\nthrough()",
    "trace the caller": "libc.ptrace(16, CALLER, 0, 0) == 0 and through()",
    "trace another process": "libc.ptrace(0x4206, VICTIM, 0, 0) == 0 and through()",
    "be traced": "libc.ptrace(0, 0, 0, 0) == 0 and through()",
    "read another's memory": """
buffer = ctypes.create_string_buffer(8)
local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
syscall(310, 270, CALLER, bytes(local), 1, bytes(local), 1, 0) > 0 and through()""",
    "write another's memory": """
buffer = ctypes.create_string_buffer(8)
local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
syscall(311, 271, CALLER, bytes(local), 1, bytes(local), 1, 0) > 0 and through()""",
    "compare descriptors": "syscall(312, 272, CALLER, VICTIM, 0, 0, 0) >= 0 and through()",
    "see the parent": "os.getppid() and through(os.getppid())",
    "leave the session": "os.setsid()\nthrough()",
    "daemon": "if os.fork() == 0:\n    os.setsid(); time.sleep(60)\nthrough()",
    "priority of others": "os.setpriority(os.PRIO_USER, 0, 19)\nthrough()",
    "another uid's processes": "os.getpriority(os.PRIO_PROCESS, VICTIM)\nthrough()",
}

RESOURCES = [
    Attack(name="memory bomb", status=("memory",), code="""
blocks = []
while len(blocks) < 100: blocks.append(bytearray(16 << 20))
through()"""),
    Attack(name="memory bomb in one piece", status=("memory",), code="x = bytearray(4 << 30)\nthrough()"),
    Attack(name="memory bomb through mmap", code="""
import mmap
blocks = []
while len(blocks) < 100: blocks.append(mmap.mmap(-1, 16 << 20))
through()"""),
    Attack(name="memory in pipes", code="pipes = [os.pipe() for _ in range(100)]\nthrough()"),
    Attack(name="many descriptors", code="files = [os.open('/dev/null', 0) for _ in range(100)]\nthrough()"),
    Attack(name="thread storm", code="""
import threading
threading.stack_size(32768)
count = 0
try:
    while count < 2000:
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        count += 1
finally:
    count > 64 and through(count)"""),
    Attack(name="fill the disk", code="""
total = 0
try:
    for i in range(30):
        with open(f'f{i}', 'wb') as file:
            for _ in range(10): total += file.write(bytes(1 << 20))
finally:
    total > 70 << 20 and through(total)"""),
    Attack(name="one big file", code="""
total = 0
try:
    with open('f', 'wb') as file:
        for _ in range(40): total += file.write(bytes(1 << 20)); file.flush()
finally:
    total > 20 << 20 and through(total)"""),
    Attack(name="a sparse file", code="os.truncate(os.open('f', os.O_CREAT | os.O_RDWR), 1 << 40)\nthrough()"),
    Attack(name="reserve the disk", code="""
os.posix_fallocate(os.open('f', os.O_CREAT | os.O_RDWR), 0, 1 << 30)
through()"""),
    Attack(name="many files", code="""
for i in range(10_000): os.close(os.open(f'f{i}', os.O_CREAT))
through()"""),
    Attack(name="flood of output", status=("denied", "timeout"), limits=_LONG, code="""
while True: os.write(1, b'x' * 65536)"""),
    Attack(name="flood of errors", status=("denied", "timeout"), limits=_LONG, code="""
while True: os.write(2, b'x' * 65536)"""),
    Attack(name="flood of lines", status=("denied", "timeout"), limits=_LONG, code="while True: print('x')"),
    Attack(name="flood of results", status=("timeout",), limits=_LONG, code="while True: os.write(3, b'x' * 65536)"),
    Attack(name="infinite loop", status=("timeout",), limits=_LONG, code="while True: pass"),
    Attack(name="hang in C code", status=("timeout",), limits=_LONG, code="9**9**9"),
    Attack(name="hang in a regular expression", status=("timeout",), limits=_LONG, code="""
import re
re.match(r'(a+)+$', 'a' * 60 + 'b')"""),
    Attack(name="sleep with all signals ignored", status=("timeout",), limits=_LONG, code="""
for number in signal.valid_signals():
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
time.sleep(1000)"""),
    Attack(name="blocked signals", status=("timeout",), limits=_LONG, code="""
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
while True: time.sleep(1)"""),
    Attack(name="catches everything", status=("timeout",), limits=_LONG, code="""
while True:
    try:
        while True: pass
    except BaseException: pass"""),
    Attack(name="alarm storm", status=("timeout",), limits=_LONG, code="""
signal.signal(signal.SIGALRM, lambda *a: None)
signal.setitimer(signal.ITIMER_REAL, 1e-6, 1e-6)
while True: pass"""),
    Attack(name="loop at exit", status=("timeout",), limits=_LONG, code="""
import atexit
@atexit.register
def loop():
    while True: pass"""),
    Attack(name="loop in a finalizer", status=("timeout",), limits=_LONG, code="""
class Loop:
    def __del__(self):
        while True: pass
x = Loop()
del x"""),
    Attack(name="a thread that never ends", status=("timeout", "error"), limits=_LONG, code="""
import threading
threading.Thread(target=time.sleep, args=(1000,)).start()"""),
    Attack(name="a thread that outlives the program", code="""
import threading
def late():
    time.sleep(1); through()
threading.Thread(target=late, daemon=True).start()"""),
    Attack(name="fork at exit", code="""
import atexit
atexit.register(lambda: os.fork() and through())"""),
    Attack(name="fork race at exit", code="""
import threading
def race():
    while True:
        try: os.fork() and through()
        except OSError: pass
threading.Thread(target=race, daemon=True).start()
time.sleep(0.05)
os._exit(0)"""),
    Attack(name="processor time in threads", status=("timeout",), limits=Limits(wall=20, cpu=1, memory=256), code="""
import hashlib, threading
def burn():
    while True: hashlib.sha256(bytes(1 << 20))
threads = [threading.Thread(target=burn, daemon=True) for _ in range(2)]
for t in threads:
    try: t.start()
    except RuntimeError: pass
burn()"""),
    Attack(name="compressed bomb", status=("memory",), code="""
import zlib
c = zlib.compressobj(1)
data = b''.join([c.compress(bytes(1 << 20)) for _ in range(400)] + [c.flush()])
through(len(zlib.decompress(data)))"""),
    Attack(name="pickle that runs a shell", code="""
import pickle
class Bomb:
    def __reduce__(self): return os.system, ('echo THROUGH',)
pickle.loads(pickle.dumps(Bomb()))"""),
    Attack(name="text that doubles", status=("memory",), code="x = 'x'\nwhile True: x += x"),
    Attack(name="parser bomb", status=("memory", "error"), code="compile('(' * 100_000 + ')' * 100_000, 'x', 'eval')"),
    Attack(name="nested parser bomb", status=("memory", "error"), code="compile('-' * 1_000_000 + '1', 'x', 'eval')"),
    Attack(name="recursion", status=("memory", "error"), code="""
sys.setrecursionlimit(10**9)
def f(x): return repr(x)
class A:
    def __repr__(self): return f(self)
repr(A())"""),
    Attack(name="a value that hangs", status=("timeout",), limits=_LONG, code="""
class V:
    def __str__(self):
        while True: pass
V()"""),
    Attack(name="a value that lies about itself", code="""
class V(str):
    def __str__(self): os.write(3, b'o' * 100); raise SystemExit(0)
V()"""),
    Attack(name="a very long value", code="'x' * 50_000_000"),
    Attack(name="shared memory that stays", code="libc.shmget(0x11e77a, 4096, 0o1666) >= 0 and through()"),
    Attack(name="semaphores that stay", code="libc.semget(0x11e77a, 1, 0o1666) >= 0 and through()"),
    Attack(name="messages that stay", code="libc.msgget(0x11e77a, 0o1666) >= 0 and through()"),
    Attack(name="a message queue", code="syscall(240, 180, b'left', 0o102, 0o600, None) >= 0 and through()"),
    Attack(name="asynchronous input and output", code="""
syscall(206, 0, 1, ctypes.addressof(ctypes.c_ulong(0))) == 0 and through()"""),
]  # fmt: skip

CHANNELS = [
    Attack(name="environment of the caller", code="""
through() if TOKEN_NAME in os.environ else None
libc.getenv.restype = ctypes.c_char_p
libc.getenv(TOKEN_NAME.encode()) and through()"""),
    Attack(name="inherited descriptors", code="""
for fd in range(5, 1024):
    try: os.fstat(fd)
    except OSError: continue
    through(fd)"""),
    Attack(name="forge a success, then hang", status=("timeout",), limits=_LONG, code="""
import struct
os.write(3, struct.pack('<cBI', b'o', 1, 6) + b'forged')
while True: pass"""),
    Attack(name="forge a success, then crash", status=("error",), code="""
import struct
os.write(3, struct.pack('<cBI', b'o', 1, 6) + b'forged')
ctypes.string_at(0)"""),
    Attack(name="claim a value of 4 GB", code="""
import struct
os.write(3, struct.pack('<cBI', b'o', 1, 0xffffffff))"""),
    Attack(name="claim an unknown status", code="""
import struct
os.write(3, struct.pack('<cBI', b't', 1, 1) + b'x')""", status=("ok",)),
    Attack(name="forge the exit message", after="1 + 6", code="""
import struct, socket
message = struct.pack('<cidd', b'X', 0, 0.0, 0.0)
for fd in range(256):
    try: os.write(fd, message)
    except OSError: pass
while True: pass""", status=("timeout",), limits=_LONG),
    Attack(name="speak to the zygote", after="1 + 6", code="""
import array, json, socket
for fd in range(3, 256):
    try:
        s = socket.socket(fileno=fd)
        s.sendmsg([json.dumps({'want': 'auto'}).encode()], [(1, 1, array.array('i', [0]))])
        through(fd)
    except OSError: pass"""),
    Attack(name="find the zygote's sockets", code="""
import gc, socket
frame = sys._getframe()
found = [o for o in gc.get_objects() if isinstance(o, socket.socket)]
while frame:
    found += [v for v in frame.f_locals.values() if isinstance(v, socket.socket)]
    frame = frame.f_back
for s in found:
    s.send(b'x'); through()"""),
    Attack(name="replace what reports", after="1 + 6", code="""
for module in list(sys.modules.values()):
    for name in ('_reply', '_run', '_value', '_finish', 'serve'):
        if hasattr(module, name) and 'llemma' in getattr(module, '__name__', ''):
            setattr(module, name, lambda *a: os.write(3, b'forged'))"""),
    Attack(name="close every descriptor", code="os.closerange(0, 1024)", after="1 + 6"),
    Attack(name="leave early", code="os._exit(0)", status=("ok",)),
    Attack(name="poison the builtins", after="1 + 6", code="""
import builtins, math
builtins.str = lambda x: 'poisoned'
builtins.print = lambda *a: None
math.pi = 3"""),
    Attack(name="poison sympy", after="import sympy\nsympy.Integer(3) + 4", code="""
import sympy
sympy.Integer.__add__ = lambda a, b: sympy.Integer(0)
sympy.core.cache.clear_cache()"""),
    Attack(name="poison a number in memory", after="3 + 4", code="""
address = id(7) + 24  # where its digits are, in 3.11 to 3.13
ctypes.c_uint32.from_address(address).value = 9"""),
    Attack(name="leave a file in the scratch", code="open('left', 'w').write('x')", after="""
try: os.listdir('.') and through(os.listdir('.'))
except OSError: pass  # tier T2 has no scratch
7"""),
    Attack(name="read the program before", code="# mark-of-the-first-program", after="""
import linecache
needle = bytes(reversed(b'margorp-tsrif-eht-fo-kram'))
needle.decode() in str(linecache.cache) and through('linecache')
libc.sbrk.restype = ctypes.c_void_p
needle in ctypes.string_at(libc.sbrk(0) - (200 << 12), 200 << 12) and through('heap')
7"""),
    Attack(name="read memory that was freed", code="""
data = bytearray(b'freed-secret-' * 1_000_000)
del data""", after="""
import mmap
found = False
for _ in range(50):
    page = mmap.mmap(-1, 1 << 20)
    found = found or b'freed-secret-' in page.read(1 << 20)
found and through()
7"""),
]  # fmt: skip

LIBRARIES = {
    "sympify": "import sympy\nthrough(sympy.sympify(f\"open('{SECRET}').read()\"))",
    "sympify a shell": "import sympy\nsympy.sympify(\"__import__('os').system('echo THROUGH')\")",
    "numpy's own os": "import numpy.f2py\nthrough(numpy.f2py.os.popen('echo x').read())",
    "numpy's pickles": """
import io, numpy, pickle
class Bomb:
    def __reduce__(self): return os.system, ('echo THROUGH',)
file = io.BytesIO()
numpy.save(file, numpy.array([Bomb()], dtype=object), allow_pickle=True)
file.seek(0)
numpy.load(file, allow_pickle=True)""",
    "numpy reads": "import numpy\nthrough(numpy.fromfile(SECRET, dtype='u1'))",
    "C library's shell": "libc.system(b'echo THROUGH')",
    "C library's popen": "libc.popen(b'echo THROUGH', b'r') and through()",
    "a browser": "import webbrowser\nwebbrowser.open('http://127.0.0.1:%d' % TCP) and through()",
    "a sandbox in the sandbox": """
from llemma.sandbox import run
through(run('1', sandbox='unsafe-subprocess').tier)""",
    "database": """
import sqlite3
sqlite3.connect(FOLDER + '/db').execute('create table x (y)')
through()""",
    "archive with absolute names": """
import io, tarfile
data = io.BytesIO()
with tarfile.open(fileobj=data, mode='w') as tar:
    tar.addfile(tarfile.TarInfo(FOLDER + '/from-tar'))
data.seek(0)
tarfile.open(fileobj=data).extractall('/', filter='fully_trusted')""",
    "archive that leaves its folder": """
import io, zipfile
data = io.BytesIO()
with zipfile.ZipFile(data, 'w') as z: z.writestr('../../..' + FOLDER + '/from-zip', 'x')
zipfile.ZipFile(data).extractall('/tmp')""",
    "log file": "import logging\nlogging.FileHandler(FOLDER + '/log').emit(logging.makeLogRecord({}))\nthrough()",
    "temporary file elsewhere": "import tempfile\ntempfile.mkstemp(dir=FOLDER)\nthrough()",
    "import from elsewhere": "sys.path.insert(0, FOLDER)\nimport importable\nthrough()",
    "native code": """
import mmap
page = mmap.mmap(-1, 4096, prot=7)
if X86:  # open(SECRET) by machine code: no Python in between
    path = ctypes.create_string_buffer(SECRET.encode())
    page.write(b'\\x48\\xbf' + ctypes.addressof(path).to_bytes(8, 'little') + b'\\x31\\xf6\\x31\\xd2')
    page.write(b'\\xb8\\x02\\x00\\x00\\x00\\x0f\\x05\\xc3')
    call = ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    fd = call()
    fd >= 0 and through(os.read(fd, 100))""",
}  # fmt: skip

NEEDS_NAMESPACES = {
    "see whether a file exists",
    "see the name of the machine's kernel host",
    "see the parent",
}

ATTACKS = [
    *(
        Attack(name=name, code=code, needs_namespaces=name in NEEDS_NAMESPACES)
        for table in (FILES, ESCAPES, NETWORK, PROCESSES, LIBRARIES)
        for name, code in table.items()
    ),
    *RESOURCES,
    *CHANNELS,
]


@dataclass(frozen=True, kw_only=True)
class Canaries:
    """What the attacks are aimed at."""

    values: dict[str, object]
    folder: Path
    victim: subprocess.Popen[bytes]
    listeners: tuple[socket.socket, ...]

    def harmed(self) -> list[str]:
        """What has happened to them, in words; nothing is a good sign."""
        found = []
        target, open_folder = self.folder / "target", self.folder / "open"
        if target.read_text() != "whole" or target.stat().st_mode & 0o777 != 0o666 or target.stat().st_mtime < 1:
            found.append("the target was changed")
        if sorted(os.listdir(open_folder)) != ["importable.py"]:
            found.append(f"files appeared: {os.listdir(open_folder)}")
        state = Path(f"/proc/{self.victim.pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state not in "SRD":
            found.append(f"the victim is in state {state}")
        for listener in self.listeners:
            try:
                listener.recv(1) if listener.type == socket.SOCK_DGRAM else listener.accept()
            except BlockingIOError:
                continue
            found.append(f"something came to {listener.getsockname()}")
        for name in ("shm", "sem", "msg"):
            table = Path(f"/proc/sysvipc/{name}")
            if table.exists() and str(0x11E77A) in table.read_text():
                found.append(f"System V {name} left")
        if Path("/dev/shm/left").exists():
            found.append("/dev/shm/left")
        return found


@contextmanager
def canaries() -> Iterator[Canaries]:
    """Set them up in a temporary folder, and take them down."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="canaries-")))
        folder.chmod(0o755)
        token, token_name = f"token-{secrets.token_hex(8)}", f"SECRET_{secrets.token_hex(4)}"
        name = f"secret-{secrets.token_hex(8)}"
        (folder / name).write_text(token)
        (folder / "target").write_text("whole")
        (folder / "target").chmod(0o666)
        (folder / "open").mkdir()
        (folder / "open").chmod(0o777)
        (folder / "open" / "importable.py").touch()
        victim = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(3600)"])
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        abstract = f"canary-{secrets.token_hex(8)}"
        listeners = []
        for family, kind, address in (
            (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{abstract}"),
            (socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "socket")),
            (socket.AF_UNIX, socket.SOCK_DGRAM, f"\0{abstract}-datagram"),
            (socket.AF_UNIX, socket.SOCK_DGRAM, str(folder / "datagram")),
        ):
            listener = stack.enter_context(socket.socket(family, kind))
            listener.bind(address)
            if kind == socket.SOCK_STREAM:
                listener.listen()
            listener.setblocking(False)
            listeners.append(listener)
        for path in ("socket", "datagram"):
            (folder / path).chmod(0o777)
        os.environ[token_name] = token
        stack.callback(os.environ.pop, token_name)
        values: dict[str, object] = {
            "SECRET": str(folder / name), "NAME": name,
            "TARGET": str(folder / "target"), "FOLDER": str(folder / "open"),
            "TOKEN_NAME": token_name, "CALLER": os.getpid(), "VICTIM": victim.pid, "HOST": os.uname().nodename,
            "TCP": listeners[0].getsockname()[1], "UDP": listeners[1].getsockname()[1],
            "ABSTRACT": abstract, "UNIX": str(folder / "socket"),
            "ABSTRACT_DATAGRAM": f"{abstract}-datagram", "UNIX_DATAGRAM": str(folder / "datagram"),
        }  # fmt: skip
        yield Canaries(values=values, folder=folder, victim=victim, listeners=tuple(listeners))


def attempt(attack: Attack, tier: str, aim: Canaries) -> list[str]:
    """Run one attack; what speaks against the sandbox, in words."""
    prelude = PRELUDE.format(canaries=aim.values)
    begin = time.monotonic()
    done = run(prelude + attack.code, attack.limits, sandbox=tier)
    took = time.monotonic() - begin
    token = os.environ[str(aim.values["TOKEN_NAME"])]
    found = []
    for text in (done.stdout, done.stderr, done.value or ""):
        for line in text.splitlines():
            if line.startswith("THROUGH") or token in line:
                found.append(line[:200])
    if attack.status and done.status not in attack.status:
        found.append(f"status {done.status}, not {' or '.join(attack.status)}: {done.stderr[-300:]}")
    if took > attack.limits.wall + 5:
        found.append(f"took {took:.1f} s")
    if len(done.stdout) + len(done.stderr) > (attack.limits.output << 11) + 1000 or len(done.value or "") > 100_000:
        found.append("kept too much output")
    if done.tier != tier:
        found.append(f"ran in {done.tier or 'nothing'}")
    if attack.after:
        after = run(prelude + attack.after, sandbox=tier)
        if after.value != "7" or "THROUGH" in after.stdout:
            found.append(f"the next program: {after.value} {after.stdout[-200:]} {after.stderr[-300:]}")
    return found + aim.harmed()


def main(tiers: list[str]) -> int:
    """Run every attack in every tier; one JSON object: tier → attack → what got through."""
    report: dict[str, object] = {"uid": os.getuid(), "attacks": len(ATTACKS)}
    with canaries() as aim:
        for tier in tiers or ["T1", "T2"]:
            found = probe(tier)
            if not isinstance(found, Tier):
                report[tier] = f"not to be had: {found[0]}"
                continue
            through = {attack.name: attempt(attack, tier, aim) for attack in ATTACKS}
            report[tier] = {name: found for name, found in through.items() if found}
    shut_down()
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""External programs behind the walls: the real ones work, hostile ones get nothing, and nothing is left of any."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import hostile
from attacks import canaries
from llemma.errors import ConfigError, SandboxError
from llemma.sandbox import command, tiers
from llemma.sandbox.command import CommandLimits, probe, run_command, walled
from llemma.sandbox.tiers import TIERS, Tier
from unprivileged import run_unprivileged

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the walls need Linux")
available = [name for name in TIERS if sys.platform == "linux" and isinstance(probe(name), Tier)]
wanted = [name for name in TIERS if sys.platform == "linux" and isinstance(tiers.probe(name), Tier)]
every_tier = pytest.mark.parametrize("tier", available)
needs_compiler = pytest.mark.skipif(
    shutil.which("cc") is None and shutil.which("gcc") is None, reason="needs a C compiler: apt install gcc"
)
SHELL = ["/bin/sh", "-c"]
TOOLS = ["/usr/bin", "/bin"]
BUSY = 30  # seconds that a busy machine may take for what takes milliseconds


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder that the user nobody can reach, as ``tmp_path`` is not."""
    with tempfile.TemporaryDirectory(prefix="scratch-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def shell(text: str, tier: str, scratch: Path | None = None, **more: object):
    given = {"wall": BUSY, "read": TOOLS, "write": scratch, "env": {"PATH": "/usr/bin:/bin"}} | more
    return run_command([*SHELL, text], tier=tier, **given)  # type: ignore[arg-type]


def running(token: str) -> list[str]:
    """Processes with a word in their command line, but for this one."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if token.encode() in (entry / "cmdline").read_bytes() and state != "Z":
                    found.append(entry.name)
        except OSError:
            continue
    return found


def gone(token: str) -> bool:
    end = time.monotonic() + BUSY
    while running(token) and time.monotonic() < end:
        time.sleep(0.02)
    return not running(token)


def test_external_programs_get_the_walls_that_programs_of_python_get():
    assert available == wanted, [probe(name) for name in TIERS]


# --- honest programs ------------------------------------------------------------------------------------------


@every_tier
def test_what_a_program_says_and_how_it_ends_comes_back(tier, scratch):
    done = shell("cat; echo out; echo err >&2; exit 3", tier, stdin=b"given\n")
    assert (done.stdout, done.stderr, done.status, done.code) == ("given\nout\n", "err\n", "error", 3)
    done = shell("pwd; echo x > made; mkdir d; mv made d; ls d; env", tier, scratch)
    assert done.stdout.splitlines()[:2] == [str(scratch), "made"] and done.status == "ok", done
    assert (scratch / "d" / "made").read_text() == "x\n"
    assert not {"HOME=", "USER=", "LLEMMA"} & {line.partition("=")[0] + "=" for line in done.stdout.splitlines()}
    assert shell("kill -SEGV $$", tier).code == -signal.SIGSEGV
    assert shell("echo $FRUIT", tier, env={"FRUIT": "pear"}).stdout == "pear\n"


@every_tier
@pytest.mark.parametrize(
    ("text", "limits", "status", "note"),
    [
        ("while :; do :; done", {"wall": 0.5}, "timeout", "stopped after 0.5 s"),
        ("sleep 600 & sleep 600", {"wall": 0.5}, "timeout", "stopped after 0.5 s"),
        ("while :; do :; done", {"limits": CommandLimits(cpu=1)}, "timeout", "processor time"),
        ("cat /dev/urandom", {}, "denied", "MB of output"),
        ("x=x; while :; do x=$x$x; done", {"limits": CommandLimits(memory=64)}, "memory|error", ""),
    ],
)
def test_what_never_ends_is_ended(tier, text, limits, status, note):
    done = shell(text, tier, **limits)
    assert done.status in status.split("|") and note in done.stderr, done
    assert done.seconds < BUSY and len(done.stdout) < 70_000


@every_tier
def test_output_is_kept_short(tier):
    done = shell("yes | head -c 200000", tier, limits=CommandLimits(output=4))
    assert done.status == "ok" and len(done.stdout) < 5000 and "of 200000 bytes left out" in done.stdout


@every_tier
def test_what_cannot_be_started_is_an_error_that_says_why(tier, scratch):
    for argv, read, reason in (
        (["no-such-program"], [], "no program no-such-program here"),
        ([*SHELL, "true"], [scratch / "nowhere"], "no such file or folder to be read"),
        ([*SHELL, "true"], ["/"], "would show the program everything"),
    ):
        with pytest.raises(SandboxError, match=reason):
            run_command(argv, wall=BUSY, read=read, tier=tier)
    text = scratch / "text"
    text.write_text("no program at all")
    text.chmod(0o755)
    with pytest.raises(SandboxError, match="Exec format error"):
        run_command([str(text)], wall=BUSY, tier=tier)
    command_ = walled([str(text)], tier=tier)
    done = subprocess.run(command_.argv, env=command_.env, capture_output=True, text=True, timeout=BUSY, check=False)
    assert done.returncode == 125 and done.stderr.startswith("llemma: text was not started: Exec format error")


def test_senseless_limits_and_tiers_are_refused():
    for wrong in ({"cpu": 0}, {"memory": 1}, {"processes": 0}, {"files": 2}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            CommandLimits(**wrong)
    with pytest.raises(ConfigError, match="unknown tier 'T3'"):
        walled(["/bin/true"], tier="T3")


def test_without_walls_no_program_is_run():
    program = (
        "import sys; sys.platform = 'darwin'\nfrom llemma.sandbox.command import run_command\n"
        "run_command(['/bin/echo', 'ran'], wall=9)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=BUSY, check=False)
    assert "darwin has neither Landlock nor seccomp (remedy: use Linux" in done.stderr and "ran" not in done.stdout


COQ = ["/usr/lib/ocaml", "/usr/share/coq", "/etc/ocamlfind.conf"]
needs_coq = pytest.mark.skipif(
    shutil.which("coqidetop.opt") is None or not os.path.isdir(COQ[0]), reason="needs Coq: apt install coq"
)


@needs_coq
@every_tier
def test_coq_compiles_and_checks(tier, scratch):
    (scratch / "A.v").write_text(
        "Require Import Lia. Theorem a x y : x < y -> 2 * x + 1 < 2 * y. Proof. lia. Qed. Print Assumptions a.\n"
    )
    read, env = [path for path in COQ if os.path.exists(path)], {"HOME": str(scratch), "PATH": "/usr/bin"}
    done = run_command(["coqc", "-q", "A.v"], wall=10 * BUSY, read=read, write=scratch, env=env, tier=tier)
    assert (done.status, done.stdout) == ("ok", "Closed under the global context\n"), done
    checked = run_command(
        ["coqchk", "-silent", "-norec", "A"], wall=10 * BUSY, read=read, write=scratch, env=env, tier=tier
    )
    assert checked.status == "ok", checked


@needs_coq
@every_tier
def test_coq_can_be_talked_to_and_interrupted(tier, scratch):
    command_ = walled(
        ["coqidetop.opt", "-q", "-main-channel", "stdfds", "-async-proofs", "off"],
        read=[path for path in COQ if os.path.exists(path)], write=scratch, env={"HOME": str(scratch)}, tier=tier,
    )  # fmt: skip
    pipe = subprocess.PIPE
    with subprocess.Popen(command_.argv, env=command_.env, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None and process.stdout is not None

        def ask(text: str, until: str) -> str:
            process.stdin.write(text.encode())
            process.stdin.flush()
            answer = ""
            while until not in answer:
                part = os.read(process.stdout.fileno(), 1 << 16).decode()
                assert part, answer
                answer += part
            return answer

        add = (
            '<call val="Add"><pair><pair><pair><pair><string>{}</string><int>-1</int></pair><pair><state_id val="{}"/>'
            '<bool val="true"/></pair></pair><int>0</int></pair><pair><int>0</int><int>0</int></pair></pair></call>'
        )
        ask('<call val="Init"><option val="none"/></call>', "</value>")
        ask(add.format("Goal 1 = 1.", 1), "</value>")
        assert "constr.notation" in ask('<call val="Goal"><unit/></call>', "</goals>")
        ask(add.format("do 1000000000 idtac.", 2), "</value>")
        threading.Timer(0.5, process.send_signal, [signal.SIGINT]).start()
        assert "interrupt" in ask('<call val="Goal"><unit/></call>', "</value>")
        process.kill()
        process.wait()
    assert gone(str(scratch))


LEAN = shutil.which("lean")


@pytest.mark.slow
@pytest.mark.skipif(LEAN is None, reason="needs Lean 4 on PATH")
@every_tier
def test_lean_elaborates(tier, scratch):
    home = Path(os.path.realpath(str(LEAN))).parents[1]
    (scratch / "t.lean").write_text("theorem t (a b : Nat) : a + b = b + a := by omega\n#eval 6 * 7\n")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(scratch), "OPENSSL_CONF": "/dev/null"}
    argv = [str(home / "bin" / "lean"), str(scratch / "t.lean")]
    done = run_command(argv, wall=20 * BUSY, read=[home, *TOOLS], write=scratch, env=env, tier=tier)
    if "scandir '/'" in done.stderr:
        pytest.skip(f"the WebAssembly build of Lean lists the folder /, which tier {tier} hides")
    assert (done.status, done.stdout) == ("ok", "42\n"), done


# --- many processes -------------------------------------------------------------------------------------------


FORK_SERVER = r"""
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
int main(int argc, char **argv) {
    char name[100];
    while (fgets(name, sizeof name, stdin)) {
        name[strcspn(name, "\n")] = 0;
        struct sockaddr_un a = {AF_UNIX};
        strcpy(a.sun_path, name);
        int listener = socket(AF_UNIX, SOCK_STREAM, 0);
        if (bind(listener, (void *)&a, sizeof a) || listen(listener, 1)) return 1;
        if (fork() == 0) {
            prctl(PR_SET_PDEATHSIG, 9);
            int talk = accept(listener, 0, 0);
            char text[100];
            int n;
            while ((n = read(talk, text, sizeof text)) > 0) write(talk, text, n);
            return 0;
        }
        close(listener);
        puts("ready");
        fflush(stdout);
    }
    return 0;
}
"""


@needs_compiler
@every_tier
def test_forks_of_a_program_are_reached_by_unix_sockets_in_the_scratch(tier, scratch):
    place, sockets = scratch / "bin", scratch / "s"
    place.mkdir()
    sockets.mkdir()
    program = hostile.compile_c(FORK_SERVER, place / "server")
    command_ = walled([str(program)], read=[place], write=sockets, tier=tier)
    pipe = subprocess.PIPE
    with subprocess.Popen(command_.argv, env=command_.env, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        clones = []
        for number in range(4):
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "ready\n"
            clone = socket.socket(socket.AF_UNIX)
            clone.settimeout(BUSY)
            clone.connect(str(sockets / str(number)))
            clones.append(clone)
        for number, clone in enumerate(clones):
            clone.sendall(b"hello %d" % number)
        assert [clone.recv(100) for clone in clones] == [b"hello %d" % n for n in range(4)]
        process.kill()
        process.wait()
        for clone in clones:
            assert clone.recv(1) == b""  # they went with the process that Popen started
            clone.close()


HERDS = {
    "children": "sleep {n} & sleep {n} & sleep {n}",
    "orphans": "(sleep {n} & sleep {n} &); sleep {n}",
    "a new session": "setsid sleep {n} & sleep {n}",
    "deaf": "trap '' INT TERM HUP; sleep {n} & sleep {n}",
}
NUMBER = iter(range(71_000 + os.getpid() % 1000 * 100, 10**9))


@pytest.mark.parametrize("herd", HERDS)
@every_tier
def test_killing_what_popen_started_ends_all_of_it(tier, herd):
    token = f"{next(NUMBER)}"
    command_ = walled([*SHELL, HERDS[herd].format(n=token)], read=TOOLS, env={"PATH": "/usr/bin:/bin"}, tier=tier)
    process = subprocess.Popen(command_.argv, env=command_.env, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + BUSY
    while len(running(f"sleep\0{token}")) < 2 - (herd == "a new session" and tier == "T2"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert gone(token)


@pytest.mark.parametrize("herd", HERDS)
@every_tier
def test_the_end_of_the_program_ends_what_it_left(tier, herd):
    token = f"{next(NUMBER)}"
    text = HERDS[herd].format(n=token).rpartition("sleep")[0] or "true"
    done = shell(f"{{ {text.rstrip(' &;')} & }} >/dev/null 2>&1 ; sleep 0.2; exit 5", tier)
    assert done.code == 5 and running(token) == []


CALLER = """
import subprocess, sys, threading, time
from llemma.sandbox.command import walled
command = walled(["/bin/sh", "-c", "sleep {n} & sleep {n}"], read=["/usr/bin", "/bin"], env={{"PATH": "/usr/bin:/bin"}},
                 tier={tier!r})
def start():  # a thread that ends must not take the process with it
    global process
    process = subprocess.Popen(command.argv, env=command.env, start_new_session={apart})
thread = threading.Thread(target=start)
thread.start()
thread.join()
time.sleep(0.5)
print(process.poll(), flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("apart", [False, True])
@every_tier
def test_nothing_outlives_a_caller_that_is_killed(tier, apart):
    token = f"{next(NUMBER)}"
    caller = subprocess.Popen(
        [sys.executable, "-c", CALLER.format(n=token, tier=tier, apart=apart)], stdout=subprocess.PIPE, text=True
    )
    assert caller.stdout is not None and caller.stdout.readline() == "None\n"
    deadline = time.monotonic() + BUSY
    while len(running(f"sleep\0{token}")) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(running(f"sleep\0{token}")) == 2
    caller.kill()
    caller.wait()
    caller.stdout.close()
    assert gone(token)


@every_tier
def test_signals_are_passed_on(tier):
    text = "trap 'echo int; exit 4' INT; echo ready; while :; do sleep 0.05; done"
    command_ = walled([*SHELL, text], read=TOOLS, env={"PATH": "/usr/bin:/bin"}, tier=tier)
    with subprocess.Popen(command_.argv, env=command_.env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "int\n"
    assert process.returncode == 4


@every_tier
def test_descriptors_are_given_back(tier):
    shell("true", tier)
    before = len(os.listdir("/proc/self/fd"))
    for text in ("true", "exit 3", "kill -9 $$", "echo x"):
        shell(text, tier)
    shell("sleep 600", tier, wall=0.2)
    with pytest.raises(SandboxError):
        run_command(["no-such-program"], wall=1, tier=tier)
    assert len(os.listdir("/proc/self/fd")) == before


# --- hostile programs -----------------------------------------------------------------------------------------


def check(report: dict[str, object]) -> None:
    assert report["attacks"] == len(hostile.ATTACKS) >= 100
    found = [report[tier] for tier in TIERS]
    assert all(through == {} or str(through).startswith("not to be had") for through in found), report
    assert {} in found, report


@needs_compiler
@pytest.mark.slow
def test_no_attack_gets_through_as_an_ordinary_user():
    done = run_unprivileged([str(HERE / "hostile.py")], timeout=500)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["uid"] != 0
    check(report)


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has more than an ordinary user; run as root to test this too")
def test_no_attack_gets_through_as_root(capsys):
    assert hostile.main([]) == 0
    check(json.loads(capsys.readouterr().out))


# A wall left out, and attacks that only this wall stops, whoever runs the tests.
WALLS = {
    "seccomp": (
        "T1", "linux.seccomp = lambda program: None",
        ["TCP socket", "netlink", "unix datagrams", "run from memory", "trace a child", "new user namespace",
         "clone a sibling", "clone3", "userfaultfd", "shared memory", "filter on a socket"],
    ),
    "seccomp in T2": (
        "T2", "linux.seccomp = lambda program: None",
        ["unix socket by path", "leave the session and the group", "extended attribute", "change times"],
    ),
    "Landlock": (
        "T2", "linux.landlock = lambda rules, abi: None",
        ["read a secret file", "read the password file", "list the processes", "write outside", "run a shell",
         "write into a folder it may read", "run an interpreter by the loader", "unix socket outside",
         "run a copy of itself from the scratch", "overwrite a file"],
    ),
    "resource limits": (
        "T1", "launch._limit = lambda plan: None",
        ["raise a limit", "memory in one piece", "memory in many pieces", "memory made writable later",
         "a file too big", "many descriptors"],
    ),
}  # fmt: skip


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("wall", WALLS)
def test_a_wall_left_out_is_noticed(wall, scratch, monkeypatch):
    tier, lower, names = WALLS[wall]
    if tier not in available:
        pytest.skip(f"tier {tier} is not to be had here: see llemma doctor")
    lowered = command._BOOT.replace("; main(", f"; from llemma.sandbox import launch, linux; {lower}; main(")
    monkeypatch.setattr(command, "_BOOT", lowered)
    place, inside = scratch / "bin", scratch / "inside"
    place.mkdir()
    place.chmod(0o777)
    inside.mkdir()
    with canaries() as aim:
        program = hostile.compile_c(hostile.source(aim, tier, place), place / "hostile")
        outputs = {name: hostile.attempt(program, name, tier, inside).stdout for name in names}
    assert {name: text for name, text in outputs.items() if "THROUGH" not in text} == {}


@pytest.mark.parametrize(("wall", "seen"), [("seccomp in T2", "opens a network socket"), ("Landlock", "reads a file")])
def test_the_probe_notices_too(wall, seen, monkeypatch):
    if "T2" not in available:
        pytest.skip("tier T2 is not to be had here: see llemma doctor")
    lowered = command._BOOT.replace("; main(", f"; from llemma.sandbox import linux; {WALLS[wall][1]}; main(")
    monkeypatch.setattr(command, "_BOOT", lowered)
    found = probe.__wrapped__("T2")
    assert isinstance(found, tuple) and seen in found[0]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No test leaves a launcher, a keeper or a program."""
    yield
    assert gone(f'{{"caller": {os.getpid()},')

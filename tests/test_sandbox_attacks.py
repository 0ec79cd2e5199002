"""No attack gets through, as an ordinary user and as root; and each wall is what stops the attacks it is there for."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import attacks
from attacks import ATTACKS, NEEDS_NAMESPACES, PRELUDE, attempt, canaries
from llemma.sandbox import Limits, monitor, run, shut_down, tiers
from unprivileged import run_unprivileged

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox needs Linux")
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def aim():
    with canaries() as found:
        yield found


def test_there_are_enough_of_them_and_each_has_its_own_name():
    assert len(ATTACKS) >= 200 and len({attack.name for attack in ATTACKS}) == len(ATTACKS)
    assert {attack.name for attack in ATTACKS if attack.needs_namespaces} == NEEDS_NAMESPACES
    for attack in ATTACKS:
        for code in (attack.code, attack.after):
            compile(PRELUDE.format(canaries={}) + code, attack.name, "exec")


def check(report: dict[str, object]) -> None:
    """T1 stops everything, T2 everything but what needs namespaces, which is known by name."""
    assert report["attacks"] == len(ATTACKS)
    for tier, expected in (("T1", set()), ("T2", NEEDS_NAMESPACES)):
        found = report[tier]
        if isinstance(found, str):
            assert found.startswith("not to be had")
            continue
        assert {name: what for name, what in found.items() if name not in expected} == {}
        assert set(found) == expected  # if one of them is stopped one day, the documents should say so
    assert not (isinstance(report["T1"], str) and isinstance(report["T2"], str)), report


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_as_an_ordinary_user():
    done = run_unprivileged([str(HERE / "attacks.py")], timeout=500)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["uid"] != 0
    check(report)


QUICK = [
    "read a secret file", "write outside", "/proc of the caller", "new user namespace", "bpf", "TCP to the loopback",
    "datagram out of a socket pair", "fork bomb", "exec", "kill another process", "trace the caller", "file in memory",
    "memory bomb in one piece", "fill the disk", "inherited descriptors", "forge a success, then hang",
    "forge the exit message", "poison the builtins", "poison a number in memory", "leave a file in the scratch",
    "sympify", "native code", "32-bit calls",
]  # fmt: skip


@pytest.mark.parametrize("tier", tiers.TIERS)
@pytest.mark.parametrize("name", QUICK)
def test_as_whoever_runs_the_tests(tier, name, aim):
    if not isinstance(tiers.probe(tier), tiers.Tier):
        pytest.skip(f"tier {tier} is not to be had here: see llemma doctor")
    (attack,) = [attack for attack in ATTACKS if attack.name == name]
    assert attempt(attack, tier, aim) == []


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has more than an ordinary user; run as root to test this too")
def test_as_root(capsys):
    assert attacks.main(["T1", "T2"]) == 0
    check(json.loads(capsys.readouterr().out))


# --- each wall is needed --------------------------------------------------------------------------------------
# A zygote with one wall left out. What the other walls do not stop must now get through: the attacks are real.

LOWERED = "from llemma.sandbox import isolation, linux; {lower}; "
WALLS = {
    "seccomp": (
        "T1",
        "linux.seccomp = lambda program: None",
        ["clone", "clone3", "file in memory", "be traced", "IPv6", "netlink", "keep running when the parent dies",
         "become dumpable", "pass a descriptor", "leave the session", "shared memory that stays",
         "semaphores that stay", "watch files", "priority of others", "daemon", "fork at exit", "kill the group"],
    ),
    "Landlock": (
        "T2",
        "linux.landlock = lambda rules, abi: None",
        ["read a secret file", "read the password file", "read through raw open",
         "list the processes", "own /proc", "kernel settings", "sysfs", "sympify", "numpy reads"],
    ),
    "resource limits": (
        "T1",
        "isolation._limit = lambda walls, bounds: None",
        ["memory in pipes", "many descriptors", "one big file", "thread storm", "a sparse file"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("wall", WALLS)
def test_a_wall_left_out_is_noticed(wall, aim, monkeypatch):
    tier, lower, names = WALLS[wall]
    if not isinstance(tiers.probe(tier), tiers.Tier):
        pytest.skip(f"tier {tier} is not to be had here: see llemma doctor")
    shut_down()
    monkeypatch.setattr(monitor, "_BOOT", monitor._BOOT + LOWERED.format(lower=lower))
    try:
        prelude = PRELUDE.format(canaries=aim.values)
        table = {attack.name: attack for attack in ATTACKS}
        limits = Limits(wall=20, cpu=20, memory=1024)
        outputs = {name: run(prelude + table[name].code, limits, sandbox=tier) for name in names}
        stopped = {name: done for name, done in outputs.items() if "THROUGH" not in done.stdout}
        assert stopped == {}
    finally:
        shut_down()
    assert aim.harmed() == []


@pytest.mark.parametrize(
    ("wall", "seen"), [("seccomp", "starts a process"), ("Landlock", "reads a file of the system")]
)
def test_the_probe_notices_too(wall, seen, monkeypatch):
    lower = WALLS[wall][1]
    if not isinstance(tiers.probe("T2"), tiers.Tier):
        pytest.skip("tier T2 is not to be had here: see llemma doctor")
    monkeypatch.setattr(monitor, "_BOOT", monitor._BOOT + LOWERED.format(lower=lower))
    found = tiers.probe.__wrapped__("T2")
    assert isinstance(found, tuple) and seen in found[0]


# --- many at once ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_thousand_hostile_and_honest_programs_leave_nothing_behind():
    """``python tests/soak.py runs=10000`` is the long form."""
    done = run_unprivileged([str(HERE / "soak.py"), "runs=1000", "clients=64"], timeout=500)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["processes left"] == []
    for left in (report["files left"], report["System V objects left"]):
        assert left == [] or str(left).startswith("not counted: "), report
    assert report["different"] == [] and report["harmed"] == []
    assert set(report["through"]) <= (NEEDS_NAMESPACES if tiers.best().name == "T2" else set())
    assert sum(report["statuses"].values()) == 1000 and report["statuses"]["hostile timeout"] > 0

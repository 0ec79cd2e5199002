"""Many hostile and honest programs at once: who survives, what is left, whether honest results stay the same.

``python tests/soak.py [runs=1000] [clients=64] [tier=auto] [alone=false]`` prints one JSON object. It gives itself
temporary folders and System V objects of its own (a mount and an IPC namespace), so that whatever is left in them
was left by its programs and nobody else's files are looked at. ``alone=true``, for a user that does nothing else,
leaves all as it is and counts every process and file of that user.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from attacks import ATTACKS, PRELUDE, Canaries, canaries
from llemma.records import Execution
from llemma.sandbox import Limits, linux, run, shut_down, tiers

HONEST = {
    "arithmetic": "total = 0\nfor i in range(100):\n    total += i * i\ntotal",
    "fractions": "from fractions import Fraction\nsum(Fraction(1, n) for n in range(1, 30))",
    "big integer": "print(2**4000 % 10**50)\n3**2000",
    "sets of words": "{w[::-1] for w in 'the quick brown fox jumps over the lazy dog'.split()}",
    "random numbers": "import random\n[random.randint(1, 6) for _ in range(20)]",
    "sympy solve": "from sympy import *\nx = symbols('x')\nprint(solve(x**3 - 6*x**2 + 11*x - 6, x))",
    "sympy integral": "from sympy import *\nx = symbols('x')\nintegrate(x * exp(-x**2), (x, 0, oo))",
    "sympy matrix": "from sympy import Matrix\nMatrix(4, 4, lambda i, j: i**j + 1).det()",
    "sympy system": "from sympy import *\nx, y = symbols('x y')\nsolve([x + 2*y - 3, x**2 - y], [x, y])",
    "numpy": "import numpy as np\nnp.linalg.inv(np.array([[2.0, 1.0], [1.0, 3.0]]))",
    "numpy random": "import numpy as np\nnp.random.rand(5)",
    "scipy": "from scipy.optimize import brentq\nimport math\nbrentq(lambda x: math.cos(x) - x, 0, 1)",
    "scipy integral": "from scipy import integrate\nintegrate.quad(lambda x: x**2, 0, 3)",
    "networkx": "import networkx as nx\nsorted(nx.shortest_path(nx.petersen_graph(), 0, 7))",
    "scratch": "open('a.txt', 'w').write('x' * 1000)\nlen(open('a.txt').read())",
    "an error": "print('before')\n{}['missing']",
}  # fmt: skip


def hostile(attack_limit: Limits) -> list[tuple[str, str, Limits]]:
    """The attacks, with the endless ones cut shorter."""
    rows = []
    for attack in ATTACKS:
        limits = attack.limits if attack.limits.wall > 1 else replace(attack.limits, wall=attack_limit.wall)
        rows.append((attack.name, attack.code, limits))
    return rows


def seen(done: Execution) -> tuple[str, str | None, str]:
    return done.stdout, done.value, done.status


def soak(runs: int, clients: int, sandbox: str, aim: Canaries) -> dict[str, object]:
    """Run them; honest programs first one after the other, then all kinds mixed with many clients."""
    limits = Limits(wall=60, cpu=60)
    alone = {name: seen(run(code, limits, sandbox=sandbox)) for name, code in HONEST.items()}
    again = {name: seen(run(code, limits, sandbox=sandbox)) for name, code in HONEST.items()}
    prelude = PRELUDE.format(canaries=aim.values)
    attacks = hostile(Limits(wall=0.3))
    dice = random.Random(runs)
    jobs = [
        dice.choice([("honest", name) for name in HONEST] + [("hostile", i) for i in range(16)]) for _ in range(runs)
    ]
    order = [dice.randrange(len(attacks)) for _ in range(runs)]
    statuses: Counter[str] = Counter()
    different: list[str] = []
    through: list[str] = []

    def one(number: int) -> None:
        kind, name = jobs[number]
        if kind == "honest":
            got = seen(run(HONEST[str(name)], limits, sandbox=sandbox))
            statuses[f"honest {got[2]}"] += 1
            if got != alone[str(name)]:
                different.append(f"{name}: {got} instead of {alone[str(name)]}"[:400])
        else:
            title, code, bounds = attacks[order[number]]
            done = run(prelude + code, bounds, sandbox=sandbox)
            statuses[f"hostile {done.status}"] += 1
            if any(line.startswith("THROUGH") for line in done.stdout.splitlines()):
                through.append(title)

    numbers = iter(range(runs))  # a future per run would be most of the memory that is measured
    marks: list[int] = []

    def client(_: int) -> None:
        for number in numbers:
            if number == runs // 10:  # the threads have their stacks now, and the zygotes are up
                marks.append(resident())
            one(number)

    begin = time.monotonic()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return {
        "tier": tiers.best().name if sandbox == "auto" else sandbox, "runs": runs, "clients": clients,
        "seconds": round(time.monotonic() - begin, 1), "statuses": dict(statuses),
        "different": different[:5] + [name for name in HONEST if alone[name] != again[name]],
        "through": sorted(set(through)),
        "harmed": aim.harmed(), "memory growth after the first tenth, in MB": round((resident() - marks[0]) / 1e6, 2),
    }  # fmt: skip


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processes(alone: bool) -> list[int]:
    """Processes that were forked off for this caller, or, when the user is alone, all of the user's."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            words = (entry / "cmdline").read_bytes().split(b"\0")
            ours = alone and entry.stat().st_uid == os.getuid()
        except OSError:
            continue
        if ours or (str(os.getpid()).encode() in words and any(b"llemma.sandbox" in word for word in words)):
            found.append(int(entry.name))
    return found


FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


def set_apart() -> str:
    """Put empty folders of our own over those for temporary files, and leave the IPC namespace; why not, if not."""
    for path in (sys.prefix, sys.base_prefix, str(Path(__file__).resolve())):
        if path.startswith(tuple(f"{folder}/" for folder in FOLDERS)):
            return f"{path} lies in a folder for temporary files"
    user, group = os.geteuid(), os.getegid()
    try:
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWIPC | (linux.CLONE_NEWUSER if user else 0))
        if user:  # the same numbers inside as outside
            for name, text in (
                ("setgroups", "deny"),
                ("uid_map", f"{user} {user} 1"),
                ("gid_map", f"{group} {group} 1"),
            ):
                Path(f"/proc/self/{name}").write_text(text)
        linux.mount(None, "/", None, linux.MS_REC | linux.MS_PRIVATE)
        for folder in filter(os.path.isdir, FOLDERS):
            linux.mount("none", folder, "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, "mode=1777,size=1g")
    except OSError as error:
        return str(error)
    if user:
        linux.drop_capabilities()
    return ""


def files(alone: bool) -> list[str]:
    """Files in the places for temporary files: all of this user's, or, when they are set apart, all."""
    found = []
    for folder in filter(os.path.isdir, FOLDERS):
        for entry in os.scandir(folder):
            if not alone or entry.stat(follow_symlinks=False).st_uid == os.getuid():
                found.append(entry.path)
    return found


def system_v() -> list[str]:
    """System V objects that are there."""
    tables = {name: Path(f"/proc/sysvipc/{name}") for name in ("shm", "sem", "msg")}
    return [f"{name} {line}" for name, table in tables.items() for line in table.read_text().splitlines()[1:]]


def main(words: list[str]) -> int:
    """Soak, shut down, count what is left."""
    given = {"runs": "1000", "clients": "64", "tier": "auto", "alone": "false"} | dict(
        word.split("=", 1) for word in words
    )
    alone = given["alone"] == "true"
    refused = "" if alone else set_apart()
    left_before, objects_before = set(files(alone)), set(system_v())
    processes_before = set(processes(alone))
    with canaries() as aim:
        report = soak(int(given["runs"]), int(given["clients"]), given["tier"], aim)
    shut_down()
    report["processes left"] = sorted(set(processes(alone)) - processes_before)
    report["files left"] = f"not counted: {refused}" if refused else sorted(set(files(alone)) - left_before)
    report["System V objects left"] = f"not counted: {refused}" if refused else sorted(set(system_v()) - objects_before)
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

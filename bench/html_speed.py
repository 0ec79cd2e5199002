"""Web pages to text: megabytes of HTML a second of processor time on one core, against other extractors.

Contenders run in processes of their own and take turns over the same pages; a ratio is the median of the ratios of
turns side by side. Processor time is measured. Peers that are not set up are left out, and the script says how to set
them up:

    OpenWebMath's extractor needs resiliparse 0.14.9:
        git clone https://github.com/keirp/OpenWebMath ../openwebmath
        python3 -m venv ../openwebmath/venv
        ../openwebmath/venv/bin/pip install resiliparse==0.14.9 lxml numpy tabulate pyyaml py_asciimath urllib3
        export LLEMMA_OPENWEBMATH=../openwebmath LLEMMA_OPENWEBMATH_PYTHON=../openwebmath/venv/bin/python
    trafilatura:  pip install trafilatura   (or LLEMMA_TRAFILATURA_PYTHON: the Python that has it)

    LLEMMA_DATA=FOLDER python bench/html_speed.py [rounds=5] [peers=llemma,openwebmath]

``parse`` and ``split`` are bounds: what the parser alone takes, and what is done before our own code sees the page.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train_cpu import place

from llemma.config import resolve, setting

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How long to measure, and whom."""

    rounds: int = setting(5, "turns of each contender")
    peers: tuple[str, ...] = setting(
        ("llemma", "openwebmath", "trafilatura", "resiliparse", "split", "parse"), "contenders, ours first"
    )


class Contender:
    """An extractor in its process."""

    def __init__(self, name: str, pages: Path) -> None:
        python = os.environ.get(f"LLEMMA_{name.upper()}_PYTHON", sys.executable)
        environment = os.environ | {"PYTHONPATH": str(HERE.parent / "src")}
        command = [python, str(HERE / "_html_peers.py"), name, str(pages)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self.turns: list[dict[str, Any]] = []
        self.label = str(self._read().get("label", ""))

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return dict(json.loads(line)) if line.strip() else {}

    def turn(self) -> None:
        """Once over the pages."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        self.turns.append(self._read())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def row(contender: Contender, first: Contender, size: float) -> str:
    """A line of the table."""
    rates = [size / turn["seconds"] for turn in contender.turns]
    ratios = [theirs["seconds"] / ours["seconds"] for ours, theirs in zip(first.turns, contender.turns, strict=True)]
    spread = f"{statistics.median(rates):.1f} ({min(rates):.1f} to {max(rates):.1f})"
    last = contender.turns[-1]
    ratio = (
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if contender is not first else ""
    )
    return f"| {contender.label} | {spread} | {last['failed']} | {last['characters'] / 1e6:.2f} | {ratio} |"


def main() -> None:
    settings = resolve(Settings, words=sys.argv[1:])
    folder = Path(os.environ.get("LLEMMA_DATA", "")) / "html"
    if not os.environ.get("LLEMMA_DATA") or not folder.is_dir():
        print("bench/html_speed.py needs pages: LLEMMA_DATA=FOLDER (with html/*.html in it) python bench/html_speed.py")
        return
    sizes = [path.stat().st_size for path in folder.glob("*.html")]
    contenders = []
    for name in settings.peers:
        contender = Contender(name, folder)
        if contender.label:
            contenders.append(contender)
        else:
            contender.close()
            print(f"{name} is not set up here; see the top of bench/html_speed.py", file=sys.stderr)
    for _ in range(settings.rounds):
        for contender in contenders:
            contender.turn()
    for contender in contenders:
        contender.close()
    print(f"{place()}; {len(sizes)} pages, {sum(sizes) / 1e6:.1f} MB\n")
    print(
        "| extractor | MB/s | pages failed | characters, millions | llemma is faster by |\n"
        "| --- | --- | --- | --- | --- |"
    )
    for contender in contenders:
        print(row(contender, contenders[0], sum(sizes) / 1e6))


if __name__ == "__main__":
    main()

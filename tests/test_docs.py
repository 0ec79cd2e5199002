"""The commands and examples of README.md, CONTRIBUTING.md and docs/ are run as they stand.

In a page, in the order of the text and in one folder per page:

- ```` ```console ```` : each line ``$ command`` is run and must succeed (``# exit N`` behind it: must exit with N).
  Lines below it are its output; every one must appear, in order; ``…`` stands for any text.
- ```` ```console no-test ```` : too long or not for every machine. Verbs, keys and make targets must exist.
- ```` ```python ```` : is run. With ``<!-- file: NAME.py -->`` on the line above it is written to that file instead.
"""

from __future__ import annotations

import functools
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from llemma.cli import VERBS
from llemma.config import resolve

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@dataclass(frozen=True)
class Block:
    """One fenced block: where it starts, its info string, its text, and the file it is to be written to."""

    line: int
    info: str
    text: str
    file: str | None


def blocks(text: str) -> Iterator[Block]:
    lines = text.splitlines()
    start = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
            continue
        above = re.fullmatch(r"<!-- file: (\S+) -->", lines[start - 1]) if start else None
        body = "\n".join(lines[start + 1 : number]) + "\n"
        yield Block(start + 1, lines[start][3:].strip(), body, above and above[1])
        start = None
    assert start is None, f"line {start}: block without end"


@dataclass(frozen=True)
class Command:
    """One command of a console block with the exit code and the output the page promises."""

    text: str
    code: int
    output: tuple[str, ...]


def commands(block: Block) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, *output = part.rstrip("\n").split("\n")
        while command.endswith("\\"):
            command = command[:-1] + output.pop(0).strip()
        code = re.search(r"\s+# exit (\d+)$", command)
        if code:
            command = command[: code.start()]
        yield Command(command, int(code[1]) if code else 0, tuple(filter(str.strip, output)))


def check_output(promised: tuple[str, ...], got: str) -> None:
    left = iter(got.splitlines())
    for line in promised:
        pattern = ".*".join(map(re.escape, line.strip().split("…")))
        assert any(re.fullmatch(pattern, seen.strip()) for seen in left), f"not in the output: {line}\n{got}"


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """``llemma`` and ``python`` on the path are those under test; benchmark files are not there."""
    folder = tmp_path_factory.mktemp("bin")
    for name, module in (("llemma", "-m llemma "), ("python", "")):
        (folder / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module}"$@"\n')
        (folder / name).chmod(0o755)
    found = {name: value for name, value in os.environ.items() if name != "LLEMMA_DATA"}
    return found | {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.slow
@every_page
@pytest.mark.timeout(300)
def test_what_the_page_says_works(page, tmp_path, environment):
    for folder in ("examples", "experiments"):  # pages name files of the checkout
        (tmp_path / folder).symlink_to(ROOT / folder)
    for block in blocks(page.read_text(encoding="utf-8")):
        where = f"{page.name}:{block.line}"
        if block.info == "console":
            for command in commands(block):
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", command.text],
                    cwd=tmp_path, env=environment, text=True, timeout=120, check=False,
                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                )  # fmt: skip
                assert done.returncode == command.code, f"{where}: $ {command.text}\n{done.stdout}"
                check_output(command.output, done.stdout)
        elif block.info == "python" and block.file:
            (tmp_path / block.file).write_text(block.text, encoding="utf-8")
        elif block.info == "python":
            (tmp_path / "_block.py").write_text("\n" * block.line + block.text, encoding="utf-8")
            done = subprocess.run(
                [sys.executable, "_block.py"],
                cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{where}\n{done.stdout}{done.stderr}"
        else:
            assert block.info in ("", "text", "toml", "layers", "console no-test"), f"{where}: {block.info}?"


@functools.cache
def help_of(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "llemma", *words, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


@every_page
def test_commands_that_are_not_run_exist(page):
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.info != "console no-test":
            continue
        for command in commands(block):
            words = shlex.split(command.text, comments=True)
            words = [w for i, w in enumerate(words) if "=" not in w or w.split("=")[0].islower() or i > 0]
            where = f"{page.name}:{block.line}: {command.text}"
            if words[0] == "make":
                assert {w for w in words[1:] if "=" not in w} <= targets(), where
            elif words[0] == "llemma":
                text = help_of(words[1])
                for word in words[2:]:
                    key, equals, _ = word.partition("=")
                    # keys below a table (optim.lr) are shown with their table
                    assert not equals or re.search(rf"\b{re.escape(key)}\b", text), f"{where}: no key {key}"
            else:
                assert words[0] in {"git", "cd", "export", "pip", ".ci/run", "torchrun", "python"}, where


@pytest.mark.parametrize(
    "file", sorted([*ROOT.glob("examples/*.toml"), *ROOT.glob("experiments/*.toml")]), ids=lambda f: f.name
)
def test_every_settings_file_is_valid(file):
    """Resolved as its verb would; the verb is the one whose command is named in the file's first comment line(s)."""
    verb = re.search(r"`llemma (\w+) (\S+?)`", file.read_text(encoding="utf-8"))
    assert verb is not None, f"{file.name}: its head says with which command it is run"
    assert verb[2] == file.relative_to(ROOT).as_posix()
    module, _, name = VERBS[verb[1]].settings.partition(":")
    resolve(getattr(importlib.import_module(f"llemma.{module}"), name), files=[file])


@every_page
def test_links_to_files_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), f"{page.name}: {target}"

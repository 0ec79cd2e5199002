"""Engines: what is built does not depend on who does the work, how many do it, or what dies on the way."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from corpora import lines, read_back, recipe, snapshot, write_jsonl
from llemma.config import build, resolve
from llemma.corpus import engine_ray
from llemma.corpus.pipeline import CorpusConfig, build_corpus
from llemma.errors import DataError, LlemmaError, MissingDependency, RunError
from llemma.records import Event

WORDS = ["alpha", "beta", "gamma", "lemma", "proof", "theorem", "group", "ring", "field", "kernel", "image", "basis"]


def texts(count: int, seed: int) -> list[str]:
    draw = random.Random(1000 + seed)  # of -1 and 1 alike, Python makes one
    return [" ".join(draw.choices(WORDS, k=draw.randint(20, 120))) for _ in range(count)]


def sources(folder: Path, parts: int = 6, documents: int = 60) -> dict[str, Any]:
    """Two sources of several files, with copies inside a part, between parts and between the sources."""
    for part in range(parts):
        mine = texts(documents, part)
        write_jsonl(folder / "a" / f"{part}.jsonl", [*mine, *texts(documents, part - 1)[:5], mine[3], "tiny"])
    for part in range(2):
        write_jsonl(folder / "b" / f"{part}.jsonl", [*texts(documents, 100 + part), *texts(documents, 1)[10:20]])
    return {n: {"kind": "jsonl", "options": {"paths": [str(folder / n)]}} for n in ("a", "b")}


def written(folder: Path, run: str = "run", **keys: Any) -> Path:
    """The recipe as a file."""
    found = sources(folder, **keys)
    lines = ["valid_share = 0.1", "test_share = 0.05", "shard_tokens = 3000", "[tokenizer]", "vocab_size = 400"]
    lines += ["[dedup]", "near = true", "[decontaminate]", 'tasks = ["library"]']
    for name, entry in found.items():
        lines += [f"[sources.{name}]", 'kind = "jsonl"', f"options.paths = {json.dumps(entry['options']['paths'])}"]
    (folder / "recipe.toml").write_text("\n".join(lines) + "\n")
    return folder / "recipe.toml"


@pytest.mark.slow
def test_one_process_and_eight_build_the_same(tmp_path):
    found = sources(tmp_path)
    for workers in (1, 8):
        config = recipe(tmp_path / str(workers), found, workers=workers, valid_share=0.1, shard_tokens=3000)
        build_corpus(config)
    assert snapshot(tmp_path / "1") == snapshot(tmp_path / "8")


def test_copies_are_left_out_across_parts_and_sources_and_the_first_stays(tmp_path):
    manifest = build_corpus(recipe(tmp_path / "run", sources(tmp_path), workers=1))
    a, b = manifest["sources"]["a"], manifest["sources"]["b"]
    assert a["dropped"] == {"exact duplicate": 6 + 5 * 5, "too short": 6}
    assert b["dropped"] == {"exact duplicate": 2 * 10}  # each part has them, and `a` had them first
    kept = read_back(tmp_path / "run", "a") + read_back(tmp_path / "run", "b")
    assert len(kept) == len(set(kept)) == manifest["documents"]


def test_a_source_with_priority_keeps_its_copies(tmp_path):
    manifest = build_corpus(
        recipe(tmp_path / "run", sources(tmp_path), workers=1, dedup={"near": False, "priority": ["b"]})
    )
    assert manifest["sources"]["b"]["dropped"] == {"exact duplicate": 10}
    assert manifest["sources"]["a"]["dropped"]["exact duplicate"] == 6 + 5 * 5 + 10


PLUGIN = '''
"""A source whose parts misbehave as a file beside them says."""
import os, signal, time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from llemma.config import setting
from llemma.records import Document

@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings."""
    folder: Path = setting(Path("."), "where to look")
    part: int = setting(-1, "which part")

def parts(options):
    return [replace(options, part=n) for n in range(6)]

def documents(options) -> Iterator[Document]:
    tried = options.folder / f"tried{options.part}"
    with open(tried, "a") as file:
        file.write("x")
    times = len(tried.read_text())
    mode = (options.folder / "mode").read_text() if options.part == 2 else ""
    if mode == "die always" or (mode == "die once" and times == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "exit":
        os._exit(7)
    if mode == "busy once" and times == 1:
        raise TimeoutError("the file server is busy")
    if mode == "fault":
        raise ValueError("the plug-in is wrong")
    for n in range(5):
        yield Document(id=f"{options.part}/{n}", text=f"Document {n} of part {options.part}.", source="odd")
'''


def odd(folder: Path, mode: str, workers: int = 2) -> CorpusConfig:
    (folder / "odd.py").write_text(PLUGIN)
    (folder / "mode").write_text(mode)
    return recipe(
        folder / "run", {"odd": {"kind": str(folder / "odd.py"), "options": {"folder": str(folder)}}}, workers=workers
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["die once", "busy once"])
def test_a_unit_that_loses_its_process_once_is_done_again(tmp_path, mode):
    assert build_corpus(odd(tmp_path, mode))["documents"] == 30
    assert [len((tmp_path / f"tried{n}").read_text()) for n in range(6)] == [1, 1, 2, 1, 1, 1]


FAILURES = [
    ("die always", r"source odd, part 3 of 6: its process was killed by SIGKILL, perhaps for memory.*\(3 times\)", 3),
    ("exit", r"source odd, part 3 of 6: its process ended with exit code 7", 3),
    ("fault", r"source odd, part 3 of 6: ValueError: the plug-in is wrong", 1),
]


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "message", "tries"), FAILURES, ids=[mode for mode, _, _ in FAILURES])
def test_a_unit_that_fails_is_named_and_the_others_are_done(tmp_path, mode, message, tries):
    events: list[Event] = []
    with pytest.raises(LlemmaError, match=message):
        build_corpus(odd(tmp_path, mode), events.append)
    assert any("FAILED source odd, part 3" in event.note for event in events)
    rows = [json.loads(line) for line in (tmp_path / "run" / "rows.jsonl").read_text().splitlines()]
    assert sorted(row["id"] for row in rows if row["stage"] == "read") == [f"read:odd:{n:05d}" for n in (0, 1, 3, 4, 5)]
    (tmp_path / "mode").write_text("")
    assert build_corpus(odd(tmp_path, ""))["documents"] == 30
    assert [len((tmp_path / f"tried{n}").read_text()) for n in range(6)] == [1, 1, tries + 1, 1, 1, 1]


def stopped(folder: Path, tmp_path: Path, **keys: Any) -> CorpusConfig:
    """A build whose last source cannot be read: everything but that has been read."""
    (tmp_path / "bad.jsonl").write_text("no JSON\n")
    config = recipe(
        folder,
        {**sources(tmp_path), "bad": {"kind": "jsonl", "options": {"paths": [str(tmp_path / "bad.jsonl")]}}},
        **keys,
    )
    with pytest.raises(DataError, match=r"source bad, part 1 of 1, bad\.jsonl: .*not valid JSON"):
        build_corpus(config)
    write_jsonl(tmp_path / "bad.jsonl", lines(20))
    return config


def test_a_lost_or_cut_file_is_made_again(tmp_path):
    config = stopped(tmp_path / "run", tmp_path)
    (tmp_path / "run" / "parts" / "a-00001.jsonl").unlink()
    cut = tmp_path / "run" / "parts" / "b-00000.sig.npy"
    cut.write_bytes(cut.read_bytes()[:-8])
    build_corpus(config)
    build_corpus(build(CorpusConfig, settings(tmp_path / "run") | {"run": str(tmp_path / "whole")}))
    assert snapshot(tmp_path / "run") == snapshot(tmp_path / "whole")
    assert "2 units are done again" in (tmp_path / "run" / "log.txt").read_text()


def settings(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "config.json").read_text())["settings"]
    return found


@pytest.mark.slow
def test_a_file_with_other_content_is_refused_by_name_until_it_is_deleted(tmp_path):
    config = stopped(tmp_path / "run", tmp_path)
    path = tmp_path / "run" / "parts" / "a-00001.jsonl"
    good = path.read_bytes()
    path.write_bytes(good.replace(b"lemma", b"LEMMA", 1))
    with pytest.raises(DataError, match=r"a-00001\.jsonl: damaged: not what was written there"):
        build_corpus(config)
    path.unlink()
    build_corpus(config)
    assert (tmp_path / "run" / "manifest.json").exists()


@pytest.mark.slow
def test_a_lost_file_whose_input_has_changed_is_refused(tmp_path):
    config = stopped(tmp_path / "run", tmp_path)
    (tmp_path / "run" / "parts" / "a-00001.jsonl").unlink()
    changed = tmp_path / "a" / "1.jsonl"
    times = changed.stat()
    changed.write_bytes(changed.read_bytes().replace(b"alpha", b"omega"))
    os.utime(changed, ns=(times.st_atime_ns, times.st_mtime_ns))  # it looks as if nothing had changed
    with pytest.raises(DataError, match=r"source a, part 2 of 6, 1\.jsonl: .*its input has changed; use run=OTHER"):
        build_corpus(config)


def test_a_full_disk_stops_the_build_with_one_line(tmp_path):
    """With a limit on the size of files, as a quota would set one; in a process of its own."""
    write_jsonl(tmp_path / "a" / "0.jsonl", ["word " * 400_000])
    program = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000));"
        "from llemma.cli import main; sys.exit(main(['corpus', 'recipe.toml', 'run=run', 'workers=1']))"
    )
    (tmp_path / "recipe.toml").write_text(
        'decontaminate.tasks = ["none"]\n'
        '[tokenizer]\nvocab_size = 400\n[sources.a]\nkind = "jsonl"\noptions.paths = ["a"]\n'
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "a-00000.jsonl: the file would pass the size limit" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_part_that_may_not_be_read_is_named(tmp_path):
    found = sources(tmp_path)
    (tmp_path / "a" / "3.jsonl").unlink()
    (tmp_path / "a" / "3.jsonl").mkdir()
    (tmp_path / "a" / "3.jsonl" / "inner.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(DataError, match=r"source a, part \d of 6, inner\.jsonl: .*not UTF-8"):
        build_corpus(recipe(tmp_path / "run", found, workers=2))


def test_progress_says_stage_parts_documents_and_speed(tmp_path):
    events: list[Event] = []
    build_corpus(recipe(tmp_path / "run", sources(tmp_path), workers=1), events.append)
    last = {event.stage: event for event in events}
    for stage in ("corpus: read", "corpus: group", "corpus: tokenise", "corpus: pack"):
        assert last[stage].done == last[stage].total and "MB/s" in last[stage].figures
    assert last["corpus: tokenise"].figures["documents"] == 485


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_killed_build_ends_like_an_undisturbed_one(tmp_path):
    """kill -9 at random moments (LLEMMA_KILLS of them, 3 by default) of builds with two processes."""
    written(tmp_path, parts=8, documents=120)

    def start(run: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "llemma", "corpus", "recipe.toml", f"run={run}", "workers=2"]
        return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    began = time.perf_counter()
    assert start("whole").wait(200) == 0
    whole = time.perf_counter() - began
    moments, kills = random.Random(0), 0
    wanted = int(os.environ.get("LLEMMA_KILLS", "3"))
    while kills < wanted:
        process = start("killed")
        with contextlib.suppress(subprocess.TimeoutExpired):
            assert process.wait(moments.uniform(0.2, 0.9) * whole) == 0
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += process.wait(30) == -signal.SIGKILL  # or it was done before
        if (tmp_path / "killed" / "manifest.json").exists():  # from the start again: there are more moments to try
            check_killed(tmp_path)
    process = start("killed")
    assert process.wait(200) == 0
    check_killed(tmp_path)


def check_killed(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "llemma", "corpus", "recipe.toml", "run=killed"],
        cwd=folder, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert snapshot(folder / "killed") == snapshot(folder / "whole")
    assert not list((folder / "killed").rglob("*.part"))
    shutil.rmtree(folder / "killed")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason='needs Ray: pip install -e ".[ray]"')
def test_a_cluster_that_loses_a_node_in_every_stage_builds_what_one_machine_builds(tmp_path, root):
    file = written(tmp_path, parts=4, documents=30)
    build_corpus(resolve(CorpusConfig, files=[file], words=[f"run={tmp_path / 'here' / 'run'}"]))
    there = tmp_path / "there" / "run"
    there.parent.mkdir()
    command = [sys.executable, str(root / "tests" / "on_ray_corpus.py"), str(file), str(there), str(tmp_path / "told")]
    environment = {**os.environ, "RAY_DISABLE_DOCKER_CPU_WARNING": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    environment["PYTHONPATH"] = str(root / "src")
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads((tmp_path / "told").read_text())
    assert told["hit"] == ["read", "group", "tokenise", "pack"] and told["lost"] == 4, told
    assert snapshot(there) == snapshot(tmp_path / "here" / "run")


def test_a_machine_that_does_not_see_the_run_folder_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".shared").write_text("of this build")
    assert engine_ray.Worker(str(tmp_path), str(tmp_path / ".shared"), "of this build").ready()
    for seen, token in ((tmp_path / ".shared", "of another"), (tmp_path / "nowhere" / ".shared", "of this build")):
        with pytest.raises(RunError, match=r"does not see .*; engine=ray needs the run folder"):
            engine_ray.Worker(str(tmp_path), str(seen), token).ready()


def test_without_ray_the_command_that_installs_it_is_said(tmp_path, llemma):
    if importlib.util.find_spec("ray") is not None:
        pytest.skip("ray is installed")
    write_jsonl(tmp_path / "a.jsonl", lines(20))
    (tmp_path / "r.toml").write_text('[sources.a]\nkind = "jsonl"\noptions.paths = ["a.jsonl"]\n')
    done = llemma("corpus", "r.toml", "engine=ray")
    assert done.returncode == 2 and 'install it with: pip install "llemma[ray]"' in done.stderr


def test_a_source_named_twice_in_the_priority_is_read_once(tmp_path):
    once, twice = (
        build_corpus(recipe(tmp_path / name, sources(tmp_path), workers=1, dedup={"near": False, "priority": priority}))
        for name, priority in (("once", ["b"]), ("twice", ["b", "b"]))
    )
    assert once["sources"] == twice["sources"]


def test_input_that_changes_after_it_was_read_is_refused(tmp_path):
    found = sources(tmp_path)
    good = (tmp_path / "b" / "1.jsonl").read_bytes()
    (tmp_path / "b" / "1.jsonl").write_bytes(good + b"{")
    with pytest.raises(DataError, match="not valid JSON"):
        build_corpus(recipe(tmp_path / "run", found, workers=1))
    (tmp_path / "b" / "1.jsonl").write_bytes(good)
    changed = tmp_path / "a" / "0.jsonl"
    changed.write_bytes(changed.read_bytes().replace(b"alpha", b"omega"))
    with pytest.raises(DataError, match="source a: its input has changed"):
        build_corpus(recipe(tmp_path / "run", found, workers=1))


def test_an_optional_source_whose_folder_has_nothing_of_it_is_left_out(tmp_path):
    (tmp_path / "empty").mkdir()
    options = {"packages": [], "folders": [str(tmp_path / "empty")]}
    found = sources(tmp_path, parts=1) | {"code": {"options": options, "optional": True}}
    why = build_corpus(recipe(tmp_path / "run", found, workers=1))["left_out"]["code"]
    assert why == "not on this machine: source code: nothing to read; check its options"


BROKEN = """
from dataclasses import dataclass
from llemma.errors import DataError
@dataclass(frozen=True)
class Options:
    pass
def parts(options):
    raise DataError("the list of parts is damaged")
def documents(options):
    return iter(())
"""


def test_an_optional_source_that_is_there_but_broken_is_said(tmp_path):
    (tmp_path / "broken.py").write_text(BROKEN)
    found = sources(tmp_path, parts=1) | {"odd": {"kind": str(tmp_path / "broken.py"), "optional": True}}
    with pytest.raises(DataError, match="the list of parts is damaged"):
        build_corpus(recipe(tmp_path / "run", found, workers=1))


@pytest.mark.parametrize("finished", [False, True], ids=["stopped", "finished"])
def test_a_changed_folder_of_code_is_noticed(tmp_path, finished):
    (tmp_path / "mine").mkdir()
    for n in range(3):
        (tmp_path / "mine" / f"{n}.py").write_text(f"the_answer_{n} = {n}  # as everybody knows\n")
    found = {"code": {"options": {"packages": [], "folders": [str(tmp_path / "mine")]}}}
    found["z"] = {"kind": "jsonl", "options": {"paths": [str(tmp_path / "z.jsonl")]}}
    write_jsonl(tmp_path / "z.jsonl", lines(20))
    good = (tmp_path / "z.jsonl").read_bytes()
    if not finished:
        (tmp_path / "z.jsonl").write_bytes(good + b"{")
        with pytest.raises(DataError, match="not valid JSON"):
            build_corpus(recipe(tmp_path / "run", found, workers=1))
        (tmp_path / "z.jsonl").write_bytes(good)
    else:
        build_corpus(recipe(tmp_path / "run", found, workers=1))
        assert build_corpus(recipe(tmp_path / "run", found, workers=1))["documents"] == 23
    (tmp_path / "mine" / "1.py").write_text("the_answer_1 = 2  # as everybody knows\n")
    with pytest.raises(DataError, match=r"source code: its input has changed since this .*; use run=OTHER or delete"):
        build_corpus(recipe(tmp_path / "run", found, workers=1))


def test_a_finished_corpus_is_not_given_for_other_input(tmp_path):
    found = sources(tmp_path, parts=2)
    build_corpus(recipe(tmp_path / "run", found, workers=1))
    write_jsonl(tmp_path / "a" / "2.jsonl", texts(5, 9))
    with pytest.raises(DataError, match=r"source a: its input has changed since this corpus was finished"):
        build_corpus(recipe(tmp_path / "run", found, workers=1))


def test_a_build_does_not_take_a_folder_with_files_of_others(tmp_path):
    (tmp_path / "home" / "parts").mkdir(parents=True)
    (tmp_path / "home" / "parts" / "mine").write_text("mine")
    with pytest.raises(RunError, match="already holds parts"):
        build_corpus(recipe(tmp_path / "home", sources(tmp_path, parts=1), workers=1))
    assert [path.name for path in (tmp_path / "home").rglob("*")] == ["parts", "mine"]


def test_what_is_not_there_is_said_before_anything_is_built(tmp_path, monkeypatch):
    found = sources(tmp_path, parts=1)
    if importlib.util.find_spec("ray") is None:
        with pytest.raises(MissingDependency, match="ray"):
            build_corpus(recipe(tmp_path / "ray", found, engine="ray"))
        assert not (tmp_path / "ray").exists()

    def refuse(*_: object) -> None:
        raise DataError("no data here")

    with monkeypatch.context() as patch:
        patch.setattr("llemma.corpus.guard.task_items", refuse)
        with pytest.raises(DataError, match="no data here"):
            build_corpus(recipe(tmp_path / "run", found, workers=1, decontaminate={"tasks": ["library"]}))
    build_corpus(recipe(tmp_path / "run", found, workers=1, decontaminate={"tasks": ["none"]}))  # other settings

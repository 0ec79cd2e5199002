"""What goes wrong in practice, through the real command: exit code 2, one line with the cause, nothing half-written."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "llemma"]

TEXTS = [f"The lemma number {n} says that {n} + {n * n} is {n + n * n}." for n in range(300)]
# one process, nothing held out: what these cost is not looked at here, and it is paid a hundred times
RECIPE = """
run = "corpus"
workers = 1
decontaminate.tasks = ["none"]
tokenizer.vocab_size = 400
[sources.mine]
kind = "jsonl"
options.paths = ["texts.jsonl"]
"""
TRAIN = """
corpus = "corpus"
run = "trained"
context = 64
batch_size = 2
steps = 4
checkpoint_every = 2
threads = 1
[model]
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 2
"""
EVAL = ["eval", "generated:addition", "limit=2", "max_tokens=8", "options.shots=0"]


def run(folder: Path, *words: str, bound: bool = False) -> subprocess.CompletedProcess[str]:
    """``bound``: file permissions hold for this process even when the tests are run by root."""
    return subprocess.run(
        [*COMMAND, *words], cwd=folder, preexec_fn=_obey_permissions if bound else None,
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def _obey_permissions() -> None:
    if os.geteuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: what lets root pass
            if ctypes.CDLL(None).prctl(24, capability, 0, 0, 0) != 0:  # PR_CAPBSET_DROP
                os._exit(99)


def refused(folder: Path, *words: str, bound: bool = False, said_before: tuple[str, ...] = ()) -> str:
    """Run what must be refused; the one line that says why. ``said_before``: progress that may precede it."""
    before = {p for p in folder.rglob("*") if p.name.endswith(".part")}
    done = run(folder, *words, bound=bound)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if not (said_before and line.startswith(said_before))]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("llemma: ")
    assert {p for p in folder.rglob("*") if p.name.endswith(".part")} <= before
    return lines[0]


def left_in(run_folder: Path) -> set[str]:
    """What a refused command left in its run folder, if there is one at all."""
    return {p.name for p in run_folder.iterdir()} if run_folder.exists() else set()


def write_inputs(folder: Path) -> None:
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "train.toml").write_text(TRAIN)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A corpus, and a model trained on it."""
    folder = tmp_path_factory.mktemp("finished")
    write_inputs(folder)
    for words in (["corpus", "recipe.toml"], ["train", "train.toml"]):
        done = run(folder, *words)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def here(tmp_path) -> Path:
    """A folder with the inputs only."""
    write_inputs(tmp_path)
    return tmp_path


@pytest.fixture
def copied(finished, tmp_path) -> Path:
    """A copy of the finished work, to be damaged."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    return tmp_path


# --- names


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["corpsu", "recipe.toml"], "unknown verb 'corpsu'; did you mean corpus?"),
        (["corpus", "recipe.toml", "shard_token=5"], "unknown key shard_token; did you mean shard_tokens?"),
        (["corpus", "recipe.toml", "sources.mine.kind=jsnol"], "unknown source 'jsnol'; did you mean jsonl?"),
        (["corpus", "recipe.toml", "sources.mine.rule=pyhton"], "no code rule 'pyhton'; did you mean python?"),
        (["corpus", "recipe.toml", "--fast"], "unknown option --fast; keys are written key=value"),
        ([*EVAL, "model=hg:x"], "unknown backend 'hg'; did you mean hf?"),
        ([*EVAL, "model=trained"], "model='trained' is not of the form KIND:TARGET; known kinds: hf:…, openai:…"),
        ([*EVAL, "model=hf:x", "options.shot=1"], "unknown option 'shot' of generated:addition; did you mean shots?"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_an_unknown_name_is_answered_with_the_nearest(here, words, said):
    assert said in refused(here, *words)
    assert not (here / "corpus").exists()


def test_an_unknown_key_in_a_file_names_the_file(here):
    (here / "recipe.toml").write_text(RECIPE.replace("kind =", "knid ="))
    assert "recipe.toml: unknown key sources.mine.knid; did you mean sources.mine.kind?" in refused(
        here, "corpus", "recipe.toml"
    )


def test_an_unknown_key_of_a_plug_in_names_the_source(here):
    (here / "recipe.toml").write_text(RECIPE.replace("options.paths", "options.path"))
    assert "sources.mine: unknown key options.path; did you mean options.paths?" in refused(
        here, "corpus", "recipe.toml"
    )
    assert not (here / "corpus").exists()


# --- recipe files


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "recipe.toml: missing key sources"),
        (b"# nothing\n", "recipe.toml: missing key sources"),
        (b"this is not TOML", "recipe.toml: not valid TOML: "),
        (b"[sources.a\n", "recipe.toml: not valid TOML: "),
        (b"run = 'caf\xe9'\n", "recipe.toml: not valid TOML: "),
        (b"\x00\x01\x02", "recipe.toml: not valid TOML: "),
        (b"[sources]\n", "recipe.toml: a recipe needs at least one source: [sources.NAME]"),
        (b"sources = 3\n", "recipe.toml: sources is a table"),
        (
            b"[sources.generated]\nweight = 0\n",
            "recipe.toml: the weights of the sources must sum to something positive",
        ),
        (b"[sources.generated]\nweight = -1\n", "recipe.toml: weight=-1.0 of a source must be a number of at least 0"),
        (b"[sources.generated]\nweight = nan\n", "recipe.toml: weight=nan of a source must be a number of at least 0"),
        (b"[sources.generated]\nweight = 'much'\n", "recipe.toml: sources.generated.weight=much: expected number"),
        (b"shard_tokens = 0\n[sources.generated]\n", "recipe.toml: shard_tokens=0 must be at least 1"),
        (
            b"tokenizer.vocab_size = 10\n[sources.generated]\n",
            "recipe.toml: tokenizer.vocab_size=10 must lie in 300..65536",
        ),
        (b"tokenizer.path = 'gone'\n[sources.generated]\n", "gone: no tokenizer.json here; train one"),
        (
            b"[sources.code]\noptions.packages = ['no_such']\n",
            "package 'no_such' is not installed; install it with: pip",
        ),
    ],
    ids=lambda value: value.decode("latin-1")[:30] if isinstance(value, bytes) else "",
)
def test_a_bad_recipe(tmp_path, content, said):
    (tmp_path / "recipe.toml").write_bytes(content)
    assert said in refused(tmp_path, "corpus", "recipe.toml", "run=corpus", said_before=("tokeniser:",))
    left = {path.name for path in (tmp_path / "corpus").rglob("*") if path.is_file()}
    assert left <= {"config.json", ".lock"}


def test_a_recipe_that_is_missing_or_a_folder(here):
    assert "gone.toml: no such file or folder; check the path" in refused(here, "corpus", "gone.toml")
    (here / "folder.toml").mkdir()
    assert "folder.toml: this is a folder, a file was expected" in refused(here, "corpus", "folder.toml")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "source mine: no document left (the source yields none); check its options"),
        (b'{"text": "good enough to be kept"}\n{"text"', "texts.jsonl:2: not valid JSON"),
        (b'{"body": "good enough to be kept"}\n', "texts.jsonl:1: expected an object with a string field 'text'"),
        (b'{"text": "caf\xe9"}\n', "texts.jsonl:1: not UTF-8 text"),
        (b'{"text": "short"}\n', "source mine: no document left (1 × too short); check its options"),
        (None, "texts.jsonl: no such file or folder; check the path"),
    ],
    ids=["empty", "torn", "no such field", "not UTF-8", "nothing left", "missing"],
)
def test_bad_data_of_a_recipe(here, content, said):
    (here / "texts.jsonl").unlink()
    if content is not None:
        (here / "texts.jsonl").write_bytes(content)
    assert said in refused(here, "corpus", "recipe.toml", said_before=("tokeniser:", "corpus:"))
    shards = here / "corpus" / "shards"
    assert not shards.exists() or not list(shards.iterdir())
    assert not (here / "corpus" / "manifest.json").exists()
    write_inputs(here)  # the cause is mended: the same command goes on
    assert run(here, "corpus", "recipe.toml").returncode == 0


def test_a_run_folder_that_is_a_file(here):
    (here / "corpus").write_text("a file\n")
    assert "corpus: already exists; choose another name or remove it" in refused(here, "corpus", "recipe.toml")
    assert (here / "corpus").read_text() == "a file\n"
    assert "a part of this path is a file" in refused(here, "corpus", "recipe.toml", "run=corpus/below")


# --- damaged work


def overwrite(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.slow
def test_a_damaged_shard(copied):
    shard = next((copied / "corpus" / "shards").glob("*train*"))
    overwrite(shard, 10)
    line = refused(copied, "train", "train.toml", "run=other")
    assert str(shard.relative_to(copied)) in line and "sha256" in line and "build it again" in line
    assert left_in(copied / "other") <= {"config.json", ".lock"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["manifest.json", "tokenizer.json"])
def test_a_damaged_file_of_a_corpus(copied, name):
    path = copied / "corpus" / name
    path.write_bytes(path.read_bytes()[:100])
    line = refused(copied, "train", "train.toml", "run=other")
    assert f"corpus/{name}" in line and "damaged" in line
    assert left_in(copied / "other") <= {"config.json", ".lock"}


@pytest.mark.slow
def test_a_corpus_that_is_not_finished(here):
    (here / "corpus").mkdir()
    assert "corpus: no manifest.json: not a finished corpus" in refused(here, "train", "train.toml")
    assert not (here / "trained").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("train", "train.toml", "optim.lr=-1"),
        ("train", "train.toml", "optim.beta1=1.5"),
        ("train", "train.toml", "seed=-1"),
        ("train", "train.toml", "mixture.mine=-1"),
        ("tour", "batch_size=0"),
        ("tour", "lr=-1"),
        ("tour", "seed=-1"),
        ("tour", "families=addition,addition"),
        ("tour", "families=adition"),
        ("tour", "max_tokens=256"),
        ("eval", "generated:addition", "model=hf:x", "seed=-1"),
    ],
    ids=" ".join,
)
def test_a_value_out_of_range_is_refused_before_any_work(here, words):
    line = refused(here, *words)
    assert words[-1].partition("=")[0].rpartition(".")[2] in line or "addition" in line
    assert not (here / "runs").exists() and not (here / "trained").exists()


@pytest.mark.slow
def test_a_tokenizer_put_in_afterwards_is_refused(copied):
    path = copied / "corpus" / "tokenizer.json"
    path.write_text(path.read_text().replace('"<|endoftext|>"', '"<|endoftext|>" ', 1))  # valid JSON, other bytes
    assert "not the tokeniser of the shards" in refused(copied, "train", "train.toml", "run=other")


def unfinished(folder: Path) -> Path:
    """The training as if it had been killed after its last checkpoint, before the model was written."""
    trained = folder / "trained"
    (trained / "metrics.json").unlink()
    shutil.rmtree(trained / "model")
    return trained


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "damage"), [("model.safetensors", "bit"), ("optimizer.safetensors", "gone"), ("state.json", "gone")]
)  # every file and damage: tests/test_train.py
def test_a_damaged_checkpoint(copied, name, damage):
    trained = unfinished(copied)
    newest = max((trained / "checkpoints").glob("step-*"))
    path = newest / name
    if damage == "bit":
        overwrite(path, -1)
    else:
        path.unlink()
    if (name, damage) == ("state.json", "gone"):  # not a complete checkpoint: the one before it is taken
        assert run(copied, "train", "train.toml").returncode == 0
        return
    line = refused(copied, "train", "train.toml")
    assert str(path.relative_to(copied)) in line and "damaged" in line and "delete" in line
    shutil.rmtree(newest)  # the remedy
    assert run(copied, "train", "train.toml").returncode == 0
    assert (trained / "model" / "config.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_damaged_model(copied, name):
    path = copied / "trained" / "model" / name
    path.write_bytes(path.read_bytes()[:50])
    line = refused(copied, *EVAL, "model=hf:trained", "run=evaluated", said_before=("generated:",))
    assert name in line or "trained" in line
    assert left_in(copied / "evaluated") <= {"config.json", ".lock"}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        pytest.param("gone", "gone", marks=pytest.mark.slow),
        pytest.param("corpus", "corpus", marks=pytest.mark.slow),
        pytest.param("texts.jsonl", "texts.jsonl", marks=pytest.mark.slow),
    ],
)
def test_a_model_that_is_none(copied, target, said):
    assert said in refused(copied, *EVAL, f"model=hf:{target}", "run=evaluated")
    assert not (copied / "evaluated").exists()


@pytest.mark.slow
def test_a_prompt_that_cannot_fit(copied):
    line = refused(copied, *EVAL, "model=hf:trained", "max_tokens=64", said_before=("generated:",))
    assert "max_tokens=64 leaves no room for a prompt in a context of 64" in line


@pytest.mark.slow
def test_a_damaged_row_of_a_run(copied):
    rows = copied / "trained" / "rows.jsonl"
    unfinished(copied)
    rows.write_text("{broken}\n" + rows.read_text())
    assert "rows.jsonl:1: not valid JSON" in refused(copied, "train", "train.toml")


# --- run folders


@pytest.mark.slow
def test_a_run_folder_of_other_settings(copied):
    line = refused(copied, "train", "train.toml", "optim.lr=1e-5")
    assert "trained holds a run with other settings (optim.lr: 0.003 there, 1e-05 now)" in line
    assert "use run=OTHER or delete it" in line
    assert "corpus holds a run with other settings" in refused(copied, "corpus", "recipe.toml", "min_bytes=30")
    assert "trained holds a run of `llemma train`; use run=OTHER" in refused(
        copied, "corpus", "recipe.toml", "run=trained"
    )


def test_a_run_folder_held_by_another_process(copied):
    program = (
        "import sys, time; from pathlib import Path; from llemma.run import open_run\n"
        "import fcntl; lock = open('corpus/.lock', 'ab'); fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "print('held', flush=True); time.sleep(100)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], cwd=copied, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        line = refused(copied, "corpus", "recipe.toml")
        assert "corpus: another process is writing to this run folder; wait for it or use run=OTHER" in line
    finally:
        holder.kill()
        holder.communicate()
    assert run(copied, "corpus", "recipe.toml").returncode == 0, "a killed holder holds no more"


@pytest.mark.slow
def test_two_real_builds_do_not_share_a_folder(here):
    (here / "recipe.toml").write_text(RECIPE + "[sources.generated]\noptions.count = 10_000\n")
    first = subprocess.Popen(
        [*COMMAND, "corpus", "recipe.toml"], cwd=here, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 60
        while not (here / "corpus" / "shards").exists():
            assert time.monotonic() < end and first.poll() is None
            time.sleep(0.01)
        done = run(here, "corpus", "recipe.toml")
        assert done.returncode == 2 and "another process is writing" in done.stderr
        assert first.wait(100) == 0, "the first one is not disturbed"
    finally:
        first.kill()
        first.wait()


# --- permissions


@pytest.fixture
def guarded(here) -> Iterator[Path]:
    """A folder whose permissions mean something to ``bound=True``."""
    (here / "secret").write_text("x")
    (here / "secret").chmod(0)
    command = [sys.executable, "-c", "open('secret').read()"]
    done = subprocess.run(command, cwd=here, preexec_fn=_obey_permissions, capture_output=True, text=True, check=False)
    if "PermissionError" not in done.stderr:
        pytest.skip("root's rights over files cannot be dropped here")
    (here / "secret").unlink()
    yield here
    here.chmod(0o755)
    for path in here.rglob("*"):
        path.chmod(0o755)


@pytest.mark.slow
def test_a_file_that_may_not_be_read(guarded):
    (guarded / "texts.jsonl").chmod(0)
    line = refused(guarded, "corpus", "recipe.toml", bound=True, said_before=("tokeniser:", "corpus:"))
    assert "texts.jsonl: permission denied; change the permissions or choose another" in line
    (guarded / "recipe.toml").chmod(0)
    assert "recipe.toml: permission denied" in refused(guarded, "corpus", "recipe.toml", bound=True)


def test_a_folder_that_may_not_be_written(guarded):
    guarded.chmod(0o555)
    line = refused(guarded, "corpus", "recipe.toml", bound=True)
    assert line == "llemma: corpus: permission denied; change the permissions or choose another folder"
    assert {p.name for p in guarded.iterdir()} == {"texts.jsonl", "recipe.toml", "train.toml"}


@pytest.mark.slow
def test_a_run_folder_that_became_read_only(guarded):
    assert run(guarded, "corpus", "recipe.toml", "decontaminate.tasks=library", bound=True).returncode == 0
    (guarded / "corpus" / "manifest.json").unlink()
    (guarded / "corpus").chmod(0o555)
    assert "corpus/held-out.jsonl: permission denied" in refused(
        guarded, "corpus", "recipe.toml", "decontaminate.tasks=library", bound=True
    )


@pytest.mark.slow
def test_doctor_sees_a_folder_it_may_not_write(guarded):
    guarded.chmod(0o555)
    done = run(guarded, "doctor", "--json", bound=True)
    check = next(c for c in json.loads(done.stdout)["checks"] if c["name"] == "disk")
    assert done.returncode == 1
    assert not check["ok"] and "run=FOLDER" in check["remedy"]


# --- a full disk, for real


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "llemma-test", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"root may not mount here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def enlarge(folder: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


FULL = "the disk is full; free some space and run the same command again, finished work is kept"


@pytest.mark.slow
def test_a_corpus_on_a_full_disk_goes_on_when_there_is_space(here):
    (here / "recipe.toml").write_text(RECIPE + "[sources.generated]\noptions.count = 6_000\n")
    said = ("tokeniser:", "corpus:", "read:")
    with small_disk(here / "disk", "600k"):
        line = refused(here, "corpus", "recipe.toml", "run=disk/corpus", said_before=said)
        assert FULL in line
        assert "disk/corpus/parts/generated-00000.jsonl" in line
        assert (here / "disk" / "corpus" / "parts" / "mine-00000.jsonl").exists()
        enlarge(here / "disk", "50m")
        done = run(here, "corpus", "recipe.toml", "run=disk/corpus")
        assert done.returncode == 0, done.stderr
        assert run(here, "corpus", "recipe.toml", "run=whole").returncode == 0
        for shard in (here / "whole" / "shards").iterdir():
            assert (here / "disk" / "corpus" / "shards" / shard.name).read_bytes() == shard.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("pages", range(1, 10))
def test_a_disk_that_is_full_at_any_moment_leaves_nothing_half_written(here, pages):
    """Page by page: at the settings, the tokeniser, a shard, the row, the manifest."""
    with small_disk(here / "disk", f"{4 * pages}k"):
        line = refused(here, "corpus", "recipe.toml", "run=disk/corpus", said_before=("tokeniser:", "corpus:"))
        assert FULL in line
        enlarge(here / "disk", "20m")
        done = run(here, "corpus", "recipe.toml", "run=disk/corpus")
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_training_on_a_full_disk_goes_on_when_there_is_space(copied):
    words = ["train", "train.toml", "run=disk/trained", "model.hidden_size=64", "model.intermediate_size=128"]
    with small_disk(copied / "disk", "1m"):
        line = refused(copied, *words, said_before=("train ",))
        assert "the disk is full; free some space" in line
        enlarge(copied / "disk", "50m")
        done = run(copied, *words)
        assert done.returncode == 0, done.stderr
        assert run(copied, *words[:2], "run=whole", *words[3:]).returncode == 0
        whole, resumed = (p / "model" / "model.safetensors" for p in (copied / "whole", copied / "disk" / "trained"))
        assert whole.read_bytes() == resumed.read_bytes()

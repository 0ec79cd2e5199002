"""The command line's contract: one grammar, help for every key, JSON for programs, one line for a mistake."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llemma.cli import VERBS, _load, main
from llemma.config import keys

COMMAND = [sys.executable, "-m", "llemma"]
RECIPE = """
run = "corpus"
decontaminate.tasks = ["none"]
[tokenizer]
vocab_size = 400
[sources.generated]
options.count = 300
"""
LONG_RECIPE = """
run = "corpus"
decontaminate.tasks = ["none"]
[tokenizer]
vocab_size = 400
sample_bytes = 50_000
[sources.first]
kind = "generated"
options.count = 300
[sources.generated]
options = { count = 12_000, seed = 1 }
"""
TRAIN = """
corpus = "corpus"
run = "trained"
context = 96
batch_size = 2
steps = 4
threads = 1
[model]
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 2
"""
EVAL = ["eval", "generated:addition", "model=hf:trained", "limit=2", "max_tokens=8", "options.shots=0", "run=evaluated"]


def run(folder: Path, *words: str, timeout: float = 100) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], cwd=folder, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def way(tmp_path_factory) -> Path:
    """A folder in which corpus, train and eval have been run once."""
    folder = tmp_path_factory.mktemp("way")
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "train.toml").write_text(TRAIN)
    for words in (["corpus", "recipe.toml"], ["train", "train.toml"], EVAL):
        done = run(folder, *words)
        assert done.returncode == 0, done.stderr
    return folder


# --- help


def test_the_overview_names_every_verb():
    done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
    for name, verb in VERBS.items():
        assert re.search(rf"^  {name} +{re.escape(verb.summary)}$", done.stdout, flags=re.MULTILINE)
    assert not done.stderr
    for words in ([], ["-h"], ["help"]):
        assert subprocess.run([*COMMAND, *words], capture_output=True, text=True, check=True).stdout == done.stdout


@pytest.mark.parametrize("name", VERBS)
def test_the_help_of_a_verb_lists_every_key_with_meaning_and_default(name, capsys):
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    found = list(keys(_load(VERBS[name].settings)))
    assert found
    for key in found:
        line = next((line for line in text.splitlines() if line.startswith(f"  {key.name} ")), None)
        assert line is not None, f"{name}: {key.name} is not in the help"
        assert key.help and key.help in line
        assert line.endswith(f"[{key.default}]")
    assert text.startswith(f"usage: llemma {name} ")


def test_the_version():
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"llemma \d+\.\d+\.\d+\S*\n", done.stdout)


# --- mistakes: exit code 2, one line on stderr, nothing on stdout

MISTAKES = [
    (["crpus"], "unknown verb 'crpus'; did you mean corpus?"),
    (["trian", "x.toml"], "unknown verb 'trian'; did you mean train?"),
    (["--jason"], "unknown verb '--jason'"),
    (["eval", "generated:addition", "modl=x"], "unknown key modl; did you mean model?"),
    (["train", "optim.ler=1", "corpus=x"], "unknown key optim.ler; did you mean optim.lr?"),
    (["tour", "model.hiden_size=3"], "unknown key model.hiden_size; did you mean model.hidden_size?"),
    (["eval", "adition", "model=hf:x"], "unknown task 'adition'"),
    (["eval", "gsm8", "model=hf:x"], "unknown task 'gsm8'; did you mean gsm8k?"),
    (["eval", "generated:adition", "model=hf:x"], "unknown family 'adition'; did you mean addition?"),
    (["eval", "generated:addition", "model=hff:x"], "unknown backend 'hff'; did you mean hf?"),
    (["eval", "generated:addition", "model=hf:x", "options.shts=1"], "unknown option 'shts'"),
    (["eval", "no_such.py", "model=hf:x"], "no_such.py: no such plug-in file"),
    (["corpus", "sources.generatd.weight=1"], "unknown source 'generatd'; did you mean generated?"),
    (["corpus", "sources.x.kind=jsnl"], "unknown source 'jsnl'; did you mean jsonl?"),
    (["list", "task"], "unknown kind of plug-in 'task'; did you mean tasks?"),
    (["eval", "--model", "x"], "unknown option --model; keys are written key=value"),
    (["list", "-v"], "unknown option -v; keys are written key=value"),
    (["train", "steps=many", "corpus=x"], "steps=many: expected integer"),
    (["train", "precision=fp4", "corpus=x"], "precision=fp4: must be one of auto, fp32, bf16, fp8"),
    (["train", "steps=0", "corpus=x"], "steps=0 must be at least 1"),
    (["train"], "missing key corpus"),
    (["eval"], "missing key tasks"),
    (["report"], "missing key runs"),
    (["corpus"], "missing key sources"),
    (["doctor", "now"], "llemma doctor takes no word 'now'"),
    (["corpus", "recipe.yaml"], "llemma corpus takes no word 'recipe.yaml'"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and err.startswith("llemma: ")
    assert message in err
    assert not list(tmp_path.iterdir()), "a mistake leaves nothing behind"


@pytest.mark.parametrize("words", [w for w, _ in MISTAKES[:3]], ids=" ".join)
def test_a_mistake_is_one_line_of_the_real_program(words, tmp_path):
    done = run(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


# --- results for programs


def parsed(folder: Path, *words: str) -> dict:
    done = run(folder, *words, "--json")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 1
    return json.loads(lines[0])


def test_eval_json_has_the_form_of_the_contract(way):
    found = parsed(way, *EVAL)
    assert found["run"] == "evaluated"
    assert found["task"] == "generated:addition"
    assert isinstance(found["errors"], int)
    for metric in found["metrics"]:
        assert list(metric) == ["name", "value", "low", "high", "n"]
        assert 0 <= metric["low"] <= metric["value"] <= metric["high"] <= 1
        assert metric["n"] == 2
    assert found["metrics"][0]["name"] == "accuracy"


def test_eval_json_is_one_line_per_task_and_names_votes(way):
    words = ["eval", "generated:addition", "generated:linear", "model=hf:trained", "limit=2", "samples=2"]
    done = run(way, *words, "max_tokens=4", "options.shots=0", "--json")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [task["task"] for task in found] == ["generated:addition", "generated:linear"]
    assert [task["run"] for task in found] == [None, None]
    assert {"accuracy", "maj@2", "pass@2"} <= {metric["name"] for metric in found[0]["metrics"]}


def test_list_json(tmp_path):
    found = parsed(tmp_path, "list")
    assert list(found) == ["backends", "provers", "sources", "tasks"]
    assert {"generated", "gsm8k"} <= found["tasks"].keys()
    assert all(isinstance(line, str) and line for lines in found.values() for line in lines.values())
    assert parsed(tmp_path, "list", "tasks") == {"tasks": found["tasks"]}


@pytest.mark.slow
def test_doctor_json(tmp_path):
    found = parsed(tmp_path, "doctor")
    assert found["ok"] is True
    for check in found["checks"]:
        assert list(check) == ["name", "ok", "detail", "remedy", "needed"]


def test_corpus_json(way):
    found = parsed(way, "corpus", "recipe.toml")
    assert found["run"] == "corpus"
    assert found["documents"] == found["sources"]["generated"]["documents"] > 200
    assert {"tokens", "bytes", "shards", "tokenizer", "seconds"} <= found.keys()


@pytest.mark.slow
def test_train_json(way):
    found = parsed(way, "train", "train.toml")
    assert (found["run"], found["steps"], found["tokens"]) == ("trained", 4, 4 * 2 * 96)
    assert (way / found["model"] / "config.json").is_file()
    plan = parsed(way, "train", "train.toml", "dry_run=true")
    assert plan["parameters"] == found["parameters"]
    assert plan["tokens_per_step"] == 2 * 96


def test_report_json(way):
    found = parsed(way, "report", "corpus", "trained", "evaluated", "out=page.html")
    assert found == {"report": "page.html"}
    assert (way / "page.html").read_text(encoding="utf-8").startswith("<!")


def test_results_go_to_stdout_and_progress_to_stderr(way):
    """Without --json as well: a table can be piped on, whatever is said meanwhile."""
    done = run(way, *EVAL[:-1], "run=other")
    assert done.returncode == 0
    assert "accuracy" in done.stdout
    assert "samples" in done.stderr and "accuracy" not in done.stdout.replace("accuracy", "", 1).split("\n")[0]
    assert "samples/s" not in done.stdout
    done = run(way, "corpus", "recipe.toml", "run=again")
    assert "dropped" in done.stdout
    assert done.stderr.startswith("corpus: read: 1/1 parts") and "tokeniser: training byte-level BPE" in done.stderr


@pytest.mark.slow
def test_a_second_call_gives_the_same_result_at_once(way):
    first, second = run(way, *EVAL, "--json"), run(way, *EVAL, "--json")
    assert first.stdout == second.stdout
    rows = (way / "evaluated" / "rows.jsonl").read_text().splitlines()
    assert len(rows) == 2


# --- interruption


def wait_for(folder: Path, pattern: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not list(folder.glob(pattern)):
        assert time.monotonic() < end, f"{pattern} did not appear"
        time.sleep(0.005)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_an_interrupted_build_says_so_and_goes_on(tmp_path, number):
    (tmp_path / "recipe.toml").write_text(LONG_RECIPE)
    process = subprocess.Popen(
        [*COMMAND, "corpus", "recipe.toml", "keep_text=true"], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    first = tmp_path / "corpus" / "parts" / "first-00000.jsonl"
    wait_for(first.parent, ".generated-00000.jsonl.*.part")
    while '"source": "first"' not in (tmp_path / "corpus" / "rows.jsonl").read_text():
        time.sleep(0.01)
        assert process.poll() is None
    time.sleep(1)  # the row stands there before it is flushed to the disk; interrupted between the two it is taken back
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert (
        err.splitlines()[-1]
        == "llemma: interrupted; what is in the run folder is kept, the same command goes on from there"
    )
    assert not list(tmp_path.rglob("*.part"))
    stamp = first.stat().st_mtime_ns
    done = run(tmp_path, "corpus", "recipe.toml", "keep_text=true", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["sources"].keys() == {"first", "generated"}
    assert first.stat().st_mtime_ns == stamp, "what was finished is not done again"


# --- pipes and terminals


@pytest.fixture(params=[True, False], ids=["buffered", "unbuffered"])
def buffering(request, monkeypatch) -> None:
    """Buffered output fails at exit, unbuffered output at the first word: both are to be clean."""
    if request.param:
        monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    else:
        monkeypatch.setenv("PYTHONUNBUFFERED", "1")


@pytest.mark.usefixtures("buffering")
@pytest.mark.parametrize(
    "words",
    [["--help"], ["list"], ["list", "--json"], ["eval", "--help"], pytest.param(["doctor"], marks=pytest.mark.slow)],
    ids=" ".join,
)
def test_a_reader_that_goes_away_is_no_crash(words, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*COMMAND, *words], cwd=tmp_path, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.usefixtures("buffering")
def test_head_gets_its_line(tmp_path):
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m llemma tour --help | head -1"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "usage: llemma tour [file.toml] key=value ... [--json]\n"
    assert done.stderr == ""


@pytest.mark.usefixtures("buffering")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_behind_stdout_is_one_line(tmp_path):
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("llemma: the disk is full")
    assert len(done.stderr.splitlines()) == 1


def in_terminal(folder: Path, *words: str, interrupt_at: str | None = None) -> tuple[int, str]:
    """Run in a pseudo-terminal; the exit code and everything that was shown."""
    controller, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color"}
    process = subprocess.Popen(
        [*COMMAND, *words], cwd=folder, stdin=terminal, stdout=terminal, stderr=terminal, env=environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(terminal)
    shown = b""
    end = time.monotonic() + 100
    while time.monotonic() < end:
        if select.select([controller], [], [], 0.2)[0]:
            try:
                data = os.read(controller, 65536)
            except OSError:  # Linux: the last writer has closed
                break
            if not data:
                break
            shown += data
            if interrupt_at and interrupt_at.encode() in shown:
                process.send_signal(signal.SIGINT)
                interrupt_at = None
        elif process.poll() is not None:
            break
    os.close(controller)
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(20), shown.decode("utf-8", "replace")
    process.kill()
    raise AssertionError(f"did not end; shown: {shown[-2000:]!r}")


@pytest.mark.slow
def test_a_terminal_sees_a_bar(tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE)
    code, shown = in_terminal(tmp_path, "corpus", "recipe.toml")
    assert code == 0, shown
    assert "corpus: read" in shown
    assert "━" in shown, "a bar"
    assert "training byte-level BPE" in shown
    assert "Traceback" not in shown
    assert re.search(r"corpus: \d+ documents, [\d,]+ tokens", shown)


def test_a_terminal_sees_the_bar_of_an_evaluation(way):
    code, shown = in_terminal(way, *EVAL[:-1], "run=terminal")
    assert code == 0, shown
    assert "━" in shown and "2/2" in shown
    assert "accuracy" in shown


@pytest.mark.slow
def test_ctrl_c_in_a_terminal_leaves_it_usable(tmp_path):
    (tmp_path / "recipe.toml").write_text(LONG_RECIPE)
    code, shown = in_terminal(tmp_path, "corpus", "recipe.toml", interrupt_at="corpus: read")
    assert code == 130, shown
    assert shown.rstrip().endswith(
        "llemma: interrupted; what is in the run folder is kept, the same command goes on from there"
    )
    assert "Traceback" not in shown
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h"), "the cursor is shown again"


def test_a_mistake_in_a_terminal_is_one_line(tmp_path):
    code, shown = in_terminal(tmp_path, "evl")
    assert code == 2
    assert shown == "llemma: unknown verb 'evl'; did you mean eval?; see llemma --help\r\n"


# --- python ---------------------------------------------------------------------------------------------------


def test_python_prints_output_and_value(llemma, tmp_path):
    (tmp_path / "p.py").write_text("print('out')\n2**70")
    done = llemma("python", "p.py")
    assert (done.returncode, done.stdout) == (0, f"out\n{2**70}\n")
    assert "ok in" in done.stderr and "tier T" in done.stderr


def test_python_as_json_has_the_fields_of_the_contract(llemma, tmp_path):
    (tmp_path / "p.py").write_text("import sys\nprint(input())\nprint('e', file=sys.stderr)\nanswer = [1, 2]")
    (tmp_path / "in.txt").write_text("given")
    done = llemma("python", "p.py", "stdin=in.txt", "memory=256", "--json")
    row = json.loads(done.stdout)
    assert list(row) == ["stdout", "value", "stderr", "status", "seconds", "tier"]
    assert (row["stdout"], row["value"], row["stderr"], row["status"]) == ("given\n", "[1, 2]", "e\n", "ok")
    assert row["seconds"] > 0 and row["tier"] in ("T1", "T2")


def test_python_from_standard_input_tells_a_failure_by_its_exit_code(tmp_path):
    command = [sys.executable, "-m", "llemma", "python", "-", "wall=0.5", "--json"]
    for program, status, code in (("1 / 0", "error", 1), ("while True: pass", "timeout", 1), ("1", "ok", 0)):
        done = subprocess.run(command, input=program, capture_output=True, text=True, timeout=100, check=False)
        assert (json.loads(done.stdout)["status"], done.returncode) == (status, code), done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.py"], "nothing.py: no such file"),
        (["p.py", "wall=0"], "wall=0.0: must lie above 0"),
        (["p.py", "wal=1"], "did you mean wall?"),
        (["p.py", "value=first"], "value=first: must be one of auto, last, answer, solution, none"),
        (["p.py", "sandbox=T9"], "unknown sandbox 'T9'"),
        (["latin.py"], "latin.py: not UTF-8 text"),
        ([], "missing key program"),
    ],
)
def test_python_mistakes_are_one_line(llemma, tmp_path, words, message):
    (tmp_path / "p.py").write_text("1")
    (tmp_path / "latin.py").write_bytes("x = 'é'".encode("latin-1"))
    done = llemma("python", *words)
    assert done.returncode == 2 and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1 and message in done.stderr, done.stderr

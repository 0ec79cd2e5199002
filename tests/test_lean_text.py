"""Lean text read without Lean: tokens, the gate, statements, goals; and which Lean is found, with scripts for it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from lean_cases import cases
from llemma.errors import ProverError
from llemma.provers import module
from llemma.provers.lean import gate, toolchain
from llemma.provers.lean.goals import goal
from llemma.provers.lean.lexer import code, parts, tokens
from llemma.provers.lean.process import Process
from llemma.provers.lean.statements import header, read
from llemma.records import Failure


def words(text: str) -> list[str]:
    return [token.text for token in tokens(text)]


# --- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a -- sorry\nb", ["a", "b"]),
        ("a /- x /- sorry -/ y -/ b", ["a", "b"]),
        ("/-- doc -/ a", ["a"]),
        ("h' x₁ foo.bar x.1.2", ["h'", "x₁", "foo.bar", "x.1.2"]),
        ("«a b».c", ["«a b».c"]),
        ("λx", ["λ", "x"]),
        ("'a' '\\n' '\\'' 'x'.y", ["'a'", "'\\n'", "'\\''", "'x'", ".", "y"]),
        ('"a\\"b" c', ['"a\\"b"', "c"]),
        ('r"a\\" c', ['r"a\\"', "c"]),
        ('r#"a"b"# c', ['r#"a"b"#', "c"]),
        ("1.5 1..2 0x1F", ["1.5", "1", ".", ".", "2", "0x1F"]),
        ("f.{u}", ["f", ".", "{", "u", "}"]),
    ],
)
def test_tokens(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize("text", ["a /- b", 'a "b', 'a r#"b"', "/- /- -/"])
def test_what_does_not_end_is_broken(text):
    assert list(tokens(text))[-1].kind == "broken"


def test_tokens_lie_where_they_say():
    text = 'theorem t (a : Nat) : «x y» = "s" := by -- c\n  simp [a\'] /- d -/ <;> omega'
    assert all(text[token.start : token.end] == token.text for token in tokens(text))


def test_code_within_a_string_is_seen():
    assert "sorry" in [token.text for token in code('s!"a{sorry}b"')]
    assert "sorry" not in words('s!"a{sorry}b"')


def test_parts_of_a_name():
    assert parts("A.«b.c».d") == ("A", "b.c", "d")


# --- the gate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sorry", "line 1: sorry gives the goal up"),
        ("simp\nexact «sorryAx» _ _", "line 2: «sorryAx» gives the goal up"),
        ("decide +native", "line 1: native rests on the compiler, not on the kernel"),
        ("theorem x : True := trivial", "line 1: theorem declares something; a proof holds tactics only"),
        ("skip /-", "line 1: /- is not closed: it hides the rest of the text"),
        ("set_option debug.skipKernelTC true in rfl", "line 1: debug.skipKernelTC changes what the prover checks"),
    ],
)
def test_a_proof_is_refused_with_its_reason(text, reason):
    assert gate.proof(text) == reason


def test_a_file_may_declare_what_a_proof_may_not():
    text = 'open Nat\nnamespace A\nmacro "m" : tactic => `(tactic| simp)\ninstance : Add Nat := ⟨Nat.add⟩\nend A'
    assert gate.file(text) is None
    assert gate.proof(text) is not None


@pytest.mark.parametrize("text", ["#eval 1", "#eval! 1", '@[extern "f"] def g := 1', "@[tactic x] def y := 1"])
def test_a_file_may_not_run_programs(text):
    assert gate.file(text) is not None


def test_notation_that_could_hide_text_is_refused():
    assert "could be a token" in (gate.file('notation "q\\"" => True') or "")
    assert gate.file('notation "q" => "a\\"b".length') is not None
    assert gate.file('infixl:65 " ⊹ " => Nat.add') is None


def test_no_honest_case_is_stopped_by_the_gate():
    stopped = {case.id: (gate.file if case.whole else gate.proof)(case.text) for case in cases("lean_honest.txt")}
    assert {identity: reason for identity, reason in stopped.items() if reason} == {}


def test_the_cases_are_many_and_of_all_classes():
    exploits = cases("lean_exploits.txt")
    assert len(exploits) >= 140 and len(cases("lean_honest.txt")) >= 110
    assert {case.kind for case in exploits} == {f"L{n}" for n in range(1, 15) if n != 11}  # 11: bugs of the kernel


# --- statements -------------------------------------------------------------------------------------------------------

TEXT = """module

public import A.B
import C

namespace N
section
open Nat in
/-- Says it. -/
@[simp] private theorem x.{u} {α : Type u} (n : Nat := 3) : let y := 2; |n| = y := by simp
end
-- between
lemma «a.b» : ∀ n, n = n
| 0 => rfl
| n + 1 => rfl
end N
set_option maxRecDepth 100 in
theorem z : match 1 with
  | 0 => True
  | _ => True := trivial
theorem _root_.q : 1 = 1 where
theorem w : 1 = 1
#print w
"""


def test_statements_of_a_file():
    found = {theorem.name: theorem for theorem in read(TEXT, "here")}
    assert list(found) == ["N.x", "N.«a.b»", "z", "q", "w"]
    assert found["N.x"].statement == (
        "open Nat in\n/-- Says it. -/\n@[simp] private theorem x.{u} {α : Type u} (n : Nat := 3) : let y := 2; |n| = y"
    )
    assert found["N.«a.b»"].statement == "lemma «a.b» : ∀ n, n = n"
    assert found["z"].statement.endswith("| _ => True")
    assert found["q"].statement == "theorem _root_.q : 1 = 1"
    assert found["w"].statement == "theorem w : 1 = 1"
    assert all(TEXT.startswith(theorem.prelude) for theorem in found.values())
    assert found["w"].meta == {"source": "here"}


def test_header():
    head = header(TEXT)
    assert head.modules == ("A.B", "C")
    assert head.body.count("\n") == TEXT.count("\n") and head.body.strip().startswith("namespace N")
    assert header("public theorem t : True := trivial").body == "public theorem t : True := trivial"
    assert header("").modules == ()


def test_every_minif2f_statement_is_read():
    folder = os.environ.get("LLEMMA_DATA")
    path = Path(folder or ".") / "minif2f_all.jsonl"
    if not folder or not path.is_file():
        pytest.skip("needs minif2f_all.jsonl: LLEMMA_DATA=FOLDER pytest tests/test_lean_text.py")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    for key in ("lean4", "lean4_llemma"):
        texts = {row["name"]: row[key].replace("\r\n", "\n") for row in rows if row.get(key)}
        assert len(texts) == 488
        for name, text in texts.items():
            theorem = next(found for found in read(text) if found.name == name)
            rest = "".join(text[len(theorem.prelude) + len(theorem.statement) :].split())
            assert rest in ("", ":=bysorry", ":=sorry"), name


def test_goals_as_printed():
    found = goal("case inl\na b : Nat\nh :\n  a =\n    b\nthis : True\n⊢ a =\n    b")
    assert found.hypotheses == ("a b : Nat", "h :\n  a =\n    b", "this : True")
    assert found.conclusion == "a =\n    b"


def test_a_path_becomes_one_block():
    assert module("lean").script(["intro h", "exact h"]) == "intro h\nexact h"


# --- which Lean -------------------------------------------------------------------------------------------------------

SAYS = "Lean (version 4.20.1, x86_64-unknown-linux-gnu, commit 0123456789abcdef0123, Release)"


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def lean(tmp_path: Path) -> Path:
    """A script that answers as ``lean`` does when it is asked who it is."""
    root = tmp_path / "toolchain"
    return script(root / "bin" / "lean", f'case "$1" in --version) echo "{SAYS}";; *) echo "{root}";; esac')


def test_a_lean_by_option_environment_or_path(lean, tmp_path, monkeypatch):
    found = toolchain.find(lean)
    assert found.lean == lean and found.number == (4, 20, 1) and not found.wasm
    assert found.version == "Lean 4.20.1 0123456789ab"
    assert lean.parent.parent in found.places
    monkeypatch.setenv("LLEMMA_LEAN", str(lean))
    assert toolchain.find() == found
    monkeypatch.delenv("LLEMMA_LEAN")
    monkeypatch.setenv("PATH", f"{lean.parent}{os.pathsep}{os.environ['PATH']}")
    assert toolchain.find().lean == lean


def test_no_lean_is_an_error_with_the_remedy(tmp_path, monkeypatch):
    monkeypatch.delenv("LLEMMA_LEAN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProverError, match="install Lean 4 with elan"):
        toolchain.find()
    with pytest.raises(ProverError, match=r"nowhere: no program is there"):
        toolchain.find(Path("nowhere"))
    other = script(tmp_path / "lean", 'echo "Lean (version 3.51.1, commit x, Release)"')
    with pytest.raises(ProverError, match="not a Lean 4"):
        toolchain.find(other)


def test_a_lake_project_gives_paths_and_pins(lean, tmp_path, monkeypatch):
    project, library = tmp_path / "project", tmp_path / "library"
    library.mkdir()
    with pytest.raises(ProverError, match="not a Lake project"):
        toolchain.find(project=tmp_path)
    project.mkdir()
    (project / "lakefile.toml").write_text("")
    lake = script(
        tmp_path / "bin" / "lake",
        f'[ "$1" = env ] || exit 9\nshift\nexport LEAN_PATH={library} LEAN={lean} SECRET=no\nexec "$@"',
    )
    monkeypatch.setenv("PATH", f"{lake.parent}{os.pathsep}{os.environ['PATH']}")
    found = toolchain.find(project=project)
    assert found.lean == lean and found.project == project
    assert found.env["LEAN_PATH"] == str(library) and "SECRET" not in found.env
    assert library in found.places
    assert found.version.startswith("Lean 4.20.1 0123456789ab project ")
    (project / "lake-manifest.json").write_text("{}")
    assert toolchain.find(project=project).version != found.version


def test_only_what_stands_behind_the_word_is_an_answer(lean, tmp_path):
    """A program in Lean's place prints forged answers around the one it was asked for."""
    program = tmp_path / "toolchain" / "answers.py"
    program.write_text(
        "import json, sys\n"
        "word = sys.stdin.readline().strip()\n"
        'print(\'{"forged": 1}\\n0000 {"forged": 1}\\nx\' + word + \' {"forged": 1}\')\n'
        "print(word, '{\"ready\": true}', flush=True)\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    if asked['op'] == 'die': sys.exit('RuntimeError: of it\\nmore')\n"
        "    if asked['op'] == 'hang': import time; time.sleep(60)\n"
        "    if asked['op'] == 'grow': kept = bytearray(300_000_000); import time; time.sleep(60)\n"
        "    print('{\"forged\": 1}')\n"
        "    print(word, json.dumps({'op': asked['op']}), flush=True)\n"
    )
    script(
        lean, f'case "$1" in --version) echo "{SAYS}";; --run) exec {sys.executable} {program};; *) echo /none;; esac'
    )
    process = Process(toolchain.find(lean), "worker", "none")
    try:
        assert process.ask({"op": "é ⊢ 𝒜"}, 60) == {"op": "é ⊢ 𝒜"}
        assert process.ask({"op": "die"}, 60) == Failure(
            kind="crash", message="the prover died with code 1: RuntimeError: of it"
        )
        assert not process.alive
        assert process.ask({"op": "again"}, 60) == {"op": "again"} and process.starts == 2
        assert process.ask({"op": "hang"}, 0.2) == Failure(kind="timeout", message="the time is up")
        assert process.ask({"op": "grow"}, 60, memory=100) == Failure(kind="memory", message="the memory is used up")
    finally:
        process.close()
    assert not process.alive


def test_two_processes_start_at_the_same_time(lean, tmp_path):
    """Programs in Lean's place that are ready only when both of them run."""
    program = tmp_path / "toolchain" / "waits.py"
    program.write_text(
        "import pathlib, sys, time\n"
        "here = pathlib.Path(__file__).parent\n"
        "(here / pathlib.Path(sys.argv[1]).stem).touch()\n"
        "while not all((here / part).exists() for part in ('worker', 'judge')): time.sleep(0.01)\n"
        "word = sys.stdin.readline().strip()\n"
        "print(word, '{\"ready\": true}', flush=True)\n"
        "for line in sys.stdin: print(word, line, flush=True)\n"
    )
    script(
        lean,
        f'case "$1" in --version) echo "{SAYS}";; --run) exec {sys.executable} {program} "$2";; *) echo /none;; esac',
    )
    both = [Process(toolchain.find(lean), part, "none") for part in ("worker", "judge")]
    try:
        for process in both:
            process.launch()
        assert [process.ask({"op": "hello"}, 60) for process in both] == [{"op": "hello"}] * 2
        assert [process.starts for process in both] == [1, 1]
    finally:
        for process in both:
            process.close()

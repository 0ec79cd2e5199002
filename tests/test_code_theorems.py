"""Theorems of test sets are cut out of Lean and Isabelle files, all names in every form; and as the original did."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llemma.corpus import code_filter, code_theorems
from llemma.corpus.code_theorems import HeldOut, ListedTheorem
from llemma.errors import DataError
from llemma.records import Document


def cut(language: str, text: str, *tests: ListedTheorem, profile: str = "fixed", path: str = "Mathlib/A.lean") -> str:
    rule = code_filter.rule(language, profile, tests)
    return code_filter.apply(rule, Document(id="x", text=text, source="", meta={"path": path})).document.text


def named(*names: str, file: str = "") -> tuple[ListedTheorem, ...]:
    return tuple(ListedTheorem(name=name, file=file) for name in names)


LEAN = """import Mathlib

namespace CategoryTheory

/-- A lemma that stays. -/
theorem kept (x : Nat) : x = x := rfl

/-- The statement in words,
on two lines. -/
@[simp, reassoc]
theorem Iso.symm_inv (α : X ≅ Y) : α.symm.inv = α.hom := by
  cases α

  rfl

lemma kept' : True := trivial

namespace Deep
protected theorem hidden: 1 = 1 := rfl
theorem root : 2 = 2 := rfl
end Deep

section Named
theorem _root_.Nat.outside {n : Nat} : n = n := rfl
theorem univ.{u} (α : Type u) : α = α := rfl
end Named

end CategoryTheory

theorem mathd_algebra_107
  (x : ℝ) : x = x :=
begin
  refl,

  done
end

theorem last : 3 = 3 := rfl
"""


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("CategoryTheory.Iso.symm_inv", ["in words", "reassoc", "Iso.symm_inv", "cases α", "\n\n  rfl"]),
        ("CategoryTheory.Deep.hidden", ["protected theorem hidden"]),  # a colon behind the name
        ("CategoryTheory.Deep.root", ["theorem root"]),
        ("Nat.outside", ["_root_.Nat.outside"]),  # a brace
        ("CategoryTheory.univ", ["univ.{u}"]),
        ("mathd_algebra_107", ["mathd_algebra_107", "(x : ℝ)", "begin", "done"]),  # a line break; Lean 3's end
        ("last", ["theorem last"]),
    ],
)
def test_a_lean_theorem_is_found_by_its_full_name_and_goes_as_a_whole(name, gone):
    left = cut("lean", LEAN, *named(name))
    assert not [one for one in gone if one in left]
    for other in ("A lemma that stays", "theorem kept ", "kept'", "end CategoryTheory", "namespace Deep", "end Named"):
        assert other in left
    kept = [line for line in LEAN.splitlines() if line and not any(part in line for part in gone)]
    assert len([line for line in kept if line not in left]) <= 2  # lines of the same declaration alone
    assert left.count("theorem") == LEAN.count("theorem") - 1


def test_all_lean_theorems_of_a_file_go_at_once():
    names = ["CategoryTheory.Iso.symm_inv", "CategoryTheory.Deep.hidden", "CategoryTheory.univ", "last", "Nat.outside"]
    left = cut("lean", LEAN, *named(*names))
    assert left.count("theorem") == LEAN.count("theorem") - 5
    assert "namespace Deep" in left and "end Deep" in left and left.index("namespace Deep") < left.index("end Deep")


def test_the_same_name_in_another_namespace_stays():
    text = "namespace A\ntheorem foo : 1 = 1 := rfl\nend A\nnamespace B\ntheorem foo : 2 = 2 := rfl\nend B\n"
    left = cut("lean", text, *named("B.foo"))
    assert "1 = 1" in left and "2 = 2" not in left


def test_in_its_own_file_a_theorem_goes_by_the_end_of_its_name():
    text = "open Foo\ntheorem bar : 1 = 1 := rfl\n"  # the namespace comes from a line this scan does not see
    assert cut("lean", text, *named("Foo.bar", file="src/a.lean"), path="repo/src/a.lean") == "open Foo\n"
    assert cut("lean", text, *named("Foo.bar", file="src/b.lean"), path="repo/src/a.lean") == text


def test_a_theorem_of_a_known_file_is_not_every_theorem_of_that_name():
    text = "namespace A\ntheorem foo : 1 = 1 := rfl\nend A\n"
    assert cut("lean", text, *named("foo", file="src/a.lean"), path="other.lean") == text
    assert "foo" not in cut("lean", text, *named("foo", file="src/a.lean"), path="m/src/a.lean")
    assert "foo" not in cut("lean", text, *named("foo")), "of miniF2F nothing but the name is known"


def test_sections_and_ends_of_proofs_do_not_lose_count():
    text = (
        "namespace A\nsection\nvariable (n : Nat)\ntheorem one : 1 = 1 :=\nbegin\n  refl\nend\nend\n"
        "theorem two : 2 = 2 := rfl\nend A\ntheorem three : 3 = 3 := rfl\n"
    )
    left = cut("lean", text, *named("A.two", "three"))
    assert "one" in left and "two" not in left and "three" not in left
    left = cut("lean", text, *named("A.one"))
    assert "refl" not in left and "begin" not in left and left.count("end") == 2 and "theorem two" in left


def test_a_namespace_of_two_parts_may_end_part_by_part():
    text = "namespace A.B\ntheorem x : 1 = 1 := rfl\nend B\ntheorem y : 2 = 2 := rfl\nend A\ntheorem z : 3 = 3 := rfl\n"
    left = cut("lean", text, *named("A.B.x", "A.y", "z", file="other.lean"))
    assert left == "namespace A.B\nend B\nend A\n"
    assert cut("lean", text, *named("A.B.y", "A.B.z", "A.z", file="other.lean")) == text


def test_a_file_of_nothing_else_is_dropped():
    rule = code_filter.rule("lean", "fixed", named("t"))
    outcome = code_filter.apply(rule, Document(id="x", text="theorem t : True :=\n  trivial\n", source=""))
    assert outcome.reason == "only theorems of test sets"
    assert outcome.removed == {"theorem of a test set": 2}


def test_lines_that_were_taken_out_are_counted():
    rule = code_filter.rule("lean", "fixed", named("last"))
    outcome = code_filter.apply(rule, Document(id="x", text=LEAN, source=""))
    assert outcome.reason is None and outcome.removed == {"theorem of a test set": 1}


def test_a_rule_without_tests_changes_nothing():
    document = Document(id="x", text=LEAN, source="")
    assert code_filter.apply(code_filter.rule("lean", "fixed"), document).document is document
    assert code_filter.rule("coq", "fixed", named("t")).tests is None, "Coq has no test set of the paper"


# --- as the original (A3.6, A3.8)


def original(text: str, *tests: ListedTheorem, language: str = "lean", path: str = "r/src/a.lean") -> str:
    return cut(language, text, *tests, profile="llemma", path=path)


def test_the_original_takes_one_theorem_a_file():
    text = "theorem a : 1 = 1 := rfl\n\ntheorem b : 2 = 2 := rfl\n\nlemma c : 3 = 3 := rfl\n"
    tests = named("N.a", "N.b", file="src/a.lean")
    assert original(text, *tests) == text.replace("theorem b : 2 = 2 := rfl", "")
    assert original(text, *tests, path="other.lean") == text


@pytest.mark.parametrize("name", ["a", "N.M.a"])
def test_the_original_never_tries_the_whole_name(name):
    text = f"theorem {name} : 1 = 1 := rfl\n"
    assert original(text, *named(name, file="src/a.lean")) == text
    assert cut("lean", text, *named(name)) == ""


def test_the_original_wants_a_space_and_stops_at_a_blank_line():
    tests = named("N.a", file="src/a.lean")
    for text in ("theorem a: 1 = 1 := rfl\n", "theorem a\n  : 1 = 1 := rfl\n", "theorem a{n} : 1 = 1 := rfl\n"):
        assert original(text, *tests) == text
    assert original("theorem a : 1 = 1 := by\n  have\n\n  rfl\nlemma b : 2", *tests) == "\n\n  rfl\nlemma b : 2"
    twice = "theorem a : 1\n\ntheorem a : 2\n\n"
    assert original(twice, *tests) == "\n\ntheorem a : 2\n\n"
    assert original("example : 1\ntheorem a : 1 = 1 := rfl\nlemma b : 2\n", *tests) == "example : 1\n"


ISABELLE = """theory T imports Main begin

lemma foo [simp]: "x = x"
  by simp

lemma (in group) bar:
  assumes "a = b"

  shows "b = a"
proof -
  show ?thesis by auto
qed

text \\<open>words\\<close>

lemma "2 + (2::nat) = 4"
  by eval

theorem foo_bar: "y = y" by simp

lemma foo2:
  "z = z"
  by (rule refl)
end
"""


@pytest.mark.parametrize(
    ("statement", "gone"),
    [
        ('lemma foo [simp]: "x = x"', '"x = x"'),
        ('lemma (in group) bar:\n  assumes "a = b"', "proof -"),
        ('lemma   "2 + (2::nat) = 4"', "by eval"),  # without a name: by its statement
        ('theorem foo_bar: "y = y"', "foo_bar"),
        ('lemma foo2: "z = z"', "(rule refl)"),
    ],
)
def test_an_isabelle_theorem_goes_as_a_whole(statement, gone):
    left = cut("isabelle", ISABELLE, ListedTheorem(statement=statement), path="T.thy")
    assert gone not in left
    assert left.count("lemma") + left.count("theorem") == ISABELLE.count("lemma") + ISABELLE.count("theorem") - 1
    assert left.startswith("theory T imports Main begin\n\n") and left.endswith("end\n") and "text \\<open>" in left


def test_the_original_misses_statements_without_a_name_and_takes_others():
    unnamed = ListedTheorem(statement='lemma "2 + (2::nat) = 4"')
    assert original(ISABELLE, unnamed, language="isabelle") != ISABELLE  # by chance: the type has a colon
    assert original(ISABELLE, ListedTheorem(statement='lemma "a = b"'), language="isabelle") == ISABELLE
    kept = original(ISABELLE, ListedTheorem(statement="lemma foo2:\n  x"), language="isabelle")
    assert "foo2" not in kept and not kept.endswith("end\n"), "up to a blank line, and there is none"


def test_a_name_is_looked_for_as_theorem_and_lemma():
    assert "foo2" not in original(ISABELLE, *named("foo2"), language="isabelle")
    assert "foo2" not in cut("isabelle", ISABELLE, *named("foo2"))


@given(st.text(st.sampled_from("theorem a.b:lemma \n\nend begin namespace section /--/ @[]«»"), max_size=120))
def test_no_text_stops_the_cutting(text):
    for language in ("lean", "isabelle"):
        for profile in code_filter.PROFILES:
            rule = code_filter.rule(language, profile)
            tests = (*named("a", "a.b", "N.a", file="x"), ListedTheorem(statement='lemma "x": y'))
            left, lines = code_theorems.cut(text, "x", HeldOut(theorems=tests), rule.theorems)
            assert (left == text) == (lines == 0) and len(left) <= len(text)


# --- lists


def test_lists_in_every_form(tmp_path):
    leandojo = [{"url": "u", "file_path": "src/a.lean", "full_name": "N.a", "traced_tactics": []}]
    (tmp_path / "val.json").write_text(json.dumps(leandojo))
    (tmp_path / "rows.jsonl").write_text('{"name": "b"}\n{"problem_name": "c"}\n{"other": 1}\n')
    (tmp_path / "names.txt").write_text("# ours\nd\n\ne  # and e\n")
    pisa = tmp_path / "universal_test_theorems"
    pisa.mkdir()
    (pisa / "quick_test_name_1.json").write_text(json.dumps([["1", 'lemma foo: "x"']]))
    (pisa / "quick_test_name_0.json").write_text(json.dumps([["0", 'lemma "y"']]))
    found = code_theorems.load((*(str(tmp_path / n) for n in ("val.json", "rows.jsonl", "names.txt")), str(pisa)))
    assert [theorem.name or theorem.statement for theorem in found] == [
        *("N.a", "b", "c", "d", "e"),
        *('lemma "y"', 'lemma foo: "x"'),
    ]
    assert found[0].file == "src/a.lean"


def test_a_list_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone\.json"):
        code_theorems.load((str(tmp_path / "gone.json"),))
    (tmp_path / "torn.json").write_text("[1,")
    with pytest.raises(DataError, match=r"torn\.json: not a list of theorems"):
        code_theorems.load((str(tmp_path / "torn.json"),))
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(DataError, match=r"empty\.txt: no theorem in this list"):
        code_theorems.load((str(tmp_path / "empty.txt"),))


def test_the_statements_of_minif2f_are_cut_out():
    if not (Path(os.environ.get("LLEMMA_DATA", "")) / "minif2f_lean4_llemma.jsonl").is_file():
        pytest.skip("needs miniF2F: LLEMMA_DATA=FOLDER pytest tests/test_code_theorems.py")
    tests = code_theorems.load(("minif2f",))
    assert len({theorem.name for theorem in tests}) == 488
    for name in ("mathd_algebra_107", "amc12a_2009_p9", "imo_1959_p1"):
        text = f"import Mathlib\n\ntheorem {name} (x : ℝ) :\n    x = x := by\n  rfl\n\ntheorem mine : 1 = 1 := rfl\n"
        left = cut("lean", text, *tests)
        assert name not in left and "mine" in left
    isabelle = 'lemma aaa: "x = x"\n  by simp\n\ntheorem mathd_algebra_107:\n  shows "y"\n  sorry\nend\n'
    assert cut("isabelle", isabelle, *tests) == 'lemma aaa: "x = x"\n  by simp\n\nend\n'

"""The code rules of 17 languages in both profiles: tables of snippets, the plain definition, any text at all."""

from __future__ import annotations

import json
import os
import re
import string
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llemma.corpus import code_filter
from llemma.errors import ConfigError
from llemma.records import Document

BENCH = Path(__file__).resolve().parents[1] / "bench"
HERE, IMPORT, INCLUDE = "kept", "no mathematical import", "no mathematical include"
ENGLISH = (
    "We show that every bounded sequence of real numbers has a convergent subsequence, and that the limit of each "
    "of them lies in the same closed interval. The proof is by cutting the interval into halves again and again."
)
FRENCH = (
    "Nous montrons que toute suite bornée de nombres réels possède une suite extraite convergente, et que la limite de "
    "chacune appartient au même intervalle fermé. La démonstration se fait par dichotomie de cet intervalle."
)


def notebook(*cells: tuple[str, str]) -> str:
    made = [{"cell_type": kind, "metadata": {}, "source": text} for kind, text in cells]
    for cell in made:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": 1}
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


# language, text, what the profiles say (HERE: kept), and the path or repository where it matters
SNIPPETS: list[tuple[str, str, str, str, dict[str, str]]] = [
    # --- Python
    ("python", "import numpy as np\n", HERE, HERE, {}),
    ("python", "from scipy.linalg import eig\n", HERE, HERE, {}),
    ("python", "try: import sympy\nexcept ImportError: pass\n", HERE, HERE, {}),
    ("python", ">>> from mpmath import mp\n", HERE, HERE, {}),
    ("python", "    import os, sys; import jax\n", HERE, HERE, {}),
    ("python", "from sage.all import *\n", HERE, HERE, {}),
    ("python", "import sagemaker\n", HERE, IMPORT, {}),  # A3.9
    ("python", "import jaxtyping\nfrom jaxtyping import Float\n", HERE, IMPORT, {}),
    ("python", "# we do not import numpy here\n", HERE, IMPORT, {}),
    ("python", "print('one can import sympy')\n", HERE, IMPORT, {}),
    ("python", "import os, numpy\n", IMPORT, HERE, {}),
    ("python", "import os as system, sympy as sp, re\n", IMPORT, HERE, {}),
    ("python", "import\tnumpy\n", IMPORT, HERE, {}),
    ("python", "import torch\n", IMPORT, IMPORT, {}),
    ("python", "import mynumpy, numpy_like\nfrom . import numpy\n", HERE, IMPORT, {}),  # " import numpy" is there
    ("python", "from .numpy import x\nfrom numpyro import y\n", HERE, IMPORT, {}),
    ("python", '\n{"import numpy": 1}', "starts with {", "starts with {", {}),
    ("python", "\ufeff{} # import numpy\nimport numpy\n", HERE, "starts with {", {}),
    ("python", "import numpy" + "1" * 20, "mostly digits", "mostly digits", {}),
    ("python", " \n", "empty", "empty", {}),
    # --- Jupyter
    ("jupyter", notebook(("code", "import sympy\nx = 1")), HERE, HERE, {}),
    ("jupyter", notebook(("markdown", "\\begin{align} a &= b \\end{align}")), HERE, HERE, {}),
    ("jupyter", notebook(("markdown", "\\begin{equation} a \\end{equation}")), HERE, HERE, {}),
    ("jupyter", notebook(("code", "import os, sympy")), "no equation, no sympy", HERE, {}),
    ("jupyter", notebook(("markdown", "\\begin{align*} a \\end{align*}")), "no equation, no sympy", HERE, {}),
    ("jupyter", notebook(("markdown", "Then import sympyx.")), HERE, "no equation, no sympy", {}),
    ("jupyter", notebook(("code", "FROM SYMPY")), HERE, "no equation, no sympy", {}),
    ("jupyter", notebook(("code", "import sympy"), ("code", "1" * 1_100_000)), HERE, "too large", {}),
    ("jupyter", notebook(("code", "import sympy"), ("code", "1 " * 9_000)), HERE, "mostly digits", {}),
    ("jupyter", notebook(("code", "import numpy")), "no equation, no sympy", "no equation, no sympy", {}),
    ("jupyter", "import sympy, but no notebook", "no notebook", "no notebook", {}),
    ("jupyter", "", "no equation, no sympy", "no notebook", {}),
    # --- R
    ("r", "x <- rnorm(100)\nlm(y ~ x)\n", HERE, HERE, {}),
    ("r", "# Requirement { no\nfit <- glm(y ~ x)\n", HERE, HERE, {}),
    ("r", "matrix(0, 2, 2)", HERE, HERE, {}),
    ("r", "/* Resource fork */ x", "a resource fork", "a resource fork", {}),
    ("r", "Requirement \n {\n Identifier", "a reference design", "a reference design", {}),
    ("r", "<?xml version='1.0'?>", "starts with <?xml", "starts with <?xml", {}),
    ("r", '{"cells": []}', "starts with {", "starts with {", {}),
    ("r", '\n{"cells": []}', HERE, "starts with {", {}),
    ("r", "", "empty", "empty", {}),
    # --- Julia
    ("julia", "using LinearAlgebra\nA = rand(3, 3)\n", HERE, HERE, {}),
    ("julia", "f(x) = x^2\n", HERE, HERE, {}),
    ("julia", "@test f(2) == 4  # a comment\n" * 5_000, HERE, HERE, {}),
    ("julia", "f(x) = x^2 + abs(x)\n" * 6_000, "large, and no test", "large, and no test", {}),
    ("julia", "@test 1\n" + "f(x) = x^2 + abs(x)\n" * 6_000, "large, and no test", "large, and no test", {}),
    ("julia", "@test 1234567890123 == 1234567890123\n" * 5_000, "large, and no test", "mostly digits", {}),
    ("julia", "@test f(2) == 4  # a comment\n" * 40_000, HERE, "too large", {}),
    ("julia", '[{"a": 1}]', "starts with [", "starts with [", {}),
    ("julia", "% a = 1", "starts with %", "starts with %", {}),
    ("julia", '\n{"a": 1}', HERE, "starts with {", {}),
    ("julia", "12345 67890", HERE, "mostly digits", {}),
    ("julia", " \n", HERE, "empty", {}),  # A3.10
    ("julia", "", "empty", "empty", {}),
    # --- C
    ("c", "#include <cblas.h>\n", HERE, HERE, {}),
    ("c", "int x;\n#include <gsl/gsl_matrix.h>\n", HERE, HERE, {}),
    ("c", "#include <petsc.h>\n#include <fftw.h>\n", HERE, HERE, {}),
    ("c", "#include <fftw3.h>\n", INCLUDE, HERE, {}),  # A3.4
    ("c", "#include <rfftw.h>\n", INCLUDE, HERE, {}),
    ("c", "#include <fftw3.h>#include <rfftw.h>\n", HERE, HERE, {}),
    ("c", '#include "lapacke.h"\n', INCLUDE, HERE, {}),  # A3.9
    ("c", "# include <openblas/cblas.h>\n", INCLUDE, HERE, {}),
    ("c", "#include <petscksp.h>\n", INCLUDE, HERE, {}),
    ("c", "#include <gsl/span>\n", HERE, INCLUDE, {}),  # Microsoft's
    ("c", "#include <gsl.h>\n", HERE, INCLUDE, {}),
    ("c", "// #include <blas.h>\n", HERE, INCLUDE, {}),
    ("c", "#include <math.h>\nint main(void) {}\n", INCLUDE, INCLUDE, {}),
    ("c", "#include <cblas.h>\nint a[] = {1,2,3,4,5,6,7,8,9," + "10," * 90, "mostly digits", "mostly digits", {}),
    ("c", "\n", "empty", "empty", {}),
    # --- C++
    ("cpp", "#include <Eigen/Dense>\n", HERE, HERE, {}),
    ("cpp", "#include <armadillo>\n", HERE, HERE, {}),
    ("cpp", "#include <boost/math/special_functions.hpp>\n", HERE, HERE, {}),
    ("cpp", "#include <boost/rational.hpp>\n#include <NTL/ZZ.h>\n", HERE, HERE, {}),
    ("cpp", "#include <boost/asio.hpp>\n", HERE, INCLUDE, {}),  # A3.9
    ("cpp", "#include <boost/randomize.hpp>\n", HERE, INCLUDE, {}),
    ("cpp", '#include "Eigen/Core"\n', INCLUDE, HERE, {}),
    ("cpp", "#include <unsupported/Eigen/FFT>\n", INCLUDE, HERE, {}),
    ("cpp", "#include <mtl_window.h>\n", HERE, INCLUDE, {}),
    ("cpp", "#include <vector>\n", INCLUDE, INCLUDE, {}),
    ("cpp", "// Eigen is not used\n", INCLUDE, INCLUDE, {}),
    ("cpp", "#include <Eigen/Dense>\n" + "x1" * 9, "mostly digits", "mostly digits", {}),
    # --- Fortran, Idris, Agda, GAP: size and digits alone
    ("fortran", "      PROGRAM MAIN\n      END\n", HERE, HERE, {}),
    ("fortran", "c comment\n", HERE, HERE, {}),
    ("fortran", "end\n" + "x" * 1_048_571, HERE, HERE, {}),
    ("fortran", "end\n" + "x" * 1_048_572, "too large", "too large", {}),
    ("fortran", "1.0 2.0 3.0 4.0", "mostly digits", "mostly digits", {}),
    ("fortran", "", "empty", "empty", {}),
    ("idris", "module Main\n", HERE, HERE, {}),
    ("idris", "plus : Nat -> Nat -> Nat\n", HERE, HERE, {}),
    ("idris", "> literate : Type\n", HERE, HERE, {}),
    ("idris", "123 abc 4", "mostly digits", "mostly digits", {}),
    ("idris", "\u3000\u2003\n", "empty", "empty", {}),
    ("idris", "x" * 1_048_576, "too large", "too large", {}),
    ("agda", "open import Data.Nat\n_+_ : ℕ → ℕ → ℕ\n", HERE, HERE, {}),
    ("agda", "data ⊥ : Set where\n", HERE, HERE, {}),
    ("agda", "ℕ" * 10 + "1" * 10, HERE, HERE, {}),  # characters, not bytes: half are digits
    ("agda", "ℕ" * 10 + "1" * 11, "mostly digits", "mostly digits", {}),
    ("agda", "ℕ" * 349_526, "too large", "too large", {}),  # bytes, not characters
    ("agda", "\x85\xa0\u2028", "empty", "empty", {}),
    ("gap", "G := SymmetricGroup(5);\n", HERE, HERE, {}),
    ("gap", 'DeclareOperation( "Size", [ IsGroup ] );\n', HERE, HERE, {}),
    ("gap", "gap> Order(G);\n120\n", HERE, HERE, {}),
    ("gap", "[1,2,3,4,5]", HERE, HERE, {}),  # 5 of 11
    ("gap", "[12,34,56]", "mostly digits", "mostly digits", {}),
    ("gap", "", "empty", "empty", {}),
    ("gap", "x" * 1_048_576, "too large", "too large", {}),
    # --- Maple
    ("maple", "f := x -> x^2;\n", HERE, HERE, {}),
    ("maple", "int(sin(x), x);\n", HERE, HERE, {}),
    ("maple", "x" * 100_000, HERE, HERE, {}),
    ("maple", "x" * 100_001, "too large", "too large", {}),
    ("maple", "<?xml version='1.0'?><Worksheet/>", "starts with <?xml", "starts with <?xml", {}),
    ("maple", "\n<?xml version='1.0'?><Worksheet/>", HERE, "starts with <?xml", {}),
    ("maple", "0", "mostly digits", "mostly digits", {}),
    # --- Haskell
    ("haskell", "import Numeric.LinearAlgebra\n", HERE, HERE, {}),
    ("haskell", "import qualified Data.Complex as C\n", HERE, HERE, {}),
    ("haskell", "import Statistics.Distribution (mean)\n", HERE, HERE, {}),
    ("haskell", "import safe Data.Complex\n", IMPORT, HERE, {}),
    ("haskell", 'import "statistics" Statistics.Sample\n', IMPORT, HERE, {}),
    ("haskell", "> import Data.Complex\n", HERE, HERE, {}),
    ("haskell", "-- import Data.Complex\n", HERE, IMPORT, {}),
    ("haskell", "import DataXComplex\n", HERE, IMPORT, {}),  # the dot matches anything
    ("haskell", "import StatisticsOfMine\n", HERE, IMPORT, {}),
    ("haskell", "import Data.List\n", IMPORT, IMPORT, {}),
    ("haskell", "module Numeric.LinearAlgebra where\n", IMPORT, IMPORT, {}),
    ("haskell", "", "empty", "empty", {}),
    # --- TeX
    ("tex", "\\section{One}\n" + ENGLISH, HERE, HERE, {"path": "a/paper.tex"}),
    ("tex", "\\subsubsection*{One}\n" + ENGLISH, HERE, HERE, {}),
    ("tex", "\\chapter{One}\n" + ENGLISH, HERE, HERE, {"path": "latex.tex"}),
    ("tex", "\\section[Short]{One}\n" + ENGLISH, "no section", HERE, {}),
    ("tex", "\\paragraph*{One}\n" + ENGLISH, "no section", HERE, {}),
    ("tex", "\\section{One}\nFigures by gnuplot. " + ENGLISH, "gnuplot", HERE, {}),
    ("tex", "% GNUPLOT: LaTeX picture with Postscript\n\\section{One}\n" + ENGLISH, HERE, "gnuplot", {}),
    ("tex", "\\section{One}\n" + ENGLISH, "excluded path", HERE, {"path": "notes-latex/a.tex"}),
    ("tex", "\\section{One}\n" + ENGLISH, "excluded path", "excluded path", {"path": "doc/latex/a.tex"}),
    ("tex", "\\section{One}\n" + ENGLISH, "another ending", HERE, {"path": "A.TEX"}),
    ("tex", "\\section{One}\n" + ENGLISH, "another ending", "another ending", {"path": "a.sty"}),
    ("tex", "\\section{Un}\n" + FRENCH, "another language", "another language", {}),
    ("tex", ENGLISH, "no section", "no section", {}),
    ("tex", "\\section{One}\n" + "x" * 10_000_000, "too large", "too large", {}),
    # --- Coq
    ("coq", "Theorem t : True. Proof. exact I. Qed.\n", HERE, HERE, {}),
    ("coq", "Inductive nat := O | S (n : nat).\n", HERE, HERE, {}),
    ("coq", "Fixpoint f (n : nat) := n.\n", HERE, HERE, {}),
    ("coq", "Definition rewire := 1.\n", "Verilog", HERE, {}),  # A3.7
    ("coq", "(* a wire joins two nodes *)\nDefinition a := b.\n", "Verilog", HERE, {}),
    ("coq", "Lemma l : True.\nAdmitted.\n", "no Coq", HERE, {}),
    ("coq", "module MyDefinition(input a); wire b; endmodule\n", "Verilog", "no Coq", {}),
    ("coq", "// Definition of the bus\nmodule m(a, b);\n", HERE, "Verilog", {}),
    ("coq", "// Definition\n  wire [3:0] x;\nendmodule\n", "Verilog", "Verilog", {}),
    ("coq", "// Definition\nalways @(posedge clk)\n", "Verilog", "Verilog", {}),
    ("coq", "(* This file was automatically generated *) Definition a := b.", "generated", "generated", {}),
    ("coq", "Require Import List.\n", "no Coq", "no Coq", {}),
    # --- Isabelle
    ("isabelle", 'lemma foo: "x = x" by simp\n', HERE, HERE, {"repository": "isa/mirror-afp-devel"}),
    ("isabelle", 'theorem "x = x"\n  by simp\n', HERE, HERE, {}),
    ("isabelle", "lemma (in group) one: True ..\n", HERE, HERE, {"repository": "mirror-afp"}),
    ("isabelle", 'lemma\n  foo: "x = x"\n', "no theorem", HERE, {}),
    ("isabelle", 'corollary c: "x = x"\n', "no theorem", HERE, {}),
    ("isabelle", "dilemma of mine\n", HERE, "no theorem", {}),
    ("isabelle", "lemma x: True\n", "excluded repository", "excluded repository", {"repository": "o/mirror-afp-2021"}),
    ("isabelle", "lemma x: True\n", "excluded repository", HERE, {"repository": "o/mirror-afp-2nd"}),
    ("isabelle", "theory A imports Main begin end", "no theorem", "no theorem", {}),
    ("isabelle", "", "empty", "empty", {}),
    # --- Lean
    ("lean", "theorem t : True := trivial\n", HERE, HERE, {"path": "Mathlib/A.lean"}),
    ("lean", "lemma l : true := trivial\n", HERE, HERE, {"repository": "leanprover-community/mathlib"}),
    ("lean", "example : 1 = 1 := rfl\n", HERE, HERE, {}),
    ("lean", "theorem\n  t : True := trivial\n", "no theorem", HERE, {}),
    ("lean", "-- a dilemma of mine\n", HERE, "no theorem", {}),
    (
        "lean",
        "theorem t : true := trivial\n",
        "excluded repository",
        "excluded repository",
        {"repository": "o/miniF2F"},
    ),
    ("lean", "theorem t : true := trivial\n", HERE, "excluded repository", {"repository": "o/miniF2F-lean4"}),
    ("lean", "theorem t : true := trivial\n", HERE, "excluded repository", {"repository": "o/proofnet"}),
    ("lean", "theorem t : true := trivial\n", "excluded path", "excluded path", {"path": "_target/deps/m/a.lean"}),
    ("lean", "theorem t : True := trivial\n", HERE, "excluded path", {"path": "x/.lake/packages/m/a.lean"}),
    ("lean", "def f := 1\n", "no theorem", "no theorem", {}),
    # --- MATLAB
    ("matlab", "x = linspace(0, 1, 11);\nplot(x, sin(x));\n", HERE, HERE, {}),
    ("matlab", "function y = f(x)\ny = x.^2;\nend\n", HERE, HERE, {}),
    ("matlab", "% the main(function) {\n% is there\n", HERE, HERE, {}),
    ("matlab", "int main(int argc) {\n  return argc;\n}\n", HERE, "C", {}),  # A3.7
    ("matlab", "int main(int argc) {", "C", "C", {}),
    ("matlab", "int main(int argc) {  \nx", HERE, "C", {}),
    ("matlab", "#include <stdio.h>\n", "C", "C", {}),
    ("matlab", "#import <Foundation/Foundation.h>\n", "Objective-C", "Objective-C", {}),
    ("matlab", "@interface A : NSObject\n", "Objective-C", "Objective-C", {}),
    ("matlab", "(* Mathematica *) f[x_] := x\n", HERE, "starts with (*", {}),
    ("matlab", "", HERE, "empty", {}),  # A3.10
]


def document(text: str, meta: dict[str, str]) -> Document:
    return Document(id="file", text=text, source="test", meta=meta)


def reason(language: str, profile: str, text: str, meta: dict[str, str]) -> str:
    return code_filter.apply(code_filter.rule(language, profile), document(text, meta)).reason or HERE


@pytest.mark.parametrize(
    ("language", "text", "llemma", "fixed", "meta"), SNIPPETS, ids=[f"{row[0]}-{row[1][:16]!r}" for row in SNIPPETS]
)
def test_what_becomes_of_a_snippet(language, text, llemma, fixed, meta):
    assert (reason(language, "llemma", text, meta), reason(language, "fixed", text, meta)) == (llemma, fixed)


def test_every_language_has_enough_snippets_of_either_kind():
    assert len(code_filter.languages()) == 17
    for language in code_filter.languages():
        for profile in range(2):
            kept = [row for row in SNIPPETS if row[0] == language and row[2 + profile] == HERE]
            refused = [row for row in SNIPPETS if row[0] == language and row[2 + profile] != HERE]
            assert len(kept) >= 3 and len(refused) >= 3, (language, profile)


def test_every_reason_of_the_table_is_met():
    met = {(row[0], row[2 + profile]) for row in SNIPPETS for profile in range(2)}
    for language in code_filter.languages():
        for profile in code_filter.PROFILES:
            rule = code_filter.rule(language, profile)
            for marks in (*rule.require, *rule.forbid):
                assert (language, marks.reason) in met


def test_every_name_of_an_import_and_an_include_counts():
    for name in code_filter.rule("python").require[0].names:
        for profile in code_filter.PROFILES:
            for text in (f"import {name}\n", f"from {name}.x import y\n", f"import {name} as x, os\n"):
                assert reason("python", profile, text, {}) == HERE
    llemma = code_filter.rule("cpp").require[0]
    for name in llemma.names:
        assert reason("cpp", "llemma", f"#include <{name}>", {}) == HERE


# --- the plain definition


def plain_occurs(marks: code_filter.Marks, text: str) -> bool:
    text = text.lower() if marks.fold_case else text
    if any(one in text for one in (*marks.texts, *(head + name for head in marks.after for name in marks.names))):
        return True
    for pattern in marks.patterns:
        if pattern.line:
            starts = [0, *(m.end() for m in re.finditer("\n", text))]
            here = [s for s in starts if pattern.at in text[s:].partition("\n")[0]]
        else:
            here = [m.start() for m in re.finditer(f"(?={re.escape(pattern.at)})", text)]
        if any(re.compile(pattern.regex).match(text, place) for place in here):
            return True
    return False


def plain_verdict(rule: code_filter.CodeRule, text: str) -> bool:
    """The rule by its definition, for what does not depend on paths, languages and notebooks."""
    size = len(text.encode("utf-8", "surrogatepass"))
    solid = "".join(text.split())
    share = sum(c in string.digits for c in solid) / max(1, len(solid))
    begin = text.lstrip() if rule.stripped else text
    begin = begin.removeprefix("\ufeff").lstrip() if rule.stripped == "mark" else begin
    enough = not rule.large.from_bytes or size < rule.large.from_bytes
    return (
        (not rule.max_bytes or size <= rule.max_bytes)
        and len(text) >= rule.min_chars
        and (bool(solid) or rule.blank == "kept")
        and share <= rule.max_digits
        and not begin.startswith(rule.not_starting)
        and enough
        and all(plain_occurs(marks, text) for marks in rule.require)
        and not any(plain_occurs(marks, text) for marks in rule.forbid)
    )


JUDGED = [name for name in code_filter.languages() if name not in ("tex", "jupyter")]
FRAGMENTS = sorted(
    {piece for row in SNIPPETS if len(row[1]) < 400 for piece in re.findall(r"\w+|\s|[^\w\s]", row[1])}
    | {"import ", "from ", "#include <", '#include "', "\n", " ", "\u3000", "\xa0", "12345", "theorem ", "\ufeff"}
)
texts = st.one_of(
    st.text(st.characters(), max_size=60),
    st.lists(st.sampled_from(FRAGMENTS), max_size=40).map("".join),
    st.lists(st.sampled_from([row[1] for row in SNIPPETS if len(row[1]) < 400]), max_size=3).map("".join),
)


@pytest.mark.parametrize("language", JUDGED)
@settings(max_examples=150)
@given(text=texts)
@example(text="\ud800")
@example(text="a" * 9 + "1")
def test_the_fast_path_is_the_definition(language, text):
    for profile in code_filter.PROFILES:
        rule = code_filter.rule(language, profile)
        assert (code_filter.refusal(rule, text) is None) == plain_verdict(rule, text)


@pytest.mark.parametrize("language", code_filter.languages())
@settings(max_examples=60)
@given(text=st.one_of(texts, st.text(st.characters(), max_size=300)), path=st.text(max_size=20))
def test_no_text_and_no_path_stops_a_rule(language, text, path):
    for profile in code_filter.PROFILES:
        outcome = code_filter.apply(code_filter.rule(language, profile), document(text, {"path": path}))
        assert outcome.reason is None or outcome.reason


@settings(max_examples=300)
@given(
    text=st.text(
        st.sampled_from("019aZ@[\x7f\x80é \t\n\x0b\x1c\x1f\x85\xa0\u1680\u2003\u2028\u3000\ufeffℕ１𝟙"), max_size=80
    ),
    most=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.9]),
)
def test_the_share_of_digits(text, most):
    solid = "".join(text.split())
    share = sum(c in string.digits for c in solid) / len(solid) if solid else 0.0
    assert code_filter.digit_share(text) == share
    rule = replace(code_filter.rule("fortran"), max_digits=most)
    assert (code_filter.refusal(rule, text) == "mostly digits") == (bool(solid) and share > most)


def test_every_white_space_of_python_is_white_space():
    spaces = "".join(chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace())
    assert code_filter.digit_share("1" + spaces + "x") == 0.5
    assert code_filter.refusal(code_filter.rule("gap"), spaces) == "empty"


@pytest.mark.parametrize("text", ["import " * 60_000, "import a," * 40_000, ":" * 300_000 + "import", "wire " * 60_000])
def test_long_lines_take_linear_time(text):
    """A pattern that goes back over a line again and again would take hours for these."""
    for language in ("python", "coq", "c", "haskell", "matlab"):
        for profile in code_filter.PROFILES:
            code_filter.refusal(code_filter.rule(language, profile), text)


# --- names, endings, stages


def test_unknown_names():
    with pytest.raises(ConfigError, match="no code rule 'haskel'; did you mean haskell"):
        code_filter.rule("haskel")
    with pytest.raises(ConfigError, match="no code rules 'fix'"):
        code_filter.rule("python", "fix")


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b.py", "python"),
        ("a/B.R", "r"),
        ("x.jl", "julia"),
        ("x.h", "c"),
        ("x.HPP", "cpp"),
        ("x.lagda.md", "agda"),
        ("x.md", None),
        ("Makefile", None),
        ("x.gi", "gap"),
        ("x.v", "coq"),
    ],
)
def test_a_file_gets_the_rule_of_its_ending(path, language):
    assert code_filter.language_of(path) == language
    outcome = code_filter.stage("any")(document("Theorem x. theorem y\n", {"path": path}))
    assert (outcome.reason == "no language by its ending") == (language is None)


def test_no_two_languages_claim_an_ending():
    claimed = [one for name in code_filter.languages() for one in code_filter.rule(name).extensions]
    assert len(claimed) == len(set(claimed))


def test_the_columns_of_the_stack_are_known():
    rule = code_filter.rule("lean")
    meta: dict[str, Any] = {"max_stars_repo_path": "_target/deps/a.lean", "max_stars_repo_name": "o/miniF2F"}
    assert code_filter.apply(rule, document("lemma x", meta)).reason == "excluded path"
    assert code_filter.apply(rule, document("lemma x", {"repo_name": "miniF2F"})).reason == "excluded repository"


def test_a_notebook_becomes_text():
    text = notebook(("markdown", "# Waves\n\\begin{equation}a\\end{equation}"), ("code", "import sympy"))
    kept = code_filter.apply(code_filter.rule("jupyter"), document(text, {"path": "a.ipynb"})).document
    assert kept.text.startswith("# Waves\n") and "```" in kept.text and '"cells"' not in kept.text
    assert kept.meta["title"] == "Waves" and kept.meta["path"] == "a.ipynb"


# --- the original


@pytest.fixture(scope="module")
def original():
    checkout = os.environ.get("LLEMMA_MATH_LM")
    if not checkout:
        pytest.skip(
            "set LLEMMA_MATH_LM: git clone https://github.com/EleutherAI/math-lm ../math-lm && "
            "LLEMMA_MATH_LM=../math-lm pytest tests/test_code_rules.py"
        )
    sys.path.insert(0, str(BENCH))
    import _math_lm

    class Identifier:
        def classify(self, text: str) -> tuple[str, float]:
            return code_filter.identify(text, whole=True)

    return _math_lm.Original(Path(checkout), Identifier())


def test_the_original_says_the_same_of_every_snippet(original):
    for language, text, llemma, _, meta in SNIPPETS:
        path, repository = meta.get("path", "file.tex"), meta.get("repository", "").rpartition("/")[2]
        kept = llemma == HERE or (language == "jupyter" and llemma == "no notebook")  # which it finds out later
        assert bool(original.keeps(language, text, path, repository)) == kept, (language, text[:80])


@pytest.mark.parametrize("language", [name for name in code_filter.languages() if name != "tex"])
@settings(max_examples=100)
@given(text=texts)
def test_the_original_says_the_same_of_any_text(original, language, text):
    if max(text, default="") >= "\ud800" and any("\ud800" <= c <= "\udfff" for c in text):
        return  # it cannot encode these
    reason = code_filter.refusal(code_filter.rule(language), text)
    kept = reason is None or reason == "no notebook"
    assert bool(original.keeps(language, text, "file", "")) == kept


def test_the_bench_judges_beside_the_original(original, tmp_path):
    """It ends well, counts every file once, and says what profile fixed changes."""
    for n, text in enumerate(("import numpy\n", "import numpy, sys\n", "import sys, numpy\n", "x = 1\n")):
        (tmp_path / f"f{n}.py").write_text(text)
    (tmp_path / "a.lean").write_text("theorem t : True := trivial\n\ntheorem Space.u : True := trivial\n")
    command = [sys.executable, str(BENCH / "code_filter.py"), f"folders={tmp_path}", "rounds=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "| python | 4 | 0.0 | 2 | 0 |" in done.stdout
    assert "1 × fixed keeps what llemma refuses (no mathematical import)" in done.stdout
    assert "5 files judged by both, 0 verdicts differ" in done.stdout

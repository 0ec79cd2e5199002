"""The toy prover: what it proves is true, what is true it can prove, and no text fools its check."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llemma.errors import DataError
from llemma.provers import open_prover, state_key
from llemma.provers.toy import formula as f
from llemma.provers.toy import kernel as k
from llemma.provers.toy import read, script
from llemma.provers.toy.farkas import refute
from llemma.records import Failure, ProofState, Theorem

toy = open_prover("toy")


def theorem(statement: str, name: str = "t") -> Theorem:
    return Theorem(name=name, statement=f"theorem {name} : {statement}")


def run(statement: str, *tactics: str) -> ProofState | Failure:
    state = toy.start(theorem(statement))
    for tactic in tactics:
        assert isinstance(state, ProofState), state
        state = toy.apply(state, tactic)
    return state


names = st.sampled_from(["p", "q", "r"])
sums = st.dictionaries(st.sampled_from(["x", "y", "z"]), st.fractions(-5, 5, max_denominator=4), max_size=3)
linear = st.builds(f.linear, st.sampled_from(["<=", "<", "=", ">", ">="]), sums, st.fractions(-9, 9, max_denominator=5))
propositions = st.recursive(
    names.map(f.Atom) | st.booleans().map(f.Truth),
    lambda inner: st.builds(f.Pair, st.sampled_from(["&", "|", "->"]), inner, inner),
    max_leaves=8,
)
formulas = st.recursive(
    linear | names.map(f.Atom),
    lambda inner: st.builds(f.Pair, st.sampled_from(["&", "|", "->"]), inner, inner),
    max_leaves=6,
)


@given(formulas | propositions)
def test_a_formula_is_read_back_as_it_was_printed(formula):
    assert f.parse(f.show(formula)) == formula


def true_in(formula: f.Formula, world: dict[str, bool]) -> bool:
    if isinstance(formula, f.Atom):
        return world[formula.name]
    if isinstance(formula, f.Truth):
        return formula.value
    assert isinstance(formula, f.Pair)
    left, right = true_in(formula.left, world), true_in(formula.right, world)
    return {"&": left and right, "|": left or right, "->": not left or right}[formula.connective]


def valid(formula: f.Formula) -> bool:
    worlds = itertools.product([False, True], repeat=3)
    return all(true_in(formula, dict(zip("pqr", world, strict=True))) for world in worlds)


def truth_table(formula: f.Formula, world: dict[str, bool]) -> list[str]:
    """A proof of a tautology: cases over the variables, then the side of each disjunction that holds there."""
    unknown = next((name for name in "pqr" if name not in world), None)
    if unknown is not None:
        branches = [truth_table(formula, {**world, unknown: value}) for value in (True, False)]
        return [f"by_cases case_{unknown} : {unknown}", *branches[0], *branches[1]]
    return holds(formula, world)


def holds(formula: f.Formula, world: dict[str, bool]) -> list[str]:
    """A proof of a formula that is true in a world whose variables are decided by hypotheses."""
    if isinstance(formula, f.Pair) and formula.connective == "&":
        return ["split", *holds(formula.left, world), *holds(formula.right, world)]
    if isinstance(formula, f.Pair) and formula.connective == "|":
        left = true_in(formula.left, world)
        return ["left" if left else "right", *holds(formula.left if left else formula.right, world)]
    if isinstance(formula, f.Pair) and true_in(formula.right, world) and formula.right != f.FALSE:
        return ["intro", *holds(formula.right, world)]
    if isinstance(formula, f.Pair):
        return ["intro hyp", "exfalso", *fails(formula.left, "hyp", world)]
    return ["trivial"]


def fails(formula: f.Formula, name: str, world: dict[str, bool]) -> list[str]:
    """A proof of False from a hypothesis that is false in the world."""
    if isinstance(formula, f.Pair) and formula.connective == "&":
        if not true_in(formula.left, world):
            return [
                f"have {name}a : {f.show(formula.left)}",
                f"cases {name}",
                f"exact {name}",
                *fails(formula.left, f"{name}a", world),
            ]
        return [
            f"have {name}a : {f.show(formula.right)}",
            f"cases {name}",
            f"exact {name}1",
            *fails(formula.right, f"{name}a", world),
        ]
    if isinstance(formula, f.Pair) and formula.connective == "|":
        return [f"cases {name}", *fails(formula.left, name, world), *fails(formula.right, name, world)]
    if isinstance(formula, f.Pair):
        arrive = [f"have {name}b : {f.show(formula.right)}", f"apply {name}", *holds(formula.left, world)]
        return [*arrive, *fails(formula.right, f"{name}b", world)]
    return ["trivial"]


@settings(max_examples=150)
@given(propositions)
def test_every_tautology_has_a_proof_and_nothing_else_has(formula):
    proof = truth_table(formula, {}) if valid(formula) else truth_table_of_a_guess()
    assert toy.check(theorem(f.show(formula)), script(proof)).proved == valid(formula)


def truth_table_of_a_guess() -> list[str]:
    return ["by_cases case_p : p", "auto", "auto"]


@settings(max_examples=300)
@given(propositions)
def test_auto_proves_nothing_false(formula):
    proved = toy.check(theorem(f.show(formula)), "auto").proved
    assert not proved or valid(formula)


CLASSICAL = {
    "p | ~p": ["by_cases h : p", "left", "exact h", "right", "exact h"],
    "((p -> q) -> p) -> p": [
        "intro h",
        "by_cases c : p",
        "exact c",
        "apply h",
        "intro hp",
        "exfalso",
        "apply c",
        "exact hp",
    ],
    "~(p & q) -> ~p | ~q": [
        "intro h",
        "by_cases c : p",
        "right",
        "intro hq",
        "apply h",
        "split",
        "trivial",
        "trivial",
        "left",
        "trivial",
    ],
    "p & (q | r) -> (p & q) | (p & r)": ["intro h", "cases h", "cases h1", "left", "auto", "right", "auto"],
    "(p -> q) -> (~q -> ~p)": ["intro h", "intro n", "intro hp", "apply n", "apply h", "exact hp"],
    "(x = 2 * y & y < 3) -> x < 6": ["auto"],
    "x <= y -> y <= x -> x = y": ["intros", "linarith"],
    "(p -> q) & p -> q": ["intro h", "cases h", "apply h", "exact h1"],
    "~False": ["intro h", "cases h"],
    "p -> (q -> p & q)": ["intros", "have c : p & q", "split", "exact h", "exact h1", "exact c"],
}


@pytest.mark.parametrize("statement", CLASSICAL)
def test_proofs_are_accepted_by_the_kernel(statement):
    state = run(statement, *CLASSICAL[statement])
    assert isinstance(state, ProofState) and state.goals == ()
    verdict = toy.check(theorem(statement), script(state.tactics))
    assert verdict.proved and [layer.name for layer in verdict.layers] == ["name", "statement", "tactics", "kernel"]
    assert verdict.axioms == (("excluded_middle",) if "by_cases" in str(CLASSICAL[statement]) else ())


@pytest.mark.parametrize("statement", CLASSICAL)
def test_a_proof_cut_short_or_made_longer_is_refused(statement):
    proof = CLASSICAL[statement]
    for text in (proof[:-1], [*proof, "trivial"], []):
        assert not toy.check(theorem(statement), script(text)).proved


facts = st.lists(linear, min_size=1, max_size=6)


@pytest.mark.slow
@settings(max_examples=200)
@given(facts, st.fixed_dictionaries({name: st.fractions(-9, 9, max_denominator=3) for name in "xyz"}))
def test_comparisons_that_hold_somewhere_are_not_refuted(found, point):
    def holds(fact: f.Linear) -> bool:
        left = sum((c * point[name] for name, c in fact.terms), Fraction(0))
        return {"<=": left <= fact.bound, "<": left < fact.bound, "=": left == fact.bound}[fact.comparison]

    if all(map(holds, found)):
        assert refute(found) is None


@settings(max_examples=200)
@given(facts)
def test_a_refutation_is_a_proof_for_the_kernel(found):
    weights = refute(found)
    if weights is not None:
        known = {f"h{i}": fact for i, fact in enumerate(found)}
        term = k.Farkas(tuple((w, k.Use(f"h{i}")) for i, w in enumerate(weights)))
        assert k.check(term, f.FALSE, known) == frozenset()


WRONG_TERMS = [
    (k.Use("h"), f.Atom("p"), {}),
    (k.Use("h"), f.Atom("p"), {"h": f.Atom("q")}),
    (k.Obvious(), f.Atom("p"), {}),
    (k.Assume("h", k.Use("h")), f.Pair("->", f.Atom("p"), f.Atom("q")), {}),
    (k.Both(k.Use("h"), k.Use("h")), f.Pair("&", f.Atom("p"), f.Atom("q")), {"h": f.Atom("p")}),
    (k.Farkas(((Fraction(-1), k.Use("h")),)), f.FALSE, {"h": f.linear("<=", {}, Fraction(1))}),
    (k.Farkas(((Fraction(1), k.Use("h")),)), f.FALSE, {"h": f.linear("<=", {"x": Fraction(1)}, Fraction(-1))}),
    (k.Farkas(()), f.FALSE, {}),
    (k.Farkas((), Fraction(-1)), f.linear("<=", {}, Fraction(-1)), {}),
]


@pytest.mark.parametrize(("term", "goal", "known"), WRONG_TERMS)
def test_the_kernel_refuses(term, goal, known):
    with pytest.raises(k.KernelError):
        k.check(term, goal, known)


@pytest.mark.parametrize(
    ("tactic", "kind"),
    [("sorry", "forbidden"), ("qed", "forbidden"), ("", "forbidden"), ("intro h\ntrivial", "forbidden"),
     ("trivial trivial", "forbidden"), ("exact h2", "error"), ("split", "error"), ("have h : (((", "error")],
)  # fmt: skip
def test_a_failure_says_what_kind_it_is(tactic, kind):
    state = run("p -> q", "intro h")
    failed = toy.apply(state, tactic)
    assert isinstance(failed, Failure) and failed.kind == kind and failed.message


def test_a_state_stays_valid_and_its_key_tells_states_apart():
    state = run("p & q -> q & p", "intro h")
    one, two = toy.apply(state, "cases h"), toy.apply(state, "split")
    assert state_key(one) != state_key(two) and toy.apply(state, "cases h") == one


FILE = """-- lemmas of one's own
theorem swap : p & q -> q & p
proof
  auto
qed

theorem t : p & q -> q & p
proof
  exact swap
qed
"""


def test_a_file_may_use_its_own_lemmas():
    assert toy.check_file(theorem("p & q -> q & p"), FILE).proved


@pytest.mark.parametrize(
    ("change", "layer"),
    [(("theorem t : p & q -> q & p", "theorem t : True"), "statement"), (("  auto\n", ""), "tactics"),
     (("theorem t", "theorem u"), "name"), (("exact swap", "exact t"), "tactics"), (("\nqed\n\nth", "\nth"), "name"),
     (("  auto", "  sorry"), "gate"), (("swap : p", "t : p"), "name")],
)  # fmt: skip
def test_a_file_that_does_not_prove_the_theorem_is_refused(change, layer):
    verdict = toy.check_file(theorem("p & q -> q & p"), FILE.replace(*change))
    assert not verdict.proved and next(each.name for each in verdict.layers if not each.ok) == layer


def test_a_file_is_read_with_its_lines():
    assert [each.statement for each in read(FILE, "x")] == [
        "theorem swap : p & q -> q & p",
        "theorem t : p & q -> q & p",
    ]
    with pytest.raises(DataError, match="x:3: expected"):
        read("theorem a : p\n\nlemma b : q\n", "x")


@pytest.mark.parametrize(
    "text", ["p &", "(p", "p q", "1 + 2", "x + 1", "~" * 300 + "p", "(" * 300 + "p", "p § q", "1/0 = x"]
)
def test_what_is_no_formula_is_refused_by_start(text):
    failed = toy.start(theorem(text))
    assert isinstance(failed, Failure) and failed.message
    assert not toy.check(theorem(text), "trivial").proved

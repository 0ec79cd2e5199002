"""Identities of truth values, proved by cases: the tactics come from following Coq's own reduction."""

from __future__ import annotations

from random import Random
from typing import Union

from llemma.sources.proofs.base import Draft, Family

# A term: a variable's name, "true", "false", or (function, arguments…).
Term = Union[str, "tuple[str, ...]", tuple]  # type: ignore[type-arg]

LONGEST = 20
_ARITY = {"negb": 1, "andb": 2, "orb": 2, "xorb": 2}
_NAMES = ("a b c", "p q r", "x y z", "b c d", "u v w", "s t u", "b1 b2 b3")


def text(term: Term) -> str:
    """The term as Coq reads it."""
    if isinstance(term, str):
        return term
    return " ".join((term[0], *(t if isinstance(t, str) else f"({text(t)})" for t in term[1:])))


def reduced(term: Term) -> Term:
    """The normal form: Coq's functions look at their first argument, xorb at the second after the first."""
    if isinstance(term, str):
        return term
    name, *arguments = term
    a, *rest = (reduced(argument) for argument in arguments)
    if name == "negb":
        return {"true": "false", "false": "true"}.get(a, (name, a)) if isinstance(a, str) else (name, a)
    b = rest[0]
    if name == "andb" and a in ("true", "false"):
        return b if a == "true" else "false"
    if name == "orb" and a in ("true", "false"):
        return "true" if a == "true" else b
    if name == "xorb" and a in ("true", "false") and b in ("true", "false"):
        return "true" if a != b else "false"
    return (name, a, b)


def variables(term: Term) -> list[str]:
    """The variables, from left to right, each once."""
    if isinstance(term, str):
        return [] if term in ("true", "false") else [term]
    return list(dict.fromkeys(v for argument in term[1:] for v in variables(argument)))


def put(term: Term, name: str, value: str) -> Term:
    """The term with a value for a variable."""
    if isinstance(term, str):
        return value if term == name else term
    return (term[0], *(put(argument, name, value) for argument in term[1:]))


def cases(left: Term, right: Term) -> list[str] | None:
    """The tactics that prove ``left = right`` by splitting variables until both sides reduce to the same."""
    left, right = reduced(left), reduced(right)
    if left == right:
        return ["reflexivity."]
    free = list(dict.fromkeys([*variables(left), *variables(right)]))
    if not free:
        return None
    tactics = [f"destruct {free[0]}."]
    for value in ("true", "false"):
        found = cases(put(left, free[0], value), put(right, free[0], value))
        if found is None:
            return None
        tactics += found
    return tactics


def _random(rng: Random, names: list[str], size: int) -> Term:
    if size == 0:
        return rng.choice([*names, *names, "true", "false"])
    name = rng.choices(tuple(_ARITY), weights=(3, 4, 4, 1))[0]
    if _ARITY[name] == 1:
        return (name, _random(rng, names, size - 1))
    left = rng.randrange(size)
    return (name, _random(rng, names, left), _random(rng, names, size - 1 - left))


def _equal(left: Term, right: Term) -> bool:
    free = list(dict.fromkeys([*variables(left), *variables(right)]))
    if not free:
        return reduced(left) == reduced(right)
    return all(_equal(put(left, free[0], v), put(right, free[0], v)) for v in ("true", "false"))


def _identity(rng: Random) -> Draft | None:
    """Two random terms of equal tables."""
    names = rng.choice(_NAMES).split()[: rng.choice((1, 2, 2, 3))]
    left = _random(rng, names, rng.choice((1, 2, 3, 4)))
    for _ in range(30):
        right = _random(rng, names, rng.choice((0, 1, 2, 3)))
        if right != left and _equal(left, right):
            break
    else:
        return None
    free = list(dict.fromkeys([*variables(left), *variables(right)]))
    tactics = cases(left, right)
    if not free or tactics is None or len(tactics) > LONGEST:
        return None
    head = f"forall {' '.join(sorted(free))} : bool, "
    return Draft(family="truth values", statement=f"{head}{text(left)} = {text(right)}", tactics=("intros.", *tactics))


def _conditional(rng: Random) -> Draft | None:
    """``if`` over a truth value, with numbers or lists in its branches."""
    b, n, m = rng.choice((("b", "n", "m"), ("c", "x", "y"), ("a", "i", "j"), ("p", "u", "v"), ("t", "k", "l")))
    kind, left, right = rng.choice(
        (
            ("nat", f"(if {b} then {n} + {m} else {m} + {n})", f"{n} + {m}"),
            ("nat", f"(if {b} then S {n} else S {m})", f"S (if {b} then {n} else {m})"),
            ("nat", f"(if {b} then {n} else {m}) + 1", f"(if {b} then {n} + 1 else {m} + 1)"),
            ("Z", f"(if negb {b} then {n} else {n})", n),
            ("list nat", f"(if negb (negb {b}) then {n} else {m})", f"(if {b} then {n} else {m})"),
            ("Z", f"(if andb {b} {b} then {n} else {m})", f"(if {b} then {n} else {m})"),
            ("bool", f"(if {b} then true else false)", b),
            ("bool", f"(if {b} then false else true)", f"negb {b}"),
        )
    )
    if rng.random() < 0.3:
        left, right = right, left
    free = [name for name in (n, m) if f" {name} " in f" {left} {right} ".replace("(", " ").replace(")", " ")]
    more = f" ({' '.join(free)} : {kind})" if free else ""
    cases_ = ["lia.", "lia."] if kind == "nat" else ["reflexivity."] * 2
    return Draft(
        family="conditional",
        statement=f"forall ({b} : bool){more}, {left} = {right}",
        tactics=("intros.", f"destruct {b}.", *cases_),
    )


_EITHER = ("reflexivity.", "discriminate.")
_SAYS = (  # given, its value, what it says of which variable, how a split of a (and of b) ends
    ("andb {a} {b}", "true", "{b} = true", ("assumption.", "discriminate.")),
    ("orb {a} {b}", "false", "{a} = false", _EITHER[::-1]),
    ("orb {a} {b}", "false", "{b} = false", ("discriminate.", "assumption.")),
    ("andb (negb {a}) {b}", "true", "{a} = false", _EITHER[::-1]),
    ("andb (negb {a}) {b}", "true", "{b} = true", ("discriminate.", "assumption.")),
    ("andb {a} (andb {b} {c})", "true", "{a} = true", _EITHER),
    ("andb {a} (andb {b} {c})", "true", "{b} = true", ("destruct {b}.", *_EITHER, "discriminate.")),
    (
        "andb {a} (andb {b} {c})",
        "true",
        "{c} = true",
        ("destruct {b}.", "assumption.", "discriminate.", "discriminate."),
    ),
    ("orb {a} (orb {b} {c})", "false", "{b} = false", ("discriminate.", "destruct {b}.", *_EITHER[::-1])),
    (
        "orb {a} (orb {b} {c})",
        "false",
        "{c} = false",
        ("discriminate.", "destruct {b}.", "discriminate.", "assumption."),
    ),
    ("negb (orb {a} {b})", "true", "{a} = false", _EITHER[::-1]),
    ("negb (orb {a} {b})", "true", "{b} = false", ("discriminate.", "destruct {b}.", *_EITHER[::-1])),
    ("negb {a}", "true", "{a} = false", _EITHER[::-1]),
    ("negb {a}", "false", "{a} = true", _EITHER),
)


def _implication(rng: Random) -> Draft | None:
    """What a truth value of a term says about a part of it."""
    names = dict(zip("abc", rng.choice(_NAMES).split(), strict=True))
    given, value, goal, closing = rng.choice(_SAYS)
    free = " ".join(names[letter] for letter in "abc" if f"{{{letter}}}" in given)
    return Draft(
        family="truth implies",
        statement=f"forall {free} : bool, {given} = {value} -> {goal}".format(**names),
        tactics=("intros.", *(tactic.format(**names) for tactic in ("destruct {a}.", *closing))),
    )


FAMILIES = (
    Family("truth values", 1.2, _identity),
    Family("conditional", 0.4, _conditional),
    Family("truth implies", 0.5, _implication),
)

"""Theorems by induction: laws of functions from a table, functions given by equations, properties that climb."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from random import Random
from typing import Any

from llemma.sources.proofs.base import Draft, Family

_KINDS = {
    "n": "nat",
    "m": "nat",
    "k": "nat",
    "j": "nat",
    "b": "bool",
    "l": "list nat",
    "r": "list nat",
    "f": "nat -> nat",
}
_NAMES = {
    "n": "n m k i j a p q", "m": "m k j b c p r u", "b": "b c d p", "l": "l s u v w", "r": "m r w k t",
    "x": "x y z v", "f": "f g h", "g": "q g p", "t": "t s u b", "k": "k c d w", "j": "i j v k z",
}  # fmt: skip


@functools.cache
def laws() -> Mapping[str, list[Mapping[str, Any]]]:
    """The tables of ``laws.toml``."""
    return tomllib.loads(resources.files(__package__).joinpath("laws.toml").read_text(encoding="utf-8"))


def _named(rng: Random, law: str) -> dict[str, str]:
    """A name for each letter of the law, all different; {k} is sometimes a numeral."""
    letters = list(dict.fromkeys(re.findall(r"\{(\w)\}", law)))
    found: dict[str, str] = {}
    for letter in letters:
        free = [name for name in _NAMES[letter].split() if name not in found.values()]
        found[letter] = rng.choice(free)
    if "k" in found and rng.random() < 0.7:
        found["k"] = str(rng.randint(2, 9))
    return found


def _head(names: Mapping[str, str], kinds: Mapping[str, str], law: str) -> str:
    """The quantifiers of a statement; a name bound by ``fun`` inside the law alone has none."""
    groups: dict[str, list[str]] = {}
    for letter, name in names.items():
        alone = re.sub(r"fun \{x\} =>(?:[^()]|\((?:[^()]|\([^()]*\))*\))*", "", law)
        if not name.isdigit() and f"{{{letter}}}" in alone:
            groups.setdefault(kinds.get(letter, _KINDS.get(letter, "nat")), []).append(name)
    parts = [f"({' '.join(group)} : {kind})" for kind, group in groups.items()]
    return f"forall {parts[0][1:-1] if len(parts) == 1 else ' '.join(parts)}, "


def _varied(rng: Random, law: str) -> str:
    """A law as it is, turned round, or with the same added on both sides."""
    left, equal, right = law.partition(" = ")
    draw = rng.random()
    if not equal or "->" in law or draw < 0.75:
        return law
    return f"{right} = {left}"


def drawn(rng: Random, kind: str) -> Draft:
    """A law of the table, with names drawn."""
    table = rng.choices(laws()[kind], weights=[len(t["laws"]) for t in laws()[kind]])[0]
    law = rng.choice(table["laws"])
    names = _named(rng, law)
    on = names[table["on"]]
    step = table["step"]
    text = _varied(rng, law) if "rewrite" not in step else law
    premises = ["intros."]
    tactics = [*premises, f"induction {on}.", *_sentences(f"{table['base']} {step}".format(**names, IH=f"IH{on}"))]
    statement = _head(names, table.get("kinds", {}), law) + text.format(**names)
    return Draft(family=f"induction on {kind}", statement=statement, tactics=tuple(tactics))


def _sentences(text: str) -> list[str]:
    return re.findall(r"\S.*?\.(?= |$)", text)


def _cases(rng: Random) -> Draft | None:
    """A function's value, taken apart."""
    table = rng.choice(laws()["cases"])
    law, value = rng.choice(table["laws"])
    names = _named(rng, law)
    tactics = _sentences(table["tactics"].format(F=value.format(**names)))
    statement = _head(names, {"b": "bool"}, law) + law.format(**names)
    return Draft(family="values", statement=statement, tactics=("intros.", *tactics))


_SMALL = ("n m", "k j", "m i", "i j", "a b", "x y")


def _equations(rng: Random) -> Draft | None:
    """Functions on numbers given by two equations, and what follows by induction."""
    f, g = rng.choice((("f", "g"), ("g", "h"), ("h", "f"), ("u", "v"), ("s", "t")))
    n, i = rng.choice(_SMALL).split()
    p, q = rng.randint(1, 6), rng.randint(1, 6)
    after = rng.choice((f"{f} {n} + {p}", f"{p} + {f} {n}", f"S ({f} {n})", f"{f} {n} + {n}", f"{p} * {f} {n}",
                        f"{f} {n} * {p}", f"{f} {n} + {n} + {p}", f"2 * {f} {n} + {p}"))  # fmt: skip
    after_g = after.replace(f"{f} {n}", f"{g} {n}")
    draw = rng.randrange(4)
    if draw == 0:  # two functions with the same equations
        premises = [f"{f} 0 = {g} 0", f"(forall {n}, {f} (S {n}) = {after})", f"(forall {n}, {g} (S {n}) = {after_g})"]
        goal = f"forall {i}, {f} {i} = {g} {i}"
        tactics = [f"induction {i}.", "assumption.", "rewrite H0.", "rewrite H1.", f"rewrite IH{i}.", "reflexivity."]
        kind, head = "nat -> nat", f"forall {f} {g} : nat -> nat, "
    elif draw == 1:  # a closed form
        premises = [f"{f} 0 = {q}", f"(forall {n}, {f} (S {n}) = {f} {n} + {p})"]
        goal = f"forall {i}, {f} {i} = {p} * {i} + {q}"
        tactics = [f"induction {i}.", "lia.", "rewrite H0.", "lia."]
        head = f"forall {f} : nat -> nat, "
    elif draw == 2:  # a constant
        c = rng.choice(("true", "false", "[]", str(q)))
        kind = "list nat" if c == "[]" else "bool" if not c.isdigit() else "nat"
        premises = [f"{f} 0 = {c}", f"(forall {n}, {f} (S {n}) = {f} {n})"]
        goal = f"forall {i}, {f} {i} = {c}"
        tactics = [f"induction {i}.", "assumption.", "rewrite H0.", "assumption."]
        head = f"forall {f} : nat -> {kind}, "
    else:  # growth
        bound = rng.choice(
            (f"{f} {n} + {p} <= {f} (S {n})", f"{f} {n} + {p} < {f} (S {n})", f"S ({f} {n}) <= {f} (S {n})")
        )
        goal = rng.choice(
            (f"forall {i}, {i} <= {f} {i}", f"forall {i}, {f} 0 <= {f} {i}", f"forall {i}, {f} 0 + {i} <= {f} {i}")
        )
        tactics = [f"induction {i}.", "lia.", f"specialize (H {i}).", "lia."]
        return Draft(
            family="equations",
            statement=f"forall {f} : nat -> nat, (forall {n}, {bound}) -> {goal}",
            tactics=("intros.", *tactics),
        )
    if rng.random() < 0.3 and draw:
        order = [1, 0]
        premises = [premises[k] for k in order]
        swap = {"H": "H0", "H0": "H"}
        tactics = [re.sub(r"\bH0?\b", lambda m: swap[m.group()], tactic) for tactic in tactics]
    return Draft(family="equations", statement=f"{head}{' -> '.join([*premises, goal])}", tactics=("intros.", *tactics))


def _climbing(rng: Random) -> Draft | None:
    """Properties that hold of all numbers, or of all lists, because they climb."""
    p, q = rng.choice(("P Q", "Q R", "A B", "F G")).split()
    n, i = rng.choice(_SMALL).split()
    start = rng.choice((0, 1, 2))
    over = f"S {i}" if start == 1 else f"S (S {i})" if start else i
    over = f"({over})" if start else over
    draw = rng.randrange(5)
    if draw == 0 and start:
        given = [f"{p} {start}", f"(forall {n}, {p} {n} -> {p} (S {n}))"]
        goal, steps = f"forall {i}, {p} {over}", ["assumption.", "apply H0.", "assumption."]
    elif draw == 1:
        given = [f"{p} 0", f"(forall {n}, {p} {n} -> {p} (S {n}))", f"(forall {n}, {p} {n} -> {q} {n})"]
        goal, steps = f"forall {i}, {p} {i} /\\ {q} {i}", [
            "split.", "assumption.", "apply H1.", "assumption.", f"destruct IH{i}.", "split.", "apply H0.",
            "assumption.", "apply H1.", "apply H0.", "assumption.",
        ]  # fmt: skip
    elif draw == 2:
        given = [f"{p} 0", f"{q} 0", f"(forall {n}, {p} {n} -> {q} (S {n}))", f"(forall {n}, {q} {n} -> {p} (S {n}))"]
        goal, steps = f"forall {i}, {p} {i} /\\ {q} {i}", [
            "split.", "assumption.", "assumption.", f"destruct IH{i}.", "split.", "apply H2.", "assumption.",
            "apply H1.", "assumption.",
        ]  # fmt: skip
    elif draw == 3:
        given = [f"{p} []", f"(forall e {n}, {p} {n} -> {p} (e :: {n}))"]
        goal, steps = f"forall {i}, {p} {i}", ["assumption.", "apply H0.", "assumption."]
        kind = rng.choice(("nat", "bool", "Z"))
        return _climb("climbing lists", f"forall {p} : list {kind} -> Prop, ", given, goal, i, steps)
    else:
        given = [f"{p} 0", f"(forall {n}, {p} (S {n}))"]
        goal, steps = f"forall {i}, {p} {i}", ["assumption.", "apply H0."]
    letters = p if q not in " ".join([*given, goal]).split() else f"{p} {q}"
    return _climb("climbing numbers", f"forall {letters} : nat -> Prop, ", given, goal, i, steps)


def _climb(family: str, head: str, given: list[str], goal: str, on: str, steps: list[str]) -> Draft:
    return Draft(
        family=family,
        statement=f"{head}{' -> '.join([*given, goal])}",
        tactics=("intros.", f"induction {on}.", *steps),
    )


FAMILIES = (
    Family("induction on numbers", 4.0, lambda rng: drawn(rng, "numbers")),
    Family("induction on lists", 3.5, lambda rng: drawn(rng, "lists")),
    Family("induction on trees", 1.0, lambda rng: drawn(rng, "trees")),
    Family("values", 0.8, _cases),
    Family("equations", 1.2, _equations),
    Family("climbing", 1.0, _climbing),
)

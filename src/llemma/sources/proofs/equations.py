"""Equations between functions and numbers: rewriting with hypotheses, linear facts, witnesses for ``exists``."""

from __future__ import annotations

import re
from random import Random

from llemma.sources.proofs.base import Draft, Family

_VARIABLES = ("a b c d", "x y z w", "n m k j", "u v w t", "p q r s", "i j k l")
_FUNCTIONS = ("f g h", "g h f", "h f g", "phi psi chi")


def _chain(rng: Random) -> Draft:
    """Equations between values, used one after the other."""
    functions, names = rng.choice(_FUNCTIONS).split(), rng.choice(_VARIABLES).split()
    kind = rng.choice(("nat", "bool", "Z", "list nat"))
    length = rng.choice((1, 2, 2, 3, 3))
    used = [rng.choice(functions[: rng.choice((1, 2, 3))]) for _ in range(length)]
    equations = [f"{used[k]} {names[k]} = {names[k + 1]}" for k in range(length)]
    left = names[0]
    for function in used:
        left = f"{function} ({left})" if " " in left else f"{function} {left}"
    wrap = rng.choice(("", "", "", used[-1], functions[0]))
    right = names[length]
    if wrap:
        left, right = f"{wrap} ({left})", f"{wrap} {right}"
    flipped = [rng.random() < 0.25 for _ in equations]
    hypotheses = [" = ".join(reversed(e.split(" = "))) if f else e for e, f in zip(equations, flipped, strict=True)]
    order = list(range(length))
    if rng.random() < 0.4:
        rng.shuffle(order)
    label = {k: _label(place) for place, k in enumerate(order)}
    steps = [f"rewrite {'<- ' if flipped[k] else ''}{label[k]}." for k in range(length)]
    head = f"forall ({' '.join(dict.fromkeys([*used, *([wrap] if wrap else [])]))} : {kind} -> {kind}) "
    head += f"({' '.join(names[: length + 1])} : {kind}), "
    goal = f"{left} = {right}"
    if rng.random() < 0.2:
        goal, steps = f"{right} = {left}", [*steps]
        if any(flipped):  # a variable on the right would be rewritten too
            return _chain(rng)
    statement = head + " -> ".join([*(hypotheses[k] for k in order), goal])
    return Draft(family="rewriting", statement=statement, tactics=("intros.", *steps, "reflexivity."))


def _label(place: int) -> str:
    return "H" if place == 0 else f"H{place - 1}"


def _laws(rng: Random) -> Draft:
    """Hypotheses for all arguments, used at some."""
    f, g, h = rng.choice(_FUNCTIONS).split()
    a, b, c, x = rng.choice(_VARIABLES).split()
    kind = rng.choice(("nat", "bool", "Z", "list nat"))
    one = f"({f} : {kind} -> {kind})"
    two = f"({f} {g} : {kind} -> {kind})"
    law, goal, steps = rng.choice(
        (
            (f"(forall {x}, {f} {x} = {x})", f"{f} ({f} {a}) = {a}", 2),
            (f"(forall {x}, {f} ({f} {x}) = {x})", f"{f} ({f} ({f} ({f} {a}))) = {a}", 2),
            (f"(forall {x}, {f} ({f} {x}) = {f} {x})", f"{f} ({f} ({f} {a})) = {f} {a}", 2),
            (f"(forall {x}, {f} {x} = {g} {x})", f"{f} ({f} {a}) = {g} ({g} {a})", 2),
            (f"(forall {x}, {f} ({g} {x}) = {x})", f"{f} ({f} ({g} ({g} {a}))) = {a}", 2),
            (f"(forall {x}, {f} ({g} {x}) = {x})", f"{g} ({f} ({g} {a})) = {g} {a}", 1),
            (f"(forall {x}, {f} ({g} {x}) = {g} {x})", f"{f} ({f} ({g} {a})) = {g} {a}", 2),
        )
    )
    head = f"forall {two if g in goal.split() or g in law.replace('(', ' ').split() else one} ({a} : {kind}), "
    return Draft(
        family="laws",
        statement=f"{head}{law} -> {goal}",
        tactics=("intros.", *["rewrite H."] * steps, "reflexivity."),
    )


def _inverse(rng: Random) -> Draft:
    """Conclusions backwards through a law."""
    f, g, _ = rng.choice(_FUNCTIONS).split()
    a, b, _, x = rng.choice(_VARIABLES).split()
    kind = rng.choice(("bool", "Z", "list nat", "nat"))
    law, given, goal, tactics = rng.choice(
        (
            (f"{f} ({f} {x}) = {x}", f"{f} {a} = {f} {b}", f"{a} = {b}",
             (f"rewrite <- (H {a}).", "rewrite H0.", "apply H.")),
            (f"{g} ({f} {x}) = {x}", f"{f} {a} = {b}", f"{a} = {g} {b}",
             ("rewrite <- H0.", "rewrite H.", "reflexivity.")),
            (f"{g} ({f} {x}) = {x}", f"{f} {a} = {b}", f"{g} {b} = {a}", ("rewrite <- H0.", "apply H.")),
            (f"{f} {x} = {g} {x}", f"{g} {a} = {b}", f"{f} {a} = {b}", ("rewrite H.", "assumption.")),
            (f"{f} {x} = {g} {x}", f"{f} {a} = {b}", f"{g} {a} = {b}", ("rewrite <- H.", "assumption.")),
        )
    )  # fmt: skip
    functions = f"{f} {g}" if g in f"{law} {goal}".replace("(", " ").split() else f
    head = f"forall ({functions} : {kind} -> {kind}) ({a} {b} : {kind}), "
    statement = f"{head}(forall {x}, {law}) -> {given} -> {goal}"
    return Draft(family="inverse", statement=statement, tactics=("intros.", *tactics))


def _linear(rng: Random) -> Draft:
    """Linear equations and inequalities with one consequence."""
    x, y, z, _ = rng.choice(_VARIABLES).split()
    kind = rng.choice(("nat", "Z"))
    values = {name: rng.randint(0, 9) for name in (x, y)}
    p, q = rng.randint(1, 5), rng.randint(1, 5)
    r, s = rng.choice(((1, 2), (2, 1), (1, 3), (3, 1), (2, 3)))
    u, v = values[x], values[y]
    if p * s == q * r:
        s += 1
    statements = (
        (f"{p} * {x} + {q} * {y} = {p * u + q * v}", f"{r} * {x} + {s} * {y} = {r * u + s * v}", f"{x} = {u}"),
        (f"{p} * {x} + {q} * {y} = {p * u + q * v}", f"{r} * {x} + {s} * {y} = {r * u + s * v}", f"{y} = {v}"),
        (f"{x} <= {y}", f"{y} <= {z}", f"{p} * {x} <= {p} * {z} + {q}"),
        (f"{x} < {y}", f"{y} < {z} + {p}", f"{x} + 1 < {z} + {p}"),
        (f"{x} = {y} + {p}", f"{z} = {x} + {q}", f"{z} = {y} + {p + q}"),
        (f"{p} <= {x}", f"{x} <= {p}", f"{x} = {p}"),
    )
    one, two, goal = rng.choice(statements)
    if rng.random() < 0.3:
        one, two = two, one
    names = [n for n in (x, y, z) if n in f"{one} {two} {goal}".split()]
    close = "%Z" if kind == "Z" else ""
    body = f"{one} -> {two} -> {goal}"
    statement = f"forall {' '.join(names)} : {kind}, " + (f"({body}){close}" if close else body)
    return Draft(family="linear", statement=statement, tactics=("intros.", "lia."))


def _polynomial(rng: Random) -> Draft:
    """Products multiplied out."""
    a, b, _, _ = rng.choice(_VARIABLES).split()
    k, m = rng.randint(1, 9), rng.randint(1, 9)
    left, right = rng.choice(
        (
            (f"({a} + {k}) * ({b} + {m})", f"{a} * {b} + {m} * {a} + {k} * {b} + {k * m}"),
            (f"({a} + {k}) * ({a} + {m})", f"{a} * {a} + {k + m} * {a} + {k * m}"),
            (f"{a} * ({b} + {k})", f"{a} * {b} + {k} * {a}"),
            (f"({a} + {b}) * {k}", f"{k} * {b} + {k} * {a}"),
            (f"({a} + {k}) * ({a} + {k})", f"{a} * {a} + {2 * k} * {a} + {k * k}"),
        )
    )
    kind = rng.choice(("nat", "Z"))
    names = " ".join(n for n in (a, b) if n in f"{left} {right}".replace("(", " ").replace(")", " ").split())
    body = f"({left} = {right})%Z" if kind == "Z" else f"{left} = {right}"
    return Draft(family="polynomial", statement=f"forall {names} : {kind}, {body}", tactics=("intros.", "ring."))


def _divisible(rng: Random) -> Draft:
    """Multiples of a number: sums, differences and further multiples of them."""
    a, b, k, j = rng.choice(_VARIABLES).split()
    kind = rng.choice(("nat", "Z"))
    z = "%Z" if kind == "Z" else ""
    c, p, q = rng.randint(2, 12), rng.randint(1, 6), rng.randint(1, 6)
    r = rng.randint(1, 4)
    rng.randint(1, 4)  # drawn and not used: without it the theorems of a seed would be others

    def multiple(term: str, factor: int, rest: int = 0) -> str:
        return f"(exists {k}, {term} = {factor} * {k}{f' + {rest}' if rest else ''}){z}"

    def scaled(n: int, name: str) -> str:
        return name if n == 1 else f"{n} * {name}"

    rest = rng.randint(0, c - 1)
    whole, left = divmod(2 * rest, c)
    plus = f" + {whole}" if whole else ""
    choices = [
        ([multiple(a, c), multiple(b, c)], multiple(f"{scaled(p, a)} + {scaled(q, b)}", c),
         f"({scaled(p, '{x}')} + {scaled(q, '{y}')})"),
        ([multiple(a, c * p)], multiple(a, c), f"({scaled(p, '{x}')})"),
        ([multiple(a, c)], multiple(f"{scaled(p, a)} + {c * r}", c), f"({scaled(p, '{x}')} + {r})"),
        ([multiple(a, c)], multiple(f"{p} * {a}", c * p), "{x}"),
        ([multiple(a, c, rest), multiple(b, c, rest)], multiple(f"{a} + {b}", c, left), f"({{x}} + {{y}}{plus})"),
        ([multiple(a, c)], multiple(f"{a} * {b}", c), f"({{x}} * {b})"),
        ([multiple(a, c)], multiple(f"{b} * {a}", c), f"({b} * {{x}})"),
        ([multiple(a, c), multiple(b, r + 1)], multiple(f"{a} * {b}", c * (r + 1)), "({x} * {y})"),
    ]  # fmt: skip
    if kind == "Z":
        choices += [([multiple(a, c), multiple(b, c)], multiple(f"{scaled(p, a)} - {scaled(q, b)}", c),
                     f"({scaled(p, '{x}')} - {scaled(q, '{y}')})")]  # fmt: skip
    given, goal, witness = rng.choice(choices)
    names = [n for n in (a, b) if any(n in part.split() for part in [*given, goal])]
    first, second = _witnesses(names)
    tactics = ["intros.", *(f"destruct {_label(place)}." for place in range(len(given)))]
    tactics += [f"exists {witness.format(x=first, y=second)}{z if ' ' in witness else ''}."]
    tactics += ["subst.", "lia."] if re.search(r"[}\w] \* (?:\{|[a-z])", re.sub(r"\d+ \* ", "", witness)) else ["lia."]
    statement = f"forall {' '.join(names)} : {kind}, {' -> '.join([*given, goal])}"
    return Draft(family="divisible", statement=statement, tactics=tuple(tactics))


def _witnesses(names: list[str]) -> list[str]:
    """The names Coq gives to two witnesses."""
    return [name for name in ("x", "x0", "x1", "x2") if name not in names][:2]


def _witness(rng: Random) -> Draft:
    """Numbers that exist: solutions of equations, larger numbers, numbers between."""
    x = rng.choice("xyzkmn")
    a = rng.choice("abcdpq")
    p, q, r = rng.randint(2, 9), rng.randint(1, 9), rng.randint(1, 9)
    kind = rng.choice(("nat", "Z", "Z"))
    z = "%Z" if kind == "Z" else ""
    closed, goal, witness = rng.choice(
        (
            (True, f"{p} * {x} + {q} = {p * r + q}", f"{r}"),
            (True, f"{x} + {q} = {q + r}", f"{r}"),
            (True, f"{p} * {x} = {p * r}", f"{r}"),
            (False, f"{a} + {q} < {x}", f"({a} + {q + 1})"),
            (False, f"{x} = {p} * {a} + {q}", f"({p} * {a} + {q})"),
            (False, f"{x} + {q} * {a} = {q + p} * {a}", f"({p} * {a})"),
            (False, f"{p} * {x} = {p * r} * {a}", f"({r} * {a})"),
            (False, f"{a} < {x} /\\ {x} < {a} + {q + 1}", f"({a} + 1)"),
            (False, f"{x} + {q} = {a} + {q + r}", f"({a} + {r})"),
        )
    )
    if goal.startswith(f"{a} < ") and q == 1:
        goal = goal.replace(f"{a} + 2", f"{a} + 3")  # the other is a theorem of the library
    head = "" if closed else f"forall {a} : {kind}, "
    return Draft(
        family="witness",
        statement=f"{head}(exists {x} : {kind}, {goal}){z}",
        tactics=((f"exists {witness}{z}.", "lia.") if closed else ("intros.", f"exists {witness}{z}.", "lia.")),
    )


def _remainders(rng: Random) -> Draft:
    """Every number leaves one of the remainders: by induction, a case for each."""
    n, k = rng.choice(("n k", "m j", "a q", "x y", "i r")).split()
    c, x = rng.choice((2, 3, 3, 3)), _witnesses([n])[0]
    parts = [f"{n} = {c} * {k}" if r == 0 else f"{n} = {c} * {k} + {r}" for r in range(c)]
    if rng.random() < 0.5:
        parts.reverse()
    last = next(place for place, part in enumerate(parts) if part.endswith(f"+ {c - 1}"))
    tactics = ["intros.", f"induction {n}.", "exists 0.", "lia.", f"destruct IH{n}."]
    for place in range(c):
        if place < c - 1:
            tactics += ["destruct H."]
        witness = f"({x} + 1)" if place == last else x
        tactics += [f"exists {witness}.", "lia."]
    statement = f"forall {n} : nat, exists {k}, " + " \\/ ".join(parts)
    return Draft(family="remainders", statement=statement, tactics=tuple(tactics))


def _squares(rng: Random) -> Draft:
    """Inequalities that follow from a square."""
    a, b, _, _ = rng.choice(_VARIABLES).split()
    k = rng.randint(2, 6)
    goal, root = rng.choice(
        (
            (f"{2 * k} * {a} <= {a} * {a} + {k * k}", f"{a} - {k}"),
            (f"{2 * k} * ({a} * {b}) <= {a} * {a} + {k * k} * ({b} * {b})", f"{a} - {k} * {b}"),
            (f"0 <= {a} * {a} + {2 * k} * {a} + {k * k}", f"{a} + {k}"),
            (f"{a} * {a} + {b} * {b} + {2} * ({a} * {b}) >= 0", f"{a} + {b}"),
        )
    )
    names = " ".join(n for n in (a, b) if n in goal.replace("(", " ").replace(")", " ").split())
    return Draft(
        family="squares",
        statement=f"forall {names} : Z, ({goal})%Z",
        tactics=("intros.", f"assert (0 <= ({root}) * ({root}))%Z.", "apply Z.square_nonneg.", "lia."),
    )


FAMILIES = (
    Family("rewriting", 1.0, _chain),
    Family("laws", 0.5, _laws),
    Family("inverse", 0.4, _inverse),
    Family("linear", 0.6, _linear),
    Family("polynomial", 0.3, _polynomial),
    Family("divisible", 1.5, _divisible),
    Family("witness", 0.8, _witness),
    Family("remainders", 0.1, _remainders),
    Family("squares", 0.3, _squares),
)

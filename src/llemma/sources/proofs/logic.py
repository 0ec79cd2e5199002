"""Statements of logic, propositional and with quantifiers, proved by a small search that writes Coq tactics.

The search works on the focused goal, does what can be undone last, and names hypotheses as Coq does (``H``, ``H0``,
``x``, …), so that its tactics fit the states the prover shows. It knows no arithmetic and no induction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from llemma.sources.proofs.base import Draft, Family

DEPTH = 5  # choices (left, right, apply, a witness) on a branch of a proof
NODES = 400  # visited in one search
LONGEST = 20  # tactics of a proof that is kept


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula. ``kind``: atom, false, not, and, or, imp, iff, all, ex; ``name`` is an atom's or a bound variable's.

    ``parts`` are the sub-formulas, ``terms`` the arguments of an atom: variables, or ``S``-terms around them.
    """

    kind: str
    name: str = ""
    parts: tuple[Formula, ...] = ()
    terms: tuple[str, ...] = ()


_SIGNS = {"and": "/\\", "or": "\\/", "imp": "->", "iff": "<->"}


def text(formula: Formula) -> str:
    """The formula as Coq reads it."""
    match formula.kind:
        case "atom":
            return " ".join((formula.name, *(t if " " not in t else f"({t})" for t in formula.terms)))
        case "false":
            return "False"
        case "not":
            return f"~ {_closed(formula.parts[0])}"
        case "all" | "ex":
            word = "forall" if formula.kind == "all" else "exists"
            return f"{word} {formula.name} : nat, {text(formula.parts[0])}"
    left, right = formula.parts
    return f"{_closed(left)} {_SIGNS[formula.kind]} {text(right) if formula.kind == 'imp' else _closed(right)}"


def _closed(formula: Formula) -> str:
    return text(formula) if formula.kind in ("atom", "false", "not") else f"({text(formula)})"


def put(formula: Formula, name: str, term: str) -> Formula:
    """The formula with a term for a variable. Bound names are distinct in all statements made here."""
    if formula.kind == "atom":
        return replace(formula, terms=tuple(_put(t, name, term) for t in formula.terms))
    return replace(formula, parts=tuple(put(part, name, term) for part in formula.parts))


def _put(old: str, name: str, term: str) -> str:
    if old == name:
        return term
    return f"S ({_put(old[3:-1], name, term)})" if old.startswith("S (") else old


def matched(pattern: Formula, goal: Formula, name: str) -> str | None:
    """What must stand for the variable ``name`` in ``pattern`` to make it ``goal``; None when nothing does."""
    found: list[str] = []

    def walk(a: Formula, b: Formula) -> bool:
        if (a.kind, len(a.parts)) != (b.kind, len(b.parts)) or (a.kind == "atom" and a.name != b.name):
            return False
        for s, t in zip(a.terms, b.terms, strict=True):
            while s.startswith("S (") and t.startswith("S ("):
                s, t = s[3:-1], t[3:-1]
            if s == name:
                found.append(t)
            elif s != t:
                return False
        return all(walk(p, q) for p, q in zip(a.parts, b.parts, strict=True))

    return found[0] if walk(pattern, goal) and found and len(set(found)) == 1 else None


Context = tuple[tuple[str, Formula], ...]


class Search:
    """One search for a proof; ``tactics`` is its result."""

    def __init__(self) -> None:
        self.nodes = 0

    def prove(self, context: Context, variables: tuple[str, ...], goal: Formula, depth: int) -> list[str] | None:
        """The tactics that close the goal, the goals they leave taken one after the other; None without a proof."""
        self.nodes += 1
        if self.nodes > NODES:
            return None
        return (
            self._closed(context, goal)
            or self._introduced(context, variables, goal, depth)
            or self._taken_apart(context, variables, goal, depth)
            or (self._chosen(context, variables, goal, depth - 1) if depth else None)
        )

    def _closed(self, context: Context, goal: Formula) -> list[str] | None:
        if any(formula == goal for _, formula in context):
            return ["assumption."]
        for _, formula in context:
            if formula.kind == "false" or any(f == Formula("not", parts=(formula,)) for _, f in context):
                return ["contradiction."]
        return None

    def _introduced(self, context: Context, variables: tuple[str, ...], goal: Formula, depth: int) -> list[str] | None:
        """Steps on the goal that lose nothing."""
        if goal.kind in ("imp", "all"):
            while goal.kind in ("imp", "all"):
                if goal.kind == "imp":
                    context = (*context, (_fresh("H", context, variables), goal.parts[0]))
                    goal = goal.parts[1]
                else:
                    variables, goal = (*variables, goal.name), goal.parts[0]
            return _then("intros.", self.prove(context, variables, goal, depth))
        if goal.kind == "not":
            context = (*context, (_fresh("H", context, variables), goal.parts[0]))
            return _then("intro.", self.prove(context, variables, Formula("false"), depth))
        return None

    def _taken_apart(self, context: Context, variables: tuple[str, ...], goal: Formula, depth: int) -> list[str] | None:
        """Steps on a hypothesis, or a split of the goal, that lose nothing; only the first is looked at."""
        for place, (name, formula) in enumerate(context):
            rest = context[:place] + context[place + 1 :]
            first = f"destruct {name}."
            if formula.kind in ("and", "iff"):
                parts = formula.parts
                if formula.kind == "iff":
                    parts = (Formula("imp", parts=parts), Formula("imp", parts=parts[::-1]))
                new = ((name, parts[0]), (_fresh("H", context, variables), parts[1]))
                return _then(first, self.prove((*context[:place], *new, *context[place + 1 :]), variables, goal, depth))
            if formula.kind == "ex":
                witness = _fresh("x", context, variables)
                body = put(formula.parts[0], formula.name, witness)
                opened = (*context[:place], (name, body), *context[place + 1 :])
                return _then(first, self.prove(opened, (*variables, witness), goal, depth))
            if formula.kind == "or":
                tactics = [first]
                for part in formula.parts:
                    case = (*rest[:place], (name, part), *rest[place:])
                    found = self.prove(case, variables, goal, depth)
                    if found is None:
                        return None
                    tactics += found
                return tactics
        if goal.kind in ("and", "iff"):
            parts = goal.parts
            if goal.kind == "iff":
                parts = (Formula("imp", parts=parts), Formula("imp", parts=parts[::-1]))
            return self._all("split.", context, variables, parts, depth)
        return None

    def _chosen(self, context: Context, variables: tuple[str, ...], goal: Formula, depth: int) -> list[str] | None:
        """Steps that may lose the proof: which side, which witness, which hypothesis."""
        tries: list[tuple[str, tuple[Formula, ...]]] = []
        for name, formula in context:
            premises = _premises(formula, goal)
            if premises is not None and not any(premise == goal for premise in premises):
                tries.append((f"apply {name}.", premises))
        tries.sort(key=lambda choice: len(choice[1]))
        if goal.kind == "or":
            tries += [("left.", goal.parts[:1]), ("right.", goal.parts[1:])]
        if goal.kind == "ex":
            tries += [(f"exists {v}.", (put(goal.parts[0], goal.name, v),)) for v in variables]
        for tactic, goals in tries:
            found = self._all(tactic, context, variables, goals, depth)
            if found is not None:
                return found
        return None

    def _all(
        self, first: str, context: Context, variables: tuple[str, ...], goals: tuple[Formula, ...], depth: int
    ) -> list[str] | None:
        tactics = [first]
        for goal in goals:
            found = self.prove(context, variables, goal, depth)
            if found is None:
                return None
            tactics += found
        return tactics


def _then(first: str, rest: list[str] | None) -> list[str] | None:
    return None if rest is None else [first, *rest]


def _fresh(base: str, context: Context, variables: tuple[str, ...]) -> str:
    """The name Coq gives: the base, then the base with 0, 1, … at the end."""
    taken = {name for name, _ in context} | set(variables)
    name, number = base, 0
    while name in taken:
        name, number = f"{base}{number}", number + 1
    return name


def _premises(formula: Formula, goal: Formula) -> tuple[Formula, ...] | None:
    """What is left after ``apply`` of a hypothesis to the goal; None when it does not fit."""
    bound: list[str] = []
    premises: list[Formula] = []
    while formula.kind in ("all", "imp", "not") and formula != goal:
        if formula.kind == "all":
            bound.append(formula.name)
            formula = formula.parts[0]
        elif formula.kind == "imp":
            premises.append(formula.parts[0])
            formula = formula.parts[1]
        else:
            premises.append(formula.parts[0])
            formula = Formula("false")
    if len(bound) > 1 or not (bound or premises):
        return None
    if not bound:
        return tuple(premises) if formula == goal else None
    term = matched(formula, goal, bound[0])
    return None if term is None else tuple(put(premise, bound[0], term) for premise in premises)


_LETTERS = ("P Q R S", "A B C D", "X Y Z W", "F G H K", "Q P S R", "U V A B")


def _propositional(rng: Random) -> Draft | None:
    """A random statement of a few propositions: a goal under some hypotheses."""
    letters = rng.choice(_LETTERS).replace("H", "J").split()[: rng.choice((1, 2, 2, 3, 3, 4))]
    atoms = [Formula("atom", letter) for letter in letters]
    hypotheses = [_random(rng, atoms, rng.choice((1, 1, 2, 2, 3))) for _ in range(rng.choice((0, 1, 1, 2, 2, 3)))]
    goal = _random(rng, atoms, rng.choice((0, 1, 1, 2, 2)))
    for hypothesis in reversed(hypotheses):
        goal = Formula("imp", parts=(hypothesis, goal))
    used = _atoms(goal)
    letters = [letter for letter in letters if letter in used]
    return _drafted("propositional", f"forall {' '.join(letters)} : Prop, ", (), goal)


def _random(rng: Random, atoms: list[Formula], size: int) -> Formula:
    if size == 0:
        return rng.choice(atoms)
    kind = rng.choices(("and", "or", "imp", "not", "iff"), weights=(4, 4, 3, 3, 1))[0]
    if kind == "not":
        return Formula("not", parts=(_random(rng, atoms, size - 1),))
    left = rng.randrange(size)
    return Formula(kind, parts=(_random(rng, atoms, left), _random(rng, atoms, size - 1 - left)))


def _atoms(formula: Formula) -> set[str]:
    return {formula.name} if formula.kind == "atom" else set().union(*map(_atoms, formula.parts))


_BOUND = ("n m k i j u v w", "a b c d e u v w", "y z w u v i j k", "k j i m n u v w")


def _quantified(rng: Random) -> Draft | None:
    """A random statement about a few properties of numbers: quantifiers in hypotheses and goal."""
    letters = rng.choice(("P Q", "P Q", "P", "A B", "Q R", "P Q R")).split()
    names = rng.choice(_BOUND).split()
    free = ["t"] if rng.random() < 0.3 else []
    hypotheses = [_about(rng, letters, names, free) for _ in range(rng.choice((1, 1, 2, 2)))]
    goal = _about(rng, letters, names, free)
    for hypothesis in reversed(hypotheses):
        goal = Formula("imp", parts=(hypothesis, goal))
    letters = [letter for letter in letters if letter in _atoms(goal)]
    head = f"forall ({' '.join(letters)} : nat -> Prop)" + (" (t : nat), " if free else ", ")
    return _drafted("quantified", head, tuple(free), goal)


def _about(rng: Random, letters: list[str], names: list[str], free: list[str]) -> Formula:
    """A formula with at most one quantifier at its head, another name for each."""
    shape = rng.choices(("all", "ex", "not ex", "not all", "bare", "or", "and"), weights=(4, 4, 2, 2, 2, 2, 1))[0]
    if shape == "bare" and free:
        return _body(rng, letters, free[0], rng.choice((0, 0, 1)))
    if shape in ("or", "and"):
        return Formula(shape, parts=(_closed_over(rng, letters, names, "ex"), _closed_over(rng, letters, names, "ex")))
    if shape.startswith("not "):
        return Formula("not", parts=(_closed_over(rng, letters, names, shape[4:]),))
    return _closed_over(rng, letters, names, shape if shape in ("all", "ex") else "all")


def _closed_over(rng: Random, letters: list[str], names: list[str], kind: str) -> Formula:
    name = names.pop(0) if names else "z9"
    return Formula(kind, name, parts=(_body(rng, letters, name, rng.choice((0, 1, 1, 2))),))


def _body(rng: Random, letters: list[str], variable: str, size: int) -> Formula:
    atoms = [Formula("atom", letter, terms=(variable,)) for letter in letters]
    kind = rng.choices(("and", "or", "imp", "not"), weights=(4, 3, 3, 3))[0]
    if size == 0:
        return rng.choice(atoms)
    if kind == "not":
        return Formula("not", parts=(_body(rng, letters, variable, size - 1),))
    return Formula(kind, parts=(rng.choice(atoms), _body(rng, letters, variable, size - 1)))


def _climbing(rng: Random) -> Draft | None:
    """Steps from number to number, a few of them taken by hand."""
    letters = rng.choice(("P", "Q", "A", "P Q", "F")).split()
    n = rng.choice("nmkij")
    start, stride, steps = rng.choice((0, 0, 1, 2, 3)), rng.choice((1, 1, 2, 3)), rng.choice((1, 2, 2, 3, 4))
    first = letters[0]

    def after(term: str, count: int) -> str:
        for _ in range(count):
            term = f"S {term}" if " " not in term else f"S ({term})"
        return term

    rule = f"(forall {n}, {first} {n} -> {first} ({after(n, stride)}))"
    goal, tactics = f"{first} {start + stride * steps}", ["intros.", *["apply H0."] * steps, "assumption."]
    if len(letters) == 2:
        rule += f" -> (forall {n}, {first} {n} -> {letters[1]} {n})"
        goal, tactics = f"{letters[1]} {start + stride * steps}", ["intros.", "apply H1.", *tactics[1:]]
    head = f"forall {' '.join(letters)} : nat -> Prop, "
    return Draft(family="climbing", statement=f"{head}{first} {start} -> {rule} -> {goal}", tactics=tuple(tactics))


def _drafted(family: str, head: str, free: tuple[str, ...], goal: Formula) -> Draft | None:
    """The draft of a statement, when the search finds a proof of a length worth learning."""
    for depth in range(1, DEPTH + 1):
        found = Search().prove((), free, goal, depth)
        if found is not None:
            break
    else:
        return None
    if not 2 <= len(found) <= LONGEST:
        return None
    if not found[0].startswith("intros"):
        found = ["intros.", *found]
    return Draft(family=family, statement=head + text(goal), tactics=tuple(found))


FAMILIES = (
    Family("propositional", 1.5, _propositional),
    Family("quantified", 1.5, _quantified),
    Family("climbing", 0.5, _climbing),
)

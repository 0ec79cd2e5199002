r"""The strict grader: whether two final answers are the same thing, and the judgement of a completion by it.

``equivalent`` is symmetric and reflexive and never raises, executes or waits: all work is bounded by sizes (see
``llemma.grade.value``), so it is safe in any thread, process pool or event loop. The rules, with examples:

- Values are equal when they are the same number or function; a rounded number is not the exact one.
- Order counts in tuples and intervals, not in sets and bare lists; ``(0, 1)``, ``[0, 1)`` and ``[0, 1]`` differ.
- What only names the value is dropped: ``x = 5`` is 5; ``x = 1, y = 2`` is (1, 2). ``6 = 5`` is not 5.
- Units may be missing; where both sides have one they must agree. Nothing is converted: 100 cm is not 1 m here.
- ``25 %`` is 25 and 0.25; ``30°`` is 30 and π/6: questions ask for either.
- Equations are equal when they have the same solutions up to a constant factor of both sides.
- A numeral with a base is only equal to a numeral with that base: ``52_8`` is neither 52 nor 42.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llemma.grade.answer import read
from llemma.grade.extract import Extracted, extract, last_formula, last_sentence, visible
from llemma.grade.kinds import (
    EMPTY,
    Answer,
    Choice,
    Conditions,
    Group,
    Joined,
    Matrix,
    Named,
    Ratio,
    Relation,
    Value,
    Words,
)
from llemma.grade.limits import bounded
from llemma.grade.names import alike, is_plain
from llemma.grade.node import PI, Node, number, tree
from llemma.grade.sets import real_set, same_sets, variable
from llemma.grade.units import disagree, letters, quantity, suffix
from llemma.grade.value import equal, fingerprint, proportional, zero
from llemma.grade.vocabulary import NOTHING
from llemma.records import Grade

Same = bool | None

# What an answer that wants to be run looks like; it is only looked for in what is no mathematics.
_CODE = re.compile(
    r"__\w+__|\b(?:import|exec|eval|open|compile|globals|locals|getattr|setattr|subprocess|lambda|os\.\w+|sys\.\w+)\b\s*[(\w.]"
)


# --- whole completions ----------------------------------------------------------------------------------------------


def grade_final(prediction: str, reference: str, task: str | None = None) -> Grade:
    """The judgement of a completion, or of a bare final answer, against a reference. Never raises.

    Both sides may mark their answer (``The answer is …``, ``\\boxed{…}``, ``#### …``); a text without a mark is taken
    for the answer itself. ``Grade.answer`` is the answer as it was found, shortened; the reason names the rule that
    found it. ``task`` is accepted for symmetry with the paper's scorer: strict rules are the same for every task.
    """
    found = _find(prediction)
    if found is None:
        return Grade(verdict="unparsable", answer=None, reason="no final answer found in the text")
    if _identical(prediction, reference) and read(reference) is not None:
        return Grade(verdict="correct", answer=_short(found.text, 2_000), reason="the text is the reference itself")
    target = extract(reference)
    stated = target.text if target and target.rule != "the-answer" else reference
    return grade_answer(found.text, stated, found_by=found.rule)


def _find(text: str) -> Extracted | None:
    """The marked answer; without a mark the text itself, or the formula or sentence it ends with."""
    found = extract(text)
    if found is not None:
        return found
    bare = visible(text).strip()
    if not bare:
        return None
    whole = read(bare)
    if whole is not None and not isinstance(whole, Words):
        return Extracted(text=bare, rule="whole")
    sentence = last_sentence(bare)
    last = sentence.text if sentence else bare
    for shorter in (last_formula(last), sentence, last_formula(bare)):
        answer = read(shorter.text) if shorter and shorter.text != bare else None
        if shorter and answer is not None and not isinstance(answer, Words):
            return shorter
    return Extracted(text=bare, rule="whole")


def grade_numeric(prediction: str, reference: str, *, last_number: bool = False) -> Grade:
    """The judgement of a completion that must mark its answer; ``last_number`` accepts the last number without a mark.

    This is the form that tasks use: what a base model rambles without a mark is no answer.
    """
    found = extract(prediction, last_number=last_number)
    if found is None:
        return Grade(verdict="unparsable", answer=None, reason="no final answer found in the text")
    return grade_answer(found.text, reference, found_by=found.rule)


def grade_answer(answer: str, reference: str, *, found_by: str = "") -> Grade:
    """The judgement of a final answer that is already separate from its reasoning. Never raises."""
    mine, theirs = read(answer), read(reference)
    shown, rule = _short(answer, 2_000), f" (found by: {found_by})" if found_by and found_by != "whole" else ""
    if mine is None:
        return Grade(verdict="unparsable", answer=shown, reason=f"{_short(answer)!r} is not read as an answer{rule}")
    if theirs is None:
        return Grade(verdict="unparsable", answer=shown, reason=f"the reference {_short(reference)!r} is not readable")
    same = _same(answer, mine, reference, theirs)
    sides = f"{_kind(mine)} {_short(answer)!r}", f"{_kind(theirs)} {_short(reference)!r}"
    if same:
        return Grade(verdict="correct", answer=shown, reason=f"the {sides[0]} equals the {sides[1]}{rule}")
    if isinstance(mine, Words) and _CODE.search(answer):
        return Grade(verdict="unsafe", answer=shown, reason="the answer is program text; it is never run")
    if isinstance(mine, Words) and mine.prose:
        return Grade(verdict="unparsable", answer=shown, reason=f"the text holds no single answer{rule}")
    if same is None:
        reason = f"the {sides[0]} and the {sides[1]} cannot be compared within the limits of size"
        return Grade(verdict="timeout", answer=shown, reason=reason)
    return Grade(verdict="wrong", answer=shown, reason=f"the {sides[0]} is not the {sides[1]}{rule}")


def vote_key(grade: Grade) -> str | None:
    """The class an answer votes for, or ``None`` when it has no vote."""
    if grade.answer is None or grade.verdict not in ("correct", "wrong"):
        return None
    return vote_class(grade.answer)


def equivalent(a: str, b: str) -> bool:
    """Whether two final answers are the same. Symmetric, reflexive for what can be read; never raises."""
    return bool(same_value(a, b))


def same_value(one: str, other: str) -> bool | None:
    """Like ``equivalent``; ``None`` when a side cannot be read or the comparison is out of reach."""
    first, second = read(one), read(other)
    return None if first is None or second is None else _same(one, first, other, second)


def _same(one: str, first: Answer, other: str, second: Answer) -> Same:
    """``same_answer`` within the limits of one judgement, in the order of the texts: running out is symmetric too."""
    if _identical(one, other):
        return True
    if other < one:
        first, second = second, first
    return bounded(lambda: same_answer(first, second), None)


def _identical(a: str, b: str) -> bool:
    return a.strip() == b.strip()


def _short(text: str, limit: int = 80) -> str:
    text = text.strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _kind(answer: Answer) -> str:
    if isinstance(answer, Group):
        return {"": "list", "{": "set"}.get(answer.left, "tuple or interval")
    names = {Value: "value", Joined: "set", Matrix: "matrix", Relation: "relation", Conditions: "condition",
             Named: "value", Ratio: "ratio", Choice: "option", Words: "text"}  # fmt: skip
    return names[type(answer)]


# --- equality by type -----------------------------------------------------------------------------------------------


def same_answer(a: Answer, b: Answer) -> Same:
    """Whether two answers are the same; ``None``: not decided within the limits. Symmetric."""
    if a == b:
        return True
    if isinstance(a, Named) or isinstance(b, Named):
        return _named(a, b)
    assigned = _assignments(a), _assignments(b)
    if assigned[0] and assigned[0].keys() == assigned[1].keys():  # y = 3, x = 2
        return _ordered(*([by_name[name] for name in assigned[0]] for by_name in assigned))
    a, b = _plain_group(a), _plain_group(b)
    if isinstance(a, Value) and isinstance(b, Value):
        return _values(a, b)
    if isinstance(a, Group) and isinstance(b, Group):
        return _groups(a, b)
    if isinstance(a, Matrix) and isinstance(b, Matrix):
        return _matrices(a, b)
    if isinstance(a, Ratio) and isinstance(b, Ratio):
        return _ratios(a, b)
    if isinstance(a, Choice) and isinstance(b, Choice):
        return a.letter.casefold() == b.letter.casefold()
    if isinstance(a, Words) and isinstance(b, Words):
        return a.text == b.text or a.text.rstrip("s") == b.text.rstrip("s") or {a.text, b.text} <= NOTHING
    if isinstance(a, Relation) and isinstance(b, Relation):
        return _relations(a, b)
    for one, other in ((a, b), (b, a)):
        if isinstance(one, Choice):
            return _choice(one, other)
        if isinstance(one, Ratio) and isinstance(other, Value):
            return len(one.parts) == 2 and not one.clock and equal(tree("div", one.parts), other.node)
        if isinstance(one, Words) and one.text in NOTHING and other == EMPTY:
            return True
        if isinstance(one, Group) and isinstance(other, Value) and len(one.items) == 1 and one.left in ("{", "["):
            return same_answer(one.items[0], other)
    return _real_sets(a, b)


def _real_sets(a: Answer, b: Answer) -> Same:
    """Two descriptions of a set of reals; conditions must be about the same variable."""
    kinds = (Group, Joined, Relation, Conditions)
    if not (isinstance(a, kinds) and isinstance(b, kinds)):
        return False
    if isinstance(a, (Relation, Conditions)) and isinstance(b, (Relation, Conditions)) and variable(a) != variable(b):
        return False
    first, second = real_set(a), real_set(b)
    if first is not None and second is not None:
        return same_sets(first, second)
    if isinstance(a, Joined) and isinstance(b, Joined) and a.op == b.op:
        return _unordered(a.parts, b.parts) if a.op != "minus" else _ordered(a.parts, b.parts)
    if isinstance(a, Conditions) and isinstance(b, Conditions) and a.op == b.op:
        return _unordered(a.parts, b.parts)
    return False


def _named(a: Answer, b: Answer) -> Same:
    if not (isinstance(a, Named) and isinstance(b, Named)):
        named, other = (a, b) if isinstance(a, Named) else (b, a)
        assert isinstance(named, Named)
        if isinstance(other, Relation) and named.equation is not None:
            return _relations(named.equation, other)
        return same_answer(named.value, other)
    if alike(a.name, b.name):
        found = same_answer(a.value, b.value)
        if found:
            return found
    if a.equation is not None and b.equation is not None:
        return _relations(a.equation, b.equation)
    return False


def _choice(one: Choice, other: Answer) -> Same:
    if isinstance(other, Value) and other.node.op in ("sym", "const"):
        return other.node.name.casefold() == one.letter.casefold()
    return isinstance(other, Words) and bool(one.rest) and one.rest == other.text


def _values(a: Value, b: Value) -> Same:
    if "based" in (a.node.op, b.node.op):
        return _based(a.node) == _based(b.node)
    if disagree(quantity(a.unit, a.mark), quantity(b.unit, b.mark)):
        return False
    same = equal(a.node, b.node)
    if same is not False:
        return same
    for one, other in ((a, b), (b, a)):
        if one.mark == "percent" and other.mark != "percent":
            return equal(tree("div", (one.node, number(100))), other.node)
        if one.mark == "degree" and other.mark != "degree":
            return equal(tree("div", (tree("mul", (one.node, PI)), number(180))), other.node)
        found = letters(other.node) if not other.unit else None
        if found and (quantity(one.unit, one.mark) == found[1] if one.unit else found[2]):  # 5m may be 5 times m
            return equal(one.node, found[0])
    return False


def _based(node: Node) -> object:
    """What a numeral with a base is compared by; base ten is the base of plain numerals."""
    if node.op != "based":
        return node.value if node.op == "num" else node
    return node.value if node.name.endswith("_10") else node.name


def _groups(a: Group, b: Group) -> Same:
    loose = ("", "{")
    if a.left in loose and b.left in loose:
        return _unordered(a.items, b.items)
    if "{" in (a.left, b.left):
        return _real_sets(a, b) if _is_interval(a) or _is_interval(b) else False
    if (a.left, a.right) != (b.left, b.right) and "" not in (a.left, b.left) and len(a.items) == 2:
        return False
    return _ordered(a.items, b.items)


def _is_interval(group: Group) -> bool:
    return (group.left, group.right) in (("[", "]"), ("[", ")"), ("(", "]"), ("(", ")")) and len(group.items) == 2


def _assignments(answer: Answer) -> dict[str, Answer]:
    """Name → value of a list of assignments to distinct names; empty for anything else."""
    items = answer.items if isinstance(answer, Group) else ()
    found = {item.name: item.value for item in items if isinstance(item, Named)}
    return found if len(found) == len(items) else {}


def _plain_group(answer: Answer) -> Answer:
    """A list of assignments as the values it assigns: ``x=1, y=2`` as (1, 2), ``x=1, x=2`` as 1, 2."""
    if not isinstance(answer, Group) or not answer.items:
        return answer
    named = [item for item in answer.items if isinstance(item, Named)]
    if len(named) != len(answer.items):
        return answer
    names = list(dict.fromkeys(item.name for item in named))
    values = [item.value for item in named]
    if len(names) == 1 or (len(names) == len(named) and len({re.sub(r"_?\d+$", "", name) for name in names}) == 1):
        return Group("", "", tuple(values))  # x = 1, x = 2 and x_1 = 1, x_2 = 2 are roots in no order
    if len(names) == len(named):
        return Group("(", ")", tuple(values))
    size = len(names)
    if [item.name for item in named] != names * (len(named) // size):
        return answer
    return Group("", "", tuple(Group("(", ")", tuple(values[i : i + size])) for i in range(0, len(values), size)))


def _ordered(a: Sequence[Answer], b: Sequence[Answer]) -> Same:
    if len(a) != len(b):
        return False
    undecided = False
    for one, other in zip(a, b, strict=True):
        same = same_answer(one, other)
        if same is False:
            return False
        undecided |= same is None
    return None if undecided else True


def _unordered(a: Sequence[Answer], b: Sequence[Answer]) -> Same:
    """Whether one is a rearrangement of the other. Equality is transitive enough for a greedy matching.

    A root may be double, so repeated values count; a tuple that is listed twice is the same solution.
    """
    a, b = _distinct_tuples(a), _distinct_tuples(b)
    if len(a) != len(b) or len(a) > 200:
        return False if len(a) != len(b) else _ordered(a, b)
    left = list(b)
    undecided = False
    for one in a:
        for i, other in enumerate(left):
            same = same_answer(one, other)
            if same:
                del left[i]
                break
            undecided |= same is None
        else:
            return None if undecided else False
    return True


def _distinct_tuples(items: Sequence[Answer]) -> Sequence[Answer]:
    if not all(isinstance(item, Group) and item.left for item in items):
        return items
    return list({key(item): item for item in items}.values())


def _matrices(a: Matrix, b: Matrix) -> Same:
    if len(a.rows) != len(b.rows) or len(a.rows[0]) != len(b.rows[0]):
        return False
    pairs = [(x, y) for row, other in zip(a.rows, b.rows, strict=True) for x, y in zip(row, other, strict=True)]
    found = [equal(x, y) for x, y in pairs]
    return False if False in found else None if None in found else True


def _ratios(a: Ratio, b: Ratio) -> Same:
    if len(a.parts) != len(b.parts):
        return False
    if a.clock or b.clock:
        found = [equal(x, y) for x, y in zip(a.parts, b.parts, strict=True)]
    else:
        found = [
            equal(tree("mul", (x, b.parts[0])), tree("mul", (y, a.parts[0])))
            for x, y in zip(a.parts[1:], b.parts[1:], strict=True)
        ]
    return False if False in found else None if None in found else True


def _relations(a: Relation, b: Relation) -> Same:
    """Equations up to a constant factor; inequalities up to a positive one, or as sets of numbers."""
    if len(a.ops) == len(b.ops) == 1:
        flip = {">": "<", ">=": "<="}
        (f, op), (g, other) = _one_sided(a, flip), _one_sided(b, flip)
        if op == other:
            if zero(f) and zero(g):  # identities: 0 = 0
                return True
            same, sign = proportional(f, g)
            if same and (op in ("=", "!=") or sign > 0):
                return True
            if op in ("=",) and same is False:
                return False
    elif a.ops == b.ops and all(equal(x, y) for x, y in zip(a.sides, b.sides, strict=True)):
        return True
    if set(a.ops) <= {"="} and set(b.ops) <= {"="}:
        return False
    if variable(a) is None or variable(a) != variable(b):
        return False
    first, second = real_set(a), real_set(b)
    return first is not None and second is not None and same_sets(first, second)


def _one_sided(relation: Relation, flip: dict[str, str]) -> tuple[Node, str]:
    """``left - right op 0`` with op one of =, !=, <, <=."""
    left, right = relation.sides
    op = relation.ops[0]
    if op in flip:
        left, right, op = right, left, flip[op]
    return tree("add", (left, tree("neg", (right,)))), op


# --- classes for voting ---------------------------------------------------------------------------------------------


def vote_class(answer: str) -> str | None:
    """A name of what the answer states, for counting votes: equal names are equal answers.

    Different names may still be equal answers of different form (``25 %`` and ``0.25``): compare representatives with
    ``equivalent``. ``None``: nothing readable, no vote.
    """
    found = read(answer)
    if found is None or (isinstance(found, Words) and found.prose):
        return None
    return bounded(lambda: key(found), None)


def key(answer: Answer) -> str:
    """The name of an answer's class, see ``vote_class``."""
    answer = _plain_group(answer)
    if isinstance(answer, Named):
        return key(answer.value) if is_plain(answer.name) else f"{answer.name} = {key(answer.value)}"
    if isinstance(answer, Value):
        name = answer.node.name if answer.node.op == "based" else fingerprint(answer.node)
        return name + suffix(answer.unit, answer.mark)
    if isinstance(answer, Group):
        return _group_key(answer)
    if isinstance(answer, Matrix):
        return "[" + "; ".join(", ".join(fingerprint(cell) for cell in row) for row in answer.rows) + "]"
    if isinstance(answer, Ratio):
        return ":".join(fingerprint(part) for part in answer.parts)
    if isinstance(answer, Choice):
        return f"({answer.letter.upper()})"
    if isinstance(answer, Words):
        return answer.text
    return _set_key(answer) or _form(answer)


def _group_key(group: Group) -> str:
    keys = [key(item) for item in group.items]
    if group.left in ("", "{"):
        return ", ".join(sorted(keys))
    return f"{group.left}{', '.join(keys)}{group.right}"


def _set_key(answer: Answer) -> str:
    pieces = real_set(answer)
    if pieces is None:
        return ""
    if pieces and all(p.low == p.high for p in pieces):
        return ", ".join(sorted(fingerprint(p.low) for p in pieces))
    return " ∪ ".join(
        f"{'[' if p.low_closed else '('}{fingerprint(p.low)}, {fingerprint(p.high)}{']' if p.high_closed else ')'}"
        for p in pieces
    )


def _form(answer: Answer) -> str:
    if isinstance(answer, Relation):
        return "".join(
            f"{fingerprint(side)} {op} " for side, op in zip(answer.sides, (*answer.ops, ""), strict=True)
        ).strip()
    if isinstance(answer, (Joined, Conditions)):
        return f"{answer.op}({'; '.join(sorted(key(part) for part in answer.parts))})"
    return ""

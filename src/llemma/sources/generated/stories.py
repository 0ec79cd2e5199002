"""The templates of the word problems: data, and the small notation in which their steps are written.

A step ``"In boxes: boxed=a*b"`` has a label, a name for its result, and two operands that are numbers of the story,
earlier results or constants. Every number told is at least 2, so nouns after numbers stand in the plural. Does not
sample or solve anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """One computation of a story: ``label: name=left sign right``."""

    label: str
    name: str
    left: str
    sign: str
    right: str


@dataclass(frozen=True, slots=True)
class Story:
    """A template: the range of each number told, the steps, and the wordings."""

    name: str
    numbers: tuple[tuple[str, range | tuple[int, ...]], ...]
    steps: tuple[Step, ...]
    asks: tuple[str, ...]


NAMES = (
    ("Tom", "he", "his"),
    ("Ana", "she", "her"),
    ("Leo", "he", "his"),
    ("Mia", "she", "her"),
    ("Sam", "he", "his"),
    ("Eva", "she", "her"),
    ("Ben", "he", "his"),
    ("Zoe", "she", "her"),
    ("Max", "he", "his"),
    ("Lily", "she", "her"),
    ("Omar", "he", "his"),
    ("Nina", "she", "her"),
    ("Jack", "he", "his"),
    ("Rosa", "she", "her"),
    ("Ivan", "he", "his"),
    ("Emma", "she", "her"),
)
THINGS = (
    "pens",
    "books",
    "apples",
    "stickers",
    "marbles",
    "cards",
    "shells",
    "stamps",
    "cookies",
    "oranges",
    "buttons",
    "coins",
)


def _story(name: str, numbers: str, steps: str, *asks: str) -> Story:
    """Read the notation: ``numbers`` like ``"a 2-9, b 10|20|50"``, ``steps`` like ``"Label: c=a*b; Next: d=c-5"``."""
    return Story(name, tuple(map(_number, numbers.split(", "))), tuple(map(_step, steps.split("; "))), asks)


def _number(text: str) -> tuple[str, range | tuple[int, ...]]:
    name, _, values = text.partition(" ")
    if "|" in values:
        return name, tuple(int(value) for value in values.split("|"))
    low, high = values.split("-")
    return name, range(int(low), int(high) + 1)


def _step(text: str) -> Step:
    match = re.fullmatch(r"(.+): (\w+)=(\w+)([-+*/])(\w+)", text)
    assert match, text
    return Step(*match.groups())


STORIES = (
    # two steps
    _story(
        "boxes",
        "a 2-9, b 2-9, c 2-20",
        "In boxes: boxed=a*b; In all: total=boxed+c",
        "{name} has {a} boxes with {b} {things} in each box. {He} finds {c} more {things}. How many {things} does "
        "{name} have now?",
        "There are {a} boxes of {b} {things} and {c} loose {things}. How many {things} are there in all?",
        "{name} packs {b} {things} into each of {a} boxes and has {c} {things} left over. How many {things} did {he} "
        "start with?",
    ),
    _story(
        "gives",
        "a 2-9, b 2-9, c 2-20",
        "At first: had=a*b; Left: left=had-c",
        "{name} buys {a} bags with {b} {things} each and gives {c} {things} to {other}. How many {things} are left?",
        "{name} has {a} packs of {b} {things}. {He} loses {c} of them. How many {things} does {he} have left?",
        "Each of {a} shelves holds {b} {things}. {name} takes {c} {things} away. How many {things} stay on the "
        "shelves?",
    ),
    _story(
        "shares",
        "a 2-40, b 2-20, k 2-9",
        "Together: total=a+b; Each: each=total/k",
        "{name} has {a} {things} and {other} has {b} {things}. They share all of them equally among {k} friends. How "
        "many {things} does each friend get?",
        "{name} puts {a} old {things} and {b} new {things} into {k} equal piles. How many {things} are in each pile?",
        "A class collects {a} {things} on Monday and {b} {things} on Tuesday. They fill {k} equal boxes. How many "
        "{things} go in each box?",
    ),
    _story(
        "change",
        "a 2-9, b 2-9, c 20|50|100",
        "Cost: cost=a*b; Change: change=c-cost",
        "{name} buys {a} {things} for {b} dollars each and pays with {c} dollars. How many dollars does {he} get back?",
        "One ticket costs {b} dollars. {name} buys {a} tickets and pays with {c} dollars. What is the change in "
        "dollars?",
        "{name} has {c} dollars and buys {a} lamps at {b} dollars each. How many dollars are left?",
    ),
    _story(
        "more",
        "a 2-30, b 2-20",
        "Second: second=a+b; Together: total=a+second",
        "{name} has {a} {things}. {other} has {b} more {things} than {name}. How many {things} do they have together?",
        "{name} is {a} years old and {other} is {b} years older. What is the sum of their ages?",
        "On Monday {name} reads {a} pages. On Tuesday {he} reads {b} pages more than on Monday. How many pages does "
        "{he} read on both days?",
    ),
    _story(
        "reads",
        "a 2-12, b 2-9, c 30-99",
        "Read: done=a*b; Left: left=c-done",
        "A book has {c} pages. {name} reads {a} pages a day for {b} days. How many pages are left?",
        "{name} must paint {c} boards and paints {a} boards each day. How many boards are left after {b} days?",
        "A road of {c} miles is being built. Workers finish {a} miles a week. How many miles are left after {b} weeks?",
    ),
    _story(
        "perimeter",
        "a 2-20, b 2-20",
        "Half: half=a+b; All sides: total=2*half",
        "A rectangle is {a} meters long and {b} meters wide. What is its perimeter in meters?",
        "{name} walks once around a garden that is {a} meters by {b} meters. How many meters does {he} walk?",
        "How many meters of fence does {name} need for a yard {a} meters long and {b} meters wide?",
    ),
    _story(
        "tiles",
        "a 2-9, b 2-9, k 2-9",
        "Area: area=a*b; Needed: needed=area*k",
        "A floor is {a} meters by {b} meters. Each square meter needs {k} tiles. How many tiles are needed?",
        "{name} plants {a} rows of {b} trees. Each tree gives {k} apples. How many apples are there?",
        "A school has {a} floors with {b} rooms each. Each room has {k} lamps. How many lamps are in the school?",
    ),
    _story(
        "teams",
        "a 10-60, b 2-20, k 2-9",
        "Playing: left=a-b; Teams: teams=left/k",
        "There are {a} children at a camp and {b} go home. The others form teams of {k}. How many teams are there?",
        "{name} has {a} {things} and gives {b} away. {He} packs the rest in bags of {k}. How many bags does {he} fill?",
        "Of {a} eggs, {b} break. The others are put in boxes of {k}. How many boxes are filled?",
    ),
    # three steps
    _story(
        "two_kinds",
        "a 2-9, b 2-9, c 2-9, d 2-9",
        "First: first=a*b; Second: second=c*d; Total: total=first+second",
        "{name} buys {a} hats for {b} dollars each and {c} cups for {d} dollars each. How many dollars does {he} pay?",
        "{name} has {a} boxes of {b} {things} and {other} has {c} boxes of {d} {things}. How many {things} do they "
        "have together?",
        "{name} runs {a} miles on each of {b} days and {c} miles on each of {d} days. How many miles does {he} run?",
    ),
    _story(
        "legs",
        "a 2-12, b 2-12",
        "Birds: birds=a*2; Cows: cows=b*4; Legs: legs=birds+cows",
        "A farm has {a} hens and {b} cows. How many legs do the animals have?",
        "{name} sees {a} ducks and {b} horses. How many legs are there in all?",
        "There are {a} bikes and {b} cars in a yard. How many wheels are there?",
    ),
    _story(
        "savings",
        "a 2-9, b 2-9, c 2-20, d 2-40",
        "Saved: saved=a*b; With gift: total=saved+c; Left: left=total-d",
        "{name} saves {a} dollars a week for {b} weeks and gets {c} dollars as a gift. Then {he} spends {d} dollars. "
        "How many dollars are left?",
        "{name} works {b} hours for {a} dollars an hour and gets a tip of {c} dollars. {He} buys a shirt for {d} "
        "dollars. How many dollars does {he} have left?",
        "{name} collects {a} {things} a day for {b} days. {other} gives {name} {c} more, but {d} get lost. How many "
        "{things} does {name} have?",
    ),
    _story(
        "bus",
        "a 10-50, b 2-9, c 2-9, d 2-9",
        "After one stop: one=a-b; People get on: two=one+c; At the end: end=two-d",
        "A bus has {a} people. At the first stop {b} get off and {c} get on. At the next stop {d} get off. How many "
        "people are on the bus?",
        "{name} has {a} {things}. {He} loses {b}, finds {c} and gives {d} to {other}. How many {things} does {name} "
        "have?",
        "A library has {a} books. {b} books go out, {c} books come back, and {d} books are sold. How many books are "
        "there?",
    ),
    _story(
        "pages",
        "a 2-9, b 2-9, c 2-20, k 2-9",
        "At first: had=a*b; Left: left=had-c; Each: each=left/k",
        "{name} has {a} bags of {b} {things}. {He} loses {c} and shares the rest equally among {k} friends. How many "
        "{things} does each friend get?",
        "A shop gets {a} boxes of {b} cups. {c} cups are broken and the others go on {k} equal shelves. How many "
        "cups are on each shelf?",
        "{a} buses bring {b} children each. {c} children stay outside and the others form {k} equal groups. How many "
        "children are in each group?",
    ),
    _story(
        "times_as_many",
        "a 2-15, k 2-6, c 2-20",
        "Second: second=a*k; Both: both=a+second; Left: left=both-c",
        "{name} has {a} {things} and {other} has {k} times as many. Together they give {c} away. How many {things} "
        "do they have left?",
        "{name} scores {a} points and {other} scores {k} times as many. Their team loses {c} points. How many points "
        "does the team have?",
        "{name} walks {a} miles and {other} walks {k} times as far. Then {c} of the miles are not counted. How many "
        "miles are counted?",
    ),
    _story(
        "trip",
        "a 10|20|30|40, b 2-4, c 2-20, d 100|150|200",
        "Driven: driven=a*b; With the rest: done=driven+c; Left: left=d-done",
        "{name} drives {a} miles an hour for {b} hours and then {c} miles more. The whole trip is {d} miles. How "
        "many miles are left?",
        "A tank holds {d} liters. A pump fills in {a} liters an hour for {b} hours, then {name} adds {c} liters. How "
        "many liters still fit in?",
        "{name} needs {d} dollars. {He} earns {a} dollars a day for {b} days and gets {c} dollars as a gift. How "
        "many dollars are still needed?",
    ),
    # four steps
    _story(
        "shop",
        "a 2-9, b 2-9, c 2-9, d 2-9, e 50|100|200",
        "First: first=a*b; Second: second=c*d; Cost: cost=first+second; Change: change=e-cost",
        "{name} buys {a} hats for {b} dollars each and {c} cups for {d} dollars each. {He} pays with {e} dollars. "
        "How many dollars does {he} get back?",
        "{name} has {e} {things}. {He} fills {a} boxes with {b} {things} each and {c} bags with {d} {things} each. "
        "How many {things} are left?",
        "A hall has {e} seats. {a} classes of {b} children and {c} groups of {d} people come. How many seats stay "
        "free?",
    ),
    _story(
        "three_friends",
        "a 3-15, k 2-4, c 2-12",
        "Second: second=a*k; Third: third=second-c; First two: two=a+second; All: whole=two+third",
        "{name} has {a} {things}. {other} has {k} times as many. Kim has {c} fewer than {other}. How many {things} "
        "do the three have?",
        "A red bag holds {a} {things}. A blue bag holds {k} times as many, and a green bag holds {c} fewer than the "
        "blue bag. How many {things} are in the three bags?",
        "{name} reads {a} pages on Monday, {k} times as many on Tuesday, and {c} fewer on Friday than on Tuesday. "
        "How many pages does {he} read on the three days?",
    ),
    _story(
        "baskets",
        "a 2-9, b 2-9, c 2-9, d 2-9, k 2-9",
        "First: first=a*b; Second: second=c*d; Total: total=first+second; Each: each=total/k",
        "{name} picks {a} apples from each of {b} trees and {c} apples from each of {d} trees. {He} fills {k} equal "
        "baskets. How many apples are in each basket?",
        "{a} boxes hold {b} {things} each and {c} bags hold {d} {things} each. {k} friends share them all equally. "
        "How many {things} does each friend get?",
        "{name} saves {a} dollars a week for {b} weeks, then {c} dollars a week for {d} weeks. {He} spends it "
        "equally over {k} days. How many dollars is that a day?",
    ),
    _story(
        "bakery",
        "a 2-9, b 2-9, c 2-20, k 2-9, d 2-20",
        "Baked: baked=a*b; Sold: rest=baked-c; Boxes: boxes=rest/k; Now: now=boxes+d",
        "A baker makes {a} trays of {b} rolls and sells {c} rolls. The others go into boxes of {k}. There were {d} "
        "full boxes before. How many full boxes are there now?",
        "{name} has {a} sheets of {b} stamps and uses {c} stamps. {He} puts the rest on pages, {k} on each. {He} "
        "already had {d} full pages. How many full pages are there now?",
        "{a} vans bring {b} chairs each, and {c} chairs are broken. The good ones make rows of {k}. {d} rows stood "
        "there before. How many rows are there now?",
    ),
    # five steps
    _story(
        "fair",
        "a 2-9, b 2-9, c 2-9, d 2-9, e 2-30, k 2-9",
        "First: first=a*b; Second: second=c*d; Total: total=first+second; Left: left=total-e; Each: each=left/k",
        "{name} sells {a} cakes for {b} dollars each and {c} pies for {d} dollars each. {He} pays {e} dollars for "
        "the stand and shares the rest equally among {k} helpers. How many dollars does each helper get?",
        "{a} boxes hold {b} {things} each and {c} bags hold {d} {things} each. {name} keeps {e} and {k} friends "
        "share the rest equally. How many {things} does each friend get?",
        "{a} rows of {b} seats and {c} rows of {d} seats are set up. {e} seats are taken away. The others form {k} "
        "equal blocks. How many seats are in each block?",
    ),
    _story(
        "collection",
        "a 3-15, k 2-4, c 2-12, d 2-20",
        "Second: second=a*k; Third: third=second-c; First two: two=a+second; All: whole=two+third; Left: left=whole-d",
        "{name} has {a} {things}. {other} has {k} times as many. Kim has {c} fewer than {other}. Together they sell "
        "{d} {things}. How many {things} are left?",
        "A red bag holds {a} {things}. A blue bag holds {k} times as many, and a green bag holds {c} fewer than the "
        "blue bag. {name} takes {d} {things} out. How many {things} stay in the three bags?",
    ),
)

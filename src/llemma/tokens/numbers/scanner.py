"""Finds the numbers in a text: where each stands, how it is written, and its exact value.

One scanner for every encoding. A number is a run of the digits 0-9 with its decimal point, its exponent, its thousands
in groups of three, and its sign where that is no minus between operands (``3-2`` is 3 and 2, ``x = -3`` is -3). No
numbers: digits inside names (``x2``, ``H2O``, ``0x1F``), versions and addresses (``3.0.1``). Dates are three numbers.
Values are kept as digits and a power of ten: nothing is rounded, nothing overflows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

# A sign belongs to its number unless something stands before it that it could be subtracted from.
_NUMBER = re.compile(
    r"""
    (?= [+\-−.0-9] )
    (?<![\w.])                                      # not inside a name, a version, a fraction
    (?: (?<! [)\]}%'"′″!°] ) (?P<sign>[+\-−]) )?
    (?<!\w)                                         # x-3: the minus stands behind a name, the 3 does not
    (?P<whole>
        [1-9][0-9]{0,2} (?P<comma>[,_\u2009\u202f]) [0-9]{3} (?: (?P=comma) [0-9]{3} )*+ (?! (?P=comma)? [0-9] | _ )
      | [0-9]++
    )?+
    (?: \. (?P<decimals>[0-9]++) | (?<=[0-9])\.(?=[eE][+\-−]?[0-9]) )?+
    (?<=[0-9.])(?<![+\-−]\.)
    (?: [eE] (?P<exponent>[+\-−]?[0-9]{1,9}+) (?![0-9]) )?+
    (?! \.[0-9] | [^\W0-9]*+ [0-9] | [^\W0-9]*_ )   # 3.0.1, 0x1F, 3f2a, 2_a
    """,
    re.VERBOSE,
)
_MINUS = str.maketrans("−", "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number of a text: ``sign * int(digits) * 10**exponent``, written as ``surface`` at ``start:end``.

    ``digits`` has no zeros in front; of the number 0 it is ``"0"``.
    """

    start: int
    end: int
    surface: str
    sign: int
    digits: str
    exponent: int

    @property
    def decimal(self) -> Decimal:
        """The exact value."""
        return Decimal((int(self.sign < 0), tuple(map(int, self.digits)), self.exponent))

    @property
    def fraction(self) -> Fraction:
        """The exact value. Takes memory in proportion to the exponent."""
        return Fraction(self.decimal)

    @property
    def float(self) -> float:
        """The nearest double; infinite beyond 1.8e308, zero below 4.9e-324."""
        return float(self.decimal)

    @property
    def magnitude(self) -> int:
        """The power of ten of the first digit: 0 for 1 to 9.99, 2 for 143; 0 for zero."""
        return 0 if self.digits == "0" else len(self.digits) - 1 + self.exponent


def scan(text: str) -> Iterator[Number]:
    """The numbers of a text, in order; they do not overlap."""
    for found in _NUMBER.finditer(text):
        whole, decimals = found["whole"] or "", found["decimals"] or ""
        if found["comma"]:
            whole = whole.replace(found["comma"], "")
        digits = (whole + decimals).lstrip("0") or "0"
        yield Number(
            start=found.start(),
            end=found.end(),
            surface=found[0],
            sign=-1 if found["sign"] in ("-", "−") else 1,
            digits=digits,
            exponent=int((found["exponent"] or "0").translate(_MINUS)) - len(decimals),
        )


def number(surface: str) -> Number:
    """The number that a whole text is. Raises ValueError when it is none."""
    found = next(scan(surface), None)
    if found is None or found.surface != surface:
        raise ValueError(f"{surface!r} is not one number")
    return found

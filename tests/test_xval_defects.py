"""What the released code of xVal gets wrong (docs/numbers.md has the list), shown right here."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from llemma.tokens.numbers import ENCODINGS, encoding, number, problems, scan
from llemma.tokens.numbers.probe import shown
from llemma.tokens.numbers.text import NumberText

every_encoding = pytest.mark.parametrize("name", ENCODINGS)


def test_values_are_kept():
    """There: float16."""
    text = "2049, 70000, 0.00000001, 143.4567, 123456789012345 and 1e400"
    kept = NumberText(encoding("xval")).encode(text.removesuffix(" and 1e400"))
    assert [str(placed.number.decimal) for placed in kept.numbers] == [
        "2049", "70000", "1E-8", "143.4567", "123456789012345",
    ]  # fmt: skip
    features = encoding("xval").features([placed.number for placed in kept.numbers])
    assert features.dtype == np.float64
    assert features[:, 0].tolist() == [2049, 70000, 1e-8, 143.4567, 123456789012345.0]
    *_, huge = scan(text)
    assert huge.decimal == Decimal("1e400") and encoding("xval").write(huge) is None  # not an infinity


@pytest.mark.parametrize("name", ["p10", "p1000", "b1999", "fp15"])
def test_what_is_too_large_is_spelt(name):
    """There: ``123456789`` becomes ``+ 1.23 +``, and ``+ +``."""
    reader = NumberText(encoding(name))
    for surface in ("123456789", "-9.999e7", "1e300", "0.00000001"):
        text = f"x = {surface};"
        encoded = reader.encode(text)
        assert reader.encoding.write(number(surface)) is None and encoded.numbers == ()
        assert reader.read(encoded.ids) == text  # from the ids alone: every character is there
    assert reader.encoding.write(number("99900000")) is not None  # the largest


def test_orbits_are_the_ones_checked(monkeypatch):
    """There: one simulation is tested, another is saved."""
    used = []
    frames = problems._frames

    def watched(random, outer):
        used.append(outer)
        return frames(random, outer)

    monkeypatch.setattr(problems, "_frames", watched)
    made = problems.orbits(300, 100, 4)
    train, inside, gap, beyond = used
    for axes in (train, inside):
        assert (((axes >= 1.7) & (axes < 2.0)) | ((axes >= 2.3) & (axes < 2.7))).all()
    assert ((gap >= 2.0) & (gap < 2.3)).all() and ((beyond >= 2.7) & (beyond < 3.0)).all()
    for axes, some in ((train, made.train), (inside, made.inside), (gap, made.gap), (beyond, made.beyond)):
        far = np.hypot(some.targets[:, 2], some.targets[:, 3])  # eccentricities are below 0.1
        assert len(far) == len(axes) and (np.abs(far / axes - 1) < 0.12).all()


def test_nothing_is_left_from_before():
    """There: tokenisers made one after the other share lists, and NumPy 2 writes 64 before every value."""
    before = {name: (encoding(name).vocabulary, NumberText(encoding(name)).encode("3-2 = 1").ids) for name in ENCODINGS}
    for name in reversed(ENCODINGS):
        NumberText(encoding(name)).encode("5 of 7, 1.25e3")
    assert before == {
        name: (encoding(name).vocabulary, NumberText(encoding(name)).encode("3-2 = 1").ids) for name in ENCODINGS
    }
    assert [str(n.decimal) for n in scan("np.float64(1.31)")] == ["1.31"]
    values = np.array([[np.float64(1.31), np.float64(-2)]])
    made = problems.Problems(inputs=values, targets=values, decimals=2)
    assert shown(encoding("xval"), made).tolist() == [[1.31, -2]]


@every_encoding
def test_no_character_is_special(name):
    """There: ``¬`` stands for a number while a text is decoded, and becomes one."""
    reader = NumberText(encoding(name))
    for text in ("¬", "3 ¬ 5¬", "not [NUM] but 7", "[MASK] 1 [PAD]", "<?> 2", "'{'a': 1.5}'"):
        encoded = reader.encode(text)
        assert reader.decode(encoded) == text
        assert len(encoded.numbers) == len(list(scan(text)))


def test_a_number_beside_a_quote_is_a_number():
    """There: left alone, but for what backtracks past the quote."""
    assert [n.surface for n in scan("'12.5' and 12.5' and '7")] == ["12.5", "12.5", "7"]


def test_a_masked_number_and_zero_are_no_special_values():
    """There: 1 stands for words and masked numbers; FoNE's release reads 0 as "no number"."""
    text = NumberText(encoding("xval"))
    encoded = text.encode("0 and 1")
    assert [placed.number.float for placed in encoded.numbers] == [0, 1]
    assert [encoded.ids[placed.first] for placed in encoded.numbers] == [text.num_id] * 2
    for name in ("fone", "bits", "hybrid"):
        zero, one = encoding(name).features([number("0"), number("1")])
        assert not np.array_equal(zero, one) and zero.any()  # zero shows something

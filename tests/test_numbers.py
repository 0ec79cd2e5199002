"""Numbers in texts: the scanner, every encoding, texts that come back, and what the probe finds."""

from __future__ import annotations

import json
import os
import random
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llemma.config import resolve
from llemma.errors import ConfigError
from llemma.tokens.numbers import ENCODINGS, Places, card, encoding, number, scan
from llemma.tokens.numbers.bits import read_bits
from llemma.tokens.numbers.digits import Abacus
from llemma.tokens.numbers.encoding import NUM
from llemma.tokens.numbers.fone import FoNE, read_circles
from llemma.tokens.numbers.hybrid import Hybrid
from llemma.tokens.numbers.place import Place
from llemma.tokens.numbers.probed import probe
from llemma.tokens.numbers.problems import orbits, quadratic
from llemma.tokens.numbers.text import NumberText
from llemma.tokens.settings import ENCODING_NAMES, NumbersConfig

# What the scanner of the xVal release reads wrong: signs, dates, commas, names, versions, quotes, overflow, zeros.
PROBES = {
    "3-2": ["3", "2"],
    "2023-11-22": ["2023", "11", "22"],
    "1,234": ["1234"],
    ".5": ["0.5"],
    "0x1F": [],
    "1_000": ["1000"],
    "3.0.1": [],
    "12.5'": ["12.5"],
    "1e400": ["1E+400"],
    "143 and 143.0": ["143", "143.0"],
    "143 007 143.0": ["143", "7", "143.0"],
    "x=-3": ["-3"],
    "3.14159.": ["3.14159"],
}
OTHERS = {
    "x-3": ["3"], "5 -3": ["5", "-3"], "10^-3": ["10", "-3"], "3--2": ["3", "-2"], "−7": ["-7"], "f(1)-2": ["1", "2"],
    "50%-3": ["50", "3"], "x_1 + x2 + H2O": [], "5kg, 3rd": ["5", "3"], "2x^2+3x": ["2", "2", "3"], "10.0.0.1": [],
    "(1,234,5)": ["1", "234", "5"], "1,234,567.89": ["1234567.89"], "0,123": ["0", "123"], "1..5": ["1"],
    "1e-5 1E+5": ["0.00001", "1E+5"], "1e5.5": [], "1.e5": ["1E+5"], "1\u202f234\u202f567": ["1234567"], "": [],
    "-": [], "3f2a": [], "1/2": ["1", "2"], "½ ٣": [], "-.5": ["-0.5"], "1e1234567890": [],
}  # fmt: skip


@pytest.mark.parametrize("text", [*PROBES, *OTHERS])
def test_scanner(text):
    found = [n.decimal for n in scan(text)]
    assert found == [Decimal(value) for value in (PROBES | OTHERS)[text]]
    assert [str(n.decimal) for n in scan("143.0")] == ["143.0"]  # its precision is kept


def test_settings_know_the_encodings_without_loading_them():
    assert tuple(ENCODINGS) == ENCODING_NAMES


def test_thirteen_probes_come_back():
    assert len(PROBES) == 13
    for name in ENCODINGS:
        text = NumberText(encoding(name))
        assert [text.decode(text.encode(probe)) for probe in PROBES] == list(PROBES)


@given(st.text() | st.text(alphabet="0123456789.,-+−eE_ xX/%()'\"\u202fé\ud800"), st.sampled_from(sorted(ENCODINGS)))
def test_every_text_comes_back(text, name):
    reader = NumberText(encoding(name))
    encoded = reader.encode(text)
    assert reader.decode(encoded) == text
    assert all(0 <= i < reader.vocab_size for i in encoded.ids)
    places = [place for placed in encoded.numbers for place in range(placed.first, placed.last)]
    assert all(encoded.ids[place] >= reader.base.vocab_size for place in places)


@pytest.mark.slow
def test_a_million_texts_and_ten_thousand_real_ones_come_back():
    """``LLEMMA_TEXTS=1000000 pytest -m slow tests/test_numbers.py``; real texts from LLEMMA_DATA."""
    source = random.Random(7)
    alphabet = "0123456789" * 6 + "..,,--++eE_−xX/%()[]{} '\"$^=\u2009\u202fañ½٣\ud800🙂\n"
    readers = [NumberText(encoding(name)) for name in ENCODINGS]
    for k in range(int(os.environ.get("LLEMMA_TEXTS", "100000"))):
        text = "".join(source.choices(alphabet, k=source.randrange(1, 24)))
        reader = readers[k % len(readers)]
        assert reader.decode(reader.encode(text)) == text, (reader.encoding.name, text)
    data = os.environ.get("LLEMMA_DATA")
    if not data:
        pytest.skip("real texts: LLEMMA_DATA=FOLDER pytest -m slow tests/test_numbers.py")
    files = [Path(data) / "gsm8k_train.jsonl", Path(data) / "math_test.jsonl"]
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").split("\n") if line]
    texts = ["\n".join(str(value) for value in row.values()) for row in rows]
    assert len(texts) >= 10_000
    for k, text in enumerate(texts):
        reader = readers[k % len(readers)]
        assert reader.decode(reader.encode(text)) == text


DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**8), max_value=10**8)


@given(DECIMALS, st.sampled_from(sorted(ENCODINGS)))
def test_written_numbers_are_read_back(value, name):
    made = encoding(name)
    one = number(f"{value:f}")
    tokens = made.write(one)
    if tokens is None:
        assert name in ("p10", "p1000", "b1999", "fp15")
        return
    assert set(tokens) <= set(made.vocabulary)
    if made.valued:
        assert tokens == (NUM,) and made.read(tokens) is None
        assert np.isfinite(made.features([one])).all()
        return
    back = made.read(tokens)
    assert back is not None
    if made.lossless:
        assert number(back).decimal == one.decimal
    else:
        assert abs(Decimal(back) - one.decimal) <= abs(one.decimal) * Decimal("0.005")


def test_vocabularies_of_the_published_baselines():
    assert {name: len(encoding(name).vocabulary) for name in ("p10", "p1000", "b1999", "fp15")} == {
        "p10": 28, "p1000": 918, "b1999": 1816, "fp15": 27001,
    }  # fmt: skip
    assert encoding("p10").write(number("-60.2")) == ("-", "6", "0", "2", "e+1")
    assert encoding("p1000").write(number("-60.2")) == ("-", "6.02", "e+1")
    assert encoding("b1999").write(number("-60.2")) == ("-6.02", "e+1")
    assert encoding("fp15").write(number("-60.2")) == ("-6.02e+1",)
    assert encoding("fp15").write(number("9.995")) == ("+1.00e+1",)
    assert encoding("fp15").write(number("123456789")) is None  # never cut off silently
    assert all(len(set(encoding(name).vocabulary)) == len(encoding(name).vocabulary) for name in ENCODINGS)


def test_chunks_from_either_side():
    left, right = encoding("chunk3-l2r"), encoding("chunk3-r2l")
    assert left.write(number("1430")) == ("143", "0") and right.write(number("1430")) == ("1", "430")
    assert left.write(number("1234567")) == ("123", "456", "7") and right.write(number("1234567")) == (
        "1",
        "234",
        "567",
    )
    assert right.write(number("3.14159")) == ("3", ".", "141", "59")


def test_abacus_counts_places_from_the_last_digit():
    abacus = Abacus()
    tokens = abacus.write(number("-1234"))
    assert tokens == ("-", "4", "3", "2", "1") and abacus.places(tokens) == [0, 1, 2, 3, 4]


PLACES = Places(whole=12, decimals=4)


@given(st.integers(0, 10**16 - 1))
def test_circles_hold_every_digit(fixed):
    text = f"{fixed:017d}"
    features = FoNE(PLACES).features([number(f"{text[:-4]}.{text[-4:]}")])
    assert read_circles(features, PLACES) == [fixed]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_bits_hold_the_double(value):
    (found,) = scan(f"{Decimal(value):f}")
    assert read_bits(encoding("bits").features([found])) == [value]


@pytest.mark.parametrize("name", sorted(ENCODINGS))
def test_a_text_without_numbers_has_no_features(name):
    made = encoding(name)
    assert made.features([]).shape == (0, made.features([number("7")]).shape[1])


def test_xval_is_the_embedding_times_the_value():
    """Golkar et al. 2023, eq. 1: the embedding of [NUM] is multiplied by the value."""
    numbers = [number(s) for s in ("0", "-2.5", "143", "1e3")]
    embedding = np.arange(1.0, 9.0)
    expected = np.array([[0.0], [-2.5], [143.0], [1000.0]]) * embedding
    assert np.array_equal(encoding("xval").features(numbers) @ embedding[None, :], expected)


def test_outside_the_range_is_said():
    for made in (
        Place(Places(whole=3, decimals=2)),
        FoNE(Places(whole=3, decimals=2)),
        Hybrid(Places(whole=3, decimals=2)),
    ):
        assert made.write(number("999.99")) is not None
        for text in ("1000", "0.001", "1e400", "1e-400"):
            assert made.write(number(text)) is None
            with pytest.raises(ValueError, match="outside the range"):
                made.features([number(text)])
    assert card(encoding("fp15"), [number("1"), number("1e9")]).refused == 0.5
    with pytest.raises(ConfigError, match="did you mean hybrid"):
        encoding("hybird")


def test_a_comparison_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="name at least one"):
        resolve(NumbersConfig, words=["action=cards", "encodings="])


def test_generated_ids_are_read():
    digits = NumberText(encoding("digits-reversed"))
    assert digits.read(digits.encode("x = -143, y").ids) == "x = -143, y"
    xval = NumberText(encoding("xval"))
    ids = xval.encode("a 5 b 7").ids
    (first, second) = [k for k, i in enumerate(ids) if i == xval.num_id]
    assert xval.read(ids, {first: "2.5"}) == "a 2.5 b <?>" and second > first
    p10 = NumberText(encoding("p10"))
    broken = p10.encode("n 143").ids[:-1]  # the exponent is missing
    assert p10.read(broken) == "n <?>"


def test_orbits_keep_their_energy_and_sets_apart():
    made = orbits(50, 20, 3)
    again = orbits(50, 20, 3)
    assert np.array_equal(made.train.inputs, again.train.inputs)
    errors = {k: np.abs(quadratic(p) - p.targets).max() for k, p in (("train", made.train), ("gap", made.gap))}
    assert all(error < 0.2 for error in errors.values())
    radius = np.linalg.norm(made.beyond.targets[:, 2:], axis=1)
    assert (radius > 2.7 * 0.89).all() and (np.linalg.norm(made.gap.targets[:, 2:], axis=1) < 2.3 * 1.11).all()


@pytest.mark.slow
def test_the_probe_finds_the_known_order(tmp_path):
    """A small version of the table: smooth physics wants the value, the last digit of a product wants the digits."""
    config = NumbersConfig(
        action="probe", encodings=("digits", "p10", "fp15", "xval", "xval-log", "fone", "hybrid"),
        tasks=("orbits", "product3"), samples=700, seeds=1, run=tmp_path / "r",
    )  # fmt: skip
    table = probe(config)
    error = {line["encoding"]: line["inside"]["mean"] for line in table["orbits"]}
    assert error["xval"] < error["fone"] < error["p10"] < error["fp15"]
    assert error["xval"] < error["xval-log"] < error["predict the mean"]
    assert error["quadratic extrapolation"] < error["predict the mean"]
    assert error["hybrid"] <= 2 * error["xval"]
    product = {line["encoding"]: line for line in table["product3"]}
    assert product["xval"]["units"]["mean"] < 0.4 < product["digits"]["units"]["mean"]
    three = {figure: product["the truth to three figures"][figure]["mean"] for figure in ("r2", "exact")}
    assert three["r2"] > 0.9999 and three["exact"] < 0.1
    before = (tmp_path / "r" / "rows.jsonl").read_bytes()
    assert probe(config) == table and (tmp_path / "r" / "rows.jsonl").read_bytes() == before  # nothing done twice

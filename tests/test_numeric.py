"""Models behind a number encoding: what goes in, what is learnt, what comes out, and what is kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from llemma.errors import ConfigError, DataError, RunError
from llemma.models.checkpoint import load_tensors
from llemma.models.hf import HfModel, fitted
from llemma.models.llama import Llama, LlamaConfig, initialise
from llemma.models.number_heads import PACE, BitReader, Circles, Joint, Scalar
from llemma.models.numeric import NumericLM, grown, initialise_own, open_numeric, places_of, text_of, words_of
from llemma.models.numeric_config import NumericSettings
from llemma.tokens.numbers import ENCODINGS, Places, number
from llemma.tokens.numbers.digits import Abacus
from llemma.tokens.numbers.fone import FoNE
from llemma.tokens.numbers.hybrid import Hybrid
from llemma.tokens.numbers.tasks import Sample
from llemma.tokens.numbers.values import Values
from llemma.tokens.numbers.xval import XVal, XValLog
from llemma.train.batch import Batch
from llemma.train.checkpoint import checkpoints
from llemma.train.config import ModelSizes, OptimConfig, TrainConfig
from llemma.train.loop import train
from llemma.train.numeric import NumberTokens, encoded, number_rows, number_tokens
from llemma.train.numeric_config import NumericConfig

WIDTH = 32


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny products are slower on two threads of a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


VALUED = ("xval", "xval-log", "fone", "bits", "hybrid")
NARROW = {"whole": 6, "decimals": 2, "scale": 1e-2}


def sizes(vocabulary: int) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip


def made(name: str, **changes) -> NumericLM:
    """A tiny Llama of random weights behind an encoding, on bytes."""
    chosen = NumericSettings(encoding=name, **(NARROW | changes))
    from llemma.models.numeric import text_of

    base = Llama(sizes(text_of(chosen, None).vocab_size))
    initialise(base, 0)
    model = NumericLM(base, chosen)
    initialise_own(model, 0)
    return model


def given_to(model: NumericLM, text: str) -> tuple[torch.Tensor, torch.Tensor]:
    """A text as a batch of one: ids and numbers."""
    one = model.text.encode(text)
    return torch.tensor([one.ids]), torch.from_numpy(words_of(model.text, one))[None]


# --- values ---------------------------------------------------------------------------------------------------------

DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, places=7, min_value=-(10**12), max_value=10**12)


@given(DECIMALS, st.integers(0, 9), st.integers(0, 9))
def test_values_hold_what_places_hold(value, whole, decimals):
    one = number(f"{value:f}")
    values = Values.of([one])
    units, exact = values.units(whole, decimals)
    expected = Places(whole=whole, decimals=decimals).fixed(one)
    assert exact[0] == (expected is not None)
    assert units[0] == (0 if expected is None else one.sign * expected)
    again = Values.unpack(values.pack())
    assert again.coefficient[0] == values.coefficient[0] and again.double[0] == one.float


def test_numbers_of_many_figures_are_refused_not_cut():
    long = Values.of([number("1" * 19), number("0." + "1" * 19), number("1e400"), number("12e-400"), number("0")])
    units, exact = long.units(18, 0)
    assert exact.tolist() == [False, False, False, False, True] and not units.any()
    with pytest.raises(ValueError, match="more than 18"):
        Places(whole=12, decimals=7)


# --- what goes in ---------------------------------------------------------------------------------------------------


def test_xval_goes_in_as_the_paper_has_it():
    """Golkar et al. 2023, eq. 1: embedding times value; then the anchor in place of the position's embedding."""
    model = made("xval")
    ids, words = given_to(model, "f(-2.5) = 143")
    embedded, plain = model.embed(ids, words), model.base.embedding()(ids)
    at = (ids == model.text.num_id)[0]
    assert at.sum() == 2
    values = torch.tensor([-2.5, 143.0]) * 1e-2
    expected = values[:, None] * plain[0, at] + model.into.anchor
    assert torch.allclose(embedded[0, at], expected, atol=1e-7)
    assert torch.equal(embedded[0, ~at], plain[0, ~at])


@pytest.mark.parametrize("name", VALUED)
def test_numbers_change_what_is_read_and_words_do_not(name):
    model = made(name)
    with torch.no_grad():
        one, two = (model(*given_to(model, text)) for text in ("a 12 b", "a 13 b"))
    assert torch.equal(one[0, :2], two[0, :2])
    assert not torch.allclose(one[0, 2:], two[0, 2:])
    with pytest.raises(ValueError, match="needs the numbers"):
        model(given_to(model, "a 12 b")[0])


@given(st.text(alphabet="0123456789.,-+ ax", max_size=30))
def test_abacus_knows_the_place_of_every_digit(text):
    model = _ABACUS
    one = model.text.encode(text)
    expected = [0] * len(one.ids)
    for placed in one.numbers:
        tokens = model.text.encoding.write(placed.number)
        expected[placed.first : placed.last] = Abacus().places(tokens)
    if one.ids:
        assert model._place(torch.tensor([one.ids]))[0].tolist() == expected


_ABACUS = made("abacus", offset=20)


def test_abacus_moves_places_in_training_alone_and_the_same_again():
    ids, words = given_to(_ABACUS, "123+45=168\n")
    with torch.no_grad():
        plain = _ABACUS.loss(ids, words=words)
        assert _ABACUS._shift(ids) is None
    learnt = [_ABACUS.loss(ids, words=words).item() for _ in range(2)]
    assert learnt[0] == learnt[1] != float(plain)
    many = torch.randint(0, 256, (400, 12), generator=torch.Generator().manual_seed(0))
    assert set(_ABACUS._shift(many).tolist()) == set(range(21))


# --- what is learnt -------------------------------------------------------------------------------------------------


def test_the_loss_is_cross_entropy_and_squared_error_side_by_side():
    model = made("xval", number_weight=2.0)
    ids, words = given_to(model, "f 12 g 7 h")
    hidden = model.base.hidden(model.embed(ids[:, :-1], words[:, :-1]))
    cross = F.cross_entropy(model.base.logits(hidden)[0], ids[0, 1:], reduction="sum")
    at = ids[0, 1:] == model.text.num_id
    square = (model.head.out(hidden[0, at])[:, 0] - torch.tensor([0.12, 0.07])).square().sum()
    total, count = model.loss_sum(ids, words=words)
    assert count == ids.shape[1] - 1
    assert torch.allclose(total, cross + 2.0 * square, atol=1e-5)
    assert torch.allclose(model.loss(ids, words=words), total / count)


@pytest.mark.parametrize("kind", ["was", "mse"])
def test_number_token_loss_is_the_distance_among_digits(kind):
    model = made("digits", ntl=kind, ntl_weight=0.5)
    ids, words = given_to(model, "a=31")
    logits = model(ids[:, :-1])
    plain = F.cross_entropy(logits[0], ids[0, 1:], reduction="sum")
    first = model.text.base.vocab_size
    digit = [first + model.text.encoding.vocabulary.index(str(d)) for d in range(10)]
    expected = torch.zeros(())
    for place, true in ((1, 3.0), (2, 1.0)):
        p = logits[0, place, digit].softmax(-1)
        values = torch.arange(10.0)
        expected = expected + (((p * values).sum() - true) ** 2 if kind == "mse" else (p * (values - true).abs()).sum())
    assert torch.allclose(model.loss_sum(ids, words=words)[0], plain + 0.5 * expected, atol=1e-5)


def test_number_token_loss_needs_digits():
    with pytest.raises(ConfigError, match="no tokens that are whole numbers"):
        made("fp15", ntl="mse")


@pytest.mark.parametrize("name", [*VALUED, "abacus"])
def test_every_parameter_learns(name):
    model = made(name)
    ids, words = given_to(model, "x 12.5 y 3 z")
    model.loss(ids, words=words).backward()
    assert [n for n, p in model.own().items() if p.grad is None or not p.grad.abs().sum() > 0] == []


# --- what comes out -------------------------------------------------------------------------------------------------


def says(linear: nn.Linear, wanted: torch.Tensor) -> None:
    """Let a linear layer say the same whatever it is given."""
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.copy_(wanted)


PLACES = Places(whole=6, decimals=2)
UNITS = st.integers(-(10**8) + 1, 10**8 - 1)


def written(units: int) -> str:
    whole, behind = divmod(abs(units), 100)
    return f"{'-' * (units < 0)}{whole}.{behind:02d}".rstrip("0").rstrip(".")


@given(UNITS)
@settings(max_examples=60)
def test_heads_say_the_number_they_stand_for(units):
    text = written(units)
    values = Values.of([number(text)])
    hidden = torch.zeros(1, WIDTH)
    scalar = Scalar(XVal(1e-2), WIDTH, PLACES).double()
    says(scalar.out, torch.tensor([values.double[0] * 1e-2]))
    log = Scalar(XValLog(), WIDTH, PLACES).double()
    says(log.out, torch.from_numpy(XValLog().shown(values)[0]))
    bits = BitReader(PLACES, WIDTH)
    says(bits.out, torch.from_numpy(ENCODINGS["bits"]().shown(values)[0, :64]) * 9)
    circles = Circles(FoNE(PLACES), WIDTH)
    digits = torch.from_numpy(PLACES.spread(np.array([units]))[0])
    points = circles.points.T[digits] * 50
    sign = torch.tensor([9.0 if units < 0 else -9.0])
    says(circles.out, torch.cat([sign, points.flatten()]))
    for head in (scalar, log, bits, circles):
        found = head.predict(hidden.to(head.out.weight.dtype))
        assert number(found.texts[0]).decimal == number(text).decimal, type(head).__name__
        assert found.logprob[0] <= 0


def joint(units: int, known: int, sure: float) -> Joint:
    """A joint head that knows the last ``known`` digits, and the value with an error of ``sure`` times itself."""
    head = Joint(Hybrid(PLACES, 1e-2), WIDTH, 1e-2)
    digits = torch.from_numpy(PLACES.spread(np.array([units]))[0])
    logits = torch.zeros(PLACES.width, 10)
    rows = torch.arange(PLACES.width - known, PLACES.width)
    logits[rows, digits[rows]] = 20.0
    says(head.circles.out, torch.cat([torch.tensor([9.0 if units < 0 else -9.0]), torch.zeros(2 * PLACES.width)]))
    value = units / 100 * (1 + sure / 2)
    scalars = torch.tensor([value * 1e-2, np.log10(max(1, abs(units))) - 2])
    says(head.out, torch.cat([logits.flatten(), scalars]).float())
    with torch.no_grad():
        head.width.copy_(torch.tensor([abs(units) * 1e-4 * sure + 1e-9, 0.1]).log() / PACE)
    return head


@given(st.integers(10**6, 10**8 - 1), st.booleans())
@settings(max_examples=60)
def test_value_and_digits_of_a_hybrid_complete_each_other(size, negative):
    """The value knows three figures, the digits the other five: neither alone is enough."""
    units = -size if negative else size
    found = joint(units, known=6, sure=1e-3).predict(torch.zeros(1, WIDTH))
    assert found.texts == [written(units)] and found.agreed.tolist() == [True]


def test_a_hybrid_says_when_digits_and_value_part():
    head = joint(12345678, known=8, sure=1e-3)
    with torch.no_grad():
        head.out.bias[-2] = 900.0
    found = head.predict(torch.zeros(1, WIDTH))
    assert found.texts == ["123456.78"] and found.agreed.tolist() == [False]


@pytest.mark.parametrize("name", [*VALUED, "digits", "abacus"])
def test_what_was_read_out_goes_in_again(name):
    """Generation agrees with one pass over its own text."""
    model = made(name)
    with torch.no_grad():  # random weights hardly ever say [NUM]: let them
        if model.text.num_id is not None:
            model.base.lm_head.weight[model.text.num_id] *= 40
    prompts = ["2+2=", "f(13.5) is ", "17*3="]
    answers = model.answer(prompts, max_tokens=6)
    assert [a.text for a in model.answer(prompts[::-1], max_tokens=6)] == [a.text for a in answers][::-1]
    assert all(0 <= a.probability <= 1 for a in answers)
    if name not in VALUED:
        return
    ids, words = given_to(model, prompts[1])
    texts: dict[int, str] = {}
    with torch.no_grad():
        for place in range(6):
            hidden = model.base.hidden(model.embed(ids, words))[:, -1]
            token = model.base.logits(hidden)[:, : model.text.vocab_size].argmax(-1)
            new = torch.zeros(1, 1, 3, dtype=torch.int64)
            if int(token) == model.text.num_id:
                (text,) = model.head.predict(hidden).texts
                new[0] = torch.from_numpy(Values.of([number(text)]).pack())
                texts[place] = text
            ids, words = torch.cat((ids, token[:, None]), 1), torch.cat((words, new), 1)
    by_hand = ids[0, len(model.text.encode(prompts[1]).ids) :].tolist()
    by_hand = by_hand[: by_hand.index(model.end_id)] if model.end_id in by_hand else by_hand
    assert model.text.read(by_hand, texts) == answers[1].text
    assert texts  # a number was read out


# --- what is kept ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*VALUED, "abacus", "chunk3-r2l"])
def test_a_saved_model_says_the_same(name, tmp_path):
    model = made(name)
    model.save(tmp_path, end_id=10)
    again = open_numeric(tmp_path)
    assert again.settings == model.settings
    ids, words = given_to(model, "7 and 8.25 and -900")
    with torch.no_grad():
        assert torch.equal(again(ids, words), model(ids, words))
    assert again.answer(["1+1="]) == model.answer(["1+1="])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    plain = torch.tensor([list(b"no numbers here")])
    with torch.no_grad():
        assert torch.allclose(theirs(plain).logits, model.base(plain), atol=1e-5)
    (tmp_path / "numbers.safetensors").unlink()
    with pytest.raises(DataError):
        open_numeric(tmp_path)


FAMILIES = {
    "gpt2": lambda v: transformers.GPT2Config(vocab_size=v, n_positions=64, n_embd=WIDTH, n_layer=2, n_head=4),
    "qwen2": lambda v: transformers.Qwen2Config(
        vocab_size=v, hidden_size=WIDTH, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    ),
    "gemma2": lambda v: transformers.Gemma2Config(
        vocab_size=v, hidden_size=WIDTH, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_any_family_of_transformers_is_wrapped(family, tmp_path):
    torch.manual_seed(0)
    inner = transformers.AutoModelForCausalLM.from_config(FAMILIES[family](256))
    base = grown(fitted(HfModel(inner)), 257)
    assert base.vocab_size() == 257
    model = NumericLM(base, NumericSettings(encoding="hybrid", **NARROW))
    initialise_own(model, 0)
    ids, words = given_to(model, "x 12.5 y 3 z 8")
    plain = ids.clamp_max(255)
    with torch.no_grad():  # behind [NUM] aside, the wrapper is the model itself
        text = torch.tensor([list(b"only words")])
        assert torch.allclose(base.logits(base.hidden(base.embedding()(text))), base(text), atol=1e-5)
        assert torch.allclose(base(plain), inner(plain).logits, atol=1e-6)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(3):
        loss = model.loss(ids, words=words)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[2] < losses[0]
    model.save(tmp_path)
    again = open_numeric(tmp_path)
    with torch.no_grad():
        assert torch.allclose(again(ids, words), model(ids, words), atol=1e-5)


# --- what is at the edges -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*VALUED, "digits", "abacus"])
def test_texts_without_numbers_are_read_and_learnt(name):
    """``hybrid`` made features of no numbers with an axis of unknown length."""
    model = made(name)
    ids, words = given_to(model, "only words")
    model.loss(ids, words=words).backward()
    (answer,) = model.answer(["only words"], max_tokens=2)
    assert 0 <= answer.probability <= 1 and model.answer([]) == []
    with pytest.raises(DataError, match="empty prompt"):
        model.answer(["1+1=", ""])


@pytest.mark.parametrize("surface", ["1e39", "-1e308", "1e400", "1e-320", "-0", "9" * 30])
@pytest.mark.parametrize("name", VALUED)
def test_numbers_of_any_size_leave_the_loss_finite(name, surface):
    model = made(name)
    ids, words = given_to(model, f"a {surface} b")
    loss = model.loss(ids, words=words)
    loss.backward()
    assert torch.isfinite(loss) and all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", VALUED)
def test_any_hidden_state_is_read_as_a_number(name):
    """The bits of a head that has learnt nothing spell doubles up to 1.8e308; units of them overflowed."""
    model = made(name, decimals=4)
    for size in (1.0, 1e30):
        found = model.head.predict(torch.randn(3000, WIDTH, generator=torch.Generator().manual_seed(0)) * size)
        assert all(abs(number(text).float) < 1e6 for text in found.texts) and (found.logprob <= 1e-9).all()


def test_a_prompt_beyond_the_positions_of_a_model_is_refused():
    inner = HfModel(transformers.AutoModelForCausalLM.from_config(FAMILIES["gpt2"](300)))
    model = NumericLM(fitted(inner), NumericSettings(encoding="hybrid", **NARROW))
    (answer,) = model.answer(["x" * 60], max_tokens=50)  # the fifth is the last that the model can be asked for
    assert len(answer.text) <= 5
    with pytest.raises(DataError, match="does not fit the model's 64 positions"):
        model.answer(["x" * 65])


@pytest.mark.parametrize("loss", ["was", "mse"])
@pytest.mark.parametrize("name", ["chunk3-l2r", "bpe"])
def test_number_token_loss_of_chunks_is_of_the_size_of_that_of_digits(name, loss):
    model, plain = made(name, ntl=loss, ntl_weight=1.0), made(name)
    ids, words = given_to(model, "999+123=1122")
    with torch.no_grad():
        added = model.loss(ids, words=words) - plain.loss(ids, words=words)
    assert 0 < added < (9 if loss == "was" else 81)


def test_widths_follow_errors_that_fall_fast():
    """In 400 steps of training as it is, the width of a scalar whose error is 1e-4 is of that size."""
    head = Scalar(XVal(1.0), WIDTH, Places(whole=2, decimals=2))
    hidden = torch.zeros(64, WIDTH)
    errors = Values.doubles(np.random.default_rng(0).normal(0, 1e-4, 64))
    optimizer = torch.optim.AdamW([head.width], lr=3e-3, betas=(0.9, 0.95))
    torch.nn.init.zeros_(head.out.bias)
    for _ in range(400):
        head.loss(hidden, errors).mean().backward()
        assert head.width.grad.norm() < 0.2
        optimizer.step()
        optimizer.zero_grad()
    found = head.predict(torch.zeros(1, WIDTH))
    assert found.texts == ["0"] and found.logprob[0] > -1e-6  # half a unit is fifty widths


def test_the_mass_of_a_scalar_is_that_of_what_is_written():
    head = Scalar(XVal(1.0), WIDTH, Places(whole=2, decimals=0))
    with torch.no_grad():
        head.out.bias.fill_(7.4)
        head.width.fill_(np.log(0.1) / PACE)
    found = head.predict(torch.zeros(1, WIDTH))
    assert found.texts == ["7"]
    assert np.exp(found.logprob[0]) == pytest.approx(0.8413, abs=1e-4)  # of a normal distribution, below one sigma


def test_more_places_than_there_may_be_are_a_mistake_of_the_user(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"text": "12"}')
    for numbers in (
        {"task": "", "files": (tmp_path / "rows.jsonl",), "whole": 15},
        {"task": "product9", "decimals": 2},
    ):
        with pytest.raises(ConfigError, match="at most 18 places"):
            train(config(tmp_path / "r", numbers=numbers))


def test_two_values_side_by_side_are_not_read_as_one_number():
    """``7`` and ``8`` came out as 78, which was then scored as the answer 78."""
    text = made("xval").text
    num = text.num_id
    assert num is not None
    assert text.read([num, num], {0: "7", 1: "8"}) == "7<?>"
    assert text.read([num, 32, num], {0: "7", 2: "8"}) == "7 8"


def test_a_tokeniser_that_eats_the_space_beside_numbers_is_refused():
    from llemma.tokens.numbers.text import Bytes, NumberText

    class Eats(Bytes):
        def encode(self, text: str) -> list[int]:
            return super().encode(text.strip())

    with pytest.raises(ConfigError, match="does not give back"):
        NumberText(ENCODINGS["digits"](), Eats())


# --- training in the loop -------------------------------------------------------------------------------------------


def config(run: Path, **changes) -> TrainConfig:
    numbers = {"encoding": "hybrid", "task": "addition2"} | changes.pop("numbers", {})
    given = {
        "run": run, "data": "numbers", "numbers": NumericConfig(**numbers), "context": 48, "batch_size": 16,
        "model": ModelSizes(hidden_size=WIDTH, intermediate_size=48, num_hidden_layers=2), "steps": 12,
        "optim": OptimConfig(lr=3e-3, warmup=3, final_ratio=1.0), "precision": "fp32", "threads": 1,
        "checkpoint_every": 6, "log_every": 3,
    }  # fmt: skip
    return TrainConfig(**(given | changes))


@pytest.mark.parametrize("name", ["hybrid", "xval", "abacus"])
def test_straight_and_resumed_are_the_same_bits(name, tmp_path):
    numbers = {"encoding": name, "offset": 9}
    straight = train(config(tmp_path / "a", numbers=numbers))
    assert train(config(tmp_path / "b", numbers=numbers), stop_at=7) is None
    resumed = train(config(tmp_path / "b", numbers=numbers))
    for file in ("model.safetensors", "numbers.safetensors"):
        one, two = load_tensors(straight.model / file), load_tensors(resumed.model / file)
        assert one.keys() == two.keys() and all(torch.equal(one[k], two[k]) for k in one)
    assert straight.metrics["valid"] == resumed.metrics["valid"] and "longer" in straight.metrics["valid"]


def test_a_model_is_measured_with_the_mean_of_its_latest_weights(tmp_path):
    from llemma.train.numeric_open import from_checkpoints

    mine = config(tmp_path / "r", steps=6, checkpoint_every=2, keep=3)
    train(mine)
    found = checkpoints(mine.run / "checkpoints")
    assert len(found) == 3
    each = [dict(from_checkpoints(mine, [path]).named_parameters()) for path in found]
    for name, mean in from_checkpoints(mine, found).named_parameters():
        assert torch.allclose(mean, sum(one[name] for one in each) / 3, atol=1e-7), name
    assert not torch.equal(each[0]["head.out.weight"], each[2]["head.out.weight"])


def test_rows_are_a_function_of_the_step_and_shared_out():
    rows = number_rows(config(Path("unused")))
    whole, again = rows.batch(3), number_rows(config(Path("unused"))).batch(3)
    assert np.array_equal(whole.ids, again.ids) and np.array_equal(whole.words, again.words)
    parts = [rows.batch(3, rank, 2) for rank in range(2)]
    width = [part.ids.shape[1] for part in parts]
    assert np.array_equal(np.concatenate([p.ids[:, : min(width)] for p in parts]), whole.ids[:, : min(width)])
    assert isinstance(whole, Batch) and not np.array_equal(rows.batch(4).words, whole.words)


def test_only_the_answer_and_its_end_are_learnt():
    tokens = number_tokens(config(Path("unused"), numbers={"encoding": "digits"}))
    row = encoded(Sample(prompt="12+3=", answer="15"), tokens)
    assert row.learnt.tolist() == [False] * 5 + [True] * 3 and row.ids[-1] == tokens.end_id == 10


@pytest.mark.parametrize(
    ("line", "message"),
    [('{"prompt": "a", "answer": 5}', "expected the texts"), ("[1]", "expected a JSON object"), ("", "no example")],
)
def test_files_that_cannot_be_learnt_from(line, message, tmp_path):
    (tmp_path / "rows.jsonl").write_text(line)
    with pytest.raises(DataError, match=message):
        number_rows(config(tmp_path / "r", numbers={"task": "", "files": (tmp_path / "rows.jsonl",)}))


def test_files_are_learnt_from_and_watched(tmp_path):
    rows = [{"prompt": f"{k} and one is ", "answer": f"{k + 1}."} for k in range(5)] + [{"text": "All of 3.50 counts"}]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    mine = config(tmp_path / "r", numbers={"task": "", "files": (file,)}, batch_size=6)
    batch = number_rows(mine).batch(0)
    assert len({row.tobytes() for row in batch.words}) == 6  # an epoch has each of them
    assert train(mine, stop_at=2) is None
    file.write_text(json.dumps(rows[0]))
    with pytest.raises(RunError, match="data_sha256"):
        train(mine)


@pytest.mark.parametrize(
    ("numbers", "changes", "message"),
    [
        ({"task": ""}, {}, "numbers.task or numbers.files"),
        ({"task": "adition2"}, {}, "did you mean addition"),
        ({}, {"context": 4}, "raise context"),
    ],
)
def test_settings_that_do_not_fit(numbers, changes, message, tmp_path):
    with pytest.raises((ConfigError, DataError), match=message):
        train(config(tmp_path / "r", numbers=numbers, **changes))


def test_a_model_folder_grows_by_an_encoding(tmp_path):
    """init=FOLDER: its tokeniser for words, the encoding's tokens behind it."""
    base = Llama(replace(sizes(300), tie_word_embeddings=False))
    initialise(base, 3)
    (tmp_path / "base").mkdir()
    base.save(tmp_path / "base", end_id=0)
    from llemma.tokens.tokenizer import train_tokenizer

    train_tokenizer(["some words to learn pairs from " * 5], 300).save(tmp_path / "base")
    mine = config(tmp_path / "r", init=str(tmp_path / "base"), numbers={"encoding": "fone"}, steps=3)
    done = train(mine)
    model = open_numeric(done.model)
    assert model.vocab_size() >= model.text.vocab_size > 256
    assert isinstance(number_tokens(mine), NumberTokens) and number_tokens(mine).inner is not None
    assert model.end_id == number_tokens(mine).end_id == 0
    assert checkpoints(tmp_path / "r" / "checkpoints") and model.answer(["1+1="])
    assert places_of(model.settings) == Places(whole=5, decimals=0)


def test_prompts_begin_as_the_models_own_do(tmp_path):
    """A tokeniser with a begin mark: before every prompt, in training and in answers."""
    import tokenizers
    from tokenizers.processors import TemplateProcessing

    from llemma.tokens.tokenizer import HuggingFaceTokenizer, train_tokenizer

    inner = tokenizers.Tokenizer.from_str(train_tokenizer(["some words to learn pairs from " * 5], 300).to_json())
    inner.add_special_tokens(["<s>"])
    begin = inner.token_to_id("<s>")
    inner.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])
    own = HuggingFaceTokenizer(inner)
    chosen = NumericSettings(encoding="hybrid", **NARROW)
    tokens = NumberTokens(text_of(chosen, own), own)
    row = encoded(Sample(prompt="12+3=", answer="15"), tokens)
    assert row.ids[0] == begin and not row.learnt[0] and row.words[1, 2] and not row.words[0].any()
    assert tokens.encode_prompt("12+3=") == row.ids[: row.learnt.argmax()].tolist()
    base = Llama(sizes(tokens.vocab_size))
    initialise(base, 0)
    model = NumericLM(base, chosen, own, own.end_id)
    initialise_own(model, 0)
    assert model.begin == (begin,) and model.answer(["", "12+3="], max_tokens=2)


@pytest.mark.slow
def test_sums_are_learnt(tmp_path):
    """Some seconds suffice for sums of two digits behind circles; no other problem is right by chance."""
    from llemma.tokens.numbers.tasks import task

    mine = config(
        tmp_path / "r", numbers={"encoding": "hybrid"}, steps=150, batch_size=128, checkpoint_every=1000,
        model=ModelSizes(hidden_size=64, intermediate_size=192, num_hidden_layers=3), log_every=50,
    )  # fmt: skip
    model = open_numeric(train(mine).model)
    asked = task("addition2").samples("test", 0, 100, 0)
    right = sum(a.text == s.answer for a, s in zip(model.answer([s.prompt for s in asked]), asked, strict=True))
    assert right >= 60


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one(tmp_path):
    from llemma.config import to_table
    from llemma.run import read_jsonl
    from ranks import train_all

    def table(name: str, world: int) -> dict:
        made = to_table(config(tmp_path / name, steps=6, log_every=1, checkpoint_every=3))
        return json.loads(json.dumps(made, default=str)) | {"world": world}

    train_all([table("one", 1), table("two", 2)], tmp_path)
    one, two = (
        [row["loss"] for row in read_jsonl(tmp_path / name / "rows.jsonl") if "loss" in row] for name in ("one", "two")
    )
    assert len(one) == 6 and np.allclose(one, two, atol=1e-5, rtol=0)
    models = [open_numeric(tmp_path / name / "model") for name in ("one", "two")]
    asked = ["12+30=", "9+9="]
    first, second = (model.answer(asked) for model in models)
    assert [a.text for a in first] == [a.text for a in second]

"""How tokenisers cut numbers: GPT's own, plain BPE, the audit, and that docs/numbers.md says what it finds.

GPT's ranks are not part of the repository; their tests run where they can be had:
``pip install "llemma[gpt]" && pip install --no-deps litellm``. ``python tests/test_numbers_audit.py`` rewrites the
tables of docs/numbers.md.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
import random
import re
from collections import Counter
from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from llemma.cli import main
from llemma.config import resolve
from llemma.errors import ConfigError, DataError, LlemmaError, MissingDependency
from llemma.tokens import packaged
from llemma.tokens.numbers import encoding, number, scan
from llemma.tokens.numbers.audit import CONTEXTS, LENGTHS, Audit, audit, cut_rows, measure_rows, ways
from llemma.tokens.numbers.bpe import Bpe, cut, learn, usual
from llemma.tokens.numbers.encoding import CHARACTERS
from llemma.tokens.numbers.readers import open_reader, pieces
from llemma.tokens.numbers.text import NumberText
from llemma.tokens.settings import AUDITED, GPT_NAMES, NumbersConfig, check_encoding
from llemma.tokens.tokenizer import load_tokenizer

DOC = Path(__file__).resolve().parents[1] / "docs" / "numbers.md"
INSTALL = 'pip install "llemma[gpt]" && pip install --no-deps litellm'
TEXTS = st.text() | st.text(alphabet="0123456789.,-+−eE_ xX/%()'\"\u202fé½²🙂\ud800\udc00")


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("LLEMMA_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@functools.cache
def reader(name):
    try:
        return open_reader(name)
    except (MissingDependency, DataError) as error:
        return error


def opened(name):
    """The tokeniser, or a skip that says what brings it."""
    found = reader(name)
    if isinstance(found, LlemmaError):
        pytest.skip(f"{name}: {INSTALL}")
    return found


# --- plain BPE ------------------------------------------------------------------------------------------------------


def test_merges_are_the_commonest_pairs():
    words = {"1999": 5, "2024": 3, "99": 2, "20": 4}
    ranks = learn(words, 4)
    # 99 stands 12 times, 20 7 times; then 1·99 and 99·9 (of 1·99·9) are equals, and so on
    assert list(ranks) == [("9", "9"), ("2", "0"), ("99", "9"), ("1", "999")]
    assert cut("1999", ranks) == ["1999"] and cut("99999", ranks) == ["99", "999"] and cut("20", {}) == ["2", "0"]
    assert learn({"12": 1}, 10) == {("1", "2"): 0}  # no pair is left
    assert learn({}, 10) == {}


def test_the_usual_vocabulary_is_the_same_everywhere():
    made = Bpe()
    assert len(made.vocabulary) == 1000 == len(set(made.vocabulary))
    digest = hashlib.sha256(json.dumps(list(usual())).encode()).hexdigest()
    assert digest[:16] == "75a96a9083add118"
    assert {"2024", "1999", "000", "99", "100"} <= set(made.vocabulary)
    assert made.write(number("1,999.50")) == ("1", ",", "99", "9", ".", "50")


@functools.cache
def library() -> tokenizers.Tokenizer:
    """Our merges in the library of Hugging Face."""
    entries = [*CHARACTERS, *(a + b for a, b in usual())]
    vocab = {entry: k for k, entry in enumerate(dict.fromkeys(entries))}
    return tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=list(usual())))


@given(st.from_regex(r"[0-9]{1,30}", fullmatch=True))
def test_bpe_cuts_as_the_library_does(run):
    assert cut(run, usual()) == library().encode(run).tokens


def test_learnt_merges_are_nearly_those_of_the_library():
    """Which of equally common pairs comes first is a matter of taste; where counts differ there is no choice."""
    source = random.Random(3)
    words = Counter(str(int(10 ** (source.random() * 5))) for _ in range(5000))
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.train_from_iterator(
        (word for word, count in words.items() for _ in range(count)),
        tokenizers.trainers.BpeTrainer(vocab_size=210, show_progress=False),
    )
    ours = {a + b for a, b in learn(words, 200)}
    theirs = set(inner.get_vocab()) - set("0123456789")
    assert len(ours & theirs) >= 195, ours ^ theirs


# --- tokenisers -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a tokenizer.json: byte-level BPE, no rule about digits."""
    to = tmp_path_factory.mktemp("tokenizer")
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    inner.train_from_iterator((f"a {1900 + k % 130}, {k}.{k % 100}" for k in range(2000)), trainer)
    inner.save(str(to / "tokenizer.json"))
    return to


@pytest.fixture(scope="module")
def sentencepiece_model(tmp_path_factory):
    sentencepiece = pytest.importorskip("sentencepiece", reason='pip install "llemma[corpus]"')
    to = tmp_path_factory.mktemp("sp") / "m.model"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([f"the {k} of {k * k} é" for k in range(2000)]), model_prefix=str(to.with_suffix("")),
        vocab_size=300, model_type="bpe", byte_fallback=True, split_digits=True, hard_vocab_limit=False,
        minloglevel=2,
    )  # fmt: skip
    return to


def check_pieces(found, text):
    spans = found.spans(text)
    assert "".join(pieces(text, spans)) == text
    assert all(0 <= start <= end <= len(text) for start, end in spans)


@given(TEXTS, st.sampled_from(GPT_NAMES))
def test_spans_of_gpt_cover_the_text(text, name):
    found = opened(name)
    check_pieces(found, text)
    spans, ids = found.spans(text), found.encode(text)
    assert len(spans) == len(ids) and max(ids, default=0) < found.vocab_size
    whole = re.sub("[\ud800-\udfff]", "\ufffd", text)
    assert found.decode(ids) == whole
    for (_, end), (start, _) in itertools.pairwise(spans):
        assert start in (end, end - 1)  # the next character, or the rest of this one


def test_gpt_is_what_tiktoken_makes_of_it(monkeypatch):
    """The patterns and end marks are ours; the library's own, with the same ranks, must agree."""
    tiktoken = pytest.importorskip("tiktoken", reason=INSTALL)
    cache = next((f for f in packaged.packaged() if list(f.glob("9b5ad71b*"))), None)
    if cache is None:
        pytest.skip(INSTALL)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(cache))
    source = random.Random(5)
    alphabet = "0123456789" * 2 + "  \n\r\t'stdmrelvaAZÉßñ中ー½٣🙂.,-+−$%()[]{}/\\_=" + "abcdefgh"
    texts = ["".join(source.choices(alphabet, k=source.randrange(1, 40))) for _ in range(3000)]
    for name in ("cl100k", "o200k", "p50k"):
        theirs, ours = tiktoken.get_encoding(f"{name}_base"), opened(name)
        assert [ours.encode(text) for text in texts] == [theirs.encode_ordinary(text) for text in texts]
        assert ours.end_id == theirs.eot_token
        assert ours.encode("<|endoftext|>") == theirs.encode_ordinary("<|endoftext|>")  # a text ends nothing


def test_gpt_2_has_the_first_ranks_of_gpt_3():
    old, new = opened("r50k"), opened("p50k")
    assert old.vocab_size == 50257 and new.vocab_size == 50281
    assert old.encode("x = 1430, 12345") == new.encode("x = 1430, 12345")
    assert open_reader("gpt2").encode("143") == open_reader("r50k_base").encode("143")


def test_damaged_ranks_are_not_used(tmp_path, monkeypatch):
    gpt = pytest.importorskip("llemma.tokens.gpt", reason=INSTALL, exc_type=ImportError)
    monkeypatch.setattr(gpt, "packaged", lambda: iter(()))
    for variable in ("LLEMMA_DATA", "TIKTOKEN_CACHE_DIR", "LLEMMA_CACHE"):
        monkeypatch.setenv(variable, str(tmp_path))
    (tmp_path / "cl100k_base.tiktoken").write_text("MQ== 0\n")
    with pytest.raises(DataError, match=r"pip install --no-deps litellm; or set LLEMMA_DATA .* cl100k_base.tiktoken"):
        gpt.load_gpt("cl100k")
    with pytest.raises(ConfigError, match="did you mean cl100k"):
        gpt.load_gpt("cl10k")
    assert tuple(gpt._KNOWN) == GPT_NAMES


def test_ranks_are_taken_from_the_data_folder(tmp_path, monkeypatch):
    gpt = pytest.importorskip("llemma.tokens.gpt", reason=INSTALL, exc_type=ImportError)
    opened("p50k")
    source = gpt._found("p50k")
    monkeypatch.setattr(gpt, "packaged", lambda: iter(()))
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("LLEMMA_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("LLEMMA_DATA", str(tmp_path))
    (tmp_path / "p50k_base.tiktoken").write_bytes(source.read_bytes())
    assert gpt._found("p50k") == tmp_path / "p50k_base.tiktoken"
    assert gpt.load_gpt("r50k").vocab_size == 50257


@given(TEXTS)
def test_spans_of_a_file_cover_the_text(folder, text):
    text = re.sub("[\ud800-\udfff]", "?", text)
    check_pieces(load_tokenizer(folder), text)


@given(st.text(alphabet="0123456789.,-+ xé", max_size=30))
def test_spans_of_a_sentencepiece_model_cover_the_text(sentencepiece_model, text):
    check_pieces(load_tokenizer(sentencepiece_model), text)


def test_numbers_are_cut_as_any_tokeniser_cuts_them(folder, sentencepiece_model):
    source = random.Random(2)
    alphabet = "0123456789" * 4 + ".,-−+eE x\u202f½é🙂"
    texts = ["".join(source.choices(alphabet, k=source.randrange(1, 24))) for _ in range(300)]
    names = [f"bpe:{folder}", f"bpe:{folder / 'tokenizer.json'}", f"bpe:{sentencepiece_model}"]
    names += [f"bpe:{name}" for name in GPT_NAMES if not isinstance(reader(name), LlemmaError)]
    for name in names:
        made = encoding(name)
        assert made.name == name and set(CHARACTERS) <= set(made.vocabulary)
        text_reader = NumberText(made)
        for text in texts:
            encoded = text_reader.encode(text)
            assert text_reader.decode(encoded) == text
            for one in scan(text):
                tokens = made.write(one)
                assert tokens is not None and made.read(tokens) == one.surface and set(tokens) <= set(made.vocabulary)
    assert encoding(names[2]).write(number("-143")) == ("-", "1", "4", "3")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cl10k", "no tokeniser 'cl10k'; did you mean cl100k"),
        ("hybird", "no tokeniser 'hybird'.*also: a number encoding, a file, a folder, a hub name"),
        ("nobody/nothing", "nobody/nothing: not a file or folder, and the hub gave no tokenizer.json"),
        ("./nowhere", "nowhere: no tokenizer.json here"),
        ("broken.json", "broken.json: damaged tokenizer file"),
        ("missing.model", "missing.model: no tokenizer.json here"),
    ],
)
def test_a_name_that_is_no_tokeniser_is_refused(name, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("broken.json").write_text("{")
    with pytest.raises((ConfigError, DataError), match=said):
        audit(["digits", name])


def test_what_a_package_brings_is_asked_for(monkeypatch):
    monkeypatch.setattr(packaged, "PACKAGES", ())
    with pytest.raises(DataError, match="install it with: pip install --no-deps litellm"):
        open_reader("deepseek")


def test_encodings_that_a_model_may_keep():
    for name in ("bpe", "hybrid", "bpe:cl100k"):
        check_encoding(name, pinned=True)
    check_encoding("bpe:any/file.json")
    with pytest.raises(ValueError, match=r"bpe:cl100k, bpe:o200k.* only; the cuts of a file may change under it"):
        check_encoding("bpe:any/file.json", pinned=True)
    with pytest.raises(ValueError, match="did you mean hybrid"):
        check_encoding("hybird")
    words = ["action=probe", "encodings=bpe,bpe:./tokenizer.json"]
    assert resolve(NumbersConfig, words=words).encodings[1] == "bpe:./tokenizer.json"
    with pytest.raises(ConfigError, match="may change under it"):
        resolve(NumbersConfig, words=["action=compare", *words[1:]])


# --- the audit ------------------------------------------------------------------------------------------------------


@functools.cache
def audited(name: str) -> Audit:
    return audit([name])[0]


def test_spellings_are_counted():
    chunks = frozenset(f"{value:0{size}d}" for size in (1, 2, 3) for value in range(10**size))
    assert ways("143", chunks) == 4 and ways("1234567", chunks) == 44  # Tribonacci
    assert ways("143", frozenset("0123456789")) == 1
    assert ways("143", frozenset({"14"})) == 0 and ways("", chunks) == 1


def test_what_can_be_counted_by_hand():
    """Digits and chunks of three: everything follows from the lengths."""
    digits, left, right = audited("digits"), audited("chunk3-l2r"), audited("chunk3-r2l")
    assert [digits.tokens[str(n)] for n in LENGTHS] == list(LENGTHS)
    assert [left.tokens[str(n)] for n in LENGTHS] == [right.tokens[str(n)] for n in LENGTHS] == [
        -(-n // 3) for n in LENGTHS
    ]  # fmt: skip
    assert digits.unknown == pytest.approx(math.log2(9))
    assert left.unknown == pytest.approx(7 / 9 * math.log2(7))  # one or two digits are known at once
    assert right.unknown == pytest.approx(math.log2(3))
    assert digits.aligned == right.aligned == 1

    def places(n):
        return {n - 3, n - 6} - set(range(-6, 1))

    same = [
        {p for p in places(n) if p < min(n, m)} == {p for p in places(m) if p < min(n, m)}
        for n in LENGTHS
        for m in LENGTHS
    ]
    assert left.aligned == pytest.approx(sum(same) / 81)
    for one in (digits, left, right):
        assert one.shapes == 1 and one.moved == one.renamed == 0
    assert left.entries == {"1": 10, "2": 100, "3": 1000} and digits.ways == {"143": 1, "1234567": 1}


def test_encodings_that_spell_nothing_are_not_asked_where_they_cut():
    p10, xval, place, turned = audited("p10"), audited("xval"), audited("place"), audited("digits-reversed")
    assert p10.ways is p10.aligned is xval.ways is xval.aligned is None
    assert p10.tokens["3"] == 5 and p10.tokens["9"] is None and p10.shapes is None  # nine digits are out of its range
    assert p10.unknown == pytest.approx(3)  # 1 to 8 digits; the exponent comes last
    assert xval.unknown == place.unknown == 0 and xval.cuts["143.0"] == "[NUM]"
    assert place.aligned == turned.aligned == 1 and place.ways is None
    assert turned.cuts["1430"] == "0·3·4·1" and place.cuts[" 143"] == "␣·1@2·4@1·3@0"


def test_an_audit_of_a_file(folder):
    found = audited(str(folder))
    assert found.renamed == 1  # " 143" has another first token than "143"
    assert found.shapes > 1 and found.ways["143"] >= 1 and 0 < found.aligned < 1
    assert audit([str(folder)]) == [found]  # the same again


def test_a_tokeniser_that_marks_spaces_with_a_line(tmp_path):
    """As Llama's tokenizer.json: a space is set before the text, and ``▁143`` is an entry."""
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="?"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=60, special_tokens=["?"], show_progress=False)
    inner.train_from_iterator(["143 143 143 = (143) 20 31 5 6 7 8 9 1430, x 143."] * 9, trainer)
    inner.save(str(tmp_path / "tokenizer.json"))
    assert "▁143" in inner.get_vocab()
    assert encoding(f"bpe:{tmp_path}").write(number("143")) == ("143",)
    found = audited(str(tmp_path))
    assert found.cuts["143"] == "143" and found.cuts[" 143"].endswith("143") and found.tokens["1"] == 1


def test_a_tokeniser_that_knows_no_numbers(tmp_path):
    inner = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0, "b": 1}, []))
    inner.save(str(tmp_path / "tokenizer.json"))  # what it does not know it leaves out
    found = audited(str(tmp_path))
    assert found.cuts["143"] == "" and found.tokens["3"] == 0 and found.ways is None and not found.entries
    assert found.unknown == pytest.approx(math.log2(9))
    text = NumberText(encoding(f"bpe:{tmp_path}"))
    assert text.decode(text.encode("x = -1,430.5e7")) == "x = -1,430.5e7"
    tokenizers.Tokenizer(tokenizers.models.WordLevel({"one": 0})).save(str(tmp_path / "words.json"))
    with pytest.raises(DataError, match=r"words.json: this tokeniser cannot read numbers \(WordLevel error"):
        audit([str(tmp_path / "words.json")])


def test_gpt_4_cuts_as_chunks_from_the_left():
    for name in ("cl100k", "o200k"):
        found, ours = audited_or_skip(name), audited("chunk3-l2r")
        assert found.tokens == ours.tokens and found.ways == ours.ways and found.entries == ours.entries
        assert (found.shapes, found.aligned, found.unknown) == (1, ours.aligned, ours.unknown)
        assert found.moved == found.renamed == 0
        assert found.cuts == ours.cuts


def audited_or_skip(name):
    if name in (*GPT_NAMES, *packaged.NAMED):
        opened(name)
    return audited(name)


def inside(found, before, surface, after=""):
    """The texts of the tokens of a number in its context, cut off at its ends."""
    text, first = before + surface + after, len(before)
    last = first + len(surface)
    return tuple(text[max(a, first) : min(b, last)] for a, b in found.spans(text) if a < b and a < last and b > first)


def test_143_is_one_token_or_two():
    """The claim "143 may be [143] or [14, 3]"."""
    around = [*CONTEXTS, ("x", ""), ("0.", ""), ("-", ""), (",", ""), ("", "")]
    for name in ("cl100k", "o200k", "p50k"):
        assert {inside(opened(name), before, "143", after) for before, after in around} == {("143",)}
    for name in ("cl100k", "o200k"):  # but for this: ½ and ² are numerals to Unicode, and count among the three
        assert {inside(opened(name), before, "143") for before in "½²①٣"} == {("14", "3")}
    three = opened("p50k")
    assert inside(three, "", "362") == ("362",) and inside(three, " ", "362") == ("36", "2")
    hundreds = [str(n) for n in range(100, 1000)]
    assert sum(len(inside(three, "", n)) > 1 for n in hundreds) == 181
    moved = [n for n in hundreds if len({inside(three, b, n, a) for b, a in (("", ""), *CONTEXTS)}) > 1]
    assert len(moved) == 334


# --- the command and the document -----------------------------------------------------------------------------------


def test_the_command_says_it_in_columns_and_in_json(capsys):
    assert main(["numbers", "audit", "tokenizers=digits,chunk3-r2l"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^1430 +1·4·3·0 +1·430$", shown, re.MULTILINE)
    assert re.search(r"^operands that line up +100% +100%$", shown, re.MULTILINE)
    assert main(["numbers", "audit", "tokenizers=xval", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["audits"]
    assert row["name"] == "xval" and row["tokens"]["9"] == 1 and row["cuts"]["-143"] == "[NUM]" and not row["aligned"]
    assert main(["numbers", "audit", "tokenizers=cl10k"]) == 2
    assert "did you mean cl100k" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="name at least one"):
        resolve(NumbersConfig, words=["action=audit", "tokenizers="])
    assert set(AUDITED) >= {"cl100k", "p50k", "digits"}


BEGIN, FINISH = "<!-- audit: written by python tests/test_numbers_audit.py -->", "<!-- end of audit -->"
COLUMNS = (("cl100k", "o200k", "deepseek"), ("p50k", "r50k"), ("claude",), ("bpe",), ("digits",), ("chunk3-r2l",))
TABLES = ((cut_rows, "text"), (measure_rows, "measure"))


def tables(text: str) -> list[dict[str, list[str]]]:
    """The tables of the document: header → cells."""
    part = text.partition(BEGIN)[2].partition(FINISH)[0]
    found = []
    for block in part.strip().split("\n\n"):
        lines = [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in block.split("\n")]
        found.append({head: [line[k] for line in lines[2:]] for k, head in enumerate(lines[0])})
    return found


@pytest.mark.parametrize(("column", "name"), [(", ".join(c), name) for c in COLUMNS for name in c])
def test_the_document_says_what_is_measured(column, name):
    one = audited_or_skip(name)
    for (rows, head), table in zip(TABLES, tables(DOC.read_text(encoding="utf-8")), strict=True):
        assert dict(zip(table[head], table[column], strict=True)) == {row[head]: row[name] for row in rows([one])}


def written() -> str:
    """The tables as Markdown."""
    out = []
    found = audit([names[0] for names in COLUMNS])
    for rows, head in TABLES:
        mark = "`" if head == "text" else ""
        lines = [[head, *(", ".join(names) for names in COLUMNS)], ["---"] * (1 + len(COLUMNS))]
        lines += [[f"{mark}{cell}{mark}" for cell in row.values()] for row in rows(found)]
        out.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(out)


if __name__ == "__main__":
    before, _, rest = DOC.read_text(encoding="utf-8").partition(BEGIN)
    DOC.write_text(f"{before}{BEGIN}\n\n{written()}\n\n{FINISH}{rest.partition(FINISH)[2]}", encoding="utf-8")

"""Signatures and grouping: what counts as equal, numba and numpy alike, the verdicts those of the definition."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llemma.config import resolve
from llemma.corpus import clusters, dedup, minhash
from llemma.corpus.clusters import Rules
from llemma.corpus.dedup import DedupConfig, group, paragraphs, signatures, without
from llemma.corpus.minhash import EXACT, Plan
from llemma.errors import ConfigError, DataError

PLAN = Plan()


def keys(text: str, **settings: object) -> list[int]:
    """What says whether texts are near: the keys and the sketch."""
    return signatures([text], DedupConfig(**settings))[0, EXACT:].tolist()  # type: ignore[arg-type]


# --- normalisation ----------------------------------------------------------------------------------------------

SAME_WORDS = [
    ("The Cat, sat", "the cat sat!"),
    ("Erdős–Rényi", "erdos renyi"),
    ("e\u0301te\u0301", "été"),
    ("final ﬁnal", "FINAL final"),
    ("𝑥 + 𝑦", "x y"),
    ("Straße", "STRASSE"),
    ("x²", "x2"),
    ("ＡＢＣ１", "abc1"),
    ("co\u00adoperate", "cooperate"),
    ("٣ ½", "3 12"),
    ("数学です", "数 学 で す"),
    ("word\u2019s", "word s"),
    (r"\frac{a}{b}", "frac a b"),
    ("a" * 70, "a" * 64 + " " + "a" * 6),
]
OTHER_WORDS = [
    ("one two", "two one"),
    ("x y", "xy"),
    ("37 + 45", "12 + 88"),
    ("数学", "学数"),
    ("Ελλάδα", "Ελλάδας"),
    ("в начале", "в начало"),
    ("한국어", "한국"),
    ("naïve", "nave"),
]


@pytest.mark.parametrize(("one", "other"), SAME_WORDS)
def test_texts_of_the_same_words_have_the_same_keys(one, other):
    assert keys(one) == keys(other)
    assert any(keys(one))


@pytest.mark.parametrize(("one", "other"), OTHER_WORDS)
def test_texts_of_other_words_have_other_keys(one, other):
    assert keys(one) != keys(other)


def test_digits_may_count_as_one():
    assert keys("37 + 45", digits="zero") == keys("12 + 88", digits="zero") != keys("137 + 45", digits="zero")


def test_a_text_shorter_than_a_shingle_is_one_shingle():
    assert keys("a b c") == keys("A, b; c.") != keys("a b c d")
    assert keys("a b c d e f") != keys("a b c d e")


@pytest.mark.parametrize("text", ["", " \n\t ", "+ - = ∑ !", "\ud800", "\u0301\u200b", "🙂"])
def test_a_text_without_words_is_near_to_nothing(text):
    assert not any(keys(text))


BREAKS = [" ", "\t", "\n", "\r\n", "\x0b", "\x0c", "  ", " \n \n"]


@given(st.lists(st.sampled_from(["a", "B", "é", "字", "+", "x1", "abcdefgh", "…", "\x00"]), max_size=40), st.data())
def test_the_exact_hash_is_that_of_the_text_with_single_spaces(words, data):
    loose = "".join(data.draw(st.sampled_from(["", *BREAKS])) * (k == 0) + w + data.draw(st.sampled_from(BREAKS))
                    for k, w in enumerate(words))  # fmt: skip
    tidy, loose, other = signatures([" ".join(words), loose, "".join(words)], DedupConfig(near=False))
    assert (tidy == loose).all()
    assert (tidy == other).all() == (len(words) < 2)


def test_exact_hashes_tell_texts_apart():
    alphabet = ["", "a", "b", " ", "é"]
    texts = {" ".join("".join(t).split()) for t in itertools.product(alphabet, repeat=6)}
    texts |= (
        {"a" * n for n in range(300)} | {"\x00" * n for n in range(1, 40)} | {"A", "a.", "a b", "a-b", "x<y", "x>y"}
    )
    rows = signatures(sorted(texts), DedupConfig(near=False))
    assert len({tuple(row) for row in rows.tolist()}) == len(texts)
    assert len(set(rows[:, 0].tolist())) == len(set(rows[:, 1].tolist())) == len(texts)


# --- numba and numpy -------------------------------------------------------------------------------------------

LETTERS = st.sampled_from([*"abcXYZ019 .,-\n\t", "é", "ß", "ﬃ", "字", "か", "が", "𝑥", "\u0301", "\u200b", "\U00020000",
                           "\U00040000", "ไ", "\ud800", "\x00", "ǅ", "½", "﷽", "한", "ｶ", "ﾞ"])  # fmt: skip
TEXTS = st.lists(st.text(LETTERS, max_size=120) | st.text(max_size=30), max_size=12)


@given(TEXTS, st.sampled_from([PLAN, Plan(bands=11, rows=10), Plan(bands=3, rows=1, ngram=1), Plan(ngram=9),
                               Plan(digits="zero"), Plan(bands=0, rows=0, ngram=1)]))  # fmt: skip
@example(["ﬃ" * 100, "a" * 64, "a" * 65, "b " * 3000, "", "字" * 2500, "ﬃﬃ " * 2100 + "a" * 200], PLAN)
def test_numba_and_numpy_make_the_same_signatures(texts, plan):
    pytest.importorskip("numba")
    packed = minhash.pack(texts)
    assert (minhash.sign(*packed, plan) == minhash.sign(*packed, plan, numba=False)).all()


def test_numpy_takes_many_texts_in_pieces(monkeypatch):
    texts = ["one two three", "", "x" * 90, *(f"text {k} of some words and a number" for k in range(20))]
    packed = minhash.pack(texts)
    whole = minhash.sign(*packed, PLAN, numba=False)
    monkeypatch.setattr(minhash, "_PIECE", 50)
    assert (minhash.sign(*packed, PLAN, numba=False) == whole).all()


def test_signatures_do_not_change():
    """Stored signatures stay usable; on a change of the definition, change this and the changelog."""
    row = signatures(["In a field of characteristic 7, Fermat's little theorem says a⁷ = a."], DedupConfig())[0]
    assert row.shape == (30,)
    assert [hex(int(row[k])) for k in (0, 1, 2, 15, 16, 29)] == [
        "0x956904ad51a4bdf", "0x5254d94b1e1758ac", "0x3f17623f79ab5681", "0x5ae86485a08168dd", "0xbd643d5379bff12d",
        "0xe1c52966ba3aa305",
    ]  # fmt: skip


def test_the_rows_of_the_minhash_agree_as_often_as_the_texts_are_alike():
    rng = np.random.default_rng(1)
    for alike in (0.2, 0.5, 0.8):
        both, own = round(300 * alike), round(150 * (1 - alike))
        pairs = []
        for _ in range(150):
            words = [f"w{k}" for k in rng.integers(0, 10**9, both + 2 * own)]
            pairs += [" ".join(words[: both + own]), " ".join(words[:both] + words[both + own :])]
        rows = signatures(pairs, DedupConfig(ngram=1, bands=32, rows=8))
        sketch = rows[:, EXACT + 32 :].copy().view(np.uint8)
        equal = (sketch[::2] == sketch[1::2]).sum(axis=1)
        found = minhash.estimate(equal, Plan(bands=32, rows=8))
        assert abs(found.mean() - both / (both + 2 * own)) < 0.01
        assert found.std() < 1.5 * (alike * (1 - alike) / 256) ** 0.5


# --- grouping --------------------------------------------------------------------------------------------------


def save(folder: Path, *tables: np.ndarray) -> list[Path]:
    paths = [folder / f"{k}.sig.npy" for k in range(len(tables))]
    for path, table in zip(paths, tables, strict=True):
        np.save(path, table)
    return paths


def verdicts(paths: list[Path]) -> list[int]:
    return [int(n) for path in paths for n in np.load(clusters.dup_path(path))]


SMALL = Plan(bands=3, rows=2)


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    """Few different values, so that there are exact duplicates, shared keys and every degree of likeness."""
    count = draw(st.integers(0, 24))
    rows = np.zeros((count, SMALL.width), dtype=np.uint64)
    for row in rows:
        row[:2] = draw(st.integers(0, 4)), draw(st.integers(0, 1))
        row[2:5] = [draw(st.integers(0, 3)) for _ in range(3)]
        row[5] = sum(draw(st.integers(0, 1)) << (8 * k) for k in range(6))
    return rows


def alike(one: np.ndarray, other: np.ndarray) -> tuple[bool, int]:
    """Whether two rows share a key, and how many bytes of their sketches are equal."""
    shared = bool(((one[2:5] == other[2:5]) & (one[2:5] != 0)).any())
    return shared, int((one[5:].copy().view(np.uint8)[:6] == other[5:].copy().view(np.uint8)[:6]).sum())


def defined(rows: np.ndarray, rules: Rules) -> list[int]:
    """The definition, pair by pair."""
    needed = minhash.equal_needed(rules.similarity, rules.plan)
    survivor: list[int] = []
    links: list[set[int]] = []
    copies = set[int]()
    for i, row in enumerate(rows):
        equal = [j for j in range(i) if rules.exact and row[:2].any() and (rows[j, :2] == row[:2]).all()]
        if equal:
            copies.add(i)
            survivor.append(survivor[equal[0]])
            links.append({equal[0]})
            continue
        near = {j: alike(rows[j], row)[1] for j in range(i) if j not in copies and alike(rows[j], row)[0]}
        links.append(set(near))
        survivor.append(next((j for j in near if survivor[j] == j and near[j] >= needed), i))
    if rules.linkage == "direct":
        return survivor
    lowest = list(range(len(rows)))
    for _ in rows:
        for i, linked in enumerate(links):
            for j in linked:
                lowest[i] = lowest[j] = min(lowest[i], lowest[j])
    return lowest


@given(tables(), st.sampled_from([0.0, 0.5, 0.9]), st.sampled_from(["direct", "chain"]), st.booleans())
def test_the_verdicts_are_those_of_the_definition(tmp_path_factory, rows, similarity, linkage, exact):
    folder = tmp_path_factory.mktemp("group")
    rules = Rules(plan=SMALL, similarity=similarity, linkage=linkage, exact=exact)
    cut = len(rows) // 3
    paths = save(folder, rows[:cut], rows[cut:])
    wanted = defined(rows, rules)
    found = clusters.group(paths, rules, scratch=folder / "scratch")
    assert verdicts(paths) == wanted
    assert found.exact + found.near == sum(n != k for k, n in enumerate(wanted))
    assert not (folder / "scratch").exists()


@pytest.mark.parametrize("linkage", ["direct", "chain"])
def test_little_memory_and_no_numba_give_the_same(tmp_path, linkage, monkeypatch):
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 2**63, (3000, PLAN.width), dtype=np.uint64)
    copied = rng.integers(0, 1500, 1500)
    rows[1500:] = rows[copied]
    rows[1600:, :2] += np.uint64(1)  # all but the first hundred copies are near ones
    rows[1600:, 20:23] ^= rng.integers(0, 2**63, (1400, 3), dtype=np.uint64)
    paths = save(tmp_path, rows[:10], rows[10:2000], rows[2000:])
    results = []
    for memory, plain in ((10**9, False), (30_000, False), (30_000, True)):
        if plain:
            monkeypatch.setattr(minhash, "compiled_module", lambda name: None)
        monkeypatch.setattr(clusters, "READ_ROWS", 97)
        found = clusters.group(paths, Rules(plan=PLAN, linkage=linkage, memory=memory), scratch=tmp_path / "s")
        likeness = [np.load(clusters.similarity_path(path)) for path in paths]
        results.append((found, verdicts(paths), np.nan_to_num(np.concatenate(likeness)).tolist()))
    assert results[0] == results[1] == results[2]
    assert results[0][0].near > 500 and results[0][0].exact >= 100


def text(rng: np.random.Generator, count: int) -> list[str]:
    return [f"word{k}" for k in rng.integers(0, 100_000, count)]


def test_a_chain_of_likeness_does_not_remove_what_is_unlike_its_survivor(tmp_path):
    """Every text is much like the one before it, the last has nothing of the first."""
    words = text(np.random.default_rng(0), 1500)
    texts = [" ".join(words[30 * k : 30 * k + 400]) for k in range(30)]
    paths = save(tmp_path, signatures(texts, DedupConfig()))
    chained = group(paths, DedupConfig(linkage="chain"), scratch=tmp_path / "s")
    assert chained.near == 29 and set(verdicts(paths)) == {0}
    group(paths, DedupConfig(), scratch=tmp_path / "s")
    direct = verdicts(paths)
    assert 2 < len(set(direct)) < 15
    for k, survivor in enumerate(direct):
        assert direct[survivor] == survivor
        assert k - survivor <= 6  # 400 - 30·6 words shared: similarity 0.38 at the least


@pytest.mark.parametrize("numba", [True, False])
def test_with_the_texts_nothing_below_the_limit_is_removed(tmp_path, numba, monkeypatch):
    """Pairs around the limit, in bands that find nearly all of them: without the texts some go wrong."""
    if not numba:
        monkeypatch.setattr(minhash, "compiled_module", lambda name: None)
    rng = np.random.default_rng(8)
    texts, config = [], DedupConfig(bands=40, rows=3)
    for _ in range(150):
        words, both = text(rng, 240), int(rng.integers(80, 140))
        texts += [" ".join(words[:160]), " ".join(words[:both] + words[160 : 320 - both])]
    sets = [set(zip(*(t.split()[k:] for k in range(5)), strict=False)) for t in texts]
    alike = np.array([len(a & b) / len(a | b) for a, b in zip(sets[::2], sets[1::2], strict=True)])
    paths = save(tmp_path, signatures(texts, config))

    def removed(**how: object) -> np.ndarray:
        group(paths, config, scratch=tmp_path / "s", **how)  # type: ignore[arg-type]
        return np.array(verdicts(paths)[1::2]) % 2 == 0

    read: list[int] = []

    def some(numbers: np.ndarray) -> Iterator[str]:
        read.extend(numbers.tolist())
        return (texts[k] for k in numbers)

    blind, sighted = removed(), removed(texts=some)
    assert (blind & (alike < 0.5)).any()
    assert not (sighted & (alike < 0.5)).any() and (sighted <= blind).all()
    assert (sighted == (blind & (alike >= 0.5))).all()
    assert 50 < len(set(read)) < 280  # those in doubt only
    found = np.load(tmp_path / "0.sim.npy")[1::2]
    checked = sighted & (found < 0.75)
    assert np.allclose(found[checked], alike[checked])


def test_a_survivor_that_turns_out_unlike_does_not_hide_another(tmp_path):
    """The third text looks like the first but is not, and is like the second: known only when the texts are read."""
    rows = np.zeros((3, PLAN.width), dtype=np.uint64)
    rows[:, 0], rows[:, 2] = [1, 2, 3], 7
    rows[1, 16:25] = 0x0101010101010101  # 72 of 112 bytes differ: the first two are not alike
    rows[2, 16:20] = 0x0101010101010101
    texts = ["a b c d e f", "u v w x y z", "u v w x y z"]
    paths = save(tmp_path, rows)
    group(paths, DedupConfig(), scratch=tmp_path / "s")
    assert verdicts(paths) == [0, 1, 0]
    group(paths, DedupConfig(), scratch=tmp_path / "s", texts=lambda numbers: (texts[k] for k in numbers))
    assert verdicts(paths) == [0, 1, 1]
    with pytest.raises(DataError, match="some documents are not there any more"):
        group(paths, DedupConfig(), scratch=tmp_path / "s", texts=lambda numbers: iter(()))


def test_the_result_says_what_was_found(tmp_path):
    rng = np.random.default_rng(5)
    a, b, c = text(rng, 300), text(rng, 300), text(rng, 300)
    near = [*a[:299], "other"]
    texts = [" ".join(t) for t in (a, b, near, c, a, b, near)] + ["", " ", "+"]
    found = group(save(tmp_path, signatures(texts, DedupConfig())), DedupConfig(), scratch=tmp_path / "s")
    assert verdicts([tmp_path / "0.sig.npy"]) == [0, 1, 0, 3, 0, 1, 0, 7, 7, 9]
    assert (found.documents, found.exact, found.near) == (10, 4, 1)
    assert found.sizes == {2: 2, 4: 1} and found.largest[0] == (0, 2, 4, 6)
    likeness = np.load(tmp_path / "0.sim.npy")
    assert likeness[2] > 0.9 and np.isnan(np.delete(likeness, [2])).all()


def test_signatures_of_other_settings_are_refused(tmp_path):
    paths = save(tmp_path, signatures(["a text"], DedupConfig(near=False)))
    with pytest.raises(DataError, match=r"0.sig.npy: signatures .* other settings made them"):
        group(paths, DedupConfig(), scratch=tmp_path / "s")
    paths[0].write_bytes(b"no array")
    with pytest.raises(DataError, match=r"0.sig.npy: not a file of signatures"):
        group(paths, DedupConfig(), scratch=tmp_path / "s")


def test_no_documents_are_no_trouble(tmp_path):
    assert signatures([], DedupConfig()).shape == (0, 30)
    found = group(save(tmp_path, signatures([], DedupConfig())), DedupConfig(), scratch=tmp_path / "s")
    assert (found.documents, found.largest, found.sizes) == (0, (), {})
    assert group([], DedupConfig(), scratch=tmp_path / "s").documents == 0


def test_sources_named_first_keep_their_copy():
    assert dedup.in_order(["web", "arxiv", "code", "books"], ("code", "arxiv")) == [2, 1, 0, 3]
    assert dedup.in_order(["web", "arxiv"], ()) == [0, 1]


# --- paragraphs ------------------------------------------------------------------------------------------------


@given(st.text(st.sampled_from("ab \n\t."), max_size=60))
def test_paragraphs_together_are_the_text(text):
    found = paragraphs(text)
    assert "".join(found) == text and all(found)
    assert without(text, [True] * len(found)) == text
    assert all("\n\n" not in p.strip() for p in found)


def test_a_paragraph_stays_where_it_comes_first(tmp_path):
    notice = "This paragraph stands in every document of the collection and says nothing about any of them at all."
    texts = [f"First.\n\n{notice}\n\nEnd.", f"{notice}\n\nSecond.", f"{notice}  \n", "short\n\nshort\n\n"]
    config = DedupConfig(paragraphs=True)
    rows, counts = dedup.paragraph_signatures(texts, config)
    assert counts.tolist() == [3, 2, 1, 2]
    paths = save(tmp_path, rows)
    dedup.group_paragraphs(paths, config, scratch=tmp_path / "s")
    stays = [n == k for k, n in enumerate(verdicts(paths))]
    starts = np.concatenate([[0], np.cumsum(counts)])
    left = [without(t, stays[a:b]) for t, a, b in zip(texts, starts[:-1], starts[1:], strict=True)]
    assert left == [texts[0], "Second.", "", texts[3]]


# --- settings --------------------------------------------------------------------------------------------------


def test_profiles_and_their_parts():
    assert dedup.plan(DedupConfig()) == Plan(bands=14, rows=8, ngram=5)
    assert dedup.plan(DedupConfig(profile="megamath")) == Plan(bands=11, rows=10, ngram=5)
    assert dedup.plan(DedupConfig(bands=25, ngram=3)) == Plan(bands=25, rows=8, ngram=3)
    assert signatures(["x"], DedupConfig(profile="megamath")).shape == (1, 2 + 11 + 14)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("similarity=1.5", "similarity=1.5 must lie in 0..1"),
        ("memory=3", "needs at least 64"),
        ("bands=-1", "bands=-1 must lie in"),
        ("profile=mega", "must be one of default, megamath"),
        ("linkage=star", "must be one of direct, chain"),
        ("exat=true", "did you mean exact"),
    ],
)
def test_wrong_settings_are_named(word, message):
    with pytest.raises(ConfigError, match=message):
        resolve(DedupConfig, words=[word])
    with pytest.raises(ConfigError, match="nothing to do"):
        resolve(DedupConfig, words=["exact=false", "near=false"])


def test_the_curve_is_the_theory():
    assert minhash.recall(0.8, 14, 8) == pytest.approx(0.924, abs=0.001)
    assert minhash.recall((1 / 14) ** (1 / 8), 14, 8) == pytest.approx(1 - (1 - 1 / 14) ** 14)
    assert replace(PLAN, bands=20).hashes == 160

"""Quality: hashes, MathScore, perplexity and the rules of both profiles do what their documents say."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import time
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llemma.config import build
from llemma.corpus import quality
from llemma.corpus.features import PIECE, hashed, ngrams
from llemma.corpus.mathscore import (
    Example,
    MathScoreOptions,
    features,
    load_mathscore,
    reliability,
    save_mathscore,
    train_mathscore,
)
from llemma.corpus.page import Page, formulas, marks, words_only
from llemma.corpus.perplexity import PerplexityOptions, load_perplexity, save_perplexity, train_perplexity
from llemma.corpus.quality import QualityEntry, load_profile, quality_stage
from llemma.corpus.rules import TESTS, Models, Url, broken, judge, repeated_share
from llemma.errors import ConfigError, DataError
from llemma.records import Document

WORD = st.text(alphabet="abzé09", min_size=1, max_size=4)


# --- hashes ---------------------------------------------------------------------------------------------------


def same(a: list[Any], b: np.ndarray) -> bool:
    """Whether the hashes are equal exactly where the things they stand for are."""
    return [a.index(x) for x in a] == [b.tolist().index(h) for h in b.tolist()]


@given(st.lists(WORD, max_size=12))
def test_words_have_equal_hashes_exactly_when_they_are_equal(words):
    normal = ["".join("0" if c.isdigit() else c for c in word) for word in words]
    found = hashed(" - ".join(words)).words
    assert len(found) == len(words)
    assert same(normal, found)


@given(st.lists(st.sampled_from("abc"), max_size=20), st.integers(1, 5))
def test_ngrams_are_equal_exactly_when_their_words_are(words, n):
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    found = ngrams(hashed(" ".join(words)).words, n)
    assert len(found) == max(0, len(runs))
    assert same(runs, found)


def test_case_punctuation_and_the_values_of_digits_do_not_count():
    assert hashed("The LIMIT, 37").words.tolist() == hashed("the (limit) — 12!").words.tolist()
    assert hashed("the limit 12").words.tolist() != hashed("the limit 123").words.tolist()
    assert hashed("a 12 b", digits=False).words.tolist() == hashed("a b").words.tolist()


def test_character_ngrams_know_no_place():
    grams = hashed("xx abcd yy zz abcd", gram=4).grams.tolist()
    assert grams[3] == grams[14] and grams[2] == grams[13]
    assert len(set(grams)) == len(grams) - 2


def test_a_text_of_several_pieces_is_the_sum_of_them():
    text = "lemma " * (PIECE // 6 + 1000)
    words = hashed(text).words
    assert abs(len(words) - len(text) // 6) <= 1
    assert Counter(words.tolist()).most_common(1)[0][1] >= len(words) - 2


# --- pages ----------------------------------------------------------------------------------------------------

FORMULAS = [
    ("so $x^2$ and $y$.", ["x^2", "y"]),
    ("$$\\int f$$ then \\(a\\) and \\[b\\]", ["\\int f", "a", "b"]),
    ("\\begin{align*}a&=b\\end{align*}", ["a&=b"]),
    ("it costs $5 and $10 a year", []),
    ("US$20 or A$30", []),
    ("escaped \\$x\\$ dollars", []),
    ("$a$-torsion", ["a"]),
    ("$\\text{\\$5}$", ["\\text{\\$5}"]),
    ("no mathematics", []),
]


@pytest.mark.parametrize(("text", "expected"), FORMULAS, ids=[text[:20] for text, _ in FORMULAS])
def test_formulas_are_found_and_prices_are_not(text, expected):
    assert formulas(text) == expected


def test_nothing_of_markup_or_code_is_among_the_words():
    text = (
        "Let :math:`x_n` grow. See `np.sum` and ``a.b``.\n\n.. math::\n\n    \\frac{a}{b}\n    + c\n\nThen\n"
        ">>> f(3)\n$\\alpha$ \\textbf{bold} https://example.org/a?b ∑∀ done\n```\ncode here\n```\n"
    )
    assert words_only(text).split() == ["Let", "grow.", "See", "and", ".", "Then", "{bold}", "done"]
    assert marks(text) == 3


HOSTILE = [
    "\\[" * 100_000,
    "\\( x " * 50_000,
    "$" * 200_000,
    "$ $a " * 50_000,
    "\\begin{align}" * 20_000,
    "\\begin{align}\\begin{gather}" * 10_000,
    "`" * 200_000,
    "```\n" * 50_001,
    ".. math::\n" * 50_000,
    "a-" * 100_000 + "@",
    "www." + "a@" * 100_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=[text[:8].strip() for text in HOSTILE])
def test_unclosed_markup_costs_no_more_than_seconds(text):
    started = time.perf_counter()
    words_only(text), formulas(text)
    assert time.perf_counter() - started < 30


# --- MathScore ------------------------------------------------------------------------------------------------

MATHS = ["theorem", "proof", "lemma", "integral", "converges", "continuous", "matrix", "polynomial", "prime", "ring"]
OTHER = ["recipe", "garden", "football", "minister", "holiday", "river", "music", "kitchen", "painting", "weather"]
COMMON = ["the", "of", "and", "a", "is", "that", "in", "we", "it", "for", "with", "as", "on", "this", "be", "by"]


def examples(count: int, seed: int = 0) -> list[Example]:
    draw = random.Random(seed)
    found = []
    for n in range(count):
        mathematical = n % 3 == 0
        own = MATHS if mathematical else OTHER
        words = [draw.choice(own if draw.random() < 0.2 else COMMON) for _ in range(60)]
        found.append(Example(id=f"{seed}/{n}", prose=" ".join(words), mathematical=mathematical))
    return found


@pytest.fixture(scope="module")
def trained() -> Any:
    return train_mathscore(examples(900), MathScoreOptions(bits=16))


def test_mathscore_tells_mathematics_from_the_rest(trained):
    model, figures = trained
    assert model("We prove the lemma: the integral of a continuous polynomial converges.") > 0.8
    assert model("The minister was in the garden on this holiday, and it is the weather for music.") < 0.2
    assert figures["auc"] > 0.98 and figures["ece"] < 0.1
    fresh = examples(200, seed=9)
    wrong = sum((model(e.prose) >= 0.5) != e.mathematical for e in fresh)
    assert wrong < 10


def test_markup_alone_decides_nothing(trained):
    """All formulas, no words: what is left is the share of mathematics in training, whatever the formulas are."""
    model, _ = trained
    scores = {model(words_only(text)) for text in ("$x^2$", "$$\\sum_i a_i$$", "\\(\\alpha\\) \\[\\beta\\]", "")}
    assert len(scores) == 1 and 0.05 < scores.pop() < 0.95


def test_the_same_examples_give_the_same_bytes(trained, tmp_path):
    again, _ = train_mathscore(examples(900), MathScoreOptions(bits=16))
    other, _ = train_mathscore(examples(900), MathScoreOptions(bits=16, seed=1))
    files = []
    for name, model in (("a", trained[0]), ("b", again), ("c", other)):
        save_mathscore(model, tmp_path / name)
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1] != files[2]
    assert len(files[0]) < 2 * 2**16 + 3000


def test_a_stored_model_scores_as_before(trained, tmp_path):
    save_mathscore(trained[0], tmp_path / "m")
    back = load_mathscore(tmp_path / "m")
    for example in examples(20, seed=3):
        assert back(example.prose) == trained[0](example.prose)
    assert back.info == trained[0].info


@pytest.mark.parametrize("damage", [b"", b"{}", b"llemma mathscore 1\nnot json\n", b"llemma mathscore 1\n{}\n", None])
def test_a_damaged_model_is_named(trained, tmp_path, damage):
    path = tmp_path / "m"
    save_mathscore(trained[0], path)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if damage is None else damage)
    with pytest.raises(DataError, match=r"not a MathScore model .*llemma quality"):
        load_mathscore(path)


def test_a_missing_model_says_how_to_get_one(tmp_path):
    with pytest.raises(DataError, match="no such model; train one: `llemma quality run=DIR`"):
        load_mathscore(tmp_path / "none")


def test_examples_of_one_kind_are_not_enough():
    with pytest.raises(DataError, match="too few examples to train MathScore: 0 with mathematical markup"):
        train_mathscore([e for e in examples(300) if not e.mathematical], MathScoreOptions(bits=12))


def test_features_are_words_pairs_and_character_ngrams():
    assert len(features("one two three", 0, 20)) == 3 + 2
    assert len(features("one two three", 4, 20)) == 3 + 2 + len("one two three") - 3


def test_the_reliability_table_is_what_it_says():
    scores = np.array([0.05, 0.05, 0.15, 0.95, 0.95, 0.95, 1.0])
    labels = np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0])
    figures = reliability(scores, labels)
    assert figures["reliability"] == [[2, 0.05, 0.5], [1, 0.15, 0.0], [4, 0.9625, 0.75]]
    assert figures["ece"] == pytest.approx((2 * 0.45 + 0.15 + 4 * 0.2125) / 7, abs=1e-4)
    assert figures["precision"] == 0.75 and figures["recall"] == 0.75
    hits, misses = scores[labels > 0], scores[labels == 0]
    pairs = [(a > b) + (a == b) / 2 for a in hits for b in misses]
    assert figures["auc"] == pytest.approx(sum(pairs) / len(pairs), abs=1e-4)


# --- perplexity -----------------------------------------------------------------------------------------------


class Plain:
    """Kneser-Ney with dictionaries, word for word as the papers write it."""

    def __init__(self, texts: list[list[str]], order: int, discount: float, least: int) -> None:
        self.order, self.discount, self.least = order, discount, least
        self.counts: dict[int, Counter[tuple[str, ...]]] = {}
        for n in range(order, 0, -1):
            raw = Counter(tuple(t[i : i + n]) for t in texts for i in range(len(t) - n + 1))
            if n < order:
                before: dict[tuple[str, ...], set[str]] = {}
                for gram in self.counts[n + 1]:
                    before.setdefault(gram[1:], set()).add(gram[0])
                raw = Counter({gram: max(1, len(before.get(gram, ()))) for gram in raw})
            self.counts[n] = raw
        self.vocabulary = len(self.counts[1])

    def chance(self, word: str, context: tuple[str, ...]) -> float:
        n = len(context) + 1
        lower = self.chance(word, context[1:]) if context else 1 / (self.vocabulary + 1)
        seen = {gram: c for gram, c in self.counts[n].items() if gram[:-1] == context}
        if not seen:
            return lower
        total = sum(seen.values())
        cut = {g: c for g, c in seen.items() if n < 3 or c >= self.least}
        if not cut:
            return lower
        rest = (
            self.discount * len(seen) / total + sum(c - self.discount for g, c in seen.items() if g not in cut) / total
        )
        return max(0.0, cut.get((*context, word), self.discount) - self.discount) / total + rest * lower


@pytest.mark.parametrize(("order", "least"), [(1, 1), (2, 1), (3, 1), (3, 2), (4, 2)])
def test_perplexity_is_kneser_neys(order, least):
    draw = random.Random(order)
    texts = [[draw.choice("abcdef") for _ in range(60)] for _ in range(4)]
    model = train_perplexity([" ".join(t) for t in texts], PerplexityOptions(order=order, least=least))
    plain = Plain(texts, order, 0.75, least)
    wanted = [draw.choice("abcdefz") for _ in range(50)]
    logs = model.logs(hashed(" ".join(wanted)).words)
    for i, word in enumerate(wanted):
        context = tuple(wanted[max(0, i - order + 1) : i])
        assert 10 ** logs[i] == pytest.approx(plain.chance(word, context), rel=1e-5)
    for context in (("a", "b"), ("z", "a"), ("c",)):
        context = context[-(order - 1) :] if order > 1 else ()
        assert sum(plain.chance(w, context) for w in "abcdefz") == pytest.approx(1)


def test_word_order_decides_and_a_stored_model_agrees(tmp_path):
    text = "every finite group of prime order is cyclic and every cyclic group is abelian " * 40
    model = train_perplexity([text], PerplexityOptions())
    shuffled = sorted(text.split(), key=lambda w: hashlib.sha256(w.encode()).digest())
    assert model("every cyclic group is abelian") * 3 < model(" ".join(shuffled))
    assert model("every cyclic group is abelian") * 3 < model("xylophone zebra quartz")
    assert model("") == math.inf
    save_perplexity(model, tmp_path / "p")
    assert load_perplexity(tmp_path / "p")(text) == model(text)
    (tmp_path / "p").write_bytes((tmp_path / "p").read_bytes()[:-1])
    with pytest.raises(DataError, match="not a perplexity model"):
        load_perplexity(tmp_path / "p")


# --- rules ----------------------------------------------------------------------------------------------------

GOOD = """# Convergence of series

A series $\\sum a_n$ of real numbers converges if its partial sums have a limit. We give a test that is easy to
use and that holds for series with positive terms.

**Theorem.** If $\\limsup |a_n|^{1/n} < 1$, then the series converges absolutely, and if the upper limit is larger
than one, then it diverges.

*Proof.* Choose a number $q$ with $\\limsup |a_n|^{1/n} < q < 1$. For all large $n$ we have $|a_n| < q^n$, so that
the series is bounded by a geometric one:

$$\\sum_{n \\ge N} |a_n| \\le \\frac{q^N}{1 - q}.$$

In the other case infinitely many terms are larger than one in absolute value, and the terms do not tend to zero.
"""
PLAIN = (
    "The harbour of the old town was full of boats in the morning, and the people of the island sold fish and bread "
    "at the quay. We walked along the wall to the lighthouse, which was built two hundred years ago and is still in "
    "use. From there the view goes far over the bay, and with good weather the mountains can be seen behind it.\n"
)


def fate(text: str, profile: str = "llemma", url: str = "https://example.org/a", **entry: Any) -> str | None:
    """Why the profile drops a text, without models."""
    settings = build(QualityEntry, {"profile": profile, "mathscore": "none", **entry})
    stage = quality_stage(settings)
    return stage(Document(id="d", text=text, source="t", meta={"url": url})).reason


def lines(count: int, form: str) -> str:
    return "\n".join(form.format(n) for n in range(count))


OWN = [
    # text, reason (None: kept)
    (GOOD, None),
    (PLAIN, None),
    (GOOD * 2, "repeated lines"),
    ("Too short. $x$", "too few words"),
    ("$a$ $b$ $c$ " * 4 + "for all of them", None),  # formulas count as words
    ("$x + y + z + a + b + c$ a " * 12, "only formulas"),
    ("Lorem ipsum dolor sit amet. " * 4 + PLAIN, "template"),
    ("{{ page.title }} <% if %> {% block %} {{ a }} {{ b }} " + PLAIN, "template"),
    (GOOD.replace("|a_n|", "{a_n|"), "broken LaTeX"),
    ("[Math Processing Error] and " * 5 + GOOD, "broken LaTeX"),
    (GOOD + "\n" + "3141592653589793 2384626433832795 " * 40, "mostly digits"),
    (PLAIN + "-- ** == ++ // ## @@ %% && !! ?? ;; :: ,, .. " * 20, "symbol soup"),
    (PLAIN + " abcdefghijklmnopqrstuvwxyzabcdefghijklmn" * 60, "odd words"),
    ("keyword names " + " ".join(f"widget gadget item part{c}" for c in "abcdefghijklmnopqrst"), "no sentences"),
    (lines(40, "- the entry of a list that is about item number {} and of it only"), "only bullets"),
    (lines(40, "the first words of some article about the number {} and its ..."), "cut-off lines"),
    (lines(60, "Posted by the user on day {} of the month in the forum"), "lines of one pattern"),
    ((PLAIN.replace("\n", " ") + "\n\n") * 7, "repeated paragraphs"),
    (PLAIN + "buy it now " * 60, "one phrase over and over"),
    (" ".join([PLAIN.replace("\n", " ")] * 2) + " and that is the end of it", "repeated passages"),
    (
        "Der Hafen der alten Stadt war am Morgen voll von Booten, und die Leute der Insel verkauften Fisch und Brot am "
        "Kai. Wir gingen auf der Mauer entlang bis zum Leuchtturm, der vor zweihundert Jahren gebaut wurde. the of and",
        "another language",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason"), OWN, ids=[f"{n}-{reason}" for n, (_, reason) in enumerate(OWN)])
def test_our_profile(text, reason):
    assert fate(text) == reason


def test_lines_that_differ_in_their_formulas_are_no_repetition():
    form = "Adding the two sides of $a_{{{}}} = b$ we find that the claim of the lemma holds."
    assert fate(lines(40, form), rules={"repeated_phrases": False}) is None
    assert fate(lines(40, form.replace("{}", "1")), rules={"repeated_phrases": False}) == "repeated lines"


def test_every_rule_of_our_profile_is_seen_to_drop():
    """But for those that need a model, and those that take lines out: they have tests of their own."""
    seen = {reason for _, reason in OWN}
    stage = load_profile(QualityEntry(profile="llemma"))
    assert len(stage.tests) - 4 <= len(seen - {None})


def test_lines_of_boilerplate_go_and_lines_with_formulas_stay():
    text = (
        GOOD + "\nWe use cookies to improve this site.\nSign in\nBack to top of $x$\n\\newcommand\\a\\newcommand\\b\n"
    )
    stage = quality_stage(build(QualityEntry, {"profile": "llemma", "mathscore": "none"}))
    outcome = stage(Document(id="d", text=text, source="t"))
    assert outcome.reason is None
    assert outcome.document.text == GOOD + "\nBack to top of $x$\n"
    assert outcome.removed == {"boilerplate line": 2, "line of macro definitions": 1}


OPENWEBMATH = [
    # text, address, reason under the original's rules with its faults, reason with the faults mended
    (PLAIN, "https://example.org/a", None, None),
    (GOOD, "https://example.org/a", None, None),
    ("a" * 50, "https://example.org/a", "another language", "another language"),
    (PLAIN[:90], "https://example.org/a", "too few characters", "too few characters"),
    (PLAIN, "https://arxiv-vanity.com/papers/1", "address", "address"),
    (PLAIN, "https://a.org/search?q=1", "address", "address"),
    (PLAIN, "https://search.a.org//search", None, None),
    (PLAIN, "https://mathoverflow.net/users/1", "address", "address"),
    (PLAIN, "https://a.org/committee/members", "address", None),
    (PLAIN, "https://a.org/repo/commit/0a1b", "address", "address"),
    (PLAIN, "https://a.org/authors/gauss", None, "address"),
    (PLAIN, "https://a.org/serials/1", None, "address"),
    (PLAIN, "https://read.dukeupress.edu/x", None, "address"),
    (PLAIN, "https://bio.libretexts.org/x", "no formula", "no formula"),
    (PLAIN, "https://math.libretexts.org/x", None, None),
    (PLAIN + "$x$", "https://bio.libretexts.org/x", None, None),
    (PLAIN + "$$\\PageIndex{1}$$", "https://bio.libretexts.org/x", "no formula", "no formula"),
    (PLAIN + "é" * 7, "https://example.org/a", "accented letters", "accented letters"),
    (PLAIN + "é" * 5, "https://example.org/a", None, None),
]  # fmt: skip


IDS = [f"{n}-{row[1][-24:]}" for n, row in enumerate(OPENWEBMATH)]


@pytest.mark.parametrize(("text", "url", "kept", "fixed"), OPENWEBMATH, ids=IDS)
def test_the_rules_of_openwebmath(text, url, kept, fixed):
    assert fate(text, "openwebmath", url) == kept
    assert fate(text, "openwebmath", url, bugs="fixed") == fixed


def test_openwebmath_glues_words_across_lines():
    """The last word of a line and the first of the next become one before MathScore and perplexity read them."""
    seen: list[str] = []

    class Listening:
        def __call__(self, prose: str) -> float:
            seen.append(prose)
            return 1.0

    models: Any = Models(mathscore=Listening(), perplexity=Listening())  # type: ignore[arg-type]
    for bugs in ("kept", "fixed"):
        profile = load_profile(build(QualityEntry, {"profile": "openwebmath", "bugs": bugs}))
        page = Page(Document(id="d", text="first of it\nand second of it. " * 9, source="t"))
        judge(page, profile.tests.values(), models)
    assert len(seen) == 8 and all("itand" in text for text in seen[:4]) and all("it\nand" in text for text in seen[4:])


class Fixed:
    """A model that gives every text the same figure."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, prose: str) -> float:
        return self.value


SCORES = [
    # MathScore, perplexity, with a formula?, reason
    (0.8, 100.0, False, None),
    (0.79, 100.0, False, "MathScore too low"),
    (0.17, 100.0, True, None),
    (0.16, 100.0, True, "MathScore too low"),  # passes the first filter, not the final one
    (0.14, 100.0, True, "MathScore too low"),
    (0.9, 15_000.0, True, None),
    (0.9, 15_001.0, True, "perplexity too high"),
    (0.9, 30_001.0, True, "perplexity too high"),
]


@pytest.mark.parametrize(("score", "perplexity", "formula", "reason"), SCORES)
def test_openwebmaths_thresholds(score, perplexity, formula, reason):
    models: Any = Models(mathscore=Fixed(score), perplexity=Fixed(perplexity))  # type: ignore[arg-type]
    tests = load_profile(QualityEntry(profile="openwebmath")).tests.values()
    text = PLAIN + ("$x$" if formula else "")
    _, drop, _ = judge(Page(Document(id="d", text=text, source="t")), tests, models)
    assert (drop.reason if drop else None) == reason


def test_known_faults_are_listed_and_some_can_be_switched():
    bugs = load_profile(QualityEntry(profile="openwebmath")).bugs
    assert {bug.name for bug in bugs if bug.switched} == {"glued_lines", "missing_commas", "commit_anywhere"}
    assert len(bugs) == 9 and all(len(bug.what) > 20 for bug in bugs)


def address(url: str) -> Page:
    return Page(Document(id=url, text="", source="t"))


def test_a_list_of_hosts_is_read_and_never_run(tmp_path):
    """As it stands in the original's Python file, missing comma and all."""
    (tmp_path / "hosts.py").write_text(
        "raise SystemExit\nBAD_URLS = [\n 'scribd.com',\n '/a/'\n '/b/',\n '/commit',\n f(1),\n]\n"
    )
    (tmp_path / "hosts.txt").write_text("scribd.com\n\n /a/ \n")
    for name, dropped, kept in (("hosts.py", "x/a//b/x", "x/a/x"), ("hosts.txt", "x/a/x", "x/b/x")):
        rule = Url(file=tmp_path / name, without=("/commit",))
        fates = [rule(address(url), Models()) is not None for url in ("scribd.com/1", dropped, kept, "/commit/1")]
        assert fates == [True, True, False, False]
    with pytest.raises(ConfigError, match="no list named OTHER"):
        Url(file=tmp_path / "hosts.py", name="OTHER")(address("u"), Models())


BROKEN = [
    ("\\frac{a}{b}", False), ("\\frac{a}{b", True), ("a}", True), ("\\{a", False), ("\\left( x \\right)", False),
    ("\\left( x", True), ("\\leftarrow", False), ("\\begin{matrix}a\\end{matrix}", False), ("\\begin{matrix}a", True),
    ("a \\", True), ("a \\\\", False), ("x^2", False), ("", False),
]  # fmt: skip


@pytest.mark.parametrize(("formula", "expected"), BROKEN)
def test_broken_formulas(formula, expected):
    assert broken(formula) is expected


def test_the_share_of_repeated_words_is_exact():
    words = ["a", "b", "c", "d", "e", "a", "b", "c", "d", "f"]
    hashes = hashed(" ".join(words)).words
    assert repeated_share(hashes, 4) == 0.4
    assert repeated_share(hashes, 5) == 0.0
    assert repeated_share(hashes[:2], 3) == 0.0
    assert repeated_share(hashed("x " * 10).words, 2) == 0.9


BAD_ENTRIES = [
    ({"profile": "lemma"}, "no quality profile 'lemma'; did you mean llemma"),
    ({"profile": "llemma", "rules": {"langauge": False}}, r"has no such rule; did you mean language"),
    ({"profile": "llemma", "rules": {"language": 3}}, r"rules\.language=3: write \{field = value\}, or false"),
    ({"profile": "llemma", "rules": {"language": {"leest": 1}}}, r"leest; did you mean rules\.language\.least"),
    ({"profile": "llemma", "rules": {"mine": {"test": "lettres"}}}, "no test 'lettres'; did you mean letters"),
    ({"profile": "llemma", "rules": {"template": {"pattern": "("}}}, "not a regular expression"),
    ({"profile": "nowhere.toml#x"}, "no such file"),
    ({"profile": "llemma", "bugs": "some"}, "bugs=some: must be one of"),
]  # fmt: skip


@pytest.mark.parametrize(("entry", "message"), BAD_ENTRIES, ids=[message[:24] for _, message in BAD_ENTRIES])
def test_a_bad_entry_is_one_line(entry, message):
    with pytest.raises(ConfigError, match=message) as caught:
        quality.check(build(QualityEntry, {"mathscore": "none", **entry}))
    assert "\n" not in str(caught.value)


def test_a_recipe_changes_single_thresholds_and_adds_rules():
    assert fate("Too short. $x$", rules={"min_words": {"least": 2}}) is None
    assert fate("Too short. $x$", rules={"min_words": False}) is None
    assert fate(PLAIN, rules={"fish": {"test": "phrases", "any": ["fish"], "reason": "no fish"}}) == "no fish"


def test_a_profile_may_come_from_a_file(tmp_path):
    (tmp_path / "own.toml").write_text("[strict.rules.min_chars]\nleast = 1000\n")
    assert fate(PLAIN, f"{tmp_path / 'own.toml'}#strict") == "too few characters"
    assert fate(PLAIN * 4, f"{tmp_path / 'own.toml'}#strict") is None


def test_every_test_is_described_and_has_defaults():
    for name, kind in TESTS.items():
        assert kind.__doc__ and kind(), name
    assert set(quality.profiles()) == {"openwebmath", "llemma"}


@given(st.text(max_size=300))
def test_no_text_breaks_a_rule(text):
    for profile in quality.profiles():
        fate(text, profile)


def test_no_combination_of_odd_pieces_breaks_a_rule():
    pieces = ["", "\n\n", "$", "$$x$$", "\\[", "\ud800", "\0", "é" * 50, "0" * 50, PLAIN, "{" * 40, "- a\n" * 20]
    for pair in itertools.product(pieces, repeat=2):
        for profile in quality.profiles():
            fate("".join(pair), profile, rules={"language": False})

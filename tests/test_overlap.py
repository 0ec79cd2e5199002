"""Copies of items in texts: the words of both views, both engines, the paper's protocol, planted leaks, false alarms.

The items here were written for the tests. Those of benchmarks come from LLEMMA_DATA:

    LLEMMA_DATA=FOLDER python -m pytest tests/test_overlap.py
"""

from __future__ import annotations

import importlib.util
import os
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llemma.corpus import ngrams, ngrams_kernel, views
from llemma.corpus.ngrams import Grams, Run
from llemma.corpus.overlap import (
    Index,
    OverlapConfig,
    PaperHit,
    build_index,
    flattened,
    paper_hits,
    present_tasks,
    stage,
)  # fmt: skip
from llemma.corpus.overlap_items import Item, task_items
from llemma.errors import ConfigError, DataError
from llemma.records import Document
from llemma.run import read_jsonl

DATA = os.environ.get("LLEMMA_DATA", "")
needs_data = pytest.mark.skipif(
    not DATA, reason="needs benchmarks: LLEMMA_DATA=FOLDER python -m pytest tests/test_overlap.py"
)

LONG = (
    "A gardener plants $\\frac{3}{4}$ of her beds with tulips and the remaining beds with roses. If every bed of "
    "tulips holds 48 bulbs and every bed of roses holds 12 bushes, and if she plants $x \\leq 40$ beds in all, what is "
    "the largest possible sum $S(x) = 36x + 3x$ of bulbs and bushes that she can plant before the first of May?"
)
MIDDLE = "Find the remainder when $7^{100} + 11^{100}$ is divided by $\\left( 5 + 8 \\right)$, without a calculator."
SHORT = "Compute $\\dbinom{1293}{2}$."


def item(text: str, problem: str = "p", field: Any = "problem", **more: Any) -> Item:
    return Item(task="t", problem=problem, field=field, text=text, **more)


def strict(*texts: str, **keys: Any) -> Index:
    items = [item(text, problem=f"p{number}") for number, text in enumerate(texts)]
    return build_index(items, OverlapConfig(**keys))


def hit_by(index: Index, text: str) -> set[str]:
    return {hit.problem for hit in index.scan(text)}


# --- words ------------------------------------------------------------------------------------------------------

PIECES = [
    "\\frac", "\\dfrac", "12", "3", "345", "1,000", "{,}", ",\\!", "\\,", " ", "\n", "> ", "\\", "\\begin{align*}",
    "\\end", "{", "}", "é", "ﬁ", "½", "²", "π", "𝑥", "\u00ad", "\u0301", "ab", "X", "\u2003", "\u3000", "\x85", "\xa0",
    "\x1c", "+", "=", "<", ">", "\t", "-", "$", "\\left", "\\leq", "\\binom", "字", "😀", "\ud800", "*", "_", "\\Delta",
    "ß", "İ", "\r", "\\frac1", "x", "elevenletter", "eightlet", "sevenle", "123456789", "\x01",
    "@", "[", "`", "Z", "z", "A",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


def kernel_words(text: str, view: views.View) -> list[tuple[int, int, int]]:
    """Hash, first character and end of each word, by the compiled loops."""
    data = text.encode("utf-8", "surrogatepass")
    out = np.empty((3 * len(data) + 4, 3), dtype=np.uint64)
    flat = np.frombuffer(data + ngrams.PADDING, dtype=np.uint8)
    if view == "raw":
        count = ngrams_kernel.raw_words(flat, 0, len(data), out)
    else:
        count = ngrams_kernel.normal_words(flat, 0, len(data), ngrams_kernel.tables(), out)
    chars = [len(data[: int(place)].decode("utf-8", "surrogatepass")) for place in out[:count, 1:].ravel()]
    return list(zip(out[:count, 0].tolist(), chars[::2], chars[1::2], strict=True))


def defined_words(text: str, view: views.View) -> list[tuple[int, int, int]]:
    return [(ngrams_kernel.word_hash(word.text), word.start, word.end) for word in views.words(text, view)]


@settings(max_examples=400)
@given(texts)
def test_the_compiled_words_are_those_of_the_definition(text: str) -> None:
    for view in views.VIEWS:
        assert kernel_words(text, view) == defined_words(text, view)


@given(st.text(max_size=60))
def test_any_text_has_the_same_words(text: str) -> None:
    for view in views.VIEWS:
        assert kernel_words(text, view) == defined_words(text, view)


def test_raw_words_are_those_of_split_for_every_character() -> None:
    text = "".join(f"a{chr(code)}" for code in range(0x3400))
    data = text.encode("utf-8")
    out = np.empty((len(data), 3), dtype=np.uint64)
    count = ngrams_kernel.raw_words(np.frombuffer(data + ngrams.PADDING, dtype=np.uint8), 0, len(data), out)
    spans = out[:count, 1:].astype(int).tolist()
    assert [data[start:end].decode() for start, end in spans] == text.split()
    assert [chr(code) for code in range(0x3400, 0x110000) if chr(code).isspace()] == []  # none is left out above
    assert [word.text for word in views.words(text, "raw")] == text.split()


def test_every_character_has_one_reading() -> None:
    text = "".join(f"a{chr(code)} " for code in range(0x3400)) + "".join(map(chr, range(0x1D3F0, 0x1D810)))
    words = views.words(text, "normal")
    data = text.encode("utf-8", "surrogatepass")
    out = np.empty((len(data), 3), dtype=np.uint64)
    tables = ngrams_kernel.tables()
    flat = np.frombuffer(data + ngrams.PADDING, dtype=np.uint8)
    count = ngrams_kernel.normal_words(flat, 0, len(data), tables, out)
    assert out[:count, 0].tolist() == [ngrams_kernel.word_hash(word.text) for word in words]


@given(texts, texts)
def test_a_word_depends_on_its_line_alone(one: str, two: str) -> None:
    apart = [word.text for text in (one, two) for word in views.words(text, "normal")]
    assert [word.text for word in views.words(f"{one}\n{two}", "normal")] == apart or one.endswith("\\")


SAME = [  # copies of one text as they occur
    (r"\frac{1}{2}", r"\dfrac12", r"\tfrac{1}{2}", "1/2", "½", r"\frac 12", r"$\frac{1}{2}$", r"\(\frac{1}{2}\)"),
    (r"$x \leq 3$", r"\[x \le 3\]", "x ≤ 3", r"$x\leqslant{3}$", "𝑥 ≤ 3"),
    (r"x^{2}+1", "x^2 + 1", "x²+1", "x2 + 1", r"\left.x^2+1\right."),
    ("10,000 men", r"$10{,}000$ men", r"10\,000 men", "10000 men", r"10,\!000 men"),
    ("**Find** all", "Find all", "FIND  all", "_find_\nall", "> Find\n> all", "Find\u00a0all", "fi\u00adnd all"),
    (r"45^\circ", "45°", r"$45^{\circ}$"),
    (r"3 \times 4", "3*4", "3 × 4", r"3 \cdot 4", "3·4"),
    (r"\begin{align*} a &= b \\ c &= d \end{align*}", "a = b\nc = d", r"\[ a=b \quad c=d \]"),
    (r"\text{the area of } \triangle ABC", "the area of △ABC", r"the area of $\triangle{ABC}$"),
    ("café naïve", "cafe naive", "CAFÉ NAÏVE", "cafe\u0301 naïve"),
    (r"\binom{5}{2}", r"\dbinom52", r"\tbinom{5}2"),
    (r"\sqrt{\pi}", "√π", r"\sqrt \pi"),
    ("two-digit", "two digit", "two–digit"),
    (r"\$5.00", "$5.00", "5.00"),
]


@pytest.mark.parametrize("copies", SAME, ids=lambda copies: copies[0])
def test_copies_have_the_same_words(copies: tuple[str, ...]) -> None:
    read = {text: tuple(word.text for word in views.words(text, "normal")) for text in copies}
    assert len(set(read.values())) == 1, read
    assert all(read.values())


DIFFERENT = [("x + 1", "x - 1"), ("x = 1", "x ≤ 1"), ("23", "2^3"), ("sin x", "cos x"), ("1,000", "1,00")]


@pytest.mark.parametrize(("one", "two"), DIFFERENT)
def test_other_texts_have_other_words(one: str, two: str) -> None:
    first, second = ([word.text for word in views.words(text, "normal")] for text in (one, two))
    assert first != second


# --- runs -------------------------------------------------------------------------------------------------------

VOCABULARY = ["a", "b", "c", "\\frac", "12", "x", "$", "=", "\n", " ", "é", "π", ">", "1,000"]
words = st.lists(st.sampled_from(VOCABULARY), max_size=40).map(" ".join)


def naive_runs(items: list[str], view: views.View, n: int, shortest: int, texts: list[str]) -> list[Run]:
    """Every longest run of equal words, by looking at all pairs of words."""
    found = []
    for number, text in enumerate(texts):
        there = views.words(text, view)
        for name, wanted in enumerate(views.words(each, view) for each in items):
            if len(wanted) < min(n, shortest):
                continue
            for i in range(len(there)):
                for j in range(len(wanted)):
                    if i and j and there[i - 1].text == wanted[j - 1].text:
                        continue
                    k = 0
                    while i + k < len(there) and j + k < len(wanted) and there[i + k].text == wanted[j + k].text:
                        k += 1
                    if k and k >= min(n, len(wanted)):
                        run = Run(
                            document=number, start=there[i].start, end=there[i + k - 1].end, item=name, place=j,
                            words=k,
                        )  # fmt: skip
                        found.append(run)
    return sorted(found)


@settings(max_examples=100)
@given(st.lists(words, max_size=5), st.lists(words, max_size=3), st.randoms(use_true_random=False), st.data())
def test_all_runs_are_found_by_both_engines(
    items: list[str], others: list[str], rng: random.Random, data: st.DataObject
) -> None:
    n, shortest = data.draw(st.sampled_from([1, 2, 3, 5, 8, 13, 20, 30])), data.draw(st.sampled_from([1, 3, 5, 30]))
    texts = []
    for other in others:  # with a piece of an item inside
        piece = rng.choice(items).split(" ") if items else []
        a, b = sorted((rng.randrange(len(piece) + 1), rng.randrange(len(piece) + 1)))
        texts.append(f"{other} {' '.join(piece[a:b])} {rng.choice(VOCABULARY)}")
    for view in views.VIEWS:
        expected = naive_runs(items, view, n, shortest, texts)
        for engine in ("numba", "python"):
            assert Grams(items, view, n, shortest, engine).find(texts) == expected  # type: ignore[arg-type]


def test_texts_in_batches_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "BATCH_BYTES", 7)
    monkeypatch.setattr(ngrams, "KEPT_BYTES", 16)
    item = "eins zwei drei vier"
    texts = ["eins zwei", "drei vier", "", "ä eins zwei drei vier", item * 9, f"x {item} y", item]
    grams = Grams([item], "raw", 4, 4)
    assert [(run.document, run.start, run.end) for run in grams.find(texts)] == [(3, 2, 21), (5, 2, 21), (6, 0, 19)]


def test_more_matches_than_room_are_all_reported() -> None:
    items = [f"w{i} w{i + 1} w{i + 2}" for i in range(3000)]
    text = " ".join(f"w{i}" for i in range(3002))
    assert len(Grams(items, "raw", 3, 3).find([text])) == 3000


def test_a_text_of_one_word_repeated_ends_soon() -> None:
    began = time.process_time()
    runs = Grams(["a " * 2000], "raw", 30, 30).find(["a " * 20_000, "b " * 20_000])
    assert {run.document for run in runs} == {0} and max(run.words for run in runs) == 2000
    assert time.process_time() - began < 30


def test_what_hashes_find_is_verified_word_by_word() -> None:
    wanted = "one two three four five six seven eight nine ten eleven twelve"
    text = "- one two three four five SIX seven eight nine ten eleven twelve"
    grams = Grams([wanted], "raw", 5, 5)
    fooled = Run(document=0, start=2, end=len(text), item=0, place=0, words=12)
    grams._engine.find = lambda texts: [fooled]  # type: ignore[method-assign]  # as if two hashes were equal
    parts = grams.find([text])
    assert [(text[run.start : run.end], run.place) for run in parts] == [
        ("one two three four five", 0),
        ("seven eight nine ten eleven twelve", 6),
    ]


@pytest.mark.parametrize("view", views.VIEWS)
def test_the_scan_is_far_faster_than_python(view: views.View) -> None:
    rng = random.Random(0)
    vocabulary = ["".join(rng.choices("abcdefghijklmnop", k=rng.randrange(2, 9))) for _ in range(3000)]
    items = [" ".join(rng.choices(vocabulary, k=40)) for _ in range(500)]
    text = [" ".join(rng.choices(vocabulary, k=20_000))] * 20
    seconds = {}
    for engine in ("numba", "python"):
        grams = Grams(items, view, 30, 30, engine)  # type: ignore[arg-type]
        grams.find(text[:1])
        began = time.process_time()
        grams.find(text if engine == "numba" else text[:1])
        seconds[engine] = (time.process_time() - began) / (20 if engine == "numba" else 1)
    assert seconds["numba"] * 8 < seconds["python"], seconds


# --- planted leaks ----------------------------------------------------------------------------------------------


def tex_variant(text: str) -> str:
    text = text.replace("\\frac", "\\dfrac").replace("\\leq", "\\le").replace("\\dbinom", "\\binom")
    return text.replace("\\left( ", "(").replace(" \\right)", ")")


def parenthesised(text: str) -> str:
    pieces = text.split("$")
    return "".join(p + ("" if i == len(pieces) - 1 else "\\(" if i % 2 == 0 else "\\)") for i, p in enumerate(pieces))


def broken(text: str) -> str:
    return "".join(word + ("\n" if i % 4 == 3 else " ") for i, word in enumerate(text.split(" ")))


VARIANTS = {
    "as it stands": lambda text: text,
    "spaces": lambda text: text.replace(" ", "   "),
    "tabs and no-break spaces": lambda text: text.replace(" ", "\u00a0\t"),
    "lines broken": broken,
    "Windows lines": lambda text: broken(text).replace("\n", "\r\n"),
    "quoted": lambda text: "> " + broken(text).replace("\n", "\n> "),
    "other commands": tex_variant,
    "parentheses for dollars": parenthesised,
    "dollars doubled": lambda text: text.replace("$", "$$"),
    "no dollars": lambda text: text.replace("$", ""),
    "spaced formulas": lambda text: text.replace("{", "{ ").replace("}", " }").replace("=", " = ").replace("+", " + "),
    "upper case": lambda text: "".join(part.upper() if i % 2 == 0 else part for i, part in enumerate(text.split("$"))),
    "Markdown": lambda text: f"**Problem.** *{text}*",
    "curly quotes and dashes": lambda text: text.replace("-", "–").replace("'", "’"),
    "bold first word": lambda text: text.replace(text.split()[0], f"**{text.split()[0]}**", 1),
    "typographic fractions": lambda text: text.replace("\\frac{3}{4}", "¾"),
}
AROUND = "This page collects exercises from many places.\n\n{}\n\nSolutions are at the end; write to us about errors."
PROSE = "We recall that every bounded sequence of real numbers has a subsequence that converges to a limit. " * 5


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("text", [LONG, MIDDLE, SHORT], ids=["long", "middle", "short"])
def test_every_planted_copy_is_found(text: str, variant: str) -> None:
    index = strict(LONG, MIDDLE, SHORT)
    leak = AROUND.format(PROSE + "\n\n" + VARIANTS[variant](text) + "\n\n" + PROSE)
    assert hit_by(index, leak) == {f"p{[LONG, MIDDLE, SHORT].index(text)}"}
    assert hit_by(index, AROUND.format(PROSE)) == set()


@pytest.mark.parametrize("start", [0, 7, 20])
def test_a_part_of_30_words_is_found_and_one_of_19_is_not(start: int) -> None:
    index = strict(LONG, views=("raw",))
    part = LONG.split()
    assert hit_by(index, f"{PROSE} {' '.join(part[start : start + 30])} {PROSE}") == {"p0"}
    assert hit_by(index, f"{PROSE} {' '.join(part[start : start + 19])} {PROSE}") == set()


def test_a_hit_says_where_and_in_what_context() -> None:
    text = f"{PROSE}\n\nExercise 7. {LONG} Hint: draw a picture."
    index = strict(LONG, n=(30,), views=("raw", "normal"))
    hits = index.scan(text)
    assert [hit.view for hit in hits] == ["raw", "normal"] or [hit.view for hit in hits] == ["normal", "raw"]
    for hit in hits:
        assert (hit.kind, hit.n, hit.place) == ("ngram", 30, 0)
        assert text[hit.start : hit.end] == hit.text and LONG.startswith(hit.text)
        assert hit.before.endswith("Exercise 7. ") and "Hint: draw" in hit.after


def test_the_greatest_n_that_is_met_is_named() -> None:
    index = strict(LONG, n=(30, 20), views=("raw",))
    part = LONG.split()
    assert [hit.n for hit in index.scan(" ".join(part[:25]))] == [20]
    assert [hit.n for hit in index.scan(" ".join(part[:35]))] == [30]


ALONE = [  # a text around the short item, and whether that is a copy of it
    ("{}", True),
    ("Exercises\n\n3. {}\n4. Another one.", True),
    ("(b) {} (c) Something else.", True),
    ("Problem 12: {}\nAnswer: 835278", True),
    ("The first question was easy. {} Most of us knew.", True),
    ("> {}\n> next", True),
    ("**{}**", True),
    ("| {} |", True),
    ("Now let us {} and then halve it", False),
    ("We compute: first {} apples", False),
    ("it is easy to {}, which", False),
]


@pytest.mark.parametrize(("around", "found"), ALONE)
def test_short_items_count_where_they_stand_alone(around: str, found: bool) -> None:
    bare = SHORT.removesuffix(".") if not found else SHORT
    assert (hit_by(strict(SHORT), around.format(bare)) == {"p0"}) is found


def test_very_short_items_are_not_looked_for() -> None:
    index = strict("Find $x$.", "Simplify.", LONG)
    assert index.searched == [False, False, True]
    assert hit_by(index, "Find $x$.\nSimplify.") == set()


def test_a_short_question_needs_its_choices() -> None:
    question = item("Which of these statements about the group is true for all $n$?", choices="(A) abelian, (B) simple")
    index = build_index([question], OverlapConfig())
    assert index.scan(f"{question.text} A. It is abelian. B. It is simple.")
    assert not index.scan(f"{question.text} Nobody knew the answer, and we went home.")


def test_lists_of_letters_and_numbers_are_no_copies() -> None:
    index = strict("How many of $a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z$ are vowels?", views=("normal",))
    assert (
        hit_by(index, 'names = ["a","b","c","d","e","f","g","h","i","j","k","l","m","n","o","p","q","r","s"]') == set()
    )
    assert hit_by(index, "a b c d e f g h i j k l m n o p q r s t u v w x y z") == set()
    primes = "2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97"
    assert hit_by(strict(f"Which of {primes} is it?"), f"primelist = [{primes}, 101]") == set()
    assert hit_by(index, "how many of a b c d e f g h i j k l m n o p q r s t u v") == {"p0"}


def test_short_solutions_are_looked_for_from_the_floor_on() -> None:
    index = build_index([item("The answer is 5.", field="solution")], OverlapConfig())
    assert index.searched == [False]


# --- settings, files, engines -----------------------------------------------------------------------------------


def test_an_index_lasts(tmp_path: Path) -> None:
    index = strict(LONG, MIDDLE, SHORT, "Was heißt \ud800?", n=(30, 13))
    index.save(tmp_path / "index.jsonl")
    again = Index.load(tmp_path / "index.jsonl")
    assert (again.items, again.config) == (index.items, index.config)
    text = f"{PROSE}\n{LONG}\n{MIDDLE}"
    assert again.scan(text) == index.scan(text)
    (tmp_path / "other.jsonl").write_text('{"format": 99}\n')
    with pytest.raises(DataError, match="no index"):
        Index.load(tmp_path / "other.jsonl")
    (tmp_path / "index.jsonl").write_text((tmp_path / "index.jsonl").read_text().replace('"text"', '"tex"'))
    with pytest.raises(DataError, match="damaged index"):
        Index.load(tmp_path / "index.jsonl")


def test_without_numba_the_hits_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    docs = [AROUND.format(change(text)) for change in VARIANTS.values() for text in (LONG, MIDDLE, SHORT)]
    fast = strict(LONG, MIDDLE, SHORT).scan_all(docs)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    slow = strict(LONG, MIDDLE, SHORT)
    assert slow.grams["raw"].engine == "python"
    assert slow.scan_all(docs) == fast
    with pytest.raises(ConfigError, match=r"pip install \"llemma\[corpus\]\""):
        strict(LONG, engine="numba")


BAD = [
    ({"n": ()}, "n="), ({"n": (0,)}, "n="), ({"n": (-1,)}, "profile=paper"), ({"n": (-1,), "profile": "paper"}, ""),
    ({"profile": "paper", "views": ("normal",)}, "raw alone"), ({"shortest": 0}, "shortest"), ({"floor": 2}, "floor"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "message"), BAD)
def test_settings_are_checked(keys: dict[str, Any], message: str) -> None:
    if not message:
        assert OverlapConfig(**keys).seen == ("raw",)
        return
    with pytest.raises(ValueError, match=message):
        OverlapConfig(**keys)


def test_as_a_stage_it_drops_with_item_and_n(tmp_path: Path) -> None:
    config = OverlapConfig(tasks=("t",))
    build_index([item(LONG, problem="p7"), item(SHORT)], config).save(tmp_path / "index.jsonl")
    judge = stage(config, tmp_path / "index.jsonl")
    leak = judge(Document(id="1", text=AROUND.format(LONG), source="s"))
    assert leak.reason == "overlap with t"
    assert leak.detail.startswith("t p7 (problem), ") and "n=30" in leak.detail and "A gardener plants" in leak.detail
    clean = Document(id="2", text=PROSE, source="s")
    assert (judge(clean).reason, judge(clean).document) == (None, clean)
    with pytest.raises(DataError, match="other settings"):
        stage(replace(config, floor=12), tmp_path / "index.jsonl")(clean)


# --- the paper's protocol ---------------------------------------------------------------------------------------


def paper_says(items: list[Item], text: str, n: int) -> set[PaperHit]:
    """What the protocol says: sets of joined n-grams of ``str.split``, or the item's text inside the document's."""
    if n == -1:
        return {PaperHit(item=i, n=-1, ngram=each.text) for i, each in enumerate(items) if each.text in text}

    def grams(words: list[str]) -> set[str]:
        return {" ".join(words[i : i + n]) for i in range(len(words) - n + 1)}

    there = grams(text.split())
    return {PaperHit(item=i, n=n, ngram=g) for i, each in enumerate(items) for g in grams(each.text.split()) & there}


@settings(max_examples=100)
@given(st.lists(words, min_size=1, max_size=5), words, st.randoms(use_true_random=False))
def test_the_paper_profile_is_the_protocol(pieces: list[str], text: str, rng: random.Random) -> None:
    items = [item(piece, problem=str(i)) for i, piece in enumerate(pieces)]
    chosen = rng.choice(pieces)
    text = f"{text} {chosen[rng.randrange(len(chosen) + 1) :]}{rng.choice(['', ' ', 'x'])}{chosen}{text}"
    for n in (-1, 3, 10, 20):
        index = build_index(items, OverlapConfig(n=(n,), profile="paper"))
        assert paper_hits(index, text, n) == paper_says(items, text, n)


def test_the_paper_profile_does_not_see_what_it_did_not_see() -> None:
    index = strict(LONG, MIDDLE, SHORT, n=(30,), profile="paper")
    assert index.searched == [True, False, False]  # the hole: items of fewer than n words
    seen = {name for name, change in VARIANTS.items() if hit_by(index, AROUND.format(change(LONG)))}
    assert {"as it stands", "spaces", "lines broken"} <= seen
    far = " ".join(LONG.split()[:29])  # a word is written otherwise before 30 agree
    assert not hit_by(index, AROUND.format(far)) and not hit_by(index, AROUND.format(LONG.upper()))
    assert not hit_by(index, AROUND.format(MIDDLE))


def test_flatten_keeps_the_last_item_of_a_document() -> None:
    index = strict(LONG, f"{LONG} Or June?", n=(30,), profile="paper")
    hits = index.scan(LONG)
    assert {hit.problem for hit in hits} == {"p0", "p1"}
    kept = flattened(hits, index.items)
    assert kept is not None and kept.problem == "p1"
    assert flattened([], index.items) is None


# --- real benchmarks --------------------------------------------------------------------------------------------


def rows(name: str) -> list[dict[str, Any]]:
    return list(read_jsonl(Path(DATA) / name))


@pytest.fixture(scope="module")
def math_index() -> Index:
    return build_index(task_items(["math"], ["problem"]), OverlapConfig())


@needs_data
def test_leaked_problems_of_math_are_found_in_every_form(math_index: Index) -> None:
    rng = random.Random(0)
    chosen = rng.sample(range(5000), 150)
    for name in ("as it stands", "lines broken", "parentheses for dollars", "other commands", "quoted"):
        texts = [AROUND.format(VARIANTS[name](math_index.items[i].text)) for i in chosen]
        found = [{hit.problem for hit in hits} for hits in math_index.scan_all(texts)]
        missed = [i for i, hits in zip(chosen, found, strict=True) if math_index.items[i].problem not in hits]
        assert missed == [], (name, [math_index.items[i].text for i in missed])


@needs_data
def test_the_hole_of_the_protocol_is_closed(math_index: Index) -> None:
    short = [i for i, item in enumerate(math_index.items) if len(item.text.split()) < 30]
    assert len(short) == 2929  # of 5,000: the paper's n=30 cannot see them
    assert sum(not math_index.searched[i] for i in short) <= 2


@needs_data
def test_the_paper_profile_is_the_protocol_on_real_documents() -> None:
    items = task_items(["math"], ["problem"])[:600]
    solutions = [row["solution"] for row in rows("math_test.jsonl")[600:640]]
    rng = random.Random(1)
    planted = [f"{text}\n{rng.choice(items).text} {text}" for text in solutions]
    for n in (20, 30, -1):
        index = build_index(items, OverlapConfig(n=(n,), profile="paper"))
        for text in planted:
            assert paper_hits(index, text, n) == paper_says(items, text, n)


@needs_data
def test_clean_mathematics_raises_no_alarm(math_index: Index) -> None:
    """Word problems with solutions of another benchmark, by other authors."""
    train = [f"{row['question']}\n{row['answer']}" for row in rows("gsm8k_train.jsonl")]
    assert [hit for hits in math_index.scan_all(train) for hit in hits] == []


@pytest.mark.slow
@needs_data
def test_pages_of_documentation_raise_no_alarm(math_index: Index) -> None:
    pytest.importorskip("selectolax")
    from llemma.sources import html

    pages = [document.text for document in html.documents(html.Options(paths=(Path(DATA) / "html",)))][:60]
    assert [hit for hits in math_index.scan_all(pages) for hit in hits] == []


@needs_data
def test_problems_that_two_benchmarks_share_are_seen() -> None:
    """MMLU's school mathematics has problems of MATH's test set; they differ in the setting of formulas."""
    index = build_index(task_items(["mmlu_stem"], ["problem"]), OverlapConfig())
    texts = [row["problem"] for row in rows("math_test.jsonl")]
    shared = {hit.problem for hits in index.scan_all(texts) for hit in hits}
    assert len({name for name in shared if name.startswith("high_school_mathematics")}) >= 40


@needs_data
def test_tasks_that_are_here_are_known() -> None:
    assert {"gsm8k", "math", "math_python", "mmlu_stem", "library"} <= set(present_tasks())


def test_without_data_only_our_own_tasks_are_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LLEMMA_DATA", raising=False)
    monkeypatch.setenv("LLEMMA_CACHE", str(tmp_path))
    assert present_tasks() == ["library"]

"""The report: tables, numbers for people, hostile text made harmless, damaged runs shown, one page that opens."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llemma import config
from llemma.config import resolve
from llemma.errors import ConfigError, DataError
from llemma.prove.config import ProveConfig
from llemma.prove.prove import prove
from llemma.records import Metric
from llemma.report import ReportConfig, units, write_report
from llemma.report.page import charts, collect, mathml, render
from llemma.report.page.read import Damage, rows
from llemma.report.page.training import smoothed
from llemma.report.tables import Figure, as_csv, as_markdown, as_text, compare, figures
from proving import EASY, FALSE, many, toy_file

CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)

HOSTILE = (
    "<script>alert(1)</script>",
    r"$\text{<img src=x onerror=alert(1)>}$",
    r"$\href{javascript:alert(1)}{x}$",
    r"$\style{position:fixed}{x}$ $\class{a}{x}$ $\unicode{x3c}script$",
    "$$</math><script>alert(2)</script>$$",
    r"\(\mbox{$<iframe src=//x>$}\)",
    '"><svg onload=alert(3)> {{ 7*7 }} {% raw %}',
    "an unbalanced $x + 1",
    "$" + "x+" * 50_000 + "x$",
    "\x00\x1b[31m\x07\u202ered\ud800\ufffe",
)


# --- run folders -----------------------------------------------------------------------------------------------


def put(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def put_rows(path: Path, found: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")


def start(folder: Path, verb: str, **settings: object) -> Path:
    put(folder / "config.json", {"verb": verb, "settings": settings, "versions": {"python": "3.11.2"}})
    return folder


def sample(task: str, problem: str, k: int, answer: str | None, *, reference: str = "7", text: str = "") -> dict:
    verdict = "unparsable" if answer is None else "correct" if answer == reference else "wrong"
    transcript = {"steps": [], "text": text or f"so $x = {answer}$", "finish": "stop", "tokens": 12, "seconds": 0.1}
    grade = {"verdict": verdict, "answer": answer, "reason": f"why it is {verdict}"}
    return {
        "id": f"{task}/{problem}#{k}", "task": task, "problem": problem, "k": k, "prompt": f"Q: {problem}",
        "question": f"What is $\\frac{{{problem[1:]}}}{{3}}$?", "reference": reference, "key": answer,
        "transcript": transcript, "grade": grade, "error": None,
    }  # fmt: skip


def an_eval(folder: Path, found: list[dict]) -> Path:
    start(folder, "eval", model="hf:tiny", samples=4)
    put_rows(folder / "rows.jsonl", found)
    accuracy = {"name": "accuracy", "value": 0.625, "low": 0.556, "high": 0.689, "n": 10}
    tasks = [{"run": folder.name, "task": t, "metrics": [accuracy]} for t in dict.fromkeys(r["task"] for r in found)]
    put(folder / "metrics.json", {"tasks": tasks})
    return folder


def a_training(folder: Path, steps: int = 60, level: float = 2.0) -> Path:
    start(folder, "train", optim={"lr": 1e-3})
    found: list[dict[str, object]] = []
    for s in range(1, steps + 1):
        loss = level + 5 * math.exp(-s / 20) + 0.1 * math.sin(s)
        found.append({"id": f"step-{s:06}", "step": s, "tokens": 100 * s, "loss": loss, "lr": 1e-3 / s})
        if s % 20 == 0:
            found.append({"id": f"valid-{s:06}", "step": s, "valid": {"web": loss, "_code": loss + 1}})
    put_rows(folder / "rows.jsonl", found)
    metrics = {"parameters": 1_640_000, "tokens": 100 * steps, "final_loss": level, "steps": steps, "seconds": 65.0}
    put(folder / "metrics.json", metrics)
    return folder


@pytest.fixture
def tour(tmp_path: Path) -> Path:
    folder = start(tmp_path / "tour", "tour", seed=1)
    figures = [("base", 0.1, 0.04, 0.2), ("continued", 0.5, 0.4, 0.6)]
    put(folder / "summary.json", {
        "table": [{"task": "add", "model": m, "metric": "accuracy", "value": v, "low": low, "high": high, "n": 50}
                  for m, v, low, high in figures],
        "seconds": {"corpus": 31.0, "base": 200.0},
    })  # fmt: skip
    start(folder / "corpus", "corpus")
    put(folder / "corpus" / "manifest.json", {
        "documents": 12_034, "tokens": 1_823_344, "bytes": 6_100_233, "tokenizer": {"sha256": "f" * 64},
        "sources": {"web": {"documents": 5, "bytes": 9, "tokens": 3, "weight": 0.5, "dropped": {"too short": 4}}},
        "samples": {"web": [{"id": "p1", "text": "Euler: $e^{i\\pi} = -1$."}]},
    })  # fmt: skip
    a_training(folder / "base")
    a_training(folder / "continued", level=1.0)
    votes = [sample("add", f"P{i}", k, ("7", "7", "8", None)[(i + k) % 4]) for i in range(6) for k in range(4)]
    an_eval(folder / "eval-continued", votes)
    return folder


class Reader(HTMLParser):
    """Reads a page strictly: every element closed in its order; collects elements, attributes and text."""

    VOID = ("meta", "br", "img", "link", "input", "hr")

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def check_page(html: str) -> Reader:
    """What must hold for every page, whatever is in the runs."""
    page = Reader(html)
    assert not {"script", "iframe", "object", "embed", "link", "base", "form", "img"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("src", "srcset", "action", "formaction", "data"), (tag, name)
        if name in ("href", "xlink:href"):
            assert value.startswith("#"), (tag, value)
        if name == "style":
            assert "url(" not in value.replace("url(#", "") and "position" not in value
        assert "javascript:" not in value.lower() or tag == "meta"
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = {value[1:] for tag, name, value in page.attributes if name == "href"}
    used |= set(re.findall(r"url\(#([^)]+)\)", html))
    assert used <= set(ids)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", html)
    policy = [value for tag, name, value in page.attributes if tag == "meta" and name == "content"]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in policy
    html.encode()
    return page


# --- the page --------------------------------------------------------------------------------------------------


def test_a_tour_becomes_one_self_contained_page(tour):
    html = render([tour])
    page = check_page(html)
    assert "://" not in html  # nothing to fetch; even the name spaces are left out
    for text in ("1.64 M parameters", "1.82 M tokens", "50.0 % [40.0, 60.0]", "too short 4", "the first problem solved",
                 "why it is wrong", "votes that disagree", "optim.lr", "1 min 05 s", "base 3 min 20 s"):  # fmt: skip
        assert text in " ".join(page.text.split()), text
    assert page.tags.count("svg") == 6  # loss, rate, two validations, accuracy, votes
    assert page.tags.count("math") == 9
    named = [value for tag, name, value in page.attributes if tag == "svg" and name == "aria-labelledby"]
    assert len(named) == 6


def test_the_same_runs_give_the_same_page(tour):
    assert render([tour]) == render([tour])


def test_a_run_given_twice_is_shown_once(tour):
    assert len(collect([tour, tour / "base"]).folders) == len(collect([tour]).folders) == 5


def test_hostile_text_is_shown_and_does_nothing(tmp_path):
    attack = "\n".join(HOSTILE)
    rows = [sample(f"<b>{i}", f"P{i}", k, text, text=text) for i, text in enumerate(HOSTILE) for k in range(2)]
    for row in rows:
        row |= {"question": attack, "prompt": attack, "problem": attack[:200], "reference": attack}
        row["transcript"]["steps"] = [{"kind": attack, "text": attack, "result": attack}]
        row["grade"]["reason"] = attack
    an_eval(tmp_path / "run<script>" / "eval", rows)
    corpus = start(tmp_path / "run<script>" / "corpus", "corpus", **{"<script>": attack})
    source = {"documents": 1, "dropped": dict.fromkeys(HOSTILE, 1)}
    source |= {"read": {"documents": 3}, "splits": {"documents": dict.fromkeys(HOSTILE, 1)}}
    clusters = [{"size": 2, "documents": [text], "text": text} for text in HOSTILE]
    put(corpus / "manifest.json", {
        "sources": dict.fromkeys(HOSTILE, source), "samples": {text: [{"id": text, "text": text}] for text in HOSTILE},
        "left_out": dict.fromkeys(HOSTILE, attack), "held_out": {"tasks": HOSTILE, "items": attack},
        "mixture": {text: {"share": 0.5, "epochs": attack, "budget": 1e400} for text in HOSTILE},
        "duplicates": {"exact": 1, "largest": clusters},
        "stages": {text: {"seconds": 0, "bytes": 1} for text in HOSTILE},
    })  # fmt: skip
    train = a_training(tmp_path / "run<script>" / "train$x$")
    put_rows(train / "rows.jsonl", [{"step": s, "loss": 3 - s, "valid": dict.fromkeys(HOSTILE, s),
                                    "sources": dict.fromkeys(HOSTILE, s)} for s in (0, 1, 2)])  # fmt: skip
    page = check_page(html := render([tmp_path / "run<script>"]))
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert len(html) < 6_000_000


@pytest.mark.parametrize("damage", [
    b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"verb": 3}', b'{"verb": "eval", "settings": [1]}',
])  # fmt: skip
@pytest.mark.parametrize("name", ["config.json", "metrics.json", "rows.jsonl", "summary.json", "manifest.json"])
def test_a_damaged_folder_is_shown_with_the_reason(tour, name, damage):
    broken = [path for path in tour.rglob(name) if path.parent != tour or name != "config.json"]
    for path in broken:
        path.write_bytes(damage)
    page = collect([tour])
    if damage in (b"", b"{", b"\xff\xfe") and name not in ("rows.jsonl",):
        assert any(name in note for _, note in page.notes)
    if damage == b"{":
        check_page(render([tour]))


WRONG = [None, True, -1, 1e400, float("nan"), 10**400, "", "text", [], [[]], {}, {"a": None}, ["x", None, 3]]


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_values_of_a_wrong_form_are_left_out(tmp_path, value):
    made = {"corpus": "manifest.json", "train": "metrics.json", "eval": "metrics.json", "tour": "summary.json"}
    keys = {
        "documents": value, "tokens": value, "sources": {"a": value, "b": {"dropped": value}}, "samples": {"a": value},
        "tokenizer": value, "seconds": {"a": value}, "table": [value, {"value": value}, {"value": 1, "low": value}],
        "tasks": [value, {"task": value, "metrics": value}, {"metrics": [value, {"name": value, "value": 0.5}]}],
        "parameters": value, "final_loss": value,
    }  # fmt: skip
    good = sample("add", "P1", 0, "7")
    found = [{**good, key: value} for key in good] + [
        {"step": value, "loss": value, "lr": value, "valid": value, "sources": value}
    ]
    found += [{"step": 3, "loss": value, "valid": {"a": value}}, {**good, "grade": {"verdict": value}}]
    found += [{**good, "transcript": {"steps": [value, {"text": "x", "kind": value, "result": value}]}}]
    for verb, name in made.items():
        put(start(tmp_path / "all" / verb, verb, odd=value) / name, keys)
        put_rows(tmp_path / "all" / verb / "rows.jsonl", found)
    check_page(render([tmp_path / "all"]))


def test_an_unfinished_run_says_so_and_shows_what_there_is(tmp_path):
    run = an_eval(tmp_path / "run", [sample("add", "P1", 0, "7")])
    (run / "metrics.json").unlink()
    with open(run / "rows.jsonl", "a", encoding="utf-8") as file:
        file.write('not json\n{"id": "torn')
    page = collect([run])
    assert [note for _, note in page.notes] == [
        "unfinished: metrics.json is missing; run the same command again to go on",
        "rows.jsonl: 1 unreadable line left out",
        "rows.jsonl: the last line is not complete: the run is being written or was stopped",
    ]
    assert page.evaluations[0].tasks[0].verdicts["correct"] == 1
    check_page(render([run]))


def test_a_running_training_is_drawn_again_and_again_until_it_is_finished(tmp_path, monkeypatch):
    run = a_training(tmp_path / "run")
    start(run, "train", steps=90)
    found = [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]
    for row in found:
        if "loss" in row:
            row |= {"grad_norm": 0.5, "tokens_per_second": 2000 + row["step"], "eta_seconds": 60.0, "mfu": 0.5}
            row |= {"memory_bytes": 3 << 30, "sources": {"web": row["loss"], "code": row["loss"] / 2}}
    found.append({"id": "guard-000001", "step": 60, "guard": "back", "to": 40, "reason": "the loss is <b>nan</b>"})
    put_rows(run / "rows.jsonl", found)
    metrics = (run / "metrics.json").read_text()
    (run / "metrics.json").unlink()
    seen: list[str] = []

    def sleep(seconds: float) -> None:
        seen.append((run / "report.html").read_text())
        if len(seen) == 2:
            (run / "metrics.json").write_text(metrics)

    monkeypatch.setattr("llemma.report.page.time.sleep", sleep)
    write_report([run], refresh=7)
    assert len(seen) == 2 and all(
        'http-equiv="refresh" content="7"' in page and "1 min 00 s to go" in page for page in seen
    )
    live = " ".join(Reader(seen[0]).text.split())
    assert "60 of 90 steps" in live and "last loss" in live and "50" in live and "of memory" in live
    html = (run / "report.html").read_text()
    assert 'http-equiv="refresh"' not in html and " s to go" not in html
    for text in (
        "Gradient norm by step",
        "Tokens per second by step",
        "Training loss of run by source and step",
        "code: from",
        "50",
        "back to step 40: the loss is &lt;b&gt;nan",
    ):
        assert text in html
    Reader(html)


def test_a_training_that_diverged_is_told(tmp_path):
    run = a_training(tmp_path / "run")
    with open(run / "rows.jsonl", "a", encoding="utf-8") as file:
        file.write('{"step": 61, "loss": NaN}\n')
    assert any("diverged" in note for _, note in collect([run]).notes)


def test_samples_without_a_verdict_are_errors_not_wrong_answers(tmp_path):
    failed = sample("add", "P1", 0, None) | {"grade": None, "transcript": None, "error": "server answered 503"}
    page = collect([an_eval(tmp_path / "run", [failed, sample("add", "P2", 0, "7")])])
    verdicts = page.evaluations[0].tasks[0].verdicts
    assert (verdicts["error"], verdicts["wrong"], verdicts["correct"]) == (1, 0, 1)
    assert any("1 sample failed" in note for _, note in page.notes)
    assert "server answered 503" in render([tmp_path / "run"])


def test_votes_are_counted_as_the_metrics_count_them(tmp_path):
    answers = {"P1": ["8", "7", "7", "7"], "P2": ["7", None, "8", "8"]}
    found = [sample("add", p, k, a) for p, given in answers.items() for k, a in enumerate(given)]
    task = collect([an_eval(tmp_path / "run", found[::-1])]).evaluations[0].tasks[0]
    # P1: 3 of 4 right, a draw of two is won by 7 in 3/6 + half of 3/6; P2: 7 is alone once in 1/6, ties in 2/6
    assert [k for k, _, _ in task.curve] == [1, 2, 4]
    assert [m for _, m, _ in task.curve] == pytest.approx([(3 / 4 + 1 / 4) / 2, (3 / 4 + 1 / 3) / 2, 1 / 2])
    assert [p for _, _, p in task.curve] == pytest.approx([(3 / 4 + 1 / 4) / 2, (1 + 1 / 2) / 2, 1])
    shown = {s.problem: s for s in task.shown}
    assert [(v.answer, v.count, v.verdict) for v in shown["P1"].votes] == [("7", 3, "correct"), ("8", 1, "wrong")]
    assert shown["P2"].verdict == "wrong"
    assert [a.k for a in shown["P1"].attempts] == [0, 1]


def test_of_many_votes_the_table_shows_the_widest(tmp_path):
    run = an_eval(tmp_path / "run", [sample("add", "P1", 0, "7")])
    names = ["accuracy", "maj@2", "maj@4", "maj@16", "pass@16"]
    put(run / "metrics.json", {"tasks": [{"task": "add", "metrics": [{"name": n, "value": 0.5} for n in names]}]})
    assert [c.metric for c in collect([run]).results.columns] == ["accuracy", "maj@16", "pass@16"]


def test_missing_folders_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match="no such run folder; check the path"):
        write_report([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no run"):
        write_report([tmp_path / "empty"])
    put(tmp_path / "model" / "config.json", {"model_type": "llama"})
    with pytest.raises(DataError, match="holds no run"):
        write_report([tmp_path / "model"])
    with pytest.raises(DataError, match="no run folder given"):
        write_report([])


def test_the_report_lies_in_the_first_run_or_where_it_is_told_to(tmp_path):
    run = an_eval(tmp_path / "run", [sample("add", "P1", 0, "7")])
    assert write_report([run]) == run / "report.html"
    assert write_report([run], tmp_path / "r.html").read_text() == (run / "report.html").read_text()
    with pytest.raises(DataError, match="make it first"):
        write_report([run], tmp_path / "none" / "r.html")
    assert not list(run.glob("*.part"))


def test_the_settings_have_help_and_need_a_run():
    assert all(key.help for key in config.keys(ReportConfig))
    assert config.resolve(ReportConfig, words=["runs=a,b"]).runs == (Path("a"), Path("b"))
    with pytest.raises(ConfigError, match="runs is empty"):
        config.resolve(ReportConfig, words=["runs="])


def test_twenty_thousand_samples_make_a_small_page_in_seconds(tmp_path):
    text = "We see that $x^2$ grows. " * 40
    found = [sample(f"task{i % 5}", f"P{i // 40}", i % 40 // 5, str(i % 7), text=text) for i in range(20_000)]
    run = an_eval(tmp_path / "run", found)
    before = time.monotonic()
    html = render([run])
    assert time.monotonic() - before < 40  # 3 s on a quiet machine; quadratic work would take minutes
    assert len(html) < 1_500_000


def test_a_line_without_end_is_not_held_in_memory(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(b'{"id": "' + b"x" * (9 << 20) + b'"}\n{"id": "b"}\n')
    damage = Damage()
    assert [row for _, row in rows(tmp_path, damage)] == [{"id": "b"}]
    assert damage.lines == 1


@pytest.mark.skipif(CHROMIUM is None, reason="needs a browser: apt-get install chromium")
def test_the_page_opens_in_a_browser(tour, tmp_path):
    path = write_report([tour])
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}",
    ]  # fmt: skip
    command = [str(CHROMIUM), *flags, "--enable-logging=stderr", "--dump-dom", path.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "<mfrac>" in done.stdout and "the first problem solved" in done.stdout
    assert "Content Security Policy" not in done.stderr  # nothing on the page breaks its own policy


# --- mathematics -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "html"), [
    ("a < b & c", "a &lt; b &amp; c"),
    ("it costs $5 and $6 today", "it costs $5 and $6 today"),
    ("$10 x 12 hours is $<<120>>", "$10 x 12 hours is $&lt;&lt;120&gt;&gt;"),
    (r"five \$ signs", "five $ signs"),
    ("$x$", '<math display="inline"><mrow><mi>x</mi></mrow></math>'),
    (r"\(x\)", '<math display="inline"><mrow><mi>x</mi></mrow></math>'),
    ("so\n\n$$x$$\n\nthen", 'so<math display="block"><mrow><mi>x</mi></mrow></math>then'),
    (r"\[x\]", '<math display="block"><mrow><mi>x</mi></mrow></math>'),
    ("$x<y$", '<math display="inline"><mrow><mi>x</mi><mo>&lt;</mo><mi>y</mi></mrow></math>'),
    (r"$\nonsense{x}$", r'<code class="tex">$\nonsense{x}$</code>'),
    (r"$\frac{1}$", r'<code class="tex">$\frac{1}$</code>'),
    (r"$\href{javascript:alert(1)}{x}$", r'<code class="tex">$\href{javascript:alert(1)}{x}$</code>'),
    (r"$\color{red}{x}$", r'<code class="tex">$\color{red}{x}$</code>'),
    (r"$\hspace{900em}$", r'<code class="tex">$\hspace{900em}$</code>'),
    (r"$\def\a{\b\b}\a$", r'<code class="tex">$\def\a{\b\b}\a$</code>'),
    (r"$\text{<b>}$", '<math display="inline"><mrow><mtext>&lt;b&gt;</mtext></mrow></math>'),
    ("$x", "$x"),
])  # fmt: skip
def test_text_with_formulas(text, html):
    assert mathml.rich(text) == html


@pytest.mark.parametrize("latex", [
    r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{align*}x&=1\\y&=2\end{align*}", r"\sqrt[3]{\frac12}",
    r"\boxed{42}", r"\sum_{n=1}^\infty \frac1{n^2}", r"\left(\frac ab\right)^2", r"\binom nk", r"\mathbb{R}",
    r"\text{if } x > 0",
    r"\begin{cases}1 & x\\2 & y\end{cases}", r"50\%", r"90^\circ", r"\overline{AB}", r"a \pmod 7",
    r"\lim_{x\to0} f'(x)",
])  # fmt: skip
def test_the_mathematics_of_benchmarks_becomes_mathml(latex):
    assert mathml.formula(latex).startswith("<math")


TEX = st.lists(
    st.sampled_from([*r"{}[]()^_&$<>'%#~12xy ", "\\", "\\\\", r"\frac", r"\sqrt", r"\text", r"\href", r"\left(",
                     r"\right)",
                     r"\begin{array}{c|c}", r"\end{array}", r"\unicode", r"\style", r"\genfrac", r"\skew", r"\over",
                     r"\mbox", r"\limits", r"\hspace", r"\sideset", r"\operatorname", r"\verb|<i>|", "&lt;", "\ud800"])
    | st.text(max_size=4), max_size=25,
).map("".join)  # fmt: skip


@given(TEX)
def test_no_formula_breaks_the_page(latex):
    reader = Reader(str(mathml.rich(f"${latex}$ $${latex}$$")) + str(mathml.formula(latex)))
    assert set(reader.tags) <= {*mathml._ELEMENTS, "code"}
    assert not {name for _, name, _ in reader.attributes} - {*mathml._ATTRIBUTES, "class"}


def test_deep_and_endless_formulas_are_quick():
    before = time.monotonic()
    for text in ("{" * 3000, r"\frac" * 500, "^" * 1400, r"\left(" * 200, "$" * 6000, "$x " * 2000, r"\[" * 3000,
                 "$1 " + "abc " * 1500, r"\begin{align}" * 400, "$5\n" * 2000):  # fmt: skip
        mathml.rich(text)
        mathml.formula(text)
    assert time.monotonic() - before < 30


def test_long_text_is_cut_and_the_cut_is_told():
    assert mathml.rich("a" * 10_000, 100) == "a" * 100 + '<span class="cut"> … 9,900 more characters</span>'


# --- charts ----------------------------------------------------------------------------------------------------


def test_a_chart_takes_the_colours_of_the_page():
    bars = {"$a_1$ <b>": {"_base": Metric(name="accuracy", value=0.5, low=0.4, high=math.nan, n=3)}}
    svg = charts.accuracies(bars, "accuracy", "c")
    assert svg is not None
    assert "var(--ink)" in svg and "var(--s1)" in svg
    assert "$a_1$ &lt;b&gt;" in svg
    assert not re.search(r"#0[1-3]0[1-3]0[1-6]|http|<metadata|<!DOCTYPE|font-family", svg)
    assert "<title" in svg and 'role="img"' in svg


def test_nothing_to_draw_is_no_chart():
    assert charts.losses([], "a") is charts.accuracies({}, "accuracy", "b") is charts.votes({}, "t", "c") is None


def test_smoothing_keeps_the_mean_of_a_line():
    assert smoothed([float(i) for i in range(100)]) == pytest.approx([float(i) for i in range(100)])
    assert smoothed([]) == []


# --- tables ----------------------------------------------------------------------------------------------------


def figure(task: str, model: str, name: str, value: float, low: float, high: float, n: int = 50) -> Figure:
    return Figure(task=task, model=model, metric=Metric(name=name, value=value, low=low, high=high, n=n))


TABLE = compare([
    figure("addition", "base", "accuracy", 0.1, 0.04, 0.2),
    figure("addition", "continued", "accuracy", 0.625, 0.556, 0.689),
    figure("addition", "continued", "maj@8", 0.7, 0.6, 0.8),
    figure("sums|of_two", "base", "accuracy", 0.5, 0.4, 0.6, 40),
    figure("sums|of_two", "continued", "accuracy", 0.55, 0.45, 0.65, 50),
], notes=["2 samples failed"])  # fmt: skip


def test_the_table_as_text():
    assert as_text(TABLE).splitlines() == [
        "                                   base              continued            continued",
        "task             n             accuracy               accuracy                maj@8",
        "───────────  ─────  ───────────────────  ─────────────────────  ───────────────────",
        "addition        50   10.0 % [4.0, 20.0]  62.5 % [55.6, 68.9] ▲  70.0 % [60.0, 80.0]",
        "sums|of_two  40–50  50.0 % [40.0, 60.0]  55.0 % [45.0, 65.0]                      –",
        "▲ above, ▼ below base on the same metric: the 95 % intervals do not overlap",
        "2 samples failed",
    ]


def test_the_table_as_markdown():
    assert as_markdown(TABLE) == (
        "| task | n | base accuracy | continued accuracy | continued maj@8 |\n"
        "|---|---:|---:|---:|---:|\n"
        "| addition | 50 | 10.0 % [4.0, 20.0] | 62.5 % [55.6, 68.9] ▲ | 70.0 % [60.0, 80.0] |\n"
        "| sums\\|of\\_two | 40–50 | 50.0 % [40.0, 60.0] | 55.0 % [45.0, 65.0] | – |\n"
        "\n▲ above, ▼ below base on the same metric: the 95 % intervals do not overlap\n"
        "\n2 samples failed\n"
    )


def test_the_table_as_csv():
    assert as_csv(TABLE) == (
        "task,model,metric,value,low,high,n,mark\n"
        "addition,base,accuracy,0.1,0.04,0.2,50,\n"
        "addition,continued,accuracy,0.625,0.556,0.689,50,above\n"
        "addition,continued,maj@8,0.7,0.6,0.8,50,\n"
        "sums|of_two,base,accuracy,0.5,0.4,0.6,40,\n"
        "sums|of_two,continued,accuracy,0.55,0.45,0.65,50,\n"
    )


def test_an_empty_table_says_so():
    assert as_text(compare([])) == "no results"
    assert as_csv(compare([])).count("\n") == 1


def test_metrics_stand_in_the_order_of_their_k():
    names = ["pass@8", "maj@64", "maj@8", "accuracy"]
    table = compare([figure("t", "m", name, 0.5, 0.4, 0.6) for name in names])
    assert [column.metric for column in table.columns] == ["accuracy", "maj@8", "maj@64", "pass@8"]


def test_figures_come_from_the_results_of_an_evaluation():
    good = {"name": "accuracy", "value": 1, "low": None, "high": None, "n": 3}
    found = figures([{"run": "r\x1b[2J", "task": "t", "metrics": [good, {"name": "x", "value": "NaN"}, 3]}])
    assert [(f.task, f.model, f.metric.n) for f in found] == [("t", "r\ufffd[2J", 3)]
    assert as_text(compare(found)).splitlines()[-1].split() == ["t", "3", "100.0", "%"]


@pytest.mark.parametrize(("shown", "expected"), [
    (units.count(1_234_567), "1.23 M"), (units.count(999_999), "1 M"), (units.count(9_999), "9999"),
    (units.count(12_034), "12 k"), (units.count(7e12), "7 T"), (units.count(None), "–"), (units.count(math.inf), "–"),
    (units.size(512), "512 B"), (units.size(6_100_233), "6.1 MB"), (units.percent(0.625), "62.5 %"),
    (units.interval(0.625, 0.556, 0.689), "62.5 % [55.6, 68.9]"), (units.interval(0.5, None, None), "50.0 %"),
    (units.duration(0.42), "0.4 s"), (units.duration(59.6), "1 min 00 s"), (units.duration(200), "3 min 20 s"),
    (units.duration(7500), "2 h 05 min"), (units.duration(-1), "–"), (units.significant(0.0001), "1e-4"),
    (units.significant(2.345678), "2.35"), (units.significant(1234.0), "1234"),
    (units.one_line("a\n b\x00"), "a b\ufffd"),
])  # fmt: skip
def test_numbers_are_written_for_people(shown, expected):
    assert shown == expected


# --- proof searches --------------------------------------------------------------------------------------------


def a_proving(folder: Path, count: int = 2) -> Path:
    """A real run of ``llemma prove`` with the toy prover."""
    toy_file(folder.parent / f"{folder.name}.toy", {**EASY, **FALSE, **many(count)})
    words = [f"source={folder.parent / folder.name}.toy", "search=best_first,mcts", "model=fixed", f"run={folder}"]
    prove(resolve(ProveConfig, words=words))
    return folder


def test_a_proof_search_shows_its_trees_with_the_path_of_the_proof_open(tmp_path):
    run = a_proving(tmp_path / "run")
    page = check_page(html := render([run]))
    for text in (
        "Proofs",
        "beyond the ladder",
        "proved with the most expansions",
        "candidates: ",
        "ends the proof",
        "⊢",
    ):
        assert text in page.text
    searched = collect([run]).provings[0]
    assert [s.name for s in searched.searches] == ["best_first", "mcts", "ladder"]
    for search in searched.searches:
        for theorem in search.shown:
            path = []
            nodes = [root for root in theorem.roots if root.found]
            while nodes:
                path.append(nodes[0])
                nodes = [child for child in nodes[0].children if child.found]
            assert bool(path) == theorem.proved and (not path or path[-1].ended)
            if path:
                script = [node.tactic for node in path[1:]] + [path[-1].ended]
                assert script == theorem.proof.splitlines()
    assert html.count('<details class="node found" open>') == sum(
        len(theorem.proof.splitlines()) for search in searched.searches for theorem in search.shown
    )
    assert {("proved", "best_first"), ("proved", "ladder")} <= {(f.metric.name, f.model) for f in page_figures(run)}


def page_figures(run: Path) -> tuple[Figure, ...]:
    return collect([run]).figures


def test_hostile_text_in_a_proof_search_does_nothing(tmp_path):
    run, attack = a_proving(tmp_path / "run<script>", 0), "\n".join(HOSTILE)
    rows = [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]
    for row in rows:
        layer = {"name": attack, "ok": True, "detail": attack}
        row |= {"statement": attack, "proof": attack, "reason": attack, "error": None}
        row["verdict"] = {"proved": True, "axioms": [attack], "layers": [layer], "seconds": 1}
        row["attempts"] = [{"k": 0, "proof": attack, "why_not": attack, "proved": False}]
    put_rows(run / "rows.jsonl", rows)
    for path in (run / "trace").glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()][:2]
        for line in lines:
            line |= {"state": attack, "tactic": attack}
            line["candidates"] = [{"tactic": attack, "result": attack, "message": attack, "logprob": 0}] * 3
        put_rows(path, lines)
    page = check_page(html := render([tmp_path]))
    assert "<script>alert(1)</script>" in page.text and len(html) < 3_000_000


@pytest.mark.parametrize("value", WRONG, ids=repr)
def test_wrong_values_in_a_proof_search_are_left_out(tmp_path, value):
    run = start(tmp_path / "run", "prove", theorems=value, prover_info=value, model=value)
    keys = ["theorem", "search", "proved", "tactics", "verdict", "trace", "attempts", "statement", "expansions"]
    good = {"theorem": "t", "search": "s", "proved": True, "tactics": ["x"], "trace": "t.jsonl", "error": None}
    put_rows(run / "rows.jsonl", [{**good, key: value} for key in keys])
    put(
        run / "metrics.json",
        {"searches": [value, {"search": "s", "metrics": value, "reasons": value, "beyond": value}]},
    )
    line = {"node": 0, "parent": None, "state": "", "candidates": [{"result": "proof", "tactic": "x"}]}
    (run / "trace").mkdir()
    put_rows(run / "trace" / "t.jsonl", [{**line, key: value} for key in line] + [{"candidates": [value]}])
    check_page(render([tmp_path]))


def test_a_trace_is_read_from_its_folder_only(tmp_path):
    run = a_proving(tmp_path / "run", 1)
    (tmp_path / "secret.jsonl").write_text('{"node": 0, "parent": null, "state": "secret", "candidates": []}\n')
    rows = [json.loads(line) for line in (run / "rows.jsonl").read_text().splitlines()]
    put_rows(run / "rows.jsonl", [{**row, "trace": "../../secret.jsonl"} for row in rows])
    assert "secret" not in render([run]).replace("secret.jsonl", "")


def test_a_large_search_makes_a_small_page(tmp_path):
    run = start(tmp_path / "run", "prove")
    row = {"search": "best_first", "proved": False, "error": None, "reason": "expansions", "expansions": 5000}
    put_rows(run / "rows.jsonl", [{**row, "theorem": f"t{i}", "trace": "t.jsonl"} for i in range(3000)])
    (run / "trace").mkdir()
    tried = [{"tactic": f"tactic {i}", "result": "error", "message": "no " * 300, "logprob": -1} for i in range(32)]
    line = {"state": "x" * 3000, "candidates": tried}
    lines = [{**line, "node": i, "parent": i - 1 if i else None} for i in range(2000)]
    put_rows(run / "trace" / "t.jsonl", lines)
    check_page(html := render([run]))
    assert len(html) < 1_500_000


def test_a_deep_proof_is_shown_to_its_end(tmp_path):
    run = start(tmp_path / "run", "prove")
    path = [f"step {i}" for i in range(60)]
    row = {"theorem": "t", "search": "s", "proved": True, "error": None, "tactics": path, "trace": "t.jsonl"}
    put_rows(run / "rows.jsonl", [row])
    (run / "trace").mkdir()
    lines = [{"node": i, "parent": i - 1 if i else None, "tactic": f"step {i - 1}", "state": "⊢", "candidates": []}
             for i in range(60)]  # fmt: skip
    lines[-1]["candidates"] = [{"tactic": "step 59", "result": "proof"}]
    put_rows(run / "trace" / "t.jsonl", lines)
    page = check_page(render([run]))
    assert "step 58" in page.text and "step 59" in page.text

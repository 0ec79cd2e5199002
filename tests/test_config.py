"""Settings: defaults, then files, then words; a mistake is one line that names the key and the remedy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llemma.config import build, keys, read_toml, resolve, setting, to_table
from llemma.errors import ConfigError


@dataclass(frozen=True)
class Optim:
    lr: float = setting(1e-3, "peak learning rate")
    betas: tuple[float, ...] = setting((0.9, 0.95), "decay of the moments")
    fused: bool = setting(False, "one kernel")


@dataclass(frozen=True)
class Inner:
    depth: int = setting(2, "layers")
    optim: Optim = setting(factory=Optim, help="optimiser")


@dataclass(frozen=True)
class Job:
    name: str = setting(help="what it is called")
    steps: int = setting(10, "how many updates")
    rate: float = setting(0.5, "share kept")
    dry: bool = setting(False, "only say what would be done")
    mode: Literal["fast", "slow"] = setting("fast", "how")
    level: Literal[1, 2] = setting(1, "how much")
    out: Path = setting(Path("runs"), "where")
    limit: int | None = setting(None, "at most")
    note: str | None = setting(None, "free text")
    stop: tuple[str, ...] = setting((), "strings that end a text")
    sizes: tuple[int, ...] = setting((1,), "sizes")
    meta: Mapping[str, Any] = setting(factory=dict, help="anything")
    weights: dict[str, float] = setting(factory=dict, help="share of each source")
    inner: Inner = setting(factory=Inner, help="nested")

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError("steps must not be negative")


GOOD = [
    ("steps=7", "steps", 7),
    ("steps=1e3", "steps", 1000),
    ("steps=1_000", "steps", 1000),
    ("steps=+5", "steps", 5),
    ("steps=12345678901234567890", "steps", 12345678901234567890),
    ("rate=1", "rate", 1.0),
    ("rate=-2.5e-3", "rate", -0.0025),
    ("dry=true", "dry", True),
    ("dry=YES", "dry", True),
    ("dry=0", "dry", False),
    ("mode=slow", "mode", "slow"),
    ("level=2", "level", 2),
    ("out=a/b=c", "out", Path("a/b=c")),
    ("limit=none", "limit", None),
    ("limit=", "limit", None),
    ("limit=3", "limit", 3),
    ("note=none", "note", None),
    ("note=a=b, c", "note", "a=b, c"),
    ("name=3", "name", "3"),
    ("stop=", "stop", ()),
    ("stop=a, b", "stop", ("a", "b")),
    ("sizes=1,2,3", "sizes", (1, 2, 3)),
    ("meta.a=3", "meta", {"a": 3}),
    ("meta.a.b=[1, 2]", "meta", {"a": {"b": [1, 2]}}),
    ("meta.a=some text", "meta", {"a": "some text"}),
    ("weights.code=0.25", "weights", {"code": 0.25}),
    ("inner.depth=4", "inner", Inner(depth=4)),
    ("inner.optim.lr=1e-4", "inner", Inner(optim=Optim(lr=1e-4))),
    ("inner.optim.betas=0.8,0.9", "inner", Inner(optim=Optim(betas=(0.8, 0.9)))),
]


@pytest.mark.parametrize(("word", "field", "value"), GOOD, ids=[word for word, _, _ in GOOD])
def test_a_word_takes_the_type_of_its_key(word, field, value):
    got = getattr(resolve(Job, words=["name=x", word]), field)
    if field == "meta":
        got = json.loads(json.dumps(to_table(resolve(Job, words=["name=x", word]))))["meta"]
    assert got == value
    assert type(got) is type(value)


BAD = [
    ("stepz=7", "unknown key stepz; did you mean steps?"),
    ("inner.optim.ler=1", "unknown key inner.optim.ler; did you mean inner.optim.lr?"),
    ("inner.optim.momentum.x=1", "unknown key inner.optim.momentum"),
    ("lr=1", "unknown key lr"),
    ("steps=1.5", "steps=1.5: expected integer"),
    ("steps=ten", "steps=ten: expected integer"),
    ("steps=true", "steps=true: expected integer"),
    ("steps=nan", "steps=nan: expected integer"),
    ("steps=²", "steps=²: expected integer"),
    ("steps=", "steps=: expected integer"),
    ("rate=nan", "rate=nan: expected number"),
    ("rate=1e999", "rate=1e999: expected number"),
    ("dry=maybe", "dry=maybe: expected true|false"),
    ("mode=medium", "mode=medium: must be one of fast, slow"),
    ("level=3", "level=3: must be one of 1, 2"),
    ("limit=few", "limit=few: expected integer"),
    ("sizes=1,two", "sizes=two: expected integer"),
    ("weights=1", "weights is a table: write weights.NAME=value"),
    ("weights.code=much", "weights.code=much: expected number"),
    ("inner=3", "inner has keys of its own: write inner.NAME=value"),
    ("steps.x=3", "expected integer"),
    ("steps=-1", "steps must not be negative"),
    ("steps", "'steps' is not of the form key=value"),
    ("=3", "'=3' is not of the form key=value"),
    ("inner..depth=3", "unknown key inner."),
]


@pytest.mark.parametrize(("word", "message"), BAD, ids=[word for word, _ in BAD])
def test_a_wrong_word_is_refused_in_one_line(word, message):
    with pytest.raises(ConfigError) as raised:
        resolve(Job, words=["name=x", word])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_key_is_named_with_its_meaning():
    with pytest.raises(ConfigError, match=r"missing key name \(what it is called\)"):
        resolve(Job)


def test_files_overlay_defaults_and_words_overlay_files(tmp_path):
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text(
        'name = "a"\nsteps = 1\nstop = ["x", ""]\n[inner]\ndepth = 5\n[inner.optim]\nlr = 1\nfused = true\n'
    )
    second.write_text("steps = 2\n[inner.optim]\nlr = 0.5\n[meta]\nwhen = 1\n")
    job = resolve(Job, files=[first, second], words=["rate=0.1", "inner.optim.fused=no", "meta.who=me"])
    assert (job.name, job.steps, job.rate, job.stop) == ("a", 2, 0.1, ("x", ""))
    assert job.inner == Inner(depth=5, optim=Optim(lr=0.5, fused=False))
    assert job.meta == {"when": 1, "who": "me"}


BAD_FILES = [
    ("steps = 1.0", "steps=1.0: expected integer"),
    ("steps = true", "steps=True: expected integer"),
    ('steps = "1"', "steps=1: expected integer"),
    ("steps = [1]", "steps=[1]: expected integer"),
    ("rate = true", "rate=True: expected number"),
    ("dry = 1", "dry=1: expected true|false"),
    ("note = 3", "note=3: expected text"),
    ('level = "1"', "level=1: must be one of 1, 2"),
    ("mode = []", "mode=[]: must be one of fast, slow"),
    ("stop = 3", "stop: expected a list, got 3"),
    ("inner = 3", "inner has keys of its own"),
    ("[inner.optim]\nler = 1", "unknown key inner.optim.ler; did you mean inner.optim.lr?"),
    ("steps = = 1", "not valid TOML"),
    ("steps = 1\nsteps = 2", "not valid TOML"),
]


@pytest.mark.parametrize(("text", "message"), BAD_FILES, ids=[text for text, _ in BAD_FILES])
def test_a_wrong_file_is_named(tmp_path, text, message):
    path = tmp_path / "job.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        resolve(Job, files=[path], words=["name=x"])
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)


def test_a_wrong_word_does_not_blame_the_file(tmp_path):
    path = tmp_path / "job.toml"
    path.write_text('name = "a"\n[inner]\ndepth = 1\n')
    for word in ("inner.dept=3", "steps=x", "inner.optim.lr=fast"):
        with pytest.raises(ConfigError) as raised:
            resolve(Job, files=[path], words=[word])
        assert "job.toml" not in str(raised.value)


def test_an_unreadable_file_says_why(tmp_path):
    with pytest.raises(ConfigError, match="no such file or folder; check the path"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="this is a folder"):
        read_toml(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b'name = "\xe9"')
    with pytest.raises(ConfigError, match=r"latin\.toml: not valid TOML"):
        read_toml(tmp_path / "latin.toml")


def test_keys_lists_every_leaf_with_type_default_and_meaning():
    rows = {key.name: (key.type, key.default, key.help) for key in keys(Job)}
    assert rows["name"] == ("text", "required", "what it is called")
    assert rows["mode"] == ("fast|slow", "fast", "how")
    assert rows["limit"] == ("integer or none", "none", "at most")
    assert rows["sizes"] == ("integer,…", "1", "sizes")
    assert rows["dry"] == ("true|false", "false", "only say what would be done")
    assert rows["weights"] == ("table", "none", "share of each source")
    assert rows["inner.optim.lr"] == ("number", "0.001", "peak learning rate")
    assert "inner" not in rows


finite = st.floats(allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.booleans() | st.integers() | finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
optims = st.builds(Optim, lr=finite, betas=st.lists(finite, max_size=3).map(tuple), fused=st.booleans())
jobs = st.builds(
    Job,
    name=st.text(),
    steps=st.integers(min_value=0),
    rate=finite,
    dry=st.booleans(),
    mode=st.sampled_from(["fast", "slow"]),
    level=st.sampled_from([1, 2]),
    out=st.from_regex(r"[a-z/.]{1,12}", fullmatch=True).map(Path),
    limit=st.none() | st.integers(),
    note=st.none() | st.text(),
    stop=st.lists(st.text(), max_size=3).map(tuple),
    sizes=st.lists(st.integers(), max_size=3).map(tuple),
    meta=st.dictionaries(st.text(), plain, max_size=3),
    weights=st.dictionaries(st.text(), finite, max_size=3),
    inner=st.builds(Inner, depth=st.integers(), optim=optims),
)


@given(jobs)
def test_round_trip_through_json(job):
    assert build(Job, json.loads(json.dumps(to_table(job)))) == job

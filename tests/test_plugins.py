"""A name is a file: listing imports nothing, a wrong name gets the nearest, a file outside works the same."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
import textwrap

import pytest

from llemma import config, plugins
from llemma.backends import open_backend
from llemma.errors import ConfigError, MissingDependency

PLUGIN = '''
"""A plug-in outside the package.

More about it.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llemma.config import setting


@dataclass(frozen=True)
class Settings:
    size: int = setting(3, "how many")
    mode: Literal["easy", "hard"] = setting("easy", "how hard")
'''


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_every_plugin_describes_itself_in_one_line(kind):
    lines = plugins.describe(kind)
    assert list(lines) == plugins.names(kind)
    assert [name for name, line in lines.items() if not line.strip()] == []
    assert not any(name.startswith("_") for name in lines)


@pytest.mark.parametrize("kind", plugins.KINDS)
def test_every_plugin_loads(kind):
    for name in plugins.names(kind):
        if name == "vllm" and importlib.util.find_spec("vllm") is None:
            continue  # GPUs only
        assert plugins.load(kind, name).__name__ == f"llemma.{kind}.{name}"


def test_listing_imports_no_plugin():
    program = """
    import sys
    from llemma import plugins
    found = [name for kind in plugins.KINDS for name in plugins.describe(kind)]
    loaded = [m for m in sys.modules if m.startswith(tuple(f"llemma.{kind}." for kind in plugins.KINDS))]
    assert not loaded, loaded
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True)


def test_the_folder_is_the_registry(tmp_path, monkeypatch):
    monkeypatch.setattr(plugins, "__file__", str(tmp_path / "plugins.py"))
    for name in ("tasks/addition.py", "tasks/_shared.py", "tasks/geometry/__init__.py", "tasks/_private/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f'"""{name}: what it is.\n\nMore."""\n')
    assert plugins.names("tasks") == ["addition", "geometry"]
    assert plugins.describe("tasks")["addition"] == "tasks/addition.py: what it is."
    with pytest.raises(ConfigError, match="unknown task 'adition'; did you mean addition"):
        plugins.load("tasks", "adition")


def test_an_unknown_kind_gets_the_nearest():
    with pytest.raises(ConfigError, match="unknown kind of plug-in 'task'; did you mean tasks"):
        plugins.names("task")


def test_a_file_outside_the_package_is_a_plugin(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN)
    module = plugins.load("tasks", str(path))
    # Its settings class resolves: annotations are looked up in the module's own names.
    settings = config.resolve(module.Settings, words=["size=4", "mode=hard"])
    assert dataclasses.asdict(settings) == {"size": 4, "mode": "hard"}


def test_two_files_with_the_same_name_do_not_mix(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(f"NAME = {folder!r}\n")
    loaded = [plugins.load("tasks", str(tmp_path / folder / "mine.py")) for folder in ("a", "b")]
    assert [module.NAME for module in loaded] == ["a", "b"]
    assert len({module.__name__ for module in loaded}) == 2


def test_a_plugin_file_that_does_not_exist_is_an_error_of_the_user(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.py: no such plug-in file"):
        plugins.load("tasks", str(tmp_path / "nowhere.py"))


def test_a_plugin_file_that_fails_leaves_no_half_loaded_module(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("import json\nraise ValueError('broken')\n")
    before = set(sys.modules)
    with pytest.raises(ConfigError, match=r"broken\.py: this plug-in cannot be loaded: ValueError: broken"):
        plugins.load("tasks", str(path))
    assert not [name for name in set(sys.modules) - before if name.startswith("llemma_plugin_")]


def test_a_missing_package_names_the_extra_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "latex2mathml", None)  # import of it fails as if it were not installed
    path = tmp_path / "page.py"
    path.write_text("import latex2mathml\n")
    with pytest.raises(MissingDependency, match=r'install it with: pip install "llemma\[page\]"'):
        plugins.load("tasks", str(path))


def test_a_missing_package_that_is_no_extra_stays_an_import_error():
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        plugins.import_module("no_such_package")


def test_every_extra_named_in_the_hint_exists_in_pyproject(root):
    tables = config.read_toml(root / "pyproject.toml")
    extras = tables["project"]["optional-dependencies"]
    for module, extra in plugins.EXTRA_OF.items():
        assert any(line.partition(">")[0] == module for line in extras[extra]), (module, extra)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is installed here")
def test_the_vllm_back_end_says_what_is_missing():
    with pytest.raises(MissingDependency, match=r'vllm is not installed; .* pip install "llemma\[vllm\]"'):
        open_backend("vllm:some/model")

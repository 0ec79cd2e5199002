"""Settings: a dataclass, overlaid by a TOML file, overlaid by ``key=value`` words.

A settings class is a frozen dataclass whose fields all carry ``metadata={"help": ...}``. Nested dataclasses
are reached with dotted keys (``optim.lr=1e-4``). Nothing here runs code from a settings file;
a file may however name a plug-in by path (``kind = "mine.py"``), and loading a plug-in runs it.
"""

from __future__ import annotations

import dataclasses
import math
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from llemma.errors import ConfigError, explain, nearest

C = TypeVar("C")


def setting(default: Any = MISSING, help: str = "", *, factory: Any = MISSING) -> Any:
    """A dataclass field with a one-line meaning, shown by ``llemma VERB --help``."""
    if factory is not MISSING:
        return field(default_factory=factory, metadata={"help": help})
    if default is MISSING:
        return field(metadata={"help": help})
    return field(default=default, metadata={"help": help})


def check_seed(seed: int) -> None:
    """ValueError for a seed that one of the random generators would refuse halfway through a run."""
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed={seed} must lie in 0..2^63-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One settable key as the help shows it."""

    name: str
    type: str
    default: str
    help: str


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError with file and position when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(explain(error)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def resolve(kind: type[C], *, files: Sequence[Path] = (), words: Sequence[str] = ()) -> C:
    """The settings of type ``kind``: defaults, then each TOML file, then the ``key=value`` words.

    Raises ConfigError for an unknown key (with the nearest known one), a value of the wrong type, a missing
    key without default.
    """
    tables: dict[str, Any] = {}
    for path in files:
        _merge(tables, read_toml(path))
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key:
            raise ConfigError(f"{word!r} is not of the form key=value")
        _merge(tables, _nest(key.split("."), _Word(text)))
    where = f"{files[-1]}: " if files else ""
    return build(kind, tables, where=where)


def build(kind: type[C], table: Mapping[str, Any], *, where: str = "", prefix: str = "") -> C:
    """An instance of the settings class from plain data (TOML tables, JSON), type by type."""
    hints = _hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            known = [prefix + name for name in _leaf_names(kind)]
            typed = _all_words(table[key])  # then the file is not to blame
            raise ConfigError(f"{'' if typed else where}unknown key {prefix}{key}{nearest(prefix + key, known)}")
    values: dict[str, Any] = {}
    for name, f in fields.items():
        if name in table:
            values[name] = _convert(hints[name], table[name], where=where, key=prefix + name)
        elif f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"{where}missing key {prefix}{name} ({f.metadata.get('help', '')})")
    try:
        return kind(**values)
    except ValueError as error:  # a settings class checks its own values in __post_init__
        raise ConfigError(f"{where}{error}") from error


def keys(kind: type[Any], prefix: str = "") -> Iterator[Key]:
    """Every settable key of a settings class, nested ones with dots, in order of definition."""
    hints = _hints(kind)
    for f in dataclasses.fields(kind):
        hint = hints[f.name]
        if dataclasses.is_dataclass(hint):
            yield from keys(typing.cast(type[Any], hint), f"{prefix}{f.name}.")
            continue
        if f.default is not MISSING:
            default = _show(f.default)
        elif f.default_factory is not MISSING:
            default = _show(f.default_factory())
        else:
            default = "required"
        yield Key(name=prefix + f.name, type=_type_name(hint), default=default, help=f.metadata.get("help", ""))


def to_table(settings: Any) -> dict[str, Any]:
    """Settings as JSON-ready data; ``build`` reads it back."""
    return {f.name: _plain(getattr(settings, f.name)) for f in dataclasses.fields(settings)}


class _Word(str):
    """A value typed on the command line: text that the field's type gives a meaning to."""


def _hints(kind: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _leaf_names(kind: type[Any], prefix: str = "") -> Iterator[str]:
    hints = _hints(kind)
    for f in dataclasses.fields(kind):
        yield prefix + f.name
        if dataclasses.is_dataclass(hints[f.name]):
            yield from _leaf_names(hints[f.name], f"{prefix}{f.name}.")


def _nest(path: list[str], value: Any) -> dict[str, Any]:
    table: Any = value
    for key in reversed(path):
        table = {key: table}
    return typing.cast(dict[str, Any], table)


def _merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def _all_words(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(map(_all_words, value.values()))
    return isinstance(value, _Word)


def _convert(hint: Any, value: Any, *, where: str, key: str) -> Any:
    where = "" if _all_words(value) else where
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None or (isinstance(value, _Word) and value.lower() in ("none", "")):
            return None
        return _convert(next(a for a in args if a is not type(None)), value, where=where, key=key)
    if origin is Literal:
        for choice in args:
            if value == choice or (isinstance(value, _Word) and value == str(choice)):
                return choice
        raise ConfigError(f"{where}{key}={value}: must be one of {', '.join(map(str, args))}")
    if dataclasses.is_dataclass(hint):
        if isinstance(value, Mapping):
            return build(typing.cast(type[Any], hint), value, where=where, prefix=key + ".")
        raise ConfigError(f"{where}{key} has keys of its own: write {key}.NAME=value")
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if isinstance(items, (list, tuple)):
            items = [_Word(i.strip()) for i in items if i] if isinstance(value, str) else items
            return tuple(_convert(args[0], item, where=where, key=key) for item in items)
        raise ConfigError(f"{where}{key}: expected a list, got {value!r}")
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if isinstance(value, Mapping):
            return {k: _convert(args[1], v, where=where, key=f"{key}.{k}") for k, v in value.items()}
        raise ConfigError(f"{where}{key} is a table: write {key}.NAME=value")
    return _scalar(hint, value, where=where, key=key)


def _scalar(hint: Any, value: Any, *, where: str, key: str) -> Any:
    typed = isinstance(value, _Word)
    if hint is Any:
        if isinstance(value, Mapping):
            return {k: _scalar(Any, v, where=where, key=f"{key}.{k}") for k, v in value.items()}
        return _guess(value) if typed else value
    if hint is bool:
        if isinstance(value, bool):
            return value
        if typed and value.lower() in ("true", "1", "yes", "on"):
            return True
        if typed and value.lower() in ("false", "0", "no", "off"):
            return False
    elif hint is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if typed and _is_number(value) and float(value) == int(float(value)):
            return int(value) if value.lstrip("+-").isdigit() else int(float(value))
    elif hint is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if typed and _is_number(value):
            return float(value)
    elif hint is str and isinstance(value, str):
        return str(value)
    elif hint is Path and isinstance(value, (str, Path)):
        return Path(str(value)).expanduser()
    raise ConfigError(f"{where}{key}={value}: expected {_type_name(hint)}")


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _guess(text: str) -> Any:
    """A command-line value of a key without declared type: TOML's own reading, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return str(text)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_table(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _type_name(hint: Any) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return _type_name(next(a for a in args if a is not type(None))) + " or none"
    if origin is Literal:
        return "|".join(map(str, args))
    if origin is tuple:
        return f"{_type_name(args[0])},…"
    if origin is not None:
        return "table"
    return {int: "integer", float: "number", bool: "true|false", str: "text", Path: "path"}.get(hint, "value")


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None or value == "" or value == {} else str(value)

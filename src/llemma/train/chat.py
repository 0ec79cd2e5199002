"""Chat templates: messages → pieces of text of which it is known who wrote them.

The template is the model's own Jinja text, run in Jinja's sandbox as ``transformers`` does. Each message is rendered as
a placeholder and put back afterwards, so that a content which spells ``<|im_end|>`` stays text, and the border between
the template's words and an answer is known exactly. That a template strips contents is seen and done; a chat for which
the pieces are not the rendering, such as thoughts taken out of an answer, is refused. ``strftime_now`` is left out: a
template that prints today's date would give other tokens tomorrow.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from llemma.errors import ConfigError, DataError
from llemma.train.sft_text import Piece

SPACE = "\u2003"  # stands at both ends of a placeholder: where it is gone, the template strips contents
_RAISED = (TypeError, ValueError, KeyError, IndexError, OverflowError)  # by a template's own expressions
_PLACE = re.compile(f"({SPACE}?)\ue000([0-9]+)\ue001({SPACE}?)")


class Chat:
    """A compiled chat template with the names of the marks it may print."""

    def __init__(self, source: str, marks: Mapping[str, str], *, where: str) -> None:
        """``marks`` are values such as ``bos_token``. Raises ConfigError for a template that is not valid Jinja."""
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = _tojson
        environment.globals["raise_exception"] = _refuse
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            raise ConfigError(f"{where}: not a valid chat template: line {error.lineno}: {error.message}") from error
        self._marks = dict(marks)
        self.where = where

    def render(self, messages: Sequence[Mapping[str, str]], *, ask: bool = False) -> str:
        """The whole text, as ``apply_chat_template`` gives it; with ``ask`` the words before an answer at its end."""
        return self._template.render(messages=list(messages), add_generation_prompt=ask, **self._marks)

    def pieces(self, messages: Sequence[Mapping[str, str]]) -> list[Piece] | str:
        """The rendering in pieces, or why there is none: the template refuses, leaves out an answer, or rewrites one.

        An answer begins where the rendering that asks for it ends, so words that the template puts in front of an
        answer but not into the question (Llama 2's space, an empty thought) are learned with it.
        """
        held = [dict(m, content=f"{SPACE}\ue000{i}\ue001{SPACE}") for i, m in enumerate(messages)]
        answers = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
        try:
            text, whole = self.render(held), self.render(messages)
            asked = {i: self._asked(text, held[:i]) for i in answers}
        except (jinja2.TemplateError, *_RAISED) as error:
            return f"the chat template refuses it: {' '.join(str(error).split())[:120]}"
        found: list[Piece] = []
        seen, end = set(), 0
        for place in _PLACE.finditer(text):
            number = int(place[2])
            content = messages[number]["content"]
            content = content if place[1] else content.lstrip()
            content = content if place[3] else content.rstrip()
            answer, last = number in answers, number == answers[-1]
            border = place.start()
            if answer and end <= asked[number] <= border:
                border = asked[number]
            found.append(Piece(text[end:border], marked=True))
            found.append(Piece(text[border : place.start()], marked=True, answer=answer, last=last))
            found.append(Piece(content, answer=answer, last=last))
            seen.add(number)
            end = place.end()
        found.append(Piece(text[end:], marked=True))
        if not seen.issuperset(answers):
            return "the chat template leaves out an answer"
        if "".join(piece.text for piece in found) != whole:
            return "the chat template rewrites what a message says"
        return found

    def _asked(self, text: str, before: Sequence[Mapping[str, str]]) -> int:
        """Where in ``text`` the words end that ask for the answer after these messages; -1: not so in this template."""
        try:
            question = self.render(before, ask=True)
        except (jinja2.TemplateError, *_RAISED):
            return -1  # an answer without a question, which some templates refuse
        return len(question) if text.startswith(question) else -1


def load_chat(folder: Path, file: Path | None = None) -> Chat:
    """The chat template of a model folder, or of ``file``. Raises ConfigError where there is none."""
    found = find_chat(folder, file)
    if found is None:
        raise ConfigError(
            f"{folder} has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json); give one "
            "with sft.chat_template=FILE, or write the data as prompt and response"
        )
    return found


def find_chat(folder: Path, file: Path | None = None) -> Chat | None:
    """The chat template of a model folder, or of ``file``; None where there is none.

    It stands in ``chat_template.jinja``, or in ``tokenizer_config.json`` as text or in a list under ``default``.
    Raises ConfigError for one that cannot be read.
    """
    settings = _settings(folder / "tokenizer_config.json")
    marks = {name: _content(settings.get(name)) or "" for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    beside = file or folder / "chat_template.jinja"
    if file is not None or beside.is_file():
        try:
            return Chat(beside.read_text(encoding="utf-8"), marks, where=str(beside))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{beside}: this chat template cannot be read: {error}") from error
    source = settings.get("chat_template")
    if isinstance(source, list):
        named = {entry.get("name"): entry.get("template") for entry in source if isinstance(entry, dict)}
        source = named.get("default")
    if not isinstance(source, str):
        return None
    return Chat(source, marks, where=str(folder / "tokenizer_config.json"))


def _settings(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"damaged JSON ({error}); take the file from the model again", where=path) from error
    return found if isinstance(found, dict) else {}


def _content(token: Any) -> str | None:
    token = token.get("content") if isinstance(token, dict) else token  # an added token with its properties
    return token if isinstance(token, str) else None


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None) -> str:
    """JSON without HTML's escapes, as in ``transformers``."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)

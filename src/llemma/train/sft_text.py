"""Rows of fine-tuning data → pieces of text → token ids, each with whether the model learns to write it.

Every answer is tokenised by itself, so the border between what is given and what is learned is a border of tokens even
for tokenisers that would merge across it: the ids before it are ``encode_prompt(prompt)``, what a model is asked with
later. Where a tokeniser treats the beginning of a text in its own way (SentencePiece's space in front), an answer is
encoded as what it is, the continuation of a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from llemma.errors import ConfigError
from llemma.tokens.tokenizer import Tokenizer
from llemma.train.sft_config import Template

# Stanford Alpaca's prompts (Taori et al. 2023), which MetaMath trains and evaluates with: data, kept to the byte
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)
WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
# Names of the two columns of a question with its answer: MetaMathQA's, then those of most other sets
PAIRS = (("query", "response"), ("question", "answer"), ("problem", "solution"))
VERBATIM = (("prompt", "response"), ("prompt", "completion"))
_CARRIER = "\n"  # stands before a continuation while it is encoded


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of an example. ``marked``: the template's words, in which names of marks are marks.

    ``answer``: the model learns to write it, and the mark that ends its turn; ``last`` is the last answer of a chat.
    Both ``marked`` and ``answer``: words that the template puts in front of an answer.
    """

    text: str
    marked: bool = False
    answer: bool = False
    last: bool = False


class ChatTemplate(Protocol):
    """Messages with ``role`` and ``content`` → pieces, or why there are none."""

    def pieces(self, messages: Sequence[Mapping[str, str]]) -> list[Piece] | str:
        """The rendering in pieces, or the reason why there is none."""


def pieces_of(row: Mapping[str, Any], template: Template, chat: Callable[[], ChatTemplate | None]) -> list[Piece] | str:
    """The pieces of a row, or why it cannot be used. ``chat`` is asked for its template only where one is needed."""
    if "messages" in row:
        messages = _messages(row["messages"])
        return messages if isinstance(messages, str) else _chatted(messages, chat())
    if any(a in row and b in row for a, b in VERBATIM):
        return _verbatim(row)
    asked = _question(row)
    if isinstance(asked, str):
        return asked
    if template == "chat":
        question = asked.instruction + (f"\n\n{asked.given}" if asked.given else "")
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": asked.answer}]
        return _chatted(turns, chat())
    return _alpaca(asked, cut=template == "metamath")


@dataclass(frozen=True, slots=True)
class _Asked:
    instruction: str
    given: str
    answer: str


def _chatted(messages: Sequence[Mapping[str, str]], chat: ChatTemplate | None) -> list[Piece] | str:
    return "messages need a chat template" if chat is None else chat.pieces(messages)


def _alpaca(asked: _Asked, *, cut: bool) -> list[Piece]:
    instruction, given = asked.instruction, asked.given
    if cut and not given:  # as MetaMath's train_math.py does with questions of several lines
        instruction, _, given = instruction.partition("\n")
    words = {"instruction": instruction, "input": given}
    # in one pass: a question that holds "{input}" stays a question
    prompt = re.sub(r"\{(\w+)\}", lambda m: words[m[1]], WITH_INPUT if given else WITHOUT_INPUT)
    return [Piece(prompt), Piece(asked.answer, answer=True, last=True)]


def _verbatim(row: Mapping[str, Any]) -> list[Piece] | str:
    prompt, answer = next((row[a], row[b]) for a, b in VERBATIM if a in row and b in row)
    if not isinstance(prompt, str) or not isinstance(answer, str):
        return "prompt or response is not a text"
    return [Piece(prompt), Piece(answer, answer=True, last=True)] if answer.strip() else "the response is empty"


def _question(row: Mapping[str, Any]) -> _Asked | str:
    if "instruction" in row and "output" in row:
        values = (row["instruction"], row.get("input") or "", row["output"])
    else:
        names = next(((a, b) for a, b in PAIRS if a in row and b in row), None)
        if names is None:
            return "no messages, prompt and response, question and answer, or instruction and output"
        values = (row[names[0]], "", row[names[1]])
    if not all(isinstance(value, str) for value in values):
        return "question or answer is not a text"
    if not values[0].strip():
        return "the question is empty"
    return _Asked(*values) if values[2].strip() else "the answer is empty"


def _messages(found: Any) -> list[dict[str, str]] | str:
    if not isinstance(found, list) or not all(isinstance(m, dict) for m in found):
        return "messages is not a list of objects"
    if any(m.get("tool_calls") for m in found):
        return "messages with tool_calls are not supported"
    if not all(isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in found):
        return "a message without a text as role and content"
    answers = [m["content"] for m in found if m["role"] == "assistant"]
    if not any(text.strip() for text in answers):
        return "no message of the assistant with text"
    return [{"role": m["role"], "content": m["content"]} for m in found]


class Encoder:
    """Pieces → ids and which of them are learned, many examples at a time."""

    def __init__(self, tokenizer: Tokenizer, *, turns: Literal["all", "last"] = "all") -> None:
        """Raises ConfigError for a tokeniser without an end mark, or with marks that this cannot place."""
        if tokenizer.end_id is None:
            raise ConfigError("the tokeniser has no end mark; name one as eos_token in tokenizer_config.json")
        self._tokenizer, self._turns, self._end = tokenizer, turns, tokenizer.end_id
        self._begin = tokenizer.encode_prompt("")
        if tokenizer.encode_prompt("A") != [*self._begin, *tokenizer.encode("A")]:
            raise ConfigError("the tokeniser puts marks elsewhere than at the ends of a text; no rule for it here")
        self._specials = dict(tokenizer.specials)
        names = sorted(self._specials, key=len, reverse=True)
        self._split = re.compile("(" + "|".join(map(re.escape, names)) + ")") if names else None
        self._head = tokenizer.encode(_CARRIER)
        after = tokenizer.encode(_CARRIER + "A")
        # where the beginning of a text is treated like its middle, a continuation needs no carrier
        self._carried = after != [*self._head, *tokenizer.encode("A")] and after[: len(self._head)] == self._head

    def encode(self, examples: Sequence[Sequence[Piece]]) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each example its (n,) int64 ids and an (n,) mask of what is learned: answers and their end marks."""
        plans = [self._plan(pieces) for pieces in examples]
        coded = iter(self._coded([(atom.text, atom.begins) for plan in plans for atom in plan if not atom.ids]))
        found = []
        for plan in plans:
            parts = [np.array(atom.ids, dtype=np.int64) if atom.ids else next(coded) for atom in plan]
            learned = [np.full(len(part), atom.learned) for part, atom in zip(parts, plan, strict=True)]
            found.append((np.concatenate(parts), np.concatenate(learned)))
        return found

    def _plan(self, pieces: Sequence[Piece]) -> list[_Atom]:
        """The atoms of an example in order, up to the mark that ends its last answer."""
        chat = any(piece.marked for piece in pieces)  # a chat template writes its begin mark itself
        plan: list[_Atom] = []
        owed = last = False  # an answer waits for its end mark; it is the last one
        for piece in pieces:
            learned = piece.answer and (piece.last or self._turns == "all")
            if not piece.marked or piece.answer:
                atoms = self._atoms(piece.text) if piece.marked else [_Atom(text=piece.text)]
                plan += [replace(atom, learned=learned) for atom in atoms]
                owed, last = learned, piece.last
                continue
            atoms = self._atoms(piece.text)
            closing = next((i for i, atom in enumerate(atoms) if atom.ids), None) if owed else None
            if last:
                atoms = atoms[: closing + 1] if closing is not None else []
            # what the template puts between an answer and its mark must be written too, or the mark never comes
            ends = -1 if closing is None else closing
            plan += [replace(atom, learned=i <= ends) for i, atom in enumerate(atoms)]
            owed = owed and last and closing is None
            if last:
                break
        if owed:
            plan.append(_Atom(ids=(self._end,), learned=True))
        return _joined(plan, () if chat else tuple(self._begin))

    def _atoms(self, text: str) -> list[_Atom]:
        """The template's words: names of marks as ids, the rest as text."""
        parts = self._split.split(text) if self._split else [text]
        return [
            _Atom(ids=(self._specials[part],)) if part in self._specials else _Atom(text=part) for part in parts if part
        ]

    def _coded(self, texts: Sequence[tuple[str, bool]]) -> list[np.ndarray]:
        """The ids of texts, each at the beginning of an example or inside."""
        carried = [self._carried and not begins for _, begins in texts]
        coded = self._tokenizer.encode_batch(
            [_CARRIER + text if carry else text for (text, _), carry in zip(texts, carried, strict=True)]
        )
        head = len(self._head)
        found = []
        for (text, _), carry, ids in zip(texts, carried, coded, strict=True):
            if carry and ids[:head].tolist() != self._head:  # the text swallows the carrier: encode it by itself
                found.append(np.array(self._tokenizer.encode(text), dtype=np.int64))
            else:
                found.append(ids[head:] if carry else ids)
        return found


def _joined(plan: Sequence[_Atom], begin: tuple[int, ...]) -> list[_Atom]:
    """The same with neighbouring texts as one: tokens may cross borders of messages, not those of what is learned."""
    found: list[_Atom] = []
    for atom in plan:
        if found and not atom.ids and not found[-1].ids and atom.learned == found[-1].learned:
            found[-1] = replace(found[-1], text=found[-1].text + atom.text)
        elif atom.ids or atom.text:
            found.append(replace(atom, begins=not found))
    return [_Atom(ids=begin), *found] if begin else found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Atom:
    """A text to be encoded, or ids; ``begins``: nothing but the begin mark stands before it."""

    text: str = ""
    ids: tuple[int, ...] = ()
    learned: bool = False
    begins: bool = False

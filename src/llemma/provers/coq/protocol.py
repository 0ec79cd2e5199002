"""The XML protocol of coqidetop (Coq 8.16 to Rocq 9) as text: requests, and what is said in the answers to them.

Pure functions over bytes; who sends them is ``worker``. One request, one ``<value>``; feedback stands before it. Only
the XML of Coq's making is parsed as such: text of the user comes back escaped, so no output of a tactic can pass for
an answer. The shape of ``Add`` is that of protocol 20220205 (8.16) and later; ``Fail`` carries its place as attributes
up to 8.17 and as a child after, which the reader here does not mind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree as XML
from xml.sax.saxutils import escape

from llemma.errors import ProverError
from llemma.records import Goal

END = b"</value>"
ABOUT = b'<call val="About"><unit/></call>'
INIT = b'<call val="Init"><option val="none"/></call>'
GOALS = b'<call val="Goal"><unit/></call>'
JOIN = b'<call val="Status"><bool val="true"/></call>'  # forces every proof, waits for nothing else
_UNFIT = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # no character of XML 1.0
ERRORS = re.compile(  # the state ids that error messages speak of
    rb'<feedback object="state"[^>]*><state_id val="(\d+)"/><feedback_content val="message"><message>'
    rb'<message_level val="error"/>'
)
_MESSAGE = re.compile(
    rb'<feedback_content val="message"><message><message_level val="(\w+)".*?</feedback_content>', re.DOTALL
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One ``<value>``: whether it was good, what stands in it, and the raw feedback before it."""

    good: bool
    body: XML.Element
    feedback: bytes

    @property
    def error(self) -> str:
        """The message of a refusal, on its own lines; a word when Coq gave none."""
        parts = [part for part in self.body if part.tag in ("richpp", "ppdoc")]
        return shown(parts[-1]).strip() if parts else "refused without a message"

    def messages(self, *levels: str) -> list[str]:
        """What Coq printed on the way, of these levels (``notice``, ``info``, ``warning``, ``error``, ``debug``)."""
        found = []
        for match in _MESSAGE.finditer(self.feedback):
            if not levels or match[1].decode() in levels:
                found += [shown(part) for part in _element(match[0])[0] if part.tag in ("richpp", "ppdoc")]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """The four lists of a proof, flattened: open ones in the order they will be met, then the shelf; ones given up."""

    focused: int
    open: tuple[Goal, ...]
    shelved: tuple[Goal, ...]
    given_up: int


def unfit(text: str) -> bool:
    """Whether a text holds characters that XML, and with it Coq's protocol, cannot carry."""
    return bool(_UNFIT.search(text))


def add(sentence: str, state: int) -> bytes:
    """Put one sentence behind the state ``state``, which must be the tip. It is parsed, not yet run."""
    head = f'<call val="Add"><pair><pair><pair><pair><string>{escape(sentence)}</string><int>-1</int></pair>'
    tail = f'<pair><state_id val="{state}"/><bool val="false"/></pair></pair><int>0</int></pair>'
    return f"{head}{tail}<pair><int>1</int><int>0</int></pair></pair></call>".encode()


def edit_at(state: int) -> bytes:
    """Go back to a state; what was added behind it is gone."""
    return f'<call val="Edit_at"><state_id val="{state}"/></call>'.encode()


def answer(raw: bytes) -> Answer:
    """The answer in ``raw``, which holds feedback and one value, up to and with ``END``."""
    at = raw.rfind(b"<value ")
    body = _element(raw[at:])
    return Answer(good=body.get("val") == "good", body=body, feedback=raw[:at])


def state_id(found: Answer) -> int:
    """The number of the state an ``Add`` or ``Init`` made."""
    node = found.body.find(".//state_id")
    if node is None:
        raise ProverError("coqidetop answered without a state; is this Coq 8.16 or newer?")
    return int(node.get("val", "0"))


def goals(found: Answer) -> Goals | None:
    """The goals of a good answer to ``GOALS``; None when no proof is open."""
    node = found.body.find("option/goals")
    if node is None:
        return None
    lists = list(node)
    focused = [_goal(item) for item in lists[0]]
    behind: list[Goal] = []
    for level in lists[1]:  # innermost first; what stands before the focus is in reverse
        before, after = list(level)
        behind += [_goal(item) for item in reversed(list(before))] + [_goal(item) for item in after]
    shelved = tuple(_goal(item) for item in lists[2]) if len(lists) > 2 else ()
    return Goals(
        focused=len(focused),
        open=(*focused, *behind),
        shelved=shelved,
        given_up=len(lists[3]) if len(lists) > 3 else 0,
    )


def _goal(node: XML.Element) -> Goal:
    _, hypotheses, conclusion, *_ = list(node)
    return Goal(hypotheses=tuple(shown(item) for item in hypotheses), conclusion=shown(conclusion))


def shown(node: XML.Element) -> str:
    """The text of a pretty-printed node, without its marks."""
    if node.tag == "ppdoc":
        return "".join(_flat(node))
    return "".join(node.itertext()).replace("\u00a0", " ")


def _flat(node: XML.Element) -> Iterator[str]:
    """The text of a document that Coq has not formatted (``-xml_format=Ppcmds``): a blank at each break.

    Formatted text stops at some depth of nesting and writes a full stop there; this does not.
    """
    todo = [node]
    while todo:
        here = todo.pop()
        kind = here.get("val") if here.tag == "ppdoc" else ""
        if kind == "string":
            yield from here.itertext()
        elif kind == "break":
            yield " "
        elif kind == "newline":
            yield "\n"
        elif kind in ("box", "tag"):
            todo.append(here[0][1])
        else:
            todo += [child for child in reversed(here) if child.tag in ("ppdoc", "list")]


def _element(raw: bytes) -> XML.Element:
    try:
        return XML.fromstring(raw.replace(b"&nbsp;", b"\xc2\xa0"))
    except XML.ParseError as error:
        raise ProverError(f"coqidetop answered with what is no XML ({error})", retryable=True) from error

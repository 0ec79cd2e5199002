"""Goals as Lean prints them, cut into hypotheses and conclusion."""

from __future__ import annotations

from llemma.records import Goal

_TURNSTILES = ("⊢ ", "| ")  # goals of `conv` are printed with a bar


def goal(text: str) -> Goal:
    """One goal. A line that is indented goes on the hypothesis before it; the name of the case is left out."""
    lines = text.split("\n")
    if lines and lines[0].startswith("case "):
        lines = lines[1:]
    hypotheses: list[str] = []
    for index, line in enumerate(lines):
        if line.startswith(_TURNSTILES):
            return Goal(hypotheses=tuple(hypotheses), conclusion="\n".join([line[2:], *lines[index + 1 :]]))
        if line.startswith(" ") and hypotheses:
            hypotheses[-1] += "\n" + line
        else:
            hypotheses.append(line)
    return Goal(hypotheses=tuple(hypotheses), conclusion="")

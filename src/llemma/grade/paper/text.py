r"""The text side of the paper's scorers: what is extracted from a completion, and how it is normalised.

Everything is the original's to the letter, in linear time: each of its regular expressions is searched for by hand,
because several of them take quadratic time on text such as twenty thousand unfinished ``\text{``.
"""

from __future__ import annotations

import re

INVALID = "[invalidanswer]"  # MATH, OCW and MATH+Python
INVALID_NUMBER = "[invalid]"  # GSM8K
INVALID_CHOICE = "[not found]"  # MMLU-STEM and SAT

MATH_MARK = "Final Answer: The final answer is"
OCW_MARK = "Final answer: The final answer is"  # its prompt has a small a
GSM8K_MARK = "The answer is "
STOP = "I hope it is correct."  # cut off by the engine, so appended again
_TAIL = " I hope it is correct"  # with any character before and behind it

_GOLD = re.compile(r"#### (\-?[0-9\.\,]+)")
_FIRST_NUMBER = re.compile(r"The answer is (\d+)")
_END_CHARACTERS = "".join(sorted(set(". I hope it is correct.")))
_CHOICE = re.compile(r"Final Answer: The final answer is (\([ABCD]\).)")

# Minerva's normalisation, appendix D of Lewkowycz et al. (2022), as the original applies it: in this order.
_SUBSTITUTIONS = (
    ("an ", ""),
    ("a ", ""),
    (".$", "$"),
    (r"\$", ""),
    (r"\ ", ""),
    (" ", ""),
    ("mbox", "text"),
    (r",\text{and}", ","),
    (r"\text{and}", ","),
    (r"\text{m}", r"\text{}"),
)
_REMOVED = (
    *("square", "ways", "integers", "dollars", "mph", "inches", "ft", "hours", "km", "units", r"\ldots", "sue"),
    *("points", "feet", "minutes", "digits", "cents", "degrees", "cm", "gm", "pounds", "meters", "meals", "edges"),
    *("students", "childrentickets", "multiples", r"\text{s}", r"\text{.}", "\\text{\ns}", r"\text{}^2", r"\text{}^3"),
    *("\\text{\n}", r"\text{}", r"\mathrm{th}", r"^\circ", r"^{\circ}", r"\;", r",\!", "{,}", '"', r"\dots"),
)


def final_answer(completion: str, mark: str) -> str:
    """What stands between ``mark`` and `` I hope it is correct.``, or ``INVALID``; both on one line.

    The original searches for ``MARK(.*?). I hope it is correct.``, where either period is any character.
    """
    text = completion + STOP
    start = text.find(mark)
    while start >= 0:
        start += len(mark)
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        tail = text.find(_TAIL, start + 1, end - 1)
        if tail >= 0:
            return text[start : tail - 1].strip()
        start = text.find(mark, end)
    return INVALID


def first_number(completion: str) -> str:
    """GSM8K's answer of a completion: the digits right behind the first ``The answer is `` that has some."""
    match = _FIRST_NUMBER.search(completion)
    return match.group(1) if match else INVALID_NUMBER


def gold_number(solution: str) -> str:
    """GSM8K's answer of a reference solution: what stands behind ``####``, without commas."""
    match = _GOLD.search(solution)
    return match.group(1).replace(",", "") if match else INVALID_NUMBER


def choice(completion: str) -> str:
    """MMLU-STEM's and SAT's answer: ``(A)`` to ``(D)`` with what follows it unless that looks like the end.

    The original strips characters of ``. I hope it is correct`` instead of that text, so that ``(B),`` stays ``(B),``
    and is wrong, and ``(B)e`` is right.
    """
    match = _CHOICE.search(completion)
    return match.group(1).rstrip(_END_CHARACTERS) if match else INVALID_CHOICE


def boxed_answer(solution: str) -> str | None:
    r"""The content of the last ``\boxed`` of a MATH solution, by its own rules; ``None`` when there is none."""
    if r"\boxed " in solution:
        return solution.rsplit(r"\boxed ", maxsplit=1)[-1].split("$", maxsplit=1)[0]
    start = solution.rfind(r"\boxed")
    if start < 0:
        return None
    depth = 0
    for end in range(start, len(solution)):
        depth += {"{": 1, "}": -1}.get(solution[end], 0)
        if solution[end] == "}" and depth == 0:
            box = solution[start : end + 1]
            return box[len(r"\boxed{") : -1] if box.startswith(r"\boxed{") else None
    return None


def normalize_tex(text: str) -> str:
    """Minerva's normal form of a final answer, bugs included.

    Only what stands behind the last ``=`` counts, words such as ``square`` and ``ft`` vanish wherever they stand, and
    ``1,2`` becomes ``12``.
    """
    text = text.rsplit("=", maxsplit=1)[-1]
    for before, after in _SUBSTITUTIONS:
        text = text.replace(before, after)
    for removed in _REMOVED:
        text = text.replace(removed, "")
    text = "\n".join(_between_dollars(line) for line in text.split("\n"))
    for command in (r"\text{", r"\textbf{", r"\overline{"):
        text = "\n".join(_unwrapped(line, command) for line in text.split("\n"))
    text = "\n".join(_unboxed(line) for line in text.split("\n"))
    text = re.sub(r"(frac)([^{])(.)", r"frac{\2}{\3}", text)
    text = re.sub(r"(sqrt)([^{])", r"sqrt{\2}", text)
    text = text.replace("$", "")
    if text.replace(",", "").isdigit():
        text = text.replace(",", "")
    return text


def _between_dollars(line: str) -> str:
    """``$x$`` of a line with two dollar signs or more: what stands between the first two."""
    parts = line.split("$", 3)
    return line if len(parts) < 3 else f"${parts[1]}$"


def _unwrapped(line: str, command: str) -> str:
    r"""``\text{X}`` to X, up to the first closing brace."""
    kept, at = [], 0
    while (start := line.find(command, at)) >= 0:
        end = line.find("}", start + len(command))
        if end < 0:
            break
        kept += [line[at:start], line[start + len(command) : end]]
        at = end + 1
    return "".join(kept) + line[at:]


def _unboxed(line: str) -> str:
    r"""``\boxed{X}`` to X, up to the last closing brace of the line."""
    start = line.find(r"\boxed{")
    end = line.rfind("}")
    inside = start + len(r"\boxed{")
    if start < 0 or end < inside:
        return line
    return line[:start] + line[inside:end] + line[end + 1 :]

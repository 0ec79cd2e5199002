"""Formulas kept out of real pages, by kind, against counts of the raw HTML that our extractor has no part in.

What a page holds is found with regular expressions on the raw bytes and with html5lib or lxml, never with our code:
TeX in annotations, scripts, alternative texts and delimiters as strings; renderings without source (KaTeX's HTML,
MathML) by the letters and digits they show. A formula counts as kept when the output has it between dollars, as often
as the page has it, white space aside. The second table is the ledger's own account, the third what is taken for
formulas on pages without any.

    LLEMMA_DATA=FOLDER python bench/html_recall.py [plain=FOLDER_OF_PAGES_WITHOUT_FORMULAS] [missing=FILE]
"""

from __future__ import annotations

import html
import json
import os
import re
import sys
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from train_cpu import place

from llemma.config import resolve, setting
from llemma.extract.html_math import extract_html
from llemma.extract.prefilter import may_hold_formulas


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Which pages."""

    plain: Path | None = setting(None, "folder of pages without formulas, for the count of false ones")
    missing: Path | None = setting(None, "file for the formulas that were not found in the output, one JSON line each")


_CODE = re.compile(r"(?ms)^[ >]*(?:(?:-|\d+\.) )?(`{3,})[^`\n]*\n.*?^[ >]*\1 *$|(`+)(?!`)[^\n]*?(?<!`)\2(?!`)")
_OUTPUT = re.compile(r"(?<!\\)\$\$((?:[^$\\]|\\.)+?)\$\$|(?<!\\)\$((?:[^$\\]|\\.)+?)\$", re.DOTALL)
_CODE_OR_OUTPUT = re.compile(f"{_CODE.pattern}|{_OUTPUT.pattern}", re.DOTALL)  # whichever begins first
_ANNOTATION = re.compile(
    r"""<annotation[^>]*encoding=["'](?:application/x-tex|TeX|LaTeX)["'][^>]*>(.*?)</annotation>""", re.DOTALL
)
_SCRIPT = re.compile(r"""<script[^>]*type=["']math/(?:tex|latex)(?:;[^"']*)?["'][^>]*>(.*?)</script>""", re.DOTALL)
_IMAGE = re.compile(r"<img\b[^>]*>")
_ATTRIBUTE = re.compile(r"""\b(class|alt|src)=("([^"]*)"|'([^']*)')""")
_ALTTEXT = re.compile(r"""<math\b[^>]*\balttext="([^"]*)\"""")
_CLASSED = re.compile(
    r"""<(span|div|p)\s[^>]*class=["'][^"']*\b(?:math|arithmatex|SimpleMath|Math|formulaDsp)\b[^"']*["'][^>]*>"""
    r"""\s*(\\\((?:[^<]*?)\\\)|\\\[(?:[^<]*?)\\\]|\$\$[^<]*?\$\$|\$[^<$]*\$)\s*</\1>"""
)
_NO_TEXT = re.compile(r"(?is)<(script|style|pre|code|textarea|noscript|head|annotation)\b.*?</\1>|<!--.*?-->")
_ROUND = re.compile(r"\\\(([^<]*?)\\\)|(?<!\\)\\\[([^<]*?)\\\]")
_KATEX = re.compile(r'<span class="katex-html"')
_MATH = re.compile(r"<(?:\w+:)?math\b[^>]*>(.*?)</(?:\w+:)?math>", re.DOTALL)
_FENCE = re.compile(r"""\b(?:open|close)=["']([^"']*)["']""")
_TAG = re.compile(r"<[^>]*>")


def squeezed(tex: str) -> str:
    """TeX without white space and without what delimits it."""
    tex = "".join(html.unescape(tex).split())
    tex = re.sub(r"(?<!\\)%(?:<!\[CDATA\[|\]\]>)", "", tex)
    for left, right in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        if tex.startswith(left) and tex.endswith(right) and len(tex) >= len(left) + len(right):
            return tex[len(left) : len(tex) - len(right)]
    return tex


def shown(text: str) -> str:
    """Letters and digits of a rendering, in any order: the names of functions count as letters."""
    styled = {c for c in text if c >= "\U0001d400" or c in "ℝℤℕℚℂℙⅆⅇⅈ"}  # letters whose style LaTeX says by a command
    plain = "".join(unicodedata.normalize("NFKC", c) if c in styled else c for c in text)
    return "".join(sorted(c for c in plain if c.isascii() and c.isalnum()))


_STRUCTURE = re.compile(
    r"\\(?:begin|end)\{[a-zA-Z*]+\}(?:\{[lcr|]+\})?|\\(?:frac|binom|sqrt|left|right|math[a-z]+|text[a-z]*|operatorname\*?|boldsymbol|overline"
    r"|underline|hat|widehat|tilde|widetilde|bar|vec|dot|ddot|over[a-z]+|under[a-z]+|quad|qquad|[Bb]igg?[lrm]?|boxed|cancel|tag|phantom"
    r"|limits|nolimits|hline|atop|x[a-z]+arrow|middle)(?![a-zA-Z])"
)
_FUNCTION = re.compile(
    r"\\(log|ln|lim|max|min|sup|inf|sin|cos|tan|exp|gcd|det|dim|ker|deg|Pr|arg|arccos|arcsin|arctan|sinh|cosh|tanh|mod|bmod|pmod|hom|lg|cot|sec|csc|coth|limsup|liminf)(?![a-zA-Z])"
)
_COMMAND = re.compile(r"\\color\{[^{}]*\}|\\[a-zA-Z]+")


def shown_of_tex(tex: str) -> str:
    """The same of LaTeX: commands that show no letters are left out."""
    tex = _STRUCTURE.sub(" ", tex)
    tex = _FUNCTION.sub(lambda m: m[1].replace("bmod", "mod").replace("pmod", "mod") + " ", tex)
    return shown(_COMMAND.sub(" ", tex))


def katex_renderings(page: str) -> Iterator[str]:
    """The visible text of each ``katex-html`` element, its end found by counting spans."""
    for found in _KATEX.finditer(page):
        depth, place = 0, found.start()
        for tag in re.compile(r"<(/?)span\b[^>]*>").finditer(page, place):
            depth += -1 if tag[1] else 1
            if not depth:
                yield html.unescape(_TAG.sub("", page[place : tag.start()]))
                break


def wanted(page: str) -> Iterator[tuple[str, str]]:
    """Kind and content of every formula of the raw page."""
    for found in _ANNOTATION.finditer(page):
        yield "annotation", squeezed(found[1])
    for found in _SCRIPT.finditer(page):
        if found[1].strip():
            yield "script", squeezed(html.unescape(found[1]))
    for found in _ALTTEXT.finditer(page):
        yield "alttext", squeezed(found[1])
    for tag in _IMAGE.findall(page):
        given = {m[1]: html.unescape(m[3] or m[4] or "") for m in _ATTRIBUTE.finditer(tag)}
        classes = set(given.get("class", "").split())
        if classes & {"math", "latex", "tex", "formulaInl", "formulaDsp"} and given.get("alt", "").strip():
            yield "img alt", squeezed(given["alt"])
    body = _NO_TEXT.sub(" ", page)
    for found in _CLASSED.finditer(body):
        yield "delimiters in .math", squeezed(found[2])
    loose = _CLASSED.sub(" ", body)
    for found in _ROUND.finditer(loose):
        inside = found[1] or found[2] or ""
        if inside.strip():
            yield "delimiters in text", squeezed(inside)
    for text in katex_renderings(page):
        yield "KaTeX HTML-only", shown(text)
    for found in _MATH.finditer(body):
        if "annotation" not in found[0] and "alttext" not in found[0][: found[0].index(">")]:
            fences = " ".join(m[1] for tag in re.findall(r"<mfenced[^>]*>", found[1]) for m in _FENCE.finditer(tag))
            text = html.unescape(_TAG.sub("", found[1]) + fences)
            if text.strip():
                yield "MathML", shown(text)


RENDERED = {"KaTeX HTML-only", "MathML"}


def measure(name: str, data: bytes) -> Iterator[tuple[str, bool, str]]:
    """Kind, whether kept, and content of each formula of a page."""
    page = data.decode("utf-8", "replace")
    text = extract_html(data, name=name).text
    found = [tex for m in _CODE_OR_OUTPUT.finditer(text) if (tex := m[3] or m[4])]
    have = Counter(squeezed(tex) for tex in found)
    seen = Counter(shown_of_tex(tex) for tex in found)
    katex = "katex-html" in page
    for kind, content in wanted(page):
        if (
            kind == "KaTeX HTML-only"
            and "application/x-tex" in page
            and katex
            and page.count("katex-html") <= page.count("x-tex")
        ):
            continue
        pool = seen if kind in RENDERED else have
        kept = pool[content] > 0
        if kept:
            pool[content] -= 1
        yield kind, kept, content


def main() -> None:
    settings = resolve(Settings, words=sys.argv[1:])
    folder = Path(os.environ.get("LLEMMA_DATA", "")) / "html"
    if not os.environ.get("LLEMMA_DATA") or not folder.is_dir():
        print(
            "bench/html_recall.py needs pages: LLEMMA_DATA=FOLDER (with html/*.html in it) python bench/html_recall.py"
        )
        return
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    missing = []
    ledger: Counter[str] = Counter()
    for path in sorted(folder.glob("*.html")):
        data = path.read_bytes()
        pages_kinds = set()
        for kind, kept, content in measure(path.name, data):
            totals[kind][0] += 1
            totals[kind][1] += kept
            pages_kinds.add(kind)
            if not kept:
                missing.append({"page": path.name, "kind": kind, "content": content})
        for kind in pages_kinds:
            totals[kind][2] += 1
        one = extract_html(data).formulas
        ledger.update({"found": one.found, "kept": one.kept, "boilerplate": one.boilerplate})
        ledger.update({f"lost, {why}": count for why, count in one.why.items()})
    print(
        f"{place()}\n\n| kind, counted in the raw HTML | pages | formulas | kept | recall |\n"
        "| --- | --- | --- | --- | --- |"
    )
    for kind, (count, kept, pages) in sorted(totals.items()):
        print(f"| {kind} | {pages} | {count:,} | {kept:,} | {100 * kept / count:.2f} % |")
    print("\nledger: " + ", ".join(f"{name} {count:,}" for name, count in ledger.items()))
    if settings.missing:
        settings.missing.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in missing))
    if settings.plain:
        paths = sorted({hash(p.read_bytes()): p for p in settings.plain.rglob("*.html") if p.is_file()}.values())
        raw = [p.read_bytes() for p in paths]
        begin = time.process_time()
        passed = sum(map(may_hold_formulas, raw))
        seconds = time.process_time() - begin
        rate = sum(map(len, raw)) / 1e6 / seconds
        print(f"\nprefilter: {passed} of {len(raw)} pages without formulas passed on, {rate:.0f} MB/s")
        false = {p.name: n for p in paths if (n := extract_html(p.read_bytes()).formulas.found)}
        print(
            f"\n{len(paths)} pages without formulas: {sum(false.values())} taken for formulas, "
            f"on {len(false)} pages {false or ''}"
        )


if __name__ == "__main__":
    main()

"""AsciiMath to LaTeX: ``sum_(i=1)^n i^3=((n(n+1))/2)^2`` by the grammar of asciimath.org.

Never fails: what is not in its tables is passed on as letters, as AsciiMath does.
"""

from __future__ import annotations

import re

from llemma.extract.words import word_set, words

_DEEPEST = 60

# AsciiMath's words and signs → LaTeX, where they differ; a Greek letter or function name is itself.
_SYMBOLS = {
    "*": "\\cdot ", "**": "\\ast ", "***": "\\star ", "//": "/", "\\\\": "\\backslash ", "xx": "\\times ",
    "-:": "\\div ",
    "|><": "\\ltimes ", "><|": "\\rtimes ", "|><|": "\\bowtie ", "@": "\\circ ", "o+": "\\oplus ", "ox": "\\otimes ",
    "o.": "\\odot ", "^^": "\\wedge ", "^^^": "\\bigwedge ", "vv": "\\vee ", "vvv": "\\bigvee ", "nn": "\\cap ",
    "nnn": "\\bigcap ", "uu": "\\cup ", "uuu": "\\bigcup ", "!=": "\\neq ", "<=": "\\leq ", ">=": "\\geq ", "lt": "<",
    "gt": ">", "-<": "\\prec ", ">-": "\\succ ", "-<=": "\\preceq ", ">-=": "\\succeq ", "in": "\\in ",
    "!in": "\\notin ",
    "sub": "\\subset ", "sup": "\\supset ", "sube": "\\subseteq ", "supe": "\\supseteq ", "-=": "\\equiv ",
    "~=": "\\cong ",
    "~~": "\\approx ", "prop": "\\propto ", "not": "\\neg ", "=>": "\\Rightarrow ", "<=>": "\\Leftrightarrow ",
    "AA": "\\forall ",
    "EE": "\\exists ", "_|_": "\\bot ", "TT": "\\top ", "|--": "\\vdash ", "|==": "\\models ", "int": "\\int ",
    "oint": "\\oint ", "del": "\\partial ", "grad": "\\nabla ", "+-": "\\pm ", "O/": "\\emptyset ", "oo": "\\infty ",
    ":.": "\\therefore ", ":'": "\\because ", "...": "\\ldots ", "/_": "\\angle ", "/_\\": "\\triangle ",
    "|...|": "|\\ldots|",
    "CC": "\\mathbb{C}", "NN": "\\mathbb{N}", "QQ": "\\mathbb{Q}", "RR": "\\mathbb{R}", "ZZ": "\\mathbb{Z}", "'": "'",
    "uarr": "\\uparrow ", "darr": "\\downarrow ", "rarr": "\\rightarrow ", "->": "\\to ", ">->": "\\rightarrowtail ",
    "->>": "\\twoheadrightarrow ", "|->": "\\mapsto ", "larr": "\\leftarrow ", "harr": "\\leftrightarrow ",
    "rArr": "\\Rightarrow ", "lArr": "\\Leftarrow ", "hArr": "\\Leftrightarrow ", "and": "\\text{ and }",
    "or": "\\text{ or }",
    "if": "\\text{if }", "quad": "\\quad ", "qquad": "\\qquad ", "aleph": "\\aleph ", "diamond": "\\diamond ",
    "square": "\\square ", "dx": "dx", "dy": "dy", "dz": "dz", "dt": "dt", "lcm": "\\operatorname{lcm}", ":=": ":=",
    "frown": "\\frown ", "setminus": "\\setminus ", "cdots": "\\cdots ", "vdots": "\\vdots ", "ddots": "\\ddots ",
    "mod": "\\bmod ", "abs": "", "%": "\\%", "#": "\\#", "$": "\\$", "&": "\\&", "epsi": "\\epsilon ",
}  # fmt: skip
_SAME = words("""alpha beta gamma Gamma delta Delta epsilon varepsilon zeta eta theta Theta vartheta iota kappa
lambda Lambda mu nu
xi Xi pi Pi rho sigma Sigma tau upsilon phi Phi varphi chi psi Psi omega Omega sum prod lim Lim sin cos tan sec csc cot
sinh cosh tanh log ln det dim gcd min max exp arcsin arccos arctan times div cdot le leq ge geq ne subset subseteq
supset
supseteq equiv approx cong propto infty partial nabla forall exists cap cup wedge vee oplus otimes odot to mapsto
rightarrow
leftarrow Rightarrow Leftarrow Leftrightarrow leftrightarrow circ pm emptyset notin ldots star ast prime therefore
because
neg top bot vdash models angle triangle""")
_UNARY = {
    "sqrt": "\\sqrt{%s}", "text": "\\text{%s}", "hat": "\\hat{%s}", "bar": "\\overline{%s}", "ul": "\\underline{%s}",
    "vec": "\\vec{%s}", "tilde": "\\tilde{%s}", "dot": "\\dot{%s}", "ddot": "\\ddot{%s}", "abs": "\\left|%s\\right|",
    "floor": "\\lfloor %s\\rfloor ", "ceil": "\\lceil %s\\rceil ", "norm": "\\|%s\\|", "overline": "\\overline{%s}",
    "underline": "\\underline{%s}", "ubrace": "\\underbrace{%s}", "obrace": "\\overbrace{%s}", "cancel": "\\cancel{%s}",
    "bb": "\\mathbf{%s}", "sf": "\\mathsf{%s}", "bbb": "\\mathbb{%s}", "cc": "\\mathcal{%s}", "tt": "\\mathtt{%s}",
    "fr": "\\mathfrak{%s}", "mathbf": "\\mathbf{%s}", "mathbb": "\\mathbb{%s}", "mathcal": "\\mathcal{%s}",
    "mathfrak": "\\mathfrak{%s}", "mathrm": "\\mathrm{%s}", "mbox": "\\text{%s}", "underbrace": "\\underbrace{%s}",
    "overbrace": "\\overbrace{%s}", "overarc": "\\overparen{%s}",
}  # fmt: skip
_BINARY = {
    "frac": "\\frac{%s}{%s}", "root": "\\sqrt[%s]{%s}", "stackrel": "\\overset{%s}{%s}", "overset": "\\overset{%s}{%s}",
    "underset": "\\underset{%s}{%s}", "color": "%.0s%s",
}  # fmt: skip
_OPEN = {
    "(": "(",
    "[": "[",
    "{": "\\{",
    "(:": "\\langle ",
    "<<": "\\langle ",
    "{:": ".",
    "|:": "|",
    "langle": "\\langle ",
}
_CLOSE = {
    ")": ")",
    "]": "]",
    "}": "\\}",
    ":)": "\\rangle ",
    ">>": "\\rangle ",
    ":}": ".",
    ":|": "|",
    "rangle": "\\rangle ",
}

_WORDS = sorted(
    {*_SYMBOLS, *_SAME, *_UNARY, *_BINARY, *_OPEN, *_CLOSE, "^", "_", "/", "|", ","},
    key=lambda word: (-len(word), word),
)
_TOKEN = re.compile(
    r'\s+|"(?P<quoted>[^"]*)"|(?P<text>(?:text|mbox)\s*\((?P<inside>[^()]*)\))'
    r"|(?P<number>\d+(?:\.\d+)?)|\\ |\\?(?P<word>" + "|".join(map(re.escape, _WORDS)) + r")|(?P<other>.)",
    re.DOTALL,
)
_FUNCTIONS = word_set("sin cos tan sec csc cot sinh cosh tanh log ln exp arcsin arccos arctan")


def asciimath_latex(source: str) -> str:
    """The LaTeX of an AsciiMath formula."""
    tokens: list[tuple[str, str]] = []
    for found in _TOKEN.finditer(source.strip()[:20_000]):
        if found["quoted"] is not None:
            tokens.append(("tex", f"\\text{{{found['quoted']}}}"))
        elif found["text"]:
            tokens.append(("tex", f"\\text{{{found['inside']}}}"))
        elif found["number"]:
            tokens.append(("tex", found["number"]))
        elif found["word"]:
            tokens.append(("word", found["word"]))
        elif found["other"]:
            tokens.append(("tex", found["other"]))
    parser = _Parser(tokens)
    out = ""
    while parser.place < len(tokens):
        out += parser.expression(0)
        if parser.place < len(tokens):  # a closing bracket that nothing opened
            word = parser.take()[1]
            out += _CLOSE.get(word, word)
    return " ".join(out.split())


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens
        self.place = 0

    def peek(self) -> str:
        return self.tokens[self.place][1] if self.place < len(self.tokens) and self._is_word() else ""

    def _is_word(self) -> bool:
        return self.tokens[self.place][0] == "word"

    def take(self) -> tuple[str, str]:
        self.place += 1
        return self.tokens[self.place - 1]

    def expression(self, depth: int, bar: bool = False) -> str:
        """Up to a closing bracket: scripts bind first, then ``/``."""
        out: list[str] = []
        while self.place < len(self.tokens) and self.peek() not in _CLOSE and not (bar and self.peek() == "|"):
            above = self._scripted(depth)
            if self.peek() == "/":
                self.take()
                below = self._scripted(depth)
                out.append(f"\\frac{{{_bare(above)}}}{{{_bare(below)}}}")
            else:
                out.append(above)
        return "".join(out)

    def _scripted(self, depth: int) -> str:
        base = self._simple(depth)
        sub = sup = ""
        if self.peek() == "_":
            self.take()
            sub = f"_{{{_bare(self._simple(depth))}}}"
        if self.peek() == "^":
            self.take()
            sup = f"^{{{_bare(self._simple(depth))}}}"
        return base.rstrip() + sub + sup if sub or sup else base

    def _simple(self, depth: int) -> str:
        if self.place >= len(self.tokens) or depth > _DEEPEST:
            self.place += depth > _DEEPEST
            return ""
        kind, token = self.take()
        if kind == "tex":
            return token
        if token in _OPEN:
            return self._bracket(token, depth)
        if token == "|":
            return self._bars(depth)
        if token in _UNARY:
            return _UNARY[token] % _bare(self._simple(depth + 1))
        if token in _BINARY:
            first = _bare(self._simple(depth + 1))
            return _BINARY[token] % (first, _bare(self._simple(depth + 1)))
        if token in _SYMBOLS:
            return _SYMBOLS[token]
        if token in _FUNCTIONS and self.peek() in _OPEN:
            return f"\\{token}{self._simple(depth + 1)}"
        return f"\\{token.lower() if token == 'Lim' else token} " if token in _SAME else token

    def _bars(self, depth: int) -> str:
        start = self.place
        inside = self.expression(depth + 1, bar=True)
        if self.peek() == "|":
            self.take()
            return f"\\left|{inside}\\right|"
        self.place = start
        return "|"

    def _bracket(self, opener: str, depth: int) -> str:
        start = self.place
        inside = self.expression(depth + 1)
        closer = ""
        if self.peek() in _CLOSE:
            closer = self.take()[1]
        matrix = self._matrix(start, opener, closer, depth)
        if matrix:
            return matrix
        left, right = _OPEN[opener], _CLOSE.get(closer, ".")
        if "\\frac" in inside or "." in (left, right):
            return f"\\left{left}{inside}\\right{right}"
        return f"{left}{inside}{right}"

    def _matrix(self, start: int, opener: str, closer: str, depth: int) -> str:
        """``[[a,b],[c,d]]``: rows of equal length in brackets of one kind."""
        inside = self.tokens[start : self.place - 1]
        if not closer or depth > 3 or not inside or inside[0][1] not in ("[", "(") or inside[0][0] != "word":
            return ""
        rows: list[list[list[tuple[str, str]]]] = []
        level = 0
        for kind, token in inside:
            if kind == "word" and token in _OPEN:
                level += 1
                if level == 1:
                    rows.append([[]])
                    continue
            elif kind == "word" and token in _CLOSE:
                level -= 1
                if level == 0:
                    continue
            if level == 0:
                if token != ",":
                    return ""
            elif level == 1 and token == ",":
                rows[-1].append([])
            else:
                rows[-1][-1].append((kind, token))
        if len({len(row) for row in rows}) != 1 or (len(rows) < 2 and opener == "("):
            return ""
        body = " \\\\ ".join(" & ".join(_Parser(cell).expression(depth + 1) for cell in row) for row in rows)
        name = {("(", ")"): "pmatrix", ("[", "]"): "bmatrix", ("{", ":}"): "cases"}.get((opener, closer), "matrix")
        if len(rows) < 2 and name != "bmatrix":
            return ""
        return f"\\begin{{{name}}} {body} \\end{{{name}}}"


def _bare(tex: str) -> str:
    """An argument without the brackets that only held it together."""
    tex = tex.strip()
    for left, right in (("(", ")"), ("[", "]"), ("\\{", "\\}"), ("\\left(", "\\right)"), ("\\left.", "\\right.")):
        if tex.startswith(left) and tex.endswith(right) and len(tex) >= len(left) + len(right):
            inside = tex[len(left) : -len(right)]
            if _closed(inside):
                return inside
    return tex


def _closed(tex: str) -> bool:
    depth = 0
    for char in re.sub(r"\\left[(\[|.]|\\right[)\]|.]", lambda m: "(" if "left" in m[0] else ")", tex):
        depth += (char in "([{") - (char in ")]}")
        if depth < 0:
            return False
    return depth == 0

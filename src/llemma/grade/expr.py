r"""The parser of expressions: builds a tree (``llemma.grade.node``) from the tokens of ``llemma.grade.latex``.

Reads what stands in final answers, LaTeX and plain: ``\frac12``, ``2\frac{3}{4}`` (mixed), ``\sqrt[3]{x}``,
``sin^2 x``, ``3sqrt(5)/7``, ``x**2``, ``\binom{n}{k}``, ``2 \pm \sqrt 3``. What it cannot read for certain
it refuses. Nothing is evaluated: ``9^{9^{9}}`` is a tree of three leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from llemma.grade.latex import END, MAX_DIGITS, Refused, Token
from llemma.grade.node import EULER, IMAGINARY, ONE, Node, number, tree
from llemma.grade.vocabulary import CHANGES, NO_PRODUCT, NUMERALS, SCALES, UNITS

MAX_DEPTH = 60  # nested groups, arguments and exponents
MAX_NODES = 2_000
MAX_HEIGHT = 100  # of a tree; walks over it take three frames of the stack a level


_VOWELS = frozenset("aeiouyAEIOUY")
_CALLED = frozenset("fgh")
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "sinh": "arsinh", "cosh": "arcosh", "tanh": "artanh",
            "sec": "arcsec", "csc": "arccsc", "cot": "arccot"}  # fmt: skip
_ALIAS = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arsinh", "acosh": "arcosh", "atanh": "artanh",
    "arcsinh": "arsinh", "arccosh": "arcosh", "arctanh": "artanh", "lg": "log", "sgn": "sign", "Gamma": "gamma",
}  # fmt: skip
_STARTS = frozenset(
    ("num", "sym", "word", "fn", "pi", "inf", "open", "{", "frac", "binom", "sqrt", "lfloor", "lceil", "sum", "prod",
     "accent", "prefix", "bar", "accent0")
)  # fmt: skip
_PAIRS = {"(": ")", "[": "]", r"\{": r"\}", r"\lbrack": r"\rbrack", r"\lparen": r"\rparen", r"\lbrace": r"\rbrace"}


def is_unit(token: Token) -> bool:
    """Whether a word can only be a unit where it stands behind a number."""
    if token.kind != "word":
        return False
    word = token.text
    if word in UNITS or word.lower() in UNITS:
        return True
    if word.lower() in CHANGES or word.lower() in SCALES:
        return False
    return token.text_mode or (token.spaced and len(word) >= 3 and not _VOWELS.isdisjoint(word))


class Parser:
    """A cursor over tokens. ``expression`` reads as far as an expression goes and leaves the rest."""

    def __init__(self, found: Sequence[Token]) -> None:
        self.tokens = list(found)
        self.at = 0
        self.depth = 0
        self.nodes = 0
        self.bars = 0
        self.bound: list[str] = []

    def peek(self, ahead: int = 0) -> Token:
        """The token ahead, or END."""
        at = self.at + ahead
        return self.tokens[at] if at < len(self.tokens) else END

    def take(self, *kinds: str) -> bool:
        """Step over the next token if it is of one of these kinds."""
        if self.peek().kind in kinds:
            self.at += 1
            return True
        return False

    def need(self, kind: str, text: str = "") -> Token:
        """The next token, which must be of this kind. Raises Refused."""
        token = self.peek()
        if token.kind != kind or (text and token.text != text):
            raise Refused(f"expected {text or kind}, found {token.text or 'the end'!r}")
        self.at += 1
        return token

    def node(self, op: str, *args: Node, value: Fraction | None = None, name: str = "") -> Node:
        """A new node; counts them. Raises Refused beyond MAX_NODES and MAX_HEIGHT."""
        self.nodes += 1
        if self.nodes > MAX_NODES:
            raise Refused(f"an expression of more than {MAX_NODES} parts")
        made = tree(op, args, value, name)
        if made.depth > MAX_HEIGHT:
            raise Refused(f"an expression of more than {MAX_HEIGHT} levels")
        return made

    def expression(self) -> Node:
        """A sum of terms. Raises Refused."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Refused(f"more than {MAX_DEPTH} nested groups")
        terms = [self.signed()]
        while self.peek().kind in ("+", "-", "pm"):
            token = self.peek()
            self.at += 1
            if self.peek() is END:
                raise Refused("it ends with a sign")
            term = self.signed()
            if token.kind == "-":
                term = self.node("neg", term)
            elif token.kind == "pm":
                term = self.node("pm", term, name="-" if token.text == r"\mp" else "+")
            terms.append(term)
        found = terms[0] if len(terms) == 1 else self.node("add", *terms)
        if self.peek().kind in ("choose", "over"):
            op = "binom" if self.peek().kind == "choose" else "div"
            self.at += 1
            found = self.node(op, found, self.expression())
        self.depth -= 1
        return found

    def signed(self) -> Node:
        """A term with the signs in front of it."""
        minus, plusminus = False, ""
        count = 0
        while self.peek().kind in ("+", "-", "pm"):
            token = self.peek()
            if token.kind == "pm":
                plusminus = "-" if token.text == r"\mp" else "+"
            minus ^= token.kind == "-"
            self.at += 1
            count += 1
            if count > 3:
                raise Refused("a row of signs")
        term = self.term()
        if minus:
            term = self.node("neg", term)
        return self.node("pm", term, name=plusminus) if plusminus else term

    def term(self) -> Node:
        """A product, quotients included: ``2\\pi/3`` and ``1/2x`` are read from left to right."""
        left = self.factor()
        while True:
            token = self.peek()
            if token.kind == "*":
                self.at += 1
                left = self.node("mul", left, self.sign_factor())
            elif token.kind == "/":
                if not self._continues(1):
                    return left
                self.at += 1
                left = self.node("div", left, self.sign_factor())
            elif token.kind == "mod":
                self.at += 1
                left = self.node("mod", left, self.factor())
            elif self._implicit(token):
                left = self.node("mul", left, self.factor())
            else:
                return left

    def sign_factor(self) -> Node:
        """A factor that may carry a sign: ``2 * -3``, ``x^{-2}`` written ``x^-2``."""
        if self.take("-"):
            return self.node("neg", self.factor())
        self.take("+")
        return self.factor()

    def _continues(self, ahead: int) -> bool:
        token = self.peek(ahead)
        return (token.kind in _STARTS and not is_unit(token)) or token.kind in ("-", "+")

    def _implicit(self, token: Token) -> bool:
        """Whether what follows is a factor without a sign in between."""
        if token.kind not in _STARTS or is_unit(token):
            return False
        if token.kind == "num":
            if self.at > 1 and self.tokens[self.at - 2].kind == "^":  # 2^6 3^5
                return token.spaced and self.peek(1).kind == "^"
            return self.tokens[self.at - 1].kind not in ("num", "sym") or (not token.spaced and self._after_symbol())
        if token.kind == "sym" and token.text_mode and token.text not in ("e", "i"):
            return False  # \text{m}: a unit
        if token.kind == "bar":
            return self.bars == 0 and self.at + 1 < len(self.tokens) and self._bar_closes()
        if token.kind == "word":
            return not token.text_mode and token.text.lower() not in CHANGES and token.text.lower() not in SCALES
        if token.kind == "open" and is_unit(self.peek(1)):
            return False  # 5 (cm)
        if token.kind == "frac" and self.peek(1).kind == "{" and is_unit(self.peek(2)):
            return False  # 5 \frac{\text{ft}}{\text{s}}
        return not (token.kind == "open" and token.text not in ("(", r"\lparen", "["))

    def _after_symbol(self) -> bool:
        return self.tokens[self.at - 1].kind == "sym"

    def _bar_closes(self) -> bool:
        return any(t.kind == "bar" for t in self.tokens[self.at + 1 :])

    def factor(self) -> Node:
        """An atom with what is attached to it: exponents, factorials, degree and percent signs."""
        base = self.atom()
        while True:
            token = self.peek()
            if token.kind == "^":
                after = self.peek(1)
                if after.kind in ("circ", "degree") or (after.kind == "{" and self.peek(2).kind in ("circ", "degree")):
                    self.at += 2
                    if after.kind == "{":
                        self.at += 1
                        self.need("}")
                    base = self.node("deg", base)
                    continue
                self.at += 1
                base = self.node("pow", base, self.script())
            elif token.kind == "!":
                self.at += 1
                base = self.node("fact", base)
                if self.peek().kind == "!":
                    raise Refused("a double factorial")
            elif token.kind == "pct":
                self.at += 1
                base = self.node("pct", base)
            elif token.kind in ("degree", "circ"):
                self.at += 1
                base = self.node("deg", base)
            else:
                return base

    def script(self) -> Node:
        """What stands after ``^``: a group, or one atom with a sign, exponents to the right first."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Refused(f"more than {MAX_DEPTH} nested exponents")
        minus = self.take("-")
        if not minus:
            self.take("+")
        inner = self.atom()
        if self.peek().kind == "^" and self.peek(1).kind not in ("circ", "degree"):
            self.at += 1
            inner = self.node("pow", inner, self.script())
        self.depth -= 1
        return self.node("neg", inner) if minus else inner

    def atom(self) -> Node:
        """The smallest pieces. Raises Refused."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Refused(f"more than {MAX_DEPTH} nested groups")
        found = self._atom()
        self.depth -= 1
        return found

    def _atom(self) -> Node:
        token = self.peek()
        kind = token.kind
        if kind == "num":
            return self._numeral()
        if kind in ("sym", "accent", "prefix"):
            return self._symbol()
        if kind == "open":
            return self._bracketed()
        self.at += 1
        if kind in ("pi", "inf"):
            return self.node("const", name=kind)
        if kind == "{":
            inner = self.expression()
            self.need("}")
            return inner
        if kind in ("frac", "binom"):
            return self.node("div" if kind == "frac" else "binom", self._argument(), self._argument())
        if kind == "sqrt":
            return self._root()
        if kind == "fn":
            return self._function(token.text)
        if kind in ("lfloor", "lceil"):
            inner = self.expression()
            self.need("r" + kind[1:])
            return self.node("fn", inner, name=kind[1:])
        if kind == "bar":
            self.bars += 1
            inner = self.expression()
            self.need("bar")
            self.bars -= 1
            return self.node("fn", inner, name="abs")
        if kind in ("sum", "prod"):
            return self._series(kind)
        if kind == "word":
            self.at -= 1
            return self._letters()
        if kind == "accent0":
            return self._argument()
        if kind == "money" and self.peek().kind == "num":
            return self._numeral()
        raise Refused(f"{token.text or 'the end'!r} is not expected here")

    def _numeral(self) -> Node:
        token = self.need("num")
        value = Fraction(_decimal(token.text))
        if self.peek().kind == "accent" and self.peek().text in (r"\overline", r"\bar", r"\dot"):
            repeated = self._repeating(token.text)
            if repeated is not None:
                return self.node("num", value=repeated)
        if self.peek().kind == "_":
            return self._based(token)
        whole = token.text.isdigit()
        mixed = self._mixed_part() if whole else None
        return self.node("num", value=value if mixed is None else value + mixed)

    def _mixed_part(self) -> Fraction | None:
        r"""The proper fraction of ``2\frac{3}{4}``, ``2\frac34`` or ``2 3/4``; ``None`` leaves everything as it was."""
        start = self.at
        top = bottom = None
        if self.peek().kind == "frac":
            self.at += 1
            parts = [self._plain_argument(), self._plain_argument()]
            top, bottom = parts
        elif self._spaced_fraction():
            top, bottom = self.peek().text, self.peek(2).text
            self.at += 3
        if top and bottom and top.isdigit() and bottom.isdigit() and int(top) < int(bottom):
            return Fraction(int(top), int(bottom))
        self.at = start
        return None

    def _spaced_fraction(self) -> bool:
        """Whether ``1/2`` follows, set off by a blank and with nothing attached: ``3 1/2``."""
        kinds = [self.peek(i).kind for i in range(3)]
        if kinds != ["num", "/", "num"] or not self.peek().spaced or self.peek(1).spaced:
            return False
        return self.peek(3).kind in ("end", "sep", "join", "word", "pct", "close", "pi")

    def _plain_argument(self) -> str | None:
        """The digits of one argument of ``\\frac``, or ``None`` when it holds anything else."""
        if self.peek().kind == "num":
            return self._digit()
        if self.peek().kind == "{" and self.peek(1).kind == "num" and self.peek(2).kind == "}":
            text = self.peek(1).text
            self.at += 3
            return text
        return None

    def _digit(self) -> str:
        """The first digit of a number that stands without braces; the others stay: ``\\frac12``."""
        token = self.need("num")
        if len(token.text) > 1 and token.text[0].isdigit() and "e" not in token.text.lower():
            self.tokens[self.at - 1] = token._replace(text=token.text[0])
            self.tokens.insert(self.at, Token("num", token.text[1:].lstrip(".") or "0"))
            return token.text[0]
        return token.text

    def _argument(self) -> Node:
        token = self.peek()
        if token.kind == "num":
            return self.node("num", value=Fraction(self._digit()))
        if token.kind == "-" or token.kind == "+":
            raise Refused("a sign where a command wants its argument")
        return self.atom()

    def _repeating(self, head: str) -> Fraction | None:
        r"""``0.1\overline{6}`` as an exact number."""
        start = self.at
        self.at += 1
        block = self._plain_argument() if self.peek().kind == "{" else None
        if block is None or not block.isdigit() or "e" in head.lower() or len(head) + len(block) > 400:
            self.at = start
            return None
        shift = 10 ** len(head.partition(".")[2])
        return _decimal(head) + Fraction(int(block), shift * (10 ** len(block) - 1))

    def _based(self, token: Token) -> Node:
        r"""``2516_8``: a numeral with its base."""
        self.at += 1
        base = self._plain_script().strip("()").lower()
        base = str(NUMERALS.get(base, base))
        whole, _, decimals = token.text.partition(".")
        digits = whole + decimals
        if (
            not (base.isascii() and base.isdigit() and 2 <= int(base[:3]) <= 36 and digits.isdigit())
            or len(digits) > 2_000
        ):
            raise Refused(f"{token.text[:40]}_{base[:40]} is not a numeral with a base")
        if any(int(digit) >= int(base) for digit in digits):
            raise Refused(f"{token.text[:40]} is not a numeral of base {base}")
        value = Fraction(int(digits, int(base)), int(base) ** len(decimals))
        return self.node("based", value=value, name=f"{token.text.lstrip('0')}_{int(base)}")

    def _plain_script(self) -> str:
        """The text of a subscript, as a part of a name."""
        if self.take("{"):
            parts: list[str] = []
            depth = 1
            while True:
                token = self.peek()
                if token is END:
                    raise Refused("a brace is not closed")
                self.at += 1
                depth += (token.kind == "{") - (token.kind == "}")
                if depth == 0:
                    return "".join(parts)
                parts.append(token.text if token.kind not in ("{", "}") else "")
        token = self.peek()
        if token is END:
            raise Refused("a subscript is missing")
        self.at += 1
        return token.text

    def _symbol(self) -> Node:
        token = self.peek()
        self.at += 1
        if token.kind in ("prefix", "accent"):
            name = token.text + "{" + self._plain_script() + "}"
        else:
            name = token.text
            if name == "i" and name not in self.bound and self.peek().kind != "_":
                return IMAGINARY
            if name == "e" and self.peek().kind != "_":
                return EULER
            if name == "I" and Token("*", "*") in (self.peek(), self.tokens[self.at - 2] if self.at > 1 else END):
                return IMAGINARY  # 3*I, as programs print it
            if name == "Gamma" and self.peek().text == "(":
                return self._function(name)
        if self.peek().kind == "_":
            self.at += 1
            name += "_" + self._plain_script()
        while self.peek().kind == "prime" or (self.peek().kind == "^" and self._primes()):
            self.at += 1
            name += "'"
            self.take("}") if self.tokens[self.at - 2].kind == "{" else None
        if (
            self.peek().kind == "open"
            and self.peek().text == "("
            and ((name[0] in _CALLED and len(name.strip("'")) <= 2) or self._at_a_number())
        ):
            return self._call(name)
        return self.node("sym", name=name)

    def _at_a_number(self) -> bool:
        """Whether ``(0)`` follows: ``v(0)`` is a value of v, nobody writes the product so."""
        return not self.peek().spaced and self.peek(1).kind == "num" and self.peek(2).kind == "close"

    def _primes(self) -> bool:
        """Step into ``^{\\prime}`` or ``^\\prime``, up to the prime itself."""
        ahead = 2 if self.peek(1).kind == "{" else 1
        if self.peek(ahead).kind != "prime":
            return False
        self.at += ahead
        return True

    def _call(self, name: str) -> Node:
        """A function of unknown rule; ``llemma.grade.value`` takes it for a product where the name is a variable."""
        self.need("open")
        args = [self.expression()]
        while self.take("sep"):
            args.append(self.expression())
        self.need("close")
        return self.node("call", *args, name=name)

    def _letters(self) -> Node:
        """A run of two or three letters may be a product; a longer one is a name only in capitals (``SRMC``)."""
        token = self.need("word")
        word = token.text
        if token.text_mode or not word.isalpha():
            raise Refused(f"{word!r} is a word, not mathematics")
        if len(word) > 3 and word.isupper():
            return self.node("sym", name=word)
        glued = self.at > 1 and self.tokens[self.at - 2].kind == "num" and not token.spaced  # 0.5at^2
        if not is_product(word, self.peek(), glued=glued):
            split = _known_prefix(word)
            if split is None:
                raise Refused(f"{word!r} is a word, not mathematics")
            head, tail = split
            self.at -= 1
            self.tokens[self.at : self.at + 1] = [head, *tail]
            return self.atom()
        letters = [Token("sym", letter) for letter in word]
        self.at -= 1
        self.tokens[self.at : self.at + 1] = letters  # a subscript or an exponent belongs to the last of them
        return self.atom()

    def _bracketed(self) -> Node:
        token = self.need("open")
        if [self.peek(i).kind for i in range(3)] == ["num", "close", "_"]:  # (1011)_2
            numeral = self.need("num")
            self.at += 1
            return self._based(numeral)
        inner = self.expression()
        closing = self.need("close")
        if _PAIRS.get(token.text) != closing.text or token.text in (r"\{", r"\lbrace"):
            raise Refused(f"{token.text} … {closing.text} is not an expression")
        return inner

    def _root(self) -> Node:
        degree = number(2)
        if self.peek().kind == "open" and self.peek().text == "[":
            self.at += 1
            degree = self.expression()
            self.need("close", "]")
        return self.node("root", degree, self.atom())

    def _function(self, name: str) -> Node:
        name = _ALIAS.get(name, name)
        if name in ("sqrt", "cbrt"):
            return self.node("root", number(2 if name == "sqrt" else 3), self.atom())
        base: Node | None = None
        power: Node | None = None
        if name == "log" and self.take("_"):
            base = self._argument()
        if self.peek().kind == "^":
            self.at += 1
            power = self.script()
            if power == tree("neg", (ONE,)) and name in _INVERSE:
                name, power = _INVERSE[name], None
        args = self._call_arguments()
        if name == "log" and base is not None:
            found = self.node("log", base, *args)
        elif name == "log" and len(args) == 2:
            found = self.node("log", args[1], args[0])
        elif name == "cis":
            parts = self.node("fn", *args, name="cos"), self.node("mul", IMAGINARY, self.node("fn", *args, name="sin"))
            found = self.node("add", *parts)
        elif name == "exp":
            found = self.node("pow", EULER, *args)
        else:
            found = self.node("fn", *args, name=name)
        return found if power is None else self.node("pow", found, power)

    def _call_arguments(self) -> list[Node]:
        r"""``(x)``, ``(a, b)``, ``{x}`` or the product that follows: ``\sin 2x``, ``\sin \frac{\pi}{6}``."""
        token = self.peek()
        if token.kind == "open" and token.text == "(":
            self.at += 1
            args = [self.expression()]
            while self.take("sep"):
                args.append(self.expression())
            self.need("close", ")")
            return args
        if token.kind == "{":
            return [self.factor()]
        minus = self.take("-")
        found = self.factor()
        while (self.peek().kind in ("num", "sym", "pi", "sqrt", "frac", "{") or self.peek().kind == "word") and not (
            is_unit(self.peek()) or self.peek().text_mode
        ):
            found = self.node("mul", found, self.factor())
        if self.peek().kind == "/" and _is_angle(found) and self.peek(1).kind == "num":
            self.at += 1
            found = self.node("div", found, self.factor())
        return [self.node("neg", found) if minus else found]

    def _series(self, kind: str) -> Node:
        r"""``\sum_{k=1}^{n} term``."""
        self.need("_")
        self.need("{")
        index = self.need("sym").text
        self.need("rel", "=")
        first = self.expression()
        self.need("}")
        self.need("^")
        last = self.script()
        self.bound.append(index)
        term = self.term()
        self.bound.pop()
        return self.node(kind, first, last, term, name=index)


def _is_angle(node: Node) -> bool:
    """Numbers and π only: ``\\sin \\pi/6`` is the sine of π/6, ``\\sin x/6`` is not that of x/6."""
    return node.op in ("num", "const") or (node.op == "mul" and all(_is_angle(arg) for arg in node.args))


_LETTERS = frozenset("abcdfghjkmnpqrstvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def is_product(word: str, after: Token, *, glued: bool = False) -> bool:
    """Whether a run of letters is a product of variables: short, and no word of the language, or glued to a number."""
    if len(word) > 3:  # 2mghR
        return glued and len(word) <= 6 and _VOWELS.isdisjoint(word)
    if word.lower() in NO_PRODUCT and word in (word.lower(), word.capitalize()) and not glued:  # but mR
        return False
    if _LETTERS.issuperset(word):
        return True
    if len(word) == 2 and "i" in word:  # a + bi
        return True
    return word[-1] == "e" and after.kind == "^" and _LETTERS.issuperset(word[:-1])  # xe^x


def _known_prefix(word: str) -> tuple[Token, list[Token]] | None:
    """``sqrtx``, ``pir``: a known name in front of at most two letters."""
    for name in ("pi", "sin", "cos", "tan", "ln", "log", "sqrt"):
        token = Token("pi" if name == "pi" else "fn", name)
        rest = word[len(name) :]
        if word.startswith(name) and 0 < len(rest) <= 2:
            return token, [Token("sym", letter) for letter in rest]
    return None


def _decimal(text: str) -> Fraction:
    """The exact value of a numeral with an optional exponent. Raises Refused for a value of absurd size."""
    mantissa, _, exponent = text.lower().partition("e")
    if exponent and abs(int(exponent[:9])) > MAX_DIGITS:
        raise Refused(f"an exponent of {exponent}")
    whole, _, decimals = mantissa.partition(".")
    value = Fraction(int((whole + decimals) or "0"), 10 ** len(decimals))
    return value * Fraction(10) ** int(exponent) if exponent else value

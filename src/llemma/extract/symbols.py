"""Characters to LaTeX: what ``∑``, ``𝒜`` or ``≤`` is called in a formula.

One table for MathML and for the HTML that KaTeX and MathJax leave behind. Characters without a name stay themselves.
"""

from __future__ import annotations

import functools
import unicodedata

from llemma.extract.words import word_set

# "character name" pairs; a name is a LaTeX command without its backslash.
_COMMANDS = """
α alpha β beta γ gamma δ delta ϵ epsilon ε varepsilon ζ zeta η eta θ theta ϑ vartheta ι iota κ kappa ϰ varkappa
λ lambda μ mu µ mu ν nu ξ xi π pi ϖ varpi ρ rho ϱ varrho σ sigma ς varsigma τ tau υ upsilon ϕ phi φ varphi χ chi ψ psi
ω omega ϝ digamma Γ Gamma Δ Delta Θ Theta Λ Lambda Ξ Xi Π Pi Σ Sigma Υ Upsilon Φ Phi Ψ Psi Ω Omega Ω Omega ∆ Delta
∑ sum ∏ prod ∐ coprod ∫ int ∬ iint ∭ iiint ∮ oint ∯ oiint ∰ oiiint ⋂ bigcap ⋃ bigcup ⋀ bigwedge ⋁ bigvee
⨀ bigodot ⨁ bigoplus ⨂ bigotimes ⨄ biguplus ⨆ bigsqcup √ surd
± pm ∓ mp × times ÷ div ∗ ast ⋆ star ∘ circ ∙ bullet • bullet ⋅ cdot · cdot ∩ cap ∪ cup ⊎ uplus ⊓ sqcap ⊔ sqcup
∨ vee ∧ wedge ∖ setminus ≀ wr ⋄ diamond △ triangle ▽ triangledown ◃ triangleleft ▹ triangleright ⊲ vartriangleleft
⊳ vartriangleright ⊴ trianglelefteq ⊵ trianglerighteq ⊕ oplus ⊖ ominus ⊗ otimes ⊘ oslash ⊙ odot ◯ bigcirc † dagger
‡ ddagger ⨿ amalg ⊞ boxplus ⊟ boxminus ⊠ boxtimes ⊡ boxdot ⊺ intercal ⋇ divideontimes ⋉ ltimes ⋊ rtimes ∔ dotplus
⊼ barwedge ⊻ veebar ⋋ leftthreetimes ⋌ rightthreetimes ⋎ curlyvee ⋏ curlywedge ⋒ Cap ⋓ Cup ⊛ circledast ⊚ circledcirc
⊝ circleddash ⋗ gtrdot ⋖ lessdot
≤ leq ≥ geq ≦ leqq ≧ geqq ⩽ leqslant ⩾ geqslant ≠ neq ≡ equiv ≢ not\\equiv ∼ sim ≁ nsim ≃ simeq ≄ not\\simeq ≅ cong
≆ ncong ≇ ncong ≈ approx ≉ not\\approx ≊ approxeq ≍ asymp ≐ doteq ≑ doteqdot ≒ fallingdotseq ≓ risingdotseq ∝ propto
≺ prec ≻ succ ⪯ preceq ⪰ succeq ≼ preccurlyeq ≽ succcurlyeq ≪ ll ≫ gg ⋘ lll ⋙ ggg ⊂ subset ⊃ supset ⊆ subseteq
⊇ supseteq ⊄ not\\subset ⊅ not\\supset ⊈ nsubseteq ⊉ nsupseteq ⊊ subsetneq ⊋ supsetneq ⫅ subseteqq ⫆ supseteqq
⋐ Subset ⋑ Supset ⊏ sqsubset ⊐ sqsupset ⊑ sqsubseteq ⊒ sqsupseteq ∈ in ∉ notin ∋ ni ∌ not\\ni ⊢ vdash ⊣ dashv
⊨ models ⊩ Vdash ⊪ Vvdash ⊭ nvDash ⊬ nvdash ⊮ nVdash ⊯ nVDash ∣ mid ∤ nmid ∥ parallel ∦ nparallel ⊥ perp ⟂ perp
⌣ smile ⌢ frown ⋈ bowtie ≬ between ⋔ pitchfork ≜ triangleq ≗ circeq ≖ eqcirc ≏ bumpeq ≎ Bumpeq ≲ lesssim ≳ gtrsim
≶ lessgtr ≷ gtrless ⋚ lesseqgtr ⋛ gtreqless ≮ nless ≯ ngtr ≰ nleq ≱ ngeq ⊀ nprec ⊁ nsucc ⪇ lneq ⪈ gneq ≨ lneqq
≩ gneqq ⋦ lnsim ⋧ gnsim ≔ coloneqq ≕ eqqcolon ⩴ Coloneqq ∽ backsim ⋍ backsimeq ∴ therefore ∵ because ⩵ Equal
⪅ lessapprox ⪆ gtrapprox ≾ precsim ≿ succsim ⋞ curlyeqprec ⋟ curlyeqsucc
← leftarrow → rightarrow ↑ uparrow ↓ downarrow ↔ leftrightarrow ↕ updownarrow ⇐ Leftarrow ⇒ Rightarrow ⇑ Uparrow
⇓ Downarrow ⇔ Leftrightarrow ⇕ Updownarrow ↦ mapsto ⟵ longleftarrow ⟶ longrightarrow ⟷ longleftrightarrow
⟸ Longleftarrow ⟹ Longrightarrow ⟺ Longleftrightarrow ⟼ longmapsto ↩ hookleftarrow ↪ hookrightarrow ↼ leftharpoonup
↽ leftharpoondown ⇀ rightharpoonup ⇁ rightharpoondown ⇌ rightleftharpoons ⇋ leftrightharpoons ↗ nearrow ↘ searrow
↙ swarrow ↖ nwarrow ↠ twoheadrightarrow ↞ twoheadleftarrow ↣ rightarrowtail ↢ leftarrowtail ⇝ rightsquigarrow
↝ leadsto ↛ nrightarrow ↚ nleftarrow ⇏ nRightarrow ⇍ nLeftarrow ↮ nleftrightarrow ⇎ nLeftrightarrow ⇉ rightrightarrows
⇇ leftleftarrows ⇄ rightleftarrows ⇆ leftrightarrows ⇈ upuparrows ⇊ downdownarrows ↾ upharpoonright ↿ upharpoonleft
⇂ downharpoonright ⇃ downharpoonleft ↻ circlearrowright ↺ circlearrowleft ↷ curvearrowright ↶ curvearrowleft ↱ Rsh
↰ Lsh ↫ looparrowleft ↬ looparrowright ⇛ Rrightarrow ⇚ Lleftarrow ⊸ multimap ⇢ dashrightarrow ⇠ dashleftarrow
∞ infty ∂ partial ∇ nabla ∀ forall ∃ exists ∄ nexists ∅ emptyset ⌀ varnothing ¬ neg ∠ angle ∡ measuredangle
∢ sphericalangle ⊤ top ℏ hbar ℓ ell ℘ wp ℜ Re ℑ Im ℵ aleph ℶ beth ℷ gimel ℸ daleth ð eth ∁ complement ′ prime
‵ backprime □ square ■ blacksquare ◊ lozenge ⧫ blacklozenge ▲ blacktriangle ▼ blacktriangledown ★ bigstar
♣ clubsuit ♢ diamondsuit ♡ heartsuit ♠ spadesuit ♭ flat ♮ natural ♯ sharp ✓ checkmark ℧ mho Ⅎ Finv ⅁ Game Ⓢ circledS
® circledR ¥ yen £ pounds § S ¶ P © copyright ∎ blacksquare
… ldots ⋯ cdots ⋮ vdots ⋱ ddots ⟨ langle ⟩ rangle 〈 langle 〉 rangle ⌈ lceil ⌉ rceil ⌊ lfloor ⌋ rfloor ‖ Vert
⟦ llbracket ⟧ rrbracket ⟮ lgroup ⟯ rgroup ⎰ lmoustache ⎱ rmoustache ⌜ ulcorner ⌝ urcorner ⌞ llcorner ⌟ lrcorner
ı imath ȷ jmath ƛ lambda
"""

# Characters written otherwise than as a command.
_OTHER = {
    "−": "-", "–": "-", "‐": "-", "‑": "-", "—": "-", "∕": "/", "⁄": "/", "∶": ":", "∷": "::", "ˆ": "\\hat{}",
    "″": "''", "‴": "'''", "⁗": "''''", "’": "'", "‘": "`", "“": "``", "”": "''", "∣": "\\mid ",
    "\u2061": "", "\u2062": "", "\u2063": "", "\u2064": "", "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "",
    "\ufeff": "", "\xa0": " ", "\u2009": "\\, ", "\u200a": "\\, ", "\u2006": "\\, ", "\u2005": "\\: ",
    "\u2004": "\\; ", "\u2002": "\\enspace ", "\u2003": "\\quad ", "\u202f": "\\, ", "\u205f": "\\: ",
    "#": "\\#", "%": "\\%", "&": "\\&", "_": "\\_", "$": "\\$", "{": "\\{", "}": "\\}", "\\": "\\backslash ",
    "~": "\\sim ", "^": "\\hat{}", "°": "^{\\circ}", "²": "^{2}", "³": "^{3}", "¹": "^{1}", "½": "\\frac{1}{2}",
    "¼": "\\frac{1}{4}", "¾": "\\frac{3}{4}", "ℎ": "h", "⊧": "\\models ", "≠": "\\neq ", "⩾": "\\geqslant ",
    "∤": "\\nmid ",
    "⟪": "\\langle\\langle ", "⟫": "\\rangle\\rangle ", "ⅆ": "d", "ⅇ": "e", "ⅈ": "i", "ⅉ": "j", "ⅅ": "D",
    "≝": "\\overset{\\text{def}}{=}", "≟": "\\overset{?}{=}", "⩵": "==", "∎": "\\blacksquare ",
    "⟦": "[\\![", "⟧": "]\\!]", "∊": "\\in ", "∍": "\\ni ", "╲": "\\backslash ", "╱": "/",
}  # fmt: skip

COMMAND: dict[str, str] = dict(zip((_words := _COMMANDS.split())[::2], _words[1::2], strict=True))
_TABLE = {char: f"\\{name} ".replace("\\\\", "\\") for char, name in COMMAND.items()} | _OTHER
_TRANSLATE = str.maketrans(_TABLE)

# What stands on a base as an accent, by its character: the narrow and the stretched command.
ACCENTS = {
    "^": ("hat", "widehat"), "ˆ": ("hat", "widehat"), "\u0302": ("hat", "widehat"),
    "~": ("tilde", "widetilde"), "˜": ("tilde", "widetilde"), "∼": ("tilde", "widetilde"), "\u0303": ("tilde",
    "widetilde"),
    "¯": ("bar", "overline"), "ˉ": ("bar", "overline"), "‾": ("overline", "overline"), "―": ("overline", "overline"),
    "\u0304": ("bar", "overline"), "\u0305": ("overline", "overline"), "_": ("overline", "overline"),
    "-": ("bar", "overline"), "−": ("bar", "overline"), "–": ("bar", "overline"),
    "→": ("vec", "overrightarrow"), "⃗": ("vec", "overrightarrow"), "⇀": ("vec", "overrightharpoon"),
    "←": ("overleftarrow", "overleftarrow"), "↔": ("overleftrightarrow", "overleftrightarrow"),
    "˙": ("dot", "dot"), "\u0307": ("dot", "dot"), ".": ("dot", "dot"), "¨": ("ddot", "ddot"), "\u0308": ("ddot",
    "ddot"),
    "..": ("ddot", "ddot"), "⃛": ("dddot", "dddot"), "…": ("dddot", "dddot"), "⃜": ("ddddot", "ddddot"),
    "´": ("acute", "acute"), "ˊ": ("acute", "acute"), "\u0301": ("acute", "acute"), "`": ("grave", "grave"),
    "ˋ": ("grave", "grave"), "\u0300": ("grave", "grave"), "˘": ("breve", "breve"), "\u0306": ("breve", "breve"),
    "ˇ": ("check", "widecheck"), "\u030c": ("check", "widecheck"), "˚": ("mathring", "mathring"),
    "\u030a": ("mathring", "mathring"), "°": ("mathring", "mathring"),
    "⏞": ("overbrace", "overbrace"), "︷": ("overbrace", "overbrace"), "⏜": ("overparen", "overparen"),
    "⎴": ("overbracket", "overbracket"),
}  # fmt: skip
UNDER = {
    "⏟": "underbrace", "︸": "underbrace", "_": "underline", "‾": "underline", "¯": "underline", "\u0332": "underline",
    "―": "underline", "→": "underrightarrow", "←": "underleftarrow", "↔": "underleftrightarrow", "⏝": "underparen",
    "⎵": "underbracket", "~": "utilde", "˜": "utilde", "-": "underline", "−": "underline", "–": "underline",
    "ˉ": "underline", "\u0331": "underline",
}  # fmt: skip

FUNCTIONS = word_set("""arccos arcsin arctan arg cos cosh cot coth csc deg det dim exp gcd hom inf ker lg lim
liminf limsup
ln log max min
    Pr sec sin sinh sup tan tanh injlim projlim arctg ctg tg cotg sh ch th cth cosec""")

# Words of a character's Unicode name → the command that sets its letter in that style.
_STYLES = (
    ("BOLD SCRIPT", "\\boldsymbol{\\mathcal{%s}}"), ("SCRIPT", "\\mathcal{%s}"), ("BOLD FRAKTUR",
    "\\boldsymbol{\\mathfrak{%s}}"),
    ("FRAKTUR", "\\mathfrak{%s}"), ("BLACK-LETTER", "\\mathfrak{%s}"), ("DOUBLE-STRUCK", "\\mathbb{%s}"),
    ("SANS-SERIF BOLD", "\\mathsf{\\mathbf{%s}}"), ("SANS-SERIF", "\\mathsf{%s}"), ("MONOSPACE", "\\mathtt{%s}"),
    ("BOLD ITALIC", "\\boldsymbol{%s}"), ("BOLD", "\\mathbf{%s}"), ("ITALIC", "%s"),
)  # fmt: skip


def latex(text: str) -> str:
    """The characters of ``text`` as LaTeX mathematics; a command ends with a space where a letter could follow."""
    if text.isascii() and text.isalnum():
        return text
    if text.isascii():
        return text.translate(_TRANSLATE)
    return "".join(_char(char) for char in text)


@functools.lru_cache(maxsize=4096)
def _char(char: str) -> str:
    if char in _TABLE:
        return _TABLE[char]
    if char < "\u0300":
        return char
    name = unicodedata.name(char, "")
    plain = unicodedata.normalize("NFKC", char)
    if name.startswith("MATHEMATICAL ") or "DOUBLE-STRUCK" in name or "SCRIPT " in name or "BLACK-LETTER" in name:
        for words, form in _STYLES:
            if words in name and len(plain) == 1:
                return form % latex(plain).strip() if form != "%s" else latex(plain)
    if name.startswith("SUPERSCRIPT "):
        return f"^{{{plain}}}"
    if name.startswith("SUBSCRIPT "):
        return f"_{{{plain}}}"
    if unicodedata.combining(char):
        return ""
    return char


def text_mode(text: str) -> str:
    """Characters inside ``\\text{…}``: only what LaTeX would read as a command is escaped."""
    return "".join(_TEXT.get(char, char) for char in text)


_TEXT = {
    "$": "\\$", "%": "\\%", "&": "\\&", "#": "\\#", "_": "\\_", "{": "\\{", "}": "\\}", "\\": "\\textbackslash ",
    "^": "\\textasciicircum ", "~": "\\textasciitilde ", "\xa0": " ", "\u200b": "", "\u2009": " ", "\u2003": " ",
}  # fmt: skip

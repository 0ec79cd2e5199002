"""Names that LaTeX itself gives, as data: what is never written out, what takes an argument, what is layout."""

from __future__ import annotations

# Commands every reader of LaTeX knows. A paper that redefines one changes how it looks, not what it says.
_STRUCTURE = """
part chapter section subsection subsubsection paragraph subparagraph appendix title author date thanks maketitle
abstract tableofcontents listoffigures listoftables caption label ref eqref pageref cref Cref autoref cite citep
citet citealt citealp citeauthor citeyear nocite bibliography bibliographystyle bibitem footnote footnotetext
footnotemark item begin end input include usepackage documentclass text textbf textit emph textrm textsf texttt
textsc mbox hbox item itemize enumerate description figure table equation document par newline newpage clearpage
baselinestretch arraystretch thefootnote theequation thesection thesubsection thesubsubsection thefigure
thetable thepage thetheorem theenumi theenumii theenumiii labelenumi labelenumii labelenumiii labelitemi
labelitemii abstractname refname bibname figurename tablename contentsname appendixname proofname sectionmark
subsectionmark chaptermark sectionautorefname theoremautorefname headrulewidth footrulewidth topfraction
bottomfraction textfraction floatpagefraction dbltopfraction dblfloatpagefraction qedsymbol qedhere qed proof
endproof theorem endtheorem markboth markright address email keywords subjclass left right big Big bigg Bigg
frac sqrt sum prod int newcommand renewcommand def let today normalsize small footnotesize large Large today
lstlistingname UrlFont arraycolsep tabcolsep parindent parskip textwidth textheight topmargin oddsidemargin
evensidemargin baselineskip relax hfill hspace vspace noindent centering url href includegraphics verb newblock
bm boldsymbol mathbb mathcal mathrm mathbf mathfrak mathsf mathit mathscr operatorname ensuremath xspace
"""
STRUCTURE = frozenset(_STRUCTURE.split())

_ENVIRONMENTS = """
abstract proof theorem lemma proposition corollary definition remark example conjecture claim exercise problem
document figure figure* table table* tabular tabular* array equation equation* align align* gather gather*
multline multline* eqnarray eqnarray* split cases matrix pmatrix bmatrix vmatrix Vmatrix smallmatrix itemize
enumerate description list quote quotation center flushleft flushright minipage thebibliography appendix
appendices verbatim comment lstlisting tikzpicture tikzcd displaymath math subequations aligned gathered
titlepage
"""
ENVIRONMENTS = frozenset(_ENVIRONMENTS.split())

# Commands of mathematics that take the next token as their argument: \hat\R is \hat{\mathbb{R}}.
_TAKES_ARGUMENT = """
frac dfrac tfrac cfrac binom dbinom tbinom sqrt overline underline hat widehat bar tilde widetilde vec dot ddot
check breve acute grave mathring overrightarrow overleftarrow overbrace underbrace mathbf mathrm mathcal mathbb
mathfrak mathsf mathit mathscr mathtt boldsymbol bm text textbf textit textrm textsf textsc emph operatorname
mathop mathrel mathbin mathord mathopen mathclose mathpunct overset underset stackrel substack phantom hphantom
vphantom smash boxed xrightarrow xleftarrow
"""
TAKES_ARGUMENT = frozenset(_TAKES_ARGUMENT.split())

_BARE = """
maketitle tableofcontents listoffigures listoftables newpage clearpage cleardoublepage pagebreak nopagebreak
bigskip medskip smallskip noindent indent phantomsection centering raggedright raggedleft sloppy fussy vfill
vfil bigbreak medbreak smallbreak linebreak frontmatter mainmatter backmatter onecolumn twocolumn
allowdisplaybreaks FloatBarrier balance singlespacing doublespacing onehalfspacing printindex makeindex
selectfont
"""
_WITH_ONE = """
vspace pagestyle thispagestyle pagenumbering enlargethispage bibliographystyle hypersetup graphicspath
includegraphics epsfbox epsfig psfig markright addtocontents hyphenation linespread theoremstyle thanksref
nocite listfiles captionsetup
"""
_WITH_TWO = """
setcounter addtocounter setlength addtolength markboth fontsize numberwithin counterwithin settowidth
"""

# Page layout: command -> number of groups that go with it. A star and an option in brackets go too.
LAYOUT = {
    **dict.fromkeys(_BARE.split(), 0),
    **dict.fromkeys(_WITH_ONE.split(), 1),
    **dict.fromkeys(_WITH_TWO.split(), 2),
    "addcontentsline": 3,
}

_PEOPLE = """
author address affiliation altaffiliation affil email date thanks institute institution authorrunning
titlerunning curraddr urladdr dedicatory orcid orcidID homepage noaffiliation collaboration preprint pacs
shortauthors shorttitle authornote authornotemark city country state streetaddress postcode department
correspondingauthor ead cortext corauth received revised accepted published icmlauthor icmlaffiliation
icmltitlerunning acknowledgementsname tnotetext fntext subjclass translator
"""

# The front matter that names people: command -> number of groups.
PEOPLE = {**dict.fromkeys(_PEOPLE.split(), 1), "icmlcorrespondingauthor": 2, "icmlsetsymbol": 2}

PICTURES = frozenset(
    ("tikzpicture", "pgfpicture", "pspicture", "pspicture*", "picture", "axis", "overpic", "asy", "asydef")
)
REFERENCES = frozenset(("thebibliography", "references", "REFERENCES"))

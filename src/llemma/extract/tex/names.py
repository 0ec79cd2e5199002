"""Names that LaTeX itself gives, as data: what is never written out, what takes an argument, what is layout."""

from __future__ import annotations

# Commands every reader of LaTeX knows. A paper that redefines one changes how it looks, not what it says.
STRUCTURE = frozenset(
    """
    part chapter section subsection subsubsection paragraph subparagraph appendix title author date thanks maketitle
    abstract tableofcontents listoffigures listoftables caption label ref eqref pageref cref Cref autoref cite citep
    citet citealt citealp citeauthor citeyear nocite bibliography bibliographystyle bibitem footnote footnotetext
    footnotemark item begin end input include usepackage documentclass text textbf textit emph textrm textsf texttt
    textsc mbox hbox item itemize enumerate description figure table equation document par newline newpage clearpage
    baselinestretch arraystretch thefootnote theequation thesection thesubsection thesubsubsection thefigure thetable
    thepage thetheorem theenumi theenumii theenumiii labelenumi labelenumii labelenumiii labelitemi labelitemii
    abstractname refname bibname figurename tablename contentsname appendixname proofname sectionmark subsectionmark
    chaptermark sectionautorefname theoremautorefname headrulewidth footrulewidth topfraction bottomfraction textfraction
    floatpagefraction dbltopfraction dblfloatpagefraction qedsymbol qedhere qed proof endproof theorem endtheorem
    markboth markright address email keywords subjclass left right big Big bigg Bigg frac sqrt sum prod int
    newcommand renewcommand def let today normalsize small footnotesize large Large today lstlistingname UrlFont
    arraycolsep tabcolsep parindent parskip textwidth textheight topmargin oddsidemargin evensidemargin baselineskip
    relax hfill hspace vspace noindent centering url href includegraphics verb newblock bm boldsymbol mathbb mathcal
    mathrm mathbf mathfrak mathsf mathit mathscr operatorname ensuremath xspace
    """.split()
)

ENVIRONMENTS = frozenset(
    """
    abstract proof theorem lemma proposition corollary definition remark example conjecture claim exercise problem
    document figure figure* table table* tabular tabular* array equation equation* align align* gather gather* multline
    multline* eqnarray eqnarray* split cases matrix pmatrix bmatrix vmatrix Vmatrix smallmatrix itemize enumerate
    description list quote quotation center flushleft flushright minipage thebibliography appendix appendices verbatim
    comment lstlisting tikzpicture tikzcd displaymath math subequations aligned gathered titlepage
    """.split()
)

# Commands of mathematics that take the next token as their argument: \hat\R is \hat{\mathbb{R}}.
TAKES_ARGUMENT = frozenset(
    """
    frac dfrac tfrac cfrac binom dbinom tbinom sqrt overline underline hat widehat bar tilde widetilde vec dot ddot check
    breve acute grave mathring overrightarrow overleftarrow overbrace underbrace mathbf mathrm mathcal mathbb mathfrak
    mathsf mathit mathscr mathtt boldsymbol bm text textbf textit textrm textsf textsc emph operatorname mathop mathrel
    mathbin mathord mathopen mathclose mathpunct overset underset stackrel substack phantom hphantom vphantom smash
    boxed xrightarrow xleftarrow
    """.split()
)

# Page layout: command -> number of groups that go with it. A star and an option in brackets go too.
LAYOUT = {
    **dict.fromkeys(
        """
        maketitle tableofcontents listoffigures listoftables newpage clearpage cleardoublepage pagebreak nopagebreak
        bigskip medskip smallskip noindent indent phantomsection centering raggedright raggedleft sloppy fussy vfill vfil
        bigbreak medbreak smallbreak linebreak frontmatter mainmatter backmatter onecolumn twocolumn allowdisplaybreaks
        FloatBarrier balance singlespacing doublespacing onehalfspacing printindex makeindex
        """.split(),
        0,
    ),
    **dict.fromkeys(
        """
        vspace pagestyle thispagestyle pagenumbering enlargethispage bibliographystyle hypersetup graphicspath
        includegraphics epsfbox epsfig psfig markright addtocontents hyphenation linespread theoremstyle
        thanksref nocite listfiles captionsetup
        """.split(),
        1,
    ),
    **dict.fromkeys(
        "setcounter addtocounter setlength addtolength markboth fontsize numberwithin counterwithin settowidth".split(),
        2,
    ),
    "addcontentsline": 3,
    "selectfont": 0,
}

# The front matter that names people: command -> number of groups.
PEOPLE = {
    **dict.fromkeys(
        """
        author address affiliation altaffiliation affil email date thanks institute institution authorrunning titlerunning
        curraddr urladdr dedicatory orcid orcidID homepage noaffiliation collaboration preprint pacs shortauthors
        shorttitle authornote authornotemark city country state streetaddress postcode department running
        correspondingauthor ead cortext corauth received revised accepted published icmlauthor icmlaffiliation
        icmltitlerunning acknowledgementsname tnotetext fntext subjclass translator
        """.split(),
        1,
    ),
    "icmlcorrespondingauthor": 2,
    "icmlsetsymbol": 2,
}

PICTURES = frozenset("tikzpicture pgfpicture pspicture pspicture* picture axis overpic asy pyconsole".split())
REFERENCES = frozenset("thebibliography references REFERENCES".split())

"""LaTeX to text: the bug table of the arXiv cleaner it replaces, macros, files, encodings, and what is hostile."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llemma.extract.tex import Paper, Refusal, TexOptions, clean_paper, clean_text, extract_tex
from llemma.extract.tex.decode import decode
from llemma.extract.tex.flatten import Flattener
from llemma.extract.tex.project import Limits, inflate, open_project, read_folder

COMPAT = TexOptions(profile="redpajama")


def paper(preamble: str, body: str, **files: str) -> str:
    """The text of a paper with this preamble and body, and ``name__part.tex`` for files in folders."""
    main = f"\\documentclass{{article}}\n{preamble}\n\\begin{{document}}\n{body}\n\\end{{document}}\n"
    rest = {f"{name.replace('__', '/')}.tex": text.encode() for name, text in files.items()}
    found = clean_paper({"main.tex": main.encode(), **rest})
    assert isinstance(found, Paper)
    return found.text


def flat(text: str) -> str:
    """``text`` as one file, comments gone, held parts back in."""
    flattener = Flattener({"main.tex": text.encode()})
    return flattener.flat.held.restore(flattener.read("main.tex"))


# --- the bug table -------------------------------------------------------------------------------------------------

# What RedPajama's cleaner gets wrong: name, preamble, body, what must be in the text, what must not.
TABLE = [
    ("only a paragraph", "", r"\paragraph{One} Text.", r"\paragraph{One} Text.", None),
    ("only a subparagraph", "", r"\subparagraph{One} Text.", r"\subparagraph{One} Text.", None),
    ("two macros in a row", r"\newcommand{\R}{\mathbb{R}}", r"$\R\R$", r"$\mathbb{R}\mathbb{R}$", r"\R"),
    ("a name with an accent", r"\newcommand{\erdos}{Erdős}", r"By \erdos.", "By Erdős.", r"\erdos"),
    ("a macro of one defined before", "\\def\\R{\\mathbb{R}}\n\\def\\V{\\R^n}", r"$\V$", r"$\mathbb{R}^n$", r"\R"),
    ("newcommand without braces", r"\newcommand\R{\mathbb{R}}", r"$\R$", r"$\mathbb{R}$", r"\R"),
    ("renewcommand", r"\renewcommand{\Re}{\operatorname{Re}}", r"$\Re z$", r"$\operatorname{Re} z$", r"\Re"),
    ("providecommand", r"\providecommand{\eps}{\varepsilon}", r"$\eps$", r"$\varepsilon$", r"\eps"),
    ("an operator", r"\DeclareMathOperator{\Hom}{Hom}", r"$\Hom(A)$", r"$\operatorname{Hom}(A)$", r"\Hom"),
    ("an operator with limits", r"\DeclareMathOperator*{\am}{arg\,min}", r"$\am_x$", r"*{arg\,min}_x", None),
    ("an argument", r"\newcommand{\norm}[1]{\|#1\|}", r"$\norm{x_{\norm{y}}}$", r"$\|x_{\|y\|}\|$", r"\norm"),
    ("an optional argument", r"\newcommand{\ip}[2][x]{(#1,#2)}", r"$\ip{y}\ip[a]{b}$", "$(x,y)(a,b)$", r"\ip"),
    ("abstract", "", "\\begin{abstract}We prove it.\\end{abstract}\n\\section{A} B", "We prove it.", None),
    ("a comment behind a word", "", "\\section{A} a word% note\n and more", "a word", "note"),
    ("a comment behind a break", "", "\\section{A} a \\\\% c\nb", "a \\\\\nb", "% c"),
    ("a bare comment sign", "", "\\section{A} x %\ny", "x\ny", "%"),
    ("a comment environment", "", "\\section{A} a\n\\begin{comment}\nhid\n\\end{comment}\nb", "a\nb", "hid"),
    ("an address", "", r"\section{A} See \url{http://a.org/a%20b} there.", r"\url{http://a.org/a%20b} there.", None),
    ("a section in a comment", "", "Before.\n%\\section{old}\nText.\n\\section{A}", "Before.\nText.", "old"),
    ("appendixname in prose", "", r"\section{A} In \appendixname{} B we see.", "B we see.", None),
    ("printbibliography", "", "\\section{A} Text.\n\\printbibliography\n", "Text.", "printbibliography"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("preamble", "body", "wanted", "unwanted"), [row[1:] for row in TABLE], ids=[r[0] for r in TABLE]
)
def test_the_bug_table(preamble, body, wanted, unwanted):
    text = paper(preamble, body)
    assert wanted in text
    assert unwanted is None or unwanted not in text.replace(r"\mathbb{R}", "").replace(r"\operatorname{Hom}", "")


def test_included_files_without_a_section_are_there():
    assert "Lemma text." in paper("", "\\section{A}\n\\input{parts/one}\n", parts__one="Lemma text.")


def test_a_byte_that_is_not_utf8_does_not_lose_the_paper():
    main = "\\documentclass{article}\\begin{document}\\section{A} Erdős and Poincaré\\end{document}"
    assert "Poincaré" in clean_paper({"a.tex": main.replace("ő", "o").encode("latin-1")}).text


def test_the_text_goes_on_behind_the_references():
    text = paper("", "\\section{A} B\n\\begin{thebibliography}{9}\\bibitem{x} Y\\end{thebibliography}\n\\section{C} D")
    assert "\\section{C} D" in text and "bibitem" not in text


# --- comments and verbatim parts -----------------------------------------------------------------------------------

COMMENTS = [
    ("50\\% of % note\nx", "50\\% of\nx"),
    ("a\\\\\\% b", "a\\\\\\% b"),
    ("word% note\nnext", "wordnext"),  # as TeX reads it
    ("\\alpha% note\nb", "\\alpha\nb"),
    ("{%\n  x}%\n", "{\n  x}\n"),
    ("%\n% full\nx\n  % y\nz", "x\nz"),
    ("a\n\n% c\n\nb", "a\n\n\nb"),
    ("\\verb|%| b % c", "\\verb|%| b "),
    ("\\verb*+%+ % c", "\\verb*+%+ "),
    ("\\lstinline|%x| \\mintinline{c}{%d} %z", "\\lstinline|%x| \\mintinline{c}{%d} "),
    ("\\begin{verbatim}\n% kept\n\\end{verbatim} % c", "\\begin{verbatim}\n% kept\n\\end{verbatim} "),
    ("\\begin{lstlisting}[x]\n% kept\n\\end{lstlisting}", "\\begin{lstlisting}[x]\n% kept\n\\end{lstlisting}"),
    ("\\begin{minted}{python}\na % b\n\\end{minted}", "\\begin{minted}{python}\na % b\n\\end{minted}"),
    ("\\href{http://a%20b}{text} % c", "\\href{http://a%20b}{text} "),
    ("\\excludecomment{note}\n\\begin{note}x\\end{note}y", "\\excludecomment{note}\ny"),
    ("\\MakeShortVerb{\\|}a |%x| b % c", "\\MakeShortVerb{\\|}a |%x| b "),
    ("{\\catcode`\\%=12 \\gdef\\p{%}} x %y", "{\\catcode`\\%=12 \\gdef\\p{%}} x "),
    ("a\\endinput b", "a"),
    ("\\verbatiminput{x} % y", "\\verbatiminput{x} "),
    ("\\begin{verbatim} no end % c", "\\begin{verbatim} no end "),
]


@pytest.mark.parametrize(("text", "wanted"), COMMENTS)
def test_comments(text, wanted):
    assert flat(text) == wanted


def test_an_environment_made_of_comments_is_one():
    preamble = "\\newenvironment{reference}{\\comment}{\\endcomment}"
    assert paper(preamble, "a\n\\begin{reference}\nhidden\n\\end{reference}\nb") == "a\nb"


# --- macros --------------------------------------------------------------------------------------------------------

MACROS = [
    (r"\def\pair(#1,#2){\langle #1|#2\rangle}", r"$\pair(a,{b,c})$", r"$\langle a|b,c\rangle$"),
    (r"\let\eps=\varepsilon", r"$\eps x$", r"$\varepsilon x$"),
    (r"\let\old\phi \renewcommand{\phi}{\varphi}", r"$\phi\old$", r"$\varphi\phi$"),
    (r"\let\a\phi\let\phi\varphi\let\varphi\a", r"$\phi\varphi$", r"$\varphi\phi$"),
    (r"\let\v\vec \renewcommand{\vec}[1]{\v{\mathbf{#1}}}", r"$\vec{x}$", r"$\vec{\mathbf{x}}$"),
    (r"\def\be{\begin{equation}}\def\ee{\end{equation}}", "\\be x\\ee", r"\begin{equation} x\end{equation}"),
    (r"\newcommand{\R}{\mathbb{R}}",
     r"$x^\R \hat\R \frac\R2 \in\R$", r"$x^{\mathbb{R}} \hat{\mathbb{R}} \frac{\mathbb{R}}2 \in\mathbb{R}$"),
    (r"\def\a{\alpha}", r"$\a b \a{} c \a$", r"$\alpha b \alpha c \alpha$"),
    (r"\newcommand{\b}[1]{\mathbf#1}", r"$\b x$", r"$\mathbf x$"),
    (r"\newcommand{\ie}{i.e.\xspace}", r"so \ie this, \ie, that", "so i.e. this, i.e., that"),
    (r"\newcommand{\E}{\ensuremath{\mathbb{E}}}",
     r"\E{} is $\E$, $\text{in \E}$", r"$\mathbb{E}$ is $\mathbb{E}$, $\text{in $\mathbb{E}$}$"),
    (r"\def\M{\ifmmode M_0\else $M_0$\fi}", r"\M{} and $2\M$", "$M_0$ and $2M_0$"),
    (r"\newif\ifdraft \draftfalse \newcommand{\n}[1]{\ifdraft[#1]\fi}", r"a\n{b} \ifdraft x\else y\fi", "ay"),
    (r"\newif\ifdraft \drafttrue", r"a \ifdraft x\else y\fi", "a x"),
    ("", "a \\iffalse b \\ifx c\\fi d \\else e\\fi f", "a ef"),
    ("", "$a \\iff b$ \\iffalse x \\fi y", "$a \\iff b$ y"),
    (r"\newenvironment{prf}[1][Proof]{\begin{proof}[#1]}{\end{proof}}",
     r"\begin{prf}a\end{prf}", r"\begin{proof}[Proof]a\end{proof}"),
    (r"\newtheorem{thm}{Theorem}[section]", r"\begin{thm}a\end{thm}", r"\begin{theorem}a\end{theorem}"),
    (r"\newtheorem{mt}{Main Theorem}", r"\begin{mt}a\end{mt}", r"\begin{mt}a\end{mt}"),
    (r"\DeclarePairedDelimiter{\abs}{\lvert}{\rvert}",
     r"$\abs{x}\abs*{y}$", r"$\lvert x \rvert\left\lvert y \right\rvert$"),
    (r"\NewDocumentCommand{\d}{s O{x} m}{\IfBooleanTF{#1}{D}{d}_{#2}#3}", r"$\d{f}\d*[t]{f}$", "$d_{x}fD_{t}f$"),
    (r"\NewDocumentCommand{\g}{m o}{#1\IfNoValueTF{#2}{}{(#2)}}", r"$\g{f}\g{f}[x]$", "$ff(x)$"),
    ("", r"{\def\x{1}\x} \newcommand{\y}{2}\y", "{1} 2"),
    ("", "\\newcommand{\\y}{2}\\y \\renewcommand{\\y}{3}\\y", "23"),
    (r"\def\x{1}", r"\x{\def\x{2}\x}\x", "1{2}1"),
    (r"\newcommand{\sk}[1]{}", r"a\sk{b}c", "ac"),
    (r"\newcommand{\R}{\mathbb{R}}", r"a \\R and \\\R", r"a \\R and \\\mathbb{R}"),
    (r"\newcommand{\a}{\b\b}\newcommand{\b}{x}", r"\a", "xx"),
    (r"\newcommand*{\R}{\mathbb{R}}\newcommand{\Rn}{\R^n}", r"$\Rn$", r"$\mathbb{R}^n$"),
    (r"\def\<{\langle}\def\>{\rangle}", r"$\<x\>$", r"$\langle x\rangle$"),
]  # fmt: skip


@pytest.mark.parametrize(("preamble", "body", "wanted"), MACROS)
def test_macros_are_written_out(preamble, body, wanted):
    assert paper(preamble, body) == wanted


KEPT = [
    (r"\newcommand{\x}{\@ifnextchar[{\y}{\z}}", r"\x"),
    (r"\newcommand{\x}{a\x}", r"\x"),
    (r"\newcommand{\x}[1]{\expandafter\y\csname #1\endcsname}", r"\x{a}"),
    (r"\newlength{\x}", r"\x"),
]


@pytest.mark.parametrize(("definition", "use"), KEPT)
def test_what_cannot_be_written_out_stays_with_its_definition(definition, use):
    text = paper(definition, f"See {use}.")
    assert text == f"{definition}\n\nSee {use}."
    assert use not in paper(definition, "Not used.")


def test_the_definitions_that_a_kept_one_needs_are_kept_too():
    text = paper("\\newcommand{\\inner}{I}\n\\newcommand{\\x}{\\@foo\\inner}\n\\newcommand{\\no}{N}", r"\x")
    assert "\\newcommand{\\inner}{I}" in text and "\\no" not in text


def test_mutual_recursion_ends():
    text = paper(r"\def\a{\b}\def\b{\a}", r"\a")
    assert text.endswith(r"\a") and r"\def\a{\b}" in text


def test_macros_of_the_projects_own_style_are_written_out():
    main = b"\\documentclass{article}\\usepackage{mine}\\begin{document}$\\R$\\end{document}"
    style = b"\\ProvidesPackage{mine}\\newcommand{\\R}{\\mathbb{R}}\\def\\@x{y}"
    assert clean_paper({"main.tex": main, "mine.sty": style}).text == r"$\mathbb{R}$"


# --- files ---------------------------------------------------------------------------------------------------------


def test_files_are_put_together_in_order():
    found = clean_paper(
        {
            "00README": b"paper/top.tex toplevelfile\n",
            "other.tex": b"\\documentclass{article}\\begin{document}no\\end{document}",
            "paper/top.tex": b"\\documentclass{article}\\begin{document}\\input{one}\\include{two.tex}"
            b"\\subfile{sub/three}\\import{sub/}{four}\\input five \\end{document}",
            "paper/one.tex": b"1",
            "paper/two.tex": b"2\n",
            "paper/sub/three.tex": b"\\documentclass[../top]{subfiles}\\begin{document}3\\input{five}\\end{document}",
            "paper/sub/four.tex": b"4",
            "paper/sub/five.tex": b"5",
        }
    )
    assert (found.text, found.main) == ("12\n354", "paper/top.tex")
    assert found.problems[0] == "five: not among the files"


def test_supplements_are_named_or_added():
    files = {
        name: f"\\documentclass{{x}}\\begin{{document}}{name}\\end{{document}}".encode()
        for name in ("main.tex", "supp.tex")
    }
    found = clean_paper(files)
    assert found.text == "main.tex" and found.problems == ("supp.tex: another document, left out (supplements)",)
    assert clean_paper(files, TexOptions(supplements=True)).text == "main.tex\n\nsupp.tex"


def test_a_path_may_be_made_of_a_macro():
    assert paper("\\newcommand{\\parts}{in/}", "\\input{\\parts one}\\input{\\parts/one}", in__one="1") == "11"


def test_files_that_include_each_other_or_leave_the_project():
    found = clean_paper(
        {
            "a.tex": b"\\documentclass{x}\\begin{document}"
            b"A\\input{b}\\input{../x}\\input{/etc/passwd}\\input{|ls}\\end{document}",
            "b.tex": b"B\\input{a}\\input{b}",
        }
    )
    assert found.text == "AB"
    assert [p.partition(":")[0] for p in found.problems] == ["a", "b", "../x", "/etc/passwd", "|ls"]


def test_many_inclusions_of_one_file_end():
    files = {f"f{n}.tex": f"\\input{{f{n + 1}}}\\input{{f{n + 1}}}".encode() for n in range(25)}
    files["f25.tex"] = b"x" * 1000
    files["main.tex"] = b"\\documentclass{x}\\begin{document}\\input{f0}\\end{document}"
    found = clean_paper(files)
    assert len(found.text) < 3_000_000 and "too many files" in found.problems[0]


def test_options():
    body = (
        "\\author{Me}\\maketitle\\section{A}\\vspace{1cm}T\\begin{tikzpicture}\\draw;\\end{tikzpicture}\n"
        "\\begin{thebibliography}{9}\\bibitem{x}Y\\end{thebibliography}\n\\appendix\\section{B}"
    )
    main = f"\\documentclass{{x}}\\title{{On $x$}}\\begin{{document}}{body}\\end{{document}}"
    every = {"layout": True, "people": True, "pictures": True, "bibliography": True}
    marks = ["\\maketitle", "\\author{Me}", "\\vspace{1cm}", "\\draw", "\\bibitem", "\\section{B}", "\\title{On $x$}"]
    assert [m in clean_text(main, TexOptions(**every)).text for m in marks] == [True] * 7
    assert [m in clean_text(main).text for m in marks] == [False] * 5 + [True] * 2
    assert [m in clean_text(main, TexOptions(appendix=False, title=False)).text for m in marks] == [False] * 7


def test_captions_stay_and_diagrams_too():
    text = paper(
        "", "\\begin{figure}\\centering\\includegraphics[x]{a}\\caption{C}\\end{figure}\\begin{tikzcd}A\\end{tikzcd}"
    )
    assert text == "\\begin{figure}\\caption{C}\\end{figure}\\begin{tikzcd}A\\end{tikzcd}"


# --- archives ------------------------------------------------------------------------------------------------------

MAIN = b"\\documentclass{article}\\begin{document}\\section{A} Text.\\end{document}"


def tar(*members: tuple[str, bytes] | tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return file.getvalue()


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lambda d: tar(("m.tex", d)), lambda d: gzip.compress(tar(("m.tex", d)))]
)
def test_every_form_of_a_source(pack):
    found = extract_tex(pack(MAIN), name="0704.0001.gz")
    assert (found.text, found.error) == ("\\section{A} Text.", None)


def test_members_that_leave_the_archive_are_left_out():
    link = tarfile.TarInfo("link.tex")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    data = tar(("../evil.tex", b"x"), ("/abs.tex", b"x"), link, ("ok/m.tex", MAIN))
    project = open_project(data)
    assert list(project.files) == ["ok/m.tex"]
    assert [note.partition(":")[0] for note in project.left_out] == ["../evil.tex", "/abs.tex", "link.tex"]


def test_a_bomb_is_refused():
    bomb = gzip.compress(b"\0" * 3_000_000)
    assert inflate(bomb, 1_000_000).reason == "the gzip stream inflates to more than 1,000,000 bytes"
    assert isinstance(open_project(bomb, limits=Limits(inflated_bytes=1_000_000)), Refusal)


def test_a_broken_stream_gives_what_is_whole():
    data = gzip.compress(tar(("m.tex", MAIN), ("z.tex", b"%" + bytes(range(256)) * 300)), compresslevel=0)
    found = extract_tex(data[:2000], name="x.gz")
    assert found.text == "\\section{A} Text." and "cut off" in found.meta["problems"][0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"%PDF-1.5 x", "a PDF"),
        (gzip.compress(b"%!PS-Adobe", mtime=0), "PostScript"),
        (b"\x1f\x8b\x08broken", "gzip stream"),
        (tar(("a.png", b"x")), "no TeX"),
        (bytes(100), "empty"),
        (bytes(range(256)) * 100, "binary"),
    ],
)
def test_what_is_no_tex_says_so(data, reason):
    found = extract_tex(data, name="x")
    assert found.text == "" and reason in found.error


def test_a_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "main.tex").write_bytes(MAIN.replace(b"Text.", b"\\input{sub/x}"))
    (tmp_path / "sub" / "x.tex").write_text("From sub.")
    (tmp_path / "out.tex").symlink_to("/etc/passwd")
    project = read_folder(tmp_path)
    assert "From sub." in clean_paper(project.files).text and project.left_out == ("out.tex: not a regular file",)


# --- encodings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("é".encode(), "é"),
        ("\ufeffé".encode(), "é"),
        ("é".encode("utf-16"), "é"),
        ("\\usepackage[latin1]{inputenc} ü".encode("latin-1"), "\\usepackage[latin1]{inputenc} ü"),
        ("\\usepackage[cp1251]{inputenc} Ж".encode("cp1251"), "\\usepackage[cp1251]{inputenc} Ж"),
        ("\\usepackage[applemac]{inputenc} é".encode("mac-roman"), "\\usepackage[applemac]{inputenc} é"),
        ("\\usepackage[latin1]{inputenc} é".encode(), "\\usepackage[latin1]{inputenc} é"),  # declares what it is not
        ("“é”".encode("cp1252"), "“é”"),
        ("é".encode("latin-1"), "é"),
        (b"a\r\nb\rc", "a\nb\nc"),
        (("é" * 30).encode() + b"\xff.", "é" * 30 + "\ufffd."),  # one stray byte
    ],
)
def test_encodings(data, text):
    assert decode(data)[0] == text


def test_marks_of_ours_in_a_file_are_not_taken_for_marks():
    assert clean_text("a\ufdd0" + "0\ufdd1b \\verb|x|").text == "a0b \\verb|x|"


# --- the original's behaviour --------------------------------------------------------------------------------------

# Input, and what the original gives for it (run once, by hand): see llemma.extract.tex.redpajama.
ORIGINAL = [
    (r"\paragraph{A} b", ""),
    ("\\newcommand{\\R}{\\mathbb{R}}\n\\section{A} $\\R\\R$", r"\section{A} $\mathbb{R}\R$"),
    ("\\section{A} word% note\nx", "\\section{A} wor\nx"),
    ("x %\\section{old}\ny\\section{A}", "\\section{old}\ny\\section{A}"),
    ("\\section{A} in \\appendixname{} B", "\\section{A} in "),
    ("\\section{A} b \\printbibliography", "\\section{A} b \\printbibliography"),
    ("\\section{A} \\url{a%20b} c", "\\section{A} \\url{"),
    ("\\begin{abstract}x\\end{abstract}\\section{A}", "\\section{A}"),
    ("\\def\\R{\\mathbb{R}}\n\\def\\V{\\R^n}\n\\section{A} $\\V$", "\\section{A} $\\R^n$"),
]


@pytest.mark.parametrize(("text", "wanted"), ORIGINAL)
def test_the_compatible_profile_has_the_originals_quirks(text, wanted):
    assert clean_text(text, COMPAT).text == wanted


def test_the_compatible_profile_loses_papers_as_the_original_does():
    assert isinstance(clean_paper({"a.tex": b"\\section{A} \xff"}, COMPAT), Refusal)
    assert isinstance(clean_paper({"a.tex": "\\def\\E{Erdős}\n\\section{A}".encode()}, COMPAT), Refusal)


# --- hostile input -------------------------------------------------------------------------------------------------

LEVELS = "".join("\\def\\a{}{{{}}}".format("b" * n, ("\\a" + "b" * (n - 1) + " ") * 10) for n in range(1, 12))
BOMB = "\\def\\a{xxxxxxxxxx}" + LEVELS + "\\abbbbbbbbbbb " * 100

HOSTILE = {
    "open groups": "\\newcommand{\\a}[1]{x#1}" + "\\a{" * 12_000,
    "deep groups": "\\newcommand{\\a}[1]{x#1}" + "\\a{" * 4_000 + "}" * 4_000,
    "a macro bomb": BOMB,
    "an argument bomb": "\\newcommand{\\a}[1]{#1#1}" + "\\a{" * 30 + "x" + "}" * 30,
    "definitions": "\\def\\x{1}" * 10_000,
    "definitions in groups": "{\\def\\x{1}\\x}" * 4_000,
    "open definitions": "\\def\\x{" * 10_000,
    "open conditions": "\\iffalse " * 10_000,
    "open environments": "\\begin{tikzpicture}" * 10_000,
    "open verbatim": "\\begin{verbatim}" * 4_000,
    "comments": "%\n" * 40_000,
    "comment signs": "%" * 80_000,
    "backslashes": "\\" * 80_000,
    "backslashes and signs": "\\%" * 40_000,
    "dollars": "$\\ensuremath{x}" * 4_000,
    "brackets": "\\newcommand{\\a}[2][x]{#1#2}" + "\\a[" * 10_000,
    "delimiters": "\\def\\a#1;{#1}" + "\\a x" * 6_000,
    "blanks": (" " * 1000 + "\n") * 400,
    "verbs": "\\verb|" * 10_000,
    "urls": "\\url{" * 10_000,
    "inputs": "\\input{text}" * 4_000,
    "theorems": "\\newtheorem{a}{" * 4_000,
    "hashes": "\\def\\a#1{" + "#" * 20_000 + "}\\a x",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_ends(name):
    begun = time.process_time()
    text = clean_text(HOSTILE[name]).text
    assert time.process_time() - begun < 20  # each takes a small part of a second on an idle core
    assert len(text) < 40 * len(HOSTILE[name]) + 5_000_000


WORDS = r"""
\newcommand \def \x \y {\x} [1] [ ] { } # #1 $ $$ % \% \\ \verb| | \begin{x} \end{x} \newenvironment{x} \let = \iffalse
\else \fi \newif \ifz \ztrue \input{text} \ensuremath \xspace \section{A} a b ^ _ \begin{verbatim} \end{verbatim} \url{
* \newtheorem{x} \begin{document} \end{document} \documentclass{x} \DeclareMathOperator \appendix \title{ \frac \ifmmode
\NewDocumentCommand {mos} \usepackage{text} \IfNoValueTF \begin{tikzpicture} \end{tikzpicture} \maketitle \author{
"""
PIECES = st.sampled_from([*WORDS.split(), "\n", " ", "\n\n", "é", "\x00"])


@given(st.lists(PIECES, max_size=40).map("".join))
def test_any_text_gives_a_text(text):
    found = clean_text(text)
    assert not re.search("[\ufdd0-\ufdd3]", found.text)
    clean_text(text, COMPAT)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_text_or_a_reason(data):
    found = extract_tex(data, name="x")
    assert (found.error is None) or not found.text


@given(st.integers(0, 10_239), st.integers(0, 255), st.booleans())
def test_a_damaged_archive_gives_a_text_or_a_reason(at, value, packed):
    data = bytearray(tar(("m.tex", MAIN), ("n.tex", b"x")))
    data[at % len(data)] = value
    found = extract_tex(gzip.compress(bytes(data), mtime=0) if packed else bytes(data), name="x")
    assert found.error or found.text is not None


def test_a_named_file_takes_in_what_it_includes_and_nothing_else(tmp_path):
    from llemma.extract.files import ExtractConfig, extract_rows

    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "one.tex").write_text(r"One: $\R$ and \input{parts/two}.")
    (tmp_path / "parts" / "two.tex").write_text("two")
    (tmp_path / "mine.sty").write_text(r"\newcommand{\R}{\mathbb{R}}")
    (tmp_path / "secret").write_text("SECRET")
    (tmp_path / ".hidden.tex").write_text("SECRET")
    (tmp_path / "link.tex").symlink_to(tmp_path / "secret")
    (tmp_path.parent / "above.tex").write_text("SECRET")
    asked = "".join(rf"\input{{{name}}}" for name in ("secret", ".hidden", "link", "../above", "/etc/passwd", "absent"))
    main = tmp_path / "main.tex"
    main.write_text(
        rf"\documentclass{{article}}\usepackage{{mine}}\begin{{document}}\input{{parts/one}} {asked}\end{{document}}"
    )
    (row,) = extract_rows(ExtractConfig(paths=(str(main),)))
    assert row["text"].split() == ["One:", r"$\mathbb{R}$", "and", "two."]
    assert row["meta"]["files"] == ["main.tex", "mine.sty", "parts/one.tex", "parts/two.tex"]
    assert len(row["meta"]["problems"]) == 6
    rows = list(extract_rows(ExtractConfig(paths=(str(tmp_path),))))
    assert "One" not in next(r for r in rows if r["id"] == str(main))["text"]

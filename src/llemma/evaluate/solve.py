"""Python for samples: one program run strictly or by the paper's rules, or a notebook that is written block by block.

Functions over a back end and the sandbox; they know no tasks and store nothing. What a program does, and a completion
without one, is an outcome in the transcript; BackendError and SandboxError are for the caller. Each round of notebooks
asks the model for all samples that go on in one call, then runs their blocks side by side, so that neither waits.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from llemma.backends import Backend, Request
from llemma.grade.paper import ProgramRules
from llemma.records import Completion, Execution, Sampling, Step, Transcript
from llemma.run import cores
from llemma.sandbox import Limits, Session, run
from llemma.sandbox.pool import kind_of
from llemma.sandbox.tiers import TIERS

PAPER_SECONDS = 5.0  # of a program in the paper's scorer
OPEN_SESSIONS = 64  # processes and descriptors of idle notebooks; one that is closed runs its blocks again


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebook:
    """Text and blocks of Python in turn, as ToRA-like models write; outputs are put in behind each block.

    A completion stops before ``output_opens``; when it ends with a closed block and not yet with an answer, the block
    runs in the sample's session and its output goes in. Outputs over ``longest`` characters lose their middle. After
    ``calls`` blocks the model writes on once more without a tool.
    """

    opens: str = "```python"
    closes: str = "```"
    output_opens: str = "```output"
    calls: int = 4
    longest: int = 400  # characters: a back end does not show its tokens; ToRA's cut
    answered: str = "boxed"  # text with this has its answer, and is done
    limits: Limits = Limits(wall=PAPER_SECONDS, cpu=PAPER_SECONDS)  # noqa: RUF009 - frozen


# --- one program per completion -----------------------------------------------------------------------------------

# Runs behind the program in its namespace. Prints nothing; the value is the answer as LaTeX.
_ANSWER = """
def _llemma_latex(value):
    import sympy
    if isinstance(value, (list, tuple, set, frozenset)) and len(value) == 1:
        value = next(iter(value))  # solve() returns [x]
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (list, set, frozenset)):
        return ", ".join(map(_llemma_latex, sorted(value, key=str) if not isinstance(value, list) else value))
    if type(value).__module__ == "numpy":
        value = value.tolist()
        return _llemma_latex(value) if isinstance(value, list) else sympy.latex(value)
    if type(value).__name__ == "Fraction":
        value = sympy.Rational(value.numerator, value.denominator)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    return str(value) if isinstance(value, (int, float)) else sympy.latex(value)
"""
_VALUE = {"answer": "_llemma_latex(globals().get('answer'))", "solution": "_llemma_latex(solution())"}


def run_as_main(program: str, *, wanted: str, limits: Limits, sandbox: str = "auto") -> tuple[Execution, str | None]:
    """Run a program as ``__main__``; the execution, and ``answer`` or ``solution()`` as LaTeX if it came to its end.

    A list or set of one element is that element; of several, they are listed. Numbers are exact where their type is.
    """
    if sandbox not in ("auto", *TIERS):  # others' sandboxes have no sessions
        done = run(f"{program}\n{_ANSWER}\n{_VALUE[wanted]}", limits, value="last", sandbox=sandbox)
        return done, done.value if done.status == "ok" else None
    with Session(limits, value="last", kind=kind_of(f"{program} sympy"), sandbox=sandbox) as session:
        done = session.run(f"{program}\nNone")
        if done.status != "ok" or session.restarts:
            return done, None
        found = session.run(f"{_ANSWER}\n{_VALUE[wanted]}")
    if found.status != "ok":
        return replace(found, stdout=done.stdout + found.stdout, value=None), None
    return replace(done, stdout=done.stdout + found.stdout, value=found.value), found.value


# The paper's scorer in miniature. What it calls ``program`` was executed with the names of the scorer's module as
# globals and a dictionary of its own as locals; names that are not to be had elsewhere stand for themselves.
_PAPER = """
import argparse, code, copy, functools, io, json, logging, signal, textwrap, typing, contextlib
given = {given!r}
def visible(name):
    known = {{
        "Union": typing.Union, "partial": functools.partial, "redirect_stdout": contextlib.redirect_stdout,
        "StringIO": io.StringIO, "argparse": argparse, "code": code, "copy": copy, "json": json, "logging": logging,
        "textwrap": textwrap,
    }}
    if name in known: return known[name]
    if name in ("sympy", "tqdm"):
        try: module = __import__(name)
        except ImportError: return lambda x, *a, **k: x
        return module.tqdm if name == "tqdm" else module
    if name in ("isclose", "isfinite"): return getattr(__import__("numpy"), name)
    return type(name, (), {{}})
names = {{name: visible(name) for name in given["visible"]}}
names["__name__"] = "__main__"
local = {{}}
def out_of_time(*_): raise TimeoutError("Timeout")
def execute():
    if given["seconds"]:
        signal.signal(signal.SIGALRM, out_of_time)
        signal.setitimer(signal.ITIMER_REAL, given["seconds"])
    try: exec(given["text"], names, local)
    except given["caught"]: return None
    finally: signal.setitimer(signal.ITIMER_REAL, 0)
    return local.get("answer")
given["caught"] = Exception if given["wanted"] == "solution" else (SyntaxError, TimeoutError)
"""
_PAPER_ANSWER = """
answer = execute()
def printed(value):
    import sys
    sympy = sys.modules.get("sympy")
    if sympy and isinstance(value, sympy.Basic) or type(value).__module__ == "builtins":
        pass
    else:  # the scorer casts it to a number if it can, and only that can be handed on
        for cast in (int, float):
            try: return repr(cast(value))
            except (TypeError, ValueError, AttributeError, OverflowError): continue
    return sympy.srepr(value) if sympy and isinstance(value, sympy.Basic) else repr(value)
printed(answer)
"""
_PAPER_SOLUTION = """
out = io.StringIO()
def caught():
    with contextlib.redirect_stdout(out):
        exec(given["text"], names, local)
    return out.getvalue()
try: text = caught()
except Exception: text = ""
print(text, end="")
"""


def run_as_paper(program: str, rules: ProgramRules, *, wanted: str, limits: Limits, sandbox: str = "auto") -> Execution:
    """Run a program as the paper's scorer did, its scoping and its swallowed errors included.

    For ``answer`` the value is the printed form of the variable (``srepr`` of a sympy object); for ``solution`` stdout
    is all that was printed. A program that failed in a way the scorer caught has the value None, or prints nothing;
    one that the scorer would have waited for without end is a ``timeout`` at ``limits``.
    """
    given = {"text": rules.wrap(program), "visible": rules.visible, "seconds": rules.seconds, "wanted": wanted}
    text = _PAPER.format(given=given) + (_PAPER_SOLUTION if wanted == "solution" else _PAPER_ANSWER)
    spare = 2.0  # the limit is raised inside the program, which may go on; ours comes after it
    wide = replace(limits, wall=limits.wall + spare, cpu=limits.cpu + spare)
    return run(text, wide, value="none" if wanted == "solution" else "last", sandbox=sandbox)


# --- notebooks ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sample:
    """A notebook in the making."""

    number: int
    request: Request
    text: str = ""
    steps: list[Step] = field(default_factory=list)
    finish: str = ""
    tokens: int = 0
    calls: int = 0
    done: bool = False


def solve(
    backend: Backend, requests: Sequence[Request], sampling: Sampling, how: Notebook, *, sandbox: str = "auto"
) -> list[Transcript]:
    """One notebook per request, in order; ``text`` is what a grader reads.

    Raises BackendError when the engine fails and SandboxError when programs cannot be run.
    """
    begin = time.perf_counter()
    stopping = replace(sampling, stop=tuple(dict.fromkeys((*sampling.stop, how.output_opens))))
    samples = [_Sample(number=i, request=request) for i, request in enumerate(requests)]
    with _Sessions(how.limits, sandbox) as sessions, ThreadPoolExecutor(cores()) as pool:
        while going := [sample for sample in samples if not sample.done]:
            completions = backend.complete([_next(sample) for sample in going], stopping)
            work = functools.partial(_advance, how=how, sessions=sessions)
            list(pool.map(work, going, completions))
    seconds = (time.perf_counter() - begin) / max(1, len(requests))
    return [
        Transcript(steps=tuple(s.steps), text=s.text, finish=s.finish, tokens=s.tokens, seconds=seconds)
        for s in samples
    ]


def _next(sample: _Sample) -> Request:
    """The request for what comes next; its seed follows from the sample's and the round."""
    if not sample.text:
        return sample.request
    digest = hashlib.blake2b(f"{sample.request.seed}\x1f{sample.calls}".encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, "big") >> 1
    return replace(sample.request, prompt=sample.request.prompt + sample.text, seed=seed)


def _advance(sample: _Sample, completion: Completion, how: Notebook, sessions: _Sessions) -> None:
    """Take in what the model wrote and run the block it ends with."""
    sample.finish, sample.tokens = completion.finish, sample.tokens + completion.tokens
    if how.output_opens in completion.text:  # a recording holds the outputs as well: run its programs, keep its text
        _run_recorded(sample, completion.text, how, sessions)
        return
    program = _last_block(completion.text, how)
    if program is None or how.answered in completion.text or sample.calls >= how.calls:
        sample.steps.append(Step(kind="text", text=completion.text))
        sample.text += completion.text
        sample.done = True
        if program is not None and how.answered not in completion.text:
            sample.finish = "calls"
        return
    sample.calls += 1
    step = _block(program, sessions.run(sample.number, program), how)
    written = completion.text.rstrip()
    sample.steps += [Step(kind="text", text=written), step]
    sample.text += f"{written}\n{how.output_opens}\n{step.result}\n{how.closes}\n"


def _last_block(text: str, how: Notebook) -> str | None:
    """The block of Python that a text ends with."""
    head, opened, block = text.rstrip().rpartition(how.opens)
    if not opened or not block.endswith(how.closes):
        return None
    program = block[: -len(how.closes)]
    return None if how.closes in program else program.removeprefix("\n")


def _block(program: str, done: Execution, how: Notebook) -> Step:
    output = shorten(shown(done), how.longest)
    return Step(kind="python", text=program, result=output, status=done.status, tier=done.tier)


def _run_recorded(sample: _Sample, text: str, how: Notebook, sessions: _Sessions) -> None:
    sample.text, sample.done = text, True
    sample.steps += _again(text, how, functools.partial(sessions.run, sample.number))


def rerun(text: str, how: Notebook, *, sandbox: str = "auto") -> tuple[Step, ...]:
    """The steps of a finished notebook, its blocks run again. Raises SandboxError when programs cannot be run."""
    with _Sessions(how.limits, sandbox) as sessions:
        return tuple(_again(text, how, functools.partial(sessions.run, 0)))


def _again(text: str, how: Notebook, run_block: Callable[[str], Execution]) -> Iterator[Step]:
    rest = text
    while (found := rest.find(how.output_opens)) >= 0:
        written, rest = rest[:found], rest[found:]
        program = _last_block(written, how)
        yield Step(kind="text", text=written)
        if program is not None:
            yield _block(program, run_block(program), how)
        end = rest.find(how.closes, len(how.output_opens))
        rest = "" if end < 0 else rest[end + len(how.closes) :]
    yield Step(kind="text", text=rest)


def shown(done: Execution) -> str:
    """An execution as ToRA-like models know it: what was printed, or the last line of the error, or ``Done``."""
    if done.status == "ok":
        return done.stdout.strip() or done.value or "Done"
    if done.status == "timeout":
        return "Timeout Error"
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else done.status


def shorten(text: str, longest: int) -> str:
    """The text, or its two halves when it is longer than ``longest`` characters."""
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]}...{text[-half:]}"


class _Sessions:
    """The sessions of many samples; only so many are open, the others run their blocks again when they are wanted."""

    def __init__(self, limits: Limits, sandbox: str, most: int = OPEN_SESSIONS) -> None:
        self._limits, self._sandbox, self._most = limits, sandbox, most
        self._open: OrderedDict[int, Session] = OrderedDict()
        self._blocks: dict[int, list[str]] = {}

    def __enter__(self) -> _Sessions:
        return self

    def __exit__(self, *exc: object) -> None:
        for session in self._open.values():
            session.close()

    def run(self, number: int, block: str) -> Execution:
        """The next block of a sample. Safe from several threads, one per sample."""
        session = self._open.pop(number, None)
        earlier = self._blocks.setdefault(number, [])
        if session is None:
            session = Session(self._limits, kind="light", sandbox=self._sandbox)
            for old in earlier:
                session.run(old)
        before = session.restarts
        done = session.run(block)
        if session.restarts != before:
            earlier.clear()  # its names are gone
        else:
            earlier.append(block)
        self._open[number] = session
        while len(self._open) > self._most:
            _, oldest = self._open.popitem(last=False)
            oldest.close()
        return done

"""Python as a tool of an evaluation: runs the programs of completions and puts what they gave behind the text.

Programs run in the sandbox, side by side. What a program does is an outcome; that none can be run is SandboxError.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from llemma.backends import Backend, Recording, Request
from llemma.errors import Caught, boundary
from llemma.evaluate.solve import PAPER_SECONDS, Notebook, rerun, run_as_main, run_as_paper, solve
from llemma.grade.extract import extract
from llemma.records import Completion, Execution, Program, Sampling, Step
from llemma.run import cores
from llemma.sandbox import Limits, Session, run
from llemma.tasks._programs import NO_PROGRAM, NOT_RUN, OUTPUT, PAPER_OUTPUT, with_output

T = TypeVar("T")

LIMITS = Limits(wall=PAPER_SECONDS, cpu=PAPER_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Runs the program that each completion of a task holds: as ``__main__``, and as the paper's scorer ran it.

    With ``sandbox=None`` nothing is run; the transcript says so, and a replay of the run can do it later.
    """

    program: Program
    sandbox: str | None = "auto"

    def finish(self, completions: Sequence[Completion]) -> list[Completion | Caught]:
        """The completions with their programs run, in order; a failure of the sandbox stands in the place of its own.

        A completion whose program was run already stays as it is.
        """
        with ThreadPoolExecutor(cores()) as pool:
            return list(pool.map(lambda completion: boundary(partial(self.run, completion)), completions))

    def follow(self, stream: Iterator[tuple[T, Completion | Caught]]) -> Iterator[tuple[T, Completion | Caught]]:
        """What a stream yields, programs run: as many at a time as there are cores, while the next completions come."""
        with ThreadPoolExecutor(cores()) as pool:
            waiting: deque[tuple[T, Future[Completion | Caught]]] = deque()
            for name, made in stream:
                if isinstance(made, Caught):
                    yield name, made
                    continue
                waiting.append((name, pool.submit(boundary, partial(self.run, made))))
                while waiting and (waiting[0][1].done() or len(waiting) > 4 * cores()):
                    first, future = waiting.popleft()
                    yield first, future.result()
            for first, future in waiting:
                yield first, future.result()

    def run(self, completion: Completion) -> Completion:
        """One completion with its program run. Raises SandboxError when no program can be run."""
        if len(completion.steps) > 1:  # a recording holds what its program gave
            return completion
        if self.sandbox is None:
            return _told_apart(completion, NOT_RUN)
        if completion.finish == "recorded" and Notebook().output_opens in completion.text:
            return _notebook(completion, self.sandbox)
        program = self.program.extract(completion.text)
        if program is None:
            return _told_apart(completion, NO_PROGRAM)
        wanted, rules = self.program.wanted, self.program.rules
        done, value = run_as_main(program, wanted=wanted, limits=LIMITS, sandbox=self.sandbox)
        steps = [Step(kind="text", text=completion.text), _step(program, done, told(done))]
        text = with_output(completion.text, value or "", OUTPUT, done.status)
        if rules is not None:
            again = run_as_paper(program, rules, wanted=wanted, limits=LIMITS, sandbox=self.sandbox)
            read = again.stdout if wanted == "solution" else again.value or ""
            text = with_output(text, read, PAPER_OUTPUT, again.status)
            steps.append(_step(program, again, f"as the paper's scorer ran it: {told(again)}"))
        return replace(completion, text=text, steps=tuple(steps))


def _step(program: str, done: Execution, result: str) -> Step:
    return Step(kind="python", text=program, result=result, status=done.status, tier=done.tier)


def _told_apart(completion: Completion, status: str) -> Completion:
    """A completion without a run: blocks behind it say so, or a block that the model made up would count."""
    text = with_output(with_output(completion.text, "", OUTPUT, status), "", PAPER_OUTPUT, status)
    return replace(completion, text=text, steps=(Step(kind="text", text=completion.text),))


def _notebook(completion: Completion, sandbox: str) -> Completion:
    """A recording of a notebook instead of a program: its blocks are run again, its marked answer is the value.

    The paper's scorer reads what the last block printed.
    """
    steps = rerun(completion.text, Notebook(limits=LIMITS), sandbox=sandbox)
    answer = extract(completion.text)
    last = next((step for step in reversed(steps) if step.kind == "python"), None)
    text = with_output(completion.text, "" if answer is None else answer.text, OUTPUT)
    printed, status = ("", NO_PROGRAM) if last is None else (last.result or "", last.status or "ok")
    return replace(completion, text=with_output(text, printed, PAPER_OUTPUT, status), steps=steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebooks:
    """Completes prompts as notebooks: each block of Python the model writes is run, and its output put in.

    The blocks of a recorded notebook are run again and its text is kept; a recording without outputs does not go on.
    """

    engine: Backend
    sandbox: str

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """One completion per request, in order, with its blocks run."""
        how = Notebook(calls=0) if isinstance(self.engine, Recording) else Notebook()
        transcripts = solve(self.engine, requests, sampling, how, sandbox=self.sandbox)
        return [
            Completion(text=t.text, finish=t.finish, tokens=t.tokens, seconds=t.seconds, steps=t.steps)
            for t in transcripts
        ]


def told(done: Execution) -> str:
    """An execution as a person reads it in a transcript: what was printed, the value, what went wrong."""
    parts = [done.stdout.strip(), done.value or "", done.stderr.strip(), "" if done.status == "ok" else done.status]
    return "\n".join(filter(None, parts))


@functools.cache
def check_sandbox(sandbox: str, notebooks: bool = False) -> None:
    """Run one harmless program. Raises SandboxError with cause and remedy when none can be run here.

    ConfigError for an unknown sandbox, and for one that cannot keep the names of a notebook from block to block.
    """
    if notebooks:
        Session(LIMITS, sandbox=sandbox).close()
    run("1 + 1", LIMITS, sandbox=sandbox)

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

from llemma.backends import Backend, Request
from llemma.errors import Caught, boundary
from llemma.evaluate.solve import Notebook, run_as_main, run_as_paper, solve
from llemma.records import Completion, Execution, Program, Sampling, Step
from llemma.run import cores
from llemma.sandbox import Limits
from llemma.tasks._programs import OUTPUT, PAPER_OUTPUT, with_output

T = TypeVar("T")

SECONDS = 5.0  # of a program, as in the paper's scorer
LIMITS = Limits(wall=SECONDS, cpu=SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """Runs the program that each completion of a task holds; ``paper``: a second time, as the paper's scorer did."""

    program: Program
    paper: bool
    sandbox: str

    def finish(self, completions: Sequence[Completion]) -> list[Completion]:
        """The completions with their programs run, in order; one that was run already stays as it is."""
        with ThreadPoolExecutor(cores()) as pool:
            return list(pool.map(self.run, completions))

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
        if completion.steps:  # a recording holds what its program gave
            return completion
        program = self.program.extract(completion.text)
        if program is None:
            return completion
        wanted = self.program.wanted
        done, value = run_as_main(program, wanted=wanted, limits=LIMITS, sandbox=self.sandbox)
        steps = [Step(kind="text", text=completion.text), Step(kind="python", text=program, result=told(done))]
        text = with_output(completion.text, value or "", OUTPUT)
        if self.paper and self.program.rules is not None:
            rules = self.program.rules
            again = run_as_paper(program, rules, wanted=wanted, limits=LIMITS, sandbox=self.sandbox)
            read = again.stdout if wanted == "solution" else again.value or ""
            if again.status == "ok":
                text = with_output(text, read, PAPER_OUTPUT)
            steps.append(Step(kind="python", text=program, result=f"as the paper's scorer ran it: {told(again)}"))
        return replace(completion, text=text, steps=tuple(steps))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notebooks:
    """Completes prompts as notebooks: each block of Python the model writes is run, and its output put in."""

    engine: Backend
    sandbox: str

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """One completion per request, in order, with its blocks run."""
        transcripts = solve(self.engine, requests, sampling, Notebook(), sandbox=self.sandbox)
        return [
            Completion(text=t.text, finish=t.finish, tokens=t.tokens, seconds=t.seconds, steps=t.steps)
            for t in transcripts
        ]


def told(done: Execution) -> str:
    """An execution as a person reads it in a transcript: what was printed, the value, what went wrong."""
    parts = [done.stdout.strip(), done.value or "", done.stderr.strip(), "" if done.status == "ok" else done.status]
    return "\n".join(filter(None, parts))


@functools.cache
def check_sandbox(sandbox: str) -> None:
    """Run one harmless program. Raises SandboxError with cause and remedy when none can be run here."""
    from llemma.sandbox import run

    run("1 + 1", LIMITS, sandbox=sandbox)

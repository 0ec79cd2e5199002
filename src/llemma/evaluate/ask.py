"""One question to a model: several samples, a vote over their answers, the working of the winner."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

from llemma.backends import Backend, Request, open_backend
from llemma.errors import BackendError, Caught, boundary
from llemma.evaluate.config import request_seed
from llemma.evaluate.settings import SolveConfig
from llemma.evaluate.tools import Notebooks, check_sandbox
from llemma.grade.equal import equivalent, vote_class
from llemma.grade.extract import extract
from llemma.grade.vote import classes, majority
from llemma.records import Sampling
from llemma.tasks._minerva import STOP, few_shot


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One sample: what the model wrote, the answer found in it, and its class among the samples (None: no vote)."""

    text: str
    answer: str | None
    vote: int | None
    finish: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """An answer and how many samples gave it or an equal one."""

    answer: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """The outcome: the elected answer (None when no sample has one), the votes, every sample in full."""

    question: str
    answer: str | None
    votes: tuple[Vote, ...]
    working: str | None
    samples: tuple[Answered, ...]


def ask(config: SolveConfig, backend: Backend | None = None) -> Solved:
    """Sample, vote, and give back all of it. Raises ConfigError for a bad model, BackendError when it fails."""
    engine = open_backend(config.model, config.engine) if backend is None else backend
    question = config.question.strip()
    prompt = few_shot(config.shots, question)
    many = config.samples > 1
    temperature = config.temperature if config.temperature is not None else (0.6 if many else 0.0)
    how = Sampling(
        temperature=temperature,
        top_p=0.95 if temperature else 1.0,
        max_tokens=config.max_tokens,
        stop=(STOP,),
        seed=config.seed,
    )
    requests = [
        Request(prompt=prompt, seed=request_seed(config.seed, "solve", question, k), question=question, k=k)
        for k in range(config.samples)
    ]
    notebooks = config.tools == "python"
    if notebooks:
        check_sandbox(config.sandbox, notebooks)
    completer = Notebooks(engine=engine, sandbox=config.sandbox) if notebooks else engine
    made = boundary(lambda: completer.complete(requests, how))
    if isinstance(made, Caught):
        raise BackendError(made.message, retryable=made.retryable)
    found = [extract(completion.text) for completion in made]
    answers = [None if each is None else each.text for each in found]
    cast = classes(answers, key=vote_class, same=equivalent)
    samples = tuple(
        Answered(text=c.text, answer=answer, vote=vote, finish=c.finish, tokens=c.tokens)
        for c, answer, vote in zip(made, answers, cast, strict=True)
    )
    return _solved(config.question, samples, majority(cast))


def _solved(question: str, samples: tuple[Answered, ...], elected: Hashable | None) -> Solved:
    first: dict[int, Answered] = {}
    for sample in samples:
        if sample.vote is not None:
            first.setdefault(sample.vote, sample)
    counts = Counter(sample.vote for sample in samples if sample.vote is not None)
    votes = [Vote(answer=str(first[vote].answer), count=count) for vote, count in counts.most_common()]
    winner = next((sample for sample in samples if sample.vote is not None and sample.vote == elected), None)
    return Solved(
        question=question,
        answer=winner.answer if winner else None,
        votes=tuple(votes),
        working=winner.text.strip() if winner else None,
        samples=samples,
    )

"""One theorem and one search: the unit that a thread here or an actor on another machine does from end to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llemma.backends import Backend, Beam, open_backend
from llemma.errors import Caught, ConfigError, boundary
from llemma.prove.best_first import best_first, costs
from llemma.prove.cache import Cache
from llemma.prove.config import ProveConfig, SearchName
from llemma.prove.greedy import greedy, ladder
from llemma.prove.ladder import Moves, Rungs, tactics
from llemma.prove.mcts import mcts
from llemma.prove.outcome import Outcome
from llemma.prove.policy import Model, ModelPolicy, Policy
from llemma.prove.prompts import PROOF_TOKENS, TACTIC_TOKENS, language, tactic_asker
from llemma.prove.session import Session
from llemma.prove.sketch import sketch
from llemma.prove.trace import Trace, file_name
from llemma.prove.tree import Tree
from llemma.prove.whole import Writer, whole
from llemma.provers import Prover, module, open_prover, theorem_hash
from llemma.records import Sampling, Theorem, to_row

RETRY_AFTER = (1.0, 4.0)  # seconds before each further try of a search whose failure is retryable

Unit = tuple[Theorem, SearchName]

FIXED = "fixed"
SINGLE: tuple[SearchName, ...] = ("whole", "sketch")  # whole texts: a fixed list of tactics cannot write them


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A finished search as it is stored: the row, the trace and its times."""

    row: Mapping[str, Any]
    trace: tuple[str, ...]
    seconds: tuple[float, ...]


@dataclass(slots=True, kw_only=True)
class Tools:
    """What searches share: prover, model, cache; ``stop`` ends all of them early."""

    config: ProveConfig
    prover: Prover
    script: Callable[[tuple[str, ...]], str]
    model: Model | None
    policies: Mapping[SearchName, Policy]
    cache: Cache | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def info(self) -> dict[str, str]:
        """The model as it is stored with the run."""
        return {} if self.model is None else dict(self.model.backend.info)


def open_tools(
    config: ProveConfig, *, cache: Cache | None = None, backend: Backend | None = None, prover: Prover | None = None
) -> Tools:
    """Open all that ``config`` names. Raises ConfigError, ProverError and BackendError before any work."""
    _check_model(config, backend)
    for name in config.searches:
        if name == "ladder":
            tactics("ladder", config.prover, "")
    model = None
    if config.model not in ("", FIXED) or backend is not None:
        model = Model(backend=backend or open_backend(config.model, config.backend))
    policies = {name: _policy(name, config, model) for name in config.searches if name not in SINGLE}
    return Tools(
        config=config,
        prover=prover or open_prover(config.prover, config.prover_options),
        script=module(config.prover).script,
        model=model,
        policies=policies,
        cache=cache,
    )


def _check_model(config: ProveConfig, backend: Backend | None) -> None:
    asking = [name for name in config.search if name != "ladder"]
    if asking and not config.model and backend is None:
        raise ConfigError(
            f"search={asking[0]} asks a model: say model=KIND:TARGET, or model=fixed for a list of tactics"
        )
    writing = [name for name in asking if name in SINGLE]
    if writing and config.model == FIXED:
        raise ConfigError(f"search={writing[0]} needs a model that writes proofs; model=fixed proposes tactics only")


def _policy(name: SearchName, config: ProveConfig, model: Model | None) -> Policy:
    if name == "ladder":
        return Rungs(prover=config.prover)
    if model is None:
        return Moves(prover=config.prover, candidates=config.candidates)
    asker = tactic_asker(config.prover, config.prompt)
    able = isinstance(model.backend, Beam)
    if config.sampling == "beam" and not able:
        raise ConfigError(
            f"model={config.model} cannot search beams; say sampling=sample, or use a folder with model=hf:FOLDER"
        )
    drawn = Sampling(
        n=config.candidates, temperature=config.temperature, top_p=config.top_p, stop=asker.stop, seed=config.seed,
        max_tokens=config.max_tokens or TACTIC_TOKENS,
    )  # fmt: skip
    if name == "greedy":
        one = replace(drawn, n=1, temperature=0.0, top_p=1.0)
        return ModelPolicy(model=model, asker=asker, sampling=one, beam=False)
    beam = able and config.sampling != "sample"
    return ModelPolicy(model=model, asker=asker, sampling=drawn, beam=beam)


def work(tools: Tools, theorem: Theorem, search: SearchName) -> Made | None:
    """Search for a proof of one theorem; None when it was stopped from outside. Infrastructure failures are raised."""
    config, begin = tools.config, time.monotonic()
    session = Session(
        prover=tools.prover, theorem=theorem, script=tools.script, budget=config.budget, limits=config.limits,
        check_limits=config.check, cache=tools.cache, stop=tools.stop,
    )  # fmt: skip
    trace = Trace()
    outcome = _search(tools, session, trace, search)
    if tools.stop.is_set() and outcome.proof is None:
        return None
    row = _row(session, search, outcome, time.monotonic() - begin)
    return Made(row=row, trace=tuple(trace.lines), seconds=tuple(trace.seconds))


def attempt(tools: Tools, unit: Unit) -> Made | Caught | None:
    """One search, tried again while its failure is one that may pass."""
    for pause in (*RETRY_AFTER, None):
        made = boundary(lambda: work(tools, *unit))
        if not isinstance(made, Caught) or not made.retryable or pause is None or tools.stop.wait(pause):
            return made
    raise AssertionError("the last try has no pause")


def _search(tools: Tools, session: Session, trace: Trace, search: SearchName) -> Outcome:
    config = tools.config
    if search in SINGLE:
        assert tools.model is not None
        drawn = Sampling(
            n=config.samples, temperature=config.temperature if config.samples > 1 or config.rounds else 0.0,
            top_p=config.top_p, max_tokens=config.max_tokens or PROOF_TOKENS, seed=config.seed,
            stop=language(config.prover).stop,
        )  # fmt: skip
        writer = Writer(
            model=tools.model, prover=config.prover, prompt=config.prompt, sampling=drawn, rounds=config.rounds
        )
        return whole(session, writer) if search == "whole" else sketch(session, writer, trace)
    tree = Tree(
        session=session, policy=tools.policies[search], trace=trace, cost=costs(config.score, config.alpha),
        depth=config.depth, distinct=config.dedup != "paper",
    )  # fmt: skip
    if search == "best_first":
        return best_first(tree, config.dedup)
    if search == "mcts":
        return mcts(tree, config.explore)
    return ladder(tree) if search == "ladder" else greedy(tree)


def _row(session: Session, search: str, outcome: Outcome, seconds: float) -> dict[str, Any]:
    theorem, proof = session.theorem, outcome.proof
    return {
        "id": f"{theorem.name}/{search}",
        "theorem": theorem.name,
        "search": search,
        "hash": theorem_hash(theorem),
        "statement": theorem.statement,
        "proved": proof is not None,
        "reason": outcome.reason,
        "proof": None if proof is None else proof.text,
        "tactics": None if proof is None else list(proof.tactics),
        "verdict": None if proof is None else to_row(proof.verdict),
        "expansions": session.expansions,
        "calls": session.calls,
        "tokens": session.tokens,
        "rejected": session.rejected,
        "attempts": [dict(attempt) for attempt in outcome.attempts],
        "trace": file_name(theorem.name, search),
        "seconds": round(seconds, 3),
        "cached": session.hits,
        "crashes": session.crashes,
        "error": None,
    }

"""Proof search: the paper's rule against a second writing of it, budgets, caches, equal traces, faults of provers."""

from __future__ import annotations

import heapq
import json
from pathlib import Path

import pytest

from llemma.config import resolve
from llemma.errors import ConfigError, ProverError, RunError
from llemma.prove.cache import Cache
from llemma.prove.check import restates
from llemma.prove.config import ProveConfig
from llemma.prove.policy import Candidate, ranked
from llemma.prove.prompts import proof_in, repair_prompt, show_state, tactic_asker, training_text, whole_prompt
from llemma.prove.prove import prove
from llemma.prove.sketch import sentences
from llemma.provers import open_prover
from llemma.records import Completion, Failure, ProofState, Verdict, VerdictLayer
from proving import EASY, FALSE, ByRule, Faulty, Scripted, lines, many, theorem, toy_file

ALL = {**EASY, **FALSE}


def settings(tmp_path: Path, *words: str, statements: dict[str, str] = ALL) -> ProveConfig:
    path = tmp_path / "statements.toy"
    if not path.exists():
        toy_file(path, statements)
    return resolve(ProveConfig, words=[f"source={path}", *words])


def rows_of(folder: Path) -> dict[str, dict]:
    return {row["id"]: row for row in lines(folder / "rows.jsonl")}


def trace_of(folder: Path, name: str, search: str = "best_first") -> list[dict]:
    return lines(folder / "trace" / f"{name}.{search}.jsonl")


# --- the paper's rule --------------------------------------------------------------------------------------------


def paper_search(statement: str, policy, most: int) -> tuple[list[str], tuple[str, ...] | None, int]:
    """The loop of llemma_formal2formal's proofsearch.py, written a second time: states expanded, proof, calls."""
    toy = open_prover("toy")
    start = toy.start(theorem(statement))
    queue: list[tuple[float, list[str], str, ProofState]] = [(0.0, [], show_state(start), start)]
    visited: set[str] = set()
    expanded, calls = [], 0
    for _ in range(most):
        if not queue:
            break
        total, steps, text, state = heapq.heappop(queue)
        visited.add(text)
        expanded.append(text)
        for candidate in policy(state):
            step = candidate.tactic.strip()
            calls += 1
            result = toy.apply(state, step)
            if isinstance(result, Failure):
                continue
            if not result.goals:
                return expanded, result.tactics, calls
            if show_state(result) not in visited:
                score = candidate.logprob / candidate.tokens
                heapq.heappush(queue, (total - score, [*steps, step], show_state(result), result))
    return expanded, None, calls


@pytest.mark.parametrize("name", ALL)
def test_dedup_paper_expands_what_the_papers_loop_expands(tmp_path, name):
    config = settings(
        tmp_path, "search=best_first", "model=by:rule", "dedup=paper", "candidates=32", "budget.expansions=40",
        f"names={name}", f"run={tmp_path / 'run'}", "ladder=false",
    )  # fmt: skip
    prove(config, backend=ByRule())
    asker = tactic_asker("toy", "auto")
    from llemma.prove.policy import Model, ModelPolicy
    from llemma.records import Sampling

    policy = ModelPolicy(
        model=Model(backend=ByRule()),
        asker=asker,
        sampling=Sampling(n=32, temperature=1.0, stop=asker.stop),
        beam=False,
    )
    named = theorem(ALL[name], name)
    states, proof, calls = paper_search(ALL[name], lambda state: policy.propose(named, state).candidates, 40)
    row, trace = rows_of(tmp_path / "run")[f"{name}/best_first"], trace_of(tmp_path / "run", name)
    assert [line["state"] for line in trace] == states
    assert row["calls"] == calls and row["proved"] == (proof is not None)
    assert row["tactics"] == (None if proof is None else list(proof))


def test_the_papers_rule_expands_a_state_again_and_the_right_one_does_not(tmp_path):
    keys = {}
    for dedup in ("paper", "state"):
        config = settings(
            tmp_path, "search=best_first", "model=fixed", f"dedup={dedup}", f"run={tmp_path / dedup}", "names=classical"
        )
        prove(config)
        keys[dedup] = [line["key"] for line in trace_of(tmp_path / dedup, "classical")]
    assert len(set(keys["paper"])) < len(keys["paper"])
    assert len(set(keys["state"])) == len(keys["state"])
    assert len(keys["state"]) <= len(keys["paper"])


def test_candidates_are_ranked_by_log_probability_per_token_each_text_once():
    made = [
        Completion(text="simp", finish="stop", logprob=-2.0, tokens=1),
        Completion(text="ring_nf at h", finish="stop", logprob=-4.0, tokens=4),
        Completion(text="simp", finish="stop", logprob=-2.0, tokens=1),
        Completion(text=" simp", finish="stop", logprob=-3.0, tokens=2),
    ]
    assert [c.tactic for c in ranked(made)] == ["ring_nf at h", " simp", "simp"]


def test_without_log_probabilities_a_candidate_weighs_as_often_as_it_was_sampled():
    found = ranked([Completion(text=t, finish="stop") for t in ("a", "b", "b", "b")])
    assert [c.tactic for c in found] == ["b", "a"]
    assert found[0].logprob == pytest.approx(-0.2877, abs=1e-3)


@pytest.mark.parametrize(
    ("score", "cost"), [("tactic", 1.0 / 2 + 3.0 / 3), ("sum", 4.0), ("path", 4.0 / 2**0.5)]
)  # fmt: skip
def test_the_cost_of_a_path(score, cost):
    from llemma.prove.best_first import costs
    from llemma.prove.tree import Node

    state = open_prover("toy").start(theorem("p -> p"))
    parent_cost = 0.5 if score == "tactic" else 1.0
    node = Node(id=1, state=state, key="", depth=1, cost=parent_cost, logprob=-1.0)
    assert costs(score, 0.5)(node, Candidate(tactic="x", logprob=-3.0, tokens=3)) == pytest.approx(cost)


# --- searches ----------------------------------------------------------------------------------------------------


def test_every_search_in_one_table_and_the_ladder_beside(tmp_path):
    config = settings(tmp_path, "search=best_first,mcts,greedy", "model=fixed", f"run={tmp_path / 'run'}")
    result = prove(config)
    found = {each.search: each for each in result.searches}
    assert list(found) == ["best_first", "mcts", "greedy", "ladder"]
    assert found["best_first"].proved == found["mcts"].proved == len(EASY) > found["greedy"].proved
    proved = {
        row["theorem"] for row in rows_of(tmp_path / "run").values() if row["proved"] and row["search"] == "ladder"
    }
    assert proved == {"and_swap", "linear", "bounds"} and found["ladder"].proved == 3
    assert found["best_first"].beyond == len(EASY) - 3 and found["ladder"].beyond is None
    metric = result.metrics[0]
    assert (metric.name, metric.value, metric.n) == ("proved", len(EASY) / len(ALL), len(ALL))
    assert 0 < metric.low < metric.value < metric.high < 1
    for row in rows_of(tmp_path / "run").values():
        if row["proved"]:
            assert open_prover("toy").check(theorem(ALL[row["theorem"]], row["theorem"]), row["proof"]).proved


@pytest.mark.parametrize("search", ["best_first", "mcts", "greedy"])
@pytest.mark.parametrize(("key", "most"), [("expansions", 3), ("tactic_calls", 17)])
def test_a_search_stays_within_its_budget(tmp_path, search, key, most):
    config = settings(
        tmp_path,
        f"search={search}",
        "model=fixed",
        f"budget.{key}={most}",
        "names=classical",
        f"run={tmp_path / 'run'}",
    )
    prove(config)
    row = rows_of(tmp_path / "run")[f"classical/{search}"]
    assert row["calls" if key == "tactic_calls" else "expansions"] <= most
    assert row["reason"] in (key, "exhausted") and not row["proved"]


def test_a_budget_of_tokens_ends_a_search(tmp_path):
    config = settings(
        tmp_path,
        "search=best_first",
        "model=by:rule",
        "budget.tokens=100",
        "names=classical",
        f"run={tmp_path / 'run'}",
    )
    prove(config, backend=ByRule())
    row = rows_of(tmp_path / "run")["classical/best_first"]
    assert row["reason"] == "tokens" and row["expansions"] == 2  # about 96 tokens for a state


def test_mcts_ends_when_every_branch_is_dead(tmp_path):
    config = settings(tmp_path, "search=mcts", "model=fixed", "names=wrong", f"run={tmp_path / 'run'}")
    prove(config)
    assert rows_of(tmp_path / "run")["wrong/mcts"]["reason"] == "exhausted"


def test_a_statement_that_the_prover_refuses_is_not_proved(tmp_path):
    config = settings(tmp_path, statements={"bad": "p &"})
    result = prove(config)
    assert result.theorems[0]["reason"].startswith("refused: error") and result.metrics[0].value == 0


# --- whole proofs ------------------------------------------------------------------------------------------------

RIGHT = "  intro h\n  cases h\n  split\n  exact h1\n  exact h\n"


def test_pass_at_k_counts_the_right_samples(tmp_path):
    def answer(request):
        return RIGHT if request.k % 4 == 1 else f"  intro h\n  exact h{request.k}\n"

    config = settings(
        tmp_path, "search=whole", "model=scripted:x", "samples=8", "names=and_swap", f"run={tmp_path / 'run'}"
    )
    result = prove(config, backend=Scripted(answer=answer))
    found = {m.name: m.value for m in result.metrics}
    four = 1 - 6 * 5 * 4 * 3 / (8 * 7 * 6 * 5)
    wanted = {"proved": 1.0, "pass@1": 0.25, "pass@2": 1 - 6 * 5 / (8 * 7), "pass@4": four, "pass@8": 1.0}
    assert found == pytest.approx(wanted)
    row = rows_of(tmp_path / "run")["and_swap/whole"]
    assert row["proof"] == RIGHT.rstrip() and len(row["attempts"]) == 8
    assert row["calls"] == 7  # the two right samples are one text


def test_a_refused_proof_goes_back_with_the_error(tmp_path):
    def answer(request):
        return RIGHT if "there is no hypothesis h7" in request.prompt else "  intro h\n  exact h7\n"

    engine = Scripted(answer=answer)
    words = ["search=whole", "model=scripted:x", "samples=2", "names=and_swap"]
    assert prove(settings(tmp_path, *words), backend=engine).searches[0].proved == 0
    result = prove(settings(tmp_path, *words, "rounds=2", f"run={tmp_path / 'run'}"), backend=engine)
    assert result.searches[0].proved == 1
    rounds = [(a["round"], a["proved"]) for a in rows_of(tmp_path / "run")["and_swap/whole"]["attempts"]]
    assert rounds == [(0, False), (0, False), (1, True), (1, True)]
    assert engine.asked[-1].prompt.endswith(whole_prompt("toy", theorem(EASY["and_swap"], "and_swap"), "zero"))


def test_prompts_end_where_the_model_goes_on():
    coq = theorem("x", "t")
    assert whole_prompt("coq", coq, "zero") == "theorem t : x\nProof.\n"
    again = repair_prompt("coq", coq, "zero", "  auto.", "it says *) here")
    assert again.startswith("theorem t : x\nProof.\n  auto.\nQed.\n(* The proof above is refused: it says * ) here *)")
    state = open_prover("toy").start(theorem("p -> p"))
    assert tactic_asker("coq", "zero").ask(state) == "Tactic state:\n---\n⊢ p -> p\n---\nNext tactic:\n---"
    assert training_text("⊢ p", "auto.").startswith(tactic_asker("coq", "zero").ask(state)[:18])
    assert tactic_asker("coq", "own").ask(state).count("Next tactic:") == 4
    assert tactic_asker("lean", "own").meta["prompt"] == "own"


@pytest.mark.parametrize(
    ("text", "prover", "proof"),
    [
        ("  intros.\n  lia.\nQed.\nTheorem u", "coq", "  intros.\n  lia."),
        ("Sure:\n```coq\nTheorem t : x.\nProof.\n  auto.\nQed.\n```\nDone.", "coq", "  auto."),
        ("```lean\ntheorem t : x := by\n  simp\n```", "lean", "  simp"),
        ("  simp\n  omega", "lean", "  simp\n  omega"),
        ("  auto.\n```\n", "coq", "  auto."),
        ("", "coq", ""),
    ],
)
def test_the_proof_is_found_in_what_a_model_wrote(text, prover, proof):
    assert proof_in(text, prover) == proof


# --- sketches ----------------------------------------------------------------------------------------------------


def test_the_gaps_of_a_sketch_are_closed_by_the_ladder(tmp_path):
    sketch = "  intro h\n  cases h\n  have two : x < y + 1\n  gap\n  gap\n"
    config = settings(
        tmp_path, "search=sketch", "model=scripted:x", "samples=2", "names=linear", f"run={tmp_path / 'run'}"
    )
    result = prove(config, backend=Scripted(answer=lambda request: sketch))
    row = rows_of(tmp_path / "run")["linear/sketch"]
    assert result.searches[0].proved == 1
    assert row["tactics"] == ["intro h", "cases h", "have two : x < y + 1", "linarith", "linarith"]


def test_a_gap_that_stays_open_is_said(tmp_path):
    config = settings(
        tmp_path, "search=sketch", "model=scripted:x", "samples=1", "names=classical", f"run={tmp_path / 'run'}"
    )
    prove(config, backend=Scripted(answer=lambda request: "  left\n  gap\n"))
    attempt = rows_of(tmp_path / "run")["classical/sketch"]["attempts"][0]
    assert attempt["why_not"] == "a gap stays open: ⊢ p" and attempt["draft"]


def test_coq_proofs_are_split_into_sentences_and_bullets():
    text = '  intros x. (* a. b. *) assert (h : x = 1.5). { gap. }\n  - apply foo.bar; auto.\n  + idtac "a. b".\n  ring'
    assert sentences(text, "coq") == [
        "intros x.", "assert (h : x = 1.5).", "{", "gap.", "}", "-", "apply foo.bar; auto.", "+", 'idtac "a. b".'
    ]  # fmt: skip


# --- cache -------------------------------------------------------------------------------------------------------


def test_results_come_back_from_the_cache_as_they_were(tmp_path):
    toy = open_prover("toy")
    cache = Cache(tmp_path / "c.sqlite")
    state = toy.start(theorem("p & q -> q"))
    from llemma.provers import TACTIC, Limits

    for tactic in ("intro h", "split"):
        key = cache.key("v", state, tactic, TACTIC)
        assert cache.get(key, state, tactic) is None
        result = toy.apply(state, tactic)
        cache.put(key, result)
        assert cache.get(key, state, tactic) == result
    assert (cache.hits, cache.misses) == (2, 2)
    keys = {
        cache.key(version, start, tactic, limits)
        for version in ("v", "w")
        for start in (state, toy.apply(state, "intro h"), toy.start(theorem("p & q -> q", "u")))
        for tactic in ("intro h", "split")
        for limits in (TACTIC, Limits(seconds=1))
    }
    assert len(keys) == 24


@pytest.mark.parametrize("kind", ["timeout", "memory", "crash"])
def test_what_may_pass_is_not_final_unless_asked(tmp_path, kind):
    state = open_prover("toy").start(theorem("p"))
    failure = Failure(kind=kind, message="10 s")
    Cache(tmp_path / "c.sqlite").put("key", failure)
    assert Cache(tmp_path / "c.sqlite").get("key", state, "x") is None
    assert Cache(tmp_path / "c.sqlite", keep_passing=True).get("key", state, "x") == failure


def test_a_file_that_is_no_cache_is_named(tmp_path):
    (tmp_path / "c.sqlite").write_text("no database, but long enough to be taken for one" * 100)
    with pytest.raises(RunError, match=r"c\.sqlite: cannot be used as a cache .*delete it"):
        prove(settings(tmp_path, f"cache={tmp_path / 'c.sqlite'}"))


# --- equal runs --------------------------------------------------------------------------------------------------


def traces(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "trace").glob("*.jsonl")}


def verdicts(folder: Path) -> dict[str, dict]:
    dropped = ("seconds", "cached", "crashes", "verdict")
    return {key: {k: v for k, v in row.items() if k not in dropped} for key, row in rows_of(folder).items()}


@pytest.mark.parametrize("search", ["best_first", "mcts", "greedy"])
def test_traces_are_equal_bit_by_bit_whatever_the_threads_and_the_cache(tmp_path, search):
    found = []
    for number, words in enumerate(
        (["workers=1", "cache=none"], ["workers=7"], ["workers=3", f"cache={tmp_path / 'c'}"])
    ):
        run = tmp_path / f"run{number}"
        config = settings(tmp_path, f"search={search}", "model=by:rule", "budget.expansions=25", f"run={run}", *words)
        prove(config, backend=ByRule())
        found.append((traces(run), verdicts(run)))
    assert len(found[0][0]) == 2 * len(ALL) and found[0] == found[1] == found[2]
    other = tmp_path / "other"
    prove(settings(tmp_path, f"search={search}", "model=by:rule", "seed=1", f"run={other}"), backend=ByRule())
    assert traces(other) != found[0][0]


def test_a_finished_run_does_nothing_again_and_other_settings_are_refused(tmp_path):
    words = ["search=best_first", "model=by:rule", f"run={tmp_path / 'run'}"]
    prove(settings(tmp_path, *words, "limit=3"), backend=ByRule())
    before = (tmp_path / "run" / "rows.jsonl").read_bytes()

    def refuse(request):
        raise AssertionError("asked again")

    prove(settings(tmp_path, *words, "limit=3"), backend=Scripted(answer=refuse, info=ByRule().info))
    assert (tmp_path / "run" / "rows.jsonl").read_bytes() == before
    assert prove(settings(tmp_path, *words), backend=ByRule()).searches[0].theorems == len(ALL)
    with pytest.raises(RunError, match="candidates"):
        prove(settings(tmp_path, *words, "candidates=4"), backend=ByRule())


def test_another_file_of_the_same_name_is_refused(tmp_path):
    words = [f"run={tmp_path / 'run'}"]
    prove(settings(tmp_path, *words))
    toy_file(tmp_path / "statements.toy", {**ALL, "wrong": "p -> r"})
    with pytest.raises(RunError, match=r"theorems\.digest"):
        prove(settings(tmp_path, *words))


# --- faults ------------------------------------------------------------------------------------------------------


def test_a_path_that_the_check_refuses_is_no_proof_and_the_search_goes_on(tmp_path):
    def lie(state: ProofState, tactic: str, times: int):
        if tactic == "split" and len(state.tactics) == 2:
            return ProofState(theorem=state.theorem, tactics=(*state.tactics, tactic), goals=())
        return None

    config = settings(
        tmp_path, "search=best_first", "model=fixed", "names=and_swap", f"run={tmp_path / 'run'}", "ladder=false"
    )
    result = prove(config, prover=Faulty(lie))
    row = rows_of(tmp_path / "run")["and_swap/best_first"]
    assert row["proved"] and row["rejected"] == result.searches[0].rejected > 0
    told = [
        c for line in trace_of(tmp_path / "run", "and_swap") for c in line["candidates"] if c["result"] == "rejected"
    ]
    assert all(c["message"].startswith("tactics: ") for c in told)


def test_a_check_whose_process_was_killed_is_asked_again_and_a_steady_refusal_is_final(tmp_path):
    class Killed(Faulty):
        def __init__(self, killed: int, same: bool) -> None:
            super().__init__(lambda state, tactic, times: None)
            self.asked, self.killed, self.same = 0, killed, same

        def check(self, theorem, proof, limits=None):
            self.asked += 1
            if self.asked > self.killed:
                return super().check(theorem, proof)
            layer = VerdictLayer(name="compile", ok=False, detail="no such tactic" if self.same else "ended with -9")
            return Verdict(proved=False, axioms=(), layers=(layer,), seconds=0.1)

    words = ["names=and_swap"]
    for killed, same, proved in (
        (1, True, True),
        (2, True, True),
        (3, True, False),
        (9, False, True),
        (99, False, False),
    ):
        prover = Killed(killed, same)
        assert prove(settings(tmp_path, *words), prover=prover).theorems[0]["proved"] is proved
        assert prover.asked == (killed + 1 if proved else 3 if same else 12)


def test_a_dead_worker_is_asked_again_and_changes_nothing(tmp_path):
    def die_once(state: ProofState, tactic: str, times: int):
        return Failure(kind="crash", message="killed") if times == 1 and len(tactic) % 2 == 0 else None

    words = ["search=best_first", "model=fixed", "cache=none"]
    whole = prove(settings(tmp_path, *words, f"run={tmp_path / 'whole'}"))
    killed = prove(settings(tmp_path, *words, f"run={tmp_path / 'killed'}"), prover=Faulty(die_once))
    assert verdicts(tmp_path / "whole") == verdicts(tmp_path / "killed")
    assert traces(tmp_path / "whole") == traces(tmp_path / "killed")
    assert whole.searches[0].crashes == 0 < killed.searches[0].crashes


def test_a_tactic_that_always_kills_its_worker_is_a_crash_and_the_theorem_goes_on(tmp_path):
    def deadly(state: ProofState, tactic: str, times: int):
        return Failure(kind="crash", message="segmentation fault in process 123") if tactic == "trivial" else None

    config = settings(tmp_path, "search=best_first", "model=fixed", "names=chain", f"run={tmp_path / 'run'}")
    prove(config, prover=Faulty(deadly))
    results = {c["tactic"]: c for c in trace_of(tmp_path / "run", "chain")[0]["candidates"]}
    assert results["trivial"]["result"] == "crash" and "message" not in results["trivial"]
    assert results["intro"]["result"] == "open"


def test_failures_of_the_infrastructure_are_stored_counted_apart_and_tried_again(tmp_path):
    def broken(state: ProofState, tactic: str, times: int):
        return ProverError("no processes are left") if state.theorem.name == "chain" else None

    config = settings(tmp_path, "search=best_first", "model=fixed", f"run={tmp_path / 'run'}", "ladder=false")
    with pytest.raises(ProverError, match=r"1 of 12 searches were lost to failures, the first: .*no processes"):
        prove(config, prover=Faulty(broken))
    stored = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert stored["errors"] == 1 and stored["metrics"][0]["n"] == len(ALL) - 1
    result = prove(config, prover=Faulty(lambda state, tactic, times: None))
    assert result.errors == 0 and result.metrics[0].n == len(ALL) and result.searches[0].proved == len(EASY)


# --- mistakes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["search=best_first"], "asks a model: say model="),
        (["search=whole", "model=fixed"], "needs a model that writes proofs"),
        (["names=nand_swap"], "did you mean and_swap"),
        (["prover=tow"], "unknown prover 'tow'; did you mean toy"),
        (["options.split=test"], "a file has no options"),
        (["search=best_first", "model=by:rule", "sampling=beam"], "cannot search beams"),
    ],
)
def test_mistakes_are_named_before_any_work(tmp_path, words, message):
    backend = ByRule() if "sampling=beam" in words else None
    with pytest.raises(ConfigError, match=message):
        prove(settings(tmp_path, *words), backend=backend)


@pytest.mark.parametrize(
    "words", [["budget.tokens=0"], ["search=ladder,ladder"], ["candidates=0"], ["top_p=0"], ["seed=-1"]]
)
def test_values_out_of_range_are_refused(tmp_path, words):
    with pytest.raises(ConfigError):
        settings(tmp_path, *words)


def test_a_text_that_names_the_theorem_is_taken_for_a_file():
    named = theorem("p", "foo")
    assert restates("Theorem foo : p.", named) and restates("(* foo *) auto.", named)
    assert not restates("apply foo_bar. intros food foo'.", named)


def test_forty_theorems_of_every_kind(tmp_path):
    toy_file(tmp_path / "statements.toy", many(40))
    result = prove(settings(tmp_path, "search=best_first", "model=fixed"))
    assert 20 < result.searches[0].proved < 40

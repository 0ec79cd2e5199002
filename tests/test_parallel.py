"""Training over several processes: the losses of one, whatever the layout, and checkpoints that any layout reads."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader

import killed
from llemma.config import build, to_table
from llemma.corpus.pipeline import CorpusConfig, SourceEntry
from llemma.errors import ConfigError, DataError
from llemma.models.checkpoint import load_model
from llemma.models.files import load_tensors
from llemma.models.llama import Llama, LlamaConfig, initial, initialise
from llemma.run import read_json, read_jsonl
from llemma.tokens.tokenizer import load_tokenizer
from llemma.train.checkpoint import Kept, Saver, checked, checkpoints, export, load_checkpoint, step_of
from llemma.train.config import ParallelConfig, TrainConfig
from llemma.train.guard import GuardConfig
from llemma.train.job import exported
from llemma.train.launch import script
from llemma.train.loop import train
from llemma.train.optim import adamw
from llemma.train.parallel import ALONE, clip, divided, gradient_norm
from ranks import train_all
from test_train import TokenizerEntry, build_corpus, losses_of, weights_of, write_sources

EXACT = 1e-5


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: these tests flush hundreds of files to the disk."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    # 401 entries and a width of 52 below: no number of processes divides them
    recipe = CorpusConfig(
        sources=write_sources(folder), tokenizer=TokenizerEntry(vocab_size=401), valid_share=0.05, run=folder / "built"
    )
    build_corpus(recipe)
    return folder / "built"


def table(run: Path, corpus: Path, **changes: Any) -> dict[str, Any]:
    """A run of six steps as a table of settings."""
    sizes = {"hidden_size": 32, "intermediate_size": 52, "num_hidden_layers": 2}
    return {
        "corpus": str(corpus),
        "run": str(run),
        "model": sizes | {"num_attention_heads": 4, "num_key_value_heads": 2},
        "context": 32,
        "batch_size": 8,
        "steps": 6,
        "optim": {"lr": 1e-2, "warmup": 2},
        "precision": "fp32",
        "threads": 1,
        "device": "cpu",
        "checkpoint_every": 3,
        "log_every": 1,
        "valid_every": 3,
        "valid_batches": 1,
    } | changes


def alone(run: Path, corpus: Path, *, stop_at: int | None = None, **changes: Any) -> Path:
    train(build(TrainConfig, table(run, corpus, **changes)), stop_at=stop_at)
    return run


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one process, never stopped."""
    return alone(tmp_path_factory.mktemp("whole") / "run", corpus)


def same_run(run: Path, other: Path) -> None:
    """Losses, also by source, norms and validation agree step by step, and the weights at the end."""
    mine, theirs = list(read_jsonl(run / "rows.jsonl")), list(read_jsonl(other / "rows.jsonl"))
    assert [row["id"] for row in mine] == [row["id"] for row in theirs]
    for a, b in zip(mine, theirs, strict=True):
        assert ("sources" in a) == ("loss" in a)
        for key in ("loss", "grad_norm", "valid", "sources"):
            assert a.get(key) == pytest.approx(b.get(key), abs=EXACT), (a["id"], key)
    a, b = (load_tensors(folder / "model" / "model.safetensors") for folder in (run, other))
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=1e-4, rtol=1e-3)


# One layout and another


@pytest.fixture(scope="module")
def shared(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run by two processes."""
    folder = tmp_path_factory.mktemp("shared")
    train_all([table(folder / "run", corpus, world=2)], folder)
    return folder / "run"


@pytest.mark.slow
def test_two_processes_have_the_losses_of_one_and_leave_the_same_model(whole: Path, shared: Path) -> None:
    same_run(shared, whole)
    written = checkpoints(shared / "checkpoints")[-1]
    parts = sorted(path.name for path in written.glob("*.safetensors"))
    kinds = ("optimizer", "weights")
    assert parts == [f"{kind}-part-{rank:05}-of-00002.safetensors" for kind in kinds for rank in (1, 2)]
    held = sum(t.numel() for path in written.glob("weights-*") for t in load_tensors(path).values())
    assert held == read_json(whole / "metrics.json")["parameters"]  # each weight once, none of them whole


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_layout_has_the_losses_of_one_process_and_goes_on_from_any_other(
    corpus: Path, whole: Path, memory: Path
) -> None:
    def job(name: str, world: int, **changes: Any) -> dict[str, Any]:
        return table(memory / name, corpus, world=world, **changes)

    two_by_two = {"parallel": {"tensor": 2}}
    alone(memory / "1 to 4", corpus, stop_at=3)
    alone(memory / "1 to 2x2", corpus, stop_at=3)
    alone(memory / "read whole", corpus, init=str(whole))
    train_all(
        [
            job("4", 4),
            job("2x2", 4, **two_by_two),
            job("2x2 checkpointing", 4, parallel={"tensor": 2, "checkpointing": "selective", "reshard": False}),
            job("replicas, accumulating", 4, micro_batch=1, parallel={"replicate": 2, "checkpointing": "full"}),
            job("1 to 4", 4),
            job("1 to 2x2", 4, **two_by_two),
            job("2x2 to 1", 4, stop_at=3, **two_by_two),
            job("4 to 2", 4, stop_at=3),
            job("4 to 2", 2),
            job("read in slices", 4, init=str(whole), **two_by_two),
            job("2 to 2x2", 2, stop_at=3),
            job("2 to 2x2", 4, **two_by_two),
        ],
        memory,
    )
    alone(memory / "2x2 to 1", corpus)
    same_run(memory / "read in slices", memory / "read whole")
    for run in memory.iterdir():
        if run.is_dir() and not run.name.startswith("read"):
            same_run(run, whole)
    rows = [row for run in ("4 to 2", "2x2 to 1") for row in (memory / run / "log.txt").read_text().splitlines()]
    assert sum("resumed at step 3" in row for row in rows) == 2


# In one process


@pytest.mark.parametrize("changes", [{"micro_batch": 3}, {"micro_batch": 1}, {"parallel": {"checkpointing": "full"}},
                                     {"parallel": {"checkpointing": "selective"}}], ids=str)  # fmt: skip
def test_accumulation_and_checkpointing_change_no_number(
    changes: dict[str, Any], corpus: Path, whole: Path, tmp_path: Path
) -> None:
    same_run(alone(tmp_path / "run", corpus, **changes), whole)


def test_micro_batches_of_unequal_numbers_of_targets_weigh_as_one_batch(corpus: Path, tmp_path: Path) -> None:
    """With a document mask, rows have different numbers of targets: a mean of means would be another loss."""
    runs = [alone(tmp_path / str(n), corpus, documents=True, micro_batch=n) for n in (0, 1, 3)]
    for run in runs[1:]:
        same_run(run, runs[0])
    assert losses_of(runs[0]) != losses_of(alone(tmp_path / "stream", corpus))


def test_a_layout_that_does_not_divide_is_refused_with_the_number_that_would(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"parallel\.tensor=2 does not divide 1 process; start a multiple of 2 with"):
        alone(tmp_path / "run", corpus, parallel={"tensor": 2})
    with pytest.raises(ValueError, match="must be at least 1"):
        ParallelConfig(replicate=0)
    with pytest.raises(ConfigError, match="does not divide the model's 3 key and value heads"):
        divided(Llama(LlamaConfig(num_key_value_heads=3)), 2)


def test_a_weight_depends_on_its_name_and_the_seed_alone() -> None:
    config = LlamaConfig(hidden_size=32, intermediate_size=48, num_attention_heads=2, num_key_value_heads=2)
    model = Llama(config)
    initialise(model, 3)
    deeper = Llama(replace(config, num_hidden_layers=config.num_hidden_layers))
    initialise(deeper, 3)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, initial(config, name, parameter.shape, 3))
        if parameter.ndim > 1:
            assert not torch.equal(parameter, initial(config, name, parameter.shape, 4))
    q = [initial(config, f"model.layers.{i}.self_attn.q_proj.weight", torch.Size((32, 32)), 3) for i in range(2)]
    assert not torch.equal(*q)
    assert q[0].std().item() == pytest.approx(1 / math.sqrt(32), rel=0.1)


def test_clipping_scales_to_the_limit_and_never_up() -> None:
    layer = torch.nn.Linear(4, 3)
    for parameter in layer.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    norm = gradient_norm(ALONE, layer.parameters()).item()
    assert norm == pytest.approx(2 * math.sqrt(15))
    clip(layer.parameters(), norm, 100.0)
    clip(layer.parameters(), norm, 0.0)
    assert layer.bias.grad is not None and layer.bias.grad[0] == 2.0
    clip(layer.parameters(), norm, 1.0)
    assert gradient_norm(ALONE, layer.parameters()).item() == pytest.approx(1.0, rel=1e-5)


# The guard


@pytest.mark.slow
def test_a_spike_is_left_behind_by_going_back_and_reading_on(tmp_path: Path) -> None:
    """One row in 16 is of another kind: its loss is far off, and the run jumps over it, stopped or not."""
    rng, sources = random.Random(0), {}
    texts = {"same": ["1 1 1 1 " * 600], "other": ["".join(rng.choices("abcdefgh", k=400)) for _ in range(20)]}
    for name, weight in (("same", 15.0), ("other", 1.0)):
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps({"id": str(i), "text": t}) + "\n" for i, t in enumerate(texts[name])))
        sources[name] = SourceEntry(kind="jsonl", weight=weight, options={"paths": [str(path)]})
    build_corpus(CorpusConfig(sources=sources, tokenizer=TokenizerEntry(vocab_size=300), run=tmp_path / "corpus"))
    guard = to_table(GuardConfig(deviations=20.0, window=8, least=4, patience=1, returns=9))
    changes = {"guard": guard, "batch_size": 1, "steps": 60, "checkpoint_every": 4, "valid_every": 0}
    run = alone(tmp_path / "run", tmp_path / "corpus", **changes)
    rows = list(read_jsonl(run / "rows.jsonl"))
    events = [row for row in rows if "guard" in row]
    assert events and all(row["guard"] == "back" and "robust deviations" in row["reason"] for row in events)
    assert all(row["to"] % 4 == 0 and row["to"] < row["step"] for row in events)
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 61))  # each step once, none of them the bad
    for stop in (8, events[0]["to"], 44):
        alone(tmp_path / "stopped", tmp_path / "corpus", stop_at=stop, **changes)
    alone(tmp_path / "stopped", tmp_path / "corpus", **changes)
    assert weights_of(tmp_path / "stopped") == weights_of(run)
    again = list(read_jsonl(tmp_path / "stopped" / "rows.jsonl"))
    for key in ("id", "loss", "guard", "to", "shift"):
        assert [row.get(key) for row in again] == [row.get(key) for row in rows]


# Checkpoints


def small(seed: int = 0) -> tuple[Llama, torch.optim.AdamW]:
    model = Llama(LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=24, num_attention_heads=2,
                              num_key_value_heads=2, num_hidden_layers=2))  # fmt: skip
    initialise(model, seed)
    optimizer = adamw(model, build(TrainConfig, {"corpus": "none"}).optim)
    model.loss(torch.arange(40).view(2, 20)).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return model, optimizer


def test_a_checkpoint_written_in_the_background_holds_the_moment_of_the_save(tmp_path: Path) -> None:
    model, optimizer = small()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with Saver(tmp_path, ALONE, Kept(newest=2), background=True) as saver:
        saver.save(7, model, optimizer, end_id=0, state={"extra": 1})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(float("nan"))
    other, fresh = small(1)
    state = load_checkpoint(tmp_path / "step-000007", other, fresh)
    assert state["step"] == 7 and state["extra"] == 1 and state["updates"] == 1
    for name, parameter in other.named_parameters():
        assert torch.equal(parameter, before[name])
        assert fresh.state[parameter]["step"] == 1


def test_the_newest_and_every_so_many_stay(tmp_path: Path) -> None:
    model, optimizer = small()
    with Saver(tmp_path, ALONE, Kept(newest=2, every=30), background=False) as saver:
        for step in range(10, 101, 10):
            saver.save(step, model, optimizer, end_id=0, state={})
    assert [path.name for path in checkpoints(tmp_path)] == [f"step-{n:06}" for n in (30, 60, 90, 100)]


def test_what_goes_wrong_in_the_background_is_raised_by_the_next_save_or_the_end(tmp_path: Path) -> None:
    model, optimizer = small()
    with pytest.raises(TypeError, match="JSON"), Saver(tmp_path, ALONE, Kept(newest=2), background=True) as saver:
        saver.save(1, model, optimizer, end_id=0, state={"what": object()})
    assert checkpoints(tmp_path) == []
    assert not list(tmp_path.glob(".*.part"))


def test_a_checkpoint_of_two_processes_becomes_a_model_folder_and_plain_pytorch_reads_it(
    shared: Path, tmp_path: Path
) -> None:
    written = Path(shutil.copytree(checkpoints(shared / "checkpoints")[0], tmp_path / "step-000003"))
    sizes = LlamaConfig(vocab_size=401, max_position_embeddings=32, hidden_size=32, intermediate_size=52,
                        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2)  # fmt: skip
    with torch.device("meta"):
        model = Llama(sizes)
    (tmp_path / "model").mkdir()
    export(written, model, tmp_path / "model", end_id=0, dtype=torch.bfloat16)
    exported = load_model(tmp_path / "model")
    plain = {name: torch.zeros(p.shape) for name, p in exported.named_parameters()}
    with pytest.warns(UserWarning, match="single process"):
        dist.checkpoint.load(plain, storage_reader=HuggingFaceStorageReader(str(written)))
    for name, parameter in exported.named_parameters():
        assert plain[name].abs().sum() > 0
        assert torch.equal(parameter.to(torch.bfloat16), plain[name].to(torch.bfloat16))
    victim = sorted(written.glob("optimizer-*"))[1]
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    with pytest.raises(DataError, match="damaged checkpoint file"):
        export(written, model, tmp_path / "model", end_id=0, dtype=torch.float32)


@pytest.mark.slow
def test_killed_at_any_file_operation_of_a_save_one_of_two_checkpoints_is_there_and_right(memory: Path) -> None:
    done = subprocess.run(
        [sys.executable, killed.__file__, str(memory)], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    died = int(done.stdout)
    assert died > 15
    expected = {steps: killed.trained(steps)[0].state_dict() for steps in (1, 2)}
    newest = set()
    for n in range(1, died + 1):
        found = checkpoints(memory / str(n))
        assert found
        for path in found:
            model, optimizer = killed.trained(0)
            step = load_checkpoint(path, model, optimizer)["step"]
            assert step == step_of(path)
            for name, tensor in model.state_dict().items():
                assert torch.equal(tensor, expected[step][name])
        newest.add(step_of(found[-1]))
        Saver(memory / str(n), ALONE, Kept(newest=1), background=False)
        assert not list((memory / str(n)).glob(".step-*.part"))  # what it left is swept away
    assert newest == {1, 2}  # some died before the checkpoint was there, some after


def test_a_run_of_two_processes_is_exported_by_one(corpus: Path, shared: Path, tmp_path: Path) -> None:
    config = build(TrainConfig, table(shared, corpus, export=str(tmp_path / "model")))
    exported(config)
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == weights_of(shared)
    assert load_tokenizer(tmp_path / "model").vocab_size == 401
    with pytest.raises(ConfigError, match="exists; choose another name"):
        exported(config)
    with pytest.raises(DataError, match="no checkpoint here to export"):
        exported(replace(config, run=tmp_path / "none"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_printed_script_starts_torchrun_whose_workers_end_with_it_and_goes_on_after_kill_9(
    corpus: Path, memory: Path
) -> None:
    changes = {"steps": 24, "checkpoint_every": 2}
    config = build(TrainConfig, table(memory / "run", corpus, gpus=2, launch="torchrun", **changes))
    text = script(config)
    assert "--standalone --nproc-per-node 2 -m llemma train" in text
    env = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    folder = memory / "run" / "checkpoints"
    process = subprocess.Popen(
        ["bash", "-c", text], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=env
    )
    try:
        deadline = time.monotonic() + 100
        while not checkpoints(folder):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.002)
        kill_all(memory, of="torchrun")
        process.wait()
        deadline = time.monotonic() + 60
        while running(memory):  # nobody tells the workers: they see that their parent is gone
            assert time.monotonic() < deadline, "workers went on without torchrun"
            time.sleep(0.1)
    finally:
        kill_all(memory)
        process.wait()
    for path in checkpoints(folder):
        checked(path, ALONE)
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=100, check=False, env=env)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 and done.stdout.startswith("loss ")  # one of the two speaks
    assert "resumed at step" in (memory / "run" / "log.txt").read_text()
    same_run(memory / "run", alone(memory / "straight", corpus, **changes))


def kill_all(folder: Path, of: str = "") -> None:
    """kill -9 for every process with the folder, and ``of``, in its command line: workers have own sessions."""
    while found := running(folder, of):
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def running(folder: Path, of: str = "") -> list[int]:
    """The processes with the folder, and ``of``, in their command line."""
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if int(path.parent.name) != os.getpid() and mentions(path, str(folder)) and mentions(path, of)
    ]


def mentions(path: Path, text: str) -> bool:
    try:
        return text.encode() in path.read_bytes()
    except OSError:  # it ended meanwhile
        return False

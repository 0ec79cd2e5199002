"""What a run would take, the scripts that start it, fp8 products, z-loss: what needs no second process."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor

from llemma.config import resolve
from llemma.errors import ConfigError
from llemma.models.fp8 import Fp8Linear, to_fp8
from llemma.models.llama import Llama, LlamaConfig, initialise
from llemma.train.config import ParallelConfig, TrainConfig
from llemma.train.launch import script, words
from llemma.train.memory import block_bytes, plan, shown

ROOT = Path(__file__).resolve().parents[1]
PAPER = TrainConfig(corpus=Path("not/built"), init="codellama/CodeLlama-7b-hf", context=4096, batch_size=1024)
SMALL = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_attention_heads=4, num_key_value_heads=2,
                    num_hidden_layers=2)  # fmt: skip


def planned(**changes: Any) -> Any:
    return plan(replace(PAPER, **changes))


# The plan


@pytest.mark.parametrize(
    ("init", "parameters"),
    [("codellama/CodeLlama-7b-hf", 6_738_546_688), ("codellama/CodeLlama-34b-hf", 33_743_970_304)],
)
def test_the_papers_models_are_planned_without_weights_or_corpus(init: str, parameters: int) -> None:
    found = planned(init=init, gpus=64)
    assert found["parameters"] == parameters
    assert found["tokens_per_step"] == 4_194_304
    assert found["per_gpu"]["optimizer_bytes"] == pytest.approx(8 * parameters / 64, rel=1e-3)
    assert found["per_gpu"]["weights_bytes"] == pytest.approx(4 * parameters / 64, rel=1e-3)


def test_the_shards_of_all_gpus_are_the_model() -> None:
    for settings, gpus in ((ParallelConfig(), 8), (ParallelConfig(tensor=2), 8), (ParallelConfig(replicate=2), 8)):
        found = planned(parallel=settings, gpus=gpus)
        held = 0
        for row in found["sharding"]:
            size = 1
            for n in row["per_gpu"]:
                size *= n
            split = settings.tensor if row["tensor"] != "whole" else 1
            held += size * row["count"] * split * found["layout"]["dp_shard"]
        assert held == pytest.approx(found["parameters"], rel=1e-3)  # rows that do not divide are padded


def test_more_checkpointing_needs_less_memory_and_tensor_parallel_divides_activations() -> None:
    activations = planned(gpus=8, micro_batch=1)["per_gpu"]["activations_bytes"]
    assert activations["none"] > activations["selective"] > activations["full"]
    split = planned(gpus=8, micro_batch=1, parallel=ParallelConfig(tensor=2))["per_gpu"]["activations_bytes"]
    assert split["none"] < activations["none"] < 2 * split["none"]


class Kept(torch.autograd.graph.saved_tensors_hooks):
    """Counts the bytes of the distinct tensors that a forward pass keeps for the backward pass."""

    def __init__(self, ignored: set[int]) -> None:
        self.sizes: dict[int, tuple[int, Tensor]] = {}

        def pack(tensor: Tensor) -> Tensor:
            key = tensor.untyped_storage().data_ptr()
            if key not in ignored:
                self.sizes[key] = (tensor.untyped_storage().nbytes(), tensor)  # held, so that no address comes twice
            return tensor

        super().__init__(pack, lambda tensor: tensor)

    @property
    def bytes(self) -> int:
        return sum(size for size, _ in self.sizes.values())


def test_a_blocks_activations_are_counted_as_a_real_block_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llemma.models.layers._eager_on_cpu", lambda _: False)  # norms and rotary as on a GPU
    config = replace(SMALL, hidden_size=128, intermediate_size=352, num_attention_heads=2, num_key_value_heads=2)
    model = Llama(config)
    initialise(model, 0)
    model.bfloat16()
    block, tokens = model.blocks()[0], 64
    turn = model.rotation(tokens)
    known = {p.untyped_storage().data_ptr() for p in model.parameters()}
    known |= {t.untyped_storage().data_ptr() for t in (turn.cos, turn.sin)}
    x = torch.randn(1, tokens, 128, dtype=torch.bfloat16, requires_grad=True)
    kept = Kept(known)
    with kept:
        block(x, turn)
    # more on the CPU: attention's weights (64 x 64 a head), and RMSNorm, which is one kernel on a GPU, keeps its
    # normalised input in fp32; not counted, as they are the same for all rows: the rotary angles in bf16
    own = 2 * config.num_attention_heads * 64 * 64 + 8 * tokens * config.hidden_size + 4 * tokens * config.head_dim
    assert kept.bytes - own == pytest.approx(tokens * block_bytes(config, "none"), rel=0.02)


def test_a_batch_that_cannot_be_shared_out_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size=1024 cannot be shared out to 48"):
        planned(gpus=48)
    with pytest.raises(ConfigError, match="does not divide 8 processes; start a multiple of 3"):
        planned(gpus=8, parallel=ParallelConfig(tensor=3))


def test_people_see_the_memory_of_each_gpu() -> None:
    text = shown(planned(gpus=8, micro_batch=2))
    assert "8 GPUs: dp_replicate 1 x dp_shard 8 x tp 1" in text
    assert "model.layers.*.self_attn.q_proj.weight" in text and "512 x 4096" in text
    assert "parallel.checkpointing=full" in text and "GiB" in text


# The scripts


SPECIAL = replace(
    PAPER, run=Path("runs/a b"), mixture={"arxiv": 2.0, "web": 4.0}, parallel=ParallelConfig(tensor=2, compile=True),
    gpus=16, optim=replace(PAPER.optim, lr=1e-4, horizon=48000),
)  # fmt: skip


@pytest.mark.parametrize("kind", ["torchrun", "slurm", "skypilot"])
def test_the_words_of_a_script_give_the_settings_back(kind: Any) -> None:
    config = replace(SPECIAL, launch=kind)
    text = script(config)
    body = yaml.safe_load(text)["run"] if kind == "skypilot" else text
    command = body[body.index("-m llemma train") :].replace("\\\n", " ")
    found = shlex.split(command)[3:]
    assert found == words(config)
    again = resolve(TrainConfig, words=found)
    assert again == replace(config, gpus=1, launch="")
    checked = subprocess.run(["bash", "-n"], input=body, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_the_scripts_ask_for_full_machines() -> None:
    assert "--nnodes 2 --nproc-per-node 8" in script(replace(SPECIAL, launch="torchrun"))
    slurm = script(replace(SPECIAL, launch="slurm", gpus_per_node=4))
    assert "#SBATCH --nodes=4\n" in slurm and "#SBATCH --gpus-per-node=4\n" in slurm
    cloud = yaml.safe_load(script(replace(SPECIAL, launch="skypilot")))
    assert cloud["num_nodes"] == 2 and cloud["resources"]["accelerators"] == "H100:8"
    assert script(replace(SPECIAL, launch="torchrun", gpus=4)).count("--standalone --nproc-per-node 4") == 1
    with pytest.raises(ConfigError, match="does not divide 15 processes"):
        script(replace(SPECIAL, launch="slurm", gpus=15))


# Arithmetic


def test_fp8_products_are_near_and_keep_the_parameters() -> None:
    torch.manual_seed(0)
    model, other = Llama(SMALL), Llama(SMALL)
    initialise(model, 0)
    other.load_state_dict(model.state_dict())
    before = {name: id(p) for name, p in model.named_parameters()}
    assert sum(to_fp8(block) for block in model.blocks()) == 7 * 2
    assert {name: id(p) for name, p in model.named_parameters()} == before
    assert type(model.lm_head) is not Fp8Linear  # the output layer stays in full precision
    ids = torch.randint(64, (4, 33))
    for each in (model, other):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = each.loss(ids)
        loss.backward()  # type: ignore[no-untyped-call]
    for (name, a), (_, b) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        assert a.grad is not None and b.grad is not None
        off = (a.grad - b.grad).norm() / b.grad.norm()
        assert off < 0.5, name  # a single product is 4 to 6 % off
    assert any(
        not torch.equal(a.grad, b.grad) for a, b in zip(model.parameters(), other.parameters(), strict=True)
        if a.grad is not None and b.grad is not None
    )  # fmt: skip


def test_fp8_leaves_sizes_that_the_hardware_cannot_multiply_in_bf16() -> None:
    odd = torch.nn.Sequential(torch.nn.Linear(40, 32, bias=False), torch.nn.Linear(32, 32))
    assert to_fp8(odd) == 0
    layer = torch.nn.Linear(32, 32, bias=False)
    expected = layer(torch.ones(3, 32))
    to_fp8(layer)
    assert torch.equal(layer(torch.ones(3, 32)), expected)  # three rows


def test_z_loss_is_in_the_gradient_and_the_logged_loss_stays_the_cross_entropy() -> None:
    torch.manual_seed(0)
    model = Llama(SMALL)
    initialise(model, 0)
    ids = torch.randint(64, (2, 20))
    plain = model.loss(ids).item()
    model.z_loss = 0.3
    loss = model.loss(ids)
    assert loss.item() == plain
    loss.backward()  # type: ignore[no-untyped-call]
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    with torch.enable_grad():
        logits = model(ids[:, :-1]).flatten(0, 1)
        written_out = F.cross_entropy(logits, ids[:, 1:].flatten()) + 0.3 * logits.logsumexp(-1).square().mean()
    written_out.backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_gpu_benchmark_runs_from_end_to_end_on_the_cpu() -> None:
    words_ = "device=cpu models=tiny minutes=9 context=32 steps=1 accumulate=2 curve=3 compile=false peak_tflops=1"
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "train_gpu.py"), *words_.split()],
        capture_output=True, text=True, timeout=280, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "whether it runs, not a measurement" in done.stdout and "loss by step" in done.stdout
    for contender in ("llemma", "llemma, fp8", "transformers' Trainer"):
        assert re.search(rf"\| tiny, 2 blocks, 0.00B \| {contender} \| full \| 2 \| [\d,]+ \|", done.stdout), contender
    assert not re.search("out of memory|left out|failed|time is up", done.stdout)


@pytest.mark.slow
def test_the_gpu_benchmark_ends_when_its_time_is_up_whatever_it_is_doing() -> None:
    words_ = "device=cpu models=tiny minutes=0.1 context=32 steps=100000 compile=false trainer=false"
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "train_gpu.py"), *words_.split()],
        capture_output=True, text=True, timeout=100, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun > 6
    assert re.search(
        r"\| llemma \| full \| 2 \| ([\d,]+|stopped: the time is up|left out: the time is up) \|", done.stdout
    )
    assert "| llemma, fp8 | full | 2 | left out: the time is up |" in done.stdout
    assert "loss curves left out" in done.stdout

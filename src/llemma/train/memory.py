"""What a run would take, without starting it: parameters, tokens, and the memory of each GPU, from the meta device.

The formulas are those of this package's own layout: fp32 masters, gradients and AdamW moments are sharded, weights are
gathered in bf16 block by block. Activations are counted for our Llama block in bf16, run eagerly; a compiled block
keeps less. What CUDA, NCCL and fragmentation take (1 to 3 GB) is not in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from llemma.errors import ConfigError
from llemma.models.llama import Llama, LlamaConfig
from llemma.models.loss import GPU_CHUNK
from llemma.models.trainable import Trainable
from llemma.train.config import ParallelConfig, TrainConfig, sizes
from llemma.train.job import Job, described, prepare
from llemma.train.parallel import divided

POLICIES = ("none", "selective", "full")


def plan(config: TrainConfig) -> Mapping[str, Any]:
    """Parameters, tokens, epochs per source, and for ``config.gpus`` GPUs the layout and memory of each.

    A corpus that is not there yet leaves out the epochs; everything that is there must fit. Raises ConfigError.
    """
    job = _job(config)
    model = described(config, job.tokenizer if job else None)
    steps = job.config.steps if job else config.steps
    parameters, tokens = model.parameter_count(), config.batch_size * config.context
    found: dict[str, Any] = {
        "parameters": parameters,
        "tokens_per_step": tokens,
        "tokens": tokens * steps,
        "flops_per_token": round(model.flops_per_token(config.context)),
        "weights_bytes": 4 * parameters,
        "gradients_bytes": 4 * parameters,
        "optimizer_bytes": 8 * parameters,
    }
    if job:
        found |= {"epochs": job.rows.epochs(steps), **job.rows.account()}
    replicas, shards, tensor = sizes(config.parallel, config.gpus)
    share, left = divmod(config.batch_size, replicas * shards)
    if left:
        raise ConfigError(f"batch_size={config.batch_size} cannot be shared out to {replicas * shards} shares")
    rows = min(config.micro_batch or share, share)
    return found | {
        "layout": {"gpus": config.gpus, "dp_replicate": replicas, "dp_shard": shards, "tp": tensor},
        "micro_batch": rows,
        "accumulation": -(-share // rows),
        "per_gpu": per_gpu(model, config.parallel, config.gpus, rows * config.context),
        "sharding": sharding(model, config.parallel, config.gpus),
    }


def per_gpu(model: Trainable, settings: ParallelConfig, gpus: int, tokens: int) -> dict[str, Any]:
    """Bytes on each GPU while ``tokens`` tokens are in one pass; activations and totals by checkpointing policy."""
    _, shards, tensor = sizes(settings, gpus)
    divided(model, tensor)  # a plan that does not fit is refused as the run would refuse it
    split = {f"{name}.weight" for name in model.tensor_plan()} if tensor > 1 else set[str]()
    held = {name: -(-p.numel() // (tensor if name in split else 1)) for name, p in model.named_parameters()}
    own = sum(-(-n // shards) for n in held.values())
    block = sum(held[name] for name in held if id(model.get_parameter(name)) in _of_block(model))
    root = sum(held.values()) - block * len(model.blocks())
    # gathered in bf16: the block at work and the one fetched ahead, and what stands outside the blocks; a block's
    # gradients in bf16 and their fp32 copy while they are reduced
    gathered = 2 * (root + 2 * block) if settings.reshard else 2 * sum(held.values())
    found: dict[str, Any] = {
        "weights_bytes": 4 * own,
        "gradients_bytes": 4 * own,
        "optimizer_bytes": 8 * own,
        "gathered_bytes": gathered + 6 * max(block, root),
    }
    if isinstance(model, Llama):
        c = model.config
        found["loss_bytes"] = 4 * c.vocab_size * c.hidden_size + 10 * GPU_CHUNK * c.vocab_size
        always = sum(found.values())
        activations = {policy: activation_bytes(c, policy, tokens, tensor) for policy in POLICIES}
        found["activations_bytes"] = activations
        found["total_bytes"] = {policy: always + n for policy, n in activations.items()}
    return found


def activation_bytes(config: LlamaConfig, policy: str, tokens: int, tensor: int = 1) -> int:
    """Bytes that a forward pass keeps for the backward pass, bf16, blocks run eagerly; see ``block_bytes``."""
    layers, width = config.num_hidden_layers, config.hidden_size
    kept = layers * block_bytes(config, policy, tensor)
    if policy != "none":  # the block that is made again
        kept += block_bytes(config, "none", tensor)
    return tokens * (kept + 4 * width + 2 * width + 4 * width)  # final norm in fp32, its output, and its gradient


def block_bytes(config: LlamaConfig, policy: str, tensor: int = 1) -> int:
    """Bytes per token that one block keeps.

    none: both norms' inputs in fp32 and outputs in bf16; queries, keys, values, mixed values; gate, its silu, up and
    their product. selective: the block's input and the outputs of its products and of attention. full: its input.
    """
    h, kv, f = config.hidden_size, config.num_key_value_heads * config.head_dim, config.intermediate_size
    if policy == "full":
        return 2 * h
    if policy == "selective":
        return 6 * h + 2 * (2 * h + 2 * kv + 2 * f) // tensor
    return 12 * h + 2 * (2 * h + 2 * kv + 4 * f) // tensor


def sharding(model: Trainable, settings: ParallelConfig, gpus: int) -> list[dict[str, Any]]:
    """How each kind of weight is divided: its name with ``*`` for the layer, its shape, and the part on one GPU."""
    _, shards, tensor = sizes(settings, gpus)
    plan_ = model.tensor_plan() if tensor > 1 else {}
    found: dict[str, dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        kind = re.sub(r"\.\d+\.", ".*.", name)
        if kind in found:
            found[kind]["count"] += 1
            continue
        shape, how = list(parameter.shape), plan_.get(name.removesuffix(".weight"), "whole")
        mine = list(shape)
        if how != "whole":
            axis = 0 if how == "colwise" else 1
            mine[axis] = -(-mine[axis] // tensor)
        mine[0] = -(-mine[0] // shards)
        found[kind] = {"name": kind, "count": 1, "shape": shape, "tensor": how, "per_gpu": mine}
    return list(found.values())


def shown(planned: Mapping[str, Any]) -> str:
    """A plan for people."""
    simple = {key: value for key, value in planned.items() if key not in ("per_gpu", "sharding", "layout")}
    lines = [f"{k}: {v:,}" if isinstance(v, (int, float)) else f"{k}: {v}" for k, v in simple.items()]
    layout, memory = planned["layout"], planned["per_gpu"]
    lines += ["", f"{layout['gpus']} GPUs: " + " x ".join(f"{k} {v}" for k, v in layout.items() if k != "gpus"), ""]
    lines += [f"{'weight':48} {'shape':>16}  {'split':8} {'on each GPU':>16}  count"]
    for row in planned["sharding"]:
        shape, mine = (" x ".join(map(str, row[key])) for key in ("shape", "per_gpu"))
        lines.append(f"{row['name']:48} {shape:>16}  {row['tensor']:8} {mine:>16}  {row['count']}")
    lines += ["", "memory of each GPU (estimate, bf16 arithmetic, without what CUDA itself takes)"]
    lines += [f"  {key.removesuffix('_bytes'):12} {_gib(n)}" for key, n in memory.items() if isinstance(n, int)]
    for policy, n in memory.get("activations_bytes", {}).items():
        total = memory["total_bytes"][policy]
        lines.append(f"  activations  {_gib(n)}   parallel.checkpointing={policy:10} in all {_gib(total)}")
    if "activations_bytes" not in memory:
        lines.append("  activations  not counted for this architecture")
    return "\n".join(lines)


def _gib(n: int) -> str:
    return f"{n / 2**30:8.2f} GiB"


def _of_block(model: Trainable) -> set[int]:
    return {id(p) for p in model.blocks()[0].parameters()}


def _job(config: TrainConfig) -> Job | None:
    """The job, or None for a plan before there is a corpus."""
    if config.data == "corpus" and config.init != "random" and not config.corpus.exists():
        return None
    return prepare(replace(config, dry_run=False))

"""Many processes, one model: the only file of the package that knows device meshes.

A run started by ``torchrun`` gets a mesh (dp_replicate, dp_shard, tp): blocks are sharded with FSDP2, matrix products
split by the model's tensor plan, gradients reduced in fp32. A run that was not has ``Mesh.mesh`` None and every
function here does nothing or what one process would do. gloo on CPU, NCCL on GPU, the same code.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.parallel import ColwiseParallel, ParallelStyle, RowwiseParallel, parallelize_module
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from llemma.errors import ConfigError
from llemma.models.fp8 import to_fp8
from llemma.models.trainable import Trainable
from llemma.train.config import ParallelConfig, sizes
from llemma.train.parent import end_with_parent

PATIENCE = datetime.timedelta(hours=1)  # processes wait for the lead while it writes the model folder
AXES = ("dp_replicate", "dp_shard", "tp")


# What ``checkpointing=selective`` keeps: the outputs of what costs operations. Everything else is made again.
_KEPT = {
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten._scaled_mm.default,
    torch.ops.aten._scaled_dot_product_flash_attention.default,
    torch.ops.aten._scaled_dot_product_efficient_attention.default,
    torch.ops.aten._scaled_dot_product_cudnn_attention.default,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default,
}


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Where this process stands among the processes of a run."""

    device: torch.device
    mesh: DeviceMesh | None = None
    rank: int = 0
    world: int = 1
    data_rank: int = 0  # which share of a batch is read here
    data_world: int = 1  # into how many shares it is cut
    _groups: dict[str, dist.ProcessGroup] = field(default_factory=dict)

    @property
    def lead(self) -> bool:
        """Whether this is the process that writes rows and says things."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over the shares of the batch."""
        return self._reduce(value, AXES[:2])

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.mesh is not None:
            dist.barrier(device_ids=[self.device.index] if self.device.type == "cuda" else None)

    def agree(self, value: bool) -> bool:
        """What the lead says; the others' values do not count."""
        if self.mesh is None:
            return value
        said = torch.tensor([value], dtype=torch.int32, device=self.device)
        dist.broadcast(said, src=0)
        return bool(said.item())

    def told(self, value: Tensor) -> Tensor:
        """What the lead has: processes that decide by a figure must not differ in its last bit."""
        if self.mesh is not None:
            dist.broadcast(value, src=0)
        return value

    def all(self, value: bool) -> bool:
        """Whether every process says yes."""
        if self.mesh is None:
            return value
        said = torch.tensor([value], dtype=torch.int32, device=self.device)
        dist.all_reduce(said, op=dist.ReduceOp.MIN)
        return bool(said.item())

    def _reduce(self, value: Tensor, axes: Iterable[str]) -> Tensor:
        for axis in axes:
            if axis in self._groups:
                value = value.clone()
                dist.all_reduce(value, group=self._groups[axis])
        return value


ALONE = Mesh(device=torch.device("cpu"))


@contextlib.contextmanager
def start(settings: ParallelConfig, device: str = "auto") -> Iterator[Mesh]:
    """The mesh of this run: that of ``torchrun``'s processes, or none. Raises ConfigError when they do not divide.

    ``device`` is auto, cpu or cuda. A process group that exists is used and left; else one is made and destroyed.
    """
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda: PyTorch sees no GPU here; use device=cpu, or see `llemma doctor`")
    if kind == "cuda" and "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")  # else memory is lost in fragments
    launched = dist.is_initialized() or ("RANK" in os.environ and "WORLD_SIZE" in os.environ)
    if not launched:
        sizes(settings, 1)
        yield Mesh(device=torch.device(kind))
        return
    end_with_parent()
    ours = not dist.is_initialized()
    place = torch.device("cpu")
    if kind == "cuda":
        place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    if ours:
        dist.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield _mesh(settings, place)
    finally:
        if ours:
            dist.destroy_process_group()


def _mesh(settings: ParallelConfig, place: torch.device) -> Mesh:
    world = dist.get_world_size()
    replicas, shards, tensor = sizes(settings, world)
    mesh = init_device_mesh(place.type, (replicas, shards, tensor), mesh_dim_names=AXES)
    where = mesh.get_coordinate()
    assert where is not None
    return Mesh(
        device=place,
        mesh=mesh,
        rank=dist.get_rank(),
        world=world,
        data_rank=where[0] * shards + where[1],
        data_world=replicas * shards,
        _groups={axis: mesh.get_group(axis) for axis, n in zip(AXES, mesh.shape, strict=True) if n > 1},
    )


# The model over the mesh


def distribute(model: Trainable, mesh: Mesh, settings: ParallelConfig, *, bf16: bool, fp8: bool = False) -> None:
    """Split, checkpoint, compile and shard a model in place; its weights may still be on the meta device.

    Under a mesh with ``bf16``, weights are gathered and used in bf16 while their masters, gradients and the optimiser's
    state stay in fp32; without a mesh that is the loop's autocast. ``fp8`` is for the products within blocks. Raises
    ConfigError when the plan does not fit.
    """
    if fp8 and settings.tensor > 1:
        raise ConfigError("precision=fp8 needs parallel.tensor=1: split products are made in bf16 only")
    if mesh.mesh is not None and settings.tensor > 1:
        parallelize_module(model, mesh.mesh["tp"], _styles(model, settings.tensor))
    for block in model.blocks():
        if fp8:
            to_fp8(block)
        if settings.checkpointing != "none":
            block.forward = _checkpointed(block.forward, settings.checkpointing)
        if settings.compile:
            block.forward = torch.compile(block.forward)
    if mesh.mesh is None:
        return
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32) if bf16 else None
    shard = functools.partial(
        fully_shard,
        mesh=mesh.mesh["dp_replicate", "dp_shard"],
        reshard_after_forward=settings.reshard,
        mp_policy=policy or MixedPrecisionPolicy(),
    )
    for block in model.blocks():
        shard(block)
    shard(model)
    for name in ("loss", "loss_sum"):
        register_fsdp_forward_method(model, name)


def last_of_step(model: nn.Module, last: bool) -> None:
    """Tell the model whether the coming backward pass is the step's last: replicas exchange gradients once a step."""
    if isinstance(model, FSDPModule):
        model.set_requires_all_reduce(last)
        model.set_is_last_backward(last)


def divided(model: Trainable, parts: int) -> dict[str, str]:
    """The model's tensor plan for so many processes. Raises ConfigError when it cannot be split so."""
    plan = model.tensor_plan() if parts > 1 else {}
    if parts > 1 and not plan:
        raise ConfigError("parallel.tensor: this architecture has no plan of what to split; use parallel.tensor=1")
    if model.kv_heads() % parts:
        raise ConfigError(
            f"parallel.tensor={parts} does not divide the model's {model.kv_heads()} key and value heads; use a divisor"
        )
    return plan


def _styles(model: Trainable, parts: int) -> dict[str, ParallelStyle]:
    kinds: dict[str, Callable[[], ParallelStyle]] = {"colwise": ColwiseParallel, "rowwise": RowwiseParallel}
    return {name: kinds[how]() for name, how in divided(model, parts).items()}


def _checkpointed(forward: Callable[..., Any], kind: str) -> Callable[..., Any]:
    """``forward`` that stores its inputs (full), or those and the products (selective), and makes the rest again."""
    options: dict[str, Any] = {"use_reentrant": False, "preserve_rng_state": False}  # no dropout: nothing random
    if kind == "selective":
        options["context_fn"] = functools.partial(create_selective_checkpoint_contexts, _policy)

    def again(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, **options, **kwargs)

    return again


def _policy(_: Any, op: Any, *args: Any, **kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if op in _KEPT else CheckpointPolicy.PREFER_RECOMPUTE


# Tensors of which each process holds a part


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a tensor that this process holds, and where it begins in the whole."""

    offset: tuple[int, ...]
    local: Tensor


def part(tensor: Tensor) -> Part:
    """This process's part of a tensor, which may be empty; the whole of a plain one."""
    if not isinstance(tensor, DTensor):
        return Part((0,) * tensor.ndim, tensor)
    local = tensor.to_local()
    # what PyTorch's own distributed checkpoints ask a tensor
    chunks = tensor.__create_chunk_list__()  # type: ignore[no-untyped-call]
    return Part(tuple(chunks[0].offsets) if chunks else (0,) * tensor.ndim, local)


def writes(mesh: Mesh, tensor: Tensor) -> bool:
    """Whether, of the processes that hold the same part of a tensor, this is the one that saves it."""
    if mesh.mesh is None:
        return True
    split = _split_over(tensor)
    where = dict(zip(AXES, mesh.mesh.get_coordinate() or (), strict=True))
    return all(where[axis] == 0 for axis in AXES if axis not in split)


def place(parameter: Tensor, whole: Tensor) -> None:
    """Copy this process's part of ``whole`` into a parameter."""
    mine = part(parameter)
    box = tuple(slice(o, o + n) for o, n in zip(mine.offset, mine.local.shape, strict=True))
    with torch.no_grad():
        mine.local.copy_(whole[box])


def gradient_norm(mesh: Mesh, parameters: Iterable[nn.Parameter]) -> Tensor:
    """The norm of the gradients over all processes, on the device."""
    grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if mesh.mesh is None:
        return torch.nn.utils.get_total_norm(grads)
    by_axes: dict[tuple[str, ...], list[Tensor]] = {}
    for grad in grads:
        by_axes.setdefault(_split_over(grad), []).append(part(grad).local)
    total = torch.zeros((), device=mesh.device)
    for axes, parts in by_axes.items():
        norms = torch.stack(torch._foreach_norm(parts)).float()
        total = total + mesh._reduce(norms.square().sum(), axes)
    return total.sqrt()


def clip(parameters: Iterable[nn.Parameter], norm: float, limit: float) -> None:
    """Scale gradients of this norm down to ``limit`` (0: never), the same in every process."""
    if limit and norm > limit:
        torch._foreach_mul_([part(p.grad).local for p in parameters if p.grad is not None], limit / (norm + 1e-6))


def _split_over(tensor: Tensor) -> tuple[str, ...]:
    """The axes of the mesh over which a tensor is cut."""
    if not isinstance(tensor, DTensor):
        return ()
    names: Sequence[str] = tensor.device_mesh.mesh_dim_names or ()
    return tuple(name for name, placed in zip(names, tensor.placements, strict=True) if not placed.is_replicate())

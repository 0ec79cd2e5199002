"""Training checkpoints: weights and optimiser state as safetensors, written in the background, read at any world size.

``checkpoints/step-000100/`` appears by one rename when all of it is on the disk, so a folder of that name is
complete; its files' sha256 stand in ``state.json`` and are checked on loading. Of a Llama one process writes a Hugging
Face model folder with ``optimizer.safetensors`` beside it. Many write a file each with the parts they hold, in the
layout of PyTorch's ``HuggingFaceStorageReader``, which reads both kinds into any other division of the tensors: nothing
here is pickled. What a process writes needs no other process: only the rename waits, for files, not for messages.
Weights that are not learned (under LoRA) are not in it: they are those of ``init``.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import itertools
import json
import os
import shutil
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
from torch.distributed.checkpoint.state_dict_loader import load
from torch.optim import AdamW

from llemma.errors import DataError, RunError
from llemma.models.files import save_tensors
from llemma.models.llama import Llama
from llemma.models.trainable import Trainable
from llemma.run import read_json, sha256_file, sync_folder, write_json
from llemma.train.parallel import ALONE, Mesh, part, writes

MOMENTS = ("exp_avg", "exp_avg_sq")
ALIGN = 64  # bytes at which a staged tensor begins
PATIENCE = 1800  # seconds the lead waits for the other processes' files: a slow disk, not a dead process


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Which checkpoints stay: the ``newest``, and those whose step is a multiple of ``every`` (0: no others)."""

    newest: int
    every: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Staged:
    """A process's share of a checkpoint, in the machine's memory: no longer touched by training."""

    step: int
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    offsets: Mapping[str, tuple[int, ...]]
    state: Mapping[str, Any]


class _Staging:
    """Room in the machine's memory for copies of a process's tensors, kept from one save to the next."""

    def __init__(self) -> None:
        self._room: dict[str, Tensor] = {}
        self._pinned: list[Tensor] = []

    def copied(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors copied; those of a GPU may still be on their way."""
        lacking = {name: t for name, t in tensors.items() if name not in self._room}
        if lacking:
            self._room |= self._reserved(lacking)
        return {name: self._room[name].copy_(t, non_blocking=True) for name, t in tensors.items()}

    def _reserved(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """One piece of memory for all: PyTorch's own pinned memory rounds each tensor up to a power of two.

        For tensors on a GPU it is pinned, where the system allows it: else copies are slower.
        """
        ends = list(itertools.accumulate(-(-t.nbytes // ALIGN) * ALIGN for t in tensors.values()))
        whole = torch.empty(ends[-1], dtype=torch.uint8)
        if any(t.is_cuda for t in tensors.values()):
            portable = 1
            if int(_cuda().cudaHostRegister(whole.data_ptr(), whole.nbytes, portable)) == 0:
                self._pinned.append(whole)
        starts = [0, *ends]
        return {
            name: whole[start : start + t.nbytes].view(t.dtype).view(t.shape)
            for start, (name, t) in zip(starts, tensors.items(), strict=False)
        }

    def close(self) -> None:
        """Give the memory back."""
        for whole in self._pinned:
            _cuda().cudaHostUnregister(whole.data_ptr())
        self._pinned, self._room = [], {}


def _cuda() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]


class Saver:
    """Writes the checkpoints of a run; used by every process of it, in step. Use ``with Saver(...) as saver``."""

    def __init__(self, folder: Path, mesh: Mesh, kept: Kept, *, background: bool) -> None:
        """``background``: the files are written while training goes on; the next save waits for them."""
        self.folder, self.mesh, self.kept, self.background = folder, mesh, kept, background
        self.stalled = 0.0  # seconds that training has waited for checkpoints
        self._staging = _Staging()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: concurrent.futures.Future[None] | None = None
        if mesh.lead:
            for left in folder.glob(".step-*.part"):  # of a killed process
                shutil.rmtree(left)

    def save(
        self, step: int, model: Trainable, optimizer: AdamW, *, end_id: int | None, state: Mapping[str, Any]
    ) -> None:
        """Store the state after ``step`` steps; returns when training may go on. Raises what the last save raised."""
        start = time.perf_counter()
        self.wait()
        beside = self._part(step)
        if self.mesh.lead:
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
        self.mesh.barrier()
        staged = self._stage(step, model, optimizer, state)
        work = (model, end_id, staged)
        if self.background:
            self._writing = self._thread.submit(self._write, *work)
        else:
            self._write(*work)
        self.stalled += time.perf_counter() - start

    def wait(self) -> None:
        """Until the last checkpoint is complete. Raises what went wrong in writing it."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            writing.result()

    def __enter__(self) -> Saver:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._staging.close)
            stack.callback(self._thread.shutdown)  # first: it reads what is staged
            if kind is None:
                self.wait()
                self.mesh.barrier()

    def _part(self, step: int) -> Path:
        return self.folder / f".step-{step:06d}.part"

    def _stage(self, step: int, model: Trainable, optimizer: AdamW, state: Mapping[str, Any]) -> _Staged:
        """Copy this process's parts to the machine's memory, into the buffers of the save before."""
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        moments = {
            f"{name}.{key}": optimizer.state[p][key] for name, p in named if p in optimizer.state for key in MOMENTS
        }
        mine = {name: part(t.detach()) for name, t in (*named, *moments.items()) if writes(self.mesh, t)}
        mine = {name: piece for name, piece in mine.items() if piece.local.numel()}
        copies = self._staging.copied({name: piece.local for name, piece in mine.items()})
        steps = [s["step"] for s in optimizer.state.values()]
        updates = int(torch.stack(steps).max()) if steps else 0
        if self.mesh.device.type == "cuda":
            torch.cuda.synchronize(self.mesh.device)
        state = {"step": step, "updates": updates, "world": self.mesh.world, **state}
        return _Staged(
            step=step,
            weights={name: t for name, t in copies.items() if name not in moments},
            optimizer={name: t for name, t in copies.items() if name in moments},
            offsets={name: piece.offset for name, piece in mine.items()},
            state=state,
        )

    def _write(self, model: Trainable, end_id: int | None, staged: _Staged) -> None:
        """Write this process's files; the lead then waits for the others' and makes the checkpoint appear."""
        final, beside = self.folder / f"step-{staged.step:06d}", self._part(staged.step)
        try:
            if self.mesh.world == 1:
                if named_as_files(model):
                    model.save(beside, end_id=end_id, state=staged.weights)
                else:
                    save_tensors(staged.weights, beside / "weights.safetensors")
                save_tensors(staged.optimizer, beside / "optimizer.safetensors")
                hashes = _hashes(sorted(beside.iterdir()))
            else:
                hashes = self._write_parts(beside, staged)
            if self.mesh.lead:
                self._complete(final, beside, {**staged.state, "sha256": hashes})
        finally:
            if self.mesh.lead:
                shutil.rmtree(beside, ignore_errors=True)

    def _write_parts(self, beside: Path, staged: _Staged) -> dict[str, str]:
        """This process's two files and their hashes; the lead returns everyone's."""
        rank, world = self.mesh.rank, self.mesh.world
        files = []
        for kind, tensors in (("weights", staged.weights), ("optimizer", staged.optimizer)):
            if tensors:
                files.append(beside / f"{kind}-part-{rank + 1:05}-of-{world:05}.safetensors")
                where = {name: {"saved_offsets": staged.offsets[name]} for name in tensors}
                save_tensors(tensors, files[-1], {"DCP_SHARDING_INFO": json.dumps(where)})
        hashes = _hashes(files)
        if not self.mesh.lead:
            write_json(beside / f"written-{rank}.json", hashes)
            return hashes
        awaited = [beside / f"written-{other}.json" for other in range(1, world)]
        deadline = time.monotonic() + PATIENCE
        while missing := [path for path in awaited if not path.exists()]:
            if time.monotonic() > deadline:
                raise RunError(
                    f"{missing[0]} did not appear in {PATIENCE} s: all processes must see the same folder; give run=a "
                    "folder on a shared file system"
                )
            time.sleep(0.02)
        for path in awaited:
            hashes |= read_json(path)
            path.unlink()
        return hashes

    def _complete(self, final: Path, beside: Path, content: Mapping[str, Any]) -> None:
        write_json(beside / "state.json", {**content, "seal": _seal(content)})
        if final.exists():  # the same step again after a crash between rename and log
            self._remove(final)
        os.replace(beside, final)
        sync_folder(self.folder)
        found = checkpoints(self.folder)
        stay = set(found[-self.kept.newest :])
        if self.kept.every:
            stay |= {path for path in found if step_of(path) % self.kept.every == 0}
        for old in self.folder.glob("step-*"):  # the half-deleted ones of a killed process too
            if old not in stay:
                self._remove(old)

    def _remove(self, checkpoint: Path) -> None:
        """Take the name away first: what has it is never half there."""
        going = self.folder / f".{checkpoint.name}.old.part"
        shutil.rmtree(going, ignore_errors=True)
        os.replace(checkpoint, going)
        shutil.rmtree(going)


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints, oldest first."""
    return sorted(p for p in folder.glob("step-*") if (p / "state.json").is_file()) if folder.is_dir() else []


def step_of(checkpoint: Path) -> int:
    """The number of steps a checkpoint's model has seen."""
    return int(checkpoint.name.partition("-")[2])


def load_checkpoint(path: Path, model: Trainable, optimizer: AdamW, mesh: Mesh = ALONE) -> Mapping[str, Any]:
    """Fill model and optimiser from a checkpoint of any world size; returns its state (``step``, what was stored).

    Raises DataError, in every process, when a file does not have the sha256 it was written with.
    """
    state = checked(path, mesh)
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    targets: dict[str, Tensor] = dict(learned)
    for name, parameter in learned.items():
        if state["updates"]:
            slots = {key: torch.zeros_like(parameter) for key in MOMENTS}
            targets |= {f"{name}.{key}": tensor for key, tensor in slots.items()}
            count = torch.tensor(float(state["updates"]), device=mesh.device)
            optimizer.state[parameter] = {"step": count, **slots}
    read_into(targets, path, mesh)
    return state


def checked(path: Path, mesh: Mesh) -> dict[str, Any]:
    """The state of a checkpoint whose files are those that were written: each process reads its share of them."""
    remedy = f"delete {path} and run again: training goes on from the checkpoint before it, or from the start"
    stored = read_json(path / "state.json")
    state = {key: value for key, value in stored.items() if key != "seal"} if isinstance(stored, dict) else {}
    if "sha256" not in state or stored.get("seal") != _seal(state):
        raise DataError(f"damaged checkpoint file; {remedy}", where=path / "state.json")
    mine = list(state["sha256"].items())[mesh.rank :: mesh.world]
    damaged = [n for n, expected in mine if not (path / n).is_file() or sha256_file(path / n) != expected]
    if not mesh.all(not damaged):
        where = path / damaged[0] if damaged else path
        raise DataError(f"damaged checkpoint file; {remedy}", where=where)
    return state


def read_into(targets: Mapping[str, Tensor], folder: Path, mesh: Mesh) -> None:
    """Fill tensors, whole or of which each process holds a part, by name from the safetensors files of a folder.

    Reads only the bytes that are wanted; converts precision. Raises DataError for a missing or misfitting tensor.
    """
    own: dict[str, Any] = {name: tensor.detach() for name, tensor in targets.items()}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        try:
            load(own, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=mesh.mesh is None)
        except (CheckpointException, RuntimeError, ValueError) as error:
            raise DataError(f"the weights do not fit the model: {_last_line(error)}", where=folder) from error


def named_as_files(model: Trainable) -> bool:
    """Whether a checkpoint of one process is a Hugging Face folder: the names are, and all weights are learned."""
    return isinstance(model, Llama) and all(p.requires_grad for p in model.parameters())


def export(checkpoint: Path, model: Trainable, folder: Path, *, end_id: int | None, dtype: torch.dtype) -> None:
    """Write a checkpoint of any world size as one Hugging Face model folder (which must exist), in one process.

    ``model`` gives names and sizes and may be on the meta device; the whole weights take ``dtype``'s bytes of memory.
    """
    checked(checkpoint, ALONE)
    whole = {name: torch.empty(p.shape, dtype=dtype) for name, p in model.named_parameters()}
    read_into(whole, checkpoint, ALONE)
    model.save(folder, end_id=end_id, state=whole)


def load_learned(checkpoint: Path, model: Trainable) -> None:
    """Fill what learns of a whole model from a checkpoint of any world size. Raises DataError for a damaged one."""
    checked(checkpoint, ALONE)
    read_into({name: p for name, p in model.named_parameters() if p.requires_grad}, checkpoint, ALONE)


def _hashes(files: list[Path]) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in files}


def _seal(state: Mapping[str, Any]) -> str:
    """The sha256 of what ``state.json`` says, kept in it beside the rest."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__

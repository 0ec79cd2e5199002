"""Training checkpoints: a Hugging Face model folder with the optimiser's state beside it.

``checkpoints/step-000100/`` appears by one rename when all of it is on the disk, so a folder of that name is
complete; its files' sha256 stand in ``state.json`` and are checked on loading.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from llemma.errors import DataError
from llemma.models.checkpoint import fill, load_tensors, save_model, save_tensors
from llemma.models.llama import Llama
from llemma.run import read_json, sha256_file, sync_folder, write_json


def save_checkpoint(
    folder: Path, step: int, model: Llama, optimizer: AdamW, *, end_id: int | None, state: Mapping[str, Any], keep: int
) -> None:
    """Write ``folder/step-NNNNNN`` atomically, then delete all but the ``keep`` newest checkpoints."""
    final = folder / f"step-{step:06d}"
    part = folder / f".{final.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        save_model(model, part, end_id=end_id)
        save_tensors(_optimizer_tensors(model, optimizer), part / "optimizer.safetensors")
        hashes = {path.name: sha256_file(path) for path in sorted(part.iterdir())}
        content = {"step": step, "sha256": hashes, **state}
        write_json(part / "state.json", {**content, "seal": _seal(content)})
        if final.exists():  # the same step again after a crash between rename and log
            shutil.rmtree(final)
        os.replace(part, final)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    sync_folder(folder)
    kept = checkpoints(folder)[-keep:]
    for old in folder.glob("step-*"):  # the half-deleted ones of a killed process too
        if old not in kept:
            shutil.rmtree(old)


def checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints, oldest first."""
    return sorted(p for p in folder.glob("step-*") if (p / "state.json").is_file()) if folder.is_dir() else []


def load_checkpoint(path: Path, model: Llama, optimizer: AdamW) -> Mapping[str, Any]:
    """Fill model and optimiser from a checkpoint; returns its state (``step`` and what was stored with it).

    Raises DataError when a file does not have the sha256 it was written with.
    """
    remedy = f"delete {path} and run again: training goes on from the checkpoint before it, or from the start"
    stored = read_json(path / "state.json")
    state = {key: value for key, value in stored.items() if key != "seal"} if isinstance(stored, dict) else {}
    if "sha256" not in state or stored.get("seal", _seal(state)) != _seal(state):
        raise DataError(f"damaged checkpoint file; {remedy}", where=path / "state.json")
    for name, expected in state["sha256"].items():
        if not (path / name).is_file() or sha256_file(path / name) != expected:
            raise DataError(f"damaged checkpoint file; {remedy}", where=path / name)
    fill(model, load_tensors(path / "model.safetensors"), where=path)
    _fill_optimizer(model, optimizer, load_tensors(path / "optimizer.safetensors"))
    return state


def _seal(state: Mapping[str, Any]) -> str:
    """The sha256 of what ``state.json`` says, kept in it beside the rest."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _optimizer_tensors(model: Llama, optimizer: AdamW) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value.detach().contiguous()
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def _fill_optimizer(model: Llama, optimizer: AdamW, tensors: Mapping[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        optimizer.state[parameter] = {
            key: tensors[f"{name}.{key}"].to(torch.float32) for key in ("step", "exp_avg", "exp_avg_sq")
        }

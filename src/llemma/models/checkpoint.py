"""Hugging Face model folders in and out: ``config.json``, ``model.safetensors``, the tokeniser's files.

What ``transformers`` writes for a Llama we read, and what we write ``transformers`` reads, with equal logits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from llemma.config import build
from llemma.errors import ConfigError, DataError
from llemma.models.files import load_tensors, load_weights, save_tensors
from llemma.models.llama import Llama, LlamaConfig, hf_config, weights
from llemma.run import read_json, sha256_file

__all__ = [
    "fill",
    "hf_config",
    "load_model",
    "load_tensors",
    "model_folder",
    "read_config",
    "save_model",
    "save_tensors",
    "weights",
    "weights_fingerprint",
]


def model_folder(path: Path) -> Path:
    """The model folder meant by ``path``: itself, or ``path/model`` of a training run. Raises DataError."""
    if (path / "model" / "config.json").is_file():
        return path / "model"
    if (path / "config.json").is_file():
        if "model_type" in read_json(path / "config.json"):
            return path
        raise DataError("a run folder without a finished model/; finish the training first", where=path)
    raise DataError("no model here: a folder with config.json and model.safetensors is expected", where=path)


def read_config(folder: Path) -> LlamaConfig:
    """The sizes of a Llama model folder. Raises ConfigError for another architecture or unsupported options."""
    table = read_json(folder / "config.json")
    if not isinstance(table, dict):
        raise DataError("expected a JSON object", where=folder / "config.json")
    if table.get("model_type") != "llama":
        raise ConfigError(f"{folder}: architecture {table.get('model_type')!r} is not llama")
    rope = table.get("rope_parameters") or table.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise ConfigError(f"{folder}: rotary scaling {rope} is not supported")
    for key in ("attention_bias", "mlp_bias"):
        if table.get(key):
            raise ConfigError(f"{folder}: {key} is not supported")
    if table.get("hidden_act", "silu") != "silu":
        raise ConfigError(f"{folder}: activation {table['hidden_act']!r} is not supported")
    known = {k: table[k] for k in LlamaConfig.__slots__ if table.get(k) is not None}
    known.setdefault("num_key_value_heads", known.get("num_attention_heads"))
    # keys that a config.json leaves out have Hugging Face's defaults, not ours
    known = {"tie_word_embeddings": False, "rms_norm_eps": 1e-6, "max_position_embeddings": 2048} | known
    if "rope_theta" in rope:
        known["rope_theta"] = rope["rope_theta"]
    config = build(LlamaConfig, known, where=f"{folder}/config.json: ")
    if table.get("head_dim") not in (None, config.head_dim):
        raise ConfigError(f"{folder}: head_dim={table['head_dim']} other than hidden_size / heads is not supported")
    return config


def save_model(model: Llama, folder: Path, *, end_id: int | None, state: Mapping[str, Tensor] | None = None) -> None:
    """``model.save``: ``config.json`` and ``model.safetensors`` into an existing folder."""
    model.save(folder, end_id=end_id, state=state)


def load_model(folder: Path) -> Llama:
    """The Llama of a model folder, in fp32. Raises DataError for missing, damaged or misfitting weights."""
    model = Llama(read_config(folder))
    fill(model, load_weights(folder), where=folder)
    return model


def weights_fingerprint(folder: Path) -> str:
    """One sha256 over the weight files of a model folder (about a second per GB); empty when it has none."""
    hashes = [sha256_file(path) for path in sorted(folder.glob("*.safetensors"))]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest() if hashes else ""


def fill(model: Llama, state: Mapping[str, Tensor], *, where: Path) -> None:
    """Copy weights into the model. Raises DataError when names or shapes do not fit."""
    own = weights(model)
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys() - {"lm_head.weight"})
    extra = [name for name in extra if not name.endswith("rotary_emb.inv_freq")]
    wrong = [k for k in own if k in state and own[k].shape != state[k].shape]
    if missing or extra or wrong:
        parts = (f"missing {missing[:3]}", f"unknown {extra[:3]}", f"of another shape {wrong[:3]}")
        shown = ", ".join(p for p, names in zip(parts, (missing, extra, wrong), strict=True) if names)
        raise DataError(f"the weights do not fit config.json: {shown}", where=where)
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(state[name])

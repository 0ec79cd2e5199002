"""Hugging Face model folders in and out: ``config.json``, ``model.safetensors``, the tokeniser's files.

What ``transformers`` writes for a Llama we read, and what we write ``transformers`` reads, with equal logits.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llemma.config import build
from llemma.errors import ConfigError, DataError
from llemma.models.llama import Llama, LlamaConfig
from llemma.run import read_json, sha256_file, sync_folder, write_json

INDEX = "model.safetensors.index.json"


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


def hf_config(config: LlamaConfig, *, end_id: int | None, dtype: str = "float32") -> dict[str, Any]:
    """The content of a Hugging Face ``config.json`` for these sizes."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_hidden_layers,
        "num_attention_heads": config.num_attention_heads,
        "num_key_value_heads": config.num_key_value_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_position_embeddings,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_theta": config.rope_theta, "rope_type": "default"},
        "tie_word_embeddings": config.tie_word_embeddings,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "bos_token_id": None,
        "eos_token_id": end_id,
        "dtype": dtype,
        "use_cache": True,
    }


def weights(model: Llama) -> dict[str, Tensor]:
    """The parameters by Hugging Face name, tied ones once, contiguous."""
    tied = model.config.tie_word_embeddings
    state = model.state_dict()
    return {k: v.detach().contiguous() for k, v in state.items() if not (tied and k == "lm_head.weight")}


def save_model(model: Llama, folder: Path, *, end_id: int | None) -> None:
    """Write ``config.json`` and ``model.safetensors`` (fp32) into an existing folder."""
    save_tensors(weights(model), folder / "model.safetensors")
    write_json(folder / "config.json", hf_config(model.config, end_id=end_id))
    write_json(folder / "generation_config.json", {"eos_token_id": end_id, "do_sample": False})


def load_model(folder: Path) -> Llama:
    """The Llama of a model folder, in fp32. Raises DataError for missing, damaged or misfitting weights."""
    model = Llama(read_config(folder))
    fill(model, _read_weights(folder), where=folder)
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


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """A safetensors file, written beside and renamed; names sorted, so equal tensors give equal bytes."""
    beside = path.with_name(f".{path.name}.part")
    try:
        save_file(dict(sorted(tensors.items())), beside, metadata={"format": "pt"})
    except SafetensorError as error:
        beside.unlink(missing_ok=True)
        found = re.search(r"os error (\d+)", str(error))
        code = int(found[1]) if found else errno.EIO
        raise OSError(code, os.strerror(code) if found else str(error), str(path)) from error
    with open(beside, "rb+") as file:
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises DataError when it is missing or damaged."""
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise DataError("no such file; check the path", where=path) from error
    except SafetensorError as error:
        raise DataError(f"damaged safetensors file ({error})", where=path) from error


def _read_weights(folder: Path) -> dict[str, Tensor]:
    if (folder / INDEX).is_file():
        try:
            files = sorted(set(read_json(folder / INDEX)["weight_map"].values()))
        except (KeyError, AttributeError, json.JSONDecodeError) as error:
            raise DataError("damaged index of weights", where=folder / INDEX) from error
        return {k: v for name in files for k, v in load_tensors(folder / Path(name).name).items()}
    return load_tensors(folder / "model.safetensors")

"""Opens a model for training: random weights, a Hugging Face folder or a hub name → ``Trainable``.

Llama folders become our lean ``Llama``, others run ``transformers``' code. On the ``meta`` device nothing is read
but sizes, and those of the paper's models are known here, so that a plan needs neither weights nor a network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch

from llemma.errors import Caught, ConfigError, boundary, nearest
from llemma.models.checkpoint import fill, model_folder, read_config
from llemma.models.files import load_weights
from llemma.models.llama import Llama, LlamaConfig, initialise
from llemma.models.trainable import Trainable, count, counted

__all__ = ["PAPER", "Trainable", "count", "counted", "is_llama", "locate", "open_model", "sizes_of"]

_7B = LlamaConfig(
    vocab_size=32016,
    hidden_size=4096,
    intermediate_size=11008,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=32,
    max_position_embeddings=16384,
    rope_theta=1e6,
    tie_word_embeddings=False,
)
_34B = replace(
    _7B,
    vocab_size=32000,
    hidden_size=8192,
    intermediate_size=22016,
    num_hidden_layers=48,
    num_attention_heads=64,
    num_key_value_heads=8,
)

# Hub name → sizes, as the config.json of each says.
PAPER: Mapping[str, LlamaConfig] = {
    "codellama/CodeLlama-7b-hf": _7B,
    "codellama/CodeLlama-34b-hf": _34B,
    "EleutherAI/llemma_7b": replace(_7B, rope_theta=1e4, max_position_embeddings=4096),
    "EleutherAI/llemma_34b": replace(_34B, max_position_embeddings=4096),
    "meta-llama/Llama-2-7b-hf": replace(_7B, vocab_size=32000, rope_theta=1e4, max_position_embeddings=4096),
}


def open_model(
    init: str,
    config: LlamaConfig | None = None,
    *,
    device: Literal["cpu", "meta"] = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    rope_theta: float = 0.0,
) -> Trainable:
    """The model ``init``: ``random`` (of sizes ``config``, drawn by ``seed``), a model or run folder, a hub name.

    ``rope_theta`` replaces the base of the rotary frequencies (0: as it is), as Llemma 7B did with Code Llama's. On
    ``meta`` the weights have no storage. Raises ConfigError for what cannot be trained, DataError for a damaged folder.
    """
    if init == "random":
        if config is None:
            raise ConfigError("init=random needs the sizes of the model")
        return _llama(replace(config, rope_theta=rope_theta or config.rope_theta), None, device, dtype, seed)
    if device == "meta" and init in PAPER and not Path(init).is_dir():
        sizes = PAPER[init]
        return _llama(replace(sizes, rope_theta=rope_theta or sizes.rope_theta), None, device, dtype, seed)
    folder = locate(init, weights=device != "meta")
    if not is_llama(folder):
        from llemma.models.hf import open_hf  # transformers takes seconds to import

        return open_hf(folder, device=device, dtype=dtype, rope_theta=rope_theta)
    sizes = read_config(folder)
    return _llama(replace(sizes, rope_theta=rope_theta or sizes.rope_theta), folder, device, dtype, seed)


def sizes_of(init: str) -> LlamaConfig:
    """The sizes of a Llama by folder or name, without its weights. Raises ConfigError for another family."""
    if init in PAPER and not Path(init).is_dir():
        return PAPER[init]
    return read_config(locate(init, weights=False))


def is_llama(folder: Path) -> bool:
    """Whether our own ``Llama`` covers the model folder, options included."""
    try:
        read_config(folder)
    except ConfigError:
        return False
    return True


def locate(init: str, *, weights: bool = True) -> Path:
    """The model folder behind a path or a hub name; a name's files come from the hub's cache or are fetched.

    Without ``weights`` only ``config.json`` is needed. Raises ConfigError when it is neither.
    """
    path = Path(init).expanduser()
    if path.is_dir():
        return model_folder(path)
    if init.count("/") != 1 or init.startswith((".", "/", "~")):
        raise ConfigError(f"init={init}: no such folder, and not a hub name such as {next(iter(PAPER))}")
    import huggingface_hub

    wanted = ["*.json", "*.safetensors", "tokenizer.model"] if weights else ["config.json"]
    found = boundary(lambda: huggingface_hub.snapshot_download(init, allow_patterns=wanted))
    if isinstance(found, Caught):
        hint = nearest(init, PAPER) if init not in PAPER else ""
        raise ConfigError(
            f"init={init}: not a folder, and the hub did not give it ({found.message}){hint}; download it once with "
            f"`hf download {init} --local-dir FOLDER` and give init=FOLDER"
        )
    return model_folder(Path(found))


def _llama(sizes: LlamaConfig, folder: Path | None, device: str, dtype: torch.dtype, seed: int) -> Llama:
    if folder is None and device != "meta":
        model = Llama(sizes).to(dtype)
        initialise(model, seed)
        return model
    with torch.device("meta"):
        model = Llama(sizes).to(dtype)
    if folder is not None and device != "meta":
        model.to_empty(device=device)
        model.tie()
        fill(model, load_weights(folder), where=folder)
    return model

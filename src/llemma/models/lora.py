"""LoRA and QLoRA through peft: small adapters learn beside frozen weights (Hu et al. 2021, Dettmers et al. 2023).

Works on every ``Trainable``: the adapters sit beside the linear layers of its blocks. Files are peft's own; merged, one
Hugging Face folder comes out. QLoRA (frozen weights in 4 bits) needs a GPU and bitsandbytes, and is refused elsewhere.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from llemma.errors import Caught, ConfigError, DataError, MissingDependency, boundary
from llemma.models.files import load_tensors, save_tensors, save_weights
from llemma.models.hf import HfModel, fitted, refuse
from llemma.models.lora_config import LoraSettings
from llemma.models.open import locate, open_model
from llemma.models.trainable import Around, Trainable

FILE = "adapter_model.safetensors"  # peft's names
NAME = "default"
FOLDER = "adapter"  # inside a merged model's folder: the adapter alone


class Lora(Around):
    """A model whose own weights are frozen, with adapters that learn."""

    def __init__(self, base: Trainable, config: Any, init: str, *, quantised: bool = False) -> None:
        """``config`` is peft's; ``init`` says where the frozen weights come from."""
        super().__init__()
        peft.inject_adapter_in_model(config, base)
        self.base, self.config, self.init, self.quantised = base, config, init, quantised
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(".lora_" in name)

    def loss(self, ids: Tensor, mask: Tensor | None = None, documents: Tensor | None = None) -> Tensor:
        """The model's own, with the adapters at work."""
        return self.base.loss(ids, mask, documents)

    def loss_sum(self, ids: Tensor, mask: Tensor | None = None, documents: Tensor | None = None) -> tuple[Tensor, int]:
        """The model's own, with the adapters at work."""
        return self.base.loss_sum(ids, mask, documents)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) token ids → (B, T, vocabulary) logits."""
        logits: Tensor = self.base(ids)
        return logits

    def tensor_plan(self) -> dict[str, str]:
        """None: adapters are too small to split."""
        return {}

    def trainable_count(self) -> int:
        """Number of parameters that learn."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def flops_per_token(self, context: int) -> float:
        """Frozen matrices need no gradient of their own: 4 operations per weight in place of 6."""
        matrices = self.base.flops_per_token(0)
        attention = self.base.flops_per_token(context) - matrices
        return matrices * 4 / 6 + attention + 6.0 * self.trainable_count()

    def merged(self) -> dict[str, Tensor]:
        """The model's weights by their own names, the adapters' products added to them; not for weights in 4 bits."""
        deltas = self.deltas()
        state = dict[str, Tensor]()
        for name, tensor in self.base.state_dict().items():
            if ".lora_" not in name:
                name = name.replace(".base_layer.", ".")
                state[name] = tensor + deltas[name].to(tensor) if name in deltas else tensor
        return state

    @torch.no_grad()
    def deltas(self) -> dict[str, Tensor]:
        """What each adapter adds to a weight, by the weight's name."""
        return {f"{name}.weight": layer.get_delta_weight(NAME) for name, layer in _layers(self.base).items()}

    def save(self, folder: Path, *, end_id: int | None = None, state: Mapping[str, Tensor] | None = None) -> None:
        """The merged model as one Hugging Face folder, and the adapter alone in its ``adapter/``.

        With ``state`` (a checkpoint: what learns) only those weights are written, by their names.
        """
        if state is not None:
            save_weights(state, folder)
            return
        if self.quantised:  # the whole weights are added to, not those of 4 bits
            whole = open_model(self.init)
            add(whole, self.deltas())
            whole.save(folder, end_id=end_id)
        else:
            self.base.save(folder, end_id=end_id, state=self.merged())
        (folder / FOLDER).mkdir(exist_ok=True)
        self.save_adapter(folder / FOLDER)

    def save_adapter(self, folder: Path) -> None:
        """``adapter_config.json`` and ``adapter_model.safetensors`` as peft writes them, into an existing folder."""
        tensors = {
            f"base_model.model.{name.replace(f'.{NAME}.', '.')}": p.detach().contiguous().cpu()
            for name, p in self.base.named_parameters()
            if ".lora_" in name
        }
        save_tensors(tensors, folder / FILE)
        self.config.save_pretrained(folder)


def wrap(base: Trainable, settings: LoraSettings, init: str, *, seed: int = 0, quantised: bool = False) -> Lora:
    """A model with fresh adapters, whose product is zero. Raises ConfigError for targets that it does not have."""
    found = _linear_names(base)
    unknown = sorted(set(settings.targets) - found)
    if unknown:
        raise ConfigError(f"lora.targets: the blocks have no linear layer {', '.join(unknown)}; known: {sorted(found)}")
    config = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        target_modules=sorted(settings.targets or found),
        exclude_modules=_outside(base, set(settings.targets) or found),
        lora_dropout=0.0,
        fan_in_fan_out=any(type(m).__name__ == "Conv1D" for m in base.modules()),
        bias="none",
        task_type="CAUSAL_LM",
        base_model_name_or_path=init,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Lora(base, config, init, quantised=quantised)


def open_lora(init: str, settings: LoraSettings, *, seed: int = 0, rope_theta: float = 0.0) -> Lora:
    """The model ``init`` with fresh adapters, its own weights frozen: whole, or with ``frozen=nf4`` in 4 bits."""
    if settings.frozen == "nf4":
        return wrap(_in_four_bits(init, rope_theta), settings, init, seed=seed, quantised=True)
    return wrap(open_model(init, rope_theta=rope_theta), settings, init, seed=seed)


class Adapter:
    """A LoRA adapter in a folder of peft's, beside the model it belongs to (which may be on the meta device)."""

    def __init__(self, model: Trainable, folder: Path) -> None:
        """Raises DataError when it is not plain LoRA (biases, DoRA, layers trained whole) or does not fit the model."""
        config: Any = boundary(lambda: peft.PeftConfig.from_pretrained(str(folder)))
        if isinstance(config, Caught):
            raise DataError(f"not an adapter of peft ({config.message})", where=folder)
        if config.peft_type != "LORA" or config.use_dora or config.bias != "none" or config.modules_to_save:
            raise DataError("only plain LoRA is merged: no DoRA, biases or layers trained whole", where=folder)
        self._config = config
        self._tensors = {n.removeprefix("base_model.model."): t for n, t in load_tensors(folder / FILE).items()}
        modules = dict(model.named_modules())
        self._layers = {n.removesuffix(".lora_A.weight") for n in self._tensors if n.endswith(".lora_A.weight")}
        if 2 * len(self._layers) != len(self._tensors):
            raise DataError("holds more than pairs of lora_A and lora_B", where=folder)
        self._turned = {n for n in self._layers if not isinstance(modules.get(n), nn.Linear)}  # GPT-2's Conv1D
        wrong = [n for n in self._layers if n not in modules or self._shape(n) != modules[n].weight.shape]
        if wrong:
            raise DataError(f"the adapter does not fit the model: {', '.join(sorted(wrong)[:3])}", where=folder)

    @property
    def weights(self) -> list[str]:
        """Names of the weights that it changes."""
        return [f"{name}.weight" for name in sorted(self._layers)]

    def delta(self, weight: str) -> Tensor | None:
        """What is added to a weight, in fp32; None for one it leaves alone."""
        name = weight.removesuffix(".weight")
        if name not in self._layers:
            return None
        a, b = (self._tensors[f"{name}.lora_{kind}.weight"].float() for kind in "AB")
        rank = _by_pattern(self._config.rank_pattern, name, self._config.r)
        alpha = _by_pattern(self._config.alpha_pattern, name, self._config.lora_alpha)
        product = b @ a * (alpha / (rank**0.5 if self._config.use_rslora else rank))
        return product.T if name in self._turned else product

    def _shape(self, name: str) -> tuple[int, ...]:
        shape = (len(self._tensors[f"{name}.lora_B.weight"]), self._tensors[f"{name}.lora_A.weight"].shape[1])
        return shape[::-1] if name in self._turned else shape


def merge_folder(base: Trainable, folder: Path) -> None:
    """Add the adapter in a folder of peft's to a model's weights. Raises DataError when they do not fit."""
    adapter = Adapter(base, folder)
    add(base, {name: delta for name in adapter.weights if (delta := adapter.delta(name)) is not None})


@torch.no_grad()
def add(model: Trainable, deltas: Mapping[str, Tensor]) -> None:
    """Add to weights by name, in fp32."""
    own = dict(model.named_parameters())
    for name, delta in deltas.items():
        own[name].copy_(own[name].float() + delta.to(own[name].device, torch.float32))


def _by_pattern(patterns: Mapping[str, Any], name: str, default: float) -> float:
    """peft's settings for single layers: the first pattern that ends the name."""
    found = [value for pattern, value in patterns.items() if name == pattern or name.endswith(f".{pattern}")]
    return float(found[0] if found else default)


def _layers(base: Trainable) -> dict[str, Any]:
    return {name: module for name, module in base.named_modules() if isinstance(module, LoraLayer)}


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ in ("Conv1D", "Linear4bit")


def _linear_names(base: Trainable) -> set[str]:
    """Last names of the linear layers of the blocks."""
    return {
        name.rpartition(".")[2] for block in base.blocks() for name, m in block.named_modules() if _is_linear(m)
    } - {""}


def _outside(base: Trainable, targets: set[str]) -> list[str]:
    """Linear layers with a target's name that are not of the blocks."""
    inside = {id(m) for block in base.blocks() for m in block.modules()}
    return [
        name
        for name, m in base.named_modules()
        if id(m) not in inside and name.rpartition(".")[2] in targets and _is_linear(m)
    ]


def _in_four_bits(init: str, rope_theta: float) -> HfModel:
    """The model with its linear layers in NF4 (bitsandbytes), on the GPU. Raises ConfigError, MissingDependency."""
    if not torch.cuda.is_available():
        raise ConfigError("lora.frozen=nf4 (QLoRA) needs a GPU; on this machine use lora.frozen=whole")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingDependency("bitsandbytes (QLoRA)", install="pip install bitsandbytes")
    if rope_theta:
        raise ConfigError("lora.frozen=nf4 with rope_theta: change it first with `llemma convert`")
    folder = locate(init)
    refuse(transformers.AutoConfig.from_pretrained(folder), folder)
    how: Any = transformers.BitsAndBytesConfig
    auto: Any = transformers.AutoModelForCausalLM
    loaded = auto.from_pretrained(
        folder,
        dtype=torch.bfloat16,
        device_map={"": torch.cuda.current_device()},
        quantization_config=how(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
    )
    model = fitted(HfModel(loaded))
    model.__dict__["is_loaded_in_4bit"] = True  # what peft asks, to choose its layers
    return model

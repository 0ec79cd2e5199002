"""Any causal language model of ``transformers`` behind the training loop's interface.

The model's own code runs, with two parts exchanged: attention goes through ours (blocks on CPU), and the output layer
with its cross-entropy is computed in chunks. Both are tried on a few tokens against the model's own loss when it is
opened; what does not agree to rounding is not used. Dropout is off, as in the Llemma recipe. Models with a state
besides attention (Mamba and hybrids) and encoder-decoders are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from llemma.errors import Caught, ConfigError, DataError, boundary
from llemma.models.attention import Scores, causal
from llemma.models.loss import Output, linear_cross_entropy
from llemma.models.trainable import Trainable, counted

NAME = "llemma"  # of our attention in transformers' registry

# What models pass to their attention and which does not change its result.
HARMLESS = {
    *("cache_position", "is_causal", "labels", "logits_to_keep", "num_items_in_batch", "output_attentions"),
    *("output_hidden_states", "output_router_logits", "past_key_values", "position_embeddings", "position_ids"),
    *("return_dict", "use_cache"),
}


class Uncovered(ValueError):
    """A model asks of its attention what ours does not know."""


class HfModel(Trainable):
    """A ``transformers`` model that the loop can train; ``inner`` is the model itself.

    Its parameters have the names they have there: the parts of ``inner`` are this module's own.
    """

    inner: Any

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.__dict__["inner"] = inner.eval()  # for good: see train(). Not a submodule, only its parts are
        for name, child in inner.named_children():
            self.add_module(name, child)
        for name, parameter in inner.named_parameters(recurse=False):
            self.register_parameter(name, parameter)
        self.chunked = True  # whether the output layer is computed in chunks
        self.document_masks = bool(getattr(inner, "_supports_attention_backend", False))
        if self.document_masks:
            inner.set_attn_implementation(NAME)

    def train(self, mode: bool = True) -> HfModel:
        """No mode: the model never drops anything out."""
        self.training = mode
        return self

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) token ids → (B, T, vocabulary) logits."""
        logits: Tensor = self.inner(input_ids=ids, use_cache=False).logits
        return logits

    def loss(self, ids: Tensor, mask: Tensor | None = None, documents: Tensor | None = None) -> Tensor:
        """Mean cross-entropy in nats of predicting ids[:, 1:] from ids[:, :-1]; ids is (B, T + 1)."""
        return self._loss(ids, mask, documents, None)[0]

    def loss_sum(self, ids: Tensor, mask: Tensor | None = None, documents: Tensor | None = None) -> tuple[Tensor, int]:
        """The summed cross-entropy in nats of the counted targets, and how many they are."""
        return self._loss(ids, mask, documents, 1.0)

    def _loss(
        self, ids: Tensor, mask: Tensor | None, documents: Tensor | None, scale: float | None
    ) -> tuple[Tensor, int]:
        given = {"input_ids": ids[:, :-1], **self._given(None if documents is None else documents[:, :-1])}
        chosen, targets = counted(ids, mask, documents), ids[:, 1:]
        targets = targets.flatten() if chosen is None else targets[chosen]
        made: Tensor = self._hidden(given) if self.chunked else self.inner(**given).logits
        made = made.flatten(0, 1) if chosen is None else made[chosen]
        if self.chunked:
            return self.output_loss(made, targets, scale), len(targets)
        total = F.cross_entropy(made.float(), targets, reduction="sum")
        if self.z_loss:
            extra = self.z_loss * made.float().logsumexp(-1).square().sum()
            total = total + (extra - extra.detach())
        return total * (1 / max(len(targets), 1) if scale is None else scale), len(targets)

    def embedding(self) -> nn.Embedding:
        """The input embedding."""
        found: nn.Embedding = self.inner.get_input_embeddings()
        return found

    def hidden(self, embedded: Tensor, documents: Tensor | None = None) -> Tensor:
        """(B, T, width) embedded tokens → the hidden states that the output layer takes."""
        return self._hidden({"inputs_embeds": embedded, **self._given(documents)})

    def output_loss(self, hidden: Tensor, targets: Tensor, scale: float | None = None) -> Tensor:
        """Chunked cross-entropy. Raises ConfigError for a family whose output layer is not of the form we know."""
        if not self.chunked:
            raise ConfigError(f"{self.inner.config.model_type}: what lies behind its hidden states is not known")
        weight = self.inner.get_output_embeddings().weight
        return linear_cross_entropy(hidden, weight, targets, self._output(), scale=scale)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., width) last hidden states → (..., vocabulary) logits, scaled and capped as the family does."""
        how = self._output()
        logits: Tensor = self.inner.get_output_embeddings()(hidden) * how.scale
        return logits if how.softcap is None else (logits / how.softcap).tanh() * how.softcap

    def _given(self, documents: Tensor | None) -> dict[str, Any]:
        """What a pass over rows of these documents (B, T) is called with."""
        if documents is None:
            return {"use_cache": False}
        if not self.document_masks:
            kind = self.inner.config.model_type
            raise ConfigError(f"{kind}: attention cannot be kept within documents; train without a document mask")
        return {"use_cache": False, "position_ids": positions(documents)}  # the mask is made of where they restart

    def _hidden(self, given: Mapping[str, Any]) -> Tensor:
        hidden: Tensor = self.inner.base_model(**given).last_hidden_state
        return hidden

    def _output(self) -> Output:
        """What the family does to the product of hidden state and output matrix."""
        config = self.inner.config
        scale = float(getattr(config, "logit_scale", None) or 1.0)  # Cohere multiplies, Granite divides
        scale /= float(getattr(config, "logits_scaling", None) or 1.0)
        bias = self.inner.get_output_embeddings().bias
        softcap = getattr(config, "final_logit_softcapping", None)
        return Output(bias=bias, scale=scale, softcap=softcap, z_loss=self.z_loss)

    def blocks(self) -> list[nn.Module]:
        """The transformer blocks: the modules that ``transformers`` would not split over devices."""
        kinds = set(getattr(self.inner, "_no_split_modules", None) or ())
        longest: list[nn.Module] = []
        for module in self.inner.modules():
            if isinstance(module, nn.ModuleList) and len(module) >= len(longest):
                children = list(module)
                if not kinds or any(type(child).__name__ in kinds for child in children):
                    longest = children
        return longest

    def tensor_plan(self) -> dict[str, str]:
        """``transformers``' own plan where it only splits columns and rows; else empty."""
        plan = dict(getattr(self.inner.config, "base_model_tp_plan", None) or {})
        plan.pop("embed_tokens", None)  # stays whole, like the output layer
        if set(plan.values()) - {"colwise", "rowwise"}:
            return {}
        prefix = self.inner.base_model_prefix
        known = dict(self.named_modules())
        layers = range(len(self.blocks()))
        named = {f"{prefix}.{name.replace('*', str(i))}": how for name, how in plan.items() for i in layers}
        return {name: how for name, how in named.items() if name in known}

    def kv_heads(self) -> int:
        """Key and value heads."""
        config = self.inner.config
        return int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads)

    def vocab_size(self) -> int:
        """Entries of the vocabulary."""
        return int(self.inner.config.vocab_size)

    def max_context(self) -> int | None:
        """The context the positions are made for; None when the model does not say."""
        found = getattr(self.inner.config, "max_position_embeddings", None)
        return None if found is None else int(found)

    def save(self, folder: Path, *, end_id: int | None = None, state: Mapping[str, Tensor] | None = None) -> None:
        """Write the folder as ``transformers`` does, in the precision the weights have.

        Files have the names of ``state`` where it is given; else those the family's files on the hub have, which differ
        where ``transformers`` joins weights on loading (experts). It reads both.
        """
        if end_id is not None:
            self.inner.config.eos_token_id = end_id
            self.inner.generation_config.eos_token_id = end_id
        given = None if state is None else dict(state)
        self.inner.save_pretrained(folder, state_dict=given, save_original_format=given is None)

    def flops_per_token(self, context: int) -> float:
        """By the convention of ``Trainable``; of experts, those a token passes; sliding windows bound the context."""
        config = self.inner.config
        experts = getattr(config, "num_local_experts", None) or getattr(config, "num_experts", None)
        active = getattr(config, "num_experts_per_tok", 1) / experts if experts else 1.0
        embeddings = {id(m.weight) for m in self.inner.modules() if isinstance(m, nn.Embedding)}
        matrices = 0.0
        for name, p in self.inner.named_parameters():
            if p.ndim >= 2 and id(p) not in embeddings and ".lora_" not in name:
                matrices += p.numel() * (active if "experts" in name else 1.0)
        head = self.inner.get_output_embeddings()
        if head is not None and id(head.weight) in embeddings:  # tied: looked up once, multiplied once
            matrices += head.weight.numel()
        kinds = getattr(config, "layer_types", None) or ["full_attention"] * len(self.blocks())
        window = getattr(config, "sliding_window", None) or context
        seen = sum(min(window, context) if kind == "sliding_attention" else context for kind in kinds)
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        return 6.0 * matrices + 12.0 * float(seen * config.num_attention_heads * head_dim)


def open_hf(folder: Path, *, device: str, dtype: torch.dtype, rope_theta: float = 0.0) -> HfModel:
    """The model of a Hugging Face folder. Raises ConfigError for what cannot be trained, DataError for damage."""
    config = boundary(lambda: transformers.AutoConfig.from_pretrained(folder))
    if isinstance(config, Caught):
        raise DataError(f"transformers cannot read the configuration: {config.message}", where=folder)
    refuse(config, folder)
    if rope_theta:
        rope = getattr(config, "rope_parameters", None)
        if not isinstance(rope, dict) or "rope_theta" not in rope:
            raise ConfigError(f"{folder}: {config.model_type} has no single rope_theta to change")
        rope["rope_theta"] = rope_theta
    auto: Any = transformers.AutoModelForCausalLM
    if device == "meta":
        with torch.device("meta"):
            return HfModel(auto.from_config(config, dtype=dtype))
    loaded: Any = boundary(lambda: auto.from_pretrained(folder, config=config, dtype=dtype))
    if isinstance(loaded, Caught):
        raise DataError(f"transformers cannot load the weights: {loaded.message}", where=folder)
    return fitted(HfModel(loaded))


def refuse(config: Any, folder: Path) -> None:
    """Raise ConfigError for architectures that the loop cannot train."""
    kind = config.model_type
    if getattr(config, "is_encoder_decoder", False):
        raise ConfigError(f"{folder}: {kind} is an encoder-decoder; only decoders (causal language models) are trained")
    name = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(kind)
    if name is None:
        raise ConfigError(f"{folder}: {kind} is not a causal language model of transformers")
    if getattr(getattr(transformers, name), "_is_stateful", False):
        raise ConfigError(
            f"{folder}: {kind} keeps a state besides attention (a state-space or recurrent model); only transformers "
            "with attention are trained"
        )


@torch.no_grad()
def fitted(model: HfModel) -> HfModel:
    """The model with those of our parts that reproduce its own loss on a few tokens. Raises ConfigError if none do.

    Costs four passes over 12 tokens.
    """
    inner = model.inner
    own = "sdpa" if getattr(inner, "_supports_sdpa", False) else "eager"
    if getattr(inner.config, "attn_logit_softcapping", None):
        own = "eager"  # transformers leaves soft-capping out of its sdpa
    device = inner.get_input_embeddings().weight.device
    ids = torch.arange(13, device=device)[None] * 7 % model.vocab_size()
    covered = model.document_masks
    inner.set_attn_implementation(own)
    expected = F.cross_entropy(model(ids[:, :-1]).float().flatten(0, 1), ids[:, 1:].flatten())
    _check_causal(model, ids[:, :-1])
    if covered:
        inner.set_attn_implementation(NAME)
        with torch.enable_grad():  # the blocks that training takes
            found = _tried(model, ids)
        if found is None or not _near(found, expected, inner.dtype):
            inner.set_attn_implementation(own)
            model.document_masks = False
    found = _tried(model, ids)
    if found is None or not _near(found, expected, inner.dtype):
        model.chunked = False
    if model.document_masks:
        documents = (torch.arange(13, device=device) >= 5)[None].int()
        parts = model.loss_sum(ids[:, :5])[0] + model.loss_sum(ids[:, 5:])[0]
        model.document_masks = _near(model.loss_sum(ids, documents=documents)[0], parts, inner.dtype)
    return model


def _tried(model: HfModel, ids: Tensor) -> Tensor | None:
    """The loss, or None where the family's attention or output layer is not of the form we know."""
    try:
        return model.loss(ids)
    except (Uncovered, AttributeError, TypeError):
        return None


def _near(a: Tensor, b: Tensor, dtype: torch.dtype) -> bool:
    """Whether two losses agree to the rounding of the weights' precision."""
    return bool(torch.isclose(a.float(), b.float(), rtol=1e-4 if dtype == torch.float32 else 3e-2))


def _check_causal(model: HfModel, ids: Tensor) -> None:
    """ConfigError when a later token changes an earlier position's logits (BERT and its like)."""
    other = ids.clone()
    other[:, -1] = (other[:, -1] + 1) % model.vocab_size()
    before, after = model(ids)[:, :-1].float(), model(other)[:, :-1].float()
    rounding = 1e-4 if model.inner.dtype == torch.float32 else 1e-2
    if not torch.allclose(before, after, rtol=0.0, atol=rounding * float(before.abs().max())):
        raise ConfigError(f"{model.inner.config.model_type} looks at later tokens; only causal models are trained")


def positions(documents: Tensor) -> Tensor:
    """(B, T) document numbers → (B, T) positions that start at 0 in each document."""
    place = torch.arange(documents.shape[1], device=documents.device).expand_as(documents)
    first = torch.ones_like(documents, dtype=torch.bool)
    first[:, 1:] = documents[:, 1:] != documents[:, :-1]
    return place - torch.where(first, place, 0).cummax(dim=1).values


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Our causal attention as ``transformers`` calls it: (B, H, T, D) queries → (B, T, H, D).

    Raises Uncovered for what it does not know: sinks, position biases, dropout, caches, other than causal order.
    """
    unknown = sorted(k for k, v in others.items() if k not in HARMLESS and v is not None and v is not False)
    seen_later = others.get("is_causal") is False or not getattr(module, "is_causal", True)
    if unknown or dropout or seen_later or query.shape[2] != key.shape[2]:
        what = ", ".join(unknown) or ("dropout" if dropout else "attention that is not causal over one row")
        raise Uncovered(f"our attention does not know {what}")
    if attention_mask is not None and attention_mask.dtype != torch.bool:
        raise Uncovered("our attention does not know additive masks")
    kind = query.device.type
    if torch.is_autocast_enabled(kind):  # rotary positions in fp32 have widened what the projections made
        dtype = torch.get_autocast_dtype(kind)
        query, key, value = query.to(dtype), key.to(dtype), value.to(dtype)
    how = Scores(scale=scaling, window=sliding_window, softcap=softcap)
    return causal(query, key, value, attention_mask, how).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)

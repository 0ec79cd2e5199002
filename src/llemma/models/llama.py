"""The Llama architecture (Touvron et al. 2023) with Hugging Face's parameter names, free of parallelism.

RMSNorm, rotary positions, grouped-query attention, SwiGLU; no biases, no dropout. The same module trains
(``loss`` over whole rows) and decodes over a key-value cache (``generate.py``). Reading and writing checkpoints
is in ``checkpoint.py``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llemma.config import setting
from llemma.models.attention import causal
from llemma.models.files import save_weights
from llemma.models.layers import RMSNorm, Rotation, rotate
from llemma.models.loss import Output, linear_cross_entropy
from llemma.models.trainable import Trainable, counted, together
from llemma.run import write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class LlamaConfig:
    """Sizes of a Llama model; the names are those of Hugging Face's ``config.json``."""

    vocab_size: int = setting(2048, "entries of the vocabulary")
    hidden_size: int = setting(192, "width of the residual stream")
    intermediate_size: int = setting(512, "width inside the feed-forward block")
    num_hidden_layers: int = setting(5, "number of blocks")
    num_attention_heads: int = setting(6, "query heads")
    num_key_value_heads: int = setting(6, "key and value heads (fewer than query heads: grouped-query attention)")
    max_position_embeddings: int = setting(256, "context length in tokens")
    rms_norm_eps: float = setting(1e-5, "epsilon of RMSNorm")
    rope_theta: float = setting(10000.0, "base of the rotary frequencies")
    tie_word_embeddings: bool = setting(True, "share the input embedding with the output layer")

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0 and name != "tie_word_embeddings":
                raise ValueError(f"{name}={getattr(self, name)} must be positive")
        if self.hidden_size % self.num_attention_heads or (self.hidden_size // self.num_attention_heads) % 2:
            raise ValueError(
                f"hidden_size={self.hidden_size} must split into num_attention_heads={self.num_attention_heads} "
                "heads of an even width"
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads={self.num_attention_heads} must be a multiple of "
                f"num_key_value_heads={self.num_key_value_heads}"
            )

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden_size // self.num_attention_heads


def rotation(config: LlamaConfig, positions: int, device: torch.device | None = None) -> Rotation:
    """The rotary angles of the first ``positions`` positions, in fp32."""
    half = config.head_dim // 2
    # as transformers computes them, rounding included: another order of operations moves trained logits by 1e-5
    frequency = 1.0 / (
        config.rope_theta ** (torch.arange(0, half, dtype=torch.float32, device=device) * 2 / (2 * half))
    )
    angle = torch.outer(torch.arange(positions, dtype=torch.float32, device=device), frequency)
    angle = torch.cat((angle, angle), dim=-1)
    return Rotation(angle.cos(), angle.sin())


class Attention(nn.Module):
    """Causal multi-head attention with grouped keys and values."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        width, kv_width = config.hidden_size, self.kv_heads * self.head_dim
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, kv_width, bias=False)
        self.v_proj = nn.Linear(width, kv_width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def project(self, x: Tensor, turn: Rotation) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, width) → queries (B, heads, T, head_dim), keys and values (B, kv_heads, T, head_dim)."""
        B, T, _ = x.shape
        # three products, not one on joined weights: joining and splitting costs more on CPU than it saves
        q = self.q_proj(x).view(B, T, -1, self.head_dim).transpose(1, 2)
        k = self.k_proj(x).view(B, T, -1, self.head_dim).transpose(1, 2)
        v = self.v_proj(x).view(B, T, -1, self.head_dim).transpose(1, 2)
        turn = turn.to(q.dtype)
        return rotate(q, turn), rotate(k, turn), v

    def forward(self, x: Tensor, turn: Rotation, visible: Tensor | None = None) -> Tensor:
        """(B, T, width) → (B, T, width); position t sees positions 0..t, or those of them that are ``visible``."""
        q, k, v = self.project(x, turn)
        mixed: Tensor = self.o_proj(causal(q, k, v, visible).transpose(1, 2).flatten(2))
        return mixed


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020): down(silu(gate(x)) * up(x))."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., hidden_size) → (..., hidden_size)."""
        hidden: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return hidden


class Block(nn.Module):
    """One pre-norm transformer block."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = FeedForward(config)

    def forward(self, x: Tensor, turn: Rotation, visible: Tensor | None = None) -> Tensor:
        """(B, T, hidden_size) → (B, T, hidden_size)."""
        x = x + self.self_attn(self.input_layernorm(x), turn, visible)
        x = x + self.mlp(self.post_attention_layernorm(x))
        return x


class Trunk(nn.Module):
    """Embedding, blocks and final norm: what Hugging Face calls ``model``."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Tensor, turn: Rotation, visible: Tensor | None = None) -> Tensor:
        """(B, T, hidden_size) embedded → hidden; ``visible`` (B, 1, T, T) bool narrows the attention."""
        for block in self.layers:
            x = block(x, turn, visible)
        hidden: Tensor = self.norm(x)
        return hidden


class Llama(Trainable):
    """A Llama causal language model; its ``state_dict`` has the keys of ``LlamaForCausalLM``."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.tie()
        self._turn: Rotation | None = None

    def tie(self) -> None:
        """Let input embedding and output layer be one parameter, where the sizes say so; ``to_empty`` parts them."""
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.model.embed_tokens.weight

    def rotation(self, positions: int) -> Rotation:
        """The rotary angles of positions 0..positions-1, kept between calls."""
        device = self.lm_head.weight.device
        if self._turn is None or len(self._turn.cos) < positions or self._turn.cos.device != device:
            self._turn = rotation(self.config, max(positions, self.config.max_position_embeddings), device)
        return self._turn[slice(0, positions)]

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) token ids → (B, T, vocab_size) logits."""
        return self.logits(self.hidden(self.model.embed_tokens(ids)))

    def embedding(self) -> nn.Embedding:
        """The input embedding."""
        return self.model.embed_tokens

    def hidden(self, embedded: Tensor, documents: Tensor | None = None) -> Tensor:
        """(B, T, hidden_size) embedded tokens → last hidden states, after the final norm."""
        visible = None if documents is None else together(documents)
        hidden: Tensor = self.model(embedded, self.rotation(embedded.shape[1]), visible)
        return hidden

    def output_loss(self, hidden: Tensor, targets: Tensor, scale: float | None = None) -> Tensor:
        """Chunked cross-entropy of the output layer."""
        return linear_cross_entropy(hidden, self.lm_head.weight, targets, Output(z_loss=self.z_loss), scale=scale)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., hidden_size) → (..., vocab_size)."""
        logits: Tensor = self.lm_head(hidden)
        return logits

    def loss(self, ids: Tensor, mask: Tensor | None = None, documents: Tensor | None = None) -> Tensor:
        """Mean cross-entropy in nats of predicting ids[:, 1:] from ids[:, :-1]; ids is (B, T + 1)."""
        return self.output_loss(*self._counted(ids, mask, documents))

    def loss_sum(self, ids: Tensor, mask: Tensor | None = None, documents: Tensor | None = None) -> tuple[Tensor, int]:
        """The summed cross-entropy in nats of the counted targets, and how many they are."""
        hidden, targets = self._counted(ids, mask, documents)
        return self.output_loss(hidden, targets, scale=1.0), len(targets)

    def _counted(self, ids: Tensor, mask: Tensor | None, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        """Hidden states (N, width) and ids (N,) of the targets that count."""
        hidden = self.hidden(self.model.embed_tokens(ids[:, :-1]), None if documents is None else documents[:, :-1])
        chosen, targets = counted(ids, mask, documents), ids[:, 1:]
        if chosen is None:
            return hidden.flatten(0, 1), targets.flatten()
        return hidden[chosen], targets[chosen]

    def blocks(self) -> list[nn.Module]:
        """The transformer blocks, first to last."""
        return list(self.model.layers)

    def tensor_plan(self) -> dict[str, str]:
        """Heads and feed-forward columns are split, the residual stream is whole (Megatron-LM)."""
        colwise = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.up_proj")
        plan = dict.fromkeys(colwise, "colwise") | {"self_attn.o_proj": "rowwise", "mlp.down_proj": "rowwise"}
        layers = range(self.config.num_hidden_layers)
        return {f"model.layers.{i}.{name}": how for i in layers for name, how in plan.items()}

    def kv_heads(self) -> int:
        """Key and value heads."""
        return self.config.num_key_value_heads

    def vocab_size(self) -> int:
        """Entries of the vocabulary."""
        return self.config.vocab_size

    def max_context(self) -> int | None:
        """The context the configuration names."""
        return self.config.max_position_embeddings

    def save(self, folder: Path, *, end_id: int | None = None, state: Mapping[str, Tensor] | None = None) -> None:
        """Write ``config.json`` and the weights, in the precision they have, into an existing folder."""
        written = weights(self, state)
        dtype = str(self.lm_head.weight.dtype).removeprefix("torch.")
        save_weights(written, folder)
        write_json(folder / "config.json", hf_config(self.config, end_id=end_id, dtype=dtype))
        write_json(folder / "generation_config.json", {"eos_token_id": end_id, "do_sample": False})

    def flops_per_token(self, context: int) -> float:
        """Operations of a training step per token, by the convention of ``Trainable``."""
        return flops_per_token(self.config, context)


def initialise(model: Llama, seed: int) -> None:
    """Draw all weights of a model that is whole; see ``initial``."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(initial(model.config, name, parameter.shape, seed))


def initial(config: LlamaConfig, name: str, shape: torch.Size, seed: int) -> Tensor:
    """One weight at step 0, in fp32: embeddings from N(0, 0.02²), matrices from N(0, 1/fan_in), norms 1.

    Matrices that write into the residual stream are scaled by 1/sqrt(2·layers) (GPT-2). At Llama's width of 4096
    1/sqrt(fan_in) is 0.016, close to the usual 0.02; at the widths of a laptop 0.02 would be far too small. Each weight
    has a generator of its own, seeded by its name: it is the same however many processes share the model.
    """
    if len(shape) == 1:
        return torch.ones(shape)
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    if "embed_tokens" in name:
        return torch.randn(shape, generator=generator).mul_(0.02)
    residual = name.endswith(("o_proj.weight", "down_proj.weight"))
    scale = 1 / math.sqrt(2 * config.num_hidden_layers) if residual else 1.0
    return torch.randn(shape, generator=generator).mul_(scale / math.sqrt(shape[1]))


def parameter_count(config: LlamaConfig) -> int:
    """Number of parameters (tied embeddings counted once), from a model without storage."""
    with torch.device("meta"):
        return sum(p.numel() for p in Llama(config).parameters())


def flops_per_token(config: LlamaConfig, context: int) -> float:
    """Operations of a training step per token: 6 per weight of a matrix product, 12·layers·context·width."""
    width, kv_width = config.hidden_size, config.num_key_value_heads * config.head_dim
    block = 2 * width * (width + kv_width) + 3 * width * config.intermediate_size
    matrices = config.num_hidden_layers * block + config.vocab_size * width
    return 6.0 * matrices + 12.0 * config.num_hidden_layers * context * width


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


def weights(model: Llama, state: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """The parameters by Hugging Face name, tied ones once, contiguous; of ``state`` where it is given."""
    tied = model.config.tie_word_embeddings
    state = model.state_dict() if state is None else state
    return {k: v.detach().contiguous() for k, v in state.items() if not (tied and k == "lm_head.weight")}

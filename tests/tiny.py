"""A tiny Llama with random weights, loud enough that its text depends on the prompt; shared by several tests."""

from __future__ import annotations

from pathlib import Path

import torch

from llemma.models.checkpoint import save_model
from llemma.models.llama import Llama, LlamaConfig
from llemma.sources import generated as source
from llemma.tokens.tokenizer import train_tokenizer


def save_tiny(folder: Path, context: int = 512, width: int = 32, seed: int = 1) -> Path:
    """Write the model and a tokeniser trained on generated problems to ``folder``."""
    texts = [source.render(worked) for worked in source.draw("addition", split="train", seed=0, count=200)]
    tokenizer = train_tokenizer(texts, 400)
    model = Llama(
        LlamaConfig(
            vocab_size=tokenizer.vocab_size,
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=context,
        )
    )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.2
            parameter.copy_(parameter + noise if parameter.ndim == 1 else noise)
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model.eval(), folder, end_id=tokenizer.end_id)
    tokenizer.save(folder)
    return folder

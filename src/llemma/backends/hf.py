"""Models in Hugging Face format, in this process: ``hf:FOLDER_OR_NAME``.

Llama-architecture folders run on our own engine (shared prefix, shrinking batch); every other causal language
model runs through ``transformers``' ``generate`` with our sampler. Weights are fp32 on CPU, bf16 on a GPU.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llemma import __version__
from llemma.backends import Request, cut
from llemma.errors import BackendError, Caught, ConfigError, boundary
from llemma.models.beam import Beams, beam_search, tokens_of
from llemma.models.checkpoint import load_model, model_folder, read_config, weights_fingerprint
from llemma.models.generate import Decoding, Generated, generate, sample
from llemma.models.llama import Llama
from llemma.records import Completion, Sampling
from llemma.run import read_json
from llemma.tokens.tokenizer import Tokenizer, load_tokenizer, tokenizer_file

BATCH = 256


class LlamaBackend:
    """A Llama folder on our own engine."""

    def __init__(self, model: Llama, tokenizer: Tokenizer, name: str, weights: str = "") -> None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if device == "cuda" else torch.float32
        self._model = model.to(device=device, dtype=dtype).eval()
        self._tokenizer = tokenizer
        self.batch = BATCH
        self.info: Mapping[str, str] = {
            "engine": "llemma",
            "version": __version__,
            "torch": torch.__version__,
            "model": name,
            "weights": weights,
            "device": device,
            "dtype": str(dtype).removeprefix("torch."),
        }

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """One completion per request; prompts too long for the context lose their beginning (as in the paper)."""
        if not requests:
            return []
        prompts = [self._ids(request.prompt, sampling) for request in requests]
        how = Decoding(
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seeds=[r.seed for r in requests],
            end_id=self._tokenizer.end_id,
        )
        outputs = generate(self._model, prompts, how, stopper(self._tokenizer, sampling.stop, len(prompts)))
        return [self._completion(output, sampling.stop) for output in outputs]

    def beam(self, prompt: str, width: int, sampling: Sampling) -> list[Completion]:
        """The likeliest completions by beam search; ``tokens`` counts the end mark, as log-probabilities do."""

        def ended(ids: Sequence[int]) -> bool:
            # a token is at least one byte, so a stop string that ends here lies in the last tokens
            text = self._tokenizer.decode(list(ids[-longest - 1 :]))
            return any(s in text for s in sampling.stop)

        longest = max((len(s.encode()) for s in sampling.stop), default=0)
        how = Beams(width=width, max_tokens=sampling.max_tokens, ended=ended, end_id=self._tokenizer.end_id)
        found = beam_search(self._model, self._ids(prompt, sampling), how)
        return [replace(self._completion(each, sampling.stop), tokens=tokens_of(each)) for each in found]

    def _ids(self, prompt: str, sampling: Sampling) -> list[int]:
        """The ids of a prompt, the last ones when there is no room for all."""
        room = self._model.config.max_position_embeddings
        if sampling.max_tokens >= room:
            raise ConfigError(f"max_tokens={sampling.max_tokens} leaves no room for a prompt in a context of {room}")
        end = [self._tokenizer.end_id] if self._tokenizer.end_id is not None else [0]
        return (self._tokenizer.encode_prompt(prompt) or end)[-(room - sampling.max_tokens) :]

    def _completion(self, output: Generated, stop: Sequence[str]) -> Completion:
        text = cut(self._tokenizer.decode(output.ids), stop)
        return Completion(text=text, finish=output.finish, logprob=output.logprob, tokens=len(output.ids))


class TransformersBackend:
    """Any causal language model through ``transformers``; one prompt's batch is padded on the left."""

    def __init__(self, model: Any, tokenizer: Any, name: str, weights: str = "") -> None:
        self._model, self._tokenizer = model.eval(), tokenizer
        self._tokenizer.padding_side = self._tokenizer.truncation_side = "left"
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self.batch = 16
        self.info: Mapping[str, str] = {
            "engine": f"transformers {importlib.metadata.version('transformers')}",
            "torch": torch.__version__,
            "model": name,
            "weights": weights,
            "device": str(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
        }

    @torch.no_grad()
    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """One completion per request, all in one batch; each draws by its own seed."""
        if not requests:
            return []
        cut_to: dict[str, Any] = {}
        if room := getattr(self._model.config, "max_position_embeddings", None):
            if sampling.max_tokens >= room:
                raise ConfigError(
                    f"max_tokens={sampling.max_tokens} leaves no room for a prompt in a context of {room}"
                )
            cut_to = {"truncation": True, "max_length": room - sampling.max_tokens}
        prompts = [r.prompt if self._tokenizer(r.prompt)["input_ids"] else self._tokenizer.eos_token for r in requests]
        batch = self._tokenizer(prompts, return_tensors="pt", padding=True, **cut_to).to(self._model.device)
        batch.pop("token_type_ids", None)
        how: dict[str, Any] = {"do_sample": False}
        if sampling.temperature > 0:
            how["logits_processor"] = [_Seeded(sampling, [request.seed for request in requests])]
        if sampling.stop:
            how |= {"stop_strings": list(sampling.stop), "tokenizer": self._tokenizer}
        pad = self._tokenizer.pad_token_id
        out = self._model.generate(**batch, max_new_tokens=sampling.max_tokens, pad_token_id=pad, **how)
        found = []
        for row in out[:, batch["input_ids"].shape[1] :].tolist():
            text = self._tokenizer.decode(row, skip_special_tokens=True)
            kept = cut(text, sampling.stop)
            tokens = sum(token != pad for token in row)
            ended = len(row) > tokens or tokens < sampling.max_tokens
            finish = "stop" if kept != text else "eos" if ended else "length"
            found.append(Completion(text=kept, finish=finish, tokens=tokens))
        return found


class _Seeded:
    """Chooses each row's next token by our own sampler: greedy search then takes what is chosen.

    A row's choices depend on its seed alone, as on our engine, where ``transformers`` has one generator a batch.
    """

    def __init__(self, sampling: Sampling, seeds: Sequence[int]) -> None:
        self._sampling, self._step = sampling, 0
        numbers = [np.random.default_rng(seed).random(sampling.max_tokens) for seed in seeds]
        self._uniform = torch.from_numpy(np.stack(numbers))  # (rows, tokens)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(rows, vocabulary) scores with all but the chosen token at minus infinity."""
        u = self._uniform[:, self._step].to(scores.device)
        chosen = sample(scores.float() / self._sampling.temperature, self._sampling.top_p, u)
        self._step += 1
        return torch.full_like(scores, float("-inf")).scatter_(1, chosen[:, None], 0.0)


def open(target: str) -> LlamaBackend | TransformersBackend:
    """The back end for a local folder, or for a hub name whose files are in the hub's cache or can be fetched."""
    path = Path(target).expanduser()
    if not path.is_dir():
        snapshot = _llama_snapshot(target)
        return _open_transformers(target) if snapshot is None else _open_folder(snapshot, target)
    return _open_folder(path, target)


def _open_folder(path: Path, target: str) -> LlamaBackend | TransformersBackend:
    folder = model_folder(path)
    if read_json(folder / "config.json").get("model_type") == "llama":
        # a variant of Llama that our engine does not cover goes to transformers
        loaded = boundary(lambda: load_model(folder)) if _covered(folder) else None
        if isinstance(loaded, Caught):
            raise BackendError(loaded.message)
        if loaded is not None:
            return LlamaBackend(loaded, load_tokenizer(folder), target, weights_fingerprint(folder))
    return _open_transformers(str(folder))


def stopper(tokenizer: Tokenizer, stop: Sequence[str], rows: int) -> Callable[[int, int], bool]:
    """Tells when a row's text contains a stop string, looking at its last tokens only."""
    if not stop:
        return lambda row, token: False
    longest = max(len(s.encode()) for s in stop)
    tail: list[list[int]] = [[] for _ in range(rows)]
    endings = {s[-1] for s in stop} | {"\ufffd"}  # a token with a part of a character may complete the last one

    def stopped(row: int, token: int) -> bool:
        # every token is at least one byte, so the last `longest` tokens hold any stop string that ends here
        tail[row] = [*tail[row][-longest:], token]
        if not endings.intersection(tokenizer.decode([token])):
            return False
        text = tokenizer.decode(tail[row])
        return any(s in text for s in stop)

    return stopped


def _llama_snapshot(name: str) -> Path | None:
    """The local files of a Llama on the hub; None for another model, without safetensors, or when it is not there."""
    import huggingface_hub

    def find() -> Path | None:
        config = Path(huggingface_hub.hf_hub_download(name, "config.json"))
        if read_json(config).get("model_type") != "llama":
            return None
        return Path(
            huggingface_hub.snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "tokenizer.model"])
        )

    found = boundary(find)
    if isinstance(found, Caught) or found is None:
        return None
    return found if _covered(found) and any(found.glob("*.safetensors")) else None


def _covered(folder: Path) -> bool:
    try:
        read_config(folder)
    except ConfigError:
        return False
    return tokenizer_file(folder) is not None


def _open_transformers(name: str) -> TransformersBackend:
    import transformers

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32

    def load() -> TransformersBackend:
        tokenizer = transformers.AutoTokenizer.from_pretrained(name)
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
        weights = weights_fingerprint(Path(name)) if Path(name).is_dir() else ""
        return TransformersBackend(model.to(device), tokenizer, name, weights)

    loaded = boundary(load)
    if isinstance(loaded, Caught):
        raise BackendError(f"hf:{name} cannot be loaded: {loaded.message}")
    return loaded

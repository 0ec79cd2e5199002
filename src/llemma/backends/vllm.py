"""Models on GPUs through vLLM's offline engine, in this process: ``vllm:NAME_OR_FOLDER``.

Written against the interface that vLLM documents for ``LLM.generate`` (0.8 and later). Prompts too long for the model
lose their beginning, as in the paper's runs. All samples of a prompt share its cache (prefix caching). For several
machines, or an engine that runs on, use ``vllm serve`` and ``openai:``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import vllm

from llemma.backends import Request, cut
from llemma.config import setting
from llemma.errors import BackendError, Caught, ConfigError, boundary
from llemma.records import Completion, Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Settings of the back end."""

    tensor_parallel: int = setting(1, "GPUs that share the model")
    dtype: str = setting("bfloat16", "precision of the weights; the paper's runs had bfloat16")
    max_model_len: int | None = setting(None, "context in tokens; none: the model's own")
    gpu_memory: float = setting(0.9, "share of each GPU's memory to use")
    batch: int = setting(4096, "requests per call: the engine schedules within them")

    def __post_init__(self) -> None:
        if self.tensor_parallel < 1 or self.batch < 1:
            raise ValueError(f"tensor_parallel={self.tensor_parallel} batch={self.batch}: must be at least 1")
        if not 0 < self.gpu_memory <= 1:
            raise ValueError(f"gpu_memory={self.gpu_memory}: must be above 0 and at most 1")


class VLLM:
    """A model in vLLM's engine."""

    def __init__(self, engine: Any, name: str, options: Options) -> None:
        self._engine = engine
        self._tokenizer = engine.get_tokenizer()
        self._context = int(engine.llm_engine.model_config.max_model_len)
        self.batch = options.batch
        self.info: Mapping[str, str] = {
            "engine": "vllm",
            "version": str(vllm.__version__),
            "model": name,
            "dtype": options.dtype,
            "tensor_parallel": str(options.tensor_parallel),
            "context": str(self._context),
        }

    def complete(self, requests: Sequence[Request], sampling: Sampling) -> list[Completion]:
        """One completion per request, in order; prompts too long for the context lose their beginning."""
        room = self._context - sampling.max_tokens
        if room < 1:
            raise ConfigError(
                f"max_tokens={sampling.max_tokens} leaves no room for a prompt in a context of {self._context}"
            )
        prompts = [{"prompt_token_ids": self._tokenizer.encode(r.prompt)[-room:]} for r in requests]
        how = [
            vllm.SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                max_tokens=sampling.max_tokens,
                stop=list(sampling.stop) or None,
                seed=request.seed if sampling.temperature > 0 else None,
                logprobs=0,  # of the chosen token alone: for the completion's log-probability
            )
            for request in requests
        ]
        made = boundary(lambda: self._engine.generate(prompts, how, use_tqdm=False))
        if isinstance(made, Caught):
            raise BackendError(f"vLLM failed: {made}")
        return [_completion(output, sampling.stop) for output in made]


def open(target: str, options: Options | None = None) -> VLLM:
    """The back end for a hub name or a local folder. Raises BackendError when vLLM cannot load it."""
    chosen = options or Options()
    engine = boundary(
        lambda: vllm.LLM(
            model=target,
            tensor_parallel_size=chosen.tensor_parallel,
            dtype=chosen.dtype,
            max_model_len=chosen.max_model_len,
            gpu_memory_utilization=chosen.gpu_memory,
            enable_prefix_caching=True,
            generation_config="vllm",  # no defaults of the model's own for what is not asked
            seed=0,
        )
    )
    if isinstance(engine, Caught):
        raise BackendError(f"vllm:{target} cannot be loaded: {engine.message}")
    return VLLM(engine, target, chosen)


def _completion(output: Any, stop: Sequence[str]) -> Completion:
    """What vLLM made of one request: its first and only output."""
    made = output.outputs[0]
    finish = str(made.finish_reason)
    if finish == "stop" and made.stop_reason is None:
        finish = "eos"
    return Completion(
        text=cut(made.text, stop),
        finish=finish,
        logprob=made.cumulative_logprob,
        tokens=len(made.token_ids),
        prompt_tokens=len(output.prompt_token_ids or ()),
    )

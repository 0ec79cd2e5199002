"""Model folders rewritten: vocabulary, rotary base, precision, merged adapters, size of files; GGUF by llama.cpp.

Weights pass through one output file at a time, so a model larger than the memory is converted too, without the check
of the logits. What is written is complete: the folder appears by one rename.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from llemma.errors import ConfigError, DataError, MissingDependency
from llemma.models.convert_config import ConvertConfig
from llemma.models.files import INDEX, SINGLE, save_tensors, weight_files
from llemma.models.open import locate, open_model
from llemma.models.trainable import Trainable
from llemma.plugins import import_module
from llemma.run import read_json, write_json
from llemma.tokens.tokenizer import load_tokenizer, tokenizer_file

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
SCRIPT = "convert_hf_to_gguf.py"
KEPT = ("*.json", "*.model", "*.jinja", "*.txt", "LICENSE*", "README.md")  # beside the weights: tokeniser, licence
Change = Callable[[str, Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What was written. Differences of logits are in units of the largest logit, on 2 rows of 24 random ids."""

    out: Path
    parameters: int
    bytes: int
    files: int
    vocab_size: int
    logits: str = "not compared"
    difference: float | None = None


def convert(settings: ConvertConfig) -> Converted:
    """Do what the settings say. Raises ConfigError, DataError for what does not fit, or when logits have changed."""
    source, out = locate(settings.paths[0]), Path(settings.paths[1])
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists; give another name or delete it")
    if out.suffix == ".gguf":
        return _gguf(settings, source, out)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        found = _convert(settings, source, part)
        if out.exists():
            out.rmdir()
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return found


def _convert(settings: ConvertConfig, source: Path, part: Path) -> Converted:
    model = open_model(str(source), device="meta")
    size = vocabulary(settings, source, model.vocab_size())
    _copy_others(source, part)
    write_json(part / "config.json", changed_config(settings, read_json(source / "config.json"), size, source))
    change = _changes(settings, model, size)
    count, written, files = rewrite(source, part, change, int(settings.shard_gb * 1e9))
    found = Converted(out=Path(settings.paths[1]), parameters=count, bytes=written, files=files, vocab_size=size)
    if not settings.check:
        return found
    said, difference = compare(settings, source, part)
    return Converted(
        out=found.out,
        parameters=count,
        bytes=written,
        files=files,
        vocab_size=size,
        logits=said,
        difference=difference,
    )


def vocabulary(settings: ConvertConfig, source: Path, before: int) -> int:
    """Entries after the conversion. Raises ConfigError when the folder's tokeniser has more."""
    size = settings.vocab_size or before
    size = -(-size // settings.multiple) * settings.multiple
    if size < before and tokenizer_file(source) is not None:
        known = load_tokenizer(source).vocab_size
        if size < known:
            raise ConfigError(f"vocab_size={size} is less than the {known} entries of the tokeniser in {source}")
    return size


def changed_config(settings: ConvertConfig, table: Mapping[str, Any], size: int, source: Path) -> dict[str, Any]:
    """``config.json`` after the conversion. Raises ConfigError for a key that the family does not have on top."""
    table = dict(table)
    if size != table.get("vocab_size"):
        _known(table, "vocab_size", source)
        table["vocab_size"] = size
    if settings.context:
        _known(table, "max_position_embeddings", source)
        table["max_position_embeddings"] = settings.context
    if settings.rope_theta:
        rope = table.get("rope_parameters")
        if not (isinstance(rope, dict) and "rope_theta" in rope) and "rope_theta" not in table:
            raise ConfigError(f"{source}: config.json has no single rope_theta to change")
        if isinstance(rope, dict) and "rope_theta" in rope:
            table["rope_parameters"] = rope | {"rope_theta": settings.rope_theta}
        if "rope_theta" in table or table.get("model_type") == "llama":
            table["rope_theta"] = settings.rope_theta
    if settings.dtype != "keep":
        table.pop("torch_dtype", None)  # the older name
        table["dtype"] = str(DTYPES[settings.dtype]).removeprefix("torch.")
    return table


def _known(table: Mapping[str, Any], key: str, source: Path) -> None:
    if key not in table:
        raise ConfigError(f"{source}: config.json has no {key} to change")


def _changes(settings: ConvertConfig, model: Trainable, size: int) -> Change:
    """What happens to each weight, in this order: adapter, rows of the vocabulary, precision."""
    rows = _vocabulary_weights(model)
    delta: Callable[[str], Tensor | None] = lambda name: None  # noqa: E731
    if settings.adapter is not None:
        delta = import_module("llemma.models.lora").Adapter(model, settings.adapter).delta

    def change(name: str, tensor: Tensor) -> Tensor:
        added = delta(name)
        if added is not None:
            tensor = (tensor.float() + added).to(tensor.dtype)
        if name in rows and tensor.shape[0] != size:
            tensor = resized(tensor, size, settings.fill, seed=settings.seed)
        if settings.dtype != "keep" and tensor.is_floating_point():
            tensor = tensor.to(DTYPES[settings.dtype])
        return tensor

    return change


def _vocabulary_weights(model: Trainable) -> set[str]:
    """Names of the weights with a row per entry of the vocabulary: input embedding and output layer."""
    size = model.vocab_size()
    embedding = next((n for n, m in model.named_modules() if isinstance(m, torch.nn.Embedding)), "")
    names = {f"{embedding}.weight", "lm_head.weight", "lm_head.bias", "embed_out.weight"}
    state = model.state_dict()
    return {name for name in names if name in state and state[name].shape[0] == size}


def resized(tensor: Tensor, rows: int, fill: str, *, seed: int = 0) -> Tensor:
    """The first ``rows`` rows of a weight, new ones as ``fill`` says: the mean of the old ones, normal, or zero.

    With the mean a new entry begins as likely as an average one (Hewitt 2021); zero gives it the logit 0.
    """
    if rows <= len(tensor):
        return tensor[:rows].clone()
    new = torch.zeros((rows - len(tensor), *tensor.shape[1:]))
    if fill == "mean":
        new += tensor.float().mean(0)
    elif fill == "normal":
        new = torch.randn(new.shape, generator=torch.Generator().manual_seed(seed)) * 0.02
    return torch.cat((tensor, new.to(tensor.dtype)))


@contextmanager
def _opened(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Every weight's name with the open file that holds it. Raises DataError for a damaged file."""
    with ExitStack() as stack:
        where = dict[str, Any]()
        for path in files:
            try:
                opened = stack.enter_context(safe_open(path, framework="pt"))
            except (SafetensorError, FileNotFoundError) as error:
                raise DataError(f"missing or damaged safetensors file ({error})", where=path) from error
            where |= dict.fromkeys(opened.keys(), opened)
        yield where


def rewrite(source: Path, out: Path, change: Change, shard_bytes: int) -> tuple[int, int, int]:
    """Write the changed weights of a folder into another; how many numbers, bytes and files that made.

    One output file's weights are in memory at a time.
    """
    pending, size = dict[str, Tensor](), 0
    parts, where = list[Path](), dict[str, int]()
    count = total = 0

    def flush() -> None:
        nonlocal size
        parts.append(out / f"part-{len(parts)}.safetensors")
        save_tensors(pending, parts[-1])
        where.update(dict.fromkeys(pending, len(parts)))
        pending.clear()
        size = 0

    with _opened(weight_files(source)) as files:
        for name, file in files.items():
            tensor = change(name, file.get_tensor(name)).contiguous()
            if pending and size + tensor.nbytes > shard_bytes:
                flush()
            pending[name] = tensor
            size, count, total = size + tensor.nbytes, count + tensor.numel(), total + tensor.nbytes
        flush()
    if len(parts) == 1:
        parts[0].rename(out / SINGLE)
        return count, total, 1
    names = [f"model-{i:05}-of-{len(parts):05}.safetensors" for i in range(1, len(parts) + 1)]
    for part, final in zip(parts, names, strict=True):
        part.rename(out / final)
    index = {name: names[number - 1] for name, number in sorted(where.items())}
    write_json(out / INDEX, {"metadata": {"total_size": total}, "weight_map": index})
    return count, total, len(parts)


def compare(settings: ConvertConfig, source: Path, out: Path) -> tuple[str, float]:
    """Logits of both folders in fp32: what was expected of them, and the largest difference, relative.

    Raises DataError when a conversion that must not change them did: every one without rope_theta and adapter.
    """
    before, after = _logits(source, out), _logits(out, source)
    shared = min(before.shape[-1], after.shape[-1])
    before, after = before[..., :shared], after[..., :shared]
    difference = float((before - after).abs().max() / before.abs().max().clamp_min(1e-30))
    if settings.rope_theta or settings.adapter is not None:
        return "changed, as asked for", difference
    bound = {"bf16": 5e-2, "fp16": 1e-2}.get(settings.dtype, 1e-5)
    if not difference <= bound:
        raise DataError(f"logits differ by {difference:.1e} after the conversion; nothing was kept", where=out)
    return "equal" if difference <= 1e-5 else "equal to the rounding of the weights", difference


@torch.no_grad()
def _logits(folder: Path, other: Path) -> Tensor:
    """(2, 24, vocabulary) in fp32, of ids that both models know."""
    sizes = [open_model(str(f), device="meta").vocab_size() for f in (folder, other)]
    ids = torch.randint(min(sizes), (2, 24), generator=torch.Generator().manual_seed(0))
    model = open_model(str(folder))
    logits: Tensor = model(ids)
    return logits.float()


def _copy_others(source: Path, out: Path) -> None:
    for pattern in KEPT:
        for path in source.glob(pattern):
            if path.is_file() and path.name not in (INDEX, "state.json"):
                shutil.copy2(path, out / path.name)


def _gguf(settings: ConvertConfig, source: Path, out: Path) -> Converted:
    """A GGUF file, written by llama.cpp's own script. Raises MissingDependency without it, DataError when it fails."""
    if settings != ConvertConfig(
        paths=settings.paths, gguf=settings.gguf, llama_cpp=settings.llama_cpp, check=settings.check
    ):
        raise ConfigError("a GGUF file is made of a folder as it is: convert to a folder first, then that to GGUF")
    script = converter(settings.llama_cpp)
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{out.stem}.part.gguf")
    command = [sys.executable, str(script), str(source), "--outfile", str(beside), "--outtype", settings.gguf]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode or not beside.is_file():
        beside.unlink(missing_ok=True)
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise DataError(f"{SCRIPT} failed: {lines[-1] if lines else f'exit code {done.returncode}'}", where=source)
    beside.rename(out)
    model = open_model(str(source), device="meta")
    return Converted(
        out=out, parameters=model.parameter_count(), bytes=out.stat().st_size, files=1, vocab_size=model.vocab_size()
    )


def converter(given: Path | None) -> Path:
    """llama.cpp's script: the one given (file or folder), or on the path. Raises ConfigError, MissingDependency."""
    if given is not None:
        script = given / SCRIPT if given.is_dir() else given
        if not script.is_file():
            raise ConfigError(f"llama_cpp={given}: no {SCRIPT} there")
        return script
    found = shutil.which(SCRIPT)
    package = importlib.util.find_spec(SCRIPT.removesuffix(".py"))  # the script as a package of PyPI
    if found is None and package is not None:
        found = package.origin
    if found is None:
        raise MissingDependency(
            f"llama.cpp's {SCRIPT}",
            install="git clone https://github.com/ggml-org/llama.cpp && pip install gguf (then llama_cpp=llama.cpp)",
        )
    return Path(found)

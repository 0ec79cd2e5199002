"""Weights on disk: safetensors files, one or several with an index, written beside and renamed."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from llemma.errors import DataError
from llemma.run import read_json, sync_folder, write_json

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 5 * 10**9  # of one file, as transformers wrote for years: fits any file system and a laptop's memory


def save_tensors(tensors: Mapping[str, Tensor], path: Path, header: Mapping[str, str] | None = None) -> None:
    """A safetensors file, written beside and renamed; names sorted, so equal tensors give equal bytes.

    ``header`` is added to the metadata at the file's beginning.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        save_file(dict(sorted(tensors.items())), beside, metadata={"format": "pt", **(header or {})})
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


def save_weights(weights: Mapping[str, Tensor], folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """One ``model.safetensors``, or several of at most ``shard_bytes`` (a larger tensor has its own) with an index.

    Files of an earlier save into the same folder that no longer belong are deleted.
    """
    shards = _shards(weights, shard_bytes)
    for old in [*folder.glob("model-*-of-*.safetensors"), folder / INDEX, folder / SINGLE]:
        old.unlink(missing_ok=True)
    if len(shards) == 1:
        save_tensors(weights, folder / SINGLE)
        return
    where = dict[str, str]()
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_tensors({name: weights[name] for name in names}, folder / file)
        where |= dict.fromkeys(names, file)
    size = sum(t.nbytes for t in weights.values())
    write_json(folder / INDEX, {"metadata": {"total_size": size}, "weight_map": dict(sorted(where.items()))})


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model folder's weights. Raises DataError for a damaged index."""
    if not (folder / INDEX).is_file():
        return [folder / SINGLE]
    try:
        names = sorted(set(read_json(folder / INDEX)["weight_map"].values()))
        return [folder / Path(name).name for name in names]
    except (KeyError, AttributeError, TypeError, json.JSONDecodeError) as error:
        raise DataError("damaged index of weights", where=folder / INDEX) from error


def each_file(folder: Path) -> Iterator[dict[str, Tensor]]:
    """The weights of a model folder, file by file, so that no more than one is in memory. Raises DataError."""
    for path in weight_files(folder):
        yield load_tensors(path)


def load_weights(folder: Path) -> dict[str, Tensor]:
    """All weights of a model folder. Raises DataError for missing or damaged files."""
    return {name: tensor for part in each_file(folder) for name, tensor in part.items()}


def _shards(weights: Mapping[str, Tensor], shard_bytes: int) -> list[list[str]]:
    """Names by file, in the order of the model."""
    shards: list[list[str]] = [[]]
    size = 0
    for name, tensor in weights.items():
        if shards[-1] and size + tensor.nbytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += tensor.nbytes
    return shards

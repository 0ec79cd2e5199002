"""Threads and arithmetic of a training process: how many, and in which precision."""

from __future__ import annotations

import ctypes
import os
from contextlib import AbstractContextManager
from typing import Any

import torch

from llemma.run import cores

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)


def wants_bf16(precision: str, device: str = "cpu") -> bool:
    """Whether products are made in bf16 (fp8: those not in fp8): when asked for, or (auto) where it is fast."""
    fast = torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda" else bf16_is_fast()
    return precision in ("bf16", "fp8") or (precision == "auto" and fast)


def autocast(precision: str, device: str = "cpu") -> AbstractContextManager[Any]:
    """Matrix products in bf16 over fp32 weights when asked for, or (auto) when the device is fast at it."""
    return torch.autocast(device, dtype=torch.bfloat16, enabled=wants_bf16(precision, device))


def bf16_is_fast() -> bool:
    """Whether this CPU multiplies bf16 natively (AVX512-BF16 or AMX); elsewhere bf16 is emulated and slow."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def set_threads(threads: int) -> None:
    """Fix the number of CPU threads: results depend on it, so it must not follow the machine's load."""
    torch.set_num_threads(thread_count(threads))


def keep_freed_memory() -> bool:
    """Let this process keep the memory it frees for its next tensors; whether the C library could be told.

    A step frees and allocates the same large tensors as the one before. glibc gives those back to the system, which
    hands them out again page by page, zeroed: up to a fifth of a step on CPU. For the rest of the process; other C
    libraries than glibc are left as they are. The peak of memory stays what it was.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # before 2.35 glibc takes no mmap threshold above 32 MB; the trim threshold alone would lower the other to 128 KB
    kept = mallopt(_MMAP_THRESHOLD, 1 << 30) or mallopt(_MMAP_THRESHOLD, 32 << 20)
    return bool(kept and mallopt(_TRIM_THRESHOLD, 2**31 - 1))


def thread_count(threads: int) -> int:
    """What ``threads=0`` means on this machine: its cores, shared by the processes that ``torchrun`` started on it."""
    return threads or max(1, min(8, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def device_name(device: torch.device) -> str:
    """What the device calls itself, as its maker's data sheet does."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"

"""Derivatives written by hand for CPU, against those that PyTorch derives: RMSNorm, rotary positions, attention."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from llemma.models.attention import Scores, causal, recent
from llemma.models.layers import RMSNorm, Rotation, rotate
from llemma.models.llama import LlamaConfig, rotation
from llemma.models.trainable import together


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def gradients(out: Tensor, g: Tensor, *leaves: Tensor) -> list[Tensor]:
    return [out.detach(), *torch.autograd.grad(out, leaves, g.to(out.dtype))]


def test_rms_norm_has_the_gradients_of_pytorch() -> None:
    norm = RMSNorm(24, 1e-5)
    with torch.no_grad():
        norm.weight.copy_(normal(24, seed=1))
    x, g = (5 * normal(3, 7, 24)).requires_grad_(), normal(3, 7, 24, seed=2)
    with torch.no_grad():
        x[0, 0] = 0  # eps alone keeps this row finite
    x64, w64 = x.detach().double().requires_grad_(), norm.weight.detach().double().requires_grad_()
    exact = gradients(F.rms_norm(x64, (24,), w64, 1e-5), g, x64, w64)
    for mine, right in zip(gradients(norm(x), g, x, norm.weight), exact, strict=True):
        scale = float(right.abs().max())
        torch.testing.assert_close(mine, right.float(), atol=1e-6 * scale, rtol=1e-6)


def test_rms_norm_is_as_exact_under_autocast_whoever_calls_backward_where() -> None:
    norm, x, g = RMSNorm(24, 1e-5), normal(4, 24).requires_grad_(), normal(4, 24, seed=1)
    found = []
    for inside in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = norm(x)
            if inside:
                found.append(gradients(out, g, x, norm.weight))
        if not inside:
            found.append(gradients(out, g, x, norm.weight))
    assert found[0][0].dtype == torch.bfloat16 and found[0][1].dtype == torch.float32
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rotation_has_the_gradients_of_its_definition(dtype: torch.dtype) -> None:
    by = rotation(LlamaConfig(hidden_size=48, num_attention_heads=3, num_key_value_heads=3), 20)
    x, g = normal(2, 3, 20, 16).to(dtype).requires_grad_(), normal(2, 3, 20, 16, seed=1).to(dtype)
    wide = x.detach().double().requires_grad_()
    first, second = wide.chunk(2, dim=-1)
    exact = wide * by.cos.to(dtype) + torch.cat((-second, first), dim=-1) * by.sin.to(dtype)
    right = gradients(exact, g, wide)
    tolerance = 1e-6 if dtype == torch.float32 else 2**-6
    for mine, other in zip(gradients(rotate(x, by.to(dtype)), g, x), right, strict=True):
        torch.testing.assert_close(mine.double(), other, atol=tolerance, rtol=tolerance)
    with torch.no_grad():  # as decoding does it, with angles of each row's own
        own = Rotation(by.cos.to(dtype).expand(2, 1, 20, 16), by.sin.to(dtype).expand(2, 1, 20, 16))
        torch.testing.assert_close(rotate(x, own).double(), right[0], atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("window", [None, 1, 40, 150])
@pytest.mark.parametrize("documents", [False, True])
def test_attention_with_windows_caps_and_documents_equals_its_definition(
    softcap: float | None, window: int | None, documents: bool
) -> None:
    T = 270  # more than two blocks of queries
    q, k, v, g = (normal(1, 2, T, 12, seed=seed) for seed in range(4))
    seen = recent(T, window, q.device)
    visible = together((torch.arange(T) // 90)[None]) if documents else None
    if visible is not None:
        seen = seen & visible
    wide = [x.double().requires_grad_() for x in (q, k, v)]
    scores = wide[0] @ wide[1].transpose(2, 3) * 0.3
    if softcap is not None:
        scores = softcap * (scores / softcap).tanh()
    right = gradients(scores.masked_fill(~seen, float("-inf")).softmax(-1) @ wide[2], g, *wide)
    mine = [x.requires_grad_() for x in (q, k, v)]
    out = causal(*mine, visible, Scores(scale=0.3, window=window, softcap=softcap))
    for a, b in zip(gradients(out, g, *mine), right, strict=True):
        torch.testing.assert_close(a, b.float(), atol=1e-5, rtol=1e-5)


PAGES = """
import resource
import torch
from llemma.train.device import keep_freed_memory
def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        [torch.ones(2_500_000) for _ in range(8)]  # freed together: 80 MB, more than glibc keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
given = pages()
assert keep_freed_memory()
pages()
print(given, pages())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep freed memory")
def test_kept_memory_is_not_asked_of_the_system_again() -> None:
    told = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, check=True, text=True).stdout
    given, kept = map(int, told.split())
    assert kept * 10 < given

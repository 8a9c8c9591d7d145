"""Settings of how a picture is improved, whatever it is to become."""

from __future__ import annotations

import os
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from impasto.methods.settings import Settings, Strength, setting
from impasto.synthesis import Optimisation
from impasto.synthesis.resampling import NO_WRAP, Wrap


def _as_text(path: Any) -> Any:
    return os.fspath(path) if isinstance(path, os.PathLike) else path


class OptimisationSettings(Settings):
    """Encoder, optimiser, schedule and seed."""

    smoothness: Strength = setting(1.0, "style", "How strongly noise is suppressed (0 … 1000).")
    encoder: Annotated[str, BeforeValidator(_as_text)] = setting(
        "lite", "optimisation", "`lite`, `vgg19`, `vgg19-caffe` or a .safetensors file."
    )
    pooling: Literal["max", "average"] = setting(
        "max", "optimisation", "Pooling inside the encoder: `max` as trained, `average` a little softer."
    )
    optimiser: Literal["adam", "lbfgs"] = setting("adam", "optimisation", "Which optimiser.")
    learning_rate: Annotated[float, Field(gt=0, le=1)] = setting(
        0.02, "optimisation", "Step of Adam, in units of the full tonal range (0 … 1)."
    )
    steps: Annotated[int, Field(ge=1, le=100_000)] = setting(
        24, "optimisation", "Most steps at the finest scale (1 …); coarser ones take 2 and 4 times as many."
    )
    coarsest: Annotated[int, Field(ge=16, le=65_536)] = setting(
        128, "optimisation", "Longest side of the first scale, in pixels, about (16 …)."
    )
    scale_ratio: Annotated[float, Field(ge=1.1, le=16)] = setting(
        2.0, "optimisation", "From one scale to the next (1.1 … 16)."
    )
    average: Annotated[float, Field(ge=0, lt=1)] = setting(
        0.98, "optimisation", "Decay of the average of the iterates (0 … 1; 0 takes the last one)."
    )
    tolerance: Annotated[float, Field(ge=0, lt=1)] = setting(
        0.001, "optimisation", "A scale ends when the loss falls by less than this share in 20 steps (0: never)."
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] = setting(
        0, "optimisation", "Of everything random; the same seed gives the same picture."
    )

    def optimisation_of(self, wrap: Wrap = NO_WRAP) -> Optimisation:
        """How a picture is improved whose sides, maybe, continue on the opposite ones."""
        return Optimisation(
            self.optimiser, self.learning_rate, average=self.average, tolerance=self.tolerance, wrap=wrap
        )

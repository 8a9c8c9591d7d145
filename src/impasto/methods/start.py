"""Where a synthesis begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from pydantic import model_validator

from impasto.errors import near_match
from impasto.methods.settings import Settings, setting

STARTS = ("content", "noise", "style", "gray")
NOISE = {"noise": 0.1, "gray": 0.01}
"""Contrast (standard deviation) of starts without a picture; a photograph's, 0.2, would leave blotches. Positions of
an even grey would have equal gradients and become a lattice."""


class StartSettings(Settings):
    """Where a synthesis begins."""

    picture_fields: ClassVar[Mapping[str, str]] = {"start": "start"}

    start: str = setting(
        "content", "picture", "Where to begin: `content`, `noise`, `style`, `gray` or the path of a picture."
    )

    @model_validator(mode="after")
    def _starts_somewhere(self) -> Self:
        if self.start not in STARTS and self.start != "start" and not Path(self.start).suffix:
            known = ", ".join(STARTS)
            near = near_match(self.start, STARTS)
            raise ValueError(f"start: {self.start!r} is neither one of {known} nor a picture's file{near}")
        return self

    def _path_of(self, field: str, word: str) -> str:
        return "" if field == "start" and word in STARTS else super()._path_of(field, word)

"""Painters of films."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from impasto.methods.film import FilmPainter, FilmSettings
from impasto.motion import FlowEstimator
from impasto.pictures.picture import Picture
from short_films import CPU, FEW, SHALLOW, Begin, picture


@pytest.fixture
def begin(lively_path: Path) -> Begin:
    """A painter with the tiny encoder and few steps."""

    def build(
        *styles: Picture, moving: Collection[str] = (), estimator: FlowEstimator | None = None, **values: Any
    ) -> FilmPainter:
        settings = FilmSettings.of(**{**FEW, **SHALLOW, "encoder": str(lively_path), **values})
        return FilmPainter(styles or (picture(9, 40, 40),), settings, CPU, moving, estimator)

    return build

"""`--memory`: what is worked on within it, and what is refused before the work."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from impasto.encoders.tiling import Tile, tiles
from impasto.machine import APPETITES
from studio import Command, pixels


@pytest.fixture
def without_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only pictures and what is computed for them count, not what impasto itself takes."""
    monkeypatch.setattr("impasto.machine.used_memory", lambda _: 0)
    monkeypatch.setattr("impasto.machine.BYTES_OF_LIBRARIES", 0)
    for kind, appetite in APPETITES.items():
        monkeypatch.setitem(APPETITES, kind, replace(appetite, kernels=0))


@pytest.mark.usefixtures("without_libraries")
def test_a_small_budget_is_worked_within_in_tiles(transfer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []

    def counted(*given: object) -> list[Tile]:
        found = tiles(*given)  # type: ignore[arg-type]
        counts.append(len(found))
        return found

    monkeypatch.setattr("impasto.synthesis.objective.tiles", counted)
    transfer("--size", "480", "-o", "whole.png")
    assert counts == []
    shown = transfer("--size", "480", "-o", "tiled.png", "--memory", "22MB")
    assert shown.code == 0
    assert max(counts) > 1
    assert np.abs(pixels("whole.png").astype(int) - pixels("tiled.png")).max() <= 2


@pytest.mark.usefixtures("without_libraries")
def test_a_style_that_finds_no_room_beside_the_result_is_named_before_the_work(
    transfer: Command, impasto: Command
) -> None:
    shown = transfer("--size", "128", "--style-scale", "20", "--memory", "60MB")
    assert shown.code == 1
    assert shown.last_line.startswith("starry.jpg: there is too little memory to look at it in 2217×2217 beside")
    assert "style-scale" in shown.last_line
    assert " 1/" not in shown.err
    shown = impasto("texture", "starry.jpg", "--scale", "20", "--memory", "40MB", "--encoder", "tiny.safetensors")
    assert shown.code == 1
    assert "starry.jpg: there is too little memory" in shown.last_line


@pytest.mark.parametrize("memory", ["much", "-1GB", "12"])
def test_an_impossible_budget_is_wrong_use(transfer: Command, memory: str) -> None:
    shown = transfer(f"--memory={memory}")
    assert shown.code == 2
    assert f"memory {memory}: needs an amount" in shown.err

"""The pixel loss: relative, weighted, by area."""

from __future__ import annotations

import pytest
import torch

from impasto.losses import PixelLoss

CONTENT = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(0))
EVERYWHERE = torch.ones(1, 1, 6, 8)


def test_0_for_the_content_and_1_for_black() -> None:
    loss = PixelLoss(CONTENT, EVERYWHERE)
    assert float(loss({}, CONTENT)) == 0
    assert float(loss({}, torch.zeros_like(CONTENT))) == pytest.approx(1)


def test_what_weighs_nothing_may_change() -> None:
    where = EVERYWHERE.clone()
    where[..., 3:] = 0
    other = CONTENT.clone()
    other[..., 3:] = 0
    assert float(PixelLoss(CONTENT, where)({}, other)) == 0
    other[..., 0, 0] += 0.5
    assert float(PixelLoss(CONTENT, where)({}, other)) == pytest.approx(0.75 / float(CONTENT.square().sum()))

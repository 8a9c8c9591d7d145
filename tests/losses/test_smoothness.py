"""Smoothness: the mean square of differences between neighbours."""

from __future__ import annotations

import pytest
import torch

from impasto.losses import Smoothness
from impasto.losses.smoothness import smoothness


def test_smoothness_of_known_examples() -> None:
    picture = torch.tensor([[0.0, 1.0], [0.5, 0.5]]).expand(1, 3, 2, 2)
    vertical, horizontal = (0.25 + 0.25) / 2, (1 + 0) / 2
    assert smoothness(picture) == pytest.approx(vertical + horizontal)
    stripes = torch.tensor([0.0, 0.5]).repeat(4).expand(1, 3, 8, 8)
    assert smoothness(stripes) == pytest.approx(0.25)
    assert smoothness(stripes.mT) == pytest.approx(0.25)


def test_a_flat_picture_is_smooth() -> None:
    assert smoothness(torch.full((1, 3, 5, 7), 0.3)) == 0


def test_smoothness_does_not_depend_on_the_size() -> None:
    checkers = (torch.arange(8).view(-1, 1) + torch.arange(8)).remainder(2).float().expand(1, 3, 8, 8)
    assert smoothness(checkers) == pytest.approx(2)
    assert smoothness(checkers.repeat(1, 1, 4, 2)) == pytest.approx(2)


@pytest.mark.parametrize(("height", "width"), [(1, 4), (4, 1)])
def test_a_side_of_one_pixel_has_no_differences(height: int, width: int) -> None:
    ramp = torch.arange(4.0).view(1, 1, height, width).expand(1, 3, height, width) / 4
    assert smoothness(ramp) == pytest.approx(1 / 16)


def test_a_single_pixel_is_smooth() -> None:
    assert smoothness(torch.rand(1, 3, 1, 1)) == 0


@pytest.mark.parametrize("wrap", [(False, False), (True, False), (True, True)])
def test_its_gradient_is_right(wrap: tuple[bool, bool]) -> None:
    picture = torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(lambda seen: Smoothness(wrap)({}, seen), (picture.requires_grad_(),))


def test_the_loss_reads_no_layers_and_pulls_a_speck_down() -> None:
    picture = torch.full((1, 3, 5, 5), 0.5)
    picture[..., 2, 2] = 0.9
    picture.requires_grad_()
    loss = Smoothness()
    assert loss.layers == ()
    loss({}, picture).backward()
    assert picture.grad is not None
    assert picture.grad[..., 2, 2].min() > 0
    assert picture.grad[..., 0, 0].abs().max() == 0

"""Tiled gradients are the untiled ones, for every loss that is a sum over positions."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from impasto.encoders.vgg import VGG, Padding
from impasto.errors import UsageError
from impasto.losses import (
    ContentLoss,
    Features,
    GramLoss,
    Loss,
    MattingLoss,
    PixelLoss,
    RegionsLoss,
    Smoothness,
    StyleLoss,
    WassersteinLoss,
    moments,
)
from impasto.pictures.resize import resize_mask
from impasto.synthesis import Objective, Term

STYLE = {"relu1_1": 1.0, "relu3_1": 2.0, "relu5_1": 1.0}
CONTENT = {"relu4_2": 1.0}
HEIGHT, WIDTH = 250, 324


def picture(seed: int, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed)).double()


def masks(encoder: VGG) -> dict[str, Tensor]:
    """A soft mask over a part of the picture, at every layer."""
    mask = torch.zeros(1, 1, HEIGHT, WIDTH, dtype=torch.float64)
    mask[..., 30:140, 20:200] = 0.7
    mask[..., 60:100, 90:180] = 1
    return {layer: resize_mask(mask, *size) for layer, size in encoder.sizes(HEIGHT, WIDTH).items()}


def everywhere(encoder: VGG) -> dict[str, Tensor]:
    return {layer: torch.ones_like(mask) for layer, mask in masks(encoder).items()}


def style(encoder: VGG, **options: object) -> StyleLoss:
    return GramLoss(moments(encoder(picture(1, 128, 128), STYLE)), STYLE, **options)  # type: ignore[arg-type]


LOSSES: dict[str, Callable[[VGG], Loss]] = {
    "gram": style,
    "gram of a region": lambda e: style(e, where=masks(e)),
    "wasserstein": lambda e: WassersteinLoss(moments(e(picture(1, 128, 128), STYLE)), STYLE),
    "wasserstein of a region": lambda e: WassersteinLoss(moments(e(picture(1, 128, 128), STYLE)), STYLE, masks(e)),
    "content": lambda e: ContentLoss(e(picture(2), CONTENT), CONTENT),
    "content of a region": lambda e: ContentLoss(e(picture(2), CONTENT), CONTENT, masks(e)),
    "content by strengths": lambda e: ContentLoss(e(picture(2), CONTENT), CONTENT, strengths=masks(e)),
    "two regions": lambda e: RegionsLoss([style(e), style(e)], [masks(e), everywhere(e)], [0.3, 0.7]),
    "pixels": lambda _: PixelLoss(picture(2), picture(3)[:, :1]),
    "matting": lambda _: MattingLoss(picture(2)),
    "smoothness": lambda _: Smoothness(),
}


def gradient(objective: Objective, at: Tensor) -> tuple[Tensor, dict[str, Tensor], Tensor]:
    at = at.clone().requires_grad_()
    total, losses = objective.add_gradient(at)
    assert at.grad is not None
    return total.detach(), losses, at.grad


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("core", [16, 80])
def test_tiled_gradients_are_the_untiled_ones(lively_encoder: VGG, name: str, core: int) -> None:
    encoder = deepcopy(lively_encoder).double()
    terms = [Term(name, LOSSES[name](encoder), 3.0)]
    total, losses, whole = gradient(Objective(encoder, terms), picture(0))
    total_of_tiles, losses_of_tiles, tiled = gradient(Objective(encoder, terms, tile=core), picture(0))
    assert_close(total_of_tiles, total, rtol=1e-9, atol=0)
    assert_close(losses_of_tiles[name], losses[name], rtol=1e-9, atol=0)
    assert whole.abs().max() > 0
    assert (tiled - whole).abs().max() <= 1e-9 * whole.abs().max()


def test_all_terms_together(lively_encoder: VGG) -> None:
    encoder = deepcopy(lively_encoder).double()
    terms = [Term(name, make(encoder), strength) for strength, (name, make) in enumerate(LOSSES.items(), 1)]
    _, losses, whole = gradient(Objective(encoder, terms), picture(0))
    _, losses_of_tiles, tiled = gradient(Objective(encoder, terms, tile=80), picture(0))
    assert list(losses_of_tiles) == list(losses)
    assert (tiled - whole).abs().max() <= 1e-9 * whole.abs().max()


@pytest.mark.parametrize(("padding", "wrap"), [("circular", (True, True)), ("circular-x", (False, True))])
@pytest.mark.parametrize("core", [16, 96, 208])
def test_tiles_of_what_continues_on_the_other_side(
    lively_encoder: VGG, padding: Padding, wrap: tuple[bool, bool], core: int
) -> None:
    encoder = deepcopy(lively_encoder).double().with_padding(padding)
    terms = [Term("gram", style(encoder), 3.0), Term("smoothness", Smoothness(wrap), 1.0)]
    at = picture(0, 176, 240)
    total, _, whole = gradient(Objective(encoder, terms), at)
    total_of_tiles, _, tiled = gradient(Objective(encoder, terms, tile=core), at)
    assert_close(total_of_tiles, total, rtol=1e-9, atol=0)
    assert (tiled - whole).abs().max() <= 1e-9 * whole.abs().max()


def test_gradients_are_added(lively_encoder: VGG) -> None:
    terms = [Term("smoothness", Smoothness(), 1.0)]
    objective = Objective(lively_encoder, terms, tile=64)
    at = picture(0).requires_grad_()
    objective.add_gradient(at)
    assert at.grad is not None
    once = at.grad.clone()
    objective.add_gradient(at)
    assert_close(at.grad, 2 * once)


def test_a_loss_that_is_no_sum_over_positions_cannot_be_tiled(lively_encoder: VGG) -> None:
    class Brightest:
        layers = ("relu1_1",)

        def __call__(self, features: Features, picture: Tensor) -> Tensor:
            return features["relu1_1"].max()

    objective = Objective(deepcopy(lively_encoder).double(), [Term("brightest", Brightest(), 1.0)], tile=64)
    with pytest.raises(UsageError, match="brightest: this loss is no sum over positions"):
        objective.add_gradient(picture(0).requires_grad_())

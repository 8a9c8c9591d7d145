"""Losses of regions: what each sees, by which factor, gathered at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from impasto.losses import GramLoss, RegionsLoss, StyleLoss, WassersteinLoss, moments

LAYERS = {"relu1_1": 1.0, "relu2_1": 3.0}


def features(seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {"relu1_1": torch.rand(1, 5, 8, 12).double(), "relu2_1": torch.rand(1, 7, 4, 6).double()}


def regions() -> list[dict[str, Tensor]]:
    """A half, the soft other half that overlaps it, and nothing."""
    found = []
    for kind in ("left", "right", "nowhere"):
        masks = {}
        for layer, values in features(0).items():
            mask = torch.zeros_like(values[:, :1])
            half = mask.shape[-1] // 2
            if kind == "left":
                mask[..., :half] = 1
            elif kind == "right":
                mask[..., half - 1 :] = 0.4
            masks[layer] = mask
        found.append(masks)
    return found


@pytest.mark.parametrize("kind", [GramLoss, WassersteinLoss])
def test_each_region_has_its_own_loss_by_its_factor(kind: type[StyleLoss]) -> None:
    targets = [moments(features(seed)) for seed in (1, 2)]
    left, right, _ = regions()
    together = RegionsLoss([kind(t, LAYERS) for t in targets], [left, right], [0.25, 2.0])  # type: ignore[call-arg]
    alone = [kind(t, LAYERS, where) for t, where in zip(targets, (left, right), strict=True)]  # type: ignore[call-arg]
    at = {layer: values.requires_grad_() for layer, values in features(3).items()}
    picture = torch.zeros(1, 3, 8, 12)
    loss = together(at, picture)
    expected = 0.25 * alone[0](at, picture) + 2.0 * alone[1](at, picture)
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(*(torch.autograd.grad(one, [*at.values()]) for one in (loss, expected)), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_a_region_without_a_position_does_no_harm() -> None:
    left, _, nowhere = regions()
    target = moments(features(1))
    at = {layer: values.requires_grad_() for layer, values in features(3).items()}
    both = RegionsLoss([GramLoss(target, LAYERS)] * 2, [left, nowhere], [1.0, 0.0])
    loss = both(at, torch.zeros(1, 3, 8, 12))
    torch.testing.assert_close(loss, GramLoss(target, LAYERS, left)(at, torch.zeros(1, 3, 8, 12)))
    assert all(one.isfinite().all() for one in torch.autograd.grad(loss, [*at.values()]))

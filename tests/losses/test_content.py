"""Content: a relative error of features, at the layers and positions that count."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from impasto.losses import ContentLoss, normalised_weights
from impasto.losses.content import relative_error

PICTURE = torch.zeros(1, 3, 8, 8)


def features(seed: int, height: int = 8, width: int = 8) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "relu1_1": torch.rand(1, 4, height, width, generator=generator),
        "relu2_1": torch.rand(1, 6, height // 2, width // 2, generator=generator),
    }


def scaled(of: dict[str, Tensor], factor: float) -> dict[str, Tensor]:
    return {layer: factor * value for layer, value in of.items()}


EVEN = {"relu1_1": 1.0, "relu2_1": 1.0}


def test_content_of_the_content_itself_is_0() -> None:
    assert ContentLoss(features(0), EVEN)(features(0), PICTURE) == 0


def test_content_of_a_picture_without_features_is_1() -> None:
    assert ContentLoss(features(0), EVEN)(scaled(features(0), 0), PICTURE) == pytest.approx(1)


def test_content_is_the_squared_difference_over_the_squared_target() -> None:
    target, estimate = torch.tensor([1.0, 2.0]).view(1, 2, 1, 1), torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)
    loss = ContentLoss({"relu1_1": target}, {"relu1_1": 1.0})({"relu1_1": estimate}, PICTURE)
    assert loss == pytest.approx((1 + 4) / (1 + 4))
    assert relative_error(estimate * 2, target) == pytest.approx((9 + 4) / 5)


@pytest.mark.parametrize("factor", [1e-3, 7.0, 1e3])
def test_content_does_not_depend_on_the_size_of_activations(factor: float) -> None:
    plain = ContentLoss(features(0), EVEN)(features(1), PICTURE)
    assert ContentLoss(scaled(features(0), factor), EVEN)(scaled(features(1), factor), PICTURE) == pytest.approx(
        float(plain), rel=1e-5
    )


def test_content_does_not_depend_on_the_size_of_the_picture() -> None:
    def repeated(of: dict[str, Tensor]) -> dict[str, Tensor]:
        return {layer: value.repeat(1, 1, 3, 2) for layer, value in of.items()}

    small = ContentLoss(features(0), EVEN)(features(1), PICTURE)
    large = ContentLoss(repeated(features(0)), EVEN)(repeated(features(1)), PICTURE)
    assert large == pytest.approx(float(small), rel=1e-5)


def test_only_the_proportions_of_layer_weights_count() -> None:
    losses = [ContentLoss(features(0), {"relu1_1": a, "relu2_1": 3 * a})(features(1), PICTURE) for a in (1.0, 50.0)]
    assert losses[0] == pytest.approx(float(losses[1]))
    parts = [ContentLoss(features(0), {layer: 1.0})(features(1), PICTURE) for layer in EVEN]
    assert losses[0] == pytest.approx(float(0.25 * parts[0] + 0.75 * parts[1]))


def test_layers_of_weight_0_are_not_read() -> None:
    loss = ContentLoss({"relu1_1": features(0)["relu1_1"]}, {"relu1_1": 2.0, "relu9_9": 0.0})
    assert loss.layers == ("relu1_1",)
    assert loss({"relu1_1": features(0)["relu1_1"]}, PICTURE) == 0
    assert normalised_weights({"a": 1.0, "b": 0.0, "c": 3.0}) == {"a": 0.25, "c": 0.75}


def test_hidden_positions_have_no_gradient() -> None:
    where = torch.zeros(1, 1, 8, 8)
    where[..., :4] = 1
    where[..., 4] = 0.5
    estimate = features(1)["relu1_1"].requires_grad_()
    ContentLoss(features(0), {"relu1_1": 1.0}, {"relu1_1": where})({"relu1_1": estimate}, PICTURE).backward()
    assert estimate.grad is not None
    assert estimate.grad[..., 5:].abs().max() == 0
    assert estimate.grad[..., :5].abs().min() > 0


def test_content_of_a_part_is_that_of_the_part_alone() -> None:
    where = torch.zeros(1, 1, 8, 8)
    where[..., :3] = 0.7
    target, estimate = features(0)["relu1_1"], features(1)["relu1_1"]
    masked = ContentLoss({"relu1_1": target}, {"relu1_1": 1.0}, {"relu1_1": where})({"relu1_1": estimate}, PICTURE)
    assert masked == pytest.approx(float(relative_error(estimate[..., :3], target[..., :3])), rel=1e-5)


def test_the_target_is_held_fixed() -> None:
    content = {layer: value.requires_grad_() for layer, value in features(0).items()}
    assert not ContentLoss(content, EVEN)(features(1), PICTURE).requires_grad


def test_content_is_float32_for_bfloat16_features() -> None:
    coarse = {layer: value.bfloat16() for layer, value in features(0).items()}
    loss = ContentLoss(features(0), EVEN)(coarse, PICTURE)
    rounding = {layer: value.float() for layer, value in coarse.items()}
    assert loss.dtype == torch.float32
    assert loss == ContentLoss(features(0), EVEN)(rounding, PICTURE)


def test_a_target_without_features_gives_no_nan() -> None:
    assert ContentLoss(scaled(features(0), 0), EVEN)(features(1), PICTURE).isfinite()
    assert ContentLoss(scaled(features(0), 0), EVEN)(scaled(features(0), 0), PICTURE) == 0

"""Wasserstein-2 between Gaussians of features: closed forms, another implementation, gradients, thin data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.testing import assert_close

from impasto.losses import WassersteinLoss, moments
from impasto.losses.moments import Moments
from impasto.losses.wasserstein import (
    GaussianTarget,
    _newton_schulz,
    square_root,
    transport,
)

PICTURE = torch.zeros(1, 3, 8, 8)
ONE = {"relu1_1": 1.0}


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def features(seed: int, height: int = 16, width: int = 16, channels: int = 5) -> Tensor:
    mixing = random(seed + 100, channels, channels)
    return torch.einsum("cd,bdhw->bchw", mixing, random(seed, 1, channels, height, width)).float() + 1


def covariance(seed: int, channels: int = 6) -> Tensor:
    root = random(seed, 1, channels, 2 * channels)
    return root @ root.mT / (2 * channels)


def gaussian(mean: Tensor, covariance: Tensor) -> Moments:
    return Moments(mean, covariance + mean[:, :, None] * mean[:, None, :])


def test_distance_of_diagonal_gaussians_is_the_closed_form() -> None:
    a, b = torch.tensor([1.0, 4.0, 9.0]), torch.tensor([4.0, 1.0, 16.0])
    mean_a, mean_b = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[3.0, 1.0, 0.0]])
    target = GaussianTarget(gaussian(mean_b, torch.diag(b)[None]))
    a, b = (variance + float(target.ridge[0, 0, 0]) for variance in (a, b))
    expected = (mean_a - mean_b).square().sum() + (a.sqrt() - b.sqrt()).square().sum()
    assert_close(target.distance(gaussian(mean_a, torch.diag(a - target.ridge[0, 0, 0])[None])), expected[None])


@pytest.mark.parametrize("seed", range(4))
def test_distance_equals_the_formula_by_another_route(seed: int) -> None:
    # the eigenvalues of Σ_b^½ Σ_a Σ_b^½ are those of Σ_a Σ_b, so numpy needs no root of a matrix
    a, b, means = covariance(seed), covariance(seed + 50), random(seed, 2, 1, 6)
    target = GaussianTarget(gaussian(means[1], b))
    ridged_a, ridged_b = ((one + target.ridge)[0].numpy() for one in (a, b))
    cross = np.sqrt(np.linalg.eigvals(ridged_a @ ridged_b).real).sum()
    expected = np.square((means[0] - means[1]).numpy()).sum() + np.trace(ridged_a + ridged_b) - 2 * cross
    assert float(target.distance(gaussian(means[0], a))) == pytest.approx(expected, rel=1e-9)


def test_distance_is_0_only_from_equals() -> None:
    a, b, means = covariance(0), covariance(1), random(0, 2, 1, 6)
    target = GaussianTarget(gaussian(means[0], a))
    assert_close(target.distance(gaussian(means[0], a)), torch.zeros(1, dtype=torch.float64), atol=1e-12, rtol=0)
    assert target.distance(gaussian(means[1], a)) > 0.1
    assert target.distance(gaussian(means[0], b)) > 0.1


def test_distance_has_the_gradient_of_finite_differences() -> None:
    target = GaussianTarget(gaussian(random(3, 2, 4), torch.cat([covariance(1, 4), covariance(2, 4)])))

    def distance(mean: Tensor, root: Tensor) -> Tensor:
        return target.distance(gaussian(mean, root @ root.mT / 8))

    assert gradcheck(distance, (random(4, 2, 4).requires_grad_(), random(2, 2, 4, 8).requires_grad_()))


def test_loss_of_features_has_the_gradient_of_finite_differences() -> None:
    style, picture = features(0, 5, 5, 3), features(1, 5, 5, 3).requires_grad_()
    loss = WassersteinLoss(moments({"relu1_1": style}), ONE)
    (gradient,) = torch.autograd.grad(loss({"relu1_1": picture}, PICTURE), picture)
    direction = random(5, 1, 3, 5, 5).float()
    with torch.no_grad():
        ahead, behind = (loss({"relu1_1": picture + s * 1e-2 * direction}, PICTURE) for s in (1, -1))
    assert float((gradient * direction).sum()) == pytest.approx(float(ahead - behind) / 2e-2, rel=1e-2)


def test_root_times_itself_is_the_matrix() -> None:
    root = square_root(covariance(0))
    assert_close(root @ root, covariance(0))
    assert_close(root, root.mT)


def test_the_optimal_map_takes_what_varies_as_one_covariance_to_what_varies_as_the_other() -> None:
    root = square_root(covariance(1))
    cross, optimal_map = transport(covariance(0), root)
    assert_close(optimal_map @ covariance(0) @ optimal_map, covariance(1))
    assert_close(cross, (optimal_map @ covariance(0)).diagonal(0, 1, 2).sum(-1))


def test_newton_schulz_agrees_with_the_eigendecomposition() -> None:
    matrix = covariance(0) + 0.05 * torch.eye(6, dtype=torch.float64)
    root, inverse = _newton_schulz(matrix)
    assert_close(root, square_root(matrix), rtol=1e-6, atol=1e-6)
    assert_close(root @ inverse, torch.eye(6, dtype=torch.float64)[None], rtol=1e-6, atol=1e-6)
    batch = torch.cat([matrix.float(), 1e3 * covariance(1).float()])
    assert_close(_newton_schulz(batch)[0], square_root(batch), rtol=1e-3, atol=1e-3)


def test_style_of_the_style_itself_is_0_and_of_nothing_1_up_to_the_ridge() -> None:
    loss = WassersteinLoss(moments({"relu1_1": features(0)}), ONE)
    assert loss({"relu1_1": features(0)}, PICTURE) == pytest.approx(0, abs=1e-5)
    assert loss({"relu1_1": torch.zeros(1, 5, 16, 16)}, PICTURE) == pytest.approx(1, abs=0.03)


def test_loss_is_the_distance_over_the_second_moment_of_the_style() -> None:
    style, picture = (moments({"relu1_1": features(seed)})["relu1_1"] for seed in (0, 1))
    target = GaussianTarget(style)
    expected = float(target.distance(picture)) / features(0).square().sum(1).mean()
    assert float(target.relative_distance(picture)) == pytest.approx(float(expected), rel=1e-5)
    loss = WassersteinLoss(moments({"relu1_1": features(0)}), ONE)
    assert float(loss({"relu1_1": features(1)}, PICTURE)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("factor", [1e-2, 30.0])
def test_loss_does_not_depend_on_the_size_of_activations(factor: float) -> None:
    plain = WassersteinLoss(moments({"relu1_1": features(0)}), ONE)({"relu1_1": features(1)}, PICTURE)
    loss = WassersteinLoss(moments({"relu1_1": factor * features(0)}), ONE)
    scaled = loss({"relu1_1": factor * features(1)}, PICTURE)
    assert scaled == pytest.approx(float(plain), rel=1e-3)


def test_loss_does_not_depend_on_the_size_of_either_picture() -> None:
    plain = WassersteinLoss(moments({"relu1_1": features(0)}), ONE)({"relu1_1": features(1)}, PICTURE)
    style, picture = features(0).repeat(1, 1, 2, 3), features(1).repeat(1, 1, 4, 1)
    repeated = WassersteinLoss(moments({"relu1_1": style}), ONE)({"relu1_1": picture}, PICTURE)
    assert repeated == pytest.approx(float(plain), rel=1e-3)


@pytest.mark.parametrize(("side", "factor"), [(1, 1.0), (2, 1.0), (2, 1e-4), (1, 0.0)])
def test_fewer_positions_than_channels_give_a_finite_loss_and_gradient(side: int, factor: float) -> None:
    thin = factor * features(0, side, side, 12)
    wide = features(1, 8, 8, 12)
    for style, picture in ((thin, wide), (wide, thin), (thin, 2 * thin), (thin, thin)):
        picture = picture.clone().requires_grad_()
        loss = WassersteinLoss(moments({"relu1_1": style}), ONE)({"relu1_1": picture}, PICTURE)
        loss.backward()
        assert loss.isfinite()
        assert picture.grad is not None
        assert picture.grad.isfinite().all()


def test_loss_goes_down_its_gradient_to_the_style() -> None:
    loss = WassersteinLoss(moments({"relu1_1": features(0, 8, 8)}), ONE)
    picture = features(1, 8, 8).requires_grad_()
    before = loss({"relu1_1": picture}, PICTURE).detach()
    descent = torch.optim.Adam([picture], lr=0.1)
    for _ in range(100):
        descent.zero_grad()
        now = loss({"relu1_1": picture}, PICTURE)
        now.backward()
        descent.step()
    assert now.detach() < 0.02 * before


def test_layers_are_averaged_with_weights_of_sum_1_and_those_of_weight_0_not_read() -> None:
    style, picture = ({"a": features(s), "b": features(s + 1, channels=7)} for s in (0, 2))
    loss = WassersteinLoss(moments(style), {"a": 2.0, "b": 6.0, "relu9_9": 0.0})
    parts = [float(WassersteinLoss(moments(style), {layer: 1.0})(picture, PICTURE)) for layer in ("a", "b")]
    assert loss.layers == ("a", "b")
    assert loss(picture, PICTURE) == pytest.approx(0.25 * parts[0] + 0.75 * parts[1])


def test_hidden_positions_of_style_and_picture_do_not_count() -> None:
    style_where, where = torch.zeros(1, 1, 16, 16), torch.zeros(1, 1, 16, 16)
    style_where[..., :9], where[..., 5:] = 1, 1
    masked = WassersteinLoss(moments({"relu1_1": features(0)}, where={"relu1_1": style_where}), ONE, {"relu1_1": where})
    cut = WassersteinLoss(moments({"relu1_1": features(0)[..., :9]}), ONE)
    picture = features(1).requires_grad_()
    loss = masked({"relu1_1": picture}, PICTURE)
    assert loss.item() == pytest.approx(cut({"relu1_1": features(1)[..., 5:]}, PICTURE).item(), rel=1e-4)
    loss.backward()
    assert picture.grad is not None
    assert picture.grad[..., :5].abs().max() == 0

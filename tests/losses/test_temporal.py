"""Consistency in time: pixel by pixel, with a gradient, and each place is held by the nearest frame that shows it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from impasto.encoders import VGG
from impasto.encoders.tiling import tiles
from impasto.losses import TemporalLoss, long_term

PICTURE = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).expand(1, 3, 2, 2)
WARPED = torch.tensor([[0.5, 0.5], [1.0, 0.0]]).expand(1, 3, 2, 2)
EVERYWHERE = torch.ones(1, 1, 2, 2)
LEFT = torch.tensor([[1.0, 0.0], [1.0, 0.0]]).view(1, 1, 2, 2)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def gradient_of(loss: TemporalLoss, picture: Tensor) -> Tensor:
    picture = picture.clone().requires_grad_()
    loss({}, picture).backward()
    assert picture.grad is not None
    return picture.grad


def test_what_stays_as_it_was_costs_nothing_and_black_costs_1() -> None:
    loss = TemporalLoss([WARPED], [EVERYWHERE])
    assert float(loss({}, WARPED)) == 0
    assert float(loss({}, torch.zeros_like(WARPED))) == pytest.approx(1)


def test_a_known_example() -> None:
    differences = 0.4**2 + 0.3**2 + 0.7**2 + 0.4**2
    assert float(TemporalLoss([WARPED], [EVERYWHERE])({}, PICTURE)) == pytest.approx(differences / 1.5)


def test_only_what_was_seen_counts() -> None:
    assert float(TemporalLoss([WARPED], [LEFT])({}, PICTURE)) == pytest.approx((0.4**2 + 0.7**2) / 1.5)


def test_half_sure_counts_half() -> None:
    whole = TemporalLoss([WARPED], [EVERYWHERE])({}, PICTURE)
    assert_close(TemporalLoss([WARPED], [EVERYWHERE / 2])({}, PICTURE), whole / 2)


def test_the_gradient_is_that_of_the_formula_at_every_pixel() -> None:
    picture, warped, where = random(1, 3, 5, 7), random(1, 3, 5, 7, seed=1), random(1, 1, 5, 7, seed=2)
    expected = 2 * where * (picture - warped) / warped.square().sum()
    found = gradient_of(TemporalLoss([warped], [where]), picture)
    assert_close(found, expected)
    assert (found != 0).all()


def test_the_mask_is_one_of_pixels_and_no_factor() -> None:
    found = gradient_of(TemporalLoss([WARPED], [LEFT]), PICTURE)
    assert (found[..., 0] != 0).all()
    assert (found[..., 1] == 0).all()


def test_two_masks_of_one_mean_pull_at_different_places() -> None:
    left, right = (gradient_of(TemporalLoss([WARPED], [mask]), PICTURE) for mask in (LEFT, 1 - LEFT))
    assert not (left * right).any()
    assert_close(left + right, gradient_of(TemporalLoss([WARPED], [EVERYWHERE]), PICTURE))


def test_a_step_against_the_gradient_brings_the_picture_nearer() -> None:
    picture, warped = random(1, 3, 5, 7), random(1, 3, 5, 7, seed=1)
    loss = TemporalLoss([warped], [torch.ones(1, 1, 5, 7)])
    nearer = picture - 0.25 * warped.square().sum() * gradient_of(loss, picture)
    assert_close(nearer, (picture + warped) / 2)


def test_several_frames_add_up() -> None:
    others = [WARPED, 1 - WARPED, PICTURE / 2]
    masks = [LEFT, 1 - LEFT, EVERYWHERE / 3]
    parts = [TemporalLoss([one], [mask])({}, PICTURE) for one, mask in zip(others, masks, strict=True)]
    assert_close(TemporalLoss(others, masks)({}, PICTURE), sum(parts[1:], start=parts[0]))


def test_a_mask_for_each_frame_is_needed() -> None:
    with pytest.raises(ValueError, match="zip"):
        TemporalLoss([WARPED, WARPED], [EVERYWHERE])


def test_sums_of_tiles_add_up_to_those_of_the_picture(lively_encoder: VGG) -> None:
    picture = random(1, 3, 44, 58)
    loss = TemporalLoss(
        [random(1, 3, 44, 58, seed=1), random(1, 3, 44, 58, seed=2)],
        [random(1, 1, 44, 58, seed=3), random(1, 1, 44, 58, seed=4)],
    )
    parts = [loss.sums({}, tile.of(picture), tile) for tile in tiles(lively_encoder, ["relu2_1"], 44, 58, 16)]
    assert len(parts) > 4
    whole = loss.sums({}, picture)
    assert len(whole) == loss.count == 4
    assert_close([sum(one) for one in zip(*parts, strict=True)], [*whole])


def test_a_film_reads_no_features_for_it() -> None:
    assert TemporalLoss([WARPED], [EVERYWHERE]).layers == ()


# Weights of frames seen long ago


def test_one_frame_alone_counts_wherever_it_was_seen() -> None:
    (alone,) = long_term([LEFT / 2])
    assert_close(alone, LEFT / 2)


def test_the_nearest_frame_that_shows_a_place_counts() -> None:
    nearest = torch.tensor([1.0, 0.0, 0.0, 1.0]).view(1, 1, 1, 4)
    middle = torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 1, 4)
    oldest = torch.tensor([1.0, 1.0, 1.0, 0.0]).view(1, 1, 1, 4)
    weights = [one.flatten().tolist() for one in long_term([nearest, middle, oldest])]
    assert weights == [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]


def test_what_is_half_seen_leaves_the_rest_to_those_before() -> None:
    half, all_of_it = torch.full((1, 1, 1, 1), 0.5), torch.ones(1, 1, 1, 1)
    assert [float(one) for one in long_term([half, all_of_it, all_of_it])] == [0.5, 0.5, 0]
    assert [float(one) for one in long_term([half, half, all_of_it])] == [0.5, 0, 0]  # 1 - (0.5 + 0.5)


def test_weights_are_never_negative_and_binary_ones_share_out_at_most_1() -> None:
    seen = [random(1, 1, 9, 9, seed=seed).round() for seed in range(5)]
    weights = long_term(seen)
    assert all(float(one.min()) >= 0 for one in weights)
    assert torch.equal(torch.stack(weights).sum(0), torch.stack(seen).amax(0))


def test_soft_weights_are_never_negative_and_never_more_than_what_was_seen() -> None:
    seen = [random(1, 1, 9, 9, seed=seed) for seed in range(5)]
    assert all(float(own.min()) >= 0 and (own <= one).all() for own, one in zip(long_term(seen), seen, strict=True))

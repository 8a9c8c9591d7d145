"""Sums over regions, gathered at once, are those of each region alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from impasto.losses.gathering import STEPS_OF_SIZE, Block, Places, sums_of_regions
from impasto.losses.moments import moment_sums


def features(channels: int = 3, height: int = 4, width: int = 5) -> Tensor:
    return torch.rand(1, channels, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def halves() -> list[Tensor]:
    left = torch.zeros(1, 1, 4, 5)
    left[..., :2] = 1
    return [left, 1 - left]


def overlapping() -> list[Tensor]:
    soft = torch.linspace(1, 0, 5).expand(1, 1, 4, 5)
    hole = torch.ones(1, 1, 4, 5)
    hole[..., 1:3, 1:3] = 0
    return [soft, (1 - soft) * hole, 0.3 * hole]


def somewhere() -> list[Tensor]:
    spot = torch.zeros(1, 1, 4, 5)
    spot[..., 1, 2] = 0.7
    return [spot, torch.zeros(1, 1, 4, 5)]


def nowhere() -> list[Tensor]:
    return [torch.zeros(1, 1, 4, 5)]


CASES = [halves, overlapping, somewhere, nowhere]


@pytest.mark.parametrize("block", [1, 7, 100])
@pytest.mark.parametrize("regions", CASES)
def test_each_regions_sums_are_the_weighted_sums(regions: Callable[[], list[Tensor]], block: int) -> None:
    values, masks = features(70), regions()
    found = sums_of_regions(values, Places.of(masks, torch.float64, block))
    assert len(found) == len(masks)
    for sums, mask in zip(found, masks, strict=True):
        for own, expected in zip(sums, moment_sums(values, mask.double()), strict=True):
            assert_close(own, expected)


@pytest.mark.parametrize("block", [1, 7, 100])
@pytest.mark.parametrize("regions", CASES)
def test_gradients_are_right(regions: Callable[[], list[Tensor]], block: int) -> None:
    places = Places.of(regions(), torch.float64, block)

    def sums(values: Tensor) -> tuple[Tensor, ...]:
        return tuple(one for triple in sums_of_regions(values, places) for one in triple[:2])

    assert torch.autograd.gradcheck(sums, features().requires_grad_())


@pytest.mark.parametrize("regions", [halves, overlapping])
def test_bfloat16_features_have_float32_sums_and_gradients_of_their_own_kind(
    regions: Callable[[], list[Tensor]],
) -> None:
    half, places = features(16).bfloat16(), Places.of(regions(), torch.float32, 100)
    seconds, gradients = [], []
    for values in (half, half.float()):
        found = sums_of_regions(values.requires_grad_(), places)
        seconds.append(torch.cat([second for _, second, _ in found]))
        total = seconds[-1].square().sum() + sum(first.sum() for first, _, _ in found)
        gradients.append(torch.autograd.grad(total, values)[0])
    assert seconds[0].dtype == torch.float32
    if regions is halves:
        assert_close(seconds[0], seconds[1])
    else:  # what soft weights make of features is as precise as these
        assert (seconds[0] - seconds[1]).norm() < 2e-3 * seconds[1].norm()
    assert gradients[0].dtype == torch.bfloat16
    assert (gradients[0].float() - gradients[1]).norm() < 0.005 * gradients[1].norm()


def sizes(block: Block) -> list[int]:
    return [part.stop - part.start for _, part in block.parts]


def test_regions_that_share_a_picture_out_are_as_many_rows_as_it_has() -> None:
    (block,) = Places.of(halves(), torch.float32, 20).blocks
    assert sizes(block) == [8, 12]
    assert block.rows is not None
    assert sorted(block.rows.tolist()) == [*range(20)]


def test_in_a_region_what_weighs_1_comes_first() -> None:
    (block,) = Places.of(overlapping(), torch.float32, 20).blocks
    assert block.rows is not None
    assert (len(block.rows), sizes(block)) == (44, [16, 12, 16])
    soft = torch.cat([torch.arange(44)[one] for one in block.soft])
    assert (block.roots[soft] != 1).all()
    assert len(soft) == (block.roots != 1).sum() == 36
    assert [float(block.roots[part][0]) for _, part in block.parts] == [1, 1, pytest.approx(0.3**0.5)]


def test_there_are_few_sizes_and_what_fills_them_up_weighs_nothing() -> None:
    masks = [*torch.rand(3, 1, 1, 40, 50, generator=torch.Generator().manual_seed(0)).round()]
    blocks = Places.of(masks, torch.float32, 320).blocks
    unit = 320 // STEPS_OF_SIZE
    counts = [int((block.roots[part] > 0).sum()) for block in blocks for _, part in block.parts]
    found = [size for block in blocks for size in sizes(block)]
    assert len(set(counts)) > 2 * len(set(found))
    assert all(0 <= size - count < unit and size % unit == 0 for size, count in zip(found, counts, strict=True))
    assert sum(counts) == sum(int(mask.sum()) for mask in masks)


def test_a_block_within_one_region_is_not_gathered() -> None:
    left = torch.zeros(1, 1, 4, 5)
    left[..., :2, :] = 1
    top, bottom = Places.of([left, 1 - left], torch.float32, 10).blocks
    assert top.rows is None
    assert bottom.rows is None
    assert (top.parts, bottom.parts) == (((0, slice(0, 10)),), ((1, slice(0, 10)),))


def test_a_position_in_several_regions_has_as_many_places() -> None:
    left, right = torch.zeros(2, 1, 1, 4, 5)
    left[..., :3] = right[..., 2:] = 1
    (block,) = Places.of([left, right], torch.float32, 20).blocks
    assert block.bounds.diff().tolist() == [1, 1, 2, 1, 1] * 4
    assert block.places[2:4].tolist() == [2, 12]  # the third of the first region, the first of the second one


def test_what_was_found_for_a_position_is_brought_back_with_its_weights() -> None:
    (block,) = Places.of(overlapping(), torch.float64, 100).blocks
    found = torch.rand(sum(sizes(block)), 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.zeros(20, 2, dtype=torch.float64)
    assert block.rows is not None
    expected.index_add_(0, block.rows, found * block.roots.square())
    assert_close(block.brought_back(found), expected)


def test_what_weighs_next_to_nothing_is_left_out_and_next_to_all_is_all() -> None:
    edge = torch.tensor([1, 0.99, 0.97, 0.02, 0.005]).expand(1, 1, 4, 5)
    places = Places.of([edge], torch.float32, 20)
    (block,) = places.blocks
    assert sizes(block) == [16]
    assert block.soft == (slice(8, 16),)
    assert places.weights.item() == pytest.approx(4 * 2.99)

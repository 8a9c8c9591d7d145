"""Consistency: what is covered or at the edge of what moves is not trusted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from impasto.motion import Dis, both_ways, consistency, inside
from impasto.motion.consistency import agreement, consistent, smooth_motion
from motion.moving_square import Shift, moving_square, vectors

MOTIONS = pytest.mark.parametrize(("square", "ground"), [((5, -3), (-2, 1)), ((0, 0), (6, 0)), ((-8, 6), (0, 0))])


def grown(mask: Tensor, pixels: int) -> Tensor:
    return F.max_pool2d(mask, 2 * pixels + 1, stride=1, padding=pixels)


@MOTIONS
def test_with_true_flows_all_that_is_covered_is_found(square: Shift, ground: Shift) -> None:
    scene = moving_square(square, ground)
    found = consistent(scene.backward, scene.forward)
    hidden = scene.visible == 0
    assert hidden.sum() > 300
    assert found[hidden].max() == 0


@MOTIONS
def test_with_true_flows_nothing_far_from_an_edge_is_lost(square: Shift, ground: Shift) -> None:
    scene = moving_square(square, ground)
    found = consistent(scene.backward, scene.forward)
    edge = grown(scene.square, 2) - (1 - grown(1 - scene.square, 2))
    trusted = (scene.visible > 0) & (edge == 0)
    assert trusted.sum() > 8000
    assert found[trusted].min() == 1


def test_the_flows_are_not_interchangeable() -> None:
    """What is covered now is another part than what was covered before."""
    scene = moving_square()
    hidden = (scene.visible == 0) & (inside(scene.backward) > 0)
    assert agreement(scene.backward, scene.forward)[hidden].max() == 0
    assert agreement(scene.forward, scene.backward)[hidden].mean() > 0.2


@MOTIONS
def test_with_flows_that_were_found_the_mask_is_nearly_that_of_true_ones(square: Shift, ground: Shift) -> None:
    scene = moving_square(square, ground)
    bad = consistency(*both_ways(Dis(), scene.now, scene.before)) < 0.5
    hidden = scene.visible == 0
    assert (bad & hidden).sum() / hidden.sum() > 0.97
    known = grown(1 - consistent(scene.backward, scene.forward), 8) > 0  # a patch of its search
    assert (bad & known).sum() / bad.sum() > 0.9
    assert bad.float().mean() < 0.2


def test_the_bound_is_that_of_the_paper() -> None:
    backward, length = vectors(-4.0, 0, 8, 40), 4.0
    for disagreement, trusted in ((0.0, 1), (0.9, 1), (1.05, 0)):
        there = length + disagreement
        bound = 0.01 * (length**2 + there**2) + 0.5
        assert (disagreement**2 <= bound) == trusted
        assert agreement(backward, vectors(there, 0, 8, 40)).unique().tolist() == [trusted]


@pytest.mark.parametrize(("steepness", "trusted"), [(0.04, 1), (0.05, 0)])
def test_the_boundary_of_motion_is_that_of_the_paper(steepness: float, trusted: int) -> None:
    """At rest |∇û|² may be 0.002: a slope of 0.0447."""
    slope = torch.zeros(1, 2, 5, 9)
    slope[0, 0] = steepness * (torch.arange(9.0) - 4)
    assert smooth_motion(slope)[0, 0, :, 4].unique().tolist() == [trusted]
    assert smooth_motion(slope.flip(1).mT.contiguous())[0, 0, 4].unique().tolist() == [trusted]
    fast = slope + vectors(3, 0, 5, 9)
    assert smooth_motion(fast)[0, 0, :, 4].unique().tolist() == [1]


def test_a_step_of_motion_is_a_boundary_on_both_sides() -> None:
    flow = torch.zeros(1, 2, 4, 8)
    flow[:, 1, :, 4:] = 2.0
    assert smooth_motion(flow)[0, 0, 0].tolist() == [1, 1, 1, 0, 0, 1, 1, 1]


def test_noise_at_rest_is_no_boundary() -> None:
    trembling = 0.3 * torch.randn(1, 2, 24, 32, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    assert float(smooth_motion(trembling).mean()) < 0.5
    assert consistent(trembling, -trembling)[..., 1:-1, 1:-1].mean() > 0.95  # at the edge it leads out of the frame
    moving = trembling.clone()
    moving[..., 16:] += 2
    assert consistent(moving, -moving)[..., 15:17].max() == 0


def test_beyond_the_frame_nothing_is_trusted() -> None:
    mask = consistency(vectors(3, 0, 8, 20), vectors(-3, 0, 8, 20))
    assert mask[..., 17:].max() == 0
    assert mask[..., :15].min() == 1


@pytest.mark.parametrize("which", ["backward", "forward"])
def test_what_is_not_known_is_not_trusted(which: str) -> None:
    flows = {"backward": vectors(0, 0, 12, 12), "forward": vectors(0, 0, 12, 12)}
    flows[which][..., 5, 6] = torch.nan
    mask = consistency(**flows)
    assert mask[..., 5, 6] == 0
    assert mask.isfinite().all()
    assert mask[..., :2, :].min() == 1


@MOTIONS
def test_softening_only_takes_away(square: Shift, ground: Shift) -> None:
    scene = moving_square(square, ground)
    hard, soft = (find(scene.backward, scene.forward) for find in (consistent, consistency))
    assert (soft <= hard).all()
    assert ((soft > 0) & (soft < 1)).any()
    assert (grown(1 - hard, 3) >= 1 - soft).all()
    assert torch.equal(hard.unique(), torch.tensor([0.0, 1.0]))


def test_a_bad_pixel_is_softened_in_all_directions() -> None:
    flow = torch.zeros(1, 2, 9, 9)
    flow[..., 4, 4] = torch.nan
    around = consistency(flow, torch.zeros(1, 2, 9, 9))[0, 0, 4]
    assert around.tolist() == around.flip(0).tolist()
    assert around[4] == 0
    assert around[0] == 1
    assert 0 < around[1] < 1


def test_at_rest_all_is_trusted() -> None:
    still = torch.zeros(2, 2, 7, 5)
    assert torch.equal(consistency(still, still), torch.ones(2, 1, 7, 5))

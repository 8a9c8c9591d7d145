"""Warping: whole pixels exactly, nothing new between them, and gradients to where values came from."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from impasto.motion import inside, resized_flow, warp
from impasto.motion.warping import Mode
from motion.moving_square import HEIGHT, WIDTH, moving_square, texture, vectors

BOTH = pytest.mark.parametrize("mode", ["bilinear", "bicubic"])


@BOTH
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (7, 3), (96, 128)])
def test_what_does_not_move_is_the_same_to_the_last_bit(mode: Mode, size: tuple[int, int]) -> None:
    values = texture(0, *size)
    assert torch.equal(warp(values, torch.zeros(1, 2, *size), mode), values)


@BOTH
@pytest.mark.parametrize(("dx", "dy"), [(3, 0), (0, -2), (-7, 5), (40, 30)])
def test_whole_pixels_are_moved_exactly(mode: Mode, dx: int, dy: int) -> None:
    values = texture(0, HEIGHT, WIDTH)
    warped = warp(values, vectors(dx, dy), mode)
    where = inside(vectors(dx, dy)) > 0
    expected = values.roll((-dy, -dx), (2, 3))
    assert torch.equal(warped[where.expand_as(warped)], expected[where.expand_as(warped)])


@BOTH
def test_beyond_the_border_is_the_border(mode: Mode) -> None:
    values = texture(0, 4, 5)
    assert torch.equal(warp(values, vectors(100, 0, 4, 5), mode), values[..., -1:].expand_as(values))
    assert torch.equal(warp(values, vectors(0, -1e6, 4, 5), mode), values[..., :1, :].expand_as(values))


def test_the_flow_points_to_where_values_come_from() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).view(1, 1, 2, 2)
    flow = torch.zeros(1, 2, 2, 2)
    flow[0, :, 0, 0] = torch.tensor([1.0, 0.0])
    flow[0, :, 1, 1] = torch.tensor([-0.5, -0.25])
    assert_close(warp(values, flow)[0, 0], torch.tensor([[2.0, 2.0], [3.0, 0.75 * 3.5 + 0.25 * 1.5]]))


@BOTH
def test_a_ramp_stays_a_ramp_between_pixels(mode: Mode) -> None:
    ramp = torch.arange(12.0).expand(1, 1, 6, 12)
    assert_close(warp(ramp, vectors(0.3, 0.6, 6, 12), mode)[..., 2:-3], (ramp + 0.3)[..., 2:-3])


def test_bicubic_is_keys_with_a_half() -> None:
    values = torch.tensor([0.0, 0.1, 0.5, 0.6]).expand(1, 1, 1, 4)
    middle = warp(values, vectors(0.5, 0, 1, 4), "bicubic")[..., 1].item()
    assert middle == pytest.approx((-0.0 + 9 * 0.1 + 9 * 0.5 - 0.6) / 16)


def test_bicubic_makes_nothing_darker_or_lighter_than_what_is_around() -> None:
    edge = torch.zeros(1, 1, 1, 8)
    edge[..., 4:] = 1
    assert warp(edge, vectors(0.5, 0, 1, 8), "bicubic").tolist() == [[[[0, 0, 0, 0.5, 1, 1, 1, 1]]]]


def test_bicubic_keeps_more_than_bilinear_when_warped_again_and_again() -> None:
    picture = texture(0, 64, 64)

    def after_many(mode: Mode) -> tuple[float, float]:
        warped = picture
        for step in range(40):
            warped = warp(warped, vectors(*((0.4, 0.3) if step % 2 else (-0.4, -0.3)), 64, 64), mode)
        within = (..., slice(8, -8), slice(8, -8))
        error = (warped - picture)[within].square().mean().sqrt()
        return float(error), float(warped[within].std() / picture[within].std())

    (soft_error, soft), (sharp_error, sharp) = after_many("bilinear"), after_many("bicubic")
    assert sharp_error < 0.75 * soft_error
    assert soft < sharp < 1


@BOTH
def test_gradients_reach_the_values_and_only_those_seen(mode: Mode) -> None:
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(1, 2, 8, 8, generator=generator, dtype=torch.float64).requires_grad_()
    flow = (torch.rand(1, 2, 8, 8, generator=generator, dtype=torch.float64) - 0.5) * 4
    assert torch.autograd.gradcheck(lambda x: warp(x, flow, mode), values)
    warp(values, vectors(4, 0, 8, 8).double(), mode).sum().backward()
    assert values.grad is not None
    assert values.grad[..., :3].abs().max() == 0
    assert values.grad[..., 4:].min() > 0


def test_there_and_back_is_where_one_was() -> None:
    scene = moving_square()
    values = texture(3, HEIGHT, WIDTH)
    back = warp(warp(values, scene.forward), scene.backward)
    there_and_back = (scene.visible > 0).expand_as(values)
    assert torch.equal(back[there_and_back], values[there_and_back])


def test_the_earlier_frame_warped_is_the_later_one_where_it_is_seen() -> None:
    scene = moving_square()
    seen = (scene.visible > 0).expand_as(scene.now)
    warped = warp(scene.before, scene.backward)
    assert torch.equal(warped[seen], scene.now[seen])
    assert (warped - scene.now)[~seen].abs().mean() > 0.05


@BOTH
def test_each_picture_of_a_batch_goes_its_own_way(mode: Mode) -> None:
    batch = torch.cat([texture(0, 9, 11), texture(1, 9, 11)])
    flows = torch.cat([vectors(1.5, 0, 9, 11), vectors(0, -2.25, 9, 11)])
    alone = [warp(batch[i : i + 1], flows[i : i + 1], mode) for i in range(2)]
    assert torch.equal(warp(batch, flows, mode), torch.cat(alone))


@BOTH
def test_what_is_not_known_stays_in_place(mode: Mode) -> None:
    values, flow = texture(0, 6, 6), vectors(1, 1, 6, 6)
    flow[..., 2, 3] = torch.nan
    warped = warp(values, flow, mode)
    assert torch.equal(warped[..., 2, 3], values[..., 2, 3])
    assert warped.isfinite().all()


def test_inside_is_up_to_the_last_pixel() -> None:
    flow = torch.zeros(1, 2, 1, 4)
    flow[0, 0, 0] = torch.tensor([0.0, 2.0, 1.001, torch.nan])
    assert inside(flow).tolist() == [[[[1, 1, 0, 0]]]]
    flow[0, 0, 0] = torch.tensor([-0.001, -1.0, 0.0, 0.0])
    flow[0, 1, 0, 3] = 0.001
    assert inside(flow).tolist() == [[[[0, 1, 1, 0]]]]


def test_vectors_grow_with_the_frames() -> None:
    assert_close(resized_flow(vectors(2, -4, 6, 8), 12, 40), vectors(10, -8, 12, 40))
    assert_close(resized_flow(vectors(2, -4, 12, 40), 6, 8), vectors(0.4, -2, 6, 8))
    flow = vectors(1, 1, 6, 8)
    assert resized_flow(flow, 6, 8) is flow


def test_a_flow_of_half_the_size_warps_the_whole() -> None:
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 16, 32)
    small = vectors(1.5, 0, 8, 16)
    assert_close(warp(ramp, resized_flow(small, 16, 32))[..., :28], ramp[..., 3:31])

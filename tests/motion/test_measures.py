"""Measures on examples of two pixels by two."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from impasto.motion import colour_drift, endpoint_error, warping_error
from motion.moving_square import moving_square, vectors


def picture(*values: float) -> Tensor:
    """Grey, 2×2, by rows."""
    return torch.tensor(values).view(1, 1, 2, 2).expand(1, 3, 2, 2)


def mask(*values: float) -> Tensor:
    return torch.tensor(values).view(1, 1, 2, 2)


STILL = vectors(0, 0, 2, 2)


def test_warping_error_of_a_known_example() -> None:
    now, before = picture(0.5, 0.2, 0.0, 1.0), picture(0.5, 0.4, 0.3, 0.0)
    everywhere = warping_error(now, before, STILL, mask(1, 1, 1, 1))
    assert everywhere == pytest.approx((0.04 + 0.09 + 1) / 4)
    assert warping_error(now, before, STILL, mask(1, 1, 0.5, 0)) == pytest.approx((0.04 + 0.5 * 0.09) / 2.5)


def test_warping_error_is_the_mean_over_channels() -> None:
    now = torch.zeros(1, 3, 2, 2)
    now[:, 0] = 0.6
    assert warping_error(now, torch.zeros(1, 3, 2, 2), STILL, mask(1, 1, 1, 1)) == pytest.approx(0.36 / 3)


def test_warping_error_follows_the_flow_from_now_to_before() -> None:
    before, now = picture(0.1, 0.7, 0.2, 0.8), picture(0.7, 0.0, 0.8, 0.0)
    assert warping_error(now, before, vectors(1, 0, 2, 2), mask(1, 0, 1, 0)) == 0
    scene = moving_square()
    assert warping_error(scene.now, scene.before, scene.backward, scene.visible) == 0
    assert warping_error(scene.now, scene.before, scene.forward, scene.visible) > 0.001


def test_warping_error_where_nothing_is_visible_is_no_number() -> None:
    assert math.isnan(warping_error(picture(0, 0, 0, 0), picture(1, 1, 1, 1), STILL, mask(0, 0, 0, 0)))


def test_warping_error_of_black_and_white_is_1() -> None:
    assert warping_error(picture(0, 0, 0, 0), picture(1, 1, 1, 1), STILL, mask(1, 0.3, 0, 1)) == pytest.approx(1)


def test_endpoint_error_of_a_known_example() -> None:
    flow = torch.zeros(1, 2, 2, 2)
    flow[0, :, 0, 0], flow[0, :, 1, 1] = torch.tensor([3.0, 4.0]), torch.tensor([0.0, 1.0])
    assert endpoint_error(flow, STILL, mask(1, 1, 1, 1)) == pytest.approx((5 + 1) / 4)
    assert endpoint_error(flow, STILL, mask(1, 1, 0, 0) > 0) == pytest.approx(2.5)
    assert math.isnan(endpoint_error(flow, STILL, mask(0, 0, 0, 0)))


def test_endpoint_error_is_not_asked_where_the_truth_is_not_known() -> None:
    truth = vectors(0, 0, 2, 2)
    truth[..., 0, 0] = torch.nan
    assert endpoint_error(vectors(0, 2, 2, 2), truth, mask(0, 1, 1, 1)) == pytest.approx(2)


def test_colour_drift_is_the_largest_change_of_a_channel_in_255ths() -> None:
    frames = [picture(0.4, 0.6, 0.4, 0.6), picture(0.6, 0.4, 0.6, 0.4), picture(0.5, 0.5, 0.5, 0.5).clone()]
    assert colour_drift(frames) == pytest.approx(0, abs=1e-4)
    frames[2][:, 1] -= 3 / 255
    assert colour_drift(frames) == pytest.approx(3, abs=1e-4)
    assert colour_drift([*frames, frames[0]]) == pytest.approx(3, abs=1e-4)


def test_colour_drift_is_from_the_first_frame_and_does_not_need_them_at_once() -> None:
    darker = (torch.full((1, 3, 2, 2), 0.5 - step / 255) for step in range(5))
    assert colour_drift(darker) == pytest.approx(4, abs=1e-4)
    assert colour_drift([]) == 0

"""The schedule: from coarse to exactly the size asked for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from impasto.synthesis import Scale, coarse_to_fine

SIDES = st.integers(1, 20_000)
RATIOS = st.floats(1.1, 16)


def sizes(*args: int, **options: float) -> list[tuple[int, int]]:
    return [(scale.height, scale.width) for scale in coarse_to_fine(*args, steps=10, **options)]


def test_sizes_double_from_the_coarsest_to_the_finest() -> None:
    assert sizes(512, 512) == [(128, 128), (256, 256), (512, 512)]
    assert sizes(341, 512) == [(85, 128), (170, 256), (341, 512)]


def test_the_first_size_is_the_one_nearest_to_the_coarsest() -> None:
    assert sizes(180, 180) == [(180, 180)]
    assert sizes(182, 182) == [(91, 91), (182, 182)]  # 91 is nearer to 128, in ratio, than 182
    assert sizes(1000, 1000)[0] == (125, 125)
    assert sizes(512, 512, coarsest=256) == [(256, 256), (512, 512)]


def test_ratio_decides_the_number_of_sizes() -> None:
    assert [h for h, _ in sizes(512, 512, ratio=2**0.5)] == [128, 181, 256, 362, 512]
    assert [h for h, _ in sizes(512, 512, ratio=4)] == [128, 512]


def test_coarse_sizes_get_more_steps() -> None:
    assert [scale.steps for scale in coarse_to_fine(1024, 1024, steps=40)] == [160, 160, 80, 40]


def test_each_size_has_at_least_one_step() -> None:
    assert [scale.steps for scale in coarse_to_fine(512, 512, steps=1)] == [4, 2, 1]


def test_a_tiny_picture_has_one_size() -> None:
    assert coarse_to_fine(1, 1, steps=7) == (Scale(1, 1, 7),)
    assert sizes(20, 100) == [(20, 100)]


def test_sizes_too_narrow_for_the_layers_are_left_out() -> None:
    assert sizes(100, 1024, smallest_side=32) == [(50, 512), (100, 1024)]
    assert sizes(10, 1024, smallest_side=32) == [(10, 1024)]


def test_the_most_extreme_aspect_keeps_a_pixel() -> None:
    assert sizes(1, 20_000) == [(1, 20_000)]
    assert sizes(3, 4096) == [(1, 1024), (2, 2048), (3, 4096)]


def test_scale_knows_its_longest_side_and_area() -> None:
    assert (Scale(30, 40, 1).size, Scale(50, 40, 1).size, Scale(30, 40, 1).pixels) == (40, 50, 1200)


@given(SIDES, SIDES, st.integers(1, 1000), st.integers(16, 1000), RATIOS, st.integers(1, 200))
def test_every_schedule_grows_to_exactly_the_size(
    height: int, width: int, steps: int, coarsest: int, ratio: float, smallest: int
) -> None:
    schedule = coarse_to_fine(height, width, steps=steps, coarsest=coarsest, ratio=ratio, smallest_side=smallest)
    assert (schedule[-1].height, schedule[-1].width, schedule[-1].steps) == (height, width, steps)
    longest = [scale.size for scale in schedule]
    assert longest == sorted(set(longest))
    assert all(scale.steps >= steps for scale in schedule)
    assert all(min(scale.height, scale.width) >= smallest for scale in schedule[:-1])
    assert all(scale.size * ratio**0.5 >= coarsest for scale in schedule[:-1])


@given(SIDES, SIDES, st.integers(16, 1000), RATIOS)
def test_every_size_keeps_the_aspect_to_half_a_pixel(height: int, width: int, coarsest: int, ratio: float) -> None:
    for distance, scale in enumerate(reversed(coarse_to_fine(height, width, steps=1, coarsest=coarsest, ratio=ratio))):
        assert scale.height == pytest.approx(height / ratio**distance, abs=0.5001)
        assert scale.width == pytest.approx(width / ratio**distance, abs=0.5001)


@given(SIDES, SIDES, st.integers(16, 1000), RATIOS)
def test_no_coarser_size_was_nearer_to_the_coarsest(height: int, width: int, coarsest: int, ratio: float) -> None:
    first = coarse_to_fine(height, width, steps=1, coarsest=coarsest, ratio=ratio)[0]
    next_coarser = first.size / ratio
    narrow = min(first.height, first.width) / ratio < 1.5
    assert narrow or next_coarser < coarsest / ratio**0.5 + 1

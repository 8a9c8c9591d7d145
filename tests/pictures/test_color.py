"""Colour spaces, the chroma of another picture, the way back into the gamut."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from impasto.pictures import color
from impasto.pictures.color import Space, from_space, in_gamut, luminance, pixelwise, to_space, with_chroma_of
from impasto.pictures.files import read_picture
from impasto.pictures.resize import resize

EXAMPLES = Path(__file__).parents[2] / "examples"
SPACES: tuple[Space, ...] = get_args(Space)
FULL = {"yuv": 1, "ycbcr": 1, "lab": 100, "luv": 100, "oklab": 1}
KNOWN: dict[Space, dict[str, tuple[float, float, float]]] = {
    "oklab": {"white": (1, 0, 0), "red": (0.62796, 0.22486, 0.12585), "blue": (0.45201, -0.03246, -0.31153)},
    "lab": {"white": (100, 0, 0), "red": (53.24, 80.09, 67.20), "blue": (32.30, 79.19, -107.86)},
    "luv": {"white": (100, 0, 0), "red": (53.24, 175.02, 37.76), "blue": (32.30, -9.40, -130.34)},
    "yuv": {"white": (1, 0, 0), "red": (0.299, -0.147, 0.615), "blue": (0.114, 0.436, -0.100)},
    "ycbcr": {"white": (1, 0, 0), "red": (0.299, -0.1686, 0.4998), "blue": (0.114, 0.4997, -0.0813)},
}
COLORS = {"white": (1.0, 1.0, 1.0), "red": (1.0, 0.0, 0.0), "blue": (0.0, 0.0, 1.0)}

every_space = pytest.mark.parametrize("space", SPACES)


def flat(*rgb: float, height: int = 1, width: int = 1) -> Tensor:
    return torch.tensor(rgb).view(1, 3, 1, 1).repeat(1, 1, height, width)


def cube(side: int = 17) -> Tensor:
    """All colours, with black, white and the primaries."""
    steps = torch.linspace(0, 1, side)
    return torch.cartesian_prod(steps, steps, steps).T.reshape(1, 3, side, -1)


def noise(low: float, high: float, height: int = 32, width: int = 48, seed: int = 0) -> Tensor:
    return low + (high - low) * torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def example(name: str) -> Tensor:
    return resize(read_picture(EXAMPLES / name).pixels, 48, 64)


def chroma(pixels: Tensor, space: Space) -> Tensor:
    return to_space(pixels, space)[:, 1:] / FULL[space]


def lightness(pixels: Tensor, space: Space) -> Tensor:
    return to_space(pixels, space)[:, :1] / FULL[space]


def turn(a: Tensor, b: Tensor) -> Tensor:
    """The angle between chromas, in radians, of what has a chroma to speak of."""
    telling = (a.norm(dim=1) > 0.01) & (b.norm(dim=1) > 0.01)
    angle = torch.atan2(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0], (a * b).sum(1))
    assert telling.any()
    return angle[telling].abs().max()


@every_space
def test_there_and_back_is_the_same(space: Space) -> None:
    for pixels in (cube(), example("parrots.jpg"), 0.001 * cube(5)):
        assert_close(from_space(to_space(pixels, space), space), pixels, atol=1e-4, rtol=0)


@pytest.mark.parametrize("space", ["yuv", "ycbcr", "luv", "oklab"])
def test_colours_out_of_gamut_are_not_clipped_on_the_way(space: Space) -> None:
    pixels = noise(-0.3, 1.3)
    assert_close(from_space(to_space(pixels, space), space), pixels, atol=1e-3, rtol=0)


def test_lab_beyond_white_and_pure_colours_is_not_clipped() -> None:
    pixels = noise(-0.05, 1.3)
    assert_close(from_space(to_space(pixels, "lab"), "lab"), pixels, atol=1e-4, rtol=0)


@every_space
@pytest.mark.parametrize("name", COLORS)
def test_known_colours_have_their_published_values(space: Space, name: str) -> None:
    values = to_space(flat(*COLORS[name]), space) / FULL[space]
    assert_close(values.flatten(), torch.tensor(KNOWN[space][name]) / FULL[space], atol=2e-4, rtol=0)


@every_space
def test_greys_have_no_chroma(space: Space) -> None:
    assert chroma(torch.linspace(0, 1, 9).expand(1, 3, 1, 9), space).abs().max() < 1e-4


@every_space
def test_lightness_stays_and_chroma_comes_where_there_is_room(space: Space) -> None:
    pixels, content = noise(0.4, 0.6), noise(0.4, 0.6, seed=1)
    result = with_chroma_of(pixels, content, space)
    assert_close(lightness(result, space), lightness(pixels, space), atol=1e-4, rtol=0)
    assert_close(chroma(result, space), chroma(content, space), atol=1e-4, rtol=0)


@every_space
def test_without_room_for_the_chroma_lightness_and_hue_stay(space: Space) -> None:
    pixels, content = example("starry-night.jpg"), cube(17)[..., :192].reshape(1, 3, 48, 68)[..., :64]
    result = with_chroma_of(pixels, content, space)
    assert 0 <= result.min() <= result.max() <= 1
    assert_close(lightness(result, space), lightness(pixels, space), atol=5e-4, rtol=0)
    assert turn(chroma(result, space), chroma(content, space)) < 1e-2
    assert (chroma(result, space).norm(dim=1) < 0.9 * chroma(content, space).norm(dim=1)).any()


@every_space
def test_chroma_gives_way_no_more_than_needed(space: Space) -> None:
    content = flat(0.0, 0.0, 1.0, height=32, width=48)
    result = with_chroma_of(luminance(noise(0.3, 0.6)), content, space)
    given, asked = chroma(result, space).norm(dim=1), chroma(content, space).norm(dim=1)
    room = torch.minimum(result.amin(1), 1 - result.amax(1))[given < asked - 1e-3]
    assert len(room) > 500
    assert room.max() < 1e-3


@every_space
def test_blue_over_dark_stays_blue(space: Space) -> None:
    """In Luv a chroma that is too large for its lightness has no colour at all, or that of the other side."""
    dark = torch.linspace(0, 0.3, 50).expand(1, 3, 1, 50)
    red, green, blue = with_chroma_of(dark, flat(0.0, 0.0, 1.0, width=50), space).unbind(1)
    assert (blue >= red - 1e-4).all()
    assert (blue >= green - 1e-4).all()
    assert (blue > red + 0.1).any()


@every_space
def test_black_and_white_have_no_room_for_chroma(space: Space) -> None:
    for grey in (flat(0.0, 0.0, 0.0), flat(1.0, 1.0, 1.0)):
        assert_close(with_chroma_of(grey, flat(1.0, 0.0, 0.0), space), grey, atol=5e-3, rtol=0)


@every_space
def test_strength_goes_from_the_own_chroma_to_the_other(space: Space) -> None:
    pixels, content = noise(0.4, 0.6), noise(0.4, 0.6, seed=1)
    assert_close(with_chroma_of(pixels, content, space, 0.0), pixels, atol=1e-4, rtol=0)
    half = chroma(with_chroma_of(pixels, content, space, 0.5), space)
    assert_close(half, (chroma(pixels, space) + chroma(content, space)) / 2, atol=1e-4, rtol=0)


@every_space
def test_a_grey_content_makes_grey(space: Space) -> None:
    result = with_chroma_of(example("parrots.jpg"), luminance(noise(0, 1, 48, 64)), space)
    assert (result.amax(1) - result.amin(1)).max() < 1e-3


def test_luminance_is_luma_three_times() -> None:
    pixels = noise(0, 1)
    luma = 0.299 * pixels[:, 0] + 0.587 * pixels[:, 1] + 0.114 * pixels[:, 2]
    assert_close(luminance(pixels), luma.unsqueeze(1).expand(1, 3, 32, 48))


def test_colours_in_gamut_stay_exactly_as_they_are() -> None:
    for pixels in (noise(0.001, 0.999), example("lighthouse.jpg"), noise(0.2, 0.8, 1, 1)):
        assert torch.equal(in_gamut(pixels), pixels)
    assert_close(in_gamut(cube()), cube(), atol=1e-6, rtol=0)


def test_colours_comfortably_inside_stay_among_others_that_do_not() -> None:
    pixels = noise(-0.5, 1.5)
    luma = luminance(pixels)
    inside = (pixels.amin(1) > 0) & (pixels.amax(1) < 1) & (luma[:, 0] > 0.1) & (luma[:, 0] < 0.9)
    assert inside.sum() > 50
    assert torch.equal(in_gamut(pixels).permute(0, 2, 3, 1)[inside], pixels.permute(0, 2, 3, 1)[inside])


def test_everything_comes_into_gamut_and_once_is_enough() -> None:
    for pixels in (noise(-0.5, 1.5), noise(2, 5), noise(-3, -2), flat(1.4, 0.2, -0.1), flat(7.0, 7.0, 7.0)):
        once = in_gamut(pixels)
        assert 0 <= once.min() <= once.max() <= 1
        assert_close(in_gamut(once), once, atol=1e-4, rtol=0)


def test_hues_do_not_turn() -> None:
    pixels = noise(-0.5, 1.5)
    luma, once = luminance(pixels), in_gamut(pixels)
    before, after = pixels - luma, once - luminance(once)
    cosine = torch.cosine_similarity(before, after, dim=1)[after.norm(dim=1) > 0.01]
    assert cosine.min() > 1 - 1e-4
    clamped = pixels.clamp(0, 1)
    assert torch.cosine_similarity(before, clamped - luminance(clamped), dim=1).min() < 0.99  # the test can tell


def test_chroma_goes_only_as_far_as_needed_and_luma_in_range_stays() -> None:
    once = in_gamut(flat(1.2, 0.4, 0.3))
    assert once.max() == pytest.approx(1, abs=1e-6)
    assert_close(luminance(once), luminance(flat(1.2, 0.4, 0.3)))


def test_highlights_and_shadows_keep_their_order() -> None:
    ramp = torch.linspace(-0.4, 1.3, 171).expand(1, 3, 1, 171)
    soft = in_gamut(ramp)[0, 0, 0]
    assert float(soft[0]) == pytest.approx(0, abs=1e-6)
    assert float(soft[-1]) == pytest.approx(1, abs=1e-6)
    assert soft.diff().min() > 1e-4


def test_the_way_back_is_continuous() -> None:
    path = torch.linspace(0, 1, 20_001).view(1, 1, 1, -1)
    for begin, end in (
        ((-0.4, 0.5, 1.3), (1.4, 0.3, -0.2)),
        ((0.5, 0.5, 0.5), (1.5, 1.4, 1.2)),
        ((0.9, 0, 0), (1.2, 0, 0)),
    ):
        pixels = flat(*map(float, begin)).lerp(flat(*map(float, end)), path)
        assert in_gamut(pixels).diff(dim=3).abs().max() < 10 * pixels.diff(dim=3).abs().max()


def test_hidden_extremes_bend_nothing() -> None:
    pixels, where = noise(0.85, 0.95), torch.ones(1, 1, 32, 48)
    pixels[..., 0], where[..., 0] = 9.0, 0.0
    assert torch.equal(in_gamut(pixels, where)[..., 1:], pixels[..., 1:])
    assert not torch.equal(in_gamut(pixels)[..., 1:], pixels[..., 1:])
    assert in_gamut(pixels, where).max() <= 1


def test_work_in_parts_is_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels, content = noise(-0.5, 1.5), noise(0, 1, seed=1)
    whole = in_gamut(pixels), with_chroma_of(content, in_gamut(pixels))
    monkeypatch.setattr(color, "CHUNK", 100)
    assert_close((in_gamut(pixels), with_chroma_of(content, in_gamut(pixels))), whole, atol=2e-5, rtol=0)
    sizes: list[int] = []

    def measured(part: Tensor) -> Tensor:
        sizes.append(part.shape[-1])
        return part

    assert torch.equal(pixelwise(measured, pixels), pixels)
    assert (max(sizes), sum(sizes)) == (100, 32 * 48)


def test_inputs_stay_as_they_were() -> None:
    pixels, content = noise(-0.5, 1.5), noise(0, 1)
    in_gamut(pixels)
    with_chroma_of(content, content.flip(3))
    assert torch.equal(pixels, noise(-0.5, 1.5))
    assert torch.equal(content, noise(0, 1))

"""Colours of one picture moved to those of another: closed forms, distributions, thin data."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from impasto.errors import UsageError
from impasto.pictures.color import luminance
from impasto.pictures.color_matching import (
    NODES,
    RIDGE,
    SAMPLE,
    STEEPEST,
    STRONGEST,
    Curve,
    Matching,
    color_distance,
    match_colors,
    match_luminance,
    quantiles,
    sample,
)
from impasto.pictures.files import read_picture
from impasto.pictures.resize import resize

EXAMPLES = Path(__file__).parents[2] / "examples"
METHODS: tuple[Matching, ...] = get_args(Matching)
AFFINE: tuple[Matching, ...] = ("cholesky", "pca", "monge-kantorovich")

every_method = pytest.mark.parametrize("method", METHODS)
every_affine = pytest.mark.parametrize("method", AFFINE)


def random(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cloud(seed: int, center: float = 0.5, spread: float = 0.05, height: int = 40, width: int = 50) -> Tensor:
    """Correlated colours around a grey, far from the ends of the range."""
    mixing = torch.linalg.qr(random(seed + 50, 3, 3)).Q * torch.tensor([1.0, 0.6, 0.3])
    return center + spread * torch.einsum("ij,bjhw->bihw", mixing, random(seed, 1, 3, height, width).clamp(-2.5, 2.5))


def two_colours(first: tuple[float, ...], second: tuple[float, ...], seed: int, share: float = 0.5) -> Tensor:
    chosen = torch.rand(1, 1, 40, 50, generator=torch.Generator().manual_seed(seed)) < share
    ends = torch.where(chosen, torch.tensor(first).view(1, 3, 1, 1), torch.tensor(second).view(1, 3, 1, 1))
    return ends + 0.02 * random(seed, 1, 3, 40, 50).clamp(-2.5, 2.5)


def flat(*rgb: float, side: int = 8) -> Tensor:
    return torch.tensor(rgb).view(1, 3, 1, 1).repeat(1, 1, side, side)


def example(name: str, height: int = 96, width: int = 128) -> Tensor:
    return resize(read_picture(EXAMPLES / name).pixels, height, width)


def mean_and_covariance(pixels: Tensor) -> tuple[Tensor, Tensor]:
    rows = pixels.flatten(2)[0].double()
    return rows.mean(1), torch.cov(rows, correction=0)


@every_affine
def test_mean_and_covariance_become_the_contents(method: Matching) -> None:
    style, content = cloud(0, 0.6), cloud(1, 0.4, spread=0.08)
    mean, covariance = mean_and_covariance(match_colors(style, content, method))
    wanted_mean, wanted = mean_and_covariance(content)
    assert_close(mean, wanted_mean, atol=1e-5, rtol=0)
    assert_close(covariance, wanted, atol=3 * RIDGE, rtol=0.02)


@every_affine
def test_moments_follow_the_closed_form_for_independent_channels(method: Matching) -> None:
    """Then every A is diagonal: the ratios of the contrasts."""
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).T.reshape(1, 3, 2, 4)
    style = 0.5 + torch.tensor([0.08, 0.10, 0.20]).view(1, 3, 1, 1) * signs
    content = 0.4 + torch.tensor([0.20, 0.10, 0.15]).view(1, 3, 1, 1) * signs
    ratio = ((torch.tensor([0.20, 0.10, 0.15]) ** 2 + RIDGE) / (torch.tensor([0.08, 0.10, 0.20]) ** 2 + RIDGE)).sqrt()
    assert_close(match_colors(style, content, method), 0.4 + ratio.view(1, 3, 1, 1) * (style - 0.5))


@every_affine
def test_a_slight_tint_is_stretched_three_times_and_no_more(method: Matching) -> None:
    """Elsewhere it becomes as large as the content's contrasts, in neon colours that neither picture has."""
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).T.reshape(1, 3, 2, 4)
    style = 0.5 + torch.tensor([0.01, 0.10, 0.10]).view(1, 3, 1, 1) * signs
    content = 0.5 + torch.tensor([0.20, 0.10, 0.10]).view(1, 3, 1, 1) * signs
    found = match_colors(style, content, method)
    assert_close(found, 0.5 + torch.tensor([STRONGEST, 1, 1]).view(1, 3, 1, 1) * (style - 0.5))


def test_monge_kantorovich_moves_colours_least() -> None:
    style, content = cloud(0, spread=0.1), cloud(1, spread=0.12)
    moved = {m: (match_colors(style, content, m) - style).square().mean() for m in AFFINE}
    (mean, cov), (wanted_mean, wanted) = mean_and_covariance(style), mean_and_covariance(content)
    roots = torch.linalg.eigvals(cov @ wanted).real.sqrt().sum()
    optimum = ((mean - wanted_mean).square().sum() + cov.trace() + wanted.trace() - 2 * roots) / 3
    assert float(moved["monge-kantorovich"]) == pytest.approx(float(optimum), rel=0.02)
    assert moved["monge-kantorovich"] < 0.99 * min(moved["cholesky"], moved["pca"])


def test_cholesky_leaves_the_order_of_red_alone() -> None:
    """L is lower triangular: the new red is a function of the old one, which the symmetric roots' is not."""
    style, content = cloud(0), cloud(1)
    red = style[:, 0].flatten().argsort()
    ascends = {m: bool((match_colors(style, content, m)[:, 0].flatten()[red].diff() > -1e-5).all()) for m in AFFINE}
    assert ascends == {"cholesky": True, "pca": False, "monge-kantorovich": False}


def test_histogram_matching_makes_the_distributions_of_channels_equal() -> None:
    style, content = 0.2 + 0.6 * torch.rand(1, 3, 60, 60, generator=torch.Generator().manual_seed(0)), cloud(1)
    result = match_colors(style, content, "histogram")
    levels = torch.linspace(0.02, 0.98, 49)
    found, wanted = (torch.quantile(pixels.flatten(2)[0], levels, dim=1) for pixels in (result, content))
    assert_close(found, wanted, atol=2e-3, rtol=0)
    for channel in range(3):
        order = style[:, channel].flatten().argsort()
        assert (result[:, channel].flatten()[order].diff() >= -1e-6).all()


def test_sliced_sees_what_moments_and_channels_do_not() -> None:
    content = two_colours((0.7, 0.3, 0.4), (0.3, 0.5, 0.7), seed=1, share=0.4)
    bimodal = two_colours((0.3, 0.3, 0.3), (0.7, 0.7, 0.7), seed=0, share=0.7)
    for style in (bimodal, cloud(0, spread=0.1)):
        left = {m: color_distance(match_colors(style, content, m), content) for m in METHODS}
        assert left["sliced"] < 0.65 * min(left[m] for m in METHODS if m != "sliced"), left


@every_method
def test_real_pictures_come_close_in_colour_and_keep_their_texture(method: Matching) -> None:
    style, content = example("lighthouse.jpg"), example("starry-night.jpg")
    result = match_colors(style, content, method)
    assert 0 <= result.min() <= result.max() <= 1
    assert color_distance(result, content) < 0.4 * color_distance(style, content)
    likeness = torch.corrcoef(torch.stack([luminance(p)[:, :1].flatten() for p in (result, style)]))[0, 1]
    assert likeness > 0.8


@every_method
def test_a_picture_in_its_own_colours_is_itself(method: Matching) -> None:
    picture = example("parrots.jpg", 48, 64)
    assert_close(match_colors(picture, picture, method), picture, atol=2e-3, rtol=0)


@every_method
def test_strength_goes_from_nothing_to_all(method: Matching) -> None:
    style, content = cloud(0, 0.6), cloud(1, 0.4)
    assert torch.equal(match_colors(style, content, method, strength=0.0), style)
    half, whole = (match_colors(style, content, method, strength) for strength in (0.5, 1.0))
    assert_close(half, (style + whole) / 2, atol=1e-5, rtol=0)
    assert (whole - style).abs().mean() > 0.05


@every_method
def test_the_same_call_gives_the_same_picture_and_takes_no_luck(method: Matching) -> None:
    style, content = example("cat.jpg", 300, 300), example("udnie.jpg", 40, 50)
    torch.manual_seed(1)
    first, luck = match_colors(style, content, method), torch.rand(1)
    torch.manual_seed(2)
    second = match_colors(style, content, method)
    torch.manual_seed(1)
    assert torch.equal(first, second)
    assert torch.equal(luck, torch.rand(1))


@every_method
def test_hidden_positions_have_no_influence(method: Matching) -> None:
    """Nor by coming out so bright that others have to make room."""
    style, content, where = cloud(0, 0.6), cloud(1, 0.85, spread=0.04), torch.ones(1, 1, 40, 50)
    where[..., :20] = 0
    visible = match_colors(style[..., 20:], content[..., 20:], method)
    style[..., :20], content[..., :20] = 1.0, torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1)
    result = match_colors(style, content, method, style_where=where, content_where=where)
    assert_close(result[..., 20:], visible, atol=1e-5, rtol=0)
    assert (match_colors(style, content, method)[..., 20:] - visible).abs().max() > 0.02


@every_method
def test_a_weight_of_two_counts_as_two_positions(method: Matching) -> None:
    style, content = cloud(0), cloud(1)
    content[..., :25] += 0.1
    twice = torch.cat([content, content[..., :25]], 3)
    where = torch.ones(1, 1, 40, 50)
    where[..., :25] = 2
    weighted = match_colors(style, content, method, content_where=where)
    assert_close(weighted, match_colors(style, twice, method), atol=4e-3, rtol=0)
    assert (weighted - match_colors(style, content, method)).abs().max() > 4e-3


@every_method
def test_one_colour_takes_the_mean(method: Matching) -> None:
    for style in (flat(0.2, 0.5, 0.6), flat(0.3, 0.3, 0.3, side=1), flat(0.0, 0.0, 1.0)):
        content = cloud(1)
        mean = content.mean((2, 3), keepdim=True)
        assert_close(match_colors(style, content, method), mean.expand_as(style), atol=5e-3, rtol=0)


@every_method
def test_one_colour_gives_itself(method: Matching) -> None:
    for content in (flat(0.2, 0.5, 0.6), flat(0.3, 0.3, 0.3, side=1)):
        result = match_colors(cloud(0), content, method)
        assert_close(result, content[..., :1, :1].expand_as(result), atol=0.012, rtol=0)


@every_method
def test_grey_pictures_and_primaries_are_pictures_too(method: Matching) -> None:
    grey, pure = luminance(cloud(0)), (random(0, 1, 3, 40, 50) > 0).float()
    for style in (grey, pure):
        for content in (grey, pure):
            result = match_colors(style, content, method)
            assert 0 <= result.min() <= result.max() <= 1
    from_colour = match_colors(cloud(1), grey, method)
    assert (from_colour.amax(1) - from_colour.amin(1)).std() < 0.03
    assert_close(match_colors(pure, pure, method), pure, atol=2e-3, rtol=0)


@pytest.mark.parametrize("call", [match_colors, match_luminance])
def test_a_picture_hidden_everywhere_is_a_clear_error(call: type) -> None:
    nothing = torch.zeros(1, 1, 40, 50)
    with pytest.raises(UsageError, match="the style is hidden everywhere"):
        call(cloud(0), cloud(1), style_where=nothing)
    with pytest.raises(UsageError, match="the content is hidden everywhere"):
        call(cloud(0), cloud(1), content_where=nothing)


def test_luminance_gets_mean_and_contrast_of_the_contents() -> None:
    style, content = cloud(0, 0.6, 0.05), cloud(1, 0.4, 0.08)
    matched, wanted, own = match_luminance(style, content), luminance(content), luminance(style)
    assert float(matched.mean()) == pytest.approx(float(wanted.mean()), abs=1e-4)
    assert float(matched.std()) == pytest.approx(float(wanted.std()), rel=0.02)
    assert torch.corrcoef(torch.stack([matched.flatten(), own.flatten()]))[0, 1] > 0.9999
    assert torch.equal(matched[:, 0], matched[:, 2])
    assert_close(match_luminance(flat(0.1, 0.1, 0.1), content), wanted.mean().expand(1, 3, 8, 8), atol=1e-4, rtol=0)


def test_luminance_of_hidden_positions_does_not_count() -> None:
    style, content, where = cloud(0, 0.6), cloud(1, 0.4), torch.ones(1, 1, 40, 50)
    where[..., :20] = 0
    visible = match_luminance(style[..., 20:], content[..., 20:])
    style[..., :20], content[..., :20] = 1.0, 0.0
    assert_close(match_luminance(style, content, where, where)[..., 20:], visible, atol=1e-5, rtol=0)


def test_distance_is_one_between_black_and_white_and_zero_to_oneself() -> None:
    picture = example("barn.jpg", 30, 40)
    assert color_distance(flat(0, 0, 0), flat(1, 1, 1)) == pytest.approx(1, abs=1e-4)
    assert color_distance(picture, picture) == 0
    assert color_distance(picture, picture.flip(3).mT) < 1e-6
    assert color_distance(flat(1, 0, 0), flat(0, 0, 1)) == pytest.approx(0.5372, abs=1e-3)  # in Oklab, by hand


def test_distance_is_symmetric_and_sees_more_than_the_mean() -> None:
    one, other = two_colours((0.3, 0.3, 0.3), (0.7, 0.7, 0.7), seed=0), flat(0.5, 0.5, 0.5)
    assert color_distance(one, other) == pytest.approx(color_distance(other, one))
    assert color_distance(one, other) > 0.1


def test_distance_counts_what_is_visible() -> None:
    picture, where = flat(0.2, 0.2, 0.2), torch.ones(1, 1, 8, 8)
    picture[..., :4], where[..., :4] = 1.0, 0.0
    assert color_distance(picture, flat(0.2, 0.2, 0.2), where) < 1e-6
    assert color_distance(flat(0.2, 0.2, 0.2), picture, None, where) < 1e-6
    assert color_distance(picture, flat(0.2, 0.2, 0.2)) > 0.1


def test_large_pictures_are_sampled_evenly() -> None:
    ramp = torch.linspace(0, 1, 1200).expand(1, 3, 300, 1200)
    colours = sample(ramp, None, "style")
    assert colours.pixels.shape == (1, 3, 1, SAMPLE)
    levels = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    assert_close(quantiles(colours, levels), levels.expand(3, 3), atol=3e-3, rtol=0)


def test_curves_rise_gently_and_keep_what_is_flat_flat() -> None:
    x = torch.tensor([0.2, 0.5, 0.5 + 1e-7, 0.51, 0.9], dtype=torch.float64)
    curve = Curve.between(x, torch.tensor([0.1, 0.3, 0.5, 0.7, 0.8], dtype=torch.float64))
    values = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    slopes = curve(values).diff() / values.diff()
    assert slopes.min() >= -1e-9
    assert slopes.max() <= STEEPEST + 1e-6
    assert slopes[[0, -1]].tolist() == pytest.approx([1, 1])
    assert float(curve(x[1:3]).diff().abs()) < 1e-6


def test_a_curve_takes_what_is_one_value_to_its_mean() -> None:
    x = torch.tensor([0.5, 0.5, 0.5, 0.5 + 1e-7], dtype=torch.float64)
    curve = Curve.between(x, torch.tensor([0.1, 0.2, 0.3, 0.8], dtype=torch.float64))
    assert_close(curve(x), torch.full_like(x, 0.35), atol=1e-6, rtol=0)


def test_no_contours_appear_in_a_smooth_sky() -> None:
    """Neighbouring 8-bit values stay neighbours, whatever the contrast of the content."""
    sky = (torch.linspace(0.50, 0.56, 256) * 255).round().div(255).expand(1, 3, 32, 256)
    assert match_colors(sky, example("starry-night.jpg"), "histogram").diff(dim=3).abs().max() < 4.1 / 255


def test_the_table_of_sliced_transport_holds_every_colour_in_its_place() -> None:
    """A shift is a function that any table can hold exactly: red must not come out as blue."""
    style = cloud(0, 0.5)
    shift = torch.tensor([0.10, -0.05, 0.02]).view(1, 3, 1, 1)
    assert NODES**3 < SAMPLE
    assert_close(match_colors(style, style + shift, "sliced"), style + shift, atol=2e-3, rtol=0)

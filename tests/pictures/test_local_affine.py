"""Local affine maps: colours come over, edges stay where the content has them, at any size and in any parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from impasto.pictures.local_affine import locally_affine


def noise(seed: int, height: int = 40, width: int = 60) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def grey(picture: Tensor) -> Tensor:
    return picture.mean(1, keepdim=True).expand_as(picture)


def toned(picture: Tensor) -> Tensor:
    colours = torch.tensor([[0.5, 0.2, -0.3], [-0.3, 0.1, 0.4], [0.0, 0.5, 0.2]])
    return torch.einsum("ck,bkhw->bchw", colours, picture) + 0.3


def halves(left: float, right: float) -> Tensor:
    """A vertical edge in the middle of 40×60 pixels."""
    return torch.where(torch.arange(60) < 30, left, right).expand(1, 3, 40, 60)


def guided_filter(target: Tensor, guide: Tensor, radius: int, eps: float) -> Tensor:
    """He et al., eq. 19 to 21, pixel by pixel."""
    _, _, height, width = guide.shape
    slopes, offsets, filtered = {}, {}, torch.empty_like(target)

    def window(row: int, column: int) -> tuple[slice, slice]:
        return (
            slice(max(0, row - radius), min(height, row + radius + 1)),
            slice(max(0, column - radius), min(width, column + radius + 1)),
        )

    for row in range(height):
        for column in range(width):
            colours, values = (of[0, :, *window(row, column)].flatten(1) for of in (guide, target))
            mean, value = colours.mean(1, keepdim=True), values.mean(1, keepdim=True)
            covariance = (colours - mean) @ (colours - mean).T / colours.shape[1] + eps * torch.eye(3).to(guide)
            slopes[row, column] = (values - value) @ (colours - mean).T / colours.shape[1] @ covariance.inverse()
            offsets[row, column] = (value - slopes[row, column] @ mean)[:, 0]
    for row in range(height):
        for column in range(width):
            rows, columns = window(row, column)
            near = [(r, c) for r in range(rows.start, rows.stop) for c in range(columns.start, columns.stop)]
            slope, offset = (torch.stack([of[place] for place in near]).mean(0) for of in (slopes, offsets))
            filtered[0, :, row, column] = slope @ guide[0, :, row, column] + offset
    return filtered


def test_it_is_he_sun_and_tangs_filter_of_what_the_overall_map_leaves() -> None:
    content, result = noise(0, 9, 7).double(), noise(1, 9, 7).double()
    (mean, rest), (value, others) = (
        (of.mean((2, 3), keepdim=True), (of - of.mean((2, 3), keepdim=True))[0].flatten(1)) for of in (content, result)
    )
    slopes = others @ rest.T / 63 @ (rest @ rest.T / 63 + 0.02 * torch.eye(3)).inverse()
    expected = torch.einsum("ck,bkhw->bchw", slopes, content - mean) + value
    by_hand = expected + guided_filter(result - expected, content, 2, 0.02)
    assert_close(locally_affine(result, content, 2, 0.02), by_hand.clamp(0, 1), atol=1e-9, rtol=0)


@pytest.mark.parametrize("tones", ["rgb", "grey"])
def test_affine_functions_of_the_content_stay_as_they_are(tones: str) -> None:
    content = noise(0) if tones == "rgb" else grey(noise(0))
    assert_close(locally_affine(toned(content), content, 3, 1e-6), toned(content), atol=1e-4, rtol=0)


def test_faint_detail_stays_as_clear_as_the_rest() -> None:
    content = halves(0.2, 0.8) + 0.01 * grey(noise(0) - 0.5)
    filtered = locally_affine(0.5 * content + 0.2, content, 6, 1e-3)
    inside = (..., slice(4, 20))
    assert filtered[inside].std() > 0.9 * 0.5 * content[inside].std()


def test_noise_of_a_grey_content_is_not_amplified() -> None:
    """Where colours vary less than `eps`, no slope may turn them into the result's."""
    tone = torch.linspace(0.2, 0.8, 60).expand(1, 3, 40, 60)
    result = tone + 0.2 * torch.linspace(-1, 1, 40)[:, None] * torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)
    colour = 0.004 * torch.linspace(-1, 1, 40)[:, None] * torch.tensor([1.0, 0.0, -1.0]).view(1, 3, 1, 1)
    clean, noisy = (locally_affine(result, tone + colour + 0.004 * of, 6, 1e-3) for of in (0 * noise(0), noise(0)))
    assert (noisy - clean).std() < 0.004


def test_local_changes_of_tone_stay() -> None:
    content = noise(0)
    result = torch.cat([content[..., :30] * 0.5, 1 - content[..., 30:]], dim=3)
    filtered = locally_affine(result, content, 3, 1e-6)
    assert_close(filtered[..., :24], result[..., :24], atol=1e-3, rtol=0)
    assert_close(filtered[..., 36:], result[..., 36:], atol=1e-3, rtol=0)


def test_noise_goes_and_the_contents_edges_stay() -> None:
    clean = halves(0.3, 0.7)
    filtered = locally_affine(clean + 0.1 * (noise(1) - 0.5), halves(0.9, 0.2), 6, 1e-3)
    assert (filtered - clean).square().mean().sqrt() < 0.1 * 12**-0.5 / 4
    assert_close(filtered[..., 29], torch.full((1, 3, 40), 0.3), atol=0.03, rtol=0)
    assert_close(filtered[..., 30], torch.full((1, 3, 40), 0.7), atol=0.03, rtol=0)


def test_an_edge_that_the_content_lacks_becomes_soft() -> None:
    filtered = locally_affine(halves(0.2, 0.8), torch.full((1, 3, 40, 60), 0.5), 6, 1e-3)
    assert filtered.diff(dim=3).abs().max() < 0.1
    assert_close(filtered[..., 0], torch.full((1, 3, 40), 0.2), atol=1e-4, rtol=0)


def test_a_smooth_sky_stays_smooth() -> None:
    """Its steps of 8 bits must not be amplified, nor new ones appear."""
    ramp = torch.linspace(0.4, 0.5, 60).expand(1, 3, 40, 60)
    sky = (ramp * 255).round() / 255
    filtered = locally_affine(ramp.flip(1) * 1.5 + 0.05 * noise(1), sky, 6, 1e-3)
    assert filtered.diff(dim=3).abs().max() < 0.015
    assert filtered.diff(dim=2).abs().max() < 0.015


@pytest.mark.parametrize("tile", [1, 7, 16])
def test_parts_make_the_whole(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    content, result = noise(0, 17, 24).double(), noise(1, 17, 24).double()
    whole = locally_affine(result, content, 2, 1e-3)
    monkeypatch.setattr("impasto.pictures.local_affine.ROWS", tile)
    assert_close(locally_affine(result, content, 2, 1e-3, tile=tile), whole, atol=1e-9, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (2, 2), (5, 3)])
def test_pictures_smaller_than_a_window_have_one_map(height: int, width: int) -> None:
    content = noise(0, height, width)
    assert_close(locally_affine(toned(content), content, 50, 1e-7), toned(content), atol=1e-4, rtol=0)


def test_results_stay_in_range_and_have_the_results_type() -> None:
    filtered = locally_affine(noise(1).round(), noise(0), 1, 1e-6)
    assert filtered.dtype == torch.float32
    assert 0 <= filtered.min() < 0.01
    assert 0.99 < filtered.max() <= 1


def test_a_flat_content_gives_the_results_colours() -> None:
    filtered = locally_affine(noise(1), torch.full((1, 3, 40, 60), 0.5), 80, 1e-3)
    assert_close(filtered, noise(1).mean((2, 3), keepdim=True).expand(1, 3, 40, 60), atol=1e-5, rtol=0)

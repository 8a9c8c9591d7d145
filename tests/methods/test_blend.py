"""Blends: the works' style at the point nearest to the content."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from impasto.encoders import load_encoder
from impasto.errors import UsageError
from impasto.library.simplex import Vector
from impasto.machine import Machine
from impasto.methods.blend import BlendSettings, _tiles, blend, mixtures_of
from impasto.methods.regions import Region
from impasto.methods.transfer import TransferSettings, transfer
from impasto.methods.work import Work
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize

CPU = Machine.choose("cpu")
LAYERS = "relu1_1,relu2_1"
Weigh = Callable[..., Vector]


def smooth(seed: int, grain: int = 6, height: int = 64, width: int = 96) -> Picture:
    """A picture of patches of some size, in a colour of its own."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // grain, width // grain, generator=generator)
    return Picture(resize(coarse * torch.rand(1, 3, 1, 1, generator=generator), height, width), name=f"{seed}.png")


WORKS = [smooth(seed, grain=2 + seed % 5) for seed in range(1, 9)]


@pytest.fixture
def weigh(lively_path: Path, monkeypatch: pytest.MonkeyPatch) -> Weigh:
    monkeypatch.setattr("impasto.library.signature.SIDE", 64)
    encoder = load_encoder(str(lively_path))

    def weights(content: Picture, works: list[Picture], layer: str = "relu1_1", **values: Any) -> Vector:
        settings = BlendSettings.of(style_layers=LAYERS, **values)
        return mixtures_of(encoder, [content], works, settings, {})[0].weights[layer]

    return weights


@pytest.fixture
def settings(lively_path: Path) -> dict[str, Any]:
    return {"encoder": str(lively_path), "size": 96, "coarsest": 96, "steps": 4, "style_layers": LAYERS} | {
        "content_layers": "relu2_2"
    }


def finished(work: Work) -> torch.Tensor:
    return work.finish(work.synthesis.run()).pixels


def test_a_content_that_is_joined_from_works_has_those(weigh: Weigh) -> None:
    joined = torch.cat((WORKS[2].pixels[..., :48], WORKS[5].pixels[..., 48:]), -1)
    found = weigh(Picture(joined), WORKS, shrinkage=0)
    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert found.min() >= 0
    assert found[[2, 5]] == pytest.approx(0.5, abs=0.15)
    assert found[[2, 5]].sum() > 0.9


@pytest.mark.parametrize("which", [0, 5])
def test_a_content_that_is_one_of_the_works_has_its_style(weigh: Weigh, which: int) -> None:
    np.testing.assert_allclose(weigh(WORKS[which], WORKS, shrinkage=0), np.eye(len(WORKS))[which], atol=1e-6)


def test_the_order_of_works_does_not_matter(weigh: Weigh) -> None:
    there, back = weigh(smooth(0), WORKS), weigh(smooth(0), WORKS[::-1])
    np.testing.assert_allclose(there, back[::-1], atol=1e-6)


def test_character_leads_to_the_mean_of_all_works(weigh: Weigh) -> None:
    nearest, half, mean = (weigh(smooth(0), WORKS, character=share) for share in (0.0, 0.5, 1.0))
    np.testing.assert_allclose(mean, 1 / len(WORKS))
    np.testing.assert_allclose(half, (nearest + mean) / 2)


def test_shrinkage_spreads_the_weights(weigh: Weigh) -> None:
    numbers = [1 / np.square(weigh(smooth(0), WORKS, shrinkage=amount)).sum() for amount in (0, 0.1, 10)]
    assert numbers == sorted(numbers)
    assert numbers[-1] > 0.9 * len(WORKS)


def test_preferred_works_take_more_part(weigh: Weigh) -> None:
    even = weigh(smooth(0), WORKS, shrinkage=1)
    preferred = weigh(smooth(0), WORKS, shrinkage=1, style_weights=[9.0] + [1.0] * (len(WORKS) - 1))
    assert preferred[0] > even[0] + 0.1


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_works_than_wanted(weigh: Weigh, most: int) -> None:
    found = weigh(smooth(0), WORKS, shrinkage=0.1, max_works=most)
    assert np.count_nonzero(found) <= most
    assert found.sum() == pytest.approx(1)


def test_each_layer_may_have_weights_of_its_own(weigh: Weigh) -> None:
    fine, coarse = (weigh(smooth(0), WORKS, layer) for layer in ("relu1_1", "relu2_1"))
    together = [weigh(smooth(0), WORKS, layer, joint=True) for layer in ("relu1_1", "relu2_1")]
    assert np.abs(fine - coarse).max() > 0.01
    np.testing.assert_array_equal(*together)


def test_a_blend_of_one_work_is_a_transfer(settings: dict[str, Any]) -> None:
    blended = blend(smooth(0), [WORKS[0]], BlendSettings.of(**settings), CPU)
    plain = transfer(smooth(0), [WORKS[0]], TransferSettings.of(**settings), CPU)
    assert torch.equal(finished(blended), finished(plain))


@pytest.mark.parametrize("joint", [False, True])
def test_what_is_painted_is_the_mixture(settings: dict[str, Any], weigh: Weigh, joint: bool) -> None:
    blended = blend(smooth(0), WORKS, BlendSettings.of(**settings, joint=joint), CPU)
    shares = {one: weigh(smooth(0), WORKS, one, joint=joint).tolist() for one in ("relu1_1", "relu2_1")}
    whole = Region.everything(range(len(WORKS)), [None] * len(WORKS), shares)
    mixed = transfer(smooth(0), WORKS, TransferSettings.of(**settings), CPU, regions=[whole])
    assert torch.allclose(finished(blended), finished(mixed), atol=1e-4)
    even = transfer(smooth(0), WORKS, TransferSettings.of(**settings), CPU)
    assert not torch.allclose(finished(blended), finished(even), atol=1e-2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"masks": "a.png"}, "masks and segmentation: blend paints the whole picture in one style; use transfer"),
        ({"mix": "losses"}, "mix: losses need the same weights for all layers: add joint"),
        ({"character": 1.5}, "character: 1.5 is not allowed, it should be at most 1"),
        ({"max_works": 0}, "max_works: 0 is not allowed, it should be at least 1"),
    ],
)
def test_one_sentence_for_what_a_blend_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"^{message}"):
        BlendSettings.of(**values)


def test_which_works_take_part_is_told(settings: dict[str, Any]) -> None:
    (told,) = blend(WORKS[3], WORKS, BlendSettings.of(**settings, shrinkage=0), CPU).remarks
    assert told == "1 of 8 works: 4.png 100%"
    (told,) = blend(smooth(0), WORKS, BlendSettings.of(**settings, character=1), CPU).remarks
    assert told.startswith("8 of 8 works: 1.png 12%, 2.png 12%, ")
    assert told.endswith(" and 2 more")


def test_preferences_for_another_number_of_works_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="style_weights: 2 weights for 8 styles"):
        blend(smooth(0), WORKS, BlendSettings.of(**settings, style_weights=[1, 2]), CPU)


def halves(left: int, right: int) -> Picture:
    return Picture(torch.cat((WORKS[left].pixels[..., :48], WORKS[right].pixels[..., 48:]), -1), name="halves.png")


def test_patches_of_a_work_take_part_one_by_one(settings: dict[str, Any]) -> None:
    """A work of two halves: cut into patches, one half of it alone can be the style."""
    both = [halves(2, 5), WORKS[0]]
    whole, cut = (
        blend(WORKS[5], both, BlendSettings.of(**settings, shrinkage=0, patches=patches), CPU).facts["distance"]
        for patches in (1, 2)
    )
    assert cut < 0.5 * whole


def test_the_style_of_a_patch_is_that_of_the_patch(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut in two each way, a work of two halves has the style of its right half, as the mask of that half has."""
    monkeypatch.setattr("impasto.library.signature.SIDE", 64)
    work = blend(WORKS[5], [halves(2, 5)], BlendSettings.of(**settings, shrinkage=0, patches=2), CPU)
    right = torch.zeros(1, 1, 2, 2)
    right[..., 1] = 1
    masked = Region.everything([0], [right], (1.0,))
    plain = transfer(WORKS[5], [halves(2, 5)], TransferSettings.of(**settings), CPU, regions=[masked])
    whole = transfer(WORKS[5], [halves(2, 5)], TransferSettings.of(**settings), CPU)
    ours, right_alone, all_of_it = (finished(one) for one in (work, plain, whole))
    assert (ours - right_alone).abs().mean() < 0.8 * (ours - all_of_it).abs().mean()


def test_tiles_have_mixtures_of_their_own(settings: dict[str, Any]) -> None:
    """A content of two halves, each one work's: with tiles the left is painted like one, the right like the other."""
    whole, tiled = (
        blend(halves(2, 5), WORKS, BlendSettings.of(**settings, shrinkage=0, local=local), CPU) for local in (1, 2)
    )
    weights = [np.array([one["weight"] for one in work.facts["works"]]) for work in (whole, tiled)]
    assert weights[1][[2, 5]].sum() > 0.6
    first = finished(whole)
    second = finished(tiled)
    assert first.shape == second.shape
    assert not torch.allclose(first, second, atol=1e-3)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_windows_of_tiles_share_out_the_picture(count: int) -> None:
    tiles = [*_tiles(smooth(0), count)]
    assert len(tiles) == count * round(count * 64 / 96)
    masks = torch.cat([tile.mask for tile in tiles if tile.mask is not None])
    torch.testing.assert_close(masks.sum(0), torch.ones_like(masks[0]))
    for tile in tiles:  # what is seen is where the window is open
        assert tile.mask is not None
        open_rows, open_columns = ((tile.mask > 0).any(axis)[0, 0].float().mean() for axis in (3, 2))
        assert tile.content.height / 64 == pytest.approx(float(open_rows), abs=0.05)
        assert tile.content.width / 96 == pytest.approx(float(open_columns), abs=0.05)


@pytest.mark.parametrize("values", [{"feather": 0.1}, {"guidance": "all"}, {"region_strengths": {"sky": 2.0}}])
def test_options_of_regions_are_refused(settings: dict[str, Any], values: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"^{next(iter(values))}: there are no regions"):
        blend(WORKS[3], WORKS, BlendSettings.of(**settings, **values), CPU)


def test_a_record_says_what_speaks_for_each_work(settings: dict[str, Any]) -> None:
    facts = blend(WORKS[3], WORKS, BlendSettings.of(**settings, shrinkage=0), CPU).facts
    assert [one["role"] for one in facts["works"]][:2] == ["style", "style2"]
    best = facts["works"][3]
    assert best["weight"] == 1
    assert best["alone"] == pytest.approx(0, abs=1e-4)
    assert best["without"] > 0
    assert facts["distance"] == pytest.approx(0, abs=1e-4)
    assert facts["distance_of_mean"] > 0.01

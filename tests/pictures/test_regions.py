"""Regions: masks and segmentations, feathering, overlaps, and masks at layers."""

from __future__ import annotations

import io

import pytest
import torch
from PIL import Image
from torch import Tensor

from impasto.encoders.vgg import VGG, Configuration
from impasto.errors import UsageError
from impasto.pictures.files import read_picture
from impasto.pictures.picture import Picture
from impasto.pictures.regions import (
    LEFT_BY_EROSION,
    at_layers,
    feathered,
    mask_of,
    segments,
    without_overlap,
)

ENCODER = VGG(Configuration("tiny", (3, 3, 3, 3, 3)))
DEEP = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")


def picture(colours: Tensor, **fields: object) -> Picture:
    """From `(H, W, 3)`, 0..255."""
    return Picture(colours.permute(2, 0, 1)[None].float() / 255, name="map.png", **fields)


def flag(height: int = 60, width: int = 90) -> Tensor:
    """Three vertical stripes: green, blue, and one in no special colour."""
    colours = torch.zeros(height, width, 3)
    colours[:, : width // 2] = torch.tensor([0, 255, 0])
    colours[:, width // 2 : width * 5 // 6] = torch.tensor([0, 0, 255])
    colours[:, width * 5 // 6 :] = torch.tensor([200, 60, 17])
    return colours


def half(height: int = 256, width: int = 256) -> Tensor:
    """The left half."""
    mask = torch.zeros(1, 1, height, width)
    mask[..., : width // 2] = 1
    return mask


# Masks


def test_a_mask_is_how_white_a_picture_is() -> None:
    grey = Picture(torch.tensor([0.0, 0.25, 1.0]).expand(1, 3, 1, 3))
    assert mask_of(grey).flatten().tolist() == [0, 0.25, 1]
    assert mask_of(grey, inverted=True).flatten().tolist() == [1, 0.75, 0]


@pytest.mark.parametrize("inverted", [False, True])
def test_where_a_mask_is_transparent_it_does_not_act(inverted: bool) -> None:
    alpha = torch.tensor([1.0, 0.5, 0.0]).view(1, 1, 1, 3)
    seen = mask_of(Picture(torch.full((1, 3, 1, 3), 0.25), alpha), inverted)
    assert torch.allclose(seen.flatten(), torch.tensor([1.0, 0.5, 0.0]) * (0.75 if inverted else 0.25))


def test_a_black_mask_is_one_sentence() -> None:
    with pytest.raises(UsageError, match=r"map\.png: the mask is black everywhere: paint white"):
        mask_of(picture(torch.zeros(4, 4, 3)))
    with pytest.raises(UsageError, match=r"map\.png: the mask is white everywhere and turned round"):
        mask_of(picture(torch.full((4, 4, 3), 255)), inverted=True)
    with pytest.raises(UsageError, match=r"nearly black everywhere: paint white .*, or give labels as --segmentation"):
        mask_of(picture(torch.tensor([0, 1, 2]).view(1, 3, 1).expand(4, 3, 3)))


# Segmentations


def test_each_colour_is_a_segment_the_largest_first() -> None:
    found = segments(picture(flag()))
    assert [(one.name, one.colour) for one in found] == [
        ("green", (0, 255, 0)),
        ("blue", (0, 0, 255)),
        ("#c83c11", (200, 60, 17)),
    ]
    assert [round(one.share, 4) for one in found] == [0.5, 0.3333, 0.1667]
    assert torch.equal(found[0].mask, half(60, 90).bool())
    assert all(bool(one.mask.any()) for one in found)
    assert torch.equal(sum(one.mask.int() for one in found), torch.ones(1, 1, 60, 90, dtype=torch.int32))


def test_a_compressed_map_has_the_same_segments() -> None:
    packed = io.BytesIO()
    image = Image.fromarray(flag(240, 360).byte().numpy()).resize((350, 230), Image.Resampling.BICUBIC)
    image.save(packed, "JPEG", quality=85)
    found = segments(read_picture(Image.open(packed)))
    assert [round(one.share, 2) for one in found] == [0.5, 0.33, 0.17]
    assert found[0].counterpart(segments(picture(flag())), found).colour == tuple(flag()[0, 0].int().tolist())


@pytest.mark.parametrize("step", [1, 30])
def test_labels_are_segments_however_alike(step: int) -> None:
    labels = torch.arange(3).repeat_interleave(20).view(1, 60, 1).expand(40, 60, 3)
    found = segments(picture(labels * step))
    assert {one.colour[0]: round(one.share, 3) for one in found} == {0: 0.333, step: 0.333, 2 * step: 0.333}
    assert found[0].name == "black"
    assert len({one.name for one in found}) == 3


def test_a_label_that_is_missing_has_no_counterpart() -> None:
    own = segments(picture(torch.arange(3).repeat_interleave(20).view(1, 60, 1).expand(40, 60, 3)))
    others = [one for one in own if one.colour[0] != 1]
    assert [one.colour[0] for one in own if one.counterpart(others, own) is one] == [0, 2]
    assert [one.colour[0] for one in own if one.counterpart(others, own) is None] == [1]


@pytest.mark.parametrize("quality", [50, 75, 90])
def test_what_compression_leaves_at_an_edge_is_no_segment(quality: int) -> None:
    colours = torch.zeros(160, 240, 3)
    colours[:83] = torch.tensor([0, 0, 255])
    colours[83:] = torch.tensor([0, 255, 0])
    packed = io.BytesIO()
    Image.fromarray(colours.byte().numpy()).save(packed, "JPEG", quality=quality)
    assert len(segments(read_picture(Image.open(packed)))) == 2


def test_soft_edges_are_no_segments() -> None:
    soft = torch.nn.functional.avg_pool2d(flag(240, 360).permute(2, 0, 1)[None], 7, 1, 3, count_include_pad=False)
    assert len(segments(Picture(soft / 255))) == 3


def test_transparent_parts_belong_to_no_segment() -> None:
    alpha = torch.ones(1, 1, 60, 90)
    alpha[..., 60:] = 0
    found = segments(picture(flag(), alpha=alpha))
    assert [one.name for one in found] == ["green", "blue"]
    assert found[1].share == pytest.approx(15 / 90)


def test_a_photograph_is_no_segmentation() -> None:
    noise = torch.randint(0, 256, (64, 64, 3), generator=torch.Generator().manual_seed(0))
    with pytest.raises(UsageError, match=r"map\.png: has \d+ colours and few even parts, so it is no segmentation"):
        segments(picture(noise))


def test_too_many_colours_are_no_segmentation() -> None:
    steps = torch.tensor([0, 85, 170, 255])
    colours = torch.cartesian_prod(steps, steps, steps).repeat_interleave(64, 0).view(64, 64, 3)
    with pytest.raises(UsageError, match="has 64 colours and too many even parts"):
        segments(picture(colours))


def test_one_pixel_is_one_segment() -> None:
    assert [one.name for one in segments(picture(torch.zeros(1, 1, 3)))] == ["black"]


# Feathering and overlaps


def test_overlapping_masks_share() -> None:
    first, second = torch.tensor([1.0, 1.0, 0.25]).view(1, 1, 1, 3), torch.tensor([0.0, 1.0, 0.25]).view(1, 1, 1, 3)
    a, b = without_overlap([first, second])
    assert a.flatten().tolist() == [1, 0.5, 0.25]
    assert b.flatten().tolist() == [0, 0.5, 0.25]


def test_feathering_softens_an_edge_symmetrically() -> None:
    soft = feathered(half(40, 60), 4)[0, 0, 20]
    assert torch.allclose(soft + soft.flip(0), torch.ones(60), atol=1e-5)
    assert (soft.diff() <= 1e-6).all()
    assert soft[:10].min() > 0.99
    crossing = float(soft[30 - 4])  # one standard deviation inside: Φ(1), half a pixel off
    assert crossing == pytest.approx(0.81, abs=0.03)


def test_no_feather_changes_nothing() -> None:
    assert torch.equal(feathered(half(), 0), half())


# At layers


def test_simple_guidance_is_the_mean_of_the_area() -> None:
    mask = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    found = at_layers(mask, ENCODER, DEEP, "simple")
    assert torch.allclose(found["relu3_1"], torch.nn.functional.avg_pool2d(mask, 4), atol=1e-6)
    assert found["relu5_1"].shape == (1, 1, 4, 4)


def test_inside_is_within_simple_is_within_all() -> None:
    inside, simple, everything = (at_layers(half(), ENCODER, DEEP, one) for one in ("inside", "simple", "all"))
    for layer in DEEP[1:]:
        assert inside[layer].sum() < simple[layer].sum() < everything[layer].sum()
        assert (inside[layer] <= simple[layer]).all()
        assert (simple[layer] <= everything[layer]).all()


def test_inside_keeps_away_from_the_edge_by_the_receptive_field_and_not_from_the_picture_s_border() -> None:
    found = at_layers(half(), ENCODER, ["relu4_1"], "inside")["relu4_1"]
    reach = (ENCODER.geometry["relu4_1"].receptive_field - 8) / 2 / 8  # positions
    columns = found[0, 0, 0]
    assert columns.sum() == pytest.approx(16 - reach, abs=1)
    assert columns[0] == 1
    assert found[0, 0, :, 0].min() == 1


@pytest.mark.parametrize("layer", DEEP)
def test_every_pixel_belongs_to_a_region_in_the_first_layer(layer: str) -> None:
    """Otherwise the edge between two regions stays as it was: a halo."""
    both = [at_layers(mask, ENCODER, [layer], "inside")[layer] for mask in (half(), 1 - half())]
    covered = (both[0] + both[1]).mean()
    assert covered == 1 if layer == "relu1_1" else covered < 1


@pytest.mark.parametrize("side", [3, 8, 20])
def test_small_regions_do_not_vanish_inside(side: int) -> None:
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., 100 : 100 + side, 100 : 100 + side] = 1
    simple, inside = (at_layers(mask, ENCODER, DEEP, one) for one in ("simple", "inside"))
    for layer in DEEP:
        assert inside[layer].sum() >= LEFT_BY_EROSION * simple[layer].sum() > 0


def test_a_mask_in_colours_is_refused_and_a_tint_is_not() -> None:
    mask = torch.ones(1, 3, 32, 32)
    mask[:, 0] = 0.9
    assert mask_of(Picture(mask)).shape == (1, 1, 32, 32)
    mask[:, 0, :, :4] = 0.2
    with pytest.raises(UsageError, match=r"^sea.jpg: is in colours, and a mask is grey, white where it acts"):
        mask_of(Picture(mask, name="sea.jpg"))

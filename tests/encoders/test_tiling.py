"""Tiles: their cores cover the picture once, and their features are those of the whole."""

from __future__ import annotations

from copy import deepcopy
from itertools import product

import pytest
import torch

from impasto.encoders.tiling import activations_of_tile, halo_of, tiles, times_the_work
from impasto.encoders.vgg import VGG, Padding
from impasto.errors import UsageError

LAYERS = ("relu1_1", "relu2_2", "relu3_1", "relu4_1", "relu5_1")


@pytest.mark.parametrize(
    ("padding", "height", "width", "core"),
    [
        *product(("replicate", "reflect", "zeros"), [203], [330], [96]),
        ("replicate", 160, 97, 16),
        ("replicate", 64, 64, 1000),
        ("circular", 192, 320, 96),
        ("circular", 64, 48, 16),  # halos go around more than once
        ("circular-x", 203, 320, 96),
        ("circular-y", 192, 330, 96),
        ("circular", 320, 96, 96),  # one tile across
    ],
)
def test_cores_have_the_features_of_the_whole(
    lively_encoder: VGG, padding: Padding, height: int, width: int, core: int
) -> None:
    encoder = deepcopy(lively_encoder).with_padding(padding).double()
    picture = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)).double()
    whole = encoder(picture, LAYERS)
    rebuilt = {layer: torch.full_like(values, torch.nan) for layer, values in whole.items()}
    for tile in tiles(encoder, LAYERS, height, width, core):
        features = encoder(tile.of(picture), LAYERS)
        for layer in LAYERS:
            place = rebuilt[layer][..., *tile.place(layer)]
            assert place.isnan().all()  # nothing is covered twice
            place.copy_(features[layer][..., *tile.core_of(layer)])
    for layer in LAYERS:
        torch.testing.assert_close(rebuilt[layer], whole[layer], rtol=0, atol=1e-12)


def test_cores_cover_every_pixel_once(lively_encoder: VGG) -> None:
    covered = torch.zeros(203, 330)
    for tile in tiles(lively_encoder, LAYERS, 203, 330, 96):
        covered[slice(*tile.core_rows), slice(*tile.core_columns)] += 1
    assert (covered == 1).all()


def test_tiles_are_of_one_size_but_the_last_and_no_larger_than_asked(lively_encoder: VGG) -> None:
    spans = {tile.rows for tile in tiles(lively_encoder, LAYERS, 1500, 100, 256)}
    lengths = [end - start for start, end in sorted(spans)]
    assert len(lengths) == 6
    assert set(lengths[:-1]) == {224 + 2 * 80}  # the least that is enough for 6, in whole strides
    assert 2 * 80 < lengths[-1] <= 224 + 2 * 80


def test_where_the_picture_ends_a_core_is_as_much_longer_as_there_is_no_halo(lively_encoder: VGG) -> None:
    first, *inner, last = sorted({tile.core_rows for tile in tiles(lively_encoder, LAYERS, 1500, 100, 256)})
    assert first == (0, 224 + 80)
    assert {end - start for start, end in inner} == {224}
    assert last[1] == 1500


def test_what_continues_on_the_other_side_has_tiles_of_one_size_too(lively_encoder: VGG) -> None:
    encoder = lively_encoder.with_padding("circular-y")
    found = sorted({(tile.core_rows, tile.rows) for tile in tiles(encoder, LAYERS, 768, 100, 256)})
    assert found == [((0, 256), (-80, 336)), ((256, 512), (176, 592)), ((512, 768), (432, 848))]


@pytest.mark.parametrize(("height", "width", "core"), [(1500, 1500, 224), (1500, 300, 224), (2000, 90, 240)])
def test_what_is_computed_for_the_largest_tile_is_known_before(
    lively_encoder: VGG, height: int, width: int, core: int
) -> None:
    areas = [
        (tile.rows[1] - tile.rows[0]) * (tile.columns[1] - tile.columns[0])
        for tile in tiles(lively_encoder, LAYERS, height, width, core)
    ]
    expected = activations_of_tile(lively_encoder, LAYERS, height, width, core) / lively_encoder.activations(LAYERS)
    assert len(areas) > 1
    assert max(areas) == expected


def test_the_halo_is_half_the_receptive_field_in_whole_strides(lively_encoder: VGG) -> None:
    assert halo_of(lively_encoder, ["relu5_1"]) == 80
    assert halo_of(lively_encoder, ["relu1_1"]) == 1
    assert halo_of(lively_encoder, []) == 1


def test_the_work_in_tiles_counts_halos_and_a_second_look(lively_encoder: VGG) -> None:
    def times(width: int) -> float:
        return times_the_work(lively_encoder, LAYERS, tiles(lively_encoder, LAYERS, 512, width, width))

    assert times(512) == 1
    assert times(256) == 1.5 * (256 + 80) / 256


def test_what_tiles_would_get_wrong_is_refused(lively_encoder: VGG) -> None:
    encoder = lively_encoder.with_padding("none")
    assert len(tiles(encoder, LAYERS, 128, 128, 128)) == 1
    with pytest.raises(UsageError, match="an encoder without padding cannot work in tiles"):
        tiles(encoder, LAYERS, 512, 128, 128)
    encoder = lively_encoder.with_padding("circular-x")
    assert len(tiles(encoder, LAYERS, 378, 128, 128)) == 2
    with pytest.raises(UsageError, match="378×128: seamless tiles need sides that are multiples of 16"):
        tiles(encoder, LAYERS, 128, 378, 128)


def test_what_a_tile_takes_of_a_picture_it_gives_back(lively_encoder: VGG) -> None:
    """Adding is the transpose of cutting out, around the sides too."""
    encoder = lively_encoder.with_padding("circular")
    picture = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    for tile in tiles(encoder, LAYERS, 64, 96, 32):
        part = tile.of(picture)
        upstream = torch.rand(part.shape, generator=torch.Generator().manual_seed(1)).double()
        (expected,) = torch.autograd.grad(part, picture, upstream)
        whole = torch.zeros_like(picture)
        tile.add(upstream, whole)
        torch.testing.assert_close(whole, expected)

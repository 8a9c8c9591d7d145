"""Automatic maps: what is alike in several pictures, found and written to be mended."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import impasto as package
from impasto.encoders import load_encoder
from impasto.errors import UsageError
from impasto.methods import clusters
from impasto.methods.clusters import joint_maps
from impasto.pictures.files import read_picture
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize
from mapped import painted
from studio import Command, paint


def test_automatic_maps_find_what_is_alike() -> None:
    """Two pictures of a smooth and a rough half, in other colours and the other way round."""
    rough = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    smooth = torch.linspace(0.4, 0.6, 128)[:, None].expand(1, 3, 128, 128)
    first = torch.cat((rough[..., :64], smooth[..., 64:]), -1)
    second = torch.cat((smooth[..., 64:], rough[..., :64]), -1) * torch.tensor([0.4, 0.3, 0.2]).view(1, 3, 1, 1)
    own, theirs = joint_maps(load_encoder("lite"), [Picture(first), Picture(second)], 2)

    def colour(one: Picture, column: int) -> list[float]:
        return one.pixels[0, :, 64, column].tolist()  # type: ignore[no-any-return]

    assert colour(own, 24) == colour(theirs, 104) != colour(own, 104) == colour(theirs, 24)
    edge = (own.pixels[0, :, 20:108] != own.pixels[0, :, 20:108, :1]).any(0).float().argmax(1)
    assert abs(float(edge.float().mean()) - 64) < 8


def test_a_darker_picture_of_the_same_has_the_same_map() -> None:
    lighthouse = read_picture(Path(__file__).parents[2] / "examples" / "lighthouse.jpg")
    bright = resize(lighthouse.pixels, 192, 128)
    own, theirs = joint_maps(load_encoder("lite"), [Picture(bright), Picture(0.2 * bright + 0.1)], 4)
    assert float((own.pixels == theirs.pixels).all(1).float().mean()) > 0.95


def test_what_one_of_the_pictures_lacks_is_no_part() -> None:
    """Ten points of one picture and twenty of another, near to one of three centres each."""
    nearest = [*[0] * 5, *[1] * 5, *[0] * 10, *[2] * 10]
    distances = 1.0 - np.eye(3)[nearest]
    assert clusters._frequent(distances, [10, 20]).shape == (30, 2)
    nearest[9], nearest[19] = 2, 1
    assert clusters._frequent(1.0 - np.eye(3)[nearest], [10, 20]).shape == (30, 3)


def test_automatic_maps_have_as_many_parts_as_asked_for_and_none_is_rare() -> None:
    pictures = [painted(seed, 96, 128) for seed in (0, 1)]
    for count in (2, 4):
        maps = joint_maps(load_encoder("lite"), pictures, count)
        colours = [one.pixels[0].flatten(1).T.unique(dim=0) for one in maps]  # type: ignore[no-untyped-call]
        assert all(2 <= len(own) <= count for own in colours)
        assert maps[0].pixels.shape == (1, 3, 96, 128)
    again = joint_maps(load_encoder("lite"), pictures, 4)
    assert all(torch.equal(one.pixels, other.pixels) for one, other in zip(maps, again, strict=True))


def test_borders_of_automatic_maps_follow_the_edges_of_the_picture() -> None:
    """Of a dark disc, when the shares of parts are those of 8 × 8 squares."""
    rows, columns = torch.meshgrid(torch.arange(128), torch.arange(128), indexing="ij")
    disc = (rows - 66) ** 2 + (columns - 62) ** 2 < 40**2
    grain = 0.02 * torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    share = resize(disc.float()[None, None], 8, 8)[0]
    found = clusters._map(Picture(0.6 - 0.4 * disc + grain), torch.cat((share, 1 - share)))
    inside = (found.pixels[0] == clusters.COLOURS[0][:, None, None] / 255).all(0)
    assert float((inside != disc).float().mean()) < 0.002


@pytest.mark.parametrize(
    ("count", "parts", "seed", "sentence"),
    [
        (0, None, 0, "maps takes one or more pictures, none was given"),
        (2, 1, 0, "parts 1: must be a whole number of 2 to 8"),
        (2, 99, 0, "parts 99: must be a whole number of 2 to 8"),
        (2, 2.5, 0, "parts 2.5: must be a whole number of 2 to 8"),
        (2, None, -1, "seed -1: must be a whole number, 0 or more"),
    ],
)
def test_one_sentence_for_impossible_maps(count: int, parts: Any, seed: int, sentence: str) -> None:
    for call in (partial(joint_maps, load_encoder("lite")), partial(package.maps, encoder="nowhere.safetensors")):
        with pytest.raises(UsageError) as error:
            call([painted(0)] * count, parts, seed=seed)
        assert str(error.value) == sentence


def test_every_seed_of_the_settings_is_one_of_maps() -> None:
    [found] = package.maps(painted(0, 96, 128), 2, seed=2**63 - 1)
    assert found.pixels.shape == (1, 3, 96, 128)


def test_maps_are_written_to_be_mended(studio: Path, impasto: Command) -> None:
    paint(studio / "photo.jpg", 160, 120)
    paint(studio / "art.jpg", 128, 160, seed=1)
    shown = impasto("maps", "photo.jpg", "art.jpg", "--parts", "3")
    assert shown.code == 0
    assert shown.out.split() == ["photo.map.png", "art.map.png", "photo.maps.jpg"]
    assert read_picture("photo.map.png").width == 160
    shown = impasto("maps", "photo.jpg", "art.jpg")
    assert (shown.code, shown.last_line.partition(":")[0]) == (2, "photo.map.png")
    assert "--force" in shown.last_line
    assert impasto("maps", "photo.jpg", "art.jpg", "--force").code == 0
    assert impasto("maps").last_line == "maps takes one or more pictures, none was given"
    shown = impasto("maps", "photo.jpg", "--parts", "9")
    assert (shown.code, shown.last_line) == (2, "parts 9: must be a whole number of 2 to 8")
    shown = impasto("maps", "photo.jpg", "--seed", "-1", "--encoder", "nowhere.safetensors")
    assert (shown.code, shown.last_line) == (2, "seed -1: must be a whole number, 0 or more")
    shown = impasto("maps", "photo.jpg", "-o", "map.png")
    assert (shown.code, shown.last_line.partition(":")[0]) == (2, "map.png")
    assert "is no folder, and maps go into one" in shown.last_line

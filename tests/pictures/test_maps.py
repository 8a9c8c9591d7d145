"""Maps: any channels, black, grey and white apart, labels matched or told of, photographs refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.testing import assert_close

from impasto.errors import PictureError, UsageError
from impasto.pictures.files import read_picture
from impasto.pictures.map_files import read_map
from impasto.pictures.maps import EVERYWHERE, Maps, labels_at, on_a_sphere, understood
from impasto.pictures.picture import Picture

RED, GREEN, BLUE, BLACK, GREY, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (128,) * 3, (255,) * 3
Colour = tuple[int, ...]


def stripes(*colours: Colour, height: int = 32, each: int = 16, name: str = "map.png") -> Picture:
    """Vertical stripes of equal width."""
    row = torch.tensor([colour for colour in colours for _ in range(each)]).float() / 255
    return Picture(row.T[None, :, None].expand(1, 3, height, -1).contiguous(), name=name)


def said(*pictures: Picture, **options: Any) -> Maps:
    return understood(pictures[0], pictures[1:], **options)


def alike(maps: Maps) -> Tensor:
    """Which stripe of the style is nearest to each of the content's, one number each."""
    own, theirs = (one[0, :, 0, 8::16].T for one in (maps.content, maps.styles[0]))
    return (own @ theirs.T).argmax(1)


def gaps(maps: Maps) -> list[tuple[str, int | None]]:
    return [(one.part.name, one.number) for one in maps.gaps]


def test_all_vectors_have_length_1_and_products_fall_with_the_distance() -> None:
    maps = [torch.rand(1, 3, 4, 5), torch.rand(1, 3, 6, 2)]
    for one in on_a_sphere(maps):
        assert_close(one.square().sum(1), torch.ones_like(one[:, 0]))
    ramp = torch.linspace(0, 1, 20)[None, None, None] * torch.tensor([1.0, 0.7, 0.2])[None, :, None, None]
    vectors = on_a_sphere([ramp, maps[0]])[0][0, :, 0]
    for end in (0, -1):
        steps = (vectors.T @ vectors[:, end]).diff()
        assert (steps < 0).all() if end == 0 else (steps > 0).all()


def test_black_grey_and_white_differ() -> None:
    maps = said(stripes(BLACK, GREY, WHITE), stripes(WHITE, BLACK, GREY))
    assert alike(maps).tolist() == [1, 2, 0]
    assert maps.content.isfinite().all()


def test_a_blended_colour_is_most_like_its_ingredients() -> None:
    maps = said(stripes((255, 200, 0), BLUE), stripes(BLUE, RED, GREEN))
    assert gaps(maps) == [("#ffc800", None)]
    assert alike(maps).tolist() == [1, 0]


def test_labels_are_numbers_of_equal_colours() -> None:
    maps = said(stripes(RED, GREEN, BLUE), stripes(BLUE, RED, GREEN))
    assert maps.labels is not None
    own, theirs = (one[0, 0, 0, 8::16].tolist() for one in (maps.labels, maps.style_labels[0]))
    assert theirs == [own[2], own[0], own[1]]
    assert len({*own}) == 3


def test_small_numbers_are_labels_that_are_equal_or_not() -> None:
    maps = said(stripes((0,) * 3, (1,) * 3, (2,) * 3), stripes((2,) * 3, (0,) * 3, (1,) * 3))
    own, theirs = (one[0, :, 0, 8::16].T for one in (maps.content, maps.styles[0]))
    products = own @ theirs.T
    assert products.argmax(1).tolist() == [1, 2, 0]
    others = products[~torch.eye(3, dtype=torch.bool)[[1, 2, 0]]]
    assert float(others.max() - others.min()) == pytest.approx(0, abs=1e-6)


def test_other_names_are_matched_as_told() -> None:
    maps = said(stripes(RED, GREEN), stripes(BLUE, WHITE), match={"red": "white", "green": "blue"})
    assert alike(maps).tolist() == [1, 0]
    with pytest.raises(UsageError, match=r"match: map.png has no rad \(did you mean red\?\); there are .*green"):
        said(stripes(RED, GREEN), stripes(BLUE, WHITE), match={"rad": "white"})
    with pytest.raises(UsageError, match=r"match: no map of a style has yellow; there are"):
        said(stripes(RED, GREEN), stripes(BLUE, WHITE), match={"red": "yellow"})


def test_two_labels_may_be_made_of_one() -> None:
    maps = said(stripes(RED, GREEN, BLUE), stripes(BLUE, RED), match={"green": "red"})
    assert maps.labels is not None
    own, theirs = (one[0, 0, 0, 8::16].tolist() for one in (maps.labels, maps.style_labels[0]))
    assert own[0] == own[1] == theirs[1]
    assert own[2] == theirs[0]


def test_a_label_on_one_side_only_is_told() -> None:
    maps = said(stripes(RED, GREEN), stripes(RED, BLUE))
    assert gaps(maps) == [("green", None)]
    assert maps.labels is not None
    assert maps.labels[0, 0, 0, 8::16].tolist() == [maps.style_labels[0][0, 0, 0, 8], EVERYWHERE]


def test_a_related_colour_is_no_gap() -> None:
    maps = said(stripes((255, 80, 0), BLUE), stripes(RED, BLUE))
    assert gaps(maps) == []
    assert alike(maps).tolist() == [0, 1]


def test_several_styles_need_not_have_the_same_labels() -> None:
    maps = said(stripes(RED, GREEN), stripes(GREEN, GREEN), stripes(RED, BLUE))
    assert gaps(maps) == [("blue", 1)]
    assert maps.labels is not None
    assert EVERYWHERE not in maps.labels


def test_a_photograph_is_no_map() -> None:
    photograph = Picture(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)), name="sea.jpg")
    with pytest.raises(UsageError, match=r"sea.jpg: has \d,\d+ colours and no even parts, so it is a photograph"):
        said(photograph, stripes(RED, GREEN))
    assert said(photograph, stripes(RED, GREEN), kind="colours").labels is None


def test_soft_maps_have_no_labels() -> None:
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 32, 64)
    maps = said(Picture(ramp), Picture(ramp.flip(-1)))
    assert maps.labels is None
    assert_close(maps.content, maps.styles[0].flip(-1))


def test_other_numbers_of_channels_are_refused() -> None:
    with pytest.raises(UsageError, match=r"map.png has 3 channels, b.npy has 7 channels: all need the same"):
        said(stripes(RED), Picture(torch.rand(1, 7, 32, 16), name="b.npy"))


def test_transparency_is_a_channel() -> None:
    half = torch.ones(1, 1, 32, 32)
    half[..., 16:] = 0
    one = Picture(stripes(WHITE, WHITE).pixels, half)
    maps = said(one, Picture(one.pixels, half.flip(-1)), kind="colours")
    assert alike(maps).tolist() == [1, 0]


def test_the_label_of_an_area_is_that_of_most_of_it() -> None:
    labels = torch.tensor([[0, 0, 0, 7], [0, 7, 7, 7]])[None, None]
    assert labels_at(labels, 1, 2).tolist() == [[0, 7]]


def test_embeddings_are_read_as_they_are(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(0, 10, (6, 8, 5)).astype(np.float64)
    np.save(tmp_path / "a.npy", values)
    for found in (read_map(tmp_path / "a.npy"), read_map(values)):
        assert_close(found.pixels[0].permute(1, 2, 0), torch.from_numpy(values).float())
    assert read_map(tmp_path / "a.npy").sha256
    np.save(tmp_path / "b.npy", values[..., 0])
    assert read_map(tmp_path / "b.npy").pixels.shape == (1, 1, 6, 8)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.full((4, 4, 2), np.nan), "map.npy: has numbers that are not finite at 16 positions: fill them in"),
        (np.zeros((4,)), "map.npy: has the shape 4, and a map is height × width × channels"),
        (np.zeros((0, 4, 2)), "map.npy: has the shape 0×4×2"),
        (np.zeros((2, 2, 600)), "map.npy: has the shape 2×2×600"),
        (np.array([["a", "b"]]), "map.npy: holds text, and a map is made of numbers"),
        (np.zeros((9, 9, 2)), "map.npy: has more than 80 pixels"),
        (np.array([[np.nan]]), "map.npy: has numbers that are not finite at 1 position: fill them in"),
        (np.array([[{}]], object), "map.npy: holds Python objects, which are not read: save plain numbers"),
    ],
)
def test_one_sentence_for_an_array_that_is_no_map(tmp_path: Path, array: Any, sentence: str) -> None:
    np.save(tmp_path / "map.npy", array, allow_pickle=True)
    with pytest.raises(PictureError) as error:
        read_map(tmp_path / "map.npy", max_pixels=80)
    assert str(error.value).startswith(sentence)


def test_one_sentence_for_a_file_that_is_no_array(tmp_path: Path) -> None:
    np.save(tmp_path / "map.npy", np.zeros((4, 4)))
    whole = (tmp_path / "map.npy").read_bytes()
    for data, sentence in (
        (b"", "map.npy: is empty"),
        (b"hello", "map.npy: is damaged, or no array of numbers"),
        (whole[:60], "map.npy: is damaged, or no array of numbers"),
        (whole[:-5], "map.npy: is damaged, or no array of numbers"),
    ):
        (tmp_path / "map.npy").write_bytes(data)
        with pytest.raises(PictureError, match=sentence):
            read_map(tmp_path / "map.npy")
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(PictureError, match=r"folder.npy: is a folder"):
        read_map(tmp_path / "folder.npy")
    with pytest.raises(PictureError, match=r"none.npy: no such file"):
        read_map(tmp_path / "none.npy")
    np.savez(tmp_path / "several.npz", a=np.zeros(3))
    (tmp_path / "several.npz").rename(tmp_path / "several.npy")
    with pytest.raises(PictureError, match=r"several.npy: holds several arrays"):
        read_map(tmp_path / "several.npy")


def test_palettes_and_numbers_of_16_bits_are_maps(tmp_path: Path) -> None:
    labels = np.zeros((32, 48), np.uint8)
    labels[:, 16:32], labels[:, 32:] = 1, 2
    palette = Image.fromarray(labels, "P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.save(tmp_path / "palette.png")
    Image.fromarray(labels.astype(np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(labels).save(tmp_path / "grey.png")
    maps = said(read_map(tmp_path / "palette.png"), stripes(BLUE, RED, GREEN))
    assert alike(maps).tolist() == [1, 2, 0]
    deep = said(read_map(tmp_path / "deep.png"), read_map(tmp_path / "grey.png"))
    assert alike(deep).tolist() == [0, 1, 2]
    assert read_picture(tmp_path / "deep.png").pixels.max() < 1e-3


def test_labels_are_matched_by_their_numbers_in_files_with_a_palette(tmp_path: Path) -> None:
    """Not by what their colours would be as grey, nor by numbers of parts that are not there."""
    numbers = np.zeros((32, 48), np.uint8)
    numbers[:, 24:] = 2
    for name, other in (("own.png", numbers), ("theirs.png", numbers[:, ::-1] + 1)):
        image = Image.fromarray(np.ascontiguousarray(other), "P")
        image.putpalette([2, 2, 2, 0, 255, 0, 1, 1, 1, 0, 0, 255])
        image.save(tmp_path / name)
    own, theirs = (read_map(tmp_path / name) for name in ("own.png", "theirs.png"))
    maps = said(own, theirs, match={"0": "3", "2": "1"})
    assert maps.labels is not None
    assert_close(maps.labels, maps.style_labels[0])
    with pytest.raises(UsageError, match=r"^match: own.png has no 1; there are "):
        said(own, theirs, match={"1": "3"})


def test_labels_are_matched_by_colours_in_other_words_and_by_numbers() -> None:
    plain = said(stripes(BLUE, RED), stripes(GREEN, WHITE), match={"blue": "white"})
    other = said(stripes(BLUE, RED), stripes(GREEN, WHITE), match={"#0000ff": "#ffffff"})
    assert_close(other.style_labels[0], plain.style_labels[0])
    ids = stripes((1,) * 3, (2,) * 3), stripes((3,) * 3, (2,) * 3)
    maps = said(*ids, match={"1": "3"})
    assert maps.labels is not None
    assert_close(maps.labels, maps.style_labels[0])
    with pytest.raises(UsageError, match=r"^match: map.png has no 7; there are "):
        said(*ids, match={"7": "3"})
    with pytest.raises(UsageError, match=r"^match: no map of a style has 9; there are "):
        said(*ids, match={"1": "9"})


@pytest.mark.parametrize("options", [{"match": {"red": "blue"}}, {"kind": "labels"}])
def test_arrays_have_no_labels_to_match(options: dict[str, Any]) -> None:
    numbers = Picture(torch.rand(1, 5, 8, 8), name="a.npy")
    with pytest.raises(UsageError, match=r"^a.npy: is an array of numbers, or soft masks, and has no labels"):
        said(numbers, numbers, **options)


def test_colours_of_what_is_not_seen_are_no_parts() -> None:
    """What reading puts in their place may be of any colours, and be more than what is seen."""
    picture = stripes(RED, GREEN, *[GREY] * 6)
    alpha = torch.ones(1, 1, 32, 128)
    alpha[..., 32:] = 0
    noise = torch.rand(1, 3, 32, 128, generator=torch.Generator().manual_seed(0))
    hidden = Picture(torch.where(alpha > 0, picture.pixels, noise), alpha=alpha, name="hidden.png")
    maps = said(hidden, stripes(RED, GREEN, *[GREY] * 6), kind="labels")
    assert maps.labels is not None
    assert set(maps.names) == {"red", "green"}
    assert (maps.labels[..., 32:] == EVERYWHERE).all()


def stack(*columns: tuple[int, ...], name: str, softness: float = 0.0) -> Picture:
    """A mask for each of the channels, white in those of eight columns that are named."""
    pixels = torch.full((1, len(columns), 16, 32), softness)
    for number, own in enumerate(columns):
        for column in own:
            pixels[:, number, :, 4 * column : 4 * column + 4] = 1 - softness
    return Picture(pixels, name=name)


def test_hard_masks_together_are_parts() -> None:
    own = stack((0, 1, 2), (2, 3), name="sky.png+sea.png")
    theirs = stack((4, 5, 6), (6, 7), name="heaven.png+water.png")
    maps = said(own, theirs)
    assert {*maps.names} == {"sky", "sea", "sky+sea", "nothing"}
    assert maps.labels is not None
    there = maps.style_labels[0]
    for column, like in ((0, 4), (2, 6), (3, 7), (4, 0)):
        assert int(maps.labels[0, 0, 0, 4 * column]) == int(there[0, 0, 0, 4 * like])
    told = said(own, theirs, match={"sky": "water"})
    assert told.labels is not None
    assert int(told.labels[0, 0, 0, 0]) == int(told.style_labels[0][0, 0, 0, 28])
    with pytest.raises(UsageError, match=r"no map of a style has sky; there are"):
        said(own, theirs, match={"sky": "sky"})


def test_soft_masks_together_are_none() -> None:
    soft = stack((0, 1), (2, 3), name="a.png+b.png", softness=0.2)
    assert said(soft, soft).labels is None


def test_channels_without_names_have_numbers() -> None:
    own, theirs = (stack((0, 1), (2, 3, 4), (), last, name="map.npy") for last in ((), (5,)))
    maps = said(own, theirs)
    assert {*maps.names} == {"1", "2", "nothing"}
    assert gaps(maps) == [("4", 0)]


def test_an_eye_is_a_part_and_an_edge_is_none() -> None:
    face = stripes(RED, GREEN, height=160, each=80)
    face.pixels[..., 80:88, 30:38] = torch.tensor(BLUE)[None, :, None, None] / 255  # 0.25 % of the picture
    face.pixels[..., :, 79] = 0.5  # an edge
    maps = said(face, face)
    assert {*maps.names} == {"red", "green", "blue"}
    assert maps.labels is not None
    assert int((maps.labels == maps.labels[0, 0, 84, 34]).sum()) == 64


def test_whole_numbers_of_an_array_are_labels(tmp_path: Path) -> None:
    labels = np.repeat([0, 3, 200], 16)[None].repeat(32, 0)
    np.save(tmp_path / "ids.npy", labels)
    Image.fromarray(labels.astype(np.uint8)[:, ::-1]).save(tmp_path / "ids.png")
    maps = said(read_map(tmp_path / "ids.npy"), read_map(tmp_path / "ids.png"))
    assert maps.labels is not None
    assert_close(maps.labels, maps.style_labels[0].flip(-1))
    np.save(tmp_path / "shares.npy", labels / 200)
    assert read_map(tmp_path / "shares.npy").pixels.shape[1] == 1
    np.save(tmp_path / "many.npy", labels * 2)
    assert read_map(tmp_path / "many.npy").pixels.shape[1] == 1


@pytest.mark.parametrize("channels", [6, 40])
def test_masks_that_make_no_parts_are_shades(channels: int) -> None:
    """Too many of them, one of each, or noise of which nothing is frequent or wide."""
    if channels == 40:
        columns = Picture(torch.eye(channels).repeat_interleave(4, 1)[None, :, None].expand(1, -1, 16, -1))
        assert said(columns, columns).labels is None
        return
    noise = (torch.rand(1, channels, 64, 64, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    assert said(Picture(noise), Picture(noise)).labels is None

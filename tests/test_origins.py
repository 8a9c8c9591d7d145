"""Where patches come from: numbers as they are, colours that say where, words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from impasto.errors import PictureError, UsageError
from impasto.origins import CORNERS, DARKEST, Origins, check_field
from impasto.pictures.files import read_picture
from impasto.pictures.picture import Picture

FACTS = {"relu3_1": {"usage": 0.834, "purity": 0.97}, "relu4_1": {"usage": 0.5, "purity": None}}
STYLE = Picture(torch.ones(1, 3, 60, 90), name="style.png")


def origins(*styles: Picture) -> Origins:
    """Patches of two rows and two columns: from the corners of the first style, the last one of the last style."""
    places = torch.tensor([[[0.0, 0, 0], [0, 0, 1]], [[0, 1, 0], [len(styles) - 1, 1, 1]]])
    return Origins("relu3_1", places, FACTS, styles)


def test_colours_say_where() -> None:
    pixels = origins(STYLE).picture().pixels[0].permute(1, 2, 0)
    assert pixels.shape == (512, 512 + 768, 3)
    for row, line in ((100, 0), (400, 1)):
        for column, side in ((100, 0), (400, 1)):
            assert_close(pixels[row, column], CORNERS[line, side])
    for row, line in ((0, 0), (-1, 1)):  # of the style that is shown, in the same colours
        for column, side in ((512, 0), (-1, 1)):
            assert_close(pixels[row, column], torch.ones(3).lerp(CORNERS[line, side], 0.6))


def test_later_styles_are_darker() -> None:
    pixels = origins(STYLE, STYLE).picture().pixels[0].permute(1, 2, 0)
    assert_close(pixels[400, 400], (1 - DARKEST) * CORNERS[1, 1])
    assert_close(pixels[100, 100], CORNERS[0, 0])


def test_numbers_and_pictures_are_written(tmp_path: Path) -> None:
    found = origins(STYLE)
    found.save(tmp_path / "a.npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), found.places.numpy())
    found.save(tmp_path / "a.png")
    assert_close(read_picture(tmp_path / "a.png").pixels, found.picture().pixels, atol=0.003, rtol=0)
    with pytest.raises(PictureError):
        found.save(tmp_path / "nowhere" / "a.npy")
    check_field(tmp_path / "a.npy")
    for refuse in (check_field, found.save):
        with pytest.raises(UsageError, match=r"a\.txt: cannot write \.txt; use \.png, .* or \.npy$"):
            refuse(tmp_path / "a.txt")
    with pytest.raises(PictureError, match=r"the folder .*nowhere does not exist"):
        check_field(tmp_path / "nowhere" / "a.npy")


def test_in_words() -> None:
    assert origins(STYLE).in_words() == "patches of relu3_1: usage 0.83 (1 is even), 97% from a part like their own"
    plain = Origins("relu4_1", torch.zeros(1, 1, 3), FACTS, [STYLE])
    assert plain.in_words() == "patches of relu4_1: usage 0.50 (1 is even)"

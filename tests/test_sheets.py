"""Contact sheets."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from impasto.sheets import CAPTION, contact_sheet


def cell(color: str, width: int = 60, height: int = 40) -> Image.Image:
    return Image.new("RGB", (width, height), color)


def test_pictures_lie_row_by_row_at_one_width() -> None:
    sheet = contact_sheet([("a", cell("red")), ("b", cell("lime", 30, 40)), ("c", cell("blue"))], columns=2, width=60)
    assert sheet.size == (120, (CAPTION + 80) + (CAPTION + 40))
    assert sheet.getpixel((10, CAPTION + 5)) == (255, 0, 0)
    assert sheet.getpixel((70, CAPTION + 75)) == (0, 255, 0)
    assert sheet.getpixel((10, CAPTION + 80 + CAPTION + 5)) == (0, 0, 255)
    assert contact_sheet([("a", cell("red"))], columns=1, width=60, captions=False).size == (60, 40)


@pytest.mark.parametrize("caption", ["a caption that is much longer than its picture is wide", "W" * 40])
def test_a_caption_stays_above_its_own_picture(caption: str) -> None:
    sheet = np.asarray(contact_sheet([(caption, cell("red")), ("", cell("blue"))], columns=2, width=60))
    assert (sheet[:CAPTION, :60] < 128).any()
    assert (sheet[:CAPTION, 60:] == 255).all()

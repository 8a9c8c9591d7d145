"""Contact sheets: pictures side by side, for looking at."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

CAPTION = 16
"""Height of a caption, in pixels."""


def contact_sheet(
    pictures: Sequence[tuple[str, Image.Image]], *, columns: int, width: int, captions: bool = True
) -> Image.Image:
    """A sheet of pictures `(caption, image)`, row by row, each `width` pixels wide."""
    above = CAPTION if captions else 0
    tiles = [(caption, picture.convert("RGB")) for caption, picture in pictures]
    tiles = [(c, p.resize((width, _height(p, width)), Image.Resampling.LANCZOS)) for c, p in tiles]
    rows = [tiles[i : i + columns] for i in range(0, len(tiles), columns)]
    heights = [max(picture.height for _, picture in row) + above for row in rows]
    sheet = Image.new("RGB", (columns * width, sum(heights)), "white")
    draw, font, top = ImageDraw.Draw(sheet), ImageFont.load_default(12), 0
    for row, height in zip(rows, heights, strict=True):
        for column, (caption, picture) in enumerate(row):
            sheet.paste(picture, (column * width, top + above))
            if captions:
                draw.text((column * width + 3, top + 1), caption, "black", font)
        top += height
    return sheet


def _height(picture: Image.Image, width: int) -> int:
    return max(1, round(picture.height * width / picture.width))

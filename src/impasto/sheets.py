"""Contact sheets: pictures side by side, for looking at."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

CAPTION = 16
"""Height of a caption, in pixels."""
MARGIN = 3


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
                draw.text((column * width + MARGIN, top + 1), _shortened(caption, width, font), "black", font)
        top += height
    return sheet


def _shortened(caption: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """As much of a caption as there is room for above a picture, so that it does not run into the next one."""
    shown = caption
    while len(shown) > 1 and font.getlength(shown) > width - 2 * MARGIN:
        shown = shown[:-2] + "…"
    return shown


def _height(picture: Image.Image, width: int) -> int:
    return max(1, round(picture.height * width / picture.width))

"""Pictures side by side with captions, for looking at.

python benchmarks/contact_sheet.py --columns 4 --width 400 --out sheet.jpg a.png b.png "caption=c.png"
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

CAPTION = 16


def contact_sheet(
    pictures: Sequence[tuple[str, Image.Image]], *, columns: int, width: int, captions: bool = True
) -> Image.Image:
    """A sheet of pictures `(caption, image)`, row by row, each `width` pixels wide."""
    above = CAPTION if captions else 0
    tiles = [(caption, picture.convert("RGB")) for caption, picture in pictures]
    tiles = [(c, p.resize((width, round(p.height * width / p.width)), Image.Resampling.LANCZOS)) for c, p in tiles]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pictures", nargs="+", help="files, or caption=file")
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--width", type=int, default=400, help="of each picture, in pixels")
    parser.add_argument("--quality", type=int, default=88)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    pictures = []
    for word in options.pictures:
        caption, _, path = word.rpartition("=")
        pictures.append((caption or Path(path).stem, Image.open(path)))
    sheet = contact_sheet(pictures, columns=options.columns, width=options.width)
    sheet.save(options.out, quality=options.quality)


if __name__ == "__main__":
    main()

"""Pictures side by side with captions, for looking at.

python benchmarks/contact_sheet.py --columns 4 --width 400 --out sheet.jpg a.png b.png "caption=c.png"
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from impasto.sheets import contact_sheet


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

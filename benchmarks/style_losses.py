"""Gram or Wasserstein? Both on every pair of the examples, judged by what neither was optimised for, and by eye.

    python benchmarks/style_losses.py --out benchmarks/results/style-losses

Style: sliced Wasserstein distance between the features of result and painting at layers that no loss reads. Colour:
the same of the pixels. Content: relative error at relu4_4. Noise: mean square Laplacian where the content is
flattest. All against the content itself, unpainted (style, colour), or as they are. Writes .json and a sheet .jpg.
"""

from __future__ import annotations

import argparse
import json
import statistics
from itertools import product
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

import impasto
from impasto.encoders import load_encoder
from impasto.pictures.files import read_picture
from impasto.pictures.resize import equal_area, resize
from impasto.sheets import contact_sheet
from measures import noise, sliced_wasserstein

EXAMPLES = Path(__file__).parents[1] / "examples"
CONTENTS = ("astronaut", "barn", "cat", "lighthouse", "parrots", "village")
STYLES = ("starry-night", "great-wave", "the-scream", "composition-vii", "udnie", "the-kiss", "wheat-field")
LOSSES = ("gram", "wasserstein")
UNREAD = ("relu2_2", "relu3_3", "relu4_3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    parser.add_argument("--size", type=int, default=256)
    options = parser.parse_args()
    judge = Judge()
    rows, tiles = [], []
    for content, style in product(CONTENTS, STYLES):
        paths = [EXAMPLES / f"{name}.jpg" for name in (content, style)]
        tiles += [(name, Image.open(path)) for name, path in zip((content, style), paths, strict=True)]
        row: dict[str, object] = {"content": content, "style": style}
        for loss in LOSSES:
            result = impasto.transfer(*paths, size=options.size, style_loss=loss)
            row[loss] = judge(result.tensor, *paths)
            tiles.append((loss, result.picture))
        rows.append(row)
        print(json.dumps(row), flush=True)
    summary = {
        measure: {
            **{loss: statistics.median(row[loss][measure] for row in rows) for loss in LOSSES},
            "gram is lower in": sum(row["gram"][measure] < row["wasserstein"][measure] for row in rows),
        }
        for measure in ("style", "colour", "content", "noise")
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    report = {"pairs": len(rows), "size": options.size, "medians": summary, "rows": rows}
    options.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n")
    contact_sheet(tiles, columns=8, width=240).save(options.out.with_suffix(".jpg"), quality=85)
    print(json.dumps(summary, indent=1))


class Judge:
    """Measures of a result against its content and style."""

    def __init__(self) -> None:
        self.encoder = load_encoder("lite")

    @torch.no_grad()
    def __call__(self, result: Tensor, content_path: Path, style_path: Path) -> dict[str, float]:
        result = result[None] if result.ndim == 3 else result
        height, width = result.shape[-2:]
        content = resize(read_picture(content_path).pixels, height, width)
        painting = read_picture(style_path).pixels
        style = resize(painting, *equal_area(*painting.shape[-2:], height * width))
        painted, photo, wanted = (self.encoder(x, (*UNREAD, "relu4_4")) for x in (result, content, style))
        far = [sliced_wasserstein(painted[n], wanted[n]) / sliced_wasserstein(photo[n], wanted[n]) for n in UNREAD]
        deep, before = painted["relu4_4"], photo["relu4_4"]
        return {
            "style": statistics.fmean(far),
            "colour": sliced_wasserstein(result, style) / sliced_wasserstein(content, style),
            "content": float((deep - before).square().sum() / before.square().sum()),
            "noise": noise(result, content),
        }


if __name__ == "__main__":
    main()

"""Blends of whole sets beside transfer with one work of the set and with the mean of all: sheets and numbers.

    python benchmarks/blends.py --sets SETS --photos PHOTO… --sheets FOLDER --out benchmarks/results/blends

SETS is a folder of folders of works. The one work is the one whose texture is nearest to the photograph's. Colours are
compared with the photograph's (`color_distance`), whatever their places; texture by how far the result's signature is
from the nearest mixture of the set's, in units of its own square, and the photograph's before. Of edges the share is
given that lies along the axes, to five degrees, by strength.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

import impasto
from impasto.encoders import load_encoder
from impasto.library.mixture import mix
from impasto.library.signature import Signature, signature
from impasto.pictures.files import to_pil
from impasto.pictures.folders import pictures_in
from impasto.pictures.picture import Picture
from impasto.pictures.resize import fit, resize
from impasto.sets import blend_job
from impasto.sheets import contact_sheet
from measures import color_distance, gradients

LAYERS = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
WAYS: dict[str, dict[str, Any]] = {"blend": {}, "mean": {"character": 1.0}}
OF_SETS: dict[str, dict[str, Any]] = {"pixel-art": {"pixel_art": True, "style_scale": 4.0}}
"""What a set is painted with, beside the defaults: pixels, seen as large as the photograph, would be none."""
AXIS = math.radians(5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sets", type=Path, required=True)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--sheets", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    parser.add_argument("--size", type=int, default=320)
    options = parser.parse_args()
    options.sheets.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for folder in sorted(one for one in options.sets.iterdir() if one.is_dir()):
        rows += of_set(folder, options.photos, options.size, options.sheets)
        options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
        options.out.with_suffix(".md").write_text(table(rows))
    overview(options.sheets, options.photos[:3]).save(options.sheets / "overview.jpg", quality=88)


def overview(sheets: Path, photos: Sequence[Path]) -> Image.Image:
    """Some photographs, each followed by its blends of all sets."""
    pictures: list[tuple[str, Image.Image]] = []
    for photo in photos:
        pictures.append((photo.name, Image.open(photo)))
        paintings = sorted(sheets.glob(f"*--{photo.stem}.png"))
        pictures += [(path.stem.partition("--")[0], Image.open(path)) for path in paintings]
    return contact_sheet(pictures, columns=6, width=150)


def of_set(folder: Path, photos: list[Path], size: int, sheets: Path) -> list[dict[str, Any]]:
    """Rows for a set, and a sheet of its pictures."""
    encoder, paths = load_encoder("lite"), pictures_in(folder)
    works = [signature(encoder, impasto.read_picture(path), LAYERS) for path in paths]
    rows, pictures, known = [], [], {}  # type: ignore[var-annotated]
    own = OF_SETS.get(folder.name, {})
    for photo in photos:
        content = impasto.read_picture(photo)
        small = Picture(resize(content.pixels, *fit(content.height, content.width, size)))
        pictures.append((photo.stem, to_pil(small)))
        rows.append({"set": folder.name, "photo": photo.stem, "way": "photograph", **measured(small, small, works)})
        for way, settings in WAYS.items():
            job = blend_job(photo, [folder], {"size": size, **own, **settings}, known=known)
            result = job.begin().run()
            if way == "blend":
                result.save(sheets / f"{folder.name}--{photo.stem}.png")
                numbers = result.record.facts["works"]
                nearest = paths[min(range(len(numbers)), key=lambda k: numbers[k]["alone"])]
                single = impasto.transfer(photo, nearest, size=size, **own)
                pictures.append((f"one: {nearest.stem}", single.picture))
                found = measured(single.painting, small, works)
                rows.append({"set": folder.name, "photo": photo.stem, "way": "one work", **found})
            used = sum(one["weight"] > 0 for one in result.record.facts["works"])
            pictures.append((f"{way} ({used})", result.picture))
            found = measured(result.painting, small, works)
            rows.append({"set": folder.name, "photo": photo.stem, "way": way, **found})
            print(rows[-1], flush=True)
    sheet = contact_sheet(pictures, columns=2 + len(WAYS), width=size)
    sheet.save(sheets / f"{folder.name}.png")
    return rows


def measured(painting: Picture, photo: Picture, works: list[Signature]) -> dict[str, float]:
    own = signature(load_encoder("lite"), painting, LAYERS)
    return {
        "colour": round(color_distance(painting.pixels, photo.pixels), 2),
        "texture": round(mix(own, works).distance, 4),
        "axes": round(along_axes(painting.pixels), 3),
    }


def along_axes(pixels: Tensor) -> float:
    """The share of luminance gradients, by strength, within `AXIS` of an axis: 0.22 if they had all directions."""
    slopes = gradients(pixels.mean(1, keepdim=True))[0]
    strength = slopes.norm(dim=0)
    angle = torch.atan2(slopes[0].abs(), slopes[1].abs())
    near = (angle < AXIS) | (angle > math.pi / 2 - AXIS)
    return float(strength[near].sum() / strength.sum())


def table(rows: list[dict[str, Any]]) -> str:
    """By set and way the means over photographs."""
    ways = list(dict.fromkeys(row["way"] for row in rows))
    lines = [f"| set | {' | '.join(ways)} |", "|---" * (len(ways) + 1) + "|"]
    for name in [*dict.fromkeys(row["set"] for row in rows), None]:
        cells = []
        for way in ways:
            own = [row for row in rows if row["way"] == way and name in (None, row["set"])]
            mean = {key: sum(row[key] for row in own) / len(own) for key in ("colour", "texture", "axes")}
            cells.append(f"{mean['colour']:.1f} / {mean['texture']:.3f} / {mean['axes']:.2f}")
        lines.append(f"| {name or 'all'} | {' | '.join(cells)} |")
    return "Distance of colours / of texture / share of edges along the axes.\n\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

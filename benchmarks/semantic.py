"""Semantic transfer and doodles with maps that were drawn, with automatic ones and with none: sheets and numbers.

    python benchmarks/semantic.py --data SEMANTIC --sheets FOLDER --out benchmarks/results/semantic
    python benchmarks/semantic.py --data SEMANTIC --sizes --out benchmarks/results/semantic-sizes
    python benchmarks/semantic.py --data SEMANTIC --automatic --out benchmarks/results/automatic-maps

SEMANTIC holds the pictures of the well-known implementations with their maps. `pure` is the share of patches that come
from a part that has the same colour in the maps that were drawn, whatever maps were used; `usage` how evenly the
style's patches are used, an entropy from 0 to 1. Both are of the finest layer. With --sizes: seconds and peak memory
against size, a fresh process each. With --automatic: how well automatic maps agree with drawn ones, that is the share
of pairs of places, one in either picture, of one automatic part, that have one drawn colour; `chance` is that of any
pairs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import warnings
from itertools import permutations
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import impasto
from impasto.origins import Origins
from impasto.pictures.files import read_picture
from impasto.pictures.maps import understood
from impasto.results import Result
from impasto.sheets import contact_sheet
from measures import table

ND = "neural-doodle"
PORTRAITS = permutations(("Seth", "Gogh", "Freddie", "Mia"), 2)
PAIRS = (
    *((f"{ND}/{a}.jpg", f"{ND}/{b}.jpg", f"{ND}/{a}_sem.png", f"{ND}/{b}_sem.png") for a, b in PORTRAITS),
    ("wct2/in00-content.jpg", "wct2/in00-style.jpg", "wct2/in00-content_seg.png", "wct2/in00-style_seg.png"),
    (
        "strotss-guidance/content_im.jpg",
        "strotss-guidance/style_im.jpg",
        "strotss-guidance/content_guidance.jpg",
        "strotss-guidance/style_guidance.jpg",
    ),
)
SCENE = ("content.jpg", "style.jpg", "content_seg.png", "style_seg.png")
ONE_COLOUR = (9, 10)
"""Scenes whose maps are (nearly) of one colour."""
DOODLES = (
    (f"{ND}/Coastline_sem.png", f"{ND}/Monet.jpg", f"{ND}/Monet_sem.png"),
    (f"{ND}/Landscape_sem.png", f"{ND}/Renoir.jpg", f"{ND}/Renoir_sem.png"),
    ("keras-doodle/target_mask.png", "keras-doodle/style.png", "keras-doodle/style_mask.png"),
    ("keras-doodle/target_mask2.png", "keras-doodle/style2.png", "keras-doodle/style_mask2.png"),
)
SIZES = (256, 512, 1024)
LOOKED_AT = 96
"""Places along either side at which maps are compared."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--sizes", action="store_true")
    parser.add_argument("--automatic", action="store_true")
    parser.add_argument("--size", type=int, default=384)
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows: list[dict[str, Any]] = []
    if options.sizes:
        found = by_size(options.data)
    elif options.automatic:
        found = by_map(options.data)
    else:
        found = by_way(options.data, options.size, options.sheets)
    for one in found:
        rows.append(one)
        print(one, flush=True)
        options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
        options.out.with_suffix(".md").write_text(table(rows))


def by_way(data: Path, size: int, sheets: Path) -> Any:
    """A row and a strip of pictures for each pair and way."""
    sheets.mkdir(parents=True, exist_ok=True)
    for content, style, own, theirs in PAIRS:
        photo, painting, *maps = (data / name for name in (content, style, own, theirs))
        tiles = [(path.name, Image.open(path)) for path in (photo, painting, *maps)]
        for way, words in (("maps", tuple(map(str, maps))), ("auto", ("auto",)), ("none", ("none",))):
            result = impasto.semantic(photo, painting, maps=words, size=size)
            tiles.append((way, result.picture))
            yield {"pair": f"{photo.stem} x {painting.stem}", "way": way, **measured(result, *maps)}
        tiles.append(("transfer", impasto.transfer(photo, painting, size=size).picture))
        contact_sheet(tiles, columns=4, width=size).save(sheets / f"{photo.stem}-{painting.stem}.png")
    for content, style, theirs in DOODLES:
        layout, painting, own = (data / name for name in (content, style, theirs))
        result = impasto.doodle(layout, painting, own, size=size)
        tiles = [(path.name, Image.open(path)) for path in (painting, own, layout)] + [("doodle", result.picture)]
        contact_sheet(tiles, columns=4, width=size).save(sheets / f"{layout.stem}-{painting.stem}.png")
        yield {"pair": f"{layout.stem} x {painting.stem}", "way": "doodle", **measured(result, layout, own)}


def measured(result: Result, own: Path, theirs: Path) -> dict[str, Any]:
    if result.origins is None:
        raise ValueError("no patches were compared")
    return {
        "pure": round(purity(result.origins, own, theirs), 3),
        "usage": round(result.origins.facts[result.origins.layer]["usage"], 3),
    }


def purity(origins: Origins, own: Path, theirs: Path) -> float:
    """The share of patches whose centres have the same label in both maps, of those that have one."""
    maps = understood(read_picture(own), [read_picture(theirs)])
    if maps.labels is None:
        raise ValueError(f"{own}: has no labels")
    height, width = origins.places.shape[:2]
    rows, columns = ((torch.arange(side) + 1.5) / (side + 2) for side in (height, width))
    here = at(maps.labels, rows[:, None].expand(height, width), columns.expand(height, width))
    there = at(maps.style_labels[0], origins.places[..., 1], origins.places[..., 2])
    return float((here == there)[here >= 0].float().mean())


def at(labels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Labels `(1, 1, H, W)` at places in 0..1."""
    height, width = labels.shape[-2:]
    return labels[0, 0, (rows * height).long().clamp(0, height - 1), (columns * width).long().clamp(0, width - 1)]


def by_map(data: Path) -> Any:
    """A row for each pair of pictures with drawn maps, and their means."""
    scenes = [
        tuple(f"deep-photo/{number:02}-{name}" for name in SCENE) for number in range(1, 13) if number not in ONE_COLOUR
    ]
    rows = [agreement(*(data / name for name in names)) for names in (*PAIRS, *scenes)]
    yield from rows
    for kind, some in (("portraits", rows[:12]), ("scenes", rows[12:])):
        means = {name: round(mean(row[name] for row in some), 3) for name in ("agreement", "chance")}
        yield {"pair": f"mean of {len(some)} {kind}", "parts": "", **means}


def agreement(photo: Path, painting: Path, own: Path, theirs: Path) -> dict[str, Any]:
    drawn = understood(read_picture(own), [read_picture(theirs)])
    if drawn.labels is None:
        raise ValueError(f"{own}: has no labels")
    here, there = (places(labels) for labels in (drawn.labels, drawn.style_labels[0]))
    maps = [(255 * one.pixels).round().long() for one in impasto.maps([photo, painting])]
    parts, their_parts = (places(one[:, :1] * 256**2 + one[:, 1:2] * 256 + one[:, 2:]) for one in maps)
    known = torch.isin(here, there[there >= 0])
    same = here[known, None] == there
    together = parts[known, None] == their_parts
    share = (same & together).sum(1) / together.sum(1).clamp(min=1)
    return {
        "pair": f"{photo.stem} x {painting.stem}",
        "parts": len(parts.unique()),
        "agreement": round(float(share.mean()), 3),
        "chance": round(float(same.float().mean()), 3),
    }


def places(labels: Tensor) -> Tensor:
    """What a map `(1, 1, H, W)` has at a grid of places, in one row."""
    return F.interpolate(labels.double(), (LOOKED_AT, LOOKED_AT), mode="nearest").long().flatten()


def by_size(data: Path) -> Any:
    """Seconds and peak memory of one pair, with and without maps, at several sizes."""
    for size in SIZES:
        for way in ("maps", "none"):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                yield {"size": size, "way": way, **pool.apply(timed, (data, way, size))}


def timed(data: Path, way: str, size: int) -> dict[str, Any]:
    photo, painting, *maps = (str(data / name) for name in PAIRS[0])
    record = impasto.semantic(photo, painting, maps=maps if way == "maps" else "none", size=size).record
    return {
        "pixels": f"{record.width}x{record.height}",
        "seconds": round(record.seconds, 1),
        "GB": round(record.peak_memory / 1e9, 2),
    }


if __name__ == "__main__":
    main()

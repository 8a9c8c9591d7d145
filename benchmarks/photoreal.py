"""What photorealism keeps of photographs: edges, and calm in flat areas, beside plain transfer.

    python benchmarks/photoreal.py --triples FOLDER --out benchmarks/results/photoreal --pictures folder

The folder holds 01-content.jpg, 01-content_seg.png, 01-style.jpg, 01-style_seg.png, 02-…: photographs with maps of
their parts. Colours of the content that a style lacks are kept. Writes a table (.md), numbers (.json) and a sheet.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import warnings
from pathlib import Path
from typing import Any

from PIL import Image

import impasto
from impasto.pictures.resize import resize
from impasto.sheets import contact_sheet
from measures import color_distance, edges_kept, noise

VARIANTS: dict[str, dict[str, Any]] = {
    "--photoreal off": {},
    "--photoreal fit": {"photoreal": "fit"},
    "--photoreal full": {"photoreal": "full"},
    "--color-only": {"color_only": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--triples", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    parser.add_argument("--pictures", type=Path, required=True, help="folder for the pictures and their sheet")
    parser.add_argument("--size", type=int, default=384)
    options = parser.parse_args()
    options.pictures.mkdir(parents=True, exist_ok=True)
    rows, cells = [], []
    for path in sorted(options.triples.glob("*-content.jpg")):
        number = path.name.split("-")[0]
        style = path.with_name(f"{number}-style.jpg")
        cells += [(f"{number}: content", Image.open(path)), ("style", Image.open(style))]
        for name, settings in VARIANTS.items():
            result = painted(path, style, {"size": options.size, **settings})
            result.save(options.pictures / f"{number}{name.replace('--', '-').replace(' ', '-')}.png")
            content = resize(impasto.read_picture(path).pixels, *result.tensor.shape[-2:])
            rows.append(
                {"triple": number, "option": name, "edges": edges_kept(result.tensor, content)}
                | {"noise": noise(result.tensor, content) / max(noise(content, content), 1e-7)}
                | {"to_style": color_distance(result.tensor, impasto.read_picture(style).pixels)}
            )
            print(rows[-1], f"{result.record.seconds:.1f} s", flush=True)
            cells.append((f"{name}  edges {rows[-1]['edges']:.2f}", result.picture))
    options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(rows))
    sheet = contact_sheet(cells, columns=2 + len(VARIANTS), width=options.size)
    sheet.save(options.pictures / "sheet.png")


def painted(content: Path, style: Path, settings: dict[str, Any]) -> impasto.Result:
    """The transfer with both maps; colours that the style lacks keep the content, as the message advises."""
    maps = {
        "segmentation": content.with_name(f"{content.stem}_seg.png"),
        "style_segmentations": [style.with_name(f"{style.stem}_seg.png")],
    }
    kept: list[str] = []
    while True:
        told = dict(maps) if "color_only" not in settings else {}
        if kept:
            told["region_styles"] = ",".join(f"{name}:keep" for name in kept)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return impasto.transfer(content, style, **told, **settings)
        except impasto.ImpastoError as error:
            missing = re.search(r"--region-styles (\S+):keep", str(error))
            if missing is None or missing[1] in kept:
                raise
            kept.append(missing[1])


def table(rows: list[dict[str, Any]]) -> str:
    """Medians over the triples."""
    lines = [
        "| option | edges kept | noise in flat areas, over the content's | colour distance to the style |",
        "|---" * 4 + "|",
    ]
    for name in VARIANTS:
        own = [row for row in rows if row["option"] == name]
        medians = [statistics.median(row[key] for row in own) for key in ("edges", "noise", "to_style")]
        lowest = min(row["edges"] for row in own)
        lines.append(f"| `{name}` | {medians[0]:.3f} (lowest {lowest:.3f}) | {medians[1]:.2f} | {medians[2]:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

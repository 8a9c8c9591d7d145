"""How far the colours of results are from the content's and the style's, by every way to keep them.

    python benchmarks/colors.py --out benchmarks/results/colors

Pairs and settings are those of the guide's sheets (docs/make_pictures.py), and every way to match colours without
painting. Writes a table (.md) and numbers (.json).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import get_args

import impasto
from impasto.pictures.color_matching import Matching
from impasto.pictures.resize import resize
from measures import chroma_distance, color_distance

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
from make_pictures import COLOURED, EXAMPLES, SIZE, SPACES, WAYS, caption

MATCHES = [{"color_only": True, "color_match": m} for m in get_args(Matching)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    options = parser.parse_args()
    rows = []
    for name, painting in COLOURED:
        content, style = (impasto.read_picture(EXAMPLES / f"{one}.jpg").pixels for one in (name, painting))
        before = color_distance(content, style)
        for settings in [*WAYS, *SPACES, *MATCHES]:
            result = impasto.transfer(EXAMPLES / f"{name}.jpg", EXAMPLES / f"{painting}.jpg", size=SIZE, **settings)
            small = resize(content, *result.tensor.shape[-2:])
            to_content, to_style = (color_distance(result.tensor, one) for one in (small, style))
            rows.append(
                {"pair": f"{name} × {painting}", "option": caption(settings), "between": round(before, 2)}
                | {"to_content": round(to_content, 2), "to_style": round(to_style, 2)}
                | {"chroma_to_content": round(chroma_distance(result.tensor, small), 2)}
                | {"chroma_between": round(chroma_distance(small, style), 2)}
            )
            print(rows[-1], flush=True)
    options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(rows))


def table(rows: list[dict[str, str | float]]) -> str:
    """A row for each option: distance to the content, in chroma alone, and to the style, in each of the pairs."""
    cells: dict[str, dict[str, str]] = {"content and style, before": {}}
    for row in rows:
        pair = str(row["pair"])
        cells["content and style, before"][pair] = f"{row['between']} ({row['chroma_between']})"
        found = f"{row['to_content']} ({row['chroma_to_content']}) / {row['to_style']}"
        cells.setdefault(f"`{row['option']}`", {})[pair] = found
    pairs = dict.fromkeys(str(row["pair"]) for row in rows)
    lines = [f"| distance to content (in chroma) / to style | {' | '.join(pairs)} |", "|---" * (len(pairs) + 1) + "|"]
    lines += [f"| {option} | {' | '.join(found[pair] for pair in pairs)} |" for option, found in cells.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

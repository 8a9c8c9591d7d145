"""How far the colours of results are from the content's and the style's, by every way to keep them.

    python benchmarks/colors.py --out benchmarks/results/colors

Pairs and settings are those of the guide's sheet (docs/make_pictures.py). Writes a table (.md) and numbers (.json).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import impasto
from impasto.pictures.resize import resize
from measures import color_distance

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
from make_pictures import COLOURS, EXAMPLES, SIZE, caption


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="path without suffix")
    options = parser.parse_args()
    rows = []
    for name, painting, variants in COLOURS:
        content, style = (impasto.read_picture(EXAMPLES / f"{one}.jpg").pixels for one in (name, painting))
        before = color_distance(content, style)
        for settings in variants:
            result = impasto.transfer(EXAMPLES / f"{name}.jpg", EXAMPLES / f"{painting}.jpg", size=SIZE, **settings)
            small = resize(content, *result.tensor.shape[-2:])
            to_content, to_style = (color_distance(result.tensor, one) for one in (small, style))
            rows.append(
                {"pair": f"{name} × {painting}", "option": caption(settings), "between": round(before, 2)}
                | {"to_content": round(to_content, 2), "to_style": round(to_style, 2)}
            )
            print(rows[-1], flush=True)
    options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
    options.out.with_suffix(".md").write_text(table(rows))


def table(rows: list[dict[str, str | float]]) -> str:
    """A row for each option: distance to the content, and to the style, in each of the pairs."""
    pairs = list(dict.fromkeys(row["pair"] for row in rows))
    lines = ["| colour distance to content / style | " + " | ".join(str(pair) for pair in pairs) + " |"]
    lines.append("|---" * (len(pairs) + 1) + "|")
    between = {row["pair"]: row["between"] for row in rows}
    lines.append("| content and style, before | " + " | ".join(f"{between[pair]}" for pair in pairs) + " |")
    for option in dict.fromkeys(row["option"] for row in rows):
        cells = {row["pair"]: f"{row['to_content']} / {row['to_style']}" for row in rows if row["option"] == option}
        lines.append(f"| `{option}` | " + " | ".join(cells[pair] for pair in pairs) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

"""Why a blend is of these works: their weights as a list, a chart and JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

from impasto.console import Console
from impasto.errors import PictureError
from impasto.jobs import Running
from impasto.output import Output, free_name
from impasto.pictures.atomic import atomic_write, write_failure
from impasto.pictures.files import to_pil
from impasto.pictures.picture import Picture
from impasto.pictures.resize import fit, resize
from impasto.plots import Bar, plot_bars

THUMBNAIL = 96
"""Longest side, in pixels."""
ROUNDING = 1e-9
"""Numbers that are smaller are no more than that."""
MOST_BARS = 24


def explain(running: Running, output: Output, console: Console) -> None:
    """Say which works a blend uses and why, and write a chart and JSON beside the result; raises `PictureError`."""
    facts = running.work.facts
    used = [{**one, "picture": running.pictures[one["role"]]} for one in facts["works"] if one["weight"] > 0]
    used.sort(key=lambda one: -one["weight"])
    nearest = min(facts["works"], key=lambda one: one["alone"])
    chart, table = (_beside(output, suffix) for suffix in (".works.png", ".works.json"))
    console.listing("share", ({"work": one["picture"].name, **_in_words(one)} for one in used))
    console.facts(
        [
            ("distance of the mixture", _short(facts["distance"])),
            ("of the nearest work alone", f"{_short(nearest['alone'])}, {running.pictures[nearest['role']].name}"),
            ("of the mean of all works", _short(facts["distance_of_mean"])),
            ("chart", str(chart)),
            ("numbers", str(table)),
        ]
    )
    bars = [Bar(one["picture"].name, one["weight"], _thumbnail(one["picture"])) for one in used[:MOST_BARS]]
    plot_bars(bars, "weight", chart)
    named = {**facts, "works": [_named(one, running) for one in facts["works"]]}
    try:
        with atomic_write(table) as temporary:
            temporary.write_text(json.dumps(named, indent=1), encoding="utf-8")
    except OSError as error:
        raise PictureError(write_failure(table, error)) from error


def _in_words(one: dict[str, Any]) -> dict[str, str]:
    return {
        "weight": f"{one['weight']:.1%}",
        "alone": f"alone {_short(one['alone'])}",
        "without": f"without it +{_short(max(0.0, one['without']), 2)}",
        "gradient": f"gradient {_short(one['gradient'], 2)}",
    }


def _short(number: float, digits: int = 3) -> str:
    return f"{0.0 if abs(number) < ROUNDING else number:.{digits}g}"


def _named(one: dict[str, Any], running: Running) -> dict[str, Any]:
    picture = running.pictures[one["role"]]
    return {"name": picture.name, "path": None if picture.path is None else str(picture.path), **one}


def _thumbnail(picture: Picture) -> Image.Image:
    height, width = fit(picture.height, picture.width, THUMBNAIL)
    return to_pil(Picture(resize(picture.pixels, height, width)))


def _beside(output: Output, suffix: str) -> Path:
    path = output.path.with_name(output.path.stem + suffix)
    return path if output.force else free_name(path)

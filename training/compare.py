"""How far an encoder's pictures are from the teachers': style error at equal content error, and noise.

    python training/compare.py --data DATA --teachers TEACHERS --out comparison
    python training/compare.py --data DATA --teachers TEACHERS --out comparison --encoder lite

The first call makes the teachers' own pictures (slow, once), the second those of an encoder, at several style
strengths, and compares. All errors are measured in the teachers' feature space. The gap of a pair is the encoder's
style error, read off at the teachers' content error, over the teachers'. Noise is the mean square of the Laplacian
of the luminance where the content is flattest. Pictures are kept for contact sheets.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch

from crops import natural_crops, read_pictures
from impasto.encoders import load_encoder
from impasto.encoders.vgg import VGG, joined
from impasto.machine import Machine
from impasto.methods import transfer as method
from impasto.pictures.files import read_picture, to_pil
from impasto.pictures.resize import resize
from teachers import exact_teacher, normalised, reduced_teacher

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from measures import noise

PAIRS = [
    ("photos/tubingen-neckarfront.jpg", "paintings/vincent-van-gogh--the-starry-night--1889.jpg"),
    ("photos/golden-gate.jpg", "paintings/henri-matisse--woman-with-a-hat--1905.jpg"),
    ("photos/chicago.jpg", "paintings/francis-picabia--udnie--1913.jpg"),
    ("photos/lion.jpg", "paintings/edvard-munch--the-scream--1893.jpg"),
    ("photos/taj-mahal.jpg", "paintings/claude-monet--impression-sunrise--1872.jpg"),
    ("photos/skimage-astronaut.png", "paintings/gustav-klimt--adele-bloch-bauer-i--1907.jpg"),
    ("photos/skimage-chelsea.png", "paintings/vincent-van-gogh--irises--1889.jpg"),
    ("photos/skimage-coffee.png", "paintings/paul-cezanne--still-life-with-apples-crop.jpg"),
    ("photos/kodim01.png", "paintings/wassily-kandinsky--composition-vii--1913.jpg"),
    ("photos/kodim03.png", "paintings/robert-delaunay--portrait-de-metzinger--1906.jpg"),
    ("photos/kodim05.png", "paintings/marianne-von-werefkin--the-anthill--1916.jpg"),
    ("photos/kodim07.png", "paintings/pierre-auguste-renoir--two-sisters--1881.jpg"),
    ("photos/kodim08.png", "paintings/katsushika-hokusai--the-great-wave-off-kanagawa.jpg"),
    ("photos/kodim13.png", "paintings/vincent-van-gogh--wheat-field-with-cypresses--1889.jpg"),
    ("photos/kodim16.png", "paintings/claude-monet--water-lilies--1919.jpg"),
    ("photos/kodim19.png", "paintings/isaac-levitan--golden-autumn--1895.jpg"),
    ("photos/kodim20.png", "paintings/charles-angrand--the-western-railway-leaving-paris--1886.jpg"),
    ("photos/kodim22.png", "paintings/gustav-klimt--the-kiss--1908.jpg"),
    ("photos/kodim23.png", "paintings/roman-mosaic--ducks-palazzo-massimo.jpg"),
    ("photos/elementary-rob-bye.jpg", "paintings/jmw-turner--the-shipwreck-of-the-minotaur.jpg"),
]
TEACHERS_STRENGTH = 1.0
STRENGTHS = (0.5, 1.0, 2.0)


def main() -> None:
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    folders = [options.data / "training/photos" / one for one in ("caltech101", "clothing", "grocery")]
    crops = natural_crops(read_pictures(folders))
    exact, reduced = (normalised(t(options.teachers), crops) for t in (exact_teacher, reduced_teacher))
    teachers = joined(exact, reduced)
    for content, style in PAIRS[: options.pairs]:
        if options.encoder is None:
            make(options, "teachers", teachers, teachers, content, style, TEACHERS_STRENGTH)
            continue
        for strength in STRENGTHS:
            make(
                options,
                options.name,
                load_encoder(options.encoder, pooling=options.pooling),
                teachers,
                content,
                style,
                strength,
            )
    if options.encoder is not None:
        summarise(options.out, options.name, PAIRS[: options.pairs])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teachers", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--encoder", help="name or path; without it the teachers' pictures are made")
    parser.add_argument("--name", default="lite", help="of the encoder, in file names")
    parser.add_argument("--pooling", choices=("max", "average"), default="max", help="of the encoder")
    parser.add_argument("--style-loss", choices=("gram", "wasserstein"), default="wasserstein")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=len(PAIRS))
    return parser.parse_args()


def make(
    options: argparse.Namespace, name: str, encoder: VGG, teachers: VGG, content: str, style: str, strength: float
) -> None:
    """One picture and its errors, unless they are there already."""
    path = options.out / f"{Path(content).stem}--{Path(style).stem}--{name}-{strength:g}.png"
    if path.with_suffix(".json").exists():
        return
    method.load_encoder = lambda *_, **__: encoder  # type: ignore[assignment]
    settings = method.TransferSettings.of(size=options.size, style_strength=strength, style_loss=options.style_loss)
    photo, painting = (read_picture(options.data / one) for one in (content, style))
    work = method.transfer(photo, [painting], settings, Machine.choose("cpu"))
    result = work.finish(work.synthesis.run())
    to_pil(result).save(path)
    method.load_encoder = lambda *_, **__: teachers  # type: ignore[assignment]
    judge = method.transfer(photo, [painting], settings, Machine.choose("cpu")).synthesis
    with torch.no_grad():
        _, losses = judge.objective_at(judge.schedule[-1])(result.pixels)
    flat = resize(photo.pixels, *result.pixels.shape[-2:])
    errors = {"content": float(losses["content"]), "style": float(losses["style"])}
    errors["noise"] = noise(result.pixels, flat)
    path.with_suffix(".json").write_text(json.dumps(errors))
    print(path.stem, errors, flush=True)


def summarise(out: Path, name: str, pairs: list[tuple[str, str]]) -> None:
    rows = []
    for content, style in pairs:
        stem = f"{Path(content).stem}--{Path(style).stem}"
        target = json.loads((out / f"{stem}--teachers-{TEACHERS_STRENGTH:g}.json").read_text())
        ours = [json.loads((out / f"{stem}--{name}-{strength:g}.json").read_text()) for strength in STRENGTHS]
        rows.append(
            {
                "pair": stem,
                "gap": style_at(target["content"], ours) / target["style"],
                "noise": ours[1]["noise"] / target["noise"],
                "content": ours[1]["content"],
                "style": ours[1]["style"],
                "teachers": target,
            }
        )
    gaps, noises = ([row[key] for row in rows] for key in ("gap", "noise"))
    summary = {
        "encoder": name,
        "gap": {
            "geometric_mean": math.exp(np.mean(np.log(gaps))),
            "median": float(np.median(gaps)),
            "worst": max(gaps),
        },
        "noise": {"geometric_mean": math.exp(np.mean(np.log(noises))), "worst": max(noises)},
        "pairs": rows,
    }
    (out / f"{name}.json").write_text(json.dumps(summary, indent=1))
    print(json.dumps({key: summary[key] for key in ("encoder", "gap", "noise")}, indent=1))


def style_at(content: float, ours: list[dict[str, float]]) -> float:
    """Our style error where our content error equals `content`: log-log interpolation, or the end's slope beyond."""
    points = sorted((math.log(o["content"]), math.log(o["style"])) for o in ours)
    x = math.log(content)
    (x0, y0), (x1, y1) = points[:2] if x < points[1][0] else points[1:]
    if x1 - x0 < 1e-3:
        return math.exp(y0)
    return math.exp(y0 + (y1 - y0) * min(2.0, max(-1.0, (x - x0) / (x1 - x0))))


if __name__ == "__main__":
    main()

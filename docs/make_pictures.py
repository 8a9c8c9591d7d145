"""Makes the pictures of the guide, by the settings that the guide shows.

python docs/make_pictures.py            # all of them, about twenty minutes on two cores
python docs/make_pictures.py presets    # one strip
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import impasto
from impasto.cli import main as main_of_impasto
from impasto.encoders import load_encoder
from impasto.library.mixture import mix
from impasto.library.signature import signature
from impasto.pictures.files import to_pil
from impasto.pictures.film import open_film
from impasto.sheets import contact_sheet

EXAMPLES = Path(__file__).parents[1] / "examples"
PICTURES = Path(__file__).parent / "pictures"
SIZE = 320
LARGEST = 148_000  # bytes

# content, styles, and the settings of each picture
STRIPS: dict[str, tuple[str, str, list[dict[str, Any]]]] = {
    "presets": (
        "lighthouse",
        "starry-night",
        [{"preset": p} for p in ("sketch", "balanced", "painterly", "bold")],
    ),
    "style-strength": ("barn", "wheat-field", [{"style_strength": s} for s in (0.1, 0.3, 1, 4)]),
    "content-strength": ("cat", "the-kiss", [{"content_strength": s} for s in (0.3, 1, 4)]),
    "style-scale": ("village", "udnie", [{"style_scale": s} for s in (0.5, 1, 2)]),
    "start": ("lighthouse", "great-wave", [{"start": s} for s in ("content", "noise", "style", "gray")]),
    "style-loss": ("astronaut", "great-wave", [{"style_loss": s} for s in ("wasserstein", "gram")]),
    "style-layers": (
        "barn",
        "starry-night",
        [{"style_layers": s} for s in ("relu1_1,relu2_1", "relu3_1", "relu4_1,relu5_1")],
    ),
    "content-layers": ("village", "starry-night", [{"content_layers": s} for s in ("relu2_2", "relu3_2", "relu4_2")]),
    "smoothness": ("lighthouse", "composition-vii", [{"smoothness": s} for s in (0, 1, 10)]),
    "pooling": ("barn", "the-scream", [{"pooling": s} for s in ("max", "average")]),
    "steps": ("lighthouse", "udnie", [{"steps": s} for s in (3, 24, 96)]),
    "coarsest": ("village", "great-wave", [{"coarsest": s} for s in (64, 128, 384)]),
    "learning-rate": ("barn", "udnie", [{"learning_rate": s} for s in (0.005, 0.02, 0.06)]),
    "optimiser": ("cat", "starry-night", [{"optimiser": s} for s in ("adam", "lbfgs")]),
    "several-styles": (
        "lighthouse",
        "the-scream starry-night",
        [{"style_weights": s} for s in ("1,0", "0.7,0.3", "0.3,0.7", "0,1")],
    ),
    "mix": ("parrots", "great-wave udnie", [{"mix": s} for s in ("targets", "losses")]),
    "seed": ("lighthouse", "the-kiss", [{"start": "noise", "seed": s} for s in (0, 1, 2)]),
    "regions": (
        "lighthouse",
        "starry-night the-scream wheat-field",
        [
            {"segmentation": "lighthouse-map.png", "region_styles": styles}
            for styles in ("blue:1,red:2,green:3", "blue:1,red:keep,green:3")
        ],
    ),
    "guidance": (
        "lighthouse",
        "starry-night the-scream",
        [
            {"segmentation": "lighthouse-map.png", "region_styles": "blue:1,red:2,green:2", "guidance": one}
            for one in ("inside", "simple", "all")
        ],
    ),
    "mask": ("astronaut", "starry-night", [{}, {"masks": "not:astronaut-face.png"}]),
    "color-match": (
        "parrots",
        "the-scream",
        [
            {"keep_color": "match", "color_match": m}
            for m in ("cholesky", "pca", "monge-kantorovich", "histogram", "sliced")
        ],
    ),
    "photoreal": ("lighthouse", "sunset", [{"photoreal": p} for p in ("off", "fit", "full")]),
    "average": ("barn", "udnie", [{"average": a} for a in (0.0, 0.9, 0.98)]),
    "scale-ratio": ("village", "the-scream", [{"scale_ratio": r} for r in (1.4, 2.0, 4.0)]),
    "tolerance": ("barn", "wheat-field", [{"tolerance": t} for t in (0.0, 0.001, 0.05)]),
    "grain": ("barn", "wheat-field", [{"grain": g} for g in (0.0, 0.5, 1.0)]),
}
COLOURED = (("parrots", "the-scream"), ("cat", "starry-night"), ("village", "udnie"))
WAYS: list[dict[str, Any]] = [{"keep_color": k} for k in ("none", "luminance", "after", "match")]
WAYS.append({"color_only": True})
SPACES: list[dict[str, Any]] = [
    {"keep_color": "after", "color_space": s} for s in ("yuv", "ycbcr", "lab", "luv", "oklab")
]
TEXTURES: list[tuple[str, dict[str, Any]]] = [
    ("strokes.jpg", {"width": 384, "height": 384}),
    ("strokes.jpg", {"width": 256, "height": 256, "tile": "both"}),
    ("wheat-field.jpg", {"width": 384, "height": 384, "scale": 0.5}),
]
FIRST = [
    ("lighthouse", "starry-night", {}),
    ("lighthouse", "great-wave", {}),
    ("lighthouse", "the-scream", {}),
    ("lighthouse", "composition-vii", {}),
    ("lighthouse", "udnie", {}),
]

BLENDED = ("starry-night", "wheat-field", "great-wave", "the-scream", "composition-vii", "udnie", "the-kiss")
BLENDS: list[dict[str, Any]] = [{}, {"character": 0.5}, {"character": 1.0}, {"joint": True}]
BLEND_WAYS: list[dict[str, Any]] = [{"shrinkage": s} for s in (0, 0.1, 1)] + [{"local": 3}, {"patches": 2}]


def main() -> None:
    special: dict[str, Callable[[], None]] = {"first": first, "plot": plot, "texture": textures}
    special |= {"color": partial(colours, "color", WAYS), "color-spaces": partial(colours, "color-spaces", SPACES)}
    special |= {"strip": strip, "scales": scales, "blend": blends}
    special |= {"film": films, "semantic": semantics, "semantic-maps": semantic_maps, "semantic-ways": semantic_ways}
    special |= {"doodle": doodles, "doodle-variety": doodle_variety}
    special |= {"blend-simplex": blend_simplex, "blend-ways": blend_ways, "blend-works": blend_works}
    PICTURES.mkdir(exist_ok=True)
    os.chdir(EXAMPLES)
    for name in sys.argv[1:] or [*special, *STRIPS]:
        if name in special:
            special[name]()
            continue
        content, styles, variants = STRIPS[name]
        tiles = [(", ".join(f"{one}.jpg" for one in (content, *styles.split())), beside(content, styles.split()))]
        tiles += [(caption(v, variants), painted(content, styles, {"size": SIZE, **v})) for v in variants]
        save(contact_sheet(tiles, columns=len(tiles), width=1200 // len(tiles)), name)


def first() -> None:
    paintings = [painted(content, style, {"size": 512, **settings}) for content, style, settings in FIRST]
    save(contact_sheet([("", p) for p in paintings], columns=len(paintings), width=240, captions=False), "first")


def strip() -> None:
    way = impasto.strip("parrots.jpg", "great-wave.jpg", "composition-vii.jpg", 5, size=SIZE)
    save(contact_sheet([(f"{i + 1} of 5", one.picture) for i, one in enumerate(way)], columns=5, width=240), "strip")


def scales() -> None:
    """Coarse of one painting, fine of another: the new style, and what it makes."""
    fine, coarse, content = (EXAMPLES / f"{name}.jpg" for name in ("starry-night", "the-kiss", "lighthouse"))
    style = impasto.transfer(coarse, fine, style_layers="relu1_1,relu2_1").picture
    tiles = [(one.name, Image.open(one)) for one in (coarse, fine)] + [("new-style.png", style)]
    tiles += [
        (f"lighthouse.jpg, {one.name}", painted("lighthouse", one.stem, {"size": SIZE})) for one in (coarse, fine)
    ]
    tiles += [("lighthouse.jpg, new-style.png", impasto.transfer(content, style, size=SIZE).picture)]
    save(contact_sheet(tiles, columns=6, width=200), "scales")


def blends() -> None:
    """Two photographs, each in the style that all the paintings share; from the nearest of it to the mean."""
    works = [EXAMPLES / f"{name}.jpg" for name in BLENDED]
    tiles = []
    for name in ("parrots", "village"):
        photo = EXAMPLES / f"{name}.jpg"
        tiles.append((photo.name, Image.open(photo)))
        tiles += [(caption(one) or "blend", impasto.blend(photo, works, size=SIZE, **one).picture) for one in BLENDS]
    save(contact_sheet(tiles, columns=1 + len(BLENDS), width=240), "blend")


def blend_simplex() -> None:
    """The mixtures of three paintings, each as a style of its own, and the one that is nearest to the photograph."""
    photo, *works = (EXAMPLES / f"{name}.jpg" for name in ("lighthouse", "starry-night", "great-wave", "the-scream"))
    encoder, wanted = load_encoder("lite"), ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")
    content, *looks = (signature(encoder, impasto.read_picture(path), wanted) for path in (photo, *works))
    nearest = mix(content, looks, joint=True).mean_weights
    corners = np.array([[0, 0], [1, 0], [0.5, 0.75**0.5]])
    figure = Figure(figsize=(10, 7.2), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))

    def show(picture: Image.Image, place: Sequence[float], width: float, words: str = "") -> None:
        height = width * picture.height / picture.width
        left, bottom = place[0] - width / 2, place[1] - height / 2
        axes.imshow(picture, extent=(left, left + width, bottom, bottom + height), zorder=2)
        axes.text(place[0], bottom - 0.01, words, ha="center", va="top")

    axes.fill(*corners.T, color="0.9", zorder=0)
    for shares in (np.array(one) for one in product(range(4), repeat=3) if sum(one) == 3):
        made = impasto.transfer(photo, works, style_weights=tuple(shares / 3), size=SIZE).picture
        show(made, shares / 3 @ corners, 0.18)
    for path, place in zip(works, ((-0.21, 0.0), (1.21, 0.0), (0.29, 0.87)), strict=True):
        show(Image.open(path), place, 0.2, path.name)
    words = "\n".join(f"{share:.0%} {path.name}" for share, path in zip(nearest, works, strict=True))
    show(Image.open(photo), (1.17, 0.72), 0.24, f"{photo.name}, nearest to\n{words}")
    arrow = {"arrowstyle": "-|>", "color": "crimson", "lw": 2, "shrinkB": 8}
    axes.annotate("", nearest @ corners, (1.04, 0.72), arrowprops=arrow, zorder=3)
    axes.plot(*nearest @ corners, "o", ms=14, mfc="crimson", mec="white", mew=2, zorder=4)
    axes.set(xlim=(-0.33, 1.33), ylim=(-0.16, 1.03), aspect="equal")
    axes.set_axis_off()
    with tempfile.TemporaryFile() as file:
        figure.savefig(file)
        save(Image.open(file).convert("RGB"), "blend-simplex")


def blend_ways() -> None:
    """The same photograph with more and more works, with mixtures for parts of it, and with works in patches."""
    works = [EXAMPLES / f"{name}.jpg" for name in BLENDED]
    ways = [caption(one) for one in BLEND_WAYS]
    pictures = [impasto.blend(EXAMPLES / "village.jpg", works, size=SIZE, **one).picture for one in BLEND_WAYS]
    save(contact_sheet([*zip(ways, pictures, strict=True)], columns=len(ways), width=240), "blend-ways")


def blend_works() -> None:
    """The chart of `--explain`, as the command makes it."""
    words = ["blend", "parrots.jpg", *(f"{name}.jpg" for name in BLENDED), "--explain", "--size", "128", "--quiet"]
    with tempfile.TemporaryDirectory() as folder:
        main_of_impasto([*words, "-o", f"{folder}/out.png"])
        with Image.open(f"{folder}/out.works.png") as chart:
            chart.convert("P", palette=Image.Palette.ADAPTIVE, colors=128).save(PICTURES / "blend-works.png")


SEMANTIC = (("lighthouse", "wheat-field"), ("cat", "self-portrait"))


def semantics() -> None:
    """Photographs and paintings; transfer; and semantic transfer with automatic maps."""
    tiles = []
    for content, style in SEMANTIC:
        photo, painting = EXAMPLES / f"{content}.jpg", EXAMPLES / f"{style}.jpg"
        tiles += [(one.name, Image.open(one)) for one in (photo, painting)]
        tiles += [("transfer", impasto.transfer(photo, painting, size=384).picture)]
        tiles += [("semantic", impasto.semantic(photo, painting, size=384).picture)]
    save(contact_sheet(tiles, columns=4, width=300), "semantic")


def semantic_maps() -> None:
    """Pictures and the maps that are found of them."""
    tiles = []
    for names in SEMANTIC:
        pictures = [EXAMPLES / f"{name}.jpg" for name in names]
        for path, one in zip(pictures, impasto.maps(pictures), strict=True):
            tiles += [(path.name, Image.open(path)), ("its map", to_pil(one))]
    save(contact_sheet(tiles, columns=4, width=240), "semantic-maps")


def semantic_ways() -> None:
    """Maps of more and more strength, and where the patches of the last one come from."""
    content, style = (EXAMPLES / f"{name}.jpg" for name in SEMANTIC[0])
    tiles = []
    for strength in (0, 0.5, 1, 3):
        result = impasto.semantic(content, style, size=SIZE, map_strength=strength)
        tiles.append((f"--map-strength {strength}", result.picture))
    if result.origins is not None:
        tiles.append(("--field field.png", to_pil(result.origins.picture())))
    save(contact_sheet(tiles, columns=5, width=240), "semantic-ways")


def doodles() -> None:
    """A painting, its map, a doodle in the same colours, and the painting of it."""
    names = ("wheat-field.jpg", "wheat-field-map.png", "doodle.png")
    painting, own, layout = (EXAMPLES / name for name in names)
    made = impasto.doodle(layout, painting, own, size=512).picture
    tiles = [*zip(names, map(Image.open, (painting, own, layout)), strict=True), ("impasto doodle", made)]
    save(contact_sheet(tiles, columns=4, width=320), "doodle")


def doodle_variety() -> None:
    """The same with patches that may be used as often as they fit, and that become dear."""
    painting, own, layout = (EXAMPLES / name for name in ("wheat-field.jpg", "wheat-field-map.png", "doodle.png"))
    tiles = [
        (f"--variety {variety}", impasto.doodle(layout, painting, own, size=384, variety=variety).picture)
        for variety in (0, 0.5, 1)
    ]
    save(contact_sheet(tiles, columns=3, width=380), "doodle-variety")


def films() -> None:
    """A film: its frames, each of them painted alone, and the film; what changes between two frames; and it moving."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        film, style = EXAMPLES / "bunny.mp4", EXAMPLES / "starry-night.jpg"
        impasto.film(film, style, path, size=SIZE, beside="frames", quality="master", preview=False)
        frames = [np.asarray(to_pil(one.picture)) for one in open_film(path.with_suffix(".side-by-side.mp4")).frames()]
    width = (frames[0].shape[1] - SIZE) // 2  # a picture and a gap
    ways = [[Image.fromarray(one[:, start : start + SIZE]) for one in frames] for start in (0, width, 2 * width)]
    names = ("film", "frame by frame", "impasto film")
    chosen = (2, 12, 24, 26)
    tiles = [(name if n == chosen[0] else "", way[n]) for name, way in zip(names, ways, strict=True) for n in chosen]
    save(contact_sheet(tiles, columns=len(chosen), width=240), "film")
    changes = [(name, _change(way[11], way[12])) for name, way in zip(names, ways, strict=True)]
    save(contact_sheet(changes, columns=3, width=320), "film-changes")
    moving = [_pair(*pair) for pair in zip(ways[1][:25], ways[2][:25], strict=True)]
    moving[0].save(
        PICTURES / "film.webp",
        save_all=True,
        append_images=moving[1:],
        duration=1000 // 24,
        loop=0,
        quality=60,
        method=6,
    )


def _change(before: Image.Image, after: Image.Image) -> Image.Image:
    """Four times what differs between two pictures."""
    difference = np.abs(np.asarray(before).astype(int) - np.asarray(after))
    return Image.fromarray((4 * difference).clip(0, 255).astype(np.uint8))


def _pair(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two pictures beside each other, made smaller."""
    both = np.concatenate([np.asarray(left), np.full_like(np.asarray(left)[:, :4], 255), np.asarray(right)], axis=1)
    return Image.fromarray(both).resize((both.shape[1] * 3 // 4, both.shape[0] * 3 // 4), Image.Resampling.LANCZOS)


def colours(name: str, ways: list[dict[str, Any]]) -> None:
    """A row for each content: itself, and its colours kept in several ways."""
    tiles = []
    for content, style in COLOURED:
        tiles.append((f"{content}.jpg, {style}.jpg", beside(content, [style])))
        tiles += [(caption(v, ways), painted(content, style, {"size": SIZE, **v})) for v in ways]
    save(contact_sheet(tiles, columns=1 + len(ways), width=200), name)


def textures() -> None:
    """Exemplars beside results, 384 pixels square; the seamless one is laid beside itself."""
    tiles = []
    for name, settings in TEXTURES:
        made = impasto.texture(name, **settings).picture
        sheet = Image.new("RGB", (384, 384))
        for top in range(0, 384, made.height):
            for left in range(0, 384, made.width):
                sheet.paste(made, (left, top))
        exemplar = Image.open(name)
        scale = settings.get("scale", 1.0)
        part = exemplar.resize([round(side * scale) for side in exemplar.size], Image.Resampling.LANCZOS)
        shown = Image.new("RGB", (384, 384), "white")
        shown.paste(part, (0, 0))
        tiles += [(name, shown), (caption(settings), sheet)]
    save(contact_sheet(tiles, columns=6, width=200), "texture")


def painted(content: str, styles: str, settings: dict[str, Any]) -> Image.Image:
    paintings = [EXAMPLES / f"{style}.jpg" for style in styles.split()]
    result = impasto.transfer(EXAMPLES / f"{content}.jpg", paintings, **settings)
    print(content, styles, settings, f"{result.record.seconds:.1f} s", flush=True)
    return result.picture


def plot() -> None:
    result = impasto.transfer(EXAMPLES / "lighthouse.jpg", EXAMPLES / "starry-night.jpg", size=512)
    with tempfile.TemporaryDirectory() as folder:
        result.save_plot(Path(folder) / "plot.png")
        save(Image.open(Path(folder) / "plot.png").convert("RGB"), "plot")


def beside(content: str, styles: list[str]) -> Image.Image:
    """The content with the styles along its lower edge, from the right."""
    both = Image.open(EXAMPLES / f"{content}.jpg").copy()
    right = both.width
    for style in reversed(styles):
        painting = Image.open(EXAMPLES / f"{style}.jpg")
        small = painting.resize((both.width * 2 // 5, round(painting.height * both.width * 2 / 5 / painting.width)))
        right -= small.width
        both.paste(small, (right, both.height - small.height))
    return both


def caption(settings: dict[str, Any], variants: Sequence[dict[str, Any]] = ()) -> str:
    """A picture's settings as options: those in which it differs from the others of its strip."""
    own = {name: value for name, value in settings.items() if any(one.get(name) != value for one in variants)}
    words = (
        f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
        for name, value in (own or settings).items()
    )
    return " ".join(words)


def save(sheet: Image.Image, name: str) -> None:
    path = PICTURES / f"{name}.jpg"
    for quality in range(90, 40, -5):
        sheet.save(path, quality=quality, optimize=True)
        if path.stat().st_size <= LARGEST:
            return


if __name__ == "__main__":
    main()

"""`impasto regions`: what was understood of masks and segmentations, in words and pictures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from PIL import Image
from torch import Tensor

from impasto.encoders import load_encoder
from impasto.errors import UsageError
from impasto.jobs import Job
from impasto.methods.regions import Region, at_scale, understood
from impasto.methods.transfer import TransferSettings
from impasto.pictures.arrays import to_pil
from impasto.pictures.picture import Picture
from impasto.pictures.regions import at_layers
from impasto.pictures.resize import fit, resize
from impasto.sheets import contact_sheet

WIDTH = 240
"""Of each picture of the sheet, in pixels."""


def regions_overview(job: Job) -> tuple[list[tuple[str, str]], Image.Image]:
    """Each region as a name and words, and a sheet: a row each, over the picture and at each style layer.

    Masks are those of the last scale. Raises `UsageError` for a job without regions.
    """
    settings = cast(TransferSettings, job.settings)
    pictures = job.read_pictures()
    content = pictures["content"]
    styles = [pictures[role] for role in job.inputs if role.startswith("style") and job.method.is_input(role)]
    regions = understood(settings, content, styles, pictures)
    if not regions:
        raise UsageError("there are no regions: give --masks or --segmentation")
    encoder = load_encoder(settings.encoder)
    layers = sorted(encoder.check_layers(settings.style_layer_weights))
    size = max(content.height, content.width) if settings.size == "full" else settings.size
    height, width = fit(content.height, content.width, size)
    pixels = resize(content.pixels, height, width)
    rows, cells = [], []
    for region in at_scale(regions, settings, height, width):
        masks = at_layers(region.mask, encoder, layers, settings.guidance if region.styles else "simple")
        rows.append((region.name, _in_words(region, styles, masks)))
        cells.append((region.name, to_pil(Picture(pixels * (0.15 + 0.85 * region.mask)))))
        for layer, mask in masks.items():
            shown = to_pil(Picture(mask.expand(1, 3, -1, -1))).resize((width, height), Image.Resampling.NEAREST)
            cells.append((f"{layer}  {_share(mask)}", shown))
    return rows, contact_sheet(cells, columns=1 + len(layers), width=WIDTH)


def _in_words(region: Region, styles: Iterable[Picture], masks: dict[str, Tensor]) -> str:
    """`38% of the picture · the-scream.jpg · strength 0.5 · relu1_1 38%, relu2_1 37% …`."""
    names = [style.name for number, style in enumerate(styles) if number in region.styles]
    parts = [f"{_share(region.mask)} of the picture", " + ".join(names) or "keeps the content"]
    parts += [f"strength {region.strength:g}"] if region.strength != 1 else []
    parts += [f"content {region.content:g}"] if region.content != 1 else []
    if region.styles:
        parts.append(", ".join(f"{layer} {_share(mask)}" for layer, mask in masks.items()))
    return " · ".join(parts)


def _share(mask: Tensor) -> str:
    return f"{float(mask.mean()):.0%}"

"""Plots for those who would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import PictureError
from impasto.pictures.atomic import atomic_write, write_failure
from impasto.synthesis import Moment

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image


def draw_losses(history: Sequence[Moment]) -> Figure:
    """Total and each loss (relative errors) over the steps, log scale, one panel per size."""
    from matplotlib.figure import Figure

    sizes = list(dict.fromkeys(moment.size for moment in history))
    figure = Figure(figsize=(1 + 3 * max(1, len(sizes)), 3.2), layout="constrained")
    panels = figure.subplots(1, max(1, len(sizes)), sharey=True, squeeze=False)[0]
    for panel, size in zip(panels, sizes, strict=False):
        here = [moment for moment in history if moment.size == size]
        steps = [moment.step for moment in here]
        panel.plot(steps, [moment.total for moment in here], color="black", label="total, with strengths")
        for name in here[0].losses:
            panel.plot(steps, [moment.losses[name] for moment in here], label=name)
        panel.set(title=f"{size} px", xlabel="step", yscale="log")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("loss")
    if sizes:
        panels[-1].legend(fontsize="small")
    return figure


def plot_losses(history: Sequence[Moment], path: str | PathLike[str]) -> None:
    """Write `draw_losses` as PNG, SVG or PDF, by suffix; raises `PictureError`."""
    path = Path(path)
    check_plottable(path)
    write_figure(draw_losses(history), path)


@dataclass(frozen=True)
class Bar:
    """A bar of a chart, with a picture before it."""

    name: str
    length: float
    picture: Image.Image


def plot_bars(bars: Sequence[Bar], what: str, path: Path) -> None:
    """Write a chart of bars below each other, as PNG, SVG or PDF, by suffix; raises `PictureError`."""
    import numpy as np
    from matplotlib.figure import Figure
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    figure = Figure(figsize=(8, 0.8 + 0.62 * len(bars)), layout="constrained")
    panel = figure.subplots()
    places = range(len(bars))
    panel.barh(places, [bar.length for bar in bars], color="#46688f", height=0.7)
    panel.set_yticks(places, [bar.name if len(bar.name) <= 40 else f"{bar.name[:39]}…" for bar in bars])
    panel.tick_params(axis="y", length=0, pad=62)
    panel.set(xlabel=what, ylim=(len(bars) - 0.4, -0.6))
    panel.spines[["top", "right"]].set_visible(False)
    for place, bar in zip(places, bars, strict=True):
        panel.text(bar.length, place, f" {bar.length:.0%}", va="center")
        image = OffsetImage(np.asarray(bar.picture), zoom=min(36 / bar.picture.height, 52 / bar.picture.width))
        at = ("axes fraction", "data"), "offset points"
        panel.add_artist(AnnotationBbox(image, (0, place), (-31, 0), *at, frameon=False, annotation_clip=False))
    write_figure(figure, path)


def write_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, SVG or PDF, by suffix; raises `PictureError`."""
    try:
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:].lower(), dpi=150)
    except OSError as error:
        raise PictureError(write_failure(path, error)) from error


def check_plottable(path: Path) -> None:
    """Raise `PictureError` if the suffix is none of a plot's."""
    if path.suffix.lower() not in {".png", ".svg", ".pdf"}:
        raise PictureError(f"{path}: plots are written as .png, .svg or .pdf")

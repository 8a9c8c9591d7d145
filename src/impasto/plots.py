"""Plots for those who would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import PictureError
from impasto.pictures.atomic import atomic_write, write_failure
from impasto.synthesis import Moment

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    try:
        with atomic_write(path) as temporary:
            draw_losses(history).savefig(temporary, format=path.suffix[1:].lower(), dpi=150)
    except OSError as error:
        raise PictureError(write_failure(path, error)) from error


def check_plottable(path: Path) -> None:
    """Raise `PictureError` if the suffix is none of a plot's."""
    if path.suffix.lower() not in {".png", ".svg", ".pdf"}:
        raise PictureError(f"{path}: plots are written as .png, .svg or .pdf")

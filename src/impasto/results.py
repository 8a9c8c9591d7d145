"""What comes out: a picture with the record of how it was made."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from impasto.origins import Origins
from impasto.output import refuse_inputs
from impasto.pictures.files import to_array, to_pil, write_picture
from impasto.pictures.picture import Picture
from impasto.records import Record
from impasto.synthesis import Moment

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


@dataclass(frozen=True, eq=False)
class Result:
    """A finished (or stopped) picture. `history` has the losses of every step, `origins` where patches come from."""

    painting: Picture
    record: Record
    history: tuple[Moment, ...]
    origins: Origins | None = None

    @property
    def picture(self) -> Image.Image:
        """As a PIL image, RGB or RGBA, 8 bits."""
        return to_pil(self.painting)

    @property
    def tensor(self) -> Tensor:
        """Pixels `(1, 3, H, W)`, float32, sRGB, 0..1."""
        return self.painting.pixels

    @property
    def array(self) -> np.ndarray:
        """Pixels `(H, W, 3)` or `(H, W, 4)`, uint8."""
        return to_array(self.painting)

    def save(self, path: str | PathLike[str], *, quality: int = 95, bits: int | None = None) -> None:
        """Write the picture, with its record inside, in the format of the suffix; see `write_picture`.

        Raises `UsageError` where that would write an input.
        """
        self._refuse_inputs(Path(path))
        record = self.record.seen_from(Path(path).parent).to_json()
        write_picture(self.painting, path, quality=quality, bits=bits, record=record)

    def save_plot(self, path: str | PathLike[str]) -> None:
        """Write a plot of the losses over the steps (PNG, SVG or PDF by suffix)."""
        from impasto.plots import plot_losses

        self._refuse_inputs(Path(path))
        plot_losses(self.history, path)

    def _refuse_inputs(self, path: Path) -> None:
        refuse_inputs([path], (Path(one.path) for one in self.record.inputs if one.path is not None))

    def __repr__(self) -> str:
        record = self.record
        return f"<Result of {record.method}: {record.width}×{record.height}, {record.seconds:.1f} s>"

    def _repr_html_(self) -> str:
        """In a notebook: the picture above its loss curve."""
        from impasto.plots import draw_losses

        picture, curve = io.BytesIO(), io.BytesIO()
        self.picture.save(picture, "PNG")
        draw_losses(self.history).savefig(curve, format="svg")
        shown = base64.b64encode(picture.getvalue()).decode()
        drawn = base64.b64encode(curve.getvalue()).decode()
        return (
            f'<img alt="result" src="data:image/png;base64,{shown}"><br>'
            f'<img alt="losses" src="data:image/svg+xml;base64,{drawn}">'
        )

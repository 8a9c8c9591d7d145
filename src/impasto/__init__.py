"""impasto: neural style transfer on one engine.

    import impasto

    result = impasto.transfer("harbour.jpg", "starry-night.jpg", size=768)
    result.save("out.png")

Names are imported when first used: `import impasto` itself is fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from impasto.lazy import lazily

__version__ = "0.1.0"

if TYPE_CHECKING:
    from impasto.api import blend, doodle, grid, maps, rerun, resume, semantic, steps, strip, texture, transfer
    from impasto.encoders import load_encoder
    from impasto.errors import (
        FlowError,
        ImpastoError,
        Interrupted,
        LibraryError,
        OutOfMemoryError,
        PictureError,
        UsageError,
        WeightsError,
    )
    from impasto.films.api import film, paint_frames
    from impasto.losses import (
        ContentLoss,
        GramLoss,
        Loss,
        Moments,
        PatchLoss,
        Smoothness,
        SumLoss,
        TemporalLoss,
        WassersteinLoss,
        mixture,
        moments,
    )
    from impasto.methods.blend import BlendSettings
    from impasto.methods.doodle import DoodleSettings
    from impasto.methods.film import PaintedFrame
    from impasto.methods.film_settings import FilmSettings
    from impasto.methods.semantic import SemanticSettings
    from impasto.methods.texture import TextureSettings
    from impasto.methods.transfer import TransferSettings
    from impasto.pictures.files import read_picture, write_picture
    from impasto.pictures.picture import Picture
    from impasto.results import Result
    from impasto.synthesis import Objective, Optimisation, Scale, Step, Synthesis, Term, coarse_to_fine

_HOMES = {
    "impasto.api": (
        "blend",
        "doodle",
        "grid",
        "maps",
        "rerun",
        "resume",
        "semantic",
        "steps",
        "strip",
        "texture",
        "transfer",
    ),
    "impasto.encoders": ("load_encoder",),
    "impasto.errors": (
        "FlowError",
        "ImpastoError",
        "Interrupted",
        "LibraryError",
        "OutOfMemoryError",
        "PictureError",
        "UsageError",
        "WeightsError",
    ),
    "impasto.films.api": ("film", "paint_frames"),
    "impasto.losses": (
        "ContentLoss",
        "GramLoss",
        "Loss",
        "Moments",
        "PatchLoss",
        "Smoothness",
        "SumLoss",
        "TemporalLoss",
        "WassersteinLoss",
        "mixture",
        "moments",
    ),
    "impasto.methods.blend": ("BlendSettings",),
    "impasto.methods.doodle": ("DoodleSettings",),
    "impasto.methods.film": ("PaintedFrame",),
    "impasto.methods.film_settings": ("FilmSettings",),
    "impasto.methods.semantic": ("SemanticSettings",),
    "impasto.methods.texture": ("TextureSettings",),
    "impasto.methods.transfer": ("TransferSettings",),
    "impasto.pictures.files": ("read_picture", "write_picture"),
    "impasto.pictures.picture": ("Picture",),
    "impasto.results": ("Result",),
    "impasto.synthesis": ("Objective", "Optimisation", "Scale", "Step", "Synthesis", "Term", "coarse_to_fine"),
}

__all__ = [
    "BlendSettings",
    "ContentLoss",
    "DoodleSettings",
    "FilmSettings",
    "FlowError",
    "GramLoss",
    "ImpastoError",
    "Interrupted",
    "LibraryError",
    "Loss",
    "Moments",
    "Objective",
    "Optimisation",
    "OutOfMemoryError",
    "PaintedFrame",
    "PatchLoss",
    "Picture",
    "PictureError",
    "Result",
    "Scale",
    "SemanticSettings",
    "Smoothness",
    "Step",
    "SumLoss",
    "Synthesis",
    "TemporalLoss",
    "Term",
    "TextureSettings",
    "TransferSettings",
    "UsageError",
    "WassersteinLoss",
    "WeightsError",
    "__version__",
    "blend",
    "coarse_to_fine",
    "doodle",
    "film",
    "grid",
    "load_encoder",
    "maps",
    "mixture",
    "moments",
    "paint_frames",
    "read_picture",
    "rerun",
    "resume",
    "semantic",
    "steps",
    "strip",
    "texture",
    "transfer",
    "write_picture",
]


__getattr__ = lazily(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)

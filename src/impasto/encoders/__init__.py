"""Encoders: networks that turn pictures into features at named layers.

Exported lazily: to ask for an encoder's status must not cost the import of torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from impasto.encoders.catalogue import ENCODERS, EncoderStatus, cache_folder, encoder_status
    from impasto.encoders.download import DownloadObserver
    from impasto.encoders.originals import normalise_on
    from impasto.encoders.storage import save_encoder
    from impasto.encoders.vgg import VGG, Configuration, LayerGeometry, Padding, Pooling, branching_point, joined
    from impasto.encoders.weights import load_encoder, weights_checksum

__all__ = [
    "ENCODERS",
    "VGG",
    "Configuration",
    "DownloadObserver",
    "EncoderStatus",
    "LayerGeometry",
    "Padding",
    "Pooling",
    "branching_point",
    "cache_folder",
    "encoder_status",
    "joined",
    "load_encoder",
    "normalise_on",
    "save_encoder",
    "weights_checksum",
]

_HOMES = {
    "catalogue": ("ENCODERS", "EncoderStatus", "cache_folder", "encoder_status"),
    "download": ("DownloadObserver",),
    "originals": ("normalise_on",),
    "storage": ("save_encoder",),
    "vgg": ("VGG", "Configuration", "LayerGeometry", "Padding", "Pooling", "branching_point", "joined"),
    "weights": ("load_encoder", "weights_checksum"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"impasto.encoders.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

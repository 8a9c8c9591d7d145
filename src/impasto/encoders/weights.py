"""An encoder by name: packaged, downloaded once, or from a file."""

from __future__ import annotations

import hashlib
from importlib.resources import as_file
from pathlib import Path
from typing import get_args

import torch

from impasto.encoders import catalogue
from impasto.encoders.catalogue import encoder_path
from impasto.encoders.download import DownloadObserver
from impasto.encoders.originals import CONFIGURATIONS, converted_weights
from impasto.encoders.storage import named_weights, read_encoder
from impasto.encoders.vgg import VGG, Padding, Pooling
from impasto.errors import UsageError, WeightsError, near_match


def load_encoder(
    name: str | Path = "lite",
    *,
    pooling: Pooling = "max",
    padding: Padding | None = None,
    device: torch.device | str = "cpu",
    observer: DownloadObserver | None = None,
) -> VGG:
    """An encoder, ready to use: float32, channels last, in evaluation mode, its weights without gradients.

    `name` is `lite` (packaged, the default), `vgg19` or `vgg19-caffe` (downloaded on first use, 548 MB, kept in the
    user's cache or in IMPASTO_CACHE), or the path of a .safetensors file that `save_encoder` wrote. `pooling` is
    `max` as trained or `average` (smoother, Gatys et al. 2015). `padding` is the configuration's unless given: also the
    two VGG-19 repeat the border ("replicate") where the published networks add zeros. `observer` is told of a
    download's progress (bytes done, bytes in all). Raises `UsageError` for an unknown name, pooling or padding,
    `WeightsError` if the weights cannot be had or are damaged.
    """
    _check("pooling", pooling, get_args(Pooling))
    if padding is not None:
        _check("padding", padding, get_args(Padding))
    encoder = _read(name, observer).with_pooling(pooling)
    if padding is not None:
        encoder = encoder.with_padding(padding)
    encoder.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return encoder.requires_grad_(False).eval()


def weights_checksum(encoder: VGG) -> str:
    """The sha256, in hexadecimal digits, over names and float32 values of all weights, shallow to deep."""
    digest = hashlib.sha256()
    for name, tensor in named_weights(encoder).items():
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(name: str | Path, observer: DownloadObserver | None) -> VGG:
    path = encoder_path(name)
    if path is not None:
        return read_encoder(path)
    name = str(name)
    if name in catalogue.SOURCES:
        path = converted_weights(catalogue.SOURCES[name], CONFIGURATIONS[name], observer=observer)
        try:
            return read_encoder(path)
        except WeightsError as error:
            raise WeightsError(f"{error}; delete it and it is made again") from error
    packaged = catalogue.packaged_weights()
    if not packaged.is_file():
        raise WeightsError(f"{name}: its weights are missing from this installation ({packaged}); reinstall impasto")
    with as_file(packaged) as path:
        return read_encoder(path)


def _check(setting: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{setting} {value}: unknown{near_match(value, known)}; there are {', '.join(known)}")

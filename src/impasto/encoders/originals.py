"""VGG-19 as others publish it: fetched, checked, normalised and converted to safetensors on first use."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor

from impasto.encoders.catalogue import Source
from impasto.encoders.dead_leaves import dead_leaves
from impasto.encoders.download import DownloadError, DownloadObserver, download, sha256_of
from impasto.encoders.storage import assemble, save_encoder
from impasto.encoders.vgg import VGG, Configuration, measure_mean_activations, normalise_activations
from impasto.errors import WeightsError

VGG19_WIDTHS = (64, 128, 256, 512, 512)
CAFFE_MEAN = (103.939 / 255, 116.779 / 255, 123.68 / 255)

# Both were trained with padding by zeros; here they repeat the border (the trunk's default), which leaves fewer
# traces of it in the result. `load_encoder(…, padding="zeros")` gives the published networks exactly.
CONFIGURATIONS: dict[str, Configuration] = {
    "vgg19": Configuration("vgg19", VGG19_WIDTHS),
    "vgg19-caffe": Configuration(  # BGR, 0..255
        "vgg19-caffe", VGG19_WIDTHS, mean=CAFFE_MEAN, std=(1 / 255, 1 / 255, 1 / 255), channel_order="BGR"
    ),
}

CALIBRATION_SEEDS = range(12)
RARE = 0.2
"""Channels that the calibration pictures move less than this share of the layer's median are held to be unmeasured."""


def converted_weights(
    source: Source,
    configuration: Configuration,
    *,
    observer: DownloadObserver | None = None,
    pause: Callable[[float], None] = time.sleep,
) -> Path:
    """The encoder's safetensors file in the cache, downloaded and converted if it is not there yet.

    An original that somebody put into the cache is taken instead of a download; once converted it is deleted.
    A second process waits for the first. Raises `WeightsError` in one sentence that says what to do.
    """
    path = source.converted
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_suffix(".lock")):
            if not path.is_file():
                _fetch(source, observer, pause)
                save_encoder(convert(source.original, configuration), path, dtype=torch.float32)
                with suppress(OSError):  # it only takes room
                    source.original.unlink()
    except OSError as error:
        raise WeightsError(_disk_sentence(source, error)) from error
    return path


def convert(original: Path, configuration: Configuration) -> VGG:
    """A trunk, normalised on synthetic pictures, from a state dict with torchvision's names (`features.0.weight` …).

    Reads tensors only: a file that would run code is refused. Raises `WeightsError`, naming file and tensor.
    """
    try:
        state = torch.load(original, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged or hostile file makes the reader raise nearly anything
        raise WeightsError(f"{original}: not a file of plain weights; nothing in it was run") from error
    if not isinstance(state, dict):
        raise WeightsError(f"{original}: holds no weights by name")
    tensors = {}
    for ours, theirs in _torchvision_names(configuration).items():
        if not isinstance(state.get(theirs), Tensor):
            raise WeightsError(f"{original}: {theirs} ({ours}) is missing")
        tensors[ours] = state[theirs]
    encoder = assemble(configuration, tensors, original)
    normalise_on(encoder, [dead_leaves(seed) for seed in CALIBRATION_SEEDS], rare=RARE)
    return encoder


def normalise_on(encoder: VGG, pictures: Sequence[Tensor], *, rare: float = 0.0) -> None:
    """Rescale the weights so that every channel's mean activation over the pictures is 1 (Gatys et al. 2015).

    Pictures are `(B, 3, H, W)`, 0..1. A mean below `rare` times its layer's median is replaced by that product: where
    the pictures stand in for natural ones, a channel they hardly move would otherwise shout on those it was made for.
    """
    means = measure_mean_activations(encoder, pictures)
    normalise_activations(encoder, {layer: m.clamp_min(rare * float(m.median())) for layer, m in means.items()})


def _torchvision_names(configuration: Configuration) -> dict[str, str]:
    """Ours to theirs, which number every convolution, ReLU and pooling: conv1_1 is features.0, conv2_1 features.5."""
    names, index = {}, 0
    for block, count in enumerate(configuration.convolutions, 1):
        for i in range(1, count + 1):
            for kind in ("weight", "bias"):
                names[f"conv{block}_{i}.{kind}"] = f"features.{index}.{kind}"
            index += 2
        index += 1
    return names


def _fetch(source: Source, observer: DownloadObserver | None, pause: Callable[[float], None]) -> None:
    original = source.original
    if original.is_file():
        found = sha256_of(original)[: len(source.sha256)]
        if found != source.sha256:
            raise WeightsError(
                f"{original}: not the file expected (its sha256 begins {found}, not {source.sha256}); "
                f"delete it, or replace it by {source.url}"
            )
        return
    try:
        download(source.url, original, sha256=source.sha256, size=source.size, observer=observer, pause=pause)
    except DownloadError as error:
        raise WeightsError(
            f"{source.name}: its weights ({_megabytes(source)}) could not be downloaded ({error}); "
            f"download {source.url} elsewhere and put it at {original}, or use --encoder lite, which needs no download"
        ) from error


def _disk_sentence(source: Source, error: OSError) -> str:
    folder = source.converted.parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        trouble = f"no room in {folder} for its weights ({_megabytes(source)})"
    else:
        trouble = f"its weights cannot be kept in {folder} ({error.strerror or error})"
    return f"{source.name}: {trouble}; set IMPASTO_CACHE to another folder, or use --encoder lite, which needs none"


def _megabytes(source: Source) -> str:
    return f"{source.size / (1 << 20):.0f} MB"

"""Which encoders there are and where their weights lie. Imports no torch: `impasto info` answers at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from impasto.errors import UsageError, near_match

SUFFIX = ".safetensors"
CONVERSION = 1
"""Goes up whenever converting the same original gives other weights: no old conversion is taken for a new one."""

ENCODERS: Mapping[str, str] = {
    "lite": "impasto's own small VGG, packaged: needs no download, about 9 times fewer operations than vgg19",
    "vgg19": "VGG-19 as torchvision trained it on ImageNet (548 MB download, once)",
    "vgg19-caffe": "the original VGG-19 of 2014, the network of the papers (548 MB download, once)",
}
"""Every name that `load_encoder` knows, with a description; a path ending in .safetensors serves as well."""


@dataclass(frozen=True)
class Source:
    """Weights that somebody else publishes: downloaded and converted once, kept in the user's cache."""

    name: str
    url: str
    sha256: str
    """Hexadecimal digits with which the file's sha256 begins."""
    size: int
    """Bytes of the download."""

    @property
    def original(self) -> Path:
        """Where the file is looked for and downloaded to; it is deleted once converted."""
        return cache_folder() / Path(urlsplit(self.url).path).name

    @property
    def converted(self) -> Path:
        return cache_folder() / f"{self.name}-{self.sha256[:8]}-{CONVERSION}{SUFFIX}"


SOURCES: dict[str, Source] = {
    "vgg19": Source(
        "vgg19", "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth", sha256="dcbb9e9d", size=574_673_361
    ),
    "vgg19-caffe": Source(
        "vgg19-caffe",
        "https://web.eecs.umich.edu/~justincj/models/vgg19-d01eb7cb.pth",
        sha256="d01eb7cb",
        size=574_673_361,  # about: the same arrays as torchvision's; only shown where the server does not say
    ),
}


@dataclass(frozen=True)
class EncoderStatus:
    """What is known of an encoder without loading it."""

    name: str
    description: str
    path: Path | None
    """Its weights, if they are on this machine."""
    present: bool
    """Whether it loads without a download."""
    size: int
    """Bytes of the file, or of the download that is needed first."""


def encoder_status(name: str | Path) -> EncoderStatus:
    """Where an encoder's weights are and how large; loads and downloads nothing.

    `name` is one of `ENCODERS` or a path ending in .safetensors. Raises `UsageError` for any other name.
    """
    path = encoder_path(name)
    if path is not None:
        return _status(str(name), "weights from a file", path, missing_size=0)
    name = str(name)
    if name not in SOURCES:
        return _status(name, ENCODERS[name], Path(str(packaged_weights())), missing_size=0)
    source = SOURCES[name]
    path = source.original if source.original.is_file() and not source.converted.is_file() else source.converted
    return _status(name, ENCODERS[name], path, missing_size=source.size)


def encoder_path(name: str | Path) -> Path | None:
    """The path if `name` is one, None if it is one of `ENCODERS`; raises `UsageError` if it is neither."""
    if str(name).endswith(SUFFIX):
        return Path(name).expanduser()
    if name in ENCODERS:
        return None
    raise UsageError(
        f"{name}: no such encoder{near_match(str(name), ENCODERS)}; "
        f"there are {', '.join(ENCODERS)}, or give a path ending in {SUFFIX}"
    )


def packaged_weights() -> Traversable:
    """The weights of `lite`, which come with impasto."""
    return files("impasto.encoders") / f"lite{SUFFIX}"


def cache_folder() -> Path:
    """Where downloads are kept: the environment's IMPASTO_CACHE, else the system's place for caches."""
    chosen = os.environ.get("IMPASTO_CACHE")
    return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("impasto", appauthor=False)


def _status(name: str, description: str, path: Path, missing_size: int) -> EncoderStatus:
    if path.is_file():
        return EncoderStatus(name, description, path, present=True, size=path.stat().st_size)
    return EncoderStatus(name, description, None, present=False, size=missing_size)

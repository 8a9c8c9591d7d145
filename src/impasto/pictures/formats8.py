"""Formats of 8 bits per channel, and Pillow images of any mode, as `Raster`: Pillow's plugins."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.errors import PictureError, UsageError
from impasto.pictures.raster import Palette, Raster, SizeCheck

_ORIENTATION = 274
_LARGE = 50_000_000  # pixels; below Pillow's limit of 89 million
_lifting = threading.Lock()


def open_lazily(data: bytes, kind: str, name: str, check_size: SizeCheck) -> Image.Image:
    """A file's header and metadata as a Pillow image whose pixels are not decoded yet, its size checked.

    Raises PictureError if HEIF is asked for and pillow-heif is not installed, and whatever Pillow raises.
    """
    if kind == "WEBP":  # its decoder allocates the whole picture when it is created
        width, height = _webp_size(data)
        check_size(width, height)
        with _without_pillow_limit(width, height):
            return _plugin(kind, name)(BytesIO(data))
    # The plugin itself, not Image.open: that would apply Pillow's own limit before ours, and try other plugins.
    image = _plugin(kind, name)(BytesIO(data))
    check_size(*image.size)
    return image


def _plugin(kind: str, name: str) -> Callable[[BytesIO], Image.Image]:
    from PIL import (
        AvifImagePlugin,
        BmpImagePlugin,
        GifImagePlugin,
        JpegImagePlugin,
        PngImagePlugin,
        TiffImagePlugin,
        WebPImagePlugin,
    )

    if kind == "HEIF":
        return _heif_plugin(name)
    plugins: dict[str, Callable[[BytesIO], Image.Image]] = {
        "JPEG": JpegImagePlugin.JpegImageFile,
        "PNG": PngImagePlugin.PngImageFile,
        "TIFF": TiffImagePlugin.TiffImageFile,
        "WEBP": WebPImagePlugin.WebPImageFile,
        "AVIF": AvifImagePlugin.AvifImageFile,
        "GIF": GifImagePlugin.GifImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
    }
    return plugins[kind]


def _heif_plugin(name: str) -> Callable[[BytesIO], Image.Image]:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise PictureError(f'{name}: reading HEIC needs one more package: pip install "impasto[heic]"') from error
    heif: Callable[[BytesIO], Image.Image] = HeifImageFile
    return heif


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height in the header of a WebP file (RFC 9649, section 2.5 to 2.7); raises ValueError."""
    little = int.from_bytes(data[24:27], "little"), int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8X":
        return little[0] + 1, little[1] + 1
    if data[12:16] == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if data[12:16] == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    raise ValueError("not a WebP header")


@contextmanager
def _without_pillow_limit(width: int, height: int) -> Iterator[None]:
    """Lift Pillow's limit where this size could meet it, because the caller's has been checked already.

    TIFF and WebP ask for it themselves, and it is one variable for all threads: large pictures wait for each other.
    """
    if width * height <= min(Image.MAX_IMAGE_PIXELS or _LARGE, _LARGE):
        yield
        return
    with _lifting:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def raster_of_image(image: Image.Image, name: str, check_size: SizeCheck) -> Raster:
    """Decode a lazily opened Pillow image at its present frame, with its profile and orientation.

    Raises UsageError for numbers of unknown range, and whatever Pillow raises for damaged files.
    """
    check_size(*image.size)
    with _without_pillow_limit(*image.size):
        image.load()
    check_size(*image.size)  # the first frame of a GIF may be larger than its header says
    profile = image.info.get("icc_profile")
    return replace(
        _raster_of_mode(image, name),
        profile=profile if isinstance(profile, bytes) and image.mode != "LAB" else None,
        orientation=orientation(image),
        palette=_palette(image),
    )


def _palette(image: Image.Image) -> Palette:
    values = (image.getpalette("RGB") or []) if image.mode == "P" else []
    return tuple(zip(values[::3], values[1::3], values[2::3], strict=True))


def orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8 that is still to be undone; 1 where there is none."""
    # To be asked after loading: for TIFF and HEIC loading turns the picture and removes the tag.
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF is no reason to refuse a picture
        return 1
    return found if isinstance(found, int) else 1


def _raster_of_mode(image: Image.Image, name: str) -> Raster:
    grey = image.mode in ("1", "L", "LA", "La")
    if image.mode.startswith("I;16"):
        return Raster(np.asarray(image).astype(np.uint16)[..., None], "gray", bits=16)
    if image.mode in ("I", "F"):
        return _raster_of_numbers(np.asarray(image), name)
    if image.mode == "CMYK":
        return Raster(np.asarray(image), "cmyk")
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        return Raster(rgba[..., : 1 if grey else 3], "gray" if grey else "rgb", rgba[..., 3:])
    values = np.asarray(image.convert("L" if grey else "RGB"))
    return Raster(np.atleast_3d(values), "gray" if grey else "rgb")


def _raster_of_numbers(values: NDArray[Any], name: str) -> Raster:
    """Pillow's modes I and F do not say their range: integers are taken as 16 bits, floats as 0..1."""
    integers = values.dtype.kind == "i"
    largest = 65535 if integers else 1
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= largest):
        raise UsageError(f"{name}: an image of mode I must hold 0..65535, one of mode F 0..1; convert it to L or RGB")
    bits = 16 if integers else 32
    return Raster(values.astype(np.uint16 if integers else np.float32)[..., None], "gray", bits=bits)

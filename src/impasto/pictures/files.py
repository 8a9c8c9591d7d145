"""Pictures from files, arrays and tensors, and back into files."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from impasto.errors import PictureError, UsageError, near_match
from impasto.pictures.arrays import raster_of_array, raster_of_tensor, to_array, to_pil
from impasto.pictures.atomic import atomic_write, try_folder, write_failure
from impasto.pictures.decoding import decode, decode_image, identify
from impasto.pictures.embedding import find_record
from impasto.pictures.encoding import encode, over_white, writable_formats
from impasto.pictures.opening import opened
from impasto.pictures.picture import Picture
from impasto.pictures.raster import Raster, SizeCheck, develop, in_srgb

__all__ = ["Source", "check_writable", "read_embedded_record", "read_picture", "to_array", "to_pil", "write_picture"]

Source = str | os.PathLike[str] | Image.Image | np.ndarray[Any, np.dtype[Any]] | Tensor | Picture
"""What `read_picture` reads."""

_DEEP_FORMATS = ("PNG", "TIFF")


def read_picture(source: Source, *, max_pixels: int = 200_000_000, name: str | None = None) -> Picture:
    """Read a picture: upright, sRGB, float32 in 0..1, from whatever holds one.

    Files: JPEG, PNG, TIFF, WebP, AVIF, GIF, BMP and, with pillow-heif, HEIC. Arrays: `(H, W)` or `(H, W, 1|3|4)`,
    uint8, uint16, bool or floats in 0..1. Tensors: `(1|3|4, H, W)`, alone or as a batch of one, uint8 or floats in
    0..1. A Picture is returned as it is. `name` is what messages call it, by default the file's name; `max_pixels`
    bounds width × height of files and is checked before anything is decoded. A UserWarning says when only the first
    frame is used or a profile is damaged.

    Raises PictureError for files that are missing, unreadable, damaged, unsupported or too large, UsageError for
    arrays and tensors that are no picture, OutOfMemoryError for what does not fit.
    """
    if isinstance(source, Picture):
        return source
    path = Path(source) if isinstance(source, (str, os.PathLike)) else None
    label = name or (str(path) if path else _name_in_memory(source))
    digest = None
    if path is None:
        raster = _raster_in_memory(source, label, _size_check(label, max_pixels))
    else:
        data, kind = _read_file(path, label)
        raster = decode(data, kind, label, _size_check(label, max_pixels))
        digest = hashlib.sha256(data).hexdigest()
    raster = in_srgb(raster, label)
    for remark in raster.remarks:
        warnings.warn(remark, UserWarning, stacklevel=2)
    pixels, alpha = develop(raster, label)
    return Picture(pixels, alpha, raster.bits, name or (path.name if path else label), path, digest, raster.palette)


def write_picture(
    picture: Picture,
    path: str | os.PathLike[str],
    *,
    quality: int = 95,
    bits: int | None = None,
    record: str | None = None,
) -> None:
    """Write a picture by the suffix of `path`: .png, .jpg, .jpeg, .webp, .tif, .tiff, .avif; tagged as sRGB.

    `quality` 1..100 matters to JPEG, WebP and AVIF; `bits` per channel is 8 or, for PNG and TIFF, 16, by default 16
    for TIFF, the picture's own for PNG and 8 otherwise, rounded to the nearest value. `record` is a JSON text that
    `read_embedded_record` finds again. JPEG has no alpha: the picture is laid on white, and a UserWarning says so.

    The file appears whole or not at all: after any failure an existing file is as it was. Raises PictureError
    where the file cannot be written, UsageError for an impossible suffix, `quality` or `bits`.
    """
    path = Path(path)
    check_writable(path, quality=quality, bits=bits)
    kind = writable_formats()[path.suffix.lower()]
    array = to_array(picture, bits or _usual_bits(kind, picture))
    if kind == "JPEG" and array.shape[-1] == 4:
        array = over_white(array)
        warnings.warn(f"{path}: JPEG has no transparency, so the picture is laid on white", UserWarning, stacklevel=2)
    data = encode(array, kind, path, quality, record)
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(data)
    except OSError as error:
        raise PictureError(write_failure(path, error, needed=len(data))) from error


def check_writable(
    path: str | os.PathLike[str], *, quality: int = 95, bits: int | None = None, besides: Sequence[str] = ()
) -> None:
    """Make the checks of `write_picture` before long work begins: suffix, options, folder, permissions.

    Suffixes `besides` those of pictures are allowed, too: for what others write.
    Raises PictureError and UsageError as `write_picture` does.
    """
    path = Path(path)
    try:
        _check_target(path, (*writable_formats(), *besides))
        try_folder(path)
    except OSError as error:
        raise PictureError(write_failure(path, error)) from error
    except ValueError as error:  # a name with a null character, or none
        if isinstance(error, UsageError):
            raise
        raise PictureError(f"{str(path)!r}: not a possible file name; choose another one") from error
    if not 1 <= quality <= 100:
        raise UsageError(f"quality {quality}: must lie in 1..100")
    if bits not in (None, 8, 16):
        raise UsageError(f"bits {bits}: must be 8 or 16")
    if bits == 16 and writable_formats()[path.suffix.lower()] not in _DEEP_FORMATS:
        raise UsageError(f"{path}: holds 8 bits per channel; for 16 write .png, .tif or .tiff")


def read_embedded_record(path: str | os.PathLike[str]) -> str | None:
    """The record that `write_picture` embedded in a file, or None. Raises PictureError as `read_picture` does."""
    path = Path(path)
    data, kind = _read_file(path, str(path))
    return find_record(data, kind, str(path))


# Reading


def _read_file(path: Path, label: str) -> tuple[bytes, str]:
    """A picture file's bytes and format. Raises PictureError if there is no such file or it is no picture."""
    if _is_folder(path):
        raise PictureError(f"{label}: is a folder; name a picture in it")
    with opened(path, label, "picture") as (file, head):
        kind = identify(head, str(path))
        return head + file.read(), kind


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):  # no possible name
        return False


def _size_check(label: str, max_pixels: int) -> SizeCheck:
    def check(width: int, height: int) -> None:
        if width * height <= 0:
            raise PictureError(f"{label}: the picture has no pixels; copy or download it again")
        if width * height > max_pixels:
            raise PictureError(
                f"{label}: {width}×{height} is more than the limit of {max_pixels} pixels; "
                f"if you trust it, use --max-pixels {width * height}"
            )

    return check


def _name_in_memory(source: Source) -> str:
    return Path(getattr(source, "filename", None) or "picture").name


def _raster_in_memory(source: Any, label: str, check_size: SizeCheck) -> Raster:
    if isinstance(source, Image.Image):
        return decode_image(source, label, check_size)
    if isinstance(source, np.ndarray):
        return raster_of_array(source, label)
    if isinstance(source, Tensor):
        return raster_of_tensor(source, label)
    raise UsageError(f"{label}: {type(source).__name__} is no picture; give a path, a Pillow image, an array or tensor")


# Writing


def _check_target(path: Path, suffixes: Sequence[str]) -> None:
    if path.is_dir():
        raise PictureError(f"{path}: is a folder; add a file name, such as {path / 'picture.png'}")
    if path.suffix.lower() not in suffixes:
        what = f"cannot write {path.suffix}{near_match(path.suffix, suffixes)}" if path.suffix else "has no suffix"
        raise UsageError(f"{path}: {what}; use {', '.join(suffixes[:-1])} or {suffixes[-1]}")
    if not path.parent.is_dir():
        raise PictureError(f"{path}: the folder {path.parent} does not exist; create it first")
    if path.exists() and not os.access(path, os.W_OK):
        raise PictureError(f"{path}: is write-protected; choose another name or change its permissions")


def _usual_bits(kind: str, picture: Picture) -> int:
    return 16 if kind == "TIFF" or (kind in _DEEP_FORMATS and picture.bits > 8) else 8

"""A picture in memory -> the bytes of a file, tagged as sRGB, with its record inside."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from impasto.errors import PictureError
from impasto.pictures import png_chunks
from impasto.pictures.embedding import PNG_KEYWORD, SOFTWARE, exif_for_jpeg, exif_with_record
from impasto.pictures.profiles import srgb_profile

_LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383, "AVIF": 65_536}


def writable_formats() -> dict[str, str]:
    """File suffixes and the formats they stand for."""
    formats = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF"}
    return {**formats, ".avif": "AVIF"} if features.check("avif") else formats


def encode(array: NDArray[Any], kind: str, path: Path, quality: int, record: str | None) -> bytes:
    """`(H, W, 3|4)`, uint8 or for PNG and TIFF also uint16, as a file of this format; `path` is for messages.

    `quality` 1..100 matters to JPEG, WebP and AVIF. Raises PictureError if the format cannot hold the picture.
    """
    longest = _LONGEST_SIDE.get(kind)
    if longest is not None and max(array.shape[:2]) > longest:
        height, width = array.shape[:2]
        raise PictureError(f"{path}: {width}×{height} is more than the {longest} {kind} holds; write .png or .tif")
    try:
        if kind == "PNG":
            return _encode_png(array, record)
        if kind == "TIFF":
            return _encode_tiff(array, record)
        return _encode_with_pillow(array, kind, path, quality, record)
    except PictureError:
        raise
    except Exception as error:  # encoders raise OSError, ValueError, RuntimeError and their own kinds
        raise PictureError(f"{path}: could not be encoded ({error}); try .png or .tif") from error


def over_white(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`(H, W, 4)` composited on white: `(H, W, 3)`."""
    opacity = array[..., 3:].astype(np.float32) / 255
    return np.rint(array[..., :3] * opacity + 255 * (1 - opacity)).astype(np.uint8)


def _encode_png(array: NDArray[Any], record: str | None) -> bytes:
    import imagecodecs

    perceptual = b"\0"
    added = [(b"sRGB", perceptual)]
    if record is not None:
        added.append((b"iTXt", png_chunks.international_text(PNG_KEYWORD, record)))
    return png_chunks.insert_after_header(bytes(imagecodecs.png_encode(array)), added)


def _encode_tiff(array: NDArray[Any], record: str | None) -> bytes:
    import tifffile

    file = BytesIO()
    tifffile.imwrite(
        file,
        array,
        photometric="rgb",
        extrasamples=["unassalpha"] if array.shape[-1] == 4 else None,
        compression="adobe_deflate",
        predictor=True,
        rowsperstrip=max(1, (1 << 18) // (array.shape[1] * array.shape[2] * array.itemsize)),
        iccprofile=srgb_profile(),
        software=SOFTWARE,
        description=None if record is None else record.encode(),
        metadata=None,
    )
    return file.getvalue()


def _encode_with_pillow(array: NDArray[Any], kind: str, path: Path, quality: int, record: str | None) -> bytes:
    settings: dict[str, Any] = {"quality": quality, "icc_profile": srgb_profile()}
    if kind in ("JPEG", "AVIF"):
        settings["subsampling"] = "4:4:4" if quality >= 90 else "4:2:0"
    if record is not None:
        settings["exif"] = exif_for_jpeg(record, path) if kind == "JPEG" else exif_with_record(record, path)
    file = BytesIO()
    Image.fromarray(array).save(file, kind, **settings)
    return file.getvalue()

"""Bytes of a picture file -> `Raster`: which format it is, which reader it gets, and what its failures mean."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from PIL import Image

from impasto.errors import ImpastoError, OutOfMemoryError, PictureError
from impasto.pictures import png_chunks
from impasto.pictures.formats8 import open_lazily, raster_of_image
from impasto.pictures.formats16 import decode_deep_png, decode_page, open_tiff, suits_tifffile
from impasto.pictures.raster import Raster, SizeCheck

_CAMERA_RAW = {".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw"}
_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (png_chunks.SIGNATURE, "PNG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
)
_FOREIGN_MAGIC = (
    (b"8BPS", "a Photoshop document"),
    (b"%PDF", "a PDF"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"gimp xcf", "a GIMP document"),
    (b"v/1\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance picture"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an SVG drawing or other XML"),
    (b"\x1aE\xdf\xa3", "a film"),
)

# tifffile reports damage to the log as well; without any handler Python would print that to the user's terminal.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def identify(head: bytes, name: str) -> str:
    """The format (`JPEG`, `PNG`, `TIFF`, `WEBP`, `AVIF`, `HEIF`, `GIF`, `BMP`) from a file's first 64 bytes.

    Raises PictureError for anything else, with what it is where that is known.
    """
    if Path(name).suffix.lower() in _CAMERA_RAW:
        raise PictureError(_camera_raw(name))
    kind = next((kind for magic, kind in _MAGIC if head.startswith(magic)), None) or _container(head)
    if kind:
        return kind
    foreign = next((what for magic, what in _FOREIGN_MAGIC if head.startswith(magic)), None)
    if foreign is None and head[4:8] == b"ftyp":
        foreign = "a film"
    if foreign == "a film":
        raise PictureError(f"{name}: is a film, not a picture; use impasto film, or save a frame of it as PNG")
    if foreign:
        raise PictureError(f"{name}: {foreign} is not supported here; convert it to PNG, TIFF or JPEG first")
    raise PictureError(f"{name}: not a picture; impasto reads JPEG, PNG, TIFF, WebP, AVIF, HEIC, GIF and BMP")


def _container(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] != b"ftyp":
        return None
    brands = {head[start : start + 4] for start in range(8, min(len(head), int.from_bytes(head[:4], "big")), 4)}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIF" if brands & {b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"} else None


def decode(data: bytes, kind: str, name: str, check_size: SizeCheck) -> Raster:
    """Decode a file's bytes; `check_size(width, height)` hears the size from the header before any pixel is decoded.

    Raises PictureError if the file is damaged, cut short or unsupported, OutOfMemoryError if it does not fit.
    """
    with reported(name):
        if kind == "PNG" and png_chunks.bit_depth(data) == 16:
            return decode_deep_png(data, check_size)
        if kind == "TIFF":
            return _decode_tiff(data, name, check_size)
        return _decode_with_pillow(data, kind, name, check_size)


def decode_image(image: Image.Image, name: str, check_size: SizeCheck) -> Raster:
    """Decode a Pillow image, perhaps lazily opened, at its present frame. Raises as `decode` does."""
    with reported(name):
        return raster_of_image(image, name, check_size)


def _decode_with_pillow(data: bytes, kind: str, name: str, check_size: SizeCheck) -> Raster:
    with open_lazily(data, kind, name, check_size) as image:
        raster = raster_of_image(image, name, check_size)
        if kind in ("GIF", "PNG", "WEBP", "AVIF") and getattr(image, "is_animated", False):
            return replace(raster, remarks=(f"{name}: only the first frame of this animation is used",))
        return raster


def _decode_tiff(data: bytes, name: str, check_size: SizeCheck) -> Raster:
    with open_tiff(data) as tiff:
        page = tiff.pages.first
        check_size(page.imagewidth, page.imagelength)
        if page.is_tiled:
            check_size(page.tilewidth, page.tilelength)  # one tile is decoded whole, however small the picture
        if "DNGVersion" in page.tags:
            raise PictureError(_camera_raw(name))
        if suits_tifffile(page):
            raster = decode_page(page, name)
        else:
            raster = _decode_with_pillow(data, "TIFF", name, check_size)
        if len(tiff.pages) > 1:
            return replace(raster, remarks=(*raster.remarks, f"{name}: only the first page of this TIFF is used"))
        return raster


def _camera_raw(name: str) -> str:
    return f"{name}: camera raw is not supported; develop it to TIFF or JPEG first"


@contextmanager
def reported(name: str) -> Iterator[None]:
    """Turn whatever a decoder raises in this block into an ImpastoError; its warnings are for developers: silenced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except ImpastoError:
            raise
        except MemoryError as error:
            raise OutOfMemoryError(f"{name}: does not fit into memory; make it smaller first") from error
        except Exception as error:  # damage reaches every corner of a decoder, and each corner raises its own kind
            raise PictureError(f"{name}: {_damage(error)}") from error


def _damage(error: Exception) -> str:
    if any(word in str(error).lower() for word in ("truncat", "too small", "not enough", "failed to read")):
        return "the file is cut short; copy or download it again"
    return "the file is damaged or of a rare kind; copy it again or save it as PNG with another program"

"""What tests of picture files share: small pictures as arrays, and pieces of files."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image

from impasto.pictures.files import read_picture
from impasto.pictures.picture import Picture

LETTER = np.array([[1, 2, 3], [4, 5, 6]], np.uint8) * 40
ADOBE_RGB = imagecodecs.cms_profile("adobergb")
ADOBE_COLOURS = np.array([[[110, 150, 120], [160, 140, 120], [128, 128, 128], [90, 100, 130]]], np.uint8)


def noise(height: int = 13, width: int = 17, channels: int = 3, dtype: type = np.uint8) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (height, width, channels)).astype(dtype)


def smooth(height: int = 48, width: int = 64) -> np.ndarray[Any, Any]:
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return (np.stack((rows, columns, (rows + columns) / 2), -1) * 255).round().astype(np.uint8)


def picture_of(array: np.ndarray[Any, Any]) -> Picture:
    return read_picture(array)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_png_chunk(png: bytes | bytearray, kind: bytes, content: bytes) -> bytes:
    return bytes(png[:33]) + png_chunk(kind, content) + bytes(png[33:])


def exif(orientation: int) -> bytes:
    made = Image.Exif()
    made[274] = orientation
    return made.tobytes()

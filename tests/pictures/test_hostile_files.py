"""Whatever bytes a file holds: it is read, or refused with an ImpastoError, and nothing else comes out."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from impasto.errors import ImpastoError
from impasto.pictures.files import read_embedded_record, read_picture, write_picture

ARRAY = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
DEEP = ARRAY.astype(np.uint16) * 257
ADOBE_RGB = imagecodecs.cms_profile("adobergb")
T = TypeVar("T")
MAGIC = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*", b"II+\0", b"GIF89a", b"BM", b"RIFF\xff\0\0\0WEBP"]
MAGIC += [b"\0\0\0\x18ftypavif\0\0\0\0", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"]


def by_pillow(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    file = BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(ARRAY).convert(mode).save(file, kind, exif=exif, icc_profile=ADOBE_RGB, **options)
    return file.getvalue()


def by_tifffile(array: np.ndarray[Any, Any], **options: Any) -> bytes:
    file = BytesIO()
    tifffile.imwrite(file, array, photometric="rgb", iccprofile=ADOBE_RGB, **options)
    return file.getvalue()


def written(suffix: str, folder: Path) -> bytes:
    write_picture(read_picture(DEEP), folder / f"w{suffix}", record=json.dumps({"seed": 1}))
    return (folder / f"w{suffix}").read_bytes()


def with_palette() -> bytes:
    file = BytesIO()
    Image.fromarray(ARRAY).quantize(16).save(file, "PNG", transparency=3)
    return file.getvalue()


def animated() -> bytes:
    file = BytesIO()
    frames = [Image.fromarray(ARRAY), Image.fromarray(255 - ARRAY)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


VALID: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: by_pillow("JPEG"),
    "jpeg-cmyk": lambda: by_pillow("JPEG", "CMYK"),
    "jpeg-progressive": lambda: by_pillow("JPEG", progressive=True),
    "png": lambda: by_pillow("PNG"),
    "png-palette": with_palette,
    "png-16": lambda: bytes(imagecodecs.png_encode(DEEP)),
    "webp": lambda: by_pillow("WEBP"),
    "webp-lossless": lambda: by_pillow("WEBP", lossless=True),
    "tiff": lambda: by_pillow("TIFF", compression="tiff_lzw"),
    "tiff-16": lambda: by_tifffile(DEEP, compression="lzw", predictor=True),
    "tiff-16-tiles": lambda: by_tifffile(DEEP, compression="adobe_deflate", tile=(16, 16)),
    "tiff-16-plain": lambda: by_tifffile(DEEP),
    "tiff-float": lambda: by_tifffile((DEEP / 65535).astype(np.float32)),
    "gif": animated,
    "bmp": lambda: by_pillow("BMP"),
    "avif": lambda: by_pillow("AVIF"),
}


@cache
def valid(case: str) -> bytes:
    return VALID[case]()


def read_or_refuse(data: bytes, folder: Path) -> bool:
    """Whether the bytes were read; fails on any error but our own and on any warning but our own."""
    file = folder / "hostile.bin"
    file.write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        picture = attempt(lambda: read_picture(file, max_pixels=100_000), file)
        record = attempt(lambda: read_embedded_record(file), file)
    assert record is None or isinstance(record, str)
    assert all(str(warning.message).startswith(str(file)) for warning in caught)
    if picture is not None:
        assert picture.pixels.shape == (1, 3, picture.height, picture.width)
        assert 0 <= float(picture.pixels.min()) <= float(picture.pixels.max()) <= 1
    return picture is not None


def attempt(read: Callable[[], T], file: Path) -> T | None:
    try:
        return read()
    except ImpastoError as error:
        sentence = str(error)
    assert sentence.startswith(f"{file}: ")
    assert "\n" not in sentence
    return None


FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(magic=st.sampled_from([b"", *MAGIC]), rest=st.binary(max_size=400))
def test_random_bytes_are_refused(tmp_path: Path, magic: bytes, rest: bytes) -> None:
    read_or_refuse(magic + rest, tmp_path)


@pytest.mark.parametrize("case", VALID)
def test_the_undamaged_file_is_read(tmp_path: Path, case: str) -> None:
    assert read_or_refuse(valid(case), tmp_path)


@pytest.mark.parametrize("case", VALID)
@FEW
@given(fraction=st.floats(0, 1))
def test_truncated_files_are_read_or_refused(tmp_path: Path, case: str, fraction: float) -> None:
    data = valid(case)
    read_or_refuse(data[: int(len(data) * fraction)], tmp_path)


@pytest.mark.parametrize("case", VALID)
@FEW
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=12))
def test_flipped_bytes_are_read_or_refused(tmp_path: Path, case: str, flips: list[tuple[float, int]]) -> None:
    data = bytearray(valid(case))
    for place, change in flips:
        data[int(len(data) * place)] ^= change
    read_or_refuse(bytes(data), tmp_path)


@pytest.mark.parametrize("case", VALID)
@FEW
@given(flips=st.lists(st.tuples(st.integers(0, 255), st.integers(1, 255)), min_size=1, max_size=4))
def test_damaged_headers_are_read_or_refused(tmp_path: Path, case: str, flips: list[tuple[int, int]]) -> None:
    data = bytearray(valid(case))
    for place, change in flips:
        data[place % len(data)] ^= change
    read_or_refuse(bytes(data), tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
@FEW
@example(flips=[(16, 1)])  # a TIFF whose width cannot be read
@example(flips=[(81, 2)])  # a JPEG whose EXIF makes Pillow warn
@given(flips=st.lists(st.tuples(st.integers(0, 1500), st.integers(1, 255)), min_size=1, max_size=6))
def test_damaged_records_are_read_or_refused(tmp_path: Path, suffix: str, flips: list[tuple[int, int]]) -> None:
    data = bytearray(written(suffix, tmp_path))
    for place, change in flips:
        data[place % len(data)] ^= change
    read_or_refuse(bytes(data), tmp_path)

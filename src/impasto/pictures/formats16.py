"""16-bit PNG, and TIFF of 8 to 32 bits, as `Raster`: imagecodecs and tifffile, without a step through 8 bits."""

from __future__ import annotations

import zlib
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.errors import PictureError
from impasto.pictures import png_chunks
from impasto.pictures.formats8 import orientation
from impasto.pictures.profiles import ColourSpace, unit_range
from impasto.pictures.raster import Raster, SizeCheck, raster_of_channels

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _SEPARATED = 0, 1, 2, 5  # TIFF 6.0, PhotometricInterpretation
_PREMULTIPLIED_ALPHA, _ALPHA = 1, 2  # TIFF 6.0, ExtraSamples
_IEEE_FLOAT = 3  # TIFF 6.0, SampleFormat
_JPEG = (6, 7)  # TIFF 6.0, Compression
_SPACES: dict[int, tuple[ColourSpace, int]] = {
    _WHITE_IS_ZERO: ("gray", 1),
    _BLACK_IS_ZERO: ("gray", 1),
    _RGB: ("rgb", 3),
    _SEPARATED: ("cmyk", 4),
}


def decode_deep_png(data: bytes, check_size: SizeCheck) -> Raster:
    """A 16-bit PNG: grey or RGB, with or without alpha or a transparent colour. Raises what imagecodecs raises."""
    import imagecodecs

    check_size(*png_chunks.size(data))
    found = dict(png_chunks.chunks(data))
    return replace(
        raster_of_channels(np.atleast_3d(imagecodecs.png_decode(data)), bits=16),
        profile=_png_profile(found.get(b"iCCP")),
        orientation=_exif_orientation(found.get(b"eXIf")),
    )


def _png_profile(content: bytes | None) -> bytes | None:
    if content is None:
        return None
    try:
        return png_chunks.profile(content)
    except zlib.error:
        return b"damaged"  # becomes a remark where profiles are applied


def _exif_orientation(exif: bytes | None) -> int:
    carrier = Image.new("L", (1, 1))
    if exif is not None:
        carrier.info["exif"] = b"Exif\0\0" + exif
    return orientation(carrier)


def open_tiff(data: bytes) -> Any:
    """The TIFF as a `tifffile.TiffFile`, to be used in a with statement."""
    import tifffile

    return tifffile.TiffFile(BytesIO(data))


def suits_tifffile(page: Any) -> bool:
    """Whether `decode_page` is the reader for this page; Pillow is for palettes, bits, YCbCr, Lab and JPEG."""
    deep = page.bitspersample > 8 or page.sampleformat == _IEEE_FLOAT
    plain = page.bitspersample == 8 and page.photometric in _SPACES and page.compression not in _JPEG
    return bool(deep or plain)


def decode_page(page: Any, name: str) -> Raster:
    """A page of grey, RGB or CMYK in unsigned integers or floats. Raises PictureError, and what tifffile raises."""
    space, colours = _SPACES.get(page.photometric, ("rgb", 0))
    shaped = page.axes in ("YX", "YXS", "SYX") and colours <= page.samplesperpixel <= 8
    if not colours or not shaped or page.dtype is None or page.dtype.kind not in "uf":
        raise PictureError(f"{name}: this kind of TIFF is not supported; save it as 8 or 16 bit grey, RGB or CMYK")
    values = page.asarray()
    values = np.moveaxis(values, 0, -1) if page.axes == "SYX" else np.atleast_3d(values)
    if values.shape != (page.imagelength, page.imagewidth, page.samplesperpixel):
        raise ValueError("the tags of this page contradict each other")
    values, remarks = _full_range(values, page.bitspersample, name)
    values, alpha = _split(values, colours, page.extrasamples[0] if page.extrasamples else 0)
    if page.photometric == _WHITE_IS_ZERO:
        values = (1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max) - values
    upright = page.tags.valueof(274, 1)
    return Raster(
        values,
        space,
        alpha,
        profile=page.iccprofile,
        orientation=upright if isinstance(upright, int) else 1,
        bits=page.bitspersample,
        remarks=remarks,
    )


def _full_range(values: NDArray[Any], bits: int, name: str) -> tuple[NDArray[Any], tuple[str, ...]]:
    """8 and 16 bit integers as they are, other depths and floats as float32 in 0..1, with a remark where that cuts."""
    if values.dtype.kind == "u":
        return (values if bits in (8, 16) else (values / (2**bits - 1)).astype(np.float32)), ()
    if not np.isfinite(values).all():
        raise PictureError(f"{name}: holds values that are not numbers; repair it or save it with 16 bit integers")
    outside = values.min() < 0 or values.max() > 1
    remarks = (f"{name}: its floating point values beyond 0..1 are cut off",) if outside else ()
    return values.clip(0, 1).astype(np.float32), remarks


def _split(values: NDArray[Any], colours: int, extra: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Colours and alpha; channels that are no alpha (ExtraSamples 0, such as saved selections) are dropped."""
    if extra not in (_PREMULTIPLIED_ALPHA, _ALPHA) or values.shape[-1] == colours:
        return values[..., :colours], None
    alpha = values[..., colours : colours + 1]
    if extra == _ALPHA:
        return values[..., :colours], alpha
    opacity = unit_range(alpha)
    divided = unit_range(values[..., :colours]) / np.maximum(opacity, np.finfo(np.float32).tiny)
    return divided.clip(0, 1), opacity

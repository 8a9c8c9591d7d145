"""The record inside a picture file: as much JSON text as made it, where other programs leave it alone."""

from __future__ import annotations

import zlib

from PIL import Image

from impasto.errors import PictureError
from impasto.pictures import png_chunks
from impasto.pictures.decoding import reported
from impasto.pictures.formats8 import open_lazily
from impasto.pictures.formats16 import open_tiff

SOFTWARE = "impasto"
PNG_KEYWORD = "impasto"

_SOFTWARE_TAG, _EXIF_IFD, _USER_COMMENT = 0x0131, 0x8769, 0x9286  # Exif 2.32
_UNDEFINED_CHARACTERS = bytes(8)
_PLAIN, _COMPRESSED = b"impasto:", b"impasto+zlib:"
_JPEG_LIMIT = 65_000  # a JPEG segment holds 65533 bytes, some of which are EXIF's own
_LONGEST_RECORD = 1 << 26


def exif_with_record(record: str, path: object, limit: int | None = None) -> bytes:
    """An EXIF block with the record as UserComment: UTF-8, deflated if the plain text exceeds `limit` bytes.

    Raises PictureError, naming `path`, if even the deflated text is longer than that.
    """
    comment = _PLAIN + record.encode()
    if limit is not None and len(comment) > limit:
        comment = _COMPRESSED + zlib.compress(record.encode(), 9)
        if len(comment) > limit:
            raise PictureError(
                f"{path}: a record of {len(comment) // 1000} kB does not fit into a JPEG; write .png or .tif instead"
            )
    exif = Image.Exif()
    exif[_SOFTWARE_TAG] = SOFTWARE
    exif[_EXIF_IFD] = {_USER_COMMENT: _UNDEFINED_CHARACTERS + comment}
    return exif.tobytes()


def exif_for_jpeg(record: str, path: object) -> bytes:
    """As `exif_with_record`, within what one JPEG segment holds."""
    return exif_with_record(record, path, _JPEG_LIMIT)


def find_record(data: bytes, kind: str, name: str) -> str | None:
    """The record in a file's bytes, None if it has none or a damaged one. Raises PictureError for a broken file."""
    with reported(name):
        if kind == "PNG":
            return _record_in_png(data)
        if kind == "TIFF":
            return _record_in_tiff(data)
        with open_lazily(data, kind, name, lambda *_: None) as image:
            return _record_in_exif(image)


def _record_in_png(data: bytes) -> str | None:
    texts = (
        png_chunks.parse_international_text(content) for kind, content in png_chunks.chunks(data) if kind == b"iTXt"
    )
    return next((text for keyword, text in texts if keyword == PNG_KEYWORD), None)


def _record_in_tiff(data: bytes) -> str | None:
    try:
        with open_tiff(data) as tiff:
            page = tiff.pages.first
            # Any program may leave a description; only after our own name is it a record.
            return str(page.description) if page.software == SOFTWARE and page.description else None
    except Exception:  # tifffile raises many kinds; without its tags a TIFF has no record
        return None


def _record_in_exif(image: Image.Image) -> str | None:
    try:
        comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
        text = comment.removeprefix(_UNDEFINED_CHARACTERS)
        if text.startswith(_COMPRESSED):
            inflated = zlib.decompressobj().decompress(text.removeprefix(_COMPRESSED), _LONGEST_RECORD)
            return inflated.decode()
        return text.removeprefix(_PLAIN).decode() if text.startswith(_PLAIN) else None
    except Exception:  # EXIF of other programs may hold anything, also in place of bytes
        return None

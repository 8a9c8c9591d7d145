"""The chunks of a PNG file: where it keeps its depth, its profile and its texts (W3C PNG, section 5)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER_END = 33  # the signature, and IHDR with its 13 bytes
_LARGEST_PROFILE = 1 << 26


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of each chunk up to IEND or to where the file breaks off; checksums are not verified."""
    position = len(SIGNATURE)
    while position + 12 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, position)
        content = png[position + 8 : position + 8 + length]
        if kind == b"IEND" or len(content) < length:
            return
        yield kind, content
        position += 12 + length


def bit_depth(png: bytes) -> int:
    """Bits per channel as the header gives them: 1, 2, 4, 8 or 16; 0 if there is no whole header."""
    return png[24] if len(png) >= _HEADER_END else 0


def size(png: bytes) -> tuple[int, int]:
    """Width and height as the header gives them; raises struct.error if there is no whole header."""
    width, height = struct.unpack_from(">II", png, 16)
    return width, height


def profile(content: bytes) -> bytes:
    """The ICC profile in an iCCP chunk; raises zlib.error."""
    _, _, rest = content.partition(b"\0")
    return zlib.decompressobj().decompress(rest[1:], _LARGEST_PROFILE)


def international_text(keyword: str, text: str) -> bytes:
    """Content of an iTXt chunk, uncompressed."""
    return keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode()


def parse_international_text(content: bytes) -> tuple[str, str]:
    """Keyword and text of an uncompressed iTXt chunk, as `international_text` makes it; the text may be empty."""
    keyword, _, rest = content.partition(b"\0")
    text = rest[2:].split(b"\0", 2)[-1] if rest[:1] == b"\0" else b""
    return keyword.decode("latin-1"), text.decode(errors="replace")


def insert_after_header(png: bytes, new: list[tuple[bytes, bytes]]) -> bytes:
    """The PNG with chunks added directly after IHDR."""
    made = (
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in new
    )
    return b"".join((png[:_HEADER_END], *made, png[_HEADER_END:]))

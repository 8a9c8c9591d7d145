"""What a film is written as: container, codec and quality, by names people know."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

from impasto.errors import UsageError, near_match
from impasto.pictures.numbered import is_pattern

Quality = Literal["draft", "good", "high", "master"]
Kind = Literal["video", "gif", "webp", "apng", "folder"]

QUALITIES: tuple[Quality, ...] = ("draft", "good", "high", "master")
CODECS = ("h264", "h265", "vp9", "av1", "prores")
ANIMATIONS: dict[str, Kind] = {".gif": "gif", ".webp": "webp", ".png": "apng", ".apng": "apng"}
_SMALLEST_DEEP = 64
"""Below it, x265 fails at 10 bits, and takes the process with it."""
_SMALLEST = {"h265": 16, "av1": 16}
CONTAINERS = {  # FFmpeg's name, and the codecs, the usual one first
    ".mp4": ("mp4", ("h264", "h265", "vp9", "av1")),
    ".m4v": ("mp4", ("h264", "h265")),
    ".mov": ("mov", ("h264", "h265", "prores")),
    ".mkv": ("matroska", CODECS),
    ".webm": ("webm", ("vp9", "av1")),
}
_LONGEST_SIDE = {"gif": 65_535, "webp": 16_383, "h264": 16_384, "h265": 16_384, "vp9": 65_535, "av1": 16_384}


@dataclass(frozen=True)
class Encoding:
    """An encoder of FFmpeg's, its pixel format, its options, and what Apple's players ask HEVC to be called."""

    encoder: str
    pixels: str
    options: dict[str, str]
    tag: str | None = None


@dataclass(frozen=True)
class FilmFormat:
    """How a film of `width` × `height` is written; `of` makes and checks it.

    `rate` is in frames a second, on average, for players that ask; frames lie at multiples of `time_base` seconds.
    `container` is FFmpeg's name and `codec` one of CODECS, both empty for animations and folders; `bits` per channel
    is 8 or more; `loops` makes an animation play forever.
    """

    kind: Kind
    container: str
    codec: str
    quality: Quality
    rate: Fraction
    time_base: Fraction
    width: int
    height: int
    sample_aspect_ratio: Fraction = Fraction(1)
    bits: int = 8
    loops: bool = True

    @classmethod
    def of(
        cls,
        path: str | os.PathLike[str],
        codec: str | None = None,
        quality: str = "high",
        *,
        rate: Fraction,
        time_base: Fraction,
        width: int,
        height: int,
        sample_aspect_ratio: Fraction = Fraction(1),
        bits: int = 8,
        loops: bool = True,
    ) -> FilmFormat:
        """The format that the suffix of `path` stands for.

        .mp4, .m4v, .mov and .mkv hold H.264 unless `codec` says otherwise, .webm holds VP9; .gif, .webp, .png and
        .apng are animations; no suffix, an existing folder or a pattern such as frames/f_%04d.png stands for a folder
        of numbered PNGs. `quality` is draft, good, high or master: the first three can be played everywhere, master
        is nearly without loss and larger. A UserWarning says when pixels that are not square will look squeezed.
        Raises UsageError for what cannot be.
        """
        path = Path(path)
        if quality not in QUALITIES:
            raise UsageError(
                f"quality {quality!r}: unknown{near_match(quality, QUALITIES)}; use draft, good, high or master"
            )
        if codec is not None and codec not in CODECS:
            raise UsageError(f"codec {codec!r}: unknown{near_match(codec, CODECS)}; use {_listed(CODECS)}")
        kind, container, codec = _container_and_codec(path, codec)
        longest = _LONGEST_SIDE.get(codec or kind, 65_535)
        if max(width, height) > longest:
            raise UsageError(f"{path}: {width}×{height} is more than the {longest} pixels {codec or kind} holds a side")
        if sample_aspect_ratio != 1 and not _keeps_shape(container, codec):
            warnings.warn(
                f"{path}: this film's pixels are not square, which {path.suffix or 'a folder'} cannot say, "
                "so it will look squeezed; write .mp4 or .mov",
                UserWarning,
                stacklevel=2,
            )
        if min(width, height) < _SMALLEST.get(codec, 1):
            raise UsageError(f"{path}: {width}×{height} is less than the {_SMALLEST[codec]} pixels a side of {codec}")
        if codec == "h265" and min(width, height) < _SMALLEST_DEEP and (bits > 8 or quality == "master"):
            raise UsageError(
                f"{path}: {width}×{height} is less than the {_SMALLEST_DEEP} pixels a side that h265 needs for "
                "more than 8 bits; use h264"
            )
        chosen: Quality = next(one for one in QUALITIES if one == quality)
        return cls(
            kind, container, codec, chosen, rate, time_base, width, height, sample_aspect_ratio, bits, loops
        )  # fmt: skip

    @property
    def part_suffix(self) -> str:
        """Of the files that `write_part` makes: their container keeps times exactly, whatever the film's does."""
        return ".mp4" if self.codec and self.codec != "prores" else ".mov"

    @property
    def deep(self) -> bool:
        """Whether more than 8 bits per channel are written."""
        return "10" in self.encoding.pixels or "48" in self.encoding.pixels or "64" in self.encoding.pixels

    @property
    def encoding(self) -> Encoding:
        """Of parts. Those of animations and folders are lossless: PNG in QuickTime."""
        rank = QUALITIES.index(self.quality)
        if not self.codec:
            deep = self.bits > 8 and self.kind in ("folder", "apng")
            return Encoding("png", "rgba64be" if deep else "rgba", {"pred": "mixed"})
        return _ENCODINGS[self.codec](rank, self.bits > 8)

    @property
    def padded(self) -> tuple[int, int]:
        """Width and height as they are written: even ones where colours are stored at half size."""
        if "420" in self.encoding.pixels:
            return self.width + self.width % 2, self.height + self.height % 2
        if "422" in self.encoding.pixels:
            return self.width + self.width % 2, self.height
        return self.width, self.height


def _container_and_codec(path: Path, codec: str | None) -> tuple[Kind, str, str]:
    suffix = path.suffix.lower()
    kind: Kind | None = "folder" if path.is_dir() or not suffix or is_pattern(path) else None
    if kind and suffix not in ("", ".png") and not path.is_dir():
        raise UsageError(f"{path}: numbered frames are written as .png")
    kind = kind or ANIMATIONS.get(suffix)
    if kind:
        if codec is not None:
            raise UsageError(f"{path}: has no choice of codecs; leave {codec} out, or write .mp4, .mov, .mkv or .webm")
        return kind, "", ""
    if suffix not in CONTAINERS:
        known = [*CONTAINERS, *ANIMATIONS]
        raise UsageError(f"{path}: cannot write {suffix}{near_match(suffix, known)}; use {_listed(known)}, or a folder")
    container, codecs = CONTAINERS[suffix]
    if codec is not None and codec not in codecs:
        others = [one for one, (_, held) in CONTAINERS.items() if codec in held]
        raise UsageError(
            f"{path}: {suffix} does not hold {codec}; use {_listed(codecs)} there, or write {_listed(others)}"
        )
    return "video", container, codec or codecs[0]


def _keeps_shape(container: str, codec: str) -> bool:
    """Whether players learn the shape of the pixels: Matroska's muxer leaves that to codecs that tell it themselves."""
    return container in ("mp4", "mov") or codec in ("h264", "h265")


def _listed(words: list[str] | tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


# Constant rate factors that look alike across codecs, by quality. No B-frames and no open groups: every part decodes
# alone, and times need no second clock, so that parts join at any rate; it costs about a tenth in size.


def _h264(rank: int, deep: bool) -> Encoding:
    options = {
        "crf": ("28", "22", "18", "6")[rank],
        "preset": ("veryfast", "medium", "slow", "slow")[rank],
        "bf": "0",
    }
    return Encoding("libx264", "yuv444p10le" if rank == 3 else "yuv420p", options)


def _h265(rank: int, deep: bool) -> Encoding:
    options = {
        "crf": ("30", "24", "20", "6")[rank],
        "preset": ("veryfast", "medium", "medium", "medium")[rank],
        "x265-params": "bframes=0:open-gop=0:log-level=error:info=0",
    }
    shallow = "yuv420p10le" if deep else "yuv420p"
    return Encoding("libx265", "yuv444p10le" if rank == 3 else shallow, options, "hvc1")


def _vp9(rank: int, deep: bool) -> Encoding:
    options = {
        "crf": ("42", "33", "25", "6")[rank],
        "b": "0",
        "deadline": "good",
        "cpu-used": ("6", "4", "2", "2")[rank],
        "row-mt": "1",
    }
    return Encoding("libvpx-vp9", "yuv444p" if rank == 3 else "yuv420p", options)


def _av1(rank: int, deep: bool) -> Encoding:
    options = {"crf": ("45", "34", "25", "6")[rank], "preset": ("10", "8", "6", "5")[rank]}
    return Encoding("libsvtav1", "yuv420p10le" if rank == 3 or deep else "yuv420p", options)


def _prores(rank: int, deep: bool) -> Encoding:
    options = {"profile": ("proxy", "standard", "hq", "4444")[rank], "vendor": "apl0"}
    return Encoding("prores_ks", "yuv444p10le" if rank == 3 else "yuv422p10le", options)


_ENCODINGS = {"h264": _h264, "h265": _h265, "vp9": _vp9, "av1": _av1, "prores": _prores}

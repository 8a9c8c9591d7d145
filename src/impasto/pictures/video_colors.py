"""Colours of video: YCbCr with its range and matrix <-> RGB."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from impasto.pictures.video_hdr import HLG, PQ, is_beyond_srgb, to_srgb

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

LIMITED, FULL = 1, 2
BT709 = 1
"""Numbers of ITU-T H.273, which FFmpeg uses; the matrix, the primaries and the curve of BT.709 are all 1."""

_BT601, _BT2020 = 5, 9
_SCALER_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # H.273's numbers: those of FFmpeg's scaler
_WEIGHTS = {  # of red and blue in luma (H.273, table 4)
    1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087),
    9: (0.2627, 0.0593), 10: (0.2627, 0.0593),
}  # fmt: skip


def to_rgb(frame: VideoFrame) -> NDArray[Any]:
    """`(H, W, 3)`, with alpha `(H, W, 4)`: full range, sRGB-encoded; uint8, or of deeper frames uint16 or float32.

    Without tags the range is limited, and the matrix BT.709 from 720 lines on, BT.601 below, as players take it. HDR
    and wide gamut are converted as `video_hdr` says.
    """
    values = _as_coded(frame)
    if not is_beyond_srgb(frame.color_primaries, frame.color_trc):
        return values
    top = 1 if values.dtype == np.float32 else np.iinfo(values.dtype).max
    colours: NDArray[np.float32] = (values[..., :3] / top).astype(np.float32)
    converted = top * to_srgb(colours, frame.color_primaries, frame.color_trc) + (0.5 if top > 1 else 0)
    return np.concatenate((converted.astype(values.dtype), values[..., 3:]), axis=-1)


def _as_coded(frame: VideoFrame) -> NDArray[Any]:
    if re.fullmatch(r"gray(\d+le)?", frame.format.name):
        return _of_grey(frame)
    alpha = any(component.is_alpha for component in frame.format.components)
    if bits_of(frame) > 8 and not frame.format.is_rgb:
        return _of_deep_planes(frame, alpha)
    wanted = ("rgba64le" if alpha else "rgb48le") if bits_of(frame) > 8 else ("rgba" if alpha else "rgb24")
    if frame.format.name == wanted:
        return frame.to_ndarray()
    converted = frame.reformat(
        format=wanted,
        src_colorspace=_SCALER_MATRICES[_matrix(frame)],
        src_color_range=_range(frame),
        dst_color_range=FULL,
        interpolation=_accurately(),
    )
    return converted.to_ndarray()


def _of_grey(frame: VideoFrame) -> NDArray[Any]:
    """Of full range unless it says otherwise; FFmpeg's scaler takes it for full even then."""
    bits = bits_of(frame)
    levels = _levels(frame.planes[0], np.uint8 if bits == 8 else np.uint16).astype(np.float32)
    limited = frame.color_range == LIMITED
    grey = (levels / 2 ** (bits - 8) - 16) / 219 if limited else levels / (2**bits - 1)
    colours: NDArray[np.float32] = grey.clip(0, 1)[..., None].repeat(3, axis=2)
    return (255 * colours).round().astype(np.uint8) if bits == 8 else colours


def _of_deep_planes(frame: VideoFrame, alpha: bool) -> NDArray[np.float32]:
    """By the equations of ITU-T H.273, 8.3, because FFmpeg's scaler takes 65280 of 65535 for deep white."""
    bits = bits_of(frame)
    # With the range called limited, values are shifted up by 16 - bits and not stretched.
    same = {"src_color_range": LIMITED, "dst_color_range": LIMITED}
    wide = frame.reformat(format="yuva444p16le" if alpha else "yuv444p16le", interpolation=_accurately(), **same)
    planes = [_levels(plane) for plane in wide.planes]
    luma, blue, red = (plane / np.float32(2 ** (16 - bits)) for plane in planes[:3])
    unit, top = 2 ** (bits - 8), 2**bits - 1
    if _range(frame) == FULL:
        luma, blue, red = luma / top, (blue - 128 * unit) / top, (red - 128 * unit) / top
    else:
        luma = (luma / unit - 16) / 219
        blue, red = (blue / unit - 128) / 224, (red / unit - 128) / 224
    of_red, of_blue = _WEIGHTS[_matrix(frame)]
    r, b = luma + (2 - 2 * of_red) * red, luma + (2 - 2 * of_blue) * blue
    g = (luma - of_red * r - of_blue * b) / (1 - of_red - of_blue)
    opacity = [planes[3] / np.float32(top << (16 - bits))] if alpha else []
    return np.stack((r, g, b, *opacity), axis=-1).clip(0, 1)


def _levels(plane: Any, kind: type[np.uint8 | np.uint16] = np.uint16) -> NDArray[Any]:
    return np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]


def of_rgb(values: NDArray[Any], pixel_format: str) -> VideoFrame:
    """`(H, W, 3|4)`, uint8 or uint16, as a frame of this format: BT.709 in limited range where it is YCbCr."""
    import av

    deep = values.dtype == np.uint16
    name = ("rgba64le" if deep else "rgba") if values.shape[2] == 4 else ("rgb48le" if deep else "rgb24")
    in_ycbcr = pixel_format.startswith("yuv")
    if in_ycbcr and deep:
        frame = _deep_planes_of(values)
    else:
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), name)
    if pixel_format == name:
        return frame
    if not in_ycbcr:
        return frame.reformat(format=pixel_format)
    made = frame.reformat(
        format=pixel_format,
        src_color_range=LIMITED if deep else FULL,
        dst_color_range=LIMITED,
        dst_colorspace=_SCALER_MATRICES[BT709],
        src_colorspace=_SCALER_MATRICES[BT709],
        interpolation=_accurately(),
    )
    made.colorspace, made.color_range = BT709, LIMITED
    return made


def _deep_planes_of(values: NDArray[np.uint16]) -> VideoFrame:
    """`(H, W, 3)` as Y'CbCr of 16 bits; FFmpeg's scaler would put white at 943 of 940 in ten bits."""
    import av

    r, g, b = np.moveaxis(values.astype(np.float32) / 65535, -1, 0)
    of_red, of_blue = _WEIGHTS[BT709]
    luma = of_red * r + (1 - of_red - of_blue) * g + of_blue * b
    blue, red = (b - luma) / (2 - 2 * of_blue), (r - luma) / (2 - 2 * of_red)
    frame = av.VideoFrame(values.shape[1], values.shape[0], "yuv444p16le")
    for plane, levels in zip(frame.planes, (16 + 219 * luma, 128 + 224 * blue, 128 + 224 * red), strict=True):
        rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
        rows[:, : plane.width] = (levels * 256).round()
        plane.update(rows.tobytes())
    return frame


def bits_of(frame: VideoFrame) -> int:
    """Per channel."""
    return max((component.bits for component in frame.format.components), default=8)


def is_hdr(frame: VideoFrame) -> bool:
    """Whether its curve is one for brighter screens than sRGB's."""
    return frame.color_trc in (PQ, HLG)


def _matrix(frame: VideoFrame) -> int:
    unknown = _BT2020 if is_hdr(frame) else BT709 if frame.height >= 720 or frame.width >= 1280 else _BT601
    return frame.colorspace if frame.colorspace in _WEIGHTS else unknown


def _range(frame: VideoFrame) -> int:
    full = frame.color_range == FULL or frame.format.name.startswith("yuvj") or frame.format.is_rgb
    return FULL if full else LIMITED


def _accurately() -> int:
    """Without these FFmpeg's scaler errs by up to 5 of 255 on flat colours, with them by 1."""
    from av.video.reformatter import Interpolation as Way

    return int(Way.BICUBIC | Way.ACCURATE_RND | Way.FULL_CHR_H_INT | Way.FULL_CHR_H_INP)

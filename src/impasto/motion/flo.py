"""Flows in files: the .flo of the Middlebury benchmark.

S. Baker et al., "A database and evaluation methodology for optical flow" (IJCV 2011): the number 202021.25 as a
float32, width and height as int32, then (dx, dy) as float32 by rows, all little-endian; above 1e9: unknown.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from impasto.errors import FlowError
from impasto.pictures.atomic import atomic_write, write_failure

MAGIC = 202021.25
HEADER = struct.Struct("<fii")
UNKNOWN = 1e9
"""Components larger than this are unknown; here they are NaN."""
WRITTEN_UNKNOWN = 1e10
LONGEST = 99_999
"""Pixels a side beyond which a header is damage, as in the benchmark's own reader."""


def read_flo(path: str | Path, height: int | None = None, width: int | None = None) -> Tensor:
    """The flow `(1, 2, H, W)`, float32, in pixels, (dx, dy); NaN where it is unknown.

    `height` and `width` are those of the frames, where they are known. Raises FlowError if the file is missing, cut
    off, no .flo, of another size, or holds a NaN: its writer failed there.
    """
    path = Path(path)
    content = _content(path)
    found_width, found_height = _size(path, content)
    if (height, width) not in ((None, None), (found_height, found_width)):
        raise FlowError(
            f"{path}: is {found_width}x{found_height}, and the frames are {width}x{height}: "
            "make flows of the frames at their size"
        )
    vectors = np.frombuffer(content, "<f4", offset=HEADER.size).astype(np.float32)
    if np.isnan(vectors).any():
        raise FlowError(f"{path}: holds values that are not numbers (NaN); unknown flow is written as 1e10")
    flow = torch.from_numpy(vectors).view(1, found_height, found_width, 2).permute(0, 3, 1, 2).contiguous()
    unknown = (flow.abs() > UNKNOWN).any(1, keepdim=True)
    return flow.masked_fill(unknown, torch.nan)


def write_flo(path: str | Path, flow: Tensor) -> None:
    """Write a flow `(1, 2, H, W)` in pixels, NaN where it is unknown; the file appears whole or not at all.

    Raises FlowError if it cannot be written.
    """
    path = Path(path)
    _, _, height, width = flow.shape
    vectors = flow.detach().cpu().float().masked_fill(flow.isnan().any(1, keepdim=True).cpu(), WRITTEN_UNKNOWN)
    content = HEADER.pack(MAGIC, width, height) + vectors[0].permute(1, 2, 0).numpy().astype("<f4").tobytes()
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise FlowError(write_failure(path, error, len(content))) from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FlowError(f"{path}: no such file") from None
    except OSError as error:
        raise FlowError(f"{path}: cannot be read ({error.strerror or error})") from error


def _size(path: Path, content: bytes) -> tuple[int, int]:
    """Width and height of the header, whose data are all there."""
    if len(content) < HEADER.size:
        raise FlowError(f"{path}: is cut off, it has {len(content)} bytes and not even a header; write it again")
    magic, width, height = HEADER.unpack_from(content)
    if magic != MAGIC:
        raise FlowError(f"{path}: is no .flo file, it does not begin with {MAGIC}")
    if not (0 < width <= LONGEST and 0 < height <= LONGEST):
        raise FlowError(f"{path}: is damaged, its header says {width}x{height} pixels")
    expected = HEADER.size + 8 * width * height
    if len(content) < expected:
        raise FlowError(f"{path}: is cut off, it has {len(content)} of {expected} bytes; write it again")
    if len(content) > expected:
        raise FlowError(f"{path}: is damaged, {width}x{height} takes {expected} bytes and it has {len(content)}")
    return width, height

"""Semantic maps from files: pictures, and arrays of any number of channels."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from impasto.errors import PictureError, counted
from impasto.pictures.files import Source, read_picture
from impasto.pictures.picture import Picture

MOST_CHANNELS = 512
MOST_IN_A_PICTURE = 4
"""Channels; arrays of more hold embeddings."""
LEVELS, DEEP_LEVELS = 255, 65_535


def read_map(source: Source, *, max_pixels: int = 200_000_000, name: str | None = None) -> Picture:
    """Read a map: a picture as `read_picture` does, or an embedding: an array `(H, W)` or `(H, W, M)` of any numbers.

    An embedding is a .npy file or an array in memory of more than four channels; its pixels are `(1, M, H, W)`, as
    they are; but whole numbers of one channel, 0 … 255, are labels, and come out as a grey picture of them. Numbers of
    labels in 16 bits come out as in 8 bits. Raises what `read_picture` does, `PictureError` for a .npy that is no such
    array or holds numbers that are not finite.
    """
    if isinstance(source, np.ndarray) and source.ndim == 3 and source.shape[2] > MOST_IN_A_PICTURE:
        return _embedding(source, name or "map", max_pixels)
    if isinstance(source, str | os.PathLike) and Path(source).suffix.lower() == ".npy":
        return _of_file(Path(source), name or Path(source).name, max_pixels)
    return _with_visible_numbers(read_picture(source, max_pixels=max_pixels, name=name))


def _of_file(path: Path, name: str, max_pixels: int) -> Picture:
    try:
        if path.is_dir():
            raise PictureError(f"{name}: is a folder: name the .npy file in it")
        if path.exists() and not path.stat().st_size:
            raise PictureError(f"{name}: is empty: save it anew with numpy.save")
        if path.stat().st_size > 8 * MOST_CHANNELS * max_pixels:
            raise PictureError(f"{name}: is too large for a map of {max_pixels:,} pixels: make it smaller")
        data = path.read_bytes()
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except FileNotFoundError:
        raise PictureError(f"{name}: no such file") from None
    except OSError as error:
        raise PictureError(f"{name}: cannot be read ({error.strerror or 'it is no array'}): save it anew") from error
    except (ValueError, EOFError) as error:
        if "Object arrays" in str(error):
            raise PictureError(f"{name}: holds Python objects, which are not read: save plain numbers") from error
        raise PictureError(f"{name}: is damaged, or no array of numbers: save it anew with numpy.save") from error
    found = _embedding(array, name, max_pixels) if isinstance(array, np.ndarray) else None
    if found is None:
        raise PictureError(f"{name}: holds several arrays, and a map is one: save it with numpy.save")
    return replace(found, path=path, sha256=hashlib.sha256(data).hexdigest())


def _embedding(array: NDArray[np.generic], name: str, max_pixels: int) -> Picture:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or not array.size or array.shape[2] > MOST_CHANNELS:
        raise PictureError(
            f"{name}: has the shape {'×'.join(map(str, array.shape))}, and a map is height × width × channels, "
            f"{MOST_CHANNELS} channels at most"
        )
    if array.shape[0] * array.shape[1] > max_pixels:
        raise PictureError(f"{name}: has more than {max_pixels:,} pixels: make it smaller, or raise --max-pixels")
    if array.dtype.kind not in "biuf":
        held = "text" if array.dtype.kind in "US" else array.dtype
        raise PictureError(f"{name}: holds {held}, and a map is made of numbers")
    if array.shape[2] == 1 and array.dtype.kind in "biu" and array.min() >= 0 and array.max() <= LEVELS:
        array = np.repeat(array.astype(np.float32) / LEVELS, 3, 2)  # labels, as a grey picture has them
    values = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    missing = int((~values.isfinite()).any(2).sum())
    if missing:
        raise PictureError(f"{name}: has numbers that are not finite at {counted(missing, 'position')}: fill them in")
    return Picture(values.permute(2, 0, 1)[None].contiguous(), name=name)


def _with_visible_numbers(picture: Picture) -> Picture:
    """Grey of 16 bits that holds numbers up to 255, as if it were of 8 bits."""
    if picture.bits < 16 or float(picture.pixels.max()) * DEEP_LEVELS > LEVELS + 0.5:
        return picture
    return replace(picture, pixels=picture.pixels * (DEEP_LEVELS / LEVELS), bits=8)

"""Arrays and tensors <-> pictures in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from impasto.errors import UsageError
from impasto.pictures.picture import Picture
from impasto.pictures.raster import Raster, raster_of_channels

_ROUNDING_ERROR = 1e-4  # what arithmetic may leave beyond 0..1; it is cut off silently


def to_array(picture: Picture, bits: int = 8) -> NDArray[Any]:
    """`(H, W, 3)`, or `(H, W, 4)` with alpha: uint8 or uint16 over the full range, rounded to the nearest value.

    Raises UsageError if `bits` is neither 8 nor 16 or the picture holds values that are not numbers.
    """
    if bits not in (8, 16):
        raise UsageError(f"bits {bits}: must be 8 or 16")
    channels = picture.pixels if picture.alpha is None else torch.cat((picture.pixels, picture.alpha), dim=1)
    channels = channels.detach().to("cpu", torch.float32)
    if not bool(torch.isfinite(channels).all()):
        raise UsageError(f"{picture.name}: holds values that are not numbers (NaN or infinite)")
    levels = channels.clamp(0, 1).mul_(2**bits - 1).round_().squeeze(0).permute(1, 2, 0)
    return np.ascontiguousarray(levels.numpy().astype(np.uint8 if bits == 8 else np.uint16))


def to_pil(picture: Picture) -> Image.Image:
    """An 8-bit Pillow image, RGB or with alpha RGBA. Raises UsageError for values that are not numbers."""
    return Image.fromarray(to_array(picture))


def raster_of_array(array: NDArray[Any], name: str) -> Raster:
    """`(H, W)` or `(H, W, 1|3|4)`: uint8, uint16, bool or floats in 0..1. Raises UsageError for anything else."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] not in (1, 3, 4)):
        raise UsageError(f"{name}: an array of shape {array.shape} is no picture; give (H, W), (H, W, 3) or (H, W, 4)")
    if array.size == 0:
        raise UsageError(f"{name}: an array of shape {array.shape} has no pixels")
    values = np.atleast_3d(array)
    if values.dtype == np.bool_:
        return raster_of_channels(values.astype(np.uint8) * np.uint8(255), bits=8)
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        return raster_of_channels(values.astype(values.dtype.newbyteorder("=")), bits=values.dtype.itemsize * 8)
    if values.dtype.kind == "f":
        return raster_of_channels(_checked_floats(values, name), bits=min(values.dtype.itemsize * 8, 32))
    raise UsageError(f"{name}: an array of {array.dtype} is no picture; give uint8, uint16, bool or floats in 0..1")


def raster_of_tensor(tensor: Tensor, name: str) -> Raster:
    """`(1|3|4, H, W)` or `(1, 1|3|4, H, W)`: uint8 or floats in 0..1. Raises UsageError for anything else."""
    shape = tuple(tensor.shape)
    if len(shape) not in (3, 4) or shape[-3] not in (1, 3, 4) or (len(shape) == 4 and shape[0] != 1):
        raise UsageError(f"{name}: a tensor of shape {shape} is no picture; give (3, H, W) or (1, 3, H, W)")
    if tensor.dtype != torch.uint8 and not tensor.is_floating_point():
        raise UsageError(f"{name}: a tensor of {tensor.dtype} is no picture; give uint8 or floats in 0..1")
    channels = tensor.detach().cpu()
    if channels.dtype == torch.bfloat16:  # numpy has no such type
        channels = channels.float()
    return raster_of_array(channels.reshape(shape[-3:]).permute(1, 2, 0).numpy(), name)


def _checked_floats(values: NDArray[Any], name: str) -> NDArray[np.float32]:
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):  # a NaN anywhere makes both NaN
        raise UsageError(f"{name}: holds values that are not numbers (NaN or infinite)")
    if low < -_ROUNDING_ERROR or high > 1 + _ROUNDING_ERROR:
        raise UsageError(f"{name}: holds values from {low:g} to {high:g}; floats must lie in 0..1")
    return values.astype(np.float32).clip(0, 1)

"""Pictures to learn from, and crops of them: `(B, 3, size, size)`, sRGB in 0..1."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F


def read_pictures(folders: list[Path]) -> list[Tensor]:
    """All pictures as bytes `(3, H, W)`, shorter side at most 256."""
    found = []
    for path in sorted(p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in {".jpg", ".png"}):
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        if min(picture.size) < 96:
            continue
        scale = 256 / min(picture.size)
        if scale < 1:
            picture = picture.resize([round(s * scale) for s in picture.size], Image.Resampling.LANCZOS)
        found.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous())
    return found


def part(picture: Tensor, top: int, left: int, size: int, wanted: int) -> Tensor:
    """A square of a picture as `(1, 3, wanted, wanted)`, 0..1."""
    square = picture[None, :, top : top + size, left : left + size].float() / 255
    return square if size == wanted else F.interpolate(square, (wanted, wanted), mode="bilinear", antialias=True)


def plain_crops(pictures: list[Tensor], size: int) -> Tensor:
    """Centre squares, resized."""
    crops = []
    for picture in pictures:
        h, w = picture.shape[1:]
        side = min(h, w)
        crops.append(part(picture, (h - side) // 2, (w - side) // 2, side, size))
    return torch.cat(crops).contiguous(memory_format=torch.channels_last)


def natural_crops(photos: Sequence[Tensor], device: str = "cpu") -> list[Tensor]:
    """Every eighth of some photographs, in batches: mean activations are 1 over them."""
    return [plain_crops([*photos[i : i + 128 : 8]], 224).to(device) for i in range(0, len(photos), 128)]


def augmented_crops(pictures: list[Tensor], count: int, size: int, odd: bool = True) -> Tensor:
    """Random squares of random scale, flipped, relit; if `odd`, some noisy, blurred or mixed with another picture."""
    x = torch.cat([random_square(random.choice(pictures), size) for _ in range(count)])
    gain = 1 + 0.2 * torch.randn(count, 1, 1, 1, device=x.device)
    tint = 0.06 * torch.randn(count, 3, 1, 1, device=x.device)
    x = (x - 0.5) * gain + 0.5 + tint
    for i in range(count if odd else 0):
        kind = random.random()
        if kind < 0.1:
            x[i] += random.uniform(0, 0.06) * torch.randn_like(x[i])
        elif kind < 0.2:
            other = x[random.randrange(count)]
            x[i] = x[i].lerp(other, random.uniform(0.1, 0.5))
        elif kind < 0.3:
            small = F.avg_pool2d(x[i : i + 1], 2)
            blurred = F.interpolate(small, (size, size), mode="bilinear")[0]
            x[i] = x[i].lerp(blurred, random.uniform(-1.0, 1.0))  # negative: sharpened
    return x.clamp(0, 1).contiguous(memory_format=torch.channels_last)


def random_square(picture: Tensor, size: int) -> Tensor:
    h, w = picture.shape[1:]
    side = min(h, w)
    crop = min(side, max(96, round(math.exp(random.uniform(math.log(min(size, side)), math.log(side))))))
    square = part(picture, random.randint(0, h - crop), random.randint(0, w - crop), crop, size)
    if random.random() < 0.5:
        square = square.flip(3)
    return square.transpose(2, 3) if random.random() < 0.25 else square

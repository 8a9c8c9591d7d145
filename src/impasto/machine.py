"""The machine: devices, precision, threads and memory."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import psutil
import torch

from impasto.encoders.vgg import VGG
from impasto.errors import OutOfMemoryError, UsageError

Precision = Literal["auto", "float32", "bfloat16"]

BYTES_PER_ACTIVATION = 3.4
"""Peak bytes, over the start's, per float32 activation of the trunk, in units of 4 bytes: measured in benchmarks/."""

SHARE_OF_FREE_MEMORY = 0.9


@dataclass(frozen=True)
class Machine:
    """Where the work runs: a device, and whether the encoder runs in bfloat16 there."""

    device: torch.device
    bfloat16: bool

    @classmethod
    def choose(cls, device: str = "auto", precision: Precision = "auto", threads: int | None = None) -> Machine:
        """The machine asked for; raises `UsageError` for a device that is not there."""
        if threads is not None:
            torch.set_num_threads(threads)
        chosen = choose_device(device)
        return cls(chosen, precision == "bfloat16" or (precision == "auto" and bfloat16_pays(chosen)))

    def describe(self) -> str:
        """`cpu (2 threads)`, `cuda:0 (NVIDIA H100)`."""
        if self.device.type == "cuda":
            detail = torch.cuda.get_device_name(self.device)
        elif self.device.type == "cpu":
            threads = torch.get_num_threads()
            detail = f"{threads} thread{'s' if threads > 1 else ''}"
        else:
            detail = platform.processor()
        return f"{self.device} ({detail}{', bfloat16' if self.bfloat16 else ''})"


def devices() -> list[str]:
    """Names of the devices at hand, the fastest kind first."""
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    mps = ["mps"] if torch.backends.mps.is_available() else []
    return [*cuda, *mps, "cpu"]


def choose_device(name: str) -> torch.device:
    """`auto` is the first CUDA device, else MPS, else the CPU. Nothing falls back from a device asked for."""
    present = devices()
    if name == "auto":
        return torch.device(present[0])
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in present:
        raise UsageError(f"{name}: no such device here; this machine has {', '.join(present)}")
    return torch.device(wanted)


def bfloat16_pays(device: torch.device) -> bool:
    """Whether bfloat16 convolutions are native: emulated ones (AVX2 CPUs) are some 30 times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        return any(bool(check()) for name in _NATIVE_BFLOAT16 if (check := getattr(torch.cpu, name, None)))
    return False


_NATIVE_BFLOAT16 = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on the device now."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(psutil.virtual_memory().available)


def peak_memory(device: torch.device) -> int:
    """The most bytes in use so far: of this process, or by tensors on a CUDA device."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def bytes_per_pixel(encoder: VGG, layers: Iterable[str]) -> float:
    """Estimated peak bytes per pixel of a picture while it is optimised (forward and backward, float32)."""
    last = encoder.layers.index(encoder.deepest(layers))
    shapes = [encoder.geometry[layer] for layer in encoder.layers[: last + 1]]
    return 4 * BYTES_PER_ACTIVATION * sum(shape.channels / shape.stride**2 for shape in shapes)


def require_memory(encoder: VGG, layers: Iterable[str], height: int, width: int, device: torch.device) -> int:
    """Estimated bytes for a picture of this size; raises `OutOfMemoryError`, with what fits, if there are fewer."""
    needed = round(bytes_per_pixel(encoder, layers) * height * width)
    free = free_memory(device)
    if needed > SHARE_OF_FREE_MEMORY * free:
        raise OutOfMemoryError(_too_large(needed, free, height, width, "needs about"))
    return needed


@contextmanager
def explained_memory(
    encoder: VGG, layers: Iterable[str], height: int, width: int, device: torch.device
) -> Iterator[None]:
    """Turns an allocator's failure into an `OutOfMemoryError` that says what size would fit."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_allocation_failure(error):
            raise
        needed = round(bytes_per_pixel(encoder, layers) * height * width)
        free = min(free_memory(device), needed * 3 // 4)  # what was free was not enough
        raise OutOfMemoryError(_too_large(needed, free, height, width, "ran out of memory; it needs about")) from error


def _is_allocation_failure(error: RuntimeError) -> bool:
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(words in text for words in _ALLOCATORS_WORDS)


_ALLOCATORS_WORDS = ("can't allocate memory", "not enough memory", "out of memory")  # Unix, Windows, MPS


def _too_large(needed: int, free: int, height: int, width: int, verb: str) -> str:
    size = max(height, width)
    fits = int(size * (SHARE_OF_FREE_MEMORY * free / needed) ** 0.5) // 16 * 16
    return (
        f"size {size} {verb} {_amount(needed)}, {_amount(free)} are free: "
        f"use --size {max(fits, 16)} or close other programs"
    )


def _amount(count: float) -> str:
    """`1.2 GB`, `350 MB`."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"

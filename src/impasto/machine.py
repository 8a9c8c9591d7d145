"""The machine: devices, precision, threads and memory."""

from __future__ import annotations

import platform
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch

from impasto.encoders.tiling import activations_of_tile
from impasto.encoders.vgg import VGG
from impasto.errors import OutOfMemoryError, UsageError
from impasto.memory import free_memory, parse_memory, used_memory

Precision = Literal["auto", "float32", "bfloat16"]


@dataclass(frozen=True)
class Appetite:
    """Peak bytes per number of an encoder's features, forward and backward, in one piece and in tiles.

    Tiles take more, for of each layer the core is copied out of its halo; and `kernels` bytes, which libraries keep for
    each size of tiles.
    """

    whole: float
    tiled: float
    kernels: int


APPETITES = {
    "float32": Appetite(whole=8.7, tiled=12.2, kernels=70_000_000),
    "bfloat16": Appetite(whole=4.7, tiled=5.4, kernels=200_000_000),
}
"""By what features are computed in: measured (decision 7)."""

BYTES_OF_A_PICTURE = 12 * 7
"""Per pixel of the result: the picture and its average, its gradient, Adam's moments (2.7 pictures), and what is
enlarged, all float32."""

SMALLEST_CORE = 64
"""Side of the smallest tiles' cores, in pixels; smaller ones would be nearly all halo."""

BYTES_OF_LIBRARIES = 100_000_000
"""What they take once they are at work, over what they take when the work begins."""

SHARE_OF_FREE_MEMORY, SHARE_OF_BUDGET = 0.9, 0.95
"""What may be planned with: of what is free, and of what is allowed."""


@dataclass(frozen=True)
class Machine:
    """Where the work runs: a device, and whether the encoder runs in bfloat16 there."""

    device: torch.device
    bfloat16: bool
    memory: int | None = None
    """Bytes to work within, of this process; without it, of what is free."""

    @classmethod
    def choose(
        cls,
        device: str = "auto",
        precision: Precision = "auto",
        threads: int | None = None,
        memory: str | int | None = None,
    ) -> Machine:
        """The machine asked for; raises `UsageError` for a device that is not there."""
        if threads is not None:
            torch.set_num_threads(threads)
        chosen = choose_device(device)
        bfloat16 = precision == "bfloat16" or (precision == "auto" and bfloat16_pays(chosen))
        return cls(chosen, bfloat16, None if memory is None else parse_memory(memory))

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


@dataclass(frozen=True)
class Budget:
    """Memory for a piece of work, settled once before it begins: what the work itself takes must not count as gone.

    `amount` in bytes; `remedy` says what would give more, and `used` what this process takes already, where that
    counts. `held` is what the work keeps at hand, in bytes per pixel of the result, beside what of it is looked at in
    one piece; `bfloat16` is whether that is done in bfloat16; `by_sides` says that a size is asked for as width and
    height.
    """

    amount: int
    remedy: str
    held: float = BYTES_OF_A_PICTURE
    used: int | None = None
    bfloat16: bool = False
    by_sides: bool = False

    @property
    def beside_reading(self) -> float:
        """What of that is there while other pictures are read: no gradient yet, nor anything to be enlarged."""
        return max(0.0, self.held - 24)


def budget(machine: Machine, held: float = BYTES_OF_A_PICTURE, *, kernels: int = 0, by_sides: bool = False) -> Budget:
    """What may be taken from now on: of what is free, and of what the machine may use; without so many for kernels."""
    amount = max(0, round(SHARE_OF_FREE_MEMORY * free_memory(machine.device)) - kernels)
    remedy = "close other programs"
    if machine.memory is not None:
        used = used_memory(machine.device) + BYTES_OF_LIBRARIES + kernels
        own = max(0, round(SHARE_OF_BUDGET * machine.memory) - used)
        if own <= amount:
            return Budget(own, "allow more with --memory", held, used, machine.bfloat16, by_sides)
    return Budget(amount, remedy, held, None, machine.bfloat16, by_sides)


def core_side(encoder: VGG, layers: Iterable[str], height: int, width: int, budget: Budget) -> int | None:
    """Side, in pixels, of the cores of the tiles in which a picture can be worked on; None if it fits in one piece.

    Raises `OutOfMemoryError` if not even small tiles fit, with a size that does.
    """
    layers = tuple(layers)
    left = budget.amount - budget.held * height * width
    if _bytes_of_piece(encoder, layers, height, width, None, budget) <= left:
        return None
    unit = max((encoder.geometry[layer].stride for layer in layers), default=1)
    cores = range(SMALLEST_CORE, max(height, width), unit)
    fitting = bisect_right(cores, left, key=lambda core: _bytes_of_piece(encoder, layers, height, width, core, budget))
    if not fitting:
        raise OutOfMemoryError(_too_large(encoder, layers, height, width, budget, "needs at least"))
    return cores[fitting - 1]


def estimated_memory(encoder: VGG, layers: Iterable[str], height: int, width: int, budget: Budget) -> int:
    """Estimated bytes that a picture of this size will take; raises `OutOfMemoryError` if there are fewer."""
    layers = tuple(layers)
    core = core_side(encoder, layers, height, width, budget)
    return round(budget.held * height * width + _bytes_of_piece(encoder, layers, height, width, core, budget))


def _bytes_of_piece(
    encoder: VGG, layers: tuple[str, ...], height: int, width: int, core: int | None, budget: Budget
) -> float:
    """What looking at a picture takes, forward and backward: in one piece, or in tiles with cores of this side."""
    appetite = APPETITES["bfloat16" if budget.bfloat16 else "float32"]
    if core is None:
        return appetite.whole * encoder.activations(layers) * height * width
    return appetite.tiled * activations_of_tile(encoder, layers, height, width, core) + appetite.kernels


@contextmanager
def explained_memory(encoder: VGG, layers: Iterable[str], height: int, width: int, budget: Budget) -> Iterator[None]:
    """Turns an allocator's failure into an `OutOfMemoryError` that says what would help."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _is_allocation_failure(error):
            raise
        raise OutOfMemoryError(
            _too_large(encoder, tuple(layers), height, width, budget, "ran out of memory; it needs at least")
        ) from error


def _is_allocation_failure(error: RuntimeError) -> bool:
    text = str(error)
    return isinstance(error, torch.OutOfMemoryError) or any(words in text for words in _ALLOCATORS_WORDS)


_ALLOCATORS_WORDS = ("can't allocate memory", "not enough memory", "out of memory")  # Unix, Windows, MPS


def _too_large(encoder: VGG, layers: tuple[str, ...], height: int, width: int, budget: Budget, verb: str) -> str:
    """What a size needs in the smallest tiles, what there is, and what size would fit."""
    size = max(height, width)
    held = budget.held * height * width
    whole, tile = (_bytes_of_piece(encoder, layers, height, width, core, budget) for core in (None, SMALLEST_CORE))
    needed = min(whole, tile) + held
    free = min(budget.amount, needed * 3 / 4)  # where memory ran out, what was free was not enough
    share = max(0.0, (free - tile) / held, free / (whole + held))
    fits = int(size * share**0.5) // 16 * 16
    sides = [round(side * fits / size) for side in (width, height)]
    smaller = "--width {} --height {}".format(*sides) if budget.by_sides else f"--size {fits}"
    remedies = [f"use {smaller}"] if fits >= SMALLEST_CORE else []
    if budget.used is None:
        there, more = f", {_amount(free)} are free", budget.remedy
    else:
        there = f" beside the {_amount(budget.used)} of impasto itself"
        more = "allow --memory " + _amount(1.05 * (needed + budget.used) / SHARE_OF_BUDGET).replace(" ", "")
    return f"size {size} {verb} {_amount(needed)}{there}: {' or '.join([*remedies, more])}"


def _amount(count: float) -> str:
    """`1.2 GB`, `350 MB`."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"

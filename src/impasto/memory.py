"""Memory: how much there is, how much is in use, keeping what is freed, and giving it back."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psutil
import torch

from impasto.errors import UsageError

MOST_GROWTH = 1.1
"""Of the memory of a process between the parts of a work."""

Part = TypeVar("Part")


def free_memory(device: torch.device) -> int:
    """Bytes that can be had on the device now."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(psutil.virtual_memory().available)


def used_memory(device: torch.device) -> int:
    """Bytes in use now: of this process, or by tensors on a CUDA device."""
    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return int(psutil.Process().memory_info().rss)


def parse_memory(text: str | int) -> int:
    """Bytes from `4GB`, `500 MB`, `2.5G` or a plain number of bytes; raises `UsageError`."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\d\d?)?)\s*(?:([KMGT])(i?))?B?\s*", str(text), re.IGNORECASE)
    base = 1024 if found and found[3] else 1000
    value = float(found[1]) * base ** _POWERS.index((found[2] or "").upper()) if found else 0.0
    if not 1e6 <= value < 1e18:
        raise UsageError(f"memory {text}: needs an amount of at least 1MB, such as 4GB or 500MB")
    return round(value)


_POWERS = ("", "K", "M", "G", "T")


def peak_memory(device: torch.device) -> int:
    """The most bytes in use so far: of this process, or by tensors on a CUDA device."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def kept_memory() -> Iterator[None]:
    """Let glibc keep what this process frees for what comes next; at the end it is given back.

    Otherwise each large tensor is asked of the system anew, and all its pages are made anew as they are written: a
    fifth of a step at 512 pixels, half of one at 2048.
    """
    _keep_below(_ALL, _ALL)
    try:
        yield
    finally:
        _keep_below(*_USUAL)
        release_memory()


def _keep_below(block: int, total: int) -> None:
    """Blocks from this size on have memory of their own, which goes back at once, as does what is free over `total`."""
    if _MALLOPT is not None:
        _MALLOPT(_MMAP_THRESHOLD, block)
        _MALLOPT(_TRIM_THRESHOLD, total)


def sparing(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts of a work that is to take little memory, one after the other.

    What they leave is kept for the next, but given back where it has become more than the first one took, for
    large tensors find no room between small ones that stay; and so is what is kept before and after all of them.
    """
    release_memory()
    first = 0
    for part in parts:
        yield part
        used = used_memory(torch.device("cpu"))
        first = first or used
        if used > MOST_GROWTH * first:
            release_memory()
    release_memory()


def release_memory() -> None:
    """Give back to the system what was freed: glibc keeps it, and large tensors find no room between the pieces."""
    if _TRIM is not None:
        _TRIM(0)


_GLIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_TRIM, _MALLOPT = getattr(_GLIBC, "malloc_trim", None), getattr(_GLIBC, "mallopt", None)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Numbers of mallopt(3)."""
_ALL = 2**31 - 1
_USUAL = 2**25, 2**26
"""Bytes that glibc comes to by itself where large blocks are freed."""

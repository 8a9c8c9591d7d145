"""Memory: how much there is, how much is in use, keeping what is freed, and giving it back."""

from __future__ import annotations

import ctypes
import re
import sys

import psutil
import torch

from impasto.errors import UsageError


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


def keep_memory() -> None:
    """Let glibc keep what is freed for what comes next, until `release_memory`; of the whole process.

    Otherwise it asks the system for each large tensor anew, which takes a fifth of a step and, beyond 32 MB, a third.
    """
    if _MALLOPT is not None:
        _MALLOPT(_TRIM_THRESHOLD, _LARGEST)
        _MALLOPT(_MMAP_THRESHOLD, _LARGEST)


def release_memory() -> None:
    """Give back to the system what was freed: glibc keeps it, and large tensors find no room between the pieces."""
    if _TRIM is not None:
        _TRIM(0)


_GLIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_TRIM, _MALLOPT = getattr(_GLIBC, "malloc_trim", None), getattr(_GLIBC, "mallopt", None)
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3), bytes: what is free above the last block, and blocks that get memory of their own."""
_LARGEST = 2**31 - 1

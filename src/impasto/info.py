"""`impasto info`: what there is on this machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import psutil
import torch

from impasto import __version__
from impasto.encoders import ENCODERS, cache_folder, encoder_status
from impasto.machine import bfloat16_pays, devices
from impasto.memory import free_memory


def facts() -> list[tuple[str, str]]:
    """Versions, devices, memory and encoders, as pairs of names and words."""
    memory = psutil.virtual_memory()
    rows = [
        ("impasto", __version__),
        ("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((name, version(name)) for name in ("torch", "pillow", "numpy", "av", "opencv-python-headless")),
        ("threads", f"{torch.get_num_threads()} of {os.cpu_count()} cores"),
        ("memory", f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB"),
    ]
    rows += [(f"device {name}", _device(name)) for name in devices()]
    rows += [(f"encoder {name}", _encoder(name)) for name in ENCODERS]
    return [*rows, ("downloads go to", str(cache_folder()))]


def _device(name: str) -> str:
    device = torch.device(name)
    precision = "bfloat16" if bfloat16_pays(device) else "float32"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {free_memory(device) / 1e9:.1f} GB free, {precision}"
    return f"{platform.processor() or platform.machine()}, {precision}"


def _encoder(name: str) -> str:
    status = encoder_status(name)
    if not status.present:
        return f"{status.description}; not here yet, {status.size / 1e6:.0f} MB are downloaded when first used"
    return f"{status.description}; {status.size / 1e6:.1f} MB in {status.path}"

"""Unfinished work on disk: written whole or not at all, read without running anything."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Protocol

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from impasto.errors import PictureError
from impasto.memory import release_memory
from impasto.pictures.atomic import atomic_write

KEY = "impasto-checkpoint"


class Stoppable(Protocol):
    """Work that can be gone on with from what it says of itself."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]: ...


def save_checkpoint(path: Path, work: Stoppable, about: dict[str, Any]) -> None:
    """Write the state of some work, with `about` (plain JSON values) saying what it belongs to; raises `OSError`."""
    tensors, rest = work.state()
    release_memory()  # safetensors makes a copy of all
    rows = {name: _as_stored(value.detach().cpu()) for name, value in tensors.items()}
    with atomic_write(path) as temporary:
        try:
            save_file(rows, temporary, metadata={KEY: json.dumps({"about": about, "state": rest})})
        except SafetensorError as error:
            number = re.search(r"\(os error (\d+)\)", str(error))
            raise OSError(int(number[1]) if number else 0, str(error)) from error
        finally:
            release_memory()


def load_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """The tensors, the rest of the state, and what it belongs to; raises `PictureError` in one sentence."""
    if not path.is_file():
        raise PictureError(f"{path}: no such checkpoint")
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})[KEY])
            tensors = {name: _as_used(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        return tensors, header["state"], header["about"]
    except (SafetensorError, KeyError, ValueError, TypeError, OSError):
        raise PictureError(f"{path}: is no checkpoint of impasto, or damaged; start the work anew") from None


def _as_stored(values: Tensor) -> Tensor:
    """Pictures `(1, C, H, W)` as `(1, H, W, C)`: the order in which most of them lie in memory, so without a copy."""
    return (values.permute(0, 2, 3, 1) if values.ndim == 4 else values).contiguous()


def _as_used(values: Tensor) -> Tensor:
    """A copy: what is read from a file stays mapped to it, and the file is to be replaced."""
    return (values.permute(0, 3, 1, 2) if values.ndim == 4 else values).clone()

"""What tests of the store share: works that are nothing but rows and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from impasto.library.changes import Change
from impasto.library.store import Library, Manifest

LAYERS = {"fine": 3, "coarse": 2}
MANIFEST = Manifest(encoder="lite", encoder_checksum="0", layers=LAYERS)


def row(name: str, **values: Any) -> dict[str, Any]:
    facts = {"title": name, "author": "", "tags": ["ink"], "licence": "", "facts": "folders", "width": 4, "height": 3}
    return {"id": name, "path": f"/pictures/{name}.png", "bytes": 1, "modified": 2, "thumbnail": b"", **facts, **values}


def sketch(seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(5, generator=torch.Generator().manual_seed(seed))


def adding(*numbers: int, **values: Any) -> Change:
    return Change([row(f"w{n}") for n in numbers], [sketch(n) for n in numbers], **values)


def skipped(name: str) -> Mapping[str, Any]:
    return {"path": name, "bytes": 1, "modified": 2, "reason": "odd", "id": None, "max_pixels": 9}


def ids(library: Library) -> list[str]:
    found: list[str] = library.works("id")["id"].to_pylist()
    return found

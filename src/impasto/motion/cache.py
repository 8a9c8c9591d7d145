"""Flows kept on disk, so that a second run of the same film starts at once."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from impasto.motion.flow import FlowEstimator
from impasto.pictures.atomic import atomic_write, write_failure

KEY = "flow"


class CachedFlow:
    """An estimator that finds each flow once: kept in `folder` under the content of both frames and its own name.

    Flows are float16, found and kept alike (a 1024th of their length, in pixels), so that a result does not depend on
    what was kept. A damaged entry is found again, with a warning; if the disk is full or the folder cannot be written,
    a warning says so once, and the work goes on without keeping more.
    """

    def __init__(self, estimator: FlowEstimator, folder: str | Path) -> None:
        self._estimator, self._folder, self._keeps = estimator, Path(folder), True

    @property
    def name(self) -> str:
        return f"{self._estimator.name}, float16"

    def __call__(self, from_: Tensor, to: Tensor) -> Tensor:
        path = self._folder / f"{_digest(self._estimator.name, from_, to)}.safetensors"
        kept = _kept(path, (from_.shape[0], 2, *from_.shape[-2:]))
        if kept is not None:
            return kept.to(from_.device, torch.float32)
        found = self._estimator(from_, to).half()
        if self._keeps:
            self._keep(path, found)
        return found.float()

    def _keep(self, path: Path, flow: Tensor) -> None:
        content = save({KEY: flow.cpu().contiguous()})
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            self._keeps = False
            warnings.warn(
                f"{write_failure(path, error, len(content))}; the work goes on, and flows are not kept", stacklevel=3
            )


def _digest(name: str, from_: Tensor, to: Tensor) -> str:
    """A key of everything that a flow depends on."""
    digest = hashlib.blake2b(digest_size=20)
    for part in (name, tuple(from_.shape), tuple(to.shape)):
        digest.update(f"{part}\n".encode())
    for frame in (from_, to):
        digest.update(frame.detach().cpu().float().contiguous().numpy().data)
    return digest.hexdigest()


def _kept(path: Path, shape: tuple[int, ...]) -> Tensor | None:
    """What was kept, if it was and is whole."""
    try:
        flow = load(path.read_bytes())[KEY]
        if tuple(flow.shape) != shape or flow.dtype != torch.float16:
            raise ValueError(f"it is {flow.dtype} of the shape {tuple(flow.shape)}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        warnings.warn(f"{path}: is damaged ({error}); the flow is found again", stacklevel=3)
        return None
    return flow

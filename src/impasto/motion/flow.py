"""Optical flow between two frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from impasto.motion.warping import resized_flow
from impasto.pictures.resize import resize

Preset = Literal["medium", "fast", "ultrafast"]

SMALLEST = 64
"""Pixels a side that OpenCV is given at least: in narrow frames its DIS fails, and worse."""
LUMA = (0.299, 0.587, 0.114)
"""Rec. 601, of encoded values, as OpenCV's own conversion to grey."""

Grey = NDArray[np.uint8]

_NEW: Any = None  # OpenCV is to make the array itself, of which its types do not know


class FlowEstimator(Protocol):
    """What finds the flow between two frames."""

    @property
    def name(self) -> str:
        """The method with everything that its result depends on besides the frames."""
        ...

    def __call__(self, from_: Tensor, to: Tensor) -> Tensor:
        """The flow `(B, 2, H, W)`, float32, in pixels, on the grid of `from_`: from_(p) ≈ to(p + flow(p)).

        Frames are `(B, 3, H, W)` in 0..1, of one size.
        """
        ...


class Flows(NamedTuple):
    """Both flows between a frame and an earlier one, `(B, 2, H, W)` in pixels.

    `backward`: from the frame to the earlier one, on the frame's grid; the earlier one is warped along it.
    `forward`: from the earlier one to the frame, on the earlier one's grid.
    """

    backward: Tensor
    forward: Tensor


def both_ways(estimator: FlowEstimator, now: Tensor, before: Tensor) -> Flows:
    """The flows from a frame to an earlier one and back, as `consistency` takes them."""
    return Flows(backward=estimator(now, before), forward=estimator(before, now))


@dataclass(frozen=True)
class Dis:
    """Dense inverse search, by OpenCV, in 8-bit grey.

    T. Kroeger, R. Timofte, D. Dai, L. Van Gool, "Fast optical flow using dense inverse search" (ECCV 2016). Each
    `preset` is OpenCV's of the same name with its pyramid carried one level further down. `scale`, above 0 to 1, is
    the size at which it works, relative to the frames: half of it takes a quarter of the time. Frames of fewer than
    64 pixels a side are continued at their borders; 1 × 1 is enough. The number of threads changes nothing.
    """

    preset: Preset = "medium"
    scale: float = 1.0

    @property
    def name(self) -> str:
        import cv2

        return f"DIS {self.preset} at {self.scale:g}, OpenCV {cv2.__version__}"

    def __call__(self, from_: Tensor, to: Tensor) -> Tensor:
        height, width = (max(1, round(side * self.scale)) for side in from_.shape[-2:])
        flow = _by_opencv(self._search, resize(from_, height, width), resize(to, height, width))
        return resized_flow(flow, *from_.shape[-2:])

    def _search(self, from_: Grey, to: Grey) -> NDArray[Any]:
        import cv2

        presets = {
            "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
            "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
            "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
        }
        search = cv2.DISOpticalFlow.create(presets[self.preset])
        search.setFinestScale(search.getFinestScale() - 1)
        return np.asarray(search.calc(from_, to, _NEW))


@dataclass(frozen=True)
class Farneback:
    """G. Farnebäck, "Two-frame motion estimation based on polynomial expansion" (SCIA 2003), by OpenCV, in 8-bit grey.

    Less exact than `Dis` where motions meet, and sound where a frame has no texture: there it is 0.
    """

    window: int = 15
    """Pixels over which motion is averaged."""

    @property
    def name(self) -> str:
        import cv2

        return f"Farneback over {self.window}, OpenCV {cv2.__version__}"

    def __call__(self, from_: Tensor, to: Tensor) -> Tensor:
        return _by_opencv(self._expand, from_, to)

    def _expand(self, from_: Grey, to: Grey) -> NDArray[Any]:
        import cv2

        return np.asarray(cv2.calcOpticalFlowFarneback(from_, to, _NEW, 0.5, 5, self.window, 5, 7, 1.5, 0))


def _by_opencv(find: Callable[[Grey, Grey], NDArray[Any]], from_: Tensor, to: Tensor) -> Tensor:
    """The flows of a batch, pair by pair, with as many threads as torch has."""
    height, width = from_.shape[-2:]
    pairs = zip(_grey(from_), _grey(to), strict=True)
    with _threads_of_torch():
        flows = [torch.from_numpy(np.ascontiguousarray(find(*pair)[:height, :width])) for pair in pairs]
    return torch.stack(flows).permute(0, 3, 1, 2).contiguous().to(from_.device, torch.float32)


def _grey(frames: Tensor) -> Grey:
    """8-bit luma `(B, H, W)` of frames `(B, 3, H, W)`, continued at right and bottom to the smallest size."""
    height, width = frames.shape[-2:]
    luma = torch.einsum("c,bchw->bhw", frames.new_tensor(LUMA), frames.detach())[:, None]
    padded = F.pad(luma, (0, max(0, SMALLEST - width), 0, max(0, SMALLEST - height)), mode="replicate")
    return padded[:, 0].clamp(0, 1).mul(255).round().to("cpu", torch.uint8).numpy()


@contextmanager
def _threads_of_torch() -> Iterator[None]:
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(torch.get_num_threads())
    try:
        yield
    finally:
        cv2.setNumThreads(before)

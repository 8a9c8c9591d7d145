"""What a method gives back: its synthesis, ready to run, and how the picture is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from impasto.encoders.vgg import VGG
from impasto.machine import Budget
from impasto.origins import Origins
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize_mask
from impasto.synthesis import Synthesis


@dataclass(frozen=True)
class Work:
    """A method applied to its inputs. `layers` of the `encoder` are what its losses read, which decides its memory."""

    synthesis: Synthesis
    encoder: VGG
    layers: Iterable[str]
    content: Picture | None
    """Whose alpha and bit depth come back."""
    budget: Budget
    """Of memory, for the synthesis."""
    finishing: Callable[[Tensor], Tensor] = lambda pixels: pixels
    """What is done to the synthesised pixels `(1, 3, H, W)`, of any size, on the CPU."""
    remarks: tuple[str, ...] = ()
    """What the method found out about its inputs, a sentence each."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for records: plain JSON values."""

    bits: int = 8
    """Depth of a result without content."""
    origins: Callable[[], Origins | None] | None = None
    """Where the patches of the picture so far come from; None where no patches are compared."""

    def finish(self, pixels: Tensor) -> Picture:
        """The result from the synthesised pixels."""
        finished = Picture(self.finishing(pixels.detach().float().cpu()))
        if self.content is None:
            return replace(finished, bits=self.bits)
        alpha = self.content.alpha
        if alpha is not None:
            alpha = resize_mask(alpha, pixels.shape[-2], pixels.shape[-1])
        return replace(finished, alpha=alpha, bits=self.content.bits)

"""Flows that somebody else has found, in files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from impasto.errors import FlowError, UsageError
from impasto.motion.flo import read_flo

FIRST = (0, 1)
"""What the first frame may be numbered."""


@dataclass(frozen=True)
class FlowFiles:
    """Flows in .flo files named by a pattern such as `flow_{}_{}.flo`: the numbers of the frame from and the frame to.

    Numbers may be padded, as in `{:04d}`. `first` is the number that the files give to the first frame.
    """

    pattern: str
    first: int = 0

    def path(self, from_: int, to: int) -> Path:
        """The file of the flow from one frame to another, counted from 0 here."""
        return Path(self.pattern.format(from_ + self.first, to + self.first))

    def flow(self, from_: int, to: int, height: int, width: int) -> Tensor:
        """The flow `(1, 2, H, W)` in pixels on the grid of the frame `from_`, NaN where unknown; frames count from 0.

        Raises FlowError, naming the file wanted, if it is missing, damaged or not of the frames' size.
        """
        path = self.path(from_, to)
        if not path.is_file():
            raise FlowError(
                f"{path}: no such file; it is to hold the flow from frame {from_ + self.first} "
                f"to frame {to + self.first}, the first frame being {self.first}"
            )
        return read_flo(path, height, width)


def flow_files(pattern: str) -> FlowFiles:
    """Files of a pattern, with the first frame numbered as they number it: 0 or 1.

    Raises UsageError if the pattern has no places for two numbers, FlowError if there is no flow of the first frame.
    """
    _check(pattern)
    for first in FIRST:
        files = FlowFiles(pattern, first)
        if files.path(0, 1).is_file() or files.path(1, 0).is_file():
            return files
    wanted = FlowFiles(pattern)
    raise FlowError(
        f"{wanted.path(1, 0)}: no such file, nor {wanted.path(2, 1)}: the flow from the second frame to the first, "
        "frames being numbered from 0 or from 1"
    )


def _check(pattern: str) -> None:
    try:
        names = {pattern.format(*numbers) for numbers in ((1, 2), (2, 1), (1, 3))}
    except (ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
        raise UsageError(f"{_wrong(pattern)} ({error})") from error
    if len(names) < 3:
        raise UsageError(_wrong(pattern))


def _wrong(pattern: str) -> str:
    return f"{pattern}: needs two places for numbers of frames, from and to, such as flow_{{}}_{{}}.flo"

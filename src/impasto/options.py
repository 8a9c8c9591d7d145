"""Options that all commands share: where results go, where the work runs, what is said about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Group, Parameter

COMMON = Group("Options everybody needs", sort_key=0)
GROUPS = {
    name: Group(name.capitalize(), sort_key=place)
    for place, name in enumerate(
        ("picture", "style", "content", "time", "maps", "regions", "colour", "optimisation", "output", "machine"), 1
    )
}
MAX_PIXELS = 200_000_000
OUTPUT, MACHINE = GROUPS["output"], GROUPS["machine"]


@dataclass(frozen=True)
class OutputOptions:
    """Where results go. Names of fields are names of options."""

    output: Annotated[
        Path | None,
        Parameter(
            name=["--output", "-o"],
            group=COMMON,
            help="Where the result goes; the suffix chooses PNG, JPEG, WebP or TIFF. [default: named after the inputs]",
        ),
    ] = None
    force: Annotated[
        bool,
        Parameter(group=OUTPUT, negative=(), show_default=False, help="Overwrite what exists; otherwise numbered."),
    ] = False
    quality: Annotated[
        int | None,
        Parameter(group=OUTPUT, help="Of JPEG, WebP and AVIF (1 … 100). [default: 95]"),
    ] = None
    bits: Annotated[
        Literal[8, 16] | None,
        Parameter(group=OUTPUT, help="Bits per channel. [default: 16 for TIFF, the content's for PNG, otherwise 8]"),
    ] = None
    plot: Annotated[Path | None, Parameter(group=OUTPUT, help="Also plot the losses, as PNG, SVG or PDF.")] = None
    record: Annotated[Path | None, Parameter(group=OUTPUT, help="Also write the record, as JSON.")] = None
    field: Annotated[
        Path | None, Parameter(group=OUTPUT, help="Also write where each patch comes from: a picture, or .npy.")
    ] = None
    preview: Annotated[
        bool, Parameter(group=OUTPUT, show_default=False, help="Whether a preview is on disk while the work goes on.")
    ] = True


@dataclass(frozen=True)
class MachineOptions:
    """Where the work runs."""

    device: Annotated[str, Parameter(group=MACHINE, help="auto, cpu, cuda, cuda:1 …, or mps.")] = "auto"
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        Parameter(group=MACHINE, help="Of the encoder; auto is bfloat16 where the device is fast at it."),
    ] = "auto"
    threads: Annotated[int | None, Parameter(group=MACHINE, help="CPU threads (1 …). [default: all cores]")] = None
    memory: Annotated[
        str | None, Parameter(group=MACHINE, help="To work within, as 4GB; large pictures go in tiles. [default: free]")
    ] = None
    max_pixels: Annotated[int, Parameter(group=MACHINE, help="Largest input accepted, in pixels.")] = MAX_PIXELS


@dataclass(frozen=True)
class TalkOptions:
    """What is said about the work. `main` looks for these words before anything else is known."""

    quiet: Annotated[
        bool,
        Parameter(group=MACHINE, negative=(), show_default=False, help="Say where the result is, or what is wrong."),
    ] = False
    json: Annotated[
        bool, Parameter(group=MACHINE, negative=(), show_default=False, help="One JSON event a line, on stdout.")
    ] = False
    debug: Annotated[bool, Parameter(group=MACHINE, negative=(), show_default=False, help="Show tracebacks.")] = False

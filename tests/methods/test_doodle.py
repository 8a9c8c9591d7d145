"""Doodles: what they are painted with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from impasto.errors import UsageError
from impasto.methods.doodle import DoodleSettings, doodle
from impasto.pictures.picture import Picture
from mapped import CPU, FEW, halves, painted


def test_a_doodle_is_painted_with_what_its_colours_are_in_the_style(lively_path: Path) -> None:
    """Half of the style is dark, half is bright: so are the halves of the result."""
    style = painted(1)
    style.pixels[..., :32] *= 0.2
    style.pixels[..., 32:] = 1 - 0.2 * style.pixels[..., 32:]
    settings = DoodleSettings.of(**{**FEW, "steps": 60}, encoder=str(lively_path), style_map="m.png")
    work = doodle(halves(turned=True), [style], settings, CPU, {"style_map": halves()})
    pixels = work.finish(work.synthesis.run()).pixels
    assert float(pixels[..., :24].mean()) > float(pixels[..., 40:].mean()) + 0.1


def test_a_doodle_of_several_files_is_one_of_a_file_with_as_many_colours(lively_path: Path) -> None:
    masks = [Picture(one.pixels[:, [channel] * 3], name=f"{channel}.png") for one in [halves()] for channel in (0, 2)]
    theirs = dict(zip(("style_map", "style_map2"), masks, strict=True))
    values = {**FEW, "encoder": str(lively_path), "style_map": "0.png+2.png"}
    several = DoodleSettings.of(**values, layout_also="2.png")
    layout, also = (replace(one, pixels=one.pixels.flip(-1)) for one in masks)
    made = doodle(layout, [painted(1)], several, CPU, {**theirs, "layout_also": also}).synthesis.run()
    one_file = DoodleSettings.of(**{**values, "style_map": "m.png"}, map_kind="labels")
    expected = doodle(halves(turned=True), [painted(1)], one_file, CPU, {"style_map": halves()}).synthesis.run()
    assert torch.equal(made, expected)
    with pytest.raises(UsageError, match=r"^2.png: is 32×64, and 0.png is 64×64: a map needs the shape"):
        doodle(layout, [painted(1)], several, CPU, {**theirs, "layout_also": halves(width=32, name="2.png")})


def test_embeddings_lay_a_doodle_out(lively_path: Path) -> None:
    layout, own = (Picture(torch.rand(1, 7, 32, 32, generator=torch.Generator().manual_seed(n))) for n in (0, 1))
    settings = DoodleSettings.of(**FEW, encoder=str(lively_path), style_map="m.npy")
    with pytest.raises(UsageError, match=r"^style_map: 1 map for 2 pictures: give one for each"):
        doodle(layout, [painted(1), painted(2)], settings, CPU, {"style_map": own})
    work = doodle(layout, [painted(1, 32, 32)], settings, CPU, {"style_map": own})
    assert work.finish(work.synthesis.run()).pixels.shape == (1, 3, 64, 64)

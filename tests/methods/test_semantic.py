"""Semantic transfer: what comes from where, what is told, errors in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import impasto as package
from impasto.encoders import VGG
from impasto.errors import OutOfMemoryError, UsageError
from impasto.losses import PatchLoss
from impasto.machine import Machine
from impasto.methods import numbered
from impasto.methods import semantic as semantic_module
from impasto.methods.doodle import DoodleSettings
from impasto.methods.patches import SMOOTHER, Look
from impasto.methods.reading import Reader
from impasto.methods.semantic import SemanticSettings, semantic
from impasto.methods.settings import Settings
from impasto.methods.transfer import TransferSettings, transfer
from impasto.methods.work import Work
from impasto.pictures.files import read_picture
from impasto.pictures.picture import Picture
from impasto.synthesis import Objective, Term
from mapped import CPU, FEW, halves, painted
from studio import FAST, Command, pixels

SHALLOW = {"style_layers": "relu2_1,relu3_1", "content_layers": "relu3_1"}
Begin = Callable[..., Work]


@pytest.fixture
def guided(lively_path: Path) -> Begin:
    """`semantic` with the tiny encoder and few steps."""

    def begin(
        content: Picture, *styles: Picture, drawn: Sequence[Picture] = (), machine: Machine = CPU, **values: Any
    ) -> Work:
        pictures = dict(zip(numbered("map", len(drawn)), drawn, strict=True))
        settings = {**FEW, **SHALLOW, "encoder": str(lively_path), "maps": [*pictures] or "none", **values}
        return semantic(content, styles, SemanticSettings.of(**settings), CPU, pictures)

    return begin


def origins(work: Work) -> Any:
    work.synthesis.run()
    assert work.origins is not None
    return work.origins()


def test_without_maps_it_is_transfer_with_patches(guided: Begin, lively_path: Path) -> None:
    content, style = painted(0), painted(1)
    options = {"style_loss": "patches", "smoothness": SMOOTHER}
    settings = TransferSettings.of(**FEW, **SHALLOW, encoder=str(lively_path), **options)
    plain = transfer(content, [style], settings, CPU).synthesis.run()
    assert torch.equal(guided(content, style).synthesis.run(), plain)
    assert torch.equal(guided(content, style, drawn=[halves(), halves()], map_strength=0).synthesis.run(), plain)


@pytest.mark.parametrize("strength", [1, 100])
def test_every_patch_comes_from_its_own_half(guided: Begin, strength: float) -> None:
    found = origins(guided(painted(0), painted(1), drawn=[halves(), halves(turned=True)], map_strength=strength))
    assert [one["purity"] for one in found.facts.values()] == [1, 1]
    _, _, column = found.places.unbind(-1)
    middle = column.shape[1] // 2
    assert float(column[:, : middle - 1].min()) >= 0.5 > 0.49 >= float(column[:, middle + 1 :].max()) - 0.02


def test_weak_maps_let_styles_cross(guided: Begin) -> None:
    found = origins(guided(painted(0), painted(1), drawn=[halves(), halves(turned=True)], map_strength=0.01))
    assert 0.2 < found.facts["relu2_1"]["purity"] < 0.8


def test_the_picture_itself_with_its_own_map_stays_as_it_is(guided: Begin) -> None:
    content = painted(0)
    work = guided(content, content, drawn=[halves(), halves()], variety=0)
    losses = work.synthesis.objective_at(work.synthesis.scale)(content.pixels)[1]
    assert float(losses["style"]) == pytest.approx(0, abs=1e-6)


def test_maps_of_other_sizes_are_the_same_maps(guided: Begin) -> None:
    work = guided(painted(0), painted(1), drawn=[halves(), halves(True)])
    small = guided(painted(0), painted(1), drawn=[halves(height=32, width=32), halves(True)])
    losses = [one.synthesis.objective_at(one.synthesis.scale)(painted(0).pixels)[1]["style"] for one in (work, small)]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-5)


def test_several_styles_are_told_apart(guided: Begin) -> None:
    styles = [painted(1), painted(2)]
    blue, red = halves(), halves(turned=True)
    blue.pixels[:, 0], red.pixels[:, 2] = 0, 0
    blue.pixels[:, 2], red.pixels[:, 0] = 1, 1
    found = origins(guided(painted(0), *styles, drawn=[halves(), red, blue]))
    number = found.places[..., 0].round()
    assert (number[:, : number.shape[1] // 2 - 1] == 0).all()
    assert (number[:, number.shape[1] // 2 + 1 :] == 1).all()


def test_regions_keep_their_styles(lively_path: Path) -> None:
    left = torch.zeros(1, 3, 64, 64)
    left[..., :32] = 1
    settings = TransferSettings.of(
        **FEW, **SHALLOW, encoder=str(lively_path), style_loss="patches", masks="a.png,b.png"
    )
    masks = {"mask": Picture(left, name="a.png"), "mask2": Picture(1 - left, name="b.png")}
    found = origins(transfer(painted(0), [painted(1), painted(2)], settings, CPU, masks))
    number = found.places[..., 0].round()
    assert (number[:, : number.shape[1] // 2 - 1] == 0).all()
    assert (number[:, number.shape[1] // 2 + 1 :] == 1).all()


def test_regions_take_their_own_parts_of_a_style(lively_path: Path) -> None:
    settings = TransferSettings.of(
        **FEW,
        **SHALLOW,
        encoder=str(lively_path),
        style_loss="patches",
        segmentation="a.png",
        style_segmentations="b.png",
    )
    maps = {"segmentation": halves(), "style_segmentation": halves(turned=True)}
    column = origins(transfer(painted(0), [painted(1)], settings, CPU, maps)).places[..., 2]
    middle = column.shape[1] // 2
    assert float(column[:, : middle - 1].min()) > 0.48
    assert float(column[:, middle + 1 :].max()) < 0.52


def test_at_strength_1_maps_are_as_large_as_features(guided: Begin) -> None:
    work = guided(painted(0), painted(1), drawn=[halves(), halves(True)], map_strength=2)
    objective = work.synthesis.objective_at(work.synthesis.scale)
    [loss] = [term.loss for term in objective.terms if isinstance(term.loss, PatchLoss)]
    features = objective.encoder(painted(1).pixels, loss.layers)
    for layer in loss.layers:
        maps = loss._content[layer].maps
        assert maps is not None
        assert float(maps.square().sum(-1).mean()) == pytest.approx(
            4 * float(features[layer].square().sum(1).mean()), rel=0.05
        )


def test_what_is_transparent_gives_no_patches(guided: Begin) -> None:
    alpha = torch.zeros(1, 1, 64, 64)
    alpha[..., :40] = 1
    found = origins(guided(painted(0), painted(1, alpha=alpha)))
    assert float(found.places[..., 2].max()) < 0.7


def test_variants_are_the_style_turned_tilted_and_resized() -> None:
    style = painted(0, 40, 60)
    look = Look(style.pixels, torch.zeros(1, 3, 10, 15), labels=(torch.arange(24).view(1, 1, 4, 6),))
    variants = [*look.with_variants(("turns", "tilts", "sizes"))]
    sizes = [tuple(one.pixels.shape[-2:]) for one in variants]
    assert sizes[:4] == [(40, 60), (60, 40), (40, 60), (60, 40)]
    assert torch.equal(variants[2].pixels, style.pixels.flip(-1, -2))
    assert torch.equal(variants[2].labels[0], look.labels[0].flip(-1, -2))
    assert sizes[6:] == [(42, 63), (38, 57)]
    tilted = variants[4].pixels
    assert tilted.shape[-1] / tilted.shape[-2] == pytest.approx(1.5, abs=0.05)
    centre = tilted[..., tilted.shape[-2] // 2, tilted.shape[-1] // 2]
    assert torch.allclose(centre, style.pixels[..., 20, 30], atol=0.1)
    assert [*look.with_variants(())] == [look]


@pytest.mark.parametrize("variants", ["turns", "tilts,sizes"])
def test_variants_give_patches_too(guided: Begin, variants: str) -> None:
    plain, more = (
        guided(painted(0), painted(1), drawn=[halves(), halves(True)], variety=0, style_variants=kinds)
        for kinds in ((), variants)
    )
    losses = [one.synthesis.objective_at(one.synthesis.scale)(painted(0).pixels)[1]["style"] for one in (plain, more)]
    assert losses[1] < losses[0]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"maps": "a.png"}, "maps: 1 map for 2 pictures: give one for each, with + between several files of one"),
        ({"maps": "a.png+,b.png"}, "a.png+: has nothing on one side of a +: name a file there, or leave it out"),
        ({"maps": "auto:1"}, "maps: auto stands alone, or with 2 to 8 parts, as in auto:4"),
        ({"maps": "auto:many"}, "maps: auto stands alone, or with 2 to 8 parts, as in auto:4"),
        ({"maps": "auto,a.png"}, "maps: auto stands alone, or with 2 to 8 parts, as in auto:4"),
        ({"masks": "a.png"}, "masks and segmentation: say what is where with maps"),
        ({"style_weights": "1"}, "style_weights and mix: patches come from the style they are most like"),
        ({"map_strength": -1}, "map_strength: -1 is not allowed, it should be at least 0"),
        ({"style_variants": "turn"}, "style_variants: no such choice as 'turn' (did you mean turns?)"),
    ],
)
def test_one_sentence_for_what_makes_no_sense(guided: Begin, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        guided(painted(0), painted(1), **values)
    assert str(error.value).startswith(sentence)


def test_parts_of_one_map_alone_are_told(guided: Begin) -> None:
    green = halves(name="style.png")
    green.pixels[:, 1, :, :32], green.pixels[:, 0] = 1, 0
    with pytest.warns(UserWarning, match="50% of it") as told:
        guided(painted(0), painted(1), drawn=[halves(), green])
    assert [str(one.message) for one in told] == [
        "map.png: red, 50% of it, is in no map of a style, so that it is made of whatever looks most like it; say what "
        "it is with --match"
    ]
    with pytest.warns(UserWarning, match="50% of it") as told:
        guided(painted(0), painted(1), painted(2), drawn=[halves(), halves(), green])
    assert [str(one.message) for one in told] == [
        "style.png: green, 50% of it, is not in map.png, so that nothing is made of it"
    ]


def test_parts_of_one_picture_alone_are_told_in_its_own_name(guided: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, first, second = (painted(seed, name=f"{name}.jpg") for seed, name in enumerate(("photo", "first", "second")))
    blue, both = halves(name="map of photo.jpg"), halves(name="map of first.jpg")
    blue.pixels[:, 0], blue.pixels[:, 2] = 0, 1
    monkeypatch.setattr(semantic_module, "joint_maps", lambda *_: [both, blue, blue])
    with pytest.warns(UserWarning, match="50% of it") as told:
        guided(photo, first, second, maps="auto")
    assert [str(one.message) for one in told] == [
        "photo.jpg: nothing in first.jpg or second.jpg looks like 50% of it, which is made of whatever is most like it"
    ]
    monkeypatch.setattr(semantic_module, "joint_maps", lambda *_: [blue, both, blue])
    with pytest.warns(UserWarning, match="50% of it") as told:
        guided(photo, first, second, maps="auto")
    assert [str(one.message) for one in told] == [
        "first.jpg: 50% of it looks like nothing in photo.jpg, and is not used"
    ]


@pytest.mark.parametrize(("name", "value"), [("map_strength", 3), ("map_kind", "labels"), ("match", "red:blue")])
def test_what_is_said_of_maps_needs_some(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"^{name}: count with maps alone: leave them out, or none for maps"):
        SemanticSettings.of(maps="none", **{name: value})


def test_a_map_of_another_shape_is_refused(guided: Begin) -> None:
    with pytest.raises(UsageError, match=r"map.png: is 96×64, and picture is 64×64: a map needs the shape"):
        guided(painted(0), painted(1), drawn=[halves(width=96), halves()])


def test_a_size_beyond_the_memory_is_refused_before_the_work(guided: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reader, "core_side", lambda *_: 256)
    with pytest.raises(OutOfMemoryError, match=r"64×64 does not fit into memory in one piece"):
        guided(painted(0), painted(1))


def test_the_time_that_is_foretold_grows_with_the_square_of_the_pixels(guided: Begin) -> None:
    small, large = guided(painted(0), painted(1), size=256, coarsest=128, match_every=1).synthesis.schedule
    assert (large.effort - 1) == pytest.approx(4 * (small.effort - 1))
    often, seldom = (guided(painted(0), painted(1), match_every=n).synthesis.schedule[0].effort - 1 for n in (1, 4))
    assert often == pytest.approx(4 * seldom)
    several = guided(painted(0), painted(1), match_every=1, style_variants="turns").synthesis.schedule[0].effort - 1
    assert several == pytest.approx(4 * often)


def test_tiles_are_refused_in_one_sentence(lively_encoder: VGG) -> None:
    features = {"relu2_1": torch.rand(1, 6, 8, 8)}
    objective = Objective(lively_encoder, [Term("style", PatchLoss([features], {"relu2_1": 1.0}), 1.0)], tile=64)
    with pytest.raises(UsageError, match="style: this loss is no sum over positions"):
        objective.add_gradient(torch.rand(1, 3, 256, 256).requires_grad_())


def test_on_the_command_line(studio: Path, impasto: Command) -> None:
    for name, size in (("harbour", (64, 48)), ("starry", (60, 60))):
        colours = np.zeros((size[1], size[0], 3), np.uint8)
        colours[: size[1] // 2, :, 0], colours[size[1] // 2 :, :, 1] = 255, 255
        Image.fromarray(colours).save(f"{name}-map.png")
    options = (*FAST, "--style-layers", "relu2_1", "--content-layers", "relu2_1", "--field", "field.png")
    shown = impasto("semantic", "harbour.jpg", "starry.jpg", "--maps", "harbour-map.png,starry-map.png", *options)
    assert shown.code == 0
    assert "patches of relu2_1: usage 0." in shown.err
    assert "100% from a part like their own" in shown.err
    assert read_picture("field.png").height > 300
    assert "\nfield: field.png\n" in shown.err
    assert "[default: auto]" in impasto("semantic", "--help").out
    shown = impasto("doodle", "harbour-map.png", "starry.jpg", *FAST)
    assert shown.code == 2
    assert shown.last_line == (
        "doodle needs a map of starry.jpg, in the colours of harbour-map.png: give it as --style-map"
    )
    options = (*FAST, "--style-layers", "relu2_1", "--style-map", "starry-map.png", "--field", "field.npy")
    assert impasto("doodle", "harbour-map.png", "starry.jpg", *options, "-o", "made.png").code == 0
    several = ("--layout-also", "harbour-map.png", "--style-map", "starry-map.png+starry-map.png")
    shown = impasto("doodle", "harbour-map.png", "starry.jpg", *FAST, *several, "-o", "several.png")
    assert shown.code == 0, shown.err
    assert impasto("rerun", "several.png", "-o", "twice.png").code == 0
    assert np.array_equal(pixels("several.png"), pixels("twice.png"))
    field = np.load("field.npy")
    assert field.shape[2] == 3
    assert (field >= 0).all()
    again = impasto("rerun", "made.png", "-o", "again.png")
    assert again.code == 0
    assert torch.equal(read_picture("made.png").pixels, read_picture("again.png").pixels)
    shown = impasto("transfer", "harbour.jpg", "starry.jpg", *FAST, "--field", "f.png")
    assert (shown.code, shown.last_line) == (
        2,
        "--field: says where patches come from: use semantic, doodle or --style-loss patches",
    )


def test_in_python(studio: Path) -> None:
    harbour, starry = (read_picture(f"{name}.jpg") for name in ("harbour", "starry"))
    options = {"encoder": "tiny.safetensors", "size": 48, "coarsest": 48, "steps": 2, "style_layers": "relu2_1"}
    own, theirs = halves(height=48, width=64), halves(height=60, width=60)
    result = package.semantic(harbour, starry, maps=[own, theirs], content_layers="relu2_1", **options)
    assert result.origins is not None
    assert result.record.facts["patches"]["relu2_1"]["purity"] == 1
    result = package.doodle(own, starry, theirs, **options)
    assert result.picture.size == (48, 36)
    first, second = package.maps([painted(0), painted(1)], 2)
    assert first.pixels.shape == second.pixels.shape == (1, 3, 64, 64)
    for one in (
        "harbour.jpg",
        Path("harbour.jpg"),
        harbour,
        Image.open("harbour.jpg"),
        np.asarray(Image.open("harbour.jpg")),
    ):
        [alone] = package.maps(one, 2)
        assert alone.pixels.shape == (1, 3, 48, 64)


def test_grey_maps_beside_coloured_ones_are_told(guided: Begin) -> None:
    with pytest.warns(UserWarning, match=r"is grey and .* has colours, and only equal ones are the same part"):
        guided(painted(0), painted(1), drawn=[Picture(halves().pixels[:, :1].expand(-1, 3, -1, -1)), halves()])


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (SemanticSettings, {"color_only": True}, "color_only: paints nothing, and has no use for maps"),
        (DoodleSettings, {"start": "content"}, "start: a doodle has no content to begin with"),
    ],
)
def test_what_maps_have_no_use_for_is_refused(model: type[Settings], options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        model.of(**options)

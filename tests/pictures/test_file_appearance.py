"""Pictures are seen as they are meant: upright, in their true colours, and nothing that is hidden shows through."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from impasto.errors import PictureError
from impasto.pictures.files import read_picture, to_array
from specimens import ADOBE_COLOURS, ADOBE_RGB, LETTER, exif, noise, smooth, with_png_chunk

# Orientation

UPRIGHT = {
    1: [[1, 2, 3], [4, 5, 6]],
    2: [[3, 2, 1], [6, 5, 4]],
    3: [[6, 5, 4], [3, 2, 1]],
    4: [[4, 5, 6], [1, 2, 3]],
    5: [[1, 4], [2, 5], [3, 6]],
    6: [[4, 1], [5, 2], [6, 3]],
    7: [[6, 3], [5, 2], [4, 1]],
    8: [[3, 6], [2, 5], [1, 4]],
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("case", ["png8", "png16", "tif8", "tif16", "webp", "jpg", "avif"])
def test_exif_orientation_is_undone(tmp_path: Path, orientation: int, case: str) -> None:
    large = LETTER.repeat(16, 0).repeat(16, 1)
    file = tmp_path / f"o.{case.rstrip('0123456789')}"
    if case == "png16":
        png = imagecodecs.png_encode(large.astype(np.uint16) * 257)
        file.write_bytes(with_png_chunk(png, b"eXIf", exif(orientation).removeprefix(b"Exif\0\0")))
    elif case == "tif16":
        tag = (274, "H", 1, orientation, True)
        tifffile.imwrite(file, large.astype(np.uint16) * 257, metadata=None, extratags=[tag])
    else:
        Image.fromarray(large).convert("RGB").save(file, exif=exif(orientation), quality=95)
    seen = to_array(read_picture(file))[8::16, 8::16, 1]
    assert (seen / 40).round().astype(int).tolist() == UPRIGHT[orientation]


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_heic_is_turned_once_and_only_once(tmp_path: Path, orientation: int) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    large = Image.fromarray(LETTER.repeat(32, 0).repeat(32, 1)).convert("RGB")
    pillow_heif.from_pillow(large).save(tmp_path / "o.heic", quality=95, exif=exif(orientation))
    seen = to_array(read_picture(tmp_path / "o.heic"))[16::32, 16::32, 1]
    assert (seen / 40).round().astype(int).tolist() == UPRIGHT[orientation]


@pytest.mark.parametrize("damage", [b"Exif\0\0junk", b"Exif\0\0II*\0\xff\xff\xff\xff", exif(200)])
def test_damaged_exif_is_no_reason_to_refuse_a_picture(tmp_path: Path, damage: bytes) -> None:
    Image.fromarray(smooth()).save(tmp_path / "e.jpg", exif=damage)
    assert read_picture(tmp_path / "e.jpg").width == 64


def test_exif_that_pillow_cannot_parse_is_no_reason_to_refuse_a_picture(tmp_path: Path) -> None:
    text = PngInfo()
    text.add_text("Raw profile type exif", "\nexif\n4\nnot hexadecimal")
    Image.fromarray(noise()).save(tmp_path / "e.png", pnginfo=text)
    assert np.array_equal(to_array(read_picture(tmp_path / "e.png")), noise())


# Colour profiles


def adobe_to_srgb(values: np.ndarray[Any, Any]) -> Any:
    """Adobe RGB (1998), section 4.3, to IEC 61966-2-1, from their published primaries."""
    to_xyz = np.array([[0.57667, 0.18556, 0.18823], [0.29734, 0.62736, 0.07529], [0.02703, 0.07069, 0.99134]])
    to_rgb = np.array([[3.24097, -1.53738, -0.49861], [-0.96924, 1.87597, 0.04156], [0.05563, -0.20398, 1.05697]])
    linear = (values ** (563 / 256) @ to_xyz.T @ to_rgb.T).clip(0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_8_bit_adobe_rgb_becomes_srgb(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"w.{suffix}"
    Image.fromarray(ADOBE_COLOURS).save(file, icc_profile=ADOBE_RGB, lossless=True)
    seen = read_picture(file).pixels[0].permute(1, 2, 0).numpy()
    assert np.abs(seen - adobe_to_srgb(ADOBE_COLOURS / 255)).max() < 0.3 / 255
    assert np.abs(seen - ADOBE_COLOURS / 255).max() > 10 / 255


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_adobe_rgb_becomes_srgb_without_an_8_bit_step(tmp_path: Path, suffix: str) -> None:
    ramp = np.linspace(20000, 30000, 900).round().astype(np.uint16)
    array = np.stack((ramp, ramp + 4000, ramp), -1)[None]
    file = tmp_path / f"w.{suffix}"
    if suffix == "png":
        content = b"adobe\0\0" + zlib.compress(ADOBE_RGB)
        file.write_bytes(with_png_chunk(imagecodecs.png_encode(array), b"iCCP", content))
    else:
        tifffile.imwrite(file, array, photometric="rgb", iccprofile=ADOBE_RGB, metadata=None)
    seen = read_picture(file).pixels[0].permute(1, 2, 0).numpy()
    assert np.abs(seen - adobe_to_srgb(array / 65535)).max() < 3e-4
    assert len(np.unique(seen[..., 1])) > 890


def test_float_colours_beyond_srgb_are_cut_to_its_range(tmp_path: Path) -> None:
    pure = np.zeros((2, 2, 3), np.float32)
    pure[..., 1] = 1
    tifffile.imwrite(tmp_path / "f.tif", pure, photometric="rgb", iccprofile=ADOBE_RGB, metadata=None)
    assert read_picture(tmp_path / "f.tif").pixels[0, :, 0, 0].tolist() == pytest.approx([0, 1, 0], abs=1e-3)
    assert float(read_picture(tmp_path / "f.tif").pixels.min()) == 0


def test_a_grey_profile_is_applied(tmp_path: Path) -> None:
    linear = imagecodecs.cms_profile("gray", gamma=1.0)
    Image.new("L", (4, 4), 128).save(tmp_path / "g.png", icc_profile=linear)
    assert abs(float(read_picture(tmp_path / "g.png").pixels.mean()) - 0.7370) < 0.003


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("profile", [b"junk" * 50, imagecodecs.cms_profile("gray", gamma=2.2), ADOBE_RGB[:300]])
def test_a_broken_or_foreign_profile_is_reported_and_read_as_srgb(tmp_path: Path, profile: bytes, deep: bool) -> None:
    array = noise(dtype=np.uint16 if deep else np.uint8)
    tifffile.imwrite(tmp_path / "b.tif", array, photometric="rgb", iccprofile=profile, metadata=None)
    with pytest.warns(UserWarning, match=r"b\.tif: its colour profile is damaged"):
        picture = read_picture(tmp_path / "b.tif")
    assert np.array_equal(to_array(picture, 16 if deep else 8), array)


@pytest.mark.parametrize("ink", [(0, 255, 255, 0), (255, 0, 0, 0), (0, 0, 0, 255), (0, 0, 0, 0), (0, 0, 0, 128)])
@pytest.mark.parametrize("case", ["jpg", "tif8", "tif16", "ycck"])
def test_cmyk_without_a_profile_is_near_the_right_colour(tmp_path: Path, ink: tuple[int, ...], case: str) -> None:
    array = np.full((16, 16, 4), ink, np.uint8)
    file = tmp_path / f"c.{'jpg' if case == 'ycck' else case.rstrip('0123456789')}"
    if case == "ycck":
        file.write_bytes(imagecodecs.jpeg_encode(255 - array, level=95, colorspace="CMYK", outcolorspace="YCCK"))
    elif case == "tif16":
        tifffile.imwrite(file, array.astype(np.uint16) * 257, photometric="separated", metadata=None)
    else:
        Image.fromarray(array, "CMYK").save(file, quality=95)
    cyan, magenta, yellow, black = (np.array(ink) / 255).tolist()
    expected = [(1 - cyan) * (1 - black), (1 - magenta) * (1 - black), (1 - yellow) * (1 - black)]
    assert np.abs(to_array(read_picture(file)) / 255 - expected).max() < 0.02


def cmyk_profile() -> bytes:
    """A printer whose full cyan is Lab (50, 60, 0), a strong pink, on white paper: ICC.1:2001-04, lut8Type."""
    corners = np.zeros((2, 2, 2, 2, 3))
    corners[...] = (0, 0, 0)
    corners[0, 0, 0, 0], corners[1, 0, 0, 0] = (100, 0, 0), (50, 60, 0)
    encoded = np.stack((corners[..., 0] * 2.55, corners[..., 1] + 128, corners[..., 2] + 128), -1).round()
    identity = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1" + bytes(4) + bytes((4, 3, 2, 0)) + matrix
    table += identity * 4 + encoded.astype(np.uint8).tobytes() + identity * 3
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    header = struct.pack(">I4sI4s4s4s", 144 + len(table), b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += struct.pack(">6H4s", 2000, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    header += struct.pack(">3i", 63190, 65536, 54061)  # D50
    return header.ljust(128, b"\0") + tags + table


@pytest.mark.parametrize("case", ["jpg", "tif8", "tif16"])
def test_cmyk_with_a_profile_follows_it(tmp_path: Path, case: str) -> None:
    array = np.zeros((16, 16, 4), np.uint8)
    array[:, 8:, 0] = 255
    file = tmp_path / f"c.{case.rstrip('0123456789')}"
    if case == "tif16":
        deep = array.astype(np.uint16) * 257
        tifffile.imwrite(file, deep, photometric="separated", iccprofile=cmyk_profile(), metadata=None)
    else:
        Image.fromarray(array, "CMYK").save(file, icc_profile=cmyk_profile(), quality=95)
    seen = to_array(read_picture(file)).astype(int)
    assert (seen[4, 2] > 250).all()
    assert np.abs(seen[4, 13] - (212, 65, 119)).max() < 12  # Lab (50, 60, 0) in sRGB


def test_lab_tiff_becomes_srgb(tmp_path: Path) -> None:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    image = ImageCms.buildTransform(srgb, lab, "RGB", "LAB").apply(Image.new("RGB", (4, 4), (200, 30, 90)))
    image.save(tmp_path / "lab.tif")
    assert np.abs(to_array(read_picture(tmp_path / "lab.tif")).astype(int) - (200, 30, 90)).max() <= 3


# Transparency


def test_hidden_colours_continue_what_is_visible_and_have_no_influence(tmp_path: Path) -> None:
    rgba = np.zeros((40, 50, 4), np.uint8)
    rgba[:, :10] = (200, 40, 20, 255)
    rgba[:, 40:] = (20, 40, 200, 255)
    clean = read_picture(rgba)
    rgba[:, 10:40, :3] = noise(40, 30)
    dirty = read_picture(rgba)
    assert torch.equal(clean.pixels, dirty.pixels)
    seen = to_array(clean)[..., :3].astype(int)
    assert np.abs(seen[:, 10] - (200, 40, 20)).max() < 25
    assert np.abs(seen[:, 39] - (20, 40, 200)).max() < 25
    assert np.abs(np.diff(seen, axis=1)).max() < 60
    assert np.abs(seen[..., 1] - 40).max() <= 1
    assert clean.alpha is not None
    assert clean.alpha.shape == (1, 1, 40, 50)


def test_visible_colours_stay_exactly_as_they_are() -> None:
    rgba = noise(channels=4)
    rgba[::2, ::3, 3] = 0
    shown = rgba[..., 3] > 0
    assert np.array_equal(to_array(read_picture(rgba))[shown], rgba[shown])


def test_one_visible_pixel_colours_everything() -> None:
    rgba = np.zeros((9, 33, 4), np.uint8)
    rgba[3, 30] = (10, 150, 220, 1)
    assert (to_array(read_picture(rgba))[..., :3] == (10, 150, 220)).all()


def test_opaque_alpha_is_none_and_an_invisible_picture_is_refused(tmp_path: Path) -> None:
    opaque = np.full((3, 3, 4), 255, np.uint8)
    assert read_picture(opaque).alpha is None
    opaque[..., 3] = 0
    Image.fromarray(opaque).save(tmp_path / "ghost.png")
    with pytest.raises(PictureError, match=r"ghost\.png: nothing visible"):
        read_picture(tmp_path / "ghost.png")

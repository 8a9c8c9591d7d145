"""Pictures in and out of files: nothing is lost, nothing leaks, and what is wrong is said in one sentence."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from impasto.errors import ImpastoError, PictureError, UsageError
from impasto.pictures import atomic
from impasto.pictures.atomic import atomic_write
from impasto.pictures.files import (
    check_writable,
    read_embedded_record,
    read_picture,
    to_array,
    to_pil,
    write_picture,
)
from impasto.pictures.picture import Picture

RECORD = json.dumps({"style": "Hokusai 北斎", "emoji": "🎨", "numbers": list(range(500))}, ensure_ascii=False)


def noise(height: int = 13, width: int = 17, channels: int = 3, dtype: type = np.uint8) -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (height, width, channels)).astype(dtype)


def picture_of(array: np.ndarray[Any, Any]) -> Picture:
    return read_picture(array)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_png_chunk(png: bytes | bytearray, kind: bytes, content: bytes) -> bytes:
    return bytes(png[:33]) + png_chunk(kind, content) + bytes(png[33:])


def smooth(height: int = 48, width: int = 64) -> np.ndarray[Any, Any]:
    rows, columns = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return (np.stack((rows, columns, (rows + columns) / 2), -1) * 255).round().astype(np.uint8)


# Exact round trips


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_png_and_tiff_return_every_value_exactly(
    tmp_path: Path, suffix: str, channels: int, bits: int, dtype: type
) -> None:
    array = noise(channels=channels, dtype=dtype)
    array[..., 3:] |= 1  # hidden colours are replaced, and that has its own test
    file = tmp_path / f"a{suffix}"
    write_picture(picture_of(array), file, bits=bits)
    back = read_picture(file)
    assert back.bits == bits
    assert np.array_equal(to_array(back, bits), array)


def test_all_65536_levels_of_16_bits_survive(tmp_path: Path) -> None:
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1).repeat(3, -1)
    for suffix in (".png", ".tif"):
        write_picture(picture_of(levels), tmp_path / f"l{suffix}", bits=16)
        assert np.array_equal(to_array(read_picture(tmp_path / f"l{suffix}"), 16), levels)


def test_tiff_is_written_with_16_bits_and_png_with_8_unless_asked(tmp_path: Path) -> None:
    for suffix, bits in ((".tif", 16), (".png", 8)):
        write_picture(picture_of(noise()), tmp_path / f"d{suffix}")
        assert read_picture(tmp_path / f"d{suffix}").bits == bits


def test_a_png_is_as_deep_as_its_picture(tmp_path: Path) -> None:
    write_picture(picture_of(noise(dtype=np.uint16)), tmp_path / "deep.png")
    assert read_picture(tmp_path / "deep.png").bits == 16
    write_picture(picture_of(noise(dtype=np.uint16)), tmp_path / "shallow.png", bits=8)
    assert read_picture(tmp_path / "shallow.png").bits == 8


def test_values_are_rounded_to_the_nearest_level_and_cut_at_the_ends() -> None:
    values = torch.tensor([-0.5, 0.4 / 255, 0.6 / 255, 254.4 / 255, 254.6 / 255, 1.5])
    picture = Picture(values.view(1, 1, 1, 6).expand(1, 3, 1, 6))
    assert to_array(picture)[0, :, 0].tolist() == [0, 0, 1, 254, 255, 255]
    assert to_array(Picture(torch.full((1, 3, 1, 1), 0.5 / 65535 * 3)), 16).tolist() == [[[2, 2, 2]]]


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp", ".avif"])
def test_lossy_formats_return_nearly_the_picture(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"s{suffix}"
    write_picture(picture_of(smooth()), file)
    difference = np.abs(to_array(read_picture(file)).astype(int) - smooth())
    assert difference.mean() < 1.5
    assert difference.max() < 12


@pytest.mark.parametrize("suffix", [".webp", ".avif", ".png", ".tif"])
def test_alpha_survives_where_the_format_has_it(tmp_path: Path, suffix: str) -> None:
    rgba = np.dstack((smooth(), np.linspace(1, 255, 64).round().astype(np.uint8)[None].repeat(48, 0)))
    write_picture(picture_of(rgba), tmp_path / f"a{suffix}")
    back = read_picture(tmp_path / f"a{suffix}")
    assert back.alpha is not None
    assert np.abs(to_array(back)[..., 3].astype(int) - rgba[..., 3]).max() <= 4


def test_jpeg_lays_alpha_on_white_and_says_so(tmp_path: Path) -> None:
    rgba = np.zeros((16, 16, 4), np.uint8)
    rgba[..., 3] = 128
    with pytest.warns(UserWarning, match=r"a\.jpg: JPEG has no transparency, so the picture is laid on white"):
        write_picture(picture_of(rgba), tmp_path / "a.jpg")
    assert np.abs(to_array(read_picture(tmp_path / "a.jpg")).astype(int) - 127).max() <= 1


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".tif", ".avif"])
def test_files_are_tagged_with_the_same_srgb_profile(tmp_path: Path, suffix: str) -> None:
    write_picture(picture_of(smooth()), tmp_path / f"t{suffix}", bits=8)
    with Image.open(tmp_path / f"t{suffix}") as image:
        profile = ImageCms.ImageCmsProfile(BytesIO(image.info["icc_profile"]))
    assert "sRGB" in ImageCms.getProfileDescription(profile)
    assert profile.profile.creation_date is not None
    assert profile.profile.creation_date.year == 2000  # not today: the same picture gives the same bytes


def test_png_is_tagged_with_the_srgb_chunk(tmp_path: Path) -> None:
    write_picture(picture_of(smooth()), tmp_path / "t.png")
    with Image.open(tmp_path / "t.png") as image:
        assert image.info["srgb"] == 0


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_the_same_picture_gives_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "b"):
        write_picture(picture_of(smooth()), tmp_path / f"{name}{suffix}", record=RECORD)
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


# What a file may look like


def test_a_file_gives_name_path_and_checksum(tmp_path: Path) -> None:
    file = tmp_path / "harbour.png"
    Image.fromarray(noise()).save(file)
    picture = read_picture(str(file))
    assert (picture.name, picture.path) == ("harbour.png", file)
    assert picture.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert picture.pixels.shape == (1, 3, 13, 17)
    assert picture.pixels.dtype == torch.float32
    assert picture.alpha is None
    assert read_picture(file, name="content").name == "content"


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "gif"])
def test_lossless_rgb_is_read_exactly(tmp_path: Path, suffix: str) -> None:
    array = noise()
    array[:] = array[:1, :1] if suffix == "gif" else array
    Image.fromarray(array).save(tmp_path / f"x.{suffix}", lossless=True)
    assert np.array_equal(to_array(read_picture(tmp_path / f"x.{suffix}")), array)


def test_grey_jpeg_becomes_three_equal_channels(tmp_path: Path) -> None:
    Image.new("L", (16, 8), 77).save(tmp_path / "g.jpg")
    assert (to_array(read_picture(tmp_path / "g.jpg")) == 77).all()


def test_one_bit_png_is_black_and_white(tmp_path: Path) -> None:
    bits = noise()[..., 0] > 127
    Image.fromarray(bits).save(tmp_path / "b.png")
    assert np.array_equal(to_array(read_picture(tmp_path / "b.png"))[..., 1], bits * 255)


def test_palette_transparency_becomes_alpha(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "p.png", transparency=bytes((255, 100)))
    assert to_array(read_picture(tmp_path / "p.png")).tolist() == [[[255, 0, 0, 255], [0, 0, 255, 100]]]


def test_grey_with_alpha_is_kept(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[50, 255], [60, 9]]], np.uint8), "LA").save(tmp_path / "la.png")
    assert to_array(read_picture(tmp_path / "la.png")).tolist() == [[[50, 50, 50, 255], [60, 60, 60, 9]]]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_of_every_kind_is_read_exactly(tmp_path: Path, channels: int) -> None:
    array = noise(channels=channels, dtype=np.uint16)
    array[..., -1] |= 1
    (tmp_path / "d.png").write_bytes(imagecodecs.png_encode(array if channels > 1 else array[..., 0].copy()))
    back = to_array(read_picture(tmp_path / "d.png"), 16)
    colours = array[..., :1].repeat(3, -1) if channels < 3 else array[..., :3]
    assert np.array_equal(back[..., :3], colours)
    assert channels % 2 or np.array_equal(back[..., 3], array[..., -1])


def test_16_bit_png_with_a_transparent_colour_gets_alpha(tmp_path: Path) -> None:
    array = noise(dtype=np.uint16)
    key = struct.pack(">3H", *map(int, array[0, 0]))
    (tmp_path / "k.png").write_bytes(with_png_chunk(imagecodecs.png_encode(array), b"tRNS", key))
    alpha = read_picture(tmp_path / "k.png").alpha
    assert alpha is not None
    assert (alpha == 0).nonzero().tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize("options", [
    {"compression": "lzw", "predictor": True},
    {"compression": "adobe_deflate", "tile": (16, 16)},
    {"byteorder": ">"},
    {"bigtiff": True},
    {"compression": "zstd"},
    {"compression": "jpeg2000"},
])  # fmt: skip
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_in_its_varieties_is_read_exactly(tmp_path: Path, options: dict[str, Any], dtype: type) -> None:
    array = noise(dtype=dtype)
    tifffile.imwrite(tmp_path / "t.tif", array, photometric="rgb", metadata=None, **options)
    assert np.array_equal(to_array(read_picture(tmp_path / "t.tif"), np.iinfo(dtype).bits), array)


def test_tiff_with_separate_planes_is_read_exactly(tmp_path: Path) -> None:
    array = noise(dtype=np.uint16)
    planes = np.ascontiguousarray(array.transpose(2, 0, 1))
    tifffile.imwrite(tmp_path / "t.tif", planes, photometric="rgb", planarconfig="separate", metadata=None)
    assert np.array_equal(to_array(read_picture(tmp_path / "t.tif"), 16), array)


@pytest.mark.parametrize("compression", [None, "group4", "tiff_lzw"])
def test_one_bit_tiff_is_black_and_white(tmp_path: Path, compression: str | None) -> None:
    bits = noise()[..., 0] > 127
    Image.fromarray(bits).save(tmp_path / "b.tif", compression=compression)
    assert np.array_equal(to_array(read_picture(tmp_path / "b.tif"))[..., 1], bits * 255)


def test_palette_tiff_is_read_exactly(tmp_path: Path) -> None:
    image = Image.fromarray(noise()).quantize(16)
    image.save(tmp_path / "p.tif")
    assert np.array_equal(to_array(read_picture(tmp_path / "p.tif")), np.asarray(image.convert("RGB")))


def test_a_saved_selection_in_a_tiff_is_no_alpha(tmp_path: Path) -> None:
    array = noise(channels=4)
    tifffile.imwrite(tmp_path / "s.tif", array, photometric="rgb", extrasamples=["unspecified"], metadata=None)
    picture = read_picture(tmp_path / "s.tif")
    assert picture.alpha is None
    assert np.array_equal(to_array(picture), array[..., :3])


def test_jpeg_compressed_tiff_is_read(tmp_path: Path) -> None:
    Image.fromarray(smooth()).save(tmp_path / "j.tif", compression="jpeg", quality=95)
    assert np.abs(to_array(read_picture(tmp_path / "j.tif")).astype(int) - smooth()).mean() < 3


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grey_tiff_where_white_is_zero_is_not_a_negative(tmp_path: Path, dtype: type) -> None:
    array = noise(channels=1, dtype=dtype)[..., 0]
    tifffile.imwrite(tmp_path / "w.tif", array, photometric="miniswhite", metadata=None)
    bits = np.iinfo(dtype).bits
    assert np.array_equal(to_array(read_picture(tmp_path / "w.tif"), bits)[..., 0], 2**bits - 1 - array)


def test_float_tiff_is_read_and_what_lies_beyond_is_cut_with_a_remark(tmp_path: Path) -> None:
    array = np.linspace(0, 1, 60, dtype=np.float32).reshape(4, 5, 3)
    tifffile.imwrite(tmp_path / "f.tif", array, photometric="rgb", metadata=None)
    picture = read_picture(tmp_path / "f.tif")
    assert picture.bits == 32
    assert np.array_equal(picture.pixels[0].permute(1, 2, 0).numpy(), array)
    tifffile.imwrite(tmp_path / "f.tif", array * 2, photometric="rgb", metadata=None)
    with pytest.warns(UserWarning, match=r"values beyond 0\.\.1 are cut off"):
        assert float(read_picture(tmp_path / "f.tif").pixels.max()) == 1
    tifffile.imwrite(tmp_path / "f.tif", array * np.nan, photometric="rgb", metadata=None)
    with pytest.raises(PictureError, match=r"f\.tif: holds values that are not numbers"):
        read_picture(tmp_path / "f.tif")


def test_depths_between_8_and_32_bits_use_their_full_range(tmp_path: Path) -> None:
    packed = bytes((0x00, 0x08, 0x00, 0xFF, 0xF0, 0x01))  # 0, 0x800, 0xFFF, 1 in 12 bits each
    tags = [(256, 4), (257, 1), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 6)]
    entries = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    directory = struct.pack(">H", len(tags)) + entries + bytes(4)
    (tmp_path / "12.tif").write_bytes(b"MM\0*" + struct.pack(">I", 14) + packed + directory)
    picture = read_picture(tmp_path / "12.tif")
    assert picture.bits == 12
    assert picture.pixels[0, 0, 0].tolist() == pytest.approx([0, 2048 / 4095, 1, 1 / 4095])
    tifffile.imwrite(tmp_path / "32.tif", np.array([[0, 2**31, 2**32 - 1]], np.uint32), metadata=None)
    assert read_picture(tmp_path / "32.tif").pixels[0, 0, 0].tolist() == pytest.approx([0, 0.5, 1])


def test_premultiplied_16_bit_alpha_is_divided_out(tmp_path: Path) -> None:
    array = np.array([[[10000, 20000, 30000, 32768]]], np.uint16)
    tifffile.imwrite(tmp_path / "p.tif", array, photometric="rgb", extrasamples=["assocalpha"], metadata=None)
    expected = (array[..., :3] / 32768 * 65535).round()
    assert np.abs(to_array(read_picture(tmp_path / "p.tif"), 16)[..., :3] - expected).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_used_and_that_is_said(tmp_path: Path, kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    file = tmp_path / f"a.{kind.lower()}"
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], lossless=True)
    with pytest.warns(UserWarning, match="only the first frame of this animation is used"):
        assert to_array(read_picture(file))[0, 0].tolist() == [255, 0, 0]


def test_of_a_tiff_with_pages_the_first_is_used_and_that_is_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "m.tif", np.stack((noise(), noise() // 2)), photometric="rgb")
    with pytest.warns(UserWarning, match="only the first page"):
        assert np.array_equal(to_array(read_picture(tmp_path / "m.tif")), noise())


def test_heic_is_read_where_pillow_heif_is_installed(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.fromarray(smooth())).save(tmp_path / "h.heic", quality=95)
    assert np.abs(to_array(read_picture(tmp_path / "h.heic")).astype(int) - smooth()).mean() < 3


def test_heic_without_pillow_heif_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "h.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PictureError, match=re.escape('pip install "impasto[heic]"')):
        read_picture(tmp_path / "h.heic")


# Orientation

LETTER = np.array([[1, 2, 3], [4, 5, 6]], np.uint8) * 40
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


def exif(orientation: int) -> bytes:
    made = Image.Exif()
    made[274] = orientation
    return made.tobytes()


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


ADOBE_RGB = imagecodecs.cms_profile("adobergb")
ADOBE_COLOURS = np.array([[[110, 150, 120], [160, 140, 120], [128, 128, 128], [90, 100, 130]]], np.uint8)


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


# Arrays, tensors, Pillow images


@pytest.mark.parametrize(
    ("array", "bits"),
    [
        (noise(), 8),
        (noise(dtype=np.uint16), 16),
        (noise(dtype=np.uint16).astype(">u2"), 16),
        (noise() / 255, 32),
        ((noise() / 255).astype(np.float16), 16),
        (noise()[..., 0], 8),
        (noise()[..., :1], 8),
        (noise()[..., 0] > 99, 8),
        (noise()[::-1, ::-2], 8),
    ],
)
def test_arrays_are_read_exactly(array: np.ndarray[Any, Any], bits: int) -> None:
    picture = read_picture(array)
    full = {"u": 2**bits - 1, "b": 1, "f": 1}[array.dtype.kind]
    expected = np.broadcast_to(np.atleast_3d(array), (*array.shape[:2], 3)).astype(np.float64) / full
    assert np.abs(picture.pixels[0].permute(1, 2, 0).numpy() - expected).max() < 1e-7
    assert (picture.bits, picture.name, picture.path, picture.sha256) == (bits, "picture", None, None)


def test_tensors_are_read_and_later_changes_to_them_do_not_matter() -> None:
    tensor = torch.rand(3, 5, 7, requires_grad=True)
    picture = read_picture(tensor)
    assert torch.equal(picture.pixels, tensor.detach()[None])
    with torch.no_grad():
        tensor.zero_()
    assert float(picture.pixels.max()) > 0.5
    assert not picture.pixels.requires_grad
    assert torch.equal(
        read_picture(torch.full((1, 1, 2, 2), 51, dtype=torch.uint8)).pixels, torch.full((1, 3, 2, 2), 0.2)
    )
    alpha = read_picture(torch.full((4, 2, 2), 0.5, dtype=torch.bfloat16)).alpha
    assert alpha is not None
    assert torch.equal(alpha, torch.full((1, 1, 2, 2), 0.5))


def test_a_picture_passes_through() -> None:
    picture = picture_of(noise())
    assert read_picture(picture) is picture


def test_pillow_images_are_read_with_profile_and_orientation(tmp_path: Path) -> None:
    Image.fromarray(ADOBE_COLOURS).save(tmp_path / "w.tif", icc_profile=ADOBE_RGB)
    Image.fromarray(LETTER.repeat(16, 0).repeat(16, 1)).save(tmp_path / "o.jpg", exif=exif(6))
    with Image.open(tmp_path / "w.tif") as image:
        assert torch.equal(read_picture(image).pixels, read_picture(tmp_path / "w.tif").pixels)
        assert read_picture(image).name == "w.tif"
    with Image.open(tmp_path / "o.jpg") as image:
        assert (read_picture(image).height, read_picture(image).width) == (48, 32)
        assert image.size == (48, 32)
    deep = noise(channels=1, dtype=np.uint16)[..., 0]
    assert np.array_equal(to_array(read_picture(Image.fromarray(deep)), 16)[..., 2], deep)
    assert np.array_equal(to_array(read_picture(Image.fromarray(deep.astype(np.int32))), 16)[..., 2], deep)


def test_to_pil_gives_the_picture_back() -> None:
    for channels, mode in ((3, "RGB"), (4, "RGBA")):
        array = noise(channels=channels) | 1
        image = to_pil(picture_of(array))
        assert image.mode == mode
        assert np.array_equal(np.asarray(image), array)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (np.zeros((2, 3, 4, 3), np.uint8), "array of shape (2, 3, 4, 3) is no picture"),
        (np.zeros((5, 5, 2), np.uint8), "array of shape (5, 5, 2) is no picture"),
        (np.zeros((0, 5, 3), np.uint8), "has no pixels"),
        (np.zeros((5, 5, 3), np.int64), "array of int64 is no picture"),
        (np.zeros((5, 5, 3), np.complex64), "array of complex64 is no picture"),
        (np.full((5, 5, 3), 255.0), "holds values from 255 to 255; floats must lie in 0..1"),
        (np.full((5, 5, 3), -0.1), "holds values from -0.1 to -0.1"),
        (np.full((5, 5, 3), np.nan), "not numbers"),
        (torch.zeros(5, 5, 3), "tensor of shape (5, 5, 3) is no picture"),
        (torch.zeros(2, 3, 5, 5), "tensor of shape (2, 3, 5, 5) is no picture"),
        (torch.zeros(3, 5), "tensor of shape (3, 5) is no picture"),
        (torch.zeros(3, 5, 5, dtype=torch.int32), "tensor of torch.int32 is no picture"),
        (torch.full((3, 5, 5), 2.0), "floats must lie in 0..1"),
        (torch.full((3, 5, 5), torch.inf), "not numbers"),
        (torch.zeros(3, 0, 5), "has no pixels"),
        (Image.fromarray(np.full((4, 4), 300.0, np.float32)), "mode F 0..1"),
        (b"bytes", "bytes is no picture"),
        (None, "NoneType is no picture"),
    ],
)
def test_what_is_no_picture_is_a_usage_error(source: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)) as caught:
        read_picture(source, name="content")
    assert str(caught.value).startswith("content: ")


# What can be wrong with a file


def refused(file: Path, **options: Any) -> str:
    with pytest.raises(PictureError) as caught:
        read_picture(file, **options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith(str(file))
    return sentence


def test_a_missing_file_names_the_near_match(tmp_path: Path) -> None:
    (tmp_path / "harbour.jpg").touch()
    assert refused(tmp_path / "harbor.jpg").endswith("harbor.jpg: no such file (did you mean harbour.jpg?)")
    assert refused(tmp_path / "xyz.png").endswith("xyz.png: no such file")
    assert f"there is no folder {tmp_path / 'no'}" in refused(tmp_path / "no" / "a.png")
    with pytest.raises(PictureError, match="no such file"):
        read_picture("a\0b.png")


def test_folders_and_empty_files_are_named_as_such(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "e.png").touch()
    assert "the file is empty" in refused(tmp_path / "e.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_a_pipe_does_not_hang_the_reader(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "not a regular file" in refused(tmp_path / "pipe.png")


@pytest.mark.parametrize(("error", "said"), [(PermissionError(13, "no"), "permissions"), (OSError(5, "I/O"), "I/O")])
def test_unreadable_files_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    (tmp_path / "a.png").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", fail)
    assert said in refused(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello, world " * 20, "not a picture; impasto reads JPEG"),
        (b"8BPS" + bytes(60), "a Photoshop document is not supported"),
        (b"\0\0\0\x20ftypisom" + bytes(60), "is a film, not a picture; use impasto film"),
        (b"<svg xmlns=''>", "an SVG drawing is not supported"),
        (b"\x89PNG\r\n\x1a\n", "the file is "),
        (b"\xff\xd8\xff\xe0", "the file is "),
        (b"II*\0", "the file is "),
        (b"GIF89a", "the file is "),
    ],
)
def test_what_is_no_picture_or_not_supported_is_said(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    assert said in refused(tmp_path / "x.jpg")


def test_camera_raw_is_not_mistaken_for_its_thumbnail(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "r.nef", noise(), photometric="rgb")
    assert "camera raw" in refused(tmp_path / "r.nef")
    tifffile.imwrite(tmp_path / "r.tif", noise(), photometric="rgb", extratags=[(50706, "B", 4, b"\1\4\0\0", True)])
    assert "camera raw" in refused(tmp_path / "r.tif")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "gif", "bmp", "webp", "avif"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"t.{suffix}"
    Image.fromarray(noise(40, 40)).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])
    assert re.search("the file is (cut short|damaged)", refused(file))


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_truncated_16_bit_files_are_refused(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"t.{suffix}"
    write_picture(picture_of(noise(40, 40)), file, bits=16)
    data = file.read_bytes()
    for kept in (len(data) // 2, len(data) * 9 // 10):
        file.write_bytes(data[:kept])
        assert re.search("the file is (cut short|damaged)", refused(file))


def test_unsupported_tiffs_are_said_to_be(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "s.tif", noise(dtype=np.int16), photometric="rgb")
    assert "this kind of TIFF is not supported" in refused(tmp_path / "s.tif")


def bomb(bits: int) -> bytes:
    header = struct.pack(">IIBBBBB", 60000, 60000, bits, 2, 0, 0, 0)
    data = png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + data + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [8, 16])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, bits: int) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb(bits))
    sentence = refused(tmp_path / "bomb.png")
    assert "60000×60000 is more than the limit of 200000000 pixels" in sentence
    assert "--max-pixels 3600000000" in sentence


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "gif", "bmp", "webp", "avif"])
def test_every_format_obeys_the_limit_and_only_that(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / f"l.{suffix}"
    Image.new("RGB", (20, 10)).save(file)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # Pillow's own limit, which would raise beyond 100
    assert "20×10 is more than the limit of 199 pixels" in refused(file, max_pixels=199)
    assert read_picture(file, max_pixels=200).width == 20


def test_deep_tiffs_and_huge_tiles_obey_the_limit(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "l.tif", noise(10, 20, dtype=np.uint16), photometric="rgb")
    assert "20×10" in refused(tmp_path / "l.tif", max_pixels=199)
    tifffile.imwrite(tmp_path / "t.tif", noise(10, 20, dtype=np.uint16), photometric="rgb", tile=(64, 64))
    assert "64×64" in refused(tmp_path / "t.tif", max_pixels=4000)


def test_the_size_of_webp_is_checked_before_its_decoder_takes_memory(tmp_path: Path) -> None:
    canvas = (16_000 - 1).to_bytes(3, "little") * 2
    (tmp_path / "b.webp").write_bytes(
        b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + canvas
    )
    assert "16000×16000 is more than the limit" in refused(tmp_path / "b.webp")


def test_reading_leaves_no_trace_in_pillow(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    Image.fromarray(noise()).save(tmp_path / "a.png")
    read_picture(tmp_path / "a.png")
    assert limit == Image.MAX_IMAGE_PIXELS


# Records


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("record", [RECORD, "{}", RECORD * 40])
def test_a_record_comes_back_from_every_format(tmp_path: Path, suffix: str, record: str) -> None:
    file = tmp_path / f"r{suffix}"
    write_picture(picture_of(smooth()), file, record=record)
    assert read_embedded_record(file) == record
    assert read_picture(file).width == 64


def test_a_record_in_16_bit_png_keeps_the_pixels(tmp_path: Path) -> None:
    array = noise(dtype=np.uint16)
    write_picture(picture_of(array), tmp_path / "r.png", bits=16, record=RECORD)
    assert read_embedded_record(tmp_path / "r.png") == RECORD
    assert np.array_equal(to_array(read_picture(tmp_path / "r.png"), 16), array)


def test_other_programs_see_the_record_in_png(tmp_path: Path) -> None:
    write_picture(picture_of(noise()), tmp_path / "r.png", record=RECORD)
    with Image.open(tmp_path / "r.png") as image:
        image.load()
        assert image.text["impasto"] == RECORD  # type: ignore[attr-defined]


def test_a_record_too_long_for_jpeg_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    record = json.dumps(np.random.default_rng(0).bytes(100_000).hex())
    with pytest.raises(PictureError, match=r"r\.jpg: a record of \d+ kB does not fit into a JPEG; write \.png"):
        write_picture(picture_of(noise()), tmp_path / "r.jpg", record=record)
    assert not list(tmp_path.iterdir())
    write_picture(picture_of(noise()), tmp_path / "r.webp", record=record)
    assert read_embedded_record(tmp_path / "r.webp") == record


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "gif", "bmp", "avif"])
def test_pictures_of_others_have_no_record(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(noise()).save(tmp_path / f"o.{suffix}", exif=exif(3))
    assert read_embedded_record(tmp_path / f"o.{suffix}") is None


def test_a_foreign_description_or_comment_is_no_record(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "o.tif", noise(), photometric="rgb")  # tifffile describes its own shape as JSON
    comment = Image.Exif()
    comment[0x8769] = {0x9286: b"ASCII\0\0\0holiday"}
    Image.fromarray(noise()).save(tmp_path / "o.jpg", exif=comment)
    assert read_embedded_record(tmp_path / "o.tif") is None
    assert read_embedded_record(tmp_path / "o.jpg") is None


def test_asking_a_missing_file_for_its_record_is_a_picture_error(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="no such file"):
        read_embedded_record(tmp_path / "no.png")


# Writing whole or not at all


def test_an_existing_file_is_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"old")
    file.chmod(0o640)
    write_picture(picture_of(noise()), file)
    assert read_picture(file).width == 17
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_file_has_the_permissions_the_user_gives_new_files(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_picture(picture_of(noise()), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_symbolic_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "a.png").symlink_to(tmp_path / "elsewhere" / "real.png")
    write_picture(picture_of(noise()), tmp_path / "a.png")
    assert (tmp_path / "a.png").is_symlink()
    assert read_picture(tmp_path / "elsewhere" / "real.png").width == 17


def test_a_relative_path_and_an_upper_case_suffix_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_picture(picture_of(noise()), "a.PNG")
    assert read_picture("a.PNG").path == Path("a.PNG")


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg", ".webp"])
def test_a_failing_encoder_leaves_the_old_file_and_no_litter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("broken encoder")

    file = tmp_path / f"a{suffix}"
    file.write_bytes(b"old")
    for owner, function in ((imagecodecs, "png_encode"), (tifffile, "imwrite"), (Image.Image, "save")):
        monkeypatch.setattr(owner, function, fail)
    with pytest.raises(PictureError, match=r"could not be encoded \(broken encoder\)"):
        write_picture(picture_of(noise()), file)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, OSError])
def test_an_interrupted_write_leaves_the_old_file_and_no_litter(tmp_path: Path, failure: type[BaseException]) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")

    def write_half() -> None:
        with atomic_write(file) as temporary:
            assert temporary.parent == tmp_path
            assert temporary.suffix == ".json"
            temporary.write_text("half")
            raise failure

    with pytest.raises(failure):
        write_half()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_data_reach_the_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []

    def noted(event: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            events.append(event)
            return function(*arguments)

        return call

    monkeypatch.setattr(os, "fsync", noted("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", noted("replace", Path.replace))
    with atomic_write(tmp_path / "a") as temporary:
        temporary.write_bytes(b"new")
    assert events[:2] == ["fsync", "replace"]
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, r"a\.png: the disk is full; free \d+ MB or choose another folder"),
        (errno.EROFS, "the folder is not writable"),
        (errno.EACCES, "the folder is not writable"),
        (errno.EIO, r"writing failed \(.+\); check the disk"),
        (errno.ENOENT, "does not exist; create it first"),
        (errno.EFBIG, "larger than this system allows"),
    ],
)
def test_a_failing_disk_is_one_sentence_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    file = tmp_path / "a.png"
    file.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(PictureError, match=said):
        write_picture(picture_of(noise()), file)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_the_space_to_free_is_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 2_000_000))
    full = OSError(errno.ENOSPC, "No space left on device")
    assert "free 8 MB" in atomic.write_failure(tmp_path / "a.png", full, needed=9_500_000)
    assert "free some space" in atomic.write_failure(tmp_path / "a.png", full)


FILL = """
import numpy, pathlib, sys
from impasto.errors import ImpastoError, PictureError
from impasto.pictures.files import read_picture, write_picture
folder = pathlib.Path(sys.argv[1])
small, large = numpy.zeros((9, 9, 3), "uint8"), numpy.random.default_rng(0).integers(0, 256, (400, 400, 3), "uint8")
write_picture(read_picture(small), folder / "a.png")
try:
    write_picture(read_picture(large), folder / "a.png")
except PictureError as error:
    print(error)
print(read_picture(folder / "a.png").width, [entry.name for entry in folder.iterdir()])
"""


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("unshare"), reason="needs Linux namespaces")
def test_a_really_full_disk_is_said_and_the_old_file_stays(tmp_path: Path) -> None:
    mount = f"mount -t tmpfs -o size=128k none {tmp_path} || exit 77; exec '{sys.executable}' -c '{FILL}' {tmp_path}"
    mount = mount.replace("'" + FILL + "'", '"$FILL"')
    done = subprocess.run(["unshare", "-rm", "sh", "-c", mount], env={**os.environ, "FILL": FILL}, capture_output=True)  # noqa: S607
    if done.returncode in (1, 77):
        pytest.skip("this system lets nobody mount a small disk")
    said, left = done.stdout.decode().splitlines()
    assert said == f"{tmp_path / 'a.png'}: the disk is full; free 1 MB or choose another folder"
    assert left == "9 ['a.png']"


# Checks before long work


@pytest.mark.parametrize("check", [check_writable, lambda path: write_picture(picture_of(noise()), path)])
def test_impossible_targets_are_refused(tmp_path: Path, check: Any) -> None:
    def said(path: Path, kind: type[ImpastoError] = PictureError) -> str:
        with pytest.raises(kind) as caught:
            check(path)
        assert "\n" not in str(caught.value)
        return str(caught.value).removeprefix(str(path))

    unknown = said(tmp_path / "a.jpgg", UsageError)
    assert unknown.startswith(": cannot write .jpgg (did you mean .jpg?); use .png, .jpg, ")
    assert said(tmp_path / "a.heic", UsageError).startswith(": cannot write .heic; use .png, ")
    assert said(tmp_path / "a", UsageError).startswith(": has no suffix; use .png, ")
    assert said(tmp_path).startswith(": is a folder; add a file name")
    assert said(tmp_path / "no" / "a.png") == f": the folder {tmp_path / 'no'} does not exist; create it first"
    assert said(tmp_path / ("x" * 300 + ".png")).startswith(": the file name is too long")
    assert "not a possible file name" in said(tmp_path / "a\0.png")
    (tmp_path / "file").touch()
    assert "does not exist" in said(tmp_path / "file" / "a.png")


def test_a_possible_target_passes_and_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(b"old")
    check_writable(tmp_path / "new.tif")
    check_writable(str(tmp_path / "old.png"))
    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("old.png", b"old")]


def test_a_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: Any) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", deny)
    with pytest.raises(PictureError, match=r"a\.png: the folder is not writable"):
        check_writable(tmp_path / "a.png")


def test_a_write_protected_file_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    (tmp_path / "a.png").chmod(0o444)
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)  # root may write everything
    with pytest.raises(PictureError, match=r"a\.png: is write-protected"):
        write_picture(picture_of(noise()), tmp_path / "a.png")


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("a.jpg", {"bits": 16}, "a.jpg: holds 8 bits per channel; for 16 write .png, .tif or .tiff"),
        ("a.webp", {"bits": 16}, "a.webp: holds 8 bits"),
        ("a.png", {"bits": 12}, "bits 12: must be 8 or 16"),
        ("a.jpg", {"quality": 0}, "quality 0: must lie in 1..100"),
        ("a.jpg", {"quality": 101}, "quality 101"),
    ],
)
def test_impossible_settings_are_usage_errors(tmp_path: Path, name: str, settings: dict[str, int], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        write_picture(picture_of(noise()), tmp_path / name, **settings)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_values_that_are_not_numbers_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not numbers"):
        write_picture(Picture(torch.full((1, 3, 2, 2), torch.nan)), tmp_path / "a.png")


def test_a_picture_too_long_for_its_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"a\.webp: 16384×1 is more than the 16383 WEBP holds; write \.png or \.tif"):
        write_picture(picture_of(np.zeros((1, 16384, 3), np.uint8)), tmp_path / "a.webp")


def test_higher_quality_is_nearer_to_the_picture(tmp_path: Path) -> None:
    errors = []
    for quality in (20, 95):
        write_picture(picture_of(noise(64, 64)), tmp_path / "q.jpg", quality=quality)
        errors.append(np.abs(to_array(read_picture(tmp_path / "q.jpg")).astype(int) - noise(64, 64)).mean())
    assert errors[1] < errors[0] / 2


def test_heavy_libraries_wait_until_they_are_needed() -> None:
    code = (
        "import sys, impasto.pictures.files;"
        "print([m for m in ('imagecodecs', 'tifffile', 'pillow_heif', 'PIL.ImageCms') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"[]"

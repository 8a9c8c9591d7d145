"""Pictures in and out, of files, arrays and tensors, with the record of their making: nothing is lost."""

from __future__ import annotations

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms

from impasto.errors import PictureError, UsageError
from impasto.pictures.files import read_embedded_record, read_picture, to_array, to_pil, write_picture
from impasto.pictures.picture import Picture
from specimens import ADOBE_COLOURS, ADOBE_RGB, LETTER, exif, noise, picture_of, smooth

RECORD = json.dumps({"style": "Hokusai 北斎", "emoji": "🎨", "numbers": list(range(500))}, ensure_ascii=False)


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

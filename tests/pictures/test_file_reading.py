"""Picture files of every kind are read exactly, and what is wrong with one is said in one sentence."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from impasto.errors import PictureError
from impasto.pictures.files import read_picture, to_array, write_picture
from specimens import noise, picture_of, png_chunk, smooth, with_png_chunk

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

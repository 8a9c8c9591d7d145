"""Folders of numbered pictures as films, in and out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.errors import PictureError, UsageError
from impasto.pictures.files import read_picture, to_array
from impasto.pictures.film import open_film
from impasto.pictures.film_format import FilmFormat
from impasto.pictures.film_writing import join_parts, read_film_record, write_part
from impasto.pictures.numbered import is_pattern
from mishaps import full_disk
from reels import chart


def numbered(folder: Path, numbers: list[int], name: str = "frame_{:04d}.png", width: int = 48) -> Path:
    folder.mkdir(exist_ok=True)
    for number in numbers:
        Image.fromarray(chart(width, shift=number)).save(folder / name.format(number))
    return folder


def refusal(path: Path) -> str:
    with pytest.raises(PictureError) as caught:
        list(open_film(path).frames())
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(path), path.name)


def test_a_folder_is_a_film(tmp_path: Path) -> None:
    opened = open_film(numbered(tmp_path / "f", [3, 4, 5]))
    assert (opened.width, opened.height, opened.count, opened.rate) == (48, 32, 3, 25)
    assert opened.seconds == pytest.approx(0.12)
    frames = list(opened.frames())
    assert [(frame.number, frame.time) for frame in frames] == [(n, Fraction(n, 25)) for n in range(3)]
    assert all(np.array_equal(to_array(f.picture), chart(shift=f.number + 3)) for f in frames)
    assert [frame.number for frame in opened.frames(2)] == [2]


def test_the_rate_of_a_folder_is_told(tmp_path: Path) -> None:
    opened = open_film(numbered(tmp_path / "f", [1, 2]), rate=Fraction(24000, 1001))
    assert [frame.time for frame in opened.frames()] == [0, Fraction(1001, 24000)]
    for impossible in (0, -1, 1001):
        with pytest.raises(UsageError, match="must lie above 0 and be at most 1000 frames a second"):
            open_film(tmp_path / "f", rate=impossible)


def test_numbers_count_not_letters(tmp_path: Path) -> None:
    frames = list(open_film(numbered(tmp_path / "f", [8, 9, 10, 11], "take{}.jpg")).frames())
    assert [frame.picture.name for frame in frames] == ["take8.jpg", "take9.jpg", "take10.jpg", "take11.jpg"]


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "f", [1, 2])
    for name in ("record.json", "notes1.txt", ".frame_0003.png", "poster.png"):
        (folder / name).write_bytes(b"other")
    assert open_film(folder).count == 2


def test_a_pattern_names_one_series(tmp_path: Path) -> None:
    folder = numbered(numbered(tmp_path / "f", [1, 2]), [1, 2, 3], "mask_{:04d}.png")
    assert open_film(folder / "mask_%04d.png").count == 3
    assert open_film(folder / "frame_%d.png").count == 2
    example = folder / "frame_%04d.png"
    assert refusal(folder) == (
        "f: holds 2 series of numbered pictures (frame_….png, mask_….png); name one, such as "
        + str(example).replace(str(folder), "f")
    )
    assert refusal(folder / "x_%d.png") == (
        "x_%d.png: no such frames; check the name, in which %04d stands for four digits"
    )


@pytest.mark.parametrize("name", ["my%20dance.mp4", "50%done.mp4", "50%discount", "%d.mp4"])
def test_other_names_may_have_percent_signs(tmp_path: Path, name: str) -> None:
    assert not is_pattern(tmp_path / name)


def test_what_is_there_is_no_pattern(tmp_path: Path) -> None:
    assert is_pattern(tmp_path / "f_%04d.png")
    numbered(tmp_path / "f_%04d", [1, 2])
    assert len(list(open_film(tmp_path / "f_%04d").frames())) == 2


@pytest.mark.parametrize("where", [".", "f_%d.png"])
def test_two_frames_of_one_number_are_named(tmp_path: Path, where: str) -> None:
    numbered(numbered(tmp_path, [1, 2], "f_{}.png"), [1], "f_{:04}.png")
    assert refusal(tmp_path / where).endswith("f_1.png: is frame 1, and so is f_0001.png; remove one of them")


def test_gaps_name_the_missing_number(tmp_path: Path) -> None:
    assert refusal(numbered(tmp_path / "f", [1, 2, 4])) == (
        "f: frame 3 is missing between frame_0002.png and frame_0004.png; add it or number the frames anew"
    )


def test_other_sizes_are_named_before_work_begins(tmp_path: Path) -> None:
    folder = numbered(numbered(tmp_path / "f", [1, 2]), [3], width=64)
    with pytest.raises(PictureError) as caught:
        open_film(folder)
    assert str(caught.value) == (
        f"{folder / 'frame_0003.png'}: is 64×32, and the first frame 48×32; make all frames of one size"
    )


def test_folders_without_numbers_say_what_is_wanted(tmp_path: Path) -> None:
    assert refusal(tmp_path) == (
        f"{tmp_path.name}: holds no numbered pictures, such as frame_0001.png; choose another folder"
    )


def test_damaged_frames_are_named(tmp_path: Path) -> None:
    folder = numbered(tmp_path / "f", [1, 2])
    file = folder / "frame_0002.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(PictureError, match=r"frame_0002\.png: the file is"):
        list(open_film(folder).frames())


def test_the_digest_knows_names_and_contents(tmp_path: Path) -> None:
    digest = open_film(numbered(tmp_path / "f", [1, 2])).sha256
    assert open_film(numbered(tmp_path / "same", [1, 2])).sha256 == digest
    assert open_film(numbered(tmp_path / "longer", [1, 2, 3])).sha256 != digest
    assert open_film(numbered(tmp_path / "renamed", [1, 2], "other_{}.png")).sha256 != digest
    changed = numbered(tmp_path / "changed", [1, 2])
    Image.fromarray(chart(shift=7)).save(changed / "frame_0002.png")
    assert open_film(changed).sha256 != digest


# Writing


def write(target: Path, count: int = 3, bits: int = 8, *, replaces: bool = False) -> Path:
    folder = target.parent if target.parent.is_dir() else target.parent.parent
    time_base = Fraction(1, 24)
    format = FilmFormat.of(target, rate=Fraction(24), time_base=time_base, width=48, height=32, bits=bits)
    parts = [folder / f"part{number}.mov" for number in range(count)]
    for number, part in enumerate(parts):
        pixels = torch.full((1, 3, 32, 48), (1000 + number) / 65_535)
        write_part(part, [(pixels, number * time_base)], format, (number + 1) * time_base)
    join_parts(parts, target, format, end=count * time_base, record='{"seed": 1}', replaces=replaces)
    return target


@pytest.mark.parametrize(("bits", "level"), [(8, 4), (16, 1000)])
def test_frames_are_written_whole_and_deep(tmp_path: Path, bits: int, level: int) -> None:
    folder = write(tmp_path / "frames", bits=bits)
    assert sorted(path.name for path in folder.iterdir()) == [
        "frame_00001.png", "frame_00002.png", "frame_00003.png", "record.json",
    ]  # fmt: skip
    picture = read_picture(folder / "frame_00001.png")
    assert picture.bits == bits
    assert to_array(picture, bits)[0, 0].tolist() == [level] * 3
    assert open_film(folder).bits == bits
    assert read_film_record(folder) == '{"seed": 1}'


def test_patterns_name_the_frames(tmp_path: Path) -> None:
    pattern = write(tmp_path / "f" / "x_%03d.png") if (tmp_path / "f").mkdir() is None else tmp_path
    assert sorted(path.name for path in pattern.parent.glob("*.png")) == ["x_001.png", "x_002.png", "x_003.png"]
    assert read_film_record(pattern) == '{"seed": 1}'


def test_the_same_film_may_be_written_again_but_not_mixed_with_a_longer_one(tmp_path: Path) -> None:
    folder = write(tmp_path / "frames")
    write(folder)
    with pytest.raises(PictureError) as caught:
        write(folder, count=2)
    assert str(caught.value) == (
        f"{folder}: frames of another film are there already; empty it or choose another folder"
    )


def test_a_longer_film_goes_when_the_one_in_its_place_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path / "frames", count=4)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with monkeypatch.context() as patched:
        full_disk(patched, "frame_00001.png")
        with pytest.raises(PictureError, match="disk is full"):
            write(folder, count=2, replaces=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    write(folder, count=2, replaces=True)
    assert sorted(path.name for path in folder.glob("*.png")) == ["frame_00001.png", "frame_00002.png"]


def test_a_frame_that_cannot_be_removed_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "frames", count=2)
    (folder / "frame_00003.png").mkdir()
    with pytest.raises(PictureError) as caught:
        write(folder, count=2, replaces=True)
    assert str(caught.value).startswith(f"{folder / 'frame_00003.png'}: cannot be removed (")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(PictureError, match="frames"):
        write(tmp_path / "file" / "frames")

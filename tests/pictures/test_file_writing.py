"""Picture files are written whole or not at all, and what cannot be written is said before long work."""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from impasto.errors import ImpastoError, PictureError, UsageError
from impasto.pictures import atomic
from impasto.pictures.atomic import atomic_write
from impasto.pictures.files import check_writable, read_picture, to_array, write_picture
from impasto.pictures.picture import Picture
from specimens import noise, picture_of

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
        (errno.ENOENT, "no file can be made in the folder .+; choose another one"),
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

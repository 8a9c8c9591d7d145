"""The guide's programs run, and its commands are understood, as they are written."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import cv2
import pytest
from PIL import Image

import impasto.methods as methods
from impasto.library.adding import add
from impasto.pictures.film import open_film
from impasto.records import read_record
from studio import FAST, Command, paint

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
STRANGERS = (
    "photo.jpg",
    "painting.jpg",
    "day.jpg",
    "dusk.jpg",
    "new-style.png",
    "holiday/a.jpg",
    "paintings/b.jpg",
    "van-gogh/c.jpg",
    "ink/d.jpg",
    "downloads/e.jpg",
)
MAPS = ("day-map.png", "dusk-map.png")
"""What the guide's commands name and `examples/` does not have."""


def programs(page: str = "extending.md") -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)


def test_a_loss_of_one_s_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    program = programs()[0]
    assert "384, 256, steps=24" in program
    names: dict[str, object] = {}
    exec(program.replace("384, 256, steps=24", "96, 64, steps=6"), names)  # noqa: S102
    first, *_, last = names["synthesis"].history  # type: ignore[attr-defined]
    assert last.losses["style"] < 0.5 * first.losses["style"]
    with Image.open("deviations.png") as picture:
        assert picture.size == (64, 96)


def test_a_method_of_one_s_own(
    impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, module, line, _ = programs()
    folder = tmp_path_factory.mktemp("methods")
    (folder / "reconstruct.py").write_text(module, encoding="utf-8")
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])
    monkeypatch.setitem(methods.METHODS, "reconstruct", eval(line, {"Method": methods.Method}))  # noqa: S307
    words = ("--encoder", "tiny.safetensors", "--layers", "relu2_1", "--size", "48", "--steps", "3", "--device", "cpu")
    shown = impasto("reconstruct", "harbour.jpg", *words)
    assert (shown.code, shown.out) == (0, "harbour.png\n")
    assert read_record(studio / "harbour.png").settings["layers"] == {"relu2_1": 1}


def test_an_encoder_of_one_s_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    program = programs()[-1]
    assert "width=384, height=256" in program
    exec(program.replace("width=384, height=256", "width=96, height=64, coarsest=64, steps=4"), {})  # noqa: S102
    assert read_record(Path("random.png")).encoder == "random"


def test_films_from_python(studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("bunny.mp4", "starry-night.jpg"):
        shutil.copy(ROOT / "examples" / name, studio)
    fast = "size=64, coarsest=64, steps=2, frame_steps=1, encoder='tiny.safetensors', device='cpu'"
    of_a_file, of_a_camera = (program.replace("size=256", fast) for program in programs("film.md"))
    names: dict[str, Any] = {}
    exec(of_a_file.replace("(0, 0.5)", "(0, 0.1)"), names)  # noqa: S102
    assert names["record"].facts["frames"] == len([*open_film(names["path"]).frames()]) > 1
    camera = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: camera("bunny.mp4") if number == 0 else None)
    exec(of_a_camera.replace("10):", "3):"), names)  # noqa: S102
    assert sorted(path.name for path in studio.glob("painted-*")) == [f"painted-00{number}.png" for number in range(3)]


def commands() -> list[str]:
    """All that readers are told to type, but for work that was stopped and methods of their own."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    blocks = "\n".join(block for text in texts for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL))
    inline = [line for text in texts for line in re.findall(r"`(impasto [^`]+)`", text)]
    lines = [*blocks.replace("\\\n", " ").splitlines(), *inline]
    found = {" ".join(shlex.split(line, comments=True)) for line in lines if line.startswith("impasto ")}
    return sorted(one for one in found if not one.startswith(("impasto resume", "impasto reconstruct")))


def test_commands_are_found() -> None:
    assert len(commands()) > 40
    assert "impasto transfer lighthouse.jpg starry-night.jpg --preset bold" in commands()


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A folder with all the pictures that the guide speaks of."""
    folder = tmp_path_factory.mktemp("shelf")
    for example in (ROOT / "examples").iterdir():
        shutil.copy(example, folder)
    shutil.copy(tiny_encoder, folder)
    for number, name in enumerate(STRANGERS):
        (folder / name).parent.mkdir(exist_ok=True)
        paint(folder / name, 96, 64, seed=number)
    for name in MAPS:
        shutil.copy(folder / "lighthouse-map.png", folder / name)
    for name in ("lighthouse", "wheat-field"):
        shutil.copy(folder / f"{name}-map.png", folder / f"{name}.map.png")
    for name in ("day.jpg", "dusk.jpg"):
        shutil.copy(folder / "lighthouse.jpg", folder / name)
    (folder / "tags.csv").write_text('path,author,tags\ne.jpg,,\nd.jpg,Hokusai,"ink,portrait"\n')
    tags, encoder = str(folder / "tags.csv"), str(folder / "tiny.safetensors")
    add(folder / "art.library", [folder / "ink"], facts=tags, encoder=encoder)
    return folder


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_guide_is_understood(
    impasto: Command, shelf: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.chdir(shelf)
    if not Path("lighthouse-starry-night.png").exists():
        assert impasto("transfer", "lighthouse.jpg", "starry-night.jpg", *FAST).code == 0
    if "bunny-starry-night.mp4" in line and not Path("bunny-starry-night.mp4").exists():
        few = [word.replace("48", "64") for word in FAST]
        assert impasto("film", "bunny.mp4", "starry-night.jpg", *few, "--between", "0,0.1").code == 0
    begun: list[Any] = []
    monkeypatch.setattr("impasto.films.session.perform_film", lambda running, *_: begun.append(running))
    monkeypatch.setattr("impasto.session.perform", lambda running, *_: begun.append(running))
    monkeypatch.setattr("impasto.series.perform_all", lambda parts, *_: begun.extend(p.job.begin() for p in parts))
    words = [path for word in shlex.split(line)[1:] for path in (sorted(map(str, Path().glob(word))) or [word])]
    shown = impasto(*words, *(["--force"] if words[0] == "maps" else []))
    assert shown.code == 0, shown.err
    assert begun or words[0] in ("info", "regions", "library", "maps", "film-report") or "--help" in words

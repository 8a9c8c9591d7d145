"""The guide's programs run as they are written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

import impasto.methods as methods
from impasto.records import read_record
from studio import Command

ROOT = Path(__file__).parents[1]


def programs() -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"), re.DOTALL)


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
    _, module, line = programs()
    folder = tmp_path_factory.mktemp("methods")
    (folder / "reconstruct.py").write_text(module, encoding="utf-8")
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])
    monkeypatch.setitem(methods.METHODS, "reconstruct", eval(line, {"Method": methods.Method}))  # noqa: S307
    words = ("--encoder", "tiny.safetensors", "--layers", "relu2_1", "--size", "48", "--steps", "3", "--device", "cpu")
    shown = impasto("reconstruct", "harbour.jpg", *words)
    assert (shown.code, shown.out) == (0, "harbour.png\n")
    assert read_record(studio / "harbour.png").settings["layers"] == {"relu2_1": 1}

"""The command line: exit codes, what is said where, names of results, help."""

from __future__ import annotations

import inspect
import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import impasto as package
from impasto import api, session
from impasto.cli import build_app
from impasto.console import QuietConsole, choose_console
from impasto.methods.transfer import TransferSettings
from impasto.records import read_record
from studio import FAST, Command, paint, pixels

ESCAPE = "\x1b["


# Exit codes and streams


def test_done_is_0_with_the_path_alone_on_stdout(transfer: Command, studio: Path) -> None:
    shown = transfer()
    assert (shown.code, shown.out) == (0, "harbour-starry.png\n")
    assert pixels(studio / "harbour-starry.png").shape == (36, 48, 3)
    assert "harbour.jpg 64×48 · starry.jpg 60×60 · tiny on cpu" in shown.err
    assert "again: impasto rerun harbour-starry.png --set size=96" in shown.err
    assert "2/2" in shown.err


def test_not_a_terminal_gets_no_escape_sequences(transfer: Command) -> None:
    assert ESCAPE not in transfer().err


def test_nothing_is_left_beside_the_result(transfer: Command, studio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.session.SECONDS_TO_FIRST_PREVIEW", 0)
    monkeypatch.setattr("impasto.session.SECONDS_BETWEEN_PREVIEWS", 0)
    monkeypatch.setattr("impasto.session.SECONDS_BETWEEN_CHECKPOINTS", -1)
    before = {path.name for path in studio.iterdir()}
    transfer("-o", "out.png")
    assert {path.name for path in studio.iterdir()} - before == {"out.png"}


@pytest.mark.parametrize(
    ("words", "code"),
    [(["transfer", "a.jpg", "b.jpg", "--size", "12"], 2), (["transfer", "no.jpg", "starry.jpg"], 1), (["rerun"], 2)],
)
def test_a_failure_is_one_sentence_and_a_traceback_only_with_debug(
    studio: Path, impasto: Command, words: list[str], code: int
) -> None:
    shown = impasto(*words)
    assert (shown.code, shown.out, len(shown.err.splitlines())) == (code, "", 1)
    shown = impasto(*words, "--debug")
    assert shown.code == code
    assert "Traceback (most recent call last)" in shown.err


def test_a_defect_is_said_to_be_one(transfer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.jobs.estimated_memory", lambda *_: 1 / 0)
    shown = transfer()
    assert shown.code == 1
    assert shown.last_line.startswith("a defect of impasto: ZeroDivisionError")
    assert "--debug" in shown.last_line
    assert "Traceback" not in shown.err


def test_ctrl_c_before_the_work_is_130(transfer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("impasto.jobs.read_picture", interrupt)
    shown = transfer()
    assert (shown.code, shown.err) == (130, "stopped\n")


def test_quiet_says_only_the_path_and_errors(transfer: Command) -> None:
    shown = transfer("--quiet")
    assert (shown.code, shown.out, shown.err) == (0, "harbour-starry.png\n", "")
    shown = transfer("--quiet", style="no.jpg")
    assert (shown.code, shown.out) == (1, "")
    assert shown.err.startswith("no.jpg: no such file")


def test_json_is_one_event_a_line_and_nothing_else(transfer: Command) -> None:
    shown = transfer("--json", "--plot", "losses.svg")
    events = [json.loads(line) for line in shown.out.splitlines()]
    assert shown.err == ""
    assert [event["event"] for event in events if event["event"] != "note"] == ["begin", "step", "step", "result"]
    assert events[-1] | {"seconds": 0, "peak_memory": 0} == {
        "event": "result",
        "path": "harbour-starry.png",
        "width": 48,
        "height": 36,
        "seconds": 0,
        "peak_memory": 0,
        "again": "impasto rerun harbour-starry.png --set size=96",
        "plot": "losses.svg",
    }
    steps = [event for event in events if event["event"] == "step"]
    assert steps[-1]["step"] == steps[-1]["steps"] == 2
    assert set(steps[-1]["losses"]) == {"content", "style", "smoothness"}


def test_json_tells_of_errors_as_events(transfer: Command) -> None:
    shown = transfer("--json", "--steps", "none")
    assert shown.code == 2
    assert json.loads(shown.out)["event"] == "error"


def animate(path: Path) -> None:
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def test_warnings_are_notes(transfer: Command, studio: Path) -> None:
    animate(studio / "film.gif")
    shown = transfer(content="film.gif")
    assert shown.code == 0
    assert "first" in next(line for line in shown.err.splitlines() if line.startswith("film.gif: "))
    assert "UserWarning" not in shown.err


def test_warnings_are_json_events(transfer: Command, studio: Path) -> None:
    animate(studio / "film.gif")
    events = [json.loads(line) for line in transfer("--json", content="film.gif").out.splitlines()]
    assert any(event["event"] == "note" and "film.gif" in event["message"] for event in events)


# Names


def test_a_name_gets_a_number_unless_forced(transfer: Command, studio: Path) -> None:
    old = transfer().out
    assert transfer("--seed", "1").out == "harbour-starry-2.png\n"
    assert transfer("-o", "harbour-starry.png").out == "harbour-starry-3.png\n"
    (studio / "harbour-starry.png").write_bytes(b"old")
    assert transfer("--force").out == old
    assert pixels("harbour-starry.png").shape == (36, 48, 3)


def test_the_default_name_lies_beside_the_content(transfer: Command, studio: Path) -> None:
    (studio / "photos").mkdir()
    shutil.move("harbour.jpg", "photos/harbour.jpg")
    assert transfer(content="photos/harbour.jpg").out == str(Path("photos/harbour-starry.png")) + "\n"


def test_the_start_picture_is_not_in_the_name(transfer: Command, studio: Path) -> None:
    paint(studio / "sketch.png", 64, 48)
    assert transfer("--start", "sketch.png").out == "harbour-starry.png\n"


def test_unfinished_work_keeps_its_name(transfer: Command, studio: Path) -> None:
    (studio / "harbour-starry.checkpoint.safetensors").write_bytes(b"work of a day")
    assert transfer().out == "harbour-starry-2.png\n"
    assert (studio / "harbour-starry.checkpoint.safetensors").read_bytes() == b"work of a day"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"])
def test_the_suffix_chooses_the_format(transfer: Command, studio: Path, suffix: str) -> None:
    assert transfer("-o", f"out{suffix}").code == 0
    with Image.open(studio / f"out{suffix}") as picture:
        assert picture.format == {"p": "PNG", "j": "JPEG", "w": "WEBP", "t": "TIFF"}[suffix[1]]


def test_bits_and_quality_reach_the_file(transfer: Command, studio: Path) -> None:
    for quality in (5, 100):
        transfer("-o", f"q{quality}.jpg", "--quality", quality)
    assert (studio / "q5.jpg").stat().st_size < (studio / "q100.jpg").stat().st_size
    transfer("-o", "deep.png", "--bits", "16")
    assert package.read_picture("deep.png").bits == 16


@pytest.mark.parametrize("role", ["content", "style", "start"])
@pytest.mark.parametrize("way", ["plain", "relative", "symlink", "hard link"])
@pytest.mark.parametrize("option", ["-o", "--plot", "--record"])
def test_an_input_is_never_written(transfer: Command, studio: Path, role: str, way: str, option: str) -> None:
    paint(studio / "content.png", 64, 48)
    paint(studio / "style.png", 60, 60)
    paint(studio / "start.png", 64, 48)
    before = (studio / f"{role}.png").read_bytes()
    target = studio / f"{role}.png"
    if way == "relative":
        (studio / "folder").mkdir()
        target = Path("folder") / ".." / target.name
    elif way == "symlink":
        target = studio / "link.png"
        target.symlink_to(f"{role}.png")
    elif way == "hard link":
        (studio / "link.png").hardlink_to(target)
        target = studio / "link.png"
    shown = transfer(option, target, "--force", "--start", "start.png", content="content.png", style="style.png")
    assert (shown.code, shown.out) == (2, "")
    assert "is an input, and inputs are never written" in shown.err
    assert (studio / f"{role}.png").read_bytes() == before


def test_a_preview_never_replaces_an_input(transfer: Command, studio: Path) -> None:
    paint(studio / "out.preview.jpg", 64, 48)
    before = (studio / "out.preview.jpg").read_bytes()
    assert transfer("-o", "out.png", "--force", content="out.preview.jpg").code == 2
    assert (studio / "out.preview.jpg").read_bytes() == before


def test_plot_and_record_are_written_and_not_overwritten(transfer: Command, studio: Path) -> None:
    for _ in range(2):
        transfer("-o", "out.png", "--plot", "losses.png", "--record", "out.json")
    assert pixels("losses.png").ndim == pixels("losses-2.png").ndim == 3
    assert read_record(Path("out.json")) == read_record(Path("out.png"))
    assert json.loads(Path("out-2.json").read_text())["method"] == "transfer"


def test_one_file_for_two_things_is_refused(transfer: Command) -> None:
    shown = transfer("-o", "a.png", "--plot", "a.png")
    assert shown.code == 2
    assert "named for two things" in shown.err


def test_a_file_name_that_is_no_text_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), "utf-8")
    monkeypatch.setattr(sys, "stdout", stdout)
    QuietConsole().result("caf\udce9.png", {})
    assert stdout.buffer.getvalue() == b"caf\xe9.png\n"


# Help and info


def test_help_has_every_setting_with_its_description_and_default(
    impasto: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    lines = impasto("transfer", "--help").out.splitlines()
    for name, field in TransferSettings.model_fields.items():
        line = next(line for line in lines if line.startswith(f"│ --{name.replace('_', '-')} "))
        assert field.description is not None
        assert field.description.replace("`", "")[:60] in line
        if field.default is not None and not isinstance(field.default, dict | bool | tuple):
            assert f"[default: {field.default}]" in line
    assert any("--content-layers" in line and "[default: relu4_2]" in line for line in lines)


def test_help_has_no_empty_defaults_and_none_on_flags(impasto: Command) -> None:
    text = " ".join(impasto("transfer", "--help").out.replace("│", "").split())
    assert "[default: ]" not in text
    assert "[default: False]" not in text
    assert "[default: True]" not in text
    assert "[default: None]" not in text


def test_the_five_common_options_come_first(impasto: Command) -> None:
    options = re.findall(r"^│ (--[a-z-]+)", impasto("transfer", "--help").out, re.MULTILINE)
    assert options[:5] == ["--size", "--preset", "--style-strength", "--style-scale", "--output"]
    assert len(options) == len(set(options)) == len(TransferSettings.model_fields) + 8 + 5 + 3


def test_help_leaves_out_what_has_no_use(impasto: Command) -> None:
    options = re.findall(r"^│ (--[a-z-]+)", impasto("semantic", "--help").out, re.MULTILINE)
    assert "--maps" in options
    assert not {"--masks", "--segmentation", "--style-loss", "--mix", "--color-only"} & {*options}
    assert impasto("semantic", "a.jpg", "b.jpg", "--color-only").last_line.startswith("--color-only: paints nothing")


def test_no_words_at_all_show_the_help(impasto: Command) -> None:
    shown = impasto()
    assert shown.code == 0
    assert all(command in shown.out for command in ("transfer", "rerun", "resume", "info"))


def test_info_tells_versions_devices_encoders_threads_memory(impasto: Command) -> None:
    out = impasto("info").out
    for word in ("impasto", "python", "torch", "threads", "memory", "device cpu", "encoder lite", "encoder vgg19"):
        assert re.search(rf"^{word} ", out, re.MULTILINE), word
    assert package.__version__ in out
    assert "GB free of" in out
    assert json.loads(impasto("info", "--json").out)["facts"]["impasto"] == package.__version__


def test_python_and_the_command_line_use_the_same_names(impasto: Command) -> None:
    shown = impasto("transfer", "--help").out
    python = set(inspect.signature(api.transfer).parameters) - {"observers", "cancel", "settings", "content", "style"}
    for name in python | set(TransferSettings.model_fields):
        assert f"--{name.replace('_', '-')} " in shown


def test_layers_are_given_as_words(transfer: Command) -> None:
    shown = transfer("-o", "out.png", "--content-layers", "relu3_1,relu2_1:0.5", "--style-layers", "relu1_1")
    assert shown.code == 0
    settings = read_record(Path("out.png")).settings
    assert settings["content_layers"] == {"relu3_1": 1.0, "relu2_1": 0.5}
    assert settings["style_layers"] == {"relu1_1": 1.0}


def test_fast_words_are_those_of_the_command(impasto: Command) -> None:
    shown = impasto("transfer", "--help").out
    assert all(word in shown for word in FAST[::2])


# Several styles


def test_several_styles_are_named_recorded_and_made_again(studio: Path, transfer: Command, impasto: Command) -> None:
    paint(studio / "wave.jpg", 70, 50, seed=8)
    shown = transfer("wave.jpg", "--style-weights", "0.3,0.7")
    assert (shown.code, shown.out) == (0, "harbour-starry-wave.png\n")
    record = read_record(Path("harbour-starry-wave.png"))
    assert [one.role for one in record.inputs] == ["content", "style", "style2"]
    assert record.settings["style_weights"] == [0.3, 0.7]
    assert impasto("rerun", "harbour-starry-wave.png", "--device", "cpu").out == "harbour-starry-wave-2.png\n"
    assert np.array_equal(pixels("harbour-starry-wave.png"), pixels("harbour-starry-wave-2.png"))
    transfer("-o", "alone.png")
    assert not np.array_equal(pixels("harbour-starry-wave.png"), pixels("alone.png"))


def test_rerun_adds_and_replaces_styles(studio: Path, transfer: Command, impasto: Command) -> None:
    paint(studio / "wave.jpg", 70, 50, seed=8)
    transfer("wave.jpg", "-o", "two.png")
    transfer("-o", "one.png")
    impasto("rerun", "one.png", "--set", "style2=wave.jpg", "-o", "added.png", "--device", "cpu")
    assert np.array_equal(pixels("two.png"), pixels("added.png"))
    impasto("rerun", "two.png", "--set", "style2=starry.jpg", "-o", "replaced.png", "--device", "cpu")
    assert np.allclose(pixels("one.png"), pixels("replaced.png"), atol=2)
    shown = impasto("rerun", "two.png", "--set", "style1=wave.jpg")
    assert shown.code == 2
    assert "style1: no such setting or input" in shown.err


def test_many_styles_make_no_endless_name(studio: Path, transfer: Command) -> None:
    names = [paint(studio / f"s{i}.jpg", 60, 50, seed=i).name for i in range(5)]
    assert transfer(*names).out == "harbour-starry-s0-s1-and-3.png\n"


def test_a_wrong_number_of_weights_is_wrong_use(transfer: Command) -> None:
    shown = transfer("--style-weights", "1,2")
    assert shown.code == 2
    assert "--style-weights: 2 weights for 1 style: give one for each" in shown.err


# Regions


@pytest.fixture
def maps(studio: Path) -> Path:
    """half.png and not-half.png, masks of harbour.jpg, and map.png with a green and a blue half."""
    left = np.zeros((48, 64), np.uint8)
    left[:, :32] = 255
    Image.fromarray(left).save(studio / "half.png")
    Image.fromarray(255 - left).save(studio / "not-half.png")
    Image.fromarray(np.stack([0 * left, left, 255 - left], 2)).save(studio / "map.png")
    return studio


@pytest.mark.usefixtures("maps")
def test_masks_are_recorded_and_made_again(transfer: Command, impasto: Command) -> None:
    assert transfer("--masks", "not:half.png", "-o", "out.png").code == 0
    assert [one.role for one in read_record(Path("out.png")).inputs] == ["content", "style", "mask"]
    assert impasto("rerun", "out.png", "-o", "again.png").code == 0
    assert np.array_equal(pixels("again.png"), pixels("out.png"))
    assert impasto("rerun", "out.png", "--set", "masks=not-half.png", "-o", "turned.png").code == 0
    assert np.allclose(pixels("turned.png"), pixels("out.png"), atol=2)
    assert impasto("rerun", "out.png", "--set", "masks=half.png", "-o", "other.png").code == 0
    assert not np.allclose(pixels("other.png"), pixels("out.png"), atol=2)


@pytest.mark.usefixtures("maps")
def test_a_mask_is_an_input_and_never_written(transfer: Command) -> None:
    before = Path("half.png").read_bytes()
    shown = transfer("--masks", "half.png", "-o", "half.png", "--force")
    assert (shown.code, Path("half.png").read_bytes()) == (2, before)
    assert shown.last_line.startswith("half.png: is an input")


@pytest.mark.usefixtures("maps")
@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--masks", "hlf.png"), 1, "hlf.png: no such file (did you mean half.png?)"),
        (("--masks", "half.png,half.png"), 2, "--masks: 2 masks for 1 style: give one for each"),
        (("--masks", "starry.jpg"), 2, "starry.jpg: is 60×60, and harbour.jpg is 64×48: a mask needs the shape"),
        (("--segmentation", "harbour.jpg"), 2, "harbour.jpg: has "),
        (("--region-styles", "green:1"), 2, "--region-styles: needs a segmentation of the content beside it"),
        (("--segmentation", "map.png", "--region-styles", "green"), 2, "--region-styles: 'green' is not allowed"),
        (("--segmentation", "map.png", "--region-content", "sky:2"), 2, "--region-content: sky is no region"),
        (("--style-weights", "-1,2"), 2, "--style-weights: '-1,2' is not allowed, it needs numbers of at least 0"),
        (("--memory", "-4GB"), 2, "memory -4GB: needs an amount of at least 1MB"),
        (("--style-strength", "-.5"), 2, "--style-strength: '-.5' is not allowed, it should be at least 0"),
    ],
)
def test_wrong_regions_are_one_sentence(transfer: Command, words: tuple[str, ...], code: int, sentence: str) -> None:
    shown = transfer(*words)
    assert shown.code == code
    assert shown.last_line.startswith(sentence)


@pytest.mark.usefixtures("maps")
def test_regions_says_and_shows_what_it_understood(impasto: Command) -> None:
    words = ("harbour.jpg", "starry.jpg", "--segmentation", "map.png", "--region-strengths", "green:0.5")
    shown = impasto("regions", *words, *FAST)
    assert shown.code == 0
    rows = dict(re.split(r"  +", line, maxsplit=1) for line in shown.out.splitlines())
    assert rows["green"].startswith("50% of the picture · starry.jpg · strength 0.5 · relu1_1 50%, relu2_1 ")
    assert rows["blue"].startswith("50% of the picture · starry.jpg · relu1_1 50%")
    assert rows["sheet of masks"] == "harbour.regions.png"
    with Image.open("harbour.regions.png") as sheet:
        assert sheet.width == 6 * 240
        left, right = np.asarray(sheet)[100, [250, 470]]  # relu1_1 of the first region
        assert (left.min() > 250) == (next(iter(rows)) == "green")
        assert (right.min() > 250) == (next(iter(rows)) == "blue")
    assert impasto("regions", "harbour.jpg", "starry.jpg", *FAST).last_line.startswith("there are no regions")


# Colour


def test_only_colours_are_quick_and_recorded(transfer: Command, impasto: Command) -> None:
    shown = transfer("--color-only", "-o", "out.png")
    assert shown.code == 0
    assert read_record(Path("out.png")).settings["color_only"] is True
    assert impasto("rerun", "out.png", "-o", "again.png", "--set", "color_only=false", "--device", "cpu").code == 0
    assert not np.array_equal(pixels("again.png"), pixels("out.png"))


def test_a_preview_is_in_the_colours_of_the_result(transfer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "SECONDS_TO_FIRST_PREVIEW", 0)
    monkeypatch.setattr(session, "SECONDS_BETWEEN_PREVIEWS", 0)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)  # keeps the preview
    assert transfer("--keep-color", "luminance", "-o", "out.png").code == 0
    shown, result = (pixels(name).astype(float) for name in ("out.preview.jpg", "out.png"))
    chroma = [one[..., 0] - one[..., 2] for one in (shown, result)]
    assert np.abs(chroma[1]).mean() > 5
    assert np.abs(chroma[0] - chroma[1]).mean() < 8


# Sets of works


def test_a_folder_stands_for_the_works_in_it(impasto: Command, studio: Path) -> None:
    works = studio / "works" / "more"
    works.mkdir(parents=True)
    for seed in range(6):
        paint(works / f"{seed}.jpg", 60, 60, seed=seed)
    (works / "notes.txt").write_text("no picture")
    paint(works / ".hidden.jpg", 60, 60)
    shown = impasto("blend", "harbour.jpg", "works", *FAST)
    assert (shown.code, shown.out) == (0, "harbour-works.png\n")
    assert " · 0.jpg 60×60 · " in shown.err
    assert " · 2 more · " in shown.err
    assert " of 6 works: " in shown.err
    assert [one.role for one in read_record(Path("harbour-works.png")).inputs][-1] == "style6"
    assert impasto("rerun", "harbour-works.png").code == 0
    assert np.array_equal(pixels("harbour-works.png"), pixels("harbour-works-2.png"))
    listed = api.blend("harbour.jpg", sorted(works.glob("[0-9].jpg")), encoder="tiny.safetensors", size=48, steps=2)
    assert listed.record.settings["character"] == 0


@pytest.mark.usefixtures("studio")
def test_a_folder_without_pictures_is_one_sentence(impasto: Command) -> None:
    Path("works").mkdir()
    shown = impasto("blend", "harbour.jpg", "works")
    assert shown.code == 1
    assert shown.err == "works: there are no pictures in this folder; put some there, or choose another\n"
    shown = impasto("transfer", "harbour.jpg", "works")
    assert shown.err == "works: is a folder; name a picture in it\n"


@pytest.mark.usefixtures("studio")
@pytest.mark.parametrize("folder", [".", "..", "/"])
@pytest.mark.parametrize("method", ["transfer", "semantic", "strip"])
def test_a_folder_without_a_name_is_refused_as_any_other(impasto: Command, method: str, folder: str) -> None:
    shown = impasto(method, folder, "harbour.jpg", "harbour.jpg")
    assert (shown.code, shown.err) == (1, f"{folder}: is a folder; name a picture in it\n")


@pytest.mark.usefixtures("studio")
def test_the_root_is_no_film(impasto: Command) -> None:
    shown = impasto("film", "/", "harbour.jpg")
    assert (shown.code, shown.err.partition(";")[0]) == (1, "/: holds no numbered pictures, such as frame_0001.png")


# Completion


def test_completion_knows_the_options_of_methods() -> None:
    app = build_app(["--install-completion"], choose_console(quiet=True, events=False))
    assert "--style-strength" in app.generate_completion(shell="bash")  # noqa: S604  (the name of one)


def test_settings_are_called_by_the_options_that_were_typed(impasto: Command) -> None:
    assert impasto("transfer", "a.jpg", "b.jpg", "--style-scale=0").last_line.startswith("--style-scale: '0' is not")

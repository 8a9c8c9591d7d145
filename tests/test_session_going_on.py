"""Going on with what was interrupted: as it was asked for, from what was given, and from whole checkpoints alone."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from impasto import session
from impasto.errors import PictureError
from impasto.output import Output
from impasto.records import read_record
from mishaps import CHECKPOINT, STEPS, interrupted, signals_at
from studio import Command, paint, pixels


def test_unfinished_work_of_the_same_name_is_mentioned(
    transfer: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        interrupted(transfer, patched)
    shown = transfer("-o", "out.png")
    assert shown.out == "out-2.png\n"
    assert f"there is unfinished work of this name: impasto resume {CHECKPOINT} goes on with it" in shown.err
    assert "unfinished" not in transfer("-o", "new.png").err
    Path("out.png").write_bytes(b"something else")
    resumed = impasto("resume", CHECKPOINT)
    assert (resumed.code, Path(resumed.out.strip()).name) == (0, "out-3.png")
    assert "there is unfinished work" not in resumed.err


def test_resume_takes_the_name_of_the_result(
    transfer: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        interrupted(transfer, patched)
    assert Path(impasto("resume", "out.png").out.strip()).name == "out.png"
    assert "out.png: is no checkpoint" in impasto("resume", "out.png").err  # it is done


def test_resume_keeps_all_output_options(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--bits", "16", "--plot", "losses.svg", "--record", "out.json", "--no-preview", "--force")
    interrupted(transfer, monkeypatch, *words)
    paint(studio / "out.png", 8, 8)  # to be overwritten, as it was asked for
    (studio / "elsewhere").mkdir()
    monkeypatch.chdir(studio / "elsewhere")
    monkeypatch.setattr(session, "SECONDS_TO_FIRST_PREVIEW", 0)
    monkeypatch.setattr(session, "SECONDS_BETWEEN_PREVIEWS", 0)
    shown = impasto("resume", studio / CHECKPOINT)
    assert (shown.code, shown.out) == (0, f"{studio / 'out.png'}\n")
    assert "preview" not in shown.err
    from impasto import read_picture

    assert read_picture(studio / "out.png").bits == 16
    assert (studio / "losses.svg").exists()
    assert read_record(studio / "out.json") == read_record(studio / "out.png")
    assert list((studio / "elsewhere").iterdir()) == []


def test_resume_keeps_the_quality(transfer: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    transfer("-o", "whole.jpg", "--steps", STEPS, "--quality", "7")
    interrupted(transfer, monkeypatch, "--quality", "7", output="out.jpg")
    impasto("resume", "out.checkpoint.safetensors")
    assert np.array_equal(pixels("out.jpg"), pixels("whole.jpg"))


def test_resume_does_not_overwrite_what_came_between(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(transfer, monkeypatch)
    (studio / "out.png").write_bytes(b"precious")
    assert impasto("resume", CHECKPOINT).out == f"{studio / 'out-2.png'}\n"
    assert (studio / "out.png").read_bytes() == b"precious"
    assert not (studio / CHECKPOINT).exists()


def test_a_resumed_run_may_be_interrupted_again(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transfer("-o", "whole.png", "--steps", STEPS)
    interrupted(transfer, monkeypatch)
    (studio / CHECKPOINT).rename("kept.safetensors")
    signals_at(monkeypatch, 9, signal.SIGINT)
    shown = impasto("resume", "kept.safetensors")
    assert (shown.code, shown.last_line.rpartition(": ")[2]) == (130, "impasto resume kept.safetensors")
    assert impasto("resume", "kept.safetensors").code == 0
    assert np.array_equal(pixels("whole.png"), pixels("out.png"))


def test_resume_refuses_changed_inputs(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(transfer, monkeypatch)
    paint(studio / "starry.jpg", 60, 60, seed=9)
    shown = impasto("resume", CHECKPOINT)
    assert shown.code == 1
    assert shown.err.startswith("starry.jpg: the style has changed since the record was written; the work cannot go on")
    assert len(shown.err.splitlines()) == 1


def test_resume_says_which_input_is_gone(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(transfer, monkeypatch)
    (studio / "starry.jpg").unlink()
    shown = impasto("resume", CHECKPOINT)
    assert (shown.code, shown.err) == (1, "starry.jpg: no such file any more; put it back there to go on\n")


@pytest.mark.parametrize("stranger", ["harbour.jpg", "tiny.safetensors", "cut.safetensors", "missing.safetensors"])
def test_resume_takes_only_checkpoints(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch, stranger: str
) -> None:
    interrupted(transfer, monkeypatch)
    whole = (studio / CHECKPOINT).read_bytes()
    (studio / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    shown = impasto("resume", stranger)
    assert shown.code == 1
    assert shown.err.startswith(f"{stranger}: ")
    assert "checkpoint" in shown.err
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize("fault", ["no output", "no size", "other layers"])
def test_resume_takes_no_checkpoint_of_another_version(
    transfer: Command, impasto: Command, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    from impasto.synthesis.checkpoint import load_checkpoint, save_checkpoint

    interrupted(transfer, monkeypatch)
    tensors, state, about = load_checkpoint(Path(CHECKPOINT))
    if fault == "no output":
        del about["output"]["quality"]
    elif fault == "no size":
        del state["scale"]
    else:
        tensors["average"] = tensors["average"][..., 1:]

    class Stored:
        def state(self) -> object:
            return tensors, state

    save_checkpoint(Path(CHECKPOINT), Stored(), about)  # type: ignore[arg-type]
    shown = impasto("resume", CHECKPOINT)
    assert shown.code == 1
    assert "another version of impasto; start the work anew" in shown.err
    assert len(shown.err.splitlines()) == 1


def test_resume_has_no_options_that_it_ignores(impasto: Command) -> None:
    shown = impasto("resume", "--help").out
    assert [word for word in ("--quiet", "--json", "--debug") if word in shown] == ["--quiet", "--json", "--debug"]
    for word in ("--device", "--threads", "--precision", "--max-pixels", "--output"):
        assert word not in shown


def test_outputs_survive_json(tmp_path: Path) -> None:
    output = Output(tmp_path / "a.png", 7, 16, tmp_path / "p.svg", None, tmp_path / "f.npy", False, True)
    again = Output.from_json(output.to_json(), tmp_path / "c.safetensors")
    assert again == replace(output, checkpoint=tmp_path / "c.safetensors")
    with pytest.raises(PictureError, match="another version"):
        Output.from_json({}, tmp_path / "c.safetensors")


def test_resume_finds_an_encoder_named_from_another_folder(
    transfer: Command, impasto: Command, studio: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(transfer, monkeypatch)
    (studio / "other").mkdir()
    monkeypatch.chdir("other")
    assert impasto("resume", Path("..") / CHECKPOINT).code == 0

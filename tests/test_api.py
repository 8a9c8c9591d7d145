"""In Python: pictures in any form, results in any form, watching, stopping, changing, and real errors."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import impasto
from studio import Command

FAST: dict[str, Any] = {
    "encoder": "tiny.safetensors",
    "size": 48,
    "coarsest": 48,
    "steps": 2,
    "device": "cpu",
}


def sources() -> dict[str, Any]:
    with Image.open("harbour.jpg") as opened:
        picture = opened.convert("RGB")
    array = np.array(picture)
    unit = array.astype(np.float32) / 255
    return {
        "text": "harbour.jpg",
        "path": Path("harbour.jpg"),
        "pil": picture,
        "uint8": array,
        "uint16": array.astype(np.uint16) * 257,
        "float32": unit,
        "float64": array / 255,
        "tensor": torch.from_numpy(unit).permute(2, 0, 1),
        "batch": torch.from_numpy(unit).permute(2, 0, 1)[None],
        "picture": impasto.read_picture("harbour.jpg"),
    }


@pytest.mark.parametrize(
    "kind", ["text", "path", "pil", "uint8", "uint16", "float32", "float64", "tensor", "batch", "picture"]
)
@pytest.mark.usefixtures("studio")
def test_every_form_of_a_picture_gives_the_same_result(kind: str) -> None:
    expected = impasto.transfer("harbour.jpg", "starry.jpg", **FAST)
    result = impasto.transfer(sources()[kind], "starry.jpg", **FAST)
    assert torch.allclose(result.tensor, expected.tensor, atol=2e-3)


@pytest.mark.usefixtures("studio")
def test_an_input_is_never_written() -> None:
    before = Path("harbour.jpg").read_bytes()
    result = impasto.transfer("harbour.jpg", "starry.jpg", **FAST)
    for write in (result.save, result.save_plot):
        with pytest.raises(impasto.UsageError, match=r"harbour\.jpg: is an input, and inputs are never written"):
            write("./harbour.jpg")
    assert Path("harbour.jpg").read_bytes() == before
    assert len(repr(result)) < 100


@pytest.mark.usefixtures("studio")
def test_a_result_in_every_form() -> None:
    result = impasto.transfer("harbour.jpg", "starry.jpg", **FAST)
    assert (result.picture.size, result.picture.mode) == ((48, 36), "RGB")
    assert (result.array.shape, result.array.dtype) == ((36, 48, 3), np.uint8)
    assert (result.tensor.shape, result.tensor.dtype) == ((1, 3, 36, 48), torch.float32)
    assert np.array_equal(np.array(result.picture), result.array)
    assert np.array_equal(result.array, np.round(result.tensor[0].permute(1, 2, 0).numpy() * 255))
    assert [moment.step for moment in result.history] == [1, 2]
    shown = result._repr_html_()
    assert shown.count("<img") == 2
    assert "data:image/png;base64,iVBOR" in shown
    assert "data:image/svg+xml;base64," in shown


@pytest.mark.usefixtures("studio")
def test_saving_and_the_command_line_make_the_same_file(transfer: Command) -> None:
    result = impasto.transfer("harbour.jpg", "starry.jpg", **FAST)
    result.save("python.png")
    transfer("-o", "command.png")
    with Image.open("python.png") as ours, Image.open("command.png") as theirs:
        assert np.array_equal(np.array(ours), np.array(theirs))
    result.save("deep.tif", bits=16)
    assert impasto.read_picture("deep.tif").bits == 16
    result.save_plot("losses.svg")
    assert "<svg" in Path("losses.svg").read_text()


@pytest.mark.usefixtures("studio")
def test_the_record_is_inside_the_file_and_makes_it_again() -> None:
    result = impasto.transfer("harbour.jpg", "starry.jpg", seed=5, start="noise", **FAST)
    result.save("out.png")
    again = impasto.rerun("out.png", device="cpu")
    assert torch.equal(again.tensor, result.tensor)
    assert again.record.settings == result.record.settings
    assert (result.record.encoder, result.record.settings["encoder"]) == ("tiny", "tiny.safetensors")
    bold = impasto.rerun("out.png", {"preset": "bold", "steps": 1, "style": Image.new("RGB", (60, 60), "red")})
    assert bold.record.settings["style_strength"] == 4
    assert bold.record.inputs[1].path is None


@pytest.mark.usefixtures("studio")
def test_rerun_of_pictures_in_memory_asks_for_files() -> None:
    impasto.transfer(sources()["pil"], "starry.jpg", **FAST).save("out.png")
    with pytest.raises(impasto.PictureError, match=r"the content was a picture in memory .* --set content=PATH"):
        impasto.rerun("out.png")
    impasto.rerun("out.png", {"content": "harbour.jpg"})


@pytest.mark.usefixtures("studio")
def test_rerun_warns_of_a_changed_input() -> None:
    impasto.transfer("harbour.jpg", "starry.jpg", **FAST).save("out.png")
    Image.new("RGB", (60, 60), "red").save("starry.jpg")
    with pytest.warns(UserWarning, match=r"starry\.jpg: the style has changed"):
        impasto.rerun("out.png")


@pytest.mark.usefixtures("studio")
def test_steps_can_be_left_and_taken_up_again() -> None:
    whole = impasto.transfer("harbour.jpg", "starry.jpg", **FAST | {"steps": 6})
    running = impasto.steps("harbour.jpg", "starry.jpg", **FAST | {"steps": 6})
    for step in running:
        assert step.preview().shape == (1, 3, 36, 48)
        if step.step == 3:
            break
    early = running.result()
    assert (early.picture.size, len(early.history)) == ((48, 36), 3)
    assert [step.step for step in running] == [4, 5, 6]
    assert torch.equal(running.result().tensor, whole.tensor)
    assert not torch.equal(early.tensor, whole.tensor)


@pytest.mark.usefixtures("studio")
def test_strengths_can_be_changed_between_steps() -> None:
    plain = impasto.transfer("harbour.jpg", "starry.jpg", **FAST | {"steps": 4})
    running = impasto.steps("harbour.jpg", "starry.jpg", **FAST | {"steps": 4})
    for step in running:
        if step.step == 2:
            running.synthesis.strengths["style"] = 0.0
    totals = [moment.total for moment in running.result().history]
    assert totals[:2] == [moment.total for moment in plain.history][:2]
    assert totals[2] < 0.5 * totals[1]


@pytest.mark.usefixtures("studio")
def test_observers_are_told_of_every_step() -> None:
    seen: list[int] = []
    also: list[float] = []
    observers = [lambda step: seen.append(step.step), lambda step: also.append(step.total)]
    result = impasto.transfer("harbour.jpg", "starry.jpg", observers=observers, **FAST)
    assert seen == [1, 2]
    assert also == [moment.total for moment in result.history]


@pytest.mark.usefixtures("studio")
def test_another_thread_can_cancel() -> None:
    cancel, begun = threading.Event(), threading.Event()
    steps: list[int] = []

    def canceller() -> None:
        begun.wait(60)
        cancel.set()

    def observer(step: impasto.Step) -> None:
        steps.append(step.step)
        begun.set()
        cancel.wait(60)

    other = threading.Thread(target=canceller)
    other.start()
    with pytest.raises(impasto.Interrupted) as stopped:
        impasto.transfer("harbour.jpg", "starry.jpg", cancel=cancel, observers=[observer], **FAST)
    other.join()
    assert stopped.value.result is not None
    assert len(stopped.value.result.history) == 1
    assert stopped.value.result.picture.size == (48, 36)
    assert steps == [1]


@pytest.mark.usefixtures("studio")
def test_the_work_may_run_in_another_thread() -> None:
    results: list[impasto.Result] = []
    thread = threading.Thread(target=lambda: results.append(impasto.transfer("harbour.jpg", "starry.jpg", **FAST)))
    thread.start()
    thread.join()
    assert torch.equal(results[0].tensor, impasto.transfer("harbour.jpg", "starry.jpg", **FAST).tensor)


@pytest.mark.usefixtures("studio")
def test_resume_takes_up_what_the_command_left(transfer: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from impasto import session

    monkeypatch.setattr(session, "SECONDS_BETWEEN_CHECKPOINTS", -1)
    monkeypatch.setattr(session._Keeper, "clean_up", lambda self: None)
    transfer("-o", "out.png")
    result = impasto.resume("out.checkpoint.safetensors")
    with Image.open("out.png") as picture:
        assert np.array_equal(np.array(picture), result.array)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"content": 3}, "content: int is no picture"),
        ({"content": None}, "content: NoneType is no picture"),
        ({"content": ["harbour.jpg"]}, "content: list is no picture"),
        ({"style": [["starry.jpg"]]}, "style: list is no picture"),
        ({"style": []}, "transfer takes one content and one or more style pictures, 1 was given"),
        ({"style": ["starry.jpg", 7]}, "style2: int is no picture"),
        ({"style": np.zeros((2, 3, 4, 5))}, "style: "),
        ({"style": torch.zeros(5)}, "style: "),
        ({"sizee": 64}, r"sizee: no such setting \(did you mean size\?\)"),
        ({"size": [1]}, r"size: \[1\] is not allowed"),
        ({"style_strength": float("nan")}, "style_strength: nan is not allowed"),
        ({"style_strength": "strong"}, "style_strength: 'strong' is not allowed"),
        ({"preset": "bolt"}, r"did you mean bold\?"),
        ({"device": "gpu"}, "gpu: no such device here"),
        ({"device": 3}, "3: no such device here"),
        ({"precision": "float16"}, "precision float16: unknown"),
        ({"threads": 0}, "threads 0: must be a whole number"),
        ({"threads": 1.5}, "threads 1.5: must be a whole number"),
        ({"max_pixels": -1}, "max_pixels -1: must be a whole number"),
        ({"encoder": "vgg91"}, r"vgg91: no such encoder \(did you mean vgg19\?\)"),
        ({"style_layers": {"relu9_1": 1}}, "relu9_1: no such layer"),
        ({"style_layers": {"relu1_1": -1}}, "style_layers: "),
        ({"content_layers": {}}, "content_layers: "),
    ],
)
@pytest.mark.usefixtures("studio")
def test_wrong_arguments_are_usage_errors(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(impasto.UsageError, match=f"^[^\n]*{message}[^\n]*$"):
        impasto.transfer(**{"content": "harbour.jpg", "style": "starry.jpg", **FAST, **wrong})


@pytest.mark.usefixtures("studio")
def test_a_torch_device_is_a_device() -> None:
    assert impasto.transfer("harbour.jpg", "starry.jpg", **FAST | {"device": torch.device("cpu")}).picture


@pytest.mark.usefixtures("studio")
def test_all_errors_are_impasto_s() -> None:
    for name in ("UsageError", "PictureError", "WeightsError", "OutOfMemoryError", "Interrupted"):
        assert issubclass(getattr(impasto, name), impasto.ImpastoError)
    with pytest.raises(impasto.PictureError, match=r"harbor\.jpg: no such file \(did you mean harbour\.jpg\?\)"):
        impasto.transfer("harbor.jpg", "starry.jpg", **FAST)
    with pytest.raises(impasto.WeightsError, match="no such file"):
        impasto.transfer("harbour.jpg", "starry.jpg", **FAST | {"encoder": "none.safetensors"})
    with pytest.raises(impasto.PictureError, match="plots are written as"):
        impasto.transfer("harbour.jpg", "starry.jpg", **FAST).save_plot("losses.txt")
    with pytest.raises(impasto.PictureError, match="no such checkpoint"):
        impasto.resume("nothing")
    with pytest.raises(impasto.PictureError, match="holds no impasto record"):
        impasto.rerun("harbour.jpg")


@pytest.mark.usefixtures("studio")
def test_a_list_of_styles() -> None:
    both = impasto.transfer("harbour.jpg", ["starry.jpg", "harbour.jpg"], style_weights=[3, 1], **FAST)
    assert [one.role for one in both.record.inputs] == ["content", "style", "style2"]
    one = impasto.transfer("harbour.jpg", ["starry.jpg"], **FAST)
    assert torch.equal(one.tensor, impasto.transfer("harbour.jpg", "starry.jpg", **FAST).tensor)
    assert not torch.equal(one.tensor, both.tensor)
    with pytest.raises(impasto.UsageError, match="takes one content and one or more style pictures"):
        impasto.transfer("harbour.jpg", [], **FAST)


@pytest.mark.usefixtures("studio")
def test_masks_may_be_pictures_in_memory() -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[:, :32] = 255
    Image.fromarray(mask).save("mask.png")
    by_path, in_memory = (
        impasto.transfer("harbour.jpg", "starry.jpg", masks=masks, **FAST) for masks in ("mask.png", [mask])
    )
    assert torch.equal(by_path.tensor, in_memory.tensor)
    assert not torch.equal(by_path.tensor, impasto.transfer("harbour.jpg", "starry.jpg", **FAST).tensor)


@pytest.mark.usefixtures("studio")
def test_a_mask_from_memory_is_asked_for_again() -> None:
    mask = np.full((48, 64), 255, np.uint8)
    impasto.transfer("harbour.jpg", "starry.jpg", masks=[mask], **FAST).save("out.png")
    with pytest.raises(impasto.PictureError, match=r"the mask was a picture in memory .*: name its new place"):
        impasto.rerun("out.png")
    Image.fromarray(mask).save("mask.png")
    again = impasto.rerun("out.png", {"mask": "mask.png"})
    assert torch.allclose(again.tensor, impasto.read_picture("out.png").pixels, atol=0.5 / 255 + 1e-6)

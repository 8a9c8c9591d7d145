"""Films painted with time and frame by frame: how steady, how near to the style, how long.

    python benchmarks/film.py --data VIDEO --styles PAINTING PAINTING … --sheets FOLDER --out benchmarks/results/film
    python benchmarks/film.py --data VIDEO --styles PAINTING --memory --out benchmarks/results/film-memory

    python benchmarks/film.py --data VIDEO --styles PAINTING … --true --out benchmarks/results/film-true

VIDEO holds clips, in folders of numbered frames and in files. For each clip and style: mean warping errors (in
thousandths of the full range, squared) to the frames one and five back and to the shot's first, of the film painted
frame by frame and of ours, and ours over theirs; style distances; seconds a frame. With --memory: peak memory of films
of 10 and of 300 frames. With --true: errors along true flow, where both frames show the same.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impasto.films.report import measure
from impasto.machine import Machine
from impasto.memory import peak_memory
from impasto.methods.film import FilmPainter
from impasto.methods.film_settings import FilmSettings
from impasto.motion import Dis, consistency, inside, read_flo, resized_flow, warping_error
from impasto.pictures.files import read_picture, to_pil
from impasto.pictures.film import Film, Frame, open_film
from impasto.pictures.picture import Picture
from impasto.pictures.resize import resize
from measures import table

CLIPS = (
    "davis-bmx-trees/frames",
    "sintel-a",
    "middlebury/RubberWhale",
    "mp4/propainter-test-sample1.mp4",
    "mp4/cutBunny.mp4",
    "mp4/timelapse1.mp4",
    "mp4/timelapse2.mp4",
    "mp4/mmpose-demo.mp4",
)
SHOWN = 6
"""Frames on a sheet."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--styles", type=Path, nargs="+", required=True)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=480)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--clips", nargs="+", default=CLIPS)
    parser.add_argument("--first", type=int, default=0, help="of each clip")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--true", action="store_true")
    options = parser.parse_args()
    rows = []
    measured = memory if options.memory else true_flows if options.true else comparison
    for row in measured(options):
        rows.append(row)
        print(json.dumps(row), flush=True)
        options.out.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        options.out.with_suffix(".md").write_text(table(rows) + "\n", encoding="utf-8")


def comparison(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for clip in options.clips:
        for path in options.styles:
            yield compared(options, clip, read_picture(path))


def compared(options: argparse.Namespace, clip: str, style: Picture) -> dict[str, Any]:
    """A clip painted twice, and measured."""
    settings = FilmSettings.of(size=options.size)
    machine = Machine.choose("cpu", options.precision)
    film = open_film(options.data / clip)
    source = [*islice(film.frames(options.first), options.frames)]
    alone, ours = FilmPainter([style], settings, machine), FilmPainter([style], settings, machine)
    by_frame, seconds_alone, painted, seconds = [], [], [], []
    for frame in source:
        began = time.perf_counter()
        by_frame.append(alone.alone(frame).pixels)
        middle = time.perf_counter()
        found = ours.paint(frame)
        painted.append(found.picture.pixels)
        seconds_alone.append(middle - began)
        if not found.begins_shot:
            seconds.append(time.perf_counter() - middle)
    films = {
        "source": in_memory(film, [frame.picture.pixels for frame in source]),
        "result": in_memory(film, painted),
        "baseline": in_memory(film, by_frame),
    }
    report = measure(films, [style], settings, machine)
    ours_track, theirs, own = (report.tracks[name] for name in ("result", "baseline", "source"))
    if options.sheets is not None:
        sheet(options.sheets / f"{Path(clip).stem}-{Path(clip).parent.name}-{Path(style.name).stem[:24]}.jpg", films)
    return {
        "clip": clip,
        "style": Path(style.name).stem,
        "frames": len(source),
        "shots": len(report.shots),
        **{f"source {which}": rounded(1e3 * own.mean(which), 2) for which in ("1", "5")},
        **{f"by frame {which}": rounded(1e3 * theirs.mean(which), 2) for which in ("1", "5", "first")},
        **{f"ratio {which}": rounded(report.ratio(which), 3) for which in ("1", "5", "first")},
        "style ratio": rounded(ours_track.style_distance / theirs.style_distance, 3),
        "drift": round(ours_track.drift, 1),
        "drift of source": round(own.drift, 1),
        "s by frame": round(median(seconds_alone), 2),
        "s later": round(median(seconds), 2),
        "share": round(median(seconds) / median(seconds_alone), 3),
    }


def true_flows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Pairs of frames whose motion is known: the error of the second one, moved back to the first along it."""
    for folder in sorted((options.data / "middlebury").iterdir()):
        for path in options.styles:
            yield along_truth(options, folder, read_picture(path))


def along_truth(options: argparse.Namespace, folder: Path, style: Picture) -> dict[str, Any]:
    settings = FilmSettings.of(size=options.size)
    machine = Machine.choose("cpu", options.precision)
    source = [Frame(n, Fraction(n), read_picture(folder / f"frame{10 + n}.png")) for n in (0, 1)]
    alone, ours = FilmPainter([style], settings, machine), FilmPainter([style], settings, machine)
    by_frame = [alone.alone(frame).pixels for frame in source]
    painted = [ours.paint(frame).picture.pixels for frame in source]
    height, width = painted[0].shape[-2:]
    small = [resize(frame.picture.pixels, height, width) for frame in source]
    truth = resized_flow(true_flow(folder), height, width)
    known = inside(truth) * consistency(truth, Dis()(small[1], small[0]))
    error, theirs, own = (1e3 * warping_error(*pair, truth, known) for pair in (painted, by_frame, small))
    return {
        "pair": folder.name,
        "style": Path(style.name).stem,
        "source": rounded(own, 2),
        "by frame": rounded(theirs, 2),
        "ours": rounded(error, 2),
        "ratio": rounded(error / theirs, 3),
    }


def true_flow(folder: Path) -> Tensor:
    """From frame 10 to frame 11, NaN where it is unknown."""
    if (folder / "flow10.flo").exists():
        return read_flo(folder / "flow10.flo")
    arrays = np.load(folder / "flow10.npz")
    flow = torch.from_numpy(arrays["flow"].astype(np.float32)).permute(2, 0, 1)[None]
    return flow.masked_fill(~torch.from_numpy(arrays["valid"].astype(bool)), torch.nan)


def in_memory(film: Film, pictures: Sequence[Tensor]) -> Film:
    """A film of pictures in memory, in place of another one."""

    def decode(first: int) -> Iterator[Frame]:
        for number, pixels in enumerate(pictures[first:], first):
            yield Frame(number, number / film.rate, Picture(pixels))

    return replace(film, count=len(pictures), decode=decode)


def sheet(path: Path, films: dict[str, Film]) -> None:
    """Some frames of each film below each other, and how much each changes from one to the next, amplified."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for film in films.values():
        frames = [frame.picture.pixels for frame in film.frames()]
        size = films["result"].decode(0).__next__().picture.pixels.shape[-2:]
        chosen = [round(place * (len(frames) - 1) / (SHOWN - 1)) for place in range(SHOWN)]
        small = [resize(frames[one], size[0] * 2 // 3, size[1] * 2 // 3) for one in chosen]
        rows.append(torch.cat(small, 3))
        changes = [(4 * (frames[one] - frames[max(0, one - 1)]).abs()).clamp(0, 1) for one in chosen]
        rows.append(torch.cat([resize(one, size[0] * 2 // 3, size[1] * 2 // 3) for one in changes], 3))
    to_pil(Picture(torch.cat(rows, 2))).save(path, quality=88)


def memory(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Peak memory of films of 10 and of 300 frames, a fresh process each."""
    spawn = multiprocessing.get_context("spawn")
    for frames in (10, 300):
        with spawn.Pool(1) as pool:
            yield pool.apply(peak, (options.data / options.clips[0], options.styles[0], options.size, frames))


def peak(clip: Path, style: Path, size: int, frames: int) -> dict[str, Any]:
    """The first frames of a clip, again and again until there are so many, through the command line's own rooms."""
    settings = FilmSettings.of(size=size, frame_steps=1, steps=1)
    painter = FilmPainter([read_picture(style)], settings, Machine.choose("cpu", "float32"))
    count, number = 0, 0
    while count < frames:
        for frame in open_film(clip).frames():
            if count < frames:
                painter.paint(Frame(number, Fraction(number, 25), frame.picture))
            count, number = count + 1, number + 1
    return {"frames": frames, "peak memory": peak_memory(torch.device("cpu"))}


def rounded(value: float, digits: int) -> float | None:
    """None for what there is not."""
    return None if math.isnan(value) else round(value, digits)


def median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    main()
